//! A request for a part that no stored whole answers. The origin is asked as the client asked it,
//! once for all who ask for the same part at the same time; what it says may be kept as a part,
//! under a key of its own.
//!
//! | what there is | the client gets | the store gets |
//! |---|---|---|
//! | a fresh part that holds what is asked for | it, cut to size | nothing |
//! | the origin says 206, one part that may be stored | it, streamed | it, with what is there |
//! | 206, any other | it | nothing |
//! | 200 | it, streamed | the whole, as from any fill |
//! | an error, or nothing | a stale part where that is allowed, or the error | nothing |
//! | anything else: 304, 416, … | it | nothing: others did not ask for this part |
//!
//! What becomes of a part that is kept: [`keeping`](super::keeping).

use std::sync::Arc;

use http::header::{CONTENT_RANGE, IF_RANGE};
use http::response::Parts as Head;
use http::{HeaderName, Response, StatusCode};
use http_body::Body as _;

use super::ask::ask;
use super::asked::Asked;
use super::deliver::{self, Asker, Served};
use super::fetch::{self, Company, Step};
use super::keeping::Keeping;
use super::lookup::{self, Looked, Shared as Tier};
use super::notes::UNSHAREABLE_FOR;
use super::part::{covers, held};
use super::recipe::{Moment, Recipe, answer, date, question};
use super::{Means, Origin};
use crate::body::Body;
use crate::error::{OriginFault, ProxyError};
use crate::key::{Digest, Key, tags};
use crate::layers::collapse::content::Content;
use crate::layers::collapse::{Flight, Joined, Lead, Settlement, Shared};
use crate::ledger::Standing;
use crate::plan::request::asks_for_whole;
use crate::plan::response::settle_part;
use crate::plan::{FetchReason, NotShared, Plan, StaleReason};
use crate::semantics::range::combine;
use crate::semantics::range::content_range::Extent;
use crate::semantics::storable::{NotStorable, is_server_error};
use crate::semantics::stored::Times;
use crate::semantics::time::Timestamp;
use crate::semantics::validation::CONDITIONAL_FIELDS;
use crate::semantics::vary::{self, Vary};
use crate::store::Entry;

/// Does a request that the origin must be asked for go this way? Not if the whole is worth asking
/// for.
pub fn concerns(asked: &Asked, looked: &Looked, now: Timestamp) -> bool {
    let found = looked.entry.as_ref().map(|(entry, standing)| (&**entry, *standing));
    asked.ranges.is_some() && !asks_for_whole(found, now)
}

/// The answer of a stored part, for who must not be sent on to the origin.
pub async fn stored(means: &Means, asked: &Arc<Asked>, whole: &Looked) -> Option<Response<Body>> {
    asked.ranges.as_ref()?;
    Parts::look(means, asked, whole).await.fresh(means)
}

/// What would be found for such a request: the stored part if it does, else what is known of the
/// whole.
pub async fn explained(means: &Means, asked: &Arc<Asked>, whole: Looked) -> Looked {
    if whole.is_servable() || !concerns(asked, &whole, means.now()) {
        return whole;
    }
    let parts = Parts::look(means, asked, &whole).await;
    if parts.covering(Plan::Serve).is_some() { parts.found } else { whole }
}

/// Answers from a stored part, or asks the origin.
pub async fn through<S: Origin>(
    means: &Arc<Means>,
    inner: &S,
    asked: &Arc<Asked>,
    looked: Looked,
    (reason, company): (FetchReason, Company),
) -> Step {
    let mut parts = Parts::look(means, asked, &looked).await;
    if let Some(response) = parts.fresh(means) {
        return Step::Done(response);
    }
    if let Some(response) = parts.backing_off(means) {
        return Step::Done(response);
    }
    let reason = parts.reason(reason);
    let mut lead = None;
    // Once more if those it waited with turn out to want another variant.
    let rounds = if company == Company::Alone { 0 } else { 2 };
    for _ in 0..rounds {
        match parts.join(means, &looked, reason).await {
            Joining::Answered(response) => return Step::Done(response),
            Joining::Varies(names) => parts.look_again(means, &looked, &names),
            Joining::Failed(fault) => return parts.failed(means, fault),
            Joining::Again => return Step::Again(None),
            Joining::Asks(leads) => {
                lead = leads;
                break;
            }
        }
    }
    let as_of = means.ledger.applied();
    let sent = means.now();
    let answer = ask(means, &mut inner.clone(), asked.route.index, asked.pass_on()).await;
    let moment = Moment { as_of, sent, received: means.now() };
    match answer {
        Ok(response) => {
            parts.answered(means, inner, looked, (response, moment), (reason, lead)).await
        }
        Err(error) => {
            let fault = match error {
                ProxyError::Origin(fault) => fault,
                other => OriginFault::Broken(other.to_string()),
            };
            parts.origin_failed(means, lead, &fault);
            parts.failed(means, fault)
        }
    }
}

/// A request for a part, and what is known of the parts that are stored.
struct Parts<'a> {
    /// As the client asked.
    asked: &'a Arc<Asked>,
    /// The same, looking where parts are.
    at: Arc<Asked>,
    found: Looked,
}

impl<'a> Parts<'a> {
    async fn look(means: &Means, asked: &'a Arc<Asked>, whole: &Looked) -> Self {
        let at = Arc::new(asked.for_parts());
        let found = lookup::peek(means, &at, None, means.now());
        let mut parts = Self { asked, at, found };
        parts.forget_older(whole);
        let elsewhere = means.store.is_shared() && whole.shared != Tier::Silent;
        if elsewhere && parts.covering(Plan::Serve).is_none() {
            let found = lookup::fetch(means, &parts.at, parts.found.names.as_deref()).await;
            if found.shared != Tier::Silent {
                parts.found = found;
                parts.forget_older(whole);
            }
        }
        parts
    }

    /// Looks where the variant is that this request selects by these fields.
    fn look_again(&mut self, means: &Means, whole: &Looked, names: &[HeaderName]) {
        self.found = lookup::peek(means, &self.at, Some(names), means.now());
        self.forget_older(whole);
    }

    /// Once a whole has come, however stale that is by now, a part from before it is history.
    fn forget_older(&mut self, whole: &Looked) {
        let received = |entry: &Entry| entry.times().response_time;
        let (Some((part, _)), Some((whole, _))) = (&self.found.entry, &whole.entry) else { return };
        if received(part) < received(whole) {
            self.found.entry = None;
            self.found.plan = Plan::Fetch(FetchReason::Miss);
        }
    }

    /// The stored part, if it holds what is asked for and `plan` is what is to be done with it.
    fn covering(&self, plan: Plan) -> Option<&Arc<Entry>> {
        let (entry, _) = self.found.entry.as_ref().filter(|_| self.found.plan == plan)?;
        covers(self.asked, &entry.response()).then_some(entry)
    }

    fn fresh(&self, means: &Means) -> Option<Response<Body>> {
        let entry = self.covering(Plan::Serve)?;
        Some(deliver::entry(self.asked, entry, Served::Hit, means.now()))
    }

    /// A stale part instead of an error (RFC 5861 §4).
    fn instead(&self, means: &Means) -> Option<Response<Body>> {
        let now = means.now();
        let (entry, _) = self.found.entry.as_ref()?;
        let may = lookup::may_stand_in(means, self.asked, entry, now)
            && covers(self.asked, &entry.response());
        may.then(|| {
            means.metrics.stale_if_error(self.asked.route.index);
            deliver::entry(self.asked, entry, Served::Stale(StaleReason::Error), now)
        })
    }

    /// A stale part while an origin that failed a moment ago is left alone.
    fn backing_off(&self, means: &Means) -> Option<Response<Body>> {
        let left_alone = matches!(self.found.plan, Plan::ServeBackingOff(_));
        if left_alone { self.instead(means) } else { None }
    }

    /// The origin is left alone for a moment, and who waits is not sent to it.
    fn origin_failed(&self, means: &Means, lead: Option<Lead>, fault: &OriginFault) {
        means.failures.note(self.found.key.digest, means.now(), means.retry_after);
        if let Some(lead) = lead {
            lead.settle(Settlement::Failed(fault.clone(), None));
        }
    }

    /// Waits with those who ask for the same part, or is the one who asks.
    async fn join(&self, means: &Means, whole: &Looked, reason: FetchReason) -> Joining {
        let (asked, now) = (self.asked, means.now());
        let question = self.question();
        let conditional = CONDITIONAL_FIELDS.iter().any(|name| asked.headers.contains_key(name));
        let alone = !asked.route.collapse
            || asked.has_credentials()
            || asked.demands.no_store
            || conditional
            || reason == FetchReason::Request
            || means.hit_for_miss.is_noted(question, now);
        if alone {
            return Joining::Asks(None);
        }
        let belongs = asked.belongs();
        let joined = means.flights.join(question, means.ledger.applied(), now, |flight| {
            lookup::may_join(means, asked, &belongs, flight, now) && flight.is_open(now)
        });
        match joined {
            Joined::Lead(lead) => {
                // Between the lookup and the lead another flight may have come and gone.
                let found = lookup::peek(means, &self.at, self.found.names.as_deref(), now);
                let mut again = Self { asked, at: Arc::clone(&self.at), found };
                again.forget_older(whole);
                again.fresh(means).map_or(Joining::Asks(Some(lead)), Joining::Answered)
            }
            Joined::Follow(flight) => {
                means.metrics.collapsed(asked.route.index);
                self.follow(means, &flight, reason).await
            }
        }
    }

    /// What all get who ask for the same part of the same variant.
    fn question(&self) -> Digest {
        self.found.key.question(&self.which())
    }

    fn which(&self) -> String {
        self.asked.ranges.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    fn variant(&self, names: &[HeaderName]) -> Key {
        if names.is_empty() { self.at.key.clone() } else { self.at.variant(names) }
    }

    /// Somebody else's part, if it is for this request too: the variant that this one asks for, not
    /// invalidated meanwhile, and still there from its beginning.
    async fn follow(&self, means: &Means, flight: &Flight, reason: FetchReason) -> Joining {
        let patience = self.asked.route.collapse_timeout;
        let settled = tokio::time::timeout(patience, flight.settled()).await;
        let shared = match settled {
            Ok(Settlement::Shared(shared)) => shared,
            Ok(Settlement::Failed(fault, _)) => return Joining::Failed(fault),
            Ok(Settlement::Unshareable) | Err(_) => return Joining::Asks(None),
            // Its client left, or it is there by now: one of those who waited asks for all.
            Ok(_) => return Joining::Again,
        };
        if !shared.answers(|name| vary::normalised(name, &self.asked.headers)) {
            return Joining::Varies(shared.varies.iter().map(|(name, _)| name.clone()).collect());
        }
        let (entry, now) = (&shared.entry, means.now());
        let standing = lookup::standing(means, self.asked, entry, now);
        match shared.content.body() {
            Some(body) if standing == Standing::Good => {
                let asker = (reason, Asker::Other);
                Joining::Answered(deliver::shared(self.asked, &shared, body, asker, now))
            }
            _ => Joining::Asks(None),
        }
    }

    /// Why the origin is asked. `whole`: why the whole does not do.
    const fn reason(&self, whole: FetchReason) -> FetchReason {
        match self.found.plan {
            Plan::Serve => FetchReason::Part,
            Plan::ServeAndRefresh(_) | Plan::ServeBackingOff(_) => FetchReason::Expired,
            Plan::Revalidate(why) => why,
            Plan::Fetch(FetchReason::Miss | FetchReason::VaryMiss) | Plan::Refuse(_) => whole,
            Plan::Fetch(why) => why,
        }
    }

    fn failed(&self, means: &Means, fault: OriginFault) -> Step {
        self.instead(means).map_or(Step::Failed(fault), Step::Done)
    }

    fn own(
        &self,
        mut response: Response<Body>,
        reason: FetchReason,
        detail: &'static str,
        moment: Moment,
    ) -> Step {
        tags::strip(response.headers_mut());
        let took = moment.received.since(moment.sent);
        Step::Done(deliver::own(self.asked, response, reason, detail, took))
    }

    /// The origin has answered; whoever waits for the same part hears of it if `lead` is there.
    async fn answered<S: Origin>(
        self,
        means: &Arc<Means>,
        inner: &S,
        looked: Looked,
        (response, moment): (Response<Body>, Moment),
        (reason, lead): (FetchReason, Option<Lead>),
    ) -> Step {
        match response.status() {
            StatusCode::PARTIAL_CONTENT => self.received(means, response, reason, moment, lead),
            // 200 above a part is a contradiction, and which of the two is true nobody can say.
            StatusCode::OK if response.headers().contains_key(CONTENT_RANGE) => {
                release(lead);
                self.own(response, reason, NotShared::BadPart.as_str(), moment)
            }
            // RFC 9110 §14.2: the origin ignored the Range, and this is the whole.
            StatusCode::OK => {
                let answer = (response, moment);
                fetch::take_over(means, inner, self.asked, looked, reason, answer, lead).await
            }
            status if is_server_error(status) => {
                self.origin_failed(means, lead, &OriginFault::Answered(status.as_u16()));
                match self.instead(means) {
                    Some(response) => Step::Done(response),
                    None => self.own(response, reason, "origin-error", moment),
                }
            }
            _ => {
                release(lead);
                self.own(response, reason, "range", moment)
            }
        }
    }

    /// A 206: on its way to the client it is read into the store, if it may be.
    fn received(
        self,
        means: &Arc<Means>,
        response: Response<Body>,
        reason: FetchReason,
        moment: Moment,
        lead: Option<Lead>,
    ) -> Step {
        let (mut head, body) = response.into_parts();
        date(&mut head.headers, moment.received);
        match self.keepable(means, &head, &body, moment) {
            Ok(kept) => self.keep(means, (head, body), kept, (reason, moment), lead),
            Err(why) => {
                if why.is_about_the_key() {
                    means.hit_for_miss.note(self.question(), means.now(), UNSHAREABLE_FOR);
                }
                release(lead);
                self.own(Response::from_parts(head, body), reason, why.as_str(), moment)
            }
        }
    }

    fn keepable(
        &self,
        means: &Means,
        head: &Head,
        body: &Body,
        moment: Moment,
    ) -> Result<Keepable, NotShared> {
        let route = &self.asked.route;
        let asked = question(self.asked, self.found.key.digest, moment.sent, None);
        let answer = answer(head, body, moment.received);
        let (extent, times) = settle_part(&asked, &answer)?;
        // Tags that stand in the content cannot be read from a part of it; and what was asked for by
        // a rule of an earlier response is only kept where it states that rule itself.
        if tags::needs_json(&route.tags) || self.asked.rule().is_some() {
            return Err(NotShared::BadTags);
        }
        // RFC 9110 §15.3.7: a 206 to If-Range leaves out what the client knows. Others do not.
        let lacking = self.asked.headers.contains_key(IF_RANGE);
        if lacking && !self.continues(extent, head) {
            return Err(NotShared::Forbidden(NotStorable::PartialContent));
        }
        let recipe = Recipe { means, asked: &self.at };
        let tags = recipe.tags_of_head(&head.headers).map_err(|_| NotShared::BadTags)?;
        Ok(Keepable { extent, times, tags, lacking })
    }

    /// Does this part go with the one that is stored?
    fn continues(&self, extent: Extent, head: &Head) -> bool {
        self.found.entry.as_ref().is_some_and(|(entry, _)| {
            let stored = &entry.response();
            held(stored).is_some_and(|held| {
                combine::may_combine((held, &stored.headers), (extent, &head.headers))
            })
        })
    }

    fn keep(
        self,
        means: &Arc<Means>,
        (mut head, body): (Head, Body),
        Keepable { extent, times, tags, lacking }: Keepable,
        (reason, moment): (FetchReason, Moment),
        lead: Option<Lead>,
    ) -> Step {
        let names = match vary::parse(&head.headers) {
            Vary::Fields(names) => names,
            Vary::None | Vary::Any => Vec::new(),
        };
        let recipe = Recipe { means, asked: &self.at };
        let entry = recipe.from_head(&self.at.key, &head, tags, times, moment);
        tags::strip(&mut head.headers);
        let (largest, budget) = (self.asked.route.max_entry, Arc::clone(&means.fill_budget));
        let content = Content::new(largest, body.size_hint().exact(), budget);
        let Some(read) = content.body() else {
            return Step::Failed(OriginFault::Broken("nothing to read".into()));
        };
        let chosen =
            |name: &HeaderName| (name.clone(), vary::normalised(name, &self.asked.headers));
        let shared = Arc::new(Shared {
            head,
            content: Arc::clone(&content),
            entry: entry.clone(),
            varies: names.iter().map(chosen).collect(),
            stored: true,
            instead: None,
        });
        let mut lead = lead;
        if let Some(lead) = &mut lead {
            // Who knows by then what it varies on finds it as well.
            lead.also_under(self.variant(&names).question(&self.which()));
            lead.settle(Settlement::Shared(Arc::clone(&shared)));
        }
        let keeping = Keeping {
            means: Arc::clone(means),
            asked: Arc::clone(self.asked),
            at: self.at,
            before: self.found,
            names,
            extent,
            lacking,
            lead,
        };
        tokio::spawn(keeping.run(entry, body, content));
        let asker = (reason, Asker::Own);
        Step::Done(deliver::shared(self.asked, &shared, read, asker, means.now()))
    }
}

/// Who waits asks for itself: what came is for one alone.
fn release(lead: Option<Lead>) {
    if let Some(lead) = lead {
        lead.settle(Settlement::Unshareable);
    }
}

/// What came of looking for company.
enum Joining {
    /// Somebody else's answer, or one that was stored a moment ago.
    Answered(Response<Body>),
    /// Somebody else's answer, for another variant: these fields select one.
    Varies(Vec<HeaderName>),
    /// The one who asked was told of an error.
    Failed(OriginFault),
    /// Nothing came of it, or something that is in the store by now: to be looked for again.
    Again,
    /// This request asks the origin; for others too, if it leads.
    Asks(Option<Lead>),
}

/// What is known of a part that may be kept.
struct Keepable {
    extent: Extent,
    times: Times,
    tags: Vec<Box<str>>,
    lacking: bool,
}
