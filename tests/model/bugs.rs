//! Mistakes that one could make, planted into the model's processes and its Valkey, never into the
//! shipped code. Each must be caught.

use crate::server::{NAMESPACE, PATH};
use crate::world::{Fault, Scenario};

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
    NotToldAgainInANewLife,
    PositionBelowTheFloor,
    LocalStepsInTheSharedStore,
    RenewedAsOfTheAnswer,
    NoLease,
    OutcomeUnknownTakenForNothing,
    WriteKeptThoughDisturbed,
    HeardAsOfTheAnswer,
    NewLifeReadFromWhereTheOldOneEnded,
    TrimmingIgnored,
}

/// Each with the smallest world that it shows in.
pub(crate) fn planted() -> Vec<Scenario> {
    use Bug as B;
    use Fault as F;
    let with = |bug, writes: &[(u8, u8)], fills, ticks, faults: &[(Fault, u8)]| Scenario {
        name: "planted",
        writes: writes.to_vec(),
        fills,
        ticks,
        faults: faults.to_vec(),
        bug: Some(bug),
        ..Scenario::default()
    };
    let one = [(0, PATH)];
    vec![
        with(B::DeleteInsteadOfStamp, &one, 1, 0, &[]),
        with(B::PositionReadAfterTheFetch, &one, 1, 0, &[]),
        with(B::VersionFromACounter, &[(0, NAMESPACE)], 0, 0, &[(F::EvictVersions, 1)]),
        with(B::NoFence, &one, 0, 2, &[(F::Failover, 1)]),
        with(B::NoIntent, &one, 0, 2, &[(F::Crash, 1)]),
        with(B::OneIntentForAll, &[(0, PATH), (1, PATH)], 0, 3, &[(F::Crash, 1)]),
        with(B::TrustedBeforeReplay, &one, 0, 2, &[(F::Outage, 1)]),
        Scenario {
            joins: 1,
            ..with(B::CollapseAcrossAnInvalidation, &one, 1, 0, &[(F::EvictEntries, 1)])
        },
        with(B::AcknowledgedBeforeItsRecord, &one, 0, 2, &[(F::Cut, 1)]),
        with(B::NoOrphanClosing, &one, 0, 2, &[(F::Crash, 1)]),
        with(B::OrphanClosedWithoutRecord, &one, 0, 2, &[(F::Crash, 1)]),
        with(B::IntentClosedBeforeTheRecord, &one, 0, 2, &[(F::Crash, 1)]),
        with(B::TrustAheadInDebt, &[(0, PATH), (1, NAMESPACE)], 1, 0, &[(F::Cut, 1)]),
        with(B::NoTimeForDebts, &one, 0, 3, &[(F::Outage, 1)]),
        with(B::DoubtIgnored, &one, 0, 2, &[(F::Cut, 1)]),
        with(B::NotToldAgainInANewLife, &one, 1, 2, &[(F::Failover, 1), (F::Deposed, 1)]),
        with(B::PositionBelowTheFloor, &one, 0, 0, &[(F::EvictLedger, 1), (F::ClockBack, 1)]),
        with(B::LocalStepsInTheSharedStore, &one, 1, 1, &[(F::LoseRequest, 1)]),
        with(B::RenewedAsOfTheAnswer, &one, 1, 0, &[]),
        with(B::NoLease, &one, 0, 2, &[(F::Cut, 1)]),
        with(B::OutcomeUnknownTakenForNothing, &one, 0, 2, &[(F::LoseAnswer, 1)]),
        Scenario {
            keep: true,
            ..with(B::WriteKeptThoughDisturbed, &[(0, PATH), (1, PATH)], 0, 0, &[])
        },
        with(B::HeardAsOfTheAnswer, &one, 0, 3, &[]),
        with(B::NewLifeReadFromWhereTheOldOneEnded, &one, 1, 1, &[(F::Failover, 1)]),
        with(B::TrimmingIgnored, &one, 0, 1, &[(F::Trim, 2), (F::Cut, 1)]),
    ]
}
