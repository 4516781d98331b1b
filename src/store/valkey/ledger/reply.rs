//! Valkey's answers, as values. Nothing in them is taken on trust.

use std::time::Duration;

use redis::Value;

use super::connection::Trouble;
use crate::ledger::{Opening, Position, Record};
use crate::store::ledger::Peer;

/// What XREAD brought.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) records: Vec<Record>,
    /// Stream entries, also those that could not be read.
    pub(super) entries: usize,
    /// Records, or names in them, that could not be read.
    pub(super) malformed: usize,
    /// ID to go on from.
    pub(super) last: Option<String>,
}

/// What `look.lua` returns.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) opening: Opening,
    pub(super) peers: Vec<Peer>,
}

impl Page {
    /// From `[[key, [[id, [field, value, …]], …]]]`, or nil when nothing came.
    pub(super) fn read(reply: &Value) -> Result<Self, Trouble> {
        let odd = || Trouble::Odd("XREAD");
        let Some(stream) = items(reply).and_then(|streams| streams.first()) else {
            return Ok(Self::default());
        };
        let entries = items(stream).and_then(|s| items(s.get(1)?)).ok_or_else(odd)?;
        let mut page = Self { entries: entries.len(), ..Self::default() };
        for entry in entries {
            let entry = items(entry).ok_or_else(odd)?;
            let id = entry.first().and_then(text).ok_or_else(odd)?;
            let position: Position = id.parse().map_err(|_| odd())?;
            page.add(position, entry.get(1).and_then(items).unwrap_or_default());
            page.last = Some(id.to_owned());
        }
        Ok(page)
    }

    fn add(&mut self, position: Position, fields: &[Value]) {
        let pairs = fields.chunks_exact(2).filter_map(|pair| match pair {
            [field, value] => Some((bytes(field)?, bytes(value)?)),
            _ => None,
        });
        let (record, malformed) =
            Record::read(position, pairs).unwrap_or_else(|_| (Record::skipped(position), 1));
        self.records.push(record);
        self.malformed += malformed;
    }
}

impl Look {
    pub(super) fn read(reply: &Value) -> Result<Self, Trouble> {
        Self::parts(reply).ok_or(Trouble::Odd("look.lua"))
    }

    fn parts(reply: &Value) -> Option<Self> {
        let [life, last, incomplete, first, deleted, peers] = items(reply)? else { return None };
        let life = text(life)?;
        let first = match text(first)? {
            "" => None,
            first => Some(first.parse().ok()?),
        };
        let missing =
            matches!(incomplete, Value::Int(1)).then_some((first, text(deleted)?.parse().ok()));
        let opening = Opening::of(life, text(last)?.parse().ok()?, missing)?;
        let peers = items(peers)?.chunks_exact(3).filter_map(peer).collect();
        Some(Self { opening, peers })
    }
}

fn peer(parts: &[Value]) -> Option<Peer> {
    let [instance, applied, silent] = parts else { return None };
    let Value::Int(silent) = silent else { return None };
    Some(Peer {
        instance: text(instance)?.into(),
        applied: text(applied)?.parse().ok()?,
        silent: Duration::from_millis(u64::try_from(*silent).ok()?),
    })
}

fn items(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    str::from_utf8(bytes(value)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn list(texts: &[&str]) -> Value {
        Value::Array(texts.iter().map(|t| bulk(t)).collect())
    }

    fn page(entries: Vec<Value>) -> Value {
        Value::Array(vec![Value::Array(vec![bulk("key"), Value::Array(entries)])])
    }

    #[test]
    fn a_page_keeps_its_place_whatever_stands_in_it() {
        let entry = |id, fields: &[&str]| Value::Array(vec![bulk(id), list(fields)]);
        let entries = vec![entry("1-0", &["n", "tag:a"]), entry("2-0", &["x", "y"])];
        let page = Page::read(&page(entries)).unwrap();
        assert_eq!((page.entries, page.malformed, page.last.as_deref()), (2, 1, Some("2-0")));
        assert_eq!(page.records[1], Record::skipped(Position::of_entry(2, 0)));
    }

    #[test]
    fn nothing_new_is_an_empty_page_and_nonsense_is_none() {
        assert_eq!(Page::read(&Value::Nil).unwrap().entries, 0);
        for odd in [page(vec![bulk("x")]), page(vec![list(&["no id"])])] {
            assert!(Page::read(&odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn the_horizon_is_before_the_first_entry_that_is_left() {
        let look = |incomplete, first, deleted| {
            let head = [bulk("run:repl 5-0"), bulk("9-1"), Value::Int(incomplete)];
            let tail = [bulk(first), bulk(deleted), Value::Array(vec![])];
            Look::read(&Value::Array(head.into_iter().chain(tail).collect())).unwrap().opening
        };
        let at = Position::of_entry;
        assert_eq!(look(0, "5-0", "0-0").fence, at(5, 0));
        assert_eq!(look(0, "5-0", "0-0").trimmed, Position::ZERO);
        assert_eq!(look(1, "8-0", "0-0").trimmed, at(8, 0).before_entry());
        assert_eq!(look(1, "8-0", "9-0").trimmed, at(9, 0));
        assert_eq!(look(1, "", "").trimmed, at(9, 1));
    }
}
