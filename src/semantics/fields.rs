//! The syntax that fields share (RFC 9110 §5.6, §7.6.1, §8.8.3), and the one place that *replaces*
//! a field.
//!
//! | shape | read by | what cannot be read |
//! |---|---|---|
//! | list of anything, quoted strings included | [`members`] | `Err` for the rest of that line |
//! | list of field names | [`names`] | `Err` for that member |
//! | HTTP-date | [`parse_http_date`], [`single_date`] | `None` |
//! | entity tags | [`EntityTag::parse`], [`EntityTags::parse`] | `None` |

use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

use http::header::{
    AGE, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    DATE, ETAG, EXPIRES, LAST_MODIFIED, LOCATION, SET_COOKIE, TE, TRANSFER_ENCODING, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::time::Timestamp;

/// Sets a field to one value, whatever lines it had before.
///
/// Everything that does not mean to throw earlier lines away appends instead.
#[expect(clippy::disallowed_methods, reason = "this is the place that the ban points to")]
pub fn replace(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    headers.insert(name, value);
}

/// A quoted string that its line does not close: where the next member starts is anybody's guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unclosed;

/// The members of a list field, over all of its lines (RFC 9110 §5.6.1), trimmed; empty ones are
/// left out. A comma inside a quoted string separates nothing.
///
/// After a quoted string that is not closed, the rest of that line is one `Err`.
pub fn members<'a>(
    values: impl Iterator<Item = &'a HeaderValue>,
) -> impl Iterator<Item = Result<&'a [u8], Unclosed>> {
    values.flat_map(|value| Line { rest: value.as_bytes() })
}

/// A member that is no field name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAName;

/// The members of a list of field names (`Connection`, `Vary`), over all of its lines. There are no
/// quoted strings in such a list, so that every comma separates: a stray quote hides no name.
pub fn names<'a>(
    values: impl Iterator<Item = &'a HeaderValue>,
) -> impl Iterator<Item = Result<HeaderName, NotAName>> {
    values
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .map(trim)
        .filter(|member| !member.is_empty())
        .map(|member| HeaderName::from_bytes(member).map_err(|_| NotAName))
}

/// A token (RFC 9110 §5.6.2)?
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| is_tchar(*b))
}

/// What a quoted string says (RFC 9110 §5.6.4), its escapes resolved; `None` if `bytes` is not
/// exactly one quoted string.
pub fn unquote(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let inner = bytes.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if !inner.iter().any(|b| matches!(b, b'"' | b'\\')) {
        return Some(Cow::Borrowed(inner));
    }
    let mut said = Vec::with_capacity(inner.len());
    let mut octets = inner.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            b'"' => return None,
            // "MUST handle a quoted-pair as if it were replaced by the octet following".
            b'\\' => said.push(*octets.next()?),
            _ => said.push(octet),
        }
    }
    Some(Cow::Owned(said))
}

/// Without the optional whitespace around it (RFC 9110 §5.6.3).
pub fn trim(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [b' ' | b'\t', tail @ ..] = rest {
        rest = tail;
    }
    while let [head @ .., b' ' | b'\t'] = rest {
        rest = head;
    }
    rest
}

/// Reads an HTTP-date in any of its three forms (RFC 9110 §5.6.7), in any case (RFC 9111 §4.2).
///
/// Dates before 1970, on the wrong day of the week, or in a zone other than GMT are none.
pub fn parse_http_date(value: &HeaderValue) -> Option<Timestamp> {
    let text = std::str::from_utf8(trim(value.as_bytes())).ok()?;
    if text.len() > LONGEST_DATE || !text.is_ascii() {
        return None;
    }
    // Two-digit years are read as 1970 to 2069. A year or two too far back is an older date, which
    // can only make something stale.
    let time = httpdate::parse_http_date(&as_spelled(text)).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_millis(u64::try_from(since.as_millis()).ok()?))
}

/// The date that a singleton field gives; `None` if it is missing or unreadable, or if its lines
/// contradict each other.
pub fn single_date(headers: &HeaderMap, name: &HeaderName) -> Option<Timestamp> {
    let mut lines = headers.get_all(name).iter().map(parse_http_date);
    let first = lines.next()??;
    lines.all(|line| line == Some(first)).then_some(first)
}

/// Writes an IMF-fixdate, as "the sender MUST" (RFC 9110 §5.6.7). Seconds are cut, not rounded;
/// what lies after the year 9999 becomes its end.
pub fn format_http_date(at: Timestamp) -> HeaderValue {
    let seconds = (at.as_millis() / 1000).min(END_OF_9999);
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    HeaderValue::try_from(text)
        .unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// Removes what is meant for one connection only: `Connection`, the fields it lists, and those
/// "known to require removal" (RFC 9110 §7.6.1).
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> =
        names(headers.get_all(CONNECTION).iter()).filter_map(Result::ok).collect();
    for name in listed.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Does this response field say how the response may be reused, or what its content is?
///
/// A response that takes such a field back (lists it in `Connection`, or in a qualified `private`
/// or `no-cache`) cannot be reused correctly without it.
pub fn is_needed_for_reuse(name: &HeaderName) -> bool {
    NEEDED.contains(name)
}

/// An entity tag (RFC 9110 §8.8.3), borrowed from the field that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// Prefixed with `W/`.
    pub weak: bool,
    /// What stands between the quotes. Backslashes escape nothing.
    pub opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads exactly one entity tag.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::take(trim(bytes))?;
        rest.is_empty().then_some(tag)
    }

    /// Equal, and neither is weak (RFC 9110 §8.8.3.2).
    pub fn matches_strongly(&self, other: &EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Equal, weak or not (RFC 9110 §8.8.3.2).
    pub fn matches_weakly(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// The entity tag that `bytes` begins with, and what follows it.
    fn take(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        // §8.8.3: the prefix is case-sensitive.
        let (weak, quoted) = match bytes.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, bytes),
        };
        let inner = quoted.strip_prefix(b"\"")?;
        let end = inner.iter().position(|b| *b == b'"')?;
        let (opaque, rest) = inner.split_at(end);
        // §8.8.3: etagc = %x21 / %x23-7E / obs-text. White space is let in, since tags with it
        // exist and are still compared octet by octet.
        let allowed = |b: &u8| !b.is_ascii_control() || *b == b'\t';
        opaque.iter().all(allowed).then(|| (Self { weak, opaque }, rest.get(1..).unwrap_or(&[])))
    }
}

/// What `If-Match` or `If-None-Match` lists (RFC 9110 §13.1.1, §13.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntityTags<'a> {
    /// `*`: any representation there is.
    Any,
    /// These.
    List(Vec<EntityTag<'a>>),
}

impl<'a> EntityTags<'a> {
    /// Reads all lines of the field; `None` if any of it is no list of entity tags, if it is empty,
    /// or if `*` has company.
    pub fn parse(values: impl Iterator<Item = &'a HeaderValue>) -> Option<Self> {
        let (mut any, mut tags) = (false, Vec::new());
        for value in values {
            let mut rest = skip_separators(value.as_bytes());
            while !rest.is_empty() {
                let tail = match rest.strip_prefix(b"*") {
                    Some(tail) => {
                        any = true;
                        tail
                    }
                    None => {
                        let (tag, tail) = EntityTag::take(rest)?;
                        tags.push(tag);
                        tail
                    }
                };
                let tail = trim(tail);
                if !tail.is_empty() && !tail.starts_with(b",") {
                    return None;
                }
                rest = skip_separators(tail);
            }
        }
        match (any, tags.is_empty()) {
            (true, true) => Some(Self::Any),
            (false, false) => Some(Self::List(tags)),
            _ => None,
        }
    }

    /// Does any of them match weakly? `*` does.
    pub fn match_weakly(&self, tag: &EntityTag<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => tags.iter().any(|t| t.matches_weakly(tag)),
        }
    }

    /// Does any of them match strongly? `*` does.
    pub fn match_strongly(&self, tag: &EntityTag<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => tags.iter().any(|t| t.matches_strongly(tag)),
        }
    }
}

/// What is left of one line of a list.
struct Line<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Line<'a> {
    type Item = Result<&'a [u8], Unclosed>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let Ok(end) = end_of_member(self.rest) else {
                self.rest = &[];
                return Some(Err(Unclosed));
            };
            let (member, rest) = self.rest.split_at(end);
            self.rest = rest.get(1..).unwrap_or(&[]);
            let member = trim(member);
            // §5.6.1.2: "MUST parse and ignore a reasonable number of empty list elements".
            if !member.is_empty() {
                return Some(Ok(member));
            }
        }
        None
    }
}

/// Where the first member ends: at the first comma outside quotes, or at the end of the line.
fn end_of_member(line: &[u8]) -> Result<usize, Unclosed> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, octet) in line.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return Ok(at),
            _ => {}
        }
    }
    if quoted { Err(Unclosed) } else { Ok(line.len()) }
}

fn skip_separators(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [b' ' | b'\t' | b',', tail @ ..] = rest {
        rest = tail;
    }
    trim(rest)
}

const fn is_tchar(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
        || matches!(
            octet,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// The date with its words in the case that the grammar wants: `GMT`, `Sun`, `Nov`.
fn as_spelled(date: &str) -> String {
    let mut spelled = String::with_capacity(date.len());
    let mut in_word = false;
    for c in date.chars() {
        spelled.push(if in_word { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() });
        in_word = c.is_ascii_alphabetic();
    }
    if spelled.ends_with(" Gmt") {
        spelled.truncate(spelled.len() - 3);
        spelled.push_str("GMT");
    }
    spelled
}

/// `Wednesday, 06-Nov-94 08:49:37 GMT`
const LONGEST_DATE: usize = 33;

/// 9999-12-31 23:59:59, the last moment that a four-digit year can name.
const END_OF_9999: u64 = 253_402_300_799;

const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("http2-settings"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

const NEEDED: [HeaderName; 16] = [
    CACHE_CONTROL,
    HeaderName::from_static("larder-cache-control"),
    HeaderName::from_static("cdn-cache-control"),
    AGE,
    DATE,
    EXPIRES,
    VARY,
    ETAG,
    LAST_MODIFIED,
    SET_COOKIE,
    LOCATION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    HeaderName::from_static("content-location"),
];
