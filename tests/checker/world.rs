//! The world that is put to the test: an origin, Larder on three seats, Valkey (behind a fault proxy
//! for each of them, or with Sentinels); and the book in which everything is written.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Mutex as Slot;
use tokio::time::Instant;

use crate::fault::Proxy;
use crate::history::{Ack, History, Key, Micros, Process, Read, Seat, Version, Window};
use crate::origin::{self, Origin};
use crate::routes::{KINDS, keys, promises};
use crate::servers::{Servers, Topology};
use crate::support::larder::{Larder, Setup};
use crate::support::wait::within;

/// Processes at a time.
pub(crate) const SEATS: usize = 3;

/// `store.ledger_lease` of all processes. Above the time that a flushed ledger may go unnoticed: a
/// second between two looks, and what XREAD blocks (a quarter of the lease).
pub(crate) const LEASE: Duration = Duration::from_millis(1500);

/// How far a clock may be off, as `faketime` is told.
pub(crate) const SKEWS: [&str; 2] = ["+3600", "-3600"];

/// Everything that runs.
pub(crate) struct World {
    began: Instant,
    pub(crate) origin: Origin,
    pub(crate) servers: Slot<Servers>,
    /// As it stands in the configuration, for each seat.
    urls: Vec<String>,
    pub(crate) seats: Vec<At>,
    pub(crate) book: Book,
    over: AtomicBool,
}

/// Where a process runs, and after it another one.
pub(crate) struct At {
    /// Process, port and admin port, in one number; 0: nobody is there.
    door: AtomicU64,
    pub(crate) larder: Slot<Option<Larder>>,
    pub(crate) link: Proxy,
    /// Held by the fault that it has at the moment.
    pub(crate) fault: Slot<()>,
}

/// The way in to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Door {
    pub(crate) process: Process,
    pub(crate) port: u16,
    pub(crate) admin: u16,
}

/// What has happened, as it happens.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) reads: Mutex<Vec<Read>>,
    pub(crate) acks: Mutex<Vec<Ack>>,
    pub(crate) unanswered: Mutex<Vec<Unanswered>>,
    disturbed: Mutex<Vec<(Seat, Window)>>,
    silent: Mutex<Vec<(Seat, Window)>>,
    pub(crate) frozen: Mutex<Vec<Window>>,
    pub(crate) two: Mutex<Vec<Window>>,
    processes: Mutex<Vec<(Seat, Option<Micros>)>>,
    /// When which process said that it owes nothing.
    pub(crate) settled: Mutex<Vec<(Process, Window)>>,
    /// By key: the highest version whose position was told, and that position.
    positions: Mutex<Vec<(Version, Arc<str>)>>,
    /// Requests that were not answered as they should.
    pub(crate) failed: AtomicU64,
}

/// A write of which nobody was told how it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unanswered {
    pub(crate) key: Key,
    pub(crate) number: u64,
    pub(crate) process: Process,
    pub(crate) invoked: Micros,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}

impl World {
    pub(crate) async fn start(seed: u64, topology: Topology) -> Self {
        let began = Instant::now();
        let servers = Servers::start(topology).await;
        let links: Vec<_> = (0..SEATS).map(|_| Proxy::before(servers.port())).collect();
        let urls = links.iter().map(|link| match &servers {
            Servers::One(_) => format!("valkey://127.0.0.1:{}", link.port()),
            Servers::Watched(watched) => watched.url(),
        });
        let urls = urls.collect();
        let at = |link| At {
            door: AtomicU64::new(0),
            larder: Slot::new(None),
            link,
            fault: Slot::new(()),
        };
        let seats = links.into_iter().map(at).collect();
        let book = Book::default();
        lock(&book.positions).resize(keys(), (0, "".into()));
        let world = Self {
            began,
            origin: Origin::start(began, seed).await,
            servers: Slot::new(servers),
            urls,
            seats,
            book,
            over: AtomicBool::new(false),
        };
        for seat in 0..SEATS {
            world.launch(seat, None).await;
        }
        world.until_ready().await;
        world
    }

    pub(crate) fn now(&self) -> Micros {
        self.began.elapsed().as_micros() as Micros
    }

    /// Clients and faults are to come to an end.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// The way in to whoever runs there now.
    pub(crate) fn door(&self, seat: usize) -> Option<Door> {
        let door = self.seats[seat].door.load(Ordering::SeqCst);
        (door != 0).then_some(Door {
            process: (door >> 32) as u16,
            port: (door >> 16) as u16,
            admin: door as u16,
        })
    }

    /// Runs a new process there, its clock so far off.
    pub(crate) async fn launch(&self, seat: usize, skew: Option<&str>) {
        let command = skew.map_or_else(Larder::command, skewed);
        let larder = self.setup(seat).start_as(command).await;
        let process = {
            let mut processes = lock(&self.book.processes);
            processes.push((seat as Seat, None));
            processes.len() as u64 - 1
        };
        let (port, admin) = (larder.address().port(), larder.admin_address().port());
        *self.seats[seat].larder.lock().await = Some(larder);
        let door = (process << 32) | (u64::from(port) << 16) | u64::from(admin);
        self.seats[seat].door.store(door, Ordering::SeqCst);
    }

    fn setup(&self, seat: usize) -> Setup {
        let url = &self.urls[seat];
        let lease = LEASE.as_millis();
        // One keeps nothing itself: each of its hits is looked up in Valkey.
        let memory = if seat + 1 == SEATS { "0" } else { "256MiB" };
        let store =
            format!("valkey = \"{url}\"\nledger_lease = \"{lease}ms\"\nmemory = \"{memory}\"");
        let patience = format!("timeout = \"{}ms\"", origin::TIMEOUT.as_millis());
        let mut setup = Setup::before(&format!("http://127.0.0.1:{}", self.origin.port))
            .origin(&patience)
            .store(&store)
            .log("access = false");
        for kind in KINDS {
            for (path, keys) in kind.paths {
                setup = setup.route(path, keys);
            }
        }
        setup
    }

    /// Ends the process there without a word.
    pub(crate) async fn kill(&self, seat: usize) {
        let Some(door) = self.door(seat) else { return };
        self.seats[seat].door.store(0, Ordering::SeqCst);
        let mut larder = self.seats[seat].larder.lock().await;
        lock(&self.book.processes)[usize::from(door.process)].1 = Some(self.now());
        if let Some(mut larder) = larder.take() {
            tokio::task::block_in_place(|| larder.kill());
        }
    }

    /// Waits until every process hears the ledger and owes it nothing.
    pub(crate) async fn until_ready(&self) {
        for seat in &self.seats {
            within(Duration::from_secs(20), "all is well again", async || {
                let larder = seat.larder.lock().await;
                let larder = larder.as_ref().expect("a process on every seat");
                let told = larder.admin().get("/readyz").await.json();
                let parts = told["parts"].as_array().cloned().unwrap_or_default();
                let owed = larder.metrics().await.sum("larder_ledger_owed", &[]);
                !parts.is_empty() && parts.iter().all(|part| part["ok"] == true) && owed < 1.0
            })
            .await;
        }
    }

    pub(crate) fn acknowledge(&self, ack: Ack, position: &str) {
        lock(&self.book.acks).push(ack);
        if !position.is_empty() {
            let told = &mut lock(&self.book.positions)[usize::from(ack.key)];
            if told.0 < ack.version {
                *told = (ack.version, position.into());
            }
        }
    }

    /// The highest version of a key whose position was told, and that position.
    pub(crate) fn position(&self, key: Key) -> (Version, Arc<str>) {
        lock(&self.book.positions)[usize::from(key)].clone()
    }

    /// Writes that the origin carried out, and of which nobody was told.
    pub(crate) fn orphans(&self) -> usize {
        let unanswered = lock(&self.book.unanswered);
        unanswered.iter().filter(|write| self.origin.written(write.number).is_some()).count()
    }

    /// Something was wrong with these seats.
    pub(crate) fn disturbed(&self, seats: &[usize], window: Window) {
        let mut disturbed = lock(&self.book.disturbed);
        disturbed.extend(seats.iter().map(|seat| (*seat as Seat, window)));
    }

    /// The same, and none of them heard anything of the ledger in all that time.
    pub(crate) fn silenced(&self, seats: &[usize], window: Window) {
        let mut silent = lock(&self.book.silent);
        silent.extend(seats.iter().map(|seat| (*seat as Seat, window)));
    }

    /// Everything that happened, for the judge.
    pub(crate) fn history(&self) -> History {
        let by_seat = |all: &Mutex<Vec<(Seat, Window)>>| {
            let mut sorted = vec![Vec::new(); SEATS];
            for (seat, window) in lock(all).iter() {
                sorted[usize::from(*seat)].push(*window);
            }
            sorted
        };
        let processes = lock(&self.book.processes).clone();
        let mut settled = vec![Vec::new(); processes.len()];
        for (process, window) in lock(&self.book.settled).iter() {
            settled[usize::from(*process)].push(*window);
        }
        History {
            reads: std::mem::take(&mut lock(&self.book.reads)),
            acks: lock(&self.book.acks).clone(),
            promises: promises(),
            applied: self.origin.applied(),
            disturbed: by_seat(&self.book.disturbed),
            silent: by_seat(&self.book.silent),
            frozen: lock(&self.book.frozen).clone(),
            two: lock(&self.book.two).clone(),
            processes,
            settled,
        }
    }
}

/// Where Debian keeps the library that lies about the time.
fn faketime() -> Option<String> {
    let libraries = ["x86_64-linux-gnu", "aarch64-linux-gnu"];
    let path = |name| format!("/usr/lib/{name}/faketime/libfaketimeMT.so.1");
    libraries.map(path).into_iter().find(|path| std::path::Path::new(path).exists())
}

/// Larder with a wall clock so far off. Its monotonic clock stays what it is: nothing can change
/// that one.
pub(crate) fn skewed(skew: &str) -> std::process::Command {
    let library = faketime().expect("faketime is needed for this test: scripts/setup installs it");
    let mut command = Larder::command();
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME", skew)
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
    command
}
