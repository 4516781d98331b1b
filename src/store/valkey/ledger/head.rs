//! Asks where the stream ends, on a connection of its own: strict routes wait for the answer, and
//! neither the tail, blocked in XREAD, nor what is appended may stand in front of them.

use std::sync::Arc;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Keys;
use super::connection::{Link, Trouble, Wire};
use crate::ledger::Position;
use crate::store::ledger::barrier::{Asker, Head};
use crate::store::ledger::{Shared, Unconfirmed};

const HEAD: &str =
    concat!(include_str!("common.lua"), include_str!("sight.lua"), include_str!("head.lua"));

/// Asks whenever the barrier wants to know; ends when `stop` is cancelled. Nothing is connected
/// before that.
pub(super) fn spawn(shared: Arc<Shared>, link: Link, keys: Keys, stop: CancellationToken) {
    let mut question = Question { shared: Arc::clone(&shared), link, keys, open: None };
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            never = shared.barrier.run(&mut question) => match never {},
        }
    });
}

struct Question {
    shared: Arc<Shared>,
    link: Link,
    keys: Keys,
    /// A connection on which the script is known under this name.
    open: Option<(Wire, String)>,
}

impl Asker for Question {
    async fn ask(&mut self) -> Result<Option<Head>, Unconfirmed> {
        let budget = self.link.budget;
        match timeout(budget, self.exchange()).await {
            Ok(Ok(head)) => Ok(head),
            Ok(Err(trouble)) => {
                tracing::debug!(%trouble, "Valkey does not say where the ledger ends");
                Err(Unconfirmed::Away)
            }
            // Dropped in the middle of it, the connection went with it.
            Err(_) => Err(Unconfirmed::Silent),
        }
    }
}

impl Question {
    /// A connection that lay idle may have been closed meanwhile; that says nothing about Valkey.
    async fn exchange(&mut self) -> Result<Option<Head>, Trouble> {
        let idle = self.open.is_some();
        match self.look().await {
            Err(Trouble::Failed(_)) if idle => self.look().await,
            outcome => outcome,
        }
    }

    async fn look(&mut self) -> Result<Option<Head>, Trouble> {
        // Taken out: a connection is kept only after an answer that means something.
        let (mut wire, script) = match self.open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        let applied = self.shared.read().applied().shared();
        let mut call = redis::cmd("EVALSHA");
        call.arg(&script).arg(2).arg(&self.keys.stream).arg(&self.keys.namespaces);
        call.arg(applied.to_string());
        let reply: Option<(String, String)> = wire.ask(&call, self.link.budget).await?;
        let head = reply.map(|(life, last)| {
            let last: Position = last.parse().map_err(|_| Trouble::Odd("head.lua"))?;
            Ok::<_, Trouble>(Head { life: life.into(), last })
        });
        let head = head.transpose()?;
        // Another life than the tail reads: this server may have been deposed, or the tail's. The
        // next question goes to whoever is the primary by then.
        if head.as_ref().is_some_and(|h| self.shared.read().has_reached(&h.life, Position::ZERO)) {
            self.open = Some((wire, script));
        }
        Ok(head)
    }

    async fn connect(&self) -> Result<(Wire, String), Trouble> {
        let mut wire = self.link.connect().await?;
        let script = wire.load(HEAD, self.link.budget).await?;
        Ok((wire, script))
    }
}
