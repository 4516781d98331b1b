//! Who may fill a key, across all processes: one string per key in Valkey.
//!
//! | its value | means | set by |
//! |---|---|---|
//! | absent | nobody is asking | time, `release` |
//! | 32 hex digits | the holder's token: [`Lease::Held`] | `take` |
//! | `unshareable` | [`Lease::Unshareable`] | `release` |
//! | `backoff` | [`Lease::BackingOff`] | `release` |
//!
//! Each of them goes by itself. Who renews or releases must still be the holder.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::Value;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::handle::ValkeyHandle;
use super::scripts::{RELEASE, RENEW, Script};
use super::{millis, names};
use crate::key::Key;
use crate::store::{Lease, LeaseEnd, LeaseToken, StoreError};

const UNSHAREABLE: &str = "unshareable";
const BACKOFF: &str = "backoff";

static RENEW_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(RENEW));
static RELEASE_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(RELEASE));

/// The leases of the fleet.
#[derive(Clone, Debug)]
pub struct Leases {
    valkey: ValkeyHandle,
}

impl Leases {
    pub(super) fn new(valkey: ValkeyHandle) -> Self {
        Self { valkey }
    }

    pub(super) async fn take(&self, key: &Key, ttl: Duration) -> Result<Lease, StoreError> {
        let token = LeaseToken::unique();
        let mut claim = Claim {
            leases: self.clone(),
            name: Arc::from(names::lease(self.valkey.prefix(), &key.digest)),
            token: Some(token.clone()),
        };
        let mut set = redis::cmd("SET");
        set.arg(&*claim.name).arg(text(&token)).arg(&["NX", "GET", "PX"]).arg(millis(ttl));
        let call = async {
            let server = self.valkey.server(&claim.name)?;
            server.control.command(&set, self.valkey.budget()).await
        };
        let reply = self.counted(call).await;
        if reply != Err(StoreError::Timeout) {
            claim.token = None;
        }
        Ok(verdict(&reply?, token))
    }

    pub(super) async fn renew(
        &self,
        key: &Key,
        token: &LeaseToken,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let name = names::lease(self.valkey.prefix(), &key.digest);
        let (token, ttl) = (text(token), millis(ttl).to_string());
        let args = [token.as_bytes(), ttl.as_bytes()];
        let reply = self.script(&RENEW_SCRIPT, &name, &args).await?;
        Ok(reply == Value::Int(1))
    }

    pub(super) async fn release(
        &self,
        key: &Key,
        token: &LeaseToken,
        end: LeaseEnd,
    ) -> Result<(), StoreError> {
        let name = names::lease(self.valkey.prefix(), &key.digest);
        self.end(&name, token, end).await
    }

    async fn end(&self, name: &str, token: &LeaseToken, end: LeaseEnd) -> Result<(), StoreError> {
        let token = text(token);
        let (marker, time) = match end {
            LeaseEnd::Unshareable(time) => (UNSHAREABLE, time),
            LeaseEnd::Failed(time) => (BACKOFF, time),
            LeaseEnd::Stored | LeaseEnd::Dropped => ("", Duration::ZERO),
        };
        let time_text = millis(time).to_string();
        let all = [token.as_bytes(), marker.as_bytes(), time_text.as_bytes()];
        let args = if time.is_zero() { &all[..1] } else { &all[..] };
        self.script(&RELEASE_SCRIPT, name, args).await.map(|_| ())
    }

    /// A script about the lease of this name.
    async fn script(
        &self,
        script: &Script,
        name: &str,
        args: &[&[u8]],
    ) -> Result<Value, StoreError> {
        let call = async {
            let server = self.valkey.server(name)?;
            server.control.script(script, &[name], args, self.valkey.budget()).await
        };
        self.counted(call).await
    }

    async fn counted(
        &self,
        call: impl Future<Output = Result<Value, StoreError>>,
    ) -> Result<Value, StoreError> {
        let started = Instant::now();
        let outcome = call.await;
        self.valkey.stats().lease.record(started.elapsed(), &outcome);
        outcome
    }
}

/// A lease that was asked for and whose answer has not come. If it never does (no answer in time,
/// or the asker has gone), it is given back, so that it does not keep others waiting.
struct Claim {
    leases: Leases,
    name: Arc<str>,
    /// Taken out when the answer has come: then there is nothing to give back.
    token: Option<LeaseToken>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let (Some(token), Ok(runtime)) = (self.token.take(), Handle::try_current()) else { return };
        let (leases, name) = (self.leases.clone(), Arc::clone(&self.name));
        runtime.spawn(async move { leases.end(&name, &token, LeaseEnd::Dropped).await });
    }
}

/// What stood under the key before says whether we have it now.
fn verdict(before: &Value, token: LeaseToken) -> Lease {
    match before {
        Value::Nil => Lease::Granted(token),
        Value::BulkString(value) if value == UNSHAREABLE.as_bytes() => Lease::Unshareable,
        Value::BulkString(value) if value == BACKOFF.as_bytes() => Lease::BackingOff,
        _ => Lease::Held,
    }
}

fn text(token: &LeaseToken) -> String {
    format!("{:032x}", token.0)
}
