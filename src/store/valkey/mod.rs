//! Entries in Valkey: the tier that processes share. The client library is named in this folder
//! and nowhere else.
//!
//! | call | commands | round trips |
//! |---|---|---|
//! | `fetch`, up to 64 KiB | `GETRANGE`, `PTTL` | 1 |
//! | `fetch`, larger | the same, then `GET`, `PTTL` on the connection for large ones | 2 |
//! | `put` | `SET … PXAT` | 1 |
//! | `remove` | `UNLINK` | 1 |
//! | `lease` | `SET … NX GET PX` | 1 |
//! | `renew`, `release` | `EVALSHA` | 1 |
//!
//! Every call ends within the configured budget, plus a millisecond per 100 kB of a record larger
//! than 64 KiB. Nothing is stored without a lifetime, and it counts from the moment when the record
//! was sent: PXAT, by the server's clock as its last PING told it. With PX it would count from when
//! the server came to it, and a server that was frozen in between would make a response younger
//! than it is. What is damaged, in a foreign format, without
//! a lifetime, or somebody else's, is a miss.

use std::time::Duration;

use bytes::Bytes;
use redis::{FromRedisValue, Pipeline, Value};
use tokio::time::Instant;

use super::codec::{self, DecodeError, Encoded};
use super::{Lease, LeaseEnd, LeaseToken, Record, Store, StoreError, StoreFuture};
use crate::clock;
use crate::key::Key;

mod breaker;
pub(in crate::store) mod bridge;
mod connection;
mod dial;
mod door;
mod endpoint;
mod handle;
mod info;
mod instances;
mod lease;
pub mod ledger;
mod locate;
mod names;
mod patience;
mod scripts;
mod servers;
mod warn;

pub use breaker::Breaker;
pub use connection::LinkState;
pub use door::Connection;
pub use handle::ValkeyHandle;
pub use info::ServerInfo;
pub use lease::Leases;
pub use scripts::Script;

/// Records up to this size share a connection; others have their own, so that nothing small waits
/// behind them.
const SMALL: usize = 64 * 1024;
/// Bytes that a connection is trusted to move in a millisecond.
const BYTES_PER_MS: usize = 100_000;

/// A [`Store`] in Valkey.
#[derive(Clone, Debug)]
pub struct ValkeyStore {
    valkey: ValkeyHandle,
    leases: Leases,
}

impl ValkeyStore {
    /// Stores over these connections.
    pub fn new(valkey: ValkeyHandle) -> Self {
        Self { leases: Leases::new(valkey.clone()), valkey }
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let started = Instant::now();
        let name = names::record(self.valkey.prefix(), key);
        // Taken before the question, so that the way back makes a response older, not younger.
        let asked = clock::now();
        let Some((blob, remaining)) = self.read(&name).await? else { return Ok(None) };
        self.valkey.stats().bytes_read.add(blob.len() as u64);
        match codec::decode(&blob, asked, remaining) {
            Ok(record) if record.key() == key.full => Ok(Some(record)),
            Ok(_) => Ok(None),
            Err(DecodeError::ForeignVersion(_)) => {
                // Of use to the processes that wrote it; it leaves by its lifetime.
                self.valkey.stats().foreign.add(1);
                Ok(None)
            }
            Err(DecodeError::Damaged(what)) => {
                self.valkey.stats().damaged.add(1);
                tracing::warn!(key = name, what, "a damaged record was found and removed");
                // Best effort: if it stays, the next reader tries again. Awaited, so that it does not
                // hit what is put in its place.
                let left = self.valkey.budget().saturating_sub(started.elapsed());
                let _ = self.unlink(&name, left).await;
                Ok(None)
            }
        }
    }

    /// A record's bytes, and what is left of its lifetime.
    async fn read(&self, name: &str) -> Result<Option<(Bytes, Duration)>, StoreError> {
        let started = Instant::now();
        let budget = self.valkey.budget();
        let server = self.valkey.server(name)?;
        let mut ask = Pipeline::with_capacity(2);
        ask.cmd("GETRANGE").arg(name).arg(0).arg(SMALL - 1).cmd("PTTL").arg(name);
        let start = found(server.entries.pipeline(&ask, 2, budget).await?)?;
        let Some((bytes, _)) = &start else { return Ok(None) };
        let whole = match codec::length_of(bytes) {
            Some(length) if bytes.len() == SMALL => length as usize,
            _ => return Ok(start),
        };
        // The whole is read again in one piece: it may have been replaced in between.
        let left = (budget + allowance(whole)).saturating_sub(started.elapsed());
        let mut ask = Pipeline::with_capacity(2);
        ask.cmd("GET").arg(name).cmd("PTTL").arg(name);
        found(server.bulk.pipeline(&ask, 2, left).await?)
    }

    async fn set(&self, key: &Key, record: &Record) -> Result<(), StoreError> {
        let now = clock::now();
        let encoded = codec::encode(record, now);
        let encoded = encoded.map_err(|error| StoreError::Failed(error.to_string()))?;
        let Some(Encoded { bytes, lifetime }) = encoded else { return Ok(()) };
        let name = names::record(self.valkey.prefix(), key);
        let server = self.valkey.server(&name)?;
        let (link, budget) = match bytes.len() {
            ..=SMALL => (&server.entries, self.valkey.budget()),
            large => (&server.bulk, self.valkey.budget() + allowance(large)),
        };
        let end = self.valkey.server_time(link, now).saturating_add(millis(lifetime));
        let mut set = redis::cmd("SET");
        set.arg(name).arg(&bytes).arg("PXAT").arg(end);
        link.command(&set, budget).await?;
        self.valkey.stats().bytes_written.add(bytes.len() as u64);
        Ok(())
    }

    async fn unlink(&self, name: &str, budget: Duration) -> Result<(), StoreError> {
        let mut unlink = redis::cmd("UNLINK");
        unlink.arg(name);
        self.valkey.server(name)?.entries.command(&unlink, budget).await.map(|_| ())
    }
}

impl Store for ValkeyStore {
    /// Nothing here is in this process's memory.
    fn peek(&self, _: &Key) -> Option<Record> {
        None
    }

    fn has_memory(&self) -> bool {
        false
    }

    fn fetch<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move {
            let started = Instant::now();
            let outcome = self.get(key).await;
            let stats = self.valkey.stats();
            stats.get.record(started.elapsed(), &outcome);
            match &outcome {
                Ok(Some(_)) => stats.hits.add(1),
                Ok(None) => stats.misses.add(1),
                Err(_) => {}
            }
            outcome
        })
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn put<'a>(&'a self, key: &'a Key, record: Record) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let started = Instant::now();
            let outcome = self.set(key, &record).await;
            self.valkey.stats().put.record(started.elapsed(), &outcome);
            outcome
        })
    }

    fn remove<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let started = Instant::now();
            let name = names::record(self.valkey.prefix(), key);
            let outcome = self.unlink(&name, self.valkey.budget()).await;
            self.valkey.stats().remove.record(started.elapsed(), &outcome);
            outcome
        })
    }

    fn lease<'a>(&'a self, key: &'a Key, ttl: Duration) -> StoreFuture<'a, Lease> {
        Box::pin(self.leases.take(key, ttl))
    }

    fn renew<'a>(
        &'a self,
        key: &'a Key,
        token: &'a LeaseToken,
        ttl: Duration,
    ) -> StoreFuture<'a, bool> {
        Box::pin(self.leases.renew(key, token, ttl))
    }

    fn release<'a>(
        &'a self,
        key: &'a Key,
        token: &'a LeaseToken,
        end: LeaseEnd,
    ) -> StoreFuture<'a, ()> {
        Box::pin(self.leases.release(key, token, end))
    }
}

/// What the two replies to a read say; `None` if there is nothing, or it has no lifetime.
fn found(replies: Vec<Value>) -> Result<Option<(Bytes, Duration)>, StoreError> {
    let mut replies = replies.into_iter();
    let (Some(value), Some(Value::Int(remaining))) = (replies.next(), replies.next()) else {
        return Err(StoreError::Failed("an unexpected reply to a read".into()));
    };
    let value = Option::<Bytes>::from_redis_value(value)
        .map_err(|error| StoreError::Failed(error.to_string()))?;
    // PTTL is negative for a key that is gone, and for one that would stay for ever.
    let remaining = u64::try_from(remaining).ok().map(Duration::from_millis);
    Ok(value.filter(|bytes| !bytes.is_empty()).zip(remaining))
}

/// What moving this many bytes may take on top of the budget.
fn allowance(bytes: usize) -> Duration {
    Duration::from_millis((bytes / BYTES_PER_MS) as u64)
}

/// For PX, which does not take zero.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
