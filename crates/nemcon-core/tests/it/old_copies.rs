//! A participant whose data directory is an old copy has forgotten promises. Its
//! coordinators find that out when it makes itself known, and will not have it.

use nemcon_core::coordinator::event::{Effect, Event, Reply};
use nemcon_core::id::{LogPosition, Lsn, ParticipantId, RequestId};
use nemcon_core::message::Outcome;
use nemcon_core::reason::Reason;
use nemcon_core::time::Span;
use uuid::Uuid;

use crate::registers::Action;
use crate::world::{Place, World, name};

const P0: Place = Place::Participant(0);

fn pay(world: &mut World) {
    let order = world.run(
        0,
        vec![
            (0, Action::Add(1, -5), false),
            (1, Action::Add(1, 5), false),
        ],
    );
    world.run_quietly(Span(2_000));
    assert_eq!(world.outcome(order.transaction), Some(Outcome::Committed));
}

/// What the coordinator says to participant 0 when it makes itself known.
fn registers_as(world: &mut World, began: Option<LogPosition>) -> Result<(), Reason> {
    let event = Event::RegisterRequested {
        request: RequestId(u64::MAX),
        name: name(0),
        id: ParticipantId::new(Uuid::from_u128(0)),
        address: "p0".to_owned(),
        began,
        restored: None,
    };
    let now = world.now;
    let coordinator = &mut world.coordinators[0];
    let mut effects = coordinator.step(now, event);
    effects.extend(coordinator.flush(now));
    let answer = effects.into_iter().find_map(|effect| match effect {
        Effect::Reply {
            reply: Reply::Registered { .. },
            ..
        } => Some(Ok(())),
        Effect::Reply {
            reply: Reply::Refused(refusal),
            ..
        } => Some(Err(refusal.reason)),
        _ => None,
    });
    answer.expect("an answer")
}

fn registers(world: &mut World) -> Result<(), Reason> {
    let machine = world.participants[0].machine.as_ref();
    let began = machine.map(|machine| machine.began());
    registers_as(world, began)
}

#[test]
fn one_that_was_killed_is_welcome_however_often() {
    let mut world = World::new(1, 2);
    for _ in 0..5 {
        pay(&mut world);
        world.crash(P0, 0);
        world.start(P0);
        assert_eq!(registers(&mut world), Ok(()));
        assert_eq!(registers(&mut world), Ok(()), "it says so again and again");
    }
    world.check().expect("all invariants hold");
}

#[test]
fn an_old_copy_is_refused_also_by_a_coordinator_that_has_restarted() {
    for coordinator_restarts in [false, true] {
        for coordinator_checkpoints in [false, true] {
            let mut world = World::new(1, 2);
            pay(&mut world);
            let old = world.participants[0].copy_of_disk();
            pay(&mut world);
            if coordinator_checkpoints {
                for _ in 0..50 {
                    world.checkpoint(Place::Coordinator(0), 3);
                }
            }
            if coordinator_restarts {
                world.crash(Place::Coordinator(0), 0);
                world.start(Place::Coordinator(0));
            }
            world.participants[0].set_back_to(old);
            world.start(P0);
            assert_eq!(registers(&mut world), Err(Reason::PARTICIPANT_SET_BACK));
        }
    }
}

#[test]
fn an_old_copy_of_an_earlier_boot_is_refused() {
    let mut world = World::new(1, 2);
    let old = world.participants[0].copy_of_disk();
    for _ in 0..2 {
        world.crash(P0, 0);
        world.start(P0);
        assert_eq!(registers(&mut world), Ok(()));
    }
    // Nothing was promised since; but two lives must not have one boot number.
    world.participants[0].set_back_to(old);
    world.start(P0);
    assert_eq!(registers(&mut world), Err(Reason::PARTICIPANT_SET_BACK));
}

/// A copy that was made while the node was down: the life that went on and the one
/// that begins from the copy have the same boot number, and began alike.
#[test]
fn a_twin_is_refused_and_its_vote_is_a_no() {
    for twin_registers in [true, false] {
        let mut world = World::new(1, 2);
        pay(&mut world);
        world.crash(P0, 0);
        let twin = world.participants[0].copy_of_disk();
        world.start(P0);
        assert_eq!(registers(&mut world), Ok(()));
        pay(&mut world);
        world.participants[0].set_back_to(twin);
        world.start(P0);
        if twin_registers {
            assert_eq!(registers(&mut world), Err(Reason::PARTICIPANT_SET_BACK));
        }
        let order = world.run(
            0,
            vec![
                (0, Action::Add(2, -5), false),
                (1, Action::Add(2, 5), false),
            ],
        );
        world.run_quietly(Span(2_000));
        assert_eq!(world.outcome(order.transaction), Some(Outcome::Aborted));
        assert_eq!(world.value(1, 2), 0);
    }
}

#[test]
fn a_copy_that_has_forgotten_nothing_is_welcome() {
    let mut world = World::new(1, 2);
    pay(&mut world);
    let newest = world.participants[0].copy_of_disk();
    world.participants[0].set_back_to(newest);
    world.start(P0);
    assert_eq!(registers(&mut world), Ok(()));
    pay(&mut world);
    world.check().expect("all invariants hold");
}

#[test]
fn one_that_says_nothing_of_its_log_is_taken_as_it_is() {
    let mut world = World::new(1, 2);
    pay(&mut world);
    assert_eq!(registers_as(&mut world, None), Ok(()));
    let nonsense = LogPosition {
        boot: nemcon_core::id::Boot(9),
        lsn: Lsn(0),
        life: 7,
    };
    assert_eq!(
        registers_as(&mut world, Some(nonsense)),
        Err(Reason::PARTICIPANT_SET_BACK)
    );
}

/// What it has not acknowledged can be given up; that is damage, on record.
#[test]
fn what_is_given_up_is_damage() {
    let mut world = World::new(1, 2);
    let order = world.run(
        0,
        vec![
            (0, Action::Add(1, -5), false),
            (1, Action::Add(1, 5), false),
        ],
    );
    for place in [P0, Place::Participant(1)] {
        world.deliver(0);
        world.flush(place);
    }
    world.deliver(0);
    world.deliver(0);
    world.flush(Place::Coordinator(0));
    assert_eq!(world.outcome(order.transaction), Some(Outcome::Committed));
    world.crash(P0, 0);
    let remove = |give_up: Option<&str>| Event::RemoveRequested {
        request: RequestId(u64::MAX),
        name: name(0),
        give_up: give_up.map(str::to_owned),
    };
    let now = world.now;
    let coordinator = &mut world.coordinators[0];
    let busy = coordinator.step(now, remove(None));
    assert!(
        busy.iter().any(|effect| matches!(
            effect,
            Effect::Reply { reply: Reply::Refused(why), .. }
                if why.reason == Reason::PARTICIPANT_BUSY
        )),
        "{busy:?}"
    );
    coordinator.step(now, remove(Some("its disk is gone")));
    let done = coordinator.flush(now);
    assert!(
        done.iter().any(|effect| matches!(
            effect,
            Effect::Reply {
                reply: Reply::Done,
                ..
            }
        )),
        "{done:?}"
    );
    let asked = Event::DamageAsked {
        request: RequestId(u64::MAX),
    };
    let told = coordinator.step(now, asked).into_iter();
    let damage = told.filter_map(|effect| match effect {
        Effect::Reply {
            reply: Reply::Damage(damage),
            ..
        } => Some(damage),
        _ => None,
    });
    let damage: Vec<_> = damage.flatten().collect();
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert_eq!(damage[0].reason, "its disk is gone");
    assert_eq!(damage[0].participant, name(0));
}
