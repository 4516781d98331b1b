//! What a client gets when the origin does not answer.

use crate::World;
use crate::support::client::Reply;
use crate::support::larder::Setup;
use crate::support::origin::{Gate, Origin, ok, status};
use crate::support::wait::eventually;

/// Fails unless it is our own answer, told so that programs and people understand it.
#[track_caller]
fn is_a_problem(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.field("content-type"), "application/problem+json");
    assert!(reply.field("cache-status").starts_with("larder"), "{:?}", reply.headers);
    assert_eq!(reply.json()["status"], status);
    assert!(!reply.text().contains("127.0.0.1"), "nothing of the inside: {}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_refuses_connections_is_a_502() {
    let origin = Origin::refusing();
    let larder = Setup::before(&origin.url()).route("/a", "soft_ttl = \"1h\"").start().await;
    for method in ["GET", "HEAD", "POST"] {
        for path in ["/a", "/unrouted"] {
            let reply = larder.client().asks(method, path).send().await;
            if method != "HEAD" {
                is_a_problem(&reply, 502);
            }
            assert_eq!(reply.status, 502, "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_does_not_answer_in_time_is_a_504() {
    let world =
        World::set_up(|s| crate::everywhere(s, "soft_ttl = \"1h\"").origin("timeout = \"200ms\""))
            .await;
    world.origin.on("/a").replies(ok("late").after(&Gate::closed()));
    for reply in world.client.crowd(20, "/a").await {
        is_a_problem(&reply, 504);
    }
    assert_eq!(world.origin.saw("/a"), 1, "they waited together");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_recovers_as_soon_as_the_origin_does() {
    let mut origin = Origin::refusing();
    origin.on("/a").replies(ok("here"));
    let larder = Setup::before(&origin.url()).route("/a", "soft_ttl = \"1h\"").start().await;
    let client = larder.client();
    is_a_problem(&client.get("/a").await, 502);
    origin.resume();
    eventually("it is answered", async || client.get("/a").await.status == 200).await;
    origin.stop().await;
    client.get("/a").await.expect(200, "here");
    is_a_problem(&client.get("/a?other").await, 502);
    origin.resume();
    eventually("it is answered again", async || client.get("/a?other").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_origin_come_through_as_they_are() {
    let world = World::with("soft_ttl = \"1h\"").await;
    for code in [400, 401, 403, 404, 409, 418, 429, 500, 501, 503] {
        let path = format!("/{code}");
        world
            .origin
            .on(&path)
            .replies(status(code).header("x-own", "kept").header("retry-after", "7"));
        let reply = world.client.get(&path).await.expect(code, &code.to_string());
        assert_eq!((reply.field("x-own"), reply.field("retry-after")), ("kept", "7"), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_origins_are_asked_in_turn_and_one_that_is_gone_is_skipped() {
    let (mut first, second) = (Origin::start(), Origin::start());
    for origin in [&first, &second] {
        origin.on("/a").replies(ok("x").header("cache-control", "no-store"));
    }
    let setup = Setup::before_all(&[first.url(), second.url()]);
    let larder = setup.start().await;
    for _ in 0..10 {
        larder.client().get("/a").await.expect(200, "x");
    }
    assert!(
        first.saw("/a") >= 3 && second.saw("/a") >= 3,
        "{} {}",
        first.saw("/a"),
        second.saw("/a")
    );
    first.stop().await;
    let before = second.saw("/a");
    for _ in 0..20 {
        larder.client().get("/a").await.expect(200, "x");
    }
    assert_eq!(second.saw("/a"), before + 20);
}
