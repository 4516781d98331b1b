//! Namespace versions, as each thread remembers them: every request asks for one, and no lock that
//! all cores share may stand in its way.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::ledger::Position;

/// Most namespaces a thread remembers.
const MOST: usize = 1024;

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

#[derive(Default)]
struct Cache {
    /// Which ledger, and how many bumps it had seen.
    state: (u64, u64),
    versions: HashMap<Box<str>, Position>,
}

/// The version of `namespace` in a state of a ledger, from `look_up` if this thread does not know
/// it. The state must have been read before.
pub(super) fn cached(
    state: (u64, u64),
    namespace: &str,
    look_up: impl FnOnce() -> Position,
) -> Position {
    CACHE.with_borrow_mut(|cache| {
        if cache.state != state || cache.versions.len() >= MOST {
            cache.versions.clear();
            cache.state = state;
        }
        if let Some(version) = cache.versions.get(namespace) {
            return *version;
        }
        let version = look_up();
        cache.versions.insert(namespace.into(), version);
        version
    })
}
