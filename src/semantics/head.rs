//! What an answer to HEAD tells of the stored answer to GET (RFC 9111 §4.3.5).
//!
//! | the answer to HEAD | stored status | effect |
//! |---|---|---|
//! | 200; an ETag, a Last-Modified or a Content-Length that is not the stored one's | 200 | [`HeadEffect::Stale`] |
//! | 200; a validator, and all that it has match | 200 | [`HeadEffect::Renew`] |
//! | 200; no validator, or none that vouches for anything | 200 | [`HeadEffect::Nothing`] |
//! | 200 | another | [`HeadEffect::Stale`] |
//! | 404, 410, or a redirect | the same | [`HeadEffect::Nothing`] |
//! | 404, 410, or a redirect | another | [`HeadEffect::Stale`] |
//! | anything else | any | [`HeadEffect::Nothing`] |
//!
//! Two departures from the letter of §4.3.5:
//! - Without any validator it "SHOULD update the stored response". It is left as it is: it would
//!   stay fresh for another lifetime on the word of an answer that says nothing of its content, and
//!   may have changed since. The length alone proves nothing either: a counter keeps its length.
//! - It speaks of 200 only. "A response to the HEAD method is identical to what an equivalent
//!   request made with a GET would have been": if that is "not found" or "elsewhere", the stored
//!   content is not what a GET would get. Other statuses tell of the request (401, 405, 429), of the
//!   client's own copy (304, 412), or of the moment (5xx).

use http::header::{CONTENT_LENGTH, DATE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, StatusCode};

use super::fields::trim;
use super::lists::date;
use super::stored::StoredResponse;
use super::validation::{entity_tag, last_modified};

/// What becomes of the stored answer to GET that the request could have been answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadEffect {
    /// It still stands: its fields and times are updated as by a 304 (§3.2).
    Renew,
    /// A GET would get something else by now: it is stale.
    Stale,
    /// Nothing is known of it that was not known before.
    Nothing,
}

/// What does an answer to HEAD with this status and these fields tell of the stored response?
pub fn effect(stored: &StoredResponse, status: StatusCode, head: &HeaderMap) -> HeadEffect {
    let same_status = status == stored.status;
    if status == StatusCode::OK && same_status {
        return compare(stored, head);
    }
    if same_status || !(status == StatusCode::OK || is_about_the_resource(status)) {
        return HeadEffect::Nothing;
    }
    HeadEffect::Stale
}

/// Would a GET have got this status whoever asked, and however often?
const fn is_about_the_resource(status: StatusCode) -> bool {
    matches!(status.as_u16(), 300..=303 | 307 | 308 | 404 | 410)
}

/// §4.3.5: "if the stored response and HEAD response have matching values for any received validator
/// fields (ETag and Last-Modified) and, if the HEAD response has a Content-Length header field, the
/// value of Content-Length matches that of the stored response, the cache SHOULD update the stored
/// response […]; otherwise, the cache SHOULD consider the stored response to be stale."
fn compare(stored: &StoredResponse, head: &HeaderMap) -> HeadEffect {
    if !has_length(head, stored.body.len()) {
        return HeadEffect::Stale;
    }
    match (entity_tags(stored, head), modified(stored, head)) {
        (Match::Differs, _) | (_, Match::Differs) => HeadEffect::Stale,
        (Match::Proven, _) | (_, Match::Proven) => HeadEffect::Renew,
        (Match::Unproven, Match::Unproven) => HeadEffect::Nothing,
    }
}

/// What comparing one validator comes to.
#[derive(Clone, Copy)]
enum Match {
    /// It was received, and is not the stored one.
    Differs,
    /// It was received, is the stored one, and vouches for the content.
    Proven,
    /// It was not received, or vouches for nothing.
    Unproven,
}

/// Compared as they came: a strong tag matches by RFC 9110 §8.8.3.2's strong comparison, a weak one
/// only the same weak one. A tag that is weak here and strong there is not the same value.
fn entity_tags(stored: &StoredResponse, head: &HeaderMap) -> Match {
    if !head.contains_key(ETAG) {
        return Match::Unproven;
    }
    if !same_lines(&stored.headers, head, ETAG) {
        return Match::Differs;
    }
    if entity_tag(head).is_some() { Match::Proven } else { Match::Unproven }
}

fn modified(stored: &StoredResponse, head: &HeaderMap) -> Match {
    if !head.contains_key(LAST_MODIFIED) {
        return Match::Unproven;
    }
    let dated = |fields| date(fields, LAST_MODIFIED, date(fields, DATE, None));
    let dates = (dated(&stored.headers), dated(head));
    let same = match dates {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => same_lines(&stored.headers, head, LAST_MODIFIED),
    };
    if !same {
        return Match::Differs;
    }
    // RFC 9110 §8.8.2.2: not if the stored response was sent in the second it was modified in.
    if last_modified(&stored.headers).is_some() { Match::Proven } else { Match::Unproven }
}

fn same_lines(stored: &HeaderMap, head: &HeaderMap, name: HeaderName) -> bool {
    stored.get_all(&name).iter().eq(head.get_all(&name).iter())
}

/// True without a Content-Length; what cannot be read is no length of ours.
fn has_length(head: &HeaderMap, length: usize) -> bool {
    head.get_all(CONTENT_LENGTH).iter().all(|line| {
        let text = std::str::from_utf8(trim(line.as_bytes())).ok();
        text.and_then(|text| text.parse::<usize>().ok()) == Some(length)
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::semantics::stored::Times;
    use crate::semantics::time::Timestamp;

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    type Lines<'a> = &'a [(&'static str, &'a str)];

    fn fields(lines: Lines<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    /// Its content is five bytes long.
    fn stored(status: u16, lines: Lines<'_>) -> StoredResponse {
        StoredResponse {
            status: StatusCode::from_u16(status).unwrap(),
            headers: fields(lines),
            body: "hello".into(),
            times: Times::none(Timestamp::from_millis(0)),
        }
    }

    fn told(stored: &StoredResponse, status: u16, lines: Lines<'_>) -> HeadEffect {
        effect(stored, StatusCode::from_u16(status).unwrap(), &fields(lines))
    }

    #[test]
    fn validators_and_length_decide_on_a_200() {
        use HeadEffect::{Nothing, Renew, Stale};
        let tag = ("etag", "\"a\"");
        let weak = ("etag", "W/\"a\"");
        let date = ("last-modified", MODIFIED);
        let sent = ("date", LATER);
        let rows: [(Lines<'_>, Lines<'_>, HeadEffect); 28] = [
            (&[], &[], Nothing),
            (&[], &[("content-length", "5")], Nothing),
            (&[], &[("content-length", "6")], Stale),
            (&[], &[("content-length", "5"), ("content-length", "6")], Stale),
            (&[], &[("content-length", "five")], Stale),
            (&[tag], &[], Nothing),
            (&[tag], &[("content-length", "5")], Nothing),
            (&[tag], &[tag], Renew),
            (&[tag], &[tag, ("content-length", "5")], Renew),
            (&[tag], &[tag, ("content-length", "6")], Stale),
            (&[tag], &[("etag", "\"b\"")], Stale),
            (&[], &[tag], Stale),
            (&[weak], &[weak], Renew),
            (&[weak], &[tag], Stale),
            (&[tag], &[weak], Stale),
            (&[("etag", "a")], &[("etag", "a")], Nothing),
            (&[("etag", "a")], &[("etag", "b")], Stale),
            (&[tag, ("etag", "\"b\"")], &[tag, ("etag", "\"b\"")], Nothing),
            (&[date, sent], &[date], Renew),
            (&[date, sent], &[("last-modified", "Sunday, 06-Nov-94 08:49:37 GMT")], Renew),
            (&[date, sent], &[("last-modified", LATER)], Stale),
            (&[sent], &[date], Stale),
            (&[date, ("date", MODIFIED)], &[date], Nothing),
            (&[("last-modified", "x")], &[("last-modified", "x")], Nothing),
            (&[("last-modified", "x")], &[("last-modified", "y")], Stale),
            (&[tag, date, sent], &[tag, date], Renew),
            (&[tag, date, sent], &[tag, ("last-modified", LATER)], Stale),
            (&[tag, date, sent], &[("etag", "\"b\""), date], Stale),
        ];
        for (ours, theirs, expected) in rows {
            assert_eq!(told(&stored(200, ours), 200, theirs), expected, "{ours:?} {theirs:?}");
        }
    }

    #[test]
    fn another_status_tells_of_the_resource_or_of_nothing() {
        use HeadEffect::{Nothing, Stale};
        let tag: Lines<'_> = &[("etag", "\"a\"")];
        for (ours, theirs, expected) in [
            (200, 404, Stale),
            (200, 410, Stale),
            (200, 301, Stale),
            (200, 302, Stale),
            (200, 308, Stale),
            (404, 200, Stale),
            (301, 200, Stale),
            (404, 410, Stale),
            (404, 404, Nothing),
            (301, 301, Nothing),
            (200, 204, Nothing),
            (200, 206, Nothing),
            (200, 304, Nothing),
            (200, 400, Nothing),
            (200, 401, Nothing),
            (200, 403, Nothing),
            (200, 405, Nothing),
            (200, 412, Nothing),
            (200, 429, Nothing),
            (200, 500, Nothing),
            (200, 501, Nothing),
            (200, 503, Nothing),
            (404, 503, Nothing),
        ] {
            assert_eq!(told(&stored(ours, tag), theirs, tag), expected, "{ours} {theirs}");
        }
    }

    fn validators() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
        let tags = prop_oneof![Just("\"a\""), Just("\"b\""), Just("W/\"a\""), Just("a")];
        let dates = prop_oneof![Just(MODIFIED), Just(LATER), Just("never")];
        let lengths = prop_oneof![Just("5"), Just("6"), Just("x")];
        proptest::collection::vec(
            prop_oneof![
                tags.prop_map(|tag| ("etag", tag)),
                dates.clone().prop_map(|date| ("last-modified", date)),
                dates.prop_map(|date| ("date", date)),
                lengths.prop_map(|length| ("content-length", length)),
            ],
            0..5,
        )
    }

    proptest! {
        #[test]
        fn it_is_renewed_only_by_a_200_that_has_a_validator_and_none_that_differs(
            ours in validators(), theirs in validators(), status in 200_u16..600,
        ) {
            let stored = stored(200, &ours);
            let head = fields(&theirs);
            let effect = effect(&stored, StatusCode::from_u16(status).unwrap(), &head);
            if effect == HeadEffect::Renew {
                prop_assert_eq!(status, 200);
                let received = [ETAG, LAST_MODIFIED].map(|name| head.contains_key(name));
                prop_assert!(received.contains(&true));
                if head.contains_key(ETAG) {
                    prop_assert!(same_lines(&stored.headers, &head, ETAG));
                }
                let dates = [&stored.headers, &head].map(|h| date(h, LAST_MODIFIED, None));
                prop_assert!(!head.contains_key(LAST_MODIFIED) || dates[0] == dates[1]);
                prop_assert!(head.get_all(CONTENT_LENGTH).iter().all(|l| l == "5"));
            }
        }

        #[test]
        fn what_differs_makes_it_stale_whatever_else_matches(ours in validators()) {
            for odd in [("etag", "\"odd\""), ("last-modified", "odd"), ("content-length", "9")] {
                let mut theirs = ours.clone();
                theirs.push(odd);
                prop_assert_eq!(told(&stored(200, &ours), 200, &theirs), HeadEffect::Stale);
            }
        }
    }
}
