//! What of a message arrives on the other side.

use larder::config::HostPolicy;
use larder::config::template::Network;

use super::support::{Origin, Proxy, ok, settings, write};

#[tokio::test(flavor = "multi_thread")]
async fn names_of_one_host_reach_the_origin_as_one() {
    let origin = Origin::start(|_| ok("x")).await;
    let proxy = Proxy::start(&origin);
    for (sent, seen) in [
        ("a.test", "a.test"),
        ("A.TEST", "a.test"),
        ("a.test.", "a.test"),
        ("a.test:80", "a.test"),
        ("a.test:9999", "a.test:9999"),
    ] {
        assert_eq!(proxy.tell(format!("GET / HTTP/1.1\r\nHost: {sent}\r\n\r\n")).await.status, 200);
        let received = origin.received();
        assert_eq!(received.last().unwrap().field("host"), [seen], "{sent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn path_and_query_arrive_byte_for_byte() {
    let origin = Origin::start(|_| ok("x")).await;
    let proxy = Proxy::start(&origin);
    for path in [
        "/",
        "//",
        "//b.test/x",
        "/a/../b",
        "/a/%2e%2e/b",
        "/a%2Fb",
        "/a%2fb",
        "/a\\b",
        "/%zz",
        "/a;b",
        "/?a=1&a=2&b",
        "/a?b?c",
        "/a?",
        "/{x}",
        "/?a|b^`",
        "/a//b",
        "/.",
        "/a%00",
    ] {
        assert_eq!(proxy.get(path).await.status, 200, "{path}");
        let received = origin.received();
        assert_eq!(received.last().unwrap().line(), format!("GET {path} HTTP/1.1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_in_the_target_replaces_the_host_field() {
    let origin = Origin::start(|_| ok("x")).await;
    let proxy = Proxy::start(&origin);
    for (target, line) in [
        ("http://b.test/x?y", "GET /x?y HTTP/1.1"),
        ("http://B.test:80", "GET / HTTP/1.1"),
        ("http://b.test?y", "GET /?y HTTP/1.1"),
        ("HTTP://b.test/", "GET / HTTP/1.1"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(proxy.tell(request).await.status, 200, "{target}");
        let received = origin.received();
        let last = received.last().unwrap();
        assert_eq!((last.line(), last.field("host")), (line, vec!["b.test"]), "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_one_connection_stays_on_it() {
    let origin = Origin::start(|_| {
        vec![write(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: X-Listed\r\nX-Listed: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Kept: 1\r\n\r\nx",
        )]
    })
    .await;
    let proxy = Proxy::start(&origin);
    let reply = proxy
        .tell(
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, X-Listed\r\nX-Listed: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: x\r\n\
             HTTP2-Settings: x\r\nUpgrade: websocket\r\nTE: gzip\r\nTrailer: X-T\r\nX-Kept: 1\r\n\r\n",
        )
        .await;
    let seen = origin.only();
    for name in [
        "connection",
        "x-listed",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "http2-settings",
        "upgrade",
        "te",
        "trailer",
    ] {
        assert!(seen.field(name).is_empty(), "{name} in {}", seen.head);
    }
    assert_eq!(seen.field("x-kept"), ["1"]);
    for name in ["connection", "x-listed", "keep-alive", "proxy-authenticate", "upgrade"] {
        assert!(reply.field(name).is_empty(), "{name} in {}", reply.head);
    }
    assert_eq!(reply.field("x-kept"), ["1"]);
    assert_eq!(reply.field("via"), ["1.1 larder"]);
    assert_eq!(reply.field("date").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_cannot_say_who_it_is_or_what_it_asked_for() {
    let origin = Origin::start(|_| ok("x")).await;
    let proxy = Proxy::start(&origin);
    let names = [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Anything",
        "X_Forwarded_Host",
        "Forwarded",
        "X-Real-IP",
        "True-Client-IP",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-Original-Host",
        "X-Host",
        "Front-End-Https",
        "Content_Length",
        "Transfer_Encoding",
    ];
    let lines: String = names.iter().map(|name| format!("{name}: canary\r\n")).collect();
    proxy.tell(format!("GET / HTTP/1.1\r\nHost: a.test:81\r\n{lines}\r\n")).await;
    let seen = origin.only();
    assert!(!seen.head.contains("canary"), "{}", seen.head);
    assert_eq!(seen.field("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.field("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.field("x-forwarded-host"), ["a.test:81"]);
    assert_eq!(seen.field("forwarded"), ["for=127.0.0.1;host=\"a.test:81\";proto=http"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_is_believed_and_continued() {
    let origin = Origin::start(|_| ok("x")).await;
    let mut settings = settings(&[origin.address]);
    settings.limits.trusted_proxies =
        vec![Network { address: "127.0.0.0".parse().unwrap(), bits: 8 }];
    let proxy = Proxy::with(settings);
    proxy
        .tell(
            "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Host: www.test\r\nForwarded: for=192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\n\r\n",
        )
        .await;
    let seen = origin.only();
    assert_eq!(seen.field("x-forwarded-for"), ["192.0.2.1, 127.0.0.1"]);
    assert_eq!(seen.field("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.field("x-forwarded-host"), ["www.test"]);
    assert_eq!(seen.field("forwarded"), ["for=192.0.2.1, for=127.0.0.1;host=a.test;proto=https"]);
    assert_eq!(seen.field("x-real-ip"), ["192.0.2.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_round_again_is_stopped() {
    let origin = Origin::start(|_| ok("x")).await;
    let proxy = Proxy::start(&origin);
    proxy.tell("GET / HTTP/1.1\r\nHost: a.test\r\nVia: 1.1 other, 1.0 larder\r\n\r\n").await;
    let seen = origin.only();
    let via = seen.field("via");
    assert_eq!(via.len(), 2, "{via:?}");
    assert_eq!(via[0], "1.1 other, 1.0 larder");
    assert!(via[1].starts_with("1.1 larder-"), "{via:?}");

    let again = format!("GET / HTTP/1.1\r\nHost: a.test\r\nVia: 1.1 x, {}, 1.1 y\r\n\r\n", via[1]);
    let reply = proxy.tell(again).await;
    assert_eq!(reply.status, 508, "{reply:?}");
    assert_eq!(reply.problem()["fault"], "loop");
    assert_eq!(origin.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_can_be_told_another_host() {
    let origin = Origin::start(|_| ok("x")).await;
    for (policy, expected) in [
        (HostPolicy::Origin, origin.address.to_string()),
        (HostPolicy::Fixed("api.test".into()), "api.test".to_owned()),
    ] {
        let mut settings = settings(&[origin.address]);
        settings.origin.host = policy;
        let proxy = Proxy::with(settings);
        proxy.get("/").await;
        let received = origin.received();
        let last = received.last().unwrap();
        assert_eq!(last.field("host"), [expected.as_str()]);
        assert_eq!(last.field("x-forwarded-host"), ["a.test"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_goes_as_far_as_max_forwards_says() {
    let origin = Origin::start(|_| ok("x")).await;
    let proxy = Proxy::start(&origin);
    let options = |target: &str, left: u8| {
        format!("OPTIONS {target} HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: {left}\r\n\r\n")
    };
    let reply = proxy.tell(options("/", 0)).await;
    assert_eq!((reply.status, reply.field("allow").len()), (204, 1));
    assert_eq!(origin.connections(), 0);
    assert_eq!(proxy.tell(options("*", 3)).await.status, 200);
    let seen = origin.only();
    assert_eq!((seen.line(), seen.field("max-forwards")), ("OPTIONS * HTTP/1.1", vec!["2"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn content_of_a_get_is_passed_on_and_framed_once() {
    let origin = Origin::start(|_| ok("x")).await;
    let proxy = Proxy::start(&origin);
    for framing in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let reply = proxy.tell(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{framing}")).await;
        assert_eq!(reply.status, 200, "{framing}");
        assert_eq!(origin.received().last().unwrap().content, b"hello", "{framing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_1_0_gets_an_answer_that_ends_with_its_connection() {
    let origin = Origin::start(|_| {
        vec![write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")]
    })
    .await;
    let proxy = Proxy::start(&origin);
    let reply = proxy.tell("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
    assert!(reply.field("transfer-encoding").is_empty());
    let seen = origin.only();
    assert_eq!(seen.field("host"), [proxy.address.to_string()]);
    assert!(seen.field("via")[0].starts_with("1.0 larder-"), "{}", seen.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_http_has_not_comes_through_as_it_is() {
    let origin = Origin::start(|r| {
        let status = r.line().split('/').nth(1).unwrap_or_default()[..3].to_owned();
        vec![write(format!("HTTP/1.1 {status} Custom\r\nContent-Length: 1\r\n\r\nx"))]
    })
    .await;
    let proxy = Proxy::start(&origin);
    let mut client = proxy.connect().await;
    for status in [599, 600, 999, 299, 200] {
        client.send(format!("GET /{status} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.text().as_str()), (status, "x"), "{reply:?}");
        let line = reply.head.lines().next().unwrap();
        let expected =
            if status == 200 { "HTTP/1.1 200 OK" } else { &*format!("HTTP/1.1 {status} ") };
        assert_eq!(line, expected);
    }
    assert_eq!(origin.connections(), 1, "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_many_lines_comes_through_and_one_without_end_does_not() {
    let origin = Origin::start(|r| {
        let lines: usize = r.line().split(['/', ' ']).nth(2).unwrap().parse().unwrap();
        // One of them is Content-Length.
        let fields: String = (1..lines).map(|n| format!("X-{n}: {n}\r\n")).collect();
        vec![write(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 1\r\n\r\nx"))]
    })
    .await;
    let proxy = Proxy::start(&origin);
    for (lines, status) in [(100, 200), (101, 200), (256, 200), (257, 502), (3000, 502)] {
        let reply = proxy.get(&format!("/{lines}")).await;
        assert_eq!(reply.status, status, "{lines}");
        if status == 200 {
            assert_eq!(reply.field(&format!("x-{}", lines - 1)), [(lines - 1).to_string()]);
        } else {
            assert_eq!(reply.problem()["fault"], "origin-malformed");
        }
    }
}

/// RFC 9110 §7.6.1, whatever the origin means by it.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_origin_lists_as_its_connections_is_taken_out_whatever_it_is() {
    let origin = Origin::start(|_| {
        vec![write(
            "HTTP/1.1 200 OK\r\nConnection: cache-control, Set-Cookie, content-length, x-end\r\n\
             Cache-Control: no-store\r\nSet-Cookie: a=b\r\nVary: x\r\nContent-Length: 5\r\n\r\nhello",
        )]
    })
    .await;
    let proxy = Proxy::start(&origin);
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"), "{reply:?}");
        for name in ["connection", "cache-control", "set-cookie"] {
            assert!(reply.field(name).is_empty(), "{name} in {}", reply.head);
        }
        assert_eq!(reply.field("vary"), ["x"]);
        assert_eq!(reply.field("content-length"), ["5"], "framing is of our own making");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_head_keeps_its_length_and_has_no_content() {
    let origin =
        Origin::start(|_| vec![write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")]).await;
    let proxy = Proxy::start(&origin);
    let mut client = proxy.connect().await;
    let head = "HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    for _ in 0..2 {
        client.send(head).await;
        let head = client.head().await;
        assert!(head.contains("content-length: 5\r\n"), "{head}");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_for_one_request_is_not_said_for_the_next() {
    let origin = Origin::start(|_| ok("x")).await;
    let mut settings = settings(&[origin.address]);
    settings.limits.trusted_proxies =
        vec![Network { address: "127.0.0.1".parse().unwrap(), bits: 32 }];
    let proxy = Proxy::with(settings);
    let mut client = proxy.connect().await;
    for (host, proto) in
        [("a.test", "http"), ("b.test", "http"), ("b.test", "https"), ("b.test", "http")]
    {
        client
            .send(format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Proto: {proto}\r\n\r\n"))
            .await;
        assert_eq!(client.reply().await.status, 200);
        let received = origin.received();
        let last = received.last().unwrap();
        assert_eq!(last.field("host"), [host]);
        let element = format!("for=127.0.0.1;host={host};proto={proto}");
        assert_eq!(last.field("forwarded"), [element.as_str()]);
    }
}
