//! Groups of responses that are invalidated together (RFC 9875).

use serde_json::json;

use crate::World;
use crate::support::origin::{Answer, Gate, ok, status};
use crate::support::wait::eventually;

const KEEPS: &str = "soft_ttl = \"1h\"";

/// An origin whose paths answer how often they were asked, each in its groups.
async fn grouped(paths: &'static [(&str, &str)]) -> World {
    let world = World::with(KEEPS).await;
    for (path, groups) in paths {
        world
            .origin
            .when("GET", path)
            .answers(move |asked| ok(asked.before.to_string()).header("cache-groups", groups));
    }
    world
}

fn invalidating(answer: Answer, groups: &str) -> Answer {
    answer.header("cache-group-invalidation", groups)
}

/// Which of these would be fetched anew; the others are fresh.
async fn gone<'t>(world: &World, targets: &[&'t str]) -> Vec<&'t str> {
    let mut gone = Vec::new();
    for target in targets {
        if world.larder.verdict(target).await != "serve" {
            gone.push(*target);
        }
    }
    gone
}

const MEMBERS: [(&str, &str); 5] = [
    ("/a", "\"one\""),
    ("/b", "\"two\", \"one\";x=1"),
    ("/c", "\"two\""),
    ("/d", "\"ONE\""),
    ("/e", "one"),
];
const PATHS: [&str; 5] = ["/a", "/b", "/c", "/d", "/e"];

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_names_groups_reaches_all_members_and_nobody_else() {
    let world = grouped(&MEMBERS).await;
    for (field, expected) in [
        ("\"one\"", &["/a", "/b"][..]),
        ("\"two\"", &["/b", "/c"]),
        ("\"nobody\", \"ONE\"; p", &["/d"]),
        ("\"one\", \"two\", \"ONE\"", &["/a", "/b", "/c", "/d"]),
        // RFC 9651 §4.2: what is no list of strings is as if it were not there.
        ("one", &[]),
        ("\"one\", two", &[]),
        ("\"one\",", &[]),
    ] {
        for path in PATHS {
            world.warm(path).await;
        }
        world.origin.when("POST", "/vote").replies(invalidating(status(204), field));
        let reply = world.client.asks("POST", "/vote").content("x").send().await;
        assert_eq!(reply.field("cache-group-invalidation"), field, "it goes on to other caches");
        assert_eq!(gone(&world, &PATHS).await, expected, "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_string_and_variant_of_a_member_is_reached() {
    let world = World::with(KEEPS).await;
    world.origin.when("GET", "/a").answers(|asked| {
        ok(asked.before.to_string()).header("cache-groups", "\"one\"").header("vary", "x-kind")
    });
    let ask = |target: &'static str, kind: &'static str| {
        world.client.asks("GET", target).header("x-kind", kind).send()
    };
    let all = [("/a", "1"), ("/a", "2"), ("/a?page=2", "1")];
    for (target, kind) in all {
        eventually("it is a hit", async || ask(target, kind).await.is_hit()).await;
    }
    world.origin.when("POST", "/vote").replies(invalidating(ok("done"), "\"one\""));
    world.client.asks("POST", "/vote").send().await;
    for (target, kind) in all {
        assert!(ask(target, kind).await.is_forwarded(), "{target} {kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_field_counts_on_unsafe_methods_alone_and_whatever_the_status() {
    let world = grouped(&MEMBERS).await;
    for method in ["GET", "HEAD", "OPTIONS"] {
        world.warm("/a").await;
        world
            .origin
            .when(method, "/vote")
            .replies(invalidating(ok(""), "\"one\"").header("cache-control", "no-store"));
        world.client.asks(method, "/vote").send().await;
        assert!(gone(&world, &["/a"]).await.is_empty(), "{method} is safe");
    }
    for code in [200, 303, 404, 409, 500] {
        world.warm("/a").await;
        world.warm("/c").await;
        world.origin.when("PUT", "/c").replies(invalidating(status(code), "\"one\""));
        let reply = world.client.asks("PUT", "/c").content("x").send().await;
        assert_ne!(reply.field("larder-position"), "", "{code}");
        let target: &[&str] = if (400..500).contains(&code) { &[] } else { &["/c"] };
        assert_eq!(gone(&world, &["/a", "/c"]).await, [&["/a"], target].concat(), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_of_one_origin() {
    let world = grouped(&MEMBERS).await;
    let hosts = ["one.test", "two.test", "two.test:81"];
    let ask = |host: &'static str| world.client.asks("GET", "/a").host(host).send();
    for host in hosts {
        eventually("it is a hit", async || ask(host).await.is_hit()).await;
    }
    world.origin.when("POST", "/vote").replies(invalidating(status(204), "\"one\""));
    world.client.asks("POST", "/vote").host("TWO.test:80").send().await;
    for (host, reached) in hosts.into_iter().zip([false, true, false]) {
        assert_eq!(ask(host).await.is_forwarded(), reached, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_before_its_group_was_invalidated_is_not_kept() {
    let world = World::with(KEEPS).await;
    let gate = Gate::closed();
    let held = gate.clone();
    world.origin.when("GET", "/a").answers(move |asked| {
        let answer = ok(asked.before.to_string()).header("cache-groups", "\"one\"");
        if asked.before == 0 { answer.after(&held) } else { answer }
    });
    let client = world.larder.client();
    let slow = tokio::spawn(async move { client.get("/a").await });
    eventually("it is with the origin", async || world.origin.saw("/a") == 1).await;
    world.origin.when("POST", "/vote").replies(invalidating(status(204), "\"one\""));
    world.client.asks("POST", "/vote").send().await;
    // Who asks after the write waits with those who asked before it, until the groups are known.
    let client = world.larder.client();
    let late = tokio::spawn(async move { client.get("/a").await });
    eventually("it waits", async || {
        world.larder.metrics().await.sum("larder_collapsed_waiters_total", &[]) >= 1.0
    })
    .await;
    gate.open();
    slow.await.unwrap().expect(200, "0");
    late.await.unwrap().expect(200, "1");
    world.warm("/a").await.expect(200, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_say_so_to_clients_and_when_they_are_explained() {
    let world = grouped(&MEMBERS).await;
    let hit = world.warm("/b").await;
    assert_eq!(hit.field("cache-groups"), "\"two\", \"one\";x=1", "caches on the way obey it too");
    let told = world.larder.explain("GET", "/b").await;
    assert_eq!(told["found"]["groups"], json!(["two", "one"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_more_groups_than_can_be_kept_is_served_and_not_stored() {
    let world = World::with(KEEPS).await;
    let many =
        |count: usize| (0..count).map(|n| format!("\"{n:032}\"")).collect::<Vec<_>>().join(", ");
    world.origin.on("/fits").replies(ok("x").header("cache-groups", &many(128)));
    world.origin.on("/many").replies(ok("x").header("cache-groups", &many(129)));
    let long = format!("\"{}\"", "x".repeat(257));
    world.origin.on("/long").replies(ok("x").header("cache-groups", &long));
    world.warm("/fits").await;
    for path in ["/many", "/long"] {
        for asked in 1..4 {
            world.client.get(path).await.expect(200, "x");
            assert_eq!(world.origin.saw(path), asked, "{path}: it would outlive an invalidation");
        }
    }
    world.origin.when("POST", "/vote").replies(invalidating(status(204), &many(129)));
    world.client.asks("POST", "/vote").send().await;
    assert_eq!(gone(&world, &["/fits"]).await, ["/fits"], "a list is never shortened");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_with_groups_replaces_them_and_one_without_keeps_them() {
    for (said, members) in [
        (Some("\"new\", \"old\""), &["new", "old"][..]),
        (Some("\"new\""), &["new"]),
        (Some(""), &[]),
        (None, &["old"]),
        // As if it were not there.
        (Some("new"), &["old"]),
    ] {
        let world = World::with("soft_ttl = \"100ms\"\nhard_ttl = \"1h\"").await;
        world.origin.on("/a").answers(move |asked| {
            let answer = match asked.field("if-none-match") {
                "" => return ok("x").header("etag", "\"v1\"").header("cache-groups", "\"old\""),
                _ => ok("").code(304).header("etag", "\"v1\"").max_age(3600),
            };
            said.into_iter().fold(answer, |answer, said| answer.header("cache-groups", said))
        });
        world.client.get("/a").await;
        world.larder.until_verdict("/a", "serve-and-refresh").await;
        world.client.get("/a").await;
        world.warm("/a").await;
        let told = world.larder.explain("GET", "/a").await;
        assert_eq!(told["found"]["groups"], json!(members), "{said:?}");
        for group in ["old", "new"] {
            world.warm("/a").await;
            let before = members.contains(&group);
            world
                .origin
                .when("POST", "/vote")
                .replies(invalidating(status(204), &format!("\"{group}\"")));
            world.client.asks("POST", "/vote").send().await;
            if before {
                assert_eq!(gone(&world, &["/a"]).await, ["/a"], "{said:?}: {group}");
                break;
            }
            assert!(gone(&world, &["/a"]).await.is_empty(), "{said:?}: {group}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_a_304_cannot_add_are_asked_for_again() {
    let world = World::with("soft_ttl = \"100ms\"\nhard_ttl = \"1h\"").await;
    let long = format!("\"{}\"", "x".repeat(257));
    world.origin.on("/a").answers(move |asked| match asked.field("if-none-match") {
        "" => ok(asked.before.to_string()).header("etag", "\"v1\""),
        _ => ok("").code(304).header("etag", "\"v1\"").header("cache-groups", &long),
    });
    world.client.get("/a").await;
    world.larder.until_verdict("/a", "serve-and-refresh").await;
    world.client.get("/a").await;
    eventually("it was fetched whole", async || world.client.get("/a").await.text() == "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_can_purge_a_group() {
    let world = grouped(&MEMBERS).await;
    for path in PATHS {
        world.warm(path).await;
    }
    let host = world.larder.address();
    let receipt = world.larder.purge(json!({ "group": format!("//{host}/two") })).await;
    assert_eq!(receipt.status, 200, "{}", receipt.text());
    assert_eq!(gone(&world, &PATHS).await, ["/b", "/c"]);
}
