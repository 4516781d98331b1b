//! How long a response stays fresh (RFC 9111 §4.2), and what the origin says about the time after
//! (RFC 5861).
//!
//! | the response says | explicit lifetime |
//! |---|---|
//! | something that cannot be read | zero |
//! | `s-maxage` | that |
//! | `max-age` | that |
//! | a targeted field without either (RFC 9213) | none |
//! | `Expires` | until then from `Date`, or from its arrival without one |
//! | `Expires` that is no date, or several that differ | zero |
//! | nothing | none |

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, EXPIRES};

use super::cache_control::CacheControl;
use super::fields::single_date;
use super::time::Timestamp;

/// The freshness lifetime that the origin gave (§4.2.1), counted from the response's origin, so
/// that its age is to be taken off; `None` if it gave none. `received` is when the head came.
pub fn explicit_lifetime(
    control: &CacheControl,
    headers: &HeaderMap,
    received: Timestamp,
) -> Option<Duration> {
    // §4.2.1: "encouraged to consider responses that have invalid freshness information … stale".
    if control.malformed {
        return Some(Duration::ZERO);
    }
    // §5.3: beside max-age or s-maxage, "MUST ignore the Expires header field".
    if let Some(lifetime) = control.s_maxage.or(control.max_age) {
        return Some(lifetime);
    }
    // RFC 9213 §2.2: "MUST ignore the Cache-Control and Expires header fields".
    if control.targeted || !headers.contains_key(EXPIRES) {
        return None;
    }
    Some(until_expires(headers, received))
}

/// Must it not be used once stale, unless the origin itself says for how long it may (§4.2.4)?
///
/// This closes every window that comes from elsewhere: a route's, or a client's `max-stale`. What
/// the origin opens beside it is told by [`stale_while_revalidate`] and [`stale_if_error`].
pub fn must_not_serve_stale(control: &CacheControl) -> bool {
    control.must_revalidate
        || control.proxy_revalidate
        // §5.2.2.10: "incorporates the semantics of the proxy-revalidate response directive".
        || control.s_maxage.is_some()
        || control.is_no_cache()
}

/// How long past freshness the origin allows serving while revalidating (RFC 5861 §3); `None` if
/// it says nothing of the kind or forbids it.
///
/// `s-maxage` forbids it only by implication (§5.2.2.10). An origin that writes both in one field
/// names the exception itself: RFC 5861 §3 permits to serve "after it becomes stale, up to the
/// indicated number of seconds", and §4.2.4 counts that among the explicit permissions.
pub fn stale_while_revalidate(control: &CacheControl) -> Option<Duration> {
    control.stale_while_revalidate.filter(|_| !forbids_in_words(control))
}

/// How long past freshness the origin allows serving when it fails (RFC 5861 §4); `None` if it
/// says nothing of the kind or forbids it. Beside `s-maxage` as [`stale_while_revalidate`].
pub fn stale_if_error(control: &CacheControl) -> Option<Duration> {
    control.stale_if_error.filter(|_| !forbids_in_words(control))
}

/// §5.2.2.2: "In all circumstances, a cache MUST NOT ignore the must-revalidate directive".
fn forbids_in_words(control: &CacheControl) -> bool {
    control.must_revalidate
        || control.proxy_revalidate
        || control.is_no_cache()
        || control.malformed
}

/// §4.2.1: Expires minus Date, "using the time the message was received if it is not present".
/// §5.3: "MUST interpret invalid date formats … as representing a time in the past".
fn until_expires(headers: &HeaderMap, received: Timestamp) -> Duration {
    let Some(expires) = single_date(headers, &EXPIRES) else { return Duration::ZERO };
    let date = single_date(headers, &DATE).unwrap_or(received);
    expires.since(date).min(LONGEST)
}

/// §1.2.2: 2³¹ seconds.
const LONGEST: Duration = Duration::from_secs(1 << 31);
