use proptest::collection::vec;
use proptest::prelude::*;

use http::HeaderMap;
use http::header::HeaderValue;

use super::bytes::checksum;
use super::*;
use crate::semantics::stored::StoredResponse;
use crate::store::Draft;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn after(millis: u64) -> Timestamp {
    NOW + Duration::from_millis(millis)
}

fn entry() -> Draft {
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("content-type", "text/plain"), ("link", "</a>"), ("x-odd", "1"), ("link", "</b>")]
    {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let tags: Vec<Box<str>> = vec!["product:7".into(), "é".into()];
    let groups: Vec<Box<str>> = vec!["scripts".into(), "".into()];
    Draft {
        key: Bytes::from_static(b"\0\x01key"),
        response: StoredResponse {
            status: StatusCode::OK,
            headers,
            body: Bytes::from_static(b"seven"),
            times: Times {
                response_time: NOW - Duration::from_millis(1_500),
                initial_age: Duration::from_millis(2_000),
                fresh_until: after(10_000),
                stale_until: after(20_000),
                error_until: after(25_000),
                keep_until: after(30_000),
            },
        },
        namespace: "catalog".into(),
        url: "//h/p/7?a=1".into(),
        tags,
        groups,
        as_of: Position { millis: 9, sequence: 3 },
        vouched: NOW - Duration::from_millis(500),
        fill_time: Duration::from_micros(12_345),
    }
}

fn encoded(record: &Record) -> Encoded {
    encode(record, NOW).unwrap().unwrap()
}

fn blob(record: &Record) -> Bytes {
    encoded(record).bytes.into()
}

/// Puts the right checksum on changed bytes, as somebody with access to Valkey could.
fn reseal(mut bytes: Vec<u8>) -> Bytes {
    let sum = checksum(&bytes[CHECKED..]);
    bytes[5..CHECKED].copy_from_slice(&sum);
    bytes.into()
}

fn expect_entry(record: &Record) -> Draft {
    match record {
        Record::Entry(entry) => entry.draft(),
        Record::Varies(_) => panic!("a varies came back for an entry"),
    }
}

fn assert_same(read: &Draft, written: &Draft) {
    assert_eq!(read.key, written.key);
    assert_eq!(read.response.status, written.response.status);
    assert_eq!(read.response.headers, written.response.headers);
    assert_eq!(read.response.body, written.response.body);
    assert_eq!(read.namespace, written.namespace);
    assert_eq!(read.url, written.url);
    assert_eq!(read.tags, written.tags);
    assert_eq!(read.groups, written.groups);
    assert_eq!(read.as_of, written.as_of.shared());
    assert_eq!(read.fill_time, written.fill_time);
}

#[test]
fn an_entry_comes_back_as_it_was() {
    let written = entry();
    let Encoded { bytes, lifetime } = encoded(&Record::Entry(Arc::new(written.clone().into())));
    assert_eq!(lifetime, Duration::from_secs(30));
    assert_eq!(length_of(&bytes), Some(u32::try_from(bytes.len()).unwrap()));
    let read = decode(&bytes.into(), NOW, lifetime).unwrap();
    let read = expect_entry(&read);
    assert_same(&read, &written);
    assert_eq!(read.response.times, written.response.times);
    assert_eq!(read.vouched, written.vouched);
}

#[test]
fn time_spent_in_valkey_makes_it_older_on_a_clock_of_its_own() {
    let blob = blob(&Record::Entry(Arc::new(entry().into())));
    // Another process, whose clock shows something else, reads it 4 s later.
    let there = Timestamp::from_millis(50_000_000);
    let read = decode(&blob, there, Duration::from_secs(26)).unwrap();
    let read = expect_entry(&read);
    let times = &read.response.times;
    let ms = Duration::from_millis;
    assert_eq!(times.age(there), ms(2_000 + 1_500 + 4_000));
    assert_eq!(times.fresh_until, there + ms(6_000));
    assert_eq!(times.stale_until, there + ms(16_000));
    assert_eq!(times.error_until, there + ms(21_000));
    assert_eq!(times.keep_until, there + ms(26_000));
    assert_eq!(read.vouched, there - ms(4_500));
}

#[test]
fn a_lifetime_that_has_grown_is_damage() {
    let blob = blob(&Record::Entry(Arc::new(entry().into())));
    let grown = decode(&blob, NOW, Duration::from_millis(30_001));
    assert!(matches!(grown, Err(Damaged(_))), "{grown:?}");
}

#[test]
fn a_lifetime_that_we_would_not_give_is_damage() {
    // Counted back from the clock it began before there was a clock, and so ended after `left`.
    let mut bytes = blob(&Record::Entry(Arc::new(entry().into()))).to_vec();
    for lifetime in [MAX_LIFETIME + Duration::from_millis(1), Duration::from_millis(1 << 45)] {
        let millis = u64::try_from(lifetime.as_millis()).unwrap();
        bytes[LENGTH_END + 1..LENGTH_END + 9].copy_from_slice(&millis.to_be_bytes());
        let read = decode(&reseal(bytes.clone()), NOW, Duration::ZERO);
        assert_eq!(read.unwrap_err(), Damaged("lifetime"));
    }
}

#[test]
fn a_varies_comes_back_as_it_was() {
    let written = Varies {
        key: Bytes::from_static(b"k"),
        names: vec![HeaderName::from_static("accept"), HeaderName::from_static("x-tenant")],
        variants: vec![(Digest([1; 16]), after(1_000)), (Digest([2; 16]), after(5_000))],
        keep_until: after(5_000),
    };
    let blob = blob(&Record::Varies(Arc::new(written.clone())));
    match decode(&blob, NOW, Duration::from_secs(5)).unwrap() {
        Record::Varies(read) => assert_eq!(*read, written),
        Record::Entry(_) => panic!("an entry came back for a varies"),
    }
}

#[test]
fn a_large_body_is_a_slice_of_what_was_read() {
    let mut large = entry();
    large.response.body = vec![7; 100_000].into();
    let blob = blob(&Record::Entry(Arc::new(large.into())));
    let read = decode(&blob, NOW, Duration::ZERO).unwrap();
    let body = &expect_entry(&read).response.body;
    assert!(blob.as_ptr_range().contains(&body.as_ptr()));
}

#[test]
fn what_has_passed_is_not_written() {
    let record = Record::Entry(Arc::new(entry().into()));
    assert_eq!(encode(&record, after(30_000)), Ok(None));
    assert_eq!(encode(&record, after(90_000)), Ok(None));
}

#[test]
fn an_absurd_lifetime_is_cut_and_the_times_with_it() {
    let mut long = entry();
    let end = Timestamp::from_millis(u64::MAX);
    let times = &mut long.response.times;
    (times.fresh_until, times.stale_until) = (end, end);
    (times.error_until, times.keep_until) = (end, end);
    let Encoded { bytes, lifetime } = encoded(&Record::Entry(Arc::new(long.into())));
    assert_eq!(lifetime, MAX_LIFETIME);
    let read = decode(&bytes.into(), NOW, lifetime).unwrap();
    assert_eq!(expect_entry(&read).response.times.fresh_until, NOW + MAX_LIFETIME);
}

#[test]
fn what_could_not_be_read_is_not_written() {
    let mut early = entry();
    early.response.status = StatusCode::EARLY_HINTS;
    let mut tagged = entry();
    tagged.tags = vec!["t".into(); MAX_LIST + 1];
    for entry in [early, tagged] {
        assert!(encode(&Record::Entry(Arc::new(entry.into())), NOW).is_err());
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let blob = blob(&Record::Entry(Arc::new(entry().into())));
    for at in 0..blob.len() {
        for bit in 0..8 {
            let mut bytes = blob.to_vec();
            bytes[at] ^= 1 << bit;
            let read = decode(&bytes.into(), NOW, Duration::ZERO);
            match (at, read) {
                (4, Err(DecodeError::ForeignVersion(_))) | (_, Err(Damaged(_))) => {}
                (at, read) => panic!("byte {at}, bit {bit}: {read:?}"),
            }
        }
    }
}

#[test]
fn every_missing_or_added_byte_is_noticed_even_under_a_right_checksum() {
    let blob = blob(&Record::Entry(Arc::new(entry().into())));
    for end in 0..blob.len() {
        assert!(decode(&blob.slice(..end), NOW, Duration::ZERO).is_err(), "cut at {end}");
        if end > LENGTH_END {
            let mut bytes = blob[..end].to_vec();
            let length = u32::try_from(end).unwrap();
            bytes[CHECKED..LENGTH_END].copy_from_slice(&length.to_be_bytes());
            assert!(decode(&reseal(bytes), NOW, Duration::ZERO).is_err(), "resealed at {end}");
        }
    }
    let mut longer = blob.to_vec();
    longer.push(0);
    assert!(decode(&longer.clone().into(), NOW, Duration::ZERO).is_err());
    let length = u32::try_from(longer.len()).unwrap();
    longer[CHECKED..LENGTH_END].copy_from_slice(&length.to_be_bytes());
    let read = decode(&reseal(longer), NOW, Duration::ZERO);
    assert_eq!(read.unwrap_err(), Damaged("trailing bytes"));
}

#[test]
fn values_that_we_would_not_write_are_refused_even_under_a_right_checksum() {
    let blob = blob(&Record::Entry(Arc::new(entry().into())));
    let place = |needle: &[u8]| blob.windows(needle.len()).position(|w| w == needle).unwrap();
    let status = place(&200_u16.to_be_bytes());
    for (what, at, with) in [
        ("a line break in a field value", place(b"text/plain"), &b"text\nplain"[..]),
        ("NUL in a field value", place(b"</a>"), b"</\0>"),
        ("a space in a field name", place(b"x-odd"), b"x odd"),
        ("a name of no field", place(b"\x15\x0atext/plain"), b"\xff"),
        ("a tag that is not text", place("é".as_bytes()), b"\xff\xff"),
        ("an interim status", status, &103_u16.to_be_bytes()),
        ("a status out of range", status, &999_u16.to_be_bytes()),
        ("an unknown kind", LENGTH_END, &[7]),
        ("a huge count of tags", place(b"\x02\x09product"), &[0x7f]),
        ("a number that could be shorter", place(b"\x05seven"), &[0x85, 0]),
    ] {
        let mut bytes = blob.to_vec();
        bytes[at..at + with.len()].copy_from_slice(with);
        let read = decode(&reseal(bytes), NOW, Duration::ZERO);
        assert!(matches!(read, Err(Damaged(_))), "{what}: {read:?}");
    }
}

fn any_text() -> impl Strategy<Value = Box<str>> {
    ".{0,40}".prop_map(String::into_boxed_str)
}

fn any_headers() -> impl Strategy<Value = HeaderMap> {
    let value = vec(prop_oneof![Just(b'\t'), 32..=126_u8, 128..=255_u8], 0..60);
    vec(("[a-z][a-z0-9-]{0,20}", value), 0..12).prop_map(|lines| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(&value).unwrap());
        }
        headers
    })
}

prop_compose! {
    fn any_times()(
        past in 0..10_000_000_u64, age in 0..10_000_000_u64, gone in 0..1_000_u64,
        fresh in 0..100_000_u64, stale in 0..100_000_u64, error in 0..300_000_u64,
        keep in 1_000..100_000_u64,
    ) -> Times {
        let start = NOW - Duration::from_millis(gone);
        let ms = Duration::from_millis;
        let keep_until = start + ms(fresh + stale + keep);
        Times {
            response_time: NOW - ms(past),
            initial_age: ms(age),
            fresh_until: start + ms(fresh),
            stale_until: start + ms(fresh + stale),
            error_until: (start + ms(error)).min(keep_until),
            keep_until,
        }
    }
}

prop_compose! {
    fn any_entry()(
        key in vec(any::<u8>(), 0..80), status in 200..600_u16, headers in any_headers(),
        body in vec(any::<u8>(), 0..2_000), times in any_times(), namespace in any_text(),
        url in any_text(), tags in vec(any_text(), 0..8), groups in vec(any_text(), 0..4), millis: u64, sequence: u64,
        vouched in 0..1_000_000_u64, fill in 0..1_000_000_u64,
    ) -> Draft {
        Draft {
            key: key.into(),
            response: StoredResponse {
                status: StatusCode::from_u16(status).unwrap(), headers, body: body.into(), times,
            },
            namespace, url, tags, groups,
            as_of: Position { millis, sequence },
            vouched: NOW - Duration::from_millis(vouched),
            fill_time: Duration::from_micros(fill),
        }
    }
}

proptest! {
    #[test]
    fn whatever_is_written_is_read(written in any_entry(), spent in 0..500_u64) {
        let Some(Encoded { bytes, lifetime }) =
            encode(&Record::Entry(Arc::new(written.clone().into())), NOW).unwrap()
        else {
            return Err(TestCaseError::reject("its time has passed"));
        };
        let spent = Duration::from_millis(spent).min(lifetime);
        let read = decode(&bytes.into(), NOW + spent, lifetime - spent).unwrap();
        let read = expect_entry(&read);
        assert_same(&read, &written);
        prop_assert_eq!(read.response.times, written.response.times);
        prop_assert_eq!(read.vouched, written.vouched);
    }

    #[test]
    fn whatever_is_found_does_no_harm(junk in vec(any::<u8>(), 0..200), left in any::<u64>()) {
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&u32::try_from(junk.len() + LENGTH_END).unwrap().to_be_bytes());
        bytes.extend_from_slice(&junk);
        let _ = decode(&reseal(bytes), NOW, Duration::from_millis(left));
        let _ = decode(&junk.into(), NOW, Duration::from_millis(left));
    }

    #[test]
    fn a_valid_record_with_any_byte_changed_and_resealed_does_no_harm(
        written in any_entry(), at in any::<prop::sample::Index>(), byte: u8,
    ) {
        let mut bytes = blob(&Record::Entry(Arc::new(written.into()))).to_vec();
        let at = CHECKED + at.index(bytes.len() - CHECKED);
        bytes[at] = byte;
        if let Ok(Record::Entry(read)) = decode(&reseal(bytes), NOW, Duration::ZERO) {
            let times = &read.times();
            prop_assert!(times.fresh_until <= times.stale_until);
            prop_assert!(times.stale_until <= times.keep_until);
            prop_assert!(times.error_until <= times.keep_until);
        }
    }
}
