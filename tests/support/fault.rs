//! A TCP proxy of our own that does to connections what bad networks do, as a test says and when
//! it says so.
//!
//! | fault | what connections meet, those that are open and those to come |
//! |---|---|
//! | [`Fault::Pass`] | nothing |
//! | [`Fault::Delay`] | every piece comes this much later |
//! | [`Fault::Hold`] | nothing passes; what was sent meanwhile comes when it is healed |
//! | [`Fault::Swallow`] | they are taken, and what is sent is never seen again; broken when it is healed |
//! | [`Fault::Cut`] | broken after so many more bytes in one direction, each of them |
//! | [`Fault::Refuse`] | open ones are reset, new ones refused |

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Pass,
    Delay(Duration),
    Hold,
    Swallow,
    Cut { flow: Flow, after: usize, end: End },
    Refuse,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// From who connects.
    Requests,
    /// To who connects.
    Answers,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Rst,
}

/// The proxy. Ends, and breaks its connections, when it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    broken: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Proxy {
    /// In front of this port of this machine, whether or not somebody listens there.
    pub(crate) fn before(port: u16) -> Self {
        let socket = bound((Ipv4Addr::LOCALHOST, 0).into());
        let address = socket.local_addr().expect("a bound address");
        let fault = watch::Sender::new(Fault::Pass);
        let broken = Arc::new(AtomicUsize::new(0));
        let target = (Ipv4Addr::LOCALHOST, port).into();
        let door = Door { address, target, faults: fault.subscribe(), broken: Arc::clone(&broken) };
        Self { address, fault, broken, server: tokio::spawn(door.keep(listening(socket))) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on.
    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    pub(crate) fn heal(&self) {
        self.set(Fault::Pass);
    }

    /// Connections that it has broken.
    pub(crate) fn broken(&self) -> usize {
        self.broken.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option of sockets");
    socket.bind(address).expect("a free port");
    socket
}

fn listening(socket: TcpSocket) -> TcpListener {
    socket.listen(1024).expect("a listening socket")
}

/// Where connections come in.
struct Door {
    address: SocketAddr,
    target: SocketAddr,
    faults: watch::Receiver<Fault>,
    broken: Arc<AtomicUsize>,
}

impl Door {
    async fn keep(mut self, mut listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            self.open(&listener, &mut connections).await;
            drop(listener);
            // Bound but not listening: nobody else gets the port, and who connects is refused.
            let kept = bound(self.address);
            if self.faults.wait_for(|fault| *fault != Fault::Refuse).await.is_err() {
                return;
            }
            listener = listening(kept);
        }
    }

    /// Takes connections until they are to be refused.
    async fn open(&mut self, listener: &TcpListener, connections: &mut JoinSet<()>) {
        let joining = self.faults.clone();
        loop {
            tokio::select! {
                _ = self.faults.wait_for(|fault| *fault == Fault::Refuse) => return,
                accepted = listener.accept() => {
                    let Ok((client, _)) = accepted else { continue };
                    let (target, faults) = (self.target, joining.clone());
                    let broken = Arc::clone(&self.broken);
                    connections.spawn(async move {
                        if !carry(client, target, faults).await {
                            broken.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// One connection, from its beginning to its end; false if it was broken on purpose.
async fn carry(mut client: TcpStream, target: SocketAddr, faults: watch::Receiver<Fault>) -> bool {
    let Ok(mut server) = TcpStream::connect(target).await else {
        reset(&client);
        return true;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let broken = pump_both(&mut client, &mut server, faults).await;
    match broken {
        Some(End::Rst) => {
            reset(&client);
            reset(&server);
        }
        Some(End::Fin) => {
            let _ = (client.shutdown().await, server.shutdown().await);
        }
        None => {}
    }
    broken.is_none()
}

/// How it was broken; `None` if both sides ended by themselves.
async fn pump_both(
    client: &mut TcpStream,
    server: &mut TcpStream,
    faults: watch::Receiver<Fault>,
) -> Option<End> {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let requests = Pump::new(Flow::Requests, from_client, to_server, faults.clone()).run();
    let answers = Pump::new(Flow::Answers, from_server, to_client, faults).run();
    let (mut requests, mut answers) = (std::pin::pin!(requests), std::pin::pin!(answers));
    tokio::select! {
        ended = &mut requests => if ended.is_none() { answers.await } else { ended },
        ended = &mut answers => if ended.is_none() { requests.await } else { ended },
    }
}

/// Closed with a reset, once it is dropped.
fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// One direction of a connection.
struct Pump<'c> {
    flow: Flow,
    from: ReadHalf<'c>,
    to: WriteHalf<'c>,
    faults: watch::Receiver<Fault>,
    /// Bytes that passed since the fault began.
    passed: usize,
    /// Bytes were swallowed: it can never go on.
    lossy: bool,
}

/// What a pump goes on with.
enum Next {
    Piece(usize),
    Changed,
    Ended,
}

impl<'c> Pump<'c> {
    fn new(
        flow: Flow,
        from: ReadHalf<'c>,
        to: WriteHalf<'c>,
        faults: watch::Receiver<Fault>,
    ) -> Self {
        Self { flow, from, to, faults, passed: 0, lossy: false }
    }

    /// How it was broken; `None` if it ended by itself.
    async fn run(mut self) -> Option<End> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let fault = *self.faults.borrow_and_update();
            if let Some(end) = self.broken_by(fault) {
                return Some(end);
            }
            match self.next(fault, &mut buffer).await {
                Next::Changed => self.passed = 0,
                Next::Ended => {
                    let _ = self.to.shutdown().await;
                    return None;
                }
                Next::Piece(_) if fault == Fault::Swallow => self.lossy = true,
                Next::Piece(length) => {
                    if let Fault::Delay(delay) = fault {
                        tokio::time::sleep(delay).await;
                    }
                    if self.to.write_all(&buffer[..length]).await.is_err() {
                        return None;
                    }
                    self.passed += length;
                }
            }
        }
    }

    fn broken_by(&self, fault: Fault) -> Option<End> {
        match fault {
            Fault::Refuse => Some(End::Rst),
            Fault::Cut { flow, after, end } if flow == self.flow && self.passed >= after => {
                Some(end)
            }
            Fault::Swallow => None,
            _ if self.lossy => Some(End::Rst),
            _ => None,
        }
    }

    async fn next(&mut self, fault: Fault, buffer: &mut [u8]) -> Next {
        let room = match fault {
            Fault::Hold => 0,
            Fault::Cut { flow, after, .. } if flow == self.flow => after - self.passed,
            _ => buffer.len(),
        };
        let room = room.min(buffer.len());
        tokio::select! {
            changed = self.faults.changed() => {
                if changed.is_ok() { Next::Changed } else { Next::Ended }
            }
            read = self.from.read(&mut buffer[..room]), if room > 0 => match read {
                Ok(length) if length > 0 => Next::Piece(length),
                _ => Next::Ended,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::wait::soon;

    /// Sends back what it gets, and the proxy before it.
    async fn echo() -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        Proxy::before(port)
    }

    async fn connect(proxy: &Proxy) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap()
    }

    async fn send(stream: &mut TcpStream, text: &str) {
        stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// What comes until this much is there, or the connection ends; and how it ended.
    async fn receive(stream: &mut TcpStream, most: usize) -> (String, std::io::Result<usize>) {
        let mut text = Vec::new();
        let mut piece = [0; 64];
        let end = loop {
            let room = (most - text.len()).min(piece.len());
            if room == 0 {
                break Ok(0);
            }
            match soon("an answer", stream.read(&mut piece[..room])).await {
                Ok(length) if length > 0 => text.extend_from_slice(&piece[..length]),
                end => break end,
            }
        };
        (String::from_utf8(text).unwrap(), end)
    }

    async fn nothing_comes(stream: &mut TcpStream) {
        let reading = tokio::time::timeout(Duration::from_millis(50), stream.read_u8()).await;
        assert!(reading.is_err(), "{reading:?}");
    }

    #[tokio::test]
    async fn what_is_sound_passes_in_both_directions() {
        let proxy = echo().await;
        let mut stream = connect(&proxy).await;
        send(&mut stream, "hello").await;
        assert_eq!(receive(&mut stream, 5).await.0, "hello");
        stream.shutdown().await.unwrap();
        assert!(matches!(receive(&mut stream, 9).await, (text, Ok(0)) if text.is_empty()));
        assert_eq!(proxy.broken(), 0);
    }

    #[tokio::test]
    async fn a_cut_comes_after_so_many_bytes_of_its_direction() {
        for flow in [Flow::Requests, Flow::Answers] {
            for end in [End::Fin, End::Rst] {
                let proxy = echo().await;
                let mut stream = connect(&proxy).await;
                send(&mut stream, "before").await;
                assert_eq!(receive(&mut stream, 6).await.0, "before");
                proxy.set(Fault::Cut { flow, after: 3, end });
                // A reset overtakes what was on its way: the answer to a piece is awaited.
                send(&mut stream, "ab").await;
                assert_eq!(receive(&mut stream, 2).await.0, "ab", "{flow:?} {end:?}");
                send(&mut stream, "cd").await;
                let (text, how) = receive(&mut stream, 9).await;
                assert!(text.is_empty() || text == "c", "{flow:?} {end:?}: {text}");
                assert_eq!(how.is_err(), end == End::Rst, "{flow:?} {end:?}: {how:?}");
                assert_eq!(proxy.broken(), 1);
                let mut other = connect(&proxy).await;
                send(&mut other, "x").await;
                assert_eq!(receive(&mut other, 1).await.0, "x", "each has its own count");
            }
        }
    }

    #[tokio::test]
    async fn what_is_swallowed_never_comes_and_what_is_held_comes_later() {
        let proxy = echo().await;
        let (mut held, mut idle) = (connect(&proxy).await, connect(&proxy).await);
        send(&mut idle, "x").await;
        assert_eq!(receive(&mut idle, 1).await.0, "x");
        proxy.set(Fault::Hold);
        send(&mut held, "late").await;
        nothing_comes(&mut held).await;
        proxy.heal();
        assert_eq!(receive(&mut held, 4).await.0, "late");
        proxy.set(Fault::Swallow);
        send(&mut held, "gone").await;
        nothing_comes(&mut held).await;
        proxy.heal();
        let (text, how) = receive(&mut held, 9).await;
        assert!(text.is_empty() && how.is_err(), "it cannot go on without them: {text} {how:?}");
        send(&mut idle, "y").await;
        assert_eq!(receive(&mut idle, 1).await.0, "y", "nothing of this one was lost");
    }

    #[tokio::test]
    async fn a_refusal_takes_open_connections_along_and_ends() {
        let proxy = echo().await;
        let mut stream = connect(&proxy).await;
        send(&mut stream, "x").await;
        assert_eq!(receive(&mut stream, 1).await.0, "x");
        proxy.set(Fault::Refuse);
        assert!(receive(&mut stream, 9).await.1.is_err());
        soon("new ones are refused", async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.is_ok() {}
        })
        .await;
        proxy.heal();
        soon("new ones are taken", async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.is_err() {}
        })
        .await;
    }

    #[tokio::test]
    async fn a_delay_makes_each_piece_late_and_nobody_listening_is_a_reset() {
        let proxy = echo().await;
        proxy.set(Fault::Delay(Duration::from_millis(30)));
        let mut stream = connect(&proxy).await;
        let sent = tokio::time::Instant::now();
        send(&mut stream, "x").await;
        assert_eq!(receive(&mut stream, 1).await.0, "x");
        assert!(sent.elapsed() >= Duration::from_millis(60), "there and back");
        let nobody = bound((Ipv4Addr::LOCALHOST, 0).into());
        let proxy = Proxy::before(nobody.local_addr().unwrap().port());
        assert!(receive(&mut connect(&proxy).await, 1).await.1.is_err());
    }
}
