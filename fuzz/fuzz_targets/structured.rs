//! Dictionaries of RFC 9651, as targeted fields carry them: read as strictly as another reader
//! does, whatever the lines they come in.
//!
//! Input: the field's lines, separated by line feeds.

#![no_main]

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};
use larder::semantics::cache_control::CacheControl;
use larder::semantics::targeted::effective;
use libfuzzer_sys::fuzz_target;

const CDN: HeaderName = HeaderName::from_static("cdn-cache-control");

fuzz_target!(|data: &[u8]| {
    let lines: Vec<HeaderValue> =
        data.split(|b| *b == b'\n').filter_map(|l| HeaderValue::from_bytes(l).ok()).collect();
    let text = lines.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..]);
    let read = targeted(&lines);

    // RFC 9651 §4.2: "parsers MUST combine all field lines".
    let joined = HeaderValue::from_bytes(&text).expect("made of valid lines");
    assert_eq!(targeted(std::slice::from_ref(&joined)), read);
    another_reader_agrees(&text, read.is_some());
    let Some(read) = read else { return };
    assert!(read.targeted && !read.malformed);

    // §4.2.2: the last of several members counts, and nothing of the field after an error.
    let no_store = [&joined, &HeaderValue::from_static("no-store, max-age=7")].map(Clone::clone);
    let said = targeted(&no_store).expect("two dictionaries are one");
    assert!(said.no_store);
    assert_eq!(said.max_age.map(|age| age.as_secs()), Some(7));
    for garbage in ["", "A=1", "a=", "a b", "1=1", "a=\"", "a=(1", "a;", "a=1.", "a=?2"] {
        let broken = [joined.clone(), HeaderValue::from_static(garbage)];
        assert_eq!(targeted(&broken), None, "{} and {garbage}", text.escape_ascii());
    }
    // Parameters say nothing (RFC 9213 §2.1).
    let ending = HeaderValue::from_bytes(&[text.trim_ascii_end(), b";no-store;x=1"].concat());
    if let Ok(ending) = ending
        && let Some(with) = targeted(&[ending])
    {
        assert_eq!(with, read);
    }
});

/// What the targeted field says; `None` if it counts as not there.
fn targeted(lines: &[HeaderValue]) -> Option<CacheControl> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(CDN, line.clone());
    }
    headers.append(CACHE_CONTROL, HeaderValue::from_static("max-age=1"));
    Some(effective(&headers)).filter(|control| control.targeted)
}

/// Where byte sequences end in padding the two may differ: RFC 9651 §4.2.7 leaves to parsers how
/// much of it may be missing, and what is decoded matters to no directive.
fn another_reader_agrees(text: &[u8], ours: bool) {
    let theirs = sfv::Parser::new(text).parse::<sfv::Dictionary>();
    let theirs = theirs.is_ok_and(|dictionary| !dictionary.is_empty());
    let padded = text.windows(2).any(|two| two == b"=:");
    if (theirs && !padded) || !text.contains(&b':') {
        assert_eq!(ours, theirs, "{}", text.escape_ascii());
    }
}
