//! What an unsafe request changes besides its target (RFC 9111 §4.4).
//!
//! | reference in Location or Content-Location | becomes |
//! |---|---|
//! | of the target's host and port | its path and query |
//! | relative | resolved against the target (RFC 3986 §5.2), then the same |
//! | of another host or port, another scheme than http and https, with userinfo | nothing |
//! | malformed | nothing |

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, Uri};

/// May this method change something? What is unknown may (RFC 9111 §4.4: "including methods whose
/// safety is unknown").
///
/// Safe: what the IANA registry of methods says is safe, PRI aside, which is no request.
pub fn is_unsafe(method: &Method) -> bool {
    // The common ones are compared as numbers, the others as text.
    if [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method) {
        return false;
    }
    // RFC 10008; RFC 4918 §9.1; RFC 3253 §3.6; RFC 5323. Methods are case-sensitive.
    !matches!(method.as_str(), "QUERY" | "PROPFIND" | "REPORT" | "SEARCH")
}

/// The path and query of every URI of the target's origin that Location and Content-Location name,
/// each once. `target`: absolute; one without host is only referred to by relative references.
///
/// RFC 9111 §4.4: "a cache MUST NOT trigger an invalidation under these conditions if the origin
/// of the URI to be invalidated differs from that of the target URI". Entries are not told apart by
/// scheme, and behind a proxy that ends TLS an origin says `https` of what is `http` here: between
/// those two only host and port count, and their default ports are one.
///
/// What would come out as `//…` is left out: it would read as a host.
pub fn referenced(target: &Uri, headers: &HeaderMap) -> Vec<String> {
    let mut found = Vec::new();
    for name in [LOCATION, CONTENT_LOCATION] {
        for line in headers.get_all(name) {
            let Some(place) = resolve(target, &printable(line.as_bytes())) else {
                continue;
            };
            if !found.contains(&place) {
                found.push(place);
            }
        }
    }
    found
}

/// The collection that a path is an item of: `/products` of `/products/7`, and, for those who end
/// paths with a slash, `/products/` of `/products/7/`. What has one segment is nobody's item.
pub fn parent(path: &str) -> Option<&str> {
    let (item, slash) = match path.strip_suffix('/') {
        Some(item) => (item, 1),
        None => (path, 0),
    };
    let absolute = path.starts_with('/') && !path.starts_with("//");
    let at = item.rfind('/').filter(|at| *at > 0 && absolute)?;
    path.get(..at + slash)
}

/// Text as a URI may contain it: octets beyond ASCII, and spaces, become percent-encoded, as
/// browsers do with what they are sent to.
pub(super) fn printable(value: &[u8]) -> String {
    const HEX: [u8; 16] = *b"0123456789ABCDEF";
    let hex = |nibble: u8| HEX.get(usize::from(nibble)).map_or('0', |digit| char::from(*digit));
    let mut text = String::with_capacity(value.len());
    for byte in super::fields::trim(value) {
        if byte.is_ascii() && *byte != b' ' {
            text.push(char::from(*byte));
        } else {
            text.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        }
    }
    text
}

/// RFC 3986 §5.2.2, down to path and query; `None` if the outcome is of another origin.
pub(super) fn resolve(target: &Uri, reference: &str) -> Option<String> {
    if reference.bytes().any(|b| b.is_ascii_control()) {
        return None;
    }
    let reference = reference.split_once('#').map_or(reference, |(before, _fragment)| before);
    let local = match scheme(reference) {
        // "http:path" is a leftover of old parsers (RFC 3986 §5.2.2), and says nothing certain.
        Some((scheme, rest)) if is_http(scheme) => same_host(target, rest.strip_prefix("//")?)?,
        Some(_) => return None,
        None => match reference.strip_prefix("//") {
            Some(rest) => same_host(target, rest)?,
            None => return relative(target, reference),
        },
    };
    let (path, query) = path_and_query(local);
    place(path, query)
}

/// A reference that has neither scheme nor host.
fn relative(target: &Uri, reference: &str) -> Option<String> {
    let (path, query) = path_and_query(reference);
    if path.is_empty() {
        return place(target.path(), query.or_else(|| target.query()));
    }
    if path.starts_with('/') {
        return place(path, query);
    }
    // RFC 3986 §5.2.3: "all but the last segment of the base URI's path".
    let base = target.path();
    let directory = base.rfind('/').and_then(|at| base.get(..=at)).unwrap_or("/");
    place(&[directory, path].concat(), query)
}

fn place(path: &str, query: Option<&str>) -> Option<String> {
    let mut place = without_dots(path);
    if place.starts_with("//") {
        return None;
    }
    if let Some(query) = query {
        place.push('?');
        place.push_str(query);
    }
    Some(place)
}

/// RFC 3986 §3.1: `ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )`, and what follows its colon.
fn scheme(reference: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = reference.split_once(':')?;
    let well_formed = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    well_formed.then_some((scheme, rest))
}

fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// What follows the authority that `rest` starts with, if it is the target's.
fn same_host<'a>(target: &Uri, rest: &'a str) -> Option<&'a str> {
    let (authority, local) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // RFC 9110 §4.2.4: of userinfo, a recipient "SHOULD parse for userinfo and treat its presence
    // as an error".
    if authority.contains('@') {
        return None;
    }
    let (host, port) = host_and_port(authority)?;
    let (our_host, our_port) = host_and_port(target.authority()?.as_str())?;
    let same = !host.is_empty() && host.eq_ignore_ascii_case(our_host) && port == our_port;
    same.then_some(local)
}

/// Host and port, `None` for a default port. RFC 9110 §4.2.3: an empty port is the default one.
fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let colon = match authority.rfind(']') {
        Some(bracket) => authority.get(bracket + 1..)?.find(':').map(|at| bracket + 1 + at),
        None => authority.find(':'),
    };
    let Some(colon) = colon else {
        return Some((authority, None));
    };
    let port = authority.get(colon + 1..)?;
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let port = if port.is_empty() { None } else { Some(port.parse().ok()?) };
    Some((authority.get(..colon)?, port.filter(|p| *p != 80 && *p != 443)))
}

fn path_and_query(local: &str) -> (&str, Option<&str>) {
    match local.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (local, None),
    }
}

/// RFC 3986 §5.2.4, of an absolute path: `.` stands for nothing, `..` takes the segment before it
/// away, and the root has nothing above it.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let dots = matches!(segment, "." | "..");
        if segment == ".." {
            kept.pop();
        }
        if !dots {
            kept.push(segment);
        } else if segments.peek().is_none() {
            // "/a/." and "/a/b/.." end in a slash.
            kept.push("");
        }
    }
    let mut out = String::with_capacity(path.len() + 1);
    for segment in kept {
        out.push('/');
        out.push_str(segment);
    }
    out
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn location(target: &str, reference: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.append(LOCATION, HeaderValue::from_bytes(reference.as_bytes()).unwrap());
        referenced(&target.parse().unwrap(), &headers).pop()
    }

    #[test]
    fn safe_is_what_the_registry_says() {
        for (method, expected) in [
            ("GET", false),
            ("HEAD", false),
            ("OPTIONS", false),
            ("TRACE", false),
            ("QUERY", false),
            ("PROPFIND", false),
            ("REPORT", false),
            ("SEARCH", false),
            ("POST", true),
            ("PUT", true),
            ("PATCH", true),
            ("DELETE", true),
            ("CONNECT", true),
            ("M-SEARCH", true),
            ("PURGE", true),
            ("get", true),
            ("query", true),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(is_unsafe(&method), expected, "{method}");
        }
    }

    /// The examples of RFC 3986 §5.4, without those of other schemes.
    #[test]
    fn references_resolve_as_in_the_rfc() {
        for (reference, expected) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("#s", "/b/c/d;p?q"),
            ("g#s", "/b/c/g"),
            ("g?y#s", "/b/c/g?y"),
            (";x", "/b/c/;x"),
            ("g;x=1", "/b/c/g;x=1"),
            ("", "/b/c/d;p?q"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../", "/"),
            ("../../g", "/g"),
            ("../../../g", "/g"),
            ("../../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g.", "/b/c/g."),
            (".g", "/b/c/.g"),
            ("g..", "/b/c/g.."),
            ("..g", "/b/c/..g"),
            ("./../g", "/b/g"),
            ("./g/.", "/b/c/g/"),
            ("g/./h", "/b/c/g/h"),
            ("g/../h", "/b/c/h"),
            ("g;x=1/./y", "/b/c/g;x=1/y"),
            ("g;x=1/../y", "/b/c/y"),
            ("g?y/./x", "/b/c/g?y/./x"),
            ("g?y/../x", "/b/c/g?y/../x"),
            ("g#s/../x", "/b/c/g"),
        ] {
            let outcome = location("http://a/b/c/d;p?q", reference);
            assert_eq!(outcome.as_deref(), Some(expected), "{reference}");
        }
    }

    #[test]
    fn only_the_targets_own_origin_counts() {
        let target = "http://api.test:8080/products";
        for (reference, expected) in [
            ("http://api.test:8080/p/8?x=1#top", Some("/p/8?x=1")),
            ("HTTP://API.Test:8080/p", Some("/p")),
            ("https://api.test:8080/p", Some("/p")),
            ("//api.test:8080/p", Some("/p")),
            ("http://api.test:8080", Some("/")),
            ("http://api.test:8080?q", Some("/?q")),
            ("http://api.test:8080/a/../b", Some("/b")),
            ("/p/a:b", Some("/p/a:b")),
            (" /p ", Some("/p")),
            ("/p/a b", Some("/p/a%20b")),
            ("/p/é", Some("/p/%C3%A9")),
            ("http://api.test/p", None),
            ("http://api.test:80/p", None),
            ("http://other.test:8080/p", None),
            ("//other.test/p", None),
            ("http://api.test:8080@other.test/p", None),
            ("http://user@api.test:8080/p", None),
            ("http://api.test:8080.other.test/p", None),
            ("http://api.test:8080\\@other.test/p", None),
            ("http:///p", None),
            ("http://:8080/p", None),
            ("http:p", None),
            ("http:/p", None),
            ("ftp://api.test:8080/p", None),
            ("urn:isbn:1", None),
            ("a:b", None),
            ("/a/..//other.test/p", None),
            ("/.//other.test/p", None),
            ("/p\tq", None),
        ] {
            assert_eq!(location(target, reference).as_deref(), expected, "{reference}");
        }
    }

    #[test]
    fn default_ports_are_one_and_an_absent_host_is_nobodys() {
        for (target, reference, expected) in [
            ("http://h/", "http://h:80/p", Some("/p")),
            ("http://h:80/", "https://h/p", Some("/p")),
            ("https://h/", "https://h:443/p", Some("/p")),
            ("http://h/", "http://h:/p", Some("/p")),
            ("http://h/", "http://h:99999/p", None),
            ("http://h/", "http://h:8x/p", None),
            ("http://[::1]:8080/", "http://[::1]:8080/p", Some("/p")),
            ("http://[::1]/", "http://[::1]/p", Some("/p")),
            ("http://[::1]/", "http://[::2]/p", None),
            ("http://[::1]/", "http://[::1/p", None),
            ("/products", "http://h/p", None),
            ("/products", "7", Some("/7")),
        ] {
            assert_eq!(location(target, reference).as_deref(), expected, "{target} {reference}");
        }
    }

    #[test]
    fn both_fields_count_and_each_place_once() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [(LOCATION, "/a"), (CONTENT_LOCATION, "http://h/b"), (CONTENT_LOCATION, "a")]
        {
            headers.append(name, HeaderValue::from_static(value));
        }
        assert_eq!(referenced(&"http://h/x".parse().unwrap(), &headers), ["/a", "/b"]);
        assert!(referenced(&"http://h/x".parse().unwrap(), &HeaderMap::new()).is_empty());
    }

    #[test]
    fn an_item_has_a_parent_and_a_collection_has_none() {
        for (path, expected) in [
            ("/products/7", Some("/products")),
            ("/products/7/", Some("/products/")),
            ("/shops/1/products/7", Some("/shops/1/products")),
            ("/products", None),
            ("/products/", None),
            ("/", None),
            ("", None),
            ("*", None),
            ("//a", None),
            ("//a/b", None),
            ("/a//", Some("/a/")),
        ] {
            assert_eq!(parent(path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn resolution_never_yields_another_origin(
            reference in "(https?:|HTTP:)?/{0,3}(h|evil|h@evil|evil@h)?(:80|:81)?\
                          [a-z./?#:@%\\\\\\[\\]]{0,20}",
            target in "http://h(:81)?/[a-z./]{0,10}(\\?[a-z]{0,3})?",
        ) {
            if let Some(place) = location(&target, &reference) {
                prop_assert!(place.starts_with('/') && !place.starts_with("//"), "{}", place);
                let path = path_and_query(&place).0;
                prop_assert!(!path.split('/').any(|s| s == "." || s == ".."), "{}", place);
                let authority = reference.split_once("//").filter(|(before, _)| {
                    before.is_empty() || before.eq_ignore_ascii_case("http:")
                        || before.eq_ignore_ascii_case("https:")
                });
                if let Some((_, authority)) = authority {
                    let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
                    let (host, _) = host_and_port(&authority[..end]).unwrap();
                    prop_assert_eq!(host, "h");
                }
            }
        }

        #[test]
        fn no_value_makes_it_panic(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                headers.append(LOCATION, value.clone());
                let _ = referenced(&"http://h/a?b".parse().unwrap(), &headers);
                let _ = parent(&String::from_utf8_lossy(value.as_bytes()));
            }
        }
    }
}
