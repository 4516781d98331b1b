//! What is in the way of bytes that a client of HTTP/1.1 sent: where its next request ends, and
//! whether it may be answered past hyper.
//!
//! | the bytes | are |
//! |---|---|
//! | part of a head | [`Seen::Part`] |
//! | the head of a GET that says nothing about content or connection (but `keep-alive`) | [`Seen::Plain`] |
//! | any other head whose content has a length, or is none | [`Seen::Other`] |
//! | a head in chunks, of another version, for another protocol, or none at all | [`Seen::Opaque`] |
//!
//! Where requests end is decided here only for what hyper would end at the same byte: the parser is
//! the same, and whatever has two readings is opaque. From there on nobody looks at the bytes of
//! that connection any more but hyper.

use std::mem::MaybeUninit;

use crate::fast::Field;

/// Most field lines of a head that is looked at.
pub(super) const MOST_FIELDS: usize = 64;

/// What a head is parsed into.
pub(super) type Room<'b> = [MaybeUninit<Field<'b>>; MOST_FIELDS];

/// What bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen<'h, 'b> {
    /// Not a whole head yet.
    Part,
    /// A request of this many bytes that might be answered at once: its target and its fields.
    Plain(usize, &'b str, &'h [Field<'b>]),
    /// The head of a request, of this many bytes, and as many of content.
    Other(usize, u64),
    /// Something whose end is not known.
    Opaque,
}

/// Looks at what a client sent, from the beginning of a request on.
pub(super) fn look<'h, 'b>(bytes: &'b [u8], room: &'h mut Room<'b>) -> Seen<'h, 'b> {
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, room) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Seen::Part,
        Err(_) => return Seen::Opaque,
    };
    let (Some(method), Some(target), Some(1)) = (request.method, request.path, request.version)
    else {
        return Seen::Opaque;
    };
    let fields: &'h [Field<'b>] = request.headers;
    match framing(fields) {
        // Whatever follows a CONNECT is no HTTP.
        None => Seen::Opaque,
        Some(_) if method == "CONNECT" => Seen::Opaque,
        Some(Framing { length: None, plain: true }) if method == "GET" => {
            Seen::Plain(length, target, fields)
        }
        Some(framing) => Seen::Other(length, framing.length.unwrap_or(0)),
    }
}

/// What fields say of a request's content and its connection.
struct Framing {
    length: Option<u64>,
    /// Nothing but that the connection is to be kept.
    plain: bool,
}

/// `None`: who has to end the request must know more than this.
fn framing(fields: &[Field<'_>]) -> Option<Framing> {
    let mut framing = Framing { length: None, plain: true };
    for field in fields {
        let name = field.name;
        // None of the names that matter has another length.
        if !matches!(name.len(), 6 | 7 | 10 | 14 | 17) {
            continue;
        }
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("transfer-encoding") || is("upgrade") {
            return None;
        } else if is("content-length") {
            if framing.length.is_some() {
                return None;
            }
            framing.length = Some(length(field.value)?);
        } else if is("expect") || (is("connection") && !is_keep_alive(field.value)) {
            framing.plain = false;
        }
    }
    Some(framing)
}

fn is_keep_alive(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"keep-alive")
}

fn length(value: &[u8]) -> Option<u64> {
    let digits = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(bytes: &str) -> String {
        let mut room = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        match look(bytes.as_bytes(), &mut room) {
            Seen::Plain(length, target, fields) => {
                format!("plain {length} {target} {}", fields.len())
            }
            Seen::Other(length, content) => format!("other {length} {content}"),
            Seen::Part => "part".to_owned(),
            Seen::Opaque => "opaque".to_owned(),
        }
    }

    #[test]
    fn each_row_of_the_table_holds() {
        for (head, expected) in [
            ("", "part"),
            ("GET /a HTTP/1.1\r\nhost: a\r\n", "part"),
            ("GET /a HTTP/1.1\r\nhost: a\r\n\r\nGET", "plain 28 /a 1"),
            ("GET * HTTP/1.1\r\n\r\n", "plain 18 * 0"),
            ("GET /a HTTP/1.1\r\nConnection: Keep-Alive\r\n\r\n", "plain 43 /a 1"),
            ("GET /a HTTP/1.1\r\nconnection: close\r\n\r\n", "other 38 0"),
            ("GET /a HTTP/1.1\r\nconnection: keep-alive, te\r\n\r\n", "other 47 0"),
            ("GET /a HTTP/1.1\r\nexpect: 100-continue\r\n\r\n", "other 41 0"),
            ("GET /a HTTP/1.1\r\ncontent-length: 0\r\n\r\n", "other 38 0"),
            ("GET /a HTTP/1.1\r\ncontent-length: 7\r\n\r\n", "other 38 7"),
            ("HEAD /a HTTP/1.1\r\n\r\n", "other 20 0"),
            ("POST /a HTTP/1.1\r\nContent-Length: 12\r\n\r\n", "other 40 12"),
            ("POST /a HTTP/1.1\r\nexpect: x\r\ncontent-length: 3\r\n\r\n", "other 50 3"),
            ("POST /a HTTP/1.1\r\ncontent-length: 3\r\nexpect: x\r\n\r\n", "other 50 3"),
        ] {
            assert_eq!(seen(head), expected, "{head:?}");
        }
    }

    #[test]
    fn what_has_two_readings_is_opaque() {
        for head in [
            "POST /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
            "POST /a HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: x\r\n\r\n",
            "POST /a HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\n",
            "POST /a HTTP/1.1\r\ncontent-length: 0\r\ncontent-length: 3\r\n\r\n",
            "POST /a HTTP/1.1\r\ncontent-length: 3, 3\r\n\r\n",
            "POST /a HTTP/1.1\r\ncontent-length: +3\r\n\r\n",
            "POST /a HTTP/1.1\r\ncontent-length:\r\n\r\n",
            "POST /a HTTP/1.1\r\ncontent-length: 9999999999999999999\r\n\r\n",
            "GET /a HTTP/1.0\r\n\r\n",
            "GET /a HTTP/1.1\r\nupgrade: websocket\r\n\r\n",
            "CONNECT a:80 HTTP/1.1\r\n\r\n",
            "GET /a HTTP/2.0\r\n\r\n",
            "GET /a\r\n\r\n",
            "GET /a HTTP/1.1\r\nhost : a\r\n\r\n",
            "GET /a HTTP/1.1\r\nhost: a\r\n b\r\n\r\n",
            "\u{16}\u{3}\u{1}",
        ] {
            assert_eq!(seen(head), "opaque", "{head:?}");
        }
        let many = "a: b\r\n".repeat(MOST_FIELDS + 1);
        assert_eq!(seen(&format!("GET /a HTTP/1.1\r\n{many}\r\n")), "opaque");
    }
}
