//! Do explanations, metrics and the log tell the truth?

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::World;
use crate::support::larder::{Larder, Setup};
use crate::support::origin::{Gate, Origin, ok, status};
use crate::support::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_explained_is_what_then_happens() {
    let keys = "soft_ttl = \"300ms\"\nhard_ttl = \"1h\"";
    let world = World::set_up(|setup| {
        setup
            .route("/a/{id}", keys)
            .route("/off", "cache = \"off\"")
            .route("/gone", "soft_ttl = \"50ms\"")
            .route("/kept", "soft_ttl = \"1h\"")
    })
    .await;
    for path in ["/a/1", "/off", "/gone", "/kept"] {
        world.origin.on(path).replies(ok("x").header("etag", "\"v\""));
    }
    world.client.get("/gone").await;
    world.larder.until_verdict("/gone", "revalidate").await;
    // What is asked, what is foretold, and what the log must say then.
    let story = [
        ("GET", "/kept", "fetch", "miss"),
        ("GET", "/kept", "serve", "hit"),
        ("HEAD", "/kept", "serve", "hit"),
        ("GET", "/off", "pass", "pass"),
        ("OPTIONS", "/kept", "pass", "pass"),
        ("PUT", "/kept", "write", "pass"),
        ("GET", "/kept", "fetch", "miss"),
        ("GET", "/gone", "revalidate", "miss"),
    ];
    for (at, (method, target, foretold, happened)) in story.into_iter().enumerate() {
        let told = world.larder.explain(method, target).await;
        assert_eq!(told["verdict"], foretold, "{at}: {method} {target} {told}");
        world.client.asks(method, target).send().await;
        eventually("it is logged", async || world.larder.access_log().len() > at + 1).await;
        let line = &world.larder.access_log()[at + 1];
        assert_eq!(line["verdict"], happened, "{at}: {method} {target} {line}");
        assert_eq!((&line["method"], &line["path"]), (&json!(method), &json!(target)));
        assert!(line["reason"].as_str().is_some_and(|r| !r.is_empty()), "{line}");
        if foretold != "serve" {
            assert_eq!(line["reason"].as_str().map(|r| r == "fresh"), Some(false), "{line}");
        }
    }
    world.client.get("/a/1").await;
    world.larder.until_verdict("/a/1", "serve-and-refresh").await;
    assert!(world.client.get("/a/1").await.is_stale());
    eventually("it is logged as stale", async || {
        let lines = world.larder.access_log();
        lines.iter().any(|line| line["path"] == "/a/1" && line["verdict"] == "stale")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_changes_nothing_and_says_what_it_rests_on() {
    let world = World::set_up(|setup| {
        setup.route(
            "/products/{id}",
            "soft_ttl = \"1h\"\nhard_ttl = \"2h\"\nnamespace = \"catalog\"\ntags = [\"product:{id}\"]",
        )
    })
    .await;
    world.origin.on("/products/7").replies(ok("hello").header("vary", "accept-language"));
    let told = world.larder.explain("GET", "/products/7").await;
    assert_eq!((&told["verdict"], &told["reason"]), (&json!("fetch"), &json!("miss")), "{told}");
    assert_eq!(world.origin.saw("/products/7"), 0);

    let german = world.client.asks("GET", "/products/7").header("accept-language", "de");
    german.send().await;
    let fields = [("accept-language", "de")];
    let told = world.larder.explain_with("GET", "/products/7", &fields).await;
    assert_eq!(told["verdict"], "serve", "{told}");
    assert_eq!(told["found"]["bytes"], 5, "{told}");
    assert_eq!(told["found"]["tags"], json!(["product:7"]), "{told}");
    assert_eq!(told["route"]["name"], "/products/{id}", "{told}");
    assert!(told["found"]["soft_expiry_in"].as_f64().is_some_and(|s| s > 3_000.0), "{told}");
    assert!(told["found"]["hard_expiry_in"].as_f64().is_some_and(|s| s > 7_000.0), "{told}");
    let told = world.larder.explain("GET", "/products/7").await;
    assert_eq!(told["verdict"], "fetch", "another variant: {told}");

    let told = world.larder.explain("PUT", "/products/7").await;
    assert_eq!(told["verdict"], "write", "{told}");
    let names = told["invalidates"].to_string();
    assert!(names.contains("path:/products/7") && names.contains("path:/products\""), "{names}");
    assert_eq!(world.origin.saw("/products/7"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_is_what_happened() {
    let world = World::with("soft_ttl = \"1h\"").await;
    world.origin.on("/a").replies(ok("12345"));
    world.origin.on("/e").replies(status(500));
    world.client.get("/a").await;
    world.warm("/a").await;
    let hits_before =
        world.larder.metrics().await.sum("larder_requests_total", &[("outcome", "hit")]);
    for _ in 0..10 {
        world.client.get("/a").await;
    }
    world.client.asks("OPTIONS", "/a").send().await;
    world.client.asks("DELETE", "/a").send().await;
    world.client.get("/e").await;
    world.larder.purge(json!({ "all": true })).await;
    world.larder.purge(json!({ "all": true, "mode": "soft" })).await;
    eventually("everything is counted", async || {
        let metrics = world.larder.metrics().await;
        let outcome = |o: &str| metrics.sum("larder_requests_total", &[("outcome", o)]);
        (outcome("hit") - hits_before) as u64 == 10 && outcome("pass") as u64 == 2
    })
    .await;
    let metrics = world.larder.metrics().await;
    let sum = |name: &str, labels: &[(&str, &str)]| metrics.sum(name, labels) as u64;
    assert_eq!(sum("larder_fills_total", &[]), 1);
    assert_eq!(sum("larder_origin_requests_total", &[]), 4, "a fill, two passed, an error");
    assert_eq!(sum("larder_origin_requests_total", &[("result", "server_error")]), 1);
    assert_eq!(sum("larder_purges_total", &[("mode", "hard")]), 1);
    assert_eq!(sum("larder_purges_total", &[("mode", "soft")]), 1);
    assert_eq!(sum("larder_invalidations_total", &[("cause", "write")]), 1);
    assert_eq!(sum("larder_invalidations_total", &[("cause", "purge")]), 2);
    assert_eq!(sum("larder_memory_entries", &[]), 1);
    assert!(sum("larder_response_bytes_total", &[("source", "cache")]) >= 50);
    assert!(metrics.sum("larder_process_uptime_seconds", &[]) > 0.0);
    assert_eq!(sum("larder_requests_in_flight", &[]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_what_happened_and_keeps_secrets() {
    let world = World::with("soft_ttl = \"1h\"").await;
    world.origin.on("/a").replies(ok("hello"));
    let asking = world.client.asks("GET", "/a?token=hunter2&page=3").host("shop.test");
    let asking =
        asking.header("authorization", "Bearer hunter2").header("cookie", "session=hunter2");
    asking.header("x-request-id", "r-1").send().await;
    let line = world.larder.logged("/a?token=***&page=3").await;
    assert_eq!(line["status"], 200);
    assert_eq!(line["bytes"], 5);
    assert_eq!(line["host"], "shop.test");
    assert_eq!(line["route"], "/{*rest}");
    assert_eq!(line["request_id"], "r-1");
    assert_eq!(line["client"], "127.0.0.1");
    assert_eq!(line["verdict"], "miss");
    assert!(line["cache_status"].as_str().is_some_and(|c| c.starts_with("larder;")), "{line}");
    assert!(
        line["duration_ms"].as_f64().is_some() && line["origin_ms"].as_f64().is_some(),
        "{line}"
    );
    world.larder.explain_with("GET", "/a?token=hunter2", &[("cookie", "hunter2")]).await;
    let everything = format!("{:?}{}", world.larder.access_log(), world.larder.told());
    assert!(!everything.contains("hunter2"), "{everything}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_can_be_turned_off() {
    let world = World::set_up(|s| s.log("access = false")).await;
    world.client.get("/a").await;
    assert_eq!(world.larder.access_log().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_nobody_else_comes_in() {
    let world = World::set_up(|s| s.admin("token = \"correct-horse\"")).await;
    let admin = world.larder.admin();
    for (method, target) in [
        ("POST", "/purge"),
        ("PURGE", "/a"),
        ("GET", "/metrics"),
        ("GET", "/explain?url=/a"),
        ("GET", "/entry?url=/a"),
        ("GET", "/stats"),
        ("GET", "/routes"),
        ("POST", "/reload"),
    ] {
        for token in ["", "Bearer wrong", "Bearer correct-hors", "Basic correct-horse"] {
            let reply = admin.asks(method, target).header("authorization", token).send().await;
            assert_eq!(reply.status, 401, "{method} {target} {token:?}");
        }
        let asking = admin.asks(method, target).header("authorization", "Bearer correct-horse");
        assert_ne!(asking.send().await.status, 401, "{method} {target}");
    }
    for target in ["/livez", "/readyz"] {
        assert_eq!(admin.get(target).await.status, 200, "{target}");
    }
    assert!(!world.larder.told().contains("correct-horse"));
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_this_machine_a_token_is_needed() {
    let origin = Origin::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy.toml");
    let text = Setup::before(&origin.url()).text();
    let open = text.replace("[admin]\nlisten = \"127.0.0.1:0\"", "[admin]\nlisten = \"0.0.0.0:0\"");
    assert_ne!(text, open);
    std::fs::write(&file, &open).unwrap();
    let output = Larder::command().arg("run").arg("--config").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("token"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_cannot_purge() {
    let world = World::with("soft_ttl = \"1h\"").await;
    world.origin.on("/a").replies(ok("x"));
    world.warm("/a").await;
    let admin = world.larder.admin();
    let purge =
        |asking: crate::support::client::Asking| asking.json(&json!({ "all": true })).send();
    let by_form = admin.asks("POST", "/purge").header("content-type", "text/plain");
    let by_form = by_form.content("{\"all\":true}").send().await;
    assert!([403, 415].contains(&by_form.status), "{}", by_form.status);
    let foreign = admin.asks("POST", "/purge").header("origin", "http://evil.test");
    assert_eq!(purge(foreign).await.status, 403);
    let rebound = admin.asks("POST", "/purge").host("evil.test");
    assert_eq!(purge(rebound).await.status, 403);
    assert_eq!(world.larder.verdict("/a").await, "serve");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_alive_and_ready_and_shows_its_routes_and_its_state() {
    let world = World::set_up(|s| s.route("/a", "soft_ttl = \"1h\"\nname = \"first\"")).await;
    let admin = world.larder.admin();
    for target in ["/livez", "/readyz", "/stats"] {
        assert_eq!(admin.get(target).await.status, 200, "{target}");
    }
    let routes = admin.get("/routes").await.json();
    assert_eq!(routes[0]["name"], "first", "{routes}");
    assert_eq!(admin.get("/nothing").await.status, 404);
    assert_eq!(admin.get("/purge").await.status, 405);
    let nothing = admin.get("/entry?url=/a").await;
    assert_eq!(nothing.status, 404);
    world.origin.on("/a").replies(ok("x"));
    world.warm("/a").await;
    let entry = admin.get("/entry?url=/a").await.json();
    assert_eq!(entry["bytes"], 1, "{entry}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_configuration_is_taken_over_whole_or_not_at_all() {
    let origin = Origin::start();
    origin.on("/a").answers(|asked| ok(asked.before.to_string()));
    let setup = Setup::before(&origin.url());
    let larder = setup.clone().route("/a", "cache = \"off\"").start().await;
    let client = larder.client();
    client.get("/a").await.expect(200, "0");
    client.get("/a").await.expect(200, "1");

    std::fs::write(larder.file(), setup.clone().route("/a", "soft_ttl = \"never\"").text())
        .unwrap();
    let refused = larder.admin().asks("POST", "/reload").send().await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("soft_ttl"), "{}", refused.text());
    client.get("/a").await.expect(200, "2");

    std::fs::write(larder.file(), setup.route("/a", "soft_ttl = \"1h\"").text()).unwrap();
    let taken = larder.admin().asks("POST", "/reload").send().await;
    assert_eq!(taken.status, 200, "{}", taken.text());
    client.get("/a").await.expect(200, "3");
    assert!(client.get("/a").await.expect(200, "3").is_hit());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_reads_the_configuration_again() {
    let origin = Origin::start();
    origin.on("/a").answers(|asked| ok(asked.before.to_string()));
    let setup = Setup::before(&origin.url());
    let larder = setup.clone().route("/a", "cache = \"off\"").start().await;
    std::fs::write(larder.file(), setup.route("/a", "soft_ttl = \"1h\"").text()).unwrap();
    larder.signal("HUP");
    eventually("it is cached", async || larder.client().get("/a").await.is_hit()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_does_not_answer_for_clients_nor_the_other_way_round() {
    let world = World::with("soft_ttl = \"1h\"").await;
    for target in ["/metrics", "/purge", "/livez", "/stats"] {
        assert_eq!(world.client.get(target).await.status, 404, "the origin's own 404: {target}");
        assert_eq!(world.origin.saw(target), 1, "{target}");
    }
    let mut stream = tokio::net::TcpStream::connect(world.larder.address()).await.unwrap();
    stream.write_all(b"PURGE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(!answer.contains("applied_by"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_its_answer_is_counted_and_logged() {
    let world = World::with("").await;
    let gate = Gate::closed();
    world.origin.on("/slow").replies(ok("late").after(&gate));
    let waits = tokio::spawn(world.client.asks("GET", "/slow").send());
    eventually("the origin has it", async || world.origin.saw("/slow") == 1).await;
    waits.abort();
    let _ = waits.await;
    eventually("it is counted", async || {
        let metrics = world.larder.metrics().await;
        metrics.sum("larder_requests_total", &[("outcome", "left")]) as usize == 1
    })
    .await;
    gate.open();
}
