//! RFC 5861 stale answers, RFC 8246 immutable, RFC 9211 Cache-Status, RFC 9213 targeted fields.

use larder::plan::request::may_cover_an_error;
use larder::semantics::cache_status::{CacheStatus, Forwarded};
use larder::semantics::targeted::effective;

use super::*;

const TAG: (&str, &str) = ("etag", "\"1\"");

/// The requirement, Cache-Control, seconds since, what is done, whether it may cover an error.
type Stale<'a> = (&'a str, &'a str, u64, &'a str, bool);

#[rustfmt::skip]
const STALE: &[Stale<'_>] = &[
    // RFC 5861 §3
    ("MAY serve it after it becomes stale", "max-age=60, stale-while-revalidate=30", 60, "serve stale", true),
    ("up to the indicated number of seconds", "max-age=60, stale-while-revalidate=30", 89, "serve stale", true),
    ("SHOULD NOT be served stale past them", "max-age=60, stale-while-revalidate=30", 90, "validate", false),
    // RFC 5861 §4
    ("MAY be used when an error is encountered", "max-age=60, stale-if-error=30", 60, "validate", true),
    ("up to the limit", "max-age=60, stale-if-error=30", 89, "validate", true),
    ("SHOULD NOT be used past it", "max-age=60, stale-if-error=30", 90, "validate", false),
    ("does not affect freshness", "max-age=60, stale-if-error=30", 59, "serve", true),
    // RFC 9111 §5.2.2.2: "In all circumstances"
    ("must-revalidate closes both", "max-age=60, must-revalidate, stale-while-revalidate=30, stale-if-error=30", 61, "validate", false),
    ("so does proxy-revalidate", "max-age=60, proxy-revalidate, stale-while-revalidate=30, stale-if-error=30", 61, "validate", false),
    ("and no-cache", "max-age=60, no-cache, stale-while-revalidate=30, stale-if-error=30", 1, "validate", false),
    // RFC 8246 §2
    ("immutable only applies during the freshness lifetime", "max-age=60, immutable", 60, "validate", false),
    ("proxies SHOULD skip revalidating fresh responses", "max-age=60, immutable", 59, "serve", true),
];

#[test]
fn stale_answers_are_given_as_rfc_5861_says() {
    all_hold(
        STALE,
        |row| row.0,
        |row| {
            let lines = [("cache-control", row.1), TAG];
            let done = reused(&rfc(), NONE, &lines, row.2);
            let covers = may_cover_an_error(&entry(&rfc(), 200, &lines), NOW + secs(row.2));
            differs(&(done, covers), &(row.3, row.4))
        },
    );
}

#[test]
fn an_immutable_response_is_asked_about_on_a_client_s_signal() {
    // RFC 8246 §2.1: "unless there is a signal from the client that a validation is necessary".
    let response = [("cache-control", "max-age=60, immutable"), TAG];
    assert_eq!(reused(&rfc(), &[("cache-control", "no-cache")], &response, 1), "validate");
    // §2: in a request it "has no effect".
    assert_eq!(reused(&rfc(), &[("cache-control", "immutable")], &response, 1), "serve");
}

const CC: &str = "cache-control";
const CDN: &str = "cdn-cache-control";
const OURS: &str = "larder-cache-control";

/// The requirement, the response, what becomes of it.
#[rustfmt::skip]
const TARGETED: &[(&str, Lines<'_>, &str)] = &[
    // RFC 9213 §2.2
    ("MUST ignore Cache-Control", &[(CDN, "max-age=9"), (CC, "max-age=60")], "stored 9"),
    ("… what it forbids as well", &[(CDN, "max-age=9"), (CC, "no-store, private")], "stored 9"),
    ("MUST ignore Expires", &[(CDN, "public"), ("expires", MINUTE_LATER)], "no-freshness"),
    ("MUST select the first in target-list order", &[(CDN, "max-age=9"), (OURS, "max-age=5")], "stored 5"),
    ("with a valid value", &[(OURS, "max-age=5,"), (CDN, "max-age=9")], "stored 9"),
    ("… a non-empty one", &[(OURS, ""), (CDN, "max-age=9")], "stored 9"),
    ("unless there is none", &[(CDN, "@"), (CC, "max-age=60")], "stored 60"),
    ("MUST NOT heed what is not on its list", &[("other-cache-control", "max-age=9"), (CC, "max-age=60")], "stored 60"),
    ("MUST implement max-age", &[(CDN, "max-age=9")], "stored 9"),
    ("MUST implement no-store", &[(CDN, "max-age=9, no-store")], "no-store"),
    ("MUST implement private", &[(CDN, "max-age=9, private")], "private"),
    ("MUST implement no-cache", &[(CDN, "max-age=9, no-cache"), TAG], "stored 0"),
    ("MUST implement must-understand", &[(CDN, "max-age=9, must-understand, no-store")], "stored 9"),
    ("s-maxage as well", &[(CDN, "max-age=9, s-maxage=5")], "stored 5"),
    // RFC 9213 §2.1
    ("parameters are ignored", &[(CDN, "max-age=9;x=1;no-store")], "stored 9"),
    ("SHOULD NOT coerce a decimal", &[(CDN, "max-age=9.5"), TAG], "stored 0"),
    ("SHOULD NOT coerce a string", &[(CDN, "max-age=\"9\""), TAG], "stored 0"),
    ("keys are lower-case: a parse error, so ignored", &[(CDN, "Max-Age=9"), (CC, "max-age=60")], "stored 60"),
    ("lines are joined (RFC 9651 §4.2)", &[(CDN, "max-age=9"), (CDN, "no-store")], "no-store"),
    ("the last of a key counts (RFC 9651 §4.2.2)", &[(CDN, "max-age=9, max-age=5")], "stored 5"),
];

#[test]
fn targeted_fields_are_read_as_rfc_9213_says() {
    all_hold(TARGETED, |row| row.0, |row| differs(&*stored(NONE, 200, row.1), row.2));
    // §2.2: "MUST be passed through".
    for name in [OURS, CDN, "other-cache-control", CC] {
        let response = headers(&[(name, "max-age=9")]);
        assert_eq!(storable_headers(&response), response, "{name}");
    }
    assert!(effective(&headers(&[(CDN, "max-age=9")])).targeted);
}

#[test]
fn credentials_are_shared_by_what_a_targeted_field_says_alone() {
    let request = [("authorization", "Basic eDp5")];
    let silent = [(CDN, "max-age=9"), (CC, "public, max-age=9")];
    assert_eq!(stored(&request, 200, &silent), "authorization");
    assert_eq!(stored(&request, 200, &[(CDN, "public, max-age=9"), (CC, "private")]), "stored 9");
}

#[test]
fn cache_status_is_written_as_rfc_9211_says() {
    let said = |status: CacheStatus| status.to_string();
    let hit = CacheStatus { hit: true, ttl: Some(42), ..CacheStatus::default() };
    // §2.1, §2.4.
    assert_eq!(said(hit.clone()), "larder; hit; ttl=42");
    assert_eq!(said(CacheStatus { ttl: Some(-3), ..hit.clone() }), "larder; hit; ttl=-3");
    // §2.2: "hit" and "fwd" "are exclusive".
    let both = CacheStatus { fwd: Some(Forwarded::Stale), ..hit.clone() };
    assert_eq!(said(both), "larder; fwd=stale; ttl=42");
    // §2.3, §2.5, §2.6: "only meaningful when fwd is present".
    let stray = CacheStatus { stored: true, collapsed: true, fwd_status: Some(200), ..hit.clone() };
    assert_eq!(said(stray), "larder; hit; ttl=42");
    let forwarded = CacheStatus {
        fwd: Some(Forwarded::UriMiss),
        fwd_status: Some(304),
        stored: true,
        collapsed: true,
        ..CacheStatus::default()
    };
    assert_eq!(said(forwarded), "larder; fwd=uri-miss; fwd-status=304; stored; collapsed");
    // §2: "SHOULD preserve the existing field value", and the last is the closest to the user.
    let mut response = headers(&[("cache-status", "other; hit")]);
    hit.append_to(&mut response);
    assert_eq!(
        response,
        headers(&[("cache-status", "other; hit"), ("cache-status", "larder; hit; ttl=42")]),
    );
    // §2.2: the words.
    let words = [
        (Forwarded::Bypass, "bypass"),
        (Forwarded::Method, "method"),
        (Forwarded::UriMiss, "uri-miss"),
        (Forwarded::VaryMiss, "vary-miss"),
        (Forwarded::Miss, "miss"),
        (Forwarded::Request, "request"),
        (Forwarded::Stale, "stale"),
        (Forwarded::Partial, "partial"),
    ];
    assert!(words.iter().all(|(reason, word)| reason.as_str() == *word));
}
