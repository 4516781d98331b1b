//! Does every process see what was purged through another?

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::Fleet;
use crate::support::client::Reply;
use crate::support::larder::{Larder, Setup};
use crate::support::origin::ok;
use crate::support::wait::{eventually, within};

async fn stocked() -> Fleet {
    let fleet = Fleet::set_up(2, |setup| {
        setup.route(
            "/products/{id}",
            "soft_ttl = \"1h\"\nhard_ttl = \"2h\"\nnamespace = \"catalog/products\"\ntags = [\"product:{id}\"]",
        )
    })
    .await;
    for path in ["/products/7", "/products/8"] {
        fleet.origin.on(path).answers(|asked| ok(asked.before.to_string()));
    }
    fleet
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_purge_reaches_every_process() {
    let fleet = stocked().await;
    for (purge, both) in [
        (json!({ "url": "/products/7" }), false),
        (json!({ "path": "/products/7" }), false),
        (json!({ "prefix": "/products/7" }), false),
        (json!({ "tag": "product:7" }), false),
        (json!({ "tags": ["product:7", "x"] }), false),
        (json!({ "prefix": "/products/" }), true),
        (json!({ "namespace": "catalog" }), true),
        (json!({ "namespace": "catalog/products" }), true),
        (json!({ "all": true }), true),
    ] {
        for of in 0..2 {
            for target in ["/products/7", "/products/8"] {
                fleet.warm(of, target).await;
            }
        }
        let before: u64 = fleet.client(1).get("/products/7").await.text().parse().unwrap();
        let receipt = fleet.larders[0].purge(purge.clone()).await;
        assert_eq!(receipt.status, 200, "{}", receipt.text());
        assert_ne!(fleet.larders[0].verdict("/products/7").await, "serve", "{purge}: here at once");
        within(Duration::from_secs(1), &format!("{purge} is applied over there"), async || {
            fleet.larders[1].verdict("/products/7").await != "serve"
        })
        .await;
        let other = fleet.larders[1].verdict("/products/8").await;
        assert_eq!(other == "serve", !both, "{purge}: {other}");
        for of in [1, 0] {
            let after: u64 = fleet.client(of).get("/products/7").await.text().parse().unwrap();
            assert!(after > before, "{purge} in {of}: {after} after {before}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_purge_makes_it_stale_everywhere_and_costs_one_refresh() {
    let fleet = stocked().await;
    for of in 0..2 {
        fleet.warm(of, "/products/7").await;
    }
    let asked = fleet.origin.saw("/products/7");
    let before = fleet.client(0).get("/products/7").await.text();
    fleet.larders[0].purge(json!({ "tag": "product:7", "mode": "soft" })).await;
    within(Duration::from_secs(1), "it is stale over there", async || {
        fleet.larders[1].verdict("/products/7").await == "serve-and-refresh"
    })
    .await;
    assert!(fleet.client(1).get("/products/7").await.expect(200, &before).is_stale());
    for of in 0..2 {
        eventually("the new is everywhere", async || {
            let reply = fleet.client(of).get("/products/7").await;
            reply.is_hit() && reply.text() != before
        })
        .await;
    }
    assert_eq!(fleet.origin.saw("/products/7"), asked + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_different_processes_are_ordered() {
    let fleet = stocked().await;
    let mut positions = Vec::new();
    for n in 0..20 {
        let receipt = fleet.larders[n % 2].purge(json!({ "tag": "x" })).await.json();
        let text = receipt["position"].as_str().unwrap().to_owned();
        let (time, count) = text.split_once('-').unwrap_or((&text, "0"));
        positions.push((time.parse::<u64>().unwrap(), count.parse::<u64>().unwrap()));
    }
    assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalidated_group_is_gone_in_every_process() {
    let fleet = Fleet::of(2, "soft_ttl = \"1h\"").await;
    for (path, groups) in [("/a", "\"one\""), ("/b", "\"two\"")] {
        fleet
            .origin
            .on(path)
            .answers(move |asked| ok(asked.before.to_string()).header("cache-groups", groups));
    }
    let answer = ok("done").header("cache-group-invalidation", "\"one\"");
    fleet.origin.when("POST", "/vote").replies(answer);
    for round in 0..3 {
        for of in 0..2 {
            fleet.warm(of, "/a").await;
            fleet.warm(of, "/b").await;
        }
        let before: u64 = fleet.client(1).get("/a").await.text().parse().unwrap();
        // What the second process has may come from Valkey: the groups travel with the entry.
        fleet.client(round % 2).asks("POST", "/vote").send().await.expect(200, "done");
        assert_ne!(fleet.larders[round % 2].verdict("/a").await, "serve", "here at once");
        within(Duration::from_secs(1), "the group is gone over there", async || {
            fleet.larders[1 - round % 2].verdict("/a").await != "serve"
        })
        .await;
        for of in [1, 0] {
            let after: u64 = fleet.client(of).get("/a").await.text().parse().unwrap();
            assert!(after > before, "in {of}: {after} after {before}");
            assert_eq!(fleet.larders[of].verdict("/b").await, "serve", "in {of}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_found_to_be_the_same_query_is_a_hit_in_the_other() {
    let fleet = Fleet::of(2, "soft_ttl = \"1h\"\nno_vary_search = true").await;
    fleet
        .origin
        .on("/s")
        .answers(|asked| ok(asked.before.to_string()).header("no-vary-search", "params=(\"a\")"));
    for of in 0..2 {
        // Each learns the rule by a miss of its own.
        fleet.warm(of, &format!("/s?q={of}")).await;
    }
    let stored = fleet.warm(0, "/s?a=1").await.text();
    eventually("the other has it from Valkey", async || {
        let reply = fleet.client(1).get("/s?a=2").await;
        reply.is_hit() && reply.text() == stored
    })
    .await;
    fleet.larders[0].purge(json!({ "url": "/s?a=3" })).await;
    within(Duration::from_secs(1), "the purge of any of its URLs counts there", async || {
        fleet.larders[1].verdict("/s?a=3").await != "serve"
    })
    .await;
}

/// Purges one tag through the first process and waits for all; the reply, and how long it took.
async fn purge_for_all(fleet: &Fleet, timeout: &str) -> (Reply, Duration) {
    let purge = json!({ "tag": "product:7", "wait": "all", "timeout": timeout });
    let sent = Instant::now();
    let reply = fleet.larders[0].purge(purge).await;
    (reply, sent.elapsed())
}

async fn instances(fleet: &Fleet) -> Vec<String> {
    let mut names = Vec::new();
    for larder in &fleet.larders {
        let stats = larder.admin().get("/stats").await.json();
        names.push(stats["instance"].as_str().unwrap().to_owned());
    }
    names
}

fn sorted(names: &[String]) -> serde_json::Value {
    let mut names = names.to_vec();
    names.sort();
    json!(names)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_all_is_answered_when_all_have_applied_it() {
    let fleet = stocked().await;
    let names = instances(&fleet).await;
    let mut fastest = Duration::MAX;
    for _ in 0..10 {
        for of in 0..2 {
            fleet.warm(of, "/products/7").await;
        }
        let (reply, took) = purge_for_all(&fleet, "5s").await;
        let receipt = reply.json();
        assert_eq!(reply.status, 200, "{receipt}");
        assert_eq!(receipt["applied_by"], sorted(&names), "{receipt}");
        assert_eq!(receipt["missing"], json!([]), "{receipt}");
        // Applied means applied: nothing has to be waited for any more.
        assert_ne!(fleet.larders[1].verdict("/products/7").await, "serve");
        assert!(took < Duration::from_millis(900), "not at the next heartbeat: {took:?}");
        fastest = fastest.min(took);
    }
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_process_is_missing_when_the_time_is_over_and_obeys_when_it_goes_on() {
    let fleet = stocked().await;
    let names = instances(&fleet).await;
    fleet.warm(1, "/products/7").await;
    fleet.larders[1].signal("STOP");
    let (reply, took) = purge_for_all(&fleet, "700ms").await;
    let receipt = reply.json();
    assert_eq!(reply.status, 202, "{receipt}");
    assert_eq!(receipt["applied_by"], json!([names[0]]), "{receipt}");
    assert_eq!(receipt["missing"][0]["instance"], json!(names[1]), "{receipt}");
    assert_eq!(receipt["missing"][0]["lapsed"], json!(false), "{receipt}");
    assert!(took >= Duration::from_millis(650) && took < Duration::from_secs(3), "{took:?}");
    // Silent for longer than its lease, it is missing still, but it can do no harm.
    let mut receipt = json!(null);
    eventually("its lease is over", async || {
        receipt = purge_for_all(&fleet, "0s").await.0.json();
        receipt["missing"][0]["lapsed"] == json!(true)
    })
    .await;
    assert!(receipt["missing"][0]["silent_ms"].as_u64().unwrap() >= 2000, "{receipt}");
    fleet.larders[1].signal("CONT");
    assert_ne!(fleet.larders[1].verdict("/products/7").await, "serve");
    let (reply, _) = purge_for_all(&fleet, "5s").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_is_missing_and_one_that_was_stopped_is_not() {
    let mut fleet = stocked().await;
    let names = instances(&fleet).await;
    fleet.larders[1].signal("TERM");
    assert!(fleet.larders[1].end(Duration::from_secs(10)).await.success());
    let (reply, _) = purge_for_all(&fleet, "5s").await;
    let receipt = reply.json();
    assert_eq!(reply.status, 200, "{receipt}");
    assert_eq!(receipt["applied_by"], json!([names[0]]), "it has struck itself off");

    let mut fleet = stocked().await;
    let names = instances(&fleet).await;
    fleet.larders[1].kill();
    let (reply, _) = purge_for_all(&fleet, "200ms").await;
    let receipt = reply.json();
    assert_eq!(reply.status, 202, "{receipt}");
    assert_eq!(receipt["applied_by"], json!([names[0]]), "{receipt}");
    assert_eq!(receipt["missing"][0]["instance"], json!(names[1]), "{receipt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_meanwhile_is_not_waited_for() {
    let mut fleet = stocked().await;
    fleet.larders[1].kill();
    let admin = fleet.larders[0].admin();
    let waiting = tokio::spawn(async move {
        let purge = json!({ "all": true, "wait": "all", "timeout": "2s" });
        admin.asks("POST", "/purge").json(&purge).send().await
    });
    let origin = fleet.origin.url();
    let url = format!("valkey = \"{}\"", fleet.valkey.url());
    fleet.larders[1] = Setup::before(&origin).store(&url).start().await;
    let receipt = waiting.await.unwrap().json();
    let joined = instances(&fleet).await.remove(1);
    assert_eq!(receipt["missing"].as_array().unwrap().len(), 1, "{receipt}");
    assert_ne!(receipt["missing"][0]["instance"], json!(joined), "{receipt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_owed_reaches_nobody_and_says_so_at_once() {
    let mut fleet = stocked().await;
    let names = instances(&fleet).await;
    eventually("the first knows of the second", async || {
        let stats = fleet.larders[0].admin().get("/stats").await.json();
        stats["ledger"]["instances"].as_array().is_some_and(|all| all.len() == 2)
    })
    .await;
    fleet.valkey.kill();
    let (reply, took) = purge_for_all(&fleet, "60s").await;
    let receipt = reply.json();
    assert_eq!(reply.status, 202, "{receipt}");
    assert_eq!(receipt["owed"], json!(true), "{receipt}");
    assert_eq!(receipt["applied_by"], json!([names[0]]), "{receipt}");
    assert_eq!(receipt["missing"][0]["instance"], json!(names[1]), "{receipt}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_waits_too() {
    let fleet = stocked().await;
    let purge = |wait: &'static str| {
        let admin = format!("http://{}", fleet.larders[0].admin_address());
        tokio::task::spawn_blocking(move || {
            let arguments = ["purge", "--all", "--admin", &admin, "--wait", wait];
            let ended = Larder::command().args(arguments).output().unwrap();
            (ended.status.code(), String::from_utf8_lossy(&ended.stdout).into_owned())
        })
    };
    let (code, told) = purge("5s").await.unwrap();
    assert_eq!(code, Some(0), "{told}");
    for name in instances(&fleet).await {
        assert!(told.contains(&name), "{told}");
    }
    fleet.larders[1].signal("STOP");
    let (code, told) = purge("100ms").await.unwrap();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("missing"), "{told}");
}
