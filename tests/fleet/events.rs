//! Does every process obey what backends append themselves, by the very commands of
//! `docs/events.md`? The blocks of that page are run as they stand there.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use crate::Fleet;
use crate::support::larder::Larder;
use crate::support::origin::{Resource, ok};
use crate::support::wait::within;

/// How soon an event is obeyed.
const SOON: Duration = Duration::from_secs(1);

const HOST: &str = "api.example.com";
const TARGET: &str = "/products/7?size=large";

/// As the page says: the route, and what the origin sends.
const ROUTE: &str = "soft_ttl = \"1h\"\nhard_ttl = \"2h\"\nnamespace = \"catalog/products\"\ntags = [\"product:{id}\"]";

/// A block of the page.
struct Block {
    /// The heading that it stands under.
    heading: String,
    language: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (mut heading, mut blocks) = (String::new(), Vec::new());
    let mut open: Option<Block> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => blocks.push(block),
            (Some(language), None) => {
                let (heading, language) = (heading.clone(), language.to_owned());
                open = Some(Block { heading, language, text: String::new() });
            }
            (None, Some(mut block)) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {
                if let Some(title) = line.strip_prefix('#') {
                    heading = title.trim_start_matches('#').trim().to_owned();
                }
            }
        }
    }
    assert!(open.is_none(), "a block does not end");
    blocks
}

/// The blocks under this heading in this language; at least one.
fn under(heading: &str, language: &str) -> Vec<String> {
    let all = blocks().into_iter();
    let found: Vec<_> = all
        .filter(|block| block.heading == heading && block.language == language)
        .map(|block| block.text)
        .collect();
    assert!(!found.is_empty(), "no {language} under {heading}");
    found
}

/// Two processes; what they serve is whatever `value` says.
async fn fleet() -> (Fleet, Resource) {
    let fleet = Fleet::set_up(2, |setup| setup.route("/products/{id}", ROUTE)).await;
    let value = Resource::new("old");
    let current = value.clone();
    fleet
        .origin
        .on("/products/7")
        .answers(move |_| ok(current.get()).header("cache-groups", "\"scripts\""));
    (fleet, value)
}

impl Fleet {
    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let larder = format!("http://{}", self.larders[1].address());
        let output = Command::new(program)
            .args(arguments)
            .env("VALKEY", self.valkey.url())
            .env("LARDER", larder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let fine = output.status.success() && !said.contains("NOPERM") && !said.contains("ERR");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(fine, "{program} {arguments:?}: {said}{errors}");
        output
    }

    /// What it writes, without the end of the last line.
    fn sh(&self, text: &str) -> String {
        let output = self.run("sh", &["-ec", text]);
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn python(&self, text: &str) -> String {
        let output = self.run("python3", &["-c", text]);
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Every process serves it from its store.
    async fn stored_everywhere(&self) {
        for larder in &self.larders {
            within(SOON * 5, "it is stored", async || {
                larder.client().asks("GET", TARGET).host(HOST).send().await;
                verdict(larder).await == "serve"
            })
            .await;
        }
    }

    /// No process does, soon.
    async fn must_be_obeyed(&self, what: &str) {
        for larder in &self.larders {
            within(SOON, &format!("obeyed: {what}"), async || verdict(larder).await != "serve")
                .await;
        }
    }
}

async fn verdict(larder: &Larder) -> String {
    let url = format!("/explain?method=GET&url=http://{HOST}/products/7%3Fsize%3Dlarge");
    let reply = larder.admin().get(&url).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let told: Value = reply.json();
    told["verdict"].as_str().unwrap().to_owned()
}

async fn malformed(larder: &Larder) -> f64 {
    larder.metrics().await.sum("larder_ledger_malformed_total", &[])
}

fn is_position(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.split_once('-').is_some_and(|(millis, sequence)| digits(millis) && digits(sequence))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_page_is_obeyed() {
    let (fleet, _) = fleet().await;
    for text in under("Appending a record", "sh").into_iter().chain(under("Trimming", "sh")) {
        fleet.stored_everywhere().await;
        assert!(is_position(&fleet.sh(&text)), "{text}");
        fleet.must_be_obeyed(&text).await;
    }
    for text in under("From Python", "python") {
        fleet.stored_everywhere().await;
        if text.contains("import os, valkey") && !has_package(&fleet) {
            // The package is not everywhere; its two lines are Python all the same.
            fleet.run("python3", &["-c", "import ast, sys; ast.parse(sys.argv[1])", &text]);
            continue;
        }
        let said = fleet.python(&text);
        assert!(said.is_empty() || is_position(&said), "{said}");
        fleet.must_be_obeyed(&text).await;
    }
}

fn has_package(fleet: &Fleet) -> bool {
    let find = "import importlib.util as u; print(u.find_spec('valkey') is not None)";
    fleet.python(find) == "True"
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_name_is_obeyed() {
    let (fleet, _) = fleet().await;
    let text = under("Every kind of name", "sh").concat();
    assert!(text.lines().count() >= 9, "{text}");
    for line in text.lines() {
        fleet.stored_everywhere().await;
        fleet.sh(line);
        fleet.must_be_obeyed(line).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shows_the_position_reads_what_was_written() {
    let (fleet, value) = fleet().await;
    let [text] = &under("Reading your own writes", "sh")[..] else { panic!("one block") };
    for round in 0..10 {
        for larder in &fleet.larders {
            larder.client().get("/products/7").await;
        }
        let new = format!("written {round}");
        value.set(&new);
        assert_eq!(fleet.sh(text), new);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_counted_and_skipped() {
    let (fleet, _) = fleet().await;
    fleet.stored_everywhere().await;
    let blocks = under("Malformed events", "sh");
    let (bad, look) = (&blocks[0], &blocks[1]);
    assert_eq!(bad.lines().count(), 4);
    for line in bad.lines() {
        assert!(is_position(&fleet.sh(line)), "{line}");
    }
    for larder in &fleet.larders {
        within(SOON, "they are counted", async || malformed(larder).await == 4.0).await;
        assert_eq!(verdict(larder).await, "serve", "none of them was about this");
        let told = larder.told();
        let lines = told.matches("names in the ledger that cannot be read").count();
        assert_eq!(lines, 1, "{told}");
    }
    assert!(fleet.sh(look).contains("colour:red"));
    fleet.sh(&under("Appending a record", "sh")[0]);
    fleet.must_be_obeyed("what comes after the nonsense").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_append_and_nothing_else() {
    let (fleet, _) = fleet().await;
    fleet.stored_everywhere().await;
    let blocks = under("A user that may only append", "sh");
    let [make, append] = &blocks[..] else { panic!("two blocks") };
    assert_eq!(fleet.sh(make), "OK");
    assert!(is_position(&fleet.sh(append)));
    fleet.must_be_obeyed(append).await;
    for command in ["XRANGE 'larder:{l}:ledger' - +", "GET x", "DEL 'larder:{l}:ledger'"] {
        let refused = append.split(" XADD").next().unwrap();
        let said = fleet.sh(&format!("{refused} {command} | sed s/NOPERM/refused/"));
        assert!(said.contains("refused"), "{command}: {said}");
    }
    let elsewhere = append.replace("larder:{l}:ledger", "larder:{l}:namespaces");
    let said = fleet.sh(&format!("{} | sed s/NOPERM/refused/", elsewhere.trim()));
    assert!(said.contains("refused"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_somebody_else_began_is_fenced_and_read() {
    let (fleet, _) = fleet().await;
    fleet.stored_everywhere().await;
    redis::cmd("FLUSHALL").exec(&mut fleet.valkey.client()).unwrap();
    fleet.sh(&under("Appending a record", "sh")[0]);
    // A look a second, and the record itself.
    for larder in &fleet.larders {
        within(SOON * 3, "it is asked about", async || verdict(larder).await != "serve").await;
        within(SOON * 3, "it is fenced", async || {
            larder.metrics().await.sum("larder_ledger_fences_total", &[]) >= 2.0
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bridge_of_the_page_does_what_it_says() {
    let [text] = &under("Bridges", "toml")[..] else { panic!("one block") };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, format!("{text}[origin]\nurl = \"http://127.0.0.1:3000\"\n")).unwrap();
    let checked = Larder::command().arg("check").arg(file.path()).output().unwrap();
    let (said, warned) = (checked.stdout, String::from_utf8_lossy(&checked.stderr).into_owned());
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("valid, 0 routes, 1 bridge") && warned.is_empty(), "{said}{warned}");

    let bridge = text.split_once("[[bridge]]\n").unwrap().1;
    let fleet =
        Fleet::set_up(2, |setup| setup.route("/products/{id}", ROUTE).one_more("bridge", bridge))
            .await;
    fleet.origin.on("/products/7").replies(ok("x"));
    for larder in &fleet.larders {
        within(SOON * 5, "it listens", async || {
            larder.metrics().await.sum("larder_bridge_connected", &[]) == 1.0
        })
        .await;
    }
    fleet.stored_everywhere().await;
    assert_eq!(fleet.sh(&under("Bridges", "sh")[0]), "2");
    fleet.must_be_obeyed("a message").await;
}
