//! The routes of the world: what is read through them, how it is written, what they promise.

use crate::history::{Key, Micros, Promise};

/// How a key is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// PUT, now and then DELETE, through Larder.
    Write,
    /// At the origin, and then a purge by a tag that only the response names.
    PurgeTag,
    /// At the origin, and then a purge of its namespace.
    PurgeNamespace,
    /// At the origin, and nobody is told.
    Behind,
}

/// A kind of route. Its keys are numbered; `{id}` stands for the number.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Where it can be read; the first is where it is written. Each with the keys of its route.
    pub(crate) paths: &'static [(&'static str, &'static str)],
    pub(crate) manner: Manner,
    pub(crate) promise: Promise,
    /// The origin says `Vary: accept`.
    pub(crate) varies: bool,
    /// PUT is answered with what GET would get.
    pub(crate) through: bool,
}

/// Is `consistency = "strict"` obeyed?
const STRICT: Promise = Promise::Strict;

/// How long entries of `lifetime` live at most, how long their origin takes at most to answer, and
/// what a busy machine adds.
const LIFETIME: Micros = 800_000 + 300_000 + 400_000;

const PLAIN: Kind = Kind {
    name: "plain",
    paths: &[("/plain/{id}", "soft_ttl = \"1h\"\nnegative_ttl = \"1h\"")],
    manner: Manner::Write,
    promise: Promise::Bounded,
    varies: false,
    through: false,
};

/// All of them. Lifetimes are long, so that nothing is forgotten that should have been invalidated.
pub(crate) static KINDS: &[Kind] = &[
    PLAIN,
    Kind {
        name: "strict",
        paths: &[(
            "/strict/{id}",
            "soft_ttl = \"1h\"\nnegative_ttl = \"1h\"\nconsistency = \"strict\"",
        )],
        promise: STRICT,
        ..PLAIN
    },
    Kind {
        name: "unannounced",
        paths: &[("/quick/{id}", "soft_ttl = \"1h\"\nnegative_ttl = \"1h\"\nannounce = false")],
        ..PLAIN
    },
    Kind {
        name: "refreshed",
        paths: &[(
            "/refreshed/{id}",
            "soft_ttl = \"200ms\"\nhard_ttl = \"1h\"\nnegative_ttl = \"1h\"",
        )],
        ..PLAIN
    },
    Kind {
        name: "listed",
        paths: &[
            (
                "/items/{id}",
                "soft_ttl = \"1h\"\nnegative_ttl = \"1h\"\non_write = [\"tag:item:{id}\"]",
            ),
            (
                "/shelf/{id}",
                "soft_ttl = \"1h\"\nnegative_ttl = \"1h\"\ntags = [\"item:{$.items[*].id}\"]",
            ),
        ],
        ..PLAIN
    },
    Kind {
        name: "varied",
        paths: &[("/varied/{id}", "soft_ttl = \"1h\"\nnegative_ttl = \"1h\"")],
        varies: true,
        ..PLAIN
    },
    Kind {
        name: "through",
        paths: &[(
            "/through/{id}",
            "soft_ttl = \"1h\"\nnegative_ttl = \"1h\"\nwrite_through = true",
        )],
        through: true,
        ..PLAIN
    },
    Kind {
        name: "tagged",
        paths: &[("/tagged/{id}", "soft_ttl = \"1h\"")],
        manner: Manner::PurgeTag,
        ..PLAIN
    },
    Kind {
        name: "spaced",
        paths: &[("/spaces/{id}", "soft_ttl = \"1h\"\nnamespace = \"spaces/{id}\"")],
        manner: Manner::PurgeNamespace,
        ..PLAIN
    },
    Kind {
        name: "lifetime",
        paths: &[("/brief/{id}", "soft_ttl = \"400ms\"\nhard_ttl = \"800ms\"")],
        manner: Manner::Behind,
        promise: Promise::Lifetime(LIFETIME),
        ..PLAIN
    },
];

/// Keys of each kind.
pub(crate) const EACH: usize = 6;

/// All keys.
pub(crate) fn keys() -> usize {
    KINDS.len() * EACH
}

pub(crate) fn kind_of(key: Key) -> &'static Kind {
    &KINDS[usize::from(key) % KINDS.len()]
}

/// Where `key` is read, the `nth` way.
pub(crate) fn path_of(key: Key, nth: usize) -> String {
    let paths = kind_of(key).paths;
    let (pattern, _) = paths[nth % paths.len()];
    pattern.replace("{id}", &key.to_string())
}

/// The key that a path is about: its last segment.
pub(crate) fn key_of(path: &str) -> Option<Key> {
    path.rsplit('/').next()?.parse().ok().filter(|key| usize::from(*key) < keys())
}

/// By key.
pub(crate) fn promises() -> Vec<Promise> {
    (0..keys()).map(|key| kind_of(key as Key).promise).collect()
}
