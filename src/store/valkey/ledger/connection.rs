//! Connections for the ledger alone: one blocks in XREAD, the other must not wait behind anything.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo, Pipeline};

use crate::config::Secret;
use crate::store::ledger::BadUrl;

/// Where Valkey is, and how long it may take.
#[derive(Clone)]
pub(super) struct Link {
    client: Client,
    pub(super) budget: Duration,
}

/// One open connection. When it is dropped, it is closed.
pub(super) struct Wire {
    connection: MultiplexedConnection,
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
    pub(super) fn new(url: &Secret, budget: Duration) -> Result<Self, BadUrl> {
        // The library's text for a bad URL names what is wrong with it, never the URL.
        let bad = |e: redis::RedisError| BadUrl(e.to_string());
        let url = native(url.reveal());
        let info = url.as_str().into_connection_info().map_err(bad)?;
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        let info = info
            .set_tcp_settings(TcpSettings::default().set_nodelay(true))
            .set_redis_settings(settings);
        Ok(Self { client: Client::open(info).map_err(bad)?, budget })
    }

    pub(super) async fn connect(&self) -> Result<Wire, Trouble> {
        // Answers are waited for here, each for as long as it may take.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let within = self.budget.max(Duration::from_secs(1));
        let connection = tokio::time::timeout(within, connecting)
            .await
            .map_err(|_| Trouble::Silent(within))??;
        Ok(Wire { connection })
    }
}

impl Wire {
    pub(super) async fn ask<T: FromRedisValue>(
        &mut self,
        command: &Cmd,
        within: Duration,
    ) -> Result<T, Trouble> {
        let asking = command.query_async(&mut self.connection);
        Ok(tokio::time::timeout(within, asking).await.map_err(|_| Trouble::Silent(within))??)
    }

    pub(super) async fn ask_all<T: FromRedisValue>(
        &mut self,
        commands: &Pipeline,
        within: Duration,
    ) -> Result<T, Trouble> {
        let asking = commands.query_async(&mut self.connection);
        Ok(tokio::time::timeout(within, asking).await.map_err(|_| Trouble::Silent(within))??)
    }

    /// Makes a script known to the server; returns the name under which it can be called.
    pub(super) async fn load(&mut self, script: &str, within: Duration) -> Result<String, Trouble> {
        self.ask(redis::cmd("SCRIPT").arg("LOAD").arg(script), within).await
    }
}

/// `valkey://` and `valkeys://` in the words that every version of the library knows.
fn native(url: &str) -> String {
    match url.split_once("://") {
        Some(("valkey", rest)) => format!("redis://{rest}"),
        Some(("valkeys", rest)) => format!("rediss://{rest}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemes_of_valkey_are_understood() {
        assert_eq!(native("valkey://h:1/0"), "redis://h:1/0");
        assert_eq!(native("valkeys://u:p@h"), "rediss://u:p@h");
        assert_eq!(native("redis://h"), "redis://h");
    }

    #[test]
    fn an_error_does_not_tell_the_password() {
        for url in ["valkey://u:secret@", "http://u:secret@h", "valkey://u:secret@h:port", "secret"]
        {
            let Err(error) = Link::new(&Secret::new(url), Duration::ZERO) else {
                panic!("{url} was taken");
            };
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
