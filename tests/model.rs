//! The shipped ledger, explored: every order in which two processes, two writes, two fills, one
//! Valkey and one origin can take their steps, and in which things can go wrong.
//!
//! | file | holds |
//! |---|---|
//! | `scenario.rs` | what is explored |
//! | `world.rs` | one moment; what can happen next |
//! | `process.rs` | what one process holds |
//! | `writes.rs`, `reads.rs` | requests under way |
//! | `tail.rs`, `append.rs` | following the stream; announcing and appending |
//! | `faults.rs` | what may go wrong |
//! | `judge.rs` | what must hold |
//! | `planted.rs` | mistakes planted into the model's processes and its Valkey: each must be caught |
//! | `words.rs` | events in plain words |
//! | `digest.rs` | digests of states |
//! | `server.rs` | what the scripts do to Valkey, without Valkey |
//! | `conformance.rs` | that they do the same to a real one |
//! | `explore.rs` | breadth first: every state once, and the shortest way to what must not be |
//!
//! The processes hold the shipped `Ledger` and `Reading`; nothing of them is imitated. What is
//! imitated: Valkey, the origin, and the order in which the layers call the ledger.
//!
//! # What must hold
//!
//! Let a write be acknowledged, and a GET start after that, through a process P. What it is shown,
//! from memory, from the shared store, or from a fill that it joins, is not older than the write
//!
//! 1. if P carried out the write: at once, and whether or not Valkey took its record;
//! 2. if P has applied the record: at once;
//! 3. in any case, once more than a lease has passed since the write was acknowledged.
//!
//! Where a primary was deposed without knowing, an older value may be shown, also through the process
//! that carried the write out, while it reads from that primary and until a lease after that ended. Its
//! entries may come from the other primary by then, whose positions it cannot make sense of.
//!
//! Otherwise, longer than a lease after its acknowledgement, and never through the process that carried
//! it out, an older value may be shown only
//!
//! - of a write acknowledged as owed, if its process alone was cut off, or died: until a lease after
//!   its record was taken;
//! - of a write whose record a deposed primary took: until a lease after its process has told the live
//!   one.
//!
//! A strict GET, once its process has reached the end of the ledger that it was told when it came, is
//! not shown anything older than what was acknowledged before it came, through any process, unless as
//! owed, or while a deposed primary answers.
//!
//! Besides, at every moment:
//!
//! 4. what a process has applied, it obeys, whether or not anybody was told of the write: it takes
//!    nothing for good that is older than a write whose record it has read;
//! 5. no record is at a position below one that its writer knew, and what a process has applied does
//!    not go backwards;
//! 6. when nothing more goes wrong and everything was delivered, nothing old is for good anywhere, in
//!    memory or in the shared store: also of writes whose process died. Left out: a process that died
//!    with a Valkey that was away, lost or replaced at some time, where the TTL is the bound.
//!
//! # How time passes
//!
//! In ticks: less than a lease, more than half of one; so "more than a lease" is two of them. A
//! process that reaches Valkey looks, sends what is due and takes in the answers before the next
//! tick; the origin, fills, writes and what is on its way from a read may take any time.
//!
//! # What is left out
//!
//! More than one resource; soft purges; tags and prefixes (tables in `src/ledger` cover them); settling;
//! `durability = "replicas"`; the lease between processes for one fill, which saves
//! work and decides nothing; a write that the origin carries out after the deadline of its intent;
//! requests that Valkey carries out after their sender gave them up; records larger than a page.
//!
//! # Running it
//!
//! `cargo test --test model` visits the first states of every scenario, more than a million together,
//! and every planted bug. For tens of millions: `LARDER_MODEL_STATES=1000000 cargo test --release
//! --test model it_holds -- --nocapture`; with `LARDER_MODEL_SCENARIO=failover`, only those that are
//! called so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "how many states, and the way to each planted bug")]
#![expect(clippy::disallowed_methods, reason = "exploring takes real time, which is told")]

#[path = "model/append.rs"]
mod append;
#[path = "model/conformance.rs"]
mod conformance;
#[path = "model/digest.rs"]
mod digest;
#[path = "model/explore.rs"]
mod explore;
#[path = "model/faults.rs"]
mod faults;
#[path = "model/judge.rs"]
mod judge;
#[path = "model/planted.rs"]
mod planted;
#[path = "model/process.rs"]
mod process;
#[path = "model/reads.rs"]
mod reads;
#[path = "model/scenario.rs"]
mod scenario;
#[path = "model/server.rs"]
mod server;
#[path = "model/tail.rs"]
mod tail;
#[path = "support/valkey.rs"]
#[expect(dead_code, reason = "these tests freeze no server")]
mod valkey;
#[path = "model/words.rs"]
mod words;
#[path = "model/world.rs"]
mod world;
#[path = "model/writes.rs"]
mod writes;

use std::time::Instant;

use explore::explore;
use faults::Fault;
use scenario::Scenario;
use server::{NAMESPACE, PATH};
use world::Event;

/// Distinct states of each scenario that are visited if nobody says otherwise.
const STATES: usize = 36_000;

fn world(name: &'static str, faults: &[(Fault, u8)]) -> Scenario {
    Scenario { name, faults: faults.to_vec(), swift: true, ticks: 3, ..Scenario::default() }
}

/// Both processes write.
fn writers(name: &'static str, faults: &[(Fault, u8)]) -> Scenario {
    let writes = vec![(0, PATH), (1, NAMESPACE)];
    Scenario { writes, fills: 1, ticks: 2, sent: true, ..world(name, faults) }
}

/// Anything may happen before an answer arrives.
fn slow(name: &'static str, faults: &[(Fault, u8)]) -> Scenario {
    Scenario { swift: false, ticks: 2, fills: 1, sent: true, ..world(name, faults) }
}

fn of_processes() -> Vec<Scenario> {
    use Fault as F;
    vec![
        world("nothing goes wrong", &[]),
        Scenario { fills: 2, joins: 1, keep: true, ..writers("two writers, two fillers", &[]) },
        Scenario { polls: true, ..slow("slow answers", &[]) },
        Scenario { stricts: 2, fills: 1, ..world("strict", &[]) },
        world("a process dies", &[(F::Crash, 1)]),
        Scenario { refusals: true, ..writers("two writers, and one dies", &[(F::Crash, 1)]) },
        slow("a process dies, slow answers", &[(F::Crash, 1)]),
        world("the origin's answer is lost", &[(F::LoseAnswer, 1), (F::Crash, 1)]),
        Scenario { names: 1, ..writers("room for one name", &[]) },
    ]
}

fn of_connections() -> Vec<Scenario> {
    use Fault as F;
    vec![
        world("a process is cut off", &[(F::Cut, 1)]),
        writers("two writers, one cut off", &[(F::Cut, 1)]),
        slow("cut off, slow answers", &[(F::Cut, 1)]),
        world("Valkey is away", &[(F::Outage, 1)]),
        writers("two writers, Valkey away", &[(F::Outage, 1)]),
        slow("a lost reply, a lost request", &[(F::LoseReply, 1), (F::LoseRequest, 1)]),
        slow("sent twice", &[(F::SendTwice, 1), (F::Crash, 1)]),
    ]
}

fn of_the_store() -> Vec<Scenario> {
    use Fault as F;
    let page = |scenario| Scenario { page: 1, ..scenario };
    vec![
        world("the ledger is evicted", &[(F::EvictLedger, 1), (F::EvictVersions, 1)]),
        writers("namespaces are evicted", &[(F::EvictVersions, 2), (F::EvictEntries, 1)]),
        world("intents are evicted", &[(F::EvictIntents, 1), (F::Crash, 1)]),
        world("restart empty", &[(F::RestartEmpty, 1)]),
        writers("restart from an older snapshot", &[(F::RestartOld, 1)]),
        // Nobody's connection breaks: it is noticed when somebody looks.
        Scenario {
            bound: 3,
            ..world(
                "the clock steps back, and the ledger is evicted",
                &[(F::ClockBack, 1), (F::EvictLedger, 1)],
            )
        },
        page(world("trimmed while cut off", &[(F::Trim, 2), (F::Cut, 1)])),
    ]
}

fn of_failovers() -> Vec<Scenario> {
    use Fault as F;
    let deposed = [(F::Failover, 1), (F::Deposed, 1)];
    let sent = |scenario| Scenario { sent: true, fills: 1, ..scenario };
    vec![
        world("failover", &[(F::Failover, 1)]),
        Scenario { stricts: 1, ..sent(world("strict, failover", &[(F::Failover, 1)])) },
        Scenario { stricts: 1, ..sent(world("strict, restart", &[(F::RestartOld, 1)])) },
        writers("two writers, failover", &[(F::Failover, 1)]),
        slow("failover, slow answers", &[(F::Failover, 1)]),
        world("failover, and a clock that steps back", &[(F::Failover, 1), (F::ClockBack, 1)]),
        Scenario { ticks: 0, ..sent(world("a deposed primary", &deposed)) },
        // The records of process 0 go to the old primary, and it reads the new one.
        Scenario {
            ticks: 0,
            before: vec![
                Event::Save,
                Event::Failover(Some((0, false, true))),
                Event::Connect(0),
                Event::ReadThrough(0, true),
                Event::Connect(1),
                Event::ReadThrough(1, true),
            ],
            ..sent(world("a deposed primary, and two connections", &deposed))
        },
        Scenario { ticks: 2, ..sent(world("a deposed primary, and time", &deposed)) },
        sent(slow("a deposed primary, slow answers", &deposed)),
        writers("two writers, a deposed primary", &deposed),
    ]
}

fn hold(scenarios: Vec<Scenario>) {
    let wanted = |name: &str| std::env::var(name).ok();
    let most = wanted("LARDER_MODEL_STATES").map_or(STATES, |most| most.parse().unwrap());
    let only = wanted("LARDER_MODEL_SCENARIO").unwrap_or_default();
    let least = if only.is_empty() { scenarios.len() * most / 2 } else { 0 };
    let mut states = 0;
    for scenario in scenarios.into_iter().filter(|scenario| scenario.name.contains(&only)) {
        let started = Instant::now();
        let explored = explore(&scenario, most);
        let all = if explored.complete { ", all there are" } else { "" };
        let took = started.elapsed();
        println!("{}: {} distinct states{all}, {took:.1?}", scenario.name, explored.states);
        if let Some(found) = explored.violation {
            panic!("{}:\n{}", scenario.name, found.story(&scenario));
        }
        states += explored.states;
    }
    println!("{states} distinct states");
    assert!(states >= least, "most of these worlds are larger: {states}");
}

#[test]
fn it_holds_whatever_becomes_of_processes() {
    hold(of_processes());
}

#[test]
fn it_holds_whatever_becomes_of_connections() {
    hold(of_connections());
}

#[test]
fn it_holds_whatever_becomes_of_the_store() {
    hold(of_the_store());
}

#[test]
fn it_holds_across_failovers() {
    hold(of_failovers());
}

#[test]
fn every_planted_bug_is_caught() {
    let only = std::env::var("LARDER_MODEL_SCENARIO").unwrap_or_default();
    let mut missed = Vec::new();
    for scenario in planted::worlds() {
        let name = format!("{:?}", scenario.bug);
        if !name.contains(&only) {
            continue;
        }
        let started = Instant::now();
        let explored = explore(&scenario, 300_000);
        let Some(found) = explored.violation else {
            println!("{name}: not caught in {} states", explored.states);
            missed.push(name);
            continue;
        };
        // The same world without it is in order, as far as the way to it.
        let sound = explore(&Scenario { bug: None, ..scenario.clone() }, explored.states);
        let steps = found.steps.len();
        let took = started.elapsed();
        println!(
            "{name}: {steps} steps, {} states, {took:.1?}\n{}",
            explored.states,
            found.story(&scenario)
        );
        if let Some(found) = sound.violation {
            panic!("without {name}:\n{}", found.story(&scenario));
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
