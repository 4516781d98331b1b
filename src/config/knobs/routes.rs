//! The knobs of routes, and of the classes that they share.

use super::Preset::{Is, Required, Unset};
use super::{EVER, GIB, INSTANT, Kind, Knob, hours};

pub(super) static ROUTE_KNOBS: &[Knob] = &[
    Knob {
        key: "name",
        kind: Kind::RouteName,
        preset: Unset("\"product\""),
        says: "Name in logs, metrics and keys; the pattern if absent.",
        turn: "Needed when two routes share a pattern.",
    },
    Knob {
        key: "host",
        kind: Kind::HostPattern,
        preset: Unset("\"api.example.com\""),
        says: "Host it applies to, without a port: a name, or *.example.com for all below it; \
               absent: every host.",
        turn: "Give it when one proxy serves several APIs.",
    },
    Knob {
        key: "path",
        kind: Kind::PathPattern,
        preset: Required("\"/products/{id}\""),
        says: "Which paths: {name} captures one segment, {*name} at the end all the rest (one \
               character at least, so /{*rest} is not /).",
        turn: "Every route has one.",
    },
    Knob {
        key: "methods",
        kind: Kind::List(&Kind::Method),
        preset: Is("[]"),
        says: "Methods it applies to; empty: all (GET takes HEAD along).",
        turn: "Give it when reads and writes of one path need different rules.",
    },
    Knob {
        key: "class",
        kind: Kind::ClassName,
        preset: Unset("\"catalog\""),
        says: "The class whose keys apply where the route has none of its own.",
        turn: "Name one as soon as two routes agree.",
    },
    Knob {
        key: "namespace",
        kind: Kind::Namespace,
        preset: Unset("\"catalog/products\""),
        says: "Namespace its entries live under, with captures ({id}); absent: made from the \
               route's name.",
        turn: "Share one among routes that must be invalidated together; a purge of catalog \
               reaches catalog/products too.",
    },
    Knob {
        key: "tags",
        kind: Kind::List(&Kind::Tag),
        preset: Is("[]"),
        says: "Tags of its entries, with captures ({id}) and places in a JSON body \
               ({$.items[*].id}).",
        turn: "Give them when something must be invalidated wherever it appears, in lists too.",
    },
    Knob {
        key: "on_write",
        kind: Kind::List(&Kind::NameRule),
        preset: Is("[]"),
        says: "What else a write through this route invalidates: tag:, namespace:, url:, path: or \
               prefix:, with captures.",
        turn: "List every page that shows what the write changes.",
    },
    Knob {
        key: "query.ignore",
        kind: Kind::List(&Kind::Parameter),
        preset: Unset("[\"utm_*\", \"fbclid\"]"),
        says: "Query parameters that neither count nor reach the origin; * at the end matches any \
               rest.",
        turn: "List what marketing adds and the API never reads.",
    },
    Knob {
        key: "query.only",
        kind: Kind::List(&Kind::Parameter),
        preset: Unset("[\"q\", \"page\"]"),
        says: "The only query parameters that count and reach the origin.",
        turn: "Take it in place of query.ignore when you know all that the API reads: nobody can \
               then miss the cache with ?x=1.",
    },
    Knob {
        key: "no_vary_search",
        kind: Kind::Bool,
        preset: Is("false"),
        says: "Obey No-Vary-Search: which query parameters count is what the path's last response \
               said; all reach the origin.",
        turn: "Turn it on when the origin sends that field, and the same one for all of a path.",
    },
    Knob {
        key: "key.headers",
        kind: Kind::List(&Kind::FieldName),
        preset: Is("[]"),
        says: "Request fields that are part of the key, whether or not the response varies on \
               them.",
        turn: "List those that change the answer of an origin that forgets Vary.",
    },
    Knob {
        key: "key.cookies",
        kind: Kind::List(&Kind::CookieName),
        preset: Is("[]"),
        says: "Cookies that are part of the key.",
        turn: "List those that choose between a few answers (currency, language), never a session.",
    },
];

pub(super) static CONTRACT_KNOBS: &[Knob] = &[
    Knob {
        key: "cache",
        kind: Kind::Words(&["on", "off"]),
        preset: Is("\"on\""),
        says: "\"off\" stores nothing; writes still invalidate.",
        turn: "Turn it off for whatever belongs to one user.",
    },
    Knob {
        key: "freshness",
        kind: Kind::Words(&["origin", "route"]),
        preset: Is("\"origin\""),
        says: "Whose word wins: what the origin says explicitly (these keys where it is silent), \
               or \"route\", these keys.",
        turn: "Take route when the origin's Cache-Control is wrong and cannot be mended.",
    },
    Knob {
        key: "request_directives",
        kind: Kind::Words(&["ignore", "honour"]),
        preset: Is("\"ignore\""),
        says: "What becomes of a client's own no-cache, max-age, min-fresh and max-stale: nothing, \
               or they narrow and widen what it is served (\"honour\"); no-store and \
               only-if-cached always count.",
        turn: "Take honour where clients are your own: any of them can then make every request a \
               request to the origin.",
    },
    Knob {
        key: "soft_ttl",
        kind: Kind::Duration(INSTANT, EVER),
        preset: Unset("\"60s\""),
        says: "Fresh for this long; absent: only if the origin says so.",
        turn: "Set it to how old an answer may be without anybody minding.",
    },
    Knob {
        key: "hard_ttl",
        kind: Kind::Duration(INSTANT, EVER),
        preset: Unset("\"10m\""),
        says: "Past soft_ttl served stale, and refreshed behind, until here; absent: not at all.",
        turn: "Set it to how old an answer may be rather than let a client wait.",
    },
    Knob {
        key: "stale_if_error",
        kind: Kind::Duration(INSTANT, EVER),
        preset: Is("\"0s\""),
        says: "Served stale for this much longer if the origin fails.",
        turn: "Set it to how old an answer may be rather than show an error.",
    },
    Knob {
        key: "negative_ttl",
        kind: Kind::Duration(INSTANT, EVER),
        preset: Unset("\"5s\""),
        says: "Lifetime of 404, 405, 410, 414 and 501 where the origin is silent; absent: not \
               stored.",
        turn: "Set a few seconds if clients keep asking for what is not there.",
    },
    Knob {
        key: "heuristic",
        kind: Kind::Ratio(1.0),
        preset: Unset("\"10%\""),
        says: "Where neither the origin nor a key above gives a lifetime: this share of the time \
               since Last-Modified, a day at most; absent: not stored.",
        turn: "Set 10% for an origin that dates its content and says nothing else, such as a \
               server of files.",
    },
    Knob {
        key: "jitter",
        kind: Kind::Ratio(0.5),
        preset: Is("\"10%\""),
        says: "Lifetimes from this file are spread by this share, up and down, so that what was \
               filled together does not expire together.",
        turn: "Raise it if refreshes still come in waves.",
    },
    Knob {
        key: "set_cookie",
        kind: Kind::Words(&["refuse", "strip", "store"]),
        preset: Is("\"refuse\""),
        says: "What becomes of a response that sets a cookie: it is not stored; or it is, without \
               the cookie, which only the client that asked first gets (\"strip\"); or it is as it \
               is, and everybody gets that client's cookie (\"store\").",
        turn: "Take strip for an origin that sets a session on every answer and means nothing by \
               it; take store only for a cookie that may be the same for all, and never for a \
               session.",
    },
    Knob {
        key: "max_entry",
        kind: Kind::Size(1, GIB),
        preset: Is("\"8MiB\""),
        says: "Largest content that is stored; larger ones are streamed through.",
        turn: "Lower it to keep a few downloads from pushing out everything else.",
    },
    Knob {
        key: "max_query_content",
        kind: Kind::Size(0, 16 << 20),
        preset: Is("\"64KiB\""),
        says: "Largest content of a QUERY that is part of its key, and is held in memory while \
               the QUERY is answered; larger ones are streamed to the origin; 0: QUERY is not \
               cached.",
        turn: "Raise it if your queries are longer, within what max_requests times as much memory \
               allows.",
    },
    Knob {
        key: "max_variants",
        kind: Kind::Integer(1, 10_000),
        preset: Is("16"),
        says: "Most variants (by Vary) per key.",
        turn: "Raise it only if the fields that responses vary on really take more values.",
    },
    Knob {
        key: "max_tags",
        kind: Kind::Integer(1, 10_000),
        preset: Is("128"),
        says: "Most tags per entry; an entry with more is not stored.",
        turn: "Raise it for long lists that are tagged item by item.",
    },
    Knob {
        key: "on_doubt",
        kind: Kind::Words(&["revalidate", "serve"]),
        preset: Is("\"revalidate\""),
        says: "What to do with an entry that this process cannot vouch for: ask the origin first, \
               or \"serve\" it as stale and ask behind.",
        turn: "Take serve where an old answer is better than a slow one, even after a failover.",
    },
    Knob {
        key: "collapse",
        kind: Kind::Bool,
        preset: Is("true"),
        says: "Identical misses share one fill.",
        turn: "Turn it off where answers are rarely shareable, so that nobody waits in vain.",
    },
    Knob {
        key: "collapse_timeout",
        kind: Kind::Duration(INSTANT, hours(1)),
        preset: Is("\"30s\""),
        says: "How long a miss waits for somebody else's fill before it fetches for itself.",
        turn: "Keep it above the slowest normal answer: giving up early sends the whole crowd to \
               the origin.",
    },
    Knob {
        key: "parent",
        kind: Kind::Bool,
        preset: Is("true"),
        says: "A write to an item also invalidates its collection (/products/7 changes /products).",
        turn: "Turn it off where the collection does not show what items hold.",
    },
    Knob {
        key: "write_through",
        kind: Kind::Bool,
        preset: Is("false"),
        says: "A 200 to PUT or PATCH that names its target in Content-Location, and its own \
               lifetime, is stored as what GET returns (to POST it always is).",
        turn: "Turn it on where the origin answers writes with the new representation, as GET \
               would.",
    },
    Knob {
        key: "consistency",
        kind: Kind::Words(&["bounded", "strict"]),
        preset: Is("\"bounded\""),
        says: "\"strict\" asks Valkey for the end of the ledger before each answer: a GET that \
               starts after a write was acknowledged anywhere never shows what came before it; \
               \"bounded\" learns of writes made elsewhere within milliseconds, and within \
               ledger_lease when cut off.",
        turn: "Take strict where a client may write through one instance and read through \
               another; it costs one round trip, shared by all who ask at that moment.",
    },
    Knob {
        key: "announce",
        kind: Kind::Bool,
        preset: Is("true"),
        says: "A write is announced in the ledger before the origin sees it, so that others \
               invalidate what it may have changed if this process dies before it can.",
        turn: "Turn it off where writes are many and a lost process may leave entries stale until \
               they expire: it saves one of the two round trips of a write.",
    },
    Knob {
        key: "settle",
        kind: Kind::Duration(INSTANT, hours(1)),
        preset: Is("\"0s\""),
        says: "A write invalidates once more this long after it was answered; 0s: it does not.",
        turn: "Set it to the longest lag of the replicas that the origin reads from.",
    },
    Knob {
        key: "on_store_down",
        kind: Kind::Words(&["forward", "refuse"]),
        preset: Is("\"forward\""),
        says: "What becomes of a write while Valkey is away: it is forwarded, and the other \
               instances are told when Valkey is back; or it is answered 503 before the origin \
               sees it (\"refuse\").",
        turn: "Take refuse where a late write is better than a read of what it replaced.",
    },
    Knob {
        key: "show_key",
        kind: Kind::Bool,
        preset: Is("false"),
        says: "Cache-Status says the key: route, namespace and its version, URL.",
        turn: "Turn it on while you find out why two requests share an entry, or why they do not; \
               it tells clients how you name things.",
    },
];
