//! Versions of namespaces, in pages: read when a life of the stream begins, since what was trimmed
//! from the stream still has its version there; dropped, a page per look, when they are older than
//! anything they could tell of (`prune.lua` says why that is safe).

use std::time::Duration;

use redis::{Cmd, Value};

use super::connection::{Trouble, Wire};
use super::{Keys, millis};
use crate::ledger::Position;
use crate::store::ledger::Shared;

pub(super) const PRUNE: &str = concat!(include_str!("common.lua"), include_str!("prune.lua"));

/// About how many are in a page that is read, and in one that is looked at for pruning.
const PAGE: usize = 2000;
const FEW: usize = 100;

/// Where a scan begins, and where it ends.
const START: &str = "0";

/// A page: the next cursor, then namespaces and versions in turn.
type Page = (String, Vec<(Vec<u8>, Vec<u8>)>);

/// Reads all of them. One that is changed meanwhile is in the stream too, which is read afterwards.
pub(super) async fn read(
    wire: &mut Wire,
    keys: &Keys,
    shared: &Shared,
    within: Duration,
) -> Result<(), Trouble> {
    let mut cursor = START.to_owned();
    loop {
        let mut call = redis::cmd("HSCAN");
        call.arg(&keys.namespaces).arg(&cursor).arg("COUNT").arg(PAGE);
        let (next, page): Page = wire.ask(&call, within).await?;
        shared.note_versions(page.iter().filter_map(|(namespace, at)| version(namespace, at)));
        if next == START {
            return Ok(());
        }
        cursor = next;
    }
}

fn version<'a>(namespace: &'a [u8], at: &[u8]) -> Option<(&'a str, Position)> {
    let namespace = str::from_utf8(namespace).ok().filter(|name| !name.is_empty())?;
    Some((namespace, str::from_utf8(at).ok()?.parse().ok()?))
}

/// How far a process has come with pruning.
#[derive(Debug)]
pub(super) struct Pruning {
    cursor: String,
}

impl Default for Pruning {
    fn default() -> Self {
        Self { cursor: START.to_owned() }
    }
}

impl Pruning {
    pub(super) fn call(&self, script: &str, keys: &Keys, retention: Duration) -> Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(script).arg(2).arg(&keys.stream).arg(&keys.namespaces);
        call.arg(&self.cursor).arg(FEW).arg(millis(retention));
        call
    }

    /// What came of it.
    pub(super) fn went(&mut self, reply: &Value) -> Result<(), Trouble> {
        self.cursor = match reply {
            Value::BulkString(cursor) => String::from_utf8(cursor.clone()).ok(),
            _ => None,
        }
        .ok_or(Trouble::Odd("prune.lua"))?;
        Ok(())
    }
}
