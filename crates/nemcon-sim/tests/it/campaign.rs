//! A short campaign; `scripts/sim-check.sh` runs a longer one.

use nemcon_core::planted::Planted;
use nemcon_sim::campaign::{Campaign, Result};
use nemcon_sim::coverage::unlisted;
use nemcon_sim::plan::{FAULTS_MIN, Kind, ORDERS_MIN, Wishes};
use nemcon_sim::rows::ROWS;

fn run(first: u64, end: u64, wishes: Wishes) -> Result {
    let campaign = Campaign {
        first,
        end,
        wishes,
        planted: Planted::none(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        time_limit: None,
        failures_max: 1,
    };
    campaign.run(|_| {})
}

#[test]
fn everything_holds_whatever_goes_wrong() {
    let result = run(0, 2_000, Wishes::default());
    assert_eq!(result.failures, [], "nemcon-sim replay --seed N tells more");
    assert_eq!(result.seeds, 2_000);
    assert!(result.orders >= result.seeds * ORDERS_MIN);
    assert!(result.faults >= result.seeds * FAULTS_MIN);
    assert_eq!(
        unlisted(&result.coverage),
        [],
        "transitions that are in no table"
    );
}

#[test]
fn the_world_does_what_it_is_for() {
    let coverage = run(0, 500, Wishes::default()).coverage;
    let hit = coverage.rows.len();
    assert!(hit * 2 > ROWS.len(), "{hit} of {} rows", ROWS.len());
    for outcome in [
        "committed",
        "aborted",
        "stopped in order",
        "one lock by name",
        "several locks by name",
        "stream opened",
        "no stream to be had",
        "frame of one message",
        "frame of several messages",
        "called one by one for want of a stream",
        "call on a stream timed out",
        "answer too late",
        "answer without its stream",
        "window full",
        "reader without room",
    ] {
        assert!(coverage.outcomes.contains_key(outcome), "{outcome}");
    }
    for fault in [
        "crash",
        "crash at a record",
        "crash at a message",
        "blackout",
        "orderly stop",
        "pause",
        "cut one way",
        "cut both ways",
        "isolate",
        "storm",
        "slow disk",
        "failing disk",
        "full disk",
        "clock jump",
        "late participant",
        "participant removed",
        "abort asked for",
        "outcome asked for",
        "id used again",
        "resolved by hand",
        "damage acknowledged",
        "message lost",
        "message doubled",
        "connections broken",
        "connection broke",
        "connection broke with messages in flight",
        "frame sent again",
    ] {
        assert!(coverage.faults.contains_key(fault), "{fault}");
    }
    for reason in [
        "LOCK_TIMEOUT",
        "DEADLINE_EXCEEDED",
        "OUTCOME_FORGOTTEN",
        "DISK_FULL",
        "WORK_LOST",
    ] {
        assert!(coverage.reasons.contains_key(reason), "{reason}");
    }
}

#[test]
fn without_faults_all_is_well() {
    let wishes = Wishes {
        faults: Vec::new(),
        ..Wishes::default()
    };
    let result = run(0, 300, wishes);
    assert_eq!(result.failures, []);
    assert_eq!(result.faults, 0);
    for fault in [
        "message lost",
        "message doubled",
        "connection broke",
        "connection broke with messages in flight",
        "frame sent again",
    ] {
        assert_eq!(result.coverage.faults.get(fault), None, "{fault}");
    }
}

#[test]
fn a_crowd_finds_its_way() {
    let wishes = Wishes {
        faults: Vec::new(),
        participants: Some(2),
        coordinators: Some(2),
        crowded: true,
    };
    let result = run(0, 30, wishes);
    assert_eq!(result.failures, []);
    assert!(result.coverage.reasons.contains_key("DEADLOCK"));
    assert!(result.coverage.outcomes.contains_key("committed"));
}

#[test]
fn each_kind_of_fault_can_come_alone() {
    for kind in Kind::ALL {
        let wishes = Wishes {
            faults: vec![kind],
            ..Wishes::default()
        };
        let result = run(0, 100, wishes);
        assert_eq!(result.failures, [], "{kind:?}");
        assert!(result.faults >= 100 * FAULTS_MIN);
    }
}
