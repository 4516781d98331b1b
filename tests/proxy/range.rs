//! Parts of what is stored as a whole: which, how, and when not.

use std::time::Duration;

use crate::World;
use crate::support::client::{Client, Reply};
use crate::support::origin::{Answer, ok, status};
use crate::support::wait::eventually;

const KEEPS: &str = "soft_ttl = \"1h\"";

const WHOLE: &str = "0123456789abcdef";

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// The whole, with all that a client may ask about.
fn whole() -> Answer {
    ok(WHOLE)
        .header("etag", "\"v1\"")
        .header("last-modified", MODIFIED)
        .header("content-type", "text/plain")
        .header("content-location", "/a.txt")
        .header("content-digest", "sha-256=:AAAA:")
        .header("vary", "accept")
        .header("x-own", "1")
        .max_age(3600)
}

async fn stocked() -> World {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").replies(whole());
    world.warm("/a").await.expect(200, WHOLE);
    world
}

async fn part(client: &Client, range: &str, fields: &[(&'static str, &str)]) -> Reply {
    let mut asking = client.asks("GET", "/a").header("range", range);
    for (name, value) in fields {
        asking = asking.header(name, value);
    }
    asking.send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_whole_answers_for_any_of_its_parts() {
    let world = stocked().await;
    for client in [world.client.clone(), world.client.over_http2()] {
        for (range, extent, text) in [
            ("bytes=0-3", "bytes 0-3/16", "0123"),
            ("Bytes=4-4", "bytes 4-4/16", "4"),
            ("bytes=10-", "bytes 10-15/16", "abcdef"),
            ("bytes=10-9999", "bytes 10-15/16", "abcdef"),
            ("bytes=-3", "bytes 13-15/16", "def"),
            ("bytes=-99", "bytes 0-15/16", WHOLE),
            ("bytes=0-", "bytes 0-15/16", WHOLE),
            ("bytes=0-3,2-5", "bytes 0-5/16", "012345"),
            ("bytes=0-3,99-", "bytes 0-3/16", "0123"),
        ] {
            let reply = part(&client, range, &[]).await.expect(206, text);
            assert_eq!(reply.field("content-range"), extent, "{range}");
            assert_eq!(reply.field("content-length"), text.len().to_string(), "{range}");
            for (name, value) in [
                ("etag", "\"v1\""),
                ("last-modified", MODIFIED),
                ("content-type", "text/plain"),
                ("content-location", "/a.txt"),
                ("cache-control", "max-age=3600"),
                ("vary", "accept"),
                ("x-own", "1"),
            ] {
                assert_eq!(reply.field(name), value, "{range}: {name}");
            }
            assert!(!reply.field("date").is_empty() && reply.age().is_some(), "{range}");
            assert_eq!(reply.field("content-digest"), "", "it was the digest of other bytes");
            assert!(reply.is_hit(), "{:?}", reply.status());
        }
    }
    world.client.get("/a").await.expect(200, WHOLE);
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_parts_come_in_one_message_each_saying_what_it_is() {
    let world = stocked().await;
    let mut boundaries = Vec::new();
    for client in [world.client.clone(), world.client.over_http2()] {
        let reply = part(&client, "bytes=12-13,0-1,1-3", &[]).await;
        assert_eq!(reply.status, 206);
        let kind = reply.field("content-type").to_owned();
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
        assert_eq!(reply.field("content-range"), "", "it stands in each part");
        let part = |range: &str, text: &str| {
            format!(
                "--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: {range}\r\n\r\n{text}\r\n"
            )
        };
        let expected = [
            part("bytes 12-13/16", "cd"),
            part("bytes 0-3/16", "0123"),
            format!("--{boundary}--\r\n"),
        ];
        assert_eq!(reply.text(), expected.concat());
        assert_eq!(reply.field("content-length"), reply.text().len().to_string());
        assert_eq!(reply.field("etag"), "\"v1\"");
        assert!(reply.is_hit() && reply.whole, "{:?}", reply.status());
        boundaries.push(boundary.to_owned());
    }
    assert_ne!(boundaries[0], boundaries[1], "nobody can guess the next one");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_too_many_parts_or_in_vain_is_told_so() {
    let world = stocked().await;
    world.origin.on("/large").replies(ok("x".repeat(1000)));
    world.warm("/large").await;
    let many = |n: u32| {
        let parts: Vec<_> = (0..n).map(|n| format!("{}-{}", n * 10, n * 10 + 1)).collect();
        format!("bytes={}", parts.join(","))
    };
    let large = |range: String| world.client.asks("GET", "/large").header("range", &range).send();
    assert_eq!(large(many(16)).await.status, 206);
    large(many(17)).await.expect(200, &"x".repeat(1000));

    for range in ["bytes=16-", "bytes=16-20", "bytes=-0", "bytes=99999999999999999999-"] {
        let reply = part(&world.client, range, &[]).await.expect(416, "");
        assert_eq!(reply.field("content-range"), "bytes */16", "{range}");
        assert_eq!(reply.field("content-length"), "0", "{range}");
        for name in ["cache-control", "etag", "last-modified", "age", "content-type"] {
            assert_eq!(reply.field(name), "", "a refusal is nothing to keep: {name}");
        }
        assert!(reply.is_hit(), "{:?}", reply.status());
    }
    world.client.get("/a").await.expect(200, WHOLE);
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_is_not_valid_does_not_count() {
    let world = stocked().await;
    for range in ["bytes=", "bytes=x", "bytes=5-2", "bytes=0-1,x", "bytes=-"] {
        let reply = part(&world.client, range, &[]).await.expect(200, WHOLE);
        assert!(reply.is_hit(), "{range}: {:?}", reply.status());
        assert_eq!(reply.field("content-range"), "", "{range}");
    }
    let twice = part(&world.client, "bytes=0-1", &[("range", "bytes=2-3")]).await;
    assert!(twice.expect(200, WHOLE).is_hit());
    world.origin.on("/cold").answers(|asked| ok(format!("[{}]", asked.field("range"))));
    let cold = world.client.asks("GET", "/cold").header("range", "bytes=5-2");
    cold.send().await.expect(200, "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_is_none_of_ours_is_left_to_the_origin() {
    let world = stocked().await;
    world.origin.on("/a").answers(|asked| match asked.field("range") {
        "" => whole(),
        _ => ok("the first two").header("content-range", "items 0-1/9").max_age(60),
    });
    for range in ["items=0-1", "0-1"] {
        let reply = part(&world.client, range, &[]).await.expect(200, "the first two");
        assert_eq!(reply.status().value("detail"), Some("range"), "{:?}", reply.status());
    }
    world.client.get("/a").await.expect(200, WHOLE);
    world.origin.on("/cold").answers(|asked| match asked.field("range") {
        "" => ok("all"),
        _ => ok("some"),
    });
    world.client.asks("GET", "/cold").header("range", "items=0-1").send().await;
    world.client.get("/cold").await.expect(200, "all");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_empty_or_no_success_has_no_parts() {
    let world = World::with("soft_ttl = \"1h\"\nnegative_ttl = \"1h\"").await;
    world.origin.on("/a").replies(ok(""));
    world.warm("/a").await.expect(200, "");
    for range in ["bytes=0-", "bytes=-5", "bytes=0-0,2-3"] {
        part(&world.client, range, &[]).await.expect(200, "");
    }
    world.origin.on("/gone").replies(status(410));
    world.warm("/gone").await.expect(410, "410");
    let gone = world.client.asks("GET", "/gone").header("range", "bytes=0-0").send().await;
    assert!(gone.expect(410, "410").is_hit());
}

#[tokio::test(flavor = "multi_thread")]
async fn if_range_decides_between_the_part_and_the_whole() {
    let world = stocked().await;
    for (condition, holds) in [
        ("\"v1\"", true),
        ("W/\"v1\"", false),
        ("\"v2\"", false),
        (MODIFIED, true),
        ("Sun, 06 Nov 1994 08:49:38 GMT", false),
        ("Sunday, 06-Nov-94 08:49:37 GMT", false),
        ("x", false),
    ] {
        let reply = part(&world.client, "bytes=0-3", &[("if-range", condition)]).await;
        let reply = if holds { reply.expect(206, "0123") } else { reply.expect(200, WHOLE) };
        assert!(reply.is_hit(), "{condition}: {:?}", reply.status());
    }
    // RFC 9110 §13.1.5: without Range it says nothing.
    let alone = world.client.asks("GET", "/a").header("if-range", "\"v2\"").send().await;
    alone.expect(200, WHOLE);
    // A weak tag, and a date that is not over yet, vouch for no bytes.
    let now = world.client.get("/a").await.field("date").to_owned();
    world.origin.on("/weak").replies(
        ok(WHOLE).header("etag", "W/\"v1\"").header("last-modified", &now).header("date", &now),
    );
    world.warm("/weak").await;
    for condition in ["W/\"v1\"", "\"v1\"", &now] {
        let asking = world.client.asks("GET", "/weak").header("range", "bytes=0-3");
        asking.header("if-range", condition).send().await.expect(200, WHOLE);
    }
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_has_no_parts() {
    let world = stocked().await;
    for range in ["bytes=0-3", "bytes=99-"] {
        let reply = world.client.asks("HEAD", "/a").header("range", range).send().await;
        let reply = reply.expect(200, "");
        assert_eq!(reply.field("content-length"), "16", "{range}");
        assert_eq!(reply.field("content-range"), "", "{range}");
        assert!(reply.is_hit(), "{:?}", reply.status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_has_already_comes_before_which_part_of_it() {
    let world = stocked().await;
    let not_modified = [("if-none-match", "\"v1\"")];
    for range in ["bytes=0-3", "bytes=99-", "bytes=0-0,5-5"] {
        let reply = part(&world.client, range, &not_modified).await.expect(304, "");
        assert_eq!(reply.field("content-range"), "", "{range}");
    }
    let since = [("if-modified-since", MODIFIED)];
    part(&world.client, "bytes=0-3", &since).await.expect(304, "");
    let other = [("if-none-match", "\"v0\""), ("if-range", "\"v1\"")];
    part(&world.client, "bytes=0-3", &other).await.expect(206, "0123");
    let both = [("if-none-match", "\"v0\""), ("if-range", "\"v0\"")];
    part(&world.client, "bytes=0-3", &both).await.expect(200, WHOLE);
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_whole_answers_as_for_a_request_without_range() {
    let world = World::with("soft_ttl = \"100ms\"\nhard_ttl = \"1h\"").await;
    world.origin.on("/a").answers(|asked| match asked.before {
        0 => ok(WHOLE),
        _ => ok("FEDCBA9876543210").max_age(3600),
    });
    world.client.get("/a").await.expect(200, WHOLE);
    world.larder.until_verdict("/a", "serve-and-refresh").await;
    let stale = part(&world.client, "bytes=0-3", &[]).await.expect(206, "0123");
    assert!(stale.is_stale(), "{:?}", stale.status());
    eventually("the new is served", async || {
        part(&world.client, "bytes=0-3", &[]).await.text() == "FEDC"
    })
    .await;
    for asked in world.origin.asked("/a") {
        assert_eq!(asked.field("range"), "", "a refresh is for everybody");
    }
    assert_eq!(world.origin.saw("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_past_its_time_is_confirmed_and_then_cut() {
    let world = World::with("soft_ttl = \"50ms\"\nhard_ttl = \"100ms\"").await;
    world.origin.on("/a").answers(|asked| match asked.field("if-none-match") {
        "\"v1\"" => status(304).max_age(3600),
        _ => ok(WHOLE).header("etag", "\"v1\""),
    });
    world.client.get("/a").await.expect(200, WHOLE);
    world.larder.until_verdict("/a", "revalidate").await;
    let fields = [("if-range", "\"v1\"")];
    let reply = part(&world.client, "bytes=-2", &fields).await.expect(206, "ef");
    assert_eq!(reply.status().value("fwd"), Some("stale"), "{:?}", reply.status());
    assert_eq!(reply.status().value("fwd-status"), Some("304"), "{:?}", reply.status());
    let asked = world.origin.asked("/a");
    assert_eq!((asked[1].field("range"), asked[1].field("if-range")), ("", ""));
    assert!(part(&world.client, "bytes=-2", &[]).await.expect(206, "ef").is_hit());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_covers_for_an_origin_that_is_gone() {
    let keys = "soft_ttl = \"50ms\"\nhard_ttl = \"100ms\"\nstale_if_error = \"1h\"";
    let mut world = World::with(keys).await;
    world.origin.on("/a").replies(ok(WHOLE));
    world.client.get("/a").await.expect(200, WHOLE);
    world.larder.until_verdict("/a", "fetch").await;
    world.origin.stop().await;
    for _ in 0..3 {
        let reply = part(&world.client, "bytes=4-7", &[]).await.expect(206, "4567");
        assert!(reply.is_stale(), "{:?}", reply.status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_a_question_about_a_whole_gets_a_part_of_it() {
    let world = World::with("soft_ttl = \"50ms\"\nhard_ttl = \"100ms\"").await;
    world.origin.on("/a").answers(|asked| match asked.field("if-none-match") {
        "\"v1\"" => status(304).max_age(3600).delay(Duration::from_millis(300)),
        _ => ok(WHOLE).header("etag", "\"v1\""),
    });
    world.client.get("/a").await.expect(200, WHOLE);
    world.larder.until_verdict("/a", "revalidate").await;
    let ask = |client: &Client, _| client.asks("GET", "/a").header("range", "bytes=0-3");
    for reply in world.client.crowd_of(20, ask).await {
        reply.expect(206, "0123");
    }
    assert_eq!(world.origin.saw("/a"), 2, "one question for all of them");
}
