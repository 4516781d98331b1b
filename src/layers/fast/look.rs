//! Hits in the store that processes share: what is not in memory is looked up there before the layers
//! are troubled.
//!
//! | the store | then |
//! |---|---|
//! | has an entry that may be served as it is | it is served, to all who came for it meanwhile |
//! | knows of variants | it is asked for the one that this request asks for |
//! | has anything else, nothing, or no answer | the request takes the long way, and brings what was found |
//! | has nothing, or no answer | … and the duty to ask the origin for all who wait |
//! | is being asked for the same already | this request waits for what is found |
//!
//! If the origin is being asked already, it is for the layers to wait.

use std::sync::Mutex;

use http::HeaderName;

use super::*;
use crate::layers::cache::lookup::Shared;
use crate::layers::collapse::{self, Flight, Joined, Lead, Settlement};
use crate::peer::{ClientAddr, LocalAddr};
use crate::store::StoreError;

/// A lookup that is about to begin.
pub(super) struct Look {
    means: Arc<Means>,
    sought: Sought,
    /// Where to look; the fields, if that is a variant.
    at: (Key, Option<Vec<HeaderName>>),
    part: Part,
}

/// Who looks.
enum Part {
    /// This request, for all who come for the same.
    Lead(Lead),
    /// Another one.
    Follow(Arc<Flight>),
}

impl Look {
    /// `None` if there is no use in looking.
    pub(super) fn of(hits: &mut FastHits, head: &Head<'_>) -> Option<Self> {
        if !hits.means.store.is_shared() || !is_for_anybody(head.fields) {
            return None;
        }
        let sought = hits.seek(head)?;
        let at = missing(&hits.means, &sought.key, head.fields)?;
        let means = &hits.means;
        if let Some(host) = &hits.known.host {
            means.note_place(host.scheme(), host.authority.as_str());
        }
        let alone =
            !sought.route.collapse || means.hit_for_miss.is_noted(sought.key.digest, means.now());
        let part = if alone { None } else { part(means, &at.0) };
        Some(Self { means: Arc::clone(means), sought, at, part: part? })
    }

    /// Where to look after that was `found`, which is given back if there is nowhere.
    pub(super) fn onward(means: &Arc<Means>, head: &Head<'_>, found: Found) -> Result<Self, Found> {
        let next = found.0.downcast_ref().and_then(|brought| {
            let at = variant(brought, head.fields)?;
            Some((part(means, &at.0)?, at))
        });
        let Some((part, at)) = next else { return Err(found) };
        match found.0.downcast::<Brought>().map(Arc::try_unwrap) {
            Ok(Ok(Brought { sought, .. })) => {
                Ok(Self { means: Arc::clone(means), sought, at, part })
            }
            Ok(Err(brought)) => Err(Found(brought)),
            Err(found) => Err(Found(found)),
        }
    }

    /// Looks, or waits for who looks.
    pub(super) async fn find(self) -> Brought {
        let Self { means, sought, at, part } = self;
        let lead = match part {
            Part::Lead(lead) => lead,
            Part::Follow(flight) => {
                // A key that is another one with the same digest finds nothing.
                let found = flight.looked().await.filter(|entry| entry.key() == at.0.full);
                let shared = if found.is_some() { Shared::Asked } else { Shared::Unasked };
                let record = found.map(Record::Entry);
                return Brought { sought, at, record, shared, lead: Mutex::default() };
            }
        };
        let found = means.store.fetch(&at.0).await;
        let lead = Mutex::new(tell_followers(lead, &found));
        let shared = if found.is_ok() { Shared::Asked } else { Shared::Silent };
        Brought { sought, at, record: found.unwrap_or_default(), shared, lead }
    }
}

/// Tells them what was found. If that is nothing, they go on to wait for the origin, which is for the
/// one to ask who has the duty.
fn tell_followers(lead: Lead, found: &Result<Option<Record>, StoreError>) -> Option<Lead> {
    match found {
        Ok(Some(Record::Entry(entry))) => {
            lead.settle(Settlement::Entry(Arc::clone(entry), collapse::Found::Stored));
            None
        }
        Ok(Some(Record::Varies(varies))) => {
            lead.settle(Settlement::Varies(Some(varies.names.clone())));
            None
        }
        Ok(None) | Err(_) => {
            lead.goes_on();
            Some(lead)
        }
    }
}

/// Looks, and answers.
pub(super) async fn answer(
    watch: Arc<Watch>,
    mut look: Look,
    mut request: Parts,
) -> Result<Response<Bytes>, Parts> {
    loop {
        let means = Arc::clone(&look.means);
        let brought = look.find().await;
        let response = with_head(&request, |head| {
            let Some(Record::Entry(entry)) = &brought.record else { return None };
            let out = &mut Vec::with_capacity(OWN);
            tell((&means, &watch), head, &brought.sought, entry, out, respond)
        });
        if let Some(response) = response {
            return Ok(response);
        }
        let mut found = Some(Found(Arc::new(brought)));
        let onward = with_head(&request, |head| Some(Look::onward(&means, head, found.take()?)));
        match onward {
            Some(Ok(next)) => look = next,
            Some(Err(found)) => {
                request.extensions.insert(found);
                return Err(request);
            }
            None => return Err(request),
        }
    }
}

/// The head of a request that has one already.
pub(super) fn with_head<T>(request: &Parts, ask: impl FnOnce(&Head<'_>) -> Option<T>) -> Option<T> {
    let &ClientAddr(client) = request.extensions.get()?;
    let &LocalAddr(local) = request.extensions.get()?;
    let target = request.uri.path_and_query()?.as_str();
    let fields = Head::fields(&request.uri, &request.headers)?;
    ask(&Head { target, fields: &fields, client, local })
}

/// `None` if the origin is being asked.
fn part(means: &Arc<Means>, key: &Key) -> Option<Part> {
    match means.flights.look(key.digest, means.ledger.applied(), means.now()) {
        Joined::Lead(lead) => Some(Part::Lead(lead)),
        Joined::Follow(flight) => flight.is_looking().then(|| Part::Follow(flight)),
    }
}

/// Not with directives or credentials: the layers know whom those concern.
fn is_for_anybody(fields: &[Field<'_>]) -> bool {
    let concerns = |name: &str| {
        ["authorization", "cache-control", "pragma"].iter().any(|n| name.eq_ignore_ascii_case(n))
    };
    !fields.iter().any(|field| concerns(field.name))
}

/// The key under which memory has nothing, if it has nothing; that of the variant, if it knows that
/// there are some.
fn missing(
    means: &Means,
    key: &Key,
    fields: &[Field<'_>],
) -> Option<(Key, Option<Vec<HeaderName>>)> {
    let names = match means.store.peek(key) {
        None => return Some((key.clone(), None)),
        Some(Record::Entry(_)) => return None,
        Some(Record::Varies(varies)) => varies.names.clone(),
    };
    let headers = selected(fields, names.iter())?;
    let variant = key.variant(&names, &headers, vary::normalised);
    means.store.peek(&variant).is_none().then_some((variant, Some(names)))
}

/// The key of the variant, if what was found under the primary key says that there are some.
fn variant(brought: &Brought, fields: &[Field<'_>]) -> Option<(Key, Option<Vec<HeaderName>>)> {
    let (Some(Record::Varies(varies)), (_, None)) = (&brought.record, &brought.at) else {
        return None;
    };
    let headers = selected(fields, varies.names.iter())?;
    let key = brought.sought.key.variant(&varies.names, &headers, vary::normalised);
    Some((key, Some(varies.names.clone())))
}
