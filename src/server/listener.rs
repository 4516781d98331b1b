//! Binding, accepting, and backing off when the system has no more to give.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections that the kernel keeps for us while all seats are taken, or while we restart.
const BACKLOG: i32 = 4096;
/// What the kernel takes from us beyond what it has sent. Without this bound it takes megabytes,
/// asks for more only when a third of them is gone, and a client that moves slowly looks like one
/// that has stopped.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 64 * 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Listens on `address`. Port 0 takes any free one.
///
/// # Errors
///
/// Those of the system: the address is in use, not ours, or not allowed.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections in TIME_WAIT to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The next connection. Errors are waited out: a listener that gives up is an outage.
pub(super) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut pause = FIRST_PAUSE;
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                prepare(&stream);
                return (stream, client);
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, ?pause, "cannot accept connections");
                tokio::time::sleep(pause).await;
                pause = LONGEST_PAUSE.min(pause * 2);
            }
        }
    }
}

/// Options that serve well and that nothing depends on: a system that refuses one is served too.
fn prepare(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    // Responses are written whole; waiting for more to send only adds latency.
    let _ = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
}

/// The client gave up before it was accepted. All else (EMFILE, ENFILE, ENOMEM …) comes back at
/// once if it is tried again at once.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
