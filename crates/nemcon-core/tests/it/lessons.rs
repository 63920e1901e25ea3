//! Stories that once went wrong, each found by reading the code against the
//! design, and proven by the test before it was mended.

use nemcon_core::message::Outcome;
use nemcon_core::time::Span;

use crate::registers::Action;
use crate::world::{Place, World};

fn nothing() -> Vec<(usize, Action, bool)> {
    vec![(0, Action::Add(2, 0), false), (1, Action::Add(2, 0), false)]
}

#[test]
fn what_is_forgotten_during_a_checkpoint_stays_forgotten_at_the_coordinator() {
    let mut world = World::new(1, 2);
    let first = world.run(
        0,
        vec![
            (0, Action::Add(1, -5), false),
            (1, Action::Add(1, 5), false),
        ],
    );
    world.run_quietly(Span(100));
    for _ in 0..49 {
        world.run(0, nothing());
        world.run_quietly(Span(100));
    }
    world.checkpoint(Place::Coordinator(0), 1); // bounds, watermark: nothing forgotten
    world.run(0, nothing()); // the 51st: `first` is forgotten
    world.run_quietly(Span(100));
    world.checkpoint(Place::Coordinator(0), 1_000);
    world.checkpoint(Place::Coordinator(0), 1_000); // closed
    world.crash(Place::Coordinator(0), 0);
    world.start(Place::Coordinator(0));
    world.run_quietly(Span(100));
    world.send(&first);
    world.run_quietly(Span(2_000));
    assert_eq!(
        world.value(0, 1),
        -5,
        "applied once; refused: {:?}",
        world.refused
    );
}

#[test]
fn what_is_forgotten_during_a_checkpoint_stays_forgotten_at_the_participant() {
    let mut world = World::new(1, 2);
    let first = world.run(0, vec![(1, Action::Add(1, 5), false)]);
    world.run_quietly(Span(100));
    for _ in 0..49 {
        world.run(0, vec![(1, Action::Add(2, 0), false)]);
        world.run_quietly(Span(100));
    }
    world.checkpoint(Place::Participant(1), 1);
    world.run(0, vec![(1, Action::Add(2, 0), false)]);
    world.run_quietly(Span(100));
    world.checkpoint(Place::Participant(1), 1_000);
    world.checkpoint(Place::Participant(1), 1_000);
    world.crash(Place::Participant(1), 0);
    world.start(Place::Participant(1));
    world.crash(Place::Coordinator(0), 0);
    world.start(Place::Coordinator(0));
    world.run_quietly(Span(100));
    world.send(&first);
    world.run_quietly(Span(2_000));
    assert_eq!(
        world.value(1, 1),
        5,
        "applied once; refused: {:?}",
        world.refused
    );
}

/// `early`: the late duplicate is the reader's Execute, else its Prepare.
fn reader(early: bool) {
    let mut world = World::new(1, 2);
    let transaction = world.begin(0);
    world.execute(
        0,
        transaction,
        1,
        &[(0, Action::Add(1, -5), false), (1, Action::Read(1), true)],
    );
    if early {
        world.double(1); // [x0 x1 x1']
        world.deliver(0); // [x1 x1' a0]
        world.deliver(0); // [x1' a0 a1]
        world.deliver(1);
        world.deliver(1); // [x1']
        world.commit(0, transaction); // [x1' p0 p1]
        world.deliver(1); // [x1' p1]
        world.deliver(1); // [x1' v1]
    } else {
        world.run_quietly(Span(100));
        world.commit(0, transaction); // [p0 p1]
        world.double(1); // [p0 p1 p1']
        world.deliver(0);
        world.deliver(0); // [p1' v1]
    }
    world.flush(Place::Participant(0)); // [late v1 v0]
    world.deliver(1);
    world.deliver(1); // the reader voted read-only, the writer yes: decided
    world.flush(Place::Coordinator(0));
    assert_eq!(world.outcome(transaction), Some(Outcome::Committed));
    world.lose(1); // the commit to the writer
    assert_eq!(world.in_flight(), 1);
    world.crash(Place::Participant(1), 0);
    world.crash(Place::Coordinator(0), 0);
    world.start(Place::Participant(1));
    world.deliver(0); // the late duplicate, at a reader that has forgotten its vote
    world.run_quietly(Span(9_000)); // the writer asks the coordinator in vain, then the peer
    world.start(Place::Coordinator(0));
    world.run_quietly(Span(5_000));
    world.check().expect("all invariants hold");
    assert_eq!(world.value(0, 1), -5, "the client was told: committed");
}

#[test]
fn a_reader_that_has_forgotten_its_vote_says_nothing_after_a_late_prepare() {
    reader(false);
}

#[test]
fn a_reader_that_has_forgotten_its_vote_says_nothing_after_late_work() {
    reader(true);
}

#[test]
fn who_asks_again_after_the_deadline_of_a_lone_decision_is_answered() {
    let mut world = World::new(1, 2);
    let order = world.run(0, vec![(0, Action::Add(1, 5), false)]);
    while world.in_flight() > 0 {
        world.lose(0);
    }
    world.crash(Place::Participant(0), 0);
    world.run_quietly(Span(11_000));
    assert_eq!(world.refused.len(), 1);
    world.send(&order);
    world.run_quietly(Span(600_000));
    assert_eq!(
        world.refused.len(),
        2,
        "the second request is never answered"
    );
}

#[test]
fn restarts_do_not_push_the_horizon_ahead() {
    let mut world = World::new(1, 2);
    for _ in 0..30 {
        world.crash(Place::Coordinator(0), 0);
        world.start(Place::Coordinator(0));
        world.run_quietly(Span(100));
    }
    world.crash(Place::Participant(1), 0);
    world.run_quietly(Span(60_000)); // a minute later
    let order = world.run(0, vec![(0, Action::Add(1, 5), false)]);
    world.run_quietly(Span(2_000));
    assert_eq!(
        world.outcome(order.transaction),
        Some(Outcome::Committed),
        "{:?}",
        world.refused
    );
}
