//! Connections to one server: how many there may be, and those that wait for their next exchange.
//!
//! | a connection | is |
//! |---|---|
//! | of an exchange | held by its [`Seat`], of which there are as many as there may be connections |
//! | idle | taken again newest first; looked at before, and every so often, for its end |
//! | neither | closed |
//!
//! A seat is given back after its connection, and one is opened only where none is idle: so there
//! are never more connections than seats.

use std::future::Future as _;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::alarm::Alarm;
use super::head::MAX_HEAD;

/// How much is read at once at first, and how little room for it there may be.
const READ: (usize, usize) = (8 * 1024, 4 * 1024);

/// How often idle connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// Largest buffer for what is written that an idle connection keeps.
const KEPT: usize = 16 * 1024;

/// Connections to one server.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Idle>,
    /// As many permits as there may be connections; held until a response's content ends.
    seats: Semaphore,
    /// Half as many for requests with content, until it is sent: clients that take their time with
    /// it do not keep the others from the origin.
    uploads: Semaphore,
    idle_timeout: Duration,
}

#[derive(Debug, Default)]
struct Idle {
    /// Each with the time since which it is; the newest last.
    connections: Vec<(Box<Connection>, Instant)>,
    /// Somebody looks at them every so often.
    swept: bool,
}

impl Pool {
    pub(super) fn new(connections: usize, idle_timeout: Duration) -> Self {
        Self {
            idle: Mutex::default(),
            seats: Semaphore::new(connections),
            uploads: Semaphore::new(connections.div_ceil(2)),
            idle_timeout,
        }
    }

    /// True if an exchange could begin at once.
    pub(super) fn has_room(&self) -> bool {
        self.seats.available_permits() > 0
    }

    /// Waits for a seat, and for leave to send content if there is some; `None` after `patience`.
    pub(super) async fn seat(
        self: &Arc<Self>,
        has_content: bool,
        patience: Duration,
    ) -> Option<(Seat, Option<SemaphorePermit<'_>>)> {
        let seated = |permit: SemaphorePermit<'_>| {
            permit.forget();
            Seat { pool: Arc::clone(self), connection: None }
        };
        // The semaphores are never closed: what fails here is the waiting.
        let upload = if has_content { self.uploads.try_acquire().ok() } else { None };
        if (upload.is_some() || !has_content)
            && let Ok(permit) = self.seats.try_acquire()
        {
            return Some((seated(permit), upload));
        }
        let both = async {
            let upload = match upload {
                None if has_content => Some(self.uploads.acquire().await.ok()?),
                upload => upload,
            };
            Some((seated(self.seats.acquire().await.ok()?), upload))
        };
        tokio::time::timeout(patience, both).await.ok().flatten()
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that was used last, if it is still one.
    fn take(&self, now: Instant) -> Option<Box<Connection>> {
        let mut idle = self.idle();
        while let Some((connection, since)) = idle.connections.pop() {
            if now.saturating_duration_since(since) >= self.idle_timeout {
                // All the others have been idle for longer.
                idle.connections.clear();
                return None;
            }
            if connection.is_open() {
                return Some(connection);
            }
        }
        None
    }

    fn put(self: &Arc<Self>, connection: Box<Connection>) {
        let mut idle = self.idle();
        idle.connections.push((connection, Instant::now()));
        if !idle.swept {
            idle.swept = true;
            let pause = SWEEP.min(self.idle_timeout);
            tokio::spawn(sweep(Arc::downgrade(self), pause));
        }
    }
}

/// Closes idle connections whose time is up, or whose other end is gone, while there are any.
async fn sweep(pool: Weak<Pool>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let Some(pool) = pool.upgrade() else { return };
        let now = Instant::now();
        let mut idle = pool.idle();
        idle.connections.retain(|(connection, since)| {
            now.saturating_duration_since(*since) < pool.idle_timeout && connection.is_open()
        });
        if idle.connections.is_empty() {
            idle.swept = false;
            return;
        }
    }
}

/// The right to a connection, and the connection, once there is one.
#[derive(Debug)]
pub(super) struct Seat {
    pool: Arc<Pool>,
    connection: Option<Box<Connection>>,
}

impl Seat {
    /// Takes an idle connection; false if there is none that can be used.
    pub(super) fn resume(&mut self, now: Instant) -> bool {
        self.connection = self.pool.take(now);
        self.connection.is_some()
    }

    /// Takes a new connection.
    pub(super) fn begin(&mut self, stream: TcpStream, alarm: Alarm) {
        let read = BytesMut::new();
        let connection = Connection { stream, read, room: READ.0, lines: Vec::new(), alarm };
        self.connection = Some(Box::new(connection));
    }

    /// The connection; `None` before there is one.
    pub(super) fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_deref_mut()
    }

    /// Leaves the connection to the next exchange. Without this it is closed.
    pub(super) fn leave(mut self, mut lines: Vec<u8>) {
        let Some(mut connection) = self.connection.take() else { return };
        // What came unasked would be taken for the next answer.
        if connection.read.is_empty() {
            lines.shrink_to(KEPT);
            connection.lines = lines;
            self.pool.put(connection);
        }
    }

    /// The connection without HTTP, and what was read of it ahead; the seat remains taken.
    pub(super) fn switch(&mut self) -> Option<(TcpStream, BytesMut)> {
        let connection = self.connection.take()?;
        Some((connection.stream, connection.read))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // First, so that there is never one too many.
        self.connection = None;
        self.pool.seats.add_permits(1);
    }
}

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    /// What was read and not used yet.
    pub(super) read: BytesMut,
    /// How much to read at once: more while that comes in full.
    room: usize,
    /// An empty buffer for what is written next.
    pub(super) lines: Vec<u8>,
    pub(super) alarm: Alarm,
}

impl Connection {
    /// False if the other end has closed it, or said something unasked. Without news from the
    /// kernel that is known without asking it.
    fn is_open(&self) -> bool {
        let read = self.stream.try_read(&mut [0]);
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Reads some more; ready with 0 at the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let free = self.read.capacity() - self.read.len();
        if free < READ.1.min(self.room) || self.room > READ.0 {
            self.read.reserve(self.room);
        }
        let free = self.read.capacity() - self.read.len();
        let count = ready!(pin!(self.stream.read_buf(&mut self.read)).poll(cx))?;
        if count == free {
            self.room = (self.room * 2).min(MAX_HEAD);
        } else if count < READ.0 {
            self.room = READ.0;
        }
        Poll::Ready(Ok(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    const SECOND: Duration = Duration::from_secs(1);

    /// A seat with a connection, and the other end of that.
    async fn seated(pool: &Arc<Pool>, listener: &TcpListener) -> (Seat, TcpStream) {
        let (mut seat, _) = pool.seat(false, SECOND).await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        seat.begin(stream, Alarm::new(Instant::now() + SECOND));
        (seat, listener.accept().await.unwrap().0)
    }

    async fn resumed(pool: &Arc<Pool>) -> (Seat, bool) {
        let (mut seat, _) = pool.seat(false, SECOND).await.unwrap();
        let resumed = seat.resume(Instant::now());
        (seat, resumed)
    }

    /// True once the other end has closed.
    async fn is_left(mut other: TcpStream) -> bool {
        tokio::time::timeout(10 * SECOND, other.read(&mut [0])).await.is_ok()
    }

    #[tokio::test]
    async fn the_connection_that_was_left_last_is_taken_first() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = Arc::new(Pool::new(2, 60 * SECOND));
        let (first, _a) = seated(&pool, &listener).await;
        let (second, _b) = seated(&pool, &listener).await;
        assert!(!pool.has_room());
        let last = second.connection.as_ref().unwrap().stream.local_addr().unwrap();
        first.leave(Vec::new());
        second.leave(Vec::new());
        let (seat, resumed) = resumed(&pool).await;
        assert!(resumed);
        assert_eq!(seat.connection.as_ref().unwrap().stream.local_addr().unwrap(), last);
    }

    #[tokio::test]
    async fn one_that_was_closed_or_that_speaks_unasked_is_not_taken_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for speaks in [false, true] {
            let pool = Arc::new(Pool::new(1, 60 * SECOND));
            let (seat, mut other) = seated(&pool, &listener).await;
            seat.connection.as_ref().unwrap().stream.writable().await.unwrap();
            seat.leave(Vec::new());
            if speaks {
                other.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
            } else {
                other.shutdown().await.unwrap();
            }
            // Nobody takes it: that it is swept shows that the news has come, and what it did.
            assert!(is_left(other).await);
            assert!(!resumed(&pool).await.1, "speaks: {speaks}");
        }
    }

    #[tokio::test]
    async fn one_that_nobody_takes_is_closed_after_a_while() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = Arc::new(Pool::new(1, Duration::from_millis(100)));
        let (seat, other) = seated(&pool, &listener).await;
        seat.leave(Vec::new());
        assert!(is_left(other).await);
        assert!(!resumed(&pool).await.1);
    }

    #[tokio::test]
    async fn a_seat_that_is_given_up_closes_its_connection_and_is_free() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = Arc::new(Pool::new(1, 60 * SECOND));
        let (seat, other) = seated(&pool, &listener).await;
        assert!(!pool.has_room());
        drop(seat);
        assert!(pool.has_room() && is_left(other).await);
    }

    #[tokio::test]
    async fn uploads_leave_half_of_the_seats_to_others() {
        let pool = Arc::new(Pool::new(2, SECOND));
        let upload = pool.seat(true, SECOND).await.unwrap();
        assert!(pool.seat(true, Duration::from_millis(10)).await.is_none());
        assert!(pool.seat(false, SECOND).await.is_some());
        drop(upload);
        assert!(pool.seat(true, SECOND).await.is_some());
    }
}
