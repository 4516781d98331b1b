//! What would be done with a request, and why: asked of the same functions that decide. Changes
//! nothing: no fill, no refresh; what is found in Valkey is kept in memory as for any lookup.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Uri};
use serde_json::{Value, json};

use super::Means;
use super::asked::Asked;
use super::footing::Footing;
use super::lookup::{self, Looked, Shared};
use super::{range, searches};
use crate::config::matcher::Match;
use crate::config::{Consistency, Route};
use crate::key::url;
use crate::ledger::{Floor, Standing};
use crate::plan::request::admit;
use crate::plan::{Admission, Plan};
use crate::semantics::invalidation::parent;
use crate::semantics::time::Timestamp;
use crate::store::Entry;

/// Explains a request to an absolute `uri`.
pub async fn explain(means: &Means, method: &Method, uri: &Uri, headers: HeaderMap) -> Value {
    let Match { route, captures } =
        means.routes.find(uri.host().unwrap_or_default(), method, uri.path());
    let mut told = json!({
        "request": { "method": method.as_str(), "url": uri.to_string() },
        "route": { "name": &*route.name, "pattern": &*route.path },
        "ledger": { "applied": means.ledger.applied().to_string() },
    });
    match admit(&route, method, &headers, false) {
        Admission::Pass(reason) => {
            told["verdict"] = "pass".into();
            told["reason"] = reason.as_str().into();
        }
        Admission::Write => {
            let parent = if route.invalidate_parent { parent(uri.path()) } else { None };
            let names = url::written(&route, &captures, uri, &[], parent);
            told["verdict"] = "write".into();
            told["reason"] = "unsafe-method".into();
            told["invalidates"] = names.iter().map(ToString::to_string).collect();
        }
        // Without the content there is no key to look under.
        Admission::Query => {
            told["verdict"] = "unknown".into();
            told["reason"] = "query-content".into();
            told["says"] = "What becomes of a QUERY depends on its content, which is part of its \
                            key and cannot be given here."
                .into();
        }
        Admission::Lookup => {
            let (floor, footing) = footing(means, &route, &headers).await;
            told["footing"] = footing;
            let asked = asked(means, method, uri, headers, Match { route, captures });
            let asked = Arc::new(asked.above(floor));
            let looked = look(means, &asked).await;
            let looked = range::explained(means, &asked, looked).await;
            describe(&mut told, means, &asked, &looked);
        }
    }
    told
}

/// What must be known before such a request is answered, and whether it is.
async fn footing(means: &Means, route: &Route, headers: &HeaderMap) -> (Option<Floor>, Value) {
    let consistency = match route.consistency {
        Consistency::Strict => "strict",
        Consistency::Bounded => "bounded",
    };
    let Some(needed) = Footing::of(means, route, headers) else {
        return (None, json!({ "consistency": consistency, "waits": false }));
    };
    let floor = needed.probed(means).await;
    let doubt = floor.map(|floor| floor.doubt.as_str());
    (floor, json!({ "consistency": consistency, "waits": true, "doubt": doubt }))
}

/// What is stored for a GET of `uri` without any particular fields; `None` if nothing is.
pub async fn entry(means: &Means, uri: &Uri) -> Option<Value> {
    let matched = means.routes.find(uri.host().unwrap_or_default(), &Method::GET, uri.path());
    let asked = asked(means, &Method::GET, uri, HeaderMap::new(), matched);
    let looked = look(means, &asked).await;
    let (entry, standing) = looked.entry?;
    Some(found(&entry, standing, means.now()))
}

fn asked(
    means: &Means,
    method: &Method,
    uri: &Uri,
    headers: HeaderMap,
    Match { route, captures }: Match,
) -> Asked {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = method.clone();
    parts.uri = uri.clone();
    parts.headers = headers;
    let tags = means.stamp(&route);
    let version = |namespace: &str| means.ledger.version(namespace);
    searches::keyed(means, Asked::new(route, captures, parts, tags, version))
}

async fn look(means: &Means, asked: &Asked) -> Looked {
    let looked = lookup::peek(means, asked, None, means.now());
    match looked.plan {
        Plan::Fetch(_) | Plan::Revalidate(_) if means.store.is_shared() => {
            lookup::fetch(means, asked, None).await
        }
        _ => looked,
    }
}

fn describe(told: &mut Value, means: &Means, asked: &Asked, looked: &Looked) {
    let (verdict, reason) = words(looked.plan);
    told["verdict"] = verdict.into();
    told["reason"] = reason.into();
    told["key"] = json!({
        "digest": looked.key.digest.to_string(),
        "url": &*asked.url,
        "namespace": &*asked.key.namespace,
        "version": asked.key.version.to_string(),
        "varies_on": looked.names.as_ref().map(|names| {
            names.iter().map(http::HeaderName::as_str).collect::<Vec<_>>()
        }),
    });
    told["collapsing"] = json!({
        "collapse": asked.route.collapse && !asked.has_credentials(),
        "hit_for_miss": means.hit_for_miss.is_noted(asked.key.digest, means.now()),
    });
    told["found"] = match &looked.entry {
        Some((entry, standing)) => found(entry, *standing, means.now()),
        None => Value::Null,
    };
    if looked.shared == Shared::Silent {
        told["store"] = "not answering".into();
    }
}

const fn words(plan: Plan) -> (&'static str, &'static str) {
    match plan {
        Plan::Serve => ("serve", "fresh"),
        Plan::ServeAndRefresh(why) => ("serve-and-refresh", why.as_str()),
        Plan::ServeBackingOff(why) => ("serve-backing-off", why.as_str()),
        Plan::Revalidate(why) => ("revalidate", why.as_str()),
        Plan::Fetch(why) => ("fetch", why.as_str()),
        Plan::Refuse(_) => ("refuse", "only-if-cached"),
    }
}

fn found(entry: &Arc<Entry>, standing: Standing, now: Timestamp) -> Value {
    let times = entry.times();
    let left = |until: Timestamp| {
        let left = until.since(now).as_secs_f64();
        let over = now.since(until).as_secs_f64();
        ((left - over) * 1000.0).round() / 1000.0
    };
    json!({
        "status": entry.status().as_u16(),
        "bytes": entry.content().len(),
        "age": times.age(now).as_secs(),
        "soft_expiry_in": left(times.fresh_until),
        "hard_expiry_in": left(times.stale_until),
        "stale_if_error_ends_in": left(times.error_until),
        "kept_for": left(times.keep_until),
        "tags": entry.tags(),
        "groups": entry.groups(),
        "as_of": entry.as_of.to_string(),
        "standing": standing_word(standing),
        "origin_took_ms": u64::try_from(entry.fill_time().as_millis()).unwrap_or(u64::MAX),
    })
}

const fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Good => "good",
        Standing::Softened => "softened",
        Standing::Invalidated => "invalidated",
        Standing::Suspect(doubt) => doubt.as_str(),
    }
}
