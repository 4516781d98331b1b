//! What a proxy does to a message. Above the cache: a request is understood in one way only
//! before a key is made of it, or the key lies.
//!
//! | file | says |
//! |---|---|
//! | `request` | what is refused, and the steps from a received request to one that may be keyed |
//! | `authority` | what a host is, in the key and for the origin |
//! | `forwarded` | Via, X-Forwarded-*, Forwarded: overwritten, or continued for trusted peers |
//! | `hop` | fields that concern one connection only |
//! | `response` | what is taken from and added to a response |
//! | `upgrade` | 101, and the two sides joined |
//!
//! After this layer a request's URI is absolute, `http://authority/path?query`, its authority in
//! the form that is keyed; its `Host` is rebuilt from the same authority for the origin; path and
//! query are byte for byte what the client sent.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::body::Body;
use crate::config::Limits;
use crate::error::{ClientFault, ProxyError};

pub(super) mod authority;
mod forwarded;
mod hop;
mod request;
mod response;
mod upgrade;

pub(super) use forwarded::{FORWARDED_PROTO, is_guarded, is_trusted, told_https};
use forwarded::{Introduction, Marks};
use request::Next;
use upgrade::Handshake;

/// What `Allow` says where a method is refused.
pub const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// What `ClientFault::Malformed` says of an expectation other than `100-continue`; answered 417.
pub const UNKNOWN_EXPECTATION: &str = "an expectation other than 100-continue cannot be met";

/// Makes [`Forward`].
#[derive(Clone, Debug)]
pub struct ForwardLayer(Arc<Rules>);

impl ForwardLayer {
    /// Within `limits`: the sizes of a request's head, and whose word on the client is taken.
    pub fn new(limits: &Limits) -> Self {
        Self(Arc::new(Rules::new(limits)))
    }
}

impl<S> Layer<S> for ForwardLayer {
    type Service = Forward<S>;

    fn layer(&self, inner: S) -> Forward<S> {
        Forward { inner, rules: Arc::clone(&self.0), introduction: Introduction::default() }
    }
}

/// What is asked of every request.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) max_target: usize,
    pub(super) max_fields: usize,
    pub(super) max_fields_bytes: usize,
    pub(super) trusted: Vec<crate::config::template::Network>,
    marks: Marks,
}

impl Rules {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            max_target: limits.max_target,
            max_fields: limits.max_fields,
            max_fields_bytes: limits.max_fields_bytes,
            trusted: limits.trusted_proxies.clone(),
            marks: Marks::new(),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Forward<S> {
    inner: S,
    rules: Arc<Rules>,
    /// What was worked out for the last request: the next one on a connection mostly comes from
    /// the same client for the same host.
    introduction: Introduction,
}

impl<S: Clone> Clone for Forward<S> {
    /// A clone starts without memories: it is made for another connection or another stream.
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            rules: Arc::clone(&self.rules),
            introduction: Introduction::default(),
        }
    }
}

impl<S> Service<Request<Body>> for Forward<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = ProxyError>,
{
    type Response = Response<Body>;
    type Error = ProxyError;
    type Future = ForwardFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let stage = match request::prepare(&mut request, &self.rules, &mut self.introduction) {
            Ok(Next::Forward { handshake }) => {
                Stage::Forwarded { answer: self.inner.call(request), handshake }
            }
            Ok(Next::Answer(response)) => Stage::Settled { outcome: Some(Ok(response)) },
            Err(fault) => Stage::Settled { outcome: Some(Err(fault)) },
        };
        ForwardFuture { stage }
    }
}

pin_project! {
    /// The inner answer, made fit for the client.
    #[derive(Debug)]
    pub struct ForwardFuture<F> {
        #[pin]
        stage: Stage<F>,
    }
}

pin_project! {
    #[project = StageView]
    #[derive(Debug)]
    enum Stage<F> {
        Settled { outcome: Option<Result<Response<Body>, ClientFault>> },
        Forwarded { #[pin] answer: F, handshake: Option<Box<Handshake>> },
    }
}

impl<F> Future for ForwardFuture<F>
where
    F: Future<Output = Result<Response<Body>, ProxyError>>,
{
    type Output = Result<Response<Body>, ProxyError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().stage.project() {
            StageView::Settled { outcome } => Poll::Ready(match outcome.take() {
                Some(outcome) => outcome.map_err(ProxyError::from),
                None => Err(ProxyError::Ours("a forwarded request was answered twice")),
            }),
            StageView::Forwarded { answer, handshake } => {
                let response = ready!(answer.poll(cx))?;
                Poll::Ready(response::finish(response, handshake.take()))
            }
        }
    }
}
