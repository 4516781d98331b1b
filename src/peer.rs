//! What travels beside a message, in its extensions: who is at its ends, and what outlives it.
//!
//! | in the extensions of | type | set by | read by |
//! |---|---|---|---|
//! | every request | [`ClientAddr`], [`LocalAddr`] | the server | forwarding, access log |
//! | GET and HEAD with content | [`WithContent`] | forwarding | the cache: never stored |
//! | requests that ask for an upgrade | [`Tunnels`] | the server | forwarding |
//! | responses that end with their connection | [`CloseDelimited`] | the origin | the cache: never stored |
//! | `101 Switching Protocols` | [`Held`] | the origin | forwarding |

use std::any::Any;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Address of the peer that sent the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddr(pub SocketAddr);

/// Address on which its connection was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddr(pub SocketAddr);

/// A GET or HEAD request that carries content. It is passed on, and its response never stored:
/// the content is not part of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithContent;

/// A response that ends when its connection does: nobody can tell whether it is complete, so it
/// is never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseDelimited;

/// Something that is given back when the last clone is dropped, whatever it is.
#[derive(Clone, Debug)]
pub struct Held(pub Arc<dyn Any + Send + Sync>);

/// Where tasks go that outlive the exchange they came from: they run until the server has drained
/// and are cut with the connections that are left at its deadline.
#[derive(Clone, Debug)]
pub struct Tunnels {
    /// The drain waits until this is empty.
    tasks: TaskTracker,
    /// Cancelled at the drain's deadline.
    cut: CancellationToken,
    /// How many were cut; read by the drain's report.
    casualties: Arc<AtomicUsize>,
}

impl Tunnels {
    /// Tasks are tracked in `tasks` and dropped when `cut` is cancelled; each one dropped so is
    /// counted in `casualties`.
    pub const fn new(
        tasks: TaskTracker,
        cut: CancellationToken,
        casualties: Arc<AtomicUsize>,
    ) -> Self {
        Self { tasks, cut, casualties }
    }

    /// Runs `tunnel` to its end or to the drain's deadline.
    pub fn spawn(&self, tunnel: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        let casualties = self.casualties.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = tunnel => {}
                () = cut.cancelled() => {
                    casualties.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
}
