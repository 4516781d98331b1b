//! The admin listener's own small server: HTTP/1.1, few connections, and none for ever.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt;

/// Most connections at once; more wait in the kernel's backlog.
const CONNECTIONS: usize = 128;

/// For the head of a request, and between two requests.
const HEAD: Duration = Duration::from_secs(15);

/// A connection is closed after its request when it is this old: whoever takes in an answer byte
/// by byte does not keep others out.
const AGE: Duration = Duration::from_secs(300);

/// For what is in progress when the connection is too old, or the process is about to end.
const GRACE: Duration = Duration::from_secs(5);

/// After the system refused a connection (no file descriptors, say).
const BACK_OFF: Duration = Duration::from_millis(100);

/// Serves until `stop`, then lets requests in progress finish, for a few seconds.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()> + Send) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let (stopping, stopped) = watch::channel(());
    let mut stop = pin!(stop);
    loop {
        let (stream, place) = tokio::select! {
            next = next(&listener, &places) => next,
            () = &mut stop => break,
        };
        let (router, stopped) = (router.clone(), stopped.clone());
        tokio::spawn(async move {
            connection(stream, router, stopped).await;
            drop(place);
        });
    }
    drop((listener, stopping, stopped));
    // All places free: all connections closed.
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(GRACE, places.acquire_many(all)).await;
}

/// The next connection, once there is room for it.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => tracing::warn!(%error, "admin: a connection was not accepted"),
        }
        tokio::time::sleep(BACK_OFF).await;
    }
}

async fn connection(stream: TcpStream, router: Router, mut stopped: watch::Receiver<()>) {
    let service = service_fn(move |request: http::Request<Incoming>| {
        router.clone().oneshot(request.map(Body::new))
    });
    let mut conn = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        ended = conn.as_mut() => return gone(ended),
        () = tokio::time::sleep(AGE) => {}
        // An error means that the listener has stopped: nothing is ever sent.
        _ = stopped.changed() => {}
    }
    conn.as_mut().graceful_shutdown();
    if let Ok(ended) = tokio::time::timeout(GRACE, conn).await {
        gone(ended);
    }
}

fn gone(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "admin: a connection broke off");
    }
}
