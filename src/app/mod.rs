//! The composition root: builds every room once, wires them, and owns the order of shutdown.
//!
//! | shutdown | why in this order |
//! |---|---|
//! | the client listener closes | no new work |
//! | requests in flight finish, up to `limits.drain_timeout` | nobody is cut off who can be served |
//! | writes whose clients have left finish, and the ledger gets what it is owed | no invalidation is lost |
//! | this process strikes itself off the instances | nothing is served any more: no purge need wait for it |
//! | the admin listener closes | it answers `/livez` while the rest drains |
//! | the access log is flushed | its last lines are about the drain |

pub mod control;
pub mod reach;
pub mod scrape;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::admin;
use crate::body::Body;
use crate::config::{Config, ConfigErrors, Overrides, Warning};
use crate::fast::{Ahead, FastPath, Found, Head, Looking};
use crate::layers::cache::Means;
use crate::layers::fast::FastHits;
use crate::layers::observe::Watch;
use crate::origin::Origin;
use crate::server;
use crate::server::DrainReport;
use crate::stack::{Stack, stack};
use crate::store::ledger::LedgerHandle;
use crate::store::{self, Opened};
use crate::telemetry::access::AccessLog;
use crate::telemetry::metrics::Metrics;

use control::Switchboard;

/// How long writes whose clients have left, and what is owed to the ledger, may take at the end.
const SETTLING: Duration = Duration::from_secs(5);

/// How long it may take to tell the others that this process is gone.
const LEAVING: Duration = Duration::from_secs(1);

/// How long the access log may take to be written out at the end.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

/// Where a configuration comes from, so that it can be read again.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file; `None` if the command line said everything.
    pub file: Option<PathBuf>,
    /// What the command line says beside it.
    pub overrides: Overrides,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// What it says is not valid.
    #[error("{0}")]
    Invalid(#[from] ConfigErrors),
}

/// Why the process did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// The origin cannot be spoken to as configured.
    #[error("origin: {0}")]
    Origin(String),
}

impl Source {
    /// Reads it; with the warnings that it deserves.
    ///
    /// # Errors
    /// If the file cannot be read or is not valid.
    pub fn read(&self) -> Result<(Config, Vec<Warning>), LoadError> {
        let text = match &self.file {
            Some(path) => Some((
                path.display().to_string(),
                std::fs::read_to_string(path).map_err(|e| LoadError::Read(path.clone(), e))?,
            )),
            None => None,
        };
        let source = text.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        Ok(Config::load(source, &self.overrides, &environment)?)
    }
}

/// The environment, as configurations see it.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Everything, built and listening.
#[derive(Debug)]
pub struct App {
    config: Config,
    means: Arc<Means>,
    metrics: Arc<Metrics>,
    opened: Opened,
    log: Option<AccessLog>,
    listener: TcpListener,
    admin: Option<TcpListener>,
}

impl App {
    /// Builds everything and binds the listeners. Valkey and the origin need not be there yet.
    ///
    /// # Errors
    /// If a listener cannot be bound, or something configured cannot be used at all.
    pub async fn build(config: Config) -> Result<Self, StartError> {
        let metrics = Metrics::new(&route_names(&config));
        let opened = store::open(&config.store, largest_entry(&config))?;
        let ledger = LedgerHandle::of(&config.store, retention(&config))?;
        let means = Means::new(&config, Arc::clone(&opened.store), ledger, Arc::clone(&metrics));
        let listener =
            server::bind(config.listen).map_err(|e| StartError::Listen(config.listen, e))?;
        let admin = match &config.admin {
            Some(admin) => Some(
                TcpListener::bind(admin.listen)
                    .await
                    .map_err(|e| StartError::Listen(admin.listen, e))?,
            ),
            None => None,
        };
        let log = config.log.access.then(AccessLog::stdout);
        Ok(Self { config, means: Arc::new(means), metrics, opened, log, listener, admin })
    }

    /// Where clients connect.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Where the admin API is.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|l| l.local_addr().ok())
    }

    /// Serves until `shutdown`, then drains.
    ///
    /// # Errors
    /// If the origin cannot be spoken to as configured.
    pub async fn run(
        self,
        source: Source,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<DrainReport, StartError> {
        let addresses = (self.address(), self.admin_address());
        let Self { mut config, means, metrics, opened, log, listener, admin } = self;
        if let Some(address) = addresses.0 {
            config.listen = address;
        }
        let watch = Watch {
            metrics: Arc::clone(&metrics),
            log: log.clone(),
            fallback: config.routes.len(),
        };
        let origin = Origin::new(&config.origin).map_err(StartError::Origin)?;
        let fast = FastHits::new(&config.limits, watch.clone(), Arc::clone(&means));
        let fast = SwappedFast::new(fast);
        let path = stack(&config, watch.clone(), Arc::clone(&means), origin);
        let current = Swapped::new(path);
        let switchboard = Arc::new(Switchboard::new(
            source,
            config.clone(),
            means,
            opened,
            metrics,
            reloader(&current, &fast, watch, stack),
        ));
        scrape::plug_in(&switchboard, log.as_ref());
        switchboard.listen();
        let hangups = control::reload_on_hangup(&switchboard);

        let closing = CancellationToken::new();
        let admin = admin.zip(config.admin.as_ref()).map(|(listener, config)| {
            let router = admin::router(Arc::clone(&switchboard) as _, config);
            let closing = closing.clone().cancelled_owned();
            tokio::spawn(admin::serve(listener, router, closing))
        });
        announce(addresses);
        let told = Arc::clone(&switchboard);
        let shutdown = async move {
            shutdown.await;
            told.drain();
        };
        let report = server::serve(listener, (current, fast), &config.limits, shutdown).await;
        switchboard.listen_no_more(SETTLING).await;
        if !switchboard.means().settled(SETTLING).await {
            tracing::warn!("writes were cut off, or invalidations are still owed to the ledger");
        }
        switchboard.means().ledger.leave(LEAVING).await;
        if let Some(hangups) = hangups {
            hangups.abort();
        }
        closing.cancel();
        if let Some(admin) = admin {
            let _ = admin.await;
        }
        if let Some(log) = log {
            let _ = tokio::task::spawn_blocking(move || log.flush(LOG_PATIENCE)).await;
        }
        Ok(report)
    }
}

fn announce((clients, admin): (Option<SocketAddr>, Option<SocketAddr>)) {
    if let Some(address) = clients {
        tracing::info!(%address, "listening");
    }
    if let Some(address) = admin {
        tracing::info!(%address, "admin listening");
    }
}

/// Names by `Route::index`, the fallback last.
fn route_names(config: &Config) -> Vec<&str> {
    config.routes.iter().chain([&config.fallback]).map(|r| &*r.name).collect()
}

fn largest_entry(config: &Config) -> u64 {
    config.routes.iter().chain([&config.fallback]).map(|r| r.max_entry).max().unwrap_or(0)
}

/// Records are kept at least this long, whatever the routes say: an origin may give entries longer
/// lifetimes than the configuration does.
const LEAST_RETENTION: Duration = Duration::from_secs(24 * 3600);

/// The longest that the configuration lets an entry live.
fn retention(config: &Config) -> Duration {
    let longest = config.routes.iter().map(|route| {
        let freshness = &route.freshness;
        let hard = freshness.hard_ttl.max(freshness.soft_ttl).unwrap_or_default();
        hard.mul_f64(1.0 + freshness.jitter) + freshness.stale_if_error
    });
    longest.max().unwrap_or_default().max(LEAST_RETENTION)
}

/// Puts a new path in place of the current one; requests in progress finish on the old one.
pub type Reload = Box<dyn Fn(&Config, Arc<Means>) -> Result<(), String> + Send + Sync>;

fn reloader<S: Stack>(
    current: &Swapped<S>,
    fast: &SwappedFast,
    watch: Watch,
    build: impl Fn(&Config, Watch, Arc<Means>, Origin) -> S + Send + Sync + 'static,
) -> Reload {
    let (current, fast) = (current.clone(), fast.clone());
    Box::new(move |config, means| {
        let origin = Origin::new(&config.origin)?;
        let watch = Watch { fallback: config.routes.len(), ..watch.clone() };
        watch.metrics.set_routes(&route_names(config));
        let hits = FastHits::new(&config.limits, watch.clone(), Arc::clone(&means));
        fast.current.store(Arc::new(hits));
        current.current.store(Arc::new(build(config, watch, means, origin)));
        Ok(())
    })
}

/// A service that can be replaced while it serves.
#[derive(Debug)]
struct Swapped<S> {
    current: Arc<ArcSwap<S>>,
    /// This connection's own, with what it remembers of its last request, and what it was cloned
    /// from.
    own: Option<(S, Arc<S>)>,
}

impl<S> Swapped<S> {
    fn new(first: S) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(first)), own: None }
    }
}

impl<S> Clone for Swapped<S> {
    /// A clone starts without memories: it is made for another connection or another stream.
    fn clone(&self) -> Self {
        Self { current: Arc::clone(&self.current), own: None }
    }
}

impl<S: Stack> Service<Request<Body>> for Swapped<S> {
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        let current = self.current.load();
        let (own, from) =
            self.own.get_or_insert_with(|| (S::clone(&current), Arc::clone(&current)));
        if !Arc::ptr_eq(from, &current) {
            (*own, *from) = (S::clone(&current), Arc::clone(&current));
        }
        own.call(request)
    }
}

/// The same for hits past the layers.
#[derive(Clone, Debug)]
struct SwappedFast {
    current: Arc<ArcSwap<FastHits>>,
    /// What this connection's own was cloned from.
    from: Arc<FastHits>,
    own: FastHits,
}

impl SwappedFast {
    fn new(first: FastHits) -> Self {
        let from = Arc::new(first.clone());
        Self { current: Arc::new(ArcSwap::new(Arc::clone(&from))), from, own: first }
    }
}

impl SwappedFast {
    /// This connection's own of the current one.
    fn own(&mut self) -> &mut FastHits {
        let current = self.current.load();
        if !Arc::ptr_eq(&self.from, &current) {
            self.from = Arc::clone(&current);
            self.own = FastHits::clone(&current);
        }
        &mut self.own
    }
}

impl FastPath for SwappedFast {
    fn answer(
        &mut self,
        head: &Head<'_>,
        found: Option<&Found>,
        out: &mut Vec<u8>,
    ) -> Option<Bytes> {
        self.own().answer(head, found, out)
    }

    fn ahead(&mut self, head: &Head<'_>, found: Option<Found>) -> Result<Ahead, Option<Found>> {
        self.own().ahead(head, found)
    }

    fn respond(&mut self, head: &Head<'_>) -> Option<Response<Bytes>> {
        self.own().respond(head)
    }

    fn look(&mut self, request: &mut Option<Parts>) -> Option<Looking> {
        self.own().look(request)
    }
}
