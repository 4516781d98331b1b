//! Can anything bring back what a finished write has replaced?
//!
//! Always the same story: somebody asks the origin and gets the old value, but slowly. Meanwhile a
//! write replaces it and is answered. Whoever asks from then on must get the new value, and go on
//! getting it once the slow answer has arrived.

use serde_json::json;
use tokio::task::JoinHandle;

use crate::World;
use crate::support::client::Reply;
use crate::support::origin::{Answer, Gate, Resource, lost, ok, status};
use crate::support::wait::{eventually, soon};

const KEEPS: &str = "soft_ttl = \"1h\"";

/// A resource whose first reader is slow.
struct Race {
    world: World,
    value: Resource,
    gate: Gate,
    /// Requests for the resource that have been made on purpose, before the slow one.
    warmed: usize,
}

const PATH: &str = "/things/7";

impl Race {
    /// The reader numbered `slow` gets what there is when it asks, after the gate has opened.
    async fn with(keys: &str, slow: usize, dress: fn(Answer) -> Answer) -> Self {
        let world = World::with(keys).await;
        let (value, gate) = (Resource::new("old"), Gate::closed());
        let (current, held) = (value.clone(), gate.clone());
        world.origin.when("GET", PATH).answers(move |asked| {
            let answer = dress(ok(current.get()));
            if asked.before == slow { answer.after(&held) } else { answer }
        });
        let written = value.clone();
        for method in ["PUT", "DELETE"] {
            let written = written.clone();
            world.origin.when(method, PATH).answers(move |_| {
                written.set("new");
                status(204)
            });
        }
        Self { world, value, gate, warmed: slow }
    }

    async fn slow_reader(&self) -> JoinHandle<Reply> {
        let client = self.world.client.clone();
        let reader = tokio::spawn(async move { client.get(PATH).await });
        eventually("the slow reader is with the origin", async || {
            self.world.origin.saw(PATH) > self.warmed
        })
        .await;
        reader
    }

    /// Everybody gets the new value, before and after the slow answer has arrived.
    async fn new_for_everybody(self, slow: Option<JoinHandle<Reply>>) {
        let early = soon("an answer before the slow one", self.world.client.get(PATH)).await;
        early.expect(200, "new");
        self.gate.open();
        if let Some(slow) = slow {
            // It asked before the write: either value is right for it.
            assert_eq!(slow.await.unwrap().status, 200);
        }
        for _ in 0..20 {
            for reply in self.world.client.crowd(5, PATH).await {
                reply.expect(200, "new");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_does_not_bring_back_what_a_put_replaced() {
    let race = Race::with(KEEPS, 0, |a| a).await;
    let slow = race.slow_reader().await;
    assert_eq!(race.world.client.asks("PUT", PATH).content("x").send().await.status, 204);
    race.new_for_everybody(Some(slow)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_does_not_bring_back_what_a_delete_removed() {
    let race = Race::with(KEEPS, 0, |a| a).await;
    let slow = race.slow_reader().await;
    assert_eq!(race.world.client.asks("DELETE", PATH).send().await.status, 204);
    race.new_for_everybody(Some(slow)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_does_not_bring_back_what_a_put_whose_answer_was_lost_replaced() {
    let race = Race::with(KEEPS, 0, |a| a).await;
    let value = race.value.clone();
    race.world.origin.when("PUT", PATH).answers(move |_| {
        value.set("new");
        lost()
    });
    let slow = race.slow_reader().await;
    assert_eq!(race.world.client.asks("PUT", PATH).content("x").send().await.status, 502);
    race.new_for_everybody(Some(slow)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_of_the_collection_does_not_bring_back_what_a_write_to_an_item_changed() {
    let race = Race::with(KEEPS, 0, |a| a).await;
    let slow = race.slow_reader().await;
    let value = race.value.clone();
    race.world.origin.when("POST", "/things/7/parts").answers(move |_| {
        value.set("new");
        status(201)
    });
    race.world.client.asks("POST", "/things/7/parts").content("x").send().await;
    race.new_for_everybody(Some(slow)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_does_not_bring_back_what_was_purged() {
    for purge in [
        json!({ "url": PATH }),
        json!({ "path": PATH }),
        json!({ "prefix": "/things/" }),
        json!({ "all": true }),
    ] {
        let race = Race::with(KEEPS, 0, |a| a).await;
        let slow = race.slow_reader().await;
        race.value.set("new");
        race.world.larder.purge(purge).await;
        race.new_for_everybody(Some(slow)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_does_not_bring_back_what_a_namespace_purge_threw_away() {
    let keys = format!("{KEEPS}\nnamespace = \"shop/things\"");
    for namespace in ["shop/things", "shop"] {
        let race = Race::with(&keys, 0, |a| a).await;
        let slow = race.slow_reader().await;
        race.value.set("new");
        race.world.larder.purge(json!({ "namespace": namespace })).await;
        race.new_for_everybody(Some(slow)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_only_the_slow_answers_head_names_counts() {
    let race = Race::with(KEEPS, 0, |a| a.header("surrogate-key", "thing:7")).await;
    let slow = race.slow_reader().await;
    race.value.set("new");
    race.world.larder.purge(json!({ "tag": "thing:7" })).await;
    // Who asks now may wait for the slow answer, but not be fed by it: its tags come with it.
    let client = race.world.client.clone();
    let waiting = tokio::spawn(async move { client.get(PATH).await });
    race.gate.open();
    waiting.await.unwrap().expect(200, "new");
    assert_eq!(slow.await.unwrap().status, 200);
    race.world.client.get(PATH).await.expect(200, "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_only_the_slow_answers_content_names_counts() {
    let keys = format!("{KEEPS}\ntags = [\"thing:{{$.id}}\"]");
    let world = World::with(&keys).await;
    let (value, gate) = (Resource::new("old"), Gate::closed());
    let (current, held) = (value.clone(), gate.clone());
    world.origin.on(PATH).answers(move |asked| {
        let answer =
            crate::support::origin::json(&format!("{{\"id\":7,\"v\":\"{}\"}}", current.get()));
        if asked.before == 0 { answer.after(&held) } else { answer }
    });
    let client = world.client.clone();
    let slow = tokio::spawn(async move { client.get(PATH).await });
    eventually("the slow reader is with the origin", async || world.origin.saw(PATH) == 1).await;
    value.set("new");
    world.larder.purge(json!({ "tag": "thing:7" })).await;
    let client = world.client.clone();
    let waiting = tokio::spawn(async move { client.get(PATH).await });
    // Let it join what is under way, if it does.
    eventually("it waits or has been answered", async || {
        let waits = world.larder.metrics().await.sum("larder_requests_in_flight", &[]) >= 2.0;
        waits || waiting.is_finished()
    })
    .await;
    gate.open();
    assert_eq!(waiting.await.unwrap().json()["v"], "new", "asked after the purge was answered");
    slow.await.unwrap();
    for _ in 0..10 {
        assert_eq!(world.client.get(PATH).await.json()["v"], "new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_background_refresh_that_began_before_a_write_does_not_undo_it() {
    let race = Race::with("soft_ttl = \"200ms\"\nhard_ttl = \"1h\"", 1, |a| a).await;
    race.world.client.get(PATH).await.expect(200, "old");
    race.world.larder.until_verdict(PATH, "serve-and-refresh").await;
    race.world.client.get(PATH).await.expect(200, "old");
    eventually("the refresh is with the origin", async || race.world.origin.saw(PATH) == 2).await;
    race.world.client.asks("PUT", PATH).content("x").send().await;
    race.new_for_everybody(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revalidation_that_began_before_a_write_does_not_undo_it() {
    let world = World::with("soft_ttl = \"100ms\"\nhard_ttl = \"1h\"").await;
    let (value, gate) = (Resource::new("old"), Gate::closed());
    let (current, held) = (value.clone(), gate.clone());
    world.origin.when("GET", PATH).answers(move |asked| {
        let tag = format!("\"{}\"", current.get());
        let answer = if asked.field("if-none-match") == tag {
            status(304).header("etag", &tag).max_age(3600)
        } else {
            ok(current.get()).header("etag", &tag)
        };
        if asked.before == 1 { answer.after(&held) } else { answer }
    });
    let written = value.clone();
    world.origin.when("PUT", PATH).answers(move |_| {
        written.set("new");
        status(204)
    });
    world.client.get(PATH).await.expect(200, "old");
    world.larder.until_verdict(PATH, "serve-and-refresh").await;
    world.client.get(PATH).await.expect(200, "old");
    eventually("it is being revalidated", async || world.origin.saw(PATH) == 2).await;
    world.client.asks("PUT", PATH).content("x").send().await;
    world.client.get(PATH).await.expect(200, "new");
    gate.open();
    for _ in 0..50 {
        world.client.get(PATH).await.expect(200, "new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_while_a_write_is_on_its_way_does_not_store_what_it_replaces() {
    let world = World::with(KEEPS).await;
    let (value, gate) = (Resource::new("old"), Gate::closed());
    let (current, written, held) = (value.clone(), value.clone(), gate.clone());
    world.origin.when("GET", PATH).answers(move |_| ok(current.get()));
    // It takes effect at once and is answered late, or the other way round: nobody can tell.
    world.origin.when("PUT", PATH).answers(move |_| {
        written.set("new");
        status(204).after(&held)
    });
    world.warm(PATH).await.expect(200, "old");
    let asking = world.client.asks("PUT", PATH).content("x");
    let writing = tokio::spawn(asking.send());
    eventually("the origin has the write", async || world.origin.saw_method("PUT", PATH) == 1)
        .await;
    for _ in 0..10 {
        let text = world.client.get(PATH).await.text();
        assert!(text == "old" || text == "new", "before the answer either is right: {text}");
    }
    gate.open();
    assert_eq!(writing.await.unwrap().status, 204);
    for _ in 0..20 {
        world.client.get(PATH).await.expect(200, "new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_everybody_reads_while_others_write_never_goes_back() {
    let world = World::with(KEEPS).await;
    let value = Resource::new("0");
    let (current, written) = (value.clone(), value.clone());
    world.origin.when("GET", PATH).answers(move |asked| {
        ok(current.get()).delay(std::time::Duration::from_millis([0, 3, 9][asked.before % 3]))
    });
    world.origin.when("PUT", PATH).answers(move |asked| {
        written.set(&asked.content());
        status(204)
    });
    let acknowledged = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (client, acknowledged) = (world.client.clone(), acknowledged.clone());
            tokio::spawn(async move {
                for _ in 0..150 {
                    let before = acknowledged.load(std::sync::atomic::Ordering::SeqCst);
                    let read: u64 = client.get(PATH).await.text().parse().unwrap();
                    assert!(read >= before, "read {read} after {before} was acknowledged");
                }
            })
        })
        .collect();
    for n in 1..=60_u64 {
        let written = world.client.asks("PUT", PATH).content(&n.to_string()).send().await;
        assert_eq!(written.status, 204);
        acknowledged.store(n, std::sync::atomic::Ordering::SeqCst);
    }
    for reader in readers {
        reader.await.unwrap();
    }
}
