//! The fuse box: a listener of its own, for people and programs that look after the cache.
//!
//! | request | answer | token |
//! |---|---|---|
//! | `GET /livez` | 200: the process runs | no |
//! | `GET /readyz` | 200 or 503: may it be sent requests? | no |
//! | `GET /metrics` | OpenMetrics text | yes |
//! | `POST /purge` | a receipt (200), or 202 while others do not know of it yet | yes |
//! | `PURGE /any/path` | the same, for one URL on every host; `Larder-Purge: soft` or `hard` | yes |
//! | `PURGE http://host/path` | the same, on this host | yes |
//! | `GET /explain?method=&url=&header=` | what would be done with such a request, and why | yes |
//! | `GET /entry?url=` | what is stored for a URL | yes |
//! | `GET /stats`, `GET /routes` | counters and state; the routes as they are understood | yes |
//! | `POST /reload` | reads the configuration again | yes |
//!
//! Everything is JSON; everything that goes wrong is `application/problem+json` (RFC 9457).
//!
//! A purge is *hard* unless it says otherwise. A soft one serves the old version once more, and
//! whoever forgets to choose must not read what they have just thrown away; what a hard purge
//! costs the origin is bounded by collapsing. It is also what Varnish's clients mean by `PURGE`.
//!
//! What is decided stands behind [`Control`]; this room only speaks HTTP.

mod control;
mod door;
mod listener;
mod problem;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::Value;

use crate::config::Admin;
use crate::telemetry::OPENMETRICS;

pub use control::{Answer, Control, Later, Missing, Mode, Part, Question, Readiness, Receipt};
pub use listener::serve;
pub use problem::Problem;

/// Largest content of a request, in bytes.
const MAX_CONTENT: usize = 64 * 1024;

/// How a `PURGE` says which kind it is.
const LARDER_PURGE: HeaderName = HeaderName::from_static("larder-purge");

/// Where in the ledger a purge stands, for `Larder-Min-Position`.
const LARDER_POSITION: HeaderName = HeaderName::from_static("larder-position");

type Shared = State<Arc<dyn Control>>;

/// Query parameters, in order, since some may come more than once.
type Parameters = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// The admin API, for [`serve`].
pub fn router(control: Arc<dyn Control>, config: &Admin) -> Router {
    Router::new()
        .route(
            "/livez",
            get(|| async { json(StatusCode::OK, &serde_json::json!({ "live": true })) }),
        )
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/purge", post(purge))
        .route("/explain", get(explain))
        .route("/entry", get(entry))
        .route("/stats", get(async |control: Shared| answer(control.stats().await)))
        .route("/routes", get(async |control: Shared| answer(control.routes().await)))
        .route("/reload", post(async |control: Shared| answer(control.reload().await)))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_CONTENT))
        .layer(from_fn_with_state(Arc::new(door::Door::new(config)), door::door))
        .with_state(control)
}

async fn ready(control: Shared) -> Response {
    let readiness = control.ready().await;
    let ok = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(ok, &readiness)
}

async fn metrics(control: Shared) -> Response {
    ([(CONTENT_TYPE, OPENMETRICS)], control.metrics()).into_response()
}

async fn purge(
    control: Shared,
    headers: HeaderMap,
    content: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    // Forms of other sites cannot send this type without asking first, and we say no.
    if !is_json(&headers) {
        let wanted = "send JSON, with Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, wanted));
    }
    let content = content.map_err(|why| Problem::new(why.status(), why.body_text()))?;
    let request: Value = serde_json::from_slice(&content)
        .map_err(|why| Problem::bad_request(format!("this is not JSON: {why}")))?;
    if !request.is_object() {
        return Err(Problem::bad_request("expected an object, such as {\"tag\": \"product:7\"}"));
    }
    Ok(receipt(&control.purge(request).await?))
}

async fn explain(control: Shared, parameters: Parameters) -> Result<Response, Problem> {
    let parameters = checked(parameters, &["method", "url", "header"])?;
    let method = one(&parameters, "method")?.unwrap_or("GET");
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| Problem::bad_request(format!("{method:?} is not a method")))?;
    let url = url_of(&parameters)?;
    let mut headers = HeaderMap::new();
    for (_, field) in parameters.iter().filter(|(name, _)| name == "header") {
        let (name, value) = field_of(field)?;
        headers.append(name, value);
    }
    Ok(answer(control.explain(Question { method, url, headers }).await))
}

async fn entry(control: Shared, parameters: Parameters) -> Result<Response, Problem> {
    let parameters = checked(parameters, &["url"])?;
    Ok(answer(control.entry(url_of(&parameters)?).await))
}

async fn no_such_path(
    control: Shared,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if method.as_str() == "PURGE" {
        return purge_url(&control, &uri, &headers).await;
    }
    Err(Problem::not_found(format!("there is no {} here", uri.path())))
}

async fn no_such_method(
    control: Shared,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if method.as_str() == "PURGE" {
        return purge_url(&control, &uri, &headers).await;
    }
    let detail = format!("{} does not take {method}", uri.path());
    Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail))
}

/// `PURGE /path` reaches the path on every host: its `Host` may be the site's, as Varnish's clients
/// send it, or the name under which this listener is known, and nobody can tell which. One entry
/// too many is a miss, one too few a stale read. `PURGE http://host/path` says what it means.
async fn purge_url(control: &Shared, uri: &Uri, headers: &HeaderMap) -> Result<Response, Problem> {
    let mode = match headers.get(LARDER_PURGE) {
        Some(mode) => mode.to_str().unwrap_or_default().parse()?,
        None => Mode::default(),
    };
    let url = uri.to_string();
    Ok(receipt(&control.purge_url(url, mode).await?))
}

/// The parameters, if all of them are known: a misspelt one must not be taken for a missing one.
fn checked(given: Parameters, known: &[&str]) -> Result<Vec<(String, String)>, Problem> {
    let Query(given) = given.map_err(|why| Problem::new(why.status(), why.body_text()))?;
    match given.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => Err(Problem::bad_request(format!(
            "unknown parameter {name:?}; expected {}",
            known.join(", ")
        ))),
        None => Ok(given),
    }
}

fn one<'a>(given: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, Problem> {
    let mut found = given.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
    match (found.next(), found.next()) {
        (first, None) => Ok(first),
        _ => Err(Problem::bad_request(format!("{name} is given more than once"))),
    }
}

fn url_of(given: &[(String, String)]) -> Result<String, Problem> {
    let is_url =
        |url: &&str| ["/", "http://", "https://"].iter().any(|start| url.starts_with(start));
    one(given, "url")?.filter(is_url).map(str::to_owned).ok_or_else(|| {
        Problem::bad_request("expected url=/path?query or url=http://host/path?query")
    })
}

fn field_of(text: &str) -> Result<(HeaderName, HeaderValue), Problem> {
    let parsed = text
        .split_once(':')
        .and_then(|(name, value)| Some((name.trim().parse().ok()?, value.trim().parse().ok()?)));
    parsed.ok_or_else(|| Problem::bad_request("expected header=Name: value"))
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn receipt(receipt: &Receipt) -> Response {
    let status = if receipt.is_complete() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = json(status, receipt);
    if let Some(position) = receipt.position.as_deref().and_then(|p| HeaderValue::from_str(p).ok())
    {
        response.headers_mut().append(LARDER_POSITION, position);
    }
    response
}

fn answer(answer: Result<Value, Problem>) -> Response {
    answer.map_or_else(Problem::into_response, |value| json(StatusCode::OK, &value))
}

/// Written for eyes: this is read by people with curl more often than by programs.
fn json(status: StatusCode, value: &impl serde::Serialize) -> Response {
    match serde_json::to_string_pretty(value) {
        Ok(text) => (status, [(CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(why) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, why.to_string()).into_response()
        }
    }
}
