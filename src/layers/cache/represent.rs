//! The answer to a write that is itself what a GET of its target gets: it becomes the entry, while
//! the client reads it.
//!
//! | step | when | what ends it |
//! |---|---|---|
//! | noted | before the write is sent | a method whose answers are not kept; a route that stores nothing |
//! | judged | its answer is here and its invalidation recorded | what `semantics::representation` or `plan::response` refuse; a record that is owed, or not passed; another one in between |
//! | read | as fast as the origin sends, at most `max_entry` ahead of the client | a transfer that breaks off or is too large |
//! | stored | all of it is here | another record; a fill that began after this one; variants or tags without room |
//!
//! **As of when is it?** The write's own record, at P, throws away what was stored before, and must
//! not throw away this: it is as of P. But that is more than an answer can vouch for by itself. It
//! tells of the state when the origin carried this write out, somewhere between its sending and P.
//! Another write that was carried out after that, and recorded before P, has replaced it, and as of
//! P nothing would show that any more. So it is stored only if between the position applied before
//! it was sent and P no other record reached it ([`LedgerHandle::is_undisturbed`]). A write that is
//! recorded after P throws it away as it does any entry, whichever of the two came first at the
//! origin: at worst a miss.
//!
//! **Under which key?** That of a GET of the same URI, on the route that GET finds, with the fields
//! of the write: where it varies (RFC 9111 §4.1), those are the "original request" whose fields a
//! later GET must match.
//!
//! [`LedgerHandle::is_undisturbed`]: crate::store::ledger::LedgerHandle::is_undisturbed

use std::sync::Arc;

use http::response::Parts;
use http::{HeaderMap, HeaderName, Method, Request, Response, Uri};
use http_body::Body as _;

use super::asked::Asked;
use super::fill::{Ending, pump};
use super::recipe::{Moment, Recipe, answer, date, question};
use super::{Means, Origin};
use crate::body::Body;
use crate::config::Route;
use crate::config::matcher::Match;
use crate::layers::collapse::content::{Content, End};
use crate::ledger::name::Belongs;
use crate::ledger::{Position, Standing};
use crate::plan::Outcome;
use crate::plan::response::settle;
use crate::plan::write::may_be_kept;
use crate::semantics::representation::is_of_target;
use crate::semantics::stored::Times;
use crate::semantics::time::Timestamp;
use crate::semantics::{targeted, vary};
use crate::store::ledger::Receipt;
use crate::store::{Entry, Record};

/// What is noted of a write before it is sent.
#[derive(Debug)]
pub struct Noted {
    uri: Uri,
    headers: HeaderMap,
    /// Applied here before it was sent.
    since: Position,
    sent: Timestamp,
}

impl Noted {
    /// `None` if whatever answers it is not kept.
    pub fn of(means: &Means, route: &Route, request: &Request<Body>) -> Option<Self> {
        if !route.cache || !may_be_kept(request.method(), route.write_through) {
            return None;
        }
        Some(Self {
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            since: means.ledger.applied(),
            sent: means.now(),
        })
    }

    /// The answer, received at that time, for the client; true if it is being stored. `targets`: what
    /// the origin may call the write's target. `receipt`: of the write's own invalidation.
    pub fn keep<S: Origin>(
        self,
        means: &Arc<Means>,
        targets: &[Uri],
        receipt: &Receipt,
        (response, received): (Response<Body>, Timestamp),
    ) -> (Response<Body>, bool) {
        let control = targeted::effective(response.headers());
        let is_target = |target| {
            let (status, headers) = (response.status(), response.headers());
            is_of_target(target, status, headers, &control, received).is_ok()
        };
        // Unless all that was recorded before its own record is known here, nobody can say what came
        // in between.
        if receipt.owed || !receipt.passed || !targets.iter().any(is_target) {
            return (response, false);
        }
        let (mut parts, body) = response.into_parts();
        date(&mut parts.headers, received);
        let since = self.since;
        let moment = Moment { as_of: receipt.position, sent: self.sent, received };
        let keeping = self
            .asked(means)
            .and_then(|asked| Keeping::of(means, asked, &parts, &body, (since, moment)));
        let Some(keeping) = keeping else { return (Response::from_parts(parts, body), false) };
        let announced = body.size_hint().exact();
        let largest = keeping.asked.route.max_entry;
        let content = Content::new(largest, announced, Arc::clone(&means.fill_budget));
        let Some(reader) = content.reader() else {
            return (Response::from_parts(parts, body), false);
        };
        tokio::spawn(async move {
            let _ends = Ending(&content);
            let end = pump(body, &content).await.unwrap_or(End::Broken);
            content.end(end);
            if end == End::Complete {
                keeping.store(&content).await;
            }
        });
        (Response::from_parts(parts, Body::streaming(reader)), true)
    }

    /// The GET that would get the same; `None` if its route stores nothing.
    fn asked(self, means: &Means) -> Option<Asked> {
        let host = self.uri.host().unwrap_or_default();
        let Match { route, captures } = means.routes.find(host, &Method::GET, self.uri.path());
        if !route.cache {
            return None;
        }
        let mut get = Request::new(());
        *get.uri_mut() = self.uri;
        *get.headers_mut() = self.headers;
        let tags = means.stamp(&route);
        let version = |namespace: &str| means.ledger.version(namespace);
        Some(Asked::new(route, captures, get.into_parts().0, tags, version))
    }
}

/// An answer on its way into the store.
struct Keeping {
    means: Arc<Means>,
    asked: Asked,
    /// Without its content.
    entry: Entry,
    /// The fields that it varies on.
    names: Vec<HeaderName>,
    /// Applied here before the write was sent.
    since: Position,
}

impl Keeping {
    /// `None` if the answer to a GET would not be stored either, or if it is disturbed already.
    fn of(
        means: &Arc<Means>,
        asked: Asked,
        parts: &Parts,
        body: &Body,
        (since, moment): (Position, Moment),
    ) -> Option<Self> {
        let names = match vary::parse(&parts.headers) {
            vary::Vary::Fields(names) => names,
            vary::Vary::None => Vec::new(),
            vary::Vary::Any => return None,
        };
        let key = if names.is_empty() { asked.key.clone() } else { asked.variant(&names) };
        let question = question(&asked, key.digest, moment.sent, None);
        let answer = answer(parts, body, moment.received);
        let Outcome::Store(times) = settle(&question, &answer) else { return None };
        let recipe = Recipe { means, asked: &asked };
        let tags = recipe.tags_of_head(&parts.headers).ok()?;
        let entry = recipe.from_head(&key, parts, tags, times, moment);
        let keeping = Self { means: Arc::clone(means), asked, entry, names, since };
        keeping.is_undisturbed(&keeping.entry.belongs()).then_some(keeping)
    }

    async fn store(self, content: &Content) {
        let recipe = Recipe { means: &self.means, asked: &self.asked };
        let times: Times = self.entry.times();
        let Some(entry) = recipe.complete(&self.entry, content) else { return };
        let Some(key) = recipe.place(&self.names, &times).await else { return };
        let store = &self.means.store;
        let elsewhere = match store.peek(&key) {
            None if store.is_shared() => store.fetch(&key).await.unwrap_or_default(),
            _ => None,
        };
        // From here on nothing waits: what is looked at last decides.
        let outrun = self.is_outrun_by(elsewhere) || self.is_outrun_by(store.peek(&key));
        if outrun || !self.is_undisturbed(&entry.belongs()) {
            return;
        }
        self.means.metrics.fill(self.asked.route.index);
        let _ = store.put(&key, Record::Entry(Arc::new(entry))).await;
    }

    /// Was the write's own record the only one to reach it since the write was sent?
    fn is_undisturbed(&self, belongs: &Belongs) -> bool {
        let (ledger, entry) = (&self.means.ledger, &self.entry);
        let now = self.means.now();
        ledger.is_undisturbed(self.since, entry.as_of, belongs)
            && ledger.judge(entry.as_of, entry.vouched, belongs, now) == Standing::Good
    }

    /// Is this of a fill that began after the write's record? It is newer.
    fn is_outrun_by(&self, found: Option<Record>) -> bool {
        matches!(found, Some(Record::Entry(found)) if found.as_of >= self.entry.as_of)
    }
}
