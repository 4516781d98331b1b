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
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError, RedisResult};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::dial::{Dialer, Stream};
use super::locate::Locator;
use crate::config::valkey::{Address, Login, Place, Valkey};
use crate::store::OpenError;

/// To open a connection to a known server and to say hello on it.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
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

/// How to get in once it is known where.
#[derive(Clone)]
pub(super) struct Door {
    dialer: Dialer,
    hello: RedisConnectionInfo,
}

/// Where a connection shall lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To the primary that keeps the ledger.
    Primary,
    /// To this node of a cluster.
    Node(Address),
}

/// What a connection is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purpose {
    /// In logs, and in Valkey's list of clients.
    pub name: &'static str,
    /// Most commands that wait to be written.
    pub queue: usize,
    /// What is asked on it ends after this long; `None` where the asker has its own deadlines.
    pub patience: Option<Duration>,
}

/// An open connection. It is closed when the last clone is dropped, whatever is still under way.
#[derive(Clone)]
pub struct Connection {
    commands: MultiplexedConnection,
    _driver: Arc<Driver>,
}

/// The task that moves the bytes.
struct Driver(AbortHandle);

impl Endpoint {
    /// Reads the files that it needs, and connects to nothing yet. Must be called inside a tokio
    /// runtime.
    pub(super) fn new(valkey: &Valkey) -> Result<Self, OpenError> {
        let dialer = Dialer::new(valkey.tls.as_ref())?;
        let door = |login, database| Door { dialer: dialer.clone(), hello: hello(login, database) };
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
        let door = &self.0.door;
        match (target, &self.0.place, &self.0.locator) {
            (Target::Primary, Place::Server(address), _) => {
                door.server(address, purpose, pending()).await
            }
            (_, Place::Socket(path), _) => door.socket(path, purpose).await,
            (Target::Node(address), ..) => door.server(address, purpose, pending()).await,
            (Target::Primary, _, None) => Err(nowhere("there is nobody who knows where")),
            (Target::Primary, _, Some(locator)) => {
                let address = locator.locate().await?;
                let mut moves = self.0.primary.subscribe();
                self.0.found(&address);
                let here = address.clone();
                let moved = async move {
                    let elsewhere = |at: &Option<Address>| at.as_ref() != Some(&here);
                    if moves.wait_for(elsewhere).await.is_err() {
                        pending::<()>().await;
                    }
                };
                let connection = door.server(&address, purpose, moved).await?;
                locator.confirm(connection).await
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
    loop {
        turns.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let Some(locator) = &inner.locator else { return };
        // Who cannot be asked says nothing against the one we have.
        if let Ok(address) = locator.locate().await {
            inner.found(&address);
        }
    }
}

impl Door {
    /// Opens a connection to this server. It is cut when `cut` ends.
    pub(super) async fn server(
        &self,
        address: &Address,
        purpose: Purpose,
        cut: impl Future<Output = ()> + Send + 'static,
    ) -> RedisResult<Connection> {
        self.within(purpose, cut, self.dialer.server(address)).await
    }

    async fn socket(&self, path: &Path, purpose: Purpose) -> RedisResult<Connection> {
        self.within(purpose, pending(), Dialer::socket(path)).await
    }

    async fn within(
        &self,
        purpose: Purpose,
        cut: impl Future<Output = ()> + Send + 'static,
        dialling: impl Future<Output = io::Result<Box<dyn Stream>>>,
    ) -> RedisResult<Connection> {
        let opening = async {
            let mut connection = self.enter(dialling.await?, purpose, cut).await?;
            // For people who look at CLIENT LIST; a user who may not do this may do the rest.
            let mut name = redis::cmd("CLIENT");
            name.arg("SETNAME").arg(format!("larder-{}", purpose.name));
            let _ = connection.send_packed_command(&name).await?;
            Ok(connection)
        };
        timeout(CONNECT_TIMEOUT, opening).await.unwrap_or_else(|_| Err(late()))
    }

    async fn enter(
        &self,
        stream: Box<dyn Stream>,
        purpose: Purpose,
        cut: impl Future<Output = ()> + Send + 'static,
    ) -> RedisResult<Connection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(purpose.patience)
            .set_pipeline_buffer_size(purpose.queue);
        let (commands, driver) =
            MultiplexedConnection::new_with_config(&self.hello, stream, config).await?;
        let driver = tokio::spawn(async move {
            tokio::select! {
                () = driver => {}
                () = cut => {}
            }
        });
        Ok(Connection { commands, _driver: Arc::new(Driver(driver.abort_handle())) })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Deref for Connection {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        &self.commands
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        &mut self.commands
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// What is said first on every connection.
fn hello(login: &Login, database: u32) -> RedisConnectionInfo {
    let mut hello = RedisConnectionInfo::default()
        .set_db(database.into())
        .set_lib_name("larder", env!("CARGO_PKG_VERSION"));
    if let Some(username) = &login.username {
        hello = hello.set_username(username);
    }
    if let Some(password) = &login.password {
        hello = hello.set_password(password.reveal());
    }
    hello
}

fn late() -> RedisError {
    io::Error::new(io::ErrorKind::TimedOut, "no connection in time").into()
}

/// Nobody knows where to connect to.
pub(super) fn nowhere(why: &str) -> RedisError {
    io::Error::new(io::ErrorKind::NotFound, why.to_owned()).into()
}
