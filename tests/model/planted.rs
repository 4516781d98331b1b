//! Mistakes that one could make, planted into the model's processes and its Valkey, never into the
//! shipped code. Each must be caught.

use larder::ledger::{Doubt, Standing};

use crate::faults::Fault;
use crate::process::Process;
use crate::scenario::Scenario;
use crate::server::{Entry, Lapses, NAMESPACE, PATH};
use crate::world::{Event as E, moment};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    DeleteInsteadOfStamp,
    PositionReadAfterTheFetch,
    VersionFromACounter,
    NoFence,
    NoIntent,
    OneIntentForAll,
    TrustedBeforeReplay,
    CollapseAcrossAnInvalidation,
    AcknowledgedBeforeItsRecord,
    NoOrphanClosing,
    OrphanClosedWithoutRecord,
    IntentClosedBeforeTheRecord,
    TrustAheadInDebt,
    NoTimeForDebts,
    DoubtIgnored,
    PositionBelowTheFloor,
    LocalStepsInTheSharedStore,
    RenewedAsOfTheAnswer,
    NoLease,
    OutcomeUnknownTakenForNothing,
    WriteKeptThoughDisturbed,
    HeardAsOfTheAnswer,
    TrimmingIgnored,
    HeadNotWaitedFor,
}

/// Each with the smallest world that it shows in.
pub(crate) fn worlds() -> Vec<Scenario> {
    use Bug as B;
    use Fault as F;
    let (one, crash) = ([(0, PATH)], [(F::Crash, 1)]);
    let two = |other| [(0, PATH), (1, other)];
    let (ahead, stepped) = (ahead(), stepped());
    let all = [
        (B::DeleteInsteadOfStamp, world(&one, 1, 0, &[])),
        (B::PositionReadAfterTheFetch, world(&one, 1, 0, &[])),
        (B::VersionFromACounter, world(&[(0, NAMESPACE)], 0, 0, &[(F::EvictVersions, 1)])),
        (B::NoFence, world(&one, 0, 3, &[(F::Failover, 1)])),
        (B::NoIntent, world(&one, 0, 2, &crash)),
        (B::OneIntentForAll, Scenario { refusals: true, ..world(&two(PATH), 0, 2, &crash) }),
        (B::TrustedBeforeReplay, world(&one, 0, 2, &[(F::Outage, 1)])),
        (B::CollapseAcrossAnInvalidation, Scenario { joins: 1, ..world(&one, 1, 0, &[]) }),
        (B::AcknowledgedBeforeItsRecord, world(&one, 0, 2, &[(F::Cut, 1)])),
        (B::NoOrphanClosing, world(&one, 0, 2, &crash)),
        (B::OrphanClosedWithoutRecord, world(&one, 0, 2, &crash)),
        (B::IntentClosedBeforeTheRecord, world(&one, 0, 2, &crash)),
        (B::TrustAheadInDebt, Scenario { before: ahead, ..world(&two(PATH), 1, 0, &[]) }),
        (B::NoTimeForDebts, world(&one, 0, 3, &[(F::Outage, 1)])),
        (B::DoubtIgnored, world(&one, 0, 2, &[(F::Cut, 1)])),
        (B::PositionBelowTheFloor, world(&one, 0, 0, &[(F::EvictLedger, 1), (F::ClockBack, 1)])),
        (
            B::LocalStepsInTheSharedStore,
            Scenario { before: stepped, ..world(&two(PATH), 1, 0, &[]) },
        ),
        (B::RenewedAsOfTheAnswer, world(&one, 1, 0, &[])),
        (B::NoLease, world(&one, 0, 2, &[(F::Cut, 1)])),
        (B::OutcomeUnknownTakenForNothing, world(&one, 0, 2, &[(F::LoseAnswer, 1)])),
        (B::WriteKeptThoughDisturbed, Scenario { keep: true, ..world(&two(PATH), 0, 0, &[]) }),
        (B::HeardAsOfTheAnswer, Scenario { swift: false, polls: true, ..world(&one, 0, 2, &[]) }),
        (B::TrimmingIgnored, world(&one, 0, 0, &[(F::Trim, 2), (F::Cut, 1)])),
        (B::HeadNotWaitedFor, Scenario { stricts: 1, ..world(&one, 0, 0, &[]) }),
    ];
    all.map(|(bug, scenario)| Scenario { bug: Some(bug), ..scenario }).to_vec()
}

fn world(writes: &[(u8, u8)], fills: u8, ticks: u8, faults: &[(Fault, u8)]) -> Scenario {
    Scenario {
        name: "planted",
        writes: writes.to_vec(),
        fills,
        ticks,
        faults: faults.to_vec(),
        swift: true,
        sent: true,
        ..Scenario::default()
    }
}

/// Process 1 has written, and filled as of a record that process 0 has not read.
fn ahead() -> Vec<E> {
    let written = [E::Apply(1), E::Conclude(1), E::Send(1), E::ReadThrough(1, true)];
    written.into_iter().chain(filled(1)).collect()
}

/// Process 0 has filled as of a step of its own.
fn stepped() -> Vec<E> {
    [E::Apply(0), E::Conclude(0)].into_iter().chain(filled(0)).collect()
}

fn filled(p: u8) -> [E; 6] {
    [
        E::Fill(p),
        E::Found(p, 0),
        E::OriginReads(p, 0),
        E::Received(p, 0),
        E::Stored(p, 0),
        E::Put(p),
    ]
}

impl Scenario {
    /// The mistakes of its Valkey.
    pub(crate) fn lapses(&self) -> Lapses {
        Lapses {
            no_fence: self.has(Bug::NoFence),
            no_floor: self.has(Bug::PositionBelowTheFloor),
            no_orphan_closing: self.has(Bug::NoOrphanClosing),
            close_without_record: self.has(Bug::OrphanClosedWithoutRecord),
        }
    }
}

impl Process {
    /// What an entry is taken to be worth by a process that has this bug.
    pub(crate) fn mistaken(&self, bug: Bug, entry: &Entry, tick: u8) -> Standing {
        let standing = || self.judge(entry, entry.as_of, tick);
        match bug {
            Bug::DeleteInsteadOfStamp | Bug::VersionFromACounter => Standing::Good,
            // The rule that distrusts who knows more of the stream than this process.
            Bug::TrustAheadInDebt => {
                self.judge(entry, entry.as_of.min(self.ledger.applied()), tick)
            }
            Bug::NoTimeForDebts => match standing() {
                Standing::Suspect(Doubt::Unheard)
                    if self.ledger.heard_at() == moment(tick)
                        && entry.as_of <= self.ledger.applied() =>
                {
                    Standing::Good
                }
                standing => standing,
            },
            Bug::DoubtIgnored => match standing() {
                Standing::Suspect(_) => Standing::Good,
                standing => standing,
            },
            _ => standing(),
        }
    }
}
