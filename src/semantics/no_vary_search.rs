//! Which parameters of a query tell responses apart (No-Vary-Search, an IETF draft that extends
//! RFC 9111 §4).
//!
//! | `No-Vary-Search` | which parameters count |
//! |---|---|
//! | `params` | none |
//! | `params=("a" "b")` | all but these |
//! | `params, except=("q")` | these alone |
//! | `key-order`, `params=?0`, `params=()` | all: the order of names never counts here |
//! | not a dictionary; a value of another type; `except` without `params` | all |
//!
//! Members that are not known, and all parameters of members, are ignored. Names are compared as
//! form decoding reads them; values are not looked at, so that two spellings of one value are told
//! apart: a miss too many at worst.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use super::structured::{self, BareItem, Value};

/// The field.
pub const NO_VARY_SEARCH: HeaderName = HeaderName::from_static("no-vary-search");

/// Longest rule that is obeyed, in bytes of all its names: a longer one is taken for none.
pub const MAX_RULE: usize = 4096;

/// Which parameters count. Names are decoded, sorted, and each there once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// All but these, of which there is at least one.
    AllBut(Vec<Box<str>>),
    /// These alone.
    Only(Vec<Box<str>>),
}

impl Rule {
    /// What a response says; `None` if all parameters count.
    pub fn of_response(headers: &HeaderMap) -> Option<Self> {
        let text = structured::combined(headers, &NO_VARY_SEARCH)?;
        let members = structured::dictionary(&text)?;
        // "If value["key-order"] is not a boolean, then return the default URL search variance."
        match members.get("key-order") {
            None | Some(Value::Item(BareItem::Boolean(_))) => {}
            Some(_) => return None,
        }
        let except = members.get("except");
        let rule = match (members.get("params")?, except) {
            (Value::Item(BareItem::Boolean(true)), None) => Self::Only(Vec::new()),
            (Value::Item(BareItem::Boolean(true)), Some(list)) => Self::Only(names(list)?),
            // "If value["params"] is not true, then return the default URL search variance."
            (list, None) => Self::AllBut(names(list).filter(|names| !names.is_empty())?),
            (_, Some(_)) => return None,
        };
        (rule.names().iter().map(|name| name.len()).sum::<usize>() <= MAX_RULE).then_some(rule)
    }

    /// Does a parameter of this name, as it is typed in a query, tell responses apart?
    pub fn counts(&self, name: &str) -> bool {
        let name = decoded(name);
        let listed = self.names().binary_search_by(|known| (**known).cmp(&*name)).is_ok();
        match self {
            Self::AllBut(_) => !listed,
            Self::Only(_) => listed,
        }
    }

    /// The names that it lists.
    pub fn names(&self) -> &[Box<str>] {
        match self {
            Self::AllBut(names) | Self::Only(names) => names,
        }
    }
}

fn names(list: &Value<'_>) -> Option<Vec<Box<str>>> {
    let mut names: Vec<Box<str>> =
        list.as_strings()?.into_iter().map(|name| decoded(name).into()).collect();
    names.sort_unstable();
    names.dedup();
    Some(names)
}

/// As application/x-www-form-urlencoded is read: `+` is a space, `%41` is `A`, and what is not
/// UTF-8 is U+FFFD.
fn decoded(name: &str) -> Cow<'_, str> {
    if !name.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(name);
    }
    let spaced = name.replace('+', " ");
    let bytes: Vec<u8> = percent_decode_str(&spaced).collect();
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn rule(field: &str) -> Option<Rule> {
        let value = HeaderValue::from_bytes(field.as_bytes()).ok()?;
        Rule::of_response(&HeaderMap::from_iter([(NO_VARY_SEARCH, value)]))
    }

    fn all_but(names: &[&str]) -> Option<Rule> {
        Some(Rule::AllBut(names.iter().map(|n| (*n).into()).collect()))
    }

    fn only(names: &[&str]) -> Option<Rule> {
        Some(Rule::Only(names.iter().map(|n| (*n).into()).collect()))
    }

    #[test]
    fn the_examples_of_the_draft_are_read_so() {
        for (field, expected) in [
            ("params", only(&[])),
            ("params=?1", only(&[])),
            ("params=(\"a\")", all_but(&["a"])),
            ("params, except=(\"x\")", only(&["x"])),
            ("params, key-order, except=(\"x\")", only(&["x"])),
            ("params, except=()", only(&[])),
            ("params=(\"utm_source\" \"utm_medium\" \"utm_source\")", {
                all_but(&["utm_medium", "utm_source"])
            }),
            ("params=(\"%C3%A9+%E6%B0%97\")", all_but(&["é 気"])),
            ("params=(\"a\");x=1, other=1", all_but(&["a"])),
            ("params=(\"a\";x)", all_but(&["a"])),
            ("params=?0, params", only(&[])),
            // All parameters count.
            ("key-order", None),
            ("key-order=?0", None),
            ("params=?0", None),
            ("params=()", None),
            ("unknown-key", None),
            ("", None),
            // Invalid: as if it were not there.
            ("key-order=\"not a boolean\", params", None),
            ("key-order=(), params", None),
            ("params=\"not a boolean or inner list\"", None),
            ("params=a", None),
            ("params=(not-a-string)", None),
            ("params=(\"a\" 1)", None),
            ("params=(\"a\"), except=(\"x\")", None),
            ("params=(), except=()", None),
            ("params=?0, except=(\"x\")", None),
            ("params, except=(not-a-string)", None),
            ("params, except=\"not an inner list\"", None),
            ("params, except=?1", None),
            ("except=(\"x\")", None),
            ("except=()", None),
            ("params,", None),
            ("params=(\"é\")", None),
            ("Params", None),
        ] {
            assert_eq!(rule(field), expected, "{field}");
        }
        assert_eq!(Rule::of_response(&HeaderMap::new()), None);
        let long = format!("params=(\"{}\")", "x".repeat(MAX_RULE));
        assert!(rule(&long).is_some());
        assert_eq!(rule(&long.replacen('x', "xx", 1)), None);
    }

    #[test]
    fn names_are_compared_as_form_decoding_reads_them() {
        for (field, name, counts) in [
            ("params", "a", false),
            ("params", "", false),
            ("params=(\"a\")", "a", false),
            ("params=(\"a\")", "%61", false),
            ("params=(\"%61\")", "a", false),
            ("params=(\"a\")", "A", true),
            ("params=(\"a\")", "ab", true),
            ("params=(\"a b\")", "a+b", false),
            ("params=(\"a+b\")", "a%20b", false),
            ("params=(\"a+b\")", "a%2Bb", true),
            ("params=(\"%C3%A9+%E6%B0%97\")", "%c3%a9%20%e6%b0%97", false),
            ("params=(\"%ef%bf%bd\")", "%f6", false),
            ("params=(\"%\")", "%", false),
            ("params, except=(\"q\")", "q", true),
            ("params, except=(\"q\")", "%71", true),
            ("params, except=(\"q\")", "p", false),
        ] {
            assert_eq!(rule(field).unwrap().counts(name), counts, "{field} {name}");
        }
    }

    proptest! {
        #[test]
        fn what_an_origin_lists_is_found_however_a_query_spells_it(
            listed in proptest::collection::vec("[a-z é%+]{0,4}", 1..5),
        ) {
            let spelt = |name: &str, plain: bool| name.bytes().map(|b| match b {
                b'a'..=b'z' if plain => char::from(b).to_string(),
                b' ' if plain => "+".to_owned(),
                _ => format!("%{b:02X}"),
            }).collect::<String>();
            let list = listed.iter().map(|n| format!("\"{}\"", spelt(n, true)));
            let list = list.collect::<Vec<_>>().join(" ");
            let (but, only) = (rule(&format!("params=({list})")), rule(&format!("params, except=({list})")));
            for name in &listed {
                for plain in [true, false] {
                    prop_assert!(!but.as_ref().unwrap().counts(&spelt(name, plain)));
                    prop_assert!(only.as_ref().unwrap().counts(&spelt(name, plain)));
                }
            }
        }

        #[test]
        fn no_field_panics(field in r#"(params|except|key-order|[a-z(\)"%=?01, ;]){0,12}"#, name in any::<String>()) {
            if let Some(rule) = rule(&field) {
                let _ = rule.counts(&name);
            }
        }
    }
}
