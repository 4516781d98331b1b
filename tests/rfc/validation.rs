//! RFC 9111 §4.3 and §3.2: validation. RFC 9110 §8.8 validators, §13 conditions, §15.4.5 304.

use larder::semantics::conditional::{Precondition, evaluate, not_modified_headers};
use larder::semantics::validation::{
    CONDITIONAL_FIELDS, conditional_fields, confirms, freshen, has_validator,
};

use super::*;

const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

/// The requirement, the stored response, the fields sent to validate it.
type Sent<'a> = (&'a str, Lines<'a>, Lines<'a>);

#[rustfmt::skip]
const SENT: &[Sent<'_>] = &[
    ("MUST send the entity tag", &[("etag", "\"1\"")], &[("if-none-match", "\"1\"")]),
    ("a weak one too", &[("etag", "W/\"1\"")], &[("if-none-match", "W/\"1\"")]),
    ("SHOULD send the Last-Modified value", &[("last-modified", DATE), ("date", LATER)], &[("if-modified-since", DATE)]),
    ("both", &[("etag", "\"1\""), ("last-modified", DATE), ("date", LATER)], &[("if-none-match", "\"1\""), ("if-modified-since", DATE)]),
    ("RFC 9110 §8.8.2.2: one of the second in which it was sent vouches for nothing", &[("last-modified", DATE), ("date", DATE)], NONE),
    ("nothing to ask with", &[("date", DATE)], NONE),
    ("no tag that is none", &[("etag", "1")], NONE),
    ("nor one of two", &[("etag", "\"1\""), ("etag", "\"2\"")], NONE),
    ("nor a date that is none", &[("last-modified", "yesterday")], NONE),
];

#[test]
fn validation_is_requested_as_section_4_3_1_says() {
    all_hold(
        SENT,
        |row| row.0,
        |row| {
            let stored = headers(row.1);
            let sent = conditional_fields(&stored).unwrap_or_default();
            assert_eq!(has_validator(&stored), !sent.is_empty(), "{}", row.0);
            differs(&sent.into_iter().collect::<HeaderMap>(), &headers(row.2))
        },
    );
}

#[test]
fn a_request_for_everybody_carries_no_condition_of_one_client() {
    // RFC 9110 §13.1.
    let names =
        ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"];
    assert!(names.iter().all(|name| CONDITIONAL_FIELDS.iter().any(|known| known == name)));
}

/// The requirement, the stored response, the 304, whether it is about it.
type About<'a> = (&'a str, Lines<'a>, Lines<'a>, bool);

#[rustfmt::skip]
const ABOUT: &[About<'_>] = &[
    ("the same strong validator", &[("etag", "\"1\"")], &[("etag", "\"1\"")], true),
    ("MUST NOT update by another", &[("etag", "\"1\"")], &[("etag", "\"2\"")], false),
    ("MUST NOT update what has none", &[("last-modified", DATE)], &[("etag", "\"1\"")], false),
    ("a weak validator that corresponds", &[("etag", "W/\"1\"")], &[("etag", "W/\"1\"")], true),
    ("a strong one that only corresponds", &[("etag", "W/\"1\"")], &[("etag", "\"1\"")], false),
    ("another weak one", &[("etag", "W/\"1\"")], &[("etag", "W/\"2\"")], false),
    ("the same date", &[("last-modified", DATE)], &[("last-modified", DATE)], true),
    ("another date", &[("last-modified", DATE)], &[("last-modified", LATER)], false),
    ("no validator, and one stored response that was asked about", &[("etag", "\"1\"")], NONE, true),
];

#[test]
fn a_304_is_about_what_section_4_3_4_says() {
    all_hold(
        ABOUT,
        |row| row.0,
        |row| differs(&confirms(&headers(row.1), &headers(row.2)), &row.3),
    );
    for (_, ours, theirs, is_about) in ABOUT {
        let stored = response(200, ours, Times::none(NOW));
        let lines = [&[("cache-control", "max-age=60")], *theirs].concat();
        let outcome = settled_for(&rfc(), &Method::GET, NONE, 304, &lines, Some(&stored));
        let expected = if *is_about { "renewed 60" } else { "ask again" };
        assert_eq!(in_a_word(outcome), expected, "{ours:?} {theirs:?}");
    }
}

/// The requirement, the stored response, the answer to its validation, what becomes of it.
type Answered<'a> = (&'a str, Lines<'a>, u16, Lines<'a>, &'a str);

#[rustfmt::skip]
const ANSWERED: &[Answered<'_>] = &[
    ("a 304 lets it be updated and reused", &[("cache-control", "max-age=60"), ("etag", "\"1\"")], 304, &[("etag", "\"1\"")], "renewed 60"),
    ("with the lifetime that it brings", &[("cache-control", "max-age=60"), ("etag", "\"1\"")], 304, &[("etag", "\"1\""), ("cache-control", "max-age=5")], "renewed 5"),
    ("its age starts anew", &[("cache-control", "max-age=60"), ("etag", "\"1\""), ("age", "50")], 304, &[("etag", "\"1\"")], "renewed 60"),
    ("or is what the 304 says", &[("cache-control", "max-age=60"), ("etag", "\"1\"")], 304, &[("etag", "\"1\""), ("age", "20")], "renewed 40"),
    ("a 304 that forbids storing ends it", &[("cache-control", "max-age=60"), ("etag", "\"1\"")], 304, &[("etag", "\"1\""), ("cache-control", "no-store")], "no-store"),
    ("so does one that makes it private", &[("cache-control", "max-age=60"), ("etag", "\"1\"")], 304, &[("etag", "\"1\""), ("cache-control", "private")], "private"),
    ("one that brings another Vary is no answer", &[("cache-control", "max-age=60"), ("etag", "\"1\"")], 304, &[("etag", "\"1\""), ("vary", "accept")], "ask again"),
    ("a full response MUST be used instead, and may be stored", &[("cache-control", "max-age=60"), ("etag", "\"1\"")], 200, &[("etag", "\"2\""), ("cache-control", "max-age=9")], "stored 9"),
    ("subject to its constraints", &[("cache-control", "max-age=60"), ("etag", "\"1\"")], 200, &[("etag", "\"2\""), ("cache-control", "no-store")], "no-store"),
    ("a 5xx is as if the server failed to respond", &[("cache-control", "max-age=60"), ("etag", "\"1\"")], 500, NONE, "error"),
];

#[test]
fn answers_to_a_validation_are_handled_as_section_4_3_3_says() {
    all_hold(
        ANSWERED,
        |row| row.0,
        |row| {
            let stored = response(200, row.1, Times::none(NOW));
            let outcome = settled_for(&rfc(), &Method::GET, NONE, row.2, row.3, Some(&stored));
            differs(&*in_a_word(outcome), row.4)
        },
    );
}

/// The requirement, the stored response, a 304, the stored response afterwards.
type Updated<'a> = (&'a str, Lines<'a>, Lines<'a>, Lines<'a>);

#[rustfmt::skip]
const UPDATED: &[Updated<'_>] = &[
    ("MUST add each field", &[("x-a", "1")], &[("x-b", "2")], &[("x-a", "1"), ("x-b", "2")]),
    ("replacing values that are present", &[("x-a", "1")], &[("x-a", "2")], &[("x-a", "2")]),
    ("all lines of them", &[("x-a", "1"), ("x-a", "2")], &[("x-a", "3")], &[("x-a", "3")]),
    ("by all lines", &[("x-a", "1")], &[("x-a", "2"), ("x-a", "3")], &[("x-a", "2"), ("x-a", "3")]),
    ("Cache-Control and Expires as well", &[("cache-control", "max-age=1"), ("expires", DATE)], &[("cache-control", "max-age=2"), ("expires", LATER)], &[("cache-control", "max-age=2"), ("expires", LATER)]),
    ("but not Content-Length", &[("content-length", "9")], &[("content-length", "0")], &[("content-length", "9")]),
    ("nor what describes the stored bytes", &[("content-encoding", "gzip")], &[("content-encoding", "br"), ("content-range", "bytes 0-1/2")], &[("content-encoding", "gzip")]),
    ("nor what the Connection field concerns", NONE, &[("connection", "x-a"), ("x-a", "1"), ("transfer-encoding", "chunked")], NONE),
    ("nor what is excepted from storage (§3.1)", NONE, &[("proxy-authenticate", "x"), ("trailer", "x")], NONE),
    ("nor what private names", &[("x-a", "1")], &[("cache-control", "private=\"x-a\""), ("x-a", "2")], &[("cache-control", "private=\"x-a\"")]),
    ("Date is that of the newest message", &[("date", DATE)], &[("date", LATER)], &[("date", LATER)]),
    ("Age is that of the newest message", &[("age", "9")], NONE, NONE),
];

#[test]
fn stored_fields_are_updated_as_section_3_2_says() {
    all_hold(
        UPDATED,
        |row| row.0,
        |row| differs(&freshen(&headers(row.1), &headers(row.2)), &headers(row.3)),
    );
}

/// The requirement, the request, the stored response, what the client gets.
type Asked304<'a> = (&'a str, Lines<'a>, Lines<'a>, Precondition);

use Precondition::{Modified, NotModified};
const IGNORED: Precondition = Precondition::None;

#[rustfmt::skip]
const CONDITIONS: &[Asked304<'_>] = &[
    // RFC 9110 §13.1.2
    ("If-None-Match: the tag is listed", &[("if-none-match", "\"0\", \"1\"")], &[("etag", "\"1\"")], NotModified),
    ("it is not", &[("if-none-match", "\"0\"")], &[("etag", "\"1\"")], Modified),
    ("MUST use the weak comparison", &[("if-none-match", "W/\"1\"")], &[("etag", "\"1\"")], NotModified),
    ("in both directions", &[("if-none-match", "\"1\"")], &[("etag", "W/\"1\"")], NotModified),
    ("* matches any representation", &[("if-none-match", "*")], &[("etag", "\"1\"")], NotModified),
    ("… without a tag, too", &[("if-none-match", "*")], NONE, NotModified),
    ("a tag does not match none", &[("if-none-match", "\"1\"")], NONE, Modified),
    ("over several lines", &[("if-none-match", "\"0\""), ("if-none-match", "\"1\"")], &[("etag", "\"1\"")], NotModified),
    // RFC 9110 §13.1.3
    ("If-Modified-Since: MUST be ignored beside If-None-Match", &[("if-none-match", "\"0\""), ("if-modified-since", LATER)], &[("etag", "\"1\""), ("last-modified", DATE), ("date", MINUTE_LATER)], Modified),
    ("not modified since", &[("if-modified-since", DATE)], &[("last-modified", DATE), ("date", LATER)], NotModified),
    ("modified since", &[("if-modified-since", MINUTE_BEFORE)], &[("last-modified", DATE), ("date", LATER)], Modified),
    ("MUST ignore what is no date", &[("if-modified-since", "0")], &[("last-modified", DATE), ("date", LATER)], IGNORED),
    ("MUST ignore several dates", &[("if-modified-since", DATE), ("if-modified-since", DATE)], &[("last-modified", DATE), ("date", LATER)], IGNORED),
    // RFC 9111 §4.3.2
    ("SHOULD use Date where there is no Last-Modified", &[("if-modified-since", LATER)], &[("date", DATE)], NotModified),
    ("… of a response from later", &[("if-modified-since", MINUTE_BEFORE)], &[("date", DATE)], Modified),
    // RFC 9110 §13.1.1, §13.1.4, §13.1.5
    ("MUST NOT evaluate what is for the origin", &[("if-match", "\"0\""), ("if-unmodified-since", MINUTE_BEFORE)], &[("etag", "\"1\""), ("last-modified", DATE)], IGNORED),
    ("MUST ignore If-Range without Range", &[("if-range", "\"1\"")], &[("etag", "\"1\"")], IGNORED),
    ("no condition", NONE, &[("etag", "\"1\"")], IGNORED),
];

#[test]
fn conditions_are_evaluated_as_section_4_3_2_says() {
    all_hold(
        CONDITIONS,
        |row| row.0,
        |row| {
            let (request, response) = (headers(row.1), headers(row.2));
            for verb in [Method::GET, Method::HEAD] {
                let outcome = evaluate(&verb, &request, StatusCode::OK, &response);
                if outcome != row.3 {
                    return differs(&outcome, &row.3);
                }
            }
            // RFC 9110 §13.2.1: "MUST ignore all received preconditions if its response to the same
            // request without those conditions […] would have been a status code other than a 2xx".
            let outcome = evaluate(&Method::GET, &request, StatusCode::NOT_FOUND, &response);
            differs(&outcome, &IGNORED)
        },
    );
}

/// The requirement, the 200, the 304 instead of it.
type Short<'a> = (&'a str, Lines<'a>, Lines<'a>);

#[rustfmt::skip]
const SHORT: &[Short<'_>] = &[
    ("MUST generate Content-Location, Date, ETag, Vary", &[("content-location", "/a"), ("date", DATE), ("etag", "\"1\""), ("vary", "accept")], &[("content-location", "/a"), ("date", DATE), ("etag", "\"1\""), ("vary", "accept")]),
    ("MUST generate Cache-Control, Expires", &[("cache-control", "max-age=1"), ("expires", DATE)], &[("cache-control", "max-age=1"), ("expires", DATE)]),
    ("SHOULD NOT generate other representation metadata", &[("content-type", "a/b"), ("content-encoding", "gzip"), ("content-language", "de"), ("content-length", "2"), ("etag", "\"1\""), ("last-modified", DATE)], &[("etag", "\"1\"")]),
    ("unless it guides cache updates: Last-Modified without ETag", &[("last-modified", DATE)], &[("last-modified", DATE)]),
];

#[test]
fn a_304_carries_what_rfc_9110_section_15_4_5_says() {
    all_hold(
        SHORT,
        |row| row.0,
        |row| differs(&not_modified_headers(&headers(row.1)), &headers(row.2)),
    );
}
