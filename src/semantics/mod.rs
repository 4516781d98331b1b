//! What the RFCs say, as pure functions. Imports nothing else of this crate.

pub mod cache_control;
pub mod fields;
pub mod stored;
pub mod time;
