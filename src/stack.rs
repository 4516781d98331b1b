//! The path of a request, top to bottom.
//!
//! Above `rescue` nothing can fail: the compiler holds that every error became a response.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response};
use tower::{Service, ServiceBuilder};

use crate::body::Body;
use crate::config::Config;
use crate::layers::admit::AdmitLayer;
use crate::layers::cache::{CacheLayer, Means};
use crate::layers::forward::ForwardLayer;
use crate::layers::observe::{ObserveLayer, Watch};
use crate::layers::rescue::RescueLayer;
use crate::origin::Origin;

/// Builds the path of a request.
pub fn stack(
    config: &Config,
    watch: Watch,
    means: Arc<Means>,
    origin: Origin,
) -> impl Stack + use<> {
    ServiceBuilder::new()
        // First and last, so that also what is refused below has its line in the log and its count.
        .layer(ObserveLayer::new(watch))
        // Everything below may fail; nothing above can.
        .layer(RescueLayer)
        // Before any work is paid for; its permit is held until the response has been sent.
        .layer(AdmitLayer::new(config.limits.max_requests))
        // Refuses the ambiguous and makes the rest canonical before a key is made, or keys lie;
        // strips what is hop-by-hop before anything is stored.
        .layer(ForwardLayer::new(&config.limits))
        // May answer here and go no further. Misses collapse inside: a hundred become one.
        .layer(CacheLayer::new(means))
        // Balances, pools, and knows nothing of caching.
        .service(origin)
}

/// A stack's service, as a bound.
pub trait Stack:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Stack for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}
