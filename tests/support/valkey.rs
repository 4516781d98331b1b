//! A real `valkey-server` of the test's own, which it may stop, freeze and kill.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server without persistence. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Valkey {
    port: u16,
    child: Option<Child>,
    directory: tempfile::TempDir,
}

impl Valkey {
    /// Starts one on a free port and waits until it answers.
    pub(crate) fn start() -> Self {
        let mut server = Self::absent();
        server.restart();
        server
    }

    /// One that is not running yet, with a port of its own.
    pub(crate) fn absent() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        Self { port, child: None, directory }
    }

    /// Starts it (again), empty, on the same port, and waits until it answers.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let child = Command::new("valkey-server")
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .current_dir(self.directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("valkey-server is needed for these tests: scripts/test installs it");
        self.child = Some(child);
        self.wait_until_it_answers();
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its URL, as for `store.valkey`.
    pub(crate) fn url(&self) -> String {
        format!("valkey://127.0.0.1:{}", self.port)
    }

    /// A connection past everything that is put to the test.
    pub(crate) fn client(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).expect("a valid URL");
        client.get_connection().expect("a running server")
    }

    /// Ends it without a word (SIGKILL).
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// It keeps its connections and answers nothing (SIGSTOP).
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
        // The signal has been sent, and a busy machine may be late to act on it.
        let stopped = (0..5_000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            self.is_frozen()
        });
        assert!(stopped, "the server does not stop");
    }

    /// Is every thread of it stopped? Where there is no `/proc`, the signal is taken at its word.
    fn is_frozen(&self) -> bool {
        let pid = self.child.as_ref().expect("a running server").id();
        let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
        threads.flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        })
    }

    /// It goes on (SIGCONT).
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("a running server").id();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }

    #[expect(clippy::disallowed_methods, reason = "a real process is waited for in real time")]
    fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.answers() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "valkey-server ended: {ended:?}");
            assert!(Instant::now() < deadline, "valkey-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn answers(&self) -> bool {
        // Asked before it listens, the client library would wait longer than needed.
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
            && redis::Client::open(self.url())
                .and_then(|client| client.get_connection_with_timeout(Duration::from_secs(1)))
                .and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection))
                .is_ok_and(|pong| pong == "PONG")
    }
}

impl Drop for Valkey {
    fn drop(&mut self) {
        self.kill();
    }
}
