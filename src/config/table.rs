//! What was given in a file, by table and key, and what holds where nothing was.

use std::collections::BTreeMap;

use super::error::Span;
use super::file::preset;
use super::knobs::Section;
use super::units::Value;

/// The tables of a file. Those that are not there are empty.
#[derive(Debug, Default)]
pub(super) struct File {
    /// `[origin]` and the like, by name; the top has none.
    pub(super) once: BTreeMap<&'static str, Table>,
    /// In the order of the file.
    pub(super) classes: Vec<(String, Table)>,
    /// `[[route]]` and the like, by name, in the order of the file.
    pub(super) many: BTreeMap<&'static str, Vec<Table>>,
}

impl File {
    /// A table that stands there once.
    pub(super) fn take(&mut self, section: &'static Section) -> Table {
        self.once.remove(section.name).unwrap_or_else(|| Table::empty(section))
    }

    /// The tables that stand there any number of times.
    pub(super) fn take_all(&mut self, section: &'static Section) -> Vec<Table> {
        self.many.remove(section.name).unwrap_or_default()
    }
}

/// What was given in one table.
#[derive(Debug)]
pub(super) struct Table {
    /// What it is a table of.
    pub(super) section: &'static Section,
    /// Its header.
    pub(super) at: Option<Span>,
    pub(super) entries: BTreeMap<&'static str, Entry>,
}

/// A key that was given.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where its value stands.
    pub(super) span: Span,
    /// `None` if a mistake was reported.
    pub(super) value: Option<Value>,
}

impl Table {
    /// A table in which nothing was given.
    pub(super) fn empty(section: &'static Section) -> Self {
        Self { section, at: None, entries: BTreeMap::new() }
    }

    /// The key's entry, if it was given.
    pub(super) fn given(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Where the key's value stands, if it was given.
    pub(super) fn span(&self, key: &str) -> Option<Span> {
        self.given(key).map(|entry| entry.span.clone())
    }

    /// The key's value: as given, or else its preset. `None` if it has no preset, or if a mistake
    /// was reported.
    pub(super) fn get<T: FromValue>(&self, key: &str) -> Option<T> {
        match self.given(key) {
            Some(entry) => entry.value.clone().and_then(T::from_value),
            None => preset(self.section.knob(key)?).and_then(T::from_value),
        }
    }

    /// The key's value where a mistake makes the rest of no account.
    pub(super) fn get_or_default<T: FromValue + Default>(&self, key: &str) -> T {
        self.get(key).unwrap_or_default()
    }
}

/// A [`Value`] as the type that is asked for.
pub(super) trait FromValue: Sized {
    /// `None` if it is of another kind.
    fn from_value(value: Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($variant:ident => $type:ty,)*) => {$(
        impl FromValue for $type {
            fn from_value(value: Value) -> Option<Self> {
                if let Value::$variant(value) = value { Some(value) } else { None }
            }
        }
    )*};
}

from_value! {
    Duration => std::time::Duration,
    Number => u64,
    Ratio => f64,
    Bool => bool,
    Word => &'static str,
    Text => std::sync::Arc<str>,
    Secret => super::Secret,
    Valkey => super::valkey::ValkeyUrl,
    Address => Option<std::net::SocketAddr>,
    Origin => super::OriginUrl,
    HostPolicy => super::HostPolicy,
    Path => super::pattern::Pattern,
    Host => super::template::HostPattern,
    Method => http::Method,
    Template => super::template::Template,
    Rule => super::template::NameRule,
    Channel => super::event::Channel,
    Event => super::event::EventRule,
    Field => http::header::HeaderName,
    Network => super::template::Network,
}

impl<T: FromValue> FromValue for Vec<(T, Span)> {
    fn from_value(value: Value) -> Option<Self> {
        let Value::List(items) = value else { return None };
        items.into_iter().map(|(item, span)| Some((T::from_value(item)?, span))).collect()
    }
}
