//! What the stories are told with: an origin that does what a test says, the real program, and a
//! client.

pub(crate) mod client;
pub(crate) mod larder;
pub(crate) mod origin;
pub(crate) mod wait;
