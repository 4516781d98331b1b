//! What of a response's content is here as soon as its head is: mostly all of it, if it is small.
//! Who waits for that is then answered in one piece, and need not be woken for each.
//!
//! | the content | is |
//! |---|---|
//! | has ended, and is small | [`Early::is_whole`]: passed on when it is stored |
//! | goes on, or is large | passed on as it arrives, from its first piece |
//! | has broken off | the same: its readers see how far it came |

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tokio::task::yield_now;

use super::fill::{add, pump};
use crate::body::Body;
use crate::layers::collapse::content::{Content, End};

/// More than this is not awaited, in bytes: then it pays to pass on what is there.
const MOST: u64 = 64 << 10;

/// Frames that have arrived and are with no reader yet.
#[derive(Debug, Default)]
pub struct Early {
    frames: Vec<Frame<Bytes>>,
    bytes: u64,
    /// How it ended, if it has.
    end: Option<End>,
}

impl Early {
    /// Takes what is here. Waits for nothing but the tasks that are ready already: the one that
    /// reads from the origin's connection may be among them.
    pub async fn of(body: &mut Body) -> Self {
        let mut early = Self::default();
        if body.size_hint().lower() > MOST {
            return early;
        }
        early.take(body).await;
        if early.end.is_none() && early.bytes == 0 {
            yield_now().await;
            early.take(body).await;
        }
        early
    }

    /// Is this all of it?
    pub fn is_whole(&self) -> bool {
        self.end == Some(End::Complete)
    }

    /// Bytes that have arrived.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds what has arrived to `content`, and then the rest as it comes; see `pump`.
    pub async fn pour(self, body: Body, content: &Content) -> Option<End> {
        for frame in self.frames {
            add(frame, content).await?;
        }
        match self.end {
            Some(end) => Some(end),
            None => pump(body, content).await,
        }
    }

    async fn take(&mut self, body: &mut Body) {
        poll_fn(|cx| {
            while self.end.is_none() && self.bytes <= MOST {
                if body.is_end_stream() {
                    self.end = Some(End::Complete);
                    break;
                }
                match Pin::new(&mut *body).poll_frame(cx) {
                    Poll::Pending => break,
                    Poll::Ready(None) => self.end = Some(End::Complete),
                    Poll::Ready(Some(Err(_))) => self.end = Some(End::Broken),
                    Poll::Ready(Some(Ok(frame))) => {
                        self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                        self.frames.push(frame);
                    }
                }
            }
            Poll::Ready(())
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;
    use crate::body::BodyError;
    use crate::layers::collapse::content::FillBudget;

    type Piece = Result<Frame<Bytes>, BodyError>;

    fn data(text: &'static str) -> Piece {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    fn pieces(pieces: Vec<Piece>) -> Body {
        Body::streaming(StreamBody::new(stream::iter(pieces)))
    }

    fn content() -> Arc<Content> {
        Content::new(1 << 20, None, Arc::new(FillBudget::new(1 << 20)))
    }

    /// What a reader gets in the end.
    async fn poured(early: Early, body: Body) -> Result<Bytes, BodyError> {
        let content = content();
        let reader = content.reader().unwrap();
        content.end(early.pour(body, &content).await.unwrap());
        Ok(reader.collect().await?.to_bytes())
    }

    #[tokio::test]
    async fn small_content_that_is_here_is_whole() {
        for mut body in [pieces(vec![data("one "), data("two")]), Body::full("one two")] {
            let early = Early::of(&mut body).await;
            assert!(early.is_whole());
            assert_eq!(early.bytes(), 7);
            assert_eq!(poured(early, body).await.unwrap(), "one two");
        }
    }

    #[tokio::test]
    async fn what_comes_later_is_not_awaited() {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Piece>();
        let later = stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|piece| (piece, receiver))
        });
        let mut body = Body::streaming(StreamBody::new(Box::pin(later)));
        sender.send(data("now ")).unwrap();
        let early = Early::of(&mut body).await;
        assert!(!early.is_whole());
        sender.send(data("later")).unwrap();
        drop(sender);
        assert_eq!(poured(early, body).await.unwrap(), "now later");
    }

    #[tokio::test]
    async fn large_content_is_not_gathered() {
        let large = Bytes::from(vec![0; 200 << 10]);
        let frames = (0..4).map(|_| Ok(Frame::data(large.slice(..50 << 10)))).collect();
        for mut body in [Body::full(large.clone()), pieces(frames)] {
            let early = Early::of(&mut body).await;
            assert!(!early.is_whole() && early.bytes() <= 100 << 10);
            assert_eq!(poured(early, body).await.unwrap(), large);
        }
    }

    #[tokio::test]
    async fn what_has_broken_off_is_broken_for_its_readers() {
        let mut body = pieces(vec![data("half"), Err("gone".into())]);
        let early = Early::of(&mut body).await;
        assert!(!early.is_whole());
        assert!(poured(early, body).await.is_err());
    }
}
