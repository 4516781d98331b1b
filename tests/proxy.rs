//! One process seen from outside: the real program between real sockets, an origin that does what
//! a test says, entries in memory.
//!
//! | file | asks |
//! |---|---|
//! | `hit.rs` | what is served from the store, and what does it say about itself? |
//! | `head.rs` | what does a HEAD get, and what does the cache learn from its answer? |
//! | `key.rs` | when are two requests the same? |
//! | `no_vary_search.rs` | which queries does an origin declare to be the same? |
//! | `query.rs` | when are two QUERYs the same, and what becomes of their content? |
//! | `stale.rs` | what happens past the soft expiry, past the hard one, and when the origin fails? |
//! | `collapse.rs` | how often is the origin asked when many ask at once, and who gets what? |
//! | `vary.rs` | does everybody get the variant that is meant for them? |
//! | `range.rs` | which parts of a stored whole are served, and how? |
//! | `parts.rs` | which parts that the origin sent are kept, and what do they answer? |
//! | `pass.rs` | what is none of the cache's business, and does it come through unharmed? |
//! | `whole.rs` | is a response that is cut, endless or too large ever stored? |
//! | `interim.rs` | who is told of 1xx responses, and what becomes of odd messages? |
//! | `write.rs` | what does a write throw away, and when? |
//! | `represent.rs` | when does the answer to a write become what a GET gets, and when never? |
//! | `groups.rs` | which entries does an origin's word on a group reach? |
//! | `race.rs` | can anything bring back what a finished write has replaced? |
//! | `policy.rs` | which rules of RFC 9111 can be turned, and what do they do both ways? |
//! | `purge.rs` | does each kind of purge reach what it names, and nothing else? |
//! | `tags.rs` | where do tags come from? |
//! | `errors.rs` | what does a client get when the origin does not answer? |
//! | `limits.rs` | what is refused? |
//! | `admin.rs` | do explanations, metrics and the log tell the truth? |
//! | `drain.rs` | what happens to requests in progress when it is told to stop? |
//! | `run.rs` | how is it started, and what does it say when it cannot be? |

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

#[path = "proxy/admin.rs"]
mod admin;
#[path = "proxy/collapse.rs"]
mod collapse;
#[path = "proxy/drain.rs"]
mod drain;
#[path = "proxy/errors.rs"]
mod errors;
#[path = "proxy/groups.rs"]
mod groups;
#[path = "proxy/head.rs"]
mod head;
#[path = "proxy/hit.rs"]
mod hit;
#[path = "proxy/interim.rs"]
mod interim;
#[path = "proxy/key.rs"]
mod key;
#[path = "proxy/limits.rs"]
mod limits;
#[path = "proxy/no_vary_search.rs"]
mod no_vary_search;
#[path = "proxy/parts.rs"]
mod parts;
#[path = "proxy/pass.rs"]
mod pass;
#[path = "proxy/policy.rs"]
mod policy;
#[path = "proxy/purge.rs"]
mod purge;
#[path = "proxy/query.rs"]
mod query;
#[path = "proxy/race.rs"]
mod race;
#[path = "proxy/range.rs"]
mod range;
#[path = "proxy/represent.rs"]
mod represent;
#[path = "proxy/run.rs"]
mod run;
#[path = "proxy/stale.rs"]
mod stale;
#[path = "proxy/tags.rs"]
mod tags;
#[path = "proxy/vary.rs"]
mod vary;
#[path = "proxy/whole.rs"]
mod whole;
#[path = "proxy/write.rs"]
mod write;

use support::client::{Client, Reply};
use support::larder::{Larder, Setup};
use support::origin::Origin;
use support::wait::eventually;

/// An origin, a proxy in front of it with one route for everything, and a client.
struct World {
    origin: Origin,
    larder: Larder,
    client: Client,
}

impl World {
    /// With these keys for `/` and everything below it.
    async fn with(keys: &str) -> Self {
        Self::set_up(|setup| everywhere(setup, keys)).await
    }

    /// With what `setup` says.
    async fn set_up(setup: impl FnOnce(Setup) -> Setup) -> Self {
        let origin = Origin::start();
        let larder = setup(Setup::before(&origin.url())).start().await;
        let client = larder.client();
        Self { origin, larder, client }
    }

    /// Fetches it until it is a fresh hit; that hit.
    async fn warm(&self, target: &str) -> Reply {
        warm(&self.client, target).await
    }
}

/// Fetches it until it is a fresh hit; that hit.
async fn warm(client: &Client, target: &str) -> Reply {
    let mut last = client.get(target).await;
    eventually(&format!("{target} is a hit"), async || {
        last = client.get(target).await;
        last.is_hit()
    })
    .await;
    last
}

/// The same keys for `/` and for everything below it.
fn everywhere(setup: Setup, keys: &str) -> Setup {
    setup.route("/", keys).route("/{*rest}", keys)
}
