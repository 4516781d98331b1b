//! The names of our keys in Valkey.
//!
//! | name | holds |
//! |---|---|
//! | `larder:e:<route>:<namespace>@<version>:<digest>` | a record |
//! | `larder:f:<digest>` | a fill lease, or what is remembered of the last fill |
//! | `larder:{l}:…` | what the ledger keeps, all in one hash slot |
//!
//! Only the digest, the version and the full key inside the record identify it; the rest of the
//! name is there to be read by people. Braces are written as `%7B`, `%7D`: a route such as
//! `/products/{id}` would otherwise put all its entries into the one hash slot of `id`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::key::{Digest, Key};

/// What is not written as it stands.
const UNSAFE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'/').remove(b'*').remove(b'-');

pub(super) fn record(prefix: &str, key: &Key) -> String {
    let route = utf8_percent_encode(&key.route, UNSAFE);
    let namespace = utf8_percent_encode(&key.namespace, UNSAFE);
    format!("{prefix}:e:{route}:{namespace}@{}:{}", key.version, key.digest)
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
    fn names_are_readable_and_safe() {
        let digest = Digest([0xab; 16]);
        let hex = "ab".repeat(16);
        for (route, namespace, expected) in [
            ("catalog", "catalog/products", "p:e:catalog:catalog/products@7-1:"),
            ("/products/{id}", "", "p:e:/products/%7Bid%7D:@7-1:"),
            ("/a b\r\n", "x:y@z/é", "p:e:/a%20b%0D%0A:x%3Ay%40z/%C3%A9@7-1:"),
        ] {
            let key = Key {
                digest,
                full: "k".into(),
                route: route.into(),
                namespace: namespace.into(),
                version: Position { millis: 7, sequence: 1 },
            };
            assert_eq!(record("p", &key), format!("{expected}{hex}"));
        }
        assert_eq!(lease("p", &digest), format!("p:f:{hex}"));
        assert_eq!(coordination("p", "ledger"), "p:{l}:ledger");
    }
}
