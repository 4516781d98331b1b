//! Parts that the origin sent: which are kept, what they answer, what becomes of two of them.

use std::time::Duration;

use crate::World;
use crate::support::client::{Client, Reply};
use crate::support::origin::{Answer, Asked, Gate, Resource, Tap, ok, status};
use crate::support::wait::eventually;

const KEEPS: &str = "soft_ttl = \"1h\"";

const WHOLE: &str = "0123456789abcdef";

/// What an origin that knows ranges says about `text`: the part asked for, or all of it.
fn ranged(asked: &Asked, text: &str, tag: &str) -> Answer {
    let tagged = |answer: Answer| if tag.is_empty() { answer } else { answer.header("etag", tag) };
    let condition = asked.field("if-range");
    let range = asked.field("range").strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let Some((first, last)) = range.filter(|_| condition.is_empty() || condition == tag) else {
        return tagged(ok(text.to_owned()));
    };
    let end = text.len() - 1;
    let (first, last) = match (first, last) {
        ("", n) => (text.len() - n.parse::<usize>().unwrap(), end),
        (first, "") => (first.parse().unwrap(), end),
        (first, last) => (first.parse().unwrap(), last.parse::<usize>().unwrap().min(end)),
    };
    if first > end {
        let range = format!("bytes */{}", text.len());
        return status(416).header("content-range", &range).max_age(3600);
    }
    let range = format!("bytes {first}-{last}/{}", text.len());
    tagged(ok(text[first..=last].to_owned()).code(206).header("content-range", &range))
}

async fn world(tag: &'static str) -> World {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").answers(move |asked| ranged(asked, WHOLE, tag));
    world
}

impl World {
    async fn part(&self, range: &str) -> Reply {
        self.client.asks("GET", "/a").header("range", range).send().await
    }

    /// Asks for a part until it is stored; that hit.
    async fn warm_part(&self, range: &str) -> Reply {
        let mut last = self.part(range).await;
        eventually(&format!("{range} is a hit"), async || {
            last = self.part(range).await;
            last.is_hit()
        })
        .await;
        last
    }

    /// Asks for a part, which goes to the origin; how often that was asked by then.
    async fn forwarded(&self, range: &str, text: &str) -> usize {
        let before = self.origin.saw("/a");
        let reply = self.part(range).await.expect(206, text);
        assert!(reply.is_forwarded(), "{range}: {:?}", reply.status());
        assert_eq!(self.origin.saw("/a"), before + 1, "{range}");
        before + 1
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_came_answers_for_itself_and_what_lies_within() {
    let world = world("\"v1\"").await;
    let first = world.part("bytes=4-11").await.expect(206, "456789ab");
    assert_eq!(first.status().value("fwd"), Some("uri-miss"), "{:?}", first.status());
    assert!(first.status().has("stored"), "{:?}", first.status());
    world.warm_part("bytes=4-11").await.expect(206, "456789ab");
    assert_eq!(world.origin.asked("/a")[0].field("range"), "bytes=4-11");
    let asked = world.origin.saw("/a");
    for (range, extent, text) in [
        ("bytes=4-11", "bytes 4-11/16", "456789ab"),
        ("bytes=5-6", "bytes 5-6/16", "56"),
        ("bytes=11-11", "bytes 11-11/16", "b"),
    ] {
        let reply = world.part(range).await.expect(206, text);
        assert_eq!(reply.field("content-range"), extent);
        assert_eq!(reply.field("content-length"), text.len().to_string());
        assert_eq!(reply.field("etag"), "\"v1\"");
        assert!(reply.is_hit() && reply.age().is_some(), "{:?}", reply.status());
    }
    let several = world.part("bytes=4-4,10-11").await;
    assert!(several.text().contains("bytes 10-11/16\r\n\r\nab\r\n"), "{}", several.text());
    let h2 = world.client.over_http2().asks("GET", "/a").header("range", "bytes=5-6").send();
    assert!(h2.await.expect(206, "56").is_hit());
    assert_eq!(world.origin.saw("/a"), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_answers_for_nothing_else() {
    let world = world("W/\"v1\"").await;
    world.warm_part("bytes=4-11").await;
    let beyond = world.part("bytes=11-12").await.expect(206, "bc");
    assert_eq!(beyond.status().value("fwd"), Some("partial"), "{:?}", beyond.status());
    world.warm_part("bytes=4-11").await;
    world.forwarded("bytes=0-4", "01234").await;
    world.warm_part("bytes=4-11").await;
    world.forwarded("bytes=-2", "ef").await;
    world.warm_part("bytes=4-11").await;
    world.part("bytes=16-").await.expect(416, "416");
    let other = world.client.asks("GET", "/a").header("range", "bytes=4-5");
    let whole = other.header("if-range", "\"v0\"").send().await;
    assert!(whole.is_forwarded(), "If-Range asks for the whole: {:?}", whole.status());
    whole.expect(200, WHOLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_never_taken_for_the_whole() {
    let world = world("\"v1\"").await;
    world.warm_part("bytes=0-3").await.expect(206, "0123");
    let whole = world.client.get("/a").await.expect(200, WHOLE);
    assert!(whole.is_forwarded(), "{:?}", whole.status());
    let head = world.client.asks("HEAD", "/a").send().await;
    assert_eq!(head.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_at_the_end_are_found_from_the_end() {
    let world = world("\"v1\"").await;
    world.warm_part("bytes=10-").await.expect(206, "abcdef");
    let asked = world.origin.saw("/a");
    for (range, text) in [("bytes=-2", "ef"), ("bytes=12-", "cdef"), ("bytes=14-99", "ef")] {
        assert!(world.part(range).await.expect(206, text).is_hit(), "{range}");
    }
    assert_eq!(world.origin.saw("/a"), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_parts_of_the_same_become_one_and_then_the_whole() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").answers(|asked| {
        ranged(asked, WHOLE, "\"v1\"")
            .header("content-type", "text/plain")
            .header("x-seen", &asked.before.to_string())
    });
    world.warm_part("bytes=0-3").await;
    let asked = world.forwarded("bytes=4-7", "4567").await;
    eventually("both are one", async || world.part("bytes=2-5").await.is_hit()).await;
    let middle = world.part("bytes=2-5").await.expect(206, "2345");
    assert_eq!(middle.field("x-seen"), (asked - 1).to_string(), "the newer fields count");
    assert_eq!(world.origin.saw("/a"), asked);
    // Overlapping what is there.
    let asked = world.forwarded("bytes=6-", "6789abcdef").await;
    world.larder.until_verdict("/a", "serve").await;
    let whole = world.warm("/a").await.expect(200, WHOLE);
    assert_eq!(world.origin.saw("/a"), asked, "nobody asked the origin for the whole");
    assert_eq!(whole.field("content-range"), "");
    assert_eq!(whole.field("content-length"), "16");
    assert_eq!(whole.field("content-type"), "text/plain");
    assert_eq!(whole.field("x-seen"), (asked - 1).to_string());
    assert!(world.part("bytes=1-14").await.expect(206, &WHOLE[1..15]).is_hit());
    assert_eq!(world.larder.metrics().await.sum("larder_memory_entries", &[]), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_everything_is_the_whole() {
    let world = world("").await;
    world.part("bytes=0-").await.expect(206, WHOLE);
    world.larder.until_verdict("/a", "serve").await;
    let whole = world.warm("/a").await.expect(200, WHOLE);
    assert_eq!(world.origin.saw("/a"), 1);
    assert_eq!(whole.field("content-range"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_nobody_vouches_for_are_not_combined() {
    for tag in ["", "W/\"v1\""] {
        let world = world(tag).await;
        world.warm_part("bytes=0-7").await;
        world.forwarded("bytes=8-15", "89abcdef").await;
        world.warm_part("bytes=8-15").await;
        world.forwarded("bytes=0-7", "01234567").await;
        assert!(world.client.get("/a").await.expect(200, WHOLE).is_forwarded(), "{tag}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_different_wholes_are_not_combined() {
    let world = World::with(KEEPS).await;
    let state = Resource::new("v1");
    let now = state.clone();
    world.origin.on("/a").answers(move |asked| match now.get().as_str() {
        "v1" => ranged(asked, WHOLE, "\"v1\""),
        "longer" => ranged(asked, "0123456789abcdef!", "\"v1\""),
        "lying" => ranged(asked, "FEDCBA9876543210", "\"v1\""),
        _ => ranged(asked, "FEDCBA9876543210", "\"v2\""),
    });
    for changed in ["v2", "longer", "lying"] {
        state.set("v1");
        world.warm_part("bytes=0-8").await.expect(206, "012345678");
        state.set(changed);
        let after = world.part("bytes=8-15").await;
        assert_eq!(after.status, 206, "{changed}");
        eventually("the newer took its place", async || {
            world.part("bytes=9-10").await.is_hit() && world.part("bytes=8-15").await.is_hit()
        })
        .await;
        let first = world.part("bytes=0-3").await;
        assert!(first.is_forwarded(), "{changed}: {:?}", first.status());
        world.larder.purge(serde_json::json!({ "path": "/a" })).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_not_what_it_says_is_passed_on_and_not_kept() {
    let world = World::with(KEEPS).await;
    let multipart = "--x\r\nContent-Range: bytes 0-0/9\r\n\r\n0\r\n--x--\r\n";
    let cases: [(&str, &str, &'static str, &str); 8] = [
        ("/long", "bytes 0-2/16", "0123", ""),
        ("/short", "bytes 0-9/16", "0123", ""),
        ("/unknown", "bytes 0-3/*", "0123", ""),
        ("/backwards", "bytes 3-0/16", "0123", ""),
        ("/beyond", "bytes 0-3/4294967296000000000000", "0123", ""),
        ("/unit", "items 0-3/16", "0123", ""),
        ("/unsatisfied", "bytes */16", "0123", ""),
        ("/several", "bytes 0-0/9", multipart, "multipart/byteranges; boundary=x"),
    ];
    for (path, range, text, kind) in cases {
        let answer = ok(text).code(206).header("content-range", range).max_age(3600);
        let answer = if kind.is_empty() { answer } else { answer.header("content-type", kind) };
        world.origin.on(path).replies(answer);
        for n in 1..4 {
            let reply = world.client.asks("GET", path).header("range", "bytes=0-3").send().await;
            let reply = reply.expect(206, text);
            assert_eq!(reply.field("content-range"), range, "{path}");
            assert!(!reply.status().has("stored"), "{path}: {:?}", reply.status());
            assert_eq!(world.origin.saw(path), n, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_stored_whole_may_not_be_stored_in_part() {
    let world = World::with(KEEPS).await;
    type Make = fn(Answer) -> Answer;
    let cases: [(&str, Make); 5] = [
        ("/private", |a| a.header("cache-control", "private")),
        ("/no-store", |a| a.header("cache-control", "no-store")),
        ("/cookie", |a| a.header("set-cookie", "a=b")),
        ("/star", |a| a.header("vary", "*")),
        ("/credentials", |a| a.header("vary", "cookie")),
    ];
    for (path, make) in cases {
        world.origin.on(path).answers(move |asked| make(ranged(asked, WHOLE, "\"v1\"")));
        for n in 1..4 {
            let reply = world.client.asks("GET", path).header("range", "bytes=0-3").send().await;
            assert!(reply.expect(206, "0123").is_forwarded(), "{path}");
            assert_eq!(world.origin.saw(path), n, "{path}");
        }
    }
    world.origin.on("/mine").answers(|asked| ranged(asked, WHOLE, "\"v1\""));
    for n in 1..3 {
        let asking = world.client.asks("GET", "/mine").header("range", "bytes=0-3");
        asking.header("authorization", "Bearer x").send().await.expect(206, "0123");
        assert_eq!(world.origin.saw("/mine"), n);
    }
    let large = World::with(&format!("{KEEPS}\nmax_entry = \"8B\"")).await;
    large.origin.on("/a").answers(|asked| ranged(asked, WHOLE, "\"v1\""));
    large.warm_part("bytes=0-7").await;
    large.forwarded("bytes=4-12", "456789abc").await;
    large.forwarded("bytes=4-12", "456789abc").await;
    // Each fits, both do not: the newer is kept.
    large.forwarded("bytes=8-15", "89abcdef").await;
    large.warm_part("bytes=8-15").await;
    large.forwarded("bytes=0-7", "01234567").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_between_two_parts_throws_the_first_away() {
    let world = World::with(KEEPS).await;
    let text = Resource::new(WHOLE);
    let (read, written) = (text.clone(), text.clone());
    // A tag that outlives the write: not even then are the two put together.
    world.origin.when("GET", "/a").answers(move |asked| ranged(asked, &read.get(), "\"v1\""));
    world.origin.when("PUT", "/a").answers(move |_| {
        written.set("FEDCBA9876543210");
        status(204)
    });
    world.warm_part("bytes=0-7").await.expect(206, "01234567");
    assert_eq!(world.client.asks("PUT", "/a").content("x").send().await.status, 204);
    world.forwarded("bytes=8-15", "76543210").await;
    world.warm_part("bytes=8-15").await.expect(206, "76543210");
    let first = world.part("bytes=0-7").await.expect(206, "FEDCBA98");
    assert!(first.is_forwarded(), "{:?}", first.status());
    world.warm("/a").await.expect(200, "FEDCBA9876543210");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_while_a_part_is_on_its_way_keeps_it_out() {
    let world = World::with(KEEPS).await;
    let tap = Tap::new();
    let (out, gate) = (tap.clone(), Gate::closed());
    let held = gate.clone();
    world.origin.when("GET", "/a").answers(move |asked| match asked.before {
        // In the middle of its content, and before its head, when the write is finished.
        0 => ranged(asked, WHOLE, "\"v1\"").told_by(&out),
        2 => ranged(asked, WHOLE, "\"v1\"").after(&held),
        _ => ranged(asked, "FEDCBA9876543210", "\"v2\""),
    });
    world.origin.when("PUT", "/a").replies(status(204));
    let write = async || {
        assert_eq!(world.client.asks("PUT", "/a").content("x").send().await.status, 204);
    };
    let asking = world.client.asks("GET", "/a").header("range", "bytes=0-7");
    let mut first = asking.open_after(|| tap.send("0123")).await;
    assert_eq!(first.text(4).await, "0123");
    write().await;
    tap.send("4567");
    tap.end();
    assert_eq!(first.rest().await.text(), "4567");
    let asking = world.client.asks("GET", "/a").header("range", "bytes=8-15");
    let second = tokio::spawn(asking.send());
    eventually("it asks", async || world.origin.saw_method("GET", "/a") == 2).await;
    write().await;
    gate.open();
    second.await.unwrap().expect(206, "89abcdef");
    world.part("bytes=0-7").await.expect(206, "FEDCBA98");
    world.warm_part("bytes=8-15").await.expect(206, "76543210");
    world.warm("/a").await.expect(200, "FEDCBA9876543210");
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_reach_parts() {
    let world = World::with(&format!("{KEEPS}\nnamespace = \"all\"\ntags = [\"one\"]")).await;
    world
        .origin
        .on("/a")
        .answers(|asked| ranged(asked, WHOLE, "\"v1\"").header("surrogate-key", "told"));
    for purge in [
        serde_json::json!({ "path": "/a" }),
        serde_json::json!({ "tag": "one" }),
        serde_json::json!({ "namespace": "all" }),
    ] {
        world.warm_part("bytes=0-7").await;
        let reply = world.larder.purge(purge.clone()).await;
        assert!(reply.status < 300, "{purge}: {}", reply.text());
        world.forwarded("bytes=0-7", "01234567").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_variant_has_parts_of_its_own() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").answers(|asked| {
        let (text, tag) = match asked.field("accept-language") {
            "de" => ("null eins zwei!!", "\"de\""),
            _ => (WHOLE, "\"en\""),
        };
        ranged(asked, text, tag).header("vary", "accept-language")
    });
    let ask = |language: &str, range: &str| {
        let asking = world.client.asks("GET", "/a").header("accept-language", language);
        asking.header("range", range).send()
    };
    for (language, text) in [("de", "null eins"), ("en", "012345678")] {
        eventually("its part is stored", async || {
            ask(language, "bytes=0-8").await.expect(206, text).is_hit()
        })
        .await;
    }
    assert!(ask("de", "bytes=0-3").await.expect(206, "null").is_hit());
    assert!(ask("en", "bytes=0-3").await.expect(206, "0123").is_hit());
    ask("de", "bytes=9-").await.expect(206, " zwei!!");
    let whole = || world.client.asks("GET", "/a").header("accept-language", "de").send();
    eventually("the whole is put together", async || {
        whole().await.expect(200, "null eins zwei!!").is_hit()
    })
    .await;
    assert!(ask("en", "bytes=0-3").await.expect(206, "0123").is_hit());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_ignores_ranges_fills_the_whole() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").replies(ok(WHOLE));
    let reply = world.part("bytes=0-3").await.expect(200, WHOLE);
    assert!(reply.status().has("stored"), "{:?}", reply.status());
    world.larder.until_verdict("/a", "serve").await;
    world.warm("/a").await.expect(200, WHOLE);
    assert!(world.part("bytes=0-3").await.expect(206, "0123").is_hit());
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_origin_says_of_a_range_alone_is_not_said_to_others() {
    let world = World::with(&format!("{KEEPS}\nnegative_ttl = \"1h\"")).await;
    let state = Resource::new("416");
    let now = state.clone();
    world.origin.on("/a").answers(move |asked| match (asked.field("range"), &*now.get()) {
        ("", _) => ok(WHOLE),
        (_, "contradiction") => ok("0123").header("content-range", "bytes 0-3/16").max_age(3600),
        (_, code) => status(code.parse().unwrap()).max_age(3600),
    });
    for (said, code) in [
        ("416", 416),
        ("400", 400),
        ("404", 404),
        ("304", 304),
        ("503", 503),
        ("contradiction", 200),
    ] {
        state.set(said);
        for _ in 0..2 {
            let reply = world.part("bytes=0-3").await;
            assert_eq!(reply.status, code, "{said}");
            assert!(reply.is_forwarded() && !reply.status().has("stored"), "{:?}", reply.status());
        }
    }
    world.client.get("/a").await.expect(200, WHOLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_breaks_off_is_not_kept() {
    let world = World::with(KEEPS).await;
    for chunked in [false, true] {
        world.origin.on("/a").answers(move |asked| {
            let whole = ranged(asked, WHOLE, "\"v1\"");
            if chunked { whole.cut_chunked_after(3) } else { whole.cut_after(3) }
        });
        for _ in 0..2 {
            let reply = world.part("bytes=0-7").await;
            assert!(!reply.whole && reply.is_forwarded(), "{:?}", reply.status());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_if_range_left_unsaid_is_not_told_to_others() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").answers(|asked| {
        let answer = ranged(asked, WHOLE, "\"v1\"");
        match asked.field("if-range") {
            "" => answer.header("content-type", "text/plain"),
            _ => answer,
        }
    });
    let continued = |range: &str| {
        let asking = world.client.asks("GET", "/a").header("range", range);
        asking.header("if-range", "\"v1\"").send()
    };
    for _ in 0..2 {
        let reply = continued("bytes=8-15").await.expect(206, "89abcdef");
        assert!(!reply.status().has("stored"), "{:?}", reply.status());
    }
    world.warm_part("bytes=0-7").await;
    let reply = continued("bytes=8-15").await.expect(206, "89abcdef");
    assert!(reply.status().has("stored"), "{:?}", reply.status());
    let asked = world.origin.saw("/a");
    world.larder.until_verdict("/a", "serve").await;
    let whole = world.warm("/a").await.expect(200, WHOLE);
    assert_eq!(whole.field("content-type"), "text/plain");
    assert_eq!(world.origin.saw("/a"), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_own_conditions_reach_the_origin_with_its_range() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").answers(|asked| match asked.field("if-none-match") {
        "\"v1\"" => status(304).header("etag", "\"v1\""),
        _ => ranged(asked, WHOLE, "\"v1\""),
    });
    let ask = |tag: &str| {
        let asking = world.client.asks("GET", "/a").header("range", "bytes=0-3");
        asking.header("if-none-match", tag).send()
    };
    ask("\"v1\"").await.expect(304, "");
    world.warm_part("bytes=0-3").await;
    let asked = world.origin.saw("/a");
    assert!(ask("\"v1\"").await.expect(304, "").is_hit());
    assert!(ask("\"v0\"").await.expect(206, "0123").is_hit());
    assert_eq!(world.origin.saw("/a"), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_past_its_time_is_fetched_again_and_covers_for_an_origin_that_is_gone() {
    let keys = "soft_ttl = \"50ms\"\nhard_ttl = \"100ms\"\nstale_if_error = \"1h\"";
    let mut world = World::with(keys).await;
    world.origin.on("/a").answers(|asked| match asked.before {
        0..3 => ranged(asked, WHOLE, "\"v1\""),
        _ => status(503),
    });
    let mut asked = 0;
    eventually("it is past its time", async || {
        let reply = world.part("bytes=0-3").await.expect(206, "0123");
        asked += usize::from(!reply.is_hit());
        asked >= 3
    })
    .await;
    let covered = async || {
        let reply = world.part("bytes=1-2").await.expect(206, "12");
        reply.is_stale() && reply.status().value("detail") == Some("stale-if-error")
    };
    eventually("an error is covered", covered).await;
    assert_eq!(world.part("bytes=1-9").await.status, 503, "only as far as it goes");
    world.origin.stop().await;
    assert!(world.part("bytes=1-2").await.expect(206, "12").is_stale());
    assert_eq!(world.part("bytes=1-9").await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_enough_for_who_wants_no_other_answer() {
    let world = world("\"v1\"").await;
    let only = |range: &str| {
        let asking = world.client.asks("GET", "/a").header("range", range);
        asking.header("cache-control", "only-if-cached").send()
    };
    assert_eq!(only("bytes=0-3").await.status, 504);
    world.warm_part("bytes=0-3").await;
    assert!(only("bytes=0-3").await.expect(206, "0123").is_hit());
    assert_eq!(only("bytes=0-4").await.status, 504);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_asks_for_the_same_part_asks_once() {
    let world = World::with(KEEPS).await;
    let gate = Gate::closed();
    let held = gate.clone();
    world.origin.on("/a").answers(move |asked| {
        ranged(asked, WHOLE, "\"v1\"").header("vary", "accept-language").after(&held)
    });
    let (client, other) = (world.client.clone(), world.client.clone());
    let ask = |client: &Client, _| client.asks("GET", "/a").header("range", "bytes=0-3");
    let crowd = tokio::spawn(async move { client.crowd_of(30, ask).await });
    let asking = other.asks("GET", "/a").header("range", "bytes=4-5");
    let apart = tokio::spawn(asking.send());
    let asking = other.asks("GET", "/a").header("range", "bytes=0-3");
    let variant = tokio::spawn(asking.header("accept-language", "de").send());
    eventually("all wait", async || {
        let waiting = world.larder.metrics().await.sum("larder_collapsed_waiters_total", &[]);
        waiting >= 30.0 && world.origin.saw("/a") == 2
    })
    .await;
    gate.open();
    for reply in crowd.await.unwrap() {
        reply.expect(206, "0123");
    }
    apart.await.unwrap().expect(206, "45");
    variant.await.unwrap().expect(206, "0123");
    assert_eq!(world.origin.saw("/a"), 3, "one for the crowd, the other part, the variant");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_not_fed_with_what_is_for_one() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").answers(|asked| {
        let text = format!("{:04}", asked.before);
        let part = ok(text).code(206).header("content-range", "bytes 0-3/16");
        part.header("cache-control", "private").delay(Duration::from_millis(100))
    });
    let ask = |client: &Client, _| client.asks("GET", "/a").header("range", "bytes=0-3");
    let replies = world.client.crowd_of(20, ask).await;
    let mut texts: Vec<_> = replies.iter().map(Reply::text).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), 20, "each has its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_joins_a_part_that_was_asked_for_before_a_write() {
    let world = World::with(KEEPS).await;
    let gate = Gate::closed();
    let held = gate.clone();
    world.origin.when("GET", "/a").answers(move |asked| match asked.before {
        0 => ranged(asked, WHOLE, "\"v1\"").after(&held),
        _ => ranged(asked, "FEDCBA9876543210", "\"v2\""),
    });
    world.origin.when("PUT", "/a").replies(status(204));
    let asking = world.client.asks("GET", "/a").header("range", "bytes=0-3");
    let before = tokio::spawn(asking.send());
    eventually("it asks", async || world.origin.saw("/a") == 1).await;
    assert_eq!(world.client.asks("PUT", "/a").content("x").send().await.status, 204);
    world.part("bytes=0-3").await.expect(206, "FEDC");
    gate.open();
    before.await.unwrap().expect(206, "0123");
    world.warm_part("bytes=0-3").await.expect(206, "FEDC");
}

#[tokio::test(flavor = "multi_thread")]
async fn explanations_know_of_parts() {
    let world = world("\"v1\"").await;
    let explained = async |range: &str| {
        let told = world.larder.explain_with("GET", "/a", &[("range", range)]).await;
        told["verdict"].as_str().unwrap().to_owned()
    };
    assert_eq!(explained("bytes=0-3").await, "fetch");
    world.warm_part("bytes=0-3").await;
    assert_eq!(explained("bytes=1-2").await, "serve");
    assert_eq!(explained("bytes=1-4").await, "fetch");
    assert_eq!(world.larder.verdict("/a").await, "fetch");
}

/// Thirty ask for the same part while the origin holds its first answer back; theirs, when all wait.
async fn crowd(world: &World, gate: &Gate) -> Vec<Reply> {
    let client = world.client.clone();
    let ask = |client: &Client, _| client.asks("GET", "/a").header("range", "bytes=0-3");
    let crowd = tokio::spawn(async move { client.crowd_of(30, ask).await });
    eventually("all wait", async || {
        world.larder.metrics().await.sum("larder_collapsed_waiters_total", &[]) >= 29.0
    })
    .await;
    gate.open();
    crowd.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_one_request_also_where_the_origin_knows_no_ranges() {
    let world = World::with(KEEPS).await;
    let gate = Gate::closed();
    let held = gate.clone();
    world.origin.on("/a").answers(move |_| ok(WHOLE).after(&held));
    for reply in crowd(&world, &gate).await {
        reply.expect(200, WHOLE);
    }
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_hears_together_that_the_origin_fails() {
    let world = World::with(KEEPS).await;
    let gate = Gate::closed();
    let held = gate.clone();
    world.origin.on("/a").answers(move |_| status(500).after(&held));
    let replies = crowd(&world, &gate).await;
    assert!(replies.iter().all(|reply| reply.status == 500), "{replies:?}");
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_one_who_asked_leaves_one_other_asks() {
    let world = World::with(KEEPS).await;
    let gate = Gate::closed();
    let held = gate.clone();
    world.origin.on("/a").answers(move |asked| ranged(asked, WHOLE, "\"v1\"").after(&held));
    let leaving = tokio::spawn(world.client.asks("GET", "/a").header("range", "bytes=0-3").send());
    eventually("the origin is asked", async || world.origin.saw("/a") == 1).await;
    let client = world.client.clone();
    let ask = |client: &Client, _| client.asks("GET", "/a").header("range", "bytes=0-3");
    let crowd = tokio::spawn(async move { client.crowd_of(20, ask).await });
    eventually("all wait", async || {
        world.larder.metrics().await.sum("larder_collapsed_waiters_total", &[]) >= 20.0
    })
    .await;
    leaving.abort();
    eventually("another asks", async || world.origin.saw("/a") == 2).await;
    gate.open();
    for reply in crowd.await.unwrap() {
        reply.expect(206, "0123");
    }
    assert_eq!(world.origin.saw("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_fails_is_left_alone_for_parts_too() {
    let world = World::with("stale_if_error = \"1h\"").await;
    world.origin.on("/a").answers(|asked| match asked.before {
        0 => ranged(asked, WHOLE, "\"v1\"")
            .header("cache-control", "max-age=60")
            .header("age", "100"),
        _ => status(503),
    });
    let ask = || world.client.asks("GET", "/a").header("range", "bytes=0-3").send();
    ask().await.expect(206, "0123");
    eventually("the part covers for the origin", async || {
        ask().await.expect(206, "0123").is_stale() && world.origin.saw("/a") == 2
    })
    .await;
    for _ in 0..5 {
        assert!(ask().await.expect(206, "0123").is_stale());
    }
    assert_eq!(world.origin.saw("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_slow_does_not_take_the_place_of_what_was_asked_for_later() {
    let world = World::with(KEEPS).await;
    let tap = Tap::new();
    let slow = tap.clone();
    world.origin.on("/a").answers(move |asked| match asked.field("range") {
        "bytes=0-7" => ranged(asked, WHOLE, "\"v1\""),
        "bytes=8-" => ranged(asked, WHOLE, "\"v1\"").told_by(&slow),
        _ => ok("the new one").header("etag", "\"v2\""),
    });
    world
        .client
        .asks("GET", "/a")
        .header("range", "bytes=0-7")
        .send()
        .await
        .expect(206, "01234567");
    let second = world.client.asks("GET", "/a").header("range", "bytes=8-").open().await;
    world.warm("/a").await.expect(200, "the new one");
    tap.send("89abcdef");
    tap.end();
    second.rest().await.expect(206, "89abcdef");
    for _ in 0..5 {
        world.client.get("/a").await.expect(200, "the new one");
    }
}
