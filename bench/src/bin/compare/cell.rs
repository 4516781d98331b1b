//! One figure: a server, asked for a while, with what was seen from outside before and after.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::load::Report;
use crate::server::Server;
use crate::table::Row;
use crate::{Bench, Outcome, proc};

/// What was measured. Everything is a number, so that the median of several is taken field by field.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cell {
    /// Load average of the last minute, before.
    pub load_average: f64,
    /// Share of all cores that processes of others used meanwhile.
    pub others: f64,
    pub seconds: f64,
    pub requests: f64,
    pub errors: f64,
    /// Requests per second.
    pub rate: f64,
    /// Bytes of content per second.
    pub bytes_rate: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
    /// Microseconds of processor per request: the server's process tree.
    pub cpu_us: f64,
    /// The same for the Valkey behind.
    pub beside_cpu_us: f64,
    /// Resident afterwards.
    pub resident_kib: f64,
    /// Contents in files of a tmpfs, which count towards no process.
    pub files_kib: f64,
    /// Requests that reached the origin.
    pub origin_requests: f64,
    /// The most of them at once.
    pub origin_concurrent: f64,
    /// What only one scenario has.
    pub more: BTreeMap<String, f64>,
}

impl Bench {
    /// Runs `load` against a server, and looks at it before and after.
    pub fn cell(&self, server: &Server, load: impl FnOnce() -> Outcome<Report>) -> Outcome<Cell> {
        let load_average = proc::load_average();
        self.counts()?;
        let beside = server.beside.as_ref().map(|running| running.id());
        let used = || {
            (
                proc::cpu_seconds(server.running.id()),
                beside.map_or(0.0, proc::cpu_seconds),
                proc::busy_seconds(),
                proc::own_cpu_seconds(),
            )
        };
        let (clock, before) = (std::time::Instant::now(), used());
        let report = load()?;
        let (after, elapsed) = (used(), clock.elapsed().as_secs_f64());
        let counts = self.counts()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let others = (after.2 - before.2) - (after.3 - before.3);
        let requests = (report.requests as f64).max(1.0);
        Ok(Cell {
            load_average,
            others: (others / elapsed / cores).max(0.0),
            seconds: report.seconds,
            requests: report.requests as f64,
            errors: report.errors as f64,
            rate: report.requests as f64 / report.seconds,
            bytes_rate: report.bytes as f64 / report.seconds,
            p50_us: report.p50_us as f64,
            p99_us: report.p99_us as f64,
            max_us: report.max_us as f64,
            cpu_us: (after.0 - before.0) * 1e6 / requests,
            beside_cpu_us: (after.1 - before.1) * 1e6 / requests,
            resident_kib: proc::resident_kib(server.running.id()) as f64,
            files_kib: server.files.as_deref().map_or(0, proc::files_kib) as f64,
            origin_requests: counts.requests as f64,
            origin_concurrent: counts.concurrent as f64,
            more: report.more,
        })
    }

    /// Every row in turn, again and again; first once for nothing, so that all are warm.
    pub fn turns(
        &self,
        turns: &[Turn<'_>],
        load: impl Fn(&Turn<'_>, f64) -> Outcome<Report>,
    ) -> Outcome<Vec<Row>> {
        for turn in turns {
            load(turn, 1.0)?;
        }
        self.turns_cold(turns, self.rounds(), |turn, _| load(turn, self.seconds()))
    }

    /// The same without the first time; the load is told which round it is.
    pub fn turns_cold(
        &self,
        turns: &[Turn<'_>],
        rounds: usize,
        load: impl Fn(&Turn<'_>, usize) -> Outcome<Report>,
    ) -> Outcome<Vec<Row>> {
        let mut rows: Vec<Row> = turns.iter().map(|turn| Row::new(&turn.label)).collect();
        for round in 0..rounds {
            for (turn, row) in turns.iter().zip(&mut rows) {
                row.cells.push(self.cell(turn.server, || load(turn, round))?);
            }
        }
        rows.iter_mut().for_each(Row::settle);
        Ok(rows)
    }
}

/// A row to be: a server, under the name it has in the table.
pub struct Turn<'a> {
    pub label: String,
    pub server: &'a Server,
}

impl<'a> Turn<'a> {
    pub fn new(label: &str, server: &'a Server) -> Self {
        Self { label: label.to_owned(), server }
    }

    /// All of them, each under its own name.
    pub fn of_all(servers: &'a [Server]) -> Vec<Self> {
        servers.iter().map(|server| Self::new(server.kind.name(), server)).collect()
    }
}

impl Cell {
    /// Field by field.
    pub fn median(cells: &[Self]) -> Self {
        let of = |field: fn(&Self) -> f64| median(cells.iter().map(field).collect());
        let names = cells.iter().flat_map(|cell| cell.more.keys());
        Self {
            load_average: of(|cell| cell.load_average),
            others: of(|cell| cell.others),
            seconds: of(|cell| cell.seconds),
            requests: of(|cell| cell.requests),
            errors: cells.iter().map(|cell| cell.errors).sum(),
            rate: of(|cell| cell.rate),
            bytes_rate: of(|cell| cell.bytes_rate),
            p50_us: of(|cell| cell.p50_us),
            p99_us: of(|cell| cell.p99_us),
            max_us: of(|cell| cell.max_us),
            cpu_us: of(|cell| cell.cpu_us),
            beside_cpu_us: of(|cell| cell.beside_cpu_us),
            resident_kib: of(|cell| cell.resident_kib),
            files_kib: of(|cell| cell.files_kib),
            origin_requests: of(|cell| cell.origin_requests),
            origin_concurrent: cells.iter().map(|cell| cell.origin_concurrent).fold(0.0, f64::max),
            more: names
                .map(|name| {
                    let values = cells.iter().filter_map(|cell| cell.more.get(name).copied());
                    (name.clone(), median(values.collect()))
                })
                .collect(),
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => 0.0,
    }
}
