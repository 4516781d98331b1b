//! The origin behind every proxy: does what a path says (see `toy`), and counts.
//!
//! `GET /-/counts` tells `{"requests": …, "concurrent": …}`, the second being the most at once, and
//! starts counting anew.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use larder_bench::toy::{Content, Wish, answer};
use tokio::net::{TcpListener, TcpSocket};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

static REQUESTS: AtomicU64 = AtomicU64::new(0);
static NOW: AtomicU64 = AtomicU64::new(0);
static MOST: AtomicU64 = AtomicU64::new(0);

/// One request in progress, from its head until its answer is begun.
struct InProgress;

impl InProgress {
    fn begin() -> Self {
        REQUESTS.fetch_add(1, Relaxed);
        MOST.fetch_max(NOW.fetch_add(1, Relaxed) + 1, Relaxed);
        Self
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        NOW.fetch_sub(1, Relaxed);
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address: SocketAddr = match std::env::args().nth(1).map(|text| text.parse()) {
        Some(Ok(address)) => address,
        _ => return Err(std::io::Error::other("usage: origin ADDRESS")),
    };
    let listener = listen(address)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A proxy that is stopped closes in the middle of things.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service_fn(serve))
                .await;
        });
    }
}

/// A proxy that does not collapse sends a whole crowd here at once: the backlog must take it.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(8192)
}

async fn serve(
    request: Request<Incoming>,
) -> Result<Response<Either<Content, Full<Bytes>>>, Infallible> {
    if request.uri().path() == "/-/counts" {
        return Ok(counts().map(Either::Right));
    }
    let wish = Wish::of(request.uri().path());
    let in_progress = InProgress::begin();
    let (head, content) = request.into_parts();
    if !hyper::body::Body::is_end_stream(&content) {
        let _ = content.collect().await;
    }
    if wish.delay > 0 {
        tokio::time::sleep(Duration::from_millis(wish.delay)).await;
    }
    drop(in_progress);
    Ok(answer(&Request::from_parts(head, ()), wish).map(Either::Left))
}

fn counts() -> Response<Full<Bytes>> {
    let requests = REQUESTS.swap(0, Relaxed);
    let concurrent = MOST.swap(NOW.load(Relaxed), Relaxed);
    let text = serde_json::json!({ "requests": requests, "concurrent": concurrent }).to_string();
    Response::new(Full::new(Bytes::from(text)))
}
