//! What stands beside RFC 9111: ranges and parts (RFC 9110 §14), HEAD (§9.3.2), answers to POST
//! (§9.3.3), QUERY (RFC 10008), Cache Groups (RFC 9875).

use crate::stage::{Stage, date};
use crate::support::client::Reply;
use crate::support::origin::{Answer, ok, status};
use crate::support::wait::eventually;

const DIGITS: &str = "0123456789";

/// The part of [`DIGITS`] from `first` to `last`, under a tag.
fn part(first: usize, last: usize) -> Answer {
    ok(&DIGITS[first..=last])
        .code(206)
        .max_age(60)
        .header("etag", "\"1\"")
        .header("content-range", &format!("bytes {first}-{last}/{}", DIGITS.len()))
}

/// Asks for a range until the answer comes from the store.
async fn part_from_store(stage: &Stage, path: &str, range: &str) -> Reply {
    loop {
        let reply = stage.get_with(path, "range", range).await;
        assert!(reply.is_shared(), "{path} {range} should be there: {reply:?}");
        if reply.is_hit() {
            return reply;
        }
    }
}

pub(crate) async fn a_stored_whole_answers_for_its_parts(stage: &Stage) {
    stage.on("/a", ok(DIGITS).max_age(60).header("etag", "\"1\""));
    stage.stores("/a").await;
    for (range, code, content, told) in [
        ("bytes=2-4", 206, "234", "bytes 2-4/10"),
        ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=-1", 206, "9", "bytes 9-9/10"),
        ("bytes=10-", 416, "", "bytes */10"),
    ] {
        let reply = part_from_store(stage, "/a", range).await.expect(code, content);
        assert_eq!(reply.field("content-range"), told, "{reply:?}");
    }
    let both = part_from_store(stage, "/a", "bytes=0-1,8-9").await;
    assert_eq!(both.status, 206);
    assert!(both.field("content-type").starts_with("multipart/byteranges; boundary="), "{both:?}");
    assert!(both.text().contains("Content-Range: bytes 8-9/10\r\n\r\n89"), "{}", both.text());
    let whole = stage.asks("GET", "/a").header("range", "bytes=2-4").header("if-range", "\"2\"");
    whole.send().await.expect(200, DIGITS);
    stage.asks("HEAD", "/a").header("range", "bytes=2-4").send().await.expect(200, "");
    assert_eq!(stage.saw("/a"), 1);
}

pub(crate) async fn parts_are_kept_and_become_the_whole(stage: &Stage) {
    stage.answers("/a", |asked| match asked.field("range") {
        "bytes=0-5" => part(0, 5),
        "bytes=4-" => part(4, 9),
        other => panic!("asked for {other:?}"),
    });
    stage.get_with("/a", "range", "bytes=0-5").await.expect(206, "012345");
    part_from_store(stage, "/a", "bytes=1-3").await.expect(206, "123");
    stage.get_with("/a", "range", "bytes=4-").await.expect(206, "456789");
    stage.hit("/a").await.expect(200, DIGITS);
    assert_eq!(stage.saw("/a"), 2);
}

pub(crate) async fn a_write_reaches_parts(stage: &Stage) {
    stage.when("GET", "/a", part(0, 5));
    stage.when("PUT", "/a", status(204));
    stage.get_with("/a", "range", "bytes=0-5").await.expect(206, "012345");
    part_from_store(stage, "/a", "bytes=0-5").await;
    stage.asks("PUT", "/a").content("x").send().await.expect(204, "");
    let reply = stage.get_with("/a", "range", "bytes=0-5").await;
    assert!(reply.is_forwarded(), "{reply:?}");
}

pub(crate) async fn a_head_that_matches_renews_and_one_that_differs_ends_it(stage: &Stage) {
    for (path, tag, renewed) in [("/same", "\"1\"", true), ("/other", "\"2\"", false)] {
        stage.answers(path, move |asked| match asked.method.as_str() {
            "HEAD" => ok("one").max_age(1_000).header("etag", tag),
            _ => ok("one").max_age(60).header("age", "100").header("etag", "\"1\""),
        });
        stage.stores(path).await;
        stage.asks("HEAD", path).send().await.expect(200, "");
        let fresh = || async { stage.explained(path, &[]).await["verdict"] == "serve" };
        if renewed {
            eventually("the entry is renewed", fresh).await;
            stage.hit(path).await.expect(200, "one");
            assert_eq!(stage.saw(path), 2);
        } else {
            assert!(!fresh().await);
            assert!(stage.get(path).await.is_forwarded());
        }
    }
}

pub(crate) async fn the_answer_to_a_post_is_what_the_next_get_gets(stage: &Stage) {
    let place = stage.at("/a");
    let answer = ok("made").header("content-location", &place).header("expires", &date(3_600));
    stage.when("POST", "/a", answer.header("date", &date(0)));
    stage.when("GET", "/a", ok("fetched").max_age(60));
    stage.when("PUT", "/a", status(204));
    stage.asks("POST", "/a").content("x").send().await.expect(200, "made");
    eventually("it is stored", async || !stage.explained("/a", &[]).await["found"].is_null()).await;
    stage.hit("/a").await.expect(200, "made");
    stage.asks("PUT", "/a").content("x").send().await.expect(204, "");
    stage.get("/a").await.expect(200, "fetched");
}

pub(crate) async fn a_query_is_told_apart_by_its_content(stage: &Stage) {
    stage.answers("/a", |asked| match asked.method.as_str() {
        "QUERY" => ok(format!("to {}", asked.content())).max_age(60),
        _ => status(204),
    });
    let ask = |content: &'static str| {
        stage.asks("QUERY", "/a").header("content-type", "text/plain").content(content).send()
    };
    for content in ["x", "y"] {
        let first = ask(content).await.expect(200, &format!("to {content}"));
        assert!(first.is_forwarded(), "{first:?}");
        while !ask(content).await.expect(200, &format!("to {content}")).is_hit() {}
    }
    assert_eq!(stage.saw("/a"), 2);
    stage.asks("DELETE", "/a").send().await.expect(204, "");
    assert!(ask("x").await.expect(200, "to x").is_forwarded());
}

pub(crate) async fn a_group_is_invalidated_together(stage: &Stage) {
    let named = format!("\"{}\"", stage.at("/group"));
    for path in ["/a", "/b"] {
        stage.on(path, ok("x").max_age(60).header("cache-groups", &named));
        stage.stores(path).await;
    }
    stage.on("/c", ok("x").max_age(60));
    stage.stores("/c").await;
    stage.on("/elsewhere/write", status(204).header("cache-group-invalidation", &named));
    stage.asks("POST", "/elsewhere/write").content("x").send().await.expect(204, "");
    for path in ["/a", "/b"] {
        assert!(stage.get(path).await.is_forwarded(), "{path}");
    }
    stage.hit("/c").await;
}
