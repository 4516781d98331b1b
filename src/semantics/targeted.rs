//! Which field says how a response may be cached (RFC 9213).
//!
//! | order | field | read as | ignored when |
//! |---|---|---|---|
//! | 1 | `Larder-Cache-Control` | structured-field dictionary | missing, empty or invalid |
//! | 2 | `CDN-Cache-Control` | structured-field dictionary | missing, empty or invalid |
//! | 3 | `Cache-Control`, `Expires` | RFC 9111 | one of the above applies |
//!
//! The dictionaries are read as RFC 9651 §4.2 says, strictly: one bad octet, and the field counts
//! as not there.

use std::borrow::Cow;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName};

use super::cache_control::{Argument, CacheControl, Duplicates, Reader};

/// The directives that apply to this cache.
pub fn effective(headers: &HeaderMap) -> CacheControl {
    // §2.2: "MUST select the first (in target-list order) field with a valid, non-empty value".
    TARGET_LIST
        .iter()
        .find_map(|name| targeted(headers, name))
        .unwrap_or_else(|| CacheControl::parse(headers.get_all(CACHE_CONTROL).iter()))
}

fn targeted(headers: &HeaderMap, name: &HeaderName) -> Option<CacheControl> {
    if !headers.contains_key(name) {
        return None;
    }
    // RFC 9651 §4.2: "parsers MUST combine all field lines".
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(|v| v.as_bytes()).collect();
    let combined = lines.join(&b", "[..]);
    let control = dictionary(&combined)?;
    Some(CacheControl { targeted: true, ..control })
}

/// `None` if the dictionary is empty or is none (RFC 9651 §4.2.2).
fn dictionary(text: &[u8]) -> Option<CacheControl> {
    let mut scan = Scanner { rest: text };
    let mut reader = Reader::new(Duplicates::Last);
    scan.skip(b" ");
    loop {
        let key = scan.key()?;
        let value = if scan.eat(b'=') { scan.item_or_inner_list()? } else { Item::Boolean(true) };
        // §2.1: "Parameters received on cache directives are to be ignored".
        scan.parameters()?;
        reader.take(key, &value.into_argument(key));
        scan.skip(b" \t");
        if scan.rest.is_empty() {
            return Some(reader.finish());
        }
        // An empty rest after the comma makes the next key fail: a trailing comma is an error.
        if !scan.eat(b',') {
            return None;
        }
        scan.skip(b" \t");
    }
}

/// A value, as far as directives have use for it.
enum Item<'a> {
    Integer(&'a [u8]),
    String(Cow<'a, [u8]>),
    Token(&'a [u8]),
    Boolean(bool),
    /// Decimals, byte sequences, dates, display strings, inner lists.
    Other,
}

impl<'a> Item<'a> {
    /// §2.1: a directive has no value (true), a string, or a token or number; "implementations
    /// SHOULD NOT consume values that violate these inferred constraints".
    fn into_argument(self, key: &[u8]) -> Argument<'a> {
        match self {
            Self::Boolean(true) => Argument::Absent,
            Self::Integer(digits) => Argument::Token(digits),
            Self::Token(token) => Argument::Token(token),
            // Only lists of fields are strings.
            Self::String(said) if matches!(key, b"no-cache" | b"private") => Argument::Quoted(said),
            Self::String(_) | Self::Boolean(false) | Self::Other => Argument::Foreign,
        }
    }
}

/// What is left to be read. Every method that returns an `Option` fails the whole field by `None`.
struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    /// RFC 9651 §4.2.1.1, without the parameters.
    fn item_or_inner_list(&mut self) -> Option<Item<'a>> {
        if !self.eat(b'(') {
            return self.bare_item();
        }
        // §4.2.1.2
        loop {
            self.skip(b" ");
            if self.eat(b')') {
                return Some(Item::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            if !matches!(self.peek()?, b' ' | b')') {
                return None;
            }
        }
    }

    /// §4.2.3.2
    fn parameters(&mut self) -> Option<()> {
        while self.eat(b';') {
            self.skip(b" ");
            self.key()?;
            if self.eat(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    /// §4.2.3.3
    fn key(&mut self) -> Option<&'a [u8]> {
        matches!(self.peek()?, b'a'..=b'z' | b'*').then_some(())?;
        Some(
            self.take_while(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*')),
        )
    }

    /// §4.2.3.1
    fn bare_item(&mut self) -> Option<Item<'a>> {
        match self.peek()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string().map(Item::String),
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => Some(Item::Token(self.take_while(is_token_octet))),
            b':' => self.byte_sequence(),
            b'?' => self.boolean(),
            b'@' => self.date(),
            b'%' => self.display_string(),
            _ => None,
        }
    }

    /// §4.2.4. The sign of an integer stays in it: no directive takes a negative one.
    fn number(&mut self) -> Option<Item<'a>> {
        let start = self.rest;
        self.eat(b'-');
        let whole = self.take_while(|b| b.is_ascii_digit()).len();
        if self.eat(b'.') {
            let fraction = self.take_while(|b| b.is_ascii_digit()).len();
            let fits = (1..=12).contains(&whole) && (1..=3).contains(&fraction);
            return fits.then_some(Item::Other);
        }
        (1..=15).contains(&whole).then_some(())?;
        start.get(..start.len() - self.rest.len()).map(Item::Integer)
    }

    /// §4.2.5: stricter than a quoted-string. ASCII only, and only quotes and backslashes escaped.
    fn string(&mut self) -> Option<Cow<'a, [u8]>> {
        self.eat(b'"').then_some(())?;
        let plain = self.take_while(|b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\'));
        if self.eat(b'"') {
            return Some(Cow::Borrowed(plain));
        }
        let mut said = plain.to_vec();
        loop {
            match self.next()? {
                b'"' => return Some(Cow::Owned(said)),
                b'\\' => match self.next()? {
                    escaped @ (b'"' | b'\\') => said.push(escaped),
                    _ => return None,
                },
                octet @ b' '..=b'~' => said.push(octet),
                _ => return None,
            }
        }
    }

    /// §4.2.7. What the octets say matters to no directive.
    fn byte_sequence(&mut self) -> Option<Item<'a>> {
        self.eat(b':').then_some(())?;
        self.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
        self.eat(b':').then_some(Item::Other)
    }

    /// §4.2.8
    fn boolean(&mut self) -> Option<Item<'a>> {
        self.eat(b'?').then_some(())?;
        match self.next()? {
            b'1' => Some(Item::Boolean(true)),
            b'0' => Some(Item::Boolean(false)),
            _ => None,
        }
    }

    /// §4.2.9: an integer, not a decimal.
    fn date(&mut self) -> Option<Item<'a>> {
        self.eat(b'@').then_some(())?;
        matches!(self.number()?, Item::Integer(_)).then_some(Item::Other)
    }

    /// §4.2.10
    fn display_string(&mut self) -> Option<Item<'a>> {
        (self.eat(b'%') && self.eat(b'"')).then_some(())?;
        let mut said = Vec::new();
        loop {
            match self.next()? {
                b'"' => return std::str::from_utf8(&said).is_ok().then_some(Item::Other),
                b'%' => said.push(lower_hex(self.next()?)? * 16 + lower_hex(self.next()?)?),
                octet @ b' '..=b'~' => said.push(octet),
                _ => return None,
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn eat(&mut self, octet: u8) -> bool {
        let there = self.peek() == Some(octet);
        if there {
            self.next();
        }
        there
    }

    fn skip(&mut self, octets: &[u8]) {
        self.take_while(|b| octets.contains(&b));
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|b| !belongs(*b)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

/// §4.2.6: a tchar, `:` or `/`.
fn is_token_octet(octet: u8) -> bool {
    matches!(octet, b':' | b'/') || super::fields::is_token(&[octet])
}

/// §4.2.10: "lowercase hexadecimal digits".
const fn lower_hex(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        _ => None,
    }
}

/// RFC 9213 §2.2: from most to least applicable.
const TARGET_LIST: [HeaderName; 2] =
    [HeaderName::from_static("larder-cache-control"), HeaderName::from_static("cdn-cache-control")];
