//! Promises kept over a real server.

use std::time::Duration;

use larder::config;
use larder::store::contract::{Kind, Sample, run};
use larder::store::valkey::Script;
use larder::store::{Lease, Record, StoreError};

use crate::server::Valkey;
use crate::{World, until};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn valkey_alone_keeps_the_contract_of_stores() {
    let server = Valkey::start();
    let world = World::working(&server, 0).await;
    run(&*world.store, Kind::Shared).await;
    assert_everything_goes_by_itself(&server);
}

#[tokio::test]
async fn memory_in_front_of_valkey_keeps_the_contract_of_stores() {
    let server = Valkey::start();
    let world = World::working(&server, 64 * MIB as u64).await;
    run(&*world.store, Kind::Tiered).await;
    assert_everything_goes_by_itself(&server);
}

#[tokio::test]
async fn what_one_process_stores_another_finds_and_then_has_in_memory() {
    let server = Valkey::start();
    let writer = World::working(&server, 0).await;
    let reader = World::working(&server, 64 * MIB as u64).await;
    let sample = Sample::unique("shared");
    let key = sample.key();
    writer.store.put(&key, sample.entry()).await.unwrap();
    assert!(reader.store.peek(&key).is_none());
    assert!(reader.store.fetch(&key).await.unwrap().is_some());
    assert!(reader.store.peek(&key).is_some());
}

#[tokio::test]
async fn a_lease_of_one_process_holds_off_another() {
    let server = Valkey::start();
    let (one, two) = (World::working(&server, 0).await, World::working(&server, 0).await);
    let (key, ttl) = (Sample::unique("lease").key(), Duration::from_secs(9));
    assert!(matches!(one.store.lease(&key, ttl).await, Ok(Lease::Granted(_))));
    assert!(matches!(two.store.lease(&key, ttl).await, Ok(Lease::Held)));
}

#[tokio::test]
async fn large_bodies_travel_whole_and_do_not_hold_up_small_ones() {
    let server = Valkey::start();
    let world = World::working(&server, 0).await;
    let large = Sample::unique("large").body((0..8 * MIB).map(|n| (n % 251) as u8).collect());
    let key = large.key();
    world.store.put(&key, large.entry()).await.unwrap();
    let small = Sample::unique("small");
    world.store.put(&small.key(), small.entry()).await.unwrap();
    let small_key = small.key();
    let (whole, beside) = tokio::join!(world.store.fetch(&key), world.store.fetch(&small_key));
    assert!(beside.unwrap().is_some());
    let (Some(Record::Entry(whole)), Record::Entry(written)) = (whole.unwrap(), large.entry())
    else {
        panic!("the large body did not come back");
    };
    assert!(whole.body() == written.body(), "it came back changed");
    let seen = world.meters.snapshot().valkey.unwrap();
    assert!(seen.bytes_read > 8 * MIB as u64 && seen.bytes_written > 8 * MIB as u64);
    assert_everything_goes_by_itself(&server);
}

#[tokio::test]
async fn a_body_too_heavy_for_memory_is_still_shared() {
    let server = Valkey::start();
    let world = World::working(&server, MIB as u64).await;
    let sample = Sample::unique("heavy").body(vec![1; 2 * MIB]);
    let key = sample.key();
    world.store.put(&key, sample.entry()).await.unwrap();
    assert!(world.store.peek(&key).is_none());
    assert!(world.store.fetch(&key).await.unwrap().is_some());
    assert!(world.meters.snapshot().memory.unwrap().refused > 0);
}

#[tokio::test]
async fn time_in_valkey_makes_a_response_older() {
    let server = Valkey::start();
    let world = World::working(&server, 0).await;
    let sample = Sample::unique("ageing");
    let (key, written) = (sample.key(), sample.entry());
    world.store.put(&key, written.clone()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let found = world.store.fetch(&key).await.unwrap();
    let (Some(Record::Entry(found)), Record::Entry(written)) = (found, written) else {
        panic!("it did not come back");
    };
    let now = larder::clock::now();
    let (found, written) = (found.times(), written.times());
    let off = found.age(now).abs_diff(written.age(now));
    assert!(off < Duration::from_millis(100), "age {:?}, {off:?} off", found.age(now));
    let off = found.fresh_until.since(written.fresh_until);
    assert!(off < Duration::from_millis(100), "fresh for {off:?} too long");
}

#[tokio::test]
async fn a_lease_whose_asker_has_gone_is_given_back() {
    let server = Valkey::start();
    let world = World::working(&server, 0).await;
    let (key, ttl) = (Sample::unique("gone").key(), Duration::from_secs(60));
    for _ in 0..20 {
        let mut asking = world.store.lease(&key, ttl);
        // Polled once, so that the question is on its way, and then abandoned.
        std::future::poll_fn(|context| {
            let _ = asking.as_mut().poll(context);
            std::task::Poll::Ready(())
        })
        .await;
        drop(asking);
    }
    until("the lease is free again", async || {
        matches!(world.store.lease(&key, ttl).await, Ok(Lease::Granted(_)))
    })
    .await;
}

#[tokio::test]
async fn the_ledger_has_a_way_to_run_scripts_and_to_block() {
    let server = Valkey::start();
    let world = World::working(&server, 0).await;
    let handle = &world.handle;
    let name = handle.key("ledger");
    assert_eq!(name, "larder:{l}:ledger");
    let script = Script::new("return redis.call('XADD', KEYS[1], '*', 'name', ARGV[1])");
    for _ in 0..2 {
        let id = handle.run_script(&script, &[&name], &[b"tag:a"], handle.budget()).await.unwrap();
        assert!(matches!(id, redis::Value::BulkString(_)), "{id:?}");
    }
    let length = handle.command(redis::cmd("XLEN").arg(&name), handle.budget()).await;
    assert_eq!(length, Ok(redis::Value::Int(2)));
    let broken = Script::new("return redis.call('NOSUCH')");
    let refused = handle.run_script(&broken, &[], &[], handle.budget()).await;
    assert!(matches!(refused, Err(StoreError::Failed(_))), "{refused:?}");

    let mut own = handle.open_connection(Some(Duration::from_secs(3))).await.unwrap();
    let mut read = redis::cmd("XREAD");
    read.arg("BLOCK").arg(2_000).arg("STREAMS").arg(&name).arg("$");
    let blocked = tokio::spawn(async move { own.send_packed_command(&read).await });
    until("the reader is woken", async || {
        handle.run_script(&script, &[&name], &[b"tag:b"], handle.budget()).await.unwrap();
        blocked.is_finished()
    })
    .await;
    assert!(matches!(blocked.await.unwrap(), Ok(redis::Value::Array(_))));
}

#[tokio::test]
async fn the_server_tells_about_its_memory() {
    let server = Valkey::start();
    let world = World::working(&server, 0).await;
    let info = world.handle.server_info().await.unwrap();
    assert!(info.used_memory.is_some_and(|bytes| bytes > 0), "{info:?}");
    assert_eq!(info.maxmemory_policy.as_deref(), Some("noeviction"));
    assert_eq!(info.evicted_keys, Some(0));
    assert!(!info.warnings(config::Durability::Primary).is_empty());
}

/// Every key that is there has a lifetime.
fn assert_everything_goes_by_itself(server: &Valkey) {
    let mut client = server.client();
    let (mut cursor, mut seen) = (0_u64, 0);
    loop {
        let (next, names): (u64, Vec<String>) =
            redis::cmd("SCAN").arg(cursor).query(&mut client).unwrap();
        for name in names {
            let left: i64 = redis::cmd("PTTL").arg(&name).query(&mut client).unwrap();
            // It may have gone since it was listed.
            assert!(left > 0 || left == -2, "{name} would stay for ever: {left}");
            assert!(name.starts_with("larder:e:") || name.starts_with("larder:f:"), "{name}");
            seen += 1;
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    assert!(seen > 0, "nothing was stored at all");
}

#[tokio::test]
async fn channels_can_be_listened_to_on_a_connection_of_their_own() {
    let server = Valkey::start();
    let world = World::working(&server, 0).await;
    let mut own = world.handle.open_subscriber().await.unwrap();
    own.subscribe("news").await.unwrap();
    let publish = || redis::cmd("PUBLISH").arg(&["news", "hello"]).query(&mut server.client());
    assert_eq!(publish(), Ok(1), "one listens");
    drop(own);
    until("nobody listens any more", async || publish() == Ok(0)).await;
}
