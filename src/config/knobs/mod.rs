//! Every key of `proxy.toml` once: its kind, its default, what it does, and when to turn it.
//!
//! | made from these tables | where |
//! |---|---|
//! | unknown keys and what was meant | `file` |
//! | what a value must look like | `file`, with `units` |
//! | defaults | `file` (they go through the same reader as what was typed) |
//! | JSON Schema | `schema` |
//! | the reference, `proxy.toml` | `reference` |

use std::time::Duration;

mod bridge;
mod routes;
mod server;

use bridge::BRIDGE_KNOBS;
use routes::{CONTRACT_KNOBS, ROUTE_KNOBS};
use server::{ADMIN_KNOBS, LIMITS_KNOBS, LOG_KNOBS, ORIGIN_KNOBS, STORE_KNOBS, TOP_KNOBS};

/// A key of the configuration.
#[derive(Debug)]
pub struct Knob {
    /// As typed within its table; dotted where it is (`query.ignore`).
    pub key: &'static str,
    /// What its value must look like.
    pub kind: Kind,
    /// What holds when it is not given.
    pub preset: Preset,
    /// One sentence: what it does.
    pub says: &'static str,
    /// One sentence: when to turn it.
    pub turn: &'static str,
}

/// What holds when a key is not given. The texts are TOML values.
#[derive(Clone, Copy, Debug)]
pub enum Preset {
    /// This value.
    Is(&'static str),
    /// Nothing; if it were given, it might look like this.
    Unset(&'static str),
    /// It must be given (here or on the command line), like this.
    Required(&'static str),
}

/// What a value must look like.
#[derive(Debug)]
pub enum Kind {
    /// `"30s"`, `"1h 30m"`, within these bounds.
    Duration(Duration, Duration),
    /// `"256MiB"`, or a number of bytes, within these bounds.
    Size(u64, u64),
    /// A whole number within these bounds.
    Integer(u64, u64),
    /// `"10%"` or `0.1`, up to this share of one.
    Ratio(f64),
    /// `true` or `false`.
    Bool,
    /// One of these words.
    Words(&'static [&'static str]),
    /// An address and a port.
    Address,
    /// An address and a port, or `"off"`.
    AddressOrOff,
    /// `http://host:port` and nothing after it.
    OriginUrl,
    /// URL of a Valkey server. Kept out of every message.
    ValkeyUrl,
    /// Visible ASCII that is kept out of every message.
    Secret,
    /// Any text, kept out of every message.
    Password,
    /// Name of a user of Valkey.
    Username,
    /// Path of a file.
    File,
    /// `"preserve"`, `"origin"`, or a host.
    HostPolicy,
    /// First part of the keys in Valkey.
    Prefix,
    /// A filter of the `tracing` crate.
    LogFilter,
    /// Name of a route.
    RouteName,
    /// Name of a class that is defined elsewhere in the file.
    ClassName,
    /// Path pattern of a route.
    PathPattern,
    /// A host, or `*.` and a domain.
    HostPattern,
    /// An HTTP method.
    Method,
    /// A namespace with captures.
    Namespace,
    /// A tag with captures and JSON paths.
    Tag,
    /// What a write invalidates.
    NameRule,
    /// A pub/sub channel, or a pattern of them.
    Channel,
    /// What a message invalidates.
    EventRule,
    /// Name of a query parameter, perhaps with `*` at its end.
    Parameter,
    /// Name of a request field.
    FieldName,
    /// Name of a cookie.
    CookieName,
    /// An address, or a range of them.
    Network,
    /// Any number of these.
    List(&'static Self),
}

/// How often a table of the file may stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Keys outside of any table.
    Top,
    /// `[origin]`, at most once.
    Once,
    /// `[class.NAME]`.
    Named,
    /// `[[route]]`, any number of times.
    Many,
}

/// A table of the file.
#[derive(Debug)]
pub struct Section {
    /// As typed between the brackets; empty for the top.
    pub name: &'static str,
    /// How often it may stand there.
    pub shape: Shape,
    /// What it is for, in a sentence or two.
    pub says: &'static str,
    /// Its keys, in the order of the reference.
    pub knobs: &'static [&'static [Knob]],
}

impl Section {
    /// All keys, in the order of the reference.
    pub fn knobs(&self) -> impl Iterator<Item = &'static Knob> + use<> {
        self.knobs.iter().flat_map(|table| table.iter())
    }

    /// The key of this name.
    pub fn knob(&self, key: &str) -> Option<&'static Knob> {
        self.knobs().find(|knob| knob.key == key)
    }

    /// As typed in the file: `[origin]`, `[class.…]`, `[[route]]`.
    pub fn title(&self) -> String {
        match self.shape {
            Shape::Top => "the top of the file".to_owned(),
            Shape::Once => format!("[{}]", self.name),
            Shape::Named => format!("[{}.NAME]", self.name),
            Shape::Many => format!("[[{}]]", self.name),
        }
    }
}

/// All tables, in the order of the reference.
pub static SECTIONS: &[&Section] =
    &[&TOP, &ORIGIN, &STORE, &ADMIN, &LIMITS, &LOG, &CLASS, &ROUTE, &BRIDGE];

/// Keys outside of any table.
pub static TOP: Section = Section { name: "", shape: Shape::Top, says: "", knobs: &[TOP_KNOBS] };

/// `[origin]`
pub static ORIGIN: Section = Section {
    name: "origin",
    shape: Shape::Once,
    says: "Who answers when the cache cannot, and how it is spoken to.",
    knobs: &[ORIGIN_KNOBS],
};

/// `[store]`
pub static STORE: Section = Section {
    name: "store",
    shape: Shape::Once,
    says: "Where entries are kept: in memory, in Valkey, or in memory in front of Valkey.",
    knobs: &[STORE_KNOBS],
};

/// `[admin]`
pub static ADMIN: Section = Section {
    name: "admin",
    shape: Shape::Once,
    says: "The listener for purges, metrics, health and explanations.",
    knobs: &[ADMIN_KNOBS],
};

/// `[limits]`
pub static LIMITS: Section = Section {
    name: "limits",
    shape: Shape::Once,
    says: "How much, and for how long, clients may ask of this process.",
    knobs: &[LIMITS_KNOBS],
};

/// `[log]`
pub static LOG: Section =
    Section { name: "log", shape: Shape::Once, says: "What is written down.", knobs: &[LOG_KNOBS] };

/// `[class.NAME]`
pub static CLASS: Section = Section {
    name: "class",
    shape: Shape::Named,
    says: "A freshness contract that routes share: a route names it with `class`, and any of these \
           keys on the route itself wins.",
    knobs: &[CONTRACT_KNOBS],
};

/// `[[route]]`
pub static ROUTE: Section = Section {
    name: "route",
    shape: Shape::Many,
    says: "Which requests, and how they are cached. The most specific route that takes the \
           method wins: an exact host before `*.domain` before none, then literal path segments \
           before captures. What no route matches is cached by the origin's word alone.",
    knobs: &[ROUTE_KNOBS, CONTRACT_KNOBS],
};

/// `[[bridge]]`
pub static BRIDGE: Section = Section {
    name: "bridge",
    shape: Shape::Many,
    says: "Messages of pub/sub that invalidate: each bridge listens to a channel, and makes names \
           of what it hears.",
    knobs: &[BRIDGE_KNOBS],
};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

const KIB: u64 = 1024;
const GIB: u64 = 1024 * 1024 * 1024;
/// Longest lifetime: ten years, far inside of what Valkey's PX takes.
const EVER: Duration = hours(24 * 3650);
const INSTANT: Duration = ms(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_knob_says_what_it_does_and_when_to_turn_it() {
        for section in SECTIONS {
            for knob in section.knobs() {
                for text in [knob.says, knob.turn] {
                    let place = format!("{} {}", section.title(), knob.key);
                    assert!(text.ends_with('.') && text.len() > 15, "{place}: {text}");
                    assert!(!text.contains("  "), "{place}: {text}");
                }
            }
        }
    }

    #[test]
    fn no_key_stands_twice_in_a_table_or_inside_another() {
        for section in SECTIONS {
            let keys: Vec<_> = section.knobs().map(|k| k.key).collect();
            for (i, key) in keys.iter().enumerate() {
                let inside = format!("{key}.");
                assert!(!keys[i + 1..].contains(key), "{} {key}", section.title());
                assert!(keys.iter().all(|k| !k.starts_with(&inside)), "{} {key}", section.title());
            }
        }
    }
}
