//! One moment of two processes, their Valkey and the origin; what can happen next; what must hold.
//!
//! The processes hold the shipped [`Ledger`] and [`Reading`] and call them in the order in which
//! `store/valkey/ledger/{tail,append}.rs`, `store/ledger/shared.rs` and `layers/cache` do.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use larder::ledger::name::Belongs;
use larder::ledger::{
    Cause, Debt, Doubt, Intent, Ledger, Mode, Position, Reading, Standing, Ticket,
};
use larder::semantics::time::Timestamp;

use crate::bugs::Bug;
use crate::server::{Call, Entry, Instance, Lapses, Look, Row, Server};
use crate::server::{bits, life_text, spelled};

/// What time passes by: less than a lease, more than half of one; what debts are given is less than
/// two.
const TICK: u64 = 800;
const LEASE: Duration = Duration::from_millis(1000);

/// How long an announced write is kept: longer than a lease, not four ticks. To be put off after two.
const SPAN: Duration = Duration::from_millis(2500);

const START: u64 = 1_000_000;

static BELONGS: LazyLock<Belongs> = LazyLock::new(|| Belongs::of("c", "//h/p", &[""; 0], &[""; 0]));

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

pub(crate) const FAULTS: usize = Fault::Trim as usize + 1;

/// What is explored.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// At which process, and what it invalidates. The second may be absent.
    pub(crate) writes: Vec<(u8, u8)>,
    pub(crate) fills: u8,
    pub(crate) joins: u8,
    /// GETs that ask for the head of the ledger first.
    pub(crate) stricts: u8,
    pub(crate) ticks: u8,
    pub(crate) faults: Vec<(Fault, u8)>,
    /// Most records in one answer of XREAD.
    pub(crate) page: usize,
    /// Names that a ledger remembers.
    pub(crate) names: usize,
    /// The answers to writes are kept as entries.
    pub(crate) keep: bool,
    /// Valkey's answers reach the processes at once; else anything may happen before they do.
    pub(crate) swift: bool,
    /// With slow answers: also such as tell nothing new, and are late to do so.
    pub(crate) polls: bool,
    /// The origin may refuse a write, and change nothing.
    pub(crate) refusals: bool,
    /// The writes are announced and sent to the origin when it begins.
    pub(crate) sent: bool,
    /// What has happened after that when it begins.
    pub(crate) before: Vec<Event>,
    /// Ticks after which a write that was acknowledged is seen everywhere.
    pub(crate) bound: u8,
    pub(crate) bug: Option<Bug>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: "",
            writes: vec![(0, crate::server::PATH)],
            fills: 2,
            joins: 0,
            stricts: 0,
            ticks: 1,
            faults: Vec::new(),
            page: 1000,
            names: 1000,
            keep: false,
            before: Vec::new(),
            swift: false,
            polls: false,
            refusals: false,
            sent: false,
            bound: 2,
            bug: None,
        }
    }
}

impl Scenario {
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn lapses(&self) -> Lapses {
        Lapses {
            no_fence: self.has(Bug::NoFence),
            no_floor: self.has(Bug::PositionBelowTheFloor),
            no_orphan_closing: self.has(Bug::NoOrphanClosing),
            close_without_record: self.has(Bug::OrphanClosedWithoutRecord),
        }
    }
}

/// Something with a digest that is made once.
#[derive(Clone, Debug)]
pub(crate) struct Sealed<T> {
    value: T,
    digest: u128,
}

trait Told {
    fn tell(&self, into: &mut Twofold);
}

impl Told for Server {
    fn tell(&self, into: &mut Twofold) {
        self.hash(into);
    }
}

fn digest(tell: impl Fn(&mut Twofold)) -> u128 {
    let mut hasher = Twofold::default();
    tell(&mut hasher);
    u128::from(hasher.0) << 64 | u128::from(hasher.1)
}

/// Two hashes at once, by folded multiplication with different factors.
#[derive(Default)]
struct Twofold(u64, u64);

impl Hasher for Twofold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        const FACTORS: (u64, u64) = (0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f);
        let (a, b) = (self.0 ^ word ^ FACTORS.1, self.1.rotate_left(23) ^ word);
        let (a, b) = (
            u128::from(a) * u128::from(FACTORS.0),
            u128::from(b ^ FACTORS.0) * u128::from(FACTORS.1),
        );
        self.0 = (a as u64) ^ ((a >> 64) as u64).rotate_left(7);
        self.1 = (b as u64) ^ (b >> 64) as u64;
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }
}

/// How far the tail is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Tail {
    Down,
    Idle,
    /// The answer of a look is on its way.
    Looking(Look),
    /// That of a look in the middle, whose page was asked for at that tick.
    LookingAgain(Look, u8),
    /// That of XREAD: asked at that tick, the records, all there were?
    Reading(u8, Vec<Row>, bool),
}

/// What was sent together, its answer on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Exchange {
    sent: u8,
    intents: Vec<Ticket>,
    debts: Vec<(Ticket, Position)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Found in the shared store, on its way here.
    Looked(Option<Entry>),
    /// Asked at that position and tick.
    Asked(Position, u8),
    /// The origin has answered with this value.
    Answered(Position, u8, u8),
    /// Its head is here, its content still arriving.
    Streaming(Entry),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Flight {
    key: Position,
    as_of: Position,
    began: u8,
    stage: Stage,
    /// Found for this key by who asks now.
    joinable: bool,
    stale: Option<Entry>,
    waiters: Vec<Get>,
}

/// A request that waits: which writes were acknowledged when it came, and when that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Get {
    must: u8,
    tick: u8,
}

/// One process.
#[derive(Clone, Debug)]
struct Process {
    instance: Instance,
    alive: bool,
    ledger: Ledger,
    reading: Reading,
    /// As `reading` has them, in this model's own terms.
    life: Option<(u8, Position)>,
    read: Position,
    tail: Tail,
    /// The tail's connection leads to the deposed primary.
    tail_deposed: bool,
    append_deposed: bool,
    /// Looked in this tick.
    looked: bool,
    exchange: Option<Exchange>,
    memory: BTreeMap<Position, Entry>,
    flights: Vec<Flight>,
    /// Entries on their way to the shared store.
    puts: Vec<(Position, Entry)>,
    /// A strict GET that was told where the ledger ends: in which life, and where.
    strict: Option<(Get, (u8, Position), Position)>,
    /// The last tick as of which a deposed primary said that it had heard everything.
    deceived: Option<u8>,
    cut: bool,
}

impl Told for Process {
    fn tell(&self, into: &mut Twofold) {
        let Self { instance, alive, reading, tail, exchange, memory, flights, puts, .. } = self;
        (instance, alive, reading, tail, exchange, memory, flights, puts).hash(into);
        (self.tail_deposed, self.append_deposed, self.looked, self.deceived, self.cut).hash(into);
        self.strict.hash(into);
        self.ledger.fingerprint(into);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Progress {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Write {
    by: u8,
    names: u8,
    progress: Progress,
    instance: Instance,
    /// Applied at the writing process when it was sent.
    since: Position,
    /// The counter at the origin once it was applied.
    value: Option<u8>,
    /// When its answer was released.
    acked: Option<u8>,
    owed: bool,
    /// When, and where, the live primary took a record after the origin had applied it.
    covered: Option<(u8, Position)>,
    /// Its intent was closed by somebody else.
    abandoned: bool,
}

/// One moment.
#[derive(Clone, Debug)]
pub(crate) struct World {
    tick: u8,
    origin: u8,
    up: bool,
    primary: Rc<Sealed<Server>>,
    deposed: Option<Rc<Sealed<Server>>>,
    /// What a replica has, or a snapshot.
    saved: Option<Rc<Sealed<Server>>>,
    processes: [Rc<Sealed<Process>>; 2],
    writes: Vec<Write>,
    fills: u8,
    joins: u8,
    stricts: u8,
    left: [u8; FAULTS],
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

/// What must not happen, in words.
pub(crate) type Violation = String;

fn moment(tick: u8) -> Timestamp {
    Timestamp::from_millis(START + u64::from(tick) * TICK)
}

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
            for (w, (by, _)) in (0..).zip(&scenario.writes) {
                self.go(scenario, Event::Intend(w)).unwrap();
                if self.has_due(*by) {
                    self.send(*by, scenario).unwrap();
                    self.sent(*by);
                }
                self.go(scenario, Event::Forward(w)).unwrap();
            }
        }
        for event in &scenario.before {
            self.go(scenario, *event).unwrap();
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

    fn process(&mut self, p: u8) -> &mut Process {
        &mut Rc::make_mut(&mut self.processes[usize::from(p)]).value
    }

    fn at(&self, p: u8) -> &Process {
        &self.processes[usize::from(p)].value
    }

    fn primary(&mut self) -> &mut Server {
        &mut Rc::make_mut(&mut self.primary).value
    }

    fn server(&mut self, deposed: bool) -> &mut Server {
        match &mut self.deposed {
            Some(server) if deposed => &mut Rc::make_mut(server).value,
            _ => &mut Rc::make_mut(&mut self.primary).value,
        }
    }

    fn seen(&self, deposed: bool) -> &Server {
        match &self.deposed {
            Some(server) if deposed => &server.value,
            _ => &self.primary.value,
        }
    }

    fn used(&self, scenario: &Scenario, fault: Fault) -> bool {
        let had = scenario.faults.iter().find(|(f, _)| *f == fault).map_or(0, |(_, n)| *n);
        self.left[fault as usize] < had
    }

    fn has(&self, fault: Fault) -> bool {
        self.left[fault as usize] > 0
    }

    fn spend(&mut self, fault: Fault) {
        self.left[fault as usize] -= 1;
    }

    fn reaches(&self, p: u8) -> bool {
        self.up && !self.at(p).cut
    }
}

fn seal<T>(value: T) -> Sealed<T> {
    Sealed { value, digest: 0 }
}

impl Process {
    fn new(instance: Instance, scenario: &Scenario) -> Self {
        let lease = if scenario.has(Bug::NoLease) { Duration::from_secs(1 << 30) } else { LEASE };
        Self {
            instance,
            alive: true,
            ledger: Ledger::new(scenario.names, Some(lease)).named(&instance.to_string()),
            reading: Reading::default(),
            life: None,
            read: Position::ZERO,
            tail: Tail::Down,
            tail_deposed: false,
            append_deposed: false,
            looked: false,
            exchange: None,
            memory: BTreeMap::new(),
            flights: Vec::new(),
            puts: Vec::new(),
            strict: None,
            deceived: None,
            cut: false,
        }
    }

    fn standing(&self, entry: &Entry, tick: u8, scenario: &Scenario) -> Standing {
        let vouched = Timestamp::from_millis(entry.vouched);
        let judge = |as_of| self.ledger.judge(as_of, vouched, &BELONGS, moment(tick));
        match scenario.bug {
            Some(Bug::DeleteInsteadOfStamp | Bug::VersionFromACounter) => Standing::Good,
            // The rule that distrusts who knows more of the stream than this process.
            Some(Bug::TrustAheadInDebt) => judge(entry.as_of.min(self.ledger.applied())),
            Some(Bug::NoTimeForDebts) => match judge(entry.as_of) {
                Standing::Suspect(Doubt::Unheard)
                    if self.ledger.heard_at() == moment(tick)
                        && entry.as_of <= self.ledger.applied() =>
                {
                    Standing::Good
                }
                standing => standing,
            },
            Some(Bug::DoubtIgnored) => match judge(entry.as_of) {
                Standing::Suspect(_) => Standing::Good,
                standing => standing,
            },
            _ => judge(entry.as_of),
        }
    }

    fn is_good(&self, entry: &Entry, tick: u8, scenario: &Scenario) -> bool {
        self.standing(entry, tick, scenario) == Standing::Good
    }
}

impl Write {
    fn new(by: u8, names: u8) -> Self {
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

// --- what can happen ---

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

    fn has_due(&self, p: u8) -> bool {
        let ledger = &self.at(p).ledger;
        let intents = || {
            let mut intents = ledger.intents().clone();
            !intents.take_due(moment(self.tick)).is_empty() || !intents.take_withdrawn().is_empty()
        };
        (!ledger.intents().is_empty() && intents())
            || (!ledger.owed().is_empty() && !ledger.owed().clone().take_due().is_empty())
    }

    fn writes_go_on(&self, scenario: &Scenario, all: &mut Vec<Event>) {
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

    fn tail_goes_on(&self, p: u8, scenario: &Scenario, all: &mut Vec<Event>) {
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

    fn append_goes_on(&self, p: u8, all: &mut Vec<Event>) {
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

    fn flights_go_on(&self, p: u8, scenario: &Scenario, all: &mut Vec<Event>) {
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

    fn faults(&self, all: &mut Vec<Event>) {
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

// --- what happens ---

impl World {
    fn go(&mut self, scenario: &Scenario, event: Event) -> Result<(), Violation> {
        match event {
            Event::Tick => self.pass_time(),
            Event::Intend(w) => self.intend(w, scenario),
            Event::Forward(w) => self.forward(w),
            Event::Apply(w) | Event::ApplyLate(w) => {
                self.origin += 1;
                self.writes[usize::from(w)].value = Some(self.origin);
            }
            Event::Refuse(w) => self.refuse(w),
            Event::Conclude(w) => self.conclude(w, scenario),
            Event::LoseAnswer(w) => {
                self.spend(Fault::LoseAnswer);
                self.conclude(w, scenario);
            }
            Event::Acknowledge(w) => self.acknowledge(w, false, scenario),
            Event::Fill(p) | Event::Refresh(p) => self.fill(p, scenario),
            Event::Join(p, f) => return self.join(p, f, scenario),
            Event::AskForTheHead(p) => self.ask_for_the_head(p),
            Event::StrictServed(p) => self.process(p).strict = None,
            Event::Found(p, f) => return self.found(p, f, scenario),
            Event::OriginReads(p, f) => {
                let origin = self.origin;
                let flight = &mut self.process(p).flights[usize::from(f)];
                if let Stage::Asked(as_of, sent) = flight.stage {
                    flight.stage = Stage::Answered(as_of, sent, origin);
                }
            }
            Event::Received(p, f) => return self.received(p, f, scenario),
            Event::Stored(p, f) => self.stored(p, f, scenario),
            Event::Put(p) => self.put(p),
            Event::Connect(p) => {
                self.connect(p, scenario);
                if scenario.swift {
                    self.opened(p, scenario);
                }
            }
            Event::ReadThrough(p, due) => {
                self.read(p, scenario);
                self.handle(p, due, scenario);
                self.looked_again(p, scenario);
            }
            Event::Opened(p) => self.opened(p, scenario),
            Event::Read(p) | Event::Poll(p) => self.read(p, scenario),
            Event::Handle(p, due) => self.handle(p, due, scenario),
            Event::LookedAgain(p) => self.looked_again(p, scenario),
            Event::Send(p) => {
                self.send(p, scenario)?;
                if scenario.swift {
                    self.sent(p);
                }
            }
            Event::Sent(p) => self.sent(p),
            Event::Unreachable(p) => self.unreachable(p),
            Event::Crash(p) => self.crash(p, scenario),
            Event::LoseReply(p) => {
                self.spend(Fault::LoseReply);
                self.fail_exchange(p);
            }
            Event::LoseRequest(p) => {
                self.spend(Fault::LoseRequest);
                self.unreachable(p);
            }
            Event::SendTwice(p) => return self.send_twice(p, scenario),
            Event::Evict(fault) => self.evict(fault),
            Event::Save => self.saved = Some(Rc::clone(&self.primary)),
            Event::Restart(fault) => self.restart(fault),
            Event::Failover(kept) => self.failover(kept),
            Event::DeposedGone => self.deposed_gone(),
            Event::Cut(p) => {
                self.spend(Fault::Cut);
                self.process(p).cut = true;
                self.disconnect(p);
            }
            Event::Heal(p) => self.process(p).cut = false,
            Event::Outage => {
                self.spend(Fault::Outage);
                self.up = false;
                (0..2).for_each(|p| self.disconnect(p));
            }
            Event::Back => self.up = true,
            Event::ClockBack => {
                self.spend(Fault::ClockBack);
                self.primary().clock -= 5_000;
            }
            Event::Trim => {
                self.spend(Fault::Trim);
                self.primary().trim();
            }
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

    // --- writes ---

    fn intend(&mut self, w: u8, scenario: &Scenario) {
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

    fn forward(&mut self, w: u8) {
        let write = &mut self.writes[usize::from(w)];
        if let Progress::Intending(ticket) = write.progress {
            write.progress = Progress::Sent(Some(ticket));
        }
    }

    /// The origin's answer says that it changed nothing.
    fn refuse(&mut self, w: u8) {
        let write = &mut self.writes[usize::from(w)];
        let by = write.by;
        if let Progress::Sent(Some(intent)) = std::mem::replace(&mut write.progress, Progress::Done)
        {
            self.process(by).ledger.intents_mut().withdraw(intent);
        }
    }

    /// The origin's answer is here, or will not come: the same either way.
    fn conclude(&mut self, w: u8, scenario: &Scenario) {
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
            ledger_failed(self.process(by), ticket);
            self.acknowledge(w, true, scenario);
        } else if scenario.has(Bug::AcknowledgedBeforeItsRecord) {
            self.acknowledge(w, false, scenario);
        }
    }

    fn acknowledge(&mut self, w: u8, owed: bool, scenario: &Scenario) {
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

    // --- fills ---

    /// Part of every key.
    fn key(&self, p: u8, scenario: &Scenario) -> Position {
        if scenario.has(Bug::VersionFromACounter) {
            return Position::of_entry(self.primary.value.counter, 0);
        }
        self.at(p).ledger.version("c")
    }

    fn fill(&mut self, p: u8, scenario: &Scenario) {
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

    fn shared_entry(&self, p: u8, key: Position) -> Option<Entry> {
        let server = self.seen(self.at(p).append_deposed);
        self.reaches(p).then(|| server.entries.get(&key).copied()).flatten()
    }

    fn join(&mut self, p: u8, f: u8, scenario: &Scenario) -> Result<(), Violation> {
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
    fn ask_for_the_head(&mut self, p: u8) {
        self.stricts -= 1;
        let process = self.at(p);
        let head = self.seen(process.append_deposed).head(process.ledger.applied().shared());
        let get = Get { must: self.acked(), tick: self.tick };
        self.process(p).strict = head.map(|(life, last)| (get, life, last));
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

    fn acked(&self) -> u8 {
        let acked = (0..).zip(&self.writes).filter(|(_, write)| write.acked.is_some());
        acked.map(|(w, _)| 1 << w).fold(0, |all, bit: u8| all | bit)
    }

    /// What was found in the shared store is here.
    fn found(&mut self, p: u8, f: u8, scenario: &Scenario) -> Result<(), Violation> {
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

    /// The head of the origin's answer is here.
    fn received(&mut self, p: u8, f: u8, scenario: &Scenario) -> Result<(), Violation> {
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
    fn stored(&mut self, p: u8, f: u8, scenario: &Scenario) {
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

    fn put(&mut self, p: u8) {
        let (key, entry) = self.process(p).puts.remove(0);
        if self.reaches(p) {
            let deposed = self.at(p).append_deposed;
            self.server(deposed).entries.insert(key, entry);
        }
    }

    // --- the tail ---

    fn connect(&mut self, p: u8, scenario: &Scenario) {
        let process = self.process(p);
        process.reading.connected();
        process.tail_deposed = false;
        if scenario.has(Bug::TrustedBeforeReplay) {
            let now = moment(self.tick);
            self.process(p).ledger.heard(now);
        }
        let look = self.look(p, scenario);
        self.process(p).tail = Tail::Looking(look);
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
    fn cover(&mut self, row: &Row) {
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

    fn opened(&mut self, p: u8, scenario: &Scenario) {
        if let Tail::Looking(look) = self.at(p).tail.clone() {
            self.open(p, &look, scenario);
            self.process(p).tail = Tail::Idle;
        }
    }

    fn read(&mut self, p: u8, scenario: &Scenario) {
        let process = self.at(p);
        let (rows, all) = self.seen(process.tail_deposed).read(process.read, scenario.page);
        let tick = self.tick;
        self.process(p).tail = Tail::Reading(tick, rows, all);
    }

    fn handle(&mut self, p: u8, due: bool, scenario: &Scenario) {
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

    fn looked_again(&mut self, p: u8, scenario: &Scenario) {
        if let Tail::LookingAgain(look, sent) = self.at(p).tail.clone() {
            self.open(p, &look, scenario);
            self.process(p).tail = Tail::Idle;
            self.hear(p, sent, scenario);
        }
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

    // --- announcing and appending ---

    fn send(&mut self, p: u8, scenario: &Scenario) -> Result<(), Violation> {
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

    fn sent(&mut self, p: u8) {
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
    fn unreachable(&mut self, p: u8) {
        let now = moment(self.tick);
        let process = self.process(p);
        let intents = process.ledger.intents_mut().take_due(now);
        let debts = process.ledger.owed_mut().take_due();
        process.ledger.intents_mut().take_withdrawn();
        let intents: Vec<_> = intents.iter().map(|intent| intent.ticket).collect();
        let debts: Vec<_> = debts.iter().map(|debt| debt.ticket).collect();
        self.fail(p, &intents, &debts);
    }

    fn fail_exchange(&mut self, p: u8) {
        if let Some(exchange) = self.process(p).exchange.take() {
            let debts: Vec<_> = exchange.debts.iter().map(|(ticket, _)| *ticket).collect();
            self.fail(p, &exchange.intents, &debts);
        }
    }

    fn fail(&mut self, p: u8, intents: &[Ticket], debts: &[Ticket]) {
        let tick = self.tick;
        let process = self.process(p);
        intents.iter().for_each(|ticket| process.ledger.intents_mut().failed(*ticket));
        debts.iter().for_each(|ticket| ledger_failed(process, *ticket));
        for write in self.writes.iter_mut().filter(|write| write.by == p) {
            if matches!(write.progress, Progress::Owing(ticket) if debts.contains(&ticket)) {
                (write.progress, write.acked, write.owed) = (Progress::Done, Some(tick), true);
            }
        }
    }

    /// A connection that lay idle was closed, and what was sent on it is sent again.
    fn send_twice(&mut self, p: u8, scenario: &Scenario) -> Result<(), Violation> {
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

    // --- faults ---

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

    fn crash(&mut self, p: u8, scenario: &Scenario) {
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

    fn evict(&mut self, fault: Fault) {
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

    fn restart(&mut self, fault: Fault) {
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
    fn failover(&mut self, kept: Option<(u8, bool, bool)>) {
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

    fn deposed_gone(&mut self) {
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

fn ledger_failed(process: &mut Process, ticket: Ticket) {
    process.ledger.owed_mut().failed(ticket);
}

// --- what must hold ---

impl World {
    /// Would a GET that comes now be served something that it must not see?
    fn check_hits(&self, scenario: &Scenario) -> Result<(), Violation> {
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

    fn may_serve(
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
}

// --- in words ---

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

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tick => write!(f, "time passes"),
            Self::Intend(w) => write!(f, "write {w} begins"),
            Self::Forward(w) => write!(f, "write {w} is sent to the origin"),
            Self::Apply(w) => write!(f, "the origin carries out write {w}"),
            Self::ApplyLate(w) => write!(f, "the origin carries out write {w}, whose process died"),
            Self::Refuse(w) => write!(f, "the origin refuses write {w}"),
            Self::Conclude(w) => write!(f, "the origin's answer to write {w} arrives"),
            Self::LoseAnswer(w) => write!(f, "the origin's answer to write {w} is lost"),
            Self::Acknowledge(w) => write!(f, "write {w} is acknowledged"),
            Self::Fill(p) => write!(f, "a GET at process {p} begins a fill"),
            Self::Refresh(p) => write!(f, "process {p} begins a refresh"),
            Self::Join(p, n) => write!(f, "a GET at process {p} joins its fill {n}"),
            Self::AskForTheHead(p) => write!(f, "a strict GET at process {p} asks for the head"),
            Self::StrictServed(p) => write!(f, "the strict GET at process {p} is served"),
            Self::Found(p, n) => write!(f, "the shared store has answered fill {n} of process {p}"),
            Self::OriginReads(p, n) => write!(f, "the origin answers fill {n} of process {p}"),
            Self::Received(p, n) => write!(f, "that answer arrives: fill {n} of process {p}"),
            Self::Stored(p, n) => write!(f, "process {p} stores what fill {n} brought"),
            Self::Put(p) => write!(f, "an entry of process {p} reaches the shared store"),
            Self::Connect(p) => write!(f, "the tail of process {p} connects and looks"),
            Self::Opened(p) => write!(f, "the answer to that look reaches process {p}"),
            Self::Read(p) | Self::Poll(p) => write!(f, "process {p} reads on"),
            Self::ReadThrough(p, false) => write!(f, "process {p} reads on, and takes that in"),
            Self::ReadThrough(p, true) => {
                write!(f, "process {p} reads on, takes that in, and looks")
            }
            Self::Handle(p, false) => write!(f, "process {p} takes in what it read"),
            Self::Handle(p, true) => write!(f, "process {p} takes in what it read, and looks"),
            Self::LookedAgain(p) => write!(f, "the answer to that look reaches process {p}"),
            Self::Send(p) => write!(f, "process {p} announces and appends what is due"),
            Self::Sent(p) => write!(f, "Valkey's answer to that reaches process {p}"),
            Self::Unreachable(p) => write!(f, "process {p} cannot send what is due"),
            Self::Crash(p) => write!(f, "process {p} dies, and another takes its place"),
            Self::LoseReply(p) => write!(f, "Valkey's answer to process {p} is lost"),
            Self::LoseRequest(p) => write!(f, "what process {p} sends is lost"),
            Self::SendTwice(p) => write!(f, "process {p} sends the same again"),
            Self::Evict(fault) => write!(f, "{fault:?}"),
            Self::Save => write!(f, "the replica, or the snapshot, has what Valkey has now"),
            Self::Restart(fault) => write!(f, "Valkey starts again: {fault:?}"),
            Self::Failover(None) => write!(f, "the replica takes over"),
            Self::Failover(Some((p, tail, append))) => write!(
                f,
                "the replica takes over, and process {p} still talks to the old primary{}",
                match (tail, append) {
                    (true, true) => "",
                    (true, false) => " where it reads",
                    _ => " where it appends",
                }
            ),
            Self::DeposedGone => write!(f, "the deposed primary is gone"),
            Self::Cut(p) => write!(f, "process {p} is cut off from Valkey"),
            Self::Heal(p) => write!(f, "process {p} reaches Valkey again"),
            Self::Outage => write!(f, "Valkey is away"),
            Self::Back => write!(f, "Valkey is back"),
            Self::ClockBack => write!(f, "Valkey's clock steps back"),
            Self::Trim => write!(f, "the first entry of the stream is trimmed"),
        }
    }
}
