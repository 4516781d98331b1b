use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn asked(lines: &[&str]) -> Field {
    let headers: HeaderMap =
        lines.iter().map(|line| (RANGE, HeaderValue::from_str(line).unwrap())).collect();
    assert_eq!(is_foreign(&headers), of_request(&headers) == Field::Foreign, "{lines:?}");
    of_request(&headers)
}

fn ranges(value: &str) -> Ranges {
    match asked(&[value]) {
        Field::Bytes(ranges) => ranges,
        other => panic!("{value}: {other:?}"),
    }
}

const fn span(first: u64, last: u64) -> Span {
    Span { first, last }
}

#[test]
fn what_is_valid_is_understood_as_it_stands() {
    for (value, canonical) in [
        ("bytes=0-499", "bytes=0-499"),
        ("Bytes=0-499", "bytes=0-499"),
        (" bytes=9500- ", "bytes=9500-"),
        ("bytes=-500", "bytes=-500"),
        ("bytes=-0", "bytes=-0"),
        ("bytes=0-0,-1", "bytes=0-0,-1"),
        ("bytes= 0-999, 4500-5499, -1000", "bytes=0-999,4500-5499,-1000"),
        ("bytes=,0-1,,\t2-3 ,", "bytes=0-1,2-3"),
        ("bytes=007-08", "bytes=7-8"),
        ("bytes=99999999999999999999999-", "bytes=18446744073709551615-"),
    ] {
        assert_eq!(ranges(value).to_string(), canonical, "{value}");
    }
}

#[test]
fn what_is_not_valid_is_as_if_absent() {
    for value in [
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=5",
        "bytes=5-4",
        "bytes=a-b",
        "bytes=0-1,x",
        "bytes=0-1;q=1",
        "bytes=--1",
        "bytes=1-2-3",
        "bytes=0 - 1",
        "bytes=+0-1",
        "bytes=0x0-1",
        "bytes=0-1=2",
    ] {
        assert_eq!(asked(&[value]), Field::Ignored, "{value}");
    }
    assert_eq!(asked(&[]), Field::Ignored);
    assert_eq!(asked(&["bytes=0-1", "bytes=2-3"]), Field::Ignored, "two lines");
    let many = |n: usize| format!("bytes={}", vec!["0-1"; n].join(","));
    assert!(matches!(asked(&[&many(256)]), Field::Bytes(_)));
    assert_eq!(asked(&[&many(257)]), Field::Ignored);
}

#[test]
fn another_unit_is_somebody_elses() {
    for value in ["items=0-9", "0-9", "bytes 0-9", "bytes", "", "seconds=1-2", "bytes =0-9"] {
        assert_eq!(asked(&[value]), Field::Foreign, "{value}");
    }
}

#[test]
fn ranges_select_bytes_of_what_there_is() {
    use Selection::{One, Several, Unsatisfiable, Whole};
    for (value, length, expected) in [
        ("bytes=0-499", 10_000, One(span(0, 499))),
        ("bytes=9500-", 10_000, One(span(9500, 9999))),
        ("bytes=-500", 10_000, One(span(9500, 9999))),
        ("bytes=0-0,-1", 10_000, Several(vec![span(0, 0), span(9999, 9999)])),
        ("bytes=0-99999", 10, One(span(0, 9))),
        ("bytes=-99999", 10, One(span(0, 9))),
        ("bytes=0-", 10, One(span(0, 9))),
        ("bytes=9-", 10, One(span(9, 9))),
        ("bytes=10-", 10, Unsatisfiable),
        ("bytes=10-20", 10, Unsatisfiable),
        ("bytes=-0", 10, Unsatisfiable),
        ("bytes=-0,99-", 10, Unsatisfiable),
        ("bytes=99999999999999999999999-", 10, Unsatisfiable),
        ("bytes=20-,0-1", 10, One(span(0, 1))),
        // Those that overlap or touch are one, and stand where the first of them stood.
        ("bytes=500-600,601-999", 10_000, One(span(500, 999))),
        ("bytes=500-700,601-999", 10_000, One(span(500, 999))),
        ("bytes=8-9,0-1,5-7", 100, Several(vec![span(5, 9), span(0, 1)])),
        ("bytes=0-,0-,0-", 10, One(span(0, 9))),
        ("bytes=4-5,0-1", 10, Several(vec![span(4, 5), span(0, 1)])),
        // Nothing can be part of nothing.
        ("bytes=0-", 0, Whole),
        ("bytes=-5", 0, Whole),
        ("bytes=-0", 0, Whole),
        ("bytes=0-0", 1, One(span(0, 0))),
    ] {
        assert_eq!(ranges(value).select(length), expected, "{value} of {length}");
    }
}

#[test]
fn who_asks_for_too_many_parts_gets_the_whole() {
    let many = |n: u64| {
        let parts: Vec<_> = (0..n).map(|n| format!("{}-{}", n * 10, n * 10 + 1)).collect();
        ranges(&format!("bytes={}", parts.join(",")))
    };
    assert!(matches!(many(16).select(1000), Selection::Several(parts) if parts.len() == 16));
    assert_eq!(many(17).select(1000), Selection::Whole);
    assert_eq!(many(17).select(1), Selection::One(span(0, 0)), "only one is satisfiable");
}

fn a_spec() -> impl Strategy<Value = String> {
    prop_oneof![
        (any::<u64>(), any::<u64>()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        (0_u64..300, 0_u64..300).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        (0_u64..300).prop_map(|a| format!("{a}-")),
        (0_u64..300).prop_map(|a| format!("-{a}")),
    ]
}

proptest! {
    #[test]
    fn a_selection_lies_inside_apart_and_holds_what_was_asked(
        specs in proptest::collection::vec(a_spec(), 1..40),
        length in 0_u64..300,
    ) {
        let ranges = ranges(&format!("bytes={}", specs.join(",")));
        let parts = match ranges.select(length) {
            Selection::Whole | Selection::Unsatisfiable => Vec::new(),
            Selection::One(one) => vec![one],
            Selection::Several(parts) => parts,
        };
        prop_assert!(parts.len() <= MOST_PARTS);
        for (n, part) in parts.iter().enumerate() {
            prop_assert!(part.first <= part.last && part.last < length, "{part:?} of {length}");
            prop_assert!(parts.iter().skip(n + 1).all(|other| !part.meets(*other)));
        }
        if !parts.is_empty() {
            for asked in ranges.0.iter().filter_map(|spec| spec.within(length)) {
                prop_assert!(parts.iter().any(|part| part.contains(asked)));
            }
        }
    }

    #[test]
    fn what_was_understood_is_understood_the_same_when_printed(
        specs in proptest::collection::vec(a_spec(), 1..10),
    ) {
        let first = ranges(&format!("bytes={}", specs.join(" , ")));
        prop_assert_eq!(ranges(&first.to_string()), first);
    }

    #[test]
    fn nothing_that_a_client_sends_makes_it_panic(
        value in proptest::collection::vec(any::<u8>(), 0..60),
        numbers in "bytes=[-0-9, ]{0,60}",
        length: u64,
    ) {
        for value in [value, numbers.into_bytes()] {
            let Ok(value) = HeaderValue::from_bytes(&value) else { continue };
            let mut headers = HeaderMap::new();
            headers.append(RANGE, value);
            if let Field::Bytes(ranges) = of_request(&headers) {
                let _ = ranges.select(length);
                prop_assert_eq!(asked(&[&ranges.to_string()]), Field::Bytes(ranges));
            }
        }
    }
}
