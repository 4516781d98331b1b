//! How long a response stays fresh (RFC 9111 §4.2), and what the origin says about the time after
//! (RFC 5861).
//!
//! | the response says | explicit lifetime |
//! |---|---|
//! | something that cannot be read | zero |
//! | `s-maxage` | that |
//! | `max-age` | that |
//! | a targeted field without either (RFC 9213) | none |
//! | `Expires` | until then from `Date`, or from its arrival without one |
//! | `Expires` that is no date, or several that differ | zero |
//! | nothing | none; see [`heuristic_lifetime`] |

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, EXPIRES, LAST_MODIFIED};

use super::cache_control::CacheControl;
use super::fields::single_date;
use super::time::Timestamp;

/// The freshness lifetime that the origin gave (§4.2.1), counted from the response's origin, so
/// that its age is to be taken off; `None` if it gave none. `received` is when the head came.
pub fn explicit_lifetime(
    control: &CacheControl,
    headers: &HeaderMap,
    received: Timestamp,
) -> Option<Duration> {
    // §4.2.1: "encouraged to consider responses that have invalid freshness information … stale".
    if control.malformed {
        return Some(Duration::ZERO);
    }
    // §5.3: beside max-age or s-maxage, "MUST ignore the Expires header field".
    if let Some(lifetime) = control.s_maxage.or(control.max_age) {
        return Some(lifetime);
    }
    // RFC 9213 §2.2: "MUST ignore the Cache-Control and Expires header fields".
    if control.targeted || !headers.contains_key(EXPIRES) {
        return None;
    }
    Some(until_expires(headers, received))
}

/// The lifetime to be assumed where nobody gives one (§4.2.2): this share of the time that the
/// response had not changed for when it was sent, counted from its origin like an explicit one;
/// `None` if it does not say since when. `received` stands in for a missing Date (RFC 9110 §6.6.1).
///
/// The caller sees to it that there is no explicit lifetime (§4.2.2: "MUST NOT use heuristics […]
/// when an explicit expiration time is present") and that the response may have one of this kind.
pub fn heuristic_lifetime(
    headers: &HeaderMap,
    received: Timestamp,
    share: f64,
) -> Option<Duration> {
    let modified = single_date(headers, &LAST_MODIFIED, received)?;
    let sent = single_date(headers, &DATE, received).unwrap_or(received);
    // RFC 9110 §8.8.2.1: no origin sends a Last-Modified "that is later than the server's time of
    // message origination (Date)": one that does knows nothing. An interval of none says nothing.
    let unchanged = sent.since(modified);
    if unchanged.is_zero() {
        return None;
    }
    // §4.2.2: "no more than some fraction of the interval since that time".
    let seconds = unchanged.as_secs_f64() * share.clamp(0.0, 1.0);
    Some(Duration::from_secs_f64(seconds).min(LONGEST_GUESS))
}

/// Must it not be used once stale, unless the origin itself says for how long it may (§4.2.4)?
///
/// This closes every window that comes from elsewhere: a route's, or a client's `max-stale`. What
/// the origin opens beside it is told by [`stale_while_revalidate`] and [`stale_if_error`].
pub fn must_not_serve_stale(control: &CacheControl) -> bool {
    control.must_revalidate
        || control.proxy_revalidate
        // §5.2.2.10: "incorporates the semantics of the proxy-revalidate response directive".
        || control.s_maxage.is_some()
        || control.is_no_cache()
}

/// How long past freshness the origin allows serving while revalidating (RFC 5861 §3); `None` if
/// it says nothing of the kind or forbids it.
///
/// `s-maxage` forbids it only by implication (§5.2.2.10). An origin that writes both in one field
/// names the exception itself: RFC 5861 §3 permits to serve "after it becomes stale, up to the
/// indicated number of seconds", and §4.2.4 counts that among the explicit permissions.
pub fn stale_while_revalidate(control: &CacheControl) -> Option<Duration> {
    control.stale_while_revalidate.filter(|_| !forbids_in_words(control))
}

/// How long past freshness the origin allows serving when it fails (RFC 5861 §4); `None` if it
/// says nothing of the kind or forbids it. Beside `s-maxage` as [`stale_while_revalidate`].
pub fn stale_if_error(control: &CacheControl) -> Option<Duration> {
    control.stale_if_error.filter(|_| !forbids_in_words(control))
}

/// §5.2.2.2: "In all circumstances, a cache MUST NOT ignore the must-revalidate directive".
fn forbids_in_words(control: &CacheControl) -> bool {
    control.must_revalidate
        || control.proxy_revalidate
        || control.is_no_cache()
        || control.malformed
}

/// §4.2.1: Expires minus Date, "using the time the message was received if it is not present".
/// §5.3: "MUST interpret invalid date formats … as representing a time in the past".
fn until_expires(headers: &HeaderMap, received: Timestamp) -> Duration {
    let Some(expires) = single_date(headers, &EXPIRES, received) else { return Duration::ZERO };
    let date = single_date(headers, &DATE, received).unwrap_or(received);
    expires.since(date).min(LONGEST)
}

/// §1.2.2: 2³¹ seconds.
const LONGEST: Duration = Duration::from_secs(1 << 31);

/// A guess is good for a day. §4.2.2 sets no bound; its predecessor had caches warn of what was
/// fresh by a guess for longer than 24 hours (RFC 7234 §5.5.4), and nobody reads warnings now. Ten
/// years without a change would otherwise hide the next change for one.
const LONGEST_GUESS: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::super::targeted::effective;
    use super::*;

    const AT: Timestamp = Timestamp::from_millis(784_111_777_500);
    const NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const HOUR_LATER: &str = "Sun, 06 Nov 1994 09:49:37 GMT";
    const HOUR_BEFORE: &str = "Sun, 06 Nov 1994 07:49:37 GMT";

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn control(said: &str) -> CacheControl {
        effective(&map(&[("cache-control", said)]))
    }

    #[test]
    fn the_first_rule_that_matches_gives_the_lifetime() {
        let (cc, cdn) = ("cache-control", "cdn-cache-control");
        let expires = ("expires", HOUR_LATER);
        let date = ("date", NOW);
        type Row<'a> = (&'a [(&'static str, &'a str)], Option<u64>);
        let rows: &[Row<'_>] = &[
            (&[], None),
            (&[(cc, "public, no-cache")], None),
            (&[(cc, "s-maxage=5, max-age=60"), expires], Some(5_000)),
            (&[(cc, "s-maxage=x, max-age=60")], Some(0)),
            (&[(cc, "max-age=60"), expires], Some(60_000)),
            (&[(cc, "max-age=x"), expires], Some(0)),
            (&[expires, date], Some(3_600_000)),
            (&[expires, ("date", HOUR_BEFORE)], Some(7_200_000)),
            (&[expires], Some(3_599_500)),
            (&[expires, ("date", "x")], Some(3_599_500)),
            (&[expires, date, ("date", HOUR_BEFORE)], Some(3_599_500)),
            (&[expires, expires, date], Some(3_600_000)),
            (&[expires, ("expires", NOW), date], Some(0)),
            (&[expires, ("expires", "0"), date], Some(0)),
            (&[("expires", HOUR_BEFORE), date], Some(0)),
            (&[("expires", "0")], Some(0)),
            (&[("expires", "-1")], Some(0)),
            (&[("expires", "")], Some(0)),
            (&[("expires", "Sun, 06 Nov 1994 09:49:37 CET"), date], Some(0)),
            (&[("expires", "sun, 06 nov 1994 09:49:37 gmt"), date], Some(3_600_000)),
            (&[("expires", "Sunday, 06-Nov-94 09:49:37 GMT"), date], Some(3_600_000)),
            (&[("expires", "Fri, 31 Dec 9999 23:59:59 GMT"), date], Some((1 << 31) * 1000)),
            (&[(cdn, "max-age=9"), (cc, "max-age=60"), expires], Some(9_000)),
            (&[(cdn, "none"), (cc, "max-age=60"), expires, date], None),
            (&[(cdn, "@"), (cc, "max-age=60")], Some(60_000)),
            (&[(cc, "max-age=60; public")], Some(0)),
            (&[(cc, "max-age=60, @")], Some(0)),
        ];
        for (fields, expected) in rows {
            let headers = map(fields);
            let said = explicit_lifetime(&effective(&headers), &headers, AT);
            assert_eq!(said, expected.map(Duration::from_millis), "{fields:?}");
        }
    }

    #[test]
    fn a_guess_is_a_share_of_the_time_without_a_change() {
        let (date, modified) = (("date", NOW), ("last-modified", HOUR_BEFORE));
        let year_before = ("last-modified", "Sat, 06 Nov 1993 08:49:37 GMT");
        type Row<'a> = (&'a [(&'static str, &'a str)], f64, Option<u64>);
        let rows: &[Row<'_>] = &[
            (&[modified, date], 0.1, Some(360_000)),
            (&[modified, date], 1.0, Some(3_600_000)),
            (&[modified, date], 0.0, Some(0)),
            (&[modified], 0.1, Some(360_050)),
            (&[modified, ("date", "x")], 0.1, Some(360_050)),
            (&[year_before, date], 0.1, Some(24 * 3_600_000)),
            (&[("last-modified", NOW), date], 0.1, None),
            (&[("last-modified", HOUR_LATER), date], 0.1, None),
            (&[("last-modified", "0"), date], 0.1, None),
            (&[modified, year_before, date], 0.1, None),
            (&[date], 0.1, None),
        ];
        for (fields, share, expected) in rows {
            let said = heuristic_lifetime(&map(fields), AT, *share);
            assert_eq!(said, expected.map(Duration::from_millis), "{fields:?} {share}");
        }
    }

    #[test]
    fn staleness_is_allowed_by_the_origin_in_words_or_not_at_all() {
        // What is said, whether other windows are closed, what is left of the origin's own.
        for (said, closed, open) in [
            ("max-age=1", false, false),
            ("max-age=1, stale-while-revalidate=5, stale-if-error=5", false, true),
            ("s-maxage=1", true, false),
            ("s-maxage=1, stale-while-revalidate=5, stale-if-error=5", true, true),
            ("must-revalidate, stale-while-revalidate=5, stale-if-error=5", true, false),
            ("proxy-revalidate, stale-while-revalidate=5, stale-if-error=5", true, false),
            ("no-cache, stale-while-revalidate=5, stale-if-error=5", true, false),
            ("no-cache=\"vary\", stale-while-revalidate=5, stale-if-error=5", true, false),
            ("no-cache=\"x-a\", stale-while-revalidate=5, stale-if-error=5", false, true),
            ("stale-while-revalidate=x, stale-if-error=-1", false, false),
        ] {
            let control = control(said);
            let window = open.then_some(Duration::from_secs(5));
            assert_eq!(must_not_serve_stale(&control), closed, "{said}");
            assert_eq!(stale_while_revalidate(&control), window, "{said}");
            assert_eq!(stale_if_error(&control), window, "{said}");
        }
    }

    proptest! {
        #[test]
        fn no_response_stays_fresh_for_longer_than_the_longest(
            said in r#"(max-age|s-maxage|public|x)=?"?[0-9x-]{0,25}"?"#,
            expires in "[A-Za-z0-9:, ]{0,32}",
        ) {
            let headers = map(&[("cache-control", &said), ("expires", &expires)]);
            let lifetime = explicit_lifetime(&effective(&headers), &headers, AT);
            prop_assert!(lifetime.is_some_and(|l| l <= LONGEST));
        }

        #[test]
        fn another_directive_never_lengthens_a_lifetime_that_s_maxage_gives(
            given in 0_u64..1000, more in "[a-z0-9=,; -]{0,30}",
        ) {
            let headers = HeaderMap::new();
            let control = control(&format!("s-maxage={given},{more}"));
            let lifetime = explicit_lifetime(&control, &headers, AT);
            prop_assert!(lifetime.is_some_and(|l| l <= Duration::from_secs(given)));
        }
    }
}
