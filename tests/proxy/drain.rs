//! What happens to requests in progress when it is told to stop?

use std::time::Duration;

use tokio::net::TcpStream;

use crate::World;
use crate::support::origin::{Gate, Tap, ok};
use crate::support::wait::{PATIENCE, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_progress_is_finished_and_nothing_new_begun() {
    for signal in ["TERM", "INT"] {
        let mut world = World::with("soft_ttl = \"1h\"").await;
        let (gate, tap) = (Gate::closed(), Tap::new());
        world.origin.on("/waiting").replies(ok("waited").after(&gate));
        world.origin.on("/streaming").replies(ok("").told_by(&tap));
        world.origin.when("POST", "/writing").replies(ok("written").after(&gate));
        let client = world.client.clone();
        let waiting = tokio::spawn(async move { client.get("/waiting").await });
        let writing = tokio::spawn(world.client.asks("POST", "/writing").content("x").send());
        let mut streaming =
            world.client.asks("GET", "/streaming").open_after(|| tap.send("one ")).await;
        streaming.text(4).await;
        for path in ["/waiting", "/writing"] {
            eventually(path, async || world.origin.saw(path) == 1).await;
        }

        world.larder.signal(signal);
        let address = world.larder.address();
        eventually("it listens no more", async || TcpStream::connect(address).await.is_err()).await;
        assert!(world.larder.has_ended().is_none(), "{signal}: requests are in progress");
        gate.open();
        tap.send("two");
        tap.end();
        waiting.await.unwrap().expect(200, "waited");
        writing.await.unwrap().expect(200, "written");
        assert_eq!(streaming.rest().await.text(), "two");
        let status = world.larder.end(PATIENCE).await;
        assert_eq!(status.code(), Some(0), "{signal}");
        let logged: Vec<_> =
            world.larder.access_log().iter().map(|l| l["path"].to_string()).collect();
        assert_eq!(logged.len(), 3, "{signal}: the log is written to its end: {logged:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_finish_in_time_is_cut() {
    let mut world = World::set_up(|s| s.limits("drain_timeout = \"200ms\"")).await;
    world.origin.on("/never").replies(ok("x").after(&Gate::closed()));
    let asking = world.client.asks("GET", "/never");
    let stuck = tokio::spawn(asking.try_open());
    eventually("the origin is asked", async || world.origin.saw("/never") == 1).await;
    world.larder.signal("TERM");
    let status = world.larder.end(Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(0));
    assert!(stuck.await.unwrap().is_err(), "its client is told by the end of the connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_clients_do_not_hold_it_up() {
    let mut world = World::with("soft_ttl = \"1h\"").await;
    world.origin.on("/a").replies(ok("x"));
    world.client.crowd(20, "/a").await;
    let _silent = TcpStream::connect(world.larder.address()).await.unwrap();
    world.larder.signal("TERM");
    assert_eq!(world.larder.end(Duration::from_secs(5)).await.code(), Some(0));
}
