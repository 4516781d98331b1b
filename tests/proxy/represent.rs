//! When does the answer to a write become what a GET gets, and when never?
//!
//! Here the origin answers a GET with something else than a write, so that one can tell whose answer
//! it is. Asked with `/explain`, which fetches nothing.

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::World;
use crate::support::client::Reply;
use crate::support::origin::{Answer, Gate, Tap, json, ok, status};
use crate::support::wait::{eventually, soon};

const THROUGH: &str = "write_through = true";

/// What makes an answer to a write to `/a` its new representation.
fn represents(content: &str) -> Answer {
    ok(content.to_owned()).max_age(3600).header("content-location", "/a")
}

/// A world in which a GET of `/a` is answered with "got".
async fn world(keys: &str) -> World {
    let world = World::with(keys).await;
    world.origin.when("GET", "/a").replies(ok("got").max_age(3600));
    world
}

impl World {
    /// A write to `/a` that the origin answers so.
    async fn written(&self, method: &str, answer: Answer) -> Reply {
        self.origin.when(method, "/a").replies(answer);
        self.client.asks(method, "/a").content("x").send().await
    }

    /// The same; meanwhile goes on.
    async fn writing(&self, target: &'static str, answer: Answer) -> JoinHandle<Reply> {
        self.origin.when("POST", "/a").replies(answer);
        let (client, seen) = (self.client.clone(), self.origin.saw_method("POST", "/a"));
        let write =
            tokio::spawn(async move { client.asks("POST", target).content("x").send().await });
        eventually("it is with the origin", async || self.origin.saw_method("POST", "/a") > seen)
            .await;
        write
    }

    /// It is a hit without the origin having been asked.
    async fn gets(&self, target: &str, content: &str) {
        self.larder.until_verdict(target, "serve").await;
        let hit = self.client.get(target).await.expect(200, content);
        assert!(hit.is_hit(), "{:?}", hit.status());
        assert_eq!(self.origin.saw_method("GET", "/a"), 0);
    }

    /// Nothing of the last write's answer is kept, however long one waits.
    async fn keeps_nothing(&self, what: &str) {
        // Whatever came before it is done when another write's answer is stored.
        self.origin
            .when("POST", "/after")
            .answers(|_| ok("after").max_age(3600).header("content-location", "/after"));
        self.client.asks("POST", "/after").content("x").send().await;
        self.larder.until_verdict("/after", "serve").await;
        assert_eq!(self.larder.verdict("/a").await, "fetch", "{what}");
        self.client.get("/a").await.expect(200, "got");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_a_post_and_says_that_it_is_the_target_is_what_a_get_gets() {
    let lifetimes = [
        ("cache-control", "max-age=3600"),
        ("cache-control", "public, s-maxage=3600"),
        ("expires", "Fri, 01 Jan 2100 00:00:00 GMT"),
    ];
    for (name, value) in lifetimes {
        for set_up in ["", "soft_ttl = \"1h\""] {
            let world = world(set_up).await;
            let at = format!("http://{}/a", world.larder.address());
            let answer = ok("posted").header("content-location", &at).header(name, value);
            let posted = world.written("POST", answer.header("etag", "\"v2\"")).await;
            let posted = posted.expect(200, "posted");
            assert!(posted.status().has("stored"), "{:?}", posted.status());
            assert_ne!(posted.field("larder-position"), "");
            world.gets("/a", "posted").await;
            let hit = world.client.get("/a").await;
            assert_eq!(hit.field("etag"), "\"v2\"");
            assert_eq!(hit.field("larder-position"), "", "that was the write's");
            let head = world.client.asks("HEAD", "/a").send().await.expect(200, "");
            assert!(head.is_hit(), "{:?}", head.status());
            assert_eq!(head.field("content-length"), "6");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_route_the_rfc_alone_keeps_it() {
    let world = World::set_up(|setup| setup).await;
    world.written("POST", represents("posted")).await.expect(200, "posted");
    world.gets("/a", "posted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_never_answered_from_the_store() {
    let world = world("").await;
    for n in 1..=3 {
        world.written("POST", represents(&n.to_string())).await.expect(200, &n.to_string());
        world.gets("/a", &n.to_string()).await;
        assert_eq!(world.origin.saw_method("POST", "/a"), n);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_say_all_that_it_must_is_not_kept() {
    let location = |answer: Answer| answer.header("content-location", "/a");
    let fresh = |answer: Answer| answer.max_age(3600);
    let said = |value: &str| location(ok("posted")).header("cache-control", value);
    let refused = [
        ("no Content-Location", fresh(ok("posted"))),
        ("another one", fresh(ok("posted").header("content-location", "/b"))),
        ("with a query", fresh(ok("posted").header("content-location", "/a?x"))),
        ("of another host", fresh(ok("posted").header("content-location", "http://b.test/a"))),
        ("two of them", location(represents("posted"))),
        ("only the route says for how long", location(ok("posted"))),
        ("no time at all", said("max-age=0")),
        ("private", said("private, max-age=3600")),
        ("no-store", said("no-store, max-age=3600")),
        ("a cookie", represents("posted").header("set-cookie", "a=b")),
        ("varies on everything", represents("posted").header("vary", "*")),
        ("created", represents("posted").code(201)),
        ("accepted", represents("posted").code(202)),
        ("an error", represents("posted").code(500)),
        ("not found", represents("posted").code(404)),
        ("an event stream", represents("posted").header("content-type", "text/event-stream")),
        ("broken off", represents("posted").cut_after(3)),
        ("too large", represents(&"x".repeat(200))),
        ("too large, unannounced", represents("").endless(5_000, false)),
    ];
    for (what, answer) in refused {
        let world = world("soft_ttl = \"1h\"\nmax_entry = \"100B\"").await;
        let posted = world.written("POST", answer).await;
        assert!(posted.whole || what == "broken off", "{what}");
        world.keeps_nothing(what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_request_forbids_is_not_kept() {
    for (name, value) in [("authorization", "Basic eA=="), ("cache-control", "no-store")] {
        let world = world("").await;
        world.origin.when("POST", "/a").replies(represents("posted"));
        let posted = world.client.asks("POST", "/a").header(name, value).content("x").send().await;
        assert!(!posted.expect(200, "posted").status().has("stored"));
        world.keeps_nothing(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_a_put_or_a_patch_is_kept_only_where_the_route_says_so() {
    for method in ["PUT", "PATCH"] {
        let plain = world("").await;
        plain.written(method, represents("written")).await.expect(200, "written");
        plain.keeps_nothing(method).await;
        let through = world(THROUGH).await;
        through.written(method, represents("written")).await.expect(200, "written");
        through.gets("/a", "written").await;
    }
    let world = world(THROUGH).await;
    world.written("PUT", ok("done").max_age(3600)).await.expect(200, "done");
    world.keeps_nothing("it says nothing of its content").await;
    let world = self::world(THROUGH).await;
    world.written("DELETE", represents("deleted")).await.expect(200, "deleted");
    world.keeps_nothing("DELETE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_stores_nothing_keeps_no_answer_either() {
    for (writes, reads) in [("off", "on"), ("on", "off")] {
        let world = World::set_up(|setup| {
            let post = format!("methods = [\"POST\"]\ncache = \"{writes}\"");
            setup.route("/a", &post).route("/{*rest}", &format!("cache = \"{reads}\""))
        })
        .await;
        world.origin.when("GET", "/a").replies(ok("got").max_age(3600));
        let posted = world.written("POST", represents("posted")).await.expect(200, "posted");
        assert!(!posted.status().has("stored"), "{writes} {reads}: {:?}", posted.status());
        world.client.get("/a").await.expect(200, "got");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_where_a_get_finds_it_by_the_rules_of_the_route_of_that_get() {
    let world = World::set_up(|setup| {
        setup
            .route("/a", "methods = [\"POST\"]\nmax_entry = \"1B\"")
            .route("/{id}", "tags = [\"thing:{id}\", \"best:{$.best}\"]\nquery.ignore = [\"by\"]")
    })
    .await;
    let answer = json("{\"best\":7}").max_age(3600).header("surrogate-key", "shelf");
    world.origin.when("POST", "/a").replies(answer.header("content-location", "/a?page=2&by=me"));
    for tag in ["tag:thing:a", "tag:best:7", "tag:shelf", "url:/a?page=2"] {
        let posted = world.client.asks("POST", "/a?page=2&by=me").content("x").send().await;
        assert_eq!(posted.field("surrogate-key"), "", "tags are not for clients");
        world.gets("/a?by=you&page=2", "{\"best\":7}").await;
        assert_eq!(world.larder.verdict("/a?page=1").await, "fetch");
        let what = tag.split_once(':').unwrap();
        world.larder.purge(serde_json::json!({ what.0: what.1 })).await;
        assert_eq!(world.larder.verdict("/a?page=2").await, "fetch", "{tag}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_varies_it_is_for_those_who_ask_as_the_write_did() {
    let world = World::with("").await;
    let varying = |answer: Answer| answer.header("vary", "accept-language");
    world.origin.when("GET", "/a").replies(varying(ok("got").max_age(3600)));
    world.origin.when("POST", "/a").replies(varying(represents("posted")));
    let ask = |method: &'static str, language: &'static str| {
        world.client.asks(method, "/a").header("accept-language", language)
    };
    ask("POST", "de").content("x").send().await.expect(200, "posted");
    let german = [("accept-language", "de")];
    eventually("it is stored", async || {
        world.larder.explain_with("GET", "/a", &german).await["verdict"] == "serve"
    })
    .await;
    assert!(ask("GET", "de").send().await.expect(200, "posted").is_hit());
    ask("GET", "en").send().await.expect(200, "got");
    ask("GET", "de").send().await.expect(200, "posted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_write_throws_it_away_as_it_does_any_entry() {
    for method in ["POST", "PUT", "DELETE"] {
        let world = world("").await;
        world.written("POST", represents("posted")).await;
        world.gets("/a", "posted").await;
        world.written(method, status(204)).await;
        world.keeps_nothing(method).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_write_may_have_replaced_before_it_was_recorded_is_not_kept() {
    let world = world("").await;
    let gate = Gate::closed();
    // Carried out first, answered last.
    let first = world.writing("/a", represents("first").after(&gate)).await;
    world.written("PUT", status(204)).await;
    gate.open();
    soon("its answer", first).await.unwrap().expect(200, "first");
    world.keeps_nothing("the other write may have come after it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writes_at_once_the_first_answer_is_thrown_away_by_the_second_and_the_second_not_kept()
 {
    let world = world("").await;
    let (one, two) = (Gate::closed(), Gate::closed());
    let first = world.writing("/a", represents("first").after(&one)).await;
    let second = world.writing("/a", represents("second").after(&two)).await;
    two.open();
    soon("its answer", second).await.unwrap().expect(200, "second");
    world.gets("/a", "second").await;
    one.open();
    soon("its answer", first).await.unwrap().expect(200, "first");
    world.keeps_nothing("nobody knows which of them the origin carried out last").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_to_something_else_meanwhile_is_no_reason_against_it() {
    let world = world("").await;
    let gate = Gate::closed();
    let write = world.writing("/a", represents("posted").after(&gate)).await;
    for _ in 0..100 {
        assert_eq!(world.client.asks("DELETE", "/b").send().await.status, 404);
        world.origin.when("PUT", "/b").replies(status(204));
        assert_eq!(world.client.asks("PUT", "/b").send().await.status, 204);
    }
    gate.open();
    soon("its answer", write).await.unwrap().expect(200, "posted");
    world.gets("/a", "posted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_or_a_write_while_its_content_arrives_reaches_it() {
    let world = world("tags = [\"thing\"]").await;
    for what in ["a purge", "a write"] {
        let tap = Tap::new();
        world.origin.when("POST", "/a").replies(represents("").told_by(&tap));
        let asking = world.client.asks("POST", "/a").content("x");
        let mut live = asking.open_after(|| tap.send("pos")).await;
        assert_eq!(live.text(3).await, "pos", "the client does not wait for the rest");
        if what == "a purge" {
            world.larder.purge(serde_json::json!({"tags": ["thing"]})).await;
        } else {
            world.written("PUT", status(204)).await;
        }
        tap.send("ted");
        tap.end();
        live.rest().await.expect(200, "ted");
        world.keeps_nothing(what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_get_fetched_while_its_content_arrives_is_newer() {
    let world = world("").await;
    let tap = Tap::new();
    world.origin.when("POST", "/a").replies(represents("").told_by(&tap));
    let mut live = world.client.asks("POST", "/a").content("x").open_after(|| tap.send("p")).await;
    assert_eq!(live.text(1).await, "p");
    world.warm("/a").await.expect(200, "got");
    tap.end();
    live.rest().await;
    world
        .origin
        .when("POST", "/after")
        .replies(ok("after").max_age(3600).header("content-location", "/after"));
    world.client.asks("POST", "/after").content("x").send().await;
    world.larder.until_verdict("/after", "serve").await;
    world.client.get("/a").await.expect(200, "got");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_stored_although_its_client_leaves() {
    let world = world("").await;
    let tap = Tap::new();
    world.origin.when("POST", "/a").replies(represents("").told_by(&tap));
    let mut live =
        world.client.asks("POST", "/a").content("x").open_after(|| tap.send("pos")).await;
    assert_eq!(live.text(3).await, "pos");
    drop(live);
    tokio::time::sleep(Duration::from_millis(50)).await;
    tap.send("ted");
    tap.end();
    world.gets("/a", "posted").await;
}
