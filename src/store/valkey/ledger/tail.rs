//! The tail: reads the stream, in order and without a gap, for as long as the process lives.
//!
//! A connection: look (open a new life if need be) → read page after page → caught up: every answer,
//! also an empty one, says that up to the moment its question was sent everything is known. An
//! answer that does not come, and one that makes no sense, ends the connection; the next one goes on
//! from the last entry read.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::time::Instant;

use super::connection::{Link, Trouble, Wire};
use super::reply::{Look, Page};
use super::{FIRST_PAUSE, Keys, LEAD, longer, millis};
use crate::clock;
use crate::ledger::Reading;
use crate::store::ledger::{Settings, Shared};

const LOOK: &str =
    concat!(include_str!("common.lua"), include_str!("sight.lua"), include_str!("look.lua"));

/// How often to look whether it is still the same stream.
const EVERY: Duration = Duration::from_secs(1);

/// After this long, an instance that says nothing is struck off.
const PATIENCE: Duration = Duration::from_secs(30);

/// Most entries in one answer.
const PAGE: usize = 1000;

pub(super) struct Tail {
    shared: Arc<Shared>,
    link: Link,
    keys: Keys,
    settings: Settings,
    /// How long XREAD waits for something new; well below the lease, which its answers renew.
    block: Duration,
    reading: Reading,
    pause: Duration,
}

impl Tail {
    pub(super) fn new(shared: Arc<Shared>, link: Link, keys: Keys, settings: Settings) -> Self {
        let block =
            (settings.lease / 4).clamp(Duration::from_millis(10), Duration::from_millis(500));
        let (reading, pause) = (Reading::default(), FIRST_PAUSE);
        Self { shared, link, keys, settings, block, reading, pause }
    }

    pub(super) async fn run(mut self) {
        loop {
            let Err(trouble) = self.follow().await;
            self.shared.counters.reconnect();
            if self.pause == FIRST_PAUSE {
                tracing::warn!(%trouble, "lost the ledger; what it vouched for is suspect soon");
            } else {
                self.link.rest(self.pause).await;
            }
            self.pause = longer(self.pause);
        }
    }

    /// One connection, from its beginning to its end.
    async fn follow(&mut self) -> Result<Infallible, Trouble> {
        let mut wire = self.link.connect().await?;
        let script = wire.load(LOOK, self.link.budget).await?;
        self.reading.connected();
        self.look(&mut wire, &script).await?;
        self.pause = FIRST_PAUSE;
        let mut looked = Instant::now();
        loop {
            let sent = clock::now();
            self.read_on(&mut wire).await?;
            if self.reading.must_look(looked.elapsed() >= EVERY) {
                looked = Instant::now();
                self.look(&mut wire, &script).await?;
            }
            if self.reading.is_caught_up() {
                self.shared.heard(sent);
            }
        }
    }

    async fn look(&mut self, wire: &mut Wire, script: &str) -> Result<(), Trouble> {
        let (applied, crossed) = {
            let ledger = self.shared.read();
            (ledger.applied().shared(), ledger.crossed().to_owned())
        };
        let mut call = redis::cmd("EVALSHA");
        call.arg(script).arg(4);
        call.arg(&self.keys.stream).arg(&self.keys.namespaces).arg(&self.keys.instances);
        call.arg(&self.keys.intents);
        call.arg(self.reading.life()).arg(applied.to_string()).arg(applied.next().to_string());
        call.arg(millis(LEAD)).arg(self.settings.records).arg(self.shared.instance());
        call.arg(millis(PATIENCE)).arg(crossed);
        let reply: Value = wire.ask(&call, self.link.budget).await?;
        let look = Look::read(&reply)?;
        self.shared.peers.store(Arc::new(look.peers));
        if *look.opening.life != *self.reading.life() {
            // What was trimmed from the stream still has its version there.
            self.read_versions(wire).await?;
        }
        self.shared.open(&look.opening, self.reading.checked());
        if self.reading.looked(&look.opening.life) {
            tracing::info!(life = self.reading.life(), "reading the ledger from its beginning");
        }
        Ok(())
    }

    async fn read_versions(&self, wire: &mut Wire) -> Result<(), Trouble> {
        let within = self.link.budget.max(Duration::from_secs(2));
        let all: Vec<(Vec<u8>, Vec<u8>)> =
            wire.ask(redis::cmd("HGETALL").arg(&self.keys.namespaces), within).await?;
        let versions = all.iter().filter_map(|(namespace, version)| {
            let namespace = str::from_utf8(namespace).ok().filter(|n| !n.is_empty())?;
            Some((namespace, str::from_utf8(version).ok()?.parse().ok()?))
        });
        self.shared.note_versions(versions);
        Ok(())
    }

    async fn read_on(&mut self, wire: &mut Wire) -> Result<(), Trouble> {
        let mut call = redis::cmd("XREAD");
        call.arg("COUNT").arg(PAGE).arg("BLOCK").arg(millis(self.block));
        call.arg("STREAMS").arg(&self.keys.stream).arg(self.reading.last());
        let reply: Value = wire.ask(&call, self.block + self.link.budget).await?;
        let page = Page::read(&reply)?;
        if page.malformed > 0 {
            self.shared.counters.malformed(page.malformed);
            tracing::warn!(count = page.malformed, "names in the ledger that cannot be read");
        }
        if !page.records.is_empty() {
            self.shared.apply(&page.records);
        }
        let last = page.last.as_deref().zip(page.records.last().map(|record| record.position));
        self.reading.page(last, page.entries < PAGE);
        Ok(())
    }
}
