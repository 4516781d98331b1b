//! What the RFCs ask of a cache, sentence by sentence: each row of these tables is a requirement in
//! short, the messages, and the verdict. No sockets and no clocks: the pure functions of
//! `larder::semantics` and `larder::plan` are asked, on a request that no route matches, where the
//! RFCs alone rule, unless a row needs a route.
//!
//! | file | RFC 9111 | asks |
//! |---|---|---|
//! | `storing.rs` | §3, §3.1, §3.5 | may it be stored, and what of it? |
//! | `incomplete.rs` | §3.3, §3.4 | what about parts? |
//! | `reuse.rs` | §4, §5.2.1 | may what is stored answer this request? |
//! | `vary.rs` | §4.1 | is it the answer to this request, or to another? |
//! | `freshness.rs` | §4.2 | until when is it fresh, how old is it, and what comes after? |
//! | `validation.rs` | §4.3, §3.2; RFC 9110 §8.8, §13, §15.4.5 | does it still stand, and has the client got it? |
//! | `invalidation.rs` | §4.4 | what does a write throw away? |
//! | `directives.rs` | §5.2.2, §5.2.3 | is each directive obeyed, in any spelling? |
//! | `fields.rs` | §5.1, §5.3, §5.4; RFC 9110 §5, §6.6.1 | how are fields read? |
//! | `relatives.rs` | | RFC 5861, 8246, 9211, 9213 |
//!
//! `docs/rfc-map.md` leads from each section to the code and the tests; `map.rs` holds it to them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "rfc/directives.rs"]
mod directives;
#[path = "rfc/fields.rs"]
mod fields;
#[path = "rfc/freshness.rs"]
mod freshness;
#[path = "rfc/incomplete.rs"]
mod incomplete;
#[path = "rfc/invalidation.rs"]
mod invalidation;
#[path = "rfc/map.rs"]
mod map;
#[path = "rfc/relatives.rs"]
mod relatives;
#[path = "rfc/reuse.rs"]
mod reuse;
#[path = "rfc/storing.rs"]
mod storing;
#[path = "rfc/validation.rs"]
mod validation;
#[path = "rfc/vary.rs"]
mod vary;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use larder::config::{Config, Overrides, Route};
use larder::key::Digest;
use larder::ledger::{Position, Standing};
use larder::plan::request::{Found, plan};
use larder::plan::response::{Answer, Asked, settle};
use larder::plan::{NotShared, Outcome, Plan};
use larder::semantics::reuse::Demands;
use larder::semantics::stored::{StoredResponse, Times, storable_headers};
use larder::semantics::time::Timestamp;
use larder::store::{Draft, Entry};

/// Field lines, in order.
type Lines<'a> = &'a [(&'a str, &'a str)];

/// Nothing.
const NONE: Lines<'_> = &[];

/// Sun, 06 Nov 1994 08:49:37 GMT: when responses are received.
const NOW: Timestamp = Timestamp::from_millis(784_111_777_000);
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const MINUTE_LATER: &str = "Sun, 06 Nov 1994 08:50:37 GMT";
const MINUTE_BEFORE: &str = "Sun, 06 Nov 1994 08:48:37 GMT";
const DAY_BEFORE: &str = "Sat, 05 Nov 1994 08:49:37 GMT";

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn headers(lines: Lines<'_>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

fn method(name: &str) -> Method {
    Method::from_bytes(name.as_bytes()).unwrap()
}

fn configured(route: &str) -> Config {
    let text = format!(
        "[origin]\nurl = \"http://127.0.0.1:3000\"\n[[route]]\npath = \"/p\"\njitter = 0\n{route}\n"
    );
    match Config::load(Some(("a row", &text)), &Overrides::default(), &|_| None) {
        Ok((config, _)) => config,
        Err(errors) => panic!("{errors}"),
    }
}

/// The route of requests that no route matches: the RFC alone.
fn rfc() -> Arc<Route> {
    static CONFIG: LazyLock<Config> = LazyLock::new(|| configured(""));
    Arc::clone(&CONFIG.fallback)
}

/// A route with these keys.
fn route(keys: &str) -> Arc<Route> {
    Arc::clone(configured(keys).routes.first().unwrap())
}

/// What becomes of the answer to a GET that was received at [`NOW`].
fn settled(route: &Route, request: Lines<'_>, status: u16, response: Lines<'_>) -> Outcome {
    settled_for(route, &Method::GET, request, status, response, None)
}

fn settled_for(
    route: &Route,
    method: &Method,
    request: Lines<'_>,
    status: u16,
    response: Lines<'_>,
    validating: Option<&StoredResponse>,
) -> Outcome {
    let request = headers(request);
    let response = headers(response);
    let asked =
        Asked { route, digest: Digest([7; 16]), method, headers: &request, sent: NOW, validating };
    let answer = Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: &response,
        length: Some(2),
        close_delimited: false,
        received: NOW,
    };
    settle(&asked, &answer)
}

/// Is it stored? In a word: for how long it is then fresh, or why not.
fn stored(request: Lines<'_>, status: u16, response: Lines<'_>) -> String {
    in_a_word(settled(&rfc(), request, status, response))
}

fn in_a_word(outcome: Outcome) -> String {
    match outcome {
        Outcome::Store(times) => format!("stored {}", times.fresh_until.since(NOW).as_secs()),
        Outcome::Renew(times) => format!("renewed {}", times.fresh_until.since(NOW).as_secs()),
        Outcome::AskAgain => "ask again".to_owned(),
        Outcome::Error(_) => "error".to_owned(),
        Outcome::PassOn(NotShared::Forbidden(why)) => why.as_str().to_owned(),
        Outcome::PassOn(why) => why.as_str().to_owned(),
    }
}

/// A response as it would be stored.
fn response(status: u16, lines: Lines<'_>, times: Times) -> StoredResponse {
    StoredResponse {
        status: StatusCode::from_u16(status).unwrap(),
        headers: storable_headers(&headers(lines)),
        body: Bytes::from_static(b"{}"),
        times,
    }
}

/// The entry that this response becomes, received at [`NOW`].
fn entry(route: &Route, status: u16, lines: Lines<'_>) -> Entry {
    let Outcome::Store(times) = settled(route, NONE, status, lines) else {
        panic!("not stored: {status} {lines:?}");
    };
    Entry::from(Draft {
        key: Bytes::new(),
        response: response(status, lines, times),
        namespace: "".into(),
        url: "//h/p".into(),
        tags: Vec::new(),
        groups: Vec::new(),
        as_of: Position::ZERO,
        vouched: NOW,
        fill_time: Duration::ZERO,
    })
}

/// What is done about this request when that response was stored so many seconds ago?
fn reused(route: &Route, request: Lines<'_>, response: Lines<'_>, later: u64) -> &'static str {
    let entry = entry(route, 200, response);
    let demands = Demands::of(&headers(request));
    let found = Found::Entry(&entry, Standing::Good);
    verdict(plan(route, &demands, found, false, NOW + secs(later)))
}

fn verdict(plan: Plan) -> &'static str {
    match plan {
        Plan::Serve => "serve",
        Plan::ServeAndRefresh(_) => "serve stale",
        Plan::ServeBackingOff(_) => "serve backing off",
        Plan::Revalidate(_) => "validate",
        Plan::Fetch(_) => "fetch",
        Plan::Refuse(_) => "504",
    }
}

/// Asks each row, and shows all that differ at once. A row ends with its requirement in short.
fn all_hold<R>(rows: &[R], clause: impl Fn(&R) -> &str, check: impl Fn(&R) -> Option<String>) {
    let broken: Vec<String> =
        rows.iter().filter_map(|row| Some(format!("{}: {}", clause(row), check(row)?))).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// What to say of a row that came out otherwise.
fn differs<T: PartialEq + std::fmt::Debug + ?Sized>(found: &T, expected: &T) -> Option<String> {
    (found != expected).then(|| format!("{found:?} instead of {expected:?}"))
}
