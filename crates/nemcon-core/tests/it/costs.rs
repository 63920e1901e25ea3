//! The table of section 4 of the design, row by row: how often a disk is waited
//! for, and how many messages pass.

use nemcon_core::message::Outcome;
use nemcon_core::saga::{Compensation, Definition, Retry, State, Step, StepName};
use nemcon_core::time::Span;

use crate::registers::Action;
use crate::world::{Cost, World, saga_operation};

/// Runs `story` in a quiet world and counts what it alone costs.
fn cost_of(participants: usize, story: impl FnOnce(&mut World)) -> (World, Cost) {
    let mut world = World::new(1, participants);
    let before = world.cost();
    story(&mut world);
    world.run_quietly(Span(500));
    let after = world.cost();
    let cost = Cost {
        coordinator_forced: after.coordinator_forced - before.coordinator_forced,
        participants_forced: after.participants_forced - before.participants_forced,
        messages: after.messages - before.messages,
    };
    world.check().expect("all invariants hold");
    (world, cost)
}

fn one_shot(operations: Vec<(usize, Action, bool)>, outcome: Outcome) -> Cost {
    let participants = 2;
    let mut transaction = None;
    let (world, cost) = cost_of(participants, |world| {
        transaction = Some(world.run(0, operations).transaction);
    });
    assert_eq!(world.outcome(transaction.expect("it ran")), Some(outcome));
    cost
}

#[test]
fn a_commit_costs_a_decision_and_a_prepared_record_each() {
    let operations = vec![
        (0, Action::Add(1, -5), false),
        (1, Action::Add(1, 5), false),
    ];
    let cost = one_shot(operations, Outcome::Committed);
    // Prepare, vote, commit, acknowledgement at each of two.
    let want = Cost {
        coordinator_forced: 1,
        participants_forced: 2,
        messages: 8,
    };
    assert_eq!(cost, want);
}

#[test]
fn a_one_shot_reader_among_writers_prepares_like_them() {
    let operations = vec![(0, Action::Add(1, -5), false), (1, Action::Read(1), true)];
    let cost = one_shot(operations, Outcome::Committed);
    let want = Cost {
        coordinator_forced: 1,
        participants_forced: 2,
        messages: 8,
    };
    assert_eq!(cost, want);
}

#[test]
fn readers_only_force_nothing() {
    let operations = vec![(0, Action::Read(1), true), (1, Action::Read(1), true)];
    let cost = one_shot(operations, Outcome::Committed);
    // Prepare, vote, release, released at each of two.
    let want = Cost {
        coordinator_forced: 0,
        participants_forced: 0,
        messages: 8,
    };
    assert_eq!(cost, want);
}

#[test]
fn one_participant_forces_its_own_decision_and_the_coordinator_nothing() {
    let operations = vec![
        (0, Action::Add(1, 5), false),
        (0, Action::Add(2, -5), false),
    ];
    let cost = one_shot(operations, Outcome::Committed);
    let want = Cost {
        coordinator_forced: 0,
        participants_forced: 1,
        messages: 2,
    };
    assert_eq!(cost, want);
    let too_low = vec![(0, Action::Add(1, -500), false)];
    assert_eq!(
        one_shot(too_low, Outcome::Aborted),
        want,
        "an abort is a decision too"
    );
}

#[test]
fn one_participant_that_only_reads_forces_nothing() {
    let cost = one_shot(vec![(0, Action::Read(1), true)], Outcome::Committed);
    let want = Cost {
        coordinator_forced: 0,
        participants_forced: 0,
        messages: 2,
    };
    assert_eq!(cost, want);
}

#[test]
fn an_abort_costs_the_record_the_client_waits_for() {
    let operations = vec![
        (0, Action::Add(1, -500), false),
        (1, Action::Read(1), false),
    ];
    let cost = one_shot(operations, Outcome::Aborted);
    assert_eq!(cost.coordinator_forced, 1);
    // The other participant had prepared by then; the one that voted no forces
    // nothing. Prepare and vote at both; abort, and the answer that a call has
    // anyway, at the one.
    assert!(cost.participants_forced <= 1, "{cost:?}");
    assert!(cost.messages <= 6, "{cost:?}");
}

#[test]
fn an_interactive_reader_costs_two_messages_and_no_flush() {
    let mut transaction = None;
    let mut before = None;
    let (world, _) = cost_of(3, |world| {
        let id = world.begin(0);
        let work = [
            (0, Action::Read(1), true),
            (1, Action::Add(1, -5), false),
            (2, Action::Add(1, 5), false),
        ];
        world.execute(0, id, 1, &work);
        world.run_quietly(Span(50));
        before = Some(world.cost());
        world.commit(0, id);
        transaction = Some(id);
    });
    assert_eq!(
        world.outcome(transaction.expect("it ran")),
        Some(Outcome::Committed)
    );
    let (before, after) = (before.expect("it executed"), world.cost());
    // The reader: prepare, vote. The writers: as for a commit.
    assert_eq!(after.messages - before.messages, 2 + 8);
    assert_eq!(after.participants_forced - before.participants_forced, 2);
    assert_eq!(after.coordinator_forced - before.coordinator_forced, 1);
}

/// The job of `nemcon bench trip`: two accounts give what a third gets.
const TRIP: [(usize, i64); 3] = [(0, -5), (1, -7), (2, 12)];

#[test]
fn a_saga_of_three_steps_forces_each_decision_with_the_next_beginning() {
    let mut saga = None;
    let (world, cost) = cost_of(3, |world| {
        let definition = Definition {
            steps: steps_of(&TRIP),
            ..Definition::default()
        };
        saga = Some(world.run_saga(0, definition));
    });
    let state = world.saga_state(saga.expect("it ran"));
    assert_eq!(state, Some(State::Completed));
    let want = Cost {
        // That it begins, with the first try; two decisions, each with the next try;
        // the last one, with the end.
        coordinator_forced: 4,
        participants_forced: 3,
        // Prepare, vote, commit, acknowledgement in each of three steps.
        messages: 12,
    };
    assert_eq!(cost, want);
}

#[test]
fn the_same_as_one_transaction_forces_one_decision() {
    let mut transaction = None;
    let (world, cost) = cost_of(3, |world| {
        let write = |(at, amount)| (at, Action::Add(1, amount), false);
        transaction = Some(world.run(0, TRIP.map(write).to_vec()).transaction);
    });
    let outcome = world.outcome(transaction.expect("it ran"));
    assert_eq!(outcome, Some(Outcome::Committed));
    let want = Cost {
        coordinator_forced: 1,
        participants_forced: 3,
        messages: 12,
    };
    assert_eq!(cost, want);
}

#[test]
fn a_saga_that_goes_back_costs_its_compensations_as_well() {
    let mut saga = None;
    let (world, cost) = cost_of(3, |world| {
        let mut trip = TRIP;
        trip[2].1 = -500;
        let definition = Definition {
            steps: steps_of(&trip),
            ..Definition::default()
        };
        saga = Some(world.run_saga(0, definition));
    });
    let state = world.saga_state(saga.expect("it ran"));
    assert_eq!(state, Some(State::Compensated));
    let want = Cost {
        // Three tries forward and two back, and the end.
        coordinator_forced: 6,
        // The one that says no promises nothing.
        participants_forced: 4,
        // Prepare and no at that one.
        messages: 4 * 4 + 2,
    };
    assert_eq!(cost, want);
}

/// One step for each, one after the other.
fn steps_of(amounts: &[(usize, i64)]) -> Vec<Step> {
    let name = |at: usize| StepName::new(format!("step-{at}")).expect("a name");
    let step = |(number, (at, amount)): (usize, &(usize, i64))| {
        let operation = |amount| saga_operation((*at, Action::Add(1, amount), false));
        Step {
            name: name(number),
            depends_on: number.checked_sub(1).map(name).into_iter().collect(),
            operations: vec![operation(*amount)],
            compensation: Some(Compensation {
                operations: vec![operation(-amount)],
                retry: Retry::COMPENSATION,
            }),
            retry: Retry::STEP,
            time_limit: None,
            pivot: false,
        }
    };
    amounts.iter().enumerate().map(step).collect()
}
