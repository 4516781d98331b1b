//! Appending: whatever is due goes out together, one script call per record, in one exchange.
//!
//! A failed exchange leaves it unknown what was appended, so all of it is appended again: twice is
//! once. While Valkey is known to be away, nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::{Link, Trouble, Wire};
use super::{FIRST_PAUSE, Keys, LEAD, longer, millis};

/// Longest pause before another attempt to append.
const LONGEST_REST: Duration = Duration::from_millis(100);
use crate::ledger::name::Name;
use crate::ledger::{Debt, Mode, record};
use crate::store::ledger::{Settings, Shared};

const APPEND: &str = concat!(include_str!("common.lua"), include_str!("append.lua"));

/// Most names in one record: a script can take a few thousand arguments.
const NAMES: usize = 500;

pub(super) struct Append {
    shared: Arc<Shared>,
    link: Link,
    keys: Keys,
    settings: Settings,
    stop: CancellationToken,
    open: Option<Open>,
    pause: Duration,
}

/// A connection on which the script is known.
struct Open {
    wire: Wire,
    script: String,
}

impl Append {
    pub(super) fn new(
        shared: Arc<Shared>,
        link: Link,
        keys: Keys,
        settings: Settings,
        stop: CancellationToken,
    ) -> Self {
        Self { shared, link, keys, settings, stop, open: None, pause: FIRST_PAUSE }
    }

    /// Ends when stopped, but not in the middle of an exchange.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.shared.work() => {}
            }
            while !self.settle().await && !stop.is_cancelled() {
                self.rest().await;
            }
        }
    }

    /// Appends until nothing is due; false if Valkey does not take it.
    async fn settle(&mut self) -> bool {
        loop {
            let debts = self.shared.take_due();
            if debts.is_empty() {
                return true;
            }
            let started = Instant::now();
            let outcome = self.exchange(&debts).await;
            self.shared.counters.append(started.elapsed(), outcome.is_ok());
            if let Err(trouble) = outcome {
                if self.pause == FIRST_PAUSE {
                    tracing::warn!(%trouble, "an invalidation is owed to the other instances");
                }
                self.open = None;
                self.shared.failed(&debts);
                return false;
            }
            self.pause = FIRST_PAUSE;
        }
    }

    /// A connection that lay idle may have been closed meanwhile; that says nothing about Valkey.
    async fn exchange(&mut self, debts: &[Debt]) -> Result<(), Trouble> {
        let idle = self.open.is_some();
        match self.append(debts).await {
            Err(Trouble::Failed(_)) if idle => {
                self.open = None;
                self.append(debts).await
            }
            outcome => outcome,
        }
    }

    async fn append(&mut self, debts: &[Debt]) -> Result<(), Trouble> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::new(&self.link).await?,
        };
        let mut calls = Pipeline::new();
        for (debt, names, last) in records(debts) {
            calls.add_command(self.call(&open.script, debt, names, last));
        }
        let replies: Vec<String> = open.wire.ask_all(&calls, self.link.budget).await?;
        for ((debt, _, last), reply) in records(debts).zip(&replies) {
            if last {
                let position = reply.parse().map_err(|_| Trouble::Odd("append.lua"))?;
                self.shared.appended(debt.ticket, position);
            }
        }
        self.open = Some(open);
        Ok(())
    }

    fn call(&self, script: &str, debt: &Debt, names: &[Name], last: bool) -> Cmd {
        let ticket = last.then_some(debt.ticket);
        let fields = record::fields(names, debt.mode, self.shared.instance(), ticket, debt.cause);
        let least = self.shared.read().applied().next();
        let mut call = redis::cmd("EVALSHA");
        call.arg(script).arg(2).arg(&self.keys.stream).arg(&self.keys.namespaces);
        call.arg(least.to_string()).arg(millis(LEAD)).arg(self.settings.records);
        call.arg(millis(self.settings.retention)).arg(self.shared.instance());
        call.arg(fields.len()).arg(fields);
        for name in names {
            if let (Name::Namespace(namespace), Mode::Hard) = (name, debt.mode) {
                call.arg(&**namespace);
            }
        }
        call
    }

    async fn rest(&mut self) {
        // Others trust what they have soon after Valkey is back: debts must be there by then.
        let end = Instant::now() + self.pause.min(LONGEST_REST);
        self.pause = longer(self.pause);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                () = self.stop.cancelled() => return,
                () = self.shared.work() => self.shared.give_up_due(),
            }
        }
    }
}

impl Open {
    async fn new(link: &Link) -> Result<Self, Trouble> {
        let mut wire = link.connect().await?;
        let script = wire.load(APPEND, link.budget).await?;
        Ok(Self { wire, script })
    }
}

/// One debt may need several records; the tail passes it with the last of them.
fn records(debts: &[Debt]) -> impl Iterator<Item = (&Debt, &[Name], bool)> {
    debts.iter().flat_map(|debt| {
        let count = debt.names.len().div_ceil(NAMES);
        let parts = debt.names.chunks(NAMES).zip(1..);
        parts.map(move |(names, number)| (debt, names, number == count))
    })
}
