//! What is served from the store, and what it says about itself.

use crate::World;
use crate::support::origin::{ok, status};
use crate::support::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_fetched_once_is_served_without_the_origin_and_says_so() {
    let world = World::with("").await;
    world.origin.on("/a").replies(ok("one").max_age(60));

    let first = world.client.get("/a").await.expect(200, "one");
    assert_eq!(first.status().value("fwd"), Some("uri-miss"), "{:?}", first.status());
    assert!(first.status().has("stored"), "{:?}", first.status());

    let second = world.warm("/a").await.expect(200, "one");
    assert!(second.status().has("hit"), "{:?}", second.status());
    let ttl: i64 = second.status().value("ttl").unwrap().parse().unwrap();
    assert!((50..=60).contains(&ttl), "{ttl}");
    assert!(second.age().is_some_and(|age| age < 10), "{:?}", second.age());
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn age_counts_on_from_what_the_origin_said() {
    let world = World::with("").await;
    world.origin.on("/a").replies(ok("one").max_age(60).header("age", "30"));
    let hit = world.warm("/a").await;
    assert!(hit.age().is_some_and(|age| (30..40).contains(&age)), "{:?}", hit.age());
    let ttl: i64 = hit.status().value("ttl").unwrap().parse().unwrap();
    assert!((20..=30).contains(&ttl), "{ttl}");
    let first = hit.age();
    eventually("the age grows", async || world.client.get("/a").await.age() > first).await;
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_answered_from_what_a_get_stored() {
    let world = World::with("").await;
    world.origin.on("/a").replies(ok("hello").max_age(60).header("etag", "\"v1\""));
    world.warm("/a").await;
    let head = world.client.asks("HEAD", "/a").send().await.expect(200, "");
    assert!(head.is_hit(), "{:?}", head.status());
    assert_eq!(head.field("content-length"), "5");
    assert_eq!(head.field("etag"), "\"v1\"");
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_something_unknown_asks_the_origin_for_the_head_and_fills_nothing() {
    let world = World::with("").await;
    world.origin.on("/a").replies(ok("hello").max_age(60));
    let head = world.client.asks("HEAD", "/a").send().await.expect(200, "");
    assert_eq!(head.field("content-length"), "5");
    assert_eq!(world.origin.saw_method("HEAD", "/a"), 1);
    let get = world.client.get("/a").await.expect(200, "hello");
    assert!(get.is_forwarded(), "{:?}", get.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_it_already_is_told_so_from_the_store() {
    let world = World::with("").await;
    let dated = "Sun, 06 Nov 1994 08:49:37 GMT";
    world
        .origin
        .on("/a")
        .replies(ok("one").max_age(60).header("etag", "W/\"v1\"").header("last-modified", dated));
    world.warm("/a").await;
    for (field, value, expected) in [
        ("if-none-match", "\"v1\"", 304),
        ("if-none-match", "W/\"v1\"", 304),
        ("if-none-match", "\"v0\", \"v1\"", 304),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"v0\"", 200),
        ("if-modified-since", dated, 304),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT", 200),
    ] {
        let reply = world.client.asks("GET", "/a").header(field, value).send().await;
        assert_eq!(reply.status, expected, "{field}: {value}");
        assert_eq!(reply.text(), if expected == 304 { "" } else { "one" }, "{field}: {value}");
        assert!(reply.is_hit(), "{field}: {value} {:?}", reply.status());
        assert_eq!(reply.field("etag"), "W/\"v1\"");
    }
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_of_the_client_that_fills_is_not_sent_to_the_origin() {
    let world = World::with("").await;
    world.origin.on("/a").replies(ok("one").max_age(60).header("etag", "\"v1\""));
    let reply = world.client.asks("GET", "/a").header("if-none-match", "\"v1\"").send().await;
    assert_eq!(reply.status, 304, "what it has is what there is: {:?}", reply.headers);
    assert_eq!(world.origin.asked("/a")[0].field("if-none-match"), "");
    world.client.get("/a").await.expect(200, "one");
    assert_eq!(world.origin.saw("/a"), 1, "the whole was fetched and stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fields_of_a_hit_are_those_of_the_origin() {
    let world = World::with("").await;
    world.origin.on("/a").replies(
        ok("{}")
            .max_age(60)
            .header("content-type", "application/hal+json")
            .header("link", "</b>; rel=next")
            .header("link", "</c>; rel=prev")
            .header("x-own", "kept")
            .header("connection", "x-hop")
            .header("x-hop", "not for everybody"),
    );
    let hit = world.warm("/a").await;
    assert_eq!(hit.field("content-type"), "application/hal+json");
    let links: Vec<_> = hit.headers.get_all("link").iter().collect();
    assert_eq!(links, ["</b>; rel=next", "</c>; rel=prev"]);
    assert_eq!(hit.field("x-own"), "kept");
    assert_eq!(hit.field("x-hop"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_origin_is_silent_the_route_speaks() {
    let world = World::set_up(|s| s.route("/a", "soft_ttl = \"60s\"")).await;
    world.origin.on("/a").replies(ok("one"));
    world.origin.on("/b").replies(ok("two"));
    world.warm("/a").await;
    assert_eq!(world.origin.saw("/a"), 1);
    for asked in 1..4 {
        let reply = world.client.get("/b").await.expect(200, "two");
        assert!(!reply.status().has("stored"), "{:?}", reply.status());
        assert_eq!(world.origin.saw("/b"), asked, "no route, no word of the origin: not stored");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origins_word_wins_unless_the_route_takes_it_away() {
    let keys = "soft_ttl = \"60s\"";
    let world = World::set_up(|setup| {
        setup.route("/theirs", keys).route("/ours", &format!("{keys}\nfreshness = \"route\""))
    })
    .await;
    for path in ["/theirs", "/ours"] {
        world.origin.on(path).replies(ok("x").max_age(0));
    }
    for asked in 1..4 {
        world.client.get("/theirs").await.expect(200, "x");
        assert_eq!(world.origin.saw("/theirs"), asked);
    }
    world.warm("/ours").await;
    assert_eq!(world.origin.saw("/ours"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_for_caches_of_this_kind_wins_over_what_is_meant_for_all() {
    let world = World::with("").await;
    let answer =
        ok("one").header("cache-control", "no-store").header("cdn-cache-control", "max-age=60");
    world.origin.on("/a").replies(answer);
    let answer = ok("one").max_age(60).header("cdn-cache-control", "no-store");
    world.origin.on("/b").replies(answer);
    world.warm("/a").await;
    assert_eq!(world.origin.saw("/a"), 1);
    for asked in 1..3 {
        world.client.get("/b").await;
        assert_eq!(world.origin.saw("/b"), asked);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_remembered_if_its_route_says_so() {
    let world = World::set_up(|setup| {
        setup
            .route("/yes/{id}", "soft_ttl = \"60s\"\nnegative_ttl = \"60s\"")
            .route("/no/{id}", "soft_ttl = \"60s\"")
    })
    .await;
    for code in [404, 410] {
        let (yes, no) = (format!("/yes/{code}"), format!("/no/{code}"));
        world.origin.on(&yes).replies(status(code));
        world.origin.on(&no).replies(status(code));
        assert_eq!(world.warm(&yes).await.status, code);
        assert_eq!(world.origin.saw(&yes), 1);
        for asked in 1..3 {
            assert_eq!(world.client.get(&no).await.status, code);
            assert_eq!(world.origin.saw(&no), asked);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_never_stored_by_a_routes_word() {
    let world = World::with("soft_ttl = \"60s\"\nnegative_ttl = \"60s\"").await;
    for (n, code) in [400, 401, 403, 429, 500, 502, 503].into_iter().enumerate() {
        let path = format!("/{n}");
        world.origin.on(&path).replies(status(code));
        for asked in 1..3 {
            assert_eq!(world.client.get(&path).await.status, code);
            assert_eq!(world.origin.saw(&path), asked, "{code}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_response_without_content_is_a_hit_too() {
    let world = World::with("soft_ttl = \"60s\"").await;
    world.origin.on("/empty").replies(ok("").max_age(60));
    let hit = world.warm("/empty").await.expect(200, "");
    assert_eq!(hit.field("content-length"), "0");
    assert_eq!(world.origin.saw("/empty"), 1);
}
