//! Reads in flight: fills, those who join them, and strict GETs.
//!
//! | stage of a fill | means | what can happen next |
//! |---|---|---|
//! | looked | the shared store has answered, which is on its way here | it is used, or the origin is asked |
//! | asked | the origin was asked, as of a position | it answers |
//! | answered | with a value, on its way here | its head arrives: who waits is served |
//! | streaming | its content is on its way | it is stored, here and in the shared store |

use larder::ledger::{Position, Standing};

use crate::judge::Violation;
use crate::planted::Bug;
use crate::scenario::Scenario;
use crate::server::Entry;
use crate::world::{BELONGS, Event, World, moment};

/// How far a fill is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Found in the shared store, on its way here.
    Looked(Option<Entry>),
    /// Asked at that position and tick.
    Asked(Position, u8),
    /// The origin has answered with this value.
    Answered(Position, u8, u8),
    /// Its head is here, its content still arriving.
    Streaming(Entry),
}

/// A fill.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flight {
    pub(crate) key: Position,
    pub(crate) as_of: Position,
    pub(crate) began: u8,
    pub(crate) stage: Stage,
    /// Found for this key by who asks now.
    pub(crate) joinable: bool,
    pub(crate) stale: Option<Entry>,
    pub(crate) waiters: Vec<Get>,
}

/// A request that waits: which writes were acknowledged when it came, and when that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Get {
    pub(crate) must: u8,
    pub(crate) tick: u8,
}

/// What can happen.
impl World {
    pub(crate) fn flights_go_on(&self, p: u8, scenario: &Scenario, all: &mut Vec<Event>) {
        let process = self.at(p);
        for (f, flight) in (0..).zip(&process.flights) {
            match flight.stage {
                Stage::Looked(_) => all.push(Event::Found(p, f)),
                Stage::Asked(..) => all.push(Event::OriginReads(p, f)),
                Stage::Answered(..) => all.push(Event::Received(p, f)),
                Stage::Streaming(_) => all.push(Event::Stored(p, f)),
            }
            if self.joins > 0 && self.may_join(p, flight, scenario) {
                all.push(Event::Join(p, f));
            }
        }
        if process.strict.is_some() {
            all.push(Event::StrictServed(p));
        } else if self.stricts > 0 && self.reaches(p) {
            all.push(Event::AskForTheHead(p));
        }
        if self.fills > 0 {
            let key = self.key(p, scenario);
            let good = |entry: &Entry| process.is_good(entry, self.tick, scenario);
            let hit = process.memory.get(&key).is_some_and(good);
            let led = process.flights.iter().any(|f| self.may_join(p, f, scenario));
            match (hit, led) {
                (false, false) => all.push(Event::Fill(p)),
                (true, false) => all.push(Event::Refresh(p)),
                _ => {}
            }
        }
    }

    fn may_join(&self, p: u8, flight: &Flight, scenario: &Scenario) -> bool {
        let process = self.at(p);
        let began = moment(flight.began);
        let standing = process.ledger.judge(flight.as_of, began, &BELONGS, moment(self.tick));
        let same = flight.joinable && flight.key == self.key(p, scenario);
        same && (standing == Standing::Good || scenario.has(Bug::CollapseAcrossAnInvalidation))
    }
}

/// What happens.
impl World {
    /// Part of every key.
    pub(crate) fn key(&self, p: u8, scenario: &Scenario) -> Position {
        if scenario.has(Bug::VersionFromACounter) {
            return Position::of_entry(self.primary.value.counter, 0);
        }
        self.at(p).ledger.version("c")
    }

    pub(crate) fn fill(&mut self, p: u8, scenario: &Scenario) {
        self.fills -= 1;
        let (key, tick) = (self.key(p, scenario), self.tick);
        let looked = self.shared_entry(p, key);
        let process = self.process(p);
        let stale = process.memory.get(&key).copied();
        let stale = stale.filter(|e| process.standing(e, tick, scenario) != Standing::Invalidated);
        for flight in process.flights.iter_mut().filter(|flight| flight.key == key) {
            flight.joinable = false;
        }
        let as_of = process.ledger.applied();
        process.flights.push(Flight {
            key,
            as_of,
            began: tick,
            stage: Stage::Looked(looked),
            joinable: true,
            stale,
            waiters: Vec::new(),
        });
    }

    pub(crate) fn shared_entry(&self, p: u8, key: Position) -> Option<Entry> {
        let server = self.seen(self.at(p).append_deposed);
        self.reaches(p).then(|| server.entries.get(&key).copied()).flatten()
    }

    pub(crate) fn join(&mut self, p: u8, f: u8, scenario: &Scenario) -> Result<(), Violation> {
        self.joins -= 1;
        let get = Get { must: self.acked(), tick: self.tick };
        let flight = &mut self.process(p).flights[usize::from(f)];
        match flight.stage {
            Stage::Streaming(entry) => self.serve(p, entry, get, scenario).map(drop),
            _ => {
                flight.waiters.push(get);
                Ok(())
            }
        }
    }

    /// Not told, it asks again, or the origin.
    pub(crate) fn ask_for_the_head(&mut self, p: u8) {
        self.stricts -= 1;
        let process = self.at(p);
        let head = self.seen(process.append_deposed).head(process.ledger.applied().shared());
        let get = Get { must: self.acked(), tick: self.tick };
        self.process(p).strict = head.map(|(life, last)| (get, life, last));
    }

    /// What was found in the shared store is here.
    pub(crate) fn found(&mut self, p: u8, f: u8, scenario: &Scenario) -> Result<(), Violation> {
        let tick = self.tick;
        let process = self.process(p);
        let flight = process.flights[usize::from(f)].clone();
        let Stage::Looked(found) = flight.stage else { return Ok(()) };
        let newest = found.map(|found| {
            let here = process.memory.get(&flight.key).copied();
            let newer = here.filter(|h| (found.as_of, found.vouched) < (h.as_of, h.vouched));
            newer.unwrap_or(found)
        });
        if let Some(entry) = newest {
            process.memory.insert(flight.key, entry);
            let standing = process.standing(&entry, tick, scenario);
            // A refresh is about what is stale, not about what is there.
            if standing == Standing::Good && flight.stale != Some(entry) {
                process.flights.remove(usize::from(f));
                return self.settle(p, entry, &flight.waiters, scenario);
            }
            if standing != Standing::Invalidated {
                process.flights[usize::from(f)].stale = Some(entry);
            }
        }
        let as_of = process.ledger.applied();
        process.flights[usize::from(f)].stage = Stage::Asked(as_of, tick);
        Ok(())
    }

    /// What the answer holds is settled at this moment.
    pub(crate) fn origin_reads(&mut self, p: u8, f: u8) {
        let origin = self.origin;
        let flight = &mut self.process(p).flights[usize::from(f)];
        if let Stage::Asked(as_of, sent) = flight.stage {
            flight.stage = Stage::Answered(as_of, sent, origin);
        }
    }

    /// The head of the origin's answer is here.
    pub(crate) fn received(&mut self, p: u8, f: u8, scenario: &Scenario) -> Result<(), Violation> {
        let process = self.process(p);
        let flight = &mut process.flights[usize::from(f)];
        let Stage::Answered(as_of, sent, value) = flight.stage else { return Ok(()) };
        let unchanged = flight.stale.is_some_and(|stale| stale.value == value);
        let late = scenario.has(Bug::PositionReadAfterTheFetch)
            || (unchanged && scenario.has(Bug::RenewedAsOfTheAnswer));
        let as_of = if late { process.ledger.applied() } else { as_of };
        let entry = Entry { value, as_of, vouched: moment(sent).as_millis() };
        let waiters = std::mem::take(&mut flight.waiters);
        flight.stage = Stage::Streaming(entry);
        self.settle(p, entry, &waiters, scenario)
    }

    /// Everybody who waits is served, or asks again.
    fn settle(
        &mut self,
        p: u8,
        entry: Entry,
        waiters: &[Get],
        scenario: &Scenario,
    ) -> Result<(), Violation> {
        for get in waiters {
            // Who is not served asks for itself: the origin is asked after it came.
            self.serve(p, entry, *get, scenario)?;
        }
        Ok(())
    }

    fn serve(
        &mut self,
        p: u8,
        entry: Entry,
        get: Get,
        scenario: &Scenario,
    ) -> Result<bool, Violation> {
        let good = self.at(p).is_good(&entry, self.tick, scenario)
            || scenario.has(Bug::CollapseAcrossAnInvalidation);
        if good {
            self.may_serve(p, entry, get, scenario)?;
        }
        Ok(good)
    }

    /// Its content is here: it is stored.
    pub(crate) fn stored(&mut self, p: u8, f: u8, scenario: &Scenario) {
        let tick = self.tick;
        let process = self.process(p);
        let flight = process.flights.remove(usize::from(f));
        let Stage::Streaming(entry) = flight.stage else { return };
        let renewed = flight.stale.is_some_and(|stale| stale.value == entry.value);
        let gone = process.standing(&entry, tick, scenario) == Standing::Invalidated;
        let outdone = process.memory.get(&flight.key).is_some_and(|m| m.vouched > entry.vouched);
        if renewed || !(gone || outdone) {
            process.memory.insert(flight.key, entry);
            process.puts.push((flight.key, entry));
        }
        if scenario.has(Bug::LocalStepsInTheSharedStore) {
            return;
        }
        for (_, entry) in &mut process.puts {
            entry.as_of = entry.as_of.shared();
        }
    }

    pub(crate) fn put(&mut self, p: u8) {
        let (key, entry) = self.process(p).puts.remove(0);
        if self.reaches(p) {
            let deposed = self.at(p).append_deposed;
            self.server(deposed).entries.insert(key, entry);
        }
    }
}
