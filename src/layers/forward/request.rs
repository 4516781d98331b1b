//! From a request as it was received to one that may be keyed and sent on.
//!
//! | step | refused | done |
//! |---|---|---|
//! | method | CONNECT, TRACE, PURGE, BAN | – |
//! | sizes | more than the limits | – |
//! | target | anything but `/…`, an absolute http(s) URI, or `*` with OPTIONS; bytes outside `!`–`~` | – |
//! | framing | any Transfer-Encoding but one `chunked`; two lengths | – |
//! | connection | options that name end-to-end fields | listed and hop-by-hop fields removed |
//! | expectation | any but `100-continue` | removed: the server answers it itself |
//! | host | none, two, malformed, two that differ | URI made absolute, `Host` rebuilt |
//! | way | a circle | Via, X-Forwarded-*, Forwarded |
//! | cookies | – | joined on one line (RFC 9113 §8.2.3) |

use std::net::{IpAddr, Ipv4Addr};

use http::header::{self, ALLOW, HeaderMap, HeaderName};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;

use super::authority;
use super::forwarded::{self, Introduction};
use super::upgrade::Handshake;
use super::{ALLOWED, Rules, UNKNOWN_EXPECTATION, hop};
use crate::body::Body;
use crate::error::ClientFault;
use crate::peer::{ClientAddr, LocalAddr, WithContent};

/// What becomes of a request that is not refused.
pub(super) enum Next {
    /// It goes on.
    Forward { handshake: Option<Box<Handshake>> },
    /// We are its last recipient.
    Answer(Response<Body>),
}

/// Takes all the steps above, in place.
pub(super) fn prepare(
    request: &mut Request<Body>,
    rules: &Rules,
    introduction: &mut Introduction,
) -> Result<Next, ClientFault> {
    check_method(request.method())?;
    let seen = survey(request.headers(), rules)?;
    check_target(request, rules)?;
    check_framing(request, &seen)?;
    let options = check_connection(request, &seen)?;
    let has_content = !request.body().is_end_stream();
    if has_content && matches!(*request.method(), Method::GET | Method::HEAD) {
        request.extensions_mut().insert(WithContent);
    }
    check_expectation(request, &seen)?;
    if seen.via {
        rules.marks.check_loop(request.headers())?;
    }
    if let Some(answer) = count_down(request, &seen) {
        return Ok(Next::Answer(answer));
    }

    let client = address(request);
    let trusted = introduction.is_trusted(client, &rules.trusted);
    let https = trusted && forwarded::told_https(request.headers());
    let scheme = if https { Scheme::HTTPS } else { Scheme::HTTP };
    let host = settle_host(request, &seen, introduction, &scheme, client)?;

    let handshake = match seen.upgrade {
        true => Handshake::asked(request, &options, has_content),
        false => None,
    };
    let received = request.version();
    let headers = request.headers_mut();
    rewrite(headers, &seen, &options, trusted, received);
    headers.remove(header::HOST);
    headers.append(header::HOST, host);
    introduction.write(headers, &scheme);
    rules.marks.sign(headers, received);
    if let Some(handshake) = &handshake {
        handshake.write(headers);
    }
    Ok(Next::Forward { handshake })
}

/// Removes what must not go on, and joins what should have been one.
fn rewrite(
    headers: &mut HeaderMap,
    seen: &Seen,
    options: &[HeaderName],
    trusted: bool,
    received: Version,
) {
    if seen.hop {
        let takes_trailers = asks_for_trailers(headers, options);
        hop::strip(headers, options);
        if takes_trailers {
            headers.append(header::TE, HeaderValue::from_static("trailers"));
            headers.append(header::CONNECTION, HeaderValue::from_static("te"));
        }
    }
    if seen.trailer {
        // A client's trailers are not passed on: nobody could have checked them in time. Nor is what
        // announces them, though RFC 9110 §6.6.2 would let it stand as a hint of what was lost.
        headers.remove(header::TRAILER);
    }
    if seen.guarded && !trusted {
        remove_guarded(headers);
    }
    if seen.cookies > 1 && received >= Version::HTTP_2 {
        join_cookies(headers);
    }
}

fn check_method(method: &Method) -> Result<(), ClientFault> {
    // CONNECT and TRACE are not for gateways (RFC 9110 §9.3.6, §9.3.8). PURGE and BAN are what
    // other caches take from anybody on their public port; ours takes them on the admin port.
    match method.as_str() {
        "CONNECT" | "TRACE" | "PURGE" | "BAN" => {
            Err(ClientFault::Method(method.as_str().to_owned()))
        }
        _ => Ok(()),
    }
}

/// What stands in a head, from one look at every line.
#[derive(Debug, Default)]
struct Seen {
    hosts: usize,
    cookies: usize,
    lengths: usize,
    encodings: usize,
    connection: bool,
    hop: bool,
    upgrade: bool,
    expect: bool,
    via: bool,
    trailer: bool,
    guarded: bool,
    max_forwards: bool,
}

fn survey(headers: &HeaderMap, rules: &Rules) -> Result<Seen, ClientFault> {
    let mut seen = Seen::default();
    let (mut lines, mut bytes) = (0_usize, 0_usize);
    for (name, value) in headers {
        lines += 1;
        bytes = bytes.saturating_add(name.as_str().len()).saturating_add(value.len());
        match name.as_str() {
            "host" => seen.hosts += 1,
            "cookie" => seen.cookies += 1,
            "content-length" => seen.lengths += 1,
            "transfer-encoding" => seen.encodings += 1,
            "connection" => seen.connection = true,
            "upgrade" => seen.upgrade = true,
            "expect" => seen.expect = true,
            "via" => seen.via = true,
            "trailer" => seen.trailer = true,
            "max-forwards" => seen.max_forwards = true,
            "te"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authorization"
            | "proxy-authenticate"
            | "http2-settings" => seen.hop = true,
            name => seen.guarded |= forwarded::is_guarded(name),
        }
    }
    seen.hop |= seen.connection || seen.upgrade || seen.encodings > 0;
    if lines > rules.max_fields {
        return Err(ClientFault::FieldsTooLarge("The request has too many field lines."));
    }
    if bytes > rules.max_fields_bytes {
        return Err(ClientFault::FieldsTooLarge("The request's fields are too large."));
    }
    Ok(seen)
}

fn check_target(request: &Request<Body>, rules: &Rules) -> Result<(), ClientFault> {
    let uri = request.uri();
    let path = uri.path_and_query().map_or("", PathAndQuery::as_str);
    let length = match uri.authority() {
        // `http://` and the authority are on the wire in absolute-form only.
        Some(authority) if request.version() < Version::HTTP_2 => {
            path.len() + authority.as_str().len() + 7
        }
        _ => path.len(),
    };
    if length > rules.max_target {
        return Err(ClientFault::TargetTooLong);
    }
    // RFC 9112 §3.2: origin-form, absolute-form, or asterisk-form; authority-form is CONNECT's.
    if let Some(scheme) = uri.scheme() {
        if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
            return Err(ClientFault::Malformed("the target's scheme is not http"));
        }
    } else if uri.authority().is_some() {
        return Err(ClientFault::Malformed("authority-form is for CONNECT"));
    }
    let well_formed = match path.as_bytes().first() {
        Some(b'/') => true,
        Some(b'*') => path == "*" && request.method() == Method::OPTIONS,
        // An absolute URI may leave the path out; it is `/` then (RFC 9110 §4.2.3).
        Some(b'?') | None => uri.scheme().is_some(),
        Some(_) => false,
    };
    if !well_formed {
        return Err(ClientFault::Malformed("the request target does not start with a slash"));
    }
    // RFC 3986 has no other bytes. What one recipient cuts or recodes the next one may not.
    if !path.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b'#') {
        return Err(ClientFault::Malformed("the request target has bytes that no URI has"));
    }
    Ok(())
}

fn check_framing(request: &Request<Body>, seen: &Seen) -> Result<(), ClientFault> {
    // RFC 9112 §6.1, and nothing of its leniency: one coding, `chunked`, once.
    if seen.encodings > 0 {
        let coding = request.headers().get(header::TRANSFER_ENCODING);
        let chunked = coding.is_some_and(|c| c.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if seen.encodings > 1 || !chunked || request.version() != Version::HTTP_11 {
            return Err(ClientFault::Malformed("the only Transfer-Encoding taken is chunked"));
        }
    }
    // RFC 9112 §6.3: two lengths, or a length beside a coding, are how requests are smuggled.
    if seen.lengths > 1 || (seen.lengths > 0 && seen.encodings > 0) {
        return Err(ClientFault::Malformed("the length of the content is ambiguous"));
    }
    Ok(())
}

fn check_connection(request: &Request<Body>, seen: &Seen) -> Result<Vec<HeaderName>, ClientFault> {
    if !seen.connection {
        return Ok(Vec::new());
    }
    // RFC 9113 §8.2.2.
    if request.version() >= Version::HTTP_2 {
        return Err(ClientFault::Malformed("HTTP/2 has no Connection field"));
    }
    let options = hop::connection_options(request.headers())
        .ok_or(ClientFault::Malformed("a connection option is not a token"))?;
    // RFC 9110 §7.6.1: a sender must not list a field that is intended for all recipients. To
    // obey would be to let a client take away what the origin or the cache decides by.
    if options.iter().any(is_end_to_end) {
        return Err(ClientFault::Malformed("Connection lists an end-to-end field"));
    }
    Ok(options)
}

fn is_end_to_end(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 24] = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::COOKIE,
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::PRAGMA,
        header::RANGE,
        header::IF_RANGE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::ACCEPT,
        header::ACCEPT_ENCODING,
        header::ACCEPT_LANGUAGE,
        header::ORIGIN,
        header::EXPECT,
        header::MAX_FORWARDS,
        header::VIA,
        header::TRAILER,
        HeaderName::from_static("larder-min-position"),
    ];
    NAMES.contains(name) || forwarded::is_guarded(name.as_str())
}

/// RFC 9110 §10.1.1: `100-continue` is answered here when the content is first asked for, and the
/// origin need not know; other expectations nobody has defined, and we cannot meet them.
fn check_expectation(request: &mut Request<Body>, seen: &Seen) -> Result<(), ClientFault> {
    if !seen.expect {
        return Ok(());
    }
    let known = |line: &HeaderValue| line.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if !request.headers().get_all(header::EXPECT).iter().all(known) {
        return Err(ClientFault::Malformed(UNKNOWN_EXPECTATION));
    }
    request.headers_mut().remove(header::EXPECT);
    Ok(())
}

/// RFC 9110 §7.6.2: OPTIONS goes as many steps as its Max-Forwards says; with none left, we are
/// the recipient.
fn count_down(request: &mut Request<Body>, seen: &Seen) -> Option<Response<Body>> {
    if !seen.max_forwards || request.method() != Method::OPTIONS {
        return None;
    }
    let headers = request.headers_mut();
    let left = headers.remove(header::MAX_FORWARDS)?;
    // What is not a number is not a Max-Forwards.
    let left: u32 = left.to_str().ok()?.parse().ok()?;
    if let Some(left) = left.checked_sub(1) {
        headers.append(header::MAX_FORWARDS, HeaderValue::from(left));
        return None;
    }
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer.headers_mut().append(ALLOW, HeaderValue::from_static(ALLOWED));
    Some(answer)
}

fn address(request: &Request<Body>) -> IpAddr {
    // Without a server in front of us (the library in somebody's program) nobody is known, and
    // nobody is trusted who was not configured as 0.0.0.0.
    let client = request.extensions().get::<ClientAddr>();
    client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |client| client.0.ip())
}

/// Finds the one authority that the request is for and puts its keyed form into the URI; the
/// other form is for the `Host` field.
fn settle_host(
    request: &mut Request<Body>,
    seen: &Seen,
    introduction: &mut Introduction,
    scheme: &Scheme,
    client: IpAddr,
) -> Result<HeaderValue, ClientFault> {
    let local = request.extensions().get::<LocalAddr>().map(|local| local.0);
    let sent = sent_host(request, seen, local)?;
    let port = local.map_or(0, |local| local.port());
    let canonical = introduction
        .host(&sent, *scheme == Scheme::HTTPS, port, client)
        .ok_or(ClientFault::Malformed("the host is malformed"))?;
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.authority = Some(canonical.key);
    parts.scheme = Some(scheme.clone());
    parts.path_and_query = match parts.path_and_query {
        Some(path) if path.as_str().starts_with(['/', '*']) => Some(path),
        Some(query) => Some(
            PathAndQuery::try_from(format!("/{}", query.as_str()))
                .map_err(|_| ClientFault::Malformed("the request target is malformed"))?,
        ),
        None => Some(PathAndQuery::from_static("/")),
    };
    *request.uri_mut() = Uri::from_parts(parts)
        .map_err(|_| ClientFault::Malformed("the request target is malformed"))?;
    Ok(canonical.host)
}

fn sent_host(
    request: &Request<Body>,
    seen: &Seen,
    local: Option<std::net::SocketAddr>,
) -> Result<HeaderValue, ClientFault> {
    // RFC 9112 §3.2: two are one too many in any version.
    if seen.hosts > 1 {
        return Err(ClientFault::Malformed("more than one Host"));
    }
    let field = request.headers().get(header::HOST);
    let in_target = request.uri().authority();
    let as_value = |text: &str| {
        HeaderValue::from_str(text).map_err(|_| ClientFault::Malformed("the host is malformed"))
    };
    match (field, in_target) {
        // RFC 9113 §8.3.1: they must not differ; RFC 9112 §3.2.2: the target's counts.
        (Some(field), Some(target)) if request.version() >= Version::HTTP_2 => {
            if !field.as_bytes().eq_ignore_ascii_case(target.as_str().as_bytes()) {
                return Err(ClientFault::Malformed("Host and :authority differ"));
            }
            as_value(target.as_str())
        }
        // RFC 9112 §3.2: an invalid Host is refused, whether or not it counts.
        (Some(field), Some(target)) => {
            authority::canonical(field.as_bytes(), 80, 0)
                .ok_or(ClientFault::Malformed("the host is malformed"))?;
            as_value(target.as_str())
        }
        (Some(field), None) => Ok(field.clone()),
        (None, Some(target)) if request.version() != Version::HTTP_11 => as_value(target.as_str()),
        // HTTP/1.0 knew no Host; whoever speaks it so asked for this very socket.
        (None, None) if request.version() == Version::HTTP_10 => match local {
            Some(local) => as_value(&local.to_string()),
            None => Err(ClientFault::Malformed("no Host")),
        },
        (None, _) => Err(ClientFault::Malformed("no Host")),
    }
}

/// RFC 9110 §10.1.4: `TE: trailers` says that whoever sent it takes trailers. We do what they do.
fn asks_for_trailers(headers: &HeaderMap, options: &[HeaderName]) -> bool {
    let listed = options.is_empty() || options.contains(&header::TE);
    listed
        && headers
            .get_all(header::TE)
            .iter()
            .flat_map(|line| hop::members(line.as_bytes()))
            .any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

fn remove_guarded(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> =
        headers.keys().filter(|name| forwarded::is_guarded(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> =
        headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let Ok(joined) = HeaderValue::try_from(lines.join(&b"; "[..])) else { return };
    headers.remove(header::COOKIE);
    headers.append(header::COOKIE, joined);
}
