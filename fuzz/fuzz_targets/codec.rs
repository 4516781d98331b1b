//! Records in Valkey: whatever is found there does no harm, and what is written comes back.
//!
//! Input: a byte that chooses, then bytes as they are, bytes under a right checksum, or a record.

#![no_main]

use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use larder::key::Digest;
use larder::ledger::Position;
use larder::semantics::stored::{StoredResponse, Times};
use larder::semantics::time::Timestamp;
use larder::store::codec::{VERSION, decode, encode, length_of};
use larder::store::{Draft, Entry, Record, Varies};
use libfuzzer_sys::fuzz_target;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    match choice & 3 {
        0 => found(Bytes::copy_from_slice(rest), u64::from(*choice >> 2)),
        1 => found(sealed(rest), u64::from(*choice >> 2)),
        _ => {
            if let Ok(record) = record(&mut Unstructured::new(rest)) {
                written(&record, u64::from(*choice >> 2));
            }
        }
    }
});

/// Puts front, length and the right checksum before what follows them in a record, as somebody with
/// access to Valkey could.
fn sealed(rest: &[u8]) -> Bytes {
    let length = u32::try_from(rest.len() + 17).expect("short");
    let checked = [&length.to_be_bytes()[..], rest].concat();
    let sum = xxhash_rust::xxh3::xxh3_64(&checked).to_be_bytes();
    [&b"LRDR"[..], &[VERSION], &sum, &checked].concat().into()
}

fn found(blob: Bytes, left: u64) {
    let left = Duration::from_millis(left);
    let Ok(record) = decode(&blob, NOW, left) else { return };
    assert_eq!(length_of(&blob).map(|l| l as usize), Some(blob.len()));
    // It is not good for longer than Valkey keeps it.
    assert!(record.keep_until() <= NOW + left, "{record:?}");
    if let Record::Entry(entry) = &record {
        let times = entry.times();
        in_order(&times);
        assert!((200..600).contains(&entry.status().as_u16()));
        assert!(times.response_time <= NOW && entry.vouched <= NOW);
    }
    // Whatever is read can be written, and is then the same.
    let Ok(Some(again)) = encode(&record, NOW) else {
        assert!(left.is_zero(), "{record:?}");
        return;
    };
    let again = decode(&again.bytes.into(), NOW, again.lifetime).expect("just written");
    same(&record, &again);
}

fn written(record: &Record, spent: u64) {
    let Ok(Some(encoded)) = encode(record, NOW) else { return };
    let spent = Duration::from_millis(spent).min(encoded.lifetime);
    // Another process, whose clock shows something else.
    let there = Timestamp::from_millis(9_000_000_000_000);
    let blob = Bytes::from(encoded.bytes);
    let read = decode(&blob, there + spent, encoded.lifetime - spent).expect("just written");
    assert!(read.keep_until().since(there) <= encoded.lifetime);
    if let (Record::Entry(read), Record::Entry(wrote)) = (&read, record) {
        in_order(&read.times());
        let (here, there) = (NOW + spent, there + spent);
        let (ours, theirs) = (&wrote.times(), &read.times());
        assert!(theirs.age(there) >= ours.age(here), "nothing gets younger on the way");
        assert!(!theirs.is_fresh(there) || ours.is_fresh(here), "nor fresher");
        assert!(there.since(read.vouched) >= here.since(wrote.vouched), "nor surer");
    }
    same(record, &read);
}

fn in_order(times: &Times) {
    assert!(times.fresh_until <= times.stale_until, "{times:?}");
    assert!(times.stale_until <= times.keep_until, "{times:?}");
    assert!(times.error_until <= times.keep_until, "{times:?}");
}

/// But for the times.
fn same(a: &Record, b: &Record) {
    assert_eq!(a.key(), b.key());
    match (a, b) {
        (Record::Entry(a), Record::Entry(b)) => {
            assert_eq!(a.status(), b.status());
            assert_eq!(a.lines(), b.lines());
            assert_eq!(a.content(), b.content());
            assert_eq!((a.namespace(), a.url(), a.tags()), (b.namespace(), b.url(), b.tags()));
            assert_eq!(a.belongs(), b.belongs());
            assert_eq!(a.as_of.shared(), b.as_of.shared());
        }
        (Record::Varies(a), Record::Varies(b)) => {
            assert_eq!(a.names, b.names);
            let digests = |v: &Varies| v.variants.iter().map(|(d, _)| *d).collect::<Vec<_>>();
            assert_eq!(digests(a), digests(b));
        }
        _ => panic!("a record came back as one of the other kind"),
    }
}

fn record(u: &mut Unstructured<'_>) -> arbitrary::Result<Record> {
    if u.ratio(1, 4)? { varies(u) } else { entry(u) }
}

fn entry(u: &mut Unstructured<'_>) -> arbitrary::Result<Record> {
    let key: Vec<u8> = u.arbitrary()?;
    let (namespace, url): (Box<str>, Box<str>) = (u.arbitrary()?, u.arbitrary()?);
    let (tags, groups): (Vec<Box<str>>, Vec<Box<str>>) = (u.arbitrary()?, u.arbitrary()?);
    let status = StatusCode::from_u16(u.int_in_range(100..=999)?)
        .map_err(|_| arbitrary::Error::IncorrectFormat)?;
    let times = times(u)?;
    let mut headers = HeaderMap::new();
    for _ in 0..u.int_in_range(0..=12)? {
        let (name, value): (&[u8], &[u8]) = (u.arbitrary()?, u.arbitrary()?);
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    let body: Vec<u8> = u.arbitrary()?;
    Ok(Record::Entry(Arc::new(Entry::from(Draft {
        key: key.into(),
        response: StoredResponse { status, headers, body: body.into(), times },
        namespace,
        url,
        tags,
        groups,
        as_of: Position { millis: u.arbitrary()?, sequence: u.arbitrary()? },
        vouched: NOW - Duration::from_millis(u.int_in_range(0..=1 << 40)?),
        fill_time: Duration::from_micros(u.arbitrary()?),
    }))))
}

fn times(u: &mut Unstructured<'_>) -> arbitrary::Result<Times> {
    let start = NOW - Duration::from_millis(u.int_in_range(0..=100_000)?);
    let mut span = || u.int_in_range(0..=1 << 40).map(Duration::from_millis);
    let fresh_until = start + span()?;
    let stale_until = fresh_until + span()?;
    let keep_until = stale_until + span()?;
    Ok(Times {
        response_time: NOW - span()?,
        initial_age: span()? + Duration::from_nanos(u.int_in_range(0..=999_999)?),
        fresh_until,
        stale_until,
        error_until: (start + Duration::from_millis(u.int_in_range(0..=1 << 42)?)).min(keep_until),
        keep_until,
    })
}

fn varies(u: &mut Unstructured<'_>) -> arbitrary::Result<Record> {
    let key: Vec<u8> = u.arbitrary()?;
    let names: Vec<&[u8]> = u.arbitrary()?;
    let variants: Vec<([u8; 16], u32)> = u.arbitrary()?;
    Ok(Record::Varies(Arc::new(Varies {
        key: key.into(),
        names: names.into_iter().filter_map(|n| HeaderName::from_bytes(n).ok()).collect(),
        variants: variants
            .into_iter()
            .map(|(digest, left)| (Digest(digest), NOW + Duration::from_millis(left.into())))
            .collect(),
        keep_until: NOW + Duration::from_millis(u32::arbitrary(u)?.into()),
    })))
}
