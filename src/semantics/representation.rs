//! Is the content of an answer to a write what a GET of its target would get?
//!
//! | asked in this order | no, because |
//! |---|---|
//! | 200: content that is all there, under the status that a GET would get | [`NotOfTarget::Status`] |
//! | one Content-Location, which is the target | [`NotOfTarget::Elsewhere`] |
//! | the origin itself says for how long | [`NotOfTarget::NoFreshness`] |
//!
//! Whether such an answer may be stored at all is asked as of any other ([`super::storable`]).
//!
//! A 201 is left out, though its content may be the new representation: a GET would get it under
//! 200, and a status that the origin did not send is not for a cache to make up.

use http::header::CONTENT_LOCATION;
use http::{HeaderMap, StatusCode, Uri};

use super::cache_control::CacheControl;
use super::freshness::explicit_lifetime;
use super::invalidation::{printable, resolve};
use super::lists::single;
use super::time::Timestamp;

/// Why an answer to a write is not taken for its target's representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOfTarget {
    /// Not a 200.
    Status,
    /// It does not say that its content is the target's, or says so of something else.
    Elsewhere,
    /// The origin gives it no lifetime.
    NoFreshness,
}

/// Is the content of this answer a representation of `target`, to be kept for a later GET?
///
/// `target`: absolute, as the request named it. `control` is what [`super::targeted::effective`]
/// makes of `headers`, which are those received `at` this moment.
///
/// RFC 9110 §9.3.3: "Responses to POST requests are only cacheable when they include explicit
/// freshness information […] and a Content-Location header field that has the same value as the
/// POST's target URI". RFC 5789 §2 says the same of PATCH. RFC 9110 §6.4.2 of any response: then
/// "the content is a representation of the target resource".
///
/// # Errors
///
/// The first reason against it, in the order of the table above.
pub fn is_of_target(
    target: &Uri,
    status: StatusCode,
    headers: &HeaderMap,
    control: &CacheControl,
    at: Timestamp,
) -> Result<(), NotOfTarget> {
    if status != StatusCode::OK {
        return Err(NotOfTarget::Status);
    }
    if !is_located_at(target, headers) {
        return Err(NotOfTarget::Elsewhere);
    }
    match explicit_lifetime(control, headers, at) {
        Some(lifetime) if !lifetime.is_zero() => Ok(()),
        _ => Err(NotOfTarget::NoFreshness),
    }
}

/// RFC 9110 §8.7: "If Content-Location is included in a 2xx (Successful) response message and its
/// value refers (after conversion to absolute form) to a URI that is the same as the target URI".
/// Path and query are compared as they are; several lines contradict each other.
fn is_located_at(target: &Uri, headers: &HeaderMap) -> bool {
    let Some(line) = single(headers, CONTENT_LOCATION) else { return false };
    let reference = printable(line.as_bytes());
    // §8.7: an absolute-URI or a partial-URI, neither of which is empty or has a fragment.
    if reference.is_empty() || reference.contains('#') {
        return false;
    }
    let Some(place) = resolve(target, &reference) else { return false };
    let (path, query) = match place.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (&*place, None),
    };
    path == target.path() && query == target.query()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::semantics::targeted::effective;

    const AT: Timestamp = Timestamp::from_millis(784_111_777_500);
    const HOUR_LATER: &str = "Sun, 06 Nov 1994 09:49:37 GMT";
    const HOUR_BEFORE: &str = "Sun, 06 Nov 1994 07:49:37 GMT";
    const FRESH: (&str, &str) = ("cache-control", "max-age=60");

    fn verdict(target: &str, status: u16, lines: &[(&'static str, &str)]) -> Option<NotOfTarget> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let (target, status) = (target.parse().unwrap(), StatusCode::from_u16(status).unwrap());
        is_of_target(&target, status, &headers, &effective(&headers), AT).err()
    }

    #[test]
    fn only_what_says_that_it_is_the_target_is() {
        let none = None;
        let elsewhere = Some(NotOfTarget::Elsewhere);
        for (target, location, expected) in [
            ("http://h.test/a", "/a", none),
            ("http://h.test/a", "a", none),
            ("http://h.test/a", "./a", none),
            ("http://h.test/a/b", "../a/b", none),
            ("http://h.test/a", "http://h.test/a", none),
            ("http://h.test/a", "HTTPS://H.TEST:443/a", none),
            ("http://h.test/a", "//h.test/a", none),
            ("http://h.test:81/a", "http://h.test:81/a", none),
            ("http://h.test/", "http://h.test", none),
            ("http://h.test/a?x=1&y", "/a?x=1&y", none),
            ("http://h.test/a?x=1&y", "?x=1&y", none),
            ("http://h.test/a?x=1&y", "/a?y&x=1", elsewhere),
            ("http://h.test/a?x", "/a", elsewhere),
            ("http://h.test/a", "/a?", elsewhere),
            ("http://h.test/a", "/a/", elsewhere),
            ("http://h.test/a", "/A", elsewhere),
            ("http://h.test/a", "/a#top", elsewhere),
            ("http://h.test/a", "", elsewhere),
            ("http://h.test/a", "/b", elsewhere),
            ("http://h.test/a", "http://other.test/a", elsewhere),
            ("http://h.test/a", "http://h.test:81/a", elsewhere),
            ("http://h.test/a", "http://me@h.test/a", elsewhere),
            ("http://h.test/a", "ftp://h.test/a", elsewhere),
        ] {
            let told = verdict(target, 200, &[FRESH, ("content-location", location)]);
            assert_eq!(told, expected, "{target} {location:?}");
        }
        let twice = [FRESH, ("content-location", "/a"), ("content-location", "/a")];
        assert_eq!(verdict("http://h.test/a", 200, &twice), elsewhere);
        assert_eq!(verdict("http://h.test/a", 200, &[FRESH]), elsewhere);
        assert_eq!(verdict("http://h.test/a", 200, &[FRESH, ("location", "/a")]), elsewhere);
    }

    #[test]
    fn only_the_origin_can_give_it_a_lifetime() {
        let no = Some(NotOfTarget::NoFreshness);
        for (name, value, expected) in [
            ("cache-control", "max-age=60", None),
            ("cache-control", "s-maxage=60", None),
            ("cdn-cache-control", "max-age=60", None),
            ("expires", HOUR_LATER, None),
            ("expires", HOUR_BEFORE, no),
            ("expires", "0", no),
            ("cache-control", "max-age=0", no),
            ("cache-control", "public", no),
            ("last-modified", HOUR_BEFORE, no),
        ] {
            let lines = [("content-location", "/a"), (name, value)];
            assert_eq!(verdict("http://h.test/a", 200, &lines), expected, "{name}: {value}");
        }
    }

    #[test]
    fn only_a_200_is_what_a_get_would_get() {
        for status in 200..600 {
            let told = verdict("http://h.test/a", status, &[FRESH, ("content-location", "/a")]);
            assert_eq!(told, (status != 200).then_some(NotOfTarget::Status), "{status}");
        }
    }

    proptest! {
        #[test]
        fn no_reference_makes_it_another_resource(location in "[a-z/.?:#@%]{0,12}") {
            let target = "http://h.test/a/b?c";
            let told = verdict(target, 200, &[FRESH, ("content-location", &location)]);
            if told.is_none() {
                // Whatever came before it, it ends as the target does, or is its query alone.
                prop_assert!(location.ends_with("b?c") || location == "?c", "{location}");
            }
        }
    }
}
