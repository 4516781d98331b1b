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
//! | it sets no cookie | [`NotStorable::SetCookie`] |
//! | what it varies on can be told apart | [`NotStorable::VaryStar`], [`NotStorable::VaryOnCredentials`] |
//! | somebody says for how long | [`NotStorable::NoFreshness`] |

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_RANGE, COOKIE, EXPIRES, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use super::cache_control::CacheControl;
use super::fields::{is_needed_for_reuse, names};

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
    /// The response sets a cookie.
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
    /// The route has a lifetime for responses of this status that come without one.
    pub ttl: bool,
    /// Request fields that are part of the key: what varies with them is told apart.
    pub keyed: &'a [HeaderName],
    /// The route's lifetime replaces the origin's. Then a directive that permits sharing only as
    /// long as its own lifetime is kept to (§3.5) permits nothing.
    pub override_origin: bool,
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
    refuse_if(*method != Method::GET, NotStorable::MethodNotCacheable)?;
    // §3: the response status code is final.
    refuse_if(status.is_informational(), NotStorable::StatusNotFinal)?;
    // §3: if it is 206 or 304, or must-understand is present: the cache understands it. §3.3: "MUST
    // NOT store incomplete or partial-content responses if it does not support" ranges.
    let partial = status == StatusCode::PARTIAL_CONTENT;
    refuse_if(
        partial || response_headers.contains_key(CONTENT_RANGE),
        NotStorable::PartialContent,
    )?;
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
    // Not in §3, which leaves it to the origin (§7.3): a cookie set for one is not for all.
    refuse_if(response_headers.contains_key(SET_COOKIE), NotStorable::SetCookie)?;
    telling_apart(response_headers, allowance)?;
    // §3: at least one of …
    let stays = has_explicit_freshness(control, response_headers)
        || (allowance.ttl && (control.public || is_heuristically_cacheable(status)));
    refuse_if(!stays, NotStorable::NoFreshness)
}

/// May a response of this status be given a lifetime that the origin did not (RFC 9110 §15.1)?
/// Without 206, which is not stored.
pub fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
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
/// lists such a field in `Connection` would be stored without it.
fn hides_policy(headers: &HeaderMap) -> bool {
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
