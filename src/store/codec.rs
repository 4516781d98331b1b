//! A record as bytes in Valkey.
//!
//! ```text
//!  0   4  magic "LRDR"
//!  4   1  version of this format
//!  5   8  checksum: XXH3 (64 bits) over everything behind it
//! 13   4  length of the whole, these 17 bytes included
//! 17   1  kind: 1 entry, 2 varies
//! 18   8  lifetime given to Valkey, ms
//! 26      key                                          text
//!
//!         kind 1                                       kind 2
//!         response_time: so long ago, ms    number     names       list of text
//!         initial_age, ms                   number     variants    list of (16, left: ms, number)
//!         fresh for, stale for, error for,
//!           ms                              3 × signed
//!         vouched: so long ago, ms          number
//!         as_of: millis, sequence           2 × number
//!         fill_time, µs                     number
//!         status                            2
//!         names, as `entry` packs them      text
//!         lines                             list of (name, text)
//!         body                              text
//!
//! number = LEB128, as short as it can be.  signed = the same, its sign in the lowest bit.
//! text = length (number), bytes.  list = count (number), items.
//! name = one byte: its place in a table of common names; or 0, text.
//! ```
//!
//! Valkey's allocator takes whole sizes (1,024, 1,280, 1,536 … bytes): what is left out here counts
//! double where it is what a record of a thousand bytes is too large by.
//!
//! Times are durations as they stood when the record was stored; the clocks of two processes are
//! never compared. The reader learns how long ago that was from Valkey alone: the lifetime it was
//! given minus what is left of it. Where rounding is needed a response gets older, not younger.
//!
//! Reading never panics, never allocates in advance what only a count promises, and yields a
//! record only if every byte is as it was written and every value is one that we would write.

use std::sync::Arc;
use std::time::Duration;

use ::bytes::Bytes;
use http::StatusCode;
use http::header::HeaderName;

use self::bytes::{Reader, Writer};
use super::entry::Parts;
use super::{Entry, Record, Varies};
use crate::key::Digest;
use crate::ledger::Position;
use crate::semantics::lines::Lines;
use crate::semantics::stored::Times;
use crate::semantics::time::Timestamp;

mod bytes;
mod names;

/// The version that is written, and the only one that is read.
pub const VERSION: u8 = 3;

const MAGIC: &[u8; 4] = b"LRDR";
/// Where the checksummed part begins.
const CHECKED: usize = 13;
/// How much of a record [`length_of`] needs to see.
const LENGTH_END: usize = CHECKED + 4;

const KIND_ENTRY: u8 = 1;
const KIND_VARIES: u8 = 2;

/// Most field lines of a stored response.
const MAX_LINES: usize = 1024;
/// Most tags and groups of an entry, names of a `Vary`, and variants of a key.
const MAX_LIST: usize = 4096;
/// Longest lifetime given to Valkey.
const MAX_LIFETIME: Duration = Duration::from_hours(366 * 24);

/// A record ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The value for SET.
    pub bytes: Vec<u8>,
    /// The lifetime that Valkey gives it, at least a millisecond.
    pub lifetime: Duration,
}

/// Why a record cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot be stored: {0}")]
pub struct Unencodable(&'static str);

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not what was written.
    #[error("damaged: {0}")]
    Damaged(&'static str),
    /// Written by a process with another format.
    #[error("written in format {0}")]
    ForeignVersion(u8),
}

use DecodeError::Damaged;

/// Writes a record as it stands at `now`; `None` if its time has passed.
pub fn encode(record: &Record, now: Timestamp) -> Result<Option<Encoded>, Unencodable> {
    let lifetime = record.keep_until().since(now).min(MAX_LIFETIME);
    if lifetime.is_zero() {
        return Ok(None);
    }
    let mut out = Writer::new(size_hint(record));
    out.u8(match record {
        Record::Entry(_) => KIND_ENTRY,
        Record::Varies(_) => KIND_VARIES,
    });
    out.u64(millis(lifetime));
    out.text(record.key());
    match record {
        Record::Entry(entry) => write_entry(&mut out, entry, now, lifetime)?,
        Record::Varies(varies) => write_varies(&mut out, varies, now)?,
    }
    Ok(Some(Encoded { bytes: out.seal()?, lifetime }))
}

/// Reads a record that has `remaining` left of its lifetime at `now`. A large body is a slice of
/// `blob`.
pub fn decode(blob: &Bytes, now: Timestamp, remaining: Duration) -> Result<Record, DecodeError> {
    let mut input = Reader::open(blob)?;
    let kind = input.u8()?;
    let lifetime = Duration::from_millis(input.u64()?);
    // Longer than we would write: counted back from, it could reach beyond the clock's own start.
    if lifetime > MAX_LIFETIME {
        return Err(Damaged("lifetime"));
    }
    // A lifetime that has grown would make the response younger than it is.
    let elapsed = lifetime.checked_sub(remaining).ok_or(Damaged("it outlives its lifetime"))?;
    let stored = Stored { at: now - elapsed, lifetime };
    let key = input.bytes()?;
    let record = match kind {
        KIND_ENTRY => Record::Entry(Arc::new(read_entry(&mut input, &key, stored)?)),
        KIND_VARIES => Record::Varies(Arc::new(read_varies(&mut input, key, stored)?)),
        _ => return Err(Damaged("unknown kind")),
    };
    input.end()?;
    Ok(record)
}

/// How long a record is, by its first bytes alone; nothing is checked yet. `None` if these are not
/// the first bytes of a record in our format.
pub fn length_of(start: &[u8]) -> Option<u32> {
    let rest = start.strip_prefix(MAGIC)?;
    let length = start.get(CHECKED..LENGTH_END)?;
    (rest.first() == Some(&VERSION)).then_some(())?;
    Some(u32::from_be_bytes(length.try_into().ok()?))
}

/// When a record was stored, on the reader's clock, and for how long.
#[derive(Clone, Copy)]
struct Stored {
    at: Timestamp,
    lifetime: Duration,
}

impl Stored {
    /// The moment that lay this many milliseconds ahead (or behind) then.
    fn plus(self, millis: i64) -> Timestamp {
        let distance = Duration::from_millis(millis.unsigned_abs());
        if millis < 0 { self.at - distance } else { self.at + distance }
    }
}

fn write_entry(
    out: &mut Writer,
    entry: &Entry,
    now: Timestamp,
    lifetime: Duration,
) -> Result<(), Unencodable> {
    let Parts { status, fill_time, names, lines, .. } = entry.parts();
    let times = entry.times();
    if !is_final(status) {
        return Err(Unencodable("not a final status"));
    }
    if lines.iter().count() > MAX_LINES || entry.longest_list() > MAX_LIST {
        return Err(Unencodable("too many fields or tags"));
    }
    out.number(millis(now.since(times.response_time)));
    out.number(millis(round_up(times.initial_age)));
    let keep = millis(lifetime).cast_signed();
    let stale = ahead(times.stale_until, now).min(keep);
    out.signed(ahead(times.fresh_until, now).min(stale));
    out.signed(stale);
    out.signed(ahead(times.error_until, now).min(keep));
    out.number(millis(now.since(entry.vouched)));
    // What this process did on its own after that position means nothing elsewhere.
    let as_of = entry.as_of.shared();
    out.number(as_of.millis);
    out.number(as_of.sequence);
    out.number(u64::try_from(fill_time.as_micros()).unwrap_or(u64::MAX));
    out.u16(status.as_u16());
    out.text(names);
    names::write_lines(out, lines)?;
    out.text(entry.content());
    Ok(())
}

fn read_entry(input: &mut Reader<'_>, key: &[u8], stored: Stored) -> Result<Entry, DecodeError> {
    let (times, vouched) = read_times(input, stored)?;
    let as_of = Position { millis: input.number()?, sequence: input.number()? };
    let fill_time = Duration::from_micros(input.number()?);
    let status = StatusCode::from_u16(input.u16()?).map_err(|_| Damaged("status"))?;
    if !is_final(status) {
        return Err(Damaged("status"));
    }
    let names = input.text()?;
    let lines = names::read_lines(input)?;
    let lines = Lines::written(&lines);
    let body = input.bytes()?;
    let mut entry = Entry::of(&Parts { status, fill_time, key, names, lines }, body, &times);
    if !entry.has_sound_names() || entry.longest_list() > MAX_LIST {
        return Err(Damaged("names"));
    }
    (entry.as_of, entry.vouched) = (as_of, vouched);
    Ok(entry)
}

/// The times of the response, and when it was last vouched for.
fn read_times(input: &mut Reader<'_>, stored: Stored) -> Result<(Times, Timestamp), DecodeError> {
    let response_time = stored.at - input.millis()?;
    let initial_age = input.millis()?;
    let (fresh, stale, error) = (input.signed()?, input.signed()?, input.signed()?);
    let vouched = stored.at - input.millis()?;
    let keep = i64::try_from(stored.lifetime.as_millis()).map_err(|_| Damaged("lifetime"))?;
    if fresh > stale || stale > keep || error > keep {
        return Err(Damaged("times out of order"));
    }
    let times = Times {
        response_time,
        initial_age,
        fresh_until: stored.plus(fresh),
        stale_until: stored.plus(stale),
        error_until: stored.plus(error),
        keep_until: stored.plus(keep),
    };
    Ok((times, vouched))
}

fn write_varies(out: &mut Writer, varies: &Varies, now: Timestamp) -> Result<(), Unencodable> {
    out.count(varies.names.len(), MAX_LIST)?;
    for name in &varies.names {
        out.text(name.as_str().as_bytes());
    }
    out.count(varies.variants.len(), MAX_LIST)?;
    for (variant, keep_until) in &varies.variants {
        out.raw(&variant.0);
        out.number(millis(keep_until.since(now)));
    }
    Ok(())
}

fn read_varies(input: &mut Reader<'_>, key: Bytes, stored: Stored) -> Result<Varies, DecodeError> {
    let names = (0..input.count(MAX_LIST)?)
        .map(|_| HeaderName::from_bytes(input.text()?).map_err(|_| Damaged("field name")))
        .collect::<Result<Vec<_>, _>>()?;
    let variants = (0..input.count(MAX_LIST)?)
        .map(|_| Ok((Digest(input.array()?), stored.at + input.millis()?)))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Varies { key, names, variants, keep_until: stored.at + stored.lifetime })
}

/// Only final responses are stored (RFC 9111 §3), and a code outside the five classes is not one
/// that we would have stored (RFC 9110 §15).
fn is_final(status: StatusCode) -> bool {
    (200..600).contains(&status.as_u16())
}

/// How far `moment` lies ahead of `now`, in milliseconds; negative if behind.
fn ahead(moment: Timestamp, now: Timestamp) -> i64 {
    let (ahead, behind) = (millis(moment.since(now)), millis(now.since(moment)));
    let bound = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX);
    bound(ahead) - bound(behind)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// To whole milliseconds.
fn round_up(age: Duration) -> Duration {
    age.saturating_add(Duration::from_nanos(999_999))
}

/// About how long the bytes will be, so that a body is not moved while they grow.
fn size_hint(record: &Record) -> usize {
    match record {
        Record::Entry(entry) => 256 + entry.allocated().iter().sum::<usize>(),
        Record::Varies(varies) => {
            64 + varies.key.len() + varies.names.len() * 32 + varies.variants.len() * 24
        }
    }
}

#[cfg(test)]
mod tests;
