//! RFC 9111 §4.2: freshness, age, and what comes after.

use larder::semantics::age::corrected_initial_age;
use larder::semantics::cache_control::delta_seconds;
use larder::semantics::fields::parse_http_date;
use larder::semantics::freshness::must_not_serve_stale;
use larder::semantics::storable::is_heuristically_cacheable;
use larder::semantics::targeted::effective;

use super::*;

const TAG: (&str, &str) = ("etag", "\"1\"");

/// The requirement, the response, what becomes of it.
type Row<'a> = (&'a str, Lines<'a>, &'a str);

#[rustfmt::skip]
const LIFETIMES: &[Row<'_>] = &[
    // §4.2.1, in this order
    ("s-maxage first", &[("cache-control", "max-age=60, s-maxage=30"), ("expires", MINUTE_LATER), TAG], "stored 30"),
    ("then max-age", &[("cache-control", "max-age=30"), ("expires", MINUTE_LATER), TAG], "stored 30"),
    ("then Expires minus Date", &[("expires", MINUTE_LATER), ("date", DATE), TAG], "stored 60"),
    ("Expires minus the time of receipt where there is no Date", &[("expires", MINUTE_LATER), TAG], "stored 60"),
    ("otherwise no explicit expiration time", &[TAG], "no-freshness"),
    // §4.2.1: "more than one value … either the first occurrence should be used or … stale"
    ("max-age twice: the smaller", &[("cache-control", "max-age=60, max-age=30"), TAG], "stored 30"),
    ("in either order", &[("cache-control", "max-age=30"), ("cache-control", "max-age=60"), TAG], "stored 30"),
    ("Expires twice, and they differ: stale", &[("expires", MINUTE_LATER), ("expires", DATE), TAG], "stored 0"),
    // §4.2.1: "encouraged to consider responses that have invalid freshness information … stale"
    ("max-age that is no integer", &[("cache-control", "max-age=1.5"), TAG], "stored 0"),
    ("negative max-age", &[("cache-control", "max-age=-1"), TAG], "stored 0"),
    ("max-age without a value", &[("cache-control", "max-age"), TAG], "stored 0"),
    ("s-maxage that is no integer does not fall back on max-age", &[("cache-control", "s-maxage=x, max-age=60"), TAG], "stored 0"),
    // §5.2: "recipients ought to accept both forms"
    ("a quoted max-age", &[("cache-control", "max-age=\"60\""), TAG], "stored 60"),
    // §1.2.2: "MUST consider the value to be 2147483648"
    ("more than can be represented", &[("cache-control", "max-age=99999999999999999999"), TAG], "stored 2147483648"),
    ("more than 2^31", &[("cache-control", "max-age=2147483649"), TAG], "stored 2147483648"),
    // §4.2: response_is_fresh = (freshness_lifetime > current_age)
    ("its age counts against it", &[("cache-control", "max-age=60"), ("age", "20"), TAG], "stored 40"),
    ("so does the age that its Date shows", &[("cache-control", "max-age=90"), ("date", MINUTE_BEFORE), TAG], "stored 30"),
    ("the larger of both", &[("cache-control", "max-age=90"), ("date", MINUTE_BEFORE), ("age", "80"), TAG], "stored 10"),
    ("a lifetime that is over", &[("cache-control", "max-age=60"), ("age", "60"), TAG], "stored 0"),
];

#[test]
fn lifetimes_are_as_section_4_2_1_says() {
    all_hold(LIFETIMES, |row| row.0, |row| differs(&*stored(NONE, 200, row.1), row.2));
}

/// The requirement, a date, whether it is one, and the same as [`DATE`].
#[rustfmt::skip]
const DATES: &[(&str, &str, bool)] = &[
    // §4.2, RFC 9110 §5.6.7: "MUST accept all three HTTP-date formats"
    ("IMF-fixdate", "Sun, 06 Nov 1994 08:49:37 GMT", true),
    ("RFC 850", "Sunday, 06-Nov-94 08:49:37 GMT", true),
    ("asctime", "Sun Nov  6 08:49:37 1994", true),
    // §4.2: "SHOULD match the field value case-insensitively"
    ("in lower case", "sun, 06 nov 1994 08:49:37 gmt", true),
    ("in upper case", "SUN, 06 NOV 1994 08:49:37 GMT", true),
    // §4.2: "SHOULD consider a date with a zone abbreviation other than GMT to be invalid"
    ("another zone", "Sun, 06 Nov 1994 08:49:37 CET", false),
    ("an offset", "Sun, 06 Nov 1994 08:49:37 +0000", false),
    ("UTC", "Sun, 06 Nov 1994 08:49:37 UTC", false),
    ("no zone", "Sun, 06 Nov 1994 08:49:37", false),
    ("no date", "0", false),
];

#[test]
fn dates_are_read_as_section_4_2_says() {
    all_hold(
        DATES,
        |row| row.0,
        |row| {
            let read = parse_http_date(&HeaderValue::from_static(row.1));
            differs(&read, &row.2.then_some(NOW))
        },
    );
}

#[test]
fn numbers_of_seconds_are_digits_and_nothing_else() {
    // §1.2.2: delta-seconds = 1*DIGIT.
    for text in ["", "+1", "-1", "1.0", " 1", "1 ", "0x1", "1s", "\u{663}"] {
        assert_eq!(delta_seconds(text.as_bytes()), None, "{text:?}");
    }
    assert_eq!(delta_seconds(b"007"), Some(secs(7)));
}

#[test]
fn heuristics_are_for_statuses_that_are_defined_so() {
    // §4.2.2; RFC 9110 §15.1, 206 aside, which is told of elsewhere.
    let allowed = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];
    for status in (200..600).filter(|status| *status != 206) {
        let told = is_heuristically_cacheable(StatusCode::from_u16(status).unwrap());
        assert_eq!(told, allowed.contains(&status), "{status}");
    }
}

#[test]
fn an_explicit_lifetime_is_never_replaced_by_another() {
    // §4.2.2: "MUST NOT use heuristics to determine freshness when an explicit expiration time is
    // present": nor what a route has for responses without one.
    let route = route("soft_ttl = \"5m\"");
    for (said, expected) in [
        (("cache-control", "max-age=7"), "stored 7"),
        (("cache-control", "max-age=0"), "stored 0"),
        (("cache-control", "max-age=x"), "stored 0"),
        (("expires", "0"), "stored 0"),
        (("expires", MINUTE_LATER), "stored 60"),
    ] {
        let modified = ("last-modified", DAY_BEFORE);
        let outcome = settled(&route, NONE, 200, &[said, modified, TAG]);
        assert_eq!(in_a_word(outcome), expected, "{said:?}");
    }
    assert_eq!(in_a_word(settled(&route, NONE, 200, &[TAG])), "stored 300");
}

/// The requirement, the response, seconds on the way, seconds from Date until received, its age.
#[rustfmt::skip]
const AGES: &[(&str, Lines<'_>, u64, u64, u64)] = &[
    ("apparent_age = response_time - date_value", &[("date", DATE)], 0, 10, 10),
    ("… zero if negative", &[("date", MINUTE_LATER)], 0, 10, 0),
    ("age_value counts", &[("date", DATE), ("age", "30")], 0, 10, 30),
    ("MUST be relative to when the request was initiated", &[("date", DATE), ("age", "30")], 4, 10, 34),
    ("the larger of both", &[("date", DATE), ("age", "3")], 4, 10, 10),
    ("without either, the time on the way", NONE, 4, 10, 4),
    ("an Age that overflows is 2^31", &[("age", "4294967297")], 4, 10, 1 << 31),
];

#[test]
fn ages_are_as_section_4_2_3_says() {
    all_hold(
        AGES,
        |row| row.0,
        |row| {
            let received = NOW + secs(row.3);
            let age = corrected_initial_age(&headers(row.1), received - secs(row.2), received);
            differs(&age.as_secs(), &row.4)
        },
    );
    // current_age = corrected_initial_age + resident_time
    let entry = entry(&rfc(), 200, &[("cache-control", "max-age=60"), ("age", "7"), TAG]);
    assert_eq!(entry.times().age(NOW + secs(20)), secs(27));
}

/// The requirement, Cache-Control, whether staleness must come from the origin's own words alone.
#[rustfmt::skip]
const STALE: &[(&str, &str, bool)] = &[
    ("a no-cache response directive", "no-cache", true),
    ("a must-revalidate response directive", "must-revalidate", true),
    ("an applicable s-maxage", "s-maxage=60", true),
    ("proxy-revalidate", "proxy-revalidate", true),
    ("max-age prohibits nothing", "max-age=60", false),
    ("no-cache of some fields prohibits nothing", "no-cache=\"x-a\"", false),
];

#[test]
fn staleness_is_prohibited_as_section_4_2_4_says() {
    all_hold(
        STALE,
        |row| row.0,
        |row| {
            let control = effective(&headers(&[("cache-control", row.1)]));
            differs(&must_not_serve_stale(&control), &row.2)
        },
    );
    // "MUST NOT generate a stale response if it is prohibited", whatever the route says …
    let bold = route("soft_ttl = \"60s\"\nhard_ttl = \"10m\"");
    for (_, said, prohibited) in STALE {
        let said = format!("max-age=60, {said}");
        let done = reused(&bold, NONE, &[("cache-control", &said), TAG], 61);
        assert_eq!(done, if *prohibited { "validate" } else { "serve stale" }, "{said}");
    }
    // … nor "unless […] doing so is explicitly permitted by the client or origin server (e.g., by
    // […] configuration in accordance with an out-of-band contract)": never without a route.
    assert_eq!(reused(&rfc(), NONE, &[("cache-control", "max-age=60"), TAG], 60), "validate");
}
