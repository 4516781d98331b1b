//! Clients that write and read without pause, and note what they were shown that they must not be.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::support::client::Client;
use crate::support::wait::within;
use crate::{PATH, World};

/// From the death of a server until everything works again. A second or a few; but a Sentinel that
/// is short of time itself, on a machine that has much else to do, trusts its own eyes again only
/// after half a minute.
pub(crate) const RECOVERY: Duration = Duration::from_secs(45);

/// How long the others may show what was replaced while one of them cannot tell them: the ledger's
/// lease, and a little for machines that have much to do.
const ELSEWHERE: Duration = Duration::from_secs(4);

/// A writer through the first process, and a reader of each.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    slowest: Arc<AtomicU64>,
    owed: Arc<Mutex<Vec<(Instant, bool)>>>,
    writer: JoinHandle<Vec<String>>,
    readers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    pub(crate) fn on(world: &World) -> Self {
        Self::with(world, false)
    }

    /// On strict routes: what is recorded anywhere counts everywhere.
    pub(crate) fn strict(world: &World) -> Self {
        Self::with(world, true)
    }

    fn with(world: &World, is_strict: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(Mutex::new(vec![Acknowledged {
            value: 0,
            at: Instant::now(),
            is_owed: false,
        }]));
        let (slowest, owed) = (Arc::new(AtomicU64::new(0)), Arc::default());
        let client = |number: usize| Asker {
            client: world.larders[number].client(),
            // What was written through a process is seen there at once.
            patience: if number == 0 { Duration::ZERO } else { ELSEWHERE },
            is_strict,
            stop: Arc::clone(&stop),
            acknowledged: Arc::clone(&acknowledged),
            slowest: Arc::clone(&slowest),
            owed: Arc::clone(&owed),
        };
        let writer = tokio::spawn(client(0).write());
        let readers =
            (0..world.larders.len()).map(|number| tokio::spawn(client(number).read())).collect();
        Self { stop, acknowledged, slowest, owed, writer, readers }
    }

    /// Waits until this many more writes were acknowledged.
    pub(crate) async fn writes(&self, more: usize) {
        let before = self.acknowledged.lock().unwrap().len();
        within(RECOVERY, "writes are acknowledged", async || {
            self.acknowledged.lock().unwrap().len() >= before + more
        })
        .await;
    }

    /// Waits until this many more writes were recorded in the ledger, and none owed to it.
    pub(crate) async fn records(&self, more: usize) {
        let recorded = || self.owed.lock().unwrap().iter().filter(|(_, owed)| !owed).count();
        let before = recorded();
        within(RECOVERY, "writes are recorded", async || recorded() >= before + more).await;
    }

    /// Ends it. What it cost, if there is nothing to complain about.
    pub(crate) async fn must_be_fine(self) -> Cost {
        self.stop.store(true, Relaxed);
        let mut complaints = self.writer.await.unwrap();
        for reader in self.readers {
            complaints.extend(reader.await.unwrap());
        }
        assert!(complaints.is_empty(), "{} complaints: {complaints:#?}", complaints.len());
        let slowest = Duration::from_micros(self.slowest.load(Relaxed));
        let owed = longest(&self.owed.lock().unwrap());
        Cost { slowest, owed }
    }
}

/// What clients noticed.
#[derive(Debug)]
#[expect(dead_code, reason = "it is there to be shown")]
pub(crate) struct Cost {
    /// The longest that a request took.
    slowest: Duration,
    /// The longest time in which every write was owed to the ledger.
    owed: Duration,
}

/// The longest time from one write that was recorded to the next, with others in between.
fn longest(writes: &[(Instant, bool)]) -> Duration {
    let recorded: Vec<usize> = (0..writes.len()).filter(|at| !writes[*at].1).collect();
    let gaps = recorded.windows(2).filter(|pair| pair[1] - pair[0] > 1);
    gaps.map(|pair| writes[pair[1]].0 - writes[pair[0]].0).max().unwrap_or_default()
}

/// A write that was answered.
struct Acknowledged {
    value: u64,
    at: Instant,
    /// The others could not be told of it yet.
    is_owed: bool,
}

struct Asker {
    client: Client,
    patience: Duration,
    is_strict: bool,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    slowest: Arc<AtomicU64>,
    /// When each write was answered, and whether its record was owed then.
    owed: Arc<Mutex<Vec<(Instant, bool)>>>,
}

impl Asker {
    async fn write(self) -> Vec<String> {
        let mut complaints = Vec::new();
        for value in 1.. {
            if self.stop.load(Relaxed) {
                break;
            }
            let sent = Instant::now();
            let reply = self.client.asks("PUT", PATH).content(&value.to_string()).send().await;
            self.note(sent);
            let is_owed = reply.status().value("detail") == Some("invalidation-owed");
            self.owed.lock().unwrap().push((Instant::now(), is_owed));
            if reply.status == 204 {
                let at = Instant::now();
                self.acknowledged.lock().unwrap().push(Acknowledged { value, at, is_owed });
            } else {
                complaints.push(format!("PUT {value}: {} {}", reply.status, reply.text()));
            }
            sleep(Duration::from_millis(20)).await;
        }
        complaints
    }

    async fn read(self) -> Vec<String> {
        let mut complaints = Vec::new();
        while !self.stop.load(Relaxed) {
            let sent = Instant::now();
            let least = self.least(sent);
            let reply = self.client.get(PATH).await;
            self.note(sent);
            // What was there before the first write is no number.
            let shown = reply.text().parse::<u64>().unwrap_or(0);
            if reply.status != 200 || shown < least {
                let (status, took) = (reply.status, sent.elapsed());
                complaints.push(format!("GET: {status} {shown}, not {least}, {took:?}"));
            }
            sleep(Duration::from_millis(3)).await;
        }
        complaints
    }

    /// The last value that was acknowledged early enough before now.
    fn least(&self, now: Instant) -> u64 {
        let acknowledged = self.acknowledged.lock().unwrap();
        let counts = |write: &&Acknowledged| {
            write.at + self.patience <= now || (self.is_strict && !write.is_owed && write.at <= now)
        };
        acknowledged.iter().rev().find(counts).map_or(0, |write| write.value)
    }

    fn note(&self, sent: Instant) {
        let took = u64::try_from(sent.elapsed().as_micros()).unwrap();
        self.slowest.fetch_max(took, Relaxed);
    }
}
