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
            b"immutable" => control.immutable |= argument.is_absent(),
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
