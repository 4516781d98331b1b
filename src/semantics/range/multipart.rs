//! Several parts in one message: `multipart/byteranges` (RFC 9110 §14.6, RFC 2046 §5.1).
//!
//! ```text
//! content  ::= CRLF? frame bytes (CRLF frame bytes)* CRLF "--" boundary "--" CRLF
//! frame    ::= "--" boundary CRLF  [Content-Type: … CRLF]  Content-Range: bytes f-l/n CRLF  CRLF
//! ```
//!
//! The frames are written here; whoever sends them puts the bytes between.

use bytes::Bytes;
use http::HeaderValue;

use super::Span;
use super::content_range::ContentRange;

/// The frames of several parts.
#[derive(Clone, Debug)]
pub struct Multipart {
    boundary: String,
    /// Before each part, with the part's bytes.
    frames: Vec<(Bytes, Span)>,
    tail: Bytes,
}

impl Multipart {
    /// Frames for these parts of a representation of `complete` bytes.
    ///
    /// `boundary` must be taken at random for each message: RFC 2046 §5.1.1, it "must not appear
    /// inside any of the encapsulated parts", and who writes the content must not be able to guess
    /// it. `kind`: the representation's own Content-Type.
    pub fn new(boundary: u128, kind: Option<&HeaderValue>, spans: &[Span], complete: u64) -> Self {
        let boundary = format!("{boundary:032x}");
        let frame = |(n, span): (usize, &Span)| {
            let mut frame = Vec::with_capacity(160);
            if n > 0 {
                frame.extend_from_slice(b"\r\n");
            }
            frame.extend_from_slice(b"--");
            frame.extend_from_slice(boundary.as_bytes());
            // RFC 9110 §15.3.7.2: "SHOULD generate that same Content-Type header field in the
            // header area of each body part".
            if let Some(kind) = kind {
                frame.extend_from_slice(b"\r\nContent-Type: ");
                frame.extend_from_slice(kind.as_bytes());
            }
            // "the server MUST generate a Content-Range header field corresponding to the range
            // being enclosed in that body part"
            let range = ContentRange::Part(*span, Some(complete));
            frame.extend_from_slice(format!("\r\nContent-Range: {range}\r\n\r\n").as_bytes());
            (Bytes::from(frame), *span)
        };
        let frames = spans.iter().enumerate().map(frame).collect();
        let tail = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        Self { boundary, frames, tail }
    }

    /// Content-Type of the message. §14.6: some read a quoted boundary wrongly; this needs no
    /// quotes.
    pub fn content_type(&self) -> HeaderValue {
        let text = format!("multipart/byteranges; boundary={}", self.boundary);
        HeaderValue::try_from(text)
            .unwrap_or_else(|_| HeaderValue::from_static("multipart/byteranges"))
    }

    /// Content-Length of the message, in bytes.
    pub fn length(&self) -> u64 {
        let parts: u64 = self.frames.iter().map(|(f, span)| f.len() as u64 + span.length()).sum();
        parts + self.tail.len() as u64
    }

    /// The pieces of the content, cut from `bytes`, which holds `held` of the representation;
    /// `None` if a part lies outside.
    pub fn pieces(&self, bytes: &Bytes, held: Span) -> Option<Vec<Bytes>> {
        let mut pieces = Vec::with_capacity(self.frames.len() * 2 + 1);
        for (frame, span) in &self.frames {
            pieces.push(frame.clone());
            pieces.push(cut(bytes, held, *span)?);
        }
        pieces.push(self.tail.clone());
        Some(pieces)
    }
}

/// The bytes of `wanted`, cut from `bytes`, which holds `held` of the representation; `None` if it
/// does not hold all of them. Copies nothing.
pub fn cut(bytes: &Bytes, held: Span, wanted: Span) -> Option<Bytes> {
    if !held.contains(wanted) {
        return None;
    }
    let from = usize::try_from(wanted.first - held.first).ok()?;
    let to = from.checked_add(usize::try_from(wanted.length()).ok()?)?;
    (to <= bytes.len()).then(|| bytes.slice(from..to))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::content_range::Extent;
    use super::*;

    #[test]
    fn each_part_says_what_it_is() {
        let body = Bytes::from_static(b"0123456789");
        let spans = [Span { first: 7, last: 9 }, Span { first: 0, last: 1 }];
        let kind = HeaderValue::from_static("text/plain");
        let parts = Multipart::new(0xabc, Some(&kind), &spans, 10);
        let boundary = "00000000000000000000000000000abc";
        assert_eq!(parts.content_type(), format!("multipart/byteranges; boundary={boundary}"));
        let text = parts.pieces(&body, Extent::of_whole(10).unwrap().span).unwrap().concat();
        let expected = format!(
            "--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 7-9/10\r\n\r\n789\
             \r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
             \r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8_lossy(&text), expected);
        assert_eq!(parts.length(), expected.len() as u64);
    }

    #[test]
    fn what_is_not_here_is_not_cut() {
        let bytes = Bytes::from_static(b"34567");
        let held = Span { first: 3, last: 7 };
        let of = |first, last| cut(&bytes, held, Span { first, last });
        assert_eq!(of(3, 7), Some(bytes.clone()));
        assert_eq!(of(4, 5), Some(Bytes::from_static(b"45")));
        assert_eq!(of(2, 5), None);
        assert_eq!(of(5, 8), None);
        // A body that is shorter than it says.
        assert_eq!(cut(&bytes, Span { first: 3, last: 9 }, Span { first: 7, last: 8 }), None);
    }

    proptest! {
        #[test]
        fn the_length_announced_is_the_length_written(
            boundary: u128,
            kind in proptest::option::of("[a-z]{1,10}/[a-z]{1,10}"),
            body in proptest::collection::vec(any::<u8>(), 1..200),
            asked in proptest::collection::vec((0_u64..200, 0_u64..200), 0..20),
        ) {
            let complete = body.len() as u64;
            let spans: Vec<Span> = asked.iter()
                .map(|(first, more)| (first % complete, *more))
                .map(|(first, more)| Span { first, last: (first + more).min(complete - 1) })
                .collect();
            let kind = kind.map(|k| HeaderValue::try_from(k).unwrap());
            let parts = Multipart::new(boundary, kind.as_ref(), &spans, complete);
            let pieces = parts.pieces(&Bytes::from(body), Extent::of_whole(complete).unwrap().span).unwrap();
            let written: usize = pieces.iter().map(Bytes::len).sum();
            prop_assert_eq!(parts.length(), written as u64);
        }
    }
}
