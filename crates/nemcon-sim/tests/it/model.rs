//! Every schedule within a bound.
//!
//! Each scenario is explored with one thread, so that the number of its states is
//! the same each time; the tests run beside each other.

use nemcon_core::planted::Planted;
use nemcon_sim::model::two_phase::TwoPhase;
use nemcon_sim::model::{self, Scenario};
use stateright::{Checker, Model};

/// Scenarios with their states and steps, as the documentation has them.
fn documented() -> Vec<(&'static str, usize, usize)> {
    let docs = include_str!("../../src/model/mod.rs").lines();
    let cells = |line: &'static str| {
        let line = line.strip_prefix("//! | `")?;
        let mut cells = line.split('|').map(|it| it.trim_matches([' ', '`']));
        let name = cells.next()?;
        let mut number = || cells.next()?.replace(',', "").parse().ok();
        Some((name, number()?, number()?))
    };
    docs.filter_map(cells).collect()
}

fn explores(name: &str) {
    let scenario = Scenario::named(name).expect("a scenario of that name");
    let report = model::check(scenario, Planted::none(), 1);
    let failures: Vec<_> = report.failures().collect();
    assert!(failures.is_empty(), "{failures:#?}");
    let documented = documented().into_iter().find(|(it, ..)| *it == name);
    let found = (report.scenario, report.unique_states, report.steps);
    assert_eq!(Some(found), documented, "as in src/model/mod.rs");
}

macro_rules! scenarios {
    ($($test:ident = $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            explores($name);
        })*

        #[test]
        fn every_scenario_is_explored() {
            let all: Vec<&str> = Scenario::all().iter().map(|it| it.name).collect();
            assert_eq!(all, [$($name),*]);
            let documented: Vec<&str> = documented().into_iter().map(|it| it.0).collect();
            assert_eq!(all, documented);
        }
    };
}

scenarios! {
    peers = "peers",
    refusing_peers = "refusing-peers",
    reused_alone = "reused-alone",
    forgotten = "forgotten",
    reused_id = "reused-id",
    late_duplicates = "late-duplicates",
    interactive = "interactive",
    interactive_reads = "interactive-reads",
    one_phase = "one-phase",
    reads = "reads",
    by_hand = "by-hand",
    two_crashes = "two-crashes",
    three_participants = "three-participants",
    two_coordinators = "two-coordinators",
    repeats = "repeats",
    read_while_written = "read-while-written",
}

#[test]
fn textbook_two_phase_commit_has_288_states_with_three_managers() {
    let checker = TwoPhase { managers: 3 }.checker().spawn_bfs().join();
    checker.assert_properties();
    assert_eq!(checker.unique_state_count(), 288);
}
