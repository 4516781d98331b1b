//! A client that says little: `client.get("/a").await.is_hit()`.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body::Body as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::wait::soon;

type Sending = UnsyncBoxBody<Bytes, std::io::Error>;

/// A client of one server, with connections that it keeps.
#[derive(Clone)]
pub(crate) struct Client {
    server: SocketAddr,
    http: hyper_util::client::legacy::Client<HttpConnector, Sending>,
}

impl Client {
    pub(crate) fn of(server: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { server, http }
    }

    /// The same over HTTP/2, by prior knowledge.
    pub(crate) fn over_http2(&self) -> Self {
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build(HttpConnector::new());
        Self { http, ..*self }
    }

    /// Where it connects to.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.server
    }

    /// A GET without anything particular.
    pub(crate) async fn get(&self, target: &str) -> Reply {
        self.asks("GET", target).send().await
    }

    /// A request about to be sent.
    pub(crate) fn asks(&self, method: &str, target: &str) -> Asking {
        let mut request = Request::new(empty());
        *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("a method");
        let uri = format!("http://{}{target}", self.server);
        *request.uri_mut() = uri.parse().expect("a request target");
        Asking { client: self.clone(), request }
    }

    /// The same request from many clients at once; their answers.
    pub(crate) async fn crowd(&self, size: usize, target: &str) -> Vec<Reply> {
        self.crowd_of(size, |client, _| client.asks("GET", target)).await
    }

    /// Many requests at once; their answers.
    pub(crate) async fn crowd_of(
        &self,
        size: usize,
        asking: impl Fn(&Self, usize) -> Asking,
    ) -> Vec<Reply> {
        let sent: Vec<_> = (0..size).map(|n| tokio::spawn(asking(self, n).send())).collect();
        let mut replies = Vec::with_capacity(size);
        for reply in sent {
            replies.push(reply.await.expect("a client that got its answer"));
        }
        replies
    }
}

fn empty() -> Sending {
    full("")
}

fn full(content: &str) -> Sending {
    Full::new(Bytes::copy_from_slice(content.as_bytes()))
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A request about to be sent.
pub(crate) struct Asking {
    client: Client,
    request: Request<Sending>,
}

impl Asking {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        let name = http::HeaderName::from_static(name);
        self.request.headers_mut().append(name, value.parse().expect("a field value"));
        self
    }

    /// A value that is no text.
    pub(crate) fn octets(mut self, name: &'static str, value: &[u8]) -> Self {
        let value = http::HeaderValue::from_bytes(value).expect("a field value");
        self.request.headers_mut().append(http::HeaderName::from_static(name), value);
        self
    }

    /// Asks for this host instead of the server's address.
    pub(crate) fn host(self, host: &str) -> Self {
        self.header("host", host)
    }

    pub(crate) fn content(mut self, content: &str) -> Self {
        *self.request.body_mut() = full(content);
        self
    }

    pub(crate) fn json(self, content: &serde_json::Value) -> Self {
        self.header("content-type", "application/json").content(&content.to_string())
    }

    /// Content that is sent piece by piece.
    pub(crate) fn streaming(mut self, body: tokio::sync::mpsc::Receiver<Bytes>) -> Self {
        *self.request.body_mut() = Pieces(body).map_err(|never| match never {}).boxed_unsync();
        self
    }

    /// The whole answer. It comes soon, or the test fails.
    pub(crate) async fn send(self) -> Reply {
        let what = format!("{} {}", self.request.method(), self.request.uri());
        soon(&what, async { self.open().await.rest().await }).await
    }

    /// The head of the answer, the content still to be read. It comes soon, or the test fails.
    pub(crate) async fn open(self) -> Live {
        let what = format!("{} {}", self.request.method(), self.request.uri());
        match soon(&what, self.try_open()).await {
            Ok(live) => live,
            Err(error) => panic!("{what}: {error:?}"),
        }
    }

    /// The same, once `act` has let the origin send something: heads may wait for content.
    pub(crate) async fn open_after(self, act: impl FnOnce()) -> Live {
        act();
        self.open().await
    }

    /// The head of the answer, whenever it comes.
    pub(crate) async fn try_open(self) -> Result<Live, hyper_util::client::legacy::Error> {
        let response = self.client.http.request(self.request).await?;
        let (parts, body) = response.into_parts();
        Ok(Live { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

/// Content that comes from a channel.
struct Pieces(tokio::sync::mpsc::Receiver<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|p| Ok(http_body::Frame::data(p))))
    }
}

/// An answer whose content is still arriving.
pub(crate) struct Live {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: Incoming,
}

impl Live {
    /// Waits for the next piece; `None` at the end, or if it breaks off.
    pub(crate) async fn piece(&mut self) -> Option<Bytes> {
        loop {
            let frame = soon("a piece of content", self.body.frame()).await?;
            if let Ok(piece) = frame.ok()?.into_data() {
                return Some(piece);
            }
        }
    }

    /// Reads this many bytes of text.
    pub(crate) async fn text(&mut self, length: usize) -> String {
        let mut text = String::new();
        while text.len() < length {
            let piece = self.piece().await.expect("more content");
            text.push_str(&String::from_utf8_lossy(&piece));
        }
        text
    }

    /// Reads all of it without keeping it; how much it was, and whether it was whole.
    pub(crate) async fn drain(mut self) -> (u64, bool) {
        let mut read = 0;
        while let Some(frame) = self.body.frame().await {
            let Ok(frame) = frame else { return (read, false) };
            read += frame.data_ref().map_or(0, |piece| piece.len() as u64);
        }
        (read, true)
    }

    /// The length that the head announces.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The whole answer.
    pub(crate) async fn rest(mut self) -> Reply {
        let mut content = Vec::new();
        let mut whole = true;
        while let Some(frame) = self.body.frame().await {
            match frame {
                Ok(frame) => content.extend_from_slice(frame.data_ref().map_or(&[], |b| b)),
                Err(_) => whole = false,
            }
        }
        Reply { status: self.status, headers: self.headers, content, whole }
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    content: Vec<u8>,
    /// False if the transfer was aborted.
    pub(crate) whole: bool,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.content)
            .unwrap_or_else(|e| panic!("not JSON ({e}): {self:?} {}", self.text()))
    }

    /// A field's value, as text; empty if there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// Seconds in `Age`, if there is one.
    pub(crate) fn age(&self) -> Option<u64> {
        self.field("age").parse().ok()
    }

    /// What this proxy says it did (RFC 9211).
    pub(crate) fn status(&self) -> CacheStatus {
        CacheStatus(self.field("cache-status").to_owned())
    }

    /// Was it answered from the store, fresh?
    pub(crate) fn is_hit(&self) -> bool {
        self.status().has("hit") && self.status().value("detail").is_none()
    }

    /// Was it answered from the store, stale?
    pub(crate) fn is_stale(&self) -> bool {
        self.status().has("hit") && self.status().value("detail").is_some()
    }

    /// Was the origin asked for this very request?
    pub(crate) fn is_forwarded(&self) -> bool {
        self.status().value("fwd").is_some() && !self.status().has("collapsed")
    }

    /// Was it answered by what the origin said to another request? Fresh from the store, or, when
    /// it comes hard on that other request's heels, together with it.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_hit() || self.status().has("collapsed")
    }

    /// Fails unless it has this status and content.
    #[track_caller]
    pub(crate) fn expect(self, status: u16, text: &str) -> Self {
        assert!(
            self.status == status && self.text() == text && self.whole,
            "expected {status} {text:?}, got {} {:?} (whole: {}) {:?}",
            self.status,
            self.text(),
            self.whole,
            self.headers
        );
        self
    }
}

/// A `Cache-Status` field with one member.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CacheStatus(String);

impl CacheStatus {
    /// Is this parameter there?
    pub(crate) fn has(&self, name: &str) -> bool {
        self.parameters().any(|(n, _)| n == name)
    }

    /// The value of a parameter that has one.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.parameters().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.split(';').skip(1).map(|parameter| {
            let parameter = parameter.trim();
            match parameter.split_once('=') {
                Some((name, value)) => (name, value.trim_matches('"')),
                None => (parameter, ""),
            }
        })
    }
}
