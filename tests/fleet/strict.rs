//! `consistency = "strict"`: does a GET that starts after a write was acknowledged anywhere ever show
//! what came before it? And `on_store_down = "refuse"`: is a write that cannot be recorded kept from
//! the origin?

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::Fleet;
use crate::support::client::{Asking, Reply};
use crate::support::larder::{Larder, Setup};
use crate::support::origin::{Resource, ok, status};
use crate::support::wait::{eventually, within};

const PATH: &str = "/things/7";
const BOUNDED: &str = "soft_ttl = \"1h\"\nconsistency = \"bounded\"";
const STRICT: &str = "soft_ttl = \"1h\"\nconsistency = \"strict\"";

/// What requests in doubt may cost the origin: one per window of 50 ms and key.
const PER_SECOND: f64 = 20.0;

/// A way to Valkey on which what the tail is told comes late, or breaks off.
struct Lag {
    address: SocketAddr,
    shared: Arc<Lagging>,
}

#[derive(Default)]
struct Lagging {
    millis: AtomicU64,
    cut: Notify,
}

impl Lag {
    async fn before(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Lagging>::default();
        let lagging = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else {
                    continue;
                };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let (asks, told) = client.into_split();
                let (tells, asked) = server.into_split();
                let is_tail = Arc::new(AtomicBool::new(false));
                tokio::spawn(forward(asks, asked, Arc::clone(&is_tail)));
                tokio::spawn(Arc::clone(&lagging).answer(tells, told, is_tail));
            }
        });
        Self { address, shared }
    }

    fn url(&self) -> String {
        format!("valkey://{}", self.address)
    }

    fn by(&self, lag: Duration) {
        self.shared.millis.store(lag.as_millis().try_into().unwrap(), Relaxed);
    }

    /// Closes the tail's connection.
    fn cut(&self) {
        self.shared.cut.notify_waiters();
    }
}

/// What is asked goes through at once; who lets itself be blocked is the tail.
async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_tail: Arc<AtomicBool>) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        if piece[..length].windows(9).any(|word| word == b"\r\nBLOCK\r\n") {
            is_tail.store(true, Relaxed);
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

impl Lagging {
    async fn answer(
        self: Arc<Self>,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        is_tail: Arc<AtomicBool>,
    ) {
        let mut piece = vec![0; 64 << 10];
        loop {
            let read = tokio::select! {
                read = from.read(&mut piece) => read,
                () = self.cut.notified() => if is_tail.load(Relaxed) { return } else { continue },
            };
            let Ok(length @ 1..) = read else { return };
            if is_tail.load(Relaxed) {
                sleep(Duration::from_millis(self.millis.load(Relaxed))).await;
            }
            if to.write_all(&piece[..length]).await.is_err() {
                return;
            }
        }
    }
}

/// Two processes, the second of which hears the ledger through a [`Lag`]; its resource is a hit in
/// both.
async fn with_a_lag(route: &str, store: &str) -> (Fleet, Lag) {
    let mut fleet = Fleet::set_up(1, |setup| setup.route("/{*rest}", route)).await;
    let lag = Lag::before(fleet.valkey.port()).await;
    let store = format!("valkey = \"{}\"\n{store}", lag.url());
    let setup = Setup::before(&fleet.origin.url()).store(&store).route("/{*rest}", route);
    fleet.larders.push(setup.start().await);
    fleet.until_connected().await;
    serve(&fleet);
    for of in 0..2 {
        fleet.warm(of, PATH).await.expect(200, "0");
    }
    (fleet, lag)
}

/// Two processes with the patience that users have.
async fn usual(route: &str) -> Fleet {
    let fleet = Fleet::ready(2, |setup| setup.route("/{*rest}", route)).await;
    serve(&fleet);
    for of in 0..2 {
        fleet.warm(of, PATH).await.expect(200, "0");
    }
    fleet
}

fn serve(fleet: &Fleet) {
    slowed(fleet, Duration::ZERO);
}

/// The origin reads its resource at once, and takes so long to say so.
fn slowed(fleet: &Fleet, delay: Duration) {
    let value = Resource::new("0");
    let current = value.clone();
    let read = move || {
        let value = current.get();
        ok(value.clone()).header("etag", &format!("\"{value}\"")).delay(delay)
    };
    for method in ["GET", "HEAD", "QUERY"] {
        let read = read.clone();
        fleet.origin.when(method, PATH).answers(move |_| read());
    }
    fleet.origin.when("PUT", PATH).answers(move |asked| {
        value.set(&asked.content());
        status(204)
    });
}

async fn write(fleet: &Fleet, through: usize, value: u64) -> Reply {
    let value = value.to_string();
    let reply = fleet.client(through).asks("PUT", PATH).content(&value).send().await;
    assert_eq!(reply.status, 204, "{}", reply.text());
    reply
}

/// Writes through the first process and reads through the second at once, so many times: how often
/// that was not the value written.
async fn stale_reads(fleet: &Fleet, rounds: u64) -> u64 {
    let reader = fleet.client(1);
    let mut stale = 0;
    for round in 1..=rounds {
        write(fleet, 0, round).await;
        let read = reader.get(PATH).await;
        assert_eq!(read.status, 200, "{}", read.text());
        stale += u64::from(read.text() != round.to_string());
    }
    stale
}

async fn strict(larder: &Larder, result: &str) -> f64 {
    larder.metrics().await.sum("larder_strict_requests_total", &[("result", result)])
}

async fn questions(larder: &Larder) -> f64 {
    larder.metrics().await.sum("larder_strict_questions_total", &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_race_is_real_a_bounded_route_loses_it() {
    let (fleet, lag) = with_a_lag(BOUNDED, "timeout = \"2s\"").await;
    lag.by(Duration::from_millis(5));
    assert!(stale_reads(&fleet, 50).await > 0);
    assert_eq!(questions(&fleet.larders[1]).await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_after_a_write_through_another_process_never_reads_the_old() {
    let (fleet, lag) = with_a_lag(STRICT, "timeout = \"2s\"").await;
    lag.by(Duration::from_millis(3));
    assert_eq!(stale_reads(&fleet, 2_000).await, 0);
    assert_eq!(strict(&fleet.larders[1], "late").await, 0.0);
    // Between two writes it is a hit all the same.
    let asked = fleet.origin.saw(PATH);
    for _ in 0..50 {
        assert!(fleet.client(1).get(PATH).await.is_hit());
    }
    assert_eq!(fleet.origin.saw(PATH), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_where_the_tail_is_cut_off_again_and_again() {
    let (fleet, lag) = with_a_lag(STRICT, "timeout = \"2s\"").await;
    let lag = Arc::new(lag);
    let cutting = Arc::clone(&lag);
    let cuts = tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(40)).await;
            cutting.cut();
        }
    });
    assert_eq!(stale_reads(&fleet, 300).await, 0);
    cuts.abort();
    let told = fleet.larders[1].told();
    assert!(told.contains("lost the ledger"), "it was cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_where_the_tail_never_comes_in_time_whatever_is_asked() {
    let route = format!("{STRICT}\nstale_if_error = \"1h\"\non_doubt = \"serve\"");
    let (fleet, lag) = with_a_lag(&route, "").await;
    lag.by(Duration::from_secs(3600));
    // The answer that the tail waits for now may be on its way already.
    write(&fleet, 0, 1).await;
    eventually("it does not hear the ledger", async || {
        let told = fleet.larders[1].explain("GET", PATH).await;
        told["footing"]["doubt"] == "doubt-unconfirmed"
    })
    .await;
    let kinds: [fn(Asking) -> Asking; 3] = [
        |asking| asking,
        |asking| asking.header("range", "bytes=0-"),
        |asking| asking.header("if-none-match", "\"0\""),
    ];
    let mut value = 1;
    for kind in kinds {
        value += 1;
        write(&fleet, 0, value).await;
        let reply = kind(fleet.client(1).asks("GET", PATH)).send().await;
        assert_eq!(reply.text(), value.to_string(), "{:?}", reply.status());
    }
    value += 1;
    write(&fleet, 0, value).await;
    let head = fleet.client(1).asks("HEAD", PATH).send().await;
    assert_eq!(head.field("etag"), format!("\"{value}\""));
    for _ in 0..2 {
        value += 1;
        write(&fleet, 0, value).await;
        let query = fleet.client(1).asks("QUERY", PATH).header("content-type", "text/plain");
        assert_eq!(query.content("?").send().await.text(), value.to_string());
    }
    let reply = fleet.client(1).get(PATH).await;
    assert_eq!(reply.text(), value.to_string());
    let reply = fleet.client(1).get(PATH).await;
    assert!(reply.status().value("detail") == Some("doubt-unconfirmed"), "{:?}", reply.status());
    assert!(strict(&fleet.larders[1], "late").await > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_confirmed_is_not_served_though_nobody_else_answers() {
    let route = format!("{STRICT}\nstale_if_error = \"1h\"\non_doubt = \"serve\"");
    for (route, expected) in [(route.clone(), 502), (route.replace("strict", "bounded"), 200)] {
        let mut fleet = usual(&route).await;
        fleet.valkey.kill();
        within(Duration::from_secs(5), "it is in doubt", async || {
            !fleet.client(1).get(PATH).await.is_hit()
        })
        .await;
        let only = fleet.client(1).asks("GET", PATH).header("cache-control", "only-if-cached");
        assert_eq!(only.send().await.status, if expected == 200 { 200 } else { 504 });
        fleet.origin.stop().await;
        for _ in 0..5 {
            let reply = fleet.client(1).get(PATH).await;
            assert_eq!(reply.status, expected, "{route}: {:?} {}", reply.status(), reply.text());
            if expected != 200 {
                assert_eq!(reply.field("content-type"), "application/problem+json");
                assert_eq!(reply.json()["fault"], "origin-connect");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_costs_few_questions() {
    let fleet = Fleet::of(1, STRICT).await;
    serve(&fleet);
    fleet.warm(0, PATH).await;
    let before = (questions(&fleet.larders[0]).await, strict(&fleet.larders[0], "passed").await);
    fleet.valkey.freeze();
    let client = fleet.client(0);
    let crowd = tokio::spawn(async move { client.crowd(200, PATH).await });
    eventually("all are waiting", async || {
        fleet.larders[0].metrics().await.sum("larder_requests_in_flight", &[]) >= 200.0
    })
    .await;
    fleet.valkey.thaw();
    for reply in crowd.await.unwrap() {
        reply.expect(200, "0");
    }
    let asked = questions(&fleet.larders[0]).await - before.0;
    let passed = strict(&fleet.larders[0], "passed").await - before.1;
    assert!(passed == 200.0 && asked <= 4.0, "{passed} requests, {asked} questions");
}

/// Many clients read a hot key through the second process while it is written through the first.
struct Hot {
    stop: Arc<AtomicBool>,
    /// Also writes are counted that are owed to the second process.
    counts_owed: bool,
    /// The last value whose write was acknowledged.
    acknowledged: Arc<AtomicU64>,
    readers: Vec<tokio::task::JoinHandle<u64>>,
    began: Instant,
}

impl Hot {
    fn on(fleet: &Fleet, readers: usize, counts_owed: bool) -> Self {
        let (stop, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let readers = (0..readers)
            .map(|_| {
                let client = fleet.client(1);
                let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
                tokio::spawn(async move {
                    let mut read = 0;
                    while !stop.load(Relaxed) {
                        let least = acknowledged.load(Relaxed);
                        let reply = client.get(PATH).await;
                        let value: u64 = reply.text().parse().unwrap_or_else(|_| {
                            panic!("{} {}", reply.status, reply.text());
                        });
                        assert!(value >= least, "{value} after {least}: {:?}", reply.status());
                        read += 1;
                    }
                    read
                })
            })
            .collect();
        Self { stop, counts_owed, acknowledged, readers, began: Instant::now() }
    }

    /// Writes for so long.
    async fn written(&self, fleet: &Fleet, from: u64, lasting: Duration) -> u64 {
        let (end, mut value) = (Instant::now() + lasting, from);
        while Instant::now() < end {
            value += 1;
            let text = value.to_string();
            let reply = fleet.client(0).asks("PUT", PATH).content(&text).send().await;
            let word = reply.status();
            // What is owed is promised where nobody hears the ledger, or nobody owes.
            if self.counts_owed || word.value("detail") == Some("invalidated") {
                assert_eq!(reply.status, 204, "{}", reply.text());
                self.acknowledged.store(value, Relaxed);
            } else if reply.status != 204 {
                assert_eq!(reply.json()["fault"], "unrecorded");
            }
            sleep(Duration::from_millis(30)).await;
        }
        value
    }

    /// How often it was read, and for how long.
    async fn end(self) -> (u64, Duration) {
        self.stop.store(true, Relaxed);
        let mut read = 0;
        for reader in self.readers {
            read += reader.await.unwrap();
        }
        (read, self.began.elapsed())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_valkey_a_hot_key_stays_right_and_costs_the_origin_little() {
    for outage in ["frozen", "killed"] {
        let mut fleet = usual(STRICT).await;
        // So slow that a fill lasts longer than a floor: who has the next one must not be fed by it.
        slowed(&fleet, Duration::from_millis(120));
        if outage == "frozen" {
            fleet.valkey.freeze();
        } else {
            fleet.valkey.kill();
        }
        let hot = Hot::on(&fleet, 40, true);
        let asked = fleet.origin.saw_method("GET", PATH);
        let value = hot.written(&fleet, 0, Duration::from_secs(2)).await;
        let (read, lasted) = hot.end().await;
        let asked = fleet.origin.saw_method("GET", PATH) - asked;
        let allowed = lasted.as_secs_f64() * PER_SECOND + 2.0;
        assert!(asked as f64 <= allowed, "{outage}: {asked} of {read} in {lasted:?}");
        assert!(read > asked as u64 * 2, "{outage}: {read} reads, {asked} of the origin");
        if outage == "frozen" {
            fleet.valkey.thaw();
        } else {
            fleet.valkey.restart();
        }
        within(Duration::from_secs(5), "it is a hit again", async || {
            let reply = fleet.client(1).get(PATH).await.expect(200, &value.to_string());
            reply.is_hit() && strict(&fleet.larders[1], "passed").await > 0.0
        })
        .await;
        assert_eq!(stale_reads(&fleet, 50).await, 0, "{outage}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_lost_confirms_nothing_until_it_is_opened_again() {
    let (fleet, lag) = with_a_lag(STRICT, "timeout = \"2s\"").await;
    lag.by(Duration::from_millis(150));
    let mut valkey = fleet.valkey.client();
    for round in 1..=8 {
        // The tail learns of the first, and asks on from there when the second has gone.
        write(&fleet, 0, 2 * round).await;
        write(&fleet, 0, 2 * round + 1).await;
        redis::cmd("DEL").arg("larder:{l}:ledger").exec(&mut valkey).unwrap();
        if round % 2 == 0 {
            // As a backend does that knows nothing of fences.
            let event = ["larder:{l}:ledger", "*", "n", "tag:other"];
            redis::cmd("XADD").arg(&event).exec(&mut valkey).unwrap();
        }
        let expected = (2 * round + 1).to_string();
        fleet.client(1).get(PATH).await.expect(200, &expected);
        fleet.warm(1, PATH).await.expect(200, &expected);
    }
}

/// With strict reads, and writes that are refused rather than owed, nothing that becomes of Valkey
/// shows what an acknowledged write has replaced.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_valkey_no_reader_goes_behind_a_write() {
    let mut fleet = usual(&format!("{STRICT}\non_store_down = \"refuse\"")).await;
    let hot = Hot::on(&fleet, 8, false);
    let pause = Duration::from_millis(700);
    let mut value = hot.written(&fleet, 0, pause).await;
    for round in 0..2 {
        redis::cmd("SAVE").exec(&mut fleet.valkey.client()).unwrap();
        value = hot.written(&fleet, value, pause).await;
        fleet.valkey.restart();
        value = hot.written(&fleet, value, pause).await;
        redis::cmd("FLUSHALL").exec(&mut fleet.valkey.client()).unwrap();
        value = hot.written(&fleet, value, pause).await;
        fleet.valkey.freeze();
        value = hot.written(&fleet, value, pause).await;
        fleet.valkey.thaw();
        value = hot.written(&fleet, value, pause).await;
        within(Duration::from_secs(10), "writes are taken again", async || {
            value = hot.written(&fleet, value, pause).await;
            hot.acknowledged.load(Relaxed) + 20 > value
        })
        .await;
        assert!(strict(&fleet.larders[1], "passed").await > 0.0, "{round}");
    }
    hot.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_that_nobody_reaches_do_not_let_a_crowd_through_to_the_origin() {
    let fleet = usual(BOUNDED).await;
    let client = fleet.client(1);
    let before = fleet.origin.saw(PATH);
    let began = Instant::now();
    let replies = client
        .crowd_of(200, |client, _| {
            client.asks("GET", PATH).header("larder-min-position", "99999999999999-0")
        })
        .await;
    for reply in replies {
        reply.expect(200, "0");
    }
    let (asked, lasted) = (fleet.origin.saw(PATH) - before, began.elapsed());
    assert!(asked > 0, "they were not answered from what was there");
    assert!(asked as f64 <= lasted.as_secs_f64() * PER_SECOND + 2.0, "{asked} in {lasted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_cannot_be_recorded_is_refused_before_the_origin_sees_it() {
    for announce in [true, false] {
        let route = format!("{STRICT}\non_store_down = \"refuse\"\nannounce = {announce}");
        let mut fleet = usual(&route).await;
        write(&fleet, 0, 1).await;
        for frozen in [false, true] {
            if frozen {
                fleet.valkey.freeze();
            } else {
                fleet.valkey.kill();
            }
            let before = fleet.origin.saw_method("PUT", PATH);
            for _ in 0..5 {
                let reply = fleet.client(0).asks("PUT", PATH).content("2").send().await;
                assert_eq!(reply.status, 503, "{}", reply.text());
                assert_eq!(reply.field("content-type"), "application/problem+json");
                assert_eq!(reply.json()["fault"], "unrecorded");
                assert_ne!(reply.field("retry-after"), "");
                assert_eq!(reply.field("larder-position"), "");
            }
            assert_eq!(fleet.origin.saw_method("PUT", PATH), before);
            fleet.client(1).get(PATH).await.expect(200, "1");
            if frozen {
                fleet.valkey.thaw();
            } else {
                fleet.valkey.restart();
            }
            within(Duration::from_secs(5), "writes are taken again", async || {
                fleet.client(0).asks("PUT", PATH).content("1").send().await.status == 204
            })
            .await;
        }
        let refused = fleet.larders[0].metrics().await.sum("larder_writes_refused_total", &[]);
        assert!(refused >= 10.0, "{refused}");
        assert_eq!(fleet.larders[0].metrics().await.sum("larder_ledger_owed", &[]), 0.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_forwarded_all_the_same_is_owed() {
    let mut fleet = usual(STRICT).await;
    fleet.valkey.kill();
    let reply = write(&fleet, 0, 1).await;
    assert!(reply.status().value("detail") == Some("invalidation-owed"), "{:?}", reply.status());
    assert!(fleet.larders[0].metrics().await.sum("larder_ledger_owed", &[]) > 0.0);
    assert_eq!(fleet.origin.saw_method("PUT", PATH), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_alone_is_strict_for_nothing_and_never_refuses() {
    let origin = crate::support::origin::Origin::start();
    let route = format!("{STRICT}\non_store_down = \"refuse\"");
    let larder = Setup::before(&origin.url()).route("/{*rest}", &route).start().await;
    origin.when("GET", PATH).replies(ok("x"));
    origin.when("PUT", PATH).replies(status(204));
    let client = larder.client();
    client.get(PATH).await.expect(200, "x");
    assert!(client.get(PATH).await.is_hit());
    assert_eq!(client.asks("PUT", PATH).content("x").send().await.status, 204);
    let told = larder.explain("GET", PATH).await;
    assert_eq!(told["footing"], serde_json::json!({ "consistency": "strict", "waits": false }));
    assert_eq!((questions(&larder).await, strict(&larder, "passed").await), (0.0, 0.0));
}
