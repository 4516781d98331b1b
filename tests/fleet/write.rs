//! Does every process see what was written through another?

use std::time::Duration;

use crate::Fleet;
use crate::support::client::Reply;
use crate::support::larder::Setup;
use crate::support::origin::{Gate, Resource, ok, status};
use crate::support::wait::{eventually, stays, within};

const KEEPS: &str = "soft_ttl = \"1h\"";
const PATH: &str = "/things/7";

/// A fleet with a resource that can be written.
async fn with_resource(size: usize) -> (Fleet, Resource) {
    let fleet = Fleet::of(size, KEEPS).await;
    let value = Resource::new("0");
    serve(&fleet, &value);
    (fleet, value)
}

fn serve(fleet: &Fleet, value: &Resource) {
    let (current, written) = (value.clone(), value.clone());
    fleet.origin.when("GET", PATH).answers(move |_| ok(current.get()));
    fleet.origin.when("PUT", PATH).answers(move |asked| {
        written.set(&asked.content());
        status(204)
    });
}

async fn write(fleet: &Fleet, through: usize, value: &str) -> Reply {
    let reply = fleet.client(through).asks("PUT", PATH).content(value).send().await;
    assert_eq!(reply.status, 204, "{}", reply.text());
    reply
}

/// A fleet whose second process hears nothing of the ledger any more, while entries in Valkey are
/// within its reach; its resource is a hit in both. It vouches for what it has for this long.
async fn with_a_deaf_process(lease: &str) -> Fleet {
    let mut fleet = Fleet::of(1, KEEPS).await;
    let mut acl = vec!["SETUSER", "hears", "on", ">word", "~*", "&*", "+@all"];
    redis::cmd("ACL").arg(&acl).exec(&mut fleet.valkey.client()).unwrap();
    let url = fleet.valkey.url().replace("valkey://", "valkey://hears:word@");
    let store = format!("valkey = \"{url}\"\ntimeout = \"2s\"\nledger_lease = \"{lease}\"");
    let setup = Setup::before(&fleet.origin.url()).store(&store).route("/{*rest}", KEEPS);
    fleet.larders.push(setup.start().await);
    fleet.until_connected().await;
    serve(&fleet, &Resource::new("old"));
    for of in 0..2 {
        fleet.warm(of, PATH).await.expect(200, "old");
    }
    acl.push("-xread");
    redis::cmd("ACL").arg(&acl).exec(&mut fleet.valkey.client()).unwrap();
    eventually("it hears nothing", async || {
        let told = fleet.larders[1].told();
        told.contains("lost the ledger")
    })
    .await;
    fleet
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_the_position_of_a_write_is_not_answered_from_before_it() {
    let fleet = with_a_deaf_process("1h").await;
    let written = write(&fleet, 0, "new").await;
    let position = written.field("larder-position").to_owned();
    assert_ne!(position, "");
    for of in 0..2 {
        let asking = fleet.client(of).asks("GET", PATH).header("larder-min-position", &position);
        asking.send().await.expect(200, "new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_hears_nothing_serves_the_old_no_longer_than_its_lease() {
    let fleet = with_a_deaf_process("1s").await;
    write(&fleet, 0, "new").await;
    fleet.client(0).get(PATH).await.expect(200, "new");
    within(Duration::from_millis(2_500), "the old is not served any more", async || {
        fleet.client(1).get(PATH).await.text() == "new"
    })
    .await;
    for _ in 0..20 {
        fleet.client(1).get(PATH).await.expect(200, "new");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_fails_does_not_bring_back_what_may_have_been_replaced() {
    let fleet = with_a_deaf_process("500ms").await;
    write(&fleet, 0, "new").await;
    fleet.origin.when("GET", PATH).replies(status(503));
    within(Duration::from_millis(2_500), "the old is not served any more", async || {
        fleet.client(1).get(PATH).await.status == 503
    })
    .await;
    stays(Duration::from_millis(500), "nor later", async || {
        fleet.client(1).get(PATH).await.status == 503
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_nothing_reads_it_a_moment_later_and_never_the_old_again() {
    let (fleet, _) = with_resource(2).await;
    for round in 1..=50 {
        let text = round.to_string();
        for of in 0..2 {
            fleet.client(of).get(PATH).await;
        }
        write(&fleet, 0, &text).await;
        fleet.client(0).get(PATH).await.expect(200, &text);
        within(Duration::from_secs(1), "the other process reads the new", async || {
            fleet.client(1).get(PATH).await.text() == text
        })
        .await;
        for _ in 0..5 {
            fleet.client(1).get(PATH).await.expect(200, &text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_in_one_process_does_not_bring_back_what_was_written_through_another() {
    for _ in 0..3 {
        let (fleet, value) = with_resource(3).await;
        let (current, gate) = (value.clone(), Gate::closed());
        let held = gate.clone();
        fleet.origin.when("GET", PATH).answers(move |asked| {
            let answer = ok(current.get());
            if asked.before == 0 { answer.after(&held) } else { answer }
        });
        let reader = fleet.client(1);
        let slow = tokio::spawn(async move { reader.get(PATH).await });
        eventually("the slow reader is with the origin", async || fleet.origin.saw(PATH) == 1)
            .await;
        write(&fleet, 0, "new").await;
        gate.open();
        assert_eq!(slow.await.unwrap().status, 200);
        for of in [1, 2, 0] {
            within(Duration::from_secs(1), "the new is read", async || {
                fleet.client(of).get(PATH).await.text() == "new"
            })
            .await;
        }
        for of in 0..3 {
            for reply in fleet.client(of).crowd(10, PATH).await {
                reply.expect(200, "new");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_after_a_write_does_not_wait_for_a_fill_that_began_before_it_elsewhere() {
    let (fleet, value) = with_resource(2).await;
    let (current, gate) = (value.clone(), Gate::closed());
    let held = gate.clone();
    fleet.origin.when("GET", PATH).answers(move |asked| {
        let answer = ok(current.get());
        if asked.before == 0 { answer.after(&held) } else { answer }
    });
    let reader = fleet.client(1);
    let slow = tokio::spawn(async move { reader.get(PATH).await });
    eventually("the slow reader is with the origin", async || fleet.origin.saw(PATH) == 1).await;
    write(&fleet, 0, "new").await;
    let asking = fleet.client(0).asks("GET", PATH).try_open();
    let answered = tokio::time::timeout(Duration::from_secs(2), asking).await;
    gate.open();
    assert_eq!(slow.await.unwrap().status, 200);
    let answered = answered.expect("it waits for a fill that cannot feed it").unwrap();
    answered.rest().await.expect(200, "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_while_all_processes_write_never_goes_back() {
    let (fleet, _) = with_resource(2).await;
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
        write(&fleet, n % 2, &n.to_string()).await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
    for of in 0..2 {
        eventually("the last is read", async || fleet.client(of).get(PATH).await.text() == "60")
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_reaches_variants_collections_tags_and_namespaces_in_every_process() {
    let fleet = Fleet::set_up(2, |setup| {
        let rules = "parent = true\non_write = [\"tag:product:{id}\", \"namespace:search\"]";
        setup
            .route("/products/{id}", &format!("{KEEPS}\n{rules}"))
            .route("/products", KEEPS)
            .route("/search", &format!("{KEEPS}\nnamespace = \"search/all\""))
            .route("/shelf", &format!("{KEEPS}\ntags = [\"product:{{$.best}}\"]"))
    })
    .await;
    for path in ["/products", "/products/7", "/search"] {
        fleet.origin.on(path).answers(|asked| {
            ok(format!("{} {}", asked.before, asked.field("accept"))).header("vary", "accept")
        });
    }
    fleet.origin.on("/shelf").answers(|_| crate::support::origin::json("{\"best\":7}"));
    let targets = ["/products", "/products?page=2", "/products/7", "/search?q=1", "/shelf"];
    for target in targets {
        fleet.warm(1, target).await;
    }
    fleet.origin.when("PATCH", "/products/7").replies(ok("done"));
    fleet.client(0).asks("PATCH", "/products/7").content("x").send().await;
    for target in targets {
        within(Duration::from_secs(1), "it is gone in the other process", async || {
            fleet.larders[1].verdict(target).await == "fetch"
        })
        .await;
    }
}
