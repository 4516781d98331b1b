//! Entries in this process's own memory, bounded by bytes.
//!
//! The bound holds for each shard on its own, so a shard must be much larger than the largest
//! entry: there are as many shards as leave each one at least four of the largest entries, and a
//! record too heavy for its shard is refused and counted, never lost in silence.
//!
//! A look takes one shard's read lock and clones an `Arc`. A record whose time has passed is
//! dropped when somebody looks at it, or by [`MemoryStore::sweep`].

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use super::stats::{Counter, MemorySnapshot};
use super::{Entry, Lease, LeaseEnd, LeaseToken, Record, Store, StoreError, StoreFuture, Varies};
use crate::clock;
use crate::key::{Digest, Key};
use crate::semantics::time::Timestamp;

/// What a record costs besides its own blocks: the struct, its place here, and what the first look
/// at its content takes.
const RECORD_OVERHEAD: u64 = 208;
/// Entries that fit into a shard at the least.
const PER_SHARD: u64 = 4;
/// More shards than this gain nothing.
const MAX_SHARDS: u64 = 256;
/// For how many records of this size a shard remembers that they were there.
const TYPICAL: u64 = 4096;
/// Part of a shard that one record may fill: the share that holds what is asked for often.
const HOT: f64 = 0.97;

/// A [`Store`] in memory. Leases are always granted: nobody else fills it.
pub struct MemoryStore {
    shards: Box<[Shard]>,
    /// Heaviest record that is taken in.
    limit: u64,
    next_sweep: AtomicUsize,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is there.
    Kept,
    /// Its time has passed.
    Expired,
    /// It is too heavy; what was there under its key is gone as well.
    TooHeavy,
}

impl MemoryStore {
    /// Holds up to `capacity` bytes, of entries with bodies up to `max_entry` bytes.
    pub fn new(capacity: u64, max_entry: u64) -> Self {
        let shards = shards(capacity, max_entry);
        let share = (capacity / shards).max(1);
        Self {
            shards: (0..shards).map(|_| Shard::new(share)).collect(),
            limit: hot(share),
            next_sweep: AtomicUsize::new(0),
        }
    }

    /// What is held for `key` at `now`.
    pub fn look(&self, key: &Key, now: Timestamp) -> Option<Record> {
        let shard = self.shard(&key.digest);
        let found = shard.find(key, now);
        let count = if found.is_some() { &shard.hits } else { &shard.misses };
        count.add(1);
        found
    }

    /// Takes in a record, in the place of what was there.
    pub fn insert(&self, key: &Key, record: Record, now: Timestamp) -> Admission {
        let shard = self.shard(&key.digest);
        let held = Held::new(record);
        if held.keep_until <= now {
            return Admission::Expired;
        }
        if held.weight() > self.limit {
            shard.cache.remove(&key.digest);
            shard.refused.add(1);
            return Admission::TooHeavy;
        }
        shard.insert(key.digest, held);
        Admission::Kept
    }

    /// Takes in a record that was read elsewhere, unless what is here is newer: it may have been
    /// replaced here while it was read. Returns the newer one.
    pub fn promote(&self, key: &Key, record: Record, now: Timestamp) -> Record {
        if let Some(here) = self.shard(&key.digest).find(key, now)
            && !supersedes(&record, &here)
        {
            return here;
        }
        self.insert(key, record.clone(), now);
        record
    }

    /// Forgets what is held for `key`.
    pub fn forget(&self, key: &Key) {
        self.shard(&key.digest).cache.remove_if(&key.digest, |held| held.is_for(key));
    }

    /// Drops what has passed at `now`, in one shard; each call takes the next. Returns how many
    /// records that were. Holds the shard's lock for about 50 ns per record in it.
    pub fn sweep(&self, now: Timestamp) -> usize {
        let at = self.next_sweep.fetch_add(1, Relaxed) % self.shards.len();
        self.shards.get(at).map_or(0, |shard| shard.sweep(now))
    }

    /// What it holds and what was counted.
    pub fn snapshot(&self) -> MemorySnapshot {
        let mut sum = MemorySnapshot::default();
        for shard in &self.shards {
            sum.entries += shard.cache.len() as u64;
            sum.bytes += shard.cache.weight();
            sum.capacity += shard.cache.capacity();
            sum.hits += shard.hits.read();
            sum.misses += shard.misses.read();
            sum.inserted += shard.inserted.read();
            sum.evicted += shard.evicted.read();
            sum.expired += shard.expired.read();
            sum.refused += shard.refused.read();
        }
        sum
    }

    /// Digests are evenly spread, so any of their bits will do.
    fn shard(&self, digest: &Digest) -> &Shard {
        let at = usize::from(digest.0[0]) & (self.shards.len() - 1);
        &self.shards[at]
    }
}

impl Store for MemoryStore {
    fn peek(&self, key: &Key) -> Option<Record> {
        self.look(key, clock::now())
    }

    fn fetch<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>> {
        ready(Ok(self.peek(key)))
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn put<'a>(&'a self, key: &'a Key, record: Record) -> StoreFuture<'a, ()> {
        ready(match self.insert(key, record, clock::now()) {
            Admission::Kept | Admission::Expired => Ok(()),
            Admission::TooHeavy => Err(StoreError::Failed("too large for memory".into())),
        })
    }

    fn remove<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, ()> {
        self.forget(key);
        ready(Ok(()))
    }

    fn lease<'a>(&'a self, _: &'a Key, _: Duration) -> StoreFuture<'a, Lease> {
        ready(Ok(Lease::Granted(LeaseToken::unique())))
    }

    fn renew<'a>(&'a self, _: &'a Key, _: &'a LeaseToken, _: Duration) -> StoreFuture<'a, bool> {
        ready(Ok(true))
    }

    fn release<'a>(&'a self, _: &'a Key, _: &'a LeaseToken, _: LeaseEnd) -> StoreFuture<'a, ()> {
        ready(Ok(()))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("shards", &self.shards.len()).finish_non_exhaustive()
    }
}

fn ready<'a, T: Send + 'a>(outcome: Result<T, StoreError>) -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(outcome))
}

/// As many as leave each at least [`PER_SHARD`] of the largest entries; a power of two.
fn shards(capacity: u64, max_entry: u64) -> u64 {
    let largest = max_entry.saturating_add(2 * TYPICAL);
    let fit = (capacity / largest.saturating_mul(PER_SHARD).max(1)).clamp(1, MAX_SHARDS);
    1 << fit.ilog2()
}

/// The heaviest record that a shard of this capacity takes in.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the same arithmetic as the cache's own, so that it refuses nothing that passes here"
)]
fn hot(share: u64) -> u64 {
    (share as f64 * HOT) as u64
}

/// Is `new` to replace `old`? Both may be served, or the ledger says otherwise; this only keeps a
/// slow read from undoing a put.
fn supersedes(new: &Record, old: &Record) -> bool {
    match (new, old) {
        (Record::Entry(new), Record::Entry(old)) => {
            (new.as_of, new.vouched) >= (old.as_of, old.vouched)
        }
        (Record::Varies(new), Record::Varies(old)) => {
            new.names != old.names
                || !new.variants.iter().all(|v| old.variants.iter().any(|o| o.0 == v.0))
        }
        (Record::Entry(_), Record::Varies(_)) | (Record::Varies(_), Record::Entry(_)) => true,
    }
}

struct Shard {
    cache: Cache<Digest, Held, Weigh, DefaultHashBuilder, Outgoing>,
    hits: Counter,
    misses: Counter,
    inserted: Counter,
    evicted: Counter,
    expired: Counter,
    refused: Counter,
}

impl Shard {
    fn new(capacity: u64) -> Self {
        let remembered = usize::try_from(capacity / TYPICAL).unwrap_or(usize::MAX).max(64);
        let options = OptionsBuilder::new()
            .shards(1)
            .estimated_items_capacity(remembered)
            .weight_capacity(capacity)
            .hot_allocation(HOT)
            .build()
            .expect("both capacities are set");
        Self {
            cache: Cache::with_options(options, Weigh, DefaultHashBuilder::default(), Outgoing),
            hits: Counter::default(),
            misses: Counter::default(),
            inserted: Counter::default(),
            evicted: Counter::default(),
            expired: Counter::default(),
            refused: Counter::default(),
        }
    }

    fn find(&self, key: &Key, now: Timestamp) -> Option<Record> {
        let held = self.cache.get(&key.digest)?;
        if held.keep_until <= now {
            let gone = self.cache.remove_if(&key.digest, |held| held.keep_until <= now);
            self.expired.add(u64::from(gone.is_some()));
            return None;
        }
        held.is_for(key).then_some(held.record)
    }

    fn insert(&self, digest: Digest, held: Held) {
        // What goes is dropped here, outside the lock.
        let mut going = Vec::new();
        self.cache.insert_with_lifecycle(digest, held, &mut going);
        self.inserted.add(1);
        // A record that was replaced is reported as well.
        let evicted = going.iter().filter(|(gone, _)| *gone != digest).count();
        self.evicted.add(evicted as u64);
    }

    fn sweep(&self, now: Timestamp) -> usize {
        let dropped = Cell::new(0);
        self.cache.retain(|_, held| {
            let stays = held.keep_until > now;
            dropped.set(dropped.get() + usize::from(!stays));
            stays
        });
        self.expired.add(dropped.get() as u64);
        dropped.get()
    }
}

/// A record in its shard.
#[derive(Clone)]
struct Held {
    record: Record,
    /// The record's own, so that a sweep need not look at it.
    keep_until: Timestamp,
}

impl Held {
    fn new(record: Record) -> Self {
        Self { keep_until: record.keep_until(), record }
    }

    /// About how many bytes of memory it takes.
    fn weight(&self) -> u64 {
        let own = match &self.record {
            Record::Entry(entry) => entry_weight(entry),
            Record::Varies(varies) => varies_weight(varies),
        };
        RECORD_OVERHEAD + own
    }

    /// Digests can collide; texts cannot.
    fn is_for(&self, key: &Key) -> bool {
        self.record.key() == key.full
    }
}

fn entry_weight(entry: &Entry) -> u64 {
    entry.allocated().iter().filter(|bytes| **bytes > 0).map(|bytes| class(*bytes as u64)).sum()
}

/// What mimalloc takes for so many bytes. It has four sizes from each power of two to the next, and
/// cuts pages of 64 or 512 KiB into as many of one size as fit. Of what is larger, memory that is
/// never written is not there.
fn class(bytes: u64) -> u64 {
    const PAGES: [(u64, u64); 2] = [(8 << 10, 64 << 10), (64 << 10, 512 << 10)];
    let step = bytes.checked_ilog2().map_or(8, |log| 1 << log.saturating_sub(2));
    let size = bytes.next_multiple_of(step.max(8));
    match PAGES.iter().find(|(largest, _)| size <= *largest) {
        Some((_, page)) => page / (page / size.max(8)),
        None => bytes.next_multiple_of(4 << 10),
    }
}

fn varies_weight(varies: &Varies) -> u64 {
    (varies.key.len() + varies.names.len() * 48 + varies.variants.len() * 24) as u64
}

#[derive(Clone)]
struct Weigh;

impl Weighter<Digest, Held> for Weigh {
    fn weight(&self, _: &Digest, held: &Held) -> u64 {
        held.weight()
    }
}

/// Collects what is pushed out, so that it is counted, and freed outside the lock.
#[derive(Clone)]
struct Outgoing;

impl Lifecycle<Digest, Held> for Outgoing {
    type RequestState = Vec<(Digest, Held)>;

    fn on_evict(&self, state: &mut Self::RequestState, digest: Digest, held: Held) {
        state.push((digest, held));
    }
}

#[cfg(test)]
mod tests;
