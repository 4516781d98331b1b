//! Valkey: what processes share.

pub mod ledger;
