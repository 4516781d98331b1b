//! From a response to an entry: which key, which tags, which fields, as of when.

use std::sync::Arc;

use bytes::Bytes;
use http::header::SET_COOKIE;
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Body as _;

use super::Means;
use super::asked::Asked;
use crate::body::Body;
use crate::config::SetCookie;
use crate::key::tags::{self, TagFault};
use crate::key::{Digest, Key};
use crate::layers::collapse::content::Content;
use crate::ledger::Position;
use crate::ledger::name::Belongs;
use crate::peer::CloseDelimited;
use crate::plan::response::{Answer, Asked as AskedOrigin};
use crate::semantics::stored::{StoredResponse, Times, storable_headers};
use crate::semantics::time::Timestamp;
use crate::semantics::{fields, groups, validation};
use crate::store::{Entry, Judged, Record, Varies};

/// What a request to the origin was, in time.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Position that had been applied here before it was sent.
    pub as_of: Position,
    /// When it was sent.
    pub sent: Timestamp,
    /// When the response's head was here.
    pub received: Timestamp,
}

/// The names that a 304 brings along, whole.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Tags in addition to those that the entry has.
    tags: Vec<Box<str>>,
    /// Groups in place of those that it has; `None`: it keeps those.
    groups: Option<Vec<Box<str>>>,
}

/// What the origin was asked, for `plan`: by a fill of `asked`, sent then, about `validating`.
pub fn question<'a>(
    asked: &'a Asked,
    digest: Digest,
    sent: Timestamp,
    validating: Option<&'a StoredResponse>,
) -> AskedOrigin<'a> {
    AskedOrigin {
        route: &asked.route,
        digest,
        method: asked.method_of_fills(),
        headers: &asked.headers,
        sent,
        validating,
    }
}

/// What it answered, for `plan`.
pub fn answer<'a>(head: &'a Parts, body: &Body, received: Timestamp) -> Answer<'a> {
    Answer {
        status: head.status,
        headers: &head.headers,
        length: body.size_hint().exact(),
        close_delimited: head.extensions.get::<CloseDelimited>().is_some(),
        received,
    }
}

/// Is there something by now that the origin was asked for later? What is slow must not take the
/// place of what is newer, though nothing that passed here has changed it.
pub fn is_outdone(means: &Means, key: &Key, entry: &Entry) -> bool {
    matches!(means.store.peek(key), Some(Record::Entry(found)) if found.vouched > entry.vouched)
}

/// What an entry is made from, besides the response.
#[derive(Clone, Copy, Debug)]
pub struct Recipe<'a> {
    /// Means of the cache.
    pub means: &'a Means,
    /// The request that was sent for it.
    pub asked: &'a Asked,
}

impl Recipe<'_> {
    /// Where the response goes: under the primary key, or under the key of its variant, with the
    /// way there noted under the primary key at once, so that others with other values do not wait
    /// for this one. `None`: there are too many variants already.
    pub async fn place(&self, names: &[HeaderName], times: &Times) -> Option<Key> {
        let primary = &self.asked.key;
        if names.is_empty() {
            return Some(primary.clone());
        }
        let key = self.asked.variant(names);
        let known = match self.means.store.peek(primary) {
            Some(record) => Some(record),
            None => self.means.store.fetch(primary).await.unwrap_or_default(),
        };
        let mut varies = Varies {
            key: primary.full.clone(),
            names: names.to_vec(),
            variants: Vec::new(),
            keep_until: times.keep_until,
        };
        if let Some(Record::Varies(known)) = known
            && known.names == names
        {
            let now = self.means.now();
            varies.variants =
                known.variants.iter().copied().filter(|(_, until)| now < *until).collect();
            varies.keep_until = varies.keep_until.max(known.keep_until);
        }
        varies.variants.retain(|(digest, _)| *digest != key.digest);
        if varies.variants.len() >= self.asked.route.max_variants {
            return None;
        }
        varies.variants.push((key.digest, times.keep_until));
        let _ = self.means.store.put(primary, Record::Varies(Arc::new(varies))).await;
        Some(key)
    }

    /// Tags that are known before the content is here. Fails if the head names groups that
    /// [`Self::from_head`] cannot all keep.
    pub fn tags_of_head(&self, headers: &HeaderMap) -> Result<Vec<Box<str>>, TagFault> {
        let route = &self.asked.route;
        groups::of_response(headers)?;
        tags::of_response(&route.tags, &self.asked.captures, None, headers, route.max_tags)
    }

    /// What a 304 says of tags and groups. RFC 9111 §3.2: its fields take the place of the stored
    /// ones, so that the groups it names are all there are.
    pub fn told(&self, headers: &HeaderMap) -> Result<Told, TagFault> {
        let tags = tags::from_headers(headers, self.asked.route.max_tags)?;
        Ok(Told { tags, groups: groups::of_response(headers)? })
    }

    /// The entry without its content.
    pub fn from_head(
        &self,
        key: &Key,
        parts: &Parts,
        tags: Vec<Box<str>>,
        times: Times,
        moment: Moment,
    ) -> Entry {
        // Not stored, `tags_of_head` has failed: then nobody asks for them.
        let groups = groups::of_response(&parts.headers).ok().flatten().unwrap_or_default();
        let belongs = Belongs::of(&key.namespace, &self.asked.url, &tags, &groups);
        Entry {
            key: key.full.clone(),
            response: StoredResponse {
                status: parts.status,
                headers: stored_headers(&parts.headers, self.asked.route.set_cookie),
                body: Bytes::new(),
                times,
            },
            namespace: Box::from(&*key.namespace),
            url: self.asked.url.clone(),
            tags,
            groups,
            belongs,
            as_of: moment.as_of,
            vouched: moment.sent,
            fill_time: moment.received.since(moment.sent),
            judged: Judged::default(),
        }
    }

    /// An entry with the content that has arrived; `None` if not all of it was kept, or if its tags
    /// cannot all be had.
    pub fn complete(&self, entry: &Entry, content: &Content) -> Option<Entry> {
        let mut entry = entry.clone();
        entry.response.body = content.whole()?;
        let tags = self.all_tags(&entry)?;
        // Most have no tags in their content: then it belongs where its head has put it.
        if tags != entry.tags {
            entry.tags = tags;
            entry.belongs = Belongs::of(&entry.namespace, &entry.url, &entry.tags, &entry.groups);
        }
        Some(entry)
    }

    /// A stored entry that the origin confirmed with these fields, what is `told` among them
    /// (RFC 9111 §3.2, §4.3.4).
    pub fn renewed(
        &self,
        stale: &Entry,
        headers: &HeaderMap,
        told: Told,
        (times, moment): (Times, Moment),
    ) -> Entry {
        let mut entry = stale.clone();
        let cookies = self.asked.route.set_cookie == SetCookie::Store;
        entry.response.headers =
            validation::freshen_with(&stale.response.headers, headers, cookies);
        merge(&mut entry.tags, told.tags);
        if let Some(groups) = told.groups {
            entry.groups = groups;
        }
        tags::strip(&mut entry.response.headers);
        compact(&mut entry.response.headers);
        date(&mut entry.response.headers, moment.received);
        entry.belongs = Belongs::of(&entry.namespace, &entry.url, &entry.tags, &entry.groups);
        entry.response.times = times;
        entry.as_of = moment.as_of;
        entry.vouched = moment.sent;
        entry
    }

    /// The tags known from the head, and those that only the content tells; `None` if they cannot
    /// all be had: an entry that lacks a tag would outlive that tag's invalidation.
    fn all_tags(&self, entry: &Entry) -> Option<Vec<Box<str>>> {
        let route = &self.asked.route;
        let mut all = entry.tags.clone();
        if tags::needs_json(&route.tags) && may_be_json(&entry.response.headers) {
            let json: serde_json::Value = serde_json::from_slice(&entry.response.body).ok()?;
            let captures = &self.asked.captures;
            let told = tags::from_templates(&route.tags, captures, Some(&json), route.max_tags);
            merge(&mut all, told.ok()?);
        }
        (all.len() <= route.max_tags).then_some(all)
    }
}

/// Adds the tags that are not there yet.
pub(super) fn merge(tags: &mut Vec<Box<str>>, more: Vec<Box<str>>) {
    for tag in more {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
}

/// The fields of a response that are stored, tags aside: those go into the entry. Cookies are among
/// them only where the route says so; who asked got them with the response as it came.
fn stored_headers(headers: &HeaderMap, cookies: SetCookie) -> HeaderMap {
    let mut stored = storable_headers(headers);
    if cookies != SetCookie::Store {
        stored.remove(SET_COOKIE);
    }
    tags::strip(&mut stored);
    compact(&mut stored);
    stored
}

/// Gives every value memory of its own: as it came it is a window on the buffer that the head was
/// read into, and would keep that for as long as the entry lives.
fn compact(headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        if let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) {
            copy.set_sensitive(value.is_sensitive());
            *value = copy;
        }
    }
}

/// RFC 9110 §6.6.1: a recipient with a clock that stores a response without Date appends one.
pub fn date(headers: &mut HeaderMap, received: Timestamp) {
    if !headers.contains_key(http::header::DATE) {
        headers.append(http::header::DATE, fields::format_http_date(received));
    }
}

/// Does the head say that the content is JSON, or not say what it is?
fn may_be_json(headers: &HeaderMap) -> bool {
    headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_none_or(|text| {
        let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        kind == "application/json" || kind.ends_with("+json")
    })
}
