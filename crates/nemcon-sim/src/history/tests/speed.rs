//! How long the checker takes, and that no chain is too long for it.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::notation;
use super::plan::{self, End, Plan};
use crate::history::{Anomaly, Class, History};

/// `transactions` over 100 keys, up to five operations each, some eight at once.
fn large(transactions: usize) -> History {
    let mut chance = Pcg64Mcg::seed_from_u64(1);
    let plans = (0..transactions).map(|_| Plan {
        operations: (0..chance.random_range(1..=5))
            .map(|_| (chance.random_range(0..100), chance.random()))
            .collect(),
        before_ms: chance.random_range(0..40),
        after_ms: chance.random_range(0..40),
        end: match chance.random_range(0..20) {
            0 => End::Aborted,
            1 => End::AnswerLost,
            2 => End::NeverHappened,
            _ => End::Committed,
        },
    });
    plan::run(&plans.collect::<Vec<_>>())
}

#[test]
fn ten_thousand_transactions() {
    let history = large(10_000);
    let start = Instant::now();
    let verdict = history.check_strict_serializability();
    let took = start.elapsed();
    println!("10,000 transactions over 100 keys checked in {took:?}");
    assert_eq!(verdict, Ok(()));
    if !cfg!(debug_assertions) {
        assert!(took < Duration::from_secs(1), "took {took:?}");
    }
}

/// The largest component there can be: everything is in the cycle's reach.
#[test]
fn ten_thousand_transactions_that_fail() {
    // The last one reads as if nothing had happened, and appends nothing.
    let mut text = notation::text(&large(10_000));
    let keys: Vec<_> = (0..100).map(|key| format!("read k{key} []")).collect();
    _ = writeln!(text, "T10001 [200000..200001] {} : ok", keys.join(" ; "));
    let history: History = notation::history(&text);
    let start = Instant::now();
    let verdict = history.check_strict_serializability();
    println!("and their witness found in {:?}", start.elapsed());
    let Err(Anomaly::Cycle(cycle)) = verdict else {
        panic!("want a cycle, got {verdict:?}");
    };
    assert_eq!((cycle.class(), cycle.steps.len()), (Class::GSingle, 2));
    assert!(cycle.needs_real_time());
}

/// A chain that would overflow the stack of a recursive search, closed at the end.
#[test]
fn long_cycle_is_found_without_recursion() {
    const LENGTH: u64 = 20_000;
    let mut text = String::new();
    for n in 1..=LENGTH {
        let next = n % LENGTH + 1;
        _ = writeln!(text, "T{n} [0..5] append k{n} 1 ; read k{next} [1] : ok");
    }
    let history: History = notation::history(&text);
    let Err(Anomaly::Cycle(cycle)) = history.check_strict_serializability() else {
        panic!("want a cycle");
    };
    assert_eq!(cycle.class(), Class::G1c);
    assert_eq!(cycle.steps.len() as u64, LENGTH);
}
