//! Keys of routes whose origin says which query parameters count (`No-Vary-Search`).
//!
//! A request's key is made before its response is known, so it is made by the rule that the path
//! gave last. The rule itself is part of such a key: what is found under it was stored because a
//! response stated this very rule, and no plain key, nor one by another rule, is like it.

use std::borrow::Cow;

use http::Uri;

use super::{Digest, FORMAT, Key, Kind, Parts, position_bytes};
use crate::semantics::no_vary_search::Rule;

/// What stands for "this path, whatever its query" where rules are remembered: route, namespace
/// and its version, scheme, host and path.
pub fn path_digest(key: &Key, uri: &Uri) -> Digest {
    let mut parts = Parts::with_capacity(key.route.len() + uri.path().len());
    parts.push(Kind::Route, key.route.as_bytes());
    parts.push(Kind::Namespace, key.namespace.as_bytes());
    parts.push(Kind::Version, &position_bytes(key.version));
    parts.push(Kind::Scheme, uri.scheme_str().unwrap_or_default().as_bytes());
    parts.push(Kind::Authority, uri.authority().map_or("", |a| a.as_str()).as_bytes());
    parts.push(Kind::Path, uri.path().as_bytes());
    Digest::of(&parts.0)
}

impl Key {
    /// This primary key by a rule: with what the rule leaves of `query` (canonical, as the key has
    /// it) in its place, and the rule at its end. `None` if this is not a primary key.
    pub fn by_rule(&self, rule: &Rule, query: Option<&str>) -> Option<Self> {
        let reduced = query.and_then(|query| reduced(rule, query));
        let mut parts = Parts(Vec::with_capacity(self.full.len() + 64));
        parts.0.push(FORMAT);
        let mut rest = self.full.strip_prefix(&[FORMAT])?;
        while let Some((kind, part, behind)) = split(rest) {
            if kind != Kind::Query as u8 {
                parts.0.extend_from_slice(part);
            }
            if let (true, Some(query)) = (kind == Kind::Path as u8, &reduced) {
                parts.push(Kind::Query, query.as_bytes());
            }
            rest = behind;
        }
        parts.push(Kind::NoVarySearch, &written(rule));
        rest.is_empty().then(|| Self::of(parts, &self.route, &self.namespace, self.version))
    }
}

/// The parameters that count, in their order; `None` if none does.
fn reduced<'q>(rule: &Rule, query: &'q str) -> Option<Cow<'q, str>> {
    let name = |parameter: &'q str| parameter.split_once('=').map_or(parameter, |(name, _)| name);
    let kept: Vec<&str> =
        query.split('&').filter(|p| !p.is_empty() && rule.counts(name(p))).collect();
    match kept[..] {
        [] => None,
        [one] => Some(Cow::Borrowed(one)),
        _ => Some(Cow::Owned(kept.join("&"))),
    }
}

/// What tells a rule from all others: its kind, and each name behind its length.
fn written(rule: &Rule) -> Vec<u8> {
    let mut bytes = vec![match rule {
        Rule::AllBut(_) => b'-',
        Rule::Only(_) => b'+',
    }];
    for name in rule.names() {
        bytes.extend_from_slice(&name.len().to_be_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes
}

/// The first part of a key's text: its kind, all its bytes, and what follows them.
fn split(text: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, mut rest) = text.split_first()?;
    let (mut length, mut shift) = (0_usize, 0_u32);
    loop {
        let (byte, behind) = rest.split_first()?;
        rest = behind;
        length |= usize::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let end = (text.len() - rest.len()).checked_add(length)?;
    let (part, behind) = text.split_at_checked(end)?;
    Some((*kind, part, behind))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;
    use crate::config::KeyRules;
    use crate::key::Place;
    use crate::ledger::Position;

    fn plain(target: &str) -> (Key, Uri) {
        let uri: Uri = format!("http://h.test{target}").parse().unwrap();
        let (route, namespace) = (Arc::from("r"), Arc::from("n"));
        let place = Place {
            route: &route,
            namespace: &namespace,
            version: Position { millis: 7, sequence: 0 },
            tags: [3; 8],
        };
        let rules =
            KeyRules { headers: vec![HeaderName::from_static("x-a")], ..KeyRules::default() };
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static("x-a"),
            HeaderValue::from_static(
                "a field that is longer than one hundred and twenty-eight bytes, \
                so that its length takes two bytes in the key, and not one alone as others do",
            ),
        )]);
        (Key::primary(&place, &rules, &uri, &headers), uri)
    }

    fn keyed(rule: &Rule, target: &str) -> Key {
        let (key, uri) = plain(target);
        key.by_rule(rule, uri.query()).unwrap()
    }

    fn all_but(names: &[&str]) -> Rule {
        Rule::AllBut(names.iter().map(|n| (*n).into()).collect())
    }

    fn only(names: &[&str]) -> Rule {
        Rule::Only(names.iter().map(|n| (*n).into()).collect())
    }

    #[test]
    fn queries_that_differ_in_what_does_not_count_share_a_key() {
        for (rule, one, other, share) in [
            (all_but(&["a"]), "/p?a=1&b=2", "/p?a=2&b=2", true),
            (all_but(&["a"]), "/p?a=1", "/p", true),
            (all_but(&["a"]), "/p?%61=1&a=2", "/p", true),
            (all_but(&["a"]), "/p?a=1&b=2", "/p?a=1&b=3", false),
            (all_but(&["a"]), "/p?b=1", "/p?b", false),
            (all_but(&["a"]), "/p?b=%41", "/p?b=A", false),
            (all_but(&["a"]), "/p?a", "/q?a", false),
            (only(&["q"]), "/p?a=1&q=x", "/p?q=x&z", true),
            (only(&["q"]), "/p?q=x", "/p?q=y", false),
            (only(&["q"]), "/p?q=x&q=y", "/p?q=y&q=x", false),
            (only(&[]), "/p?q=x", "/p", true),
        ] {
            let same = keyed(&rule, one) == keyed(&rule, other);
            assert_eq!(same, share, "{rule:?}: {one} {other}");
        }
    }

    #[test]
    fn no_key_by_a_rule_is_a_plain_one_or_one_by_another_rule() {
        let rules = [
            all_but(&["a"]),
            all_but(&["a", "b"]),
            all_but(&["ab"]),
            only(&[]),
            only(&["a"]),
            only(&["q"]),
        ];
        for (at, rule) in rules.iter().enumerate() {
            for target in ["/p", "/p?a=1", "/p?q=1"] {
                assert_ne!(keyed(rule, target).full, plain(target).0.full);
                assert_ne!(keyed(rule, target).full, plain("/p").0.full);
                for other in &rules[..at] {
                    assert_ne!(keyed(rule, target), keyed(other, target), "{rule:?} {other:?}");
                }
            }
        }
        let (variant, uri) = plain("/p?a");
        let text = Parts(variant.full[..variant.full.len() - 1].to_vec());
        let cut = Key::of(text, &variant.route, &variant.namespace, variant.version);
        assert_eq!(cut.by_rule(&only(&[]), uri.query()), None, "half a key is none");
    }

    #[test]
    fn a_path_is_remembered_whatever_its_query() {
        let digest = |target: &str| {
            let (key, uri) = plain(target);
            path_digest(&key, &uri)
        };
        assert_eq!(digest("/p?a=1"), digest("/p?b"));
        assert_ne!(digest("/p"), digest("/q"));
    }

    proptest! {
        #[test]
        fn two_queries_share_a_key_only_if_the_same_parameters_are_left(
            one in "[ab=&%1]{0,8}", other in "[ab=&%1]{0,8}",
            names in proptest::collection::btree_set("[ab1]{0,2}", 0..3), but: bool,
        ) {
            let names: Vec<Box<str>> = names.into_iter().map(Into::into).collect();
            let rule = if but { Rule::AllBut(names) } else { Rule::Only(names) };
            let left = |query: &str| {
                let kept = query.split('&').filter(|p| {
                    !p.is_empty() && rule.counts(p.split('=').next().unwrap())
                });
                kept.map(ToOwned::to_owned).collect::<Vec<_>>()
            };
            let same = keyed(&rule, &format!("/p?{one}")) == keyed(&rule, &format!("/p?{other}"));
            prop_assert_eq!(same, left(&one) == left(&other));
        }
    }
}
