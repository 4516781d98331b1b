//! A request on its way through the cache: everything about it that does not change.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, PRAGMA};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, Method, Request, Uri, Version};

use crate::body::Body;
use crate::config::Route;
use crate::config::captures::Captures;
use crate::key::{Key, Place, query, tags, url};
use crate::ledger::Position;
use crate::ledger::name::Belongs;
use crate::semantics::query::is_query;
use crate::semantics::reuse::Demands;
use crate::semantics::{validation, vary};

/// A request that is ours to cache.
#[derive(Debug)]
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
    /// What its own directives ask.
    pub demands: Demands,
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
            demands,
        }
    }

    /// The same request as a QUERY with this content, under the key of that.
    pub fn with_content(self, content: Bytes) -> Self {
        let key = self.key.asking(&self.method, &self.headers, &content);
        Self { key, content, ..self }
    }

    /// The method that its fills are made with: HEAD is answered from what GET stored.
    pub fn method_of_fills(&self) -> Method {
        if is_query(&self.method) { self.method.clone() } else { Method::GET }
    }

    /// The key of the variant that this request selects.
    pub fn variant(&self, names: &[HeaderName]) -> Key {
        self.key.variant(names, &self.headers, vary::normalised)
    }

    /// What its entry belongs to, as far as that is known before the origin is asked.
    pub fn belongs(&self) -> Belongs {
        let tags =
            tags::from_templates(&self.route.tags, &self.captures, None, self.route.max_tags);
        Belongs::of(&self.key.namespace, &self.url, &tags.unwrap_or_default())
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
        Self {
            route: Arc::clone(&self.route),
            captures: self.captures.clone(),
            method: self.method_of_fills(),
            content: self.content.clone(),
            uri: self.uri.clone(),
            url: self.url.clone(),
            headers,
            extensions: self.extensions.clone(),
            key: self.key.clone(),
            demands: Demands::default(),
        }
    }

    /// The request that fetches it for everybody: without what only this client asked for, and
    /// conditional if there is something to validate.
    pub fn fetch(&self, validators: Vec<(HeaderName, http::HeaderValue)>) -> Request<Body> {
        let mut request = self.bare_request(self.method_of_fills());
        for name in validation::CONDITIONAL_FIELDS {
            request.headers_mut().remove(name);
        }
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

/// The namespace that a request's entry lives under. A template whose capture is missing cannot
/// occur in a valid configuration; the route's name then keeps its entries apart.
pub fn namespace(route: &Route, captures: &Captures) -> Arc<str> {
    route.namespace.expand(captures).map_or_else(|| Arc::clone(&route.name), Arc::from)
}
