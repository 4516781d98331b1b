//! What this cache says of a response (RFC 9211): one member of Cache-Status.
//!
//! | parameter | meant when |
//! |---|---|
//! | `hit` | it was not forwarded |
//! | `fwd`, and `fwd-status`, `stored`, `collapsed` | it was |
//! | `ttl`, `key`, `detail` | always |

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::fields::is_tchar;

/// The field's name.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Who says it.
const NAME: &str = "larder";

/// Room for what is usually said, so that it is written without growing.
const USUAL_LENGTH: usize = 96;

/// RFC 9651 §3.3.1: integers have at most fifteen digits.
const LARGEST: i64 = 999_999_999_999_999;

/// Why a request went on to the origin (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forwarded {
    /// The cache was configured not to handle it.
    Bypass,
    /// Its method's semantics require it.
    Method,
    /// Nothing is stored for its URI.
    UriMiss,
    /// What is stored for its URI is for other values of the selecting fields.
    VaryMiss,
    /// Nothing stored could be used.
    Miss,
    /// What is stored is fresh, but the request does not allow its use.
    Request,
    /// What is stored is stale.
    Stale,
    /// What is stored is incomplete.
    Partial,
}

impl Forwarded {
    /// The RFC's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// How this cache handled a request. Written as one list member, `larder; hit; ttl=42`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheStatus {
    /// Answered without going forward. Left out if `fwd` says otherwise (§2.1: the two are
    /// exclusive).
    pub hit: bool,
    /// It went forward, for this reason (§2.2).
    pub fwd: Option<Forwarded>,
    /// What the origin answered, if that is not the status of this response (§2.3).
    pub fwd_status: Option<u16>,
    /// Remaining freshness in seconds, negative when stale (§2.4).
    pub ttl: Option<i64>,
    /// The answer was stored (§2.5).
    pub stored: bool,
    /// It shared the forwarded request of another (§2.6).
    pub collapsed: bool,
    /// The key, in some legible form (§2.7).
    pub key: Option<Box<str>>,
    /// Anything else (§2.8).
    pub detail: Option<Cow<'static, str>>,
}

impl CacheStatus {
    /// Adds this to what caches closer to the origin said.
    ///
    /// RFC 9211 §2: the last member "represents the cache closest to the user", and "caches SHOULD
    /// preserve the existing field value".
    pub fn append_to(&self, headers: &mut HeaderMap) {
        let mut text = String::with_capacity(USUAL_LENGTH);
        if write!(text, "{self}").is_ok()
            && let Ok(value) = HeaderValue::try_from(text)
        {
            // Fails past 32 768 lines, which no message that was received has.
            let _ = headers.try_append(CACHE_STATUS, value);
        }
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.hit && self.fwd.is_none() {
            f.write_str("; hit")?;
        }
        if let Some(fwd) = self.fwd {
            f.write_str("; fwd=")?;
            f.write_str(fwd.as_str())?;
            // §2.3, §2.5, §2.6: "only meaningful when fwd is present".
            if let Some(status) = self.fwd_status {
                write!(f, "; fwd-status={status}")?;
            }
        }
        if let Some(ttl) = self.ttl {
            write!(f, "; ttl={}", ttl.clamp(-LARGEST, LARGEST))?;
        }
        if self.stored && self.fwd.is_some() {
            f.write_str("; stored")?;
        }
        if self.collapsed && self.fwd.is_some() {
            f.write_str("; collapsed")?;
        }
        if let Some(key) = &self.key {
            f.write_str("; key=")?;
            write_string(f, key)?;
        }
        if let Some(detail) = &self.detail {
            f.write_str("; detail=")?;
            if is_token(detail) { f.write_str(detail)? } else { write_string(f, detail)? }
        }
        Ok(())
    }
}

/// RFC 9651 §3.3.4: `( ALPHA / "*" ) *( tchar / ":" / "/" )`.
fn is_token(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*')
        && text.bytes().all(|b| is_tchar(b) || matches!(b, b':' | b'/'))
}

/// RFC 9651 §3.3.3: printable ASCII, with `"` and `\` escaped. What else there is, is dropped.
fn write_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars().filter(|c| matches!(c, ' '..='~')) {
        if matches!(c, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_written_as_one_list_member() {
        let none = CacheStatus::default();
        let hit = CacheStatus { hit: true, ..none.clone() };
        let miss = CacheStatus { fwd: Some(Forwarded::UriMiss), ..none.clone() };
        for (status, expected) in [
            (none.clone(), "larder"),
            (hit.clone(), "larder; hit"),
            (CacheStatus { ttl: Some(376), ..hit.clone() }, "larder; hit; ttl=376"),
            (CacheStatus { ttl: Some(-412), ..hit.clone() }, "larder; hit; ttl=-412"),
            (
                CacheStatus { ttl: Some(i64::MIN), ..hit.clone() },
                "larder; hit; ttl=-999999999999999",
            ),
            (miss.clone(), "larder; fwd=uri-miss"),
            (CacheStatus { hit: true, ..miss.clone() }, "larder; fwd=uri-miss"),
            (
                CacheStatus { stored: true, collapsed: true, fwd_status: Some(304), ..hit.clone() },
                "larder; hit",
            ),
            (
                CacheStatus {
                    fwd: Some(Forwarded::Stale),
                    fwd_status: Some(304),
                    ttl: Some(60),
                    stored: true,
                    collapsed: true,
                    key: Some("/a?b=\"c\"".into()),
                    detail: Some("expired".into()),
                    ..none.clone()
                },
                "larder; fwd=stale; fwd-status=304; ttl=60; stored; collapsed; \
                 key=\"/a?b=\\\"c\\\"\"; detail=expired",
            ),
            (
                CacheStatus { detail: Some("two words\\".into()), ..hit.clone() },
                "larder; hit; detail=\"two words\\\\\"",
            ),
            (
                CacheStatus { detail: Some("7up".into()), ..hit.clone() },
                "larder; hit; detail=\"7up\"",
            ),
            (
                CacheStatus { detail: Some("*a:b/c".into()), ..hit.clone() },
                "larder; hit; detail=*a:b/c",
            ),
            (CacheStatus { detail: Some("".into()), ..hit.clone() }, "larder; hit; detail=\"\""),
            (
                CacheStatus { detail: Some("é\r\nx: y".into()), ..hit },
                "larder; hit; detail=\"x: y\"",
            ),
        ] {
            assert_eq!(status.to_string(), expected);
        }
    }

    #[test]
    fn every_reason_has_the_words_of_the_rfc() {
        use Forwarded::{Bypass, Method, Miss, Partial, Request, Stale, UriMiss, VaryMiss};
        let all = [Bypass, Method, UriMiss, VaryMiss, Miss, Request, Stale, Partial];
        assert_eq!(
            all.map(Forwarded::as_str),
            ["bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"]
        );
    }

    #[test]
    fn it_goes_behind_what_others_said() {
        let mut headers = HeaderMap::new();
        headers.append(CACHE_STATUS, HeaderValue::from_static("Origin; hit, CDN; fwd=miss"));
        CacheStatus { hit: true, ..CacheStatus::default() }.append_to(&mut headers);
        let lines: Vec<_> = headers.get_all(CACHE_STATUS).iter().collect();
        assert_eq!(lines, ["Origin; hit, CDN; fwd=miss", "larder; hit"]);
    }

    proptest! {
        #[test]
        fn whatever_the_detail_a_field_value_comes_out(
            detail in any::<String>(),
            key in any::<String>(),
        ) {
            let status = CacheStatus {
                hit: true,
                key: Some(key.into()),
                detail: Some(detail.into()),
                ..CacheStatus::default()
            };
            let mut headers = HeaderMap::new();
            status.append_to(&mut headers);
            prop_assert_eq!(headers.len(), 1);
            prop_assert!(status.to_string().is_ascii());
        }
    }
}
