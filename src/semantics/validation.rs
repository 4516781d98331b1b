//! Asking the origin whether a stored response still stands, and taking over its answer
//! (RFC 9111 §4.3).
//!
//! | of a 304's fields | the stored response |
//! |---|---|
//! | Age, Date | takes the 304's, or none: they tell of the message that carried them |
//! | about the connection | keeps none |
//! | about the stored bytes (length, coding, range, digest of the content) | keeps its own |
//! | Set-Cookie, unless cookies are stored here | keeps its own, gains none |
//! | what `private` or `no-cache` names | keeps none |
//! | any other | takes all lines of the 304's, in place of all of its own |

use std::time::Duration;

use http::header::{
    AGE, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG,
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
    SET_COOKIE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::fields::trim;
use super::lists::{date, directives, opaque_tag, single, split};
use super::targeted;

/// The fields that make a request conditional (RFC 9110 §13.1). A request made for everybody must
/// not carry those of one client.
pub const CONDITIONAL_FIELDS: [HeaderName; 5] =
    [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE];

/// Can the origin be asked whether this response still stands?
pub fn has_validator(headers: &HeaderMap) -> bool {
    entity_tag(headers).is_some() || last_modified(headers).is_some()
}

/// The fields of a request that asks whether this response still stands; `None` if it has nothing
/// to ask with.
pub fn conditional_fields(headers: &HeaderMap) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let mut fields = Vec::new();
    // RFC 9111 §4.3.1: "MUST send the relevant entity tags […] if the entity tags were provided in
    // the stored response(s) being validated."
    if let Some(tag) = entity_tag(headers) {
        fields.push((IF_NONE_MATCH, tag.clone()));
    }
    // RFC 9111 §4.3.1: "SHOULD send the Last-Modified value […] if […] a single stored response is
    // being validated". As it came: some origins only honour an exact match (RFC 9110 §13.1.3).
    if let Some(modified) = last_modified(headers) {
        fields.push((IF_MODIFIED_SINCE, modified.clone()));
    }
    (!fields.is_empty()).then_some(fields)
}

/// Is a 304 with these fields about the stored response with those? If not, it must not renew it,
/// and the origin has to be asked again, without a condition.
///
/// | tag of the 304 | of the stored response | |
/// |---|---|---|
/// | `"a"` | `"a"` | yes |
/// | `"a"` | `W/"a"` | no: a strong tag is of one representation, octet for octet, and this may be another |
/// | `W/"a"` | `"a"` or `W/"a"` | yes |
/// | none | any | as Last-Modified says; yes if that is silent too |
pub fn confirms(stored: &HeaderMap, not_modified: &HeaderMap) -> bool {
    if not_modified.contains_key(ETAG) {
        let (Some(ours), Some(theirs)) = (entity_tag(stored), entity_tag(not_modified)) else {
            return false;
        };
        let is_weak = |tag: &HeaderValue| trim(tag.as_bytes()).starts_with(b"W/");
        // RFC 9111 §4.3.4: "If none of the initial set contains at least one of the same strong
        // validators, then the cache MUST NOT use the new response to update any stored responses."
        if !is_weak(theirs) && is_weak(ours) {
            return false;
        }
        return opaque_tag(ours.as_bytes()) == opaque_tag(theirs.as_bytes());
    }
    let sent = date(not_modified, DATE, None);
    match date(not_modified, LAST_MODIFIED, sent) {
        Some(theirs) => date(stored, LAST_MODIFIED, sent) == Some(theirs),
        None => true,
    }
}

/// The fields of a stored response after a 304 confirmed it, where no cookies are stored. Neither
/// argument is changed. See [`freshen_with`].
pub fn freshen(stored: &HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
    freshen_with(stored, not_modified, false)
}

/// The fields of a stored response after a 304 confirmed it. Neither argument is changed.
/// `cookies`: those of the 304 replace those of the stored response.
///
/// RFC 9111 §3.2: "the cache MUST add each header field in the provided response to the stored
/// response, replacing field values that are already present", but for the exceptions in the table
/// above. Content-Type is none of them: it changes no byte that is stored. RFC 9110 §15.4.5 has
/// origins leave it out ("SHOULD NOT generate representation metadata other than the above listed
/// fields unless […] for the purpose of guiding cache updates"), so one that is there is meant; an
/// origin that stamps a default type on everything, its 304s too, is to be mended there.
pub fn freshen_with(stored: &HeaderMap, not_modified: &HeaderMap, cookies: bool) -> HeaderMap {
    let mut fresh = stored.clone();
    // RFC 9111 §4.2.3: the age starts anew with the response that validated it. A 304 without Date
    // counts from its receipt (RFC 9110 §6.6.1), not from the Date of what it confirms.
    fresh.remove(AGE);
    fresh.remove(DATE);
    let connection = listed(not_modified, CONNECTION);
    let unshared = not_shared(not_modified);
    for name in &unshared {
        fresh.remove(name);
    }
    for name in not_modified.keys() {
        let cookie = *name == SET_COOKIE && !cookies;
        if cookie || is_kept(name) || connection.contains(name) || unshared.contains(name) {
            continue;
        }
        fresh.remove(name);
        for value in not_modified.get_all(name) {
            // Fails past 32 768 lines, which no message that was received has.
            let _ = fresh.try_append(name.clone(), value.clone());
        }
    }
    // RFC 9111 §3.1, with the directives as they stand now: a 304 may bring a field that the stored
    // response's own Cache-Control, or a targeted one (RFC 9213), takes away.
    let unstored: Vec<HeaderName> =
        targeted::effective(&fresh).excluded_fields().cloned().collect();
    for name in &unstored {
        fresh.remove(name);
    }
    fresh
}

/// RFC 9110 §8.8.3: one, and well-formed; otherwise there is none.
pub(super) fn entity_tag(headers: &HeaderMap) -> Option<&HeaderValue> {
    single(headers, ETAG).filter(|tag| opaque_tag(tag.as_bytes()).is_some())
}

/// A Last-Modified that can vouch for a response.
///
/// RFC 9110 §8.8.2.2: it is weak unless Date is "at least one second after the Last-Modified
/// value": within its own second the resource may have changed again, unseen. RFC 9111 §4.3.1 says
/// "SHOULD send the Last-Modified value"; no MUST is behind that, and an API that is written to and
/// read at once meets that second often: a 304 would then confirm for good what a write of the same
/// second has replaced. So such a response is not asked about but fetched again.
pub(super) fn last_modified(headers: &HeaderMap) -> Option<&HeaderValue> {
    let sent = date(headers, DATE, None);
    let modified = date(headers, LAST_MODIFIED, sent)?;
    let settled = sent.is_none_or(|sent| sent.since(modified) >= Duration::from_secs(1));
    single(headers, LAST_MODIFIED).filter(|_| settled)
}

/// Fields of a 304 that do not reach the stored response.
fn is_kept(name: &HeaderName) -> bool {
    // RFC 9111 §3.2: "The Content-Length header field", "Header fields that are automatically
    // processed and removed", and those "necessary to assure integrity of the stored response": a
    // coding of the bytes that were not sent is not the coding of those that are stored.
    [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE].contains(name)
        // RFC 9110 §7.6.1: for one connection only.
        || [CONNECTION, TRANSFER_ENCODING, TRAILER, UPGRADE].contains(name)
        || matches!(
            name.as_str(),
            "keep-alive" | "proxy-connection" | "te"
                // RFC 9111 §3.1: "specific to the proxy that a cache uses".
                | "proxy-authenticate" | "proxy-authentication-info" | "proxy-authorization"
                // RFC 9530 §2: of the content of the message that carries it, and a 304 has none.
                | "content-digest"
        )
}

/// RFC 9111 §3.1: what `private` and `no-cache` name "can have arguments that prevent storage of
/// header fields".
fn not_shared(headers: &HeaderMap) -> Vec<HeaderName> {
    let restricts = |directive: &[u8]| {
        directive.eq_ignore_ascii_case(b"private") || directive.eq_ignore_ascii_case(b"no-cache")
    };
    directives(headers, CACHE_CONTROL)
        .filter(|(directive, _)| restricts(directive))
        .filter_map(|(_, argument)| argument)
        .flat_map(names)
        .collect()
}

fn listed(headers: &HeaderMap, field: HeaderName) -> Vec<HeaderName> {
    headers.get_all(field).iter().flat_map(|line| names(line.as_bytes())).collect()
}

fn names(list: &[u8]) -> impl Iterator<Item = HeaderName> {
    split(list, b',').filter_map(|name| HeaderName::from_bytes(name).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn fields(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn the_origin_is_asked_with_what_it_gave() {
        type Lines<'a> = &'a [(&'a str, &'a str)];
        let rows: [(Lines<'_>, Lines<'_>); 11] = [
            (&[], &[]),
            (&[("etag", "\"a\"")], &[("if-none-match", "\"a\"")]),
            (&[("etag", "W/\"a\"")], &[("if-none-match", "W/\"a\"")]),
            (&[("etag", "a")], &[]),
            (&[("etag", "\"a\""), ("etag", "\"b\"")], &[]),
            (&[("last-modified", MODIFIED)], &[("if-modified-since", MODIFIED)]),
            (&[("last-modified", "yesterday")], &[]),
            (&[("last-modified", "0")], &[]),
            (
                &[("etag", "\"a\""), ("last-modified", MODIFIED), ("date", LATER)],
                &[("if-none-match", "\"a\""), ("if-modified-since", MODIFIED)],
            ),
            // RFC 9110 §8.8.2.2: sent within the second in which it was modified.
            (&[("last-modified", MODIFIED), ("date", MODIFIED)], &[]),
            (&[("last-modified", LATER), ("date", MODIFIED)], &[]),
        ];
        for (stored, expected) in rows {
            let stored = fields(stored);
            let asked = conditional_fields(&stored);
            assert_eq!(has_validator(&stored), asked.is_some(), "{stored:?}");
            let asked: HeaderMap = asked.unwrap_or_default().into_iter().collect();
            assert_eq!(asked, fields(expected), "{stored:?}");
        }
    }

    #[test]
    fn a_304_about_something_else_confirms_nothing() {
        let (a, b, weak) = (("etag", "\"a\""), ("etag", "\"b\""), ("etag", "W/\"a\""));
        let (old, new) = (("last-modified", MODIFIED), ("last-modified", LATER));
        for (stored, not_modified, expected) in [
            (&[a][..], &[a][..], true),
            (&[a], &[], true),
            (&[a], &[weak], true),
            (&[weak], &[a], false),
            (&[weak], &[weak], true),
            (&[a], &[b], false),
            (&[old], &[a], false),
            (&[a], &[a, b], false),
            (&[old], &[old], true),
            (&[old], &[new], false),
            (&[a], &[new], false),
            (&[a, old], &[a, new], true),
            (&[old], &[("last-modified", "x")], true),
        ] {
            let confirmed = confirms(&fields(stored), &fields(not_modified));
            assert_eq!(confirmed, expected, "{stored:?} {not_modified:?}");
        }
    }

    #[test]
    fn a_304_replaces_all_lines_of_a_field() {
        let stored = fields(&[("link", "1"), ("link", "2"), ("x-a", "1"), ("x-b", "1")]);
        let answer = fields(&[("link", "3"), ("x-a", "2"), ("x-a", "3"), ("x-c", "4")]);
        let expected =
            fields(&[("link", "3"), ("x-a", "2"), ("x-a", "3"), ("x-b", "1"), ("x-c", "4")]);
        assert_eq!(freshen(&stored, &answer), expected);
    }

    #[test]
    fn a_304_replaces_what_describes_content_without_changing_its_bytes() {
        for name in ["content-type", "content-language", "content-location", "repr-digest"] {
            let stored = fields(&[(name, "ours")]);
            let theirs = fields(&[(name, "theirs")]);
            assert_eq!(freshen(&stored, &theirs), theirs, "{name}");
            assert_eq!(freshen(&stored, &HeaderMap::new()), stored, "{name}");
        }
    }

    #[test]
    fn a_cookie_is_taken_over_only_where_cookies_are_stored() {
        let stored = fields(&[("set-cookie", "a=1"), ("set-cookie", "b=1")]);
        let answer = fields(&[("set-cookie", "a=2"), ("set-cookie", "c=2")]);
        assert_eq!(freshen_with(&stored, &answer, false), stored);
        assert_eq!(freshen_with(&stored, &answer, true), answer);
        assert_eq!(freshen_with(&stored, &HeaderMap::new(), true), stored);
        let named = fields(&[("set-cookie", "a=2"), ("cache-control", "private=\"set-cookie\"")]);
        assert!(!freshen_with(&stored, &named, true).contains_key("set-cookie"));
    }

    #[test]
    fn what_the_stored_response_excludes_does_not_come_in_by_a_304() {
        for control in [
            ("cache-control", "max-age=9, private=\"x-user\""),
            ("cdn-cache-control", "max-age=9, no-cache=\"x-user\""),
        ] {
            let stored = fields(&[control]);
            assert_eq!(freshen(&stored, &fields(&[("x-user", "7")])), stored);
        }
    }

    #[test]
    fn what_a_304_cannot_know_stays() {
        for name in ["content-length", "content-encoding", "content-range"] {
            let stored = fields(&[(name, "ours")]);
            assert_eq!(freshen(&stored, &fields(&[(name, "theirs")])), stored, "{name}");
        }
    }

    #[test]
    fn what_is_not_for_everybody_is_not_taken_over() {
        for name in [
            "connection",
            "keep-alive",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "proxy-authenticate",
            "proxy-authentication-info",
            "proxy-authorization",
            "set-cookie",
            "content-digest",
            "content-encoding",
        ] {
            assert_eq!(freshen(&HeaderMap::new(), &fields(&[(name, "x")])), HeaderMap::new());
        }
        let answer = fields(&[("connection", "close, X-Hop"), ("x-hop", "1"), ("x-end", "1")]);
        assert_eq!(freshen(&HeaderMap::new(), &answer), fields(&[("x-end", "1")]));
    }

    #[test]
    fn what_a_directive_names_is_not_kept() {
        let control = "max-age=9, Private=\"x-user, x-b\", no-cache=\"x-c\"";
        let answer = fields(&[("cache-control", control), ("x-user", "7"), ("x-c", "1")]);
        let stored = fields(&[("x-user", "6"), ("x-d", "1")]);
        let expected = fields(&[("cache-control", control), ("x-d", "1")]);
        assert_eq!(freshen(&stored, &answer), expected);
    }

    #[test]
    fn age_and_date_are_of_the_latest_message() {
        let stored = fields(&[("age", "50"), ("date", MODIFIED), ("expires", LATER)]);
        let expires = ("expires", LATER);
        for (answer, expected) in [
            (&[][..], &[expires][..]),
            (&[("date", LATER)], &[("date", LATER), expires]),
            (&[("date", LATER), ("age", "3")], &[("date", LATER), ("age", "3"), expires]),
        ] {
            assert_eq!(freshen(&stored, &fields(answer)), fields(expected));
        }
    }

    fn lines() -> impl Strategy<Value = Vec<(String, String)>> {
        let name = prop_oneof![
            Just("x-a"),
            Just("x-b"),
            Just("link"),
            Just("etag"),
            Just("cache-control"),
            Just("connection"),
            Just("age"),
            Just("content-type"),
        ];
        let value = "[a-z0-9\", =]{0,12}";
        proptest::collection::vec((name.prop_map(str::to_owned), value), 0..12)
    }

    proptest! {
        #[test]
        fn freshening_loses_no_repeated_line(stored in lines(), answer in lines()) {
            let map = |lines: &[(String, String)]| {
                fields(&lines.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>())
            };
            let (stored, answer) = (map(&stored), map(&answer));
            let fresh = freshen(&stored, &answer);
            let (hop, mut unshared) = (listed(&answer, CONNECTION), not_shared(&answer));
            unshared.extend(targeted::effective(&fresh).excluded_fields().cloned());
            for name in stored.keys().chain(answer.keys()).filter(|n| **n != AGE) {
                if unshared.contains(name) {
                    prop_assert!(!fresh.contains_key(name));
                    continue;
                }
                let taken = answer.contains_key(name) && !is_kept(name) && !hop.contains(name);
                let source = if taken { &answer } else { &stored };
                prop_assert!(fresh.get_all(name).iter().eq(source.get_all(name).iter()));
            }
            let _ = (has_validator(&answer), conditional_fields(&answer));
            let _ = confirms(&stored, &answer);
        }
    }
}
