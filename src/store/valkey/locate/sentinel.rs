//! What Sentinels say.

use std::collections::HashMap;
use std::sync::Arc;

use redis::{RedisResult, Value};

use super::{Address, Witnesses, nowhere};

/// Where the primary of this name is, by the Sentinel with the newest configuration.
pub(super) async fn locate(
    witnesses: &Arc<Witnesses>,
    sentinels: &[Address],
    primary: &str,
) -> RedisResult<Address> {
    let mut address = redis::cmd("SENTINEL");
    address.arg("GET-MASTER-ADDR-BY-NAME").arg(primary);
    // The same question again with all that is known; in the middle of a failover only the short one
    // names the new primary, and only the long one has the epoch.
    let mut known = redis::cmd("SENTINEL");
    known.arg("MASTER").arg(primary);
    let (answers, complaint) = witnesses.ask::<Value>(sentinels, &[address, known]).await;
    let claims = answers.into_iter().filter_map(|(_, answers)| claim(&answers));
    match claims.max_by_key(|(epoch, _)| *epoch) {
        Some((_, address)) => Ok(address),
        None => Err(nowhere(&match complaint {
            Some(complaint) => format!("no Sentinel says where the primary is: {complaint}"),
            None => "no Sentinel says where the primary is".to_owned(),
        })),
    }
}

/// The epoch of a Sentinel's configuration, and whom it names.
fn claim(answers: &[Value]) -> Option<(u64, Address)> {
    let [address, known] = answers else { return None };
    let (host, port): (String, u16) = redis::from_redis_value(address.clone()).ok()?;
    let known: HashMap<String, String> = redis::from_redis_value(known.clone()).ok()?;
    let epoch = known.get("config-epoch")?.parse().ok()?;
    Some((epoch, Address::new(&host, port)))
}

/// What ROLE answers.
pub(super) fn must_be_primary(role: Value) -> RedisResult<()> {
    let primary = matches!(&role, Value::Array(parts) if matches!(
        parts.first(), Some(Value::BulkString(name)) if name == b"master"));
    match primary {
        true => Ok(()),
        false => Err(nowhere("whom Sentinel names is not a primary (yet, or any more)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn a_claim_has_an_address_and_an_epoch() {
        let address = Value::Array(vec![text("10.0.0.1"), text("6379")]);
        let known = |epoch| Value::Array(["name", "m", "config-epoch", epoch].map(text).to_vec());
        let claimed = claim(&[address.clone(), known("7")]);
        assert_eq!(claimed, Some((7, Address::new("10.0.0.1", 6379))));
        assert_eq!(claim(&[address.clone(), known("x")]), None);
        assert_eq!(claim(&[Value::Nil, known("7")]), None);
        assert_eq!(claim(&[address]), None);
    }

    #[test]
    fn only_a_primary_is_one() {
        assert!(must_be_primary(Value::Array(vec![text("master"), Value::Int(0)])).is_ok());
        for other in [Value::Array(vec![text("slave")]), Value::Array(vec![]), Value::Nil] {
            assert!(must_be_primary(other).is_err());
        }
    }
}
