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

use super::interim::Interims;

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
        ready!(self.poll_interim(cx))?;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper asks for this when its own buffer is empty, and only then: all that it had to say has
    /// been written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx))?;
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
    async fn connection() -> (ClientIo, Arc<Interims>, TcpStream) {
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
        let io = ClientIo::new(stream, Bytes::new(), patience, broken, Arc::clone(&interims));
        (io, interims, client.unwrap())
    }

    fn hint(exchange: &Unanswered) {
        exchange.way().tell(StatusCode::EARLY_HINTS, HeaderMap::new());
    }

    /// Writes as much of `bytes` as fits without anybody reading, in the way that hyper does: what
    /// is left stays with it, and it does not flush.
    async fn write_some<'b>(io: &mut ClientIo, mut bytes: &'b [u8]) -> &'b [u8] {
        let once = Duration::from_millis(50);
        while let Ok(written) = tokio::time::timeout(once, io.write(bytes)).await {
            bytes = &bytes[written.unwrap()..];
        }
        assert!(!bytes.is_empty(), "it all fits");
        bytes
    }

    /// All that arrives until `io` closes, which is when `rest` has been written.
    async fn read_while_writing(
        mut io: ClientIo,
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
