//! What the RFCs say, as pure functions. Imports nothing else of this crate.

pub mod stored;
pub mod time;
