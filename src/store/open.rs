//! From the configuration to a store, with what runs behind it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Store;
use super::memory::MemoryStore;
use super::stats::Snapshot;
use super::tiered::TieredStore;
use super::valkey::{ValkeyHandle, ValkeyStore};
use crate::{clock, config};

/// One shard of the memory is rid of what has passed this often.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A store, and what else hangs on its connections.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The store. The tasks behind it end when the last handle is dropped.
    pub store: Arc<dyn Store>,
    /// The way to Valkey for everything that is not an entry; `None` without Valkey.
    pub valkey: Option<ValkeyHandle>,
    /// What is counted.
    pub meters: Meters,
}

/// Where the numbers of the tiers are read.
#[derive(Clone, Debug, Default)]
pub struct Meters {
    memory: Option<Arc<MemoryStore>>,
    valkey: Option<ValkeyHandle>,
}

impl Meters {
    /// All tiers as they stand now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            memory: self.memory.as_ref().map(|memory| memory.snapshot()),
            valkey: self.valkey.as_ref().map(ValkeyHandle::snapshot),
        }
    }
}

/// Why there is no store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// What TLS towards Valkey rests on cannot be used: which key of `[store]`, which file, and why.
    #[error("store.{0}")]
    Tls(String),
    /// No memory and no Valkey.
    #[error("store.memory is 0 and store.valkey is not set: there is nowhere to keep entries")]
    Nowhere,
}

/// Opens the store that is configured, for bodies of up to `max_entry` bytes. Returns at once:
/// Valkey is connected to in the background and may be absent. Must be called inside a tokio
/// runtime.
pub fn open(config: &config::Store, max_entry: u64) -> Result<Opened, OpenError> {
    let memory = (config.memory > 0).then(|| Arc::new(MemoryStore::new(config.memory, max_entry)));
    if let Some(memory) = &memory {
        tokio::spawn(sweep(Arc::downgrade(memory)));
    }
    let valkey = config
        .valkey
        .as_ref()
        .map(|valkey| ValkeyHandle::open(valkey, &config.prefix, config.timeout))
        .transpose()?;
    if let Some(valkey) = &valkey {
        valkey.warn(config.durability);
    }
    let shared = valkey.clone().map(ValkeyStore::new);
    let store: Arc<dyn Store> = match (memory.clone(), shared) {
        (Some(memory), Some(shared)) => Arc::new(TieredStore::new(memory, shared)),
        (Some(memory), None) => memory,
        (None, Some(shared)) => Arc::new(shared),
        (None, None) => return Err(OpenError::Nowhere),
    };
    Ok(Opened { store, valkey: valkey.clone(), meters: Meters { memory, valkey } })
}

/// Ends with the store.
async fn sweep(memory: Weak<MemoryStore>) {
    let mut turns = tokio::time::interval(SWEEP_EVERY);
    loop {
        turns.tick().await;
        let Some(memory) = memory.upgrade() else { return };
        memory.sweep(clock::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::valkey::Tls;

    fn config(valkey: Option<&str>, memory: u64) -> config::Store {
        config::Store {
            valkey: valkey.map(|url| url.parse().unwrap()),
            memory,
            prefix: "larder".into(),
            timeout: Duration::from_millis(50),
            lease: Duration::from_secs(5),
            ledger_lease: Duration::from_secs(2),
            ledger_names: 1000,
            durability: config::Durability::Primary,
        }
    }

    #[tokio::test]
    async fn what_is_configured_decides_what_is_opened() {
        let url = "valkey://127.0.0.1:1";
        for (valkey, memory, shared, tiers) in [
            (None, 1 << 20, false, (true, false)),
            (Some(url), 0, true, (false, true)),
            (Some(url), 1 << 20, true, (true, true)),
        ] {
            let opened = open(&config(valkey, memory), 1024).unwrap();
            let seen = opened.meters.snapshot();
            assert_eq!(opened.store.is_shared(), shared);
            assert_eq!((seen.memory.is_some(), seen.valkey.is_some()), tiers);
            assert_eq!(opened.valkey.is_some(), valkey.is_some());
        }
    }

    #[tokio::test]
    async fn what_cannot_be_opened_says_why() {
        assert_eq!(open(&config(None, 0), 1024).unwrap_err(), OpenError::Nowhere);
        let mut config = config(Some("valkeys://:secret@h"), 0);
        let tls = |valkey: &mut config::Valkey, file: &str| {
            valkey.tls = Some(Tls { ca_file: Some(file.into()), certificate: None });
        };
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        for (file, why) in [("/nowhere.pem", "No such file"), (file, "no certificate in it")] {
            tls(config.valkey.as_mut().unwrap(), file);
            let said = open(&config, 1024).unwrap_err().to_string();
            assert!(said.starts_with("store.ca_file: ") && said.contains(file), "{said}");
            assert!(said.contains(why) && !said.contains("secret"), "{said}");
        }
    }
}
