//! What is printed of a run: figures, and each violation with what stood around it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::history::{Bounds, History, Micros, Stalest, Standing, Verdict, Violation, Weather};
use crate::load::Seen;
use crate::nemesis::Done;
use crate::routes::{KINDS, kind_of, path_of};
use crate::world::SEATS;

/// Violations that are told in full.
const TOLD: usize = 10;

/// Everything that there is to say.
pub(crate) struct Report<'r> {
    pub(crate) seed: u64,
    pub(crate) took: Micros,
    pub(crate) history: &'r History,
    pub(crate) bounds: Bounds,
    pub(crate) verdict: &'r Verdict,
    pub(crate) faults: &'r [Done],
    pub(crate) seen: &'r [Seen],
    /// Requests that the origin got.
    pub(crate) asked: u64,
    /// GETs that were not answered with a version.
    pub(crate) failed: u64,
    pub(crate) unanswered: usize,
    pub(crate) stalls: usize,
}

impl Report<'_> {
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.figures(&mut text).expect("a string takes everything");
        self.violations(&mut text).expect("a string takes everything");
        text
    }

    fn figures(&self, text: &mut String) -> std::fmt::Result {
        let Self { history, verdict, .. } = self;
        let hits = history.reads.iter().filter(|read| read.hit).count();
        let owed = history.acks.iter().filter(|ack| ack.standing == Standing::Owed).count();
        writeln!(text, "seed {}, {}", self.seed, seconds(self.took))?;
        writeln!(
            text,
            "reads      {} checked ({} of them could have failed), {} not answered; hit ratio {:.1} %; the origin was asked {} times",
            history.reads.len(),
            verdict.demanding,
            self.failed,
            100.0 * hits as f64 / history.reads.len().max(1) as f64,
            self.asked
        )?;
        writeln!(
            text,
            "writes     {} acknowledged, {owed} of them owed or unclear, {} debts lost with their process; {} not answered",
            history.acks.len(),
            verdict.lost_debts.len(),
            self.unanswered
        )?;
        let mut kinds = BTreeMap::new();
        self.faults.iter().for_each(|done| *kinds.entry(done.kind).or_insert(0) += 1);
        writeln!(
            text,
            "faults     {}: {kinds:?}; {} stalls of this machine",
            self.faults.len(),
            self.stalls
        )?;
        let weather = Weather::of(history, self.bounds);
        let calm = (0..SEATS).map(|seat| weather.calm_share(seat as u8, self.took)).sum::<f64>();
        writeln!(
            text,
            "calm       {:.0} % of the time of the three seats",
            100.0 * calm / SEATS as f64
        )?;
        self.propagation(text, &weather)?;
        for (number, kind) in KINDS.iter().enumerate() {
            let of_kind = verdict.stalest.iter().skip(number).step_by(KINDS.len());
            let all = of_kind.fold(Stalest::default(), Stalest::with);
            writeln!(
                text,
                "staleness  {:<12} greatest {:>10}, in calm weather {:>9}; {} reads were behind what was acknowledged",
                kind.name,
                millis(all.most),
                millis(all.most_in_calm),
                all.reads
            )?;
        }
        writeln!(text, "violations {}", verdict.violations.len())
    }

    fn propagation(&self, text: &mut String, weather: &Weather) -> std::fmt::Result {
        let calm = self.seen.iter().filter(|seen| weather.is_calm(seen.seat, seen.acked));
        let mut after: Vec<Micros> = calm.map(|seen| seen.after).collect();
        after.sort_unstable();
        let at = |share: f64| {
            let index = (after.len() as f64 * share) as usize;
            millis(after.get(index.min(after.len().saturating_sub(1))).copied().unwrap_or(0))
        };
        writeln!(
            text,
            "propagation p50 {}, p99 {}, most {} ({} probes in calm weather)",
            at(0.5),
            at(0.99),
            at(1.0),
            after.len()
        )
    }

    fn violations(&self, text: &mut String) -> std::fmt::Result {
        for violation in self.verdict.violations.iter().take(TOLD) {
            self.violation(text, violation)?;
        }
        Ok(())
    }

    /// One of them, with the writes, reads and faults around it.
    fn violation(
        &self,
        text: &mut String,
        Violation { read, floor, promised }: &Violation,
    ) -> std::fmt::Result {
        let (seat, _) = self.history.processes[usize::from(read.process)];
        writeln!(
            text,
            "\n--- {} {} through seat {seat} (process {}), {} to {}: read {}, floor {floor}, promised since {}, shown {}, hit {}, detailed {}",
            kind_of(read.key).name,
            path_of(read.key, 0),
            read.process,
            seconds(read.invoked),
            seconds(read.returned),
            read.version,
            promised.map_or_else(|| "never: from nowhere".to_owned(), seconds),
            read.shown,
            read.hit,
            read.detailed
        )?;
        let around = |at: Micros| at + 4_000_000 > read.invoked && at < read.returned + 500_000;
        for ack in self.history.acks.iter().filter(|a| a.key == read.key && around(a.acked)) {
            let at = self.history.applied[usize::from(ack.key)][ack.version as usize - 1];
            let place = self.history.processes[usize::from(ack.process)].0;
            writeln!(
                text,
                "  write {} through seat {place} (process {}), applied {}, acknowledged {}, {:?}",
                ack.version,
                ack.process,
                seconds(at),
                seconds(ack.acked),
                ack.standing
            )?;
        }
        let mut reads: Vec<_> =
            self.history.reads.iter().filter(|r| r.key == read.key && around(r.invoked)).collect();
        reads.sort_by_key(|read| read.invoked);
        let here = reads.partition_point(|r| r.invoked < read.invoked);
        for r in reads.iter().skip(here.saturating_sub(8)).take(16) {
            writeln!(
                text,
                "  read {} through process {}, {} to {}, hit {}",
                r.version,
                r.process,
                seconds(r.invoked),
                seconds(r.returned),
                r.hit
            )?;
        }
        for done in self.faults.iter().filter(|done| around(done.to) || around(done.from)) {
            writeln!(
                text,
                "  fault {:?} of {}, {} to {}",
                done.kind,
                done.seat,
                seconds(done.from),
                seconds(done.to)
            )?;
        }
        Ok(())
    }
}

fn seconds(at: Micros) -> String {
    format!("{:.6} s", at as f64 / 1e6)
}

fn millis(time: Micros) -> String {
    format!("{:.2} ms", time as f64 / 1e3)
}
