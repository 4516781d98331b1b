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

pub mod cache_control;
pub mod fields;
pub mod targeted;

pub mod storable;
pub mod stored;

pub mod age;
pub mod freshness;
pub mod time;
