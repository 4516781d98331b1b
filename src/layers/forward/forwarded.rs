//! What the origin is told about the way a request took: Via, X-Forwarded-*, Forwarded.
//!
//! | field | from anybody | from a trusted proxy |
//! |---|---|---|
//! | `X-Forwarded-For`, `Forwarded` | overwritten | continued |
//! | `X-Forwarded-Proto`, `X-Forwarded-Host` | overwritten | kept; added where missing |
//! | every other field of the same effect ([`is_guarded`]) | dropped | kept |
//! | `Via` | continued | continued |

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use http::header::{FORWARDED, HeaderMap, HeaderName, VIA};
use http::uri::Scheme;
use http::{HeaderValue, Version};

use super::authority::{self, Canonical};
use super::hop;
use crate::config::template::Network;
use crate::error::ClientFault;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(in crate::layers) const FORWARDED_PROTO: HeaderName =
    HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Fields by which a client could tell the origin that it is somebody else, asked for something
/// else, or came another way; origins and frameworks believe them, and no key knows them.
/// Besides every `x-forwarded-…`.
const GUARDED: [&str; 25] = [
    "cf-connecting-ip",
    "client-ip",
    "cluster-client-ip",
    "fastly-client-ip",
    "forwarded",
    "forwarded-for",
    "front-end-https",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forward-for",
    "x-forwarded",
    "x-host",
    "x-http-destinationurl",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-forwarded-for",
    "x-original-host",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
];

/// True for the fields that only a trusted proxy may send. An underscore counts as a hyphen:
/// CGI and its heirs cannot tell them apart, and may take `content_length` for a length.
pub(in crate::layers) fn is_guarded(name: &str) -> bool {
    let hyphenated;
    let name = if name.contains('_') {
        hyphenated = name.replace('_', "-");
        if matches!(hyphenated.as_str(), "content-length" | "transfer-encoding") {
            return true;
        }
        hyphenated.as_str()
    } else {
        name
    };
    name.starts_with("x-forwarded-") || GUARDED.binary_search(&name).is_ok()
}

/// How this process signs what it passes on.
#[derive(Debug)]
pub(super) struct Marks {
    /// A name that no other instance has: seeing it again means that the request went in a circle.
    /// A circle through a fleet comes back to each of its instances sooner or later.
    pseudonym: String,
    /// `Via` for requests received in HTTP/1.0, 1.1 and 2.
    via: [HeaderValue; 3],
}

impl Marks {
    pub(super) fn new() -> Self {
        // Seeded by the system, differently in every process.
        let pseudonym = format!("larder-{:016x}", RandomState::new().hash_one(std::process::id()));
        let via = ["1.0", "1.1", "2"].map(|version| {
            // Letters, digits and a hyphen: always a field value.
            HeaderValue::try_from(format!("{version} {pseudonym}"))
                .unwrap_or(HeaderValue::from_static("1.1 larder"))
        });
        Self { pseudonym, via }
    }

    /// RFC 9110 §7.6.3: an intermediary must not forward a message to itself.
    pub(super) fn check_loop(&self, headers: &HeaderMap) -> Result<(), ClientFault> {
        let ours = self.pseudonym.as_bytes();
        let seen = headers
            .get_all(VIA)
            .iter()
            .any(|line| line.as_bytes().windows(ours.len()).any(|text| text == ours));
        if seen { Err(ClientFault::Loop) } else { Ok(()) }
    }

    pub(super) fn sign(&self, headers: &mut HeaderMap, received: Version) {
        let [http10, http11, http2] = &self.via;
        let via = match received {
            Version::HTTP_10 | Version::HTTP_09 => http10,
            Version::HTTP_11 => http11,
            _ => http2,
        };
        headers.append(VIA, via.clone());
    }
}

/// What was worked out for one client and one host, kept for the next request of the same.
#[derive(Debug, Default)]
pub(super) struct Introduction {
    client: Option<Client>,
    host: Option<Host>,
}

#[derive(Clone, Debug)]
struct Client {
    address: IpAddr,
    trusted: bool,
    /// For `X-Forwarded-For`.
    text: HeaderValue,
}

#[derive(Debug)]
struct Host {
    sent: HeaderValue,
    https: bool,
    local_port: u16,
    client: IpAddr,
    canonical: Canonical,
    /// For `Forwarded`.
    element: HeaderValue,
}

impl Introduction {
    /// Whether `address` is a proxy whose word is taken.
    pub(super) fn is_trusted(&mut self, address: IpAddr, trusted: &[Network]) -> bool {
        if let Some(client) = self.client.as_ref().filter(|client| client.address == address) {
            return client.trusted;
        }
        let trusted = is_trusted(address, trusted);
        let text = HeaderValue::try_from(address.to_canonical().to_string());
        let text = text.unwrap_or(HeaderValue::from_static("unknown"));
        self.client = Some(Client { address, trusted, text });
        trusted
    }

    /// The two forms of the host that was asked for.
    pub(super) fn host(
        &mut self,
        sent: &HeaderValue,
        https: bool,
        local_port: u16,
        client: IpAddr,
    ) -> Option<Canonical> {
        if let Some(host) = self.host.as_ref().filter(|host| {
            host.sent == *sent
                && host.https == https
                && host.local_port == local_port
                && host.client == client
        }) {
            return Some(host.canonical.clone());
        }
        let default_port = if https { 443 } else { 80 };
        let canonical = authority::canonical(sent.as_bytes(), default_port, local_port)?;
        let element = element(client.to_canonical(), &canonical.host, https)?;
        self.host = Some(Host {
            sent: sent.clone(),
            https,
            local_port,
            client,
            canonical: canonical.clone(),
            element,
        });
        Some(canonical)
    }

    /// Tells the origin whom it deals with. `is_trusted` and `host` have been asked before.
    pub(super) fn write(&self, headers: &mut HeaderMap, scheme: &Scheme) {
        let (Some(client), Some(host)) = (&self.client, &self.host) else { return };
        if client.trusted {
            continue_list(headers, FORWARDED_FOR, &client.text);
            continue_list(headers, FORWARDED, &host.element);
        } else {
            headers.append(FORWARDED_FOR, client.text.clone());
            headers.append(FORWARDED, host.element.clone());
        }
        // What an untrusted client sent has been removed, so these are then missing.
        if !client.trusted || !headers.contains_key(FORWARDED_PROTO) {
            let https = *scheme == Scheme::HTTPS;
            let proto = HeaderValue::from_static(if https { "https" } else { "http" });
            headers.append(FORWARDED_PROTO, proto);
        }
        if !client.trusted || !headers.contains_key(FORWARDED_HOST) {
            headers.append(FORWARDED_HOST, host.canonical.host.clone());
        }
    }
}

/// The scheme that a trusted proxy was spoken to with: what the last proxy before us says, which
/// is the last member.
pub(in crate::layers) fn told_https(headers: &HeaderMap) -> bool {
    headers
        .get_all(FORWARDED_PROTO)
        .iter()
        .next_back()
        .and_then(|line| hop::members(line.as_bytes()).last())
        .is_some_and(|proto| proto.eq_ignore_ascii_case(b"https"))
}

/// RFC 7239 §4, with §6's quoting.
fn element(client: IpAddr, host: &HeaderValue, https: bool) -> Option<HeaderValue> {
    let mut text = String::with_capacity(64);
    let _ = match client {
        IpAddr::V4(address) => write!(text, "for={address}"),
        IpAddr::V6(address) => write!(text, "for=\"[{address}]\""),
    };
    let host = host.to_str().ok()?;
    let _ = match host.contains([':', '[']) {
        true => write!(text, ";host=\"{host}\""),
        false => write!(text, ";host={host}"),
    };
    text.push_str(if https { ";proto=https" } else { ";proto=http" });
    HeaderValue::try_from(text).ok()
}

/// Adds a member at the end of a list, on one line: many a reader looks at one line only.
fn continue_list(headers: &mut HeaderMap, name: HeaderName, member: &HeaderValue) {
    let mut list = Vec::new();
    for line in headers.get_all(&name) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(member.as_bytes());
    headers.remove(&name);
    if let Ok(list) = HeaderValue::try_from(list) {
        headers.append(name, list);
    }
}

/// Is this a proxy whose word is taken? A client that comes by IPv4 to a socket for both is the same
/// client.
pub(in crate::layers) fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    let canonical = address.to_canonical();
    trusted.iter().any(|network| contains(network, canonical))
}

fn contains(network: &Network, address: IpAddr) -> bool {
    let bits = |value: u128, width: u32| {
        let kept = u32::from(network.bits).min(width);
        value.checked_shr(width - kept).unwrap_or(0)
    };
    match (network.address.to_canonical(), address) {
        (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
            bits(u128::from(ours.to_bits()), 32) == bits(u128::from(theirs.to_bits()), 32)
        }
        (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
            bits(ours.to_bits(), 128) == bits(theirs.to_bits(), 128)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guarded_names_are_sorted_so_that_they_can_be_found() {
        assert!(GUARDED.is_sorted());
    }

    #[test]
    fn a_guarded_name_is_recognised_in_every_spelling_an_origin_would_read() {
        for name in [
            "x-forwarded-host",
            "x_forwarded_host",
            "x-forwarded_port",
            "x_real_ip",
            "content_length",
        ] {
            assert!(is_guarded(name), "{name}");
        }
        for name in ["x-forwarded-anything", "forwarded", "x-http-method-override"] {
            assert!(is_guarded(name), "{name}");
        }
        for name in ["host", "x-request-id", "x-forward", "accept", "via", "cookie"] {
            assert!(!is_guarded(name), "{name}");
        }
    }

    #[test]
    fn a_network_contains_the_addresses_that_share_its_leading_bits() {
        let network = |address: &str, bits| Network { address: address.parse().unwrap(), bits };
        for (net, address, expected) in [
            (network("10.0.0.0", 8), "10.255.0.1", true),
            (network("10.0.0.0", 8), "11.0.0.1", false),
            (network("10.1.2.3", 32), "10.1.2.3", true),
            (network("10.1.2.3", 32), "10.1.2.2", false),
            (network("0.0.0.0", 0), "192.0.2.1", true),
            (network("0.0.0.0", 0), "::1", false),
            (network("2001:db8::", 32), "2001:db8:1::1", true),
            (network("2001:db8::", 32), "2001:db9::1", false),
            (network("::", 0), "2001:db9::1", true),
        ] {
            assert_eq!(contains(&net, address.parse().unwrap()), expected, "{net:?} {address}");
        }
    }

    #[test]
    fn an_element_quotes_what_a_token_cannot_hold() {
        let element = |client: &str, host: &'static str| {
            let host = HeaderValue::from_static(host);
            element(client.parse().unwrap(), &host, false).unwrap()
        };
        assert_eq!(element("192.0.2.1", "a.test"), "for=192.0.2.1;host=a.test;proto=http");
        assert_eq!(
            element("2001:db8::1", "a.test:81"),
            "for=\"[2001:db8::1]\";host=\"a.test:81\";proto=http"
        );
    }

    #[test]
    fn two_processes_sign_differently_and_each_knows_itself() {
        let (one, other) = (Marks::new(), Marks::new());
        let mut headers = HeaderMap::new();
        other.sign(&mut headers, Version::HTTP_2);
        assert_eq!(one.check_loop(&headers), Ok(()));
        one.sign(&mut headers, Version::HTTP_11);
        assert_eq!(one.check_loop(&headers), Err(ClientFault::Loop));
    }
}
