//! A client waits for the origin: it leads a fill, or follows one.

use std::sync::{Arc, OnceLock};

use http::{HeaderName, Response};
use tokio::sync::oneshot;

use super::asked::Asked;
use super::deliver::{self, Asker, Served};
use super::fill::{Fill, Filled};
use super::lookup::{self, Looked};
use super::recipe::Moment;
use super::{Means, Origin};
use crate::body::Body;
use crate::config::RequestDirectives;
use crate::error::OriginFault;
use crate::key::{Key, tags};
use crate::layers::collapse::{Flight, Found, Joined, Lead, Settlement, Shared};
use crate::ledger::Standing;
use crate::plan::request::may_stand_in;
use crate::plan::{FetchReason, StaleReason};
use crate::semantics::vary;
use crate::store::Entry;

/// Where waiting for the origin led.
#[derive(Debug)]
pub enum Step {
    /// To an answer.
    Done(Response<Body>),
    /// To no answer, with nothing to serve instead.
    Failed(OriginFault),
    /// To an entry in the store that processes share, to be judged for this request; its key and
    /// the fields that this varies on.
    Found((Key, Option<Vec<HeaderName>>), Arc<Entry>),
    /// To the end of its patience: it asks for itself.
    Impatient,
    /// Back to the lookup; the fields that the response is known to vary on, if it is.
    Again(Option<Vec<HeaderName>>),
}

/// How a request may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// With others that ask for the same.
    Shared,
    /// For itself.
    Alone,
}

/// Waits for the origin's answer to `asked`.
pub async fn through<S: Origin>(
    means: &Arc<Means>,
    inner: &S,
    asked: &Arc<Asked>,
    mut looked: Looked,
    reason: FetchReason,
    company: Company,
) -> Step {
    let place = (looked.key.clone(), looked.names.clone());
    let (stale, found_out) = (servable(asked, &looked, means), Arc::default());
    let waiting = Waiting { means, asked, place, stale, reason, found_out };
    if company == Company::Alone {
        return waiting.lead(inner, looked, None).await;
    }
    // Worked out before the flights are locked, and mostly for nothing: nobody asks for this yet.
    let belongs = means.flights.has(looked.key.digest).then(|| asked.belongs());
    let (now, applied) = (means.now(), means.ledger.applied());
    // Tags that stand in the content are known when it has been read: too late for who joins now.
    let untold = tags::needs_json(&asked.route.tags);
    // RFC 9111 §5.2.1.4: what the origin said before this request came is a stored response to it,
    // though it is still on its way to the store.
    let newer = asked.route.request_directives == RequestDirectives::Honour
        && asked.demands.are_about_age();
    let join = || {
        means.flights.join(looked.key.digest, applied, now, |flight| {
            let belongs = belongs.unwrap_or_else(|| asked.belongs());
            let good = lookup::may_join(means, asked, &belongs, flight, now);
            let in_time = !newer || flight.is_fetching();
            good && flight.is_open(now) && in_time && (!untold || flight.as_of >= applied)
        })
    };
    match looked.lead.take().map_or_else(join, Joined::Lead) {
        Joined::Lead(lead) => {
            // Between the lookup and the lead another flight may have come and gone.
            let again = lookup::peek(means, asked, looked.names.as_deref(), now);
            let unasked = looked.shared == lookup::Shared::Unasked || asked.floor.is_some();
            if again.is_servable() && unasked {
                drop(lead);
                return Step::Again(looked.names);
            }
            // … and may have shown that the key varies: who asks for the same variant is elsewhere.
            if again.key.digest != looked.key.digest {
                drop(lead);
                return Step::Again(again.names);
            }
            waiting.lead(inner, looked, Some(lead)).await
        }
        Joined::Follow(flight) => {
            means.metrics.collapsed(asked.route.index);
            waiting.follow(&flight).await
        }
    }
}

/// Treats the whole that came in answer to `asked`, a request for a part, like that of any fill.
pub async fn take_over<S: Origin>(
    means: &Arc<Means>,
    inner: &S,
    asked: &Arc<Asked>,
    looked: Looked,
    reason: FetchReason,
    (response, moment): (Response<Body>, Moment),
    lead: Option<Lead>,
) -> Step {
    let place = (looked.key.clone(), looked.names.clone());
    let found_out = Arc::default();
    let waiting = Waiting { means, asked, place, stale: None, reason, found_out };
    let (reply, filled) = oneshot::channel();
    let fill = Fill { stale: None, ..waiting.fill(inner, looked, lead, reply) };
    tokio::spawn(fill.take(response, moment));
    waiting.filled(filled).await
}

/// What may be served if the origin fails.
pub fn servable(asked: &Asked, looked: &Looked, means: &Means) -> Option<Arc<Entry>> {
    let (entry, standing) = looked.entry.as_ref()?;
    may_stand_in(&asked.route, entry, *standing, means.now()).then(|| Arc::clone(entry))
}

/// A request that waits.
struct Waiting<'a> {
    means: &'a Arc<Means>,
    asked: &'a Arc<Asked>,
    /// Its key, and the fields that this varies on.
    place: (Key, Option<Vec<HeaderName>>),
    stale: Option<Arc<Entry>>,
    reason: FetchReason,
    /// A better reason, if its fill finds one in the store that processes share.
    found_out: Arc<OnceLock<FetchReason>>,
}

impl Waiting<'_> {
    async fn lead<S: Origin>(self, inner: &S, looked: Looked, lead: Option<Lead>) -> Step {
        let (reply, filled) = oneshot::channel();
        let mut fill = self.fill(inner, looked, lead, reply);
        // What is in the store needs no task of its own. If this client leaves meanwhile, those who
        // wait with it look for themselves.
        match fill.look().await {
            Some(found) => fill.settle(found),
            None => drop(tokio::spawn(fill.run())),
        }
        self.filled(filled).await
    }

    fn fill<S: Origin>(
        &self,
        inner: &S,
        looked: Looked,
        lead: Option<Lead>,
        reply: oneshot::Sender<Filled>,
    ) -> Fill<S> {
        let validated = looked
            .entry
            .filter(|(_, standing)| *standing != Standing::Invalidated)
            .map(|(entry, _)| entry);
        Fill {
            means: Arc::clone(self.means),
            inner: inner.clone(),
            asked: Arc::clone(self.asked),
            key: looked.key,
            stale: validated,
            lead,
            shared: looked.shared,
            names: looked.names,
            refreshing: false,
            unconditional: false,
            reason: Arc::clone(&self.found_out),
            reply: Some(reply),
        }
    }

    async fn filled(mut self, filled: oneshot::Receiver<Filled>) -> Step {
        let filled = filled.await;
        self.reason = self.found_out.get().copied().unwrap_or(self.reason);
        match filled {
            Ok(Filled::Settled(settlement)) => self.settled(settlement, Asker::Own),
            Ok(Filled::Shared(shared, body)) => self.read(&shared, body, Asker::Own),
            Ok(Filled::Own(response, why, took)) => {
                Step::Done(deliver::own(self.asked, response, self.reason, why.as_str(), took))
            }
            Ok(Filled::Error(response, stale, took)) => match self.instead(stale.as_ref()) {
                Some(response) => Step::Done(response),
                None => {
                    let own = deliver::own(self.asked, response, self.reason, "origin-error", took);
                    Step::Done(own)
                }
            },
            Err(_) => Step::Failed(OriginFault::Broken("the fetch was given up".into())),
        }
    }

    async fn follow(self, flight: &Flight) -> Step {
        let patience = self.asked.route.collapse_timeout;
        match tokio::time::timeout(patience, flight.settled()).await {
            Ok(settlement) => self.settled(settlement, Asker::Other),
            Err(_) => Step::Impatient,
        }
    }

    fn settled(&self, settlement: Settlement, asker: Asker) -> Step {
        match settlement {
            Settlement::Shared(shared) => self.join(&shared),
            Settlement::Entry(entry, found) => self.take(&entry, found, asker),
            Settlement::Failed(fault, stale) => match self.instead(stale.as_ref()) {
                Some(response) => Step::Done(response),
                None => Step::Failed(fault),
            },
            Settlement::BackingOff(stale) => match self.instead(stale.as_ref()) {
                Some(response) => Step::Done(response),
                None => Step::Again(None),
            },
            Settlement::Varies(names) => Step::Again(names),
            Settlement::Unshareable | Settlement::Again => Step::Again(None),
        }
    }

    fn read(&self, shared: &Shared, body: Body, asker: Asker) -> Step {
        if !shared.stored
            && let Some(response) = self.instead(shared.instead.as_ref())
        {
            return Step::Done(response);
        }
        let now = self.means.now();
        Step::Done(deliver::shared(self.asked, shared, body, (self.reason, asker), now))
    }

    /// Somebody else's response is for this request too if it is the variant that this one asks
    /// for, was not invalidated meanwhile, and can still be read from its beginning.
    fn join(&self, shared: &Shared) -> Step {
        if !shared.answers(|name| vary::normalised(name, &self.asked.headers)) {
            let names = shared.varies.iter().map(|(name, _)| name.clone()).collect();
            return Step::Again(Some(names));
        }
        let entry = &shared.entry;
        let standing = lookup::standing(self.means, self.asked, entry, self.means.now());
        if standing != Standing::Good {
            return Step::Again(None);
        }
        match shared.content.body() {
            Some(body) => self.read(shared, body, Asker::Other),
            None => Step::Again(None),
        }
    }

    fn take(&self, entry: &Arc<Entry>, found: Found, asker: Asker) -> Step {
        let now = self.means.now();
        let standing = lookup::standing(self.means, self.asked, entry, now);
        // Whose question the origin answered asked before whatever came since.
        let asked_before = asker == Asker::Own && matches!(found, Found::Validated(_));
        if standing != Standing::Good && found != Found::Stored && !asked_before {
            return Step::Again(None);
        }
        let served = match found {
            Found::Stored => return Step::Found(self.place.clone(), Arc::clone(entry)),
            Found::Validated(took) => Served::Validated(self.reason, asker, took),
            Found::Elsewhere => Served::Collapsed(self.reason),
        };
        Step::Done(deliver::entry(self.asked, entry, served, now))
    }

    /// Something stale, instead of an error: what this request found, or what the fill did.
    fn instead(&self, found: Option<&Arc<Entry>>) -> Option<Response<Body>> {
        let now = self.means.now();
        let entry = self.stale.as_ref().or(found)?;
        if !lookup::may_stand_in(self.means, self.asked, entry, now) {
            return None;
        }
        self.means.metrics.stale_if_error(self.asked.route.index);
        Some(deliver::entry(self.asked, entry, Served::Stale(StaleReason::Error), now))
    }
}
