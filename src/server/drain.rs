//! Graceful shutdown, with a deadline.
//!
//! | phase | begins | connections | tunnels |
//! |---|---|---|---|
//! | open | at the start | served | run |
//! | draining | `finish` is called | finish what is in flight, take nothing new | run |
//! | cut | at the deadline | dropped, counted | dropped, counted |

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
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
    /// Set just before `begin` is.
    has_begun: Arc<AtomicBool>,
    casualties: Arc<AtomicUsize>,
}

impl Drain {
    pub(super) fn new() -> Self {
        Self {
            tasks: TaskTracker::new(),
            begin: CancellationToken::new(),
            cut: CancellationToken::new(),
            has_begun: Arc::default(),
            casualties: Arc::default(),
        }
    }

    /// A connection's view. Its tokens are children: polling them takes no lock that other
    /// connections take.
    pub(super) fn watch(&self) -> DrainWatch {
        DrainWatch {
            begin: self.begin.child_token(),
            cut: self.cut.child_token(),
            has_begun: Arc::clone(&self.has_begun),
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
        self.has_begun.store(true, Ordering::Release);
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
    has_begun: Arc<AtomicBool>,
    casualties: Arc<AtomicUsize>,
    tasks: TaskTracker,
}

impl DrainWatch {
    /// Resolves when draining begins.
    pub(super) fn begun(&self) -> Begun<'_> {
        Begun { token: self.begin.cancelled(), has_begun: &self.has_begun, waker: None }
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

pin_project! {
    /// Resolves when draining begins. A connection polls it whenever anything happens to it: once it is
    /// known who is to be woken, that costs the look at a flag, and no lock.
    pub(super) struct Begun<'a> {
        #[pin]
        token: WaitForCancellationFuture<'a>,
        has_begun: &'a AtomicBool,
        waker: Option<Waker>,
    }
}

impl Future for Begun<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.has_begun.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        if this.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        *this.waker = Some(cx.waker().clone());
        this.token.poll(cx)
    }
}
