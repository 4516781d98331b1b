//! Sent on without the store: what is not ours to cache.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};

use super::ask::ask;
use super::{Means, Origin, refused};
use crate::body::Body;
use crate::config::Route;
use crate::error::ProxyError;
use crate::key::tags;
use crate::layers::handled::{Handled, attach};
use crate::plan::PassReason;
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

/// The origin's answer, marked as passed on.
pub fn passed(
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
