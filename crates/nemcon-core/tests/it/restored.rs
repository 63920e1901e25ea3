//! A node that was restored from a backup has forgotten what its lost life did. It
//! says nothing that could be wrong because of that.

use nemcon_core::coordinator::event::{Effect, Event, Reply};
use nemcon_core::coordinator::record::Record as CoordinatorRecord;
use nemcon_core::id::{AttemptId, Boot, CoordinatorId, Epoch, ParticipantId, RequestId};
use nemcon_core::limits::ID_AHEAD_MAX;
use nemcon_core::message::{Outcome, Verdict};
use nemcon_core::participant::event::Event as ParticipantEvent;
use nemcon_core::participant::record::Record as ParticipantRecord;
use nemcon_core::participant::view::Standing;
use nemcon_core::reason::Reason;
use nemcon_core::time::Span;
use uuid::Uuid;

use crate::registers::Action;
use crate::world::{Order, Place, World, name};

const C: Place = Place::Coordinator(0);
const P0: Place = Place::Participant(0);
const P1: Place = Place::Participant(1);

fn payment(world: &mut World, register: u8) -> Order {
    let operations = vec![
        (0, Action::Add(register, -5), false),
        (1, Action::Add(register, 5), false),
    ];
    world.run(0, operations)
}

fn pay(world: &mut World) -> Order {
    let order = payment(world, 1);
    world.run_quietly(Span(2_000));
    assert_eq!(world.outcome(order.transaction), Some(Outcome::Committed));
    order
}

/// Both have voted, and the decision is durable; every message after that is still
/// on its way.
fn decide(world: &mut World) -> Order {
    let order = payment(world, 1);
    for _ in 0..2 {
        world.deliver(0);
    }
    world.flush(P0);
    world.flush(P1);
    while world.in_flight() > 0 {
        world.deliver(0);
    }
    world.flush(C);
    assert_eq!(world.outcome(order.transaction), Some(Outcome::Committed));
    order
}

fn lose_all(world: &mut World) {
    while world.in_flight() > 0 {
        world.lose(0);
    }
}

fn of_coordinator(world: &World, id: u64) -> CoordinatorRecord {
    CoordinatorRecord::Restored {
        id,
        at: world.now,
        lost_at: world.now,
        epoch: Epoch(world.now.0),
        before: None,
    }
}

fn of_participant(world: &World, id: u64) -> ParticipantRecord {
    ParticipantRecord::Restored {
        id,
        at: world.now,
        lost_at: world.now,
        boot: Boot(world.now.0),
    }
}

fn prepared(world: &World, participant: usize) -> Vec<AttemptId> {
    let machine = world.participants[participant].machine.as_ref();
    let attempts = machine.expect("it is up").attempts();
    let prepared = attempts.filter(|view| view.standing == Standing::Prepared);
    prepared.map(|view| view.attempt).collect()
}

fn was_refused(world: &World, order: &Order, reason: Reason) -> bool {
    let of_it =
        |(id, why): &&(_, String)| *id == order.transaction && why.contains(reason.as_str());
    world.refused.iter().any(|refused| of_it(&refused))
}

#[test]
fn what_it_may_have_decided_is_not_called_aborted() {
    for restarts in 0..3 {
        for checkpoints in [0, 60] {
            let mut world = World::new(1, 2);
            pay(&mut world);
            let backup = world.coordinators[0].copy_of_disk();
            let lost = decide(&mut world);
            lose_all(&mut world);
            let record = of_coordinator(&world, 1);
            world.coordinators[0].restore(backup, &record);
            world.start(C);
            for _ in 0..restarts {
                for _ in 0..checkpoints {
                    world.checkpoint(C, 2);
                }
                world.crash(C, 0);
                world.start(C);
            }
            world.run_quietly(Span(20_000));
            for participant in 0..2 {
                let attempts = prepared(&world, participant);
                assert_eq!(attempts.len(), 1, "in doubt, for a person to resolve");
                let machine = world.coordinators[0].machine.as_ref().expect("it is up");
                assert_eq!(machine.verdict(attempts[0].position), Verdict::Unknown);
            }
            world.send(&lost);
            world.run_quietly(Span(2_000));
            assert!(was_refused(&world, &lost, Reason::OUTCOME_FORGOTTEN));
            for participant in 0..2 {
                let attempt = prepared(&world, participant)[0];
                world.resolve(participant, attempt, Outcome::Committed);
            }
            world.run_quietly(Span(2_000));
            assert_eq!((world.value(0, 1), world.value(1, 1)), (-10, 10));
            world.check().expect("all invariants hold");
        }
    }
}

/// The same from the same disk without the record of a restoration: the reason
/// why nobody should start an old copy of a coordinator.
#[test]
fn an_old_copy_that_is_not_told_so_calls_it_aborted() {
    let mut world = World::new(1, 2);
    let backup = world.coordinators[0].copy_of_disk();
    decide(&mut world);
    lose_all(&mut world);
    world.coordinators[0].set_back_to(backup);
    world.start(C);
    world.run_quietly(Span(2_000));
    // A client was told that it committed.
    assert_eq!((world.value(0, 1), world.value(1, 1)), (0, 0));
    assert!(prepared(&world, 0).is_empty() && prepared(&world, 1).is_empty());
}

#[test]
fn a_peer_that_has_heard_still_knows_long_after() {
    let mut world = World::new(1, 3);
    let backup = world.coordinators[0].copy_of_disk();
    let operations = vec![
        (0, Action::Add(1, -5), false),
        (1, Action::Add(1, 5), false),
    ];
    world.run(0, operations);
    for _ in 0..2 {
        world.deliver(0);
    }
    world.flush(P0);
    world.flush(P1);
    while world.in_flight() > 0 {
        world.deliver(0);
    }
    world.flush(C);
    // The one hears it, the other is down.
    world.crash(P0, 0);
    world.run_quietly(Span(500));
    lose_all(&mut world);
    let record = of_coordinator(&world, 1);
    world.coordinators[0].restore(backup, &record);
    world.start(C);
    world.register(0, 2);
    world.now = world.now + ID_AHEAD_MAX + Span(1);
    for _ in 0..15 {
        let operations = vec![
            (1, Action::Add(2, -5), false),
            (2, Action::Add(2, 5), false),
        ];
        let order = world.run(0, operations);
        world.run_quietly(Span(500));
        assert_eq!(world.outcome(order.transaction), Some(Outcome::Committed));
    }
    world.start(P0);
    world.run_quietly(Span(10_000));
    assert_eq!((world.value(0, 1), world.value(1, 1)), (-5, 5));
    world.check().expect("all invariants hold");
}

#[test]
fn what_the_backup_shows_goes_on() {
    let mut world = World::new(1, 2);
    decide(&mut world);
    lose_all(&mut world);
    let backup = world.coordinators[0].copy_of_disk();
    let record = of_coordinator(&world, 1);
    world.coordinators[0].restore(backup, &record);
    world.start(C);
    world.run_quietly(Span(3_000));
    assert_eq!((world.value(0, 1), world.value(1, 1)), (-5, 5));
    world.check().expect("all invariants hold");
}

#[test]
fn new_ids_run_when_the_lost_life_cannot_have_seen_them() {
    let mut world = World::new(1, 2);
    let backup = world.coordinators[0].copy_of_disk();
    let record = of_coordinator(&world, 1);
    world.coordinators[0].restore(backup, &record);
    world.start(C);
    let early = payment(&mut world, 1);
    world.run_quietly(Span(2_000));
    assert!(was_refused(&world, &early, Reason::OUTCOME_FORGOTTEN));
    // What only reads can do no harm.
    let reads = vec![(0, Action::Read(1), true), (1, Action::Read(1), true)];
    let reads = world.run(0, reads);
    world.run_quietly(Span(2_000));
    assert_eq!(world.outcome(reads.transaction), Some(Outcome::Committed));
    world.now = world.now + ID_AHEAD_MAX + Span(1);
    pay(&mut world);
    assert_eq!(world.value(1, 1), 5, "the early one has not run");
    let machine = world.coordinators[0].machine.as_ref().expect("it is up");
    assert!(machine.epoch() > Epoch(1_000_000), "above what was used");
    world.check().expect("all invariants hold");
}

/// What a participant decided alone it still knows, whatever its coordinator has
/// forgotten.
#[test]
fn what_a_participant_decided_alone_is_found_out() {
    let mut world = World::new(1, 2);
    let backup = world.coordinators[0].copy_of_disk();
    let alone = world.run(0, vec![(0, Action::Add(1, 5), false)]);
    world.run_quietly(Span(1_000));
    assert_eq!(world.outcome(alone.transaction), Some(Outcome::Committed));
    let record = of_coordinator(&world, 1);
    world.coordinators[0].restore(backup, &record);
    world.start(C);
    let answers = world.answers.len();
    world.send(&alone);
    world.run_quietly(Span(1_000));
    assert_eq!(world.answers.len(), answers + 1, "the same answer again");
    assert_eq!(world.value(0, 1), 5);
    world.check().expect("all invariants hold");
}

/// A restoration of a restoration.
#[test]
fn the_newest_restoration_counts() {
    let mut world = World::new(1, 2);
    let backup = world.coordinators[0].copy_of_disk();
    let record = of_coordinator(&world, 1);
    world.coordinators[0].restore(backup, &record);
    world.start(C);
    world.now = world.now + ID_AHEAD_MAX + Span(1);
    pay(&mut world);
    let backup = world.coordinators[0].copy_of_disk();
    decide(&mut world);
    lose_all(&mut world);
    let record = of_coordinator(&world, 2);
    world.coordinators[0].restore(backup, &record);
    world.start(C);
    world.run_quietly(Span(10_000));
    assert_eq!(prepared(&world, 0).len(), 1, "in doubt");
    assert_eq!(prepared(&world, 1).len(), 1, "in doubt");
}

/// What the coordinator says to participant 0 when it makes itself known.
fn registers(world: &mut World) -> Result<CoordinatorId, Reason> {
    let machine = world.participants[0].machine.as_ref().expect("it is up");
    let event = Event::RegisterRequested {
        request: RequestId(u64::MAX),
        name: name(0),
        id: ParticipantId::new(Uuid::from_u128(0)),
        address: "p0".to_owned(),
        began: Some(machine.began()),
        restored: machine.restored(),
    };
    let now = world.now;
    let coordinator = &mut world.coordinators[0];
    let mut effects = coordinator.step(now, event);
    effects.extend(coordinator.flush(now));
    let answer = effects.into_iter().find_map(|effect| match effect {
        Effect::Reply {
            reply: Reply::Registered { coordinator, .. },
            ..
        } => Some(Ok(coordinator)),
        Effect::Reply {
            reply: Reply::Refused(refusal),
            ..
        } => Some(Err(refusal.reason)),
        _ => None,
    });
    let answer = answer.expect("an answer");
    if let Ok(coordinator) = answer {
        let registered = ParticipantEvent::Registered { coordinator };
        world.participants[0].step(now, registered);
    }
    answer
}

fn remove(world: &mut World) {
    let now = world.now;
    let event = Event::RemoveRequested {
        request: RequestId(u64::MAX),
        name: name(0),
        give_up: Some("its disk is gone".to_owned()),
    };
    world.coordinators[0].step(now, event);
    world.coordinators[0].flush(now);
}

/// Also where nothing was promised since: what it decided alone was never said.
#[test]
fn a_restored_participant_is_not_heard_and_hears_nobody_until_a_person_allows_it() {
    let mut world = World::new(1, 2);
    pay(&mut world);
    let backup = world.participants[0].copy_of_disk();
    let record = of_participant(&world, 1);
    world.participants[0].restore(backup, &record);
    world.start(P0);
    world.now = world.now + ID_AHEAD_MAX + Span(1);
    // Before it could make itself known.
    let early = payment(&mut world, 1);
    world.run_quietly(Span(2_000));
    assert_eq!(world.outcome(early.transaction), Some(Outcome::Aborted));
    assert_eq!(registers(&mut world), Err(Reason::PARTICIPANT_SET_BACK));

    remove(&mut world);
    registers(&mut world).expect("it is taken as it is");
    pay(&mut world);
    for checkpoints in [0, 60] {
        for _ in 0..checkpoints {
            world.checkpoint(P0, 2);
            world.checkpoint(C, 2);
        }
        world.crash(P0, 0);
        world.start(P0);
        pay(&mut world);
        registers(&mut world).expect("once is enough");
        world.crash(C, 0);
        world.start(C);
        registers(&mut world).expect("once is enough");
    }
    assert_eq!(world.value(1, 1), 20);
    world.check().expect("all invariants hold");
}

#[test]
fn the_life_that_was_given_up_does_not_come_back() {
    let mut world = World::new(1, 2);
    pay(&mut world);
    let backup = world.participants[0].copy_of_disk();
    pay(&mut world);
    let lost = world.participants[0].copy_of_disk();
    let record = of_participant(&world, 1);
    world.participants[0].restore(backup, &record);
    world.start(P0);
    remove(&mut world);
    registers(&mut world).expect("it is taken as it is");
    world.participants[0].set_back_to(lost);
    world.start(P0);
    assert_eq!(registers(&mut world), Err(Reason::PARTICIPANT_SET_BACK));
}

/// It keeps the promises that the backup has, and asks about them.
#[test]
fn a_restored_participant_keeps_what_it_knows_to_have_promised() {
    let mut world = World::new(1, 2);
    decide(&mut world);
    lose_all(&mut world);
    world.crash(P0, 0);
    let backup = world.participants[0].copy_of_disk();
    let record = of_participant(&world, 1);
    world.participants[0].restore(backup, &record);
    world.start(P0);
    assert_eq!(prepared(&world, 0).len(), 1);
    world.run_quietly(Span(5_000));
    assert_eq!((world.value(0, 1), world.value(1, 1)), (-5, 5));
    world.check().expect("all invariants hold");
}

#[test]
fn what_its_lost_life_may_have_decided_alone_is_not_decided_again() {
    let mut world = World::new(1, 2);
    let backup = world.participants[0].copy_of_disk();
    let alone = world.run(0, vec![(0, Action::Add(1, 5), false)]);
    world.run_quietly(Span(1_000));
    assert_eq!(world.outcome(alone.transaction), Some(Outcome::Committed));
    let record = of_participant(&world, 1);
    world.participants[0].restore(backup, &record);
    world.start(P0);
    remove(&mut world);
    registers(&mut world).expect("it is taken as it is");
    let reads = world.run(0, vec![(0, Action::Read(1), true)]);
    world.run_quietly(Span(1_000));
    assert_eq!(world.outcome(reads.transaction), Some(Outcome::Committed));
    // The coordinator has forgotten it as well.
    world.crash(C, 0);
    world.start(C);
    world.run_quietly(Span(1_000));
    world.send(&alone);
    world.run_quietly(Span(1_000));
    assert!(was_refused(&world, &alone, Reason::OUTCOME_FORGOTTEN));
    assert_eq!(world.value(0, 1), 0);
}
