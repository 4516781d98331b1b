//! Connections to the origin.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::support::{Origin, Proxy, Step, eventually, ok, settings, write};

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_one_request_after_another() {
    let origin = Origin::start(|_| ok("x")).await;
    let proxy = Proxy::start(&origin);
    for _ in 0..20 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    assert_eq!(origin.received().len(), 20);
    assert!(origin.connections() <= 2, "{}", origin.connections());
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_never_more_connections_than_allowed() {
    let origin = Origin::start(|_| ok("x")).await;
    let mut settings = settings(&[origin.address]);
    settings.origin.max_connections = 3;
    let proxy = Arc::new(Proxy::with(settings));
    let asking = (0..60).map(|_| {
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move { proxy.get("/").await.status })
    });
    for status in asking.collect::<Vec<_>>() {
        assert_eq!(status.await.unwrap(), 200);
    }
    assert!(origin.most_open() <= 3, "{}", origin.most_open());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_too_long_for_a_connection_is_told_to_come_back() {
    let go = Arc::new(Notify::new());
    let wait = Arc::clone(&go);
    let origin = Origin::start(move |r| match r.line().contains("/slow") {
        // The head is there, the content is not: the connection is still in use.
        true => vec![
            write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsl"),
            Step::Wait(Arc::clone(&wait)),
            write("ow"),
        ],
        false => ok("x"),
    })
    .await;
    let mut settings = settings(&[origin.address]);
    settings.origin.max_connections = 1;
    settings.origin.queue_timeout = Duration::from_millis(200);
    let proxy = Proxy::with(settings);
    let mut slow = proxy.connect().await;
    slow.send("GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    eventually("the slow one is in progress", || origin.received().len() == 1).await;
    let reply = proxy.get("/").await;
    assert_eq!((reply.status, reply.field("retry-after")), (503, vec!["1"]));
    assert_eq!(reply.problem()["fault"], "origin-busy");
    go.notify_one();
    assert_eq!(slow.reply().await.text(), "slow");
    assert_eq!(proxy.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_asked_in_turn_and_one_that_is_down_is_passed_over() {
    let one = Origin::start(|_| ok("one")).await;
    let two = Origin::start(|_| ok("two")).await;
    let down = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let proxy = Proxy::with(settings(&[one.address, down, two.address]));
    for i in 0..12 {
        // Content that was lent to a connection that could not be opened is lent again.
        let post = format!("POST /{i} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(proxy.tell(post).await.status, 200);
    }
    let all = [one.received(), two.received()].concat();
    assert_eq!(all.len(), 12);
    assert!(all.iter().all(|r| r.content == b"hello"));
    assert!(one.received().len() >= 3 && two.received().len() >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_the_origin_closed_meanwhile_costs_nobody_an_error() {
    let origin = Origin::start(|_| {
        let mut steps = ok("x");
        steps.push(Step::Close);
        steps
    })
    .await;
    let proxy = Proxy::start(&origin);
    for _ in 0..50 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
}

#[test]
fn an_origin_behind_tls_is_refused_with_a_sentence() {
    let mut settings = settings(&["127.0.0.1:443".parse().unwrap()]);
    settings.origin.urls[0].tls = true;
    let error = larder::origin::Origin::new(&settings.origin).unwrap_err();
    assert!(error.contains("https://127.0.0.1:443") && error.contains("TLS"), "{error}");
}
