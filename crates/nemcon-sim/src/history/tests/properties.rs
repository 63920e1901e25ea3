//! The checker against histories by chance.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::brute_force;
use super::notation;
use super::plan::{self, Plan};
use crate::history::list::{Operation, Value};
use crate::history::{History, Outcome};

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    })
}

/// Whatever ran one after another is accepted, however its answers were delayed.
#[test]
fn serial_executions_pass() {
    let property = |plans: Vec<Plan>| {
        let history = plan::run(&plans);
        for verdict in [
            history.check_strict_serializability(),
            history.check_serializability(),
        ] {
            if let Err(anomaly) = verdict {
                return Err(TestCaseError::fail(format!(
                    "{anomaly}\nin\n{}",
                    notation::text(&history)
                )));
            }
        }
        Ok(())
    };
    if let Err(failure) = runner(1_000).run(&plan::plans(60, 5), property) {
        panic!("{failure}");
    }
}

/// The checker and the definition agree, on right and on wrong histories.
#[test]
fn agrees_with_trying_all_orders() {
    let (right, wrong, by_time_only) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let property = |(plans, changes): (Vec<Plan>, Vec<_>)| {
        let mut history = plan::run(&plans);
        for (which, operation, change) in changes {
            plan::change(&mut history, which, operation, change);
        }
        let strict = brute_force::serializable(&history, true);
        let any_order = brute_force::serializable(&history, false);
        let text = notation::text(&history);
        let found = history.check_strict_serializability();
        prop_assert_eq!(found.is_ok(), strict, "{}{:?}", text, found);
        let found = history.check_serializability();
        prop_assert_eq!(found.is_ok(), any_order, "{}{:?}", text, found);
        let counter = match (strict, any_order) {
            (true, _) => &right,
            (false, true) => &by_time_only,
            (false, false) => &wrong,
        };
        counter.set(counter.get() + 1);
        Ok(())
    };
    let strategy = (plan::plans(6, 2), plan::changes(3));
    if let Err(failure) = runner(10_000).run(&strategy, property) {
        panic!("{failure}");
    }
    // A test of agreement says nothing unless both answers come up often.
    println!("right {right:?}, wrong {wrong:?}, wrong by time only {by_time_only:?}");
    assert!(right.get() > 1_000 && wrong.get() > 1_000 && by_time_only.get() > 300);
}

/// Operations (key, whether it appends, what it read otherwise), when it was asked
/// for, how long it took, and how it ended.
type Noise = (Vec<(u8, bool, Vec<u64>)>, u64, u64, u8);

/// Small histories made of nothing but chance, most of which are wrong.
#[test]
fn agrees_with_trying_all_orders_on_noise() {
    let operation = (0..2u8, any::<bool>(), vec(1..7u64, 0..3));
    let transaction = (vec(operation, 1..3), 0..20u64, 0..20u64, 0..8u8);
    let agreed = Cell::new([0; 2]);
    let property = |transactions: Vec<Noise>| {
        let mut text = String::new();
        let mut value = 0;
        for (n, (operations, invoked, length, outcome)) in (1..).zip(transactions) {
            let outcome = ["unknown", "aborted"].get(usize::from(outcome));
            let completed = match outcome {
                Some(&"unknown") => String::new(),
                _ => (invoked + length).to_string(),
            };
            let operations = operations.into_iter().map(|(key, append, values)| {
                if append {
                    value += 1;
                    format!("append k{key} {value}")
                } else {
                    let values: Vec<_> = values.iter().map(u64::to_string).collect();
                    format!("read k{key} [{}]", values.join(" "))
                }
            });
            let operations = operations.collect::<Vec<_>>().join(" ; ");
            let outcome = outcome.unwrap_or(&"ok");
            text += &format!("T{n} [{invoked}..{completed}] {operations} : {outcome}\n");
        }
        let history: History = notation::history(&text);
        for real_time in [true, false] {
            let want = brute_force::serializable(&history, real_time);
            let found = if real_time {
                history.check_strict_serializability()
            } else {
                history.check_serializability()
            };
            prop_assert_eq!(found.is_ok(), want, "{}{:?}", text, found);
            let mut counts = agreed.get();
            counts[usize::from(want)] += 1;
            agreed.set(counts);
        }
        Ok(())
    };
    if let Err(failure) = runner(10_000).run(&vec(transaction, 1..7), property) {
        panic!("{failure}");
    }
    println!("wrong and right: {agreed:?}");
    assert!(agreed.get().into_iter().all(|count| count > 1_000));
}

/// All histories that one way to spoil makes of one.
type Spoiler = fn(&History) -> Vec<History>;

/// Ways to spoil a history that no order can explain away.
const SPOILERS: [(&str, Spoiler); 6] = [
    ("a value from nowhere", with_value_from_nowhere),
    ("a value read twice", with_value_twice),
    ("two values read the other way round", with_values_swapped),
    (
        "an append that aborted and was read",
        with_read_append_aborted,
    ),
    ("a read that misses what was over", with_stale_read),
    (
        "a read of what was not yet asked for",
        with_read_from_the_future,
    ),
];

/// Whatever is spoiled for certain is found, and each way comes up often.
#[test]
fn spoiled_histories_fail() {
    let counts = [const { Cell::new(0u32) }; SPOILERS.len()];
    let property = |plans: Vec<Plan>| {
        let history = plan::run(&plans);
        for ((name, spoil), count) in SPOILERS.iter().zip(&counts) {
            for spoiled in spoil(&history).into_iter().take(5) {
                let found = spoiled.check_strict_serializability();
                prop_assert!(found.is_err(), "{} in\n{}", name, notation::text(&spoiled));
                count.set(count.get() + 1);
            }
        }
        Ok(())
    };
    if let Err(failure) = runner(1_000).run(&plan::plans(20, 3), property) {
        panic!("{failure}");
    }
    for ((name, _), count) in SPOILERS.iter().zip(&counts) {
        println!("{name}: {}", count.get());
        assert!(count.get() > 500, "{name}: only {} times", count.get());
    }
}

/// Every committed read that was heard: transaction and operation.
fn reads(history: &History) -> impl Iterator<Item = (usize, usize)> + '_ {
    let committed = history
        .transactions()
        .filter(|(_, transaction)| matches!(transaction.outcome, Outcome::Committed { .. }));
    committed.flat_map(|(number, transaction)| {
        let operations = transaction.operations.iter().enumerate();
        operations.filter_map(move |(n, operation)| {
            let heard = matches!(
                operation,
                Operation::Read {
                    values: Some(_),
                    ..
                }
            );
            heard.then_some((number.index(), n))
        })
    })
}

/// The history with what one read held changed.
fn with_read(history: &History, at: (usize, usize), change: impl Fn(&mut Vec<Value>)) -> History {
    let mut history = history.clone();
    if let Operation::Read {
        values: Some(values),
        ..
    } = &mut history.transactions[at.0].operations[at.1]
    {
        change(values);
    }
    history
}

fn held(history: &History, at: (usize, usize)) -> &[Value] {
    match &history.transactions[at.0].operations[at.1] {
        Operation::Read {
            values: Some(values),
            ..
        } => values,
        _ => &[],
    }
}

/// Who appended a value; values are unique over all keys here.
fn writer(history: &History, value: Value) -> Option<usize> {
    history.transactions.iter().position(|transaction| {
        let mut operations = transaction.operations.iter();
        operations.any(|o| matches!(o, Operation::Append { value: v, .. } if *v == value))
    })
}

fn with_value_from_nowhere(history: &History) -> Vec<History> {
    let nowhere = |values: &mut Vec<Value>| values.insert(values.len() / 2, Value(u64::MAX));
    reads(history)
        .map(|at| with_read(history, at, nowhere))
        .collect()
}

fn with_value_twice(history: &History) -> Vec<History> {
    let reads = reads(history).filter(|at| !held(history, *at).is_empty());
    reads
        .map(|at| with_read(history, at, |values| values.push(values[0])))
        .collect()
}

fn with_values_swapped(history: &History) -> Vec<History> {
    // Another read holds both, as they were.
    let reads = reads(history).filter(|at| {
        held(history, *at).len() > 1
            && reads(history).any(|other| {
                other.0 != at.0 && held(history, other).starts_with(held(history, *at))
            })
    });
    reads
        .map(|at| with_read(history, at, |values| values.swap(0, 1)))
        .collect()
}

fn with_read_append_aborted(history: &History) -> Vec<History> {
    let writers = reads(history).filter_map(|at| {
        let writer = writer(history, *held(history, at).last()?)?;
        (writer != at.0).then_some(writer)
    });
    writers
        .map(|writer| {
            let mut history = history.clone();
            let completed = history.transactions[writer].invoked;
            history.transactions[writer].outcome = Outcome::Aborted { completed };
            history
        })
        .collect()
}

fn with_stale_read(history: &History) -> Vec<History> {
    let stale = reads(history).filter_map(|at| {
        let missed = writer(history, *held(history, at).last()?)?;
        let Outcome::Committed { completed } = history.transactions[missed].outcome else {
            return None;
        };
        let over = completed < history.transactions[at.0].invoked;
        let of_others = |value: &Value| writer(history, *value) != Some(missed);
        over.then(|| with_read(history, at, |values| values.retain(of_others)))
    });
    stale.collect()
}

fn with_read_from_the_future(history: &History) -> Vec<History> {
    let mut spoiled = Vec::new();
    for at in reads(history) {
        let transaction = &history.transactions[at.0];
        let Operation::Read { key: read, .. } = &transaction.operations[at.1] else {
            continue;
        };
        let completed = transaction.outcome.completed();
        let later = history
            .transactions
            .iter()
            .filter(|other| completed.is_some_and(|completed| completed < other.invoked));
        let future = later
            .flat_map(|other| &other.operations)
            .find_map(|o| match o {
                Operation::Append { key, value } if key == read => Some(*value),
                _ => None,
            });
        spoiled.extend(future.map(|value| with_read(history, at, |values| values.push(value))));
    }
    spoiled
}
