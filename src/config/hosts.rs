//! Hosts and networks: reading, writing and matching of [`HostPattern`], [`Network`] and
//! [`OriginUrl`].

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::OriginUrl;
use super::template::{HostPattern, Malformed, Network};

/// A host without its port, brackets and final dot: what a [`HostPattern`] is compared with.
pub fn bare_host(host: &str) -> &str {
    if let Some(inside) = host.strip_prefix('[') {
        return inside.split(']').next().unwrap_or(inside);
    }
    // More than one colon is an address without brackets.
    let name = match host.split_once(':') {
        Some((name, port)) if !port.contains(':') => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// Order of texts as if in lower case.
pub(super) fn cmp_ignoring_case(a: &str, b: &str) -> Ordering {
    a.bytes().map(|x| x.to_ascii_lowercase()).cmp(b.bytes().map(|x| x.to_ascii_lowercase()))
}

/// Does a bare host end so, ASCII case aside, with something in front?
pub(super) fn ends_ignoring_case(host: &str, suffix: &str) -> bool {
    let Some(at) = host.len().checked_sub(suffix.len()).filter(|at| *at > 0) else { return false };
    host.as_bytes().get(at..).is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes()))
}

impl HostPattern {
    /// Is a request to this host (with or without a port, in any case) meant?
    pub fn matches(&self, host: &str) -> bool {
        let host = bare_host(host);
        match self {
            Self::Exact(exact) => host.eq_ignore_ascii_case(exact),
            Self::Suffix(suffix) => ends_ignoring_case(host, suffix),
        }
    }
}

impl FromStr for HostPattern {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text == "*" {
            return Err(expected_host().help("leave `host` out to mean every host"));
        }
        let suffix = text.strip_prefix("*.");
        let name = suffix.unwrap_or(text);
        if name.starts_with('[') && suffix.is_none() {
            let inside = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
            let address =
                inside.and_then(|n| n.parse::<IpAddr>().ok()).ok_or_else(expected_host)?;
            return Ok(Self::Exact(address.to_string().into()));
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.contains(':') {
            return Err(expected_host().help("leave the scheme and the port out"));
        }
        if !is_host_name(name) {
            return Err(expected_host());
        }
        let name = name.to_ascii_lowercase();
        Ok(match suffix {
            Some(_) => Self::Suffix(format!(".{name}").into()),
            None => Self::Exact(name.into()),
        })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) if host.contains(':') => write!(f, "[{host}]"),
            Self::Exact(host) => f.write_str(host),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
        }
    }
}

fn expected_host() -> Malformed {
    Malformed::new("a host, such as \"api.example.com\", or \"*.example.com\"")
}

/// Labels of letters, digits, `-` and `_`, none of them empty.
pub(super) fn is_host_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

impl Network {
    /// Is this address in it? An IPv4 address also if it comes mapped into IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let bits = self.width(32);
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                u32::from(net) & mask == u32::from(ip) & mask
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - self.width(128)).unwrap_or(0);
                u128::from(net) & mask == u128::from(ip) & mask
            }
            _ => false,
        }
    }

    /// How many bits count, of an address of this many.
    fn width(&self, most: u32) -> u32 {
        let bits = u32::from(self.bits);
        // An IPv4 network written as mapped into IPv6 counts the 96 bits of the mapping.
        let mapped = most == 32 && self.address.is_ipv6();
        if mapped { bits.saturating_sub(96).min(32) } else { bits.min(most) }
    }
}

impl FromStr for Network {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let expected =
            || Malformed::new("an address or a range, such as \"10.0.0.7\" or \"10.0.0.0/8\"");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| expected())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => bits
                .parse()
                .ok()
                .filter(|bits| *bits <= most)
                .ok_or_else(|| Malformed::new(format!("at most /{most} for such an address")))?,
            Some(_) => return Err(expected()),
        };
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl OriginUrl {
    /// Host, and port unless it is the scheme's own: what `Host` says for this server.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.to_string(),
        };
        let own = if self.tls { 443 } else { 80 };
        if self.port == own { host } else { format!("{host}:{}", self.port) }
    }
}

impl FromStr for OriginUrl {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let expected = || Malformed::new("an http URL, such as \"http://127.0.0.1:3000\"");
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(expected().help("start it with http://"));
        };
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => {
                return Err(Malformed::new("http://: TLS towards the origin is not spoken yet")
                    .help("let a TLS proxy on this machine stand in between"));
            }
            _ => return Err(expected()),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(Malformed::new("nothing after the host and port").help(
                "routes keep their whole path: the origin is asked for what the client asked",
            ));
        }
        if authority.contains('@') {
            return Err(Malformed::new("no user name or password in the URL")
                .help("let clients send Authorization, or have the origin trust this address"));
        }
        let (host, port) = split_port(authority).ok_or_else(expected)?;
        let port = match port {
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0 && !text.ends_with(':'))
                .ok_or_else(|| Malformed::new("a port from 1 to 65535"))?,
        };
        Ok(Self { tls, host: host.into(), port })
    }
}

impl fmt::Display for OriginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// The host in lower case and without brackets, and what stands after the colon. `None` if the
/// host is neither a name nor an address.
pub(super) fn split_port(authority: &str) -> Option<(String, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (inside, tail) = rest.split_once(']')?;
        let address: std::net::Ipv6Addr = inside.parse().ok()?;
        let port = match tail {
            "" => None,
            _ => Some(tail.strip_prefix(':')?),
        };
        return Some((address.to_string(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    is_host_name(name).then(|| (name.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_patterns_match_their_hosts_only() {
        let rows = [
            ("api.example.com", "api.example.com", true),
            ("API.example.com", "api.EXAMPLE.com:8080", true),
            ("api.example.com", "api.example.com.", true),
            ("api.example.com", "x.api.example.com", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.Example.com:80", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "badexample.com", false),
            ("[::1]", "[::1]:8080", true),
            ("127.0.0.1", "127.0.0.1:1", true),
        ];
        for (pattern, host, expected) in rows {
            let parsed: HostPattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(host), expected, "{pattern} and {host}");
            assert_eq!(parsed.to_string().parse::<HostPattern>().unwrap(), parsed);
        }
    }

    #[test]
    fn what_is_not_a_host_pattern_is_refused() {
        for text in
            ["", "*", "*.", "a..b", "http://a", "a:80", "a b", "a/b", "[::1", "é.com", "**.a"]
        {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn odd_hosts_match_nothing_and_do_not_panic() {
        let pattern: HostPattern = "*.example.com".parse().unwrap();
        for host in ["", "[", "[]", ":", "::", "é", "éxample.com", "]", ":80", "."] {
            assert!(!pattern.matches(host), "{host}");
        }
    }

    #[test]
    fn networks_contain_their_addresses_only() {
        let rows = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/8", "10.9.9.9", true),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("::ffff:10.0.0.0/104", "10.1.1.1", true),
            ("::ffff:10.0.0.0/104", "11.1.1.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::1", "::1", true),
        ];
        for (network, address, expected) in rows {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), expected, "{network} {address}");
            assert_eq!(parsed.to_string().parse::<Network>().unwrap(), parsed);
        }
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "a/8", "10.0.0.0/", "10.0.0.0/+8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn origin_urls_are_a_scheme_a_host_and_a_port() {
        let rows = [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("HTTP://Api.Example.com/", "http://api.example.com"),
            ("http://api", "http://api"),
            ("http://api:443", "http://api:443"),
            ("http://[::1]:3000", "http://[::1]:3000"),
        ];
        for (text, written) in rows {
            assert_eq!(text.parse::<OriginUrl>().unwrap().to_string(), written);
        }
        for text in [
            "",
            "api",
            "ftp://a",
            "https://a",
            "http://",
            "http://:80",
            "http://a:",
            "http://a:0",
            "http://a:65536",
            "http://a:x",
            "http://a/b",
            "http://a?b",
            "http://u:p@a",
            "http://a b",
            "http://[::1",
            "http://[::1]80",
            "http://[a]",
            "http://a:80:80",
        ] {
            assert!(text.parse::<OriginUrl>().is_err(), "{text}");
        }
    }
}
