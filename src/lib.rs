//! Larder: a caching reverse proxy for HTTP APIs.
//!
//! The quiet floor decides and never awaits, reads a clock or opens a socket: [`semantics`],
//! [`key`], [`ledger`], [`config`], `plan`. The busy floor acts on what it decided.

pub mod admin;
pub mod app;
pub mod body;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod error;
pub mod fast;
pub mod idle;
pub mod key;
pub mod layers;
pub mod ledger;
pub mod origin;
pub mod peer;
pub mod plan;
pub mod semantics;
pub mod server;
pub mod stack;
pub mod store;
pub mod telemetry;
