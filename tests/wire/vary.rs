//! For whom (RFC 9111 §4.1)?

use crate::stage::Stage;
use crate::support::origin::{Asked, ok, status};

/// What a request said in these fields, written so that absent and empty can be told apart.
fn said(asked: &Asked, names: &[&str]) -> String {
    let told = |name: &&str| match asked.headers.get(*name) {
        Some(value) => format!("{name}:{}", String::from_utf8_lossy(value.as_bytes())),
        None => format!("{name} unsaid"),
    };
    names.iter().map(told).collect::<Vec<_>>().join("; ")
}

/// The origin varies its answer on these fields, and says what they said.
fn varies(stage: &Stage, path: &str, names: &'static [&'static str]) {
    stage.answers(path, move |asked| {
        ok(said(asked, names)).max_age(60).header("vary", &names.join(", "))
    });
}

pub(crate) async fn each_variant_is_for_whoever_asks_alike(stage: &Stage) {
    varies(stage, "/a", &["x-tenant"]);
    let tenants = [[("x-tenant", "a")], [("x-tenant", "b")], [("x-tenant", "A")]];
    for tenant in &tenants {
        stage.stores_for("/a", tenant).await;
    }
    for [(name, value)] in tenants {
        let hit = stage.get_with("/a", name, value).await;
        let hit = hit.expect(200, &format!("{name}:{value}"));
        assert!(hit.is_hit(), "{value}: {hit:?}");
        assert_eq!(hit.field("vary"), "x-tenant");
    }
    assert_eq!(stage.saw("/a"), 3);
    let new = stage.get_with("/a", "x-tenant", "c").await.expect(200, "x-tenant:c");
    assert_eq!(new.status().value("fwd"), Some("vary-miss"), "{new:?}");
}

pub(crate) async fn what_means_the_same_is_the_same_variant(stage: &Stage) {
    for (path, names, first, alike, other) in [
        ("/spaces", &["x-list"], "a, b", &["a,b", "a ,b", " a,  b"][..], "b, a"),
        ("/coding", &["accept-encoding"], "gzip, br", &["br,gzip", "GZIP;q=1, br"], "gzip"),
        ("/type", &["accept"], "a/b, c/d;q=0.5", &["A/B,c/d; q=0.50"], "c/d;q=0.5, x/y"),
        ("/language", &["accept-language"], "de, en;q=0.8", &["DE,en;q=0.800"], "en, de"),
        ("/quoted", &["x-list"], "\"a, b\"", &[" \"a, b\""], "\"a,b\""),
    ] {
        varies(stage, path, names);
        let name = names[0];
        stage.stores_for(path, &[(name, first)]).await;
        for value in alike {
            let hit = stage.get_with(path, name, value).await;
            assert!(hit.is_hit(), "{path} {value:?}: {hit:?}");
            assert_eq!(hit.text(), format!("{name}:{first}"), "{value:?}");
        }
        let new = stage.get_with(path, name, other).await;
        assert!(new.is_forwarded(), "{path} {other:?}: {new:?}");
        assert_eq!(stage.saw(path), 2, "{path}");
    }
    // Two lines are one list (RFC 9110 §5.3).
    varies(stage, "/lines", &["x-list"]);
    stage.stores_for("/lines", &[("x-list", "a, b")]).await;
    let lines = stage.asks("GET", "/lines").header("x-list", "a").header("x-list", "b");
    let lines = lines.send().await;
    assert!(lines.is_hit(), "{lines:?}");
}

pub(crate) async fn absent_and_empty_are_not_the_same(stage: &Stage) {
    varies(stage, "/a", &["x-tenant"]);
    stage.stores("/a").await.expect(200, "x-tenant unsaid");
    let empty = stage.get_with("/a", "x-tenant", "").await.expect(200, "x-tenant:");
    assert!(empty.is_forwarded(), "{empty:?}");
    stage.hit("/a").await.expect(200, "x-tenant unsaid");
}

pub(crate) async fn many_fields_select_together(stage: &Stage) {
    varies(stage, "/a", &["x-one", "x-two"]);
    let mut expected = 0;
    for one in ["1", "2"] {
        for two in ["1", "2"] {
            let ask = || stage.asks("GET", "/a").header("x-one", one).header("x-two", two).send();
            let content = format!("x-one:{one}; x-two:{two}");
            let first = stage.stores_for("/a", &[("x-one", one), ("x-two", two)]).await;
            let first = first.expect(200, &content);
            assert!(first.is_forwarded(), "{first:?}");
            expected += 1;
            let hit = ask().await.expect(200, &content);
            assert!(hit.is_hit(), "{hit:?}");
            assert_eq!(stage.saw("/a"), expected);
        }
    }
}

pub(crate) async fn vary_on_everything_is_never_stored(stage: &Stage) {
    for (path, said) in [
        ("/star", "*"),
        ("/among", "x-one, *"),
        ("/no-name", "x-one, \"x-two\""),
        ("/cookie", "cookie"),
        ("/authorization", "x-one, Authorization"),
    ] {
        stage.on(path, ok("mine").max_age(60).header("vary", said));
        stage.never_stores(path, &[]).await;
    }
    let second = ok("mine").max_age(60).header("vary", "x-one").header("vary", "*");
    stage.on("/second-line", second);
    stage.never_stores("/second-line", &[]).await;
}

pub(crate) async fn variants_expire_and_are_validated_each_for_itself(stage: &Stage) {
    stage.answers("/a", |asked| {
        let tenant = asked.field("x-tenant").to_owned();
        let tag = format!("\"{tenant}\"");
        let answer = if asked.field("if-none-match") == tag { status(304) } else { ok(tenant) };
        let answer = answer.header("etag", &tag).header("vary", "x-tenant").max_age(60);
        if asked.before == 0 { answer.header("age", "100") } else { answer }
    });
    let (a, b) = ([("x-tenant", "a")], [("x-tenant", "b")]);
    stage.stores_for("/a", &a).await.expect(200, "a");
    stage.stores_for("/a", &b).await.expect(200, "b");
    let renewed = stage.get_with("/a", "x-tenant", "a").await.expect(200, "a");
    assert_eq!(renewed.status().value("fwd-status"), Some("304"), "{renewed:?}");
    let other = stage.get_with("/a", "x-tenant", "b").await.expect(200, "b");
    assert!(other.is_hit(), "{other:?}");
    assert_eq!(stage.asked("/a")[2].field("if-none-match"), "\"a\"");
    assert_eq!(stage.saw("/a"), 3);
}

pub(crate) async fn a_write_throws_all_variants_away(stage: &Stage) {
    varies(stage, "/a", &["x-tenant"]);
    stage.when("PUT", "/a", status(204));
    let tenants = [[("x-tenant", "a")], [("x-tenant", "b")]];
    for tenant in &tenants {
        stage.stores_for("/a", tenant).await;
    }
    assert_eq!(stage.asks("PUT", "/a").send().await.status, 204);
    for [(name, value)] in tenants {
        let new = stage.get_with("/a", name, value).await;
        assert!(new.is_forwarded(), "{value}: {new:?}");
    }
}
