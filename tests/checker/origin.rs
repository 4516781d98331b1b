//! The origin that the checker counts on: each key has a version, and a list of when it changed.
//!
//! | asked | it |
//! |---|---|
//! | GET | reads the version at a random moment of a random time, and answers at its end; some are slow, some break off |
//! | PUT, DELETE | changes it at a random moment, and answers; or breaks off, or says 500, or is late, having changed it all the same |

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::history::{Key, Micros, Promise, Version};
use crate::routes::{key_of, keys, kind_of};

/// How long Larder waits for it; being late is longer.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(2500);
const LATE: Duration = Duration::from_millis(3000);
/// A very slow GET: longer than the ledger's lease.
const VERY_SLOW: Duration = Duration::from_millis(1800);

/// The origin. Ends when it is dropped.
pub(crate) struct Origin {
    pub(crate) port: u16,
    state: Arc<State>,
    server: JoinHandle<()>,
}

struct State {
    began: Instant,
    seed: u64,
    asked: AtomicU64,
    registers: Vec<Mutex<Register>>,
    /// What became of writes, by the number that they carry.
    written: Mutex<HashMap<u64, (Version, Micros)>>,
}

#[derive(Default)]
struct Register {
    /// When it changed; as many as its version.
    applied: Vec<Micros>,
    /// It was deleted.
    gone: bool,
}

/// It breaks off instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("broken off on purpose")]
struct BrokenOff;

type Answer = Result<Response<Full<Bytes>>, BrokenOff>;

impl Origin {
    pub(crate) async fn start(began: Instant, seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let mut registers = Vec::new();
        registers.resize_with(keys(), Mutex::default);
        let state =
            State { began, seed, asked: AtomicU64::new(0), registers, written: Mutex::default() };
        let state = Arc::new(state);
        let server = tokio::spawn(serve(listener, Arc::clone(&state)));
        Self { port, state, server }
    }

    /// Changes it, as if by a way around Larder; the new version, and when.
    pub(crate) fn change(&self, key: Key) -> (Version, Micros) {
        self.state.apply(key, false)
    }

    pub(crate) fn version(&self, key: Key) -> Version {
        self.state.register(key).applied.len() as Version
    }

    /// What the write with this number has become.
    pub(crate) fn written(&self, number: u64) -> Option<(Version, Micros)> {
        lock(&self.state.written).get(&number).copied()
    }

    /// How many writes it has carried out.
    pub(crate) fn changes(&self) -> usize {
        lock(&self.state.written).len()
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> u64 {
        self.state.asked.load(Ordering::Relaxed)
    }

    /// By key: when it changed.
    pub(crate) fn applied(&self) -> Vec<Vec<Micros>> {
        self.state.registers.iter().map(|register| lock(register).applied.clone()).collect()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let answers = service_fn(|request| Arc::clone(&state).answer(request));
            let serving = hyper::server::conn::http1::Builder::new();
            let _ = serving.serve_connection(TokioIo::new(stream), answers).await;
        });
    }
}

impl State {
    fn register(&self, key: Key) -> MutexGuard<'_, Register> {
        lock(&self.registers[usize::from(key)])
    }

    fn apply(&self, key: Key, gone: bool) -> (Version, Micros) {
        let mut register = self.register(key);
        // Taken with the lock held: versions and moments are in the same order.
        let now = self.began.elapsed().as_micros() as Micros;
        register.applied.push(now);
        register.gone = gone;
        (register.applied.len() as Version, now)
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let mut dice = Dice::of(self.seed, self.asked.fetch_add(1, Ordering::Relaxed));
        let Some(key) = key_of(request.uri().path()) else { return Ok(with(404, "{}".into())) };
        if request.method() == Method::GET {
            return self.show(key, &request, &mut dice).await;
        }
        let number = field(&request, "x-write").parse().unwrap_or_default();
        let gone = request.method() == Method::DELETE;
        let path = request.uri().path().to_owned();
        let _ = request.into_body().collect().await;
        tokio::time::sleep(dice.millis(0, 15)).await;
        if dice.once_in_thousand(5) {
            return Err(BrokenOff);
        }
        let (version, at) = self.apply(key, gone);
        lock(&self.written).insert(number, (version, at));
        tokio::time::sleep(dice.millis(0, 15)).await;
        match dice.below(1000) {
            0..15 => Err(BrokenOff),
            15..30 => Ok(with(500, shown(key, version))),
            30..33 => {
                tokio::time::sleep(LATE).await;
                Ok(with(200, shown(key, version)))
            }
            _ if kind_of(key).through && !gone => {
                let mut answer = with(200, shown(key, version));
                for (name, value) in
                    [("content-location", &*path), ("cache-control", "max-age=3600")]
                {
                    let value = value.parse().expect("a field value");
                    answer.headers_mut().append(http::HeaderName::from_static(name), value);
                }
                Ok(answer)
            }
            _ => Ok(with(200, shown(key, version))),
        }
    }

    async fn show(&self, key: Key, request: &Request<Incoming>, dice: &mut Dice) -> Answer {
        let is_brief = matches!(kind_of(key).promise, Promise::Lifetime(_));
        tokio::time::sleep(dice.millis(0, 15)).await;
        let (version, gone) = {
            let register = self.register(key);
            (register.applied.len() as Version, register.gone)
        };
        let rest = match dice.below(1000) {
            0..10 => Duration::from_millis(300),
            10..12 if !is_brief => VERY_SLOW,
            12..14 => return Err(BrokenOff),
            _ => dice.millis(0, 15),
        };
        tokio::time::sleep(rest).await;
        let tag = format!("\"{version}\"");
        let confirms = !gone && field(request, "if-none-match") == tag;
        let mut answer = match (confirms, gone) {
            (true, _) => with(304, String::new()),
            (false, true) => with(404, shown(key, version)),
            (false, false) => with(200, shown(key, version)),
        };
        let mut fields = vec![("etag", tag), ("surrogate-key", format!("key-{key}"))];
        if kind_of(key).varies {
            fields.push(("vary", "accept".to_owned()));
        }
        for (name, value) in fields {
            let value = value.parse().expect("a field value");
            answer.headers_mut().append(http::HeaderName::from_static(name), value);
        }
        Ok(answer)
    }
}

fn field<'r>(request: &'r Request<Incoming>, name: &str) -> &'r str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn shown(key: Key, version: Version) -> String {
    format!("{{\"key\":{key},\"version\":{version},\"items\":[{{\"id\":{key}}}]}}")
}

fn with(status: u16, content: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(content)));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    let json = http::HeaderValue::from_static("application/json");
    answer.headers_mut().append(http::header::CONTENT_TYPE, json);
    answer
}
