//! Connections for the ledger alone: one blocks in XREAD, the other must not wait behind anything.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline};

use crate::config::valkey::Valkey;
use crate::store::OpenError;
use crate::store::valkey::door::{Connection, Purpose};
use crate::store::valkey::endpoint::{Endpoint, Target};

/// Answers are waited for here, each for as long as it may take.
const LEDGER: Purpose = Purpose { name: "ledger", queue: 64, patience: None };

/// Where Valkey is, and how long it may take.
#[derive(Clone)]
pub(super) struct Link {
    endpoint: Endpoint,
    pub(super) budget: Duration,
}

/// One open connection. When it is dropped, it is closed.
pub(super) struct Wire {
    connection: Connection,
}

/// Why there was no answer. After any of these the connection is given up: its state, or whether
/// the command was carried out, is unknown.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("{0}")]
    Failed(#[from] redis::RedisError),
    #[error("an answer that makes no sense: {0}")]
    Odd(&'static str),
}

impl Link {
    pub(super) fn new(valkey: &Valkey, budget: Duration) -> Result<Self, OpenError> {
        Ok(Self { endpoint: Endpoint::new(valkey)?, budget })
    }

    /// Waits before the next attempt to connect; not for long once the primary is another one.
    pub(super) async fn rest(&self, pause: Duration) {
        self.endpoint.rest(pause).await;
    }

    /// To whoever is the primary now.
    pub(super) async fn connect(&self) -> Result<Wire, Trouble> {
        Ok(Wire { connection: self.endpoint.open(&Target::Primary, LEDGER).await? })
    }
}

impl Wire {
    pub(super) async fn ask<T: FromRedisValue>(
        &mut self,
        command: &Cmd,
        within: Duration,
    ) -> Result<T, Trouble> {
        let asking = command.query_async(&mut *self.connection);
        Ok(tokio::time::timeout(within, asking).await.map_err(|_| Trouble::Silent(within))??)
    }

    pub(super) async fn ask_all<T: FromRedisValue>(
        &mut self,
        commands: &Pipeline,
        within: Duration,
    ) -> Result<T, Trouble> {
        let asking = commands.query_async(&mut *self.connection);
        Ok(tokio::time::timeout(within, asking).await.map_err(|_| Trouble::Silent(within))??)
    }

    /// Makes a script known to the server; returns the name under which it can be called.
    pub(super) async fn load(&mut self, script: &str, within: Duration) -> Result<String, Trouble> {
        self.ask(redis::cmd("SCRIPT").arg("LOAD").arg(script), within).await
    }
}
