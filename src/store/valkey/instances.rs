//! Which processes share the ledger, and how far each is, as they tell in the instances hash (see
//! `ledger.rs` for who writes it).

use std::sync::LazyLock;
use std::time::Duration;

use redis::{FromRedisValue, Value};

use super::{Script, ValkeyHandle};
use crate::ledger::Position;
use crate::store::StoreError;
use crate::store::ledger::Peer;

/// For a question that somebody waits for, but no client of the cache.
const LEAST_BUDGET: Duration = Duration::from_millis(200);

/// KEYS: the instances. Returns them, and the server's time.
const ASK: &str = "return { redis.call('HGETALL', KEYS[1]), redis.call('TIME') }";

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(ASK));

impl ValkeyHandle {
    /// All instances that are not struck off, this one too, as of now.
    ///
    /// # Errors
    /// If Valkey does not answer in time, or what it answers makes no sense.
    pub async fn instances(&self) -> Result<Vec<Peer>, StoreError> {
        let (key, budget) = (self.key("instances"), self.budget().max(LEAST_BUDGET));
        let reply = self.run_script(&SCRIPT, &[&key], &[], budget).await?;
        peers(reply).ok_or_else(|| StoreError::Failed("instances that make no sense".into()))
    }
}

fn peers(reply: Value) -> Option<Vec<Peer>> {
    type Reply = (Vec<(String, String)>, (u64, u64));
    let (all, (seconds, micros)) = Reply::from_redis_value(reply).ok()?;
    let now = seconds.saturating_mul(1000).saturating_add(micros / 1000);
    Some(all.iter().filter_map(|(instance, told)| peer(instance, told, now)).collect())
}

/// From `<applied> <milliseconds>`. What else may follow is for newer versions.
fn peer(instance: &str, told: &str, now: u64) -> Option<Peer> {
    let mut words = told.split(' ');
    let applied: Position = words.next()?.parse().ok()?;
    let beat: u64 = words.next()?.parse().ok()?;
    let silent = Duration::from_millis(now.saturating_sub(beat));
    Some(Peer { instance: instance.into(), applied, silent })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn what_can_be_read_is_told_and_the_rest_is_nobody() {
        let hash = ["a", "5-1 9000", "b", "7-0 10500 x", "c", "seven 1", "d", "7-0", "e", ""];
        let time = Value::Array(vec![bulk("10"), bulk("250999")]);
        let reply = Value::Array(vec![Value::Array(hash.map(bulk).into()), time]);
        let peer = |instance: &str, applied, silent| Peer {
            instance: instance.into(),
            applied,
            silent: Duration::from_millis(silent),
        };
        let at = Position::of_entry;
        let expected = vec![peer("a", at(5, 1), 1250), peer("b", at(7, 0), 0)];
        assert_eq!(peers(reply), Some(expected));
        for odd in [Value::Nil, Value::Array(vec![]), Value::Array(vec![Value::Nil, Value::Nil])] {
            assert_eq!(peers(odd), None);
        }
    }
}
