//! What if one of them does not keep to the rules? A client gets an answer that says what is wrong,
//! or its mistake is passed over where the RFCs say so; a response that cannot be trusted is a 502,
//! or reaches the one who asked; neither is ever stored, and the process goes on.
//!
//! | from | tables |
//! |---|---|
//! | the origin | [`MALFORMED`] → 502; [`CUT`] → a transfer that breaks off; [`ODD`] → passed over |
//! | the client | the tests at the end |

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rude::Rude;
use crate::stage::{Cache, Place, Protocol, date};
use crate::support::client::Reply;
use crate::support::wait::{eventually, soon};

/// A rude origin, and a cache in front of it.
struct World {
    origin: Rude,
    cache: Cache,
}

impl World {
    async fn start(place: Place, protocol: Protocol) -> Self {
        let origin = Rude::start().await;
        let cache = Cache::before(&origin.url(), place, protocol).await;
        Self { origin, cache }
    }

    async fn get(&self, path: &str) -> Reply {
        self.cache.client.get(path).await
    }

    /// Is it stored, whatever it may be good for?
    async fn stores(&self, path: &str) -> bool {
        !self.cache.larder.explain("GET", path).await["found"].is_null()
    }

    /// It is none the worse for what it was told: it still answers, from the store too.
    async fn is_well(&self, after: &str) {
        let path = format!("/well-after/{}", after.replace(' ', "-"));
        self.origin.on(
            &path,
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nwell",
        );
        self.get(&path).await.expect(200, "well");
        eventually(&format!("a hit, after {after}"), async || {
            self.get(&path).await.expect(200, "well").is_hit()
        })
        .await;
    }
}

/// Responses that are a 502: nobody can say where they end, or what they say.
const MALFORMED: &[(&str, &[u8])] = &[
    ("length of letters", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello"),
    ("negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"),
    ("signed length", b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"),
    ("length with exponent", b"HTTP/1.1 200 OK\r\nContent-Length: 1e1\r\n\r\nhello"),
    ("empty length", b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello"),
    (
        "length past counting",
        b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nhello",
    ),
    ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    ("list of lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!"),
    (
        "length and chunks",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunks and length",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    ("another coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("unknown coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\nhello"),
    ("chunked twice", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("space in a name", b"HTTP/1.1 200 OK\r\nX Y: z\r\nContent-Length: 0\r\n\r\n"),
    ("space before a colon", b"HTTP/1.1 200 OK\r\nX : z\r\nContent-Length: 0\r\n\r\n"),
    ("no name", b"HTTP/1.1 200 OK\r\n: z\r\nContent-Length: 0\r\n\r\n"),
    ("no colon", b"HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n"),
    ("octets in a name", b"HTTP/1.1 200 OK\r\nX-\xe4: z\r\nContent-Length: 0\r\n\r\n"),
    ("NUL in a name", b"HTTP/1.1 200 OK\r\nX\0: z\r\nContent-Length: 0\r\n\r\n"),
    ("NUL in a value", b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
    ("control in a value", b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n"),
    ("bare CR in a value", b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"),
    ("folded value", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
    ("no status", b"HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
    ("status of letters", b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n"),
    ("status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
    ("status of four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
    ("status below all", b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
    ("another version", b"HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n"),
    ("TLS", b"\x15\x03\x01\x00\x02\x02\x46"),
    (
        "switched unasked",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ),
    (
        "304 unasked",
        b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: \"1\"\r\n\r\n",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_an_origin_garbles_is_a_502_and_never_stored() {
    for (place, protocol) in everywhere() {
        let world = World::start(place, protocol).await;
        for (what, bytes) in MALFORMED {
            let path = format!("/{}", what.replace(' ', "-"));
            world.origin.on(&path, bytes);
            for _ in 0..2 {
                let reply = world.get(&path).await;
                assert_eq!(reply.status, 502, "{what}, {place:?}, {protocol:?}: {reply:?}");
                let fault = reply.json()["fault"].clone();
                assert_eq!(fault, "origin-malformed", "{what}, {place:?}, {protocol:?}: {reply:?}");
            }
            assert!(world.origin.saw(&path) >= 2, "{what}, {place:?}, {protocol:?}");
            assert!(!world.stores(&path).await, "{what}, {place:?}, {protocol:?}");
        }
        world.is_well("garbled responses").await;
    }
}

/// Content that stops before its end, behind a head that is all right.
const CUT: &[(&str, &str)] = &[
    ("short of its length", "Content-Length: 10\r\n\r\nhello"),
    ("without the last chunk", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    ("within a chunk", "Transfer-Encoding: chunked\r\n\r\n9\r\nhello"),
    ("a size of letters", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n\r\n"),
    ("a negative size", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n-1\r\n\r\n"),
    (
        "a size past counting",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n10000000000000001\r\nx",
    ),
    ("longer than its size", "Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n"),
    ("no line after a chunk", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n"),
    ("within the trailers", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n"),
    ("a trailer that is none", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX Y\r\n\r\n"),
];

#[tokio::test(flavor = "multi_thread")]
async fn content_that_breaks_off_is_seen_to_and_never_stored() {
    for (place, protocol) in everywhere() {
        let world = World::start(place, protocol).await;
        for (what, rest) in CUT {
            let path = format!("/{}", what.replace(' ', "-"));
            let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"1\"\r\n";
            world.origin.on(&path, format!("{head}{rest}").as_bytes());
            for _ in 0..2 {
                // Without a head if the end was known before that had left.
                if let Ok(live) = world.cache.client.asks("GET", &path).try_open().await {
                    let (status, told) = (live.status, live.headers.clone());
                    let (_, whole) = live.drain().await;
                    let what = format!("{what}, {place:?}, {protocol:?}");
                    assert!(status == 502 || !whole, "{what}: {status} {told:?}");
                }
            }
            assert!(world.origin.saw(&path) >= 2, "{what}, {place:?}, {protocol:?}");
            assert!(!world.stores(&path).await, "{what}, {place:?}, {protocol:?}");
        }
        world.is_well("cut content").await;
    }
}

/// Fields that say something that cannot be: passed over, and the rest of the response holds. Is it
/// stored?
const ODD: &[(&str, &str, bool)] = &[
    ("age of letters", "Age: old\r\nCache-Control: max-age=60", true),
    ("negative age", "Age: -1\r\nCache-Control: max-age=60", true),
    ("age past counting", "Age: 99999999999999999999\r\nCache-Control: max-age=60", false),
    (
        "two dates",
        "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nDate: x\r\nCache-Control: max-age=60",
        true,
    ),
    ("no date", "Date: today\r\nCache-Control: max-age=60", true),
    ("expires never", "Expires: never", false),
    ("expires in letters", "Expires: \u{e4}\u{f6}\r\nCache-Control: max-age=60", true),
    ("tag without quotes", "ETag: abc\r\nCache-Control: max-age=60", true),
    ("half a tag", "ETag: \"abc\r\nCache-Control: max-age=60", true),
    ("two tags", "ETag: \"a\"\r\nETag: \"b\"\r\nCache-Control: max-age=60", true),
    ("modified sometime", "Last-Modified: sometime\r\nCache-Control: max-age=60", true),
    ("empty fields", "Vary:\r\nETag:\r\nLast-Modified:\r\nAge:\r\nCache-Control: max-age=60", true),
    ("vary on commas", "Vary: , ,,\r\nCache-Control: max-age=60", true),
    ("vary on no name", "Vary: a b\r\nCache-Control: max-age=60", false),
    ("policy of commas", "Cache-Control: ,,,", false),
    ("policy of equals", "Cache-Control: =, ==, max-age=60", false),
    ("policy without end", "Cache-Control: max-age=60, x=\"", false),
    ("policy in octets", "Cache-Control: \u{e4}, max-age=60", false),
    ("the place of a part", "Content-Range: bytes 0-4/9\r\nCache-Control: max-age=60", true),
];

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_make_no_sense_are_passed_over() {
    for (place, protocol) in everywhere() {
        let world = World::start(place, protocol).await;
        for (what, fields, stored) in ODD {
            let path = format!("/{}", what.replace(' ', "-"));
            let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: 5\r\n\r\nhello");
            world.origin.on(&path, head.as_bytes());
            world.keeps_or_not(&path, *stored, &format!("{what}, {place:?}, {protocol:?}")).await;
        }
        let part =
            b"HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\
                     Content-Range: bytes 0-4/9\r\n\r\nhello";
        world.origin.on("/part", part);
        world.get("/part").await;
        assert!(!world.stores("/part").await, "{place:?}, {protocol:?}");
        world.is_well("odd fields").await;
    }
}

impl World {
    /// Answers with `hello`, from the store or not.
    async fn keeps_or_not(&self, path: &str, stored: bool, what: &str) {
        let first = self.get(path).await.expect(200, "hello");
        assert_eq!(first.status().has("stored"), stored, "{what}: {first:?}");
        if stored {
            eventually(&format!("{what}: stored"), async || self.stores(path).await).await;
        }
        let mut second = self.get(path).await.expect(200, "hello");
        while stored && second.status().has("collapsed") {
            second = self.get(path).await.expect(200, "hello");
        }
        assert_eq!(second.is_hit(), stored, "{what}: {second:?}");
        assert_eq!(self.stores(path).await, stored, "{what}");
    }
}

/// By HTTP/2 once, since what the origin says is read before anybody knows who asked.
fn everywhere() -> impl Iterator<Item = (Place, Protocol)> {
    let http1 = Place::ALL.into_iter().map(|place| (place, Protocol::Http1));
    http1.chain([(Place::Memory, Protocol::Http2)])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_any_size_is_taken_up_to_a_bound_that_is_told() {
    let lines = |count: usize| "X-Line: y\r\n".repeat(count);
    let long = |octets: usize| format!("X-Long: {}\r\n", "y".repeat(octets));
    let policy = |last: &str| format!("Cache-Control: {}{last}\r\n", "x=y, ".repeat(12_000));
    let names: String = (0..500).map(|n| format!("Vary: x-{n}, x-{n}-b\r\n")).collect();
    let names = names.replace("\r\nVary: ", ", ");
    for place in Place::ALL {
        let world = World::start(place, Protocol::Http1).await;
        for (what, fields, status, stored) in [
            ("90 lines", lines(90), 200, true),
            ("300 lines", lines(300), 502, false),
            ("100 kB in a line", long(100_000), 200, true),
            ("2 MB in a line", long(2_000_000), 502, false),
            ("60 kB of policy", policy("max-age=60"), 200, true),
            ("60 kB of policy and a no", policy("no-store"), 200, false),
            ("1000 names", names.clone(), 200, true),
        ] {
            let path = format!("/{}", what.replace(' ', "-"));
            let head = format!(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{fields}Content-Length: 5\r\n\r\nhello"
            );
            world.origin.on(&path, head.as_bytes());
            let what = format!("{what}, {place:?}");
            if status == 200 {
                world.keeps_or_not(&path, stored, &what).await;
            } else {
                let reply = world.get(&path).await;
                assert_eq!(reply.status, 502, "{what}: {reply:?}");
                assert_eq!(reply.json()["fault"], "origin-malformed", "{what}: {reply:?}");
                assert!(!world.stores(&path).await, "{what}");
            }
        }
        world.is_well("large heads").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_interim_responses_ends_with_an_answer() {
    let world = World::start(Place::Memory, Protocol::Http1).await;
    let storm = "HTTP/1.1 100 Continue\r\n\r\n".repeat(20_000);
    let end = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    for (path, bytes) in [("/ends", format!("{storm}{end}")), ("/endless", storm)] {
        world.origin.on(path, bytes.as_bytes());
        let reply = world.get(path).await;
        assert!([200, 502].contains(&reply.status), "{path}: {reply:?}");
        assert!(!world.stores(path).await, "{path}");
    }
    assert!(world.cache.larder.resident() < 500 << 20);
    world.is_well("interim responses").await;
}

/// RFC 9110 §15.4.5: a 304 answers a condition. One that answers none, or another one, leaves
/// nothing to serve, and what is stored was not confirmed by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_304_that_insists_on_another_tag_is_a_502_and_labels_nothing() {
    for place in Place::ALL {
        let world = World::start(place, Protocol::Http1).await;
        let old = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nAge: 100\r\nETag: \"1\"\r\n\
                   Content-Length: 5\r\n\r\nhello";
        world.origin.on("/a", old.as_bytes());
        world.get("/a").await.expect(200, "hello");
        eventually("it is stored", async || world.stores("/a").await).await;
        let other =
            b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: \"2\"\r\n\r\n";
        world.origin.on("/a", other);
        for _ in 0..2 {
            let reply = world.get("/a").await;
            assert_eq!(reply.status, 502, "{place:?}: {reply:?}");
        }
        world.origin.on("/a", old.as_bytes());
        world.get("/a").await.expect(200, "hello");
    }
}

/// What a client may write into a field, and whether a hit comes of it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_garbles_is_passed_over_where_it_decides_nothing() {
    let tags = |last: &str| format!("{}{last}", "\"x\", ".repeat(1_600));
    let (none, some) = (tags("\"no\""), tags("\"1\""));
    let long = "x".repeat(8_000);
    let equals = "=,".repeat(4_000);
    let quotes = "\"\\".repeat(4_000);
    let later = date(-10);
    for (place, protocol) in everywhere() {
        let world = World::start(place, protocol).await;
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"1\"\r\n\
                    Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 5\r\n\r\nhello";
        world.origin.on("/a", head.as_bytes());
        world.keeps_or_not("/a", true, "a plain one").await;
        for (name, value, status) in [
            ("if-none-match", none.as_str(), 200),
            ("if-none-match", &some, 304),
            ("if-none-match", &long, 200),
            ("if-none-match", &quotes, 200),
            ("if-modified-since", &long, 200),
            ("if-modified-since", &later, 304),
            ("if-modified-since", "Sun, 32 Nov 1994 08:49:37 GMT", 200),
            ("cache-control", &long, 200),
            ("cache-control", &equals, 200),
            ("cache-control", &quotes, 200),
            ("pragma", &quotes, 200),
            ("accept-encoding", &equals, 200),
            ("accept", &quotes, 200),
            ("cookie", &long, 200),
            ("if-range", &quotes, 200),
            ("larder-min-position", "soon", 200),
            ("larder-min-position", &long, 200),
            ("via", "\u{e4}", 200),
            ("x-octets", "\u{e4}\u{1f980}", 200),
        ] {
            let asking = world.cache.client.asks("GET", "/a").header(name, value).send();
            let reply = asking.await;
            let told = value.get(..value.len().min(30));
            assert!(
                reply.status == status && reply.is_hit(),
                "{name}: {told:?}, {place:?}, {protocol:?}: {reply:?}"
            );
        }
        assert_eq!(world.origin.saw("/a"), 1, "{place:?}, {protocol:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_selects_a_variant_may_be_long_and_odd() {
    for (place, protocol) in everywhere() {
        let world = World::start(place, protocol).await;
        let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\
                    Vary: Accept-Encoding, Accept, X-Long\r\n\r\nhello";
        world.origin.on("/a", head.as_bytes());
        let members = "gzip;q=0.5, ".repeat(600);
        let values = ["x".repeat(8_000), "\"\\".repeat(4_000), members, ",;=".repeat(2_000)];
        for (number, value) in values.iter().enumerate() {
            for name in ["accept-encoding", "accept", "x-long"] {
                let ask = || world.cache.client.asks("GET", "/a").header(name, value).send();
                let what = format!("{name} {number}, {place:?}, {protocol:?}");
                ask().await.expect(200, "hello");
                eventually(&what, async || ask().await.expect(200, "hello").is_hit()).await;
            }
        }
        world.is_well("long selecting fields").await;
    }
}

/// Sends these bytes; everything that comes back until the connection closes.
async fn tell(world: &World, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(world.cache.larder.address()).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let what = format!("the connection closes: {:?}", String::from_utf8_lossy(bytes));
    let _ = soon(&what, stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_leaves_ambiguous_is_refused_with_the_reason_even_where_a_hit_waits() {
    let world = World::start(Place::Memory, Protocol::Http1).await;
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello";
    world.origin.on("/a", head.as_bytes());
    world.keeps_or_not("/a", true, "a plain one").await;
    let host = world.cache.larder.address();
    let long = "x".repeat(40_000);
    let many = "X: y\r\n".repeat(120);
    for (what, line, fields, status) in [
        ("two hosts", "GET /a HTTP/1.1", format!("Host: {host}\r\nHost: {host}\r\n"), 400),
        ("no host", "GET /a HTTP/1.1", String::new(), 400),
        ("odd host", "GET /a HTTP/1.1", "Host: a b\r\n".to_owned(), 400),
        (
            "two lengths",
            "GET /a HTTP/1.1",
            format!("Host: {host}\r\nContent-Length: 0\r\nContent-Length: 1\r\n"),
            400,
        ),
        ("folded", "GET /a HTTP/1.1", format!("Host: {host}\r\nX: a\r\n b\r\n"), 400),
        ("bare CR", "GET /a HTTP/1.1", format!("Host: {host}\r\nX: a\rb\r\n"), 400),
        ("NUL", "GET /a HTTP/1.1", format!("Host: {host}\r\nX: a\0b\r\n"), 400),
        (
            "hidden directive",
            "GET /a HTTP/1.1",
            format!("Host: {host}\r\nConnection: cache-control\r\n"),
            400,
        ),
        ("octets in the target", "GET /\u{e4} HTTP/1.1", format!("Host: {host}\r\n"), 400),
        ("expectation", "GET /a HTTP/1.1", format!("Host: {host}\r\nExpect: more\r\n"), 417),
        ("long field", "GET /a HTTP/1.1", format!("Host: {host}\r\nX: {long}\r\n"), 431),
        ("many fields", "GET /a HTTP/1.1", format!("Host: {host}\r\n{many}"), 431),
        ("long target", &*format!("GET /{long} HTTP/1.1"), format!("Host: {host}\r\n"), 414),
    ] {
        let answer = tell(&world, format!("{line}\r\n{fields}\r\n").as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{what}: {answer:?}");
        assert!(!answer.contains("hello"), "{what}: {answer:?}");
    }
    // In whichever form the target comes, it is the same one.
    for line in [format!("GET http://{host}/a HTTP/1.1"), "GET /a HTTP/1.1".to_owned()] {
        let request = format!("{line}\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = tell(&world, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("larder; hit"), "{answer:?}");
    }
    assert_eq!(world.origin.saw("/a"), 1);
    world.is_well("ambiguous requests").await;
}
