//! What is explored: who writes, what is asked for, what may go wrong, how far it goes.

use crate::faults::Fault;
use crate::planted::Bug;
use crate::server::PATH;
use crate::world::Event;

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
            writes: vec![(0, PATH)],
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
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}
