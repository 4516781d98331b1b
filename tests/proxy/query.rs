//! QUERY (RFC 10008): when are two of them the same, and what becomes of their content?

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::World;
use crate::support::client::{Asking, Client, Reply};
use crate::support::origin::{Gate, ok, status};
use crate::support::wait::{eventually, soon};

const KEEPS: &str = "soft_ttl = \"1h\"";

fn asking(client: &Client, content: &str) -> Asking {
    client.asks("QUERY", "/q").header("content-type", "text/plain").content(content)
}

async fn ask(world: &World, content: &str) -> Reply {
    asking(&world.client, content).send().await
}

/// Says what it was asked, in what type, and how often it was asked before.
fn echo(world: &World) {
    world.origin.on("/q").answers(|asked| {
        let kind = asked.field("content-type").to_owned();
        ok(format!("{} {kind} [{}]", asked.method, asked.content()))
    });
}

/// Asks until it is answered from the store.
async fn warm(world: &World, content: &str) -> Reply {
    let mut last = ask(world, content).await;
    eventually("the QUERY is a hit", async || {
        last = ask(world, content).await;
        last.is_hit()
    })
    .await;
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_is_answered_from_the_store() {
    let world = World::with(KEEPS).await;
    echo(&world);
    warm(&world, "a").await.expect(200, "QUERY text/plain [a]");
    let http2 = world.client.over_http2();
    let reply = asking(&http2, "a").send().await.expect(200, "QUERY text/plain [a]");
    assert!(reply.is_hit());
    let (sender, pieces) = mpsc::channel(4);
    sender.send(Bytes::from_static(b"a")).await.unwrap();
    drop(sender);
    let chunked = world.client.asks("QUERY", "/q").header("content-type", "text/plain");
    let reply = chunked.streaming(pieces).send().await.expect(200, "QUERY text/plain [a]");
    assert!(reply.is_hit(), "chunks are framing, not content: {:?}", reply.headers);
    assert_eq!(world.origin.saw("/q"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_content_type_coding_or_method_is_another_question() {
    let world = World::with(KEEPS).await;
    echo(&world);
    warm(&world, "a").await;
    ask(&world, "b").await.expect(200, "QUERY text/plain [b]");
    for (name, value) in [
        ("content-encoding", "x-none"),
        ("content-language", "de"),
        ("content-location", "/elsewhere"),
        ("content-digest", "sha-256=:AAAA:"),
    ] {
        let reply = asking(&world.client, "a").header(name, value).send().await;
        assert!(reply.is_forwarded(), "{name}");
    }
    let typed = world.client.asks("QUERY", "/q").header("content-type", "text/html");
    typed.content("a").send().await.expect(200, "QUERY text/html [a]");
    world.client.get("/q").await.expect(200, "GET  []");
    assert_eq!(world.origin.saw("/q"), 8);
    assert!(ask(&world, "a").await.is_hit(), "and the first is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_has_no_type_goes_to_the_origin_uncut() {
    let world = World::with(&format!("{KEEPS}\nmax_query_content = \"1KiB\"")).await;
    echo(&world);
    let large = "0123456789".repeat(200_000);
    for n in 1..3 {
        let reply = ask(&world, &large).await;
        assert!(reply.text() == format!("QUERY text/plain [{large}]"), "{n}");
        assert_eq!(reply.status().value("detail"), Some("query-too-large"));
        let (sender, pieces) = mpsc::channel(400);
        for piece in large.as_bytes().chunks(10_000 - 13) {
            sender.try_send(Bytes::copy_from_slice(piece)).unwrap();
        }
        drop(sender);
        let chunked = world.client.asks("QUERY", "/q").header("content-type", "text/plain");
        let reply = chunked.streaming(pieces).send().await;
        assert!(reply.text() == format!("QUERY text/plain [{large}]"), "{n}, chunked");
        let untyped = world.client.asks("QUERY", "/q").content("a").send().await;
        assert_eq!(untyped.status().value("detail"), Some("query-untyped"));
        assert_eq!(world.origin.saw("/q"), 3 * n);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_may_take_none() {
    let world = World::with(&format!("{KEEPS}\nmax_query_content = 0")).await;
    echo(&world);
    for n in 1..3 {
        let reply = ask(&world, "a").await.expect(200, "QUERY text/plain [a]");
        assert_eq!(reply.status().value("fwd"), Some("method"));
        assert_eq!(world.origin.saw("/q"), n);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_to_its_path_throws_it_away_and_a_query_throws_away_nothing() {
    let world = World::with(KEEPS).await;
    echo(&world);
    warm(&world, "a").await;
    world.warm("/q").await;
    ask(&world, "b").await;
    assert!(ask(&world, "a").await.is_hit() && world.client.get("/q").await.is_hit());
    world.client.asks("PUT", "/q").content("new").send().await;
    assert!(ask(&world, "a").await.is_forwarded());
    assert!(ask(&world, "b").await.is_forwarded());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_asks_the_same_is_one_request() {
    let world = World::with(KEEPS).await;
    let gate = Gate::closed();
    let waits = gate.clone();
    world.origin.on("/q").answers(move |asked| ok(asked.content()).after(&waits));
    let client = world.client.clone();
    let crowd = tokio::spawn(async move {
        client.crowd_of(40, |client, n| asking(client, ["a", "b"][n % 2])).await
    });
    eventually("all wait", async || {
        let metrics = world.larder.metrics().await;
        metrics.sum("larder_collapsed_waiters_total", &[]) as usize == 38
    })
    .await;
    gate.open();
    for (n, reply) in crowd.await.unwrap().into_iter().enumerate() {
        reply.expect(200, ["a", "b"][n % 2]);
    }
    assert_eq!(world.origin.saw("/q"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_one_is_refreshed_behind_with_its_content() {
    let world = World::with("soft_ttl = \"50ms\"\nhard_ttl = \"1h\"").await;
    world.origin.on("/q").answers(|asked| {
        let told = format!("{} [{}] {}", asked.method, asked.content(), asked.before);
        match asked.field("if-none-match") {
            "\"0\"" => ok(told).header("etag", "\"1\""),
            _ => ok(told).header("etag", "\"0\""),
        }
    });
    ask(&world, "a").await.expect(200, "QUERY [a] 0");
    eventually("the refreshed one is served", async || {
        let text = ask(&world, "a").await.text();
        assert!(text.starts_with("QUERY [a] "), "{text}");
        text != "QUERY [a] 0"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_answered_here_and_asked_of_the_origin() {
    let world = World::with("soft_ttl = \"0s\"").await;
    world.origin.on("/q").answers(|asked| match asked.field("if-none-match") {
        "\"v\"" => status(304).header("etag", "\"v\""),
        _ => ok(asked.content()).header("etag", "\"v\""),
    });
    ask(&world, "a").await.expect(200, "a");
    ask(&world, "a").await.expect(200, "a");
    asking(&world.client, "a").header("if-none-match", "\"v\"").send().await.expect(304, "");
    asking(&world.client, "a").header("if-none-match", "\"w\"").send().await.expect(200, "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_waits_to_be_called_for_is_called_for() {
    let world = World::with(KEEPS).await;
    echo(&world);
    let mut stream = TcpStream::connect(world.client.address()).await.unwrap();
    let head = "QUERY /q HTTP/1.1\r\nhost: h\r\ncontent-type: text/plain\r\n\
                content-length: 1\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut told = [0; 25];
    soon("100", stream.read_exact(&mut told)).await.unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"a").await.unwrap();
    let mut rest = String::new();
    soon("the answer", stream.read_to_string(&mut rest)).await.unwrap();
    assert!(rest.ends_with("QUERY text/plain [a]"), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_the_authorized_are_not_for_others_who_ask_the_same() {
    let world = World::with(KEEPS).await;
    world.origin.on("/q").answers(|asked| ok(asked.field("authorization").to_owned()));
    let by = |who: &str| asking(&world.client, "a").header("authorization", who).send();
    by("Bearer a").await.expect(200, "Bearer a");
    by("Bearer b").await.expect(200, "Bearer b");
    ask(&world, "a").await.expect(200, "");
}
