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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(fields: &[(&'static str, &str)]) -> CacheControl {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        effective(&headers)
    }

    /// `max-age` of the field that applied, and whether it was a targeted one.
    fn applied(fields: &[(&'static str, &str)]) -> (Option<u64>, bool) {
        let control = read(fields);
        (control.max_age.map(|d| d.as_secs()), control.targeted)
    }

    const LARDER: &str = "larder-cache-control";
    const CDN: &str = "cdn-cache-control";
    const PLAIN: &str = "cache-control";

    #[test]
    fn the_first_valid_field_of_the_target_list_applies() {
        assert_eq!(applied(&[]), (None, false));
        assert_eq!(applied(&[(PLAIN, "max-age=1")]), (Some(1), false));
        assert_eq!(applied(&[(PLAIN, "max-age=1"), (CDN, "max-age=2")]), (Some(2), true));
        let all = [(PLAIN, "max-age=1"), (CDN, "max-age=2"), (LARDER, "max-age=3")];
        assert_eq!(applied(&all), (Some(3), true));
        assert_eq!(applied(&[(CDN, "max-age=2"), (LARDER, "")]), (Some(2), true));
        assert_eq!(applied(&[(CDN, "max-age=2"), (LARDER, "max-age=")]), (Some(2), true));
        assert_eq!(applied(&[(PLAIN, "max-age=1"), (CDN, "@")]), (Some(1), false));
        // Not a field of ours.
        let other = [(PLAIN, "max-age=1"), ("example-cache-control", "max-age=2")];
        assert_eq!(applied(&other), (Some(1), false));
    }

    #[test]
    fn a_targeted_field_leaves_nothing_of_cache_control() {
        let control = read(&[(PLAIN, "no-store, private"), (CDN, "none")]);
        assert_eq!(control, CacheControl { targeted: true, ..CacheControl::default() });
        let control = read(&[(PLAIN, "max-age=60, public"), (CDN, "no-store")]);
        assert!(control.no_store && !control.public && control.max_age.is_none());
    }

    #[test]
    fn a_dictionary_is_valid_or_as_if_not_there() {
        for valid in [
            "max-age=5",
            "  max-age=5  ",
            "max-age=5;param;q=1.5;s=\"x\", a",
            "a=1, max-age=5 ,\tb=?0",
            "max-age=60, max-age=5",
            "a=-12, b=1.125, c=token/x:y, d=:aGk=:, e=?1, f=@-1, g=%\"%c3%bc\", max-age=5",
            "a=(1 \"b\" c;d=1 );e, b=(), c=( x ), max-age=5",
            "a=\"x\\\"\\\\, max-age=9\", max-age=5",
            "*a_-.*=1, max-age=5",
            "max-age=000000000000005",
        ] {
            assert_eq!(applied(&[(PLAIN, "max-age=1"), (CDN, valid)]), (Some(5), true), "{valid}");
        }
        for invalid in [
            "",
            " ",
            ",",
            "max-age=5,",
            ",max-age=5",
            "max-age=5,,a",
            "max-age=5 a",
            "max-age=5; ",
            "Max-Age=5",
            "max-age =5",
            "max-age= 5",
            "max-age=",
            "max-age=5s, Q",
            "max-age=-",
            "max-age=1234567890123456",
            "max-age=1.",
            "max-age=1.2345",
            "max-age=1234567890123.1",
            "a=?2, max-age=5",
            "a=?, max-age=5",
            "a=\"x, max-age=5",
            "a=\"\\x\", max-age=5",
            "a=\"\u{fc}\", max-age=5",
            "a=\"\t\", max-age=5",
            "a=:x, max-age=5",
            "a=:*:, max-age=5",
            "a=@1.5, max-age=5",
            "a=%\"%C3%BC\", max-age=5",
            "a=%\"%ff\", max-age=5",
            "a=%x, max-age=5",
            "a=(1, max-age=5",
            "a=(1\"b\"), max-age=5",
            "a=((1)), max-age=5",
            "a;B=1, max-age=5",
            "a;=1, max-age=5",
            "&, max-age=5",
            "max-age=5, \u{fc}",
        ] {
            let fields = [(PLAIN, "max-age=1"), (CDN, invalid)];
            assert_eq!(applied(&fields), (Some(1), false), "{invalid}");
        }
    }

    #[test]
    fn several_lines_are_one_dictionary() {
        let control = read(&[(CDN, "max-age=5"), (CDN, "must-revalidate")]);
        assert!(control.targeted && control.must_revalidate && control.max_age.is_some());
        assert_eq!(
            applied(&[(CDN, "max-age=5"), (CDN, "@"), (PLAIN, "max-age=1")]),
            (Some(1), false)
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_permits_nothing_and_lifts_nothing() {
        for said in ["5.0", "\"5\"", "five", "-5", "?1", "?0", "(5)", ":NQ==:", "@5"] {
            let control = read(&[(CDN, &format!("max-age={said}, stale-if-error={said}"))]);
            assert_eq!(control.max_age, Some(Duration::ZERO), "{said}");
            assert_eq!(control.stale_if_error, None, "{said}");
        }
        let control = read(&[(CDN, "public=?0, must-understand=?0, immutable=1")]);
        assert_eq!(control, CacheControl { targeted: true, ..CacheControl::default() });
        for said in ["no-store", "no-store=?0", "no-store=1", "no-store;x"] {
            assert!(read(&[(CDN, said)]).no_store, "{said}");
        }
        for said in ["private", "private=?0", "private=x-a", "private=(\"x-a\")", "private=\"\""] {
            assert!(read(&[(CDN, said)]).is_private(), "{said}");
        }
        let control = read(&[(CDN, "private=\"x-a, X-B\", no-cache=\"x-c\"")]);
        assert!(!control.is_private() && !control.is_no_cache());
        assert!(control.excluded_fields().eq(["x-a", "x-b", "x-c"].iter()));
    }

    proptest! {
        #[test]
        fn no_field_value_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = dictionary(&bytes);
        }

        #[test]
        fn almost_dictionaries_do_not_panic(text in r#"[a=(\);:?@%", 01.\\*-]{0,40}"#) {
            let _ = dictionary(text.as_bytes());
        }

        #[test]
        fn what_it_says_survives_any_other_member(
            other in r#"[a-z]{1,5}(=(-?[0-9]{1,15}|\?[01]|"[a-z ,]{0,8}"|[a-zA-Z]{1,8}))?(;[a-z]{1,3})?"#,
        ) {
            let text = format!("{other}, no-store, z-z=1, {other}");
            prop_assert!(dictionary(text.as_bytes()).is_some_and(|control| control.no_store));
        }
    }
}
