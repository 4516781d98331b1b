//! The command line: what was typed. What it leads to is wired in `main`, except for the commands
//! that only ask a running process ([`client`]).
//!
//! Exit codes are a contract: 0, 1 failed, 2 usage or configuration.

pub mod client;
pub mod print;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// It was asked for and did not work.
pub const FAILED: u8 = 1;

/// It was not asked for properly: the command line or the configuration is wrong.
pub const USAGE: u8 = 2;

/// Where `run` looks when it is told nothing.
pub const DEFAULT_FILE: &str = "proxy.toml";

/// What was typed, or the exit code with which to end: after `--help` and `--version`, and when it
/// makes no sense (which has been explained by then).
///
/// # Errors
/// The exit code, if there is nothing more to do.
pub fn parse() -> Result<Command, ExitCode> {
    parse_from(std::env::args_os())
}

/// [`parse`] for these arguments, the name of the program first.
///
/// # Errors
/// As [`parse`].
pub fn parse_from(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, ExitCode> {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => Ok(cli.command),
        Err(answer) => {
            // Nothing can be done about a standard output that is gone.
            let _ = answer.print();
            Err(ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(USAGE)))
        }
    }
}

/// A caching reverse proxy for HTTP APIs that never serves what a finished write has replaced.
#[derive(Debug, Parser)]
#[command(
    name = "larder",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  larder demo                                   see it work, nothing else needed
  larder run --origin http://127.0.0.1:3000     cache what the origin itself allows to be cached
  larder run --config proxy.toml                with routes, classes, Valkey
  larder purge --tag product:7                  throw away everything that carries a tag
  larder explain GET /products/7                what would be done with this request, and why

Exit codes: 0 done, 1 failed, 2 usage or configuration."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Subcommand)]
pub enum Command {
    /// Run the proxy until SIGTERM or SIGINT
    Run(Run),
    /// Check a configuration file and report every mistake in it
    Check(Check),
    /// Print the JSON Schema of proxy.toml, for editors
    Schema,
    /// Run a toy product API with the proxy in front of it, and a tour to take with curl
    Demo(Demo),
    /// Asked of a running process.
    #[command(flatten)]
    Ask(Ask),
}

/// `larder run`.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(after_help = "\
Examples:
  larder run                                    with ./proxy.toml
  larder run --config /etc/larder/proxy.toml
  larder run --origin http://127.0.0.1:3000     without a file: the origin's own Cache-Control rules
  larder run --config proxy.toml --listen 127.0.0.1:8081")]
pub struct Run {
    /// Configuration file [default: ./proxy.toml, unless --origin is given]
    #[arg(short, long, value_name = "FILE", env = "LARDER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Origin to stand in front of; takes the place of the file's
    #[arg(short, long, value_name = "URL")]
    pub origin: Option<String>,
    /// Address for clients; takes the place of the file's
    #[arg(short, long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
}

impl Run {
    /// The file to read; `None` if `--origin` stands alone, which is a configuration of its own: a
    /// file that merely lies about does not count for what was not asked of it.
    ///
    /// # Errors
    /// What to tell whoever gave neither and has no `proxy.toml` here (exit code 2).
    pub fn file(&self) -> Result<Option<PathBuf>, String> {
        self.file_given(Path::new(DEFAULT_FILE).exists())
    }

    fn file_given(&self, default_exists: bool) -> Result<Option<PathBuf>, String> {
        match (&self.config, &self.origin) {
            (Some(file), _) => Ok(Some(file.clone())),
            (None, Some(_)) => Ok(None),
            (None, None) if default_exists => Ok(Some(DEFAULT_FILE.into())),
            (None, None) => Err("there is no ./proxy.toml here, and nothing else to go by\n\n  \
                 larder run --config FILE     with a configuration file\n  \
                 larder run --origin URL      in front of an origin, by its own Cache-Control\n\n\
                 To see it work first: larder demo"
                .to_owned()),
        }
    }
}

/// `larder check`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct Check {
    /// Configuration file
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    pub file: PathBuf,
}

/// `larder demo`.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(after_help = "\
Examples:
  larder demo                                   then follow the tour that it prints
  larder demo --delay 2s                        an even slower origin
  larder demo --origin-only --listen 0.0.0.0:3000")]
pub struct Demo {
    /// Where the proxy listens (with --origin-only: where the origin does)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where the admin API listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090")]
    pub admin: SocketAddr,
    /// How long the origin takes for every read
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = duration)]
    pub delay: Duration,
    /// Only the toy origin, without a proxy in front of it
    #[arg(long)]
    pub origin_only: bool,
}

/// A command that asks a running process.
#[derive(Clone, Debug, PartialEq, Subcommand)]
pub enum Ask {
    /// Throw something away, everywhere
    Purge(Purge),
    /// Say what would be done with a request, and why
    Explain(Explain),
    /// Show counters and state
    Stats(Stats),
    /// Say whether it may be sent requests (exit code 0 or 1)
    Ready(Ready),
}

/// Where the running process is, and how to show what it says.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct Admin {
    /// Its admin listener
    #[arg(
        id = "admin_url",
        long = "admin",
        value_name = "URL",
        env = "LARDER_ADMIN",
        default_value = "http://127.0.0.1:9090"
    )]
    pub url: String,
    /// Its admin token; better given in the environment, where process lists do not show it
    #[arg(long, value_name = "TOKEN", env = "LARDER_ADMIN_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// `larder purge`.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(after_help = "\
Examples:
  larder purge --tag product:7
  larder purge --tag product:7 --tag product:8 --soft
  larder purge --url '/search?q=tea'            this URL with all its variants
  larder purge --path /products                 with any query
  larder purge --prefix /products/              everything below
  larder purge --namespace catalog              and all below it
  larder purge --all --soft --spread 10m        stale bit by bit
  larder purge --tag product:7 --wait           until every instance has applied it, 5s at most
  larder purge --tag product:7 --wait 30s")]
pub struct Purge {
    /// What.
    #[command(flatten)]
    pub target: Target,
    /// Keep it as a stale entry, served while it is refreshed
    #[arg(long)]
    pub soft: bool,
    /// Let it turn stale bit by bit within this time, so that the origin sees no wave
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "soft")]
    pub spread: Option<Duration>,
    /// Let nobody have it any more [this is the default]
    #[arg(long, conflicts_with = "soft")]
    pub hard: bool,
    /// Wait until every instance has applied it; exit code 1 if some have not after this long
    /// [5s if no TIME is given]
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "5s", value_parser = duration)]
    pub wait: Option<Duration>,
    /// Whom to ask.
    #[command(flatten)]
    pub admin: Admin,
}

/// What to purge: one of these.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// One URL with all its variants: /path?query, or http://host/path?query
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// A path with any query
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// All paths that start so
    #[arg(long, value_name = "PATH")]
    pub prefix: Option<String>,
    /// Everything that carries this tag (may be given more than once)
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// A namespace and all below it
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// A group that the origin named in Cache-Groups: //host/group
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Everything
    #[arg(long)]
    pub all: bool,
}

/// `larder explain`.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(after_help = "\
Examples:
  larder explain GET /products/7
  larder explain GET 'http://shop.test/search?q=tea' -H 'Accept-Language: de'")]
pub struct Explain {
    /// Method of the request
    #[arg(value_name = "METHOD")]
    pub method: String,
    /// Its URL: /path?query, or http://host/path?query
    #[arg(value_name = "URL")]
    pub url: String,
    /// A field that it carries (may be given more than once)
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// Whom to ask.
    #[command(flatten)]
    pub admin: Admin,
}

/// `larder stats`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct Stats {
    /// Whom to ask.
    #[command(flatten)]
    pub admin: Admin,
}

/// `larder ready`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct Ready {
    /// Whom to ask.
    #[command(flatten)]
    pub admin: Admin,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|why| format!("{why}; expected 300ms, 5s, 1m 30s …"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn typed(line: &str) -> Result<Command, i32> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.command).map_err(|e| e.exit_code())
    }

    #[test]
    fn the_command_line_is_put_together_properly() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for line in [
            "larder",
            "larder dance",
            "larder run --listen here",
            "larder demo --delay soon",
            "larder purge",
            "larder purge --all --tag x",
            "larder purge --url /a --path /b",
            "larder purge --all --soft --hard",
            "larder purge --all --wait long",
            "larder purge --all --spread 30s",
            "larder explain GET",
            "larder stats --verbose",
        ] {
            assert_eq!(typed(line).map_err(|code| code as u8), Err(USAGE), "{line}");
        }
    }

    #[test]
    fn asking_for_help_is_no_mistake() {
        for line in ["larder --help", "larder help purge", "larder --version", "larder run -h"] {
            assert_eq!(typed(line), Err(0), "{line}");
        }
    }

    #[test]
    fn a_purge_names_one_thing_or_several_tags() {
        let Ok(Command::Ask(Ask::Purge(purge))) = typed("larder purge --tag a --tag b --soft")
        else {
            panic!("not a purge")
        };
        assert_eq!(purge.target.tag, ["a", "b"]);
        assert!(purge.soft && purge.wait.is_none());
    }

    #[test]
    fn a_purge_may_wait_for_all() {
        for (line, seconds) in [
            ("larder purge --all --wait", 5),
            ("larder purge --wait --all", 5),
            ("larder purge --all --wait 30s", 30),
            ("larder purge --wait=1m --all", 60),
        ] {
            let Ok(Command::Ask(Ask::Purge(purge))) = typed(line) else { panic!("{line}") };
            assert_eq!(purge.wait, Some(Duration::from_secs(seconds)), "{line}");
        }
    }

    #[test]
    fn run_reads_the_file_it_is_given_and_otherwise_looks_for_one() {
        let run = |config: Option<&str>, origin: Option<&str>| Run {
            config: config.map(Into::into),
            origin: origin.map(Into::into),
            listen: None,
        };
        let file = |name: &str| Ok(Some(PathBuf::from(name)));
        for exists in [true, false] {
            assert_eq!(run(Some("a"), None).file_given(exists), file("a"));
            assert_eq!(run(Some("a"), Some("b")).file_given(exists), file("a"));
            assert_eq!(run(None, Some("b")).file_given(exists), Ok(None));
        }
        assert_eq!(run(None, None).file_given(true), file(DEFAULT_FILE));
        let told = run(None, None).file_given(false).unwrap_err();
        assert!(told.contains("--config FILE") && told.contains("--origin URL"), "{told}");
    }

    #[test]
    fn the_demo_has_defaults_for_everything() {
        let Ok(Command::Demo(demo)) = typed("larder demo") else { panic!("not the demo") };
        assert_eq!(demo.listen.port(), 8080);
        assert_eq!(demo.admin.port(), 9090);
        assert_eq!(demo.delay, Duration::from_millis(300));
        assert!(!demo.origin_only);
    }
}
