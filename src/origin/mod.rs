//! Where fresh answers come from. A request goes in, a response comes out; nothing here knows of
//! caching.
//!
//! | what happens | comes out as | tried again |
//! |---|---|---|
//! | no connection can be opened | `Connect` | on every other server: nothing was sent |
//! | no connection becomes free | `Busy` | no |
//! | a pooled connection was closed before anything was sent on it | – | by the pool |
//! | the connection breaks before the head is complete | `Broken` | once, if the method is safe and there is no content, or all of it is in memory |
//! | the head does not come in time | `Timeout` | no |
//! | the head is not HTTP that can be forwarded | `Malformed` | no |
//! | the head is an interim one (102 to 199) | told to the client that asks, and waited on | – |
//! | the client's content fails on the way | `ClientFault::Content` | no |
//! | the content breaks off or stalls | an error of the response's body | no |

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, request};
use http_body::Body as _;
use tower::Service;

use crate::body::Body;
use crate::config;
use crate::error::{OriginFault, ProxyError};
use crate::peer::Interim;
use crate::semantics::invalidation::is_unsafe;

mod alarm;
mod balance;
mod chunks;
mod client;
mod head;
mod interim;
mod pool;
mod receive;
mod upload;

use balance::Servers;
use upload::Framing;

/// All servers of the origin, as one service. Clones share connections and limits.
#[derive(Clone, Debug)]
pub struct Origin(Arc<Servers>);

impl Origin {
    /// Opens nothing yet: connections are made when they are needed.
    ///
    /// # Errors
    ///
    /// A sentence for the operator: no server, a server behind TLS, a host that is none.
    pub fn new(config: &config::Origin) -> Result<Self, String> {
        Servers::new(config).map(|servers| Self(Arc::new(servers)))
    }
}

impl Service<Request<Body>> for Origin {
    type Response = Response<Body>;
    type Error = ProxyError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, ProxyError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let servers = Arc::clone(&self.0);
        Box::pin(async move { send(&servers, request).await })
    }
}

async fn send(servers: &Servers, request: Request<Body>) -> Result<Response<Body>, ProxyError> {
    let (head, mut content) = request.into_parts();
    // What is whole is at hand a second time; what streams is gone when it was sent.
    let again = content.whole().filter(|_| !is_unsafe(&head.method));
    let head = outgoing(head, &content);
    let mut tried = Vec::new();
    let mut broken_before = false;
    let mut last = None;
    while let Some(server) = servers.next(&tried) {
        match server.exchange(&head, &mut content).await {
            Err(ProxyError::Origin(fault @ OriginFault::Connect(_))) => {
                tracing::debug!(server = %server.name(), error = %fault, "server skipped");
                servers.rest(server);
                tried.push(server.index());
                last = Some(fault);
            }
            // RFC 9110 §9.2.2: an idempotent request may be repeated when the connection closes.
            Err(ProxyError::Origin(fault @ OriginFault::Broken(_)))
                if let Some(again) = &again
                    && !broken_before =>
            {
                content = Body::full(again.clone());
                tracing::debug!(server = %server.name(), error = %fault, "asked once more");
                broken_before = true;
                last = Some(fault);
            }
            outcome => return outcome,
        }
    }
    Err(last.map_or(ProxyError::Ours("an origin without servers"), ProxyError::from))
}

/// The head as it is sent, but for what depends on the server: framing is of our own making.
fn outgoing(mut head: request::Parts, content: &Body) -> Outgoing {
    let path = head.uri.path_and_query().cloned();
    let framing = frame(&mut head.headers, content);
    Outgoing {
        interim: head.extensions.remove::<Interim>(),
        upgrade: head.headers.contains_key(http::header::UPGRADE),
        method: head.method,
        path: path.unwrap_or_else(|| PathAndQuery::from_static("/")),
        headers: head.headers,
        framing,
    }
}

fn frame(headers: &mut HeaderMap, content: &Body) -> Framing {
    headers.remove(TRANSFER_ENCODING);
    if content.is_end_stream() {
        // RFC 9112 §6.3: a length that nothing follows would take the next request for content.
        if headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0") {
            headers.remove(CONTENT_LENGTH);
        }
        return Framing::Nothing;
    }
    if let Some(length) = headers.get(CONTENT_LENGTH).and_then(number) {
        return Framing::Length(length);
    }
    headers.remove(CONTENT_LENGTH);
    if let Some(length) = content.size_hint().exact() {
        headers.append(CONTENT_LENGTH, HeaderValue::from(length));
        return Framing::Length(length);
    }
    // Said in so many words: for GET and HEAD it is not assumed that there is content.
    headers.append(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    Framing::Chunked
}

/// What a length says, if it is digits alone.
fn number(length: &HeaderValue) -> Option<u64> {
    let digits = length.to_str().ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// A request's head, to be sent to one server or, if that fails, to another.
#[derive(Debug)]
struct Outgoing {
    method: Method,
    path: PathAndQuery,
    headers: HeaderMap,
    /// Of its content; `headers` say the same.
    framing: Framing,
    /// A 101 may come back.
    upgrade: bool,
    /// Who is told of interim responses.
    interim: Option<Interim>,
}
