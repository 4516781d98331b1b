//! Which queries does an origin declare to be the same (`No-Vary-Search`)?

use serde_json::json;

use crate::World;
use crate::support::client::Reply;
use crate::support::origin::{Answer, Gate, ok, status};
use crate::support::wait::eventually;

const OBEYS: &str = "soft_ttl = \"1h\"\nno_vary_search = true";

/// An origin that answers with the query it was asked and how often it was asked before.
async fn world(keys: &str, field: &'static str) -> World {
    let world = World::with(keys).await;
    world.origin.on("/s").answers(move |asked| stating(ok(asked.before.to_string()), field));
    world
}

fn stating(answer: Answer, field: &str) -> Answer {
    if field.is_empty() { answer } else { answer.header("no-vary-search", field) }
}

impl World {
    /// Lets the path's rule be learned.
    async fn learn(&self) -> Reply {
        self.warm("/s?learn=1").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_do_not_count_share_an_entry() {
    for (field, one, same, other) in [
        ("params=(\"utm\")", "/s?q=1&utm=a", "/s?utm=b&q=1", "/s?q=2&utm=a"),
        ("params=(\"utm\" \"x+y\")", "/s?q=1", "/s?q=1&x%20y=1&u%74m", "/s?q=1&xy=1"),
        ("params, except=(\"q\")", "/s?q=1&a=1", "/s?b=2&%63=3&q=1", "/s?q=1&q=1"),
        ("key-order, params, except=(\"q\")", "/s?a&q=1", "/s?q=1", "/s?q=2"),
    ] {
        let world = world(OBEYS, field).await;
        world.learn().await;
        let first = world.warm(one).await;
        let hit = world.client.get(same).await;
        assert!(hit.is_hit(), "{field}: {same}");
        assert_eq!(hit.text(), first.text(), "{field}: {same}");
        assert_eq!(hit.field("no-vary-search"), field, "caches on the way may obey it too");
        assert!(world.client.get(other).await.is_forwarded(), "{field}: {other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_rule_or_without_the_key_every_parameter_counts() {
    for (keys, field) in [
        ("soft_ttl = \"1h\"", "params"),
        (OBEYS, ""),
        (OBEYS, "key-order"),
        (OBEYS, "params=?0"),
        (OBEYS, "params=(utm)"),
        (OBEYS, "params=(\"utm\"), except=(\"q\")"),
        (OBEYS, "except=(\"q\")"),
        (OBEYS, "params,"),
    ] {
        let world = world(keys, field).await;
        world.warm("/s?utm=a").await;
        assert!(world.client.get("/s?utm=b").await.is_forwarded(), "{keys} {field}");
        assert!(world.client.get("/s?utm=a").await.is_hit(), "{keys} {field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_is_asked_with_all_that_the_client_sent() {
    let world = World::with(OBEYS).await;
    world.origin.on("/s").answers(|asked| {
        let query = asked.target.split_once('?').map_or("", |(_, query)| query).to_owned();
        ok(query).header("no-vary-search", "params=(\"utm\")")
    });
    world.learn().await;
    let miss = world.client.get("/s?utm=b&q=1").await;
    miss.expect(200, "q=1&utm=b");
    eventually("it is stored", async || world.client.get("/s?q=1&utm=z").await.is_hit()).await;
    world.client.get("/s?q=1&utm=z").await.expect(200, "q=1&utm=b");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_states_another_rule_or_none_is_found_by_its_own() {
    let world = World::with(OBEYS).await;
    world.origin.on("/s").answers(|asked| {
        let field = match asked.target.as_str() {
            target if target.contains("plain") => "",
            target if target.contains("other") => "params=(\"b\")",
            _ => "params=(\"a\")",
        };
        stating(ok(asked.before.to_string()), field)
    });
    world.learn().await;
    world.warm("/s?a=1").await;
    assert!(world.client.get("/s?a=2").await.is_hit());
    // It states no rule: it must not answer another query, nor be lost to its own.
    world.warm("/s?a=1&plain=1").await;
    assert!(world.client.get("/s?a=2&plain=1").await.is_forwarded());
    world.warm("/s?a=1&other&b=1").await;
    assert!(world.client.get("/s?a=1&other&b=2").await.is_hit());
    assert!(world.client.get("/s?a=2&other&b=2").await.is_forwarded());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_under_a_rule_that_is_given_up_does_not_get_somebody_elses_answer() {
    let world = World::with(OBEYS).await;
    let gate = Gate::closed();
    let held = gate.clone();
    world.origin.on("/s").answers(move |asked| {
        if asked.target.contains("learn") {
            return ok("x").header("no-vary-search", "params=(\"a\" \"learn\")").max_age(3600);
        }
        let answer = ok(asked.target.clone());
        if asked.before == 1 { answer.after(&held) } else { answer }
    });
    world.learn().await;
    world.larder.purge(json!({ "url": "/s?learn=1" })).await;
    let ask = |target: &'static str| {
        let client = world.larder.client();
        tokio::spawn(async move { client.get(target).await })
    };
    let first = ask("/s?a=1");
    eventually("the first is with the origin", async || world.origin.saw("/s") == 2).await;
    let others = ["/s?a=2", "/s?a=3", "/s?a=4"].map(|target| (target, ask(target)));
    eventually("the others wait", async || {
        world.larder.metrics().await.sum("larder_collapsed_waiters_total", &[]) >= 3.0
    })
    .await;
    gate.open();
    first.await.unwrap().expect(200, "/s?a=1");
    for (target, other) in others {
        other.await.unwrap().expect(200, target);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_queries_that_are_the_same_are_asked_once() {
    let world = World::with(OBEYS).await;
    let gate = Gate::closed();
    let held = gate.clone();
    world.origin.on("/s").answers(move |asked| {
        let answer = stating(ok(asked.before.to_string()), "params=(\"a\" \"learn\")");
        if asked.before == 1 { answer.after(&held) } else { answer }
    });
    world.learn().await;
    world.larder.purge(json!({ "path": "/s" })).await;
    let asks: Vec<_> = (0..5)
        .map(|n| {
            let client = world.larder.client();
            tokio::spawn(async move { client.get(&format!("/s?a={n}")).await })
        })
        .collect();
    eventually("they wait for one", async || {
        world.larder.metrics().await.sum("larder_collapsed_waiters_total", &[]) >= 4.0
    })
    .await;
    gate.open();
    for ask in asks {
        ask.await.unwrap().expect(200, "1");
    }
    assert_eq!(world.origin.saw("/s"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_and_purges_reach_it_by_any_of_its_urls() {
    let world = world(OBEYS, "params=(\"a\")").await;
    world.origin.when("PUT", "/s").replies(status(204));
    for round in ["write", "path", "prefix", "url"] {
        world.learn().await;
        world.warm("/s?a=1&q=1").await;
        assert!(world.client.get("/s?a=2&q=1").await.is_hit(), "{round}");
        match round {
            "write" => drop(world.client.asks("PUT", "/s").content("x").send().await),
            // Whatever URL the origin was asked for what is stored.
            "url" => drop(world.larder.purge(json!({ "url": "/s?a=3&q=1" })).await),
            kind => drop(world.larder.purge(json!({ kind: "/s" })).await),
        }
        assert!(world.client.get("/s?a=3&q=1").await.is_forwarded(), "{round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn variants_are_kept_apart_under_a_rule() {
    let world = World::with(OBEYS).await;
    world.origin.on("/s").answers(|asked| {
        ok(asked.field("x-kind").to_owned())
            .header("vary", "x-kind")
            .header("no-vary-search", "params=(\"a\" \"learn\")")
    });
    let ask = |target: &'static str, kind: &'static str| {
        world.client.asks("GET", target).header("x-kind", kind).send()
    };
    for kind in ["one", "two"] {
        eventually("it is a hit", async || ask("/s?a=1", kind).await.is_hit()).await;
        let hit = ask("/s?a=2", kind).await;
        assert!(hit.is_hit(), "{kind}");
        hit.expect(200, kind);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_that_states_another_rule_does_not_renew_what_was_found_by_the_old_one() {
    let world = World::with("soft_ttl = \"100ms\"\nhard_ttl = \"1h\"\nno_vary_search = true").await;
    world.origin.on("/s").answers(|asked| {
        let conditional = !asked.field("if-none-match").is_empty();
        let field =
            if conditional || asked.before >= 2 { "params=(\"b\")" } else { "params=(\"a\")" };
        let answer = if conditional { ok("").code(304) } else { ok(asked.before.to_string()) };
        let answer = answer.header("etag", "\"v1\"").header("no-vary-search", field);
        if asked.before >= 2 { answer.max_age(3600) } else { answer }
    });
    world.client.get("/s?a=1").await;
    eventually("its rule is known", async || world.client.get("/s?a=2").await.text() == "0").await;
    world.larder.until_verdict("/s?a=1", "serve-and-refresh").await;
    world.client.get("/s?a=1").await;
    eventually("it was asked without conditions", async || {
        world.client.get("/s?a=1&b=1").await.is_hit()
    })
    .await;
    assert!(world.client.get("/s?a=7").await.is_forwarded(), "that counts now");
}
