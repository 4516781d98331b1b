//! The way to Valkey: connections, names and numbers that its users share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, FromRedisValue, Pipeline, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use super::connection::{self, Link, LinkState, Tuning};
use super::info::ServerInfo;
use super::scripts::Script;
use super::{names, warn};
use crate::config::Durability;
use crate::store::stats::{Tier, TierSnapshot};
use crate::store::{OpenError, StoreError};

/// Small records. They never wait behind a large one.
const ENTRIES: Tuning = Tuning { name: "entries", queue: 512, patience: Duration::from_secs(1) };
/// Records too large for the others to wait for. Its PINGs do, so they may take longer.
const BULK: Tuning = Tuning { name: "bulk", queue: 8, patience: Duration::from_secs(2) };
/// Leases, the ledger's scripts, questions about the server.
const CONTROL: Tuning = Tuning { name: "control", queue: 512, patience: Duration::from_secs(1) };

/// For INFO, which nobody waits for.
const INFO_BUDGET: Duration = Duration::from_secs(1);

/// A way to Valkey. Clones share their connections, which close with the last of them.
#[derive(Clone)]
pub struct ValkeyHandle(Arc<Inner>);

pub(super) struct Inner {
    client: Client,
    prefix: Box<str>,
    budget: Duration,
    entries: Link,
    bulk: Link,
    control: Link,
    stats: Arc<Tier>,
}

impl ValkeyHandle {
    /// Starts to connect to `url`, in the background. `budget` is what one call may take. Must be
    /// called inside a tokio runtime.
    pub fn open(url: &str, prefix: &str, budget: Duration) -> Result<Self, OpenError> {
        let client = connection::client(url).map_err(OpenError::Url)?;
        let stats = Arc::new(Tier::default());
        let link = |tuning| Link::start(client.clone(), tuning, Arc::clone(&stats));
        let (entries, bulk, control) = (link(ENTRIES), link(BULK), link(CONTROL));
        let prefix = prefix.into();
        Ok(Self(Arc::new(Inner { client, prefix, budget, entries, bulk, control, stats })))
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
        self.0.control.watch()
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
        let reply = self.0.control.script(script, keys, args, budget).await;
        self.0.stats.ledger.record(started.elapsed(), &reply);
        reply
    }

    /// Sends one command, within `budget`. Not for commands that block.
    pub async fn command(&self, cmd: &Cmd, budget: Duration) -> Result<Value, StoreError> {
        let started = Instant::now();
        let reply = self.0.control.command(cmd, budget).await;
        self.0.stats.ledger.record(started.elapsed(), &reply);
        reply
    }

    /// Opens a connection of one's own, for commands that block. Takes a second at most; what is
    /// sent on it ends after `response_timeout`, if there is one. Nobody watches over it.
    pub async fn open_connection(
        &self,
        response_timeout: Option<Duration>,
    ) -> Result<MultiplexedConnection, StoreError> {
        let settings = connection::settings(response_timeout);
        let opened = self.0.client.get_multiplexed_async_connection_with_config(&settings).await;
        opened.map_err(|error| match error.is_timeout() {
            true => StoreError::Timeout,
            false => StoreError::Failed(error.to_string()),
        })
    }

    /// What the server says about itself. What it does not tell, or refuses to, is `None`.
    pub async fn server_info(&self) -> Result<ServerInfo, StoreError> {
        let mut ask = Pipeline::with_capacity(2);
        ask.cmd("INFO").arg("memory").cmd("INFO").arg("stats");
        match self.0.control.pipeline(&ask, 2, INFO_BUDGET).await {
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

    /// For records that are read or written in one packet or a few.
    pub(super) fn entries(&self) -> &Link {
        &self.0.entries
    }

    /// For the others.
    pub(super) fn bulk(&self) -> &Link {
        &self.0.bulk
    }

    pub(super) fn control(&self) -> &Link {
        &self.0.control
    }
}

impl Inner {
    pub(super) fn control(&self) -> &Link {
        &self.control
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
