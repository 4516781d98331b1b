//! RFC 9111 §5.2.2, §5.2.3: response directives, as they are spelled, and as they are obeyed.

use larder::semantics::cache_control::CacheControl;
use proptest::prelude::*;

use super::*;

const TAG: (&str, &str) = ("etag", "\"1\"");

/// The requirement, Cache-Control, what becomes of a 200 with it.
#[rustfmt::skip]
const ROWS: &[(&str, &str, &str)] = &[
    // §5.2: names are case-insensitive, both forms of arguments ought to be accepted
    ("names are case-insensitive", "MAX-AGE=60", "stored 60"),
    ("… of what forbids", "max-age=60, No-STORE", "no-store"),
    ("quoted and token form", "max-age=\"60\"", "stored 60"),
    ("an argument where none is defined changes nothing", "max-age=60, no-store=1", "no-store"),
    ("empty list members (RFC 9110 §5.6.1.2)", ",, max-age=60 ,,", "stored 60"),
    // §5.2.2.1, §5.2.2.10
    ("max-age", "max-age=60", "stored 60"),
    ("s-maxage overrides max-age for a shared cache", "max-age=60, s-maxage=9", "stored 9"),
    ("… also where it is longer", "max-age=9, s-maxage=60", "stored 60"),
    // §5.2.2.3 must-understand
    ("SHOULD ignore no-store beside must-understand", "max-age=60, must-understand, no-store", "stored 60"),
    // §5.2.2.4 no-cache
    ("no-cache may be stored, and not used unasked", "max-age=60, no-cache", "stored 0"),
    ("the token form is taken without its list", "max-age=60, no-cache=x-a", "stored 0"),
    ("qualified, it limits the named fields alone", "max-age=60, no-cache=\"x-a\"", "stored 60"),
    ("… of what the rest cannot do without, all of it", "max-age=60, no-cache=\"content-type\"", "stored 0"),
    // §5.2.2.5 no-store
    ("MUST NOT store any part", "max-age=60, no-store", "no-store"),
    ("whatever permits", "public, max-age=60, s-maxage=60, immutable, no-store", "no-store"),
    // §5.2.2.7 private
    ("MUST NOT store", "max-age=60, private", "private"),
    ("whatever permits", "public, max-age=60, s-maxage=60, private", "private"),
    ("the token form is taken without its list", "max-age=60, private=x-a", "private"),
    ("qualified, it limits the named fields alone", "max-age=60, private=\"x-a\"", "stored 60"),
    ("an empty list is none", "max-age=60, private=\"\"", "private"),
    ("a list of what is no field is none", "max-age=60, private=\"x a\"", "private"),
    // §5.2.2.9 public
    ("public gives no lifetime", "public", "no-freshness"),
    // §5.2.3
    ("MUST ignore unrecognised directives", "max-age=60, community=\"UCI\", x", "stored 60"),
    ("an extension's words are its own", "max-age=60, x-private=1, x=\"private, no-store\"", "stored 60"),
    // Not in the RFC: what cannot be read closes rather than opens.
    ("a list that is none", "max-age=60; public", "malformed"),
    ("forbidding words in what cannot be read", "max-age=60; no-store", "no-store"),
    ("an open quote hides nothing", "max-age=60, x=\"a, private", "private"),
];

#[test]
fn response_directives_are_obeyed() {
    all_hold(
        ROWS,
        |row| row.0,
        |row| differs(&*stored(NONE, 200, &[("cache-control", row.1), TAG]), row.2),
    );
}

/// The requirement, Cache-Control, what is done 61 seconds later on a route that lets responses be
/// stale.
#[rustfmt::skip]
const LATER: &[(&str, &str, &str)] = &[
    ("nothing forbids", "max-age=60", "serve stale"),
    ("§5.2.2.2 must-revalidate: MUST NOT reuse until validated", "max-age=60, must-revalidate", "validate"),
    ("§5.2.2.8 proxy-revalidate: the same, shared", "max-age=60, proxy-revalidate", "validate"),
    ("§5.2.2.10 s-maxage: the same", "s-maxage=60", "validate"),
    ("§5.2.2.4 no-cache", "max-age=600, no-cache", "validate"),
    ("in any case", "max-age=60, Must-Revalidate", "validate"),
    ("with any argument", "max-age=60, must-revalidate=0", "validate"),
];

#[test]
fn directives_that_forbid_staleness_are_obeyed() {
    let route = route("soft_ttl = \"60s\"\nhard_ttl = \"10m\"");
    all_hold(
        LATER,
        |row| row.0,
        |row| differs(reused(&route, NONE, &[("cache-control", row.1), TAG], 61), row.2),
    );
}

#[test]
fn permissions_have_to_be_said_exactly() {
    // §5.2.2.9 and RFC 8246 §2 define no argument: what is said otherwise permits nothing.
    for said in ["public=1", "public=\"x-a\"", "x-public"] {
        let response = [("cache-control", &*format!("max-age=60, {said}"))];
        let request = [("authorization", "Basic eDp5")];
        assert_eq!(stored(&request, 200, &response), "authorization", "{said}");
    }
}

proptest! {
    #[test]
    fn no_directive_makes_a_parser_panic(lines in proptest::collection::vec("\\PC{0,60}", 0..4)) {
        let values: Vec<_> =
            lines.iter().filter_map(|l| HeaderValue::from_bytes(l.as_bytes()).ok()).collect();
        let read = CacheControl::parse(values.iter());
        let lines: Vec<_> = values
            .iter()
            .filter_map(|v| std::str::from_utf8(v.as_bytes()).ok())
            .map(|v| ("cache-control", v))
            .collect();
        let _ = stored(&lines, 200, &lines);
        let _ = Demands::of(&headers(&lines));
        prop_assert!(read.max_age.is_none_or(|age| age <= secs(1 << 31)));
    }

    #[test]
    fn directives_do_not_depend_on_order_or_lines(
        said in proptest::sample::subsequence(
            vec!["no-store", "private", "no-cache", "public", "max-age=60", "s-maxage=30",
                 "must-revalidate", "private=\"x-a\"", "stale-if-error=5", "x=\"a,b\""],
            0..10,
        ).prop_shuffle(),
    ) {
        let joined = said.join(", ");
        let one = headers(&[("cache-control", &*joined)]);
        let lines: Vec<_> = said.iter().rev().map(|s| ("cache-control", *s)).collect();
        let many = headers(&lines);
        prop_assert_eq!(
            CacheControl::parse(one.get_all("cache-control").iter()),
            CacheControl::parse(many.get_all("cache-control").iter()),
        );
    }
}
