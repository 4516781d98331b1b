//! What a request asks of a cache (RFC 9111 §5.2.1).
//!
//! | directive | unreadable | repeated |
//! |---|---|---|
//! | `max-age` | 0: nothing is young enough | the smallest |
//! | `min-fresh` | longer than anything lasts | the largest |
//! | `max-stale` | as if absent | the smallest |
//!
//! In doubt a client gets what is newer: only `max-stale` widens what it may be given.

use std::time::Duration;

use http::HeaderMap;
use http::header::{CACHE_CONTROL, PRAGMA};

use super::lists::directives;

/// RFC 9111 §1.2.2: what a number too large to represent stands for.
const LONGEST: Duration = Duration::from_secs(2_147_483_648);

/// A request's directives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Nothing stored without the origin's word that it still stands (§5.2.1.4).
    pub no_cache: bool,
    /// Neither this request nor its response may be stored (§5.2.1.5).
    pub no_store: bool,
    /// Something stored, or 504 (§5.2.1.7).
    pub only_if_cached: bool,
    /// No response older than this (§5.2.1.1).
    pub max_age: Option<Duration>,
    /// Only a response that stays fresh for at least this long (§5.2.1.3).
    pub min_fresh: Option<Duration>,
    /// Also a response that is stale, for at most so long if it says how long (§5.2.1.2).
    pub max_stale: Option<Option<Duration>>,
}

impl Demands {
    /// What is left of them where clients are not obeyed: §5.2.1 has them "advisory". No client
    /// can then widen what is reused, nor have the origin asked about what would be a hit.
    ///
    /// Two stay. `no-store` is a MUST NOT (§5.2.1.5). `only-if-cached` costs the origin nothing, and
    /// a client that wants no answer from there should not wait for one.
    #[must_use]
    pub fn unless_advisory(self) -> Self {
        Self { no_store: self.no_store, only_if_cached: self.only_if_cached, ..Self::default() }
    }

    /// Reads a request's fields.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut demands = Self::default();
        if headers.contains_key(CACHE_CONTROL) {
            for (name, argument) in directives(headers, CACHE_CONTROL) {
                demands.obey(name, argument);
            }
        } else if headers.contains_key(PRAGMA) {
            // RFC 9111 §5.4: its one directive, from "HTTP/1.0 caches"; Cache-Control goes before.
            demands.no_cache =
                directives(headers, PRAGMA).any(|(name, _)| name.eq_ignore_ascii_case(b"no-cache"));
        }
        demands
    }

    /// Do they limit how old a response may be, so that not every stored one will do (§5.2.1.1,
    /// §5.2.1.3, §5.2.1.4)?
    pub const fn are_about_age(&self) -> bool {
        self.no_cache || self.max_age.is_some() || self.min_fresh.is_some()
    }

    fn obey(&mut self, name: &[u8], argument: Option<&[u8]>) {
        // RFC 9111 §5.2: directives are case-insensitive, and unknown ones are ignored.
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("no-cache") {
            self.no_cache = true;
        } else if is("no-store") {
            self.no_store = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("max-age") {
            let told = argument.and_then(delta_seconds).unwrap_or(Duration::ZERO);
            self.max_age = Some(self.max_age.map_or(told, |before| before.min(told)));
        } else if is("min-fresh") {
            let told = argument.and_then(delta_seconds).unwrap_or(LONGEST);
            self.min_fresh = Some(self.min_fresh.map_or(told, |before| before.max(told)));
        } else if is("max-stale") {
            self.allow_stale(argument);
        }
    }

    /// RFC 9111 §5.2.1.2: "If no value is assigned to max-stale, then the client will accept a
    /// stale response of any age."
    fn allow_stale(&mut self, argument: Option<&[u8]>) {
        let told = match argument {
            None => None,
            Some(argument) => match delta_seconds(argument) {
                Some(told) => Some(told),
                None => return,
            },
        };
        let before = self.max_stale.flatten();
        self.max_stale = Some(match (before, told) {
            (Some(before), Some(told)) => Some(before.min(told)),
            (before, told) => before.or(told),
        });
    }
}

/// RFC 9111 §1.2.2: digits. More of them than can be held mean [`LONGEST`].
fn delta_seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = text
        .iter()
        .fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Some(Duration::from_secs(seconds).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn of(lines: &[(HeaderName, &str)]) -> Demands {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        Demands::of(&headers)
    }

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn each_directive_is_read() {
        let none = Demands::default();
        for (value, expected) in [
            ("", none.clone()),
            ("no-cache", Demands { no_cache: true, ..none.clone() }),
            ("No-Cache=\"x\"", Demands { no_cache: true, ..none.clone() }),
            ("NO-STORE", Demands { no_store: true, ..none.clone() }),
            ("only-if-cached", Demands { only_if_cached: true, ..none.clone() }),
            ("max-age=5", Demands { max_age: seconds(5), ..none.clone() }),
            ("max-age=\"5\"", Demands { max_age: seconds(5), ..none.clone() }),
            ("max-age", Demands { max_age: seconds(0), ..none.clone() }),
            ("max-age=", Demands { max_age: seconds(0), ..none.clone() }),
            ("max-age=-1", Demands { max_age: seconds(0), ..none.clone() }),
            ("max-age=1.5", Demands { max_age: seconds(0), ..none.clone() }),
            ("max-age=9, max-age=3", Demands { max_age: seconds(3), ..none.clone() }),
            ("max-age=99999999999999999999999", Demands { max_age: Some(LONGEST), ..none.clone() }),
            ("min-fresh=7", Demands { min_fresh: seconds(7), ..none.clone() }),
            ("min-fresh=7, min-fresh=8", Demands { min_fresh: seconds(8), ..none.clone() }),
            ("min-fresh=x", Demands { min_fresh: Some(LONGEST), ..none.clone() }),
            ("max-stale", Demands { max_stale: Some(None), ..none.clone() }),
            ("max-stale=4", Demands { max_stale: Some(seconds(4)), ..none.clone() }),
            ("max-stale, max-stale=4", Demands { max_stale: Some(seconds(4)), ..none.clone() }),
            ("max-stale=4, max-stale", Demands { max_stale: Some(seconds(4)), ..none.clone() }),
            ("max-stale=4, max-stale=3", Demands { max_stale: Some(seconds(3)), ..none.clone() }),
            ("max-stale=", none.clone()),
            ("max-stale=x", none.clone()),
            ("no-transform, stale-if-error=9, no-cached", none.clone()),
            ("x=\"no-cache, y\"", none.clone()),
            ("x=\"y, no-cache", Demands { no_cache: true, ..none.clone() }),
        ] {
            assert_eq!(of(&[(CACHE_CONTROL, value)]), expected, "{value}");
        }
    }

    #[test]
    fn what_is_advisory_can_be_left_out() {
        let all = "no-cache, no-store, only-if-cached, max-age=1, min-fresh=1, max-stale";
        let left = of(&[(CACHE_CONTROL, all)]).unless_advisory();
        assert_eq!(left, Demands { no_store: true, only_if_cached: true, ..Demands::default() });
    }

    #[test]
    fn lines_add_up() {
        let demands = of(&[(CACHE_CONTROL, "max-age=5"), (CACHE_CONTROL, "no-store")]);
        assert!(demands.no_store);
        assert_eq!(demands.max_age, seconds(5));
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        let no_cache = Demands { no_cache: true, ..Demands::default() };
        assert_eq!(of(&[]), Demands::default());
        assert_eq!(of(&[(PRAGMA, "no-cache")]), no_cache);
        assert_eq!(of(&[(PRAGMA, "x, No-Cache")]), no_cache);
        assert_eq!(of(&[(PRAGMA, "no-store")]), Demands::default());
        let both = of(&[(PRAGMA, "no-cache"), (CACHE_CONTROL, "max-age=5")]);
        assert_eq!(both, Demands { max_age: seconds(5), ..Demands::default() });
    }

    proptest! {
        #[test]
        fn nothing_a_client_sends_makes_it_panic(
            value in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut headers = HeaderMap::new();
                headers.append(CACHE_CONTROL, value);
                let _ = Demands::of(&headers);
            }
        }

        #[test]
        fn numbers_are_read_or_capped(n in any::<u64>()) {
            let expected = Duration::from_secs(n).min(LONGEST);
            prop_assert_eq!(delta_seconds(n.to_string().as_bytes()), Some(expected));
        }
    }
}
