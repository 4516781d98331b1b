//! From what is stored to the part that a client asks for.
//!
//! | stored | asked for | answered with |
//! |---|---|---|
//! | anything but 200 and 206 | any | it |
//! | a whole | one range, several, none of it | 206, 206 multipart, 416 |
//! | a whole | too many ranges, or If-Range names another | 200 |
//! | a part | what [`covers`] says that it holds | 206, 206 multipart |

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    EXPIRES, LAST_MODIFIED, PRAGMA,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::asked::Asked;
use crate::body::Body;
use crate::semantics::conditional;
use crate::semantics::fields::replace;
use crate::semantics::range::combine::OF_THE_MESSAGE;
use crate::semantics::range::content_range::{self, ContentRange, Extent};
use crate::semantics::range::multipart::{Multipart, cut};
use crate::semantics::range::{Selection, Span, if_range};
use crate::semantics::stored::StoredResponse;
use crate::store::LeaseToken;

/// The part of `response` that the request asks for, if it asks for one. `response` is what
/// `stored` answers to the request without its Range.
///
/// RFC 9110 §14.2: Range is evaluated "only if the result in absence of the Range header field would
/// be a 200 (OK) response": a 304 stays one.
pub fn narrow(asked: &Asked, stored: &StoredResponse, response: Response<Body>) -> Response<Body> {
    let Some(ranges) = asked.ranges.as_ref().filter(|_| response.status() == stored.status) else {
        return response;
    };
    let Some(held) = held(stored) else { return response };
    if !if_range::applies(&asked.headers, &stored.headers) {
        return response;
    }
    match ranges.select(held.complete) {
        Selection::Whole => response,
        Selection::One(span) => one(stored, held, span, response),
        Selection::Several(spans) => several(stored, held, &spans, response),
        Selection::Unsatisfiable => unsatisfiable(held.complete, &stored.headers),
    }
}

/// Does this stored part hold all that is asked for? RFC 9111 §3.3: it must not be used "unless […]
/// the request is partial and specifies a range wholly within the incomplete response".
pub fn covers(asked: &Asked, stored: &StoredResponse) -> bool {
    let (Some(ranges), Some(held)) = (&asked.ranges, held(stored)) else { return false };
    if !if_range::applies(&asked.headers, &stored.headers) {
        return false;
    }
    match ranges.select(held.complete) {
        Selection::One(span) => held.span.contains(span),
        Selection::Several(spans) => spans.iter().all(|span| held.span.contains(*span)),
        Selection::Whole | Selection::Unsatisfiable => false,
    }
}

/// Which bytes a stored response holds; `None` if there are none to cut.
pub fn held(stored: &StoredResponse) -> Option<Extent> {
    let length = stored.body.len() as u64;
    match stored.status {
        StatusCode::OK => Extent::of_whole(length),
        StatusCode::PARTIAL_CONTENT => {
            content_range::extent(&stored.headers).filter(|held| held.span.length() == length)
        }
        _ => None,
    }
}

fn one(
    stored: &StoredResponse,
    held: Extent,
    span: Span,
    mut response: Response<Body>,
) -> Response<Body> {
    let Some(bytes) = cut(&stored.body, held.span, span) else { return response };
    let headers = become_partial(&mut response, span.length());
    let range = Extent { span, complete: held.complete };
    replace(headers, CONTENT_RANGE, range.to_value());
    *response.body_mut() = Body::full(bytes);
    response
}

fn several(
    stored: &StoredResponse,
    held: Extent,
    spans: &[Span],
    mut response: Response<Body>,
) -> Response<Body> {
    // As little to be guessed as a lease's token, by whoever wrote the content.
    let boundary = LeaseToken::unique().0;
    let kind = stored.headers.get(CONTENT_TYPE);
    let parts = Multipart::new(boundary, kind, spans, held.complete);
    let Some(pieces) = parts.pieces(&stored.body, held.span) else { return response };
    let headers = become_partial(&mut response, parts.length());
    // RFC 9110 §15.3.7.2: "MUST NOT generate a Content-Range header field in the HTTP header
    // section of a multiple part response".
    headers.remove(CONTENT_RANGE);
    replace(headers, CONTENT_TYPE, parts.content_type());
    let pieces = Pieces { left: parts.length(), pieces: pieces.into() };
    *response.body_mut() = Body::streaming(pieces.map_err(|never| match never {}));
    response
}

/// RFC 9110 §15.3.7: a Content-Length "indicates the number of octets in the content of this
/// message". The other fields are those of a 200.
fn become_partial(response: &mut Response<Body>, length: u64) -> &mut HeaderMap {
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let headers = response.headers_mut();
    replace(headers, CONTENT_LENGTH, HeaderValue::from(length));
    for name in OF_THE_MESSAGE {
        headers.remove(name);
    }
    headers
}

/// RFC 9110 §15.5.17: "SHOULD generate a Content-Range header field specifying the current length".
///
/// Of the stored fields it has those that do not speak of a representation, nor of how long it may
/// be kept: a cache that took it for an answer to its URI would serve it to those who want the
/// whole.
fn unsatisfiable(complete: u64, stored: &HeaderMap) -> Response<Body> {
    let mut headers = conditional::not_modified_headers(stored);
    for name in OF_THE_WHOLE {
        headers.remove(name);
    }
    replace(&mut headers, CONTENT_RANGE, ContentRange::Unsatisfied(complete).to_value());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    *response.headers_mut() = headers;
    response
}

const OF_THE_WHOLE: [HeaderName; 10] = [
    AGE,
    CACHE_CONTROL,
    CONTENT_LOCATION,
    ETAG,
    EXPIRES,
    LAST_MODIFIED,
    PRAGMA,
    HeaderName::from_static("cdn-cache-control"),
    HeaderName::from_static("larder-cache-control"),
    HeaderName::from_static("surrogate-control"),
];

/// Content in pieces that are all here.
struct Pieces {
    pieces: VecDeque<Bytes>,
    /// Bytes in them.
    left: u64,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.pieces.pop_front().map(|piece| {
            self.left = self.left.saturating_sub(piece.len() as u64);
            Ok(Frame::data(piece))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
