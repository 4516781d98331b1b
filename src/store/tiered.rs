//! Memory in front of Valkey.
//!
//! | call | memory | Valkey |
//! |---|---|---|
//! | `peek` | asked | not asked |
//! | `fetch` | takes in what was found, unless it has something newer by then | asked |
//! | `put`, `remove` | at once | then |
//! | `lease`, `renew`, `release` | | asked |
//!
//! What one process removes from its memory another may still hold: whether an entry may be used
//! is for the ledger to say, never for the place where it was found.

use std::sync::Arc;
use std::time::Duration;

use super::memory::MemoryStore;
use super::valkey::ValkeyStore;
use super::{Lease, LeaseEnd, LeaseToken, Record, Store, StoreFuture};
use crate::clock;
use crate::key::Key;

/// A [`Store`] of two tiers.
#[derive(Debug)]
pub struct TieredStore {
    memory: Arc<MemoryStore>,
    valkey: ValkeyStore,
}

impl TieredStore {
    /// Puts memory in front of Valkey.
    pub fn new(memory: Arc<MemoryStore>, valkey: ValkeyStore) -> Self {
        Self { memory, valkey }
    }
}

impl Store for TieredStore {
    fn peek(&self, key: &Key) -> Option<Record> {
        self.memory.peek(key)
    }

    fn fetch<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move {
            let found = self.valkey.fetch(key).await?;
            Ok(found.map(|record| self.memory.promote(key, record, clock::now())))
        })
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn put<'a>(&'a self, key: &'a Key, record: Record) -> StoreFuture<'a, ()> {
        // What is too heavy for memory is counted there, and may still be kept in Valkey.
        self.memory.insert(key, record.clone(), clock::now());
        self.valkey.put(key, record)
    }

    fn remove<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, ()> {
        self.memory.forget(key);
        self.valkey.remove(key)
    }

    fn lease<'a>(&'a self, key: &'a Key, ttl: Duration) -> StoreFuture<'a, Lease> {
        self.valkey.lease(key, ttl)
    }

    fn renew<'a>(
        &'a self,
        key: &'a Key,
        token: &'a LeaseToken,
        ttl: Duration,
    ) -> StoreFuture<'a, bool> {
        self.valkey.renew(key, token, ttl)
    }

    fn release<'a>(
        &'a self,
        key: &'a Key,
        token: &'a LeaseToken,
        end: LeaseEnd,
    ) -> StoreFuture<'a, ()> {
        self.valkey.release(key, token, end)
    }
}
