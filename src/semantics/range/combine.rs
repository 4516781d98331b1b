//! Two parts of one representation become one (RFC 9111 §3.4, RFC 9110 §15.3.7.3).
//!
//! | the two | are |
//! |---|---|
//! | have no strong tag in common | not combined |
//! | disagree on the length of the whole, its coding, or a byte that both hold | not combined |
//! | leave a gap | not combined |
//! | overlap or touch | one part, or the whole |

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue};

use super::super::fields::{EntityTag, replace};
use super::super::lists::single;
use super::super::validation::freshen;
use super::Span;
use super::content_range::Extent;

/// A part: which, its fields, its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Which bytes of how many.
    pub extent: Extent,
    /// Fields of the response that it came in.
    pub headers: &'a HeaderMap,
    /// The bytes: `extent.span.length()` of them.
    pub bytes: &'a [u8],
}

/// May the two be combined, as far as their fields and extents say?
pub fn may_combine(
    (older, older_fields): (Extent, &HeaderMap),
    (newer, newer_fields): (Extent, &HeaderMap),
) -> bool {
    // RFC 9111 §3.4: "if they all share the same strong validator".
    same_strong_tag(older_fields, newer_fields)
        && older.complete == newer.complete
        && older.span.meets(newer.span)
        && same_coding(older_fields, newer_fields)
}

/// Both parts in one, if they may be combined.
pub fn combined(older: Part<'_>, newer: Part<'_>) -> Option<(Extent, Vec<u8>)> {
    let heads = ((older.extent, older.headers), (newer.extent, newer.headers));
    if !may_combine(heads.0, heads.1) {
        return None;
    }
    let (lower, upper) = if older.extent.span.first <= newer.extent.span.first {
        (older, newer)
    } else {
        (newer, older)
    };
    let (low, high) = (lower.extent.span, upper.extent.span);
    let shared_from = usize::try_from(high.first.checked_sub(low.first)?).ok()?;
    let overlap = lower.bytes.get(shared_from..)?;
    let both = overlap.len().min(upper.bytes.len());
    // A strong tag promises this; an origin that breaks the promise gets no combination.
    if overlap.get(..both)? != upper.bytes.get(..both)? {
        return None;
    }
    let mut bytes = lower.bytes.to_vec();
    bytes.extend_from_slice(upper.bytes.get(both..)?);
    let span = Span { first: low.first, last: low.last.max(high.last) };
    let extent = Extent { span, complete: newer.extent.complete };
    (bytes.len() as u64 == span.length()).then_some((extent, bytes))
}

/// The fields of a combination. RFC 9110 §15.3.7.3: those of the stored part, but "other header
/// fields provided in the new response, aside from Content-Range", replace them.
pub fn combined_fields(older: &HeaderMap, newer: &HeaderMap, extent: Extent) -> HeaderMap {
    let mut fields = freshen(older, newer);
    if let Some(kind) = newer.get(CONTENT_TYPE) {
        replace(&mut fields, CONTENT_TYPE, kind.clone());
    }
    describe(&mut fields, extent);
    fields
}

/// Sets the fields that say which bytes these are.
///
/// RFC 9110 §15.3.7.3: if it is the whole, it is processed "as if it were a complete 200 (OK)
/// response, including a Content-Length header field that reflects the complete length".
pub fn describe(fields: &mut HeaderMap, extent: Extent) {
    if extent.is_whole() {
        fields.remove(CONTENT_RANGE);
    } else {
        replace(fields, CONTENT_RANGE, extent.to_value());
    }
    replace(fields, CONTENT_LENGTH, HeaderValue::from(extent.span.length()));
    for name in OF_THE_MESSAGE {
        fields.remove(name);
    }
}

/// Digests of the bytes in one message (RFC 9530 §2, RFC 1864), not of the representation: with
/// other bytes they are wrong.
pub const OF_THE_MESSAGE: [&str; 2] = ["content-digest", "content-md5"];

fn same_strong_tag(a: &HeaderMap, b: &HeaderMap) -> bool {
    let tag = |headers| single(headers, ETAG).and_then(|tag| EntityTag::parse(tag.as_bytes()));
    matches!((tag(a), tag(b)), (Some(a), Some(b)) if a.matches_strongly(&b))
}

/// Bytes in one coding continue none in another. A 206 to If-Range may leave it unsaid (RFC 9110
/// §15.3.7).
fn same_coding(older: &HeaderMap, newer: &HeaderMap) -> bool {
    !newer.contains_key(CONTENT_ENCODING)
        || older.get_all(CONTENT_ENCODING).iter().eq(newer.get_all(CONTENT_ENCODING).iter())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    const fn extent(first: u64, last: u64, complete: u64) -> Extent {
        Extent { span: Span { first, last }, complete }
    }

    const TAG: (&str, &str) = ("etag", "\"a\"");

    #[test]
    fn only_parts_of_the_same_that_meet_are_combined() {
        type Lines<'a> = &'a [(&'static str, &'a str)];
        let rows: &[(Lines<'_>, Lines<'_>, Extent, bool)] = &[
            (&[TAG], &[TAG], extent(5, 9, 20), true),
            (&[TAG], &[TAG], extent(3, 9, 20), true),
            (&[TAG], &[TAG], extent(0, 19, 20), true),
            (&[TAG], &[TAG], extent(6, 9, 20), false),
            (&[TAG], &[TAG], extent(5, 9, 21), false),
            (&[TAG], &[("etag", "\"b\"")], extent(5, 9, 20), false),
            (&[TAG], &[("etag", "W/\"a\"")], extent(5, 9, 20), false),
            (&[("etag", "W/\"a\"")], &[("etag", "W/\"a\"")], extent(5, 9, 20), false),
            (&[TAG], &[], extent(5, 9, 20), false),
            (&[], &[], extent(5, 9, 20), false),
            (&[TAG, TAG], &[TAG], extent(5, 9, 20), false),
            (&[TAG], &[TAG, ("content-encoding", "gzip")], extent(5, 9, 20), false),
            (&[TAG, ("content-encoding", "gzip")], &[TAG], extent(5, 9, 20), true),
        ];
        for (older, newer, new, expected) in rows {
            let said = may_combine((extent(0, 4, 20), &fields(older)), (*new, &fields(newer)));
            assert_eq!(said, *expected, "{older:?} and {newer:?} at {new:?}");
        }
    }

    #[test]
    fn bytes_that_contradict_each_other_are_not_combined() {
        let headers = fields(&[TAG]);
        let part = |extent, bytes| Part { extent, headers: &headers, bytes };
        let older = part(extent(0, 4, 10), b"01234");
        assert!(combined(older, part(extent(3, 5, 10), b"345")).is_some());
        assert!(combined(older, part(extent(3, 5, 10), b"3x5")).is_none());
        assert!(combined(older, part(extent(5, 9, 10), b"567")).is_none(), "fewer than it says");
    }

    #[test]
    fn the_newer_fields_replace_the_older() {
        let older = fields(&[
            TAG,
            ("content-type", "a/b"),
            ("content-range", "bytes 0-4/10"),
            ("content-digest", "x"),
            ("x-kept", "1"),
            ("x-new", "1"),
        ]);
        let newer = fields(&[TAG, ("content-range", "bytes 5-7/10"), ("x-new", "2")]);
        let part = combined_fields(&older, &newer, extent(0, 7, 10));
        let expected = fields(&[
            TAG,
            ("content-type", "a/b"),
            ("content-range", "bytes 0-7/10"),
            ("content-length", "8"),
            ("x-kept", "1"),
            ("x-new", "2"),
        ]);
        assert_eq!(part, expected);
        let whole = combined_fields(&older, &newer, extent(0, 9, 10));
        assert!(!whole.contains_key("content-range"));
        assert_eq!(whole.get("content-length").unwrap(), "10");
    }

    proptest! {
        #[test]
        fn a_combination_is_a_part_of_the_same(
            body in proptest::collection::vec(any::<u8>(), 1..100),
            cuts in [0_usize..100, 0..100, 0..100, 0..100],
        ) {
            let headers = fields(&[TAG]);
            let complete = body.len() as u64;
            let part = |a: usize, b: usize| {
                let (a, b) = (a % body.len(), b % body.len());
                let (first, last) = (a.min(b), a.max(b));
                let extent = extent(first as u64, last as u64, complete);
                Part { extent, headers: &headers, bytes: &body[first..=last] }
            };
            let (older, newer) = (part(cuts[0], cuts[1]), part(cuts[2], cuts[3]));
            let meet = older.extent.span.meets(newer.extent.span);
            let both = combined(older, newer);
            prop_assert_eq!(both.is_some(), meet);
            if let Some((extent, bytes)) = both {
                let span = extent.span;
                prop_assert!(span.contains(older.extent.span) && span.contains(newer.extent.span));
                let (first, last) = (span.first as usize, span.last as usize);
                prop_assert_eq!(&bytes[..], &body[first..=last]);
            }
        }
    }
}
