//! How many requests are in progress at once. More are refused at once: a queue here would only
//! move the waiting to where nobody sees it.
//!
//! A request is in progress until its response's content has ended. Content that is in memory
//! counts as ended when the head is there: nobody has to be waited for to hand it over.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::body::{Body, BodyError};
use crate::error::ProxyError;

/// Admits up to a number of requests, counted over all clones of the services it makes.
#[derive(Clone, Debug)]
pub struct AdmitLayer(Arc<Gate>);

impl AdmitLayer {
    /// Admits `max_requests` at once.
    pub fn new(max_requests: usize) -> Self {
        Self(Arc::new(Gate { limit: max_requests.max(1), inside: AtomicUsize::new(0) }))
    }

    /// How many are in progress now.
    pub fn in_progress(&self) -> usize {
        self.0.inside.load(Ordering::Relaxed)
    }
}

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;

    fn layer(&self, inner: S) -> Admit<S> {
        Admit { inner, gate: Arc::clone(&self.0) }
    }
}

#[derive(Debug)]
struct Gate {
    limit: usize,
    inside: AtomicUsize,
}

/// A place inside; dropping it gives it back.
#[derive(Debug)]
struct Permit(Arc<Gate>);

impl Permit {
    fn try_enter(gate: &Arc<Gate>) -> Option<Self> {
        // Made before the check: dropping it undoes the count, whatever the outcome.
        let before = gate.inside.fetch_add(1, Ordering::Relaxed);
        let permit = Self(Arc::clone(gate));
        (before < gate.limit).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Admit<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S> Service<Request<Body>> for Admit<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = ProxyError>,
{
    type Response = Response<Body>;
    type Error = ProxyError;
    type Future = AdmitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match Permit::try_enter(&self.gate) {
            Some(permit) => AdmitFuture {
                stage: Stage::Admitted { answer: self.inner.call(request), permit: Some(permit) },
            },
            None => AdmitFuture { stage: Stage::Refused },
        }
    }
}

pin_project! {
    /// The inner answer, its content carrying the permit.
    #[derive(Debug)]
    pub struct AdmitFuture<F> {
        #[pin]
        stage: Stage<F>,
    }
}

pin_project! {
    #[project = StageView]
    #[derive(Debug)]
    enum Stage<F> {
        Refused,
        Admitted { #[pin] answer: F, permit: Option<Permit> },
    }
}

impl<F> Future for AdmitFuture<F>
where
    F: Future<Output = Result<Response<Body>, ProxyError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().stage.project() {
            StageView::Refused => {
                Poll::Ready(Err(ProxyError::Overloaded("too many requests in progress")))
            }
            StageView::Admitted { answer, permit } => {
                let response = ready!(answer.poll(cx));
                let permit = permit.take();
                Poll::Ready(response.map(|response| response.map(|body| hold(body, permit))))
            }
        }
    }
}

fn hold(body: Body, permit: Option<Permit>) -> Body {
    if body.is_whole() || body.is_end_stream() {
        return body;
    }
    Body::streaming(Admitted { body, permit })
}

/// Content that keeps a permit until it has ended.
struct Admitted {
    body: Body,
    permit: Option<Permit>,
}

impl HttpBody for Admitted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.permit = None;
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

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use tower::{ServiceExt, service_fn};

    fn request() -> Request<Body> {
        Request::new(Body::empty())
    }

    #[tokio::test]
    async fn one_more_than_the_limit_is_refused_until_one_is_done() {
        let gate = AdmitLayer::new(1);
        let service = gate.layer(service_fn(|_| async {
            let content = Body::streaming(Body::full("slow").boxed_unsync());
            Ok::<_, ProxyError>(Response::new(content))
        }));
        let first = service.clone().oneshot(request()).await.unwrap();
        let refused = service.clone().oneshot(request()).await.unwrap_err();
        assert!(matches!(refused, ProxyError::Overloaded(_)), "{refused:?}");
        assert_eq!(gate.in_progress(), 1, "the refused one does not count");

        first.into_body().collect().await.unwrap();
        assert!(service.clone().oneshot(request()).await.is_ok());
    }

    #[tokio::test]
    async fn an_abandoned_response_gives_its_place_back() {
        let gate = AdmitLayer::new(1);
        let service = gate.layer(service_fn(|_| async {
            let content = Body::streaming(Body::full("slow").boxed_unsync());
            Ok::<_, ProxyError>(Response::new(content))
        }));
        drop(service.clone().oneshot(request()).await.unwrap());
        assert_eq!(gate.in_progress(), 0);
        let mut asked = Box::pin(service.oneshot(request()));
        let _ = futures_poll_once(asked.as_mut()).await;
        drop(asked);
        assert_eq!(gate.in_progress(), 0);
    }

    #[tokio::test]
    async fn content_in_memory_keeps_no_place() {
        let gate = AdmitLayer::new(1);
        let service = gate
            .layer(service_fn(|_| async { Ok::<_, ProxyError>(Response::new(Body::full("hit"))) }));
        let _response = service.oneshot(request()).await.unwrap();
        assert_eq!(gate.in_progress(), 0);
    }

    async fn futures_poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|cx| {
            Poll::Ready(match future.as_mut().poll(cx) {
                Poll::Ready(output) => Some(output),
                Poll::Pending => None,
            })
        })
        .await
    }
}
