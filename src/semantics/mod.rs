//! What the RFCs say, as pure functions. Imports nothing else of this crate.

pub mod cache_status;
pub mod conditional;
pub mod invalidation;
mod lists;
pub mod reuse;
pub mod stored;
pub mod time;
pub mod validation;
pub mod vary;
