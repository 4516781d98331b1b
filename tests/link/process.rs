//! Servers of Valkey with whatever configuration a test needs, and Sentinels.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running `valkey-server` or Sentinel. Ends when it is dropped.
pub(crate) struct Process {
    port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
    directory: tempfile::TempDir,
}

impl Process {
    /// A server without persistence on a free port, with these arguments besides.
    pub(crate) fn server(arguments: &[&str]) -> Self {
        let port = free_port();
        let port_text = port.to_string();
        let mut all = vec!["--port", &port_text];
        all.extend(arguments);
        Self::on(port, &all)
    }

    /// A server that listens as these arguments say; on this port, among others.
    pub(crate) fn on(port: u16, arguments: &[&str]) -> Self {
        let mut all = vec!["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        all.extend(arguments);
        Self::run(port, all.into_iter().map(str::to_owned).collect())
    }

    /// A Sentinel on a free port that watches over this primary.
    pub(crate) fn sentinel(name: &str, primary: u16, quorum: usize) -> Self {
        let port = free_port();
        Self::sentinel_on(port, &format!("port {port}"), name, primary, quorum)
    }

    /// A Sentinel that listens on this port as these lines of its configuration say.
    pub(crate) fn sentinel_on(
        port: u16,
        lines: &str,
        name: &str,
        primary: u16,
        quorum: usize,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let file = directory.path().join("sentinel.conf");
        let text = format!(
            "{lines}\nbind 127.0.0.1\n\
             sentinel monitor {name} 127.0.0.1 {primary} {quorum}\n\
             sentinel down-after-milliseconds {name} 500\n\
             sentinel failover-timeout {name} 3000\n"
        );
        std::fs::write(&file, text).expect("a file");
        let arguments = vec![file.to_string_lossy().into_owned(), "--sentinel".into()];
        let mut process = Self { port, arguments, child: None, directory };
        process.start();
        process
    }

    fn run(port: u16, arguments: Vec<String>) -> Self {
        let directory = tempfile::tempdir().expect("a directory for temporary files");
        let mut process = Self { port, arguments, child: None, directory };
        process.start();
        process
    }

    /// Starts it (again), and waits until it listens.
    #[expect(clippy::disallowed_methods, reason = "a real process is waited for in real time")]
    pub(crate) fn start(&mut self) {
        let child = Command::new("valkey-server")
            .args(&self.arguments)
            .current_dir(self.directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("valkey-server is needed for these tests: scripts/test installs it");
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "valkey-server ended: {ended:?}");
            assert!(Instant::now() < deadline, "valkey-server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// A directory of its own.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A connection past everything that is put to the test, in the clear and as the default user.
    pub(crate) fn client(&self) -> redis::Connection {
        let url = format!("redis://127.0.0.1:{}", self.port);
        let client = redis::Client::open(url).expect("a valid URL");
        client.get_connection().expect("a running server")
    }

    /// What it answers to a command.
    pub(crate) fn tell<T: redis::FromRedisValue>(&self, command: &str) -> redis::RedisResult<T> {
        let mut words = command.split_whitespace();
        let mut cmd = redis::cmd(words.next().unwrap_or_default());
        words.for_each(|word| {
            cmd.arg(word);
        });
        let url = format!("redis://127.0.0.1:{}", self.port);
        cmd.query(&mut redis::Client::open(url)?.get_connection()?)
    }

    /// Ends it without a word (SIGKILL).
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// It keeps its connections and answers nothing (SIGSTOP), or goes on (SIGCONT).
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("a running server").id();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port on which nobody listens.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}
