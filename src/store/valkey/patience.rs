//! How long an answer is waited for, told apart from how long this process took to look.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// A timer that comes this much later than it was set for says that this process is short of time.
const LATE: Duration = Duration::from_millis(5);

/// How many more budgets a call gets when it was this process that was slow.
const MORE: u32 = 2;

/// Waits for `future`, at most `budget`.
///
/// When a crowd arrives, tasks wait for their turn: the answer may long be in the socket when the
/// timer is looked at. The timer then comes late too, and that is the sign: the call gets another
/// budget, so that Valkey is not given up for what this process is slow at.
///
/// # Errors
/// If it took longer.
pub(super) async fn within<F: Future>(budget: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut deadline = Instant::now() + budget;
    for _ in 0..MORE {
        match timeout_at(deadline, &mut future).await {
            Err(_) if deadline.elapsed() > LATE => deadline = Instant::now() + budget,
            outcome => return outcome,
        }
    }
    timeout_at(deadline, future).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::task::yield_now;

    const BUDGET: Duration = Duration::from_millis(50);

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_is_given_up_after_its_budget() {
        let started = Instant::now();
        assert!(within(BUDGET, pending::<()>()).await.is_err());
        assert!(started.elapsed() < BUDGET + LATE, "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_was_busy_itself_looks_again() {
        let answer = async {
            // The answer was on its way, and nobody looked.
            tokio::time::advance(BUDGET * 2).await;
            yield_now().await;
            yield_now().await;
            7
        };
        assert_eq!(within(BUDGET, answer).await.ok(), Some(7));
    }
}
