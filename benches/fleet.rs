//! What the ledger costs across processes: the real program and a real Valkey.
//!
//! `cargo bench --bench fleet` prints how long a start takes with a full ledger, what a write costs
//! Valkey, how soon another process has applied it, and how soon a purge has reached all; with
//! `-- starts` or `-- writes` only that.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "what it is for")]

use std::collections::BTreeMap;
use std::time::Duration;

use larder::store::ledger::{LedgerHandle, Settings};
use serde_json::json;
use tokio::time::Instant;

#[expect(dead_code, reason = "what only tests need")]
#[path = "../tests/support/mod.rs"]
mod support;
#[expect(dead_code, reason = "what only tests need")]
#[path = "../tests/support/valkey.rs"]
mod valkey;

use support::larder::{Larder, Setup};
use support::origin::{Origin, ok};
use support::wait::eventually;
use valkey::Valkey;

const STREAM: &str = "larder:{l}:ledger";
const NAMESPACES: &str = "larder:{l}:namespaces";
const WRITES: usize = 1000;
const PURGES: usize = 200;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let wanted = |what: &str| {
        let mut named = std::env::args().skip(1).filter(|text| !text.starts_with('-')).peekable();
        named.peek().is_none() || named.any(|name| name == what)
    };
    runtime.block_on(async {
        if wanted("starts") {
            starts().await;
        }
        if wanted("writes") {
            writes("").await;
            writes("announce = false").await;
        }
    });
}

// --- starting ---

async fn starts() {
    let (origin, valkey) = (Origin::start(), Valkey::start());
    let setup = setup(&origin, &valkey);
    let empty = start("nothing", &setup).await;
    fill(&valkey, STREAM, "redis.call('XADD', KEYS[1], '*', 'n', 'tag:product:' .. n)", 100_000);
    let full = start("100 000 records", &setup).await;
    let each = full.saturating_sub(empty) / 100_000;
    println!("memory of that start: {each} bytes per name more");
    fill(&valkey, STREAM, "redis.call('XADD', KEYS[1], '*', 'n', 'tag:item:' .. n)", 400_000);
    start("500 000 records", &setup).await;
    redis::cmd("DEL").arg(STREAM).exec(&mut valkey.client()).unwrap();
    let version = "redis.call('HSET', KEYS[1], 'shop/' .. n, '9000000000000-' .. n)";
    fill(&valkey, NAMESPACES, version, 500_000);
    start("500 000 namespaces", &setup).await;
}

/// Three starts, each from the beginning of the process until it has heard all there is; what the
/// last one has resident.
async fn start(what: &str, setup: &Setup) -> u64 {
    let (mut took, mut resident) = (Vec::new(), 0);
    for _ in 0..3 {
        let began = Instant::now();
        let larder = setup.start().await;
        until_heard(&larder).await;
        took.push(began.elapsed());
        resident = larder.resident();
    }
    println!("start with {what}: {took:.0?}, {} MiB resident", resident >> 20);
    resident
}

async fn until_heard(larder: &Larder) {
    eventually("the ledger is heard", async || {
        let told = larder.admin().get("/readyz").await.json();
        told["parts"].as_array().is_some_and(|parts| parts.iter().all(|part| part["ok"] == true))
    })
    .await;
}

fn fill(valkey: &Valkey, key: &str, each: &str, count: usize) {
    let script = format!("for n = 1, {count} do {each} end");
    redis::cmd("EVAL").arg(script).arg(1).arg(key).exec(&mut valkey.client()).unwrap();
}

fn setup(origin: &Origin, valkey: &Valkey) -> Setup {
    let store = format!("valkey = \"{}\"\ntimeout = \"1s\"", valkey.url());
    Setup::before(&origin.url()).store(&store).log("access = false")
}

// --- writing ---

async fn writes(more: &str) {
    let (origin, valkey) = (Origin::start(), Valkey::start());
    let keys = format!("soft_ttl = \"1h\"\ntags = [\"product:{{id}}\"]\n{more}");
    let setup = setup(&origin, &valkey).route("/products/{id}", &keys);
    println!("\nwrites {more}");
    let (one, other) = (setup.start().await, setup.start().await);
    let here = watcher(&valkey);
    until_heard(&one).await;
    until_heard(&other).await;
    here.ready().await;
    origin.when("POST", "/products/7").replies(ok("done"));
    let client = one.client();
    client.asks("POST", "/products/7").send().await.expect(200, "done");

    let before = calls(&valkey);
    let (mut answered, mut there, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..WRITES {
        let mut moves = here.subscribe_applied();
        let sent = Instant::now();
        let reply = client.asks("POST", "/products/7").send().await;
        let back = Instant::now();
        let position = reply.field("larder-position").parse().unwrap();
        moves.wait_for(|at| *at >= position).await.unwrap();
        answered.push(back - sent);
        there.push(sent.elapsed());
        after.push(back.elapsed());
    }
    told("a write, until its answer is here", answered);
    told("until another process has applied it", there);
    told("the same, from its answer on", after);
    commands(&before, &calls(&valkey));
    direct(&origin).await;

    let mut purged = Vec::new();
    for _ in 0..PURGES {
        let sent = Instant::now();
        let reply = one.purge(json!({ "tag": "product:7", "wait": "all" })).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        purged.push(sent.elapsed());
    }
    told("a purge, until all three have applied it", purged);
}

/// The same without anything in between.
async fn direct(origin: &Origin) {
    let address = origin.url().strip_prefix("http://").unwrap().parse().unwrap();
    let client = support::client::Client::of(address);
    let mut took = Vec::new();
    for _ in 0..WRITES {
        let sent = Instant::now();
        client.asks("POST", "/products/7").send().await.expect(200, "done");
        took.push(sent.elapsed());
    }
    told("a write to the origin itself", took);
}

/// A third process, as far as the others know.
fn watcher(valkey: &Valkey) -> LedgerHandle {
    let settings = Settings {
        prefix: "larder".into(),
        budget: Duration::from_secs(1),
        lease: Duration::from_secs(2),
        names: 1000,
        retention: Duration::from_secs(3600),
        records: 1000,
        replicas: None,
    };
    LedgerHandle::valkey(&valkey.url().parse().unwrap(), settings).unwrap()
}

/// How often each command was carried out, those in scripts too.
fn calls(valkey: &Valkey) -> BTreeMap<String, f64> {
    let info: String = redis::cmd("INFO").arg("commandstats").query(&mut valkey.client()).unwrap();
    let of = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    info.lines().filter_map(of).collect()
}

fn commands(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) {
    let writes = f64::from(u32::try_from(WRITES).unwrap());
    let each = after.iter().map(|(name, calls)| {
        (name, (calls - before.get(name).copied().unwrap_or_default()) / writes)
    });
    let told: Vec<_> = each
        .filter(|(_, each)| *each > 0.05)
        .map(|(name, each)| format!("{name} {each:.1}"))
        .collect();
    println!("commands per write, three tails included: {}", told.join(", "));
}

fn told(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    println!("{what}: p50 {:.2?}, p99 {:.2?}, longest {:.2?}", at(50), at(99), at(100));
}
