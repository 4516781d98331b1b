//! What reaches the origin: passed through, missed, written, asked for by all at once.

use std::cell::Cell as Number;

use super::*;

pub fn passed(bench: &Bench) -> Outcome<Vec<Table>> {
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

pub fn misses(bench: &Bench) -> Outcome<Vec<Table>> {
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

pub fn mixed(bench: &Bench) -> Outcome<Vec<Table>> {
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

pub fn crowd(bench: &Bench) -> Outcome<Vec<Table>> {
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
