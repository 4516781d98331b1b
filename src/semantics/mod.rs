//! What the RFCs say, as pure functions. Imports nothing else of this crate.
//!
//! | RFC | section | file |
//! |---|---|---|
//! | 9110 | §5.6 lists, tokens, quoted strings, dates; §7.6.1 hop-by-hop; §8.8.3 entity tags | [`fields`] |
//! | 9112 | §5 field lines, as they stand in a message | [`lines`] |
//! | 9111 | §5.2 Cache-Control; 5861 §3, §4 and 8246 as directives | [`cache_control`] |
//! | 9651 | §4.2 structured fields | [`structured`] |
//! | 9213 | which of several fields applies | [`targeted`] |
//! | 9111 | §3, §3.5 may it be stored | [`storable`] |
//! | 9111 | §3.1 what of it is stored | [`stored`] |
//! | 9111 | §4.2.3 age, §5.1 | [`age`] |
//! | 9111 | §4.2, §4.2.1, §4.2.4, §5.3 lifetime and after; 5861 | [`freshness`] |
//! | 9111 | §5.2.1, §5.4 what a request asks of a cache | [`reuse`] |
//! | 9111 | §4.1 secondary keys | [`vary`] |
//! | draft | which query parameters count (No-Vary-Search) | [`no_vary_search`] |
//! | 9111 | §4.3, §3.2 asking whether it still stands | [`validation`] |
//! | 9111 | §4.3.5 what an answer to HEAD tells of a stored one | [`head`] |
//! | 9110 | §13, §15.4.5 a client's own conditions | [`conditional`] |
//! | 9110 | §14, §13.1.5, §15.3.7 parts; 9111 §3.3, §3.4 | [`range`] |
//! | 10008 | §2, §2.7 QUERY and what its content means for a key | [`query`] |
//! | 9111 | §4.4 what an unsafe method throws away | [`invalidation`] |
//! | 9110 | §9.3.3, §8.7, §6.4.2; 5789 §2 an answer to a write that is its target's new representation | [`representation`] |
//! | 9875 | groups that are invalidated together | [`groups`] |
//! | 9211 | what is said about it all | [`cache_status`] |

pub mod cache_control;
pub mod fields;
pub mod lines;
mod lists;
pub mod structured;
pub mod targeted;

pub mod storable;
pub mod stored;

pub mod age;
pub mod freshness;
pub mod time;

pub mod no_vary_search;
pub mod reuse;
pub mod vary;

pub mod conditional;
pub mod head;
pub mod range;
pub mod validation;

pub mod groups;
pub mod invalidation;
pub mod query;
pub mod representation;

pub mod cache_status;
