//! What does a write throw away (RFC 9111 §4.4)?

use crate::stage::Stage;
use crate::support::origin::{Answer, ok, status};

/// Stores what the origin says here for a long time.
async fn keeps(stage: &Stage, path: &str) {
    stage.when("GET", path, ok("one").max_age(1_000).header("etag", "\"1\""));
    stage.stores(path).await.expect(200, "one");
}

/// It was thrown away: not even its validator is left to ask with.
async fn is_gone(stage: &Stage, path: &str, why: &str) {
    let reply = stage.get(path).await;
    assert!(reply.is_forwarded(), "{why}: {path} was served from the store: {reply:?}");
    let asked = stage.asked(path);
    let last = asked.iter().rfind(|asked| asked.method == "GET").unwrap();
    assert_eq!(last.field("if-none-match"), "", "{why}: {path}");
}

async fn stays(stage: &Stage, path: &str, why: &str) {
    let reply = stage.get(path).await;
    assert!(reply.is_hit(), "{why}: {path} is gone: {reply:?}");
}

pub(crate) async fn unsafe_methods_throw_away_what_they_change(stage: &Stage) {
    for method in ["PUT", "POST", "PATCH", "DELETE", "FROB", "MKCOL", "get"] {
        for code in [200, 201, 204, 303] {
            let path = format!("/{method}-{code}");
            keeps(stage, &path).await;
            stage.when(method, &path, status(code));
            let written = stage.asks(method, &path).content("x").send().await;
            assert_eq!(written.status, code, "{method}");
            assert!(!written.field("larder-position").is_empty(), "{written:?}");
            is_gone(stage, &path, method).await;
        }
    }
}

pub(crate) async fn safe_methods_throw_nothing_away(stage: &Stage) {
    keeps(stage, "/a").await;
    for method in ["OPTIONS", "PROPFIND", "REPORT", "SEARCH"] {
        stage.when(method, "/a", status(200));
        stage.asks(method, "/a").send().await.expect(200, "200");
        stays(stage, "/a", method).await;
        assert_eq!(stage.world.origin.saw_method(method, &stage.at("/a")), 1, "{method}");
    }
}

pub(crate) async fn what_was_refused_throws_nothing_away(stage: &Stage) {
    for code in [400, 401, 403, 404, 405, 409, 412, 415, 422, 429] {
        let path = format!("/{code}");
        keeps(stage, &path).await;
        stage.when("PUT", &path, status(code));
        stage.asks("PUT", &path).content("x").send().await.expect(code, &code.to_string());
        stays(stage, &path, &code.to_string()).await;
    }
}

pub(crate) async fn every_query_of_the_target_goes_with_it(stage: &Stage) {
    for (item, query) in [("/a", ""), ("/b", "?b=1"), ("/c", "?unknown")] {
        stage.when("PUT", item, status(204));
        stage.when("GET", item, ok("one").max_age(1_000));
        let targets = ["", "?b=1", "?b=2", "?c", "?"].map(|query| format!("{item}{query}"));
        for target in &targets {
            stage.get(target).await;
            stage.until_fresh(target).await;
        }
        let longer = format!("{item}x");
        keeps(stage, &longer).await;
        let written = format!("{item}{query}");
        stage.asks("PUT", &written).content("x").send().await.expect(204, "");
        for target in &targets {
            let verdict = stage.explained(target, &[]).await["verdict"].clone();
            assert_eq!(verdict, "fetch", "PUT {written}: {target} stayed");
        }
        stays(stage, &longer, &written).await;
    }
}

/// RFC 3986 §6.2.2: the same URI, differently spelled.
pub(crate) async fn however_the_target_is_spelled_it_is_the_target(stage: &Stage) {
    for (read, written) in [
        ("/caf%C3%A9", "/caf%c3%a9"),
        ("/~bob", "/%7Ebob"),
        ("/%7ebob/x", "/~bob/x"),
        ("/O'Neil", "/O%27Neil"),
        ("/a%20b", "/%61%20b"),
    ] {
        keeps(stage, read).await;
        stage.when("PUT", written, status(204));
        stage.asks("PUT", written).content("x").send().await.expect(204, "");
        is_gone(stage, read, written).await;
    }
}

pub(crate) async fn what_the_answer_names_goes_too(stage: &Stage) {
    let authority = stage.world.cache.client.address();
    let named = stage.at("/named");
    keeps(stage, "/named").await;
    for (name, value) in [
        ("location", named.clone()),
        ("content-location", named.clone()),
        ("location", "named".to_owned()),
        ("location", "./x/../named#top".to_owned()),
        ("location", format!("http://{authority}{named}")),
        ("content-location", format!("//{authority}{named}")),
        ("location", format!("HTTP://{authority}{named}?a=b")),
    ] {
        stage.when("POST", "/all", status(201).header(name, &value));
        stage.asks("POST", "/all").content("x").send().await.expect(201, "201");
        is_gone(stage, "/named", &format!("{name}: {value}")).await;
        stage.until_fresh("/named").await;
    }
}

pub(crate) async fn what_is_of_another_origin_stays(stage: &Stage) {
    let port = stage.world.cache.client.address().port();
    let other = if port == 9 { 10 } else { 9 };
    let named = stage.at("/named");
    keeps(stage, "/named").await;
    for value in [
        format!("http://other.test:{port}{named}"),
        format!("http://127.0.0.1:{other}{named}"),
        format!("//other.test{named}"),
        format!("http://x@127.0.0.1:{port}{named}"),
        format!("ftp://127.0.0.1:{port}{named}"),
        format!("urn:{named}"),
        format!("http://127.0.0.1:{port}\\@other.test{named}"),
    ] {
        for name in ["location", "content-location"] {
            stage.when("POST", "/all", status(201).header(name, &value));
            stage.asks("POST", "/all").content("x").send().await.expect(201, "201");
            stays(stage, "/named", &format!("{name}: {value}")).await;
        }
    }
}

pub(crate) async fn what_cannot_be_ruled_out_counts_as_done(stage: &Stage) {
    let broken: Vec<(&str, Answer, u16)> = vec![
        ("/500", status(500), 500),
        ("/502", status(502), 502),
        ("/504", status(504), 504),
        ("/408", status(408), 408),
    ];
    for (path, answer, code) in broken {
        keeps(stage, path).await;
        stage.when("PUT", path, answer);
        assert_eq!(stage.asks("PUT", path).content("x").send().await.status, code);
        is_gone(stage, path, path).await;
    }
}
