//! Following the stream, as `store/valkey/ledger/tail.rs` does.
//!
//! | the tail is | means | what can happen next |
//! |---|---|---|
//! | down | it has no connection | it connects, and looks |
//! | looking | the answer of that look is on its way | it arrives |
//! | idle | it has taken in what it was told | it reads on |
//! | reading | a page is on its way | it is taken in; if a look is due, looking again |
//! | looking again | the answer of that look is on its way | it arrives, and everything is heard as of when the page was asked for |

use larder::ledger::{Position, Ticket};

use crate::planted::Bug;
use crate::scenario::Scenario;
use crate::server::{Instance, Look, Row};
use crate::world::{Event, World, moment};
use crate::writes::Progress;

/// How far the tail is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tail {
    Down,
    Idle,
    /// The answer of a look is on its way.
    Looking(Look),
    /// That of a look in the middle, whose page was asked for at that tick.
    LookingAgain(Look, u8),
    /// That of XREAD: asked at that tick, the records, all there were?
    Reading(u8, Vec<Row>, bool),
}

/// What can happen.
impl World {
    pub(crate) fn tail_goes_on(&self, p: u8, scenario: &Scenario, all: &mut Vec<Event>) {
        let process = self.at(p);
        match &process.tail {
            Tail::Down if self.reaches(p) => all.push(Event::Connect(p)),
            Tail::Looking(_) => all.push(Event::Opened(p)),
            Tail::LookingAgain(..) => all.push(Event::LookedAgain(p)),
            Tail::Idle if self.would_read(p, scenario) && scenario.swift => {
                all.push(Event::ReadThrough(p, true));
                if process.looked {
                    all.push(Event::ReadThrough(p, false));
                }
            }
            Tail::Idle if self.would_read(p, scenario) => all.push(Event::Read(p)),
            Tail::Idle if !scenario.swift && scenario.polls => all.push(Event::Poll(p)),
            Tail::Reading(..) => {
                // In the first round of a connection it has just looked.
                let told = process.reading.clone();
                all.push(Event::Handle(p, true));
                if process.looked || !told.is_caught_up() {
                    all.push(Event::Handle(p, false));
                }
            }
            Tail::Down | Tail::Idle => {}
        }
    }

    /// An answer that tells nothing is not told apart from none.
    fn would_read(&self, p: u8, scenario: &Scenario) -> bool {
        let process = self.at(p);
        let server = self.seen(process.tail_deposed);
        !server.read(process.read, scenario.page).0.is_empty()
            || !process.reading.is_caught_up()
            || !process.looked
            || (process.ledger.heard_at() != moment(self.tick)
                && !process.ledger.owed().is_overdue())
            || process.life != server.life
            || server.stream.is_none()
    }
}

/// What happens.
impl World {
    pub(crate) fn connect(&mut self, p: u8, scenario: &Scenario) {
        let process = self.process(p);
        process.reading.connected();
        process.tail_deposed = false;
        if scenario.has(Bug::TrustedBeforeReplay) {
            let now = moment(self.tick);
            self.process(p).ledger.heard(now);
        }
        let look = self.look(p, scenario);
        self.process(p).tail = Tail::Looking(look);
        if scenario.swift {
            self.opened(p, scenario);
        }
    }

    fn look(&mut self, p: u8, scenario: &Scenario) -> Look {
        let process = self.process(p);
        process.looked = true;
        let (by, deposed) = (process.instance, process.tail_deposed);
        let applied = process.ledger.applied().shared();
        let known = process.life;
        let crossed = process.ledger.crossed().to_owned();
        let open: Vec<_> = self.seen(deposed).intents.keys().copied().collect();
        let server = self.server(deposed);
        let rows = server.stream.as_ref().map_or(0, |stream| stream.rows.len());
        let look = server.look(known, applied, &crossed, by, scenario.lapses());
        let new: Vec<Row> =
            server.stream.iter().flat_map(|s| s.rows.iter().skip(rows)).copied().collect();
        let closed: Vec<_> =
            open.into_iter().filter(|key| !server.intents.contains_key(key)).collect();
        if !deposed || self.deposed.is_none() {
            new.iter().for_each(|row| self.cover(row));
        }
        for write in &mut self.writes {
            let own = |(instance, ticket): &(Instance, Ticket)| {
                *instance == write.instance
                    && matches!(write.progress, Progress::Sent(Some(t)) if t == *ticket)
            };
            write.abandoned |= closed.iter().any(own)
                || (write.progress == Progress::Dead
                    && closed.iter().any(|(instance, _)| *instance == write.instance));
        }
        look
    }

    /// The live primary took this.
    pub(crate) fn cover(&mut self, row: &Row) {
        let tick = self.tick;
        for write in &mut self.writes {
            let meant = row.names.is_none_or(|names| names & write.names != 0);
            if meant && write.value.is_some() && write.covered.is_none() {
                write.covered = Some((tick, row.id));
            }
        }
    }

    fn open(&mut self, p: u8, look: &Look, scenario: &Scenario) {
        let process = self.process(p);
        let mut opening = look.opening();
        let deposed = process.tail_deposed;
        if *opening.life != *process.reading.life() {
            let versions = self.seen(deposed).versions.clone();
            let process = self.process(p);
            versions.iter().for_each(|(name, at)| process.ledger.note_version(name, *at));
        }
        if scenario.has(Bug::NoFence) {
            opening.fence = Position::ZERO;
        }
        if scenario.has(Bug::TrimmingIgnored) {
            opening.trimmed = Position::ZERO;
        }
        let process = self.process(p);
        let checked = process.reading.checked();
        process.ledger.open(&opening, checked);
        process.reading.looked(&opening.life);
        process.life = Some(look.life);
        process.read = process.reading.last().parse().unwrap();
    }

    pub(crate) fn opened(&mut self, p: u8, scenario: &Scenario) {
        if let Tail::Looking(look) = self.at(p).tail.clone() {
            self.open(p, &look, scenario);
            self.process(p).tail = Tail::Idle;
        }
    }

    pub(crate) fn read(&mut self, p: u8, scenario: &Scenario) {
        let process = self.at(p);
        let (rows, all) = self.seen(process.tail_deposed).read(process.read, scenario.page);
        let tick = self.tick;
        self.process(p).tail = Tail::Reading(tick, rows, all);
    }

    pub(crate) fn handle(&mut self, p: u8, due: bool, scenario: &Scenario) {
        let process = self.process(p);
        let Tail::Reading(sent, rows, all) = std::mem::replace(&mut process.tail, Tail::Idle)
        else {
            return;
        };
        let records: Vec<_> = rows.iter().map(Row::record).collect();
        if !records.is_empty() {
            process.ledger.apply(&records);
        }
        let last = rows.last().map(|row| (row.id.to_string(), row.id));
        process.reading.page(last.as_ref().map(|(text, id)| (text.as_str(), *id)), all);
        process.read = process.reading.last().parse().unwrap();
        if process.reading.must_look(due) {
            let look = self.look(p, scenario);
            self.process(p).tail = Tail::LookingAgain(look, sent);
        } else {
            self.hear(p, sent, scenario);
        }
    }

    pub(crate) fn looked_again(&mut self, p: u8, scenario: &Scenario) {
        if let Tail::LookingAgain(look, sent) = self.at(p).tail.clone() {
            self.open(p, &look, scenario);
            self.process(p).tail = Tail::Idle;
            self.hear(p, sent, scenario);
        }
    }

    /// A page, and everything that follows from it, at once.
    pub(crate) fn read_through(&mut self, p: u8, due: bool, scenario: &Scenario) {
        self.read(p, scenario);
        self.handle(p, due, scenario);
        self.looked_again(p, scenario);
    }

    fn hear(&mut self, p: u8, sent: u8, scenario: &Scenario) {
        let deposed = self.deposed.is_some();
        let sent = if scenario.has(Bug::HeardAsOfTheAnswer) { self.tick } else { sent };
        let process = self.process(p);
        if process.reading.is_caught_up() {
            process.ledger.heard(moment(sent));
            if process.tail_deposed && deposed {
                process.deceived = Some(sent);
            }
        }
    }
}
