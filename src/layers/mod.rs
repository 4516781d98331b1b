//! The corridors between the front door and the origin: one layer per file or folder.
//!
//! # How to write a layer here
//!
//! - A layer is a `tower::Service<Request<Body>, Response = Response<Body>>`. Below
//!   [`rescue`] its error is [`ProxyError`](crate::error::ProxyError), above it `Infallible`.
//! - The server calls `poll_ready` before every `call`, keeps the instance that answered one
//!   request for the next one of the same connection, and clones it when a second request comes
//!   before that. So whatever `poll_ready` obtains must be used up by `call`, and whatever `call`
//!   leaves in `self` may serve the next request but never has to.
//! - A future that has to call the inner service later needs a *ready* one: clone `self.inner`,
//!   swap the clone in, take the original. The clone was never asked whether it is ready.
//! - Write the future by hand when its `poll` is one step; box an `async` block otherwise, but
//!   not on the way of a hit.
//! - Errors out of `poll_ready` reach [`rescue`] like all others: return them, do not panic.

pub mod admit;
pub mod cache;
pub mod collapse;
pub mod fast;
pub mod forward;
pub mod handled;
pub mod observe;
pub mod rescue;
