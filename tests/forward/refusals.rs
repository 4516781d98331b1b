//! The ambiguous and the malformed, in families: nothing of it may reach the origin.

use super::support::{Origin, Proxy, eventually, ok};

/// Name, request, status.
type Case = (&'static str, Vec<u8>, u16);

fn case(name: &'static str, request: impl AsRef<[u8]>, status: u16) -> Case {
    (name, request.as_ref().to_vec(), status)
}

/// A GET with this request line's middle.
fn target(name: &'static str, target: &str, status: u16) -> Case {
    case(name, format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"), status)
}

/// A GET with this Host line.
fn host(name: &'static str, value: &str, status: u16) -> Case {
    case(name, format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n"), status)
}

/// A POST with these lines and this content.
fn post(name: &'static str, lines: &str, content: &str, status: u16) -> Case {
    case(name, format!("POST / HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n\r\n{content}"), status)
}

/// A GET with this line.
fn line(name: &'static str, line: impl AsRef<[u8]>, status: u16) -> Case {
    let request = [b"GET / HTTP/1.1\r\nHost: a.test\r\n", line.as_ref(), b"\r\n\r\n"].concat();
    case(name, request, status)
}

fn hosts() -> Vec<Case> {
    vec![
        case("no host", "GET / HTTP/1.1\r\n\r\n", 400),
        case("two hosts", "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n", 400),
        case("two equal hosts", "GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n", 400),
        case("two hosts in 1.0", "GET / HTTP/1.0\r\nHost: a.test\r\nHost: b.test\r\n\r\n", 400),
        case("space before colon", "GET / HTTP/1.1\r\nHost : a.test\r\n\r\n", 400),
        case("folded host", "GET / HTTP/1.1\r\nHost:\r\n a.test\r\n\r\n", 400),
        host("empty host", "", 400),
        host("space in host", "a.test b.test", 400),
        host("comma in host", "a.test,b.test", 400),
        host("slash in host", "a.test/x", 400),
        host("backslash in host", "a.test\\x", 400),
        host("query in host", "a.test?x", 400),
        host("fragment in host", "a.test#x", 400),
        host("userinfo in host", "u@a.test", 400),
        host("userinfo with colon", "a.test:80@b.test", 400),
        host("port of letters", "a.test:http", 400),
        host("port too large", "a.test:65536", 400),
        host("port with a sign", "a.test:+80", 400),
        host("two ports", "a.test:80:81", 400),
        host("dots alone", "..", 400),
        host("empty label", "a..test", 400),
        host("percent in host", "a%2etest", 400),
        host("open bracket", "[::1", 400),
        host("bracket with rest", "[::1]x", 400),
        host("bare ipv6", "::1", 400),
        host("utf-8 in host", "\u{e4}.test", 400),
    ]
}

fn targets() -> Vec<Case> {
    vec![
        target("authority-form", "a.test:80", 400),
        target("host alone", "a.test", 400),
        target("relative path", "a/b", 400),
        target("asterisk with GET", "*", 400),
        target("asterisk and more", "*/x", 400),
        target("userinfo in absolute-form", "http://u@a.test/", 400),
        target("credentials in absolute-form", "http://u:p@a.test/", 400),
        target("absolute-form without host", "http:///x", 400),
        target("absolute-form with a bad port", "http://a.test:99999/", 400),
        target("ftp", "ftp://a.test/", 400),
        target("file", "file:///etc/passwd", 400),
        target("raw utf-8", "/\u{e4}", 400),
        target("space in target", "/a b", 400),
        target("delete in target", "/a\u{7f}b", 400),
        case("nul in target", b"GET /a\0b HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        case("tab in target", b"GET /a\tb HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        case("no target", "GET HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        case("asterisk with POST", "POST * HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        case("absolute-form without Host field", "GET http://a.test/ HTTP/1.1\r\n\r\n", 400),
    ]
}

fn framings() -> Vec<Case> {
    const ZERO: &str = "0\r\n\r\n";
    vec![
        post("te gzip", "Transfer-Encoding: gzip", ZERO, 400),
        post("te identity", "Transfer-Encoding: identity", ZERO, 400),
        post("te chunked, gzip", "Transfer-Encoding: chunked, gzip", ZERO, 400),
        post("te gzip, chunked", "Transfer-Encoding: gzip, chunked", ZERO, 400),
        post("te identity, chunked", "Transfer-Encoding: identity, chunked", ZERO, 400),
        post("te x, chunked", "Transfer-Encoding: x, chunked", ZERO, 400),
        post("te chunked twice", "Transfer-Encoding: chunked, chunked", ZERO, 400),
        post(
            "te on two lines",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            ZERO,
            400,
        ),
        post(
            "te identity, then chunked",
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
            ZERO,
            400,
        ),
        post("te xchunked", "Transfer-Encoding: xchunked", ZERO, 400),
        post("te with a parameter", "Transfer-Encoding: chunked;q=1", ZERO, 400),
        post("te quoted", "Transfer-Encoding: \"chunked\"", ZERO, 400),
        post("te empty", "Transfer-Encoding:", ZERO, 400),
        post("te with a comma", "Transfer-Encoding: chunked,", ZERO, 400),
        post("te after a comma", "Transfer-Encoding: , chunked", ZERO, 400),
        post("te after vertical tab", "Transfer-Encoding: \u{b}chunked", ZERO, 400),
        post("te after nul", "Transfer-Encoding: \0chunked", ZERO, 400),
        post("te with space before colon", "Transfer-Encoding : chunked", ZERO, 400),
        post("te folded", "Transfer-Encoding:\r\n chunked", ZERO, 400),
        case(
            "te in 1.0",
            "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        post("cl with a plus", "Content-Length: +5", "hello", 400),
        post("cl negative", "Content-Length: -1", "", 400),
        post("cl twice, differing", "Content-Length: 5\r\nContent-Length: 6", "hello!", 400),
        post("cl list, differing", "Content-Length: 5, 6", "hello!", 400),
        post("cl list, equal", "Content-Length: 5, 5", "hello", 400),
        post("cl in hex", "Content-Length: 0x5", "hello", 400),
        post("cl with a space inside", "Content-Length: 5 5", "hello", 400),
        post("cl empty", "Content-Length:", "", 400),
        post("cl with an exponent", "Content-Length: 1e1", "helloworld", 400),
        post("cl overflowing", "Content-Length: 18446744073709551616", "", 400),
        post("cl nearly overflowing", "Content-Length: 18446744073709551615", "", 431),
        post("cl with space before colon", "Content-Length : 5", "hello", 400),
    ]
}

fn fields() -> Vec<Case> {
    vec![
        line("empty name", ": x", 400),
        line("space in name", "X Y: z", 400),
        line("utf-8 in name", "X-\u{e4}: z", 400),
        line("no colon", "X-Y", 400),
        line("nul in value", b"X-Y: a\0b", 400),
        line("control in value", b"X-Y: a\x01b", 400),
        line("delete in value", b"X-Y: a\x7fb", 400),
        line("bare CR in value", b"X-Y: a\rHost: b.test", 400),
        line("folded value", "X-Y: a\r\n b", 400),
        line("leading space", " X-Y: a", 400),
        line("lists host", "Connection: host", 400),
        line("lists content-length", "Connection: close, Content-Length", 400),
        line("lists transfer-encoding", "Connection: transfer-encoding", 400),
        line("lists cookie", "Connection: cookie", 400),
        line("lists authorization", "Connection: keep-alive\r\nConnection: AUTHORIZATION", 400),
        line("lists cache-control", "Connection: cache-control", 400),
        line("lists x-forwarded-for", "Connection: x-forwarded-for", 400),
        line("lists forwarded", "Connection: forwarded", 400),
        line("lists x-real-ip", "Connection: x-real-ip", 400),
        line("option that is no token", "Connection: a b", 400),
        line("unknown expectation", "Expect: 200-ok", 417),
        line("expectation and another", "Expect: 100-continue, x", 417),
    ]
}

fn methods_and_versions() -> Vec<Case> {
    vec![
        case("connect", "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n", 405),
        case("connect with a path", "CONNECT / HTTP/1.1\r\nHost: a.test\r\n\r\n", 405),
        case("trace", "TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n", 405),
        case("purge", "PURGE / HTTP/1.1\r\nHost: a.test\r\n\r\n", 405),
        case("ban", "BAN / HTTP/1.1\r\nHost: a.test\r\n\r\n", 405),
        case("bad method", "GE(T / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        case("no method", " / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400),
        case("version 0.9", "GET / HTTP/0.9\r\nHost: a.test\r\n\r\n", 400),
        case("version 1.2", "GET / HTTP/1.2\r\nHost: a.test\r\n\r\n", 400),
        case("version 2.0", "GET / HTTP/2.0\r\nHost: a.test\r\n\r\n", 400),
        case("version in lower case", "GET / http/1.1\r\nHost: a.test\r\n\r\n", 400),
        case("no version", "GET /\r\nHost: a.test\r\n\r\n", 400),
        case("more after the version", "GET / HTTP/1.1 x\r\nHost: a.test\r\n\r\n", 400),
    ]
}

fn sizes() -> Vec<Case> {
    let many = "X: y\r\n".repeat(100);
    let large = format!("X: {}\r\n", "y".repeat(1000)).repeat(40);
    vec![
        target("target too long", &format!("/{}", "a".repeat(8 * 1024)), 414),
        target("query too long", &format!("/?{}", "a".repeat(9 * 1024)), 414),
        case("too many fields", format!("GET / HTTP/1.1\r\nHost: a.test\r\n{many}\r\n"), 431),
        case("fields too large", format!("GET / HTTP/1.1\r\nHost: a.test\r\n{large}\r\n"), 431),
        line("one field too large", format!("X: {}", "y".repeat(33 * 1024)), 431),
        line("one field far too large", format!("X: {}", "y".repeat(500 * 1024)), 431),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_ambiguous_or_malformed_reaches_the_origin() {
    let origin = Origin::start(|_| ok("reached")).await;
    let proxy = Proxy::start(&origin);
    let families =
        [hosts(), targets(), framings(), fields(), methods_and_versions(), sizes()].concat();
    assert!(families.len() >= 100, "{}", families.len());
    let mut wrong = Vec::new();
    for (name, request, status) in families {
        let mut client = proxy.connect().await;
        // What follows must not be taken for a request of its own.
        client.send(&request).await;
        client.send("GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        let reply = client.reply().await;
        if reply.status != status {
            wrong.push(format!("{name}: {} instead of {status}", reply.status));
        }
        if !client.is_closed().await {
            wrong.push(format!("{name}: the connection goes on"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(origin.received().len(), 0, "{:#?}", origin.received());
    assert_eq!(origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_chunks_never_become_a_whole_message() {
    let origin = Origin::start(|_| ok("reached")).await;
    let proxy = Proxy::start(&origin);
    let cases: [(&str, &[u8]); 14] = [
        ("size missing", b"\r\nhello\r\n0\r\n\r\n"),
        ("size not hex", b"g\r\nhello\r\n0\r\n\r\n"),
        ("size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
        ("size negative", b"-5\r\nhello\r\n0\r\n\r\n"),
        ("size with a plus", b"+5\r\nhello\r\n0\r\n\r\n"),
        ("size overflowing", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("chunk shorter than its size", b"6\r\nhello\r\n0\r\n\r\n"),
        ("chunk longer than its size", b"4\r\nhello\r\n0\r\n\r\n"),
        ("no CRLF after a chunk", b"5\r\nhello0\r\n\r\n"),
        ("LF after a chunk", b"5\r\nhello\n0\r\n\r\n"),
        ("LF after a size", b"5\nhello\r\n0\r\n\r\n"),
        ("CR in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("LF in an extension", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ("CR CR LF after a size", b"5\r\r\nhello\r\n0\r\n\r\n"),
    ];
    for (name, content) in cases {
        let mut client = proxy.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        client.send(content).await;
        let reply = client.reply().await;
        assert_eq!(reply.status, 400, "{name}: {reply:?}");
        assert!(client.is_closed().await, "{name}: the connection goes on");
    }
    assert_eq!(origin.received().len(), 0, "{:#?}", origin.received());
    eventually("no connection is kept", || origin.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_stops_short_never_becomes_a_whole_message() {
    let origin = Origin::start(|_| ok("reached")).await;
    let proxy = Proxy::start(&origin);
    let framings =
        ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel"];
    for (before, framing) in framings.into_iter().enumerate() {
        let mut client = proxy.connect().await;
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{framing}")).await;
        eventually("it is on its way", || origin.connections() > before).await;
        drop(client);
        eventually("it is broken off", || origin.broken() > before).await;
    }
    assert_eq!(origin.received().len(), 0);
}

/// What could be refused but is made plain instead: the origin sees one message, framed once, and
/// the connection does not go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_chunks_is_dropped_and_the_connection_closed() {
    for lines in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\nContent-Length: 6",
    ] {
        let origin = Origin::start(|_| ok("one")).await;
        let proxy = Proxy::start(&origin);
        let mut client = proxy.connect().await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\
                 Host: a.test\r\n\r\n"
            ))
            .await;
        assert_eq!(client.reply().await.status, 200, "{lines}");
        assert!(client.is_closed().await, "{lines}");
        assert_eq!(origin.only().line(), "POST / HTTP/1.1", "{lines}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_nobody_read_is_not_the_next_request() {
    let origin = Origin::start(|_| ok("reached")).await;
    let proxy = Proxy::start(&origin);
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let mut client = proxy.connect().await;
    // Refused because of its method, its content late.
    client
        .send(format!(
            "PURGE / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n",
            smuggled.len()
        ))
        .await;
    assert_eq!(client.reply().await.status, 405);
    client.send(smuggled).await;
    client.send("GET /after HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert!(client.is_closed().await);
    assert_eq!(origin.connections(), 0);
}
