//! Is a response that is cut, endless or too large ever stored?

use std::time::Duration;

use tokio::time::timeout;

use crate::World;
use crate::support::larder::Setup;
use crate::support::origin::{RawOrigin, ok};
use crate::support::wait::eventually;

const KEEPS: &str = "soft_ttl = \"1h\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_short_reaches_the_client_as_an_aborted_transfer_and_is_not_stored() {
    let world = World::with(KEEPS).await;
    let content = "0123456789abcdef";
    for sent in [0, 1, 7, 15] {
        for chunked in [false, true] {
            let path = format!("/{sent}/{chunked}");
            world.origin.on(&path).answers(move |asked| match (asked.before, chunked) {
                (0, false) => ok(content).cut_after(sent),
                (0, true) => ok(content).cut_chunked_after(sent),
                _ => ok(content),
            });
            let asking = world.client.asks("GET", &path);
            if let Ok(live) = asking.try_open().await {
                let reply = live.rest().await;
                let visible = !reply.whole || reply.status == 502;
                assert!(visible, "{path}: {} {:?}", reply.status, reply.text());
            }
            let next = world.client.get(&path).await.expect(200, content);
            assert!(next.is_forwarded(), "{path}: {:?}", next.status());
            world.warm(&path).await.expect(200, content);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_who_waited_sees_that_it_was_cut() {
    let world = World::with(KEEPS).await;
    let long = "x".repeat(200_000);
    world.origin.on("/a").answers(move |asked| match asked.before {
        0 => ok(long.clone()).cut_after(150_000).delay(Duration::from_millis(100)),
        _ => ok("whole"),
    });
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let asking = world.client.asks("GET", "/a");
            tokio::spawn(async move {
                match asking.try_open().await {
                    Ok(live) => Some(live.rest().await),
                    Err(_) => None,
                }
            })
        })
        .collect();
    for reply in asked {
        if let Some(reply) = reply.await.unwrap() {
            let whole = reply.whole && reply.status == 200;
            assert!(!whole || reply.text() == "whole", "{} bytes", reply.text().len());
        }
    }
    world.warm("/a").await.expect(200, "whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_with_the_connection_is_passed_on_and_never_stored() {
    let answer = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\n\r\nas far as it goes";
    let origin = RawOrigin::sending(answer).await;
    let larder = Setup::before(&origin.url()).route("/a", KEEPS).start().await;
    let client = larder.client();
    for asked in 1..4 {
        client.get("/a").await.expect(200, "as far as it goes");
        assert_eq!(origin.answered(), asked, "nobody can tell whether that was all");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_http_is_a_502_and_not_stored() {
    for answer in [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde".as_slice(),
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"",
    ] {
        let origin = RawOrigin::sending(answer).await;
        let larder = Setup::before(&origin.url()).route("/a", KEEPS).start().await;
        let reply = larder.client().get("/a").await;
        assert_eq!(reply.status, 502, "{:?}", String::from_utf8_lossy(answer));
        assert_eq!(reply.field("content-type"), "application/problem+json");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_to_store_is_streamed_whole_and_not_stored() {
    let world = World::with(&format!("{KEEPS}\nmax_entry = \"100KiB\"")).await;
    for announced in [true, false] {
        let path = format!("/{announced}");
        world.origin.on(&path).replies(ok("").endless(1 << 20, announced));
        for asked in 1..4 {
            let live = world.client.asks("GET", &path).open().await;
            assert_eq!(live.announced(), announced.then_some(1 << 20));
            assert_eq!(live.drain().await, (1 << 20, true), "{path}");
            assert_eq!(world.origin.saw(&path), asked);
        }
        let told = world.larder.explain("GET", &path).await;
        assert!(told["found"].is_null(), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_as_large_as_allowed_is_stored() {
    let world = World::with(&format!("{KEEPS}\nmax_entry = \"100KiB\"")).await;
    for (path, announced) in [("/announced", true), ("/chunked", false)] {
        world.origin.on(path).replies(ok("").endless(100 << 10, announced));
        assert_eq!(world.warm(path).await.text().len(), 100 << 10);
        assert_eq!(world.origin.saw(path), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_flows_through_without_being_held() {
    const GIGABYTE: u64 = 1 << 30;
    let world = World::set_up(|s| crate::everywhere(s, KEEPS).store("memory = \"64MiB\"")).await;
    world.origin.on("/huge").replies(ok("").endless(GIGABYTE, false));
    let live = world.client.asks("GET", "/huge").open().await;
    let reading = tokio::spawn(live.drain());
    let mut most = 0;
    timeout(Duration::from_secs(60), async {
        while !reading.is_finished() {
            most = most.max(world.larder.resident());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("a gigabyte within a minute");
    assert_eq!(reading.await.unwrap(), (GIGABYTE, true));
    assert!(most < 200 << 20, "{} MiB resident", most >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_holds_up_the_origin_and_not_the_memory() {
    let world = World::set_up(|s| crate::everywhere(s, KEEPS).store("memory = \"64MiB\"")).await;
    world.origin.on("/huge").replies(ok("").endless(1 << 30, true));
    let idle = world.client.asks("GET", "/huge").open().await;
    let deadline = tokio::time::Instant::now() + Duration::from_millis(500);
    while tokio::time::Instant::now() < deadline {
        assert!(world.larder.resident() < 200 << 20, "{} MiB", world.larder.resident() >> 20);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(idle);
    eventually("the origin is let go", async || world.origin.connections() == 0).await;
}
