//! The load: one function per tool, all with the same report.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use larder_bench::histogram::Histogram;
use serde::Deserialize;

use crate::server::Server;
use crate::{Bench, Outcome};

/// What a load found.
#[derive(Debug, Default, Clone, Deserialize)]
pub struct Report {
    pub requests: u64,
    pub seconds: f64,
    pub bytes: u64,
    pub errors: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
    #[serde(default)]
    pub windows: Vec<Window>,
    #[serde(default)]
    pub slow_bytes: u64,
    /// When the last of a crowd had been sent.
    #[serde(default)]
    pub sent_us: u64,
    /// How many of the requests were writes.
    #[serde(default)]
    pub writes: u64,
    #[serde(skip)]
    pub more: BTreeMap<String, f64>,
}

/// A part of a run.
#[derive(Debug, Default, Clone, Deserialize)]
pub struct Window {
    pub requests: u64,
    pub p50_us: u64,
    pub p99_us: u64,
}

/// Requests of the origin, and the most at once, since this was last asked.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
pub struct Counts {
    pub requests: u64,
    pub concurrent: u64,
}

/// Connections of a closed loop, for every server alike.
const CONNECTIONS: &str = "64";

impl Bench {
    /// wrk with one of the scripts in bench/wrk/.
    pub fn wrk(
        &self,
        server: &Server,
        seconds: f64,
        script: &str,
        path: &str,
        more: &[&str],
    ) -> Outcome<Report> {
        // wrk takes whole seconds.
        let duration = format!("-d{}s", seconds.round().max(1.0));
        let mut command = self.bounded("wrk", seconds + 30.0);
        command.args(["-t1", "-c", CONNECTIONS, &duration, "--timeout", "10s", "-s"]);
        command.arg(self.bench.join("wrk").join(script));
        command.arg(format!("http://{}{path}", server.address)).arg("--").args(more);
        let told = told_by(command)?;
        let line = told.lines().find_map(|line| line.strip_prefix("RESULT "));
        let line = line.ok_or_else(|| format!("wrk said no result: {told}"))?;
        Ok(serde_json::from_str(line)?)
    }

    /// The generator of this crate.
    pub fn load(&self, arguments: &[String]) -> Outcome<Report> {
        let program = self.own("load");
        let mut command = self.bounded(program.to_str().ok_or("not UTF-8")?, 600.0);
        command.args(arguments);
        let mut report: Report = serde_json::from_str(&told_by(command)?)?;
        if report.writes > 0 {
            report.more.insert("writes".into(), report.writes as f64);
        }
        Ok(report)
    }

    /// Every key once, so that it is stored.
    pub fn fill(
        &self,
        server: &Server,
        prefix: &str,
        keys: usize,
        connections: usize,
    ) -> Outcome<Report> {
        let report = self.load(&[
            "fill".into(),
            server.address.to_string(),
            prefix.into(),
            format!("--keys={keys}"),
            format!("--connections={connections}"),
        ])?;
        if report.errors > 0 {
            return Err(format!(
                "{}: {} errors while it was filled",
                server.kind.name(),
                report.errors
            )
            .into());
        }
        Ok(report)
    }

    /// h2load: 10 connections with 32 streams each.
    pub fn h2load(&self, server: &Server, seconds: f64, path: &str) -> Outcome<Report> {
        let log = self.work.join("h2load.log");
        let _ = fs::remove_file(&log);
        let mut command = self.bounded("h2load", seconds + 30.0);
        command.args(["-c10", "-m32", "-t1", "-D", &seconds.round().max(1.0).to_string()]);
        command.arg(format!("--log-file={}", log.display()));
        command.arg(format!("http://{}{path}", server.h2));
        let told = told_by(command)?;
        let mut report = Report { seconds: seconds.round().max(1.0), ..Report::default() };
        let mut times = Histogram::new();
        for line in fs::read_to_string(&log)?.lines() {
            let mut words = line.split('\t').skip(1);
            let (status, took) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            if status.starts_with('2') {
                times.record(took.parse().unwrap_or(0));
            }
        }
        // What was under way when time was up is neither.
        report.requests = times.len();
        report.errors = number_before(&told, " failed,").unwrap_or(0);
        (report.p50_us, report.p99_us) = (times.percentile(0.5), times.percentile(0.99));
        report.max_us = times.max();
        let _ = fs::remove_file(&log);
        Ok(report)
    }

    /// valkey-benchmark, unpipelined, for the floor.
    pub fn valkey_get(&self, server: &Server, seconds: f64, keys: usize) -> Outcome<Report> {
        let count = (40_000.0 * seconds) as u64;
        let told = self.valkey_benchmark(server, "get", count, keys)?;
        let line =
            told.lines().find(|line| line.starts_with("\"GET\"")).ok_or("no line for GET")?;
        let numbers: Vec<f64> =
            line.split(',').filter_map(|word| word.trim_matches('"').parse().ok()).collect();
        let at = |index: usize| numbers.get(index).copied().unwrap_or(0.0);
        Ok(Report {
            requests: count,
            seconds: count as f64 / at(0).max(1.0),
            bytes: count * 1000,
            p50_us: (at(3) * 1000.0) as u64,
            p99_us: (at(5) * 1000.0) as u64,
            max_us: (at(6) * 1000.0) as u64,
            ..Report::default()
        })
    }

    /// The values that `valkey_get` reads.
    pub fn valkey_fill(&self, server: &Server, keys: usize) -> Outcome<()> {
        self.valkey_benchmark(server, "set", keys as u64 * 10, keys).map(drop)
    }

    fn valkey_benchmark(
        &self,
        server: &Server,
        test: &str,
        count: u64,
        keys: usize,
    ) -> Outcome<String> {
        let port = server.valkey.ok_or("no Valkey")?.to_string();
        let mut command = self.bounded("valkey-benchmark", 120.0);
        command.args(["-p", &port, "-t", test, "-d", "1000", "-c", CONNECTIONS, "--csv"]);
        command.args(["-n", &count.to_string()]);
        if keys > 1 {
            command.args(["-r", &keys.to_string()]);
        }
        told_by(command)
    }

    /// `used_memory` of the Valkey behind.
    pub fn valkey_memory(&self, server: &Server) -> Outcome<u64> {
        let port = server.valkey.ok_or("no Valkey")?.to_string();
        let mut command = Command::new("valkey-cli");
        command.args(["-p", &port, "info", "memory"]);
        let told = told_by(command)?;
        let line = told.lines().find_map(|line| line.strip_prefix("used_memory:"));
        Ok(line.ok_or("no used_memory")?.trim().parse()?)
    }

    /// What the origin counted since it was last asked.
    pub fn counts(&self) -> Outcome<Counts> {
        let mut stream = TcpStream::connect(self.origin)?;
        stream.write_all(b"GET /-/counts HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(serde_json::from_str(body)?)
    }

    /// A command that ends after so many seconds, if not by itself.
    fn bounded(&self, program: &str, seconds: f64) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", &seconds.ceil().to_string()]);
        if self.options.pin {
            command.args(["taskset", "-c", "1"]);
        }
        command.arg(program);
        command
    }
}

fn told_by(mut command: Command) -> Outcome<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output()?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(told);
    }
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{command:?}: {}\n{told}{error}", output.status).into())
}

fn number_before(text: &str, mark: &str) -> Option<u64> {
    text.split(mark).next()?.rsplit([' ', ',']).next()?.parse().ok()
}
