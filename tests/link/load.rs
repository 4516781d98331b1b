//! Clients that write and read without pause, and note what they were shown that they must not be.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::support::client::Client;
use crate::{PATH, World};

/// How long the others may show what was replaced while one of them cannot tell them: the ledger's
/// lease, and a little for machines that have much to do.
const ELSEWHERE: Duration = Duration::from_secs(4);

/// A writer through the first process, and a reader of each.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<(u64, Instant)>>>,
    slowest: Arc<AtomicU64>,
    writer: JoinHandle<Vec<String>>,
    readers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    pub(crate) fn on(world: &World) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(Mutex::new(vec![(0, Instant::now())]));
        let slowest = Arc::new(AtomicU64::new(0));
        let client = |number: usize| Asker {
            client: world.larders[number].client(),
            // What was written through a process is seen there at once.
            patience: if number == 0 { Duration::ZERO } else { ELSEWHERE },
            stop: Arc::clone(&stop),
            acknowledged: Arc::clone(&acknowledged),
            slowest: Arc::clone(&slowest),
        };
        let writer = tokio::spawn(client(0).write());
        let readers =
            (0..world.larders.len()).map(|number| tokio::spawn(client(number).read())).collect();
        Self { stop, acknowledged, slowest, writer, readers }
    }

    /// Waits until this many more writes were acknowledged.
    pub(crate) async fn writes(&self, more: usize) {
        let before = self.acknowledged.lock().unwrap().len();
        crate::support::wait::eventually("writes are acknowledged", async || {
            self.acknowledged.lock().unwrap().len() >= before + more
        })
        .await;
    }

    /// Ends it. The longest that a request took, if there is nothing to complain about.
    pub(crate) async fn must_be_fine(self) -> Duration {
        self.stop.store(true, Relaxed);
        let mut complaints = self.writer.await.unwrap();
        for reader in self.readers {
            complaints.extend(reader.await.unwrap());
        }
        assert!(complaints.is_empty(), "{} complaints: {complaints:#?}", complaints.len());
        Duration::from_micros(self.slowest.load(Relaxed))
    }
}

struct Asker {
    client: Client,
    patience: Duration,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<(u64, Instant)>>>,
    slowest: Arc<AtomicU64>,
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
            if reply.status == 204 {
                self.acknowledged.lock().unwrap().push((value, Instant::now()));
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
        let early = acknowledged.iter().rev().find(|(_, at)| *at + self.patience <= now);
        early.map_or(0, |(value, _)| *value)
    }

    fn note(&self, sent: Instant) {
        let took = u64::try_from(sent.elapsed().as_micros()).unwrap();
        self.slowest.fetch_max(took, Relaxed);
    }
}
