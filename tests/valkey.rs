//! The store against a real `valkey-server`, which these tests start themselves.
//!
//! | file | asks |
//! |---|---|
//! | `contract.rs` | does it keep the promises of a store, and Valkey free of litter? |
//! | `outage.rs` | what if Valkey is absent, killed, frozen, damaged or replaced? |

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "support/valkey.rs"]
mod server;

#[path = "valkey/contract.rs"]
mod contract;
#[path = "valkey/outage.rs"]
mod outage;

use std::sync::Arc;
use std::time::Duration;

use larder::config;
use larder::store::valkey::{LinkState, ValkeyHandle};
use larder::store::{Meters, Opened, Store, open};
use server::Valkey;

/// Generous, since the tests share few cores: it bounds what a call may take, and is measured.
const BUDGET: Duration = Duration::from_millis(150);

/// A store that is put to the test.
struct World {
    store: Arc<dyn Store>,
    handle: ValkeyHandle,
    meters: Meters,
}

impl World {
    /// Over this server; with memory in front of it, or without.
    fn over(server: &Valkey, memory: u64) -> Self {
        Self::at(server.url(), memory)
    }

    fn at(url: String, memory: u64) -> Self {
        let config = config::Store {
            valkey: Some(url.parse().unwrap()),
            memory,
            prefix: "larder".into(),
            timeout: BUDGET,
            lease: Duration::from_secs(5),
            ledger_lease: Duration::from_secs(2),
            ledger_names: 1000,
            durability: config::Durability::Primary,
        };
        let Opened { store, valkey, meters } = open(&config, 8 << 20).expect("a valid store");
        Self { store, handle: valkey.expect("Valkey is configured"), meters }
    }

    /// The same, once it is connected and answers.
    async fn working(server: &Valkey, memory: u64) -> Self {
        let world = Self::over(server, memory);
        world.until_connected().await;
        world
    }

    async fn until_connected(&self) {
        let mut state = self.handle.watch();
        let up = state.wait_for(|state| matches!(state, LinkState::Up(_)));
        tokio::time::timeout(Duration::from_secs(5), up)
            .await
            .expect("connected in time")
            .expect("the handle is alive");
        let sample = larder::store::contract::Sample::unique("connected");
        until("entries can be stored", async || {
            let (key, bulk) = (sample.key(), sample.clone().body(vec![7; 100_000]));
            self.store.put(&key, bulk.entry()).await.is_ok()
                && self.store.put(&key, sample.entry()).await.is_ok()
        })
        .await;
    }
}

/// Waits for something that takes a moment, and fails if it does not come.
async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    within(Duration::from_secs(5), what, holds).await;
}

async fn within(limit: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + limit;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
