//! The second invalidation after a write, for origins that read from replicas: what was fetched in
//! between may be from before it.
//!
//! It is announced like a write, so that it takes place even if this process is gone by then.

use std::time::Duration;

use super::means::INTENT_MARGIN;
use crate::ledger::Cause;
use crate::ledger::name::Name;
use crate::store::ledger::{Intending, LedgerHandle};

/// What is to be invalidated once more.
#[derive(Debug)]
pub struct Settling {
    intending: Intending,
    names: Vec<Name>,
}

/// Announces it; `None` if there is no window.
pub async fn plan(ledger: &LedgerHandle, window: Duration, names: Vec<Name>) -> Option<Settling> {
    if window.is_zero() || names.is_empty() {
        return None;
    }
    let span = window.saturating_add(INTENT_MARGIN);
    let intending = ledger.intend(names.clone(), Cause::Settle, span).await;
    Some(Settling { intending, names })
}

/// Carries it out when the window has passed. Nobody waits for it.
pub fn later(settling: Option<Settling>, window: Duration) {
    let Some(Settling { intending, names }) = settling else { return };
    tokio::spawn(async move {
        tokio::time::sleep(window).await;
        intending.invalidate(names, Cause::Settle).await;
    });
}
