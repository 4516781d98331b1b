//! The front door: accepts connections, speaks HTTP/1.1 and HTTP/2 by prior knowledge with the
//! client, and shuts down without losing what is in flight. Takes any service; knows no layer.
//!
//! | a client that | is | after |
//! |---|---|---|
//! | says nothing, or stops inside a head | closed | `header_timeout` |
//! | stops inside a request's content | answered 408 (the content fails) | `body_timeout` |
//! | takes in nothing of a response | cut | `write_timeout` |
//! | has no request in progress (HTTP/2) | told to go away | `header_timeout`, at most twice |
//! | is still busy when the drain's time is up | cut, and counted | `drain_timeout` |

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use http::{Request, Response};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::Service;

use crate::body::Body;
use crate::config::Limits;
use crate::fast::FastPath;
use crate::peer::{ClientAddr, LocalAddr};

mod connection;
mod desk;
mod drain;
mod exchange;
mod head;
mod interim;
mod io;
mod listener;
mod stream;
#[cfg(test)]
mod tests;
mod turn;

pub use drain::DrainReport;
pub use listener::bind;

use connection::Protocols;
use drain::Drain;

/// Serves every connection that `listener` accepts with clones of `service` and of `fast`, which may
/// answer requests of HTTP/1.1 before `service` is asked (`()` answers none), until `shutdown` resolves; then drains: the listener is closed, clients are told to go away, requests in flight
/// may finish within `limits.drain_timeout`, and what is left then is cut.
///
/// Requests carry [`ClientAddr`] and [`LocalAddr`] in their extensions,
/// [`Tunnels`](crate::peer::Tunnels) if they ask for an upgrade, and
/// [`Interim`](crate::peer::Interim) if their client understands interim responses.
pub async fn serve<S, Q>(
    listener: TcpListener,
    (service, fast): (S, Q),
    limits: &Limits,
    shutdown: impl Future<Output = ()>,
) -> DrainReport
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    Q: FastPath,
{
    let protocols = Arc::new(Protocols::new(limits));
    let seats = limits.max_connections.clamp(1, Semaphore::MAX_PERMITS);
    let seats = Arc::new(Semaphore::new(seats));
    let drain = Drain::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let next = async {
            // A seat first: without one the client waits in the kernel's backlog.
            let seat = Arc::clone(&seats).acquire_owned().await;
            (seat, listener::accept(&listener).await)
        };
        let (seat, (stream, client)) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            next = next => next,
        };
        let Ok(local) = stream.local_addr() else { continue };
        let ends = (ClientAddr(client), LocalAddr(local));
        let connection = connection::run(
            stream,
            ends,
            (service.clone(), fast.clone()),
            Arc::clone(&protocols),
            drain.watch(),
        );
        drain.spawn(async move {
            let _seat = seat;
            connection.await;
        });
    }
    drop(listener);
    drain.finish(limits.drain_timeout).await
}
