//! May this response be stored (RFC 9111 §3)?
//!
//! | asked in this order | no, because |
//! |---|---|
//! | a method whose responses are kept | [`NotStorable::MethodNotCacheable`] |
//! | a final status, complete, and one we know what to do with | [`NotStorable::StatusNotFinal`], [`NotStorable::PartialContent`], [`NotStorable::StatusNotUnderstood`] |
//! | nobody said `no-store` | [`NotStorable::NoStore`], [`NotStorable::RequestNoStore`] |
//! | not for one person only | [`NotStorable::Private`] |
//! | everything that was said could be read | [`NotStorable::Malformed`] |
//! | credentials, and leave to share | [`NotStorable::Authorization`] |
//! | it sets no cookie, or the route knows what to do with it | [`NotStorable::SetCookie`] |
//! | what it varies on can be told apart | [`NotStorable::VaryStar`], [`NotStorable::VaryOnCredentials`] |
//! | somebody says for how long | [`NotStorable::NoFreshness`] |

use http::header::{AUTHORIZATION, CACHE_CONTROL, CONNECTION, COOKIE, EXPIRES, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::cache_control::CacheControl;
use super::fields::{is_needed_for_reuse, names};
use super::query::is_query;
use super::validation::has_validator;

/// Why a response may not be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotStorable {
    /// Responses to this method are not kept.
    MethodNotCacheable,
    /// 1xx: more is to come.
    StatusNotFinal,
    /// A status with rules of its own that are not implemented, under `must-understand`; or a 304,
    /// which renews a stored response and is none itself.
    StatusNotUnderstood,
    /// Part of a representation.
    PartialContent,
    /// The response says `no-store`.
    NoStore,
    /// The request says `no-store`.
    RequestNoStore,
    /// The response is for one person.
    Private,
    /// The request carried `Authorization`, and the response does not say that it may be shared.
    Authorization,
    /// The response sets a cookie, and the route does not say what becomes of that.
    SetCookie,
    /// It varies on more than the request.
    VaryStar,
    /// It varies on credentials that are not in the key.
    VaryOnCredentials,
    /// Neither the origin nor the route says for how long.
    NoFreshness,
    /// What it says about its storing cannot be read.
    Malformed,
}

impl NotStorable {
    /// The word for it in logs, metrics and `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MethodNotCacheable => "method-not-cacheable",
            Self::StatusNotFinal => "status-not-final",
            Self::StatusNotUnderstood => "status-not-understood",
            Self::PartialContent => "partial-content",
            Self::NoStore => "no-store",
            Self::RequestNoStore => "request-no-store",
            Self::Private => "private",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::VaryStar => "vary-star",
            Self::VaryOnCredentials => "vary-on-credentials",
            Self::NoFreshness => "no-freshness",
            Self::Malformed => "malformed",
        }
    }
}

/// What the route adds to what the messages say. None of it lifts a prohibition of §3.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowance<'a> {
    /// There is a lifetime for responses of this status that come without one: the route's, or a
    /// guess (§4.2.2).
    pub ttl: bool,
    /// Request fields that are part of the key: what varies with them is told apart.
    pub keyed: &'a [HeaderName],
    /// The route's lifetime replaces the origin's. Then a directive that permits sharing only as
    /// long as its own lifetime is kept to (§3.5) permits nothing.
    pub override_origin: bool,
    /// The route takes cookies out of what it stores, or stores them knowingly.
    pub cookies: bool,
    /// The caller keeps parts as parts (§3.3), and knows where they belong.
    pub parts: bool,
}

/// May the response be stored? `control` is what [`super::targeted::effective`] makes of it;
/// `response_headers` are those received, hop-by-hop fields included.
///
/// # Errors
///
/// The first reason against it, in the order of the table above.
pub fn storable(
    method: &Method,
    request_headers: &HeaderMap,
    status: StatusCode,
    response_headers: &HeaderMap,
    control: &CacheControl,
    allowance: Allowance<'_>,
) -> Result<(), NotStorable> {
    // §3: the request method is understood by the cache. HEAD is answered from what GET stored.
    // RFC 10008 §2.7: "The response to a QUERY method is cacheable".
    let understood = *method == Method::GET || is_query(method);
    refuse_if(!understood, NotStorable::MethodNotCacheable)?;
    // §3: the response status code is final.
    refuse_if(status.is_informational(), NotStorable::StatusNotFinal)?;
    // §3: if it is 206 or 304, or must-understand is present: the cache understands it. §3.3: "MUST
    // NOT store incomplete or partial-content responses if it does not support" ranges. The status
    // alone says that content is partial: RFC 9110 §14.4 defines Content-Range for 206 and 416, and
    // on any other status it is a field like another.
    let partial = status == StatusCode::PARTIAL_CONTENT;
    refuse_if(partial && !allowance.parts, NotStorable::PartialContent)?;
    refuse_if(
        status == StatusCode::NOT_MODIFIED || (control.must_understand && !is_understood(status)),
        NotStorable::StatusNotUnderstood,
    )?;
    // §3: the no-store directive is not present in the response; §5.2.2.3: ignored beside a
    // must-understand that is heeded.
    refuse_if(control.no_store && !control.must_understand, NotStorable::NoStore)?;
    // §5.2.1.5: "MUST NOT store any part of either this request or any response to it".
    let asked = CacheControl::parse(request_headers.get_all(CACHE_CONTROL).iter());
    refuse_if(asked.no_store, NotStorable::RequestNoStore)?;
    // §3: the private directive is not present, or allows to store a modified response.
    refuse_if(control.is_private(), NotStorable::Private)?;
    // Not in §3: a prohibition may stand in what could not be read.
    refuse_if(control.malformed || hides_policy(response_headers), NotStorable::Malformed)?;
    // §3: Authorization is not present in the request, or the response explicitly allows sharing.
    let credentials = request_headers.contains_key(AUTHORIZATION);
    refuse_if(
        credentials && !may_share(control, allowance) && !allowance.keyed.contains(&AUTHORIZATION),
        NotStorable::Authorization,
    )?;
    // Not in §3: §7.3 notes that Set-Cookie "does not inhibit caching" and leaves it to the origin
    // to say so. Few do, and a cookie set for one is not for all.
    refuse_if(sets_cookie(response_headers) && !allowance.cookies, NotStorable::SetCookie)?;
    telling_apart(response_headers, allowance)?;
    // §3: at least one of … The last of them, "a status code that is defined as heuristically
    // cacheable", and `public` suffice only with a lifetime to go by: for nothing stored without
    // one would ever be served unasked. But where the origin wants to be asked each time and says
    // what to ask with, a 304 costs it less than the response (§5.2.2.4).
    let asked_each_time = control.is_no_cache() && has_validator(response_headers);
    let stays = has_explicit_freshness(control, response_headers)
        || ((allowance.ttl || asked_each_time)
            && (control.public || is_heuristically_cacheable(status)));
    refuse_if(!stays, NotStorable::NoFreshness)
}

/// Does the response set a cookie (RFC 6265 §4.1)? Set-Cookie2 of RFC 2965 is a field like another:
/// whoever still sends it sends Set-Cookie too (§9.1 there), and next to nobody reads it.
pub fn sets_cookie(headers: &HeaderMap) -> bool {
    headers.contains_key(SET_COOKIE)
}

/// May a response of this status be given a lifetime that the origin did not (RFC 9110 §15.1)?
pub fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Did the server fail? RFC 9110 §15: "A client that receives a response with an invalid status code
/// SHOULD process the response as if it had a 5xx (Server Error) status code."
pub fn is_server_error(status: StatusCode) -> bool {
    status.as_u16() >= 500
}

fn refuse_if(refused: bool, why: NotStorable) -> Result<(), NotStorable> {
    if refused { Err(why) } else { Ok(()) }
}

/// The statuses of RFC 9110 §15 that have no rules for caches beyond the common ones.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=205 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

/// RFC 9110 §7.6.1: "Cache-Control is never appropriate as a connection option". A response that
/// lists such a field in `Connection` is passed on without it, and would be stored without it.
pub fn hides_policy(headers: &HeaderMap) -> bool {
    names(headers.get_all(CONNECTION).iter())
        .any(|option| option.is_ok_and(|name| is_needed_for_reuse(&name)))
}

/// §3.5: must-revalidate, public and s-maxage allow sharing, if "the cache conforms to the
/// requirements of that directive". With the route's lifetime in place of the origin's, only
/// `public` has none left to conform to.
const fn may_share(control: &CacheControl, allowance: Allowance<'_>) -> bool {
    control.public
        || (!allowance.override_origin && (control.must_revalidate || control.s_maxage.is_some()))
}

/// §4.1: `Vary: *` never matches again. Variants per cookie or credential that the key does not
/// tell apart would each serve one client.
fn telling_apart(headers: &HeaderMap, allowance: Allowance<'_>) -> Result<(), NotStorable> {
    for name in names(headers.get_all(VARY).iter()) {
        let name = name.map_err(|_| NotStorable::Malformed)?;
        refuse_if(name.as_str() == "*", NotStorable::VaryStar)?;
        let credential = name == COOKIE || name == AUTHORIZATION;
        refuse_if(credential && !allowance.keyed.contains(&name), NotStorable::VaryOnCredentials)?;
    }
    Ok(())
}

/// §3: an Expires field, or a max-age or s-maxage directive. RFC 9213 §2.2: no Expires beside a
/// targeted field.
fn has_explicit_freshness(control: &CacheControl, headers: &HeaderMap) -> bool {
    control.s_maxage.is_some()
        || control.max_age.is_some()
        || (!control.targeted && headers.contains_key(EXPIRES))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::super::targeted::effective;
    use super::*;

    type Fields<'a> = &'a [(&'static str, &'a str)];

    fn map(fields: Fields<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn check(
        method: &Method,
        request: Fields<'_>,
        status: u16,
        response: Fields<'_>,
        allowance: Allowance<'_>,
    ) -> Result<(), NotStorable> {
        let (request, response) = (map(request), map(response));
        let status = StatusCode::from_u16(status).unwrap();
        storable(method, &request, status, &response, &effective(&response), allowance)
    }

    /// By the RFC alone.
    fn get(request: Fields<'_>, status: u16, response: Fields<'_>) -> Result<(), NotStorable> {
        check(&Method::GET, request, status, response, Allowance::default())
    }

    const TTL: Allowance<'_> =
        Allowance { ttl: true, keyed: &[], override_origin: false, cookies: false, parts: false };
    const OVERRIDE: Allowance<'_> = Allowance { override_origin: true, ..TTL };
    const FRESH: (&str, &str) = ("cache-control", "max-age=60");

    #[test]
    fn only_get_and_query_are_stored() {
        assert_eq!(get(&[], 200, &[FRESH]), Ok(()));
        let query = Method::from_bytes(b"QUERY").unwrap();
        assert_eq!(check(&query, &[], 200, &[FRESH], Allowance::default()), Ok(()));
        for method in ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "query", "get", "X"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let said = check(&method, &[], 200, &[FRESH], OVERRIDE);
            assert_eq!(said, Err(NotStorable::MethodNotCacheable), "{method}");
        }
    }

    #[test]
    fn statuses_are_stored_when_final_complete_and_fresh() {
        for status in [200, 203, 204, 299, 301, 302, 307, 404, 410, 418, 500, 503, 599, 999] {
            assert_eq!(get(&[], status, &[FRESH]), Ok(()), "{status}");
        }
        for status in [100, 101, 103, 199] {
            assert_eq!(get(&[], status, &[FRESH]), Err(NotStorable::StatusNotFinal), "{status}");
        }
        assert_eq!(get(&[], 206, &[FRESH]), Err(NotStorable::PartialContent));
        let ranged = [FRESH, ("content-range", "bytes 0-1/2")];
        assert_eq!(get(&[], 206, &ranged), Err(NotStorable::PartialContent));
        for status in [200, 203, 404, 416, 500] {
            assert_eq!(get(&[], status, &ranged), Ok(()), "a stray Content-Range on {status}");
        }
        assert_eq!(get(&[], 304, &[FRESH]), Err(NotStorable::StatusNotUnderstood));
    }

    #[test]
    fn a_part_is_stored_only_by_who_keeps_it_as_a_part() {
        let parts = Allowance { parts: true, ..Allowance::default() };
        let part = [FRESH, ("content-range", "bytes 0-1/2")];
        let keeps =
            |status, response, allowance| check(&Method::GET, &[], status, response, allowance);
        assert_eq!(keeps(206, &part, parts), Ok(()));
        assert_eq!(keeps(206, &part, TTL), Err(NotStorable::PartialContent));
        // RFC 9110 §15.3.7: "A 206 response is heuristically cacheable".
        let silent = [("content-range", "bytes 0-1/2")];
        assert_eq!(keeps(206, &silent, parts), Err(NotStorable::NoFreshness));
        assert_eq!(keeps(206, &silent, Allowance { parts: true, ..TTL }), Ok(()));
        let private = [("cache-control", "private"), ("content-range", "bytes 0-1/2")];
        assert_eq!(keeps(206, &private, parts), Err(NotStorable::Private));
    }

    #[test]
    fn must_understand_lifts_no_store_for_statuses_that_are_understood() {
        let said = [("cache-control", "must-understand, no-store, max-age=60")];
        assert_eq!(get(&[], 200, &said), Ok(()));
        assert_eq!(get(&[], 404, &said), Ok(()));
        for status in [299, 418, 451, 599] {
            assert_eq!(get(&[], status, &said), Err(NotStorable::StatusNotUnderstood), "{status}");
        }
        let plain = [("cache-control", "must-understand=1, no-store, max-age=60")];
        assert_eq!(get(&[], 200, &plain), Err(NotStorable::NoStore));
    }

    #[test]
    fn what_is_to_be_asked_about_each_time_is_stored_if_there_is_something_to_ask_with() {
        let (asked, tag) = (("cache-control", "no-cache"), ("etag", "\"1\""));
        let said = ("cache-control", "private=\"x\", no-cache");
        for (status, response, expected) in [
            (200, &[asked, tag][..], Ok(())),
            (404, &[asked, tag], Ok(())),
            (200, &[said, tag], Ok(())),
            (200, &[asked], Err(NotStorable::NoFreshness)),
            (200, &[tag], Err(NotStorable::NoFreshness)),
            (202, &[asked, tag], Err(NotStorable::NoFreshness)),
            (200, &[asked, ("etag", "1")], Err(NotStorable::NoFreshness)),
            (200, &[("cache-control", "no-cache=\"x\""), tag], Err(NotStorable::NoFreshness)),
        ] {
            assert_eq!(get(&[], status, response), expected, "{status} {response:?}");
        }
    }

    #[test]
    fn a_request_may_forbid_storing() {
        for said in ["no-store", "No-Store", "max-age=0, NO-STORE", "x;no-store", "\u{fc} no-store"]
        {
            let said = check(&Method::GET, &[("cache-control", said)], 200, &[FRESH], OVERRIDE);
            assert_eq!(said, Err(NotStorable::RequestNoStore));
        }
        assert_eq!(get(&[("cache-control", "no-cache, private")], 200, &[FRESH]), Ok(()));
    }

    #[test]
    fn a_response_to_credentials_is_shared_only_when_it_says_so() {
        let request = [("authorization", "Basic eDp5")];
        let refused = Err(NotStorable::Authorization);
        for (said, plain, overridden) in [
            ("max-age=60", refused, refused),
            ("max-age=60, public", Ok(()), Ok(())),
            ("max-age=60, public=1", refused, refused),
            ("s-maxage=60", Ok(()), refused),
            ("max-age=60, must-revalidate", Ok(()), refused),
            ("max-age=60, proxy-revalidate", refused, refused),
            ("max-age=60, no-cache", refused, refused),
        ] {
            let response = [("cache-control", said)];
            assert_eq!(check(&Method::GET, &request, 200, &response, TTL), plain, "{said}");
            let verdict = check(&Method::GET, &request, 200, &response, OVERRIDE);
            assert_eq!(verdict, overridden, "{said}");
            let keyed = Allowance { keyed: &[AUTHORIZATION], ..OVERRIDE };
            assert_eq!(check(&Method::GET, &request, 200, &response, keyed), Ok(()), "{said}");
        }
    }

    #[test]
    fn a_response_that_sets_a_cookie_is_stored_only_where_the_route_says_so() {
        let knowing = Allowance { cookies: true, ..OVERRIDE };
        for said in ["public, max-age=60", "max-age=60, private=\"set-cookie\"", "s-maxage=60"] {
            let response = [("cache-control", said), ("set-cookie", "a=b")];
            let verdict = check(&Method::GET, &[], 200, &response, OVERRIDE);
            assert_eq!(verdict, Err(NotStorable::SetCookie), "{said}");
            assert_eq!(check(&Method::GET, &[], 200, &response, knowing), Ok(()), "{said}");
        }
        for (said, why) in [("private", NotStorable::Private), ("no-store", NotStorable::NoStore)] {
            let response = [("cache-control", said), ("set-cookie", "a=b")];
            let verdict = check(&Method::GET, &[], 200, &response, knowing);
            assert_eq!(verdict, Err(why), "no route lifts {said}");
        }
        let credentials = [("authorization", "Basic eDp5")];
        let verdict =
            check(&Method::GET, &credentials, 200, &[FRESH, ("set-cookie", "a=b")], knowing);
        assert_eq!(verdict, Err(NotStorable::Authorization));
    }

    #[test]
    fn what_it_varies_on_must_be_told_apart() {
        let star = Err(NotStorable::VaryStar);
        let credentials = Err(NotStorable::VaryOnCredentials);
        let rows: &[(&[&str], Result<(), NotStorable>)] = &[
            (&["accept"], Ok(())),
            (&["accept", "Accept-Encoding, , Accept-Language"], Ok(())),
            (&["*"], star),
            (&["accept, *"], star),
            (&["accept", " * "], star),
            (&["Cookie"], credentials),
            (&["accept", "COOKIE"], credentials),
            (&["authorization"], credentials),
            (&["\"*\""], Err(NotStorable::Malformed)),
            (&["accept encoding"], Err(NotStorable::Malformed)),
        ];
        for (lines, expected) in rows {
            let mut response = vec![FRESH];
            response.extend(lines.iter().map(|line| ("vary", *line)));
            let verdict = check(&Method::GET, &[], 200, &response, OVERRIDE);
            assert_eq!(verdict, *expected, "{lines:?}");
        }
        let keyed = Allowance { keyed: &[COOKIE, AUTHORIZATION], ..TTL };
        let response = [FRESH, ("vary", "cookie, Authorization")];
        assert_eq!(check(&Method::GET, &[], 200, &response, keyed), Ok(()));
        let response = [FRESH, ("vary", "cookie, *")];
        assert_eq!(check(&Method::GET, &[], 200, &response, keyed), star);
    }

    #[test]
    fn somebody_has_to_say_for_how_long() {
        let none = Err(NotStorable::NoFreshness);
        type Verdict = Result<(), NotStorable>;
        let rows: &[(u16, Fields<'_>, Verdict, Verdict)] = &[
            (200, &[], none, Ok(())),
            (200, &[("cache-control", "public")], none, Ok(())),
            (200, &[("cache-control", "no-cache")], none, Ok(())),
            (200, &[("cache-control", "max-age=0")], Ok(()), Ok(())),
            (200, &[("cache-control", "s-maxage=x")], Ok(()), Ok(())),
            (200, &[("expires", "0")], Ok(()), Ok(())),
            (200, &[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")], none, Ok(())),
            (200, &[("cdn-cache-control", "none"), ("expires", "0")], none, Ok(())),
            (200, &[("cdn-cache-control", "none"), FRESH], none, Ok(())),
            (404, &[], none, Ok(())),
            (501, &[], none, Ok(())),
            (302, &[], none, none),
            (302, &[("cache-control", "public")], none, Ok(())),
            (403, &[], none, none),
            (500, &[], none, none),
            (503, &[], none, none),
            (503, &[FRESH], Ok(()), Ok(())),
        ];
        for (status, response, alone, with_ttl) in rows {
            assert_eq!(get(&[], *status, response), *alone, "{status} {response:?}");
            let verdict = check(&Method::GET, &[], *status, response, TTL);
            assert_eq!(verdict, *with_ttl, "{status} {response:?} with a TTL");
        }
    }

    #[test]
    fn policy_hidden_by_connection_is_not_stored() {
        for option in ["vary", "Cache-Control", "close, set-cookie", "\"x, age"] {
            let response = [FRESH, ("connection", option)];
            let verdict = check(&Method::GET, &[], 200, &response, OVERRIDE);
            assert_eq!(verdict, Err(NotStorable::Malformed), "{option}");
        }
        assert_eq!(get(&[], 200, &[FRESH, ("connection", "close, x-a")]), Ok(()));
    }

    /// One directive in every case and every company that we could think of.
    fn spellings(word: &str) -> Vec<Vec<String>> {
        let title: String = word
            .split('-')
            .map(|part| part[..1].to_uppercase() + &part[1..])
            .collect::<Vec<_>>()
            .join("-");
        let odd: String = word
            .chars()
            .enumerate()
            .map(|(i, c)| if i % 2 == 0 { c.to_ascii_uppercase() } else { c })
            .collect();
        let mut all = Vec::new();
        for word in [word.to_owned(), word.to_uppercase(), title, odd] {
            for form in FORMS {
                let line = form.replace("{}", &word);
                all.push(line.split('\n').map(str::to_owned).collect());
            }
            all.push(vec![format!("{}{word}", "x, ".repeat(20_000))]);
            all.push(vec![format!("{}{word}", "x;".repeat(30_000))]);
        }
        all
    }

    const FORMS: [&str; 44] = [
        "{}",
        " {} ",
        "\t{}\t",
        ",{}",
        "{},",
        ", ,{}, ,",
        "max-age=60,{}",
        "max-age=60, {}",
        "{}, max-age=60",
        "public, {}, max-age=60",
        "{}, public, s-maxage=60",
        "{}, {}",
        "max-age=60\n{}",
        "{}\nmax-age=60, public",
        "max-age=60\n\n{}",
        "x=\"a, b\", {}",
        "x=\"\\\"\", {}",
        "{}, x=\"a, b\"",
        "{}=",
        "{}=\"\"",
        "{}=\" \"",
        "{}=\",\"",
        "{}=0",
        "{}=false",
        "{}=x-field",
        "{}=\"a b\"",
        "{}=\"x-a; x-b\"",
        "{}=\"vary\"",
        "{}=\"",
        "{}=\"x-a",
        "{}=\"x-a\\\"",
        "{}=\"x-a\"x",
        "{} = \"x-a\"",
        "{} =x",
        "{}= x",
        "\"{}\"",
        "'{}' {}",
        "{};",
        "max-age=60; {}",
        "max-age=60 {}",
        "x=\"a, {}",
        "\u{fc}, {}",
        "{}\u{a0}",
        "=, {}",
    ];

    #[test]
    fn no_spelling_of_a_prohibition_is_stored() {
        let mut tried = 0;
        for word in ["private", "no-store"] {
            for lines in spellings(word) {
                let response: Vec<_> =
                    lines.iter().map(|line| ("cache-control", line.as_str())).collect();
                for allowance in [Allowance::default(), TTL, OVERRIDE] {
                    let verdict = check(&Method::GET, &[], 200, &response, allowance);
                    let why = [NotStorable::Private, NotStorable::NoStore, NotStorable::Malformed];
                    assert!(verdict.is_err_and(|w| why.contains(&w)), "{verdict:?} {lines:?}");
                }
                tried += 1;
            }
        }
        assert!(tried > 300, "{tried}");
    }

    #[test]
    fn no_spelling_of_no_cache_is_used_without_asking() {
        for lines in spellings("no-cache") {
            let response: Vec<_> =
                lines.iter().map(|line| ("cache-control", line.as_str())).collect();
            let control = effective(&map(&response));
            assert!(control.is_no_cache() || control.malformed, "{lines:?}");
        }
    }

    #[test]
    fn every_reason_has_a_word_of_its_own() {
        let words = [
            NotStorable::MethodNotCacheable,
            NotStorable::StatusNotFinal,
            NotStorable::StatusNotUnderstood,
            NotStorable::PartialContent,
            NotStorable::NoStore,
            NotStorable::RequestNoStore,
            NotStorable::Private,
            NotStorable::Authorization,
            NotStorable::SetCookie,
            NotStorable::VaryStar,
            NotStorable::VaryOnCredentials,
            NotStorable::NoFreshness,
            NotStorable::Malformed,
        ]
        .map(NotStorable::as_str);
        let kebab = |w: &str| w.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        assert!(words.iter().all(|w| kebab(w)));
        assert!(words.iter().enumerate().all(|(i, w)| !words[..i].contains(w)));
    }

    /// Members without quotes, so that none can swallow its neighbour.
    fn junk() -> impl Strategy<Value = Vec<u8>> {
        let octet = any::<u8>().prop_filter("not in a field, or a separator", |b| {
            !matches!(b, b'"' | b',' | 127) && (*b >= 32 || *b == b'\t')
        });
        proptest::collection::vec(octet, 0..12)
    }

    proptest! {
        #[test]
        fn whatever_surrounds_a_prohibition_it_holds(
            before in proptest::collection::vec(junk(), 0..4),
            after in proptest::collection::vec(junk(), 0..4),
            word in "[pP][rR][iI][vV][aA][tT][eE]|[nN][oO]-[sS][tT][oO][rR][eE]",
            ttl in any::<bool>(),
            override_origin in any::<bool>(),
        ) {
            let mut line = b"max-age=60, public".to_vec();
            for member in before.iter().chain([&word.into_bytes()]).chain(&after) {
                line.push(b',');
                line.extend_from_slice(member);
            }
            let mut response = HeaderMap::new();
            response.append("cache-control", HeaderValue::from_bytes(&line).unwrap());
            let allowance = Allowance { ttl, override_origin, ..TTL };
            let control = effective(&response);
            let verdict = storable(
                &Method::GET, &HeaderMap::new(), StatusCode::OK, &response, &control, allowance,
            );
            prop_assert!(verdict.is_err());
        }

        #[test]
        fn no_allowance_stores_what_the_messages_forbid(
            request in proptest::collection::vec(
                prop_oneof![
                    Just(("cache-control", "no-store")), Just(("authorization", "x")),
                ], 0..2),
            response in proptest::collection::vec(
                prop_oneof![
                    Just(FRESH), Just(("cache-control", "public")),
                    Just(("cache-control", "private")), Just(("cache-control", "no-store")),
                    Just(("cache-control", "must-revalidate")), Just(("cache-control", "@")),
                    Just(("vary", "*")), Just(("vary", "cookie")), Just(("set-cookie", "a=b")),
                    Just(("content-range", "x")), Just(("cdn-cache-control", "max-age=1")),
                ], 0..4),
            status in prop_oneof![Just(200_u16), Just(206), Just(304), Just(404), Just(500)],
        ) {
            let alone = get(&request, status, &response);
            for allowance in [TTL, OVERRIDE] {
                let verdict = check(&Method::GET, &request, status, &response, allowance);
                if let Err(why) = alone && why != NotStorable::NoFreshness {
                    prop_assert_eq!(verdict.is_ok(), false, "{:?}", why);
                }
            }
        }
    }
}
