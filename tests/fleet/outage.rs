//! What if Valkey is absent, killed, frozen, flushed or damaged? Clients are answered, and nobody
//! is served what a finished write has replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::Fleet;
use crate::support::client::Client;
use crate::support::origin::{Resource, ok, status};
use crate::support::wait::{eventually, stays, within};
use crate::valkey::Valkey;

const KEEPS: &str = "soft_ttl = \"1h\"";

/// The most that a Valkey that does not answer may add to a request, on a slow machine.
const GRACE: Duration = Duration::from_millis(250);

/// How soon everything works again once Valkey is back.
const RECOVERY: Duration = Duration::from_secs(5);

/// Two processes with the patience that users have.
async fn usual() -> Fleet {
    Fleet::ready(2, |setup| setup.route("/{*rest}", KEEPS)).await
}

/// Clients that ask without pause until they are told to stop: for new things, and for known ones.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    /// Microseconds of the slowest request so far.
    slowest: Arc<AtomicU64>,
    usual: Duration,
    stalls: Stalls,
    clients: Vec<JoinHandle<Vec<String>>>,
}

/// How long the machine kept threads waiting that had only asked for a millisecond: what its other
/// guests took, for which no program here can answer.
struct Stalls {
    over: Arc<AtomicBool>,
    /// Microseconds.
    worst: Arc<AtomicU64>,
}

impl Stalls {
    /// Looks on, as many threads as there are cores.
    fn watch() -> Self {
        let stalls = Self { over: Arc::default(), worst: Arc::default() };
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            let (over, worst) = (Arc::clone(&stalls.over), Arc::clone(&stalls.worst));
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let asleep = Instant::now();
                    std::thread::sleep(Duration::from_millis(1));
                    let took = u64::try_from(asleep.elapsed().as_micros()).unwrap();
                    worst.fetch_max(took, Ordering::Relaxed);
                }
            });
        }
        stalls
    }

    fn worst(&self) -> Duration {
        Duration::from_micros(self.worst.load(Ordering::Relaxed))
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// What became of them.
struct Outcome {
    slowest: Duration,
    /// The slowest while all was well.
    usual: Duration,
    /// The worst that the machine itself did.
    stalled: Duration,
    complaints: Vec<String>,
}

impl Load {
    fn on(fleet: &Fleet) -> Self {
        fleet.origin.on("/known").replies(ok("known"));
        fleet.origin.on("/new").answers(|asked| ok(asked.target.clone()));
        let stop = Arc::new(AtomicBool::new(false));
        let (asked, slowest) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let clients = (0..4)
            .map(|number| {
                let client = fleet.client(number % fleet.larders.len());
                let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
                let slowest = Arc::clone(&slowest);
                tokio::spawn(Asker { client, number, stop, asked, slowest }.run())
            })
            .collect();
        Self { stop, asked, slowest, usual: Duration::ZERO, stalls: Stalls::watch(), clients }
    }

    /// On a fleet for which all is well, so far: how long requests take then.
    async fn settled_on(fleet: &Fleet) -> Self {
        let mut load = Self::on(fleet);
        load.answers(200).await;
        load.usual = Duration::from_micros(load.slowest.load(Ordering::Relaxed));
        load
    }

    /// Waits until this many more requests have been answered.
    async fn answers(&self, more: u64) {
        let target = self.asked.load(Ordering::Relaxed) + more;
        eventually("clients are being answered", async || {
            self.asked.load(Ordering::Relaxed) >= target
        })
        .await;
    }

    async fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut complaints = Vec::new();
        for client in self.clients {
            complaints.extend(client.await.unwrap());
        }
        let slowest = Duration::from_micros(self.slowest.load(Ordering::Relaxed));
        Outcome { slowest, usual: self.usual, stalled: self.stalls.worst(), complaints }
    }
}

/// One of the clients.
struct Asker {
    client: Client,
    number: usize,
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    slowest: Arc<AtomicU64>,
}

impl Asker {
    async fn run(self) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut round = 0;
        while !self.stop.load(Ordering::Relaxed) {
            round += 1;
            let new = format!("/new?client={}&round={round}", self.number);
            for (target, expected) in [(new.as_str(), new.as_str()), ("/known", "known")] {
                let sent = Instant::now();
                let reply = self.client.get(target).await;
                let took = u64::try_from(sent.elapsed().as_micros()).unwrap();
                self.slowest.fetch_max(took, Ordering::Relaxed);
                if reply.status != 200 || reply.text() != expected {
                    complaints.push(format!("{target}: {} {}", reply.status, reply.text()));
                }
                self.asked.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        complaints
    }
}

impl Outcome {
    fn must_be_fine(self) {
        assert!(self.complaints.is_empty(), "{:?}", self.complaints);
        let Self { slowest, usual, stalled, .. } = self;
        assert!(
            slowest < usual + GRACE + stalled,
            "the slowest request took {slowest:?}, before {usual:?}; the machine stalled {stalled:?}"
        );
    }
}

impl Fleet {
    /// Caching works: what one process fetches is a hit there, and is found by the other.
    async fn caches_again(&self, path: &str) {
        self.origin.on(path).replies(ok("back"));
        within(RECOVERY, "what one process fetched is found by the other", async || {
            let target = format!("{path}?{}", self.origin.saw(path));
            self.client(0).get(&target).await.expect(200, "back");
            self.client(0).get(&target).await.is_hit() && self.client(1).get(&target).await.is_hit()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_valkey_at_the_start_requests_are_answered_and_it_is_used_once_it_is_there() {
    let mut fleet = Fleet::over(Valkey::absent(), 2, |s| s.route("/{*rest}", KEEPS)).await;
    let load = Load::on(&fleet);
    load.answers(200).await;
    load.stop().await.must_be_fine();
    fleet.valkey.restart();
    fleet.caches_again("/again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_it_is_missed_by_nobody() {
    let mut fleet = usual().await;
    let load = Load::settled_on(&fleet).await;
    fleet.valkey.kill();
    load.answers(400).await;
    fleet.valkey.restart();
    load.answers(100).await;
    fleet.caches_again("/again").await;
    load.stop().await.must_be_fine();
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_under_load_it_costs_its_budget_and_no_more() {
    let fleet = usual().await;
    let load = Load::settled_on(&fleet).await;
    fleet.valkey.freeze();
    load.answers(400).await;
    // Longer than the ledger's lease: what is in memory becomes suspect, and is asked for again.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    load.answers(100).await;
    fleet.valkey.thaw();
    load.answers(100).await;
    fleet.caches_again("/again").await;
    load.stop().await.must_be_fine();
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_under_load_nothing_stale_is_served_after_a_write() {
    let fleet = usual().await;
    let value = Resource::new("0");
    let (current, written) = (value.clone(), value.clone());
    fleet.origin.when("GET", "/thing").answers(move |_| ok(current.get()));
    fleet.origin.when("PUT", "/thing").answers(move |asked| {
        written.set(&asked.content());
        status(204)
    });
    let load = Load::settled_on(&fleet).await;
    for round in 1..=10 {
        let text = round.to_string();
        for of in 0..2 {
            fleet.client(of).get("/thing").await;
        }
        let put = fleet.client(0).asks("PUT", "/thing").content(&text).send().await;
        assert_eq!(put.status, 204);
        redis::cmd("FLUSHALL").exec(&mut fleet.valkey.client()).unwrap();
        fleet.client(0).get("/thing").await.expect(200, &text);
        within(Duration::from_secs(1), "the other process reads the new", async || {
            fleet.client(1).get("/thing").await.text() == text
        })
        .await;
        for of in [0, 1] {
            for reply in fleet.client(of).crowd(5, "/thing").await {
                reply.expect(200, &text);
            }
        }
    }
    fleet.caches_again("/again").await;
    load.stop().await.must_be_fine();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_while_valkey_is_away_counts_here_at_once_and_over_there_when_it_is_back() {
    let mut fleet = usual().await;
    let value = Resource::new("old");
    let (current, written) = (value.clone(), value.clone());
    fleet.origin.when("GET", "/thing").answers(move |_| ok(current.get()));
    fleet.origin.when("PUT", "/thing").answers(move |asked| {
        written.set(&asked.content());
        status(204)
    });
    for of in 0..2 {
        fleet.warm(of, "/thing").await.expect(200, "old");
    }
    fleet.valkey.kill();
    let put = fleet.client(0).asks("PUT", "/thing").content("new").send().await;
    assert_eq!(put.status, 204);
    assert_eq!(put.status().value("detail"), Some("invalidation-owed"), "{:?}", put.status());
    let owed = fleet.larders[0].metrics().await.sum("larder_ledger_owed", &[]);
    assert!(owed >= 1.0, "the debt is counted: {owed}");
    for _ in 0..10 {
        fleet.client(0).get("/thing").await.expect(200, "new");
    }
    fleet.valkey.restart();
    within(RECOVERY, "the other process reads the new", async || {
        fleet.client(1).get("/thing").await.text() == "new"
    })
    .await;
    eventually("the debt is paid", async || {
        fleet.larders[0].metrics().await.sum("larder_ledger_owed", &[]) < 1.0
    })
    .await;
    stays(Duration::from_millis(300), "nobody reads the old again", async || {
        let (a, b) = (fleet.client(0).get("/thing").await, fleet.client(1).get("/thing").await);
        a.text() == "new" && b.text() == "new"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_while_valkey_is_away_says_that_it_is_owed() {
    let mut fleet = usual().await;
    fleet.origin.on("/a").answers(|asked| ok(asked.before.to_string()));
    for of in 0..2 {
        fleet.warm(of, "/a").await;
    }
    fleet.valkey.kill();
    let receipt = fleet.larders[0].purge(json!({ "url": "/a" })).await;
    assert_eq!(receipt.status, 202);
    assert_eq!(receipt.json()["owed"], true, "{}", receipt.text());
    assert_ne!(fleet.larders[0].verdict("/a").await, "serve");
    fleet.valkey.restart();
    let before = fleet.origin.saw("/a");
    within(RECOVERY, "the other process asks again", async || {
        fleet.client(1).get("/a").await;
        fleet.origin.saw("/a") > before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cut_off_process_cannot_vouch_for_it_does_not_serve_unasked() {
    let fleet = Fleet::ready(1, |setup| {
        setup
            .route("/careful", KEEPS)
            .route("/easy", &format!("{KEEPS}\nhard_ttl = \"2h\"\non_doubt = \"serve\""))
            .store("ledger_lease = \"300ms\"")
    })
    .await;
    for path in ["/careful", "/easy"] {
        fleet.origin.on(path).answers(|asked| ok(asked.before.to_string()));
        fleet.warm(0, path).await;
    }
    fleet.valkey.freeze();
    fleet.larders[0].until_verdict("/easy", "serve-and-refresh").await;
    fleet.larders[0].until_verdict("/careful", "fetch").await;
    fleet.client(0).get("/careful").await.expect(200, "1");
    assert!(fleet.client(0).get("/easy").await.expect(200, "0").is_stale());
    fleet.valkey.thaw();
    within(RECOVERY, "it vouches again", async || {
        fleet.client(0).get("/careful").await;
        fleet.larders[0].verdict("/careful").await == "serve"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_valkey_and_the_origin_gone_what_is_in_memory_covers() {
    let mut fleet = Fleet::ready(1, |setup| {
        let keys = "soft_ttl = \"100ms\"\nhard_ttl = \"200ms\"\nstale_if_error = \"1h\"";
        setup.route("/{*rest}", keys)
    })
    .await;
    fleet.origin.on("/a").replies(ok("old"));
    fleet.client(0).get("/a").await.expect(200, "old");
    fleet.larders[0].until_verdict("/a", "fetch").await;
    fleet.valkey.kill();
    fleet.origin.stop().await;
    for _ in 0..10 {
        fleet.client(0).get("/a").await.expect(200, "old");
    }
    fleet.valkey.restart();
    for _ in 0..10 {
        fleet.client(0).get("/a").await.expect(200, "old");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_entry_is_a_miss_and_counted() {
    let fleet = usual().await;
    let content = "content ".repeat(100);
    fleet.origin.on("/a").replies(ok(content.clone()));
    fleet.warm(0, "/a").await;
    fleet.until_stored(1).await;
    let mut connection = fleet.valkey.client();
    let keys: Vec<String> = redis::cmd("KEYS").arg("larder:e:*").query(&mut connection).unwrap();
    let [key] = keys.as_slice() else { panic!("one entry, not {keys:?}") };
    let length: usize = redis::cmd("STRLEN").arg(key).query(&mut connection).unwrap();
    redis::cmd("SETRANGE").arg(key).arg(length - 40).arg("XXX").exec(&mut connection).unwrap();
    fleet.client(1).get("/a").await.expect(200, &content);
    assert_eq!(fleet.origin.saw("/a"), 2);
    let damaged = [("error", "damaged")];
    let counted = fleet.larders[1].metrics().await.sum("larder_store_errors_total", &damaged);
    assert!(counted >= 1.0, "{counted}");
    fleet.warm(1, "/a").await.expect(200, &content);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_another_key_is_not_served_for_this_one() {
    let fleet = usual().await;
    for path in ["/a", "/b"] {
        fleet.origin.on(path).replies(ok(path.to_owned()));
        fleet.warm(0, path).await;
    }
    fleet.until_stored(2).await;
    let mut connection = fleet.valkey.client();
    let keys: Vec<String> = redis::cmd("KEYS").arg("larder:e:*").query(&mut connection).unwrap();
    let [a, b] = keys.as_slice() else { panic!("two entries, not {keys:?}") };
    redis::cmd("COPY").arg(a).arg(b).arg("REPLACE").exec(&mut connection).unwrap();
    for path in ["/a", "/b"] {
        fleet.client(1).get(path).await.expect(200, path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_vanish_are_misses() {
    let fleet = Fleet::ready(2, |s| s.route("/{*rest}", KEEPS).store("memory = 0")).await;
    fleet.origin.on("/a").replies(ok("x").header("vary", "accept"));
    for _ in 0..5 {
        fleet.client(0).get("/a").await.expect(200, "x");
        fleet.until_stored(2).await;
        let mut connection = fleet.valkey.client();
        let keys: Vec<String> =
            redis::cmd("KEYS").arg("larder:e:*").query(&mut connection).unwrap();
        redis::cmd("DEL").arg(keys.first()).exec(&mut connection).unwrap();
        fleet.client(1).get("/a").await.expect(200, "x");
    }
}
