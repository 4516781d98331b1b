//! Has the client what we would send? Its own conditions, evaluated against the response that
//! answers it (RFC 9111 §4.3.2, RFC 9110 §13).
//!
//! | request | response | outcome |
//! |---|---|---|
//! | other than GET or HEAD, or neither condition | any | [`Precondition::None`] |
//! | any | other than 200 or 206 | [`Precondition::None`] |
//! | If-None-Match: `*`, or its list has our tag | 200, 206 | [`Precondition::NotModified`] |
//! | If-None-Match, otherwise | 200, 206 | [`Precondition::Modified`] |
//! | If-Modified-Since, no date | 200, 206 | [`Precondition::None`] |
//! | If-Modified-Since, a date | last modified by then | [`Precondition::NotModified`] |
//! | If-Modified-Since, a date | otherwise, or unknown | [`Precondition::Modified`] |
//!
//! If-Match and If-Unmodified-Since are for the origin alone, If-Range goes with Range
//! ([`super::range::if_range`]): none of them is looked at here.

use std::time::Duration;

use http::header::{
    CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, TRAILER,
    TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::fields::trim;
use super::lists::{date, opaque_tag, opaque_tags, single};
use super::query::is_query;

/// What a client's conditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// There is none to evaluate: the response goes out as it is.
    None,
    /// The client has it already: 304.
    NotModified,
    /// The client has something else: the response goes out as it is.
    Modified,
}

/// All that [`evaluate`] looks at in a response.
pub const VALIDATORS: [HeaderName; 3] = [ETAG, LAST_MODIFIED, DATE];

/// Evaluates a request's conditions against the response that would answer it.
pub fn evaluate(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
) -> Precondition {
    // RFC 9111 §4.3.2: conditions are evaluated where the request "can be satisfied by reusing a
    // stored 200 (OK) or 206 (Partial Content) response".
    let conditional = status == StatusCode::OK || status == StatusCode::PARTIAL_CONTENT;
    let reads = method == Method::GET || method == Method::HEAD;
    if !conditional || !(reads || is_query(method)) {
        return Precondition::None;
    }
    // RFC 9110 §13.2.2: If-Modified-Since counts only when If-None-Match is not present.
    if request.contains_key(IF_NONE_MATCH) {
        return if any_matches(request, response) {
            Precondition::NotModified
        } else {
            Precondition::Modified
        };
    }
    // RFC 9110 §13.1.3: it is ignored if "the request method is neither GET nor HEAD"; RFC 10008
    // §2.6 leaves conditions to RFC 9110.
    if reads && request.contains_key(IF_MODIFIED_SINCE) {
        return since(request, response);
    }
    Precondition::None
}

/// The fields of a 304 made from a response.
///
/// RFC 9110 §15.4.5: those "that would have been sent in a 200" among "Content-Location, Date,
/// ETag, and Vary", "Cache-Control and Expires" must be there, and "representation metadata other
/// than the above" should not: the client has it with its copy. What is no representation metadata
/// stays, since browsers decide by what the 304 says: Access-Control-Allow-Origin and its kin,
/// Content-Security-Policy, Link, Age.
pub fn not_modified_headers(response: &HeaderMap) -> HeaderMap {
    let tagged = response.contains_key(ETAG);
    let kept = response.iter().filter(|(name, _)| stays_in_not_modified(name.as_str(), tagged));
    let mut headers = HeaderMap::with_capacity(response.keys_len());
    for (name, value) in kept {
        headers.append(name, value.clone());
    }
    headers
}

/// Does a field of a response go into the 304 made from it? `tagged`: the response has an ETag.
pub fn stays_in_not_modified(name: &str, tagged: bool) -> bool {
    const DIGESTS: [&str; 4] = ["content-md5", "content-digest", "repr-digest", "digest"];
    // "Last-Modified might be useful if the response does not have an ETag field"
    let dated = tagged && LAST_MODIFIED == name;
    !dated && !REPRESENTATION.iter().any(|known| known == name) && !DIGESTS.contains(&name)
}

/// Describes or frames content, which a 304 does not have.
const REPRESENTATION: [HeaderName; 8] = [
    CONTENT_TYPE,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_DISPOSITION,
    TRANSFER_ENCODING,
    TRAILER,
];

/// Does If-None-Match name the response?
fn any_matches(request: &HeaderMap, response: &HeaderMap) -> bool {
    let lines = || request.get_all(IF_NONE_MATCH).iter().map(HeaderValue::as_bytes);
    names(lines, single(response, ETAG).map(HeaderValue::as_bytes))
}

/// Do the lines of an If-None-Match name a response whose only ETag is this, or that has none or
/// several?
pub fn names<'a, I>(lines: impl Fn() -> I, tag: Option<&[u8]>) -> bool
where
    I: Iterator<Item = &'a [u8]>,
{
    let mut first = lines();
    // RFC 9110 §13.1.2: "*" is false "if the origin server has a current representation"; it stands
    // alone or not at all.
    if let (Some(line), None) = (first.next(), first.next())
        && trim(line) == b"*"
    {
        return true;
    }
    // Octet by octet: an entity tag may have any of obs-text in it (RFC 9110 §8.8.3).
    let Some(ours) = tag.and_then(opaque_tag) else { return false };
    // RFC 9110 §13.1.2: "A recipient MUST use the weak comparison function": W/ does not count.
    lines().any(|line| opaque_tags(line).any(|theirs| theirs == ours))
}

/// RFC 9110 §13.1.3: false "if the selected representation's last modification date is earlier or
/// equal to the date provided". What is no date is ignored.
///
/// A date vouches for a second only once that second is over (RFC 9110 §8.8.2.2): a response that
/// was sent in the second in which it was modified may not be the last one of that second, and the
/// client's copy may be another. It is then sent in full.
fn since(request: &HeaderMap, response: &HeaderMap) -> Precondition {
    let sent = date(response, DATE, None);
    // RFC 9110 §13.1.3: "MUST interpret an If-Modified-Since field value's timestamp in terms of the
    // origin server's clock". "MUST ignore […] if the received field value is not a valid HTTP-date,
    // the field value has more than one member".
    let Some(since) = date(request, IF_MODIFIED_SINCE, sent) else {
        return Precondition::None;
    };
    let not_modified = match (date(response, LAST_MODIFIED, sent), sent) {
        (Some(modified), Some(sent)) => {
            modified <= since && sent.since(modified) >= Duration::from_secs(1)
        }
        (Some(modified), None) => modified <= since,
        // RFC 9111 §4.3.2: without Last-Modified, "SHOULD use the stored response's Date field value
        // (or, if no Date field is present, the time that the stored response was received)", which
        // every stored response has for its Date. Not in its own second, though: a client that asks
        // with the Date of its copy may have one from before a write in that second.
        (None, Some(sent)) => sent < since,
        (None, None) => false,
    };
    if not_modified { Precondition::NotModified } else { Precondition::Modified }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const SENT: &str = "Sun, 06 Nov 1994 08:49:59 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:50:00 GMT";

    fn fields(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn check(request: &[(&str, &str)], response: &[(&str, &str)], expected: Precondition) {
        let (request, response) = (fields(request), fields(response));
        for method in [Method::GET, Method::HEAD] {
            let outcome = evaluate(&method, &request, StatusCode::OK, &response);
            assert_eq!(outcome, expected, "{request:?} {response:?}");
        }
    }

    #[test]
    fn if_none_match_compares_tags_weakly() {
        use Precondition::{Modified, NotModified};
        for (asked, tag, expected) in [
            (r#""a""#, r#""a""#, NotModified),
            (r#"W/"a""#, r#""a""#, NotModified),
            (r#""a""#, r#"W/"a""#, NotModified),
            (r#""x", "a", "y""#, r#""a""#, NotModified),
            (r#""x,y" , W/"a""#, r#""a""#, NotModified),
            (r#""A""#, r#""a""#, Modified),
            (r#""x""#, r#""a""#, Modified),
            (r#"a"#, r#""a""#, Modified),
            (r#""a""#, r#"a"#, Modified),
            (r#"w/"a""#, r#""a""#, Modified),
            (r#""""#, r#""""#, NotModified),
            ("", r#""a""#, Modified),
            ("*", r#""a""#, NotModified),
            (r#"*, "x""#, r#""a""#, Modified),
        ] {
            check(&[("if-none-match", asked)], &[("etag", tag)], expected);
        }
        let two = [("if-none-match", "\"x\""), ("if-none-match", "\"a\"")];
        check(&two, &[("etag", "\"a\"")], NotModified);
        check(&[("if-none-match", "*")], &[], NotModified);
        check(&[("if-none-match", "\"a\"")], &[("last-modified", BEFORE)], Modified);
        // A response with two tags has none.
        check(&[("if-none-match", "\"a\"")], &[("etag", "\"a\""), ("etag", "\"a\"")], Modified);
        let twice = [("if-none-match", "*"), ("if-none-match", "*")];
        check(&twice, &[("etag", "\"a\"")], Modified);
    }

    #[test]
    fn tags_are_octets() {
        let tag = |bytes: &[u8]| HeaderValue::from_bytes(bytes).unwrap();
        let (ours, other) = (tag(b"\"\xfc\x80\xff\""), tag(b"\"\xfc\x81\xff\""));
        for (asked, expected) in [
            (ours.clone(), Precondition::NotModified),
            (tag(b"\"x\", W/\"\xfc\x80\xff\""), Precondition::NotModified),
            (other, Precondition::Modified),
            (tag(b"\xfc\x80\xff"), Precondition::Modified),
        ] {
            let request = HeaderMap::from_iter([(IF_NONE_MATCH, asked)]);
            let response = HeaderMap::from_iter([(ETAG, ours.clone())]);
            let outcome = evaluate(&Method::GET, &request, StatusCode::OK, &response);
            assert_eq!(outcome, expected, "{request:?}");
        }
    }

    #[test]
    fn a_date_of_the_last_century_is_read_by_the_clock_of_the_origin() {
        // Modified in 1994 by the year 2045: a pivot at 70 would agree, one at 1995 would not.
        let response = [
            ("date", "Mon, 06 Nov 2045 08:49:37 GMT"),
            ("last-modified", "Sun, 06 Nov 2044 08:49:37 GMT"),
        ];
        let since = |date| [("if-modified-since", date)];
        check(&since("Saturday, 06-Nov-94 08:49:37 GMT"), &response, Precondition::NotModified);
        check(&since("Tuesday, 06-Nov-96 08:49:37 GMT"), &response, Precondition::None);
        check(&since("Wednesday, 06-Nov-96 08:49:37 GMT"), &response, Precondition::Modified);
    }

    #[test]
    fn if_modified_since_compares_dates() {
        use Precondition::{Modified, None, NotModified};
        let (modified, sent) = (("last-modified", MODIFIED), ("date", SENT));
        for (asked, response, expected) in [
            (MODIFIED, &[modified, sent][..], NotModified),
            (AFTER, &[modified, sent], NotModified),
            (BEFORE, &[modified, sent], Modified),
            (MODIFIED, &[modified], NotModified),
            ("Sunday, 06-Nov-94 08:49:37 GMT", &[modified, sent], NotModified),
            ("Sun Nov  6 08:49:37 1994", &[modified, sent], NotModified),
            ("yesterday", &[modified, sent], None),
            ("", &[modified, sent], None),
            // Sent in the second in which it was modified.
            (MODIFIED, &[modified, ("date", MODIFIED)], Modified),
            (AFTER, &[modified, ("date", MODIFIED)], Modified),
            // No modification date: Date stands in.
            (AFTER, &[sent], NotModified),
            (SENT, &[sent], Modified),
            (MODIFIED, &[sent], Modified),
            (AFTER, &[("last-modified", "x"), sent], NotModified),
            (AFTER, &[], Modified),
        ] {
            check(&[("if-modified-since", asked)], response, expected);
        }
        let twice = [("if-modified-since", AFTER), ("if-modified-since", AFTER)];
        check(&twice, &[modified, sent], None);
    }

    #[test]
    fn if_none_match_takes_precedence() {
        let response = [("etag", "\"a\""), ("last-modified", MODIFIED), ("date", SENT)];
        let asked = [("if-none-match", "\"b\""), ("if-modified-since", AFTER)];
        check(&asked, &response, Precondition::Modified);
        let asked = [("if-none-match", "\"a\""), ("if-modified-since", BEFORE)];
        check(&asked, &response, Precondition::NotModified);
    }

    #[test]
    fn a_query_is_conditional_by_tag_and_not_by_date() {
        let query = Method::from_bytes(b"QUERY").unwrap();
        let response = fields(&[("etag", "\"a\""), ("last-modified", MODIFIED), ("date", SENT)]);
        for (request, expected) in [
            (&[("if-none-match", "\"a\"")][..], Precondition::NotModified),
            (&[("if-none-match", "*")], Precondition::NotModified),
            (&[("if-none-match", "\"b\"")], Precondition::Modified),
            (&[("if-modified-since", MODIFIED)], Precondition::None),
        ] {
            let outcome = evaluate(&query, &fields(request), StatusCode::OK, &response);
            assert_eq!(outcome, expected, "{request:?}");
        }
    }

    #[test]
    fn only_get_and_head_of_content_are_conditional() {
        let request = fields(&[("if-none-match", "\"a\"")]);
        let response = fields(&[("etag", "\"a\"")]);
        for (method, status) in
            [(Method::POST, 200), (Method::PUT, 200), (Method::GET, 404), (Method::GET, 301)]
        {
            let status = StatusCode::from_u16(status).unwrap();
            let outcome = evaluate(&method, &request, status, &response);
            assert_eq!(outcome, Precondition::None, "{method} {status}");
        }
        let part = evaluate(&Method::GET, &request, StatusCode::PARTIAL_CONTENT, &response);
        assert_eq!(part, Precondition::NotModified);
        check(&[("if-match", "\"a\""), ("range", "x")], &[("etag", "\"a\"")], Precondition::None);
    }

    #[test]
    fn a_304_carries_what_updates_a_copy_and_nothing_about_content() {
        let kept = [
            ("content-location", "/a"),
            ("date", SENT),
            ("etag", "\"a\""),
            ("vary", "accept"),
            ("vary", "origin"),
            ("cache-control", "max-age=1"),
            ("expires", AFTER),
            ("access-control-allow-origin", "*"),
            ("content-security-policy", "x"),
            ("age", "1"),
        ];
        let dropped = [
            ("content-type", "a/b"),
            ("content-length", "1"),
            ("content-encoding", "gzip"),
            ("content-language", "en"),
            ("content-range", "x"),
            ("repr-digest", "x"),
            ("last-modified", MODIFIED),
        ];
        let all: Vec<_> = kept.iter().chain(&dropped).copied().collect();
        assert_eq!(not_modified_headers(&fields(&all)), fields(&kept));
        let dated = fields(&[("last-modified", MODIFIED)]);
        assert_eq!(not_modified_headers(&dated), dated);
    }

    proptest! {
        #[test]
        fn a_tag_matches_itself_in_any_list(
            tag in "(W/)?\"[!#-~]{0,8}\"",
            others in proptest::collection::vec("(W/)?\"[!#-~]{0,4}\"|[a-z*]{0,3}", 0..4),
        ) {
            let list = [others.join(", "), tag.clone()].join(" , ");
            let request = fields(&[("if-none-match", &list)]);
            let response = fields(&[("etag", &tag)]);
            let outcome = evaluate(&Method::GET, &request, StatusCode::OK, &response);
            prop_assert_eq!(outcome, Precondition::NotModified);
        }

        #[test]
        fn nothing_a_client_sends_makes_it_panic(
            value in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE] {
                    let mut request = HeaderMap::new();
                    request.append(name, value.clone());
                    let response = fields(&[("etag", "\"a\""), ("last-modified", MODIFIED)]);
                    let _ = evaluate(&Method::GET, &request, StatusCode::OK, &response);
                }
            }
        }
    }
}
