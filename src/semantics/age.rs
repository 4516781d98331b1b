//! How old a response already is when it arrives (RFC 9111 §4.2.3). From then on
//! [`super::stored::Times::age`] counts.
//!
//! ```text
//! apparent_age          = max(0, response_time - date_value)
//! corrected_age_value   = age_value + (response_time - request_time)
//! corrected_initial_age = max(apparent_age, corrected_age_value)
//! ```

use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, DATE};

use super::cache_control::delta_seconds;
use super::fields::{members, single_date};
use super::time::Timestamp;

/// The age of a response at the moment it was received. `sent` and `received` are this process's
/// own times of the request and of the response's head.
pub fn corrected_initial_age(
    headers: &HeaderMap,
    sent: Timestamp,
    received: Timestamp,
) -> Duration {
    apparent_age(headers, received).max(corrected_age_value(headers, sent, received))
}

/// What the clocks say: zero without a `Date`, with one that cannot be read, or from the future.
fn apparent_age(headers: &HeaderMap, received: Timestamp) -> Duration {
    // Date counts whole seconds, so this clock is read in whole seconds too. Otherwise every
    // response would seem up to a second old.
    let received = Timestamp::from_millis(received.as_millis() / 1000 * 1000);
    single_date(headers, &DATE).map_or(Duration::ZERO, |date| received.since(date)).min(OLDEST)
}

/// What the caches on the way say. §4.2.3: "MUST interpret this value relative to the time the
/// request was initiated".
fn corrected_age_value(headers: &HeaderMap, sent: Timestamp, received: Timestamp) -> Duration {
    (age_value(headers) + received.since(sent)).min(OLDEST)
}

/// §5.1: "SHOULD use the first member of the field value"; "if … invalid …, SHOULD ignore".
fn age_value(headers: &HeaderMap) -> Duration {
    members(headers.get_all(AGE).iter())
        .next()
        .and_then(Result::ok)
        .and_then(delta_seconds)
        .unwrap_or_default()
}

/// §1.2.2: 2³¹ seconds, from which on an age is as good as infinite.
const OLDEST: Duration = Duration::from_secs(1 << 31);
