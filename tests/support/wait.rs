//! Waiting for something that takes a moment, without guessing how long.

use std::time::Duration;

use tokio::time::Instant;

/// The longest that anything here takes on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until it holds; fails if it does not within [`PATIENCE`].
pub(crate) async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    within(PATIENCE, what, holds).await;
}

/// Waits until it holds; fails if it does not within `limit`.
pub(crate) async fn within(limit: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Looks again and again for a moment, and fails if it ever does not hold. For what must *not*
/// happen, where nothing tells that it could happen no more.
pub(crate) async fn stays(moment: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + moment;
    while Instant::now() < deadline {
        assert!(holds().await, "did not stay so: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs it to its end; fails if that takes longer than [`PATIENCE`].
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}
