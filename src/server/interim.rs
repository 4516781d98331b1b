//! Interim responses on their way to a client of HTTP/1.1 (RFC 9110 §15.2). hyper's server writes
//! none, so they are put between what it writes: where one of its messages has ended and the next
//! has not begun.
//!
//! | the exchange | of the response before it | an interim response |
//! |---|---|---|
//! | unanswered | all is written | is written at once |
//! | unanswered | hyper still holds something | waits until it is written |
//! | answered just now | all was written while it was unanswered | goes out in front of the answer |
//! | answered just now | hyper still holds something | is dropped: it would stand in the middle of it |
//! | answered | – | is dropped: it is too late |
//! | over, the next one under way | – | is dropped: it is not the next one's |
//!
//! Where the table says dropped, RFC 9110 §15.2 ("A proxy MUST forward 1xx responses") is departed
//! from: it takes a client that asks again before it has read the answer to what it asked before.
//!
//! HTTP/2 is not served: hyper hands nobody the stream that a 1xx would have to be sent on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::peer::{Interim, Passes};

/// Most interim responses to one request; what the origin sends beyond them is dropped.
const MOST: usize = 16;

/// Most bytes of them together: as much as the head of an origin's final response may have.
const MOST_BYTES: usize = 256 * 1024;

/// The interim responses of one connection, whose exchanges come one after another.
#[derive(Debug, Default)]
pub(super) struct Interims {
    /// Number of the latest exchange; 0 before the first.
    exchange: AtomicU64,
    /// Something may be in the queue: spares the lock where there is nothing, which is mostly.
    waiting: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The latest exchange has no answer yet.
    unanswered: bool,
    /// Heads to be written, encoded.
    queue: VecDeque<Bytes>,
    /// How many were passed on in this exchange, and how many bytes that was.
    passed: usize,
    passed_bytes: usize,
    /// Of the connection's task, while it waits for the answer.
    task: Option<Waker>,
}

/// A place between two messages of a connection, if it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// hyper has nothing left to write.
    Flushed,
    /// hyper is about to write. It had last nothing left in the exchange of this number, and has
    /// not written since; `None`: it has.
    Before(Option<u64>),
}

impl Interims {
    /// Begins an exchange. Dropping what is returned ends the time of its interim responses.
    pub(super) fn begin(self: &Arc<Self>) -> Unanswered {
        // All under the lock: who comes too late for the one before must not get in between.
        let mut state = self.lock();
        *state = State { unanswered: true, task: state.task.take(), ..State::default() };
        let exchange = self.exchange() + 1;
        self.exchange.store(exchange, Ordering::Release);
        drop(state);
        Unanswered { interims: Arc::clone(self), exchange }
    }

    /// Number of the latest exchange.
    pub(super) fn exchange(&self) -> u64 {
        self.exchange.load(Ordering::Acquire)
    }

    /// The next head to be written at this place.
    pub(super) fn next(&self, place: Place) -> Option<Bytes> {
        if !self.waiting.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.lock();
        let fits = match place {
            Place::Flushed => state.unanswered,
            Place::Before(flushed) => flushed == Some(self.exchange()),
        };
        if !fits && !state.unanswered {
            state.queue.clear();
        }
        let head = if fits { state.queue.pop_front() } else { None };
        self.waiting.store(!state.queue.is_empty(), Ordering::Release);
        head
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passes for Interims {
    fn pass(&self, exchange: u64, status: StatusCode, headers: &HeaderMap) {
        let head = encode(status, headers);
        let mut state = self.lock();
        let open = state.unanswered && exchange == self.exchange();
        if !open || state.passed >= MOST || state.passed_bytes + head.len() > MOST_BYTES {
            return;
        }
        state.passed += 1;
        state.passed_bytes += head.len();
        state.queue.push_back(head);
        self.waiting.store(true, Ordering::Release);
        let task = state.task.clone();
        drop(state);
        // Who woke it polls the connection, which writes it when hyper has nothing left to write.
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// An exchange that has no answer yet.
#[derive(Debug)]
pub(super) struct Unanswered {
    interims: Arc<Interims>,
    exchange: u64,
}

impl Unanswered {
    /// The way for its interim responses.
    pub(super) fn way(&self) -> Interim {
        Interim::new(Arc::clone(&self.interims) as Arc<dyn Passes>, self.exchange)
    }

    /// The connection's task waits for the answer: it is woken for interim responses.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        let mut state = self.interims.lock();
        match &mut state.task {
            Some(task) => task.clone_from(cx.waker()),
            None => state.task = Some(cx.waker().clone()),
        }
    }
}

impl Drop for Unanswered {
    /// From here on the answer may be on its way.
    fn drop(&mut self) {
        self.interims.lock().unanswered = false;
    }
}

/// RFC 9112 §4: the space after the status is there even if the reason is not. No value has a line
/// break in it: `http` refuses to make one.
fn encode(status: StatusCode, headers: &HeaderMap) -> Bytes {
    let mut head = Vec::with_capacity(64 + headers.len() * 64);
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(status.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    head.extend_from_slice(b"\r\n");
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\n";

    fn hint(way: &Interim) {
        way.tell(StatusCode::EARLY_HINTS, HeaderMap::new());
    }

    fn next(interims: &Interims, place: Place) -> Option<Vec<u8>> {
        interims.next(place).map(|head| head.to_vec())
    }

    #[test]
    fn a_head_is_written_line_by_line() {
        let mut headers = HeaderMap::new();
        headers.append("link", "</a>".parse().unwrap());
        headers.append("x", "1".parse().unwrap());
        headers.append("link", "</b>".parse().unwrap());
        let head = encode(StatusCode::EARLY_HINTS, &headers);
        assert_eq!(
            &head[..],
            b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nlink: </b>\r\nx: 1\r\n\r\n"
        );
        let unknown = StatusCode::from_u16(199).unwrap();
        assert_eq!(&encode(unknown, &HeaderMap::new())[..], b"HTTP/1.1 199 \r\n\r\n");
    }

    #[test]
    fn it_is_written_where_the_table_says() {
        let interims = Arc::new(Interims::default());
        let before = interims.exchange();
        // Unanswered: at once, where hyper has nothing left.
        let first = interims.begin();
        let way = first.way();
        hint(&way);
        assert_eq!(
            next(&interims, Place::Before(Some(before))),
            None,
            "in the middle of what was before"
        );
        assert_eq!(next(&interims, Place::Flushed).as_deref(), Some(HINTS));
        assert_eq!(next(&interims, Place::Flushed), None, "once");
        // Answered just now: in front of the answer.
        hint(&way);
        drop(first);
        assert_eq!(next(&interims, Place::Before(Some(1))).as_deref(), Some(HINTS));
        // Answered: too late.
        hint(&way);
        assert_eq!(next(&interims, Place::Before(Some(1))), None);
        assert_eq!(next(&interims, Place::Flushed), None);
        // Not the next one's.
        let second = interims.begin();
        hint(&way);
        assert_eq!(next(&interims, Place::Flushed), None);
        // Answered while hyper still held something: dropped, for good.
        hint(&second.way());
        drop(second);
        assert_eq!(next(&interims, Place::Before(None)), None);
        assert_eq!(next(&interims, Place::Before(Some(2))), None);
    }

    #[test]
    fn what_waited_for_an_exchange_that_is_over_is_not_the_next_ones() {
        let interims = Arc::new(Interims::default());
        let first = interims.begin();
        hint(&first.way());
        drop(first);
        let _second = interims.begin();
        assert_eq!(next(&interims, Place::Flushed), None);
        assert_eq!(next(&interims, Place::Before(Some(2))), None);
    }

    #[test]
    fn an_origin_that_sends_no_end_of_them_is_heard_to_a_limit() {
        let interims = Arc::new(Interims::default());
        for large in [false, true] {
            let exchange = interims.begin();
            let mut headers = HeaderMap::new();
            if large {
                headers.append("x", "y".repeat(100 * 1024).parse().unwrap());
            }
            for _ in 0..100 {
                exchange.way().tell(StatusCode::PROCESSING, headers.clone());
            }
            let written = std::iter::from_fn(|| interims.next(Place::Flushed)).count();
            assert_eq!(written, if large { 2 } else { MOST });
        }
    }

    #[test]
    fn the_waiting_connection_is_woken() {
        struct Count(std::sync::atomic::AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = Arc::new(Count(Default::default()));
        let waker = Waker::from(Arc::clone(&count));
        let interims = Arc::new(Interims::default());
        let exchange = interims.begin();
        exchange.wait(&Context::from_waker(&waker));
        hint(&exchange.way());
        hint(&exchange.way());
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }
}
