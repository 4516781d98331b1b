//! Past the soft expiry, past the hard one, and when the origin fails.

use std::time::Duration;

use crate::World;
use crate::support::origin::{Gate, Resource, ok, status};
use crate::support::wait::{eventually, stays};

/// Stale after a moment, for a long time.
const SOON_STALE: &str = "soft_ttl = \"200ms\"\nhard_ttl = \"1h\"";

/// Expired for good after a moment.
const SOON_GONE: &str = "soft_ttl = \"50ms\"\nhard_ttl = \"100ms\"";

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_too_late_gets_the_old_at_once_and_one_refresh_is_made_for_all() {
    let world = World::with(SOON_STALE).await;
    let gate = Gate::closed();
    let slow = gate.clone();
    world.origin.on("/a").answers(move |asked| match asked.before {
        0 => ok("old"),
        _ => ok("new").after(&slow),
    });
    world.client.get("/a").await.expect(200, "old");
    world.larder.until_verdict("/a", "serve-and-refresh").await;

    for reply in world.client.crowd(100, "/a").await {
        let reply = reply.expect(200, "old");
        assert!(reply.is_stale(), "{:?}", reply.status());
        assert!(reply.status().value("ttl").unwrap().starts_with(['-', '0']));
    }
    eventually("a refresh has begun", async || world.origin.saw("/a") == 2).await;
    for reply in world.client.crowd(100, "/a").await {
        reply.expect(200, "old");
    }
    assert_eq!(world.origin.saw("/a"), 2, "exactly one refresh");
    gate.open();
    eventually("the new is served", async || world.client.get("/a").await.text() == "new").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_quick_the_origin_one_refresh_is_made() {
    let world = World::with(SOON_STALE).await;
    let paths: Vec<_> = (0..60).map(|n| format!("/{n}")).collect();
    for path in &paths {
        world.origin.on(path).answers(|asked| match asked.before {
            0 => ok("old"),
            _ => ok("new").max_age(3600),
        });
        world.client.get(path).await.expect(200, "old");
    }
    for path in &paths {
        world.larder.until_verdict(path, "serve-and-refresh").await;
    }
    for path in &paths {
        world.client.crowd(10, path).await;
        eventually("it is new", async || world.client.get(path).await.text() == "new").await;
        assert_eq!(world.origin.saw(path), 2, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_renews_what_is_stored() {
    let world = World::with(SOON_STALE).await;
    world.origin.on("/a").answers(|asked| match asked.field("if-none-match") {
        "\"v1\"" => status(304).header("etag", "\"v1\"").header("x-seen", "twice").max_age(3600),
        _ => ok("content").header("etag", "\"v1\"").header("x-seen", "once"),
    });
    world.client.get("/a").await.expect(200, "content");
    world.larder.until_verdict("/a", "serve-and-refresh").await;
    world.client.get("/a").await.expect(200, "content");
    let renewed = world.warm("/a").await.expect(200, "content");
    assert_eq!(renewed.field("x-seen"), "twice", "a 304 brings the fields up to date");
    assert_eq!(renewed.headers.get_all("x-seen").iter().count(), 1);
    assert_eq!(world.origin.saw("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_hard_expiry_clients_wait_for_the_origin_together() {
    let world = World::with(SOON_GONE).await;
    let gate = Gate::closed();
    let slow = gate.clone();
    world.origin.on("/a").answers(move |asked| match asked.before {
        0 => ok("old"),
        _ => ok("new").max_age(3600).after(&slow),
    });
    world.client.get("/a").await.expect(200, "old");
    world.larder.until_verdict("/a", "fetch").await;
    let client = world.client.clone();
    let crowd = tokio::spawn(async move { client.crowd(50, "/a").await });
    eventually("all wait", async || {
        world.larder.metrics().await.sum("larder_collapsed_waiters_total", &[]) >= 49.0
    })
    .await;
    gate.open();
    for reply in crowd.await.unwrap() {
        reply.expect(200, "new");
    }
    assert_eq!(world.origin.saw("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_hard_expiry_what_has_a_validator_is_asked_about() {
    let world = World::with(SOON_GONE).await;
    world.origin.on("/a").answers(|asked| match asked.field("if-none-match") {
        "\"v1\"" => status(304).max_age(3600),
        _ => ok("content").header("etag", "\"v1\""),
    });
    world.client.get("/a").await.expect(200, "content");
    world.larder.until_verdict("/a", "revalidate").await;
    let reply = world.client.get("/a").await.expect(200, "content");
    assert_eq!(reply.status().value("fwd"), Some("stale"), "{:?}", reply.status());
    assert_eq!(reply.status().value("fwd-status"), Some("304"), "{:?}", reply.status());
    assert!(world.warm("/a").await.is_hit());
    assert_eq!(world.origin.saw("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_gone_is_covered_for_as_long_as_the_route_says() {
    let mut world = World::with(&format!("{SOON_GONE}\nstale_if_error = \"1h\"")).await;
    world.origin.on("/a").replies(ok("old"));
    world.client.get("/a").await.expect(200, "old");
    world.larder.until_verdict("/a", "fetch").await;
    world.origin.stop().await;
    for reply in world.client.crowd(50, "/a").await {
        let reply = reply.expect(200, "old");
        assert!(reply.is_stale(), "{:?}", reply.status());
    }
    let served = world.larder.metrics().await.sum("larder_stale_if_error_total", &[]);
    assert!(served >= 50.0, "{served}");
    let unknown = world.client.get("/unknown").await;
    assert_eq!(unknown.status, 502, "what was never stored cannot be served");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_origin_is_probed_once_and_then_left_alone() {
    for (keys, verdict) in [(SOON_STALE, "serve-and-refresh"), (SOON_GONE, "fetch")] {
        let keys = format!("{keys}\nstale_if_error = \"1h\"");
        let world =
            World::set_up(|setup| setup.route("/a", &keys).origin("retry_after = \"1h\"")).await;
        world.origin.on("/a").answers(|asked| match asked.before {
            0 => ok("old"),
            _ => status(503),
        });
        world.client.get("/a").await.expect(200, "old");
        world.larder.until_verdict("/a", verdict).await;
        for _ in 0..3 {
            for reply in world.client.crowd(30, "/a").await {
                reply.expect(200, "old");
            }
        }
        world.larder.until_verdict("/a", "serve-backing-off").await;
        for reply in world.client.crowd(30, "/a").await {
            reply.expect(200, "old");
        }
        assert_eq!(world.origin.saw("/a"), 2, "one probe ({verdict})");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_origin_is_tried_again_after_a_while_and_believed_when_it_is_back() {
    let keys = format!("{SOON_GONE}\nstale_if_error = \"1h\"");
    let world = World::set_up(|s| s.route("/a", &keys).origin("retry_after = \"100ms\"")).await;
    world.origin.on("/a").answers(|asked| match asked.before {
        0 => ok("old"),
        1..4 => status(503),
        _ => ok("new").max_age(3600),
    });
    world.client.get("/a").await.expect(200, "old");
    world.larder.until_verdict("/a", "fetch").await;
    eventually("the origin is believed again", async || {
        let reply = world.client.get("/a").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.text() == "new"
    })
    .await;
    assert_eq!(world.origin.saw("/a"), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_cover_an_error_is_an_error() {
    let world = World::with(SOON_GONE).await;
    world.origin.on("/a").answers(|asked| match asked.before {
        0 => ok("old"),
        _ => status(500),
    });
    world.client.get("/a").await.expect(200, "old");
    world.larder.until_verdict("/a", "fetch").await;
    world.client.get("/a").await.expect(500, "500");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_be_revalidated_is_never_served_stale() {
    let keys = "soft_ttl = \"1s\"\nhard_ttl = \"1h\"\nstale_if_error = \"1h\"";
    let world = World::with(keys).await;
    for (path, directive) in [
        ("/a", "max-age=1, must-revalidate"),
        ("/b", "s-maxage=1"),
        ("/c", "max-age=1, proxy-revalidate"),
    ] {
        world.origin.on(path).answers(move |asked| match asked.before {
            0 => ok("old").header("cache-control", directive),
            _ => status(503),
        });
        world.client.get(path).await.expect(200, "old");
        world.larder.until_verdict(path, "fetch").await;
        let reply = world.client.get(path).await;
        assert_eq!(reply.status, 503, "{directive}: {}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_may_say_how_long_it_may_be_served_stale() {
    let world = World::with("").await;
    world.origin.on("/a").answers(|asked| match asked.before {
        0 => ok("old").header("cache-control", "max-age=1, stale-while-revalidate=3600"),
        _ => ok("new").max_age(3600),
    });
    world.client.get("/a").await.expect(200, "old");
    world.larder.until_verdict("/a", "serve-and-refresh").await;
    assert!(world.client.get("/a").await.expect(200, "old").is_stale());
    eventually("it is refreshed", async || world.client.get("/a").await.text() == "new").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_there_is_not_served_stale() {
    let keys = "soft_ttl = \"60s\"\nhard_ttl = \"1h\"\nnegative_ttl = \"100ms\"";
    let world = World::with(keys).await;
    world.origin.on("/a").answers(|asked| match asked.before {
        0 => status(404),
        _ => ok("here now"),
    });
    world.client.get("/a").await.expect(404, "404");
    world.larder.until_verdict("/a", "fetch").await;
    world.client.get("/a").await.expect(200, "here now");
}

#[tokio::test(flavor = "multi_thread")]
async fn refreshes_are_bounded_and_nobody_waits_for_one() {
    let world =
        World::set_up(|setup| crate::everywhere(setup, SOON_STALE).origin("max_refreshes = 3"))
            .await;
    let gate = Gate::closed();
    let paths: Vec<_> = (0..10).map(|n| format!("/{n}")).collect();
    for path in &paths {
        let slow = gate.clone();
        world.origin.on(path).answers(move |asked| match asked.before {
            0 => ok("old"),
            _ => ok("new").max_age(3600).after(&slow),
        });
        world.client.get(path).await.expect(200, "old");
    }
    for path in &paths {
        world.larder.until_verdict(path, "serve-and-refresh").await;
    }
    for path in paths.iter().chain(&paths) {
        world.client.get(path).await.expect(200, "old");
    }
    let refreshed = || paths.iter().filter(|path| world.origin.saw(path) > 1).count();
    eventually("as many as are allowed have begun", async || refreshed() == 3).await;
    stays(Duration::from_millis(100), "no more than that", async || refreshed() == 3).await;
    gate.open();
    eventually("all are refreshed in the end", async || {
        let mut new = 0;
        for path in &paths {
            new += usize::from(world.client.get(path).await.text() == "new");
        }
        new == paths.len()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_takes_over_what_the_resource_has_become() {
    let keys = format!("{SOON_STALE}\nnegative_ttl = \"1h\"");
    let world = World::with(&keys).await;
    let value = Resource::new("one");
    let current = value.clone();
    world.origin.on("/a").answers(move |_| match &*current.get() {
        "gone" => status(404),
        text => ok(text.to_owned()),
    });
    world.client.get("/a").await.expect(200, "one");
    value.set("gone");
    eventually("it is gone here too", async || world.client.get("/a").await.status == 404).await;
}
