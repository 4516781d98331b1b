//! Who breaks things: a plan that the seed alone decides, and what carries it out.
//!
//! | fault | what | whom it disturbs |
//! |---|---|---|
//! | `ServerKilled` | Valkey ends without a word and comes back empty | all |
//! | `ServerRolledBack` | it comes back with what it had saved a while ago | all |
//! | `ServerFrozen` | SIGSTOP, SIGCONT | all |
//! | `Flushed` | FLUSHALL | all |
//! | `LedgerEvicted` | the keys of the ledger vanish, entries stay | all |
//! | `MemorySqueezed` | `maxmemory` below what is used, with `allkeys-lru` | all |
//! | `PrimaryKilled`, `PrimaryFrozen`, `PrimaryReplaced` | Sentinel promotes the replica: because the primary is dead, seems to be, or is to go | all |
//! | `ClientsKilled` | CLIENT KILL, again and again | all |
//! | `ProcessKilled` | Larder ends without a word, and another one starts | its seat |
//! | `ProcessFrozen` | SIGSTOP, SIGCONT | its seat |
//! | `ClockOff` | another one starts, its clock an hour ahead or behind | its seat, while it starts |
//! | `LinkCut` | each connection to Valkey breaks at some byte, by FIN or RST | its seat |
//! | `LinkSwallows`, `LinkHeld` | what is sent is lost, or comes later | its seat |
//! | `LinkSlow` | every piece comes later | its seat |
//! | `LinkRefused` | connections are reset, and refused | its seat |

use std::time::Duration;

use tokio::task::block_in_place;

use crate::dice::Dice;
use crate::fault::{End, Fault, Flow};
use crate::history::Micros;
use crate::servers::{Servers, Topology};
use crate::valkey::Valkey;
use crate::world::{SEATS, SKEWS, World, lock};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    ServerKilled,
    ServerRolledBack,
    ServerFrozen,
    Flushed,
    LedgerEvicted,
    MemorySqueezed,
    ClientsKilled,
    PrimaryKilled,
    PrimaryFrozen,
    PrimaryReplaced,
    ProcessKilled,
    ProcessFrozen,
    ClockOff,
    LinkCut,
    LinkSwallows,
    LinkHeld,
    LinkSlow,
    LinkRefused,
}

use Kind::{
    ClientsKilled, ClockOff, Flushed, LedgerEvicted, LinkCut, LinkHeld, LinkRefused, LinkSlow,
    LinkSwallows, MemorySqueezed, PrimaryFrozen, PrimaryKilled, PrimaryReplaced, ProcessFrozen,
    ProcessKilled, ServerFrozen, ServerKilled, ServerRolledBack,
};

/// What happens to Valkey.
const SERVER: &[Kind] = &[
    ServerKilled,
    ServerRolledBack,
    ServerFrozen,
    Flushed,
    LedgerEvicted,
    MemorySqueezed,
    ClientsKilled,
];

/// What happens to one of the processes.
const SEAT: &[Kind] = &[
    ProcessKilled,
    ProcessFrozen,
    ClockOff,
    LinkCut,
    LinkSwallows,
    LinkHeld,
    LinkSlow,
    LinkRefused,
];

/// The same where Sentinel sees to the servers.
const WATCHED: &[Kind] = &[PrimaryKilled, PrimaryFrozen, PrimaryReplaced];

/// While these last, nothing is heard of the ledger. Others leave gaps.
const SILENT: &[Kind] = &[ServerKilled, ServerFrozen, LinkSwallows, LinkHeld, LinkRefused];

/// About how long Sentinel takes until all is well again.
const FAILOVER: Duration = Duration::from_secs(6);

/// What happens to a process there: its way leads through nobody.
const WATCHED_SEAT: &[Kind] = &[ProcessKilled, ProcessFrozen, ClockOff];

/// Lanes, each with one fault after another: the first for Valkey.
const fn lanes(topology: Topology) -> [&'static [Kind]; 3] {
    match topology {
        Topology::One => [SERVER, SEAT, SEAT],
        Topology::Watched => [WATCHED, WATCHED_SEAT, WATCHED_SEAT],
    }
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Since the end of the one before it.
    pub(crate) pause: Duration,
    pub(crate) kind: Kind,
    pub(crate) seat: usize,
    pub(crate) hold: Duration,
    /// Which of several ways.
    pub(crate) way: u64,
}

/// A fault that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) kind: Kind,
    pub(crate) seat: usize,
    pub(crate) from: Micros,
    pub(crate) to: Micros,
}

/// How long pauses between the faults of each lane are, and how long faults last; in milliseconds.
struct Pace {
    pauses: [(u64, u64); 3],
    holds: (u64, u64),
}

/// So that a short run has every kind.
const DENSE: Pace = Pace { pauses: [(200, 1400), (200, 1400), (200, 1400)], holds: (50, 700) };

/// So that there is calm weather in between, in which more is promised.
const WIDE: Pace = Pace { pauses: [(1000, 12_000), (500, 8000), (500, 8000)], holds: (50, 2500) };

/// What each lane does in this time. Every kind of a lane comes once before any comes again.
pub(crate) fn plan(topology: Topology, seed: u64, time: Duration) -> Vec<Vec<Step>> {
    let pace = if time < Duration::from_secs(60) { DENSE } else { WIDE };
    let lanes = lanes(topology).into_iter().zip(pace.pauses).zip(0..);
    lanes
        .map(|((kinds, pauses), number)| {
            let mut dice = Dice::of(seed, number);
            lane(&mut dice, kinds, (pauses, pace.holds), time)
        })
        .collect()
}

fn lane(
    dice: &mut Dice,
    kinds: &[Kind],
    (pauses, holds): ((u64, u64), (u64, u64)),
    time: Duration,
) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut deck: Vec<Kind> = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        if deck.is_empty() {
            deck = kinds.to_vec();
        }
        let step = Step {
            pause: dice.millis(pauses.0, pauses.1),
            kind: deck.swap_remove(dice.index(deck.len())),
            seat: dice.index(SEATS),
            hold: dice.millis(holds.0, holds.1),
            way: dice.below(u64::MAX),
        };
        let sentinel = if WATCHED.contains(&step.kind) { FAILOVER } else { Duration::ZERO };
        at += step.pause + step.hold + sentinel;
        if at > time {
            return steps;
        }
        steps.push(step);
    }
}

/// Carries out the plan; what was done. Ends when the plan does.
pub(crate) async fn follow(world: &World, plan: &[Vec<Step>]) -> Vec<Done> {
    let [server, one, other] = plan else { panic!("a plan for each lane") };
    let (server, one, other) = tokio::join!(
        follow_lane(world, server),
        follow_lane(world, one),
        follow_lane(world, other)
    );
    [server, one, other].concat()
}

async fn follow_lane(world: &World, steps: &[Step]) -> Vec<Done> {
    let mut all = Vec::new();
    for step in steps {
        tokio::time::sleep(step.pause).await;
        all.push(carry_out(world, step).await);
    }
    all
}

async fn carry_out(world: &World, step: &Step) -> Done {
    let of_server = !SEAT.contains(&step.kind);
    let _only_one = if of_server { None } else { Some(world.seats[step.seat].fault.lock().await) };
    let mut from = world.now();
    if of_server {
        from = on_server(world, step).await;
    } else {
        on_seat(world, step).await;
    }
    let to = world.now();
    let all: Vec<usize> = (0..SEATS).collect();
    let seats = if of_server { &all[..] } else { &all[step.seat..=step.seat] };
    world.disturbed(seats, (from, to));
    if SILENT.contains(&step.kind) {
        world.silenced(seats, (from, to));
    }
    if step.kind == ProcessFrozen {
        lock(&world.book.frozen).push((from, to));
    }
    // One that was killed comes back as a primary, too, and Sentinel names it until the failover is over.
    if matches!(step.kind, PrimaryKilled | PrimaryFrozen | PrimaryReplaced) {
        lock(&world.book.two).push((from, to));
    }
    Done { kind: step.kind, seat: step.seat, from, to }
}

/// When it began to hurt.
async fn on_server(world: &World, step: &Step) -> Micros {
    let mut servers = world.servers.lock().await;
    let client = servers.client();
    let from = world.now();
    match &mut *servers {
        Servers::One(valkey) => match step.kind {
            ServerKilled | ServerRolledBack => return end_and_begin(world, step, valkey).await,
            ServerFrozen => {
                block_in_place(|| valkey.freeze());
                tokio::time::sleep(step.hold).await;
                valkey.thaw();
            }
            _ => in_the_server(client, step).await,
        },
        Servers::Watched(watched) => match step.kind {
            PrimaryKilled => watched.kill_primary().await,
            PrimaryFrozen => watched.freeze_primary().await,
            PrimaryReplaced => watched.replace_primary().await,
            _ => in_the_server(client, step).await,
        },
    }
    from
}

/// The server ends, and begins again with nothing, or with what it had a while ago.
async fn end_and_begin(world: &World, step: &Step, valkey: &mut Valkey) -> Micros {
    let mut client = valkey.client();
    if step.kind == ServerRolledBack {
        tell(&mut client, &["SAVE"]);
        tokio::time::sleep(step.hold).await;
    } else {
        forget(&mut client);
    }
    let from = world.now();
    valkey.kill();
    let away = if step.kind == ServerKilled { step.hold } else { step.hold / 8 };
    tokio::time::sleep(away).await;
    block_in_place(|| valkey.restart());
    forget(&mut valkey.client());
    from
}

/// It may be refused, by a server that has no memory left: then it does not happen.
fn tell(client: &mut redis::Connection, words: &[&str]) {
    let (name, rest) = words.split_first().expect("a command");
    let _ = block_in_place(|| redis::cmd(name).arg(rest).exec(client));
}

/// What a client can do to it.
async fn in_the_server(mut client: redis::Connection, step: &Step) {
    match step.kind {
        Flushed => tell(&mut client, &["FLUSHALL"]),
        LedgerEvicted => {
            let names: [&[&str]; 3] = [
                &["DEL", "larder:{l}:ledger"],
                &["DEL", "larder:{l}:ledger", "larder:{l}:namespaces", "larder:{l}:instances"],
                &["DEL", "larder:{l}:namespaces"],
            ];
            tell(&mut client, names[step.way as usize % names.len()]);
        }
        MemorySqueezed => {
            let used = used_memory(&mut client);
            // Either everything goes, and nothing more is taken, or what was not used of late goes.
            let most = if step.way.is_multiple_of(2) { used / 2 } else { used };
            tell(&mut client, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
            tell(&mut client, &["CONFIG", "SET", "maxmemory", &most.to_string()]);
            tokio::time::sleep(step.hold).await;
            tell(&mut client, &["CONFIG", "SET", "maxmemory", "0"]);
            tell(&mut client, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        }
        ClientsKilled => {
            for _ in 0..=step.way % 8 {
                tell(&mut client, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
                tokio::time::sleep(step.hold / 8).await;
            }
        }
        _ => unreachable!("not a fault of the server"),
    }
}

/// What it has saved is not there any more when it is started again.
fn forget(client: &mut redis::Connection) {
    let told: Vec<String> =
        block_in_place(|| redis::cmd("CONFIG").arg(&["GET", "dir"]).query(client))
            .unwrap_or_default();
    if let Some(directory) = told.get(1) {
        // There may be nothing.
        let _ = std::fs::remove_file(std::path::Path::new(directory).join("dump.rdb"));
    }
}

fn used_memory(client: &mut redis::Connection) -> u64 {
    let told: String =
        block_in_place(|| redis::cmd("INFO").arg("memory").query(client)).unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(1 << 20)
}

async fn on_seat(world: &World, step: &Step) {
    let at = &world.seats[step.seat];
    let fault = match step.kind {
        ProcessKilled | ClockOff => {
            world.kill(step.seat).await;
            let off = (step.kind == ClockOff).then(|| SKEWS[step.way as usize % SKEWS.len()]);
            tokio::time::sleep(step.hold / 4).await;
            return world.launch(step.seat, off).await;
        }
        ProcessFrozen => {
            let larder = at.larder.lock().await;
            let larder = larder.as_ref().expect("a process on every seat");
            larder.signal("STOP");
            tokio::time::sleep(step.hold).await;
            return larder.signal("CONT");
        }
        LinkCut => Fault::Cut {
            flow: if step.way.is_multiple_of(2) { Flow::Requests } else { Flow::Answers },
            after: (step.way >> 8) as usize % 1500,
            end: if (step.way >> 4).is_multiple_of(2) { End::Fin } else { End::Rst },
        },
        LinkSwallows => Fault::Swallow,
        LinkHeld => Fault::Hold,
        LinkSlow => Fault::Delay(Duration::from_millis(5 + step.way % 60)),
        LinkRefused => Fault::Refuse,
        _ => unreachable!("not a fault of a seat"),
    };
    at.link.set(fault);
    tokio::time::sleep(step.hold).await;
    at.link.heal();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_has_the_same_plan_and_another_one_another() {
        let time = Duration::from_secs(300);
        let of = |seed| plan(Topology::One, seed, time);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn even_a_short_run_has_every_kind() {
        for seed in 0..20 {
            let steps: Vec<_> = plan(Topology::One, seed, Duration::from_secs(15)).concat();
            for kind in SERVER.iter().chain(SEAT) {
                assert!(steps.iter().any(|step| step.kind == *kind), "{seed}: {kind:?}");
            }
        }
    }

    #[test]
    fn a_long_run_has_hundreds() {
        let steps = plan(Topology::One, 1, Duration::from_secs(900)).concat().len();
        assert!(steps > 250, "{steps}");
    }
}
