//! What the admin listener asks for. The composition root answers.

use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;

use http::{HeaderMap, Method};
use serde::Serialize;
use serde_json::Value;

use super::problem::Problem;

/// Something that comes later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An answer, or why there is none.
pub type Answer<'a, T> = Later<'a, Result<T, Problem>>;

/// What can be asked of a running cache. The futures end soon after a minute at the latest, or are dropped then.
pub trait Control: Send + Sync + 'static {
    /// Invalidates what the content of `POST /purge` says: one JSON object, not looked at yet.
    fn purge(&self, request: Value) -> Answer<'_, Receipt>;

    /// Invalidates one URL with all its variants: `/path?query` on every host, or
    /// `http://host/path?query`, as it was typed.
    fn purge_url(&self, url: String, mode: Mode) -> Answer<'_, Receipt>;

    /// What would be done with such a request, and why. Changes nothing.
    fn explain(&self, question: Question) -> Answer<'_, Value>;

    /// What is stored for a URL (written as in [`Control::purge_url`]). Changes nothing.
    fn entry(&self, url: String) -> Answer<'_, Value>;

    /// Counters and state, for people.
    fn stats(&self) -> Answer<'_, Value>;

    /// The routes as they are understood.
    fn routes(&self) -> Answer<'_, Value>;

    /// May this process be sent requests? Asked often: answers from what is known.
    fn ready(&self) -> Later<'_, Readiness>;

    /// The page of metrics.
    fn metrics(&self) -> String;

    /// Reads the configuration again; keeps the old one if the new one is not valid.
    fn reload(&self) -> Answer<'_, Value>;
}

/// What a purge leaves of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing: the next client waits for the origin.
    #[default]
    Hard,
    /// A stale entry, served while it is refreshed.
    Soft,
}

impl FromStr for Mode {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        match text {
            "hard" => Ok(Self::Hard),
            "soft" => Ok(Self::Soft),
            _ => Err(Problem::bad_request("the mode of a purge is \"soft\" or \"hard\"")),
        }
    }
}

/// What a purge has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Its place in the ledger; `None` while it is only owed.
    pub position: Option<String>,
    /// What was invalidated, as `ledger::Name` writes it.
    pub names: Vec<String>,
    /// The instances that are known to have applied it.
    pub applied_by: Vec<String>,
    /// How.
    pub mode: Mode,
    /// True if it is applied here and Valkey has not taken it yet: the others will be told when it
    /// is back. Answered 202.
    pub owed: bool,
    /// The instances that are not known to have applied it, where all were waited for. Answered
    /// 202 unless there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Vec<Missing>>,
}

/// An instance that a purge waited for in vain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Which.
    pub instance: String,
    /// How far it was in the ledger.
    pub applied: String,
    /// For how long it has not been heard of, in milliseconds.
    pub silent_ms: u64,
    /// Silent for longer than it may vouch for what it has: until it has read the purge, it asks
    /// the origin before it serves anything.
    pub lapsed: bool,
}

impl Receipt {
    /// Does everybody know of it who was to?
    pub fn is_complete(&self) -> bool {
        !self.owed && self.missing.as_ref().is_none_or(Vec::is_empty)
    }
}

/// A request that nobody has sent: what if?
#[derive(Clone, Debug)]
pub struct Question {
    /// Its method.
    pub method: Method,
    /// Its target: `/path?query` or `http://host/path?query`.
    pub url: String,
    /// Its fields.
    pub headers: HeaderMap,
}

/// May this process be sent requests?
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// The answer.
    pub ready: bool,
    /// What it rests on.
    pub parts: Vec<Part>,
}

/// One thing that readiness rests on. A part may be out of order while the whole is ready: without
/// Valkey the proxy goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Which.
    pub name: String,
    /// In order?
    pub ok: bool,
    /// For people.
    pub detail: String,
}
