//! What shall we do about this request? Pure decisions, each with its reason.
//!
//! | question | asked | answered by |
//! |---|---|---|
//! | is it ours to cache? | before the key is made | [`request::admit`] → [`Admission`] |
//! | what with what we found? | after the lookup | [`request::plan`] → [`Plan`] |
//! | what with what the origin said? | when the response's head is here | [`response::settle`] → [`Outcome`] |
//! | may this part be kept as a part? | the same, of a 206 | [`response::settle_part`] |
//! | what does a write invalidate? | when its answer, or none, is here | [`write::invalidates`] |
//! | may its answer become an entry? | before it is sent | [`write::may_be_kept`] |
//!
//! `explain` asks the same functions.

pub mod request;
pub mod response;
pub mod write;

#[cfg(test)]
mod tests;

use crate::ledger::Doubt;
use crate::semantics::cache_status::Forwarded;
use crate::semantics::storable::NotStorable;
use crate::semantics::stored::Times;

/// Is a request ours to cache?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Look it up.
    Lookup,
    /// A QUERY: look it up when its content is here, which is part of its key.
    Query,
    /// Send it on and keep nothing.
    Pass(PassReason),
    /// Send it on, and invalidate what it changes.
    Write,
}

/// What to do about a request that is ours to cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// From the store, fresh.
    Serve,
    /// From the store, stale and allowed to be, while it is refreshed behind.
    ServeAndRefresh(StaleReason),
    /// From the store, stale: the origin failed a moment ago and is left alone.
    ServeBackingOff(StaleReason),
    /// Ask the origin whether what we have still stands.
    Revalidate(FetchReason),
    /// Ask the origin.
    Fetch(FetchReason),
    /// Answer without asking anybody.
    Refuse(RefuseReason),
}

/// Why a request is sent on without a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassReason {
    /// Its route says `cache = "off"`.
    RouteOff,
    /// A method that is neither cached nor unsafe (OPTIONS; QUERY where its route takes none).
    Method,
    /// A GET or HEAD with content: the content may matter and is not in the key.
    Content,
    /// A request to change protocols.
    Upgrade,
    /// A request for a part, in a unit that is none of ours.
    Range,
    /// A precondition that only the origin can judge (If-Match, If-Unmodified-Since).
    Precondition,
    /// A QUERY whose content has no type, or two, or is partial: for the origin to refuse.
    QueryUntyped,
    /// A QUERY with more content than its route takes into a key.
    QueryTooLarge,
}

impl PassReason {
    /// For logs, metrics and `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RouteOff => "route-off",
            Self::Method => "method",
            Self::Content => "request-content",
            Self::Upgrade => "upgrade",
            Self::Range => "range",
            Self::Precondition => "precondition",
            Self::QueryUntyped => "query-untyped",
            Self::QueryTooLarge => "query-too-large",
        }
    }

    /// In RFC 9211's words.
    pub const fn forwarded(self) -> Forwarded {
        match self {
            Self::Method => Forwarded::Method,
            Self::RouteOff => Forwarded::Bypass,
            _ => Forwarded::Request,
        }
    }
}

/// Why what is served is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleReason {
    /// Past its soft expiry.
    Expired,
    /// A soft purge came after it.
    Purged,
    /// This process cannot vouch for it, and its route says `on_doubt = "serve"`.
    Doubt(Doubt),
    /// The origin failed.
    Error,
    /// The client said `max-stale`.
    Request,
}

impl StaleReason {
    /// For logs and `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "stale",
            Self::Purged => "soft-purged",
            Self::Doubt(doubt) => doubt.as_str(),
            Self::Error => "stale-if-error",
            Self::Request => "max-stale",
        }
    }
}

/// Why the origin is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchReason {
    /// Nothing is stored under the key.
    Miss,
    /// Something is, but no variant for this request.
    VaryMiss,
    /// Past its hard expiry, or stale and not allowed to be.
    Expired,
    /// What is stored was invalidated.
    Invalidated,
    /// This process cannot vouch for it.
    Suspect(Doubt),
    /// A soft purge came after it, and it may not be served stale.
    Purged,
    /// The client asked for a newer one.
    Request,
    /// What is stored is a part, and not the one asked for.
    Part,
}

impl FetchReason {
    /// For logs and `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Miss => "miss",
            Self::VaryMiss => "vary-miss",
            Self::Expired => "expired",
            Self::Invalidated => "invalidated",
            Self::Suspect(doubt) => doubt.as_str(),
            Self::Purged => "soft-purged",
            Self::Request => "request",
            Self::Part => "part",
        }
    }

    /// In RFC 9211's words.
    pub const fn forwarded(self) -> Forwarded {
        match self {
            Self::Miss => Forwarded::UriMiss,
            Self::VaryMiss => Forwarded::VaryMiss,
            Self::Invalidated => Forwarded::Miss,
            Self::Expired | Self::Suspect(_) | Self::Purged => Forwarded::Stale,
            Self::Request => Forwarded::Request,
            Self::Part => Forwarded::Partial,
        }
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefuseReason {
    /// `only-if-cached`, and nothing usable is (RFC 9111 §5.2.1.7).
    OnlyIfCached,
}

/// What becomes of the origin's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Store it, and feed every waiter.
    Store(Times),
    /// 304: what we asked about still stands, until then.
    Renew(Times),
    /// 304, but not to what we asked about (RFC 9111 §4.3.4): ask again without a condition.
    AskAgain,
    /// An error of the origin's: whoever has something stale may serve it. Who may have this.
    Error(Audience),
    /// For the one who asked; why it is not stored.
    PassOn(NotShared),
}

/// Who may have an error's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// All who wait.
    Waiters,
    /// The one who asked: it is marked so, or was made for credentials. The others get its status.
    Asker,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotShared {
    /// RFC 9111 §3 or our policy forbids it.
    Forbidden(NotStorable),
    /// Larger than its route stores.
    TooLarge,
    /// Its length is only known from the connection's end, so that a cut cannot be told from it.
    CloseDelimited,
    /// An event stream: it has no end.
    Endless,
    /// A 304 that nobody asked for, or another answer that makes no sense here.
    Unexpected,
    /// A part that contradicts itself: it is not as long as its range, or 200 stands above it.
    BadPart,
    /// Its tags are too many or malformed: a shortened list would lose invalidations.
    BadTags,
    /// More variants than its route allows.
    TooManyVariants,
}

impl NotShared {
    /// Does it say anything about what others would get for the same key? Not if it is because of
    /// who asked, or how, or because of other variants.
    pub const fn is_about_the_key(self) -> bool {
        !matches!(
            self,
            Self::TooManyVariants
                | Self::Forbidden(NotStorable::Authorization | NotStorable::RequestNoStore)
        )
    }

    /// For logs and `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forbidden(why) => why.as_str(),
            Self::TooLarge => "too-large",
            Self::CloseDelimited => "close-delimited",
            Self::Endless => "event-stream",
            Self::Unexpected => "unexpected",
            Self::BadPart => "bad-part",
            Self::BadTags => "bad-tags",
            Self::TooManyVariants => "too-many-variants",
        }
    }
}
