//! What one process holds: the shipped ledger, its connections, its memory, and what it waits for.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::time::Duration;

use larder::ledger::{Ledger, Position, Reading, Standing};
use larder::semantics::time::Timestamp;

use crate::append::Exchange;
use crate::digest::{Told, Twofold};
use crate::planted::Bug;
use crate::reads::{Flight, Get};
use crate::scenario::Scenario;
use crate::server::{Entry, Instance};
use crate::tail::Tail;
use crate::world::{BELONGS, moment};

const LEASE: Duration = Duration::from_millis(1000);

/// One process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) instance: Instance,
    pub(crate) alive: bool,
    pub(crate) ledger: Ledger,
    pub(crate) reading: Reading,
    /// As `reading` has them, in this model's own terms.
    pub(crate) life: Option<(u8, Position)>,
    pub(crate) read: Position,
    pub(crate) tail: Tail,
    /// The tail's connection leads to the deposed primary.
    pub(crate) tail_deposed: bool,
    pub(crate) append_deposed: bool,
    /// Looked in this tick.
    pub(crate) looked: bool,
    pub(crate) exchange: Option<Exchange>,
    pub(crate) memory: BTreeMap<Position, Entry>,
    pub(crate) flights: Vec<Flight>,
    /// Entries on their way to the shared store.
    pub(crate) puts: Vec<(Position, Entry)>,
    /// A strict GET that was told where the ledger ends: in which life, and where.
    pub(crate) strict: Option<(Get, (u8, Position), Position)>,
    /// The last tick as of which a deposed primary said that it had heard everything.
    pub(crate) deceived: Option<u8>,
    pub(crate) cut: bool,
}

impl Told for Process {
    fn tell(&self, into: &mut Twofold) {
        // Without `..`: whoever adds a field says whether the future depends on it. `reading` has
        // the life and how far it was read.
        let Self {
            instance,
            alive,
            ledger,
            reading,
            life: _,
            read: _,
            tail,
            tail_deposed,
            append_deposed,
            looked,
            exchange,
            memory,
            flights,
            puts,
            strict,
            deceived,
            cut,
        } = self;
        (instance, alive, reading, tail, exchange, memory, flights, puts).hash(into);
        (tail_deposed, append_deposed, looked, deceived, cut, strict).hash(into);
        ledger.fingerprint(into);
    }
}

impl Process {
    pub(crate) fn new(instance: Instance, scenario: &Scenario) -> Self {
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

    pub(crate) fn standing(&self, entry: &Entry, tick: u8, scenario: &Scenario) -> Standing {
        match scenario.bug {
            Some(bug) => self.mistaken(bug, entry, tick),
            None => self.judge(entry, entry.as_of, tick),
        }
    }

    /// As if it had been filled at `as_of`.
    pub(crate) fn judge(&self, entry: &Entry, as_of: Position, tick: u8) -> Standing {
        let vouched = Timestamp::from_millis(entry.vouched);
        self.ledger.judge(as_of, vouched, &BELONGS, moment(tick))
    }

    pub(crate) fn is_good(&self, entry: &Entry, tick: u8, scenario: &Scenario) -> bool {
        self.standing(entry, tick, scenario) == Standing::Good
    }
}
