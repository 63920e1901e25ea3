//! Every way to be wrong, with the smallest history that shows it.

use super::notation::history;
use crate::history::list::{self, Value};
use crate::history::{Anomaly, Class, Flaw, History, Malformed};

fn anomaly(text: &str) -> Anomaly {
    let history: History = history(text);
    let anomaly = history.check_strict_serializability();
    anomaly.expect_err("this history is not strictly serializable")
}

fn flaw(text: &str) -> Flaw {
    match anomaly(text) {
        Anomaly::Read { flaw, .. } => flaw,
        other => panic!("want a read that is wrong by itself, got {other}"),
    }
}

/// The class of a cycle, its length, and whether it needs real time.
fn cycle(text: &str) -> (Class, usize, bool) {
    match anomaly(text) {
        Anomaly::Cycle(cycle) => {
            let history: History = history(text);
            let serializable = history.check_serializability().is_ok();
            assert_eq!(serializable, cycle.needs_real_time(), "{cycle}");
            for (n, step) in cycle.steps.iter().enumerate() {
                assert_eq!(step.to, cycle.steps[(n + 1) % cycle.steps.len()].from);
            }
            (cycle.class(), cycle.steps.len(), cycle.needs_real_time())
        }
        other => panic!("want a cycle, got {other}"),
    }
}

#[test]
fn value_from_nowhere() {
    let flaw = flaw("T1 [0..5] read x [7] : ok");
    assert_eq!(flaw, Flaw::NeverAppended { value: Value(7) });
}

#[test]
fn value_of_another_key() {
    let flaw = flaw(
        "T1 [0..5] append y 7 : ok
         T2 [6..9] read x [7] : ok",
    );
    assert_eq!(flaw, Flaw::NeverAppended { value: Value(7) });
}

#[test]
fn aborted_read_g1a() {
    let flaw = flaw(
        "T1 [0..5] append x 1 : aborted
         T2 [6..9] read x [1] : ok",
    );
    assert!(matches!(flaw, Flaw::Aborted { .. }), "{flaw}");
}

#[test]
fn aborted_read_by_an_unknown_transaction_that_committed() {
    let flaw = flaw(
        "T1 [0..5] append x 1 : aborted
         T2 [6..] read x [1] ; append y 2 : unknown
         T3 [7..9] read y [2] : ok",
    );
    assert!(matches!(flaw, Flaw::Aborted { .. }), "{flaw}");
}

#[test]
fn intermediate_read_g1b() {
    let flaw = flaw(
        "T1 [0..5] append x 1 ; append x 2 : ok
         T2 [1..6] read x [1] : ok",
    );
    assert!(matches!(flaw, Flaw::Intermediate { .. }), "{flaw}");
}

#[test]
fn intermediate_read_of_a_longer_list() {
    let flaw = flaw(
        "T1 [0..5] append x 1 ; append x 2 : ok
         T2 [1..6] append x 3 : ok
         T3 [1..6] read x [3 1] : ok
         T4 [7..9] read x [3 1 2] : ok",
    );
    assert!(matches!(flaw, Flaw::Intermediate { .. }), "{flaw}");
}

#[test]
fn append_done_twice() {
    let flaw = flaw(
        "T1 [0..5] append x 1 : ok
         T2 [6..9] read x [1 1] : ok",
    );
    assert!(matches!(flaw, Flaw::Duplicate { .. }), "{flaw}");
}

#[test]
fn append_done_twice_with_another_between() {
    let flaw = flaw(
        "T1 [0..5] append x 1 : ok
         T2 [0..5] append x 2 : ok
         T3 [6..7] read x [1 2] : ok
         T4 [8..9] read x [1 2 1] : ok",
    );
    assert!(matches!(flaw, Flaw::Duplicate { .. }), "{flaw}");
}

#[test]
fn appends_of_one_transaction_out_of_order() {
    let flaw = flaw(
        "T1 [0..5] append x 1 ; append x 2 : ok
         T2 [6..9] read x [2 1] : ok",
    );
    assert!(matches!(flaw, Flaw::OutOfOrder { .. }), "{flaw}");
}

#[test]
fn first_of_two_appends_lost() {
    let flaw = flaw(
        "T1 [0..5] append x 1 ; append x 2 : ok
         T2 [6..9] read x [2] : ok",
    );
    assert!(matches!(flaw, Flaw::OutOfOrder { .. }), "{flaw}");
}

#[test]
fn own_append_unseen() {
    let flaw = flaw("T1 [0..5] append x 1 ; read x [] : ok");
    assert!(matches!(flaw, Flaw::OwnUnseen { .. }), "{flaw}");
}

#[test]
fn own_append_not_last() {
    let flaw = flaw(
        "T1 [0..5] append x 1 ; read x [1 2] : ok
         T2 [0..5] append x 2 : ok",
    );
    assert!(matches!(flaw, Flaw::OwnUnseen { .. }), "{flaw}");
}

#[test]
fn own_append_seen_before_it_was_made() {
    let flaw = flaw("T1 [0..5] read x [1] ; append x 1 : ok");
    assert_eq!(flaw, Flaw::BeforeAppended { value: Value(1) });
}

#[test]
fn unrepeatable_read() {
    let flaw = flaw(
        "T1 [0..5] append x 1 : ok
         T2 [0..5] read x [] ; read x [1] : ok",
    );
    assert!(matches!(flaw, Flaw::Unrepeatable { .. }), "{flaw}");
}

#[test]
fn unrepeatable_read_across_an_own_append() {
    let flaw = flaw(
        "T1 [0..5] append x 1 : ok
         T2 [0..5] read x [] ; append x 2 ; read x [1 2] : ok",
    );
    assert!(matches!(flaw, Flaw::Unrepeatable { .. }), "{flaw}");
}

#[test]
fn incompatible_order() {
    let flaw = flaw(
        "T1 [0..5] append x 1 : ok
         T2 [0..5] append x 2 : ok
         T3 [6..9] read x [1 2] : ok
         T4 [6..9] read x [2 1] : ok",
    );
    assert!(matches!(flaw, Flaw::Incompatible { .. }), "{flaw}");
}

#[test]
fn fork_of_a_list() {
    let flaw = flaw(
        "T1 [0..5] append x 1 : ok
         T2 [0..5] append x 2 : ok
         T3 [6..9] read x [1] : ok
         T4 [6..9] read x [2] : ok",
    );
    assert!(matches!(flaw, Flaw::Incompatible { .. }), "{flaw}");
}

#[test]
fn g0_writes_of_two_keys_in_opposite_orders() {
    let found = cycle(
        "T1 [0..5] append x 1 ; append y 1 : ok
         T2 [0..5] append x 2 ; append y 2 : ok
         T3 [0..5] read x [1 2] : ok
         T4 [0..5] read y [2 1] : ok",
    );
    assert_eq!(found, (Class::G0, 2, false));
}

#[test]
fn g0_a_transaction_amid_the_appends_of_another() {
    let found = cycle(
        "T1 [0..5] append x 1 ; append x 3 : ok
         T2 [0..5] append x 2 : ok
         T3 [6..9] read x [1 2 3] : ok",
    );
    assert_eq!(found, (Class::G0, 2, false));
}

#[test]
fn g0_with_an_append_nobody_read() {
    // T1's append of 3 is after all that were read, so after T2.
    let found = cycle(
        "T1 [0..5] append x 1 ; append x 3 : ok
         T2 [0..5] append x 2 : ok
         T3 [6..9] read x [1 2] : ok",
    );
    assert_eq!(found, (Class::G0, 2, false));
}

#[test]
fn g0_realtime_write_order_against_the_clock() {
    let found = cycle(
        "T1 [0..2] append x 1 : ok
         T2 [3..5] append x 2 : ok
         T3 [6..9] read x [2 1] : ok",
    );
    assert_eq!(found, (Class::G0, 2, true));
}

#[test]
fn g0_realtime_unread_append_before_one_that_was_read() {
    let found = cycle(
        "T1 [0..2] append x 1 : ok
         T2 [3..9] append x 2 : ok
         T3 [1..9] read x [2] : ok",
    );
    assert_eq!(found, (Class::G0, 2, true));
}

#[test]
fn g1c_two_that_read_each_other() {
    let found = cycle(
        "T1 [0..5] append x 1 ; read y [2] : ok
         T2 [0..5] append y 2 ; read x [1] : ok",
    );
    assert_eq!(found, (Class::G1c, 2, false));
}

#[test]
fn g1c_by_a_write_and_a_read() {
    let found = cycle(
        "T1 [0..5] append x 1 ; read y [2] : ok
         T2 [0..5] append x 2 ; append y 2 : ok
         T3 [0..5] read x [1 2] : ok",
    );
    assert_eq!(found, (Class::G1c, 2, false));
}

#[test]
fn g1c_realtime_read_from_the_future() {
    let found = cycle(
        "T1 [0..2] read x [1] : ok
         T2 [3..5] append x 1 : ok",
    );
    assert_eq!(found, (Class::G1c, 2, true));
}

#[test]
fn g1c_realtime_read_from_the_future_of_an_unknown_writer() {
    let found = cycle(
        "T1 [0..2] read x [1] : ok
         T2 [3..] append x 1 : unknown",
    );
    assert_eq!(found, (Class::G1c, 2, true));
}

#[test]
fn g_single_read_skew() {
    let found = cycle(
        "T1 [0..5] append x 1 ; append y 1 : ok
         T2 [0..5] read x [1] ; read y [] : ok",
    );
    assert_eq!(found, (Class::GSingle, 2, false));
}

#[test]
fn g_single_lost_update_that_was_read() {
    let found = cycle(
        "T1 [0..5] read x [] ; append x 1 : ok
         T2 [0..5] read x [] ; append x 2 : ok
         T3 [6..9] read x [1 2] : ok",
    );
    assert_eq!(found, (Class::GSingle, 2, false));
}

#[test]
fn g_single_half_of_an_unknown_transaction() {
    let found = cycle(
        "T1 [0..] append x 1 ; append y 1 : unknown
         T2 [6..8] read x [1] ; read y [] : ok",
    );
    assert_eq!(found, (Class::GSingle, 2, false));
}

#[test]
fn g_single_realtime_stale_read() {
    let found = cycle(
        "T1 [0..2] append x 1 : ok
         T2 [3..5] read x [] : ok
         T3 [6..9] read x [1] : ok",
    );
    assert_eq!(found, (Class::GSingle, 2, true));
}

#[test]
fn g_single_realtime_committed_append_lost() {
    let found = cycle(
        "T1 [0..2] append x 1 : ok
         T2 [3..5] append x 2 : ok
         T3 [6..9] read x [1] : ok",
    );
    assert_eq!(found, (Class::GSingle, 2, true));
}

#[test]
fn g_single_realtime_read_then_unread() {
    // Once one has read it, nobody may miss it: not even if its writer is unknown.
    let found = cycle(
        "T1 [0..] append x 1 : unknown
         T2 [1..3] read x [1] : ok
         T3 [4..6] read x [] : ok",
    );
    assert_eq!(found, (Class::GSingle, 3, true));
}

#[test]
fn g2_write_skew() {
    let found = cycle(
        "T1 [0..5] read x [] ; append y 1 : ok
         T2 [0..5] read y [] ; append x 2 : ok",
    );
    assert_eq!(found, (Class::G2, 2, false));
}

#[test]
fn g2_two_updates_of_one_list_that_nobody_read() {
    let found = cycle(
        "T1 [0..5] read x [] ; append x 1 : ok
         T2 [0..5] read x [] ; append x 2 : ok",
    );
    assert_eq!(found, (Class::G2, 2, false));
}

#[test]
fn g2_long_fork() {
    let found = cycle(
        "T1 [0..5] append x 1 : ok
         T2 [0..5] append y 1 : ok
         T3 [0..5] read x [1] ; read y [] : ok
         T4 [0..5] read x [] ; read y [1] : ok",
    );
    assert_eq!(found, (Class::G2, 4, false));
}

#[test]
fn g2_realtime_miss_of_one_who_missed_what_was_over() {
    let found = cycle(
        "T1 [4..9] read x [] : ok
         T2 [0..9] read y [] ; append x 1 : ok
         T3 [0..3] append y 1 : ok",
    );
    assert_eq!(found, (Class::G2, 3, true));
}

#[test]
fn gravest_of_several_is_reported() {
    let found = cycle(
        "T1 [0..5] read a [] ; append b 1 : ok
         T2 [0..5] read b [] ; append a 1 : ok
         T3 [0..5] append x 1 ; append y 1 : ok
         T4 [0..5] append x 2 ; append y 2 : ok
         T5 [0..5] read x [1 2] ; read y [2 1] : ok",
    );
    assert_eq!(found, (Class::G0, 2, false));
}

#[test]
fn malformed_value_appended_twice() {
    let found = anomaly(
        "T1 [0..5] append x 1 : ok
         T2 [0..5] append x 1 : ok",
    );
    let Anomaly::Malformed(Malformed::AppendedTwice { value, .. }) = found else {
        panic!("want the value appended twice, got {found}");
    };
    assert_eq!(value, Value(1));
}

#[test]
fn malformed_value_appended_twice_by_one() {
    let found = anomaly("T1 [0..5] append x 1 ; append x 1 : ok");
    assert!(matches!(found, Anomaly::Malformed(_)), "{found}");
}

#[test]
fn malformed_answer_before_the_question() {
    let found = anomaly("T1 [5..4] read x [] : ok");
    assert!(
        matches!(
            found,
            Anomaly::Malformed(Malformed::AnsweredBeforeAsked { .. })
        ),
        "{found}"
    );
}

#[test]
fn what_fails_is_a_list_history_by_default() {
    let empty: History = History::new();
    let same: History<list::Operation> = History::default();
    assert_eq!(empty, same);
    assert!(empty.check_strict_serializability().is_ok());
}
