//! What taking a lock and letting go of it costs, beside a few locks that are held and
//! beside very many.
//!
//! ```text
//! cargo bench -p nemcon-core --bench locks
//! ```
//!
//! Both are to grow no faster than the logarithm of the number of locks;
//! docs/performance.md has the figures.

#![allow(missing_docs, reason = "criterion writes what is public here")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use nemcon_core::id::Boot;
use nemcon_core::lock::{Limits, LockKey, Mode, Table};
use nemcon_core::planted::Planted;
use nemcon_core::time::Millis;

const NOW: Millis = Millis(0);

/// How many locks are held.
const HELD: [u64; 3] = [1, 1_000, 1_000_000];

/// Locks of one holder.
const EACH: u64 = 10;

/// Takes the lock of the transaction that is timed.
const OWNER: u64 = u64::MAX;

fn key(number: u64) -> LockKey {
    // Scattered, as names are.
    LockKey::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes())
}

fn table(held: u64) -> Table<u64> {
    let mut table = Table::new(Boot(1), Limits::new(), Planted::none());
    for number in 0..held {
        let _ = table.request(NOW, number / EACH, &key(number), Mode::Exclusive);
    }
    table
}

/// A key that nobody holds is locked and let go.
fn free_key(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lock a free key and let go");
    for held in HELD {
        let mut table = table(held);
        let mut number = held;
        group.bench_function(BenchmarkId::from_parameter(held), |bencher| {
            bencher.iter(|| {
                number += 1;
                black_box(table.request(NOW, OWNER, &key(number), Mode::Exclusive));
                black_box(table.release(NOW, OWNER));
            });
        });
    }
    group.finish();
}

/// A key that very many read is locked to be read, and let go.
fn read_key(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read a key with so many readers and let go");
    for readers in HELD {
        let mut table = Table::new(Boot(1), Limits::new(), Planted::none());
        for reader in 0..readers {
            let _ = table.request(NOW, reader, &key(0), Mode::Shared);
        }
        group.bench_function(BenchmarkId::from_parameter(readers), |bencher| {
            bencher.iter(|| {
                black_box(table.request(NOW, OWNER, &key(0), Mode::Shared));
                black_box(table.release(NOW, OWNER));
            });
        });
    }
    group.finish();
}

/// Somebody waits, the holder lets go, and the key goes over.
fn hand_over(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hand a key over to who waits");
    for held in HELD {
        let mut table = table(held);
        let mut number = held;
        group.bench_function(BenchmarkId::from_parameter(held), |bencher| {
            bencher.iter(|| {
                number += 1;
                let key = key(number);
                black_box(table.request(NOW, OWNER, &key, Mode::Exclusive));
                black_box(table.request(NOW, OWNER - 1, &key, Mode::Exclusive));
                black_box(table.release(NOW, OWNER));
                black_box(table.release(NOW, OWNER - 1));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, free_key, read_key, hand_over);
criterion_main!(benches);
