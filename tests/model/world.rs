//! One moment of two processes, their Valkey and the origin, and what can happen next.
//!
//! | event | what it is, and where it is carried out |
//! |---|---|
//! | tick | time passes: here |
//! | intend … acknowledge | a write's steps: `writes.rs` |
//! | fill … put | a read's steps: `reads.rs` |
//! | connect … looked again | following the stream: `tail.rs` |
//! | send, sent, unreachable | announcing and appending: `append.rs` |
//! | crash … trim | what goes wrong, and ends again: `faults.rs` |
//!
//! The processes hold the shipped ledger and [`Reading`](larder::ledger::Reading) and call them in
//! the order in which `store/valkey/ledger/{tail,append}.rs`, `store/ledger/shared.rs` and
//! `layers/cache` do.

use std::hash::Hash;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use larder::ledger::name::Belongs;
use larder::semantics::time::Timestamp;

use crate::digest::{Sealed, Told, digest, seal};
use crate::faults::{FAULTS, Fault};
use crate::judge::Violation;
use crate::process::Process;
use crate::scenario::Scenario;
use crate::server::{Instance, Server};
use crate::tail::Tail;
use crate::writes::Write;

/// What time passes by: less than a lease, more than half of one; what debts are given is less than
/// two.
const TICK: u64 = 800;

/// How long an announced write is kept: longer than a lease, not four ticks. To be put off after two.
pub(crate) const SPAN: Duration = Duration::from_millis(2500);

const START: u64 = 1_000_000;

pub(crate) static BELONGS: LazyLock<Belongs> =
    LazyLock::new(|| Belongs::of("c", "//h/p", &[""; 0], &[""; 0]));

/// One moment.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) tick: u8,
    pub(crate) origin: u8,
    pub(crate) up: bool,
    pub(crate) primary: Rc<Sealed<Server>>,
    pub(crate) deposed: Option<Rc<Sealed<Server>>>,
    /// What a replica has, or a snapshot.
    pub(crate) saved: Option<Rc<Sealed<Server>>>,
    pub(crate) processes: [Rc<Sealed<Process>>; 2],
    pub(crate) writes: Vec<Write>,
    pub(crate) fills: u8,
    pub(crate) joins: u8,
    pub(crate) stricts: u8,
    pub(crate) left: [u8; FAULTS],
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Tick,
    Intend(u8),
    Forward(u8),
    Apply(u8),
    /// The same, of a process that is no more: or never.
    ApplyLate(u8),
    Refuse(u8),
    Conclude(u8),
    LoseAnswer(u8),
    Acknowledge(u8),
    Fill(u8),
    Refresh(u8),
    Join(u8, u8),
    AskForTheHead(u8),
    StrictServed(u8),
    Found(u8, u8),
    OriginReads(u8, u8),
    Received(u8, u8),
    Stored(u8, u8),
    Put(u8),
    Connect(u8),
    Opened(u8),
    Read(u8),
    /// The same, when there is nothing new.
    Poll(u8),
    /// The same, and its answer.
    ReadThrough(u8, bool),
    Handle(u8, bool),
    LookedAgain(u8),
    Send(u8),
    Sent(u8),
    Unreachable(u8),
    Crash(u8),
    LoseReply(u8),
    LoseRequest(u8),
    SendTwice(u8),
    Evict(Fault),
    Save,
    Restart(Fault),
    Failover(Option<(u8, bool, bool)>),
    DeposedGone,
    Cut(u8),
    Heal(u8),
    Outage,
    Back,
    ClockBack,
    Trim,
}

impl Event {
    /// Happens sooner or later, if nothing goes wrong.
    pub(crate) const fn is_progress(self) -> bool {
        !matches!(
            self,
            Self::Intend(_)
                | Self::ApplyLate(_)
                | Self::LoseAnswer(_)
                | Self::Poll(_)
                | Self::Refuse(_)
                | Self::Fill(_)
                | Self::Refresh(_)
                | Self::Join(..)
                | Self::AskForTheHead(_)
                | Self::StrictServed(_)
                | Self::Crash(_)
                | Self::LoseReply(_)
                | Self::LoseRequest(_)
                | Self::SendTwice(_)
                | Self::Evict(_)
                | Self::Save
                | Self::Restart(_)
                | Self::Failover(_)
                | Self::Cut(_)
                | Self::Outage
                | Self::ClockBack
                | Self::Trim
        )
    }
}

pub(crate) fn moment(tick: u8) -> Timestamp {
    Timestamp::from_millis(START + u64::from(tick) * TICK)
}

/// From one moment to the next.
impl World {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let server = Server::new(1, START);
        let process = |n: u8| Rc::new(seal(Process::new(Instance(n, 0), scenario)));
        let writes = scenario.writes.iter().map(|(by, names)| Write::new(*by, *names));
        let mut left = [0; FAULTS];
        for (fault, times) in &scenario.faults {
            left[*fault as usize] = *times;
        }
        let mut world = Self {
            tick: 0,
            origin: 0,
            up: true,
            primary: Rc::new(seal(server)),
            deposed: None,
            saved: None,
            processes: [process(0), process(1)],
            writes: writes.collect(),
            fills: scenario.fills,
            joins: scenario.joins,
            stricts: scenario.stricts,
            left,
        };
        world.warm_up(scenario);
        world.reseal();
        world
    }

    /// Both processes follow the stream, and have the entry.
    fn warm_up(&mut self, scenario: &Scenario) {
        self.fills += 1;
        for p in [0, 1] {
            let steps = [
                Event::Connect(p),
                Event::Opened(p),
                Event::Read(p),
                Event::Handle(p, false),
                Event::LookedAgain(p),
            ];
            let slow = Scenario { swift: false, ..scenario.clone() };
            steps.into_iter().for_each(|event| self.go(&slow, event).unwrap());
        }
        let steps = [
            Event::Fill(0),
            Event::Found(0, 0),
            Event::OriginReads(0, 0),
            Event::Received(0, 0),
            Event::Stored(0, 0),
            Event::Put(0),
        ];
        steps.into_iter().for_each(|event| self.go(scenario, event).unwrap());
        let entries = self.primary.value.entries.clone();
        self.process(1).memory = entries;
        if scenario.sent {
            self.send_writes(scenario);
        }
        for event in &scenario.before {
            self.go(scenario, *event).unwrap();
        }
    }

    fn send_writes(&mut self, scenario: &Scenario) {
        for (w, (by, _)) in (0..).zip(&scenario.writes) {
            self.go(scenario, Event::Intend(w)).unwrap();
            if self.has_due(*by) {
                self.send(*by, scenario).unwrap();
                self.sent(*by);
            }
            self.go(scenario, Event::Forward(w)).unwrap();
        }
    }

    /// Of two with the same one, nobody can tell which is which.
    pub(crate) fn digest(&self) -> u128 {
        let server = |server: &Option<Rc<Sealed<Server>>>| server.as_ref().map(|s| s.digest);
        let servers = (self.primary.digest, server(&self.deposed), server(&self.saved));
        let processes = [self.processes[0].digest, self.processes[1].digest];
        digest(|into| {
            (self.tick, self.origin, self.up, servers, processes).hash(into);
            (&self.writes, self.fills, self.joins, self.stricts, self.left).hash(into);
        })
    }

    /// After `event`; or what it violates.
    pub(crate) fn after(&self, scenario: &Scenario, event: Event) -> Result<Self, Violation> {
        let mut next = self.clone();
        let before = [0, 1].map(|p| self.processes[p].value.ledger.applied());
        next.go(scenario, event)?;
        next.reseal();
        for (p, before) in before.into_iter().enumerate() {
            let process = &next.processes[p].value;
            if process.instance == self.processes[p].value.instance
                && process.ledger.applied() < before
            {
                return Err(format!("process {p} went back from {before}"));
            }
        }
        next.check_hits(scenario)?;
        Ok(next)
    }

    fn reseal(&mut self) {
        for process in &mut self.processes {
            if let Some(sealed) = Rc::get_mut(process) {
                sealed.digest = digest(|into| sealed.value.tell(into));
            }
        }
        for server in [Some(&mut self.primary), self.deposed.as_mut()].into_iter().flatten() {
            if let Some(sealed) = Rc::get_mut(server) {
                sealed.digest = digest(|into| sealed.value.tell(into));
            }
        }
    }
}

/// What can happen.
impl World {
    /// In an order of its own.
    pub(crate) fn events(&self, scenario: &Scenario) -> Vec<Event> {
        let mut all = Vec::new();
        self.writes_go_on(scenario, &mut all);
        for p in [0, 1] {
            if self.at(p).alive {
                self.tail_goes_on(p, scenario, &mut all);
                self.append_goes_on(p, &mut all);
                self.flights_go_on(p, scenario, &mut all);
            }
        }
        if !self.up {
            all.push(Event::Back);
        }
        if self.deposed.is_some() {
            all.push(Event::DeposedGone);
        }
        (0..2).filter(|p| self.at(*p).cut).for_each(|p| all.push(Event::Heal(p)));
        let busy = all.iter().any(|event| event.is_progress());
        if self.time_may_pass(scenario, busy) {
            all.push(Event::Tick);
        }
        self.faults(&mut all);
        all
    }

    /// Time does not pass while somebody who could has not done what takes much less than it.
    fn time_may_pass(&self, scenario: &Scenario, busy: bool) -> bool {
        let idle = (0..2).all(|p| {
            let process = self.at(p);
            let settled = process.looked && process.tail != Tail::Down;
            !process.alive
                || !self.reaches(p)
                || (settled && process.exchange.is_none() && !self.has_due(p))
        });
        let orphans = !self.primary.value.intents.is_empty();
        let more =
            self.tick < scenario.ticks || (!busy && orphans && self.tick < scenario.ticks + 5);
        idle && more
    }
}

/// What happens.
impl World {
    pub(crate) fn go(&mut self, scenario: &Scenario, event: Event) -> Result<(), Violation> {
        match event {
            Event::Tick => self.pass_time(),
            Event::Intend(w) => self.intend(w, scenario),
            Event::Forward(w) => self.forward(w),
            Event::Apply(w) | Event::ApplyLate(w) => self.apply(w),
            Event::Refuse(w) => self.refuse(w),
            Event::Conclude(w) => self.conclude(w, scenario),
            Event::LoseAnswer(w) => self.lose_answer(w, scenario),
            Event::Acknowledge(w) => self.acknowledge(w, false, scenario),
            Event::Fill(p) | Event::Refresh(p) => self.fill(p, scenario),
            Event::Join(p, f) => return self.join(p, f, scenario),
            Event::AskForTheHead(p) => self.ask_for_the_head(p),
            Event::StrictServed(p) => self.process(p).strict = None,
            Event::Found(p, f) => return self.found(p, f, scenario),
            Event::OriginReads(p, f) => self.origin_reads(p, f),
            Event::Received(p, f) => return self.received(p, f, scenario),
            Event::Stored(p, f) => self.stored(p, f, scenario),
            Event::Put(p) => self.put(p),
            Event::Connect(p) => self.connect(p, scenario),
            Event::ReadThrough(p, due) => self.read_through(p, due, scenario),
            Event::Opened(p) => self.opened(p, scenario),
            Event::Read(p) | Event::Poll(p) => self.read(p, scenario),
            Event::Handle(p, due) => self.handle(p, due, scenario),
            Event::LookedAgain(p) => self.looked_again(p, scenario),
            Event::Send(p) => return self.send_due(p, scenario),
            Event::Sent(p) => self.sent(p),
            Event::Unreachable(p) => self.unreachable(p),
            Event::Crash(p) => self.crash(p, scenario),
            Event::LoseReply(p) => self.lose_reply(p),
            Event::LoseRequest(p) => self.lose_request(p),
            Event::SendTwice(p) => return self.send_twice(p, scenario),
            Event::Evict(fault) => self.evict(fault),
            Event::Save => self.saved = Some(Rc::clone(&self.primary)),
            Event::Restart(fault) => self.restart(fault),
            Event::Failover(kept) => self.failover(kept),
            Event::DeposedGone => self.deposed_gone(),
            Event::Cut(p) => self.cut(p),
            Event::Heal(p) => self.process(p).cut = false,
            Event::Outage => self.outage(),
            Event::Back => self.up = true,
            Event::ClockBack => self.clock_back(),
            Event::Trim => self.trim(),
        }
        Ok(())
    }

    fn pass_time(&mut self) {
        self.tick += 1;
        self.primary().clock += TICK;
        if self.deposed.is_some() {
            self.server(true).clock += TICK;
        }
        for p in [0, 1] {
            if self.at(p).looked {
                self.process(p).looked = false;
            }
        }
    }
}

/// Who is who.
impl World {
    pub(crate) fn process(&mut self, p: u8) -> &mut Process {
        &mut Rc::make_mut(&mut self.processes[usize::from(p)]).value
    }

    pub(crate) fn at(&self, p: u8) -> &Process {
        &self.processes[usize::from(p)].value
    }

    pub(crate) fn primary(&mut self) -> &mut Server {
        &mut Rc::make_mut(&mut self.primary).value
    }

    pub(crate) fn server(&mut self, deposed: bool) -> &mut Server {
        match &mut self.deposed {
            Some(server) if deposed => &mut Rc::make_mut(server).value,
            _ => &mut Rc::make_mut(&mut self.primary).value,
        }
    }

    pub(crate) fn seen(&self, deposed: bool) -> &Server {
        match &self.deposed {
            Some(server) if deposed => &server.value,
            _ => &self.primary.value,
        }
    }

    pub(crate) fn reaches(&self, p: u8) -> bool {
        self.up && !self.at(p).cut
    }
}
