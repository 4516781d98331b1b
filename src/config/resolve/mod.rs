//! From what was typed to what it means, and every contradiction on the way.
//!
//! What no knob can know on its own is checked here: what must be given, what excludes what, and
//! what one place says about another.

use std::net::SocketAddr;

use super::error::{ConfigErrors, Findings, Mistake, Warning};
use super::file::{self, Env};
use super::table::{File, FromValue, Table};
use super::{Admin, Config, Durability, HostPolicy, Limits, Log, Origin, OriginUrl, Store, knobs};

mod bridges;
mod routes;
mod valkey;

/// What the command line says; it wins over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--origin`: the only origin.
    pub origin: Option<String>,
    /// `--listen`
    pub listen: Option<String>,
}

impl Config {
    /// Reads a configuration from the name and the text of a file (without a file, the defaults
    /// hold), the command line, and the environment.
    ///
    /// Pure: reading the file and asking the environment are the caller's. Either everything is
    /// right, or all mistakes come back at once.
    pub fn load(
        source: Option<(&str, &str)>,
        overrides: &Overrides,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<Warning>), ConfigErrors> {
        let (name, text) = source.unwrap_or_default();
        let mut out = Findings::default();
        let config = resolve(text, overrides, env, &mut out);
        let warnings = out.verdict(name, text)?;
        Ok((config, warnings))
    }
}

fn resolve(text: &str, overrides: &Overrides, env: Env<'_>, out: &mut Findings) -> Config {
    let mut file = file::read(text, env, out);
    let top = file.take(&knobs::TOP);
    let listen: Option<SocketAddr> = match &overrides.listen {
        Some(typed) => typed_on_command_line("--listen", typed, &top, "listen", out).flatten(),
        None => top.get("listen").flatten(),
    };
    let listen = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
    let origin_table = file.take(&knobs::ORIGIN);
    let origin = origin(&origin_table, overrides, out);
    refuse_loop(listen, &origin, &origin_table, out);
    let store_table = file.take(&knobs::STORE);
    let store = store(&store_table, out);
    let admin = admin(&file.take(&knobs::ADMIN), listen, out);
    let limits = limits(&file.take(&knobs::LIMITS), out);
    let log = log(&file.take(&knobs::LOG));
    let bridges = bridges::resolve(&file.take_all(&knobs::BRIDGE), &store_table, out);
    let routes = file.take_all(&knobs::ROUTE);
    let File { classes, .. } = file;
    let (routes, fallback) = routes::resolve(&routes, &classes, &store, out);
    Config { listen, origin, store, admin, limits, log, routes, fallback, bridges }
}

/// A value of the command line, read as the knob of that table is.
fn typed_on_command_line<T: FromValue>(
    option: &'static str,
    typed: &str,
    table: &Table,
    key: &str,
    out: &mut Findings,
) -> Option<T> {
    let knob = table.section.knob(key)?;
    match knob.kind.read(typed) {
        Ok(value) => T::from_value(value),
        Err(wrong) => {
            let title = format!("`{option}` does not take this value");
            let label = format!("expected {}", wrong.expected);
            let mistake = Mistake::on_command_line(option, typed, title, label);
            out.mistake(mistake.maybe_help(wrong.help));
            None
        }
    }
}

fn origin(table: &Table, overrides: &Overrides, out: &mut Findings) -> Origin {
    Origin {
        urls: origin_urls(table, overrides, out),
        timeout: table.get_or_default("timeout"),
        connect_timeout: table.get_or_default("connect_timeout"),
        max_connections: count(table, "max_connections"),
        queue_timeout: table.get_or_default("queue_timeout"),
        idle_timeout: table.get_or_default("idle_timeout"),
        host: table.get("host").unwrap_or(HostPolicy::Preserve),
        max_refreshes: count(table, "max_refreshes"),
        retry_after: table.get_or_default("retry_after"),
    }
}

fn origin_urls(table: &Table, overrides: &Overrides, out: &mut Findings) -> Vec<OriginUrl> {
    if let Some(typed) = &overrides.origin {
        let url = typed_on_command_line("--origin", typed, table, "url", out);
        return url.into_iter().collect();
    }
    match (table.span("url"), table.span("urls")) {
        (Some(url), Some(urls)) => {
            let mistake =
                Mistake::at(urls, "both `url` and `urls` are given", "expected one of them")
                    .also(url, "the other one");
            out.mistake(mistake.help("put all of them into `urls`"));
            Vec::new()
        }
        (Some(_), None) => table.get("url").into_iter().collect(),
        (None, Some(span)) => {
            let urls: Vec<(OriginUrl, _)> = table.get_or_default("urls");
            if urls.is_empty() {
                out.mistake(Mistake::at(span, "there is no origin", "expected at least one URL"));
            }
            urls.into_iter().map(|(url, _)| url).collect()
        }
        (None, None) => {
            out.absence(no_origin(table));
            Vec::new()
        }
    }
}

fn no_origin(table: &Table) -> Mistake {
    let help = "write url = \"http://127.0.0.1:3000\" under [origin], or give --origin";
    let mistake = match &table.at {
        Some(at) => Mistake::at(at.clone(), "there is no origin", "expected `url` below"),
        None => Mistake::nowhere("there is no origin"),
    };
    mistake.help(help)
}

/// An origin that is this proxy itself would be asked for ever.
fn refuse_loop(listen: SocketAddr, origin: &Origin, table: &Table, out: &mut Findings) {
    let here = |url: &OriginUrl| {
        let host: Option<std::net::IpAddr> = url.host.parse().ok();
        let loopback = &*url.host == "localhost" || host.is_some_and(|ip| ip.is_loopback());
        let same = host == Some(listen.ip());
        let open = listen.ip().is_unspecified() || listen.ip().is_loopback();
        listen.port() != 0 && url.port == listen.port() && (same || (loopback && open))
    };
    let Some(url) = origin.urls.iter().find(|url| here(url)) else { return };
    let title = format!("the origin {url} is this proxy itself");
    let mistake = match table.span("url").or_else(|| table.span("urls")) {
        Some(span) => Mistake::at(span, title, "expected another address than `listen`"),
        None => Mistake::nowhere(title),
    };
    out.mistake(mistake.help("give the two different ports"));
}

fn store(table: &Table, out: &mut Findings) -> Store {
    let store = Store {
        valkey: valkey::valkey(table, out),
        memory: table.get_or_default("memory"),
        prefix: table.get("prefix").unwrap_or_else(|| "larder".into()),
        timeout: table.get_or_default("timeout"),
        lease: table.get_or_default("lease"),
        ledger_lease: table.get_or_default("ledger_lease"),
        ledger_names: count(table, "ledger_names"),
        durability: match table.get("durability") {
            Some("replicas") => Durability::Replicas,
            _ => Durability::Primary,
        },
    };
    let none = store.memory == 0 && table.get::<u64>("memory").is_some();
    if let Some(span) = table.span("memory").filter(|_| none) {
        if table.given("valkey").is_none() {
            let label = "expected more than 0, or `valkey`";
            let mistake = Mistake::at(span, "entries could be kept nowhere", label);
            out.absence(mistake.help("give `valkey` its URL, or leave `memory` out"));
        } else {
            let title = "without memory every hit costs a round trip to Valkey";
            out.warning(Mistake::at(span, title, "a few MiB already hold the hottest entries"));
        }
    }
    store
}

fn admin(table: &Table, listen: SocketAddr, out: &mut Findings) -> Option<Admin> {
    let token = table.get("token");
    let address = match table.get::<Option<SocketAddr>>("listen") {
        Some(Some(address)) => address,
        Some(None) => {
            if let Some(span) = table.span("token") {
                let label = "the admin listener is off";
                out.warning(Mistake::at(span, "this token is never asked for", label));
            }
            return None;
        }
        None => return None,
    };
    let span = table.span("listen");
    if !address.ip().to_canonical().is_loopback() && table.given("token").is_none() {
        let title = "the admin listener is open to other machines, and has no token";
        let mistake = Mistake::at(
            span.clone().unwrap_or_default(),
            title,
            "expected a loopback address, or a `token`",
        );
        out.absence(mistake.help("write token = \"${LARDER_ADMIN_TOKEN}\" below, and set it"));
    }
    let open = address.ip().is_unspecified() || listen.ip().is_unspecified();
    if address.port() == listen.port()
        && address.port() != 0
        && (open || address.ip() == listen.ip())
    {
        let title = format!("clients and the admin listener share port {}", address.port());
        let mistake = match span {
            Some(span) => Mistake::at(span, title, "expected another port than `listen` has"),
            None => Mistake::nowhere(title),
        };
        out.mistake(mistake.help("give the two different ports"));
    }
    Some(Admin { listen: address, token })
}

fn limits(table: &Table, out: &mut Findings) -> Limits {
    let trusted: Vec<(super::template::Network, _)> = table.get_or_default("trusted_proxies");
    for (_, span) in trusted.iter().filter(|(network, _)| network.bits == 0) {
        let title = "every client may say who it is";
        let label = "this trusts all addresses there are";
        out.warning(Mistake::at(span.clone(), title, label));
    }
    Limits {
        max_requests: count(table, "max_requests"),
        max_connections: count(table, "max_connections"),
        header_timeout: table.get_or_default("header_timeout"),
        body_timeout: table.get_or_default("body_timeout"),
        write_timeout: table.get_or_default("write_timeout"),
        drain_timeout: table.get_or_default("drain_timeout"),
        max_target: count(table, "max_target"),
        max_fields_bytes: count(table, "max_fields_bytes"),
        max_fields: count(table, "max_fields"),
        trusted_proxies: trusted.into_iter().map(|(network, _)| network).collect(),
    }
}

fn log(table: &Table) -> Log {
    Log {
        access: table.get_or_default("access"),
        level: table.get("level").unwrap_or_else(|| "info".into()),
    }
}

/// A number that counts things in memory; its knob's bounds keep it far below `usize::MAX`.
fn count(table: &Table, key: &str) -> usize {
    usize::try_from(table.get_or_default::<u64>(key)).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[path = "../resolve_tests.rs"]
mod tests;
