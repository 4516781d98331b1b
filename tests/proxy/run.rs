//! How it is started, and what it says when it cannot be.

use std::process::Output;

use crate::support::larder::{Larder, Setup};
use crate::support::origin::{Origin, ok};
use crate::support::wait::eventually;

fn runs(arguments: &[&str]) -> Output {
    let nowhere = tempfile::tempdir().unwrap();
    Larder::command().current_dir(nowhere.path()).args(arguments).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_and_an_address_are_enough() {
    let origin = Origin::start();
    origin.on("/a").replies(ok("one").max_age(60));
    let url = origin.url();
    let mut larder = Larder::spawn(["run", "--origin", &url, "--listen", "127.0.0.1:0"]);
    larder.until_it_listens(false).await;
    larder.client().get("/a").await.expect(200, "one");
    assert!(larder.client().get("/a").await.is_shared(), "by the origin's own word");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_comes_before_the_file() {
    let (listed, given) = (Origin::start(), Origin::start());
    given.on("/a").replies(ok("given"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy.toml");
    std::fs::write(&file, Setup::before(&listed.url()).text()).unwrap();
    let file = file.to_str().unwrap();
    let mut larder = Larder::spawn(["run", "--config", file, "--origin", &given.url()]);
    larder.until_it_listens(true).await;
    larder.client().get("/a").await.expect(200, "given");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_six_mistakes_of_a_file_are_reported_in_one_go() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy.toml");
    let text = "\
listen = \"localhost:8080\"

[origin]
url = \"http://127.0.0.1:3000\"
tiemout = \"30s\"

[store]
memory = \"lots\"

[class.catalog]
soft_ttl = \"10m\"
hard_ttl = \"60s\"

[[route]]
path = \"/products/{id}\"
class = \"catlog\"
tags = [\"product:{key}\"]
";
    std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    for arguments in [["run", "--config", path].as_slice(), &["check", path]] {
        let output = runs(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = told(&output);
        for (line, word) in [
            (1, "localhost:8080"),
            (5, "tiemout"),
            (8, "lots"),
            (11, "hard_ttl"),
            (16, "catlog"),
            (17, "key"),
        ] {
            assert!(told.contains(word), "{word} is reported:\n{told}");
            assert!(told.contains(&format!("proxy.toml:{line}")), "line {line} is named:\n{told}");
        }
        assert!(told.contains("timeout"), "what was probably meant:\n{told}");
        assert!(told.contains('^'), "a caret shows where:\n{told}");
    }
}

#[test]
fn a_valid_file_is_called_valid() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy.toml");
    let text = Setup::before("http://127.0.0.1:3000").route("/a", "soft_ttl = \"1h\"").text();
    std::fs::write(&file, text).unwrap();
    let output = runs(&["check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
}

#[test]
fn usage_and_failure_have_codes_of_their_own() {
    for (arguments, code) in [
        (["run"].as_slice(), 2),
        (&["run", "--config", "missing.toml"], 2),
        (&["dance"], 2),
        (&["run", "--listen", "here"], 2),
        (&["run", "--origin", "ftp://x"], 2),
        (&["stats", "--admin", "http://127.0.0.1:1"], 1),
        (&["--version"], 0),
        (&["schema"], 0),
    ] {
        let output = runs(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", told(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_a_failure_that_names_it() {
    let origin = Origin::start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = runs(&["run", "--origin", &origin.url(), "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains(&address), "{}", told(&output));
}

#[test]
fn a_missing_variable_is_a_mistake() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy.toml");
    let text =
        Setup::before("http://127.0.0.1:3000").admin("token = \"${LARDER_NOT_THERE}\"").text();
    std::fs::write(&file, text).unwrap();
    let output = runs(&["check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("LARDER_NOT_THERE"), "{}", told(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_asks_a_running_process() {
    let origin = Origin::start();
    origin.on("/a").replies(ok("x"));
    let larder = Setup::before(&origin.url())
        .route("/a", "soft_ttl = \"1h\"\ntags = [\"thing\"]")
        .start()
        .await;
    let admin = format!("http://{}", larder.admin_address());
    let client = larder.client();
    client.get("/a").await;
    eventually("it is stored", async || client.get("/a").await.is_hit()).await;
    let url = format!("http://{}/a", larder.address());
    let ask = async |arguments: &[&str]| {
        let arguments: Vec<String> =
            arguments.iter().copied().chain(["--admin", &admin]).map(str::to_owned).collect();
        tokio::task::spawn_blocking(move || {
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            runs(&arguments)
        })
        .await
        .unwrap()
    };
    let shown = ask(&["explain", "GET", &url]).await;
    assert_eq!(shown.status.code(), Some(0), "{}", told(&shown));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("fresh"), "{shown:?}");
    for arguments in [["stats"].as_slice(), &["ready"], &["purge", "--tag", "thing"]] {
        let output = ask(arguments).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", told(&output));
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
    assert!(client.get("/a").await.is_forwarded(), "it was purged");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_needs_nothing() {
    let mut larder = Larder::spawn([
        "demo",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--delay",
        "10ms",
    ]);
    larder.until_it_listens(true).await;
    let client = larder.client();
    assert_eq!(client.get("/products/1").await.status, 200);
    eventually("it is cached", async || client.get("/products/1").await.is_hit()).await;
}
