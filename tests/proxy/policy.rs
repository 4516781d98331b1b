//! Which rules of RFC 9111 can be turned, and what do they do both ways?
//!
//! | rule | RFC | key |
//! |---|---|---|
//! | a guessed lifetime | 9111 §4.2.2 | `heuristic` |
//! | what clients ask of a cache | 9111 §5.2.1, §5.4 | `request_directives` |
//! | responses that set a cookie | 9111 §7.3 | `set_cookie` |
//! | what a 304 updates | 9111 §3.2, §4.3.4 | |
//! | clients' own conditions | 9110 §13, 9111 §4.3.2 | |
//! | what Vary compares | 9111 §4.1 | |
//! | directives, ages and dates as they come | 9111 §4.2.1, §5.1, §5.2; 9110 §5.6.7 | |

use std::time::Duration;

use crate::World;
use crate::support::client::Reply;
use crate::support::origin::{Answer, Gate, ok, status};
use crate::support::wait::eventually;

/// An HTTP-date this long ago.
fn ago(seconds: u64) -> String {
    httpdate::fmt_http_date(larder::clock::wall() - Duration::from_secs(seconds))
}

/// An HTTP-date this far ahead.
fn ahead(seconds: u64) -> String {
    httpdate::fmt_http_date(larder::clock::wall() + Duration::from_secs(seconds))
}

const HOUR: u64 = 3600;

/// Stored, and asked about each time.
const EACH_TIME: &str = "no-cache, max-age=60";

/// What is left of its freshness, in seconds.
fn ttl(reply: &Reply) -> i64 {
    reply.status().value("ttl").and_then(|ttl| ttl.parse().ok()).expect("a ttl")
}

/// The RFC alone: no route at all.
async fn fallback() -> World {
    World::set_up(|setup| setup).await
}

// --- a guessed lifetime ---

#[tokio::test(flavor = "multi_thread")]
async fn a_lifetime_is_guessed_from_last_modified_where_the_route_wants_that() {
    let world = World::with("heuristic = \"10%\"").await;
    let modified = |seconds: u64| ok("x").header("last-modified", &ago(seconds));
    world.origin.on("/hour").replies(modified(HOUR));
    world.origin.on("/years").replies(modified(10 * 365 * 24 * HOUR));
    world.origin.on("/old").replies(modified(HOUR).header("age", "120"));
    world.origin.on("/gone").replies(modified(HOUR).code(404));
    world.origin.on("/public").replies(
        modified(HOUR).code(302).header("location", "/").header("cache-control", "public"),
    );
    for (path, least, most) in [
        ("/hour", 340, 361),
        ("/years", 86_370, 86_400),
        ("/old", 220, 241),
        ("/gone", 340, 361),
        ("/public", 340, 361),
    ] {
        let hit = world.warm(path).await;
        assert!((least..=most).contains(&ttl(&hit)), "{path}: {}", ttl(&hit));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_guessed_against_what_the_origin_says_or_without_a_sign() {
    let world = World::with("heuristic = \"10%\"").await;
    let modified = || ok("x").header("last-modified", &ago(HOUR));
    for (path, answer) in [
        ("/zero", modified().header("cache-control", "max-age=0")),
        ("/invalid", modified().header("cache-control", "max-age=soon")),
        ("/expired", modified().header("expires", "0")),
        ("/no-cache", modified().header("cache-control", "no-cache")),
        ("/no-store", modified().header("cache-control", "no-store")),
        ("/status", modified().code(302).header("location", "/")),
        ("/undated", ok("x")),
        ("/future", ok("x").header("last-modified", &ahead(HOUR))),
        ("/no-date", ok("x").header("last-modified", "yesterday")),
    ] {
        world.origin.on(path).replies(answer);
        for asked in 1..4 {
            world.client.get(path).await;
            assert_eq!(world.origin.saw(path), asked, "{path}");
        }
    }
    let silent = World::with("").await;
    silent.origin.on("/a").replies(modified());
    for asked in 1..4 {
        silent.client.get("/a").await.expect(200, "x");
        assert_eq!(silent.origin.saw("/a"), asked, "the key is off by default");
    }
}

// --- what clients ask ---

/// Requests that want something newer than what is stored and has no age to speak of.
const NARROWING: [(&str, &str); 6] = [
    ("cache-control", "no-cache"),
    ("cache-control", "max-age=0"),
    ("cache-control", "MAX-AGE=\"0\""),
    ("cache-control", "min-fresh=7200"),
    ("cache-control", "max-age=never"),
    ("pragma", "no-cache"),
];

#[tokio::test(flavor = "multi_thread")]
async fn where_clients_are_obeyed_they_narrow_what_they_are_served() {
    for world in [fallback().await, World::with("request_directives = \"honour\"").await] {
        world.origin.on("/a").answers(|asked| match asked.field("if-none-match") {
            "\"1\"" => status(304).header("etag", "\"1\"").max_age(HOUR),
            _ => ok("x").header("etag", "\"1\"").max_age(HOUR),
        });
        for (name, value) in NARROWING {
            world.warm("/a").await;
            let before = world.origin.saw("/a");
            // An age of nothing at all is not more than max-age=0.
            tokio::time::sleep(Duration::from_millis(5)).await;
            let reply = world.client.asks("GET", "/a").header(name, value).send().await;
            let reply = reply.expect(200, "x");
            assert_eq!(world.origin.saw("/a"), before + 1, "{name}: {value}");
            let asked = world.origin.asked("/a");
            let last = asked.last().expect("it was asked");
            assert_eq!(last.field("if-none-match"), "\"1\"", "{value}: asked with what is stored");
            assert_eq!(reply.status().value("fwd-status"), Some("304"), "{value}");
            assert_eq!(reply.status().value("fwd"), Some("request"), "{value}");
        }
        for value in ["max-age=60", "min-fresh=60", "max-stale", "max-stale=5", "no-store", "x=1"] {
            world.warm("/a").await;
            let reply = world.client.asks("GET", "/a").header("cache-control", value).send().await;
            assert!(reply.is_hit(), "{value}: {:?}", reply.status());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_clients_are_not_obeyed_none_makes_a_hit_a_request_to_the_origin() {
    let world = World::with("").await;
    world.origin.on("/a").replies(ok("x").header("etag", "\"1\"").max_age(HOUR));
    world.warm("/a").await;
    let before = world.origin.saw("/a");
    for (name, value) in NARROWING {
        let reply = world.client.asks("GET", "/a").header(name, value).send().await;
        assert!(reply.expect(200, "x").is_hit(), "{value}");
    }
    assert_eq!(world.origin.saw("/a"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn max_stale_reaches_what_is_stale_where_clients_are_obeyed() {
    for (world, obeyed) in [
        (fallback().await, true),
        (World::with("request_directives = \"honour\"").await, true),
        (World::with("").await, false),
    ] {
        world.origin.on("/a").answers(|asked| ok(asked.before.to_string()).max_age(1));
        world.client.get("/a").await.expect(200, "0");
        world.larder.until_verdict("/a", "fetch").await;
        let ask =
            |value: &str| world.client.asks("GET", "/a").header("cache-control", value).send();
        // Stale by more than nothing.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let strict = ask("max-stale=0, only-if-cached").await;
        assert_eq!(strict.status, 504, "{:?}", strict.status());
        let reply = ask("max-stale=60").await;
        if obeyed {
            let reply = reply.expect(200, "0");
            assert_eq!(reply.status().value("detail"), Some("max-stale"));
            assert!(ttl(&reply) <= 0);
            eventually("it is refreshed behind", async || world.origin.saw("/a") == 2).await;
        } else {
            reply.expect(200, "1");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn max_stale_reaches_nothing_that_must_not_be_served_stale() {
    let world = fallback().await;
    for (n, said) in ["must-revalidate, max-age=1", "proxy-revalidate, max-age=1", "s-maxage=1"]
        .into_iter()
        .enumerate()
    {
        let path = format!("/{n}");
        world.origin.on(&path).answers(move |asked| {
            ok(asked.before.to_string()).header("etag", "\"x\"").header("cache-control", said)
        });
        world.client.get(&path).await.expect(200, "0");
        world.larder.until_verdict(&path, "revalidate").await;
        let stale = world.client.asks("GET", &path).header("cache-control", "max-stale").send();
        stale.await.expect(200, "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_if_cached_never_reaches_the_origin_on_any_route() {
    let world = World::set_up(|setup| {
        setup.route("/kept", "soft_ttl = \"1h\"").route("/off", "cache = \"off\"")
    })
    .await;
    for path in ["/kept", "/off", "/unrouted"] {
        world.origin.on(path).replies(ok("x").max_age(HOUR));
        let ask =
            || world.client.asks("GET", path).header("cache-control", "only-if-cached").send();
        let refused = ask().await;
        assert_eq!(refused.status, 504, "{path}");
        let ranged = world.client.asks("GET", path).header("range", "bytes=0-0");
        let ranged = ranged.header("cache-control", "only-if-cached").send().await;
        assert_eq!(ranged.status, 504, "{path}");
        assert_eq!(world.origin.saw(path), 0, "{path}");
        world.client.get(path).await.expect(200, "x");
        if path != "/off" {
            world.warm(path).await;
            assert!(ask().await.expect(200, "x").is_hit(), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_store_keeps_a_request_out_of_the_store_and_takes_nothing_from_it() {
    let world = World::with("soft_ttl = \"1h\"").await;
    world.origin.on("/a").replies(ok("x"));
    let ask = || world.client.asks("GET", "/a").header("cache-control", "no-store").send();
    for asked in 1..4 {
        ask().await.expect(200, "x");
        assert_eq!(world.origin.saw("/a"), asked);
    }
    world.warm("/a").await;
    assert!(ask().await.is_hit(), "what others had stored does answer it");
}

// --- cookies ---

fn cookies(reply: &Reply) -> Vec<String> {
    let lines = reply.headers.get_all("set-cookie").iter();
    lines.map(|value| value.to_str().expect("text").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_is_stripped_from_what_is_stored_and_reaches_its_asker() {
    let world = World::with("soft_ttl = \"1h\"\nset_cookie = \"strip\"").await;
    let gate = Gate::closed();
    let held = gate.clone();
    world.origin.on("/a").answers(move |asked| {
        let cookie = format!("session={}", asked.before);
        ok("x").header("set-cookie", &cookie).header("set-cookie", "theme=dark").after(&held)
    });
    let crowd = world.client.crowd(8, "/a");
    let open = async {
        eventually("the origin is asked", async || world.origin.saw("/a") == 1).await;
        gate.open();
    };
    let (replies, ()) = tokio::join!(crowd, open);
    let (with, without): (Vec<_>, Vec<_>) =
        replies.iter().partition(|reply| !cookies(reply).is_empty());
    assert_eq!(with.len(), 1, "whose request it was");
    assert_eq!(cookies(with[0]), ["session=0", "theme=dark"]);
    assert_eq!(without.len(), 7);
    let hit = world.warm("/a").await;
    assert!(cookies(&hit).is_empty());
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_is_for_everybody_where_the_route_says_store() {
    let world = World::with("soft_ttl = \"1h\"\nset_cookie = \"store\"").await;
    let answer = ok("x").header("set-cookie", "a=1").header("set-cookie", "b=2");
    world.origin.on("/a").replies(answer);
    let hit = world.warm("/a").await;
    assert_eq!(cookies(&hit), ["a=1", "b=2"]);
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_keeps_a_response_out_of_the_store_where_the_route_says_nothing() {
    let refusing = World::with("soft_ttl = \"1h\"").await;
    let stripping = World::with("soft_ttl = \"1h\"\nset_cookie = \"strip\"").await;
    let storing = World::with("soft_ttl = \"1h\"\nset_cookie = \"store\"").await;
    let cookie = |name| ok("x").header(name, "a=1");
    for (world, path, answer) in [
        (&refusing, "/a", cookie("set-cookie").max_age(60)),
        (&stripping, "/a", cookie("set-cookie").header("cache-control", "private")),
        (&stripping, "/b", cookie("set-cookie").header("cache-control", "no-store")),
        (&storing, "/a", cookie("set-cookie").header("cache-control", "private")),
        (&storing, "/b", cookie("set-cookie").header("cache-control", "no-store")),
    ] {
        world.origin.on(path).replies(answer);
        for asked in 1..4 {
            let reply = world.client.get(path).await.expect(200, "x");
            assert_eq!(reply.headers.len(), reply.headers.keys_len());
            assert_eq!(world.origin.saw(path), asked, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_brings_a_cookie_into_the_store_only_where_cookies_are_stored() {
    for (key, first, later) in
        [("refuse", "", ""), ("strip", "first", ""), ("store", "first", "later")]
    {
        let world = World::with(&format!("set_cookie = \"{key}\"")).await;
        world.origin.on("/a").answers(move |asked| {
            let answer = match asked.field("if-none-match") {
                "\"1\"" => status(304).header("set-cookie", "later"),
                _ if first.is_empty() => ok("x"),
                _ => ok("x").header("set-cookie", first),
            };
            answer.header("etag", "\"1\"").header("cache-control", EACH_TIME)
        });
        assert_eq!(world.client.get("/a").await.expect(200, "x").field("set-cookie"), first);
        for _ in 0..2 {
            let reply = world.client.get("/a").await.expect(200, "x");
            assert_eq!(reply.status().value("fwd-status"), Some("304"), "{key}");
            assert_eq!(cookies(&reply).concat(), later, "{key}");
        }
    }
}

// --- what is stored, what a 304 updates ---

#[tokio::test(flavor = "multi_thread")]
async fn a_stray_content_range_is_a_field_like_another() {
    let world = fallback().await;
    world.origin.on("/a").replies(ok("whole").header("content-range", "bytes 0-4/9").max_age(60));
    let hit = world.warm("/a").await.expect(200, "whole");
    assert_eq!(hit.field("content-range"), "bytes 0-4/9");
    assert_eq!(world.origin.saw("/a"), 1);
}

/// An entity that is asked about each time: first this, and then that.
fn validated(world: &World, first: Answer, then: Answer) {
    world.origin.on("/a").answers(move |asked| {
        let answer = if asked.before == 0 { first.clone() } else { then.clone() };
        answer.header("cache-control", EACH_TIME)
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_replaces_every_field_but_those_of_the_stored_bytes() {
    let world = fallback().await;
    let first = ok("x")
        .header("etag", "\"1\"")
        .header("content-type", "text/plain")
        .header("content-encoding", "identity")
        .header("link", "</one>")
        .header("link", "</two>")
        .header("x-kept", "1");
    let then = status(304)
        .header("etag", "W/\"1\"")
        .header("content-type", "text/html")
        .header("content-encoding", "br")
        .header("link", "</three>")
        .header("link", "</four>")
        .header("x-new", "1");
    validated(&world, first, then);
    world.client.get("/a").await.expect(200, "x");
    for _ in 0..2 {
        let reply = world.client.get("/a").await.expect(200, "x");
        assert_eq!(reply.status().value("fwd-status"), Some("304"));
        for (name, value) in [
            ("etag", "W/\"1\""),
            ("content-type", "text/html"),
            ("content-encoding", "identity"),
            ("content-length", "1"),
            ("x-kept", "1"),
            ("x-new", "1"),
        ] {
            assert_eq!(reply.field(name), value, "{name}");
        }
        let links: Vec<_> = reply.headers.get_all("link").iter().collect();
        assert_eq!(links, ["</three>", "</four>"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_about_something_else_has_the_origin_asked_again() {
    let world = fallback().await;
    world.origin.on("/a").answers(|asked| {
        let answer = match asked.field("if-none-match") {
            "" => ok(asked.before.to_string()).header("etag", "\"1\""),
            _ => status(304).header("etag", "\"2\""),
        };
        answer.header("cache-control", EACH_TIME)
    });
    world.client.get("/a").await.expect(200, "0");
    world.client.get("/a").await.expect(200, "2");
    assert_eq!(world.origin.saw("/a"), 3, "once with the condition, once without");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_of_the_second_it_was_sent_in_is_not_asked_with() {
    let world = fallback().await;
    for (path, modified, asked_with) in [("/now", 0, false), ("/hour", HOUR, true)] {
        world.origin.on(path).answers(move |_| {
            ok("x").header("last-modified", &ago(modified)).header("cache-control", EACH_TIME)
        });
        for _ in 0..3 {
            world.client.get(path).await.expect(200, "x");
        }
        let asked = world.origin.asked(path);
        assert_eq!(asked.len(), 3);
        let last = asked.last().expect("it was asked");
        assert_eq!(last.headers.contains_key("if-modified-since"), asked_with, "{path}");
    }
}

// --- clients' own conditions ---

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_it_is_told_so() {
    let world = fallback().await;
    let modified = ago(2 * HOUR);
    let answer = ok("x")
        .header("etag", "\"1\"")
        .header("last-modified", &modified)
        .header("content-type", "text/plain")
        .header("content-location", "/b")
        .header("vary", "accept")
        .header("x-any", "1");
    world.origin.on("/a").replies(answer.max_age(HOUR));
    world.warm("/a").await;
    let tag = |value: &'static str| vec![("if-none-match", value.to_owned())];
    let since = |value: String| vec![("if-modified-since", value)];
    let both = |t: &'static str, d: String| {
        vec![("if-none-match", t.to_owned()), ("if-modified-since", d)]
    };
    for (fields, expected) in [
        (tag("\"1\""), 304),
        (tag("W/\"1\""), 304),
        (tag("\"x\", , \"1\""), 304),
        (tag("*"), 304),
        (vec![("if-none-match", "\"x\"".into()), ("if-none-match", "\"1\"".into())], 304),
        (tag("\"2\""), 200),
        (tag("1"), 200),
        (tag("w/\"1\""), 200),
        (tag("\"1"), 200),
        (tag("*, \"2\""), 200),
        (since(modified.clone()), 304),
        (since(ahead(HOUR)), 304),
        (since(ago(3 * HOUR)), 200),
        (since("yesterday".into()), 200),
        (since(format!("{modified}, {modified}")), 200),
        (both("\"2\"", modified.clone()), 200),
        (both("\"1\"", ago(3 * HOUR)), 304),
        (both("1", modified.clone()), 200),
    ] {
        for method in ["GET", "HEAD"] {
            let mut asking = world.client.asks(method, "/a");
            for (name, value) in &fields {
                asking = asking.header(name, value);
            }
            let reply = asking.send().await;
            assert_eq!(reply.status, expected, "{method} {fields:?}");
            assert!(reply.is_hit(), "{method} {fields:?}");
            for name in ["date", "etag", "content-location", "vary", "cache-control", "x-any"] {
                assert!(reply.headers.contains_key(name), "{name}: {fields:?}");
            }
            for name in ["content-type", "last-modified"] {
                assert_eq!(reply.headers.contains_key(name), expected == 200, "{name}");
            }
        }
    }
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_last_modified_the_date_decides() {
    let world = fallback().await;
    world.origin.on("/a").replies(ok("x").max_age(HOUR));
    let date = world.warm("/a").await.field("date").to_owned();
    // A client may have another response of that second.
    for (since, expected) in [(ahead(HOUR), 304), (ago(HOUR), 200), (date, 200)] {
        let asking = world.client.asks("GET", "/a").header("if-modified-since", &since);
        assert_eq!(asking.send().await.status, expected, "{since}");
    }
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entity_tag_is_octets_on_both_sides() {
    const TAG: &[u8] = b"\"\xfc\x80\xff\"";
    let world = fallback().await;
    world.origin.on("/a").answers(|asked| {
        let known = asked.headers.get("if-none-match").is_some_and(|tag| tag.as_bytes() == TAG);
        let answer = if known { status(304) } else { ok("x") };
        answer.octets("etag", TAG).header("cache-control", EACH_TIME)
    });
    world.client.get("/a").await.expect(200, "x");
    let reply = world.client.get("/a").await.expect(200, "x");
    assert_eq!(reply.status().value("fwd-status"), Some("304"), "asked with the tag as it came");
    assert_eq!(reply.headers.get("etag").map(|tag| tag.as_bytes()), Some(TAG));
    for (asked, expected) in [(TAG, 304), (b"\"\xfc\x81\xff\"", 200), (b"\xfc\x80\xff", 200)] {
        let reply = world.client.asks("GET", "/a").octets("if-none-match", asked).send().await;
        assert_eq!(reply.status, expected, "{asked:?}");
    }
}

// --- what Vary compares ---

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_preferences_makes_no_variant() {
    let world = World::with("soft_ttl = \"1h\"").await;
    for (path, name, same, other) in [
        ("/language", "accept-language", ["en, de", "DE ,en;q=1.0"], "en, de;q=0.5"),
        ("/type", "accept", ["text/html, a/b;q=0.5", "a/b;q=0.500,text/html"], "text/html, a/b"),
        ("/coding", "accept-encoding", ["gzip, br", "br;q=1, gzip"], "br, identity"),
    ] {
        world
            .origin
            .on(path)
            .answers(move |asked| ok(asked.field(name).to_owned()).header("vary", name));
        let ask = |value: &str| world.client.asks("GET", path).header(name, value).send();
        let first = ask(same[0]).await.text();
        assert_eq!(ask(same[1]).await.text(), first, "{path}");
        assert_eq!(world.origin.saw(path), 1, "{path}");
        ask(other).await.expect(200, other);
        assert_eq!(world.origin.saw(path), 2, "{path}");
    }
}

// --- directives, ages and dates as they come ---

/// rfc850-date and asctime-date of an IMF-fixdate.
fn obsolete(date: &str) -> [String; 2] {
    let day = match &date[..3] {
        "Tue" => "Tuesday".to_owned(),
        "Wed" => "Wednesday".to_owned(),
        "Thu" => "Thursday".to_owned(),
        "Sat" => "Saturday".to_owned(),
        short => format!("{short}day"),
    };
    let (d, month, year, time) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
    let padded = d.strip_prefix('0').map_or_else(|| d.to_owned(), |digit| format!(" {digit}"));
    [
        format!("{day}, {d}-{month}-{} {time} GMT", &year[2..]),
        format!("{} {month} {padded} {time} {year}", &date[..3]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_says_a_lifetime_is_read_however_it_is_written() {
    let world = fallback().await;
    let said = |value: &str| ok("x").header("cache-control", value);
    let [rfc850, asctime] = obsolete(&ahead(HOUR));
    // The second of a day, padded with a blank; the fifth day of the week.
    let far = "Fri Jan  1 00:00:00 2038";
    let expires = |value: &str| ok("x").header("expires", value);
    for (n, answer) in [
        said("max-age=60"),
        said("MAX-Age=\"60\""),
        said("max-age=99999999999999999999999"),
        said("max-age=60, max-age=60"),
        said("max-age=60, community=\"private\""),
        said("s-maxage=60, max-age=0"),
        said("max-age=60").header("expires", "0"),
        said("max-age=60").header("age", "5, 100"),
        said("max-age=60").header("age", "-100"),
        expires(&ahead(HOUR)),
        expires(&rfc850),
        expires(&asctime),
        expires(far),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{n}");
        world.origin.on(&path).replies(answer);
        let hit = world.warm(&path).await;
        assert!(ttl(&hit) <= 1 << 31, "{n}");
        assert_eq!(world.origin.saw(&path), 1, "{n}");
    }
    let past = obsolete(&ago(HOUR));
    for (n, answer) in [
        said("max-age=60, max-age=0"),
        said("max-age=-1"),
        said("max-age=1.5"),
        said("max-age=0x3c"),
        said("max-age=60, s-maxage=0"),
        said("max-age=60, NO-Store"),
        said("max-age=60").header("age", "60"),
        expires("0"),
        expires("never"),
        expires(&past[0]),
        expires(&past[1]),
        expires(&ahead(HOUR)).header("expires", "0"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/not/{n}");
        world.origin.on(&path).replies(answer);
        for asked in 1..4 {
            world.client.get(&path).await.expect(200, "x");
            assert_eq!(world.origin.saw(&path), asked, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_status_says_the_key_where_the_route_shows_it() {
    let showing = World::with("soft_ttl = \"1h\"\nshow_key = true").await;
    let silent = World::with("soft_ttl = \"1h\"").await;
    for world in [&showing, &silent] {
        world.origin.on("/a").replies(ok("x"));
    }
    for _ in 0..2 {
        let said = showing.client.get("/a?b=1&a=2").await.field("cache-status").to_owned();
        assert!(said.contains("; key=\""), "{said}");
        assert!(said.contains("/a?a=2&b=1\""), "{said}");
        let said = silent.client.get("/a").await.field("cache-status").to_owned();
        assert!(!said.contains("key="), "{said}");
    }
}
