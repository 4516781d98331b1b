//! The tail: reads the stream, in order and without a gap, for as long as the process lives.
//!
//! A connection: look (open a new life if need be) → read page after page → caught up: every answer,
//! also an empty one, says that up to the moment its question was sent everything is known. An
//! answer that does not come, and one that makes no sense, ends the connection; the next one goes on
//! from the last entry read.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tokio::time::Instant;

use super::connection::{Link, Trouble, Wire};
use super::foreign::Foreign;
use super::reply::{Look, Page};
use super::versions::{self, PRUNE, Pruning};
use super::{FIRST_PAUSE, Keys, LEAD, longer, millis};
use crate::clock;
use crate::ledger::{Cause, Reading, Record};
use crate::store::ledger::{Settings, Shared};

const LOOK: &str =
    concat!(include_str!("common.lua"), include_str!("sight.lua"), include_str!("look.lua"));
const REPORT: &str = concat!(include_str!("common.lua"), include_str!("report.lua"));

/// How often, at least, to look whether it is still the same stream; more often with a short lease: a
/// stream that was lost answers like one in which nothing happens.
const EVERY: Duration = Duration::from_secs(1);

/// After this long, an instance that says nothing is struck off; after twice its lease at the
/// earliest.
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
    pruning: Pruning,
    foreign: Foreign,
    /// Somebody may be waiting for this process: it says how far it is before it waits itself.
    awaited: bool,
    pause: Duration,
}

/// A connection on which the scripts are known.
struct Open {
    wire: Wire,
    look: String,
    prune: String,
    report: String,
}

impl Tail {
    pub(super) fn new(shared: Arc<Shared>, link: Link, keys: Keys, settings: Settings) -> Self {
        let block =
            (settings.lease / 4).clamp(Duration::from_millis(10), Duration::from_millis(500));
        Self {
            shared,
            link,
            keys,
            settings,
            block,
            reading: Reading::default(),
            pruning: Pruning::default(),
            foreign: Foreign::default(),
            awaited: false,
            pause: FIRST_PAUSE,
        }
    }

    pub(super) async fn run(&mut self) {
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

    /// Strikes this process off: nobody has to wait for it. The last thing it does.
    pub(super) async fn leave(self) -> Result<(), Trouble> {
        let mut wire = self.link.connect().await?;
        let mut call = redis::cmd("HDEL");
        call.arg(&self.keys.instances).arg(self.shared.instance());
        wire.ask(&call, self.link.budget).await
    }

    /// One connection, from its beginning to its end.
    async fn follow(&mut self) -> Result<Infallible, Trouble> {
        let mut open = Open::new(&self.link).await?;
        self.reading.connected();
        self.look(&mut open).await?;
        self.pause = FIRST_PAUSE;
        let mut looked = Instant::now();
        loop {
            let sent = clock::now();
            self.read_on(&mut open).await?;
            if self.reading.must_look(looked.elapsed() >= EVERY.min(self.settings.lease / 2)) {
                looked = Instant::now();
                self.look(&mut open).await?;
                self.foreign.settle(&mut open.wire, &self.link, &self.keys, &self.settings).await?;
            }
            if self.reading.is_caught_up() {
                self.shared.heard(sent);
            }
        }
    }

    async fn look(&mut self, open: &mut Open) -> Result<(), Trouble> {
        let (applied, crossed) = {
            let ledger = self.shared.read();
            (ledger.applied().shared(), ledger.crossed().to_owned())
        };
        let mut call = redis::cmd("EVALSHA");
        call.arg(&open.look).arg(4);
        call.arg(&self.keys.stream).arg(&self.keys.namespaces).arg(&self.keys.instances);
        call.arg(&self.keys.intents);
        call.arg(self.reading.life()).arg(applied.to_string()).arg(applied.next().to_string());
        call.arg(millis(LEAD)).arg(self.settings.records).arg(self.shared.instance());
        call.arg(millis(PATIENCE.max(self.settings.lease * 2))).arg(crossed);
        let prune = self.pruning.call(&open.prune, &self.keys, self.settings.retention);
        let mut calls = Pipeline::with_capacity(2);
        calls.add_command(call).add_command(prune);
        let (reply, pruned): (Value, Value) = open.wire.ask_all(&calls, self.link.budget).await?;
        let look = Look::read(&reply)?;
        self.pruning.went(&pruned)?;
        self.shared.peers.store(Arc::new(look.peers));
        if *look.opening.life != *self.reading.life() {
            versions::read(&mut open.wire, &self.keys, &self.shared, self.link.budget).await?;
        }
        self.shared.open(&look.opening, self.reading.checked());
        if self.reading.looked(&look.opening.life) {
            tracing::info!(life = self.reading.life(), "reading the ledger from its beginning");
        }
        Ok(())
    }

    async fn read_on(&mut self, open: &mut Open) -> Result<(), Trouble> {
        let mut calls = Pipeline::with_capacity(2);
        if self.awaited {
            calls.add_command(self.report(&open.report)).ignore();
        }
        let mut call = redis::cmd("XREAD");
        call.arg("COUNT").arg(PAGE).arg("BLOCK").arg(millis(self.block));
        call.arg("STREAMS").arg(&self.keys.stream).arg(self.reading.last());
        calls.add_command(call);
        let (reply,): (Value,) = open.wire.ask_all(&calls, self.block + self.link.budget).await?;
        let page = Page::read(&reply)?;
        self.awaited = page.records.iter().any(|record| self.is_awaited(record));
        if page.malformed > 0 {
            self.shared.counters.malformed(page.malformed);
        }
        self.foreign.look_at(&page);
        if !page.records.is_empty() {
            self.shared.apply(&page.records);
        }
        let last = page.last.as_deref().zip(page.records.last().map(|record| record.position));
        self.reading.page(last, page.entries < PAGE);
        Ok(())
    }

    /// Whoever purges may wait until all have applied it. Writes are many, and their clients wait
    /// for nobody.
    fn is_awaited(&self, record: &Record) -> bool {
        record.cause == Cause::Purge && *record.writer != *self.shared.instance()
    }

    fn report(&self, script: &str) -> Cmd {
        let applied = self.shared.read().applied().shared();
        let mut call = redis::cmd("EVALSHA");
        call.arg(script).arg(1).arg(&self.keys.instances);
        call.arg(self.shared.instance()).arg(applied.to_string());
        call
    }
}

impl Open {
    async fn new(link: &Link) -> Result<Self, Trouble> {
        let mut wire = link.connect().await?;
        let look = wire.load(LOOK, link.budget).await?;
        let prune = wire.load(PRUNE, link.budget).await?;
        let report = wire.load(REPORT, link.budget).await?;
        Ok(Self { wire, look, prune, report })
    }
}
