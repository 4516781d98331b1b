//! The race that deleting caches lose, between two processes: somebody asks a slow origin through
//! one process and gets the old; a write through the other one is answered meanwhile; then somebody
//! asks again.
//!
//! | who asks | must read the new |
//! |---|---|
//! | through the process of the write | at once, the slow answer being still on its way |
//! | through the other one, showing the write's position | at once |
//! | through either, showing nothing, once that position was seen there | always |
//! | through a process that starts later and knows only what is in Valkey | always |

use serde_json::json;
use tokio::task::JoinHandle;

use crate::Fleet;
use crate::support::client::Reply;
use crate::support::larder::Setup;
use crate::support::origin::{Answer, Gate, Resource, json as document, lost, status};
use crate::support::wait::eventually;

const PATH: &str = "/things/7";
const KEEPS: &str = "soft_ttl = \"1h\"";
/// Through this process the slow reader asks.
const READER: usize = 0;
/// Through this one it is written.
const WRITER: usize = 1;

struct Race {
    fleet: Fleet,
    keys: &'static str,
    value: Resource,
    gate: Gate,
    /// GETs that the origin has seen before the slow one.
    warmed: usize,
}

impl Race {
    /// The GET with this number at the origin gets what there is when it asks, once the gate opens.
    async fn of(keys: &'static str, slow: usize) -> Self {
        let fleet = Fleet::of(2, keys).await;
        let (value, gate) = (Resource::new("old"), Gate::closed());
        let (current, held) = (value.clone(), gate.clone());
        fleet.origin.when("GET", PATH).answers(move |asked| {
            let answer = shown(&current.get());
            if asked.before == slow { answer.after(&held) } else { answer }
        });
        Self { fleet, keys, value, gate, warmed: slow }
    }

    /// What a method does to the resource, and how the origin answers it.
    fn on(&self, method: &'static str, answer: Answer) {
        let value = self.value.clone();
        self.fleet.origin.when(method, PATH).answers(move |_| {
            value.set(if method == "DELETE" { "gone" } else { "new" });
            answer.clone()
        });
    }

    async fn slow_reader(&self) -> JoinHandle<Reply> {
        let client = self.fleet.client(READER);
        let reader = tokio::spawn(async move { client.get(PATH).await });
        self.until_it_is_with_the_origin().await;
        reader
    }

    async fn until_it_is_with_the_origin(&self) {
        eventually("the slow GET is with the origin", async || {
            self.fleet.origin.saw_method("GET", PATH) > self.warmed
        })
        .await;
    }

    /// A position that stands after everything that the writer's process has acknowledged.
    async fn position(&self) -> String {
        let receipt = self.fleet.larders[WRITER].purge(json!({ "tag": "elsewhere" })).await.json();
        receipt["position"].as_str().unwrap().to_owned()
    }

    /// GETs that start now, through both processes.
    fn ask(&self, position: &str) -> [JoinHandle<Reply>; 2] {
        [READER, WRITER].map(|of| {
            let asking = self.fleet.client(of).asks("GET", PATH);
            tokio::spawn(asking.header("larder-min-position", position).send())
        })
    }

    /// Everybody reads the new, before and after the slow answer has arrived.
    async fn all_read(self, new: &str, slow: Option<JoinHandle<Reply>>) {
        let position = self.position().await;
        for early in self.ask(&position) {
            expect(early.await.unwrap(), new, "while the slow answer is on its way");
        }
        self.all_go_on_reading(new, slow).await;
    }

    /// The same, where those who ask may have to wait for the slow answer to learn that it is not
    /// for them.
    async fn all_read_in_the_end(self, new: &str, slow: JoinHandle<Reply>) {
        let position = self.position().await;
        let asked = self.ask(&position);
        eventually("they wait, or have been answered", async || {
            let answered = asked.iter().filter(|a| a.is_finished()).count();
            self.fleet.in_flight().await + answered > asked.len()
        })
        .await;
        self.gate.open();
        for reply in asked {
            expect(reply.await.unwrap(), new, "asked while the slow answer was on its way");
        }
        self.all_go_on_reading(new, Some(slow)).await;
    }

    async fn all_go_on_reading(mut self, new: &str, slow: Option<JoinHandle<Reply>>) {
        self.gate.open();
        if let Some(slow) = slow {
            // It asked before the write: either is right for it, and the old is what it was told.
            expect(slow.await.unwrap(), "old", "for who asked before the write");
        }
        let store = format!("valkey = \"{}\"\ntimeout = \"2s\"", self.fleet.valkey.url());
        let setup = Setup::before(&self.fleet.origin.url()).store(&store);
        self.fleet.larders.push(setup.route("/{*rest}", self.keys).start().await);
        self.fleet.until_connected().await;
        for round in 0..10 {
            for (of, larder) in self.fleet.larders.iter().enumerate() {
                for reply in larder.client().crowd(5, PATH).await {
                    expect(reply, new, &format!("through {of}, round {round}"));
                }
            }
        }
    }
}

impl Fleet {
    /// Requests that are being answered.
    async fn in_flight(&self) -> usize {
        let mut all = 0.0;
        for larder in &self.larders {
            all += larder.metrics().await.sum("larder_requests_in_flight", &[]);
        }
        all as usize
    }
}

/// A representation that names its tag itself.
fn shown(value: &str) -> Answer {
    let answer = document(&format!("{{\"value\":\"{value}\"}}"));
    let answer = if value == "gone" { answer.code(404) } else { answer };
    answer.header("surrogate-key", &format!("is-{value} thing"))
}

#[track_caller]
fn expect(reply: Reply, value: &str, when: &str) {
    assert_eq!(reply.json()["value"], value, "{when}: {:?} {:?}", reply.status(), reply.age());
}

#[tokio::test(flavor = "multi_thread")]
async fn get_in_flight_then_put_through_another_process_then_get_reads_the_new() {
    let race = Race::of(KEEPS, 0).await;
    race.on("PUT", status(204));
    let slow = race.slow_reader().await;
    assert_eq!(race.fleet.client(WRITER).asks("PUT", PATH).content("x").send().await.status, 204);
    race.all_read("new", Some(slow)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn get_in_flight_then_delete_through_another_process_then_get_finds_nothing() {
    let race = Race::of("soft_ttl = \"1h\"\nnegative_ttl = \"1h\"", 0).await;
    race.on("DELETE", status(204));
    let slow = race.slow_reader().await;
    assert_eq!(race.fleet.client(WRITER).asks("DELETE", PATH).send().await.status, 204);
    race.all_read("gone", Some(slow)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn get_in_flight_then_purge_by_a_tag_that_only_its_answer_names_then_get_reads_the_new() {
    let race = Race::of(KEEPS, 0).await;
    let slow = race.slow_reader().await;
    // It changes behind everybody's back; who knows of it purges what is no longer true.
    race.value.set("new");
    race.fleet.larders[WRITER].purge(json!({ "tag": "is-old" })).await;
    race.all_read_in_the_end("new", slow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn background_refresh_in_flight_then_put_through_another_process_then_get_reads_the_new() {
    let race = Race::of("soft_ttl = \"200ms\"\nhard_ttl = \"1h\"", 1).await;
    race.on("PUT", status(204));
    race.fleet.client(READER).get(PATH).await;
    race.fleet.larders[READER].until_verdict(PATH, "serve-and-refresh").await;
    let stale = race.fleet.client(READER).get(PATH).await;
    assert!(stale.is_stale(), "{:?}", stale.status());
    race.until_it_is_with_the_origin().await;
    assert_eq!(race.fleet.client(WRITER).asks("PUT", PATH).content("x").send().await.status, 204);
    race.all_read("new", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn get_in_flight_then_put_whose_answer_is_lost_then_get_reads_the_new() {
    let race = Race::of(KEEPS, 0).await;
    race.on("PUT", lost());
    let slow = race.slow_reader().await;
    // The origin has carried it out. All that the writer learns is that the answer is lost.
    let put = race.fleet.client(WRITER).asks("PUT", PATH).content("x").send().await;
    assert_eq!(put.status, 502, "{}", put.text());
    assert_eq!(race.fleet.origin.saw_method("PUT", PATH), 1);
    race.all_read("new", Some(slow)).await;
}
