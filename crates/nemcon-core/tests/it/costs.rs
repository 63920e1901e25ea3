//! The table of section 4 of the design, row by row: how often a disk is waited
//! for, and how many messages pass.

use nemcon_core::message::Outcome;
use nemcon_core::time::Span;

use crate::registers::Action;
use crate::world::{Cost, World};

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
