//! The load that wrk and h2load cannot make. Every command prints one JSON object.
//!
//! Closed loops unless `--rate` says otherwise; then requests have a time at which they are due, and
//! latency counts from there, so that a server that stalls cannot hide it by being asked less.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::{Args, Parser};
use larder_bench::histogram::Histogram;
use larder_bench::wire::Connection;
use larder_bench::zipf::{Keys, Numbers};
use serde_json::{Value, json};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, sleep_until, timeout};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
enum Command {
    /// Every key once.
    Fill(Fill),
    /// Reads, drawn as Zipf would or evenly, and writes among them.
    Mix(Mix),
    /// Many clients, all at once, for one thing.
    Crowd(Crowd),
    /// A large body: fast readers, and a slow one beside them.
    Large(Large),
}

#[derive(Args)]
struct Fill {
    address: SocketAddr,
    /// What comes before the number of the key; `{}` is replaced by the key modulo `--routes`.
    prefix: String,
    #[arg(long)]
    keys: usize,
    #[arg(long, default_value_t = 1)]
    routes: usize,
    #[arg(long, default_value_t = 64)]
    connections: usize,
}

#[derive(Args)]
struct Mix {
    address: SocketAddr,
    /// What comes before the number of the key; `{}` is replaced by the key modulo `--routes`.
    prefix: String,
    #[arg(long)]
    keys: usize,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[arg(long)]
    seconds: f64,
    /// All keys alike, rather than as Zipf would.
    #[arg(long)]
    uniform: bool,
    /// Share of writes.
    #[arg(long, default_value_t = 0.0)]
    writes: f64,
    /// Where writes go; the same keys if absent.
    #[arg(long)]
    write_prefix: Option<String>,
    /// Requests per second, all connections together.
    #[arg(long)]
    rate: Option<f64>,
    /// From and to, in seconds, apart by a comma; each gets figures of its own.
    #[arg(long, value_delimiter = ',')]
    windows: Vec<f64>,
    #[arg(long, default_value_t = 1)]
    routes: usize,
    /// Sent as If-None-Match with every read.
    #[arg(long)]
    tag: Option<String>,
}

#[derive(Args)]
struct Crowd {
    address: SocketAddr,
    path: String,
    #[arg(long)]
    clients: usize,
}

#[derive(Args)]
struct Large {
    address: SocketAddr,
    path: String,
    /// Fast readers.
    #[arg(long)]
    fast: usize,
    /// Bytes per second that the slow one takes; 0: there is none.
    #[arg(long)]
    slow: usize,
}

fn main() -> std::io::Result<()> {
    let command = Command::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = LocalSet::new().block_on(&runtime, async {
        match command {
            Command::Fill(fill) => fill.run().await,
            Command::Mix(mix) => mix.run().await,
            Command::Crowd(crowd) => crowd.run().await,
            Command::Large(large) => large.run().await,
        }
    });
    println!("{report}");
    Ok(())
}

fn path(prefix: &str, key: usize, routes: usize) -> String {
    if routes > 1 {
        format!("{}{key}", prefix.replace("{}", &(key % routes).to_string()))
    } else {
        format!("{prefix}{key}")
    }
}

/// The host is what wrk says, too: it is part of the key.
fn get(host: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

fn put(host: SocketAddr, path: &str) -> Vec<u8> {
    let content = "x".repeat(200);
    let length = content.len();
    format!("PUT {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{content}")
        .into_bytes()
}

/// What all connections of a run count together.
struct Tally {
    all: RefCell<Histogram>,
    windows: Vec<(f64, f64, RefCell<Histogram>)>,
    bytes: Cell<u64>,
    errors: Cell<u64>,
    writes: Cell<u64>,
}

impl Tally {
    fn new(windows: &[f64]) -> Rc<Self> {
        let windows =
            windows.chunks_exact(2).map(|pair| (pair[0], pair[1], RefCell::default())).collect();
        Rc::new(Self {
            all: RefCell::default(),
            windows,
            bytes: Cell::new(0),
            errors: Cell::new(0),
            writes: Cell::new(0),
        })
    }

    fn count(&self, began: Duration, took: Duration, bytes: u64) {
        let took = took.as_micros() as u64;
        self.all.borrow_mut().record(took);
        self.bytes.set(self.bytes.get() + bytes);
        let began = began.as_secs_f64();
        for (from, to, histogram) in &self.windows {
            if (*from..*to).contains(&began) {
                histogram.borrow_mut().record(took);
            }
        }
    }

    fn fail(&self) {
        self.errors.set(self.errors.get() + 1);
    }

    fn report(&self, seconds: f64) -> Value {
        let all = self.all.borrow();
        let windows: Vec<Value> =
            self.windows.iter().map(|(_, _, window)| figures(&window.borrow())).collect();
        let mut report = figures(&all);
        report["seconds"] = json!(seconds);
        report["bytes"] = json!(self.bytes.get());
        report["errors"] = json!(self.errors.get());
        report["writes"] = json!(self.writes.get());
        report["windows"] = json!(windows);
        report
    }
}

fn figures(histogram: &Histogram) -> Value {
    json!({
        "requests": histogram.len(),
        "p50_us": histogram.percentile(0.5),
        "p99_us": histogram.percentile(0.99),
        "max_us": histogram.max(),
    })
}

/// A connection that is opened anew when the server closed it, or when it broke.
struct Client {
    address: SocketAddr,
    connection: Option<Connection>,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    /// The bytes of the content of a successful answer.
    async fn ask(&mut self, request: &[u8]) -> Option<u64> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            absent => match Connection::open(self.address).await {
                Ok(connection) => absent.insert(connection),
                Err(_) => {
                    // Not in a circle as fast as it goes, when there is nobody.
                    sleep(Duration::from_millis(10)).await;
                    return None;
                }
            },
        };
        let answer = timeout(Duration::from_secs(20), connection.ask(request, false)).await;
        match answer {
            Ok(Ok(answer)) => {
                if answer.close {
                    self.connection = None;
                }
                (answer.status < 400).then_some(answer.bytes)
            }
            _ => {
                self.connection = None;
                None
            }
        }
    }
}

impl Fill {
    async fn run(self) -> Value {
        let (tally, next, began) = (Tally::new(&[]), Rc::new(Cell::new(0)), Instant::now());
        let mut clients = JoinSet::new();
        for _ in 0..self.connections {
            let (tally, next, prefix) = (Rc::clone(&tally), Rc::clone(&next), self.prefix.clone());
            let mut client = Client::new(self.address);
            clients.spawn_local(async move {
                loop {
                    let key = next.get();
                    if key >= self.keys {
                        return;
                    }
                    next.set(key + 1);
                    let sent = Instant::now();
                    match client.ask(&get(self.address, &path(&prefix, key, self.routes))).await {
                        Some(bytes) => tally.count(sent - began, sent.elapsed(), bytes),
                        None => tally.fail(),
                    }
                }
            });
        }
        clients.join_all().await;
        tally.report(began.elapsed().as_secs_f64())
    }
}

impl Mix {
    async fn run(self) -> Value {
        let keys = if self.uniform { Keys::uniform(self.keys) } else { Keys::zipf(self.keys) };
        let (keys, mix, due) = (Rc::new(keys), Rc::new(self), Rc::new(Cell::new(0_u64)));
        let (counts, began) = (Tally::new(&mix.windows), Instant::now());
        let end = began + Duration::from_secs_f64(mix.seconds);
        let mut clients = JoinSet::new();
        for number in 0..mix.connections {
            let (keys, mix, due, counts) =
                (Rc::clone(&keys), Rc::clone(&mix), Rc::clone(&due), Rc::clone(&counts));
            clients.spawn_local(async move {
                let mut numbers = Numbers::new(number as u64 + 1);
                let mut client = Client::new(mix.address);
                loop {
                    let at = mix.at(&due, began);
                    if at >= end || Instant::now() >= end {
                        return;
                    }
                    if mix.rate.is_some() && at > Instant::now() {
                        sleep_until(at.into()).await;
                    }
                    let (write, request) = mix.request(&keys, &mut numbers);
                    match client.ask(&request).await {
                        Some(bytes) => {
                            counts.writes.set(counts.writes.get() + u64::from(write));
                            counts.count(at - began, at.elapsed(), bytes);
                        }
                        None => counts.fail(),
                    }
                }
            });
        }
        clients.join_all().await;
        counts.report(began.elapsed().as_secs_f64())
    }

    /// When the next request is due: now, or when the rate says.
    fn at(&self, due: &Cell<u64>, began: Instant) -> Instant {
        let Some(rate) = self.rate else { return Instant::now() };
        let number = due.get();
        due.set(number + 1);
        began + Duration::from_secs_f64(number as f64 / rate)
    }

    fn request(&self, keys: &Keys, numbers: &mut Numbers) -> (bool, Vec<u8>) {
        let key = keys.draw(numbers);
        let write = self.writes > 0.0 && numbers.share() < self.writes;
        let prefix = match &self.write_prefix {
            Some(prefix) if write => prefix,
            _ => &self.prefix,
        };
        let path = path(prefix, key, self.routes);
        let request = match &self.tag {
            _ if write => put(self.address, &path),
            None => get(self.address, &path),
            Some(tag) => {
                let mut request = get(self.address, &path);
                request.truncate(request.len() - 2);
                request.extend_from_slice(format!("If-None-Match: {tag}\r\n\r\n").as_bytes());
                request
            }
        };
        (write, request)
    }
}

impl Crowd {
    async fn run(self) -> Value {
        let mut connections = Vec::new();
        let mut unconnected = 0;
        for _ in 0..self.clients {
            match timeout(Duration::from_secs(5), Connection::open(self.address)).await {
                Ok(Ok(connection)) => connections.push(connection),
                _ => unconnected += 1,
            }
        }
        // What was connected last shall be as ready as what was connected first.
        sleep(Duration::from_millis(300)).await;
        let (counts, request) = (Tally::new(&[]), get(self.address, &self.path));
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for mut connection in connections {
            // Sent from this loop, so that it holds little else than 5,000 calls of the system.
            let sent = connection.send(&request).await;
            let counts = Rc::clone(&counts);
            clients.spawn_local(async move {
                match sent.ok().and(connection.answer(false).await.ok()) {
                    // From the start of the whole crowd: who is sent late has waited, too.
                    Some(answer) if answer.status < 400 => {
                        counts.count(Duration::ZERO, began.elapsed(), answer.bytes);
                    }
                    _ => counts.fail(),
                }
                // Not closed before all are answered: that is work for both sides.
                connection
            });
        }
        let sent = began.elapsed();
        let mut answered = Vec::new();
        while let Ok(Some(client)) = timeout(Duration::from_secs(30), clients.join_next()).await {
            answered.push(client);
        }
        counts.errors.set(counts.errors.get() + unconnected + clients.len() as u64);
        let mut report = counts.report(began.elapsed().as_secs_f64());
        report["sent_us"] = json!(sent.as_micros() as u64);
        report
    }
}

impl Large {
    async fn run(self) -> Value {
        let request = get(self.address, &self.path);
        let slow = Rc::new(Cell::new(0_u64));
        let began = Instant::now();
        let mut beside = JoinSet::new();
        if self.slow > 0 {
            let (slow, request) = (Rc::clone(&slow), request.clone());
            let (address, rate) = (self.address, self.slow);
            beside.spawn_local(async move { read_slowly(address, &request, rate, &slow).await });
            // It shall have begun, and what is between shall be full, before the others start.
            sleep(Duration::from_millis(500)).await;
        }
        let mut readers = JoinSet::new();
        let fast = Instant::now();
        for _ in 0..self.fast {
            let (request, address) = (request.clone(), self.address);
            readers.spawn_local(async move {
                let mut connection = Connection::open(address).await.ok()?;
                connection.widen(256 << 10);
                let answer =
                    timeout(Duration::from_secs(120), connection.ask(&request, false)).await;
                answer.ok()?.ok().filter(|answer| answer.status < 400).map(|answer| answer.bytes)
            });
        }
        let read = readers.join_all().await;
        let seconds = fast.elapsed().as_secs_f64();
        beside.abort_all();
        json!({
            "requests": read.iter().flatten().count(),
            "errors": read.iter().filter(|read| read.is_none()).count(),
            "bytes": read.iter().flatten().sum::<u64>(),
            "slow_bytes": slow.get(),
            "seconds": seconds,
            "p50_us": 0, "p99_us": 0, "max_us": began.elapsed().as_micros() as u64,
        })
    }
}

/// Takes so many bytes per second, in ten pieces of it.
async fn read_slowly(address: SocketAddr, request: &[u8], rate: usize, taken: &Cell<u64>) {
    let Ok(mut connection) = Connection::open(address).await else { return };
    if connection.send(request).await.is_err() || connection.head(false).await.is_err() {
        return;
    }
    loop {
        let mut budget = rate / 10;
        while budget > 0 {
            match connection.piece().await {
                Ok(Some(piece)) => {
                    taken.set(taken.get() + piece as u64);
                    budget = budget.saturating_sub(piece);
                }
                _ => return,
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
}
