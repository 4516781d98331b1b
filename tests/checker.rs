//! The checker: three real processes, a real Valkey, writers, readers, and somebody who breaks
//! things. Every read is checked against what was acknowledged before it started.
//!
//! | file | holds |
//! |---|---|
//! | `history.rs` | the judge: what is promised to whom, from when on, and why; with tests of its own |
//! | `servers.rs` | one Valkey, or a primary, a replica and Sentinels |
//! | `world.rs` | what runs, and the book of what happened |
//! | `routes.rs` | the routes, and how their keys are changed |
//! | `origin.rs` | an origin that counts versions, and is slow, late and broken at times |
//! | `load.rs`, `wire.rs` | the clients |
//! | `nemesis.rs` | the faults |
//! | `report.rs` | what is printed |
//!
//! | in the environment | means | otherwise |
//! |---|---|---|
//! | `LARDER_CHECKER_SECONDS` | how long things are broken | 15 |
//! | `LARDER_CHECKER_SEED` | what the plan of faults is made from | random, and printed |
//! | `LARDER_CHECKER_READS`, `LARDER_CHECKER_FAULTS` | fail if fewer were checked, or made | 1000, 15 |
//! | `LARDER_TEST_BINARY` | the program to be checked | as built with the tests |
//!
//! The long version, a quarter of an hour:
//!
//! ```text
//! cargo build --release --bin larder
//! LARDER_TEST_BINARY=target/release/larder LARDER_CHECKER_SECONDS=900 LARDER_CHECKER_READS=1000000 \
//!   LARDER_CHECKER_FAULTS=200 cargo test --test checker whatever_breaks -- --nocapture
//! ```
//!
//! and with `through_failovers` the same with Sentinel, which takes its time: some twelve seconds from
//! one failover to the next.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "checker/dice.rs"]
mod dice;
#[path = "support/fault.rs"]
mod fault;
#[path = "checker/history.rs"]
mod history;
#[path = "checker/load.rs"]
mod load;
#[path = "checker/nemesis.rs"]
mod nemesis;
#[path = "checker/origin.rs"]
mod origin;
#[expect(dead_code, reason = "what only other groups need")]
#[path = "link/process.rs"]
mod process;
#[path = "checker/report.rs"]
mod report;
#[path = "checker/routes.rs"]
mod routes;
#[path = "checker/servers.rs"]
mod servers;
#[expect(dead_code, reason = "what only other groups need")]
mod support;
#[path = "support/valkey.rs"]
mod valkey;
#[path = "checker/wire.rs"]
mod wire;
#[path = "checker/world.rs"]
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;
use tokio::time::Instant;

use history::{Bounds, History, Key, Micros, Verdict, judge};
use load::{Load, Seen};
use nemesis::{Done, Step};
use report::Report;
use routes::{Manner, keys, kind_of, path_of};
use servers::Topology;
use support::wait::within;
use wire::{Wire, get};
use world::{LEASE, SEATS, World, lock};

/// Where they come from: the head of `history.rs`.
const fn bounds(topology: Topology) -> Bounds {
    let lease = LEASE.as_micros() as Micros;
    // Who talks to a deposed primary hears that one, until it asks Sentinel again: once a second,
    // and an answer may take a while. Only then does its lease run out.
    let deposed = match topology {
        Topology::One => 0,
        Topology::Watched => 1_500_000,
    };
    Bounds {
        propagation: 250_000,
        lease: lease + deposed,
        strict: deposed,
        grace: 1_500_000,
        recovery: 2_500_000,
    }
}

/// A pause of our own that is longer than it should be tells that the machine stood still: nobody
/// can be asked to be in time then.
const STALL: Duration = Duration::from_millis(60);

/// In the end there is none to break anything for a while: in calm weather more is promised.
const CALM: Duration = Duration::from_secs(5);

/// How soon after the last fault every process shows the newest: what was announced by a process
/// that died is closed `origin.timeout` and 5 s after it last said that it was under way.
const CONVERGENCE: Duration = Duration::from_secs(12);

/// What came of a run.
struct Run {
    history: History,
    verdict: Verdict,
    text: String,
}

#[expect(clippy::print_stdout, reason = "a run tells its figures")]
async fn run(
    seed: u64,
    load: Load,
    plan: Vec<Vec<Step>>,
    least: Duration,
    topology: Topology,
) -> Run {
    let world = Arc::new(World::start(seed, topology).await);
    let bounds = bounds(topology);
    let stalls = Arc::new(AtomicUsize::new(0));
    let watch = tokio::spawn(watch(Arc::clone(&world), Arc::clone(&stalls)));
    let clients = load::start(&world, load, seed);
    let began = Instant::now();
    let faults: Vec<Done> = nemesis::follow(&world, &plan).await;
    tokio::time::sleep_until(began + least).await;
    world.end();
    let seen: Vec<Seen> = clients.join_all().await.concat();
    watch.await.unwrap();
    world.until_ready().await;
    let took = world.now();
    let history = world.history();
    let verdict = judge(&history, bounds);
    let report = Report {
        seed,
        took,
        history: &history,
        bounds,
        verdict: &verdict,
        faults: &faults,
        seen: &seen,
        asked: world.origin.asked(),
        failed: world.book.failed.load(Ordering::Relaxed),
        unanswered: lock(&world.book.unanswered).len(),
        stalls: stalls.load(Ordering::Relaxed),
    };
    let text = report.text();
    println!("{text}");
    if !load.past {
        let is_excused = |key, newest| is_excused(&world, &history, &verdict, key, newest);
        let excused = converges(&world, is_excused).await;
        println!("converged  all keys but {excused} whose last change nobody has to know of");
        let orphans = orphans_are_found(&world).await;
        println!("orphans    {orphans} found after the death of their process");
    }
    Run { history, verdict, text }
}

/// Notes when the machine stood still.
async fn watch(world: Arc<World>, stalls: Arc<AtomicUsize>) {
    let step = Duration::from_millis(5);
    while !world.is_over() {
        let from = world.now();
        tokio::time::sleep(step).await;
        let to = world.now();
        if to - from > (step + STALL).as_micros() as u64 {
            stalls.fetch_add(1, Ordering::Relaxed);
            world.disturbed(&(0..SEATS).collect::<Vec<_>>(), (from, to));
        }
    }
}

/// Every key is read as it is, through every process. How many need not be.
async fn converges(world: &World, is_excused: impl Fn(Key, u32) -> bool) -> usize {
    let deadline = Instant::now() + CONVERGENCE;
    let mut wires: [Wire; SEATS] = Default::default();
    let mut excused = 0;
    for key in (0..keys()).map(|key| key as Key) {
        let newest = world.origin.version(key);
        if is_excused(key, newest) {
            excused += 1;
            continue;
        }
        for (seat, wire) in wires.iter_mut().enumerate() {
            for nth in 0..kind_of(key).paths.len() {
                let path = path_of(key, nth);
                let read = async || {
                    let port = world.door(seat).unwrap().port;
                    let answer = wire.ask(port, &get(&path, ""), Duration::from_secs(5)).await;
                    answer.ok()?.number("version")
                };
                until_newest(read, newest, deadline, &format!("{path} through seat {seat}")).await;
            }
        }
    }
    excused
}

/// A process is killed while the origin carries out its writes: nobody is told of them, and all
/// read them in the end. How many there were.
async fn orphans_are_found(world: &Arc<World>) -> usize {
    let before = world.orphans();
    let announced = (0..keys() as Key).filter(|key| {
        let kind = kind_of(*key);
        kind.manner == Manner::Write && kind.name != "unannounced"
    });
    let writes: JoinSet<_> =
        announced.map(|key| load::write_once(Arc::clone(world), key, 0)).collect();
    // The origin takes up to 15 ms to carry them out, and as long again to answer.
    let carried_out = world.origin.changes() + writes.len() / 2;
    within(Duration::from_secs(5), "half of them are carried out", async || {
        world.origin.changes() >= carried_out
    })
    .await;
    world.kill(0).await;
    writes.join_all().await;
    world.launch(0, None).await;
    converges(world, |_, _| false).await;
    world.orphans() - before
}

async fn until_newest(
    mut read: impl AsyncFnMut() -> Option<u32>,
    newest: u32,
    deadline: Instant,
    what: &str,
) {
    loop {
        let version = read().await;
        if version == Some(newest) {
            return;
        }
        assert!(Instant::now() < deadline, "{what} shows {version:?}, and {newest} is there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Is the last change of this key one that nobody has to know of?
fn is_excused(world: &World, history: &History, verdict: &Verdict, key: Key, newest: u32) -> bool {
    let lost = verdict.lost_debts.iter().any(|ack| ack.key == key && ack.version == newest);
    let orphaned =
        lock(&world.book.unanswered).iter().filter(|write| write.key == key).any(|write| {
            let (_, died) = history.processes[usize::from(write.process)];
            let it_was =
                world.origin.written(write.number).is_none_or(|(version, _)| version == newest);
            it_was
                && died.is_some_and(|died| died > write.invoked && died < write.invoked + 5_000_000)
        });
    lost || orphaned
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// One that nobody has had before.
fn new_seed() -> u64 {
    new_wall() % 1_000_000_000
}

/// A run as the environment wants it, and what must hold of it.
#[expect(clippy::print_stdout, reason = "a run tells its seed")]
async fn check(topology: Topology, seconds: u64, faults: u64) {
    let seed = setting("LARDER_CHECKER_SEED").unwrap_or_else(new_seed);
    let time = Duration::from_secs(setting("LARDER_CHECKER_SECONDS").unwrap_or(seconds));
    println!("LARDER_CHECKER_SEED={seed} LARDER_CHECKER_SECONDS={}", time.as_secs());
    let load = Load { readers: 8, writers: 3, pause: 60, past: false };
    let plan = nemesis::plan(topology, seed, time);
    let planned = plan.concat().len() as u64;
    let run = run(seed, load, plan, time + CALM, topology).await;
    assert!(run.verdict.violations.is_empty(), "{}", run.text);
    let reads = run.history.reads.len() as u64;
    assert!(reads >= setting("LARDER_CHECKER_READS").unwrap_or(1000), "only {reads} reads");
    let least = setting("LARDER_CHECKER_FAULTS").unwrap_or(faults);
    assert!(planned >= least, "only {planned} faults");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stale_is_read_whatever_breaks() {
    check(Topology::One, 15, 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stale_is_read_through_failovers() {
    check(Topology::Watched, 25, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_goes_past_the_cache_is_noticed() {
    let load = Load { readers: 2, writers: 2, pause: 20, past: true };
    let time = Duration::from_secs(3);
    let run = run(1, load, vec![Vec::new(); 3], time, Topology::One).await;
    let bounded = run.verdict.violations.iter().filter(|v| v.read.hit).count();
    assert!(bounded > 100, "{}", run.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_off_in_the_process() {
    for (skew, ahead) in [("+3600", true), ("-3600", false)] {
        let setup = support::larder::Setup::before("http://127.0.0.1:9");
        let larder = setup.start_as(world::skewed(skew)).await;
        let told = larder.admin().get("/livez").await;
        let there = httpdate::parse_http_date(told.field("date")).unwrap();
        let here = UNIX_EPOCH + Duration::from_millis(new_wall());
        let off = if ahead { there.duration_since(here) } else { here.duration_since(there) };
        let off = off.unwrap().as_secs();
        assert!((3590..3610).contains(&off), "{skew}: {off}");
    }
}

#[expect(clippy::disallowed_methods, reason = "it is the clock that is put to the test")]
fn new_wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}
