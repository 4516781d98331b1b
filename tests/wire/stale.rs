//! When is something stale better than nothing (RFC 9111 §4.2.4, RFC 5861)?

use std::sync::Arc;

use crate::stage::{Stage, World};
use crate::support::origin::{Answer, ok, status};
use crate::support::wait::eventually;

/// A minute's worth, of this age, with these directives besides.
fn aged(age: u64, control: &str) -> Answer {
    let control = format!("max-age=60, {control}");
    ok("old").header("cache-control", &control).header("age", &age.to_string())
}

pub(crate) async fn while_it_is_revalidated_the_stale_is_served(stage: &Stage) {
    stage.answers("/a", |asked| match asked.before {
        0 => aged(100, "stale-while-revalidate=5000"),
        _ => ok("new").max_age(1_000),
    });
    stage.stores("/a").await.expect(200, "old");
    let stale = stage.get("/a").await.expect(200, "old");
    assert!(stale.is_stale(), "{stale:?}");
    let told = stale.status();
    let ttl: i64 = told.value("ttl").unwrap().parse().unwrap();
    assert!(told.value("fwd").is_none() && ttl <= 0, "{stale:?}");
    assert!(stale.age().is_some_and(|age| age >= 100), "{stale:?}");
    eventually("the new is served", async || stage.get("/a").await.text() == "new").await;
    assert_eq!(stage.saw("/a"), 2, "one refresh");
}

/// RFC 5861 §3: "after it becomes stale, up to the indicated number of seconds". What was stale for
/// longer than that when it came has no such time left; the window does not start anew here.
pub(crate) async fn an_answer_too_old_for_its_window_is_not_served_stale(stage: &Stage) {
    for (path, control) in
        [("/while", "stale-while-revalidate=30"), ("/error", "stale-if-error=30")]
    {
        stage.answers(path, move |asked| match asked.before {
            0 => aged(100, control).header("etag", "\"1\""),
            _ => status(503).header("cache-control", "no-store"),
        });
        stage.stores(path).await.expect(200, "old");
        let next = stage.get(path).await;
        assert_eq!(next.status, 503, "stale for 40 s already: {control}: {next:?}");
    }
}

pub(crate) async fn an_error_is_covered_for_as_long_as_the_origin_says(stage: &Stage) {
    for code in [500, 502, 503, 504] {
        let path = format!("/{code}");
        stage.answers(&path, move |asked| match asked.before {
            0 => aged(100, "stale-if-error=5000"),
            _ => status(code),
        });
        stage.stores(&path).await.expect(200, "old");
        let covered = stage.get(&path).await.expect(200, "old");
        assert!(covered.is_stale(), "{code}: {covered:?}");
        assert!(covered.age().is_some_and(|age| age >= 100), "{code}: {covered:?}");
    }
    // RFC 5861 §4 names 500, 502, 503 and 504: what the client did wrong is not covered.
    stage.answers("/404", |asked| match asked.before {
        0 => aged(100, "stale-if-error=5000"),
        _ => status(404),
    });
    stage.stores("/404").await;
    stage.get("/404").await.expect(404, "404");
}

pub(crate) async fn must_revalidate_lets_nothing_stale_out(stage: &Stage) {
    for (path, control) in [
        ("/must", "must-revalidate, stale-while-revalidate=5000, stale-if-error=5000"),
        ("/proxy", "proxy-revalidate, stale-while-revalidate=5000, stale-if-error=5000"),
        ("/no-cache", "no-cache, stale-while-revalidate=5000, stale-if-error=5000"),
    ] {
        stage.answers(path, move |asked| match asked.before {
            0 => aged(100, control).header("etag", "\"1\""),
            _ => status(503),
        });
        stage.stores(path).await.expect(200, "old");
        for _ in 0..2 {
            stage.get(path).await.expect(503, "503");
        }
    }
}

/// Told at the end, when no other story needs the origin any more.
pub(crate) async fn an_origin_that_is_gone_is_covered_for_and_never_beyond_what_it_allowed(
    world: World,
) {
    let world = Arc::new(world);
    let stage = Stage::of(&world, "gone");
    for (path, answer) in [
        ("/fresh", ok("old").max_age(1_000)),
        ("/covered", aged(100, "stale-if-error=5000")),
        ("/while", aged(100, "stale-while-revalidate=5000")),
        ("/must", aged(100, "must-revalidate, stale-if-error=5000").header("etag", "\"1\"")),
        ("/proxy", aged(100, "proxy-revalidate").header("etag", "\"1\"")),
        ("/s-maxage", aged(100, "s-maxage=10").header("etag", "\"1\"")),
        ("/no-cache", aged(0, "no-cache").header("etag", "\"1\"")),
        ("/plain", aged(100, "public").header("etag", "\"1\"")),
    ] {
        stage.on(path, answer);
        stage.stores(path).await.expect(200, "old");
    }
    drop(stage);
    let mut world = Arc::into_inner(world).unwrap();
    world.origin.stop().await;
    let world = Arc::new(world);
    let stage = Stage::of(&world, "gone");
    stage.hit("/fresh").await.expect(200, "old");
    for path in ["/covered", "/while"] {
        let covered = stage.get(path).await.expect(200, "old");
        assert!(covered.is_stale(), "{path}: {covered:?}");
    }
    // RFC 9111 §5.2.2.2: "MUST generate an error response rather than reuse the stale response".
    for path in ["/must", "/proxy", "/s-maxage", "/no-cache", "/plain", "/unknown"] {
        for _ in 0..2 {
            let refused = stage.get(path).await;
            assert_eq!(refused.status, 502, "{path}: {refused:?}");
            assert_eq!(refused.field("content-type"), "application/problem+json", "{path}");
            assert_eq!(refused.field("cache-control"), "no-store", "{path}");
        }
        let asked = stage.get_with(path, "cache-control", "only-if-cached").await;
        assert_eq!(asked.status, 504, "{path}: {asked:?}");
    }
    let head = stage.asks("HEAD", "/must").send().await.expect(502, "");
    assert_ne!(head.field("content-length"), "");
    let conditional = stage.get_with("/must", "if-none-match", "\"1\"").await;
    assert_eq!(conditional.status, 502, "nobody can say that it still stands: {conditional:?}");
}
