//! Field lines as one block of bytes, the way they stand in a message: `name: value\r\n`, names in
//! lower case, every line of a repeated field in its order; what a 304 has of them is in one piece.
//!
//! A map of fields takes about a hundred bytes for each line, besides the line. What is stored a
//! million times is stored as lines, and goes to a client as it is.

use bytes::Bytes;
use http::header::ETAG;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::conditional::stays_in_not_modified;

/// Lines that are known to be well-formed: written by [`write()`], or by [`push_checked`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    /// What [`write()`] wrote.
    pub const fn written(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The block itself: can be written into a message verbatim.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Each line's name and value.
    pub const fn iter(self) -> Iter<'a> {
        Iter(self.0)
    }

    /// Value of the first line of this name.
    pub fn get(self, name: &HeaderName) -> Option<&'a [u8]> {
        self.get_all(name).next()
    }

    /// Values of all lines of this name, in their order.
    pub fn get_all(self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let wanted = name.as_str().as_bytes();
        self.iter().filter(move |(name, _)| *name == wanted).map(|(_, value)| value)
    }

    /// Is there a line of this name?
    pub fn contains_key(self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// Are they, behind what is said anew with each response (Age, Cache-Status, Via), all of the
    /// head of a message with content of this length, so that nobody has to look at them? Then how
    /// many bytes of them a 304 has not, all of which come first, as [`write()`] has it.
    pub fn as_a_head(self, length: usize) -> Option<usize> {
        let tagged = self.contains_key(&ETAG);
        let (mut dated, mut sized, mut common) = (false, false, None);
        let mut lines = self.iter();
        loop {
            let from = self.0.len() - lines.0.len();
            let Some((name, value)) = lines.next() else {
                return (dated && sized).then_some(common.unwrap_or(from));
            };
            match name {
                b"age" | b"cache-status" | b"via" | b"transfer-encoding" => return None,
                b"date" => dated = true,
                b"etag" if common.is_some() => return None,
                b"content-length" if sized || !is_decimal(value, length) => return None,
                b"content-length" => sized = true,
                _ => {}
            }
            match (stays_in_not_modified(std::str::from_utf8(name).ok()?, tagged), common) {
                (true, None) => common = Some(from),
                (false, Some(_)) => return None,
                _ => {}
            }
        }
    }

    /// The lines from this byte on, which has to be the first one of a line.
    pub fn from(self, byte: usize) -> Self {
        Self(self.0.get(byte..).unwrap_or_default())
    }

    /// The lines of these names, as [`Self::to_map`] has them.
    pub fn to_map_of(self, names: &[HeaderName], block: &Bytes) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in names {
            for value in self.get_all(name) {
                if let Ok(value) = HeaderValue::from_maybe_shared(block.slice_ref(value)) {
                    let _ = headers.try_append(name.clone(), value);
                }
            }
        }
        headers
    }

    /// The same as a map, whose values are slices of `block`, which holds these lines.
    pub fn to_map(self, block: &Bytes) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.iter().count());
        self.append_to(&mut headers, block);
        headers
    }

    /// The same, behind what is in `headers`.
    pub fn append_to(self, headers: &mut HeaderMap, block: &Bytes) {
        for (name, value) in self.iter() {
            let value = HeaderValue::from_maybe_shared(block.slice_ref(value));
            // Neither fails: it was a map before.
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
                let _ = headers.try_append(name, value);
            }
        }
    }
}

/// The lines of a [`Lines`].
#[derive(Clone, Debug)]
pub struct Iter<'a>(&'a [u8]);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let colon = self.0.iter().position(|byte| *byte == b':')?;
        let (name, rest) = self.0.split_at(colon);
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let (line, after) = rest.split_at(end + 1);
        self.0 = after;
        // `: ` in front, `\r\n` behind.
        Some((name, line.get(2..end.checked_sub(1)?)?))
    }
}

/// How many bytes [`write()`] will write.
pub fn length(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Writes these fields as lines: first those that a 304 has not, then the entity tag, then the others.
/// Lines of one name stay in their order; that of names means nothing (RFC 9110 §5.3).
pub fn write(headers: &HeaderMap, out: &mut Vec<u8>) {
    let tagged = headers.contains_key(ETAG);
    let rank = |name: &HeaderName| match stays_in_not_modified(name.as_str(), tagged) {
        false => 0,
        true if *name == ETAG => 1,
        true => 2,
    };
    for wanted in 0..=2 {
        for (name, value) in headers.iter().filter(|(name, _)| rank(name) == wanted) {
            push(name.as_str().as_bytes(), value.as_bytes(), out);
        }
    }
}

/// Writes one line. `name` in lower case.
pub fn push(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The same with what somebody else may have written: `None` unless [`write()`] could write it, so that
/// nothing in it can end a line or a head before its time.
pub fn push_checked(name: &[u8], value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    // All of the value in any case: without a way out, many bytes are looked at at once.
    let of_value = value.iter().fold(true, |sound, byte| sound & is_of_value(byte));
    let sound = !name.is_empty() && name.iter().all(is_of_name) && of_value;
    sound.then(|| push(name, value, out))
}

fn is_decimal(value: &[u8], number: usize) -> bool {
    let canonical = !value.starts_with(b"0") || value == b"0";
    canonical
        && std::str::from_utf8(value)
            .is_ok_and(|text| !text.starts_with('+') && text.parse() == Ok(number))
}

/// RFC 9110 §5.6.2, in lower case.
fn is_of_name(byte: &u8) -> bool {
    matches!(byte,
        b'a'..=b'z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-'
        | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// RFC 9110 §5.5: no control character but HTAB.
fn is_of_value(byte: &u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_has_a_date_and_the_right_length_and_nothing_that_is_said_anew_and_ends_as_a_304() {
        for (lines, expected) in [
            ("content-length: 10\r\ndate: x\r\n", Some(20)),
            ("content-length: 10\r\nlink: a\r\ndate: x\r\nlink: b\r\n", Some(20)),
            ("content-length: 10\r\nlast-modified: x\r\ndate: x\r\n", Some(20)),
            ("last-modified: x\r\ncontent-length: 10\r\netag: y\r\ndate: x\r\n", Some(38)),
            ("content-length: 10\r\ndate: x\r\netag: y\r\n", None),
            ("content-length: 10\r\netag: x\r\netag: y\r\ndate: x\r\n", None),
            ("date: x\r\ncontent-length: 10\r\n", None),
            ("date: x\r\n", None),
            ("content-length: 10\r\n", None),
            ("content-length: 11\r\ndate: x\r\n", None),
            ("content-length: 010\r\ndate: x\r\n", None),
            ("content-length: +10\r\ndate: x\r\n", None),
            ("content-length: 10\r\ncontent-length: 10\r\ndate: x\r\n", None),
            ("content-length: 10\r\nage: 1\r\ndate: x\r\n", None),
            ("content-length: 10\r\nvia: 1.1 a\r\ndate: x\r\n", None),
            ("cache-status: a; hit\r\ndate: x\r\ncontent-length: 10\r\n", None),
            ("content-length: 10\r\ntransfer-encoding: chunked\r\ndate: x\r\n", None),
        ] {
            assert_eq!(Lines::written(lines.as_bytes()).as_a_head(10), expected, "{lines}");
        }
    }

    fn map(lines: &[(String, Vec<u8>)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn block(headers: &HeaderMap) -> Bytes {
        let mut out = Vec::new();
        write(headers, &mut out);
        out.into()
    }

    #[test]
    fn a_line_is_found_by_its_name_and_by_no_part_of_it() {
        let lines = [("link", "<a>"), ("etag", ""), ("x-link", "no"), ("link", "<b>: etag: c")];
        let headers = map(&lines.map(|(name, value)| (name.to_owned(), value.into())));
        let block = block(&headers);
        assert_eq!(block, "etag: \r\nlink: <a>\r\nlink: <b>: etag: c\r\nx-link: no\r\n");
        let lines = Lines::written(&block);
        let links = lines.get_all(&http::header::LINK).collect::<Vec<_>>();
        assert_eq!(links, [&b"<a>"[..], b"<b>: etag: c"]);
        assert_eq!(lines.get(&ETAG), Some(&b""[..]));
        assert!(!lines.contains_key(&HeaderName::from_static("c")));
        assert_eq!(length(&headers), block.len());
    }

    #[test]
    fn what_could_split_a_response_is_refused() {
        for (name, value) in [
            ("", "b"),
            ("a b", "c"),
            ("a:", "c"),
            ("a\r\nc", "d"),
            ("A", "b"),
            ("a", "b\rc"),
            ("a", "b\nc: d"),
            ("a", "b\r\n\r\n"),
            ("a", "b\0"),
            ("a", "b\x7f"),
        ] {
            let mut out = Vec::new();
            assert_eq!(push_checked(name.as_bytes(), value.as_bytes(), &mut out), None, "{name:?}");
            assert_eq!(out, b"");
        }
        let mut out = Vec::new();
        assert_eq!(push_checked(b"a", b"", &mut out), Some(()));
        assert_eq!(push_checked(b"x-1", b"\t \xff", &mut out), Some(()));
        assert_eq!(out, b"a: \r\nx-1: \t \xff\r\n");
    }

    proptest! {
        #[test]
        fn a_map_survives_being_written_as_lines(
            lines in vec(
                ("[a-z!#$%&'*+.^_`|~-][a-z0-9-]{0,6}",
                 vec(prop_oneof![Just(b'\t'), 32..=126_u8, 128..=255_u8], 0..20)),
                0..12,
            ),
        ) {
            let headers = map(&lines);
            let block = block(&headers);
            let lines = Lines::written(&block);
            let mut copy = Vec::new();
            for (name, value) in lines.iter() {
                prop_assert_eq!(push_checked(name, value, &mut copy), Some(()));
            }
            prop_assert_eq!(&copy, &block);
            prop_assert_eq!(lines.to_map(&block), headers.clone());
            for name in headers.keys() {
                prop_assert!(headers.get_all(name).iter().map(HeaderValue::as_bytes)
                    .eq(lines.get_all(name)));
            }
        }

        #[test]
        fn any_bytes_do_no_harm(bytes in vec(prop_oneof![Just(b':'), Just(b' '), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..40)) {
            let _ = Lines::written(&bytes).iter().count();
            let (name, value) = bytes.split_at(bytes.len() / 2);
            let mut line = Vec::new();
            if push_checked(name, value, &mut line).is_some() {
                let block = Bytes::from(line);
                prop_assert_eq!(Lines::written(&block).to_map(&block).len(), 1);
            }
        }
    }
}
