//! One server of the origin: its connections, how many there may be, and an exchange on one.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Response, Uri};
use http_body::Body as _;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service;

use super::content::Lent;
use super::{Outgoing, receive};
use crate::body::Body;
use crate::config::{self, HostPolicy, OriginUrl};
use crate::error::{ClientFault, OriginFault, ProxyError};

/// Largest head of a response, in bytes; also what is read ahead of its content.
const MAX_HEAD: usize = 256 * 1024;

/// Most field lines of a response, and of its trailers.
const MAX_FIELDS: usize = 256;

/// One server.
pub(super) struct Server {
    index: usize,
    client: Client<Dial, Lent>,
    authority: Authority,
    /// What replaces the client's Host; `None`: it is kept.
    host: Option<HeaderValue>,
    /// As many permits as there may be exchanges at once; held until a response's content ends.
    exchanges: Arc<Semaphore>,
    /// Half as many for requests with content, until it is sent: clients that take their time with
    /// it do not keep the others from the origin.
    uploads: Arc<Semaphore>,
    queue_timeout: Duration,
    timeout: Duration,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Server {
    pub(super) fn new(
        index: usize,
        url: &OriginUrl,
        config: &config::Origin,
    ) -> Result<Self, String> {
        if url.tls {
            return Err(format!(
                "origin https://{}:{}: TLS to the origin is not built in yet; use http://",
                url.host, url.port
            ));
        }
        let bare = url.host.trim_start_matches('[').trim_end_matches(']');
        let bracketed = if bare.contains(':') { format!("[{bare}]") } else { bare.to_owned() };
        let authority = match url.port {
            80 => bracketed,
            port => format!("{bracketed}:{port}"),
        };
        let authority = Authority::try_from(authority)
            .map_err(|error| format!("origin {}: {error}", url.host))?;
        let host = match &config.host {
            HostPolicy::Preserve => None,
            HostPolicy::Origin => Some(authority.as_str()),
            HostPolicy::Fixed(host) => Some(&**host),
        };
        let host = host
            .map(HeaderValue::from_str)
            .transpose()
            .map_err(|error| format!("origin.host: {error}"))?;
        let connections = config.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        let dial = Dial {
            host: bare.into(),
            port: url.port,
            timeout: config.connect_timeout,
            sockets: Arc::new(Semaphore::new(connections)),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(config.idle_timeout)
            .pool_max_idle_per_host(connections)
            .http1_max_buf_size(MAX_HEAD)
            .http1_max_headers(MAX_FIELDS)
            // What it gave up on before a byte was sent it sends again on another connection.
            .retry_canceled_requests(true)
            .set_host(false)
            .build(dial);
        Ok(Self {
            index,
            client,
            authority,
            host,
            exchanges: Arc::new(Semaphore::new(connections)),
            uploads: Arc::new(Semaphore::new(connections.div_ceil(2))),
            queue_timeout: config.queue_timeout,
            timeout: config.timeout,
        })
    }

    pub(super) const fn index(&self) -> usize {
        self.index
    }

    pub(super) fn name(&self) -> &str {
        self.authority.as_str()
    }

    /// True if an exchange could begin at once.
    pub(super) fn has_room(&self) -> bool {
        self.exchanges.available_permits() > 0
    }

    /// The pool wants it absolute; what is sent is `path` alone.
    pub(super) fn uri(&self, path: &PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path.clone());
        // All three are there and valid each, which is all that is asked.
        Uri::from_parts(parts).unwrap_or_default()
    }

    pub(super) fn set_host(&self, headers: &mut HeaderMap) {
        match &self.host {
            Some(host) => {
                headers.remove(HOST);
                headers.append(HOST, host.clone());
            }
            None if headers.contains_key(HOST) => {}
            None => {
                if let Ok(host) = HeaderValue::from_str(self.authority.as_str()) {
                    headers.append(HOST, host);
                }
            }
        }
    }

    /// Sends a request and receives the head of its response; its content comes as it arrives.
    pub(super) async fn exchange(
        &self,
        head: &Outgoing,
        content: &Lent,
    ) -> Result<Response<Body>, ProxyError> {
        let free = async {
            // The semaphores are never closed: what fails here is the waiting.
            let upload = match content.is_end_stream() {
                true => None,
                false => Arc::clone(&self.uploads).acquire_owned().await.ok(),
            };
            let permit = Arc::clone(&self.exchanges).acquire_owned().await.ok()?;
            Some((upload, permit))
        };
        let waited = tokio::time::timeout(self.queue_timeout, free).await;
        let Ok(Some((_upload, permit))) = waited else {
            return Err(OriginFault::Busy(self.queue_timeout).into());
        };
        content.begin();
        let answer = self.client.request(head.to_server(self, content.clone()));
        match in_time(answer, content, self.timeout).await {
            Some(Ok(response)) => receive::response(response, head, permit, self.timeout),
            Some(Err(error)) => Err(self.fault(&error, content)),
            None => Err(OriginFault::Timeout(self.timeout).into()),
        }
    }

    fn fault(&self, error: &ClientError, content: &Lent) -> ProxyError {
        if let Some(why) = content.failure() {
            return ClientFault::Content(why).into();
        }
        if error.is_connect() {
            // No socket to spare, though an exchange could begin: others are just being closed.
            if find::<NoSocket>(error).is_some() {
                return OriginFault::Busy(self.queue_timeout).into();
            }
            return OriginFault::Connect(chain(error)).into();
        }
        match find::<hyper::Error>(error) {
            Some(error) if error.is_parse_too_large() => {
                OriginFault::Malformed("its head is too large").into()
            }
            Some(error) if error.is_parse() => OriginFault::Malformed("it is not HTTP/1").into(),
            // The connection gave the request back unsent.
            Some(error) if error.is_canceled() => OriginFault::Connect(chain(error)).into(),
            _ => OriginFault::Broken(chain(error)).into(),
        }
    }
}

/// `answer`, unless the origin takes longer than `limit` for it; its time does not run while the
/// client is the one who is waited for.
async fn in_time<T>(answer: impl Future<Output = T>, content: &Lent, limit: Duration) -> Option<T> {
    let mut answer = pin!(answer);
    let mut timer = pin!(tokio::time::sleep(limit));
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return Some(answer),
            () = &mut timer => {
                let due = content.due(limit);
                if due <= tokio::time::Instant::now() {
                    return None;
                }
                timer.as_mut().reset(due);
            }
        }
    }
}

/// An error and what caused it, outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|error| error.downcast_ref())
}

fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Opens connections to one server, and never more than there may be: the pool opens one whenever
/// none is idle, even if one is about to become so.
#[derive(Clone, Debug)]
struct Dial {
    host: Arc<str>,
    port: u16,
    timeout: Duration,
    sockets: Arc<Semaphore>,
}

/// All sockets are taken.
#[derive(Debug, thiserror::Error)]
#[error("no socket to spare")]
struct NoSocket;

impl Service<Uri> for Dial {
    type Response = Socket;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Socket, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { host, port, timeout, sockets } = self.clone();
        Box::pin(async move {
            let slot = tokio::time::timeout(timeout, sockets.acquire_owned());
            let slot = slot.await.map_err(|_| NoSocket)??;
            let connect = TcpStream::connect((&*host, port));
            let stream = tokio::time::timeout(timeout, connect)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            stream.set_nodelay(true)?;
            Ok(Socket { io: TokioIo::new(stream), _slot: slot })
        })
    }
}

/// A connection, and the permission to be one.
#[derive(Debug)]
struct Socket {
    io: TokioIo<TcpStream>,
    _slot: OwnedSemaphorePermit,
}

impl Connection for Socket {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
