//! Interim responses (RFC 9110 §15.2): told to the client that waits, where they belong between
//! two responses, and to nobody else.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::support::{Client, Origin, Proxy, Step, eventually, ok, settings, write};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";

fn hints_then(content: &str) -> Vec<Step> {
    [write(HINTS)].into_iter().chain(ok(content)).collect()
}

async fn statuses(client: &mut Client) -> Vec<u16> {
    let mut statuses = Vec::new();
    loop {
        let reply = client.reply().await;
        assert!(reply.whole, "{reply:?}");
        statuses.push(reply.status);
        if reply.status >= 200 {
            return statuses;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_reach_the_client_before_the_answer_is_there() {
    let more = Arc::new(Notify::new());
    let wait = Arc::clone(&more);
    let origin = Origin::start(move |_| {
        let wait = Step::Wait(Arc::clone(&wait));
        [write(HINTS), wait].into_iter().chain(ok("x")).collect()
    })
    .await;
    let proxy = Proxy::start(&origin);
    let mut client = proxy.connect().await;
    client.send(GET).await;
    assert_eq!(client.head().await, "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n");
    more.notify_one();
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "x"));
    assert!(reply.field("link").is_empty(), "not merged into the answer: {reply:?}");
    assert!(client.some(0).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_that_come_together_with_the_answer_stand_in_front_of_it() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    let origin = Origin::start(move |_| vec![write(format!("{HINTS}{HINTS}{answer}"))]).await;
    let proxy = Proxy::start(&origin);
    let mut client = proxy.connect().await;
    for _ in 0..50 {
        client.send(GET).await;
        assert_eq!(statuses(&mut client).await, [103, 103, 200]);
    }
    assert_eq!(origin.connections(), 1, "the origin's connection is in order too");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_request_on_the_connection_is_answered_intact() {
    let origin = Origin::start(|r| match r.line().contains("/next") {
        true => ok("next"),
        false => hints_then("first"),
    })
    .await;
    let proxy = Proxy::start(&origin);
    let mut client = proxy.connect().await;
    for _ in 0..3 {
        client.send(GET).await;
        assert_eq!(statuses(&mut client).await, [103, 200]);
        client.send("GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "next"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_status_but_100_is_told_and_of_its_fields_those_for_the_client() {
    let origin = Origin::start(|_| {
        let fields = "Connection: X-Listed\r\nX-Listed: 1\r\nKeep-Alive: timeout=5\r\n\
                      Proxy-Authenticate: Basic\r\nX-Kept: 1\r\nX-Kept: 2\r\n\r\n";
        let interim = [100, 102, 103, 199].map(|s| write(format!("HTTP/1.1 {s} Hm\r\n{fields}")));
        interim.into_iter().chain(ok("x")).collect()
    })
    .await;
    let proxy = Proxy::start(&origin);
    let mut client = proxy.connect().await;
    client.send(GET).await;
    for line in ["102 Processing", "103 Early Hints", "199 "] {
        let head = client.head().await;
        assert_eq!(head, format!("HTTP/1.1 {line}\r\nx-kept: 1\r\nx-kept: 2\r\n\r\n"));
    }
    assert_eq!(client.reply().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_1_0_is_told_nothing() {
    let origin = Origin::start(|_| hints_then("x")).await;
    let proxy = Proxy::start(&origin);
    for field in ["", "Connection: keep-alive\r\n"] {
        let mut client = proxy.connect().await;
        client.send(format!("GET / HTTP/1.0\r\nHost: a.test\r\n{field}\r\n")).await;
        assert_eq!(statuses(&mut client).await, [200]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_to_continue_is_told_both() {
    let origin = Origin::start(|_| hints_then("stored")).await;
    let proxy = Proxy::start(&origin);
    let mut client = proxy.connect().await;
    client
        .send("PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello").await;
    assert_eq!(statuses(&mut client).await, [103, 200]);
    assert_eq!(origin.only().content, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_may_come_before_the_protocol_is_switched() {
    let origin = Origin::start(|_| {
        let switch =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        vec![write(format!("{HINTS}{switch}welcome")), Step::Echo]
    })
    .await;
    let proxy = Proxy::start(&origin);
    let mut client = proxy.connect().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 103 "));
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(client.some(7).await, b"welcome");
    client.send("hello").await;
    assert_eq!(client.some(5).await, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_end_of_them_is_cut_to_a_number_and_does_not_keep_an_answer_from_being_late() {
    let origin = Origin::start(|_| vec![write(HINTS.repeat(40)), Step::Hang]).await;
    let mut settings = settings(&[origin.address]);
    settings.origin.timeout = Duration::from_millis(300);
    let proxy = Proxy::with(settings);
    let mut client = proxy.connect().await;
    client.send(GET).await;
    let mut expected = vec![103; 16];
    expected.push(504);
    assert_eq!(statuses(&mut client).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_do_not_make_the_origin_more_patient_than_it_is() {
    let tick = Arc::new(Notify::new());
    let wait = Arc::clone(&tick);
    let origin = Origin::start(move |_| {
        let drip = || [write("HTTP/1.1 102 Processing\r\n\r\n"), Step::Wait(Arc::clone(&wait))];
        (0..100).flat_map(|_| drip()).collect()
    })
    .await;
    let mut settings = settings(&[origin.address]);
    settings.origin.timeout = Duration::from_millis(400);
    let proxy = Proxy::with(settings);
    let mut client = proxy.connect().await;
    client.send(GET).await;
    let clock = tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(50)).await;
            tick.notify_one();
        }
    });
    let statuses = statuses(&mut client).await;
    assert_eq!(statuses.last(), Some(&504), "{statuses:?}");
    assert!(statuses.len() > 3, "it was alive: {statuses:?}");
    clock.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_head_reaches_a_client_that_reads_slowly() {
    let large = "x".repeat(200 * 1024);
    let head = format!("HTTP/1.1 103 Early Hints\r\nX-Large: {large}\r\n\r\n");
    let expected = large.clone();
    let origin =
        Origin::start(move |_| [write(head.clone())].into_iter().chain(ok(&large)).collect()).await;
    let proxy = Proxy::start(&origin);
    let mut client = narrow(&proxy).await;
    client.send(GET.repeat(2)).await;
    sleep(Duration::from_millis(100)).await;
    for _ in 0..2 {
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.field("x-large")), (103, vec![expected.as_str()]));
        let reply = client.reply().await;
        assert!(reply.status == 200 && reply.text() == expected, "{}", reply.head);
    }
}

/// A client whose socket holds little: what it does not read stays with the proxy.
async fn narrow(proxy: &Proxy) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    Client::on(socket.connect(proxy.address).await.unwrap())
}

/// The content of the answer to a request, and the request's number again at its end.
fn content(number: usize) -> String {
    let size = number * 7919 % 30_000;
    format!("{}{number}", "x".repeat(size))
}

#[tokio::test(flavor = "multi_thread")]
async fn between_the_answers_to_a_slow_reader_none_is_ever_out_of_place() {
    const REQUESTS: usize = 40;
    let origin = Origin::start(|r| {
        let number: usize = r.field("x-number")[0].parse().unwrap();
        let hints = format!("HTTP/1.1 103 Early Hints\r\nX-Number: {number}\r\n\r\n");
        [write(hints.repeat(3))].into_iter().chain(ok(&content(number))).collect()
    })
    .await;
    let proxy = Proxy::start(&origin);
    for slow in [false, true] {
        let mut client = narrow(&proxy).await;
        let requests: String = (0..REQUESTS)
            .map(|n| format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-Number: {n}\r\n\r\n"))
            .collect();
        client.send(requests).await;
        let mut told = 0;
        for number in 0..REQUESTS {
            loop {
                let reply = client.reply().await;
                if reply.status == 103 {
                    assert_eq!(reply.field("x-number"), [number.to_string()]);
                    told += 1;
                    continue;
                }
                assert!(reply.status == 200 && reply.text() == content(number), "{}", reply.head);
                break;
            }
            if slow && number % 10 == 0 {
                sleep(Duration::from_millis(20)).await;
            }
        }
        assert_eq!(told, 3 * REQUESTS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_for_a_client_that_has_left_is_nobodys() {
    let more = Arc::new(Notify::new());
    let wait = Arc::clone(&more);
    let origin = Origin::start(move |r| match r.line().contains("/next") {
        true => ok("next"),
        false => vec![Step::Wait(Arc::clone(&wait)), write(HINTS), Step::Hang],
    })
    .await;
    let proxy = Proxy::start(&origin);
    let mut leaves = proxy.connect().await;
    leaves.send(GET).await;
    eventually("the origin is asked", || origin.received().len() == 1).await;
    drop(leaves);
    let mut client = proxy.connect().await;
    client.send("GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    more.notify_one();
    assert_eq!(statuses(&mut client).await, [200]);
}
