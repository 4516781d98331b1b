//! Which server keeps an entry or a lease, and the connections to it.
//!
//! | place | an entry is kept by | known from |
//! |---|---|---|
//! | server, socket, Sentinel | the one there is | nothing to know |
//! | cluster | the node that owns its key's hash slot | the nodes themselves: once a second, and at once when one of them points elsewhere |
//!
//! Before a cluster has said who owns what, and for a slot that nobody owns, Valkey is away.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::connection::{Link, Tuning};
use super::endpoint::{Endpoint, Target};
use super::locate::{Locator, Map, slot};
use crate::config::valkey::Address;
use crate::store::StoreError;
use crate::store::stats::Tier;

/// Small records. They never wait behind a large one.
const ENTRIES: Tuning = Tuning { name: "entries", queue: 512, patience: Duration::from_secs(1) };
/// Records too large for the others to wait for. Its PINGs do, so they may take longer.
const BULK: Tuning = Tuning { name: "bulk", queue: 8, patience: Duration::from_secs(2) };
/// Leases, the ledger's scripts, questions about the server.
pub(super) const CONTROL: Tuning =
    Tuning { name: "control", queue: 512, patience: Duration::from_secs(1) };

/// How often the nodes are asked who owns what, and the shortest time between two questions.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const BREATH: Duration = Duration::from_millis(20);

/// The connections to one server.
#[derive(Debug)]
pub(super) struct Server {
    /// For records that are read or written in one packet or a few.
    pub entries: Link,
    /// For the others.
    pub bulk: Link,
    /// For everything else.
    pub control: Link,
}

/// All servers that keep entries.
pub(super) enum Servers {
    One(Arc<Server>),
    Cluster(Cluster),
}

/// The nodes of a cluster. Their connections close with it.
pub(super) struct Cluster {
    known: Arc<ArcSwap<Known>>,
    follower: AbortHandle,
}

#[derive(Default)]
struct Known {
    map: Map,
    nodes: HashMap<Address, Arc<Server>>,
}

impl Server {
    fn start(endpoint: &Endpoint, target: &Target, stats: &Arc<Tier>, moved: &Arc<Notify>) -> Self {
        let link = |tuning| {
            let stats = Arc::clone(stats);
            Link::start(endpoint.clone(), target.clone(), tuning, stats, Arc::clone(moved))
        };
        Self { entries: link(ENTRIES), bulk: link(BULK), control: link(CONTROL) }
    }
}

impl Servers {
    /// Starts to connect, in the background.
    pub(super) fn start(endpoint: &Endpoint, stats: &Arc<Tier>) -> Self {
        let moved = Arc::new(Notify::new());
        if endpoint.cluster().is_none() {
            let one = Server::start(endpoint, &Target::Primary, stats, &moved);
            return Self::One(Arc::new(one));
        }
        let known = Arc::new(ArcSwap::default());
        let follower = tokio::spawn(follow(
            endpoint.clone(),
            Arc::clone(&known),
            Arc::clone(stats),
            Arc::clone(&moved),
        ));
        Self::Cluster(Cluster { known, follower: follower.abort_handle() })
    }

    /// The one that keeps this key.
    pub(super) fn of(&self, key: &str) -> Result<Arc<Server>, StoreError> {
        match self {
            Self::One(server) => Ok(Arc::clone(server)),
            Self::Cluster(cluster) => {
                let known = cluster.known.load();
                let owner = known.map.owner(slot(key)).and_then(|owner| known.nodes.get(owner));
                owner.cloned().ok_or(StoreError::Away)
            }
        }
    }

    /// Each of them.
    pub(super) fn all(&self) -> Vec<Arc<Server>> {
        match self {
            Self::One(server) => vec![Arc::clone(server)],
            Self::Cluster(cluster) => cluster.known.load().nodes.values().cloned().collect(),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// Keeps connections to the nodes that there are, for as long as it runs.
async fn follow(
    endpoint: Endpoint,
    known: Arc<ArcSwap<Known>>,
    stats: Arc<Tier>,
    moved: Arc<Notify>,
) {
    loop {
        match endpoint.cluster().map(Locator::map) {
            Some(asking) => {
                if let Ok(map) = asking.await
                    && map != known.load().map
                {
                    known.store(Arc::new(changed(&known.load(), map, |address| {
                        let target = Target::Node(address.clone());
                        Server::start(&endpoint, &target, &stats, &moved)
                    })));
                }
            }
            None => return,
        }
        // Many answers may point elsewhere at the same time.
        sleep(BREATH).await;
        let _ = timeout(LOOK_AGAIN, moved.notified()).await;
    }
}

/// Connections to nodes that own nothing any more end when the last call on them has ended.
fn changed(before: &Known, map: Map, start: impl Fn(&Address) -> Server) -> Known {
    let addresses = map.addresses();
    // Slots alone may move a thousand times in a minute.
    let same = addresses.iter().all(|address| before.nodes.contains_key(address));
    if !same || addresses.len() != before.nodes.len() {
        tracing::info!(nodes = ?addresses, "these nodes of the cluster own its slots");
    }
    let nodes = addresses.into_iter().map(|address| {
        let kept = before.nodes.get(&address).cloned();
        let server = kept.unwrap_or_else(|| Arc::new(start(&address)));
        (address, server)
    });
    Known { nodes: nodes.collect(), map }
}
