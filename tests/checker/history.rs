//! The judge: given all that was read, acknowledged and disturbed, what was read too late?
//!
//! Every key is a register that only grows: the origin counts its versions. So one number decides
//! on a read: the *floor*, the highest version that it was promised not to fall below. Each
//! acknowledged write promises its version to each process from a certain moment on; a GET that
//! *started* after that moment must show it. When it ended does not matter.
//!
//! | the write was | it is promised to | from | because |
//! |---|---|---|---|
//! | acknowledged in any way | its own process | its acknowledgement | it counts there before it is answered (`store/ledger.rs`, `invalidate`) |
//! | recorded | others, calm | `propagation` later | the tail is told by Valkey at once; measured, and asserted with room for a busy machine |
//! | recorded | others, disturbed | `lease` later | who has not heard since the record was written vouches for nothing after its lease (`ledger/mod.rs`, `doubt`); a lost record shows as a fence when it is heard again |
//! | recorded, on a strict route | everybody | its acknowledgement | the end of the ledger is asked for before each answer |
//! | the same, where Sentinel promotes | others, disturbed | `strict` later | two instances may talk to two primaries until they ask Sentinel again (`docs/consistency.md`, what is not promised) |
//! | recorded, and its position shown | who shows it | at once | no answer comes from before it (`footing.rs`) |
//! | the same, where there may be two primaries | who shows it | `strict` later | positions of the one say nothing of the other (the same page) |
//! | owed, or nobody says | others, that hear Valkey | `grace` after its process's way to Valkey was free, and then as if recorded | what failed is tried again every 100 ms (`append.rs`, `LONGEST_REST`), and an attempt that hangs ends after a second (`connection.rs`, `connect`) |
//! | the same | others, that were cut off longer than a lease, and no shorter than its process | `lease` later | what they have is suspect by then, and stays so for `grace` after they hear Valkey again (`ledger/mod.rs`, `DEBTS`) |
//! | the same | others, that hear Valkey | its process said, asked after the acknowledgement, that it owes nothing any more | what is recorded is recorded |
//! | owed, its process dying first | nobody | | debts are kept in memory; the lifetime bounds what is left |
//! | made behind Larder's back | everybody | the lifetime later | nothing but the lifetime bounds it, and that counts from when the response came: to a process that was frozen, when it goes on |
//!
//! *Disturbed* is who had a fault on its way to the ledger, or stood still, at any time from
//! `propagation` before the acknowledgement to `propagation` after it; a fault counts until
//! `recovery` after its end: the tail pauses for up to a second between attempts to connect
//! (`ledger.rs`, `LONGEST_PAUSE`), and one that hangs takes another.

use std::collections::HashMap;

/// Microseconds since the run began.
pub(crate) type Micros = u64;

/// Number of a key, of a place where a process runs, and of one process that ran there.
pub(crate) type Key = u16;
pub(crate) type Seat = u8;
pub(crate) type Process = u16;

/// How often the origin had changed the key.
pub(crate) type Version = u32;

/// A GET that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    pub(crate) invoked: Micros,
    pub(crate) returned: Micros,
    pub(crate) version: Version,
    /// The version whose position it showed; 0: it showed none.
    pub(crate) shown: Version,
    pub(crate) key: Key,
    pub(crate) process: Process,
    pub(crate) hit: bool,
    /// A hit with a detail: stale, or in doubt.
    pub(crate) detailed: bool,
}

/// A write, or a purge after a change, that was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) acked: Micros,
    pub(crate) version: Version,
    pub(crate) key: Key,
    pub(crate) process: Process,
    pub(crate) standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is in the ledger.
    Recorded,
    /// It is not, or nobody said.
    Owed,
}

/// What a route promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    Bounded,
    Strict,
    /// No more than that entries live no longer.
    Lifetime(Micros),
}

/// From, and up to.
pub(crate) type Window = (Micros, Micros);

/// See the head of this file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) propagation: Micros,
    pub(crate) lease: Micros,
    pub(crate) strict: Micros,
    pub(crate) grace: Micros,
    pub(crate) recovery: Micros,
}

/// Everything that happened.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) reads: Vec<Read>,
    pub(crate) acks: Vec<Ack>,
    /// By key: what is promised for it.
    pub(crate) promises: Vec<Promise>,
    /// By key and version, from version 1: when the origin changed it.
    pub(crate) applied: Vec<Vec<Micros>>,
    /// By seat: when something was wrong there.
    pub(crate) disturbed: Vec<Vec<Window>>,
    /// By seat: when nothing at all was heard there.
    pub(crate) silent: Vec<Vec<Window>>,
    /// When any process was frozen: what was on its way to it came later.
    pub(crate) frozen: Vec<Window>,
    /// When there may have been two primaries.
    pub(crate) two: Vec<Window>,
    /// By process: where it ran, and when it was killed.
    pub(crate) processes: Vec<(Seat, Option<Micros>)>,
    /// By process: when it was asked what it owes, and when it had answered: nothing.
    pub(crate) settled: Vec<Vec<Window>>,
}

/// A read that shows less than it was promised, or something that was not there yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Violation {
    pub(crate) read: Read,
    pub(crate) floor: Version,
    /// When that was promised; nothing if the version read did not exist yet.
    pub(crate) promised: Option<Micros>,
}

/// What the judge found.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) violations: Vec<Violation>,
    /// Reads whose floor was above 0: that could have failed.
    pub(crate) demanding: usize,
    /// By key.
    pub(crate) stalest: Vec<Stalest>,
    /// Debts that died with their process.
    pub(crate) lost_debts: Vec<Ack>,
}

/// How far reads of one key were behind what had been acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stalest {
    /// How many were behind at all.
    pub(crate) reads: usize,
    pub(crate) most: Micros,
    /// The same of those in seats that were calm at the acknowledgement.
    pub(crate) most_in_calm: Micros,
}

impl Stalest {
    fn note(&mut self, behind: Micros, calm: bool) {
        self.reads += 1;
        self.most = self.most.max(behind);
        self.most_in_calm = if calm { self.most_in_calm.max(behind) } else { self.most_in_calm };
    }

    pub(crate) fn with(self, other: &Self) -> Self {
        Self {
            reads: self.reads + other.reads,
            most: self.most.max(other.most),
            most_in_calm: self.most_in_calm.max(other.most_in_calm),
        }
    }
}

/// Versions, each from a moment on.
#[derive(Default)]
struct Floors(Vec<(Micros, Version)>);

impl Floors {
    fn seal(&mut self) {
        self.0.sort_unstable();
        let mut highest = 0;
        for (_, version) in &mut self.0 {
            highest = highest.max(*version);
            *version = highest;
        }
    }

    /// The highest one promised at or before this moment, and since when.
    fn at(&self, moment: Micros) -> (Version, Micros) {
        let count = self.0.partition_point(|(from, _)| *from < moment);
        let Some((_, version)) = count.checked_sub(1).map(|last| self.0[last]) else {
            return (0, 0);
        };
        let first = self.0.partition_point(|(_, other)| *other < version);
        (version, self.0[first].0)
    }
}

/// Sorted windows without overlap, those less than `gap` apart taken together.
fn merged(windows: &[Window], gap: Micros) -> Vec<Window> {
    let mut sorted = windows.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<Window> = Vec::new();
    for (from, to) in sorted {
        match merged.last_mut() {
            Some(last) if from <= last.1 + gap => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

/// The first of these windows that reaches into this one.
fn touching(windows: &[Window], (from, to): Window) -> Option<Window> {
    let first = windows.partition_point(|window| window.1 < from);
    windows.get(first).copied().filter(|window| window.0 <= to)
}

/// When each seat was disturbed, in the two ways that matter.
pub(crate) struct Weather {
    bounds: Bounds,
    silent: Vec<Vec<Window>>,
    shaken: Vec<Vec<Window>>,
    outages: Vec<Vec<Window>>,
    frozen: Vec<Window>,
    two: Vec<Window>,
}

/// Longer than the origin takes for what it answers at all.
const ON_ITS_WAY: Micros = 500_000;

impl Weather {
    pub(crate) fn of(history: &History, bounds: Bounds) -> Self {
        let longer = |windows: &Vec<Window>| {
            let late: Vec<_> = windows.iter().map(|(a, b)| (*a, b + bounds.recovery)).collect();
            merged(&late, 0)
        };
        Self {
            bounds,
            silent: history.silent.iter().map(|w| merged(w, 0)).collect(),
            shaken: history.disturbed.iter().map(longer).collect(),
            outages: history.disturbed.iter().map(|w| merged(w, bounds.grace)).collect(),
            frozen: merged(&history.frozen, ON_ITS_WAY),
            two: merged(&history.two, 0),
        }
    }

    /// From when on a write is promised to who shows its position.
    fn shown(&self, acked: Micros) -> Micros {
        let since = acked.saturating_sub(self.bounds.strict);
        let two = touching(&self.two, (since, acked)).is_some();
        if two { acked + self.bounds.strict } else { acked }
    }

    /// When whatever the origin had begun to answer by `from` had come, also to a process that was
    /// frozen.
    fn arrived(&self, from: Micros) -> Micros {
        let frozen = touching(&self.frozen, (from, from + ON_ITS_WAY));
        frozen.map_or(from, |(_, end)| end.max(from))
    }

    /// When a record written before `from` has reached this seat.
    fn reaches(&self, seat: Seat, from: Micros) -> Micros {
        from + if self.is_calm(seat, from) { self.bounds.propagation } else { self.bounds.lease }
    }

    /// When what this seat owes since `from` has been paid.
    fn paid(&self, seat: Seat, from: Micros) -> Micros {
        let outage = touching(&self.outages[usize::from(seat)], (from, from + self.bounds.grace));
        outage.map_or(from, |(_, end)| end.max(from)) + self.bounds.grace
    }

    /// From when on this seat doubts what it has, if it was cut off at `from` for longer than its
    /// lease, and this lasted until `other` could pay.
    fn doubts(&self, seat: Seat, other: Seat, from: Micros) -> Option<Micros> {
        let (start, end) = touching(self.silent.get(usize::from(seat))?, (from, from))?;
        let outage = touching(&self.outages[usize::from(other)], (from, from + self.bounds.grace));
        let ends_with_it = outage.is_none_or(|(_, until)| until <= end);
        (end - start > self.bounds.lease && ends_with_it).then_some(from + self.bounds.lease)
    }

    /// Was this seat calm at this moment?
    pub(crate) fn is_calm(&self, seat: Seat, at: Micros) -> bool {
        let around = (at.saturating_sub(self.bounds.propagation), at + self.bounds.propagation);
        touching(&self.shaken[usize::from(seat)], around).is_none()
    }

    /// The part of this time in which the seat was calm.
    pub(crate) fn calm_share(&self, seat: Seat, until: Micros) -> f64 {
        let shaken: Micros = self.shaken[usize::from(seat)]
            .iter()
            .map(|(from, to)| (*to).min(until).saturating_sub(*from))
            .sum();
        1.0 - shaken as f64 / until.max(1) as f64
    }
}

/// From when on `ack` is promised to who reads in `seat`, in another process than its own; `None`:
/// never, its debt was lost.
fn promised(history: &History, weather: &Weather, ack: &Ack, seat: Seat) -> Option<Micros> {
    let (own, died) = history.processes[usize::from(ack.process)];
    match (history.promises[usize::from(ack.key)], ack.standing) {
        (Promise::Lifetime(lifetime), _) => Some(weather.arrived(ack.acked) + lifetime),
        (Promise::Strict, Standing::Recorded) if weather.is_calm(seat, ack.acked) => {
            Some(ack.acked)
        }
        (Promise::Strict, Standing::Recorded) => Some(ack.acked + weather.bounds.strict),
        (Promise::Bounded, Standing::Recorded) => Some(weather.reaches(seat, ack.acked)),
        (Promise::Bounded | Promise::Strict, Standing::Owed) => {
            let asked = history.settled.get(usize::from(ack.process)).map_or(&[][..], |s| s);
            let settled = asked.get(asked.partition_point(|(from, _)| *from < ack.acked));
            let due = weather.paid(own, ack.acked);
            let paid = settled.map_or(due, |(_, told)| due.min(*told));
            let alive = died.is_none_or(|died| died > paid);
            let known = weather.reaches(seat, paid);
            let doubted = weather.doubts(seat, own, ack.acked);
            alive.then(|| doubted.map_or(known, |doubted| known.min(doubted)))
        }
    }
}

/// Judges everything. O(n log n).
pub(crate) fn judge(history: &History, bounds: Bounds) -> Verdict {
    let weather = Weather::of(history, bounds);
    let seats = history.disturbed.len();
    let mut verdict =
        Verdict { stalest: vec![Stalest::default(); history.promises.len()], ..Verdict::default() };
    let mut others: Vec<Floors> = Vec::new();
    others.resize_with(history.promises.len() * seats, Floors::default);
    let mut own: HashMap<(Key, Process), Floors> = HashMap::new();
    for ack in &history.acks {
        for seat in 0..seats {
            match promised(history, &weather, ack, seat as Seat) {
                Some(from) => {
                    others[usize::from(ack.key) * seats + seat].0.push((from, ack.version));
                }
                None if seat == 0 => verdict.lost_debts.push(*ack),
                None => {}
            }
        }
        if !matches!(history.promises[usize::from(ack.key)], Promise::Lifetime(_)) {
            let floors = own.entry((ack.key, ack.process)).or_default();
            floors.0.push((ack.acked, ack.version));
        }
    }
    others.iter_mut().chain(own.values_mut()).for_each(Floors::seal);
    let overtaken = overtaken(history);
    let acked: HashMap<(Key, Version), Micros> =
        history.acks.iter().map(|ack| ((ack.key, ack.version), ack.acked)).collect();
    let shown = |read: &Read| {
        let acked = acked.get(&(read.key, read.shown)).copied().unwrap_or_default();
        if weather.shown(acked) <= read.invoked { (read.shown, read.invoked) } else { (0, 0) }
    };
    for read in &history.reads {
        let (seat, _) = history.processes[usize::from(read.process)];
        let there = others[usize::from(read.key) * seats + usize::from(seat)].at(read.invoked);
        let here = own.get(&(read.key, read.process)).map_or((0, 0), |f| f.at(read.invoked));
        let (floor, since) = there.max(here).max(shown(read));
        verdict.demanding += usize::from(floor > 0);
        let exists = read.version == 0
            || history.applied[usize::from(read.key)]
                .get(read.version as usize - 1)
                .is_some_and(|applied| *applied <= read.returned);
        if read.version < floor || !exists {
            let promised = exists.then_some(since);
            verdict.violations.push(Violation { read: *read, floor, promised });
        }
        let overtaken = &overtaken[usize::from(read.key)];
        let since = overtaken.get(read.version as usize).copied().unwrap_or(Micros::MAX);
        if since < read.invoked {
            let calm = weather.is_calm(seat, since);
            verdict.stalest[usize::from(read.key)].note(read.invoked - since, calm);
        }
    }
    verdict
}

/// By key and version, from 0: when something newer was first acknowledged.
fn overtaken(history: &History) -> Vec<Vec<Micros>> {
    let mut all: Vec<Vec<Micros>> =
        history.applied.iter().map(|versions| vec![Micros::MAX; versions.len() + 1]).collect();
    for ack in &history.acks {
        let by_version = &mut all[usize::from(ack.key)];
        let before = (ack.version as usize).saturating_sub(1);
        if let Some(first) = by_version.get_mut(before) {
            *first = (*first).min(ack.acked);
        }
    }
    for by_version in &mut all {
        let mut soonest = Micros::MAX;
        for since in by_version.iter_mut().rev() {
            soonest = soonest.min(*since);
            *since = soonest;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;
    const BOUNDS: Bounds = Bounds {
        propagation: SECOND / 4,
        lease: 2 * SECOND,
        strict: 0,
        grace: 2 * SECOND,
        recovery: 3 * SECOND,
    };

    /// Two seats, a process each; key 0 is bounded, key 1 strict, key 2 lives for five seconds.
    /// All are changed at 10 s, and that is acknowledged through process 0 at 11 s.
    fn world(standing: Standing) -> History {
        let acks =
            [0, 1, 2].map(|key| Ack { acked: 11 * SECOND, version: 1, key, process: 0, standing });
        History {
            acks: acks.to_vec(),
            promises: vec![Promise::Bounded, Promise::Strict, Promise::Lifetime(5 * SECOND)],
            applied: vec![vec![10 * SECOND]; 3],
            disturbed: vec![Vec::new(); 2],
            processes: vec![(0, None), (1, None)],
            ..History::default()
        }
    }

    fn old(key: Key, process: Process, invoked: Micros) -> Read {
        let returned = invoked + 1000;
        Read { invoked, returned, version: 0, shown: 0, key, process, hit: true, detailed: false }
    }

    /// From which tenth of a second on reading the old is a violation; each tenth is tried.
    fn allowed_until(history: &mut History, key: Key, process: Process) -> Option<f64> {
        let tenths = 0..400;
        history.reads = tenths.map(|n| old(key, process, n * SECOND / 10 + 1)).collect();
        let found = judge(history, BOUNDS).violations;
        let first = found.first().map(|v| v.read.invoked / (SECOND / 10));
        let unbroken = found.iter().zip(first.unwrap_or_default()..);
        assert!(unbroken.clone().all(|(v, n)| v.read.invoked / (SECOND / 10) == n));
        first.map(|n| n as f64 / 10.0)
    }

    #[test]
    fn a_recorded_write_is_promised_here_at_once_and_over_there_soon() {
        let mut history = world(Standing::Recorded);
        assert_eq!(allowed_until(&mut history, 0, 0), Some(11.0));
        assert_eq!(allowed_until(&mut history, 0, 1), Some(11.3));
        assert_eq!(allowed_until(&mut history, 1, 1), Some(11.0), "strict");
        assert_eq!(allowed_until(&mut history, 2, 0), Some(16.0), "its lifetime");
        history.frozen = vec![(11 * SECOND + SECOND / 10, 13 * SECOND)];
        assert_eq!(allowed_until(&mut history, 2, 0), Some(18.0), "from when it came");
        history.frozen = vec![(12 * SECOND, 13 * SECOND)];
        assert_eq!(allowed_until(&mut history, 2, 0), Some(16.0), "it had come before");
    }

    #[test]
    fn who_was_disturbed_has_its_lease_and_nobody_else() {
        for window in [(5, 9), (9, 12), (11, 20)] {
            let mut history = world(Standing::Recorded);
            history.disturbed[1] = vec![(window.0 * SECOND, window.1 * SECOND)];
            assert_eq!(allowed_until(&mut history, 0, 1), Some(13.0), "{window:?}");
            assert_eq!(allowed_until(&mut history, 0, 0), Some(11.0), "{window:?}");
            assert_eq!(allowed_until(&mut history, 1, 1), Some(11.0), "{window:?}");
        }
        let mut history = world(Standing::Recorded);
        history.disturbed[1] = vec![(0, 7 * SECOND), (12 * SECOND, 20 * SECOND)];
        assert_eq!(allowed_until(&mut history, 0, 1), Some(11.3), "calm at the time");
    }

    #[test]
    fn a_debt_is_promised_to_others_once_it_can_be_paid() {
        let mut history = world(Standing::Owed);
        assert_eq!(allowed_until(&mut history, 0, 0), Some(11.0));
        assert_eq!(allowed_until(&mut history, 0, 1), Some(13.3));
        history.disturbed[0] = vec![
            (10 * SECOND, 15 * SECOND),
            (16 * SECOND, 20 * SECOND),
            (30 * SECOND, 31 * SECOND),
        ];
        assert_eq!(allowed_until(&mut history, 0, 1), Some(22.3));
        assert_eq!(allowed_until(&mut history, 1, 1), Some(22.3), "nobody knows of it");
        history.processes[0].1 = Some(21 * SECOND);
        assert_eq!(allowed_until(&mut history, 0, 1), None, "it died first");
        assert_eq!(judge(&history, BOUNDS).lost_debts.len(), 2);
        history.settled = vec![vec![(10 * SECOND, 12 * SECOND), (15 * SECOND, 17 * SECOND)]];
        assert_eq!(allowed_until(&mut history, 0, 1), Some(17.3), "it said that it had paid");
        history.settled.clear();
        history.processes[0].1 = Some(23 * SECOND);
        assert_eq!(allowed_until(&mut history, 0, 1), Some(22.3));
    }

    #[test]
    fn who_was_cut_off_as_long_as_the_debtor_doubts_after_its_lease() {
        let mut history = world(Standing::Owed);
        history.disturbed = vec![vec![(10 * SECOND, 15 * SECOND)]; 2];
        assert_eq!(allowed_until(&mut history, 0, 1), Some(19.0), "it may have heard something");
        history.silent = history.disturbed.clone();
        assert_eq!(allowed_until(&mut history, 0, 1), Some(13.0));
        history.silent[1] = vec![(10 * SECOND, 14 * SECOND)];
        assert_eq!(allowed_until(&mut history, 0, 1), Some(19.0), "it hears Valkey sooner");
        history.disturbed = vec![vec![(10 * SECOND, 12 * SECOND)]; 2];
        history.silent = history.disturbed.clone();
        assert_eq!(allowed_until(&mut history, 0, 1), Some(16.0), "it need not have doubted");
    }

    #[test]
    fn another_process_in_the_same_place_is_promised_what_others_are() {
        let mut history = world(Standing::Recorded);
        history.processes.push((0, None));
        assert_eq!(allowed_until(&mut history, 0, 2), Some(11.3));
    }

    #[test]
    fn what_was_shown_is_promised_whatever_the_weather() {
        let mut history = world(Standing::Recorded);
        history.disturbed[1] = vec![(0, 40 * SECOND)];
        history.reads = vec![Read { shown: 1, ..old(0, 1, 11 * SECOND + 1) }];
        assert_eq!(judge(&history, BOUNDS).violations.len(), 1);
    }

    #[test]
    fn what_was_shown_while_there_were_two_primaries_is_promised_later() {
        let bounds = Bounds { strict: SECOND, ..BOUNDS };
        let mut history = world(Standing::Recorded);
        history.disturbed[1] = vec![(0, 40 * SECOND)];
        let shown = |at| Read { shown: 1, ..old(0, 1, at) };
        history.reads = vec![shown(11 * SECOND + 1), shown(12 * SECOND)];
        assert_eq!(judge(&history, bounds).violations.len(), 2);
        for (window, found) in [((12, 13), 2), ((5, 9), 2), ((5, 10), 1), ((11, 20), 1)] {
            history.two = vec![(window.0 * SECOND, window.1 * SECOND)];
            assert_eq!(judge(&history, bounds).violations.len(), found, "{window:?}");
        }
    }

    #[test]
    fn a_version_from_nowhere_is_a_violation() {
        let mut history = world(Standing::Recorded);
        history.reads = vec![
            Read { version: 1, ..old(0, 1, 9 * SECOND) },
            Read { version: 2, ..old(0, 1, 12 * SECOND) },
            Read { version: 1, ..old(0, 1, 12 * SECOND) },
        ];
        let found = judge(&history, BOUNDS).violations;
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|violation| violation.promised.is_none()));
    }

    #[test]
    fn staleness_is_told_whether_or_not_it_is_allowed() {
        let mut history = world(Standing::Recorded);
        let newer = Ack { version: 2, acked: 12 * SECOND, ..history.acks[0] };
        history.acks.push(newer);
        history.applied[0].push(11 * SECOND);
        history.reads = vec![
            old(0, 1, 10 * SECOND),
            old(0, 1, 11 * SECOND + 7),
            Read { version: 1, ..old(0, 1, 12 * SECOND + 3) },
            Read { version: 2, ..old(0, 1, 20 * SECOND) },
        ];
        let verdict = judge(&history, BOUNDS);
        assert_eq!(verdict.stalest[0], Stalest { reads: 2, most: 7, most_in_calm: 7 });
        assert_eq!((verdict.violations.len(), verdict.demanding), (0, 2));
    }

    #[test]
    fn windows_are_merged_and_found() {
        let windows = merged(&[(30, 40), (0, 10), (12, 20), (5, 7)], 2);
        assert_eq!(windows, [(0, 20), (30, 40)]);
        assert_eq!(touching(&windows, (21, 29)), None);
        assert_eq!(touching(&windows, (20, 29)), Some((0, 20)));
        assert_eq!(touching(&windows, (25, 30)), Some((30, 40)));
        assert_eq!(touching(&windows, (41, 50)), None);
    }
}
