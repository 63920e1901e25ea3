//! A client that sends one transaction id twice gets what the design promises.

use nemcon_core::message::Outcome;
use nemcon_core::time::Span;

use crate::registers::Action;
use crate::world::{Order, Place, World};

fn transfer() -> Vec<(usize, Action, bool)> {
    vec![
        (0, Action::Add(1, -5), false),
        (1, Action::Add(1, 5), false),
    ]
}

fn settle(world: &mut World) {
    world.run_quietly(Span(2_000));
    world.check().expect("all invariants hold");
}

#[test]
fn in_flight_it_joins() {
    for operations in [transfer(), vec![(0, Action::Add(1, 5), false)]] {
        let mut world = World::new(1, 2);
        let order = world.run(0, operations);
        world.send(&order);
        settle(&mut world);
        let told = vec![(order.transaction, Outcome::Committed); 2];
        assert_eq!(world.answers, told);
        assert_eq!(world.value(0, 1).abs(), 5, "applied once");
    }
}

#[test]
fn after_the_end_it_gets_the_remembered_outcome() {
    let mut world = World::new(1, 2);
    let order = world.run(0, transfer());
    settle(&mut world);
    world.send(&order);
    settle(&mut world);
    assert_eq!(
        world.answers,
        vec![(order.transaction, Outcome::Committed); 2]
    );
    assert_eq!((world.value(0, 1), world.value(1, 1)), (-5, 5));
}

#[test]
fn after_a_restart_of_the_coordinator_it_gets_the_same_outcome() {
    let too_low = vec![
        (0, Action::Add(1, -500), false),
        (1, Action::Add(1, 500), false),
    ];
    let alone = vec![(1, Action::Add(1, 5), false)];
    for (operations, outcome) in [
        (transfer(), Outcome::Committed),
        (too_low, Outcome::Aborted),
        (alone, Outcome::Committed),
    ] {
        let mut world = World::new(1, 2);
        let order = world.run(0, operations);
        settle(&mut world);
        world.crash(Place::Coordinator(0), 0);
        world.start(Place::Coordinator(0));
        let before = (world.value(0, 1), world.value(1, 1));
        world.send(&order);
        settle(&mut world);
        assert_eq!(world.answers, vec![(order.transaction, outcome); 2]);
        assert_eq!(
            (world.value(0, 1), world.value(1, 1)),
            before,
            "applied once"
        );
    }
}

#[test]
fn with_other_operations_it_is_refused_before_and_after_a_restart() {
    for operations in [transfer(), vec![(1, Action::Add(1, 5), false)]] {
        let mut world = World::new(1, 2);
        let order = world.run(0, operations);
        let other = Order {
            operations: vec![(0, Action::Add(9, 1), false)],
            ..order.clone()
        };
        world.send(&other);
        settle(&mut world);
        world.send(&other);
        settle(&mut world);
        world.crash(Place::Coordinator(0), 0);
        world.start(Place::Coordinator(0));
        world.send(&other);
        settle(&mut world);
        let refused = (order.transaction, "TRANSACTION_ID_REUSED".to_owned());
        assert_eq!(world.refused, vec![refused; 3]);
        assert_eq!(world.value(0, 9), 0);
    }
}

#[test]
fn with_the_only_one_who_knows_away_the_outcome_is_unknown_not_aborted() {
    let mut world = World::new(1, 2);
    let order = world.run(0, vec![(1, Action::Add(1, 5), false)]);
    settle(&mut world);
    world.crash(Place::Participant(1), 0);
    world.crash(Place::Coordinator(0), 0);
    world.start(Place::Coordinator(0));
    world.run_quietly(Span(500));
    world.send(&order);
    settle(&mut world);
    assert_eq!(
        world.refused,
        vec![(order.transaction, "OUTCOME_UNKNOWN".to_owned())]
    );
    world.start(Place::Participant(1));
    world.run_quietly(Span(5_000));
    world.send(&order);
    settle(&mut world);
    assert_eq!(world.outcome(order.transaction), Some(Outcome::Committed));
    assert_eq!(world.value(1, 1), 5, "applied once");
}

#[test]
fn forgotten_ids_are_refused_for_ever() {
    let mut world = World::new(1, 2);
    let first = world.run(0, transfer());
    settle(&mut world);
    // The world's coordinators remember 50.
    for _ in 0..60 {
        world.run(0, transfer());
        world.run_quietly(Span(100));
    }
    for restart in [false, true] {
        if restart {
            world.crash(Place::Coordinator(0), 0);
            world.start(Place::Coordinator(0));
        }
        world.refused.clear();
        world.send(&first);
        settle(&mut world);
        assert_eq!(
            world.refused,
            vec![(first.transaction, "OUTCOME_FORGOTTEN".to_owned())]
        );
    }
}

#[test]
fn a_deadline_while_the_only_participant_decides_is_unknown() {
    let mut world = World::new(1, 2);
    let order = world.run(0, vec![(0, Action::Add(1, 5), false)]);
    while world.in_flight() > 0 {
        world.lose(0);
    }
    world.crash(Place::Participant(0), 0);
    world.run_quietly(Span(11_000));
    assert_eq!(
        world.refused,
        vec![(order.transaction, "OUTCOME_UNKNOWN".to_owned())]
    );
    world.start(Place::Participant(0));
    world.run_quietly(Span(10_000));
    world.send(&order);
    settle(&mut world);
    assert_eq!(
        world.outcome(order.transaction),
        Some(Outcome::Aborted),
        "its time is up"
    );
    assert_eq!(world.value(0, 1), 0);
}
