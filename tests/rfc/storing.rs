//! RFC 9111 §3: storing responses in caches.

use http::{HeaderName, Method};
use larder::semantics::stored::storable_headers;
use proptest::prelude::*;

use super::*;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");
const BASIC: (&str, &str) = ("authorization", "Basic eDp5");

/// The requirement, the request, the response (of a GET), what becomes of it.
type Row<'a> = (&'a str, Lines<'a>, u16, Lines<'a>, &'a str);

#[rustfmt::skip]
const ROWS: &[Row<'_>] = &[
    // §3: "MUST NOT store a response to a request unless"
    ("the response status code is final", NONE, 103, &[FRESH], "status-not-final"),
    ("the response status code is final", NONE, 100, &[FRESH], "status-not-final"),
    ("a final one is", NONE, 200, &[FRESH], "stored 60"),
    ("an unknown final one is", NONE, 299, &[FRESH], "stored 60"),
    ("204 as well", NONE, 204, &[FRESH], "stored 60"),
    ("redirects as well", NONE, 302, &[FRESH], "stored 60"),
    ("client errors as well", NONE, 404, &[FRESH], "stored 60"),
    ("server errors that say how long they last as well", NONE, 503, &[FRESH], "stored 60"),
    ("206: only if the cache understands it", NONE, 206, &[FRESH], "partial-content"),
    ("304 to nobody's condition is no response to keep", NONE, 304, &[FRESH], "unexpected"),
    ("must-understand: the status must be understood", NONE, 299, &[("cache-control", "max-age=60, must-understand")], "status-not-understood"),
    ("must-understand: a status that is understood", NONE, 200, &[("cache-control", "max-age=60, must-understand")], "stored 60"),
    ("the no-store directive is not present", NONE, 200, &[("cache-control", "max-age=60, no-store")], "no-store"),
    ("nor alone", NONE, 200, &[("cache-control", "no-store"), ("expires", MINUTE_LATER)], "no-store"),
    ("the private directive is not present", NONE, 200, &[("cache-control", "max-age=60, private")], "private"),
    ("or allows to store a modified response", NONE, 200, &[("cache-control", "max-age=60, private=\"x-a\"")], "stored 60"),
    ("Authorization is not present", &[BASIC], 200, &[FRESH], "authorization"),
    ("… nor Expires enough", &[BASIC], 200, &[("expires", MINUTE_LATER)], "authorization"),
    ("or public allows shared caching", &[BASIC], 200, &[("cache-control", "max-age=60, public")], "stored 60"),
    ("or must-revalidate does (§3.5)", &[BASIC], 200, &[("cache-control", "max-age=60, must-revalidate")], "stored 60"),
    ("or s-maxage does (§3.5)", &[BASIC], 200, &[("cache-control", "s-maxage=60")], "stored 60"),
    ("proxy-revalidate does not (§3.5)", &[BASIC], 200, &[("cache-control", "max-age=60, proxy-revalidate")], "authorization"),
    ("a qualified private does not", &[BASIC], 200, &[("cache-control", "max-age=60, private=\"x-a\"")], "authorization"),
    ("any scheme of credentials counts", &[("authorization", "")], 200, &[FRESH], "authorization"),
    ("at least one of: Expires", NONE, 200, &[("expires", MINUTE_LATER)], "stored 60"),
    ("at least one of: max-age", NONE, 200, &[("cache-control", "max-age=60")], "stored 60"),
    ("at least one of: s-maxage", NONE, 200, &[("cache-control", "s-maxage=60")], "stored 60"),
    ("none of them", NONE, 200, NONE, "no-freshness"),
    ("a status that is cacheable by heuristics, where no route wants guesses", NONE, 200, &[("last-modified", DAY_BEFORE)], "no-freshness"),
    ("none of them, and no heuristics for the status", NONE, 302, &[("last-modified", DAY_BEFORE)], "no-freshness"),
    // §5.2.1.5
    ("the request says no-store", &[("cache-control", "no-store")], 200, &[FRESH], "request-no-store"),
    ("… in any case", &[("Cache-Control", "NO-STORE")], 200, &[FRESH], "request-no-store"),
    // §4.1
    ("Vary: * always fails to match", NONE, 200, &[FRESH, ("vary", "*")], "vary-star"),
    ("… in company", NONE, 200, &[FRESH, ("vary", "accept, *")], "vary-star"),
    // Stricter than §3 (§7.3 leaves it to the origin).
    ("a response that sets a cookie", NONE, 200, &[FRESH, ("set-cookie", "a=b")], "set-cookie"),
    // RFC 9110 §7.6.1: "Cache-Control is never appropriate as a connection option".
    ("Connection does not hide what rules caching", NONE, 200, &[FRESH, ("connection", "cache-control")], "malformed"),
];

#[test]
fn a_response_is_stored_as_section_3_says() {
    all_hold(ROWS, |row| row.0, |row| differs(&*stored(row.1, row.2, row.3), row.4));
}

#[test]
fn only_answers_to_methods_that_are_understood_are_stored() {
    // §3: "the request method is understood by the cache"; RFC 9110 §9.3: which are cacheable.
    for name in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "FROB"] {
        let outcome = settled_for(&rfc(), &method(name), NONE, 200, &[FRESH], None);
        assert_eq!(in_a_word(outcome), "method-not-cacheable", "{name}");
    }
    let outcome = settled_for(&rfc(), &Method::GET, NONE, 200, &[FRESH], None);
    assert_eq!(in_a_word(outcome), "stored 60");
}

#[test]
fn no_route_lifts_what_section_3_forbids() {
    let keys = "soft_ttl = \"5m\"\nfreshness = \"route\"";
    let route = route(keys);
    for row in ROWS {
        let forbidden = ["no-store", "private", "request-no-store", "vary-star", "partial-content"];
        if forbidden.contains(&row.4) {
            assert_eq!(in_a_word(settled(&route, row.1, row.2, row.3)), row.4, "{}", row.0);
        }
    }
    let shared = [("cache-control", "s-maxage=60")];
    // §3.5: only while "the cache conforms to the requirements of that directive".
    assert_eq!(in_a_word(settled(&route, &[BASIC], 200, &shared)), "authorization");
}

/// The requirement, a field of the response, what is stored of it.
type Kept<'a> = (&'a str, Lines<'a>, Lines<'a>);

#[rustfmt::skip]
const KEPT: &[Kept<'_>] = &[
    ("MUST include all received fields, unrecognised ones too", &[("x-new", "1"), ("x-new", "2")], &[("x-new", "1"), ("x-new", "2")]),
    ("… with empty values", &[("x-new", "")], &[("x-new", "")]),
    ("Connection and what it lists are removed", &[("connection", "x-a, close"), ("x-a", "1"), ("x-b", "2")], &[("x-b", "2")]),
    ("fields that are known to require removal", &[("keep-alive", "1"), ("te", "x"), ("transfer-encoding", "chunked"), ("upgrade", "x"), ("proxy-connection", "x")], NONE),
    ("what private names", &[("cache-control", "private=\"x-a\""), ("x-a", "1")], &[("cache-control", "private=\"x-a\"")]),
    ("what no-cache names", &[("cache-control", "no-cache=\"x-a, x-b\""), ("x-b", "1")], &[("cache-control", "no-cache=\"x-a, x-b\"")]),
    ("MUST NOT: Proxy-Authenticate", &[("proxy-authenticate", "Basic")], NONE),
    ("MUST NOT: Proxy-Authentication-Info", &[("proxy-authentication-info", "x")], NONE),
    ("MUST NOT: Proxy-Authorization", &[("proxy-authorization", "x")], NONE),
    ("trailers are discarded, so none are announced", &[("trailer", "x-sum")], NONE),
];

#[test]
fn fields_are_stored_as_section_3_1_says() {
    all_hold(KEPT, |row| row.0, |row| differs(&storable_headers(&headers(row.1)), &headers(row.2)));
}

/// Spellings of a list with `word` in it.
fn spelled(word: &'static str) -> impl Strategy<Value = Vec<String>> {
    let cased = proptest::collection::vec(any::<bool>(), word.len()).prop_map(move |upper| {
        word.chars()
            .zip(upper)
            .map(|(c, up)| if up { c.to_ascii_uppercase() } else { c })
            .collect::<String>()
    });
    let argument = prop_oneof![
        4 => Just(""), 1 => Just("="), 1 => Just("=1"), 1 => Just("=\"\""), 1 => Just("=yes"),
    ];
    let blank = prop_oneof![Just(""), Just(" "), Just("\t "), Just(",, ")];
    let other = prop_oneof![
        4 => Just("max-age=60".to_owned()),
        2 => Just("public".to_owned()),
        1 => Just("s-maxage=\"60\"".to_owned()),
        1 => Just("x=\"a\\\"b, c\"".to_owned()),
        3 => "[ -~]{0,12}",
        1 => "[ -~\u{a1}-\u{ff}]{0,12}",
    ];
    let others = proptest::collection::vec(other, 0..4);
    (cased, argument, blank.clone(), blank, others.clone(), others, any::<bool>(), 1_usize..3)
        .prop_map(|(word, argument, before, after, first, last, own_line, times)| {
            let member = format!("{before}{word}{argument}{after}");
            let middle = vec![member; times].join(",");
            if own_line {
                return vec![first.join(","), middle, last.join(",")];
            }
            // Behind it only what closes no quote that stands open before it.
            let last: Vec<_> = last.into_iter().filter(|text| !text.contains('"')).collect();
            vec![[first, vec![middle], last].concat().join(",")]
        })
}

fn never_stored(lines: &[String]) -> bool {
    let mut response = vec![("etag", "\"1\""), ("expires", MINUTE_LATER)];
    response.extend(lines.iter().map(|line| ("cache-control", line.as_str())));
    static BOLD: LazyLock<Arc<Route>> =
        LazyLock::new(|| route("soft_ttl = \"5m\"\nfreshness = \"route\""));
    [rfc(), Arc::clone(&BOLD)]
        .iter()
        .all(|route| matches!(settled(route, NONE, 200, &response), Outcome::PassOn(_)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_no_store_in_any_spelling_is_never_stored(lines in spelled("no-store")) {
        let said = lines.join(",").to_ascii_lowercase();
        // §5.2.2.3: beside must-understand it is ignored.
        prop_assume!(!said.contains("must-understand"));
        prop_assert!(never_stored(&lines), "{:?}", lines);
    }

    #[test]
    fn what_is_private_in_any_spelling_is_never_stored(lines in spelled("private")) {
        prop_assert!(never_stored(&lines), "{:?}", lines);
    }

    #[test]
    fn what_a_request_forbids_in_any_spelling_is_never_stored(lines in spelled("no-store")) {
        let request: Vec<_> = lines.iter().map(|l| ("cache-control", l.as_str())).collect();
        prop_assert_ne!(stored(&request, 200, &[("cache-control", "public, max-age=60")]), "stored 60");
    }

    #[test]
    fn whatever_is_received_is_stored_but_for_the_exceptions(
        name in "x-[a-z]{1,9}", values in proptest::collection::vec("[!-~]{0,9}", 1..4),
    ) {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        let lines: Vec<_> = values.iter().map(|v| (name.as_str(), v.as_str())).collect();
        prop_assert_eq!(storable_headers(&headers(&lines)), headers(&lines));
    }
}
