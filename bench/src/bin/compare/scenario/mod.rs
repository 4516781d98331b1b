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

use crate::cell::{Cell, Turn};
use crate::server::{Kind, Server};
use crate::table::{Row, Table};
use crate::{Bench, Outcome};

mod hits;
mod limits;
mod origin;

/// One of the table above.
pub struct Scenario {
    pub id: &'static str,
    pub title: &'static str,
    pub run: fn(&Bench) -> Outcome<Vec<Table>>,
}

const ALL: [Scenario; 13] = [
    Scenario { id: "1", title: "hits in memory, 1 kB", run: hits::hits },
    Scenario { id: "2", title: "hits in memory, 100 kB and 1 MB", run: hits::large_hits },
    Scenario { id: "3", title: "hits in Valkey", run: hits::valkey_hits },
    Scenario { id: "4", title: "304 to If-None-Match", run: hits::not_modified },
    Scenario { id: "5", title: "passed through", run: origin::passed },
    Scenario { id: "6", title: "misses, origin of 5 ms", run: origin::misses },
    Scenario { id: "7", title: "reads and writes", run: origin::mixed },
    Scenario { id: "8", title: "one cold key, 5,000 clients", run: origin::crowd },
    Scenario { id: "9", title: "HTTP/2", run: hits::http2 },
    Scenario { id: "10", title: "soft expiry of 10,000 keys at once", run: limits::storm },
    Scenario { id: "11", title: "1 GB, a slow reader beside fast ones", run: limits::slow_reader },
    Scenario { id: "memory", title: "memory per entry", run: limits::memory },
    Scenario { id: "growth", title: "CPU per hit with the number of routes", run: limits::growth },
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
