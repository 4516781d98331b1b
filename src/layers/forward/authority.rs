//! What a host is: one grammar for `Host`, `:authority` and absolute-form, and two forms of it.
//!
//! | sent | listening on 8080, in the key | to the origin |
//! |---|---|---|
//! | `A.test.` | `a.test` | `a.test` |
//! | `a.test:80` | `a.test` | `a.test` |
//! | `a.test:8080` | `a.test` | `a.test:8080` |
//! | `a.test:9000` | `a.test:9000` | `a.test:9000` |
//!
//! The port that this process listens on is not part of the key: the instances of a fleet listen
//! on different ports, stand behind one balancer on a third, and are one API that shares one
//! store. To the origin the port is passed on, since it belongs in the links that it makes.

use std::net::Ipv6Addr;

use bytes::Bytes;
use http::HeaderValue;
use http::uri::Authority;

/// A host as it was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::layers) struct Canonical {
    /// In the form that is keyed.
    pub(in crate::layers) key: Authority,
    /// For the `Host` field.
    pub(in crate::layers) host: HeaderValue,
}

/// Reads `host[:port]`; `None` unless it follows the grammar of RFC 9110 §7.2 in the strict
/// reading that everybody agrees on. `default_port` is the scheme's.
pub(in crate::layers) fn canonical(
    sent: &[u8],
    default_port: u16,
    local_port: u16,
) -> Option<Canonical> {
    let (host, port) = split_port(sent)?;
    let name = canonical_host(host)?;
    let for_origin = port.filter(|port| *port != default_port);
    let for_key = for_origin.filter(|port| *port != local_port);
    let with_port = |port: Option<u16>| match port {
        Some(port) => Bytes::from(format!("{name}:{port}")),
        None => Bytes::copy_from_slice(name.as_bytes()),
    };
    let host = with_port(for_origin);
    let key = if for_key == for_origin { host.clone() } else { with_port(for_key) };
    Some(Canonical {
        key: Authority::from_maybe_shared(key).ok()?,
        host: HeaderValue::from_maybe_shared(host).ok()?,
    })
}

fn split_port(sent: &[u8]) -> Option<(&[u8], Option<u16>)> {
    // An IPv6 literal has colons of its own.
    let end = if sent.first() == Some(&b'[') {
        sent.iter().position(|byte| *byte == b']')? + 1
    } else {
        sent.iter().position(|byte| *byte == b':').unwrap_or(sent.len())
    };
    let (host, rest) = sent.split_at_checked(end)?;
    let Some(digits) = rest.strip_prefix(b":") else {
        return rest.is_empty().then_some((host, None));
    };
    if digits.is_empty() {
        return Some((host, None));
    }
    // `parse` would take a sign; five digits are the most that a port has.
    if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let port = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((host, Some(port)))
}

fn canonical_host(host: &[u8]) -> Option<String> {
    let host = std::str::from_utf8(host).ok()?;
    if let Some(literal) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address: Ipv6Addr = literal.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let labels_have_text = name.split('.').all(|label| !label.is_empty());
    // The grammar would allow sub-delims and percent-encoding; no name in use has them, and what
    // an origin makes of them nobody knows.
    (name.len() <= 253 && labels_have_text && name.bytes().all(plain))
        .then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sent: &str) -> Option<(String, String)> {
        let canonical = canonical(sent.as_bytes(), 80, 8080)?;
        Some((canonical.key.to_string(), canonical.host.to_str().unwrap().to_owned()))
    }

    #[test]
    fn names_of_one_host_have_one_key() {
        for (sent, key, host) in [
            ("a.test", "a.test", "a.test"),
            ("A.Test", "a.test", "a.test"),
            ("a.test.", "a.test", "a.test"),
            ("a.test:80", "a.test", "a.test"),
            ("a.test.:80", "a.test", "a.test"),
            ("a.test:", "a.test", "a.test"),
            ("a.test:0080", "a.test", "a.test"),
            ("a.test:8080", "a.test", "a.test:8080"),
            ("a.test:9000", "a.test:9000", "a.test:9000"),
            ("a.test:0", "a.test:0", "a.test:0"),
            ("a.test:65535", "a.test:65535", "a.test:65535"),
            ("a_b.test", "a_b.test", "a_b.test"),
            ("127.0.0.1:8080", "127.0.0.1", "127.0.0.1:8080"),
            ("[::1]", "[::1]", "[::1]"),
            ("[0:0:0:0:0:0:0:1]:80", "[::1]", "[::1]"),
            ("[2001:DB8::1]:9000", "[2001:db8::1]:9000", "[2001:db8::1]:9000"),
        ] {
            assert_eq!(check(sent), Some((key.to_owned(), host.to_owned())), "{sent}");
        }
    }

    #[test]
    fn what_is_not_plainly_a_host_is_refused() {
        for sent in [
            "",
            ".",
            "..",
            ".a.test",
            "a..test",
            "a.test..",
            "a test",
            "a,b",
            "a/b",
            "a\\b",
            "u@a.test",
            "u:p@a.test",
            "a.test:port",
            "a.test:+80",
            "a.test:-1",
            "a.test:65536",
            "a.test:000080",
            "a.test:80:80",
            "a%2etest",
            "a.test#",
            "a.test?",
            "[::1",
            "::1",
            "[]",
            "[::g]",
            "[::1]x",
            "[::1]:x",
            "[v1.x]",
            "a\u{e9}.test",
            "a;b",
            "a*b",
            "\"a\"",
        ] {
            assert_eq!(check(sent), None, "{sent:?}");
        }
        assert_eq!(check(&"a".repeat(254)), None);
    }
}
