//! Does each kind of purge reach what it names, and nothing else?

use serde_json::{Value, json};

use crate::World;
use crate::support::origin::{Gate, ok};
use crate::support::wait::eventually;

/// What there is to purge.
const ALL: [&str; 9] = [
    "/products",
    "/products?page=2&sort=up",
    "/products/7",
    "/products/7?full",
    "/products/8",
    "/search?q=tea",
    "/search?q=milk",
    "/other",
    "/other/deep",
];

async fn stocked() -> World {
    let world = World::set_up(|setup| {
        let keeps = "soft_ttl = \"1h\"\nhard_ttl = \"2h\"";
        setup
            .route("/products", &format!("{keeps}\nnamespace = \"catalog/products\"\ntags = [\"list\"]"))
            .route(
                "/products/{id}",
                &format!("{keeps}\nnamespace = \"catalog/products/items\"\ntags = [\"product:{{id}}\", \"item\"]"),
            )
            .route("/search", &format!("{keeps}\nnamespace = \"search\"\ntags = [\"list\"]\nquery.ignore = [\"utm_*\"]"))
            .route("/{*rest}", &format!("{keeps}\nnamespace = \"catalogue\""))
    })
    .await;
    for path in ["/products", "/products/7", "/products/8", "/search", "/other", "/other/deep"] {
        world.origin.on(path).answers(|asked| ok(format!("{} {}", asked.target, asked.before)));
    }
    for target in ALL {
        world.warm(target).await;
    }
    world
}

impl World {
    async fn not_fresh(&self) -> Vec<&'static str> {
        let mut gone = Vec::new();
        for target in ALL {
            if self.larder.verdict(target).await != "serve" {
                gone.push(target);
            }
        }
        gone
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_reaches_what_it_names_and_nothing_else() {
    let world = stocked().await;
    let host = format!("{}", world.larder.address());
    let cases: Vec<(Value, Vec<&str>)> = vec![
        (json!({ "url": "/products?sort=up&page=2" }), vec![ALL[1]]),
        (json!({ "url": "/products" }), vec![ALL[0]]),
        (json!({ "url": format!("http://{host}/products/8") }), vec![ALL[4]]),
        (json!({ "url": format!("//{host}/search?utm_source=x&q=tea") }), vec![ALL[5]]),
        (json!({ "url": "http://other.test/products/8" }), vec![]),
        (json!({ "path": "/products" }), ALL[0..2].to_vec()),
        (json!({ "path": "/search" }), ALL[5..7].to_vec()),
        (json!({ "prefix": "/products/" }), ALL[2..5].to_vec()),
        (json!({ "prefix": "/other" }), ALL[7..9].to_vec()),
        (json!({ "tag": "product:7" }), ALL[2..4].to_vec()),
        (json!({ "tag": "list" }), [&ALL[0..2], &ALL[5..7]].concat()),
        (json!({ "tags": ["product:8", "nobody"] }), vec![ALL[4]]),
        (json!({ "namespace": "catalog" }), ALL[0..5].to_vec()),
        (json!({ "namespace": "catalog/products/items" }), ALL[2..5].to_vec()),
        (json!({ "namespace": "search" }), ALL[5..7].to_vec()),
        (json!({ "tag": "product:7", "path": "/other" }), vec![ALL[2], ALL[3], ALL[7]]),
        (json!({ "all": true }), ALL.to_vec()),
    ];
    for (purge, expected) in cases {
        let receipt = world.larder.purge(purge.clone()).await;
        assert_eq!(world.not_fresh().await, expected, "{purge}");
        assert_eq!(receipt.status, 200, "{purge}");
        for target in &expected {
            assert!(world.client.get(target).await.is_forwarded(), "{purge} {target}");
            world.warm(target).await;
        }
        assert_eq!(world.not_fresh().await, [""; 0], "{purge}: all is fresh again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_says_where_and_what_and_by_whom() {
    let world = stocked().await;
    let reply = world.larder.purge(json!({ "tags": ["a", "b"] })).await;
    let receipt = reply.json();
    assert_eq!(receipt["names"], json!(["tag:a", "tag:b"]), "{receipt}");
    assert_eq!(receipt["mode"], "hard");
    assert_eq!(receipt["owed"], false);
    assert!(receipt["position"].as_str().is_some_and(|p| p == reply.field("larder-position")));
    assert_eq!(receipt["applied_by"].as_array().map(Vec::len), Some(1), "{receipt}");
    let later = world.larder.purge(json!({ "all": true })).await.json();
    assert_ne!(later["position"], receipt["position"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_purge_serves_the_old_once_more_while_it_is_refreshed() {
    let world = stocked().await;
    for purge in [
        json!({ "url": "/products/7" }),
        json!({ "path": "/products/7" }),
        json!({ "prefix": "/products/" }),
        json!({ "tag": "product:7" }),
        json!({ "namespace": "catalog" }),
        json!({ "all": true }),
    ] {
        let before = world.warm("/products/7").await.text();
        let asked = world.origin.saw("/products/7");
        let mut soft = purge.clone();
        soft["mode"] = "soft".into();
        let receipt = world.larder.purge(soft).await.json();
        assert_eq!(receipt["mode"], "soft");
        let told = world.larder.explain("GET", "/products/7").await;
        assert_eq!(told["verdict"], "serve-and-refresh", "{purge} {told}");
        for reply in world.client.crowd(20, "/products/7").await {
            let old = reply.is_stale();
            assert!(
                old == (reply.text() == before),
                "{purge} {:?} {}",
                reply.status(),
                reply.text()
            );
        }
        let renewed = world.warm("/products/7").await;
        assert_ne!(renewed.text(), before, "{purge}");
        assert_eq!(world.origin.saw("/products/7"), asked + 1, "{purge}: one refresh");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_began_before_a_soft_purge_does_not_satisfy_it() {
    let world = World::with("soft_ttl = \"100ms\"\nhard_ttl = \"1h\"").await;
    let gate = Gate::closed();
    world.origin.on("/a").answers(move |asked| match asked.before {
        0 => ok("0"),
        1 => ok("1").max_age(3600).after(&gate),
        n => ok(n.to_string()).max_age(3600),
    });
    world.client.get("/a").await.expect(200, "0");
    world.larder.until_verdict("/a", "serve-and-refresh").await;
    world.client.get("/a").await.expect(200, "0");
    eventually("a refresh is under way", async || world.origin.saw("/a") == 2).await;
    world.larder.purge(json!({ "url": "/a", "mode": "soft" })).await;
    world.client.get("/a").await.expect(200, "0");
    eventually("another refresh is made", async || {
        world.client.get("/a").await;
        world.origin.saw("/a") == 3
    })
    .await;
    eventually("and what it brought stays", async || world.client.get("/a").await.text() == "2")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_method_purge_names_one_url() {
    let world = stocked().await;
    let admin = world.larder.admin();
    let receipt = admin.asks("PURGE", "/products?sort=up&page=2").send().await;
    assert_eq!(receipt.status, 200, "{}", receipt.text());
    assert_eq!(world.not_fresh().await, [ALL[1]]);
    let receipt = admin.asks("PURGE", "/products/8").header("larder-purge", "soft").send().await;
    assert_eq!(receipt.json()["mode"], "soft");
    assert_eq!(world.larder.verdict("/products/8").await, "serve-and-refresh");
    // A path that the admin API has itself is a path like any other here.
    let receipt = admin.asks("PURGE", "/metrics").send().await;
    assert_eq!(receipt.json()["names"][0], "url:/metrics", "{}", receipt.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_names_nothing_is_refused_with_a_reason() {
    let world = stocked().await;
    for content in [
        json!({}),
        json!({ "tag": "" }),
        json!({ "tags": [] }),
        json!({ "all": false }),
        json!({ "url": "products" }),
        json!({ "path": "/products?page=2" }),
        json!({ "namespace": "/catalog" }),
        json!({ "surrogate": "x" }),
        json!({ "tag": "x", "mode": "gentle" }),
        json!(["tag"]),
    ] {
        let reply = world.larder.admin().asks("POST", "/purge").json(&content).send().await;
        assert_eq!(reply.status, 400, "{content}: {}", reply.text());
        assert_eq!(reply.field("content-type"), "application/problem+json", "{content}");
        assert!(reply.json()["detail"].as_str().is_some_and(|d| d.len() > 10), "{}", reply.text());
    }
    assert_eq!(world.not_fresh().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_cannot_purge() {
    let world = stocked().await;
    world.origin.when("PURGE", "/products/7").replies(ok("not here").code(405));
    let reply = world.client.asks("PURGE", "/products/7").send().await;
    assert_eq!(reply.status, 405, "{}", reply.text());
    assert_eq!(world.not_fresh().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn purging_the_same_again_and_again_stays_cheap_and_right() {
    let world = stocked().await;
    for n in 0..200 {
        world.larder.purge(json!({ "tag": format!("product:{}", n % 20) })).await;
    }
    for target in ALL {
        world.warm(target).await;
    }
    assert_eq!(world.not_fresh().await, [""; 0]);
}
