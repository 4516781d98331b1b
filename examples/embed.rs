//! The cache on a service of one's own, in the same process: no second hop, no Valkey.
//!
//! ```sh
//! cargo run --example embed
//! curl -si http://127.0.0.1:3000/greetings/ada            # fwd=uri-miss, and it took its time
//! curl -si http://127.0.0.1:3000/greetings/ada            # hit
//! curl -si -X PUT http://127.0.0.1:3000/greetings/ada     # a write, and what it replaces is gone
//! curl -si -X POST http://127.0.0.1:3000/-/forget         # the program's own invalidation
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request};
use axum::response::Response;
use axum::routing::{get, post};
use http_body_util::BodyExt;
use larder::body::Body;
use larder::config::{Config, Overrides};
use larder::error::ProxyError;
use larder::layers::cache::{CacheLayer, Means};
use larder::layers::forward::ForwardLayer;
use larder::layers::rescue::RescueLayer;
use larder::ledger::name::Name;
use larder::ledger::{Cause, Mode};
use larder::store::{self, ledger::LedgerHandle};
use larder::telemetry::metrics::Metrics;
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// What `proxy.toml` says, as far as it concerns a cache. The origin's URL must be there and is
/// never asked: the service below answers.
const RULES: &str = r#"
[origin]
url = "http://in-process.invalid"

[[route]]
path = "/greetings/{name}"
soft_ttl = "10s"
hard_ttl = "1m"
tags = ["greeting:{name}"]
"#;

/// The program's own service, which knows nothing of the cache.
fn service() -> Router {
    let read = async |Path(name): Path<String>| {
        tokio::time::sleep(Duration::from_millis(500)).await;
        format!("Hello, {name}.\n")
    };
    Router::new().route("/greetings/{name}", get(read).put(async || "written\n"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (config, _) = Config::load(Some(("embed", RULES)), &Overrides::default(), &|_| None)?;
    let names: Vec<&str> =
        config.routes.iter().chain([&config.fallback]).map(|route| &*route.name).collect();
    let largest = config.routes.iter().map(|route| route.max_entry).max().unwrap_or_default();
    let store = store::open(&config.store, largest)?.store;
    let ledger = LedgerHandle::embedded(config.store.ledger_names);
    let means = Arc::new(Means::new(&config, store, ledger.clone(), Metrics::new(&names)));

    let router = service();
    let inner = service_fn(move |request: http::Request<Body>| {
        let answering = router.clone().oneshot(request);
        async move {
            let Ok(response) = answering.await;
            Ok::<_, ProxyError>(response.map(|body| Body::streaming(body.map_err(Into::into))))
        }
    });
    let cached = ServiceBuilder::new()
        // The cache's errors are values; this is where they become responses.
        .layer(RescueLayer)
        // The cache takes absolute URIs, and one request must not be understood in two ways.
        .layer(ForwardLayer::new(&config.limits))
        .layer(CacheLayer::new(means))
        .service(inner);

    let forget = async move || {
        let receipt = ledger
            .invalidate(vec![Name::Tag("greeting:ada".into())], Mode::Hard, Cause::Purge)
            .await;
        format!("forgotten at {}\n", receipt.position)
    };
    let answer = async move |request: Request| -> Response {
        let request = request.map(|body| Body::streaming(body.map_err(Into::into)));
        let Ok(response) = cached.clone().oneshot(request).await;
        response.map(axum::body::Body::new)
    };
    let app = Router::new().route("/-/forget", post(forget)).fallback(answer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await?;
    Ok(())
}
