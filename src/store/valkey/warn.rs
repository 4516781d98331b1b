//! Looks at how the server is set up and how it fares, and says what will hurt.

use std::collections::HashSet;
use std::sync::Weak;
use std::time::Duration;

use redis::{Cmd, FromRedisValue};
use tokio::time::timeout;

use super::connection::{Link, LinkState};
use super::handle::Inner;
use super::info::ServerInfo;
use crate::config::Durability;

/// For questions that nobody waits for.
const BUDGET: Duration = Duration::from_secs(1);

/// How often to look again: disks fill up and replicas go while the connection stays.
const EVERY: Duration = Duration::from_secs(30);

/// Settings that INFO does not tell.
const SETTINGS: [&str; 2] = ["stop-writes-on-bgsave-error", "save"];

/// Says each thing once per connection. Ends when nobody uses the connections any more.
pub(super) async fn watch(inner: Weak<Inner>, durability: Durability) {
    let mut told = HashSet::new();
    let Some(mut state) = inner.upgrade().map(|inner| inner.control().watch()) else { return };
    while state.wait_for(|state| matches!(state, LinkState::Up(_))).await.is_ok() {
        let Some(strong) = inner.upgrade() else { return };
        let info = look(strong.control()).await;
        drop(strong);
        for warning in info.warnings(durability) {
            if told.insert(warning) {
                tracing::warn!("{warning}");
            }
        }
        let down = state.wait_for(|state| *state == LinkState::Down);
        match timeout(EVERY, down).await {
            Ok(Ok(_)) => told.clear(),
            Ok(Err(_)) => return,
            Err(_) => {}
        }
    }
}

/// What it tells, and what it does not is left out: a managed server refuses CONFIG.
async fn look(control: &Link) -> ServerInfo {
    let mut text = ask::<String>(control, &redis::cmd("INFO")).await.unwrap_or_default();
    if ServerInfo::parse(&text).is_cluster {
        let told = ask::<String>(control, redis::cmd("CLUSTER").arg("INFO")).await;
        text.push_str(&told.unwrap_or_default());
    }
    for setting in SETTINGS {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg(setting);
        let told = ask::<Vec<(String, String)>>(control, &command);
        for (name, value) in told.await.unwrap_or_default() {
            text.push_str(&format!("\n{name}:{value}"));
        }
    }
    ServerInfo::parse(&text)
}

async fn ask<T: FromRedisValue>(control: &Link, command: &Cmd) -> Option<T> {
    T::from_redis_value(control.command(command, BUDGET).await.ok()?).ok()
}
