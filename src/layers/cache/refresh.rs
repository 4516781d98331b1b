//! Behind a stale hit: exactly one refresh per entry, across the fleet, within the origin's budget.

use std::sync::Arc;

use super::asked::Asked;
use super::fill::Fill;
use super::lookup::{self, Looked, Shared};
use super::{Means, Origin};
use crate::layers::collapse::Joined;
use crate::ledger::Standing;
use crate::plan::Plan;
use crate::store::Entry;
use crate::telemetry::outcome::RefreshResult;

/// Starts a refresh of `entry`, unless one is under way or the budget is used up; the next stale
/// hit then asks again.
pub fn behind<S: Origin>(
    means: &Arc<Means>,
    inner: &S,
    asked: &Asked,
    looked: &Looked,
    entry: &Arc<Entry>,
) {
    let now = means.now();
    let joined = means.flights.join(looked.key.digest, means.ledger.applied(), now, |flight| {
        let good = means.ledger.judge(flight.as_of, flight.began, &entry.belongs(), now);
        good == Standing::Good && flight.is_open(now)
    });
    let Joined::Lead(lead) = joined else { return };
    // Between the lookup and the lead another refresh may have come and gone.
    if lookup::peek(means, asked, looked.names.as_deref(), now).plan == Plan::Serve {
        return;
    }
    let Ok(permit) = Arc::clone(&means.refreshes).try_acquire_owned() else {
        means.metrics.refresh(asked.route.index, RefreshResult::Skipped);
        return;
    };
    let fill = Fill {
        means: Arc::clone(means),
        inner: inner.clone(),
        asked: Arc::new(asked.for_everybody()),
        key: looked.key.clone(),
        stale: Some(Arc::clone(entry)),
        lead: Some(lead),
        shared: Shared::Unasked,
        names: looked.names.clone(),
        refreshing: true,
        reason: Arc::default(),
        unconditional: false,
        reply: None,
    };
    tokio::spawn(async move {
        fill.run().await;
        drop(permit);
    });
}
