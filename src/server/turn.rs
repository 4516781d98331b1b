//! Whose turn it is on a connection of HTTP/1.1: hyper's, which has a request and is answering it,
//! or nobody's, so that the next request may be answered past hyper.
//!
//! | state | from | to |
//! |---|---|---|
//! | `FREE` | the beginning; all of an answer is written | hyper gets a request |
//! | `BUSY` | hyper gets a request | hyper has taken the last of the answer's content |
//! | `SAID` | that | hyper's buffer is empty: all of the answer is with the socket |
//! | `GONE` | the connection is no longer one of HTTP | – |
//!
//! It rests on a habit of hyper's, as [`super::interim`] does: it flushes the socket when its own
//! buffer is empty, and not before.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BodyError};
use crate::fast::Found;

const FREE: u8 = 0;
const BUSY: u8 = 1;
const SAID: u8 = 2;
const GONE: u8 = 3;

/// The turn on one connection. All that touch it run in the connection's task.
#[derive(Debug, Default)]
pub(super) struct Turn {
    state: AtomicU8,
    /// Nobody has the turn, but a request is being looked up.
    looking: AtomicBool,
    /// What was found for the request that hyper gets next.
    found: Mutex<Option<Found>>,
}

impl Turn {
    /// hyper gets a request.
    pub(super) fn begin(&self) {
        self.state.store(BUSY, Relaxed);
    }

    /// The protocol is switched: nobody has the turn any more.
    pub(super) fn end(&self) {
        self.state.store(GONE, Relaxed);
    }

    /// hyper has the last of an answer.
    fn said(&self) {
        if self.state.load(Relaxed) == BUSY {
            self.state.store(SAID, Relaxed);
        }
    }

    /// hyper's buffer is empty. True if an answer is over by that.
    pub(super) fn flushed(&self) -> bool {
        let over = self.state.load(Relaxed) == SAID;
        if over {
            self.state.store(FREE, Relaxed);
        }
        over
    }

    /// Is hyper busy with a request, or with what it has to say to it?
    pub(super) fn is_taken(&self) -> bool {
        self.state.load(Relaxed) != FREE
    }

    /// A lookup begins, or is over.
    pub(super) fn look(&self, begins: bool) {
        self.looking.store(begins, Relaxed);
    }

    /// Is there a request that hyper does not know of?
    pub(super) fn is_looking(&self) -> bool {
        self.looking.load(Relaxed)
    }

    /// Hands on what was found for the request that hyper gets now.
    pub(super) fn hand_on(&self, found: Option<Found>) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    /// What was found for the request that hyper has got.
    pub(super) fn take_found(&self) -> Option<Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// How a protocol takes content.
pub(super) trait Content: HttpBody<Data = Bytes, Error = BodyError> + Sized {
    /// Content that ends the turn when it has been taken.
    fn of(body: Body, turn: &Arc<Turn>) -> Self;
}

/// A response's content as HTTP/1.1 takes it: dropping it, which hyper does when it has the last of
/// it, says so.
#[derive(Debug)]
pub(super) struct Said {
    body: Body,
    turn: Arc<Turn>,
}

impl Content for Said {
    fn of(body: Body, turn: &Arc<Turn>) -> Self {
        Self { body, turn: Arc::clone(turn) }
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        self.turn.said();
    }
}

impl HttpBody for Said {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
