//! Which field says how a response may be cached (RFC 9213).
//!
//! | order | field | read as | ignored when |
//! |---|---|---|---|
//! | 1 | `Larder-Cache-Control` | structured-field dictionary | missing, empty or invalid |
//! | 2 | `CDN-Cache-Control` | structured-field dictionary | missing, empty or invalid |
//! | 3 | `Cache-Control`, `Expires` | RFC 9111 | one of the above applies |
//!
//! The dictionaries are read as RFC 9651 §4.2 says, strictly: one bad octet, and the field counts
//! as not there.

use std::borrow::Cow;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName};

use super::cache_control::{Argument, CacheControl, Duplicates, Reader};
use super::structured::{self, BareItem, Value};

/// The directives that apply to this cache.
pub fn effective(headers: &HeaderMap) -> CacheControl {
    // §2.2: "MUST select the first (in target-list order) field with a valid, non-empty value".
    TARGET_LIST
        .iter()
        .find_map(|name| targeted(headers, name))
        .unwrap_or_else(|| CacheControl::parse(headers.get_all(CACHE_CONTROL).iter()))
}

fn targeted(headers: &HeaderMap, name: &HeaderName) -> Option<CacheControl> {
    let control = dictionary(&structured::combined(headers, name)?)?;
    Some(CacheControl { targeted: true, ..control })
}

/// `None` if the dictionary is empty or is none (RFC 9651 §4.2.2).
fn dictionary(text: &str) -> Option<CacheControl> {
    let members = structured::dictionary(text).filter(|members| !members.0.is_empty())?;
    let mut reader = Reader::new(Duplicates::Last);
    for (key, member) in members.0 {
        // §2.1: "Parameters received on cache directives are to be ignored".
        let digits = match &member.value {
            Value::Item(BareItem::Integer(number)) => number.to_string(),
            _ => String::new(),
        };
        reader.take(key.as_bytes(), &argument(key, member.value, &digits));
    }
    Some(reader.finish())
}

/// §2.1: a directive has no value (true), a string, or a token or number; "implementations SHOULD
/// NOT consume values that violate these inferred constraints". `digits`: of an integer.
fn argument<'a>(key: &str, value: Value<'a>, digits: &'a str) -> Argument<'a> {
    let Value::Item(item) = value else { return Argument::Foreign };
    match item {
        BareItem::Boolean(true) => Argument::Absent,
        // No directive takes a negative one, which is no delta-seconds either.
        BareItem::Integer(_) => Argument::Token(digits.as_bytes()),
        BareItem::Token(token) => Argument::Token(token.as_bytes()),
        // Only lists of fields are strings.
        BareItem::String(said) if matches!(key, "no-cache" | "private") => {
            Argument::Quoted(match said {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            })
        }
        _ => Argument::Foreign,
    }
}

/// RFC 9213 §2.2: from most to least applicable.
const TARGET_LIST: [HeaderName; 2] =
    [HeaderName::from_static("larder-cache-control"), HeaderName::from_static("cdn-cache-control")];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(fields: &[(&'static str, &str)]) -> CacheControl {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        effective(&headers)
    }

    /// `max-age` of the field that applied, and whether it was a targeted one.
    fn applied(fields: &[(&'static str, &str)]) -> (Option<u64>, bool) {
        let control = read(fields);
        (control.max_age.map(|d| d.as_secs()), control.targeted)
    }

    const LARDER: &str = "larder-cache-control";
    const CDN: &str = "cdn-cache-control";
    const PLAIN: &str = "cache-control";

    #[test]
    fn the_first_valid_field_of_the_target_list_applies() {
        assert_eq!(applied(&[]), (None, false));
        assert_eq!(applied(&[(PLAIN, "max-age=1")]), (Some(1), false));
        assert_eq!(applied(&[(PLAIN, "max-age=1"), (CDN, "max-age=2")]), (Some(2), true));
        let all = [(PLAIN, "max-age=1"), (CDN, "max-age=2"), (LARDER, "max-age=3")];
        assert_eq!(applied(&all), (Some(3), true));
        assert_eq!(applied(&[(CDN, "max-age=2"), (LARDER, "")]), (Some(2), true));
        assert_eq!(applied(&[(CDN, "max-age=2"), (LARDER, "max-age=")]), (Some(2), true));
        assert_eq!(applied(&[(PLAIN, "max-age=1"), (CDN, "@")]), (Some(1), false));
        // Not a field of ours.
        let other = [(PLAIN, "max-age=1"), ("example-cache-control", "max-age=2")];
        assert_eq!(applied(&other), (Some(1), false));
    }

    #[test]
    fn a_targeted_field_leaves_nothing_of_cache_control() {
        let control = read(&[(PLAIN, "no-store, private"), (CDN, "none")]);
        assert_eq!(control, CacheControl { targeted: true, ..CacheControl::default() });
        let control = read(&[(PLAIN, "max-age=60, public"), (CDN, "no-store")]);
        assert!(control.no_store && !control.public && control.max_age.is_none());
    }

    #[test]
    fn a_dictionary_is_valid_or_as_if_not_there() {
        for valid in [
            "max-age=5",
            "  max-age=5  ",
            "max-age=5;param;q=1.5;s=\"x\", a",
            "a=1, max-age=5 ,\tb=?0",
            "max-age=60, max-age=5",
            "a=-12, b=1.125, c=token/x:y, d=:aGk=:, e=?1, f=@-1, g=%\"%c3%bc\", max-age=5",
            "a=(1 \"b\" c;d=1 );e, b=(), c=( x ), max-age=5",
            "a=\"x\\\"\\\\, max-age=9\", max-age=5",
            "*a_-.*=1, max-age=5",
            "max-age=000000000000005",
        ] {
            assert_eq!(applied(&[(PLAIN, "max-age=1"), (CDN, valid)]), (Some(5), true), "{valid}");
        }
        for invalid in [
            "",
            " ",
            ",",
            "max-age=5,",
            ",max-age=5",
            "max-age=5,,a",
            "max-age=5 a",
            "max-age=5; ",
            "Max-Age=5",
            "max-age =5",
            "max-age= 5",
            "max-age=",
            "max-age=5s, Q",
            "max-age=-",
            "max-age=1234567890123456",
            "max-age=1.",
            "max-age=1.2345",
            "max-age=1234567890123.1",
            "a=?2, max-age=5",
            "a=?, max-age=5",
            "a=\"x, max-age=5",
            "a=\"\\x\", max-age=5",
            "a=\"\u{fc}\", max-age=5",
            "a=\"\t\", max-age=5",
            "a=:x, max-age=5",
            "a=:*:, max-age=5",
            "a=@1.5, max-age=5",
            "a=%\"%C3%BC\", max-age=5",
            "a=%\"%ff\", max-age=5",
            "a=%x, max-age=5",
            "a=(1, max-age=5",
            "a=(1\"b\"), max-age=5",
            "a=((1)), max-age=5",
            "a;B=1, max-age=5",
            "a;=1, max-age=5",
            "&, max-age=5",
            "max-age=5, \u{fc}",
        ] {
            let fields = [(PLAIN, "max-age=1"), (CDN, invalid)];
            assert_eq!(applied(&fields), (Some(1), false), "{invalid}");
        }
    }

    #[test]
    fn several_lines_are_one_dictionary() {
        let control = read(&[(CDN, "max-age=5"), (CDN, "must-revalidate")]);
        assert!(control.targeted && control.must_revalidate && control.max_age.is_some());
        assert_eq!(
            applied(&[(CDN, "max-age=5"), (CDN, "@"), (PLAIN, "max-age=1")]),
            (Some(1), false)
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_permits_nothing_and_lifts_nothing() {
        for said in ["5.0", "\"5\"", "five", "-5", "?1", "?0", "(5)", ":NQ==:", "@5"] {
            let control = read(&[(CDN, &format!("max-age={said}, stale-if-error={said}"))]);
            assert_eq!(control.max_age, Some(Duration::ZERO), "{said}");
            assert_eq!(control.stale_if_error, None, "{said}");
        }
        let control = read(&[(CDN, "public=?0, must-understand=?0")]);
        assert_eq!(control, CacheControl { targeted: true, ..CacheControl::default() });
        for said in ["no-store", "no-store=?0", "no-store=1", "no-store;x"] {
            assert!(read(&[(CDN, said)]).no_store, "{said}");
        }
        for said in ["private", "private=?0", "private=x-a", "private=(\"x-a\")", "private=\"\""] {
            assert!(read(&[(CDN, said)]).is_private(), "{said}");
        }
        let control = read(&[(CDN, "private=\"x-a, X-B\", no-cache=\"x-c\"")]);
        assert!(!control.is_private() && !control.is_no_cache());
        assert!(control.excluded_fields().eq(["x-a", "x-b", "x-c"].iter()));
    }

    proptest! {
        #[test]
        fn no_field_value_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = effective(&HeaderMap::from_iter([(TARGET_LIST[0].clone(), value)]));
            }
        }

        #[test]
        fn almost_dictionaries_do_not_panic(text in r#"[a=(\);:?@%", 01.\\*-]{0,40}"#) {
            let _ = dictionary(&text);
        }

        #[test]
        fn what_it_says_survives_any_other_member(
            other in r#"[a-z]{1,5}(=(-?[0-9]{1,15}|\?[01]|"[a-z ,]{0,8}"|[a-zA-Z]{1,8}))?(;[a-z]{1,3})?"#,
        ) {
            let text = format!("{other}, no-store, z-z=1, {other}");
            prop_assert!(dictionary(&text).is_some_and(|control| control.no_store));
        }
    }
}
