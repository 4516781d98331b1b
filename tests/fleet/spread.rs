//! Does a spread purge reach every entry in its time, and the origin bit by bit?

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::Fleet;
use crate::support::origin::ok;
use crate::support::wait::within;

const ENTRIES: usize = 24;

/// Long against the time that asking for all entries takes.
const SPREAD: Duration = Duration::from_secs(4);

async fn stocked() -> Fleet {
    let fleet = Fleet::of(2, "soft_ttl = \"1h\"\nhard_ttl = \"2h\"").await;
    for number in 0..ENTRIES {
        fleet.origin.on(&target(number)).answers(|asked| ok(asked.before.to_string()));
        for of in 0..2 {
            fleet.warm(of, &target(number)).await;
        }
    }
    fleet
}

fn target(number: usize) -> String {
    format!("/products/{number}")
}

/// Which entries are stale in this process. Asks without being noticed.
async fn stale(fleet: &Fleet, of: usize) -> Vec<bool> {
    let mut stale = Vec::new();
    for number in 0..ENTRIES {
        stale.push(fleet.larders[of].verdict(&target(number)).await != "serve");
    }
    stale
}

fn count(stale: &[bool]) -> usize {
    stale.iter().filter(|stale| **stale).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_turn_stale_one_by_one_within_the_time_in_every_process() {
    let fleet = stocked().await;
    let purge = json!({ "prefix": "/products/", "mode": "soft", "spread": "4s", "wait": "all" });
    let sent = Instant::now();
    let reply = fleet.larders[0].purge(purge).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    for of in 0..2 {
        let early = stale(&fleet, of).await;
        if sent.elapsed() < SPREAD / 2 {
            assert!(count(&early) < ENTRIES, "not all at once: {early:?}");
        }
        let mut last = early;
        let limit = SPREAD + Duration::from_secs(2);
        within(limit, "all are stale in their time", async || {
            let now = stale(&fleet, of).await;
            let back = last.iter().zip(&now).filter(|(was, is)| **was && !**is).count();
            assert_eq!(back, 0, "stale once, stale until it is refreshed: {last:?} {now:?}");
            last = now;
            count(&last) == ENTRIES
        })
        .await;
    }
    // Filled after the purge: it means what was there before.
    let asked = fleet.origin.saw(&target(0));
    fleet.warm(0, &target(0)).await;
    assert_eq!(fleet.origin.saw(&target(0)), asked + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_processes_turn_to_the_origin_for_the_same_entry_at_the_same_time() {
    let fleet = stocked().await;
    let purge = json!({ "all": true, "mode": "soft", "spread": "4s" });
    fleet.larders[1].purge(purge).await;
    let mut apart = 0;
    let mut looks = 0;
    within(SPREAD + Duration::from_secs(2), "all are stale", async || {
        let (one, other) = (stale(&fleet, 0).await, stale(&fleet, 1).await);
        // The second was asked a moment later: whatever was stale is so there, too.
        let early = one.iter().zip(&other).filter(|(one, other)| **one && !**other);
        apart += early.count();
        looks += 1;
        count(&other) == ENTRIES
    })
    .await;
    assert!(apart * 10 <= looks * ENTRIES, "{apart} in {looks} looks at {ENTRIES} entries");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_purge_is_not_spread() {
    let fleet = Fleet::of(1, "soft_ttl = \"1h\"").await;
    for (mode, spread, status) in
        [("hard", "30s", 400), ("soft", "25h", 400), ("soft", "soon", 400), ("soft", "30s", 200)]
    {
        let content = json!({ "all": true, "mode": mode, "spread": spread });
        let reply = fleet.larders[0].admin().asks("POST", "/purge").json(&content).send().await;
        assert_eq!(reply.status, status, "{content}: {}", reply.text());
    }
}
