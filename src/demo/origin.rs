//! The demo's origin: a product API as they are, with validators, without `Cache-Control` (how
//! long a product may be kept is for the routes of the proxy to say), and slow.
//!
//! | request | answer |
//! |---|---|
//! | `GET /products`, `GET /search?q=` | `{"items": […], "total": n}` |
//! | `GET /products/{id}` | the product |
//! | `POST /products` | 201 and `Location` |
//! | `PUT`, `PATCH`, `DELETE /products/{id}` | the product, or 204 |
//! | `GET /slow` | five times as slow |
//! | `GET /account/me` | `Cache-Control: private` |
//! | `GET /_origin/stats` | what this origin was asked; not counted itself |
//!
//! A read looks first and takes its time afterwards, as slow APIs do: what it sends may have been
//! replaced meanwhile. That is the race that the ledger is there for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::catalogue::{Catalogue, Change, Draft, Product};

/// The demo's origin, taking `delay` for every read.
pub fn origin(delay: Duration) -> Router {
    let shop = Arc::new(Shop { delay, catalogue: Mutex::default(), asked: Mutex::default() });
    Router::new()
        .route("/products", get(list).post(create))
        .route("/products/{id}", get(item).put(replace).patch(change).delete(remove))
        .route("/search", get(search))
        .route("/slow", get(slow))
        .route("/account/me", get(account))
        .layer(from_fn_with_state(Arc::clone(&shop), count))
        .route("/_origin/stats", get(stats))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "there is nothing here") })
        .with_state(shop)
}

struct Shop {
    delay: Duration,
    catalogue: Mutex<Catalogue>,
    asked: Mutex<Asked>,
}

/// What the origin was asked.
#[derive(Default)]
struct Asked {
    requests: u64,
    not_modified: u64,
    by: BTreeMap<String, u64>,
}

impl Shop {
    fn catalogue(&self) -> MutexGuard<'_, Catalogue> {
        self.catalogue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Shared = State<Arc<Shop>>;

async fn count(State(shop): Shared, request: Request, next: Next) -> Response {
    let asked = format!("{} {}", request.method(), shape(request.uri().path()));
    let path = request.uri().path().to_owned();
    let number = {
        let mut all = shop.asked();
        all.requests += 1;
        *all.by.entry(asked.clone()).or_default() += 1;
        all.requests
    };
    let response = next.run(request).await;
    let status = response.status();
    if status == StatusCode::NOT_MODIFIED {
        shop.asked().not_modified += 1;
    }
    tracing::info!(target: "larder::demo", number, %asked, %path, status = status.as_u16(), "the origin was asked");
    response
}

/// The path without what differs from product to product.
fn shape(path: &str) -> &str {
    if path.starts_with("/products/") { "/products/{id}" } else { path }
}

async fn stats(State(shop): Shared) -> Response {
    let asked = shop.asked();
    let text = json!({
        "requests": asked.requests,
        "not_modified": asked.not_modified,
        "by": asked.by,
    });
    ([(CACHE_CONTROL, "no-store")], Json(text)).into_response()
}

async fn list(State(shop): Shared, headers: HeaderMap) -> Response {
    let items = shop.catalogue().all();
    shop.take_time(1).await;
    read(&headers, &items_of(&items))
}

async fn search(
    State(shop): Shared,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let items = shop.catalogue().find(query.get("q").map_or("", String::as_str));
    shop.take_time(1).await;
    read(&headers, &items_of(&items))
}

async fn item(State(shop): Shared, uri: Uri, headers: HeaderMap) -> Response {
    let product = id_of(&uri).and_then(|id| shop.catalogue().get(id));
    shop.take_time(1).await;
    product.map_or_else(no_such_product, |product| read(&headers, &json!(product)))
}

async fn slow(State(shop): Shared, headers: HeaderMap) -> Response {
    shop.take_time(5).await;
    read(&headers, &json!({ "slow": true }))
}

async fn account() -> Response {
    ([(CACHE_CONTROL, "private")], Json(json!({ "name": "Ada", "basket": [7, 3] }))).into_response()
}

async fn create(
    State(shop): Shared,
    draft: Result<Json<Draft>, JsonRejection>,
) -> Result<Response, Response> {
    let Json(draft) = draft.map_err(bad_content)?;
    let product = shop.catalogue().add(draft);
    let full = || problem(StatusCode::INSUFFICIENT_STORAGE, "the shop is full");
    let product = product.ok_or_else(full)?;
    Ok((StatusCode::CREATED, [(LOCATION, product.path())], Json(product)).into_response())
}

async fn replace(
    State(shop): Shared,
    Path(id): Path<String>,
    draft: Result<Json<Draft>, JsonRejection>,
) -> Result<Response, Response> {
    let Json(draft) = draft.map_err(bad_content)?;
    Ok(written(id.parse().ok().and_then(|id| shop.catalogue().replace(id, draft))))
}

async fn change(
    State(shop): Shared,
    Path(id): Path<String>,
    change: Result<Json<Change>, JsonRejection>,
) -> Result<Response, Response> {
    let Json(change) = change.map_err(bad_content)?;
    Ok(written(id.parse().ok().and_then(|id| shop.catalogue().change(id, change))))
}

async fn remove(State(shop): Shared, Path(id): Path<String>) -> Response {
    match id.parse() {
        Ok(id) if shop.catalogue().remove(id) => StatusCode::NO_CONTENT.into_response(),
        _ => no_such_product(),
    }
}

impl Shop {
    async fn take_time(&self, times: u32) {
        tokio::time::sleep(self.delay * times).await;
    }
}

fn written(product: Option<Product>) -> Response {
    product.map_or_else(no_such_product, |product| Json(product).into_response())
}

fn items_of(items: &[Product]) -> Value {
    json!({ "items": items, "total": items.len() })
}

fn id_of(uri: &Uri) -> Option<u64> {
    uri.path().strip_prefix("/products/")?.parse().ok()
}

/// A representation with its validator, or 304 if the client has it.
fn read(request: &HeaderMap, content: &Value) -> Response {
    let content = content.to_string();
    let digest = blake3::hash(content.as_bytes()).to_hex();
    let tag = format!("\"{}\"", &digest[..16]);
    let Ok(etag) = HeaderValue::from_str(&tag) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    // RFC 9110 §13.1.2: the weak comparison, and every line of the field.
    let same = request.get_all(IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok()).any(|line| {
        line.split(',').map(str::trim).any(|t| t == "*" || t.trim_start_matches("W/") == tag)
    });
    if same {
        return (StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response();
    }
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json), (ETAG, etag)], content).into_response()
}

fn no_such_product() -> Response {
    problem(StatusCode::NOT_FOUND, "there is no such product")
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn bad_content(why: JsonRejection) -> Response {
    problem(why.status(), &why.body_text())
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let text = json!({ "status": status.as_u16(), "detail": detail }).to_string();
    (status, [(CONTENT_TYPE, "application/problem+json")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Method;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    struct Client(Router);

    impl Client {
        fn new() -> Self {
            Self(origin(Duration::ZERO))
        }

        async fn ask(&self, method: Method, path: &str, content: &str) -> (Response, Value) {
            self.ask_with(method, path, content, &[]).await
        }

        async fn ask_with(
            &self,
            method: Method,
            path: &str,
            content: &str,
            fields: &[(&str, &str)],
        ) -> (Response, Value) {
            let mut request = http::Request::builder().method(method).uri(path);
            if !content.is_empty() {
                request = request.header(CONTENT_TYPE, "application/json");
            }
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let request = request.body(Body::from(content.to_owned())).unwrap();
            let (head, body) = self.0.clone().oneshot(request).await.unwrap().into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            (Response::from_parts(head, Body::from(bytes)), json)
        }
    }

    #[tokio::test]
    async fn the_shop_opens_with_ten_products_and_leaves_caching_to_the_routes() {
        let (response, list) = Client::new().ask(Method::GET, "/products", "").await;
        assert_eq!(response.headers().get(CACHE_CONTROL), None);
        assert_eq!(list["total"], 10);
        assert_eq!(list["items"][6]["name"], "Tea pot");
    }

    #[tokio::test]
    async fn a_product_can_be_made_changed_replaced_and_removed() {
        let shop = Client::new();
        let draft = r#"{"name": "Lamp", "price": 20}"#;
        let (made, lamp) = shop.ask(Method::POST, "/products", draft).await;
        assert_eq!(made.status(), StatusCode::CREATED);
        assert_eq!(made.headers()[LOCATION], "/products/11");
        assert_eq!(lamp["id"], 11);
        let (_, lamp) = shop.ask(Method::PATCH, "/products/11", r#"{"price": 21.5}"#).await;
        assert_eq!((lamp["name"].as_str(), lamp["price"].as_f64()), (Some("Lamp"), Some(21.5)));
        let (_, lamp) = shop.ask(Method::PUT, "/products/11", r#"{"name": "L", "price": 1}"#).await;
        assert_eq!(lamp["name"], "L");
        let (gone, _) = shop.ask(Method::DELETE, "/products/11", "").await;
        assert_eq!(gone.status(), StatusCode::NO_CONTENT);
        let (gone, _) = shop.ask(Method::GET, "/products/11", "").await;
        assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn who_has_it_already_gets_a_304_until_it_changes() {
        let shop = Client::new();
        let (response, _) = shop.ask(Method::GET, "/products/7", "").await;
        let tag = response.headers()[ETAG].to_str().unwrap().to_owned();
        for same in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let fields = [("if-none-match", same.as_str())];
            let (response, _) = shop.ask_with(Method::GET, "/products/7", "", &fields).await;
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{same}");
            assert_eq!(response.headers()[ETAG], tag.as_str());
        }
        shop.ask(Method::PATCH, "/products/7", r#"{"price": 1}"#).await;
        let fields = [("if-none-match", tag.as_str())];
        let (response, product) = shop.ask_with(Method::GET, "/products/7", "", &fields).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(product["price"], 1.0);
    }

    #[tokio::test]
    async fn search_looks_at_names_and_categories() {
        let (_, found) = Client::new().ask(Method::GET, "/search?q=TEA", "").await;
        assert_eq!(found["total"], 3);
    }

    #[tokio::test]
    async fn what_it_was_asked_is_counted_and_asking_for_that_is_not() {
        let shop = Client::new();
        for path in ["/products/1", "/products/2", "/search?q=a", "/account/me"] {
            shop.ask(Method::GET, path, "").await;
        }
        shop.ask(Method::GET, "/_origin/stats", "").await;
        let (_, stats) = shop.ask(Method::GET, "/_origin/stats", "").await;
        assert_eq!(stats["requests"], 4);
        assert_eq!(stats["by"]["GET /products/{id}"], 2);
    }

    #[tokio::test]
    async fn an_account_is_private() {
        let (response, _) = Client::new().ask(Method::GET, "/account/me", "").await;
        assert_eq!(response.headers()[CACHE_CONTROL], "private");
    }

    #[tokio::test]
    async fn nonsense_is_refused_in_json() {
        let shop = Client::new();
        for (method, path, content, status) in [
            (Method::POST, "/products", "{", StatusCode::BAD_REQUEST),
            (Method::POST, "/products", "{}", StatusCode::UNPROCESSABLE_ENTITY),
            (Method::PATCH, "/products/7", r#"{"id": 8}"#, StatusCode::UNPROCESSABLE_ENTITY),
            (Method::PATCH, "/products/x", r#"{"price": 8}"#, StatusCode::NOT_FOUND),
            (Method::GET, "/products/x", "", StatusCode::NOT_FOUND),
            (Method::GET, "/elsewhere", "", StatusCode::NOT_FOUND),
        ] {
            let (response, problem) = shop.ask(method, path, content).await;
            assert_eq!(response.status(), status, "{path} {content}");
            assert_eq!(problem["status"], status.as_u16(), "{path} {content}");
        }
    }

    #[tokio::test]
    async fn a_slow_read_answers_with_what_it_saw_when_it_began() {
        let shop = Arc::new(Client(origin(Duration::from_millis(100))));
        let reader = Arc::clone(&shop);
        let read = tokio::spawn(async move { reader.ask(Method::GET, "/products/7", "").await.1 });
        while shop.ask(Method::GET, "/_origin/stats", "").await.1["requests"] == 0 {
            tokio::task::yield_now().await;
        }
        shop.ask(Method::PATCH, "/products/7", r#"{"price": 1}"#).await;
        assert_eq!(read.await.unwrap()["price"], 34.0);
    }
}
