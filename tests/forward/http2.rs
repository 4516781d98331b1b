//! HTTP/2 by prior knowledge.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Origin, PATIENCE, Proxy, eventually, ok, settings, write};

async fn connect(proxy: &Proxy) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Response<Incoming> {
    sender.ready().await.unwrap();
    tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap()
}

fn get(uri: &str) -> http::request::Builder {
    Request::get(uri)
}

fn empty() -> Full<Bytes> {
    Full::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_come_through_on_one_connection() {
    let origin = Origin::start(|r| ok(r.line())).await;
    let proxy = Proxy::start(&origin);
    let mut client = connect(&proxy).await;
    let answers = (0..20).map(|i| {
        let mut client = client.clone();
        tokio::spawn(async move {
            let request = get(&format!("http://A.test/{i}")).body(empty()).unwrap();
            let response = send(&mut client, request).await;
            assert_eq!(response.status(), 200);
            let text = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(text, format!("GET /{i} HTTP/1.1"));
        })
    });
    for answer in answers.collect::<Vec<_>>() {
        answer.await.unwrap();
    }
    let seen = origin.received();
    assert_eq!(seen.len(), 20);
    assert!(seen.iter().all(|r| r.field("host") == ["a.test"]));
    assert!(seen.iter().all(|r| r.field("via")[0].starts_with("2 larder-")), "{seen:?}");

    let post = Request::post("http://a.test/").body(Full::from("hello")).unwrap();
    assert_eq!(send(&mut client, post).await.status(), 200);
    assert_eq!(origin.received().last().unwrap().content, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_differs_from_the_authority_is_refused() {
    let origin = Origin::start(|_| ok("x")).await;
    let proxy = Proxy::start(&origin);
    let mut client = connect(&proxy).await;
    let request = get("http://a.test/").header("host", "b.test").body(empty()).unwrap();
    let response = send(&mut client, request).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(!response.headers().contains_key("connection"));
    assert_eq!(origin.connections(), 0);

    let request = get("http://a.test/").header("host", "a.test").body(empty()).unwrap();
    assert_eq!(send(&mut client, request).await.status(), 200, "the connection goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_the_same_as_in_http_1() {
    let origin = Origin::start(|_| ok("x")).await;
    let proxy = Proxy::start(&origin);
    let mut client = connect(&proxy).await;
    for (name, request, status) in [
        ("trace", Request::builder().method("TRACE").uri("http://a.test/"), 405),
        ("purge", Request::builder().method("PURGE").uri("http://a.test/"), 405),
        ("long target", get(&format!("http://a.test/{}", "a".repeat(9000))), 414),
        ("large fields", get("http://a.test/").header("x", "y".repeat(33 * 1024)), 431),
        ("many fields", (0..101).fold(get("http://a.test/"), |r, _| r.header("x", "y")), 431),
        ("expectation", get("http://a.test/").header("expect", "x"), 417),
        ("bad host", get("http://a..test/"), 400),
    ] {
        let response = send(&mut client, request.body(empty()).unwrap()).await;
        assert_eq!(response.status(), status, "{name}");
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_are_joined_on_one_line() {
    let origin = Origin::start(|_| ok("x")).await;
    let proxy = Proxy::start(&origin);
    let mut client = connect(&proxy).await;
    let request = get("http://a.test/").header("cookie", "a=1").header("cookie", "b=2");
    send(&mut client, request.body(empty()).unwrap()).await;
    assert_eq!(origin.only().field("cookie"), ["a=1; b=2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheme_that_the_client_made_up_is_not_believed() {
    let origin = Origin::start(|_| ok("x")).await;
    let proxy = Proxy::start(&origin);
    let mut client = connect(&proxy).await;
    let request = get("https://a.test/").body(empty()).unwrap();
    assert_eq!(send(&mut client, request).await.status(), 200);
    assert_eq!(origin.only().field("x-forwarded-proto"), ["http"]);
}

/// RFC 9110 §15.2 wants them forwarded; hyper's server cannot send them on a stream. What is lost
/// are the interim responses, and nothing but them.
#[tokio::test(flavor = "multi_thread")]
async fn interim_responses_are_left_out_and_the_answer_is_intact() {
    let origin = Origin::start(|_| {
        vec![
            write("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(3)),
            write("HTTP/1.1 999 Custom\r\nContent-Length: 1\r\n\r\nx"),
        ]
    })
    .await;
    let proxy = Proxy::start(&origin);
    let mut client = connect(&proxy).await;
    for _ in 0..3 {
        let response = send(&mut client, get("http://a.test/").body(empty()).unwrap()).await;
        assert_eq!(response.status(), 999);
        assert!(!response.headers().contains_key("link"));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "x");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_a_response_arrive_and_those_of_a_request_do_not() {
    let origin = Origin::start(|_| {
        vec![write(
            "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\nX-Sum: 42\r\nSet-Cookie: a=b\r\n\r\n",
        )]
    })
    .await;
    let proxy = Proxy::start(&origin);
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (mut client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let trailers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("x-forwarded-for"),
        http::HeaderValue::from_static("192.0.2.1"),
    )]);
    let trailers = std::future::ready(Some(Ok(trailers)));
    let content = Full::new(Bytes::from("sent")).with_trailers(trailers);
    let request = Request::post("http://a.test/").header("te", "trailers").body(content).unwrap();
    let response = client.send_request(request).await.unwrap();
    let content = response.into_body().collect().await.unwrap();
    let trailers = content.trailers().unwrap();
    assert_eq!((trailers.len(), &trailers["x-sum"]), (1, &"42".parse().unwrap()));
    assert_eq!(content.to_bytes(), "hello");
    let seen = origin.only();
    assert_eq!(seen.content, b"sent");
    assert_eq!(seen.field("x-forwarded-for"), ["127.0.0.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preface_that_stops_half_way_is_cut() {
    let origin = Origin::start(|_| ok("x")).await;
    let mut settings = settings(&[origin.address]);
    settings.limits.header_timeout = Duration::from_millis(300);
    let proxy = Proxy::with(settings);
    for half in ["", "PRI", "PRI * HTTP/2.0\r\n\r\nSM\r\n"] {
        let mut client = proxy.connect().await;
        client.send(half).await;
        assert!(client.is_closed().await, "{half:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_requests_is_told_to_go() {
    let origin = Origin::start(|_| ok("x")).await;
    let mut settings = settings(&[origin.address]);
    settings.limits.header_timeout = Duration::from_millis(300);
    let proxy = Proxy::with(settings);
    // One that says hello and no more, and one that has had its request.
    let mut silent = TcpStream::connect(proxy.address).await.unwrap();
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut client = connect(&proxy).await;
    assert_eq!(send(&mut client, get("http://a.test/").body(empty()).unwrap()).await.status(), 200);

    let mut bin = Vec::new();
    let read = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut bin));
    assert!(read.await.is_ok(), "still open");
    eventually("the other one is closed too", || client.is_closed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_window_stays_shut_is_reset_and_the_others_go_on() {
    let large = "x".repeat(4 * 1024 * 1024);
    let origin =
        Origin::start(move |r| ok(if r.line().contains("/large") { &large } else { "x" })).await;
    let mut settings = settings(&[origin.address]);
    settings.limits.write_timeout = Duration::from_millis(500);
    let proxy = Proxy::with(settings);
    let mut client = connect(&proxy).await;
    let request = get("http://a.test/large").body(empty()).unwrap();
    let stuck = send(&mut client, request).await;
    assert_eq!(proxy.admit.in_progress(), 1);

    eventually("the place it held is free", || proxy.admit.in_progress() == 0).await;
    assert!(stuck.into_body().collect().await.is_err(), "the transfer is aborted");
    let request = get("http://a.test/small").body(empty()).unwrap();
    assert_eq!(send(&mut client, request).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_response_arrives_whole() {
    let large: String = ('a'..='z').cycle().take(3 * 1024 * 1024 + 17).collect();
    let expected = large.clone();
    let origin = Origin::start(move |_| ok(&large)).await;
    let proxy = Proxy::start(&origin);
    let mut client = connect(&proxy).await;
    let response = send(&mut client, get("http://a.test/").body(empty()).unwrap()).await;
    let content = response.into_body().collect().await.unwrap().to_bytes();
    assert!(content == expected, "{} of {} bytes", content.len(), expected.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_off_response_is_a_reset_stream() {
    let origin = Origin::start(|_| {
        vec![
            write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello"),
            super::support::Step::Close,
        ]
    })
    .await;
    let proxy = Proxy::start(&origin);
    let mut client = connect(&proxy).await;
    for _ in 0..20 {
        client.ready().await.unwrap();
        let asked = client.send_request(get("http://a.test/").body(empty()).unwrap());
        // A reset takes along what has not left yet, be it the head.
        if let Ok(response) = tokio::time::timeout(PATIENCE, asked).await.expect("in time") {
            assert_eq!(response.status(), 200);
            assert!(response.into_body().collect().await.is_err());
        }
        assert!(!client.is_closed(), "only the stream is reset");
    }
}
