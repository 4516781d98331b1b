//! What is measured, and what is asked of Larder.
//!
//! | id | work | asked |
//! |---|---|---|
//! | 1 | hits in memory, 1 kB: one key, and 10,000 as Zipf | CPU ≤ 0.75 nginx, 0.9 HAProxy, 0.45 Varnish, 1.25 bare hyper; p99 no worse than the best of three |
//! | 2 | hits in memory, 100 kB and 1 MB | bytes/s ≥ nginx with sendfile |
//! | 3 | hits in Valkey (`memory = 0`) | CPU ≤ 2.2 × a hit in memory; requests/s ≥ 0.5 × Valkey's GET |
//! | 4 | 304 to If-None-Match | CPU ≤ that of a 200 |
//! | 5 | passed through: GETs, POSTs | CPU ≤ 1.2 nginx |
//! | 6 | misses, an origin of 5 ms | CPU ≤ 1.3 nginx |
//! | 7 | 95 % Zipf reads of 100,000 keys, 5 % writes | requests/s ≥ nginx at the same hit ratio |
//! | 8 | one cold key, 5,000 clients, an origin of 50 ms | one request to the origin; all answered within 75 ms, and 1.25 bare hyper |
//! | 9 | HTTP/2, 10 connections with 32 streams | requests/s ≥ nginx |
//! | 10 | 10,000 keys past soft expiry at once | p99 ≤ 2 × the quiet one; origin concurrency within its budget |
//! | 11 | 1 GB, a slow reader beside fast ones | RSS grows by less than 32 MiB; the fast ones are not slowed |
//! | memory | a million entries of 1 kB | ≤ 1.5 kB each in memory, ≤ content + 350 bytes in Valkey; CPU per hit within 10 % of that at 1,000 |
//! | growth | 10 routes, 1,000 routes | CPU per hit within 10 % |

use std::cell::Cell as Number;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use larder_bench::toy::TAG;

use crate::cell::{Cell, Turn};
use crate::load::{Report, Window};
use crate::server::{Kind, Server, Shape};
use crate::table::{Row, Table};
use crate::{Bench, Outcome, proc};

/// One of the table above.
pub struct Scenario {
    pub id: &'static str,
    pub title: &'static str,
    pub run: fn(&Bench) -> Outcome<Vec<Table>>,
}

const ALL: [Scenario; 13] = [
    Scenario { id: "1", title: "hits in memory, 1 kB", run: hits },
    Scenario { id: "2", title: "hits in memory, 100 kB and 1 MB", run: large_hits },
    Scenario { id: "3", title: "hits in Valkey", run: valkey_hits },
    Scenario { id: "4", title: "304 to If-None-Match", run: not_modified },
    Scenario { id: "5", title: "passed through", run: passed },
    Scenario { id: "6", title: "misses, origin of 5 ms", run: misses },
    Scenario { id: "7", title: "reads and writes", run: mixed },
    Scenario { id: "8", title: "one cold key, 5,000 clients", run: crowd },
    Scenario { id: "9", title: "HTTP/2", run: http2 },
    Scenario { id: "10", title: "soft expiry of 10,000 keys at once", run: storm },
    Scenario { id: "11", title: "1 GB, a slow reader beside fast ones", run: slow_reader },
    Scenario { id: "memory", title: "memory per entry", run: memory },
    Scenario { id: "growth", title: "CPU per hit with the number of routes", run: growth },
];

/// Those that were asked for; all, if none was.
pub fn wanted(only: &[String]) -> Outcome<Vec<Scenario>> {
    if let Some(unknown) = only.iter().find(|id| !ALL.iter().any(|scenario| scenario.id == **id)) {
        return Err(format!("no scenario {unknown}: 1 to 11, memory, growth").into());
    }
    let wanted = |id: &str| only.is_empty() || only.iter().any(|only| only == id);
    Ok(ALL.into_iter().filter(|scenario| wanted(scenario.id)).collect())
}

use Kind::{Bare, Haproxy, Larder, Nginx, Tiered, Valkey, ValkeyOnly, Varnish};

const LARDER: &str = "larder";
const NGINX: &str = "nginx";

/// 1 kB, fresh for an hour.
const PLAIN: &str = "/b1000-a3600/k";

fn hits(bench: &Bench) -> Outcome<Vec<Table>> {
    let servers = bench.start(&[Larder, Tiered, Nginx, Haproxy, Varnish, Bare, Valkey])?;
    let keys = 10_000;
    for server in &servers {
        match server.kind {
            Bare => {}
            Valkey => {
                bench.valkey_fill(server, keys)?;
                bench.valkey_fill(server, 1)?;
            }
            _ => drop(bench.fill(server, PLAIN, keys, 64)?),
        }
    }
    let turns = Turn::of_all(&servers);
    let one = bench.turns(&turns, |turn, seconds| match turn.server.kind {
        Valkey => bench.valkey_get(turn.server, seconds, 1),
        _ => bench.wrk(turn.server, seconds, "fixed.lua", &format!("{PLAIN}0"), &[]),
    })?;
    let many = bench.turns(&turns, |turn, seconds| match turn.server.kind {
        Valkey => bench.valkey_get(turn.server, seconds, keys),
        _ => bench.wrk(turn.server, seconds, "zipf.lua", "/", &[PLAIN, &keys.to_string()]),
    })?;
    let note = "Valkey's GET: valkey-benchmark, unpipelined, values of 1 kB; keys drawn evenly.";
    let mut tables = vec![
        Table::new("1a", "hits in memory, one key of 1 kB", note, one),
        Table::new("1b", "hits in memory, 10,000 keys of 1 kB, Zipf", note, many),
    ];
    for table in &mut tables {
        asked_of_hits(table);
    }
    Ok(tables)
}

fn asked_of_hits(table: &mut Table) {
    let own = table.of(LARDER);
    for (name, bound) in [(NGINX, 0.75), ("HAProxy", 0.9), ("Varnish", 0.45), ("bare hyper", 1.25)]
    {
        table.at_most(name, "Larder's CPU ÷ this", own.cpu_us / table.of(name).cpu_us, bound);
    }
    let others = [NGINX, "HAProxy", "Varnish"].map(|name| table.of(name).p99_us);
    let best = others.into_iter().fold(f64::INFINITY, f64::min);
    table.at_most(LARDER, "p99 ÷ the best of the three", own.p99_us / best, 1.0);
}

fn large_hits(bench: &Bench) -> Outcome<Vec<Table>> {
    let servers = bench.start(&[Larder, Nginx, Haproxy, Varnish, Bare])?;
    let mut tables = Vec::new();
    for (id, title, path) in [
        ("2a", "hits in memory, one key of 100 kB", "/b100000-a3600/k"),
        ("2b", "hits in memory, one key of 1 MB", "/b1000000-a3600/k"),
    ] {
        for server in servers.iter().filter(|server| server.kind != Bare) {
            bench.fill(server, path, 1, 1)?;
        }
        let rows = bench.turns(&Turn::of_all(&servers), |turn, seconds| {
            bench.wrk(turn.server, seconds, "fixed.lua", &format!("{path}0"), &[])
        })?;
        let mut table = Table::new(id, title, "", rows);
        let found = table.of(LARDER).bytes_rate / table.of(NGINX).bytes_rate;
        table.at_least(NGINX, "Larder's bytes/s ÷ this", found, 1.0);
        tables.push(table);
    }
    Ok(tables)
}

fn valkey_hits(bench: &Bench) -> Outcome<Vec<Table>> {
    let servers = bench.start(&[Larder, ValkeyOnly, Valkey])?;
    let keys = 10_000;
    for server in &servers {
        match server.kind {
            Valkey => bench.valkey_fill(server, keys)?,
            _ => drop(bench.fill(server, PLAIN, keys, 64)?),
        }
    }
    let rows = bench.turns(&Turn::of_all(&servers), |turn, seconds| match turn.server.kind {
        Valkey => bench.valkey_get(turn.server, seconds, keys),
        _ => bench.wrk(turn.server, seconds, "zipf.lua", "/", &[PLAIN, &keys.to_string()]),
    })?;
    let note = "The first row is the same work, answered from memory.";
    let mut table = Table::new("3", "hits in Valkey, 10,000 keys of 1 kB, Zipf", note, rows);
    let (memory, valkey, floor) =
        (table.of(LARDER), table.of(ValkeyOnly.name()), table.of(Valkey.name()));
    table.at_most(ValkeyOnly.name(), "CPU ÷ a hit in memory", valkey.cpu_us / memory.cpu_us, 2.2);
    table.at_least(Valkey.name(), "Larder's requests/s ÷ this", valkey.rate / floor.rate, 0.5);
    Ok(vec![table])
}

fn not_modified(bench: &Bench) -> Outcome<Vec<Table>> {
    let servers = bench.start(&[Larder, Nginx, Haproxy, Varnish, Bare])?;
    for server in servers.iter().filter(|server| server.kind != Bare) {
        bench.fill(server, PLAIN, 1, 1)?;
    }
    const WHOLE: &str = "larder, 200";
    let mut turns = Turn::of_all(&servers);
    turns.extend(servers.first().map(|larder| Turn::new(WHOLE, larder)));
    let rows = bench.turns(&turns, |turn, seconds| {
        let mut arguments = mix(turn.server, PLAIN, 1, seconds);
        if turn.label != WHOLE {
            arguments.push(format!("--tag={TAG}"));
        }
        bench.load(&arguments)
    })?;
    // wrk waits for the content that HAProxy's Content-Length names and a 304 never has.
    let note = "The generator of this crate in place of wrk.";
    let mut table = Table::new("4", "304 to If-None-Match, one key", note, rows);
    let found = table.of(LARDER).cpu_us / table.of(WHOLE).cpu_us;
    table.at_most(WHOLE, "CPU of a 304 ÷ this", found, 1.0);
    Ok(vec![table])
}

fn passed(bench: &Bench) -> Outcome<Vec<Table>> {
    let servers = bench.start(&[Larder, Tiered, Nginx, Haproxy, Varnish])?;
    let turns = Turn::of_all(&servers);
    let mut tables = Vec::new();
    for (id, title, method, bytes) in [
        ("5a", "passed through: GET of 1 kB", "-", "-"),
        ("5b", "passed through: POST of 1 kB, answered with 1 kB", "POST", "1000"),
    ] {
        let rows = bench.turns(&turns, |turn, seconds| {
            bench.wrk(turn.server, seconds, "fixed.lua", "/pass/b1000/k", &[method, bytes])
        })?;
        let note = match method {
            "POST" => {
                "Larder announces each write in its ledger and invalidates what it changed; the others do neither."
            }
            _ => "",
        };
        let mut table = Table::new(id, title, note, rows);
        table.at_most(
            NGINX,
            "Larder's CPU ÷ this",
            table.of(LARDER).cpu_us / table.of(NGINX).cpu_us,
            1.2,
        );
        tables.push(table);
    }
    Ok(tables)
}

fn misses(bench: &Bench) -> Outcome<Vec<Table>> {
    let servers = bench.start(&[Larder, Tiered, Nginx, Haproxy, Varnish])?;
    let run = Number::new(0);
    let rows = bench.turns(&Turn::of_all(&servers), |turn, seconds| {
        run.set(run.get() + 1);
        let prefix = format!("/b1000-d5-a3600/{}-", run.get());
        bench.wrk(turn.server, seconds, "unique.lua", "/", &[&prefix])
    })?;
    let note = "Every request asks for what nobody asked for before; all answers are stored.";
    let mut table = Table::new("6", "misses of 1 kB, origin of 5 ms", note, rows);
    table.at_most(
        NGINX,
        "Larder's CPU ÷ this",
        table.of(LARDER).cpu_us / table.of(NGINX).cpu_us,
        1.3,
    );
    Ok(vec![table])
}

fn mixed(bench: &Bench) -> Outcome<Vec<Table>> {
    let keys = if bench.options.quick { 10_000 } else { 100_000 };
    let servers = bench.start(&[Larder, Tiered, Nginx, Haproxy, Varnish])?;
    for server in &servers {
        bench.fill(server, PLAIN, keys, 64)?;
    }
    let turns = Turn::of_all(&servers);
    let mut tables = Vec::new();
    for (id, title, note, writes) in [
        (
            "7a",
            "95 % reads, 5 % writes elsewhere",
            "Writes go to other paths than reads, so that all have the same hit ratio.",
            Some("/b0/w"),
        ),
        (
            "7b",
            "95 % reads, 5 % writes of the same keys",
            "Larder drops what is written and fetches it anew; nginx and Varnish, as configured by most, \
             go on serving what the write has replaced.",
            None,
        ),
    ] {
        let rows = bench.turns(&turns, |turn, seconds| {
            let mut arguments = mix(turn.server, PLAIN, keys, seconds);
            arguments.push("--writes=0.05".into());
            arguments.extend(writes.map(|prefix| format!("--write-prefix={prefix}")));
            bench.load(&arguments)
        })?;
        let title = format!("{title}, {keys} keys of 1 kB, Zipf");
        let mut table = Table::new(id, &title, note, rows);
        each(&mut table.rows, |cell| {
            let writes = cell.more.remove("writes").unwrap_or(0.0);
            let missed = (cell.origin_requests - writes).max(0.0);
            cell.more.insert("hit ratio".into(), 1.0 - missed / (cell.requests - writes));
        });
        table.more.push("hit ratio".into());
        if writes.is_some() {
            let found = table.of(LARDER).rate / table.of(NGINX).rate;
            table.at_least(NGINX, "Larder's requests/s ÷ this", found, 1.0);
        }
        tables.push(table);
    }
    Ok(tables)
}

fn mix(server: &Server, prefix: &str, keys: usize, seconds: f64) -> Vec<String> {
    vec![
        "mix".into(),
        server.address.to_string(),
        prefix.into(),
        format!("--keys={keys}"),
        format!("--seconds={seconds}"),
    ]
}

/// Changes every cell of every row, and takes the medians anew.
fn each(rows: &mut [Row], mut change: impl FnMut(&mut Cell)) {
    for row in rows {
        row.cells.iter_mut().for_each(&mut change);
        row.settle();
    }
}

fn crowd(bench: &Bench) -> Outcome<Vec<Table>> {
    let servers = bench.start(&[Larder, Tiered, Nginx, Haproxy, Varnish, Bare])?;
    let clients = 5_000;
    let rows = bench.turns_cold(&Turn::of_all(&servers), bench.rounds(), |turn, round| {
        let (address, path) = (turn.server.address, format!("/b1000-d50-a3600/cold{round}"));
        let mut report = bench.load(&[
            "crowd".into(),
            address.to_string(),
            path,
            format!("--clients={clients}"),
        ])?;
        report.more.insert("sent ms".into(), report.sent_us as f64 / 1e3);
        report.more.insert("last ms".into(), report.max_us as f64 / 1e3);
        Ok(report)
    })?;
    let note = "All are connected, then all ask at once; times count from the first request sent, so that \
                they hold the time in which one core sends 5,000 requests and reads the answers. HAProxy does not \
                collapse; bare hyper waits for 50 ms and asks nobody.";
    let mut table =
        Table::new("8", "one cold key of 1 kB, 5,000 clients, origin of 50 ms", note, rows);
    table.more = ["sent ms", "last ms"].map(str::to_owned).to_vec();
    for name in [LARDER, Tiered.name()] {
        let own = table.of(name);
        table.at_most(name, "requests to the origin", own.origin_requests, 1.0);
        table.at_most(name, "errors", own.errors, 0.0);
        table.at_most(name, "the last answer after ms", own.max_us / 1e3, 75.0);
        let floor = own.max_us / table.of(Bare.name()).max_us;
        table.at_most(name, "the same ÷ bare hyper", floor, 1.25);
    }
    Ok(vec![table])
}

fn http2(bench: &Bench) -> Outcome<Vec<Table>> {
    let servers = bench.start(&[Larder, Nginx, Haproxy, Varnish, Bare])?;
    for server in servers.iter().filter(|server| server.kind != Bare) {
        bench.fill(server, PLAIN, 1, 1)?;
    }
    let rows = bench.turns(&Turn::of_all(&servers), |turn, seconds| {
        bench.h2load(turn.server, seconds, &format!("{PLAIN}0"))
    })?;
    let note = "Cleartext, prior knowledge, 10 connections with 32 streams each.";
    let mut table = Table::new("9", "HTTP/2, hits in memory, one key of 1 kB", note, rows);
    table.at_least(
        NGINX,
        "Larder's requests/s ÷ this",
        table.of(LARDER).rate / table.of(NGINX).rate,
        1.0,
    );
    Ok(vec![table])
}

/// What Larder refreshes at once, at most: `origin.max_refreshes`, at its default.
const REFRESHES: f64 = 32.0;

fn storm(bench: &Bench) -> Outcome<Vec<Table>> {
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

fn slow_reader(bench: &Bench) -> Outcome<Vec<Table>> {
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

fn memory(bench: &Bench) -> Outcome<Vec<Table>> {
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

fn growth(bench: &Bench) -> Outcome<Vec<Table>> {
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
