//! What comes back from a server, judged before anybody relies on it.
//!
//! | the response | comes out as |
//! |---|---|
//! | has Transfer-Encoding and Content-Length, or a coding other than one `chunked` | `Malformed` |
//! | has two lengths that differ, or none that is a number | `Malformed` |
//! | switches protocols unasked | `Malformed` |
//! | has a status from 600 to 999, which is none of HTTP's | as it is: to be treated like a 5xx |
//! | says neither length nor coding | marked [`CloseDelimited`] |
//! | has no Date | given the time of its receipt (RFC 9110 §6.6.1) |
//! | ends before its length, or its last chunk | an error of its body |

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::Outgoing;
use super::chunks::Chunks;
use super::client::Exchange;
use super::head::Head;
use super::upload::Failed;
use crate::body::{Body, BodyError};
use crate::error::{OriginFault, ProxyError};
use crate::idle::Stalled;
use crate::peer::{CloseDelimited, Held, Switched};
use crate::semantics::fields::names;

/// Judges a response; its content keeps the connection until it has ended, and fails after a pause
/// of `limit`.
pub(super) fn response(
    mut head: Head,
    asked: &Outgoing,
    mut exchange: Exchange,
    limit: Duration,
) -> Result<Response<Body>, ProxyError> {
    check_status(head.status, asked)?;
    let framing = check_framing(&mut head, &asked.method)?;
    if !head.headers.contains_key(DATE) {
        let now = httpdate::fmt_http_date(crate::clock::wall());
        if let Ok(now) = HeaderValue::try_from(now) {
            head.headers.append(DATE, now);
        }
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = head.status;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        *response.headers_mut() = head.headers;
        let Some((stream, early)) = exchange.seat.switch() else {
            return Err(ProxyError::Ours("an answer without a connection"));
        };
        response.extensions_mut().insert(Switched::new(stream, early.freeze()));
        response.extensions_mut().insert(Held(Arc::new(exchange.seat)));
        return Ok(response);
    }
    exchange.persists = head.persists && framing != Framing::UntilClosed;
    if framing == Framing::UntilClosed {
        response.extensions_mut().insert(CloseDelimited);
    }
    // RFC 9110 §7.6.1: what `Connection` lists is removed from the trailers too; from the fields it
    // is further up, where they are forwarded.
    let listed = names(head.headers.get_all(CONNECTION).iter()).filter_map(Result::ok).collect();
    *response.headers_mut() = head.headers;
    *response.body_mut() = content(framing, exchange, listed, limit);
    Ok(response)
}

fn content(
    framing: Framing,
    mut exchange: Exchange,
    listed: Vec<HeaderName>,
    limit: Duration,
) -> Body {
    let left = match framing {
        Framing::Length(length) => match exchange.whole(length) {
            // It came with the head: nobody has to wait for it, nor the connection for anybody.
            Some(content) => {
                exchange.end(limit);
                return Body::full(content);
            }
            None => Left::Length(length),
        },
        Framing::Chunked => Left::Chunks(Chunks::new()),
        Framing::UntilClosed => Left::UntilClosed,
    };
    Body::streaming(Received {
        exchange: Some(exchange),
        left,
        listed,
        limit,
        due: None,
        broken: None,
    })
}

fn check_status(status: StatusCode, asked: &Outgoing) -> Result<(), OriginFault> {
    match status.as_u16() {
        101 if asked.upgrade => Ok(()),
        101 => Err(OriginFault::Malformed("it switches protocols unasked")),
        // RFC 9110 §15: "Values outside the range 100..599 are invalid. […] A client that receives a
        // response with an invalid status code SHOULD process the response as if it had a 5xx".
        200..=999 => Ok(()),
        _ => Err(OriginFault::Malformed("an interim response in place of a final one")),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes; none if the response has no content by its nature.
    Length(u64),
    Chunked,
    UntilClosed,
}

/// RFC 9112 §6.3, without its leniency: what two recipients could read differently is refused.
fn check_framing(head: &mut Head, method: &Method) -> Result<Framing, OriginFault> {
    let headers = &mut head.headers;
    let coded = check_coding(headers)?;
    let sized = check_length(headers)?;
    if coded && sized.is_some() {
        return Err(OriginFault::Malformed("it has both a length and a transfer coding"));
    }
    if coded && head.is_1_0 {
        return Err(OriginFault::Malformed("HTTP/1.0 has no transfer codings"));
    }
    headers.remove(TRANSFER_ENCODING);
    if head.status == StatusCode::NO_CONTENT || head.status.is_informational() {
        // RFC 9110 §8.6: must not be there.
        headers.remove(CONTENT_LENGTH);
        return Ok(Framing::Length(0));
    }
    if *method == Method::HEAD || head.status == StatusCode::NOT_MODIFIED {
        return Ok(Framing::Length(0));
    }
    Ok(match sized {
        Some(length) => Framing::Length(length),
        None if coded => Framing::Chunked,
        None => Framing::UntilClosed,
    })
}

fn check_coding(headers: &HeaderMap) -> Result<bool, OriginFault> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(OriginFault::Malformed("its only transfer coding must be chunked")),
    }
}

fn check_length(headers: &mut HeaderMap) -> Result<Option<u64>, OriginFault> {
    let mut lengths = headers
        .get_all(CONTENT_LENGTH)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii));
    let Some(first) = lengths.next() else { return Ok(None) };
    let digits = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
    let mut repeated = false;
    for length in lengths {
        repeated = true;
        if length != first {
            return Err(OriginFault::Malformed("it has two lengths"));
        }
    }
    let number = std::str::from_utf8(first).ok().filter(|_| digits);
    let Some(number) = number.and_then(|digits| digits.parse().ok()) else {
        return Err(OriginFault::Malformed("its length is no number"));
    };
    // RFC 9110 §8.6: the same length twice is written once before it is forwarded.
    if repeated {
        let once = HeaderValue::from_bytes(first);
        headers.remove(CONTENT_LENGTH);
        headers.extend(once.ok().map(|once| (CONTENT_LENGTH, once)));
    }
    Ok(Some(number))
}

/// A response's content on its way in.
struct Received {
    /// `None` once the content has ended.
    exchange: Option<Exchange>,
    left: Left,
    /// Names of trailer fields that concern this connection only.
    listed: Vec<HeaderName>,
    limit: Duration,
    /// When it has paused for too long, while somebody waits for its next piece.
    due: Option<Instant>,
    /// Why it has ended early, until that is told.
    broken: Option<BodyError>,
}

/// What is still to come.
#[derive(Debug)]
enum Left {
    Length(u64),
    Chunks(Chunks),
    UntilClosed,
}

/// The connection was closed before the content was complete.
#[derive(Debug, thiserror::Error)]
#[error("the response ended early")]
struct Incomplete;

impl Received {
    /// The next piece of what has arrived.
    fn next(&mut self) -> Result<Option<Frame<Bytes>>, BodyError> {
        let Some(connection) = self.exchange.as_mut().and_then(|ours| ours.seat.connection())
        else {
            return Ok(None);
        };
        let read = &mut connection.read;
        let piece = match &mut self.left {
            Left::Chunks(chunks) => return Ok(chunks.next(read)?),
            Left::UntilClosed => read.split(),
            Left::Length(left) => {
                let piece = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
                *left -= piece as u64;
                read.split_to(piece)
            }
        };
        Ok((!piece.is_empty()).then(|| Frame::data(piece.freeze())))
    }

    fn has_ended(&self) -> bool {
        match &self.left {
            Left::Length(left) => *left == 0,
            Left::Chunks(chunks) => chunks.has_ended(),
            Left::UntilClosed => false,
        }
    }

    /// Reads on. Ready with an error, or when there is more, or at the end of what has no length.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let Some(exchange) = &mut self.exchange else { return Poll::Ready(Ok(())) };
        // What the origin still takes of the request, while it answers already. That the connection
        // fails is seen where it is read.
        if let Poll::Ready(Err(Failed::Content(why))) = exchange.poll_send(cx) {
            return Poll::Ready(Err(why.into()));
        }
        let Some(connection) = exchange.seat.connection() else { return Poll::Ready(Ok(())) };
        if let Poll::Ready(count) = connection.poll_read(cx)? {
            return match (count, &self.left) {
                (0, Left::UntilClosed) => {
                    self.exchange = None;
                    Poll::Ready(Ok(()))
                }
                (0, _) => Poll::Ready(Err(Incomplete.into())),
                _ => Poll::Ready(Ok(())),
            };
        }
        let due = *self.due.get_or_insert_with(|| Instant::now() + self.limit);
        connection.alarm.poll(due, cx).map(|()| Err(Stalled(self.limit).into()))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        loop {
            let frame = self.next()?;
            if self.has_ended()
                && let Some(exchange) = self.exchange.take()
            {
                exchange.end(self.limit);
            }
            if frame.is_some() || self.exchange.is_none() {
                self.due = None;
                return Poll::Ready(Ok(frame));
            }
            ready!(self.poll_more(cx))?;
        }
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let frame = match ready!(self.poll(cx)) {
            Ok(frame) => frame,
            Err(error) => {
                self.exchange = None;
                self.broken = Some(error);
                // What came before it goes out first: a stream's reset overtakes all that waits.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        };
        let listed = &self.listed;
        Poll::Ready(frame.map(|frame| Ok(without_control_fields(frame, listed))))
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none() && self.broken.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            Left::Length(left) => SizeHint::with_exact(left),
            Left::Chunks(_) | Left::UntilClosed => SizeHint::default(),
        }
    }
}

/// RFC 9110 §6.5.1: fields that decide on framing, routing, or what is to be done with the message
/// must have come before its content; in a trailer they are too late to be obeyed. Those that carry
/// tags are for caches, and `listed` ones for this connection.
fn without_control_fields(frame: Frame<Bytes>, listed: &[HeaderName]) -> Frame<Bytes> {
    let trailers = match frame.into_trailers() {
        Ok(trailers) => trailers,
        Err(frame) => return frame,
    };
    let forbidden = |name: &HeaderName| CONTROL_FIELDS.contains(&name.as_str());
    let kept = trailers.keys().filter(|name| !forbidden(name) && !listed.contains(name));
    let kept = kept.flat_map(|name| trailers.get_all(name).iter().map(move |value| (name, value)));
    Frame::trailers(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// See [`without_control_fields`].
const CONTROL_FIELDS: [&str; 41] = [
    "age",
    "allow",
    "authorization",
    "cache-control",
    "cache-groups",
    "cache-group-invalidation",
    "cache-status",
    "cache-tag",
    "cache-tags",
    "cdn-cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "date",
    "expires",
    "host",
    "keep-alive",
    "larder-cache-control",
    "larder-position",
    "location",
    "no-vary-search",
    "pragma",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "retry-after",
    "set-cookie",
    "set-cookie2",
    "surrogate-key",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "www-authenticate",
    "xkey",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(status: u16, method: Method, fields: &[(&'static str, &str)]) -> (String, HeaderMap) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::try_from(*value).unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        let mut head = Head { status, headers, is_1_0: false, persists: true };
        let asked = Outgoing {
            method: method.clone(),
            path: http::uri::PathAndQuery::from_static("/"),
            headers: HeaderMap::new(),
            framing: super::super::upload::Framing::Nothing,
            upgrade: false,
            interim: None,
        };
        let verdict = check_status(status, &asked).and_then(|()| check_framing(&mut head, &method));
        let verdict = match verdict {
            Ok(framing) => format!("{framing:?}"),
            Err(fault) => fault.to_string(),
        };
        (verdict, head.headers)
    }

    #[test]
    fn framing_that_could_be_read_in_two_ways_is_refused() {
        const CL: &str = "content-length";
        const TE: &str = "transfer-encoding";
        for fields in [
            &[(CL, "5"), (TE, "chunked")][..],
            &[(TE, "chunked"), (TE, "chunked")],
            &[(TE, "gzip, chunked")],
            &[(TE, "chunked, identity")],
            &[(TE, "identity")],
            &[(TE, "xchunked")],
            &[(CL, "5"), (CL, "6")],
            &[(CL, "5, 6")],
            &[(CL, "+5")],
            &[(CL, "")],
            &[(CL, "0x5")],
        ] {
            let (verdict, _) = judge(200, Method::GET, fields);
            assert!(verdict.starts_with("the response is malformed"), "{fields:?}: {verdict}");
        }
    }

    #[test]
    fn a_length_said_twice_is_said_once() {
        for fields in
            [&[("content-length", "5"), ("content-length", "5")][..], &[("content-length", "5, 5")]]
        {
            let (verdict, headers) = judge(200, Method::GET, fields);
            assert_eq!(verdict, "Length(5)");
            assert_eq!(headers.get_all(CONTENT_LENGTH).iter().collect::<Vec<_>>(), ["5"]);
        }
    }

    #[test]
    fn only_a_response_that_says_nothing_of_its_end_is_close_delimited() {
        for (status, method, fields, expected) in [
            (200, Method::GET, &[][..], "UntilClosed"),
            (200, Method::GET, &[("content-length", "0")], "Length(0)"),
            (200, Method::GET, &[("transfer-encoding", "chunked")], "Chunked"),
            (200, Method::HEAD, &[("content-length", "5")], "Length(0)"),
            (204, Method::GET, &[], "Length(0)"),
            (304, Method::GET, &[], "Length(0)"),
        ] {
            assert_eq!(judge(status, method, fields).0, expected, "{status} {fields:?}");
        }
    }

    #[test]
    fn a_status_that_http_has_not_is_let_through_and_an_interim_one_is_not() {
        for (status, expected) in [
            (100, "the response is malformed"),
            (101, "the response is malformed"),
            (103, "the response is malformed"),
            (200, "Length(0)"),
            (599, "Length(0)"),
            (600, "Length(0)"),
            (999, "Length(0)"),
        ] {
            let (verdict, _) = judge(status, Method::GET, &[("content-length", "0")]);
            assert!(verdict.starts_with(expected), "{status}: {verdict}");
        }
    }

    #[test]
    fn a_204_goes_on_without_a_length() {
        let (_, headers) = judge(204, Method::GET, &[("content-length", "5")]);
        assert!(headers.is_empty());
    }

    #[test]
    fn trailers_cannot_say_what_the_head_should_have() {
        let mut trailers = HeaderMap::new();
        trailers.append("content-length", HeaderValue::from_static("7"));
        trailers.append("set-cookie", HeaderValue::from_static("a=b"));
        trailers.append("x-checksum", HeaderValue::from_static("1"));
        trailers.append("x-checksum", HeaderValue::from_static("2"));
        trailers.append("x-listed", HeaderValue::from_static("3"));
        trailers.append("surrogate-key", HeaderValue::from_static("a"));
        let listed = [HeaderName::from_static("x-listed")];
        let kept = without_control_fields(Frame::trailers(trailers), &listed);
        let kept = kept.into_trailers().unwrap();
        assert_eq!(kept.len(), 2);
        assert_eq!(kept.get_all("x-checksum").iter().collect::<Vec<_>>(), ["1", "2"]);
    }
}
