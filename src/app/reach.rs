//! Who has applied a purge, for whoever waits until all have.
//!
//! | an instance | is |
//! |---|---|
//! | the one that was asked | always among those that have applied it |
//! | stood in the instances hash once the purge was in the ledger | waited for until it says that it is as far |
//! | appeared later | not waited for: it reads the ledger from its beginning before it vouches for anything |
//! | struck off meanwhile | not waited for any more: it has ended, or has been silent for far longer than its lease |
//! | silent for longer than its lease | missing all the same, and marked: what it has is suspect until it has read the purge |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::admin::Missing;
use crate::ledger::Position;
use crate::store::ledger::Peer;
use crate::store::valkey::ValkeyHandle;

/// Pauses between two looks: instances that are well answer within a few milliseconds, and who is
/// not is not found sooner by asking more often.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The instances that are waited for.
#[derive(Debug)]
pub struct Reach {
    position: Position,
    me: Box<str>,
    applied: BTreeSet<Box<str>>,
    /// `None` until it was looked once.
    missing: Option<BTreeMap<Box<str>, Peer>>,
}

impl Reach {
    /// Of a purge at `position`, which the instance `me` was asked for.
    pub fn new(position: Position, me: &str) -> Self {
        Self { position, me: me.into(), applied: BTreeSet::from([me.into()]), missing: None }
    }

    /// Who is how far. True if nobody is missing.
    pub fn tell(&mut self, peers: Vec<Peer>) -> bool {
        let first = self.missing.is_none();
        let before = self.missing.take().unwrap_or_default();
        let mut missing = BTreeMap::new();
        for peer in peers.into_iter().filter(|peer| peer.instance != self.me) {
            let waited_for = first || before.contains_key(&peer.instance);
            if waited_for && peer.applied >= self.position {
                self.applied.insert(peer.instance);
            } else if waited_for {
                missing.insert(peer.instance.clone(), peer);
            }
        }
        let all = missing.is_empty();
        self.missing = Some(missing);
        all
    }

    /// Looks until nobody is missing or `deadline` has come.
    pub async fn wait(&mut self, valkey: &ValkeyHandle, deadline: Instant) {
        let mut pause = FIRST_PAUSE;
        loop {
            // A Valkey that does not answer may do so the next time.
            if valkey.instances().await.is_ok_and(|peers| self.tell(peers)) {
                return;
            }
            let next = Instant::now() + pause;
            if next >= deadline {
                return;
            }
            sleep_until(next).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Who has applied it, and who is not known to have. `known` stands in for a Valkey that was
    /// never heard; `lease` is for how long an instance vouches for what it has.
    pub fn end(mut self, known: &[Peer], lease: Duration) -> (Vec<String>, Vec<Missing>) {
        if self.missing.is_none() {
            self.tell(known.to_vec());
        }
        let missing = self.missing.unwrap_or_default().into_values().map(|peer| Missing {
            instance: peer.instance.into(),
            applied: peer.applied.to_string(),
            silent_ms: u64::try_from(peer.silent.as_millis()).unwrap_or(u64::MAX),
            lapsed: peer.silent > lease,
        });
        (self.applied.into_iter().map(Into::into).collect(), missing.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Position {
        Position::of_entry(millis, 0)
    }

    fn peers(told: &[(&str, u64, u64)]) -> Vec<Peer> {
        let peer = |&(instance, applied, silent): &(&str, u64, u64)| Peer {
            instance: instance.into(),
            applied: at(applied),
            silent: Duration::from_millis(silent),
        };
        told.iter().map(peer).collect()
    }

    /// What is told, look by look, and who has applied it and who is missing then.
    type Case<'a> = (&'a [&'a [(&'a str, u64, u64)]], &'a [&'a str], &'a [&'a str]);

    #[test]
    fn all_that_were_there_are_waited_for_and_nobody_else() {
        let cases: [Case<'_>; 7] = [
            (&[&[]], &["me"], &[]),
            (&[&[("me", 1, 0)]], &["me"], &[]),
            (&[&[("a", 9, 0), ("me", 9, 0)]], &["a", "me"], &[]),
            (&[&[("a", 8, 0), ("b", 10, 0)]], &["b", "me"], &["a"]),
            (&[&[("a", 8, 0)], &[("a", 9, 0)]], &["a", "me"], &[]),
            // Came later; struck off; came later in the place of one that was struck off.
            (&[&[("a", 8, 0)], &[("a", 8, 9), ("b", 1, 0)]], &["me"], &["a"]),
            (&[&[("a", 8, 0)], &[("b", 1, 0)]], &["me"], &[]),
        ];
        for (looks, applied, missing) in cases {
            let mut reach = Reach::new(at(9), "me");
            let mut all = false;
            for look in looks {
                all = reach.tell(peers(look));
            }
            let (applied_by, absent) = reach.end(&[], Duration::ZERO);
            let absent: Vec<_> = absent.iter().map(|m| &*m.instance).collect();
            assert_eq!((applied_by, &absent[..]), (own(applied), missing), "{looks:?}");
            assert_eq!(all, missing.is_empty(), "{looks:?}");
        }
    }

    fn own(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn who_was_known_is_missing_where_nobody_could_be_asked() {
        let reach = Reach::new(at(9), "me");
        let known = peers(&[("me", 3, 1), ("a", 3, 10), ("b", 3, 3000)]);
        let (applied_by, missing) = reach.end(&known, Duration::from_secs(2));
        assert_eq!(applied_by, ["me"]);
        let told: Vec<_> = missing.iter().map(|m| (&*m.instance, m.silent_ms, m.lapsed)).collect();
        assert_eq!(told, [("a", 10, false), ("b", 3000, true)]);
    }
}
