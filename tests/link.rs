//! Every way to Valkey that can be configured, with the real program and real servers.
//!
//! | file | asks |
//! |---|---|
//! | `tls.rs` | does it work through TLS, and is anybody spoken to who should not be? |
//! | `single.rs` | sockets, databases, a user with few rights |
//! | `sentinel.rs` | what if the primary dies, or is deposed, and Sentinel promotes a replica? |
//! | `cluster.rs` | do entries spread, and what if the ledger's slot moves to another node? |

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[expect(dead_code, reason = "what only other groups need")]
mod support;

#[path = "link/cluster.rs"]
mod cluster;
#[path = "link/load.rs"]
mod load;
#[path = "link/process.rs"]
mod process;
#[path = "link/sentinel.rs"]
mod sentinel;
#[path = "link/single.rs"]
mod single;
#[path = "link/tls.rs"]
mod tls;

use support::larder::{Larder, Setup};
use support::origin::{Origin, Resource, ok, status};
use support::wait::eventually;

const KEEPS: &str = "soft_ttl = \"1h\"";
const PATH: &str = "/things/7";

/// An origin with a thing that can be written, and processes that share what `store` leads to.
struct World {
    origin: Origin,
    larders: Vec<Larder>,
}

impl World {
    /// This many processes that hear the ledger.
    async fn over(store: &str, size: usize) -> Self {
        Self::ready(store, size, KEEPS).await
    }

    /// The same with strict routes.
    async fn strict(store: &str, size: usize) -> Self {
        Self::ready(store, size, &format!("{KEEPS}\nconsistency = \"strict\"")).await
    }

    async fn ready(store: &str, size: usize, route: &str) -> Self {
        let world = Self::started(store, size, route).await;
        for larder in &world.larders {
            eventually("the ledger is heard", async || heard(larder).await).await;
        }
        world
    }

    /// One process, whether or not it hears anything.
    async fn unheard(store: &str) -> Self {
        Self::started(store, 1, KEEPS).await
    }

    async fn started(store: &str, size: usize, route: &str) -> Self {
        let origin = Origin::start();
        let current = Resource::new("0");
        let written = current.clone();
        origin.when("GET", PATH).answers(move |_| ok(current.get()));
        origin.when("PUT", PATH).answers(move |asked| {
            written.set(&asked.content());
            status(204)
        });
        // A machine that is busy with other tests must not look like a Valkey that is away.
        let patient = format!("{store}\ntimeout = \"1s\"");
        let setup = Setup::before(&origin.url()).store(&patient).route("/{*rest}", route);
        let mut larders = Vec::new();
        for _ in 0..size {
            larders.push(setup.start().await);
        }
        Self { origin, larders }
    }

    /// What one process fetched the others find in Valkey; what is written through one is seen by
    /// all.
    async fn works(&self) {
        self.origin.on("/shared").replies(ok("shared"));
        let (first, others) = self.larders.split_first().expect("a process");
        for other in others {
            let mut round = 0;
            eventually("what one fetched is found by the others", async || {
                round += 1;
                let target = format!("/shared?for={}&round={round}", other.address().port());
                first.client().get(&target).await;
                first.client().get(&target).await.is_hit()
                    && other.client().get(&target).await.is_hit()
            })
            .await;
        }
        for (number, larder) in self.larders.iter().enumerate() {
            let value = format!("written by {number}");
            write(larder, &value).await;
            for reader in &self.larders {
                let read = reader.client().get(PATH).await;
                // The writer's own tail has passed; the others' need a moment.
                if read.text() != value {
                    eventually("the others see it", async || {
                        reader.client().get(PATH).await.text() == value
                    })
                    .await;
                }
            }
        }
    }
}

async fn write(larder: &Larder, value: &str) {
    let reply = larder.client().asks("PUT", PATH).content(value).send().await;
    assert_eq!(reply.status, 204, "{}", reply.text());
}

/// Does it hear the ledger, and has it a connection for everything else?
async fn heard(larder: &Larder) -> bool {
    let told = larder.admin().get("/readyz").await;
    told.status == 200
        && told.json()["parts"]
            .as_array()
            .is_some_and(|parts| parts.iter().all(|part| part["ok"] == true))
}
