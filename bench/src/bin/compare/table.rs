//! Tables: rows of servers, and what was asked of Larder beside each.

use std::fmt::Write;
use std::time::SystemTime;

use serde::Serialize;

use crate::cell::Cell;
use crate::{Bench, first_line, proc};

/// One server in one scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub server: String,
    pub median: Cell,
    pub cells: Vec<Cell>,
    pub targets: Vec<Target>,
}

/// One sentence that is true or not.
#[derive(Debug, Clone, Serialize)]
pub struct Target {
    pub says: String,
    pub found: f64,
    pub met: bool,
}

/// One scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    pub id: String,
    pub title: String,
    pub note: String,
    pub rows: Vec<Row>,
    /// Columns of `more` that this scenario has.
    pub more: Vec<String>,
    /// What is asked of no row in particular.
    pub targets: Vec<Target>,
}

/// All of it.
#[derive(Debug, Serialize)]
pub struct Run {
    pub name: String,
    pub date: String,
    pub machine: String,
    pub versions: Vec<(String, String)>,
    pub settings: String,
    pub load_average: f64,
    pub seconds: f64,
    pub failed: Vec<String>,
    pub tables: Vec<Table>,
}

impl Row {
    pub fn new(server: &str) -> Self {
        let (cells, targets) = (Vec::new(), Vec::new());
        Self { server: server.to_owned(), median: Cell::default(), cells, targets }
    }

    /// Takes the median of its cells.
    pub fn settle(&mut self) {
        self.median = Cell::median(&self.cells);
    }
}

impl Table {
    pub fn new(id: &str, title: &str, note: &str, rows: Vec<Row>) -> Self {
        let [id, title, note] = [id, title, note].map(str::to_owned);
        Self { id, title, note, rows, more: Vec::new(), targets: Vec::new() }
    }

    /// The median of a row; zeroes if there is no such row.
    pub fn of(&self, server: &str) -> Cell {
        let row = self.rows.iter().find(|row| row.server == server);
        row.map(|row| row.median.clone()).unwrap_or_default()
    }

    /// `found` shall be at most `bound`; said in a row, or below the table.
    pub fn at_most(&mut self, row: &str, what: &str, found: f64, bound: f64) {
        self.target(row, format!("{what} ≤ {bound}"), found, found <= bound);
    }

    /// `found` shall be at least `bound`.
    pub fn at_least(&mut self, row: &str, what: &str, found: f64, bound: f64) {
        self.target(row, format!("{what} ≥ {bound}"), found, found >= bound);
    }

    fn target(&mut self, row: &str, says: String, found: f64, met: bool) {
        // A division by what was not measured is no finding.
        let target = Target { says, found, met: met && found.is_finite() };
        match self.rows.iter_mut().find(|candidate| candidate.server == row) {
            Some(row) => row.targets.push(target),
            None => self.targets.push(target),
        }
    }

    pub fn markdown(&self) -> String {
        let mut text = format!("## {}. {}\n\n", self.id, self.title);
        if !self.note.is_empty() {
            let _ = writeln!(text, "{}\n", self.note);
        }
        let bytes = self.rows.iter().any(|row| row.median.bytes_rate > 50e6);
        let beside = self.rows.iter().any(|row| row.median.beside_cpu_us > 0.0);
        let mut heads = vec!["server", "requests/s"];
        heads.extend(bytes.then_some("MB/s"));
        heads.extend(["p50 ms", "p99 ms", "CPU µs/request"]);
        heads.extend(beside.then_some("… of its Valkey"));
        heads.extend(["CPU ÷ Larder", "requests/s ÷ Larder", "RSS MiB", "to the origin", "errors"]);
        heads.extend(self.more.iter().map(String::as_str));
        heads.extend(["others' CPU", "asked of Larder"]);
        let _ = writeln!(
            text,
            "| {} |\n|---{}|",
            heads.join(" | "),
            "|--:".repeat(heads.len() - 2) + "|---"
        );
        for row in &self.rows {
            let _ = writeln!(text, "| {} |", self.cells(row, bytes, beside).join(" | "));
        }
        for target in &self.targets {
            let _ = writeln!(text, "\n* {}", target.text());
        }
        text
    }

    fn cells(&self, row: &Row, bytes: bool, beside: bool) -> Vec<String> {
        let (cell, own) = (&row.median, self.rows.first().map(|row| &row.median));
        let ratio = |mine: f64, own: Option<f64>| match own {
            Some(own) if own > 0.0 && mine > 0.0 => format!("{:.2}", mine / own),
            _ => "".to_owned(),
        };
        let mut cells = vec![row.server.clone(), format!("{:.0}", cell.rate)];
        if bytes {
            cells.push(format!("{:.0}", cell.bytes_rate / 1e6));
        }
        cells.push(format!("{:.2}", cell.p50_us / 1e3));
        cells.push(format!("{:.2}", cell.p99_us / 1e3));
        cells.push(format!("{:.1}", cell.cpu_us));
        if beside {
            cells.push(if cell.beside_cpu_us > 0.0 {
                format!("{:.1}", cell.beside_cpu_us)
            } else {
                String::new()
            });
        }
        cells.push(ratio(cell.cpu_us, own.map(|own| own.cpu_us)));
        cells.push(ratio(cell.rate, own.map(|own| own.rate)));
        let files = match cell.files_kib {
            0.0 => String::new(),
            kib => format!(" + {:.0} in files", kib / 1024.0),
        };
        cells.push(format!("{:.0}{files}", cell.resident_kib / 1024.0));
        cells.push(format!("{:.0}", cell.origin_requests));
        cells.push(format!("{:.0}", cell.errors));
        for name in &self.more {
            cells.push(cell.more.get(name).map_or(String::new(), |value| figure(*value)));
        }
        cells.push(format!("{:.0} %", cell.others * 100.0));
        let targets: Vec<String> = row.targets.iter().map(Target::text).collect();
        cells.push(targets.join("; "));
        cells
    }
}

impl Target {
    fn text(&self) -> String {
        let verdict = if self.met { "met" } else { "**missed**" };
        format!("{}: {} {verdict}", self.says, figure(self.found))
    }
}

/// As many digits as mean something.
fn figure(value: f64) -> String {
    if value.abs() >= 100.0 || value == value.trunc() {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

impl Run {
    pub fn new(began: SystemTime, bench: &Bench) -> Self {
        let date = httpdate::fmt_http_date(began);
        let seconds =
            began.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let quick = if bench.options.quick { "-quick" } else { "" };
        let name = format!("{}-w{}{quick}", stamp(seconds), bench.options.workers);
        let settings = format!(
            "{} worker(s) per server, {} s per cell, median of {} rounds, {}",
            bench.options.workers,
            bench.seconds(),
            bench.rounds(),
            if bench.options.pin { "servers and load on a core each" } else { "nothing pinned" },
        );
        Self {
            name,
            date,
            machine: proc::machine(),
            versions: versions(bench),
            settings,
            load_average: proc::load_average(),
            seconds: 0.0,
            failed: Vec::new(),
            tables: Vec::new(),
        }
    }

    pub fn heading(&self) -> String {
        let mut text = format!("# Larder beside others, {}\n\n", self.date);
        let _ = writeln!(text, "* {}\n* {}", self.machine, self.settings);
        let _ = writeln!(
            text,
            "* load average at the start {:.2}; how much others used meanwhile stands in each row",
            self.load_average
        );
        for (name, version) in &self.versions {
            let _ = writeln!(text, "* {name}: {version}");
        }
        let _ = writeln!(
            text,
            "\nThe load runs on the same cores as the servers: CPU per request is the figure that counts, \
             requests/s only says who is ahead. How to read the columns: bench/README.md."
        );
        text
    }

    /// How many of the targets are met, and which are not.
    pub fn summary(&self) -> String {
        let mut text = "## Targets\n\n".to_owned();
        let (mut met, mut missed) = (0, Vec::new());
        for table in &self.tables {
            let rows = table.rows.iter().flat_map(|row| &row.targets);
            for target in rows.chain(&table.targets) {
                if target.met {
                    met += 1;
                } else {
                    missed.push(format!("* {}: {}\n", table.id, target.text()));
                }
            }
        }
        let _ = writeln!(text, "{met} met, {} missed, in {:.0} s.\n", missed.len(), self.seconds);
        text.push_str(&missed.concat());
        for failure in &self.failed {
            let _ = writeln!(text, "* not measured: {failure}");
        }
        text
    }
}

fn versions(bench: &Bench) -> Vec<(String, String)> {
    let larder = bench.options.larder.to_string_lossy();
    let commit = first_line("git", &["describe", "--always", "--dirty", "--abbrev=12"]);
    [
        ("Larder", format!("{} ({commit})", first_line(&larder, &["--version"]))),
        ("nginx", first_line("nginx", &["-v"])),
        ("HAProxy", first_line("haproxy", &["-v"])),
        ("Varnish", first_line("varnishd", &["-V"])),
        ("Valkey", first_line("valkey-server", &["--version"])),
        ("wrk", first_line("wrk", &["-v"])),
        ("h2load", first_line("h2load", &["--version"])),
    ]
    .map(|(name, version)| (name.to_owned(), version))
    .to_vec()
}

/// `2026-11-21T0855`, in UTC, for the name of a file.
fn stamp(seconds: u64) -> String {
    // Days since 0000-03-01, so that leap days are last in their year (H. Hinnant's arithmetic).
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let minutes = seconds % 86_400 / 60;
    format!("{year}-{month:02}-{of_month:02}T{:02}{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        assert_eq!(stamp(0), "1970-01-01T0000");
        assert_eq!(stamp(951_782_400), "2000-02-29T0000");
        assert_eq!(stamp(1_795_219_200 + 8 * 3600 + 55 * 60), "2026-11-21T0855");
    }
}
