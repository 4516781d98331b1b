//! One fetch per key across processes: a lease in the store, which lapses if its holder dies.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::Means;
use super::asked::Asked;
use super::lookup;
use super::notes::UNSHAREABLE_FOR;
use crate::key::Key;
use crate::ledger::Standing;
use crate::semantics::time::Timestamp;
use crate::store::{Entry, Lease, LeaseEnd, LeaseToken, Record, Store, StoreError};

/// First and longest pause between two looks at what another process is fetching.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(40));

/// How many times in a row the store may fail to answer in time before a process goes without.
const PATIENCE: u32 = 3;

/// May we ask the origin?
#[derive(Debug)]
pub enum Permission {
    /// Yes.
    Granted(Held),
    /// Yes, for the asker alone: the last answer could not be shared.
    Alone,
    /// No need: another process has it.
    Elsewhere(Arc<Entry>),
    /// The key turned out to vary: what we want has another key.
    LookAgain,
    /// The origin failed a moment ago, and there is something stale to serve.
    BackingOff,
}

/// A lease held, or the leave to go without one.
#[derive(Debug)]
pub struct Held {
    lease: Option<(Arc<dyn Store>, Key, LeaseToken)>,
    keeper: Option<AbortHandle>,
}

/// Who asks, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// Means of the cache.
    pub means: &'a Means,
    /// The request.
    pub asked: &'a Asked,
    /// The key to be filled.
    pub key: &'a Key,
    /// What there is to serve if the origin fails.
    pub stale: Option<&'a Entry>,
}

/// Asks for leave to fetch; waits, within the route's `collapse_timeout`, while another process
/// fetches. A store that does not answer grants leave: then each process fetches once.
pub async fn acquire(asking: &Asking<'_>) -> Permission {
    let Asking { means, asked, stale, .. } = *asking;
    if !means.store.is_shared() {
        return Permission::Granted(Held::none());
    }
    // A fetch that began before an invalidation holds up nobody who knows of that.
    let key = &asking.key.since(means.ledger.last(&asked.belongs()));
    let began = means.now();
    let (mut pause, mut patience) = (PAUSES.0, PATIENCE);
    while means.now().since(began) < asked.route.collapse_timeout {
        let lease = means.store.lease(key, means.lease).await;
        match lease {
            // It answered a moment ago. More likely than not this process is short of time itself,
            // with a crowd at the door: just then the lease counts.
            Err(StoreError::Timeout) if patience > 0 => patience -= 1,
            Err(_) => return Permission::Granted(Held::none()),
            Ok(Lease::Unshareable) => {
                means.hit_for_miss.note(asked.key.digest, means.now(), UNSHAREABLE_FOR);
                return Permission::Alone;
            }
            Ok(Lease::BackingOff) => {
                return if stale.is_some_and(|e| lookup::may_stand_in(means, asked, e, means.now()))
                {
                    Permission::BackingOff
                } else {
                    Permission::Granted(Held::none())
                };
            }
            // Between our lookup and the grant another process may have stored it.
            Ok(Lease::Granted(token)) => {
                let held = Held::new(means, key, token);
                return match look(asking, began).await {
                    Some(found) => {
                        held.end(LeaseEnd::Dropped).await;
                        found
                    }
                    None => Permission::Granted(held),
                };
            }
            Ok(Lease::Held) => {
                if let Some(found) = look(asking, began).await {
                    return found;
                }
            }
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(PAUSES.1);
    }
    Permission::Granted(Held::none())
}

/// Has another process stored what we want?
async fn look(asking: &Asking<'_>, began: Timestamp) -> Option<Permission> {
    let Asking { means, asked, key, stale } = *asking;
    match means.store.fetch(key).await.ok()?? {
        Record::Varies(_) => Some(Permission::LookAgain),
        Record::Entry(entry) => {
            let now = means.now();
            let standing = lookup::standing(means, asked, &entry, now);
            let newer = stale.is_none_or(|s| entry.vouched > s.vouched);
            let recent = entry.times().is_fresh(now) || entry.vouched >= began;
            let will_do = !asked.demands.are_about_age();
            let usable = standing == Standing::Good && newer && recent && will_do;
            usable.then_some(Permission::Elsewhere(entry))
        }
    }
}

impl Held {
    /// Leave without a lease.
    pub const fn none() -> Self {
        Self { lease: None, keeper: None }
    }

    fn new(means: &Means, key: &Key, token: LeaseToken) -> Self {
        let (store, ttl) = (Arc::clone(&means.store), means.lease);
        let renewed = (Arc::clone(&store), key.clone(), token.clone());
        let keeper = tokio::spawn(async move {
            let (store, key, token) = renewed;
            loop {
                sleep(ttl / 3).await;
                if let Ok(false) = store.renew(&key, &token, ttl).await {
                    return;
                }
            }
        });
        Self { lease: Some((store, key.clone(), token)), keeper: Some(keeper.abort_handle()) }
    }

    /// Gives it back, with what others should know.
    pub async fn end(mut self, end: LeaseEnd) {
        if let Some((store, key, token)) = self.lease.take() {
            if let Some(keeper) = self.keeper.take() {
                keeper.abort();
            }
            let _ = store.release(&key, &token, end).await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.abort();
        }
    }
}
