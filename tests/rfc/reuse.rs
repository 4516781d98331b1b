//! RFC 9111 §4: constructing responses from caches, and §5.2.1: what a request asks of one.

use larder::ledger::Doubt;
use larder::plan::request::{admit, may_cover_an_error};
use larder::plan::{Admission, FetchReason, PassReason};
use larder::semantics::invalidation::is_unsafe;
use proptest::prelude::*;

use super::*;

const TAG: (&str, &str) = ("etag", "\"1\"");
const SIXTY: Lines<'_> = &[("cache-control", "max-age=60"), TAG];
const NO_TAG: Lines<'_> = &[("cache-control", "max-age=60")];

/// The requirement, the request, the stored response, seconds since, what is done.
type Row<'a> = (&'a str, Lines<'a>, Lines<'a>, u64, &'a str);

#[rustfmt::skip]
const ROWS: &[Row<'_>] = &[
    // §4: "MUST NOT reuse a stored response unless … fresh, allowed to be served stale, or validated"
    ("fresh", NONE, SIXTY, 0, "serve"),
    ("fresh to the last second", NONE, SIXTY, 59, "serve"),
    ("not fresh, not allowed to be stale", NONE, SIXTY, 60, "validate"),
    ("… nor validated without a validator", NONE, NO_TAG, 60, "fetch"),
    ("allowed to be served stale", NONE, &[("cache-control", "max-age=60, stale-while-revalidate=9"), TAG], 68, "serve stale"),
    ("… no longer", NONE, &[("cache-control", "max-age=60, stale-while-revalidate=9"), TAG], 69, "validate"),
    ("no-cache without its successful validation", NONE, &[("cache-control", "max-age=60, no-cache"), TAG], 0, "validate"),
    // §5.2.1.1 max-age
    ("the client prefers a response whose age is at most 5", &[("cache-control", "max-age=5")], SIXTY, 5, "serve"),
    ("… and not older", &[("cache-control", "max-age=5")], SIXTY, 6, "validate"),
    ("unless max-stale is present it does not want a stale one", &[("cache-control", "max-age=90")], &[("cache-control", "max-age=60, stale-while-revalidate=60"), TAG], 61, "validate"),
    ("max-age=0 validates", &[("cache-control", "max-age=0")], SIXTY, 1, "validate"),
    ("the age that it arrived with counts", &[("cache-control", "max-age=5")], &[("cache-control", "max-age=60"), TAG, ("age", "6")], 0, "validate"),
    // §5.2.1.3 min-fresh
    ("still fresh for at least 20", &[("cache-control", "min-fresh=20")], SIXTY, 40, "serve"),
    ("not for 21", &[("cache-control", "min-fresh=21")], SIXTY, 40, "validate"),
    // §5.2.1.4 no-cache
    ("no stored response without validation", &[("cache-control", "no-cache")], SIXTY, 0, "validate"),
    ("… by a full fetch where it has no validator", &[("cache-control", "no-cache")], NO_TAG, 0, "fetch"),
    // §5.2.1.7 only-if-cached
    ("a stored response", &[("cache-control", "only-if-cached")], SIXTY, 0, "serve"),
    ("or 504", &[("cache-control", "only-if-cached")], SIXTY, 60, "504"),
    ("consistent with its other constraints", &[("cache-control", "only-if-cached, min-fresh=50")], SIXTY, 20, "504"),
    // §5.4 Pragma
    ("Pragma: no-cache counts without Cache-Control", &[("pragma", "no-cache")], SIXTY, 0, "validate"),
    ("and does not beside it", &[("pragma", "no-cache"), ("cache-control", "max-age=60")], SIXTY, 0, "serve"),
    // §5.2.3
    ("MUST ignore unrecognised directives", &[("cache-control", "x-no-cache, foo=\"no-cache\"")], SIXTY, 0, "serve"),
];

#[test]
fn a_stored_response_is_reused_as_section_4_says() {
    all_hold(ROWS, |row| row.0, |row| differs(reused(&rfc(), row.1, row.2, row.3), row.4));
}

#[test]
fn routes_ignore_what_requests_ask_unless_they_honour_it() {
    let response = [("cache-control", "max-age=60"), TAG];
    for asked in ["no-cache", "max-age=0", "min-fresh=99"] {
        let request = [("cache-control", asked)];
        assert_eq!(reused(&route(""), &request, &response, 30), "serve", "{asked}");
        assert_eq!(reused(&rfc(), &request, &response, 30), "validate", "{asked}");
    }
}

#[test]
fn nothing_stored_and_only_if_cached_is_504() {
    // §5.2.1.7: "respond with either a stored response […] or a 504".
    let demands = Demands::of(&headers(&[("cache-control", "Only-If-Cached")]));
    for found in [Found::Nothing, Found::OtherVariants] {
        assert_eq!(verdict(plan(&rfc(), &demands, found, false, NOW)), "504");
        let none = Demands::default();
        assert_eq!(verdict(plan(&rfc(), &none, found, false, NOW)), "fetch");
    }
}

#[test]
fn a_response_to_another_variant_is_not_reused() {
    // §4: "the presented request and the stored response … nominated fields match".
    let plan = plan(&rfc(), &Demands::default(), Found::OtherVariants, false, NOW);
    assert_eq!(plan, Plan::Fetch(FetchReason::VaryMiss));
}

#[test]
fn unsafe_methods_are_written_through() {
    // §4: "MUST write through requests with methods that are unsafe".
    for name in ["POST", "PUT", "PATCH", "DELETE", "FROB", "MKCOL", "Get"] {
        assert!(is_unsafe(&method(name)), "{name}");
        let admission = admit(&rfc(), &method(name), &HeaderMap::new(), false);
        assert_eq!(admission, Admission::Write, "{name}");
    }
    // RFC 9110 §9.2.1, RFC 10008: safe, so nothing is thrown away.
    for name in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"] {
        assert!(!is_unsafe(&method(name)), "{name}");
    }
}

#[test]
fn a_get_with_content_is_not_answered_from_the_store() {
    // RFC 9110 §9.3.1: its content "cannot alter the meaning or target of the request, and might
    // lead some implementations to reject the request": what origins make of it is not in the key.
    let admission = admit(&rfc(), &Method::GET, &HeaderMap::new(), true);
    assert_eq!(admission, Admission::Pass(PassReason::Content));
    assert_eq!(admit(&rfc(), &Method::HEAD, &HeaderMap::new(), false), Admission::Lookup);
}

#[test]
fn preconditions_for_the_origin_are_left_to_it() {
    // §4.3.2: "MUST NOT evaluate conditional header fields that only apply to an origin server".
    for name in ["if-match", "if-unmodified-since"] {
        let request = headers(&[(name, "\"1\"")]);
        for verb in [Method::GET, Method::HEAD] {
            let admission = admit(&rfc(), &verb, &request, false);
            assert_eq!(admission, Admission::Pass(PassReason::Precondition), "{name}");
        }
    }
}

#[test]
fn what_forbids_staleness_is_not_served_to_cover_an_error() {
    // §4.2.4 and §5.2.2.2: "MUST generate an error response rather than reuse the stale response".
    let bold = route("stale_if_error = \"1h\"\nhard_ttl = \"10m\"");
    for said in ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=60"] {
        let said = format!("max-age=60, {said}");
        let entry = entry(&bold, 200, &[("cache-control", &said), TAG]);
        assert!(!may_cover_an_error(&entry, NOW + secs(60)), "{said}");
        for standing in [Standing::Good, Standing::Softened, Standing::Suspect(Doubt::Unheard)] {
            let found = Found::Entry(&entry, standing);
            let done = verdict(plan(&bold, &Demands::default(), found, true, NOW + secs(60)));
            assert_eq!(done, "validate", "{said}");
        }
    }
}

proptest! {
    #[test]
    fn a_request_never_widens_what_it_is_served(asked in "[a-z=0-9, -]{0,40}", later in 0_u64..200) {
        prop_assume!(!asked.contains("max-stale"));
        let with = reused(&rfc(), &[("cache-control", &asked)], SIXTY, later);
        prop_assert!(later < 60 || with != "serve", "{} after {}", asked, later);
    }

    #[test]
    fn age_never_runs_backwards_for_one_entry(
        said in 0_u64..1 << 33, steps in proptest::collection::vec(0_u64..1 << 40, 1..20),
    ) {
        let age = said.to_string();
        let lines = [("cache-control", "max-age=3000000000"), ("age", &*age), TAG];
        let entry = entry(&rfc(), 200, &lines);
        let times = entry.times();
        let (mut now, mut before, mut was_fresh) = (NOW, times.age(NOW), times.is_fresh(NOW));
        prop_assert!(before >= secs(said.min(1 << 31)));
        for step in steps {
            now = now + Duration::from_millis(step);
            let (age, fresh) = (times.age(now), times.is_fresh(now));
            prop_assert!(age >= before && age - before == Duration::from_millis(step));
            prop_assert!(was_fresh || !fresh, "what was stale got fresh");
            (before, was_fresh) = (age, fresh);
        }
    }
}
