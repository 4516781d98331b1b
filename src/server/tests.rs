//! What is answered at once and what hyper answers, on one connection: in the order in which it was
//! asked, and nothing twice.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tower::service_fn;

use super::serve;
use crate::body::Body;
use crate::config::{Config, Limits, Overrides};
use crate::fast::{Ahead, FastPath, Found, Head, Looking};

const PATIENCE: Duration = Duration::from_secs(10);

/// Answers `/fast…` with the target, or with as many bytes as it ends with digits for; `/late…` the
/// same after a look of as many milliseconds, unless it ends with `nothing`.
#[derive(Clone, Default)]
struct Fast {
    looks: Arc<Notify>,
}

impl FastPath for Fast {
    fn answer(
        &mut self,
        head: &Head<'_>,
        found: Option<&Found>,
        out: &mut Vec<u8>,
    ) -> Option<Bytes> {
        let begins = if found.is_some() { "/late" } else { "/fast" };
        let rest = head.target.strip_prefix(begins).filter(|rest| !rest.ends_with("nothing"))?;
        let content = match rest.parse() {
            Ok(length) => Bytes::from(vec![b'f'; length]),
            Err(_) => Bytes::from(format!("fast {}", head.target)),
        };
        let line = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", content.len());
        out.extend_from_slice(line.as_bytes());
        Some(content)
    }

    fn ahead(&mut self, head: &Head<'_>, found: Option<Found>) -> Result<Ahead, Option<Found>> {
        let Some(rest) = head.target.strip_prefix("/late").filter(|_| found.is_none()) else {
            return Err(found);
        };
        let pause = Duration::from_millis(rest.parse().unwrap_or(20));
        let found = Found(Arc::new(head.target.to_owned()));
        self.looks.notify_one();
        Ok(Box::pin(async move {
            sleep(pause).await;
            found
        }))
    }

    fn respond(&mut self, head: &Head<'_>) -> Option<Response<Bytes>> {
        Some(Response::new(self.answer(head, None, &mut Vec::new())?))
    }

    fn look(&mut self, _: &mut Option<Parts>) -> Option<Looking> {
        None
    }
}

/// Says what it was asked, after as many milliseconds as `/slow…` ends with; and what was found for
/// it.
async fn long(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let (head, content) = request.into_parts();
    if let Some(Ok(millis)) = head.uri.path().strip_prefix("/slow").map(str::parse) {
        sleep(Duration::from_millis(millis)).await;
    }
    let content = content.collect().await.map(|all| all.to_bytes()).unwrap_or_default();
    let content = String::from_utf8_lossy(&content);
    let found = head.extensions.get::<Found>().and_then(|found| found.0.downcast_ref::<String>());
    let found = found.map_or_else(String::new, |found| format!("found for {found}"));
    let said = format!("long {} {} {content}{found}", head.method, head.uri);
    Ok(Response::new(Body::full(said)))
}

async fn start(limits: impl FnOnce(&mut Limits)) -> SocketAddr {
    let file = Some(("", "origin.url = \"http://127.0.0.1:1\""));
    let loaded = Config::load(file, &Overrides::default(), &|_| None);
    let mut config = loaded.unwrap_or_else(|errors| panic!("{errors}")).0;
    limits(&mut config.limits);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let ways = (service_fn(long), Fast::default());
        serve(listener, ways, &config.limits, std::future::pending()).await
    });
    address
}

async fn connect() -> TcpStream {
    TcpStream::connect(start(|_| ()).await).await.unwrap()
}

/// The contents of the next responses.
async fn contents(client: &mut TcpStream, count: usize) -> Vec<String> {
    let mut bytes = Vec::new();
    let mut contents = Vec::new();
    while contents.len() < count {
        let read = timeout(PATIENCE, client.read_buf(&mut bytes)).await.expect("in time").unwrap();
        assert!(read > 0, "closed after {contents:?} and {:?}", String::from_utf8_lossy(&bytes));
        while let Some((length, content)) = response(&bytes) {
            contents.push(content);
            bytes.drain(..length);
        }
    }
    assert_eq!(String::from_utf8_lossy(&bytes), "", "after {contents:?}");
    contents
}

/// The first response in `bytes`: how long it is, and its content.
fn response(bytes: &[u8]) -> Option<(usize, String)> {
    let mut lines = [httparse::EMPTY_HEADER; 16];
    let mut head = httparse::Response::new(&mut lines);
    let httparse::Status::Complete(begin) = head.parse(bytes).unwrap() else { return None };
    let sized = head.headers.iter().find(|l| l.name.eq_ignore_ascii_case("content-length"));
    let length: usize = std::str::from_utf8(sized?.value).unwrap().parse().unwrap();
    let content = bytes.get(begin..begin + length)?;
    Some((begin + length, String::from_utf8_lossy(content).into_owned()))
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: a.test\r\n\r\n")
}

fn post(target: &str, content: &str) -> String {
    let length = content.len();
    format!("POST {target} HTTP/1.1\r\nhost: a.test\r\ncontent-length: {length}\r\n\r\n{content}")
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_questions_however_they_are_answered() {
    let mut client = connect().await;
    let asked = [
        get("/fast/1"),
        get("/long"),
        get("/fast/2"),
        post("/fast/p", "content"),
        get("/fast/3"),
        get("/slow50"),
        get("/late/1"),
        get("/late/2"),
        get("/late/nothing"),
        get("/long"),
        get("/late/3"),
        post("/late/nothing", "content"),
        get("/fast/4"),
        get("/fast/5"),
    ]
    .concat();
    client.write_all(asked.as_bytes()).await.unwrap();
    assert_eq!(
        contents(&mut client, 14).await,
        [
            "fast /fast/1",
            "long GET /long ",
            "fast /fast/2",
            "long POST /fast/p content",
            "fast /fast/3",
            "long GET /slow50 ",
            "fast /late/1",
            "fast /late/2",
            "long GET /late/nothing found for /late/nothing",
            "long GET /long ",
            "fast /late/3",
            "long POST /late/nothing content",
            "fast /fast/4",
            "fast /fast/5",
        ]
    );
}

#[tokio::test]
async fn it_makes_no_difference_how_requests_are_cut() {
    let asked = [get("/fast/1"), post("/p", "GET /x"), get("/long"), get("/fast/2")].concat();
    let expected = ["fast /fast/1", "long POST /p GET /x", "long GET /long ", "fast /fast/2"];
    let address = start(|_| ()).await;
    for size in [1, 7, 30, 64] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.set_nodelay(true).unwrap();
        for piece in asked.as_bytes().chunks(size) {
            client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(contents(&mut client, 4).await, expected, "in pieces of {size}");
    }
}

#[tokio::test]
async fn content_that_looks_like_a_request_is_none() {
    let mut client = connect().await;
    let inner = get("/fast/inner");
    client.write_all(post("/p", &inner).as_bytes()).await.unwrap();
    client.write_all(get("/fast/outer").as_bytes()).await.unwrap();
    let expected = [format!("long POST /p {inner}"), "fast /fast/outer".to_owned()];
    assert_eq!(contents(&mut client, 2).await, expected);
}

#[tokio::test]
async fn after_what_has_no_plain_end_all_goes_the_long_way() {
    let mut client = connect().await;
    let inner = get("/fast/inner");
    let chunked = format!(
        "POST /p HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{inner}\r\n0\r\n\r\n",
        inner.len()
    );
    let asked = [get("/fast/1"), chunked, get("/fast/2")].concat();
    client.write_all(asked.as_bytes()).await.unwrap();
    let expected = [
        "fast /fast/1".to_owned(),
        format!("long POST /p {inner}"),
        "long GET /fast/2 ".to_owned(),
    ];
    assert_eq!(contents(&mut client, 3).await, expected);
}

#[tokio::test]
async fn what_is_asked_for_while_hyper_answers_waits_its_turn() {
    let mut client = connect().await;
    client.write_all(get("/slow200").as_bytes()).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    client.write_all(get("/fast/next").as_bytes()).await.unwrap();
    assert_eq!(contents(&mut client, 2).await, ["long GET /slow200 ", "fast /fast/next"]);
}

#[tokio::test]
async fn more_than_the_socket_takes_arrives_whole() {
    let mut client = connect().await;
    let asked = [get("/fast5000000"), get("/long"), get("/fast4096"), get("/fast4097")].concat();
    client.write_all(asked.as_bytes()).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    let contents = contents(&mut client, 4).await;
    let lengths: Vec<usize> = contents.iter().map(String::len).collect();
    assert_eq!(lengths, [5_000_000, "long GET /long ".len(), 4096, 4097]);
}

#[tokio::test]
async fn a_client_that_goes_on_asking_is_not_cut_off() {
    let limit = Duration::from_secs(1);
    let address = start(|limits| limits.header_timeout = limit).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < limit * 3 / 2 {
        client.write_all(get("/fast/x").as_bytes()).await.unwrap();
        assert_eq!(contents(&mut client, 1).await, ["fast /fast/x"]);
        sleep(limit / 10).await;
    }
    let idle = Instant::now();
    let closed = timeout(PATIENCE, client.read_u8()).await.expect("closed in time");
    assert!(closed.is_err() && idle.elapsed() > limit / 2, "after {:?}", idle.elapsed());
}

#[tokio::test]
async fn a_client_that_takes_nothing_in_is_cut_off() {
    let address = start(|limits| limits.write_timeout = Duration::from_millis(200)).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(get("/fast50000000").as_bytes()).await.unwrap();
    sleep(Duration::from_millis(600)).await;
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, client.read_to_end(&mut bytes)).await.expect("closed in time");
    assert!(read.is_err() || bytes.len() < 50_000_000);
}

#[tokio::test]
async fn the_last_words_of_a_client_that_closes_its_half_are_answered() {
    let mut client = connect().await;
    client.write_all([get("/fast/1"), get("/fast/2")].concat().as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(contents(&mut client, 2).await, ["fast /fast/1", "fast /fast/2"]);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn the_time_of_a_look_is_not_the_clients() {
    let address = start(|limits| limits.header_timeout = Duration::from_millis(100)).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    for round in 0..2 {
        client.write_all(get("/late300").as_bytes()).await.unwrap();
        assert_eq!(contents(&mut client, 1).await, ["f".repeat(300)], "{round}");
    }
}

#[tokio::test]
async fn who_is_being_looked_up_for_is_answered_before_the_server_goes_away() {
    for (target, expected) in [
        ("/late/1", "fast /late/1"),
        ("/late/nothing", "long GET /late/nothing found for /late/nothing"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let file = Some(("", "origin.url = \"http://127.0.0.1:1\""));
        let loaded = Config::load(file, &Overrides::default(), &|_| None);
        let limits = loaded.unwrap_or_else(|errors| panic!("{errors}")).0.limits;
        let (fast, go) = (Fast::default(), Arc::new(Notify::new()));
        let (looks, gone) = (Arc::clone(&fast.looks), Arc::clone(&go));
        let server = tokio::spawn(async move {
            serve(listener, (service_fn(long), fast), &limits, async move { go.notified().await })
                .await
        });
        client.write_all(get(target).as_bytes()).await.unwrap();
        looks.notified().await;
        gone.notify_one();
        assert_eq!(contents(&mut client, 1).await, [expected]);
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, client.read_to_end(&mut rest)).await.expect("it is closed");
        assert_eq!(read.unwrap(), 0);
        timeout(PATIENCE, server).await.expect("it has gone").unwrap();
    }
}
