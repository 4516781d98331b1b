//! The floor: hyper, tokio and nothing else, giving the answers of the origin from a static buffer.
//! What a proxy in Rust costs beyond this is its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use larder_bench::toy::{Wish, answer};
use tokio::net::TcpListener;
use tokio::time::sleep;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address: SocketAddr = match std::env::args().nth(1).map(|text| text.parse()) {
        Some(Ok(address)) => address,
        _ => return Err(std::io::Error::other("usage: bare ADDRESS")),
    };
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| async move {
                let wish = Wish::of(request.uri().path());
                if wish.delay > 0 {
                    sleep(Duration::from_millis(wish.delay)).await;
                }
                Ok::<_, Infallible>(answer(&request, wish))
            });
            // A client that leaves in the middle is how every run ends.
            let _ = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
