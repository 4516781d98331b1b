//! When are two requests the same? Keys are injective: length-prefixed parts, no delimiters.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::ledger::Position;

/// What identifies an entry: route, namespace version and request, then, for a variant, the
/// request fields that the response varies on.
///
/// The digest addresses it; the full text is kept in the entry and compared, so that a collision
/// of digests is a miss and not somebody else's response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// First 128 bits of BLAKE3 over `full`.
    pub digest: Digest,
    /// Every part with its length in front.
    pub full: Bytes,
    /// Name of the route.
    pub route: Arc<str>,
    /// Namespace, as its route's template came out.
    pub namespace: Arc<str>,
    /// Version of the namespace: the position of the last hard bump of it or an ancestor.
    pub version: Position,
}

/// A key's fixed-size address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 16]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
