//! Announcing and appending: whatever is due goes out together, one script call each, in one exchange.
//!
//! A failed exchange leaves it unknown what was carried out, so all of it is sent again: twice is
//! once. While Valkey is known to be away, nobody waits for it.
//!
//! Nothing is appended to a stream that was lost before it has been opened anew: on a new connection,
//! and after a pause, the exchange begins with a look at it.
//!
//! With `store.durability = "replicas"` the exchange ends with a WAIT, which covers what was written
//! on its connection and so everything before it. What no replica acknowledges in time counts as
//! taken all the same, and whoever waits for it is told: it is in the ledger, and a failover may lose
//! it.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, RedisResult, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::{Link, Trouble, Wire};
use super::{FIRST_PAUSE, Keys, LEAD, longer, millis};

use crate::clock;
use crate::ledger::name::Name;
use crate::ledger::{Debt, Intent, Mode, Position, record};
use crate::store::ledger::{Due, Settings, Shared, Taken};

const APPEND: &str = concat!(include_str!("common.lua"), include_str!("append.lua"));
const ANNOUNCE: &str = include_str!("announce.lua");
const OPEN: &str =
    concat!(include_str!("common.lua"), include_str!("sight.lua"), include_str!("open.lua"));

/// Longest pause before another attempt to append.
const LONGEST_REST: Duration = Duration::from_millis(100);

/// How often to see whether an announced write needs its deadline put off; and after how long
/// without an exchange the stream may be another one on the same connection.
const EVERY: Duration = Duration::from_secs(1);

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

/// A connection on which the scripts are known.
struct Open {
    wire: Wire,
    append: String,
    announce: String,
    open: String,
    /// When something was appended on it last.
    used: Option<Instant>,
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
                () = tokio::time::sleep(EVERY) => {}
            }
            while !self.settle().await && !stop.is_cancelled() {
                self.rest().await;
            }
        }
    }

    /// Sends until nothing is due; false if Valkey does not take it.
    async fn settle(&mut self) -> bool {
        loop {
            let due = self.shared.take_due(clock::now());
            if due.is_empty() {
                return true;
            }
            let started = Instant::now();
            let outcome = self.exchange(&due).await;
            self.shared.counters.append(started.elapsed(), outcome.is_ok());
            if let Err(trouble) = outcome {
                if self.pause == FIRST_PAUSE {
                    tracing::warn!(%trouble, "an invalidation is owed to the other instances");
                }
                self.open = None;
                self.shared.failed(&due);
                return false;
            }
            self.pause = FIRST_PAUSE;
        }
    }

    /// A connection that lay idle may have been closed meanwhile; that says nothing about Valkey.
    async fn exchange(&mut self, due: &Due) -> Result<(), Trouble> {
        let idle = self.open.is_some();
        match self.send(due).await {
            Err(Trouble::Failed(_)) if idle => {
                self.open = None;
                self.send(due).await
            }
            outcome => outcome,
        }
    }

    async fn send(&mut self, due: &Due) -> Result<(), Trouble> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::new(&self.link).await?,
        };
        let mut calls = Pipeline::new();
        let looks = open.used.is_none_or(|used| used.elapsed() >= EVERY);
        if looks {
            calls.add_command(self.opening(&open.open));
        }
        for intent in &due.intents {
            calls.add_command(self.announcement(&open.announce, intent));
        }
        for (debt, names, last) in records(&due.debts) {
            calls.add_command(self.append(&open.append, debt, names, last));
        }
        for intent in &due.withdrawn {
            calls.add_command(self.withdrawal(intent));
        }
        let waits = self.settings.replicas.filter(|_| !due.is_tidying());
        if let Some(within) = waits {
            calls.cmd("WAIT").arg(1).arg(millis(within).max(1));
        }
        calls.ignore_errors();
        let sent = clock::now();
        let within = self.link.budget + waits.unwrap_or_default();
        let mut replies: Vec<RedisResult<Value>> = open.wire.ask_all(&calls, within).await?;
        let waited = waits.and_then(|_| replies.pop());
        let replicated = waited.is_none_or(|reply| self.is_replicated(reply));
        let replies: Vec<Value> = replies.into_iter().collect::<RedisResult<_>>()?;
        let replies = replies.get(usize::from(looks)..).ok_or(Trouble::Odd("open.lua"))?;
        let (announced, rest) =
            replies.split_at_checked(due.intents.len()).ok_or(Trouble::Odd("announce.lua"))?;
        for (intent, _) in due.intents.iter().zip(announced) {
            self.shared.announced(intent.ticket, sent, replicated);
        }
        for ((debt, _, last), reply) in records(&due.debts).zip(rest) {
            if last {
                let position = position(reply).ok_or(Trouble::Odd("append.lua"))?;
                self.shared.appended(debt.ticket, Taken { position, replicated });
            }
        }
        self.open = Some(Open { used: Some(Instant::now()), ..open });
        Ok(())
    }

    /// Does a replica have what was sent before that WAIT? A server that does not know what is meant
    /// has said that it does not.
    fn is_replicated(&self, reply: RedisResult<Value>) -> bool {
        let replicated = matches!(reply, Ok(Value::Int(1..)));
        self.shared.counters.replicated(replicated);
        if let Err(error) = reply {
            tracing::debug!(%error, "WAIT was refused");
        }
        replicated
    }

    fn opening(&self, script: &str) -> Cmd {
        let applied = self.shared.read().applied();
        let mut call = redis::cmd("EVALSHA");
        call.arg(script).arg(2).arg(&self.keys.stream).arg(&self.keys.namespaces);
        call.arg(applied.shared().to_string()).arg(applied.next().to_string()).arg(millis(LEAD));
        call.arg(self.settings.records).arg(self.shared.instance());
        call
    }

    fn announcement(&self, script: &str, intent: &Intent) -> Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(script).arg(1).arg(&self.keys.intents);
        call.arg(intent.text(self.shared.instance())).arg(millis(intent.span));
        call
    }

    fn withdrawal(&self, intent: &Intent) -> Cmd {
        let mut call = redis::cmd("ZREM");
        call.arg(&self.keys.intents).arg(intent.text(self.shared.instance()));
        call
    }

    fn append(&self, script: &str, debt: &Debt, names: &[Name], last: bool) -> Cmd {
        let ticket = last.then_some(debt.ticket);
        let closes = debt.closes.as_ref().filter(|_| last);
        let closes = closes.map(|intent| intent.text(self.shared.instance()));
        let fields = record::fields(names, debt.mode, self.shared.instance(), ticket, debt.cause);
        let least = self.shared.read().applied().next();
        let mut call = redis::cmd("EVALSHA");
        call.arg(script).arg(3);
        call.arg(&self.keys.stream).arg(&self.keys.namespaces).arg(&self.keys.intents);
        call.arg(least.to_string()).arg(millis(LEAD)).arg(self.settings.records);
        call.arg(millis(self.settings.retention)).arg(self.shared.instance());
        call.arg(closes.unwrap_or_default());
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
        let append = wire.load(APPEND, link.budget).await?;
        let announce = wire.load(ANNOUNCE, link.budget).await?;
        let open = wire.load(OPEN, link.budget).await?;
        Ok(Self { wire, append, announce, open, used: None })
    }
}

/// Where it was appended.
fn position(reply: &Value) -> Option<Position> {
    String::from_redis_value_ref(reply).ok()?.parse().ok()
}

/// One debt may need several records; the tail passes it with the last of them.
fn records(debts: &[Debt]) -> impl Iterator<Item = (&Debt, &[Name], bool)> {
    debts.iter().flat_map(|debt| {
        let count = debt.names.len().div_ceil(NAMES);
        let parts = debt.names.chunks(NAMES).zip(1..);
        parts.map(move |(names, number)| (debt, names, number == count))
    })
}
