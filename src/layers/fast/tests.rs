//! Both ways to a hit, side by side: through all layers, and past them. Whatever the request, if it is
//! answered past them, it is answered as they answer it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt as _, service_fn};

use super::*;
use crate::body::Body;
use crate::config::{Config, Overrides};
use crate::error::ProxyError;
use crate::layers::cache::CacheLayer;
use crate::layers::forward::ForwardLayer;
use crate::layers::observe::ObserveLayer;
use crate::layers::rescue::RescueLayer;
use crate::peer::{ClientAddr, LocalAddr};
use crate::store::ledger::LedgerHandle;
use crate::store::memory::MemoryStore;
use crate::store::{Lease, LeaseEnd, LeaseToken, Store, StoreError, StoreFuture};
use crate::telemetry::metrics::Metrics;

const LOCAL: &str = "127.0.0.1:8080";
const STRANGER: &str = "192.0.2.7:4000";
const TRUSTED: &str = "10.0.0.7:4000";

const FILE: &str = r#"
origin.url = "http://127.0.0.1:1"
limits.trusted_proxies = ["10.0.0.0/8"]
limits.max_fields = 12
[class.all]
soft_ttl = "1h"
negative_ttl = "1h"
[[route]]
path = "/plain/{id}"
class = "all"
[[route]]
path = "/query"
class = "all"
query.ignore = ["utm_*"]
[[route]]
path = "/cookie"
class = "all"
key.cookies = ["lang"]
key.headers = ["x-tenant"]
[[route]]
path = "/obeys"
class = "all"
request_directives = "honour"
[[route]]
path = "/strict"
class = "all"
consistency = "strict"
[[route]]
path = "/key"
class = "all"
show_key = true
[[route]]
path = "/off"
cache = "off"
[[route]]
path = "/search"
class = "all"
no_vary_search = true
[[route]]
path = "/{*rest}"
class = "all"
"#;

/// What the origin answers; nothing here depends on the moment.
fn origin(request: &Request<Body>) -> Response<Body> {
    let uri = request.uri();
    let said = |name: &str| {
        let line = request.headers().get(name);
        line.map_or("-", |line| line.to_str().unwrap_or("?")).to_owned()
    };
    let text = format!("{uri} {} {}", said("accept-language"), said("x-tenant"));
    let answer = Response::builder().header("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    let answer = match uri.path() {
        "/vary" => answer.header("vary", "accept-language, accept-encoding"),
        "/vary-forwarded" => answer.header("vary", "x-forwarded-proto"),
        "/tagged" => answer
            .header("etag", "\"one\"")
            .header("last-modified", "Sun, 06 Nov 1994 08:49:30 GMT")
            .header("content-type", "text/plain")
            .header("content-language", "en")
            .header("link", "<a>")
            .header("link", "<b>"),
        "/dated" => answer.header("last-modified", "Sun, 06 Nov 1994 08:49:30 GMT"),
        "/aged" => answer.header("age", "30").header("cache-status", "other; hit"),
        "/gone" => answer.status(404),
        "/moved" => answer.status(301).header("location", "/plain/1"),
        "/nothing" => answer.status(204),
        "/odd" => answer.header("x-odd", HeaderValue::from_bytes(b"\xff ok").unwrap()),
        "/sized" => answer.header("content-length", text.len()),
        "/sized-tag" => answer.header("content-length", text.len()).header("etag", "\"one\""),
        _ => answer,
    };
    let empty = uri.path() == "/nothing";
    answer.body(if empty { Body::empty() } else { Body::full(text) }).unwrap()
}

type Long = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

struct Ways {
    fast: FastHits,
    long: Long,
    metrics: Arc<Metrics>,
}

fn ways() -> Ways {
    ways_to(Arc::new(MemoryStore::new(64 << 20, 1 << 20)))
}

fn ways_to(store: Arc<dyn Store>) -> Ways {
    let loaded = Config::load(Some(("proxy.toml", FILE)), &Overrides::default(), &|_| None);
    let (config, _) = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    let names: Vec<&str> =
        config.routes.iter().chain([&config.fallback]).map(|route| &*route.name).collect();
    let metrics = Metrics::new(&names);
    let ledger = LedgerHandle::embedded(1000);
    let means = Arc::new(Means::new(&config, store, ledger, Arc::clone(&metrics)));
    let fallback = config.routes.len();
    let watch = Watch { metrics: Arc::clone(&metrics), log: None, fallback };
    let inner =
        service_fn(|request: Request<Body>| async move { Ok::<_, ProxyError>(origin(&request)) });
    let cache = CacheLayer::new(Arc::clone(&means)).layer(inner);
    let forward = ForwardLayer::new(&config.limits).layer(cache);
    let long = ObserveLayer::new(watch.clone()).layer(RescueLayer.layer(forward));
    let fast = FastHits::new(&config.limits, watch, means);
    Ways { fast, long: BoxCloneSyncService::new(long), metrics }
}

/// A request in its parts.
#[derive(Clone, Debug)]
struct Asked {
    target: String,
    fields: Vec<(String, String)>,
    client: SocketAddr,
}

impl Asked {
    fn new(target: &str, fields: &[(&str, &str)]) -> Self {
        let fields = [("host", "a.test")].iter().chain(fields);
        let fields = fields.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self {
            target: target.to_owned(),
            fields: fields.collect(),
            client: STRANGER.parse().unwrap(),
        }
    }

    fn with_head<T>(&self, ask: impl FnOnce(&Head<'_>) -> T) -> T {
        let lines = self.fields.iter();
        let fields: Vec<Field<'_>> =
            lines.map(|(name, value)| Field { name, value: value.as_bytes() }).collect();
        let local = LOCAL.parse().unwrap();
        ask(&Head { target: &self.target, fields: &fields, client: self.client, local })
    }

    /// `None` if hyper would refuse it before anybody sees it.
    fn request(&self) -> Option<Request<Body>> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = self.target.parse::<Uri>().ok()?;
        for (name, value) in &self.fields {
            let name: HeaderName = name.parse().ok()?;
            request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
        }
        request.extensions_mut().insert(ClientAddr(self.client));
        request.extensions_mut().insert(LocalAddr(LOCAL.parse().unwrap()));
        Some(request)
    }
}

/// An answer as a client sees it: status, field lines by name in their order, content.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    fields: Fields,
    content: Bytes,
}

type Fields = BTreeMap<String, Vec<Vec<u8>>>;

fn by_name(headers: &HeaderMap) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in headers {
        fields.entry(name.to_string()).or_default().push(value.as_bytes().to_vec());
    }
    fields
}

fn parsed(message: &[u8]) -> Seen {
    let mut lines = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut lines);
    let httparse::Status::Complete(length) = response.parse(message).unwrap() else {
        panic!("no whole head: {}", String::from_utf8_lossy(message))
    };
    let content = Bytes::copy_from_slice(&message[length..]);
    let mut fields = Fields::new();
    for line in &*response.headers {
        fields.entry(line.name.to_owned()).or_default().push(line.value.to_vec());
    }
    Seen { status: response.code.unwrap(), fields, content }
}

impl Ways {
    async fn long(&self, asked: &Asked) -> Option<Seen> {
        let response = self.long.clone().oneshot(asked.request()?).await.unwrap();
        let (head, content) = response.into_parts();
        let content = content.collect().await.unwrap().to_bytes();
        let mut fields = by_name(&head.headers);
        let status = head.status.as_u16();
        if status != 304 && status != 204 {
            // hyper adds it.
            let length = content.len().to_string().into_bytes();
            fields.entry("content-length".to_owned()).or_insert_with(|| vec![length]);
        }
        Some(Seen { status, fields, content })
    }

    fn fast(&mut self, asked: &Asked) -> Option<Seen> {
        asked.with_head(|head| {
            let mut out = Vec::new();
            let rest = self.fast.answer(head, None, &mut out)?;
            out.extend_from_slice(&rest);
            Some(parsed(&out))
        })
    }

    /// As for HTTP/2.
    fn response(&mut self, asked: &Asked) -> Option<Seen> {
        let (head, content) = asked.with_head(|head| self.fast.respond(head))?.into_parts();
        Some(Seen { status: head.status.as_u16(), fields: by_name(&head.headers), content })
    }

    /// How many requests were counted as hits, and how many bytes were sent for them.
    fn counted(&self) -> (u64, u64) {
        let page = self.metrics.encode();
        let sum = |name: &str, label: &str| {
            let lines = page.lines().filter(|l| l.starts_with(name) && l.contains(label));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
        };
        let hits = sum("larder_requests_total", "outcome=\"hit\"");
        (hits, sum("larder_response_bytes_total", "source=\"cache\""))
    }
}

/// Asks both ways what is stored by then. `None` if it is not answered past the layers.
async fn both(ways: &mut Ways, asked: &Asked) -> Option<()> {
    ways.long(asked).await?;
    // The moment may change between the two, and with it the age or what is left.
    for _ in 0..3 {
        // Not everything that is answered so is answered as a response, but nothing else is.
        let response = ways.response(asked);
        let fast = ways.fast(asked);
        assert!(fast.is_some() || response.is_none(), "{asked:?}");
        let fast = fast?;
        let long = ways.long(asked).await?;
        if fast == long && response.as_ref().is_none_or(|response| *response == fast) {
            return Some(());
        }
        let moment = |seen: &Seen| {
            [seen.fields.get("age"), seen.fields.get("cache-status")].map(|v| v.cloned())
        };
        let moved = moment(&fast) != moment(&long)
            || response.as_ref().is_some_and(|response| moment(response) != moment(&fast));
        assert!(moved, "{asked:?}\n{fast:?}\n{response:?}\n{long:?}");
    }
    panic!("the moment changes all the time");
}

#[tokio::test]
async fn what_is_plain_is_answered_past_the_layers_as_they_answer_it() {
    let mut ways = ways();
    for (target, fields) in [
        ("/plain/1", &[][..]),
        ("/plain/1", &[("Accept", "*/*"), ("X-Request-Id", "7"), ("cookie", "a=b")]),
        ("/plain/1", &[("authorization", "Basic x")]),
        ("/plain/1", &[("cache-control", "no-cache"), ("pragma", "no-cache")]),
        ("/plain/1", &[("x-forwarded-proto", "https"), ("x-forwarded-for", "1.2.3.4")]),
        ("/plain/1?b=1&a=2", &[]),
        ("/query?utm_source=x&q=1", &[]),
        ("/query?", &[]),
        ("/cookie", &[("cookie", "x=y; lang=de"), ("x-tenant", "one")]),
        ("/obeys", &[]),
        ("/vary", &[("accept-language", "de , en"), ("Accept-Encoding", "gzip")]),
        ("/vary", &[]),
        ("/tagged", &[("if-none-match", "\"one\"")]),
        ("/tagged", &[("if-none-match", "W/\"one\", \"two\"")]),
        ("/tagged", &[("if-none-match", "\"two\"")]),
        ("/tagged", &[("if-modified-since", "Sun, 06 Nov 1994 08:49:30 GMT")]),
        ("/dated", &[("if-modified-since", "Sun, 06 Nov 1994 08:49:30 GMT")]),
        ("/dated", &[("if-modified-since", "rubbish")]),
        ("/aged", &[]),
        ("/gone", &[]),
        ("/moved", &[]),
        ("/odd", &[]),
        ("/sized", &[]),
    ] {
        let asked = Asked::new(target, fields);
        let answered = both(&mut ways, &asked).await;
        assert_eq!(answered, Some(()), "{target} {fields:?} takes the long way");
    }
}

#[tokio::test]
async fn what_is_not_plain_is_left_to_the_layers() {
    let mut ways = ways();
    for (target, fields) in [
        ("/off", &[][..]),
        ("/key", &[]),
        ("/search", &[]),
        ("/nothing", &[]),
        ("/vary-forwarded", &[]),
        ("/obeys", &[("cache-control", "max-age=0")]),
        ("/obeys", &[("Pragma", "no-cache")]),
        ("/plain/1", &[("range", "bytes=0-1")]),
        ("/plain/1", &[("If-Match", "\"x\"")]),
        ("/plain/1", &[("if-unmodified-since", "x")]),
        ("/plain/1", &[("via", "1.1 a")]),
        ("/plain/1", &[("te", "trailers")]),
        ("/plain/1", &[("larder-min-position", "1-1")]),
        ("/plain/1", &[("host", "b.test")]),
        ("/plain/a^b", &[]),
        ("http://a.test/plain/1", &[]),
    ] {
        let asked = Asked::new(target, fields);
        assert_eq!(both(&mut ways, &asked).await, None, "{target} {fields:?}");
    }
    let many: Vec<_> = (0..12).map(|_| ("x-a", "b")).collect();
    assert_eq!(both(&mut ways, &Asked::new("/plain/1", &many)).await, None);
    let mut nowhere = Asked::new("/plain/1", &[]);
    nowhere.fields.clear();
    assert_eq!(both(&mut ways, &nowhere).await, None);
}

#[tokio::test]
async fn strict_routes_take_the_long_way() {
    let mut ways = ways();
    assert_eq!(both(&mut ways, &Asked::new("/strict", &[])).await, None);
}

#[tokio::test]
async fn what_a_trusted_proxy_says_of_the_scheme_counts() {
    let mut ways = ways();
    let mut asked = Asked::new("/plain/1", &[("x-forwarded-proto", "https")]);
    assert_eq!(both(&mut ways, &asked).await, Some(()), "from a stranger it is as if not there");
    asked.client = TRUSTED.parse().unwrap();
    assert!(ways.fast(&asked).is_none(), "another scheme has another key");
    assert_eq!(both(&mut ways, &asked).await, Some(()));
}

#[tokio::test]
async fn it_counts_as_the_layers_count() {
    let mut ways = ways();
    let asked = Asked::new("/plain/1", &[]);
    let content = ways.long(&asked).await.unwrap().content.len() as u64;
    assert_eq!(ways.counted(), (0, 0));
    ways.long(&asked).await.unwrap();
    assert_eq!(ways.counted(), (1, content));
    ways.fast(&asked).unwrap();
    assert_eq!(ways.counted(), (2, 2 * content));
}

#[tokio::test]
async fn what_was_invalidated_is_not_answered_past_the_layers() {
    let mut ways = ways();
    let asked = Asked::new("/plain/1", &[]);
    assert_eq!(both(&mut ways, &asked).await, Some(()));
    let names = vec!["path:/plain/1".parse().unwrap()];
    let ledger = &ways.fast.means.ledger;
    ledger.invalidate(names, crate::ledger::Mode::Hard, crate::ledger::Cause::Purge).await;
    assert!(ways.fast(&asked).is_none());
    assert_eq!(both(&mut ways, &asked).await, Some(()), "fetched anew");
}

const NAMES: [&str; 37] = [
    "accept",
    "accept-encoding",
    "Accept-Language",
    "authorization",
    "cache-control",
    "content-type",
    "cookie",
    "Cookie",
    "expect",
    "forwarded",
    "host",
    "Host",
    "if-match",
    "If-Modified-Since",
    "If-None-Match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "larder-min-position",
    "max-forwards",
    "origin",
    "pragma",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "user-agent",
    "vary",
    "via",
    "x-forwarded-for",
    "X-Forwarded-Proto",
    "x-http-method-override",
    "x_forwarded_proto",
    "X-Request-Id",
    "x-tenant",
    "x-original-url",
];

const VALUES: [&str; 24] = [
    "",
    "a.test",
    "A.TEST.",
    "a.test:8080",
    "a.test:9000",
    "b_c.test",
    "a..test",
    "http",
    "https",
    "https, http",
    "*",
    "\"one\"",
    "\"two\"",
    "W/\"one\"",
    "Sun, 06 Nov 1994 08:49:30 GMT",
    "de",
    "gzip",
    "lang=de",
    "lang=en; a=b",
    "no-cache",
    "max-age=0",
    "only-if-cached",
    "keep-alive",
    "bytes=0-3",
];

const TARGETS: [&str; 24] = [
    "/plain/1",
    "/plain/%31",
    "/plain/1?a=1&b=2",
    "/plain/1?b=2&a=1",
    "/query",
    "/query?utm_a=1",
    "/query?q=1&utm_a=1",
    "/cookie",
    "/obeys",
    "/strict",
    "/key",
    "/off",
    "/search?a=1",
    "/vary",
    "/vary-forwarded",
    "/tagged",
    "/dated",
    "/aged",
    "/gone",
    "/moved",
    "/nothing",
    "/odd",
    "/sized",
    "/else?",
];

fn asked() -> impl Strategy<Value = Asked> {
    let field = (prop::sample::select(&NAMES[..]), prop::sample::select(&VALUES[..]));
    let fields = prop::collection::vec(field, 0..5);
    let client = prop::sample::select(&[STRANGER, TRUSTED][..]);
    (prop::sample::select(&TARGETS[..]), prop::bool::weighted(0.9), fields, client).prop_map(
        |(target, named, fields, client)| {
            let mut asked = Asked::new(target, &fields);
            if !named {
                asked.fields.remove(0);
            }
            asked.client = client.parse().unwrap();
            asked
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn whatever_is_answered_past_the_layers_is_answered_as_they_answer_it(
        requests in prop::collection::vec(asked(), 1..40)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut ways = ways();
            for asked in &requests {
                let _ = both(&mut ways, asked).await;
            }
        });
    }
}

#[tokio::test]
async fn what_says_its_length_is_answered_as_a_response_too() {
    let mut ways = ways();
    for (target, fields, status) in
        [("/sized", &[][..], 200), ("/sized-tag", &[("if-none-match", "\"one\"")], 304)]
    {
        let asked = Asked::new(target, fields);
        assert_eq!(both(&mut ways, &asked).await, Some(()));
        assert_eq!(ways.response(&asked).map(|seen| seen.status), Some(status), "{target}");
    }
}

/// What processes share, without memory in front of it.
#[derive(Debug)]
struct Far {
    there: MemoryStore,
    fetched: AtomicUsize,
    silent: AtomicBool,
}

impl Far {
    fn new() -> Arc<Self> {
        let there = MemoryStore::new(64 << 20, 1 << 20);
        Arc::new(Self { there, fetched: AtomicUsize::new(0), silent: AtomicBool::new(false) })
    }

    fn fetched(&self) -> usize {
        self.fetched.swap(0, Relaxed)
    }
}

impl Store for Far {
    fn peek(&self, _: &Key) -> Option<Record> {
        None
    }

    fn has_memory(&self) -> bool {
        false
    }

    fn fetch<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move {
            self.fetched.fetch_add(1, Relaxed);
            tokio::task::yield_now().await;
            if self.silent.load(Relaxed) {
                return Err(StoreError::Away);
            }
            self.there.fetch(key).await
        })
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn put<'a>(&'a self, key: &'a Key, record: Record) -> StoreFuture<'a, ()> {
        self.there.put(key, record)
    }

    fn remove<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, ()> {
        self.there.remove(key)
    }

    fn lease<'a>(&'a self, key: &'a Key, ttl: Duration) -> StoreFuture<'a, Lease> {
        self.there.lease(key, ttl)
    }

    fn renew<'a>(
        &'a self,
        key: &'a Key,
        token: &'a LeaseToken,
        ttl: Duration,
    ) -> StoreFuture<'a, bool> {
        self.there.renew(key, token, ttl)
    }

    fn release<'a>(
        &'a self,
        key: &'a Key,
        token: &'a LeaseToken,
        end: LeaseEnd,
    ) -> StoreFuture<'a, ()> {
        self.there.release(key, token, end)
    }
}

impl Ways {
    /// As for HTTP/1.1, with looks as long as there is a use in looking; else what was found.
    async fn ahead(&mut self, asked: &Asked) -> Result<Seen, Option<Found>> {
        let mut found = None;
        loop {
            let mut out = Vec::new();
            if let Some(rest) =
                asked.with_head(|head| self.fast.answer(head, found.as_ref(), &mut out))
            {
                out.extend_from_slice(&rest);
                return Ok(parsed(&out));
            }
            found = Some(asked.with_head(|head| self.fast.ahead(head, found.take()))?.await);
        }
    }

    /// As for HTTP/2.
    async fn look(&mut self, asked: &Asked) -> Option<Seen> {
        let mut parts = Some(asked.request()?.into_parts().0);
        let (head, content) = self.fast.look(&mut parts)?.await.ok()?.into_parts();
        Some(Seen { status: head.status.as_u16(), fields: by_name(&head.headers), content })
    }
}

/// Asks all ways for what is stored elsewhere by then. `None` if it is not answered past the layers.
async fn all_far(ways: &mut Ways, asked: &Asked) -> Option<()> {
    ways.long(asked).await?;
    for _ in 0..3 {
        let response = ways.look(asked).await;
        let fast = ways.ahead(asked).await.ok();
        assert!(fast.is_some() || response.is_none(), "{asked:?}");
        let fast = fast?;
        let long = ways.long(asked).await?;
        if fast == long && response.as_ref().is_none_or(|response| *response == fast) {
            return Some(());
        }
        let age = |seen: &Seen| seen.fields.get("age").cloned();
        let moved = age(&fast) != age(&long)
            || fast.fields.get("cache-status") != long.fields.get("cache-status")
            || response.as_ref().is_some_and(|response| age(response) != age(&fast));
        assert!(moved, "{asked:?}\n{fast:?}\n{response:?}\n{long:?}");
    }
    panic!("the moment changes all the time");
}

#[tokio::test]
async fn what_is_elsewhere_is_looked_up_and_answered_as_the_layers_answer_it() {
    let mut ways = ways_to(Far::new());
    for (target, fields) in [
        ("/plain/1", &[][..]),
        ("/plain/1?b=1&a=2", &[("x-request-id", "7")]),
        ("/cookie", &[("cookie", "x=y; lang=de"), ("x-tenant", "one")]),
        ("/vary", &[("accept-language", "de , en"), ("Accept-Encoding", "gzip")]),
        ("/vary", &[]),
        ("/sized-tag", &[]),
        ("/sized-tag", &[("if-none-match", "\"one\"")]),
        ("/sized-tag", &[("if-none-match", "\"two\"")]),
        ("/gone", &[]),
    ] {
        let asked = Asked::new(target, fields);
        assert_eq!(all_far(&mut ways, &asked).await, Some(()), "{target} {fields:?}");
    }
}

#[tokio::test]
async fn nobody_looks_for_what_the_layers_have_to_see() {
    let far = Far::new();
    let mut ways = ways_to(Arc::clone(&far) as Arc<dyn Store>);
    for (target, fields) in [
        ("/off", &[][..]),
        ("/strict", &[]),
        ("/search", &[]),
        ("/vary-forwarded", &[]),
        ("/plain/1", &[("range", "bytes=0-1")]),
        ("/plain/1", &[("authorization", "Basic x")]),
        ("/plain/1", &[("cache-control", "no-store")]),
        ("/plain/1", &[("Pragma", "no-cache")]),
        ("/plain/1", &[("larder-min-position", "1-1")]),
    ] {
        let asked = Asked::new(target, fields);
        assert_eq!(all_far(&mut ways, &asked).await, None, "{target} {fields:?}");
    }
}

#[tokio::test]
async fn what_was_found_is_not_looked_for_again() {
    let far = Far::new();
    let mut ways = ways_to(Arc::clone(&far) as Arc<dyn Store>);
    // Behind a lease it is looked once more whether another process was faster.
    for (target, silent, looks) in [
        ("/plain/1", false, 2),
        ("/plain/2", true, 1),
        ("/nothing", false, 2),
        ("/nothing", false, 1),
    ] {
        far.silent.store(silent, Relaxed);
        let asked = Asked::new(target, &[]);
        let found = ways.ahead(&asked).await.expect_err("it is for the layers to answer");
        let mut request = asked.request().unwrap();
        request.extensions_mut().insert(found.expect("something was found out"));
        let response = ways.long.clone().oneshot(request).await.unwrap();
        assert!(response.status().is_success(), "{target}");
        let _ = response.into_body().collect().await.unwrap();
        assert_eq!(far.fetched(), looks, "{target}");
    }
}

#[tokio::test]
async fn who_comes_meanwhile_waits_for_what_is_found() {
    let far = Far::new();
    let mut ways = ways_to(Arc::clone(&far) as Arc<dyn Store>);
    let asked = Asked::new("/plain/1", &[]);
    ways.long(&asked).await.unwrap();
    far.fetched();
    let mut look = || asked.with_head(|head| ways.fast.ahead(head, None)).unwrap();
    let (first, second) = (look(), look());
    let (first, second, long) = tokio::join!(first, second, ways.long(&asked));
    for found in [first, second] {
        let mut out = Vec::new();
        let rest = asked.with_head(|head| ways.fast.answer(head, Some(&found), &mut out));
        assert!(rest.is_some());
        let seen = parsed(&[&out[..], &rest.unwrap()].concat());
        assert!(seen.fields["cache-status"][0].starts_with(b"larder; hit"));
    }
    assert!(long.unwrap().fields["cache-status"][0].starts_with(b"larder; hit"));
    assert_eq!(far.fetched(), 1);
}

#[tokio::test]
async fn who_waits_for_a_look_that_is_given_up_or_in_vain_is_answered_by_the_layers() {
    let far = Far::new();
    let ways = ways_to(Arc::clone(&far) as Arc<dyn Store>);
    let mut fast = ways.fast.clone();
    for (target, given_up) in [("/plain/1", true), ("/plain/2", false)] {
        let asked = Asked::new(target, &[]);
        let first = asked.with_head(|head| fast.ahead(head, None)).unwrap();
        let second = asked.with_head(|head| fast.ahead(head, None)).unwrap();
        let mut long = std::pin::pin!(ways.long(&asked));
        assert!(futures_util::poll!(&mut long).is_pending());
        let first = if given_up {
            drop(first);
            None
        } else {
            Some(first.await)
        };
        let second = second.await;
        for found in first.into_iter().chain([second]) {
            let said = asked.with_head(|head| fast.answer(head, Some(&found), &mut Vec::new()));
            assert!(said.is_none());
            assert!(asked.with_head(|head| fast.ahead(head, Some(found.clone()))).is_err());
            let mut request = asked.request().unwrap();
            request.extensions_mut().insert(found);
            let response = ways.long.clone().oneshot(request).await.unwrap();
            assert!(response.status().is_success(), "{target}");
        }
        assert!(long.await.is_some());
    }
}

#[tokio::test]
async fn what_was_invalidated_during_a_look_is_not_answered_by_it() {
    let mut ways = ways_to(Far::new());
    let asked = Asked::new("/plain/1", &[]);
    ways.long(&asked).await.unwrap();
    let found = asked.with_head(|head| ways.fast.ahead(head, None)).unwrap().await;
    let answered = |ways: &mut Ways| {
        asked.with_head(|head| ways.fast.answer(head, Some(&found), &mut Vec::new()))
    };
    assert!(answered(&mut ways).is_some());
    let names = vec!["path:/plain/1".parse().unwrap()];
    let ledger = &ways.fast.means.ledger;
    ledger.invalidate(names, crate::ledger::Mode::Hard, crate::ledger::Cause::Purge).await;
    assert!(answered(&mut ways).is_none());
    let mut request = asked.request().unwrap();
    request.extensions_mut().insert(found);
    let response = ways.long.clone().oneshot(request).await.unwrap();
    let status = response.headers()["cache-status"].to_str().unwrap();
    assert!(status.starts_with("larder; fwd="), "{status}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn whatever_is_looked_up_past_the_layers_is_answered_as_they_answer_it(
        requests in prop::collection::vec(asked(), 1..40)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut ways = ways_to(Far::new());
            for asked in &requests {
                let _ = all_far(&mut ways, asked).await;
            }
        });
    }
}
