//! Hits: from memory and from Valkey, small and large, over both protocols.

use larder_bench::toy::TAG;

use super::*;

pub fn hits(bench: &Bench) -> Outcome<Vec<Table>> {
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

pub fn large_hits(bench: &Bench) -> Outcome<Vec<Table>> {
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

pub fn valkey_hits(bench: &Bench) -> Outcome<Vec<Table>> {
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

pub fn not_modified(bench: &Bench) -> Outcome<Vec<Table>> {
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

pub fn http2(bench: &Bench) -> Outcome<Vec<Table>> {
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
