//! Heads on the wire: a request's written, a response's read (RFC 9112 §3 to §5).
//!
//! What is not plain HTTP/1 is refused: folded lines, blanks before a colon, bytes that no field
//! has, versions other than 1.0 and 1.1.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use httparse::Status;

use crate::error::OriginFault;

/// Largest head of a response, in bytes; also what is read ahead of its content.
pub(super) const MAX_HEAD: usize = 256 * 1024;

/// Most field lines of a response, and of its trailers.
pub(super) const MAX_FIELDS: usize = 256;

/// So many fields are added on the way to the client (Via, Cache-Status, Age …): room for them is
/// made at once.
const ADDED: usize = 4;

const TOO_LARGE: OriginFault = OriginFault::Malformed("its head is too large");
const NOT_HTTP: OriginFault = OriginFault::Malformed("it is not HTTP/1");

/// The head of a response.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// HTTP/1.0, not 1.1.
    pub(super) is_1_0: bool,
    /// RFC 9112 §9.3: another request may follow on the connection.
    pub(super) persists: bool,
}

/// Appends a request's head to `out`; `host` stands for what `headers` say of it.
pub(super) fn write(
    out: &mut Vec<u8>,
    (method, path): (&Method, &str),
    headers: &HeaderMap,
    host: Option<&HeaderValue>,
) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let kept = headers.iter().filter(|(name, _)| host.is_none() || **name != HOST);
    for (name, value) in kept.chain(host.map(|host| (&HOST, host))) {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Takes a response's head from the front of `buffer`; `None` while it is incomplete. `seen` is how
/// much of `buffer` was there the last time.
pub(super) fn read(buffer: &mut BytesMut, seen: usize) -> Result<Option<Head>, OriginFault> {
    if seen > 0 && !may_end(buffer, seen) {
        return incomplete(buffer);
    }
    let mut lines = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        buffer,
        &mut lines,
    );
    let length = match parsed {
        Ok(Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(Status::Complete(_)) | Err(httparse::Error::TooManyHeaders) => return Err(TOO_LARGE),
        Ok(Status::Partial) => return incomplete(buffer),
        Err(_) => return Err(NOT_HTTP),
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(NOT_HTTP)?;
    let is_1_0 = response.version == Some(0);
    // Where each line stands: the values are to share the bytes that they are cut from.
    let start = buffer.as_ptr().addr();
    let place = |part: &[u8]| {
        let from = part.as_ptr().addr() - start;
        from..from + part.len()
    };
    let place = |line: &httparse::Header<'_>| (place(line.name.as_bytes()), place(line.value));
    let lines: Vec<_> = response.headers.iter().map(place).collect();
    let head = buffer.split_to(length).freeze();
    let headers = fields(&head, lines).ok_or(NOT_HTTP)?;
    let persists = persists(&headers, is_1_0);
    Ok(Some(Head { status, headers, is_1_0, persists }))
}

/// True if a head that was incomplete in the first `seen` bytes may be complete now: an empty line
/// has come. Spares a head that drips in from being read anew with every drop.
fn may_end(buffer: &[u8], seen: usize) -> bool {
    let news = buffer.get(seen.saturating_sub(3)..).unwrap_or_default();
    news.windows(2).any(|two| two == b"\n\n") || news.windows(3).any(|three| three == b"\n\r\n")
}

fn incomplete(buffer: &BytesMut) -> Result<Option<Head>, OriginFault> {
    if buffer.len() >= MAX_HEAD { Err(TOO_LARGE) } else { Ok(None) }
}

type Line = (Range<usize>, Range<usize>);

/// The fields whose names and values stand in `head` at `lines`.
fn fields(head: &Bytes, lines: Vec<Line>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(lines.len() + ADDED);
    for (name, value) in lines {
        let name = HeaderName::from_bytes(head.get(name)?).ok()?;
        headers.append(name, HeaderValue::from_maybe_shared(head.slice(value)).ok()?);
    }
    Some(headers)
}

fn persists(headers: &HeaderMap, is_1_0: bool) -> bool {
    let options = || {
        let lines = headers.get_all(CONNECTION).into_iter();
        lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    };
    let says = |option: &[u8]| options().any(|one| one.eq_ignore_ascii_case(option));
    !says(b"close") && (!is_1_0 || says(b"keep-alive"))
}

/// The fields of a trailer section, of which `section` has all, with the empty line at its end.
pub(super) fn trailers(section: &[u8]) -> Option<HeaderMap> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let Ok(Status::Complete((_, lines))) = httparse::parse_headers(section, &mut lines) else {
        return None;
    };
    let field = |line: &httparse::Header<'_>| {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(line.value).ok()?))
    };
    let mut trailers = HeaderMap::with_capacity(lines.len());
    for line in lines.iter() {
        let (name, value) = field(line)?;
        trailers.append(name, value);
    }
    Some(trailers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &str) -> Result<Option<Head>, OriginFault> {
        read(&mut BytesMut::from(bytes), 0)
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_is_the_same_head() {
        const WHOLE: &str = "HTTP/1.1 200 OK\r\nA: 1\r\na: 2\r\n\r\nrest";
        let mut buffer = BytesMut::new();
        for (seen, byte) in WHOLE.bytes().enumerate() {
            buffer.extend_from_slice(&[byte]);
            if let Some(head) = read(&mut buffer, seen).unwrap() {
                assert_eq!(head.headers.get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
                assert_eq!((head.status.as_u16(), head.persists, seen), (200, true, 30));
                assert!(buffer.is_empty());
                return;
            }
        }
        panic!("it was never complete");
    }

    #[test]
    fn whether_another_request_may_follow_is_said_by_version_and_connection() {
        for (version, connection, expected) in [
            ("1.1", "x", true),
            ("1.1", "close", false),
            ("1.1", "x, Close", false),
            ("1.1", "keep-alive, close", false),
            ("1.0", "x", false),
            ("1.0", "Keep-Alive", true),
            ("1.0", "keep-alive, close", false),
        ] {
            let head = format!("HTTP/{version} 200 OK\r\nConnection: {connection}\r\n\r\n");
            let head = read_all(&head).unwrap().unwrap();
            assert_eq!(head.persists, expected, "{version} {connection}");
        }
    }

    #[test]
    fn a_head_without_end_is_too_large_and_one_of_nonsense_no_http() {
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD));
        for (bytes, expected) in [(&*endless, "too large"), ("SSH-2.0-x\r\n", "not HTTP/1")] {
            let error = read_all(bytes).unwrap_err();
            assert!(error.to_string().ends_with(expected), "{error}");
        }
        assert!(read_all("HTTP/1.1 2").unwrap().is_none());
    }

    #[test]
    fn a_request_has_one_host_whatever_its_fields_say() {
        let mut headers = HeaderMap::new();
        headers.append("accept", HeaderValue::from_static("*/*"));
        headers.append(HOST, HeaderValue::from_static("a.test"));
        let written = |host: Option<&'static str>| {
            let mut out = Vec::new();
            let host = host.map(HeaderValue::from_static);
            write(&mut out, (&Method::GET, "/x?y"), &headers, host.as_ref());
            String::from_utf8(out).unwrap()
        };
        let line = "GET /x?y HTTP/1.1\r\naccept: */*\r\n";
        assert_eq!(written(None), format!("{line}host: a.test\r\n\r\n"));
        assert_eq!(written(Some("b.test")), format!("{line}host: b.test\r\n\r\n"));
    }
}
