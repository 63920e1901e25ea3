//! Attempts in doubt: who is asked, who knows, and the operator's way out.

use nemcon_core::id::AttemptId;
use nemcon_core::message::Outcome;
use nemcon_core::participant::view::Standing;
use nemcon_core::time::Span;

use crate::registers::Action;
use crate::world::{Place, World};

/// A transfer between two participants whose votes are in and whose decision is
/// durable, with every message after that still on its way.
fn decided() -> World {
    let mut world = World::new(1, 2);
    world.run(
        0,
        vec![
            (0, Action::Add(1, -5), false),
            (1, Action::Add(1, 5), false),
        ],
    );
    for _ in 0..2 {
        world.deliver(0);
    }
    world.flush(Place::Participant(0));
    world.flush(Place::Participant(1));
    while world.in_flight() > 0 {
        world.deliver(0);
    }
    world.flush(Place::Coordinator(0));
    world
}

fn prepared(world: &World, participant: usize) -> Vec<AttemptId> {
    let machine = world.participants[participant]
        .machine
        .as_ref()
        .expect("it is up");
    let prepared = machine
        .attempts()
        .filter(|view| view.standing == Standing::Prepared);
    prepared.map(|view| view.attempt).collect()
}

#[test]
fn a_participant_that_dies_after_its_vote_asks_and_never_guesses() {
    let mut world = decided();
    world.crash(Place::Participant(1), 0);
    while world.in_flight() > 0 {
        world.lose(0);
    }
    world.start(Place::Participant(1));
    assert_eq!(prepared(&world, 1).len(), 1, "the promise survived");
    world.run_quietly(Span(3_000));
    assert_eq!((world.value(0, 1), world.value(1, 1)), (-5, 5));
    world.check().expect("all invariants hold");
}

#[test]
fn a_peer_that_knows_tells_when_the_coordinator_is_gone() {
    let mut world = decided();
    // Only the first participant hears of the commit.
    world.deliver(0);
    while world.in_flight() > 0 {
        world.lose(0);
    }
    world.crash(Place::Coordinator(0), 0);
    world.run_quietly(Span(5_000));
    assert_eq!((world.value(0, 1), world.value(1, 1)), (-5, 5));
    world.check().expect("all invariants hold");
}

#[test]
fn a_peer_that_has_not_voted_refuses_for_good() {
    let mut world = World::new(1, 2);
    let order = world.run(
        0,
        vec![
            (0, Action::Add(1, -5), false),
            (1, Action::Add(1, 5), false),
        ],
    );
    // The first prepares; the second has declined, having been asked too late.
    world.deliver(0);
    world.flush(Place::Participant(0));
    world.crash(Place::Coordinator(0), 0);
    while world.in_flight() > 0 {
        world.lose(0);
    }
    world.run_quietly(Span(5_000));
    assert_eq!(
        prepared(&world, 0).len(),
        1,
        "a peer without a trace proves nothing"
    );
    world.start(Place::Coordinator(0));
    world.run_quietly(Span(5_000));
    assert_eq!(
        prepared(&world, 0).len(),
        0,
        "the coordinator is back and knows"
    );
    world.send(&order);
    world.run_quietly(Span(5_000));
    assert_eq!(
        world.outcome(order.transaction),
        Some(Outcome::Committed),
        "run afresh"
    );
    world.check().expect("all invariants hold");
}

#[test]
fn a_decision_by_hand_that_differs_is_damage_on_both_sides() {
    let mut world = decided();
    while world.in_flight() > 0 {
        world.lose(0);
    }
    let attempt = prepared(&world, 1)[0];
    world.resolve(1, attempt, Outcome::Aborted);
    world.run_quietly(Span(10_000));
    let of = |side: &str| {
        world
            .alarms
            .iter()
            .filter(|alarm| alarm.contains(side))
            .count()
    };
    assert_eq!(
        of("HeuristicDamage"),
        2,
        "once at the participant, once at the coordinator"
    );
    assert_eq!(
        (world.value(0, 1), world.value(1, 1)),
        (-5, 0),
        "as was done by hand"
    );
}

#[test]
fn a_decision_by_hand_that_agrees_is_no_damage() {
    let mut world = decided();
    while world.in_flight() > 0 {
        world.lose(0);
    }
    let attempt = prepared(&world, 1)[0];
    world.resolve(1, attempt, Outcome::Committed);
    world.run_quietly(Span(10_000));
    assert_eq!(world.alarms, Vec::<String>::new());
    assert_eq!((world.value(0, 1), world.value(1, 1)), (-5, 5));
    world.checkpoint(Place::Participant(1), 100);
    world.checkpoint(Place::Participant(1), 100);
    world.crash(Place::Participant(1), 0);
    world.start(Place::Participant(1));
    assert_eq!(world.value(1, 1), 5, "applied once");
}

#[test]
fn what_was_resolved_by_hand_survives_a_checkpoint_and_a_restart() {
    let mut world = decided();
    world.crash(Place::Coordinator(0), 0);
    while world.in_flight() > 0 {
        world.lose(0);
    }
    let attempt = prepared(&world, 1)[0];
    world.resolve(1, attempt, Outcome::Committed);
    world.run_quietly(Span(100));
    for _ in 0..4 {
        world.checkpoint(Place::Participant(1), 2);
    }
    world.crash(Place::Participant(1), 0);
    world.start(Place::Participant(1));
    assert_eq!(world.value(1, 1), 5, "applied once");
    world.start(Place::Coordinator(0));
    world.run_quietly(Span(10_000));
    assert_eq!((world.value(0, 1), world.value(1, 1)), (-5, 5));
    assert_eq!(world.alarms, Vec::<String>::new());
}

#[test]
fn a_newcomer_at_an_old_address_answers_for_nobody() {
    let mut world = decided();
    while world.in_flight() > 0 {
        world.lose(0);
    }
    // Participant 0 takes over the address under which 1 is known.
    world.crash(Place::Participant(1), 0);
    world.redirect(1, 0);
    world.run_quietly(Span(20_000));
    let committing = || {
        let coordinator = world.coordinators[0].machine.as_ref();
        coordinator.map_or(0, |machine| machine.unfinished(&crate::world::name(1)))
    };
    assert_eq!(committing(), 1, "nobody has acknowledged in its place");
    assert_eq!(world.alarms, Vec::<String>::new());
    world.redirect(1, 1);
    world.start(Place::Participant(1));
    world.run_quietly(Span(20_000));
    assert_eq!((world.value(0, 1), world.value(1, 1)), (-5, 5));
    world.check().expect("all invariants hold");
}

#[test]
fn damage_that_somebody_has_seen_to_does_not_come_back() {
    let mut world = decided();
    while world.in_flight() > 0 {
        world.lose(0);
    }
    let attempt = prepared(&world, 1)[0];
    world.resolve(1, attempt, Outcome::Aborted);
    world.run_quietly(Span(10_000));
    world.acknowledge_damage(1, attempt);
    world.run_quietly(Span(1_000));
    for _ in 0..3 {
        world.checkpoint(Place::Coordinator(0), 100);
        world.checkpoint(Place::Participant(1), 100);
    }
    for place in [Place::Coordinator(0), Place::Participant(1)] {
        world.crash(place, 0);
        world.start(place);
        world.run_quietly(Span(10_000));
    }
    let of = |side: &str| {
        world
            .alarms
            .iter()
            .filter(|alarm| alarm.contains(side))
            .count()
    };
    assert_eq!(
        of("HeuristicDamage"),
        2,
        "once on each side, and no more after restarts"
    );
}
