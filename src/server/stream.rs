//! Streams of an HTTP/2 connection, each a task: counted, and ended when their client makes no
//! room for more.
//!
//! The socket tells nothing here: a client may keep it flowing and never open the window of one
//! stream, which then holds what belongs to its response for ever. So the body notes when a piece
//! of it was taken, and the task around it ends the stream when no further piece is taken in time.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

use super::turn::{Content, Turn};
use crate::body::{Body, BodyError};

/// Content is handed over in pieces of this size, so that one large body in memory does not
/// count as taken when its first byte is.
const PIECE: usize = 16 * 1024;

tokio::task_local! {
    /// Of the stream whose task is running.
    static PROGRESS: Cell<Progress>;
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    /// Pieces handed over so far.
    pieces: u64,
    /// True from handing over a piece until the next one is asked for.
    handed_over: bool,
}

/// How many streams of a connection are in progress, and how many there ever were.
#[derive(Debug, Default)]
pub(super) struct StreamCount {
    open: AtomicUsize,
    ever: AtomicUsize,
}

impl StreamCount {
    /// `None` while a stream is open; otherwise a number that changes with every new stream.
    pub(super) fn idle_since(&self) -> Option<usize> {
        let ever = self.ever.load(Ordering::Acquire);
        (self.open.load(Ordering::Acquire) == 0).then_some(ever)
    }
}

/// Runs streams as watched tasks.
#[derive(Clone, Debug)]
pub(super) struct StreamExecutor {
    pub(super) count: Arc<StreamCount>,
    pub(super) write_timeout: Duration,
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.count.open.fetch_add(1, Ordering::AcqRel);
        self.count.ever.fetch_add(1, Ordering::AcqRel);
        let watched = Watched {
            stream,
            limit: self.write_timeout,
            timer: None,
            seen: Progress::default(),
            _open: Open(Arc::clone(&self.count)),
        };
        tokio::spawn(PROGRESS.scope(Cell::default(), watched));
    }
}

/// Counts a stream as open while it lives.
struct Open(Arc<StreamCount>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

pin_project! {
    struct Watched<F> {
        #[pin]
        stream: F,
        limit: Duration,
        #[pin]
        timer: Option<Sleep>,
        seen: Progress,
        _open: Open,
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    /// Ready when the stream has ended, or has to: dropping it resets it.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let progress = PROGRESS.with(Cell::get);
        if !progress.handed_over {
            return Poll::Pending;
        }
        if progress != *this.seen {
            *this.seen = progress;
            let deadline = Instant::now() + *this.limit;
            match this.timer.as_mut().as_pin_mut() {
                Some(timer) => timer.reset(deadline),
                None => this.timer.set(Some(tokio::time::sleep_until(deadline))),
            }
        }
        if let Some(timer) = this.timer.as_pin_mut() {
            ready!(timer.poll(cx));
        }
        Poll::Ready(())
    }
}

/// A response's content as an HTTP/2 stream takes it.
#[derive(Debug)]
pub(super) struct Pieces {
    body: Body,
    /// What is left of the last frame of `body`.
    rest: Bytes,
}

impl Content for Pieces {
    /// Streams take no turns.
    fn of(body: Body, _: &Arc<Turn>) -> Self {
        Self { body, rest: Bytes::new() }
    }
}

impl Pieces {
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(other) => return Poll::Ready(Some(Ok(other))),
            }
        }
        let piece = self.rest.split_to(PIECE.min(self.rest.len()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let piece = self.poll_piece(cx);
        let handed_over = matches!(piece, Poll::Ready(Some(Ok(_))));
        // Without a watching task (in a test) there is nothing to note.
        let _ = PROGRESS.try_with(|progress| {
            let pieces = progress.get().pieces + u64::from(handed_over);
            progress.set(Progress { pieces, handed_over });
        });
        piece
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_large_body_is_handed_over_in_pieces_and_stays_whole() {
        let content: Bytes = (0..PIECE * 2 + 5).map(|i| i as u8).collect();
        let mut pieces = Pieces::of(Body::full(content.clone()), &Arc::default());
        let mut got = Vec::new();
        let mut sizes = Vec::new();
        while let Some(frame) = pieces.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            sizes.push(data.len());
            got.extend_from_slice(&data);
            assert_eq!(pieces.size_hint().exact(), Some((content.len() - got.len()) as u64));
        }
        assert_eq!(sizes, [PIECE, PIECE, 5]);
        assert_eq!(got, content);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_takes_no_further_piece_is_ended() {
        let count = Arc::new(StreamCount::default());
        let executor =
            StreamExecutor { count: Arc::clone(&count), write_timeout: Duration::from_secs(10) };
        executor.execute(async {
            let mut pieces = Pieces::of(Body::full("x"), &Arc::default());
            let _ = pieces.frame().await;
            std::future::pending::<()>().await;
        });
        assert_eq!(count.idle_since(), None);
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(count.idle_since(), None, "not before the limit");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(count.idle_since(), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_answer_is_not_there_yet_is_left_alone() {
        let count = Arc::new(StreamCount::default());
        let executor =
            StreamExecutor { count: Arc::clone(&count), write_timeout: Duration::from_secs(10) };
        executor.execute(async { tokio::time::sleep(Duration::from_secs(60)).await });
        tokio::time::sleep(Duration::from_secs(59)).await;
        assert_eq!(count.idle_since(), None);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(count.idle_since(), Some(1));
    }
}
