//! Interim responses on their way to a client of HTTP/1.1 (RFC 9110 §15.2). hyper's server writes
//! none, so they are put between what it writes: where one of its messages has ended and the next
//! has not begun.
//!
//! | the exchange | of what came before | an interim response |
//! |---|---|---|
//! | unanswered | all is written | is written at once |
//! | unanswered | hyper still holds something | waits until that is written, and the answer waits behind it |
//! | answered | – | is dropped: it is too late |
//! | over, the next one under way | – | is dropped: it is not the next one's |
//!
//! It rests on two habits of hyper's: what it still has to write of one message it has in its
//! buffer before it hands out the next request, and it flushes the socket when that buffer is
//! empty, at the end of each turn of its connection.
//!
//! HTTP/2 is not served: hyper hands nobody the stream that a 1xx would have to be sent on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Something may be in the queue: spares the lock where there is nothing, which is mostly.
    waiting: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Number of the latest exchange; 0 before the first.
    exchange: u64,
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

impl Interims {
    /// Begins an exchange. Dropping what is returned ends the time of its interim responses.
    pub(super) fn begin(self: &Arc<Self>) -> Unanswered {
        let mut state = self.lock();
        let (exchange, task) = (state.exchange + 1, state.task.take());
        *state = State { exchange, unanswered: true, task, ..State::default() };
        drop(state);
        Unanswered { interims: Arc::clone(self), exchange, over: false }
    }

    /// The next head to be written, now that hyper has nothing left to write.
    pub(super) fn next(&self) -> Option<Bytes> {
        if !self.waiting.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.lock();
        let head = state.queue.pop_front();
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
        let open = state.unanswered && exchange == state.exchange;
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
    /// Nothing more is taken for it.
    over: bool,
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

    /// The answer is here. False if it has to wait for interim responses that are not written yet.
    pub(super) fn ends(&mut self) -> bool {
        let mut state = self.interims.lock();
        state.unanswered = !state.queue.is_empty();
        self.over = !state.unanswered;
        self.over
    }
}

impl Drop for Unanswered {
    /// The answer is on its way, or nobody waits for it any more.
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut state = self.interims.lock();
        state.unanswered = false;
        state.queue.clear();
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

    fn next(interims: &Interims) -> Option<Vec<u8>> {
        interims.next().map(|head| head.to_vec())
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
    fn they_are_written_while_there_is_no_answer_and_the_answer_waits_for_them() {
        let interims = Arc::new(Interims::default());
        let mut first = interims.begin();
        let way = first.way();
        assert_eq!(next(&interims), None);
        hint(&way);
        assert_eq!(next(&interims).as_deref(), Some(HINTS));
        assert_eq!(next(&interims), None, "once");
        hint(&way);
        assert!(!first.ends(), "one is not written yet");
        hint(&way);
        assert_eq!(next(&interims).as_deref(), Some(HINTS));
        assert!(!first.ends());
        assert_eq!(next(&interims).as_deref(), Some(HINTS));
        assert!(first.ends());
        hint(&way);
        assert_eq!(next(&interims), None, "too late");
        drop(first);
        let second = interims.begin();
        hint(&way);
        assert_eq!(next(&interims), None, "not the next one's");
        hint(&second.way());
        assert_eq!(next(&interims).as_deref(), Some(HINTS));
    }

    #[test]
    fn what_waits_for_an_exchange_that_is_given_up_is_dropped() {
        let interims = Arc::new(Interims::default());
        let first = interims.begin();
        hint(&first.way());
        drop(first);
        assert_eq!(next(&interims), None);
        let _second = interims.begin();
        assert_eq!(next(&interims), None);
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
            let written = std::iter::from_fn(|| interims.next()).count();
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
