//! What the cache works with, and how it is left in good order.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::asked::namespace;
use super::footing::Floors;
use super::notes::Notes;
use super::searches::Searches;
use crate::config::captures::Captures;
use crate::config::matcher::Routes;
use crate::config::{Config, Route};
use crate::key::tags;
use crate::layers::collapse::Flights;
use crate::layers::collapse::content::FillBudget;
use crate::semantics::time::Timestamp;
use crate::store::Store;
use crate::store::ledger::LedgerHandle;
use crate::telemetry::metrics::Metrics;

/// How much longer than the origin may take a write stays announced after its process was last heard
/// of: the origin may still be working on what a process sent that died.
pub const INTENT_MARGIN: Duration = Duration::from_secs(5);

/// What the cache works with: one per process.
#[derive(Debug)]
pub struct Means {
    /// Which route applies.
    pub routes: Routes,
    /// Where entries are.
    pub store: Arc<dyn Store>,
    /// What was invalidated.
    pub ledger: LedgerHandle,
    /// Fills under way.
    pub flights: Arc<Flights>,
    /// What all fills may hold in memory.
    pub fill_budget: Arc<FillBudget>,
    /// Keys whose answers could not be shared.
    pub hit_for_miss: Notes,
    /// Keys for which the origin failed a moment ago.
    pub failures: Notes,
    /// What requests in doubt may be served.
    pub floors: Arc<Floors>,
    /// Which query parameters count, as far as origins say so.
    pub searches: Searches,
    /// Room for background refreshes.
    pub refreshes: Arc<Semaphore>,
    /// How long a failing origin is left alone, per key.
    pub retry_after: Duration,
    /// How long a fill lease outlives its holder.
    pub lease: Duration,
    /// How long an announced write may go unheard of before it counts as done.
    pub intent_span: Duration,
    /// [`tags::stamp`] of each route, the fallback's last.
    pub stamps: Box<[[u8; 8]]>,
    /// Namespace of each route whose template has no captures, the fallback's last.
    pub namespaces: Box<[Option<Arc<str>>]>,
    /// Writes under way: their invalidations must not be lost when the process ends.
    pub writes: TaskTracker,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Scheme and authority of the last request that was not a hit in memory: for questions that
    /// name none.
    pub last: Arc<ArcSwapOption<String>>,
    /// What time it is.
    pub clock: fn() -> Timestamp,
}

impl Means {
    /// From a configuration, a store and a ledger.
    pub fn new(
        config: &Config,
        store: Arc<dyn Store>,
        ledger: LedgerHandle,
        metrics: Arc<Metrics>,
    ) -> Self {
        let fill_memory = config.store.memory.max(64 << 20);
        Self {
            routes: Routes::new(config),
            store,
            ledger,
            flights: Arc::default(),
            fill_budget: Arc::new(FillBudget::new(fill_memory)),
            hit_for_miss: Notes::default(),
            failures: Notes::default(),
            floors: Arc::default(),
            searches: Searches::default(),
            refreshes: Arc::new(Semaphore::new(config.origin.max_refreshes)),
            retry_after: config.origin.retry_after,
            lease: config.store.lease,
            intent_span: config.origin.timeout + INTENT_MARGIN,
            stamps: config
                .routes
                .iter()
                .chain([&config.fallback])
                .map(|route| tags::stamp(&route.tags, route.max_tags))
                .collect(),
            namespaces: config
                .routes
                .iter()
                .chain([&config.fallback])
                .map(|route| route.namespace.as_text().map(Arc::from))
                .collect(),
            writes: TaskTracker::new(),
            metrics,
            last: Arc::default(),
            clock: crate::clock::now,
        }
    }

    /// The same under another configuration: entries, fills under way and what is known of the
    /// ledger stay.
    pub fn reconfigured(&self, config: &Config) -> Self {
        let (store, ledger) = (Arc::clone(&self.store), self.ledger.clone());
        let metrics = Arc::clone(&self.metrics);
        Self {
            flights: Arc::clone(&self.flights),
            fill_budget: Arc::clone(&self.fill_budget),
            floors: Arc::clone(&self.floors),
            last: Arc::clone(&self.last),
            writes: self.writes.clone(),
            ..Self::new(config, store, ledger, metrics)
        }
    }

    /// `scheme://authority` of the last request that was not a hit in memory.
    pub fn last_place(&self) -> Option<String> {
        self.last.load().as_ref().map(|place| String::clone(place))
    }

    pub(super) fn note_place_of(&self, uri: &http::Uri) {
        if let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) {
            self.note_place(scheme, authority.as_str());
        }
    }

    /// Notes where a request went that was not a hit in memory.
    pub fn note_place(&self, scheme: &str, authority: &str) {
        let is_it = |place: &String| {
            let rest = place.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
            rest == Some(authority)
        };
        if !self.last.load().as_ref().is_some_and(|place| is_it(place)) {
            self.last.store(Some(Arc::new(format!("{scheme}://{authority}"))));
        }
    }

    /// [`tags::stamp`] of a route.
    pub fn stamp(&self, route: &Route) -> [u8; 8] {
        self.stamps.get(route.index).copied().unwrap_or_default()
    }

    /// The namespace that a request's entry lives under.
    pub fn namespace(&self, route: &Route, captures: &Captures) -> Arc<str> {
        match self.namespaces.get(route.index) {
            Some(Some(known)) => Arc::clone(known),
            _ => namespace(route, captures),
        }
    }

    /// Waits until no write is under way and nothing is owed to the ledger any more, at most
    /// `patience`; false if that was not enough.
    pub async fn settled(&self, patience: Duration) -> bool {
        self.writes.close();
        let settled = async {
            self.writes.wait().await;
            while self.ledger.observe().owed > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(patience, settled).await.is_ok()
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }
}
