//! `Vary`, and the request fields that it selects: what is normalised means what was sent, and is
//! in its final form.
//!
//! Input: one byte that chooses the request field, then its lines, separated by line feeds.

#![no_main]

use std::collections::BTreeMap;

use http::header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, COOKIE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};
use larder::semantics::vary::{Vary, normalised, parse};
use libfuzzer_sys::fuzz_target;

const SELECTING: [HeaderName; 5] =
    [ACCEPT_ENCODING, ACCEPT, ACCEPT_LANGUAGE, COOKIE, HeaderName::from_static("x-any")];

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let lines: Vec<HeaderValue> =
        rest.split(|b| *b == b'\n').filter_map(|l| HeaderValue::from_bytes(l).ok()).collect();
    names_are_a_set(&lines);
    a_value_is_normalised(&SELECTING[usize::from(*choice) % SELECTING.len()], &lines);
});

fn names_are_a_set(lines: &[HeaderValue]) {
    let vary = parse(&fields(&VARY, lines));
    let text = lines.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b","[..]);
    let star = text.split(|b| *b == b',').any(|member| member.trim_ascii() == b"*");
    if let Ok(joined) = HeaderValue::from_bytes(&text) {
        assert_eq!(parse(&fields(&VARY, &[joined])), vary, "lines are one list");
    }
    match &vary {
        Vary::Any => {}
        Vary::None => assert!(!star),
        Vary::Fields(names) => {
            assert!(!star, "RFC 9111 §4.1: a member \"*\" always fails to match");
            assert!(names.is_sorted_by(|a, b| a.as_str() < b.as_str()));
            let printed: Vec<&str> = names.iter().rev().map(HeaderName::as_str).collect();
            let printed = HeaderValue::from_str(&printed.join(" ,, ")).expect("names");
            assert_eq!(parse(&fields(&VARY, &[printed])), vary);
        }
    }
}

fn a_value_is_normalised(name: &HeaderName, lines: &[HeaderValue]) {
    let outcome = normalised(name, &fields(name, lines));
    assert_eq!(outcome.is_some(), !lines.is_empty(), "empty is not absent");
    let Some(outcome) = outcome else { return };

    let again = HeaderValue::from_bytes(&outcome).expect("made of what came in");
    assert_eq!(normalised(name, &fields(name, &[again])).as_ref(), Some(&outcome), "idempotent");

    let between: &[u8] = if name == COOKIE { b"; " } else { b", " };
    let text = lines.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(between);
    let joined = HeaderValue::from_bytes(&text).expect("made of valid lines");
    assert_eq!(normalised(name, &fields(name, &[joined])).as_ref(), Some(&outcome), "joined");

    if name != COOKIE && !text.contains(&b'"') {
        let spaced = text.split(|b| *b == b',').collect::<Vec<_>>().join(&b" \t, "[..]);
        let spaced = HeaderValue::from_bytes(&spaced).expect("blanks are valid");
        assert_eq!(normalised(name, &fields(name, &[spaced])).as_ref(), Some(&outcome), "spaced");
    }
    if [ACCEPT_ENCODING, ACCEPT, ACCEPT_LANGUAGE].contains(name)
        && let Some(meaning) = weights(&text)
    {
        assert_eq!(weights(&outcome), Some(meaning), "{name}: {}", text.escape_ascii());
    }
}

/// What a simple list of preferences says; `None` of one that is not simple.
fn weights(text: &[u8]) -> Option<BTreeMap<String, u16>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut said = BTreeMap::new();
    for member in text.split(',').map(blank_trim).filter(|m| !m.is_empty()) {
        let (range, weight) = match member.split_once(';') {
            None => (member, 1000),
            Some((range, rest)) => {
                let digits = blank_trim(rest).strip_prefix(['q', 'Q'])?.strip_prefix('=')?;
                (blank_trim(range), thousandths(digits)?)
            }
        };
        let simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, '*' | '/' | '-' | '.');
        if range.is_empty() || !range.chars().all(simple) {
            return None;
        }
        said.insert(range.to_ascii_lowercase(), weight).is_none().then_some(())?;
    }
    Some(said)
}

fn blank_trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn thousandths(digits: &str) -> Option<u16> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !matches!(whole, "0" | "1") || fraction.len() > 3 {
        return None;
    }
    let all = format!("{whole}{fraction:0<3}");
    all.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
    all.parse().ok().filter(|weight| *weight <= 1000)
}

fn fields(name: &HeaderName, lines: &[HeaderValue]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name, line.clone());
    }
    headers
}
