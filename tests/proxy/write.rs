//! What a write throws away, and when.

use crate::World;
use crate::support::origin::{Answer, Gate, Resource, ok, status};
use crate::support::wait::{eventually, soon};

const KEEPS: &str = "soft_ttl = \"1h\"";

/// An origin whose paths answer how often they were asked.
async fn counting(paths: &[&str], keys: &str) -> World {
    let world = World::with(&format!("{KEEPS}\n{keys}")).await;
    for path in paths {
        count(&world, path);
    }
    world
}

fn count(world: &World, path: &str) {
    world.origin.on(path).answers(|asked| ok(asked.before.to_string()));
}

impl World {
    /// Sends a write that the origin answers so.
    async fn writes(&self, method: &str, target: &str, answer: Answer) {
        let path = target.split('?').next().unwrap();
        self.origin.when(method, path).replies(answer);
        let reply = self.client.asks(method, target).content("x").send().await;
        assert!(reply.status < 500 || self.origin.saw_method(method, path) > 0, "{}", reply.text());
    }

    /// Which of these would be fetched anew; the others are fresh.
    async fn gone<'t>(&self, targets: &[&'t str]) -> Vec<&'t str> {
        let mut gone = Vec::new();
        for target in targets {
            if self.larder.verdict(target).await != "serve" {
                gone.push(*target);
            }
        }
        gone
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_unsafe_method_invalidates_its_target_and_nothing_unrelated() {
    let world = counting(&["/a", "/b"], "").await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "PURIFY"] {
        world.warm("/a").await;
        world.warm("/b").await;
        world.writes(method, "/a", status(204)).await;
        assert_eq!(world.gone(&["/a", "/b"]).await, ["/a"], "{method}");
    }
    world.warm("/a").await;
    for method in ["HEAD", "OPTIONS"] {
        world.client.asks(method, "/a").send().await;
        assert_eq!(world.gone(&["/a"]).await, [""; 0], "{method} is safe");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_reaches_all_query_strings_and_variants_of_its_target() {
    let world = World::with(KEEPS).await;
    world.origin.on("/a").answers(|asked| {
        ok(format!("{} {}", asked.before, asked.field("accept-language")))
            .header("vary", "accept-language")
    });
    let ask = |target: &'static str, language: &'static str| {
        world.client.asks("GET", target).header("accept-language", language).send()
    };
    let all = [("/a", "de"), ("/a", "en"), ("/a?page=2", "de"), ("/a?page=2&x=1", "en")];
    for (target, language) in all {
        eventually("it is a hit", async || ask(target, language).await.is_hit()).await;
    }
    world.writes("PUT", "/a?by=me", ok("done")).await;
    for (target, language) in all {
        let reply = ask(target, language).await;
        assert!(reply.is_forwarded(), "{target} {language}: {:?}", reply.status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_through_one_host_reaches_the_entries_of_all() {
    let world = counting(&["/a"], "").await;
    for host in ["one.test", "two.test"] {
        eventually("it is a hit", async || {
            world.client.asks("GET", "/a").host(host).send().await.is_hit()
        })
        .await;
    }
    world.client.asks("DELETE", "/a").host("internal.test").send().await;
    for host in ["one.test", "two.test"] {
        assert!(world.client.asks("GET", "/a").host(host).send().await.is_forwarded(), "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_to_an_item_reaches_its_collection_unless_the_route_says_otherwise() {
    let paths = ["/shops/1/products/7", "/shops/1/products", "/shops/1", "/shops"];
    for (keys, expected) in [("", 2), ("parent = false", 1)] {
        let world = counting(&paths, keys).await;
        for path in paths {
            world.warm(path).await;
        }
        world.warm("/shops/1/products?page=2").await;
        world.writes("PATCH", paths[0], ok("done")).await;
        assert_eq!(world.gone(&paths).await, paths[..expected], "{keys}");
        let pages = world.gone(&["/shops/1/products?page=2"]).await;
        assert_eq!(pages.len(), expected - 1, "{keys}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_answer_refers_to_is_reached_too() {
    let paths = ["/products/1", "/products/2", "/products/3", "/products/4", "/elsewhere"];
    let world = counting(&paths, "parent = false").await;
    let address = world.larder.address();
    for path in paths {
        world.warm(path).await;
    }
    let answer = status(201)
        .header("location", "/products/1?fresh=1")
        .header("content-location", &format!("http://{address}/products/2"));
    world.writes("POST", "/products", answer).await;
    assert_eq!(world.gone(&paths).await, ["/products/1", "/products/2"]);

    let answer = status(201)
        .header("location", "products/3")
        .header("content-location", "http://other.test/products/4");
    world.writes("POST", "/orders", answer).await;
    let gone = world.gone(&paths[2..]).await;
    assert_eq!(gone, ["/products/3"], "of another host it may not throw away anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_lists_what_else_its_writes_change() {
    let world = World::set_up(|setup| {
        setup
            .route(
                "/products/{id}",
                "soft_ttl = \"1h\"\nparent = false\non_write = [\"tag:product:{id}\", \
                 \"namespace:search\", \"path:/top\", \"prefix:/lists/{id}/\", \"url:/home?tab=new\"]",
            )
            .route("/search", "soft_ttl = \"1h\"\nnamespace = \"search/products\"")
            .route("/tagged/{id}", "soft_ttl = \"1h\"\ntags = [\"product:{id}\"]")
            .route("/{*rest}", KEEPS)
    })
    .await;
    let reached = [
        "/products/7",
        "/tagged/7",
        "/search?q=tea",
        "/top",
        "/top?page=2",
        "/lists/7/a",
        "/lists/7/b/c",
        "/home?tab=new",
    ];
    let spared = ["/products/8", "/tagged/8", "/lists/8/a", "/lists/7", "/home", "/home?tab=old"];
    for target in reached.iter().chain(&spared) {
        count(&world, target.split('?').next().unwrap());
        world.warm(target).await;
    }
    world.writes("PUT", "/products/7", ok("done")).await;
    let all: Vec<_> = reached.iter().chain(&spared).copied().collect();
    assert_eq!(world.gone(&all).await, reached);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_done_before_the_answer_is_released() {
    let world = World::with(KEEPS).await;
    let value = Resource::new("0");
    let current = value.clone();
    world.origin.on("/a").answers(move |_| ok(current.get()));
    world.origin.when("PUT", "/a").answers(move |asked| {
        value.set(&asked.content());
        status(204)
    });
    for round in 1..=50 {
        world.warm("/a").await;
        let written = world.client.asks("PUT", "/a").content(&round.to_string()).send().await;
        assert_eq!(written.status, 204);
        assert_ne!(written.field("larder-position"), "", "{:?}", written.headers);
        world.client.get("/a").await.expect(200, &round.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_only_grow() {
    let world = counting(&["/a"], "").await;
    let mut positions = Vec::new();
    for _ in 0..20 {
        let reply = world.client.asks("DELETE", "/a").send().await;
        let position = reply.field("larder-position").to_owned();
        let (time, count) = position.split_once('-').unwrap_or((&position, "0"));
        positions.push((time.parse::<u64>().unwrap(), count.parse::<u64>().unwrap()));
    }
    assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_the_origin_refused_throws_nothing_away() {
    let world = counting(&["/a"], "").await;
    world.warm("/a").await;
    for code in [400, 401, 403, 404, 409, 412, 422, 429] {
        world.writes("PUT", "/a", status(code)).await;
        assert_eq!(world.gone(&["/a"]).await, [""; 0], "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_outcome_is_unknown_throws_away_what_it_may_have_changed() {
    let world =
        World::set_up(|setup| crate::everywhere(setup, KEEPS).origin("timeout = \"300ms\"")).await;
    count(&world, "/a");
    let never = Gate::closed();
    let outcomes = [
        ("500", status(500)),
        ("502", status(502)),
        ("503", status(503)),
        ("504", status(504)),
        ("408", status(408)),
        ("no answer in time", ok("late").after(&never)),
    ];
    for (what, answer) in outcomes {
        world.warm("/a").await;
        world.writes("PUT", "/a", answer).await;
        assert_eq!(world.gone(&["/a"]).await, ["/a"], "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_never_reached_the_origin_throws_nothing_away() {
    let mut world = World::with(KEEPS).await;
    // Nothing is left in the pool: a write on a connection that dies then may have arrived.
    let closing = |n: usize| ok(n.to_string()).header("connection", "close");
    world.origin.on("/a").answers(move |asked| closing(asked.before));
    world.warm("/a").await;
    world.origin.stop().await;
    let reply = world.client.asks("PUT", "/a").content("x").send().await;
    assert_eq!(reply.status, 502);
    assert_eq!(world.gone(&["/a"]).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_client_has_left_still_throws_away_what_it_changed() {
    let world = counting(&["/a"], "").await;
    world.warm("/a").await;
    let gate = Gate::closed();
    world.origin.when("PUT", "/a").replies(ok("done").after(&gate));
    let asking = world.client.asks("PUT", "/a").content("x");
    let leaves = tokio::spawn(asking.send());
    eventually("the origin has it", async || world.origin.saw_method("PUT", "/a") == 1).await;
    leaves.abort();
    let _ = leaves.await;
    gate.open();
    eventually("it is gone", async || world.gone(&["/a"]).await == ["/a"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_to_a_write_is_not_held_back_by_its_content() {
    let world = counting(&["/a"], "").await;
    world.origin.when("POST", "/a").replies(ok("").endless(4 << 20, false));
    let live = soon("the head", world.client.asks("POST", "/a").content("x").open()).await;
    assert_eq!(live.drain().await, (4 << 20, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_to_a_route_that_is_off_still_throws_away() {
    let world = World::set_up(|setup| {
        setup
            .route("/in/{id}", "cache = \"off\"\non_write = [\"path:/out/{id}\"]")
            .route("/out/{id}", KEEPS)
    })
    .await;
    count(&world, "/out/7");
    world.warm("/out/7").await;
    world.writes("POST", "/in/7", ok("done")).await;
    assert_eq!(world.gone(&["/out/7"]).await, ["/out/7"]);
}
