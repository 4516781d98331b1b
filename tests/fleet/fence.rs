//! What if Valkey comes back with less than it had: restored from an old snapshot, or with parts of
//! it evicted? What it forgot was acknowledged all the same.

use std::time::Duration;

use serde_json::json;

use crate::Fleet;
use crate::support::larder::{Larder, Setup};
use crate::support::origin::{Resource, ok, status};
use crate::support::wait::{eventually, within};

const KEEPS: &str = "soft_ttl = \"1h\"\nnamespace = \"shop/things\"\ntags = [\"thing\"]";
const PATH: &str = "/thing";

async fn with_resource() -> Fleet {
    with_resource_in(Fleet::of(2, KEEPS).await).await
}

async fn with_resource_in(fleet: Fleet) -> Fleet {
    let value = Resource::new("old");
    let (current, written) = (value.clone(), value.clone());
    fleet.origin.when("GET", PATH).answers(move |_| ok(current.get()));
    for method in ["PUT", "POST"] {
        let written = written.clone();
        fleet.origin.when(method, PATH).answers(move |_| {
            written.set("new");
            status(204)
        });
    }
    for of in 0..fleet.larders.len() {
        fleet.warm(of, PATH).await.expect(200, "old");
    }
    fleet.until_stored(1).await;
    fleet
}

async fn fences(larder: &Larder) -> f64 {
    larder.metrics().await.sum("larder_ledger_fences_total", &[])
}

impl Fleet {
    /// One more process, which remembers nothing.
    async fn joined(&mut self) -> usize {
        let store = format!("valkey = \"{}\"\ntimeout = \"2s\"", self.valkey.url());
        let setup = Setup::before(&self.origin.url()).store(&store).route("/{*rest}", KEEPS);
        self.larders.push(setup.start().await);
        self.larders.len() - 1
    }

    /// Nobody reads the old, however often, through whichever process.
    async fn all_read_the_new(&self) {
        for (of, larder) in self.larders.iter().enumerate() {
            within(Duration::from_secs(5), "the new is read", async || {
                larder.client().get(PATH).await.text() == "new"
            })
            .await;
            for reply in larder.client().crowd(10, PATH).await {
                assert_eq!(reply.text(), "new", "through {of}");
            }
        }
        for larder in &self.larders {
            larder.client().get(PATH).await.expect(200, "new");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_snapshot_does_not_bring_back_what_was_written_since() {
    let mut fleet = with_resource().await;
    redis::cmd("SAVE").exec(&mut fleet.valkey.client()).unwrap();
    fleet.client(0).asks("PUT", PATH).content("x").send().await;
    eventually("both know", async || fleet.larders[1].verdict(PATH).await == "fetch").await;
    fleet.valkey.restart();
    let entries: Vec<String> =
        redis::cmd("KEYS").arg("larder:e:*").query(&mut fleet.valkey.client()).unwrap();
    assert_eq!(entries.len(), 1, "the old entry is there again");
    // It knows nothing but what Valkey says, and that is out of date.
    let new = fleet.joined().await;
    fleet.client(new).get(PATH).await.expect(200, "new");
    fleet.all_read_the_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_snapshot_does_not_bring_back_what_was_purged_since() {
    for purge in [json!({ "namespace": "shop" }), json!({ "tag": "thing" }), json!({ "all": true })]
    {
        let mut fleet = with_resource().await;
        redis::cmd("SAVE").exec(&mut fleet.valkey.client()).unwrap();
        // The origin changes behind everybody's back, and says so with a purge.
        let value = ok("new");
        fleet.origin.when("GET", PATH).replies(value);
        fleet.larders[0].purge(purge.clone()).await;
        fleet.valkey.restart();
        let new = fleet.joined().await;
        let told = fleet.larders[new].explain("GET", PATH).await;
        let reply = fleet.client(new).get(PATH).await;
        assert_eq!(reply.text(), "new", "{purge}: {:?} {told}", reply.status());
        fleet.all_read_the_new().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_evicted_takes_nothing_with_it() {
    let mut fleet = with_resource().await;
    fleet.client(0).asks("PUT", PATH).content("x").send().await;
    let mut connection = fleet.valkey.client();
    let keys: Vec<String> = redis::cmd("KEYS").arg("larder:{l}:*").query(&mut connection).unwrap();
    assert!(!keys.is_empty());
    redis::cmd("DEL").arg(&keys).exec(&mut connection).unwrap();
    fleet.all_read_the_new().await;
    let new = fleet.joined().await;
    fleet.client(new).get(PATH).await.expect(200, "new");
    fleet.all_read_the_new().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_go_on_growing_whatever_valkey_has_forgotten() {
    let mut fleet = with_resource().await;
    let mut positions: Vec<(u64, u64)> = Vec::new();
    for round in 0..6 {
        match round {
            2 => redis::cmd("FLUSHALL").exec(&mut fleet.valkey.client()).unwrap(),
            4 => fleet.valkey.restart(),
            _ => {}
        }
        let mut position = String::new();
        within(Duration::from_secs(5), "a purge is taken", async || {
            let receipt = fleet.larders[round % 2].purge(json!({ "tag": "x" })).await.json();
            position = receipt["position"].as_str().unwrap_or_default().to_owned();
            !position.is_empty()
        })
        .await;
        let (time, count) = position.split_once('-').unwrap_or((&position, "0"));
        positions.push((time.parse().unwrap(), count.parse().unwrap()));
    }
    assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_before_anybody_has_looked_stands_above_all_that_was_read() {
    // So long that what one process does not hear does not make it doubt.
    let patient = |setup: Setup| setup.store("ledger_lease = \"30s\"").route("/{*rest}", KEEPS);
    let mut fleet = with_resource_in(Fleet::set_up(1, patient).await).await;
    redis::cmd("SAVE").exec(&mut fleet.valkey.client()).unwrap();
    let before = fences(&fleet.larders[0]).await;
    fleet.valkey.restart();
    // The first positions of a new life are ahead of the clock, and now more so than in the snapshot.
    eventually("a new life", async || fences(&fleet.larders[0]).await > before).await;
    fleet.until_connected().await;
    fleet.warm(0, PATH).await.expect(200, "old");
    fleet.larders[0].signal("STOP");
    fleet.valkey.restart();
    // It may append, and cannot look.
    redis::cmd("ACL")
        .arg(&["SETUSER", "hasty", "on", ">word", "&*", "+@all", "~larder:e:*"])
        .arg(&["~larder:{l}:ledger", "~larder:{l}:namespaces", "~larder:{l}:intents"])
        .exec(&mut fleet.valkey.client())
        .unwrap();
    let url = fleet.valkey.url().replace("valkey://", "valkey://hasty:word@");
    let store = format!("valkey = \"{url}\"\ntimeout = \"2s\"");
    let setup = Setup::before(&fleet.origin.url()).store(&store).route("/{*rest}", KEEPS);
    fleet.larders.push(setup.start().await);
    let written = fleet.client(1).asks("PUT", PATH).content("x").send().await;
    let position = written.field("larder-position").to_owned();
    let reading = fleet.client(0).asks("GET", PATH).header("larder-min-position", &position);
    let (reply, ()) = tokio::join!(reading.send(), async {
        // Before it finds out that Valkey is another one.
        tokio::task::yield_now().await;
        fleet.larders[0].signal("CONT");
    });
    reply.expect(200, "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_what_is_fetched_is_trusted_again() {
    let mut fleet = with_resource().await;
    let mut before = Vec::new();
    for larder in &fleet.larders {
        before.push(fences(larder).await);
    }
    fleet.valkey.restart();
    for (larder, before) in fleet.larders.iter().zip(before) {
        eventually("the new server is noticed", async || fences(larder).await > before).await;
    }
    fleet.until_connected().await;
    for of in 0..2 {
        fleet.warm(of, PATH).await;
    }
    let asked = fleet.origin.saw(PATH);
    for of in 0..2 {
        for reply in fleet.client(of).crowd(20, PATH).await {
            assert!(reply.is_hit(), "{:?}", reply.status());
        }
    }
    assert_eq!(fleet.origin.saw(PATH), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_has_never_heard_the_ledger_trusts_nothing_that_others_stored() {
    let mut fleet = with_resource().await;
    fleet.client(0).asks("PUT", PATH).content("x").send().await;
    // It may read and write entries, and is not let in to the stream.
    redis::cmd("ACL")
        .arg(&["SETUSER", "deaf", "on", ">word", "~*", "&*", "+@all", "-xread"])
        .exec(&mut fleet.valkey.client())
        .unwrap();
    let url = fleet.valkey.url().replace("valkey://", "valkey://deaf:word@");
    let store = format!("valkey = \"{url}\"\ntimeout = \"2s\"");
    let setup = Setup::before(&fleet.origin.url()).store(&store).route("/{*rest}", KEEPS);
    fleet.larders.push(setup.start().await);
    for _ in 0..20 {
        fleet.client(2).get(PATH).await.expect(200, "new");
    }
}
