//! What every [`Store`] promises, as a suite that any implementation can be put through. A broken
//! promise is a panic that says which.
//!
//! | promise | of |
//! |---|---|
//! | what was put is found, as it was, until its `keep_until` | all |
//! | another key with the same digest is a miss | all |
//! | the last put wins; what was removed is gone | all |
//! | a put is visible to `peek` when its future is first polled | [`Kind::Memory`], [`Kind::Tiered`] |
//! | what was fetched is in memory from then on | [`Kind::Memory`], [`Kind::Tiered`] |
//! | one lease per key; it lapses; only its holder renews and releases it | [`Kind::Shared`], [`Kind::Tiered`] |
//! | leases are always granted | [`Kind::Memory`] |

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use super::{Draft, Entry, Lease, LeaseEnd, LeaseToken, Record, Store, StoreError, Varies};
use crate::clock;
use crate::key::{Digest, Key};
use crate::ledger::Position;
use crate::semantics::stored::{StoredResponse, Times};
use crate::semantics::time::Timestamp;

/// What kind of store is put to the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In this process alone.
    Memory,
    /// Shared by processes, nothing in memory.
    Shared,
    /// Memory in front of a shared tier.
    Tiered,
}

impl Kind {
    fn has_memory(self) -> bool {
        self != Self::Shared
    }

    fn is_shared(self) -> bool {
        self != Self::Memory
    }
}

/// Long enough for anything that has to happen in a test.
const PATIENCE: Duration = Duration::from_secs(5);
/// Long enough that it does not pass within a test.
const LONG: Duration = Duration::from_secs(60);
/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(200);

/// Puts a store through the whole suite. It must be working, and may hold other things.
pub async fn run(store: &dyn Store, kind: Kind) {
    assert_eq!(store.is_shared(), kind.is_shared(), "is_shared");
    finds_what_was_put(store, kind).await;
    keeps_lists_of_variants(store, kind).await;
    takes_bodies_of_all_sizes(store).await;
    replaces_and_removes(store, kind).await;
    tells_colliding_digests_apart(store).await;
    forgets_in_time(store).await;
    does_not_store_what_has_passed(store).await;
    if kind.has_memory() {
        shows_a_put_at_once(store).await;
    }
    if kind.is_shared() {
        one_holder_at_a_time(store).await;
        leases_lapse_unless_renewed(store).await;
        only_the_holder_ends_a_lease(store).await;
        remembers_how_a_lease_ended(store).await;
    } else {
        always_grants_leases(store).await;
    }
}

async fn finds_what_was_put(store: &dyn Store, kind: Kind) {
    let sample = Sample::unique("found");
    let key = sample.key();
    assert!(store.peek(&key).is_none(), "peek finds what was never put");
    assert!(fetch(store, &key).await.is_none(), "fetch finds what was never put");
    let Record::Entry(written) = sample.entry() else { unreachable!("it is an entry") };
    put(store, &key, Record::Entry(Arc::clone(&written))).await;
    let found = fetch(store, &key).await;
    let Some(Record::Entry(read)) = &found else { panic!("not found by fetch: {found:?}") };
    assert_same(read, &written);
    assert_eq!(store.peek(&key).is_some(), kind.has_memory(), "found by peek");
}

/// Equal but for the milliseconds that a travelling entry ages.
fn assert_same(read: &Entry, written: &Entry) {
    assert_eq!(read.key(), written.key(), "key");
    assert_eq!(read.status(), written.status(), "status");
    assert_eq!(read.lines(), written.lines(), "lines");
    assert_eq!(read.body(), written.body(), "body");
    assert_eq!(read.namespace(), written.namespace(), "namespace");
    assert_eq!(read.url(), written.url(), "url");
    assert_eq!(read.tags(), written.tags(), "tags");
    assert_eq!(read.groups(), written.groups(), "groups");
    assert_eq!(read.belongs(), written.belongs(), "belongs");
    assert_eq!(read.as_of, written.as_of, "as_of");
    assert_eq!(read.fill_time(), written.fill_time(), "fill_time");
    let (read_times, times) = (&read.times(), &written.times());
    for (what, read, written) in [
        ("response_time", read_times.response_time, times.response_time),
        ("fresh_until", read_times.fresh_until, times.fresh_until),
        ("stale_until", read_times.stale_until, times.stale_until),
        ("error_until", read_times.error_until, times.error_until),
        ("keep_until", read_times.keep_until, times.keep_until),
        ("vouched", read.vouched, written.vouched),
    ] {
        let off = read.since(written) + written.since(read);
        assert!(off < Duration::from_secs(1), "{what} is off by {off:?}");
    }
    let now = clock::now();
    assert!(
        read_times.age(now) + Duration::from_millis(50) >= times.age(now),
        "it got younger on the way: {:?} instead of {:?}",
        read_times.age(now),
        times.age(now)
    );
}

async fn keeps_lists_of_variants(store: &dyn Store, kind: Kind) {
    let sample = Sample::unique("varies");
    put(store, &sample.key(), sample.varies(3)).await;
    match fetch(store, &sample.key()).await {
        Some(Record::Varies(read)) => {
            assert_eq!(read.names, [HeaderName::from_static("accept")], "names");
            assert_eq!(read.variants.len(), 3, "variants");
        }
        other => panic!("a list of variants came back as {other:?}"),
    }
    assert_eq!(store.peek(&sample.key()).is_some(), kind.has_memory(), "found by peek");
}

async fn takes_bodies_of_all_sizes(store: &dyn Store) {
    for length in [0, 1, 60_000, 65_536, 70_000] {
        let body: Vec<u8> = (0..length).map(|n: u32| n.to_be_bytes()[3]).collect();
        let sample = Sample::unique("sizes").body(body.clone());
        match store.put(&sample.key(), sample.entry()).await {
            // A small memory may refuse a large body, but it must say so.
            Err(StoreError::Failed(why)) if why.contains("too large") => continue,
            outcome => assert_eq!(outcome, Ok(()), "put of {length} bytes"),
        }
        match fetch(store, &sample.key()).await {
            Some(Record::Entry(read)) => assert_eq!(read.body(), body, "{length} bytes"),
            other => panic!("{length} bytes came back as {other:?}"),
        }
    }
}

async fn replaces_and_removes(store: &dyn Store, kind: Kind) {
    let first = Sample::unique("replaced").body(b"one".to_vec());
    let second = first.clone().body(b"two".to_vec()).as_of(2);
    let key = first.key();
    put(store, &key, first.entry()).await;
    put(store, &key, second.entry()).await;
    match fetch(store, &key).await {
        Some(Record::Entry(read)) => assert_eq!(read.body(), &b"two"[..], "the last put"),
        other => panic!("the last put came back as {other:?}"),
    }
    put(store, &key, first.varies(1)).await;
    let found = fetch(store, &key).await;
    assert!(matches!(found, Some(Record::Varies(_))), "an entry stayed: {found:?}");
    assert_eq!(store.remove(&key).await, Ok(()), "remove");
    assert!(store.peek(&key).is_none(), "peek finds what was removed ({kind:?})");
    assert!(fetch(store, &key).await.is_none(), "fetch finds what was removed");
    assert_eq!(store.remove(&key).await, Ok(()), "remove of what is not there");
}

async fn tells_colliding_digests_apart(store: &dyn Store) {
    let sample = Sample::unique("collision");
    put(store, &sample.key(), sample.entry()).await;
    let other = Key { full: Bytes::from_static(b"another key"), ..sample.key() };
    assert!(fetch(store, &other).await.is_none(), "fetch ignores the full key");
    assert!(store.peek(&other).is_none(), "peek ignores the full key");
    assert!(fetch(store, &sample.key()).await.is_some(), "the collision removed the entry");
}

async fn forgets_in_time(store: &dyn Store) {
    let sample = Sample::unique("brief").kept_for(SHORT);
    let key = sample.key();
    let record = sample.entry();
    let keep_until = record.keep_until();
    put(store, &key, record).await;
    eventually("what has passed is forgotten", async || {
        let found = store.peek(&key).is_some() || fetch(store, &key).await.is_some();
        assert!(!found || clock::now() < keep_until + SHORT, "kept beyond its time");
        !found
    })
    .await;
}

async fn does_not_store_what_has_passed(store: &dyn Store) {
    let sample = Sample::unique("passed").kept_for(Duration::ZERO);
    put(store, &sample.key(), sample.entry()).await;
    assert!(store.peek(&sample.key()).is_none(), "peek finds what has passed");
    assert!(fetch(store, &sample.key()).await.is_none(), "fetch finds what has passed");
}

async fn shows_a_put_at_once(store: &dyn Store) {
    let sample = Sample::unique("at-once");
    let key = sample.key();
    let mut putting = store.put(&key, sample.entry());
    poll_fn(|context| {
        let _ = putting.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
    assert!(store.peek(&key).is_some(), "a put is not visible when first polled");
}

async fn one_holder_at_a_time(store: &dyn Store) {
    let key = Sample::unique("lease").key();
    let token = granted(store, &key, LONG).await;
    assert!(matches!(lease(store, &key, LONG).await, Lease::Held), "a second holder");
    assert_eq!(store.release(&key, &token, LeaseEnd::Stored).await, Ok(()), "release");
    let again = granted(store, &key, LONG).await;
    assert_ne!(token, again, "the same token twice");
}

async fn leases_lapse_unless_renewed(store: &dyn Store) {
    let key = Sample::unique("lapse").key();
    let token = granted(store, &key, SHORT).await;
    assert_eq!(store.renew(&key, &token, LONG).await, Ok(true), "renew");
    tokio::time::sleep(SHORT + SHORT / 2).await;
    assert!(matches!(lease(store, &key, SHORT).await, Lease::Held), "renewing had no effect");
    assert_eq!(store.renew(&key, &token, SHORT).await, Ok(true), "renew");
    eventually("a lease lapses", async || {
        matches!(lease(store, &key, LONG).await, Lease::Granted(_))
    })
    .await;
    assert_eq!(store.renew(&key, &token, LONG).await, Ok(false), "a lost lease was renewed");
}

async fn only_the_holder_ends_a_lease(store: &dyn Store) {
    let key = Sample::unique("stranger").key();
    let token = granted(store, &key, LONG).await;
    let stranger = LeaseToken::unique();
    assert_eq!(store.renew(&key, &stranger, LONG).await, Ok(false), "a stranger renewed it");
    for end in [LeaseEnd::Dropped, LeaseEnd::Unshareable(LONG), LeaseEnd::Failed(LONG)] {
        assert_eq!(store.release(&key, &stranger, end).await, Ok(()), "release by a stranger");
        assert!(matches!(lease(store, &key, LONG).await, Lease::Held), "a stranger ended it");
    }
    assert_eq!(store.renew(&key, &token, LONG).await, Ok(true), "the holder lost it");
}

async fn remembers_how_a_lease_ended(store: &dyn Store) {
    let key = Sample::unique("ended").key();
    for end in [LeaseEnd::Unshareable(SHORT), LeaseEnd::Failed(SHORT)] {
        let token = granted(store, &key, LONG).await;
        assert_eq!(store.release(&key, &token, end).await, Ok(()), "release");
        let seen = lease(store, &key, LONG).await;
        match end {
            LeaseEnd::Unshareable(_) => assert!(matches!(seen, Lease::Unshareable), "{seen:?}"),
            _ => assert!(matches!(seen, Lease::BackingOff), "{seen:?}"),
        }
        eventually("the memory of it passes", async || match lease(store, &key, LONG).await {
            Lease::Granted(token) => store.release(&key, &token, LeaseEnd::Dropped).await == Ok(()),
            _ => false,
        })
        .await;
    }
    let token = granted(store, &key, LONG).await;
    let end = LeaseEnd::Unshareable(Duration::ZERO);
    assert_eq!(store.release(&key, &token, end).await, Ok(()), "release");
    granted(store, &key, LONG).await;
}

async fn always_grants_leases(store: &dyn Store) {
    let key = Sample::unique("granted").key();
    let token = granted(store, &key, LONG).await;
    assert_ne!(token, granted(store, &key, LONG).await, "the same token twice");
    assert_eq!(store.renew(&key, &token, LONG).await, Ok(true), "renew");
    assert_eq!(store.release(&key, &token, LeaseEnd::Stored).await, Ok(()), "release");
}

async fn put(store: &dyn Store, key: &Key, record: Record) {
    assert_eq!(store.put(key, record).await, Ok(()), "put");
}

async fn fetch(store: &dyn Store, key: &Key) -> Option<Record> {
    match store.fetch(key).await {
        Ok(found) => found,
        Err(error) => panic!("fetch: {error}"),
    }
}

async fn lease(store: &dyn Store, key: &Key, ttl: Duration) -> Lease {
    match store.lease(key, ttl).await {
        Ok(lease) => lease,
        Err(error) => panic!("lease: {error}"),
    }
}

async fn granted(store: &dyn Store, key: &Key, ttl: Duration) -> LeaseToken {
    match lease(store, key, ttl).await {
        Lease::Granted(token) => token,
        other => panic!("not granted: {other:?}"),
    }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A record to be stored, and its key.
#[derive(Clone, Debug)]
pub struct Sample {
    name: String,
    body: Bytes,
    now: Timestamp,
    kept_for: Duration,
    as_of: u64,
}

impl Sample {
    /// Named so: equal names have equal keys.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            body: Bytes::from_static(b"what the origin said"),
            now: clock::now(),
            kept_for: LONG,
            as_of: 1,
        }
    }

    /// Named like nothing else.
    pub fn unique(name: &str) -> Self {
        Self::new(&format!("/{name}/{:x}", LeaseToken::unique().0))
    }

    /// With this content.
    #[must_use]
    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body.into();
        self
    }

    /// Stored at this moment.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    /// Kept for this long.
    #[must_use]
    pub fn kept_for(mut self, time: Duration) -> Self {
        self.kept_for = time;
        self
    }

    /// Fetched at this position.
    #[must_use]
    pub fn as_of(mut self, millis: u64) -> Self {
        self.as_of = millis;
        self
    }

    /// Its key.
    pub fn key(&self) -> Key {
        let hash = blake3::hash(self.name.as_bytes());
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash.as_bytes()[..16]);
        Key {
            digest: Digest(digest),
            full: Bytes::from(self.name.clone()),
            route: "/a route/{id}".into(),
            namespace: "catalog/products".into(),
            version: Position { millis: 4, sequence: 2 },
        }
    }

    /// As a response.
    pub fn entry(&self) -> Record {
        let url = format!("//host.test{}", self.name);
        let tags: Vec<Box<str>> = vec!["product:7".into(), "all-products".into()];
        let groups: Vec<Box<str>> = vec!["scripts".into()];
        let mut headers = HeaderMap::new();
        for value in ["<a>; rel=next", "<b>; rel=prev"] {
            headers.append(HeaderName::from_static("link"), HeaderValue::from_static(value));
        }
        Record::Entry(Arc::new(Entry::from(Draft {
            key: self.key().full,
            response: StoredResponse {
                status: StatusCode::OK,
                headers,
                body: self.body.clone(),
                times: self.times(),
            },
            namespace: "catalog/products".into(),
            url: url.into(),
            tags,
            groups,
            as_of: Position { millis: self.as_of, sequence: 0 },
            vouched: self.now,
            fill_time: Duration::from_millis(12),
        })))
    }

    /// As a list of this many variants.
    pub fn varies(&self, variants: u8) -> Record {
        Record::Varies(Arc::new(Varies {
            key: self.key().full,
            names: vec![HeaderName::from_static("accept")],
            variants: (0..variants).map(|n| (Digest([n; 16]), self.now + self.kept_for)).collect(),
            keep_until: self.now + self.kept_for,
        }))
    }

    fn times(&self) -> Times {
        Times {
            response_time: self.now - Duration::from_millis(300),
            initial_age: Duration::from_secs(2),
            fresh_until: self.now + self.kept_for / 4,
            stale_until: self.now + self.kept_for / 2,
            error_until: self.now + self.kept_for / 2,
            keep_until: self.now + self.kept_for,
        }
    }
}
