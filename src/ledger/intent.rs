//! Writes that were announced here, or are to be, and whose outcome is not known yet.
//!
//! | state | means | leaves it |
//! |---|---|---|
//! | due | Valkey has not been told, or has lost what it was told | when it is sent |
//! | late | the same, and an attempt to tell it failed | when it is sent |
//! | sent | on its way | announced, or failed: then it is late |
//! | outrun | on its way to a life of the stream that is over by now | due when that is answered; failed: late |
//! | announced | Valkey keeps it until a deadline, and then invalidates its names | closed, withdrawn; due again before the deadline, or when the stream begins another life |
//!
//! An intent is closed by the record of its write (see `owed.rs`), and withdrawn if nothing was
//! changed. As long as this process lives, the deadline is put off; when it has died, the deadline
//! comes, and whoever looks at the ledger next invalidates what the write may have changed.
//!
//! It is kept in Valkey as JSON, since that is what both sides can read: `[kind, instance, ticket,
//! name, …]`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Ticket;
use super::name::Name;
use super::record::Cause;
use crate::semantics::time::Timestamp;

/// A write to be announced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Intent {
    /// To say how it went.
    pub ticket: Ticket,
    /// What it may change, as far as that is known beforehand.
    pub names: Box<[Name]>,
    /// Why its names are invalidated at the deadline: [`Cause::Abandoned`] or [`Cause::Settle`].
    pub cause: Cause,
    /// How long after it was announced its deadline is.
    pub span: Duration,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Intents {
    open: BTreeMap<Ticket, Open>,
    /// To be taken back.
    withdrawn: Vec<Intent>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Open {
    intent: Intent,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Due,
    Late,
    Sent,
    Outrun,
    Announced(Timestamp),
}

/// Most that are taken back at once. Beyond that they wait for their deadlines.
const WITHDRAWN: usize = 1024;

impl Intent {
    /// Should the deadline be put off, so long after it was set? What is to settle has its time.
    fn is_put_off(&self, since: Duration) -> bool {
        self.cause == Cause::Abandoned && since >= self.span / 3
    }

    /// As Valkey keeps it, for the process of this name.
    pub fn text(&self, instance: &str) -> String {
        let head = [self.cause.as_str().into(), instance.into(), self.ticket.0.to_string()];
        let names = self.names.iter().map(ToString::to_string);
        let parts = head.into_iter().chain(names).map(serde_json::Value::String);
        serde_json::Value::Array(parts.collect()).to_string()
    }
}

impl Intents {
    /// Nothing is announced, or to be.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.withdrawn.is_empty()
    }

    /// Writes whose outcome is not known.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Valkey could not be told of one.
    pub fn is_late(&self) -> bool {
        self.open.values().any(|open| open.state == State::Late)
    }

    /// What to announce at `now`: what is due, and what was announced so long ago that its deadline
    /// is to be put off. Each must be answered with [`Self::announced`] or [`Self::failed`].
    pub fn take_due(&mut self, now: Timestamp) -> Vec<Intent> {
        let due = self.open.values_mut().filter_map(|open| {
            let due = match open.state {
                State::Due | State::Late => true,
                State::Sent | State::Outrun => false,
                State::Announced(at) => open.intent.is_put_off(now.since(at)),
            };
            due.then(|| {
                open.state = State::Sent;
                open.intent.clone()
            })
        });
        due.collect()
    }

    /// What to take back. Not repeated: what cannot be taken back has its deadline.
    pub fn take_withdrawn(&mut self) -> Vec<Intent> {
        std::mem::take(&mut self.withdrawn)
    }

    /// Valkey has been told, by a message sent at `at`.
    pub fn announced(&mut self, ticket: Ticket, at: Timestamp) {
        if let Some(open) = self.open.get_mut(&ticket) {
            open.state = match open.state {
                State::Outrun => State::Due,
                _ => State::Announced(at),
            };
        }
    }

    /// It has not, or nobody knows.
    pub fn failed(&mut self, ticket: Ticket) {
        if let Some(open) = self.open.get_mut(&ticket) {
            open.state = State::Late;
        }
    }

    /// Everything that is due is late: Valkey is known to be away. Returns their tickets.
    pub fn give_up_due(&mut self) -> Vec<Ticket> {
        let due = self.open.iter_mut().filter(|(_, open)| open.state == State::Due);
        due.map(|(ticket, open)| {
            open.state = State::Late;
            *ticket
        })
        .collect()
    }

    /// Nothing was changed: there is nothing to invalidate.
    pub fn withdraw(&mut self, ticket: Ticket) {
        if let Some(intent) = self.close(ticket)
            && self.withdrawn.len() < WITHDRAWN
        {
            self.withdrawn.push(intent);
        }
    }

    /// Its outcome is known. Returns what is to be taken back in the same step that records it; none
    /// if Valkey was never told.
    pub(super) fn close(&mut self, ticket: Ticket) -> Option<Intent> {
        let open = self.open.remove(&ticket)?;
        (open.state != State::Due).then_some(open.intent)
    }

    pub(super) fn add(&mut self, intent: Intent) {
        self.open.insert(intent.ticket, Open { intent, state: State::Due });
    }

    /// The stream began another life, which may not know of any of them.
    pub(super) fn lost(&mut self) {
        for open in self.open.values_mut() {
            open.state = match open.state {
                State::Announced(_) => State::Due,
                State::Sent => State::Outrun,
                state => state,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn intent(ticket: u64) -> Intent {
        let names = ["tag:product:7", "path:/a\"b"].map(|name| name.parse().unwrap());
        Intent { ticket: Ticket(ticket), names: names.into(), cause: Cause::Abandoned, span: SPAN }
    }

    fn one() -> Intents {
        let mut intents = Intents::default();
        intents.add(intent(1));
        intents
    }

    #[test]
    fn it_is_announced_once_and_put_off_before_its_deadline() {
        let mut intents = one();
        assert_eq!(intents.take_due(at(0)), [intent(1)]);
        assert_eq!(intents.take_due(at(0)), []);
        intents.announced(Ticket(1), at(0));
        assert_eq!(intents.take_due(at(9)), []);
        assert_eq!(intents.take_due(at(10)), [intent(1)]);
    }

    #[test]
    fn what_is_to_settle_is_not_put_off() {
        let mut intents = Intents::default();
        intents.add(Intent { cause: Cause::Settle, ..intent(1) });
        intents.take_due(at(0));
        intents.announced(Ticket(1), at(0));
        assert_eq!(intents.take_due(at(1000)), []);
    }

    #[test]
    fn what_failed_is_late_until_it_is_announced() {
        let mut intents = one();
        intents.take_due(at(0));
        intents.failed(Ticket(1));
        assert!(intents.is_late());
        assert_eq!(intents.take_due(at(0)), [intent(1)]);
        intents.announced(Ticket(1), at(0));
        assert!(!intents.is_late());
    }

    #[test]
    fn another_life_of_the_stream_is_told_again() {
        let mut intents = one();
        intents.take_due(at(0));
        intents.lost();
        assert_eq!(intents.take_due(at(0)), [], "its answer is still to come");
        intents.announced(Ticket(1), at(0));
        assert_eq!(intents.take_due(at(0)), [intent(1)], "the answer was of the life before");
        intents.announced(Ticket(1), at(0));
        intents.lost();
        assert_eq!(intents.take_due(at(0)), [intent(1)]);
    }

    #[test]
    fn what_valkey_never_heard_of_need_not_be_taken_back() {
        let mut intents = one();
        intents.withdraw(Ticket(1));
        assert!(intents.is_empty());
        let mut intents = one();
        intents.take_due(at(0));
        intents.withdraw(Ticket(1));
        assert_eq!((intents.len(), intents.take_withdrawn()), (0, vec![intent(1)]));
        intents.announced(Ticket(1), at(0));
        assert!(intents.is_empty(), "an answer that comes after the end changes nothing");
    }

    #[test]
    fn valkey_away_makes_what_is_due_late() {
        let mut intents = one();
        assert_eq!(intents.give_up_due(), [Ticket(1)]);
        assert_eq!(intents.give_up_due(), []);
        assert!(intents.is_late());
        assert_eq!(intents.close(Ticket(1)), Some(intent(1)), "the attempt may have come through");
    }

    #[test]
    fn its_text_is_json_whatever_its_names_are() {
        let text = intent(1).text("me");
        let parts: Vec<String> = serde_json::from_str(&text).unwrap();
        assert_eq!(parts, ["abandoned", "me", "1", "tag:product:7", "path:/a\"b"]);
    }
}
