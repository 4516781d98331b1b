//! A subscription: connect → subscribe, and wait until that is confirmed → listen, while a PING
//! every second asks whether there is anybody on the other side.
//!
//! A connection that says nothing at all looks like a channel on which nothing is sent. So a PING
//! that stays unanswered while no message comes either ends it, and the next one begins with what its
//! bridge invalidates for a gap. While messages come, the answer may be waiting behind them.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Msg, RedisError, Value};
use tokio::task::{unconstrained, yield_now};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::endpoint::Endpoint;
use crate::config::Valkey;
use crate::config::event::Channel;
use crate::store::bridge::Ear;

/// To open a connection and say hello on it; and to have a subscription confirmed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two PINGs.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long nothing may come while a PING is unanswered.
const PATIENCE: Duration = Duration::from_secs(2);
/// The first pause before connecting again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Why nobody listens.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("{0}")]
    Failed(#[from] RedisError),
    #[error("the connection was closed")]
    Closed,
}

/// Listens until it is stopped.
pub(in crate::store) async fn run(mut ear: Ear, valkey: Valkey, stop: CancellationToken) {
    let endpoint = match Endpoint::new(&valkey) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            let channel = &*ear.bridge().channel.text;
            tracing::error!(channel, %error, "a bridge cannot listen");
            return;
        }
    };
    let (mut pause, mut complained) = (FIRST_PAUSE, false);
    while !stop.is_cancelled() {
        let since = Instant::now();
        let mut stood = false;
        let ended = tokio::select! {
            () = stop.cancelled() => None,
            Err(trouble) = follow(&mut ear, &endpoint, &mut stood) => Some(trouble),
        };
        // What was heard is not lost with the connection.
        ear.pass_on();
        let Some(trouble) = ended else { return };
        if stood || !complained {
            let channel = &*ear.bridge().channel.text;
            tracing::warn!(channel, %trouble, "a bridge hears nothing; what is sent now is lost");
        }
        complained = true;
        // A server that hangs up at once is not asked again at once: each time costs a gap.
        if stood && since.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = endpoint.rest(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One connection, from its beginning to its end.
async fn follow(
    ear: &mut Ear,
    endpoint: &Endpoint,
    stood: &mut bool,
) -> Result<Infallible, Trouble> {
    let (mut sink, mut stream) = within(CONNECT_TIMEOUT, endpoint.subscriber()).await?.split();
    subscribe(&mut sink, &ear.bridge().channel).await?;
    *stood = true;
    // What comes from here on waits in the stream: the gap is closed before the first message.
    let _standing = ear.begins();
    tracing::info!(channel = &*ear.bridge().channel.text, "a bridge listens");
    let heard = AtomicU64::new(0);
    let ended = tokio::select! {
        ended = watch_over(&mut sink, &heard) => ended,
        ended = listen(ear, &mut stream, &heard) => ended,
    };
    drain(ear, &mut stream).await;
    ended
}

/// Returns once the server has confirmed it.
async fn subscribe(sink: &mut PubSubSink, channel: &Channel) -> Result<(), Trouble> {
    if channel.is_pattern() {
        within(CONNECT_TIMEOUT, sink.psubscribe(&*channel.text)).await
    } else {
        within(CONNECT_TIMEOUT, sink.subscribe(&*channel.text)).await
    }
}

async fn watch_over(sink: &mut PubSubSink, heard: &AtomicU64) -> Result<Infallible, Trouble> {
    loop {
        sleep(HEARTBEAT).await;
        let mut ping = pin!(sink.ping::<Value>());
        loop {
            let before = heard.load(Relaxed);
            match within(PATIENCE, ping.as_mut()).await {
                Ok(_) => break,
                Err(Trouble::Silent(_)) if heard.load(Relaxed) != before => {}
                Err(trouble) => return Err(trouble),
            }
        }
    }
}

async fn listen(
    ear: &mut Ear,
    stream: &mut PubSubStream,
    heard: &AtomicU64,
) -> Result<Infallible, Trouble> {
    loop {
        let due = ear.due();
        tokio::select! {
            // What is due goes out, however many more messages are there.
            biased;
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => ear.pass_on(),
            message = stream.next() => {
                heard.fetch_add(1, Relaxed);
                hear(ear, &message.ok_or(Trouble::Closed)?)?;
            }
        }
    }
}

/// What had arrived when the connection ended is not lost with it.
async fn drain(ear: &mut Ear, stream: &mut PubSubStream) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        for _ in 0..100 {
            let Some(Some(message)) = unconstrained(stream.next()).now_or_never() else { return };
            if hear(ear, &message).is_err() {
                return;
            }
        }
        yield_now().await;
    }
}

fn hear(ear: &mut Ear, message: &Msg) -> Result<(), Trouble> {
    let channel: Vec<u8> = message.get_channel()?;
    ear.hears(&channel, message.get_payload_bytes());
    Ok(())
}

async fn within<T>(
    limit: Duration,
    asking: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, Trouble> {
    Ok(timeout(limit, asking).await.map_err(|_| Trouble::Silent(limit))??)
}
