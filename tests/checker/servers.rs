//! What keeps the ledger: one Valkey, or a primary with its replica and three Sentinels.

use std::time::Duration;

use tokio::task::block_in_place;

use crate::process::Process;
use crate::support::wait::within;
use crate::valkey::Valkey;

/// From the death of a primary until all is well again, on a machine that has much else to do.
const RECOVERY: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    /// Each process has a fault proxy of its own before it.
    One,
    /// Each process asks the Sentinels.
    Watched,
}

pub(crate) enum Servers {
    One(Valkey),
    Watched(Watched),
}

/// A primary, its replica, and who watches over them.
pub(crate) struct Watched {
    nodes: [Process; 2],
    sentinels: Vec<Process>,
}

impl Servers {
    pub(crate) async fn start(topology: Topology) -> Self {
        match topology {
            Topology::One => Self::One(block_in_place(Valkey::start)),
            Topology::Watched => Self::Watched(Watched::start().await),
        }
    }

    /// Where it listens; the first of several.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::One(valkey) => valkey.port(),
            Self::Watched(watched) => watched.nodes[0].port(),
        }
    }

    /// A connection to the primary, past everything that is put to the test.
    pub(crate) fn client(&self) -> redis::Connection {
        match self {
            Self::One(valkey) => valkey.client(),
            Self::Watched(watched) => watched.nodes[watched.primary()].client(),
        }
    }
}

impl Watched {
    async fn start() -> Self {
        let primary = Process::server(&["--repl-diskless-sync-delay", "0"]);
        let port = primary.port().to_string();
        let delay = ["--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1", &port];
        let replica = Process::server(&delay);
        let sentinels = (0..3).map(|_| Process::sentinel("mymaster", primary.port(), 2)).collect();
        let watched = Self { nodes: [primary, replica], sentinels };
        watched.until_well().await;
        watched
    }

    pub(crate) fn url(&self) -> String {
        let addresses = self.sentinels.iter().map(|s| format!("127.0.0.1:{}", s.port()));
        format!("valkey-sentinel://{}/mymaster", addresses.collect::<Vec<_>>().join(","))
    }

    /// The node that Sentinel names.
    fn primary(&self) -> usize {
        let told: redis::RedisResult<(String, u16)> =
            self.sentinels[0].tell("SENTINEL GET-MASTER-ADDR-BY-NAME mymaster");
        let port = told.map_or(0, |(_, port)| port);
        usize::from(self.nodes[1].port() == port)
    }

    fn says(&self, node: usize, what: &str) -> bool {
        let told: String = self.nodes[node].tell("INFO replication").unwrap_or_default();
        told.lines().any(|line| line.trim() == what)
    }

    /// Waits until one is the primary, the other follows, and all Sentinels know.
    async fn until_well(&self) {
        within(RECOVERY, "a primary, a replica, and Sentinels that know them", async || {
            let known = self.sentinels.iter().all(|sentinel| {
                let told: Vec<String> =
                    sentinel.tell("SENTINEL MASTER mymaster").unwrap_or_default();
                let of = |key| told.iter().skip_while(|word| *word != key).nth(1).cloned();
                of("flags").as_deref() == Some("master")
                    && of("num-slaves").as_deref() == Some("1")
                    && of("num-other-sentinels").as_deref() == Some("2")
            });
            let primary = self.primary();
            known
                && self.says(primary, "role:master")
                && self.says(1 - primary, "master_link_status:up")
        })
        .await;
    }

    async fn until_promoted(&self, node: usize) {
        within(RECOVERY, "the replica is promoted", async || self.says(node, "role:master")).await;
    }

    /// The primary ends without a word, the replica is promoted, the old one comes back.
    pub(crate) async fn kill_primary(&mut self) {
        let old = self.primary();
        self.nodes[old].kill();
        self.until_promoted(1 - old).await;
        block_in_place(|| self.nodes[old].start());
        self.until_well().await;
    }

    /// The primary stands still, the replica is promoted, and then there are two for a while.
    pub(crate) async fn freeze_primary(&mut self) {
        let old = self.primary();
        self.nodes[old].signal("STOP");
        self.until_promoted(1 - old).await;
        self.nodes[old].signal("CONT");
        self.until_well().await;
    }

    /// Sentinel is told to promote the replica.
    pub(crate) async fn replace_primary(&mut self) {
        let old = self.primary();
        within(RECOVERY, "Sentinel begins", async || {
            self.sentinels[0].tell::<()>("SENTINEL FAILOVER mymaster").is_ok()
        })
        .await;
        self.until_promoted(1 - old).await;
        self.until_well().await;
    }
}
