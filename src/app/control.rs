//! What the admin listener can ask for, answered by the rooms that know.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Method, Uri};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::reach::Reach;
use super::{Reload, Source};
use crate::admin::{
    Answer, Control, Later, Missing, Mode, Part, Problem, Question, Readiness, Receipt,
};
use crate::config::{Config, Limits, Route};
use crate::key::purge::{Mode as PurgeMode, PurgeRequest};
use crate::key::query;
use crate::layers::cache::{Means, explain};
use crate::ledger::name::Name;
use crate::ledger::{Cause, Mode as LedgerMode};
use crate::store::bridge::{BridgeSnapshot, Bridges, Door};
use crate::store::{Opened, ledger};
use crate::telemetry::metrics::Metrics;

/// Everything that the admin listener reaches.
pub struct Switchboard {
    source: Source,
    /// As it was when the process started: what only counts from a start on.
    started: Config,
    config: ArcSwap<Config>,
    draining: AtomicBool,
    means: ArcSwap<Means>,
    opened: Opened,
    metrics: Arc<Metrics>,
    reload: Reload,
    /// Made once there is something to make their names canonical.
    bridges: OnceLock<Bridges>,
}

impl Switchboard {
    /// Wires it.
    pub(super) fn new(
        source: Source,
        config: Config,
        means: Arc<Means>,
        opened: Opened,
        metrics: Arc<Metrics>,
        reload: Reload,
    ) -> Self {
        Self {
            source,
            started: config.clone(),
            config: ArcSwap::from_pointee(config),
            draining: AtomicBool::new(false),
            means: ArcSwap::new(means),
            opened,
            metrics,
            reload,
            bridges: OnceLock::new(),
        }
    }

    /// The means in use.
    pub(super) fn means(&self) -> Arc<Means> {
        self.means.load_full()
    }

    /// No more requests, please: the process is about to end.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The stores.
    pub(super) const fn opened(&self) -> &Opened {
        &self.opened
    }

    /// What is counted.
    pub(super) const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Begins to listen to what is configured.
    pub(super) fn listen(self: &Arc<Self>) {
        let bridges = self.bridges.get_or_init(|| {
            let (ledger, valkey) = (self.means().ledger.clone(), self.started.store.valkey.clone());
            Bridges::new(ledger, valkey, Arc::new(Entrance(Arc::downgrade(self))))
        });
        bridges.set(&self.config.load().bridges);
    }

    /// Listens no more; what was heard is on its way when this returns.
    pub(super) async fn listen_no_more(&self, patience: Duration) {
        if let Some(bridges) = self.bridges.get() {
            bridges.stop(patience).await;
        }
    }

    /// What was heard, by channel.
    pub(super) fn listening(&self) -> Vec<BridgeSnapshot> {
        self.bridges.get().map_or_else(Vec::new, Bridges::snapshot)
    }

    async fn invalidate(
        &self,
        names: Vec<Name>,
        mode: LedgerMode,
        patience: Option<Duration>,
    ) -> Receipt {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let names: Vec<Name> = names.into_iter().map(|name| self.at_our_door(name)).collect();
        let told = match mode {
            LedgerMode::Hard => Mode::Hard,
            LedgerMode::Soft | LedgerMode::Spread(_) => Mode::Soft,
        };
        self.metrics.purge(told == Mode::Soft);
        let means = self.means();
        let texts = names.iter().map(ToString::to_string).collect();
        let receipt = means.ledger.invalidate(names, mode, Cause::Purge).await;
        let (applied_by, missing) = match deadline {
            Some(deadline) => self.reached(&means, &receipt, deadline).await,
            None => (vec![means.ledger.instance().to_owned()], Vec::new()),
        };
        Receipt {
            position: (!receipt.owed).then(|| receipt.position.to_string()),
            names: texts,
            applied_by,
            mode: told,
            owed: receipt.owed,
            missing: deadline.map(|_| missing),
        }
    }

    /// Who has applied it by then, and who has not. What is only owed reaches nobody: nobody is
    /// waited for.
    async fn reached(
        &self,
        means: &Means,
        receipt: &ledger::Receipt,
        deadline: Instant,
    ) -> (Vec<String>, Vec<Missing>) {
        let mut reach = Reach::new(receipt.position, means.ledger.instance());
        if let Some(valkey) = self.opened.valkey.as_ref().filter(|_| !receipt.owed) {
            reach.wait(valkey, deadline).await;
        }
        reach.end(&means.ledger.peers(), self.started.store.ledger_lease)
    }

    /// `//host/path?query` or `/path?query` with the query that its route makes canonical, and
    /// without our own listener's port.
    fn canonical(&self, place: &str) -> Option<String> {
        let (host, path) = split_host(place);
        let uri: Uri = path.parse().ok()?;
        let host = host.map(|h| self.without_own_port(h));
        let route = self.route(host.unwrap_or_default(), uri.path());
        let query = query::canonical(&route.key.query, uri.query());
        let mut url = host.map_or_else(String::new, |h| format!("//{h}"));
        url.push_str(uri.path());
        if let Some(query) = query {
            url.push('?');
            url.push_str(&query);
        }
        Some(url)
    }

    /// A place on a host, without our own listener's port: it is in no entry's place.
    fn at_our_door(&self, name: Name) -> Name {
        let moved = |text: &str| {
            let (host, rest) = split_host(text);
            host.map(|host| format!("//{}{rest}", self.without_own_port(host)).into_boxed_str())
        };
        match name {
            Name::Path(text) => Name::Path(moved(&text).unwrap_or(text)),
            Name::Prefix(text) => Name::Prefix(moved(&text).unwrap_or(text)),
            Name::Group(text) => Name::Group(moved(&text).unwrap_or(text)),
            other => other,
        }
    }

    fn route(&self, host: &str, path: &str) -> Arc<Route> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        self.means().routes.find(name, &Method::GET, path).route
    }

    fn without_own_port<'h>(&self, host: &'h str) -> &'h str {
        let own = self.config.load().listen.port();
        match host.rsplit_once(':') {
            Some((name, port)) if port.parse() == Ok(own) || port == "80" => name,
            _ => host,
        }
    }

    /// An absolute URI for what was typed: without a host, the host that was last asked for.
    fn absolute(&self, url: &str) -> Result<Uri, Problem> {
        let secure = url.strip_prefix("https:");
        let rest = url.strip_prefix("http:").or(secure);
        let (host, path) = split_host(rest.unwrap_or(url));
        let place = match host {
            Some(host) => {
                let scheme = if secure.is_some() { "https" } else { "http" };
                format!("{scheme}://{}", self.without_own_port(host).to_ascii_lowercase())
            }
            None => self
                .means()
                .last_place()
                .unwrap_or_else(|| format!("http://{}", listener_host(self.config.load().listen))),
        };
        let path = if path.is_empty() { "/" } else { path };
        format!("{place}{path}").parse().map_err(|_| {
            Problem::bad_request("url: expected /path?query or http://host/path?query")
        })
    }

    fn reload_now(&self) -> Result<Value, Problem> {
        if self.source.file.is_none() {
            return Err(Problem::bad_request("there is no configuration file to read again"));
        }
        let (config, warnings) =
            self.source.read().map_err(|e| Problem::unprocessable(e.to_string()))?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let running = self.config.load();
        let fixed = unchangeable(&self.started, &config);
        let means = Arc::new(self.means().reconfigured(&config));
        (self.reload)(&config, Arc::clone(&means)).map_err(Problem::bad_request)?;
        self.means.store(means);
        if let Some(bridges) = self.bridges.get() {
            bridges.set(&config.bridges);
        }
        let routes = config.routes.len();
        self.config.store(Arc::new(Config { listen: running.listen, ..config }));
        tracing::info!(routes, "configuration reloaded");
        Ok(json!({ "reloaded": true, "routes": routes, "needs_restart": fixed }))
    }
}

/// What bridges know of us; they do not keep us alive.
struct Entrance(Weak<Switchboard>);

impl Door for Entrance {
    fn canonical(&self, place: &str) -> Option<String> {
        self.0.upgrade()?.canonical(place)
    }

    fn at_our_door(&self, name: Name) -> Name {
        match self.0.upgrade() {
            Some(switchboard) => switchboard.at_our_door(name),
            None => name,
        }
    }
}

/// What differs and only counts from the next start on.
fn unchangeable(running: &Config, new: &Config) -> Vec<&'static str> {
    let mut fixed = Vec::new();
    if new.listen.port() != 0 && running.listen != new.listen {
        fixed.push("listen");
    }
    if format!("{:?}", running.store) != format!("{:?}", new.store)
        || running.store.valkey != new.store.valkey
    {
        fixed.push("store");
    }
    if format!("{:?}", running.admin) != format!("{:?}", new.admin) {
        fixed.push("admin");
    }
    if format!("{:?}", running.log) != format!("{:?}", new.log) {
        fixed.push("log");
    }
    let of_the_server = |limits: &Limits| {
        let Limits { header_timeout, body_timeout, write_timeout, drain_timeout, .. } = limits;
        (*header_timeout, *body_timeout, *write_timeout, *drain_timeout, limits.max_connections)
    };
    if of_the_server(&running.limits) != of_the_server(&new.limits) {
        fixed.push("limits (timeouts and max_connections)");
    }
    fixed
}

fn mode_of(request: &PurgeRequest) -> LedgerMode {
    let spread = request.spread.map(|spread| u32::try_from(spread.as_millis()).unwrap_or(u32::MAX));
    match (request.mode, spread) {
        (PurgeMode::Hard, _) => LedgerMode::Hard,
        (PurgeMode::Soft, None | Some(0)) => LedgerMode::Soft,
        (PurgeMode::Soft, Some(millis)) => LedgerMode::Spread(millis),
    }
}

/// `//host/path` into host and path.
fn split_host(place: &str) -> (Option<&str>, &str) {
    match place.strip_prefix("//") {
        Some(rest) => {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            (Some(&rest[..at]), &rest[at..])
        }
        None => (None, place),
    }
}

fn listener_host(listen: SocketAddr) -> String {
    let ip = listen.ip();
    if ip.is_unspecified() {
        return "localhost".into();
    }
    if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }
}

impl Control for Switchboard {
    fn purge(&self, request: Value) -> Answer<'_, Receipt> {
        Box::pin(async move {
            let request: PurgeRequest =
                serde_json::from_value(request).map_err(|e| Problem::bad_request(e.to_string()))?;
            let patience = request.patience().map_err(|e| Problem::bad_request(e.to_string()))?;
            let names = request
                .names(|place| self.canonical(place))
                .map_err(|e| Problem::bad_request(e.to_string()))?;
            Ok(self.invalidate(names, mode_of(&request), patience).await)
        })
    }

    fn purge_url(&self, url: String, mode: Mode) -> Answer<'_, Receipt> {
        Box::pin(async move {
            let mode = match mode {
                Mode::Hard => PurgeMode::Hard,
                Mode::Soft => PurgeMode::Soft,
            };
            let request = PurgeRequest { url: Some(url), mode, ..PurgeRequest::default() };
            let names = request
                .names(|place| self.canonical(place))
                .map_err(|e| Problem::bad_request(e.to_string()))?;
            Ok(self.invalidate(names, mode_of(&request), None).await)
        })
    }

    fn explain(&self, question: Question) -> Answer<'_, Value> {
        Box::pin(async move {
            let uri = self.absolute(&question.url)?;
            Ok(explain::explain(&self.means(), &question.method, &uri, question.headers).await)
        })
    }

    fn entry(&self, url: String) -> Answer<'_, Value> {
        Box::pin(async move {
            let uri = self.absolute(&url)?;
            let found = explain::entry(&self.means(), &uri).await;
            found.ok_or_else(|| Problem::not_found("nothing is stored for this URL"))
        })
    }

    fn stats(&self) -> Answer<'_, Value> {
        Box::pin(async move {
            let means = self.means();
            Ok(json!({
                "instance": means.ledger.instance().to_string(),
                "version": env!("CARGO_PKG_VERSION"),
                "ledger": {
                    "applied": means.ledger.applied().to_string(),
                    "instances": means.ledger.peers().iter().map(peer).collect::<Vec<_>>(),
                },
                "fills_under_way": means.flights.len(),
                "fill_bytes_held": means.fill_budget.held(),
                "store": super::scrape::summary(&self.opened.meters.snapshot()),
            }))
        })
    }

    fn routes(&self) -> Answer<'_, Value> {
        Box::pin(async move {
            let config = self.config.load();
            let routes: Vec<Value> =
                config.routes.iter().chain([&config.fallback]).map(|r| route(r)).collect();
            Ok(Value::from(routes))
        })
    }

    fn ready(&self) -> Later<'_, Readiness> {
        Box::pin(async move {
            let means = self.means();
            let draining = self.draining.load(Ordering::Relaxed);
            let detail = if draining { "draining" } else { "accepting requests" };
            let proxy = Part { name: "proxy".into(), ok: !draining, detail: detail.into() };
            let mut parts = vec![proxy];
            if self.opened.valkey.is_some() {
                let silence = means.ledger.heard_age(crate::clock::now());
                let lease = self.started.store.ledger_lease;
                let caught_up = means.ledger.is_ready() && silence.is_some_and(|age| age <= lease);
                let detail =
                    if caught_up { "the ledger is heard" } else { "not heard: going on without" };
                parts.push(Part { name: "valkey".into(), ok: caught_up, detail: detail.into() });
            }
            Readiness { ready: !draining, parts }
        })
    }

    fn metrics(&self) -> String {
        self.metrics.encode()
    }

    fn reload(&self) -> Answer<'_, Value> {
        Box::pin(async move { self.reload_now() })
    }
}

fn peer(peer: &ledger::Peer) -> Value {
    json!({
        "instance": &*peer.instance,
        "applied": peer.applied.to_string(),
        "silent_ms": u64::try_from(peer.silent.as_millis()).unwrap_or(u64::MAX),
    })
}

fn route(route: &Route) -> Value {
    let seconds = |d: Option<Duration>| d.map(|d| d.as_secs_f64());
    json!({
        "name": &*route.name,
        "path": &*route.path,
        "methods": route.methods.iter().map(Method::as_str).collect::<Vec<_>>(),
        "cache": route.cache,
        "soft_ttl": seconds(route.freshness.soft_ttl),
        "hard_ttl": seconds(route.freshness.hard_ttl),
        "stale_if_error": route.freshness.stale_if_error.as_secs_f64(),
        "negative_ttl": seconds(route.freshness.negative_ttl),
        "jitter": route.freshness.jitter,
        "key_headers": route.key.headers.iter().map(|h| h.as_str()).collect::<Vec<_>>(),
        "key_cookies": route.key.cookies,
        "collapse": route.collapse,
        "max_entry": route.max_entry,
        "show_key": route.show_key,
        "max_query_content": route.max_query_content,
    })
}

/// Reloads on `SIGHUP` from now on, until aborted. `None`: the system has no such signal for us.
pub(super) fn reload_on_hangup(switchboard: &Arc<Switchboard>) -> Option<JoinHandle<()>> {
    let mut hangups = signal(SignalKind::hangup()).ok()?;
    let switchboard = Arc::clone(switchboard);
    Some(tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            if let Err(problem) = switchboard.reload_now() {
                let why = problem.detail();
                tracing::error!("the configuration was not reloaded; the old one stays: {why}");
            }
        }
    }))
}
