//! `[[bridge]]`: which messages of pub/sub are listened for, and the names that they make.
//!
//! | hole of a name | is filled with |
//! |---|---|
//! | `{$.id}`, `{$.items[*].id}` | what stands there in a message that is JSON; a name for each of several |
//! | `{message}` | the whole message |
//! | `{channel}` | the channel that it came by |
//! | `{1}`, `{2}` | what the first, the second `*` of the channel's pattern stood for |

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Valkey;
use super::template::{JsonStep, Malformed, NameKind, Part, Template, check_namespace_form};

/// What arrives on a channel, and what it invalidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Where it is listened.
    pub channel: Channel,
    /// What a message invalidates; at least one.
    pub names: Vec<EventRule>,
    /// Entries turn stale rather than go.
    pub soft: bool,
    /// What is invalidated when messages may have been missed. None of these has a hole.
    pub on_gap: Vec<EventRule>,
    /// Where the channel is; `None`: in `store.valkey`, which is then given.
    pub valkey: Option<Valkey>,
}

/// A channel, or a pattern of channels as PSUBSCRIBE takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// As typed.
    pub text: Arc<str>,
    /// `None`: a name, not a pattern.
    pieces: Option<Arc<[Piece]>>,
}

/// A piece of a pattern. Patterns are of bytes, as on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// `*`
    Any,
    /// `?`
    One,
    Byte(u8),
    /// `[a-z]`, `[^a-z]`
    Among {
        negated: bool,
        ranges: Vec<(u8, u8)>,
    },
}

/// What makes names of messages: `tag:product:{$.id}`, `namespace:catalog`, `all`, `{message}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRule {
    /// The word before the colon; `all` has nothing behind it. Empty: the message says it.
    pub kind: &'static str,
    /// What stands behind the colon.
    pub template: Template,
}

/// Longest name of a channel, in bytes.
pub const MAX_CHANNEL: usize = 1024;

impl Channel {
    /// Is it one for PSUBSCRIBE?
    pub const fn is_pattern(&self) -> bool {
        self.pieces.is_some()
    }

    /// How many `*` it has.
    pub fn stars(&self) -> usize {
        self.pieces.iter().flat_map(|p| p.iter()).filter(|p| **p == Piece::Any).count()
    }

    /// What each `*` stands for in this channel: as little as it can, from the left. `None` if the
    /// pattern does not match.
    pub fn captures<'c>(&self, channel: &'c str) -> Option<Vec<&'c str>> {
        let Some(pieces) = &self.pieces else {
            return (*self.text == *channel).then(Vec::new);
        };
        let spans = spans(pieces, channel.as_bytes())?;
        spans.into_iter().map(|(start, end)| channel.get(start..end)).collect()
    }
}

/// Where each `*` starts and ends. Only the last one is ever tried longer: what an earlier one
/// could take as well, the last one can.
fn spans(pieces: &[Piece], text: &[u8]) -> Option<Vec<(usize, usize)>> {
    let (mut at, mut piece) = (0, 0);
    let mut spans: Vec<(usize, usize)> = Vec::new();
    // The piece behind the last star.
    let mut resume = None;
    while at < text.len() || piece < pieces.len() {
        let byte = text.get(at);
        let fits = match (pieces.get(piece), byte) {
            (Some(Piece::Any), _) => {
                spans.push((at, at));
                piece += 1;
                resume = Some(piece);
                continue;
            }
            (Some(one), Some(byte)) => one.takes(*byte),
            _ => false,
        };
        if fits {
            (at, piece) = (at + 1, piece + 1);
            continue;
        }
        let (star, behind) = (spans.last_mut()?, resume?);
        if star.1 >= text.len() {
            return None;
        }
        star.1 += 1;
        (at, piece) = (star.1, behind);
    }
    Some(spans)
}

impl Piece {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Byte(own) => *own == byte,
            Self::Among { negated, ranges } => {
                ranges.iter().any(|(from, to)| (from..=to).contains(&&byte)) != *negated
            }
        }
    }
}

impl FromStr for Channel {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() || text.len() > MAX_CHANNEL || text.contains(char::is_control) {
            return Err(Malformed::new("the name of a channel, such as \"products\"")
                .help("patterns are taken too: \"products.*\""));
        }
        let is_pattern = text.contains(['*', '?', '[']);
        let pieces = is_pattern.then(|| pieces(text.as_bytes())).transpose()?;
        Ok(Self { text: text.into(), pieces: pieces.map(Into::into) })
    }
}

fn pieces(mut text: &[u8]) -> Result<Vec<Piece>, Malformed> {
    let mut pieces = Vec::new();
    while let Some((byte, rest)) = text.split_first() {
        text = rest;
        pieces.push(match byte {
            // Several in a row are one, on the server too.
            b'*' if pieces.last() == Some(&Piece::Any) => continue,
            b'*' => Piece::Any,
            b'?' => Piece::One,
            b'\\' => {
                let (escaped, rest) = text.split_first().ok_or_else(|| {
                    Malformed::new("a character after `\\`").help("write \\\\ to mean `\\`")
                })?;
                text = rest;
                Piece::Byte(*escaped)
            }
            b'[' => {
                let (class, rest) = class(text).ok_or_else(|| {
                    Malformed::new("a `]` after this `[`").help("write \\[ to mean `[`")
                })?;
                text = rest;
                class
            }
            other => Piece::Byte(*other),
        });
    }
    Ok(pieces)
}

/// What stands behind a `[`, and what is left behind its `]`.
fn class(text: &[u8]) -> Option<(Piece, &[u8])> {
    let inside = text.strip_prefix(b"^");
    let (negated, mut text) = (inside.is_some(), inside.unwrap_or(text));
    let mut ranges = Vec::new();
    loop {
        match text {
            [b'\\', escaped, rest @ ..] => {
                ranges.push((*escaped, *escaped));
                text = rest;
            }
            [b']', rest @ ..] => return Some((Piece::Among { negated, ranges }, rest)),
            [from, b'-', to, rest @ ..] => {
                ranges.push((*from.min(to), *from.max(to)));
                text = rest;
            }
            [one, rest @ ..] => {
                ranges.push((*one, *one));
                text = rest;
            }
            [] => return None,
        }
    }
}

impl EventRule {
    /// Everything.
    const ALL: &str = "all";
    const GROUP: &str = "group";

    fn checked(self) -> Result<Self, Malformed> {
        let parts = &self.template.parts;
        let through_lists =
            |part: &&Part| matches!(part, Part::Json(path) if path.steps.contains(&JsonStep::Each));
        if parts.iter().filter(through_lists).count() > 1 {
            return Err(Malformed::new("at most one place with [*]")
                .help("which item of one list belongs to which of the other is anybody's guess"));
        }
        let start = match parts.first() {
            None => return Err(Malformed::new(format!("a name after {}:", self.kind))),
            Some(Part::Text(text)) => Some(&**text),
            Some(_) => None,
        };
        let must_start = match self.kind {
            "url" | "path" | "prefix" => "/",
            Self::GROUP => "//",
            _ => "",
        };
        if start.is_some_and(|start| !start.starts_with(must_start)) {
            return Err(Malformed::new(format!("`{must_start}` after {}:", self.kind)));
        }
        if self.kind == NameKind::Namespace.as_str() {
            check_namespace_form(&self.template)?;
        }
        Ok(self)
    }
}

impl FromStr for EventRule {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text == Self::ALL {
            return Ok(Self { kind: Self::ALL, template: Template::default() });
        }
        if text.starts_with('{') && !text.starts_with("{{") {
            return Self { kind: "", template: text.parse()? }.checked();
        }
        let kinds = NameKind::ALL.map(NameKind::as_str);
        let mut kinds = kinds.into_iter().chain([Self::GROUP]);
        let split = text.split_once(':');
        let found = split.and_then(|(kind, rest)| Some((kinds.find(|k| *k == kind)?, rest)));
        let (kind, rest) = found.ok_or_else(|| {
            Malformed::new(
                "all, tag:…, namespace:…, url:/…, path:/…, prefix:/…, group://host/…, or a hole \
                 that has all of it, such as {message}",
            )
            .help("the word before the colon says what kind of name it is")
        })?;
        Self { kind, template: rest.parse()? }.checked()
    }
}

impl fmt::Display for EventRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Self::ALL => f.write_str(Self::ALL),
            "" => self.template.fmt(f),
            kind => write!(f, "{kind}:{}", self.template),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captures<'c>(pattern: &str, channel: &'c str) -> Option<Vec<&'c str>> {
        pattern.parse::<Channel>().unwrap().captures(channel)
    }

    #[test]
    fn patterns_match_as_the_server_matches_them() {
        for (pattern, channel, expected) in [
            ("products", "products", Some(vec![])),
            ("products", "product", None),
            ("products.*", "products.7", Some(vec!["7"])),
            ("products.*", "products.", Some(vec![""])),
            ("products.*", "products", None),
            ("*", "", Some(vec![""])),
            ("*.*", "a.b.c", Some(vec!["a", "b.c"])),
            ("*.*.c", "a.b.c.c", Some(vec!["a", "b.c"])),
            ("a*b*c", "aXbYbZc", Some(vec!["X", "YbZ"])),
            ("a*b*c", "aXbYbZ", None),
            ("**.x", "a.x", Some(vec!["a"])),
            ("t?n", "tan", Some(vec![])),
            ("t?n", "tn", None),
            ("[a-c]*", "b7", Some(vec!["7"])),
            ("[c-a]*", "b7", Some(vec!["7"])),
            ("[^a-c]*", "b7", None),
            ("[^a-c]*", "d7", Some(vec!["7"])),
            ("[]*", "a", None),
            ("[\\]]x*", "]xy", Some(vec!["y"])),
            ("\\*.*", "*.y", Some(vec!["y"])),
            ("\\*.*", "x.y", None),
            // Half a character is no text.
            ("?*", "\u{e9}", None),
        ] {
            assert_eq!(captures(pattern, channel), expected, "{pattern} {channel}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = "*a".repeat(500);
        assert_eq!(captures(&pattern, &"a".repeat(499)), None);
        assert!(captures(&pattern, &"a".repeat(5000)).is_some());
    }

    #[test]
    fn what_is_no_channel_is_refused() {
        let long = "x".repeat(MAX_CHANNEL + 1);
        for text in ["", "a\nb", "a[", "[^", "a[b", "*\\", &long] {
            assert!(text.parse::<Channel>().is_err(), "{text}");
        }
        for (text, is_pattern, stars) in
            [("a\\b", false, 0), ("a.*.*", true, 2), ("a?", true, 0), ("**", true, 1)]
        {
            let channel: Channel = text.parse().unwrap();
            assert_eq!((channel.is_pattern(), channel.stars()), (is_pattern, stars), "{text}");
        }
    }

    #[test]
    fn rules_are_names_with_holes() {
        for (text, kind) in [
            ("all", "all"),
            ("tag:product:{$.id}", "tag"),
            ("tag:{1}", "tag"),
            ("namespace:t/{$.tenant}/x", "namespace"),
            ("path:/products/{$.items[*].id}", "path"),
            ("path:{message}", "path"),
            ("url:/search?q={$.q}", "url"),
            ("prefix://h.test/{channel}", "prefix"),
            ("group://h.test/{$.group}", "group"),
            ("{message}", ""),
            ("{$['a b:c']}", ""),
        ] {
            let rule: EventRule = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((rule.kind, rule.to_string().as_str()), (kind, text));
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in [
            "",
            "products",
            "colour:red",
            "tag:",
            "namespace:",
            "namespace:/a",
            "namespace:a//b",
            "path:products",
            "path:products/{$.id}",
            "group:/h/a",
            "{{x}}",
            "tag:{$.a[*]}{$.b[*]}",
            "tag:{",
        ] {
            assert!(text.parse::<EventRule>().is_err(), "{text}");
        }
    }
}
