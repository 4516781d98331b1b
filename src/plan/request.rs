//! From a request, and what was found for it, to a verdict.

use http::header::{IF_MATCH, IF_UNMODIFIED_SINCE, UPGRADE};
use http::{HeaderMap, Method};

use super::{Admission, FetchReason, PassReason, Plan, RefuseReason, StaleReason};
use crate::config::{Consistency, OnDoubt, RequestDirectives, Route};
use crate::ledger::{Doubt, Standing};
use crate::semantics::freshness::must_not_serve_stale;
use crate::semantics::invalidation::is_unsafe;
use crate::semantics::query::{is_query, says_what_it_asks};
use crate::semantics::range;
use crate::semantics::reuse::Demands;
use crate::semantics::targeted;
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
    // RFC 9110 §14.2: "GET is the only method for which range handling is defined."
    if method == Method::GET && range::is_foreign(headers) {
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
    let times = entry.times();
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
        Standing::Suspect(doubt) => {
            route.on_doubt == OnDoubt::Serve && !binds(route, doubt) && within_hard
        }
        Standing::Softened => within_hard && times.stale_until > times.fresh_until,
        _ => within_hard,
    };
    if failed_lately && (may_be_stale || may_stand_in(route, entry, standing, now)) {
        return Plan::ServeBackingOff(stale);
    }
    if may_be_stale {
        return Plan::ServeAndRefresh(stale);
    }
    if has_validator(&entry.headers()) { Plan::Revalidate(fetch) } else { Plan::Fetch(fetch) }
}

/// May this entry be served because the origin failed? (RFC 5861 §4; within the window of its
/// route or response, whatever else may be in doubt about it, but never once invalidated.)
pub fn may_cover_an_error(entry: &Entry, now: Timestamp) -> bool {
    now < entry.times().error_until
}

/// May an entry of this standing be served because the origin failed? Not what was invalidated, nor
/// what is in doubt where that binds: an error is then the better answer. What is in doubt may have
/// been replaced, and what was purged softly was; so somebody must have said that something old is
/// better than an error: a `stale-if-error`, of the route or the response. The time for which the
/// entry would have been fresh says nothing of the kind.
pub fn may_stand_in(route: &Route, entry: &Entry, standing: Standing, now: Timestamp) -> bool {
    let times = entry.times();
    let granted = times.error_until > times.fresh_until;
    let allowed = match standing {
        Standing::Invalidated => false,
        Standing::Suspect(doubt) => granted && !binds(route, doubt),
        Standing::Softened => granted,
        Standing::Good => true,
    };
    allowed && may_cover_an_error(entry, now)
}

/// Must what is in doubt for this reason never be served before the origin was asked, whatever else
/// its route allows? Who shows a position has seen a write, and a strict route promises as much to
/// everybody. Staleness by time is another matter: that is the route's own contract.
fn binds(route: &Route, doubt: Doubt) -> bool {
    route.consistency == Consistency::Strict || matches!(doubt, Doubt::Unconfirmed | Doubt::Behind)
}

/// Is a part that is asked for best had by asking for the whole? If there is a whole that the origin
/// may confirm, or that may be served should it fail. Otherwise the origin is asked for the part
/// alone: nobody asked for the rest.
pub fn asks_for_whole(found: Option<(&Entry, Standing)>, now: Timestamp) -> bool {
    found.is_some_and(|(entry, standing)| {
        standing != Standing::Invalidated
            && (has_validator(&entry.headers()) || may_cover_an_error(entry, now))
    })
}

/// Does this route obey what clients ask of a cache? By default only where the RFC alone rules:
/// elsewhere a client could make every request a request to the origin.
fn honours(route: &Route) -> bool {
    route.request_directives == RequestDirectives::Honour
}

/// RFC 9111 §5.2.1, where honoured: a client narrows what it is served, and `max-stale` widens it.
///
/// `no-store` is none of this: "if a request containing this directive is satisfied from a cache,
/// the no-store request directive does not apply to the already stored response" (§5.2.1.5).
fn obey(demands: &Demands, honoured: bool, entry: &Entry, plan: Plan, now: Timestamp) -> Plan {
    match plan {
        _ if !honoured => plan,
        Plan::Serve | Plan::ServeAndRefresh(_) if !contents(demands, entry, plan, now) => {
            if has_validator(&entry.headers()) {
                Plan::Revalidate(FetchReason::Request)
            } else {
                Plan::Fetch(FetchReason::Request)
            }
        }
        // The reason says that nothing but time speaks against it: it was neither invalidated nor
        // purged, nor is it in doubt.
        Plan::Revalidate(FetchReason::Expired) | Plan::Fetch(FetchReason::Expired)
            if demands.max_stale.is_some()
                && contents(demands, entry, plan, now)
                && !forbids_staleness(entry) =>
        {
            Plan::ServeAndRefresh(StaleReason::Request)
        }
        plan => plan,
    }
}

/// Would the client be content with this entry as it is? What the plan would not serve as fresh is
/// stale, whether it is time that makes it so, a purge or a doubt.
fn contents(demands: &Demands, entry: &Entry, plan: Plan, now: Timestamp) -> bool {
    let times = entry.times();
    let fresh = plan == Plan::Serve;
    // §5.2.1.4: "prefers a stored response not be used […] without successful validation".
    if demands.no_cache {
        return false;
    }
    // §5.2.1.1: "a response whose age is less than or equal to the specified number of seconds".
    if demands.max_age.is_some_and(|most| times.age(now) > most) {
        return false;
    }
    // §5.2.1.3: "will still be fresh for at least the specified number of seconds": if only for
    // none, it is not stale.
    if demands.min_fresh.is_some_and(|least| !fresh || times.fresh_until.since(now) < least) {
        return false;
    }
    if fresh {
        return true;
    }
    match demands.max_stale {
        // §5.2.1.2: "has exceeded its freshness lifetime by no more than the specified number".
        Some(most) => most.is_none_or(|most| now.since(times.fresh_until) <= most),
        // §5.2.1.1: "Unless the max-stale request directive is also present, the client does not
        // wish to receive a stale response."
        None => demands.max_age.is_none(),
    }
}

/// §4.2.4: "MUST NOT generate a stale response if it is prohibited by an explicit in-protocol
/// directive": whatever the client, or the route's own lifetimes, would have.
fn forbids_staleness(entry: &Entry) -> bool {
    must_not_serve_stale(&targeted::effective(&entry.headers()))
}
