//! HTTP/1.0 on either side: no chunks, no interim responses, connections that end.

use super::support::{Client, Origin, Proxy, Reply, Step, ok, write};

async fn asks(client: &mut Client, target: &str, fields: &str) -> Reply {
    client.send(format!("GET {target} HTTP/1.0\r\nHost: a.test\r\n{fields}\r\n")).await;
    client.reply().await
}

const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_ends_with_the_answer_unless_it_is_asked_to_stay() {
    let origin = Origin::start(|_| ok("x")).await;
    let proxy = Proxy::start(&origin);
    let mut client = proxy.connect().await;
    let reply = asks(&mut client, "/", "").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "x"));
    assert!(reply.head.starts_with("HTTP/1.0 200 "), "{}", reply.head);
    assert!(client.is_closed().await);

    let mut client = proxy.connect().await;
    for _ in 0..3 {
        let reply = asks(&mut client, "/", "Connection: keep-alive\r\n").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "x"));
        // RFC 9112 §9.3: to a client of HTTP/1.0 it has to be said.
        assert_eq!(reply.field("connection"), ["keep-alive"]);
    }
    asks(&mut client, "/", "").await;
    assert!(client.is_closed().await);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_the_origin_become_content_that_ends_with_the_connection() {
    let origin = Origin::start(|_| vec![write(CHUNKED)]).await;
    let proxy = Proxy::start(&origin);
    for fields in ["", "Connection: keep-alive\r\n"] {
        let mut client = proxy.connect().await;
        let reply = asks(&mut client, "/", fields).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"), "{fields:?}");
        assert!(reply.field("transfer-encoding").is_empty(), "{}", reply.head);
        // RFC 9112 §6.3: whose content has no length must not promise that the connection stays.
        assert_ne!(reply.field("connection"), ["keep-alive"], "{}", reply.head);
        assert!(client.is_closed().await, "{fields:?}");
    }
}

/// RFC 9110 §10.1.1: "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST
/// ignore that expectation."
#[tokio::test(flavor = "multi_thread")]
async fn an_expectation_is_ignored() {
    let origin = Origin::start(|_| ok("stored")).await;
    let proxy = Proxy::start(&origin);
    let mut client = proxy.connect().await;
    client
        .send(
            "PUT / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
        )
        .await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "stored"), "{reply:?}");
    let seen = origin.only();
    assert_eq!(seen.content, b"hello");
    assert!(seen.field("expect").is_empty());
    assert!(seen.line().ends_with(" HTTP/1.1"), "an intermediary speaks its own version");
    assert!(seen.field("via")[0].starts_with("1.0 larder-"), "{}", seen.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_of_1_0_is_understood_and_its_connection_kept_only_if_it_says_so() {
    let origin = Origin::start(|r| {
        let answer = |fields: &str| write(format!("HTTP/1.0 200 OK\r\n{fields}\r\nhello"));
        match r.line().split(' ').nth(1).unwrap() {
            "/until-closed" => vec![answer(""), Step::Close],
            "/close" => vec![answer("Content-Length: 5\r\nConnection: close\r\n"), Step::Close],
            "/kept" => vec![answer("Content-Length: 5\r\nConnection: keep-alive\r\n")],
            // The connection is not used again, though the origin leaves it open.
            _ => vec![answer("Content-Length: 5\r\n")],
        }
    })
    .await;
    let proxy = Proxy::start(&origin);
    let mut client = proxy.connect().await;
    for (path, connections) in
        [("/until-closed", 1), ("/close", 2), ("/length", 3), ("/kept", 4), ("/kept", 4)]
    {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        let reply = client.reply().await;
        assert_eq!(reply.status, 200, "{path}");
        assert!(reply.head.starts_with("HTTP/1.1 200 "), "{}", reply.head);
        assert!(reply.text().contains("hello") && reply.whole, "{path}: {reply:?}");
        // RFC 9110 §6.6.1: a recipient with a clock adds it.
        assert_eq!(reply.field("date").len(), 1, "{path}");
        assert!(reply.field("connection").is_empty(), "{path}: {}", reply.head);
        assert_eq!(origin.connections(), connections, "{path}");
    }
}
