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
use http::{Extensions, HeaderName, HeaderValue, Method, Response, StatusCode, Version, response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::sync::OwnedSemaphorePermit;

use super::Outgoing;
use crate::body::{Body, BodyError};
use crate::error::{OriginFault, ProxyError};
use crate::idle::Idle;
use crate::peer::{CloseDelimited, Held};
use crate::semantics::fields::names;

/// Judges a response; its content keeps `permit` until it has ended, and fails after a pause of
/// `limit`.
pub(super) fn response(
    response: Response<Incoming>,
    asked: &Outgoing,
    permit: OwnedSemaphorePermit,
    limit: Duration,
) -> Result<Response<Body>, ProxyError> {
    let (mut head, content) = response.into_parts();
    check_status(&head, asked)?;
    let framing = check_framing(&mut head, &asked.method)?;
    if !head.headers.contains_key(DATE) {
        let now = httpdate::fmt_http_date(crate::clock::wall());
        if let Ok(now) = HeaderValue::try_from(now) {
            head.headers.append(DATE, now);
        }
    }
    head.version = Version::HTTP_11;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        // The connection is in the extensions, and no longer one of HTTP.
        head.extensions.insert(Held(Arc::new(permit)));
        return Ok(Response::from_parts(head, Body::empty()));
    }
    // RFC 9110 §7.6.1: what `Connection` lists is removed from the trailers too; from the fields it
    // is further up, where they are forwarded.
    let listed = names(head.headers.get_all(CONNECTION).iter()).filter_map(Result::ok).collect();
    head.extensions = Extensions::new();
    if framing == Framing::UntilClosed {
        head.extensions.insert(CloseDelimited);
    }
    let content = if content.is_end_stream() {
        Body::empty()
    } else {
        let content = Idle::new(content, limit);
        Body::streaming(Received { content, permit: Some(permit), listed })
    };
    Ok(Response::from_parts(head, content))
}

fn check_status(head: &response::Parts, asked: &Outgoing) -> Result<(), OriginFault> {
    match head.status.as_u16() {
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
    /// The response says where it ends, or has no content by its nature.
    Known,
    UntilClosed,
}

/// RFC 9112 §6.3, without its leniency: what two recipients could read differently is refused.
fn check_framing(head: &mut response::Parts, method: &Method) -> Result<Framing, OriginFault> {
    let headers = &mut head.headers;
    let coded = check_coding(headers)?;
    let sized = check_length(headers)?;
    if coded && sized {
        return Err(OriginFault::Malformed("it has both a length and a transfer coding"));
    }
    headers.remove(TRANSFER_ENCODING);
    if head.status == StatusCode::NO_CONTENT || head.status.is_informational() {
        // RFC 9110 §8.6: must not be there.
        headers.remove(CONTENT_LENGTH);
        return Ok(Framing::Known);
    }
    let no_content = *method == Method::HEAD || head.status == StatusCode::NOT_MODIFIED;
    if coded || sized || no_content { Ok(Framing::Known) } else { Ok(Framing::UntilClosed) }
}

fn check_coding(headers: &HeaderMap) -> Result<bool, OriginFault> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(OriginFault::Malformed("its only transfer coding must be chunked")),
    }
}

fn check_length(headers: &mut HeaderMap) -> Result<bool, OriginFault> {
    let mut lengths = headers
        .get_all(CONTENT_LENGTH)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii));
    let Some(first) = lengths.next() else { return Ok(false) };
    let digits = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
    let mut repeated = false;
    for length in lengths {
        repeated = true;
        if length != first {
            return Err(OriginFault::Malformed("it has two lengths"));
        }
    }
    if !digits {
        return Err(OriginFault::Malformed("its length is no number"));
    }
    // RFC 9110 §8.6: the same length twice is written once before it is forwarded.
    if repeated {
        let once = HeaderValue::from_bytes(first);
        headers.remove(CONTENT_LENGTH);
        headers.extend(once.ok().map(|once| (CONTENT_LENGTH, once)));
    }
    Ok(true)
}

pin_project! {
    /// A response's content on its way in.
    struct Received {
        #[pin]
        content: Idle<Incoming>,
        permit: Option<OwnedSemaphorePermit>,
        // Names of trailer fields that concern this connection only.
        listed: Vec<HeaderName>,
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.project();
        match ready!(this.content.poll_frame(cx)) {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(without_control_fields(frame, this.listed)))),
            end => {
                *this.permit = None;
                Poll::Ready(end)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
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
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in fields {
            response.headers_mut().append(*name, HeaderValue::try_from(*value).unwrap());
        }
        let (mut head, ()) = response.into_parts();
        let asked = Outgoing {
            method: method.clone(),
            path: http::uri::PathAndQuery::from_static("/"),
            headers: HeaderMap::new(),
            upgrade: false,
            interim: None,
        };
        let verdict = check_status(&head, &asked).and_then(|()| check_framing(&mut head, &method));
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
            assert_eq!(verdict, "Known");
            assert_eq!(headers.get_all(CONTENT_LENGTH).iter().collect::<Vec<_>>(), ["5"]);
        }
    }

    #[test]
    fn only_a_response_that_says_nothing_of_its_end_is_close_delimited() {
        for (status, method, fields, expected) in [
            (200, Method::GET, &[][..], "UntilClosed"),
            (200, Method::GET, &[("content-length", "0")], "Known"),
            (200, Method::GET, &[("transfer-encoding", "chunked")], "Known"),
            (200, Method::HEAD, &[], "Known"),
            (204, Method::GET, &[], "Known"),
            (304, Method::GET, &[], "Known"),
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
            (200, "Known"),
            (599, "Known"),
            (600, "Known"),
            (999, "Known"),
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
