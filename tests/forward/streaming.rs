//! Content on its way: as it arrives, with its trailers, and never shorter than it says.

use std::sync::Arc;
use tokio::sync::Notify;

use super::support::{Origin, Proxy, Step, eventually, ok, write};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_arrives_before_the_response_ends() {
    let more = Arc::new(Notify::new());
    let wait = Arc::clone(&more);
    let origin = Origin::start(move |_| {
        vec![
            write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"),
            write("8\r\ndata: 1\n\r\n"),
            Step::Wait(Arc::clone(&wait)),
            write("8\r\ndata: 2\n\r\n0\r\n\r\n"),
        ]
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let mut client = proxy.connect().await;
    client.send("GET /events HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(client.some(13).await, b"8\r\ndata: 1\n\r\n");
    more.notify_one();
    assert_eq!(client.some(18).await, b"8\r\ndata: 2\n\r\n0\r\n\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_to_who_takes_them() {
    let origin = Origin::start(|_| {
        vec![write(
            "HTTP/1.1 200 OK\r\nTrailer: X-Checksum, Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\nX-Checksum: 42\r\nSet-Cookie: a=b\r\nContent-Length: 7\r\n\r\n",
        )]
    })
    .await;
    let proxy = Proxy::start(&origin).await;
    let reply = proxy
        .tell("GET / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nConnection: te\r\n\r\n")
        .await;
    assert!(reply.whole);
    assert_eq!(reply.text(), "5\r\nhello\r\n0\r\nx-checksum: 42\r\n\r\n");
    let seen = origin.only();
    assert_eq!((seen.field("te"), seen.field("connection")), (vec!["trailers"], vec!["te"]));

    let reply = proxy.get("/").await;
    assert_eq!(reply.text(), "5\r\nhello\r\n0\r\n\r\n", "and to nobody else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_first_is_told_to_continue() {
    let origin = Origin::start(|_| ok("stored")).await;
    let proxy = Proxy::start(&origin).await;
    let mut client = proxy.connect().await;
    client
        .send("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "stored"));
    let seen = origin.only();
    assert_eq!(seen.content, b"hello");
    assert!(seen.field("expect").is_empty(), "{}", seen.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_first_and_is_refused_is_not_told_to_continue() {
    let origin = Origin::start(|_| ok("stored")).await;
    let proxy = Proxy::start(&origin).await;
    let reply = proxy
        .tell(
            "PURGE / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        )
        .await;
    assert_eq!(reply.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_cut_off_at_any_byte_is_never_whole() {
    let forms = [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ];
    for form in forms {
        let head = form.find("\r\n\r\n").unwrap() + 4;
        for end in 0..form.len() {
            let cut = form[..end].to_owned();
            let origin = Origin::start(move |_| vec![write(cut.clone()), Step::Close]).await;
            let proxy = Proxy::start(&origin).await;
            let reply = proxy.get("/").await;
            if end < head {
                assert_eq!(reply.status, 502, "cut at {end} of {form:?}: {reply:?}");
            } else {
                assert_eq!(reply.status, 200, "cut at {end} of {form:?}: {reply:?}");
                assert!(!reply.whole, "cut at {end} of {form:?}: {reply:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_without_length_or_chunks_ends_with_its_connection() {
    let origin = Origin::start(|_| vec![write("HTTP/1.1 200 OK\r\n\r\nhello"), Step::Close]).await;
    let proxy = Proxy::start(&origin).await;
    let reply = proxy.get("/").await;
    assert_eq!((reply.status, reply.whole), (200, true));
    assert_eq!(reply.text(), "5\r\nhello\r\n0\r\n\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_takes_its_exchange_with_it() {
    let origin = Origin::start(|_| vec![Step::Hang]).await;
    let proxy = Proxy::start(&origin).await;
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    eventually("the origin is asked", || origin.received().len() == 1).await;
    drop(client);
    eventually("the origin is left", || origin.open() == 0).await;
    eventually("its place is free", || proxy.admit.in_progress() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_all_content_has_arrived_ends_the_connection() {
    let origin = Origin::start(|_| ok("x")).await;
    let raw = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let early = raw.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = raw.accept().await {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly").await;
            let _ = stream.read(&mut head).await;
        }
    });
    let proxy = Proxy::with(super::support::settings(&[early])).await;
    let mut client = proxy.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 60\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "early"));
    // The rest of the content, in the shape of a request.
    client.send("GET /smuggled HTTP/1.1\r\nHost: a.test\r\nX-Padding: 0123456789\r\n\r\n").await;
    let rest = client.rest().await;
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    drop(origin);
}
