//! A stored response with everything that decides whether it may be used, in as few bytes and
//! allocations as it can be.
//!
//! ```text
//! block  ::= status (2)  where a 304 begins in the lines, or 0 (2)
//!            fill time µs  received ms  age then ms
//!            length of the key, of the names, of the lines
//!            key  names  lines  CR LF  [content]
//! names  ::= nothing, if the key says where the entry is and it has no tags and groups
//!          | 0 or 1 namespace url   count tag*   count group*
//! ```
//!
//! Numbers in LEB128, texts with their length in front. A small content is in the block, so that
//! the lines, the end of the head and the content can be written as one piece; a large one is never
//! copied. What the key says already, where the entry is, is not kept twice: an entry is judged less
//! often than it is served.
//!
//! An entry cannot be changed: [`Entry::draft`] gives what another one can be made from.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use http::{HeaderMap, HeaderName, StatusCode};

use super::Judged;
use crate::key::Located;
use crate::ledger::Position;
use crate::ledger::name::Belongs;
use crate::semantics::lines::{self, Lines};
use crate::semantics::stored::{StoredResponse, Times};
use crate::semantics::time::Timestamp;

/// Content up to this size is in the block.
const TOGETHER: usize = 16 * 1024;
/// What ends a head.
const END: &[u8] = b"\r\n";
/// Where the numbers in LEB128 begin.
const NUMBERS: usize = 4;

/// A stored response, packed.
#[derive(Clone, Debug)]
pub struct Entry {
    data: Data,
    ends: Ends,
    /// Position that had been applied here when the origin was asked for it.
    pub as_of: Position,
    /// When this process last had the origin's word for it: filled, or validated by a 304.
    pub vouched: Timestamp,
    /// When it was last found to be good.
    pub judged: Judged,
}

/// A stored response, to be read and changed in all its parts.
#[derive(Clone, Debug)]
pub struct Draft {
    /// [`Key::full`](crate::key::Key::full) of the key it is stored under.
    pub key: Bytes,
    /// Head, body, times.
    pub response: StoredResponse,
    /// Namespace it lives under.
    pub namespace: Box<str>,
    /// `//host/path?query`, the query canonical as in its key.
    pub url: Box<str>,
    /// Surrogate keys.
    pub tags: Vec<Box<str>>,
    /// Groups of its origin that it belongs to (RFC 9875 §2), without the origin.
    pub groups: Vec<Box<str>>,
    /// See [`Entry::as_of`].
    pub as_of: Position,
    /// See [`Entry::vouched`].
    pub vouched: Timestamp,
    /// How long the origin took to answer, for "origin time saved".
    pub fill_time: Duration,
}

#[derive(Clone, Debug)]
enum Data {
    Together(Bytes),
    /// The block, and the content.
    Apart(Arc<(Bytes, Bytes)>),
}

/// [`Times`], but for those of its receipt, which are in the block.
#[derive(Clone, Copy, Debug)]
struct Ends {
    fresh_until: Timestamp,
    stale_until: Timestamp,
    error_until: Timestamp,
    keep_until: Timestamp,
}

/// What a block holds, besides the content.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub status: StatusCode,
    pub fill_time: Duration,
    pub key: &'a [u8],
    /// Where it is and what it belongs to, as far as the key does not say.
    pub names: &'a [u8],
    pub lines: Lines<'a>,
}

/// What a hit needs of an entry.
#[derive(Clone, Debug)]
pub struct Glance<'a> {
    /// Final status code.
    pub status: StatusCode,
    /// See [`Entry::times`].
    pub times: Times,
    /// See [`Entry::fill_time`].
    pub fill_time: Duration,
    /// See [`Entry::lines`].
    pub lines: Lines<'a>,
    /// Bytes of content.
    pub length: usize,
    /// The lines, the empty line that ends the head, and the content, which is the second part if it
    /// is too large to be kept with them.
    pub tail: (Bytes, Option<Bytes>),
    /// Those of a 304, the entity tag first; `None` unless both may follow fields of our own as they
    /// are ([`Lines::as_a_head`]).
    pub of_304: Option<Lines<'a>>,
}

/// A block, taken apart.
#[derive(Clone, Copy)]
struct Block<'a> {
    status: StatusCode,
    /// See [`Glance::of_304`]; 0: none.
    of_304: u16,
    fill_time: Duration,
    response_time: Timestamp,
    initial_age: Duration,
    key: &'a [u8],
    names: &'a [u8],
    lines: &'a [u8],
    /// What follows the lines: the end of the head, the content.
    rest: &'a [u8],
}

impl Entry {
    // --- what a hit needs ---

    /// Final status code.
    pub fn status(&self) -> StatusCode {
        self.block().status
    }

    /// End-to-end fields, every line of a repeated field kept. Their bytes can be written into a
    /// message verbatim, but for an `Age` among them, which is the origin's.
    pub fn lines(&self) -> Lines<'_> {
        Lines::written(self.block().lines)
    }

    /// The whole content.
    pub fn content(&self) -> &[u8] {
        match &self.data {
            Data::Together(_) => self.block().rest.get(END.len()..).unwrap_or_default(),
            Data::Apart(both) => &both.1,
        }
    }

    /// The whole content, without a copy.
    pub fn body(&self) -> Bytes {
        match &self.data {
            Data::Together(block) => block.slice_ref(self.content()),
            Data::Apart(both) => both.1.clone(),
        }
    }

    /// All that a hit needs, at one look into the block.
    pub fn at_a_glance(&self) -> Glance<'_> {
        let (block, content) = match &self.data {
            Data::Together(block) => (block, None),
            Data::Apart(both) => (&both.0, Some(&both.1)),
        };
        let seen = self.block();
        let from = block.len() - seen.lines.len() - seen.rest.len();
        let together = seen.rest.len().saturating_sub(END.len());
        Glance {
            status: seen.status,
            times: self.times_by(&seen),
            fill_time: seen.fill_time,
            lines: Lines::written(seen.lines),
            length: content.map_or(together, Bytes::len),
            tail: (block.slice(from..), content.cloned()),
            of_304: (seen.of_304 > 0)
                .then(|| Lines::written(seen.lines).from(usize::from(seen.of_304))),
        }
    }

    /// When it was received and until when it may be used.
    pub fn times(&self) -> Times {
        self.times_by(&self.block())
    }

    const fn times_by(&self, block: &Block<'_>) -> Times {
        let Block { response_time, initial_age, .. } = *block;
        let Ends { fresh_until, stale_until, error_until, keep_until } = self.ends;
        Times { response_time, initial_age, fresh_until, stale_until, error_until, keep_until }
    }

    /// Until here the store keeps it.
    pub const fn keep_until(&self) -> Timestamp {
        self.ends.keep_until
    }

    /// How long the origin took to answer, for "origin time saved".
    pub fn fill_time(&self) -> Duration {
        self.block().fill_time
    }

    /// [`Key::full`](crate::key::Key::full) of the key it was stored under.
    pub fn key(&self) -> &[u8] {
        self.block().key
    }

    // --- what is asked less often, and made anew each time ---

    /// The fields as a map.
    pub fn headers(&self) -> HeaderMap {
        self.lines().to_map(self.head())
    }

    /// Appends fields of it to a map.
    pub fn append(&self, lines: Lines<'_>, headers: &mut HeaderMap) {
        lines.append_to(headers, self.head());
    }

    /// The fields of these names.
    pub fn headers_named(&self, names: &[HeaderName]) -> HeaderMap {
        self.lines().to_map_of(names, self.head())
    }

    /// Head, body, times.
    pub fn response(&self) -> StoredResponse {
        StoredResponse {
            status: self.status(),
            headers: self.headers(),
            body: self.body(),
            times: self.times(),
        }
    }

    /// What the ledger asks for.
    pub fn belongs(&self) -> Belongs {
        let Names { namespace, url, tags, groups } = self.names();
        Belongs::of(&namespace, &url, &tags, &groups)
    }

    /// Surrogate keys.
    pub fn tags(&self) -> Vec<Box<str>> {
        self.names().tags
    }

    /// Groups of its origin that it belongs to (RFC 9875 §2), without the origin.
    pub fn groups(&self) -> Vec<Box<str>> {
        self.names().groups
    }

    /// Namespace it lives under.
    pub fn namespace(&self) -> Box<str> {
        self.names().namespace
    }

    /// `//host/path?query`, the query canonical as in its key.
    pub fn url(&self) -> Box<str> {
        self.names().url
    }

    /// All of it, to make another one from.
    pub fn draft(&self) -> Draft {
        let Names { namespace, url, tags, groups } = self.names();
        Draft {
            key: self.head().slice_ref(self.key()),
            response: self.response(),
            namespace,
            url,
            tags,
            groups,
            as_of: self.as_of,
            vouched: self.vouched,
            fill_time: self.fill_time(),
        }
    }

    /// The same, for other times.
    pub fn with_times(&self, times: Times) -> Self {
        let mut other = Self::of(&self.parts(), self.body(), &times);
        (other.as_of, other.vouched) = (self.as_of, self.vouched);
        other
    }

    /// The same with another content and other tags.
    pub fn with_content(&self, content: Bytes, tags: &[Box<str>]) -> Self {
        let block = self.block();
        let Names { namespace, url, groups, .. } = self.names();
        let names = written_names(block.key, &namespace, &url, tags, &groups);
        let parts = Parts { names: &names, ..self.parts() };
        let mut other = Self::of(&parts, content, &self.times());
        (other.as_of, other.vouched) = (self.as_of, self.vouched);
        other
    }

    /// Bytes of memory that it holds in its blocks, as they were asked for.
    pub fn allocated(&self) -> [usize; 2] {
        match &self.data {
            Data::Together(block) => [block.len(), 0],
            Data::Apart(both) => [both.0.len(), both.1.len()],
        }
    }

    /// From what was written elsewhere; of no time and no position yet.
    pub(super) fn of(parts: &Parts<'_>, content: Bytes, times: &Times) -> Self {
        let Parts { status, fill_time, key, names, lines } = *parts;
        let lines_length = lines.as_bytes().len();
        let head = Head { status, fill_time, times, key, names, lines: lines_length };
        let push_lines = |out: &mut Vec<u8>| out.extend_from_slice(lines.as_bytes());
        Self {
            data: Data::of(&head, push_lines, content),
            ends: Ends::of(times),
            as_of: Position::ZERO,
            vouched: Timestamp::ZERO,
            judged: Judged::default(),
        }
    }

    pub(super) fn parts(&self) -> Parts<'_> {
        let Block { status, fill_time, key, names, lines, .. } = self.block();
        Parts { status, fill_time, key, names, lines: Lines::written(lines) }
    }

    /// Do its names say where it is and what it belongs to, in the way that they are written here?
    pub(super) fn has_sound_names(&self) -> bool {
        let Block { key, names, .. } = self.block();
        if names.is_empty() {
            return Located::by(key).is_some();
        }
        Names::read(key, names).is_some_and(|Names { namespace, url, tags, groups }| {
            written_names(key, &namespace, &url, &tags, &groups) == names
        })
    }

    /// How many tags or groups it has, whichever are more.
    pub(super) fn longest_list(&self) -> usize {
        match self.block().names {
            [] => 0,
            _ => {
                let Names { tags, groups, .. } = self.names();
                tags.len().max(groups.len())
            }
        }
    }

    fn head(&self) -> &Bytes {
        match &self.data {
            Data::Together(block) => block,
            Data::Apart(both) => &both.0,
        }
    }

    fn block(&self) -> Block<'_> {
        // Nothing else is ever written.
        Block::read(self.head()).unwrap_or(Block::EMPTY)
    }

    fn names(&self) -> Names {
        let block = self.block();
        Names::read(block.key, block.names).unwrap_or_default()
    }
}

impl From<Draft> for Entry {
    fn from(draft: Draft) -> Self {
        let Draft { key, response, namespace, url, tags, groups, as_of, vouched, fill_time } =
            draft;
        let names = written_names(&key, &namespace, &url, &tags, &groups);
        let head = Head {
            status: response.status,
            fill_time,
            times: &response.times,
            key: &key,
            names: &names,
            lines: lines::length(&response.headers),
        };
        let push_lines = |out: &mut Vec<u8>| lines::write(&response.headers, out);
        Self {
            data: Data::of(&head, push_lines, response.body),
            ends: Ends::of(&response.times),
            as_of,
            vouched,
            judged: Judged::default(),
        }
    }
}

/// What stands in a block, but for the lines themselves and the content.
struct Head<'a> {
    status: StatusCode,
    fill_time: Duration,
    times: &'a Times,
    key: &'a [u8],
    names: &'a [u8],
    /// Their length.
    lines: usize,
}

impl Data {
    fn of(head: &Head<'_>, push_lines: impl FnOnce(&mut Vec<u8>), content: Bytes) -> Self {
        let inside = if content.len() <= TOGETHER { &content[..] } else { &[] };
        let bounded = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
        let numbers = [
            bounded(head.fill_time.as_micros()),
            head.times.response_time.as_millis(),
            // Rounded up: a response may get older by it, never younger.
            bounded(head.times.initial_age.as_nanos().div_ceil(1_000_000)),
            head.key.len() as u64,
            head.names.len() as u64,
            head.lines as u64,
        ];
        let texts = head.key.len() + head.names.len() + head.lines + END.len() + inside.len();
        let length = NUMBERS + numbers.map(leb_length).iter().sum::<usize>() + texts;
        let mut block = Vec::with_capacity(length);
        block.put_u16(head.status.as_u16());
        block.put_u16(0);
        numbers.iter().for_each(|number| put_leb(*number, &mut block));
        block.extend_from_slice(head.key);
        block.extend_from_slice(head.names);
        let before = block.len();
        push_lines(&mut block);
        let of_304 = Lines::written(&block[before..]).as_a_head(content.len());
        let of_304 = of_304.and_then(|from| u16::try_from(from).ok()).unwrap_or(0);
        block[2..NUMBERS].copy_from_slice(&of_304.to_be_bytes());
        block.extend_from_slice(END);
        block.extend_from_slice(inside);
        if content.len() <= TOGETHER {
            Self::Together(block.into())
        } else {
            Self::Apart(Arc::new((block.into(), content)))
        }
    }
}

impl<'a> Block<'a> {
    const EMPTY: Self = Self {
        status: StatusCode::OK,
        of_304: 0,
        fill_time: Duration::ZERO,
        response_time: Timestamp::ZERO,
        initial_age: Duration::ZERO,
        key: &[],
        names: &[],
        lines: &[],
        rest: &[],
    };

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&[a, b, c, d], mut rest) = bytes.split_first_chunk::<NUMBERS>()?;
        let status = StatusCode::from_u16(u16::from_be_bytes([a, b])).ok()?;
        let of_304 = u16::from_be_bytes([c, d]);
        let fill_time = Duration::from_micros(take_leb(&mut rest)?);
        let response_time = Timestamp::from_millis(take_leb(&mut rest)?);
        let initial_age = Duration::from_millis(take_leb(&mut rest)?);
        let lengths = [take_length(&mut rest)?, take_length(&mut rest)?, take_length(&mut rest)?];
        let (key, rest) = rest.split_at_checked(lengths[0])?;
        let (names, rest) = rest.split_at_checked(lengths[1])?;
        let (lines, rest) = rest.split_at_checked(lengths[2])?;
        Some(Self {
            status,
            of_304,
            fill_time,
            response_time,
            initial_age,
            key,
            names,
            lines,
            rest,
        })
    }
}

/// What an entry is invalidated by.
#[derive(Default)]
struct Names {
    namespace: Box<str>,
    url: Box<str>,
    tags: Vec<Box<str>>,
    groups: Vec<Box<str>>,
}

impl Names {
    fn read(key: &[u8], mut rest: &[u8]) -> Option<Self> {
        let by_key = |located: Located<'_>| (Box::from(located.namespace), located.url());
        if rest.is_empty() {
            let (namespace, url) = by_key(Located::by(key)?);
            return Some(Self { namespace, url, ..Self::default() });
        }
        let (namespace, url) = match take_leb(&mut rest)? {
            0 => by_key(Located::by(key)?),
            _ => (take_text(&mut rest)?, take_text(&mut rest)?),
        };
        let tags = take_texts(&mut rest)?;
        let groups = take_texts(&mut rest)?;
        Some(Self { namespace, url, tags, groups })
    }
}

fn written_names(
    key: &[u8],
    namespace: &str,
    url: &str,
    tags: &[Box<str>],
    groups: &[Box<str>],
) -> Vec<u8> {
    let by_key = Located::by(key).is_some_and(|l| l.namespace == namespace && *l.url() == *url);
    let mut out = Vec::new();
    if by_key && tags.is_empty() && groups.is_empty() {
        return out;
    }
    out.push(u8::from(!by_key));
    if !by_key {
        put_text(namespace, &mut out);
        put_text(url, &mut out);
    }
    for list in [tags, groups] {
        put_leb(list.len() as u64, &mut out);
        list.iter().for_each(|text| put_text(text, &mut out));
    }
    out
}

impl Ends {
    const fn of(times: &Times) -> Self {
        let Times { fresh_until, stale_until, error_until, keep_until, .. } = *times;
        Self { fresh_until, stale_until, error_until, keep_until }
    }
}

const fn leb_length(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn put_leb(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_leb(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    usize::try_from(take_leb(rest)?).ok()
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put_leb(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn take_text(rest: &mut &[u8]) -> Option<Box<str>> {
    let length = take_length(rest)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok().map(Box::from)
}

fn take_texts(rest: &mut &[u8]) -> Option<Vec<Box<str>>> {
    (0..take_leb(rest)?).map(|_| take_text(rest)).collect()
}

#[cfg(test)]
mod tests;
