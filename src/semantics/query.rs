//! QUERY (RFC 10008): a safe request whose content says what is asked for.
//!
//! | a QUERY | may be answered from what is stored |
//! |---|---|
//! | with one Content-Type | yes: its content and what describes that are part of the key |
//! | without one, with an empty one, with two | no: the RFC calls it an error, and the origin says so |
//! | with a part of a representation (Content-Range) | no: it does not say the whole question |
//! | whose content differs in one byte, or is spelled otherwise | yes, under a key of its own |

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, Method};

/// Is it QUERY? Methods are case-sensitive (RFC 9110 §9.1).
pub fn is_query(method: &Method) -> bool {
    method.as_str() == "QUERY"
}

/// Could a cache tell this QUERY from others by its content?
///
/// RFC 10008 §2: "Servers MUST fail the request if the Content-Type request field is missing or is
/// inconsistent with the request content". Which content is consistent with its type only the
/// origin knows; that there is no type, or that there are two, can be seen from here.
pub fn says_what_it_asks(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let typed = types.next().is_some_and(|line| !line.as_bytes().trim_ascii().is_empty());
    typed && types.next().is_none() && !headers.contains_key(CONTENT_RANGE)
}

/// Does this request field change what the content means, or whether an origin takes it?
///
/// RFC 10008 §2.7: the key "MUST incorporate the request content and related metadata". RFC 9110 §8
/// names Content-Type, Content-Encoding, Content-Language and Content-Location; the digests of
/// RFC 9530 decide whether the content is taken at all, and an answer to a false one must not be
/// everybody's. New ones are named alike. The length is that of the content.
pub fn describes_content(name: &HeaderName) -> bool {
    let name = name.as_str();
    let alike = name.starts_with("content-") && name != CONTENT_LENGTH.as_str();
    alike || matches!(name, "repr-digest" | "digest")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
            .collect()
    }

    #[test]
    fn methods_are_case_sensitive() {
        for (method, expected) in [("QUERY", true), ("query", false), ("GET", false)] {
            assert_eq!(is_query(&Method::from_bytes(method.as_bytes()).unwrap()), expected);
        }
    }

    #[test]
    fn what_the_rfc_calls_an_error_is_seen() {
        let json = ("content-type", "application/json");
        for (lines, expected) in [
            (&[json][..], true),
            (&[json, ("content-encoding", "gzip")], true),
            (&[], false),
            (&[("content-type", "")], false),
            (&[("content-type", " \t")], false),
            (&[json, json], false),
            (&[json, ("content-range", "bytes 0-1/2")], false),
        ] {
            assert_eq!(says_what_it_asks(&fields(lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn fields_about_the_content_are_known_by_their_names() {
        for (name, expected) in [
            ("content-type", true),
            ("content-encoding", true),
            ("content-language", true),
            ("content-location", true),
            ("content-digest", true),
            ("repr-digest", true),
            ("digest", true),
            ("content-length", false),
            ("content", false),
            ("accept", false),
            ("x-content-type", false),
        ] {
            assert_eq!(describes_content(&HeaderName::from_static(name)), expected, "{name}");
        }
    }
}
