//! The client's socket: gives back what was read to recognise the protocol, answers what can be
//! answered at once, puts interim responses between what hyper writes, cuts a client that takes
//! nothing in, and closes so that the last response is not lost.
//!
//! Between requests of HTTP/1.1 it looks at what the client sends before hyper does:
//!
//! | the client sent | the turn is | then |
//! |---|---|---|
//! | a request that is answered at once | free | the answer is written; hyper sees nothing of either |
//! | a request that may be answered a moment later | free | it is held here until that is clear |
//! | any other request | free | hyper gets it, up to its last byte, and the turn |
//! | the next request already | hyper's | it is held here until the turn is free |
//! | a part of a head | free | it is held here until the rest comes, or `header_timeout` is over |
//! | what has no end that is known, or too long a head | free | hyper gets that and all that comes later |

use std::future::Future;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::desk::Desk;
use super::head::{self, MOST_FIELDS, Seen};
use super::interim::Interims;
use super::turn::Turn;
use crate::fast::{Ahead, FastPath, Found, Head};
use crate::peer::{ClientAddr, LocalAddr};

/// After the last response, bytes that are still on their way are read and thrown away for this
/// long. Closing at once would answer them with a reset, which takes the response with it.
const LINGER: Duration = Duration::from_millis(500);
/// … and this many of them.
const LINGER_BYTES: usize = 256 * 1024;

/// Content up to this size is written from one buffer with its head: cheaper than to have the kernel
/// gather them.
const COPIED: usize = 4096;

/// One client's connection.
pub(super) struct ClientIo<Q> {
    stream: TcpStream,
    /// Read already, and not yet given to the reader.
    held: Bytes,
    reading: Reading,
    /// Of HTTP/1.1.
    requests: Option<Requests<Q>>,
    /// Longest time that the client may take in nothing.
    write_timeout: Duration,
    /// Runs while a write waits, and while closing. Made when first needed, then kept.
    timer: Option<Pin<Box<Sleep>>>,
    state: State,
    /// A response broke off whose end only the end of the connection can tell.
    broken: Arc<AtomicBool>,
    interims: Arc<Interims>,
    /// What is left of an interim response that has begun to be written.
    interim: Bytes,
    /// The same of an answer at once: its head and its content.
    answer: (Bytes, Bytes),
}

/// What the requests of a connection of HTTP/1.1 need.
pub(super) struct Requests<Q> {
    /// Who may answer at once.
    pub(super) fast: Q,
    /// Whether it is hyper's turn.
    pub(super) turn: Arc<Turn>,
    /// Who is at the two ends.
    pub(super) ends: (ClientAddr, LocalAddr),
    /// Longest time from the end of one exchange to the end of the next head.
    pub(super) patience: Patience,
    /// Whether the request that is held can be answered past hyper after all.
    pub(super) looking: Option<Ahead>,
    /// What came of that.
    pub(super) found: Option<Found>,
}

/// How long a client may take for its next head.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    /// When the last exchange ended.
    since: Instant,
    /// Set for some moment that is not later than the end of patience. It is not set anew with each
    /// request: when it fires, there may be some patience left.
    timer: Option<Pin<Box<Sleep>>>,
}

/// What becomes of the bytes that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// They are looked at, request by request.
    Heads,
    /// So many belong to the request that hyper has.
    Content(u64),
    /// They are hyper's.
    All,
}

impl Patience {
    /// Begins now.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, since: Instant::now(), timer: None }
    }

    /// Begins anew.
    fn begins(&mut self) {
        self.since = Instant::now();
    }

    /// Ready when it is at its end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = self.since + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing waits to be written.
    Moving,
    /// The client has taken nothing since the timer was set.
    Stuck,
    /// Our side is closed; up to this many bytes of theirs are thrown away.
    Lingering(usize),
}

impl<Q: FastPath> ClientIo<Q> {
    /// `prefix` is what was read already; `requests` is there for HTTP/1.1. If `broken` is set when
    /// this is dropped, the connection is reset instead of closed: to a client of HTTP/1.0, a close
    /// would look like the end of a whole response.
    pub(super) const fn new(
        stream: TcpStream,
        prefix: Bytes,
        requests: Option<Requests<Q>>,
        write_timeout: Duration,
        broken: Arc<AtomicBool>,
        interims: Arc<Interims>,
    ) -> Self {
        let reading = if requests.is_some() { Reading::Heads } else { Reading::All };
        Self {
            stream,
            held: prefix,
            reading,
            requests,
            write_timeout,
            timer: None,
            state: State::Moving,
            broken,
            interims,
            interim: Bytes::new(),
            answer: (Bytes::new(), Bytes::new()),
        }
    }

    /// Ends the interim response that has begun, if one has.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &self.interim);
            match ready!(self.watch(cx, written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.interim.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends what was begun here before hyper goes on.
    fn poll_before(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_answer(cx))?;
        self.poll_interim(cx)
    }

    /// hyper's buffer is empty, which may be the end of its turn.
    fn hyper_has_said_all(&mut self, cx: &mut Context<'_>) {
        let Some(requests) = &mut self.requests else { return };
        if requests.turn.flushed() {
            requests.patience.begins();
            // Nobody reads until something arrives, but for the timer. That patience is over at once
            // cannot be.
            let _ = requests.patience.poll_end(cx);
            if !self.held.is_empty() {
                // hyper waits for the socket, which has nothing new.
                cx.waker().wake_by_ref();
            }
        }
    }

    fn set_timer(&mut self, after: Duration) {
        let deadline = Instant::now() + after;
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(deadline),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(deadline))),
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().map_or(Poll::Ready(()), |timer| timer.as_mut().poll(cx))
    }

    /// Any byte that the socket takes counts as progress: a slow client that moves is not cut.
    fn watch(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.state = State::Moving;
            return written;
        }
        if self.state == State::Moving {
            self.state = State::Stuck;
            self.set_timer(self.write_timeout);
        }
        ready!(self.poll_timer(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing in")))
    }
}

impl<Q> Drop for ClientIo<Q> {
    fn drop(&mut self) {
        if self.broken.load(Ordering::Relaxed) {
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl<Q: FastPath> AsyncRead for ClientIo<Q> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_answer(cx))?;
        if this.reading == Reading::Heads && !this.is_hypers_turn() {
            ready!(Desk::with(|desk| this.poll_heads(cx, desk)))?;
        }
        match this.reading {
            // It is asked for more while it has a request: only the client's leaving is news.
            Reading::Heads => this.poll_end(cx),
            Reading::Content(left) => this.poll_content(cx, buf, left),
            Reading::All => this.poll_all(cx, buf),
        }
    }
}

impl<Q: FastPath> ClientIo<Q> {
    fn is_hypers_turn(&self) -> bool {
        self.requests.as_ref().is_some_and(|requests| requests.turn.is_taken())
    }

    /// Answers what can be answered at once, until there is something that hyper has to see: that is
    /// then held, and `reading` says how much of it is hyper's.
    fn poll_heads(&mut self, cx: &mut Context<'_>, desk: &mut Desk) -> Poll<io::Result<()>> {
        if !desk.take_up(&self.held) {
            self.reading = Reading::All;
            return Poll::Ready(Ok(()));
        }
        let (mut answered, mut looking) = (false, self.poll_looking(cx).is_pending());
        let outcome = loop {
            if looking {
                break Poll::Pending;
            }
            match self.next(desk, &mut answered) {
                Next::Part => match desk.poll_more(&mut self.stream, cx) {
                    // What came before the end is for hyper to judge.
                    Poll::Ready(Ok(0)) => {
                        self.reading = Reading::All;
                        break Poll::Ready(Ok(()));
                    }
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                    Poll::Pending => break Poll::Pending,
                },
                Next::Answered(mut content) => {
                    answered = true;
                    if content.len() <= COPIED {
                        desk.head.extend_from_slice(&std::mem::take(&mut content));
                    }
                    match self.poll_say(cx, &desk.head, content) {
                        Poll::Ready(Ok(())) => {}
                        unsaid => break unsaid,
                    }
                }
                Next::Looking => looking = self.poll_looking(cx).is_pending(),
                Next::Hypers(reading) => {
                    self.reading = reading;
                    break Poll::Ready(Ok(()));
                }
            }
        };
        self.held = desk.put_down();
        match outcome {
            Poll::Pending if !looking => self.poll_patience(cx, answered),
            _ => outcome,
        }
    }

    /// Pending while it is not clear whether the request on the desk is answered past hyper.
    fn poll_looking(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(requests) = &mut self.requests else { return Poll::Ready(()) };
        let Some(looking) = &mut requests.looking else { return Poll::Ready(()) };
        requests.found = Some(ready!(looking.as_mut().poll(cx)));
        requests.looking = None;
        requests.turn.look(false);
        // It was not the client who took the time.
        requests.patience.begins();
        Poll::Ready(())
    }

    /// What to do about the next request on the desk.
    fn next(&mut self, desk: &mut Desk, answered: &mut bool) -> Next {
        let Some(requests) = &mut self.requests else { return Next::Hypers(Reading::All) };
        let mut room = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let full = desk.is_full();
        let (bytes, out) = desk.sides();
        let (length, content) = match head::look(bytes, &mut room) {
            Seen::Part if full => return Next::Hypers(Reading::All),
            Seen::Part => return Next::Part,
            Seen::Opaque => return Next::Hypers(Reading::All),
            Seen::Other(length, content) => (length, content),
            Seen::Plain(length, target, fields) => {
                let (ClientAddr(client), LocalAddr(local)) = requests.ends;
                let head = Head { target, fields, client, local };
                out.clear();
                let found = requests.found.take();
                if let Some(content) = requests.fast.answer(&head, found.as_ref(), out) {
                    desk.done(length);
                    return Next::Answered(content);
                }
                match requests.fast.ahead(&head, found) {
                    Ok(looking) => {
                        requests.looking = Some(looking);
                        requests.turn.look(true);
                        return Next::Looking;
                    }
                    Err(found) => requests.turn.hand_on(found),
                }
                (length, 0)
            }
        };
        if std::mem::take(answered) {
            requests.patience.begins();
        }
        requests.turn.begin();
        Next::Hypers(Reading::Content(content.saturating_add(length as u64)))
    }

    /// Writes an answer; what the socket does not take is kept for later.
    fn poll_say(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        content: Bytes,
    ) -> Poll<io::Result<()>> {
        let stream = Pin::new(&mut self.stream);
        let written = match content.is_empty() {
            true => stream.poll_write(cx, head),
            false => stream.poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(&content)]),
        };
        let written = match self.watch(cx, written) {
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => 0,
        };
        if written == head.len() + content.len() {
            return Poll::Ready(Ok(()));
        }
        let of_content = written.saturating_sub(head.len()).min(content.len());
        let head = head.get(written..).map_or_else(Bytes::new, Bytes::copy_from_slice);
        self.answer = (head, content);
        self.answer.1.advance(of_content);
        self.poll_answer(cx)
    }

    /// Ends the answer that has begun, if one has.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.answer.0.is_empty() && self.answer.1.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !(self.answer.0.is_empty() && self.answer.1.is_empty()) {
            let (head, content) = &self.answer;
            let slices = [IoSlice::new(head), IoSlice::new(content)];
            let written = Pin::new(&mut self.stream).poll_write_vectored(cx, &slices);
            let written = match ready!(self.watch(cx, written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => written,
            };
            let (head, content) = &mut self.answer;
            let of_head = written.min(head.len());
            head.advance(of_head);
            content.advance((written - of_head).min(content.len()));
        }
        // What they are parts of is not needed any more.
        self.answer = (Bytes::new(), Bytes::new());
        Poll::Ready(Ok(()))
    }

    /// Nothing has come; is it time to give up?
    fn poll_patience(&mut self, cx: &mut Context<'_>, answered: bool) -> Poll<io::Result<()>> {
        let Some(requests) = &mut self.requests else { return Poll::Pending };
        if answered {
            requests.patience.begins();
        }
        if requests.turn.is_taken() {
            return Poll::Pending;
        }
        ready!(requests.patience.poll_end(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request in time")))
    }

    /// hyper has a request, and is asked for nothing that belongs to it: has the client left?
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            // The next request. Whoever ends this one's turn wakes the connection.
            return Poll::Pending;
        }
        let mut bin = [0; 1024];
        let mut next = ReadBuf::new(&mut bin);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut next))?;
        if next.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.held = Bytes::copy_from_slice(next.filled());
        Poll::Pending
    }

    /// What belongs to the request that hyper has, and nothing that comes after it.
    fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        left: u64,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        if !self.held.is_empty() {
            give(&mut self.held, buf, most);
        } else if buf.remaining() <= most {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        } else {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
            let read = part.filled().len();
            buf.advance(read);
        }
        let left = left.saturating_sub((buf.filled().len() - before) as u64);
        self.reading = if left == 0 { Reading::Heads } else { Reading::Content(left) };
        Poll::Ready(Ok(()))
    }

    /// Whatever there is.
    fn poll_all(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            give(&mut self.held, buf, usize::MAX);
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Pending => self.poll_patience(cx, false),
            ready => ready,
        }
    }
}

/// Moves as much as there is, as there is room for, and as may be moved.
fn give(held: &mut Bytes, buf: &mut ReadBuf<'_>, most: usize) {
    let given = held.split_to(held.len().min(buf.remaining()).min(most));
    buf.put_slice(&given);
    if held.is_empty() {
        // The buffer it is part of is not needed any more.
        *held = Bytes::new();
    }
}

/// What to do about what a client sent.
enum Next {
    /// Wait for the rest of it.
    Part,
    /// Write the head on the desk, and this content.
    Answered(Bytes),
    /// Wait for what is found for it.
    Looking,
    /// Leave it to hyper.
    Hypers(Reading),
}

impl<Q: FastPath> AsyncWrite for ClientIo<Q> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_before(cx))?;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_before(cx))?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper asks for this when its own buffer is empty, and only then: all that it had to say has
    /// been written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_before(cx))?;
        self.hyper_has_said_all(cx);
        while let Some(head) = self.interims.next() {
            self.interim = head;
            // The answer may have waited for this.
            cx.waker().wake_by_ref();
            ready!(self.poll_interim(cx))?;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// RFC 9112 §9.6: close our half, then read until the client closes its half or a time is up.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.state, State::Lingering(_)) {
            ready!(self.poll_before(cx))?;
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.state = State::Lingering(LINGER_BYTES);
            self.set_timer(LINGER);
        }
        let mut bin = [0; 4096];
        while let State::Lingering(left @ 1..) = self.state {
            let mut buf = ReadBuf::new(&mut bin);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.state = State::Lingering(left.saturating_sub(buf.filled().len()));
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    ready!(self.poll_timer(cx));
                    return Poll::Ready(Ok(()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket};

    use super::super::interim::Unanswered;
    use super::*;

    const HINTS: &str = "HTTP/1.1 103 Early Hints\r\n\r\n";

    /// The proxy's end of a connection over which little fits at a time, and the client's.
    async fn connection() -> (ClientIo<()>, Arc<Interims>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpSocket::new_v4().unwrap();
        client.set_recv_buffer_size(4096).unwrap();
        let client = client.connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let stream = accepted.unwrap().0;
        SockRef::from(&stream).set_send_buffer_size(4096).unwrap();
        let interims = Arc::new(Interims::default());
        let broken = Arc::default();
        let patience = Duration::from_secs(10);
        let prefix = Bytes::new();
        let io = ClientIo::new(stream, prefix, None, patience, broken, Arc::clone(&interims));
        (io, interims, client.unwrap())
    }

    fn hint(exchange: &Unanswered) {
        exchange.way().tell(StatusCode::EARLY_HINTS, HeaderMap::new());
    }

    /// Writes as much of `bytes` as fits without anybody reading, in the way that hyper does: what
    /// is left stays with it, and it does not flush.
    async fn write_some<'b>(io: &mut ClientIo<()>, mut bytes: &'b [u8]) -> &'b [u8] {
        let once = Duration::from_millis(50);
        while let Ok(written) = tokio::time::timeout(once, io.write(bytes)).await {
            bytes = &bytes[written.unwrap()..];
        }
        assert!(!bytes.is_empty(), "it all fits");
        bytes
    }

    /// All that arrives until `io` closes, which is when `rest` has been written.
    async fn read_while_writing(
        mut io: ClientIo<()>,
        mut client: TcpStream,
        parts: &[&[u8]],
    ) -> String {
        let mut all = Vec::new();
        let write = async {
            for part in parts {
                io.write_all(part).await.unwrap();
                io.flush().await.unwrap();
            }
            drop(io);
        };
        let (_, read) = tokio::join!(write, client.read_to_end(&mut all));
        read.unwrap();
        String::from_utf8(all).unwrap()
    }

    #[tokio::test]
    async fn what_hyper_still_holds_of_one_answer_is_not_broken_into() {
        let first = "1".repeat(256 * 1024);
        let (mut io, interims, client) = connection().await;
        drop(interims.begin());
        let rest = write_some(&mut io, first.as_bytes()).await;
        let mut second = interims.begin();
        hint(&second);
        assert!(!second.ends(), "the second answer waits");
        let all = read_while_writing(io, client, &[rest, b"2"]).await;
        assert!(second.ends());
        assert!(all == format!("{first}{HINTS}2"), "after the first and before the second");
    }

    #[tokio::test]
    async fn a_head_that_has_begun_is_ended_before_hyper_goes_on() {
        let (mut io, interims, client) = connection().await;
        let mut exchange = interims.begin();
        io.flush().await.unwrap();
        let mut headers = HeaderMap::new();
        let large = "x".repeat(200 * 1024);
        headers.append("x-large", large.parse().unwrap());
        exchange.way().tell(StatusCode::EARLY_HINTS, headers);
        let stuck = tokio::time::timeout(Duration::from_millis(50), io.flush()).await;
        assert!(stuck.is_err(), "it all fits");
        assert!(exchange.ends(), "all of it has begun");
        drop(exchange);
        let all = read_while_writing(io, client, &[b"answer"]).await;
        assert!(all == format!("HTTP/1.1 103 Early Hints\r\nx-large: {large}\r\n\r\nanswer"));
    }

    #[tokio::test]
    async fn nothing_is_put_into_an_answer_that_comes_in_pieces() {
        let (io, interims, client) = connection().await;
        let exchange = interims.begin();
        let way = exchange.way();
        drop(exchange);
        way.tell(StatusCode::EARLY_HINTS, HeaderMap::new());
        let all = read_while_writing(io, client, &[b"head ", b"one ", b"two"]).await;
        assert_eq!(all, "head one two");
    }
}
