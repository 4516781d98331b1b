//! Groups with the origin that they belong to (RFC 9875 §2.1).

use http::{HeaderMap, Uri};

use crate::ledger::name::Name;
use crate::semantics::groups;

/// What the response to an unsafe request for `target` invalidates by its
/// `Cache-Group-Invalidation`, whatever its status: the origin says so in so many words.
///
/// More groups than can be counted are taken for all that the origin has: an invalidation is never
/// shortened. `target`: absolute, its authority canonical; without one there is no origin, and
/// nothing is named.
pub fn written(target: &Uri, answer: &HeaderMap) -> Vec<Name> {
    // §2.1: "They both share the same URI origin". Other than a write's paths, groups do not reach
    // entries under another host: who else uses the same text is not known. As everywhere in the
    // ledger the scheme does not count; behind a proxy that ends TLS the same resource has two.
    let Some(authority) = target.authority() else { return Vec::new() };
    match groups::invalidated(answer) {
        Ok(named) => named.iter().map(|group| Name::group(authority.as_str(), group)).collect(),
        Err(_) => vec![Name::Prefix(format!("//{authority}/").into())],
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::ledger::name::Belongs;

    fn names(target: &str, field: &str) -> Vec<String> {
        let value = HeaderValue::from_str(field).unwrap();
        let answer = HeaderMap::from_iter([(groups::CACHE_GROUP_INVALIDATION, value)]);
        written(&target.parse().unwrap(), &answer).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_group_is_named_with_its_origin() {
        for (target, field, expected) in [
            ("http://h.test/p", "\"a\", \"b c\"", &["group://h.test/a", "group://h.test/b c"][..]),
            ("https://h.test/p", "\"a\"", &["group://h.test/a"]),
            ("http://h.test:81/p", "\"/a\"", &["group://h.test:81//a"]),
            ("http://[::1]/p", "\"\"", &["group://[::1]/"]),
            ("http://h.test/p", "a", &[]),
            ("/p", "\"a\"", &[]),
        ] {
            assert_eq!(names(target, field), expected, "{target} {field}");
        }
    }

    #[test]
    fn more_groups_than_can_be_counted_are_all_that_the_origin_has() {
        let many = (0..=groups::MAX_GROUPS).map(|n| format!("\"{n}\""));
        let field = many.collect::<Vec<_>>().join(", ");
        assert_eq!(names("http://h.test/p", &field), ["prefix://h.test/"]);
    }

    #[test]
    fn what_a_write_names_reaches_the_entries_of_its_origin_and_no_others() {
        let of = |url: &str, group: &str| Belongs::of("", url, &[""; 0], &[group]);
        let name = written(
            &"http://h.test/p".parse().unwrap(),
            &HeaderMap::from_iter([(
                groups::CACHE_GROUP_INVALIDATION,
                HeaderValue::from_static("\"a\""),
            )]),
        );
        let digest = name[0].digest();
        assert!(of("//h.test/x?y", "a").names.contains(&digest));
        for (url, group) in
            [("//g.test/x", "a"), ("//h.test:81/x", "a"), ("//h.test/x", "A"), ("//h.test/a/x", "")]
        {
            assert!(!of(url, group).names.contains(&digest), "{url} {group}");
        }
    }
}
