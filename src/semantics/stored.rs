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
    /// Of a response that may not be used again.
    pub const fn none(received: Timestamp) -> Self {
        Self {
            response_time: received,
            initial_age: Duration::ZERO,
            fresh_until: received,
            stale_until: received,
            error_until: received,
            keep_until: received,
        }
    }

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

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn map<'a>(fields: impl IntoIterator<Item = (&'static str, &'a str)>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn everything_is_stored_but_what_must_not_be() {
        let kept = [
            ("content-type", "application/json"),
            ("age", "5"),
            ("date", "x"),
            ("etag", "\"1\""),
            ("x-unknown", "1"),
            ("link", "<b>"),
            ("link", "<a>"),
            ("link", "<c>"),
            ("cache-control", "max-age=5, private=\"X-User, x-trace\", vary"),
            ("cache-control", "no-cache=\"x-fresh, content-type\""),
        ];
        let dropped = [
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x-sum"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authentication-info", "x"),
            ("proxy-authorization", "x"),
            ("x-user", "7"),
            ("x-user", "8"),
            ("x-trace", "9"),
            ("x-fresh", "1"),
        ];
        assert_eq!(storable_headers(&map(kept.into_iter().chain(dropped))), map(kept));
        assert_eq!(storable_headers(&map(dropped.into_iter().chain(kept))), map(kept));
    }

    #[test]
    fn the_lists_of_the_field_that_applies_count() {
        let fields = [
            ("cdn-cache-control", "max-age=5, private=\"x-a\""),
            ("cache-control", "private=\"x-b\""),
            ("x-a", "1"),
            ("x-b", "1"),
        ];
        let stored = storable_headers(&map(fields));
        assert!(!stored.contains_key("x-a") && stored.contains_key("x-b"));
    }

    #[test]
    fn connection_does_not_hide_what_must_not_be_stored() {
        let fields =
            [("cache-control", "private=\"x-a\""), ("connection", "cache-control"), ("x-a", "1")];
        assert!(storable_headers(&map(fields)).is_empty());
    }

    proptest! {
        #[test]
        fn the_lines_of_a_field_keep_their_order(
            lines in proptest::collection::vec(
                (prop_oneof![
                    Just("a"), Just("b"), Just("c"), Just("x-hop"), Just("trailer"), Just("te"),
                ], "[0-9]{1,3}"), 0..30),
        ) {
            let headers = map(
                lines.iter().map(|(n, v)| (*n, v.as_str())).chain([("connection", "x-hop")]),
            );
            let stored = storable_headers(&headers);
            for name in ["a", "b", "c"] {
                prop_assert!(stored.get_all(name).iter().eq(headers.get_all(name).iter()));
            }
            prop_assert!(["x-hop", "trailer", "te", "connection"].iter().all(|n| !stored.contains_key(*n)));
        }
    }
}
