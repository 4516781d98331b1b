//! Who is cut for being slow, and who is not.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep};

use super::support::{Origin, PATIENCE, Proxy, Step, eventually, ok, settings, write};

const SHORT: Duration = Duration::from_millis(400);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_is_closed() {
    let origin = Origin::start(|_| ok("x")).await;
    let mut settings = settings(&[origin.address]);
    settings.limits.header_timeout = SHORT;
    let proxy = Proxy::with(settings);
    let start = Instant::now();
    assert!(proxy.connect().await.is_closed().await);
    assert!(start.elapsed() >= SHORT);
    // Between two requests it is the same.
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 200);
    assert!(client.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_drips_its_head_is_closed_all_the_same() {
    let origin = Origin::start(|_| ok("x")).await;
    let mut settings = settings(&[origin.address]);
    settings.limits.header_timeout = SHORT;
    let proxy = Proxy::with(settings);
    let mut client = proxy.connect().await;
    let start = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n").await;
    loop {
        client.send("X: y\r\n").await;
        let mut byte = [0];
        match tokio::time::timeout(SHORT / 8, client.stream.read(&mut byte)).await {
            Ok(read) => {
                assert!(!matches!(read, Ok(1..)), "it is answered");
                break;
            }
            Err(_) => assert!(start.elapsed() < PATIENCE, "still open"),
        }
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_stops_arriving_is_answered_408() {
    let origin = Origin::start(|_| ok("x")).await;
    let mut settings = settings(&[origin.address]);
    settings.limits.body_timeout = SHORT;
    let proxy = Proxy::with(settings);
    let mut client = proxy.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello").await;
    let reply = client.reply().await;
    assert_eq!(reply.status, 408, "{reply:?}");
    assert_eq!(reply.problem()["fault"], "content");
    assert!(client.is_closed().await);
    eventually("the origin's half is broken off", || origin.broken() == 1).await;
    assert_eq!(origin.received().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_drips_steadily_is_not_cut_by_anybody() {
    let origin = Origin::start(|_| ok("x")).await;
    let mut settings = settings(&[origin.address]);
    settings.limits.body_timeout = SHORT;
    // The origin's time for its answer begins when it has been sent the last piece.
    settings.origin.timeout = SHORT;
    let proxy = Proxy::with(settings);
    let mut client = proxy.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n").await;
    for _ in 0..10 {
        sleep(SHORT / 4).await;
        client.send("x").await;
    }
    assert_eq!(client.reply().await.status, 200);
    assert_eq!(origin.only().content.len(), 10);
}

/// Sends what `read` then takes in at its own pace from a small window.
async fn slow_reader(proxy: &Proxy) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let mut stream = socket.connect(proxy.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .await
        .unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_in_is_cut_and_the_origin_with_it() {
    let large = "x".repeat(64 * 1024 * 1024);
    let origin = Origin::start(move |_| ok(&large)).await;
    let mut settings = settings(&[origin.address]);
    settings.limits.write_timeout = SHORT;
    let proxy = Proxy::with(settings);
    let client = slow_reader(&proxy).await;
    eventually("the origin is asked", || origin.received().len() == 1).await;
    eventually("the exchange is given up", || proxy.admit.in_progress() == 0).await;
    eventually("the origin is left", || origin.open() == 0).await;
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_that_moves_is_not_cut() {
    let size = 16 * 1024 * 1024;
    let large = "x".repeat(size);
    let origin = Origin::start(move |_| ok(&large)).await;
    let mut settings = settings(&[origin.address]);
    settings.limits.write_timeout = SHORT;
    let proxy = Proxy::with(settings);
    let mut client = slow_reader(&proxy).await;
    let start = Instant::now();
    let (mut taken, mut piece) = (0, vec![0; 1024 * 1024]);
    while taken < size {
        // Slowly at first, so that the transfer takes longer than a pause may.
        if start.elapsed() < SHORT * 3 {
            sleep(SHORT / 8).await;
        }
        match client.read(&mut piece).await {
            Ok(n) if n > 0 => taken += n,
            other => panic!("cut after {taken} bytes: {other:?}"),
        }
    }
    assert!(start.elapsed() > SHORT * 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_stops_in_the_middle_aborts_the_transfer() {
    let origin = Origin::start(|_| {
        vec![write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello"), Step::Hang]
    })
    .await;
    let mut settings = settings(&[origin.address]);
    settings.origin.timeout = SHORT;
    let proxy = Proxy::with(settings);
    let reply = proxy.get("/").await;
    assert_eq!((reply.status, reply.whole), (200, false));
    eventually("the origin is left", || origin.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_allowed_are_told_to_come_back() {
    let origin = Origin::start(|_| vec![Step::Hang]).await;
    let mut settings = settings(&[origin.address]);
    settings.limits.max_requests = 1;
    let proxy = Proxy::with(settings);
    let mut first = proxy.connect().await;
    first.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    eventually("the first is in progress", || proxy.admit.in_progress() == 1).await;
    let reply = proxy.get("/").await;
    assert_eq!((reply.status, reply.field("retry-after")), (503, vec!["1"]));
    assert_eq!(reply.problem()["fault"], "overloaded");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_allowed_wait_for_a_seat() {
    let origin = Origin::start(|_| ok("x")).await;
    let mut settings = settings(&[origin.address]);
    settings.limits.max_connections = 1;
    let proxy = Proxy::with(settings);
    let mut seated = proxy.connect().await;
    seated.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(seated.reply().await.status, 200);
    let mut waiting = proxy.connect().await;
    waiting.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert!(tokio::time::timeout(SHORT, waiting.stream.readable()).await.is_err());
    drop(seated);
    assert_eq!(waiting.reply().await.status, 200);
}
