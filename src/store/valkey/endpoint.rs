//! From the configuration to an open connection: the one way in which Valkey is reached.
//!
//! | place | a connection to the primary leads to | is cut when |
//! |---|---|---|
//! | server, socket | it | it breaks |
//! | Sentinel | whom the Sentinels name, if it says itself that it is a primary | they name another one, asked once a second |
//! | cluster | the node that owns the ledger's hash slot | another one does, asked once a second |
//!
//! Whoever holds a connection that was cut sees it break, and opens the next one: it leads to where
//! the primary is by then. Until it is cut, a deposed primary that nobody could tell would go on to
//! answer; so the bound is a second, if Sentinel or the cluster can be heard at all.

use std::future::pending;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::PubSub;
use redis::{RedisError, RedisResult};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::dial::Dialer;
use super::door::{Connection, Cut, Door, Purpose, Spot};
use super::locate::Locator;
use crate::config::valkey::{Address, Place, Valkey};
use crate::store::OpenError;

/// How often those who know are asked whether the primary is still the same.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Where Valkey is, and how to get there. Clones are the same.
#[derive(Clone)]
pub(super) struct Endpoint(Arc<Inner>);

struct Inner {
    door: Door,
    place: Place,
    /// `None` if the place itself is where to go.
    locator: Option<Locator>,
    /// Where connections to the primary lead, as far as is known.
    primary: watch::Sender<Option<Address>>,
}

/// Where a connection shall lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To the primary that keeps the ledger.
    Primary,
    /// To this node of a cluster.
    Node(Address),
}

impl Endpoint {
    /// Reads the files that it needs, and connects to nothing yet. Must be called inside a tokio
    /// runtime.
    pub(super) fn new(valkey: &Valkey) -> Result<Self, OpenError> {
        let dialer = Dialer::new(valkey.tls.as_ref())?;
        let door = |login, database| Door::new(dialer.clone(), login, database);
        let own = door(&valkey.login, valkey.database);
        let locator = match &valkey.place {
            Place::Server(_) | Place::Socket(_) => None,
            Place::Sentinel { sentinels, primary, login } => {
                Some(Locator::sentinel(door(login, 0), sentinels, primary))
            }
            Place::Cluster(seeds) => Some(Locator::cluster(own.clone(), seeds)),
        };
        let inner = Arc::new(Inner {
            door: own,
            place: valkey.place.clone(),
            locator,
            primary: watch::Sender::new(None),
        });
        if inner.locator.is_some() {
            tokio::spawn(look_again(Arc::downgrade(&inner)));
        }
        Ok(Self(inner))
    }

    /// Opens a connection; takes a second at most once it is known where to.
    pub(super) async fn open(&self, target: &Target, purpose: Purpose) -> RedisResult<Connection> {
        let (spot, cut) = self.spot(target).await?;
        let connection = self.0.door.open(&spot, purpose, cut).await?;
        match (target, &self.0.locator) {
            (Target::Primary, Some(locator)) => locator.confirm(connection).await,
            _ => Ok(connection),
        }
    }

    /// Opens a connection to the primary for subscriptions and nothing else. It ends when it breaks
    /// or is cut, and nobody asks whether the server still answers.
    pub(super) async fn subscriber(&self) -> RedisResult<PubSub> {
        let (spot, cut) = self.spot(&Target::Primary).await?;
        self.0.door.subscriber(&spot, cut).await
    }

    /// Waits before the next attempt; not for long any more once the primary is another one.
    pub(super) async fn rest(&self, pause: Duration) {
        let mut moves = self.0.primary.subscribe();
        let moved = async {
            // Who is not asked is never another one.
            if self.0.locator.is_none() || moves.changed().await.is_err() {
                pending::<()>().await;
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = moved => {}
        }
    }

    /// Where it is, and what ends when that is the wrong place.
    async fn spot(&self, target: &Target) -> RedisResult<(Spot, Cut)> {
        let never: Cut = Box::pin(pending());
        match (target, &self.0.place, &self.0.locator) {
            (Target::Primary, Place::Server(address), _) | (Target::Node(address), ..) => {
                Ok((Spot::Server(address.clone()), never))
            }
            (Target::Primary, Place::Socket(path), _) => Ok((Spot::Socket(path.clone()), never)),
            (Target::Primary, _, None) => Err(nowhere("there is nobody who knows where")),
            (Target::Primary, _, Some(locator)) => {
                let address = locator.locate().await?;
                let mut moves = self.0.primary.subscribe();
                self.0.found(&address);
                let here = address.clone();
                let cut = Box::pin(async move {
                    let elsewhere = |at: &Option<Address>| at.as_ref() != Some(&here);
                    if moves.wait_for(elsewhere).await.is_err() {
                        pending::<()>().await;
                    }
                });
                Ok((Spot::Server(address), cut))
            }
        }
    }

    /// Who knows the nodes of the cluster, if it is one.
    pub(super) fn cluster(&self) -> Option<&Locator> {
        self.0.locator.as_ref().filter(|_| matches!(self.0.place, Place::Cluster(_)))
    }
}

impl Inner {
    /// Cuts what leads elsewhere.
    fn found(&self, address: &Address) {
        let moved = self.primary.send_if_modified(|at| {
            let moved = at.as_ref() != Some(address);
            *at = Some(address.clone());
            moved
        });
        if moved {
            tracing::info!(%address, "the primary of the ledger is here");
        }
    }
}

/// Asks again and again, for as long as there is somebody to tell.
async fn look_again(inner: Weak<Inner>) {
    let mut turns = interval(LOOK_AGAIN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut complained = false;
    loop {
        turns.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let Some(locator) = &inner.locator else { return };
        match locator.locate().await {
            Ok(address) => {
                inner.found(&address);
                complained = false;
            }
            // Who cannot be asked says nothing against the one we have. Said once per outage, and
            // not while there is nothing to lose.
            Err(error) if !complained && inner.primary.borrow().is_some() => {
                complained = true;
                tracing::warn!(%error, "nobody says whether the primary is still the same");
            }
            Err(_) => {}
        }
    }
}

/// Nobody knows where to connect to.
pub(super) fn nowhere(why: &str) -> RedisError {
    io::Error::new(io::ErrorKind::NotFound, why.to_owned()).into()
}
