//! Several processes that share one Valkey, seen from outside.
//!
//! | file | asks |
//! |---|---|
//! | `collapse.rs` | how often is the origin asked when all processes are asked at once? |
//! | `write.rs` | does every process see what was written through another? |
//! | `parts.rs` | do processes put together what each has of a whole? |
//! | `represent.rs` | does every process see what the answer to a write put into the store, and when it goes? |
//! | `race.rs` | can a slow GET through one process bring back what a write through another replaced? |
//! | `bridge.rs` | does every process obey what is published on a channel, and what if it could not be heard? |
//! | `events.rs` | does every process obey what backends append themselves, by the very commands of `docs/events.md`? |
//! | `purge.rs` | does every process see what was purged through another? |
//! | `strict.rs` | does a strict route ever show what came before an acknowledged write? |
//! | `spread.rs` | does a spread purge reach every entry in its time, and the origin bit by bit? |
//! | `intent.rs` | what if the process dies that carries out a write? |
//! | `durability.rs` | does a replica have it before the write is answered, and is it told if not? |
//! | `lease.rs` | what if the process that fetches for all dies? |
//! | `fence.rs` | what if Valkey comes back with less than it had? |
//! | `outage.rs` | what if Valkey is absent, killed, frozen, flushed or damaged? |

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[expect(dead_code, reason = "what only other groups need")]
mod support;
#[path = "support/valkey.rs"]
mod valkey;

#[path = "fleet/bridge.rs"]
mod bridge;
#[path = "fleet/collapse.rs"]
mod collapse;
#[path = "fleet/durability.rs"]
mod durability;
#[path = "fleet/events.rs"]
mod events;
#[path = "fleet/fence.rs"]
mod fence;
#[path = "fleet/intent.rs"]
mod intent;
#[path = "fleet/lease.rs"]
mod lease;
#[path = "fleet/outage.rs"]
mod outage;
#[path = "fleet/parts.rs"]
mod parts;
#[path = "fleet/purge.rs"]
mod purge;
#[path = "fleet/race.rs"]
mod race;
#[path = "fleet/represent.rs"]
mod represent;
#[path = "fleet/spread.rs"]
mod spread;
#[path = "fleet/strict.rs"]
mod strict;
#[path = "fleet/write.rs"]
mod write;

use support::client::{Client, Reply};
use support::larder::{Larder, Setup};
use support::origin::Origin;
use support::wait::eventually;
use valkey::Valkey;

/// An origin, a Valkey, and processes between them that know of each other only through it.
struct Fleet {
    origin: Origin,
    valkey: Valkey,
    larders: Vec<Larder>,
}

impl Fleet {
    /// This many processes with these keys for every path; connected, and patient: a machine that
    /// is busy with other tests must not look like a Valkey that does not answer.
    async fn of(size: usize, keys: &str) -> Self {
        Self::set_up(size, |setup| setup.route("/{*rest}", keys)).await
    }

    /// The same with what `setup` says.
    async fn set_up(size: usize, setup: impl FnOnce(Setup) -> Setup) -> Self {
        Self::ready(size, |s| setup(s.store("timeout = \"2s\""))).await
    }

    /// Connected, with the patience that users have.
    async fn ready(size: usize, setup: impl FnOnce(Setup) -> Setup) -> Self {
        let fleet = Self::over(Valkey::start(), size, setup).await;
        fleet.until_connected().await;
        fleet
    }

    /// Over this Valkey, whether or not it runs.
    async fn over(valkey: Valkey, size: usize, setup: impl FnOnce(Setup) -> Setup) -> Self {
        let origin = Origin::start();
        let url = format!("valkey = \"{}\"", valkey.url());
        let setup = setup(Setup::before(&origin.url()).store(&url));
        let mut larders = Vec::with_capacity(size);
        for _ in 0..size {
            larders.push(setup.start().await);
        }
        Self { origin, valkey, larders }
    }

    async fn until_connected(&self) {
        for larder in &self.larders {
            eventually("Valkey is heard", async || {
                let told = larder.admin().get("/readyz").await;
                told.status == 200
                    && told.json()["parts"]
                        .as_array()
                        .is_some_and(|parts| parts.iter().all(|part| part["ok"] == true))
            })
            .await;
        }
    }

    /// A client of the process with this number.
    fn client(&self, of: usize) -> Client {
        self.larders[of].client()
    }

    /// Fetches it through this process until it is a fresh hit there; that hit.
    async fn warm(&self, of: usize, target: &str) -> Reply {
        let client = self.client(of);
        let mut last = client.get(target).await;
        eventually(&format!("{target} is a hit in {of}"), async || {
            last = client.get(target).await;
            last.is_hit()
        })
        .await;
        last
    }

    /// Waits until Valkey holds entries: what one process stored can be found by another.
    async fn until_stored(&self, entries: usize) {
        let mut connection = self.valkey.client();
        eventually("entries are in Valkey", async || {
            redis::cmd("KEYS")
                .arg("larder:e:*")
                .query::<Vec<String>>(&mut connection)
                .unwrap()
                .len()
                >= entries
        })
        .await;
    }

    /// Requests that have waited, or wait, for another one in the same process.
    async fn waiting(&self) -> usize {
        let mut all = 0.0;
        for larder in &self.larders {
            all += larder.metrics().await.sum("larder_collapsed_waiters_total", &[]);
        }
        all as usize
    }
}
