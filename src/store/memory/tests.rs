use std::sync::Arc;

use super::*;
use crate::store::contract::{self, Sample};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const MINUTE: Duration = Duration::from_secs(60);

fn sample(name: &str) -> Sample {
    Sample::new(name).at(NOW).kept_for(MINUTE)
}

fn body_of(record: Option<Record>) -> Option<usize> {
    match record {
        Some(Record::Entry(entry)) => Some(entry.content().len()),
        _ => None,
    }
}

#[tokio::test]
async fn it_keeps_the_contract_of_stores() {
    contract::run(&MemoryStore::new(1 << 20, 1 << 16), contract::Kind::Memory).await;
}

#[test]
fn shards_leave_room_for_four_of_the_largest_entries() {
    const MIB: u64 = 1 << 20;
    for (capacity, max_entry, expected) in [
        (0, 0, 1),
        (MIB, 8 * MIB, 1),
        (256 * MIB, 8 * MIB, 4),
        (256 * MIB, MIB, 32),
        (1 << 40, MIB, 256),
        (u64::MAX, u64::MAX, 1),
    ] {
        let count = shards(capacity, max_entry);
        assert_eq!(count, expected, "{capacity} bytes, entries of {max_entry}");
        assert!(count == 1 || capacity / count >= PER_SHARD * max_entry);
    }
}

#[test]
fn what_has_passed_is_not_found_and_makes_room() {
    let store = MemoryStore::new(1 << 20, 1 << 10);
    let sample = sample("/brief");
    assert_eq!(store.insert(&sample.key(), sample.entry(), NOW), Admission::Kept);
    assert!(store.look(&sample.key(), NOW).is_some());
    let later = NOW + MINUTE;
    assert!(store.look(&sample.key(), later).is_none());
    let seen = store.snapshot();
    assert_eq!((seen.entries, seen.bytes, seen.expired), (0, 0, 1));
    assert_eq!(store.insert(&sample.key(), sample.entry(), later), Admission::Expired);
}

#[test]
fn as_many_sweeps_as_shards_drop_all_that_has_passed_and_nothing_else() {
    let store = MemoryStore::new(1 << 20, 1 << 10);
    for n in 0..40 {
        let kept = if n % 4 == 0 { 2 * MINUTE } else { MINUTE };
        let sample = sample(&format!("/{n}")).kept_for(kept);
        store.insert(&sample.key(), sample.entry(), NOW);
    }
    let dropped: usize = (0..store.shards.len()).map(|_| store.sweep(NOW + MINUTE)).sum();
    assert_eq!((dropped, store.snapshot().entries), (30, 10));
}

#[test]
fn it_never_holds_more_than_its_capacity() {
    let store = MemoryStore::new(200_000, 2_000);
    for n in 0..1_000 {
        let sample = sample(&format!("/{n}")).body(vec![0; 2_000]);
        assert_eq!(store.insert(&sample.key(), sample.entry(), NOW), Admission::Kept);
        assert!(store.snapshot().bytes <= 200_000);
    }
    let seen = store.snapshot();
    assert!(seen.entries > 40, "{seen:?}");
    assert_eq!(seen.entries + seen.evicted, 1_000);
}

#[test]
fn replacing_is_not_evicting() {
    let store = MemoryStore::new(1 << 20, 1 << 10);
    for length in 1..=5 {
        let sample = sample("/same").body(vec![0; length]);
        store.insert(&sample.key(), sample.entry(), NOW);
        assert_eq!(body_of(store.look(&sample.key(), NOW)), Some(length));
    }
    let seen = store.snapshot();
    assert_eq!((seen.entries, seen.evicted, seen.inserted), (1, 0, 5));
}

#[test]
fn what_is_too_heavy_is_refused_and_takes_its_predecessor_along() {
    let store = MemoryStore::new(100_000, 10_000);
    let small = sample("/a");
    store.insert(&small.key(), small.entry(), NOW);
    let large = sample("/a").body(vec![0; 100_000]);
    assert_eq!(store.insert(&large.key(), large.entry(), NOW), Admission::TooHeavy);
    assert!(store.look(&large.key(), NOW).is_none());
    assert_eq!(store.snapshot().refused, 1);
}

#[test]
fn the_heaviest_admitted_record_is_really_there() {
    let store = MemoryStore::new(100_000, 100_000);
    let fits = |length: usize| {
        let sample = sample("/a").body(vec![0; length]);
        let kept = store.insert(&sample.key(), sample.entry(), NOW) == Admission::Kept;
        assert_eq!(store.look(&sample.key(), NOW).is_some(), kept, "{length}");
        kept
    };
    let largest = (90_000..100_000).step_by(50).filter(|length| fits(*length)).max();
    assert!(largest.is_some_and(|length| length < 97_000), "{largest:?}");
}

#[test]
fn a_slow_read_does_not_undo_a_put() {
    let store = MemoryStore::new(1 << 20, 1 << 10);
    let (old, new) = (sample("/a").as_of(3).body(vec![0; 3]), sample("/a").as_of(5));
    store.insert(&new.key(), new.entry(), NOW);
    let kept = store.promote(&old.key(), old.entry(), NOW);
    assert_eq!(body_of(Some(kept)), body_of(Some(new.entry())));
    assert_eq!(body_of(store.look(&new.key(), NOW)), body_of(Some(new.entry())));
    let newer = sample("/a").as_of(6).body(vec![0; 6]);
    store.promote(&newer.key(), newer.entry(), NOW);
    assert_eq!(body_of(store.look(&new.key(), NOW)), Some(6));
}

#[test]
fn a_list_of_variants_read_elsewhere_does_not_shrink_the_one_here() {
    let store = MemoryStore::new(1 << 20, 1 << 10);
    let sample = sample("/a");
    let variants = |store: &MemoryStore| match store.look(&sample.key(), NOW) {
        Some(Record::Varies(varies)) => varies.variants.len(),
        other => panic!("{other:?}"),
    };
    store.insert(&sample.key(), sample.varies(2), NOW);
    store.promote(&sample.key(), sample.varies(1), NOW);
    assert_eq!(variants(&store), 2);
    store.promote(&sample.key(), sample.varies(3), NOW);
    assert_eq!(variants(&store), 3);
}

#[test]
fn records_survive_many_threads() {
    let store = Arc::new(MemoryStore::new(1 << 20, 1 << 10));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = Arc::clone(&store);
            scope.spawn(move || {
                for n in 0..2_000 {
                    let length = (n * 7 + thread) % 50;
                    let sample = sample(&format!("/{length}")).body(vec![0; length]);
                    store.insert(&sample.key(), sample.entry(), NOW);
                    if let Some(found) = body_of(store.look(&sample.key(), NOW)) {
                        assert_eq!(found, length);
                    }
                    store.sweep(NOW);
                }
            });
        }
    });
    assert_eq!(store.snapshot().entries, 50);
}

#[test]
fn what_it_weighs_is_what_the_allocator_takes() {
    for (bytes, expected) in [
        (0, 8),
        (1, 8),
        (33, 40),
        (1_000, 1_024),
        (1_025, 1_285),
        (1_280, 1_285),
        (2_300, 2_621),
        (5_200, 6_553),
        (50_200, 58_254),
        (70_000, 73_728),
        (1_000_000, 1_003_520),
    ] {
        assert_eq!(class(bytes), expected, "{bytes}");
    }
}
