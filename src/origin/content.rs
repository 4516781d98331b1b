//! A request's content on loan to a connection. If the connection turns out not to exist, the
//! content is still here, unread, and can be lent to another one.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use crate::body::{Body, BodyError};
use crate::idle::{STALLED, Stalled};

/// Clones share the content: whoever polls takes.
#[derive(Clone, Debug)]
pub(super) struct Lent(Arc<Mutex<Loan>>);

#[derive(Debug)]
struct Loan {
    content: Body,
    /// When the last piece was taken; at first, when the loan was made.
    moved: Instant,
    /// The last time it was polled there was nothing: it is the client who is slow.
    waiting_for_client: bool,
    /// Why it ended early, in words for the client.
    failed: Option<&'static str>,
}

impl Lent {
    pub(super) fn new(content: Body) -> Self {
        Self(Arc::new(Mutex::new(Loan {
            content,
            moved: Instant::now(),
            waiting_for_client: false,
            failed: None,
        })))
    }

    /// Why the client's content ended early, if it did.
    pub(super) fn failure(&self) -> Option<&'static str> {
        self.lock().failed
    }

    /// When the origin's time is up if it has `limit` for its answer: counted from the last piece
    /// that it was sent, and not while it is the client who keeps us waiting.
    pub(super) fn due(&self, limit: Duration) -> Instant {
        let loan = self.lock();
        if loan.waiting_for_client { Instant::now() + limit } else { loan.moved + limit }
    }

    /// The exchange begins now.
    pub(super) fn begin(&self) {
        self.lock().moved = Instant::now();
    }

    fn lock(&self) -> MutexGuard<'_, Loan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut loan = self.lock();
        loan.waiting_for_client = true;
        let frame = ready!(Pin::new(&mut loan.content).poll_frame(cx));
        loan.waiting_for_client = false;
        loan.moved = Instant::now();
        // RFC 9112 §7.1.2: a recipient "MAY selectively retain or discard the received trailer
        // fields". All are discarded: an origin that took them for header fields (§6.5.1 of RFC 9110
        // forbids it) would take what nobody has looked at for what was checked here.
        if let Some(Ok(frame)) = &frame
            && frame.is_trailers()
        {
            return Poll::Ready(None);
        }
        if let Some(Err(error)) = &frame {
            let stalled = error.downcast_ref::<Stalled>().is_some();
            loan.failed = Some(if stalled { STALLED } else { "it broke off" });
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().content.size_hint()
    }
}
