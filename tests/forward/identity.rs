//! What the layers below see: the URI that is keyed, and the marks that forbid storing.

use std::net::SocketAddr;

use http::{Request, Response, Uri, Version};
use larder::body::Body;
use larder::config::template::Network;
use larder::error::{ClientFault, ProxyError};
use larder::layers::forward::ForwardLayer;
use larder::origin;
use larder::peer::{ClientAddr, CloseDelimited, LocalAddr, WithContent};
use tower::{Layer, ServiceExt, service_fn};

use super::support::{Origin, Step, ok, settings, write};

/// What `request`, received on port 8080, is below the layer.
async fn below(mut request: Request<Body>) -> Result<(Uri, bool), ProxyError> {
    let mut limits = settings(&[]).limits;
    limits.trusted_proxies = vec![Network { address: "10.0.0.0".parse().unwrap(), bits: 8 }];
    let client: SocketAddr = match request.headers().contains_key("x-forwarded-proto") {
        true => "10.1.2.3:999".parse().unwrap(),
        false => "192.0.2.1:999".parse().unwrap(),
    };
    request.extensions_mut().insert(ClientAddr(client));
    request.extensions_mut().insert(LocalAddr("192.0.2.9:8080".parse().unwrap()));
    let (seen, mut saw) = tokio::sync::mpsc::channel(1);
    let inner = service_fn(move |request: Request<Body>| {
        let seen = seen.clone();
        async move {
            let with_content = request.extensions().get::<WithContent>().is_some();
            let _ = seen.send((request.uri().clone(), with_content)).await;
            Ok::<_, ProxyError>(Response::new(Body::empty()))
        }
    });
    ForwardLayer::new(&limits).layer(inner).oneshot(request).await?;
    Ok(saw.recv().await.unwrap())
}

fn get(target: &str) -> http::request::Builder {
    Request::get(target)
}

#[tokio::test]
async fn one_resource_has_one_uri() {
    for (request, expected) in [
        (get("/x?b=2&a=1").header("host", "A.test"), "http://a.test/x?b=2&a=1"),
        (get("/x").header("host", "a.test."), "http://a.test/x"),
        (get("/x").header("host", "a.test:80"), "http://a.test/x"),
        (get("/x").header("host", "a.test:8080"), "http://a.test/x"),
        (get("/x").header("host", "a.test:8081"), "http://a.test:8081/x"),
        (get("http://a.test").header("host", "b.test"), "http://a.test/"),
        (get("http://a.test?q").header("host", "b.test"), "http://a.test/?q"),
        (get("https://a.test/x").header("host", "b.test"), "http://a.test/x"),
        (get("http://a.test:8080/x").version(Version::HTTP_2), "http://a.test/x"),
        (get("https://a.test/x").version(Version::HTTP_2), "http://a.test/x"),
        (get("/x").version(Version::HTTP_10), "http://192.0.2.9/x"),
        (
            get("/x").header("host", "a.test").header("x-forwarded-proto", "https"),
            "https://a.test/x",
        ),
        (
            get("/x").header("host", "a.test:443").header("x-forwarded-proto", "http, HTTPS"),
            "https://a.test/x",
        ),
        (
            get("/x").header("host", "a.test").header("x-forwarded-proto", "https, http"),
            "http://a.test/x",
        ),
    ] {
        let request = request.body(Body::empty()).unwrap();
        let shown = format!("{request:?}");
        let (uri, _) = below(request).await.unwrap();
        assert_eq!(uri.to_string(), expected, "{shown}");
        assert!(uri.path().starts_with('/'), "{shown}");
    }
}

#[tokio::test]
async fn content_of_a_get_is_marked() {
    for (request, content, marked) in [
        (Request::get("/"), Body::empty(), false),
        (Request::get("/"), Body::full("x"), true),
        (Request::head("/"), Body::full("x"), true),
        (Request::post("/"), Body::full("x"), false),
    ] {
        let request = request.header("host", "a.test").body(content).unwrap();
        let shown = format!("{request:?}");
        assert_eq!(below(request).await.unwrap().1, marked, "{shown}");
    }
}

#[tokio::test]
async fn a_connection_field_has_no_place_in_http_2() {
    let request = get("http://a.test/").version(Version::HTTP_2).header("connection", "close");
    let refused = below(request.body(Body::empty()).unwrap()).await.unwrap_err();
    assert!(matches!(refused, ProxyError::Client(ClientFault::Malformed(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_ends_with_its_connection_is_marked() {
    for (answer, marked) in [
        (vec![write("HTTP/1.1 200 OK\r\n\r\nx"), Step::Close], true),
        (vec![write("HTTP/1.0 200 OK\r\n\r\nx"), Step::Close], true),
        (vec![write("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx"), Step::Close], false),
        (ok("x"), false),
        (vec![write("HTTP/1.1 204 No Content\r\n\r\n")], false),
        (vec![write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")], false),
    ] {
        let answer = std::sync::Mutex::new(Some(answer));
        let server = Origin::start(move |_| answer.lock().unwrap().take().unwrap()).await;
        let origin = origin::Origin::new(&settings(&[server.address]).origin).unwrap();
        let request = get("http://a.test/").header("host", "a.test").body(Body::empty()).unwrap();
        let response = origin.oneshot(request).await.unwrap();
        let is_marked = response.extensions().get::<CloseDelimited>().is_some();
        assert_eq!(is_marked, marked, "{response:?}");
        assert!(response.headers().contains_key("date"));
        assert!(!response.headers().contains_key("transfer-encoding"));
    }
}
