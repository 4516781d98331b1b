//! What became of a request, told upwards in the response's extensions: the layer that observes
//! writes it to the log and counts it.

use std::sync::Arc;
use std::time::Duration;

use http::Response;

use crate::body::Body;
use crate::config::Route;
use crate::semantics::cache_status::CacheStatus;
use crate::telemetry::outcome::Outcome;

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Handled {
    /// The route that applied.
    pub route: Arc<Route>,
    /// In one word.
    pub outcome: Outcome,
    /// Why, in one word.
    pub reason: &'static str,
    /// The same for the client (RFC 9211).
    pub cache_status: CacheStatus,
    /// How long the origin took, if it was asked for this request.
    pub origin_time: Option<Duration>,
    /// How long the origin took when it was asked for the stored response that answers this one.
    pub saved_time: Option<Duration>,
}

/// Attaches it to a response, and tells the client.
pub fn attach(mut response: Response<Body>, handled: Handled) -> Response<Body> {
    handled.cache_status.append_to(response.headers_mut());
    response.extensions_mut().insert(handled);
    response
}
