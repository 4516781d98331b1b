//! A request on its way through the cache: everything about it that does not change.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, PRAGMA, RANGE};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, Method, Request, Uri, Version};

use crate::body::Body;
use crate::config::captures::Captures;
use crate::config::{RequestDirectives, Route};
use crate::key::{Key, Place, query, tags, url};
use crate::ledger::name::Belongs;
use crate::ledger::{Floor, Position};
use crate::peer::Interim;
use crate::semantics::no_vary_search::Rule;
use crate::semantics::query::is_query;
use crate::semantics::range::{self, Field, Ranges};
use crate::semantics::reuse::Demands;
use crate::semantics::{validation, vary};

/// A request that is ours to cache.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its route, and what the route's path captured.
    pub route: Arc<Route>,
    /// See `route`.
    pub captures: Captures,
    /// GET, HEAD or QUERY.
    pub method: Method,
    /// Of a QUERY: all of it, as it is in the key and goes to the origin. Of others none.
    pub content: Bytes,
    /// Absolute, with the canonical query.
    pub uri: Uri,
    /// `//host/path?query`, as its entry has it.
    pub url: Box<str>,
    /// As the client sent them, hop-by-hop fields aside.
    pub headers: HeaderMap,
    /// What layers below need to know of the connection.
    pub extensions: Extensions,
    /// Where its response, or the list of its variants, is.
    pub key: Key,
    /// The rule that this key was made by, and the key without one.
    by_rule: Option<Box<(Arc<Rule>, Key)>>,
    /// What its own directives ask, as far as its route has ears for them.
    pub demands: Demands,
    /// The part that it asks for.
    pub ranges: Option<Ranges>,
    /// What the origin was asked before this is not for it; only where the ledger cannot say.
    pub floor: Option<Floor>,
}

impl Asked {
    /// Reads a request. `tags`: the stamp of its route's; `version`: of a namespace, as the ledger
    /// has it.
    pub fn new(
        route: Arc<Route>,
        captures: Captures,
        parts: Parts,
        tags: [u8; 8],
        version: impl FnOnce(&str) -> Position,
    ) -> Self {
        let canonical = query::canonical(&route.key.query, parts.uri.query());
        let uri = url::canonical_uri(&parts.uri, canonical.as_deref());
        let url = url::entry_url(&parts.uri, canonical.as_deref());
        let namespace = namespace(&route, &captures);
        let version = version(&namespace);
        let place = Place { route: &route.name, namespace: &namespace, version, tags };
        let key = Key::primary(&place, &route.key, &uri, &parts.headers);
        let demands = Demands::of(&parts.headers);
        let demands = match route.request_directives {
            RequestDirectives::Honour => demands,
            RequestDirectives::Ignore => demands.unless_advisory(),
        };
        let ranges = ranges(&parts);
        Self {
            route,
            captures,
            method: parts.method,
            content: Bytes::new(),
            uri,
            url,
            headers: parts.headers,
            extensions: parts.extensions,
            key,
            by_rule: None,
            demands,
            ranges,
            floor: None,
        }
    }

    /// The same request, which is not served what the origin was asked before this.
    pub fn above(self, floor: Option<Floor>) -> Self {
        Self { floor, ..self }
    }

    /// The same request, keyed by what this rule leaves of its query. The origin is asked with all
    /// of it, and its entry's URL has all of it.
    pub fn by_rule(mut self, rule: Option<Arc<Rule>>) -> Self {
        if let Some(by_rule) = self.by_rule.take() {
            self.key = by_rule.1;
        }
        if let Some(rule) = rule
            && let Some(key) = self.key.by_rule(&rule, self.uri.query())
        {
            self.by_rule = Some(Box::new((rule, std::mem::replace(&mut self.key, key))));
        }
        self
    }

    /// The rule that its key was made by.
    pub fn rule(&self) -> Option<&Rule> {
        self.by_rule.as_ref().map(|by_rule| &*by_rule.0)
    }

    /// The same request as a QUERY with this content, under the key of that.
    pub fn with_content(self, content: Bytes) -> Self {
        let key = self.key.asking(&self.method, &self.headers, &content);
        Self { key, content, ..self }
    }

    /// The method that its fills are made with: HEAD is answered from what GET stored.
    pub fn method_of_fills(&self) -> &Method {
        static GET: Method = Method::GET;
        if is_query(&self.method) { &self.method } else { &GET }
    }

    /// Its key in a form to be read (RFC 9211 §2.7), if its route shows it. The fields and cookies in
    /// it are left out: they may be secrets.
    pub fn shown_key(&self) -> Option<Box<str>> {
        let Key { route, namespace, version, .. } = &self.key;
        let query = if is_query(&self.method) { "QUERY " } else { "" };
        let legible = || format!("{route} {namespace}@{version} {query}{}", self.url).into();
        self.route.show_key.then(legible)
    }

    /// The key of the variant that this request selects.
    pub fn variant(&self, names: &[HeaderName]) -> Key {
        self.key.variant(names, &self.headers, vary::normalised)
    }

    /// What its entry belongs to, as far as that is known before the origin is asked.
    pub fn belongs(&self) -> Belongs {
        let tags =
            tags::from_templates(&self.route.tags, &self.captures, None, self.route.max_tags);
        Belongs::of(&self.key.namespace, &self.url, &tags.unwrap_or_default(), &[""; 0])
    }

    /// True if it carries credentials that are not part of its key: what comes back is most likely
    /// for its sender alone (RFC 9111 §3.5).
    pub fn has_credentials(&self) -> bool {
        self.headers.contains_key(AUTHORIZATION) && !self.route.key.headers.contains(&AUTHORIZATION)
    }

    /// The same request without what its sender asks of caches: for a refresh, which is everybody's.
    pub fn for_everybody(&self) -> Self {
        let mut headers = self.headers.clone();
        headers.remove(CACHE_CONTROL);
        headers.remove(PRAGMA);
        // Nobody waits for it: interim responses to it are nobody's.
        let mut extensions = self.extensions.clone();
        extensions.remove::<Interim>();
        Self {
            route: Arc::clone(&self.route),
            captures: self.captures.clone(),
            method: self.method_of_fills().clone(),
            content: self.content.clone(),
            uri: self.uri.clone(),
            url: self.url.clone(),
            headers,
            extensions,
            key: self.key.clone(),
            by_rule: self.by_rule.clone(),
            demands: Demands::default(),
            ranges: None,
            floor: None,
        }
    }

    /// The same request, looking where parts are kept.
    pub fn for_parts(&self) -> Self {
        Self {
            headers: self.headers.clone(),
            key: self.key.parts(),
            demands: self.demands.clone(),
            ranges: self.ranges.clone(),
            floor: self.floor,
            ..self.for_everybody()
        }
    }

    /// The request that fetches it for everybody: without what only this client asked for, and
    /// conditional if there is something to validate.
    pub fn fetch(&self, validators: Vec<(HeaderName, http::HeaderValue)>) -> Request<Body> {
        let mut request = self.bare_request(self.method_of_fills().clone());
        for name in validation::CONDITIONAL_FIELDS {
            request.headers_mut().remove(name);
        }
        // Everybody's is the whole.
        request.headers_mut().remove(RANGE);
        // Tags are read from the content, so it must come as it is.
        if tags::needs_json(&self.route.tags) {
            request.headers_mut().remove(ACCEPT_ENCODING);
        }
        for (name, value) in validators {
            request.headers_mut().append(name, value);
        }
        request
    }

    /// The request as it came.
    pub fn pass_on(&self) -> Request<Body> {
        self.bare_request(self.method.clone())
    }

    fn bare_request(&self, method: Method) -> Request<Body> {
        let mut request = Request::new(Body::full(self.content.clone()));
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = self.headers.clone();
        *request.extensions_mut() = self.extensions.clone();
        request
    }
}

/// RFC 9110 §14.2: "GET is the only method for which range handling is defined."
fn ranges(parts: &Parts) -> Option<Ranges> {
    if parts.method != Method::GET {
        return None;
    }
    match range::of_request(&parts.headers) {
        Field::Bytes(ranges) => Some(ranges),
        Field::Ignored | Field::Foreign => None,
    }
}

/// The namespace that a request's entry lives under. A template whose capture is missing cannot
/// occur in a valid configuration; the route's name then keeps its entries apart.
pub fn namespace(route: &Route, captures: &Captures) -> Arc<str> {
    route.namespace.expand(captures).map_or_else(|| Arc::clone(&route.name), Arc::from)
}
