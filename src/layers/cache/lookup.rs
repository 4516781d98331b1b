//! Where is it? In memory first, then in the store that processes share; the primary key may lead
//! to a variant.

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderName;
use tokio::time::Instant;

use super::Means;
use super::asked::Asked;
use crate::config::Route;
use crate::key::Key;
use crate::layers::collapse::{Flight, Lead};
use crate::ledger::Standing;
use crate::ledger::name::Belongs;
use crate::plan::Plan;
use crate::plan::request::{self, Found, plan};
use crate::semantics::time::Timestamp;
use crate::store::{Entry, Record};

/// What a lookup came to.
#[derive(Debug)]
pub struct Looked {
    /// Key of the entry found, or of the one that a fill would make.
    pub key: Key,
    /// What was found under it.
    pub entry: Option<(Arc<Entry>, Standing)>,
    /// The fields that the key varies on, whether or not this variant was there.
    pub names: Option<Vec<HeaderName>>,
    /// What to do about it.
    pub plan: Plan,
    /// What is known of the store that processes share.
    pub shared: Shared,
    /// The duty to ask the origin for all who wait for this key, if that was taken on already.
    pub lead: Option<Lead>,
}

/// What a lookup knows of the store that processes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// It was not asked.
    Unasked,
    /// It answered.
    Asked,
    /// It did not answer, and is not asked again for this request: it costs a request its budget
    /// once.
    Silent,
}

impl Looked {
    /// May the entry be served as it is?
    pub const fn is_servable(&self) -> bool {
        matches!(self.plan, Plan::Serve | Plan::ServeAndRefresh(_) | Plan::ServeBackingOff(_))
    }
}

/// Looks in this process's memory. Never waits.
pub fn peek(means: &Means, asked: &Asked, hint: Option<&[HeaderName]>, now: Timestamp) -> Looked {
    let mut key = asked.key.clone();
    let mut record = means.store.peek(&key);
    let names = variant_names(record.as_ref(), hint);
    if let Some(names) = &names {
        key = asked.variant(names);
        record = means.store.peek(&key);
    }
    conclude(means, asked, (key, names), record, now)
}

/// Looks in the store that processes share. One that does not answer knows nothing.
pub async fn fetch(means: &Means, asked: &Asked, hint: Option<&[HeaderName]>) -> Looked {
    let mut key = asked.key.clone();
    let mut found = means.store.fetch(&key).await;
    let names = variant_names(found.as_ref().ok().and_then(Option::as_ref), hint);
    if let Some(names) = &names {
        key = asked.variant(names);
        if found.is_ok() {
            found = means.store.fetch(&key).await;
        }
    }
    let shared = if found.is_ok() { Shared::Asked } else { Shared::Silent };
    let record = found.unwrap_or_default();
    Looked { shared, ..conclude(means, asked, (key, names), record, means.now()) }
}

/// A plain GET, as it was understood before it came to the layers.
#[derive(Debug)]
pub struct Sought {
    /// Its route.
    pub route: Arc<Route>,
    /// Key of what it asks for, before anything is known of variants.
    pub key: Key,
    /// There is a condition that it may be answered 304 by.
    pub conditional: bool,
    /// When it came.
    pub began: Instant,
}

/// What was found for it in the store that processes share, which is not asked again.
#[derive(Debug)]
pub struct Brought {
    /// Who asked for it.
    pub sought: Sought,
    /// Where was looked; the fields, if that is a variant.
    pub at: (Key, Option<Vec<HeaderName>>),
    /// What there was.
    pub record: Option<Record>,
    /// Whether the store answered.
    pub shared: Shared,
    /// The duty to ask the origin, if there was nothing.
    pub lead: Mutex<Option<Lead>>,
}

/// The same as [`peek`], for a request that brought something along.
pub fn brought(means: &Means, asked: &Asked, brought: &Brought, now: Timestamp) -> Looked {
    let names = match &brought.record {
        Some(Record::Varies(varies)) => Some(&*varies.names),
        _ => brought.at.1.as_deref(),
    };
    let looked = peek(means, asked, names, now);
    if looked.entry.is_some() || looked.key != brought.at.0 {
        return looked;
    }
    let place = (looked.key, looked.names);
    let lead = brought.lead.lock().unwrap_or_else(PoisonError::into_inner).take();
    let concluded = conclude(means, asked, place, brought.record.clone(), now);
    Looked { shared: brought.shared, lead, ..concluded }
}

/// The fields that select the variant, if the primary key's record says that there are some, or
/// if there is none and a response on its way says so.
fn variant_names(record: Option<&Record>, hint: Option<&[HeaderName]>) -> Option<Vec<HeaderName>> {
    match record {
        Some(Record::Varies(varies)) => Some(varies.names.clone()),
        Some(Record::Entry(_)) => None,
        None => hint.map(<[_]>::to_vec),
    }
}

/// What to do about what was found.
pub fn conclude(
    means: &Means,
    asked: &Asked,
    (key, names): (Key, Option<Vec<HeaderName>>),
    record: Option<Record>,
    now: Timestamp,
) -> Looked {
    let entry = match record {
        Some(Record::Entry(entry)) => {
            let standing = standing(means, asked, &entry, now);
            Some((entry, standing))
        }
        Some(Record::Varies(_)) | None => None,
    };
    let found = match &entry {
        Some((entry, standing)) => Found::Entry(entry, *standing),
        None if names.is_some() => Found::OtherVariants,
        None => Found::Nothing,
    };
    let failed_lately = entry.is_some() && means.failures.is_noted(key.digest, now);
    let plan = plan(&asked.route, &asked.demands, found, failed_lately, now);
    // What the ledger cannot vouch for here, an entry from elsewhere is no better for.
    let shared = if asked.floor.is_some() { Shared::Silent } else { Shared::Unasked };
    Looked { key, entry, names, plan, shared, lead: None }
}

/// What an entry is worth to a request. Found by a rule (`searches`), it may be stored under another
/// query than is asked for here: an invalidation of either URL counts.
pub fn standing(means: &Means, asked: &Asked, entry: &Entry, now: Timestamp) -> Standing {
    let judge = |belongs| means.ledger.judge(entry.as_of, entry.vouched, belongs, now);
    let standing = match asked.rule() {
        Some(_) => judge(&entry.belongs().and(&asked.belongs())),
        None => judged(means, entry, now),
    };
    asked.floor.map_or(standing, |floor| floor.lower(standing, entry.vouched))
}

/// What an entry is worth by itself. Most hits find that nothing has changed since the last one.
pub fn judged(means: &Means, entry: &Entry, now: Timestamp) -> Standing {
    let seen = means.ledger.generation(now);
    if entry.judged.is_good(seen) {
        return Standing::Good;
    }
    let standing = means.ledger.judge(entry.as_of, entry.vouched, &entry.belongs(), now);
    if standing == Standing::Good {
        entry.judged.found_good(seen);
    }
    standing
}

/// May it be served to this request because the origin failed? What was invalidated while the
/// request waited may not.
pub fn may_stand_in(means: &Means, asked: &Asked, entry: &Entry, now: Timestamp) -> bool {
    let standing = standing(means, asked, entry, now);
    request::may_stand_in(&asked.route, entry, standing, now)
}

/// May this request wait for a flight? Not if what it asks for was invalidated since that began, nor
/// if it began below the request's floor.
pub fn may_join(
    means: &Means,
    asked: &Asked,
    belongs: &Belongs,
    flight: &Flight,
    now: Timestamp,
) -> bool {
    means.ledger.judge(flight.as_of, flight.began, belongs, now) == Standing::Good
        && asked.floor.is_none_or(|floor| floor.admits(flight.began))
}
