//! The admin API from outside, with a cache that only remembers what it was asked.

use std::sync::Mutex;
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use super::*;
use crate::config::Secret;

const TOKEN: &str = "correct horse";

/// Remembers what it was asked; fails what names "broken".
#[derive(Default)]
struct Cache {
    asked: Mutex<Vec<String>>,
    owes: bool,
    unready: bool,
}

impl Cache {
    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    fn receipt(&self, name: &str, mode: Mode) -> Result<Receipt, Problem> {
        if name.contains("broken") {
            return Err(Problem::unprocessable("that cannot be purged").with("at", "tag"));
        }
        let position = (!self.owes).then(|| "17-0".to_owned());
        let (names, applied_by) = (vec![name.to_owned()], vec!["a".to_owned()]);
        Ok(Receipt { position, names, applied_by, mode, owed: self.owes, missing: None })
    }
}

impl Control for Cache {
    fn purge(&self, request: Value) -> Answer<'_, Receipt> {
        self.note(format!("purge {request}"));
        Box::pin(async move { self.receipt(&request.to_string(), Mode::Soft) })
    }

    fn purge_url(&self, url: String, mode: Mode) -> Answer<'_, Receipt> {
        self.note(format!("purge_url {url} {mode:?}"));
        Box::pin(async move { self.receipt(&url, mode) })
    }

    fn explain(&self, question: Question) -> Answer<'_, Value> {
        self.note(format!("explain {} {}", question.method, question.url));
        Box::pin(async move {
            Ok(json!({ "accept": question.headers.get_all("accept").iter().count() }))
        })
    }

    fn entry(&self, url: String) -> Answer<'_, Value> {
        Box::pin(async move { Err(Problem::not_found(format!("nothing is stored for {url}"))) })
    }

    fn stats(&self) -> Answer<'_, Value> {
        Box::pin(async { Ok(json!({ "entries": 3 })) })
    }

    fn routes(&self) -> Answer<'_, Value> {
        Box::pin(std::future::pending())
    }

    fn ready(&self) -> Later<'_, Readiness> {
        let part = Part { name: "ledger".into(), ok: !self.unready, detail: "heard".into() };
        Box::pin(async move { Readiness { ready: part.ok, parts: vec![part] } })
    }

    fn metrics(&self) -> String {
        "# EOF\n".into()
    }

    fn reload(&self) -> Answer<'_, Value> {
        self.note("reload".into());
        Box::pin(async { Ok(json!({ "reloaded": true })) })
    }
}

struct Admins {
    cache: Arc<Cache>,
    router: Router,
}

impl Admins {
    fn of(cache: Cache, listen: &str, token: Option<&str>) -> Self {
        let config = Admin { listen: listen.parse().unwrap(), token: token.map(Secret::new) };
        let cache = Arc::new(cache);
        Self { router: router(Arc::clone(&cache) as Arc<dyn Control>, &config), cache }
    }

    fn open() -> Self {
        Self::of(Cache::default(), "127.0.0.1:9090", None)
    }

    fn closed() -> Self {
        Self::of(Cache::default(), "0.0.0.0:9090", Some(TOKEN))
    }

    /// `fields` replace the usual ones of the same name; an empty value leaves one out.
    async fn ask(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        content: &str,
    ) -> (Response, Value) {
        let mut request = http::Request::builder().method(method).uri(target);
        if !fields.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "127.0.0.1:9090");
        }
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(content.to_owned())).unwrap();
        let (head, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        (Response::from_parts(head, Body::from(bytes)), value)
    }

    async fn status(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> u16 {
        self.ask(method, target, fields, "").await.0.status().as_u16()
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.cache.asked.lock().unwrap())
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn a_purge_is_answered_with_a_receipt_and_its_position() {
    let admin = Admins::open();
    let (response, receipt) = admin.ask("POST", "/purge", &[JSON], r#"{"tag": "x"}"#).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["larder-position"], "17-0");
    assert_eq!(
        receipt,
        json!({ "position": "17-0", "names": [r#"{"tag":"x"}"#], "applied_by": ["a"],
                "mode": "soft", "owed": false })
    );
}

#[tokio::test]
async fn a_purge_that_others_have_not_been_told_of_is_accepted_not_done() {
    let admin = Admins::of(Cache { owes: true, ..Cache::default() }, "127.0.0.1:1", None);
    let (response, receipt) = admin.ask("POST", "/purge", &[JSON], r#"{"tag": "x"}"#).await;
    assert_eq!(response.status(), 202);
    assert_eq!(receipt["owed"], true);
    assert_eq!(receipt["position"], Value::Null);
    assert!(!response.headers().contains_key("larder-position"));
}

#[tokio::test]
async fn purge_as_varnish_clients_send_it_reaches_the_path_on_every_host() {
    let admin = Admins::open();
    for (target, fields, asked) in [
        ("/p/7?a=1", &[("host", "shop.test")][..], "purge_url /p/7?a=1 Hard"),
        ("/purge", &[][..], "purge_url /purge Hard"),
        ("/stats", &[("larder-purge", "soft")][..], "purge_url /stats Soft"),
        ("/p", &[("larder-purge", "hard")][..], "purge_url /p Hard"),
        ("http://shop.test/p", &[("host", "shop.test")][..], "purge_url http://shop.test/p Hard"),
    ] {
        assert_eq!(admin.status("PURGE", target, fields).await, 200, "{target}");
        assert_eq!(admin.asked(), [asked]);
    }
    assert_eq!(admin.status("PURGE", "/p", &[("larder-purge", "gentle")]).await, 400);
    assert_eq!(admin.asked(), [""; 0]);
}

#[tokio::test]
async fn what_goes_wrong_is_a_problem_whoever_noticed() {
    let admin = Admins::open();
    let large = format!("{{\"tag\": \"{}\"}}", "x".repeat(70_000));
    for (method, target, fields, content, status) in [
        ("GET", "/nowhere", &[][..], "", 404),
        ("GET", "/purge", &[][..], "", 405),
        ("DELETE", "/stats", &[][..], "", 405),
        ("POST", "/purge", &[][..], "{}", 415),
        ("POST", "/purge", &[("content-type", "text/plain")][..], "{}", 415),
        ("POST", "/purge", &[JSON][..], "{", 400),
        ("POST", "/purge", &[JSON][..], "[]", 400),
        ("POST", "/purge", &[JSON][..], large.as_str(), 413),
        ("POST", "/purge", &[JSON][..], r#"{"tag": "broken"}"#, 422),
        ("GET", "/explain", &[][..], "", 400),
        ("GET", "/explain?url=products", &[][..], "", 400),
        ("GET", "/explain?url=/a&url=/b", &[][..], "", 400),
        ("GET", "/explain?ulr=/a", &[][..], "", 400),
        ("GET", "/explain?url=/a&method=%20", &[][..], "", 400),
        ("GET", "/explain?url=/a&header=none", &[][..], "", 400),
        ("GET", "/entry?url=/a", &[][..], "", 404),
    ] {
        let (response, problem) = admin.ask(method, target, fields, content).await;
        assert_eq!(response.status().as_u16(), status, "{method} {target} {content:.20}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{target}");
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().is_some_and(|d| !d.is_empty()), "{problem}");
    }
    let (response, _) = admin.ask("GET", "/purge", &[], "").await;
    assert_eq!(response.headers()["allow"], "POST");
    let (_, problem) = admin.ask("POST", "/purge", &[JSON], r#"{"tag": "broken"}"#).await;
    assert_eq!(problem["at"], "tag");
}

#[tokio::test]
async fn explain_asks_about_the_request_that_the_parameters_describe() {
    let admin = Admins::open();
    let target = "/explain?method=HEAD&url=/p%3Fa%3D1&header=Accept:%20a/b&header=accept:c/d";
    let (response, answer) = admin.ask("GET", target, &[], "").await;
    assert_eq!(response.status(), 200);
    assert_eq!(answer["accept"], 2);
    assert_eq!(admin.asked(), ["explain HEAD /p?a=1"]);
    admin.ask("GET", "/explain?url=/p", &[], "").await;
    assert_eq!(admin.asked(), ["explain GET /p"]);
}

#[tokio::test]
async fn health_is_told_to_anybody_and_readiness_has_reasons() {
    let admin = Admins::closed();
    let elsewhere = [("host", "probe.test"), ("origin", "http://evil.test")];
    assert_eq!(admin.status("GET", "/livez", &elsewhere).await, 200);
    let (response, readiness) = admin.ask("GET", "/readyz", &[], "").await;
    assert_eq!(response.status(), 200);
    assert_eq!(readiness["parts"][0]["name"], "ledger");
    let unready = Admins::of(Cache { unready: true, ..Cache::default() }, "127.0.0.1:1", None);
    let (response, readiness) = unready.ask("GET", "/readyz", &[], "").await;
    assert_eq!(response.status(), 503);
    assert_eq!(readiness["ready"], false);
}

#[tokio::test]
async fn everything_else_needs_the_token_where_there_is_one() {
    let admin = Admins::closed();
    for (method, target) in [
        ("GET", "/metrics"),
        ("POST", "/purge"),
        ("PURGE", "/p"),
        ("GET", "/explain?url=/"),
        ("GET", "/entry?url=/"),
        ("GET", "/stats"),
        ("GET", "/routes"),
        ("POST", "/reload"),
        ("POST", "/readyz"),
        ("GET", "/nowhere"),
    ] {
        for given in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer correct",
            "Bearer correct horses",
            "Basic correct horse",
        ] {
            let (response, _) = admin.ask(method, target, &[("authorization", given)], "").await;
            assert_eq!(response.status(), 401, "{method} {target} {given:?}");
            assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"larder admin\"");
        }
    }
    assert_eq!(admin.asked(), [""; 0]);
    for given in ["Bearer correct horse", "bearer correct horse"] {
        assert_eq!(
            admin.status("GET", "/stats", &[("authorization", given)]).await,
            200,
            "{given}"
        );
    }
    let twice = [("authorization", "Bearer x"), ("authorization", "Bearer correct horse")];
    assert_eq!(admin.status("GET", "/stats", &twice).await, 401);
}

#[tokio::test]
async fn with_the_token_any_name_will_do() {
    let admin = Admins::closed();
    let fields = [("authorization", "Bearer correct horse"), ("host", "larder.internal:9090")];
    assert_eq!(admin.status("GET", "/stats", &fields).await, 200);
}

#[tokio::test]
async fn without_a_token_nobody_comes_in_from_the_network() {
    let admin = Admins::of(Cache::default(), "0.0.0.0:9090", None);
    assert_eq!(admin.status("GET", "/stats", &[]).await, 403);
    assert_eq!(admin.status("GET", "/livez", &[]).await, 200);
}

#[tokio::test]
async fn a_name_that_points_here_by_a_strangers_doing_is_refused() {
    let admin = Admins::open();
    for host in
        ["127.0.0.1:9090", "127.0.0.1", "[::1]:9090", "localhost", "LOCALHOST:9090", "10.0.0.1"]
    {
        assert_eq!(admin.status("GET", "/stats", &[("host", host)]).await, 200, "{host}");
    }
    for host in
        ["", "evil.test:9090", "127.0.0.1.evil.test", "localhost.evil.test", "[evil]:9090", "[::1"]
    {
        assert_eq!(admin.status("GET", "/stats", &[("host", host)]).await, 403, "{host}");
    }
    let two = [("host", "127.0.0.1"), ("host", "evil.test")];
    assert_eq!(admin.status("GET", "/stats", &two).await, 403);
    assert_eq!(admin.status("GET", "http://evil.test/stats", &[]).await, 403);
}

#[tokio::test]
async fn pages_of_other_sites_are_refused_and_our_own_are_not() {
    let admin = Admins::open();
    for fields in [
        &[("origin", "http://evil.test")][..],
        &[("origin", "null")][..],
        &[("origin", "http://127.0.0.1:8080")][..],
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")][..],
        &[("origin", "http://evil.test:9090"), ("host", "evil.test:9090")][..],
    ] {
        assert_eq!(admin.status("POST", "/reload", fields).await, 403, "{fields:?}");
        assert_eq!(admin.status("PURGE", "/p", fields).await, 403, "{fields:?}");
    }
    assert_eq!(admin.asked(), [""; 0]);
    let own = [("origin", "http://127.0.0.1:9090"), ("sec-fetch-site", "same-origin")];
    assert_eq!(admin.status("POST", "/reload", &own).await, 200);
    let typed = [("sec-fetch-site", "none")];
    assert_eq!(admin.status("GET", "/stats", &typed).await, 200);
}

#[tokio::test]
async fn nothing_said_here_is_cached_or_guessed_at() {
    let admin = Admins::closed();
    for target in ["/livez", "/stats", "/nowhere"] {
        let (response, _) = admin.ask("GET", target, &[], "").await;
        assert_eq!(response.headers()["cache-control"], "no-store", "{target}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{target}");
    }
}

#[tokio::test]
async fn metrics_are_openmetrics() {
    let (response, _) = Admins::open().ask("GET", "/metrics", &[], "").await;
    let kind = response.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
}

#[tokio::test]
async fn the_listener_serves_until_it_is_told_to_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(serve(listener, Admins::open().router, async {
        let _ = stopped.await;
    }));
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /stats HTTP/1.1\r\nHost: {address}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 15];
    client.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    // Its connection is idle now, and does not hold up the end.
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), served).await.unwrap().unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
