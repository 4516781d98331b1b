//! One server of the origin, and an exchange with it.
//!
//! An exchange is driven by whoever waits for it: while it sends, while it waits for the head, while
//! it reads the content. No task stands between, so that nothing has to be handed from one to
//! another.
//!
//! | an exchange that | leaves its connection |
//! |---|---|
//! | was read and sent to the end | to the next one, if the origin keeps it open |
//! | was answered before its content was sent | to a task that sends the rest |
//! | failed, or was given up | closed |

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::head::{self, Head};
use super::pool::{Pool, Seat};
use super::upload::{Failed, Upload};
use super::{Outgoing, interim, receive};
use crate::body::Body;
use crate::config::{self, HostPolicy, OriginUrl};
use crate::error::{ClientFault, OriginFault, ProxyError};

/// One server.
pub(super) struct Server {
    index: usize,
    /// To be connected to.
    address: (Box<str>, u16),
    authority: Authority,
    /// What is sent as Host where the client named none.
    own_host: HeaderValue,
    /// What replaces the client's Host; `None`: it is kept.
    host: Option<HeaderValue>,
    pool: Arc<Pool>,
    connect_timeout: Duration,
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
        let own_host = HeaderValue::from_str(authority.as_str())
            .map_err(|error| format!("origin {}: {error}", url.host))?;
        let connections = config.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Ok(Self {
            index,
            address: (bare.into(), url.port),
            authority,
            own_host,
            host,
            pool: Arc::new(Pool::new(connections, config.idle_timeout)),
            connect_timeout: config.connect_timeout,
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
        self.pool.has_room()
    }

    /// What is sent as Host; `None`: what the client sent.
    fn host(&self, headers: &HeaderMap) -> Option<&HeaderValue> {
        match &self.host {
            Some(host) => Some(host),
            None if headers.contains_key(http::header::HOST) => None,
            None => Some(&self.own_host),
        }
    }

    /// Sends a request and receives the head of its response; its content comes as it arrives.
    /// `content` is still there if nothing was sent.
    pub(super) async fn exchange(
        &self,
        asked: &Outgoing,
        content: &mut Body,
    ) -> Result<Response<Body>, ProxyError> {
        let has_content = !content.is_end_stream();
        let Some((mut seat, upload)) = self.pool.seat(has_content, self.queue_timeout).await else {
            return Err(OriginFault::Busy(self.queue_timeout).into());
        };
        let began = Instant::now();
        if !seat.resume(began) {
            let (stream, alarm) = self.connect(began).await?;
            seat.begin(stream, alarm);
        }
        let mut exchange = Exchange::new(seat, asked, std::mem::take(content), self, began);
        let head = poll_fn(|cx| exchange.poll_head(cx, asked, self.timeout)).await?;
        drop(upload);
        receive::response(head, asked, exchange, self.timeout)
    }

    /// Opens a connection. Its time is part of that for the answer.
    async fn connect(&self, began: Instant) -> Result<(TcpStream, Alarm), OriginFault> {
        let (host, port) = &self.address;
        let patience = self.connect_timeout.min(self.timeout);
        let opened = async {
            let stream = TcpStream::connect((&**host, *port)).await?;
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(stream)
        };
        match tokio::time::timeout(patience, opened).await {
            Ok(Ok(stream)) => Ok((stream, Alarm::new(began + self.timeout))),
            Ok(Err(error)) => Err(OriginFault::Connect(error.to_string())),
            Err(_) if self.connect_timeout > self.timeout => {
                Err(OriginFault::Timeout(self.timeout))
            }
            Err(_) => Err(OriginFault::Connect(format!("no answer within {patience:?}"))),
        }
    }
}

/// A request under way, with the connection that it is on.
pub(super) struct Exchange {
    pub(super) seat: Seat,
    upload: Upload,
    /// Why the request could not be sent to its end: it may have been answered all the same.
    unsent: Option<io::Error>,
    /// How much of an incomplete head was there at the last look.
    seen: usize,
    /// Another exchange may follow on the connection.
    pub(super) persists: bool,
}

impl Exchange {
    fn new(
        mut seat: Seat,
        asked: &Outgoing,
        content: Body,
        server: &Server,
        began: Instant,
    ) -> Self {
        let kept = seat.connection().map(|connection| std::mem::take(&mut connection.lines));
        let mut lines = kept.unwrap_or_default();
        let (path, headers) = (asked.path.as_str(), &asked.headers);
        head::write(&mut lines, (&asked.method, path), headers, server.host(headers));
        let upload = Upload::new(lines, content, asked.framing, began);
        Self { seat, upload, unsent: None, seen: 0, persists: false }
    }

    /// Sends, and waits for the head of a final response.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        asked: &Outgoing,
        limit: Duration,
    ) -> Poll<Result<Head, ProxyError>> {
        if let Poll::Ready(Err(Failed::Content(why))) = self.poll_send(cx) {
            return Poll::Ready(Err(ClientFault::Content(why).into()));
        }
        loop {
            let Some(connection) = self.seat.connection() else {
                return Poll::Ready(Err(ProxyError::Ours("an exchange without a connection")));
            };
            if connection.read.len() > self.seen {
                match head::read(&mut connection.read, self.seen)? {
                    Some(head) if is_interim(head.status) => {
                        self.seen = 0;
                        if let Some(client) = &asked.interim {
                            interim::tell(client, head.status, head.headers);
                        }
                        continue;
                    }
                    Some(head) => return Poll::Ready(Ok(head)),
                    None => self.seen = connection.read.len(),
                }
            }
            match connection.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.broken(None).into())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(self.broken(Some(error)).into()));
                }
                Poll::Pending => {
                    let rung = connection.alarm.poll(self.upload.due(limit), cx);
                    return rung.map(|()| Err(OriginFault::Timeout(limit).into()));
                }
            }
        }
    }

    fn broken(&mut self, read: Option<io::Error>) -> OriginFault {
        let why = self.unsent.take().or(read).map(|error| error.to_string());
        OriginFault::Broken(
            why.unwrap_or_else(|| {
                "the connection was closed before the answer was complete".into()
            }),
        )
    }

    /// Sends what can be sent now; ready once that was all. A connection that fails is for who
    /// reads it to tell: what it said before may be an answer.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        let Some(connection) = self.seat.connection() else { return Poll::Pending };
        if self.unsent.is_some() {
            return Poll::Pending;
        }
        match self.upload.poll(cx, &mut connection.stream) {
            Poll::Ready(Err(Failed::Connection(error))) => {
                self.unsent = Some(error);
                Poll::Pending
            }
            sent => sent,
        }
    }

    /// The first `length` bytes behind the head, if they are here already.
    pub(super) fn whole(&mut self, length: u64) -> Option<Bytes> {
        let read = &mut self.seat.connection()?.read;
        let length = usize::try_from(length).ok().filter(|length| *length <= read.len())?;
        Some(read.split_to(length).freeze())
    }

    /// The response has been read to its end. What is left of the request is still sent, unless the
    /// origin takes nothing of it for `limit`: it may be all the same to the origin, but not to a
    /// client that has more to ask on the connection that it comes from.
    pub(super) fn end(self, limit: Duration) {
        if self.upload.is_done() {
            return self.part();
        }
        let mut exchange = self;
        tokio::spawn(async move {
            let sent = poll_fn(|cx| exchange.poll_rest(cx, limit)).await;
            if sent {
                exchange.part();
            }
        });
    }

    /// Ready with false if there is no sending the rest.
    fn poll_rest(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<bool> {
        if let Poll::Ready(sent) = self.poll_send(cx) {
            return Poll::Ready(sent.is_ok());
        }
        let Some(connection) = self.seat.connection().filter(|_| self.unsent.is_none()) else {
            return Poll::Ready(false);
        };
        connection.alarm.poll(self.upload.due(limit), cx).map(|()| false)
    }

    fn part(self) {
        if self.persists {
            self.seat.leave(self.upload.into_buffer());
        }
    }
}

/// An interim response is followed by another one; 101 is not, and what is below it is none of HTTP.
fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}
