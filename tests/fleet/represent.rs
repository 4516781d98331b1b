//! Does every process see what the answer to a write put into the store, when it goes, and what a
//! HEAD through another process made of it?

use std::time::Duration;

use crate::Fleet;
use crate::support::origin::{Answer, Gate, ok, status};
use crate::support::wait::{eventually, soon, within};

const PATH: &str = "/things/7";

/// A GET is answered with "got", so that one can tell whose answer something is.
async fn fleet() -> Fleet {
    let fleet = Fleet::of(2, "write_through = true").await;
    fleet.origin.when("GET", PATH).replies(ok("got").max_age(3600));
    fleet
}

fn represents(content: &str) -> Answer {
    ok(content.to_owned()).max_age(3600).header("content-location", PATH)
}

impl Fleet {
    async fn put(&self, through: usize, answer: Answer) {
        self.origin.when("PUT", PATH).replies(answer);
        let reply = self.client(through).asks("PUT", PATH).content("x").send().await;
        assert!(reply.status < 300, "{}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_kept_another_serves_until_somebody_writes() {
    let fleet = fleet().await;
    for round in 0..10 {
        let text = format!("put {round}");
        fleet.put(round % 2, represents(&text)).await;
        fleet.larders[round % 2].until_verdict(PATH, "serve").await;
        for of in 0..2 {
            within(Duration::from_secs(2), "it is what everybody gets", async || {
                fleet.client(of).get(PATH).await.text() == text
            })
            .await;
        }
        assert_eq!(fleet.origin.saw_method("GET", PATH), 0, "out of the store that they share");
    }
    // Through the one that did not keep it.
    fleet.put(0, status(204)).await;
    fleet.client(0).get(PATH).await.expect(200, "got");
    within(Duration::from_secs(1), "it is gone in the other", async || {
        fleet.client(1).get(PATH).await.text() == "got"
    })
    .await;
    for of in [0, 1, 0, 1] {
        fleet.client(of).get(PATH).await.expect(200, "got");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_write_through_another_process_may_have_replaced_is_not_kept() {
    let fleet = fleet().await;
    let gate = Gate::closed();
    fleet.origin.when("POST", PATH).replies(represents("posted").after(&gate));
    let client = fleet.client(0);
    let slow = tokio::spawn(async move { client.asks("POST", PATH).content("x").send().await });
    eventually("it is with the origin", async || fleet.origin.saw_method("POST", PATH) == 1).await;
    fleet.put(1, status(204)).await;
    gate.open();
    let posted = soon("its answer", slow).await.unwrap().expect(200, "posted");
    assert!(!posted.status().has("stored"), "{:?}", posted.status());
    for of in [0, 1, 0, 1] {
        fleet.client(of).get(PATH).await.expect(200, "got");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_while_all_processes_write_through_never_goes_back() {
    let fleet = fleet().await;
    let value = crate::support::origin::Resource::new("0");
    let (current, written) = (value.clone(), value);
    fleet.origin.when("GET", PATH).answers(move |_| ok(current.get()).max_age(3600));
    fleet.origin.when("PUT", PATH).answers(move |asked| {
        let content = asked.content();
        written.set(&content);
        represents(&content).delay(Duration::from_millis(u64::from(asked.before % 3 == 0) * 5))
    });
    let readers: Vec<_> = (0..2)
        .map(|of| {
            let client = fleet.client(of);
            tokio::spawn(async move {
                let mut last = 0;
                for _ in 0..300 {
                    let read: u64 = client.get(PATH).await.text().parse().unwrap();
                    assert!(read >= last, "process {of}: {read} after {last}");
                    last = read;
                }
            })
        })
        .collect();
    for n in 1..=60 {
        let text = n.to_string();
        fleet.client(n % 2).asks("PUT", PATH).content(&text).send().await.expect(200, &text);
        fleet.client(n % 2).get(PATH).await.expect(200, &text);
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_through_one_process_renews_what_only_the_store_that_they_share_has() {
    let fleet = fleet().await;
    let old = ok("got").max_age(3600).header("etag", "\"v1\"").header("age", "3600");
    // Asked for long before the HEAD: between processes, times are only known to some milliseconds.
    fleet.origin.when("GET", PATH).replies(old.delay(Duration::from_millis(500)));
    fleet.client(0).get(PATH).await.expect(200, "got");
    fleet.until_stored(1).await;
    let head = ok("got").max_age(3600).header("etag", "\"v1\"");
    fleet.origin.when("HEAD", PATH).replies(head);
    fleet.client(1).asks("HEAD", PATH).send().await.expect(200, "");
    assert_eq!(fleet.larders[1].verdict(PATH).await, "serve");
    fleet.client(1).get(PATH).await.expect(200, "got");
    // And the other finds it there.
    fleet.client(0).asks("HEAD", PATH).send().await.expect(200, "");
    assert_eq!(fleet.origin.saw(PATH), 2, "one GET, one HEAD");
    // What it finds out to be different is stale in both.
    let moved = ok("got").max_age(3600).header("etag", "\"v1\"").header("age", "3600");
    fleet.origin.when("GET", PATH).replies(moved);
    fleet.put(1, status(204)).await;
    fleet.client(0).get(PATH).await.expect(200, "got");
    fleet.origin.when("HEAD", PATH).replies(ok("other").header("etag", "\"v2\""));
    fleet.client(1).asks("HEAD", PATH).send().await.expect(200, "");
    assert_eq!(fleet.larders[1].verdict(PATH).await, "revalidate");
}
