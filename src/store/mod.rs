//! Where entries are kept. Knows nothing of freshness: it keeps what it is given until
//! `keep_until`, gives it back by key, and may lose it at any moment.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderName;

use crate::key::{Digest, Key};
use crate::semantics::time::Timestamp;

pub mod bridge;
pub mod codec;
#[doc(hidden)]
pub mod contract;
mod entry;
pub mod ledger;
pub mod memory;
pub mod open;
pub mod stats;
mod throttle;
pub mod tiered;
pub mod valkey;

pub use entry::{Draft, Entry, Glance};
pub use ledger::Judged;
pub use open::{Meters, OpenError, Opened, open};

/// What is stored under a primary key when the response varies: where its variants are.
#[derive(Clone, Debug, PartialEq)]
pub struct Varies {
    /// [`Key::full`] of the primary key.
    pub key: Bytes,
    /// The request fields that select the variant (RFC 9111 §4.1), in lower case, sorted.
    pub names: Vec<HeaderName>,
    /// Digests of the variants known, and until when each is kept; bounded by the route's
    /// `max_variants`.
    pub variants: Vec<(Digest, Timestamp)>,
    /// Until here the store keeps it: as long as the longest of its variants.
    pub keep_until: Timestamp,
}

/// What a store holds under a key.
#[derive(Clone, Debug)]
pub enum Record {
    /// A response.
    Entry(Arc<Entry>),
    /// The fields on which to find the response.
    Varies(Arc<Varies>),
}

impl Record {
    /// [`Key::full`] of the key it was stored under.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Entry(entry) => entry.key(),
            Self::Varies(varies) => &varies.key,
        }
    }

    /// Until here the store keeps it.
    pub fn keep_until(&self) -> Timestamp {
        match self {
            Self::Entry(entry) => entry.keep_until(),
            Self::Varies(varies) => varies.keep_until,
        }
    }
}

/// Why a store did not answer. Never shown to a client: the request goes on without it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No answer within the budget.
    #[error("no answer within the budget")]
    Timeout,
    /// The breaker is open: not even asked.
    #[error("not asked: it failed a moment ago")]
    Away,
    /// It answered with an error.
    #[error("{0}")]
    Failed(String),
}

/// Who may ask the origin for a key, across all processes.
#[derive(Debug)]
pub enum Lease {
    /// We may. Give it back with [`Store::release`]; it lapses by itself if we die.
    Granted(LeaseToken),
    /// Somebody else is asking: wait for the entry, or for the lease to lapse.
    Held,
    /// The last answer could not be shared: everybody asks for themselves for now.
    Unshareable,
    /// The origin failed a moment ago: do not ask it again yet, if there is anything to serve.
    BackingOff,
}

/// Proof of a granted lease, unique in the fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseToken(pub u128);

impl LeaseToken {
    /// One that nobody else has: 128 bits keyed by the operating system's randomness.
    pub fn unique() -> Self {
        static SEED: LazyLock<[RandomState; 2]> =
            LazyLock::new(|| [RandomState::new(), RandomState::new()]);
        static TAKEN: AtomicU64 = AtomicU64::new(0);
        let count = TAKEN.fetch_add(1, Relaxed);
        // Two states of one thread differ by one in a key, which the hash does not show.
        let [high, low] =
            [(&SEED[0], 0_u8), (&SEED[1], 1)].map(|(seed, half)| seed.hash_one((count, half)));
        Self((u128::from(high) << 64) | u128::from(low))
    }
}

/// How a lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEnd {
    /// The entry is stored.
    Stored,
    /// The answer cannot be shared; remember that for this long.
    Unshareable(Duration),
    /// The origin failed; leave it alone for this long.
    Failed(Duration),
    /// Nothing to remember.
    Dropped,
}

/// A future that a store hands out.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A place for entries. `store::contract` is the suite that every implementation passes.
///
/// Every method may be called at any time and from any task. Every future ends within the store's
/// own budget. A key that differs from the record's own ([`Record::key`]) is a miss.
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// What this process holds in its own memory; never waits.
    fn peek(&self, key: &Key) -> Option<Record>;

    /// False if there is nothing for `peek` to find.
    fn has_memory(&self) -> bool {
        true
    }

    /// Asks the tier that processes share, and keeps what it finds in memory. The same as `peek`
    /// where there is no such tier.
    fn fetch<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>>;

    /// True if `fetch` may know more than `peek`.
    fn is_shared(&self) -> bool;

    /// Keeps a record until its `keep_until`; one that has passed is not stored. When the future
    /// is first polled the record is already visible to `peek`, where there is memory.
    fn put<'a>(&'a self, key: &'a Key, record: Record) -> StoreFuture<'a, ()>;

    /// Forgets a record.
    fn remove<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, ()>;

    /// Asks for the right to fill `key`; it lapses after `ttl` unless renewed. Without a shared
    /// tier always granted: collapsing inside the process is done elsewhere.
    fn lease<'a>(&'a self, key: &'a Key, ttl: Duration) -> StoreFuture<'a, Lease>;

    /// Prolongs a lease to `ttl` from now; false if it was lost.
    fn renew<'a>(
        &'a self,
        key: &'a Key,
        token: &'a LeaseToken,
        ttl: Duration,
    ) -> StoreFuture<'a, bool>;

    /// Ends a lease; does nothing if it was lost.
    fn release<'a>(
        &'a self,
        key: &'a Key,
        token: &'a LeaseToken,
        end: LeaseEnd,
    ) -> StoreFuture<'a, ()>;
}
