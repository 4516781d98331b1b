//! A stored response: plain data that every floor may hold.

use std::time::Duration;

use bytes::Bytes;
use http::header::{PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TRAILER};
use http::{HeaderMap, HeaderName, StatusCode};

use super::fields::strip_hop_by_hop;
use super::targeted;
use super::time::Timestamp;

/// A complete response as it was stored: what the origin said, without the fields that may not be
/// stored (RFC 9111 §3.1).
#[derive(Clone, Debug)]
pub struct StoredResponse {
    /// Final status code.
    pub status: StatusCode,
    /// End-to-end fields, every line of a repeated field kept.
    pub headers: HeaderMap,
    /// The whole content.
    pub body: Bytes,
    /// When it was received and until when it may be used.
    pub times: Times,
}

/// The times of a stored response, all on this process's own clock.
///
/// `fresh_until <= stale_until <= keep_until` and `error_until <= keep_until` always hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When its head was received from the origin (RFC 9111 §4.2.3, `response_time`).
    pub response_time: Timestamp,
    /// Its age at that moment (RFC 9111 §4.2.3, `corrected_initial_age`).
    pub initial_age: Duration,
    /// Soft expiry: fresh before it, stale from it on.
    pub fresh_until: Timestamp,
    /// Hard expiry: until here it may be served stale while it is refreshed behind.
    pub stale_until: Timestamp,
    /// Until here it may be served stale if the origin fails (RFC 5861 §4).
    pub error_until: Timestamp,
    /// Until here the store keeps it, if only to validate it.
    pub keep_until: Timestamp,
}

impl Times {
    /// Age at `now` (RFC 9111 §4.2.3, `current_age`).
    pub fn age(&self, now: Timestamp) -> Duration {
        self.initial_age + now.since(self.response_time)
    }

    /// Fresh at `now`?
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.fresh_until
    }
}

/// The fields of a response that are stored (RFC 9111 §3.1): all of them, every line in its place,
/// but those that
/// - are meant for one connection (RFC 9110 §7.6.1),
/// - are meant for one proxy,
/// - a qualified `private` or `no-cache` names (§5.2.2.4, §5.2.2.7),
/// - announce trailers, which are discarded.
pub fn storable_headers(headers: &HeaderMap) -> HeaderMap {
    // Read before anything is taken away: `Connection` may not hide it.
    let control = targeted::effective(headers);
    let mut kept = headers.clone();
    strip_hop_by_hop(&mut kept);
    for name in NOT_STORED.iter().chain(control.excluded_fields()) {
        kept.remove(name);
    }
    kept
}

/// §3.1: "MUST NOT be stored, unless the cache incorporates the identity of the proxy".
const NOT_STORED: [HeaderName; 4] = [
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
    TRAILER,
];
