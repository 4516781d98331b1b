//! A write that is under way, as the others know of it.
//!
//! | it ends with | when | what the others see |
//! |---|---|---|
//! | [`Intending::invalidate`] | it changed something, or nobody knows | one record, and the intent is gone |
//! | [`Intending::withdraw`] | it changed nothing | the intent is gone |
//! | dropped | the task that carried it out ended early | as if nobody knew its outcome |
//! | this process dies | | nobody puts off its deadline; then, a record |

use std::time::Duration;

use super::{LedgerHandle, Receipt};
use crate::ledger::name::Name;
use crate::ledger::{Cause, Mode, Ticket};

/// An announced write. To be ended before its answer is released.
#[derive(Debug)]
#[must_use = "dropping it says that nobody knows what became of the write"]
pub struct Intending {
    ledger: LedgerHandle,
    /// `None` once it has ended, and with a ledger that lives and dies with this process.
    ticket: Option<Ticket>,
    names: Vec<Name>,
    taken: bool,
}

impl LedgerHandle {
    /// Announces that these names are about to be changed, before the origin is told; returns when
    /// Valkey knows, or does not within the budget. If this process dies, they are invalidated at
    /// most `span` (and the second or so that the others need to look) later, for this `cause`.
    ///
    /// The ledger of one process has nobody to tell.
    pub async fn intend(&self, names: Vec<Name>, cause: Cause, span: Duration) -> Intending {
        let Some(valkey) = self.valkey.as_ref().filter(|_| !names.is_empty()) else {
            return Intending { ledger: self.clone(), ticket: None, names, taken: true };
        };
        let (ticket, awaited) = self.shared.intend(names.clone(), cause, span);
        let mut intending =
            Intending { ledger: self.clone(), ticket: Some(ticket), names, taken: false };
        // Valkey is known to be away: nobody waits for it.
        if let Some(awaited) = awaited {
            let answer = tokio::time::timeout(valkey.budget, awaited.answer).await;
            intending.taken = matches!(answer, Ok(Ok(Some(_))));
        }
        intending
    }
}

impl Intending {
    /// Valkey knows of it, and as many servers as `store.durability` asks for: whatever becomes of
    /// this process, the others will obey.
    pub const fn is_taken(&self) -> bool {
        self.taken
    }

    /// The write changed these names, or may have. As [`LedgerHandle::invalidate`].
    pub async fn invalidate(mut self, names: Vec<Name>, cause: Cause) -> Receipt {
        if names.is_empty() {
            self.end();
            return self.ledger.invalidate(names, Mode::Hard, cause).await;
        }
        let closes = self.ticket.take();
        self.ledger.record(names, Mode::Hard, cause, closes).await
    }

    /// The write changed nothing.
    pub fn withdraw(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.ledger.shared.withdraw(ticket);
        }
    }
}

impl Drop for Intending {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let names = std::mem::take(&mut self.names);
            // Nobody waits for the answer.
            drop(self.ledger.shared.announce(names, Mode::Hard, Cause::Write, Some(ticket)));
        }
    }
}
