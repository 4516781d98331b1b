//! When are two requests the same?

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::World;
use crate::support::origin::ok;
use crate::support::wait::eventually;

/// An origin that answers with what it was asked.
async fn echoing(keys: &str) -> World {
    let world = World::set_up(|s| s.route("/a", &format!("soft_ttl = \"60s\"\n{keys}"))).await;
    world.origin.on("/a").answers(|asked| {
        ok(format!("{} {} {}", asked.field("host"), asked.target, asked.field("cookie")))
    });
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_parameters_does_not_matter() {
    let world = echoing("").await;
    world.warm("/a?x=1&y=2").await;
    for same in ["/a?y=2&x=1", "/a?x=1&y=2"] {
        assert!(world.client.get(same).await.is_shared(), "{same}");
    }
    assert_eq!(world.origin.saw("/a"), 1);
    for other in ["/a?x=2&y=1", "/a?x=1", "/a?x=1&y=2&z=3", "/a?X=1&y=2", "/a", "/a?x=1&x=1&y=2"] {
        assert!(world.client.get(other).await.is_forwarded(), "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_parameters_of_one_name_does() {
    let world = echoing("").await;
    world.warm("/a?x=1&x=2").await;
    let reply = world.client.get("/a?x=2&x=1").await;
    assert!(reply.is_forwarded() && reply.text().contains("x=2&x=1"), "{}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn ignored_parameters_neither_count_nor_reach_the_origin() {
    let world = echoing("query.ignore = [\"utm_*\", \"ref\"]").await;
    world.warm("/a?utm_source=x&q=1&ref=y").await;
    assert_eq!(world.origin.asked("/a")[0].target, "/a?q=1");
    for same in ["/a?q=1", "/a?q=1&utm_campaign=z", "/a?ref=other&q=1"] {
        assert!(world.client.get(same).await.is_shared(), "{same}");
    }
    assert!(world.client.get("/a?q=2&utm_source=x").await.is_forwarded());
    assert_eq!(world.origin.saw("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_named_parameters_count_and_reach_the_origin() {
    let world = echoing("query.only = [\"q\", \"page\"]").await;
    world.warm("/a?page=2&q=1&cachebuster=9").await;
    assert_eq!(world.origin.asked("/a")[0].target.matches('=').count(), 2);
    assert!(world.client.get("/a?x=17&q=1&page=2").await.is_shared());
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_do_not_share_entries() {
    let world = echoing("").await;
    for host in ["a.test", "b.test", "a.test:8443"] {
        let asked = world.client.asks("GET", "/a").host(host).send().await;
        assert!(asked.is_forwarded(), "{host}");
        assert!(asked.text().starts_with(host), "{host}: {}", asked.text());
    }
    assert_eq!(world.origin.saw("/a"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn spellings_of_one_host_share_an_entry() {
    let world = echoing("").await;
    let host = "Api.Test";
    world.client.asks("GET", "/a").host(host).send().await;
    let own = format!("api.test:{}", world.larder.address().port());
    for same in ["api.test", "API.TEST", "api.test:80", "api.test.", &own] {
        let reply = world.client.asks("GET", "/a").host(same).send().await;
        assert!(reply.is_shared(), "{same}: {:?}", reply.status());
    }
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn named_fields_are_part_of_the_key() {
    let world = echoing("key.headers = [\"x-tenant\"]").await;
    let ask = |tenant: &str| world.client.asks("GET", "/a").header("x-tenant", tenant).send();
    assert!(ask("one").await.is_forwarded());
    assert!(ask("two").await.is_forwarded());
    assert!(world.client.get("/a").await.is_forwarded(), "without it is different again");
    assert!(ask("one").await.is_shared());
    assert!(ask("two").await.is_shared());
    assert!(world.client.get("/a").await.is_shared());
    assert_eq!(world.origin.saw("/a"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn named_cookies_are_part_of_the_key_and_others_are_not() {
    let world = echoing("key.cookies = [\"currency\"]").await;
    let ask = |cookies: &str| world.client.asks("GET", "/a").header("cookie", cookies).send();
    assert!(ask("currency=eur; session=1").await.is_forwarded());
    assert!(ask("currency=usd; session=1").await.is_forwarded());
    assert!(ask("session=2; currency=eur").await.is_shared());
    assert!(ask("currency=usd").await.is_shared());
    assert_eq!(world.origin.saw("/a"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_are_told_apart_byte_by_byte() {
    let world = World::with("soft_ttl = \"60s\"").await;
    for path in ["/x/y", "/x%2Fy", "/x%2fy", "/x/./y", "/x//y", "/X/y", "/x/y/"] {
        world.origin.on(path).answers(|asked| ok(asked.target.clone()));
        let reply = world.client.get(path).await;
        if reply.status == 400 {
            continue;
        }
        assert!(reply.is_forwarded(), "{path} was taken for another");
        assert_eq!(reply.text(), path, "the origin gets the same bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_of_http_share_an_entry() {
    let world = echoing("").await;
    let modern = world.client.over_http2();
    let first = modern.get("/a?x=1").await;
    assert!(first.is_forwarded(), "{:?}", first.status());
    let old = world.warm("/a?x=1").await;
    assert_eq!(old.text(), first.text());
    for reply in modern.crowd(50, "/a?x=1").await {
        assert!(reply.is_hit(), "{:?}", reply.status());
    }
    assert_eq!(world.origin.saw("/a"), 1);
    let written = modern.asks("PUT", "/a").content("x").send().await;
    assert_eq!(written.status, 200);
    assert!(world.client.get("/a?x=1").await.is_forwarded());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheme_that_is_not_http_is_refused_over_http_2_though_there_is_an_entry() {
    let world = echoing("").await;
    let address = world.client.address();
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    world.warm("/a").await;
    for (scheme, status) in [("http", 200), ("ftp", 400), ("https", 200)] {
        let request = Request::get(format!("{scheme}://{address}/a"));
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.status(), status, "{scheme}");
    }
    assert_eq!(world.origin.saw("/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_do_not_share_entries() {
    let world = World::set_up(|setup| {
        setup
            .route("/a", "host = \"one.test\"\nsoft_ttl = \"60s\"")
            .route("/a", "name = \"any\"\nsoft_ttl = \"60s\"\nkey.headers = [\"x-tenant\"]")
    })
    .await;
    world.origin.on("/a").replies(ok("x"));
    let ask = |host: &str| world.client.asks("GET", "/a").host(host).send();
    assert!(ask("one.test").await.is_forwarded());
    assert!(ask("two.test").await.is_forwarded());
    assert!(ask("one.test").await.is_shared());
    eventually("all are logged", async || world.larder.access_log().len() == 3).await;
    let log = world.larder.access_log();
    let routes: Vec<_> = log.iter().map(|line| line["route"].as_str().unwrap()).collect();
    assert_eq!(routes, ["/a", "any", "/a"]);
}
