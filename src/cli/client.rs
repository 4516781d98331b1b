//! The commands that ask a running process over its admin API.

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::{Admin, Ask, Explain, FAILED, Purge, Target, USAGE, print};

/// Longest answer that is read.
const MAX_ANSWER: usize = 64 << 20;

/// The admin API answers soon after a minute, waiting for others included.
const PATIENCE: Duration = Duration::from_secs(70);

/// Who asks about readiness wants to know it now.
const SHORT_PATIENCE: Duration = Duration::from_secs(5);

/// Asks, prints the answer, and says how to end.
pub async fn ask(command: &Ask) -> ExitCode {
    let (question, admin) = question(command);
    match send(&question, admin).await {
        Ok(answer) => {
            let ok = answer.status.is_success();
            if admin.json {
                print::out(&answer.text);
            } else if ok || matches!(command, Ask::Ready(_)) {
                print::out(&readable(command, &answer));
            } else {
                print::error(&complaint(&answer));
            }
            ExitCode::from(if ok && !is_short_of(command, &answer) { 0 } else { FAILED })
        }
        Err(failure) => {
            print::error(&failure.text);
            ExitCode::from(failure.code)
        }
    }
}

/// What is sent.
#[derive(Debug, PartialEq)]
struct Question {
    method: Method,
    /// Path and query.
    target: String,
    content: Option<Value>,
    patience: Duration,
}

/// What comes back.
struct Answer {
    status: StatusCode,
    text: String,
    value: Value,
}

/// Why nothing came back.
#[derive(Debug)]
struct Failure {
    code: u8,
    text: String,
}

fn question(command: &Ask) -> (Question, &Admin) {
    let get = |target: &str, patience| Question {
        method: Method::GET,
        target: target.to_owned(),
        content: None,
        patience,
    };
    match command {
        Ask::Purge(purge) => {
            let content = Some(purge_of(purge));
            let question = Question { method: Method::POST, content, ..get("/purge", PATIENCE) };
            (question, &purge.admin)
        }
        Ask::Explain(explain) => (get(&explain_of(explain), PATIENCE), &explain.admin),
        Ask::Stats(stats) => (get("/stats", PATIENCE), &stats.admin),
        Ask::Ready(ready) => (get("/readyz", SHORT_PATIENCE), &ready.admin),
    }
}

fn purge_of(purge: &Purge) -> Value {
    let Target { url, path, prefix, tag, namespace, group, all } = &purge.target;
    let mut content = Map::new();
    let places = [("url", url), ("path", path), ("prefix", prefix)];
    let texts = places.into_iter().chain([("namespace", namespace), ("group", group)]);
    for (name, text) in texts {
        content.extend(text.iter().map(|text| (name.to_owned(), json!(text))));
    }
    match tag.as_slice() {
        [] => {}
        [tag] => drop(content.insert("tag".into(), json!(tag))),
        tags => drop(content.insert("tags".into(), json!(tags))),
    }
    if *all {
        content.insert("all".into(), json!(true));
    }
    content.insert("mode".into(), json!(if purge.soft { "soft" } else { "hard" }));
    let text = |time| humantime::format_duration(time).to_string();
    if let Some(spread) = purge.spread {
        content.insert("spread".into(), json!(text(spread)));
    }
    if let Some(wait) = purge.wait {
        content.insert("wait".into(), json!("all"));
        content.insert("timeout".into(), json!(text(wait)));
    }
    Value::Object(content)
}

fn explain_of(explain: &Explain) -> String {
    let Explain { method, url, headers, admin: _ } = explain;
    let mut target = String::from("/explain");
    let fields = headers.iter().map(|field| ("header", field));
    for (at, (name, value)) in
        [("method", method), ("url", url)].into_iter().chain(fields).enumerate()
    {
        target.push(if at == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        target.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
    }
    target
}

async fn send(question: &Question, admin: &Admin) -> Result<Answer, Failure> {
    let base = base_of(&admin.url)?;
    let request = request_of(question, admin, &base)?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let unreachable = |why: String| Failure {
        code: FAILED,
        text: format!(
            "no answer from the admin listener at {base}: {why}\n\
             Is larder running, with [admin] in its configuration? --admin URL asks elsewhere."
        ),
    };
    let exchange = async {
        let response = client.request(request).await.map_err(|why| innermost(&why))?;
        let (head, body) = response.into_parts();
        let body =
            Limited::new(body, MAX_ANSWER).collect().await.map_err(|why| innermost(&*why))?;
        Ok((head.status, body.to_bytes()))
    };
    let (status, content) = tokio::time::timeout(question.patience, exchange)
        .await
        .unwrap_or_else(|_| Err(format!("it took more than {:?}", question.patience)))
        .map_err(unreachable)?;
    let value = serde_json::from_slice(&content).map_err(|_| Failure {
        code: FAILED,
        text: format!("{base} answered {status}, but not in JSON: is this the admin listener?"),
    })?;
    Ok(Answer { status, text: String::from_utf8_lossy(&content).into_owned(), value })
}

/// The reason at the bottom: "connection refused" rather than "client error".
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

fn request_of(
    question: &Question,
    admin: &Admin,
    base: &str,
) -> Result<Request<Full<Bytes>>, Failure> {
    let usage = |text: &str| Failure { code: USAGE, text: text.to_owned() };
    let mut request =
        Request::builder().method(&question.method).uri(format!("{base}{}", question.target));
    if let Some(token) = admin.token.as_deref().filter(|token| !token.is_empty()) {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| usage("the admin token contains characters that no token has"))?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let content = question.content.as_ref().map(Value::to_string);
    if content.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    request
        .body(Full::from(content.unwrap_or_default()))
        .map_err(|_| usage("this does not make a request"))
}

/// `http://host:port` of what was given with `--admin`.
fn base_of(text: &str) -> Result<String, Failure> {
    let usage = |why: &str| Failure {
        code: USAGE,
        text: format!("--admin {text}: {why}; expected http://127.0.0.1:9090"),
    };
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = full.parse().map_err(|_| usage("not a URL"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(authority))
            if matches!(uri.path(), "" | "/") && uri.query().is_none() =>
        {
            Ok(format!("http://{authority}"))
        }
        (Some("http"), Some(_)) => Err(usage("the admin API has no path in front of it")),
        _ => Err(usage("the admin listener speaks plain HTTP")),
    }
}

/// Was it asked to wait for all, and are some missing?
fn is_short_of(command: &Ask, answer: &Answer) -> bool {
    matches!(command, Ask::Purge(purge) if purge.wait.is_some())
        && answer.status == StatusCode::ACCEPTED
}

fn readable(command: &Ask, answer: &Answer) -> String {
    match command {
        Ask::Purge(_) => receipt(&answer.value),
        _ => print::outline(&answer.value),
    }
}

fn receipt(value: &Value) -> String {
    let list = |name: &str| -> String {
        let items = value[name].as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().filter_map(Value::as_str).map(print::inert).collect::<Vec<_>>().join(", ")
    };
    let text = |name: &str| value[name].as_str().map(print::inert);
    let mut lines = vec![
        format!("purged ({})  {}", text("mode").as_deref().unwrap_or("?"), list("names")),
        format!("position       {}", text("position").as_deref().unwrap_or("none yet")),
        format!("applied by     {}", list("applied_by")),
    ];
    for missing in value["missing"].as_array().map(Vec::as_slice).unwrap_or_default() {
        lines.push(absent(missing));
    }
    if value["owed"] == true {
        lines.push("Valkey is away: the other instances will be told when it is back.".into());
    }
    lines.join("\n")
}

fn absent(missing: &Value) -> String {
    let instance = missing["instance"].as_str().map(print::inert).unwrap_or_default();
    let silent = Duration::from_millis(missing["silent_ms"].as_u64().unwrap_or_default());
    let silent = humantime::format_duration(silent);
    let what = if missing["lapsed"] == true {
        "it asks the origin before it serves anything from before"
    } else {
        "it may serve what is older until it has read the purge"
    };
    format!("missing        {instance}, not heard of for {silent}: {what}")
}

fn complaint(answer: &Answer) -> String {
    let detail = answer.value["detail"].as_str().unwrap_or("no reason given");
    let mut text = format!("{}: {detail}", answer.status.as_u16());
    if answer.status == StatusCode::UNAUTHORIZED {
        text.push_str(" (--token, or LARDER_ADMIN_TOKEN in the environment)");
    }
    print::inert(&text)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::{any, get};
    use tokio::net::TcpListener;

    use super::*;

    fn admin(url: &str) -> Admin {
        Admin { url: url.to_owned(), token: None, json: true }
    }

    fn purge(target: Target) -> Purge {
        let admin = admin("");
        Purge { target, soft: false, spread: None, hard: false, wait: None, admin }
    }

    #[test]
    fn a_purge_says_what_and_always_how() {
        let text = |text: &str| Some(text.to_owned());
        for (target, content) in [
            (Target { url: text("/a?b=1"), ..Target::default() }, json!({"url": "/a?b=1"})),
            (Target { path: text("/a"), ..Target::default() }, json!({"path": "/a"})),
            (Target { prefix: text("/a/"), ..Target::default() }, json!({"prefix": "/a/"})),
            (Target { namespace: text("a/b"), ..Target::default() }, json!({"namespace": "a/b"})),
            (Target { group: text("//h/a"), ..Target::default() }, json!({"group": "//h/a"})),
            (Target { tag: vec!["a".into()], ..Target::default() }, json!({"tag": "a"})),
            (
                Target { tag: vec!["a".into(), "b".into()], ..Target::default() },
                json!({"tags": ["a", "b"]}),
            ),
            (Target { all: true, ..Target::default() }, json!({"all": true})),
        ] {
            let mut expected = content;
            expected["mode"] = json!("hard");
            assert_eq!(purge_of(&purge(target)), expected);
        }
        let target = Target { all: true, ..Target::default() };
        let spread = Some(Duration::from_secs(90));
        let more = Purge { soft: true, spread, ..purge(target.clone()) };
        let expected = json!({"all": true, "mode": "soft", "spread": "1m 30s"});
        assert_eq!(purge_of(&more), expected);
        let wait = Some(Duration::from_millis(1500));
        let expected = json!({"all": true, "mode": "hard", "wait": "all", "timeout": "1s 500ms"});
        assert_eq!(purge_of(&Purge { wait, ..purge(target) }), expected);
    }

    #[test]
    fn what_is_asked_about_survives_the_query_string() {
        let explain = Explain {
            method: "GET".into(),
            url: "/p?a=1&b=ü#x".into(),
            headers: vec!["Accept: a/b; q=1".into()],
            admin: admin(""),
        };
        assert_eq!(
            explain_of(&explain),
            "/explain?method=GET&url=%2Fp%3Fa%3D1%26b%3D%C3%BC%23x&header=Accept%3A%20a%2Fb%3B%20q%3D1"
        );
    }

    #[test]
    fn the_address_may_come_without_its_scheme() {
        for (given, base) in [
            ("http://127.0.0.1:9090", "http://127.0.0.1:9090"),
            ("http://h:1/", "http://h:1"),
            ("h:1", "http://h:1"),
            ("[::1]:9090", "http://[::1]:9090"),
        ] {
            assert_eq!(base_of(given).unwrap(), base);
        }
        for given in ["", "https://h", "http://h/admin", "http://h?x", "ftp://h", "a b"] {
            assert_eq!(base_of(given).unwrap_err().code, USAGE, "{given}");
        }
    }

    #[test]
    fn a_receipt_is_read_at_a_glance() {
        let value = json!({ "position": "17-0", "names": ["tag:a", "tag:b"], "mode": "hard",
                            "applied_by": ["one", "two"], "owed": false });
        assert_eq!(
            receipt(&value),
            "purged (hard)  tag:a, tag:b\nposition       17-0\napplied by     one, two"
        );
        assert!(receipt(&json!({ "owed": true })).contains("Valkey is away"));
        for (lapsed, word) in [(true, "asks the origin"), (false, "may serve")] {
            let missing = json!([{ "instance": "b", "silent_ms": 3200, "lapsed": lapsed }]);
            let text = receipt(&json!({ "owed": false, "missing": missing }));
            assert!(text.contains("missing        b, not heard of for 3s 200ms"), "{text}");
            assert!(text.contains(word), "{text}");
        }
    }

    async fn server() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let echo = |request: axum::extract::Request| async move {
            let token = request.headers().get(AUTHORIZATION).cloned();
            let json = request.headers().contains_key(CONTENT_TYPE);
            let content = request.into_body().collect().await.unwrap().to_bytes();
            let token = token.map(|token| token.to_str().unwrap().to_owned());
            axum::Json(json!({ "token": token, "json": json, "length": content.len() }))
        };
        let router = Router::new()
            .route("/purge", any(echo))
            .route("/readyz", get(async || (StatusCode::SERVICE_UNAVAILABLE, "{}")))
            .route("/stats", get(async || "hello"));
        tokio::spawn(async { axum::serve(listener, router).await });
        base
    }

    #[tokio::test]
    async fn the_token_and_the_content_arrive() {
        let base = server().await;
        let admin = Admin { token: Some("s3cret".into()), ..admin(&base) };
        let command =
            Ask::Purge(Purge { admin, ..purge(Target { all: true, ..Target::default() }) });
        let (question, admin) = question(&command);
        let answer = send(&question, admin).await.unwrap();
        assert_eq!(answer.value["token"], "Bearer s3cret");
        assert_eq!(answer.value["json"], true);
        assert_eq!(answer.value["length"], r#"{"all":true,"mode":"hard"}"#.len());
        assert_eq!(ask(&command).await, ExitCode::SUCCESS);
    }

    #[tokio::test]
    async fn what_fails_ends_with_one_and_what_makes_no_sense_with_two() {
        let base = server().await;
        let ready = |url: &str| Ask::Ready(super::super::Ready { admin: admin(url) });
        assert_eq!(ask(&ready(&base)).await, ExitCode::from(FAILED));
        assert_eq!(ask(&ready("http://127.0.0.1:1")).await, ExitCode::from(FAILED));
        assert_eq!(ask(&ready("https://127.0.0.1:1")).await, ExitCode::from(USAGE));
        let stats = Ask::Stats(super::super::Stats { admin: admin(&base) });
        assert_eq!(ask(&stats).await, ExitCode::from(FAILED));
    }

    #[tokio::test]
    async fn a_refused_connection_is_called_that_and_the_cure_is_named() {
        let (question, _) = (question(&Ask::Stats(super::super::Stats { admin: admin("") })).0, ());
        let failure = send(&question, &admin("http://127.0.0.1:1")).await.err().unwrap();
        assert!(failure.text.to_lowercase().contains("connection refused"), "{}", failure.text);
        assert!(failure.text.contains("--admin URL"), "{}", failure.text);
    }
}
