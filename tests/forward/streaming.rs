//! Content on its way: as it arrives, with its trailers, and never shorter than it says.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
    let proxy = Proxy::start(&origin);
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
    let proxy = Proxy::start(&origin);
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
async fn trailers_that_concern_a_connection_or_decide_on_the_message_stay_behind() {
    let origin = Origin::start(|_| {
        vec![write(
            "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nTrailer: X-Hop, X-Sum, Vary, Surrogate-Key\r\n\
             Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Hop: 1\r\nX-Sum: 2\r\nVary: x\r\n\
             Surrogate-Key: a\r\n\r\n",
        )]
    })
    .await;
    let proxy = Proxy::start(&origin);
    let reply = proxy
        .tell("GET / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nConnection: te\r\n\r\n")
        .await;
    assert!(reply.whole);
    assert_eq!(reply.text(), "5\r\nhello\r\n0\r\nx-sum: 2\r\n\r\n");
}

/// RFC 9112 §7.1.2: a recipient "MAY selectively retain or discard the received trailer fields".
#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_a_request_are_discarded_and_its_content_arrives() {
    let origin = Origin::start(|_| ok("stored")).await;
    let proxy = Proxy::start(&origin);
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        client
            .send(
                "POST / HTTP/1.1\r\nHost: a.test\r\nTrailer: X-Sum, X-Forwarded-For\r\n\
                 Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\
                 X-Forwarded-For: 192.0.2.1\r\nContent-Length: 7\r\n\r\n",
            )
            .await;
        assert_eq!(client.reply().await.status, 200);
        // The origin of these tests takes nothing but an empty line behind the last chunk.
        let received = origin.received();
        let seen = received.last().unwrap();
        assert_eq!(seen.content, b"hello");
        assert!(seen.field("trailer").is_empty() && seen.field("x-sum").is_empty());
    }
    assert_eq!((origin.connections(), origin.broken()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_first_is_told_to_continue() {
    let origin = Origin::start(|_| ok("stored")).await;
    let proxy = Proxy::start(&origin);
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
    let proxy = Proxy::start(&origin);
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
            let proxy = Proxy::start(&origin);
            let reply = proxy.get("/").await;
            // With the head alone there may be nothing yet that was worth writing.
            let expected = if end < head { [502, 502] } else { [200, 0] };
            let whole = end < head;
            assert!(expected.contains(&reply.status), "cut at {end} of {form:?}: {reply:?}");
            assert_eq!(reply.whole, whole, "cut at {end} of {form:?}: {reply:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_without_length_or_chunks_ends_with_its_connection() {
    let origin = Origin::start(|_| vec![write("HTTP/1.1 200 OK\r\n\r\nhello"), Step::Close]).await;
    let proxy = Proxy::start(&origin);
    let reply = proxy.get("/").await;
    assert_eq!((reply.status, reply.whole), (200, true));
    assert_eq!(reply.text(), "5\r\nhello\r\n0\r\n\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_takes_its_exchange_with_it() {
    let origin = Origin::start(|_| vec![Step::Hang]).await;
    let proxy = Proxy::start(&origin);
    let mut client = proxy.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    eventually("the origin is asked", || origin.received().len() == 1).await;
    drop(client);
    eventually("the origin is left", || origin.open() == 0).await;
    eventually("its place is free", || proxy.admit.in_progress() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_client_of_1_0_a_cut_off_response_is_a_reset() {
    for (steps, reset) in
        [(vec!["5\r\nhello\r\n", "0\r\n\r\n"], false), (vec!["5\r\nhello\r\n", "5\r\nhel"], true)]
    {
        let origin = Origin::start(move |_| {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let content = steps.iter().map(|step| write(*step));
            [write(head)].into_iter().chain(content).chain([Step::Close]).collect()
        })
        .await;
        let proxy = Proxy::start(&origin);
        let mut client = proxy.connect().await;
        client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
        let mut all = Vec::new();
        let end = client.stream.read_to_end(&mut all).await;
        assert_eq!(end.is_err(), reset, "{end:?}: {}", String::from_utf8_lossy(&all));
    }
}

/// What comes after an early answer is still content, whatever it looks like.
#[tokio::test(flavor = "multi_thread")]
async fn content_after_an_early_answer_is_not_the_next_request() {
    let raw = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let early = raw.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::<String>::new()));
    let heads = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = raw.accept().await {
            let heads = Arc::clone(&heads);
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                loop {
                    let n = stream.read(&mut bytes).await.unwrap_or(0);
                    let head = String::from_utf8_lossy(&bytes[..n]).into_owned();
                    let has_content = head.starts_with("POST");
                    heads.lock().unwrap().push(head);
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly";
                    if n == 0 || stream.write_all(answer).await.is_err() {
                        return;
                    }
                    if has_content && stream.read_exact(&mut bytes[..40]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let proxy = Proxy::with(super::support::settings(&[early]));
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let length = smuggled.len();
    assert_eq!(length, 40);
    let mut client = proxy.connect().await;
    client
        .send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n"))
        .await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "early"));
    client.send(smuggled).await;
    client.send("GET /after HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await;
    let rest = String::from_utf8(client.rest().await).unwrap();
    assert_eq!(rest.matches("HTTP/1.1").count(), 1, "the answer to /after alone: {rest}");
    let heads = seen.lock().unwrap();
    assert!(heads.iter().all(|head| !head.starts_with("GET /smuggled")), "{heads:#?}");
}
