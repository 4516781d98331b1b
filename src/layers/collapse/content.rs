//! The content of one fill, read by many while it arrives.
//!
//! | phase | what is kept | who waits for whom |
//! |---|---|---|
//! | `Phase::Whole` | every piece: late readers start at the beginning | nobody |
//! | `Phase::Window` | too large to store: only what some reader still needs | the fill waits for its fastest reader |
//! | `Phase::Ended` | as before | nobody |
//!
//! A slow reader never holds up the fill or another reader. While the content is whole it costs
//! memory up to the largest entry that its route stores. Once it is too large for that, a reader
//! that falls further behind the fastest than the window is cut off: its client sees an aborted
//! transfer. That can only happen when several clients collapsed onto a response that turned out
//! too large without having said so; a single reader is always waited for.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BodyError};

/// How far readers may be apart once the content is too large to keep, in bytes.
const WINDOW: u64 = 4 << 20;

/// How far the fill may run ahead of its fastest reader once the content is too large to keep.
const AHEAD: u64 = 256 << 10;

/// What all fills together hold in memory, in bytes.
#[derive(Debug)]
pub struct FillBudget {
    held: AtomicU64,
    limit: u64,
}

impl FillBudget {
    /// At most `limit` bytes in all; a fill that would exceed it is no longer kept whole.
    pub const fn new(limit: u64) -> Self {
        Self { held: AtomicU64::new(0), limit }
    }

    /// Bytes held now.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        self.held.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.limit
    }

    fn give_back(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What one request holds of the budget, until it is dropped.
#[derive(Debug)]
pub struct Room {
    budget: Arc<FillBudget>,
    bytes: u64,
}

impl Room {
    /// None yet.
    pub const fn within(budget: Arc<FillBudget>) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Takes room for so many bytes more; false if there is none.
    pub fn grow(&mut self, bytes: u64) -> bool {
        let taken = self.budget.take(bytes);
        if taken {
            self.bytes += bytes;
        } else {
            self.budget.give_back(bytes);
        }
        taken
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// Content that arrives once and is read many times.
#[derive(Debug)]
pub struct Content {
    state: Mutex<State>,
    budget: Arc<FillBudget>,
    /// Largest content that is kept whole, in bytes.
    largest: u64,
    /// From `Content-Length`, if the origin gave one.
    announced: Option<u64>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Pieces still kept.
    pieces: VecDeque<Bytes>,
    /// Number of the first piece kept, and how many bytes came before it.
    first: usize,
    dropped: u64,
    /// Bytes arrived in all.
    arrived: u64,
    trailers: Option<HeaderMap>,
    readers: HashMap<u64, Place>,
    next_reader: u64,
    /// The fill, waiting for its fastest reader.
    filler: Option<Waker>,
}

/// Where a reader is.
#[derive(Debug, Default)]
struct Place {
    /// Number of the next piece.
    piece: usize,
    /// Bytes read.
    bytes: u64,
    /// Fell too far behind.
    cut: bool,
    /// Waits for the next piece.
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Whole,
    Window,
    Ended(End),
}

/// How the content ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All of it arrived.
    Complete,
    /// It broke off: readers see an aborted transfer.
    Broken,
}

/// What became of a piece that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// All is still here; it can be stored.
    Whole,
    /// Too large to store; go on only as fast as somebody reads.
    TooLarge,
}

impl Content {
    /// Content of which at most `largest` bytes are kept whole.
    pub fn new(largest: u64, announced: Option<u64>, budget: Arc<FillBudget>) -> Arc<Self> {
        let state = State {
            phase: Phase::Whole,
            pieces: VecDeque::new(),
            first: 0,
            dropped: 0,
            arrived: 0,
            trailers: None,
            readers: HashMap::new(),
            next_reader: 0,
            filler: None,
        };
        Arc::new(Self { state: Mutex::new(state), budget, largest, announced })
    }

    /// A reader from the beginning; `None` if the beginning is no longer kept.
    pub fn reader(self: &Arc<Self>) -> Option<Reader> {
        let mut state = self.lock();
        let over = matches!(state.phase, Phase::Window | Phase::Ended(End::Broken));
        if state.first > 0 || over {
            return None;
        }
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(id, Place::default());
        Some(Reader { content: Arc::clone(self), id, done: false })
    }

    /// A body from the beginning: all in one piece, if that is here. `None` as for [`Self::reader`].
    pub fn body(self: &Arc<Self>) -> Option<Body> {
        self.at_once().map(Body::full).or_else(|| self.reader().map(Body::streaming))
    }

    /// All of it, if it is complete and in one piece, with nothing behind it.
    fn at_once(&self) -> Option<Bytes> {
        let state = self.lock();
        let complete = state.phase == Phase::Ended(End::Complete) && state.trailers.is_none();
        match state.pieces.front() {
            None if complete && state.arrived == 0 => Some(Bytes::new()),
            Some(piece) if complete && piece.len() as u64 == state.arrived => Some(piece.clone()),
            _ => None,
        }
    }

    /// May so many bytes more be kept? Another fill may take their room before they come.
    pub fn has_room(&self, bytes: u64) -> bool {
        self.arrived() + bytes <= self.largest && self.budget.held() + bytes <= self.budget.limit
    }

    /// Did it break off? Then it is of no use to anybody who comes now.
    pub fn is_broken(&self) -> bool {
        matches!(self.lock().phase, Phase::Ended(End::Broken))
    }

    /// Adds a piece and wakes who waits for it.
    pub fn push(&self, piece: Bytes) -> Pushed {
        let within_budget = self.budget.take(piece.len() as u64);
        let mut state = self.lock();
        state.arrived += piece.len() as u64;
        state.pieces.push_back(piece);
        if state.phase == Phase::Whole && (state.arrived > self.largest || !within_budget) {
            state.phase = Phase::Window;
        }
        let pushed = if state.phase == Phase::Window {
            self.forget_read(&mut state);
            Pushed::TooLarge
        } else {
            Pushed::Whole
        };
        wake_all(state);
        pushed
    }

    /// Trailer fields, which follow the last piece.
    pub fn push_trailers(&self, trailers: HeaderMap) {
        self.lock().trailers = Some(trailers);
    }

    /// Says that nothing more comes. Only the first call counts.
    pub fn end(&self, end: End) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Ended(_)) {
            state.phase = Phase::Ended(end);
        }
        wake_all(state);
    }

    /// Waits until somebody has read enough for the fill to go on; `None` once nobody reads.
    /// Only of use when [`Pushed::TooLarge`] was answered.
    pub async fn room(&self) -> Option<()> {
        std::future::poll_fn(|cx| self.poll_room(cx)).await
    }

    /// The whole content in one piece, if it is complete and all kept. `None` if it is too large,
    /// though its readers may have left all of it here yet.
    pub fn whole(&self) -> Option<Bytes> {
        let state = self.lock();
        if state.first > 0 || state.arrived > self.largest {
            return None;
        }
        match state.pieces.len() {
            0 => Some(Bytes::new()),
            // Copied: a piece is a window on the buffer that it was read into, and would keep that.
            1 => state.pieces.front().map(|piece| Bytes::copy_from_slice(piece)),
            _ => {
                let mut all = Vec::with_capacity(usize::try_from(state.arrived).unwrap_or(0));
                state.pieces.iter().for_each(|p| all.extend_from_slice(p));
                Some(all.into())
            }
        }
    }

    /// Bytes arrived so far.
    pub fn arrived(&self) -> u64 {
        self.lock().arrived
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let mut state = self.lock();
        let fastest = state.readers.values().map(|p| p.bytes).max();
        match fastest {
            None => Poll::Ready(None),
            Some(read) if state.arrived.saturating_sub(read) <= AHEAD => Poll::Ready(Some(())),
            Some(_) => {
                state.filler = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The number of the piece that readers do not get before the end: the one that completes what
    /// was announced. To a client that counts, the response is complete with it, and what it asks
    /// next must find what was stored of this one.
    fn withheld(&self, state: &State) -> Option<usize> {
        let all_arrived = state.phase == Phase::Whole && self.announced == Some(state.arrived);
        all_arrived.then(|| (state.first + state.pieces.len()).saturating_sub(1))
    }

    /// Drops the pieces that nobody needs any more, and the readers that need too much.
    fn forget_read(&self, state: &mut State) {
        if state.phase != Phase::Window {
            return;
        }
        let fastest = state.readers.values().map(|p| p.bytes).max().unwrap_or(0);
        for place in state.readers.values_mut() {
            place.cut |= fastest.saturating_sub(place.bytes) > WINDOW;
        }
        let needed = state.readers.values().filter(|p| !p.cut).map(|p| p.piece).min();
        let needed = needed.unwrap_or(state.first + state.pieces.len());
        while state.first < needed {
            let Some(piece) = state.pieces.pop_front() else { break };
            state.first += 1;
            state.dropped += piece.len() as u64;
            self.budget.give_back(piece.len() as u64);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        let held: u64 = self.lock().pieces.iter().map(|p| p.len() as u64).sum();
        self.budget.give_back(held);
    }
}

/// Wakes outside the lock: a woken reader asks for it at once.
fn wake_all(mut state: MutexGuard<'_, State>) {
    let wakers: Vec<_> = state.readers.values_mut().filter_map(|p| p.waker.take()).collect();
    drop(state);
    wakers.into_iter().for_each(Waker::wake);
}

/// One reader's way through the content. Dropping it frees what only it still needed.
#[derive(Debug)]
pub struct Reader {
    content: Arc<Content>,
    id: u64,
    done: bool,
}

/// Why a reader's transfer is aborted.
#[derive(Debug, thiserror::Error)]
enum Aborted {
    #[error("the origin's response broke off")]
    Broken,
    #[error("too slow for a response that is too large to keep")]
    TooSlow,
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let content = Arc::clone(&self.content);
        let mut state = content.lock();
        let withheld = content.withheld(&state);
        let State { pieces, readers, first, phase, trailers, filler, .. } = &mut *state;
        let Some(place) = readers.get_mut(&self.id) else { return Poll::Ready(None) };
        if place.cut {
            self.done = true;
            return Poll::Ready(Some(Err(Aborted::TooSlow.into())));
        }
        if let Some(piece) = pieces.get(place.piece - *first).cloned()
            && Some(place.piece) != withheld
        {
            place.piece += 1;
            place.bytes += piece.len() as u64;
            let filler = filler.take();
            content.forget_read(&mut state);
            drop(state);
            if let Some(filler) = filler {
                filler.wake();
            }
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match phase {
            Phase::Ended(end) => {
                self.done = true;
                match (end, trailers.clone()) {
                    (End::Broken, _) => Poll::Ready(Some(Err(Aborted::Broken.into()))),
                    (End::Complete, Some(trailers)) => {
                        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
                    }
                    (End::Complete, None) => Poll::Ready(None),
                }
            }
            Phase::Whole | Phase::Window => {
                place.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        if self.done {
            return true;
        }
        let state = self.content.lock();
        let read = state.readers.get(&self.id).map_or(0, |p| p.bytes);
        state.phase == Phase::Ended(End::Complete)
            && state.trailers.is_none()
            && read == state.arrived
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.content.lock();
        let read = state.readers.get(&self.id).map_or(0, |p| p.bytes);
        let total = match state.phase {
            // With a length, HTTP/1.1 has no place for what follows the content.
            Phase::Ended(End::Complete) if state.trailers.is_none() => Some(state.arrived),
            _ => self.content.announced,
        };
        total.map_or_else(SizeHint::default, |t| SizeHint::with_exact(t.saturating_sub(read)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.content.lock();
        state.readers.remove(&self.id);
        self.content.forget_read(&mut state);
        if let Some(filler) = state.filler.take() {
            filler.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt;

    fn budget() -> Arc<FillBudget> {
        Arc::new(FillBudget::new(64 << 20))
    }

    #[tokio::test]
    async fn every_reader_gets_every_piece_however_late_it_comes() {
        let content = Content::new(100, None, budget());
        let early = content.reader().unwrap();
        content.push("one ".into());
        let late = content.reader().unwrap();
        content.push("two".into());
        content.end(End::Complete);
        let last = content.reader().unwrap();
        for reader in [early, late, last] {
            assert_eq!(reader.collect().await.unwrap().to_bytes(), "one two");
        }
        assert_eq!(content.whole().unwrap(), "one two");
    }

    #[tokio::test]
    async fn what_completes_the_announced_length_is_read_with_the_end() {
        let content = Content::new(100, Some(6), budget());
        let mut reader = content.reader().unwrap();
        content.push("123".into());
        assert_eq!(reader.frame().await.unwrap().unwrap().into_data().unwrap(), "123");
        content.push("456".into());
        let held = reader.frame().now_or_never();
        assert!(held.is_none(), "who has all of it may ask for it again");
        let rest = tokio::spawn(reader.collect());
        tokio::task::yield_now().await;
        assert!(!rest.is_finished());
        assert!(content.reader().unwrap().frame().now_or_never().is_some(), "the first, at once");
        content.end(End::Complete);
        assert_eq!(rest.await.unwrap().unwrap().to_bytes(), "456");
    }

    #[tokio::test]
    async fn what_is_too_large_to_keep_is_read_as_it_comes() {
        let content = Content::new(1, Some(3), budget());
        let mut reader = content.reader().unwrap();
        content.push("123".into());
        assert_eq!(reader.frame().await.unwrap().unwrap().into_data().unwrap(), "123");
    }

    #[tokio::test]
    async fn a_broken_fill_is_an_error_for_every_reader() {
        let content = Content::new(100, None, budget());
        let reader = content.reader().unwrap();
        content.push("half".into());
        content.end(End::Broken);
        content.end(End::Complete);
        assert!(reader.collect().await.is_err());
        assert!(content.is_broken() && content.reader().is_none(), "nobody else is fed by it");
    }

    #[tokio::test]
    async fn content_too_large_to_keep_is_no_longer_open_to_new_readers() {
        let budget = budget();
        let content = Content::new(4, None, Arc::clone(&budget));
        let mut reader = content.reader().unwrap();
        assert_eq!(content.push("1234".into()), Pushed::Whole);
        assert_eq!(content.push("5".into()), Pushed::TooLarge);
        assert!(content.reader().is_none());
        assert_eq!(reader.frame().await.unwrap().unwrap().into_data().unwrap(), "1234");
        assert_eq!(budget.held(), 1, "what was read by all is dropped");
        assert!(content.whole().is_none());
        drop(reader);
        assert_eq!(content.room().await, None, "nobody reads any more");
        drop(content);
        assert_eq!(budget.held(), 0);
    }

    #[tokio::test]
    async fn content_too_large_to_keep_is_not_whole_though_nobody_has_read_it_yet() {
        let content = Content::new(4, None, budget());
        let _reader = content.reader().unwrap();
        content.push("12345".into());
        content.end(End::Complete);
        assert!(content.whole().is_none());
    }

    #[tokio::test]
    async fn beyond_the_budget_of_all_fills_nothing_is_kept_whole() {
        let budget = Arc::new(FillBudget::new(3));
        let content = Content::new(100, None, Arc::clone(&budget));
        let _reader = content.reader().unwrap();
        assert_eq!(content.push("123".into()), Pushed::Whole);
        assert_eq!(content.push("4".into()), Pushed::TooLarge);
    }

    #[tokio::test]
    async fn the_slow_are_cut_off_only_when_somebody_faster_reads() {
        let content = Content::new(0, None, budget());
        let mut slow = content.reader().unwrap();
        let mut fast = content.reader().unwrap();
        let piece = Bytes::from(vec![0; 1 << 20]);
        for _ in 0..6 {
            content.push(piece.clone());
            let _ = fast.frame().await.unwrap().unwrap();
        }
        assert!(slow.frame().await.unwrap().is_err());
        drop(slow);
        content.push(piece.clone());
        content.end(End::Complete);
        assert!(fast.frame().await.unwrap().is_ok());
        assert!(fast.frame().await.is_none());
    }

    #[tokio::test]
    async fn the_fill_waits_for_its_fastest_reader_once_nothing_is_kept() {
        let content = Content::new(0, None, budget());
        let mut reader = content.reader().unwrap();
        content.push(Bytes::from(vec![0; 1 << 20]));
        let waiting = tokio::spawn({
            let content = Arc::clone(&content);
            async move { content.room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let _ = reader.frame().await;
        assert_eq!(waiting.await.unwrap(), Some(()));
    }

    #[tokio::test]
    async fn what_is_complete_in_one_piece_is_read_at_once() {
        let content = Content::new(100, Some(3), budget());
        assert!(content.has_room(100) && !content.has_room(101));
        content.push("123".into());
        assert!(!content.body().unwrap().is_whole(), "its end is not known yet");
        assert!(content.has_room(97) && !content.has_room(98));
        content.end(End::Complete);
        assert_eq!(content.body().unwrap().whole().unwrap(), "123");
        let empty = Content::new(100, None, budget());
        empty.end(End::Complete);
        assert_eq!(empty.body().unwrap().whole().unwrap(), "");
    }

    #[tokio::test]
    async fn what_broke_off_or_comes_in_pieces_is_not_read_at_once() {
        let content = Content::new(100, None, budget());
        content.push("12".into());
        content.push("3".into());
        content.end(End::Complete);
        let body = content.body().unwrap();
        assert!(!body.is_whole());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "123");
        let broken = Content::new(100, None, budget());
        broken.push("12".into());
        broken.end(End::Broken);
        assert!(broken.body().is_none());
    }

    #[tokio::test]
    async fn trailers_follow_the_last_piece() {
        let content = Content::new(100, None, budget());
        let reader = content.reader().unwrap();
        content.push("x".into());
        let mut trailers = HeaderMap::new();
        trailers.append("x-sum", "1".parse().unwrap());
        content.push_trailers(trailers);
        content.end(End::Complete);
        assert_eq!(reader.size_hint().exact(), None, "a length would leave no place for them");
        assert!(!content.body().unwrap().is_whole(), "nor would one piece");
        let all = reader.collect().await.unwrap();
        assert_eq!(all.trailers().unwrap()["x-sum"], "1");
    }
}
