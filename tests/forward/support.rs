//! An origin that records what it is sent and does as its script says, the proxy in front of it,
//! and a client that speaks in raw bytes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::config::{self, HostPolicy, Limits, OriginUrl};
use larder::layers::admit::AdmitLayer;
use larder::layers::forward::ForwardLayer;
use larder::layers::rescue::RescueLayer;
use larder::server::{self, DrainReport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tower::Layer;

/// Longer than anything here takes; reaching it is a failure.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What the origin does with a request.
pub(super) enum Step {
    Write(Vec<u8>),
    /// Until somebody notifies.
    Wait(Arc<Notify>),
    /// Sends back what comes, until it ends.
    Echo,
    /// Neither answers nor leaves.
    Hang,
    Close,
}

pub(super) fn write(bytes: impl Into<Vec<u8>>) -> Step {
    Step::Write(bytes.into())
}

/// `200` with this content and nothing else.
pub(super) fn ok(content: &str) -> Vec<Step> {
    vec![write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{content}", content.len()))]
}

/// A request as the origin received it.
#[derive(Clone, Debug)]
pub(super) struct Received {
    /// Request line and fields, without the empty line.
    pub(super) head: String,
    pub(super) content: Vec<u8>,
}

impl Received {
    pub(super) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// Values of all lines of a field.
    pub(super) fn field(&self, name: &str) -> Vec<&str> {
        field(&self.head, name)
    }
}

pub(super) fn field<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    head.lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .filter(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

#[derive(Default)]
struct Record {
    received: Mutex<Vec<Received>>,
    /// Messages that began and never became whole.
    broken: AtomicUsize,
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

pub(super) struct Origin {
    pub(super) address: SocketAddr,
    record: Arc<Record>,
    accepting: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Origin {
    pub(super) async fn start(
        script: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let record = Arc::new(Record::default());
        let script = Arc::new(script);
        let shared = Arc::clone(&record);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (record, script) = (Arc::clone(&shared), Arc::clone(&script));
                record.connections.fetch_add(1, Ordering::SeqCst);
                let open = record.open.fetch_add(1, Ordering::SeqCst) + 1;
                record.most_open.fetch_max(open, Ordering::SeqCst);
                tokio::spawn(async move {
                    converse(stream, &record, &*script).await;
                    record.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, record, accepting }
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.record.received.lock().unwrap().clone()
    }

    /// The only request there was.
    pub(super) fn only(&self) -> Received {
        let received = self.received();
        assert_eq!(received.len(), 1, "{received:#?}");
        received.into_iter().next().unwrap()
    }

    pub(super) fn connections(&self) -> usize {
        self.record.connections.load(Ordering::SeqCst)
    }

    pub(super) fn most_open(&self) -> usize {
        self.record.most_open.load(Ordering::SeqCst)
    }

    pub(super) fn open(&self) -> usize {
        self.record.open.load(Ordering::SeqCst)
    }

    pub(super) fn broken(&self) -> usize {
        self.record.broken.load(Ordering::SeqCst)
    }
}

async fn converse(
    mut stream: TcpStream,
    record: &Record,
    script: &(dyn Fn(&Received) -> Vec<Step> + Send + Sync),
) {
    let mut buffer = Vec::new();
    loop {
        let received = match receive(&mut stream, &mut buffer).await {
            Ok(Some(received)) => received,
            Ok(None) => return,
            Err(()) => {
                record.broken.fetch_add(1, Ordering::SeqCst);
                return;
            }
        };
        let steps = script(&received);
        record.received.lock().unwrap().push(received);
        for step in steps {
            let done = match step {
                Step::Write(bytes) => stream.write_all(&bytes).await.is_err(),
                Step::Wait(notify) => {
                    notify.notified().await;
                    false
                }
                Step::Echo => {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                    true
                }
                Step::Hang => {
                    // Reads on, to notice when the proxy leaves.
                    let mut bin = [0; 1024];
                    while stream.read(&mut bin).await.is_ok_and(|n| n > 0) {}
                    true
                }
                Step::Close => true,
            };
            if done {
                return;
            }
        }
    }
}

/// One whole message, read strictly; `None` if there is none, `Err` if it is not whole.
async fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<Option<Received>, ()> {
    let end = loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            break end;
        }
        if !fill(stream, buffer).await {
            return if buffer.is_empty() { Ok(None) } else { Err(()) };
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut content = Vec::new();
    let codings = field(&head, "transfer-encoding");
    let lengths = field(&head, "content-length");
    assert!(codings.len() + lengths.len() <= 1, "ambiguous framing reached the origin: {head}");
    if let Some(length) = lengths.first() {
        let length: usize = length.parse().expect("a length");
        while buffer.len() < length {
            if !fill(stream, buffer).await {
                return Err(());
            }
        }
        content.extend(buffer.drain(..length));
    } else if let Some(coding) = codings.first() {
        assert_eq!(*coding, "chunked", "{head}");
        loop {
            let line = loop {
                if let Some(end) = find(buffer, b"\r\n") {
                    break buffer.drain(..end + 2).collect::<Vec<_>>();
                }
                if !fill(stream, buffer).await {
                    return Err(());
                }
            };
            let size = std::str::from_utf8(&line[..line.len() - 2]).unwrap();
            let size = usize::from_str_radix(size, 16).expect("a chunk size and nothing else");
            while buffer.len() < size + 2 {
                if !fill(stream, buffer).await {
                    return Err(());
                }
            }
            content.extend(buffer.drain(..size));
            assert_eq!(buffer.drain(..2).collect::<Vec<_>>(), b"\r\n", "the end of a chunk");
            if size == 0 {
                break;
            }
        }
    }
    Ok(Some(Received { head, content }))
}

async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    let mut piece = [0; 16 * 1024];
    match stream.read(&mut piece).await {
        Ok(n) if n > 0 => {
            buffer.extend_from_slice(&piece[..n]);
            true
        }
        _ => false,
    }
}

pub(super) fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// Everything that a test may want to change.
pub(super) struct Settings {
    pub(super) limits: Limits,
    pub(super) origin: config::Origin,
}

pub(super) fn settings(origins: &[SocketAddr]) -> Settings {
    let url = |address: &SocketAddr| OriginUrl {
        tls: false,
        host: address.ip().to_string().into(),
        port: address.port(),
    };
    Settings {
        limits: Limits {
            max_requests: 1000,
            max_connections: 1000,
            header_timeout: PATIENCE,
            body_timeout: PATIENCE,
            write_timeout: PATIENCE,
            drain_timeout: PATIENCE,
            max_target: 8 * 1024,
            max_fields_bytes: 32 * 1024,
            max_fields: 100,
            trusted_proxies: Vec::new(),
        },
        origin: config::Origin {
            urls: origins.iter().map(url).collect(),
            timeout: PATIENCE,
            connect_timeout: Duration::from_secs(2),
            max_connections: 64,
            queue_timeout: PATIENCE,
            idle_timeout: PATIENCE,
            host: HostPolicy::Preserve,
            max_refreshes: 8,
            retry_after: Duration::from_secs(1),
        },
    }
}

pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    pub(super) admit: AdmitLayer,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<DrainReport>,
}

impl Proxy {
    pub(super) fn start(origin: &Origin) -> Self {
        Self::with(settings(&[origin.address]))
    }

    pub(super) fn with(settings: Settings) -> Self {
        let listener = server::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let Settings { limits, origin } = settings;
        let origin = larder::origin::Origin::new(&origin).unwrap();
        let admit = AdmitLayer::new(limits.max_requests);
        let service = RescueLayer.layer(admit.layer(ForwardLayer::new(&limits).layer(origin)));
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            server::serve(listener, (service, ()), &limits, stopped).await
        });
        Self { address, admit, stop: Some(stop), served }
    }

    /// Begins the drain.
    pub(super) fn stop(&mut self) {
        let _ = self.stop.take().expect("stopped once").send(());
    }

    pub(super) async fn stopped(self) -> DrainReport {
        self.served.await.unwrap()
    }

    pub(super) async fn connect(&self) -> Client {
        Client::on(TcpStream::connect(self.address).await.unwrap())
    }

    /// Sends `bytes` on a connection of their own and returns the one response to them.
    pub(super) async fn tell(&self, bytes: impl AsRef<[u8]>) -> Reply {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client.reply().await
    }

    /// `GET path` from `a.test`.
    pub(super) async fn get(&self, path: &str) -> Reply {
        self.tell(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await
    }
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) content: Vec<u8>,
    /// False if the connection closed before the response was whole.
    pub(super) whole: bool,
}

impl Reply {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }

    pub(super) fn field(&self, name: &str) -> Vec<&str> {
        field(&self.head, name)
    }

    pub(super) fn problem(&self) -> serde_json::Value {
        assert_eq!(self.field("content-type"), ["application/problem+json"], "{self:?}");
        serde_json::from_slice(&self.content).unwrap()
    }
}

pub(super) struct Client {
    pub(super) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(super) const fn on(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The proxy may refuse and close before all is written.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// One response to something other than HEAD, or what there is of it.
    pub(super) async fn reply(&mut self) -> Reply {
        tokio::time::timeout(PATIENCE, self.read_reply()).await.expect("a response in time")
    }

    /// Status line and fields.
    pub(super) async fn head(&mut self) -> String {
        let read = async {
            loop {
                if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                    let head = self.buffer.drain(..end + 4).collect::<Vec<_>>();
                    return String::from_utf8(head).unwrap();
                }
                if !fill(&mut self.stream, &mut self.buffer).await {
                    return String::new();
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("a head in time")
    }

    /// At least `n` bytes of content, raw.
    pub(super) async fn some(&mut self, n: usize) -> Vec<u8> {
        let read = async {
            while self.buffer.len() < n && fill(&mut self.stream, &mut self.buffer).await {}
        };
        tokio::time::timeout(PATIENCE, read).await.expect("bytes in time");
        std::mem::take(&mut self.buffer)
    }

    /// Everything until the proxy closes.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        self.some(usize::MAX).await
    }

    /// True if the proxy closes within the patience of a test, saying nothing more.
    pub(super) async fn is_closed(&mut self) -> bool {
        self.rest().await.is_empty()
    }

    async fn read_reply(&mut self) -> Reply {
        let head = self.head().await;
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        let mut reply = Reply { status, head, content: Vec::new(), whole: status != 0 };
        if let Some(length) = reply.field("content-length").first() {
            let length: usize = length.parse().unwrap();
            while self.buffer.len() < length && fill(&mut self.stream, &mut self.buffer).await {}
            reply.whole = self.buffer.len() >= length;
            let end = length.min(self.buffer.len());
            reply.content = self.buffer.drain(..end).collect();
        } else if reply.field("transfer-encoding") == ["chunked"] {
            reply.whole = false;
            loop {
                if whole(&self.buffer) {
                    reply.content = std::mem::take(&mut self.buffer);
                    reply.whole = true;
                    break;
                }
                if !fill(&mut self.stream, &mut self.buffer).await {
                    reply.content = std::mem::take(&mut self.buffer);
                    break;
                }
            }
        } else if status >= 200 && status != 204 && status != 304 {
            while fill(&mut self.stream, &mut self.buffer).await {}
            reply.content = std::mem::take(&mut self.buffer);
        }
        reply
    }
}

/// True if `bytes` end a chunked message.
fn whole(bytes: &[u8]) -> bool {
    bytes.starts_with(b"0\r\n") && bytes.ends_with(b"\r\n\r\n")
        || find(bytes, b"\r\n0\r\n").is_some() && bytes.ends_with(b"\r\n\r\n")
}

/// Waits until `holds`; a failure says what was waited for.
pub(super) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "never: {what}");
}
