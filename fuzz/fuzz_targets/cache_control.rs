//! `Cache-Control` from anybody: what forbids is obeyed in any spelling, and what was read can be
//! written down and read again.
//!
//! Input: one byte that chooses a spelling, then the field's lines, separated by line feeds.

#![no_main]

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use larder::config::{Config, Overrides};
use larder::key::Digest;
use larder::plan::Outcome;
use larder::plan::response::{Answer, Asked, settle};
use larder::semantics::cache_control::CacheControl;
use larder::semantics::freshness::explicit_lifetime;
use larder::semantics::reuse::Demands;
use larder::semantics::storable::{Allowance, storable};
use larder::semantics::targeted::effective;
use larder::semantics::time::Timestamp;
use libfuzzer_sys::fuzz_target;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const LONGEST: Duration = Duration::from_secs(1 << 31);

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else { return };
    let lines: Vec<HeaderValue> =
        rest.split(|b| *b == b'\n').filter_map(|l| HeaderValue::from_bytes(l).ok()).collect();
    let read = CacheControl::parse(lines.iter());

    numbers_are_bounded(&read, &lines);
    case_says_nothing(&read, &lines);
    lines_are_one_list(&read, &lines);
    what_was_read_can_be_written(&read);
    a_request_is_read_as_strictly(&read, &lines);
    what_forbids_is_obeyed(*choice, &lines);
    a_targeted_field_replaces_the_others(&lines);
});

fn numbers_are_bounded(read: &CacheControl, lines: &[HeaderValue]) {
    for seconds in [
        read.max_age,
        read.s_maxage,
        read.stale_while_revalidate,
        read.stale_if_error,
        read.max_stale.flatten(),
        read.min_fresh,
        explicit_lifetime(read, &fields(CACHE_CONTROL, lines), NOW),
    ] {
        assert!(seconds.is_none_or(|s| s <= LONGEST && s.subsec_nanos() == 0), "{read:?}");
    }
}

fn case_says_nothing(read: &CacheControl, lines: &[HeaderValue]) {
    let upper: Vec<_> = lines
        .iter()
        .filter_map(|l| HeaderValue::from_bytes(&l.as_bytes().to_ascii_uppercase()).ok())
        .collect();
    assert_eq!(&CacheControl::parse(upper.iter()), read);
}

/// RFC 9110 §5.3: lines may be joined by commas. Where each can be read, that changes nothing; a
/// quote that one line leaves open may be closed by the next.
fn lines_are_one_list(read: &CacheControl, lines: &[HeaderValue]) {
    let bytes: Vec<&[u8]> = lines.iter().map(HeaderValue::as_bytes).collect();
    let Ok(joined) = HeaderValue::from_bytes(&bytes.join(&b", "[..])) else { return };
    if !read.malformed {
        assert_eq!(&CacheControl::parse(std::iter::once(&joined)), read);
    }
}

fn what_was_read_can_be_written(read: &CacheControl) {
    if read.malformed {
        return;
    }
    let text = written(read);
    let value = HeaderValue::from_str(&text).expect("only names and digits");
    assert_eq!(&CacheControl::parse(std::iter::once(&value)), read, "{text}");
}

fn written(control: &CacheControl) -> String {
    let mut text = String::new();
    for (name, said) in [
        ("no-store", control.no_store),
        ("no-cache", control.no_cache),
        ("private", control.private),
        ("public", control.public),
        ("must-revalidate", control.must_revalidate),
        ("proxy-revalidate", control.proxy_revalidate),
        ("must-understand", control.must_understand),
        ("no-transform", control.no_transform),
        ("immutable", control.immutable),
        ("only-if-cached", control.only_if_cached),
        ("max-stale", control.max_stale == Some(None)),
    ] {
        if said {
            let _ = write!(text, "{name},");
        }
    }
    for (name, seconds) in [
        ("max-age", control.max_age),
        ("s-maxage", control.s_maxage),
        ("stale-while-revalidate", control.stale_while_revalidate),
        ("stale-if-error", control.stale_if_error),
        ("max-stale", control.max_stale.flatten()),
        ("min-fresh", control.min_fresh),
    ] {
        if let Some(seconds) = seconds {
            let _ = write!(text, " {name}={},", seconds.as_secs());
        }
    }
    for (name, list) in
        [("no-cache", &control.no_cache_fields), ("private", &control.private_fields)]
    {
        if !list.is_empty() {
            let list: Vec<&str> = list.iter().map(HeaderName::as_str).collect();
            let _ = write!(text, "{name}=\"{}\",", list.join(" , "));
        }
    }
    text
}

/// Two readers, one field: what a client demands is never less than what the directives say.
fn a_request_is_read_as_strictly(read: &CacheControl, lines: &[HeaderValue]) {
    let demands = Demands::of(&fields(CACHE_CONTROL, lines));
    if read.malformed {
        return;
    }
    assert_eq!(demands.no_store, read.no_store);
    assert_eq!(demands.only_if_cached, read.only_if_cached);
    assert!(demands.no_cache >= read.no_cache);
    assert!(read.max_age.is_none_or(|said| demands.max_age.is_some_and(|max| max <= said)));
    assert!(read.min_fresh.is_none_or(|said| demands.min_fresh.is_some_and(|min| min >= said)));
    if let Some(allowed) = demands.max_stale {
        let said = read.max_stale.expect("a client is not given staleness it did not ask for");
        assert!(said.is_none_or(|said| allowed.is_some_and(|allowed| allowed <= said)));
    }
}

/// RFC 9111 §3: whatever stands around a `no-store` or a `private`.
fn what_forbids_is_obeyed(choice: u8, lines: &[HeaderValue]) {
    const SPELLED: [&str; 8] = [
        "no-store",
        "No-Store",
        "NO-STORE=1",
        "no-store=\"\"",
        "private",
        "Private",
        "PRIVATE=yes",
        "private=\"\"",
    ];
    let spelled = SPELLED[usize::from(choice & 7)];
    let is_no_store = choice & 7 < 4;
    let mut forbidden: Vec<Vec<u8>> = lines.iter().map(|l| l.as_bytes().to_vec()).collect();
    match (choice >> 3 & 3, forbidden.last_mut()) {
        (0, Some(line)) => line.extend_from_slice(format!(" , {spelled}\t").as_bytes()),
        (1, Some(line)) => *line = [spelled.as_bytes(), b",", line].concat(),
        (2, _) => forbidden.insert(0, spelled.into()),
        _ => forbidden.push(spelled.into()),
    }
    let forbidden: Vec<HeaderValue> =
        forbidden.iter().filter_map(|l| HeaderValue::from_bytes(l).ok()).collect();
    let headers = fields(CACHE_CONTROL, &forbidden);
    let control = effective(&headers);
    assert!(if is_no_store { control.no_store } else { control.is_private() }, "{headers:?}");
    // §5.2.2.3: "must-understand" excuses from no-store.
    if !(is_no_store && control.must_understand) {
        assert!(never_stored(&headers), "{headers:?}");
    }
    if is_no_store {
        let allowance = Allowance { ttl: true, ..Allowance::default() };
        let response = fields(CACHE_CONTROL, &[HeaderValue::from_static("public, max-age=9")]);
        let control = effective(&response);
        let verdict =
            storable(&Method::GET, &headers, StatusCode::OK, &response, &control, allowance);
        assert!(verdict.is_err(), "requested by {headers:?}");
    }
}

fn never_stored(response: &HeaderMap) -> bool {
    static CONFIG: LazyLock<Config> = LazyLock::new(|| {
        let text = "[origin]\nurl = \"http://127.0.0.1:3000\"\n[[route]]\npath = \"/p\"\n\
                    soft_ttl = \"60s\"\nfreshness = \"route\"\n";
        Config::load(Some(("fuzz", text)), &Overrides::default(), &|_| None).expect("valid").0
    });
    let mut response = response.clone();
    response.append(ETAG, HeaderValue::from_static("\"1\""));
    let allowance =
        Allowance { ttl: true, keyed: &[AUTHORIZATION, COOKIE], ..Allowance::default() };
    let none = HeaderMap::new();
    let control = effective(&response);
    if storable(&Method::GET, &none, StatusCode::OK, &response, &control, allowance).is_ok() {
        return false;
    }
    CONFIG.routes.iter().chain([&CONFIG.fallback]).all(|route| {
        let asked = Asked {
            route,
            digest: Digest([7; 16]),
            method: &Method::GET,
            headers: &none,
            sent: NOW,
            validating: None,
        };
        let answer = Answer {
            status: StatusCode::OK,
            headers: &response,
            length: Some(2),
            close_delimited: false,
            received: NOW,
        };
        !matches!(settle(&asked, &answer), Outcome::Store(_) | Outcome::Renew(_))
    })
}

/// RFC 9213 §2.2: the first valid one alone.
fn a_targeted_field_replaces_the_others(lines: &[HeaderValue]) {
    const CDN: HeaderName = HeaderName::from_static("cdn-cache-control");
    let alone = effective(&fields(CDN, lines));
    let mut both = fields(CDN, lines);
    let plain = HeaderValue::from_static("private, max-age=1");
    both.append(CACHE_CONTROL, plain.clone());
    let expected =
        if alone.targeted { alone } else { CacheControl::parse(std::iter::once(&plain)) };
    assert_eq!(effective(&both), expected);
}

fn fields(name: HeaderName, lines: &[HeaderValue]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(&name, line.clone());
    }
    headers
}
