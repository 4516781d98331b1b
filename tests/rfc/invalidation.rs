//! RFC 9111 §4.4: invalidating stored responses.

use http::Uri;
use larder::config::captures::Captures;
use larder::error::{OriginFault, ProxyError};
use larder::key::url::written;
use larder::ledger::name::Name;
use larder::plan::write::invalidates;
use larder::semantics::invalidation::referenced;

use super::*;

/// The requirement, the status of the answer to an unsafe request, whether it invalidates.
#[rustfmt::skip]
const STATUSES: &[(&str, u16, bool)] = &[
    ("MUST on a non-error status", 200, true),
    ("MUST on a non-error status", 201, true),
    ("MUST on a non-error status", 202, true),
    ("MUST on a non-error status", 204, true),
    ("MUST on a non-error status: 3xx", 303, true),
    ("MUST on a non-error status: 3xx", 304, true),
    ("a client error says that nothing was done", 400, false),
    ("a client error says that nothing was done", 401, false),
    ("a client error says that nothing was done", 404, false),
    ("a client error says that nothing was done", 409, false),
    ("a client error says that nothing was done", 412, false),
    ("but that of a request that was cut short", 408, true),
    // Beyond §4.4: who fails while it acts may have acted.
    ("a server error proves nothing", 500, true),
    ("a server error proves nothing", 503, true),
    ("a server error proves nothing", 504, true),
];

#[test]
fn answers_to_unsafe_requests_invalidate_as_section_4_4_says() {
    all_hold(
        STATUSES,
        |row| row.0,
        |row| differs(&invalidates(Ok(StatusCode::from_u16(row.1).unwrap())), &row.2),
    );
}

#[test]
fn no_answer_at_all_invalidates() {
    // Beyond §4.4, which speaks of what is received: the outcome is unknown.
    assert!(invalidates(Err(&ProxyError::Origin(OriginFault::Timeout(secs(1))))));
    assert!(invalidates(Err(&ProxyError::Origin(OriginFault::Broken("reset".to_owned())))));
    // Not of what never left here.
    assert!(!invalidates(Err(&ProxyError::Origin(OriginFault::Connect("refused".to_owned())))));
}

/// The requirement, fields of the answer to a write to `http://h:8080/products/7?a=1`, the places
/// that it refers to.
#[rustfmt::skip]
const REFERENCES: &[(&str, Lines<'_>, &[&str])] = &[
    ("MAY: Location", &[("location", "/orders/9")], &["/orders/9"]),
    ("MAY: Content-Location", &[("content-location", "/products")], &["/products"]),
    ("both", &[("location", "/a"), ("content-location", "/b?c=d")], &["/a", "/b?c=d"]),
    ("a relative one is resolved", &[("location", "8")], &["/products/8"]),
    ("an absolute one of the same origin", &[("location", "http://h:8080/a")], &["/a"]),
    ("MUST NOT: another host", &[("location", "http://other:8080/a")], &[]),
    ("MUST NOT: another port", &[("location", "http://h:8081/a")], &[]),
    ("MUST NOT: the default port, where the target's is another", &[("location", "http://h/a")], &[]),
    ("MUST NOT: another host by //", &[("location", "//other:8080/a")], &[]),
    ("MUST NOT: another host behind userinfo", &[("location", "http://h:8080@other/a")], &[]),
    ("MUST NOT: another scheme", &[("location", "ftp://h:8080/a")], &[]),
    ("nor what is no reference", &[("location", "http://[h/a")], &[]),
];

#[test]
fn other_uris_are_invalidated_only_within_the_origin() {
    let target = Uri::from_static("http://h:8080/products/7?a=1");
    all_hold(
        REFERENCES,
        |row| row.0,
        |row| {
            let found = referenced(&target, &headers(row.1));
            let found: Vec<&str> = found.iter().map(String::as_str).collect();
            differs(&*found, row.2)
        },
    );
}

#[test]
fn the_target_is_invalidated_with_all_that_is_stored_for_it() {
    // "invalidate … the target URI": with all its queries and variants, since a path names all.
    let target = Uri::from_static("http://h/products/7?a=1");
    let route = route("parent = false");
    let captures = Captures::default();
    let names = written(&route, &captures, &target, &["/b?c=d".to_owned()], Some("/products"));
    assert_eq!(names, [Name::Path("/products/7".into()), Name::Path("/b".into())]);
}
