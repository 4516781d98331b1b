//! What does a HEAD get from what a GET stored, and what does the cache learn from its answer?
//!
//! Entries are stale from the start, or asked for with `no-cache`: so a HEAD reaches the origin while
//! a GET is stored.

use crate::World;
use crate::support::client::Reply;
use crate::support::origin::{Answer, Gate, json, ok, status};
use crate::support::wait::{eventually, soon};

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// Without a route a client's `no-cache` gets through to the origin.
async fn world(answer: Answer) -> World {
    let world = World::set_up(|setup| setup).await;
    world.origin.when("GET", "/a").replies(answer);
    world
}

fn hello() -> Answer {
    ok("hello").max_age(3600).header("etag", "\"v1\"")
}

impl World {
    /// A HEAD that the origin is asked for.
    async fn head(&self, answer: Answer) -> Reply {
        self.origin.when("HEAD", "/a").replies(answer);
        let seen = self.origin.saw_method("HEAD", "/a");
        let reply = self.client.asks("HEAD", "/a").header("cache-control", "no-cache").send().await;
        assert_eq!(self.origin.saw_method("HEAD", "/a"), seen + 1, "the origin was not asked");
        reply
    }

    async fn verdict(&self) -> String {
        self.larder.verdict("/a").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_answered_from_what_a_get_stored_with_its_length_and_conditions() {
    let world = World::with("soft_ttl = \"1h\"").await;
    let dated = ok("hello").header("etag", "\"v1\"").header("last-modified", MODIFIED);
    world.origin.when("GET", "/a").replies(dated);
    world.warm("/a").await;
    let fields: [(&'static str, &str, u16); 6] = [
        ("accept", "*/*", 200),
        ("if-none-match", "\"v1\"", 304),
        ("if-none-match", "W/\"v1\", \"v2\"", 304),
        ("if-none-match", "\"v2\"", 200),
        ("if-modified-since", MODIFIED, 304),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT", 200),
    ];
    for (name, value, expected) in fields {
        let asking = world.client.asks("HEAD", "/a").header(name, value);
        let reply = asking.send().await.expect(expected, "");
        assert!(reply.is_hit(), "{name}: {value}: {:?}", reply.status());
        let length = if expected == 200 { "5" } else { "" };
        assert_eq!(reply.field("content-length"), length, "{name}: {value}");
        assert_eq!(reply.field("etag"), "\"v1\"");
        assert!(reply.age().is_some());
    }
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_entry_answers_it_where_it_would_answer_a_get() {
    let world = World::with("soft_ttl = \"0s\"\nhard_ttl = \"1h\"").await;
    world.origin.when("GET", "/a").replies(ok("hello").header("etag", "\"v1\""));
    world.client.get("/a").await.expect(200, "hello");
    world.larder.until_verdict("/a", "serve-and-refresh").await;
    let head = world.client.asks("HEAD", "/a").send().await.expect(200, "");
    assert!(head.is_stale(), "{:?}", head.status());
    assert_eq!(head.field("content-length"), "5");
    assert_eq!(world.origin.saw_method("HEAD", "/a"), 0);
    eventually("it is refreshed behind, by a GET", async || {
        world.origin.saw_method("GET", "/a") > 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_entry_with_a_validator_is_not_asked_about_with_a_condition() {
    let world = World::with("soft_ttl = \"0s\"").await;
    world.origin.when("GET", "/a").replies(ok("hello").header("etag", "\"v1\""));
    world.origin.when("HEAD", "/a").replies(ok("hello").header("etag", "\"v1\""));
    world.client.get("/a").await.expect(200, "hello");
    world.larder.until_verdict("/a", "revalidate").await;
    let head = world.client.asks("HEAD", "/a").send().await.expect(200, "");
    assert_eq!(head.field("content-length"), "5");
    let asked = world.origin.asked("/a");
    let head = asked.iter().find(|asked| asked.method == "HEAD").unwrap();
    assert_eq!(head.field("if-none-match"), "", "{:?}", head.headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_matching_answer_renews_the_entry_with_its_fields_and_times() {
    // The only lifetime that it has left comes from the HEAD.
    let world = world(hello().header("age", "3600").header("x-shade", "old")).await;
    world.client.get("/a").await.expect(200, "hello");
    world.larder.until_verdict("/a", "revalidate").await;
    let head = world
        .head(ok("hello").max_age(1800).header("etag", "\"v1\"").header("x-shade", "new"))
        .await;
    assert_eq!(head.status, 200);
    assert_eq!(world.verdict().await, "serve");
    let hit = world.client.get("/a").await.expect(200, "hello");
    assert!(hit.is_hit(), "{:?}", hit.status());
    assert_eq!(hit.field("x-shade"), "new");
    assert_eq!(hit.field("cache-control"), "max-age=1800");
    assert_eq!(hit.field("content-length"), "5");
    let ttl: i64 = hit.status().value("ttl").unwrap().parse().unwrap();
    assert!((1700..=1800).contains(&ttl), "{ttl}");
    assert!(hit.age().is_some_and(|age| age < 100), "{:?}", hit.age());
    assert_eq!(world.origin.saw_method("GET", "/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_differs_makes_the_entry_stale_and_the_next_get_asks() {
    let differing = [
        ("another tag", ok("hello").max_age(3600).header("etag", "\"v2\"")),
        ("another date", hello().header("last-modified", MODIFIED)),
        ("another length", ok("hello!").max_age(3600).header("etag", "\"v1\"")),
        ("another length, no validator", ok("hello!").max_age(3600)),
        ("now private", ok("hello").header("cache-control", "private").header("etag", "\"v1\"")),
        ("now varying", hello().header("vary", "accept")),
        ("not found", status(404)),
        ("gone", status(410)),
        ("moved", status(301).header("location", "/b")),
    ];
    for (what, answer) in differing {
        let world = world(hello()).await;
        world.warm("/a").await;
        world.head(answer).await;
        assert_eq!(world.verdict().await, "revalidate", "{what}");
        let before = world.origin.saw_method("GET", "/a");
        let get = world.client.get("/a").await.expect(200, "hello");
        assert!(get.is_forwarded(), "{what}: {:?}", get.status());
        let asked = world.origin.asked("/a");
        let last = asked.iter().rfind(|asked| asked.method == "GET").unwrap();
        assert_eq!(last.field("if-none-match"), "\"v1\"", "{what}: its validator is kept");
        assert_eq!(world.origin.saw_method("GET", "/a"), before + 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_proves_nothing_changes_nothing() {
    let telling_nothing = [
        ("no validator", ok("hello").max_age(9000)),
        ("the length alone", ok("hello").max_age(9000).header("x-shade", "new")),
        ("asks who it is", status(401)),
        ("not this method", status(405)),
        ("too many", status(429)),
        ("not modified", status(304).header("etag", "\"v2\"")),
    ];
    for (what, answer) in telling_nothing {
        let world = world(hello()).await;
        world.warm("/a").await;
        world.head(answer).await;
        assert_eq!(world.verdict().await, "serve", "{what}");
        let hit = world.client.get("/a").await.expect(200, "hello");
        assert_eq!(hit.field("cache-control"), "max-age=3600", "{what}");
        assert_eq!(world.origin.saw_method("GET", "/a"), 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_origin_fails_a_stale_entry_covers_for_it() {
    let keys = "soft_ttl = \"0s\"\nstale_if_error = \"1h\"";
    let mut world = World::with(keys).await;
    world.origin.when("GET", "/a").replies(ok("hello").header("connection", "close"));
    world.origin.when("HEAD", "/a").replies(status(503).header("connection", "close"));
    world.client.get("/a").await.expect(200, "hello");
    eventually("it is stored", async || world.verdict().await == "fetch").await;
    let ask = async || world.client.asks("HEAD", "/a").send().await;
    for what in ["an error", "no answer"] {
        let head = ask().await.expect(200, "");
        assert!(head.is_stale(), "{what}: {:?}", head.status());
        assert_eq!(head.field("content-length"), "5", "{what}");
        if what == "an error" {
            world.origin.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_variant_that_it_selects_is_touched() {
    let world = World::set_up(|setup| setup).await;
    world.origin.when("GET", "/a").answers(|asked| {
        let language = asked.field("accept-language");
        hello().header("vary", "accept-language").header("x-for", language)
    });
    world
        .origin
        .when("HEAD", "/a")
        .replies(ok("hello!").header("etag", "\"v2\"").header("vary", "accept-language"));
    let ask = |method: &'static str, language: &'static str| {
        world.client.asks(method, "/a").header("accept-language", language)
    };
    for language in ["de", "en"] {
        eventually("it is a hit", async || ask("GET", language).send().await.is_hit()).await;
    }
    ask("HEAD", "de").header("cache-control", "no-cache").send().await.expect(200, "");
    assert!(ask("GET", "en").send().await.is_hit());
    assert!(ask("GET", "de").send().await.is_forwarded());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_with_a_precondition_teaches_the_same() {
    let world = world(hello()).await;
    world.warm("/a").await;
    world.origin.when("HEAD", "/a").replies(ok("hello!").header("etag", "\"v2\""));
    let head = world.client.asks("HEAD", "/a").header("if-match", "\"v2\"").send().await;
    assert_eq!((head.status, world.origin.saw_method("HEAD", "/a")), (200, 1));
    assert_eq!(world.verdict().await, "revalidate");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_before_a_write_does_not_bring_back_what_it_threw_away() {
    let world = world(hello().header("age", "3600")).await;
    world.client.get("/a").await.expect(200, "hello");
    world.larder.until_verdict("/a", "revalidate").await;
    let gate = Gate::closed();
    world.origin.when("HEAD", "/a").replies(hello().after(&gate));
    world.origin.when("PUT", "/a").replies(status(204));
    let client = world.client.clone();
    let head = tokio::spawn(async move { client.asks("HEAD", "/a").send().await });
    eventually("it is with the origin", async || world.origin.saw_method("HEAD", "/a") == 1).await;
    assert_eq!(world.client.asks("PUT", "/a").content("x").send().await.status, 204);
    gate.open();
    assert_eq!(soon("the head", head).await.unwrap().status, 200);
    assert_eq!(world.verdict().await, "fetch");
    assert!(world.client.get("/a").await.is_forwarded());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_before_another_fill_is_not_held_against_it() {
    let world = world(hello().header("age", "3600")).await;
    world.client.get("/a").await.expect(200, "hello");
    world.larder.until_verdict("/a", "revalidate").await;
    let gate = Gate::closed();
    world.origin.when("HEAD", "/a").replies(hello().after(&gate));
    let client = world.client.clone();
    let head = tokio::spawn(async move { client.asks("HEAD", "/a").send().await });
    eventually("it is with the origin", async || world.origin.saw_method("HEAD", "/a") == 1).await;
    // The resource changes by itself, and a GET finds out.
    world.origin.when("GET", "/a").replies(ok("newer").max_age(3600).header("etag", "\"v2\""));
    world.warm("/a").await.expect(200, "newer");
    gate.open();
    assert_eq!(soon("the head", head).await.unwrap().status, 200);
    world.client.get("/a").await.expect(200, "newer");
    assert_eq!(world.verdict().await, "serve");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tags_are_in_the_content_it_asks_for_the_coding_that_is_stored() {
    let world = World::with("tags = [\"item:{$.id}\"]").await;
    let tagged = || json("{\"id\":7}").max_age(3600).header("etag", "\"v1\"");
    world.origin.when("GET", "/a").replies(tagged().header("age", "3600"));
    world.origin.when("HEAD", "/a").answers(move |asked| {
        let coded = asked.headers.contains_key("accept-encoding");
        if coded { tagged().header("etag", "\"v1-gzip\"") } else { tagged() }
    });
    world.client.get("/a").await.expect(200, "{\"id\":7}");
    world.larder.until_verdict("/a", "revalidate").await;
    let asking = world.client.asks("HEAD", "/a").header("accept-encoding", "gzip");
    asking.send().await.expect(200, "");
    assert_eq!(world.verdict().await, "serve");
}
