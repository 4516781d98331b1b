//! Which request fields tell responses of one URI apart, and when two requests agree on them
//! (RFC 9111 §4.1).
//!
//! | selecting field | normalised by |
//! |---|---|
//! | Accept, Accept-Encoding, Accept-Language | case, spaces, weights as numbers, order |
//! | Cookie | nothing but combining its lines |
//! | any other | combining lines, spaces around commas |
//!
//! What comes out means what went in, so two requests with the same outcome mean the same. Preference
//! is said by weights and nothing else (RFC 9110 §12.4.2), so the order of members does not count
//! (RFC 9111 §4.1: "reordering field values when order is not significant"). RFC 9110 §12.5.4 notes
//! that some recipients read the order of languages of equal weight as descending priority; "however,
//! this behavior cannot be relied upon". Two clients that differ in that order alone share what the
//! first of them got; one that minds gives weights, as browsers do.

use std::borrow::Cow;
use std::cmp::Reverse;

use http::header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, COOKIE, VARY};
use http::{HeaderMap, HeaderName};

use super::fields::{is_tchar, is_token, trim};
use super::lists::{is_ows, quoted_end, split};

/// More members than this in a list of preferences are not sorted.
const MOST_MEMBERS: usize = 64;

/// What a response varies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// Nothing beyond method and URI.
    None,
    /// Something that a request does not show (`*`): it answers no other request.
    Any,
    /// These request fields: sorted, each once.
    Fields(Vec<HeaderName>),
}

/// Reads all lines of Vary. A list that names something that cannot be a field is [`Vary::Any`]:
/// whatever was meant, no other request is known to match.
pub fn parse(headers: &HeaderMap) -> Vary {
    let mut fields = Vec::new();
    for line in headers.get_all(VARY) {
        for member in line.as_bytes().split(|b| *b == b',').map(trim).filter(|m| !m.is_empty()) {
            // RFC 9111 §4.1: a member "*" always fails to match.
            match HeaderName::from_bytes(member) {
                Ok(name) if member != b"*" => fields.push(name),
                _ => return Vary::Any,
            }
        }
    }
    if fields.is_empty() {
        return Vary::None;
    }
    fields.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    fields.dedup();
    Vary::Fields(fields)
}

/// What a request says in a selecting field, in the form that is compared and goes into keys;
/// `None` if it says nothing.
///
/// RFC 9111 §4.1: a field that is absent from a request only matches another request if it is
/// absent there too. Empty is not absent.
pub fn normalised(name: &HeaderName, headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = combined(name, headers)?;
    Some(if carries_preferences(name) {
        preferences(&value).unwrap_or_else(|| tightened(&value))
    } else if name == COOKIE {
        trim(&value).to_vec()
    } else {
        tightened(&value)
    })
}

/// RFC 9111 §4.1: "combining multiple header field lines with the same field name". Cookie is the
/// one request field that is split and combined otherwise (RFC 9113 §8.2.3).
fn combined<'a>(name: &HeaderName, headers: &'a HeaderMap) -> Option<Cow<'a, [u8]>> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?.as_bytes();
    let mut value = Cow::Borrowed(first);
    let between: &[u8] = if name == COOKIE { b"; " } else { b", " };
    for line in lines {
        let value = value.to_mut();
        value.extend_from_slice(between);
        value.extend_from_slice(line.as_bytes());
    }
    Some(value)
}

/// RFC 9111 §4.1: "adding or removing whitespace, where allowed in the header field's syntax":
/// around the commas of a list, but not inside a quoted string. A value with a quote that is never
/// closed is left alone.
fn tightened(value: &[u8]) -> Vec<u8> {
    let value = trim(value);
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, tail)) = rest.split_first() {
        match byte {
            b'"' => {
                let Some((string, after)) = quoted_end(rest).and_then(|e| rest.split_at_checked(e))
                else {
                    return value.to_vec();
                };
                out.extend_from_slice(string);
                rest = after;
            }
            b',' => {
                while out.last().is_some_and(|b| is_ows(*b)) {
                    out.pop();
                }
                out.push(b',');
                rest = tail;
                while let [b' ' | b'\t', after @ ..] = rest {
                    rest = after;
                }
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

/// Is it one of the fields that carry preferences with weights (RFC 9110 §12.5)?
fn carries_preferences(name: &HeaderName) -> bool {
    [ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE].contains(name)
}

/// A member of a list of preferences: its text lies in a buffer shared by all.
#[derive(Clone, Copy, Debug)]
struct Preference {
    start: usize,
    end: usize,
    /// In thousandths.
    weight: u16,
}

impl Preference {
    fn text(self, buffer: &[u8]) -> &[u8] {
        buffer.get(self.start..self.end).unwrap_or_default()
    }
}

/// A list of preferences, heaviest first, equals by their text. `None` if it is not well-formed, too long to sort, or
/// weighs the same thing twice, where the order may decide which weight counts.
fn preferences(value: &[u8]) -> Option<Vec<u8>> {
    let mut buffer = Vec::with_capacity(value.len());
    let mut members = Vec::new();
    for member in split(value, b',') {
        if members.len() == MOST_MEMBERS {
            return None;
        }
        members.push(preference(member, &mut buffer)?);
    }
    members.sort_unstable_by_key(|m| m.text(&buffer));
    if members.windows(2).any(|w| matches!(w, [a, b] if a.text(&buffer) == b.text(&buffer))) {
        return None;
    }
    members.sort_by_key(|m| Reverse(m.weight));

    let mut out = Vec::with_capacity(value.len());
    for member in members {
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(member.text(&buffer));
        push_weight(&mut out, member.weight);
    }
    Some(out)
}

/// `range *( OWS ";" OWS parameter ) [ weight ]`, written to `buffer` without the weight.
///
/// Ranges of media types, languages and codings, and the names of parameters, are
/// case-insensitive; a parameter's value may not be. A parameter behind the weight meant something
/// else before RFC 9110 (§12.5.1), so it is not touched.
fn preference(member: &[u8], buffer: &mut Vec<u8>) -> Option<Preference> {
    // `;q=1` has no range at all.
    if member.first() == Some(&b';') {
        return None;
    }
    let start = buffer.len();
    let mut weight = None;
    for (i, part) in split(member, b';').enumerate() {
        if weight.is_some() {
            return None;
        }
        if i == 0 {
            if !part.iter().all(|b| is_tchar(*b) || *b == b'/') {
                return None;
            }
            buffer.extend(part.iter().map(u8::to_ascii_lowercase));
            continue;
        }
        let (name, argument) = part.split_at(part.iter().position(|b| *b == b'=')?);
        let argument = argument.get(1..)?;
        if name.eq_ignore_ascii_case(b"q") {
            weight = Some(parse_weight(argument)?);
        } else if is_token(name) && (is_token(argument) || is_quoted(argument)) {
            buffer.push(b';');
            buffer.extend(name.iter().map(u8::to_ascii_lowercase));
            buffer.push(b'=');
            buffer.extend_from_slice(argument);
        } else {
            return None;
        }
    }
    Some(Preference { start, end: buffer.len(), weight: weight.unwrap_or(1000) })
}

fn is_quoted(text: &[u8]) -> bool {
    text.first() == Some(&b'"') && quoted_end(text) == Some(text.len())
}

/// RFC 9110 §12.4.2: `( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`, in thousandths.
fn parse_weight(text: &[u8]) -> Option<u16> {
    let (whole, fraction) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut weight = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (digit, unit) in fraction.iter().zip([100, 10, 1]) {
        if !digit.is_ascii_digit() {
            return None;
        }
        weight += u16::from(digit - b'0') * unit;
    }
    (weight <= 1000).then_some(weight)
}

/// A weight in its shortest form; 1 is what is meant when there is none.
fn push_weight(out: &mut Vec<u8>, weight: u16) {
    if weight >= 1000 {
        return;
    }
    out.extend_from_slice(b";q=0");
    let digits = [weight / 100, weight / 10 % 10, weight % 10];
    let length = digits.iter().rposition(|d| *d != 0).map_or(0, |last| last + 1);
    if length > 0 {
        out.push(b'.');
    }
    out.extend(digits.iter().take(length).filter_map(|d| u8::try_from(*d).ok()).map(|d| b'0' + d));
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn lines(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    fn said(name: &'static str, values: &[&str]) -> Option<String> {
        let outcome = normalised(&HeaderName::from_static(name), &lines(name, values));
        outcome.map(|v| String::from_utf8(v).unwrap())
    }

    #[test]
    fn vary_is_read_over_all_its_lines() {
        let fields = |names: &[&'static str]| {
            Vary::Fields(names.iter().map(|n| HeaderName::from_static(n)).collect())
        };
        let rows: [(&[&str], Vary); 12] = [
            (&[], Vary::None),
            (&[""], Vary::None),
            (&[" , "], Vary::None),
            (&["Accept"], fields(&["accept"])),
            (&["B, a,b , A"], fields(&["a", "b"])),
            (&["b", "a"], fields(&["a", "b"])),
            (&["*"], Vary::Any),
            (&["*, *"], Vary::Any),
            (&["a", "*"], Vary::Any),
            (&["", "*"], Vary::Any),
            (&["a b"], Vary::Any),
            (&["a, \"b\""], Vary::Any),
        ];
        for (values, expected) in rows {
            assert_eq!(parse(&lines("vary", values)), expected, "{values:?}");
        }
    }

    #[test]
    fn absent_is_not_empty() {
        for name in ["x-any", "accept", "accept-encoding", "cookie"] {
            assert_eq!(said(name, &[]), None, "{name}");
            assert_eq!(said(name, &[""]), Some(String::new()), "{name}");
        }
    }

    #[test]
    fn requests_that_mean_the_same_match() {
        let rows: [(&'static str, &[&str], &[&str]); 21] = [
            ("x-any", &["1,2"], &[" 1 ,\t2 "]),
            ("x-any", &["1, 2"], &["1", "2"]),
            ("cookie", &["a=1; b=2"], &["a=1", "b=2"]),
            ("accept-encoding", &["gzip, br"], &["BR,gzip"]),
            (
                "accept-encoding",
                &["gzip;q=1.0, identity; q=0.5, *;q=0"],
                &["*;Q=0.0,identity;q=0.50,gzip"],
            ),
            ("accept-encoding", &["gzip, , br,"], &["gzip", "br"]),
            ("accept-encoding", &[","], &[""]),
            ("accept-language", &["en, de"], &["eN ,   De"]),
            ("accept-language", &["en, de"], &["de, en"]),
            ("accept-language", &["en, de;q=1"], &["de", "en;q=1.000"]),
            ("accept-language", &["fr;q=0.5, en, de;q=0.5"], &["en, de;q=0.5, fr;q=0.5"]),
            ("accept", &["text/html, application/json"], &["application/json, text/html"]),
            ("accept", &["a/b;v=1, a/b;v=2"], &["a/b;v=2, a/b;v=1"]),
            ("accept-encoding", &["gzip;q=1"], &["GZIP"]),
            ("accept-encoding", &["identity, *;q=0"], &["*;q=0.000, identity;q=1.0"]),
            ("accept-language", &["en, de;q=0.8"], &["de;q=0.80, en"]),
            ("accept-language", &["en;q=0.8, de;q=0.9"], &["de;q=0.9,en;q=0.800"]),
            ("accept", &["text/HTML ; Level=1 ; q=0.3"], &["text/html;level=1;q=0.300"]),
            ("accept", &["*/*;q=0.1, application/json"], &["application/json,*/*;q=0.1"]),
            ("accept", &["text/html;"], &["text/html"]),
            ("accept", &["a/b;q=1"], &["a/b"]),
        ];
        for (name, one, other) in rows {
            assert_eq!(said(name, one), said(name, other), "{name}: {one:?} {other:?}");
        }
    }

    #[test]
    fn requests_that_may_be_answered_differently_do_not_match() {
        let rows: [(&'static str, &str, &str); 18] = [
            ("x-any", "a", "A"),
            ("x-any", "a b", "a  b"),
            ("x-any", "\"a, b\"", "\"a,b\""),
            ("x-any", "\"a\\\", b\"", "\"a\\\",b\""),
            ("x-any", "a,b", "b,a"),
            ("x-any", "a,,b", "a,b"),
            ("cookie", "a=1; b=2", "b=2; a=1"),
            ("cookie", "a=1, 2", "a=1,2"),
            ("accept-encoding", "gzip", "gzip;q=0"),
            ("accept-encoding", "", "gzip"),
            ("accept-encoding", "gzip;q=0.5, gzip", "gzip, gzip;q=0.5"),
            ("accept-encoding", "gzip", "gzip, identity"),
            ("accept-encoding", "gzip", "gzip, *;q=0"),
            ("accept-language", "en;q=0.9, de", "de;q=0.9, en"),
            ("accept", "a/b;v=X", "a/b;v=x"),
            ("accept", "a/b;v=\"x, y\"", "a/b;v=\"x,y\""),
            ("accept", "a/b;q=0.5;ext=1", "a/b;ext=1;q=0.5"),
            ("accept", "a/b;q=0.5", "a/b;q=0.55"),
        ];
        for (name, one, other) in rows {
            assert_ne!(said(name, &[one]), said(name, &[other]), "{name}: {one} {other}");
        }
    }

    #[test]
    fn what_is_malformed_is_compared_as_it_is() {
        for value in [
            "gzip;q=2",
            "gzip;q=0.1234",
            "gzip;q=",
            "gzip;q",
            "gz ip",
            ";q=1",
            "gzip;q=1.1",
            "\"gzip",
        ] {
            assert_eq!(said("accept-encoding", &[value]).as_deref(), Some(value));
        }
    }

    #[test]
    fn a_list_too_long_to_sort_is_compared_as_it_is() {
        let long: Vec<String> = (0..200).rev().map(|i| format!("c{i}")).collect();
        assert_eq!(said("accept-encoding", &[&long.join(", ")]), Some(long.join(",")));
    }

    static FIELDS: [HeaderName; 5] =
        [ACCEPT, ACCEPT_LANGUAGE, ACCEPT_ENCODING, COOKIE, HeaderName::from_static("x-any")];

    fn value() -> impl Strategy<Value = Vec<u8>> {
        const PIECES: [&str; 18] = [
            "gzip", "br", "*", "a/b", "A/*", ";", "q=", "0.5", "1", "0", ",", " ", "\t", "\"",
            "\\", "=", "v", "\u{e9}",
        ];
        proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..24)
            .prop_map(|p| p.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(
            values in proptest::collection::vec(value(), 1..3),
            name in proptest::sample::select(&FIELDS[..]),
        ) {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(&name, HeaderValue::from_bytes(value).unwrap());
            }
            let once = normalised(&name, &headers).unwrap();
            let mut again = HeaderMap::new();
            again.append(&name, HeaderValue::from_bytes(&once).unwrap());
            prop_assert_eq!(normalised(&name, &again), Some(once));
        }

        #[test]
        fn weights_come_out_as_they_went_in(weight in 0_u16..=1000) {
            let mut out = Vec::new();
            push_weight(&mut out, weight);
            let read = out.strip_prefix(b";q=").map_or(Some(1000), parse_weight);
            prop_assert_eq!(read, Some(weight));
        }

        #[test]
        fn vary_never_panics(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                headers.append(VARY, value.clone());
                headers.append(ACCEPT, value);
                let _ = parse(&headers);
                let _ = normalised(&ACCEPT, &headers);
            }
        }
    }
}
