//! Sent on without the store: what is not ours to cache, and HEAD when nothing is stored.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};

use super::ask::ask;
use super::asked::Asked;
use super::fetch::Step;
use super::{Means, Origin, refused};
use crate::body::Body;
use crate::config::Route;
use crate::error::{OriginFault, ProxyError};
use crate::key::tags;
use crate::layers::handled::{Handled, attach};
use crate::plan::{FetchReason, PassReason};
use crate::semantics::cache_status::{CacheStatus, Forwarded};
use crate::semantics::reuse::Demands;
use crate::telemetry::outcome::Outcome;

/// Sends a request on; both bodies stream.
pub async fn send_on<S: Origin>(
    means: Arc<Means>,
    mut inner: S,
    route: Arc<Route>,
    request: Request<Body>,
    reason: PassReason,
) -> Result<Response<Body>, ProxyError> {
    // RFC 9111 §5.2.1.7: "only wishes to obtain a stored response", and here is none for it.
    let reads = request.method() == Method::GET || request.method() == Method::HEAD;
    if reads && Demands::of(request.headers()).only_if_cached {
        return Ok(refused(&route));
    }
    let sent = means.now();
    let response = ask(&means, &mut inner, route.index, request).await?;
    let took = means.now().since(sent);
    Ok(passed(response, route, (reason.forwarded(), reason.as_str()), took))
}

/// Asks for the head alone: it cannot fill an entry, and a GET in its place could cost the origin
/// far more than was asked.
pub async fn head<S: Origin>(means: &Means, inner: &S, asked: &Asked, reason: FetchReason) -> Step {
    let sent = means.now();
    match ask(means, &mut inner.clone(), asked.route.index, asked.pass_on()).await {
        Ok(response) => {
            let (route, took) = (Arc::clone(&asked.route), means.now().since(sent));
            Step::Done(passed(response, route, (reason.forwarded(), "head"), took))
        }
        Err(ProxyError::Origin(fault)) => Step::Failed(fault),
        Err(other) => Step::Failed(OriginFault::Broken(other.to_string())),
    }
}

fn passed(
    mut response: Response<Body>,
    route: Arc<Route>,
    (forwarded, reason): (Forwarded, &'static str),
    took: Duration,
) -> Response<Body> {
    tags::strip(response.headers_mut());
    let cache_status = CacheStatus {
        fwd: Some(forwarded),
        fwd_status: Some(response.status().as_u16()),
        detail: Some(reason.into()),
        ..CacheStatus::default()
    };
    let handled = Handled {
        route,
        outcome: Outcome::Pass,
        reason,
        cache_status,
        origin_time: Some(took),
        saved_time: None,
    };
    attach(response, handled)
}
