//! `Cache-Control` as a value (RFC 9111 §5.2, RFC 5861, RFC 8246). Reading it never fails: what
//! cannot be read is reported, and closes rather than opens.
//!
//! | directive | cannot be read | several differ |
//! |---|---|---|
//! | `max-age`, `s-maxage` | zero: stale at once | the smallest |
//! | `stale-while-revalidate`, `stale-if-error` | as if not there | the smallest; none if one cannot be read |
//! | `max-stale` | as if not there | the smallest |
//! | `min-fresh` | as if not there | the largest |
//! | `private`, `no-cache` with a list | without a list: all of the response | all of them hold |
//! | anything else that forbids | its name is enough | |
//! | a list that is no list, or not ASCII | `malformed`; `private`, `no-store` and `no-cache` anywhere in it count | |

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::fields::{is_needed_for_reuse, is_token, members, trim, unquote};

/// The directives of one message, request or response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheControl {
    /// §5.2.1.5, §5.2.2.5.
    pub no_store: bool,
    /// `no-cache` without a list. Ask [`CacheControl::is_no_cache`].
    pub no_cache: bool,
    /// Fields named by a qualified `no-cache` (§5.2.2.4).
    pub no_cache_fields: Vec<HeaderName>,
    /// `private` without a list. Ask [`CacheControl::is_private`].
    pub private: bool,
    /// Fields named by a qualified `private` (§5.2.2.7).
    pub private_fields: Vec<HeaderName>,
    /// §5.2.2.9.
    pub public: bool,
    /// §5.2.2.2.
    pub must_revalidate: bool,
    /// §5.2.2.8.
    pub proxy_revalidate: bool,
    /// §5.2.2.3.
    pub must_understand: bool,
    /// §5.2.1.6, §5.2.2.6.
    pub no_transform: bool,
    /// RFC 8246.
    pub immutable: bool,
    /// §5.2.1.1, §5.2.2.1. Whole seconds, at most 2³¹.
    pub max_age: Option<Duration>,
    /// §5.2.2.10. Whole seconds, at most 2³¹.
    pub s_maxage: Option<Duration>,
    /// RFC 5861 §3.
    pub stale_while_revalidate: Option<Duration>,
    /// RFC 5861 §4.
    pub stale_if_error: Option<Duration>,
    /// §5.2.1.2: `Some(None)` is "of any age".
    pub max_stale: Option<Option<Duration>>,
    /// §5.2.1.3.
    pub min_fresh: Option<Duration>,
    /// §5.2.1.7.
    pub only_if_cached: bool,
    /// Some of it could not be read; what was read may not be all that was said.
    pub malformed: bool,
    /// From a targeted field (RFC 9213): `Cache-Control` and `Expires` say nothing then.
    pub targeted: bool,
}

impl CacheControl {
    /// Reads all lines of a `Cache-Control` field.
    pub fn parse<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> Self {
        let mut reader = Reader::new(Duplicates::Smallest);
        for value in values {
            let mut readable = value.as_bytes().is_ascii();
            for member in members(std::iter::once(value)) {
                match member.ok().and_then(split) {
                    Some((name, argument)) => reader.take(name, &argument),
                    None => readable = false,
                }
            }
            if !readable {
                reader.suspect(value.as_bytes());
            }
        }
        reader.finish()
    }

    /// May no part of the response be kept for others (§5.2.2.7)?
    ///
    /// True also for a list of fields that takes away something the rest cannot be reused without.
    pub fn is_private(&self) -> bool {
        self.private || self.private_fields.iter().any(is_reserved)
    }

    /// May no part of it be used without asking the origin (§5.2.2.4)?
    ///
    /// True also for a list of fields that takes away something the rest cannot be reused without.
    pub fn is_no_cache(&self) -> bool {
        self.no_cache || self.no_cache_fields.iter().any(is_reserved)
    }

    /// The fields that may not be stored, or not be used without asking: the lists of `private` and
    /// `no-cache`. A name that makes [`CacheControl::is_private`] or
    /// [`CacheControl::is_no_cache`] true is not among them.
    pub fn excluded_fields(&self) -> impl Iterator<Item = &HeaderName> {
        self.private_fields.iter().chain(&self.no_cache_fields).filter(|name| !is_reserved(name))
    }
}

/// A field without which the rest of a response is not what the origin meant. `Set-Cookie` is not
/// one: naming it is what the lists are for.
fn is_reserved(name: &HeaderName) -> bool {
    is_needed_for_reuse(name) && name != http::header::SET_COOKIE
}

/// What follows the name of a directive.
pub(super) enum Argument<'a> {
    /// Nothing.
    Absent,
    /// A token, or nothing after the `=`.
    Token(&'a [u8]),
    /// What a quoted string says.
    Quoted(Cow<'a, [u8]>),
    /// Something of a type that no directive has.
    Foreign,
}

/// What several of the same number come to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Duplicates {
    /// RFC 9111 §4.2.1: "the most restrictive directive should be honored".
    Smallest,
    /// RFC 9651 §4.2.2: "all but the last instance are ignored".
    Last,
}

/// Collects directives.
pub(super) struct Reader {
    control: CacheControl,
    duplicates: Duplicates,
    while_revalidate: Window,
    if_error: Window,
}

/// A time past freshness, as far as it could be read.
#[derive(Clone, Copy)]
enum Window {
    Unsaid,
    Unreadable,
    Says(Duration),
}

impl Reader {
    pub(super) fn new(duplicates: Duplicates) -> Self {
        Self {
            control: CacheControl::default(),
            duplicates,
            while_revalidate: Window::Unsaid,
            if_error: Window::Unsaid,
        }
    }

    /// Takes one directive. `name` in any case; unknown ones are ignored (§5.2.3).
    pub(super) fn take(&mut self, name: &[u8], argument: &Argument<'_>) {
        let control = &mut self.control;
        let mut lower = [0; LONGEST_NAME];
        let Some(lower) = lower.get_mut(..name.len()) else { return };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        match &*lower {
            b"no-store" => control.no_store = true,
            b"no-cache" => {
                control.no_cache |= !qualify(argument, &mut control.no_cache_fields);
            }
            b"private" => control.private |= !qualify(argument, &mut control.private_fields),
            b"must-revalidate" => control.must_revalidate = true,
            b"proxy-revalidate" => control.proxy_revalidate = true,
            b"no-transform" => control.no_transform = true,
            b"only-if-cached" => control.only_if_cached = true,
            // What permits has to be said exactly: "no argument is defined (nor allowed)".
            b"public" => control.public |= argument.is_absent(),
            // RFC 8246 §2: arguments "have no meaning and MUST be ignored".
            b"immutable" => control.immutable = true,
            b"must-understand" => control.must_understand |= argument.is_absent(),
            b"max-age" => self.lifetime(argument, |control| &mut control.max_age),
            b"s-maxage" => self.lifetime(argument, |control| &mut control.s_maxage),
            b"stale-while-revalidate" => {
                self.while_revalidate = self.while_revalidate.and(argument, self.duplicates);
            }
            b"stale-if-error" => self.if_error = self.if_error.and(argument, self.duplicates),
            b"max-stale" => control.max_stale = max_stale(control.max_stale, argument),
            b"min-fresh" => control.min_fresh = control.min_fresh.max(argument.seconds()),
            _ => {}
        }
    }

    /// Part of `line` could not be read: whatever forbids is believed wherever it stands in it.
    fn suspect(&mut self, line: &[u8]) {
        let says = |word: &[u8]| line.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word));
        self.control.malformed = true;
        self.control.no_store |= says(b"no-store");
        self.control.no_cache |= says(b"no-cache");
        self.control.private |= says(b"private");
    }

    pub(super) fn finish(self) -> CacheControl {
        CacheControl {
            stale_while_revalidate: self.while_revalidate.seconds(),
            stale_if_error: self.if_error.seconds(),
            ..self.control
        }
    }

    /// §4.2.1: "consider responses that have invalid freshness information … to be stale".
    fn lifetime(
        &mut self,
        argument: &Argument<'_>,
        of: impl Fn(&mut CacheControl) -> &mut Option<Duration>,
    ) {
        let said = argument.seconds().unwrap_or(Duration::ZERO);
        let lifetime = of(&mut self.control);
        *lifetime = match (*lifetime, self.duplicates) {
            (Some(earlier), Duplicates::Smallest) => Some(earlier.min(said)),
            _ => Some(said),
        };
    }
}

impl Window {
    fn and(self, argument: &Argument<'_>, duplicates: Duplicates) -> Self {
        let said = argument.seconds().map_or(Self::Unreadable, Self::Says);
        match (self, said, duplicates) {
            (_, said, Duplicates::Last) | (Self::Unsaid, said, _) => said,
            (Self::Says(a), Self::Says(b), _) => Self::Says(a.min(b)),
            _ => Self::Unreadable,
        }
    }

    const fn seconds(self) -> Option<Duration> {
        match self {
            Self::Says(seconds) => Some(seconds),
            Self::Unsaid | Self::Unreadable => None,
        }
    }
}

impl Argument<'_> {
    const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Delta-seconds, "ought to accept both forms" (§5.2).
    fn seconds(&self) -> Option<Duration> {
        match self {
            Self::Absent | Self::Foreign => None,
            Self::Token(said) => delta_seconds(said),
            Self::Quoted(said) => delta_seconds(said),
        }
    }
}

/// Reads delta-seconds (§1.2.2): digits and nothing else. What is larger than 2³¹ is 2³¹.
pub fn delta_seconds(digits: &[u8]) -> Option<Duration> {
    if digits.is_empty() {
        return None;
    }
    digits
        .iter()
        .try_fold(0_u64, |seconds, octet| {
            let digit = octet.is_ascii_digit().then(|| u64::from(octet - b'0'))?;
            Some((seconds * 10 + digit).min(FOREVER))
        })
        .map(Duration::from_secs)
}

/// Name and argument of `cache-directive = token [ "=" ( token / quoted-string ) ]`.
fn split(member: &[u8]) -> Option<(&[u8], Argument<'_>)> {
    let Some(at) = member.iter().position(|b| *b == b'=') else {
        return is_token(member).then_some((member, Argument::Absent));
    };
    let (name, rest) = member.split_at(at);
    let said = rest.get(1..).unwrap_or(&[]);
    let argument = match unquote(said) {
        Some(quoted) => Argument::Quoted(quoted),
        None if said.is_empty() || is_token(said) => Argument::Token(said),
        None => return None,
    };
    is_token(name).then_some((name, argument))
}

/// Adds the fields that the argument lists. False if it does not limit the directive to fields:
/// it is none, has none, or lists something that is no field name.
///
/// Nor does the token form: `private=yes` is nobody's list. §5.2.2.4 and §5.2.2.7 note that the
/// qualified form may be handled as the unqualified one.
fn qualify(argument: &Argument<'_>, fields: &mut Vec<HeaderName>) -> bool {
    let Argument::Quoted(list) = argument else { return false };
    let before = fields.len();
    for name in list.split(|b| *b == b',').map(trim).filter(|name| !name.is_empty()) {
        match HeaderName::from_bytes(name) {
            Ok(name) => fields.push(name),
            Err(_) => return false,
        }
    }
    fields.len() > before
}

/// A client gets no more staleness than the strictest of what it says.
fn max_stale(
    earlier: Option<Option<Duration>>,
    argument: &Argument<'_>,
) -> Option<Option<Duration>> {
    let said = match argument {
        Argument::Absent => None,
        said => match said.seconds() {
            Some(seconds) => Some(seconds),
            None => return earlier,
        },
    };
    Some(match earlier.flatten() {
        Some(earlier) => Some(said.map_or(earlier, |said| said.min(earlier))),
        None => said,
    })
}

/// §1.2.2: 2³¹ seconds "represents infinity (over 68 years)".
const FOREVER: u64 = 1 << 31;

/// `stale-while-revalidate`. No directive that means something here is longer.
const LONGEST_NAME: usize = 22;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(lines: &[&str]) -> CacheControl {
        let values: Vec<_> =
            lines.iter().map(|l| HeaderValue::from_bytes(l.as_bytes()).unwrap()).collect();
        CacheControl::parse(values.iter())
    }

    const fn secs(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn directives_are_read_in_any_case_and_over_several_lines() {
        let read = parse(&[
            "PUBLIC, Max-Age=60,,  s-MaxAge=\"120\"",
            "Must-Revalidate, proxy-REVALIDATE, must-understand, no-transform, immutable",
            "stale-while-revalidate=5, stale-if-error=6, unknown, x=y, z=\"a, b\"",
        ]);
        let expected = CacheControl {
            public: true,
            max_age: secs(60),
            s_maxage: secs(120),
            must_revalidate: true,
            proxy_revalidate: true,
            must_understand: true,
            no_transform: true,
            immutable: true,
            stale_while_revalidate: secs(5),
            stale_if_error: secs(6),
            ..CacheControl::default()
        };
        assert_eq!(read, expected);
        assert_eq!(parse(&[]), CacheControl::default());
        assert_eq!(parse(&["", " , "]), CacheControl::default());
    }

    #[test]
    fn a_lifetime_that_cannot_be_read_is_zero() {
        let forever = 1 << 31;
        for (said, expected) in [
            ("60", 60),
            ("0", 0),
            ("0060", 60),
            ("\"60\"", 60),
            (r#""\60""#, 60),
            ("2147483647", forever - 1),
            ("2147483648", forever),
            ("2147483649", forever),
            ("99999999999999999999999999999999999999999", forever),
            ("-1", 0),
            ("+60", 0),
            ("1.5", 0),
            ("60s", 0),
            ("1e3", 0),
            ("0x10", 0),
            ("'60'", 0),
            ("", 0),
            ("\"\"", 0),
            ("\" 60\"", 0),
            ("a60", 0),
        ] {
            let read = parse(&[&format!("max-age={said}, S-MAXAGE={said}")]);
            assert_eq!(read.max_age, secs(expected), "{said}");
            assert_eq!(read.s_maxage, secs(expected), "{said}");
            assert!(!read.malformed, "{said}");
        }
        assert_eq!(parse(&["max-age"]).max_age, secs(0));
    }

    #[test]
    fn of_several_lifetimes_the_smallest_counts() {
        assert_eq!(parse(&["max-age=60, max-age=5"]).max_age, secs(5));
        assert_eq!(parse(&["max-age=5", "max-age=60"]).max_age, secs(5));
        assert_eq!(parse(&["max-age=60, max-age=x"]).max_age, secs(0));
        assert_eq!(parse(&["s-maxage=7, s-maxage=3"]).s_maxage, secs(3));
    }

    #[test]
    fn a_window_that_cannot_be_read_is_none() {
        for (said, expected) in [
            ("=5", secs(5)),
            ("=\"5\"", secs(5)),
            ("=0", secs(0)),
            ("", None),
            ("=", None),
            ("=-5", None),
            ("=1.5", None),
            ("=x", None),
        ] {
            let read =
                parse(&[&format!("stale-while-revalidate{said}, stale-if-error{said}, max-age=1")]);
            assert_eq!(read.stale_while_revalidate, expected, "{said}");
            assert_eq!(read.stale_if_error, expected, "{said}");
        }
        assert_eq!(parse(&["stale-if-error=5, stale-if-error=3"]).stale_if_error, secs(3));
        assert_eq!(parse(&["stale-if-error=5, stale-if-error=x"]).stale_if_error, None);
        assert_eq!(parse(&["stale-if-error=x, stale-if-error=5"]).stale_if_error, None);
    }

    #[test]
    fn request_directives_never_ask_for_more_staleness_than_all_of_them_allow() {
        for (said, max_stale) in [
            ("max-stale", Some(None)),
            ("max-stale=5", Some(secs(5))),
            ("max-stale=\"5\"", Some(secs(5))),
            ("max-stale=x", None),
            ("max-stale=", None),
            ("max-stale=-1", None),
            ("max-stale, max-stale=5", Some(secs(5))),
            ("max-stale=5, max-stale", Some(secs(5))),
            ("max-stale=5, max-stale=3", Some(secs(3))),
            ("max-stale, max-stale", Some(None)),
            ("max-stale=3, max-stale=x", Some(secs(3))),
        ] {
            assert_eq!(parse(&[said]).max_stale, max_stale, "{said}");
        }
        let read = parse(&["min-fresh=5, min-fresh=9, min-fresh=x, only-if-cached"]);
        assert_eq!(read.min_fresh, secs(9));
        assert!(read.only_if_cached);
    }

    #[test]
    fn a_list_of_fields_limits_private_and_no_cache_to_them() {
        for (said, whole, fields) in [
            ("", true, &[][..]),
            ("=\"x-a\"", false, &["x-a"]),
            ("=\"X-A, x-b ,, X-C\"", false, &["x-a", "x-b", "x-c"]),
            ("=\"set-cookie\"", false, &["set-cookie"]),
            // Nothing listed, or nothing that can be listed.
            ("=\"\"", true, &[]),
            ("=", true, &[]),
            ("=\" , \"", true, &[]),
            ("=\"a b\"", true, &[]),
            ("=\"x-a, y=z\"", true, &["x-a"]),
            ("=x-a", true, &[]),
            ("=0", true, &[]),
            ("=false", true, &[]),
            // The rest is not what it was without these.
            ("=\"vary\"", true, &[]),
            ("=\"Cache-Control, x-a\"", true, &["x-a"]),
            ("=\"content-encoding\"", true, &[]),
        ] {
            let read = parse(&[&format!("private{said}")]);
            assert_eq!(read.is_private(), whole, "private{said}");
            assert!(!read.is_no_cache(), "private{said}");
            assert!(read.excluded_fields().eq(fields.iter()), "private{said}");
            let read = parse(&[&format!("no-cache{said}")]);
            assert_eq!(read.is_no_cache(), whole, "no-cache{said}");
            assert!(!read.is_private(), "no-cache{said}");
            assert!(read.excluded_fields().eq(fields.iter()), "no-cache{said}");
        }
        assert!(parse(&["private=\"x-a\", private"]).is_private());
        assert!(parse(&["no-cache", "no-cache=\"x-a\""]).is_no_cache());
    }

    #[test]
    fn what_permits_counts_only_when_said_exactly() {
        let read = parse(&["public=1, must-understand=no"]);
        assert_eq!(read, CacheControl::default());
        assert!(parse(&["immutable=\"\""]).immutable);
        let read = parse(&["no-store=0, must-revalidate=no, proxy-revalidate=\"\""]);
        assert!(read.no_store && read.must_revalidate && read.proxy_revalidate);
    }

    #[test]
    fn a_list_that_is_none_is_reported_and_whatever_forbids_in_it_counts() {
        for said in [
            "max-age=60; {}",
            "max-age=60 {}",
            "{} max-age=60",
            "{};",
            "\"{}\"",
            "={}",
            "{} =\"x-a\"",
            "{}= \"x-a\"",
            "{}=\"x-a",
            "{}=\"x-a\"b",
            "x=\"a, {}",
            "max-age=60, [{}]",
            "\u{fc}, {}",
            "x=\"\u{fc}\", {}",
            "{}\u{a0}",
        ] {
            let lines = |word: &str| parse(&["max-age=60", &said.replace("{}", word)]);
            for word in ["No-Store", "no-store"] {
                assert!(lines(word).malformed && lines(word).no_store, "{said}");
            }
            for word in ["Private", "pRIVATE"] {
                assert!(lines(word).malformed && lines(word).is_private(), "{said}");
            }
            assert!(lines("NO-CACHE").malformed && lines("no-cache").is_no_cache(), "{said}");
        }
        let read = parse(&["max-age=60;", "must-revalidate, @, s-maxage=5"]);
        assert!(read.malformed && read.must_revalidate && !read.no_store && !read.private);
        assert_eq!(read.s_maxage, secs(5));
    }

    #[test]
    fn a_word_inside_an_unknown_directive_is_not_that_directive() {
        let read = parse(&["max-age=60, x-no-store, community=\"private, no-cache\", y=private"]);
        assert_eq!(read, CacheControl { max_age: secs(60), ..CacheControl::default() });
    }

    proptest! {
        #[test]
        fn no_field_value_panics(lines in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..60), 0..4,
        )) {
            let values: Vec<_> =
                lines.iter().filter_map(|l| HeaderValue::from_bytes(l).ok()).collect();
            let read = CacheControl::parse(values.iter());
            let ascii = values.iter().all(|v| v.as_bytes().is_ascii());
            prop_assert!(ascii || read.malformed);
        }

        #[test]
        fn another_line_never_takes_a_restriction_back(
            first in r#"(no-store|private|no-cache|max-age=5|private="x"|@|must-revalidate)"#,
            more in r#"[a-z=,"; 0-9-]{0,30}"#,
        ) {
            let (alone, both) = (parse(&[&first]), parse(&[&first, &more]));
            prop_assert!(both.no_store >= alone.no_store);
            prop_assert!(both.is_private() >= alone.is_private());
            prop_assert!(both.is_no_cache() >= alone.is_no_cache());
            prop_assert!(both.malformed >= alone.malformed);
            prop_assert!(both.must_revalidate >= alone.must_revalidate);
            prop_assert!(alone.max_age.is_none_or(|a| both.max_age.is_some_and(|b| b <= a)));
            prop_assert!(alone.excluded_fields().all(|f| both.excluded_fields().any(|g| f == g)));
        }

        #[test]
        fn delta_seconds_are_digits(text in "[0-9a-z.-]{0,25}") {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let read = delta_seconds(text.as_bytes());
            prop_assert_eq!(read.is_some(), digits);
            prop_assert!(read.is_none_or(|d| d <= Duration::from_secs(FOREVER)));
        }
    }
}
