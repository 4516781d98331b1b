//! What the operator asked for: immutable, already valid, nothing optional that need not be.
//!
//! `file` reads what was typed, `resolve` turns it into what is here and collects every mistake on
//! the way. The types on this page import only `semantics` and this room's own units.
//!
//! | page | what it holds |
//! |---|---|
//! | [`knobs`] | every key once: kind, default, sentence, when to turn it |
//! | `file`, `table`, `units`, `interpolate`, `suggest` | from a TOML document to values that fit their knobs |
//! | `resolve` | classes into routes, contradictions, [`Config::load`] |
//! | [`error`] | all mistakes at once, with file, line and caret |
//! | [`event`] | what a message of pub/sub invalidates |
//! | [`valkey`] | the URL of Valkey, and what else leads to it |
//! | [`template`], `json_path`, [`hosts`], `pattern` | the small languages inside values |
//! | [`matcher`], [`captures`] | which route a request is for, and what its path captured |
//! | [`schema`], [`reference`](mod@reference) | JSON Schema and `proxy.toml`, made from the knobs |

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::HeaderName;

pub mod captures;
pub mod error;
pub mod event;
mod file;
pub mod hosts;
mod interpolate;
mod json_path;
pub mod knobs;
pub mod matcher;
mod pattern;
pub mod reference;
mod resolve;
pub mod schema;
mod suggest;
mod table;
pub mod template;
mod units;
pub mod valkey;

pub use error::{ConfigErrors, Warning};
use event::Bridge;
pub use resolve::Overrides;
use template::{NameRule, Template};
pub use valkey::Valkey;

/// A whole, valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Who answers when the cache cannot.
    pub origin: Origin,
    /// Where entries are kept.
    pub store: Store,
    /// The admin listener; `None` turns it off.
    pub admin: Option<Admin>,
    /// Limits and deadlines towards clients.
    pub limits: Limits,
    /// What is logged.
    pub log: Log,
    /// The routes, in the order in which they stand in the file.
    pub routes: Vec<Arc<Route>>,
    /// What applies to a request that no route matches: the RFC alone.
    pub fallback: Arc<Route>,
    /// What is listened to, in the order in which it stands in the file.
    pub bridges: Vec<Arc<Bridge>>,
}

/// The origin and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Origin {
    /// `scheme://authority` of each server, at least one. Requests go to them in turn; one that
    /// refuses connections is skipped for a moment.
    pub urls: Vec<OriginUrl>,
    /// From the request sent to the response head received, and between two pieces of a body.
    pub timeout: Duration,
    /// To open a connection.
    pub connect_timeout: Duration,
    /// Most connections open at once, to each server.
    pub max_connections: usize,
    /// How long a request waits for a connection when all are in use.
    pub queue_timeout: Duration,
    /// An unused connection is closed after this long; keep it below the origin's own limit.
    pub idle_timeout: Duration,
    /// What goes into the `Host` field.
    pub host: HostPolicy,
    /// Most background refreshes at once.
    pub max_refreshes: usize,
    /// How long a failing origin is left alone, per entry, before a refresh is tried again.
    pub retry_after: Duration,
}

/// Where one origin server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginUrl {
    /// True for `https`.
    pub tls: bool,
    /// Host name or address literal.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
}

/// What the origin is told the host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPolicy {
    /// The host that the client asked for (it is part of the key).
    Preserve,
    /// The authority of the origin's own URL.
    Origin,
    /// This one.
    Fixed(Arc<str>),
}

/// Where entries are kept.
#[derive(Clone, Debug)]
pub struct Store {
    /// How Valkey is reached; `None` keeps everything in this process.
    pub valkey: Option<Valkey>,
    /// Bytes of entries kept in this process; 0 keeps none (and needs `valkey`).
    pub memory: u64,
    /// First part of every key in Valkey.
    pub prefix: Arc<str>,
    /// What one request may spend on the store in all.
    pub timeout: Duration,
    /// How long a fill lease outlives its holder.
    pub lease: Duration,
    /// Without a word from the ledger for this long, what is in memory is suspect.
    pub ledger_lease: Duration,
    /// How many invalidated names are remembered.
    pub ledger_names: usize,
    /// Who must have an invalidation before its write is answered.
    pub durability: Durability,
}

/// The admin listener.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Bearer token; `None` is only possible on a loopback address.
    pub token: Option<Secret>,
}

/// Limits and deadlines towards clients.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most requests in progress at once; more are answered 503.
    pub max_requests: usize,
    /// Most client connections at once; more wait in the kernel's backlog.
    pub max_connections: usize,
    /// For the first byte and the head of a request, and between two requests.
    pub header_timeout: Duration,
    /// Longest pause while a request's content arrives.
    pub body_timeout: Duration,
    /// Longest pause while a client takes in a response.
    pub write_timeout: Duration,
    /// How long requests in flight may take to finish after SIGTERM.
    pub drain_timeout: Duration,
    /// Longest request target, in bytes.
    pub max_target: usize,
    /// Largest sum of a request's field names and values, in bytes.
    pub max_fields_bytes: usize,
    /// Most field lines of a request.
    pub max_fields: usize,
    /// Peers whose `Forwarded` and `X-Forwarded-*` fields are believed and continued.
    pub trusted_proxies: Vec<template::Network>,
}

/// What is logged.
#[derive(Clone, Debug)]
pub struct Log {
    /// One JSON line per request on standard output.
    pub access: bool,
    /// `tracing` filter for everything else, on standard error.
    pub level: Arc<str>,
}

/// A rule of `proxy.toml`: which requests, and how they are cached.
#[derive(Clone, Debug)]
pub struct Route {
    /// Name in logs, metrics and keys; the pattern if none was given. `-` for the fallback.
    pub name: Arc<str>,
    /// Place in `Config::routes`; the fallback's is their number.
    pub index: usize,
    /// Host it applies to; `None` for all.
    pub host: Option<template::HostPattern>,
    /// Path pattern, in matchit's syntax.
    pub path: Arc<str>,
    /// Methods it applies to; empty for all.
    pub methods: Vec<Method>,
    /// False: `cache = "off"`.
    pub cache: bool,
    /// Lifetimes.
    pub freshness: Freshness,
    /// Namespace its entries live under.
    pub namespace: Template,
    /// Surrogate keys of its entries.
    pub tags: Vec<Template>,
    /// What else a write here invalidates.
    pub on_write: Vec<NameRule>,
    /// Does a write to an item also invalidate its collection (`/products/7` → `/products`)?
    pub invalidate_parent: bool,
    /// What of a request is part of the key.
    pub key: KeyRules,
    /// Largest content that is stored, in bytes.
    pub max_entry: u64,
    /// Most variants per key.
    pub max_variants: usize,
    /// Most tags per entry; an entry with more is not stored.
    pub max_tags: usize,
    /// What to do with an entry that this process cannot vouch for.
    pub on_doubt: OnDoubt,
    /// Do identical misses share one fill?
    pub collapse: bool,
    /// How long a miss waits for somebody else's fill before it fetches for itself.
    pub collapse_timeout: Duration,
    /// What becomes of a client's own directives (RFC 9111 §5.2.1).
    pub request_directives: RequestDirectives,
    /// What becomes of a response that sets a cookie.
    pub set_cookie: SetCookie,
    /// May a write that answers with the new representation make it the entry of its URL (RFC 9110
    /// §9.3.4)?
    pub write_through: bool,
    /// Is `No-Vary-Search` of responses obeyed?
    pub no_vary_search: bool,
    /// Largest content of a QUERY that is part of a key, in bytes; 0: QUERY is not cached.
    pub max_query_content: u64,
    /// Does `Cache-Status` say the key (RFC 9211 §2.7)?
    pub show_key: bool,
    /// What a GET may miss of the writes that other instances have acknowledged.
    pub consistency: Consistency,
    /// Is a write announced in the ledger before the origin sees it?
    pub announce: bool,
    /// This long after its answer a write invalidates once more; zero: it does not.
    pub settle: Duration,
    /// What becomes of a write while Valkey is away.
    pub on_store_down: OnStoreDown,
}

/// What a GET may miss of the writes that other instances have acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// What has not come through the tail yet: milliseconds, and the lease when it is cut off.
    Bounded,
    /// Nothing: the end of the ledger is asked for first.
    Strict,
}

/// What becomes of a write while Valkey is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStoreDown {
    /// It is forwarded, and its invalidation is owed to the others.
    Forward,
    /// It is answered 503 before the origin sees it.
    Refuse,
}

/// Who must have an invalidation before its write is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The primary.
    Primary,
    /// The primary and a replica.
    Replicas,
}

/// What becomes of a client's own directives (RFC 9111 §5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestDirectives {
    /// Nothing: no client makes a request to the origin of what would be a hit.
    Ignore,
    /// They narrow, and `max-stale` widens, what the client is served.
    Honour,
}

/// What becomes of a response that sets a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetCookie {
    /// It is not stored.
    Refuse,
    /// It is stored without `Set-Cookie`.
    Strip,
    /// It is stored as it is: everybody gets the cookie.
    Store,
}

/// The freshness contract of a route (or of the class that it names).
#[derive(Clone, Debug, PartialEq)]
pub struct Freshness {
    /// Whose word wins.
    pub authority: Authority,
    /// Fresh for this long when the origin is silent; `None`: the origin must say.
    pub soft_ttl: Option<Duration>,
    /// Served stale, refreshed behind, up to this age.
    pub hard_ttl: Option<Duration>,
    /// Served stale for this much longer if the origin fails.
    pub stale_if_error: Duration,
    /// Lifetime of 404, 405, 410, 414 and 501 without explicit freshness; `None`: not stored.
    pub negative_ttl: Option<Duration>,
    /// Lifetimes taken from the configuration are spread by this share, e.g. 0.1 for ±10 %.
    pub jitter: f64,
    /// Where nobody gives a lifetime: this share of the time since `Last-Modified` (RFC 9111
    /// §4.2.2); `None`: none.
    pub heuristic: Option<f64>,
}

/// Whose word on freshness wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// What the origin says explicitly; the configuration where it is silent.
    Origin,
    /// The configuration.
    Route,
}

/// What to do with a suspect entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDoubt {
    /// Ask the origin first.
    Revalidate,
    /// Serve it as a stale hit and ask behind.
    Serve,
}

/// What of a request is part of the key besides scheme, host and path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyRules {
    /// Which query parameters count.
    pub query: QueryRule,
    /// Request fields that count, whether or not the response varies on them.
    pub headers: Vec<HeaderName>,
    /// Cookies that count, by name.
    pub cookies: Vec<Box<str>>,
}

/// Which query parameters count. Their order never does, except among those of the same name.
/// What does not count is not sent to the origin either: what the origin cannot see it cannot
/// answer to.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum QueryRule {
    /// All of them.
    #[default]
    All,
    /// All but those whose names match one of these patterns (`*` at the end matches any rest).
    Ignore(Vec<Box<str>>),
    /// Only those whose names match one of these patterns.
    Only(Vec<Box<str>>),
}

/// A value that must not appear in logs, errors or dumps.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a value.
    pub fn new(value: &str) -> Self {
        Self(value.into())
    }

    /// The value itself: for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
