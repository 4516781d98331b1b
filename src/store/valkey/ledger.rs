//! The ledger in Valkey. Four keys in one hash slot:
//!
//! | key | type | holds |
//! |---|---|---|
//! | `<prefix>:{l}:ledger` | stream | the records, see `ledger/record.rs`; trimmed by age and number |
//! | `<prefix>:{l}:namespaces` | hash | namespace → version; under the empty name, which life of the stream this is |
//! | `<prefix>:{l}:intents` | sorted set | announced writes, by deadline (the server's clock, ms), see `ledger/intent.rs` |
//! | `<prefix>:{l}:instances` | hash | instance → `<applied> <milliseconds>`, about once a second, and when somebody may wait for it; gone when it has ended |
//!
//! | task | connection | does |
//! |---|---|---|
//! | tail | its own, mostly blocked in XREAD | reads the stream from where it stopped, looks once a second whether it is still the same one, renews the lease |
//! | append | its own | announces and appends what is due; what failed goes first when Valkey is back, and the lease is not renewed before |
//! | head | its own, when strict routes want it | asks where the stream ends |
//!
//! A *life* of the stream is the epoch of the server (`run_id:master_replid`) and the fence that
//! opened it. The scripts that write to the stream (`look.lua`, `append.lua` after `open.lua`) see to it
//! that every life begins with a fence above everything issued or handed out in the one before, and
//! that nothing else of ours stands in front of it. `announce.lua`
//! sets deadlines, and `look.lua`, which everybody runs once a second, keeps them.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Valkey;
use crate::store::OpenError;
use crate::store::ledger::{Settings, Shared};

mod append;
mod connection;
mod foreign;
mod head;
mod reply;
mod tail;
mod versions;

use connection::Link;

/// How far ahead of the server's clock a fence stands: the difference between the clocks of two
/// servers that a failover may not exceed.
const LEAD: Duration = Duration::from_secs(10);

/// The first pause before connecting again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Names of the keys.
#[derive(Clone, Debug)]
struct Keys {
    stream: String,
    namespaces: String,
    instances: String,
    intents: String,
}

impl Keys {
    fn new(prefix: &str) -> Self {
        let key = |name| format!("{prefix}:{{l}}:{name}");
        Self {
            stream: key("ledger"),
            namespaces: key("namespaces"),
            instances: key("instances"),
            intents: key("intents"),
        }
    }
}

/// Starts the tasks; they end when `stop` is cancelled. The one that is returned ends last: the
/// others know then that this process is gone.
pub(in crate::store) fn spawn(
    shared: Arc<Shared>,
    valkey: &Valkey,
    settings: Settings,
    stop: &CancellationToken,
) -> Result<JoinHandle<()>, OpenError> {
    let link = Link::new(valkey, settings.budget)?;
    let keys = Keys::new(&settings.prefix);
    let append = append::Append::new(
        Arc::clone(&shared),
        link.clone(),
        keys.clone(),
        settings.clone(),
        stop.clone(),
    );
    head::spawn(Arc::clone(&shared), link.clone(), keys.clone(), stop.clone());
    let mut tail = tail::Tail::new(shared, link, keys, settings);
    tokio::spawn(append.run());
    let stop = stop.clone();
    Ok(tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tail.run() => {}
        }
        if let Err(trouble) = tail.leave().await {
            tracing::debug!(%trouble, "the others are not told that this instance has ended");
        }
    }))
}

/// The pause after this one.
fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
