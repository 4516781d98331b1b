//! Valkey is absent, killed, frozen, full, damaged, replaced. None of it is ever more than a miss,
//! late by no more than the budget, and none of it needs a restart.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use larder::store::codec;
use larder::store::contract::Sample;
use larder::store::valkey::LinkState;
use larder::store::{Lease, LeaseEnd, LeaseToken, Record, Store, StoreError};
use tokio::time::Instant;

use crate::server::Valkey;
use crate::{BUDGET, World, until, within};

/// What a call may take beyond its budget before we call it late: these tests share few cores.
const SLACK: Duration = Duration::from_millis(100);

/// When a call is late. One budget is what it costs on a machine with time to spare; where the timer
/// itself comes late, a call gets up to two more, since it may be this process that is slow.
const LATEST: Duration = BUDGET.saturating_mul(3).saturating_add(SLACK);
/// What a call may take that does not ask anybody.
const AT_ONCE: Duration = Duration::from_millis(20);
/// After its return, Valkey is in use again within this.
const RETURN: Duration = Duration::from_secs(3);

#[tokio::test]
async fn without_valkey_every_call_is_answered_at_once() {
    let server = Valkey::absent();
    let world = World::over(&server, 0);
    let started = Instant::now();
    assert_eq!(all_calls(&*world.store).await, [const { Some(StoreError::Away) }; 6]);
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    assert_eq!(*world.handle.watch().borrow(), LinkState::Down);
    assert_eq!(world.meters.snapshot().valkey.unwrap().get.away, 1);
}

#[tokio::test]
async fn memory_works_while_valkey_is_absent() {
    let world = World::over(&Valkey::absent(), 1 << 20);
    let sample = Sample::unique("memory");
    let key = sample.key();
    assert_eq!(world.store.put(&key, sample.entry()).await, Err(StoreError::Away));
    assert!(world.store.peek(&key).is_some());
}

#[tokio::test]
async fn a_server_that_comes_later_is_found() {
    let mut server = Valkey::absent();
    let world = World::over(&server, 0);
    assert!(world.store.fetch(&Sample::unique("early").key()).await.is_err());
    server.restart();
    let started = Instant::now();
    until_it_works(&world).await;
    assert!(started.elapsed() < RETURN);
}

#[tokio::test]
async fn a_killed_server_is_noticed_and_its_successor_found() {
    let mut server = Valkey::start();
    let world = World::working(&server, 0).await;
    for _ in 0..2 {
        server.kill();
        let worst = slowest_of(&*world.store, 30).await;
        assert!(worst < LATEST, "a call took {worst:?}");
        let mut state = world.handle.watch();
        let down = state.wait_for(|state| *state == LinkState::Down);
        assert!(tokio::time::timeout(RETURN, down).await.is_ok(), "it was not noticed");
        server.restart();
        until_it_works(&world).await;
    }
}

#[tokio::test]
async fn an_idle_process_notices_that_the_server_is_gone() {
    let mut server = Valkey::start();
    let world = World::working(&server, 0).await;
    let mut state = world.handle.watch();
    server.kill();
    let down = state.wait_for(|state| *state == LinkState::Down);
    assert!(tokio::time::timeout(RETURN, down).await.is_ok(), "it was not noticed");
}

#[tokio::test]
async fn a_frozen_server_costs_one_budget_each_for_a_few_calls_and_then_nothing() {
    let server = Valkey::start();
    let world = World::working(&server, 0).await;
    let key = Sample::unique("frozen").key();
    server.freeze();
    let mut asked = 0;
    loop {
        let started = Instant::now();
        let error = world.store.fetch(&key).await.unwrap_err();
        let took = started.elapsed();
        assert!(took < LATEST, "a call took {took:?}");
        if error == StoreError::Away {
            break;
        }
        asked += 1;
        assert!(asked <= 10, "the breaker stays closed");
    }
    assert!(asked >= 3, "the breaker opened after {asked} calls");
    // A probe is let through now and then; all others are answered at once.
    let mut slow = 0;
    for _ in 0..100 {
        let started = Instant::now();
        assert!(world.store.fetch(&key).await.is_err());
        slow += usize::from(started.elapsed() > AT_ONCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(slow <= 3, "{slow} of 100 calls were slow");
    server.thaw();
    until_it_works(&world).await;
}

#[tokio::test]
async fn time_on_the_way_to_a_frozen_server_counts() {
    let server = Valkey::start();
    let world = World::working(&server, 0).await;
    let sample = Sample::unique("late");
    let (key, written) = (sample.key(), sample.entry());
    let brief = Sample::unique("too late").kept_for(Duration::from_millis(300));
    server.freeze();
    for (key, record) in [(&key, written.clone()), (&brief.key(), brief.entry())] {
        assert_eq!(world.store.put(key, record).await, Err(StoreError::Timeout));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.thaw();
    // What was on the way arrives now.
    let digest = key.digest.to_string();
    until("it is stored", async || name_of_any(&server, &digest).is_some()).await;
    let found = world.store.fetch(&key).await.unwrap();
    let (Some(Record::Entry(found)), Record::Entry(written)) = (found, written) else {
        panic!("it did not come back");
    };
    let now = larder::clock::now();
    let (found, written) = (found.times(), written.times());
    assert!(found.age(now) >= written.age(now), "it got younger: {:?}", found.age(now));
    assert!(found.keep_until <= written.keep_until, "it is kept longer");
    assert!(world.store.fetch(&brief.key()).await.unwrap().is_none(), "its time has passed");
}

#[tokio::test]
async fn a_server_frozen_for_long_is_given_up_and_found_again() {
    let server = Valkey::start();
    let world = World::working(&server, 0).await;
    server.freeze();
    let mut state = world.handle.watch();
    within(Duration::from_secs(8), "the connection is given up", async || {
        let key = Sample::unique("frozen").key();
        let _ = world.store.lease(&key, Duration::from_secs(1)).await;
        *state.borrow_and_update() == LinkState::Down
    })
    .await;
    server.thaw();
    until_it_works(&world).await;
}

#[tokio::test]
async fn connections_that_lead_nowhere_are_replaced() {
    let server = Valkey::start();
    let wire = Wire::to(&server);
    let world = World::at(wire.url(), 0);
    world.until_connected().await;
    let before = *world.handle.watch().borrow();
    wire.cut();
    let key = Sample::unique("hole").key();
    assert_eq!(world.store.fetch(&key).await.err(), Some(StoreError::Timeout));
    // The slowest to be given up are those for large records, which may take their time.
    it_works_within(Duration::from_secs(5), &world).await;
    assert_ne!(*world.handle.watch().borrow(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_while_it_is_killed_and_started_no_call_is_late() {
    let mut server = Valkey::start();
    let world = World::working(&server, 0).await;
    let (store, done) = (Arc::clone(&world.store), Arc::new(AtomicBool::new(false)));
    let caller = tokio::spawn({
        let done = Arc::clone(&done);
        async move {
            let mut worst = Duration::ZERO;
            while !done.load(Relaxed) {
                worst = worst.max(slowest_of(&*store, 5).await);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            worst
        }
    });
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(200)).await;
        tokio::task::block_in_place(|| server.restart());
    }
    done.store(true, Relaxed);
    let worst = caller.await.unwrap();
    assert!(worst < LATEST, "a call took {worst:?}");
}

#[tokio::test]
async fn damaged_and_foreign_records_are_misses_and_counted() {
    let server = Valkey::start();
    let world = World::working(&server, 0).await;
    let sample = Sample::unique("damaged");
    let key = sample.key();
    let name = || name_of(&server, &key.digest.to_string());
    let mut client = server.client();

    let stored = |at: usize, bits: u8| {
        let mut bytes: Vec<u8> = redis::cmd("GET").arg(name()).query(&mut server.client()).unwrap();
        bytes[at] ^= bits;
        let mut set = redis::cmd("SET");
        set.arg(name()).arg(bytes).arg("KEEPTTL").exec(&mut server.client()).unwrap();
    };
    world.store.put(&key, sample.entry()).await.unwrap();
    stored(100, 1);
    assert!(world.store.fetch(&key).await.unwrap().is_none());
    assert_eq!(world.meters.snapshot().valkey.unwrap().damaged, 1);
    assert!(name_of_any(&server, &key.digest.to_string()).is_none(), "it was left there");

    world.store.put(&key, sample.entry()).await.unwrap();
    stored(4, codec::VERSION ^ 200);
    assert!(world.store.fetch(&key).await.unwrap().is_none());
    let seen = world.meters.snapshot().valkey.unwrap();
    assert_eq!((seen.damaged, seen.foreign), (1, 1));
    assert!(name_of_any(&server, &key.digest.to_string()).is_some(), "others may need it");

    // A record that would stay for ever was not stored by us.
    world.store.put(&key, sample.entry()).await.unwrap();
    redis::cmd("PERSIST").arg(name()).exec(&mut client).unwrap();
    assert!(world.store.fetch(&key).await.unwrap().is_none());
    // One whose lifetime has grown would come back too young.
    world.store.put(&key, sample.entry()).await.unwrap();
    redis::cmd("PEXPIRE").arg(name()).arg(3_600_000).exec(&mut client).unwrap();
    assert!(world.store.fetch(&key).await.unwrap().is_none());
    // Something else altogether.
    world.store.put(&key, sample.entry()).await.unwrap();
    redis::cmd("SET").arg(name()).arg("hello").arg("PX").arg(9_000).exec(&mut client).unwrap();
    assert!(world.store.fetch(&key).await.unwrap().is_none());
    assert_eq!(world.meters.snapshot().valkey.unwrap().damaged, 3);
}

#[tokio::test]
async fn a_record_under_the_wrong_name_is_a_miss() {
    let server = Valkey::start();
    let world = World::working(&server, 0).await;
    let (one, two) = (Sample::unique("one"), Sample::unique("two"));
    for sample in [&one, &two] {
        world.store.put(&sample.key(), sample.entry()).await.unwrap();
    }
    let name = |sample: &Sample| name_of(&server, &sample.key().digest.to_string());
    redis::cmd("RENAME").arg(name(&one)).arg(name(&two)).exec(&mut server.client()).unwrap();
    assert!(world.store.fetch(&two.key()).await.unwrap().is_none());
}

#[tokio::test]
async fn anything_may_vanish_at_any_moment() {
    let server = Valkey::start();
    let world = World::working(&server, 0).await;
    let sample = Sample::unique("vanishing");
    let key = sample.key();
    for length in [10, 100_000] {
        let sample = sample.clone().body(vec![1; length]);
        world.store.put(&key, sample.entry()).await.unwrap();
        redis::cmd("FLUSHALL").exec(&mut server.client()).unwrap();
        assert!(world.store.fetch(&key).await.unwrap().is_none());
    }
    let ttl = Duration::from_secs(9);
    let Ok(Lease::Granted(token)) = world.store.lease(&key, ttl).await else {
        panic!("not granted");
    };
    redis::cmd("FLUSHALL").exec(&mut server.client()).unwrap();
    assert_eq!(world.store.renew(&key, &token, ttl).await, Ok(false));
    assert_eq!(world.store.release(&key, &token, LeaseEnd::Stored).await, Ok(()));
    // Scripts vanish as well.
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut server.client()).unwrap();
    let Ok(Lease::Granted(token)) = world.store.lease(&key, ttl).await else {
        panic!("not granted");
    };
    assert_eq!(world.store.renew(&key, &token, ttl).await, Ok(true));
}

#[tokio::test]
async fn a_full_server_refuses_writes_and_is_still_read() {
    let server = Valkey::start();
    let world = World::working(&server, 0).await;
    let (before, after) = (Sample::unique("before"), Sample::unique("after"));
    world.store.put(&before.key(), before.entry()).await.unwrap();
    redis::cmd("CONFIG").arg(&["SET", "maxmemory", "1"]).exec(&mut server.client()).unwrap();
    for _ in 0..20 {
        let refused = world.store.put(&after.key(), after.entry()).await;
        assert!(matches!(refused, Err(StoreError::Failed(_))), "{refused:?}");
        assert!(world.store.fetch(&before.key()).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_server_that_has_become_a_replica_is_left_and_asked_for_again() {
    let server = Valkey::start();
    let world = World::working(&server, 0).await;
    let sample = Sample::unique("deposed");
    let before = *world.handle.watch().borrow();
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).exec(&mut server.client()).unwrap();
    until("the connection is replaced", async || {
        let ttl = Duration::from_secs(1);
        let _ = world.store.lease(&sample.key(), ttl).await;
        let now = *world.handle.watch().borrow();
        now != before && now != LinkState::Down
    })
    .await;
    redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut server.client()).unwrap();
    until_it_works(&world).await;
}

#[tokio::test]
async fn a_server_that_wants_a_password_is_not_called_connected() {
    let server = Valkey::start();
    let mut client = server.client();
    redis::cmd("CONFIG").arg(&["SET", "requirepass", "secret"]).exec(&mut client).unwrap();
    let world = World::over(&server, 0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(*world.handle.watch().borrow(), LinkState::Down);
    redis::cmd("CONFIG").arg(&["SET", "requirepass", ""]).exec(&mut client).unwrap();
    until_it_works(&world).await;
}

/// Every call of a store, and the error that each ended with.
async fn all_calls(store: &dyn Store) -> [Option<StoreError>; 6] {
    let sample = Sample::unique("any");
    let (key, token, ttl) = (sample.key(), LeaseToken::unique(), Duration::from_secs(1));
    [
        store.fetch(&key).await.err(),
        store.put(&key, sample.entry()).await.err(),
        store.remove(&key).await.err(),
        store.lease(&key, ttl).await.err(),
        store.renew(&key, &token, ttl).await.err(),
        store.release(&key, &token, LeaseEnd::Stored).await.err(),
    ]
}

async fn slowest_of(store: &dyn Store, calls: usize) -> Duration {
    let key = Sample::unique("slow").key();
    let mut worst = Duration::ZERO;
    for _ in 0..calls {
        let started = Instant::now();
        let _ = store.fetch(&key).await;
        let _ = store.lease(&key, Duration::from_secs(1)).await;
        worst = worst.max(started.elapsed() / 2);
    }
    worst
}

async fn until_it_works(world: &World) {
    it_works_within(RETURN, world).await;
}

async fn it_works_within(limit: Duration, world: &World) {
    let sample = Sample::unique("back");
    let large = sample.clone().body(vec![1; 100_000]);
    let key = sample.key();
    within(limit, "it works again", async || {
        world.store.put(&key, sample.entry()).await.is_ok()
            && world.store.fetch(&key).await.is_ok_and(|found| found.is_some())
            && world.store.lease(&key, Duration::from_secs(1)).await.is_ok()
            && world.store.put(&key, large.entry()).await.is_ok()
    })
    .await;
}

fn name_of(server: &Valkey, digest: &str) -> String {
    name_of_any(server, digest).expect("it is stored")
}

fn name_of_any(server: &Valkey, digest: &str) -> Option<String> {
    let names: Vec<String> =
        redis::cmd("KEYS").arg(format!("larder:e:*{digest}")).query(&mut server.client()).unwrap();
    names.into_iter().next()
}

/// A wire to a server, which can be cut without either end noticing.
struct Wire {
    port: u16,
    /// Connections made so far.
    made: Arc<AtomicU64>,
    /// The first of them that still gets through.
    whole: Arc<AtomicU64>,
}

impl Wire {
    fn to(server: &Valkey) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire = Self { port, made: Arc::default(), whole: Arc::default() };
        let (target, made, whole) =
            (server.port(), Arc::clone(&wire.made), Arc::clone(&wire.whole));
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { continue };
                let number = made.fetch_add(1, Relaxed);
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let whole = Arc::clone(&whole);
                    std::thread::spawn(move || pass(from, to, || number >= whole.load(Relaxed)));
                }
            }
        });
        wire
    }

    /// From here on nothing comes through on the connections that are open, nor do they break.
    /// New ones work.
    fn cut(&self) {
        self.whole.store(self.made.load(Relaxed), Relaxed);
    }

    fn url(&self) -> String {
        format!("valkey://127.0.0.1:{}", self.port)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, whole: impl Fn() -> bool) {
    let mut buffer = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if whole() && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}
