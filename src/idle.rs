//! A body that fails when nothing arrives for too long. The pause is counted while somebody waits
//! for the next piece: a receiver that takes its time does not use up the sender's.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

use crate::body::BodyError;

/// Nothing arrived for this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing arrived for {0:?}")]
pub struct Stalled(pub Duration);

/// What `ClientFault::Content` says of content that stopped arriving; it is answered 408, all
/// other failures of a request's content 400.
pub const STALLED: &str = "it stopped arriving";

pin_project! {
    /// The inner body, failing with [`Stalled`] after a pause longer than its limit.
    #[derive(Debug)]
    pub struct Idle<B> {
        #[pin]
        inner: B,
        limit: Duration,
        // Made when the first piece has to be waited for: most bodies never need it.
        #[pin]
        timer: Option<Sleep>,
        waiting: bool,
    }
}

impl<B> Idle<B> {
    /// Allows pauses of up to `limit` between two pieces of `inner`.
    pub const fn new(inner: B, limit: Duration) -> Self {
        Self { inner, limit, timer: None, waiting: false }
    }
}

impl<B> HttpBody for Idle<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut this = self.project();
        if let Poll::Ready(frame) = this.inner.poll_frame(cx) {
            *this.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if !*this.waiting {
            *this.waiting = true;
            let deadline = Instant::now() + *this.limit;
            match this.timer.as_mut().as_pin_mut() {
                Some(timer) => timer.reset(deadline),
                None => this.timer.set(Some(tokio::time::sleep_until(deadline))),
            }
        }
        if let Some(timer) = this.timer.as_pin_mut() {
            ready!(timer.poll(cx));
        }
        Poll::Ready(Some(Err(Stalled(*this.limit).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    /// Yields a byte after each of its pauses.
    struct Paced(Vec<Duration>, Option<Pin<Box<Sleep>>>);

    impl HttpBody for Paced {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            let Some(pause) = self.0.first().copied() else { return Poll::Ready(None) };
            let timer = self.1.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            ready!(timer.as_mut().poll(cx));
            self.0.remove(0);
            self.1 = None;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    fn seconds(pauses: &[u64]) -> Idle<Paced> {
        let pauses = pauses.iter().map(|s| Duration::from_secs(*s)).collect();
        Idle::new(Paced(pauses, None), Duration::from_secs(10))
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_that_keeps_moving_arrives_whole() {
        let whole = seconds(&[9, 9, 9, 9]).collect().await.unwrap();
        assert_eq!(whole.to_bytes().len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_longer_than_the_limit_fails_the_body() {
        let error = seconds(&[9, 11]).collect().await.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Stalled(Duration::from_secs(10))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_its_time_does_not_use_up_the_senders() {
        let mut body = std::pin::pin!(seconds(&[9, 9]));
        assert!(body.as_mut().frame().await.unwrap().is_ok());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(body.as_mut().frame().await.unwrap().is_ok());
    }
}
