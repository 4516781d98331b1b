//! The ledger as this process uses it: one handle for everybody, whoever keeps the stream.
//!
//! ```text
//!                 invalidate ──► announce ──► what is due ──► append task ──► Valkey
//!                                   │                                           │
//!   judge, version, applied ◄── Ledger (pure) ◄── records ◄── tail task ◄───────┘
//! ```
//!
//! A hit does not have to ask each time. [`LedgerHandle::generation`] says whether anything has
//! changed since an entry was judged; the order is
//! 1. `let seen = ledger.generation(now);`
//! 2. if `seen` is `Some` and equals what is noted with the entry, its noted standing still holds;
//! 3. else `judge`, and note `seen` (the one from step 1) and the standing.
//!
//! The generation moves with every record, fence, local invalidation and answered append, always
//! before whoever caused it learns of it. It is `None` while the lease has run out, and while a purge
//! is being spread: then a standing depends on the moment and must not be kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{OpenError, valkey};
use crate::clock;
use crate::config::{self, Durability};
use crate::ledger::name::{Belongs, Name};
use crate::ledger::{Cause, Kind, Ledger, Mode, Position, Record, Standing, Ticket};
use crate::semantics::time::Timestamp;

pub(super) mod barrier;
mod intending;
mod observed;
mod shared;
mod versions;

pub use barrier::Unconfirmed;
pub use intending::Intending;
pub use observed::{Observed, Peer};
use shared::Awaited;
pub(super) use shared::{Due, Shared, Taken};

/// How long a write waits for this process's own tail once Valkey has taken its record.
const PASSING: Duration = Duration::from_secs(1);

/// What this process knows of the ledger, and the way to add to it. Clones are the same ledger;
/// when the last one is dropped, its tasks end.
#[derive(Clone, Debug)]
pub struct LedgerHandle {
    shared: Arc<Shared>,
    valkey: Option<Arc<Valkey>>,
}

#[derive(Debug)]
struct Valkey {
    budget: Duration,
    stop: DropGuard,
    /// Ends when the others know that this process is gone.
    tail: Mutex<Option<JoinHandle<()>>>,
}

/// How the ledger is kept in Valkey.
#[derive(Clone, Debug)]
pub struct Settings {
    /// First part of every key.
    pub prefix: Arc<str>,
    /// What one exchange with Valkey may take.
    pub budget: Duration,
    /// For how long this process vouches for what it has after it last heard from Valkey.
    pub lease: Duration,
    /// How many names it remembers.
    pub names: usize,
    /// How long records are kept: the longest that an entry may live.
    pub retention: Duration,
    /// Most records that are kept.
    pub records: usize,
    /// How long a replica may take to acknowledge what was appended; `None`: none is asked.
    pub replicas: Option<Duration>,
}

/// What became of an invalidation. It counts here in any case, from before this was returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where it stands; a local step if Valkey has not taken it yet.
    pub position: Position,
    /// Valkey has not taken it in time: the others will learn of it when it is back.
    pub owed: bool,
    /// This process's own tail has passed it.
    pub passed: bool,
    /// As many servers have it as `store.durability` asks for. If not, a failover may lose it.
    pub durable: bool,
}

/// Changes whenever a standing may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

/// The last generation in which an entry was found to be good. As long as that has not moved, a hit
/// asks no more: no lock, no search.
#[derive(Debug, Default)]
pub struct Judged(AtomicU64);

impl Judged {
    /// Was it good in this generation?
    pub fn is_good(&self, seen: Option<Generation>) -> bool {
        seen.is_some_and(|Generation(seen)| self.0.load(Ordering::Relaxed) == seen)
    }

    /// It is good; `seen` was taken before it was judged.
    pub fn found_good(&self, seen: Option<Generation>) {
        if let Some(Generation(seen)) = seen {
            self.0.store(seen, Ordering::Relaxed);
        }
    }
}

impl Clone for Judged {
    /// Of another entry, which nobody has judged.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Settings {
    /// From the configuration; `retention` is the longest hard TTL in use, with its
    /// stale-if-error window.
    pub fn of(store: &config::Store, retention: Duration) -> Self {
        let budget = (store.timeout * 4).max(Duration::from_millis(200));
        Self {
            prefix: store.prefix.clone(),
            budget,
            lease: store.ledger_lease,
            names: store.ledger_names,
            retention,
            records: store.ledger_names.max(1000),
            replicas: (store.durability == Durability::Replicas).then_some(budget / 2),
        }
    }
}

impl LedgerHandle {
    /// As configured: in Valkey if there is one, else in this process.
    ///
    /// # Errors
    /// If a file that is needed for TLS cannot be used.
    pub fn of(store: &config::Store, retention: Duration) -> Result<Self, OpenError> {
        match &store.valkey {
            Some(valkey) => Self::valkey(valkey, Settings::of(store, retention)),
            None => Ok(Self::embedded(store.ledger_names)),
        }
    }

    /// A ledger for one process, which remembers up to `names` names and is always heard.
    pub fn embedded(names: usize) -> Self {
        let shared = Shared::new(Ledger::new(names, None), None);
        shared.set_ready();
        Self { shared: Arc::new(shared), valkey: None }
    }

    /// A ledger that all processes share in this Valkey. Returns at once, whether or not it can be
    /// reached. To be called within a tokio runtime.
    ///
    /// # Errors
    /// If a file that is needed for TLS cannot be used.
    pub fn valkey(server: &config::Valkey, settings: Settings) -> Result<Self, OpenError> {
        let ledger = Ledger::new(settings.names, Some(settings.lease));
        let shared = Arc::new(Shared::new(ledger, Some(settings.lease)));
        let stop = CancellationToken::new();
        let budget = settings.budget + settings.replicas.unwrap_or_default();
        let tail = valkey::ledger::spawn(Arc::clone(&shared), server, settings, &stop)?;
        let valkey = Valkey { budget, stop: stop.drop_guard(), tail: Mutex::new(Some(tail)) };
        Ok(Self { shared, valkey: Some(Arc::new(valkey)) })
    }

    // --- asking ---

    /// Position of the last hard invalidation of anything in `belongs`, in the stream's own numbers.
    pub fn last(&self, belongs: &Belongs) -> Position {
        self.shared.read().last(belongs).shared()
    }

    /// Everything up to here is known. A fill notes it before it asks the origin. An entry that
    /// leaves this process takes [`Position::shared`] of it along: local steps mean nothing
    /// elsewhere.
    pub fn applied(&self) -> Position {
        self.shared.read().applied()
    }

    /// Part of the key of every entry under `namespace`.
    pub fn version(&self, namespace: &str) -> Position {
        self.shared.version(namespace)
    }

    /// What an entry is worth, see [`Ledger::judge`].
    pub fn judge(
        &self,
        as_of: Position,
        vouched: Timestamp,
        belongs: &Belongs,
        now: Timestamp,
    ) -> Standing {
        self.shared.read().judge(as_of, vouched, belongs, now)
    }

    /// Was the record at `own` the only one since `since` that reached anything in `belongs`, see
    /// [`Ledger::is_undisturbed`].
    pub fn is_undisturbed(&self, since: Position, own: Position, belongs: &Belongs) -> bool {
        self.shared.read().is_undisturbed(since, own, belongs)
    }

    /// Moves when a standing may have changed; `None` while no standing can be kept. Take it
    /// *before* judging.
    pub fn generation(&self, now: Timestamp) -> Option<Generation> {
        self.shared.generation(now).map(Generation)
    }

    /// How long ago all there was to hear had been heard; `None` if that never was. Zero for a
    /// ledger of this process.
    pub fn heard_age(&self, now: Timestamp) -> Option<Duration> {
        self.shared.heard_age(now)
    }

    /// This process, among all that share the ledger: 64 random bits in hexadecimal.
    pub fn instance(&self) -> &str {
        self.shared.instance()
    }

    /// Who else shares it, and how far they are, as of about a second ago.
    pub fn peers(&self) -> Arc<Vec<Peer>> {
        self.shared.peers.load_full()
    }

    /// Counters.
    pub fn observe(&self) -> Observed {
        self.shared.observe()
    }

    /// True once all there was in the ledger has been read.
    pub fn is_ready(&self) -> bool {
        *self.shared.ready().borrow()
    }

    /// Waits until [`Self::is_ready`].
    pub async fn ready(&self) {
        // Fails only without a sender, and `self` holds it.
        let _ = self.shared.ready().wait_for(|ready| *ready).await;
    }

    /// Follows [`Self::applied`].
    pub fn subscribe_applied(&self) -> watch::Receiver<Position> {
        self.shared.moves()
    }

    /// Waits until everything up to `position` is known; false if that takes longer than `within`.
    pub async fn wait_for(&self, position: Position, within: Duration) -> bool {
        let mut moves = self.shared.moves();
        matches!(
            tokio::time::timeout(within, moves.wait_for(|applied| *applied >= position)).await,
            Ok(Ok(_))
        )
    }

    /// Does everybody who shares it have it in this process? Then it knows all there is to know.
    pub const fn is_embedded(&self) -> bool {
        self.valkey.is_none()
    }

    /// Waits until this process knows all that was in the ledger when this was called, at most for
    /// [`Settings::budget`]. Valkey is asked once for all who call at the same time.
    ///
    /// # Errors
    ///
    /// That could not be found out in time: then what this process knows may be too little.
    pub async fn confirm(&self) -> Result<(), Unconfirmed> {
        match &self.valkey {
            Some(valkey) => barrier::confirm(&self.shared, valkey.budget).await,
            None => Ok(()),
        }
    }

    /// Is the ledger there to take an invalidation, as far as can be told without giving it one?
    ///
    /// # Errors
    ///
    /// Valkey does not answer, or has not taken what it was given before.
    pub async fn reach(&self) -> Result<(), Unconfirmed> {
        match &self.valkey {
            Some(_) if self.shared.read().is_store_away() => Err(Unconfirmed::Away),
            Some(valkey) => barrier::reach(&self.shared, valkey.budget).await,
            None => Ok(()),
        }
    }

    /// How often Valkey was asked where the ledger ends.
    pub fn questions(&self) -> u64 {
        self.shared.barrier.questions()
    }

    // --- adding ---

    /// Invalidates `names` everywhere. When it returns, it counts here; and unless the receipt says
    /// `owed`, every process that has heard of its position obeys it.
    ///
    /// Dropping the future does not take it back: it is on its way once this was first polled.
    pub async fn invalidate(&self, names: Vec<Name>, mode: Mode, cause: Cause) -> Receipt {
        if names.is_empty() {
            let position = self.applied();
            return Receipt { position, owed: false, passed: true, durable: true };
        }
        self.record(names, mode, cause, None).await
    }

    /// The same, for some names at least; ends the announced write `closes`.
    async fn record(
        &self,
        names: Vec<Name>,
        mode: Mode,
        cause: Cause,
        closes: Option<Ticket>,
    ) -> Receipt {
        let Some(valkey) = &self.valkey else {
            return Receipt {
                position: self.append_here(names, mode, cause),
                owed: false,
                passed: true,
                durable: true,
            };
        };
        let (step, awaited) = self.shared.announce(names, mode, cause, closes);
        let owed = Receipt { position: step, owed: true, passed: false, durable: false };
        // Valkey is known to be away: nobody waits for it.
        let Some(Awaited { ticket, answer }) = awaited else { return owed };
        match tokio::time::timeout(valkey.budget, answer).await {
            Ok(Ok(Some(Taken { position, replicated }))) => {
                let passed = self.pass(ticket, position).await;
                Receipt { position, owed: false, passed, durable: replicated }
            }
            Ok(_) | Err(_) => owed,
        }
    }

    /// Hears nothing more and appends nothing more, and lets the others know that nobody has to
    /// wait for this process, as far as Valkey can be told within `patience`.
    pub async fn leave(&self, patience: Duration) {
        let Some(valkey) = &self.valkey else { return };
        valkey.stop.token().cancel();
        let tail = valkey.tail.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tail) = tail {
            let _ = tokio::time::timeout(patience, tail).await;
        }
    }

    /// The embedded ledger: a local counter that follows the clock while it can.
    fn append_here(&self, names: Vec<Name>, mode: Mode, cause: Cause) -> Position {
        let now = Position::of_entry(clock::now().as_millis(), 0);
        let kind = Kind::Invalidation { names, mode };
        let mut record = Record { position: now, kind, writer: "".into(), ticket: None, cause };
        self.shared.count(cause);
        self.shared.change(|ledger| {
            record.position = now.max(ledger.applied().next());
            ledger.apply_at([&record], clock::now());
            record.position
        })
    }

    async fn pass(&self, ticket: Ticket, position: Position) -> bool {
        let started = tokio::time::Instant::now();
        let mut moves = self.shared.moves();
        let passing = async {
            // Marks what was seen before looking, so that no move in between is missed.
            while *moves.borrow_and_update() < position || self.shared.is_open(ticket) {
                if moves.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        let passed = matches!(tokio::time::timeout(PASSING, passing).await, Ok(true));
        self.shared.counters.pass(started.elapsed(), passed);
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Doubt;

    fn product() -> Belongs {
        Belongs::of("catalog/products", "//shop.test/products/7", &["product:7"], &[""; 0])
    }

    async fn write(ledger: &LedgerHandle, name: &str) -> Receipt {
        ledger.invalidate(vec![name.parse().unwrap()], Mode::Hard, Cause::Write).await
    }

    fn judge(ledger: &LedgerHandle, as_of: Position) -> Standing {
        ledger.judge(as_of, Timestamp::ZERO, &product(), clock::now())
    }

    #[tokio::test]
    async fn one_process_alone_needs_no_valkey() {
        let ledger = LedgerHandle::embedded(100);
        ledger.ready().await;
        let before = ledger.applied();
        assert_eq!(judge(&ledger, before), Standing::Good);
        let first = write(&ledger, "tag:product:7").await;
        let second = write(&ledger, "tag:product:8").await;
        assert!(!first.owed && first.passed && first.position < second.position);
        assert_eq!(judge(&ledger, before), Standing::Invalidated);
        assert_eq!(judge(&ledger, ledger.applied()), Standing::Good);
        assert_eq!(ledger.heard_age(clock::now()), Some(Duration::ZERO));
        assert!(ledger.wait_for(second.position, Duration::ZERO).await);
        assert!(!ledger.wait_for(second.position.next(), Duration::from_millis(1)).await);
        assert_eq!(ledger.observe().invalidations[Cause::Write.index()], 2);
    }

    #[tokio::test]
    async fn the_generation_moves_with_every_invalidation() {
        let ledger = LedgerHandle::embedded(100);
        let seen = ledger.generation(clock::now());
        assert_eq!(ledger.generation(clock::now()), seen);
        write(&ledger, "tag:elsewhere").await;
        assert_ne!(ledger.generation(clock::now()), seen);
    }

    #[tokio::test]
    async fn no_standing_is_kept_while_a_purge_is_being_spread() {
        let ledger = LedgerHandle::embedded(100);
        let (before, judged) = (ledger.applied(), Judged::default());
        let seen = ledger.generation(clock::now());
        assert_eq!(judge(&ledger, before), Standing::Good);
        judged.found_good(seen);
        assert!(judged.is_good(ledger.generation(clock::now())));
        assert!(!judged.clone().is_good(seen), "a copy is another entry");
        let names = vec!["tag:product:7".parse().unwrap()];
        ledger.invalidate(names, Mode::Spread(60_000), Cause::Purge).await;
        assert_eq!(ledger.generation(clock::now()), None);
        let over = clock::now() + Duration::from_secs(61);
        assert!(ledger.generation(over).is_some() && !judged.is_good(ledger.generation(over)));
        let standing = ledger.judge(before, over, &product(), over);
        assert_eq!(standing, Standing::Softened);
    }

    #[test]
    fn what_was_good_before_a_silence_is_judged_again_after_it() {
        let lease = Duration::from_secs(2);
        let shared = Shared::new(Ledger::new(10, Some(lease)), Some(lease));
        let start = Timestamp::from_millis(1_000_000);
        let judge = |now| shared.read().judge(Position::ZERO, start, &product(), now);
        shared.heard(start);
        let seen = shared.generation(start);
        assert_eq!((judge(start), seen.is_some()), (Standing::Good, true));
        shared.heard(start + lease);
        assert_eq!(shared.generation(start + lease), seen);
        let back = start + lease * 4;
        assert_eq!(shared.generation(back), None);
        shared.heard(back);
        assert_ne!(shared.generation(back), seen);
        assert_eq!(judge(back), Standing::Suspect(Doubt::Unheard), "others may owe something");
    }

    #[tokio::test]
    async fn every_thread_sees_a_bump_that_was_acknowledged() {
        let (ledger, other) = (LedgerHandle::embedded(100), LedgerHandle::embedded(100));
        for _ in 0..3 {
            let old = ledger.version("catalog/products");
            let bump = write(&ledger, "namespace:catalog").await.position;
            assert!(bump > old);
            assert_eq!(ledger.version("catalog/products"), bump);
            assert_eq!(other.version("catalog/products"), Position::ZERO, "another ledger");
            let clone = ledger.clone();
            let seen = std::thread::spawn(move || clone.version("catalog/products"));
            assert_eq!(seen.join().unwrap(), bump);
        }
    }

    #[tokio::test]
    async fn nothing_to_invalidate_changes_nothing() {
        let ledger = LedgerHandle::embedded(100);
        let seen = ledger.generation(clock::now());
        ledger.invalidate(Vec::new(), Mode::Hard, Cause::Purge).await;
        assert_eq!(ledger.generation(clock::now()), seen);
    }
}
