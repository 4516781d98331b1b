//! One connection to Valkey, kept alive by a supervisor of its own.
//!
//! | state | a call | the supervisor |
//! |---|---|---|
//! | down | [`StoreError::Away`], at once | connects; waits 50 ms, 100 ms … 1 s between attempts |
//! | up | within its budget | PINGs every second, and at once when a call was not answered |
//! | up, breaker open | [`StoreError::Away`], at once, but for one probe per pause | the same |
//!
//! A caller never waits for a connection. One on which a PING stays unanswered is dropped and
//! replaced, because a peer that vanished without a word (a black hole) cannot be told from one
//! that will answer late in any other way.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, error::Elapsed, timeout};

use super::breaker::Breaker;
use super::door::{CONNECT_TIMEOUT, Connection, Purpose};
use super::endpoint::{Endpoint, Target};
use super::patience::within;
use super::scripts::Script;
use crate::clock;
use crate::semantics::time::Timestamp;
use crate::store::StoreError;
use crate::store::stats::Tier;

/// Between two PINGs on a connection about which nobody complained.
const HEARTBEAT: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Failures in a row that open the breaker, and for how long it then stays open.
const BREAKER: Breaker = Breaker::new(5, Duration::from_millis(500));

/// Is Valkey connected?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// No connection.
    Down,
    /// Connected, for the n-th time.
    Up(u64),
}

/// How a connection is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tuning {
    /// In logs.
    pub name: &'static str,
    /// Most commands that wait to be written. What waits is memory held while Valkey hangs.
    pub queue: usize,
    /// How long a PING may take before the connection is given up.
    pub patience: Duration,
}

/// A supervised connection. The supervisor ends when this is dropped.
#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
    supervisor: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    tuning: Tuning,
    /// Written by the supervisor alone; `None` while there is none.
    connection: ArcSwapOption<Connection>,
    breaker: Mutex<Breaker>,
    state: watch::Sender<LinkState>,
    /// A call was not answered: the supervisor looks at the connection now.
    doubt: Notify,
    target: Target,
    /// The server is not, or no longer, the one that we want: ask again who is.
    deposed: AtomicBool,
    /// A server has pointed to another one: whoever keeps the map of the cluster looks at it.
    moved: Arc<Notify>,
    /// What to add to our time to get the server's, in milliseconds; see [`Link::server_time`].
    offset: AtomicI64,
    stats: Arc<Tier>,
}

impl Link {
    /// Starts to connect, in the background. `moved` is told when the server points elsewhere.
    pub(super) fn start(
        endpoint: Endpoint,
        target: Target,
        tuning: Tuning,
        stats: Arc<Tier>,
        moved: Arc<Notify>,
    ) -> Self {
        let shared = Arc::new(Shared {
            tuning,
            connection: ArcSwapOption::empty(),
            breaker: Mutex::new(BREAKER),
            state: watch::Sender::new(LinkState::Down),
            doubt: Notify::new(),
            target,
            deposed: AtomicBool::new(false),
            moved,
            offset: AtomicI64::new(0),
            stats,
        });
        let supervisor = tokio::spawn(supervise(Arc::clone(&shared), endpoint)).abort_handle();
        Self { shared, supervisor }
    }

    /// Tells whether it is connected, now and at every change.
    pub(super) fn watch(&self) -> watch::Receiver<LinkState> {
        self.shared.state.subscribe()
    }

    /// Is it connected?
    pub(super) fn is_up(&self) -> bool {
        self.shared.connection.load().is_some()
    }

    /// What the server's own clock shows at `now`, in milliseconds; never later than it really
    /// does, and earlier by the way of a PING at most. As of the last PING.
    pub(super) fn server_time(&self, now: Timestamp) -> u64 {
        now.as_millis().saturating_add_signed(self.shared.offset.load(Relaxed))
    }

    /// One command, one reply.
    pub(super) async fn command(&self, cmd: &Cmd, budget: Duration) -> Result<Value, StoreError> {
        self.shared.reply(self.ask(cmd, budget).await)
    }

    /// Several commands in one round trip; `replies` says how many.
    pub(super) async fn pipeline(
        &self,
        commands: &Pipeline,
        replies: usize,
        budget: Duration,
    ) -> Result<Vec<Value>, StoreError> {
        let mut connection = self.shared.admit()?;
        let sent = connection.send_packed_commands(commands, 0, replies);
        let outcome = within(budget, sent).await.map(|replies| {
            replies.and_then(|all| all.into_iter().map(Value::extract_error).collect())
        });
        self.shared.reply(Ok(outcome))
    }

    /// A script, by its digest; by its text where the server does not have it (any more). Both
    /// within one budget.
    pub(super) async fn script(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
        budget: Duration,
    ) -> Result<Value, StoreError> {
        let started = Instant::now();
        let by_digest = self.ask(&script.by_digest(keys, args), budget).await;
        let unknown =
            matches!(&by_digest, Ok(Ok(Err(error))) if is(error, ServerErrorKind::NoScript));
        if !unknown {
            return self.shared.reply(by_digest);
        }
        let left = budget.saturating_sub(started.elapsed());
        self.shared.reply(self.ask(&script.by_text(keys, args), left).await)
    }

    async fn ask(&self, cmd: &Cmd, budget: Duration) -> Result<Outcome<Value>, StoreError> {
        let mut connection = self.shared.admit()?;
        let outcome = within(budget, connection.send_packed_command(cmd)).await;
        Ok(outcome.map(|reply| reply.and_then(Value::extract_error)))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

/// What came of a call that was made.
type Outcome<T> = Result<RedisResult<T>, Elapsed>;

impl Shared {
    /// The connection, if a call may be made on it now.
    fn admit(&self) -> Result<Connection, StoreError> {
        let connection = self.connection.load_full().ok_or(StoreError::Away)?;
        if !self.breaker(|breaker| breaker.admit(clock::now())) {
            return Err(StoreError::Away);
        }
        Ok(Connection::clone(&connection))
    }

    /// Draws the conclusions from an outcome.
    fn reply<T>(&self, outcome: Result<Outcome<T>, StoreError>) -> Result<T, StoreError> {
        match outcome? {
            Ok(Ok(value)) => {
                self.breaker(Breaker::succeeded);
                Ok(value)
            }
            Ok(Err(error)) => Err(self.refused(&error)),
            Err(Elapsed { .. }) => {
                // A single late answer is nothing to look into.
                if self.breaker(|breaker| breaker.failed(clock::now())) {
                    self.doubt.notify_one();
                }
                Err(StoreError::Timeout)
            }
        }
    }

    fn refused(&self, error: &RedisError) -> StoreError {
        let moved = is(error, ServerErrorKind::Moved);
        if is(error, ServerErrorKind::ReadOnly) || (moved && self.target == Target::Primary) {
            self.deposed.store(true, Relaxed);
            self.doubt.notify_one();
        }
        if moved || is(error, ServerErrorKind::ReadOnly) {
            self.moved.notify_one();
        }
        if is_answer(error) {
            self.breaker(Breaker::succeeded);
        } else {
            self.breaker(|breaker| breaker.failed(clock::now()));
            self.doubt.notify_one();
        }
        StoreError::Failed(error.to_string())
    }

    fn breaker<T>(&self, act: impl FnOnce(&mut Breaker) -> T) -> T {
        act(&mut self.breaker.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn up(&self, connection: Connection, offset: i64, nth: u64) {
        self.breaker(Breaker::reset);
        self.offset.store(offset, Relaxed);
        self.deposed.store(false, Relaxed);
        self.connection.store(Some(Arc::new(connection)));
        self.stats.connects.add(1);
        self.state.send_replace(LinkState::Up(nth));
        tracing::info!(link = self.tuning.name, "connected to Valkey");
    }

    fn down(&self, why: &str) {
        self.connection.store(None);
        self.state.send_replace(LinkState::Down);
        tracing::warn!(link = self.tuning.name, why, "lost the connection to Valkey");
    }
}

/// Keeps a connection up for as long as it runs.
async fn supervise(shared: Arc<Shared>, endpoint: Endpoint) {
    let mut pause = FIRST_PAUSE;
    let mut connected = 0;
    let mut complained = false;
    loop {
        match connect(&endpoint, &shared.target, shared.tuning).await {
            Ok((connection, offset)) => {
                connected += 1;
                complained = false;
                let since = Instant::now();
                shared.up(connection.clone(), offset, connected);
                let why = watch_over(&shared, connection).await;
                shared.down(&why);
                // A server that hangs up at once is not asked again at once.
                if since.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
            }
            // Once per outage: the attempts are many and their message is the same.
            Err(error) if !complained => {
                complained = true;
                tracing::warn!(link = shared.tuning.name, %error, "cannot connect to Valkey");
            }
            Err(_) => {}
        }
        endpoint.rest(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns when the connection is of no use any more, and says why.
async fn watch_over(shared: &Shared, mut connection: Connection) -> String {
    loop {
        let _ = timeout(HEARTBEAT, shared.doubt.notified()).await;
        if shared.deposed.swap(false, Relaxed) {
            return "the server is not the primary any more".into();
        }
        match timeout(shared.tuning.patience, ping(&mut connection)).await {
            Ok(Ok(offset)) => shared.offset.store(offset, Relaxed),
            Ok(Err(error)) => return error.to_string(),
            Err(Elapsed { .. }) => return "a PING was not answered".into(),
        }
    }
}

/// A connection on which the server has answered, and its clock's offset from ours.
async fn connect(
    endpoint: &Endpoint,
    target: &Target,
    tuning: Tuning,
) -> RedisResult<(Connection, i64)> {
    let purpose = Purpose { name: tuning.name, queue: tuning.queue, patience: None };
    let mut connection = endpoint.open(target, purpose).await?;
    // A server that is loading, or that wants a password, accepts connections as well.
    match timeout(CONNECT_TIMEOUT, ping(&mut connection)).await {
        Ok(offset) => Ok((connection, offset?)),
        Err(Elapsed { .. }) => Err((ErrorKind::Io, "a PING was not answered").into()),
    }
}

/// Asks whether the server is there, and what time it is there (TIME alone is answered by a server
/// that is still loading). Returns what to add to our time.
async fn ping(connection: &mut Connection) -> RedisResult<i64> {
    let mut ask = Pipeline::with_capacity(2);
    ask.cmd("PING").cmd("TIME");
    let replies = connection.send_packed_commands(&ask, 0, 2).await?;
    let replies = Value::Array(replies).extract_error()?;
    let (_, (seconds, micros)): (Value, (u64, u64)) = redis::from_redis_value(replies)?;
    let there = seconds.saturating_mul(1000).saturating_add(micros / 1000);
    // Both are cut to whole milliseconds; one less makes sure that it is not later there.
    let here = clock::now().as_millis().saturating_add(1);
    Ok(there.cast_signed().saturating_sub(here.cast_signed()))
}

/// True if the server is well and merely refused: that is no reason to stop asking it.
fn is_answer(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, TryAgain};
    match error.kind() {
        ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | TryAgain) => false,
        ErrorKind::Server(_) => true,
        // Words that the client library has no kind for, such as OOM, NOAUTH or WRONGTYPE.
        ErrorKind::Extension => error.code() != Some("BUSY"),
        _ => false,
    }
}

fn is(error: &RedisError, kind: ServerErrorKind) -> bool {
    error.kind() == ErrorKind::Server(kind)
}
