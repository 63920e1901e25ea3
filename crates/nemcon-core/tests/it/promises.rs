//! Nothing is said before it is durable: one story for each force that a random
//! schedule rarely catches out.

use nemcon_core::id::{AttemptId, RequestId};
use nemcon_core::message::{Outcome, Verdict};
use nemcon_core::participant::event::{Effect, Event, Reply};
use nemcon_core::participant::view::Standing;
use nemcon_core::time::Span;

use crate::registers::Action;
use crate::world::{Place, World};

fn standing(world: &World, participant: usize, wanted: Standing) -> Option<AttemptId> {
    let machine = world.participants[participant].machine.as_ref()?;
    let view = machine.attempts().find(|view| view.standing == wanted)?;
    Some(view.attempt)
}

#[test]
fn a_lone_decision_keeps_its_locks_until_it_is_durable() {
    let mut world = World::new(1, 1);
    let write = world.run(0, vec![(0, Action::Add(1, 5), false)]);
    world.deliver(0);
    let read = world.run(0, vec![(0, Action::Read(1), true)]);
    world.deliver(0);
    assert_eq!(
        world.in_flight(),
        0,
        "what may yet be lost is shown to nobody"
    );
    world.flush(Place::Participant(0));
    world.run_quietly(Span(100));
    assert_eq!(world.outcome(write.transaction), Some(Outcome::Committed));
    assert_eq!(world.results.get(&read.transaction), Some(&vec![5]));
}

#[test]
fn a_newer_epoch_is_durable_before_it_is_answered() {
    let mut world = World::new(1, 1);
    world.crash(Place::Coordinator(0), 0);
    world.start(Place::Coordinator(0));
    assert_eq!(world.in_flight(), 1, "hello");
    world.deliver(0);
    assert_eq!(world.in_flight(), 0, "not welcome yet");
    world.flush(Place::Participant(0));
    assert_eq!(world.in_flight(), 1, "welcome");
}

#[test]
fn a_refusal_is_durable_before_a_peer_hears_of_it() {
    let mut world = World::new(1, 2);
    // One transaction holds the lock at participant 1; the next one is prepared at
    // participant 0 and waits for that lock.
    world.run(
        0,
        vec![
            (0, Action::Add(2, -5), false),
            (1, Action::Add(1, 5), false),
        ],
    );
    world.lose(0);
    world.deliver(0);
    world.flush(Place::Participant(1));
    world.lose(0);
    world.run(
        0,
        vec![
            (0, Action::Add(1, -5), false),
            (1, Action::Add(1, 5), false),
        ],
    );
    world.deliver(0);
    world.deliver(0);
    world.flush(Place::Participant(0));
    let attempt = standing(&world, 0, Standing::Prepared).expect("it is prepared");
    assert_eq!(
        standing(&world, 1, Standing::Active),
        Some(attempt),
        "it waits"
    );

    let request = RequestId(u64::MAX);
    let now = world.now;
    let peer = &mut world.participants[1];
    let said = peer.step(now, Event::PeerAsked { request, attempt });
    let verdict = |effect: &Effect<i64>| match effect {
        Effect::Reply {
            reply: Reply::Verdict(verdict),
            ..
        } => Some(*verdict),
        _ => None,
    };
    assert_eq!(
        said.iter().find_map(verdict),
        None,
        "not before it is durable"
    );
    let said = peer.flush(now);
    assert_eq!(said.iter().find_map(verdict), Some(Verdict::Aborted));
}

#[test]
fn work_of_an_earlier_boot_is_not_prepared_even_if_a_duplicate_has_repeated_it() {
    let mut world = World::new(1, 2);
    let transaction = world.begin(0);
    let work = [
        (0, Action::Add(1, -5), false),
        (1, Action::Add(1, 5), false),
    ];
    world.execute(0, transaction, 1, &work);
    world.double(1);
    for _ in 0..2 {
        world.deliver(0);
    }
    for _ in 0..2 {
        world.deliver(1);
    }
    assert_eq!(world.in_flight(), 1, "the duplicate is still on its way");
    world.crash(Place::Participant(1), 0);
    world.start(Place::Participant(1));
    world.deliver(0);
    assert!(
        standing(&world, 1, Standing::Active).is_some(),
        "repeated in a new boot"
    );
    world.lose(0);
    world.commit(0, transaction);
    world.run_quietly(Span(2_000));
    assert_eq!(
        world.outcome(transaction),
        Some(Outcome::Aborted),
        "its locks were let go"
    );
    world.check().expect("all invariants hold");
    assert_eq!(world.total(), 0);
}
