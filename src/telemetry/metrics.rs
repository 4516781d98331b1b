//! Every metric once: name, labels, one sentence. Times are in seconds, sizes in bytes.
//!
//! The hit ratio of a route is the share of `hit`, `stale` and `collapsed` among all its requests
//! but those that ended as `pass`, `refused`, `error` or `left` ([`Outcome::spared_the_origin`],
//! [`Outcome::cacheable`]).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::meter::{COARSE, FINE, Histogram, Lanes, count};
use super::outcome::{OriginResult, Outcome, RefreshResult, Source};
use super::scrape::{Kind, Metric, Sample, Scrape, page};

macro_rules! table {
    ($($id:ident: $kind:ident $name:literal $labels:tt $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Metric =
                Metric { name: $name, kind: Kind::$kind, labels: &$labels, help: $help };
        )*

        /// Every metric there is, in the order in which they are shown.
        pub const TABLE: &[Metric] = &[$($id),*];
    };
}

table! {
    // What clients asked and got.
    REQUESTS: Counter "larder_requests_total" ["route", "outcome"]
        "Requests answered, by what became of them.";
    REQUEST_DURATION: Histogram "larder_request_duration_seconds" ["source"]
        "From the head of a request to the end of its response, by where the response came from.";
    RESPONSE_BYTES: Counter "larder_response_bytes_total" ["route", "source"]
        "Content sent to clients, by where it came from.";
    IN_FLIGHT: Gauge "larder_requests_in_flight" []
        "Requests being answered at this moment.";

    // What that cost the origin, and what it did not.
    ORIGIN_REQUESTS: Counter "larder_origin_requests_total" ["route", "result"]
        "Exchanges with the origin, by how they ended.";
    ORIGIN_DURATION: Histogram "larder_origin_duration_seconds" ["route"]
        "From a request sent to the origin to the head of its response, or to its failure.";
    ORIGIN_SAVED: Counter "larder_origin_time_saved_seconds_total" ["route"]
        "Time the origin would have worked for requests that were answered without it.";
    FILLS: Counter "larder_fills_total" ["route"]
        "Responses fetched from the origin and stored.";
    COLLAPSED: Counter "larder_collapsed_waiters_total" ["route"]
        "Requests that waited for somebody else's fill instead of asking the origin.";
    REFRESHES: Counter "larder_refreshes_total" ["route", "result"]
        "Refreshes behind stale hits, by how they ended.";
    STALE_IF_ERROR: Counter "larder_stale_if_error_total" ["route"]
        "Responses served stale because the origin failed.";

    // Invalidation.
    INVALIDATIONS: Counter "larder_invalidations_total" ["cause"]
        "Invalidations, by what caused them.";
    PURGES: Counter "larder_purges_total" ["mode"]
        "Purges asked of this process.";
    LEDGER_POSITION: Gauge "larder_ledger_position_seconds" []
        "Time part of the applied position, in seconds since the epoch: compare it between processes.";
    LEDGER_SILENCE: Gauge "larder_ledger_silence_seconds" []
        "Time since the ledger was last heard; past the lease, what is in memory is suspect.";
    LEDGER_OWED: Gauge "larder_ledger_owed" []
        "Invalidations applied here that Valkey has not taken yet.";
    LEDGER_INTENTS: Gauge "larder_ledger_intents" []
        "Writes announced by this process whose outcome is not known yet.";
    LEDGER_UNREPLICATED: Counter "larder_ledger_unreplicated_total" []
        "Exchanges with the ledger that no replica acknowledged in time (store.durability = \"replicas\").";
    LEDGER_FENCES: Counter "larder_ledger_fences_total" []
        "New epochs of the Valkey server that this process has seen.";
    LEDGER_NAMES: Gauge "larder_ledger_names" []
        "Invalidated names that the index remembers.";
    LEDGER_MALFORMED: Counter "larder_ledger_malformed_total" []
        "Names in the ledger, or whole records, that could not be read and were skipped.";

    // Bridges from pub/sub.
    BRIDGE_MESSAGES: Counter "larder_bridge_messages_total" ["channel"]
        "Messages heard on a bridge's channel.";
    BRIDGE_NAMES: Counter "larder_bridge_names_total" ["channel"]
        "Names invalidated because of messages, or of a gap between them.";
    BRIDGE_MALFORMED: Counter "larder_bridge_malformed_total" ["channel"]
        "Messages that could not be read, or not all of them.";
    BRIDGE_GAPS: Counter "larder_bridge_gaps_total" ["channel"]
        "Times that a bridge began to listen; what was sent before may have been missed.";
    BRIDGE_CONNECTED: Gauge "larder_bridge_connected" ["channel"]
        "Subscriptions that stand: one for each bridge on the channel, or none.";

    // Strict routes, and writes that are refused rather than owed.
    STRICT_QUESTIONS: Counter "larder_strict_questions_total" []
        "Times Valkey was asked where the ledger ends.";
    STRICT_REQUESTS: Counter "larder_strict_requests_total" ["result"]
        "Requests on strict routes, by whether this process came to know all that was recorded before them.";
    STRICT_WAIT: Histogram "larder_strict_wait_seconds" []
        "How long requests on strict routes waited to know.";
    WRITES_REFUSED: Counter "larder_writes_refused_total" ["route"]
        "Writes answered 503 because Valkey would not have taken their record.";

    // The store.
    STORE_OPERATIONS: Counter "larder_store_operations_total" ["tier", "operation"]
        "Operations on the store.";
    STORE_ERRORS: Counter "larder_store_errors_total" ["tier", "operation", "error"]
        "Operations on the store that failed: timeout, away (not asked), failed, damaged (a miss).";
    STORE_DURATION: Histogram "larder_store_duration_seconds" ["tier", "operation"]
        "How long operations on the store took.";
    MEMORY_ENTRIES: Gauge "larder_memory_entries" []
        "Entries in this process's memory.";
    MEMORY_BYTES: Gauge "larder_memory_bytes" []
        "Bytes they take.";
    MEMORY_EVICTIONS: Counter "larder_memory_evictions_total" []
        "Entries that had to make room for others.";
    VALKEY_UP: Gauge "larder_valkey_up" []
        "1 while Valkey answers, 0 while it is left alone because it did not.";
    VALKEY_MEMORY: Gauge "larder_valkey_memory_bytes" []
        "Memory that Valkey says it uses (used_memory).";
    VALKEY_EVICTED: Counter "larder_valkey_evicted_keys_total" []
        "Keys that Valkey says it evicted (evicted_keys).";

    // This process.
    LOG_DROPPED: Counter "larder_access_log_dropped_total" []
        "Access log lines dropped because standard output did not keep up.";
    STARTED: Gauge "larder_process_start_time_seconds" []
        "When this process started, in seconds since the epoch.";
    UPTIME: Gauge "larder_process_uptime_seconds" []
        "How long this process has been running.";
    BUILD: Gauge "larder_build_info" ["version"]
        "Always 1; says which version is running.";
}

/// All that this process counts. Every method is cheap enough for the path of a hit: a few
/// additions to counters of the calling thread's own, no lock, no allocation.
pub struct Metrics {
    started: Instant,
    started_at: f64,
    routes: ArcSwap<Vec<Arc<RouteMeter>>>,
    requests: Lanes<RequestLane>,
    soft_purges: AtomicU64,
    hard_purges: AtomicU64,
    strict: Lanes<StrictLane>,
    plugged: Mutex<Vec<Box<dyn Scrape + Send + Sync>>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("routes", &self.routes.load().len()).finish_non_exhaustive()
    }
}

/// What all routes share, in the calling thread's lane.
#[derive(Debug)]
struct RequestLane {
    durations: [Histogram; Source::ALL.len()],
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Default for RequestLane {
    fn default() -> Self {
        let durations = Source::ALL.map(|_| Histogram::new(FINE));
        Self { durations, begun: AtomicU64::new(0), ended: AtomicU64::new(0) }
    }
}

/// Results of [`STRICT_REQUESTS`].
const STRICT_RESULTS: [&str; 5] = ["passed", "away", "silent", "unopened", "late"];

/// Of requests on strict routes, in the calling thread's lane.
#[derive(Debug)]
struct StrictLane {
    results: [AtomicU64; STRICT_RESULTS.len()],
    wait: Histogram,
}

impl Default for StrictLane {
    fn default() -> Self {
        Self { results: Default::default(), wait: Histogram::new(FINE) }
    }
}

/// What is counted of one route.
#[derive(Debug)]
struct RouteMeter {
    name: Box<str>,
    lanes: Lanes<RouteLane>,
    // Whoever counts these has just waited for the origin: no lanes needed.
    origin: [AtomicU64; OriginResult::ALL.len()],
    origin_duration: Histogram,
    refreshes: [AtomicU64; RefreshResult::ALL.len()],
    fills: AtomicU64,
    collapsed: AtomicU64,
    stale_if_error: AtomicU64,
    writes_refused: AtomicU64,
}

#[derive(Debug, Default)]
struct RouteLane {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    bytes: [AtomicU64; Source::ALL.len()],
    saved_nanos: AtomicU64,
}

impl RouteMeter {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            lanes: Lanes::default(),
            origin: Default::default(),
            origin_duration: Histogram::new(COARSE),
            refreshes: Default::default(),
            fills: AtomicU64::new(0),
            collapsed: AtomicU64::new(0),
            stale_if_error: AtomicU64::new(0),
            writes_refused: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// For these routes, in the order of `Route::index`; the fallback comes last. An index past
    /// the end counts for the last.
    pub fn new(routes: &[&str]) -> Arc<Self> {
        let metrics = Self {
            started: Instant::now(),
            started_at: since_epoch(),
            routes: ArcSwap::default(),
            requests: Lanes::default(),
            soft_purges: AtomicU64::new(0),
            hard_purges: AtomicU64::new(0),
            strict: Lanes::default(),
            plugged: Mutex::default(),
        };
        metrics.set_routes(routes);
        Arc::new(metrics)
    }

    /// Takes over the routes of a new configuration. A route that keeps its name keeps its counts.
    pub fn set_routes(&self, routes: &[&str]) {
        let before = self.routes.load();
        let mut now: Vec<Arc<RouteMeter>> = Vec::with_capacity(routes.len().max(1));
        for name in if routes.is_empty() { &["-"] } else { routes } {
            // Two routes of one name are one line on the page.
            let known = now.iter().chain(before.iter()).find(|meter| &*meter.name == *name);
            now.push(known.map_or_else(|| Arc::new(RouteMeter::new(name)), Arc::clone));
        }
        self.routes.store(Arc::new(now));
    }

    /// A request has been answered, to the end of its content or to where the client left:
    /// `bytes` of it were sent, after `duration`.
    pub fn request(
        &self,
        route: usize,
        outcome: Outcome,
        source: Source,
        bytes: u64,
        duration: Duration,
    ) {
        self.requests.mine().durations[source as usize].observe(duration);
        self.with(route, |meter| {
            let lane = meter.lanes.mine();
            count(&lane.outcomes[outcome as usize]);
            lane.bytes[source as usize].fetch_add(bytes, Relaxed);
        });
    }

    /// A request is being answered until this is dropped.
    pub fn in_flight(self: &Arc<Self>) -> InFlight {
        count(&self.requests.mine().begun);
        InFlight(Arc::clone(self))
    }

    /// An entry was served without the origin, which had taken this long to make it.
    pub fn saved(&self, route: usize, fill_time: Duration) {
        let nanos = u64::try_from(fill_time.as_nanos()).unwrap_or(u64::MAX);
        self.with(route, |meter| {
            meter.lanes.mine().saved_nanos.fetch_add(nanos, Relaxed);
        });
    }

    /// An exchange with the origin ended so, this long after it began.
    pub fn origin_request(&self, route: usize, result: OriginResult, duration: Duration) {
        self.with(route, |meter| {
            count(&meter.origin[result as usize]);
            meter.origin_duration.observe(duration);
        });
    }

    /// A fill was stored.
    pub fn fill(&self, route: usize) {
        self.with(route, |meter| count(&meter.fills));
    }

    /// A request waits for somebody else's fill.
    pub fn collapsed(&self, route: usize) {
        self.with(route, |meter| count(&meter.collapsed));
    }

    /// A refresh behind a stale hit ended so.
    pub fn refresh(&self, route: usize, result: RefreshResult) {
        self.with(route, |meter| count(&meter.refreshes[result as usize]));
    }

    /// An entry was served stale because the origin failed.
    pub fn stale_if_error(&self, route: usize) {
        self.with(route, |meter| count(&meter.stale_if_error));
    }

    /// A request on a strict route waited so long to know what was recorded before it; `doubt` says
    /// why it does not, as [`STRICT_REQUESTS`] has it.
    pub fn strict(&self, doubt: Option<&str>, waited: Duration) {
        let lane = self.strict.mine();
        lane.wait.observe(waited);
        let result = doubt.unwrap_or(STRICT_RESULTS[0]);
        let counters = STRICT_RESULTS.iter().zip(&lane.results);
        counters.filter(|(word, _)| **word == result).for_each(|(_, counter)| count(counter));
    }

    /// A write was refused since Valkey would not have taken its record.
    pub fn write_refused(&self, route: usize) {
        self.with(route, |meter| count(&meter.writes_refused));
    }

    /// A purge was asked of this process.
    pub fn purge(&self, soft: bool) {
        count(if soft { &self.soft_purges } else { &self.hard_purges });
    }

    /// Takes in a room that has numbers of its own: it is asked at every scrape.
    pub fn register(&self, room: Box<dyn Scrape + Send + Sync>) {
        self.plugged.lock().unwrap_or_else(PoisonError::into_inner).push(room);
    }

    /// All of it as OpenMetrics text, served as [`super::OPENMETRICS`].
    pub fn encode(&self) -> String {
        let mut samples = self.samples();
        for room in self.plugged.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            samples.extend(room.scrape());
        }
        // Stable: within a metric, samples stay in the order in which they were given.
        samples.sort_by_key(|s| TABLE.iter().position(|m| m.name == s.name).unwrap_or(usize::MAX));
        page(samples)
    }

    fn with(&self, route: usize, act: impl FnOnce(&RouteMeter)) {
        let routes = self.routes.load();
        if let Some(meter) = routes.get(route).or_else(|| routes.last()) {
            act(meter);
        }
    }

    fn samples(&self) -> Vec<Sample> {
        let mut out = Vec::new();
        let routes = self.routes.load();
        for (at, meter) in routes.iter().enumerate() {
            if !routes[..at].iter().any(|earlier| Arc::ptr_eq(earlier, meter)) {
                meter.samples(&mut out);
            }
        }
        for source in Source::ALL {
            let all = self.requests.iter().map(|lane| &lane.durations[source as usize]);
            out.push(REQUEST_DURATION.sample(&[source.as_str()], Histogram::read_all(all)));
        }
        for (at, result) in STRICT_RESULTS.iter().enumerate() {
            let value = self.strict.sum(|lane| lane.results[at].load(Relaxed));
            out.push(STRICT_REQUESTS.sample(&[result], value));
        }
        let waits = self.strict.iter().map(|lane| &lane.wait);
        out.push(STRICT_WAIT.sample(&[], Histogram::read_all(waits)));
        // Ended first: a request that ends in between must not make the difference negative.
        let ended = self.requests.sum(|lane| lane.ended.load(Relaxed));
        let begun = self.requests.sum(|lane| lane.begun.load(Relaxed));
        out.extend([
            IN_FLIGHT.sample(&[], begun.saturating_sub(ended)),
            PURGES.sample(&["soft"], self.soft_purges.load(Relaxed)),
            PURGES.sample(&["hard"], self.hard_purges.load(Relaxed)),
            STARTED.sample(&[], self.started_at),
            UPTIME.sample(&[], self.started.elapsed().as_secs_f64()),
            BUILD.sample(&[env!("CARGO_PKG_VERSION")], 1),
        ]);
        out
    }
}

impl RouteMeter {
    fn samples(&self, out: &mut Vec<Sample>) {
        let name = &*self.name;
        for outcome in Outcome::ALL {
            let value = self.lanes.sum(|lane| lane.outcomes[outcome as usize].load(Relaxed));
            out.push(REQUESTS.sample(&[name, outcome.as_str()], value));
        }
        for source in Source::ALL {
            let value = self.lanes.sum(|lane| lane.bytes[source as usize].load(Relaxed));
            out.push(RESPONSE_BYTES.sample(&[name, source.as_str()], value));
        }
        for result in OriginResult::ALL {
            let value = self.origin[result as usize].load(Relaxed);
            out.push(ORIGIN_REQUESTS.sample(&[name, result.as_str()], value));
        }
        for result in RefreshResult::ALL {
            let value = self.refreshes[result as usize].load(Relaxed);
            out.push(REFRESHES.sample(&[name, result.as_str()], value));
        }
        let saved = self.lanes.sum(|lane| lane.saved_nanos.load(Relaxed));
        out.extend([
            ORIGIN_DURATION.sample(&[name], self.origin_duration.read()),
            ORIGIN_SAVED.sample(&[name], Duration::from_nanos(saved).as_secs_f64()),
            FILLS.sample(&[name], self.fills.load(Relaxed)),
            COLLAPSED.sample(&[name], self.collapsed.load(Relaxed)),
            STALE_IF_ERROR.sample(&[name], self.stale_if_error.load(Relaxed)),
            WRITES_REFUSED.sample(&[name], self.writes_refused.load(Relaxed)),
        ]);
    }
}

/// A request being answered: counted as long as it lives, however it ends.
#[derive(Debug)]
pub struct InFlight(Arc<Metrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        count(&self.0.requests.mine().ended);
    }
}

fn since_epoch() -> f64 {
    crate::clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::scrape::Value;

    fn value(metrics: &Metrics, line: &str) -> f64 {
        let page = metrics.encode();
        let found = page.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {line} in\n{page}")).parse().unwrap()
    }

    #[test]
    fn names_follow_the_rules_of_openmetrics() {
        let mut seen = std::collections::HashSet::new();
        for metric in TABLE {
            assert!(seen.insert(metric.name), "{} stands in the table twice", metric.name);
            assert!(metric.name.starts_with("larder_"), "{}", metric.name);
            assert_eq!(
                metric.name.ends_with("_total"),
                metric.kind == Kind::Counter,
                "{}",
                metric.name
            );
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert!(!metric.help.contains(['\n', '\\']), "{}", metric.name);
        }
    }

    #[test]
    fn requests_are_counted_by_route_and_outcome() {
        let metrics = Metrics::new(&["products", "-"]);
        let ms = Duration::from_millis(1);
        metrics.request(0, Outcome::Hit, Source::Cache, 10, ms);
        metrics.request(0, Outcome::Hit, Source::Cache, 5, ms);
        metrics.request(1, Outcome::Miss, Source::Origin, 7, ms);
        metrics.saved(0, Duration::from_millis(1500));
        let requests = |route, outcome| {
            let line = format!("larder_requests_total{{route=\"{route}\",outcome=\"{outcome}\"}}");
            value(&metrics, &line)
        };
        assert_eq!(requests("products", "hit"), 2.0);
        assert_eq!(requests("products", "miss"), 0.0);
        assert_eq!(requests("-", "miss"), 1.0);
        let bytes = "larder_response_bytes_total{route=\"products\",source=\"cache\"}";
        assert_eq!(value(&metrics, bytes), 15.0);
        let saved = "larder_origin_time_saved_seconds_total{route=\"products\"}";
        assert_eq!(value(&metrics, saved), 1.5);
        let durations = "larder_request_duration_seconds_count{source=\"cache\"}";
        assert_eq!(value(&metrics, durations), 2.0);
    }

    #[test]
    fn every_other_counter_moves_when_told() {
        let metrics = Metrics::new(&["r"]);
        metrics.origin_request(0, OriginResult::Failed, Duration::from_secs(2));
        metrics.fill(0);
        metrics.collapsed(0);
        metrics.refresh(0, RefreshResult::Confirmed);
        metrics.stale_if_error(0);
        metrics.purge(true);
        metrics.write_refused(0);
        for result in [None, Some("away"), Some("silent"), Some("unopened"), Some("late")] {
            metrics.strict(result, Duration::from_millis(1));
        }
        for line in [
            "larder_origin_requests_total{route=\"r\",result=\"failed\"}",
            "larder_origin_duration_seconds_count{route=\"r\"}",
            "larder_fills_total{route=\"r\"}",
            "larder_collapsed_waiters_total{route=\"r\"}",
            "larder_refreshes_total{route=\"r\",result=\"confirmed\"}",
            "larder_stale_if_error_total{route=\"r\"}",
            "larder_purges_total{mode=\"soft\"}",
            "larder_writes_refused_total{route=\"r\"}",
            "larder_strict_requests_total{result=\"passed\"}",
            "larder_strict_requests_total{result=\"away\"}",
            "larder_strict_requests_total{result=\"silent\"}",
            "larder_strict_requests_total{result=\"unopened\"}",
            "larder_strict_requests_total{result=\"late\"}",
        ] {
            assert_eq!(value(&metrics, line), 1.0, "{line}");
        }
    }

    #[test]
    fn a_request_in_flight_is_counted_until_it_ends() {
        let metrics = Metrics::new(&["r"]);
        let (one, two) = (metrics.in_flight(), metrics.in_flight());
        assert_eq!(value(&metrics, "larder_requests_in_flight"), 2.0);
        std::thread::spawn(move || drop(one)).join().unwrap();
        drop(two);
        assert_eq!(value(&metrics, "larder_requests_in_flight"), 0.0);
    }

    #[test]
    fn an_index_past_the_end_counts_for_the_last_route() {
        let metrics = Metrics::new(&["a", "-"]);
        metrics.fill(17);
        assert_eq!(value(&metrics, "larder_fills_total{route=\"-\"}"), 1.0);
    }

    #[test]
    fn a_route_keeps_its_counts_when_the_configuration_changes() {
        let metrics = Metrics::new(&["a", "b", "-"]);
        metrics.fill(1);
        metrics.set_routes(&["new", "b", "b", "-"]);
        metrics.fill(1);
        metrics.fill(2);
        assert_eq!(value(&metrics, "larder_fills_total{route=\"b\"}"), 3.0);
        let page = metrics.encode();
        assert!(!page.contains("route=\"a\""), "{page}");
        assert_eq!(page.matches("larder_fills_total{route=\"b\"}").count(), 1, "{page}");
    }

    #[test]
    fn other_rooms_are_asked_at_every_scrape() {
        let metrics = Metrics::new(&["r"]);
        let reads = Arc::new(AtomicU64::new(0));
        let theirs = Arc::clone(&reads);
        metrics.register(Box::new(move || {
            let n = theirs.fetch_add(1, Relaxed) + 1;
            vec![MEMORY_ENTRIES.sample(&[], Value::Count(n))]
        }));
        assert_eq!(value(&metrics, "larder_memory_entries"), 1.0);
        assert_eq!(value(&metrics, "larder_memory_entries"), 2.0);
    }

    #[test]
    fn a_route_name_cannot_break_the_page() {
        let metrics = Metrics::new(&["/a\"b\\{x}\n# EOF"]);
        let page = metrics.encode();
        assert_eq!(page.lines().filter(|l| *l == "# EOF").count(), 1, "{page}");
    }
}
