//! Structured fields: lists, dictionaries and items (RFC 9651 §4.2).
//!
//! | bare item | looks like | becomes |
//! |---|---|---|
//! | Integer, at most 15 digits | `-42` | [`BareItem::Integer`] |
//! | Decimal, at most 12 and 3 digits | `4.5` | [`BareItem::Decimal`], in thousandths |
//! | String, ASCII | `"a \"b\""` | [`BareItem::String`], unescaped |
//! | Token | `text/html`, `*` | [`BareItem::Token`] |
//! | Byte Sequence | `:aGk=:` | [`BareItem::Bytes`], base64 as it came, checked |
//! | Boolean | `?1` | [`BareItem::Boolean`] |
//! | Date | `@1659578233` | [`BareItem::Date`], in seconds |
//! | Display String | `%"f%c3%bc"` | [`BareItem::Display`], decoded |
//!
//! Strict: "if parsing fails, either the entire field value MUST be ignored (i.e., treated as if
//! the field were not present in the section)". So every function here gives all or `None`. How
//! long a field may be is decided where messages are read; nothing here recurses, and time and
//! memory are proportional to the input's length.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use http::{HeaderMap, HeaderName};

/// All lines of a field as one text; `None` if it is not there, or not ASCII.
pub fn combined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    // §4.2: "parsers MUST combine all field lines in the same section [...] into one
    // comma-separated field-value".
    let mut lines = headers.get_all(name).iter();
    let mut text = ascii(lines.next()?.as_bytes())?.to_owned();
    for line in lines {
        text.push_str(", ");
        text.push_str(ascii(line.as_bytes())?);
    }
    Some(text)
}

/// §4.2.1. Of an empty text: the empty list.
pub fn list(text: &str) -> Option<Vec<Member<'_>>> {
    let mut members = Vec::new();
    let mut scan = Scanner::new(text)?;
    while !scan.rest.is_empty() {
        members.push(scan.item_or_inner_list()?);
        scan.next_member()?;
    }
    Some(members)
}

/// §4.2.2. Of an empty text: the empty dictionary.
pub fn dictionary(text: &str) -> Option<Dictionary<'_>> {
    let mut members = Ordered::default();
    let mut scan = Scanner::new(text)?;
    while !scan.rest.is_empty() {
        let key = scan.key()?;
        let member = if scan.eat(b'=') {
            scan.item_or_inner_list()?
        } else {
            Member { value: Value::Item(BareItem::Boolean(true)), parameters: scan.parameters()? }
        };
        members.insert(key, member);
        scan.next_member()?;
    }
    Some(Dictionary(members.list))
}

/// §4.2.3.
pub fn item(text: &str) -> Option<Item<'_>> {
    let mut scan = Scanner::new(text)?;
    let item = scan.item()?;
    scan.skip(b" ");
    scan.rest.is_empty().then_some(item)
}

/// A member of a list or dictionary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// What it is.
    pub value: Value<'a>,
    /// What stands behind its semicolons.
    pub parameters: Parameters<'a>,
}

/// What a member may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// One item.
    Item(BareItem<'a>),
    /// Items in parentheses (§3.1.1).
    InnerList(Vec<Item<'a>>),
}

/// A bare item and its parameters (§3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// What it is.
    pub value: BareItem<'a>,
    /// What stands behind its semicolons.
    pub parameters: Parameters<'a>,
}

/// A value without parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BareItem<'a> {
    /// Between -999 999 999 999 999 and 999 999 999 999 999.
    Integer(i64),
    /// In thousandths.
    Decimal(i64),
    /// Printable ASCII.
    String(Cow<'a, str>),
    /// A word.
    Token(&'a str),
    /// Base64, with its padding or without.
    Bytes(&'a str),
    /// True or false.
    Boolean(bool),
    /// Seconds since 1970, in UTC.
    Date(i64),
    /// Any text.
    Display(String),
}

/// Keys and values in order, each key once (§3.1.2).
pub type Parameters<'a> = Vec<(&'a str, BareItem<'a>)>;

/// Keys and members in order, each key once (§3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dictionary<'a>(pub Vec<(&'a str, Member<'a>)>);

impl<'a> Dictionary<'a> {
    /// The member of this key.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(k, _)| *k == key).map(|(_, member)| &member.value)
    }
}

impl<'a> Value<'a> {
    /// The text, if it is a String.
    pub fn as_string(&self) -> Option<&str> {
        match self {
            Self::Item(BareItem::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The texts, if it is an inner list of nothing but Strings.
    pub fn as_strings(&self) -> Option<Vec<&str>> {
        let Self::InnerList(items) = self else { return None };
        items
            .iter()
            .map(|item| match &item.value {
                BareItem::String(text) => Some(&**text),
                _ => None,
            })
            .collect()
    }
}

/// A map that keeps its order. §4.2.2, §4.2.3.2: "when duplicate [...] keys are encountered, all
/// but the last instance are ignored"; the last takes the place of the first.
struct Ordered<'a, V> {
    list: Vec<(&'a str, V)>,
    at: HashMap<&'a str, usize>,
}

impl<V> Default for Ordered<'_, V> {
    fn default() -> Self {
        Self { list: Vec::new(), at: HashMap::new() }
    }
}

impl<'a, V> Ordered<'a, V> {
    fn insert(&mut self, key: &'a str, value: V) {
        match self.at.entry(key) {
            Entry::Occupied(known) => {
                if let Some((_, old)) = self.list.get_mut(*known.get()) {
                    *old = value;
                }
            }
            Entry::Vacant(new) => {
                new.insert(self.list.len());
                self.list.push((key, value));
            }
        }
    }
}

/// What is left to be read: ASCII. Every method that returns an `Option` fails the whole field by
/// `None`.
struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// §4.2: "Convert input_bytes into an ASCII string"; "Discard any leading SP characters".
    fn new(text: &'a str) -> Option<Self> {
        let mut scan = Self { rest: ascii(text.as_bytes())? };
        scan.skip(b" ");
        Some(scan)
    }

    /// From the end of a member to the start of the next, or to the end of the text.
    fn next_member(&mut self) -> Option<()> {
        self.skip(b" \t");
        if self.rest.is_empty() {
            return Some(());
        }
        self.eat(b',').then_some(())?;
        self.skip(b" \t");
        // "If input_string is empty, there is a trailing comma; fail parsing."
        (!self.rest.is_empty()).then_some(())
    }

    /// §4.2.1.1
    fn item_or_inner_list(&mut self) -> Option<Member<'a>> {
        let value = if self.eat(b'(') {
            Value::InnerList(self.inner_list()?)
        } else {
            Value::Item(self.bare_item()?)
        };
        Some(Member { value, parameters: self.parameters()? })
    }

    /// §4.2.1.2, behind its parenthesis and without its own parameters. Inner lists do not nest.
    fn inner_list(&mut self) -> Option<Vec<Item<'a>>> {
        let mut items = Vec::new();
        loop {
            self.skip(b" ");
            if self.eat(b')') {
                return Some(items);
            }
            items.push(self.item()?);
            if !matches!(self.peek()?, b' ' | b')') {
                return None;
            }
        }
    }

    /// §4.2.3
    fn item(&mut self) -> Option<Item<'a>> {
        Some(Item { value: self.bare_item()?, parameters: self.parameters()? })
    }

    /// §4.2.3.1
    fn bare_item(&mut self) -> Option<BareItem<'a>> {
        match self.peek()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string().map(BareItem::String),
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
                Some(BareItem::Token(self.take_while(is_token_octet)))
            }
            b':' => self.byte_sequence(),
            b'?' => self.boolean(),
            b'@' => self.date(),
            b'%' => self.display_string(),
            _ => None,
        }
    }

    /// §4.2.3.2
    fn parameters(&mut self) -> Option<Parameters<'a>> {
        let mut parameters = Ordered::default();
        while self.eat(b';') {
            self.skip(b" ");
            let key = self.key()?;
            let value = if self.eat(b'=') { self.bare_item()? } else { BareItem::Boolean(true) };
            parameters.insert(key, value);
        }
        Some(parameters.list)
    }

    /// §4.2.3.3
    fn key(&mut self) -> Option<&'a str> {
        matches!(self.peek()?, b'a'..=b'z' | b'*').then_some(())?;
        Some(
            self.take_while(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*')),
        )
    }

    /// §4.2.4
    fn number(&mut self) -> Option<BareItem<'a>> {
        let sign = if self.eat(b'-') { -1 } else { 1 };
        let whole = self.take_while(|b| b.is_ascii_digit());
        if !self.eat(b'.') {
            // "If type is \"integer\" and input_number contains more than 15 characters, fail".
            (1..=15).contains(&whole.len()).then_some(())?;
            return Some(BareItem::Integer(sign * whole.parse::<i64>().ok()?));
        }
        let fraction = self.take_while(|b| b.is_ascii_digit());
        ((1..=12).contains(&whole.len()) && (1..=3).contains(&fraction.len())).then_some(())?;
        let thousandths = format!("{whole}{fraction:0<3}").parse::<i64>().ok()?;
        Some(BareItem::Decimal(sign * thousandths))
    }

    /// §4.2.5: stricter than a quoted-string. ASCII only, and only quotes and backslashes escaped.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.eat(b'"').then_some(())?;
        let plain = self.take_while(|b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\'));
        if self.eat(b'"') {
            return Some(Cow::Borrowed(plain));
        }
        let mut said = plain.to_owned();
        loop {
            match self.next()? {
                b'"' => return Some(Cow::Owned(said)),
                b'\\' => match self.next()? {
                    escaped @ (b'"' | b'\\') => said.push(char::from(escaped)),
                    _ => return None,
                },
                octet @ b' '..=b'~' => said.push(char::from(octet)),
                _ => return None,
            }
        }
    }

    /// §4.2.7
    fn byte_sequence(&mut self) -> Option<BareItem<'a>> {
        self.eat(b':').then_some(())?;
        let encoded =
            self.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
        (self.eat(b':') && is_base64(encoded)).then_some(BareItem::Bytes(encoded))
    }

    /// §4.2.8
    fn boolean(&mut self) -> Option<BareItem<'a>> {
        self.eat(b'?').then_some(())?;
        match self.next()? {
            b'1' => Some(BareItem::Boolean(true)),
            b'0' => Some(BareItem::Boolean(false)),
            _ => None,
        }
    }

    /// §4.2.9: an integer, not a decimal.
    fn date(&mut self) -> Option<BareItem<'a>> {
        self.eat(b'@').then_some(())?;
        match self.number()? {
            BareItem::Integer(seconds) => Some(BareItem::Date(seconds)),
            _ => None,
        }
    }

    /// §4.2.10
    fn display_string(&mut self) -> Option<BareItem<'a>> {
        (self.eat(b'%') && self.eat(b'"')).then_some(())?;
        let mut said = Vec::new();
        loop {
            match self.next()? {
                b'"' => return String::from_utf8(said).ok().map(BareItem::Display),
                b'%' => said.push(lower_hex(self.next()?)? * 16 + lower_hex(self.next()?)?),
                octet @ b' '..=b'~' => said.push(octet),
                _ => return None,
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let first = self.peek()?;
        self.rest = self.rest.get(1..)?;
        Some(first)
    }

    fn eat(&mut self, octet: u8) -> bool {
        self.peek() == Some(octet) && self.next().is_some()
    }

    fn skip(&mut self, octets: &[u8]) {
        self.take_while(|b| octets.contains(&b));
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let end = self.rest.bytes().position(|b| !belongs(b)).unwrap_or(self.rest.len());
        // ASCII has a boundary everywhere.
        let Some((taken, rest)) = self.rest.split_at_checked(end) else { return "" };
        self.rest = rest;
        taken
    }
}

/// §4.2: "if conversion fails, fail parsing."
fn ascii(bytes: &[u8]) -> Option<&str> {
    str::from_utf8(bytes).ok().filter(|text| text.is_ascii())
}

/// §4.2.6: a tchar, `:` or `/`.
fn is_token_octet(octet: u8) -> bool {
    matches!(octet, b':' | b'/') || super::fields::is_token(&[octet])
}

/// Can this be decoded, the alphabet being right? §4.2.7: "parsers SHOULD NOT fail when \"=\"
/// padding is not present", nor "when non-zero pad bits are present".
fn is_base64(encoded: &str) -> bool {
    let data = encoded.trim_end_matches('=');
    let padding = encoded.len() - data.len();
    let padded = padding == 0 || (padding <= 2 && encoded.len().is_multiple_of(4));
    !data.contains('=') && data.len() % 4 != 1 && padded
}

/// §4.2.10: "lowercase hexadecimal digits".
const fn lower_hex(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
