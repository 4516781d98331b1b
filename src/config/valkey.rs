//! How Valkey is reached: one URL, and the keys of `[store]` that add to it.
//!
//! | URL | means |
//! |---|---|
//! | `valkey://[user[:password]@]host[:port][/database]` | one server, port 6379 |
//! | `unix:///path[?db=1][&user=…][&pass=…]` | one server on this machine |
//! | `valkey-sentinel://[…@]host[:port],…/name[/database]` | the primary that Sentinel calls `name`; port 26379 |
//! | `valkey-cluster://[…@]host[:port],…` | the cluster that these nodes are of, port 6379 |
//!
//! `valkeys`, `valkeys-sentinel` and `valkeys-cluster` are the same over TLS; `redis` and `rediss`
//! may stand for `valkey` and `valkeys`. In users and passwords `%40` is `@`, and so on.
//!
//! No message repeats any of the text: it may hold a password in any place.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use super::Secret;
use super::hosts::split_port;
use super::template::Malformed;

/// Where a server of Valkey listens if its URL does not say.
const SERVER_PORT: u16 = 6379;
/// The same for a Sentinel.
const SENTINEL_PORT: u16 = 26379;

/// How Valkey is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Valkey {
    /// Whom to ask.
    pub place: Place,
    /// Everything goes through TLS: to the servers, and to Sentinel if there is one.
    pub tls: Option<Tls>,
    /// Who we are to the servers.
    pub login: Login,
    /// Number of the database; 0 in a cluster.
    pub database: u32,
}

/// Whom to ask for Valkey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This server.
    Server(Address),
    /// The server behind this socket.
    Socket(PathBuf),
    /// The server that these say is the primary.
    Sentinel {
        /// At least one.
        sentinels: Vec<Address>,
        /// What they call it.
        primary: Arc<str>,
        /// Who we are to them.
        login: Login,
    },
    /// The nodes of the cluster that these are of; at least one.
    Cluster(Vec<Address>),
}

/// A host and a port.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Name or address, without brackets.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
}

/// Who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// `None` is the default user.
    pub username: Option<Arc<str>>,
    /// `None` does not log in at all.
    pub password: Option<Secret>,
}

/// What TLS rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the authorities that are believed; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// PEM files of our own certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// What a URL says; what it is silent about may stand in keys of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValkeyUrl {
    pub(super) place: Place,
    pub(super) tls: bool,
    pub(super) login: Login,
    pub(super) database: Option<u32>,
}

impl Address {
    /// From a name or an address without brackets, and a port.
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<ValkeyUrl> for Valkey {
    fn from(url: ValkeyUrl) -> Self {
        Self {
            place: url.place,
            tls: url.tls.then(Tls::default),
            login: url.login,
            database: url.database.unwrap_or(0),
        }
    }
}

impl FromStr for Valkey {
    type Err = BadUrl;

    /// From a URL that says everything.
    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let url = ValkeyUrl::from_str(text).map_err(|wrong| BadUrl(wrong.expected))?;
        if url.login.username.is_some() && url.login.password.is_none() {
            return Err(BadUrl("a password for the user".into()));
        }
        Ok(url.into())
    }
}

/// Text that is no URL of Valkey. Never repeats the text, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct BadUrl(String);

/// The forms of [`Place`], as the end of a scheme says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Server,
    Sentinel,
    Cluster,
}

impl FromStr for ValkeyUrl {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (scheme, rest) = text.split_once("://").ok_or_else(a_url)?;
        if scheme == "unix" {
            return socket(rest);
        }
        let (base, form) = match scheme.split_once('-') {
            None => (scheme, Form::Server),
            Some((base, "sentinel")) => (base, Form::Sentinel),
            Some((base, "cluster")) => (base, Form::Cluster),
            Some(_) => return Err(schemes()),
        };
        let tls = match base {
            "valkey" | "redis" => false,
            "valkeys" | "rediss" => true,
            _ => return Err(schemes()),
        };
        if rest.contains(['?', '#']) {
            return Err(Malformed::new("nothing after the database")
                .help("in a password, write ? as %3F and # as %23"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, servers) = match authority.rsplit_once('@') {
            Some((login, servers)) => (self::login(login)?, servers),
            None => (Login::default(), authority),
        };
        let (place, database) = placed(form, servers, path)?;
        Ok(Self { place, tls, login, database })
    }
}

fn a_url() -> Malformed {
    Malformed::new("a Valkey URL, such as \"valkey://127.0.0.1:6379\"")
}

fn schemes() -> Malformed {
    Malformed::new("valkey://, valkeys://, unix://, valkey-sentinel:// or valkey-cluster://")
}

/// The servers and what stands behind them.
fn placed(form: Form, servers: &str, path: &str) -> Result<(Place, Option<u32>), Malformed> {
    match form {
        Form::Server if servers.contains(',') => Err(Malformed::new("one host")
            .help("several are of valkey-cluster://, or Sentinels: valkey-sentinel://a,b/name")),
        Form::Server => Ok((Place::Server(address(servers, SERVER_PORT)?), number(path)?)),
        Form::Cluster => match number(path)? {
            None | Some(0) => Ok((Place::Cluster(addresses(servers, SERVER_PORT)?), None)),
            Some(_) => {
                Err(Malformed::new("no number of a database: a cluster has the first alone"))
            }
        },
        Form::Sentinel => {
            let sentinels = addresses(servers, SENTINEL_PORT)?;
            let (name, database) = path.split_once('/').unwrap_or((path, ""));
            let primary = decoded(name)?;
            if primary.is_empty() {
                return Err(Malformed::new(
                    "the name of the primary after the Sentinels, such as \
                     \"valkey-sentinel://a:26379,b:26379/mymaster\"",
                ));
            }
            let (primary, login) = (primary.into(), Login::default());
            Ok((Place::Sentinel { sentinels, primary, login }, number(database)?))
        }
    }
}

/// `user:password`, `:password` or `user`.
fn login(text: &str) -> Result<Login, Malformed> {
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (text, None),
    };
    let (user, password) = (decoded(user)?, password.map(decoded).transpose()?);
    Ok(Login {
        username: (!user.is_empty()).then(|| user.into()),
        password: password.filter(|text| !text.is_empty()).map(|text| Secret::new(&text)),
    })
}

fn addresses(text: &str, port: u16) -> Result<Vec<Address>, Malformed> {
    text.split(',').map(|one| address(one, port)).collect()
}

fn address(text: &str, default: u16) -> Result<Address, Malformed> {
    let (host, port) = split_port(text).ok_or_else(|| {
        Malformed::new("a host after the scheme, such as \"valkey://127.0.0.1:6379\"")
    })?;
    let port = match port {
        None => default,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| Malformed::new("a port from 1 to 65535 after the host"))?,
    };
    Ok(Address::new(&host, port))
}

/// The number of a database; none is written as nothing.
fn number(text: &str) -> Result<Option<u32>, Malformed> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.map(Some).ok_or_else(|| {
        Malformed::new("the number of a database, or nothing, after the host and port")
    })
}

/// What stands behind `unix://`.
fn socket(rest: &str) -> Result<ValkeyUrl, Malformed> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') {
        return Err(Malformed::new("an absolute path after unix://"));
    }
    let (mut login, mut database) = (Login::default(), None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "db" => database = number(value)?,
            "user" => login.username = Some(decoded(value)?.into()),
            "pass" => login.password = Some(Secret::new(&decoded(value)?)),
            _ => return Err(Malformed::new("db, user or pass after the path and a `?`")),
        }
    }
    let place = Place::Socket(decoded(path)?.into());
    Ok(ValkeyUrl { place, tls: false, login, database })
}

fn decoded(text: &str) -> Result<String, Malformed> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| Malformed::new("UTF-8 behind the percent signs"))
}

#[cfg(test)]
#[path = "valkey_tests.rs"]
mod tests;
