//! The real program, as a process of its own.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, Reply};
use super::wait::{eventually, within};

/// A configuration about to be run. Ports are free ones unless the test says otherwise.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    origin: String,
    top: String,
    tables: [(&'static str, String); 5],
    rest: String,
}

impl Setup {
    /// In front of the origin at this URL.
    pub(crate) fn before(url: &str) -> Self {
        Self::with_origin(format!("url = \"{url}\"\n"))
    }

    /// In front of several origins.
    pub(crate) fn before_all(urls: &[String]) -> Self {
        Self::with_origin(format!("urls = {urls:?}\n"))
    }

    fn with_origin(origin: String) -> Self {
        let tables =
            ["origin", "store", "admin", "limits", "log"].map(|name| (name, String::new()));
        Self { origin, tables, ..Self::default() }
            .admin("listen = \"127.0.0.1:0\"")
            .log("level = \"larder=debug,info\"")
    }

    pub(crate) fn origin(self, keys: &str) -> Self {
        self.keys("origin", keys)
    }

    pub(crate) fn store(self, keys: &str) -> Self {
        self.keys("store", keys)
    }

    pub(crate) fn admin(self, keys: &str) -> Self {
        self.keys("admin", keys)
    }

    pub(crate) fn limits(self, keys: &str) -> Self {
        self.keys("limits", keys)
    }

    pub(crate) fn log(self, keys: &str) -> Self {
        self.keys("log", keys)
    }

    /// A route for this path. Lifetimes are not spread, so that tests know them.
    pub(crate) fn route(self, path: &str, keys: &str) -> Self {
        let jitter = if keys.contains("jitter") { "" } else { "jitter = \"0%\"\n" };
        self.one_more("route", &format!("path = \"{path}\"\n{jitter}{keys}"))
    }

    /// One of the tables that may stand there any number of times.
    pub(crate) fn one_more(mut self, table: &str, keys: &str) -> Self {
        self.rest.push_str(&format!("[[{table}]]\n{keys}\n"));
        self
    }

    fn keys(mut self, table: &str, keys: &str) -> Self {
        if let Some((_, text)) = self.tables.iter_mut().find(|(name, _)| *name == table) {
            text.push_str(keys);
            text.push('\n');
        }
        self
    }

    /// As it stands in the file.
    pub(crate) fn text(&self) -> String {
        let mut text = self.top.clone();
        if !text.contains("listen") {
            text.push_str("listen = \"127.0.0.1:0\"\n");
        }
        for (name, keys) in &self.tables {
            let origin = if *name == "origin" { &*self.origin } else { "" };
            text.push_str(&format!("[{name}]\n{origin}{keys}"));
        }
        text + &self.rest
    }

    /// Runs it, and waits until it listens.
    pub(crate) async fn start(&self) -> Larder {
        self.start_as(Larder::command()).await
    }

    /// The same with a command that has this program in it.
    pub(crate) async fn start_as(&self, mut command: Command) -> Larder {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let file = directory.path().join("proxy.toml");
        std::fs::write(&file, self.text()).expect("a file");
        command.args(["run".as_ref(), "--config".as_ref(), file.as_os_str()]);
        let mut larder = Larder::of(command);
        larder.file = Some((directory, file));
        larder.until_it_listens(true).await;
        larder
    }
}

/// A running process. Killed when it is dropped; if the test is failing then, what it said on
/// standard error is shown.
pub(crate) struct Larder {
    child: Child,
    events: Lines,
    access: Lines,
    /// They end when the process has ended and all it wrote has been read.
    readers: Vec<JoinHandle<()>>,
    client: Option<Client>,
    admin: Option<Client>,
    address: Option<SocketAddr>,
    file: Option<(tempfile::TempDir, PathBuf)>,
    ended: Option<ExitStatus>,
}

type Lines = Arc<Mutex<Vec<String>>>;

impl Larder {
    /// The program with these arguments: as built with the tests, or the one that
    /// `LARDER_TEST_BINARY` names.
    pub(crate) fn command() -> Command {
        let built = env!("CARGO_BIN_EXE_larder").into();
        let program = std::env::var_os("LARDER_TEST_BINARY").unwrap_or(built);
        let mut command = Command::new(program);
        command.env_remove("LARDER_CONFIG").env_remove("LARDER_ADMIN_TOKEN");
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// Starts it with these arguments.
    pub(crate) fn spawn<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = Self::command();
        command.args(arguments);
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (events, errors) = collect(child.stderr.take().expect("it is piped"));
        let (access, output) = collect(child.stdout.take().expect("it is piped"));
        Self {
            child,
            events,
            access,
            readers: vec![errors, output],
            client: None,
            admin: None,
            address: None,
            file: None,
            ended: None,
        }
    }

    /// Waits until it says where it listens.
    pub(crate) async fn until_it_listens(&mut self, with_admin: bool) {
        eventually("larder listens", async || {
            self.admin = self.announced("admin listening").map(Client::of);
            self.address = self.announced("listening");
            self.client = self.address.map(Client::of);
            let ended = self.has_ended();
            assert!(ended.is_none(), "larder ended ({ended:?}):\n{}", self.told());
            self.client.is_some() && (self.admin.is_some() || !with_admin)
        })
        .await;
    }

    fn announced(&self, what: &str) -> Option<SocketAddr> {
        lines(&self.events).iter().find_map(|line| {
            let (before, address) = line.split_once("address=")?;
            let is_admin =
                before.contains("admin listening") || address.contains("admin listening");
            let wanted = line.contains(what) && is_admin == (what == "admin listening");
            let address = address.split_whitespace().next()?.trim_matches('"');
            if wanted { address.parse().ok() } else { None }
        })
    }

    /// A client of it. Clones share their connections.
    pub(crate) fn client(&self) -> Client {
        self.client.clone().expect("it listens")
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("it listens")
    }

    /// A client of its admin listener.
    pub(crate) fn admin(&self) -> Client {
        self.admin.clone().expect("it has an admin listener")
    }

    /// Where its admin listener is.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin().address()
    }

    /// Where its configuration is.
    pub(crate) fn file(&self) -> &Path {
        &self.file.as_ref().expect("it was started from a file").1
    }

    /// Purges what `content` says; the receipt.
    pub(crate) async fn purge(&self, content: Value) -> Reply {
        let reply = self.admin().asks("POST", "/purge").json(&content).send().await;
        assert!(reply.status == 200 || reply.status == 202, "{content}: {}", reply.text());
        reply
    }

    /// What it would do with such a request: the whole answer of `/explain`.
    pub(crate) async fn explain(&self, method: &str, target: &str) -> Value {
        self.explain_with(method, target, &[]).await
    }

    /// The same for a request with these fields.
    pub(crate) async fn explain_with(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Value {
        let url = encoded(&format!("http://{}{target}", self.address()));
        let mut query = format!("/explain?method={method}&url={url}");
        for (name, value) in fields {
            query.push_str(&format!("&header={}", encoded(&format!("{name}: {value}"))));
        }
        let reply = self.admin().get(&query).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    /// The verdict of [`Self::explain`] on a GET.
    pub(crate) async fn verdict(&self, target: &str) -> String {
        let told = self.explain("GET", target).await;
        told["verdict"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a GET would be answered so. Asks without being noticed: nothing is refreshed.
    pub(crate) async fn until_verdict(&self, target: &str, verdict: &str) {
        let what = format!("{target} would be answered {verdict:?}");
        eventually(&what, async || self.verdict(target).await == verdict).await;
    }

    /// The page of metrics.
    pub(crate) async fn metrics(&self) -> Metrics {
        let reply = self.admin().get("/metrics").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        Metrics(reply.text())
    }

    /// Lines of the access log that have been written.
    pub(crate) fn access_log(&self) -> Vec<Value> {
        lines(&self.access)
            .iter()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in the log: {line}"))
            })
            .collect()
    }

    /// Waits for the access log's line about this target.
    pub(crate) async fn logged(&self, target: &str) -> Value {
        let mut found = json!(null);
        eventually(&format!("{target} is in the access log"), async || {
            found =
                self.access_log().into_iter().rfind(|l| l["path"] == target).unwrap_or_default();
            !found.is_null()
        })
        .await;
        found
    }

    /// What it has said on standard error.
    pub(crate) fn told(&self) -> String {
        lines(&self.events).join("\n")
    }

    /// Sends it a signal: `TERM`, `KILL`, `STOP`, `CONT`, `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// Ends it without a word, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
    }

    /// Its exit status, if it has ended.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a process of ours");
        }
        self.ended
    }

    /// Waits until it has ended.
    pub(crate) async fn end(&mut self, limit: Duration) -> ExitStatus {
        within(limit, "larder ends", async || self.has_ended().is_some()).await;
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        self.ended.expect("it has ended")
    }

    /// Memory that it has resident, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("a running process");
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("its memory");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("KiB");
        kib * 1024
    }
}

impl Drop for Larder {
    #[expect(clippy::print_stderr, reason = "a failing test shows what the process said")]
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- larder at {:?} said:\n{}\n---", self.address, self.told());
        }
    }
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn lines(lines: &Lines) -> Vec<String> {
    lines.lock().expect("nobody panics with it").clone()
}

fn collect(output: impl Read + Send + 'static) -> (Lines, JoinHandle<()>) {
    let collected = Lines::default();
    let shared = Arc::clone(&collected);
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            shared.lock().expect("nobody panics with it").push(line);
        }
    });
    (collected, reader)
}

/// A page of metrics.
#[derive(Debug)]
pub(crate) struct Metrics(String);

impl Metrics {
    /// The sum of all samples of `name` with these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let carries = |line: &str| {
            labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
        };
        self.0
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter(|line| carries(line))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}
