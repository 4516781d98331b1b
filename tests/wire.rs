//! Stories of HTTP caching, told wherever entries can live and in both protocols that clients
//! speak. What is true in memory has to be true in Valkey, and by HTTP/2 what is true by HTTP/1.1.
//!
//! | entries live in | by HTTP/1.1 | by HTTP/2 |
//! |---|---|---|
//! | memory | [`in_memory_by_http1`] | [`in_memory_by_http2`] |
//! | Valkey alone (`memory = 0`) | [`in_valkey_by_http1`] | [`in_valkey_by_http2`] |
//! | memory in front of Valkey | [`in_both_by_http1`] | [`in_both_by_http2`] |
//!
//! Each of the six tells all of [`STORIES`] side by side, in front of one process without any route,
//! so that the RFCs alone rule; and at the end the one story that takes the origin away. A failure
//! names the story, the store and the protocol.
//!
//! | file | asks |
//! |---|---|
//! | `stage.rs` | – what a story is told on |
//! | `storing.rs` | what may be kept? (RFC 9111 §3) |
//! | `freshness.rs` | for how long? (§4.2, RFC 9213) |
//! | `vary.rs` | for whom? (§4.1) |
//! | `validation.rs` | does it still stand, here and at the client? (§4.3) |
//! | `stale.rs` | when is something stale better than nothing? (§4.2.4, RFC 5861) |
//! | `demands.rs` | what may a client ask of the cache? (§5.2.1) |
//! | `invalidation.rs` | what does a write throw away? (§4.4) |
//! | `messages.rs` | does a message come out of the store as it went in? (§3.1, RFC 9211) |
//! | `relatives.rs` | ranges, HEAD, POST, QUERY, groups: what stands beside RFC 9111? |
//! | `bad_input.rs` | what if one of them does not keep to the rules? Tests of their own, in front of the origin of `rude.rs` |

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[expect(dead_code, reason = "what only other groups need")]
mod support;
#[expect(dead_code, reason = "what only other groups need")]
#[path = "support/valkey.rs"]
mod valkey;

#[path = "wire/bad_input.rs"]
mod bad_input;
#[path = "wire/demands.rs"]
mod demands;
#[path = "wire/freshness.rs"]
mod freshness;
#[path = "wire/invalidation.rs"]
mod invalidation;
#[path = "wire/messages.rs"]
mod messages;
#[path = "wire/relatives.rs"]
mod relatives;
#[path = "wire/rude.rs"]
mod rude;
#[path = "wire/stage.rs"]
mod stage;
#[path = "wire/stale.rs"]
mod stale;
#[path = "wire/storing.rs"]
mod storing;
#[path = "wire/validation.rs"]
mod validation;
#[path = "wire/vary.rs"]
mod vary;

use stage::{Place, Protocol, Story, tell};

/// Names stories, so that a failure can.
macro_rules! stories {
    ($($room:ident: $($story:ident)+;)+) => {
        &[$($((
            concat!(stringify!($room), "::", stringify!($story)),
            |stage| Box::pin(async move { $room::$story(&stage).await }),
        )),+),+]
    };
}

/// Told side by side; each has paths of its own.
const STORIES: &[Story] = stories! {
    storing:
        what_says_for_how_long_is_stored
        what_does_not_say_for_how_long_is_not
        prohibitions_are_obeyed
        what_is_for_one_does_not_keep_others_from_sharing
        what_forbids_is_believed_even_where_it_cannot_be_read
        answers_to_credentials_are_shared_only_by_permission
        must_understand_is_heeded_for_known_statuses
        every_final_status_with_a_lifetime_is_stored
        redirects_are_stored_as_they_are;
    freshness:
        s_maxage_comes_before_max_age_and_that_before_expires
        age_and_date_count_against_the_lifetime
        what_is_no_lifetime_is_none
        numbers_may_be_quoted_and_large
        a_field_for_caches_like_this_one_comes_first
        a_targeted_field_that_is_broken_is_not_there
        immutable_is_no_lifetime;
    vary:
        each_variant_is_for_whoever_asks_alike
        what_means_the_same_is_the_same_variant
        absent_and_empty_are_not_the_same
        many_fields_select_together
        vary_on_everything_is_never_stored
        variants_expire_and_are_validated_each_for_itself
        a_write_throws_all_variants_away;
    validation:
        a_304_renews_what_is_stored
        a_last_modified_is_asked_about_as_it_came
        another_answer_takes_the_place_of_what_was_stored
        no_cache_is_stored_and_asked_about_each_time
        a_304_about_something_else_renews_nothing
        who_has_it_is_told_so
        a_condition_that_fails_gets_the_whole
        conditions_are_for_200_alone
        a_conditional_head_is_answered_from_the_store;
    stale:
        while_it_is_revalidated_the_stale_is_served
        an_answer_too_old_for_its_window_is_not_served_stale
        an_error_is_covered_for_as_long_as_the_origin_says
        must_revalidate_lets_nothing_stale_out;
    demands:
        no_cache_asks_the_origin
        max_age_is_how_old_it_may_be
        min_fresh_is_how_long_it_must_last
        only_if_cached_never_reaches_the_origin
        no_store_keeps_the_answer_out
        pragma_counts_where_cache_control_is_silent
        what_is_no_directive_is_passed_over;
    invalidation:
        unsafe_methods_throw_away_what_they_change
        safe_methods_throw_nothing_away
        what_was_refused_throws_nothing_away
        every_query_of_the_target_goes_with_it
        however_the_target_is_spelled_it_is_the_target
        what_the_answer_names_goes_too
        what_is_of_another_origin_stays
        what_cannot_be_ruled_out_counts_as_done;
    messages:
        lines_of_a_field_survive_in_their_order
        octets_beyond_ascii_survive
        fields_for_one_connection_are_not_stored
        fields_that_are_taken_back_are_not_stored
        a_hit_says_how_old_it_is_and_keeps_the_date
        cache_status_goes_behind_what_others_said
        a_megabyte_comes_back_octet_for_octet
        nothing_is_stored_as_nothing
        a_head_is_answered_from_a_stored_get
        what_comes_in_chunks_is_stored_whole
        where_a_hit_comes_from;
    relatives:
        a_stored_whole_answers_for_its_parts
        parts_are_kept_and_become_the_whole
        a_write_reaches_parts
        a_head_that_matches_renews_and_one_that_differs_ends_it
        the_answer_to_a_post_is_what_the_next_get_gets
        a_query_is_told_apart_by_its_content
        a_group_is_invalidated_together;
};

#[tokio::test(flavor = "multi_thread")]
async fn in_memory_by_http1() {
    tell(Place::Memory, Protocol::Http1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory_by_http2() {
    tell(Place::Memory, Protocol::Http2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_valkey_by_http1() {
    tell(Place::Valkey, Protocol::Http1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_valkey_by_http2() {
    tell(Place::Valkey, Protocol::Http2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_both_by_http1() {
    tell(Place::Both, Protocol::Http1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_both_by_http2() {
    tell(Place::Both, Protocol::Http2).await;
}
