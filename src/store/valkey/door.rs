//! How to get in once it is known where: open the stream, say who we are, and hold on to it until it
//! breaks, is dropped, or must not be used any more.

use std::io;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError, RedisResult};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::dial::{Dialer, Stream};
use crate::config::valkey::{Address, Login};

/// To open a connection to a known server and to say hello on it.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The way in.
#[derive(Clone)]
pub(super) struct Door {
    dialer: Dialer,
    hello: RedisConnectionInfo,
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

/// Where a server listens.
pub(super) enum Spot {
    Server(Address),
    Socket(PathBuf),
}

/// Ends when a connection must not be used any more.
pub(super) type Cut = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A stream that breaks when it is cut.
struct Severable {
    stream: Box<dyn Stream>,
    cut: Cut,
}

impl Door {
    pub(super) fn new(dialer: Dialer, login: &Login, database: u32) -> Self {
        Self { dialer, hello: hello(login, database) }
    }

    /// Opens a connection that is cut when `cut` ends.
    pub(super) async fn open(
        &self,
        spot: &Spot,
        purpose: Purpose,
        cut: Cut,
    ) -> RedisResult<Connection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(purpose.patience)
            .set_pipeline_buffer_size(purpose.queue);
        soon(async {
            let stream = self.stream(spot, cut).await?;
            let (commands, driver) =
                MultiplexedConnection::new_with_config(&self.hello, stream, config).await?;
            let driver = Driver(tokio::spawn(driver).abort_handle());
            let mut connection = Connection { commands, _driver: Arc::new(driver) };
            // For people who look at CLIENT LIST; a user who may not do this may do the rest.
            let mut name = redis::cmd("CLIENT");
            name.arg("SETNAME").arg(format!("larder-{}", purpose.name));
            connection.send_packed_command(&name).await?;
            Ok(connection)
        })
        .await
    }

    pub(super) async fn subscriber(&self, spot: &Spot, cut: Cut) -> RedisResult<PubSub> {
        soon(async { PubSub::new(&self.hello, self.stream(spot, cut).await?).await }).await
    }

    async fn stream(&self, spot: &Spot, cut: Cut) -> io::Result<Severable> {
        let stream = match spot {
            Spot::Server(address) => self.dialer.server(address).await?,
            Spot::Socket(path) => Dialer::socket(path).await?,
        };
        Ok(Severable { stream, cut })
    }
}

/// Within the time that opening a connection may take.
async fn soon<T>(opening: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    timeout(CONNECT_TIMEOUT, opening).await.unwrap_or_else(|_| Err(late()))
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl AsyncRead for Severable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Whoever drives a connection waits for what comes, so this is where a cut is noticed.
        if self.cut.as_mut().poll(cx).is_ready() {
            let why = "the primary is another server now";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, why)));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Severable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
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
