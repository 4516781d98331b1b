//! What the steps of a hit take, in instructions. Each is taken a hundred times, for a hundred of the
//! thousand products of a shop.
//!
//! `scripts/bench-check` counts, under valgrind, and compares with `instructions.baseline`. By itself
//! this program only takes one step, or says which there are.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "what it is for")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::BodyExt as _;
use larder::body::Body;
use larder::clock;
use larder::config::matcher::Routes;
use larder::config::{Config, Overrides};
use larder::error::ProxyError;
use larder::fast::{FastPath as _, Field, Head};
use larder::key::{Key, Place};
use larder::layers::cache::asked::Asked;
use larder::layers::cache::deliver::{self, Served};
use larder::layers::cache::{CacheLayer, Means, lookup};
use larder::layers::fast::FastHits;
use larder::layers::forward::ForwardLayer;
use larder::layers::observe::Watch;
use larder::ledger::name::Name;
use larder::ledger::{Cause, Mode, Position, Standing};
use larder::peer::{ClientAddr, LocalAddr};
use larder::plan::Plan;
use larder::plan::request::{Found, plan};
use larder::semantics::reuse::Demands;
use larder::store::ledger::LedgerHandle;
use larder::store::memory::MemoryStore;
use larder::store::{Entry, Record, codec};
use larder::telemetry::metrics::Metrics;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer as _, ServiceExt as _, service_fn};

// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The name of each step, and how it is set up.
const STEPS: &[(&str, SetUp)] = &[
    ("route-of-10", || route(10)),
    ("route-of-1000", || route(1000)),
    ("key", || key("")),
    ("key-with-query", || key("?currency=eur&lang=de&utm_source=letter&fields=name,price")),
    ("lookup-in-memory", lookup_in_memory),
    ("judged-known-to-be-good", judged_known_to_be_good),
    ("judged-by-the-ledger", judged_by_the_ledger),
    ("plan-of-a-fresh-hit", plan_of_a_fresh_hit),
    ("hit-past-the-layers", || hit_past_the_layers("200", &[])),
    ("hit-past-the-layers-304", || hit_past_the_layers("304", &[("if-none-match", ETAG)])),
    ("hit-delivered-by-the-layers", hit_delivered_by_the_layers),
    ("entry-encoded", entry_encoded),
    ("entry-decoded", entry_decoded),
];

/// Prints the names; or takes the step of that name, once set up.
fn main() {
    match std::env::args().skip(1).find(|text| !text.starts_with('-')) {
        None => STEPS.iter().for_each(|(name, _)| println!("{name}")),
        Some(wanted) => {
            let (_, set_up) = STEPS.iter().find(|(name, _)| *name == wanted).unwrap();
            a_hundred_steps(&mut set_up());
        }
    }
}

/// What is counted, by its name: from its call to its return.
#[inline(never)]
fn a_hundred_steps(step: &mut Step) {
    step();
    // So that the call before this is not the last thing done, which would be a jump.
    black_box(());
}

/// How often each step is taken: `scripts/bench-check` divides by it.
const ROUNDS: usize = 100;
/// So that tables are looked into that have some size.
const PRODUCTS: usize = 1000;
/// Invalidations of other things, which a ledger has to remember.
const OTHERS: usize = 1000;

const HOST: &str = "shop.example";
const CLIENT: &str = "192.0.2.7:49152";
const LOCAL: &str = "127.0.0.1:8080";
const ETAG: &str = "\"5f1d7a0c\"";
const FILE: &str = r#"
origin.url = "http://127.0.0.1:1"
[[route]]
path = "/products/{id}"
soft_ttl = "1h"
tags = ["product:{id}"]
query.ignore = ["utm_*"]
"#;
/// What a client sends with each request.
const ASKED: &[(&str, &str)] = &[
    ("host", HOST),
    ("user-agent", "shop-app/7.2 (Android 16; Pixel 9)"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, br"),
    ("x-request-id", "0f8fad5b-d9cb-469f-a165-70867728950e"),
];
/// What the origin sends with each answer.
const ANSWERED: &[(&str, &str)] = &[
    ("content-type", "application/json; charset=utf-8"),
    ("cache-control", "public, max-age=3600"),
    ("etag", ETAG),
    ("last-modified", "Sun, 06 Nov 1994 08:49:30 GMT"),
    ("x-content-type-options", "nosniff"),
];

/// One step, [`ROUNDS`] times.
type Step = Box<dyn FnMut()>;
/// Gets all ready for it.
type SetUp = fn() -> Step;

/// Takes the step, so that what only happens the first time is not counted.
fn warm(mut step: impl FnMut() + 'static) -> Step {
    step();
    Box::new(step)
}

// --- the steps ---

fn route(count: usize) -> Step {
    let mut file = "origin.url = \"http://127.0.0.1:1\"\n".to_owned();
    for n in 0..count {
        writeln!(file, "[[route]]\npath = \"/service-{n}/items/{{id}}\"").unwrap();
    }
    let routes = Routes::new(&config(&file));
    let paths: Vec<_> =
        (0..ROUNDS).map(|n| format!("/service-{}/items/{n}", n * 7 % count)).collect();
    warm(move || {
        for path in &paths {
            black_box(routes.find(HOST, &Method::GET, path));
        }
    })
}

fn key(query: &str) -> Step {
    let config = config(FILE);
    let route = Arc::clone(&config.routes[0]);
    let namespace: Arc<str> = "shop".into();
    let uris: Vec<_> = (0..ROUNDS).map(|n| uri(&format!("{}{query}", path(n)))).collect();
    let headers = headers(ASKED);
    warm(move || {
        let place = Place {
            route: &route.name,
            namespace: &namespace,
            version: Position::ZERO,
            tags: [7; 8],
        };
        for uri in &uris {
            black_box(Key::primary(&place, &route.key, uri, &headers));
        }
    })
}

fn lookup_in_memory() -> Step {
    let shop = shop();
    let keys: Vec<_> = (0..ROUNDS).map(|n| shop.asked(n).key).collect();
    warm(move || {
        for key in &keys {
            assert!(black_box(shop.means.store.peek(key)).is_some());
        }
    })
}

fn judged_known_to_be_good() -> Step {
    let (shop, entries) = disturbed();
    let now = shop.means.now();
    warm(move || {
        for entry in &entries {
            assert_eq!(lookup::judged(&shop.means, entry, now), Standing::Good);
        }
    })
}

/// As above if nobody has judged them yet.
fn judged_by_the_ledger() -> Step {
    let (shop, entries) = disturbed();
    let now = shop.means.now();
    warm(move || {
        for entry in &entries {
            let belongs = entry.belongs();
            let ledger = &shop.means.ledger;
            assert_eq!(ledger.judge(entry.as_of, entry.vouched, &belongs, now), Standing::Good);
        }
    })
}

fn plan_of_a_fresh_hit() -> Step {
    let shop = shop();
    let entries = shop.entries();
    let (route, now) = (Arc::clone(&shop.config.routes[0]), shop.means.now());
    let demands = Demands::default();
    warm(move || {
        for entry in &entries {
            let found = Found::Entry(entry, Standing::Good);
            assert_eq!(black_box(plan(&route, &demands, found, false, now)), Plan::Serve);
        }
    })
}

fn hit_past_the_layers(status: &'static str, more: &[(&'static str, &'static str)]) -> Step {
    let shop = shop();
    let fields = ASKED.iter().chain(more);
    let fields: Vec<_> =
        fields.map(|&(name, value)| Field { name, value: value.as_bytes() }).collect();
    let fields = &*fields.leak();
    let (client, local) = (CLIENT.parse().unwrap(), LOCAL.parse().unwrap());
    let heads: Vec<_> =
        (0..ROUNDS).map(|n| Head { target: path(n).leak(), fields, client, local }).collect();
    let mut fast = shop.fast();
    let mut out = Vec::with_capacity(4096);
    warm(move || {
        for head in &heads {
            out.clear();
            assert!(fast.answer(head, None, &mut out).is_some());
            assert_eq!(out.get(9..12), Some(status.as_bytes()));
        }
    })
}

fn hit_delivered_by_the_layers() -> Step {
    let shop = shop();
    let hits: Vec<_> = (0..ROUNDS).map(|n| shop.asked(n)).zip(shop.entries()).collect();
    let now = shop.means.now();
    warm(move || {
        for (asked, entry) in &hits {
            black_box(deliver::entry(asked, entry, Served::Hit, now));
        }
    })
}

fn entry_encoded() -> Step {
    let shop = shop();
    let records: Vec<_> = shop.entries().into_iter().map(Record::Entry).collect();
    let now = shop.means.now();
    warm(move || {
        for record in &records {
            black_box(codec::encode(record, now)).unwrap();
        }
    })
}

fn entry_decoded() -> Step {
    let shop = shop();
    let now = shop.means.now();
    let encoded = shop.entries().into_iter().map(|entry| {
        let encoded = codec::encode(&Record::Entry(entry), now).unwrap().unwrap();
        (Bytes::from(encoded.bytes), encoded.lifetime)
    });
    let encoded: Vec<_> = encoded.collect();
    warm(move || {
        for (bytes, lifetime) in &encoded {
            black_box(codec::decode(bytes, now, *lifetime)).unwrap();
        }
    })
}

// --- what they are taken in ---

/// All products in memory, filled through the layers.
struct Shop {
    config: Config,
    means: Arc<Means>,
}

fn shop() -> Shop {
    let config = config(FILE);
    let store = Arc::new(MemoryStore::new(64 << 20, 1 << 20));
    let ledger = LedgerHandle::embedded(10 * OTHERS);
    let means = Arc::new(Means::new(&config, store, ledger, metrics(&config)));
    let origin = service_fn(async |_: Request<Body>| Ok::<_, ProxyError>(answer()));
    let cache = CacheLayer::new(Arc::clone(&means)).layer(origin);
    let layers = ForwardLayer::new(&config.limits).layer(cache);
    runtime().block_on(async {
        for n in 0..PRODUCTS {
            let response = layers.clone().oneshot(request(n)).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
    });
    Shop { config, means }
}

/// The shop, after other things were invalidated: its first entries are from before that.
fn disturbed() -> (Shop, Vec<Arc<Entry>>) {
    let shop = shop();
    runtime().block_on(async {
        for n in 0..OTHERS {
            let names = vec![Name::Tag(format!("other:{n}").into())];
            shop.means.ledger.invalidate(names, Mode::Hard, Cause::Write).await;
        }
    });
    let entries = shop.entries();
    (shop, entries)
}

impl Shop {
    /// Of the first products.
    fn entries(&self) -> Vec<Arc<Entry>> {
        let find = |n| match self.means.store.peek(&self.asked(n).key) {
            Some(Record::Entry(entry)) => entry,
            other => panic!("product {n} is not there: {other:?}"),
        };
        (0..ROUNDS).map(find).collect()
    }

    /// A request as the cache reads it.
    fn asked(&self, n: usize) -> Asked {
        let found = self.means.routes.find(HOST, &Method::GET, &path(n));
        let mut request = request(n);
        *request.uri_mut() = uri(&path(n));
        let (parts, _) = request.into_parts();
        let stamp = self.means.stamp(&found.route);
        let version = |namespace: &str| self.means.ledger.version(namespace);
        Asked::new(found.route, found.captures, parts, stamp, version)
    }

    fn fast(&self) -> FastHits {
        let metrics = Arc::clone(&self.means.metrics);
        let watch = Watch { metrics, log: None, fallback: self.config.routes.len() };
        FastHits::new(&self.config.limits, watch, Arc::clone(&self.means))
    }
}

fn config(file: &str) -> Config {
    let loaded = Config::load(Some(("proxy.toml", file)), &Overrides::default(), &|_| None);
    let (config, _) = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    config
}

fn metrics(config: &Config) -> Arc<Metrics> {
    let routes = config.routes.iter().chain([&config.fallback]);
    let names: Vec<&str> = routes.map(|route| &*route.name).collect();
    Metrics::new(&names)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn path(n: usize) -> String {
    format!("/products/{}", 10_000 + n)
}

fn uri(path: &str) -> Uri {
    format!("http://{HOST}{path}").parse().unwrap()
}

fn headers(fields: &'static [(&str, &str)]) -> HeaderMap {
    let field = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    fields.iter().map(field).collect()
}

fn request(n: usize) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path(n).parse().unwrap();
    *request.headers_mut() = headers(ASKED);
    request.extensions_mut().insert(ClientAddr(CLIENT.parse().unwrap()));
    request.extensions_mut().insert(LocalAddr(LOCAL.parse().unwrap()));
    request
}

/// With 1 kB of content, as of now: what comes with an age is not fresh for long.
fn answer() -> Response<Body> {
    let content = "{\"name\":\"tea\"}\n".repeat(64);
    let (length, date) = (content.len(), httpdate::fmt_http_date(clock::wall()));
    let mut answer = Response::new(Body::full(content));
    *answer.headers_mut() = headers(ANSWERED);
    answer.headers_mut().append(CONTENT_LENGTH, HeaderValue::from(length));
    answer.headers_mut().append(DATE, HeaderValue::try_from(date).unwrap());
    answer
}
