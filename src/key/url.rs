//! The forms of a request's target that others need: what an entry is called, what the origin is
//! asked, and what a write throws away.

use http::Uri;
use http::uri::{Authority, PathAndQuery};

use super::query;
use crate::config::captures::Captures;
use crate::config::template::{NameKind, NameRule};
use crate::config::{QueryRule, Route};
use crate::ledger::name::Name;

/// `//host/path?query` as an entry keeps it: the canonical authority (with a port only where that
/// has one), the path byte for byte, the canonical query. Without a scheme: what is purged is
/// purged under both.
pub fn entry_url(uri: &Uri, canonical_query: Option<&str>) -> Box<str> {
    let authority = uri.authority().map_or("", Authority::as_str);
    assembled(authority, uri.path(), canonical_query)
}

/// The same from its pieces.
pub(super) fn assembled(authority: &str, path: &str, canonical_query: Option<&str>) -> Box<str> {
    let mut url = String::with_capacity(
        authority.len() + path.len() + canonical_query.map_or(0, |query| query.len() + 1) + 2,
    );
    url.push_str("//");
    url.push_str(authority);
    push_path_and_query(&mut url, path, canonical_query);
    url.into()
}

/// The URI with its query replaced by the canonical one: what the origin is asked for a response
/// that may be stored.
pub fn canonical_uri(uri: &Uri, canonical_query: Option<&str>) -> Uri {
    if uri.query() == canonical_query {
        return uri.clone();
    }
    let mut text = String::with_capacity(uri.path().len() + uri.query().map_or(0, str::len) + 1);
    push_path_and_query(&mut text, uri.path(), canonical_query);
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::from_maybe_shared(text).ok();
    // Pieces of a valid URI, none longer than before, are one again.
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

fn push_path_and_query(text: &mut String, path: &str, query: Option<&str>) {
    text.push_str(path);
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
}

/// What an unsafe request invalidates by itself (RFC 9111 §4.4), whatever its host: the path it was
/// sent to, the paths its response refers to, the collection above it, and what the route lists.
///
/// `referenced` are path and query of `Location` and `Content-Location`, of the same origin.
/// `parent` counts only if the route says so. A rule whose captures the request does not have names
/// nothing; the configuration refuses such rules when it is read.
pub fn written(
    route: &Route,
    captures: &Captures,
    uri: &Uri,
    referenced: &[String],
    parent: Option<&str>,
) -> Vec<Name> {
    let parent = parent.filter(|_| route.invalidate_parent);
    let paths = std::iter::once(uri.path())
        .chain(referenced.iter().map(|place| without_query(place)))
        .chain(parent)
        .filter(|path| path.starts_with('/'))
        .map(|path| Name::Path(path.into()));
    let listed = route.on_write.iter().filter_map(|rule| expanded(rule, captures));

    let mut names = Vec::with_capacity(2 + referenced.len() + route.on_write.len());
    for name in paths.chain(listed) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn without_query(place: &str) -> &str {
    place.split(['?', '#']).next().unwrap_or(place)
}

fn expanded(rule: &NameRule, captures: &Captures) -> Option<Name> {
    let text = rule.template.expand(captures).filter(|text| !text.is_empty())?;
    Some(match rule.kind {
        NameKind::Tag => Name::Tag(text.into()),
        NameKind::Namespace => Name::Namespace(text.into()),
        NameKind::Url => Name::Url(ordered(rooted(text)).into()),
        NameKind::Path => Name::Path(rooted(text).into()),
        NameKind::Prefix => Name::Prefix(rooted(text).into()),
    })
}

/// A catch-all captures without its leading slash, and a path without one names nothing.
fn rooted(text: String) -> String {
    if text.starts_with('/') { text } else { format!("/{text}") }
}

/// A rule's URL in the order that keys have. What the route of that URL ignores is not known here,
/// so a rule must not name it.
fn ordered(url: String) -> String {
    let Some((path, query)) = url.split_once('?') else { return url };
    let mut text = String::with_capacity(url.len());
    push_path_and_query(&mut text, path, query::canonical(&QueryRule::All, Some(query)).as_deref());
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::config::template::{Part, Template};
    use crate::config::{
        Authority as Word, Freshness, KeyRules, OnDoubt, RequestDirectives, SetCookie,
    };
    use crate::ledger::name::Belongs;

    fn route(rules: &[(NameKind, &[Part])], invalidate_parent: bool) -> Route {
        Route {
            name: Arc::from("r"),
            index: 0,
            host: None,
            path: Arc::from("/products/{id}"),
            methods: vec![],
            cache: true,
            freshness: Freshness {
                authority: Word::Origin,
                soft_ttl: None,
                hard_ttl: None,
                stale_if_error: Duration::ZERO,
                negative_ttl: None,
                jitter: 0.0,
                heuristic: None,
            },
            namespace: Template::default(),
            tags: vec![],
            on_write: rules
                .iter()
                .map(|(kind, parts)| NameRule {
                    kind: *kind,
                    template: Template { parts: parts.to_vec() },
                })
                .collect(),
            invalidate_parent,
            key: KeyRules::default(),
            max_entry: 0,
            max_variants: 0,
            max_tags: 0,
            on_doubt: OnDoubt::Revalidate,
            collapse: true,
            collapse_timeout: Duration::ZERO,
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

    fn text(text: &str) -> Part {
        Part::Text(text.into())
    }

    fn capture(name: &str) -> Part {
        Part::Capture(name.into())
    }

    fn names(route: &Route, uri: &str, referenced: &[&str], parent: Option<&str>) -> Vec<String> {
        let captures = Captures::from_iter([("id", "7"), ("rest", "a/b")]);
        let referenced: Vec<String> = referenced.iter().map(|r| (*r).to_owned()).collect();
        written(route, &captures, &uri.parse().unwrap(), &referenced, parent)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn an_entry_is_called_by_host_path_and_canonical_query() {
        for (uri, query, expected) in [
            ("http://h.test/p", None, "//h.test/p"),
            ("https://h.test:8443/p?b&a", Some("a&b"), "//h.test:8443/p?a&b"),
            ("http://h.test/p?utm=1", None, "//h.test/p"),
            ("http://h.test", None, "//h.test/"),
            ("http://[::1]:81/%2F//.", None, "//[::1]:81/%2F//."),
        ] {
            assert_eq!(&*entry_url(&uri.parse().unwrap(), query), expected);
        }
    }

    #[test]
    fn the_origin_is_asked_with_the_canonical_query() {
        for (uri, query, expected) in [
            ("http://h.test/p?b&a", Some("a&b"), "http://h.test/p?a&b"),
            ("http://h.test/p?utm=1", None, "http://h.test/p"),
            ("http://h.test/p?", None, "http://h.test/p"),
            ("http://h.test/p?a", Some("a"), "http://h.test/p?a"),
            ("http://h.test?b&a", Some("a&b"), "http://h.test/?a&b"),
        ] {
            assert_eq!(canonical_uri(&uri.parse().unwrap(), query).to_string(), expected);
        }
    }

    #[test]
    fn a_write_invalidates_its_path_what_it_refers_to_and_its_collection() {
        let uri = "http://h.test/products/7?dry=1";
        assert_eq!(
            names(&route(&[], true), uri, &["/orders/1?x=2", "/products/7"], Some("/products")),
            ["path:/products/7", "path:/orders/1", "path:/products"]
        );
        assert_eq!(names(&route(&[], false), uri, &[], Some("/products")), ["path:/products/7"]);
    }

    #[test]
    fn what_a_route_lists_comes_with_its_captures_filled_in() {
        let rules: [(NameKind, &[Part]); 7] = [
            (NameKind::Tag, &[text("product:"), capture("id")]),
            (NameKind::Namespace, &[text("search")]),
            (NameKind::Path, &[text("/products")]),
            (NameKind::Path, &[capture("rest")]),
            (NameKind::Prefix, &[text("//h.test/lists/")]),
            (NameKind::Url, &[text("/search?q="), capture("id"), text("&all")]),
            (NameKind::Tag, &[capture("missing")]),
        ];
        assert_eq!(
            names(&route(&rules, true), "http://h.test/products/7", &[], Some("/products")),
            [
                "path:/products/7",
                "path:/products",
                "tag:product:7",
                "namespace:search",
                "path:/a/b",
                "prefix://h.test/lists/",
                "url:/search?all&q=7",
            ]
        );
    }

    #[test]
    fn a_target_that_is_no_path_names_nothing() {
        assert_eq!(names(&route(&[], true), "*", &["other"], None), [""; 0]);
    }

    proptest! {
        #[test]
        fn a_write_reaches_the_entries_of_its_path_under_any_host_and_query(
            path in "/[a/%.~-]{0,8}",
            query in prop::option::of("[ab=&?/]{0,8}"),
        ) {
            let query = query.map_or_else(String::new, |q| format!("?{q}"));
            let uri: Uri = format!("http://h.test:81{path}{query}").parse().unwrap();
            let canonical = query::canonical(&QueryRule::All, uri.query());
            let belongs = Belongs::of("", &entry_url(&uri, canonical.as_deref()), &[""; 0], &[""; 0]);
            let other: Uri = format!("http://other.test{path}").parse().unwrap();
            for name in written(&route(&[], true), &Captures::default(), &other, &[], None) {
                prop_assert!(belongs.names.contains(&name.digest()), "{} {}", name, uri);
            }
        }

        #[test]
        fn a_canonical_uri_always_has_exactly_the_canonical_query(
            path in "(/[a/%.:]{0,8})?",
            query in prop::option::of("[ab=&?/;%]{0,8}"),
        ) {
            let query = query.map_or_else(String::new, |q| format!("?{q}"));
            let uri: Uri = format!("http://h.test{path}{query}").parse().unwrap();
            let canonical = query::canonical(&QueryRule::All, uri.query());
            let asked = canonical_uri(&uri, canonical.as_deref());
            prop_assert_eq!(asked.query(), canonical.as_deref());
            prop_assert_eq!(asked.path(), uri.path());
            prop_assert_eq!(asked.authority(), uri.authority());
            prop_assert_eq!(asked.scheme(), uri.scheme());
        }
    }
}
