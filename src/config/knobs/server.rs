//! The knobs of the process: where it listens, whom it asks, where it keeps what it got.

use super::Preset::{Is, Required, Unset};
use super::{GIB, INSTANT, KIB, Kind, Knob, hours, ms};

pub(super) static TOP_KNOBS: &[Knob] = &[Knob {
    key: "listen",
    kind: Kind::Address,
    preset: Is("\"127.0.0.1:8080\""),
    says: "Where clients connect.",
    turn: "Take 0.0.0.0:8080 (or [::]:8080) to be reached from other machines.",
}];

pub(super) static ORIGIN_KNOBS: &[Knob] = &[
    Knob {
        key: "url",
        kind: Kind::OriginUrl,
        preset: Required("\"http://127.0.0.1:3000\""),
        says: "Where the origin is: scheme, host and port, without a path.",
        turn: "It must be given, here or as --origin.",
    },
    Knob {
        key: "urls",
        kind: Kind::List(&Kind::OriginUrl),
        preset: Unset("[\"http://a:3000\", \"http://b:3000\"]"),
        says: "Several servers with the same content, asked in turn; one that refuses connections \
               is skipped for a moment.",
        turn: "Give it in place of url when there is more than one.",
    },
    Knob {
        key: "timeout",
        kind: Kind::Duration(ms(1), hours(24)),
        preset: Is("\"30s\""),
        says: "How long the origin may take until its response head is here, and between two \
               pieces of a body.",
        turn: "Lower it to a little above the slowest answer you would still wait for.",
    },
    Knob {
        key: "connect_timeout",
        kind: Kind::Duration(ms(1), hours(1)),
        preset: Is("\"2s\""),
        says: "How long opening a connection may take.",
        turn: "Raise it for an origin on another continent; a near one answers in milliseconds.",
    },
    Knob {
        key: "max_connections",
        kind: Kind::Integer(1, 1_000_000),
        preset: Is("256"),
        says: "Most connections open at once, to each server.",
        turn: "Set it to what the origin works on at once: more would only queue over there.",
    },
    Knob {
        key: "queue_timeout",
        kind: Kind::Duration(INSTANT, hours(1)),
        preset: Is("\"10s\""),
        says: "How long a request waits for a connection when all are in use; then it is answered \
               503.",
        turn: "Lower it if clients would rather be told at once that there is too much to do.",
    },
    Knob {
        key: "idle_timeout",
        kind: Kind::Duration(ms(1), hours(24)),
        preset: Is("\"4s\""),
        says: "An unused connection is closed after this long.",
        turn: "Keep it below the origin's own keep-alive limit (5s in Node and uvicorn, 75s in \
               nginx), and raise it with that.",
    },
    Knob {
        key: "host",
        kind: Kind::HostPolicy,
        preset: Is("\"preserve\""),
        says: "What the origin is told the host is: \"preserve\" sends what the client asked for, \
               \"origin\" the host of url, anything else itself.",
        turn: "Turn it when the origin only knows its own name.",
    },
    Knob {
        key: "max_refreshes",
        kind: Kind::Integer(1, 1_000_000),
        preset: Is("32"),
        says: "Most background refreshes at once.",
        turn: "Raise it if stale entries wait for their refresh while the origin has time to \
               spare.",
    },
    Knob {
        key: "retry_after",
        kind: Kind::Duration(INSTANT, hours(24)),
        preset: Is("\"5s\""),
        says: "How long a failing origin is left alone, per entry, before a refresh is tried \
               again.",
        turn: "Raise it if a struggling origin needs more quiet to recover.",
    },
];

pub(super) static STORE_KNOBS: &[Knob] = &[
    Knob {
        key: "valkey",
        kind: Kind::ValkeyUrl,
        preset: Unset("\"valkey://127.0.0.1:6379\""),
        says: "URL of Valkey; absent: entries live in this process alone. One server: \
               valkey://host:6379/0 or unix:///path; Sentinel: valkey-sentinel://a,b,c/mymaster; \
               a cluster: valkey-cluster://a,b,c; with TLS: valkeys://, valkeys-sentinel://, \
               valkeys-cluster://.",
        turn: "Give it as soon as there is more than one process, or if entries shall outlive a \
               restart.",
    },
    Knob {
        key: "username",
        kind: Kind::Username,
        preset: Unset("\"larder\""),
        says: "User of Valkey, unless the URL says.",
        turn: "Give Larder a user that may do no more than it needs: docs/operations.md has it.",
    },
    Knob {
        key: "password",
        kind: Kind::Password,
        preset: Unset("\"${VALKEY_PASSWORD}\""),
        says: "That user's password, as it is (in a URL it would have to be encoded).",
        turn: "Needed when Valkey asks for one.",
    },
    Knob {
        key: "database",
        kind: Kind::Integer(0, 65_535),
        preset: Unset("1"),
        says: "Number of the database, unless the URL says; a cluster has none but 0.",
        turn: "Give it where databases tell the users of one server apart.",
    },
    Knob {
        key: "ca_file",
        kind: Kind::File,
        preset: Unset("\"/etc/larder/valkey-ca.pem\""),
        says: "PEM file of the authorities that Valkey's certificate may come from; without it, \
               those of the system.",
        turn: "Give it when Valkey's certificate is of an authority of your own.",
    },
    Knob {
        key: "cert_file",
        kind: Kind::File,
        preset: Unset("\"/etc/larder/valkey.pem\""),
        says: "PEM file of the certificate that Larder shows to Valkey.",
        turn: "Give it, and key_file, when Valkey asks its clients for one (tls-auth-clients, \
               which is on by default there).",
    },
    Knob {
        key: "key_file",
        kind: Kind::File,
        preset: Unset("\"/etc/larder/valkey-key.pem\""),
        says: "PEM file of the key of cert_file.",
        turn: "Give it together with cert_file.",
    },
    Knob {
        key: "sentinel_username",
        kind: Kind::Username,
        preset: Unset("\"larder\""),
        says: "User of the Sentinels, which have users of their own.",
        turn: "Give it when they ask for one.",
    },
    Knob {
        key: "sentinel_password",
        kind: Kind::Password,
        preset: Unset("\"${SENTINEL_PASSWORD}\""),
        says: "That user's password; the URL's is never sent to a Sentinel.",
        turn: "Needed when the Sentinels ask for one.",
    },
    Knob {
        key: "memory",
        kind: Kind::Size(0, 1024 * GIB),
        preset: Is("\"256MiB\""),
        says: "How much of this process's memory entries may take; 0 keeps none (and needs \
               valkey).",
        turn: "Raise it until the hot entries fit: a hit in memory costs no round trip.",
    },
    Knob {
        key: "prefix",
        kind: Kind::Prefix,
        preset: Is("\"larder\""),
        says: "First part of every key in Valkey.",
        turn: "Change it when two installations share one Valkey: they must not share a ledger.",
    },
    Knob {
        key: "timeout",
        kind: Kind::Duration(ms(1), ms(60_000)),
        preset: Is("\"50ms\""),
        says: "What one request may spend on Valkey in all; after that it is a miss.",
        turn: "Raise it only if Valkey is far away: it is the most a sick Valkey can add to a \
               request.",
    },
    Knob {
        key: "lease",
        kind: Kind::Duration(ms(100), hours(1)),
        preset: Is("\"5s\""),
        says: "How long a fill lease outlives a process that died with it.",
        turn: "Lower it if others should take over an abandoned fill sooner.",
    },
    Knob {
        key: "ledger_lease",
        kind: Kind::Duration(ms(100), hours(1)),
        preset: Is("\"2s\""),
        says: "Without a word from the ledger for this long, what is in memory is suspect and \
               asked for again.",
        turn: "Raise it to ride out longer pauses of Valkey; it bounds how long a process that is \
               cut off may serve what others have replaced.",
    },
    Knob {
        key: "ledger_names",
        kind: Kind::Integer(1, 100_000_000),
        preset: Is("500000"),
        says: "How many invalidated names are remembered, at about 80 bytes each; entries older \
               than the oldest are suspect.",
        turn: "Raise it above (invalidations per second) x (longest hard_ttl in seconds).",
    },
    Knob {
        key: "durability",
        kind: Kind::Words(&["primary", "replicas"]),
        preset: Is("\"primary\""),
        says: "Who must have an invalidation before its write is answered: the primary, or a \
               replica too (\"replicas\"), so that a failover does not lose it.",
        turn: "Take replicas where Valkey fails over by itself; it adds the replica's round trip \
               to each write.",
    },
];

pub(super) static ADMIN_KNOBS: &[Knob] = &[
    Knob {
        key: "listen",
        kind: Kind::AddressOrOff,
        preset: Is("\"127.0.0.1:9090\""),
        says: "Where it listens; \"off\" turns it off.",
        turn: "Take an address of the inner network when scrapers or deploy jobs must reach it.",
    },
    Knob {
        key: "token",
        kind: Kind::Secret,
        preset: Unset("\"${LARDER_ADMIN_TOKEN}\""),
        says: "Bearer token that every request must carry.",
        turn: "Needed when listen is not a loopback address.",
    },
];

pub(super) static LIMITS_KNOBS: &[Knob] = &[
    Knob {
        key: "max_requests",
        kind: Kind::Integer(1, 10_000_000),
        preset: Is("8192"),
        says: "Most requests in progress at once; more are answered 503.",
        turn: "Lower it if memory is short: each may hold a body in flight.",
    },
    Knob {
        key: "max_connections",
        kind: Kind::Integer(1, 10_000_000),
        preset: Is("8192"),
        says: "Most client connections at once; more wait in the kernel's backlog.",
        turn: "Raise it together with the limit on open files (ulimit -n).",
    },
    Knob {
        key: "header_timeout",
        kind: Kind::Duration(ms(1), hours(24)),
        preset: Is("\"30s\""),
        says: "How long the head of a request may take, and the pause between two requests of one \
               connection.",
        turn: "Raise it above the idle limit of a load balancer in front, which must be the one \
               to close.",
    },
    Knob {
        key: "body_timeout",
        kind: Kind::Duration(ms(1), hours(24)),
        preset: Is("\"30s\""),
        says: "Longest pause while a request's content arrives.",
        turn: "Raise it for clients on very bad links.",
    },
    Knob {
        key: "write_timeout",
        kind: Kind::Duration(ms(1), hours(24)),
        preset: Is("\"30s\""),
        says: "Longest pause while a client takes in a response.",
        turn: "Lower it if slow readers hold too many connections.",
    },
    Knob {
        key: "drain_timeout",
        kind: Kind::Duration(INSTANT, hours(24)),
        preset: Is("\"25s\""),
        says: "How long requests in flight may take to finish after SIGTERM.",
        turn: "Keep it below what the supervisor waits before it kills (30s in Kubernetes).",
    },
    Knob {
        key: "max_target",
        kind: Kind::Size(256, 1024 * KIB),
        preset: Is("\"8KiB\""),
        says: "Longest request target; longer ones are answered 414.",
        turn: "Raise it only for APIs that put whole queries into the URL.",
    },
    Knob {
        key: "max_fields_bytes",
        kind: Kind::Size(KIB, 1024 * KIB),
        preset: Is("\"32KiB\""),
        says: "Largest sum of a request's field names and values; more is answered 431.",
        turn: "Raise it if clients carry large cookies or tokens.",
    },
    Knob {
        key: "max_fields",
        kind: Kind::Integer(1, 10_000),
        preset: Is("100"),
        says: "Most field lines of a request; more are answered 431.",
        turn: "Raise it if a proxy in front adds many.",
    },
    Knob {
        key: "trusted_proxies",
        kind: Kind::List(&Kind::Network),
        preset: Is("[]"),
        says: "Peers whose Forwarded and X-Forwarded-* fields are believed and continued, as \
               addresses or ranges (10.0.0.0/8).",
        turn: "List the load balancers in front: nobody else may say who a client is.",
    },
];

pub(super) static LOG_KNOBS: &[Knob] = &[
    Knob {
        key: "access",
        kind: Kind::Bool,
        preset: Is("true"),
        says: "One JSON line per request on standard output.",
        turn: "Turn it off when metrics are enough: at tens of thousands of requests per second \
               writing it costs more than a hit.",
    },
    Knob {
        key: "level",
        kind: Kind::LogFilter,
        preset: Is("\"info\""),
        says: "What else is told on standard error: error, warn, info, debug, trace, also per \
               module (\"info,larder::store=debug\").",
        turn: "Take debug while you look for something.",
    },
];
