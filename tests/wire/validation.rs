//! Does it still stand, here and at the client (RFC 9111 §4.3, RFC 9110 §13)?

use crate::stage::{Stage, date};
use crate::support::client::Reply;
use crate::support::origin::{Answer, ok, status};

/// A minute's worth, and older than that already.
fn stale(content: &'static str) -> Answer {
    ok(content).max_age(60).header("age", "100")
}

/// It came from the store because the origin said that it may.
#[track_caller]
fn was_confirmed(reply: &Reply) {
    let told = reply.status();
    let told = (told.value("fwd"), told.value("fwd-status"), told.has("hit"));
    assert_eq!(told, (Some("stale"), Some("304"), false), "{reply:?}");
}

pub(crate) async fn a_304_renews_what_is_stored(stage: &Stage) {
    stage.answers("/a", |asked| match asked.field("if-none-match") {
        "\"1\"" => status(304).max_age(1_000).header("etag", "\"1\"").header("x-seen", "twice"),
        _ => stale("one").header("etag", "\"1\"").header("x-seen", "once").header("x-kept", "1"),
    });
    let first = stage.stores("/a").await.expect(200, "one");
    assert_eq!(first.age(), Some(100));
    let renewed = stage.get("/a").await.expect(200, "one");
    was_confirmed(&renewed);
    for reply in [renewed, stage.hit("/a").await.expect(200, "one")] {
        let seen: Vec<_> = reply.headers.get_all("x-seen").iter().collect();
        assert_eq!(seen, ["twice"], "{reply:?}");
        assert_eq!(reply.field("x-kept"), "1", "{reply:?}");
        assert!(reply.age().is_some_and(|age| age < 60), "the age starts anew: {reply:?}");
        assert_eq!(reply.field("cache-control"), "max-age=1000");
    }
    assert_eq!(stage.saw("/a"), 2);
}

pub(crate) async fn a_last_modified_is_asked_about_as_it_came(stage: &Stage) {
    let recent = date(-1_000);
    for (path, modified) in [
        ("/recent", recent.as_str()),
        ("/obsolete", "Sunday, 06-Nov-94 08:49:37 GMT"),
        ("/c", "Sun Nov  6 08:49:37 1994"),
    ] {
        let told = modified.to_owned();
        stage.answers(path, move |asked| match asked.field("if-modified-since") == told {
            true => status(304).max_age(1_000),
            false => stale("one").header("last-modified", &told),
        });
        stage.stores(path).await;
        was_confirmed(&stage.get(path).await.expect(200, "one"));
        stage.hit(path).await.expect(200, "one");
        assert_eq!(stage.asked(path)[1].field("if-none-match"), "", "{path}");
    }
}

pub(crate) async fn another_answer_takes_the_place_of_what_was_stored(stage: &Stage) {
    stage.answers("/a", |asked| match asked.before {
        0 => stale("one").header("etag", "\"1\"").header("x-old", "1"),
        _ => ok("two").max_age(1_000).header("etag", "\"2\""),
    });
    stage.stores("/a").await.expect(200, "one");
    let new = stage.get("/a").await.expect(200, "two");
    assert_eq!(new.status().value("fwd"), Some("stale"), "{new:?}");
    assert_eq!(new.status().value("fwd-status"), Some("200"), "{new:?}");
    stage.until_fresh("/a").await;
    let hit = stage.hit("/a").await.expect(200, "two");
    assert_eq!((hit.field("etag"), hit.field("x-old")), ("\"2\"", ""));
    // What is gone is no longer served either.
    stage.answers("/b", |asked| match asked.before {
        0 => stale("one").header("etag", "\"1\""),
        _ => status(410).max_age(1_000),
    });
    stage.stores("/b").await;
    assert_eq!(stage.get("/b").await.status, 410);
    stage.until_fresh("/b").await;
    assert_eq!(stage.hit("/b").await.status, 410);
}

pub(crate) async fn no_cache_is_stored_and_asked_about_each_time(stage: &Stage) {
    for (path, control) in [
        ("/alone", "no-cache"),
        ("/fresh", "max-age=60, no-cache"),
        ("/public", "public, no-cache, max-age=60"),
    ] {
        let plain = control == "no-cache";
        stage.answers(path, move |asked| {
            let answer = match asked.field("if-none-match") {
                "\"1\"" => status(304),
                _ => ok("one"),
            };
            let answer = answer.header("cache-control", control).header("etag", "\"1\"");
            if plain { answer.header("expires", "0") } else { answer }
        });
        stage.stores(path).await;
        for time in 2..=4 {
            was_confirmed(&stage.get(path).await.expect(200, "one"));
            assert_eq!(stage.saw(path), time, "{path}");
        }
    }
}

pub(crate) async fn a_304_about_something_else_renews_nothing(stage: &Stage) {
    stage.answers("/a", |asked| match (asked.before, asked.field("if-none-match")) {
        (0, _) => stale("one").header("etag", "\"1\""),
        (_, "") => ok("two").max_age(1_000).header("etag", "\"2\""),
        _ => status(304).max_age(1_000).header("etag", "\"2\""),
    });
    stage.stores("/a").await.expect(200, "one");
    stage.get("/a").await.expect(200, "two");
    stage.until_fresh("/a").await;
    stage.hit("/a").await.expect(200, "two");
    assert_eq!(stage.saw("/a"), 3);
}

pub(crate) async fn who_has_it_is_told_so(stage: &Stage) {
    let modified = date(-1_000);
    let one = ok("one").max_age(60).header("etag", "W/\"v\"").header("last-modified", &modified);
    stage.on("/a", one.header("content-type", "text/x").header("vary", "x-a").header("x-b", "c"));
    stage.stores("/a").await;
    let later = date(-10);
    for (name, value) in [
        ("if-none-match", "\"v\""),
        ("if-none-match", "W/\"v\""),
        ("if-none-match", "\"u\", W/\"v\""),
        ("if-none-match", "*"),
        ("if-modified-since", &modified),
        ("if-modified-since", &later),
    ] {
        let reply = stage.get_with("/a", name, value).await.expect(304, "");
        assert!(reply.is_hit(), "{name}: {value}: {reply:?}");
        for (field, expected) in [
            ("etag", "W/\"v\""),
            ("cache-control", "max-age=60"),
            ("vary", "x-a"),
            ("x-b", "c"),
            ("content-type", ""),
            ("content-length", ""),
        ] {
            assert_eq!(reply.field(field), expected, "{name}: {value}: {field}");
        }
        assert!(reply.age().is_some() && !reply.field("date").is_empty(), "{reply:?}");
    }
    let both = stage.asks("GET", "/a").header("if-none-match", "\"v\"");
    both.header("if-modified-since", &date(-5_000)).send().await.expect(304, "");
    assert_eq!(stage.saw("/a"), 1);
}

pub(crate) async fn a_condition_that_fails_gets_the_whole(stage: &Stage) {
    let one = ok("one").max_age(60).header("etag", "\"v\"");
    stage.on("/a", one.header("last-modified", &date(-1_000)));
    stage.stores("/a").await;
    let before = date(-2_000);
    for (name, value) in [
        ("if-none-match", "\"V\""),
        ("if-none-match", "v"),
        ("if-none-match", "w/\"v\""),
        ("if-none-match", ""),
        ("if-modified-since", &before),
        ("if-modified-since", "yesterday"),
        ("if-modified-since", ""),
    ] {
        let reply = stage.get_with("/a", name, value).await.expect(200, "one");
        assert!(reply.is_hit(), "{name}: {value}: {reply:?}");
    }
    // RFC 9110 §13.2.2: If-Modified-Since does not count beside If-None-Match.
    let both = stage.asks("GET", "/a").header("if-none-match", "\"u\"");
    both.header("if-modified-since", &date(0)).send().await.expect(200, "one");
    assert_eq!(stage.saw("/a"), 1);
    // One who asks about an older one gets the one that the origin has just confirmed.
    stage.answers("/b", |asked| match asked.field("if-none-match") {
        "\"v\"" => status(304).max_age(60),
        "" => stale("one").header("etag", "\"v\""),
        other => panic!("only the store's tag is asked about, not {other}"),
    });
    stage.stores("/b").await;
    let old = stage.get_with("/b", "if-none-match", "\"u\"").await.expect(200, "one");
    was_confirmed(&old);
    stage.get_with("/b", "if-none-match", "\"v\"").await.expect(304, "");
}

pub(crate) async fn conditions_are_for_200_alone(stage: &Stage) {
    for code in [404, 410, 301] {
        let path = format!("/{code}");
        stage.on(&path, status(code).max_age(60).header("etag", "\"v\""));
        stage.stores(&path).await;
        for condition in ["\"v\"", "*"] {
            let reply = stage.get_with(&path, "if-none-match", condition).await;
            assert!(reply.is_hit() && reply.status == code, "{code} {condition}: {reply:?}");
        }
    }
}

pub(crate) async fn a_conditional_head_is_answered_from_the_store(stage: &Stage) {
    stage.on("/a", ok("one").max_age(60).header("etag", "\"v\""));
    stage.stores("/a").await;
    for (condition, code) in [("\"v\"", 304), ("\"u\"", 200)] {
        let head = stage.asks("HEAD", "/a").header("if-none-match", condition).send().await;
        assert!(head.is_hit(), "{condition}: {head:?}");
        let head = head.expect(code, "");
        assert_eq!(head.field("etag"), "\"v\"");
    }
    assert_eq!(stage.saw("/a"), 1);
}
