//! Graceful shutdown, with a deadline.
//!
//! | phase | begins | connections | tunnels |
//! |---|---|---|---|
//! | open | at the start | served | run |
//! | draining | `finish` is called | finish what is in flight, take nothing new | run |
//! | cut | at the deadline | dropped, counted | dropped, counted |

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::peer::Tunnels;

/// How a drain went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections and tunnels that were still busy at the deadline.
    pub cut: usize,
    /// From the signal to the end of the last of them.
    pub took: Duration,
}

/// The server's side: every connection is a task of this.
#[derive(Debug)]
pub(super) struct Drain {
    tasks: TaskTracker,
    begin: CancellationToken,
    cut: CancellationToken,
    casualties: Arc<AtomicUsize>,
}

impl Drain {
    pub(super) fn new() -> Self {
        Self {
            tasks: TaskTracker::new(),
            begin: CancellationToken::new(),
            cut: CancellationToken::new(),
            casualties: Arc::default(),
        }
    }

    /// A connection's view. Its tokens are children: polling them takes no lock that other
    /// connections take.
    pub(super) fn watch(&self) -> DrainWatch {
        DrainWatch {
            begin: self.begin.child_token(),
            cut: self.cut.child_token(),
            casualties: Arc::clone(&self.casualties),
            tasks: self.tasks.clone(),
        }
    }

    pub(super) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(connection);
    }

    pub(super) async fn finish(self, limit: Duration) -> DrainReport {
        let start = Instant::now();
        self.tasks.close();
        self.begin.cancel();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            self.cut.cancel();
            self.tasks.wait().await;
        }
        DrainReport { cut: self.casualties.load(Ordering::Relaxed), took: start.elapsed() }
    }
}

/// What a connection knows of the drain.
#[derive(Debug)]
pub(super) struct DrainWatch {
    begin: CancellationToken,
    cut: CancellationToken,
    casualties: Arc<AtomicUsize>,
    tasks: TaskTracker,
}

impl DrainWatch {
    /// Resolves when draining begins.
    pub(super) async fn begun(&self) {
        self.begin.cancelled().await;
    }

    /// Resolves at the deadline, having counted the caller as cut.
    pub(super) async fn cut(&self) {
        self.cut.cancelled().await;
        self.casualties.fetch_add(1, Ordering::Relaxed);
    }

    /// Where this connection's upgrades may go on when it is done.
    pub(super) fn tunnels(&self) -> Tunnels {
        Tunnels::new(self.tasks.clone(), self.cut.clone(), Arc::clone(&self.casualties))
    }
}
