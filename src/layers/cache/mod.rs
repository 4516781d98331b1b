//! The cache: asks `plan`, does what it says.
//!
//! | verdict | done in |
//! |---|---|
//! | `Admission::Pass` | [`pass`] |
//! | `Admission::Write` | [`mod@write`], and [`represent`] where its answer is what GET would get |
//! | `Admission::Query` | [`query`], which takes the content in before it looks |
//! | `Admission::Lookup` | [`footing`] first, where this process may know too little |
//! | `Plan::Serve` | [`deliver`], without waiting for anything when it is in memory |
//! | `Plan::ServeAndRefresh` | [`deliver`], and [`refresh`] behind |
//! | `Plan::ServeBackingOff` | [`deliver`] |
//! | `Plan::Revalidate`, `Plan::Fetch` | [`fetch`], which leads or follows a [`fill`]; [`head`] for HEAD |
//! | the same, of a part | [`range`], if the whole is not worth it |
//! | `Plan::Refuse` | 504 |
//!
//! As a [`tower::Layer`] it fits on any service that takes requests with an absolute URI
//! (`scheme://authority/path`) and answers with [`ProxyError`] when it cannot.

pub mod ask;
pub mod asked;
pub mod deliver;
pub mod early;
pub mod explain;
pub mod fetch;
pub mod fill;
pub mod footing;
pub mod head;
pub mod keeping;
pub mod lease;
pub mod lookup;
pub mod means;
pub mod notes;
pub mod part;
pub mod pass;
pub mod query;
pub mod range;
pub mod recipe;
pub mod refresh;
pub mod represent;
pub mod searches;
pub mod settle;
pub mod write;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Response, Version};
use http_body::Body as _;
use tower::{Layer, Service};

use crate::body::Body;
use crate::config::Route;
use crate::config::matcher::Match;
use crate::error::{ClientFault, OriginFault, ProxyError};
use crate::fast::Found;
use crate::layers::handled::{Handled, attach};
use crate::layers::rescue::{self, Rescued};
use crate::plan::request::admit;
use crate::plan::{Admission, FetchReason, Plan};
use crate::semantics::cache_status::{CacheStatus, Forwarded};
use crate::store::Record;
use crate::telemetry::outcome::Outcome;

use asked::Asked;
use deliver::Served;
use fetch::{Company, Step};
use footing::Footing;
use lookup::{Brought, Looked, Shared};
pub use means::Means;

/// How often a request looks again before it fetches for itself.
const ROUNDS: usize = 4;

/// What the cache stands in front of.
pub trait Origin:
    Service<Request<Body>, Response = Response<Body>, Error = ProxyError, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Origin for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = ProxyError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Puts the cache in front of a service.
#[derive(Clone, Debug)]
pub struct CacheLayer {
    means: Arc<Means>,
}

impl CacheLayer {
    /// A layer that works with these means.
    pub const fn new(means: Arc<Means>) -> Self {
        Self { means }
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = Cache<S>;

    fn layer(&self, inner: S) -> Cache<S> {
        Cache { means: Arc::clone(&self.means), inner }
    }
}

/// The cache in front of a service.
#[derive(Clone, Debug)]
pub struct Cache<S> {
    means: Arc<Means>,
    inner: S,
}

/// A response that is here already, or one that is waited for.
pub type CacheFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, ProxyError>> + Send>>;

/// The cache's answer: a hit in memory is ready at once, without an allocation for its future.
pub struct Answering(State);

enum State {
    /// Taken when asked for.
    Ready(Option<Response<Body>>),
    Waiting(CacheFuture),
}

impl Answering {
    const fn ready(response: Response<Body>) -> Self {
        Self(State::Ready(Some(response)))
    }
}

impl Future for Answering {
    type Output = Result<Response<Body>, ProxyError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            State::Ready(response) => Poll::Ready(
                response.take().ok_or(ProxyError::Ours("a finished answer was asked again")),
            ),
            State::Waiting(future) => future.as_mut().poll(cx),
        }
    }
}

impl<S: Origin> Service<Request<Body>> for Cache<S> {
    type Response = Response<Body>;
    type Error = ProxyError;
    type Future = Answering;

    /// Always ready: only what misses needs the inner service, and it waits for it then.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Answering {
        // Whoever has no use for it gives up the duty that may come with it.
        let found = request.extensions_mut().remove::<Found>();
        let Match { route, captures } = self.means.routes.find(
            request.uri().host().unwrap_or_default(),
            request.method(),
            request.uri().path(),
        );
        let content = !request.body().is_end_stream();
        let (means, inner) = (&self.means, &self.inner);
        match admit(&route, request.method(), request.headers(), content) {
            Admission::Write => {
                let (means, inner) = (Arc::clone(means), inner.clone());
                let known = Arc::clone(&route);
                let write = write::carry_out(means, inner, route, captures, request);
                waiting((known, Forwarded::Method), write)
            }
            Admission::Pass(reason) => {
                let known = (Arc::clone(&route), reason.forwarded());
                let (means, inner) = (Arc::clone(means), inner.clone());
                if head::tells_of_an_entry(request.method(), reason) {
                    let found = Match { route, captures };
                    return waiting(known, head::send_on(means, inner, found, request, reason));
                }
                waiting(known, pass::send_on(means, inner, route, request, reason))
            }
            Admission::Query => {
                let (means, inner) = (Arc::clone(means), inner.clone());
                let known = (Arc::clone(&route), Forwarded::UriMiss);
                waiting(known, query::answer(means, inner, Match { route, captures }, request))
            }
            Admission::Lookup => {
                if let Some(footing) = Footing::of(means, &route, request.headers()) {
                    let (means, inner) = (Arc::clone(means), inner.clone());
                    let known = (Arc::clone(&route), Forwarded::UriMiss);
                    let found = Match { route, captures };
                    return waiting(known, on_footing(means, inner, found, request, footing));
                }
                answer(means, inner, asked(means, Match { route, captures }, request), found)
            }
        }
    }
}

fn asked(means: &Means, Match { route, captures }: Match, request: Request<Body>) -> Asked {
    let (parts, _) = request.into_parts();
    let tags = means.stamp(&route);
    let version = |namespace: &str| means.ledger.version(namespace);
    searches::keyed(means, Asked::new(route, captures, parts, tags, version))
}

/// Who must not be answered from before something waits until this process has read that, or is
/// answered from what the origin says now.
async fn on_footing<S: Origin>(
    means: Arc<Means>,
    inner: S,
    found: Match,
    request: Request<Body>,
    footing: Footing,
) -> Result<Response<Body>, ProxyError> {
    let floor = footing.found(&means).await;
    // Only now: the key has what the ledger says of its namespace in it.
    let asked = asked(&means, found, request).above(floor);
    means.note_place_of(&asked.uri);
    let looked = lookup::peek(&means, &asked, None, means.now());
    settle(&means, &inner, Arc::new(asked), looked).await
}

/// A failure below is answered here, where the route is known; the table is `rescue`'s.
fn waiting(
    (route, forwarded): (Arc<Route>, Forwarded),
    future: impl Future<Output = Result<Response<Body>, ProxyError>> + Send + 'static,
) -> Answering {
    let future =
        async move { Ok(future.await.unwrap_or_else(|error| failed(route, forwarded, &error))) };
    Answering(State::Waiting(Box::pin(future)))
}

fn failed(route: Arc<Route>, forwarded: Forwarded, error: &ProxyError) -> Response<Body> {
    rescue::log(error, &route.name);
    let response = rescue::respond(error, Version::HTTP_11);
    let reason = response.extensions().get::<Rescued>().map_or("error", |r| r.fault);
    let cache_status =
        CacheStatus { fwd: Some(forwarded), detail: Some(reason.into()), ..CacheStatus::default() };
    let handled = Handled {
        route,
        outcome: if matches!(error, ProxyError::Client(_) | ProxyError::Unrecorded(_)) {
            Outcome::Refused
        } else {
            Outcome::Error
        },
        reason,
        cache_status,
        origin_time: None,
        saved_time: None,
    };
    attach(response, handled)
}

/// A hit in memory is answered on the spot; everything else is waited for.
fn answer<S: Origin>(
    means: &Arc<Means>,
    inner: &S,
    asked: Asked,
    found: Option<Found>,
) -> Answering {
    let now = means.now();
    let looked = match found.as_ref().and_then(|found| found.0.downcast_ref::<Brought>()) {
        Some(brought) => lookup::brought(means, &asked, brought, now),
        None => lookup::peek(means, &asked, None, now),
    };
    if let (Plan::Serve, Some((entry, _))) = (looked.plan, &looked.entry) {
        let response = deliver::entry(&asked, entry, Served::Hit, now);
        return Answering::ready(response);
    }
    means.note_place_of(&asked.uri);
    let route = Arc::clone(&asked.route);
    let (means, inner) = (Arc::clone(means), inner.clone());
    waiting((route, Forwarded::UriMiss), async move {
        settle(&means, &inner, Arc::new(asked), looked).await
    })
}

/// Looks, acts, and looks again if what it waited for was not for this request.
async fn settle<S: Origin>(
    means: &Arc<Means>,
    inner: &S,
    asked: Arc<Asked>,
    first: Looked,
) -> Result<Response<Body>, ProxyError> {
    let mut looked = first;
    let mut impatient = false;
    for round in 0.. {
        let company =
            if impatient { Company::Alone } else { company(means, &asked, &looked, round) };
        // Who waits with others lets one look for all.
        let alone =
            company == Company::Alone || asked.method == Method::HEAD || asked.ranges.is_some();
        let refused = matches!(looked.plan, Plan::Refuse(_));
        if !looked.is_servable()
            && looked.shared == Shared::Unasked
            && means.store.is_shared()
            && (alone || refused)
        {
            looked = Box::pin(lookup::fetch(means, &asked, looked.names.as_deref())).await;
        }
        looked = match act(means, inner, &asked, looked, company).await {
            Step::Done(response) => return Ok(response),
            Step::Failed(fault) => return Err(fault.into()),
            Step::Impatient => {
                impatient = true;
                lookup::peek(means, &asked, None, means.now())
            }
            Step::Again(names) => lookup::peek(means, &asked, names.as_deref(), means.now()),
            Step::Found((key, names), entry) => {
                let record = Some(Record::Entry(entry));
                let found = lookup::conclude(means, &asked, (key, names), record, means.now());
                Looked { shared: Shared::Asked, ..found }
            }
        };
    }
    Err(ProxyError::Ours("a request ran out of rounds"))
}

/// With others, unless that has proved useless or would be unsafe.
fn company(means: &Means, asked: &Asked, looked: &Looked, round: usize) -> Company {
    let useless = means.hit_for_miss.is_noted(asked.key.digest, means.now());
    let own_terms = matches!(looked.plan, Plan::Fetch(FetchReason::Request));
    if round >= ROUNDS
        || !asked.route.collapse
        || asked.has_credentials()
        || asked.demands.no_store
        || own_terms
        || useless
    {
        Company::Alone
    } else {
        Company::Shared
    }
}

async fn act<S: Origin>(
    means: &Arc<Means>,
    inner: &S,
    asked: &Arc<Asked>,
    looked: Looked,
    company: Company,
) -> Step {
    match (looked.plan, &looked.entry) {
        (Plan::Serve, Some((entry, _))) => {
            Step::Done(deliver::entry(asked, entry, Served::Hit, means.now()))
        }
        (Plan::ServeAndRefresh(why), Some((entry, _))) => {
            refresh::behind(means, inner, asked, &looked, entry);
            Step::Done(deliver::entry(asked, entry, Served::Stale(why), means.now()))
        }
        (Plan::ServeBackingOff(why), Some((entry, _))) => {
            means.metrics.stale_if_error(asked.route.index);
            Step::Done(deliver::entry(asked, entry, Served::Stale(why), means.now()))
        }
        (Plan::Refuse(_), _) => {
            let part = range::stored(means, asked, &looked).await;
            Step::Done(part.unwrap_or_else(|| refused(&asked.route)))
        }
        (Plan::Fetch(reason) | Plan::Revalidate(reason), _) => {
            if asked.method == Method::HEAD {
                return Box::pin(head::through(means, inner, asked, looked, reason)).await;
            }
            if range::concerns(asked, &looked, means.now()) {
                let part = range::through(means, inner, asked, looked, (reason, company));
                return Box::pin(part).await;
            }
            fetch::through(means, inner, asked, looked, reason, company).await
        }
        // A verdict to serve always comes with an entry.
        (Plan::Serve | Plan::ServeAndRefresh(_) | Plan::ServeBackingOff(_), None) => {
            Step::Failed(OriginFault::Broken("nothing to serve".into()))
        }
    }
}

/// RFC 9111 §5.2.1.7: "a 504 (Gateway Timeout) status code".
fn refused(route: &Arc<Route>) -> Response<Body> {
    let error = ProxyError::Client(ClientFault::OnlyIfCached);
    let cache_status =
        CacheStatus { detail: Some("only-if-cached".into()), ..CacheStatus::default() };
    let handled = Handled {
        route: Arc::clone(route),
        outcome: Outcome::Refused,
        reason: "only-if-cached",
        cache_status,
        origin_time: None,
        saved_time: None,
    };
    attach(rescue::respond(&error, Version::HTTP_11), handled)
}
