//! What is none of the cache's business, and whether it comes through unharmed.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::World;
use crate::support::origin::{Answer, Tap, ok, status};
use crate::support::wait::{eventually, soon};

const KEEPS: &str = "soft_ttl = \"1h\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_is_off_stores_nothing() {
    let world = World::set_up(|s| s.route("/account/{*rest}", "cache = \"off\"")).await;
    world.origin.on("/account/me").answers(|asked| ok(asked.before.to_string()).max_age(3600));
    for n in 0..3 {
        let reply = world.client.get("/account/me").await.expect(200, &n.to_string());
        assert_eq!(reply.status().value("fwd"), Some("bypass"), "{:?}", reply.status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_one_client_is_not_stored() {
    let world = World::with(KEEPS).await;
    type Make = fn(Answer) -> Answer;
    let cases: [(&str, Make); 8] = [
        ("/private", |a| a.header("cache-control", "private, max-age=60")),
        ("/shouted", |a| a.header("cache-control", "PRIVATE")),
        ("/no-store", |a| a.header("cache-control", "no-store")),
        ("/listed", |a| {
            a.header("cache-control", "max-age=60").header("cache-control", "no-store")
        }),
        ("/cookie", |a| a.max_age(60).header("set-cookie", "session=1")),
        ("/public-cookie", |a| {
            a.header("cache-control", "public, max-age=60").header("set-cookie", "s=1")
        }),
        ("/named", |a| a.header("cache-control", "max-age=60, private=\"\"")),
        ("/garbled", |a| a.header("cache-control", "max-age=60, private=\"")),
    ];
    for (path, make) in cases {
        world.origin.on(path).answers(move |asked| make(ok(asked.before.to_string())));
        for n in 0..3 {
            world.client.get(path).await.expect(200, &n.to_string());
            assert_eq!(world.origin.saw(path), n + 1, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_for_one_client_are_not_given_to_another() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").replies(
        ok("x")
            .header("cache-control", "max-age=60, private=\"x-name\"")
            .header("x-name", "canary"),
    );
    for _ in 0..5 {
        let reply = world.client.get("/a").await.expect(200, "x");
        assert!(reply.is_forwarded() || reply.field("x-name").is_empty(), "{:?}", reply.headers);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_the_authorized_are_stored_only_if_the_origin_says_that_they_are_for_all() {
    let world = World::with(KEEPS).await;
    for (path, directives, stored) in [
        ("/silent", "", false),
        ("/fresh", "max-age=60", false),
        ("/public", "public, max-age=60", true),
        ("/shared", "s-maxage=60", true),
    ] {
        world.origin.on(path).answers(move |asked| {
            ok(asked.field("authorization").to_owned()).header("cache-control", directives)
        });
        let ask = |who: &str| world.client.asks("GET", path).header("authorization", who).send();
        ask("Bearer a").await.expect(200, "Bearer a");
        let second = ask("Bearer b").await;
        assert_eq!(second.text(), if stored { "Bearer a" } else { "Bearer b" }, "{directives}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_are_not_get_or_head_are_never_answered_from_the_store() {
    let world = World::with(KEEPS).await;
    world
        .origin
        .on("/a")
        .answers(|asked| ok(format!("{} {}", asked.method, asked.before)).max_age(60));
    world.warm("/a").await;
    for (n, method) in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"].into_iter().enumerate() {
        let reply = world.client.asks(method, "/a").send().await;
        assert!(reply.text().starts_with(method), "{method}: {}", reply.text());
        assert_eq!(reply.status().value("fwd"), Some("method"), "{method} {:?}", reply.status());
        assert_eq!(world.origin.saw_method(method, "/a"), 1, "{n}");
    }
    let post = world.client.asks("POST", "/a").send().await;
    assert!(post.text().starts_with("POST"), "what a POST answered was not stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_with_content_is_not_served_from_the_store_and_not_stored() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").answers(|asked| ok(format!("[{}]", asked.content())));
    for content in ["one", "two"] {
        let reply = world.client.asks("GET", "/a").content(content).send().await;
        assert!(reply.status == 400 || reply.text() == format!("[{content}]"), "{}", reply.text());
        assert!(!reply.status().has("stored"));
    }
    world.client.get("/a").await.expect(200, "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_fetched_for_the_one_who_asked_and_never_stored_as_the_whole() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").answers(|asked| match asked.field("range") {
        "bytes=0-1" => ok("wh").code(206).header("content-range", "bytes 0-1/5").max_age(60),
        _ => ok("whole").header("etag", "\"v1\""),
    });
    let part = || world.client.asks("GET", "/a").header("range", "bytes=0-1").send();
    part().await.expect(206, "wh");
    world.client.get("/a").await.expect(200, "whole");
    world.warm("/a").await.expect(200, "whole");
    part().await.expect(206, "wh");
}

#[tokio::test(flavor = "multi_thread")]
async fn preconditions_that_protect_a_write_reach_the_origin() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").answers(|asked| match asked.field("if-match") {
        "" | "\"v2\"" => ok("x").header("etag", "\"v2\""),
        _ => status(412),
    });
    world.warm("/a").await;
    for method in ["GET", "PUT"] {
        let asking = world.client.asks(method, "/a").header("if-match", "\"v1\"");
        assert_eq!(asking.send().await.status, 412, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_through_as_they_happen_and_are_not_stored() {
    let world = World::with(KEEPS).await;
    let taps = [Tap::new(), Tap::new()];
    let streams = taps.clone();
    world.origin.on("/events").answers(move |asked| {
        ok("").header("content-type", "text/event-stream").told_by(&streams[asked.before])
    });
    taps[0].send("data: 1\n\n");
    let mut first = world.client.asks("GET", "/events").open().await;
    assert_eq!(first.text(9).await, "data: 1\n\n");
    taps[0].send("data: 2\n\n");
    assert_eq!(first.text(9).await, "data: 2\n\n", "before the stream has ended");

    taps[1].send("data: 9\n\n");
    let mut second = world.client.asks("GET", "/events").open().await;
    assert_eq!(second.text(9).await, "data: 9\n\n", "a stream of one's own");
    drop(first);
    eventually("the origin learns that nobody listens", async || world.origin.connections() == 1)
        .await;
    taps[1].end();
    assert_eq!(second.rest().await.text(), "");
    assert_eq!(world.origin.saw("/events"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_protocol_passes_and_bytes_flow_both_ways() {
    let world = World::with(KEEPS).await;
    world.origin.on("/socket").replies(Answer::upgrades());
    let mut stream = TcpStream::connect(world.larder.address()).await.unwrap();
    let request =
        "GET /socket HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = soon("101", read_head(&mut stream)).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.to_ascii_lowercase().contains("upgrade: shout"), "{head}");
    for word in ["one", "two"] {
        stream.write_all(word.as_bytes()).await.unwrap();
        let mut answer = [0; 3];
        soon("an answer", stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, word.to_ascii_uppercase().as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_origins_consent_the_protocol_stays_what_it_was() {
    let world = World::with(KEEPS).await;
    world
        .origin
        .on("/a")
        .answers(|asked| ok(asked.field("upgrade").to_owned()).header("cache-control", "no-store"));
    world.origin.on("/smuggled").replies(ok("got it"));
    let mut stream = TcpStream::connect(world.larder.address()).await.unwrap();
    let two = "GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n\
               GET /smuggled HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    stream.write_all(two.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut all)).await;
    let all = String::from_utf8_lossy(&all);
    let answers = all.matches("HTTP/1.1 ").count();
    assert!(all.starts_with("HTTP/1.1 200") || all.starts_with("HTTP/1.1 4"), "{all}");
    // Either each request has its answer, or the connection ended after the first.
    assert_eq!(answers, 1 + world.origin.saw("/smuggled"), "{all}");
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn content_of_a_request_streams_to_the_origin() {
    let world = World::with(KEEPS).await;
    world
        .origin
        .when("POST", "/upload")
        .answers(|asked| ok(format!("got {}", asked.content().len())));
    let (pieces, body) = mpsc::channel(4);
    let asking = world.client.asks("POST", "/upload").streaming(body);
    let answer = tokio::spawn(asking.send());
    pieces.send(Bytes::from_static(b"first")).await.unwrap();
    eventually("the origin has the first piece before the second exists", async || {
        world.origin.asked("/upload").first().is_some_and(|asked| asked.content() == "first")
    })
    .await;
    pieces.send(Bytes::from_static(b" second")).await.unwrap();
    drop(pieces);
    answer.await.unwrap().expect(200, "got 12");
    assert_eq!(world.origin.asked("/upload")[0].content(), "first second");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_come_through_and_are_not_followed() {
    let world = World::with(KEEPS).await;
    let answer = status(302).header("location", "http://169.254.169.254/latest");
    world.origin.on("/a").replies(answer);
    let reply = world.client.get("/a").await;
    assert_eq!(reply.status, 302);
    assert_eq!(reply.field("location"), "http://169.254.169.254/latest");
}
