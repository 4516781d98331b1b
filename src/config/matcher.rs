//! Which route is a request for?
//!
//! | step | what decides |
//! |---|---|
//! | 1 | the host: an exact one, then `*.` suffixes from the longest, then routes without a host |
//! | 2 | the method: of the routes of that host, only those that take it are looked at |
//! | 3 | the path: the most specific pattern (literal before capture, segment by segment) |
//! | 4 | two routes with this very pattern: the one that lists the method before the one that takes all |
//! | 5 | nothing found: the next host; after the last, the fallback |
//!
//! The method comes before the path, so that `GET /products/{id}` does not hide `/{*rest}` from a
//! `POST`: the write finds the rule that says what it invalidates. A route that lists GET takes
//! HEAD too, unless another lists it: the answer to HEAD is that of GET without its content.
//!
//! Nothing is allocated unless the route captures something.

use std::sync::Arc;

use http::Method;
use matchit::{InsertError, Router};

use super::captures::Captures;
use super::hosts::{bare_host, cmp_ignoring_case, ends_ignoring_case};
use super::pattern::Pattern;
use super::template::HostPattern;
use super::{Config, Route};

/// All routes, ready to be asked.
#[derive(Clone, Debug)]
pub struct Routes {
    /// By host, in the order of `cmp_ignoring_case`.
    exact: Vec<(Arc<str>, Tier)>,
    /// By suffix, longest first.
    suffixes: Vec<(Arc<str>, Tier)>,
    /// Routes without a host.
    any: Tier,
    fallback: Arc<Route>,
}

/// The route of a request.
#[derive(Clone, Debug)]
pub struct Match {
    /// The route, or the fallback.
    pub route: Arc<Route>,
    /// What its path captured.
    pub captures: Captures,
}

impl Routes {
    /// Of a configuration. Where two routes are for the same requests the earlier one wins; a
    /// [`Config`] that was loaded has no such routes.
    pub fn new(config: &Config) -> Self {
        Self::build(&config.routes, &config.fallback).0
    }

    /// The route of a request for this host (with or without a port, in any case), method and
    /// path (raw: normalised but not decoded, without the query string).
    pub fn find(&self, host: &str, method: &Method, path: &str) -> Match {
        self.tiers(host).find_map(|tier| tier.find(method, path)).unwrap_or_else(|| Match {
            route: Arc::clone(&self.fallback),
            captures: Captures::none(),
        })
    }

    /// The tiers that a host belongs to, the most specific first.
    fn tiers(&self, host: &str) -> impl Iterator<Item = &Tier> {
        let host = bare_host(host);
        let exact = self.exact.binary_search_by(|(name, _)| cmp_ignoring_case(name, host)).ok();
        let exact = exact.and_then(|at| self.exact.get(at));
        let suffixes =
            self.suffixes.iter().filter(move |(suffix, _)| ends_ignoring_case(host, suffix));
        exact.into_iter().chain(suffixes).map(|(_, tier)| tier).chain([&self.any])
    }

    /// The routes, and those that stand in each other's way.
    pub(super) fn build(routes: &[Arc<Route>], fallback: &Arc<Route>) -> (Self, Vec<Conflict>) {
        let mut hosts: Vec<Option<HostPattern>> = Vec::new();
        for route in routes {
            if !hosts.contains(&route.host) {
                hosts.push(route.host.clone());
            }
        }
        let mut conflicts = Vec::new();
        let mut built = Self {
            exact: Vec::new(),
            suffixes: Vec::new(),
            any: Tier::default(),
            fallback: Arc::clone(fallback),
        };
        for host in hosts {
            let of_host: Vec<_> = routes.iter().filter(|route| route.host == host).collect();
            let tier = Tier::build(&of_host, &mut conflicts);
            match host {
                Some(HostPattern::Exact(name)) => built.exact.push((name, tier)),
                Some(HostPattern::Suffix(suffix)) => built.suffixes.push((suffix, tier)),
                None => built.any = tier,
            }
        }
        built.exact.sort_by(|(a, _), (b, _)| cmp_ignoring_case(a, b));
        built.suffixes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        (built, conflicts)
    }
}

/// Two routes that stand in each other's way, by their `index`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    /// The one that was left out.
    pub(super) route: usize,
    /// The one that was there, if it is known which.
    pub(super) with: Option<usize>,
    /// Do they match the very same paths?
    pub(super) same: bool,
}

/// The routes of one host.
#[derive(Clone, Debug, Default)]
struct Tier {
    /// For each method that any of them lists, the routes that take it.
    listed: Vec<(Method, Router<Target>)>,
    /// For other methods: the routes that take all.
    others: Router<Target>,
}

#[derive(Clone, Debug)]
struct Target {
    route: Arc<Route>,
    names: Arc<[Box<str>]>,
}

impl Tier {
    fn build(routes: &[&Arc<Route>], conflicts: &mut Vec<Conflict>) -> Self {
        let mut methods: Vec<&Method> = routes.iter().flat_map(|route| &route.methods).collect();
        if methods.contains(&&Method::GET) {
            methods.push(&Method::HEAD);
        }
        methods.sort_by_key(|method| method.as_str());
        methods.dedup();
        let listed = methods.into_iter().map(|method| {
            let rank = |route: &Route| rank(route, method);
            (method.clone(), router(routes, rank, conflicts))
        });
        let listed = listed.collect();
        let takes_all = |route: &Route| route.methods.is_empty().then_some(Rank::All);
        Self { listed, others: router(routes, takes_all, conflicts) }
    }

    fn find(&self, method: &Method, path: &str) -> Option<Match> {
        let listed = self.listed.iter().find(|(listed, _)| listed == method);
        let router = listed.map_or(&self.others, |(_, router)| router);
        let found = router.at(path).ok()?;
        let values = found.params.iter().map(|(_, value)| value);
        let captures = Captures::zip(&found.value.names, values, path.len());
        Some(Match { route: Arc::clone(&found.value.route), captures })
    }
}

/// How closely a route's list of methods fits a method, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Listed,
    HeadOfGet,
    All,
}

fn rank(route: &Route, method: &Method) -> Option<Rank> {
    if route.methods.contains(method) {
        Some(Rank::Listed)
    } else if *method == Method::HEAD && route.methods.contains(&Method::GET) {
        Some(Rank::HeadOfGet)
    } else {
        route.methods.is_empty().then_some(Rank::All)
    }
}

/// A router of those routes that have a rank; of two with the same shape, the better rank.
fn router(
    routes: &[&Arc<Route>],
    rank: impl Fn(&Route) -> Option<Rank>,
    conflicts: &mut Vec<Conflict>,
) -> Router<Target> {
    let mut candidates: Vec<_> =
        routes.iter().filter_map(|route| Some((rank(route)?, *route))).collect();
    candidates.sort_by_key(|(rank, _)| *rank);
    let mut router = Router::new();
    let mut taken: Vec<(Rank, Box<str>, usize)> = Vec::new();
    for (rank, route) in candidates {
        let Ok(pattern) = route.path.parse::<Pattern>() else { continue };
        let conflict = match taken.iter().find(|(_, shape, _)| *shape == pattern.shape) {
            Some((earlier, ..)) if *earlier != rank => continue,
            Some((_, _, with)) => {
                Some(Conflict { route: route.index, with: Some(*with), same: true })
            }
            None => {
                let target = Target { route: Arc::clone(route), names: pattern.captures };
                let error = router.insert(&*route.path, target).err();
                error.map(|error| overlap(routes, route, &error))
            }
        };
        match conflict {
            Some(conflict) if !conflicts.contains(&conflict) => conflicts.push(conflict),
            Some(_) => {}
            None => taken.push((rank, pattern.shape, route.index)),
        }
    }
    router
}

fn overlap(routes: &[&Arc<Route>], route: &Route, error: &InsertError) -> Conflict {
    let with = match error {
        InsertError::Conflict { with } => routes
            .iter()
            .find(|other| *other.path == **with && other.index != route.index)
            .map(|other| other.index),
        _ => None,
    };
    Conflict { route: route.index, with, same: false }
}

#[cfg(test)]
#[path = "matcher_tests.rs"]
mod tests;
