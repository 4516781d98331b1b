//! The barrier in front of strict routes: does this process know all that anybody had been told was
//! recorded when a request came?
//!
//! | a request comes while | it waits for |
//! |---|---|
//! | nobody asks | a question that is sent at once |
//! | a question is on its way | the next one, with all who come meanwhile: the one on its way was sent before |
//! | Valkey has not answered the last one | nothing: it is told so, until Valkey answers again |
//!
//! The answer is where the stream ends; then the tail has to get there. A stream that nobody has
//! opened with a fence since it was lost has no end that means anything: who waits asks again when
//! the tail has moved.

use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Shared;
use crate::ledger::Position;

/// First and longest pause before a Valkey that did not answer is asked again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// A stream that was opened anew moves nothing if it was read before: who waits looks this often.
const LOOK: Duration = Duration::from_millis(20);

/// Where the stream ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Head {
    /// Which life of it that is.
    pub(in crate::store) life: Arc<str>,
    /// The last position issued in it.
    pub(in crate::store) last: Position,
}

/// Why this process cannot say that it knows everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconfirmed {
    /// Valkey did not answer the last question either, and was not asked.
    Away,
    /// Valkey did not answer in time.
    Silent,
    /// The stream was lost, and nobody has opened it anew in time.
    Unopened,
    /// This process has not read as far in time.
    Late,
}

impl Unconfirmed {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Away, Self::Silent, Self::Unopened, Self::Late];

    /// For metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Silent => "silent",
            Self::Unopened => "unopened",
            Self::Late => "late",
        }
    }
}

/// `None`: nobody has opened the stream.
type Answer = Result<Option<Head>, Unconfirmed>;

/// Who asks Valkey where the stream ends.
pub(in crate::store) trait Asker: Send {
    /// Asks once. Ends within the budget of the ledger.
    fn ask(&mut self) -> impl Future<Output = Answer> + Send;
}

/// Lets all who come while one question is on its way share the next.
#[derive(Debug)]
pub(in crate::store) struct Barrier {
    state: Mutex<State>,
    /// Somebody waits for a question.
    wanted: Notify,
    questions: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// Those whose question has not been sent.
    next: watch::Sender<Option<Answer>>,
    /// Valkey has not answered the last question.
    away: bool,
}

impl Default for Barrier {
    fn default() -> Self {
        let state = State { next: watch::Sender::new(None), away: false };
        Self { state: Mutex::new(state), wanted: Notify::new(), questions: AtomicU64::new(0) }
    }
}

impl Barrier {
    /// Where the stream ends, by a question that is sent after this was called.
    async fn ask(&self) -> Answer {
        let mut answer = {
            let state = self.lock();
            if state.away {
                return Err(Unconfirmed::Away);
            }
            state.next.subscribe()
        };
        self.wanted.notify_one();
        let told = answer.wait_for(Option::is_some).await;
        told.ok().and_then(|told| told.clone()).unwrap_or(Err(Unconfirmed::Away))
    }

    /// Questions that were sent.
    pub(super) fn questions(&self) -> u64 {
        self.questions.load(Relaxed)
    }

    /// Asks whenever somebody wants to know, and never two questions at once.
    pub(in crate::store) async fn run(&self, asker: &mut impl Asker) -> Infallible {
        loop {
            self.wanted.notified().await;
            // From here on whoever comes waits for the next one.
            let waiting = std::mem::take(&mut self.lock().next);
            if waiting.receiver_count() == 0 {
                continue;
            }
            match self.send(asker).await {
                Err(why) => {
                    self.fail(&waiting, why);
                    self.until_back(asker).await;
                }
                answer => drop(waiting.send_replace(Some(answer))),
            }
        }
    }

    async fn send(&self, asker: &mut impl Asker) -> Answer {
        self.questions.fetch_add(1, Relaxed);
        asker.ask().await
    }

    /// No answer: that is the answer to all who wait, and to all who come until there is one again.
    fn fail(&self, waiting: &watch::Sender<Option<Answer>>, why: Unconfirmed) {
        let next = {
            let mut state = self.lock();
            state.away = true;
            std::mem::take(&mut state.next)
        };
        for all in [waiting, &next] {
            all.send_replace(Some(Err(why)));
        }
    }

    async fn until_back(&self, asker: &mut impl Asker) {
        let mut pause = PAUSES.0;
        loop {
            sleep(pause).await;
            if self.send(asker).await.is_ok() {
                self.lock().away = false;
                return;
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until this process knows all that was in the ledger when this was called.
///
/// # Errors
///
/// That could not be found out, or took longer than `within`.
pub(super) async fn confirm(shared: &Shared, within: Duration) -> Result<(), Unconfirmed> {
    let end = Instant::now() + within;
    let mut moves = shared.moves();
    let mut missing = Unconfirmed::Silent;
    loop {
        let head = timeout_at(end, shared.barrier.ask()).await.map_err(|_| missing)??;
        if let Some(head) = head {
            return reached(shared, &head, &mut moves, end).await;
        }
        missing = Unconfirmed::Unopened;
        if !moved(&mut moves, end).await {
            return Err(missing);
        }
    }
}

/// Waits until the tail has read up to there.
async fn reached(
    shared: &Shared,
    head: &Head,
    moves: &mut watch::Receiver<Position>,
    end: Instant,
) -> Result<(), Unconfirmed> {
    // Marked as seen before it is looked at, so that no move in between is missed.
    loop {
        moves.borrow_and_update();
        if shared.read().has_reached(&head.life, head.last) {
            return Ok(());
        }
        if !moved(moves, end).await {
            return Err(Unconfirmed::Late);
        }
    }
}

/// Waits until the tail has moved, or might have; false if there is no time left for that.
async fn moved(moves: &mut watch::Receiver<Position>, end: Instant) -> bool {
    let now = Instant::now();
    if now >= end {
        return false;
    }
    let _ = timeout_at(end.min(now + LOOK), moves.changed()).await;
    true
}

/// Does Valkey answer, as the one that takes the records?
pub(super) async fn reach(shared: &Shared, within: Duration) -> Result<(), Unconfirmed> {
    match timeout(within, shared.barrier.ask()).await {
        Ok(Ok(Some(_))) => Ok(()),
        Ok(Ok(None)) => Err(Unconfirmed::Unopened),
        Ok(Err(why)) => Err(why),
        Err(_) => Err(Unconfirmed::Silent),
    }
}

#[cfg(test)]
mod tests;
