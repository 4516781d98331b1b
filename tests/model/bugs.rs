//! Mistakes that one could make, planted into the model's processes and its Valkey, never into the
//! shipped code. Each must be caught.

use crate::server::{NAMESPACE, PATH};
use crate::world::{Event as E, Fault, Scenario};

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
pub(crate) fn planted() -> Vec<Scenario> {
    use Bug as B;
    use Fault as F;
    let world = |writes: &[(u8, u8)], fills, ticks, faults: &[(Fault, u8)]| Scenario {
        name: "planted",
        writes: writes.to_vec(),
        fills,
        ticks,
        faults: faults.to_vec(),
        swift: true,
        sent: true,
        ..Scenario::default()
    };
    let (one, crash) = ([(0, PATH)], [(F::Crash, 1)]);
    let two = |other| [(0, PATH), (1, other)];
    let filled = |p| {
        [
            E::Fill(p),
            E::Found(p, 0),
            E::OriginReads(p, 0),
            E::Received(p, 0),
            E::Stored(p, 0),
            E::Put(p),
        ]
    };
    // Process 1 has written, and filled as of a record that process 0 has not read.
    let mut ahead = vec![E::Apply(1), E::Conclude(1), E::Send(1), E::ReadThrough(1, true)];
    ahead.extend(filled(1));
    // Process 0 has filled as of a step of its own.
    let mut stepped = vec![E::Apply(0), E::Conclude(0)];
    stepped.extend(filled(0));
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
