//! Who is told of an origin's interim responses (RFC 9110 §15.2), and what becomes of odd messages.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::client::Client;
use crate::support::larder::{Larder, Setup};
use crate::support::origin::{Gate, RawOrigin};
use crate::support::wait::{eventually, soon};

const KEEPS: &str = "soft_ttl = \"1h\"";
const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nSurrogate-Key: a\r\n\r\n";
const TOLD: &str = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";

/// A client that sees every head.
struct Raw(TcpStream);

impl Raw {
    async fn asks(larder: &Larder, method: &str, target: &str) -> Self {
        let mut client = Self(TcpStream::connect(larder.address()).await.unwrap());
        let host = larder.address();
        let fields = format!("Host: {host}\r\nTE: trailers\r\nConnection: te, close\r\n\r\n");
        let request = format!("{method} {target} HTTP/1.1\r\n{fields}");
        client.0.write_all(request.as_bytes()).await.unwrap();
        client
    }

    /// All until the connection closes.
    async fn rest(mut self) -> String {
        let mut all = String::new();
        soon("the end of an answer", self.0.read_to_string(&mut all)).await.unwrap();
        all
    }

    /// This much.
    async fn some(&mut self, length: usize) -> String {
        let mut some = vec![0; length];
        soon("a head", self.0.read_exact(&mut some)).await.unwrap();
        String::from_utf8(some).unwrap()
    }
}

async fn ask(larder: &Larder, method: &str, target: &str) -> String {
    Raw::asks(larder, method, target).await.rest().await
}

async fn before(origin: &RawOrigin, keys: &str) -> Larder {
    Setup::before(&origin.url()).route("/{*rest}", keys).start().await
}

async fn waiting(larder: &Larder) -> usize {
    larder.metrics().await.sum("larder_collapsed_waiters_total", &[]) as usize
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_is_told_and_who_waits_or_hits_is_not() {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstored";
    let gate = Gate::closed();
    let origin = RawOrigin::sending_in_two(HINTS, &gate, ANSWER).await;
    let larder = before(&origin, KEEPS).await;
    let mut leads = Raw::asks(&larder, "GET", "/a").await;
    assert_eq!(leads.some(TOLD.len()).await, TOLD, "at once, without what is for caches");
    let waiters = [Raw::asks(&larder, "GET", "/a").await, Raw::asks(&larder, "GET", "/a").await];
    eventually("two wait", async || waiting(&larder).await == 2).await;
    gate.open();
    let answer = leads.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("stored"), "{answer}");
    for waiter in waiters {
        let answer = waiter.rest().await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    eventually("it is a hit", async || larder.client().get("/a").await.is_hit()).await;
    let hit = ask(&larder, "GET", "/a").await;
    assert!(hit.starts_with("HTTP/1.1 200 OK\r\n") && !hit.contains("103"), "{hit}");
    assert_eq!(origin.answered(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_on_or_written_is_told_too() {
    let answer = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nSurrogate-Key: a\r\n\r\n\
                   HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let origin = RawOrigin::sending(answer).await;
    let larder = Setup::before(&origin.url())
        .route("/off/{*rest}", "cache = \"off\"")
        .route("/{*rest}", KEEPS)
        .start()
        .await;
    for (method, target) in
        [("GET", "/off/a"), ("HEAD", "/a"), ("POST", "/a"), ("DELETE", "/a"), ("OPTIONS", "/a")]
    {
        let answer = ask(&larder, method, target).await;
        let rest = answer.strip_prefix(TOLD).unwrap_or_else(|| panic!("{method}: {answer}"));
        assert!(rest.starts_with("HTTP/1.1 200 OK\r\n"), "{method}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_behind_a_stale_hit_tells_nobody() {
    let answer = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n\
                   HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    let origin = RawOrigin::sending(answer).await;
    let larder = before(&origin, "soft_ttl = \"100ms\"\nhard_ttl = \"1h\"").await;
    let first = ask(&larder, "GET", "/a").await;
    assert!(first.starts_with("HTTP/1.1 103 "), "{first}");
    larder.until_verdict("/a", "serve-and-refresh").await;
    // The connection stays open while the refresh goes on.
    let mut client = Raw(TcpStream::connect(larder.address()).await.unwrap());
    let host = larder.address();
    let request = format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n");
    client.0.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(client.some(15).await, "HTTP/1.1 200 OK");
    eventually("it is refreshed", async || origin.answered() >= 2).await;
    client
        .0
        .write_all(request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let rest = client.rest().await;
    assert!(!rest.contains("103"), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_whose_client_has_left_goes_on_and_is_stored() {
    const ANSWER: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\n\
                            HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstored";
    let gate = Gate::closed();
    let origin = RawOrigin::sending_in_two(HINTS, &gate, ANSWER).await;
    let larder = before(&origin, KEEPS).await;
    let mut leaves = Raw::asks(&larder, "GET", "/a").await;
    assert_eq!(leaves.some(TOLD.len()).await, TOLD);
    drop(leaves);
    gate.open();
    let client: Client = larder.client();
    eventually("it is stored", async || client.get("/a").await.is_hit()).await;
    assert_eq!(origin.answered(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_of_1_0_is_stored_if_it_says_how_long_its_content_is() {
    for (answer, stored) in [
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx".as_slice(), true),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx", true),
        (b"HTTP/1.0 200 OK\r\n\r\nx", false),
        (b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nx", false),
    ] {
        let origin = RawOrigin::sending(answer).await;
        let larder = before(&origin, KEEPS).await;
        let client = larder.client();
        for _ in 0..3 {
            let reply = client.get("/a").await.expect(200, "x");
            // RFC 9110 §6.6.1.
            assert!(!reply.field("date").is_empty(), "{:?}", reply.headers);
            if stored {
                eventually("it is a hit", async || client.get("/a").await.is_hit()).await;
            }
        }
        let asked = if stored { 1 } else { 3 };
        assert_eq!(origin.answered(), asked, "{:?}", String::from_utf8_lossy(answer));
        // And a client of 1.0 gets it as it can read it.
        let mut old = TcpStream::connect(larder.address()).await.unwrap();
        old.write_all(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
        let mut head = vec![0; 15];
        old.read_exact(&mut head).await.unwrap();
        assert_eq!(head, b"HTTP/1.0 200 OK");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_its_own_policy_back_is_passed_on_and_not_stored() {
    for answer in [
        b"HTTP/1.1 200 OK\r\nConnection: cache-control\r\nCache-Control: no-store\r\n\
          Content-Length: 1\r\n\r\nx"
            .as_slice(),
        b"HTTP/1.1 200 OK\r\nConnection: Set-Cookie\r\nSet-Cookie: a=b\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nConnection: vary\r\nVary: *\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 1\r\n\r\nx",
    ] {
        let origin = RawOrigin::sending(answer).await;
        let larder = before(&origin, KEEPS).await;
        for asked in 1..4 {
            let reply = larder.client().get("/a").await.expect(200, "x");
            for name in ["cache-control", "set-cookie", "vary", "connection"] {
                assert_eq!(reply.field(name), "", "{name}");
            }
            assert_eq!(origin.answered(), asked, "{:?}", String::from_utf8_lossy(answer));
        }
    }
}

/// RFC 9111 §3.1: "Caches MAY either store trailer fields separate from header fields or discard
/// them. Caches MUST NOT combine trailer fields with header fields."
#[tokio::test(flavor = "multi_thread")]
async fn trailers_are_for_who_is_there_when_they_come_and_are_not_stored() {
    let answer = b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                   1\r\nx\r\n0\r\nX-Sum: 42\r\n\r\n";
    let origin = RawOrigin::sending(answer).await;
    let larder = before(&origin, KEEPS).await;
    let first = ask(&larder, "GET", "/a").await;
    assert!(first.ends_with("\r\n\r\n1\r\nx\r\n0\r\nx-sum: 42\r\n\r\n"), "{first}");
    eventually("it is a hit", async || larder.client().get("/a").await.is_hit()).await;
    let hit = ask(&larder, "GET", "/a").await;
    assert!(
        hit.ends_with("\r\n\r\nx") && !hit.contains("x-sum") && !hit.contains("trailer"),
        "{hit}"
    );
    assert_eq!(origin.answered(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_status_is_passed_on_like_an_error_and_not_stored() {
    let origin = RawOrigin::sending(b"HTTP/1.1 999 Custom\r\nContent-Length: 1\r\n\r\nx").await;
    let larder = before(&origin, &format!("{KEEPS}\nnegative_ttl = \"1h\"")).await;
    for asked in 1..4 {
        larder.client().get("/a").await.expect(999, "x");
        assert_eq!(origin.answered(), asked);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_many_lines_is_stored_whole() {
    let fields: String = (0..200).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 1\r\n\r\nx");
    let origin = RawOrigin::sending(answer.leak().as_bytes()).await;
    let larder = before(&origin, KEEPS).await;
    let whole = |answer: &str| (0..200).all(|n| answer.contains(&format!("\r\nx-{n}: {n}\r\n")));
    eventually("it is a hit", async || {
        let answer = ask(&larder, "GET", "/a").await;
        assert!(whole(&answer), "{answer}");
        answer.contains("larder; hit")
    })
    .await;
    assert_eq!(origin.answered(), 1);
}
