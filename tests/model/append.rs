//! Announcing and appending what is due, as `store/valkey/ledger/append.rs` does.
//!
//! | the connection | means | what can happen next |
//! |---|---|---|
//! | is idle | nothing is due, or not sent yet | what is due is sent, or cannot be |
//! | has an exchange | what was sent was carried out, its answer on its way | it arrives, or is lost; or it is sent again |

use larder::ledger::{Debt, Intent, Mode, Position, Ticket};

use crate::faults::Fault;
use crate::judge::Violation;
use crate::planted::Bug;
use crate::scenario::Scenario;
use crate::server::{Call, Instance, bits, spelled};
use crate::world::{Event, SPAN, World, moment};
use crate::writes::{Progress, Write};

/// What was sent together, its answer on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Exchange {
    pub(crate) sent: u8,
    pub(crate) intents: Vec<Ticket>,
    pub(crate) debts: Vec<(Ticket, Position)>,
}

/// What can happen.
impl World {
    pub(crate) fn append_goes_on(&self, p: u8, all: &mut Vec<Event>) {
        let process = self.at(p);
        if process.exchange.is_some() {
            all.push(Event::Sent(p));
        } else if self.has_due(p) {
            if self.reaches(p) {
                all.push(Event::Send(p));
            } else if self.is_waited_for(p) {
                all.push(Event::Unreachable(p));
            }
        }
        if !process.puts.is_empty() {
            all.push(Event::Put(p));
        }
    }

    pub(crate) fn has_due(&self, p: u8) -> bool {
        let ledger = &self.at(p).ledger;
        let intents = || {
            let mut intents = ledger.intents().clone();
            !intents.take_due(moment(self.tick)).is_empty() || !intents.take_withdrawn().is_empty()
        };
        (!ledger.intents().is_empty() && intents())
            || (!ledger.owed().is_empty() && !ledger.owed().clone().take_due().is_empty())
    }

    /// Does a write wait for what is due?
    fn is_waited_for(&self, p: u8) -> bool {
        let process = self.at(p);
        let own = |write: &&Write| write.by == p && write.instance == process.instance;
        self.writes.iter().filter(own).any(|write| match write.progress {
            Progress::Intending(_) => !process.ledger.is_store_away(),
            Progress::Owing(_) => true,
            _ => false,
        })
    }
}

/// What happens.
impl World {
    pub(crate) fn send_due(&mut self, p: u8, scenario: &Scenario) -> Result<(), Violation> {
        self.send(p, scenario)?;
        if scenario.swift {
            self.sent(p);
        }
        Ok(())
    }

    pub(crate) fn send(&mut self, p: u8, scenario: &Scenario) -> Result<(), Violation> {
        let tick = self.tick;
        let process = self.process(p);
        let intents = process.ledger.intents_mut().take_due(moment(tick));
        let withdrawn = process.ledger.intents_mut().take_withdrawn();
        let first = scenario.has(Bug::IntentClosedBeforeTheRecord) && !withdrawn.is_empty();
        let debts = if first { Vec::new() } else { process.ledger.owed_mut().take_due() };
        self.exchange(p, &intents, &debts, &withdrawn, scenario)
    }

    fn exchange(
        &mut self,
        p: u8,
        intents: &[Intent],
        debts: &[Debt],
        withdrawn: &[Intent],
        scenario: &Scenario,
    ) -> Result<(), Violation> {
        let process = self.at(p);
        let (writer, deposed) = (process.instance, process.append_deposed);
        let least = process.ledger.applied().next();
        let shared = scenario.has(Bug::OneIntentForAll);
        let key = |ticket: Ticket| match shared {
            true => (Instance(9, 9), Ticket(0)),
            false => (writer, ticket),
        };
        let server = self.server(deposed);
        for intent in intents {
            let span = u64::try_from(SPAN.as_millis()).unwrap();
            server.announce(key(intent.ticket), bits(&intent.names), span);
        }
        let mut taken = Vec::new();
        for debt in debts {
            let call = Call {
                least,
                names: bits(&debt.names),
                writer,
                ticket: debt.ticket,
                cause: debt.cause,
                closes: debt.closes.as_ref().map(|intent| key(intent.ticket)),
            };
            let server = self.server(deposed);
            let rows = server.stream.as_ref().map_or(0, |stream| stream.rows.len());
            let id = server.append(&call, scenario.lapses());
            let rows: Vec<_> =
                server.stream.iter().flat_map(|s| s.rows.iter().skip(rows)).copied().collect();
            if id < least {
                return Err(format!("a record at {id}, below {least}, which was handed out"));
            }
            if !deposed || self.deposed.is_none() {
                rows.iter().for_each(|row| self.cover(row));
            }
            taken.push((debt.ticket, id));
        }
        let server = self.server(deposed);
        for intent in withdrawn {
            server.intents.remove(&key(intent.ticket));
        }
        let intents = intents.iter().map(|intent| intent.ticket).collect();
        self.process(p).exchange = Some(Exchange { sent: self.tick, intents, debts: taken });
        Ok(())
    }

    pub(crate) fn sent(&mut self, p: u8) {
        let process = self.process(p);
        let Some(exchange) = process.exchange.take() else { return };
        for ticket in exchange.intents {
            process.ledger.intents_mut().announced(ticket, moment(exchange.sent));
        }
        for (ticket, position) in exchange.debts {
            self.process(p).ledger.owed_mut().appended(ticket, position);
            for write in self.writes.iter_mut().filter(|write| write.by == p) {
                if write.progress == Progress::Owing(ticket) {
                    write.progress = Progress::Appended(position);
                }
            }
        }
    }

    /// What is due could not be sent.
    pub(crate) fn unreachable(&mut self, p: u8) {
        let now = moment(self.tick);
        let process = self.process(p);
        let intents = process.ledger.intents_mut().take_due(now);
        let debts = process.ledger.owed_mut().take_due();
        process.ledger.intents_mut().take_withdrawn();
        let intents: Vec<_> = intents.iter().map(|intent| intent.ticket).collect();
        let debts: Vec<_> = debts.iter().map(|debt| debt.ticket).collect();
        self.fail(p, &intents, &debts);
    }

    pub(crate) fn fail_exchange(&mut self, p: u8) {
        if let Some(exchange) = self.process(p).exchange.take() {
            let debts: Vec<_> = exchange.debts.iter().map(|(ticket, _)| *ticket).collect();
            self.fail(p, &exchange.intents, &debts);
        }
    }

    fn fail(&mut self, p: u8, intents: &[Ticket], debts: &[Ticket]) {
        let tick = self.tick;
        let process = self.process(p);
        intents.iter().for_each(|ticket| process.ledger.intents_mut().failed(*ticket));
        debts.iter().for_each(|ticket| process.ledger.owed_mut().failed(*ticket));
        for write in self.writes.iter_mut().filter(|write| write.by == p) {
            if matches!(write.progress, Progress::Owing(ticket) if debts.contains(&ticket)) {
                (write.progress, write.acked, write.owed) = (Progress::Done, Some(tick), true);
            }
        }
    }

    /// A connection that lay idle was closed, and what was sent on it is sent again.
    pub(crate) fn send_twice(&mut self, p: u8, scenario: &Scenario) -> Result<(), Violation> {
        self.spend(Fault::SendTwice);
        let Some(exchange) = self.process(p).exchange.take() else { return Ok(()) };
        let rows = self.seen(self.at(p).append_deposed).stream.clone().unwrap_or_default().rows;
        let debts = exchange.debts.iter().filter_map(|(ticket, id)| {
            let row = rows.iter().find(|row| row.id == *id)?;
            let (names, cause) = (spelled(row.names?), row.cause);
            Some(Debt { ticket: *ticket, names, mode: Mode::Hard, cause, closes: None })
        });
        let debts: Vec<_> = debts.collect();
        self.exchange(p, &[], &debts, &[], scenario)?;
        if let Some(again) = &mut self.process(p).exchange {
            again.intents = exchange.intents;
        }
        Ok(())
    }
}
