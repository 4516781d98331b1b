//! What became of a request, of an exchange with the origin, of a refresh: the values of metric
//! labels and log fields. They come from `as_str` alone, so that the two cannot drift apart.
//!
//! | outcome | the client got | the origin was asked |
//! |---|---|---|
//! | `hit` | a fresh entry | no |
//! | `stale` | a stale entry | behind, if at all |
//! | `collapsed` | what somebody else's fill brought | once for all who waited |
//! | `revalidated` | a stored entry | yes, and it said 304 |
//! | `miss` | a response fetched for the store | yes |
//! | `pass` | a response that is none of the cache's business | yes |
//! | `refused` | our refusal: malformed, too large, overloaded, only-if-cached | no |
//! | `error` | our error: the origin failed and nothing stored would do | tried |
//! | `left` | nothing: the client left before there was an answer | perhaps |

/// Labels with a fixed set of values.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// All of them, in the order of their discriminants.
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];

            /// As it stands in metrics and logs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

labels! {
    /// What became of a request (the table of this page).
    Outcome {
        /// A fresh entry.
        Hit = "hit",
        /// A stale entry, refreshed behind or because the origin failed.
        Stale = "stale",
        /// A stored entry that the origin confirmed first.
        Revalidated = "revalidated",
        /// Fetched from the origin, for the store.
        Miss = "miss",
        /// Waited for somebody else's fill and got what it brought.
        Collapsed = "collapsed",
        /// Sent on to the origin, not for the store.
        Pass = "pass",
        /// Refused by us before the origin was asked.
        Refused = "refused",
        /// Answered by us because the origin failed.
        Error = "error",
        /// Nobody waited for the answer.
        Left = "left",
    }
}

impl Outcome {
    /// Answered without an exchange with the origin of its own? The hit ratio is the share of
    /// these among all that are [`Outcome::cacheable`].
    pub const fn spared_the_origin(self) -> bool {
        matches!(self, Self::Hit | Self::Stale | Self::Collapsed)
    }

    /// Was it a matter for the cache at all?
    pub const fn cacheable(self) -> bool {
        !matches!(self, Self::Pass | Self::Refused | Self::Error | Self::Left)
    }
}

labels! {
    /// Where the bytes of a response came from.
    Source {
        /// Memory or Valkey.
        Cache = "cache",
        /// The origin, in an exchange that this request waited for.
        Origin = "origin",
        /// Made here: refusals and errors.
        Own = "larder",
    }
}

labels! {
    /// How an exchange with the origin ended.
    OriginResult {
        /// 1xx to 3xx.
        Ok = "ok",
        /// 4xx.
        ClientError = "client_error",
        /// 5xx.
        ServerError = "server_error",
        /// No response at all: not connected, timed out, broken off, malformed.
        Failed = "failed",
    }
}

impl OriginResult {
    /// Of a response with this status.
    pub const fn of_status(status: u16) -> Self {
        match status {
            0..400 => Self::Ok,
            400..500 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}

labels! {
    /// How a refresh behind a stale hit ended.
    RefreshResult {
        /// The origin said 304: the entry was stamped anew.
        Confirmed = "confirmed",
        /// The origin sent a new response, which was stored.
        Replaced = "replaced",
        /// The origin's answer may not be stored: the entry is gone.
        Dropped = "dropped",
        /// The origin failed: the entry stays, and it is left alone for a while.
        Failed = "failed",
        /// Not tried: somebody else is at it, or the budget is spent.
        Skipped = "skipped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_value_is_a_different_word() {
        let words: std::collections::HashSet<_> = Outcome::ALL.map(Outcome::as_str).into();
        assert_eq!(words.len(), Outcome::ALL.len());
        for word in words {
            assert!(word.bytes().all(|b| b.is_ascii_lowercase()), "{word}");
        }
    }

    #[test]
    fn discriminants_follow_the_order_of_all() {
        for (at, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, at);
        }
    }

    #[test]
    fn what_spares_the_origin_is_a_matter_for_the_cache() {
        assert!(Outcome::ALL.into_iter().all(|o| !o.spared_the_origin() || o.cacheable()));
    }

    #[test]
    fn statuses_fall_into_three_results() {
        let results = [100, 200, 304, 399, 400, 499, 500, 599].map(OriginResult::of_status);
        let words = results.map(OriginResult::as_str);
        let (ok, client, server) = ("ok", "client_error", "server_error");
        assert_eq!(words, [ok, ok, ok, ok, client, client, server, server]);
    }
}
