//! Where tags come from.

use serde_json::{Value, json};

use crate::World;
use crate::support::origin::{json as body, ok};

async fn tags_of(world: &World, target: &str) -> Value {
    world.larder.explain("GET", target).await["found"]["tags"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_come_from_the_routes_templates() {
    let keys = "soft_ttl = \"1h\"\ntags = [\"product:{id}\", \"shop:{shop}:all\", \"plain\"]";
    let world = World::set_up(|s| s.route("/shops/{shop}/products/{id}", keys)).await;
    world.origin.on("/shops/3/products/7").replies(ok("x"));
    world.warm("/shops/3/products/7").await;
    let tags = tags_of(&world, "/shops/3/products/7").await;
    assert_eq!(tags, json!(["product:7", "shop:3:all", "plain"]));
    world.larder.purge(json!({ "tag": "shop:3:all" })).await;
    assert!(world.client.get("/shops/3/products/7").await.is_forwarded());
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_come_from_fields_and_stay_inside() {
    let world = World::with("soft_ttl = \"1h\"").await;
    for (path, field, value) in [
        ("/a", "surrogate-key", "one two"),
        ("/b", "cache-tag", "one, two"),
        ("/c", "xkey", "one two"),
    ] {
        world
            .origin
            .on(path)
            .answers(move |asked| ok(asked.before.to_string()).header(field, value));
        let first = world.client.get(path).await;
        assert_eq!(first.field(field), "", "clients do not see {field}");
        assert_eq!(world.warm(path).await.field(field), "");
        assert_eq!(tags_of(&world, path).await, json!(["one", "two"]), "{field}");
        world.larder.purge(json!({ "tag": "two" })).await;
        assert!(world.client.get(path).await.is_forwarded(), "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_with_tags_are_taken_off_what_is_not_stored_too() {
    let world = World::set_up(|s| s.route("/off", "cache = \"off\"")).await;
    for path in ["/off", "/private"] {
        world.origin.on(path).replies(
            ok("x").header("surrogate-key", "secret-structure").header("cache-control", "private"),
        );
        assert_eq!(world.client.get(path).await.field("surrogate-key"), "", "{path}");
        assert_eq!(
            world.client.asks("POST", path).send().await.field("surrogate-key"),
            "",
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_come_from_the_content() {
    let keys = "soft_ttl = \"1h\"\ntags = [\"product:{$.items[*].id}\", \"page:{$.page}\"]";
    let world = World::set_up(|s| s.route("/list", keys)).await;
    world.origin.on("/list").answers(|asked| {
        body(&format!(
            "{{\"page\":{},\"items\":[{{\"id\":7}},{{\"id\":\"eight\"}}]}}",
            asked.before
        ))
    });
    world.warm("/list").await;
    assert_eq!(tags_of(&world, "/list").await, json!(["product:7", "product:eight", "page:0"]));
    for (page, tag) in ["product:eight", "page:1", "product:7"].into_iter().enumerate() {
        world.larder.purge(json!({ "tag": tag })).await;
        let reply = world.client.get("/list").await;
        assert_eq!(reply.json()["page"], page + 1, "{tag}");
        world.warm("/list").await;
    }
    world.larder.purge(json!({ "tag": "product:9" })).await;
    assert!(world.client.get("/list").await.is_hit());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_more_tags_than_allowed_is_served_and_not_stored() {
    let world = World::with("soft_ttl = \"1h\"\nmax_tags = 3").await;
    world.origin.on("/few").replies(ok("few").header("surrogate-key", "a b c"));
    world.origin.on("/many").replies(ok("many").header("surrogate-key", "a b c d"));
    world.warm("/few").await;
    for asked in 1..4 {
        world.client.get("/many").await.expect(200, "many");
        assert_eq!(world.origin.saw("/many"), asked, "a shortened list would lose invalidations");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_whose_tags_cannot_be_read_is_served_and_not_stored() {
    let world = World::with("soft_ttl = \"1h\"\ntags = [\"product:{$.id}\"]").await;
    world.origin.on("/broken").replies(body("{\"id\":"));
    for asked in 1..4 {
        world.client.get("/broken").await.expect(200, "{\"id\":");
        assert_eq!(world.origin.saw("/broken"), asked);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_may_add_tags() {
    let world = World::with("soft_ttl = \"100ms\"\nhard_ttl = \"1h\"").await;
    world.origin.on("/a").answers(|asked| match asked.field("if-none-match") {
        "" => ok("x").header("etag", "\"v1\"").header("surrogate-key", "one"),
        _ => ok("")
            .code(304)
            .header("etag", "\"v1\"")
            .header("surrogate-key", "one two")
            .max_age(3600),
    });
    world.client.get("/a").await;
    world.larder.until_verdict("/a", "serve-and-refresh").await;
    world.client.get("/a").await;
    let renewed = world.warm("/a").await;
    assert_eq!(renewed.field("surrogate-key"), "");
    assert_eq!(tags_of(&world, "/a").await, json!(["one", "two"]));
    world.larder.purge(json!({ "tag": "two" })).await;
    assert!(world.client.get("/a").await.is_forwarded());
}
