//! One client connection, from its first byte: HTTP/1.1, or HTTP/2 by prior knowledge.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use http::{Request, Response};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tower::Service;

use super::drain::DrainWatch;
use super::exchange::{Exchanges, Spare};
use super::interim::Interims;
use super::io::{ClientIo, Patience, Requests};
use super::stream::{Pieces, StreamCount, StreamExecutor};
use super::turn::{Said, Turn};
use crate::body::Body;
use crate::config::Limits;
use crate::fast::FastPath;
use crate::peer::{ClientAddr, LocalAddr};

/// RFC 9113 §3.4: what a client that knows it speaks to HTTP/2 sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How both protocols are spoken: made once, used by every connection.
#[derive(Debug)]
pub(super) struct Protocols {
    http1: http1::Builder,
    max_header_list: u32,
    header_timeout: Duration,
    body_timeout: Duration,
    write_timeout: Duration,
}

impl Protocols {
    pub(super) fn new(limits: &Limits) -> Self {
        // `forward` counts exactly and answers with a sentence. These are the walls behind it:
        // far enough for a request just over a limit to reach it, near enough to bound memory.
        let head = limits
            .max_target
            .saturating_mul(2)
            .saturating_add(limits.max_fields_bytes.saturating_mul(2))
            .clamp(16 * 1024, 16 * 1024 * 1024);
        let mut http1 = http1::Builder::new();
        // How long a head may take, `ClientIo` sees to: hyper would count answers past it as waiting.
        http1.header_read_timeout(None).max_header_size(head).max_buf_size(head.max(64 * 1024));
        // Up to a hundred the parser keeps them on the stack.
        if limits.max_fields >= 100 {
            http1.max_headers(limits.max_fields.saturating_add(1).min(4096));
        }
        Self {
            http1,
            max_header_list: u32::try_from(head).unwrap_or(u32::MAX),
            header_timeout: limits.header_timeout,
            body_timeout: limits.body_timeout,
            write_timeout: limits.write_timeout,
        }
    }

    fn http2(&self, count: Arc<StreamCount>) -> http2::Builder<StreamExecutor> {
        let executor = StreamExecutor { count, write_timeout: self.write_timeout };
        let mut http2 = http2::Builder::new(executor);
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(100)
            .max_header_list_size(self.max_header_list)
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(1024 * 1024)
            // Per stream: what may wait here for the client's window.
            .max_send_buf_size(64 * 1024)
            .max_frame_size(16 * 1024)
            .header_table_size(4096)
            // A peer that vanished without a word is noticed; idle ones are closed in `run`.
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20))
            // CVE-2023-44487 and CVE-2025-8671: streams that are opened to be reset, by either side.
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(256);
        http2
    }
}

/// Serves `stream` until either side is done with it, or the drain cuts it.
pub(super) async fn run<S, Q>(
    mut stream: TcpStream,
    ends: (ClientAddr, LocalAddr),
    (service, fast): (S, Q),
    protocols: Arc<Protocols>,
    drain: DrainWatch,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    Q: FastPath,
{
    let mut prefix = BytesMut::with_capacity(1024);
    let recognised = tokio::select! {
        biased;
        () = drain.begun() => return,
        recognised =
            tokio::time::timeout(protocols.header_timeout, recognise(&mut stream, &mut prefix)) =>
            recognised,
    };
    let Ok(Ok(Some(protocol))) = recognised else { return };
    let broken = Arc::new(AtomicBool::new(false));
    let write_timeout = protocols.write_timeout;
    let interims = Arc::new(Interims::default());
    let turn = Arc::new(Turn::default());
    // Who knows the protocol's heads asks.
    let (by_socket, by_hyper) = match protocol {
        Protocol::Http1 => (Some(fast), None),
        Protocol::Http2 => (None, Some(RefCell::new(fast))),
    };
    let requests = by_socket.map(|fast| Requests {
        fast,
        turn: Arc::clone(&turn),
        ends,
        patience: Patience::new(protocols.header_timeout),
        looking: None,
        found: None,
    });
    let (theirs, prefix) = (Arc::clone(&broken), prefix.freeze());
    let io = ClientIo::new(stream, prefix, requests, write_timeout, theirs, Arc::clone(&interims));
    let io = TokioIo::new(io);
    let services = Arc::new(Spare::new(service));
    let shared = (broken, interims, turn);
    match protocol {
        Protocol::Http1 => {
            let exchanges: Exchanges<S, Q, Said> =
                exchanges((services, by_hyper), ends, shared, &protocols, &drain);
            let turn = Arc::clone(&exchanges.turn);
            let connection = protocols.http1.serve_connection(io, exchanges).with_upgrades();
            attend(connection, &turn, &drain).await;
        }
        Protocol::Http2 => {
            let count = Arc::new(StreamCount::default());
            let exchanges: Exchanges<S, Q, Pieces> =
                exchanges((services, by_hyper), ends, shared, &protocols, &drain);
            let connection = protocols.http2(Arc::clone(&count)).serve_connection(io, exchanges);
            // In a box, since the task of every connection has room for its larger protocol.
            Box::pin(attend_idle(connection, &drain, &count, protocols.header_timeout)).await;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Reads until it is clear what the client speaks; `None` if it left before that.
async fn recognise(stream: &mut TcpStream, prefix: &mut BytesMut) -> io::Result<Option<Protocol>> {
    loop {
        if stream.read_buf(prefix).await? == 0 {
            return Ok(None);
        }
        if prefix.starts_with(PREFACE) {
            return Ok(Some(Protocol::Http2));
        }
        if !PREFACE.starts_with(prefix) {
            return Ok(Some(Protocol::Http1));
        }
    }
}

fn exchanges<S: Clone, Q, B>(
    (services, fast): (Arc<Spare<S>>, Option<RefCell<Q>>),
    ends: (ClientAddr, LocalAddr),
    (broken, interims, turn): (Arc<AtomicBool>, Arc<Interims>, Arc<Turn>),
    protocols: &Protocols,
    drain: &DrainWatch,
) -> Exchanges<S, Q, B> {
    Exchanges {
        services,
        fast,
        ends,
        body_timeout: protocols.body_timeout,
        tunnels: drain.tunnels(),
        broken,
        interims,
        turn,
        content: PhantomData,
    }
}

/// Either protocol's connection.
trait Connection: Future<Output = hyper::Result<()>> {
    /// Finish what is in flight and take nothing new.
    fn go_away(self: Pin<&mut Self>);
}

impl<I, B, S> Connection for http1::UpgradeableConnection<I, S>
where
    Self: Future<Output = hyper::Result<()>>,
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn go_away(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, B, S> Connection for http2::Connection<I, S, StreamExecutor>
where
    Self: Future<Output = hyper::Result<()>>,
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    StreamExecutor: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn go_away(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Serves `connection` to its end; told to go away when draining begins, dropped at its deadline.
async fn attend(connection: impl Connection, turn: &Turn, drain: &DrainWatch) {
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => return note(ended),
        () = drain.begun() => {}
    }
    // To hyper, a connection whose request is being looked up is idle: it would close it.
    let looked = poll_fn(|cx| match connection.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending if turn.is_looking() => Poll::Pending,
        Poll::Pending => Poll::Ready(None),
    });
    let ended = tokio::select! {
        biased;
        ended = looked => ended,
        () = drain.cut() => return,
    };
    if let Some(ended) = ended {
        return note(ended);
    }
    connection.as_mut().go_away();
    tokio::select! {
        biased;
        ended = connection.as_mut() => note(ended),
        () = drain.cut() => {}
    }
}

/// The same for HTTP/2, which has no time limit of its own for a connection without requests: it
/// is told to go away once it has had none for `limit`, noticed at most `limit` later, and
/// dropped if it has not gone another `limit` later.
async fn attend_idle(
    connection: impl Connection,
    drain: &DrainWatch,
    count: &StreamCount,
    limit: Duration,
) {
    let mut connection = pin!(connection);
    let mut idle_at_last_look = None;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => return note(ended),
            () = drain.begun() => break,
            () = tokio::time::sleep(limit) => {
                let idle = count.idle_since();
                if idle.is_some() && idle == idle_at_last_look {
                    break;
                }
                idle_at_last_look = idle;
            }
        }
    }
    connection.as_mut().go_away();
    let idle = async {
        // Idle, and not draining: there is nothing to wait for but the client's own goodbye.
        if idle_at_last_look.is_some() && idle_at_last_look == count.idle_since() {
            tokio::time::sleep(limit).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        ended = connection.as_mut() => note(ended),
        () = drain.cut() => {}
        () = idle => {}
    }
}

/// Most of these are clients that left; they matter only to somebody who is looking.
fn note(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "client connection ended early");
    }
}
