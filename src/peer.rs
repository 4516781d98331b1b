//! What travels beside a message, in its extensions: who is at its ends, and what outlives it.
//!
//! | in the extensions of | type | set by | read by |
//! |---|---|---|---|
//! | every request | [`ClientAddr`], [`LocalAddr`] | the server | forwarding, access log |
//! | GET and HEAD with content | [`WithContent`] | forwarding | the cache: never stored |
//! | requests that ask for an upgrade | [`Tunnels`] | the server | forwarding |
//! | requests of HTTP/1.1 | [`Interim`] | the server | the cache, the origin |
//! | responses that end with their connection | [`CloseDelimited`] | the origin | the cache: never stored |
//! | `101 Switching Protocols` | [`Switched`], [`Held`] | the origin | forwarding |

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Address of the peer that sent the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddr(pub SocketAddr);

/// Address on which its connection was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddr(pub SocketAddr);

/// A GET or HEAD request that carries content. It is passed on, and its response never stored:
/// the content is not part of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithContent;

/// A response that ends when its connection does: nobody can tell whether it is complete, so it
/// is never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseDelimited;

/// Something that is given back when the last clone is dropped, whatever it is.
#[derive(Clone, Debug)]
pub struct Held(pub Arc<dyn Any + Send + Sync>);

/// A connection to a server that speaks another protocol from here on.
#[derive(Clone, Debug)]
pub struct Switched(Arc<Mutex<Option<(TcpStream, Bytes)>>>);

impl Switched {
    /// `stream`, of which `early` was read already.
    pub fn new(stream: TcpStream, early: Bytes) -> Self {
        Self(Arc::new(Mutex::new(Some((stream, early)))))
    }

    /// The connection from the first byte of the other protocol; `None` if it was taken before.
    pub fn take(&self) -> Option<impl AsyncRead + AsyncWrite + Unpin + Send + use<>> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.map(|(stream, early)| {
            let (read, write) = stream.into_split();
            tokio::io::join(Cursor::new(early).chain(read), write)
        })
    }
}

/// Passes interim responses on to a client, for one exchange after another.
pub trait Passes: Send + Sync {
    /// Passes one on while the exchange of this number is unanswered; drops it otherwise.
    fn pass(&self, exchange: u64, status: StatusCode, headers: &HeaderMap);
}

/// The way back for interim responses to one request (RFC 9110 §15.2). Clones are the same way; it
/// leads nowhere once the request is answered or its client has left.
#[derive(Clone)]
pub struct Interim {
    client: Arc<dyn Passes>,
    exchange: u64,
    /// Takes out what its client is not meant to see.
    strip: Option<fn(&mut HeaderMap)>,
}

impl Interim {
    /// To `client`, as part of the exchange of this number.
    pub const fn new(client: Arc<dyn Passes>, exchange: u64) -> Self {
        Self { client, exchange, strip: None }
    }

    /// Has `strip` take fields out of every response on its way.
    #[must_use]
    pub fn stripped_by(self, strip: fn(&mut HeaderMap)) -> Self {
        Self { strip: Some(strip), ..self }
    }

    /// Tells the client, if it still waits. `headers` are end-to-end fields only.
    pub fn tell(&self, status: StatusCode, mut headers: HeaderMap) {
        if let Some(strip) = self.strip {
            strip(&mut headers);
        }
        self.client.pass(self.exchange, status, &headers);
    }
}

impl fmt::Debug for Interim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interim").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

/// Where tasks go that outlive the exchange they came from: they run until the server has drained
/// and are cut with the connections that are left at its deadline.
#[derive(Clone, Debug)]
pub struct Tunnels {
    /// The drain waits until this is empty.
    tasks: TaskTracker,
    /// Cancelled at the drain's deadline.
    cut: CancellationToken,
    /// How many were cut; read by the drain's report.
    casualties: Arc<AtomicUsize>,
}

impl Tunnels {
    /// Tasks are tracked in `tasks` and dropped when `cut` is cancelled; each one dropped so is
    /// counted in `casualties`.
    pub const fn new(
        tasks: TaskTracker,
        cut: CancellationToken,
        casualties: Arc<AtomicUsize>,
    ) -> Self {
        Self { tasks, cut, casualties }
    }

    /// Runs `tunnel` to its end or to the drain's deadline.
    pub fn spawn(&self, tunnel: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        let casualties = self.casualties.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = tunnel => {}
                () = cut.cancelled() => {
                    casualties.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
}
