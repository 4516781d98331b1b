//! The query, made canonical: equal requests get equal bytes, and these bytes are what the origin
//! is sent.
//!
//! | typed | rule | canonical | because |
//! |---|---|---|---|
//! | (none), `?`, `?&` | any | none | nothing is asked; a lone `?` is taken as no query at all |
//! | `b=1&a=2` | all | `a=2&b=1` | order between names never matters |
//! | `a=2&b=0&a=1` | all | `a=2&a=1&b=0` | among those of one name it does |
//! | `a&a=` | all | `a&a=` | both are kept as typed |
//! | `a=%41`, `a=A` | all | as typed | values are compared raw: the origin may tell them apart |
//! | `ab=2&a%62=1` | all | as typed | one name to an origin that decodes, so their order is kept |
//! | `utm_source=x&q=1` | ignore `utm_*` | `q=1` | what does not count is not sent |
//! | `%75tm_source=x` | ignore `utm_*` | none | patterns see the name as the origin decodes it |
//! | `a=1;b=2` | any | as typed | only `&` separates: `;` belongs to the value |
//!
//! A gateway may rewrite the query (RFC 9110 §7.7 binds proxies that clients choose). It has to: if
//! two requests shared a key and the origin saw different bytes, one client could plant its answer
//! for another.

use std::borrow::Cow;
use std::cmp::Ordering;

use percent_encoding::percent_decode_str;

use crate::config::QueryRule;

/// The canonical form of a query (without its `?`), `None` if no parameter counts. Idempotent.
/// Allocates only if something has to be dropped or moved.
pub fn canonical<'q>(rule: &QueryRule, query: Option<&'q str>) -> Option<Cow<'q, str>> {
    let query = query?;
    if is_canonical(rule, query) {
        return Some(Cow::Borrowed(query));
    }
    let mut kept: Vec<&'q str> =
        query.split('&').filter(|p| !p.is_empty() && counts(rule, name(p))).collect();
    kept.sort_by(|a, b| order(name(a), name(b)));
    match kept[..] {
        [] => None,
        [one] => Some(Cow::Borrowed(one)),
        _ => Some(Cow::Owned(kept.join("&"))),
    }
}

fn is_canonical(rule: &QueryRule, query: &str) -> bool {
    let mut previous = None;
    query.split('&').all(|parameter| {
        let name = name(parameter);
        let before = previous.replace(name);
        !parameter.is_empty()
            && counts(rule, name)
            && before.is_none_or(|before| order(before, name) != Ordering::Greater)
    })
}

/// The name of a parameter, as typed.
fn name(parameter: &str) -> &str {
    parameter.split_once('=').map_or(parameter, |(name, _)| name)
}

/// Is a parameter of this name part of the key?
fn counts(rule: &QueryRule, name: &str) -> bool {
    let listed = |patterns: &[Box<str>]| patterns.iter().any(|pattern| matches(pattern, name));
    match rule {
        QueryRule::All => true,
        QueryRule::Ignore(patterns) => !listed(patterns),
        QueryRule::Only(patterns) => listed(patterns),
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => decoded(name).take(start.len()).eq(start.bytes()),
        None => decoded(name).eq(pattern.bytes()),
    }
}

/// By decoded name: names that the origin takes for one compare equal, and a stable sort leaves
/// their parameters in the order in which they came.
fn order(a: &str, b: &str) -> Ordering {
    let is_plain = |name: &str| !name.bytes().any(|byte| matches!(byte, b'%' | b'+'));
    if is_plain(a) && is_plain(b) { a.cmp(b) } else { decoded(a).cmp(decoded(b)) }
}

/// A name as form decoding reads it: `+` is a space, `%41` is `A`.
fn decoded(name: &str) -> impl Iterator<Item = u8> + '_ {
    name.split('+').enumerate().flat_map(|(at, piece)| {
        let space = (at > 0).then_some(b' ');
        space.into_iter().chain(percent_decode_str(piece))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ignore(patterns: &[&str]) -> QueryRule {
        QueryRule::Ignore(patterns.iter().map(|p| (*p).into()).collect())
    }

    fn only(patterns: &[&str]) -> QueryRule {
        QueryRule::Only(patterns.iter().map(|p| (*p).into()).collect())
    }

    #[test]
    fn each_row_of_the_table_holds() {
        let utm = ignore(&["utm_*"]);
        for (rule, typed, expected) in [
            (&QueryRule::All, "", None),
            (&QueryRule::All, "&", None),
            (&QueryRule::All, "b=1&a=2", Some("a=2&b=1")),
            (&QueryRule::All, "a=2&b=0&a=1", Some("a=2&a=1&b=0")),
            (&QueryRule::All, "a&a=", Some("a&a=")),
            (&QueryRule::All, "a=%41", Some("a=%41")),
            (&QueryRule::All, "a=1&&b=2&", Some("a=1&b=2")),
            (&QueryRule::All, "ab=2&a%62=1", Some("ab=2&a%62=1")),
            (&QueryRule::All, "b=1&%61=2", Some("%61=2&b=1")),
            (&QueryRule::All, "a+b=1&a%20b=0", Some("a+b=1&a%20b=0")),
            (&QueryRule::All, "b=1;a=2", Some("b=1;a=2")),
            (&QueryRule::All, "=x", Some("=x")),
            (&utm, "utm_source=x&q=1", Some("q=1")),
            (&utm, "%75tm_source=x", None),
            (&utm, "utm=1", Some("utm=1")),
            (&utm, "q=utm_source", Some("q=utm_source")),
            (&ignore(&["*"]), "a=1&b", None),
            (&ignore(&["a b"]), "a+b=1&a%2Bb=2", Some("a%2Bb=2")),
            (&only(&["q", "page*"]), "x=1&page_size=2&q=3&qq=4", Some("page_size=2&q=3")),
            (&only(&["q"]), "%71=1", Some("%71=1")),
            (&only(&[]), "a=1", None),
        ] {
            assert_eq!(canonical(rule, Some(typed)).as_deref(), expected, "{typed} by {rule:?}");
        }
        assert_eq!(canonical(&QueryRule::All, None), None);
    }

    #[test]
    fn what_is_canonical_already_is_not_copied() {
        for query in ["a=1", "a=1&b=2", "a=2&a=1", "x"] {
            let found = canonical(&QueryRule::All, Some(query));
            assert!(matches!(found, Some(Cow::Borrowed(_))), "{query}");
        }
        let found = canonical(&ignore(&["utm_*"]), Some("utm_x=1&a=1"));
        assert!(matches!(found, Some(Cow::Borrowed("a=1"))));
    }

    fn rules() -> impl Strategy<Value = QueryRule> {
        prop_oneof![
            Just(QueryRule::All),
            Just(ignore(&["b*"])),
            Just(ignore(&["a", ""])),
            Just(only(&["a", "b"])),
        ]
    }

    proptest! {
        #[test]
        fn twice_is_the_same_as_once(rule in rules(), query in "[ab%+=&;61]{0,12}") {
            let once = canonical(&rule, Some(&query)).map(Cow::into_owned);
            let twice = canonical(&rule, once.as_deref()).map(Cow::into_owned);
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn nothing_is_invented_and_nothing_that_counts_is_lost(
            rule in rules(),
            query in "[ab%+=&;61]{0,12}",
        ) {
            let found = canonical(&rule, Some(&query)).unwrap_or_default().into_owned();
            let counted = |text: &str| {
                let mut list: Vec<String> = text
                    .split('&')
                    .filter(|p| !p.is_empty() && counts(&rule, name(p)))
                    .map(str::to_owned)
                    .collect();
                list.sort();
                list
            };
            prop_assert_eq!(counted(&query), counted(&found));
            let kept = found.split('&').filter(|p| !p.is_empty()).count();
            prop_assert_eq!(kept, counted(&found).len());
        }

        #[test]
        fn order_matters_among_parameters_of_one_name_only(
            parameters in prop::collection::vec(("[abc]", "[0-9]"), 1..8),
            seed in prop::collection::vec(any::<u32>(), 8),
        ) {
            let text = |list: &[(String, String)]| {
                list.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&")
            };
            // Deal the names out in another order; each takes its own values from the front.
            let mut names: Vec<(u32, &String)> =
                seed.iter().copied().zip(parameters.iter().map(|(n, _)| n)).collect();
            names.sort_by_key(|(at, _)| *at);
            let mut left = parameters.clone();
            let moved: Vec<(String, String)> = names
                .iter()
                .map(|(_, name)| {
                    let at = left.iter().position(|(n, _)| n == *name).unwrap();
                    left.remove(at)
                })
                .collect();
            let (here, there) = (text(&parameters), text(&moved));
            prop_assert_eq!(
                canonical(&QueryRule::All, Some(&here)),
                canonical(&QueryRule::All, Some(&there))
            );
            for name in ["a", "b", "c"] {
                let of = |text: &str| {
                    text.split('&').filter(|p| p.starts_with(name)).collect::<Vec<_>>().join("&")
                };
                let found = canonical(&QueryRule::All, Some(&here)).unwrap();
                prop_assert_eq!(of(&here), of(&found));
            }
        }
    }
}
