//! A part of a representation on its way into the store.
//!
//! | the new part and the stored one | what is stored |
//! |---|---|
//! | share a strong tag and meet | both as one part (RFC 9111 §3.4) |
//! | the same, and are all there is | a whole, under the key of the whole |
//! | otherwise | the new one, in place of the old |

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, StatusCode};

use super::Means;
use super::asked::Asked;
use super::fill::{Ending, pump};
use super::lookup::Looked;
use super::part::held;
use super::recipe::{Recipe, is_outdone, merge};
use crate::body::Body;
use crate::key::Key;
use crate::layers::collapse::Lead;
use crate::layers::collapse::content::{Content, End};
use crate::ledger::Standing;
use crate::semantics::range::combine::{self, Part};
use crate::semantics::range::content_range::Extent;
use crate::store::{Draft, Entry, Record};

/// A part on its way into the store, on a task of its own like any fill.
#[derive(Debug)]
pub struct Keeping {
    /// Means of the cache.
    pub means: Arc<Means>,
    /// As the client asked: there a whole is stored.
    pub asked: Arc<Asked>,
    /// Where parts are.
    pub at: Arc<Asked>,
    /// What was there before the origin was asked.
    pub before: Looked,
    /// Fields that the response varies on.
    pub names: Vec<HeaderName>,
    /// Which part of how much it is.
    pub extent: Extent,
    /// It may lack fields, and is of use only together with what is there.
    pub lacking: bool,
    /// Who asks for the same while it arrives reads it too. Held until the end.
    pub lead: Option<Lead>,
}

impl Keeping {
    /// Reads it to its end.
    pub async fn run(self, entry: Entry, body: Body, content: Arc<Content>) {
        let _ends = Ending(&content);
        let end = pump(body, &content).await.unwrap_or(End::Broken);
        let bytes = if end == End::Complete { content.whole() } else { None };
        let Some(bytes) = bytes.filter(|b| b.len() as u64 == self.extent.span.length()) else {
            content.end(end);
            return;
        };
        let Some((key, entry)) = self.entry(entry, bytes).await else {
            content.end(end);
            return;
        };
        let whole = entry.status() == StatusCode::OK;
        let store = &self.means.store;
        // Memory has it from here on, before the reader ends: who asks next finds it.
        let put = store.put(&key, Record::Entry(Arc::new(entry)));
        content.end(end);
        self.means.metrics.fill(self.asked.route.index);
        let _ = put.await;
        if whole {
            let _ = store.remove(&self.part_key()).await;
        }
    }

    /// What is stored, and where; `None` if nothing is.
    async fn entry(&self, entry: Entry, bytes: Bytes) -> Option<(Key, Entry)> {
        let mut entry = entry.draft();
        entry.response.body = bytes;
        let mut extent = self.extent;
        let stored = self.stored().and_then(|stored| self.combined(&stored, &entry));
        match stored {
            Some((both, together)) => (extent, entry) = (both, together),
            None if self.lacking => return None,
            None => {}
        }
        combine::describe(&mut entry.response.headers, extent);
        let asked = if extent.is_whole() {
            // RFC 9110 §15.3.7.3: "as if it were a complete 200 (OK) response".
            entry.response.status = StatusCode::OK;
            &self.asked
        } else {
            &self.at
        };
        let recipe = Recipe { means: &self.means, asked };
        let key = recipe.place(&self.names, &entry.response.times).await?;
        entry.key = key.full.clone();
        let entry = Entry::from(entry);
        // Nobody would use it, and it might take the place of one that is newer.
        let now = self.means.now();
        let standing = self.means.ledger.judge(entry.as_of, entry.vouched, &entry.belongs(), now);
        let of_use = standing != Standing::Invalidated && !is_outdone(&self.means, &key, &entry);
        of_use.then_some((key, entry))
    }

    fn part_key(&self) -> Key {
        if self.names.is_empty() { self.at.key.clone() } else { self.at.variant(&self.names) }
    }

    /// The part that is stored by now, if it was not invalidated meanwhile.
    fn stored(&self) -> Option<Arc<Entry>> {
        let key = self.part_key();
        let entry = match self.means.store.peek(&key) {
            Some(Record::Entry(entry)) => entry,
            // Where nothing is kept in memory.
            _ if self.before.key.digest == key.digest => {
                self.before.entry.as_ref().map(|(entry, _)| Arc::clone(entry))?
            }
            _ => return None,
        };
        let now = self.means.now();
        let standing = self.means.ledger.judge(entry.as_of, entry.vouched, &entry.belongs(), now);
        (standing != Standing::Invalidated).then_some(entry)
    }

    /// The new part with what is stored, if they are parts of the same. The origin vouched for the
    /// stored one when it named the same strong tag: what is known of the new one, its position in
    /// the ledger included, holds for both.
    fn combined(&self, stored: &Entry, new: &Draft) -> Option<(Extent, Draft)> {
        let stored = stored.draft();
        let older = Part {
            extent: held(&stored.response)?,
            headers: &stored.response.headers,
            bytes: &stored.response.body,
        };
        let newer =
            Part { extent: self.extent, headers: &new.response.headers, bytes: &new.response.body };
        let (extent, bytes) = combine::combined(older, newer)?;
        let mut together = new.clone();
        merge(&mut together.tags, stored.tags.clone());
        merge(&mut together.groups, stored.groups.clone());
        let route = &self.asked.route;
        if bytes.len() as u64 > route.max_entry || together.tags.len() > route.max_tags {
            return None;
        }
        together.response.headers = combine::combined_fields(older.headers, newer.headers, extent);
        together.response.body = bytes.into();
        Some((extent, together))
    }
}
