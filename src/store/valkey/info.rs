//! What Valkey says about itself, and what of it fights the design.
//!
//! | INFO, CONFIG GET | what becomes of it |
//! |---|---|
//! | `role` other than primary | it takes no writes: every invalidation stays owed |
//! | `connected_slaves:0`, with `store.durability = "replicas"` | nobody else has an invalidation when its write is answered |
//! | `maxmemory:0` | it grows until the machine kills it |
//! | `maxmemory_policy:noeviction` | it refuses writes when it is full |
//! | `maxmemory_policy:allkeys-…` | it may evict the ledger |
//! | `rdb_last_bgsave_status:err`, with `stop-writes-on-bgsave-error` and `save` set | it refuses writes (MISCONF) |
//! | `aof_last_write_status:err`, with `aof_enabled:1` | the same |
//! | `cluster_state:fail` | it refuses what it has no slot for |

use crate::config::Durability;

/// The part of INFO that concerns a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// Bytes in use; `None` where the server does not tell.
    pub used_memory: Option<u64>,
    /// Bytes it may use; 0 is no limit.
    pub maxmemory: Option<u64>,
    /// What it does when it is full.
    pub maxmemory_policy: Option<String>,
    /// Keys evicted since it started.
    pub evicted_keys: Option<u64>,
    /// Replicas that are connected to it.
    pub replicas: Option<u64>,
    /// It follows another server.
    pub is_replica: bool,
    /// It has slots, of which others may have some.
    pub is_cluster: bool,
    /// The cluster has slots that nobody serves.
    pub cluster_failed: bool,
    rdb_failed: bool,
    /// `None` where the server does not tell: then it is as it comes.
    rdb_stops_writes: Option<bool>,
    rdb_is_on: Option<bool>,
    aof_failed: bool,
    aof_is_on: bool,
}

impl ServerInfo {
    /// From the text of INFO, and of CLUSTER INFO and settings as lines in the same form; what is
    /// missing or unreadable stays `None`.
    pub fn parse(text: &str) -> Self {
        let mut info = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.trim_end().split_once(':')) {
            match name {
                "used_memory" => info.used_memory = value.parse().ok(),
                "maxmemory" => info.maxmemory = value.parse().ok(),
                "maxmemory_policy" => info.maxmemory_policy = Some(value.to_owned()),
                "evicted_keys" => info.evicted_keys = value.parse().ok(),
                "role" => info.is_replica = matches!(value, "slave" | "replica"),
                "connected_slaves" => info.replicas = value.parse().ok(),
                "cluster_enabled" => info.is_cluster = value == "1",
                "cluster_state" => info.cluster_failed = value == "fail",
                "rdb_last_bgsave_status" => info.rdb_failed = value == "err",
                "aof_last_write_status" => info.aof_failed = value == "err",
                "aof_enabled" => info.aof_is_on = value == "1",
                "stop-writes-on-bgsave-error" => info.rdb_stops_writes = Some(value == "yes"),
                "save" => info.rdb_is_on = Some(!value.is_empty()),
                _ => {}
            }
        }
        info
    }

    /// What an operator should know before it hurts.
    pub fn warnings(&self, durability: Durability) -> Vec<&'static str> {
        let alone = durability == Durability::Replicas && self.replicas == Some(0);
        let saving_failed = self.rdb_failed
            && self.rdb_stops_writes.unwrap_or(true)
            && self.rdb_is_on.unwrap_or(true);
        let all = [
            self.is_replica.then_some(
                "this Valkey is a replica and takes no writes: nothing that is invalidated reaches \
                 the others; give the address of its primary",
            ),
            (alone && !self.is_replica).then_some(
                "store.durability is \"replicas\", and Valkey has none: a failover can lose what \
                 was invalidated, and every write waits for nothing",
            ),
            self.of_memory(),
            saving_failed.then_some(
                "Valkey could not save its snapshot and refuses writes until it can (MISCONF): look \
                 at its disk, or set stop-writes-on-bgsave-error to no",
            ),
            (self.aof_failed && self.aof_is_on).then_some(
                "Valkey cannot write its append-only file and refuses writes until it can (MISCONF): \
                 look at its disk",
            ),
            self.cluster_failed.then_some(
                "the Valkey cluster has slots that nobody serves and refuses writes: see CLUSTER \
                 INFO",
            ),
        ];
        all.into_iter().flatten().collect()
    }

    fn of_memory(&self) -> Option<&'static str> {
        let policy = self.maxmemory_policy.as_deref()?;
        match (policy, self.maxmemory?) {
            (_, 0) => Some(
                "Valkey has no memory limit and will grow until the machine is out of memory: \
                 set maxmemory, and maxmemory-policy to volatile-lru or volatile-lfu",
            ),
            ("noeviction", _) => Some(
                "Valkey will refuse writes when its memory is full: set maxmemory-policy to \
                 volatile-lru or volatile-lfu",
            ),
            (policy, _) if policy.starts_with("allkeys-") => Some(
                "Valkey may evict the ledger, which makes everything stored before suspect: set \
                 maxmemory-policy to volatile-lru or volatile-lfu",
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_found_and_the_rest_is_skipped() {
        let text = "# Memory\r\nused_memory:1048576\r\nused_memory_human:1.00M\r\n\
                    maxmemory:2097152\r\nmaxmemory_policy:volatile-lru\r\n\r\n# Stats\r\n\
                    evicted_keys:12\r\nnonsense\r\n# Replication\r\nrole:master\r\n\
                    connected_slaves:2\r\n# Cluster\r\ncluster_enabled:0\r\n";
        let info = ServerInfo::parse(text);
        assert_eq!(info.used_memory, Some(1 << 20));
        assert_eq!(info.maxmemory, Some(2 << 20));
        assert_eq!(info.maxmemory_policy.as_deref(), Some("volatile-lru"));
        assert_eq!(info.evicted_keys, Some(12));
        assert_eq!((info.replicas, info.is_replica, info.is_cluster), (Some(2), false, false));
        assert!(info.warnings(Durability::Replicas).is_empty());
    }

    #[test]
    fn what_hurts_is_warned_about() {
        for (text, word) in [
            ("maxmemory:1\nmaxmemory_policy:noeviction", Some("refuse writes when")),
            ("maxmemory:0\nmaxmemory_policy:noeviction", Some("no memory limit")),
            ("maxmemory:0\nmaxmemory_policy:volatile-lru", Some("no memory limit")),
            ("maxmemory:1\nmaxmemory_policy:allkeys-lru", Some("evict the ledger")),
            ("maxmemory:1\nmaxmemory_policy:volatile-lru", None),
            ("role:slave", Some("is a replica")),
            ("role:master", None),
            ("rdb_last_bgsave_status:ok", None),
            ("rdb_last_bgsave_status:err", Some("snapshot")),
            ("rdb_last_bgsave_status:err\nstop-writes-on-bgsave-error:no", None),
            ("rdb_last_bgsave_status:err\nstop-writes-on-bgsave-error:yes\nsave:", None),
            (
                "rdb_last_bgsave_status:err\nstop-writes-on-bgsave-error:yes\nsave:3600 1",
                Some("snapshot"),
            ),
            ("aof_enabled:0\naof_last_write_status:err", None),
            ("aof_enabled:1\naof_last_write_status:err", Some("append-only")),
            ("aof_enabled:1\naof_last_write_status:ok", None),
            ("cluster_enabled:1\ncluster_state:ok", None),
            ("cluster_enabled:1\ncluster_state:fail", Some("cluster")),
            ("connected_slaves:0", None),
            ("", None),
        ] {
            let warnings = ServerInfo::parse(text).warnings(Durability::Primary);
            assert_eq!(warnings.len(), usize::from(word.is_some()), "{text}: {warnings:?}");
            assert!(warnings.iter().all(|w| w.contains(word.unwrap_or_default())), "{text}");
        }
    }

    #[test]
    fn replicas_that_are_asked_for_should_be_there() {
        for (text, words) in [
            ("role:master\nconnected_slaves:0", &["durability"][..]),
            ("role:master\nconnected_slaves:1", &[]),
            ("role:slave\nconnected_slaves:0", &["is a replica"]),
            ("role:master", &[]),
        ] {
            let warnings = ServerInfo::parse(text).warnings(Durability::Replicas);
            assert_eq!(warnings.len(), words.len(), "{text}: {warnings:?}");
            assert!(warnings.iter().zip(words).all(|(w, word)| w.contains(word)), "{text}");
        }
    }
}
