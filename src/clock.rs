//! The only file that may ask what time it is.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::semantics::time::Timestamp;

/// Where this process's time began: the wall clock and the monotonic clock at one moment.
static START: OnceLock<(Instant, u64)> = OnceLock::new();

/// Now. Starts from the wall clock, then follows the monotonic clock: it never steps back.
pub fn now() -> Timestamp {
    let (start, wall) = START.get_or_init(|| (Instant::now(), wall_millis()));
    Timestamp::from_millis(*wall) + start.elapsed()
}

/// The wall clock, for `Date` fields and log lines.
pub fn wall() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(wall_millis())
}

#[expect(clippy::disallowed_methods, reason = "this is the file the ban points to")]
fn wall_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
