//! Groups of responses that are invalidated together (RFC 9875).
//!
//! | field | on | says |
//! |---|---|---|
//! | `Cache-Groups: "a", "b"` | any response | which groups it belongs to |
//! | `Cache-Group-Invalidation: "a"` | the response to an unsafe request | which groups that changed |
//!
//! | what is sent | is taken as |
//! |---|---|
//! | no list, or a member that is not a String | not sent (RFC 9651 §2.2, §4.2) |
//! | parameters | not there ("Unrecognised Parameters are to be ignored") |
//! | the same group twice | sent once |
//! | more than [`MAX_GROUPS`], or one longer than [`MAX_GROUP`] | [`GroupFault`]: never shortened |
//!
//! Groups are of one origin: who uses these texts must join the origin to them (§2.1). What the
//! fields say to this cache they say to all others on the way: both are passed on.

use std::collections::HashSet;

use http::{HeaderMap, HeaderName};

use super::structured;

/// Groups that a response belongs to (§2).
pub const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

/// Groups that a response invalidates (§3).
pub const CACHE_GROUP_INVALIDATION: HeaderName =
    HeaderName::from_static("cache-group-invalidation");

/// Most groups in a field. §2: "Implementations MUST support at least 32 groups in a field value,
/// with up to at least 32 characters in each member."
pub const MAX_GROUPS: usize = 128;

/// Longest group, in characters.
pub const MAX_GROUP: usize = 256;

/// Why the groups of a field cannot all be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupFault {
    /// More than [`MAX_GROUPS`].
    #[error("more than {MAX_GROUPS} groups")]
    TooMany,
    /// Longer than [`MAX_GROUP`].
    #[error("a group is longer than {MAX_GROUP} characters")]
    TooLong,
}

/// The groups that a response belongs to, each once, in the order sent; `None` if it does not say:
/// the field is missing or as good as missing.
///
/// # Errors
/// They do not all fit: an entry that lacked one would outlive that group's invalidation.
pub fn of_response(headers: &HeaderMap) -> Result<Option<Vec<Box<str>>>, GroupFault> {
    let Some(groups) = strings(headers, &CACHE_GROUPS) else { return Ok(None) };
    if groups.iter().any(|group| group.len() > MAX_GROUP) {
        return Err(GroupFault::TooLong);
    }
    if groups.len() > MAX_GROUPS { Err(GroupFault::TooMany) } else { Ok(Some(groups)) }
}

/// The groups that a response to an unsafe request invalidates, each once. One that is longer than
/// [`MAX_GROUP`] is left out: nothing that is stored belongs to it.
///
/// §3: "The Cache-Group-Invalidation header field MUST be ignored on responses to requests that
/// have a safe method": only ask for others.
///
/// # Errors
/// More than [`MAX_GROUPS`].
pub fn invalidated(headers: &HeaderMap) -> Result<Vec<Box<str>>, GroupFault> {
    let mut groups = strings(headers, &CACHE_GROUP_INVALIDATION).unwrap_or_default();
    groups.retain(|group| group.len() <= MAX_GROUP);
    if groups.len() > MAX_GROUPS { Err(GroupFault::TooMany) } else { Ok(groups) }
}

/// A "List of Strings"; `None` if it is missing or is none. RFC 9651 §2.2: "When field-specific
/// constraints are violated, the entire field is also ignored".
fn strings(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<Box<str>>> {
    let text = structured::combined(headers, name)?;
    let members = structured::list(&text)?;
    let mut seen = HashSet::new();
    let mut strings: Vec<Box<str>> = Vec::new();
    for member in &members {
        let string = member.value.as_string()?;
        if seen.insert(string) {
            strings.push(string.into());
        }
    }
    Some(strings)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        let value = |line: &&str| (name.clone(), HeaderValue::from_bytes(line.as_bytes()).unwrap());
        lines.iter().map(value).collect()
    }

    fn groups(lines: &[&str]) -> Result<Option<Vec<String>>, GroupFault> {
        let found = of_response(&headers(&CACHE_GROUPS, lines))?;
        Ok(found.map(|all| all.iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn a_list_of_strings_is_read_and_anything_else_is_not_there() {
        for (lines, expected) in [
            (&["\"scripts\""][..], Some(&["scripts"][..])),
            (
                &["\"eurovision-results\", \"australia\""],
                Some(&["eurovision-results", "australia"]),
            ),
            (&["\"a\"", "\"b\""], Some(&["a", "b"])),
            (&["\"a\", \"A\", \"a\""], Some(&["a", "A"])),
            (&["\"a\";x=1;y, \"b\""], Some(&["a", "b"])),
            (&["\"a, \\\"b\\\"\", \"\", \" \""], Some(&["a, \"b\"", "", " "])),
            (&[""], Some(&[])),
            (&[], None),
            (&["scripts"], None),
            (&["\"a\", b"], None),
            (&["\"a\", (\"b\")"], None),
            (&["\"a\", 1"], None),
            (&["\"a\", ?1"], None),
            (&["\"a\","], None),
            (&["\"a"], None),
            (&["\"a\" \"b\""], None),
            (&["\"\u{fc}\""], None),
            (&["%\"%c3%bc\""], None),
            (&["\"a\"", "b"], None),
        ] {
            let expected = expected.map(|all| all.iter().map(ToString::to_string).collect());
            assert_eq!(groups(lines), Ok(expected), "{lines:?}");
        }
    }

    #[test]
    fn at_least_32_of_32_characters_fit_and_what_does_not_is_said() {
        let many = |count: usize, length: usize| {
            let each = (0..count).map(|n| format!("\"{n:0length$}\""));
            each.collect::<Vec<_>>().join(", ")
        };
        for (count, length, expected) in [
            (32, 32, Ok(32)),
            (MAX_GROUPS, MAX_GROUP, Ok(MAX_GROUPS)),
            (MAX_GROUPS + 1, 4, Err(GroupFault::TooMany)),
            (1, MAX_GROUP + 1, Err(GroupFault::TooLong)),
        ] {
            let found = groups(&[&many(count, length)]).map(|all| all.unwrap().len());
            assert_eq!(found, expected, "{count} of {length}");
        }
        let twice = format!("{0}, {0}", many(MAX_GROUPS, 4));
        assert_eq!(groups(&[&twice]).map(|all| all.unwrap().len()), Ok(MAX_GROUPS));

        let told = |text: &str| invalidated(&headers(&CACHE_GROUP_INVALIDATION, &[text]));
        assert_eq!(told(&many(MAX_GROUPS, 4)).map(|all| all.len()), Ok(MAX_GROUPS));
        assert_eq!(told(&many(MAX_GROUPS + 1, 4)), Err(GroupFault::TooMany));
        assert_eq!(told(&format!("\"a\", {}", many(1, 257))), Ok(vec!["a".into()]));
        assert_eq!(told("a"), Ok(vec![]));
        assert_eq!(invalidated(&HeaderMap::new()), Ok(vec![]));
    }

    #[test]
    fn the_two_fields_are_not_mistaken_for_each_other() {
        assert_eq!(of_response(&headers(&CACHE_GROUP_INVALIDATION, &["\"a\""])), Ok(None));
        assert_eq!(invalidated(&headers(&CACHE_GROUPS, &["\"a\""])), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn every_group_that_can_be_written_is_read(
            sent in proptest::collection::vec("[ -~]{0,12}", 0..8),
        ) {
            let quoted = sent.iter().map(|g| {
                format!("\"{}\"", g.replace('\\', "\\\\").replace('"', "\\\""))
            });
            let text = quoted.collect::<Vec<_>>().join(", ");
            let found = groups(&[&text]).unwrap().unwrap();
            prop_assert!(sent.iter().all(|group| found.contains(group)));
            prop_assert!(found.iter().all(|group| sent.contains(group)));
        }
    }
}
