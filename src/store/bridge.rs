//! The bridges that are running: what is heard on pub/sub becomes invalidations.
//!
//! | a bridge | does |
//! |---|---|
//! | has just begun to listen, or listens again | invalidates its `on_gap`: nobody knows what was sent before |
//! | hears a message after a quiet moment | invalidates what it names at once |
//! | hears more within a few milliseconds | merges them, each name once, into one invalidation |
//! | cannot read a message, or a part of it | counts it, says so now and then, and goes on |
//! | loses its connection | connects again, and has just begun to listen |
//!
//! Every process has its own, and each appends what it hears: as many records per message as there
//! are processes. To invalidate twice is to invalidate once, a bit later; and no message is lost
//! because the one process that was to hear it had just died.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::ledger::LedgerHandle;
use super::throttle::Throttle;
use super::valkey;
use crate::config::Valkey;
use crate::config::event::Bridge;
use crate::key::event::{self, Reading};
use crate::ledger::name::Name;
use crate::ledger::{Cause, Mode};

/// From one invalidation to the next: the longest that a message waits for others.
const PAUSE: Duration = Duration::from_millis(3);

/// With so many names it does not wait.
const FULL: usize = event::MAX_NAMES;

/// Longest text of a fault in the log: it may quote the message.
const LONGEST_FAULT: usize = 200;

/// What whoever knows the routes makes of names from outside, as of those of a purge.
pub trait Door: Send + Sync {
    /// `//host/path?query` with the query canonical, as [`crate::key::purge::name`] wants it.
    fn canonical(&self, place: &str) -> Option<String>;
    /// The same name without our own listener's port: it is in no entry's place.
    fn at_our_door(&self, name: Name) -> Name;
}

/// The bridges of this process.
pub struct Bridges {
    ledger: LedgerHandle,
    /// Where the channels are of those that do not say so.
    valkey: Option<Valkey>,
    door: Arc<dyn Door>,
    running: Mutex<Vec<Running>>,
    tasks: TaskTracker,
}

struct Running {
    bridge: Arc<Bridge>,
    meter: Arc<Meter>,
    /// It ends with this.
    _stop: DropGuard,
}

/// What was counted of the bridges on one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeSnapshot {
    /// As configured.
    pub channel: Arc<str>,
    /// Messages heard.
    pub messages: u64,
    /// Names invalidated because of them.
    pub names: u64,
    /// Messages that could not be read, or not all of them.
    pub malformed: u64,
    /// Times that it began to listen: before each, messages may have been missed.
    pub gaps: u64,
    /// Subscriptions that stand: one per bridge, or none.
    pub connected: u64,
}

#[derive(Debug, Default)]
struct Meter {
    messages: AtomicU64,
    names: AtomicU64,
    malformed: AtomicU64,
    gaps: AtomicU64,
    connected: AtomicU64,
}

impl Bridges {
    /// None yet. `valkey` is where the channels are of bridges that do not say so.
    pub fn new(ledger: LedgerHandle, valkey: Option<Valkey>, door: Arc<dyn Door>) -> Self {
        let (running, tasks) = (Mutex::default(), TaskTracker::new());
        Self { ledger, valkey, door, running, tasks }
    }

    /// Runs these from now on, and no others. Those that run already are left alone: they miss
    /// nothing. Must be called inside a tokio runtime.
    pub fn set(&self, wanted: &[Arc<Bridge>]) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *running);
        let old: Vec<_> = before
            .iter()
            .map(|r| (Arc::clone(&r.bridge.channel.text), Arc::clone(&r.meter)))
            .collect();
        for bridge in wanted {
            let known = before.iter().position(|r| r.bridge == *bridge);
            let next = known.map(|at| before.swap_remove(at)).or_else(|| {
                // Bridges on one channel are one line on the page of metrics.
                let now = running.iter().map(|r: &Running| (&r.bridge.channel.text, &r.meter));
                let before = old.iter().map(|(channel, meter)| (channel, meter));
                let meter = now.chain(before).find(|(text, _)| **text == bridge.channel.text);
                let meter = meter.map_or_else(Arc::default, |(_, meter)| Arc::clone(meter));
                self.start(Arc::clone(bridge), meter)
            });
            running.extend(next);
        }
    }

    /// Ends them all; what they have heard is on its way when this returns, at the latest after
    /// `patience`.
    pub async fn stop(&self, patience: Duration) {
        self.set(&[]);
        self.tasks.close();
        let _ = tokio::time::timeout(patience, self.tasks.wait()).await;
    }

    /// What was counted, by channel.
    pub fn snapshot(&self) -> Vec<BridgeSnapshot> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen: Vec<BridgeSnapshot> = Vec::new();
        for Running { bridge, meter, .. } in running.iter() {
            let channel = Arc::clone(&bridge.channel.text);
            if seen.iter().all(|other| other.channel != channel) {
                seen.push(meter.read(channel));
            }
        }
        seen
    }

    /// `None` if its channel is in a store that was configured after the start.
    fn start(&self, bridge: Arc<Bridge>, meter: Arc<Meter>) -> Option<Running> {
        let Some(at) = bridge.valkey.clone().or_else(|| self.valkey.clone()) else {
            let channel = &*bridge.channel.text;
            tracing::warn!(channel, "a bridge needs a restart: there was no store.valkey before");
            return None;
        };
        let stop = CancellationToken::new();
        let ear = Ear {
            bridge: Arc::clone(&bridge),
            ledger: self.ledger.clone(),
            door: Arc::clone(&self.door),
            meter: Arc::clone(&meter),
            pending: Vec::new(),
            seen: HashSet::new(),
            due: Instant::now(),
            complaints: Throttle::default(),
        };
        self.tasks.spawn(valkey::bridge::run(ear, at, stop.clone()));
        Some(Running { bridge, meter, _stop: stop.drop_guard() })
    }
}

impl fmt::Debug for Bridges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridges").field("running", &self.snapshot().len()).finish_non_exhaustive()
    }
}

/// What one bridge has heard and not yet passed on.
pub(super) struct Ear {
    bridge: Arc<Bridge>,
    ledger: LedgerHandle,
    door: Arc<dyn Door>,
    meter: Arc<Meter>,
    pending: Vec<Name>,
    seen: HashSet<Name>,
    /// When what is pending goes out.
    due: Instant,
    complaints: Throttle,
}

/// Counts a subscription for as long as it stands.
pub(super) struct Standing(Arc<Meter>);

impl Ear {
    /// What it listens to.
    pub(super) fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    /// The subscription stands from now on, until what this returns is dropped.
    pub(super) fn begins(&mut self) -> Standing {
        self.meter.gaps.fetch_add(1, Relaxed);
        self.meter.connected.fetch_add(1, Relaxed);
        let reading = event::of_gap(&self.bridge, |place| self.door.canonical(place));
        self.take(reading);
        self.pass_on();
        Standing(Arc::clone(&self.meter))
    }

    /// A message has come.
    pub(super) fn hears(&mut self, channel: &[u8], payload: &[u8]) {
        self.meter.messages.fetch_add(1, Relaxed);
        let channel = String::from_utf8_lossy(channel);
        let canonical = |place: &str| self.door.canonical(place);
        let reading = event::read(&self.bridge, &channel, payload, canonical);
        if reading.fault.is_some() {
            self.meter.malformed.fetch_add(1, Relaxed);
        }
        self.take(reading);
        if self.pending.len() >= FULL {
            self.pass_on();
        }
    }

    /// When [`Self::pass_on`] is to be called; `None`: nothing is pending.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.pending.is_empty()).then_some(self.due)
    }

    /// Invalidates what is pending. It counts here when this returns, and is owed to the others:
    /// nobody waits for Valkey to take it.
    pub(super) fn pass_on(&mut self) {
        self.due = Instant::now() + PAUSE;
        self.seen.clear();
        let names = std::mem::take(&mut self.pending);
        if names.is_empty() {
            return;
        }
        self.meter.names.fetch_add(names.len() as u64, Relaxed);
        let mode = if self.bridge.soft { Mode::Soft } else { Mode::Hard };
        // On its way once it was polled.
        let _ = self.ledger.invalidate(names, mode, Cause::Event).now_or_never();
    }

    fn take(&mut self, reading: Reading) {
        for name in reading.names {
            let name = self.door.at_our_door(name);
            if !self.seen.contains(&name) {
                self.seen.insert(name.clone());
                self.pending.push(name);
            }
        }
        let Some(fault) = reading.fault else { return };
        let Some(messages) = self.complaints.happened(1, Instant::now()) else { return };
        let why: String = fault.to_string().chars().take(LONGEST_FAULT).collect();
        let channel = &*self.bridge.channel.text;
        tracing::warn!(channel, messages, why, "messages of a bridge that cannot be read");
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.connected.fetch_sub(1, Relaxed);
    }
}

impl Meter {
    fn read(&self, channel: Arc<str>) -> BridgeSnapshot {
        BridgeSnapshot {
            channel,
            messages: self.messages.load(Relaxed),
            names: self.names.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            gaps: self.gaps.load(Relaxed),
            connected: self.connected.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge(channel: &str) -> Arc<Bridge> {
        let names = vec!["tag:{$.id}".parse().unwrap()];
        let on_gap = vec!["namespace:catalog".parse().unwrap()];
        let channel = channel.parse().unwrap();
        Arc::new(Bridge { channel, names, soft: false, on_gap, valkey: None })
    }

    struct Open;

    impl Door for Open {
        fn canonical(&self, place: &str) -> Option<String> {
            Some(place.to_owned())
        }

        fn at_our_door(&self, name: Name) -> Name {
            name
        }
    }

    fn ear(ledger: &LedgerHandle) -> (Ear, Arc<Meter>) {
        let meter = Arc::<Meter>::default();
        let ear = Ear {
            bridge: bridge("a"),
            ledger: ledger.clone(),
            door: Arc::new(Open),
            meter: Arc::clone(&meter),
            pending: Vec::new(),
            seen: HashSet::new(),
            due: Instant::now(),
            complaints: Throttle::default(),
        };
        (ear, meter)
    }

    fn records(ledger: &LedgerHandle) -> u64 {
        ledger.observe().invalidations[Cause::Event.index()]
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_becomes_one_record_and_each_name_stands_there_once() {
        let ledger = LedgerHandle::embedded(100);
        let (mut ear, meter) = ear(&ledger);
        let standing = ear.begins();
        assert_eq!((records(&ledger), ear.due()), (1, None), "the gap, at once");
        for id in (0..50).chain(0..50) {
            ear.hears(b"a", format!("{{\"id\": {id}}}").as_bytes());
        }
        let due = ear.due().expect("names are pending");
        assert_eq!(due - Instant::now(), PAUSE, "right after another one");
        assert_eq!(records(&ledger), 1);
        ear.pass_on();
        assert_eq!((records(&ledger), ear.due()), (2, None));
        let seen = meter.read("a".into());
        assert_eq!((seen.messages, seen.names, seen.malformed), (100, 51, 0));
        assert_eq!((seen.gaps, seen.connected), (1, 1));
        drop(standing);
        assert_eq!(meter.read("a".into()).connected, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_quiet_moment_nothing_waits() {
        let ledger = LedgerHandle::embedded(100);
        let (mut ear, _) = ear(&ledger);
        let _standing = ear.begins();
        tokio::time::advance(PAUSE).await;
        ear.hears(b"a", b"{\"id\": 1}");
        assert!(ear.due().is_some_and(|due| due <= Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_names_do_not_wait_and_do_not_pile_up() {
        let ledger = LedgerHandle::embedded(10_000);
        let (mut ear, meter) = ear(&ledger);
        for id in 0..=3 * FULL {
            ear.hears(b"a", format!("{{\"id\": {id}}}").as_bytes());
            assert!(ear.pending.len() < FULL);
        }
        assert_eq!(records(&ledger), 3);
        assert_eq!(meter.read("a".into()).names, 3 * FULL as u64);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_counted_and_skipped() {
        let ledger = LedgerHandle::embedded(100);
        let (mut ear, meter) = ear(&ledger);
        for payload in [&b"{"[..], b"{}", b"\xff", b"{\"id\": 7}"] {
            ear.hears(b"a", payload);
        }
        ear.pass_on();
        let seen = meter.read("a".into());
        assert_eq!((seen.messages, seen.malformed, seen.names), (4, 3, 1));
    }

    #[tokio::test]
    async fn a_bridge_that_stays_the_same_is_left_alone() {
        let ledger = LedgerHandle::embedded(100);
        // Nobody listens there; it is tried again and again.
        let nowhere = "valkey://127.0.0.1:1".parse().ok();
        let bridges = Bridges::new(ledger, nowhere, Arc::new(Open));
        bridges.set(&[bridge("a"), bridge("b")]);
        let meter = |at: usize| Arc::clone(&bridges.running.lock().unwrap()[at].meter);
        let (a, b) = (meter(0), meter(1));
        a.messages.fetch_add(5, Relaxed);
        bridges.set(&[bridge("b"), bridge("a"), bridge("c")]);
        assert!(Arc::ptr_eq(&meter(0), &b) && Arc::ptr_eq(&meter(1), &a));
        // A channel that keeps its name keeps its counts, whatever else changes.
        let softer = Arc::new(Bridge { soft: true, ..Bridge::clone(&bridge("a")) });
        bridges.set(&[bridge("c"), softer]);
        let seen = bridges.snapshot();
        let counts: Vec<_> = seen.iter().map(|s| (&*s.channel, s.messages)).collect();
        assert_eq!(counts, [("c", 0), ("a", 5)]);
        bridges.stop(Duration::from_secs(5)).await;
        assert!(bridges.tasks.is_empty() && bridges.snapshot().is_empty());
    }
}
