//! The syntax that fields share (RFC 9110 §5.6, §7.6.1, §8.8.3), and the one place that *replaces*
//! a field.
//!
//! | shape | read by | what cannot be read |
//! |---|---|---|
//! | list of anything, quoted strings included | [`members`] | `Err` for the rest of that line |
//! | list of field names | [`names`] | `Err` for that member |
//! | HTTP-date | [`parse_http_date_at`], [`parse_http_date`], [`single_date`] | `None` |
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

/// Reads an HTTP-date where nothing tells what time it is: two-digit years are those from 1970 to
/// 2069. Otherwise as [`parse_http_date_at`].
pub fn parse_http_date(value: &HeaderValue) -> Option<Timestamp> {
    parse_http_date_at(value, END_OF_2019)
}

/// Reads an HTTP-date in any of its three forms (RFC 9110 §5.6.7), in any case (RFC 9111 §4.2).
/// `now`, by whichever clock is nearest to its sender, says which century a two-digit year is of.
///
/// Dates before 1970, on the wrong day of the week, or in a zone other than GMT are none.
pub fn parse_http_date_at(value: &HeaderValue, now: Timestamp) -> Option<Timestamp> {
    let text = std::str::from_utf8(trim(value.as_bytes())).ok()?;
    if text.len() > LONGEST_DATE || !text.is_ascii() {
        return None;
    }
    let mut spelled = as_spelled(text);
    if let Some(full) = with_century(&spelled, now) {
        spelled = full;
    }
    let time = httpdate::parse_http_date(&spelled).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_millis(u64::try_from(since.as_millis()).ok()?))
}

/// The date that a singleton field gives; `None` if it is missing or unreadable, or if its lines
/// contradict each other.
///
/// `now` as for [`parse_http_date_at`]: when the message was received.
pub fn single_date(headers: &HeaderMap, name: &HeaderName, now: Timestamp) -> Option<Timestamp> {
    let mut lines = headers.get_all(name).iter().map(|line| parse_http_date_at(line, now));
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

pub(super) const fn is_tchar(octet: u8) -> bool {
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

/// An rfc850-date as an IMF-fixdate, with the century that it had left out; `None` if it is none.
///
/// RFC 9110 §5.6.7: "MUST interpret a timestamp that appears to be more than 50 years in the future
/// as representing the most recent year in the past that had the same last two digits". So it is
/// the latest year with these digits that is not: that also holds when a century turns.
fn with_century(date: &str, now: Timestamp) -> Option<String> {
    let (day_name, rest) = date.split_once(", ").filter(|(name, _)| DAYS.contains(name))?;
    let (day, rest) = rest.split_once('-')?;
    let (month, rest) = rest.split_once('-')?;
    let (digits, time) = rest.split_once(' ')?;
    let digits: u32 = digits.parse().ok().filter(|_| digits.len() == 2)?;
    let now = format_http_date(now);
    let now = now.to_str().ok()?;
    let (this_day, this_month) = (now.get(5..7)?, now.get(8..11)?);
    let (this_year, this_time) = (now.get(12..16)?.parse::<u32>().ok()?, now.get(17..)?);
    let latest = this_year + 50;
    let mut year = latest - (latest - digits) % 100;
    let later_in_the_year =
        (MONTHS.find(month)?, day, time) > (MONTHS.find(this_month)?, this_day, this_time);
    if year == latest && later_in_the_year {
        year -= 100;
    }
    Some(format!("{}, {day} {month} {year:04} {time}", day_name.get(..3)?))
}

const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// In their order, so that the later one is found further on.
const MONTHS: &str = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";

/// 2019-12-31 23:59:59: fifty years before the first year that 70 does not stand for.
const END_OF_2019: Timestamp = Timestamp::from_millis(1_577_836_799_000);

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(lines: &[&str]) -> Vec<HeaderValue> {
        lines.iter().map(|l| HeaderValue::from_bytes(l.as_bytes()).unwrap()).collect()
    }

    #[test]
    fn a_list_is_split_at_commas_outside_quotes_over_all_lines() {
        type Row<'a> = (&'a [&'a str], &'a [Result<&'a str, Unclosed>]);
        let rows: &[Row<'_>] = &[
            (&[], &[]),
            (&[""], &[]),
            (&[",", " , ,\t,"], &[]),
            (&["a"], &[Ok("a")]),
            (&["a,b", " c ,\td"], &[Ok("a"), Ok("b"), Ok("c"), Ok("d")]),
            (&["foo , ,bar,charlie"], &[Ok("foo"), Ok("bar"), Ok("charlie")]),
            (&[r#"a="x, y",b"#], &[Ok(r#"a="x, y""#), Ok("b")]),
            (&[r#"a="x\", y",b"#], &[Ok(r#"a="x\", y""#), Ok("b")]),
            (&[r#"a="x\\",b"#], &[Ok(r#"a="x\\""#), Ok("b")]),
            (&[r"a\,b"], &[Ok(r"a\"), Ok("b")]),
            (&[r#"a,b="x, c"#, "d"], &[Ok("a"), Err(Unclosed), Ok("d")]),
            (&[r#"a="x\""#], &[Err(Unclosed)]),
        ];
        for (lines, expected) in rows {
            let values = values(lines);
            let split: Vec<_> = members(values.iter()).collect();
            let expected: Vec<_> = expected.iter().map(|m| m.map(str::as_bytes)).collect();
            assert_eq!(split, expected, "{lines:?}");
        }
    }

    #[test]
    fn names_are_split_at_every_comma() {
        let values = values(&["Close, X-A ,\"x-b", "bad name, *"]);
        let read: Vec<_> = names(values.iter()).map(|n| n.map(|n| n.to_string())).collect();
        let ok = |s: &str| Ok(s.to_owned());
        assert_eq!(read, [ok("close"), ok("x-a"), Err(NotAName), Err(NotAName), ok("*")]);
    }

    #[test]
    fn a_quoted_string_says_what_stands_in_it() {
        let rows: &[(&str, Option<&str>)] = &[
            (r#""""#, Some("")),
            (r#""a""#, Some("a")),
            (r#""a\"b""#, Some(r#"a"b"#)),
            (r#""\6\0""#, Some("60")),
            (r#""\\""#, Some(r"\")),
            (r#"""#, None),
            ("", None),
            ("a", None),
            (r#""a"b""#, None),
            (r#""a\""#, None),
            (r#""a" "#, None),
        ];
        for (quoted, said) in rows {
            assert_eq!(unquote(quoted.as_bytes()).as_deref(), said.map(str::as_bytes), "{quoted}");
        }
    }

    #[test]
    fn a_two_digit_year_is_never_more_than_fifty_years_ahead() {
        // Now; what is said; what is meant. The days of the week are those of the year meant.
        for (now, said, meant) in [
            ("2026-01-01", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("1994-11-06", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("2043-11-06", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("2044-11-05", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("2044-11-07", "Saturday, 06-Nov-94 08:49:37 GMT", "Sat, 06 Nov 2094 08:49:37 GMT"),
            ("2094-11-06", "Saturday, 06-Nov-94 08:49:37 GMT", "Sat, 06 Nov 2094 08:49:37 GMT"),
            ("2026-01-01", "Tuesday, 31-Dec-75 00:00:00 GMT", "Tue, 31 Dec 2075 00:00:00 GMT"),
            ("2026-01-01", "Friday, 31-Dec-76 00:00:00 GMT", "Fri, 31 Dec 1976 00:00:00 GMT"),
            ("2098-01-01", "Monday, 01-Jan-01 00:00:00 GMT", "Mon, 01 Jan 2001 00:00:00 GMT"),
            ("2098-01-01", "Saturday, 01-Jan-01 00:00:00 GMT", "Sat, 01 Jan 2101 00:00:00 GMT"),
        ] {
            let days = |text: &str| {
                let mut parts = text.split('-').map(|p| p.parse::<u64>().unwrap());
                let (y, m, d) =
                    (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
                // Days since 1970 in the proleptic Gregorian calendar.
                let (y, m) = if m > 2 { (y, m - 3) } else { (y - 1, m + 9) };
                365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + d - 719_469
            };
            let now = Timestamp::from_millis(days(now) * 86_400_000);
            let value = HeaderValue::from_static(said);
            let read = parse_http_date_at(&value, now).map(format_http_date);
            let other_century = said.starts_with("Monday, 01-Jan-01");
            let expected = (!other_century).then(|| HeaderValue::from_static(meant));
            assert_eq!(read, expected, "{said} at {now:?}");
        }
    }

    #[test]
    fn all_three_forms_of_a_date_are_read() {
        const AT: u64 = 784_111_777_000;
        let rows: &[(&str, Option<u64>)] = &[
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(AT)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(AT)),
            ("Sun Nov  6 08:49:37 1994", Some(AT)),
            ("Sun Nov 06 08:49:37 1994", Some(AT)),
            ("Sun Nov 6 08:49:37 1994", None),
            ("Sun Nov  6 08:49:37 94", None),
            ("Sun, 06-Nov-94 08:49:37 GMT", None),
            ("Sunday, 06-Nov-1994 08:49:37 GMT", None),
            ("Sunday, 06-Nov-94 08:49:37 CET", None),
            ("Sunday, 6-Nov-94 08:49:37 GMT", None),
            ("sun, 06 nov 1994 08:49:37 gmt", Some(AT)),
            ("SUNDAY, 06-NOV-94 08:49:37 GMT", Some(AT)),
            (" Sun, 06 Nov 1994 08:49:37 GMT\t", Some(AT)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(END_OF_9999 * 1000)),
            ("Mon, 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 UTC", None),
            ("Sun, 06 Nov 1994 08:49:37 +0000", None),
            ("Sun, 06 Nov 1994 08:49:60 GMT", None),
            ("Sun, 31 Feb 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 24:00:00 GMT", None),
            ("Wed, 31 Dec 1969 23:59:59 GMT", None),
            ("Sat, 01 Jan 0000 00:00:00 GMT", None),
            ("784111777", None),
            ("0", None),
            ("-1", None),
            ("", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", None),
        ];
        for (text, at) in rows {
            let value = HeaderValue::from_str(text).unwrap();
            assert_eq!(parse_http_date(&value).map(Timestamp::as_millis), *at, "{text}");
        }
    }

    #[test]
    fn a_date_is_written_in_the_preferred_form_and_never_past_its_range() {
        let rows = [
            (784_111_777_999, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        for (at, text) in rows {
            assert_eq!(format_http_date(Timestamp::from_millis(at)), text);
        }
    }

    #[test]
    fn a_singleton_date_with_contradicting_lines_is_none() {
        let (a, b) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT");
        let obsolete = "Sunday, 06-Nov-94 08:49:37 GMT";
        let rows: &[(&[&str], bool)] = &[
            (&[], false),
            (&[a], true),
            (&[a, a], true),
            (&[a, obsolete], true),
            (&[a, b], false),
            (&[a, "0"], false),
            (&["0", a], false),
        ];
        for (lines, readable) in rows {
            let mut headers = HeaderMap::new();
            for value in values(lines) {
                headers.append(DATE, value);
            }
            assert_eq!(single_date(&headers, &DATE, END_OF_2019).is_some(), *readable, "{lines:?}");
        }
    }

    #[test]
    fn what_is_meant_for_one_connection_is_removed() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "Close, X-Private"),
            ("connection", "\"x-quoted, x-second"),
            ("keep-alive", "5"),
            ("proxy-connection", "x"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("x-private", "1"),
            ("x-private", "2"),
            ("x-second", "1"),
            ("x-kept", "1"),
            ("x-kept", "2"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        let left: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
        assert_eq!(left, [("x-kept", &b"1"[..]), ("x-kept", &b"2"[..])]);
    }

    #[test]
    fn entity_tags_compare_as_the_rfc_tabulates() {
        let tag = |s: &'static str| EntityTag::parse(s.as_bytes()).unwrap();
        for (a, b, strong, weak) in [
            (r#"W/"1""#, r#"W/"1""#, false, true),
            (r#"W/"1""#, r#"W/"2""#, false, false),
            (r#"W/"1""#, r#""1""#, false, true),
            (r#""1""#, r#""1""#, true, true),
        ] {
            assert_eq!(tag(a).matches_strongly(&tag(b)), strong, "{a} {b}");
            assert_eq!(tag(a).matches_weakly(&tag(b)), weak, "{a} {b}");
        }
        for bad in ["", "1", r#"w/"1""#, r#"W/1"#, r#""1"#, r#""1"2"#, r#""1", "2""#, "*"] {
            assert_eq!(EntityTag::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn lists_of_entity_tags_are_read_whole_or_not_at_all() {
        let tag = |weak, opaque: &'static str| EntityTag { weak, opaque: opaque.as_bytes() };
        let rows: Vec<(&[&str], Option<EntityTags<'_>>)> = vec![
            (&["*"], Some(EntityTags::Any)),
            (&[" * ,"], Some(EntityTags::Any)),
            (&[r#""a""#], Some(EntityTags::List(vec![tag(false, "a")]))),
            (
                &[r#""a,b" , ,W/"c""#, r#""""#],
                Some(EntityTags::List(vec![tag(false, "a,b"), tag(true, "c"), tag(false, "")])),
            ),
            // A backslash escapes nothing in an entity tag.
            (&[r#""a\","b""#], Some(EntityTags::List(vec![tag(false, r"a\"), tag(false, "b")]))),
            (&[], None),
            (&[""], None),
            (&[r#"*, "a""#], None),
            (&["*", r#""a""#], None),
            (&[r#""a" "b""#], None),
            (&[r#""a"#], None),
            (&["a"], None),
        ];
        for (lines, expected) in rows {
            assert_eq!(EntityTags::parse(values(lines).iter()), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn no_member_ends_inside_quotes(line in r#"[ab,;= \t\\"]{0,40}"#) {
            let value = HeaderValue::from_str(&line).unwrap();
            let mut joined = Vec::new();
            for member in members(std::iter::once(&value)) {
                let Ok(member) = member else { return Ok(()) };
                // Read on its own, a member is one member and all its quotes are closed.
                prop_assert_eq!(end_of_member(member), Ok(member.len()));
                joined.extend_from_slice(member);
            }
            // Nothing but separators is lost.
            let solid = |b: &[u8]| -> Vec<u8> {
                b.iter().copied().filter(|b| !matches!(b, b' ' | b'\t' | b',')).collect()
            };
            prop_assert_eq!(solid(&joined), solid(line.as_bytes()));
        }

        #[test]
        fn a_quoted_member_survives_whatever_it_says(said in r"[ -~]{0,20}") {
            let escaped = said.replace('\\', r"\\").replace('"', r#"\""#);
            let line = format!(r#"a, b="{escaped}", c"#);
            let value = HeaderValue::from_str(&line).unwrap();
            let read: Vec<_> = members(std::iter::once(&value)).collect();
            prop_assert_eq!(read.len(), 3);
            let quoted = read[1].unwrap().strip_prefix(b"b=").unwrap();
            prop_assert_eq!(unquote(quoted).unwrap().into_owned(), said.into_bytes());
        }

        #[test]
        fn nothing_panics_on_any_field_value(
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let _ = members(std::iter::once(&value)).count();
            let _ = names(std::iter::once(&value)).count();
            let _ = parse_http_date(&value);
            let _ = EntityTags::parse(std::iter::once(&value));
            let _ = EntityTag::parse(&bytes);
            let _ = unquote(&bytes);
        }

        #[test]
        fn dates_are_read_as_they_are_written(seconds in 0..=END_OF_9999) {
            let at = Timestamp::from_millis(seconds * 1000);
            prop_assert_eq!(parse_http_date(&format_http_date(at)), Some(at));
        }

        #[test]
        fn almost_dates_do_not_panic(
            day in "(Sun|Sunday|Wed),? [0-9 -]{1,3}[ -](Feb|Nov)[ -][0-9]{2,4}",
            time in " [0-9]{2}:[0-9]{2}:[0-9]{2}( GMT| [0-9]{4})?",
        ) {
            let text = day + &time;
            let _ = parse_http_date(&HeaderValue::from_str(&text).unwrap());
        }
    }
}
