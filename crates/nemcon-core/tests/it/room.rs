//! A node whose disk is nearly full begins nothing new that would write, and ends
//! what it has begun.

use nemcon_core::machine::{Room, Wake};
use nemcon_core::message::Outcome;
use nemcon_core::time::Span;

use crate::registers::Action;
use crate::world::{Place, World};

const SHORT: Room = Room::Short {
    free: 10 << 20,
    wanted: 72 << 20,
};

fn transfer() -> Vec<(usize, Action, bool)> {
    vec![
        (0, Action::Add(1, -5), false),
        (1, Action::Add(1, 5), false),
    ]
}

fn set_room(world: &mut World, place: Place, room: Room) {
    let (now, wake) = (world.now, Wake::Room(room));
    let effects = match place {
        Place::Coordinator(at) => world.coordinators[at].step(now, wake.into()).len(),
        Place::Participant(at) => world.participants[at].step(now, wake.into()).len(),
    };
    assert_eq!(effects, 0, "it asks for nothing");
}

fn settle(world: &mut World) {
    world.run_quietly(Span(2_000));
    world.check().expect("all invariants hold");
}

#[test]
fn a_coordinator_refuses_and_nothing_was_done() {
    let mut world = World::new(1, 2);
    let running = world.run(0, transfer());
    set_room(&mut world, Place::Coordinator(0), SHORT);
    let refused = world.run(0, transfer());
    let read = world.run(
        0,
        vec![(0, Action::Read(1), true), (1, Action::Read(1), true)],
    );
    settle(&mut world);
    assert_eq!(world.outcome(running.transaction), Some(Outcome::Committed));
    assert_eq!(world.outcome(refused.transaction), None);
    assert_eq!(
        world.refused,
        [(refused.transaction, "DISK_FULL".to_owned())]
    );
    assert_eq!(world.results.get(&read.transaction), Some(&vec![-5, 5]));

    // The same request runs once there is room: it was never begun.
    set_room(&mut world, Place::Coordinator(0), Room::Enough);
    world.send(&refused);
    settle(&mut world);
    assert_eq!(world.outcome(refused.transaction), Some(Outcome::Committed));
    assert_eq!((world.value(0, 1), world.value(1, 1)), (-10, 10));
}

#[test]
fn a_participant_votes_no_and_keeps_its_promises() {
    let mut world = World::new(1, 2);
    let prepared = world.run(0, transfer());
    world.deliver(0);
    world.flush(Place::Participant(0));
    set_room(&mut world, Place::Participant(0), SHORT);
    let late = world.run(0, transfer());
    let alone = world.run(0, vec![(0, Action::Add(2, 5), false)]);
    let read = world.run(0, vec![(0, Action::Read(2), true)]);
    settle(&mut world);
    assert_eq!(
        world.outcome(prepared.transaction),
        Some(Outcome::Committed)
    );
    for refused in [late, alone] {
        assert_eq!(world.outcome(refused.transaction), Some(Outcome::Aborted));
    }
    assert_eq!(world.results.get(&read.transaction), Some(&vec![0]));
    assert_eq!((world.value(0, 1), world.value(1, 1)), (-5, 5));
}

#[test]
fn an_interactive_transaction_is_not_begun() {
    let mut world = World::new(1, 1);
    set_room(&mut world, Place::Coordinator(0), SHORT);
    let transaction = world.begin(0);
    settle(&mut world);
    let (refused, why) = world.refused.first().expect("it is refused");
    assert_eq!(*refused, transaction);
    assert!(why.starts_with("DISK_FULL"), "{why}");
}
