//! If-Range: the part, if what the client has a part of is still the same; otherwise the whole
//! (RFC 9110 §13.1.5).
//!
//! | If-Range | the response | Range |
//! |---|---|---|
//! | absent | any | counts |
//! | a strong tag | has the same, strong | counts |
//! | a weak tag | any | does not |
//! | a date | has exactly this Last-Modified, and a Date that makes it strong | counts |
//! | anything else, or in several lines | any | does not |

use std::time::Duration;

use http::header::{DATE, ETAG, IF_RANGE, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue};

use super::super::fields::{EntityTag, trim};
use super::super::lists::{date, single};

/// Does the request's Range count, given the response that would answer it?
pub fn applies(request: &HeaderMap, response: &HeaderMap) -> bool {
    if !request.contains_key(IF_RANGE) {
        return true;
    }
    // "MUST ignore the Range header field if the If-Range condition evaluates to false."
    single(request, IF_RANGE).is_some_and(|condition| holds(condition, response))
}

fn holds(condition: &HeaderValue, response: &HeaderMap) -> bool {
    let condition = trim(condition.as_bytes());
    // "A valid entity-tag can be distinguished from a valid HTTP-date by examining the first three
    // characters for a DQUOTE."
    if condition.iter().take(3).any(|b| *b == b'"') {
        let ours = single(response, ETAG).and_then(|tag| EntityTag::parse(tag.as_bytes()));
        return match (EntityTag::parse(condition), ours) {
            // "using the strong comparison function"
            (Some(theirs), Some(ours)) => theirs.matches_strongly(&ours),
            _ => false,
        };
    }
    // "exactly matches the Last-Modified field value"
    let same = single(response, LAST_MODIFIED)
        .is_some_and(|modified| trim(modified.as_bytes()) == condition);
    same && is_strong(response)
}

/// RFC 9110 §8.8.2.2: a date is strong if Date is "at least one second after the Last-Modified
/// value"; without a Date nobody can say.
fn is_strong(response: &HeaderMap) -> bool {
    let Some(sent) = date(response, DATE, None) else { return false };
    let modified = date(response, LAST_MODIFIED, Some(sent));
    modified.is_some_and(|modified| sent.since(modified) >= Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_part_is_for_who_has_the_rest_of_the_same() {
        let (modified, sent) = (("last-modified", MODIFIED), ("date", LATER));
        type Lines<'a> = &'a [(&'static str, &'a str)];
        let rows: &[(&[&str], Lines<'_>, bool)] = &[
            (&[], &[], true),
            (&["\"a\""], &[("etag", "\"a\"")], true),
            (&[" \"a\" "], &[("etag", "\"a\"")], true),
            (&["\"a\""], &[("etag", "\"b\"")], false),
            (&["\"a\""], &[("etag", "W/\"a\"")], false),
            (&["W/\"a\""], &[("etag", "W/\"a\"")], false),
            (&["W/\"a\""], &[("etag", "\"a\"")], false),
            (&["\"a\""], &[], false),
            (&["\"a\""], &[("etag", "\"a\""), ("etag", "\"a\"")], false),
            (&["\"a\", \"b\""], &[("etag", "\"a\"")], false),
            (&["\"a\"", "\"a\""], &[("etag", "\"a\"")], false),
            (&["*"], &[("etag", "\"a\""), modified, sent], false),
            (&[""], &[("etag", "\"a\""), modified, sent], false),
            (&[MODIFIED], &[modified, sent], true),
            (&[LATER], &[modified, sent], false),
            (&["Sunday, 06-Nov-94 08:49:37 GMT"], &[modified, sent], false),
            (&[MODIFIED], &[modified], false),
            (&[MODIFIED], &[modified, ("date", MODIFIED)], false),
            (&[LATER], &[("last-modified", LATER), ("date", MODIFIED)], false),
            (&["x"], &[("last-modified", "x"), sent], false),
            (&[MODIFIED], &[("etag", "\"a\"")], false),
        ];
        for (conditions, response, expected) in rows {
            let lines: Vec<_> = conditions.iter().map(|c| ("if-range", *c)).collect();
            let said = applies(&fields(&lines), &fields(response));
            assert_eq!(said, *expected, "{conditions:?} of {response:?}");
        }
    }
}
