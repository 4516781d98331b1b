//! What may be kept (RFC 9111 §3)?

use std::time::Duration;

use crate::stage::{Stage, date};
use crate::support::origin::{ok, status};

pub(crate) async fn what_says_for_how_long_is_stored(stage: &Stage) {
    for (path, control) in [
        ("/max-age", "max-age=60"),
        ("/s-maxage", "s-maxage=60"),
        ("/public", "public, max-age=60"),
        ("/capitals", "MAX-AGE=60"),
        ("/unknown", "x-other=\"a, no-thing\", max-age=60"),
        ("/no-transform", "no-transform, max-age=60"),
        ("/must-revalidate", "must-revalidate, max-age=60"),
        ("/some-private", "private=\"x-user\", max-age=60"),
    ] {
        stage.on(path, ok("one").header("cache-control", control));
        stage.stores(path).await.expect(200, "one");
        stage.hit(path).await.expect(200, "one");
        assert_eq!(stage.saw(path), 1, "{path}");
    }
    stage.on("/expires", ok("one").header("expires", &date(60)));
    stage.stores("/expires").await;
    stage.hit("/expires").await.expect(200, "one");
    stage.on("/two-lines", ok("one").header("cache-control", "public").max_age(60));
    stage.stores("/two-lines").await;
    stage.hit("/two-lines").await.expect(200, "one");
}

pub(crate) async fn what_does_not_say_for_how_long_is_not(stage: &Stage) {
    for (path, code, control) in [
        ("/nothing", 200, ""),
        ("/public", 200, "public"),
        ("/zero", 200, "max-age=0"),
        ("/windows", 200, "stale-while-revalidate=60, stale-if-error=60"),
        ("/missing", 404, ""),
        ("/elsewhere", 302, ""),
        ("/failed", 500, ""),
    ] {
        stage.on(path, status(code).header("cache-control", control));
        stage.never_stores(path, &[]).await;
    }
}

pub(crate) async fn prohibitions_are_obeyed(stage: &Stage) {
    for (path, control) in [
        ("/no-store", "no-store"),
        ("/no-store-too", "max-age=60, no-store"),
        ("/no-store-said", "max-age=60, No-Store=1"),
        ("/private", "max-age=60, private"),
        ("/private-public", "max-age=60, public, private"),
        ("/private-s-maxage", "s-maxage=60, private"),
    ] {
        stage.on(path, ok("mine").header("cache-control", control));
        stage.never_stores(path, &[]).await;
    }
    let second_line = ok("mine").max_age(60).header("cache-control", "no-store");
    stage.on("/second-line", second_line);
    stage.never_stores("/second-line", &[]).await;
    stage.on("/cookie", ok("mine").max_age(60).header("set-cookie", "a=b"));
    stage.never_stores("/cookie", &[]).await;
}

/// However many answers elsewhere are for one client each, a crowd is served by one fetch.
pub(crate) async fn what_is_for_one_does_not_keep_others_from_sharing(stage: &Stage) {
    for number in 0..20 {
        let path = format!("/login-{number}");
        stage.on(&path, ok("mine").header("cache-control", "private, max-age=60"));
        stage.get(&path).await.expect(200, "mine");
    }
    stage.on("/hot", ok("for all").max_age(60).delay(Duration::from_millis(300)));
    for reply in stage.world.cache.client.crowd(20, &stage.at("/hot")).await {
        reply.expect(200, "for all");
    }
    assert_eq!(stage.saw("/hot"), 1);
}

pub(crate) async fn what_forbids_is_believed_even_where_it_cannot_be_read(stage: &Stage) {
    for (path, control) in [
        ("/unclosed", "max-age=60, x=\"no-store"),
        ("/no-token", "max-age=60, no-store; really"),
        ("/odd-list", "max-age=60, private=\"x y\""),
        ("/octets", "max-age=60, \u{e4}=private"),
    ] {
        stage.on(path, ok("mine").header("cache-control", control));
        stage.never_stores(path, &[]).await;
    }
}

pub(crate) async fn answers_to_credentials_are_shared_only_by_permission(stage: &Stage) {
    let credentials = [("authorization", "Basic eDp5")];
    for (path, control) in [
        ("/plain", "max-age=60"),
        ("/proxy", "max-age=60, proxy-revalidate"),
        ("/private", "private"),
    ] {
        stage.on(path, ok("for x").header("cache-control", control));
        stage.never_stores(path, &credentials).await;
        let other = stage.get(path).await;
        assert!(!other.is_hit(), "{path}: {other:?}");
    }
    for (path, control) in [
        ("/public", "public, max-age=60"),
        ("/s-maxage", "s-maxage=60"),
        ("/must-revalidate", "must-revalidate, max-age=60"),
    ] {
        stage.on(path, ok("for all").header("cache-control", control));
        stage.stores_for(path, &credentials).await;
        stage.hit(path).await.expect(200, "for all");
        let other = stage.get_with(path, "authorization", "Basic YTpi").await;
        assert!(other.is_hit(), "{path}: {other:?}");
    }
    // §3.5 is about storing: what was stored without credentials is for those who have some too.
    stage.on("/open", ok("for all").max_age(60));
    stage.stores("/open").await;
    let known = stage.get_with("/open", "authorization", "Basic YTpi").await;
    assert!(known.is_hit(), "{known:?}");
}

pub(crate) async fn must_understand_is_heeded_for_known_statuses(stage: &Stage) {
    let control = "must-understand, no-store, max-age=60";
    for (path, code) in [("/200", 200), ("/404", 404), ("/410", 410)] {
        stage.on(path, status(code).header("cache-control", control));
        stage.stores(path).await;
        assert_eq!(stage.hit(path).await.status, code);
    }
    for (path, code) in [("/299", 299), ("/451", 451), ("/599", 599)] {
        stage.on(path, status(code).header("cache-control", control));
        stage.never_stores(path, &[]).await;
    }
}

pub(crate) async fn every_final_status_with_a_lifetime_is_stored(stage: &Stage) {
    for code in [200, 203, 404, 405, 410, 414, 418, 451, 500, 501, 503, 599] {
        let path = format!("/{code}");
        stage.on(&path, status(code).max_age(60));
        stage.stores(&path).await.expect(code, &code.to_string());
        stage.hit(&path).await.expect(code, &code.to_string());
        assert_eq!(stage.saw(&path), 1, "{code}");
    }
    stage.on("/206", status(206).max_age(60).header("content-range", "bytes 0-2/9"));
    stage.never_stores("/206", &[]).await;
}

pub(crate) async fn redirects_are_stored_as_they_are(stage: &Stage) {
    for code in [300, 301, 302, 303, 307, 308] {
        let path = format!("/{code}");
        stage.on(&path, status(code).max_age(60).header("location", "/elsewhere?a=b#c"));
        stage.stores(&path).await;
        let hit = stage.hit(&path).await.expect(code, &code.to_string());
        assert_eq!(hit.field("location"), "/elsewhere?a=b#c", "{code}");
        assert_eq!(stage.saw(&path), 1, "{code}");
    }
}
