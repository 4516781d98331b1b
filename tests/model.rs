//! The shipped ledger, explored.
//!
//! TODO head

#[path = "model/bugs.rs"]
mod bugs;
#[path = "model/explore.rs"]
mod explore;
#[path = "model/server.rs"]
mod server;
#[path = "model/world.rs"]
mod world;

use std::time::Instant;

use explore::explore;
use server::{NAMESPACE, PATH};
use world::{Fault, Scenario};

fn scenarios() -> Vec<Scenario> {
    use Fault as F;
    let base = |name, faults: &[(Fault, u8)]| Scenario {
        name,
        faults: faults.to_vec(),
        ..Scenario::default()
    };
    vec![
        base("nothing goes wrong", &[]),
        Scenario { writes: vec![(0, PATH), (1, NAMESPACE)], ..base("two writers", &[]) },
        base("crash", &[(F::Crash, 1)]),
        base("outage", &[(F::Outage, 1)]),
        base("evictions", &[(F::EvictLedger, 1), (F::EvictVersions, 1)]),
        base("failover", &[(F::Failover, 1)]),
        base("deposed", &[(F::Failover, 1), (F::Deposed, 1)]),
        base("cut", &[(F::Cut, 1)]),
    ]
}

#[test]
fn it_holds() {
    let most = std::env::var("LARDER_MODEL_STATES").ok().and_then(|n| n.parse().ok());
    for scenario in scenarios() {
        let started = Instant::now();
        let explored = explore(&scenario, most.unwrap_or(100_000));
        println!(
            "{}: {} states{}, {:.1?}",
            scenario.name,
            explored.states,
            if explored.complete { ", all" } else { "" },
            started.elapsed()
        );
        if let Some(found) = explored.violation {
            println!("{}", found.story());
        }
    }
}

#[test]
fn every_planted_bug_is_caught() {
    let only = std::env::var("LARDER_MODEL_BUG").unwrap_or_default();
    for scenario in bugs::planted() {
        if !format!("{:?}", scenario.bug).contains(&only) {
            continue;
        }
        let started = Instant::now();
        let explored = explore(&scenario, 300_000);
        println!("{:.1?}", started.elapsed());
        let Some(found) = explored.violation else {
            println!("{:?}: NOT CAUGHT in {} states", scenario.bug, explored.states);
            continue;
        };
        println!("{:?}: {} steps, {} states\n{}", scenario.bug, found.steps.len(), explored.states, found.story());
    }
}
