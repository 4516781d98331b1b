//! How old a response already is when it arrives (RFC 9111 §4.2.3). From then on
//! [`super::stored::Times::age`] counts.
//!
//! ```text
//! apparent_age          = max(0, response_time - date_value)
//! corrected_age_value   = age_value + (response_time - request_time)
//! corrected_initial_age = max(apparent_age, corrected_age_value)
//! ```

use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, DATE};

use super::cache_control::delta_seconds;
use super::fields::{members, single_date};
use super::time::Timestamp;

/// The age of a response at the moment it was received. `sent` and `received` are this process's
/// own times of the request and of the response's head.
pub fn corrected_initial_age(
    headers: &HeaderMap,
    sent: Timestamp,
    received: Timestamp,
) -> Duration {
    apparent_age(headers, received).max(corrected_age_value(headers, sent, received))
}

/// What the clocks say: zero without a `Date`, with one that cannot be read, or from the future.
fn apparent_age(headers: &HeaderMap, received: Timestamp) -> Duration {
    // Date counts whole seconds, so this clock is read in whole seconds too. Otherwise every
    // response would seem up to a second old.
    let received = Timestamp::from_millis(received.as_millis() / 1000 * 1000);
    single_date(headers, &DATE, received)
        .map_or(Duration::ZERO, |date| received.since(date))
        .min(OLDEST)
}

/// What the caches on the way say. §4.2.3: "MUST interpret this value relative to the time the
/// request was initiated".
fn corrected_age_value(headers: &HeaderMap, sent: Timestamp, received: Timestamp) -> Duration {
    (age_value(headers) + received.since(sent)).min(OLDEST)
}

/// §5.1: "SHOULD use the first member of the field value"; "if … invalid …, SHOULD ignore".
fn age_value(headers: &HeaderMap) -> Duration {
    members(headers.get_all(AGE).iter())
        .next()
        .and_then(Result::ok)
        .and_then(delta_seconds)
        .unwrap_or_default()
}

/// §1.2.2: 2³¹ seconds, from which on an age is as good as infinite.
const OLDEST: Duration = Duration::from_secs(1 << 31);

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// 1994-11-06 08:49:37 GMT
    const AT: Timestamp = Timestamp::from_millis(784_111_777_000);
    const DATE_AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn headers(date: &[&str], age: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, values) in [(DATE, date), (AGE, age)] {
            for value in values {
                headers.append(&name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
        }
        headers
    }

    #[test]
    fn the_age_is_the_larger_of_what_clocks_and_caches_say() {
        let forever = 1_u64 << 31;
        // Date, Age, milliseconds on the way, milliseconds from AT until received, age in ms.
        type Row<'a> = (&'a [&'a str], &'a [&'a str], u64, u64, u64);
        let rows: &[Row<'_>] = &[
            (&[], &[], 0, 0, 0),
            (&[], &[], 250, 0, 250),
            (&[DATE_AT], &[], 0, 10_000, 10_000),
            (&[DATE_AT], &[], 0, 999, 0),
            (&[DATE_AT], &["3"], 500, 10_000, 10_000),
            (&[DATE_AT], &["30"], 500, 10_000, 30_500),
            (&["Sun, 06 Nov 1994 09:49:37 GMT"], &["3"], 0, 0, 3_000),
            (&["yesterday"], &["3"], 0, 10_000, 3_000),
            (&[DATE_AT, "0"], &["3"], 0, 10_000, 3_000),
            (&[DATE_AT, DATE_AT], &["3"], 0, 10_000, 10_000),
            (&[], &["5, 10"], 0, 0, 5_000),
            (&[], &["5", "10"], 0, 0, 5_000),
            (&[], &["10", "x"], 0, 0, 10_000),
            (&[], &["x, 10"], 0, 0, 0),
            (&[], &["-5"], 0, 0, 0),
            (&[], &["1.5"], 0, 0, 0),
            (&[], &["\"5\""], 0, 0, 0),
            (&[], &[""], 0, 0, 0),
            (&[], &["\u{fc}"], 0, 0, 0),
            (&[], &["2147483648"], 9, 0, forever * 1000),
            (&[], &["99999999999999999999999"], 9, 0, forever * 1000),
        ];
        for (date, age, delay, later, expected) in rows {
            let received = AT + Duration::from_millis(*later);
            let sent = received - Duration::from_millis(*delay);
            let said = corrected_initial_age(&headers(date, age), sent, received);
            assert_eq!(said.as_millis(), u128::from(*expected), "{date:?} {age:?} {delay} {later}");
        }
    }

    #[test]
    fn a_clock_that_disagrees_with_itself_makes_nothing_younger() {
        let sent = AT + Duration::from_secs(5);
        let said = corrected_initial_age(&headers(&[], &["7"]), sent, AT);
        assert_eq!(said, Duration::from_secs(7));
    }

    proptest! {
        #[test]
        fn age_only_grows_with_time_delay_and_what_caches_say(
            age in 0_u64..1 << 33,
            more in 0_u64..1 << 33,
            delay in 0_u64..1 << 45,
            longer in 0_u64..1 << 45,
            dated in any::<bool>(),
            later in 0_u64..1 << 45,
        ) {
            let date: &[&str] = if dated { &[DATE_AT] } else { &[] };
            let at = |age: u64, delay: u64, later: u64| {
                let sent = AT;
                let received = sent + Duration::from_millis(delay + later);
                corrected_initial_age(&headers(date, &[&age.to_string()]), sent, received)
            };
            let base = at(age, delay, 0);
            prop_assert!(at(age.saturating_add(more), delay, 0) >= base);
            prop_assert!(at(age, delay + longer, 0) >= base);
            prop_assert!(at(age, delay, later) >= base);
            prop_assert!(base <= OLDEST);
        }
    }
}
