//! What the scripts under `src/store/valkey/ledger` do to a Valkey, without a Valkey. That they do
//! the same is what `conformance.rs` tries.

use std::collections::BTreeMap;
use std::rc::Rc;

use larder::ledger::name::Name;
use larder::ledger::{Cause, Kind, Mode, Opening, Position, Record, Ticket};

/// How far ahead of the clock a fence stands, in milliseconds: as in the scripts.
pub(crate) const LEAD: u64 = 10_000;

/// Names, as bits: the resource's path, its namespace, everything.
pub(crate) const PATH: u8 = 1;
pub(crate) const NAMESPACE: u8 = 2;
pub(crate) const ALL: u8 = 4;

/// A process in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Instance(pub(crate) u8, pub(crate) u8);

/// One entry of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) id: Position,
    /// `None`: a fence.
    pub(crate) names: Option<u8>,
    /// That a fence opens.
    pub(crate) epoch: u8,
    pub(crate) writer: Instance,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) cause: Cause,
}

/// What is kept of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entry {
    /// The origin's counter of writes.
    pub(crate) value: u8,
    pub(crate) as_of: Position,
    /// When the origin was asked, in milliseconds.
    pub(crate) vouched: u64,
}

/// An announced write: whose, by which number.
pub(crate) type IntentKey = (Instance, Ticket);

/// What a server holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    /// `run_id` and replication id in one.
    pub(crate) epoch: u8,
    /// Milliseconds.
    pub(crate) clock: u64,
    pub(crate) stream: Option<Stream>,
    /// The hash of namespaces: versions, and the life under the empty name.
    pub(crate) versions: BTreeMap<&'static str, Position>,
    pub(crate) life: Option<(u8, Position)>,
    /// Names and deadline.
    pub(crate) intents: BTreeMap<IntentKey, (u8, u64)>,
    /// By the version that is part of their keys.
    pub(crate) entries: BTreeMap<Position, Entry>,
    /// For planted bugs: a counter in the place of positions.
    pub(crate) counter: u64,
}

/// The stream, as `XINFO STREAM` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Stream {
    pub(crate) rows: Vec<Row>,
    pub(crate) last: Position,
    pub(crate) added: usize,
}

/// What `look.lua` returns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Look {
    pub(crate) life: (u8, Position),
    pub(crate) last: Position,
    pub(crate) first: Option<Position>,
    pub(crate) incomplete: bool,
}

/// One append, as `append.lua` gets it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    pub(crate) least: Position,
    pub(crate) names: u8,
    pub(crate) writer: Instance,
    pub(crate) ticket: Ticket,
    pub(crate) cause: Cause,
    /// The announced write that it ends.
    pub(crate) closes: Option<IntentKey>,
}

/// What a planted bug leaves out of the scripts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lapses {
    pub(crate) no_fence: bool,
    pub(crate) no_floor: bool,
    pub(crate) no_orphan_closing: bool,
    pub(crate) close_without_record: bool,
}

impl Server {
    pub(crate) fn new(epoch: u8, clock: u64) -> Self {
        Self {
            epoch,
            clock,
            stream: None,
            versions: BTreeMap::new(),
            life: None,
            intents: BTreeMap::new(),
            entries: BTreeMap::new(),
            counter: 0,
        }
    }

    /// `look.lua`, and the closing of what is past its deadline.
    pub(crate) fn look(
        &mut self,
        known: Option<(u8, Position)>,
        applied: Position,
        crossed: &str,
        by: Instance,
        lapses: Lapses,
    ) -> Look {
        if self.fence_is_due(known, applied, crossed) && (!lapses.no_fence || self.stream.is_none())
        {
            self.fence(applied.next(), by, lapses);
        }
        self.close_orphans(applied.next(), by, lapses);
        let stream = self.stream.clone().unwrap_or_default();
        Look {
            life: self.life.unwrap_or_default(),
            last: stream.last,
            first: stream.rows.first().map(|row| row.id),
            incomplete: stream.is_incomplete(),
        }
    }

    /// `head.lua`: where the stream ends, if that means anything.
    pub(crate) fn head(&self, applied: Position) -> Option<((u8, Position), Position)> {
        let end = || Some((self.life?, self.stream.as_ref()?.last));
        if self.fence_is_due(None, applied, "") { None } else { end() }
    }

    fn fence_is_due(
        &self,
        known: Option<(u8, Position)>,
        applied: Position,
        crossed: &str,
    ) -> bool {
        let (Some(stream), Some(life)) = (&self.stream, self.life) else { return true };
        let holds = stream.rows.iter().any(|row| row.id == life.1);
        life.0 != self.epoch
            || stream.last < applied
            || (known.is_some_and(|known| known != life && applied >= life.1)
                && life_text(life) != crossed)
            || (!stream.is_incomplete() && !holds)
    }

    /// What died announced. In one step, and so once.
    fn close_orphans(&mut self, least: Position, by: Instance, lapses: Lapses) {
        if lapses.no_orphan_closing {
            return;
        }
        let clock = self.clock;
        let due: Vec<_> =
            self.intents.iter().filter(|(_, (_, deadline))| *deadline <= clock).collect();
        let due: Vec<_> = due.into_iter().map(|(key, (names, _))| (*key, *names)).collect();
        for (key, names) in due {
            self.intents.remove(&key);
            if lapses.close_without_record {
                continue;
            }
            let row = Row {
                id: Position::ZERO,
                names: Some(names),
                epoch: 0,
                writer: by,
                ticket: None,
                cause: Cause::Abandoned,
            };
            let id = self.add(least, row, lapses);
            self.note_versions(names, id);
        }
    }

    /// `append.lua`.
    pub(crate) fn append(&mut self, call: &Call, lapses: Lapses) -> Position {
        if (self.stream.is_none() || self.life.is_none()) && !lapses.no_fence {
            self.fence(call.least, call.writer, lapses);
        }
        if let Some(intent) = call.closes {
            self.intents.remove(&intent);
        }
        let row = Row {
            id: Position::ZERO,
            names: Some(call.names),
            epoch: 0,
            writer: call.writer,
            ticket: Some(call.ticket),
            cause: call.cause,
        };
        let id = self.add(call.least, row, lapses);
        self.note_versions(call.names, id);
        id
    }

    /// Announces a write, or puts its deadline off.
    pub(crate) fn announce(&mut self, key: IntentKey, names: u8, span: u64) {
        self.intents.insert(key, (names, self.clock + span));
    }

    fn note_versions(&mut self, names: u8, id: Position) {
        if names & NAMESPACE != 0 {
            let version = self.versions.entry("c").or_default();
            *version = id.max(*version);
            self.counter += 1;
        }
    }

    fn fence(&mut self, least: Position, by: Instance, lapses: Lapses) {
        let ahead = Position::of_entry(self.clock + LEAD, 0).max(least);
        let row = Row {
            id: Position::ZERO,
            names: None,
            epoch: self.epoch,
            writer: by,
            ticket: None,
            cause: Cause::Fence,
        };
        let least = if lapses.no_floor { Position::ZERO } else { ahead };
        let id = self.add(least, row, lapses);
        self.life = Some((self.epoch, id));
    }

    /// `append` of `common.lua`: an explicit ID if the clock is not beyond `least`, and the stream
    /// is not either; else the stream's own.
    fn add(&mut self, least: Position, row: Row, lapses: Lapses) -> Position {
        let clock = self.clock;
        let stream = self.stream.get_or_insert_default();
        let own = match Position::of_entry(clock, 0) {
            now if now > stream.last => now,
            _ => stream.last.next(),
        };
        let explicit = least.millis >= clock && least > stream.last && !lapses.no_floor;
        let id = if explicit { least } else { own };
        stream.rows.push(Row { id, ..row });
        (stream.last, stream.added) = (id, stream.added + 1);
        id
    }

    /// What XREAD returns after `last`, at most `page` entries; and whether that was all.
    pub(crate) fn read(&self, last: Position, page: usize) -> (Vec<Row>, bool) {
        let rows = self.stream.iter().flat_map(|stream| &stream.rows);
        let rows: Vec<_> = rows.filter(|row| row.id > last).take(page).copied().collect();
        let all = rows.len() < page;
        (rows, all)
    }

    /// Drops the first entry, as by age or by number.
    pub(crate) fn trim(&mut self) {
        if let Some(stream) = &mut self.stream
            && !stream.rows.is_empty()
        {
            stream.rows.remove(0);
        }
    }
}

impl Stream {
    fn is_incomplete(&self) -> bool {
        self.added > self.rows.len()
    }
}

impl Look {
    /// As it is written down.
    pub(crate) fn life(&self) -> String {
        life_text(self.life)
    }

    pub(crate) fn opening(&self) -> Opening {
        let missing = self.incomplete.then_some((self.first, None));
        Opening::of(&self.life(), self.last, missing).unwrap()
    }
}

pub(crate) fn life_text((epoch, fence): (u8, Position)) -> String {
    format!("{} {fence}", epoch_text(epoch))
}

fn epoch_text(epoch: u8) -> String {
    format!("run{epoch}:repl{epoch}")
}

impl Row {
    pub(crate) fn record(&self) -> Record {
        let kind = match self.names {
            None => Kind::Fence { epoch: epoch_text(self.epoch).into() },
            Some(names) => Kind::Invalidation { names: spelled(names), mode: Mode::Hard },
        };
        Record {
            position: self.id,
            kind,
            writer: self.writer.to_string().into(),
            ticket: self.ticket,
            cause: self.cause,
        }
    }
}

impl std::fmt::Display for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", char::from(b'a' + self.0), self.1)
    }
}

/// The names of these bits.
pub(crate) fn spelled(names: u8) -> Vec<Name> {
    thread_local! {
        static NAMES: Rc<[Name; 3]> =
            Rc::new(["path:/p", "namespace:c", "all"].map(|name| name.parse().unwrap()));
    }
    NAMES.with(|all| {
        let bits = [PATH, NAMESPACE, ALL];
        let named = bits.iter().zip(all.iter()).filter(|(bit, _)| names & **bit != 0);
        named.map(|(_, name)| name.clone()).collect()
    })
}

/// The bits of these names.
pub(crate) fn bits(names: &[Name]) -> u8 {
    let bit = |name: &Name| match name {
        Name::Path(_) => PATH,
        Name::Namespace(_) => NAMESPACE,
        _ => ALL,
    };
    names.iter().map(bit).fold(0, |all, bit| all | bit)
}
