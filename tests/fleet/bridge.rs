//! Does every process obey what is published on a channel, and what if it could not be heard?

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use redis::{Connection, Pipeline};
use tokio::time::Instant;

use crate::Fleet;
use crate::support::larder::{Larder, Setup};
use crate::support::origin::{Origin, ok};
use crate::support::wait::{eventually, stays, within};
use crate::valkey::Valkey;

const PRODUCTS: &str = "soft_ttl = \"1h\"\nhard_ttl = \"2h\"\nnamespace = \"catalog/products\"\ntags = [\"product:{id}\"]";
const BRIDGE: &str = "channel = \"products.*\"\nnames = [\"tag:product:{$.id}\"]\n";

/// How soon a message is obeyed.
const SOON: Duration = Duration::from_secs(1);

/// What a bridge counted: messages, names, malformed, gaps, connected.
async fn counted(larder: &Larder) -> [f64; 5] {
    let metrics = larder.metrics().await;
    let names = ["messages_total", "names_total", "malformed_total", "gaps_total", "connected"];
    names.map(|name| metrics.sum(&format!("larder_bridge_{name}"), &[]))
}

async fn until_listening(larder: &Larder, bridges: f64) {
    eventually("its bridges listen", async || counted(larder).await[4] == bridges).await;
}

/// Two processes with bridges of these keys, all of them listening, and the products in both.
async fn stocked(bridges: &[&str], products: usize) -> Fleet {
    let fleet = Fleet::set_up(2, |setup| {
        let setup = setup.route("/products/{id}", PRODUCTS);
        bridges.iter().fold(setup, |setup, keys| setup.one_more("bridge", keys))
    })
    .await;
    for larder in &fleet.larders {
        until_listening(larder, bridges.len() as f64).await;
    }
    fleet.stock(products).await;
    fleet
}

impl Fleet {
    async fn stock(&self, products: usize) {
        for id in 0..products {
            let path = format!("/products/{id}");
            self.origin.on(&path).answers(|asked| ok(asked.before.to_string()));
            for of in 0..self.larders.len() {
                self.warm(of, &path).await;
            }
        }
    }

    /// Published, to how many.
    fn publishes(&self, channel: &str, message: &str) -> usize {
        publish(&mut self.valkey.client(), channel, message)
    }

    /// No process serves it without asking the origin, soon.
    async fn until_gone(&self, path: &str) {
        for larder in &self.larders {
            within(SOON, &format!("{path} is gone"), async || {
                larder.verdict(path).await != "serve"
            })
            .await;
        }
    }

    async fn is_served(&self, path: &str) -> bool {
        for larder in &self.larders {
            if larder.verdict(path).await != "serve" {
                return false;
            }
        }
        true
    }
}

fn publish(connection: &mut Connection, channel: &str, message: &str) -> usize {
    redis::cmd("PUBLISH").arg(channel).arg(message).query(connection).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_obeyed_by_every_process() {
    let soft = "channel = \"softly\"\nnames = [\"{$[*]}\", \"url:/search?{message}\"]\nmode = \"soft\"\non_gap = []";
    let fleet = stocked(&[&format!("{BRIDGE}on_gap = []"), soft], 3).await;
    let before: u64 = fleet.client(1).get("/products/1").await.text().parse().unwrap();
    assert_eq!(fleet.publishes("products.changed", r#"{"id": 1, "price": 7}"#), 2);
    fleet.until_gone("/products/1").await;
    for of in 0..2 {
        let after: u64 = fleet.client(of).get("/products/1").await.text().parse().unwrap();
        assert!(after > before, "{after} after {before}");
    }
    assert!(fleet.is_served("/products/2").await, "nobody said anything about it");

    assert_eq!(fleet.publishes("elsewhere", r#"{"id": 2}"#), 0);
    assert_eq!(fleet.publishes("softly", r#"["tag:product:2", "path:/nowhere"]"#), 2);
    for larder in &fleet.larders {
        within(SOON, "it is stale", async || {
            larder.verdict("/products/2").await == "serve-and-refresh"
        })
        .await;
    }
    assert!(fleet.is_served("/products/0").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_of_messages_are_made_canonical() {
    let bridge = "channel = \"urls\"\nnames = [\"url:{message}\"]\non_gap = []";
    let fleet =
        Fleet::set_up(2, |s| s.route("/{*rest}", PRODUCTS_ANYWHERE).one_more("bridge", bridge))
            .await;
    fleet.origin.on("/search").answers(|asked| ok(asked.before.to_string()));
    for of in 0..2 {
        until_listening(&fleet.larders[of], 1.0).await;
        fleet.warm(of, "/search?a=1&b=2").await;
    }
    fleet.publishes("urls", "/search?b=2&a=1&utm_source=x");
    fleet.until_gone("/search?a=1&b=2").await;
}

const PRODUCTS_ANYWHERE: &str = "soft_ttl = \"1h\"\nquery.ignore = [\"utm_*\"]";

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_obeyed_whole_and_becomes_few_records() {
    const MESSAGES: usize = 5_000;
    let fleet = stocked(&[&format!("{BRIDGE}on_gap = []")], 20).await;
    let mut connection = fleet.valkey.client();
    let length = |connection: &mut Connection| -> usize {
        redis::cmd("XLEN").arg("larder:{l}:ledger").query(connection).unwrap()
    };
    let records = length(&mut connection);
    let mut burst = Pipeline::with_capacity(MESSAGES);
    for id in 0..MESSAGES {
        burst.cmd("PUBLISH").arg("products.imported").arg(format!("{{\"id\": {id}}}"));
    }
    let heard: Vec<usize> = burst.query(&mut connection).unwrap();
    assert!(heard.iter().all(|receivers| *receivers == 2));
    let began = Instant::now();
    for id in 0..20 {
        fleet.until_gone(&format!("/products/{id}")).await;
    }
    for larder in &fleet.larders {
        within(SOON, "all are counted", async || {
            counted(larder).await[..3] == [MESSAGES as f64, MESSAGES as f64, 0.0]
        })
        .await;
    }
    println!("obeyed within {:?}", began.elapsed());
    eventually("both have appended", async || {
        let mut owed = 0.0;
        for larder in &fleet.larders {
            owed += larder.metrics().await.sum("larder_ledger_owed", &[]);
        }
        owed == 0.0
    })
    .await;
    let records = length(&mut connection) - records;
    println!("{MESSAGES} messages became {records} records of two processes");
    assert!(records < MESSAGES / 5, "{records} records");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_counted_and_skipped() {
    let fleet = stocked(&[&format!("{BRIDGE}on_gap = []")], 2).await;
    let mut connection = fleet.valkey.client();
    let large = format!("{{\"id\": 0, \"x\": \"{}\"}}", "x".repeat(70_000));
    for message in [&b""[..], b"{", b"{}", b"\xff\xfe", b"{\"id\": []}", large.as_bytes()] {
        redis::cmd("PUBLISH").arg("products.x").arg(message).exec(&mut connection).unwrap();
    }
    for larder in &fleet.larders {
        within(SOON, "they are counted", async || counted(larder).await[..3] == [6.0, 0.0, 6.0])
            .await;
        let told = larder.told();
        let lines = told.matches("messages of a bridge that cannot be read").count();
        assert_eq!(lines, 1, "six messages, one line:\n{told}");
    }
    assert!(fleet.is_served("/products/0").await);
    fleet.publishes("products.x", r#"{"id": 1}"#);
    fleet.until_gone("/products/1").await;
    assert!(fleet.is_served("/products/0").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_while_nobody_listened_is_made_good() {
    let fleet = stocked(&[&format!("{BRIDGE}on_gap = [\"namespace:catalog\"]")], 2).await;
    for round in 1..=3 {
        fleet.stock(2).await;
        // One exchange: what is published in it reaches nobody.
        let mut lost = Pipeline::new();
        lost.cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub");
        lost.cmd("PUBLISH").arg("products.changed").arg(r#"{"id": 1}"#);
        let (killed, heard): (usize, usize) = lost.query(&mut fleet.valkey.client()).unwrap();
        assert_eq!((killed, heard), (2, 0));
        for larder in &fleet.larders {
            // The gap is counted before it is closed, and `SOON` counts from then on.
            eventually("they listen again", async || {
                counted(larder).await[3..] == [f64::from(round + 1), 1.0]
            })
            .await;
        }
        fleet.until_gone("/products/1").await;
        fleet.until_gone("/products/0").await;
    }
    fleet.stock(2).await;
    assert_eq!(fleet.publishes("products.changed", r#"{"id": 1}"#), 2);
    fleet.until_gone("/products/1").await;
    assert!(fleet.is_served("/products/0").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_begins_to_listen_trusts_nothing_from_before() {
    let mut fleet = stocked(&[&format!("{BRIDGE}on_gap = [\"tag:product:1\"]")], 2).await;
    fleet.larders[0].kill();
    fleet.larders[1].kill();
    assert_eq!(fleet.publishes("products.changed", r#"{"id": 1}"#), 0);
    let url = format!("valkey = \"{}\"\ntimeout = \"2s\"", fleet.valkey.url());
    let setup = Setup::before(&fleet.origin.url())
        .store(&url)
        .route("/products/{id}", PRODUCTS)
        .one_more("bridge", &format!("{BRIDGE}on_gap = [\"tag:product:1\"]"));
    fleet.larders = vec![setup.start().await];
    fleet.until_connected().await;
    until_listening(&fleet.larders[0], 1.0).await;
    fleet.until_gone("/products/1").await;
    fleet.client(0).get("/products/0").await;
    assert!(fleet.is_served("/products/0").await, "it is still there, and not suspect");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_at_all_is_noticed() {
    let channels = Valkey::start();
    let keys = format!("{BRIDGE}on_gap = [\"namespace:catalog\"]\nurl = \"{}\"", channels.url());
    let fleet = stocked(&[&keys], 1).await;
    assert_eq!(fleet.publishes("products.x", r#"{"id": 0}"#), 0, "it is the other server's");
    assert_eq!(publish(&mut channels.client(), "products.x", r#"{"id": 0}"#), 2);
    fleet.until_gone("/products/0").await;
    fleet.stock(1).await;
    channels.freeze();
    for larder in &fleet.larders {
        eventually("the silence is noticed", async || counted(larder).await[3..] == [1.0, 0.0])
            .await;
        assert!(larder.told().contains("a bridge hears nothing"), "{}", larder.told());
    }
    stays(Duration::from_millis(100), "nothing was published", async || {
        fleet.is_served("/products/0").await
    })
    .await;
    channels.thaw();
    for larder in &fleet.larders {
        eventually("it is heard again", async || counted(larder).await[3..] == [2.0, 1.0]).await;
    }
    fleet.until_gone("/products/0").await;
}

/// A server that sends this many messages after a subscription, five a second, and never answers a
/// PING. Its URL.
fn busy_server(messages: usize) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("valkey://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve_busily(&stream, messages));
        }
    });
    url
}

fn serve_busily(mut stream: &TcpStream, messages: usize) -> Option<()> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    loop {
        let words: usize = lines.next()?.strip_prefix('*')?.parse().ok()?;
        let mut command = Vec::new();
        for _ in 0..words {
            lines.next()?;
            command.push(lines.next()?);
        }
        match &*command[0] {
            "CLIENT" => stream.write_all(b"+OK\r\n").ok()?,
            "SUBSCRIBE" => {
                stream.write_all(b"*3\r\n$9\r\nsubscribe\r\n$4\r\nbusy\r\n:1\r\n").ok()?;
                let mut stream = stream.try_clone().ok()?;
                std::thread::spawn(move || {
                    for _ in 0..messages {
                        std::thread::sleep(Duration::from_millis(200));
                        let message = b"*3\r\n$7\r\nmessage\r\n$4\r\nbusy\r\n$1\r\n7\r\n";
                        let _ = stream.write_all(message);
                    }
                });
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_messages_come_the_answer_to_a_ping_may_be_late() {
    let (origin, messages) = (Origin::start(), 25);
    let keys = format!(
        "channel = \"busy\"\nnames = [\"tag:{{message}}\"]\non_gap = []\nurl = \"{}\"",
        busy_server(messages)
    );
    let setup = Setup::before(&origin.url()).one_more("bridge", &keys);
    let larder = setup.start().await;
    // Five seconds of messages, far beyond what a silence is given.
    eventually("all are heard", async || counted(&larder).await[0] == messages as f64).await;
    assert_eq!(counted(&larder).await[3..], [1.0, 1.0], "on one connection");
    eventually("the silence is noticed", async || counted(&larder).await[3] >= 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_of_its_own_a_process_listens_too() {
    let (origin, channels) = (Origin::start(), Valkey::start());
    let keys = format!("{BRIDGE}on_gap = []\nurl = \"{}\"", channels.url());
    let setup =
        Setup::before(&origin.url()).route("/products/{id}", PRODUCTS).one_more("bridge", &keys);
    let larder = setup.start().await;
    until_listening(&larder, 1.0).await;
    origin.on("/products/7").answers(|asked| ok(asked.before.to_string()));
    larder.client().get("/products/7").await;
    larder.until_verdict("/products/7", "serve").await;
    assert_eq!(publish(&mut channels.client(), "products.x", r#"{"id": 7}"#), 1);
    larder.until_verdict("/products/7", "fetch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_the_bridges_that_changed_and_no_others() {
    let kept = format!("{BRIDGE}on_gap = []");
    let fleet = stocked(&[&kept, "channel = \"a\"\nnames = [\"all\"]\non_gap = []"], 1).await;
    let larder = &fleet.larders[0];
    let text = std::fs::read_to_string(larder.file()).unwrap();
    let changed = text.replace("channel = \"a\"", "channel = \"b\"");
    std::fs::write(larder.file(), changed).unwrap();
    let told = larder.admin().asks("POST", "/reload").send().await.json();
    assert_eq!(told["needs_restart"], serde_json::json!([]), "{told}");
    let gaps = async |channel| {
        larder.metrics().await.sum("larder_bridge_gaps_total", &[("channel", channel)])
    };
    eventually("the new one listens", async || gaps("b").await == 1.0).await;
    assert_eq!((gaps("products.*").await, gaps("a").await), (1.0, 0.0));
    eventually("one is left on the old one", async || fleet.publishes("a", "x") == 1).await;
    // With mistakes nothing changes.
    std::fs::write(larder.file(), text.replace("tag:product:{$.id}", "tag:{id}")).unwrap();
    assert_eq!(larder.admin().asks("POST", "/reload").send().await.status, 422);
    fleet.stock(1).await;
    assert_eq!(fleet.publishes("products.x", r#"{"id": 0}"#), 2);
    fleet.until_gone("/products/0").await;
}
