//! Who may come in.
//!
//! | asked | token set | no token (loopback only) |
//! |---|---|---|
//! | `/livez`, `/readyz` | anybody | anybody |
//! | by a page of another site (`Origin`, `Sec-Fetch-Site`) | 403 | 403 |
//! | under a name that is not this machine's (`Host`) | as below | 403 |
//! | anything else | the token, or 401 | welcome |
//!
//! The second and third line are about browsers. A browser on this machine reaches loopback, and
//! runs what strangers wrote: their pages send requests here (and cannot read the answers, but a
//! purge needs no reading), or have their own name point here (DNS rebinding) and then read too.
//! With a token neither gets anywhere.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::config::Admin;

/// Longest time for one request, its content included: a purge may wait for the others for a
/// minute.
const PATIENCE: Duration = Duration::from_secs(65);

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What decides who may come in.
#[derive(Debug)]
pub(super) struct Door {
    listen: SocketAddr,
    /// Digests have one length and are compared in constant time: how long a comparison takes says
    /// nothing about how much of a guess was right.
    token: Option<blake3::Hash>,
}

/// The outermost layer: admits a request or answers it with a problem, and bounds its time.
pub(super) async fn door(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let mut response = match door.admit(&request) {
        Ok(()) => tokio::time::timeout(PATIENCE, next.run(request)).await.unwrap_or_else(|_| {
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "it took more than a minute").into_response()
        }),
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.append(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

impl Door {
    pub(super) fn new(config: &Admin) -> Self {
        let token = config.token.as_ref().map(|token| blake3::hash(token.reveal().as_bytes()));
        Self { listen: config.listen, token }
    }

    fn admit(&self, request: &Request) -> Result<(), Problem> {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        if is_read && matches!(request.uri().path(), "/livez" | "/readyz") {
            return Ok(());
        }
        refuse_other_sites(request)?;
        match &self.token {
            Some(token) => check_token(token, request.headers()),
            None if self.listen.ip().is_loopback() => refuse_other_names(request),
            // The configuration does not let it come to this; if it does, the door stays shut.
            None => Err(forbidden("without a token, admin only answers on a loopback address")),
        }
    }
}

fn check_token(token: &blake3::Hash, headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |why: &str| Err(Problem::new(StatusCode::UNAUTHORIZED, why));
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return refused("send the admin token: Authorization: Bearer <token>");
    };
    let Some((scheme, given)) = split_once(field.as_bytes(), b' ') else {
        return refused("expected Authorization: Bearer <token>");
    };
    if scheme.eq_ignore_ascii_case(b"bearer") && blake3::hash(given.trim_ascii()) == *token {
        Ok(())
    } else {
        refused("this is not the admin token")
    }
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = bytes.iter().position(|b| *b == at)?;
    Some((&bytes[..position], &bytes[position + 1..]))
}

/// Fetch, §"HTTP-network-or-cache fetch": browsers add `Origin` to every request that is neither
/// GET nor HEAD, and to every one across origins that wants to read the answer.
fn refuse_other_sites(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let elsewhere = || forbidden("pages of other sites may not use the admin API");
    if let Some(site) = headers.get(SEC_FETCH_SITE)
        && !matches!(site.as_bytes(), b"same-origin" | b"none")
    {
        return Err(elsewhere());
    }
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    // PURGE comes from programs. It is exempt from the check of names below, so nothing that a
    // page could have sent passes as one.
    let own = request.method() != "PURGE" && host(request).is_some_and(|host| is_at(origin, host));
    if own { Ok(()) } else { Err(elsewhere()) }
}

/// Is this origin (`http://host:port`) at `host`?
fn is_at(origin: &HeaderValue, host: &str) -> bool {
    let origin = origin.to_str().unwrap_or_default();
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// A page that had its own name point to this machine says that name in `Host`. An address, or
/// `localhost`, cannot be made to point here by a stranger.
fn refuse_other_names(request: &Request) -> Result<(), Problem> {
    if request.method() == "PURGE" {
        // Varnish's clients send the name of the site that they purge.
        return Ok(());
    }
    match host(request) {
        Some(host) if is_this_machine(host) => Ok(()),
        _ => Err(forbidden(
            "without a token, admin is only asked by its address or as localhost \
             (set admin.token to use another name)",
        )),
    }
}

/// Whom the request is for: the one `Host`, which an absolute target must not contradict.
fn host(request: &Request) -> Option<&str> {
    let mut fields = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (fields.next(), fields.next()) else { return None };
    let host = host.to_str().ok()?;
    let agrees = request.uri().authority().is_none_or(|a| a.as_str().eq_ignore_ascii_case(host));
    agrees.then_some(host)
}

fn is_this_machine(host: &str) -> bool {
    if let Some(v6) = host.strip_prefix('[') {
        return v6.split_once(']').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn forbidden(detail: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, detail)
}
