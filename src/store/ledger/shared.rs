//! What the handle and the two tasks share.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, oneshot, watch};

use super::barrier::Barrier;
use super::observed::{Counters, Observed, Peer};
use super::versions;
use crate::clock;
use crate::ledger::name::Name;
use crate::ledger::{Cause, Debt, Intent, Ledger, Mode, Opening, Position, Record, Ticket};
use crate::semantics::time::Timestamp;

/// The first generation: none is 0, see `Judged`.
const FIRST: u64 = 1;

/// `heard` of a ledger that was never heard.
const NEVER: u64 = 0;

/// Answered with nothing if the append failed.
type Answer = oneshot::Sender<Option<Taken>>;

/// Valkey has taken it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Taken {
    /// Where it stands.
    pub(in crate::store) position: Position,
    /// A replica has it too, or none was asked.
    pub(in crate::store) replicated: bool,
}

/// What is to be sent to Valkey, in this order.
#[derive(Debug, Default)]
pub(in crate::store) struct Due {
    /// Writes to announce, or to announce anew. Each is answered.
    pub(in crate::store) intents: Vec<Intent>,
    /// Invalidations to append. Each is answered.
    pub(in crate::store) debts: Vec<Debt>,
    /// Announced writes to take back: as well as it goes.
    pub(in crate::store) withdrawn: Vec<Intent>,
}

impl Due {
    pub(in crate::store) const fn is_empty(&self) -> bool {
        self.is_tidying() && self.withdrawn.is_empty()
    }

    /// Is there nothing in it that could be lost?
    pub(in crate::store) const fn is_tidying(&self) -> bool {
        self.intents.is_empty() && self.debts.is_empty()
    }
}

/// Where the answer to an append comes.
#[derive(Debug)]
pub(super) struct Awaited {
    pub(super) ticket: Ticket,
    pub(super) answer: oneshot::Receiver<Option<Taken>>,
}

#[derive(Debug)]
pub(in crate::store) struct Shared {
    instance: Box<str>,
    /// Tells this ledger from others in the same process.
    serial: u64,
    state: RwLock<Ledger>,
    lease: Option<Duration>,
    /// Moves within the write lock of `state`: who reads the new number and then takes the lock
    /// sees the new state.
    generation: AtomicU64,
    /// The same for namespace versions.
    bumps: AtomicU64,
    /// A copy of `Ledger::heard_at`, in milliseconds.
    heard: AtomicU64,
    /// A copy of `Ledger::turning`, in milliseconds; written before `generation` moves.
    turning: AtomicU64,
    /// Copies of `Ledger::applied`; sent after `state` is unlocked, and never backwards.
    moves: watch::Sender<Position>,
    ready: watch::Sender<bool>,
    /// Who waits for which append. Entered while `state` is locked, so that no answer is missed.
    waiting: Mutex<HashMap<Ticket, Answer>>,
    /// Something may be due for appending.
    work: Notify,
    pub(in crate::store) peers: ArcSwap<Vec<Peer>>,
    pub(in crate::store) counters: Counters,
    /// In front of strict routes.
    pub(in crate::store) barrier: Barrier,
}

impl Shared {
    pub(super) fn new(ledger: Ledger, lease: Option<Duration>) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        // Every `RandomState` has its own random keys; the time is there for good measure.
        let id = RandomState::new().hash_one((clock::wall(), std::process::id()));
        let instance: Box<str> = format!("{id:016x}").into();
        Self {
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            state: RwLock::new(ledger.named(&instance)),
            instance,
            lease,
            generation: AtomicU64::new(FIRST),
            bumps: AtomicU64::new(0),
            heard: AtomicU64::new(NEVER),
            turning: AtomicU64::new(0),
            moves: watch::Sender::new(Position::ZERO),
            ready: watch::Sender::new(false),
            waiting: Mutex::default(),
            work: Notify::new(),
            peers: ArcSwap::default(),
            counters: Counters::default(),
            barrier: Barrier::default(),
        }
    }

    pub(in crate::store) fn instance(&self) -> &str {
        &self.instance
    }

    pub(in crate::store) fn read(&self) -> RwLockReadGuard<'_, Ledger> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one way to change the ledger: whoever looks afterwards sees that something changed.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        let mut ledger = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut ledger);
        self.turning.store(ledger.turning().as_millis(), Ordering::Release);
        self.generation.fetch_add(1, Ordering::Release);
        self.bumps.store(ledger.bumps(), Ordering::Release);
        let applied = ledger.applied();
        drop(ledger);
        self.moves.send_if_modified(|at| std::mem::replace(at, applied.max(*at)) < applied);
        result
    }

    pub(super) fn version(&self, namespace: &str) -> Position {
        let state = (self.serial, self.bumps.load(Ordering::Acquire));
        versions::cached(state, namespace, || self.read().version(namespace))
    }

    /// `heard` is read first: when it tells of a silence that is over, the generation that is read
    /// after it is that of after the silence.
    pub(super) fn generation(&self, now: Timestamp) -> Option<u64> {
        let heard = match self.lease {
            None => true,
            Some(lease) => self.heard_age(now).is_some_and(|age| age <= lease),
        };
        let generation = self.generation.load(Ordering::Acquire);
        let turned = now.as_millis() >= self.turning.load(Ordering::Acquire);
        (heard && turned).then_some(generation)
    }

    pub(super) fn heard_age(&self, now: Timestamp) -> Option<Duration> {
        if self.lease.is_none() {
            return Some(Duration::ZERO);
        }
        let heard = self.heard.load(Ordering::Acquire);
        (heard != NEVER).then(|| now.since(Timestamp::from_millis(heard)))
    }

    pub(super) fn observe(&self) -> Observed {
        self.counters.snapshot(&self.read())
    }

    pub(super) fn moves(&self) -> watch::Receiver<Position> {
        self.moves.subscribe()
    }

    pub(super) fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    pub(super) fn set_ready(&self) {
        self.ready.send_if_modified(|ready| !std::mem::replace(ready, true));
    }

    pub(super) fn count(&self, cause: Cause) {
        self.counters.applied(cause);
    }

    pub(super) fn is_open(&self, ticket: Ticket) -> bool {
        self.read().owed().is_open(ticket)
    }

    /// Counts here from now on, and is due; ends the announced write `closes`. Returns its local
    /// step, and where the answer comes; none will come for long if Valkey is known to be away.
    pub(super) fn announce(
        &self,
        names: Vec<Name>,
        mode: Mode,
        cause: Cause,
        closes: Option<Ticket>,
    ) -> (Position, Option<Awaited>) {
        let announced = self.change(|ledger| {
            let away = ledger.owed().is_overdue();
            let (ticket, step) = match closes {
                Some(intent) => ledger.conclude(intent, names, mode, cause),
                None => ledger.announce(names, mode, cause),
            };
            if away {
                ledger.owed_mut().failed(ticket);
                return (step, None);
            }
            (step, Some(self.await_answer(ticket)))
        });
        self.work.notify_one();
        announced
    }

    /// To be announced. Returns its ticket, and where the answer comes; none will come for long if
    /// Valkey is known to be away.
    pub(super) fn intend(
        &self,
        names: Vec<Name>,
        cause: Cause,
        span: Duration,
    ) -> (Ticket, Option<Awaited>) {
        let mut ledger = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let away = ledger.is_store_away();
        let ticket = ledger.intend(names, cause, span);
        if away {
            ledger.intents_mut().failed(ticket);
        }
        let awaited = (!away).then(|| self.await_answer(ticket));
        drop(ledger);
        self.work.notify_one();
        (ticket, awaited)
    }

    /// Nothing was changed by what was announced as `intent`.
    pub(super) fn withdraw(&self, intent: Ticket) {
        let mut ledger = self.state.write().unwrap_or_else(PoisonError::into_inner);
        ledger.intents_mut().withdraw(intent);
        drop(ledger);
        self.work.notify_one();
    }

    /// Entered while the state is locked, so that no answer is missed.
    fn await_answer(&self, ticket: Ticket) -> Awaited {
        let (sender, answer) = oneshot::channel();
        self.waiting().insert(ticket, sender);
        Awaited { ticket, answer }
    }

    // --- for the append task ---

    /// Waits until something may be due.
    pub(in crate::store) async fn work(&self) {
        self.work.notified().await;
    }

    /// Each of its intents and debts must be answered, see below.
    pub(in crate::store) fn take_due(&self, now: Timestamp) -> Due {
        let mut ledger = self.state.write().unwrap_or_else(PoisonError::into_inner);
        Due {
            intents: ledger.intents_mut().take_due(now),
            debts: ledger.owed_mut().take_due(),
            withdrawn: ledger.intents_mut().take_withdrawn(),
        }
    }

    /// Valkey knows of the write, by a message sent at `at`. Whoever waits for that is only told so
    /// if it is durable: an announcement is for when things go wrong.
    pub(in crate::store) fn announced(&self, ticket: Ticket, at: Timestamp, replicated: bool) {
        let mut ledger = self.state.write().unwrap_or_else(PoisonError::into_inner);
        ledger.intents_mut().announced(ticket, at);
        let position = ledger.applied();
        drop(ledger);
        self.answer(ticket, replicated.then_some(Taken { position, replicated }));
    }

    pub(in crate::store) fn appended(&self, ticket: Ticket, taken: Taken) {
        self.change(|ledger| ledger.owed_mut().appended(ticket, taken.position));
        self.answer(ticket, Some(taken));
    }

    pub(in crate::store) fn failed(&self, due: &Due) {
        self.change(|ledger| {
            due.intents.iter().for_each(|i| ledger.intents_mut().failed(i.ticket));
            due.debts.iter().for_each(|d| ledger.owed_mut().failed(d.ticket));
        });
        let intents = due.intents.iter().map(|i| i.ticket);
        intents.chain(due.debts.iter().map(|d| d.ticket)).for_each(|t| self.answer(t, None));
    }

    /// Valkey is known to be away: nobody waits for it.
    pub(in crate::store) fn give_up_due(&self) {
        let tickets = self.change(|ledger| {
            let mut tickets = ledger.intents_mut().give_up_due();
            tickets.extend(ledger.owed_mut().give_up_due());
            tickets
        });
        tickets.into_iter().for_each(|t| self.answer(t, None));
    }

    // --- for the tail task ---

    pub(in crate::store) fn open(&self, opening: &Opening, read: Position) {
        if self.change(|ledger| ledger.open(opening, read)) {
            // What was appended to the stream before may be owed to this one.
            self.work.notify_one();
        }
    }

    pub(in crate::store) fn note_versions<'a>(
        &self,
        versions: impl IntoIterator<Item = (&'a str, Position)>,
    ) {
        self.change(|ledger| {
            versions.into_iter().for_each(|(n, v)| ledger.note_version(n, v));
        });
    }

    pub(in crate::store) fn apply(&self, records: &[Record]) {
        records.iter().filter(|r| !r.is_skipped()).for_each(|r| self.count(r.cause));
        self.change(|ledger| ledger.apply_at(records, clock::now()));
        // A fence may have shown that something is owed again.
        if records.iter().any(|r| r.cause == Cause::Fence) {
            self.work.notify_one();
        }
    }

    /// All there was to read was read, by a request sent `at`.
    pub(in crate::store) fn heard(&self, at: Timestamp) {
        let mut ledger = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let back = ledger.back_at();
        ledger.heard(at);
        if ledger.back_at() != back {
            // What was good before the silence is suspect for a moment.
            self.generation.fetch_add(1, Ordering::Release);
        }
        self.heard.store(ledger.heard_at().as_millis(), Ordering::Release);
        drop(ledger);
        self.set_ready();
    }

    fn answer(&self, ticket: Ticket, taken: Option<Taken>) {
        if let Some(answer) = self.waiting().remove(&ticket) {
            // Nobody waits any more: the budget was spent.
            let _ = answer.send(taken);
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<Ticket, Answer>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
