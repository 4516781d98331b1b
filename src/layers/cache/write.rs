//! An unsafe request: announced, sent on, and what it changes is invalidated before its answer is
//! released.
//!
//! | step | if this process dies after it |
//! |---|---|
//! | announced, with what is known of its names | at its deadline the others invalidate these |
//! | sent to the origin | the same |
//! | its outcome is known, or known to be unknown: recorded, and the announcement taken back | nothing is left to do |
//! | `settle` later: recorded again | at the deadline of that the others do it |

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::ask::ask;
use super::represent::Noted;
use super::{Means, Origin, footing, settle};
use crate::body::Body;
use crate::config::Route;
use crate::config::captures::Captures;
use crate::error::ProxyError;
use crate::key::{groups, tags, url};
use crate::layers::handled::{Handled, attach};
use crate::ledger::name::Name;
use crate::ledger::{Cause, Mode};
use crate::plan::write::invalidates;
use crate::semantics::cache_status::{CacheStatus, Forwarded};
use crate::semantics::invalidation::{parent, referenced};
use crate::store::ledger::{Intending, Receipt};
use crate::telemetry::outcome::Outcome;

/// The field that tells where in the ledger a write was recorded.
pub const POSITION_FIELD: http::HeaderName = http::HeaderName::from_static("larder-position");

/// Carries out a write. It goes on if the client leaves: once the origin may have the request,
/// what it changes must be invalidated.
pub async fn carry_out<S: Origin>(
    means: Arc<Means>,
    inner: S,
    route: Arc<Route>,
    captures: Captures,
    request: Request<Body>,
) -> Result<Response<Body>, ProxyError> {
    let writes = means.writes.clone();
    let write = Write { means, route, captures };
    Lasting::new(writes, write.run(inner, request)).await
}

/// A future that runs to its end: while somebody waits for it, there and then; afterwards as a task
/// of its own. Most clients wait, so most writes need no task.
struct Lasting<F: Future<Output: Send> + Send + 'static> {
    /// `None` once it has ended, or panicked.
    future: Option<Pin<Box<F>>>,
    tasks: TaskTracker,
    /// It counts as one of them from the beginning.
    _counted: TaskTrackerToken,
}

impl<F: Future<Output: Send> + Send + 'static> Lasting<F> {
    fn new(tasks: TaskTracker, future: F) -> Self {
        Self { future: Some(Box::pin(future)), _counted: tasks.token(), tasks }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Lasting<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Out of its place meanwhile: one that panics is not polled again.
        let Some(mut future) = self.future.take() else { return Poll::Pending };
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() {
            self.future = Some(future);
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Lasting<F> {
    fn drop(&mut self) {
        if let (Some(future), Ok(runtime)) = (self.future.take(), Handle::try_current()) {
            self.tasks.spawn_on(future, &runtime);
        }
    }
}

/// The target of a write, and the same under the `Host` that the client named.
fn targets(request: &Request<Body>) -> Vec<Uri> {
    let uri = request.uri();
    let named = request.headers().get(HOST).and_then(|host| {
        Uri::builder()
            .scheme(uri.scheme_str().unwrap_or("http"))
            .authority(host.as_bytes())
            .path_and_query(uri.path_and_query()?.clone())
            .build()
            .ok()
    });
    [Some(uri.clone()), named.filter(|named| named != uri)].into_iter().flatten().collect()
}

/// The groups that the answer names (RFC 9875 §3), of the canonical target's origin.
fn grouped(targets: &[Uri], answer: Option<&Response<Body>>) -> Vec<Name> {
    let named = targets.first().zip(answer);
    named.map_or_else(Vec::new, |(target, answer)| groups::written(target, answer.headers()))
}

struct Write {
    means: Arc<Means>,
    route: Arc<Route>,
    captures: Captures,
}

impl Write {
    async fn run<S: Origin>(
        self,
        mut inner: S,
        request: Request<Body>,
    ) -> Result<Response<Body>, ProxyError> {
        let targets = targets(&request);
        let noted = Noted::of(&self.means, &self.route, &request);
        let intending = self.announce(&targets).await;
        let intending = footing::may_write(&self.means, &self.route, intending).await?;
        let sent = self.means.now();
        let result = ask(&self.means, &mut inner, self.route.index, request).await;
        let received = self.means.now();
        let took = received.since(sent);
        let status = result.as_ref().map(Response::status);
        let carried_out = invalidates(status);
        let mut names = grouped(&targets, result.as_ref().ok());
        if carried_out {
            names.extend(self.names(&targets, result.as_ref().ok()));
        }
        let receipt = if carried_out || !names.is_empty() {
            Some(self.record(intending, names).await)
        } else {
            intending.into_iter().for_each(Intending::withdraw);
            None
        };
        let (mut response, stored) = match (noted, &receipt) {
            (Some(noted), Some(receipt)) => {
                noted.keep::<S>(&self.means, &targets, receipt, (result?, received))
            }
            _ => (result?, false),
        };
        tags::strip(response.headers_mut());
        Ok(self.answer(response, receipt.as_ref(), took, stored))
    }

    /// Tells the others that a write is coming, unless the route does without.
    async fn announce(&self, targets: &[Uri]) -> Option<Intending> {
        if !self.route.announce {
            return None;
        }
        let names = self.names(targets, None);
        Some(self.means.ledger.intend(names, Cause::Abandoned, self.means.intent_span).await)
    }

    async fn record(&self, intending: Option<Intending>, names: Vec<Name>) -> Receipt {
        let ledger = &self.means.ledger;
        let settling = settle::plan(ledger, self.route.settle, names.clone());
        let recording = async {
            match intending {
                Some(intending) => intending.invalidate(names, Cause::Write).await,
                None => ledger.invalidate(names, Mode::Hard, Cause::Write).await,
            }
        };
        // Both go to Valkey together.
        let (receipt, settling) = tokio::join!(recording, settling);
        settle::later(settling, self.route.settle);
        receipt
    }

    /// What a write changes. The origin refers to its resources by the host that it was told, which
    /// may have a port that the canonical target lacks.
    fn names(&self, targets: &[Uri], answer: Option<&Response<Body>>) -> Vec<Name> {
        let Some(target) = targets.first() else { return Vec::new() };
        let referred = |answer: &Response<Body>| {
            targets.iter().flat_map(|target| referenced(target, answer.headers())).collect()
        };
        let named: Vec<String> = answer.map(referred).unwrap_or_default();
        let parent = if self.route.invalidate_parent { parent(target.path()) } else { None };
        url::written(&self.route, &self.captures, target, &named, parent)
    }

    fn answer(
        &self,
        mut response: Response<Body>,
        receipt: Option<&Receipt>,
        took: std::time::Duration,
        stored: bool,
    ) -> Response<Body> {
        let reason = match receipt {
            Some(receipt) if receipt.owed => "invalidation-owed",
            Some(receipt) if !receipt.durable => "invalidated-not-replicated",
            Some(_) => "invalidated",
            None => "nothing-changed",
        };
        if let Some(receipt) = receipt
            && let Ok(position) = HeaderValue::try_from(receipt.position.to_string())
        {
            crate::semantics::fields::replace(response.headers_mut(), POSITION_FIELD, position);
        }
        let status = CacheStatus {
            fwd: Some(Forwarded::Method),
            fwd_status: Some(response.status().as_u16()),
            stored,
            detail: Some(reason.into()),
            ..CacheStatus::default()
        };
        let handled = Handled {
            route: Arc::clone(&self.route),
            outcome: Outcome::Pass,
            reason,
            cache_status: status,
            origin_time: Some(took),
            saved_time: None,
        };
        attach(response, handled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_goes_on_and_is_waited_for_by_the_drain() {
        let tasks = TaskTracker::new();
        let (go, gone) = oneshot::channel::<()>();
        let (done, mut ended) = oneshot::channel();
        let mut lasting = Box::pin(Lasting::new(tasks.clone(), async move {
            let _ = gone.await;
            let _ = done.send(());
        }));
        assert!(
            std::future::poll_fn(|cx| Poll::Ready(lasting.as_mut().poll(cx))).await.is_pending()
        );
        tasks.close();
        assert_eq!(tasks.len(), 1, "it counts from the beginning");
        drop(lasting);
        assert!(ended.try_recv().is_err());
        go.send(()).unwrap();
        tasks.wait().await;
        assert!(ended.try_recv().is_ok());
    }

    #[tokio::test]
    async fn what_is_waited_for_needs_no_task() {
        let tasks = TaskTracker::new();
        assert_eq!(Lasting::new(tasks.clone(), async { 7 }).await, 7);
        assert!(tasks.is_empty());
    }
}
