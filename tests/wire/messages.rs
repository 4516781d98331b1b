//! Does a message come out of the store as it went in (RFC 9111 §3.1, RFC 9211)?

use crate::stage::{Place, Stage, date};
use crate::support::client::Reply;
use crate::support::origin::{ok, status};
use crate::support::wait::eventually;

/// All lines of a field, octet for octet.
fn lines<'r>(reply: &'r Reply, name: &str) -> Vec<&'r [u8]> {
    reply.headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect()
}

pub(crate) async fn lines_of_a_field_survive_in_their_order(stage: &Stage) {
    let links = ["</b>; rel=next", "</a>; rel=prev", "</b>; rel=next", "", "</c>, </d>"];
    let challenges = ["Basic realm=\"a, b\"", "Bearer"];
    let mut answer = ok("one").max_age(60);
    for link in links {
        answer = answer.header("link", link);
    }
    for challenge in challenges {
        answer = answer.header("www-authenticate", challenge);
    }
    stage.on("/a", answer);
    for reply in [stage.stores("/a").await, stage.hit("/a").await] {
        assert_eq!(lines(&reply, "link"), links.map(str::as_bytes), "{reply:?}");
        assert_eq!(lines(&reply, "www-authenticate"), challenges.map(str::as_bytes), "{reply:?}");
    }
}

pub(crate) async fn octets_beyond_ascii_survive(stage: &Stage) {
    let said = "na\u{ef}ve \u{1f980} \u{7ff}\twith a tab";
    stage.on("/a", ok("one").max_age(60).header("x-said", said));
    for reply in [stage.stores("/a").await, stage.hit("/a").await] {
        assert_eq!(lines(&reply, "x-said"), [said.as_bytes()], "{reply:?}");
    }
    // From a client to the origin, and as a part of what selects a variant.
    stage.answers("/b", |asked| {
        let value = asked.headers.get("x-said").map(|v| v.as_bytes().to_vec()).unwrap_or_default();
        ok(value).max_age(60).header("vary", "x-said")
    });
    for value in [said, "na\u{ee}ve"] {
        let first = stage.get_with("/b", "x-said", value).await.expect(200, value);
        assert!(first.is_forwarded(), "{first:?}");
    }
    eventually("it is a hit", async || {
        let reply = stage.get_with("/b", "x-said", said).await.expect(200, said);
        reply.is_hit()
    })
    .await;
}

pub(crate) async fn fields_for_one_connection_are_not_stored(stage: &Stage) {
    let answer = ok("one").max_age(60).header("connection", "x-hop, keep-alive");
    let hops = ["x-hop", "keep-alive", "proxy-connection", "te", "upgrade"];
    let more = ["proxy-authenticate", "proxy-authentication-info", "trailer"];
    let all = hops.iter().chain(&more);
    stage.on("/a", all.fold(answer, |answer, name| answer.header(name, "timeout")));
    let first = stage.stores("/a").await;
    let hit = stage.hit("/a").await.expect(200, "one");
    for name in hops.iter().chain(&["connection", "transfer-encoding"]) {
        assert_eq!((lines(&first, name), lines(&hit, name)), (vec![], vec![]), "{name}");
    }
    for name in more {
        assert_eq!(lines(&hit, name), Vec::<&[u8]>::new(), "{name}");
    }
}

pub(crate) async fn fields_that_are_taken_back_are_not_stored(stage: &Stage) {
    let control = "max-age=60, private=\"X-User, x-trace\", no-cache=\"x-fresh\"";
    let answer = ok("one").header("cache-control", control).header("x-kept", "1");
    let taken = ["x-user", "x-trace", "x-fresh"];
    stage.on("/a", taken.into_iter().fold(answer, |answer, name| answer.header(name, "mine")));
    let first = stage.stores("/a").await;
    let hit = stage.hit("/a").await.expect(200, "one");
    for name in taken {
        assert_eq!(first.field(name), "mine", "{name} is for who asked");
        assert_eq!(hit.field(name), "", "{name}");
    }
    assert_eq!(hit.field("x-kept"), "1");
    // What cannot be reused without a field cannot be reused.
    for (path, control) in [
        ("/type", "max-age=60, private=\"content-type\""),
        ("/vary", "max-age=60, private=\"vary\""),
    ] {
        stage.on(path, ok("one").header("cache-control", control).header("vary", "x-a"));
        stage.never_stores(path, &[]).await;
    }
}

pub(crate) async fn a_hit_says_how_old_it_is_and_keeps_the_date(stage: &Stage) {
    let sent = date(-30);
    stage.on("/a", ok("one").max_age(1_000).header("date", &sent).header("age", "40"));
    for reply in [stage.stores("/a").await, stage.hit("/a").await] {
        assert!(reply.age().is_some_and(|age| (40..100).contains(&age)), "{reply:?}");
        assert_eq!(lines(&reply, "age").len(), 1, "{reply:?}");
        assert_eq!(lines(&reply, "date"), [sent.as_bytes()], "{reply:?}");
    }
    // What is not stored has the age that the origin gave it, or none.
    stage.on("/b", ok("one").header("cache-control", "no-store").header("age", "7"));
    assert_eq!(stage.get("/b").await.age(), Some(7));
}

pub(crate) async fn cache_status_goes_behind_what_others_said(stage: &Stage) {
    let theirs = "\"Origin's own\"; hit; ttl=5, Other; fwd=miss";
    stage.on("/a", ok("one").max_age(60).header("cache-status", theirs));
    for reply in [stage.fills("/a", &[]).await, stage.get("/a").await] {
        let lines = lines(&reply, "cache-status");
        assert_eq!(lines.first().copied(), Some(theirs.as_bytes()), "{reply:?}");
        assert_eq!(lines.len(), 2, "{reply:?}");
        assert!(lines[1].starts_with(b"larder; "), "{reply:?}");
    }
}

pub(crate) async fn a_megabyte_comes_back_octet_for_octet(stage: &Stage) {
    let mut state = 1_u32;
    let content: String = (0..1 << 20)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(u8::try_from(state >> 25).unwrap())
        })
        .collect();
    stage.on("/a", ok(content.clone()).max_age(60));
    for reply in [stage.stores("/a").await, stage.hit("/a").await] {
        assert!(reply.whole && reply.text() == content, "{} octets", reply.text().len());
        assert_eq!(reply.field("content-length"), "1048576");
    }
    assert_eq!(stage.saw("/a"), 1);
}

pub(crate) async fn nothing_is_stored_as_nothing(stage: &Stage) {
    stage.on("/200", ok("").max_age(60).header("content-type", "text/plain"));
    for reply in [stage.stores("/200").await, stage.hit("/200").await] {
        let reply = reply.expect(200, "");
        assert_eq!(reply.field("content-length"), "0");
        assert_eq!(reply.field("content-type"), "text/plain");
    }
    stage.on("/204", status(204).max_age(60));
    for reply in [stage.stores("/204").await, stage.hit("/204").await] {
        let reply = reply.expect(204, "");
        // RFC 9110 §8.6: "MUST NOT send".
        assert_eq!(lines(&reply, "content-length"), Vec::<&[u8]>::new());
    }
}

pub(crate) async fn a_head_is_answered_from_a_stored_get(stage: &Stage) {
    stage.on("/a", ok("hello").max_age(60).header("etag", "\"1\"").header("x-own", "1"));
    stage.stores("/a").await;
    let head = stage.asks("HEAD", "/a").send().await.expect(200, "");
    assert!(head.is_hit() && head.age().is_some(), "{head:?}");
    for (name, value) in [("content-length", "5"), ("etag", "\"1\""), ("x-own", "1")] {
        assert_eq!(head.field(name), value, "{name}");
    }
    stage.on("/404", status(404).max_age(60));
    stage.stores("/404").await;
    let head = stage.asks("HEAD", "/404").send().await.expect(404, "");
    assert!(head.is_hit(), "{head:?}");
    for path in ["/a", "/404"] {
        assert_eq!(stage.saw(path), 1, "{path}");
    }
}

pub(crate) async fn what_comes_in_chunks_is_stored_whole(stage: &Stage) {
    let length = 300_000;
    stage.on("/a", ok("").max_age(60).endless(length, false));
    let first = stage.stores("/a").await;
    let hit = stage.hit("/a").await;
    for reply in [first, hit] {
        assert!(reply.whole && reply.text().len() as u64 == length, "{reply:?}");
    }
    assert_eq!(stage.hit("/a").await.field("content-length"), "300000");
    assert_eq!(stage.saw("/a"), 1);
}

/// What is served after everything was taken out of Valkey shows where it was.
pub(crate) async fn where_a_hit_comes_from(stage: &Stage) {
    let cache = &stage.world.cache;
    stage.on("/a", ok("one").max_age(60));
    stage.stores("/a").await;
    stage.hit("/a").await.expect(200, "one");
    let digest = stage.explained("/a", &[]).await["key"]["digest"].as_str().unwrap().to_owned();
    if let Some(shelf) = &cache.shelf {
        eventually("Valkey has lost it", async || shelf.loses(&digest)).await;
    }
    let reply = stage.get("/a").await.expect(200, "one");
    let in_memory = cache.place != Place::Valkey;
    assert_eq!(reply.is_hit(), in_memory, "{:?}: {reply:?}", cache.place);
    assert_eq!(stage.saw("/a"), if in_memory { 1 } else { 2 });
}
