//! Parts of a representation (RFC 9110 §14, RFC 9111 §3.3, §3.4). Bytes only.
//!
//! | a request's Range | [`of_request`] | answered with |
//! |---|---|---|
//! | absent, in several lines, or not valid | [`Field::Ignored`] | the whole |
//! | in another unit | [`Field::Foreign`] | what the origin says |
//! | `bytes=…`, valid | [`Field::Bytes`] | see below |
//!
//! | of a representation of `n` bytes | [`Ranges::select`] | answered with |
//! |---|---|---|
//! | `n` is 0 | [`Selection::Whole`] | 200 |
//! | nothing of it | [`Selection::Unsatisfiable`] | 416 |
//! | one range, once those that overlap or touch are one | [`Selection::One`] | 206 |
//! | two to sixteen | [`Selection::Several`] | 206 with `multipart/byteranges` |
//! | more | [`Selection::Whole`] | 200 |
//!
//! | RFC 9110 | file |
//! |---|---|
//! | §13.1.5 If-Range | [`if_range`] |
//! | §14.4 Content-Range | [`content_range`] |
//! | §14.6 multipart/byteranges | [`multipart`] |
//! | §15.3.7.3 combining parts | [`combine`] |

use std::fmt;

use http::HeaderMap;
use http::header::RANGE;

use super::fields::trim;
use super::lists::single;

pub mod combine;
pub mod content_range;
pub mod if_range;
pub mod multipart;

/// So many parts are sent at most. Beyond that the frames cost more than what is left out saves
/// (RFC 9110 §17.15).
const MOST_PARTS: usize = 16;

/// So many ranges are read at most; who asks for more gets the whole.
const MOST_SPECS: usize = 256;

/// Consecutive bytes of a representation. Never empty: `first <= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte, from zero.
    pub first: u64,
    /// Offset of the last byte, inclusive.
    pub last: u64,
}

impl Span {
    /// How many bytes these are.
    pub const fn length(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// Are all of `other`'s bytes among these?
    pub const fn contains(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Have the two a byte in common, or does one begin where the other ends?
    pub const fn meets(self, other: Self) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }
}

/// What a request's Range field comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// There is none that counts.
    Ignored,
    /// It counts in a unit that is none of ours.
    Foreign,
    /// These bytes.
    Bytes(Ranges),
}

/// Reads a request's Range field.
pub fn of_request(headers: &HeaderMap) -> Field {
    // A field that is no list has one line; two contradict each other.
    let Some(value) = single(headers, RANGE) else { return Field::Ignored };
    match set_in_bytes(value.as_bytes()) {
        None => Field::Foreign,
        Some(set) => Ranges::parse_set(set).map_or(Field::Ignored, Field::Bytes),
    }
}

/// Does the request ask for a part in a unit that only its origin may know? Such a request is not
/// ours to answer, and its answer nothing to keep: 200 may stand above a part of it.
///
/// RFC 9110 §14.2: "A proxy MAY discard a Range header field that contains a range unit it does not
/// understand": this one lets it through.
pub fn is_foreign(headers: &HeaderMap) -> bool {
    single(headers, RANGE).is_some_and(|value| set_in_bytes(value.as_bytes()).is_none())
}

/// What follows `bytes=`. RFC 9110 §14.1: "All range unit names are case-insensitive".
fn set_in_bytes(value: &[u8]) -> Option<&[u8]> {
    let value = trim(value);
    let (unit, set) = value.split_at_checked(b"bytes=".len())?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(set)
}

/// The ranges that a request asks for, in its order; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges(Vec<Spec>);

/// RFC 9110 §14.1.1: `int-range / suffix-range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    /// `first-last`, or `first-` to the end.
    From(u64, Option<u64>),
    /// `-length`: so many at the end.
    Last(u64),
}

/// What ranges come to for a representation of known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it, as if no range had been asked for.
    Whole,
    /// These bytes.
    One(Span),
    /// These, in the order in which they are to be sent; none meets another.
    Several(Vec<Span>),
    /// Nothing.
    Unsatisfiable,
}

impl Ranges {
    /// Reads a range-set. RFC 9110 §14.1.1: it "is invalid if it contains any range-spec that is
    /// invalid".
    fn parse_set(set: &[u8]) -> Option<Self> {
        let mut specs = Vec::new();
        // §5.6.1.2: empty members are parsed and ignored.
        for member in set.split(|b| *b == b',').map(trim).filter(|member| !member.is_empty()) {
            if specs.len() == MOST_SPECS {
                return None;
            }
            specs.push(Spec::parse(member)?);
        }
        (!specs.is_empty()).then_some(Self(specs))
    }

    /// Which bytes of a representation that is `length` bytes long?
    pub fn select(&self, length: u64) -> Selection {
        // RFC 9110 §14.2: "MAY ignore a Range header field when the selected representation has no
        // content". There is no Content-Range for no bytes.
        if length == 0 {
            return Selection::Whole;
        }
        let satisfiable = self.0.iter().filter_map(|spec| spec.within(length)).collect();
        let parts = coalesced(satisfiable);
        match parts.as_slice() {
            [] => Selection::Unsatisfiable,
            // §15.3.7.2: "MUST NOT generate a multipart response to a request for a single range".
            [one] => Selection::One(*one),
            several if several.len() > MOST_PARTS => Selection::Whole,
            _ => Selection::Several(parts),
        }
    }
}

impl Spec {
    fn parse(spec: &[u8]) -> Option<Self> {
        let dash = spec.iter().position(|b| *b == b'-')?;
        let (first, rest) = spec.split_at(dash);
        let last = rest.get(1..)?;
        match (first.is_empty(), last.is_empty()) {
            (true, true) => None,
            (true, false) => Some(Self::Last(number(last)?)),
            (false, true) => Some(Self::From(number(first)?, None)),
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                // §14.1.1: "invalid if the last-pos value is present and less than the first-pos".
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    /// RFC 9110 §14.1.2: satisfiable is "an int-range with a first-pos that is less than the
    /// current length", or "a suffix-range with a non-zero suffix-length".
    fn within(self, length: u64) -> Option<Span> {
        let end = length.checked_sub(1)?;
        match self {
            Self::From(first, last) => {
                (first <= end).then(|| Span { first, last: last.map_or(end, |last| last.min(end)) })
            }
            // "If the selected representation is shorter than the specified suffix-length, the
            // entire representation is used."
            Self::Last(wanted) => {
                (wanted > 0).then(|| Span { first: length.saturating_sub(wanted), last: end })
            }
        }
    }
}

/// RFC 9110 §14.1.2: "recipients MUST anticipate potentially large decimal numerals": one that is
/// too large to count is beyond the end of anything.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(sum.saturating_mul(10).saturating_add(digit))
    })
}

/// RFC 9110 §15.3.7.2: "MAY coalesce any of the ranges that overlap", and sends the parts "in the
/// same order that the corresponding range-spec appeared": each stands where its first range stood.
fn coalesced(spans: Vec<Span>) -> Vec<Span> {
    let mut placed: Vec<(usize, Span)> = spans.into_iter().enumerate().collect();
    placed.sort_by_key(|(_, span)| span.first);
    let mut merged: Vec<(usize, Span)> = Vec::with_capacity(placed.len());
    for (place, span) in placed {
        match merged.last_mut() {
            Some((earliest, before)) if before.meets(span) => {
                before.last = before.last.max(span.last);
                *earliest = place.min(*earliest);
            }
            _ => merged.push((place, span)),
        }
    }
    merged.sort_by_key(|(place, _)| *place);
    merged.into_iter().map(|(_, span)| span).collect()
}

impl fmt::Display for Ranges {
    /// As in the field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, spec) in self.0.iter().enumerate() {
            f.write_str(if n == 0 { "bytes=" } else { "," })?;
            match spec {
                Spec::From(first, Some(last)) => write!(f, "{first}-{last}")?,
                Spec::From(first, None) => write!(f, "{first}-")?,
                Spec::Last(length) => write!(f, "-{length}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
