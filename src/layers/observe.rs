//! Sees every request and every response, also the refused ones: counts it, logs it, and makes sure
//! that the client is told what happened.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::handled::Handled;
use super::rescue::Rescued;
use crate::body::{Body, BodyError};
use crate::clock;
use crate::peer::ClientAddr;
use crate::semantics::cache_status::CacheStatus;
use crate::semantics::storable::is_server_error;
use crate::telemetry::access::{AccessLine, AccessLog};
use crate::telemetry::metrics::{InFlight, Metrics};
use crate::telemetry::outcome::{Outcome, Source};

/// Where a response says what the cache did (RFC 9211).
const CACHE_STATUS: http::HeaderName = http::HeaderName::from_static("cache-status");

/// What the log says of a response that nobody waited for; never sent.
const CLIENT_LEFT: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::BAD_REQUEST,
};

/// Where a client's own name for its request stands.
const REQUEST_ID: http::HeaderName = http::HeaderName::from_static("x-request-id");

/// What is counted and logged, and where.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The access log, if there is to be one.
    pub log: Option<AccessLog>,
    /// `Route::index` that a request counts for when it was refused before its route was known.
    pub fallback: usize,
}

/// Puts a watch over a service.
#[derive(Clone, Debug)]
pub struct ObserveLayer(Arc<Watch>);

impl ObserveLayer {
    /// A layer that counts and logs so.
    pub fn new(watch: Watch) -> Self {
        Self(Arc::new(watch))
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, watch: Arc::clone(&self.0) }
    }
}

/// A service under watch.
#[derive(Clone, Debug)]
pub struct Observe<S> {
    inner: S,
    watch: Arc<Watch>,
}

impl<S> Service<Request<Body>> for Observe<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Observing<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Observing<S::Future> {
        let seen = Seen::of(&request, &self.watch);
        Observing { inner: self.inner.call(request), seen: Some(seen) }
    }
}

pin_project! {
    /// A request under way.
    pub struct Observing<F> {
        #[pin]
        inner: F,
        seen: Option<Seen>,
    }

    impl<F> PinnedDrop for Observing<F> {
        fn drop(this: Pin<&mut Self>) {
            if let Some(seen) = this.project().seen.take() {
                seen.left();
            }
        }
    }
}

impl<F, E> Future for Observing<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        Poll::Ready(Ok(match this.seen.take() {
            Some(seen) => seen.answered(response),
            None => response,
        }))
    }
}

/// What is remembered of a request until its response has been sent.
struct Seen {
    watch: Arc<Watch>,
    began: Instant,
    /// Counted as being in progress until dropped.
    _in_flight: InFlight,
    line: Option<Line>,
}

/// What only the log needs.
struct Line {
    at: SystemTime,
    client: Option<IpAddr>,
    method: Method,
    host: Option<HeaderValue>,
    uri: Uri,
    request_id: Option<HeaderValue>,
}

impl Line {
    fn of(request: &Request<Body>) -> Self {
        let headers = request.headers();
        Self {
            at: clock::wall(),
            client: request.extensions().get::<ClientAddr>().map(|c| c.0.ip()),
            method: request.method().clone(),
            host: headers.get(http::header::HOST).cloned(),
            uri: request.uri().clone(),
            request_id: headers.get(REQUEST_ID).cloned(),
        }
    }
}

/// What became of it.
struct Done {
    status: StatusCode,
    handled: Option<Handled>,
    fault: Option<&'static str>,
    cache_status: Option<HeaderValue>,
}

impl Seen {
    fn of(request: &Request<Body>, watch: &Arc<Watch>) -> Self {
        Self {
            watch: Arc::clone(watch),
            began: Instant::now(),
            _in_flight: watch.metrics.in_flight(),
            line: watch.log.is_some().then(|| Line::of(request)),
        }
    }

    fn answered(self, mut response: Response<Body>) -> Response<Body> {
        let handled = response.extensions_mut().remove::<Handled>();
        let fault = response.extensions_mut().remove::<Rescued>().map(|r| r.fault);
        if handled.is_none() {
            let refused = CacheStatus { detail: fault.map(Into::into), ..CacheStatus::default() };
            refused.append_to(response.headers_mut());
        }
        let done = Done {
            status: response.status(),
            cache_status: response.headers().get_all(CACHE_STATUS).iter().next_back().cloned(),
            handled,
            fault,
        };
        let whole = response.body().is_whole();
        if whole {
            let bytes = response.body().size_hint().exact().unwrap_or(0);
            self.done(&done, bytes);
            return response;
        }
        response.map(|body| Body::streaming(Counted { body, bytes: 0, seen: Some((self, done)) }))
    }

    /// The client has left before there was a response.
    fn left(&self) {
        let nothing = Done {
            status: CLIENT_LEFT,
            handled: None,
            fault: Some("client-left"),
            cache_status: None,
        };
        self.done(&nothing, 0);
    }

    /// The response has been sent, or the client has left.
    fn done(&self, done: &Done, bytes: u64) {
        let duration = self.began.elapsed();
        let (outcome, route) = match &done.handled {
            Some(handled) => (handled.outcome, handled.route.index),
            None if done.status == CLIENT_LEFT => (Outcome::Left, self.watch.fallback),
            None if is_server_error(done.status) && done.fault != Some("overloaded") => {
                (Outcome::Error, self.watch.fallback)
            }
            None => (Outcome::Refused, self.watch.fallback),
        };
        let source = match outcome {
            outcome if outcome.spared_the_origin() => Source::Cache,
            Outcome::Revalidated => Source::Cache,
            Outcome::Refused | Outcome::Error | Outcome::Left => Source::Own,
            _ => Source::Origin,
        };
        self.watch.metrics.request(route, outcome, source, bytes, duration);
        if let Some(saved) = done.handled.as_ref().and_then(|h| h.saved_time) {
            self.watch.metrics.saved(route, saved);
        }
        if let (Some(log), Some(line)) = (&self.watch.log, &self.line) {
            write(log, line, done, outcome, bytes, duration);
        }
    }
}

fn write(
    log: &AccessLog,
    line: &Line,
    done: &Done,
    outcome: Outcome,
    bytes: u64,
    duration: Duration,
) {
    let handled = done.handled.as_ref();
    let authority = line.uri.authority().map(|a| a.as_str().as_bytes());
    log.record(AccessLine {
        at: line.at,
        client: line.client,
        method: line.method.as_str(),
        host: line.host.as_ref().map(HeaderValue::as_bytes).or(authority).unwrap_or_default(),
        path: line.uri.path_and_query().map_or("", |p| p.as_str()),
        status: done.status.as_u16(),
        bytes,
        duration,
        route: handled.map_or("-", |h| &h.route.name),
        verdict: outcome.as_str(),
        reason: handled.map(|h| h.reason).or(done.fault).unwrap_or_default(),
        cache_status: done.cache_status.as_ref().map(HeaderValue::as_bytes).unwrap_or_default(),
        origin: handled.and_then(|h| h.origin_time),
        request_id: line.request_id.as_ref().map(HeaderValue::as_bytes),
    });
}

/// A body that counts what is taken from it, and reports when it has ended or is dropped.
struct Counted {
    body: Body,
    bytes: u64,
    seen: Option<(Seen, Done)>,
}

impl Counted {
    fn report(&mut self) {
        if let Some((seen, done)) = self.seen.take() {
            seen.done(&done, self.bytes);
        }
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Some(Err(_)) | None => self.report(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.report();
    }
}
