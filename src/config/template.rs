//! Small languages inside configuration values: templates with captures, names with captures,
//! host patterns, networks.

use std::net::IpAddr;
use std::sync::Arc;

/// Text with holes: `product:{id}`, `tenants/{tenant}`, and in tags also `product:{$.items[*].id}`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Template {
    /// In order.
    pub parts: Vec<Part>,
}

impl Template {
    /// The text with the captures put in; `None` if one is missing or a part is JSON.
    pub fn expand(&self, captures: &Captures) -> Option<String> {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => Some(&**text),
                Part::Capture(name) => captures.get(name),
                Part::Json(_) => None,
            })
            .collect()
    }
}

/// What a route's path captured, in order: name and value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures(pub Vec<(Box<str>, Box<str>)>);

impl Captures {
    /// The value captured under this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| &**n == name).map(|(_, value)| &**value)
    }
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Text(Box<str>),
    /// What the route's path captured under this name.
    Capture(Box<str>),
    /// What stands at this place of the response's JSON content.
    Json(JsonPath),
}

/// Where to look in a JSON document: `$.items[*].id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    /// Steps from the root.
    pub steps: Vec<JsonStep>,
}

/// One step down a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonStep {
    /// Member of an object.
    Member(Box<str>),
    /// Element of an array.
    Index(usize),
    /// Every element of an array (or member of an object).
    Each,
}

/// What kind of name a rule makes (`ledger::Name` has the meaning of each).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// `tag:`
    Tag,
    /// `namespace:`
    Namespace,
    /// `url:`
    Url,
    /// `path:`
    Path,
    /// `prefix:`
    Prefix,
}

/// An `on_write` rule: `tag:product:{id}`, `namespace:search`, `path:/products`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRule {
    /// What it names.
    pub kind: NameKind,
    /// The name, with captures of the written path.
    pub template: Template,
}

/// Which hosts a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// Exactly this one, in lower case, without a port.
    Exact(Arc<str>),
    /// `*.example.com`: any one or more labels before this suffix (kept as `.example.com`).
    Suffix(Arc<str>),
}

/// A range of addresses, as in `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address in it.
    pub address: IpAddr,
    /// Number of leading bits that count.
    pub bits: u8,
}
