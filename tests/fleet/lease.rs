//! What if the process that fetches for all dies?

use std::time::Duration;

use tokio::time::Instant;

use crate::Fleet;
use crate::support::origin::{Gate, Tap, ok};
use crate::support::wait::eventually;

const LEASE: Duration = Duration::from_secs(1);

async fn fleet() -> Fleet {
    Fleet::set_up(2, |setup| setup.route("/{*rest}", "soft_ttl = \"1h\"").store("lease = \"1s\""))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn if_the_fetching_process_is_killed_another_fetches_within_the_lease() {
    let mut fleet = fleet().await;
    let never = Gate::closed();
    fleet.origin.on("/a").answers(move |asked| match asked.before {
        0 => ok("lost").after(&never),
        _ => ok("found"),
    });
    let doomed = tokio::spawn(fleet.client(0).asks("GET", "/a").try_open());
    eventually("the first process fetches", async || fleet.origin.saw("/a") == 1).await;
    let other = fleet.client(1);
    let waiting = tokio::spawn(async move { other.crowd(20, "/a").await });
    eventually("the second process waits", async || fleet.waiting().await == 19).await;
    assert_eq!(fleet.origin.saw("/a"), 1, "it does not fetch beside it");
    fleet.larders[0].kill();
    let killed = Instant::now();
    for reply in waiting.await.unwrap() {
        reply.expect(200, "found");
    }
    let took = killed.elapsed();
    assert!(took < LEASE + Duration::from_secs(1), "{took:?}");
    assert_eq!(fleet.origin.saw("/a"), 2);
    assert!(doomed.await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_had_half_fetched_is_not_stored() {
    let mut fleet = fleet().await;
    let tap = Tap::new();
    let told = tap.clone();
    fleet.origin.on("/a").answers(move |asked| match asked.before {
        0 => ok("").told_by(&told),
        _ => ok("whole"),
    });
    let mut half = fleet.client(0).asks("GET", "/a").open_after(|| tap.send("half")).await;
    half.text(4).await;
    fleet.larders[0].kill();
    assert!(!half.rest().await.whole, "its client is told");
    fleet.client(1).get("/a").await.expect(200, "whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_that_takes_longer_than_the_lease_keeps_it() {
    let fleet = fleet().await;
    fleet.origin.on("/a").replies(ok("slow").delay(LEASE * 5 / 2));
    let crowds: Vec<_> = (0..2)
        .map(|of| {
            let client = fleet.client(of);
            tokio::spawn(async move { client.crowd(10, "/a").await })
        })
        .collect();
    for crowd in crowds {
        for reply in crowd.await.unwrap() {
            reply.expect(200, "slow");
        }
    }
    assert_eq!(fleet.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_and_started_again_finds_its_way_back() {
    let mut fleet = fleet().await;
    fleet.origin.on("/a").answers(|asked| ok(asked.before.to_string()));
    fleet.warm(0, "/a").await;
    fleet.until_stored(1).await;
    fleet.larders[0].kill();
    let url = format!("valkey = \"{}\"", fleet.valkey.url());
    let setup = crate::Setup::before(&fleet.origin.url()).store(&url);
    fleet.larders[0] = setup.route("/{*rest}", "soft_ttl = \"1h\"").start().await;
    fleet.until_connected().await;
    fleet.warm(0, "/a").await;
    fleet.client(1).asks("DELETE", "/a").send().await;
    let before = fleet.origin.saw_method("GET", "/a");
    eventually("the write is seen here too", async || {
        fleet.client(0).get("/a").await;
        fleet.origin.saw_method("GET", "/a") > before
    })
    .await;
}
