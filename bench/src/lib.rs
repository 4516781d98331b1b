//! What the programs of the bench share: a toy server that does what its paths say, the cheapest
//! HTTP/1.1 client that is still one, a histogram, and keys drawn as Zipf would.

pub mod histogram;
pub mod toy;
pub mod wire;
pub mod zipf;
