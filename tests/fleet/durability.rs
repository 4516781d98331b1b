//! Does a replica have what was invalidated before the write is answered, and is it told if not?

use std::time::Duration;

use redis::Connection;
use tokio::time::Instant;

use crate::Fleet;
use crate::support::client::Reply;
use crate::support::larder::Setup;
use crate::support::origin::ok;
use crate::support::wait::{eventually, within};
use crate::valkey::Valkey;

const STREAM: &str = "larder:{l}:ledger";

/// Two processes on a primary that has a replica.
struct Pair {
    fleet: Fleet,
    replica: Valkey,
}

impl Pair {
    async fn of(keys: &str) -> Self {
        let primary = Valkey::start();
        // It would wait for more replicas before it sends anything to the first.
        let mut ask = redis::cmd("CONFIG");
        ask.arg("SET").arg("repl-diskless-sync-delay").arg(0).exec(&mut primary.client()).unwrap();
        let replica = Valkey::start();
        let mut ask = redis::cmd("REPLICAOF");
        ask.arg("127.0.0.1").arg(primary.port()).exec(&mut replica.client()).unwrap();
        let mut client = primary.client();
        // Said to be online, it may not have acknowledged anything yet; and what it acknowledges
        // first may have come with the snapshot, before it follows what is written from then on.
        let mut in_a_row = 0;
        eventually("the replica follows", async || {
            redis::cmd("SET").arg("larder-test").arg(in_a_row).exec(&mut client).unwrap();
            let has: u64 = redis::cmd("WAIT").arg(1).arg(300).query(&mut client).unwrap();
            in_a_row = if has == 1 { in_a_row + 1 } else { 0 };
            in_a_row == 5
        })
        .await;
        let fleet = Fleet::over(primary, 2, |setup| {
            let setup = setup.store("durability = \"replicas\"\ntimeout = \"200ms\"");
            setup.route("/{*rest}", keys)
        })
        .await;
        fleet.until_connected().await;
        fleet.origin.on("/a").answers(|asked| ok(asked.before.to_string()));
        fleet.origin.when("POST", "/a").replies(ok("done"));
        Self { fleet, replica }
    }

    async fn post(&self) -> Reply {
        let reply = self.fleet.client(0).asks("POST", "/a").send().await;
        assert_eq!((reply.status, reply.text()), (200, "done".to_owned()));
        reply
    }

    async fn unreplicated(&self) -> f64 {
        self.fleet.larders[0].metrics().await.sum("larder_ledger_unreplicated_total", &[])
    }
}

/// The last record that this server has.
fn last(server: &mut Connection) -> String {
    let ask = redis::cmd("XREVRANGE").arg(STREAM).arg("+").arg("-").arg("COUNT").arg(1).to_owned();
    let reply: Vec<(String, Vec<String>)> = ask.query(server).unwrap();
    reply.into_iter().next().unwrap().0
}

fn detail(reply: &Reply) -> String {
    reply.status().value("detail").unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_answered_once_a_replica_has_it() {
    let pair = Pair::of("soft_ttl = \"1h\"").await;
    let mut replica = pair.replica.client();
    for _ in 0..20 {
        let reply = pair.post().await;
        // Nothing else appends: what the replica has last is this, or it is late.
        assert_eq!(last(&mut replica), reply.field("larder-position"));
        assert_eq!(detail(&reply), "invalidated");
    }
    assert_eq!(pair.unreplicated().await, 0.0);
    assert!(!pair.fleet.larders[0].told().contains("store.durability"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_no_replica_acknowledged_is_answered_and_says_so() {
    let pair = Pair::of("soft_ttl = \"1h\"").await;
    pair.fleet.warm(1, "/a").await;
    pair.replica.freeze();
    let sent = Instant::now();
    let reply = pair.post().await;
    // The announcement and the record: each waits for its time, and no longer.
    assert!(sent.elapsed() < Duration::from_secs(4), "{:?}", sent.elapsed());
    assert_eq!(detail(&reply), "invalidated-not-replicated");
    assert!(pair.unreplicated().await >= 1.0);
    within(Duration::from_secs(1), "the others obey it all the same", async || {
        pair.fleet.larders[1].verdict("/a").await != "serve"
    })
    .await;
    pair.replica.thaw();
    eventually("it is replicated again", async || detail(&pair.post().await) == "invalidated")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_are_asked_for_and_not_there_are_warned_about() {
    let setup = |setup: Setup| {
        setup.store("durability = \"replicas\"").route("/{*rest}", "soft_ttl = \"1h\"")
    };
    let fleet = Fleet::ready(1, setup).await;
    eventually("it warns", async || {
        fleet.larders[0].told().contains("store.durability is \"replicas\"")
    })
    .await;
    fleet.origin.when("POST", "/a").replies(ok("done"));
    let reply = fleet.client(0).asks("POST", "/a").send().await;
    assert_eq!(detail(&reply), "invalidated-not-replicated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_refuses_does_so_before_the_origin_sees_what_no_replica_knows_of() {
    let pair = Pair::of("soft_ttl = \"1h\"\non_store_down = \"refuse\"").await;
    pair.post().await;
    pair.replica.freeze();
    let reply = pair.fleet.client(0).asks("POST", "/a").send().await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(pair.fleet.origin.saw_method("POST", "/a"), 1);
    pair.replica.thaw();
    eventually("it is taken again", async || {
        pair.fleet.client(0).asks("POST", "/a").send().await.status == 200
    })
    .await;
}
