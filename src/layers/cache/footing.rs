//! Before the lookup: does this process know enough to answer from what it has?
//!
//! | the request | waits until this process has read | if that takes too long |
//! |---|---|---|
//! | is on a strict route | all that was in the ledger when it came | it gets a floor: [`Doubt::Unconfirmed`] |
//! | shows a position | that | the same: [`Doubt::Behind`] |
//! | neither, or the ledger is this process's own | – | – |
//!
//! A request with a floor is answered as any other, but from nothing that the origin was asked
//! before it came. Floors are few: all requests of one `WINDOW` share one, and wait for it. So
//! they collapse, and an outage costs the origin no more than one request per key and window.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tokio::time::{Instant, sleep};

use super::Means;
use crate::config::{Consistency, OnStoreDown, Route};
use crate::error::ProxyError;
use crate::ledger::{Doubt, Floor, Position};
use crate::semantics::time::Timestamp;
use crate::store::ledger::Intending;

/// How a client shows what it has seen: the `Larder-Position` of a write or a purge.
const MIN_POSITION: HeaderName = HeaderName::from_static("larder-min-position");

/// How long a request waits for this process to reach the position that it shows.
const CATCHING_UP: Duration = Duration::from_millis(500);

/// From one floor to the next: what a request in doubt waits at most for its own, and what all who
/// come meanwhile share.
const WINDOW: Duration = Duration::from_millis(50);

/// What this process must know before it answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footing {
    /// All that was in the ledger when the request came.
    everything: bool,
    /// All up to here.
    position: Option<Position>,
}

impl Footing {
    /// What a request needs; `None` if it can be answered from what this process knows already.
    pub fn of(means: &Means, route: &Route, headers: &HeaderMap) -> Option<Self> {
        let everything = route.consistency == Consistency::Strict && !means.ledger.is_embedded();
        let shown = headers.get(MIN_POSITION).and_then(|value| value.to_str().ok()?.parse().ok());
        let position = shown.filter(|shown| *shown > means.ledger.applied());
        (everything || position.is_some()).then_some(Self { everything, position })
    }

    /// Waits for it. What the request may be served if it does not come in time.
    pub async fn found(self, means: &Means) -> Option<Floor> {
        let doubt = self.sought(means).await?;
        Some(Floor { at: means.floors.next(means.clock).await, doubt })
    }

    /// The same for who only wants to know.
    pub async fn probed(self, means: &Means) -> Option<Floor> {
        let doubt = self.sought(means).await?;
        Some(Floor { at: means.now(), doubt })
    }

    async fn sought(self, means: &Means) -> Option<Doubt> {
        if self.everything {
            let started = Instant::now();
            let outcome = means.ledger.confirm().await;
            means.metrics.strict(outcome.err().map(|why| why.as_str()), started.elapsed());
            if outcome.is_err() {
                return Some(Doubt::Unconfirmed);
            }
        }
        let position = self.position?;
        (!means.ledger.wait_for(position, CATCHING_UP).await).then_some(Doubt::Behind)
    }
}

/// May a write be sent to the origin? On routes that would rather refuse it than have the others
/// learn of it late, only if Valkey has taken its announcement; where it is not announced, only if
/// Valkey is there to take its record. Hands the announcement back.
///
/// # Errors
///
/// It is to be refused.
pub async fn may_write(
    means: &Means,
    route: &Route,
    intending: Option<Intending>,
) -> Result<Option<Intending>, ProxyError> {
    if route.on_store_down == OnStoreDown::Forward {
        return Ok(intending);
    }
    let refusal = match intending {
        Some(intending) if intending.is_taken() => return Ok(Some(intending)),
        Some(intending) => {
            // Valkey may have taken it all the same, too late.
            intending.withdraw();
            "not announced"
        }
        None => match means.ledger.reach().await {
            Ok(()) => return Ok(None),
            Err(why) => why.as_str(),
        },
    };
    means.metrics.write_refused(route.index);
    Err(ProxyError::Unrecorded(refusal))
}

/// The last floor that was given to anybody.
#[derive(Debug, Default)]
pub struct Floors {
    last: Mutex<Timestamp>,
}

impl Floors {
    /// Waits for the floor of whoever calls now.
    async fn next(&self, clock: fn() -> Timestamp) -> Timestamp {
        let at = self.of(clock());
        loop {
            let now = clock();
            if now >= at {
                return at;
            }
            sleep(at.since(now)).await;
        }
    }

    /// The floor of who came in the millisecond `now`: later than that, so that it is later than the
    /// request whatever part of a millisecond that came at.
    fn of(&self, now: Timestamp) -> Timestamp {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last <= now {
            *last = (*last + WINDOW).max(now + Duration::from_millis(1));
        }
        *last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_floor_is_later_than_who_gets_it_and_few_are_given() {
        let floors = Floors::default();
        for (now, floor) in [
            (1_000, 1_001),
            (1_000, 1_001),
            // Who comes in its own millisecond may come after it.
            (1_001, 1_051),
            (1_050, 1_051),
            (1_051, 1_101),
            (5_000, 5_001),
        ] {
            assert_eq!(floors.of(at(now)), at(floor), "{now}");
        }
    }

    #[test]
    fn a_second_has_twenty_floors_at_most() {
        let floors = Floors::default();
        let mut given: Vec<_> = (10_000..11_000).map(|now| floors.of(at(now))).collect();
        given.dedup();
        assert!(given.len() <= 21, "{}", given.len());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gets_a_floor_waits_until_it_is_there() {
        let floors = Floors::default();
        let clock: fn() -> Timestamp = crate::clock::now;
        let mut last = Timestamp::ZERO;
        for _ in 0..5 {
            let came = clock();
            let floor = floors.next(clock).await;
            assert!(came < floor && floor <= clock() && last < floor);
            assert!(clock().since(came) <= WINDOW);
            last = floor;
        }
    }
}
