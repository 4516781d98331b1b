//! Surrogate keys: by which names an entry can be purged besides its place.
//!
//! | source | for example | gives |
//! |---|---|---|
//! | the route's template | `product:{id}` | `product:7` |
//! | a place in the JSON content | `product:{$.items[*].id}` | one per item |
//! | `Surrogate-Key`, `xkey` | `product:7 product:8` | split at blanks |
//! | `Cache-Tag`, `Cache-Tags` | `product:7, product:8` | split at commas |
//!
//! Doubles are dropped, the order is kept. **A list is whole or refused, never shortened**: each
//! tag is a promise that its purge reaches the entry. An entry that lost one would outlive an
//! invalidation that was acknowledged, so a response whose tags do not fit is served and not
//! stored.

use std::collections::HashSet;
use std::fmt::Write as _;

use http::HeaderMap;
use serde_json::Value;

use crate::config::captures::Captures;
use crate::config::template::{JsonPath, JsonStep, Part, Template};
use crate::semantics::groups::GroupFault;

/// Longest tag, in bytes.
pub const MAX_TAG: usize = 256;

/// The response fields that carry tags, and what stands between two of them.
const FIELDS: [(&str, &[char]); 4] = [
    ("surrogate-key", &[' ', '\t']),
    ("cache-tag", &[',']),
    ("cache-tags", &[',']),
    ("xkey", &[' ', '\t']),
];

/// Why a response's tags cannot be kept, so that it must not be stored; or why a text is no tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagFault {
    /// More than the route's `max_tags`.
    #[error("more than {0} tags")]
    TooMany(usize),
    /// Longer than [`MAX_TAG`].
    #[error("a tag is longer than {MAX_TAG} bytes")]
    TooLong,
    /// A control character, or bytes that are not UTF-8.
    #[error("a tag contains a control character or is not UTF-8")]
    Unreadable,
    /// No text at all.
    #[error("a tag is empty")]
    Empty,
    /// Two parts of one template go through lists, and which item belongs to which is anybody's
    /// guess.
    #[error("a tag template has more than one part with [*]")]
    Crossed,
    /// The groups that it belongs to, which are kept with its tags.
    #[error(transparent)]
    Groups(#[from] GroupFault),
}

/// All tags of a response: from the route's templates, then from its fields.
pub fn of_response(
    templates: &[Template],
    captures: &Captures,
    json: Option<&Value>,
    headers: &HeaderMap,
    max_tags: usize,
) -> Result<Vec<Box<str>>, TagFault> {
    let mut tags = Tags::new(max_tags);
    tags.add_templates(templates, captures, json)?;
    tags.add_fields(headers)?;
    Ok(tags.list)
}

/// Tags from a route's templates.
///
/// A place in the JSON content gives text for a string, a number or a boolean, and nothing for an
/// object, an array or null; a template of which any part gives nothing gives no tag. One part of
/// a template may go through lists with `[*]` and makes a tag for each item; all its other parts
/// have one value. Integers beyond 64 bits lose digits: an API that has such identifiers sends
/// them as strings.
///
/// `json` is the whole content, or `None` if it is not JSON.
pub fn from_templates(
    templates: &[Template],
    captures: &Captures,
    json: Option<&Value>,
    max_tags: usize,
) -> Result<Vec<Box<str>>, TagFault> {
    let mut tags = Tags::new(max_tags);
    tags.add_templates(templates, captures, json)?;
    Ok(tags.list)
}

/// Does any of them look into the content? Then a response is stored only if its content could be
/// read: whole, and without a content coding.
pub fn needs_json(templates: &[Template]) -> bool {
    templates.iter().flat_map(|t| &t.parts).any(|part| matches!(part, Part::Json(_)))
}

/// What tells a route's rules for tags from others. Part of the key: when the rules change, entries
/// that the new tags do not reach must not be found any more.
pub fn stamp(templates: &[Template], max_tags: usize) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    for template in templates {
        let text = template.to_string();
        hasher.update(&text.len().to_be_bytes()).update(text.as_bytes());
    }
    hasher.update(&max_tags.to_be_bytes());
    let mut stamp = [0; 8];
    hasher.finalize_xof().fill(&mut stamp);
    stamp
}

/// Tags that the origin sent along.
pub fn from_headers(headers: &HeaderMap, max_tags: usize) -> Result<Vec<Box<str>>, TagFault> {
    let mut tags = Tags::new(max_tags);
    tags.add_fields(headers)?;
    Ok(tags.list)
}

/// Takes the fields that carry tags out of a response on its way to a client: they are meant for
/// caches, may be long, and tell how the origin's data hangs together.
pub fn strip(headers: &mut HeaderMap) {
    // Most responses have none of them, and a look at the names is less than a search for each.
    if headers.keys().any(|name| FIELDS.iter().any(|(field, _)| name == field)) {
        for (field, _) in &FIELDS {
            headers.remove(*field);
        }
    }
}

/// May this text be a tag?
pub fn check(tag: &str) -> Result<(), TagFault> {
    if tag.is_empty() {
        Err(TagFault::Empty)
    } else if tag.len() > MAX_TAG {
        Err(TagFault::TooLong)
    } else if tag.chars().any(char::is_control) {
        Err(TagFault::Unreadable)
    } else {
        Ok(())
    }
}

/// A list of tags as it grows.
struct Tags {
    list: Vec<Box<str>>,
    seen: HashSet<Box<str>>,
    max: usize,
}

impl Tags {
    fn new(max: usize) -> Self {
        Self { list: Vec::new(), seen: HashSet::new(), max }
    }

    fn add(&mut self, tag: &str) -> Result<(), TagFault> {
        if tag.is_empty() || self.seen.contains(tag) {
            return Ok(());
        }
        check(tag)?;
        if self.list.len() == self.max {
            return Err(TagFault::TooMany(self.max));
        }
        self.list.push(tag.into());
        self.seen.insert(tag.into());
        Ok(())
    }

    fn add_fields(&mut self, headers: &HeaderMap) -> Result<(), TagFault> {
        for (field, separator) in FIELDS {
            for line in headers.get_all(field) {
                let line =
                    std::str::from_utf8(line.as_bytes()).map_err(|_| TagFault::Unreadable)?;
                for tag in line.split(separator) {
                    self.add(tag.trim_matches([' ', '\t']))?;
                }
            }
        }
        Ok(())
    }

    fn add_templates(
        &mut self,
        templates: &[Template],
        captures: &Captures,
        json: Option<&Value>,
    ) -> Result<(), TagFault> {
        templates.iter().try_for_each(|template| self.add_template(template, captures, json))
    }

    fn add_template(
        &mut self,
        template: &Template,
        captures: &Captures,
        json: Option<&Value>,
    ) -> Result<(), TagFault> {
        let mut lists = template.parts.iter().enumerate().filter(|(_, part)| goes_through(part));
        let list = lists.next();
        if lists.next().is_some() {
            return Err(TagFault::Crossed);
        }
        let Some((at, Part::Json(path))) = list else {
            let whole = joined(&template.parts, captures, json);
            return whole.map_or(Ok(()), |tag| self.add(&tag));
        };
        let (before, rest) = template.parts.split_at(at);
        let before = joined(before, captures, json);
        let after = joined(rest.get(1..).unwrap_or_default(), captures, json);
        let (Some(mut tag), Some(after), Some(json)) = (before, after, json) else {
            return Ok(());
        };
        let start = tag.len();
        each_at(json, &path.steps, &mut |value| {
            tag.truncate(start);
            if !push_scalar(&mut tag, value) {
                return Ok(());
            }
            tag.push_str(&after);
            self.add(&tag)
        })
    }
}

pub(super) fn goes_through(part: &Part) -> bool {
    matches!(part, Part::Json(path) if path.steps.contains(&JsonStep::Each))
}

/// The parts in one text, `None` if one of them has nothing to give.
fn joined(parts: &[Part], captures: &Captures, json: Option<&Value>) -> Option<String> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(piece) => text.push_str(piece),
            Part::Capture(name) => text.push_str(captures.get(name)?),
            Part::Json(path) => {
                if !push_scalar(&mut text, single(json?, path)?) {
                    return None;
                }
            }
        }
    }
    Some(text)
}

fn single<'v>(json: &'v Value, path: &JsonPath) -> Option<&'v Value> {
    path.steps.iter().try_fold(json, step)
}

/// One step down to one value; [`JsonStep::Each`] has many and goes through [`each_at`].
fn step<'v>(value: &'v Value, step: &JsonStep) -> Option<&'v Value> {
    match step {
        JsonStep::Member(name) => value.as_object()?.get(&**name),
        JsonStep::Index(at) => value.as_array()?.get(*at),
        JsonStep::Each => None,
    }
}

/// Calls `found` with every value that the steps lead to. As deep as the path has steps.
fn each_at(
    value: &Value,
    steps: &[JsonStep],
    found: &mut dyn FnMut(&Value) -> Result<(), TagFault>,
) -> Result<(), TagFault> {
    let Some((first, rest)) = steps.split_first() else { return found(value) };
    match (first, value) {
        (JsonStep::Each, Value::Array(items)) => {
            items.iter().try_for_each(|item| each_at(item, rest, found))
        }
        (JsonStep::Each, Value::Object(members)) => {
            members.values().try_for_each(|member| each_at(member, rest, found))
        }
        _ => step(value, first).map_or(Ok(()), |next| each_at(next, rest, found)),
    }
}

/// Appends a value as text; false if it has none.
pub(super) fn push_scalar(text: &mut String, value: &Value) -> bool {
    match value {
        Value::String(string) => text.push_str(string),
        // Writing to a String does not fail.
        Value::Number(number) => drop(write!(text, "{number}")),
        Value::Bool(truth) => text.push_str(if *truth { "true" } else { "false" }),
        Value::Null | Value::Array(_) | Value::Object(_) => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn template(text: &str) -> Template {
        let mut parts = Vec::new();
        for (at, piece) in text.split(['{', '}']).enumerate() {
            match piece.strip_prefix('$') {
                _ if piece.is_empty() => {}
                _ if at % 2 == 0 => parts.push(Part::Text(piece.into())),
                None => parts.push(Part::Capture(piece.into())),
                Some(path) => {
                    let steps = path
                        .split(['.', '[', ']'])
                        .filter(|step| !step.is_empty())
                        .map(|step| match (step, step.parse()) {
                            ("*", _) => JsonStep::Each,
                            (_, Ok(at)) => JsonStep::Index(at),
                            _ => JsonStep::Member(step.into()),
                        })
                        .collect();
                    parts.push(Part::Json(JsonPath { steps }));
                }
            }
        }
        Template { parts }
    }

    fn tags(texts: &[&str], json: Option<&Value>, max: usize) -> Result<Vec<String>, TagFault> {
        let templates: Vec<Template> = texts.iter().map(|t| template(t)).collect();
        let captures = Captures::from_iter([("id", "7")]);
        let found = from_templates(&templates, &captures, json, max)?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .collect()
    }

    #[test]
    fn templates_give_tags_from_captures_and_from_the_content() {
        let content = json!({
            "id": 9, "tenant": "acme", "open": true, "price": 1.5, "big": u64::MAX, "none": null,
            "items": [{"id": 1}, {"id": "b"}, {"id": null}, {"id": [4]}, {}, 5, {"id": 1}],
            "rows": [[{"k": "x"}], [{"k": "y"}, {"k": "z"}]],
            "by": {"p": 1, "q": 2},
        });
        for (text, expected) in [
            ("fixed", vec!["fixed"]),
            ("product:{id}", vec!["product:7"]),
            ("{missing}", vec![]),
            ("p:{$.id}", vec!["p:9"]),
            ("o:{$.open}/{$.price}", vec!["o:true/1.5"]),
            ("b:{$.big}", vec!["b:18446744073709551615"]),
            ("n:{$.none}", vec![]),
            ("n:{$.absent}", vec![]),
            ("n:{$.items}", vec![]),
            ("n:{$}", vec![]),
            ("i:{$.items[1].id}", vec!["i:b"]),
            ("i:{$.items[99].id}", vec![]),
            ("i:{$.items[*].id}", vec!["i:1", "i:b"]),
            ("{$.tenant}:{$.items[*].id}:{id}", vec!["acme:1:7", "acme:b:7"]),
            ("{$.absent}:{$.items[*].id}", vec![]),
            ("r:{$.rows[*][*].k}", vec!["r:x", "r:y", "r:z"]),
            ("m:{$.by[*]}", vec!["m:1", "m:2"]),
            ("m:{$.id[*]}", vec![]),
        ] {
            assert_eq!(tags(&[text], Some(&content), 9).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn without_json_content_only_the_templates_that_need_none_give_tags() {
        let found = tags(&["a:{$.id}", "b:{$.items[*].id}", "c:{id}"], None, 9);
        assert_eq!(found.unwrap(), ["c:7"]);
        assert!(needs_json(&[template("c"), template("a:{$.id}")]));
        assert!(!needs_json(&[template("c:{id}")]));
    }

    #[test]
    fn two_lists_in_one_template_are_refused() {
        let content = json!({"a": [1, 2], "b": [3, 4]});
        assert_eq!(tags(&["{$.a[*]}:{$.b[*]}"], Some(&content), 9), Err(TagFault::Crossed));
    }

    #[test]
    fn a_list_that_does_not_fit_is_refused_and_not_shortened() {
        let content = json!({"items": [1, 2, 3, 1, 2, 3]});
        assert_eq!(tags(&["{$.items[*]}"], Some(&content), 3).unwrap(), ["1", "2", "3"]);
        assert_eq!(tags(&["{$.items[*]}"], Some(&content), 2), Err(TagFault::TooMany(2)));
        let sent = headers(&[("xkey", "4")]);
        let templates = [template("{$.items[*]}")];
        let all = |max| of_response(&templates, &Captures::default(), Some(&content), &sent, max);
        assert_eq!(all(3), Err(TagFault::TooMany(3)));
        assert_eq!(all(4).unwrap().len(), 4);
    }

    #[test]
    fn long_and_unreadable_tags_are_refused() {
        let long = "x".repeat(MAX_TAG + 1);
        for (value, fault) in [
            (long.as_str(), TagFault::TooLong),
            ("a\nb", TagFault::Unreadable),
            ("\u{85}", TagFault::Unreadable),
        ] {
            assert_eq!(tags(&["{$.a}"], Some(&json!({ "a": value })), 9), Err(fault), "{value}");
        }
        assert_eq!(check(&long[1..]), Ok(()));
        assert_eq!(check(""), Err(TagFault::Empty));
        let mut bad = HeaderMap::new();
        bad.append("xkey", HeaderValue::from_bytes(b"a\xff").unwrap());
        assert_eq!(from_headers(&bad, 9), Err(TagFault::Unreadable));
    }

    #[test]
    fn fields_are_split_each_in_its_own_way() {
        let sent = headers(&[
            ("xkey", "a  b"),
            ("XKEY", "c a"),
            ("surrogate-key", " d\te "),
            ("cache-tag", "g h, \ti,,"),
            ("cache-tags", "j"),
            ("x-other", "z"),
        ]);
        let found = from_headers(&sent, 99).unwrap();
        assert_eq!(
            found.iter().map(|t| &**t).collect::<Vec<_>>(),
            ["d", "e", "g h", "i", "j", "a", "b", "c"]
        );
    }

    #[test]
    fn clients_see_no_tags() {
        let mut sent = headers(&[
            ("xkey", "a"),
            ("xkey", "b"),
            ("surrogate-key", "c"),
            ("cache-tag", "d"),
            ("cache-tags", "e"),
            ("etag", "f"),
        ]);
        strip(&mut sent);
        assert_eq!(sent, headers(&[("etag", "f")]));
    }

    proptest! {
        #[test]
        fn whatever_comes_out_is_distinct_fit_and_within_bounds(
            values in prop::collection::vec("[a-c\u{0}]{0,3}", 0..12),
            max in 0_usize..8,
        ) {
            let content = json!({"v": values});
            let distinct: HashSet<&String> = values.iter().filter(|v| !v.is_empty()).collect();
            match tags(&["{$.v[*]}"], Some(&content), max) {
                Ok(found) => {
                    prop_assert_eq!(found.iter().collect::<HashSet<_>>(), distinct);
                    prop_assert!(found.len() <= max);
                    prop_assert!(found.iter().all(|tag| check(tag).is_ok()));
                }
                Err(TagFault::TooMany(_)) => prop_assert!(distinct.len() > max),
                Err(fault) => {
                    prop_assert_eq!(fault, TagFault::Unreadable);
                    prop_assert!(values.iter().any(|v| v.contains('\0')));
                }
            }
        }
    }
}
