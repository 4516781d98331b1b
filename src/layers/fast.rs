//! Hits past the layers: what a plain GET for a fresh entry in memory would be answered by all of
//! them, in one go. It decides with the functions that they decide with, makes no typed request of it
//! (nor a response, for HTTP/1.1), waits for nothing, and leaves everything that is not plain to them.
//!
//! | step | as done by | left to the layers |
//! |---|---|---|
//! | the fields | `forward` | what has a weight of its own (`Weight::Own`); too many or too large |
//! | the target, the host | `forward` | what is not plainly a path; a host that is none, or two |
//! | the route | `cache` | nothing cached, strict, a rule for the query, a key that is shown, directives that count |
//! | the key, the entry | `cache::asked`, `cache::lookup` | nothing there; a variant that is not there |
//! | fresh, and good by the ledger | `plan`, `cache::lookup` | everything else |
//! | the client's conditions | `cache::deliver` | – |
//! | the head | `cache::deliver`, `forward`, hyper | a status without content, or without a reason |
//! | counters and log | `observe` | – |
//!
//! That both ways say the same is held by a test that takes them both (`fast/tests.rs`).

mod look;

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{COOKIE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use tokio::time::Instant;

use super::cache::Means;
use super::cache::lookup::{self, Brought, Sought};
use super::forward::{FORWARDED_PROTO, Rules, authority, is_guarded, is_trusted, told_https};
use super::observe::Watch;
use crate::clock;
use crate::config::matcher::Match;
use crate::config::{Consistency, Limits, RequestDirectives, Route};
use crate::fast::{Ahead, FastPath, Field, Found, Head, Looking};
use crate::key::{Key, Place, Target};
use crate::ledger::Standing;
use crate::semantics::conditional::{self, Precondition};
use crate::semantics::lines::{self, Lines};
use crate::semantics::stored::Times;
use crate::semantics::time::Timestamp;
use crate::semantics::vary;

use crate::store::{Entry, Glance, Record};
use crate::telemetry::access::AccessLine;
use crate::telemetry::outcome::{Outcome, Source};

use look::Look;

/// Room for the fields of our own, in bytes.
const OWN: usize = 128;

/// Room for the fields of a response: few have more.
const FIELDS: usize = 12;

/// Answers hits on one connection.
#[derive(Clone, Debug)]
pub struct FastHits {
    means: Arc<Means>,
    watch: Arc<Watch>,
    rules: Arc<Rules>,
    known: Known,
}

/// What was worked out for the last request: the next one of a connection mostly comes from the same
/// client for the same host.
#[derive(Clone, Debug, Default)]
struct Known {
    client: Option<(IpAddr, bool)>,
    host: Option<Host>,
}

#[derive(Clone, Debug)]
struct Host {
    sent: Box<[u8]>,
    https: bool,
    local_port: u16,
    authority: Authority,
    /// Without its port.
    name: Box<str>,
}

impl Host {
    const fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

impl FastHits {
    /// With the means, the watch and the limits of the layers.
    pub fn new(limits: &Limits, watch: Watch, means: Arc<Means>) -> Self {
        let rules = Arc::new(Rules::new(limits));
        Self { means, watch: Arc::new(watch), rules, known: Known::default() }
    }
}

impl FastPath for FastHits {
    fn answer(
        &mut self,
        head: &Head<'_>,
        found: Option<&Found>,
        out: &mut Vec<u8>,
    ) -> Option<Bytes> {
        let say = |hit: &Hit<'_>, out: &mut Vec<u8>| write(&hit.seen, hit.confirmed, hit.now, out);
        match found {
            Some(found) => self.found(head, found, out, say),
            None => self.hit(head, out, say),
        }
    }

    fn ahead(&mut self, head: &Head<'_>, found: Option<Found>) -> Result<Ahead, Option<Found>> {
        let look = match found {
            None => Look::of(self, head).ok_or(None)?,
            Some(found) => Look::onward(&self.means, head, found).map_err(Some)?,
        };
        Ok(Box::pin(async { Found(Arc::new(look.find().await)) }))
    }

    fn respond(&mut self, head: &Head<'_>) -> Option<Response<Bytes>> {
        self.hit(head, &mut Vec::with_capacity(OWN), respond)
    }

    fn look(&mut self, request: &mut Option<Parts>) -> Option<Looking> {
        let look = look::with_head(request.as_ref()?, |head| Look::of(self, head))?;
        let watch = Arc::clone(&self.watch);
        Some(Box::pin(look::answer(watch, look, request.take()?)))
    }
}

/// What is answered.
struct Hit<'a> {
    entry: &'a Entry,
    seen: Glance<'a>,
    /// The client has it already.
    confirmed: bool,
    now: Timestamp,
}

impl FastHits {
    /// Finds the hit in memory, if it is one, has it said, and counts it.
    fn hit<T>(
        &mut self,
        head: &Head<'_>,
        out: &mut Vec<u8>,
        say: impl FnOnce(&Hit<'_>, &mut Vec<u8>) -> Option<(Told, T)>,
    ) -> Option<T> {
        if !self.means.store.has_memory() {
            return None;
        }
        let sought = self.seek(head)?;
        let entry = find(&self.means, &sought.key, head.fields)?;
        tell((&self.means, &self.watch), head, &sought, &entry, out, say)
    }

    /// The same with what was found for it elsewhere.
    fn found<T>(
        &self,
        head: &Head<'_>,
        found: &Found,
        out: &mut Vec<u8>,
        say: impl FnOnce(&Hit<'_>, &mut Vec<u8>) -> Option<(Told, T)>,
    ) -> Option<T> {
        let Brought { sought, record, .. } = found.0.downcast_ref()?;
        let Some(Record::Entry(entry)) = record else { return None };
        tell((&self.means, &self.watch), head, sought, entry, out, say)
    }

    /// Where what it asks for is; `None` if the layers have to see it.
    fn seek(&mut self, head: &Head<'_>) -> Option<Sought> {
        let began = Instant::now();
        let Self { means, rules, known, .. } = self;
        let read = Read::of(head.fields, rules)?;
        check_target(head.target, rules.max_target)?;
        let https = read.proto
            && known.is_trusted(head.client.ip(), rules)
            && told_https(&named(head.fields, &[FORWARDED_PROTO]));
        let host = known.host(read.host?, https, head.local.port())?;
        let (path, query) = match head.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (head.target, None),
        };
        let found = means.routes.find(&host.name, &Method::GET, path);
        takes(&found.route, &read)?;
        let target =
            Target { scheme: host.scheme(), authority: host.authority.as_str(), path, query };
        let key = key(means, &found, &target, head.fields)?;
        Some(Sought { route: found.route, key, conditional: read.conditional, began })
    }
}

/// Has an entry said, if it may be served as it is, and counts that.
fn tell<T>(
    (means, watch): (&Means, &Watch),
    head: &Head<'_>,
    sought: &Sought,
    entry: &Entry,
    out: &mut Vec<u8>,
    say: impl FnOnce(&Hit<'_>, &mut Vec<u8>) -> Option<(Told, T)>,
) -> Option<T> {
    let now = means.now();
    let seen = entry.at_a_glance();
    let fresh = seen.times.is_fresh(now);
    if !fresh || lookup::judged(means, entry, now) != Standing::Good {
        return None;
    }
    let confirmed = sought.conditional && is_confirmed(entry, &seen, head.fields);
    let hit = Hit { entry, seen, confirmed, now };
    let (told, answer) = say(&hit, out)?;
    note(watch, head, sought, &hit.seen, (&told, out));
    Some(answer)
}

/// `None` if the key has a field in it that not everybody may send.
fn key(means: &Means, found: &Match, target: &Target<'_>, fields: &[Field<'_>]) -> Option<Key> {
    let Match { route, captures } = found;
    let headers = if route.key.headers.is_empty() && route.key.cookies.is_empty() {
        HeaderMap::new()
    } else {
        let cookie = (!route.key.cookies.is_empty()).then_some(COOKIE);
        selected(fields, route.key.headers.iter().chain(&cookie))?
    };
    let namespace = means.namespace(route, captures);
    let version = means.ledger.version(&namespace);
    let tags = means.stamp(route);
    let place = Place { route: &route.name, namespace: &namespace, version, tags };
    Some(Key::of_target(&place, &route.key, target, &headers))
}

/// What memory has under this key, or under that of its variant.
fn find(means: &Means, key: &Key, fields: &[Field<'_>]) -> Option<Arc<Entry>> {
    let varies = match means.store.peek(key)? {
        Record::Entry(entry) => return Some(entry),
        Record::Varies(varies) => varies,
    };
    let headers = selected(fields, varies.names.iter())?;
    let key = key.variant(&varies.names, &headers, vary::normalised);
    match means.store.peek(&key)? {
        Record::Entry(entry) => Some(entry),
        Record::Varies(_) => None,
    }
}

/// Counts and logs it.
fn note(
    watch: &Watch,
    head: &Head<'_>,
    sought: &Sought,
    seen: &Glance<'_>,
    (told, out): (&Told, &[u8]),
) {
    let (outcome, bytes) = (Outcome::Hit, told.length as u64);
    let (route, duration) = (&sought.route, sought.began.elapsed());
    watch.metrics.request(route.index, outcome, Source::Cache, bytes, duration);
    watch.metrics.saved(route.index, seen.fill_time);
    let Some(log) = &watch.log else { return };
    let said = |name: &str| {
        let mut lines = head.fields.iter().filter(|f| f.name.eq_ignore_ascii_case(name));
        lines.next().map(|field| field.value)
    };
    log.record(AccessLine {
        at: clock::wall(),
        client: Some(head.client.ip()),
        method: "GET",
        host: said("host").unwrap_or_default(),
        path: head.target,
        status: told.status.as_u16(),
        bytes,
        duration,
        route: &route.name,
        verdict: outcome.as_str(),
        reason: "fresh",
        cache_status: out.get(told.cache_status.clone()).unwrap_or_default(),
        origin: None,
        request_id: said("x-request-id"),
    });
}

impl Known {
    fn is_trusted(&mut self, client: IpAddr, rules: &Rules) -> bool {
        match self.client {
            Some((known, trusted)) if known == client => trusted,
            _ => {
                let trusted = is_trusted(client, &rules.trusted);
                self.client = Some((client, trusted));
                trusted
            }
        }
    }

    /// The host that is keyed, of the `Host` that was sent.
    fn host(&mut self, sent: &[u8], https: bool, local_port: u16) -> Option<&Host> {
        let known = self.host.as_ref().is_some_and(|host| {
            *host.sent == *sent && host.https == https && host.local_port == local_port
        });
        if !known {
            let default_port = if https { 443 } else { 80 };
            let authority = authority::canonical(sent, default_port, local_port)?.key;
            let name = authority.host().into();
            self.host = Some(Host { sent: sent.into(), https, local_port, authority, name });
        }
        self.host.as_ref()
    }
}

/// What a request's fields say.
struct Read<'a> {
    host: Option<&'a [u8]>,
    /// There is If-None-Match or If-Modified-Since.
    conditional: bool,
    /// There is Cache-Control or Pragma.
    directives: bool,
    /// There is X-Forwarded-Proto.
    proto: bool,
}

impl<'a> Read<'a> {
    /// `None` if the layers have to see them.
    fn of(fields: &[Field<'a>], rules: &Rules) -> Option<Self> {
        let mut read = Self { host: None, conditional: false, directives: false, proto: false };
        let mut bytes = 0_usize;
        for field in fields {
            bytes = bytes.saturating_add(field.name.len()).saturating_add(field.value.len());
            match weight(field.name) {
                Weight::None => {}
                Weight::Host if read.host.is_some() => return None,
                Weight::Host => read.host = Some(field.value),
                Weight::Condition => read.conditional = true,
                Weight::Directive => read.directives = true,
                Weight::Proto => read.proto = true,
                Weight::Own => return None,
            }
        }
        let fits = fields.len() <= rules.max_fields && bytes <= rules.max_fields_bytes;
        fits.then_some(read)
    }
}

/// What a field means for a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    /// Nothing, unless its name is in a key or in Vary.
    None,
    Host,
    /// It may be answered 304.
    Condition,
    /// It counts where clients are obeyed.
    Directive,
    /// It says how the request came, if its client is trusted.
    Proto,
    /// More than is decided here.
    Own,
}

fn weight(name: &str) -> Weight {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    match name.len() {
        4 if is("host") => Weight::Host,
        13 if is("if-none-match") => Weight::Condition,
        17 if is("if-modified-since") => Weight::Condition,
        13 if is("cache-control") => Weight::Directive,
        6 if is("pragma") => Weight::Directive,
        17 if is("x-forwarded-proto") => Weight::Proto,
        2 if is("te") => Weight::Own,
        3 if is("via") => Weight::Own,
        5 if is("range") => Weight::Own,
        6 if is("expect") => Weight::Own,
        7 if is("trailer") || is("upgrade") => Weight::Own,
        8 if is("if-range") || is("if-match") => Weight::Own,
        10 if is("keep-alive") => Weight::Own,
        12 if is("max-forwards") => Weight::Own,
        14 if is("content-length") || is("http2-settings") => Weight::Own,
        16 if is("proxy-connection") => Weight::Own,
        17 if is("transfer-encoding") => Weight::Own,
        18 if is("proxy-authenticate") => Weight::Own,
        19 if is("proxy-authorization") => Weight::Own,
        19 if is("if-unmodified-since") || is("larder-min-position") => Weight::Own,
        _ => Weight::None,
    }
}

/// A path, with or without a query, of characters that nobody reads in two ways.
fn check_target(target: &str, most: usize) -> Option<()> {
    let plain = |byte: u8| {
        matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'/'..=b'9' | b'-' | b'.' | b'_' | b'~')
            || matches!(byte, b'!' | b'$'..=b',' | b':' | b';' | b'=' | b'?' | b'@')
    };
    let fits = target.len() <= most && target.starts_with('/') && target.bytes().all(plain);
    fits.then_some(())
}

/// Does this route answer plain requests from the store without knowing more of them?
fn takes(route: &Route, read: &Read<'_>) -> Option<()> {
    let obeys = route.request_directives == RequestDirectives::Honour;
    let takes = route.cache
        && route.consistency != Consistency::Strict
        && !route.no_vary_search
        && !route.show_key
        && !(obeys && read.directives);
    takes.then_some(())
}

/// The fields of these names, as the layers would see them; `None` if they would not see one of
/// them as it was sent.
fn selected<'n>(
    fields: &[Field<'_>],
    names: impl Iterator<Item = &'n HeaderName>,
) -> Option<HeaderMap> {
    let mut selected = HeaderMap::new();
    for name in names {
        let text = name.as_str();
        if weight(text) != Weight::None || is_guarded(text) || text == "connection" {
            return None;
        }
        append(&mut selected, fields, name);
    }
    Some(selected)
}

fn named(fields: &[Field<'_>], names: &[HeaderName]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    names.iter().for_each(|name| append(&mut headers, fields, name));
    headers
}

fn append(headers: &mut HeaderMap, fields: &[Field<'_>], name: &HeaderName) {
    for field in fields.iter().filter(|f| f.name.eq_ignore_ascii_case(name.as_str())) {
        // The parser lets through what is a value to hyper, and that is a value here.
        if let Ok(value) = HeaderValue::from_bytes(field.value) {
            headers.append(name, value);
        }
    }
}

/// Has the client what the entry is?
fn is_confirmed(entry: &Entry, seen: &Glance<'_>, fields: &[Field<'_>]) -> bool {
    let lines = || {
        let named = |field: &&Field<'_>| field.name.eq_ignore_ascii_case("if-none-match");
        fields.iter().filter(named).map(|field| field.value)
    };
    // The one condition that counts where it is, and the one that most clients send.
    if let Some(of_304) = seen.of_304
        && seen.status == StatusCode::OK
        && lines().next().is_some()
    {
        let tag = of_304.iter().next().filter(|(name, _)| *name == b"etag");
        return conditional::names(lines, tag.map(|(_, value)| value));
    }
    let conditions = named(fields, &[IF_NONE_MATCH, IF_MODIFIED_SINCE]);
    let validators = entry.headers_named(&conditional::VALIDATORS);
    let outcome = conditional::evaluate(&Method::GET, &conditions, entry.status(), &validators);
    outcome == Precondition::NotModified
}

/// What the client is told.
struct Told {
    status: StatusCode,
    /// Bytes of content.
    length: usize,
    /// Where the value of Cache-Status stands in what was written.
    cache_status: Range<usize>,
}

/// Writes the beginning of the message, and says what follows.
fn write(
    seen: &Glance<'_>,
    confirmed: bool,
    now: Timestamp,
    out: &mut Vec<u8>,
) -> Option<(Told, Bytes)> {
    if confirmed {
        let status = StatusCode::NOT_MODIFIED;
        status_line(status, out)?;
        match seen.of_304 {
            Some(lines) => out.extend_from_slice(lines.as_bytes()),
            None => fields_of_304(seen.lines, out)?,
        }
        let cache_status = own_fields(&seen.times, now, out);
        out.extend_from_slice(b"\r\n");
        return Some((Told { status, length: 0, cache_status }, Bytes::new()));
    }
    let (status, length) = (seen.status, seen.length);
    if !has_content(status) {
        return None;
    }
    status_line(status, out)?;
    let (head, content) = &seen.tail;
    if seen.of_304.is_none() {
        fields(seen.lines, length, out)?;
        let cache_status = own_fields(&seen.times, now, out);
        out.extend_from_slice(b"\r\n");
        let behind = head.len() - length.min(head.len());
        let rest = content.clone().unwrap_or_else(|| head.slice(behind..));
        return Some((Told { status, length, cache_status }, rest));
    }
    let cache_status = own_fields(&seen.times, now, out);
    let rest = match content {
        None => head.clone(),
        Some(content) => {
            out.extend_from_slice(head);
            content.clone()
        }
    };
    Some((Told { status, length, cache_status }, rest))
}

/// The same as a response; `out` is for the fields of our own.
fn respond(hit: &Hit<'_>, out: &mut Vec<u8>) -> Option<(Told, Response<Bytes>)> {
    let Hit { entry, seen, confirmed, now } = hit;
    let of_304 = seen.of_304?;
    let (status, lines, content) = match confirmed {
        true => (StatusCode::NOT_MODIFIED, of_304, Bytes::new()),
        false if has_content(seen.status) => (seen.status, seen.lines, entry.body()),
        false => return None,
    };
    let cache_status = own_fields(&seen.times, *now, out);
    let told = Told { status, length: content.len(), cache_status };
    let own = Bytes::copy_from_slice(out);
    let mut response = Response::new(content);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(FIELDS);
    entry.append(lines, headers);
    Lines::written(&own).append_to(headers, &own);
    Some((told, response))
}

/// May a response with this status have content, so that it is framed by its length?
fn has_content(status: StatusCode) -> bool {
    !matches!(status.as_u16(), ..200 | 204 | 205 | 304 | 600..)
}

fn status_line(status: StatusCode, out: &mut Vec<u8>) -> Option<()> {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return Some(());
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason()?.as_bytes());
    out.extend_from_slice(b"\r\n");
    Some(())
}

/// What is said anew with each response. Returns where the value of Cache-Status stands.
fn own_fields(times: &Times, now: Timestamp, out: &mut Vec<u8>) -> Range<usize> {
    let (mut age, mut left) = (itoa::Buffer::new(), itoa::Buffer::new());
    out.extend_from_slice(b"age: ");
    out.extend_from_slice(age.format(times.age(now).as_secs()).as_bytes());
    out.extend_from_slice(b"\r\ncache-status: ");
    let from = out.len();
    out.extend_from_slice(b"larder; hit; ttl=");
    out.extend_from_slice(left.format(times.fresh_until.since(now).as_secs()).as_bytes());
    let cache_status = from..out.len();
    out.extend_from_slice(b"\r\nvia: 1.1 larder\r\n");
    cache_status
}

/// The stored fields, but for the age that they came with; and the length, if they do not say it.
fn fields(stored: Lines<'_>, length: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut text = itoa::Buffer::new();
    let length = text.format(length).as_bytes();
    let (mut dated, mut sized) = (false, false);
    for (name, value) in stored.iter() {
        match name {
            b"age" => continue,
            b"transfer-encoding" => return None,
            b"content-length" if value != length => return None,
            b"content-length" => sized = true,
            b"date" => dated = true,
            _ => {}
        }
        lines::push(name, value, out);
    }
    if !sized {
        lines::push(b"content-length", length, out);
    }
    // hyper would make a date of its own.
    dated.then_some(())
}

/// The stored fields that go into a 304.
fn fields_of_304(stored: Lines<'_>, out: &mut Vec<u8>) -> Option<()> {
    let tagged = stored.contains_key(&ETAG);
    let mut dated = false;
    for (name, value) in stored.iter() {
        let name = std::str::from_utf8(name).ok()?;
        if name != "age" && conditional::stays_in_not_modified(name, tagged) {
            dated |= name == "date";
            lines::push(name.as_bytes(), value, out);
        }
    }
    dated.then_some(())
}

#[cfg(test)]
mod tests;
