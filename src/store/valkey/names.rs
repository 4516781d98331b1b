//! The names of our keys in Valkey.
//!
//! | name | holds |
//! |---|---|
//! | `larder:e:<digest>` | a record |
//! | `larder:f:<digest>` | a fill lease, or what is remembered of the last fill |
//! | `larder:{l}:…` | what the ledger keeps, all in one hash slot |
//!
//! The full key is in the record and is compared. Every entry has a name, so it says nothing that the
//! record says as well, and no part of it can be taken for a hash slot by a cluster.

use crate::key::{Digest, Key};

pub(super) fn record(prefix: &str, key: &Key) -> String {
    let mut name = String::with_capacity(prefix.len() + 3 + 2 * key.digest.0.len());
    name.push_str(prefix);
    name.push_str(":e:");
    // Written for every look: formatting takes longer than all the rest of the question.
    name.extend(key.digest.0.iter().flat_map(|byte| [hex(byte >> 4), hex(byte & 0xf)]));
    name
}

/// A digit, as [`Digest`] is displayed.
const fn hex(digit: u8) -> char {
    match digit {
        0..=9 => (b'0' + digit) as char,
        _ => (b'a' + digit - 10) as char,
    }
}

pub(super) fn lease(prefix: &str, digest: &Digest) -> String {
    format!("{prefix}:f:{digest}")
}

pub(super) fn coordination(prefix: &str, suffix: &str) -> String {
    format!("{prefix}:{{l}}:{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Position;

    #[test]
    fn names_are_short_and_safe() {
        let digest = Digest(*b"\x01\x9a\xbf\xf0456789abcdef");
        let hex = digest.to_string();
        let key = Key {
            digest,
            full: "k".into(),
            route: "/products/{id}".into(),
            namespace: "catalog".into(),
            version: Position { millis: 7, sequence: 1 },
        };
        assert_eq!(record("p", &key), format!("p:e:{hex}"));
        assert_eq!(lease("p", &digest), format!("p:f:{hex}"));
        assert_eq!(coordination("p", "ledger"), "p:{l}:ledger");
    }
}
