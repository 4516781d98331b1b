//! What must stay bounded: refreshes at once, memory, and what many entries and routes cost.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::load::{Report, Window};
use crate::proc;
use crate::server::{Server, Shape};

use super::*;

/// What Larder refreshes at once, at most: `origin.max_refreshes`, at its default.
const REFRESHES: f64 = 32.0;

pub fn storm(bench: &Bench) -> Outcome<Vec<Table>> {
    let servers = bench.start(&[Larder, Tiered, Nginx, Varnish])?;
    let (keys, age, rate) = (10_000, if bench.options.quick { 4_u32 } else { 12 }, 3_000);
    let rows = bench.turns_cold(&Turn::of_all(&servers), bench.long_rounds(), |turn, round| {
        let prefix = format!("/b1000-d20-a{age}-w120/s{round}-");
        let filling = Instant::now();
        bench.fill(turn.server, &prefix, keys, 256)?;
        // The fill is not the storm: what the origin saw of it is forgotten.
        bench.counts()?;
        let filled = filling.elapsed().as_secs_f64();
        let (first, age) = ((f64::from(age) - filled).max(2.0), f64::from(age));
        let mut arguments = mix(turn.server, &prefix, keys, age + 4.0);
        arguments.extend(["--uniform".into(), format!("--rate={rate}")]);
        arguments.push(format!("--windows=0.5,{},{first},{}", first - 0.5, age + 4.0));
        let mut report = bench.load(&arguments)?;
        if let [quiet, storm] = report.windows.as_slice() {
            // A window in which nothing was answered has no p99, least of all a good one.
            let p99 = |window: &Window| {
                if window.requests == 0 { f64::NAN } else { window.p99_us as f64 }
            };
            let (quiet, storm) = (p99(quiet), p99(storm));
            report.more.insert("quiet p99 ms".into(), quiet / 1e3);
            report.more.insert("storm p99 ms".into(), storm / 1e3);
            report.more.insert("origin at once".into(), 0.0);
        }
        Ok(report)
    })?;
    let note = format!(
        "{rate} requests/s, evenly over {keys} keys, all of which pass their soft expiry within about a second; \
         latency counts from when a request was due. HAProxy serves nothing stale."
    );
    let mut table =
        Table::new("10", "soft expiry of 10,000 keys at once, origin of 20 ms", &note, rows);
    each(&mut table.rows, |cell| {
        cell.more.insert("origin at once".into(), cell.origin_concurrent);
    });
    table.more = ["quiet p99 ms", "storm p99 ms", "origin at once"].map(str::to_owned).to_vec();
    for name in [LARDER, Tiered.name()] {
        let own = table.of(name);
        let of = |what: &str| own.more.get(what).copied().unwrap_or(f64::NAN);
        table.at_most(name, "storm p99 ÷ quiet p99", of("storm p99 ms") / of("quiet p99 ms"), 2.0);
        table.at_most(name, "at once at the origin", own.origin_concurrent, REFRESHES);
    }
    Ok(vec![table])
}

pub fn slow_reader(bench: &Bench) -> Outcome<Vec<Table>> {
    let servers = bench.start(&[Larder, Nginx, Haproxy, Varnish])?;
    const STORABLE: &str = "larder, storable";
    let mut turns = Turn::of_all(&servers);
    turns.extend(servers.first().map(|larder| Turn::new(STORABLE, larder)));
    let rows = bench.turns_cold(&turns, bench.long_rounds(), |turn, round| {
        let path = match turn.label.as_str() {
            STORABLE => format!("/b1000000000-a3600/large{round}"),
            _ => format!("/pass/b1000000000/large{round}"),
        };
        let alone = bench.large(turn.server, &path, 0)?;
        let before = proc::resident_kib(turn.server.running.id());
        let (beside, most) =
            peak(turn.server.running.id(), || bench.large(turn.server, &path, 1_000_000));
        let mut report = beside?;
        let rate = |report: &Report| report.bytes as f64 / report.seconds;
        let speed = rate(&report) / rate(&alone);
        report.more.insert("RSS grew MiB".into(), most.saturating_sub(before) as f64 / 1024.0);
        report.more.insert("speed ÷ alone".into(), speed);
        report.more.insert("slow one's MB".into(), report.slow_bytes as f64 / 1e6);
        // The processor was used in both halves.
        report.requests += alone.requests;
        report.bytes += alone.bytes;
        report.seconds += alone.seconds;
        report.errors += alone.errors;
        Ok(report)
    })?;
    let note = "Two fast readers of 1 GB alone, then the same beside one that takes 1 MB/s. Passed through, but \
                for the last row: there the origin allows it to be stored, and requests collapse.";
    let mut table = Table::new("11", "1 GB, a slow reader beside fast ones", note, rows);
    table.more = ["RSS grew MiB", "speed ÷ alone", "slow one's MB"].map(str::to_owned).to_vec();
    for name in [LARDER, STORABLE] {
        let own = table.of(name);
        let of = |what: &str| own.more.get(what).copied().unwrap_or(f64::NAN);
        table.at_most(name, "RSS grew by MiB", of("RSS grew MiB"), 32.0);
        table.at_least(name, "speed ÷ alone", of("speed ÷ alone"), 0.9);
    }
    Ok(vec![table])
}

impl Bench {
    fn large(&self, server: &Server, path: &str, slow: usize) -> Outcome<Report> {
        let (address, slow) = (server.address.to_string(), format!("--slow={slow}"));
        self.load(&["large".into(), address, path.into(), "--fast=2".into(), slow])
    }
}

/// Runs `work`, and looks ten times a second how much memory a process has; the most of it, in KiB.
fn peak<T>(id: u32, work: impl FnOnce() -> T) -> (T, u64) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Relaxed) {
                most = most.max(proc::resident_kib(id));
                std::thread::sleep(Duration::from_millis(100));
            }
            most
        });
        let done = work();
        over.store(true, Relaxed);
        (done, watch.join().unwrap_or(0))
    })
}

pub fn memory(bench: &Bench) -> Outcome<Vec<Table>> {
    let entries = bench.entries();
    let servers = bench.start(&[Larder, Larder, ValkeyOnly])?;
    let [few, many, valkey] = servers.as_slice() else { return Err("not started".into()) };
    let (asked, others) = (1_000, "/b1000-a3600/m");
    for server in &servers {
        bench.fill(server, PLAIN, asked, 64)?;
    }
    // What a process takes before its first entry is not the entries'.
    let before = proc::resident_kib(many.running.id());
    bench.fill(many, others, entries, 64)?;
    let grown = proc::resident_kib(many.running.id()).saturating_sub(before);
    let each_takes = grown as f64 * 1024.0 / entries as f64;
    let in_valkey = entries.min(100_000);
    let before = bench.valkey_memory(valkey)?;
    bench.fill(valkey, others, in_valkey, 64)?;
    let valkey_takes =
        bench.valkey_memory(valkey)?.saturating_sub(before) as f64 / in_valkey as f64;

    let some = format!("larder, {entries} stored, {asked} asked for");
    let all = format!("larder, {entries} stored, all asked for");
    let turns = [Turn::new(LARDER, few), Turn::new(&some, many), Turn::new(&all, many)];
    let rows = bench.turns(&turns, |turn, seconds| {
        let (prefix, keys) = if turn.label == all { (others, entries) } else { (PLAIN, asked) };
        let mut arguments = mix(turn.server, prefix, keys, seconds);
        arguments.push("--uniform".into());
        bench.load(&arguments)
    })?;
    let note = format!(
        "The first row has {asked} entries. In memory an entry of 1 kB takes {each_takes:.0} bytes of RSS \
         (fields, names and index included), in Valkey {valkey_takes:.0} of its used_memory (of {in_valkey} entries)."
    );
    let mut table =
        Table::new("memory", "memory per entry, and CPU per hit with their number", &note, rows);
    let own = table.of(LARDER).cpu_us;
    for name in [&some, &all] {
        table.at_most(name, "CPU ÷ that at 1,000", table.of(name).cpu_us / own, 1.1);
    }
    table.at_most("", "bytes of RSS per entry of 1 kB", each_takes, 1_500.0);
    table.at_most("", "bytes of Valkey per entry of 1 kB", valkey_takes, 1_350.0);
    Ok(vec![table])
}

pub fn growth(bench: &Bench) -> Outcome<Vec<Table>> {
    let few = bench.start_one(Larder, &Shape { routes: 10 })?;
    let many = bench.start_one(Larder, &Shape { routes: 1_000 })?;
    const MANY: &str = "larder, 1,000 routes";
    let turns = [Turn::new(LARDER, &few), Turn::new(MANY, &many)];
    let (keys, prefix) = (1_000, "/r{}/b1000-a3600/k");
    for (server, routes) in [(&few, 10), (&many, 1_000)] {
        let (address, routes) = (server.address.to_string(), format!("--routes={routes}"));
        bench.load(&["fill".into(), address, prefix.into(), format!("--keys={keys}"), routes])?;
    }
    let rows = bench.turns(&turns, |turn, seconds| {
        let routes = if turn.label == MANY { 1_000 } else { 10 };
        let mut arguments = mix(turn.server, prefix, keys, seconds);
        arguments.extend(["--uniform".into(), format!("--routes={routes}")]);
        bench.load(&arguments)
    })?;
    let note =
        "The first row has 10 routes. 1,000 keys, spread over all routes; metrics are per route.";
    let mut table = Table::new("growth", "CPU per hit with the number of routes", note, rows);
    let found = table.of(MANY).cpu_us / table.of(LARDER).cpu_us;
    table.at_most(MANY, "CPU ÷ that with 10", found, 1.1);
    Ok(vec![table])
}
