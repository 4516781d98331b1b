//! An origin that does what a test tells it: in this process, on a port of its own, over real
//! sockets. It counts what it is asked and remembers it.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Sleep;

/// The origin of one test. Ends when it is dropped.
pub(crate) struct Origin {
    address: SocketAddr,
    script: Arc<Script>,
    phase: Phase,
}

/// Listening, or refusing connections while it keeps its port.
enum Phase {
    Running(JoinHandle<()>),
    Refusing(Option<TcpSocket>),
}

/// What it answers, and what it was asked.
#[derive(Default)]
struct Script {
    rules: Mutex<HashMap<(Option<Method>, String), Rule>>,
    asked: Mutex<Vec<Arc<Asked>>>,
    open: AtomicUsize,
}

type Rule = Arc<dyn Fn(&Asked) -> Answer + Send + Sync>;

/// A request as the origin got it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    /// How many requests for this path came before it.
    pub(crate) before: usize,
    content: Mutex<Vec<u8>>,
}

impl Asked {
    /// The path without the query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A field's value, as text; empty if there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// The content that has arrived so far.
    pub(crate) fn content(&self) -> String {
        String::from_utf8_lossy(&lock(&self.content)).into_owned()
    }
}

impl Origin {
    /// Starts one that answers 404 to everything it was not told about.
    pub(crate) fn start() -> Self {
        let mut origin = Self::refusing();
        origin.resume();
        origin
    }

    /// One that refuses connections until it is told to [`Self::resume`].
    pub(crate) fn refusing() -> Self {
        let socket = bound((Ipv4Addr::LOCALHOST, 0).into());
        let address = socket.local_addr().expect("a bound address");
        Self { address, script: Arc::default(), phase: Phase::Refusing(Some(socket)) }
    }

    /// Its URL, as for `origin.url`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it does when any method asks for this path, whatever the query.
    pub(crate) fn on<'o>(&'o self, path: &'o str) -> On<'o> {
        On { origin: self, method: None, path }
    }

    /// The same for one method, which comes before [`Self::on`].
    pub(crate) fn when<'o>(&'o self, method: &str, path: &'o str) -> On<'o> {
        let method = Some(method.parse().expect("a method"));
        On { origin: self, method, path }
    }

    /// How many requests for this path it has got, of any method.
    pub(crate) fn saw(&self, path: &str) -> usize {
        lock(&self.script.asked).iter().filter(|asked| asked.path() == path).count()
    }

    /// How many of them were of this method.
    pub(crate) fn saw_method(&self, method: &str, path: &str) -> usize {
        self.asked(path).iter().filter(|asked| asked.method == method).count()
    }

    /// The requests for this path, in the order in which they came.
    pub(crate) fn asked(&self, path: &str) -> Vec<Arc<Asked>> {
        lock(&self.script.asked).iter().filter(|asked| asked.path() == path).cloned().collect()
    }

    /// Connections that are open to it now.
    pub(crate) fn connections(&self) -> usize {
        self.script.open.load(Ordering::Relaxed)
    }

    /// Closes every connection and refuses new ones, on the same port.
    pub(crate) async fn stop(&mut self) {
        let refusing = Phase::Refusing(None);
        if let Phase::Running(server) = std::mem::replace(&mut self.phase, refusing) {
            server.abort();
            let _ = server.await;
        }
        // Bound but not listening: nobody else gets the port, and who connects is refused.
        self.phase = Phase::Refusing(Some(bound(self.address)));
    }

    /// Takes connections (again).
    pub(crate) fn resume(&mut self) {
        if let Phase::Refusing(socket) = &mut self.phase {
            let socket = socket.take().expect("the port was kept");
            let listener = socket.listen(4096).expect("a listening socket");
            let script = Arc::clone(&self.script);
            self.phase = Phase::Running(tokio::spawn(serve(listener, script)));
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Phase::Running(server) = &self.phase {
            server.abort();
        }
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option of sockets");
    socket.bind(address).expect("a free port");
    socket
}

/// A rule about to be made.
pub(crate) struct On<'o> {
    origin: &'o Origin,
    method: Option<Method>,
    path: &'o str,
}

impl On<'_> {
    /// The same answer every time.
    pub(crate) fn replies(self, answer: Answer) {
        self.answers(move |_| answer.clone());
    }

    /// An answer made when the request arrives.
    pub(crate) fn answers(self, rule: impl Fn(&Asked) -> Answer + Send + Sync + 'static) {
        let key = (self.method, self.path.to_owned());
        lock(&self.origin.script.rules).insert(key, Arc::new(rule));
    }
}

/// What the origin answers.
#[derive(Clone)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    content: Content,
    /// Waits for this before it sends the head.
    gate: Option<Gate>,
    delay: Duration,
}

#[derive(Clone)]
enum Content {
    Whole(Bytes),
    /// This much of it is sent, then the connection closes.
    CutAfter {
        whole: Bytes,
        sent: usize,
        chunked: bool,
    },
    /// This many bytes, made up as they are sent; with or without saying so in the head.
    Endless {
        length: u64,
        announced: bool,
    },
    Taps(Tap),
    /// 101, and everything comes back in upper case.
    Upgrade,
    /// The connection closes instead of an answer.
    Lost,
}

/// 200 with this content.
pub(crate) fn ok(content: impl Into<Bytes>) -> Answer {
    Answer {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        content: Content::Whole(content.into()),
        gate: None,
        delay: Duration::ZERO,
    }
}

/// This status, with its number as content.
pub(crate) fn status(code: u16) -> Answer {
    let status = StatusCode::from_u16(code).expect("a status");
    let empty = status.is_informational() || code == 204 || code == 304;
    let content = if empty { String::new() } else { code.to_string() };
    Answer { status, ..ok(content) }
}

/// No answer: the connection closes when it would have come.
pub(crate) fn lost() -> Answer {
    Answer { content: Content::Lost, ..status(500) }
}

/// 200 with JSON.
pub(crate) fn json(content: &str) -> Answer {
    ok(content.to_owned()).header("content-type", "application/json")
}

impl Answer {
    /// With this status instead.
    pub(crate) fn code(self, code: u16) -> Self {
        Self { status: StatusCode::from_u16(code).expect("a status"), ..self }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("a field value");
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    /// A value that is no text.
    pub(crate) fn octets(mut self, name: &'static str, value: &[u8]) -> Self {
        let value = HeaderValue::from_bytes(value).expect("a field value");
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    pub(crate) fn max_age(self, seconds: u64) -> Self {
        self.header("cache-control", &format!("max-age={seconds}"))
    }

    /// Its head is not sent before the gate is open; what it says was fixed when it was asked.
    pub(crate) fn after(self, gate: &Gate) -> Self {
        Self { gate: Some(gate.clone()), ..self }
    }

    /// Its head is sent this much later: an origin that takes its time.
    pub(crate) fn delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Its content breaks off after this many bytes, the length being announced.
    pub(crate) fn cut_after(self, sent: usize) -> Self {
        self.cut(sent, false)
    }

    /// The same for content that comes in chunks.
    pub(crate) fn cut_chunked_after(self, sent: usize) -> Self {
        self.cut(sent, true)
    }

    fn cut(self, sent: usize, chunked: bool) -> Self {
        let Content::Whole(whole) = self.content else { panic!("only whole content can be cut") };
        Self { content: Content::CutAfter { whole, sent, chunked }, ..self }
    }

    /// Its content is this long.
    pub(crate) fn endless(self, length: u64, announced: bool) -> Self {
        Self { content: Content::Endless { length, announced }, ..self }
    }

    /// Its content is what the test says, when it says it.
    pub(crate) fn told_by(self, tap: &Tap) -> Self {
        Self { content: Content::Taps(tap.clone()), ..self }
    }

    /// 101 for a protocol that answers in upper case.
    pub(crate) fn upgrades() -> Self {
        Self { content: Content::Upgrade, ..status(101) }
    }
}

/// Holds answers back until it is opened; then it stays open.
#[derive(Clone)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    async fn passed(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// Where the test lets content out of the origin, piece by piece. For one answer.
#[derive(Clone)]
pub(crate) struct Tap {
    pieces: mpsc::UnboundedSender<Option<Bytes>>,
    out: Arc<Mutex<Option<mpsc::UnboundedReceiver<Option<Bytes>>>>>,
}

impl Tap {
    pub(crate) fn new() -> Self {
        let (pieces, out) = mpsc::unbounded_channel();
        Self { pieces, out: Arc::new(Mutex::new(Some(out))) }
    }

    /// Sends a piece.
    pub(crate) fn send(&self, piece: impl Into<Bytes>) {
        let _ = self.pieces.send(Some(piece.into()));
    }

    /// Ends the content.
    pub(crate) fn end(&self) {
        let _ = self.pieces.send(None);
    }
}

/// A value that several rules share and a test may look at: what a resource is at the moment.
#[derive(Clone)]
pub(crate) struct Resource(Arc<Mutex<String>>);

impl Resource {
    pub(crate) fn new(value: &str) -> Self {
        Self(Arc::new(Mutex::new(value.to_owned())))
    }

    pub(crate) fn get(&self) -> String {
        lock(&self.0).clone()
    }

    pub(crate) fn set(&self, value: &str) {
        value.clone_into(&mut lock(&self.0));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}

async fn serve(listener: TcpListener, script: Arc<Script>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let script = Arc::clone(&script);
                connections.spawn(async move {
                    let _ = stream.set_nodelay(true);
                    let open = Open::new(&script);
                    let service = service_fn(|request| respond(Arc::clone(&script), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
                        .await;
                    drop(open);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Counts a connection as long as it lives.
struct Open(Arc<Script>);

impl Open {
    fn new(script: &Arc<Script>) -> Self {
        script.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(script))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn respond(
    script: Arc<Script>,
    request: Request<Incoming>,
) -> Result<Response<Sent>, BrokenOff> {
    let (parts, mut body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let asked = {
        let mut all = lock(&script.asked);
        let before = all.iter().filter(|a| a.path() == parts.uri.path()).count();
        let asked = Arc::new(Asked {
            method: parts.method.clone(),
            target,
            headers: parts.headers.clone(),
            before,
            content: Mutex::default(),
        });
        all.push(Arc::clone(&asked));
        asked
    };
    let upgrading = parts.headers.contains_key(http::header::UPGRADE);
    while !upgrading && let Some(Ok(frame)) = body.frame().await {
        if let Some(piece) = frame.data_ref() {
            lock(&asked.content).extend_from_slice(piece);
        }
    }
    let answer = script.answer(&asked);
    if !answer.delay.is_zero() {
        tokio::time::sleep(answer.delay).await;
    }
    if let Some(gate) = &answer.gate {
        gate.passed().await;
    }
    if matches!(answer.content, Content::Upgrade) {
        let request = Request::from_parts(parts, body);
        tokio::spawn(shout(request));
    }
    if matches!(answer.content, Content::Lost) {
        return Err(BrokenOff);
    }
    Ok(answer.response())
}

/// Answers everything in upper case, once the connection has changed its protocol.
async fn shout(request: Request<Incoming>) {
    let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
    let mut stream = TokioIo::new(upgraded);
    let mut buffer = [0; 256];
    while let Ok(read) = stream.read(&mut buffer).await
        && read > 0
    {
        let loud = buffer[..read].to_ascii_uppercase();
        if stream.write_all(&loud).await.is_err() {
            return;
        }
    }
}

impl Script {
    fn answer(&self, asked: &Asked) -> Answer {
        let path = asked.path().to_owned();
        let rule = {
            let rules = lock(&self.rules);
            rules
                .get(&(Some(asked.method.clone()), path.clone()))
                .or_else(|| rules.get(&(None, path)))
                .cloned()
        };
        rule.map_or_else(|| status(404), |rule| rule(asked))
    }
}

impl Answer {
    fn response(self) -> Response<Sent> {
        let sent = match self.content {
            Content::Whole(bytes) => Sent::Whole(Some(bytes).filter(|b| !b.is_empty())),
            Content::CutAfter { whole, sent, chunked } => Sent::Cut {
                length: (!chunked).then_some(whole.len() as u64),
                rest: Some(whole.slice(..sent.min(whole.len()))).filter(|rest| !rest.is_empty()),
                // Time for what was sent to leave: breaking off would take it along.
                pause: Box::pin(tokio::time::sleep(Duration::from_millis(20))),
            },
            Content::Endless { length, announced } => {
                Sent::Endless { left: length, announced, piece: Bytes::from(vec![b'x'; 64 << 10]) }
            }
            Content::Taps(tap) => {
                Sent::Tapped(lock(&tap.out).take().expect("a tap is for one answer"))
            }
            Content::Lost => Sent::Whole(None),
            Content::Upgrade => {
                let mut response = Response::new(Sent::Whole(None));
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                for (name, value) in [("connection", "upgrade"), ("upgrade", "shout")] {
                    response.headers_mut().append(name, HeaderValue::from_static(value));
                }
                return response;
            }
        };
        let mut response = Response::new(sent);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// Content on its way out.
enum Sent {
    Whole(Option<Bytes>),
    Cut { length: Option<u64>, rest: Option<Bytes>, pause: Pin<Box<Sleep>> },
    Endless { left: u64, announced: bool, piece: Bytes },
    Tapped(mpsc::UnboundedReceiver<Option<Bytes>>),
}

/// The origin breaks off on purpose.
#[derive(Debug)]
struct BrokenOff;

impl std::fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken off on purpose")
    }
}

impl std::error::Error for BrokenOff {}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Cut { rest, pause, .. } => match rest.take() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None => pause.as_mut().poll(cx).map(|()| Some(Err(BrokenOff))),
            },
            Self::Endless { left: 0, .. } => Poll::Ready(None),
            Self::Endless { left, piece, .. } => {
                let now = (*left).min(piece.len() as u64);
                *left -= now;
                let now = usize::try_from(now).unwrap_or(piece.len());
                Poll::Ready(Some(Ok(Frame::data(piece.slice(..now)))))
            }
            Self::Tapped(out) => {
                out.poll_recv(cx).map(|piece| piece.flatten().map(|p| Ok(Frame::data(p))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None) | Self::Endless { left: 0, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Self::Cut { length: Some(length), .. } => SizeHint::with_exact(*length),
            Self::Endless { left, announced: true, .. } => SizeHint::with_exact(*left),
            _ => SizeHint::default(),
        }
    }
}

/// An origin without manners: sends these bytes to whoever connects and has asked something, and
/// closes.
pub(crate) struct RawOrigin {
    address: SocketAddr,
    answered: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl RawOrigin {
    pub(crate) async fn sending(bytes: &'static [u8]) -> Self {
        let open = Gate::closed();
        open.open();
        Self::sending_in_two(bytes, &open, b"").await
    }

    /// The same, but for `rest`, which it sends once the gate is open.
    pub(crate) async fn sending_in_two(
        bytes: &'static [u8],
        gate: &Gate,
        rest: &'static [u8],
    ) -> Self {
        let gate = gate.clone();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let answered = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&answered);
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (counted, gate) = (Arc::clone(&counted), gate.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    let mut buffer = [0; 1024];
                    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                        match stream.read(&mut buffer).await {
                            Ok(read) if read > 0 => head.extend_from_slice(&buffer[..read]),
                            _ => return,
                        }
                    }
                    counted.fetch_add(1, Ordering::Relaxed);
                    let _ = stream.write_all(bytes).await;
                    gate.passed().await;
                    let _ = stream.write_all(rest).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { address, answered, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Drop for RawOrigin {
    fn drop(&mut self) {
        self.server.abort();
    }
}
