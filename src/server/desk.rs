//! Where a connection reads and writes while it is at it: memory that is used by one connection of a
//! thread at a time, and by none while it waits.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// What is read at once, in bytes; also the longest head that is looked at.
const READ: usize = 16 * 1024;

thread_local! {
    static DESK: RefCell<Desk> = RefCell::new(Desk {
        bytes: vec![0; READ],
        begin: 0,
        end: 0,
        head: Vec::new(),
    });
}

/// See the module.
#[derive(Debug)]
pub(super) struct Desk {
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
    /// The head of an answer.
    pub(super) head: Vec<u8>,
}

impl Desk {
    /// Lends this thread's.
    pub(super) fn with<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        DESK.with_borrow_mut(work)
    }

    /// Begins with what is held of a connection; false if it has no room.
    pub(super) fn take_up(&mut self, held: &[u8]) -> bool {
        let Some(room) = self.bytes.get_mut(..held.len()) else { return false };
        room.copy_from_slice(held);
        (self.begin, self.end) = (0, held.len());
        true
    }

    /// What is on it and was not done with, and where the head of an answer goes.
    pub(super) fn sides(&mut self) -> (&[u8], &mut Vec<u8>) {
        (self.bytes.get(self.begin..self.end).unwrap_or_default(), &mut self.head)
    }

    /// True if no more than this is read: the longest head there may be.
    pub(super) fn is_full(&self) -> bool {
        self.end - self.begin >= READ
    }

    /// So many of the bytes are done with.
    pub(super) fn done(&mut self, length: usize) {
        self.begin = self.end.min(self.begin.saturating_add(length));
    }

    /// Reads more behind what is there; 0 at the end.
    pub(super) fn poll_more(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.begin > 0 {
            self.bytes.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        let mut room = ReadBuf::new(self.bytes.get_mut(self.end..).unwrap_or_default());
        ready!(Pin::new(stream).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.end += read;
        Poll::Ready(Ok(read))
    }

    /// What is left, to be held until the connection goes on.
    pub(super) fn put_down(&mut self) -> Bytes {
        match self.sides().0 {
            [] => Bytes::new(),
            left => Bytes::copy_from_slice(left),
        }
    }
}
