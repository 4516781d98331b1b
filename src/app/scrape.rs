//! Numbers that other rooms keep, handed to the page of metrics.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde_json::{Value as Json, json};

use super::control::Switchboard;
use crate::ledger::Cause;
use crate::semantics::time::Timestamp;
use crate::store::bridge::BridgeSnapshot;
use crate::store::ledger::LedgerHandle;
use crate::store::stats::{LATENCY_BOUNDS, OperationSnapshot, Snapshot, TierSnapshot};
use crate::store::valkey::{ServerInfo, ValkeyHandle};
use crate::telemetry::access::AccessLog;
use crate::telemetry::metrics::{self, Metrics};
use crate::telemetry::scrape::{Sample, Value};

/// How often Valkey is asked about itself.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Lets the page of metrics show the stores, the ledger and the log.
pub(super) fn plug_in(switchboard: &Arc<Switchboard>, log: Option<&AccessLog>) {
    let metrics = switchboard.metrics();
    let meters = switchboard.opened().meters.clone();
    metrics.register(Box::new(move || tiers(&meters.snapshot())));
    let ledger = switchboard.means().ledger.clone();
    let began = crate::clock::now();
    metrics.register(Box::new(move || of_ledger(&ledger, began)));
    let bridges = Arc::downgrade(switchboard);
    metrics.register(Box::new(move || {
        bridges.upgrade().map_or_else(Vec::new, |switchboard| of_bridges(&switchboard.listening()))
    }));
    if let Some(log) = log.cloned() {
        metrics.register(Box::new(move || vec![metrics::LOG_DROPPED.sample(&[], log.dropped())]));
    }
    if let Some(valkey) = &switchboard.opened().valkey {
        ask_valkey(metrics, valkey.clone());
    }
}

/// The stores in a few words, for people.
pub(super) fn summary(seen: &Snapshot) -> Json {
    json!({
        "memory": seen.memory.map(|m| json!({
            "entries": m.entries, "bytes": m.bytes, "capacity": m.capacity, "evicted": m.evicted,
        })),
        "valkey": seen.valkey.as_ref().map(|v| json!({
            "hits": v.hits, "misses": v.misses, "timeouts": v.get.timeouts, "away": v.get.away,
            "damaged": v.damaged, "connections_opened": v.connects,
        })),
    })
}

fn tiers(seen: &Snapshot) -> Vec<Sample> {
    let mut samples = Vec::new();
    if let Some(memory) = seen.memory {
        samples.push(metrics::MEMORY_ENTRIES.sample(&[], memory.entries));
        samples.push(metrics::MEMORY_BYTES.sample(&[], memory.bytes));
        samples.push(metrics::MEMORY_EVICTIONS.sample(&[], memory.evicted));
        samples.push(
            metrics::STORE_OPERATIONS.sample(&["memory", "get"], memory.hits + memory.misses),
        );
        samples.push(metrics::STORE_OPERATIONS.sample(&["memory", "put"], memory.inserted));
    }
    if let Some(valkey) = &seen.valkey {
        of_valkey(&mut samples, valkey);
    }
    samples
}

fn of_valkey(samples: &mut Vec<Sample>, seen: &TierSnapshot) {
    let operations = [
        ("get", &seen.get),
        ("put", &seen.put),
        ("remove", &seen.remove),
        ("lease", &seen.lease),
        ("ledger", &seen.ledger),
    ];
    for (name, operation) in operations {
        let labels = ["valkey", name];
        samples.push(metrics::STORE_OPERATIONS.sample(&labels, operation.calls()));
        samples.push(metrics::STORE_DURATION.sample(&labels, latency(operation)));
        let errors = [
            ("timeout", operation.timeouts),
            ("away", operation.away),
            ("failed", operation.failed),
        ];
        for (error, count) in errors {
            samples.push(metrics::STORE_ERRORS.sample(&["valkey", name, error], count));
        }
    }
    let damaged = seen.damaged + seen.foreign;
    samples.push(metrics::STORE_ERRORS.sample(&["valkey", "get", "damaged"], damaged));
}

fn latency(operation: &OperationSnapshot) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "bounds are below 2^52")]
    let bounds = LATENCY_BOUNDS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::MAX]);
    Value::Buckets {
        sum: operation.latency.sum.as_secs_f64(),
        buckets: bounds.zip(operation.latency.counts).collect(),
    }
}

fn of_ledger(ledger: &LedgerHandle, began: Timestamp) -> Vec<Sample> {
    let seen = ledger.observe();
    #[expect(clippy::cast_precision_loss, reason = "a position's time is below 2^52")]
    let seconds = seen.applied.millis as f64 / 1000.0;
    let now = crate::clock::now();
    // Never heard: silent for as long as it has been listened for.
    let silence = ledger.heard_age(now).unwrap_or_else(|| now.since(began));
    let mut samples = vec![
        metrics::LEDGER_POSITION.sample(&[], seconds),
        metrics::LEDGER_SILENCE.sample(&[], silence.as_secs_f64()),
        metrics::LEDGER_OWED.sample(&[], seen.owed as u64),
        metrics::LEDGER_UNREPLICATED.sample(&[], seen.unreplicated),
        metrics::LEDGER_INTENTS.sample(&[], seen.intents as u64),
        metrics::LEDGER_NAMES.sample(&[], seen.names as u64),
        metrics::LEDGER_MALFORMED.sample(&[], seen.malformed),
        metrics::STRICT_QUESTIONS.sample(&[], ledger.questions()),
    ];
    for (cause, count) in Cause::ALL.into_iter().zip(seen.invalidations) {
        samples.push(if cause == Cause::Fence {
            metrics::LEDGER_FENCES.sample(&[], count)
        } else {
            metrics::INVALIDATIONS.sample(&[cause.as_str()], count)
        });
    }
    samples
}

fn of_bridges(seen: &[BridgeSnapshot]) -> Vec<Sample> {
    let mut samples = Vec::new();
    for bridge in seen {
        let channel = [&*bridge.channel];
        samples.extend([
            metrics::BRIDGE_MESSAGES.sample(&channel, bridge.messages),
            metrics::BRIDGE_NAMES.sample(&channel, bridge.names),
            metrics::BRIDGE_MALFORMED.sample(&channel, bridge.malformed),
            metrics::BRIDGE_GAPS.sample(&channel, bridge.gaps),
            metrics::BRIDGE_CONNECTED.sample(&channel, bridge.connected),
        ]);
    }
    samples
}

/// Asks Valkey about itself now and then, so that a scrape waits for nobody.
fn ask_valkey(metrics: &Arc<Metrics>, valkey: ValkeyHandle) {
    let latest: Arc<ArcSwapOption<ServerInfo>> = Arc::default();
    let shown = Arc::clone(&latest);
    metrics.register(Box::new(move || of_server(shown.load().as_deref())));
    tokio::spawn(async move {
        let mut turns = tokio::time::interval(ASK_EVERY);
        loop {
            turns.tick().await;
            latest.store(valkey.server_info().await.ok().map(Arc::new));
        }
    });
}

fn of_server(info: Option<&ServerInfo>) -> Vec<Sample> {
    let mut samples = vec![metrics::VALKEY_UP.sample(&[], u64::from(info.is_some()))];
    if let Some(bytes) = info.and_then(|i| i.used_memory) {
        samples.push(metrics::VALKEY_MEMORY.sample(&[], bytes));
    }
    if let Some(keys) = info.and_then(|i| i.evicted_keys) {
        samples.push(metrics::VALKEY_EVICTED.sample(&[], keys));
    }
    samples
}
