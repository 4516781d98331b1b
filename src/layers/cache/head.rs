//! A HEAD that the store could not answer: sent on as it came, and what its answer tells of the
//! stored answer to GET is taken to heart (RFC 9111 §4.3.5).
//!
//! | `semantics::head` says | the entry that the request selects |
//! |---|---|
//! | `Renew` | is stored again with the answer's fields and times, as of before the origin was asked |
//! | `Renew`, but the renewed one may not be stored, or has another Vary | as `Stale` |
//! | `Stale` | is stored again, no longer fresh: the next GET asks the origin, with its validator |
//! | `Nothing` | stays as it is |
//!
//! An entry that was invalidated does not exist, and is not brought back. One that another fill
//! replaced while the origin was asked is left alone: that fill knows better. Other processes that
//! hold the entry in their memory learn nothing of it before their own time for it is over: this is
//! no invalidation, and the origin was not written to.
//!
//! It cannot fill an entry, and a GET in its place could cost the origin far more than was asked.

use std::sync::Arc;

use http::header::ACCEPT_ENCODING;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::ask::ask;
use super::asked::Asked;
use super::deliver::{self, Served};
use super::fetch::Step;
use super::lookup::{self, Looked, Shared};
use super::pass::passed;
use super::recipe::{Moment, Recipe, question};
use super::searches;
use super::{Means, Origin};
use crate::body::Body;
use crate::config::matcher::Match;
use crate::error::{OriginFault, ProxyError};
use crate::key::{Key, tags};
use crate::ledger::Standing;
use crate::plan::response::{Answer, settle};
use crate::plan::{FetchReason, Outcome, PassReason, StaleReason};
use crate::semantics::head::{HeadEffect, effect};
use crate::semantics::stored::Times;
use crate::semantics::time::Timestamp;
use crate::store::{Entry, Record};

/// Asks for the head alone, where the store could not answer.
pub async fn through<S: Origin>(
    means: &Arc<Means>,
    inner: &S,
    asked: &Asked,
    looked: Looked,
    reason: FetchReason,
) -> Step {
    let (as_of, sent) = (means.ledger.applied(), means.now());
    let result = ask(means, &mut inner.clone(), asked.route.index, request(asked)).await;
    let moment = Moment { as_of, sent, received: means.now() };
    let fault = match result {
        Ok(response) => {
            if has_failed(response.status())
                && let Some(instead) = instead(means, asked, &looked)
            {
                return Step::Done(instead);
            }
            let told = (response.status(), response.headers());
            learn(means, asked, looked, told, moment).await;
            let route = Arc::clone(&asked.route);
            let took = moment.received.since(sent);
            return Step::Done(passed(response, route, (reason.forwarded(), "head"), took));
        }
        Err(ProxyError::Origin(fault)) => fault,
        Err(other) => OriginFault::Broken(other.to_string()),
    };
    instead(means, asked, &looked).map_or(Step::Failed(fault), Step::Done)
}

/// A HEAD that is none of the store's business to answer, but whose answer may be about an entry
/// all the same.
pub async fn send_on<S: Origin>(
    means: Arc<Means>,
    mut inner: S,
    Match { route, captures }: Match,
    request: Request<Body>,
    reason: PassReason,
) -> Result<Response<Body>, ProxyError> {
    let (as_of, sent) = (means.ledger.applied(), means.now());
    let copy = parts_of(&request);
    let response = ask(&means, &mut inner, route.index, request).await?;
    let moment = Moment { as_of, sent, received: means.now() };
    let tags = means.stamp(&route);
    let version = |namespace: &str| means.ledger.version(namespace);
    let asked = Asked::new(Arc::clone(&route), captures, copy, tags, version);
    let mut looked = lookup::peek(&means, &asked, None, moment.received);
    if looked.entry.is_none() && means.store.is_shared() && looked.shared == Shared::Unasked {
        looked = lookup::fetch(&means, &asked, looked.names.as_deref()).await;
    }
    learn(&means, &asked, looked, (response.status(), response.headers()), moment).await;
    let took = moment.received.since(sent);
    Ok(passed(response, route, (reason.forwarded(), reason.as_str()), took))
}

/// Is the answer to a HEAD that is passed for this reason about what a plain GET would get? With
/// content, or a wish for another protocol, it may be about something else.
pub fn tells_of_an_entry(method: &Method, reason: PassReason) -> bool {
    *method == Method::HEAD && matches!(reason, PassReason::Range | PassReason::Precondition)
}

fn parts_of(request: &Request<Body>) -> Parts {
    let mut copy = Request::new(());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy.into_parts().0
}

/// As it came, but for what a GET would be asked without: else its answer would be about another
/// coding of the content than the one that is stored.
fn request(asked: &Asked) -> Request<Body> {
    let mut request = asked.pass_on();
    if tags::needs_json(&asked.route.tags) {
        request.headers_mut().remove(ACCEPT_ENCODING);
    }
    request
}

fn has_failed(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
}

/// RFC 5861 §4: what there is, instead of an error.
fn instead(means: &Means, asked: &Asked, looked: &Looked) -> Option<Response<Body>> {
    let (entry, _) = looked.entry.as_ref()?;
    let now = means.now();
    if !lookup::may_stand_in(means, asked, entry, now) {
        return None;
    }
    means.metrics.stale_if_error(asked.route.index);
    Some(deliver::entry(asked, entry, Served::Stale(StaleReason::Error), now))
}

/// What the answer tells of the entry that was found. Done before the answer is released: who has
/// it is not answered from before it here, nor out of the store that processes share.
async fn learn(
    means: &Arc<Means>,
    asked: &Asked,
    looked: Looked,
    (status, headers): (StatusCode, &HeaderMap),
    moment: Moment,
) {
    let Some((entry, standing)) = looked.entry else { return };
    // Nor is it worth a word if a fill got it while the origin was asked.
    if standing == Standing::Invalidated || is_newer(&entry, moment) {
        return;
    }
    let told = match effect(&entry.response(), status, headers) {
        HeadEffect::Renew => renewed(means, asked, (&looked.key, &entry), headers, moment),
        HeadEffect::Stale => Some(outdated(&entry, moment.received)),
        HeadEffect::Nothing => None,
    };
    let Some(told) = told else { return };
    let newer = |found| matches!(found, Some(Record::Entry(found)) if is_newer(&found, moment));
    let elsewhere = match means.store.is_shared() {
        true => means.store.fetch(&looked.key).await.unwrap_or_default(),
        false => None,
    };
    if newer(elsewhere) || newer(means.store.peek(&looked.key)) {
        return;
    }
    let standing = means.ledger.judge(told.as_of, told.vouched, &told.belongs(), means.now());
    if standing == Standing::Invalidated {
        return;
    }
    means.failures.forget(looked.key.digest);
    let (store, key) = (Arc::clone(&means.store), looked.key);
    // On a task of its own: a client that leaves does not leave the tiers in disagreement.
    let put = tokio::spawn(async move { store.put(&key, Record::Entry(Arc::new(told))).await });
    let _ = put.await;
}

/// Did the origin tell of it after it was asked for the head?
fn is_newer(entry: &Entry, moment: Moment) -> bool {
    entry.times().response_time > moment.sent
}

/// RFC 9111 §4.3.5: "the cache MUST use the header fields provided in the HEAD response to update
/// the stored response (see Section 3.2)": what a 304 with these fields would make of it. `None`:
/// the answer is for its asker alone, and says nothing of what others get.
fn renewed(
    means: &Means,
    asked: &Asked,
    (key, entry): (&Key, &Entry),
    headers: &HeaderMap,
    moment: Moment,
) -> Option<Entry> {
    let stored = entry.response();
    let question = question(asked, key.digest, moment.sent, Some(&stored));
    let answer = Answer {
        status: StatusCode::NOT_MODIFIED,
        headers,
        length: None,
        close_delimited: false,
        received: moment.received,
    };
    match settle(&question, &answer) {
        Outcome::Renew(times) => {
            let recipe = Recipe { means, asked };
            let told = recipe.told(headers).ok().filter(|_| searches::stands(asked, headers));
            let Some(told) = told else { return Some(outdated(entry, moment.received)) };
            Some(recipe.renewed(entry, headers, told, (times, moment)))
        }
        Outcome::PassOn(why) if !why.is_about_the_key() => None,
        _ => Some(outdated(entry, moment.received)),
    }
}

/// The entry as it is, but stale, and not to be served before the origin was asked. It may still
/// cover for an origin that fails. Its place in the ledger stays what it was.
fn outdated(entry: &Entry, received: Timestamp) -> Entry {
    let times = entry.times();
    entry.with_times(Times {
        fresh_until: times.fresh_until.min(received),
        stale_until: times.stale_until.min(received),
        ..times
    })
}
