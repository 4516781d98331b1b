//! What the ledger costs where it is asked most: on a hit, and per name that it remembers.
//!
//! `cargo bench --bench ledger`. What needs a Valkey and several processes is in `fleet.rs`.

use std::hint::black_box;
use std::time::Duration;

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher};
use larder::clock;
use larder::ledger::name::{Belongs, Name};
use larder::ledger::{Cause, Kind, Ledger, Mode, Position, Record, Standing};
use larder::semantics::time::Timestamp;
use larder::store::Judged;
use larder::store::ledger::LedgerHandle;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const NAMES: u64 = 100_000;

fn main() {
    divan::main();
}

fn entry() -> Belongs {
    let tags = ["product:7", "category:tea"];
    Belongs::of("catalog/products", "//shop.test/products/7?currency=eur", &tags, &[""; 0])
}

fn records(count: u64, mode: Mode) -> Vec<Record> {
    let record = |n: u64| Record {
        position: Position::of_entry(n + 1, 0),
        kind: Kind::Invalidation { names: vec![Name::Tag(format!("other:{n}").into())], mode },
        writer: "".into(),
        ticket: None,
        cause: Cause::Write,
    };
    (0..count).map(record).collect()
}

/// A ledger in which so many other things were invalidated, and the position before them.
fn handle(others: u64) -> (LedgerHandle, Position, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let ledger = LedgerHandle::embedded(1_000_000);
    let before = ledger.applied();
    runtime.block_on(async {
        for n in 0..others {
            let names = vec![Name::Tag(format!("other:{n}").into())];
            ledger.invalidate(names, Mode::Hard, Cause::Write).await;
        }
    });
    (ledger, before, runtime)
}

/// The hit path: nothing has moved since the entry was found to be good.
#[divan::bench(threads = [1, 2])]
fn hit_known_to_be_good(bencher: Bencher<'_, '_>) {
    let (ledger, before, _runtime) = handle(1000);
    let (judged, now) = (Judged::default(), clock::now());
    let seen = ledger.generation(now);
    assert_eq!(ledger.judge(before, now, &entry(), now), Standing::Good);
    judged.found_good(seen);
    bencher.bench(|| assert!(judged.is_good(ledger.generation(black_box(now)))));
}

/// What a hit cost before it noted that: a lock, and one comparison, as nothing came after the
/// entry.
#[divan::bench(threads = [1, 2])]
fn hit_judged_and_nothing_came_after_it(bencher: Bencher<'_, '_>) {
    let (ledger, _, _runtime) = handle(1000);
    let (belongs, as_of, now) = (entry(), ledger.applied(), clock::now());
    bencher.bench(|| ledger.judge(black_box(as_of), now, &belongs, now));
}

/// The same for an entry from before all that: every name is looked up.
#[divan::bench(threads = [1, 2], args = [1000, 100_000])]
fn hit_judged_and_other_things_came_after_it(bencher: Bencher<'_, '_>, others: u64) {
    let (ledger, before, _runtime) = handle(others);
    let (belongs, now) = (entry(), clock::now());
    bencher.bench(|| ledger.judge(black_box(before), now, &belongs, now));
}

/// Applying a page of records, as a tail does.
#[divan::bench]
fn apply_a_thousand_records(bencher: Bencher<'_, '_>) {
    let page = records(1000, Mode::Hard);
    bencher.with_inputs(|| Ledger::new(1_000_000, Some(Duration::from_secs(2)))).bench_values(
        |mut ledger| {
            ledger.apply_at(&page, Timestamp::from_millis(1));
            ledger
        },
    );
}

/// "alloc" shows what so many names hold (divide by them), the reading of records aside.
#[divan::bench(args = [NAMES, 5 * NAMES], sample_count = 3, sample_size = 1)]
fn remember_names(bencher: Bencher<'_, '_>, names: u64) {
    let all = records(names, Mode::Hard);
    bencher.counter(BytesCount::new(names)).bench(|| {
        let mut ledger = Ledger::new(500_000, None);
        ledger.apply(&all);
        ledger
    });
}
