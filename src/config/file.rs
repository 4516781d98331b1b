//! What was typed: a TOML document, walked by hand so that one mistake does not hide the next.
//!
//! | found | what happens |
//! |---|---|
//! | broken syntax | a mistake per line; what can still be read is read |
//! | a key that no knob has | a mistake, with what was probably meant |
//! | a value that its knob does not take | a mistake; the key counts as given, so that nothing follows from its absence |
//! | `${NAME}` within a text | the environment's value; a mistake if there is none |

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Findings, Mistake, Span};
use super::interpolate::interpolate;
use super::knobs::{self, Kind, Knob, Preset, SECTIONS, Section, Shape};
use super::suggest::did_you_mean;
use super::table::{Entry, File, Table};
use super::template::Malformed;
use super::units::Value;

/// Where `${NAME}` is looked up.
pub(super) type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// What holds when a knob is not given. It goes through the same reader as what is typed.
pub(super) fn preset(knob: &'static Knob) -> Option<Value> {
    let Preset::Is(text) = knob.preset else { return None };
    let value = DeValue::parse(text).ok()?;
    let mut nothing = Findings::default();
    Reader { text, env: &|_| None, out: &mut nothing }.value(knob.key, &knob.kind, &value)
}

/// A TOML value of the knobs' own tables as JSON.
pub(super) fn plain(text: &str) -> Option<serde_json::Value> {
    fn json(value: &DeValue<'_>) -> Option<serde_json::Value> {
        match value {
            DeValue::String(text) => Some(text.as_ref().into()),
            DeValue::Boolean(on) => Some((*on).into()),
            DeValue::Integer(number) => number.as_str().parse::<i64>().ok().map(Into::into),
            DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
            _ => None,
        }
    }
    json(DeValue::parse(text).ok()?.get_ref())
}

/// Reads a file, as far as its syntax goes.
pub(super) fn read(text: &str, env: Env<'_>, out: &mut Findings) -> File {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut file = File::default();
    Reader { text, env, out }.document(document.get_ref(), &mut file);
    report_syntax(text, errors, out);
    file
}

/// Notes broken syntax, once per line, and drops what else was said about such lines: it would be
/// about what the parser made up to go on.
fn report_syntax(text: &str, mut errors: Vec<toml::de::Error>, out: &mut Findings) {
    let line = |at: usize| text.bytes().take(at).filter(|b| *b == b'\n').count();
    let start = |error: &toml::de::Error| error.span().map_or(text.len(), |span| span.start);
    errors.sort_by_key(start);
    errors.dedup_by_key(|error| line(start(error)));
    let broken: Vec<usize> = errors.iter().map(|error| line(start(error))).collect();
    if !broken.is_empty() {
        out.broken();
        out.keep(|mistake| mistake.span().is_none_or(|span| !broken.contains(&line(span.start))));
    }
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let (title, expected) =
            error.message().split_once(", expected ").unwrap_or_else(|| (error.message(), ""));
        // What has no quotes is taken for a number, a date or a word, whatever was meant.
        let unquoted = title.starts_with("invalid") && !title.contains("string")
            || title.contains("must be quoted");
        let label = match expected {
            "" | "nothing" => "did not expect this".to_owned(),
            _ if unquoted => "expected a value".to_owned(),
            expected => format!("expected {expected}"),
        };
        let help = unquoted.then(|| "text stands in quotes: \"…\"".to_owned());
        out.mistake(Mistake::at(span, title, label).maybe_help(help));
    }
}

struct Reader<'r> {
    text: &'r str,
    env: Env<'r>,
    out: &'r mut Findings,
}

impl Reader<'_> {
    fn document(&mut self, document: &DeTable<'_>, file: &mut File) {
        let mut top = Table::empty(&knobs::TOP);
        for (key, value) in document {
            let name = key.get_ref().as_ref();
            match SECTIONS.iter().find(|s| s.name == name && s.shape != Shape::Top) {
                Some(section) => self.section(section, &key.span(), value, file),
                None => self.entry("", key, value, &mut top),
            }
        }
        file.once.insert(knobs::TOP.name, top);
        // The parser sorts by name; the order of the file is that of the headers.
        file.classes.sort_by_key(|(_, table)| table.at.as_ref().map(|at| at.start));
    }

    fn section(
        &mut self,
        section: &'static Section,
        key: &Span,
        value: &Spanned<DeValue<'_>>,
        file: &mut File,
    ) {
        match (section.shape, value.get_ref()) {
            (Shape::Once, DeValue::Table(table)) => {
                let table = self.table(section, value.span(), table);
                file.once.insert(section.name, table);
            }
            (Shape::Named, DeValue::Table(classes)) => {
                for (name, value) in classes {
                    match value.get_ref() {
                        DeValue::Table(table) => {
                            let table = self.table(section, value.span(), table);
                            file.classes.push((name.get_ref().to_string(), table));
                        }
                        _ => self.misshapen(section, &name.span(), value.get_ref()),
                    }
                }
            }
            (Shape::Many, DeValue::Array(items)) => {
                for item in items {
                    match item.get_ref() {
                        DeValue::Table(table) => {
                            let table = self.table(section, item.span(), table);
                            file.many.entry(section.name).or_default().push(table);
                        }
                        other => self.misshapen(section, &item.span(), other),
                    }
                }
            }
            (_, other) => self.misshapen(section, key, other),
        }
    }

    fn misshapen(&mut self, section: &Section, at: &Span, found: &DeValue<'_>) {
        let title = format!("`{}` is not a table", section.name);
        let (title, help) = match section.shape {
            Shape::Many => (
                format!("`{}` is not a list of tables", section.name),
                format!("write [[{}]] with double brackets", section.name),
            ),
            Shape::Named => (
                "a class needs a name".to_owned(),
                "write [class.catalog], and its keys below".to_owned(),
            ),
            _ => (title, format!("write [{}], and its keys below", section.name)),
        };
        let label = format!("expected {}, found {}", section.title(), with_article(found));
        self.out.mistake(Mistake::at(at.clone(), title, label).help(help));
    }

    fn table(&mut self, section: &'static Section, at: Span, table: &DeTable<'_>) -> Table {
        let mut read = Table { at: Some(at), ..Table::empty(section) };
        for (key, value) in table {
            self.entry("", key, value, &mut read);
        }
        read
    }

    /// A key of a table, or a part of one with a dot in it.
    fn entry(
        &mut self,
        prefix: &str,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        into: &mut Table,
    ) {
        let path = format!("{prefix}{}", key.get_ref());
        let below = format!("{path}.");
        if let Some(knob) = into.section.knob(&path) {
            if knob.kind.secret() {
                self.hide(&knob.kind, value.span());
            }
            let read = self.value(knob.key, &knob.kind, value);
            into.entries.insert(knob.key, Entry { span: value.span(), value: read });
        } else if let Some(inner) = into.section.knobs().find(|k| k.key.starts_with(&below)) {
            match value.get_ref() {
                DeValue::Table(table) => {
                    for (key, value) in table {
                        self.entry(&below, key, value, into);
                    }
                }
                other => {
                    let found = with_article(other);
                    let label = format!("expected a key below it, found {found}");
                    let help = format!("write {} = …", inner.key);
                    let title = format!("`{path}` has no value of its own");
                    self.out.mistake(Mistake::at(value.span(), title, label).help(help));
                }
            }
        } else {
            if may_be_secret(&path) && value.get_ref().is_str() {
                self.hide(&Kind::Secret, value.span());
            }
            self.unknown(&path, key.span(), into.section);
        }
    }

    fn unknown(&mut self, path: &str, at: Span, section: &'static Section) {
        let top = section.shape == Shape::Top;
        let keys: Vec<_> = section.knobs().map(|knob| knob.key).collect();
        let tables: Vec<_> =
            SECTIONS.iter().map(|s| s.name).filter(|s| top && !s.is_empty()).collect();
        let elsewhere = || {
            let home = SECTIONS.iter().find(|s| s.knob(path).is_some());
            let table = SECTIONS.iter().find(|s| s.name == path);
            home.map(|home| format!("`{path}` is a key of {}", home.title()))
                .or_else(|| Some(format!("`{path}` is a table of its own: {}", table?.title())))
        };
        let candidates = keys.iter().chain(&tables).copied();
        let help = did_you_mean(path, candidates).or_else(elsewhere);
        let place = if top { "at" } else { "in" };
        let label = match (&help, top) {
            (Some(_), _) => "no such key".to_owned(),
            (None, false) => format!("expected one of {}", keys.join(", ")),
            (None, true) => {
                format!("expected {}, or a table: {}", keys.join(", "), tables.join(", "))
            }
        };
        let place = format!("{place} {}", section.title());
        let title = format!("unknown key `{path}` {place}");
        self.out.mistake(Mistake::at(at, title, label).maybe_help(help));
    }

    /// Keeps a secret out of what is shown of the file, unless it is only named there.
    fn hide(&mut self, kind: &Kind, span: Span) {
        let Some(typed) = self.text.get(span.clone()) else { return };
        let hidden = match kind {
            // Of a URL, who asks and with which password: the rest is needed to see a mistake. For a
            // socket both stand in its query.
            Kind::ValkeyUrl => {
                let start = typed.find("://").map_or(0, |at| at + 3);
                match typed.find('?').filter(|_| typed.contains("unix://")) {
                    Some(query) => query + 1..typed.len() - 1,
                    None => start..typed.rfind('@').unwrap_or(start),
                }
            }
            // All but the quotes, of which the second may have been forgotten.
            _ => {
                let closed = typed.len() > 1 && typed.chars().next() == typed.chars().next_back();
                1..if closed { typed.len() - 1 } else { typed.len() }
            }
        };
        if typed.get(hidden.clone()).is_some_and(|secret| !secret.contains("${")) {
            self.out.secret(span.start + hidden.start..span.start + hidden.end);
        }
    }

    fn value(&mut self, key: &str, kind: &Kind, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let span = value.span();
        let read = match (kind, value.get_ref()) {
            (Kind::List(inner), DeValue::Array(items)) => return self.list(key, inner, items),
            (Kind::Bool, DeValue::Boolean(on)) => Ok(Value::Bool(*on)),
            (Kind::Integer(..) | Kind::Size(..), DeValue::Integer(number)) => {
                let number = u64::from_str_radix(number.as_str(), number.radix());
                number.map_err(|_| kind.expected()).and_then(|n| kind.number(n)).map(Value::Number)
            }
            (Kind::Ratio(_), DeValue::Float(_) | DeValue::Integer(_)) => {
                let typed = self.text.get(span.clone()).unwrap_or_default();
                fraction(kind, typed)
            }
            (_, DeValue::String(text)) => return self.text(key, kind, text, span),
            (_, other) => Err(wrong_type(kind, other)),
        };
        self.told(key, &span, read)
    }

    fn text(&mut self, key: &str, kind: &Kind, text: &str, span: Span) -> Option<Value> {
        let full = match interpolate(text, self.env) {
            Ok(full) => full,
            Err(error) => {
                let typed = self.text.get(span.clone()).unwrap_or_default();
                let inside = typed.find(&error.typed);
                let at = inside.map_or_else(
                    || span.clone(),
                    |at| span.start + at..span.start + at + error.typed.len(),
                );
                let title = error.title;
                self.out.mistake(Mistake::at(at, title, error.label).help(error.help));
                return None;
            }
        };
        // A number or a switch may come from the environment, and only then as text.
        if !kind.takes_text() && full == text {
            let read = Err(wrong_type(kind, &DeValue::String(text.into())));
            return self.told(key, &span, read);
        }
        let read = kind.read(&full);
        self.told(key, &span, read)
    }

    /// A list, without the items about which a mistake was reported.
    fn list(&mut self, key: &str, kind: &Kind, items: &[Spanned<DeValue<'_>>]) -> Option<Value> {
        let read =
            items.iter().filter_map(|item| Some((self.value(key, kind, item)?, item.span())));
        Some(Value::List(read.collect()))
    }

    fn told(&mut self, key: &str, span: &Span, read: Result<Value, Malformed>) -> Option<Value> {
        read.map_err(|malformed| {
            let title = format!("`{key}` does not take this value");
            let label = format!("expected {}", malformed.expected);
            self.out.mistake(Mistake::at(span.clone(), title, label).maybe_help(malformed.help));
        })
        .ok()
    }
}

/// Does an unknown key look as if it were one whose value must not be shown?
fn may_be_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    let words = ["tok", "secret", "pass", "pwd", "auth", "cred", "valk", "redis"];
    words.iter().any(|word| key.contains(word))
}

fn fraction(kind: &Kind, typed: &str) -> Result<Value, Malformed> {
    let number: f64 = typed.replace('_', "").parse().map_err(|_| kind.expected())?;
    let read = kind.fraction(number).map(Value::Ratio);
    // `jitter = 10` means ten per cent to whoever types it.
    let percent = number > 1.0 && kind.fraction(number / 100.0).is_ok();
    read.map_err(|error| if percent { error.help(format!("write \"{typed}%\"")) } else { error })
}

fn wrong_type(kind: &Kind, found: &DeValue<'_>) -> Malformed {
    let error = Malformed::new(format!("{}, found {}", kind.noun(), with_article(found)));
    match (kind, found) {
        (Kind::Duration(..), DeValue::Integer(number)) => {
            error.help(format!("write a unit, in quotes: \"{number}s\""))
        }
        (Kind::Bool, DeValue::String(text)) if matches!(&**text, "true" | "false") => {
            error.help(format!("write {text} without quotes"))
        }
        (Kind::Integer(..), DeValue::String(text)) if text.parse::<u64>().is_ok() => {
            error.help(format!("write {text} without quotes"))
        }
        (Kind::Words(words), DeValue::Boolean(on)) => {
            let word = if *on { "on" } else { "off" };
            if words.contains(&word) { error.help(format!("write \"{word}\"")) } else { error }
        }
        (Kind::List(inner), DeValue::String(_)) if inner.takes_text() => {
            error.help("put it in square brackets")
        }
        (kind, DeValue::Array(_)) if kind.takes_text() => error.help("write one, without brackets"),
        _ => error,
    }
}

fn with_article(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(_) => "text".to_owned(),
        DeValue::Integer(_) => "an integer".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Boolean(on) => on.to_string(),
        other => format!("a {}", other.type_str()),
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
