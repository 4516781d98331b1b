//! RFC 9111 §5.1, §5.3, §5.4, and the parts of RFC 9110 §5 and §6.6.1 that they rest on.

use larder::layers::cache::recipe::date;
use larder::semantics::age::corrected_initial_age;
use larder::semantics::fields::{
    EntityTag, EntityTags, format_http_date, members, parse_http_date, strip_hop_by_hop, unquote,
};
use larder::semantics::freshness::explicit_lifetime;
use larder::semantics::targeted::effective;
use proptest::prelude::*;

use super::*;

/// The requirement, Age, the age that it gives.
#[rustfmt::skip]
const AGES: &[(&str, &[&str], u64)] = &[
    ("§5.1: seconds", &["7"], 7),
    ("SHOULD use the first member of a list", &["7, 9"], 7),
    ("… of several lines", &["7", "9"], 7),
    ("SHOULD ignore an invalid one", &["seven"], 0),
    ("… a negative one", &["-7"], 0),
    ("… a fraction", &["7.5"], 0),
    ("… also where the second member is valid", &["x, 7"], 0),
    ("no Age", &[], 0),
];

#[test]
fn age_is_read_as_section_5_1_says() {
    all_hold(
        AGES,
        |row| row.0,
        |row| {
            let lines: Vec<_> = row.1.iter().map(|value| ("age", *value)).collect();
            let age = corrected_initial_age(&headers(&lines), NOW, NOW);
            differs(&age.as_secs(), &row.2)
        },
    );
}

/// The requirement, the response, its explicit lifetime in seconds.
#[rustfmt::skip]
const EXPIRES: &[(&str, Lines<'_>, Option<u64>)] = &[
    ("§5.3: the moment after which it is stale", &[("expires", MINUTE_LATER), ("date", DATE)], Some(60)),
    ("MUST interpret 0 as in the past", &[("expires", "0")], Some(0)),
    ("MUST interpret what is no date as in the past", &[("expires", "never")], Some(0)),
    ("… an empty value", &[("expires", "")], Some(0)),
    ("… a date of another zone", &[("expires", "Sun, 06 Nov 1994 08:50:37 CET"), ("date", DATE)], Some(0)),
    ("a date in the past", &[("expires", MINUTE_BEFORE), ("date", DATE)], Some(0)),
    ("max-age: MUST ignore Expires", &[("expires", MINUTE_LATER), ("cache-control", "max-age=5")], Some(5)),
    ("s-maxage: MUST ignore Expires", &[("expires", MINUTE_LATER), ("cache-control", "s-maxage=5")], Some(5)),
    ("… though it say less", &[("expires", "0"), ("cache-control", "max-age=5")], Some(5)),
    ("other directives do not concern it", &[("expires", MINUTE_LATER), ("cache-control", "public")], Some(60)),
];

#[test]
fn expires_is_read_as_section_5_3_says() {
    all_hold(
        EXPIRES,
        |row| row.0,
        |row| {
            let response = headers(row.1);
            let lifetime = explicit_lifetime(&effective(&response), &response, NOW);
            differs(&lifetime, &row.2.map(secs))
        },
    );
}

/// The requirement, the request, whether it is to be answered with the origin's word alone.
#[rustfmt::skip]
const PRAGMA: &[(&str, Lines<'_>, bool)] = &[
    ("§5.4: a cache may treat no-cache as Cache-Control's, where there is none", &[("pragma", "no-cache")], true),
    ("in any case, in company", &[("pragma", "x, No-Cache")], true),
    ("anything else says nothing", &[("pragma", "x")], false),
    ("nor beside Cache-Control", &[("pragma", "no-cache"), ("cache-control", "x")], false),
];

#[test]
fn pragma_is_read_as_section_5_4_says() {
    all_hold(PRAGMA, |row| row.0, |row| differs(&Demands::of(&headers(row.1)).no_cache, &row.2));
    // "not specified for responses".
    let response = [("pragma", "no-cache"), ("cache-control", "max-age=60"), ("etag", "\"1\"")];
    assert_eq!(reused(&rfc(), NONE, &response, 0), "serve");
}

#[test]
fn a_response_without_a_date_gets_that_of_its_receipt() {
    // RFC 9110 §6.6.1: "MUST record the time it was received and append a corresponding Date".
    let mut without = headers(&[("x-a", "1")]);
    date(&mut without, NOW);
    assert_eq!(without, headers(&[("x-a", "1"), ("date", DATE)]));
    let mut with = headers(&[("date", MINUTE_BEFORE)]);
    date(&mut with, NOW);
    assert_eq!(with, headers(&[("date", MINUTE_BEFORE)]));
}

#[test]
fn hop_by_hop_fields_end_here() {
    // RFC 9110 §7.6.1: "MUST remove or replace any header fields that are listed in Connection".
    let mut message = headers(&[
        ("connection", "x-a, close"),
        ("x-a", "1"),
        ("keep-alive", "1"),
        ("te", "trailers"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "x"),
        ("proxy-connection", "close"),
        ("x-b", "2"),
    ]);
    strip_hop_by_hop(&mut message);
    assert_eq!(message, headers(&[("x-b", "2")]));
}

#[test]
fn entity_tags_are_compared_as_rfc_9110_section_8_8_3_2_says() {
    for (one, other, strong, weak) in [
        ("W/\"1\"", "W/\"1\"", false, true),
        ("W/\"1\"", "W/\"2\"", false, false),
        ("W/\"1\"", "\"1\"", false, true),
        ("\"1\"", "\"1\"", true, true),
        ("\"a\"", "\"A\"", false, false),
    ] {
        let (Some(a), Some(b)) =
            (EntityTag::parse(one.as_bytes()), EntityTag::parse(other.as_bytes()))
        else {
            panic!("{one} {other}");
        };
        assert_eq!((a.matches_strongly(&b), a.matches_weakly(&b)), (strong, weak), "{one} {other}");
    }
    // §8.8.3: the prefix is case-sensitive, the quotes are part of it.
    for none in ["w/\"1\"", "1", "\"1", "W/1", "", "\"1\" \"2\""] {
        assert_eq!(EntityTag::parse(none.as_bytes()), None, "{none}");
    }
}

proptest! {
    #[test]
    fn no_value_makes_a_parser_panic(
        values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..4),
    ) {
        let mut response = HeaderMap::new();
        let values: Vec<_> =
            values.iter().filter_map(|v| HeaderValue::from_bytes(v).ok()).collect();
        for name in ["age", "date", "expires", "vary", "etag", "last-modified", "connection",
                     "location", "cdn-cache-control", "content-range", "pragma"] {
            for value in &values {
                response.append(name, value.clone());
            }
        }
        let _ = explicit_lifetime(&effective(&response), &response, NOW);
        let _ = corrected_initial_age(&response, NOW, NOW);
        let _ = larder::semantics::vary::parse(&response);
        let _ = larder::semantics::validation::conditional_fields(&response);
        let _ = larder::semantics::invalidation::referenced(&http::Uri::from_static("http://h/a"), &response);
        let _ = EntityTags::parse(values.iter());
        let _ = Demands::of(&response);
        for member in members(values.iter()).flatten() {
            let _ = unquote(member);
        }
        storable_headers(&response);
    }

    #[test]
    fn a_date_that_is_written_is_read(seconds in 0_u64..253_402_300_799) {
        // RFC 9110 §5.6.7: "MUST generate […] IMF-fixdate".
        let at = Timestamp::from_millis(seconds * 1000);
        let written = format_http_date(at);
        prop_assert_eq!(written.len(), DATE.len());
        prop_assert_eq!(parse_http_date(&written), Some(at));
    }
}
