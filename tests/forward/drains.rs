//! Shutting down.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::support::{Origin, Proxy, Step, eventually, ok, settings, write};

/// A response whose second half waits for a sign.
fn halves(go: &Arc<Notify>) -> Vec<Step> {
    vec![
        write("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf"),
        Step::Wait(Arc::clone(go)),
        write("half"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_finishes_and_nothing_new_is_taken() {
    let go = Arc::new(Notify::new());
    let sign = Arc::clone(&go);
    let origin = Origin::start(move |_| halves(&sign)).await;
    let mut proxy = Proxy::start(&origin);
    let address = proxy.address;
    let mut idle = proxy.connect().await;
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");

    proxy.stop();
    assert!(idle.is_closed().await, "who has asked nothing is let go at once");
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(5), refused).await.is_ok(), "still listening");
    go.notify_one();
    assert_eq!(client.rest().await, b"halfhalf", "whole, and then closed");
    let report = proxy.stopped().await;
    assert_eq!(report.cut, 0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_is_told_to_close_with_its_last_response() {
    let go = Arc::new(Notify::new());
    let sign = Arc::clone(&go);
    let origin = Origin::start(move |_| {
        let mut steps = vec![Step::Wait(Arc::clone(&sign))];
        steps.extend(ok("x"));
        steps
    })
    .await;
    let mut proxy = Proxy::start(&origin);
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    eventually("it is in flight", || origin.received().len() == 1).await;
    proxy.stop();
    // The sign comes once the drain has begun: the listener is gone.
    while TcpStream::connect(proxy.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    go.notify_one();
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.field("connection")), (200, vec!["close"]), "{reply:?}");
    assert!(client.is_closed().await);
    assert_eq!(proxy.stopped().await.cut, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_at_the_deadline_is_cut_and_counted() {
    let origin = Origin::start(|r| match r.line().contains("/chat") {
        true => vec![
            write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
            Step::Echo,
        ],
        false => vec![Step::Hang],
    })
    .await;
    let mut settings = settings(&[origin.address]);
    settings.limits.drain_timeout = Duration::from_millis(300);
    let mut proxy = Proxy::with(settings);
    let mut stuck = proxy.connect().await;
    stuck.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let mut tunnel = proxy.connect().await;
    tunnel
        .send("GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        .await;
    assert!(tunnel.head().await.starts_with("HTTP/1.1 101"));
    eventually("both are in flight", || origin.received().len() == 2).await;
    proxy.stop();
    tunnel.send("hello").await;
    assert_eq!(tunnel.some(5).await, b"hello", "it goes on until the deadline");
    let report = proxy.stopped().await;
    assert_eq!(report.cut, 2, "{report:?}");
    assert!(report.took >= Duration::from_millis(300), "{report:?}");
    assert!(stuck.is_closed().await);
    assert!(tunnel.is_closed().await);
}
