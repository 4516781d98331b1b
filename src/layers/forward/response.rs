//! What is taken from a response, and what is added, before it goes to the client. Trailers and
//! content pass as they come.

use http::header::{CONNECTION, VIA};
use http::{HeaderValue, Response, StatusCode, Version};

use super::hop;
use super::upgrade::Handshake;
use crate::body::Body;
use crate::error::{OriginFault, ProxyError};

/// Makes `response` fit for the client; `handshake` is there if the request asked for an upgrade.
pub(super) fn finish(
    mut response: Response<Body>,
    handshake: Option<Box<Handshake>>,
) -> Result<Response<Body>, ProxyError> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return match handshake {
            Some(handshake) => handshake.join(response),
            None => Err(OriginFault::Malformed("it switched protocols unasked").into()),
        };
    }
    // RFC 9110 §15.2: an interim response is never the answer.
    if response.status().is_informational() {
        return Err(OriginFault::Malformed("an interim response in place of a final one").into());
    }
    let headers = response.headers_mut();
    // A hit has none of these: one look at the names is all it pays.
    if headers.keys().any(hop::is_hop_by_hop) {
        let options = hop::connection_options(headers)
            .ok_or(OriginFault::Malformed("its Connection field is malformed"))?;
        // RFC 9110 §7.6.1: "for each connection-option in this field, remove any header or trailer
        // field(s) from the message with the same name". A sender "MUST NOT send a connection option
        // corresponding to a field that is intended for all recipients"; one that does is taken at
        // its word, and what it sent is stored by nobody (`semantics::storable`).
        hop::strip(headers, &options);
    }
    debug_assert!(!headers.contains_key(CONNECTION));
    headers.append(VIA, HeaderValue::from_static("1.1 larder"));
    // RFC 9110 §2.5: an intermediary speaks its own version.
    *response.version_mut() = Version::HTTP_11;
    Ok(response)
}
