//! Tunnels: only when both ends want one, and only after the origin has said so.

use super::support::{Origin, Proxy, Step, eventually, ok, settings, write};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";

fn echo() -> Vec<Step> {
    vec![
        write(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: y\r\n\r\nwelcome",
        ),
        Step::Echo,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_are_joined_once_the_origin_agrees() {
    let origin = Origin::start(|_| echo()).await;
    let proxy = Proxy::start(&origin);
    let mut client = proxy.connect().await;
    // Sent early: it waits until there is a tunnel.
    client.send(format!("{ASK}early ")).await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    for field in ["connection: upgrade", "upgrade: websocket", "sec-websocket-accept: y"] {
        assert!(head.to_lowercase().contains(field), "{field} in {head}");
    }
    assert_eq!(client.some(13).await, b"welcomeearly ");
    client.send("hello").await;
    assert_eq!(client.some(5).await, b"hello");
    let seen = origin.only();
    assert_eq!(
        (seen.field("connection"), seen.field("upgrade")),
        (vec!["upgrade"], vec!["websocket"])
    );

    assert_eq!(origin.open(), 1);
    drop(client);
    eventually("the origin's side ends too", || origin.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_101_what_follows_is_the_next_request() {
    let origin = Origin::start(|r| {
        if r.line().contains("/chat") {
            vec![write("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 2\r\n\r\nno")]
        } else {
            ok("next")
        }
    })
    .await;
    let proxy = Proxy::start(&origin);
    let mut client = proxy.connect().await;
    client.send(format!("{ASK}GET /next HTTP/1.1\r\nHost: a.test\r\nX-Real-IP: 1\r\n\r\n")).await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text().as_str()), (426, "no"));
    assert_eq!(client.reply().await.text(), "next");
    let seen = origin.received();
    assert_eq!(seen.len(), 2);
    assert!(seen[1].field("x-real-ip").is_empty(), "judged like any other: {}", seen[1].head);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_is_not_tunnelled_and_not_every_asking_is_an_upgrade() {
    let origin = Origin::start(|_| ok("plain")).await;
    let proxy = Proxy::start(&origin);
    for (name, request) in [
        (
            "h2c",
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
        ),
        ("without the option", "GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\r\n"),
        (
            "in 1.0",
            "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        (
            "with content",
            "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\nx",
        ),
    ] {
        assert_eq!(proxy.tell(request).await.status, 200, "{name}");
        let received = origin.received();
        let last = received.last().unwrap();
        for field in ["upgrade", "connection", "http2-settings"] {
            assert!(last.field(field).is_empty(), "{name}: {}", last.head);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_101_unasked_or_to_something_else_is_no_answer() {
    let origin = Origin::start(|_| {
        vec![
            write(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
            ),
            Step::Echo,
        ]
    })
    .await;
    let proxy = Proxy::start(&origin);
    let unasked = proxy.get("/").await;
    assert_eq!((unasked.status, &unasked.problem()["fault"]), (502, &"origin-malformed".into()));
    let other = proxy.tell(ASK).await;
    assert_eq!((other.status, &other.problem()["fault"]), (502, &"origin-malformed".into()));
    eventually("no connection is kept", || origin.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_counts_as_a_connection_to_the_origin() {
    let origin = Origin::start(|r| if r.line().contains("/chat") { echo() } else { ok("x") }).await;
    let mut settings = settings(&[origin.address]);
    settings.origin.max_connections = 1;
    settings.origin.queue_timeout = std::time::Duration::from_millis(200);
    let proxy = Proxy::with(settings);
    let mut client = proxy.connect().await;
    client.send(ASK).await;
    assert_eq!(client.head().await.split(' ').nth(1), Some("101"));
    let reply = proxy.get("/").await;
    assert_eq!((reply.status, &reply.problem()["fault"]), (503, &"origin-busy".into()));
    drop(client);
    eventually("the tunnel is gone", || origin.open() == 0).await;
    assert_eq!(proxy.get("/").await.status, 200);
}
