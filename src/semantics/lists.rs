//! Pieces that field values are made of: lists, directives, entity tags, dates. Every function is
//! linear in its input and takes what a stranger may send.

use http::header::AsHeaderName;
use http::{HeaderMap, HeaderValue};

use super::fields::{parse_http_date, parse_http_date_at, trim};
use super::time::Timestamp;

/// Optional whitespace (RFC 9110 §5.6.3).
pub(super) const fn is_ows(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Where the quoted string (RFC 9110 §5.6.4) that `text` starts with ends: the index after its
/// closing quote; `None` if it is never closed.
pub(super) fn quoted_end(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (i, byte) in text.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(i + 1),
            _ => {}
        }
    }
    None
}

/// The parts of `text` between `separator`s that stand outside quoted strings, without the
/// whitespace around them. Empty parts are left out (RFC 9110 §5.6.1.2). A quote that is never
/// closed is a character like any other, so that it hides nothing behind it.
pub(super) fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    let mut quotes = true;
    std::iter::from_fn(move || {
        loop {
            let current = rest?;
            let end = part_end(current, separator, &mut quotes);
            let part = trim(current.get(..end).unwrap_or(current));
            rest = current.get(end + 1..);
            if !part.is_empty() {
                return Some(part);
            }
        }
    })
}

/// `quotes` turns false at the first quote without an end: there is none further on either, and
/// looking again for each would take quadratic time.
fn part_end(text: &[u8], separator: u8, quotes: &mut bool) -> usize {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        if *byte == separator {
            return at;
        }
        if *byte == b'"' && *quotes {
            match text.get(at..).and_then(quoted_end) {
                Some(length) => {
                    at += length;
                    continue;
                }
                None => *quotes = false,
            }
        }
        at += 1;
    }
    text.len()
}

/// The directives of a field such as Cache-Control, over all its lines: name as written, and the
/// argument without its quotes.
pub(super) fn directives(
    headers: &HeaderMap,
    name: impl AsHeaderName,
) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    headers.get_all(name).iter().flat_map(|line| split(line.as_bytes(), b',')).map(|member| {
        match member.iter().position(|b| *b == b'=') {
            Some(at) => {
                let (name, argument) = member.split_at(at);
                (trim(name), Some(unquoted(trim(argument.get(1..).unwrap_or_default()))))
            }
            None => (member, None),
        }
    })
}

fn unquoted(text: &[u8]) -> &[u8] {
    match text {
        [b'"', inner @ .., b'"'] => inner,
        _ => text,
    }
}

/// The value of a field that has exactly one line. Several lines of a field that is no list
/// contradict each other, and none of them can be believed.
pub(super) fn single(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    lines.next().is_none().then_some(first)
}

/// A field's HTTP-date (RFC 9110 §5.6.7, any of its three formats); `None` if it is absent,
/// repeated or not a date. `near`: a moment by the clock of whoever made the date, if one is known,
/// for two-digit years.
pub(super) fn date(
    headers: &HeaderMap,
    name: impl AsHeaderName,
    near: Option<Timestamp>,
) -> Option<Timestamp> {
    let value = single(headers, name)?;
    near.map_or_else(|| parse_http_date(value), |near| parse_http_date_at(value, near))
}

/// The opaque part, quotes included, of the entity tag (RFC 9110 §8.8.3) that is all of `text`.
pub(super) fn opaque_tag(text: &[u8]) -> Option<&[u8]> {
    match entity_tag(trim(text))? {
        (opaque, []) => Some(opaque),
        _ => None,
    }
}

/// The opaque parts of a list of entity tags. What is not an entity tag is passed over.
pub(super) fn opaque_tags(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            while let [b' ' | b'\t' | b',', tail @ ..] = rest {
                rest = tail;
            }
            if rest.is_empty() {
                return None;
            }
            let found = entity_tag(rest).filter(|(_, tail)| ends_a_member(tail));
            let tail = found.map_or(rest, |(_, tail)| tail);
            let comma = tail.iter().position(|b| *b == b',').unwrap_or(tail.len());
            rest = tail.get(comma..).unwrap_or_default();
            if let Some((opaque, _)) = found {
                return Some(opaque);
            }
        }
    })
}

/// An entity tag at the start of `text`: its opaque part, and what follows it.
///
/// RFC 9110 §8.8.3: `[ W/ ] DQUOTE *etagc DQUOTE`; a backslash escapes nothing there.
fn entity_tag(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = text.strip_prefix(b"W/").unwrap_or(text);
    let inner = start.strip_prefix(b"\"")?;
    let length = inner.iter().position(|b| !matches!(b, 0x21 | 0x23..=0x7e | 0x80..))?;
    (inner.get(length) == Some(&b'"')).then(|| start.split_at(length + 2))
}

fn ends_a_member(tail: &[u8]) -> bool {
    matches!(trim(tail), [] | [b',', ..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str) -> Vec<String> {
        split(text.as_bytes(), b',').map(|p| String::from_utf8_lossy(p).into_owned()).collect()
    }

    #[test]
    fn a_list_is_split_outside_quotes() {
        for (text, expected) in [
            ("a, b ,c", vec!["a", "b", "c"]),
            (",, a,,", vec!["a"]),
            ("", vec![]),
            (r#"a="x, y", b"#, vec![r#"a="x, y""#, "b"]),
            (r#"a="x\", y", b"#, vec![r#"a="x\", y""#, "b"]),
            (r#"a="x, no-store"#, vec![r#"a="x"#, "no-store"]),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn entity_tags_are_read_as_the_grammar_says() {
        for (text, expected) in [
            (r#""a""#, Some(r#""a""#)),
            (r#"W/"a""#, Some(r#""a""#)),
            (r#""""#, Some(r#""""#)),
            (r#""a\""#, Some(r#""a\""#)),
            (r#""a,b""#, Some(r#""a,b""#)),
            (r#"w/"a""#, None),
            ("a", None),
            (r#""a"#, None),
            (r#""a" "b""#, None),
            (r#""a b""#, None),
            ("", None),
        ] {
            assert_eq!(opaque_tag(text.as_bytes()), expected.map(str::as_bytes), "{text}");
        }
    }

    #[test]
    fn a_list_of_entity_tags_passes_over_what_is_none() {
        let text = br#" "a" ,W/"b,c",, junk, "d"x, "e"#;
        let tags: Vec<_> = opaque_tags(text).map(String::from_utf8_lossy).collect();
        assert_eq!(tags, [r#""a""#, r#""b,c""#]);
    }

    #[test]
    fn many_quotes_take_no_longer_than_other_text() {
        let text = br#""\"#.repeat(200_000);
        assert!(split(&text, b',').count() <= 1);
        assert_eq!(opaque_tags(&text).count(), 0);
    }

    proptest! {
        #[test]
        fn nothing_makes_them_panic(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = split(&text, b',').count();
            let _ = opaque_tags(&text).count();
            let _ = opaque_tag(&text);
            let _ = quoted_end(&text);
        }
    }
}
