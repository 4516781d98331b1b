//! A request on its way out: its head, and its content as the client brings it.
//!
//! | framing | the content |
//! |---|---|
//! | `Nothing` | is empty |
//! | `Length` | has so many bytes: what goes beyond is not sent, what is missing is a failure |
//! | `Chunked` | is of unknown length |

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body::Body as _;
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::body::Body;
use crate::idle::{STALLED, Stalled};

/// Pieces up to this size are copied together, larger ones are written from where they are.
const COPIED: usize = 16 * 1024;

/// A request that has not been sent to its end.
#[derive(Debug)]
pub(super) struct Upload {
    /// What is to be written before `piece`, and how much of it was.
    lines: Vec<u8>,
    written: usize,
    /// A large piece of content.
    piece: Bytes,
    content: Body,
    framing: Framing,
    stage: Stage,
    /// When the last piece was taken from the client; at first, when the exchange began.
    moved: Instant,
    /// The last time it was asked for a piece there was none: it is the client who is slow.
    waiting_for_client: bool,
    /// Why the content ended early, in words for the client.
    failed: Option<&'static str>,
}

/// How the origin is told where the content ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Nothing,
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was written.
    Unsent,
    Sending,
    /// All of the content was taken.
    Taken,
}

/// Why a request cannot be sent to its end.
#[derive(Debug)]
pub(super) enum Failed {
    /// The client's content ended early.
    Content(&'static str),
    Connection(io::Error),
}

impl Upload {
    /// A request that begins with the bytes `head`; its time counts from `began`.
    pub(super) const fn new(
        head: Vec<u8>,
        content: Body,
        framing: Framing,
        began: Instant,
    ) -> Self {
        Self {
            lines: head,
            written: 0,
            piece: Bytes::new(),
            content,
            framing,
            stage: Stage::Unsent,
            moved: began,
            waiting_for_client: false,
            failed: None,
        }
    }

    /// When the origin's time is up if it has `limit` for its answer: counted from the last piece
    /// that it was sent, and not while it is the client who keeps us waiting.
    pub(super) fn due(&self, limit: Duration) -> Instant {
        if self.waiting_for_client { Instant::now() + limit } else { self.moved + limit }
    }

    /// True once all of it was written.
    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Taken && self.is_flushed()
    }

    /// The buffer that the head came in, emptied.
    pub(super) fn into_buffer(mut self) -> Vec<u8> {
        self.lines.clear();
        self.lines
    }

    /// Writes what can be written now; ready once that was all.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
    ) -> Poll<Result<(), Failed>> {
        loop {
            let fits = self.piece.is_empty() && self.lines.len() - self.written < COPIED;
            let content = if fits { self.poll_content(cx)? } else { Poll::Ready(()) };
            if content.is_pending() && self.stage == Stage::Unsent {
                // The beginning of the content mostly is there a moment later: it then goes out
                // together with the head.
                self.stage = Stage::Sending;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.is_flushed() {
                match self.stage {
                    Stage::Taken => return Poll::Ready(Ok(())),
                    _ if content.is_pending() => return Poll::Pending,
                    _ => continue,
                }
            }
            ready!(self.poll_write(cx, stream)).map_err(Failed::Connection)?;
        }
    }

    fn is_flushed(&self) -> bool {
        self.written == self.lines.len() && self.piece.is_empty()
    }

    /// Takes the next piece of content, if there is one to be had.
    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        if let Some(why) = self.failed {
            return Poll::Ready(Err(Failed::Content(why)));
        }
        while self.stage != Stage::Taken && self.piece.is_empty() {
            if self.framing == Framing::Nothing || self.framing == Framing::Length(0) {
                self.stage = Stage::Taken;
                break;
            }
            self.waiting_for_client = true;
            let frame = ready!(Pin::new(&mut self.content).poll_frame(cx));
            self.waiting_for_client = false;
            self.moved = Instant::now();
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => self.take(piece),
                    // RFC 9112 §7.1.2: a recipient "MAY selectively retain or discard the received
                    // trailer fields". All are discarded: an origin that took them for header fields
                    // (§6.5.1 of RFC 9110 forbids it) would take what nobody has looked at for what
                    // was checked here.
                    Err(_) => self.end()?,
                },
                Some(Err(error)) => {
                    let stalled = error.downcast_ref::<Stalled>().is_some();
                    return self.fail(if stalled { STALLED } else { "it broke off" });
                }
                None => self.end()?,
            }
            if self.lines.len() - self.written >= COPIED {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, mut piece: Bytes) {
        match &mut self.framing {
            Framing::Length(left) => {
                piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= piece.len() as u64;
            }
            // A chunk without bytes would be the last one.
            _ if piece.is_empty() => return,
            _ => {
                let size = format!("{:x}\r\n", piece.len());
                self.lines.extend_from_slice(size.as_bytes());
            }
        }
        if piece.len() > COPIED {
            self.piece = piece;
            return;
        }
        self.lines.extend_from_slice(&piece);
        if self.framing == Framing::Chunked {
            self.lines.extend_from_slice(b"\r\n");
        }
    }

    fn end(&mut self) -> Result<(), Failed> {
        self.stage = Stage::Taken;
        match self.framing {
            Framing::Nothing | Framing::Length(0) => {}
            Framing::Chunked => self.lines.extend_from_slice(b"0\r\n\r\n"),
            Framing::Length(_) => {
                self.failed = Some("it broke off");
                return Err(Failed::Content("it broke off"));
            }
        }
        Ok(())
    }

    fn fail(&mut self, why: &'static str) -> Poll<Result<(), Failed>> {
        self.failed = Some(why);
        Poll::Ready(Err(Failed::Content(why)))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<io::Result<()>> {
        let lines = self.lines.get(self.written..).unwrap_or_default();
        let from = if lines.is_empty() { &*self.piece } else { lines };
        let count = ready!(Pin::new(stream).poll_write(cx, from))?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        if lines.is_empty() {
            self.piece.advance(count);
            if self.piece.is_empty() && self.framing == Framing::Chunked {
                self.lines.extend_from_slice(b"\r\n");
            }
            return Poll::Ready(Ok(()));
        }
        self.written += count;
        if self.written == self.lines.len() {
            self.lines.clear();
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }
}
