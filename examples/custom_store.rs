//! A store of one's own: a map behind a lock, put through the suite that every store must pass.
//!
//! ```sh
//! cargo run --example custom_store
//! ```
//!
//! It never makes room, so it is not for use: `MemoryStore` is bounded. For a tier that processes
//! share, `is_shared` is true, `peek` finds nothing, and `lease` lets one holder in at a time
//! (`contract::Kind::Shared` asks for that).

use std::collections::HashMap;
use std::error::Error;
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use larder::clock;
use larder::key::{Digest, Key};
use larder::store::contract::{self, Kind};
use larder::store::{Lease, LeaseEnd, LeaseToken, Record, Store, StoreFuture};

/// Records by digest.
#[derive(Debug, Default)]
struct Map(Mutex<HashMap<Digest, Record>>);

impl Map {
    fn records(&self) -> MutexGuard<'_, HashMap<Digest, Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Map {
    fn peek(&self, key: &Key) -> Option<Record> {
        let found = self.records().get(&key.digest).cloned()?;
        // A digest addresses, it does not prove: the full key is compared.
        (*found.key() == key.full && clock::now() < found.keep_until()).then_some(found)
    }

    fn fetch<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>> {
        Box::pin(ready(Ok(self.peek(key))))
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn put<'a>(&'a self, key: &'a Key, record: Record) -> StoreFuture<'a, ()> {
        if clock::now() < record.keep_until() {
            self.records().insert(key.digest, record);
        }
        Box::pin(ready(Ok(())))
    }

    fn remove<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, ()> {
        self.records().remove(&key.digest);
        Box::pin(ready(Ok(())))
    }

    // Requests of one process collapse before they come here, so everybody may go.

    fn lease<'a>(&'a self, _: &'a Key, _: Duration) -> StoreFuture<'a, Lease> {
        Box::pin(ready(Ok(Lease::Granted(LeaseToken::unique()))))
    }

    fn renew<'a>(&'a self, _: &'a Key, _: &'a LeaseToken, _: Duration) -> StoreFuture<'a, bool> {
        Box::pin(ready(Ok(true)))
    }

    fn release<'a>(&'a self, _: &'a Key, _: &'a LeaseToken, _: LeaseEnd) -> StoreFuture<'a, ()> {
        Box::pin(ready(Ok(())))
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "its output is what it is for")]
async fn main() -> Result<(), Box<dyn Error>> {
    // A broken promise is a panic that says which.
    contract::run(&Map::default(), Kind::Memory).await;
    println!("every promise was kept");
    Ok(())
}
