//! Which query parameters count, as the origin last said for a path (`No-Vary-Search`, on routes
//! with `no_vary_search`). In memory and bounded: what is not known costs a miss.
//!
//! | the request was keyed | its response states | then |
//! |---|---|---|
//! | by the rule known | the same | it is stored there, and answers all who wait |
//! | plainly | a rule | it is stored by that rule, and answers those who asked with its own query |
//! | by the rule known | another, or none | it is stored by what it states, and only its asker gets it |
//! | by the rule known | 304 with another | asked again, without conditions |
//!
//! So an entry is only ever found by the rule that it states itself.

use std::sync::Arc;

use http::HeaderMap;
use quick_cache::sync::Cache;

use super::Means;
use super::asked::Asked;
use crate::key::Digest;
use crate::key::search::path_digest;
use crate::semantics::no_vary_search::{NO_VARY_SEARCH, Rule};
use crate::semantics::query::is_query;

/// How many paths are remembered at most.
const PATHS: usize = 1024;

/// The rule that each path stated last.
#[derive(Debug)]
pub struct Searches {
    rules: Cache<Digest, Arc<Rule>>,
}

impl Default for Searches {
    fn default() -> Self {
        Self { rules: Cache::new(PATHS) }
    }
}

/// The request, keyed by what is known of its path.
pub fn keyed(means: &Means, asked: Asked) -> Asked {
    if !applies(&asked) {
        return asked;
    }
    let known = means.searches.rules.get(&path_digest(&asked.key, &asked.uri));
    match known {
        Some(rule) => asked.by_rule(Some(rule)),
        None => asked,
    }
}

/// Remembers what a response states. The request keyed by that, if it was keyed otherwise.
pub fn rekeyed(means: &Means, asked: &Asked, headers: &HeaderMap) -> Option<Asked> {
    // A QUERY is told apart by its content, and never asked for by a rule.
    if is_query(&asked.method) {
        return None;
    }
    if !applies(asked) {
        return None;
    }
    let (stated, path) = (Rule::of_response(headers), path_digest(&asked.key, &asked.uri));
    if stated.as_ref() == asked.rule() {
        return None;
    }
    let stated = stated.map(Arc::new);
    match &stated {
        Some(rule) => means.searches.rules.insert(path, Arc::clone(rule)),
        None => drop(means.searches.rules.remove(&path)),
    }
    Some(asked.clone().by_rule(stated))
}

/// May an entry that was found for this request be renewed by a 304 with these fields? Not if they
/// state another rule: then it would have to be found elsewhere.
pub fn stands(asked: &Asked, headers: &HeaderMap) -> bool {
    !applies(asked)
        || !headers.contains_key(NO_VARY_SEARCH)
        || Rule::of_response(headers).as_ref() == asked.rule()
}

fn applies(asked: &Asked) -> bool {
    asked.route.no_vary_search
}
