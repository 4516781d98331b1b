//! What must hold, as stated at the head of `model.rs`.
//!
//! | checked | of | statement |
//! |---|---|---|
//! | after each event | what a GET would be served that came now, at each process | 1, 2, 3 |
//! | when a fill has its answer | what those are served who joined it | 1, 2, 3 |
//! | after each event | what a strict GET would be served that knows where the ledger ends | strict |
//! | after each event | what a process has applied | 4 |
//! | when a record is taken (`append.rs`), after each event (`world.rs`) | positions | 5 |
//! | when nothing more happens unless it goes wrong, or somebody comes | what is for good anywhere | 6 |

use larder::ledger::Position;

use crate::faults::Fault;
use crate::planted::Bug;
use crate::reads::Get;
use crate::scenario::Scenario;
use crate::server::{Entry, life_text};
use crate::world::World;
use crate::writes::Write;

/// What must not happen, in words.
pub(crate) type Violation = String;

impl World {
    /// Would a GET that comes now be served something that it must not see?
    pub(crate) fn check_hits(&self, scenario: &Scenario) -> Result<(), Violation> {
        let get = Get { must: self.acked(), tick: self.tick };
        for p in [0, 1] {
            if !self.at(p).alive {
                continue;
            }
            let key = self.key(p, scenario);
            let here = self.at(p).memory.get(&key).copied();
            for entry in here.into_iter().chain(self.shared_entry(p, key)) {
                if self.at(p).is_good(&entry, self.tick, scenario) {
                    self.may_serve(p, entry, get, scenario)?;
                    self.no_older_than_applied(p, entry, scenario)?;
                    self.check_strict(p, entry, scenario)?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn may_serve(
        &self,
        p: u8,
        entry: Entry,
        get: Get,
        scenario: &Scenario,
    ) -> Result<(), Violation> {
        for (w, write) in (0..).zip(&self.writes) {
            let newer = write.value.is_some_and(|value| entry.value < value);
            if newer && get.must & (1 << w) != 0 && !self.is_excused(p, write, get, scenario) {
                return Err(format!(
                    "process {p} serves value {}, as of {}, to a GET that started at {}; write {w} \
                     had made it {:?} and was acknowledged at {:?} ({:?})",
                    entry.value, entry.as_of, get.tick, write.value, write.acked, write.covered,
                ));
            }
        }
        Ok(())
    }

    /// The statement at the head of `model.rs`.
    fn is_excused(&self, p: u8, write: &Write, get: Get, scenario: &Scenario) -> bool {
        let process = self.at(p);
        let Some(acked) = write.acked else { return true };
        let deceived = process.deceived.is_some_and(|tick| get.tick < tick + scenario.bound);
        if deceived || (process.tail_deposed && self.deposed.is_some()) {
            return true;
        }
        if process.instance == write.instance {
            return false;
        }
        let since = match write.covered {
            Some((tick, position)) => {
                if self.has_applied(p, position, scenario) {
                    return false;
                }
                tick.max(acked)
            }
            None => {
                let partial = [Fault::Cut, Fault::LoseReply, Fault::LoseRequest, Fault::SendTwice];
                let alone = partial.into_iter().any(|fault| self.used(scenario, fault));
                let dead = self.at(write.by).instance != write.instance;
                if (write.owed && (alone || dead)) || self.used(scenario, Fault::Deposed) {
                    return true;
                }
                acked
            }
        };
        get.tick < since + scenario.bound
    }

    /// Positions of a deposed primary say nothing of the live one.
    fn has_applied(&self, p: u8, position: Position, scenario: &Scenario) -> bool {
        let process = self.at(p);
        if !self.used(scenario, Fault::Deposed) {
            return process.ledger.applied() >= position;
        }
        process.life == self.primary.value.life && process.read >= position
    }

    /// What this process has applied, it obeys, whether or not anybody was told.
    fn no_older_than_applied(
        &self,
        p: u8,
        entry: Entry,
        scenario: &Scenario,
    ) -> Result<(), Violation> {
        for (w, write) in (0..).zip(&self.writes) {
            let (Some(value), Some((_, position))) = (write.value, write.covered) else { continue };
            if entry.value < value && self.has_applied(p, position, scenario) {
                return Err(format!(
                    "process {p} has applied {position}, the record of write {w}, and takes value \
                     {}, as of {}, for good",
                    entry.value, entry.as_of,
                ));
            }
        }
        Ok(())
    }

    /// What a strict GET is served that knows where the ledger ends.
    fn check_strict(&self, p: u8, entry: Entry, scenario: &Scenario) -> Result<(), Violation> {
        let process = self.at(p);
        let Some((get, life, last)) = process.strict else { return Ok(()) };
        let reached = process.ledger.has_reached(&life_text(life), last)
            || scenario.has(Bug::HeadNotWaitedFor);
        if !reached || self.used(scenario, Fault::Deposed) {
            return Ok(());
        }
        for (w, write) in (0..).zip(&self.writes) {
            let newer = write.value.is_some_and(|value| entry.value < value);
            if newer && get.must & (1 << w) != 0 && !write.owed {
                return Err(format!(
                    "a strict GET at process {p} is served value {}, as of {}; write {w} had made \
                     it {:?} and was acknowledged before ({:?})",
                    entry.value, entry.as_of, write.value, write.covered,
                ));
            }
        }
        Ok(())
    }

    /// Everything was delivered, and nothing more goes wrong: is anything old still served, or
    /// would it be?
    pub(crate) fn check_rest(&self, scenario: &Scenario) -> Result<(), Violation> {
        let store = [
            Fault::LoseRequest,
            Fault::EvictIntents,
            Fault::RestartEmpty,
            Fault::RestartOld,
            Fault::Failover,
            Fault::Cut,
            Fault::Outage,
        ];
        let holed = self.used(scenario, Fault::Crash)
            && store.into_iter().any(|fault| self.used(scenario, fault));
        if holed {
            return Ok(());
        }
        for p in [0, 1] {
            let key = self.key(p, scenario);
            let here = self.at(p).memory.get(&key).copied();
            for entry in here.into_iter().chain(self.shared_entry(p, key)) {
                if self.at(p).is_good(&entry, self.tick, scenario) && entry.value < self.origin {
                    return Err(format!(
                        "everything is quiet, and process {p} still serves value {}, as of {}; the \
                         origin is at {}",
                        entry.value, entry.as_of, self.origin,
                    ));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn acked(&self) -> u8 {
        let acked = (0..).zip(&self.writes).filter(|(_, write)| write.acked.is_some());
        acked.map(|(w, _)| 1 << w).fold(0, |all, bit: u8| all | bit)
    }
}
