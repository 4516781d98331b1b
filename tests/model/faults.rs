//! What may go wrong, and what then becomes of processes, connections and Valkey.
//!
//! | fault | what happens |
//! |---|---|
//! | crash | a process dies, and another takes its place |
//! | lose reply, lose request | Valkey did what a process asked for, and it does not know; Valkey did not |
//! | send twice | what was sent on an idle connection is sent again |
//! | evict ledger, versions, intents, entries | Valkey drops these keys, and only these |
//! | restart empty, old | Valkey starts again with nothing; with its last snapshot |
//! | failover | a replica takes over with what it has, its clock behind |
//! | deposed | one process goes on talking to the old primary, on one of its connections or on both |
//! | cut | one process does not reach Valkey, until it heals |
//! | outage | nobody does, until Valkey is back |
//! | clock back | Valkey's clock steps back |
//! | lose answer | a process does not learn what became of its write |
//! | trim | the first entry of the stream is gone |

use std::rc::Rc;

use crate::digest::seal;
use crate::process::Process;
use crate::scenario::Scenario;
use crate::server::{Instance, Server};
use crate::tail::Tail;
use crate::world::{Event, World};
use crate::writes::Progress;

/// What may go wrong, each a number of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    Crash,
    LoseReply,
    LoseRequest,
    SendTwice,
    EvictLedger,
    EvictVersions,
    EvictIntents,
    EvictEntries,
    RestartEmpty,
    RestartOld,
    Failover,
    Deposed,
    Cut,
    Outage,
    ClockBack,
    LoseAnswer,
    Trim,
}

/// Kinds of them.
pub(crate) const FAULTS: usize = Fault::Trim as usize + 1;

/// How much more may go wrong.
impl World {
    pub(crate) fn used(&self, scenario: &Scenario, fault: Fault) -> bool {
        let had = scenario.faults.iter().find(|(f, _)| *f == fault).map_or(0, |(_, n)| *n);
        self.left[fault as usize] < had
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.left[fault as usize] > 0
    }

    pub(crate) fn spend(&mut self, fault: Fault) {
        self.left[fault as usize] -= 1;
    }
}

/// What can go wrong now.
impl World {
    pub(crate) fn faults(&self, all: &mut Vec<Event>) {
        for p in [0, 1] {
            let process = self.at(p);
            if !process.alive {
                continue;
            }
            if self.has(Fault::Crash) {
                all.push(Event::Crash(p));
            }
            if self.has(Fault::Cut) && !process.cut {
                all.push(Event::Cut(p));
            }
            if self.has(Fault::LoseReply) && process.exchange.is_some() {
                all.push(Event::LoseReply(p));
            }
            if self.has(Fault::SendTwice) && process.exchange.is_some() {
                all.push(Event::SendTwice(p));
            }
            if self.has(Fault::LoseRequest) && process.exchange.is_none() && self.has_due(p) {
                all.push(Event::LoseRequest(p));
            }
        }
        if self.up && self.primary.value.stream.is_some() {
            self.store_faults(all);
        }
    }

    fn store_faults(&self, all: &mut Vec<Event>) {
        let evictions =
            [Fault::EvictLedger, Fault::EvictVersions, Fault::EvictIntents, Fault::EvictEntries];
        all.extend(evictions.into_iter().filter(|f| self.has(*f)).map(Event::Evict));
        if self.has(Fault::RestartEmpty) {
            all.push(Event::Restart(Fault::RestartEmpty));
        }
        if self.saved.is_none() && (self.has(Fault::RestartOld) || self.has(Fault::Failover)) {
            all.push(Event::Save);
        }
        if self.saved.is_some() && self.has(Fault::RestartOld) {
            all.push(Event::Restart(Fault::RestartOld));
        }
        if self.saved.is_some() && self.has(Fault::Failover) {
            all.push(Event::Failover(None));
            if self.has(Fault::Deposed) {
                for p in [0, 1] {
                    let kept = [(p, true, true), (p, true, false), (p, false, true)];
                    all.extend(kept.map(|kept| Event::Failover(Some(kept))));
                }
            }
        }
        if self.has(Fault::Outage) {
            all.push(Event::Outage);
        }
        if self.has(Fault::ClockBack) {
            all.push(Event::ClockBack);
        }
        if self.has(Fault::Trim) {
            all.push(Event::Trim);
        }
    }
}

/// What then happens.
impl World {
    pub(crate) fn lose_answer(&mut self, w: u8, scenario: &Scenario) {
        self.spend(Fault::LoseAnswer);
        self.conclude(w, scenario);
    }

    pub(crate) fn lose_reply(&mut self, p: u8) {
        self.spend(Fault::LoseReply);
        self.fail_exchange(p);
    }

    pub(crate) fn lose_request(&mut self, p: u8) {
        self.spend(Fault::LoseRequest);
        self.unreachable(p);
    }

    pub(crate) fn cut(&mut self, p: u8) {
        self.spend(Fault::Cut);
        self.process(p).cut = true;
        self.disconnect(p);
    }

    pub(crate) fn outage(&mut self) {
        self.spend(Fault::Outage);
        self.up = false;
        (0..2).for_each(|p| self.disconnect(p));
    }

    pub(crate) fn clock_back(&mut self) {
        self.spend(Fault::ClockBack);
        self.primary().clock -= 5_000;
    }

    pub(crate) fn trim(&mut self) {
        self.spend(Fault::Trim);
        self.primary().trim();
    }

    fn disconnect(&mut self, p: u8) {
        if !self.at(p).alive {
            return;
        }
        let process = self.process(p);
        process.tail = Tail::Down;
        (process.tail_deposed, process.append_deposed) = (false, false);
        process.puts.clear();
        self.fail_exchange(p);
    }

    pub(crate) fn crash(&mut self, p: u8, scenario: &Scenario) {
        self.spend(Fault::Crash);
        for write in self.writes.iter_mut().filter(|write| write.by == p) {
            match write.progress {
                Progress::Idle | Progress::Done => {}
                // It never left.
                Progress::Intending(_) => write.progress = Progress::Done,
                _ => write.progress = Progress::Dead,
            }
        }
        let instance = self.at(p).instance;
        *self.process(p) = Process::new(Instance(instance.0, instance.1 + 1), scenario);
    }

    pub(crate) fn evict(&mut self, fault: Fault) {
        self.spend(fault);
        let server = self.primary();
        // Time has passed since its last record, if only a little.
        server.clock += 1;
        match fault {
            Fault::EvictLedger => server.stream = None,
            Fault::EvictVersions => {
                server.versions.clear();
                (server.life, server.counter) = (None, 0);
            }
            Fault::EvictIntents => server.intents.clear(),
            _ => server.entries.clear(),
        }
    }

    pub(crate) fn restart(&mut self, fault: Fault) {
        self.spend(fault);
        let (epoch, clock) = (self.primary.value.epoch, self.primary.value.clock);
        let mut server = match (fault, &self.saved) {
            (Fault::RestartOld, Some(saved)) => saved.value.clone(),
            _ => Server::new(0, 0),
        };
        (server.epoch, server.clock) = (epoch + 1, clock + 1);
        self.primary = Rc::new(seal(server));
        (0..2).for_each(|p| self.disconnect(p));
    }

    /// A replica with what it has takes over, its clock behind. `kept`: a process that goes on
    /// talking to the old one: on its tail's connection, on the other.
    pub(crate) fn failover(&mut self, kept: Option<(u8, bool, bool)>) {
        self.spend(Fault::Failover);
        let Some(saved) = self.saved.clone() else { return };
        let mut server = saved.value.clone();
        (server.epoch, server.clock) =
            (self.primary.value.epoch + 1, self.primary.value.clock - 3_000);
        let old = std::mem::replace(&mut self.primary, Rc::new(seal(server)));
        if kept.is_some() {
            self.spend(Fault::Deposed);
            self.deposed = Some(old);
        }
        for p in [0, 1] {
            let (tail, append) = match kept {
                Some((kept, tail, append)) if kept == p => (tail, append),
                _ => (false, false),
            };
            if !(tail || append) {
                self.disconnect(p);
                continue;
            }
            let process = self.process(p);
            (process.tail_deposed, process.append_deposed) = (tail, append);
            if !tail {
                process.tail = Tail::Down;
            }
            if !append {
                process.puts.clear();
                self.fail_exchange(p);
            }
        }
    }

    pub(crate) fn deposed_gone(&mut self) {
        self.deposed = None;
        for p in [0, 1] {
            let process = self.process(p);
            if process.tail_deposed {
                (process.tail, process.tail_deposed) = (Tail::Down, false);
            }
            if process.append_deposed {
                process.append_deposed = false;
                process.puts.clear();
                self.fail_exchange(p);
            }
        }
    }
}
