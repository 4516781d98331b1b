//! One fetch per key.
//!
//! | state of a flight | means | who asks for its key |
//! |---|---|---|
//! | (none) | nobody is asking the origin | starts a flight and leads it |
//! | [`State::Looking`] | nobody knows yet whether the origin has to be asked | waits, or takes part in the look |
//! | [`State::Fetching`] | the origin has not answered yet | waits |
//! | [`State::Settled`] | it has, see [`Settlement`] | is answered at once |
//!
//! **The property:** a request joins a flight only if nothing it asks for was invalidated since the
//! flight began, and is fed by it only if what came back may be shared, is the variant it asked
//! for, and was not invalidated meanwhile. Whoever is not fed asks again. A flight belongs to
//! nobody's connection: its task ends when the origin's answer has been read and stored.

pub mod content;

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderName;
use http::response::Parts;
use tokio::sync::watch;

use crate::error::OriginFault;
use crate::key::Digest;
use crate::ledger::Position;
use crate::semantics::time::Timestamp;
use crate::store::Entry;

use content::Content;

/// Flights by key. Spread over shards, so that cold keys do not queue for one lock.
#[derive(Debug)]
pub struct Flights {
    shards: Box<[Mutex<Shard>]>,
}

type Shard = HashMap<Digest, Arc<Flight>>;

/// One fill under way.
#[derive(Debug)]
pub struct Flight {
    /// Key it fills.
    pub digest: Digest,
    /// Position applied here before the origin was asked.
    pub as_of: Position,
    /// When it began.
    pub began: Timestamp,
    state: watch::Sender<State>,
}

/// How far a flight is.
#[derive(Debug, Clone)]
pub enum State {
    /// It may be in the store that processes share.
    Looking,
    /// The origin has not answered yet.
    Fetching,
    /// It has.
    Settled(Settlement),
}

/// What a flight came to.
#[derive(Debug, Clone)]
pub enum Settlement {
    /// A response that may be shared, its content still arriving.
    Shared(Arc<Shared>),
    /// An entry, and where it comes from.
    Entry(Arc<Entry>, Found),
    /// The response is under another key, since it varies on these fields (or on none any more).
    Varies(Option<Vec<HeaderName>>),
    /// The answer is for the one who asked for it: the others fetch for themselves.
    Unshareable,
    /// The origin failed; what there is to serve instead.
    Failed(OriginFault, Option<Arc<Entry>>),
    /// The origin failed a moment ago and was not asked again; what there is to serve instead.
    BackingOff(Option<Arc<Entry>>),
    /// The flight was given up: look again.
    Again,
}

/// Where a flight's entry comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It was in the store that processes share: each request judges it for itself.
    Stored,
    /// The origin said 304 after this long: the stored response still stands.
    Validated(Duration),
    /// Another process filled it.
    Elsewhere,
}

/// The response of a fill, as its waiters see it.
#[derive(Debug)]
pub struct Shared {
    /// Status line and fields, ready to be stored.
    pub head: Parts,
    /// Content as it arrives.
    pub content: Arc<Content>,
    /// The entry without its content: times, tags known from the head.
    pub entry: Entry,
    /// Request fields that it varies on, with the values that this response was chosen by.
    pub varies: Vec<(HeaderName, Option<Vec<u8>>)>,
    /// False for an error of the origin's, which only those who wait for it now share.
    pub stored: bool,
    /// What there is to serve instead of an error.
    pub instead: Option<Arc<Entry>>,
}

/// What came of asking to join.
#[derive(Debug)]
pub enum Joined {
    /// Nobody was asking: lead. Dropping the guard without settling frees the waiters.
    Lead(Lead),
    /// Somebody is.
    Follow(Arc<Flight>),
}

/// The duty to settle a flight. Not `Clone`: two leaders would be two fetches.
#[derive(Debug)]
pub struct Lead {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    /// Second key under which it is found.
    variant: Option<Digest>,
}

impl Default for Flights {
    fn default() -> Self {
        Self { shards: (0..64).map(|_| Mutex::default()).collect() }
    }
}

impl Flights {
    /// Joins the flight for `digest`, or starts one.
    ///
    /// `still_good` judges a flight's `as_of` and beginning against what is known now; a flight
    /// that fails it keeps its earlier waiters but is open to nobody else.
    pub fn join(
        self: &Arc<Self>,
        digest: Digest,
        as_of: Position,
        now: Timestamp,
        still_good: impl FnOnce(&Flight) -> bool,
    ) -> Joined {
        self.join_as(State::Fetching, digest, (as_of, now), still_good)
    }

    /// The same for who only looks in the store that processes share: whoever follows judges for
    /// itself what is found there.
    pub fn look(self: &Arc<Self>, digest: Digest, as_of: Position, now: Timestamp) -> Joined {
        self.join_as(State::Looking, digest, (as_of, now), |_| true)
    }

    fn join_as(
        self: &Arc<Self>,
        state: State,
        digest: Digest,
        (as_of, began): (Position, Timestamp),
        still_good: impl FnOnce(&Flight) -> bool,
    ) -> Joined {
        let mut shard = self.shard(digest);
        match shard.entry(digest) {
            Slot::Occupied(slot) if still_good(slot.get()) => {
                Joined::Follow(Arc::clone(slot.get()))
            }
            slot => {
                let state = watch::Sender::new(state);
                let flight = Arc::new(Flight { digest, as_of, began, state });
                slot.insert_entry(Arc::clone(&flight));
                Joined::Lead(Lead { flights: Arc::clone(self), flight, variant: None })
            }
        }
    }

    /// Is there a flight for `digest` now, open or not?
    pub fn has(&self, digest: Digest) -> bool {
        self.shard(digest).contains_key(&digest)
    }

    /// Flights under way.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|s| lock(s).len()).sum()
    }

    /// True if nothing is being filled.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, digest: Digest) -> MutexGuard<'_, Shard> {
        let at = usize::from(digest.0[0]) % self.shards.len();
        lock(&self.shards[at])
    }

    fn close(&self, digest: Digest, flight: &Arc<Flight>) {
        let mut shard = self.shard(digest);
        if shard.get(&digest).is_some_and(|f| Arc::ptr_eq(f, flight)) {
            shard.remove(&digest);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flight {
    /// May a request that comes now join? Not if what the flight brought is there already and may
    /// not be used without asking (RFC 9111 §4): then this request asks for itself.
    pub fn is_open(&self, now: Timestamp) -> bool {
        match &*self.state.borrow() {
            State::Looking | State::Fetching => true,
            State::Settled(Settlement::Shared(shared)) => {
                let lasts = shared.entry.times().is_fresh(now);
                shared.stored && lasts && !shared.content.is_broken()
            }
            State::Settled(Settlement::Entry(entry, _)) => entry.times().is_fresh(now),
            State::Settled(_) => false,
        }
    }

    /// Has the origin not answered yet? Then its answer is no older than whoever joins now.
    pub fn is_fetching(&self) -> bool {
        matches!(&*self.state.borrow(), State::Looking | State::Fetching)
    }

    /// Is it still being looked for in the store that processes share?
    pub fn is_looking(&self) -> bool {
        matches!(&*self.state.borrow(), State::Looking)
    }

    /// Waits until it has been looked for. An entry that was found; `None` if there is none, or if it
    /// is elsewhere.
    pub async fn looked(&self) -> Option<Arc<Entry>> {
        let mut state = self.state.subscribe();
        let seen = state.wait_for(|state| !matches!(state, State::Looking)).await.ok()?;
        match &*seen {
            State::Settled(Settlement::Entry(entry, Found::Stored)) => Some(Arc::clone(entry)),
            _ => None,
        }
    }

    /// Waits until it is settled.
    pub async fn settled(&self) -> Settlement {
        let mut state = self.state.subscribe();
        loop {
            if let State::Settled(settlement) = &*state.borrow_and_update() {
                return settlement.clone();
            }
            if state.changed().await.is_err() {
                return Settlement::Again;
            }
        }
    }
}

impl Lead {
    /// The flight that this leads.
    pub const fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }

    /// The response turned out to be a variant: who asks for that one finds this flight too.
    pub fn also_under(&mut self, variant: Digest) {
        if variant == self.flight.digest || self.variant.is_some() {
            return;
        }
        if let Slot::Vacant(slot) = self.flights.shard(variant).entry(variant) {
            slot.insert(Arc::clone(&self.flight));
            self.variant = Some(variant);
        }
    }

    /// There is nothing in the store that processes share: the origin is to be asked.
    pub fn goes_on(&self) {
        self.flight.state.send_replace(State::Fetching);
    }

    /// Tells the waiters what came of it. The flight stays open to others until it is dropped.
    pub fn settle(&self, settlement: Settlement) {
        self.flight.state.send_replace(State::Settled(settlement));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.flights.close(self.flight.digest, &self.flight);
        if let Some(variant) = self.variant {
            self.flights.close(variant, &self.flight);
        }
        self.flight.state.send_if_modified(|state| {
            let orphaned = matches!(state, State::Looking | State::Fetching);
            if orphaned {
                *state = State::Settled(Settlement::Again);
            }
            orphaned
        });
    }
}

impl Shared {
    /// Is this the variant that a request with these field values asks for?
    pub fn answers(&self, value: impl Fn(&HeaderName) -> Option<Vec<u8>>) -> bool {
        self.varies.iter().all(|(name, chosen)| value(name) == *chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Digest = Digest([7; 16]);

    fn join(flights: &Arc<Flights>, good: bool) -> Joined {
        flights.join(KEY, Position::ZERO, Timestamp::ZERO, |_| good)
    }

    #[tokio::test]
    async fn the_first_leads_and_the_others_follow_until_it_is_settled() {
        let flights = Arc::new(Flights::default());
        let Joined::Lead(lead) = join(&flights, true) else { panic!("nobody was there") };
        let Joined::Follow(flight) = join(&flights, true) else { panic!("somebody leads") };
        lead.settle(Settlement::Unshareable);
        assert!(matches!(flight.settled().await, Settlement::Unshareable));
    }

    #[tokio::test]
    async fn nobody_joins_a_flight_that_began_before_an_invalidation() {
        let flights = Arc::new(Flights::default());
        let Joined::Lead(old) = join(&flights, true) else { panic!() };
        let Joined::Lead(new) = join(&flights, false) else { panic!("joined an old flight") };
        drop(old);
        let Joined::Follow(flight) = join(&flights, true) else { panic!("the new one is open") };
        assert!(Arc::ptr_eq(&flight, new.flight()));
    }

    #[tokio::test]
    async fn who_takes_part_in_a_look_waits_for_nothing_else() {
        let flights = Arc::new(Flights::default());
        let look = || flights.look(KEY, Position::ZERO, Timestamp::ZERO);
        let Joined::Lead(lead) = look() else { panic!("nobody was there") };
        let Joined::Follow(flight) = look() else { panic!("somebody looks") };
        assert!(flight.is_looking() && flight.is_fetching());
        let mut looked = std::pin::pin!(flight.looked());
        assert!(futures_util::poll!(&mut looked).is_pending());
        lead.goes_on();
        assert!(looked.await.is_none());
        assert!(!flight.is_looking() && flight.is_fetching());
        drop(lead);
        assert!(flight.looked().await.is_none());

        let Joined::Lead(lead) = look() else { panic!("the other one is over") };
        let Joined::Follow(flight) = look() else { panic!("somebody looks") };
        drop(lead);
        assert!(flight.looked().await.is_none());
    }

    #[tokio::test]
    async fn a_leader_that_dies_frees_its_waiters() {
        let flights = Arc::new(Flights::default());
        let Joined::Lead(lead) = join(&flights, true) else { panic!() };
        let Joined::Follow(flight) = join(&flights, true) else { panic!() };
        drop(lead);
        assert!(matches!(flight.settled().await, Settlement::Again));
        assert!(flights.is_empty());
    }
}
