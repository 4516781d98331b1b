//! One fetch from the origin meant for the store, on a task of its own: no client's leaving ends
//! it, no client's slowness slows it.
//!
//! | the origin says | the asker gets | the waiters get | the store gets |
//! |---|---|---|---|
//! | something that may be shared | it, streamed | it, streamed | it, when complete |
//! | 304 to what we asked | the entry | the entry | the entry, renewed |
//! | an error | it, or something stale | the same | nothing; a back-off is noted |
//! | something for the asker alone | it | nothing: they fetch for themselves | nothing |
//! | 304 to what we did not ask, or nothing | 502 or 504, or something stale | the same | nothing; a back-off is noted |

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderName, Response};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;

use super::ask::ask;
use super::asked::Asked;
use super::early::Early;
use super::lease::{self, Permission};
use super::lookup;
use super::notes::UNSHAREABLE_FOR;
use super::recipe::{Moment, Recipe, answer, date, is_outdone, question};
use super::searches;
use super::{Means, Origin};
use crate::body::Body;
use crate::error::{OriginFault, ProxyError};
use crate::key::Key;
use crate::key::tags;
use crate::layers::collapse::content::{Content, End, Pushed};
use crate::layers::collapse::{Found, Lead, Settlement, Shared};
use crate::ledger::Standing;
use crate::plan::response::settle;
use crate::plan::{Audience, FetchReason, NotShared, Outcome, Plan};
use crate::semantics::stored::Times;
use crate::semantics::validation;
use crate::semantics::vary::{self, Vary};
use crate::store::{Entry, LeaseEnd, Record};
use crate::telemetry::outcome::RefreshResult;

/// A fill that is about to begin.
#[derive(Debug)]
pub struct Fill<S> {
    /// Means of the cache.
    pub means: Arc<Means>,
    /// The way to the origin.
    pub inner: S,
    /// The request that it is for.
    pub asked: Arc<Asked>,
    /// Key that it fills, as far as is known before the response is here.
    pub key: Key,
    /// What there is to be validated, and to be served if the origin fails.
    pub stale: Option<Arc<Entry>>,
    /// Ask for the response whether or not it changed.
    pub unconditional: bool,
    /// The flight that it leads; `None`: for its asker alone (it may still be stored).
    pub lead: Option<Lead>,
    /// What is known of the store that processes share.
    pub shared: lookup::Shared,
    /// The fields that the key is already known to vary on.
    pub names: Option<Vec<HeaderName>>,
    /// Runs behind a stale hit.
    pub refreshing: bool,
    /// Why the origin is asked after all, where the store that processes share knew more of it than
    /// this process: for the asker to tell its client.
    pub reason: Arc<OnceLock<FetchReason>>,
    /// The asker; a background refresh has none.
    pub reply: Option<oneshot::Sender<Filled>>,
}

/// What the asker gets.
#[derive(Debug)]
pub enum Filled {
    /// What the waiters get too.
    Settled(Settlement),
    /// The same, when it is a response on its way: with its content, or a place at the beginning of
    /// that, taken before the first piece arrived.
    Shared(Arc<Shared>, Body),
    /// The origin's answer, for the asker alone; why, and how long the origin took.
    Own(Response<Body>, NotShared, Duration),
    /// The same, an error; what there is to serve instead.
    Error(Response<Body>, Option<Arc<Entry>>, Duration),
}

impl<S: Origin> Fill<S> {
    /// Runs it to its end. It has a place of its own: what is as large costs whoever hands it on.
    pub fn run(self) -> impl Future<Output = ()> + Send {
        Box::pin(self.steps())
    }

    async fn steps(mut self) {
        if let Some(found) = self.look().await {
            self.settle(found);
            return;
        }
        let asking = lease::Asking {
            means: &self.means,
            asked: &self.asked,
            key: &self.key,
            stale: self.stale.as_deref(),
        };
        let permission = if self.shared == lookup::Shared::Asked && self.lead.is_some() {
            lease::acquire(&asking).await
        } else {
            Permission::Granted(lease::Held::none())
        };
        match permission {
            Permission::Granted(held) => self.fetch(held).await,
            Permission::Elsewhere(entry) => {
                self.settle(Settlement::Entry(entry, Found::Elsewhere));
            }
            Permission::LookAgain => self.settle(Settlement::Again),
            Permission::Alone => {
                if let Some(lead) = self.lead.take() {
                    lead.settle(Settlement::Unshareable);
                }
                self.fetch(lease::Held::none()).await;
            }
            Permission::BackingOff => {
                let now = self.means.now();
                self.means.failures.note(self.key.digest, now, self.means.retry_after);
                let stale = self.stale.clone();
                self.settle(Settlement::BackingOff(stale));
            }
        }
    }

    /// The same with a whole response that is here already, in answer to a request for a part.
    pub async fn take(self, response: Response<Body>, moment: Moment) {
        self.received(response, moment, lease::Held::none()).await;
    }

    /// Before the origin is troubled: is it in the store that processes share? Asked once for all
    /// who wait.
    pub async fn look(&mut self) -> Option<Settlement> {
        if !self.means.store.is_shared() || self.shared != lookup::Shared::Unasked {
            return None;
        }
        let looked = lookup::fetch(&self.means, &self.asked, self.names.as_deref()).await;
        self.shared = looked.shared;
        if looked.shared == lookup::Shared::Silent {
            return None;
        }
        if looked.key.digest != self.key.digest {
            return Some(Settlement::Varies(looked.names));
        }
        let done = match looked.plan {
            Plan::Serve => true,
            // What is stale is what this refresh is about.
            Plan::ServeAndRefresh(_) | Plan::ServeBackingOff(_) => !self.refreshing,
            _ => false,
        };
        let (entry, standing) = looked.entry?;
        if done {
            return Some(Settlement::Entry(entry, Found::Stored));
        }
        if let Plan::Fetch(reason) | Plan::Revalidate(reason) = looked.plan {
            let _ = self.reason.set(reason);
        }
        if standing != Standing::Invalidated {
            self.stale = Some(entry);
        }
        None
    }

    async fn fetch(mut self, held: lease::Held) {
        let as_of = self.means.ledger.applied();
        let sent = self.means.now();
        let validators = self
            .validated()
            .and_then(|entry| validation::conditional_fields(&entry.headers()))
            .unwrap_or_default();
        let request = self.asked.fetch(validators);
        let route = self.asked.route.index;
        let result = ask(&self.means, &mut self.inner, route, request).await;
        let moment = Moment { as_of, sent, received: self.means.now() };
        match result {
            Ok(response) => self.received(response, moment, held).await,
            Err(error) => self.failed(error, held).await,
        }
    }

    async fn failed(mut self, error: ProxyError, held: lease::Held) {
        let fault = match error {
            ProxyError::Origin(fault) => fault,
            other => OriginFault::Broken(other.to_string()),
        };
        self.back_off();
        self.refreshed(RefreshResult::Failed);
        let stale = self.stale.clone();
        self.settle(Settlement::Failed(fault, stale));
        held.end(LeaseEnd::Failed(self.means.retry_after)).await;
    }

    async fn received(mut self, response: Response<Body>, moment: Moment, held: lease::Held) {
        let (mut parts, body) = response.into_parts();
        date(&mut parts.headers, moment.received);
        let answer = answer(&parts, &body, moment.received);
        let validating = self.validated().map(|entry| entry.response());
        let asked = question(&self.asked, self.key.digest, moment.sent, validating.as_ref());
        match settle(&asked, &answer) {
            Outcome::Store(times) => self.store(parts, body, times, moment, held).await,
            Outcome::Renew(times) => self.renew(&parts.headers, times, moment, held).await,
            Outcome::AskAgain => {
                self.unconditional = true;
                Box::pin(self.fetch(held)).await;
            }
            Outcome::Error(Audience::Waiters) => self.share_error(parts, body, moment, held).await,
            Outcome::Error(Audience::Asker) => self.tell_error(parts, body, moment, held).await,
            // RFC 9110 §15.4.5: it answers a condition, and none was sent, or another one. Nothing was
            // confirmed, and there is no content to pass on.
            Outcome::PassOn(NotShared::Unexpected) => {
                let fault = OriginFault::Malformed("it answers a condition that was not sent");
                self.failed(fault.into(), held).await;
            }
            Outcome::PassOn(why) => self.pass_on(parts, body, why, moment, held).await,
        }
    }

    /// It may be shared: everybody reads it as it arrives, and it is stored when it is complete.
    async fn store(
        mut self,
        parts: Parts,
        mut body: Body,
        times: Times,
        moment: Moment,
        held: lease::Held,
    ) {
        if let Some(asked) = searches::rekeyed(&self.means, &self.asked, &parts.headers) {
            self.goes_elsewhere(asked);
        }
        let names = match vary::parse(&parts.headers) {
            Vary::None => Vec::new(),
            Vary::Fields(names) => names,
            Vary::Any => Vec::new(),
        };
        let Ok(tags) = self.recipe().tags_of_head(&parts.headers) else {
            self.pass_on(parts, body, NotShared::BadTags, moment, held).await;
            return;
        };
        if let (Some(lead), false) = (&mut self.lead, names.is_empty()) {
            // Before the way to the variants is published: else its askers would find neither.
            lead.also_under(self.asked.variant(&names).digest);
        }
        let Some(key) = self.recipe().place(&names, &times).await else {
            self.pass_on(parts, body, NotShared::TooManyVariants, moment, held).await;
            return;
        };
        self.means.hit_for_miss.forget(self.asked.key.digest);
        self.means.failures.forget(self.key.digest);
        let entry = self.recipe().from_head(&key, &parts, tags, times, moment);
        let shared = self.share(parts, &body, entry, &names, true);
        let _ends = Ending(&shared.content);
        let early = Early::of(&mut body).await;
        let at_once = early.is_whole() && shared.content.has_room(early.bytes());
        if !at_once {
            self.settle(Settlement::Shared(Arc::clone(&shared)));
        }
        let end = early.pour(body, &shared.content).await.unwrap_or(End::Broken);
        let complete = (end == End::Complete).then(|| self.complete(&key, &shared)).flatten();
        let store = Arc::clone(&self.means.store);
        // Memory has it from here on, before the last reader ends: who asks next finds it.
        let put = complete.map(|entry| store.put(&key, Record::Entry(entry)));
        shared.content.end(end);
        if at_once {
            self.settle(Settlement::Shared(Arc::clone(&shared)));
        }
        let Some(put) = put else {
            held.end(LeaseEnd::Dropped).await;
            return;
        };
        self.means.metrics.fill(self.asked.route.index);
        self.refreshed(RefreshResult::Replaced);
        let _ = put.await;
        held.end(LeaseEnd::Stored).await;
    }

    /// The response states other parameters that count than its request was keyed by. Who waits for
    /// it under a rule may have asked with another query, which may count now: they ask for
    /// themselves.
    fn goes_elsewhere(&mut self, asked: Asked) {
        if self.asked.rule().is_some() {
            self.note_unshareable();
            if let Some(lead) = self.lead.take() {
                lead.settle(Settlement::Unshareable);
            }
        }
        self.key = asked.key.clone();
        self.asked = Arc::new(asked);
    }

    fn share(
        &self,
        mut parts: Parts,
        body: &Body,
        entry: Entry,
        names: &[HeaderName],
        stored: bool,
    ) -> Arc<Shared> {
        let announced = body.size_hint().exact();
        let largest = self.asked.route.max_entry;
        let content = Content::new(largest, announced, Arc::clone(&self.means.fill_budget));
        tags::strip(&mut parts.headers);
        let varies = names
            .iter()
            .map(|name| (name.clone(), vary::normalised(name, &self.asked.headers)))
            .collect();
        let instead = self.stale.clone().filter(|_| !stored);
        Arc::new(Shared { head: parts, content, entry, varies, stored, instead })
    }

    /// The entry with its content; `None` if it may not be stored after all.
    fn complete(&self, key: &Key, shared: &Shared) -> Option<Arc<Entry>> {
        let Some(entry) = self.recipe().complete(&shared.entry, &shared.content) else {
            self.note_unshareable();
            return None;
        };
        // Nobody would use it, and it might take the place of one that is newer.
        let now = self.means.now();
        let standing = self.means.ledger.judge(entry.as_of, entry.vouched, &entry.belongs(), now);
        let of_use = standing != Standing::Invalidated && !is_outdone(&self.means, key, &entry);
        of_use.then(|| Arc::new(entry))
    }

    /// 304: what we have still stands.
    async fn renew(mut self, headers: &HeaderMap, times: Times, moment: Moment, held: lease::Held) {
        let Some(stale) = self.stale.clone() else { return };
        let told = self.recipe().told(headers).ok();
        let Some(told) = told.filter(|_| searches::stands(&self.asked, headers)) else {
            self.unconditional = true;
            Box::pin(self.fetch(held)).await;
            return;
        };
        let entry = Arc::new(self.recipe().renewed(&stale, headers, told, (times, moment)));
        let took = moment.received.since(moment.sent);
        self.means.failures.forget(self.key.digest);
        self.refreshed(RefreshResult::Confirmed);
        let (store, key) = (Arc::clone(&self.means.store), self.key.clone());
        let put = store.put(&key, Record::Entry(Arc::clone(&entry)));
        self.settle(Settlement::Entry(entry, Found::Validated(took)));
        let _ = put.await;
        held.end(LeaseEnd::Stored).await;
    }

    /// An error of the origin's: shared by all who wait, stored by nobody.
    async fn share_error(mut self, parts: Parts, body: Body, moment: Moment, held: lease::Held) {
        self.back_off();
        self.refreshed(RefreshResult::Failed);
        let times = Times::none(moment.received);
        let key = self.key.clone();
        let entry = self.recipe().from_head(&key, &parts, Vec::new(), times, moment);
        let shared = self.share(parts, &body, entry, &[], false);
        self.settle(Settlement::Shared(Arc::clone(&shared)));
        held.end(LeaseEnd::Failed(self.means.retry_after)).await;
        let _ends = Ending(&shared.content);
        let end = pump(body, &shared.content).await;
        shared.content.end(end.unwrap_or(End::Broken));
    }

    /// An error that somebody claims for themselves: the asker gets it, the others hear of it, and
    /// whoever has something stale serves that.
    async fn tell_error(mut self, parts: Parts, body: Body, moment: Moment, held: lease::Held) {
        self.back_off();
        self.refreshed(RefreshResult::Failed);
        let stale = self.stale.clone();
        if let Some(lead) = self.lead.take() {
            let fault = OriginFault::Answered(parts.status.as_u16());
            lead.settle(Settlement::Failed(fault, stale.clone()));
        }
        let mut response = Response::from_parts(parts, body);
        tags::strip(response.headers_mut());
        if let Some(reply) = self.reply.take() {
            let took = moment.received.since(moment.sent);
            let _ = reply.send(Filled::Error(response, stale, took));
        }
        held.end(LeaseEnd::Failed(self.means.retry_after)).await;
    }

    /// For the asker alone.
    async fn pass_on(
        mut self,
        parts: Parts,
        body: Body,
        why: NotShared,
        moment: Moment,
        held: lease::Held,
    ) {
        let end = if why.is_about_the_key() {
            self.note_unshareable();
            LeaseEnd::Unshareable(UNSHAREABLE_FOR)
        } else {
            LeaseEnd::Dropped
        };
        self.refreshed(RefreshResult::Dropped);
        if self.refreshing {
            // Nor would the next one be of use, asked on such terms.
            self.back_off();
        }
        if let Some(lead) = self.lead.take() {
            lead.settle(Settlement::Unshareable);
        }
        let mut response = Response::from_parts(parts, body);
        tags::strip(response.headers_mut());
        if response.status() == http::StatusCode::NOT_MODIFIED
            && let Some(stale) = &self.stale
        {
            // The client asked for the response, not whether it changed.
            response = from_not_modified(stale, response.headers());
        }
        if let Some(reply) = self.reply.take() {
            let took = moment.received.since(moment.sent);
            let _ = reply.send(Filled::Own(response, why, took));
        }
        held.end(end).await;
    }

    /// The entry that the origin is asked about.
    fn validated(&self) -> Option<&Arc<Entry>> {
        self.stale.as_ref().filter(|_| !self.unconditional)
    }

    fn recipe(&self) -> Recipe<'_> {
        Recipe { means: &self.means, asked: &self.asked }
    }

    fn refreshed(&self, result: RefreshResult) {
        if self.refreshing {
            self.means.metrics.refresh(self.asked.route.index, result);
        }
    }

    fn note_unshareable(&self) {
        let now = self.means.now();
        self.means.hit_for_miss.note(self.asked.key.digest, now, UNSHAREABLE_FOR);
    }

    fn back_off(&self) {
        let now = self.means.now();
        self.means.failures.note(self.key.digest, now, self.means.retry_after);
    }

    /// Tells the asker, and those who wait with it.
    pub fn settle(&mut self, settlement: Settlement) {
        if let Some(lead) = &self.lead {
            lead.settle(settlement.clone());
        }
        if let Settlement::Entry(_, Found::Stored) | Settlement::Varies(_) = &settlement {
            // Nothing more comes of this flight: the asker may want to start the next at once.
            self.lead = None;
        }
        let Some(reply) = self.reply.take() else { return };
        let filled = match settlement {
            Settlement::Shared(shared) => match shared.content.body() {
                Some(body) => Filled::Shared(shared, body),
                None => Filled::Settled(Settlement::Again),
            },
            other => Filled::Settled(other),
        };
        let _ = reply.send(filled);
    }
}

/// Reads a response to its end, as fast as the origin sends while it may be stored. `None`: nobody
/// wants it any more.
pub(super) async fn pump(mut body: Body, content: &Content) -> Option<End> {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Some(End::Broken) };
        add(frame, content).await?;
    }
    Some(End::Complete)
}

/// Adds one frame, and waits for room behind it. `None`: nobody wants it any more.
pub(super) async fn add(frame: Frame<Bytes>, content: &Content) -> Option<()> {
    match frame.into_data() {
        Ok(piece) if piece.is_empty() => {}
        Ok(piece) => {
            if content.push(piece) == Pushed::TooLarge {
                content.room().await?;
            }
        }
        Err(frame) => {
            if let Ok(trailers) = frame.into_trailers() {
                content.push_trailers(trailers);
            }
        }
    }
    Some(())
}

/// Whatever becomes of a fill, its readers do not wait for ever.
pub(super) struct Ending<'a>(pub(super) &'a Content);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end(End::Broken);
    }
}

fn from_not_modified(stale: &Entry, headers: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::full(stale.body()));
    *response.status_mut() = stale.status();
    // Nobody else gets it, so the cookie in it, if there is one, is for its asker.
    *response.headers_mut() = validation::freshen_with(&stale.headers(), headers, true);
    response
}
