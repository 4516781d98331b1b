//! What is refused.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::World;
use crate::support::larder::Setup;
use crate::support::origin::{Gate, ok};
use crate::support::wait::eventually;

const KEEPS: &str = "soft_ttl = \"1h\"";

impl World {
    /// Sends these bytes; everything that comes back until the connection closes. If it does not,
    /// that stands at the end.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.larder.address()).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let closed = timeout(Duration::from_secs(3), stream.read_to_end(&mut answer)).await.is_ok();
        let answer = String::from_utf8_lossy(&answer);
        if closed { answer.into_owned() } else { format!("{answer}(still open)") }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_in_two_ways_is_refused_and_the_connection_closed() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").replies(ok("x"));
    for (what, head) in [
        ("no host", "GET /a HTTP/1.1\r\n\r\n"),
        ("two hosts", "GET /a HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n"),
        ("a host with a path", "GET /a HTTP/1.1\r\nHost: a.test/x\r\n\r\n"),
        ("a host with a user", "GET /a HTTP/1.1\r\nHost: me@a.test\r\n\r\n"),
        (
            "two lengths",
            "POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        ),
        (
            "an odd coding",
            "POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n",
        ),
        ("a space in a name", "GET /a HTTP/1.1\r\nHost: a.test\r\nX : y\r\n\r\n"),
        ("a target without a slash", "GET a HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("host as a hop", "GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: host\r\n\r\n"),
        (
            "authorization as a hop",
            "GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: authorization\r\n\r\n",
        ),
        ("bytes beyond ASCII", "GET /\u{e9} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ] {
        let answer = world.raw(head.as_bytes()).await;
        let closed = !answer.ends_with("(still open)");
        assert!(answer.starts_with("HTTP/1.1 400") && closed, "{what}: {answer:?}");
    }
    assert_eq!(world.origin.saw("/a"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_in_a_target_counts_and_the_field_beside_it_is_read_all_the_same() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").answers(|asked| ok(asked.field("host").to_owned()));
    for (field, expected) in [("a.test", "200"), ("b.test", "200"), ("a.test@c", "400")] {
        let head = format!("GET http://b.test/a HTTP/1.1\r\nHost: {field}\r\n");
        let answer = world.raw(format!("{head}Connection: close\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{field}: {answer:?}");
        assert!(expected == "400" || answer.ends_with("b.test"), "{field}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_of_proxies_and_debuggers_are_refused() {
    let world = World::with(KEEPS).await;
    for line in ["TRACE /a", "CONNECT a.test:443"] {
        let answer =
            world.raw(format!("{line} HTTP/1.1\r\nHost: a.test:443\r\n\r\n").as_bytes()).await;
        let refused = ["HTTP/1.1 405", "HTTP/1.1 501", "HTTP/1.1 400"];
        assert!(refused.iter().any(|status| answer.starts_with(status)), "{line}: {answer:?}");
    }
    assert_eq!(world.origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_or_too_much_is_refused_by_name() {
    let world = World::set_up(|setup| {
        crate::everywhere(setup, KEEPS)
            .limits("max_target = 512\nmax_fields_bytes = \"2KiB\"\nmax_fields = 20")
    })
    .await;
    let long = world.client.get(&format!("/{}", "a".repeat(600))).await;
    assert_eq!(long.status, 414);
    let large = world.client.asks("GET", "/a").header("x-large", &"a".repeat(3_000)).send().await;
    assert_eq!(large.status, 431);
    let mut many = world.client.asks("GET", "/a");
    for _ in 0..30 {
        many = many.header("x-many", "1");
    }
    assert_eq!(many.send().await.status, 431);
    assert_eq!(world.origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_at_once_than_allowed_is_turned_away_and_told_when_to_come_back() {
    let world = World::set_up(|setup| {
        crate::everywhere(setup, &format!("{KEEPS}\ncache = \"off\"")).limits("max_requests = 5")
    })
    .await;
    let gate = Gate::closed();
    world.origin.on("/a").replies(ok("x").after(&gate));
    let client = world.client.clone();
    let inside = tokio::spawn(async move { client.crowd(5, "/a").await });
    eventually("five are inside", async || world.origin.saw("/a") == 5).await;
    let refused = world.client.get("/a").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.field("retry-after"), "1");
    assert_eq!(refused.field("content-type"), "application/problem+json");
    gate.open();
    for reply in inside.await.unwrap() {
        reply.expect(200, "x");
    }
    world.client.get("/a").await.expect(200, "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_not_waited_for() {
    let world =
        World::set_up(|setup| crate::everywhere(setup, KEEPS).limits("header_timeout = \"200ms\""))
            .await;
    for said in ["", "GET /a HT", "GET /a HTTP/1.1\r\nHost: a.test\r\nX-", "PRI * HTTP/2.0\r\n"] {
        let answer = world.raw(said.as_bytes()).await;
        let served = answer.starts_with("HTTP/1.1 200") || answer.ends_with("(still open)");
        assert!(!served, "{said:?}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_stops_arriving_is_not_waited_for() {
    let world =
        World::set_up(|setup| crate::everywhere(setup, KEEPS).limits("body_timeout = \"200ms\""))
            .await;
    let half = b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhalf";
    let answer = world.raw(half).await;
    assert!(answer.starts_with("HTTP/1.1 408") || answer.is_empty(), "{answer:?}");
    eventually("the origin is let go", async || world.origin.connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_in_is_cut() {
    let world =
        World::set_up(|setup| crate::everywhere(setup, KEEPS).limits("write_timeout = \"300ms\""))
            .await;
    world.origin.on("/huge").replies(ok("").endless(1 << 30, true));
    let mut stream = TcpStream::connect(world.larder.address()).await.unwrap();
    stream.write_all(b"GET /huge HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    eventually("the origin is asked", async || world.origin.saw("/huge") == 1).await;
    eventually("it is let go", async || world.origin.connections() == 0).await;
    let in_flight = || async { world.larder.metrics().await.sum("larder_requests_in_flight", &[]) };
    eventually("nothing is in progress", async || in_flight().await < 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_a_client_is_cannot_be_claimed() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").answers(|asked| {
        ok(format!("{}|{}", asked.field("x-forwarded-for"), asked.field("x-forwarded-host")))
    });
    let asking = world.client.asks("GET", "/a").host("real.test");
    let asking =
        asking.header("x-forwarded-for", "10.6.6.6").header("x-forwarded-host", "evil.test");
    let reply = asking.send().await;
    assert!(
        !reply.text().contains("10.6.6.6") && !reply.text().contains("evil"),
        "{}",
        reply.text()
    );
    let clean = world.client.asks("GET", "/a").host("real.test").send().await;
    assert!(!clean.text().contains("evil"), "{}", clean.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_carries_and_the_key_does_not_cannot_poison_it() {
    let world = World::with(KEEPS).await;
    // An origin without care: it puts everything that it is told into its answer.
    world.origin.on("/a").answers(|asked| {
        let told: Vec<_> = asked.headers.values().filter_map(|v| v.to_str().ok()).collect();
        ok(told.join(" "))
    });
    for (n, name) in ["x-forwarded-host", "x-forwarded-proto", "forwarded", "x-forwarded-port"]
        .into_iter()
        .enumerate()
    {
        let target = format!("/a?n={n}");
        world.client.asks("GET", &target).header(name, "canary-of-a-stranger").send().await;
        let victim = world.client.get(&target).await;
        assert!(!victim.text().contains("canary"), "{name}: {}", victim.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_for_entries_is_bounded() {
    let world = World::set_up(|s| crate::everywhere(s, KEEPS).store("memory = \"16MiB\"")).await;
    for n in 0..60 {
        world.origin.on(&format!("/{n}")).replies(ok("x".repeat(1 << 20)));
    }
    for n in 0..60 {
        world.client.get(&format!("/{n}")).await;
    }
    let metrics = world.larder.metrics().await;
    let held = metrics.sum("larder_memory_bytes", &[]);
    assert!(held <= f64::from(17 << 20), "{held} bytes");
    assert!(held >= f64::from(4 << 20), "{held} bytes: it holds something");
    assert!(metrics.sum("larder_memory_evictions_total", &[]) > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait_their_turn() {
    let world =
        World::set_up(|setup| crate::everywhere(setup, KEEPS).limits("max_connections = 4")).await;
    world.origin.on("/a").replies(ok("x"));
    let idle: Vec<_> = {
        let mut idle = Vec::new();
        for _ in 0..4 {
            idle.push(TcpStream::connect(world.larder.address()).await.unwrap());
        }
        idle
    };
    let asking = world.client.asks("GET", "/a");
    let waits = tokio::spawn(asking.send());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waits.is_finished());
    drop(idle);
    waits.await.unwrap().expect(200, "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_origin_takes_at_once_wait_and_then_are_turned_away() {
    let origin = crate::Origin::start();
    let gate = Gate::closed();
    origin.on("/a").replies(ok("x").after(&gate));
    let setup = Setup::before(&origin.url()).route("/a", "cache = \"off\"");
    let larder = setup.origin("max_connections = 2\nqueue_timeout = \"200ms\"").start().await;
    let client = larder.client();
    let crowd = tokio::spawn(async move { client.crowd(6, "/a").await });
    eventually("two are inside", async || origin.saw("/a") == 2).await;
    eventually("the others are turned away", async || {
        larder.access_log().iter().filter(|line| line["status"] == 503).count() == 4
    })
    .await;
    gate.open();
    let statuses: Vec<_> = crowd.await.unwrap().iter().map(|reply| reply.status).collect();
    assert_eq!(statuses.iter().filter(|s| **s == 200).count(), 2, "{statuses:?}");
    assert_eq!(origin.saw("/a"), 2);
}
