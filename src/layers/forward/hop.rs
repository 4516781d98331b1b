//! Fields that concern one connection only (RFC 9110 §7.6.1): known by name, or listed in
//! `Connection`.

use http::header::{self, HeaderMap, HeaderName};

pub(super) const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
pub(super) const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
pub(super) const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// True for the fields that are never passed on, listed or not.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    // RFC 9110 §11.7: the two proxy fields are for the next proxy, and that is us.
    *name == header::CONNECTION
        || *name == header::TRANSFER_ENCODING
        || *name == header::TE
        || *name == header::UPGRADE
        || *name == header::PROXY_AUTHENTICATE
        || *name == header::PROXY_AUTHORIZATION
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
        || *name == HTTP2_SETTINGS
}

/// The connection options of a message, in lower case; `None` if one of them is not a token.
pub(super) fn connection_options(headers: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut options = Vec::new();
    for line in headers.get_all(header::CONNECTION) {
        for option in members(line.as_bytes()) {
            options.push(HeaderName::from_bytes(option).ok()?);
        }
    }
    Some(options)
}

/// Removes everything that concerns the connection the message came on.
pub(super) fn strip(headers: &mut HeaderMap, options: &[HeaderName]) {
    for option in options {
        headers.remove(option);
    }
    const NAMES: [HeaderName; 9] = [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::TE,
        header::UPGRADE,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        HTTP2_SETTINGS,
    ];
    for name in &NAMES {
        headers.remove(name);
    }
}

/// The members of a list whose members are tokens: empty ones left out (RFC 9110 §5.6.1.2),
/// whitespace around them too.
pub(super) fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
            })
            .collect()
    }

    #[test]
    fn options_are_read_from_every_line_and_in_any_case() {
        let headers = headers(&[("connection", "Keep-Alive, , X-One"), ("connection", "close")]);
        assert_eq!(connection_options(&headers).unwrap(), ["keep-alive", "x-one", "close"]);
    }

    #[test]
    fn an_option_that_is_no_token_is_an_error() {
        for value in ["a b", "a;b", "\"a\"", "a, b=c d"] {
            assert_eq!(connection_options(&headers(&[("connection", value)])), None, "{value}");
        }
    }

    #[test]
    fn every_field_known_as_hop_by_hop_is_stripped() {
        let names = [
            "connection",
            "keep-alive",
            "proxy-connection",
            "te",
            "transfer-encoding",
            "upgrade",
            "http2-settings",
            "proxy-authorization",
            "proxy-authenticate",
        ];
        let mut map = headers(&names.map(|name| (name, "x")));
        assert!(map.keys().all(is_hop_by_hop));
        map.append("x-listed", HeaderValue::from_static("x"));
        map.append("x-kept", HeaderValue::from_static("x"));
        strip(&mut map, &[HeaderName::from_static("x-listed")]);
        assert_eq!(map.keys().collect::<Vec<_>>(), ["x-kept"]);
    }
}
