//! What the RFCs say, as pure functions. Imports nothing else of this crate.
//!
//! | RFC | section | file |
//! |---|---|---|
//! | 9110 | §5.6 lists, tokens, quoted strings, dates; §7.6.1 hop-by-hop; §8.8.3 entity tags | [`fields`] |
//! | 9111 | §5.2 Cache-Control; 5861 §3, §4 and 8246 as directives | [`cache_control`] |
//! | 9213 | which of several fields applies (dictionaries: 9651 §4.2) | [`targeted`] |
//! | 9111 | §3, §3.5 may it be stored | [`storable`] |
//! | 9111 | §3.1 what of it is stored | [`stored`] |
//! | 9111 | §4.2.3 age, §5.1 | [`age`] |
//! | 9111 | §4.2, §4.2.1, §4.2.4, §5.3 lifetime and after; 5861 | [`freshness`] |
//! | 9111 | §5.2.1, §5.4 what a request asks of a cache | [`reuse`] |
//! | 9111 | §4.1 secondary keys | [`vary`] |
//! | 9111 | §4.3, §3.2 asking whether it still stands | [`validation`] |
//! | 9110 | §13, §15.4.5 a client's own conditions | [`conditional`] |
//! | 10008 | §2, §2.7 QUERY and what its content means for a key | [`query`] |
//! | 9111 | §4.4 what an unsafe method throws away | [`invalidation`] |
//! | 9211 | what is said about it all | [`cache_status`] |

pub mod cache_control;
pub mod fields;
mod lists;
pub mod targeted;

pub mod storable;
pub mod stored;

pub mod age;
pub mod freshness;
pub mod time;

pub mod reuse;
pub mod vary;

pub mod conditional;
pub mod validation;

pub mod invalidation;
pub mod query;

pub mod cache_status;
