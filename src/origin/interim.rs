//! Interim responses of a server (RFC 9110 §15.2), for the client that is being answered.
//!
//! | status | is |
//! |---|---|
//! | 100 | ours to answer: nobody's expectation is passed on, the server here meets it |
//! | 101 | a final response, as far as the request goes |
//! | 102 to 199, known or not | told to the client, end-to-end fields only |
//!
//! They say that the server is alive, not that it answers: its time for that goes on.

use http::StatusCode;
use http::header::{CONTENT_LENGTH, HeaderMap, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TRAILER};

use crate::peer::Interim;
use crate::semantics::fields::strip_hop_by_hop;

/// Tells `client` of an interim response to its request.
pub(super) fn tell(client: &Interim, status: StatusCode, headers: HeaderMap) {
    if let Some(headers) = forwarded(status, headers) {
        client.tell(status, headers);
    }
}

/// What of an interim response goes to the client; `None`: nothing.
fn forwarded(status: StatusCode, mut headers: HeaderMap) -> Option<HeaderMap> {
    if !status.is_informational() || status.as_u16() < 102 {
        return None;
    }
    strip_hop_by_hop(&mut headers);
    // RFC 9110 §11.7: between a client and the next proxy, and that is us.
    headers.remove(PROXY_AUTHENTICATE);
    headers.remove(PROXY_AUTHORIZATION);
    // RFC 9110 §15.2: "it cannot contain content or trailers"; §8.6: "MUST NOT send a
    // Content-Length header field in any response with a status code of 1xx".
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRAILER);
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_no_matter_between_us_and_the_server_is_told() {
        for (status, told) in
            [(100, false), (101, false), (102, true), (103, true), (104, true), (199, true)]
        {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(forwarded(status, HeaderMap::new()).is_some(), told, "{status}");
        }
    }

    #[test]
    fn end_to_end_fields_are_told_line_by_line() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("link", "</a>"),
            ("connection", "x-listed"),
            ("x-listed", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("trailer", "x"),
            ("upgrade", "h2c"),
            ("proxy-authenticate", "Basic"),
            ("link", "</b>"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        let told = forwarded(StatusCode::EARLY_HINTS, headers).unwrap();
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told.get_all("link").iter().collect::<Vec<_>>(), ["</a>", "</b>"]);
    }
}
