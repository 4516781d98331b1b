//! Writes under way.
//!
//! | progress | means | what can happen next |
//! |---|---|---|
//! | idle | it has not come yet | it is announced |
//! | intending | its announcement is due, or on its way | it is sent to the origin |
//! | sent | the origin has it | it is carried out, or refused; then its answer arrives, or is lost |
//! | owing | its outcome is known, or given up; its record is due, or on its way | the record is taken, or fails: then it is acknowledged as owed |
//! | appended | Valkey has its record | it is acknowledged |
//! | done | it was answered, or never left | |
//! | dead | its process died with it | the origin may carry it out all the same |

use larder::ledger::{Cause, Mode, Position, Ticket};

use crate::faults::Fault;
use crate::planted::Bug;
use crate::scenario::Scenario;
use crate::server::{Entry, Instance, spelled};
use crate::world::{BELONGS, Event, SPAN, World, moment};

/// How far a write is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Progress {
    Idle,
    Intending(Ticket),
    /// Sent to the origin, under this intent.
    Sent(Option<Ticket>),
    /// Its record is owed.
    Owing(Ticket),
    Appended(Position),
    Done,
    Dead,
}

/// A write, as long as the world stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Write {
    pub(crate) by: u8,
    pub(crate) names: u8,
    pub(crate) progress: Progress,
    pub(crate) instance: Instance,
    /// Applied at the writing process when it was sent.
    pub(crate) since: Position,
    /// The counter at the origin once it was applied.
    pub(crate) value: Option<u8>,
    /// When its answer was released.
    pub(crate) acked: Option<u8>,
    pub(crate) owed: bool,
    /// When, and where, the live primary took a record after the origin had applied it.
    pub(crate) covered: Option<(u8, Position)>,
    /// Its intent was closed by somebody else.
    pub(crate) abandoned: bool,
}

impl Write {
    pub(crate) fn new(by: u8, names: u8) -> Self {
        Self {
            by,
            names,
            progress: Progress::Idle,
            instance: Instance(by, 0),
            since: Position::ZERO,
            value: None,
            acked: None,
            owed: false,
            covered: None,
            abandoned: false,
        }
    }
}

/// What can happen.
impl World {
    pub(crate) fn writes_go_on(&self, scenario: &Scenario, all: &mut Vec<Event>) {
        for (w, write) in (0..).zip(&self.writes) {
            let alive = self.at(write.by).alive && self.at(write.by).instance == write.instance;
            match write.progress {
                Progress::Idle if self.at(write.by).alive => all.push(Event::Intend(w)),
                Progress::Intending(ticket) if alive && self.may_forward(write, ticket) => {
                    all.push(Event::Forward(w));
                }
                Progress::Sent(_) if alive && write.value.is_none() && scenario.refusals => {
                    all.push(Event::Refuse(w));
                }
                Progress::Sent(_) if alive && write.value.is_some() => {
                    all.push(Event::Conclude(w));
                    if self.has(Fault::LoseAnswer) {
                        all.push(Event::LoseAnswer(w));
                    }
                }
                Progress::Appended(_) => all.push(Event::Acknowledge(w)),
                _ => {}
            }
            let sent = matches!(write.progress, Progress::Sent(_) | Progress::Dead);
            // An origin that has not carried it out by its deadline does not do so any more.
            let dead = write.progress == Progress::Dead;
            if sent && write.value.is_none() && !(dead && write.abandoned) {
                all.push(if dead { Event::ApplyLate(w) } else { Event::Apply(w) });
            }
        }
    }

    fn may_forward(&self, write: &Write, ticket: Ticket) -> bool {
        let process = self.at(write.by);
        let waiting = process.exchange.as_ref().is_some_and(|e| e.intents.contains(&ticket));
        let due = || process.ledger.intents().clone().take_due(moment(self.tick));
        process.ledger.is_store_away()
            || !(waiting || due().iter().any(|intent| intent.ticket == ticket))
    }
}

/// What happens.
impl World {
    pub(crate) fn intend(&mut self, w: u8, scenario: &Scenario) {
        let Write { by, names, .. } = self.writes[usize::from(w)];
        let instance = self.at(by).instance;
        let process = self.process(by);
        let since = process.ledger.applied();
        let progress = if scenario.has(Bug::NoIntent) {
            Progress::Sent(None)
        } else {
            let away = process.ledger.is_store_away();
            let ticket = process.ledger.intend(spelled(names), Cause::Abandoned, SPAN);
            if away {
                process.ledger.intents_mut().failed(ticket);
            }
            Progress::Intending(ticket)
        };
        let write = &mut self.writes[usize::from(w)];
        (write.progress, write.instance, write.since) = (progress, instance, since);
    }

    pub(crate) fn forward(&mut self, w: u8) {
        let write = &mut self.writes[usize::from(w)];
        if let Progress::Intending(ticket) = write.progress {
            write.progress = Progress::Sent(Some(ticket));
        }
    }

    /// The origin carries it out.
    pub(crate) fn apply(&mut self, w: u8) {
        self.origin += 1;
        self.writes[usize::from(w)].value = Some(self.origin);
    }

    /// The origin's answer says that it changed nothing.
    pub(crate) fn refuse(&mut self, w: u8) {
        let write = &mut self.writes[usize::from(w)];
        let by = write.by;
        if let Progress::Sent(Some(intent)) = std::mem::replace(&mut write.progress, Progress::Done)
        {
            self.process(by).ledger.intents_mut().withdraw(intent);
        }
    }

    /// The origin's answer is here, or will not come: the same either way.
    pub(crate) fn conclude(&mut self, w: u8, scenario: &Scenario) {
        let Write { by, names, progress: Progress::Sent(intent), .. } = self.writes[usize::from(w)]
        else {
            return;
        };
        if scenario.has(Bug::DeleteInsteadOfStamp) {
            self.process(by).memory.clear();
            self.primary().entries.clear();
            return self.acknowledge(w, false, scenario);
        }
        if scenario.has(Bug::OutcomeUnknownTakenForNothing)
            && self.used(scenario, Fault::LoseAnswer)
        {
            if let Some(intent) = intent {
                self.process(by).ledger.intents_mut().withdraw(intent);
            }
            self.writes[usize::from(w)].progress = Progress::Done;
            return;
        }
        if scenario.has(Bug::IntentClosedBeforeTheRecord)
            && let Some(intent) = intent
        {
            self.process(by).ledger.intents_mut().withdraw(intent);
        }
        let ledger = &mut self.process(by).ledger;
        let away = ledger.owed().is_overdue();
        let names = spelled(names);
        let (ticket, _) = match intent {
            Some(intent) => ledger.conclude(intent, names, Mode::Hard, Cause::Write),
            None => ledger.announce(names, Mode::Hard, Cause::Write),
        };
        self.writes[usize::from(w)].progress = Progress::Owing(ticket);
        if away {
            self.process(by).ledger.owed_mut().failed(ticket);
            self.acknowledge(w, true, scenario);
        } else if scenario.has(Bug::AcknowledgedBeforeItsRecord) {
            self.acknowledge(w, false, scenario);
        }
    }

    pub(crate) fn acknowledge(&mut self, w: u8, owed: bool, scenario: &Scenario) {
        let tick = self.tick;
        let write = &mut self.writes[usize::from(w)];
        let at = match write.progress {
            Progress::Appended(position) => Some(position),
            _ => None,
        };
        (write.progress, write.acked, write.owed) = (Progress::Done, Some(tick), owed);
        let Write { by, since, value: Some(value), .. } = *write else { return };
        if let (true, Some(as_of)) = (scenario.keep, at) {
            self.keep(
                by,
                since,
                Entry { value, as_of, vouched: moment(tick).as_millis() },
                scenario,
            );
        }
    }

    /// What a write was answered is what a GET would get: `represent.rs`.
    fn keep(&mut self, p: u8, since: Position, entry: Entry, scenario: &Scenario) {
        let (key, tick) = (self.key(p, scenario), self.tick);
        let process = self.process(p);
        let passed = process.ledger.applied() >= entry.as_of;
        let undisturbed = process.ledger.is_undisturbed(since, entry.as_of, &BELONGS)
            || scenario.has(Bug::WriteKeptThoughDisturbed);
        let outrun = process.memory.get(&key).is_some_and(|found| found.as_of >= entry.as_of);
        if passed && undisturbed && !outrun && process.is_good(&entry, tick, scenario) {
            process.memory.insert(key, entry);
            process.puts.push((key, entry));
        }
    }
}
