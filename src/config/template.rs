//! Small languages inside configuration values: templates with captures, names with captures,
//! host patterns, networks.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use super::captures::Captures;

/// Text with holes: `product:{id}`, `tenants/{tenant}`, and in tags also `product:{$.items[*].id}`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Template {
    /// In order.
    pub parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Text(Box<str>),
    /// What the route's path captured under this name.
    Capture(Box<str>),
    /// What stands at this place of the response's JSON content.
    Json(JsonPath),
}

/// Where to look in a JSON document: `$.items[*].id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    /// Steps from the root.
    pub steps: Vec<JsonStep>,
}

/// One step down a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonStep {
    /// Member of an object.
    Member(Box<str>),
    /// Element of an array.
    Index(usize),
    /// Every element of an array (or member of an object).
    Each,
}

/// What kind of name a rule makes (`ledger::Name` has the meaning of each).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// `tag:`
    Tag,
    /// `namespace:`
    Namespace,
    /// `url:`
    Url,
    /// `path:`
    Path,
    /// `prefix:`
    Prefix,
}

/// An `on_write` rule: `tag:product:{id}`, `namespace:search`, `path:/products`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRule {
    /// What it names.
    pub kind: NameKind,
    /// The name, with captures of the written path.
    pub template: Template,
}

/// Which hosts a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// Exactly this one, in lower case, without a port.
    Exact(Arc<str>),
    /// `*.example.com`: any one or more labels before this suffix (kept as `.example.com`).
    Suffix(Arc<str>),
}

/// A range of addresses, as in `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address in it.
    pub address: IpAddr,
    /// Number of leading bits that count.
    pub bits: u8,
}

/// A text that is not what it should be: what was expected, and perhaps the cure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct Malformed {
    /// What was expected, to stand after "expected".
    pub expected: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Malformed {
    pub(super) fn new(expected: impl Into<String>) -> Self {
        Self { expected: expected.into(), help: None }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl Part {
    /// As it stands; `None` for a hole.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Capture(_) | Self::Json(_) => None,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Self::Capture(name) => write!(f, "{{{name}}}"),
            Self::Json(path) => write!(f, "{{{path}}}"),
        }
    }
}

impl Template {
    /// A template without holes.
    pub fn text(text: &str) -> Self {
        Self { parts: vec![Part::Text(text.into())] }
    }

    /// With what was captured in place of the holes. `None` if a capture is missing, or if a part
    /// needs a response's content.
    pub fn expand(&self, captures: &Captures) -> Option<String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Capture(name) => text.push_str(captures.get(name)?),
                Part::Json(_) => return None,
            }
        }
        Some(text)
    }

    /// The text, if there are no holes: it need not be expanded per request.
    pub fn as_text(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Names of the captures that it needs.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Capture(name) => Some(&**name),
            _ => None,
        })
    }

    /// Does a part need a response's content?
    pub fn needs_json(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Json(_)))
    }
}

impl FromStr for Template {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            if let Some(tail) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
                plain.extend(from.chars().next());
                rest = tail;
                continue;
            }
            let Some(inside) = from.strip_prefix('{') else {
                return Err(
                    Malformed::new("a `{` before this `}`").help("write }} to mean a brace")
                );
            };
            let (hole, tail) = split_hole(inside).ok_or_else(|| {
                Malformed::new("a `}` after this `{`").help("write {{ to mean a brace")
            })?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain).into()));
            }
            parts.push(parse_hole(hole)?);
            rest = tail;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        Ok(Self { parts })
    }
}

/// What stands before the closing brace and what after it. A brace within quotes (a JSON member's
/// name) does not close.
fn split_hole(inside: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let end = inside.char_indices().find_map(|(at, c)| {
        quoted ^= c == '\'';
        (c == '}' && !quoted).then_some(at)
    })?;
    Some((inside.get(..end)?, inside.get(end + 1..)?))
}

fn parse_hole(hole: &str) -> Result<Part, Malformed> {
    if hole.starts_with('$') {
        return hole.parse().map(Part::Json);
    }
    if let Some(name) = hole.strip_prefix('*') {
        return Err(Malformed::new("the capture's name without its asterisk")
            .help(format!("write {{{name}}}: only the path says how much it captures")));
    }
    let fits = !hole.is_empty() && hole.chars().all(|c| c.is_alphanumeric() || "_-".contains(c));
    if fits {
        Ok(Part::Capture(hole.into()))
    } else {
        Err(Malformed::new("the name of a capture in braces, such as {id}"))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| part.fmt(f))
    }
}

impl NameKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Tag, Self::Namespace, Self::Url, Self::Path, Self::Prefix];

    /// The word before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::Namespace => "namespace",
            Self::Url => "url",
            Self::Path => "path",
            Self::Prefix => "prefix",
        }
    }
}

impl NameRule {
    /// The name in its text form (`tag:product:7`, as `ledger::name::Name` reads it). `None` if a
    /// capture is missing.
    pub fn expand(&self, captures: &Captures) -> Option<String> {
        self.template.expand(captures).map(|text| format!("{}:{text}", self.kind.as_str()))
    }
}

impl FromStr for NameRule {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let expected = || {
            Malformed::new("tag:…, namespace:…, url:/…, path:/… or prefix:/…")
                .help("the word before the colon says what kind of name it is")
        };
        let (kind, name) = text.split_once(':').ok_or_else(expected)?;
        let kind = NameKind::ALL.into_iter().find(|k| k.as_str() == kind).ok_or_else(expected)?;
        let template: Template = name.parse()?;
        if template.needs_json() {
            return Err(Malformed::new("captures of the path only")
                .help("what a write invalidates is decided before there is a response"));
        }
        let first = match template.parts.first() {
            None => return Err(Malformed::new(format!("a name after {}:", kind.as_str()))),
            Some(Part::Text(text)) => text.chars().next(),
            Some(_) => None,
        };
        match kind {
            NameKind::Namespace => check_namespace(&template)?,
            NameKind::Tag => {}
            _ if first != Some('/') => {
                return Err(Malformed::new(format!("a `/` after {}:", kind.as_str())));
            }
            _ => {}
        }
        Ok(Self { kind, template })
    }
}

impl fmt::Display for NameRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.template)
    }
}

/// A namespace is names with slashes between them, none of them empty.
pub(super) fn check_namespace(template: &Template) -> Result<(), Malformed> {
    if template.needs_json() {
        return Err(Malformed::new("captures of the path only")
            .help("the namespace is part of the key, which is made before there is a response"));
    }
    check_namespace_form(template)
}

/// The same for what may be filled from anywhere.
pub(super) fn check_namespace_form(template: &Template) -> Result<(), Malformed> {
    let filled: String = template
        .parts
        .iter()
        .map(|part| if let Part::Text(text) = part { text } else { "x" })
        .collect();
    let fits = filled.split('/').all(|name| !name.is_empty())
        && !filled.contains(|c: char| c.is_control() || c.is_whitespace());
    if fits {
        Ok(())
    } else {
        Err(Malformed::new("names with slashes between them, such as \"catalog/products\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captures() -> Captures {
        [("id", "7"), ("rest", "a/b")].into_iter().collect()
    }

    #[test]
    fn templates_are_filled_with_captures() {
        let rows = [
            ("", Some("")),
            ("products", Some("products")),
            ("product:{id}", Some("product:7")),
            ("{id}{rest}", Some("7a/b")),
            ("{{{id}}}", Some("{7}")),
            ("a}}b{{c", Some("a}b{c")),
            ("{other}", None),
            ("product:{$.id}", None),
        ];
        for (text, expected) in rows {
            let template: Template = text.parse().unwrap();
            assert_eq!(template.expand(&captures()).as_deref(), expected, "{text}");
            assert_eq!(template.to_string(), text);
        }
    }

    #[test]
    fn a_json_path_may_hold_a_brace_within_quotes() {
        let template: Template = "t:{$['a}b'].c}".parse().unwrap();
        assert!(template.needs_json());
        assert_eq!(template.to_string(), "t:{$['a}b'].c}");
    }

    #[test]
    fn what_is_not_a_template_is_refused() {
        for text in ["{", "}", "a{b", "a}b", "{}", "{a b}", "{*rest}", "{$.}", "{$x}", "{a{b}}"] {
            assert!(text.parse::<Template>().is_err(), "{text}");
        }
    }

    #[test]
    fn rules_name_what_a_write_invalidates() {
        let rows = [
            ("tag:product:{id}", Some("tag:product:7")),
            ("namespace:search", Some("namespace:search")),
            ("path:/products", Some("path:/products")),
            ("url:/products?page=1", Some("url:/products?page=1")),
            ("prefix://h.test/{rest}/", Some("prefix://h.test/a/b/")),
            ("tag:{missing}", None),
        ];
        for (text, expected) in rows {
            let rule: NameRule = text.parse().unwrap();
            assert_eq!(rule.expand(&captures()).as_deref(), expected, "{text}");
            assert_eq!(rule.to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_rule_is_refused() {
        for text in [
            "",
            "products",
            "all",
            "colour:red",
            "tag:",
            "path:products",
            "path:{rest}",
            "url:",
            "namespace:",
            "namespace:/a",
            "namespace:a//b",
            "namespace:a/",
            "tag:{$.id}",
        ] {
            assert!(text.parse::<NameRule>().is_err(), "{text}");
        }
    }
}
