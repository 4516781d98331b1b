//! Protocol upgrades (RFC 9110 §7.8), WebSocket above all.
//!
//! | step | by | until then |
//! |---|---|---|
//! | asked: HTTP/1.1, `Connection: upgrade`, no content, not HTTP itself | the client | no `Upgrade` is passed on |
//! | answered 101, with a protocol that was asked for | the origin | the connection stays HTTP |
//! | both sides joined, byte for byte | us | nothing the client sent early reaches the origin |
//!
//! Bytes that a client sends before the 101 wait in its own connection; without a 101 they are
//! its next request, and are judged as one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::hop;
use crate::body::Body;
use crate::error::{OriginFault, ProxyError};
use crate::peer::{Held, Switched, Tunnels};

/// A tunnel in which neither side has said anything for this long (up to twice as long) is closed.
/// WebSocket peers ping far more often.
const IDLE: Duration = Duration::from_secs(10 * 60);

/// A client that asked for an upgrade, until the origin has answered.
#[derive(Debug)]
pub(super) struct Handshake {
    client: OnUpgrade,
    /// What was asked for, and passed on.
    protocols: HeaderValue,
    tunnels: Option<Tunnels>,
}

impl Handshake {
    /// The upgrade that `request` asks for, if it is one to pass on; `options` are its connection
    /// options.
    pub(super) fn asked(
        request: &mut Request<Body>,
        options: &[HeaderName],
        has_content: bool,
    ) -> Option<Box<Self>> {
        // RFC 9110 §7.8: ignored in HTTP/1.0, and without the connection option.
        if request.version() != Version::HTTP_11 || !options.contains(&UPGRADE) || has_content {
            return None;
        }
        let protocols = others_than_http(request.headers())?;
        let tunnels = request.extensions_mut().remove::<Tunnels>();
        let client = request.extensions_mut().remove::<OnUpgrade>()?;
        Some(Box::new(Self { client, protocols, tunnels }))
    }

    /// Passes the question on.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        headers.append(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.append(UPGRADE, self.protocols.clone());
    }

    /// Answers 101 to the client and joins it with the origin.
    pub(super) fn join(self, mut response: Response<Body>) -> Result<Response<Body>, ProxyError> {
        // RFC 9110 §7.8: a server must not switch to a protocol that the client did not indicate.
        let chosen = response.headers().get(UPGRADE).filter(|chosen| self.offers(chosen)).cloned();
        let Some(chosen) = chosen else {
            return Err(OriginFault::Malformed("it switched to a protocol not asked for").into());
        };
        let switched = response.extensions_mut().remove::<Switched>();
        let Some(origin) = switched.and_then(|switched| switched.take()) else {
            return Err(ProxyError::Ours("a 101 without a connection"));
        };
        let held = response.extensions_mut().remove::<Held>();
        let headers = response.headers_mut();
        let options = hop::connection_options(headers).unwrap_or_default();
        hop::strip(headers, &options);
        headers.append(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.append(UPGRADE, chosen);

        let client = self.client;
        let tunnel = async move {
            let _held = held;
            if let Err(error) = join_sides(client, origin).await {
                tracing::debug!(%error, "tunnel ended early");
            }
        };
        match self.tunnels {
            Some(tunnels) => tunnels.spawn(tunnel),
            None => drop(tokio::spawn(tunnel)),
        }
        Ok(response)
    }

    fn offers(&self, chosen: &HeaderValue) -> bool {
        let mut chosen = hop::members(chosen.as_bytes()).peekable();
        chosen.peek().is_some()
            && chosen.all(|one| {
                hop::members(self.protocols.as_bytes()).any(|ours| ours.eq_ignore_ascii_case(one))
            })
    }
}

/// The protocols asked for without HTTP and TLS: a tunnel that speaks HTTP would carry requests
/// that nobody looks at.
fn others_than_http(headers: &HeaderMap) -> Option<HeaderValue> {
    let is_http = |protocol: &[u8]| {
        let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
        [&b"h2c"[..], b"h2", b"h3", b"http", b"tls"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    };
    let protocols = headers
        .get_all(UPGRADE)
        .iter()
        .flat_map(|line| hop::members(line.as_bytes()))
        .filter(|protocol| !is_http(protocol))
        .collect::<Vec<_>>();
    if protocols.is_empty() {
        return None;
    }
    HeaderValue::try_from(protocols.join(&b", "[..])).ok()
}

async fn join_sides(
    client: OnUpgrade,
    origin: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<(), crate::body::BodyError> {
    // A client that left before its 101 was written never becomes one side of anything.
    let client = client.await?;
    let moved = Arc::new(AtomicBool::new(false));
    let mut client = Heard { io: TokioIo::new(client), moved: Arc::clone(&moved) };
    let mut origin = Heard { io: origin, moved: Arc::clone(&moved) };
    tokio::select! {
        biased;
        ended = tokio::io::copy_bidirectional(&mut client, &mut origin) => {
            ended?;
        }
        () = silence(&moved) => tracing::debug!("tunnel closed: nothing was said"),
    }
    Ok(())
}

async fn silence(moved: &AtomicBool) {
    loop {
        tokio::time::sleep(IDLE).await;
        if !moved.swap(false, Ordering::Relaxed) {
            return;
        }
    }
}

/// One side of a tunnel, noting when it said something.
struct Heard<T> {
    io: T,
    moved: Arc<AtomicBool>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Heard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_ready() {
            self.moved.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Heard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_in_all_its_names_is_no_protocol_to_tunnel() {
        for (sent, passed_on) in [
            ("websocket", Some("websocket")),
            ("WebSocket, h2c", Some("WebSocket")),
            ("h2c", None),
            ("H2C, HTTP/2.0, TLS/1.0, h2", None),
            ("", None),
            ("tcp, spdy/3", Some("tcp, spdy/3")),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(UPGRADE, HeaderValue::from_static(sent));
            let protocols = others_than_http(&headers);
            assert_eq!(protocols.as_ref().map(|p| p.to_str().unwrap()), passed_on, "{sent}");
        }
    }
}
