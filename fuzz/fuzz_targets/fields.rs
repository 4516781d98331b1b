//! The syntax that fields share: lists, quoted strings, dates, entity tags, ages, references.
//!
//! Input: one byte that chooses, then the field's lines, separated by line feeds.

#![no_main]

use std::time::Duration;

use http::header::{
    AGE, CONTENT_LOCATION, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use larder::semantics::age::corrected_initial_age;
use larder::semantics::cache_control::delta_seconds;
use larder::semantics::conditional::{Precondition, evaluate, not_modified_headers};
use larder::semantics::fields::{
    EntityTag, EntityTags, format_http_date, members, parse_http_date, trim, unquote,
};
use larder::semantics::invalidation::{parent, referenced};
use larder::semantics::time::Timestamp;
use larder::semantics::validation::{conditional_fields, confirms, freshen, has_validator};
use libfuzzer_sys::fuzz_target;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const LONGEST: Duration = Duration::from_secs(1 << 31);

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let lines: Vec<HeaderValue> =
        rest.split(|b| *b == b'\n').filter_map(|l| HeaderValue::from_bytes(l).ok()).collect();
    match choice % 5 {
        0 => lists(&lines),
        1 => dates(&lines),
        2 => entity_tags(&lines),
        3 => ages(&lines),
        _ => references(&lines),
    }
});

fn lists(lines: &[HeaderValue]) {
    let mut read = Vec::new();
    for member in members(lines.iter()) {
        let Ok(member) = member else { return };
        assert!(!member.is_empty() && trim(member) == member);
        read.push(member);
    }
    let printed = HeaderValue::from_bytes(&read.join(&b" , ,"[..])).expect("made of valid lines");
    let again: Vec<_> = members(std::iter::once(&printed)).collect();
    assert!(again.iter().map(|m| m.as_ref().copied()).eq(read.iter().map(|m| Ok(*m))));
    for line in lines {
        let mut quoted = vec![b'"'];
        for octet in line.as_bytes() {
            if matches!(octet, b'"' | b'\\') {
                quoted.push(b'\\');
            }
            quoted.push(*octet);
        }
        quoted.push(b'"');
        assert_eq!(unquote(&quoted).as_deref(), Some(line.as_bytes()));
        let _ = unquote(line.as_bytes());
    }
}

fn dates(lines: &[HeaderValue]) {
    for line in lines {
        let Some(at) = parse_http_date(line) else { continue };
        assert_eq!(at.as_millis() % 1000, 0);
        let printed = format_http_date(at);
        assert_eq!(parse_http_date(&printed), Some(at), "{line:?} as {printed:?}");
        let upper = HeaderValue::from_bytes(&line.as_bytes().to_ascii_uppercase()).expect("valid");
        assert_eq!(parse_http_date(&upper), Some(at), "RFC 9111 §4.2: case-insensitively");
    }
    // Lines that contradict each other say nothing: what comes is as old as without them.
    let age = |lines| corrected_initial_age(&fields(&DATE, lines), NOW, NOW);
    if lines.len() > 1 && lines.iter().any(|line| parse_http_date(line).is_none()) {
        assert_eq!(age(lines), Duration::ZERO);
    }
}

fn entity_tags(lines: &[HeaderValue]) {
    let read = EntityTags::parse(lines.iter());
    if let Some(EntityTags::List(tags)) = &read {
        let printed: Vec<Vec<u8>> = tags.iter().map(written).collect();
        let printed = HeaderValue::from_bytes(&printed.join(&b"\t, "[..])).expect("valid");
        assert_eq!(EntityTags::parse(std::iter::once(&printed)), read);
    }
    let (Some((first, rest)), asked) = (lines.split_first(), fields(&IF_NONE_MATCH, lines)) else {
        return;
    };
    // A copy of what is stored is not sent again, however many others the client has.
    let stored = fields(&ETAG, std::slice::from_ref(first));
    let verdict = evaluate(&Method::GET, &asked, StatusCode::OK, &stored);
    if let Some(tag) = EntityTag::parse(first.as_bytes())
        && has_validator(&stored)
    {
        assert!(tag.matches_weakly(&tag) && tag.matches_strongly(&tag) != tag.weak);
        assert_eq!(verdict, Precondition::NotModified, "{asked:?}");
        assert!(confirms(&stored, &stored));
        let sent = conditional_fields(&stored).expect("there is a tag to ask with");
        assert!(sent.iter().any(|(name, value)| name == IF_NONE_MATCH && value == first));
    }
    let others = fields(&ETAG, rest);
    if confirms(&stored, &others) && has_validator(&others) {
        assert_eq!(EntityTag::parse(first.as_bytes()).is_some(), has_validator(&stored));
    }
    // RFC 9110 §15.4.5, RFC 9111 §3.2: taking over twice is taking over once.
    let once = freshen(&stored, &others);
    assert_eq!(freshen(&once, &others), once);
    let small = not_modified_headers(&once);
    assert_eq!(not_modified_headers(&small), small);
}

fn written(tag: &EntityTag<'_>) -> Vec<u8> {
    let weak: &[u8] = if tag.weak { b"W/" } else { b"" };
    [weak, b"\"", tag.opaque, b"\""].concat()
}

fn ages(lines: &[HeaderValue]) {
    let mut headers = fields(&AGE, lines);
    let young = corrected_initial_age(&headers, NOW, NOW);
    assert!(young <= LONGEST);
    let slow = corrected_initial_age(&headers, NOW, NOW + Duration::from_secs(9));
    assert!(slow >= young && slow <= LONGEST);
    for line in lines {
        let text = line.as_bytes();
        let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let value = delta_seconds(text);
        assert_eq!(value.is_some(), digits, "{line:?}");
        if let Some(value) = value {
            let exact = std::str::from_utf8(text).expect("digits").parse::<u128>();
            let exact = exact.unwrap_or(u128::MAX).min(1 << 31);
            assert_eq!(u128::from(value.as_secs()), exact);
        }
        headers.append(DATE, line.clone());
    }
    assert!(corrected_initial_age(&headers, NOW, NOW) >= young, "a Date makes nothing younger");
    // A client's date never makes it have what it has not.
    let asked = fields(&IF_MODIFIED_SINCE, lines);
    let stored =
        fields(&LAST_MODIFIED, &[HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT")]);
    let verdict = evaluate(&Method::GET, &asked, StatusCode::OK, &stored);
    if verdict == Precondition::NotModified {
        let [since] = lines else { panic!("several dates are none") };
        let since = parse_http_date(since).expect("a date was believed");
        assert!(since.as_millis() >= 784_111_777_000);
    }
}

/// What a reference becomes is a place of the target's origin, and names itself.
fn references(lines: &[HeaderValue]) {
    let target = Uri::from_static("http://api.example:8080/products/7?a=1");
    for name in [LOCATION, CONTENT_LOCATION] {
        for place in referenced(&target, &fields(&name, lines)) {
            assert!(place.starts_with('/') && !place.starts_with("//"), "{place:?}");
            let (path, _) = place.split_once('?').unwrap_or((&place, ""));
            assert!(path.split('/').all(|segment| !matches!(segment, "." | "..")), "{place:?}");
            let value = HeaderValue::from_str(&place).expect("printable");
            assert_eq!(referenced(&target, &fields(&LOCATION, &[value])), [place.clone()]);
            let absolute = format!("HTTPS://API.example:8080{place}");
            let value = HeaderValue::from_str(&absolute).expect("printable");
            assert_eq!(referenced(&target, &fields(&LOCATION, &[value])), [place.clone()]);
            let abroad = format!("http://api.example:8081{place}");
            let value = HeaderValue::from_str(&abroad).expect("printable");
            assert!(referenced(&target, &fields(&LOCATION, &[value])).is_empty());
            if let Some(above) = parent(path) {
                assert!(path.starts_with(above) && above.len() < path.len(), "{path:?} {above:?}");
            }
        }
    }
}

fn fields(name: &HeaderName, lines: &[HeaderValue]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name, line.clone());
    }
    headers
}
