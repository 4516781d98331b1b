//! The imitation in `server.rs` against the scripts themselves, in a real Valkey: the same calls, in
//! the same order, must lead to the same order of positions, the same fences, the same lives, the
//! same records, the same intents.
//!
//! Positions are compared by their order among each other, not digit by digit: two clocks that are
//! read one after the other may differ.

use std::collections::BTreeMap;

use larder::ledger::{Cause, Mode, Position, Ticket, record};
use redis::{Connection, Value};

use crate::server::{Call, Instance, LEAD, Lapses, NAMESPACE, Server, bits, life_text, spelled};
use crate::valkey::Valkey;

const LOOK: &str = concat!(
    include_str!("../../src/store/valkey/ledger/common.lua"),
    include_str!("../../src/store/valkey/ledger/sight.lua"),
    include_str!("../../src/store/valkey/ledger/look.lua")
);
const APPEND: &str = concat!(
    include_str!("../../src/store/valkey/ledger/common.lua"),
    include_str!("../../src/store/valkey/ledger/append.lua")
);
const HEAD: &str = concat!(
    include_str!("../../src/store/valkey/ledger/common.lua"),
    include_str!("../../src/store/valkey/ledger/sight.lua"),
    include_str!("../../src/store/valkey/ledger/head.lua")
);
const ANNOUNCE: &str = include_str!("../../src/store/valkey/ledger/announce.lua");

const STREAM: &str = "m:{l}:ledger";
const NAMESPACES: &str = "m:{l}:namespaces";
const INSTANCES: &str = "m:{l}:instances";
const INTENTS: &str = "m:{l}:intents";

/// Long enough to be still there, in milliseconds.
const HOUR: u64 = 3_600_000;

/// What one caller knows, there and here.
#[derive(Clone, Debug, Default)]
struct Caller {
    applied: (Position, Position),
    life: (String, Option<(u8, Position)>),
    /// The last life whose fence it has read, and found above all it knew.
    crossed: (String, String),
}

struct Both {
    valkey: Valkey,
    there: Connection,
    here: Server,
    callers: [Caller; 2],
    /// The same positions, there and here.
    pairs: Vec<(Position, Position)>,
    lives: BTreeMap<String, (u8, Position)>,
    tickets: u64,
    open: Vec<(Instance, Ticket, u8)>,
    /// What was done, for who looks for the difference.
    done: Vec<String>,
}

impl Both {
    fn new() -> Self {
        let valkey = Valkey::start();
        let there = valkey.client();
        Self {
            valkey,
            there,
            here: Server::new(1, 0),
            callers: Default::default(),
            pairs: Vec::new(),
            lives: BTreeMap::new(),
            tickets: 0,
            open: Vec::new(),
            done: Vec::new(),
        }
    }

    fn step(&mut self, random: &mut impl FnMut(u64) -> u64) {
        let (seconds, micros): (u64, u64) = redis::cmd("TIME").query(&mut self.there).unwrap();
        self.here.clock = seconds * 1000 + micros / 1000;
        let who = usize::try_from(random(2)).unwrap();
        match random(20) {
            0..4 => self.look(who),
            4 => self.head(who),
            5..10 => self.append(who, random),
            10..13 => self.announce(who, random),
            13..17 => self.read(who),
            17 => self.run_ahead(who, random),
            18 => self.lose(random),
            _ => self.trim(random),
        }
        self.compare();
    }

    fn look(&mut self, who: usize) {
        self.done.push(format!("{who} looks"));
        let Caller { applied, life, crossed } = self.callers[who].clone();
        let mut call = redis::cmd("EVAL");
        call.arg(LOOK).arg(4).arg(&[STREAM, NAMESPACES, INSTANCES, INTENTS]);
        call.arg(&life.0).arg(applied.0.to_string()).arg(applied.0.next().to_string());
        call.arg(LEAD).arg(1_000_000).arg(name(who).to_string()).arg(30_000);
        call.arg(&crossed.0);
        let reply: Vec<Value> = call.query(&mut self.there).unwrap();
        let text = |at: usize| redis::from_redis_value_ref::<String>(&reply[at]).unwrap();
        let look = self.here.look(life.1, applied.1, &crossed.1, name(who), Lapses::default());
        self.pairs.push((position(&text(1)), look.last));
        let incomplete = matches!(reply[2], Value::Int(1));
        assert_eq!(incomplete, look.incomplete, "{:#?}", self.done);
        assert_eq!(text(3).is_empty(), look.first.is_none(), "{:#?}", self.done);
        if let Some(first) = look.first {
            self.pairs.push((position(&text(3)), first));
        }
        let life = text(0);
        self.pairs.push((position(life.split_once(' ').unwrap().1), look.life.1));
        let known = *self.lives.entry(life.clone()).or_insert(look.life);
        assert_eq!(known, look.life, "another life of the stream: {:#?}", self.done);
        self.callers[who].life = (life, Some(look.life));
    }

    fn head(&mut self, who: usize) {
        self.done.push(format!("{who} asks for the head"));
        let applied = self.callers[who].applied;
        let mut call = redis::cmd("EVAL");
        call.arg(HEAD).arg(2).arg(&[STREAM, NAMESPACES]).arg(applied.0.to_string());
        let there: Option<(String, String)> = call.query(&mut self.there).unwrap();
        let here = self.here.head(applied.1);
        assert_eq!(there.is_some(), here.is_some(), "{:#?}", self.done);
        if let Some(((life, last), (known, here))) = there.zip(here) {
            assert_eq!(*self.lives.entry(life).or_insert(known), known, "{:#?}", self.done);
            self.pairs.push((position(&last), here));
        }
    }

    fn append(&mut self, who: usize, random: &mut impl FnMut(u64) -> u64) {
        let names = 1 + u8::try_from(random(3)).unwrap();
        let own = self.open.iter().position(|(by, ..)| *by == name(who));
        let closes = own.filter(|_| random(2) == 0).map(|at| self.open.remove(at));
        self.done.push(format!("{who} appends {names}, closing {closes:?}"));
        self.tickets += 1;
        let (ticket, writer) = (Ticket(self.tickets), name(who));
        let applied = self.callers[who].applied;
        let text = writer.to_string();
        let fields = record::fields(&spelled(names), Mode::Hard, &text, Some(ticket), Cause::Write);
        let mut call = redis::cmd("EVAL");
        call.arg(APPEND).arg(3).arg(&[STREAM, NAMESPACES, INTENTS]);
        call.arg(applied.0.next().to_string()).arg(LEAD).arg(1_000_000).arg(HOUR * 1_000_000);
        call.arg(&text).arg(closes.map(intent).unwrap_or_default());
        call.arg(fields.len()).arg(&fields);
        if names & NAMESPACE != 0 {
            call.arg("c");
        }
        let there: String = call.query(&mut self.there).unwrap();
        let closes = closes.map(|(by, ticket, _)| (by, ticket));
        let least = applied.1.next();
        let call = Call { least, names, writer, ticket, cause: Cause::Write, closes };
        let here = self.here.append(&call, Lapses::default());
        self.pairs.push((position(&there), here));
    }

    fn announce(&mut self, who: usize, random: &mut impl FnMut(u64) -> u64) {
        self.tickets += 1;
        // Not two at once: in which order they are closed is nobody's concern.
        let due = self.here.intents.values().any(|(_, deadline)| *deadline <= self.here.clock);
        let span = if random(2) == 0 && !due { 0 } else { HOUR };
        let announced = (name(who), Ticket(self.tickets), 1 + u8::try_from(random(3)).unwrap());
        self.done.push(format!("{announced:?} for {span} ms"));
        let mut call = redis::cmd("EVAL");
        call.arg(ANNOUNCE).arg(1).arg(INTENTS).arg(intent(announced)).arg(span);
        let _: String = call.query(&mut self.there).unwrap();
        self.here.announce((announced.0, announced.1), announced.2, span);
        self.open.push(announced);
    }

    /// As the tail does, from where the caller is.
    fn read(&mut self, who: usize) {
        self.done.push(format!("{who} reads"));
        let applied = self.callers[who].applied;
        let after = format!("({}", applied.0);
        let mut call = redis::cmd("XRANGE");
        call.arg(STREAM).arg(after).arg("+");
        let there: Vec<(String, Vec<(String, String)>)> = call.query(&mut self.there).unwrap();
        let (here, _) = self.here.read(applied.1, 1_000_000);
        assert_eq!(there.len(), here.len(), "{:#?}", self.done);
        for ((id, fields), row) in there.iter().zip(&here) {
            let fields = fields.iter().map(|(field, value)| (field.as_bytes(), value.as_bytes()));
            let (record, _) = record::Record::read(position(id), fields).unwrap();
            self.pairs.push((record.position, row.id));
            let told = (&*record.writer, record.ticket, record.cause);
            assert_eq!(told, (&*row.writer.to_string(), row.ticket, row.cause), "{:#?}", self.done);
            let names = match &record.kind {
                record::Kind::Invalidation { names, .. } => Some(bits(names)),
                record::Kind::Fence { epoch } => {
                    let caller = &mut self.callers[who];
                    if record.position > caller.applied.0 {
                        let here = life_text((row.epoch, row.id));
                        caller.crossed = (format!("{epoch} {}", record.position), here);
                    }
                    None
                }
            };
            let caller = &mut self.callers[who];
            caller.applied = caller.applied.max((record.position, row.id));
            assert_eq!(names, row.names, "{:#?}", self.done);
        }
    }

    /// It comes from a server whose clock was ahead.
    fn run_ahead(&mut self, who: usize, random: &mut impl FnMut(u64) -> u64) {
        self.done.push(format!("{who} is ahead"));
        let more = 1000 * random(40);
        let ahead = |from: Position| Position::of_entry(from.millis + more, 7);
        let (there, here) = self.callers[who].applied;
        if there != Position::ZERO {
            self.callers[who].applied = (ahead(there), ahead(here));
            self.pairs.push(self.callers[who].applied);
        }
    }

    fn lose(&mut self, random: &mut impl FnMut(u64) -> u64) {
        let what = random(4);
        self.done.push(format!("lost: {what}"));
        let key = match what {
            0 => {
                self.here.stream = None;
                STREAM
            }
            1 => {
                self.here.versions.clear();
                self.here.life = None;
                NAMESPACES
            }
            2 => {
                self.here.intents.clear();
                INTENTS
            }
            _ => return self.restart(),
        };
        let _: i64 = redis::cmd("DEL").arg(key).query(&mut self.there).unwrap();
    }

    fn restart(&mut self) {
        self.valkey.restart();
        self.there = self.valkey.client();
        self.here = Server::new(self.here.epoch + 1, self.here.clock);
    }

    fn trim(&mut self, random: &mut impl FnMut(u64) -> u64) {
        let length = self.here.stream.as_ref().map_or(0, |stream| stream.rows.len());
        let kept = length.saturating_sub(usize::try_from(random(3)).unwrap());
        self.done.push(format!("trimmed to {kept}"));
        let mut call = redis::cmd("XTRIM");
        let _: i64 = call.arg(STREAM).arg("MAXLEN").arg(kept).query(&mut self.there).unwrap();
        (kept..length).for_each(|_| self.here.trim());
    }

    fn compare(&mut self) {
        let version = redis::cmd("HGET").arg(NAMESPACES).arg("c").query(&mut self.there);
        let version: Option<String> = version.unwrap();
        let here = self.here.versions.get("c").copied();
        assert_eq!(version.is_some(), here.is_some(), "{:#?}", self.done);
        self.pairs.extend(version.map(|text| position(&text)).zip(here));
        let members = redis::cmd("ZRANGE").arg(INTENTS).arg(0).arg(-1).query(&mut self.there);
        let mut members: Vec<String> = members.unwrap();
        let open = self.here.intents.iter().map(|((by, t), (names, _))| intent((*by, *t, *names)));
        let mut open: Vec<_> = open.collect();
        members.sort();
        open.sort();
        assert_eq!(members, open, "{:#?}", self.done);
        self.pairs.sort_unstable();
        self.pairs.dedup();
        let in_order = self.pairs.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1);
        assert!(in_order, "{:#?}\n{:#?}", self.done, self.pairs);
    }
}

fn name(who: usize) -> Instance {
    Instance(u8::try_from(who).unwrap(), 0)
}

fn position(text: &str) -> Position {
    text.parse().unwrap()
}

/// As [`larder::ledger::Intent::text`].
fn intent((by, ticket, names): (Instance, Ticket, u8)) -> String {
    let intent = larder::ledger::Intent {
        ticket,
        names: spelled(names).into(),
        cause: Cause::Abandoned,
        span: std::time::Duration::ZERO,
    };
    intent.text(&by.to_string())
}

/// As `xorshift64*` has it: the same numbers for the same seed.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }
}

#[test]
fn the_imitation_does_what_the_scripts_do() {
    const SEEDS: u64 = 40;
    let mut both = Both::new();
    let mut pairs = 0;
    for seed in 0..SEEDS {
        // Another stream, on the same server.
        let _: i64 = redis::cmd("DEL")
            .arg(&[STREAM, NAMESPACES, INSTANCES, INTENTS])
            .query(&mut both.there)
            .unwrap();
        both.here = Server::new(both.here.epoch, 0);
        both.callers = Default::default();
        both.pairs.clear();
        both.lives.clear();
        both.open.clear();
        both.done = vec![format!("seed {seed}")];
        let mut random = numbers(seed);
        (0..80).for_each(|_| both.step(&mut random));
        pairs += both.pairs.len();
    }
    assert!(both.here.epoch > 3 && pairs > 400, "{} lives, {pairs} positions", both.here.epoch);
}
