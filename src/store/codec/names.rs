//! Field lines with a byte for each name that is common.

use super::DecodeError::{self, Damaged};
use super::bytes::{Reader, Writer};
use super::{MAX_LINES, Unencodable};
use crate::semantics::lines::{self, Lines};

/// Names of response fields; their place here, counted from 1, is what is written. To change it is
/// to change [`super::VERSION`].
const COMMON: [&str; 48] = [
    "accept-ranges",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "age",
    "allow",
    "alt-svc",
    "cache-control",
    "cache-status",
    "cdn-cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-security-policy",
    "content-type",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "date",
    "deprecation",
    "etag",
    "expires",
    "last-modified",
    "link",
    "location",
    "permissions-policy",
    "pragma",
    "referrer-policy",
    "retry-after",
    "server",
    "server-timing",
    "set-cookie",
    "strict-transport-security",
    "surrogate-control",
    "traceparent",
    "vary",
    "via",
    "x-content-type-options",
    "x-correlation-id",
    "x-frame-options",
    "x-powered-by",
    "x-request-id",
    "x-xss-protection",
];

pub(super) fn write_lines(out: &mut Writer, lines: Lines<'_>) -> Result<(), Unencodable> {
    out.count(lines.iter().count(), MAX_LINES)?;
    for (name, value) in lines.iter() {
        let place = COMMON.binary_search_by(|common| common.as_bytes().cmp(name));
        match place.ok().and_then(|at| u8::try_from(at + 1).ok()) {
            Some(place) => out.u8(place),
            None => {
                out.u8(0);
                out.text(name);
            }
        }
        out.text(value);
    }
    Ok(())
}

/// As [`lines::write`] would write them, if nobody has tampered with them. Refuses control characters:
/// whoever can write to Valkey cannot split a response.
pub(super) fn read_lines(input: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let mut block = Vec::with_capacity(256);
    for _ in 0..input.count(MAX_LINES)? {
        let name = match usize::from(input.u8()?) {
            0 => input.text()?,
            place => COMMON.get(place - 1).ok_or(Damaged("field name"))?.as_bytes(),
        };
        lines::push_checked(name, input.text()?, &mut block).ok_or(Damaged("fields"))?;
    }
    Ok(block)
}

#[test]
fn common_names_are_in_order_and_well_formed() {
    assert!(COMMON.is_sorted());
    for name in COMMON {
        assert_eq!(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), name);
    }
}
