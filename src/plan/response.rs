//! From the origin's response to what becomes of it.

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::{Audience, NotShared, Outcome};
use crate::config::{Authority, Freshness, RequestDirectives, Route, SetCookie};
use crate::key::Digest;
use crate::semantics::cache_control::CacheControl;
use crate::semantics::freshness::{
    explicit_lifetime, heuristic_lifetime, must_not_serve_stale, stale_if_error,
    stale_while_revalidate,
};
use crate::semantics::range::content_range::{Extent, extent};
use crate::semantics::storable::{
    Allowance, NotStorable, hides_policy, is_heuristically_cacheable, is_server_error, sets_cookie,
    storable,
};
use crate::semantics::stored::{StoredResponse, Times};
use crate::semantics::time::Timestamp;
use crate::semantics::validation::{confirms, freshen_with, has_validator};
use crate::semantics::{age, targeted, vary};

/// An entry with a validator is kept this much longer than it may be served, since asking whether
/// it still stands costs the origin less than asking for it. So is one that a client may have stale
/// if it asks for that (RFC 9111 §5.2.1.2): no client's `max-stale` reaches further back.
const KEEP_BEYOND: Duration = Duration::from_secs(300);

/// What was asked of the origin, and when.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The route that applies.
    pub route: &'a Route,
    /// Key that it would be stored under; lifetimes are spread by it.
    pub digest: Digest,
    /// Method sent.
    pub method: &'a Method,
    /// Fields of the client's request.
    pub headers: &'a HeaderMap,
    /// When the request was sent.
    pub sent: Timestamp,
    /// The stored response that the request asked about, if it was conditional.
    pub validating: Option<&'a StoredResponse>,
}

/// The head of what the origin answered.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Status.
    pub status: StatusCode,
    /// Fields.
    pub headers: &'a HeaderMap,
    /// Length of the content, where the head gives one.
    pub length: Option<u64>,
    /// The content ends when the connection does.
    pub close_delimited: bool,
    /// When the head was received.
    pub received: Timestamp,
}

/// What becomes of a response?
pub fn settle(asked: &Asked<'_>, answer: &Answer<'_>) -> Outcome {
    if answer.status == StatusCode::NOT_MODIFIED {
        return settle_not_modified(asked, answer);
    }
    let control = targeted::effective(answer.headers);
    let storable = may_store(asked, answer, &control, Keeps::Wholes);
    if is_failure(answer.status) && !is_meant_to_last(asked, answer, &control, storable) {
        return Outcome::Error(audience(asked, answer, &control, storable));
    }
    if let Err(why) = storable {
        return Outcome::PassOn(NotShared::Forbidden(why));
    }
    if answer.length.is_some_and(|length| length > asked.route.max_entry) {
        return Outcome::PassOn(NotShared::TooLarge);
    }
    if answer.close_delimited {
        return Outcome::PassOn(NotShared::CloseDelimited);
    }
    if is_event_stream(answer.headers) {
        return Outcome::PassOn(NotShared::Endless);
    }
    match times(asked, answer.status, answer.headers, &control, answer.received) {
        // What may neither be served nor validated later is not worth keeping.
        Some(times) if times.keep_until > answer.received => Outcome::Store(times),
        _ => Outcome::PassOn(NotShared::Forbidden(NotStorable::NoFreshness)),
    }
}

/// May this 206 be kept as a part? Which one, and until when it may be used.
///
/// # Errors
///
/// Why not.
pub fn settle_part(asked: &Asked<'_>, answer: &Answer<'_>) -> Result<(Extent, Times), NotShared> {
    let control = targeted::effective(answer.headers);
    may_store(asked, answer, &control, Keeps::Parts).map_err(NotShared::Forbidden)?;
    let unknown = NotShared::Forbidden(NotStorable::PartialContent);
    // RFC 9110 §15.3.7.2: several parts have no Content-Range in the head.
    if answer.status != StatusCode::PARTIAL_CONTENT || is_of_type(answer.headers, "multipart/") {
        return Err(unknown);
    }
    // RFC 9111 §3.3: "if it does not understand the range units used".
    let extent = extent(answer.headers).ok_or(unknown)?;
    let length = extent.span.length();
    if answer.length.is_some_and(|announced| announced != length) {
        return Err(NotShared::BadPart);
    }
    if length > asked.route.max_entry {
        return Err(NotShared::TooLarge);
    }
    if answer.close_delimited {
        return Err(NotShared::CloseDelimited);
    }
    match times(asked, answer.status, answer.headers, &control, answer.received) {
        Some(times) if times.keep_until > answer.received => Ok((extent, times)),
        _ => Err(NotShared::Forbidden(NotStorable::NoFreshness)),
    }
}

/// What the caller knows how to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    Wholes,
    Parts,
}

/// RFC 9111 §4.3.4: a 304 renews the response that was asked about.
fn settle_not_modified(asked: &Asked<'_>, answer: &Answer<'_>) -> Outcome {
    let Some(stored) = asked.validating else {
        return Outcome::PassOn(NotShared::Unexpected);
    };
    if !confirms(&stored.headers, answer.headers) {
        return Outcome::AskAgain;
    }
    // What it takes back never gets into the merged fields, be it a prohibition.
    if hides_policy(answer.headers) {
        return Outcome::PassOn(NotShared::Forbidden(NotStorable::Malformed));
    }
    let cookies = asked.route.set_cookie == SetCookie::Store;
    let merged = freshen_with(&stored.headers, answer.headers, cookies);
    // Under another Vary it belongs under another key, and only a whole response goes there.
    if vary::parse(&merged) != vary::parse(&stored.headers) {
        return Outcome::AskAgain;
    }
    let control = targeted::effective(&merged);
    let renewed = Answer { status: stored.status, headers: &merged, ..*answer };
    if let Err(why) = may_store(asked, &renewed, &control, Keeps::Wholes) {
        return Outcome::PassOn(NotShared::Forbidden(why));
    }
    match times(asked, stored.status, &merged, &control, answer.received) {
        Some(times) => Outcome::Renew(times),
        None => Outcome::PassOn(NotShared::Forbidden(NotStorable::NoFreshness)),
    }
}

fn may_store(
    asked: &Asked<'_>,
    answer: &Answer<'_>,
    control: &CacheControl,
    keeps: Keeps,
) -> Result<(), NotStorable> {
    let freshness = &asked.route.freshness;
    let allowance = Allowance {
        ttl: ttl(freshness, answer.status).is_some()
            || guess(freshness, (answer.status, answer.headers), control, answer.received)
                .is_some(),
        keyed: &keyed(asked.route),
        override_origin: freshness.authority == Authority::Route,
        cookies: asked.route.set_cookie != SetCookie::Refuse,
        parts: keeps == Keeps::Parts,
    };
    storable(asked.method, asked.headers, answer.status, answer.headers, control, allowance)
}

/// Request fields that are in the key: what varies with them is told apart.
fn keyed(route: &Route) -> Vec<HeaderName> {
    let mut keyed = route.key.headers.clone();
    if !route.key.cookies.is_empty() {
        keyed.push(COOKIE);
    }
    keyed
}

/// The origin failed at what it was asked to do; 501 says that it never will.
fn is_failure(status: StatusCode) -> bool {
    is_server_error(status) && status != StatusCode::NOT_IMPLEMENTED
}

/// Does the origin itself say for how long its error holds, or that it is to be kept (`public`) where
/// lifetimes are guessed?
fn is_meant_to_last(
    asked: &Asked<'_>,
    answer: &Answer<'_>,
    control: &CacheControl,
    storable: Result<(), NotStorable>,
) -> bool {
    let said = (answer.status, answer.headers);
    let lifetime = explicit_lifetime(control, answer.headers, answer.received)
        .or_else(|| guess(&asked.route.freshness, said, control, answer.received));
    storable.is_ok() && lifetime.is_some_and(|lifetime| !lifetime.is_zero())
}

/// An error that nobody claimed is shared with those who asked at the same time: a failing origin is
/// not asked once per waiter.
fn audience(
    asked: &Asked<'_>,
    answer: &Answer<'_>,
    control: &CacheControl,
    storable: Result<(), NotStorable>,
) -> Audience {
    let cookie = sets_cookie(answer.headers) && asked.route.set_cookie == SetCookie::Refuse;
    let claimed = control.is_private()
        || control.no_store
        || cookie
        || !matches!(
            storable,
            Ok(()) | Err(NotStorable::NoFreshness | NotStorable::StatusNotUnderstood)
        );
    // Nobody says that it does not depend on who asked.
    let credentials =
        asked.headers.contains_key(COOKIE) || asked.headers.contains_key(AUTHORIZATION);
    if claimed || credentials { Audience::Asker } else { Audience::Waiters }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    is_of_type(headers, "text/event-stream")
}

fn is_of_type(headers: &HeaderMap, beginning: &str) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes().get(..beginning.len());
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case(beginning.as_bytes()))
    })
}

/// The lifetime that the configuration gives to a status, not yet spread.
fn ttl(freshness: &Freshness, status: StatusCode) -> Option<Duration> {
    match status.as_u16() {
        200 | 203 | 204 | 206 | 300 | 301 | 308 => freshness.soft_ttl,
        404 | 405 | 410 | 414 | 501 => freshness.negative_ttl,
        _ => None,
    }
}

/// The lifetime to be assumed where neither the origin nor the route gives one (RFC 9111 §4.2.2),
/// if the route wants that.
fn guess(
    freshness: &Freshness,
    (status, headers): (StatusCode, &HeaderMap),
    control: &CacheControl,
    received: Timestamp,
) -> Option<Duration> {
    let share = freshness.heuristic?;
    // "MUST NOT use heuristics to determine freshness when an explicit expiration time is present".
    if explicit_lifetime(control, headers, received).is_some() || ttl(freshness, status).is_some() {
        return None;
    }
    // "heuristics can only be used on […] status codes [that] are defined as heuristically
    // cacheable […] and on responses […] marked as explicitly cacheable".
    (control.public || is_heuristically_cacheable(status))
        .then(|| heuristic_lifetime(headers, received, share))?
}

/// Until when a response may be used; `None` if neither the origin nor the route says.
fn times(
    asked: &Asked<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    control: &CacheControl,
    received: Timestamp,
) -> Option<Times> {
    let freshness = &asked.route.freshness;
    let initial_age = age::corrected_initial_age(headers, asked.sent, received);
    // A guess is about the origin's content, so it is treated as the origin's word: its age counts
    // against it, and what the origin says of the time after holds.
    let explicit = explicit_lifetime(control, headers, received)
        .or_else(|| guess(freshness, (status, headers), control, received))
        .or_else(|| control.is_no_cache().then_some(Duration::ZERO));
    let configured = ttl(freshness, status);
    let origin_rules = freshness.authority == Authority::Origin;
    let spread = Spread::of(freshness.jitter, asked.digest);

    // In the past for what came stale: its windows have been open since then (RFC 5861 §3, §4: "up
    // to the indicated number of seconds" from when it became stale).
    let from_birth = |lifetime| (received + lifetime - initial_age, true);
    let (fresh_until, from_origin) = match (explicit, configured) {
        (Some(lifetime), _) if origin_rules => from_birth(lifetime),
        (_, Some(ttl)) => (received + spread.over(ttl), false),
        (Some(lifetime), None) => from_birth(lifetime),
        (None, None) => return None,
    };
    let window = Window { freshness, status, spread, received, fresh_until };
    let told = (from_origin || origin_rules).then_some(control);
    let (stale_until, error_until) = window.beyond(told);
    let fresh_until = match told {
        // RFC 9111 §5.2.2.4: stored, but never used without asking.
        Some(control) if control.is_no_cache() => received,
        _ => fresh_until,
    };
    let served = received.max(fresh_until).max(stale_until).max(error_until);
    let of_use = has_validator(headers)
        || (served > received
            && asked.route.request_directives == RequestDirectives::Honour
            && !must_not_serve_stale(control));
    let keep_until = if of_use { served + KEEP_BEYOND } else { served };
    Some(Times {
        response_time: received,
        initial_age,
        fresh_until,
        stale_until: stale_until.max(fresh_until),
        error_until,
        keep_until,
    })
}

/// What lies beyond the soft expiry.
#[derive(Clone, Copy)]
struct Window<'a> {
    freshness: &'a Freshness,
    status: StatusCode,
    spread: Spread,
    received: Timestamp,
    fresh_until: Timestamp,
}

impl Window<'_> {
    /// Hard expiry, and the end of stale-if-error. `told`: what the origin says, where that counts.
    fn beyond(&self, told: Option<&CacheControl>) -> (Timestamp, Timestamp) {
        if let Some(control) = told {
            let swr = stale_while_revalidate(control);
            let sie = stale_if_error(control);
            if control.is_no_cache() {
                return (self.received, self.received);
            }
            // RFC 9111 §4.2.4: then only what the origin itself allows.
            let forbidden = must_not_serve_stale(control);
            let hard = match swr {
                Some(swr) => self.fresh_until + swr,
                None if forbidden => self.fresh_until,
                None => self.configured_hard(),
            };
            let error = match sie {
                // RFC 5861 §4: counted from when it became stale.
                Some(sie) => self.fresh_until + sie,
                None if forbidden => self.fresh_until,
                None => hard + self.freshness.stale_if_error,
            };
            return (hard, error);
        }
        let hard = self.configured_hard();
        (hard, hard + self.freshness.stale_if_error)
    }

    /// The route's hard expiry; never before the soft one. Errors have none: what is negative is
    /// not worth being stale.
    fn configured_hard(&self) -> Timestamp {
        let error = self.status.is_client_error() || is_server_error(self.status);
        let hard = self.freshness.hard_ttl.filter(|_| !error);
        hard.map_or(self.fresh_until, |h| self.received + self.spread.over(h)).max(self.fresh_until)
    }
}

/// The share by which one key's lifetimes differ from what is configured. The same for all of its
/// lifetimes and in every process, so that what was filled together does not expire together.
#[derive(Clone, Copy, Debug)]
struct Spread(f64);

impl Spread {
    fn of(jitter: f64, digest: Digest) -> Self {
        let [.., a, b] = digest.0;
        let unit = f64::from(u16::from_be_bytes([a, b])) / f64::from(u16::MAX) * 2.0 - 1.0;
        Self(1.0 + jitter.clamp(0.0, 0.9) * unit)
    }

    fn over(self, lifetime: Duration) -> Duration {
        Duration::from_secs_f64(lifetime.as_secs_f64().min(1e9) * self.0)
    }
}
