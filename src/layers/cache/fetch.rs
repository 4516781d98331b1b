//! A client waits for the origin: it leads a fill, or follows one.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Response};
use tokio::sync::oneshot;

use super::asked::Asked;
use super::deliver::{self, Asker, Served};
use super::fill::{Fill, Filled};
use super::lookup::Looked;
use super::{Means, Origin};
use crate::body::Body;
use crate::error::{OriginFault, ProxyError};
use crate::layers::collapse::{Flight, Found, Joined, Settlement, Shared};
use crate::ledger::Standing;
use crate::plan::request::may_cover_an_error;
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
    looked: Looked,
    reason: FetchReason,
    company: Company,
) -> Step {
    let waiting = Waiting { means, asked, stale: servable(&looked, means), reason };
    if company == Company::Alone {
        return waiting.lead(inner, looked, None).await;
    }
    let belongs = asked.belongs();
    let now = means.now();
    let joined = means.flights.join(looked.key.digest, means.ledger.applied(), now, |flight| {
        means.ledger.judge(flight.as_of, flight.began, &belongs, now) == Standing::Good
    });
    match joined {
        Joined::Lead(lead) => waiting.lead(inner, looked, Some(lead)).await,
        Joined::Follow(flight) => {
            means.metrics.collapsed(asked.route.index);
            waiting.follow(&flight).await
        }
    }
}

/// What may be served if the origin fails.
fn servable(looked: &Looked, means: &Means) -> Option<Arc<Entry>> {
    let (entry, standing) = looked.entry.as_ref()?;
    (*standing != Standing::Invalidated && may_cover_an_error(entry, means.now()))
        .then(|| Arc::clone(entry))
}

/// A request that waits.
struct Waiting<'a> {
    means: &'a Arc<Means>,
    asked: &'a Arc<Asked>,
    stale: Option<Arc<Entry>>,
    reason: FetchReason,
}

impl Waiting<'_> {
    async fn lead<S: Origin>(
        self,
        inner: &S,
        looked: Looked,
        lead: Option<crate::layers::collapse::Lead>,
    ) -> Step {
        let (reply, filled) = oneshot::channel();
        let validated = looked
            .entry
            .filter(|(_, standing)| *standing != Standing::Invalidated)
            .map(|(entry, _)| entry);
        let fill = Fill {
            means: Arc::clone(self.means),
            inner: inner.clone(),
            asked: Arc::clone(self.asked),
            key: looked.key,
            stale: validated,
            lead,
            ask_fleet: looked.reachable,
            refreshing: false,
            reply: Some(reply),
        };
        tokio::spawn(fill.run());
        match filled.await {
            Ok(Filled::Settled(settlement)) => self.settled(settlement, Asker::Own),
            Ok(Filled::Own(response, why, took)) => {
                Step::Done(deliver::own(self.asked, response, self.reason, why.as_str(), took))
            }
            Err(_) => Step::Failed(OriginFault::Broken("the fetch was given up".into())),
        }
    }

    async fn follow(self, flight: &Flight) -> Step {
        let patience = self.asked.route.collapse_timeout;
        match tokio::time::timeout(patience, flight.settled()).await {
            Ok(settlement) => self.settled(settlement, Asker::Other),
            Err(_) => Step::Again(None),
        }
    }

    fn settled(&self, settlement: Settlement, asker: Asker) -> Step {
        match settlement {
            Settlement::Shared(shared) => self.join(&shared, asker),
            Settlement::Entry(entry, found) => self.take(&entry, found, asker),
            Settlement::Failed(fault) => match self.instead(StaleReason::Error) {
                Some(response) => Step::Done(response),
                None => Step::Failed(fault),
            },
            Settlement::BackingOff => match self.instead(StaleReason::Error) {
                Some(response) => Step::Done(response),
                None => Step::Again(None),
            },
            Settlement::Unshareable | Settlement::Again => Step::Again(None),
        }
    }

    fn join(&self, shared: &Arc<Shared>, asker: Asker) -> Step {
        if !shared.stored
            && let Some(response) = self.instead(StaleReason::Error)
        {
            return Step::Done(response);
        }
        let now = self.means.now();
        if asker == Asker::Other {
            if !shared.answers(|name| vary::normalised(name, &self.asked.headers)) {
                let names = shared.varies.iter().map(|(name, _)| name.clone()).collect();
                return Step::Again(Some(names));
            }
            let entry = &shared.entry;
            let standing =
                self.means.ledger.judge(entry.as_of, entry.vouched, shared.belongs(), now);
            if standing != Standing::Good {
                return Step::Again(None);
            }
        }
        match deliver::shared(self.asked, shared, self.reason, asker, now) {
            Some(response) => Step::Done(response),
            None => Step::Again(None),
        }
    }

    fn take(&self, entry: &Entry, found: Found, asker: Asker) -> Step {
        let now = self.means.now();
        let standing = self.means.ledger.judge(entry.as_of, entry.vouched, &entry.belongs, now);
        // Whose question the origin answered asked before whatever came since.
        if standing != Standing::Good && (asker == Asker::Other || found == Found::Elsewhere) {
            return Step::Again(None);
        }
        let served = match found {
            Found::Validated => Served::Validated(self.reason, asker),
            Found::Elsewhere => Served::Collapsed(self.reason),
        };
        Step::Done(deliver::entry(self.asked, entry, served, now))
    }

    /// Something stale, instead of an error.
    fn instead(&self, why: StaleReason) -> Option<Response<Body>> {
        let entry = self.stale.as_ref()?;
        self.means.metrics.stale_if_error(self.asked.route.index);
        Some(deliver::entry(self.asked, entry, Served::Stale(why), self.means.now()))
    }
}

impl From<OriginFault> for Step {
    fn from(fault: OriginFault) -> Self {
        Self::Failed(fault)
    }
}

/// Longest wait of one request in all, over several flights.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// An error as a result, for the layers above.
pub const fn failed(fault: OriginFault) -> ProxyError {
    ProxyError::Origin(fault)
}
