//! The client's socket: gives back what was read to recognise the protocol, puts interim responses
//! between what hyper writes, cuts a client that takes nothing in, and closes so that the last
//! response is not lost.

use std::future::Future;
use std::io::{self, IoSlice};
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

use super::interim::{Interims, Place};

/// After the last response, bytes that are still on their way are read and thrown away for this
/// long. Closing at once would answer them with a reset, which takes the response with it.
const LINGER: Duration = Duration::from_millis(500);
/// … and this many of them.
const LINGER_BYTES: usize = 256 * 1024;

/// One client's connection.
#[derive(Debug)]
pub(super) struct ClientIo {
    stream: TcpStream,
    /// Read already, and not yet given to the reader.
    prefix: Bytes,
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
    /// The exchange in which hyper had last nothing left to write; `None` once it wrote again.
    flushed: Option<u64>,
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

impl ClientIo {
    /// If `broken` is set when this is dropped, the connection is reset instead of closed: to a
    /// client of HTTP/1.0, a close would look like the end of a whole response.
    pub(super) const fn new(
        stream: TcpStream,
        prefix: Bytes,
        write_timeout: Duration,
        broken: Arc<AtomicBool>,
        interims: Arc<Interims>,
    ) -> Self {
        Self {
            stream,
            prefix,
            write_timeout,
            timer: None,
            state: State::Moving,
            broken,
            interims,
            interim: Bytes::new(),
            flushed: None,
        }
    }

    /// Writes the interim responses that may stand at this place, each to its end.
    fn poll_interims(&mut self, cx: &mut Context<'_>, place: Place) -> Poll<io::Result<()>> {
        loop {
            while !self.interim.is_empty() {
                let written = Pin::new(&mut self.stream).poll_write(cx, &self.interim);
                match ready!(self.watch(cx, written))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    written => self.interim.advance(written),
                }
            }
            match self.interims.next(place) {
                Some(head) => self.interim = head,
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// What goes out before hyper writes on.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let place = Place::Before(self.flushed);
        self.poll_interims(cx, place)
    }

    /// hyper wrote on.
    fn note(&mut self, written: &Poll<io::Result<usize>>) {
        if written.is_ready() {
            self.flushed = None;
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

impl Drop for ClientIo {
    fn drop(&mut self) {
        if self.broken.load(Ordering::Relaxed) {
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let n = self.prefix.len().min(buf.remaining());
        let (now, _later) = self.prefix.split_at(n);
        buf.put_slice(now);
        self.prefix.advance(n);
        if self.prefix.is_empty() {
            // The buffer it is part of is not needed any more.
            self.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ahead(cx))?;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(&written);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ahead(cx))?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(&written);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper asks for this when its own buffer is empty, and only then: all that it had to say has
    /// been written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushed = Some(self.interims.exchange());
        ready!(self.poll_interims(cx, Place::Flushed))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// RFC 9112 §9.6: close our half, then read until the client closes its half or a time is up.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.state, State::Lingering(_)) {
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
