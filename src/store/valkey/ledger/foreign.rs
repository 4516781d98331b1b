//! Records that no Larder appended: backends and jobs do it with XADD alone.
//!
//! | what the append script does for ours | who does it for theirs |
//! |---|---|
//! | notes the versions of hard bumped namespaces, for processes that start after the record was trimmed | every process that reads the record, here |
//! | trims the stream by age and number | the same |
//!
//! All processes write the same, and nobody goes below what stands there, so it does not matter who
//! is first. Until one has, a process that starts would need the record itself, which is in the
//! stream for at least as long.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::connection::{Link, Trouble, Wire};
use super::reply::Page;
use super::{Keys, millis};
use crate::ledger::name::Name;
use crate::ledger::{Kind, Mode, Position, Record};
use crate::store::ledger::Settings;
use crate::store::throttle::Throttle;

const NOTE: &str = concat!(include_str!("common.lua"), include_str!("note.lua"));

/// Most namespaces in one call: a script can take a few thousand arguments.
const NAMESPACES: usize = 500;

/// What was read of them and not yet seen to.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    seen: bool,
    versions: BTreeMap<Box<str>, Position>,
    complaints: Throttle,
}

impl Foreign {
    /// A page of the stream was read.
    pub(super) fn look_at(&mut self, page: &Page) {
        if page.malformed > 0
            && let Some(count) = self.complaints.happened(page.malformed as u64, Instant::now())
        {
            let up_to = page.last.as_deref();
            tracing::warn!(count, up_to, "names in the ledger that cannot be read");
        }
        self.seen |= page.malformed > 0;
        page.records.iter().filter(|r| r.writer.is_empty()).for_each(|r| self.note(r));
    }

    fn note(&mut self, record: &Record) {
        self.seen = true;
        let Kind::Invalidation { names, mode: Mode::Hard } = &record.kind else { return };
        for name in names {
            let Name::Namespace(namespace) = name else { continue };
            // The stream is read in its order: the last one is the highest.
            self.versions.insert(namespace.clone(), record.position);
        }
    }

    /// Sees to what was read, if there was anything.
    pub(super) async fn settle(
        &mut self,
        wire: &mut Wire,
        link: &Link,
        keys: &Keys,
        settings: &Settings,
    ) -> Result<(), Trouble> {
        if !self.seen {
            return Ok(());
        }
        let script = wire.load(NOTE, link.budget).await?;
        while self.seen {
            let some: Vec<_> = self.versions.iter().take(NAMESPACES).collect();
            let mut call = redis::cmd("EVALSHA");
            call.arg(&script).arg(2).arg(&keys.stream).arg(&keys.namespaces);
            call.arg(settings.records).arg(millis(settings.retention));
            for (namespace, version) in &some {
                call.arg(&***namespace).arg(version.to_string());
            }
            let done: Vec<Box<str>> = some.into_iter().map(|(n, _)| n.clone()).collect();
            let _: redis::Value = wire.ask(&call, link.budget).await?;
            self.versions.retain(|namespace, _| !done.contains(namespace));
            self.seen = !self.versions.is_empty();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(at: u64, writer: &str, names: &[&str], mode: Mode) -> Record {
        let names = names.iter().map(|n| n.parse().unwrap()).collect();
        let position = Position::of_entry(at, 0);
        let kind = Kind::Invalidation { names, mode };
        Record { writer: writer.into(), kind, ..Record::skipped(position) }
    }

    fn after(records: Vec<Record>) -> (bool, Vec<(String, Position)>) {
        let mut foreign = Foreign::default();
        let page = Page { entries: records.len(), records, ..Page::default() };
        foreign.look_at(&page);
        let versions = foreign.versions.into_iter().map(|(n, v)| (n.into_string(), v)).collect();
        (foreign.seen, versions)
    }

    #[test]
    fn only_what_nobody_of_us_wrote_is_seen_to() {
        let ours = vec![record(1, "me", &["namespace:a"], Mode::Hard)];
        assert_eq!(after(ours), (false, vec![]));
        let soft = vec![record(1, "", &["namespace:a", "tag:b"], Mode::Soft)];
        assert_eq!(after(soft), (true, vec![]));
        let hard = vec![
            record(1, "", &["namespace:a", "namespace:b"], Mode::Hard),
            record(2, "me", &["namespace:b"], Mode::Hard),
            record(3, "", &["namespace:a", "tag:c"], Mode::Hard),
        ];
        let at = |millis| Position::of_entry(millis, 0);
        assert_eq!(after(hard), (true, vec![("a".into(), at(3)), ("b".into(), at(1))]));
    }
}
