//! The ledger against a list of all records, and against a world in which everything that can go
//! wrong with a stream does.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const LEASE: Duration = Duration::from_secs(2);
const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const NAMES: [&str; 8] = [
    "all",
    "namespace:a",
    "namespace:a/b",
    "tag:x",
    "tag:y",
    "path:/p",
    "prefix:/p",
    "prefix://h/q",
];

fn at(millis: u64) -> Position {
    Position::of_entry(millis, 0)
}

fn name(index: usize) -> Name {
    NAMES[index % NAMES.len()].parse().unwrap()
}

fn record(millis: u64, index: usize, mode: Mode) -> Record {
    let kind = Kind::Invalidation { names: vec![name(index)], mode };
    Record { position: at(millis), kind, writer: "".into(), ticket: None, cause: Cause::Event }
}

fn fence(millis: u64) -> Record {
    let kind = Kind::Fence { epoch: "e".into() };
    Record { position: at(millis), kind, writer: "".into(), ticket: None, cause: Cause::Fence }
}

fn entries() -> [Belongs; 3] {
    [
        Belongs::of("a/b", "//h/p?q", &["x"], &[""; 0]),
        Belongs::of("a", "//h/q/1", &["y"], &[""; 0]),
        Belongs::of("", "//g/", &["x", "y"], &[""; 0]),
    ]
}

fn heard(names: usize) -> Ledger {
    let mut ledger = Ledger::new(names, Some(LEASE)).named("me");
    ledger.heard(NOW);
    ledger
}

fn judge(ledger: &Ledger, as_of: Position, belongs: &Belongs) -> Standing {
    ledger.judge(as_of, Timestamp::ZERO, belongs, NOW)
}

/// Does an invalidation of `name` reach the entry? Written without digests.
fn reaches(index: usize, entry: usize) -> bool {
    let reached: [&[usize]; 3] = [&[0, 1, 2, 3, 5, 6], &[0, 1, 4, 7], &[0, 3, 4]];
    reached[entry].contains(&(index % NAMES.len()))
}

fn fingerprint(records: &[Record]) -> u64 {
    let mut ledger = heard(100);
    ledger.apply_at(records, NOW);
    let mut hasher = std::hash::DefaultHasher::new();
    ledger.fingerprint(&mut hasher);
    hasher.finish()
}

#[test]
fn ledgers_that_may_come_to_differ_have_different_fingerprints() {
    let fence_of = |epoch: &str| Record { kind: Kind::Fence { epoch: epoch.into() }, ..fence(5) };
    let told = [
        vec![],
        vec![record(999_999, 3, Mode::Hard)],
        vec![record(999_999, 3, Mode::Soft)],
        vec![record(999_999, 3, Mode::Spread(30_000))],
        vec![record(999_999, 3, Mode::Spread(31_000))],
        vec![record(999_999, 4, Mode::Spread(31_000))],
        vec![fence_of("e")],
        vec![fence_of("f")],
    ];
    for (n, one) in told.iter().enumerate() {
        assert_eq!(fingerprint(one), fingerprint(one), "{one:?}");
        for other in told.iter().take(n) {
            assert_ne!(fingerprint(one), fingerprint(other), "{one:?} {other:?}");
        }
    }
}

#[test]
fn a_record_that_is_not_where_the_tail_reads_is_appended_again() {
    let mut ledger = Ledger::new(100, Some(Duration::from_secs(2))).named("me");
    let (ticket, _) = ledger.announce(vec!["tag:a".parse().unwrap()], Mode::Hard, Cause::Write);
    ledger.owed_mut().take_due();
    // By a primary that was deposed; the tail follows the one that took over.
    ledger.owed_mut().appended(ticket, Position::of_entry(5, 0));
    ledger.heard(Timestamp::from_millis(1000));
    ledger.heard(Timestamp::from_millis(1001));
    assert_eq!(ledger.heard_at(), Timestamp::from_millis(1000), "the others do not know of it");
    assert_eq!(ledger.owed_mut().take_due()[0].ticket, ticket);
}

#[test]
fn an_entry_is_usable_if_its_fill_began_after_the_last_invalidation() {
    let mut ledger = heard(100);
    ledger.apply(&[record(10, 3, Mode::Hard)]);
    let [x, y, _] = entries();
    assert_eq!(judge(&ledger, at(9), &x), Standing::Invalidated);
    assert_eq!(judge(&ledger, at(10), &x), Standing::Good);
    assert_eq!(judge(&ledger, at(9), &y), Standing::Good);
}

#[test]
fn invalidated_wins_over_suspect_and_suspect_over_softened() {
    let [x, ..] = entries();
    let mut ledger = heard(100);
    ledger.apply(&[record(10, 3, Mode::Soft)]);
    assert_eq!(judge(&ledger, at(5), &x), Standing::Softened);
    ledger.forget_before(at(7));
    assert_eq!(judge(&ledger, at(5), &x), Standing::Suspect(Doubt::Forgotten));
    ledger.apply(&[fence(11)]);
    assert_eq!(judge(&ledger, at(5), &x), Standing::Suspect(Doubt::Fenced));
    ledger.apply(&[record(12, 3, Mode::Hard)]);
    assert_eq!(judge(&ledger, at(5), &x), Standing::Invalidated);
}

#[test]
fn a_silent_ledger_vouches_for_its_lease_and_an_entry_for_itself_as_long() {
    let [x, ..] = entries();
    let mut ledger = heard(100);
    ledger.apply(&[record(1, 4, Mode::Hard)]);
    let ask = |vouched, now| ledger.judge(at(1), vouched, &x, now);
    assert_eq!(ask(Timestamp::ZERO, NOW + LEASE), Standing::Good);
    let late = NOW + LEASE + Duration::from_millis(1);
    assert_eq!(ask(Timestamp::ZERO, late), Standing::Suspect(Doubt::Unheard));
    assert_eq!(ask(NOW + LEASE, late), Standing::Good);
    let own = Ledger::new(100, None);
    assert_eq!(own.judge(at(1), Timestamp::ZERO, &x, late), Standing::Good);
}

#[test]
fn what_was_filled_further_on_than_was_read_here_is_not_vouched_for() {
    let [x, ..] = entries();
    let mut ledger = heard(100);
    ledger.apply(&[record(10, 4, Mode::Hard)]);
    assert_eq!(judge(&ledger, at(11), &x), Standing::Suspect(Doubt::Unheard));
    // It may be of another primary, and our own invalidation be in this one.
    ledger.apply(&[record(11, 3, Mode::Hard)]);
    assert_eq!(judge(&ledger, at(20), &x), Standing::Suspect(Doubt::Unheard));
    ledger.apply(&[record(20, 4, Mode::Hard)]);
    assert_eq!(judge(&ledger, at(20), &x), Standing::Good);
}

#[test]
fn the_lease_is_not_renewed_while_valkey_is_owed_something() {
    let mut ledger = heard(100);
    ledger.announce(vec![name(3)], Mode::Hard, Cause::Write);
    let later = NOW + LEASE;
    ledger.heard(later);
    assert_eq!(ledger.heard_at(), later, "what is on its way is no debt");
    ledger.owed_mut().give_up_due();
    ledger.heard(later + LEASE);
    assert_eq!(ledger.heard_at(), later);
    let debt = ledger.owed_mut().take_due().remove(0);
    ledger.owed_mut().appended(debt.ticket, at(9));
    ledger.heard(later + LEASE);
    assert_eq!(ledger.heard_at(), later + LEASE);
}

#[test]
fn versions_move_with_the_stream_and_only_with_it() {
    let mut ledger = heard(100);
    ledger.announce(vec![name(1)], Mode::Hard, Cause::Write);
    assert_eq!(ledger.version("a/b"), Position::ZERO);
    ledger.apply(&[record(5, 1, Mode::Hard), record(6, 2, Mode::Soft)]);
    assert_eq!((ledger.version("a/b"), ledger.version("b")), (at(5), Position::ZERO));
}

#[test]
fn a_fill_after_a_local_invalidation_is_usable_until_the_record_comes() {
    let [x, ..] = entries();
    let mut ledger = heard(100);
    ledger.apply(&[record(10, 4, Mode::Hard)]);
    let before = ledger.applied();
    let (ticket, step) = ledger.announce(vec![name(3)], Mode::Hard, Cause::Write);
    let after = ledger.applied();
    assert_eq!((step, after.to_string()), (after, "10-0+1".into()));
    assert_eq!(judge(&ledger, before, &x), Standing::Invalidated);
    assert_eq!(judge(&ledger, after, &x), Standing::Good);
    ledger.owed_mut().take_due();
    let mut real = record(11, 3, Mode::Hard);
    (real.writer, real.ticket) = ("me".into(), Some(ticket));
    ledger.apply(&[real]);
    ledger.owed_mut().failed(ticket);
    assert!(ledger.owed().is_empty());
    assert_eq!(judge(&ledger, after, &x), Standing::Invalidated);
    assert_eq!(judge(&ledger, ledger.applied(), &x), Standing::Good);
}

#[test]
fn another_life_of_the_stream_is_read_from_its_beginning() {
    let mut ledger = heard(100);
    let mut opening = Opening { life: "a".into(), fence: at(5), trimmed: Position::ZERO };
    assert!(ledger.open(&opening, Position::ZERO));
    assert!(!ledger.open(&opening, at(5)));
    opening.trimmed = at(9);
    assert!(!ledger.open(&opening, at(9)));
    assert_eq!(ledger.horizon(), Position::ZERO, "it was read before it was trimmed");
    assert!(!ledger.open(&opening, at(8)));
    assert_eq!(ledger.horizon(), at(9));
    opening.life = "b".into();
    assert!(ledger.open(&opening, at(9)));
}

#[test]
fn starting_in_the_middle_vouches_for_nothing_earlier() {
    let namespaces = [("a", at(3)), ("a/b", at(9))];
    let ledger = Ledger::starting(100, None, at(4), namespaces);
    let [x, ..] = entries();
    assert_eq!(judge(&ledger, at(3), &x), Standing::Suspect(Doubt::Forgotten));
    assert_eq!(judge(&ledger, at(4), &x), Standing::Good);
    assert_eq!(ledger.version("a/b/c"), at(9));
}

fn mode(hard: bool) -> Mode {
    if hard { Mode::Hard } else { Mode::Soft }
}

/// Larger is more careful.
fn care(standing: Standing) -> u8 {
    match standing {
        Standing::Good => 0,
        Standing::Softened => 1,
        Standing::Suspect(_) => 2,
        Standing::Invalidated => 3,
    }
}

proptest! {
    #[test]
    fn unbounded_it_judges_as_a_list_of_all_records_would(
        list in prop::collection::vec((0..8_usize, any::<bool>()), 0..60),
        shuffled in any::<prop::sample::Index>(),
    ) {
        let records: Vec<_> =
            list.iter().zip(1..).map(|((i, hard), n)| record(n, *i, mode(*hard))).collect();
        let (mut ledger, mut other) = (heard(1000), heard(1000));
        let mut last = Position::ZERO;
        for record in &records {
            ledger.apply([record]);
            prop_assert!(ledger.applied() > last);
            last = ledger.applied();
        }
        let cut = if records.is_empty() { 0 } else { shuffled.index(records.len()) };
        other.apply(records[cut..].iter().chain(&records[..cut]).chain(&records));
        for (entry, belongs) in entries().iter().enumerate() {
            for as_of in 0..=records.len() {
                let later = list[as_of..].iter().filter(|(i, _)| reaches(*i, entry));
                let expected = match later.map(|(_, hard)| *hard).max() {
                    None => Standing::Good,
                    Some(false) => Standing::Softened,
                    Some(true) => Standing::Invalidated,
                };
                let as_of = at(as_of as u64);
                prop_assert_eq!(judge(&ledger, as_of, belongs), expected);
                prop_assert_eq!(judge(&other, as_of, belongs), expected, "order does not matter");
            }
        }
        prop_assert_eq!(ledger.version("a/b"), other.version("a/b"));
    }

    #[test]
    fn bounded_it_is_only_more_careful(
        list in prop::collection::vec((0..40_usize, any::<bool>()), 0..200),
        bound in 1..20_usize,
    ) {
        let (mut all, mut few) = (heard(1000), heard(bound));
        for ((index, hard), n) in list.iter().zip(1..) {
            let mut record = record(n, *index, mode(*hard));
            if *index >= NAMES.len() {
                let name = Name::Tag(format!("other{index}").into());
                record.kind = Kind::Invalidation { names: vec![name], mode: mode(*hard) };
            }
            all.apply([&record]);
            few.apply([&record]);
        }
        prop_assert!(few.names() <= 2 * bound);
        for belongs in &entries() {
            for as_of in 0..=list.len() as u64 {
                let (full, small) = (judge(&all, at(as_of), belongs), judge(&few, at(as_of), belongs));
                prop_assert!(care(small) >= care(full).min(2), "{:?} {:?}", full, small);
                prop_assert!(small == full || care(small) == 2, "{:?} {:?}", full, small);
            }
        }
        prop_assert_eq!(judge(&few, few.applied(), &entries()[0]), Standing::Good);
    }
}

/// One process, a stream that others write to as well, and entries filled by it and by others.
struct World {
    ledger: Ledger,
    stream: Vec<(Position, Option<usize>, Option<Ticket>)>,
    /// Entries of the stream that the tail has read; `None`: it has to look at the stream first.
    read: Option<usize>,
    life: u64,
    fence: Position,
    /// Above everything that was ever issued, whatever the stream has lost since.
    top: Position,
    step: usize,
    /// What is invalidated here, and when: by us at once, by others when we read it.
    known: Vec<(usize, usize)>,
    /// Appended by others, and when: not known here yet.
    written: Vec<(Position, usize, usize)>,
    filled: Vec<(Position, usize, usize)>,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    TheyInvalidate(usize),
    WeInvalidate(usize),
    WeAppend { works: bool, answered: bool },
    TailReads(usize),
    WeFill(usize),
    TheyFill(usize, usize),
    StreamLoses(usize),
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            ledger: heard(1000),
            stream: Vec::new(),
            read: None,
            life: 0,
            fence: Position::ZERO,
            top: at(100),
            step: 0,
            known: Vec::new(),
            written: Vec::new(),
            filled: Vec::new(),
        };
        world.lose(0);
        world
    }

    /// As tight as it can be: always the very next ID.
    fn issue(&mut self, index: Option<usize>, ticket: Option<Ticket>) -> Position {
        self.top = self.top.next();
        self.stream.push((self.top, index, ticket));
        self.top
    }

    fn lose(&mut self, keep: usize) {
        self.stream.truncate(keep);
        self.life += 1;
        self.read = None;
        self.fence = self.issue(None, None);
    }

    fn life(&self) -> String {
        self.life.to_string()
    }

    fn append(&mut self, works: bool, answered: bool) {
        for debt in self.ledger.owed_mut().take_due() {
            let index = |n: &Name| NAMES.iter().position(|t| *t == n.to_string());
            let indexes: Vec<_> = debt.names.iter().filter_map(index).collect();
            let mut appended = None;
            if works {
                for (index, left) in indexes.iter().zip((0..indexes.len()).rev()) {
                    let ticket = (left == 0).then_some(debt.ticket);
                    appended = Some(self.issue(Some(*index), ticket));
                }
            }
            match appended.filter(|_| answered) {
                Some(position) => self.ledger.owed_mut().appended(debt.ticket, position),
                None => self.ledger.owed_mut().failed(debt.ticket),
            }
        }
    }

    fn tail(&mut self, count: usize) {
        let from = match self.read {
            Some(read) => read,
            None => {
                let opening = Opening {
                    life: self.life().into(),
                    fence: self.fence,
                    trimmed: Position::ZERO,
                };
                assert!(self.ledger.open(&opening, Position::ZERO));
                0
            }
        };
        let to = self.stream.len().min(from.saturating_add(count));
        let records: Vec<_> =
            self.stream[from..to].iter().map(|entry| Self::record(*entry)).collect();
        self.ledger.apply(&records);
        self.read = Some(to);
        for (position, ..) in &self.stream[from..to] {
            let read = self.written.iter().filter(|(p, ..)| p == position);
            self.known.extend(read.map(|(_, step, index)| (*step, *index)));
        }
    }

    fn record((position, index, ticket): (Position, Option<usize>, Option<Ticket>)) -> Record {
        let record = index.map_or_else(|| fence(0), |index| record(0, index, Mode::Hard));
        let writer = if ticket.is_some() { "me" } else { "they" };
        Record { position, ticket, writer: writer.into(), ..record }
    }

    fn happen(&mut self, event: Event) {
        self.step += 1;
        match event {
            Event::TheyInvalidate(index) => {
                let position = self.issue(Some(index), None);
                self.written.push((position, self.step, index));
            }
            Event::WeInvalidate(index) => {
                self.ledger.announce(vec![name(index)], Mode::Hard, Cause::Write);
                self.known.push((self.step, index));
            }
            Event::WeAppend { works, answered } => self.append(works, answered),
            Event::TailReads(count) => self.tail(count),
            Event::WeFill(entry) => self.filled.push((self.ledger.applied(), self.step, entry)),
            Event::TheyFill(behind, entry) => {
                let at = self.stream.len().saturating_sub(1 + behind);
                self.filled.push((self.stream[at].0, self.step, entry));
            }
            Event::StreamLoses(keep) => self.lose(keep),
        }
    }

    /// An entry whose fill began before an invalidation that is known here is never usable.
    fn check(&self) -> Result<(), TestCaseError> {
        let belongs = entries();
        for (as_of, began, entry) in &self.filled {
            let standing = judge(&self.ledger, *as_of, &belongs[*entry]);
            let stale = self.known.iter().find(|(s, i)| s > began && reaches(*i, *entry));
            prop_assert!(
                stale.is_none() || care(standing) >= 2,
                "{standing:?}: as_of {as_of}, began {began}, but {stale:?}; {:?}",
                self.ledger
            );
        }
        Ok(())
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..8_usize).prop_map(Event::TheyInvalidate),
        4 => (0..8_usize).prop_map(Event::WeInvalidate),
        3 => (any::<bool>(), any::<bool>())
            .prop_map(|(works, answered)| Event::WeAppend { works, answered }),
        3 => (0..4_usize).prop_map(Event::TailReads),
        4 => (0..3_usize).prop_map(Event::WeFill),
        3 => (0..3_usize, 0..3_usize).prop_map(|(b, e)| Event::TheyFill(b, e)),
        1 => (0..8_usize).prop_map(Event::StreamLoses),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn nothing_older_than_a_known_invalidation_is_ever_used(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
            world.check()?;
        }
        // When all is well again, it also caches again.
        // The first look may show that the stream lost what it had taken.
        for _ in 0..2 {
            world.append(true, true);
            world.tail(usize::MAX);
        }
        prop_assert!(world.ledger.owed().is_empty());
        for belongs in &entries() {
            prop_assert_eq!(judge(&world.ledger, world.ledger.applied(), belongs), Standing::Good);
        }
    }
}
