//! Parts: what ranges select lies within the representation, what is cut is what was asked for,
//! and parts are put together only as the bytes they were.
//!
//! Input: a byte that chooses, two that give lengths, then the field's lines, separated by line
//! feeds.

#![no_main]

use bytes::Bytes;
use http::header::{CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue};
use larder::semantics::range::combine::{Part, combined, combined_fields};
use larder::semantics::range::content_range::{ContentRange, Extent, extent};
use larder::semantics::range::multipart::{Multipart, cut};
use larder::semantics::range::{Field, Selection, Span, if_range, is_foreign, of_request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [choice, a, b, rest @ ..] = data else { return };
    let lines: Vec<HeaderValue> =
        rest.split(|b| *b == b'\n').filter_map(|l| HeaderValue::from_bytes(l).ok()).collect();
    match choice % 4 {
        0 => selections(&lines, u64::from(*a) * 3),
        1 => content_ranges(&lines),
        2 => combinations(rest, *a, *b),
        _ => conditions(&lines),
    }
});

fn selections(lines: &[HeaderValue], length: u64) {
    let request = fields(RANGE, lines);
    let field = of_request(&request);
    assert_eq!(field == Field::Foreign, is_foreign(&request));
    let Field::Bytes(ranges) = field else { return };
    // RFC 9110 §14.2: two lines of a field that is no list contradict each other.
    assert_eq!(lines.len(), 1);
    let whole: Bytes = (0..length).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
    let Some(all) = Extent::of_whole(length) else {
        assert_eq!((length, ranges.select(0)), (0, Selection::Whole));
        return;
    };
    let spans = match ranges.select(length) {
        Selection::Whole | Selection::Unsatisfiable => return,
        Selection::One(span) => vec![span],
        Selection::Several(spans) => {
            assert!((2..=16).contains(&spans.len()));
            spans
        }
    };
    for (at, span) in spans.iter().enumerate() {
        assert!(span.first <= span.last && span.last < length, "{span:?} of {length}");
        assert!(spans.iter().skip(at + 1).all(|other| !span.meets(*other)), "{spans:?}");
        let piece = cut(&whole, all.span, *span).expect("it lies within");
        assert_eq!(piece, whole.slice(span.first as usize..=span.last as usize));
    }
    if spans.len() > 1 {
        let kind = HeaderValue::from_static("text/plain");
        let message = Multipart::new(7, Some(&kind), &spans, length);
        let pieces = message.pieces(&whole, all.span).expect("all lie within");
        assert_eq!(pieces.iter().map(|p| p.len() as u64).sum::<u64>(), message.length());
    }
    // For any length there is an answer.
    for length in [0, 1, u64::MAX] {
        if let Selection::One(span) = ranges.select(length) {
            assert!(span.first <= span.last && span.last < length);
        }
    }
}

fn content_ranges(lines: &[HeaderValue]) {
    for line in lines {
        let Some(read) = ContentRange::parse(line) else { continue };
        let written = read.to_value();
        assert_eq!(ContentRange::parse(&written), Some(read), "{line:?} as {written:?}");
        // RFC 9110 §14.4: invalid if last-pos < first-pos, or complete-length <= last-pos.
        if let ContentRange::Part(span, complete) = read {
            assert!(span.first <= span.last && complete.is_none_or(|all| span.last < all));
        }
    }
    let response = fields(CONTENT_RANGE, lines);
    if let Some(extent) = extent(&response) {
        assert!(extent.span.last < extent.complete);
        assert!(ContentRange::parse(&extent.to_value()).is_some());
    }
}

/// RFC 9111 §3.4: two parts of one representation, cut anywhere, come together as its bytes.
fn combinations(bytes: &[u8], a: u8, b: u8) {
    let complete = bytes.len() as u64;
    if complete < 2 {
        return;
    }
    let (middle, overlap) = (1 + u64::from(a) % (complete - 1), u64::from(b) % 8);
    let first = Span { first: 0, last: middle - 1 };
    let second = Span { first: middle.saturating_sub(overlap), last: complete - 1 };
    let tagged = fields(ETAG, &[HeaderValue::from_static("\"1\"")]);
    let part = |span, headers| part(bytes, span, headers);
    for (older, newer) in [(first, second), (second, first)] {
        let (extent, joined) =
            combined(part(older, &tagged), part(newer, &tagged)).expect("they touch");
        assert!(extent.is_whole() && joined == bytes);
        let fields = combined_fields(&tagged, &tagged, extent);
        assert!(!fields.contains_key(CONTENT_RANGE) || !extent.is_whole());
    }
    let others =
        ["W/\"1\"", "\"2\"", "1"].map(|other| fields(ETAG, &[HeaderValue::from_static(other)]));
    for other in &others {
        assert!(combined(part(first, &tagged), part(second, other)).is_none());
        let same = combined(part(first, other), part(second, other));
        assert!(same.is_none() || other[ETAG] == "\"2\"", "only a strong tag vouches for both");
    }
    if second.first > 0 && overlap > 0 && second.first < middle {
        let mut other = bytes.to_vec();
        other[second.first as usize] ^= 1;
        let broken = self::part(&other, second, &tagged);
        let whole = combined(self::part(bytes, first, &tagged), broken);
        assert!(whole.is_none(), "an origin broke its promise");
    }
    let gap = Span { first: middle + 1, last: complete - 1 };
    if gap.first <= gap.last {
        assert!(combined(part(first, &tagged), part(gap, &tagged)).is_none());
    }
}

fn part<'a>(bytes: &'a [u8], span: Span, headers: &'a HeaderMap) -> Part<'a> {
    let complete = bytes.len() as u64;
    let bytes = &bytes[span.first as usize..=span.last as usize];
    Part { extent: Extent { span, complete }, headers, bytes }
}

/// RFC 9110 §13.1.5: strong comparison, or the exact date.
fn conditions(lines: &[HeaderValue]) {
    let request = fields(IF_RANGE, lines);
    for (name, value) in [
        (ETAG, HeaderValue::from_static("\"1\"")),
        (ETAG, HeaderValue::from_static("W/\"1\"")),
        (LAST_MODIFIED, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT")),
    ] {
        let weak = value == "W/\"1\"";
        let applies = if_range::applies(&request, &fields(name, &[value]));
        if lines.is_empty() {
            assert!(applies, "there is no condition");
        } else if weak {
            assert!(!applies, "{lines:?}");
        }
    }
}

fn fields(name: HeaderName, lines: &[HeaderValue]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(&name, line.clone());
    }
    headers
}
