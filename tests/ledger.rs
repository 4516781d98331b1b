//! The ledger in a real Valkey, and what happens to it when that is flushed, killed, stopped,
//! demoted or written to by hand. Needs `valkey-server` and `valkey-cli` (Debian: `valkey-server`,
//! `valkey-tools`).

use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use larder::clock;
use larder::ledger::name::{Belongs, Name};
use larder::ledger::{Cause, Doubt, Mode, Position, Standing};
use larder::semantics::time::Timestamp;
use larder::store::ledger::{LedgerHandle, Receipt, Settings};
use tokio::time::Instant;

/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server of our own; ends with the test.
struct Valkey {
    port: u16,
    process: Child,
}

impl Valkey {
    fn start() -> Self {
        Self::start_on(free_port())
    }

    fn start_on(port: u16) -> Self {
        Self::start_in(port, &std::env::temp_dir(), "larder-no-such.rdb")
    }

    /// Loads this snapshot, if it is there.
    fn start_in(port: u16, folder: &Path, snapshot: &str) -> Self {
        let process = Command::new("valkey-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--dbfilename", snapshot, "--dir"])
            .arg(folder)
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("valkey-server runs (install valkey-server)");
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < PATIENCE, "valkey-server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { port, process }
    }

    /// As `kill -9` does.
    fn kill(mut self) -> u16 {
        self.process.kill().expect("a process of ours");
        self.process.wait().expect("a process of ours");
        self.port
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().is_ok_and(|s| s.success()));
    }

    fn cli(&self, args: &[&str]) -> String {
        let output = Command::new("valkey-cli")
            .args(["-p", &self.port.to_string()])
            .args(args)
            .output()
            .expect("valkey-cli runs (install valkey-tools)");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn open(&self) -> LedgerHandle {
        open(self.port)
    }
}

impl Drop for Valkey {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const STREAM: &str = "larder:{l}:ledger";
const INSTANCES: &str = "larder:{l}:instances";
const LEASE: Duration = Duration::from_millis(1500);

fn open(port: u16) -> LedgerHandle {
    open_with(port, None)
}

/// One that asks a replica to have everything in so much time.
fn open_with(port: u16, replicas: Option<Duration>) -> LedgerHandle {
    let settings = Settings {
        prefix: "larder".into(),
        budget: Duration::from_millis(400),
        lease: LEASE,
        names: 200_000,
        retention: Duration::from_secs(3600),
        records: 200_000,
        replicas,
    };
    let valkey = format!("valkey://127.0.0.1:{port}").parse().expect("a good URL");
    LedgerHandle::valkey(&valkey, settings).expect("no files are needed")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    listener.expect("a free port").port()
}

async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}

/// For what has no event to wait for: time that passes.
async fn until(what: &str, condition: impl Fn() -> bool) {
    soon(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn names(text: &str) -> Vec<Name> {
    vec![text.parse().expect("a name")]
}

async fn write(ledger: &LedgerHandle, text: &str) -> Receipt {
    ledger.invalidate(names(text), Mode::Hard, Cause::Write).await
}

fn product() -> Belongs {
    Belongs::of("catalog/products", "//shop.test/products/7", &["product:7"], &[""; 0])
}

/// What an entry is worth that nobody has vouched for lately.
fn judge(ledger: &LedgerHandle, as_of: Position) -> Standing {
    ledger.judge(as_of, Timestamp::ZERO, &product(), clock::now())
}

/// Whether it is suspect, or was invalidated anew: a process appends its last records again.
async fn until_fenced(ledger: &LedgerHandle, as_of: Position) {
    let fenced = || ledger.observe().fence > as_of && judge(ledger, as_of) != Standing::Good;
    until("a fence", fenced).await;
}

/// Whoever connects to one port comes out at another; ends with the test.
struct Forward(tokio::task::JoinHandle<()>);

impl Forward {
    fn start(from: u16, to: u16) -> Self {
        Self(tokio::spawn(async move {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", from)).await;
            let listener = listener.expect("the port is free again");
            while let Ok((mut near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let far = tokio::net::TcpStream::connect(("127.0.0.1", to)).await;
                    let mut far = far.expect("a running server");
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        }))
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_invalidates_the_other_obeys() {
    let valkey = Valkey::start();
    let (a, b) = (valkey.open(), valkey.open());
    soon("reading", async { (a.ready().await, b.ready().await) }).await;
    let before = b.applied();
    assert_eq!(judge(&b, before), Standing::Good);

    let receipt = write(&a, "tag:product:7").await;
    assert!(!receipt.owed && receipt.passed && receipt.position > before, "{receipt:?}");
    assert!(a.applied() >= receipt.position);
    assert_eq!(judge(&a, before), Standing::Invalidated);
    assert!(b.wait_for(receipt.position, PATIENCE).await);
    assert_eq!(judge(&b, before), Standing::Invalidated);
    assert_eq!(judge(&b, b.applied()), Standing::Good);

    let soft = a.invalidate(names("path:/products/7"), Mode::Soft, Cause::Purge).await;
    assert!(b.wait_for(soft.position, PATIENCE).await);
    assert_eq!(judge(&b, receipt.position), Standing::Softened);

    let bump = write(&a, "namespace:catalog").await;
    assert!(b.wait_for(bump.position, PATIENCE).await);
    for ledger in [&a, &b, &{
        let c = valkey.open();
        c.ready().await;
        c
    }] {
        assert_eq!(ledger.version("catalog/products"), bump.position);
        assert_eq!(ledger.version("search"), Position::ZERO);
    }
    assert_eq!(b.observe().invalidations[Cause::Write.index()], 2);
    assert_eq!(b.observe().invalidations[Cause::Purge.index()], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standing_may_be_kept_until_the_generation_moves() {
    let valkey = Valkey::start();
    let (a, b) = (valkey.open(), valkey.open());
    soon("reading", async { (a.ready().await, b.ready().await) }).await;
    let seen = b.generation(clock::now());
    assert!(seen.is_some());
    assert_eq!(b.generation(clock::now() + LEASE * 2), None, "the lease has run out by then");
    let receipt = write(&a, "tag:product:7").await;
    assert!(b.wait_for(receipt.position, PATIENCE).await);
    assert_ne!(b.generation(clock::now()), seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_names_make_many_records_and_one_receipt() {
    let valkey = Valkey::start();
    let (a, b) = (valkey.open(), valkey.open());
    soon("reading", async { (a.ready().await, b.ready().await) }).await;
    let before = b.applied();
    let mut tags: Vec<_> = (0..1200).map(|n| Name::Tag(format!("other:{n}").into())).collect();
    tags[3] = "tag:product:7".parse().unwrap();
    let receipt = a.invalidate(tags, Mode::Hard, Cause::Write).await;
    assert!(receipt.passed, "{receipt:?}");
    assert!(b.wait_for(receipt.position, PATIENCE).await);
    assert_eq!(b.observe().invalidations[Cause::Write.index()], 3);
    assert_eq!(judge(&b, before), Standing::Invalidated);
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_grow_across_a_deleted_stream() {
    let valkey = Valkey::start();
    let (a, b) = (valkey.open(), valkey.open());
    soon("reading", async { (a.ready().await, b.ready().await) }).await;
    let mut last = write(&a, "tag:product:7").await.position;
    for round in 0..3 {
        let entry = a.applied();
        assert_eq!(valkey.cli(&["DEL", STREAM]), "1");
        let receipt = write(&a, "tag:product:8").await;
        assert!(receipt.position > last && !receipt.owed, "round {round}: {receipt:?} {last}");
        last = receipt.position;
        assert!(b.wait_for(last, PATIENCE).await, "round {round}");
        for ledger in [&a, &b] {
            until_fenced(ledger, entry).await;
            until("trust again", || judge(ledger, ledger.applied()) == Standing::Good).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_is_noticed_and_nothing_from_before_it_is_trusted() {
    let valkey = Valkey::start();
    let a = valkey.open();
    soon("reading", a.ready()).await;
    let entry = write(&a, "namespace:catalog").await.position;
    assert_eq!(judge(&a, entry), Standing::Good, "a fill by somebody who knew of it is usable");
    assert_eq!(valkey.cli(&["FLUSHALL"]), "OK");
    until_fenced(&a, entry).await;
    until("trust again", || judge(&a, a.applied()) == Standing::Good).await;
    assert!(write(&a, "tag:product:7").await.position > entry);
}

/// Whoever opens a new life lets the others read its fence before they look themselves: they must
/// not take it for one that is too low, and open the next.
#[tokio::test(flavor = "multi_thread")]
async fn one_fence_is_enough_for_all_processes_whenever_they_look() {
    let valkey = Valkey::start();
    let mut all = Vec::new();
    for _ in 0..4 {
        let ledger = valkey.open();
        soon("reading", ledger.ready()).await;
        all.push(ledger);
        // They look once a second; not all at the same moment.
        tokio::time::sleep(Duration::from_millis(230)).await;
    }
    for round in 0..3 {
        let entry = write(&all[round], "tag:product:8").await.position;
        assert_eq!(valkey.cli(&["FLUSHALL"]), "OK");
        for ledger in &all {
            until_fenced(ledger, entry).await;
        }
        let looked = || valkey.cli(&["HGET", INSTANCES, all[round].instance()]);
        for _ in 0..3 {
            let last = looked();
            until("another look", || looked() != last).await;
        }
        assert_eq!(fences(&valkey), 1, "round {round}");
        for ledger in &all {
            assert_eq!(judge(ledger, ledger.applied()), Standing::Good);
        }
    }
}

fn fences(valkey: &Valkey) -> usize {
    let records = valkey.cli(&["XRANGE", STREAM, "-", "+"]);
    let lines: Vec<&str> = records.lines().collect();
    lines.windows(2).filter(|pair| *pair == ["k", "fence"]).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_lost_and_written_to_by_hand_is_noticed() {
    let valkey = Valkey::start();
    let a = valkey.open();
    soon("reading", a.ready()).await;
    let entry = write(&a, "tag:product:8").await.position;
    let script = "redis.call('DEL', KEYS[1]); redis.call('XADD', KEYS[1], '*', 'n', 'tag:x')";
    valkey.cli(&["EVAL", script, "1", STREAM]);
    until_fenced(&a, entry).await;
    // And once is enough, however often it is looked at.
    let looked = || valkey.cli(&["HGET", INSTANCES, a.instance()]);
    for _ in 0..3 {
        let last = looked();
        until("another look", || looked() != last).await;
    }
    assert_eq!(fences(&valkey), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_owes_nothing_when_it_is_back() {
    let valkey = Valkey::start();
    let (a, b) = (valkey.open(), valkey.open());
    soon("reading", async { (a.ready().await, b.ready().await) }).await;
    let entry = a.applied();
    let port = valkey.kill();

    let receipt = write(&a, "tag:product:7").await;
    assert!(receipt.owed && !receipt.passed, "{receipt:?}");
    assert_eq!(judge(&a, entry), Standing::Invalidated, "it counts here at once");
    let (now, refilled) = (clock::now(), a.applied());
    let standing = a.judge(refilled, now, &product(), now);
    assert_eq!(standing, Standing::Good, "a fill after it is usable");
    until("the lease runs out", || {
        judge(&a, refilled) == Standing::Suspect(Doubt::Unheard)
            && a.generation(clock::now()).is_none()
    })
    .await;
    let started = Instant::now();
    for _ in 0..100 {
        assert!(write(&a, "tag:product:8").await.owed);
    }
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "nobody waits for what is known to be away"
    );
    assert_eq!(a.observe().owed, 2, "the same name is owed once");

    let valkey = Valkey::start_on(port);
    until("a fence", || b.observe().fence > entry && a.observe().fence > entry).await;
    until("debts are paid", || a.observe().owed == 0).await;
    until("b knows", || b.observe().invalidations[Cause::Write.index()] > 0).await;
    let stream = valkey.cli(&["XRANGE", STREAM, "-", "+"]);
    for tag in ["tag:product:7", "tag:product:8"] {
        assert_eq!(stream.matches(tag).count(), 1, "{stream}");
    }
    until("trust again", || judge(&a, a.applied()) == Standing::Good).await;
    assert!(write(&a, "tag:product:7").await.passed);
    assert!(a.observe().reconnects > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_from_an_old_snapshot_brings_nothing_back_to_life() {
    let folder = tempfile::tempdir().expect("a folder");
    let valkey = Valkey::start_in(free_port(), folder.path(), "dump.rdb");
    let (a, b) = (valkey.open(), valkey.open());
    soon("reading", async { (a.ready().await, b.ready().await) }).await;
    write(&a, "namespace:catalog").await;
    let old = a.applied();
    assert_eq!(valkey.cli(&["SAVE"]), "OK");
    let lost = write(&a, "namespace:catalog").await.position;
    assert!(b.wait_for(lost, PATIENCE).await);
    // A process that lives would append it again.
    drop(a);
    let port = valkey.kill();

    let valkey = Valkey::start_in(port, folder.path(), "dump.rdb");
    assert!(!valkey.cli(&["XRANGE", STREAM, "-", "+"]).contains(&lost.to_string()));
    until("a fence", || b.observe().fence > lost).await;
    let new = valkey.open();
    soon("reading", new.ready()).await;
    assert!(new.version("catalog/products") < lost, "it was rolled back");
    assert_eq!(judge(&new, old), Standing::Suspect(Doubt::Fenced), "but nothing under it counts");
    assert_eq!(judge(&new, lost), Standing::Suspect(Doubt::Fenced));
    assert!(write(&new, "namespace:catalog").await.position > lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deposed_primary_took_is_told_to_the_next() {
    let (deposed, next) = (Valkey::start(), Valkey::start());
    let a = deposed.open();
    soon("reading", a.ready()).await;
    let receipt = write(&a, "tag:product:7").await;
    assert!(receipt.passed && !receipt.owed);
    // Where the first one was there is now another, which never heard of that write.
    let b = next.open();
    soon("reading", b.ready()).await;
    let entry = b.applied();
    assert_eq!(judge(&b, entry), Standing::Good);
    let (port, other) = (deposed.kill(), next.port);
    let _moved = Forward::start(port, other);
    until("it is told", || judge(&b, entry) == Standing::Invalidated).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_never_there_is_waited_for() {
    let port = free_port();
    let a = open(port);
    let receipt = write(&a, "tag:product:7").await;
    assert!(receipt.owed && !a.is_ready(), "{receipt:?}");
    assert_eq!((a.heard_age(clock::now()), a.generation(clock::now())), (None, None));
    let entry = a.applied();
    let valkey = Valkey::start_on(port);
    soon("reading", a.ready()).await;
    until("debts are paid", || a.observe().owed == 0).await;
    assert!(valkey.cli(&["XRANGE", STREAM, "-", "+"]).contains("tag:product:7"));
    until("trust", || judge(&a, a.applied()) == Standing::Good).await;
    assert_ne!(judge(&a, entry), Standing::Good);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_vouched_for_as_long_as_the_lease() {
    let valkey = Valkey::start();
    let a = valkey.open();
    soon("reading", a.ready()).await;
    let entry = a.applied();
    valkey.signal("-STOP");
    until("doubt", || judge(&a, entry) == Standing::Suspect(Doubt::Unheard)).await;
    assert!(a.heard_age(clock::now()).is_some_and(|age| age > LEASE));
    valkey.signal("-CONT");
    until("trust again", || judge(&a, entry) == Standing::Good).await;
    assert!(a.generation(clock::now()).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_does_not_hold_up_a_write_and_learns_of_it() {
    let valkey = Valkey::start();
    let (a, b) = (valkey.open(), valkey.open());
    soon("reading", async { (a.ready().await, b.ready().await) }).await;
    let entry = b.applied();
    valkey.signal("-STOP");
    let started = Instant::now();
    assert!(write(&a, "tag:product:7").await.owed);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    valkey.signal("-CONT");
    until("b obeys", || judge(&b, entry) == Standing::Invalidated).await;
    until("debts are paid", || a.observe().owed == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_server_is_not_trusted_and_its_promotion_is_a_fence() {
    let valkey = Valkey::start();
    let a = valkey.open();
    soon("reading", a.ready()).await;
    let entry = a.applied();
    assert_eq!(valkey.cli(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    until("refusal", || judge(&a, entry) == Standing::Suspect(Doubt::Unheard)).await;
    assert!(write(&a, "tag:product:7").await.owed);
    assert_eq!(valkey.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    until("debts are paid", || a.observe().owed == 0).await;
    until("a fence", || a.observe().fence > entry).await;
    until("trust again", || judge(&a, a.applied()) == Standing::Good).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_may_append_by_hand_and_nonsense_is_counted() {
    let valkey = Valkey::start();
    let a = valkey.open();
    soon("reading", a.ready()).await;
    let before = a.applied();
    let id = valkey.cli(&["XADD", STREAM, "*", "n", "tag:product:7"]);
    assert!(a.wait_for(id.parse().unwrap(), PATIENCE).await);
    assert_eq!(judge(&a, before), Standing::Invalidated);

    let before = a.applied();
    for fields in [["n", "colour:red"], ["x", "y"], ["n", "tag:\u{fffd}"]] {
        valkey.cli(&[&["XADD", STREAM, "*"][..], &fields].concat());
    }
    let id = valkey.cli(&["XADD", STREAM, "*", "n", "nothing", "n", "path:/products/7"]);
    assert!(a.wait_for(id.parse().unwrap(), PATIENCE).await);
    assert_eq!(judge(&a, before), Standing::Invalidated, "what can be read counts");
    let observed = a.observe();
    assert_eq!((observed.malformed, observed.invalidations[Cause::Event.index()]), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_know_of_each_other() {
    let valkey = Valkey::start();
    let (a, b) = (valkey.open(), valkey.open());
    assert_ne!(a.instance(), b.instance());
    until("both are seen", || a.peers().len() == 2 && b.peers().len() == 2).await;
    let receipt = write(&a, "tag:product:7").await;
    until("b says how far it is", || {
        a.peers().iter().any(|p| *p.instance == *b.instance() && p.applied >= receipt.position)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_handle_takes_its_connections_with_it() {
    let valkey = Valkey::start();
    let a = valkey.open();
    write(&a, "tag:product:7").await;
    let clients = || valkey.cli(&["CLIENT", "LIST"]).lines().count() - 1;
    until("two connections", || clients() == 2).await;
    drop(a.clone());
    assert!(write(&a, "tag:product:7").await.passed);
    drop(a);
    until("no connection", || clients() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_trimmed_unread_is_doubted() {
    let valkey = Valkey::start();
    let a = valkey.open();
    soon("reading", a.ready()).await;
    let entry = write(&a, "tag:product:8").await.position;
    let last = write(&a, "namespace:catalog").await.position;
    valkey.cli(&["XTRIM", STREAM, "MAXLEN", "0"]);
    let b = valkey.open();
    soon("reading", b.ready()).await;
    assert_eq!(b.observe().horizon, last);
    assert_eq!(judge(&b, entry), Standing::Suspect(Doubt::Forgotten));
    assert_eq!(b.version("catalog"), last, "versions outlive the stream's records");
    assert_eq!(judge(&a, last), Standing::Good, "it was read here before it was trimmed");
}

const NAMESPACES: &str = "larder:{l}:namespaces";

#[tokio::test(flavor = "multi_thread")]
async fn more_versions_than_one_answer_holds_are_read_at_the_start() {
    let valkey = Valkey::start();
    soon("reading", valkey.open().ready()).await;
    let last = "9999999999999-7";
    let script = "for n = 1, 20000 do redis.call('HSET', KEYS[1], 'n/' .. n, ARGV[1]) end";
    valkey.cli(&["EVAL", script, "1", NAMESPACES, last]);
    let a = valkey.open();
    soon("reading", a.ready()).await;
    let last: Position = last.parse().unwrap();
    assert!((1..=20_000).all(|n| a.version(&format!("n/{n}/below")) == last));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_tell_nothing_any_more_are_dropped_and_bring_nothing_back() {
    let valkey = Valkey::start();
    let a = valkey.open();
    soon("reading", a.ready()).await;
    let young = write(&a, "namespace:young").await.position;
    // Older than records are kept, and than everything in the stream.
    let script = "for n = 1, 700 do redis.call('HSET', KEYS[1], 'old/' .. n, n .. '-0') end";
    valkey.cli(&["EVAL", script, "1", NAMESPACES]);
    let left = || valkey.cli(&["HLEN", NAMESPACES]);
    until("what is old is gone", || left() == "2").await;
    assert_eq!(valkey.cli(&["HGET", NAMESPACES, "young"]), young.to_string());
    let life = valkey.cli(&["HGET", NAMESPACES, ""]);
    assert!(life.contains(' '), "the life of the stream stays: {life}");
    assert_eq!(a.version("young"), young);

    // Old, but as long as the stream reaches further back it tells something.
    let (kept, receipt) = ("1000000000000-0", write(&a, "tag:x").await);
    valkey.cli(&["XTRIM", STREAM, "MAXLEN", "0"]);
    valkey.cli(&["HSET", NAMESPACES, "kept", kept]);
    let looks = || valkey.cli(&["HGET", "larder:{l}:instances", a.instance()]);
    let before = looks();
    until("it was looked at", || looks() != before).await;
    let before = looks();
    until("it was looked at again", || looks() != before).await;
    assert_eq!(valkey.cli(&["HGET", NAMESPACES, "kept"]), kept, "an empty stream tells nothing");
    write(&a, "tag:x").await;
    until("it is dropped", || valkey.cli(&["HEXISTS", NAMESPACES, "kept"]) == "0").await;

    // Whoever starts now has the keys of before the bump, and vouches for nothing under them.
    let b = valkey.open();
    soon("reading", b.ready()).await;
    assert_eq!(b.version("old/7"), Position::ZERO);
    for as_of in ["1-0", kept] {
        assert!(matches!(judge(&b, as_of.parse().unwrap()), Standing::Suspect(_)), "{as_of}");
    }
    assert_eq!(judge(&b, receipt.position), Standing::Suspect(Doubt::Forgotten));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_replica_that_was_asked_for_nothing_is_durable_and_everything_counts() {
    let valkey = Valkey::start();
    let wait = Duration::from_millis(100);
    let (a, b) = (open_with(valkey.port, Some(wait)), valkey.open());
    soon("reading", async { (a.ready().await, b.ready().await) }).await;
    let before = b.applied();
    let span = Duration::from_secs(60);
    let intending = a.intend(names("tag:product:7"), Cause::Abandoned, span).await;
    assert!(!intending.is_taken(), "a route may refuse such a write");
    let receipt = intending.invalidate(names("tag:product:7"), Cause::Write).await;
    assert!(!receipt.owed && receipt.passed && !receipt.durable);
    assert!(b.wait_for(receipt.position, PATIENCE).await);
    assert_eq!(judge(&b, before), Standing::Invalidated);
    assert_eq!(a.observe().unreplicated, 2);
    assert!(write(&b, "tag:product:7").await.durable, "no replica was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_of_records_appended_by_hand_outlive_them_too() {
    let valkey = Valkey::start();
    let a = valkey.open();
    soon("reading", a.ready()).await;
    let add = |fields: &[&str]| valkey.cli(&[&["XADD", STREAM, "*", "n"][..], fields].concat());
    let old = add(&["namespace:catalog", "n", "namespace:search"]);
    let last = add(&["namespace:catalog"]);
    add(&["namespace:soft", "m", "soft"]);
    assert!(a.wait_for(last.parse().unwrap(), PATIENCE).await);
    let noted = |namespace| valkey.cli(&["HGET", "larder:{l}:namespaces", namespace]);
    until("they are noted", || noted("search") == old && noted("catalog") == last).await;
    assert_eq!(noted("soft"), "", "a soft one makes no version");
    valkey.cli(&["XTRIM", STREAM, "MAXLEN", "0"]);
    let b = valkey.open();
    soon("reading", b.ready()).await;
    for namespace in ["catalog", "search", "soft"] {
        assert_eq!(a.version(namespace), b.version(namespace), "{namespace}");
    }
    assert_eq!(b.version("catalog").to_string(), last);
    // What stands there is never gone below, whoever reads an old record again.
    let newer = write(&b, "namespace:search").await.position.to_string();
    add(&["tag:x"]);
    let c = valkey.open();
    soon("reading", c.ready()).await;
    assert_eq!((noted("search"), c.version("search").to_string()), (newer.clone(), newer));
}

/// Prints how long a start takes with a full ledger. `cargo test --test ledger -- --nocapture`.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_ledger_is_read_at_the_start() {
    let valkey = Valkey::start();
    soon("reading", valkey.open().ready()).await;
    let script = "for n = 1, 100000 do \
                  redis.call('XADD', KEYS[1], '*', 'n', 'tag:product:' .. n) end";
    valkey.cli(&["EVAL", script, "1", STREAM]);
    let started = Instant::now();
    let a = valkey.open();
    soon("reading", a.ready()).await;
    println!(
        "100,000 records read in {:?}, reconnects {}",
        started.elapsed(),
        a.observe().reconnects
    );
    assert_eq!(a.observe().names, 100_000);
    assert_eq!(judge(&a, Position::ZERO), Standing::Invalidated);
}

/// Prints latencies: from the call of `invalidate` in one process to the moment another has applied
/// it, and to its return.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a test"]
async fn measure_how_fast_an_invalidation_travels() {
    let valkey = Valkey::start();
    let (a, b) = (valkey.open(), valkey.open());
    soon("reading", async { (a.ready().await, b.ready().await) }).await;
    let (mut there, mut back) = (Vec::new(), Vec::new());
    for n in 0..2000 {
        let started = Instant::now();
        let mut moves = b.subscribe_applied();
        moves.mark_unchanged();
        let receipt = write(&a, &format!("tag:{n}")).await;
        back.push(started.elapsed());
        assert!(receipt.passed);
        moves.wait_for(|at| *at >= receipt.position).await.unwrap();
        there.push(started.elapsed());
    }
    for (what, mut times) in [("returned", back), ("applied by the other", there)] {
        times.sort();
        let at = |share: usize| times[times.len() * share / 100];
        println!("{what}: p50 {:?}, p99 {:?}", at(50), at(99));
    }
    println!("{:?}", a.observe());
}
