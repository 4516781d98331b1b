//! What may a client ask of the cache (RFC 9111 §5.2.1)? Where no route says otherwise, it is obeyed.

use crate::stage::Stage;
use crate::support::client::Reply;
use crate::support::origin::{ok, status};

const ASKS: &str = "cache-control";

/// Stored, fresh for a minute more, forty seconds old; can be validated.
async fn half_used(stage: &Stage, path: &str) {
    stage.answers(path, |asked| match asked.field("if-none-match") {
        "\"1\"" => status(304).max_age(100).header("age", "40"),
        _ => ok("one").max_age(100).header("age", "40").header("etag", "\"1\""),
    });
    stage.stores(path).await.expect(200, "one");
}

/// The origin was asked although there was something fresh.
#[track_caller]
fn was_asked(reply: &Reply, why: &str) {
    let told = reply.status();
    let told = (told.value("fwd"), told.value("fwd-status"));
    assert_eq!(told, (Some("request"), Some("304")), "{why}: {reply:?}");
}

pub(crate) async fn no_cache_asks_the_origin(stage: &Stage) {
    half_used(stage, "/a").await;
    for said in ["no-cache", "No-Cache", "no-cache, max-age=1000", "no-cache=1"] {
        let reply = stage.get_with("/a", ASKS, said).await.expect(200, "one");
        was_asked(&reply, said);
        stage.hit("/a").await;
    }
    // What comes back is everybody's from then on.
    stage.answers("/b", |asked| match asked.before {
        0 => ok("old").max_age(60),
        _ => ok("new").max_age(60),
    });
    stage.stores("/b").await.expect(200, "old");
    stage.get_with("/b", ASKS, "no-cache").await.expect(200, "new");
    stage.until_fresh("/b").await;
    stage.hit("/b").await.expect(200, "new");
}

pub(crate) async fn max_age_is_how_old_it_may_be(stage: &Stage) {
    half_used(stage, "/a").await;
    for said in ["max-age=0", "max-age=39", "max-age=90, max-age=5", "Max-Age=\"3\""] {
        let reply = stage.get_with("/a", ASKS, said).await.expect(200, "one");
        was_asked(&reply, said);
    }
    for said in ["max-age=90", "max-age=99999999999999999999", "max-age=\"90\""] {
        let reply = stage.get_with("/a", ASKS, said).await.expect(200, "one");
        assert!(reply.is_hit(), "{said}: {reply:?}");
    }
}

pub(crate) async fn min_fresh_is_how_long_it_must_last(stage: &Stage) {
    half_used(stage, "/a").await;
    let reply = stage.get_with("/a", ASKS, "min-fresh=61").await.expect(200, "one");
    was_asked(&reply, "it lasts for a minute at most");
    let reply = stage.get_with("/a", ASKS, "min-fresh=10").await.expect(200, "one");
    assert!(reply.is_hit(), "{reply:?}");
}

pub(crate) async fn only_if_cached_never_reaches_the_origin(stage: &Stage) {
    half_used(stage, "/a").await;
    let known = stage.get_with("/a", ASKS, "only-if-cached").await.expect(200, "one");
    assert!(known.is_hit(), "{known:?}");
    for said in ["only-if-cached, no-cache", "only-if-cached, max-age=1"] {
        let refused = stage.get_with("/a", ASKS, said).await;
        assert_eq!(refused.status, 504, "{said}: {refused:?}");
        assert_eq!(refused.json()["fault"], "only-if-cached");
    }
    assert_eq!(stage.saw("/a"), 1);
    stage.on("/b", ok("one").max_age(60).header("age", "61").header("etag", "\"1\""));
    stage.stores("/b").await;
    for path in ["/b", "/unknown"] {
        let before = stage.saw(path);
        for method in ["GET", "HEAD"] {
            let refused = stage.asks(method, path).header(ASKS, "only-if-cached").send().await;
            assert_eq!(refused.status, 504, "{method} {path}: {refused:?}");
        }
        assert_eq!(stage.saw(path), before, "{path}");
    }
}

pub(crate) async fn no_store_keeps_the_answer_out(stage: &Stage) {
    stage.on("/a", ok("one").max_age(60));
    stage.never_stores("/a", &[(ASKS, "no-store")]).await;
    // §5.2.1.5: it is not about what is stored already.
    stage.stores("/a").await;
    let reply = stage.get_with("/a", ASKS, "no-store").await;
    assert!(reply.is_hit(), "{reply:?}");
}

pub(crate) async fn pragma_counts_where_cache_control_is_silent(stage: &Stage) {
    half_used(stage, "/a").await;
    let reply = stage.get_with("/a", "pragma", "no-cache").await.expect(200, "one");
    was_asked(&reply, "pragma");
    // §5.4: "unless the Cache-Control header field is present in the request".
    let both = stage.asks("GET", "/a").header("pragma", "no-cache").header(ASKS, "max-age=90");
    let both = both.send().await;
    assert!(both.is_hit(), "{both:?}");
}

pub(crate) async fn what_is_no_directive_is_passed_over(stage: &Stage) {
    half_used(stage, "/a").await;
    for said in ["", ",,", "public", "x=\"no-cache\"", "max-stale=x", "=", "s-maxage=0", "private"]
    {
        let reply = stage.get_with("/a", ASKS, said).await.expect(200, "one");
        assert!(reply.is_hit(), "{said:?}: {reply:?}");
    }
    assert_eq!(stage.saw("/a"), 1);
}
