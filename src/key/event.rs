//! What a message from outside invalidates.
//!
//! | of a message | what comes of it |
//! |---|---|
//! | every rule of its bridge makes its names | they are invalidated |
//! | a rule cannot: nothing stands there, it is empty, or no entry could ever have such a name | the names of the others are invalidated all the same, and the message is malformed |
//! | it is larger than [`MAX_MESSAGE`], or not UTF-8 | the same for rules that look into it; the others do not mind |
//! | it makes more than [`MAX_NAMES`] names | the first of them are invalidated, and it is malformed |
//!
//! One name too many is a miss; one too few is a stale answer. So what can be read counts.

use std::cell::OnceCell;
use std::collections::HashSet;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use super::purge::{self, PurgeError};
use super::tags::{goes_through, push_scalar};
use crate::config::event::{Bridge, EventRule};
use crate::config::template::{JsonStep, Part};
use crate::ledger::name::Name;

/// Largest message that is looked into, in bytes.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Most names that one message may make.
pub const MAX_NAMES: usize = purge::MAX_NAMES;

/// What stands in a JSON text and cannot stand in a path as it is. A percent sign is left: whoever
/// sends one has encoded already.
const NOT_IN_PATHS: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'`').add(b'{').add(b'}');

/// What a message said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Each once, in the order of the rules.
    pub names: Vec<Name>,
    /// The first thing that could not be read.
    pub fault: Option<EventFault>,
}

/// Why a message is malformed, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventFault {
    /// Larger than [`MAX_MESSAGE`].
    #[error("{0} bytes are more than the {MAX_MESSAGE} that are looked into")]
    TooLarge(usize),
    /// Not UTF-8.
    #[error("it is not UTF-8")]
    NotText,
    /// Not JSON.
    #[error("it is not JSON")]
    NotJson,
    /// Nothing, an object, a list or an empty text stands where a rule looks.
    #[error("nothing to put in place of {0}")]
    Unfilled(String),
    /// What came out is not the name of anything.
    #[error("{0}")]
    NoName(#[from] PurgeError),
    /// More than [`MAX_NAMES`].
    #[error("it makes more than {MAX_NAMES} names")]
    TooMany,
}

/// A message that came by a channel. What is asked of it several times is worked out once.
struct Message<'m> {
    bridge: &'m Bridge,
    channel: &'m str,
    payload: &'m [u8],
    json: OnceCell<Result<Value, EventFault>>,
}

/// The names that a message makes. `canonicalise` is what [`purge::name`] takes.
pub fn read(
    bridge: &Bridge,
    channel: &str,
    payload: &[u8],
    canonicalise: impl Fn(&str) -> Option<String>,
) -> Reading {
    let message = Message { bridge, channel, payload, json: OnceCell::new() };
    let mut reading = Reading { names: Vec::new(), fault: None };
    let mut seen = HashSet::new();
    for rule in &bridge.names {
        message.make(rule, &mut |made| {
            let named = made.and_then(|text| name_of(rule.kind, &text, &canonicalise));
            match named {
                Ok(name) if seen.contains(&name) => {}
                Ok(_) if reading.names.len() == MAX_NAMES => reading.fault(EventFault::TooMany),
                Ok(name) => {
                    seen.insert(name.clone());
                    reading.names.push(name);
                }
                Err(fault) => reading.fault(fault),
            }
        });
    }
    reading
}

/// What a bridge invalidates when messages may have been missed.
pub fn of_gap(bridge: &Bridge, canonicalise: impl Fn(&str) -> Option<String>) -> Reading {
    let all = Bridge { names: bridge.on_gap.clone(), ..bridge.clone() };
    read(&all, "", b"", canonicalise)
}

impl Reading {
    fn fault(&mut self, fault: EventFault) {
        self.fault.get_or_insert(fault);
    }
}

fn name_of(
    kind: &str,
    text: &str,
    canonicalise: impl Fn(&str) -> Option<String>,
) -> Result<Name, EventFault> {
    let (kind, text) = match kind {
        "" => text.split_once(':').unwrap_or((text, "")),
        kind => (kind, text),
    };
    Ok(purge::name(kind, text, canonicalise)?)
}

impl Message<'_> {
    /// Calls `made` with every text that the rule makes, or with why it makes none.
    fn make(&self, rule: &EventRule, made: &mut dyn FnMut(Result<String, EventFault>)) {
        let parts = &rule.template.parts;
        let list = parts.iter().position(goes_through);
        let (before, rest) = parts.split_at(list.unwrap_or(parts.len()));
        let filled = self.fill(before, rule).and_then(|before| match rest {
            [list @ Part::Json(path), after @ ..] => {
                Ok((before, Some((list, path, self.fill(after, rule)?, self.json()?))))
            }
            _ => Ok((before, None)),
        });
        match filled {
            Err(fault) => made(Err(fault)),
            Ok((whole, None)) => made(Ok(whole)),
            Ok((before, Some((list, path, after, json)))) => {
                walk(json, &path.steps, &mut |found| {
                    let value = self.scalar(found, list, rule);
                    made(value.map(|value| [&*before, &value, &after].concat()));
                });
            }
        }
    }

    fn fill(&self, parts: &[Part], rule: &EventRule) -> Result<String, EventFault> {
        let mut whole = String::new();
        for part in parts {
            match part {
                Part::Text(text) => whole.push_str(text),
                Part::Capture(hole) => {
                    let value = self.capture(hole)?.filter(|value| !value.is_empty());
                    let value = value.ok_or_else(|| EventFault::Unfilled(part.to_string()))?;
                    whole.push_str(&fitting(value.to_owned(), rule));
                }
                Part::Json(path) => {
                    let mut value = Err(EventFault::Unfilled(part.to_string()));
                    walk(self.json()?, &path.steps, &mut |found| {
                        value = self.scalar(found, part, rule);
                    });
                    whole.push_str(&value?);
                }
            }
        }
        Ok(whole)
    }

    fn scalar(
        &self,
        found: Option<&Value>,
        part: &Part,
        rule: &EventRule,
    ) -> Result<String, EventFault> {
        let mut text = String::new();
        let fits = found.is_some_and(|value| push_scalar(&mut text, value)) && !text.is_empty();
        if fits { Ok(fitting(text, rule)) } else { Err(EventFault::Unfilled(part.to_string())) }
    }

    fn capture(&self, hole: &str) -> Result<Option<&str>, EventFault> {
        match hole {
            "channel" => Ok(Some(self.channel)),
            "message" => self.text().map(Some),
            _ => {
                let star = hole.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
                let stars = self.bridge.channel.captures(self.channel).unwrap_or_default();
                Ok(star.and_then(|at| stars.get(at).copied()))
            }
        }
    }

    fn text(&self) -> Result<&str, EventFault> {
        match self.payload.len() {
            ..=MAX_MESSAGE => str::from_utf8(self.payload).map_err(|_| EventFault::NotText),
            larger => Err(EventFault::TooLarge(larger)),
        }
    }

    fn json(&self) -> Result<&Value, EventFault> {
        let parse = || serde_json::from_str(self.text()?).map_err(|_| EventFault::NotJson);
        self.json.get_or_init(parse).as_ref().map_err(EventFault::clone)
    }
}

/// A value as it stands in a name of this kind: in places, what no path contains is
/// percent-encoded, as the client that asks for the path does it.
fn fitting(value: String, rule: &EventRule) -> String {
    match rule.kind {
        "url" | "path" | "prefix" => utf8_percent_encode(&value, NOT_IN_PATHS).to_string(),
        _ => value,
    }
}

/// Calls `found` with every value that the steps lead to, and with nothing for each way that ends
/// before. An empty list has no ways. As deep as there are steps.
fn walk<'v>(value: &'v Value, steps: &[JsonStep], found: &mut dyn FnMut(Option<&'v Value>)) {
    let Some((first, rest)) = steps.split_first() else { return found(Some(value)) };
    let next = match (first, value) {
        (JsonStep::Each, Value::Array(items)) => {
            return items.iter().for_each(|item| walk(item, rest, found));
        }
        (JsonStep::Each, Value::Object(members)) => {
            return members.values().for_each(|member| walk(member, rest, found));
        }
        (JsonStep::Member(name), Value::Object(members)) => members.get(&**name),
        (JsonStep::Index(at), Value::Array(items)) => items.get(*at),
        _ => None,
    };
    match next {
        Some(next) => walk(next, rest, found),
        None => found(None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bridge(channel: &str, names: &[&str]) -> Bridge {
        let rules = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect();
        Bridge {
            channel: channel.parse().unwrap(),
            names: rules(names),
            soft: false,
            on_gap: rules(&["namespace:catalog", "all"]),
            valkey: None,
        }
    }

    fn heard(names: &[&str], payload: &[u8]) -> (Vec<String>, Option<EventFault>) {
        let bridge = bridge("products.*.*", names);
        let reading =
            read(&bridge, "products.eu.7", payload, |url| Some(url.replace("?b&a", "?a&b")));
        (reading.names.iter().map(ToString::to_string).collect(), reading.fault)
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn messages_become_names() {
        let rows: &[(&[&str], &str, &[&str])] = &[
            (&["tag:product:{$.id}"], r#"{"id": 7}"#, &["tag:product:7"]),
            (&["tag:product:{$.id}"], r#"{"id": "a b", "x": 1}"#, &["tag:product:a b"]),
            (&["tag:{$[*].id}!"], r#"[{"id": 1}, {"id": 2}, {"id": 1}]"#, &["tag:1!", "tag:2!"]),
            (&["tag:{$.a.b[0]}-{$.c}"], r#"{"a": {"b": [true]}, "c": 2.5}"#, &["tag:true-2.5"]),
            (&["tag:{$.c}-{$.i.*}"], r#"{"c": 1, "i": {"x": 2, "y": 3}}"#, &["tag:1-2", "tag:1-3"]),
            (&["tag:{$.ids[*]}"], r#"{"ids": []}"#, &[]),
            (&["tag:{$}"], "7", &["tag:7"]),
            (&["tag:{message}"], "7", &["tag:7"]),
            (&["tag:{channel}"], "", &["tag:products.eu.7"]),
            (&["tag:{2}", "namespace:shop/{1}"], "", &["tag:7", "namespace:shop/eu"]),
            (&["all", "namespace:a"], "\u{0}", &["all", "namespace:a"]),
            (&["{message}"], "tag:product:7", &["tag:product:7"]),
            (&["{message}"], "all", &["all"]),
            (
                &["{$[*]}"],
                r#"["path:/a", "all", "group://h.test/a b"]"#,
                &["path:/a", "all", "group://h.test/a b"],
            ),
            (&["path:{message}"], "/products/7", &["path:/products/7"]),
            (&["path:/p/{$.id}"], r#"{"id": "é b#c%20"}"#, &["path:/p/%C3%A9%20b%23c%20"]),
            (&["url:/s?q={$.q}"], r#"{"q": "x"}"#, &["url:/s?q=x"]),
            (&["url:{message}"], "http://H.test:80/p?b&a", &["url://h.test/p?a&b"]),
            (&["prefix:/{1}/", "group://H.test/{1}"], "", &["prefix:/eu/", "group://h.test/eu"]),
        ];
        for (rules, payload, expected) in rows {
            let (names, fault) = heard(rules, payload.as_bytes());
            assert_eq!((names, fault), (owned(expected), None), "{rules:?} {payload}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_malformed_and_the_rest_counts() {
        use EventFault::{NotJson, NotText, TooLarge};
        let unfilled = |hole: &str| EventFault::Unfilled(hole.into());
        let large = vec![b'1'; MAX_MESSAGE + 1];
        type Row<'r> = (&'r [&'r str], &'r [u8], &'r [&'r str], EventFault);
        let rows: &[Row<'_>] = &[
            (&["tag:{$.id}", "all"], b"{}", &["all"], unfilled("{$.id}")),
            (&["tag:{$.id}"], b"[]", &[], unfilled("{$.id}")),
            (&["tag:{$.id}"], br#"{"id": null}"#, &[], unfilled("{$.id}")),
            (&["tag:{$.id}"], br#"{"id": {}}"#, &[], unfilled("{$.id}")),
            (&["tag:{$.id}"], br#"{"id": ""}"#, &[], unfilled("{$.id}")),
            (&["tag:{$.a[*].i}"], br#"{"b": []}"#, &[], unfilled("{$.a[*].i}")),
            (
                &["tag:{$[*].i}"],
                br#"[{"i": 1}, {}, {"i": 3}]"#,
                &["tag:1", "tag:3"],
                unfilled("{$[*].i}"),
            ),
            (&["tag:{$.a[*]}{$.b}"], br#"{"a": [1]}"#, &[], unfilled("{$.b}")),
            (&["tag:{message}"], b"", &[], unfilled("{message}")),
            (&["tag:{$}", "tag:{1}"], b"{", &["tag:eu"], NotJson),
            (&["tag:{message}", "all"], b"\xff", &["all"], NotText),
            (&["tag:{$.id}", "all"], &large, &["all"], TooLarge(MAX_MESSAGE + 1)),
        ];
        for (rules, payload, expected, why) in rows {
            let (names, fault) = heard(rules, payload);
            assert_eq!((names, fault.as_ref()), (owned(expected), Some(why)), "{rules:?}");
        }
    }

    #[test]
    fn what_could_never_match_is_no_name() {
        let long = "x".repeat(257);
        for (rule, payload) in [
            ("{message}", "colour:red"),
            ("{message}", "everything"),
            ("{message}", "tag:"),
            ("{message}", "all:7"),
            ("path:{message}", "products"),
            ("path:{message}", "/a?b"),
            ("path:{message}", "//"),
            ("tag:{message}", "a\nb"),
            ("tag:{message}", &long),
            ("namespace:{message}", "/a"),
            ("group://h/{message}", "\u{e9}"),
        ] {
            let (names, fault) = heard(&[rule], payload.as_bytes());
            assert!(names.is_empty(), "{rule} {payload}: {names:?}");
            assert!(matches!(fault, Some(EventFault::NoName(_))), "{rule} {payload}: {fault:?}");
        }
    }

    #[test]
    fn a_message_makes_a_bounded_number_of_names() {
        let numbers: Vec<usize> = (0..=MAX_NAMES).collect();
        let payload = serde_json::to_vec(&numbers).unwrap();
        let (names, fault) = heard(&["tag:{$[*]}"], &payload);
        assert_eq!((names.len(), fault), (MAX_NAMES, Some(EventFault::TooMany)));
        let (names, fault) = heard(&["tag:{$[*]}"], &serde_json::to_vec(&numbers[1..]).unwrap());
        assert_eq!((names.len(), fault), (MAX_NAMES, None));
    }

    #[test]
    fn a_gap_needs_no_message() {
        let reading = of_gap(&bridge("a", &["tag:{$.id}"]), |url| Some(url.to_owned()));
        assert_eq!(reading.names, ["namespace:catalog", "all"].map(|n| n.parse().unwrap()));
        assert_eq!(reading.fault, None);
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(
            channel in "\\PC{0,20}",
            payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let rules = ["tag:{$.a[*].b}", "{message}", "path:/{1}{2}", "url:{channel}", "{$}"];
            let _ = read(&bridge("*.*", &rules), &channel, &payload, |url| Some(url.to_owned()));
        }

        #[test]
        fn every_name_can_be_written_and_read(payload in "\\PC{0,40}") {
            let rules = ["tag:{message}", "path:/{message}", "namespace:{message}", "{message}"];
            let all = bridge("a", &rules);
            for name in read(&all, "a", payload.as_bytes(), |url| Some(url.to_owned())).names {
                prop_assert_eq!(name.to_string().parse(), Ok(name));
            }
        }
    }
}
