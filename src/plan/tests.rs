//! The decisions as tables.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::request::{Found, admit, asks_for_whole, may_cover_an_error, may_stand_in, plan};
use super::response::{Answer, Asked, settle, settle_part};
use super::{
    Admission, Audience, FetchReason, NotShared, Outcome, PassReason, Plan, RefuseReason,
    StaleReason,
};
use crate::config::{Authority, Freshness, KeyRules, OnDoubt, RequestDirectives, Route, SetCookie};
use crate::key::Digest;
use crate::ledger::{Doubt, Position, Standing};
use crate::semantics::reuse::Demands;
use crate::semantics::storable::NotStorable;
use crate::semantics::stored::{StoredResponse, Times};
use crate::semantics::time::Timestamp;
use crate::store::{Draft, Entry};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn route() -> Route {
    Route {
        name: "products".into(),
        index: 0,
        host: None,
        path: "/products/{id}".into(),
        methods: Vec::new(),
        cache: true,
        freshness: Freshness {
            authority: Authority::Origin,
            soft_ttl: Some(secs(60)),
            hard_ttl: Some(secs(600)),
            stale_if_error: secs(3600),
            negative_ttl: Some(secs(5)),
            jitter: 0.0,
            heuristic: None,
        },
        namespace: crate::config::template::Template::default(),
        tags: Vec::new(),
        on_write: Vec::new(),
        invalidate_parent: true,
        key: KeyRules::default(),
        max_entry: 1000,
        max_variants: 16,
        max_tags: 128,
        on_doubt: OnDoubt::Revalidate,
        collapse: true,
        collapse_timeout: secs(10),
        request_directives: RequestDirectives::Ignore,
        set_cookie: SetCookie::Refuse,
        write_through: false,
        no_vary_search: false,
        max_query_content: 64 * 1024,
        show_key: false,
        consistency: crate::config::Consistency::Bounded,
        announce: true,
        settle: Duration::ZERO,
        on_store_down: crate::config::OnStoreDown::Forward,
    }
}

fn fallback() -> Route {
    let freshness = Freshness {
        authority: Authority::Origin,
        soft_ttl: None,
        hard_ttl: None,
        stale_if_error: Duration::ZERO,
        negative_ttl: None,
        jitter: 0.0,
        heuristic: None,
    };
    Route { name: "-".into(), freshness, request_directives: RequestDirectives::Honour, ..route() }
}

fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    map
}

/// Filled 100 s ago, soft at 60 s, hard at 600 s, errors covered until 3600 s.
fn entry(headers: &[(&'static str, &str)]) -> Entry {
    let filled = NOW - secs(100);
    Entry::from(Draft {
        key: Bytes::new(),
        response: StoredResponse {
            status: StatusCode::OK,
            headers: fields(headers),
            body: Bytes::new(),
            times: Times {
                response_time: filled,
                initial_age: Duration::ZERO,
                fresh_until: filled + secs(60),
                stale_until: filled + secs(600),
                error_until: filled + secs(3600),
                keep_until: filled + secs(3600),
            },
        },
        namespace: "".into(),
        url: "//h/products/7".into(),
        tags: Vec::new(),
        groups: Vec::new(),
        as_of: Position::ZERO,
        vouched: filled,
        fill_time: Duration::ZERO,
    })
}

const TYPED: &[(&str, &str)] = &[("content-type", "text/plain")];
const ETAG: &[(&str, &str)] = &[("etag", "\"1\"")];

#[test]
fn requests_are_sorted_into_passed_written_and_looked_up() {
    let on = route();
    let off = Route { cache: false, ..route() };
    let unasked = Route { max_query_content: 0, ..route() };
    let none: &[(&'static str, &str)] = &[];
    for (route, method, headers, content, expected) in [
        (&on, Method::GET, none, false, Admission::Lookup),
        (&on, Method::HEAD, none, false, Admission::Lookup),
        (&off, Method::GET, none, false, Admission::Pass(PassReason::RouteOff)),
        (&on, Method::OPTIONS, none, false, Admission::Pass(PassReason::Method)),
        (&on, Method::GET, none, true, Admission::Pass(PassReason::Content)),
        (&on, Method::GET, &[("range", "bytes=0-1")], false, Admission::Lookup),
        (&on, Method::GET, &[("range", "bytes=x")], false, Admission::Lookup),
        (&on, Method::GET, &[("range", "items=0-1")], false, Admission::Pass(PassReason::Range)),
        (&on, Method::HEAD, &[("range", "items=0-1")], false, Admission::Lookup),
        (&on, Method::GET, &[("upgrade", "x")], false, Admission::Pass(PassReason::Upgrade)),
        (&on, Method::GET, &[("if-match", "*")], false, Admission::Pass(PassReason::Precondition)),
        (&on, Method::POST, none, true, Admission::Write),
        (&on, Method::PUT, none, false, Admission::Write),
        (&on, Method::PATCH, none, false, Admission::Write),
        (&on, Method::DELETE, none, false, Admission::Write),
        (&off, Method::DELETE, none, false, Admission::Write),
        (&on, Method::from_bytes(b"QUERY").unwrap(), TYPED, true, Admission::Query),
        (&on, Method::from_bytes(b"QUERY").unwrap(), TYPED, false, Admission::Query),
        (
            &on,
            Method::from_bytes(b"QUERY").unwrap(),
            none,
            true,
            Admission::Pass(PassReason::QueryUntyped),
        ),
        (
            &unasked,
            Method::from_bytes(b"QUERY").unwrap(),
            TYPED,
            true,
            Admission::Pass(PassReason::Method),
        ),
        (&on, Method::from_bytes(b"FROB").unwrap(), none, false, Admission::Write),
    ] {
        assert_eq!(
            admit(route, &method, &fields(headers), content),
            expected,
            "{method} {headers:?}"
        );
    }
}

#[test]
fn what_is_done_depends_on_time_standing_and_route() {
    let route = route();
    let doubt = Doubt::Unheard;
    // `later`: seconds after the entry was filled.
    for (later, standing, expected) in [
        (10, Standing::Good, Plan::Serve),
        (59, Standing::Good, Plan::Serve),
        (60, Standing::Good, Plan::ServeAndRefresh(StaleReason::Expired)),
        (599, Standing::Good, Plan::ServeAndRefresh(StaleReason::Expired)),
        (600, Standing::Good, Plan::Revalidate(FetchReason::Expired)),
        (10, Standing::Softened, Plan::ServeAndRefresh(StaleReason::Purged)),
        (600, Standing::Softened, Plan::Revalidate(FetchReason::Purged)),
        (10, Standing::Invalidated, Plan::Fetch(FetchReason::Invalidated)),
        (700, Standing::Invalidated, Plan::Fetch(FetchReason::Invalidated)),
        (10, Standing::Suspect(doubt), Plan::Revalidate(FetchReason::Suspect(doubt))),
        (100, Standing::Suspect(doubt), Plan::Revalidate(FetchReason::Suspect(doubt))),
    ] {
        let entry = entry(ETAG);
        let now = entry.times().response_time + secs(later);
        let found = Found::Entry(&entry, standing);
        let made = plan(&route, &Demands::default(), found, false, now);
        assert_eq!(made, expected, "{later} s, {standing:?}");
    }
}

#[test]
fn without_a_validator_there_is_nothing_to_revalidate() {
    let entry = entry(&[]);
    let now = entry.times().response_time + secs(600);
    let found = Found::Entry(&entry, Standing::Good);
    let made = plan(&route(), &Demands::default(), found, false, now);
    assert_eq!(made, Plan::Fetch(FetchReason::Expired));
}

#[test]
fn a_suspect_entry_is_served_where_the_route_says_so() {
    let entry = entry(ETAG);
    let found = Found::Entry(&entry, Standing::Suspect(Doubt::Fenced));
    let serve = Route { on_doubt: OnDoubt::Serve, ..route() };
    let made = plan(&serve, &Demands::default(), found, false, NOW);
    assert_eq!(made, Plan::ServeAndRefresh(StaleReason::Doubt(Doubt::Fenced)));
}

#[test]
fn what_is_in_doubt_on_a_strict_route_is_served_for_nothing_in_the_world() {
    let bounded = Route { on_doubt: OnDoubt::Serve, ..route() };
    let strict = Route { consistency: crate::config::Consistency::Strict, ..bounded.clone() };
    let entry = entry(ETAG);
    let now = entry.times().response_time + secs(100);
    let only = Demands::of(&fields(&[("cache-control", "only-if-cached")]));
    for (doubt, binding) in [
        (Doubt::Forgotten, false),
        (Doubt::Fenced, false),
        (Doubt::Unheard, false),
        // Who shows a position has seen a write, whatever the route promises to others.
        (Doubt::Unconfirmed, true),
        (Doubt::Behind, true),
    ] {
        let standing = Standing::Suspect(doubt);
        let found = Found::Entry(&entry, standing);
        for (route, refused) in [(&bounded, binding), (&strict, true)] {
            for failed_lately in [false, true] {
                let made = plan(route, &Demands::default(), found, failed_lately, now);
                let served = Plan::Revalidate(FetchReason::Suspect(doubt)) != made;
                assert_eq!(served, !refused, "{doubt:?}, failed lately: {failed_lately}");
            }
            assert_eq!(may_stand_in(route, &entry, standing, now), !refused, "{doubt:?}");
            let made = plan(route, &only, found, false, now);
            assert_eq!(made == Plan::Refuse(RefuseReason::OnlyIfCached), refused, "{doubt:?}");
        }
    }
    // Staleness by time is another matter.
    let good = Found::Entry(&entry, Standing::Good);
    let made = plan(&strict, &Demands::default(), good, false, now);
    assert_eq!(made, Plan::ServeAndRefresh(StaleReason::Expired));
    assert!(may_stand_in(&strict, &entry, Standing::Good, now));
}

#[test]
fn a_failing_origin_is_left_alone_as_long_as_something_may_be_served() {
    let entry = entry(ETAG);
    let filled = entry.times().response_time;
    for (later, expected) in [
        (10, Plan::Serve),
        (100, Plan::ServeBackingOff(StaleReason::Expired)),
        (3599, Plan::ServeBackingOff(StaleReason::Expired)),
        (3600, Plan::Revalidate(FetchReason::Expired)),
    ] {
        let found = Found::Entry(&entry, Standing::Good);
        let made = plan(&route(), &Demands::default(), found, true, filled + secs(later));
        assert_eq!(made, expected, "{later} s");
    }
    let invalidated = Found::Entry(&entry, Standing::Invalidated);
    let made = plan(&route(), &Demands::default(), invalidated, true, NOW);
    assert_eq!(made, Plan::Fetch(FetchReason::Invalidated), "never what was invalidated");
    assert!(may_cover_an_error(&entry, filled + secs(3599)));
    assert!(!may_cover_an_error(&entry, filled + secs(3600)));
}

#[test]
fn a_part_is_asked_for_as_a_whole_where_there_is_one_to_confirm_or_fall_back_on() {
    let tagged = entry(ETAG);
    let plain = entry(&[]);
    let filled = plain.times().response_time;
    for (entry, standing, later, expected) in [
        (&tagged, Standing::Good, 9000, true),
        (&tagged, Standing::Suspect(Doubt::Unheard), 10, true),
        (&tagged, Standing::Invalidated, 10, false),
        (&plain, Standing::Good, 3599, true),
        (&plain, Standing::Good, 3600, false),
    ] {
        let said = asks_for_whole(Some((entry, standing)), filled + secs(later));
        assert_eq!(said, expected, "{standing:?} after {later} s");
    }
    assert!(!asks_for_whole(None, NOW));
}

#[test]
fn only_the_rfc_route_lets_clients_ask_for_something_newer() {
    let entry = entry(ETAG);
    let now = entry.times().response_time + secs(30);
    let found = || Found::Entry(&entry, Standing::Good);
    let asked = |control: &str| Demands::of(&fields(&[("cache-control", control)]));
    for (control, expected) in [
        ("no-cache", Plan::Revalidate(FetchReason::Request)),
        ("max-age=0", Plan::Revalidate(FetchReason::Request)),
        ("max-age=29", Plan::Revalidate(FetchReason::Request)),
        ("max-age=30", Plan::Serve),
        ("min-fresh=31", Plan::Revalidate(FetchReason::Request)),
        ("min-fresh=30", Plan::Serve),
        ("max-stale", Plan::Serve),
    ] {
        assert_eq!(plan(&fallback(), &asked(control), found(), false, now), expected, "{control}");
        assert_eq!(plan(&route(), &asked(control), found(), false, now), Plan::Serve, "{control}");
    }
}

#[test]
fn a_client_narrows_and_widens_what_it_is_served_where_it_is_obeyed() {
    let asked = |control: &str| Demands::of(&fields(&[("cache-control", control)]));
    let honours = Route { request_directives: RequestDirectives::Honour, ..route() };
    let (stale, widened) =
        (Plan::ServeAndRefresh(StaleReason::Expired), Plan::ServeAndRefresh(StaleReason::Request));
    let (request, expired) =
        (Plan::Revalidate(FetchReason::Request), Plan::Revalidate(FetchReason::Expired));
    // Soft at 60 s, hard at 600 s. Seconds after the fill.
    for (later, control, expected) in [
        (60, "x", stale),
        (60, "max-age=600", request),
        (60, "max-age=600, max-stale", stale),
        (60, "max-age=59, max-stale", request),
        (60, "min-fresh=0", request),
        (60, "min-fresh=0, max-stale", request),
        (70, "max-stale=10", stale),
        (70, "max-stale=9", request),
        (70, "no-cache, max-stale", request),
        (600, "x", expired),
        (600, "max-stale", widened),
        (600, "max-stale=540", widened),
        (600, "max-stale=539", expired),
        (600, "max-stale, max-age=600", widened),
        (600, "max-stale, max-age=599", expired),
        (600, "max-stale, no-cache", expired),
        (600, "max-stale, min-fresh=1", expired),
        (600, "max-stale, only-if-cached", widened),
    ] {
        let entry = entry(ETAG);
        let now = entry.times().response_time + secs(later);
        let found = || Found::Entry(&entry, Standing::Good);
        let demands = asked(control);
        assert_eq!(plan(&honours, &demands, found(), false, now), expected, "{later} {control}");
        let ignored = if later < 600 { stale } else { expired };
        let made = plan(&route(), &demands, found(), false, now);
        assert!(made == ignored || matches!(made, Plan::Refuse(_)), "{later} {control}: {made:?}");
    }
}

#[test]
fn what_a_purge_made_stale_is_stale_to_a_client_too() {
    let honours = Route { request_directives: RequestDirectives::Honour, ..route() };
    let entry = entry(ETAG);
    let now = entry.times().response_time + secs(10);
    for (control, expected) in [
        ("x", Plan::ServeAndRefresh(StaleReason::Purged)),
        ("max-stale=0", Plan::ServeAndRefresh(StaleReason::Purged)),
        ("max-age=60", Plan::Revalidate(FetchReason::Request)),
        ("min-fresh=1", Plan::Revalidate(FetchReason::Request)),
    ] {
        let demands = Demands::of(&fields(&[("cache-control", control)]));
        let found = Found::Entry(&entry, Standing::Softened);
        assert_eq!(plan(&honours, &demands, found, false, now), expected, "{control}");
    }
}

#[test]
fn max_stale_widens_nothing_that_is_more_than_old() {
    let honours = Route { request_directives: RequestDirectives::Honour, ..route() };
    let demands = Demands::of(&fields(&[("cache-control", "max-stale")]));
    for standing in [Standing::Invalidated, Standing::Softened, Standing::Suspect(Doubt::Unheard)] {
        let entry = entry(ETAG);
        let now = entry.times().response_time + secs(601);
        let made = plan(&honours, &demands, Found::Entry(&entry, standing), false, now);
        assert!(matches!(made, Plan::Revalidate(_) | Plan::Fetch(_)), "{standing:?}");
    }
    for (name, said) in [
        ("cache-control", "must-revalidate"),
        ("cache-control", "proxy-revalidate"),
        ("cache-control", "s-maxage=60"),
        ("cache-control", "no-cache"),
        ("cdn-cache-control", "must-revalidate"),
    ] {
        let entry = entry(&[(name, said)]);
        let now = entry.times().response_time + secs(601);
        let made = plan(&honours, &demands, Found::Entry(&entry, Standing::Good), false, now);
        assert_eq!(made, Plan::Fetch(FetchReason::Expired), "{said}");
    }
}

#[test]
fn what_a_client_may_have_stale_is_kept_a_while() {
    let kept = |route: &Route, control: &'static str| {
        let Outcome::Store(times) = settled(route, 200, &[("cache-control", control)]) else {
            return None;
        };
        Some(times.keep_until.since(NOW).as_secs())
    };
    let ignores = Route { request_directives: RequestDirectives::Ignore, ..fallback() };
    for (control, honoured, ignored) in [
        ("max-age=10", Some(310), Some(10)),
        ("max-age=10, must-revalidate", Some(10), Some(10)),
        ("s-maxage=10", Some(10), Some(10)),
        ("max-age=0", None, None),
        ("no-cache", None, None),
    ] {
        assert_eq!(kept(&fallback(), control), honoured, "{control}");
        assert_eq!(kept(&ignores, control), ignored, "{control}");
    }
}

#[test]
fn only_if_cached_never_reaches_the_origin() {
    let demands = Demands::of(&fields(&[("cache-control", "only-if-cached")]));
    let made = plan(&route(), &demands, Found::Nothing, false, NOW);
    assert!(matches!(made, Plan::Refuse(_)));
    let entry = entry(ETAG);
    let now = entry.times().response_time;
    let found = Found::Entry(&entry, Standing::Good);
    assert_eq!(plan(&route(), &demands, found, false, now), Plan::Serve);
}

/// What becomes of a response with these fields.
fn settled(route: &Route, status: u16, headers: &[(&'static str, &str)]) -> Outcome {
    let response = fields(headers);
    let asked = Asked {
        route,
        digest: Digest([0; 16]),
        method: &Method::GET,
        headers: &HeaderMap::new(),
        sent: NOW,
        validating: None,
    };
    settle(&asked, &answer(status, &response))
}

const fn answer_of(status: StatusCode, headers: &HeaderMap) -> Answer<'_> {
    Answer { status, headers, length: Some(10), close_delimited: false, received: NOW }
}

fn answer(status: u16, headers: &HeaderMap) -> Answer<'_> {
    answer_of(StatusCode::from_u16(status).unwrap(), headers)
}

/// (soft, hard, stale-if-error) in seconds from now, if it is stored.
fn windows(outcome: Outcome) -> Option<(u64, u64, u64)> {
    let Outcome::Store(times) = outcome else { return None };
    let from_now = |until: Timestamp| until.since(NOW).as_secs();
    assert!(times.fresh_until <= times.stale_until, "{times:?}");
    assert!(times.stale_until.max(times.error_until) <= times.keep_until, "{times:?}");
    Some((from_now(times.fresh_until), from_now(times.stale_until), from_now(times.error_until)))
}

#[test]
fn the_origin_wins_where_it_speaks_and_the_route_where_it_is_silent() {
    let by_origin = route();
    let mut by_route = route();
    by_route.freshness.authority = Authority::Route;
    let rfc = fallback();
    for (route, status, control, expected) in [
        (&by_origin, 200, None, Some((60, 600, 4200))),
        (&by_origin, 200, Some("max-age=10"), Some((10, 600, 4200))),
        (&by_origin, 200, Some("max-age=1000"), Some((1000, 1000, 4600))),
        (&by_origin, 200, Some("max-age=10, stale-while-revalidate=5"), Some((10, 15, 3615))),
        (&by_origin, 200, Some("max-age=10, stale-if-error=7"), Some((10, 600, 17))),
        (&by_origin, 200, Some("max-age=10, must-revalidate"), Some((10, 10, 10))),
        (&by_origin, 200, Some("s-maxage=10"), Some((10, 10, 10))),
        (&by_origin, 200, Some("s-maxage=10, stale-if-error=7"), Some((10, 10, 17))),
        (&by_origin, 200, Some("no-cache, max-age=10"), None),
        (&rfc, 200, Some("max-age=0"), None),
        (&by_route, 200, Some("max-age=10"), Some((60, 600, 4200))),
        (&by_route, 200, Some("max-age=10, must-revalidate"), Some((60, 600, 4200))),
        (&by_origin, 404, None, Some((5, 5, 3605))),
        (&by_origin, 302, None, None),
        (&rfc, 200, None, None),
        (&rfc, 200, Some("max-age=10"), Some((10, 10, 10))),
        (&rfc, 200, Some("max-age=10, stale-while-revalidate=5"), Some((10, 15, 15))),
    ] {
        let headers: Vec<_> = control.map(|c| ("cache-control", c)).into_iter().collect();
        assert_eq!(windows(settled(route, status, &headers)), expected, "{status} {control:?}");
    }
}

/// RFC 5861 §3, §4: the windows are counted from when it became stale, wherever that was.
#[test]
fn what_came_stale_has_used_up_that_much_of_its_windows() {
    for (age, control, expected) in [
        ("70", "max-age=60, stale-while-revalidate=30", Some((0, 20, 20))),
        ("70", "max-age=60, stale-if-error=30", Some((0, 0, 20))),
        ("90", "max-age=60, stale-while-revalidate=30", None),
        ("1000", "max-age=60, stale-if-error=30", None),
        ("60", "max-age=60, stale-while-revalidate=30", Some((0, 30, 30))),
    ] {
        let headers = [("cache-control", control), ("age", age)];
        assert_eq!(windows(settled(&fallback(), 200, &headers)), expected, "{age} {control}");
        // A validator makes it worth keeping, and no younger.
        let valid = [headers[0], headers[1], ETAG[0]];
        let expected = expected.or(Some((0, 0, 0)));
        assert_eq!(windows(settled(&fallback(), 200, &valid)), expected, "{age} {control}");
    }
}

#[test]
fn a_lifetime_is_guessed_only_where_nobody_gives_one() {
    // 2023-11-14 22:13:20 GMT is NOW; modified 1000 s before.
    let (date, modified) = (
        ("date", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ("last-modified", "Tue, 14 Nov 2023 21:56:40 GMT"),
    );
    let share = |route: Route| {
        let freshness = Freshness { heuristic: Some(0.1), ..route.freshness };
        Route { freshness, ..route }
    };
    let (rfc, with_ttl) = (share(fallback()), share(route()));
    let mut by_route = share(fallback());
    by_route.freshness.authority = Authority::Route;
    by_route.freshness.soft_ttl = Some(secs(60));
    let said = |said: &'static str| ("cache-control", said);
    for (route, status, headers, expected) in [
        (&rfc, 200, &[date, modified][..], Some((100, 100, 100))),
        (&rfc, 404, &[date, modified], Some((100, 100, 100))),
        (&rfc, 302, &[date, modified], None),
        (&rfc, 302, &[date, modified, said("public")], Some((100, 100, 100))),
        (&rfc, 200, &[date, modified, ("age", "30")], Some((70, 70, 70))),
        (&rfc, 200, &[date, modified, said("max-age=7")], Some((7, 7, 7))),
        (&rfc, 200, &[date, modified, ("expires", "0")], Some((0, 0, 0))),
        (&rfc, 200, &[date, modified, said("max-age=x")], Some((0, 0, 0))),
        (&rfc, 200, &[date, modified, said("no-cache")], Some((0, 0, 0))),
        (&rfc, 200, &[date, modified, said("stale-if-error=9")], Some((100, 100, 109))),
        (&rfc, 200, &[date], None),
        (&fallback(), 200, &[date, modified], None),
        (&with_ttl, 200, &[date, modified], Some((60, 600, 4200))),
        (&with_ttl, 404, &[date, modified], Some((5, 5, 3605))),
        (&by_route, 200, &[date, modified], Some((60, 60, 60))),
        (&by_route, 404, &[date, modified, said("must-revalidate")], Some((100, 100, 100))),
        (&by_route, 404, &[date, modified, said("max-age=7")], Some((7, 7, 7))),
        (&rfc, 200, &[date, modified, said("no-store")], None),
    ] {
        assert_eq!(windows(settled(route, status, headers)), expected, "{status} {headers:?}");
    }
}

#[test]
fn what_must_be_validated_each_time_is_kept_to_be_validated() {
    let headers = [("cache-control", "no-cache"), ("etag", "\"1\"")];
    assert_eq!(windows(settled(&route(), 200, &headers)), Some((0, 0, 0)));
}

#[test]
fn what_is_forbidden_is_stored_by_no_route() {
    let mut by_route = route();
    by_route.freshness.authority = Authority::Route;
    for route in [&route(), &by_route, &fallback()] {
        for (headers, why) in [
            (&[("cache-control", "private, max-age=9")][..], NotStorable::Private),
            (&[("cache-control", "no-store, max-age=9")], NotStorable::NoStore),
            (&[("cache-control", "max-age=9"), ("set-cookie", "a=b")], NotStorable::SetCookie),
            (&[("cache-control", "max-age=9"), ("vary", "*")], NotStorable::VaryStar),
        ] {
            let expected = Outcome::PassOn(NotShared::Forbidden(why));
            assert_eq!(settled(route, 200, headers), expected, "{headers:?}");
        }
    }
}

#[test]
fn a_cookie_forbids_only_where_the_route_does_not_say_what_becomes_of_it() {
    for set_cookie in [SetCookie::Strip, SetCookie::Store] {
        let route = Route { set_cookie, ..route() };
        for (headers, expected) in [
            (&[("set-cookie", "a=b")][..], Some((60, 600, 4200))),
            (&[("set-cookie", "a=b"), ("cache-control", "private, max-age=9")], None),
            (&[("set-cookie", "a=b"), ("cache-control", "no-store")], None),
        ] {
            assert_eq!(windows(settled(&route, 200, headers)), expected, "{headers:?}");
        }
        let error = settled(&route, 500, &[("set-cookie", "a=b")]);
        assert_eq!(error, Outcome::Error(Audience::Waiters), "others get it without the cookie");
    }
}

#[test]
fn what_cannot_be_kept_whole_is_passed_on() {
    let route = route();
    let headers = fields(&[]);
    let asked = Asked {
        route: &route,
        digest: Digest([0; 16]),
        method: &Method::GET,
        headers: &headers,
        sent: NOW,
        validating: None,
    };
    let base = answer(200, &headers);
    let large = Answer { length: Some(1001), ..base };
    assert_eq!(settle(&asked, &large), Outcome::PassOn(NotShared::TooLarge));
    let open = Answer { length: None, close_delimited: true, ..base };
    assert_eq!(settle(&asked, &open), Outcome::PassOn(NotShared::CloseDelimited));
    let events = [("content-type", "text/event-stream; charset=utf-8")];
    assert_eq!(settled(&route, 200, &events), Outcome::PassOn(NotShared::Endless));
}

#[test]
fn an_error_is_shared_unless_somebody_claims_it() {
    let route = route();
    let for_all = Outcome::Error(Audience::Waiters);
    let for_one = Outcome::Error(Audience::Asker);
    for (status, headers, expected) in [
        (500, &[][..], for_all),
        (503, &[("retry-after", "3")], for_all),
        (503, &[("cache-control", "max-age=0")], for_all),
        (503, &[("cache-control", "no-cache")], for_all),
        (500, &[("cache-control", "no-store")], for_one),
        (500, &[("cache-control", "private")], for_one),
        (500, &[("set-cookie", "a=b")], for_one),
        // RFC 9110 §15: an invalid status is as if it were 5xx.
        (600, &[], for_all),
        (999, &[("cache-control", "no-store")], for_one),
    ] {
        assert_eq!(settled(&route, status, headers), expected, "{status} {headers:?}");
    }
    // The origin says itself how long it holds; it is never served beyond that.
    let lasting = settled(&route, 503, &[("cache-control", "max-age=3")]);
    assert_eq!(windows(lasting), Some((3, 3, 3603)));
    for credentials in [("authorization", "Basic x"), ("cookie", "a=b")] {
        let credentials = fields(&[credentials]);
        let headers = fields(&[]);
        let asked = Asked {
            route: &route,
            digest: Digest([0; 16]),
            method: &Method::GET,
            headers: &credentials,
            sent: NOW,
            validating: None,
        };
        assert_eq!(settle(&asked, &answer(500, &headers)), for_one);
    }
}

#[test]
fn a_304_renews_what_was_asked_about_and_nothing_else() {
    let route = route();
    let stored = entry(ETAG).response();
    let none = HeaderMap::new();
    let asked = |validating| Asked {
        route: &route,
        digest: Digest([0; 16]),
        method: &Method::GET,
        headers: &none,
        sent: NOW,
        validating,
    };
    let same = fields(ETAG);
    let Outcome::Renew(times) = settle(&asked(Some(&stored)), &answer(304, &same)) else {
        panic!("not renewed")
    };
    assert_eq!(times.fresh_until, NOW + secs(60));
    let other = fields(&[("etag", "\"2\"")]);
    assert_eq!(settle(&asked(Some(&stored)), &answer(304, &other)), Outcome::AskAgain);
    let varying = fields(&[("etag", "\"1\""), ("vary", "accept-language")]);
    assert_eq!(settle(&asked(Some(&stored)), &answer(304, &varying)), Outcome::AskAgain);
    let hiding = fields(&[
        ("etag", "\"1\""),
        ("cache-control", "no-store"),
        ("connection", "cache-control"),
    ]);
    let hidden = settle(&asked(Some(&stored)), &answer(304, &hiding));
    assert_eq!(hidden, Outcome::PassOn(NotShared::Forbidden(NotStorable::Malformed)));
    let unasked = settle(&asked(None), &answer(304, &same));
    assert_eq!(unasked, Outcome::PassOn(NotShared::Unexpected));
}

#[test]
fn a_part_is_kept_if_it_is_what_it_says_it_is() {
    let route = route();
    let none = HeaderMap::new();
    let asked = Asked {
        route: &route,
        digest: Digest([0; 16]),
        method: &Method::GET,
        headers: &none,
        sent: NOW,
        validating: None,
    };
    // `answer` gives every response ten bytes.
    let ten = ("content-range", "bytes 10-19/100");
    let unknown = NotShared::Forbidden(NotStorable::PartialContent);
    for (status, headers, expected) in [
        (206, &[ten][..], Ok(secs(60))),
        (206, &[ten, ("cache-control", "max-age=7")], Ok(secs(7))),
        (
            206,
            &[ten, ("cache-control", "private")],
            Err(NotShared::Forbidden(NotStorable::Private)),
        ),
        (206, &[ten, ("vary", "*")], Err(NotShared::Forbidden(NotStorable::VaryStar))),
        (206, &[ten, ("content-type", "Multipart/byteranges; boundary=x")], Err(unknown)),
        (206, &[ten, ten], Err(unknown)),
        (206, &[], Err(unknown)),
        (206, &[("content-range", "bytes 10-19/*")], Err(unknown)),
        (206, &[("content-range", "bytes */100")], Err(unknown)),
        (206, &[("content-range", "items 10-19/100")], Err(unknown)),
        (206, &[("content-range", "bytes 10-20/100")], Err(NotShared::BadPart)),
        (206, &[("content-range", "bytes 10-18/100")], Err(NotShared::BadPart)),
    ] {
        let response = fields(headers);
        let settled = settle_part(&asked, &answer(status, &response));
        let lifetime = settled.map(|(_, times)| times.fresh_until.since(NOW));
        assert_eq!(lifetime, expected, "{status} {headers:?}");
    }
    let response = fields(&[("content-range", "bytes 0-1000/9999")]);
    let large = Answer { length: None, ..answer(206, &response) };
    assert_eq!(settle_part(&asked, &large), Err(NotShared::TooLarge));
    let response = fields(&[ten]);
    assert_eq!(settle(&asked, &answer(206, &response)), Outcome::PassOn(unknown));
}

#[test]
fn lifetimes_are_spread_by_key_and_stay_in_bounds() {
    let mut route = route();
    route.freshness.jitter = 0.1;
    let headers = HeaderMap::new();
    let mut seen = std::collections::HashSet::new();
    for n in 0..=255_u8 {
        let asked = Asked {
            route: &route,
            digest: Digest([n; 16]),
            method: &Method::GET,
            headers: &headers,
            sent: NOW,
            validating: None,
        };
        let Outcome::Store(times) = settle(&asked, &answer(200, &headers)) else { panic!() };
        let soft = times.fresh_until.since(NOW);
        assert!((secs(54)..=secs(66)).contains(&soft), "{soft:?}");
        assert!(times.stale_until.since(NOW) >= secs(540));
        seen.insert(soft);
    }
    assert!(seen.len() > 200, "{} different lifetimes", seen.len());
}

#[test]
fn credentials_are_for_their_sender_unless_the_origin_says_otherwise() {
    let route = route();
    let mut credentials = HeaderMap::new();
    credentials.append(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    let asked = Asked {
        route: &route,
        digest: Digest([0; 16]),
        method: &Method::GET,
        headers: &credentials,
        sent: NOW,
        validating: None,
    };
    let silent = HeaderMap::new();
    let refused = Outcome::PassOn(NotShared::Forbidden(NotStorable::Authorization));
    assert_eq!(settle(&asked, &answer(200, &silent)), refused);
    let mut public = HeaderMap::new();
    public.append(CACHE_CONTROL, HeaderValue::from_static("public, max-age=9"));
    assert!(matches!(settle(&asked, &answer(200, &public)), Outcome::Store(_)));
    let keyed = Route {
        key: KeyRules { headers: vec![AUTHORIZATION], ..KeyRules::default() },
        ..route.clone()
    };
    let asked = Asked { route: &Arc::new(keyed), ..asked };
    assert!(matches!(settle(&asked, &answer(200, &silent)), Outcome::Store(_)));
}
