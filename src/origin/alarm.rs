//! One timer for one deadline after another. Most are never reached: the timer is not set anew for
//! each, it is looked at when it rings, and only then set to the one that counts by then.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

/// See the module.
#[derive(Debug)]
pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// Rings first at `due`, whether or not anybody waits.
    pub(super) fn new(due: Instant) -> Self {
        Self(Box::pin(tokio::time::sleep_until(due)))
    }

    /// Ready at `due`, not earlier.
    pub(super) fn poll(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.deadline() > due {
            self.0.as_mut().reset(due);
        }
        loop {
            ready!(self.0.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// After how many milliseconds it rings for each of these deadlines, one after the other.
    async fn rings(deadlines: &[u64]) -> Vec<u128> {
        let start = Instant::now();
        let mut alarm = Alarm::new(start + Duration::from_millis(1000));
        let mut rung = Vec::new();
        for due in deadlines {
            let due = start + Duration::from_millis(*due);
            std::future::poll_fn(|cx| alarm.poll(due, cx)).await;
            rung.push(start.elapsed().as_millis());
        }
        rung
    }

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_each_deadline_whatever_it_was_set_to_before() {
        assert_eq!(rings(&[1000, 3000, 3500]).await, [1000, 3000, 3500]);
        assert_eq!(rings(&[500, 5000]).await, [500, 5000]);
        assert_eq!(rings(&[5000]).await, [5000]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_has_passed_rings_at_once() {
        assert_eq!(rings(&[2000, 100]).await, [2000, 2000]);
    }
}
