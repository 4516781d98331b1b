//! From a request, and what was found for it, to a verdict.

use http::header::{IF_MATCH, IF_UNMODIFIED_SINCE, RANGE, UPGRADE};
use http::{HeaderMap, Method};

use super::{Admission, FetchReason, PassReason, Plan, RefuseReason, StaleReason};
use crate::config::{OnDoubt, RequestDirectives, Route};
use crate::ledger::Standing;
use crate::semantics::invalidation::is_unsafe;
use crate::semantics::query::{is_query, says_what_it_asks};
use crate::semantics::reuse::Demands;
use crate::semantics::time::Timestamp;
use crate::semantics::validation::has_validator;
use crate::store::Entry;

/// Is this request ours to cache? `content`: it has content, or may have.
pub fn admit(route: &Route, method: &Method, headers: &HeaderMap, content: bool) -> Admission {
    if is_unsafe(method) {
        return Admission::Write;
    }
    match pass_reason(route, method, headers, content) {
        Some(reason) => Admission::Pass(reason),
        None if is_query(method) => Admission::Query,
        None => Admission::Lookup,
    }
}

fn pass_reason(
    route: &Route,
    method: &Method,
    headers: &HeaderMap,
    content: bool,
) -> Option<PassReason> {
    if !route.cache {
        return Some(PassReason::RouteOff);
    }
    let query = is_query(method) && route.max_query_content > 0;
    if method != Method::GET && method != Method::HEAD && !query {
        return Some(PassReason::Method);
    }
    if content && !query {
        return Some(PassReason::Content);
    }
    if query && !says_what_it_asks(headers) {
        return Some(PassReason::QueryUntyped);
    }
    if headers.contains_key(UPGRADE) {
        return Some(PassReason::Upgrade);
    }
    if headers.contains_key(RANGE) {
        return Some(PassReason::Range);
    }
    // RFC 9111 §4.3.2: If-Match and If-Unmodified-Since are not for a cache to evaluate.
    if headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE) {
        return Some(PassReason::Precondition);
    }
    None
}

/// What a lookup came to.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// An entry, and what the ledger makes of it.
    Entry(&'a Entry, Standing),
    /// The key varies and this variant is not there.
    OtherVariants,
    /// Nothing.
    Nothing,
}

/// What shall we do about a request for which this was found?
///
/// `failed_lately`: the origin failed for this entry and its back-off is not over.
pub fn plan(
    route: &Route,
    demands: &Demands,
    found: Found<'_>,
    failed_lately: bool,
    now: Timestamp,
) -> Plan {
    let plan = match found {
        Found::Nothing => Plan::Fetch(FetchReason::Miss),
        Found::OtherVariants => Plan::Fetch(FetchReason::VaryMiss),
        Found::Entry(entry, standing) => {
            let plan = plan_for(route, entry, standing, failed_lately, now);
            obey(demands, honours(route), entry, plan, now)
        }
    };
    // RFC 9111 §5.2.1.7: a stored response, or 504.
    match plan {
        Plan::Fetch(_) | Plan::Revalidate(_) if demands.only_if_cached => {
            Plan::Refuse(RefuseReason::OnlyIfCached)
        }
        plan => plan,
    }
}

fn plan_for(
    route: &Route,
    entry: &Entry,
    standing: Standing,
    failed_lately: bool,
    now: Timestamp,
) -> Plan {
    let times = &entry.response.times;
    let within_hard = now < times.stale_until;
    let (stale, fetch) = match standing {
        Standing::Invalidated => return Plan::Fetch(FetchReason::Invalidated),
        Standing::Good if times.is_fresh(now) => return Plan::Serve,
        Standing::Good => (StaleReason::Expired, FetchReason::Expired),
        Standing::Softened => (StaleReason::Purged, FetchReason::Purged),
        Standing::Suspect(doubt) => (StaleReason::Doubt(doubt), FetchReason::Suspect(doubt)),
    };
    // A soft purge makes stale what was fresh; what may not be served stale has
    // `stale_until == fresh_until`, and past the latter `within_hard` is false.
    let may_be_stale = match standing {
        Standing::Suspect(_) => route.on_doubt == OnDoubt::Serve && within_hard,
        Standing::Softened => within_hard && times.stale_until > times.fresh_until,
        _ => within_hard,
    };
    if failed_lately && (may_be_stale || may_cover_an_error(entry, now)) {
        return Plan::ServeBackingOff(stale);
    }
    if may_be_stale {
        return Plan::ServeAndRefresh(stale);
    }
    if has_validator(&entry.response.headers) {
        Plan::Revalidate(fetch)
    } else {
        Plan::Fetch(fetch)
    }
}

/// May this entry be served because the origin failed? (RFC 5861 §4; within the window of its
/// route or response, whatever else may be in doubt about it, but never once invalidated.)
pub fn may_cover_an_error(entry: &Entry, now: Timestamp) -> bool {
    now < entry.response.times.error_until
}

/// Does this route obey what clients ask of a cache? By default only where the RFC alone rules:
/// elsewhere a client could make every request a request to the origin.
fn honours(route: &Route) -> bool {
    route.request_directives == RequestDirectives::Honour
}

/// RFC 9111 §5.2.1, where honoured: a client may narrow what it is served, never widen it beyond
/// what `max-stale` allows on an entry that may be stale.
fn obey(demands: &Demands, honoured: bool, entry: &Entry, plan: Plan, now: Timestamp) -> Plan {
    if !honoured || !matches!(plan, Plan::Serve | Plan::ServeAndRefresh(_)) {
        return plan;
    }
    let times = &entry.response.times;
    let age = times.age(now);
    let left = times.fresh_until.since(now);
    let too_old = demands.max_age.is_some_and(|max| age > max);
    let too_short = demands.min_fresh.is_some_and(|min| left < min);
    let stale_refused = matches!(plan, Plan::ServeAndRefresh(_))
        && (demands.max_age.is_some() || demands.min_fresh.is_some());
    if demands.no_cache || too_old || too_short || stale_refused {
        return if has_validator(&entry.response.headers) {
            Plan::Revalidate(FetchReason::Request)
        } else {
            Plan::Fetch(FetchReason::Request)
        };
    }
    plan
}
