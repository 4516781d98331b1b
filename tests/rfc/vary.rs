//! RFC 9111 §4.1: calculating cache keys with the Vary header field.

use larder::semantics::vary::{Vary, normalised, parse};

use super::*;

/// Do two requests agree in the fields that a response with this Vary nominates?
fn agree(vary: &str, first: Lines<'_>, second: Lines<'_>) -> bool {
    let (first, second) = (headers(first), headers(second));
    match parse(&headers(&[("vary", vary)])) {
        Vary::None => true,
        Vary::Any => false,
        Vary::Fields(names) => {
            names.iter().all(|name| normalised(name, &first) == normalised(name, &second))
        }
    }
}

/// The requirement, Vary, two requests, do they match?
type Row<'a> = (&'a str, &'a str, Lines<'a>, Lines<'a>, bool);

#[rustfmt::skip]
const ROWS: &[Row<'_>] = &[
    // "MUST NOT use … unless all the presented request header fields nominated … match"
    ("equal values match", "accept", &[("accept", "a/b")], &[("accept", "a/b")], true),
    ("others do not", "accept", &[("accept", "a/b")], &[("accept", "a/c")], false),
    ("all nominated fields count", "accept, origin", &[("accept", "a/b"), ("origin", "x")], &[("accept", "a/b"), ("origin", "y")], false),
    ("no other does", "accept", &[("accept", "a/b"), ("origin", "x")], &[("accept", "a/b"), ("origin", "y")], true),
    ("names are case-insensitive", "ACCEPT", &[("accept", "a/b")], &[("accept", "a/c")], false),
    ("an unknown field counts", "x-tenant", &[("x-tenant", "1")], &[("x-tenant", "2")], false),
    // "adding or removing whitespace, where allowed in the header field's syntax"
    ("whitespace around commas", "x-list", &[("x-list", "a, b")], &[("x-list", "a ,b")], true),
    ("whitespace inside a value", "x-list", &[("x-list", "a b")], &[("x-list", "a  b")], false),
    ("whitespace inside a quoted string", "x-list", &[("x-list", "\"a, b\"")], &[("x-list", "\"a,b\"")], false),
    // "combining multiple header field lines with the same field name"
    ("two lines are one", "x-list", &[("x-list", "a"), ("x-list", "b")], &[("x-list", "a, b")], true),
    ("their order counts", "x-list", &[("x-list", "b"), ("x-list", "a")], &[("x-list", "a, b")], false),
    // "normalizing both header field values in a way that is known to have identical semantics"
    ("case of what is case-insensitive", "accept-encoding", &[("accept-encoding", "GZIP")], &[("accept-encoding", "gzip")], true),
    ("case of what is not known to be", "x-tenant", &[("x-tenant", "A")], &[("x-tenant", "a")], false),
    ("order where it is not significant", "accept-encoding", &[("accept-encoding", "gzip, br")], &[("accept-encoding", "br, gzip")], true),
    ("weights as numbers", "accept", &[("accept", "a/b;q=0.50")], &[("accept", "a/b; Q=0.5")], true),
    ("weights that differ", "accept", &[("accept", "a/b;q=0.5")], &[("accept", "a/b;q=0.6")], false),
    // "If (after any normalization …) a header field is absent from a request, it can only match
    // another request if it is also absent there."
    ("absent from both", "accept", NONE, NONE, true),
    ("absent from one", "accept", NONE, &[("accept", "a/b")], false),
    ("empty is not absent", "accept", NONE, &[("accept", "")], false),
    ("empty in both", "accept", &[("accept", "")], &[("accept", "")], true),
    // "A stored response with a Vary header field value containing a member "*" always fails to match."
    ("* never matches", "*", NONE, NONE, false),
    ("* in company", "accept, *", NONE, NONE, false),
    ("what is no name never matches", "a b", NONE, NONE, false),
    ("an empty Vary nominates nothing", "", &[("accept", "a")], NONE, true),
];

#[test]
fn requests_match_as_section_4_1_says() {
    all_hold(ROWS, |row| row.0, |row| differs(&agree(row.1, row.2, row.3), &row.4));
    all_hold(ROWS, |row| row.0, |row| differs(&agree(row.1, row.3, row.2), &row.4));
}
