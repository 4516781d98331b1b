//! What a story is told on: an origin, a process in front of it, a client, and paths that no other
//! story uses.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio::task::LocalSet;

use crate::support::client::{Asking, Client, Reply};
use crate::support::larder::{Larder, Setup};
use crate::support::origin::{Answer, Asked, Origin};
use crate::support::wait::eventually;
use crate::valkey::Valkey;
use crate::{STORIES, stale};

/// A story and its name.
pub(crate) type Story = (&'static str, fn(Stage) -> Telling);

type Telling = Pin<Box<dyn Future<Output = ()>>>;

/// Where entries live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Memory,
    Valkey,
    Both,
}

impl Place {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Valkey, Self::Both];
}

/// What the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Tells all stories; fails with those that did not end well.
pub(crate) async fn tell(place: Place, protocol: Protocol) {
    let world = Arc::new(World::start(place, protocol).await);
    let stories = LocalSet::new();
    let telling: Vec<_> = STORIES
        .iter()
        .map(|(name, story)| (name, stories.spawn_local(story(Stage::of(&world, name)))))
        .collect();
    stories.await;
    let mut failed = Vec::new();
    for (name, told) in telling {
        if let Err(error) = told.await {
            failed.push(format!("{name}, {place:?}, {protocol:?}: {}", words(error.into_panic())));
        }
    }
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), STORIES.len(), failed.join("\n\n"));
    let world = Arc::into_inner(world).expect("all stories have been told");
    stale::an_origin_that_is_gone_is_covered_for_and_never_beyond_what_it_allowed(world).await;
}

/// What somebody said who panicked.
fn words(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(words) => *words,
        Err(panic) => panic.downcast_ref::<&str>().unwrap_or(&"").to_string(),
    }
}

/// An origin, a process without routes in front of it, and a client.
pub(crate) struct World {
    pub(crate) origin: Origin,
    pub(crate) cache: Cache,
}

impl World {
    async fn start(place: Place, protocol: Protocol) -> Self {
        let origin = Origin::start();
        let cache = Cache::before(&origin.url(), place, protocol).await;
        Self { origin, cache }
    }
}

/// A process without routes, and a client of it.
pub(crate) struct Cache {
    pub(crate) place: Place,
    pub(crate) larder: Larder,
    pub(crate) client: Client,
    pub(crate) shelf: Option<Shelf>,
}

impl Cache {
    pub(crate) async fn before(origin: &str, place: Place, protocol: Protocol) -> Self {
        let shelf = (place != Place::Memory).then(Shelf::free);
        // A machine that is busy with other tests must not look like a Valkey that does not answer.
        let mut setup = Setup::before(origin).store("timeout = \"5s\"");
        if let Some(Shelf { valkey, prefix }) = &shelf {
            let url = valkey.url();
            setup = setup.store(&format!("valkey = \"{url}\"\nprefix = \"{prefix}\""));
        }
        if place == Place::Valkey {
            setup = setup.store("memory = 0");
        }
        let larder = setup.start().await;
        let admin = larder.admin();
        eventually("all parts are ready", async || {
            let told = admin.get("/readyz").await;
            told.status == 200
                && told.json()["parts"]
                    .as_array()
                    .is_some_and(|parts| parts.iter().all(|part| part["ok"] == true))
        })
        .await;
        let client = match protocol {
            Protocol::Http1 => larder.client(),
            Protocol::Http2 => larder.client().over_http2(),
        };
        Self { place, larder, client, shelf }
    }
}

/// Where a process has its keys in a Valkey that others use too.
pub(crate) struct Shelf {
    valkey: Arc<Valkey>,
    prefix: String,
}

/// The one server for all tests of a process that run at the same time; the last one ends it.
static VALKEY: Mutex<Weak<Valkey>> = Mutex::new(Weak::new());

impl Shelf {
    fn free() -> Self {
        static TAKEN: AtomicUsize = AtomicUsize::new(0);
        let prefix = format!("wire{}", TAKEN.fetch_add(1, Ordering::Relaxed));
        let mut shared = VALKEY.lock().unwrap_or_else(PoisonError::into_inner);
        let valkey = shared.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Valkey::start());
            *shared = Arc::downgrade(&started);
            started
        });
        Self { valkey, prefix }
    }

    /// Takes the record away that has this digest for a key; whether there was one.
    pub(crate) fn loses(&self, digest: &str) -> bool {
        let mut connection = self.valkey.client();
        let pattern = format!("{}:e:{digest}", self.prefix);
        let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query(&mut connection).unwrap();
        let deleted = keys.iter().map(|key| redis::cmd("DEL").arg(key).query(&mut connection));
        deleted.map(Result::<usize, _>::unwrap).sum::<usize>() > 0
    }
}

/// A part of a world that belongs to one story.
pub(crate) struct Stage {
    pub(crate) world: Arc<World>,
    prefix: String,
}

impl Stage {
    pub(crate) fn of(world: &Arc<World>, name: &str) -> Self {
        Self { world: Arc::clone(world), prefix: format!("/{}", name.replace("::", "/")) }
    }

    /// The request target of what this story calls `path`.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The origin answers every method so.
    pub(crate) fn on(&self, path: &str, answer: Answer) {
        self.world.origin.on(&self.at(path)).replies(answer);
    }

    /// The origin makes its answer to any method when it is asked.
    pub(crate) fn answers(
        &self,
        path: &str,
        rule: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) {
        self.world.origin.on(&self.at(path)).answers(rule);
    }

    /// The origin answers this method so.
    pub(crate) fn when(&self, method: &str, path: &str, answer: Answer) {
        self.world.origin.when(method, &self.at(path)).replies(answer);
    }

    /// How often the origin was asked for it, whatever the query.
    pub(crate) fn saw(&self, path: &str) -> usize {
        self.world.origin.saw(&self.at(path))
    }

    /// What it was asked.
    pub(crate) fn asked(&self, path: &str) -> Vec<Arc<Asked>> {
        self.world.origin.asked(&self.at(path))
    }

    pub(crate) fn asks(&self, method: &str, path: &str) -> Asking {
        self.world.cache.client.asks(method, &self.at(path))
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.asks("GET", path).send().await
    }

    /// A GET with one field.
    pub(crate) async fn get_with(&self, path: &str, name: &'static str, value: &str) -> Reply {
        self.asks("GET", path).header(name, value).send().await
    }

    /// What would be done with a GET that has these fields: the whole answer of `/explain`.
    pub(crate) async fn explained(&self, path: &str, fields: &[(&str, &str)]) -> serde_json::Value {
        self.world.cache.larder.explain_with("GET", &self.at(path), fields).await
    }

    /// Fetches it, and waits until it is stored, fresh or not.
    pub(crate) async fn stores(&self, path: &str) -> Reply {
        self.stores_for(path, &[]).await
    }

    /// The same for a GET with these fields.
    pub(crate) async fn stores_for(
        &self,
        path: &str,
        fields: &[(&'static str, &'static str)],
    ) -> Reply {
        let reply = self.fills(path, fields).await;
        assert!(reply.status().has("stored"), "{path}: {reply:?}");
        reply
    }

    /// The same where somebody else speaks first in `Cache-Status`.
    pub(crate) async fn fills(&self, path: &str, fields: &[(&'static str, &'static str)]) -> Reply {
        let ask = || fields.iter().fold(self.asks("GET", path), |a, (n, v)| a.header(n, v));
        let reply = ask().send().await;
        eventually(&format!("{} is stored", self.at(path)), async || {
            !self.explained(path, fields).await["found"].is_null()
        })
        .await;
        // Until it is wholly put away, who asks is answered together with who asked first.
        let fresh = self.explained(path, fields).await["verdict"] == "serve";
        while fresh && !says_hit(&ask().send().await) {
            tokio::task::yield_now().await;
        }
        reply
    }

    /// Waits until a plain GET of it would be a fresh hit.
    pub(crate) async fn until_fresh(&self, path: &str) {
        self.world.cache.larder.until_verdict(&self.at(path), "serve").await;
        while !says_hit(&self.get(path).await) {
            tokio::task::yield_now().await;
        }
    }

    /// Asks for what must be a fresh hit, or be answered by what is on its way to the store, until
    /// it is there.
    #[track_caller]
    pub(crate) fn hit(&self, path: &str) -> impl Future<Output = Reply> {
        let caller = std::panic::Location::caller();
        async move {
            loop {
                let reply = self.get(path).await;
                assert!(reply.is_shared(), "{caller}: {path} should be a hit: {reply:?}");
                if reply.is_hit() {
                    return reply;
                }
            }
        }
    }

    /// Fetches three times what must not be stored: each time the origin is asked.
    pub(crate) async fn never_stores(&self, path: &str, fields: &[(&'static str, &'static str)]) {
        for time in 1..=3 {
            let asking = fields.iter().fold(self.asks("GET", path), |a, (n, v)| a.header(n, v));
            let reply = asking.send().await;
            let told = reply.status();
            assert!(!told.has("hit") && !told.has("stored"), "{path}, {time}: {reply:?}");
            assert_eq!(self.saw(path), time, "{path}: {reply:?}");
        }
        let told = self.explained(path, &[]).await;
        assert!(told["found"].is_null(), "{path}: {told}");
    }
}

/// Was it answered from the store, whoever else speaks in `Cache-Status`?
fn says_hit(reply: &Reply) -> bool {
    let mut lines = reply.headers.get_all("cache-status").iter();
    lines.next_back().is_some_and(|line| line.as_bytes().starts_with(b"larder; hit"))
}

/// The moment this many seconds from now, as fields have it.
#[expect(clippy::disallowed_methods, reason = "an origin has a clock of its own")]
pub(crate) fn date(seconds: i64) -> String {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let now = SystemTime::now();
    httpdate::fmt_http_date(if seconds < 0 { now - distance } else { now + distance })
}
