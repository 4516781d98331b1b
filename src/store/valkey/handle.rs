//! The way to Valkey: connections, names and numbers that its users share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::PubSub;
use redis::{Cmd, FromRedisValue, Pipeline, Value};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::connection::{Link, LinkState};
use super::door::{Connection, Purpose};
use super::endpoint::{Endpoint, Target};
use super::info::ServerInfo;
use super::scripts::Script;
use super::servers::{CONTROL, Server, Servers};
use super::{names, warn};
use crate::config::{Durability, Valkey};
use crate::semantics::time::Timestamp;
use crate::store::stats::{Tier, TierSnapshot};
use crate::store::{OpenError, StoreError};

/// For INFO, which nobody waits for.
const INFO_BUDGET: Duration = Duration::from_secs(1);

/// A way to Valkey. Clones share their connections, which close with the last of them.
#[derive(Clone)]
pub struct ValkeyHandle(Arc<Inner>);

pub(super) struct Inner {
    endpoint: Endpoint,
    prefix: Box<str>,
    budget: Duration,
    servers: Servers,
    /// To the primary that keeps the ledger.
    home: Home,
    stats: Arc<Tier>,
}

impl ValkeyHandle {
    /// Starts to connect, in the background. `budget` is what one call may take. Must be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// If a file that is needed for TLS cannot be used.
    pub fn open(valkey: &Valkey, prefix: &str, budget: Duration) -> Result<Self, OpenError> {
        let endpoint = Endpoint::new(valkey)?;
        let stats = Arc::new(Tier::default());
        let servers = Servers::start(&endpoint, &stats);
        let home = match &servers {
            Servers::One(server) => Home::Shared(Arc::clone(server)),
            Servers::Cluster(_) => {
                let (endpoint, stats) = (endpoint.clone(), Arc::clone(&stats));
                let moved = Arc::new(Notify::new());
                Home::Own(Link::start(endpoint, Target::Primary, CONTROL, stats, moved))
            }
        };
        let prefix = prefix.into();
        Ok(Self(Arc::new(Inner { endpoint, prefix, budget, servers, home, stats })))
    }

    /// Warns from now on of whatever in the server's settings fights the design, and this
    /// `durability`; at every connection, and of what comes up later.
    pub fn warn(&self, durability: Durability) {
        tokio::spawn(warn::watch(Arc::downgrade(&self.0), durability));
    }

    /// The name of a coordination key: `ledger` becomes `larder:{l}:ledger`. All of them share one
    /// hash slot.
    pub fn key(&self, suffix: &str) -> String {
        names::coordination(&self.0.prefix, suffix)
    }

    /// What one call may take, as configured.
    pub fn budget(&self) -> Duration {
        self.0.budget
    }

    /// Tells whether Valkey is connected, now and at every change. This is the connection of
    /// [`Self::command`] and [`Self::run_script`].
    pub fn watch(&self) -> watch::Receiver<LinkState> {
        self.0.home.link().watch()
    }

    /// Runs a script in one step, within `budget`: one round trip, two if the server does not know
    /// it yet. After [`StoreError::Timeout`] it may or may not have run.
    pub async fn run_script(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
        budget: Duration,
    ) -> Result<Value, StoreError> {
        let started = Instant::now();
        let reply = self.0.home.link().script(script, keys, args, budget).await;
        self.0.stats.ledger.record(started.elapsed(), &reply);
        reply
    }

    /// Sends one command, within `budget`. Not for commands that block.
    pub async fn command(&self, cmd: &Cmd, budget: Duration) -> Result<Value, StoreError> {
        let started = Instant::now();
        let reply = self.0.home.link().command(cmd, budget).await;
        self.0.stats.ledger.record(started.elapsed(), &reply);
        reply
    }

    /// Opens a connection of one's own to the primary that keeps the ledger, for commands that
    /// block. Takes little more than a second at most; what is sent on it ends after
    /// `response_timeout`, if there is one. Nobody watches over it, but it is cut when the primary
    /// is another one.
    pub async fn open_connection(
        &self,
        response_timeout: Option<Duration>,
    ) -> Result<Connection, StoreError> {
        let purpose = Purpose { name: "own", queue: 64, patience: response_timeout };
        let opened = self.0.endpoint.open(&Target::Primary, purpose).await;
        opened.map_err(|error| match error.is_timeout() {
            true => StoreError::Timeout,
            false => StoreError::Failed(error.to_string()),
        })
    }

    /// Opens a connection of one's own for subscriptions to channels; what is published on any node
    /// of a cluster arrives. Takes little more than a second at most. Nobody watches over it, but it
    /// breaks when the primary is another one.
    ///
    /// # Errors
    /// If there is no connection in time.
    pub async fn open_subscriber(&self) -> Result<PubSub, StoreError> {
        self.0.endpoint.subscriber().await.map_err(|error| match error.is_timeout() {
            true => StoreError::Timeout,
            false => StoreError::Failed(error.to_string()),
        })
    }

    /// What the server says about itself. What it does not tell, or refuses to, is `None`.
    pub async fn server_info(&self) -> Result<ServerInfo, StoreError> {
        let mut ask = Pipeline::with_capacity(2);
        ask.cmd("INFO").arg("memory").cmd("INFO").arg("stats");
        match self.0.home.link().pipeline(&ask, 2, INFO_BUDGET).await {
            Ok(replies) => Ok(ServerInfo::parse(&texts(replies))),
            Err(StoreError::Failed(refusal)) => {
                tracing::debug!(refusal, "Valkey does not tell about itself");
                Ok(ServerInfo::default())
            }
            Err(error) => Err(error),
        }
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> TierSnapshot {
        self.0.stats.snapshot()
    }

    pub(super) fn prefix(&self) -> &str {
        &self.0.prefix
    }

    pub(super) fn stats(&self) -> &Tier {
        &self.0.stats
    }

    /// The connections to the server that keeps this key.
    pub(super) fn server(&self, key: &str) -> Result<Arc<Server>, StoreError> {
        self.0.servers.of(key)
    }

    /// What the clock of the server behind `link` shows at `now`, in milliseconds; in a cluster, the
    /// clock that is furthest behind, since a key may move while it is written. Never later than it
    /// really is there.
    pub(super) fn server_time(&self, link: &Link, now: Timestamp) -> u64 {
        match &self.0.servers {
            Servers::One(_) => link.server_time(now),
            Servers::Cluster(_) => {
                let servers = self.0.servers.all();
                let links = servers.iter().flat_map(|s| [&s.entries, &s.bulk, &s.control]);
                let times = links.filter(|link| link.is_up()).map(|link| link.server_time(now));
                times.fold(link.server_time(now), u64::min)
            }
        }
    }
}

/// The supervised connection to the primary that keeps the ledger.
enum Home {
    /// The server that keeps everything else as well.
    Shared(Arc<Server>),
    /// In a cluster, where the ledger may move at any time.
    Own(Link),
}

impl Home {
    fn link(&self) -> &Link {
        match self {
            Self::Shared(server) => &server.control,
            Self::Own(link) => link,
        }
    }
}

impl Inner {
    pub(super) fn control(&self) -> &Link {
        self.home.link()
    }
}

impl fmt::Debug for ValkeyHandle {
    /// Without the client: its address may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValkeyHandle")
            .field("prefix", &self.0.prefix)
            .field("state", &*self.watch().borrow())
            .finish_non_exhaustive()
    }
}

fn texts(replies: Vec<Value>) -> String {
    let texts = replies.into_iter().filter_map(|reply| String::from_redis_value(reply).ok());
    texts.collect::<Vec<_>>().join("\n")
}
