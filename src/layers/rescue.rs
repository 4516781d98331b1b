//! Errors become responses here and nowhere else. Below this layer everything may fail; above it
//! nothing can.
//!
//! | fault | status | label |
//! |---|---|---|
//! | malformed or ambiguous request | 400 (417 for an expectation) | `malformed` |
//! | content stopped arriving / broke off | 408 / 400 | `content` |
//! | a method not carried here | 405 | `method` |
//! | target too long | 414 | `target-too-long` |
//! | fields too many or too large | 431 | `fields-too-large` |
//! | the request came round again | 508 | `loop` |
//! | only-if-cached, and nothing stored | 504 | `only-if-cached` |
//! | origin: no connection | 502 | `origin-connect` |
//! | origin: no connection free | 503 | `origin-busy` |
//! | origin: no answer in time | 504 | `origin-timeout` |
//! | origin: broke off | 502 | `origin-broken` |
//! | origin: an error that was for somebody else | the same | `origin-error` |
//! | origin: not HTTP that can be forwarded | 502 | `origin-malformed` |
//! | too much to do | 503 | `overloaded` |
//! | a write that cannot be recorded, where that is wanted | 503 | `unrecorded` |
//! | a bug of ours | 500 | `internal` |

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode, Version};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::forward::{ALLOWED, UNKNOWN_EXPECTATION};
use crate::body::Body;
use crate::clock;
use crate::error::{ClientFault, OriginFault, ProxyError};
use crate::idle::STALLED;
use crate::semantics::time::Timestamp;

/// In the extensions of a response that was made here, for Cache-Status and the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rescued {
    /// The label of what went wrong, as in the table above.
    pub fault: &'static str,
}

/// Answers every error of the service inside.
#[derive(Clone, Copy, Debug, Default)]
pub struct RescueLayer;

impl<S> Layer<S> for RescueLayer {
    type Service = Rescue<S>;

    fn layer(&self, inner: S) -> Rescue<S> {
        Rescue { inner, broken: None }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Rescue<S> {
    inner: S,
    /// What `poll_ready` failed with: the answer to the request it was asked for.
    broken: Option<ProxyError>,
}

impl<S: Clone> Clone for Rescue<S> {
    /// The clone is not ready, so it has not failed to become so either.
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), broken: None }
    }
}

impl<S> Service<Request<Body>> for Rescue<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = ProxyError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = RescueFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.broken.is_none() {
            self.broken = ready!(self.inner.poll_ready(cx)).err();
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let version = request.version();
        let stage = match self.broken.take() {
            Some(error) => Stage::Broken { error: Some(error) },
            None => Stage::Answering { answer: self.inner.call(request) },
        };
        RescueFuture { stage, version }
    }
}

pin_project! {
    /// The inner answer, or the response to its error.
    #[derive(Debug)]
    pub struct RescueFuture<F> {
        #[pin]
        stage: Stage<F>,
        version: Version,
    }
}

pin_project! {
    #[project = StageView]
    #[derive(Debug)]
    enum Stage<F> {
        Answering { #[pin] answer: F },
        Broken { error: Option<ProxyError> },
    }
}

impl<F> Future for RescueFuture<F>
where
    F: Future<Output = Result<Response<Body>, ProxyError>>,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = match this.stage.project() {
            StageView::Answering { answer } => ready!(answer.poll(cx)),
            StageView::Broken { error } => {
                Err(error.take().unwrap_or(ProxyError::Ours("answered twice")))
            }
        };
        Poll::Ready(Ok(result.unwrap_or_else(|error| {
            log(&error, "-");
            respond(&error, *this.version)
        })))
    }
}

/// Says that a request of `route` failed. Of many that fail in one second, one is told with the
/// number of the others: the access log has them all.
pub fn log(error: &ProxyError, route: &str) {
    match error {
        ProxyError::Client(_) => tracing::debug!(%error, route, "request refused"),
        ProxyError::Origin(_) | ProxyError::Overloaded(_) | ProxyError::Unrecorded(_) => {
            if let Some(untold) = TOLD.turn(clock::now()) {
                tracing::warn!(%error, route, untold, "request not answered");
            }
        }
        ProxyError::Ours(_) => tracing::error!(%error, route, "a bug"),
    }
}

static TOLD: Told = Told { last: AtomicU64::new(0), untold: AtomicU64::new(0) };

/// Lets one event a second through.
struct Told {
    /// Second in which one was told last.
    last: AtomicU64,
    untold: AtomicU64,
}

impl Told {
    /// How many were not told since the last one that was; `None` if this is not told either.
    fn turn(&self, now: Timestamp) -> Option<u64> {
        let second = now.as_millis() / 1000;
        if self.last.swap(second, Ordering::Relaxed) == second {
            self.untold.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.untold.swap(0, Ordering::Relaxed))
    }
}

/// The response to `error`, as problem details (RFC 9457) with nothing of our inside in them.
pub fn respond(error: &ProxyError, version: Version) -> Response<Body> {
    let Answer { status, fault, detail } = answer(error);
    let problem = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
        "fault": fault,
    });
    let mut response = Response::new(Body::full(problem.to_string()));
    *response.status_mut() = status;
    response.extensions_mut().insert(Rescued { fault });
    let headers = response.headers_mut();
    headers.append(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        // RFC 9110 §15.5.6: Allow must be there.
        headers.append(ALLOW, HeaderValue::from_static(ALLOWED));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.append(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    // What follows a message that was not understood cannot be trusted to be the next one.
    let mistrusted =
        matches!(error, ProxyError::Client(fault) if *fault != ClientFault::OnlyIfCached);
    if mistrusted && version <= Version::HTTP_11 {
        headers.append(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

struct Answer {
    status: StatusCode,
    fault: &'static str,
    detail: &'static str,
}

const fn with(status: StatusCode, fault: &'static str, detail: &'static str) -> Answer {
    Answer { status, fault, detail }
}

fn answer(error: &ProxyError) -> Answer {
    match error {
        ProxyError::Client(fault) => client(fault),
        ProxyError::Origin(fault) => origin(fault),
        ProxyError::Overloaded(_) => with(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "More requests are in progress than this server takes on.",
        ),
        ProxyError::Unrecorded(_) => with(
            StatusCode::SERVICE_UNAVAILABLE,
            "unrecorded",
            "Writes are not taken while what they change cannot be recorded. This one was not \
             carried out.",
        ),
        ProxyError::Ours(_) => {
            with(StatusCode::INTERNAL_SERVER_ERROR, "internal", "This should not have happened.")
        }
    }
}

fn client(fault: &ClientFault) -> Answer {
    match fault {
        ClientFault::Malformed(UNKNOWN_EXPECTATION) => {
            with(StatusCode::EXPECTATION_FAILED, "malformed", UNKNOWN_EXPECTATION)
        }
        // Sentences of our own making, about what the client sent: they tell it nothing new.
        ClientFault::Malformed(what) => with(StatusCode::BAD_REQUEST, "malformed", what),
        ClientFault::Method(_) => {
            with(StatusCode::METHOD_NOT_ALLOWED, "method", "The method is not allowed here.")
        }
        ClientFault::FieldsTooLarge(what) => {
            with(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "fields-too-large", what)
        }
        ClientFault::TargetTooLong => {
            with(StatusCode::URI_TOO_LONG, "target-too-long", "The request target is too long.")
        }
        ClientFault::Content(STALLED) => {
            with(StatusCode::REQUEST_TIMEOUT, "content", "The request's content stopped arriving.")
        }
        ClientFault::Content(_) => {
            with(StatusCode::BAD_REQUEST, "content", "The request's content did not arrive.")
        }
        ClientFault::Loop => {
            with(StatusCode::LOOP_DETECTED, "loop", "The request has passed this proxy before.")
        }
        ClientFault::OnlyIfCached => with(
            StatusCode::GATEWAY_TIMEOUT,
            "only-if-cached",
            "Nothing stored satisfies only-if-cached.",
        ),
    }
}

fn origin(fault: &OriginFault) -> Answer {
    match fault {
        OriginFault::Connect(_) => {
            with(StatusCode::BAD_GATEWAY, "origin-connect", "The origin cannot be reached.")
        }
        OriginFault::Busy(_) => with(
            StatusCode::SERVICE_UNAVAILABLE,
            "origin-busy",
            "No connection to the origin became free in time.",
        ),
        OriginFault::Timeout(_) => with(
            StatusCode::GATEWAY_TIMEOUT,
            "origin-timeout",
            "The origin did not answer in time.",
        ),
        OriginFault::Broken(_) => with(
            StatusCode::BAD_GATEWAY,
            "origin-broken",
            "The exchange with the origin broke off.",
        ),
        OriginFault::Answered(status) => with(
            StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY),
            "origin-error",
            "The origin failed.",
        ),
        OriginFault::Malformed(_) => with(
            StatusCode::BAD_GATEWAY,
            "origin-malformed",
            "The origin's response cannot be forwarded.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::time::Duration;
    use tower::ServiceExt;

    fn every_fault() -> Vec<(ProxyError, u16, &'static str)> {
        let second = Duration::from_secs(1);
        vec![
            (ClientFault::Malformed("no host").into(), 400, "malformed"),
            (ClientFault::Malformed(UNKNOWN_EXPECTATION).into(), 417, "malformed"),
            (ClientFault::Content(STALLED).into(), 408, "content"),
            (ClientFault::Content("it broke off").into(), 400, "content"),
            (ClientFault::Method("TRACE".into()).into(), 405, "method"),
            (ClientFault::TargetTooLong.into(), 414, "target-too-long"),
            (ClientFault::FieldsTooLarge("too many").into(), 431, "fields-too-large"),
            (ClientFault::Loop.into(), 508, "loop"),
            (ClientFault::OnlyIfCached.into(), 504, "only-if-cached"),
            (OriginFault::Connect("10.0.0.7 refused".into()).into(), 502, "origin-connect"),
            (OriginFault::Busy(second).into(), 503, "origin-busy"),
            (OriginFault::Timeout(second).into(), 504, "origin-timeout"),
            (OriginFault::Broken("10.0.0.7 reset".into()).into(), 502, "origin-broken"),
            (OriginFault::Malformed("secret").into(), 502, "origin-malformed"),
            (ProxyError::Overloaded("secret"), 503, "overloaded"),
            (ProxyError::Unrecorded("secret"), 503, "unrecorded"),
            (ProxyError::Ours("secret"), 500, "internal"),
        ]
    }

    #[tokio::test]
    async fn every_fault_has_its_status_and_tells_nothing_of_the_inside() {
        for (error, status, fault) in every_fault() {
            let response = respond(&error, Version::HTTP_11);
            assert_eq!(response.status().as_u16(), status, "{error:?}");
            assert_eq!(response.extensions().get(), Some(&Rescued { fault }), "{error:?}");
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
            assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 503, "{error:?}");
            assert_eq!(response.headers().contains_key(ALLOW), status == 405, "{error:?}");
            let text = response.into_body().collect().await.unwrap().to_bytes();
            let problem: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(problem["status"], status, "{error:?}");
            for member in ["type", "title", "detail"] {
                assert!(problem[member].is_string(), "{error:?}: {member}");
            }
            let text = String::from_utf8_lossy(&text);
            for secret in ["10.0.0.7", "secret", "TRACE"] {
                assert!(!text.contains(secret), "{error:?} tells {secret}: {text}");
            }
        }
    }

    #[test]
    fn the_connection_is_closed_only_after_a_client_fault_on_http_1() {
        for (error, ..) in every_fault() {
            let fault = matches!(&error, ProxyError::Client(f) if *f != ClientFault::OnlyIfCached);
            let closes = |version| respond(&error, version).headers().contains_key(CONNECTION);
            assert_eq!(closes(Version::HTTP_11), fault, "{error:?}");
            assert!(!closes(Version::HTTP_2), "{error:?}");
        }
    }

    #[derive(Clone)]
    struct NeverReady;

    impl Service<Request<Body>> for NeverReady {
        type Response = Response<Body>;
        type Error = ProxyError;
        type Future = std::future::Ready<Result<Response<Body>, ProxyError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
            Poll::Ready(Err(ProxyError::Overloaded("from poll_ready")))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            panic!("called without being ready")
        }
    }

    #[tokio::test]
    async fn an_error_from_poll_ready_is_answered_like_any_other() {
        let service = RescueLayer.layer(NeverReady);
        let response = service.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), 503);
    }
}
