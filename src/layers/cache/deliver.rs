//! From what is stored, or being stored, to a response for one client.

use std::sync::Arc;
use std::time::Duration;

use http::header::AGE;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::asked::Asked;
use super::part;
use crate::body::Body;
use crate::layers::collapse::Shared;
use crate::layers::handled::{Handled, attach};
use crate::plan::{FetchReason, StaleReason};
use crate::semantics::cache_status::{CacheStatus, Forwarded};
use crate::semantics::conditional::{self, Precondition};
use crate::semantics::fields::replace;
use crate::semantics::stored::Times;
use crate::semantics::time::Timestamp;
use crate::store::Entry;
use crate::telemetry::outcome::Outcome;

/// How an entry came to answer a request.
#[derive(Clone, Copy, Debug)]
pub enum Served {
    /// Found fresh.
    Hit,
    /// Found stale and allowed to be.
    Stale(StaleReason),
    /// The origin said that it still stands.
    Validated(FetchReason, Asker, Duration),
    /// Somebody else's fetch, here or in another process.
    Collapsed(FetchReason),
}

/// Whose fetch it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// This request's own.
    Own,
    /// Another request's, which this one waited for.
    Other,
}

/// A response from an entry: all of it, or the part that is asked for.
pub fn entry(asked: &Asked, entry: &Entry, served: Served, now: Timestamp) -> Response<Body> {
    let times = entry.times();
    let body = || Body::full(entry.body());
    let mut response = answer(asked, entry.status(), entry.headers(), body, &times, now);
    if asked.method == Method::HEAD {
        keep_length(&mut response, entry.content().len());
    }
    if asked.ranges.is_some() {
        response = part::narrow(asked, &entry.response(), response);
    }
    attach(response, handled(asked, served, &times, entry.fill_time(), now))
}

/// A response from a fill, whose content may still be arriving.
pub fn shared(
    asked: &Asked,
    shared: &Shared,
    body: Body,
    (reason, asker): (FetchReason, Asker),
    now: Timestamp,
) -> Response<Body> {
    let entry = &shared.entry;
    let times = &entry.times();
    let body = || body;
    // Others get what may be stored: fields that are marked as the asker's are not among that.
    let headers = match asker {
        Asker::Own => shared.head.headers.clone(),
        Asker::Other => entry.headers(),
    };
    let mut response = answer(asked, shared.head.status, headers, body, times, now);
    if !shared.stored {
        // An error is nobody's to reuse: it has the age that the origin gave it, if any.
        response.headers_mut().remove(AGE);
    }
    let collapsed = asker == Asker::Other;
    let status = CacheStatus {
        fwd: Some(reason.forwarded()),
        fwd_status: (asker == Asker::Own).then_some(shared.head.status.as_u16()),
        ttl: shared.stored.then(|| ttl(times, now)),
        stored: shared.stored && asker == Asker::Own,
        collapsed,
        detail: Some(reason.as_str().into()),
        key: asked.shown_key(),
        ..CacheStatus::default()
    };
    let handled = Handled {
        route: Arc::clone(&asked.route),
        outcome: if collapsed { Outcome::Collapsed } else { Outcome::Miss },
        reason: reason.as_str(),
        cache_status: status,
        origin_time: (!collapsed).then(|| entry.fill_time()),
        saved_time: collapsed.then(|| entry.fill_time()),
    };
    attach(response, handled)
}

/// The origin's answer for the one who asked.
pub fn own(
    asked: &Asked,
    response: Response<Body>,
    reason: FetchReason,
    detail: &'static str,
    origin_time: Duration,
) -> Response<Body> {
    let response = respect_conditions(asked, response);
    let status = CacheStatus {
        fwd: Some(reason.forwarded()),
        fwd_status: Some(response.status().as_u16()),
        detail: Some(detail.into()),
        key: asked.shown_key(),
        ..CacheStatus::default()
    };
    let handled = Handled {
        route: Arc::clone(&asked.route),
        outcome: Outcome::Miss,
        reason: detail,
        cache_status: status,
        origin_time: Some(origin_time),
        saved_time: None,
    };
    attach(response, handled)
}

/// The client's own condition was not sent to the origin, which was asked for everybody: what it
/// would have said is said here.
fn respect_conditions(asked: &Asked, response: Response<Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    match conditional::evaluate(&asked.method, &asked.headers, parts.status, &parts.headers) {
        Precondition::NotModified => not_modified(&parts.headers),
        _ => Response::from_parts(parts, body),
    }
}

fn answer(
    asked: &Asked,
    status: StatusCode,
    headers: HeaderMap,
    body: impl FnOnce() -> Body,
    times: &Times,
    now: Timestamp,
) -> Response<Body> {
    let mut response = match conditional::evaluate(&asked.method, &asked.headers, status, &headers)
    {
        Precondition::NotModified => not_modified(&headers),
        _ => {
            let body = if asked.method == Method::HEAD { Body::empty() } else { body() };
            let mut response = Response::new(body);
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            response
        }
    };
    // RFC 9111 §5.1: in seconds, of a response that may be reused.
    replace(response.headers_mut(), AGE, HeaderValue::from(times.age(now).as_secs()));
    response
}

fn not_modified(headers: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = conditional::not_modified_headers(headers);
    response
}

/// RFC 9110 §8.6: what a GET would have had.
fn keep_length(response: &mut Response<Body>, length: usize) {
    if response.status() == StatusCode::OK {
        replace(response.headers_mut(), http::header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

fn handled(
    asked: &Asked,
    served: Served,
    times: &Times,
    fill_time: Duration,
    now: Timestamp,
) -> Handled {
    let (outcome, reason) = match served {
        Served::Hit => (Outcome::Hit, "fresh"),
        Served::Stale(why) => (Outcome::Stale, why.as_str()),
        Served::Validated(why, Asker::Own, _) => (Outcome::Revalidated, why.as_str()),
        Served::Validated(why, Asker::Other, _) | Served::Collapsed(why) => {
            (Outcome::Collapsed, why.as_str())
        }
    };
    let forwarded: Option<Forwarded> = match served {
        Served::Hit | Served::Stale(_) => None,
        Served::Validated(why, ..) | Served::Collapsed(why) => Some(why.forwarded()),
    };
    let took = match served {
        Served::Validated(_, Asker::Own, took) => Some(took),
        _ => None,
    };
    let own = took.is_some();
    let status = CacheStatus {
        hit: forwarded.is_none(),
        fwd: forwarded,
        fwd_status: own.then_some(304),
        // What is served stale although its time is not over has none left all the same.
        ttl: Some(match served {
            Served::Stale(_) => ttl(times, now).min(0),
            _ => ttl(times, now),
        }),
        stored: own,
        collapsed: outcome == Outcome::Collapsed,
        detail: (!matches!(served, Served::Hit)).then(|| reason.into()),
        key: asked.shown_key(),
    };
    Handled {
        route: Arc::clone(&asked.route),
        outcome,
        reason,
        cache_status: status,
        origin_time: took,
        saved_time: (!own).then_some(fill_time),
    }
}

/// Remaining freshness in seconds, negative when stale (RFC 9211 §2.4).
fn ttl(times: &Times, now: Timestamp) -> i64 {
    let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
    if times.is_fresh(now) {
        seconds(times.fresh_until.since(now))
    } else {
        -seconds(now.since(times.fresh_until))
    }
}
