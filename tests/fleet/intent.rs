//! What if the process dies that carries out a write? The others know that it was about to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::Fleet;
use crate::support::origin::{Gate, Resource, ok, status};
use crate::support::wait::{eventually, stays, within};
use crate::valkey::Valkey;

const KEEPS: &str = "soft_ttl = \"1h\"";
const PATH: &str = "/things/7";
/// As short as an origin's timeout may sensibly be: it is part of how long a write stays announced.
const TIMEOUT: &str = "timeout = \"2s\"";
/// For that and the margin on top of it, and a look by another process.
const CLOSED: Duration = Duration::from_secs(10);

/// An origin that carries out a write at once, and does not answer before the gate is open; every
/// process has what was there before.
async fn with_slow_writes(size: usize, keys: &str) -> (Fleet, Gate) {
    let keys = format!("{KEEPS}\n{keys}");
    let fleet = Fleet::set_up(size, |setup| setup.origin(TIMEOUT).route("/{*rest}", &keys)).await;
    let (value, gate) = (Resource::new("old"), Gate::closed());
    let (current, written) = (value.clone(), gate.clone());
    fleet.origin.when("GET", PATH).answers(move |_| ok(current.get()));
    fleet.origin.when("PUT", PATH).answers(move |_| {
        value.set("new");
        status(204).after(&written)
    });
    for of in 0..size {
        fleet.warm(of, PATH).await.expect(200, "old");
    }
    (fleet, gate)
}

/// Sends a write through the first process, and waits until the origin has carried it out.
async fn write_without_an_answer(fleet: &Fleet) -> tokio::task::JoinHandle<()> {
    let client = fleet.client(0);
    let writing = tokio::spawn(async move {
        let _ = client.asks("PUT", PATH).content("new").try_open().await;
    });
    eventually("the origin has it", async || fleet.origin.saw_method("PUT", PATH) == 1).await;
    writing
}

fn announced(valkey: &Valkey) -> usize {
    redis::cmd("ZCARD").arg("larder:{l}:intents").query(&mut valkey.client()).unwrap()
}

fn recorded(valkey: &Valkey, cause: &str) -> usize {
    let all: redis::Value = redis::cmd("XRANGE")
        .arg("larder:{l}:ledger")
        .arg(&["-", "+"])
        .query(&mut valkey.client())
        .unwrap();
    format!("{all:?}").matches(&format!("bulk-string('\"{cause}\"')")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_process_was_writing_is_invalidated_once_by_the_others() {
    let (mut fleet, gate) = with_slow_writes(3, "").await;
    let writing = write_without_an_answer(&fleet).await;
    fleet.larders[0].kill();
    writing.await.unwrap();
    for of in 1..3 {
        within(CLOSED, "the new is read", async || {
            fleet.client(of).get(PATH).await.text() == "new"
        })
        .await;
    }
    assert_eq!(announced(&fleet.valkey), 0);
    assert_eq!(recorded(&fleet.valkey, "abandoned"), 1);
    gate.open();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_process_leaves_it_to_the_next() {
    let (mut fleet, gate) = with_slow_writes(1, "").await;
    fleet.until_stored(1).await;
    let writing = write_without_an_answer(&fleet).await;
    fleet.larders[0].kill();
    writing.await.unwrap();
    let setup = |url: String, origin: String| {
        crate::Setup::before(&origin)
            .origin(TIMEOUT)
            .store(&format!("valkey = \"{url}\"\ntimeout = \"2s\""))
            .route("/{*rest}", KEEPS)
    };
    let next = setup(fleet.valkey.url(), fleet.origin.url()).start().await;
    within(CLOSED, "the new is read", async || next.client().get(PATH).await.text() == "new").await;
    gate.open();
}

/// How many writes are announced at the moment when the origin gets one.
async fn announced_when_the_origin_sees_it(keys: &str) -> (Fleet, usize) {
    let keys = format!("{KEEPS}\n{keys}");
    let fleet = Fleet::of(1, &keys).await;
    let seen = Arc::new(AtomicUsize::new(usize::MAX));
    let (noted, url) = (Arc::clone(&seen), fleet.valkey.url());
    fleet.origin.when("PUT", PATH).answers(move |asked| {
        let mut valkey = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
        let count = redis::cmd("ZCARD").arg("larder:{l}:intents").query(&mut valkey).unwrap();
        noted.store(count, Ordering::SeqCst);
        status(if asked.content() == "wrong" { 422 } else { 204 })
    });
    fleet.client(0).asks("PUT", PATH).content("new").send().await;
    let seen = seen.load(Ordering::SeqCst);
    (fleet, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_sees_no_write_that_is_not_announced() {
    let (fleet, announced_then) = announced_when_the_origin_sees_it("").await;
    assert_eq!(announced_then, 1);
    assert_eq!(announced(&fleet.valkey), 0, "its record takes it back in the same step");
    assert_eq!(recorded(&fleet.valkey, "write"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_may_do_without_announcing() {
    let (fleet, announced_then) = announced_when_the_origin_sees_it("announce = false").await;
    assert_eq!(announced_then, 0);
    assert_eq!(recorded(&fleet.valkey, "write"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_nothing_is_taken_back_without_a_record() {
    let (fleet, _) = announced_when_the_origin_sees_it("").await;
    let before = recorded(&fleet.valkey, "write");
    let reply = fleet.client(0).asks("PUT", PATH).content("wrong").send().await;
    assert_eq!(reply.status, 422);
    eventually("it is taken back", async || announced(&fleet.valkey) == 0).await;
    assert_eq!(recorded(&fleet.valkey, "write"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_valkey_that_forgot_is_told_again() {
    let (mut fleet, gate) = with_slow_writes(2, "").await;
    let writing = write_without_an_answer(&fleet).await;
    assert_eq!(announced(&fleet.valkey), 1);
    fleet.valkey.restart();
    within(Duration::from_secs(2), "it is announced again", async || announced(&fleet.valkey) == 1)
        .await;
    fleet.larders[0].kill();
    writing.await.unwrap();
    eventually("it is closed", async || announced(&fleet.valkey) == 0).await;
    assert_eq!(recorded(&fleet.valkey, "abandoned"), 1);
    fleet.client(1).get(PATH).await.expect(200, "new");
    gate.open();
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_among_the_intents_hurts_nobody() {
    let fleet = Fleet::of(1, KEEPS).await;
    let nonsense = ["", "{", "[]", "[1,2,3,4]", "[\"x\"]", "[\"a\",\"b\",\"1\",\"colour:red\"]"];
    // More than a script can hand on at once.
    let endless = format!("[\"abandoned\",\"x\",\"1\"{}]", ",\"tag:a\"".repeat(9_000));
    for text in nonsense.into_iter().chain([&*endless]) {
        redis::cmd("ZADD")
            .arg("larder:{l}:intents")
            .arg(1)
            .arg(text)
            .exec(&mut fleet.valkey.client())
            .unwrap();
    }
    eventually("they are gone", async || announced(&fleet.valkey) == 0).await;
    fleet.until_connected().await;
}

/// An origin whose reads lag behind its writes until it is told to catch up.
async fn with_lagging_reads(size: usize, keys: &str) -> (Fleet, Resource) {
    let keys = format!("{KEEPS}\n{keys}");
    let fleet = Fleet::set_up(size, |setup| setup.origin(TIMEOUT).route("/{*rest}", &keys)).await;
    let replica = Resource::new("old");
    let read = replica.clone();
    fleet.origin.when("GET", PATH).answers(move |_| ok(read.get()));
    fleet.origin.when("PUT", PATH).replies(status(204));
    (fleet, replica)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_reads_from_lagging_replicas_is_given_time() {
    let (fleet, replica) = with_lagging_reads(2, "settle = \"1s\"").await;
    fleet.client(0).asks("PUT", PATH).content("new").send().await;
    fleet.warm(1, PATH).await.expect(200, "old");
    replica.set("new");
    eventually("the new is read", async || fleet.client(1).get(PATH).await.text() == "new").await;
    assert_eq!(recorded(&fleet.valkey, "settle"), 1);
    assert_eq!(announced(&fleet.valkey), 0);
    stays(Duration::from_millis(1_500), "once", async || recorded(&fleet.valkey, "settle") == 1)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_let_it_settle_when_the_process_is_gone() {
    let (mut fleet, replica) = with_lagging_reads(2, "settle = \"2s\"").await;
    fleet.client(0).asks("PUT", PATH).content("new").send().await;
    fleet.warm(1, PATH).await.expect(200, "old");
    fleet.larders[0].kill();
    replica.set("new");
    within(CLOSED, "the new is read", async || fleet.client(1).get(PATH).await.text() == "new")
        .await;
    assert_eq!(recorded(&fleet.valkey, "settle"), 1);
}
