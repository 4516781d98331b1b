//! The servers: how each is started, and stopped whatever happens.
//!
//! | kind | what it is |
//! |---|---|
//! | Larder | entries in its memory, ledger in its memory |
//! | Tiered | entries in its memory in front of Valkey, ledger in Valkey |
//! | ValkeyOnly | entries in Valkey alone (`memory = 0`) |
//! | Nginx, Haproxy, Varnish | the distribution's |
//! | Bare | hyper without a proxy: a floor |
//! | Valkey | GET of a value of the same size: a floor |

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Bench, Outcome};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Larder,
    Tiered,
    ValkeyOnly,
    Nginx,
    Haproxy,
    Varnish,
    Bare,
    Valkey,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Larder => "larder",
            Self::Tiered => "larder, Valkey behind",
            Self::ValkeyOnly => "larder, Valkey only",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Varnish => "Varnish",
            Self::Bare => "bare hyper",
            Self::Valkey => "Valkey GET",
        }
    }
}

/// A process of our own, with all that it starts: a group of its own, ended when this is dropped.
pub struct Running {
    child: Child,
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for (signal, patience) in [("-TERM", 5), ("-KILL", 5)] {
            // The group, since a master that is killed leaves its workers.
            let group = format!("-{}", self.child.id());
            let _ =
                Command::new("kill").args([signal, "--", &group]).stderr(Stdio::null()).status();
            let until = Instant::now() + Duration::from_secs(patience);
            while Instant::now() < until {
                if matches!(self.child.try_wait(), Ok(Some(_))) {
                    let _ = Command::new("kill")
                        .args(["-KILL", "--", &group])
                        .stderr(Stdio::null())
                        .status();
                    return;
                }
                sleep(Duration::from_millis(10));
            }
        }
    }
}

/// One server, ready.
pub struct Server {
    pub kind: Kind,
    pub running: Running,
    /// Valkey, where there is one behind.
    pub beside: Option<Running>,
    pub address: SocketAddr,
    /// Where HTTP/2 with prior knowledge is spoken.
    pub h2: SocketAddr,
    /// Port of the Valkey in `beside`, or of this server if it is Valkey itself.
    pub valkey: Option<u16>,
    /// Where a server keeps contents in files.
    pub files: Option<PathBuf>,
}

/// What differs between two Larders.
pub struct Shape {
    pub routes: usize,
}

impl Bench {
    /// All of them, each ready to be asked.
    pub fn start(&self, kinds: &[Kind]) -> Outcome<Vec<Server>> {
        kinds.iter().map(|kind| self.start_one(*kind, &Shape { routes: 1 })).collect()
    }

    /// One of them.
    pub fn start_one(&self, kind: Kind, shape: &Shape) -> Outcome<Server> {
        let home = self.home(kind)?;
        let (port, port_h2) = (free_port()?, free_port()?);
        let (mut h2, mut beside, mut valkey, mut files) = (port, None, None, None);
        let command = match kind {
            Kind::Larder => self.larder(&home, port, None, "4GiB", shape)?,
            Kind::Tiered | Kind::ValkeyOnly => {
                let behind = free_port()?;
                beside = Some(self.spawn("valkey", self.valkey(&home, behind)?, &home)?);
                await_port(behind)?;
                valkey = Some(behind);
                let memory = if kind == Kind::Tiered { "4GiB" } else { "0" };
                self.larder(&home, port, valkey, memory, shape)?
            }
            Kind::Nginx => {
                h2 = port_h2;
                files = Some(home.join("cache"));
                self.nginx(&home, port, port_h2)?
            }
            Kind::Haproxy => {
                h2 = port_h2;
                self.haproxy(&home, port, port_h2)?
            }
            Kind::Varnish => self.varnish(&home, port)?,
            Kind::Bare => self.threads({
                let mut command = Command::new(self.own("bare"));
                command.arg(format!("127.0.0.1:{port}"));
                command
            }),
            Kind::Valkey => {
                valkey = Some(port);
                self.valkey(&home, port)?
            }
        };
        let running = self.spawn(kind.name(), command, &home)?;
        await_port(port).map_err(|error| {
            let told = fs::read_to_string(home.join("stderr")).unwrap_or_default();
            format!("{}: {error}\n{told}", kind.name())
        })?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let h2 = SocketAddr::from(([127, 0, 0, 1], h2));
        Ok(Server { kind, running, beside, address, h2, valkey, files })
    }

    /// The origin, which outlives all of them.
    pub fn start_origin(&mut self) -> Outcome<Running> {
        let port = free_port()?;
        self.origin = SocketAddr::from(([127, 0, 0, 1], port));
        let mut command = Command::new(self.own("origin"));
        command.arg(self.origin.to_string());
        let home = self.work.join("origin");
        fs::create_dir_all(&home)?;
        let running = self.spawn_on(command, &home, "1")?;
        await_port(port)?;
        Ok(running)
    }

    fn larder(
        &self,
        home: &Path,
        port: u16,
        valkey: Option<u16>,
        memory: &str,
        shape: &Shape,
    ) -> Outcome<Command> {
        let routes: String = if shape.routes == 1 {
            "# Everything else.\n[[route]]\npath = \"/{*rest}\"\n".to_owned()
        } else {
            (0..shape.routes)
                .map(|n| format!("[[route]]\npath = \"/r{n}/{{*rest}}\"\n\n"))
                .collect()
        };
        let valkey =
            valkey.map_or(String::new(), |port| format!("valkey = \"valkey://127.0.0.1:{port}\""));
        let names = [
            ("PORT", port.to_string()),
            ("MEMORY", memory.to_owned()),
            ("VALKEY", valkey),
            ("ROUTES", routes),
        ];
        let file = self.configuration("larder.toml", home, &names)?;
        let mut command = Command::new(&self.options.larder);
        command.args(["run", "--config"]).arg(file);
        Ok(self.threads(command))
    }

    fn nginx(&self, home: &Path, port: u16, port_h2: u16) -> Outcome<Command> {
        let names = [
            ("PORT", port.to_string()),
            ("PORT_H2", port_h2.to_string()),
            ("CACHE", home.join("cache").display().to_string()),
        ];
        let file = self.configuration("nginx.conf", home, &names)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(home).arg("-c").arg(file);
        Ok(command)
    }

    fn haproxy(&self, home: &Path, port: u16, port_h2: u16) -> Outcome<Command> {
        let names = [("PORT", port.to_string()), ("PORT_H2", port_h2.to_string())];
        let file = self.configuration("haproxy.cfg", home, &names)?;
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(file);
        Ok(command)
    }

    fn varnish(&self, home: &Path, port: u16) -> Outcome<Command> {
        let file = self.configuration("varnish.vcl", home, &[])?;
        let mut command = Command::new("varnishd");
        command.arg("-F").arg("-n").arg(home.join("varnish")).arg("-f").arg(file);
        command.args(["-a", &format!("127.0.0.1:{port}"), "-T", "none"]);
        // 4 GiB like everybody; HTTP/2 is off unless it is asked for.
        command.args(["-s", "malloc,4G", "-p", "feature=+http2"]);
        Ok(command)
    }

    fn valkey(&self, home: &Path, port: u16) -> Outcome<Command> {
        let file = self.configuration("valkey.conf", home, &[("PORT", port.to_string())])?;
        let mut command = Command::new("valkey-server");
        command.arg(file);
        Ok(command)
    }

    /// As many threads as every other server may have.
    fn threads(&self, mut command: Command) -> Command {
        command.env("TOKIO_WORKER_THREADS", self.options.workers.to_string());
        command
    }

    /// A configuration of the repository with its @NAMES@ filled in.
    fn configuration(&self, name: &str, home: &Path, names: &[(&str, String)]) -> Outcome<PathBuf> {
        let mut text = fs::read_to_string(self.bench.join("conf").join(name))?;
        let common = [
            ("WORKERS", self.options.workers.to_string()),
            ("WORK", home.display().to_string()),
            ("ORIGIN", self.origin.to_string()),
            ("ORIGIN_PORT", self.origin.port().to_string()),
        ];
        for (name, value) in names.iter().chain(&common) {
            text = text.replace(&format!("@{name}@"), value);
        }
        let file = home.join(name);
        fs::write(&file, text)?;
        Ok(file)
    }

    fn home(&self, kind: Kind) -> Outcome<PathBuf> {
        let number = self.started.get() + 1;
        self.started.set(number);
        let home = self.work.join(format!("{number}-{kind:?}").to_lowercase());
        fs::create_dir_all(&home)?;
        Ok(home)
    }

    fn spawn(&self, what: &str, command: Command, home: &Path) -> Outcome<Running> {
        self.spawn_on(command, home, "0").map_err(|error| format!("{what}: {error}").into())
    }

    fn spawn_on(&self, mut command: Command, home: &Path, core: &str) -> Outcome<Running> {
        if self.options.pin {
            let mut pinned = Command::new("taskset");
            pinned.args(["-c", core]).arg(command.get_program()).args(command.get_args());
            for (name, value) in command.get_envs() {
                pinned.env(name, value.unwrap_or_default());
            }
            command = pinned;
        }
        let child = command
            // By this bench/compare knows them, should this process be killed.
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(File::create(home.join("stdout"))?)
            .stderr(OpenOptions::new().create(true).append(true).open(home.join("stderr"))?)
            .process_group(0)
            .spawn()?;
        let mut started =
            OpenOptions::new().create(true).append(true).open(self.work.join("started"))?;
        writeln!(started, "{}", child.id())?;
        Ok(Running { child })
    }

    /// A program of this crate.
    pub fn own(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn await_port(port: u16) -> Outcome<()> {
    let until = Instant::now() + Duration::from_secs(15);
    while Instant::now() < until {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        sleep(Duration::from_millis(20));
    }
    Err("does not listen after 15 s".into())
}
