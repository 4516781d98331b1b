//! What Valkey says about itself.

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
}

impl ServerInfo {
    /// From the text of INFO; what is missing or unreadable stays `None`.
    pub fn parse(text: &str) -> Self {
        let mut info = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.trim_end().split_once(':')) {
            match name {
                "used_memory" => info.used_memory = value.parse().ok(),
                "maxmemory" => info.maxmemory = value.parse().ok(),
                "maxmemory_policy" => info.maxmemory_policy = Some(value.to_owned()),
                "evicted_keys" => info.evicted_keys = value.parse().ok(),
                _ => {}
            }
        }
        info
    }

    /// What an operator should know before it hurts.
    pub fn warning(&self) -> Option<&'static str> {
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
                    evicted_keys:12\r\nnonsense\r\n";
        let info = ServerInfo::parse(text);
        assert_eq!(info.used_memory, Some(1 << 20));
        assert_eq!(info.maxmemory, Some(2 << 20));
        assert_eq!(info.maxmemory_policy.as_deref(), Some("volatile-lru"));
        assert_eq!(info.evicted_keys, Some(12));
        assert_eq!(info.warning(), None);
    }

    #[test]
    fn policies_that_hurt_are_warned_about() {
        for (policy, maxmemory, word) in [
            ("noeviction", 1, Some("refuse")),
            ("noeviction", 0, Some("no memory limit")),
            ("allkeys-lru", 1, Some("ledger")),
            ("volatile-lru", 1, None),
        ] {
            let text = format!("maxmemory:{maxmemory}\nmaxmemory_policy:{policy}\n");
            let warning = ServerInfo::parse(&text).warning();
            assert_eq!(warning.is_some(), word.is_some(), "{policy}");
            assert!(warning.unwrap_or_default().contains(word.unwrap_or_default()), "{policy}");
        }
        assert_eq!(ServerInfo::parse("").warning(), None);
    }
}
