//! When are two requests the same? Keys are injective: length-prefixed parts, no delimiters.
//!
//! ```text
//! full     ::= format:u8 part*
//! part     ::= kind:u8 length:LEB128 bytes
//!
//! primary  ::= r route  n namespace  @ version  s scheme  a authority  p path  [q query]
//!              (H field-name (h line)*)*       configured request fields, in configured order
//!              (C cookie-name (c rest)*)*      configured cookies, in configured order
//! asking   ::= primary  M method  (F field-name (f line)*)*  b content     a QUERY (RFC 10008):
//!              the fields that describe its content, by name; the content's 256-bit digest
//! by rule  ::= primary N rule                    the query as the rule leaves it: [`search`]
//! parts    ::= (primary | by rule) P             where parts of the response are, not the whole
//! variant  ::= (primary | asking | by rule | parts) (V field-name [v value])*
//! ```
//!
//! | two requests that differ in | share a key? |
//! |---|---|
//! | GET or HEAD; HTTP/1.1 or HTTP/2 | yes |
//! | the order of query parameters of different names, or ignored ones | yes ([`query`]) |
//! | scheme, host, port, one byte of the path (`%2F`, `/./`, case) | no |
//! | a configured field or cookie: absent, empty | no |
//! | a configured field in two lines, or in one joined by `, ` | no |
//! | a configured cookie sent once, or twice | no |
//! | a field the response varies on, as normalised | no |
//! | the whole, or a part of it: two keys of one request | no |
//! | GET or QUERY | no |
//! | one byte of a QUERY's content, or of a field that describes it | no |
//!
//! RFC 9110 §5.3 lets a list be joined into one line, so the two spellings of a configured field
//! may mean the same. The key cannot know whether the field is a list, and the origin sees the
//! lines as they came: at worst one miss too many.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{COOKIE, HeaderMap, HeaderName};

use crate::config::KeyRules;
use crate::ledger::Position;
use crate::semantics::query::describes_content;

pub mod event;
pub mod groups;
pub mod purge;
pub mod query;
pub mod search;
pub mod tags;
#[cfg(test)]
mod tests;
pub mod url;

/// What identifies an entry: route, namespace version and request, then, for a variant, the
/// request fields that the response varies on.
///
/// The digest addresses it; the full text is kept in the entry and compared, so that a collision
/// of digests is a miss and not somebody else's response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// First 128 bits of BLAKE3 over `full`.
    pub digest: Digest,
    /// Every part with its length in front.
    pub full: Bytes,
    /// Name of the route.
    pub route: Arc<str>,
    /// Namespace, as its route's template came out.
    pub namespace: Arc<str>,
    /// Version of the namespace: the position of the last hard bump of it or an ancestor.
    pub version: Position,
}

/// Where in the cache a request looks: what its route decides before the request itself is read.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Name of the route.
    pub route: &'a Arc<str>,
    /// Namespace, as the route's template came out.
    pub namespace: &'a Arc<str>,
    /// Version of the namespace.
    pub version: Position,
    /// [`tags::stamp`] of the route: an entry that was tagged by other rules is not found.
    pub tags: [u8; 8],
}

/// An absolute URI in its parts, as a request was understood to ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Canonical.
    pub authority: &'a str,
    /// Byte for byte.
    pub path: &'a str,
    /// Without its `?`, as typed or canonical already.
    pub query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// The parts of this URI.
    pub fn of(uri: &'a http::Uri) -> Self {
        Self {
            scheme: uri.scheme_str().unwrap_or_default(),
            authority: uri.authority().map_or("", http::uri::Authority::as_str),
            path: uri.path(),
            query: uri.query(),
        }
    }
}

impl Key {
    /// The key of a request before anything is known of what its response varies on.
    ///
    /// `uri` is absolute, its authority canonical; its query may be as typed or canonical already.
    /// Two requests with the same key have the same [`url::canonical_uri`].
    pub fn primary(
        place: &Place<'_>,
        rules: &KeyRules,
        uri: &http::Uri,
        headers: &HeaderMap,
    ) -> Self {
        Self::of_target(place, rules, &Target::of(uri), headers)
    }

    /// The same, of a URI in its parts.
    pub fn of_target(
        place: &Place<'_>,
        rules: &KeyRules,
        target: &Target<'_>,
        headers: &HeaderMap,
    ) -> Self {
        let &Target { scheme, authority, path, query } = target;
        let query = query::canonical(&rules.query, query);
        let texts = [place.route, place.namespace, scheme, authority, path];
        let length = texts.iter().map(|text| text.len()).sum::<usize>();
        let mut parts =
            Parts::with_capacity(length + query.as_ref().map_or(0, |query| query.len()));

        parts.push(Kind::Route, place.route.as_bytes());
        parts.push(Kind::Namespace, place.namespace.as_bytes());
        parts.push(Kind::Version, &position_bytes(place.version));
        parts.push(Kind::Tags, &place.tags);
        parts.push(Kind::Scheme, scheme.as_bytes());
        parts.push(Kind::Authority, authority.as_bytes());
        parts.push(Kind::Path, path.as_bytes());
        if let Some(query) = &query {
            parts.push(Kind::Query, query.as_bytes());
        }
        push_fields(&mut parts, &rules.headers, headers);
        push_cookies(&mut parts, &rules.cookies, headers);
        Self::of(parts, place.route, place.namespace, place.version)
    }

    /// The key of a QUERY for the URI of this primary key.
    ///
    /// RFC 10008 §2.7: the key "MUST incorporate the request content and related metadata". Nothing
    /// is normalised, as it permits: what is taken for insignificant here might not be for the
    /// origin. Of the content the digest is kept, not the text: nobody finds two contents with one
    /// 256-bit BLAKE3 digest (2^128 attempts), whereas two keys with one 128-bit address, against
    /// which the full key is compared, are within reach of whoever chooses both.
    pub fn asking(&self, method: &http::Method, headers: &HeaderMap, content: &[u8]) -> Self {
        let mut parts = Parts::after(&self.full);
        parts.push(Kind::Method, method.as_str().as_bytes());
        let mut names: Vec<_> = headers.keys().filter(|name| describes_content(name)).collect();
        names.sort_unstable_by_key(|name| name.as_str());
        for name in names {
            parts.push(Kind::Metadata, name.as_str().as_bytes());
            for line in headers.get_all(name) {
                parts.push(Kind::MetadataLine, line.as_bytes());
            }
        }
        parts.push(Kind::Content, blake3::hash(content).as_bytes());
        Self::of(parts, &self.route, &self.namespace, self.version)
    }

    /// The address of something that is only good since `position`: the same for all who know of
    /// nothing later. Not a key of entries.
    pub fn since(&self, position: Position) -> Self {
        if position == Position::ZERO {
            return self.clone();
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.digest.0).update(&position_bytes(position));
        let mut digest = [0; 16];
        hasher.finalize_xof().fill(&mut digest);
        Self { digest: Digest(digest), ..self.clone() }
    }

    /// The key of what is stored of a response of which only a part is known (RFC 9111 §3.3): never
    /// that of the whole, so that a part cannot be taken for it. Its variants are under it.
    pub fn parts(&self) -> Self {
        let mut parts = Parts::after(&self.full);
        parts.push(Kind::Parts, b"");
        Self::of(parts, &self.route, &self.namespace, self.version)
    }

    /// The address of a question for a part: the same for all who ask for `which`. Not a key of
    /// entries.
    pub fn question(&self, which: &str) -> Digest {
        let mut parts = Parts::after(&self.full);
        parts.push(Kind::Parts, which.as_bytes());
        Digest::of(&parts.0)
    }

    /// The key of the variant that these request fields select, where the response to this primary
    /// key varies on `names` (RFC 9111 §4.1).
    ///
    /// `names` in an order that every request agrees on, as `store::Varies` keeps them.
    /// `normalise` gives a field's value in a request, `None` if the field is absent; what it takes
    /// for equal shares a variant.
    pub fn variant(
        &self,
        names: &[HeaderName],
        headers: &HeaderMap,
        normalise: impl Fn(&HeaderName, &HeaderMap) -> Option<Vec<u8>>,
    ) -> Self {
        let mut parts = Parts::after(&self.full);
        for name in names {
            parts.push(Kind::Vary, name.as_str().as_bytes());
            if let Some(value) = normalise(name, headers) {
                parts.push(Kind::VaryValue, &value);
            }
        }
        Self::of(parts, &self.route, &self.namespace, self.version)
    }

    fn of(parts: Parts, route: &Arc<str>, namespace: &Arc<str>, version: Position) -> Self {
        let full = Bytes::from(parts.0);
        Self {
            digest: Digest::of(&full),
            full,
            route: Arc::clone(route),
            namespace: Arc::clone(namespace),
            version,
        }
    }
}

impl Digest {
    /// Of a key's full text.
    pub fn of(full: &[u8]) -> Self {
        let mut digest = [0; 16];
        blake3::Hasher::new().update(full).finalize_xof().fill(&mut digest);
        Self(digest)
    }
}

/// Where the entry of a key is, as its full text says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located<'a> {
    /// Namespace.
    pub namespace: &'a str,
    authority: &'a str,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Located<'a> {
    /// By the full text of a key; `None` if it does not say.
    pub fn by(full: &'a [u8]) -> Option<Self> {
        let mut rest = full.strip_prefix(&[FORMAT])?;
        let (mut namespace, mut authority, mut path, mut query) = (None, None, None, None);
        while let Some((&kind, after)) = rest.split_first() {
            let (text, after) = part(after)?;
            let place = match kind {
                NAMESPACE => &mut namespace,
                AUTHORITY => &mut authority,
                PATH => &mut path,
                QUERY => &mut query,
                // Whatever follows the query is not about the place.
                _ if path.is_some() => break,
                _ => {
                    rest = after;
                    continue;
                }
            };
            *place = Some(std::str::from_utf8(text).ok()?);
            rest = after;
        }
        Some(Self { namespace: namespace?, authority: authority?, path: path?, query })
    }

    /// [`url::entry_url`] of its request, unless that was keyed by a rule ([`search`]).
    pub fn url(&self) -> Box<str> {
        url::assembled(self.authority, self.path, self.query)
    }
}

const NAMESPACE: u8 = Kind::Namespace as u8;
const AUTHORITY: u8 = Kind::Authority as u8;
const PATH: u8 = Kind::Path as u8;
const QUERY: u8 = Kind::Query as u8;

/// A part behind its kind: what it says, and what follows it.
fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = bytes.iter().position(|byte| *byte < 0x80)? + 1;
    let (length, rest) = bytes.split_at(digits);
    let length = length
        .iter()
        .rev()
        .try_fold(0_usize, |sum, byte| Some(sum.checked_mul(0x80)? | usize::from(byte & 0x7f)))?;
    rest.split_at_checked(length)
}

/// Every line of each field apart: absent has none, empty has one without bytes.
fn push_fields(parts: &mut Parts, names: &[HeaderName], headers: &HeaderMap) {
    for name in names {
        parts.push(Kind::Field, name.as_str().as_bytes());
        for line in headers.get_all(name) {
            parts.push(Kind::FieldLine, line.as_bytes());
        }
    }
}

/// Every occurrence of each cookie, with all that stands behind its name: `=value`, ` =value`, or
/// nothing.
///
/// Origins disagree on which of two cookies of one name wins, and on blanks around the `=`. If only
/// one reading were in the key, a client could choose the other and have its answer stored for
/// those who sent the first.
fn push_cookies(parts: &mut Parts, names: &[Box<str>], headers: &HeaderMap) {
    for wanted in names {
        parts.push(Kind::Cookie, wanted.as_bytes());
        for line in headers.get_all(COOKIE) {
            for pair in line.as_bytes().split(|byte| *byte == b';') {
                let rest = pair.trim_ascii_start().strip_prefix(wanted.as_bytes());
                if let Some(rest) = rest.filter(|rest| ends_a_name(rest)) {
                    parts.push(Kind::CookieRest, rest);
                }
            }
        }
    }
}

fn ends_a_name(rest: &[u8]) -> bool {
    matches!(rest.trim_ascii_start().first(), None | Some(b'='))
}

/// What a part of a key is. The bytes are stored: to change one is to change [`FORMAT`].
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Route = b'r',
    Namespace = b'n',
    Version = b'@',
    Tags = b't',
    Scheme = b's',
    Authority = b'a',
    Path = b'p',
    Query = b'q',
    Field = b'H',
    FieldLine = b'h',
    Cookie = b'C',
    CookieRest = b'c',
    Parts = b'P',
    Method = b'M',
    Metadata = b'F',
    MetadataLine = b'f',
    Content = b'b',
    Vary = b'V',
    VaryValue = b'v',
    NoVarySearch = b'N',
}

/// First byte of every key. A new way to write keys takes a new one, and finds none of the old
/// entries.
const FORMAT: u8 = 1;

/// A key's full text while it is written.
struct Parts(Vec<u8>);

impl Parts {
    /// Room for parts of `length` bytes in all, the version and some small parts.
    fn with_capacity(length: usize) -> Self {
        let mut bytes = Vec::with_capacity(length + 64);
        bytes.push(FORMAT);
        Self(bytes)
    }

    fn after(full: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(full.len() + 64);
        bytes.extend_from_slice(full);
        Self(bytes)
    }

    fn push(&mut self, kind: Kind, bytes: &[u8]) {
        self.0.push(kind as u8);
        let mut length = bytes.len();
        while length >= 0x80 {
            self.0.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        self.0.push(length as u8);
        self.0.extend_from_slice(bytes);
    }
}

fn position_bytes(position: Position) -> [u8; 16] {
    ((u128::from(position.millis) << 64) | u128::from(position.sequence)).to_be_bytes()
}

/// A key's fixed-size address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 16]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
