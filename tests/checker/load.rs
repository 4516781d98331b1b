//! Clients: readers that stay with one seat, writers that go anywhere, and a probe that measures
//! how soon a write through one process is seen through another, and who asks what is owed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::dice::Dice;
use crate::history::{Ack, Key, Micros, Process, Promise, Read, Seat, Standing, Version};
use crate::routes::{Manner, keys, kind_of, path_of};
use crate::wire::{Answer, Wire, get, send};
use crate::world::{Door, SEATS, Unanswered, World, lock};

/// Longer than anything that is answered takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Half of the readers ask this much at once. What they are promised is counted from then on, so the
/// later of these answers are held to a little less.
const AT_ONCE: usize = 8;

/// How many there are of whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// For each seat.
    pub(crate) readers: u64,
    pub(crate) writers: u64,
    /// The longest pause between two writes of one writer.
    pub(crate) pause: u64,
    /// Writers go past Larder, and claim that they did not: what the checker must notice.
    pub(crate) past: bool,
}

/// How soon a write was seen elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) seat: Seat,
    pub(crate) acked: Micros,
    pub(crate) after: Micros,
}

/// Starts them all; they end when the world is over. What the probe has measured.
pub(crate) fn start(world: &Arc<World>, load: Load, seed: u64) -> JoinSet<Vec<Seen>> {
    let mut clients = JoinSet::new();
    for number in 0..load.readers * SEATS as u64 {
        let reader = Reader {
            world: Arc::clone(world),
            seat: number as usize % SEATS,
            wire: Wire::default(),
            dice: Dice::of(seed, 1000 + number),
            at_once: if number < load.readers * SEATS as u64 / 2 { 1 } else { AT_ONCE },
            reads: Vec::new(),
        };
        clients.spawn(reader.run());
    }
    for number in 0..load.writers {
        clients.spawn(Writer::of(world, Dice::of(seed, 2000 + number), load).run());
    }
    for seat in 0..SEATS {
        clients.spawn(collect_debts(Arc::clone(world), seat));
    }
    let probe = Writer::of(world, Dice::of(seed, 3000), load);
    clients.spawn(probe.probe());
    clients
}

/// Reads through one seat.
struct Reader {
    world: Arc<World>,
    seat: usize,
    wire: Wire,
    dice: Dice,
    at_once: usize,
    reads: Vec<Read>,
}

impl Reader {
    async fn run(mut self) -> Vec<Seen> {
        while !self.world.is_over() {
            match self.world.door(self.seat) {
                Some(door) => self.read(door).await,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        lock(&self.world.book.reads).append(&mut self.reads);
        Vec::new()
    }

    /// As many GETs as it asks at a time.
    async fn read(&mut self, door: Door) {
        let questions: Vec<_> = (0..self.at_once).map(|_| self.question()).collect();
        let before = self.reads.len();
        ask(&self.world, &mut self.wire, door, &questions, &mut self.reads).await;
        if self.reads.len() == before {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if self.reads.len() >= 10_000 {
            lock(&self.world.book.reads).append(&mut self.reads);
        }
    }

    fn question(&mut self) -> Question {
        let key = popular(&mut self.dice);
        let (shown, position) = self.world.position(key);
        // Now and then it says what it has seen.
        let shown = if self.dice.once_in_thousand(30) { shown } else { 0 };
        let mut fields = match self.dice.below(2) {
            0 => "accept: text/plain\r\n".to_owned(),
            _ => String::new(),
        };
        if shown > 0 {
            fields.push_str(&format!("larder-min-position: {position}\r\n"));
        }
        Question { key, shown, text: get(&path_of(key, self.dice.index(2)), &fields) }
    }
}

/// A GET to be sent.
struct Question {
    key: Key,
    shown: Version,
    text: String,
}

/// Sends them all, and notes what was answered with a version.
async fn ask(
    world: &World,
    wire: &mut Wire,
    door: Door,
    questions: &[Question],
    reads: &mut Vec<Read>,
) {
    let text: String = questions.iter().map(|question| &*question.text).collect();
    let invoked = world.now();
    let mut waiting = questions.iter();
    let mut good = 0;
    let take = |answer: Answer| {
        let Some(Question { key, shown, .. }) = waiting.next() else { return };
        let Some(version) = version(&answer, *key) else { return };
        good += 1;
        let status = answer.field("cache-status");
        let (hit, detailed) = (status.contains("; hit"), status.contains("detail="));
        let returned = world.now();
        let (key, shown, process) = (*key, *shown, door.process);
        reads.push(Read { invoked, returned, version, shown, key, process, hit, detailed });
    };
    // What failed was not answered, and is counted as that.
    let _ = wire.ask_all(door.port, &text, questions.len(), PATIENCE, take).await;
    world.book.failed.fetch_add(questions.len() as u64 - good, Ordering::Relaxed);
}

/// What an answer shows of a key.
fn version(answer: &Answer, key: Key) -> Option<Version> {
    let is_shown = answer.status == 200 || answer.status == 404;
    let version = answer.number("version").filter(|_| is_shown)?;
    let about = answer.number("key");
    assert_eq!(about, Some(u32::from(key)), "an answer about something else");
    Some(version)
}

/// Some keys are read more than others.
fn popular(dice: &mut Dice) -> Key {
    let (one, other) = (dice.index(keys()), dice.index(keys()));
    one.min(other) as Key
}

/// Writes through any seat.
struct Writer {
    world: Arc<World>,
    dice: Dice,
    load: Load,
    wires: [Wire; SEATS],
    admins: [Wire; SEATS],
}

/// Numbers writes.
static NUMBER: AtomicU64 = AtomicU64::new(1);

impl Writer {
    fn of(world: &Arc<World>, dice: Dice, load: Load) -> Self {
        let world = Arc::clone(world);
        Self { world, dice, load, wires: Default::default(), admins: Default::default() }
    }

    async fn run(mut self) -> Vec<Seen> {
        while !self.world.is_over() {
            let (key, seat) = (self.dice.index(keys()) as Key, self.dice.index(SEATS));
            self.change(key, seat).await;
            tokio::time::sleep(self.dice.millis(0, self.load.pause)).await;
        }
        Vec::new()
    }

    /// Changes a key through this seat, in the manner of its kind.
    async fn change(&mut self, key: Key, seat: usize) -> Option<Ack> {
        let Some(door) = self.world.door(seat) else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            return None;
        };
        let kind = kind_of(key);
        let purge = match kind.manner {
            _ if self.load.past && kind.promise == Promise::Bounded => return self.past(key, door),
            Manner::Write => return self.write(key, seat, door).await,
            Manner::Behind => {
                let (version, acked) = self.world.origin.change(key);
                let standing = Standing::Recorded;
                let ack = Ack { acked, version, key, process: door.process, standing };
                self.world.acknowledge(ack, "");
                return Some(ack);
            }
            Manner::PurgeTag => format!("{{\"tag\":\"key-{key}\"}}"),
            Manner::PurgeNamespace => format!("{{\"namespace\":\"spaces/{key}\"}}"),
        };
        let (version, _) = self.world.origin.change(key);
        let fields = "content-type: application/json\r\n";
        let request = send("POST", "/purge", fields, &purge);
        let answer = self.admins[seat].ask(door.admin, &request, PATIENCE).await;
        let acked = self.world.now();
        let standing = match answer.as_ref().map_or(0, |answer| answer.status) {
            200 => Standing::Recorded,
            202 => Standing::Owed,
            _ => {
                self.unanswered(key, 0, door.process, acked);
                return None;
            }
        };
        let ack = Ack { acked, version, key, process: door.process, standing };
        let position = answer.as_ref().map_or("", |answer| position(&answer.content));
        self.world.acknowledge(ack, if standing == Standing::Recorded { position } else { "" });
        Some(ack)
    }

    /// The origin is changed, and nobody told.
    fn past(&self, key: Key, door: Door) -> Option<Ack> {
        let (version, acked) = self.world.origin.change(key);
        let standing = Standing::Recorded;
        let ack = Ack { acked, version, key, process: door.process, standing };
        self.world.acknowledge(ack, "");
        Some(ack)
    }

    async fn write(&mut self, key: Key, seat: usize, door: Door) -> Option<Ack> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let method = if self.dice.once_in_thousand(100) { "DELETE" } else { "PUT" };
        let request = send(method, &path_of(key, 0), &format!("x-write: {number}\r\n"), "x");
        let invoked = self.world.now();
        let answer = self.wires[seat].ask(door.port, &request, PATIENCE).await;
        let acked = self.world.now();
        let Ok(answer) = answer else {
            self.unanswered(key, number, door.process, invoked);
            return None;
        };
        // Whatever the answer: what the origin did before it came is invalidated by now.
        let (version, _) = self.world.origin.written(number)?;
        let is_recorded = answer.field("cache-status").contains("detail=invalidated");
        let standing = if is_recorded { Standing::Recorded } else { Standing::Owed };
        let ack = Ack { acked, version, key, process: door.process, standing };
        let position = if is_recorded { answer.field("larder-position") } else { "" };
        self.world.acknowledge(ack, position);
        Some(ack)
    }

    fn unanswered(&self, key: Key, number: u64, process: Process, invoked: Micros) {
        lock(&self.world.book.unanswered).push(Unanswered { key, number, process, invoked });
    }

    /// Writes through one seat and reads through another until it is there.
    async fn probe(mut self) -> Vec<Seen> {
        let mut all = Vec::new();
        while !self.world.is_over() {
            let from = self.dice.index(SEATS);
            let to = (from + 1 + self.dice.index(SEATS - 1)) % SEATS;
            // Of the first kind, and in memory over there.
            self.look(to, 0).await;
            if let Some(ack) =
                self.change(0, from).await.filter(|a| a.standing == Standing::Recorded)
            {
                all.extend(self.until_seen(to, ack).await);
            }
            tokio::time::sleep(self.dice.millis(0, 20)).await;
        }
        all
    }

    async fn look(&mut self, seat: usize, key: Key) -> Option<Read> {
        let door = self.world.door(seat)?;
        let question = Question { key, shown: 0, text: get(&path_of(key, 0), "") };
        let mut reads = Vec::new();
        ask(&self.world, &mut self.wires[seat], door, &[question], &mut reads).await;
        lock(&self.world.book.reads).extend(&reads);
        reads.first().copied()
    }

    async fn until_seen(&mut self, seat: usize, ack: Ack) -> Option<Seen> {
        let limit = ack.acked + PATIENCE.as_micros() as Micros;
        loop {
            let read = self.look(seat, ack.key).await?;
            if read.version >= ack.version {
                let after = read.invoked - ack.acked;
                return Some(Seen { seat: seat as Seat, acked: ack.acked, after });
            }
            if read.returned > limit {
                return None;
            }
        }
    }
}

/// One write through this seat.
pub(crate) async fn write_once(world: Arc<World>, key: Key, seat: usize) {
    let load = Load { readers: 0, writers: 1, pause: 0, past: false };
    let mut writer = Writer::of(&world, Dice::of(u64::from(key), 4000), load);
    writer.change(key, seat).await;
}

/// Asks the process there again and again whether it owes the ledger anything.
async fn collect_debts(world: Arc<World>, seat: usize) -> Vec<Seen> {
    let mut wire = Wire::default();
    while !world.is_over() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let Some(door) = world.door(seat) else { continue };
        let asked = world.now();
        let page = wire.ask(door.admin, &get("/metrics", ""), PATIENCE).await;
        let owes_nothing =
            page.is_ok_and(|page| page.content.lines().any(|l| l == "larder_ledger_owed 0"));
        if owes_nothing {
            lock(&world.book.settled).push((door.process, (asked, world.now())));
        }
    }
    Vec::new()
}

/// The position in a purge's receipt.
fn position(receipt: &str) -> &str {
    let rest = receipt.split_once("\"position\":\"").map_or("", |(_, rest)| rest);
    rest.split('"').next().unwrap_or_default()
}
