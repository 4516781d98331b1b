//! The one way from here to the origin: waited for, timed and counted.

use http::{Request, Response};

use super::{Means, Origin};
use crate::body::Body;
use crate::error::ProxyError;
use crate::key::tags;
use crate::peer::Interim;
use crate::telemetry::outcome::OriginResult;

/// Sends a request to the origin on behalf of a route.
pub async fn ask<S: Origin>(
    means: &Means,
    inner: &mut S,
    route: usize,
    mut request: Request<Body>,
) -> Result<Response<Body>, ProxyError> {
    // What a response carries for caches is not for clients, in an interim one neither.
    if let Some(interim) = request.extensions_mut().remove::<Interim>() {
        request.extensions_mut().insert(interim.stripped_by(tags::strip));
    }
    let sent = means.now();
    let result = match std::future::poll_fn(|cx| inner.poll_ready(cx)).await {
        Ok(()) => inner.call(request).await,
        Err(error) => Err(error),
    };
    let word = match &result {
        Ok(response) => OriginResult::of_status(response.status().as_u16()),
        Err(_) => OriginResult::Failed,
    };
    means.metrics.origin_request(route, word, means.now().since(sent));
    result
}
