//! Histories that look odd and are right.

use super::notation::history;
use crate::history::{ClientId, History, RecordingError};

#[track_caller]
fn accepted(text: &str) {
    let history: History = history(text);
    for (name, verdict) in [
        ("strictly", history.check_strict_serializability()),
        ("in any order", history.check_serializability()),
    ] {
        if let Err(anomaly) = verdict {
            panic!("{name} serializable, but: {anomaly}");
        }
    }
}

#[test]
fn one_after_another() {
    accepted(
        "T1 [0..2] append x 1 : ok
         T2 [3..5] read x [1] ; append x 2 : ok
         T3 [6..9] read x [1 2] ; read y [] : ok",
    );
}

#[test]
fn concurrent_read_may_see_or_miss() {
    accepted(
        "T1 [0..5] append x 1 : ok
         T2 [2..3] read x [1] : ok
         T3 [1..3] read x [] : ok",
    );
}

#[test]
fn same_millisecond_orders_nothing() {
    accepted(
        "T1 [0..5] append x 1 : ok
         T2 [5..6] read x [] : ok",
    );
}

#[test]
fn unknown_transaction_takes_effect_late() {
    accepted(
        "T1 [0..] append x 1 : unknown
         T2 [10..20] read x [] : ok
         T3 [30..40] read x [1] : ok",
    );
}

#[test]
fn unknown_transaction_never_happened() {
    accepted(
        "T1 [0..] append x 1 ; read y [99] : unknown
         T2 [10..20] read x [] : ok",
    );
}

#[test]
fn two_unknown_transactions_one_of_which_happened() {
    accepted(
        "T1 [0..] append x 1 : unknown
         T2 [0..] append x 2 : unknown
         T3 [30..40] read x [2] : ok",
    );
}

#[test]
fn aborted_transaction_left_nothing() {
    accepted(
        "T1 [0..5] append x 1 ; read x [1] : aborted
         T2 [6..9] read x [] : ok",
    );
}

#[test]
fn aborted_transaction_may_have_read_anything() {
    accepted("T1 [0..5] read x [99] : aborted");
}

#[test]
fn own_appends_between_reads() {
    accepted(
        "T1 [0..5] append x 1 ; read x [1] ; append x 2 ; read x [1 2] : ok
         T2 [6..9] append x 3 ; read x [1 2 3] ; append x 4 : ok
         T3 [10..11] read x [1 2 3 4] : ok",
    );
}

#[test]
fn own_appends_read_by_nobody_else() {
    accepted(
        "T1 [0..5] append x 1 ; read x [1] ; append x 2 : ok
         T2 [0..5] append x 3 : ok",
    );
}

#[test]
fn read_and_append_that_nobody_read() {
    accepted(
        "T1 [0..5] read x [] ; append x 1 : ok
         T2 [0..5] append x 2 : ok
         T3 [0..5] read x [] : ok",
    );
}

#[test]
fn results_that_were_lost() {
    accepted(
        "T1 [0..2] append x 1 ; read y ? : ok
         T2 [3..5] read x ? ; append x 2 ; read x [1 2] : ok",
    );
}

#[test]
fn long_fork_with_an_order() {
    accepted(
        "T1 [0..9] append x 1 : ok
         T2 [0..9] append y 1 : ok
         T3 [0..5] read x [1] ; read y [] : ok
         T4 [6..9] read x [1] ; read y [1] : ok",
    );
}

#[test]
fn recorder_counts_moments_of_one_millisecond() {
    let mut history: History = History::new();
    let first = history.invoked(ClientId(1), None, 5, vec![]);
    assert_eq!(history.committed(first, 5), Ok(()));
    let second = history.invoked(ClientId(2), None, 5, vec![]);
    let completed = history
        .transaction(first)
        .and_then(|transaction| transaction.outcome.completed());
    let invoked = history
        .transaction(second)
        .map(|transaction| transaction.invoked);
    assert!(completed < invoked && completed.is_some());
}

#[test]
fn recorder_refuses_what_does_not_fit() {
    let mut history: History = History::new();
    let first = history.invoked(ClientId(1), None, 0, vec![]);
    assert_eq!(history.aborted(first, 1), Ok(()));
    assert_eq!(
        history.committed(first, 2),
        Err(RecordingError::AnsweredBefore(first))
    );
    let mut other: History = History::new();
    assert_eq!(
        other.committed(first, 2),
        Err(RecordingError::NoSuchTransaction(first))
    );
    assert!(other.operations_mut(first).is_err());
}
