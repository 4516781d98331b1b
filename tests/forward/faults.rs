//! The origin is down, hangs, breaks off, or does not speak HTTP.

use std::time::Duration;

use super::support::{Origin, Proxy, Step, eventually, ok, settings, write};

/// An address where nobody listens.
async fn nobody() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_down_is_a_502() {
    let proxy = Proxy::with(settings(&[nobody().await]));
    let reply = proxy.get("/").await;
    assert_eq!(reply.status, 502);
    let problem = reply.problem();
    assert_eq!((&problem["fault"], &problem["status"]), (&"origin-connect".into(), &502.into()));
    assert!(!reply.text().contains("127.0.0.1"), "{}", reply.text());
    // A write that cannot be sent is answered the same way.
    let post = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(proxy.tell(post).await.problem()["fault"], "origin-connect");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_hangs_is_a_504() {
    let origin = Origin::start(|_| vec![Step::Hang]).await;
    let mut settings = settings(&[origin.address]);
    settings.origin.timeout = Duration::from_millis(300);
    let proxy = Proxy::with(settings);
    let reply = proxy.get("/").await;
    assert_eq!((reply.status, &reply.problem()["fault"]), (504, &"origin-timeout".into()));
    eventually("it is left", || origin.open() == 0).await;
    assert_eq!(origin.received().len(), 1, "asked once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safe_request_is_asked_once_more_and_a_write_never() {
    let origin = Origin::start(|_| vec![Step::Close]).await;
    let proxy = Proxy::start(&origin);
    let reply = proxy.get("/").await;
    assert_eq!((reply.status, &reply.problem()["fault"]), (502, &"origin-broken".into()));
    assert_eq!(origin.received().len(), 2);
    for request in [
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
        "DELETE / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let before = origin.received().len();
        assert_eq!(proxy.tell(request).await.problem()["fault"], "origin-broken", "{request}");
        assert_eq!(origin.received().len(), before + 1, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_not_plain_http_is_a_502_and_its_connection_not_used_again() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.6\r\n",
    ] {
        let origin = Origin::start(move |_| vec![write(response), Step::Hang]).await;
        let proxy = Proxy::start(&origin);
        let reply = proxy.get("/").await;
        assert_eq!(reply.status, 502, "{response:?}: {reply:?}");
        assert_eq!(reply.problem()["fault"], "origin-malformed", "{response:?}");
        assert_eq!(origin.received().len(), 1, "{response:?}: asked once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_after_a_response_never_become_the_next_one() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngoodHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ] {
        let origin = Origin::start(move |r| match r.line().contains("/next") {
            true => ok("next"),
            false => vec![write(response)],
        })
        .await;
        let proxy = Proxy::start(&origin);
        for _ in 0..3 {
            let reply = proxy.get("/").await;
            assert!(!reply.text().contains("evil"), "{response:?}: {reply:?}");
            let reply = proxy.get("/next").await;
            assert_eq!((reply.status, reply.text().as_str()), (200, "next"), "{response:?}");
        }
    }
}
