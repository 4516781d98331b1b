//! Content-Range: which part of a representation a message holds (RFC 9110 §14.4).
//!
//! | field | is |
//! |---|---|
//! | `bytes 0-4/10` | [`ContentRange::Part`] of a known length |
//! | `bytes 0-4/*` | [`ContentRange::Part`] of an unknown length |
//! | `bytes */10` | [`ContentRange::Unsatisfied`] |
//! | anything else, another unit included | `None` |

use std::fmt;

use http::header::CONTENT_RANGE;
use http::{HeaderMap, HeaderValue};

use super::super::fields::trim;
use super::super::lists::single;
use super::Span;

/// A Content-Range in bytes that is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentRange {
    /// These bytes of a representation that is this long, if that is known.
    Part(Span, Option<u64>),
    /// None of a representation of this length.
    Unsatisfied(u64),
}

/// A part, and how long the whole is: `span.last < complete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The bytes that are here.
    pub span: Span,
    /// Length of the complete representation, in bytes.
    pub complete: u64,
}

impl Extent {
    /// All of a representation of `complete` bytes; `None` if that is nothing.
    pub fn of_whole(complete: u64) -> Option<Self> {
        let last = complete.checked_sub(1)?;
        Some(Self { span: Span { first: 0, last }, complete })
    }

    /// Is it all of it?
    pub const fn is_whole(self) -> bool {
        self.span.length() == self.complete
    }

    /// As a field.
    pub fn to_value(self) -> HeaderValue {
        ContentRange::Part(self.span, Some(self.complete)).to_value()
    }
}

/// The part that a response says it holds; `None` if it says so in several lines or not validly, or
/// leaves open how long the whole is.
pub fn extent(headers: &HeaderMap) -> Option<Extent> {
    match ContentRange::parse(single(headers, CONTENT_RANGE)?)? {
        ContentRange::Part(span, Some(complete)) => Some(Extent { span, complete }),
        _ => None,
    }
}

impl ContentRange {
    /// Reads one line of the field.
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let value = trim(value.as_bytes());
        let (unit, rest) = value.split_at_checked(b"bytes ".len())?;
        if !unit.eq_ignore_ascii_case(b"bytes ") {
            return None;
        }
        let (range, complete) = split_once(rest, b'/')?;
        if range == b"*" {
            return number(complete).map(Self::Unsatisfied);
        }
        let complete = if complete == b"*" { None } else { Some(number(complete)?) };
        let (first, last) = split_once(range, b'-')?;
        let span = Span { first: number(first)?, last: number(last)? };
        // "invalid if it contains a range-resp that has a last-pos value less than its first-pos
        // value, or a complete-length value less than or equal to its last-pos value"
        let valid = span.first <= span.last && complete.is_none_or(|length| span.last < length);
        valid.then_some(Self::Part(span, complete))
    }

    /// As a field.
    pub fn to_value(self) -> HeaderValue {
        // Letters, digits and `*-/`: always a field value.
        HeaderValue::try_from(self.to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("bytes */0"))
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(Span { first, last }, Some(complete)) => {
                write!(f, "bytes {first}-{last}/{complete}")
            }
            Self::Part(Span { first, last }, None) => write!(f, "bytes {first}-{last}/*"),
            Self::Unsatisfied(complete) => write!(f, "bytes */{complete}"),
        }
    }
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = bytes.iter().position(|b| *b == at)?;
    let (head, tail) = bytes.split_at(place);
    Some((head, tail.get(1..)?))
}

/// One or more digits. What is too large to count cannot be put together with anything.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<ContentRange> {
        ContentRange::parse(&HeaderValue::from_str(text).unwrap())
    }

    const fn part(first: u64, last: u64, complete: Option<u64>) -> Option<ContentRange> {
        Some(ContentRange::Part(Span { first, last }, complete))
    }

    #[test]
    fn what_is_valid_is_read_and_nothing_else() {
        for (text, expected) in [
            ("bytes 0-4/10", part(0, 4, Some(10))),
            ("BYTES 0-4/10", part(0, 4, Some(10))),
            ("bytes 42-1233/1234", part(42, 1233, Some(1234))),
            ("bytes 42-1233/*", part(42, 1233, None)),
            ("bytes 0-0/1", part(0, 0, Some(1))),
            ("bytes */1234", Some(ContentRange::Unsatisfied(1234))),
            ("bytes */0", Some(ContentRange::Unsatisfied(0))),
            ("bytes */*", None),
            ("bytes 4-0/10", None),
            ("bytes 0-10/10", None),
            ("bytes 0-4/4", None),
            ("bytes 0-/10", None),
            ("bytes -4/10", None),
            ("bytes +0-4/10", None),
            ("bytes 0-4", None),
            ("bytes=0-4/10", None),
            ("bytes  0-4/10", None),
            ("bytes 0 - 4/10", None),
            ("bytes 0-4/10, bytes 5-9/10", None),
            ("items 0-4/10", None),
            ("0-4/10", None),
            ("", None),
            ("bytes 0-18446744073709551615/18446744073709551616", None),
            ("bytes 0-18446744073709551615/*", part(0, u64::MAX, None)),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_response_holds_a_part_if_one_line_says_of_how_much() {
        let headers = |lines: &[&str]| -> HeaderMap {
            let value = |line: &&str| (CONTENT_RANGE, HeaderValue::from_str(line).unwrap());
            lines.iter().map(value).collect()
        };
        let span = Span { first: 0, last: 4 };
        let told = extent(&headers(&["bytes 0-4/10"]));
        assert_eq!(told, Some(Extent { span, complete: 10 }));
        assert!(!told.unwrap().is_whole());
        assert!(extent(&headers(&["bytes 0-9/10"])).unwrap().is_whole());
        for lines in [&[][..], &["bytes 0-4/*"], &["bytes */10"], &["bytes 0-4/10", "bytes 0-4/10"]]
        {
            assert_eq!(extent(&headers(lines)), None, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_printed_is_read_as_the_same(
            first in any::<u64>(), more in any::<u64>(), beyond in any::<u64>(), known: bool,
        ) {
            let last = first.saturating_add(more);
            let complete = (known && last < u64::MAX)
                .then(|| last.saturating_add(1).saturating_add(beyond));
            let range = ContentRange::Part(Span { first, last }, complete);
            prop_assert_eq!(ContentRange::parse(&range.to_value()), Some(range));
            let none = ContentRange::Unsatisfied(first);
            prop_assert_eq!(ContentRange::parse(&none.to_value()), Some(none));
        }

        #[test]
        fn nothing_that_an_origin_sends_makes_it_panic(
            value in proptest::collection::vec(any::<u8>(), 0..60),
            numbers in "bytes [0-9*/-]{0,50}",
        ) {
            for value in [value, numbers.into_bytes()] {
                let Ok(value) = HeaderValue::from_bytes(&value) else { continue };
                if let Some(ContentRange::Part(span, complete)) = ContentRange::parse(&value) {
                    prop_assert!(span.first <= span.last);
                    prop_assert!(complete.is_none_or(|complete| span.last < complete));
                }
            }
        }
    }
}
