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

/// Found by simulation: a coordinator that had restarted waited for ever for one
/// that had acknowledged before it was removed.
fn removed_after_it_had_acknowledged(checkpoint: bool) {
    let mut world = World::new(1, 2);
    let transfer = vec![
        (0, Action::Add(1, -5), false),
        (1, Action::Add(1, 5), false),
    ];
    world.run(0, transfer);
    while world.coordinators[0]
        .appended
        .iter()
        .all(|(_, record)| !matches!(record, nemcon_core::coordinator::record::Record::Decided(_)))
    {
        world.step_quietly();
    }
    world.crash(Place::Participant(0), 100);
    world.run_quietly(Span(500));
    world.remove(0, 1);
    world.run_quietly(Span(100));
    if checkpoint {
        for _ in 0..3 {
            world.checkpoint(Place::Coordinator(0), 1_000);
        }
    }
    world.crash(Place::Coordinator(0), 0);
    world.start(Place::Coordinator(0));
    world.start(Place::Participant(0));
    world.run_quietly(Span::from_secs(10));
    let machine = world.coordinators[0].machine.as_ref().expect("it is up");
    let unfinished: Vec<_> = machine.states().collect();
    assert_eq!(unfinished, []);
    assert_eq!((world.value(0, 1), world.value(1, 1)), (-5, 5));
    world.check().expect("all invariants hold");
}

#[test]
fn a_participant_that_was_removed_is_not_waited_for() {
    removed_after_it_had_acknowledged(false);
    removed_after_it_had_acknowledged(true);
}

/// Found by simulation: a crash between the record of the real outcome and that of
/// the damage, and nobody ever heard of the damage.
#[test]
fn a_crash_between_outcome_and_damage_forgets_no_damage() {
    use nemcon_core::participant::record::Record;

    let mut world = World::new(1, 2);
    world.crash(Place::Participant(0), 0);
    let transfer = vec![
        (0, Action::Add(1, -5), false),
        (1, Action::Add(1, 5), false),
    ];
    world.run(0, transfer);
    world.run_quietly(Span(100));
    let prepared = world.participants[1].appended.iter();
    let mut prepared = prepared.filter_map(|(_, record)| match record {
        Record::Prepared(prepared) => Some(prepared.attempt),
        _ => None,
    });
    let attempt = prepared.next().expect("it has voted yes");
    world.resolve(1, attempt, Outcome::Committed);
    world.run_quietly(Span(100));
    let has_aborted = |world: &World| {
        let records = world.participants[1].appended.iter();
        let mut records = records.map(|(_, record)| record);
        records.any(|record| matches!(record, Record::Aborted { .. }))
    };
    while !has_aborted(&world) {
        if !world.step_quietly() {
            world.fire(Place::Coordinator(0));
        }
    }
    world.crash(Place::Participant(1), 1);
    world.start(Place::Participant(1));
    // As it does whenever it starts; the answer tells it where to report.
    world.register(0, 1);
    world.run_quietly(Span::from_secs(10));
    let told = world
        .alarms
        .iter()
        .any(|alarm| alarm.contains("participant: p1"));
    assert!(told, "the coordinator knows: {:?}", world.alarms);
    let records = world.participants[1].appended.iter();
    let damage = records.filter(|(_, record)| matches!(record, Record::Damaged(_)));
    assert_eq!(damage.count(), 1, "and so does the participant");
}

/// Found by simulation: what a participant had decided alone was forgotten with it
/// when it was removed, and its id could run once more, elsewhere.
#[test]
fn what_a_removed_participant_decided_alone_is_not_run_again() {
    for restart in [false, true] {
        let mut world = World::new(1, 2);
        let mut order = world.run(0, vec![(1, Action::Add(1, 5), false)]);
        world.run_quietly(Span(100));
        assert_eq!(world.value(1, 1), 5);
        if restart {
            world.crash(Place::Coordinator(0), 100);
            world.start(Place::Coordinator(0));
            world.run_quietly(Span(100));
        }
        world.remove(0, 1);
        world.run_quietly(Span(100));
        world.crash(Place::Coordinator(0), 100);
        world.start(Place::Coordinator(0));
        world.run_quietly(Span(100));
        // The same id, for something else.
        order.operations = vec![(0, Action::Add(1, 7), false)];
        world.send(&order);
        world.run_quietly(Span(2_000));
        assert_eq!(world.value(0, 1), 0, "restart: {restart}");
        let last = world.refused.last().map(|(_, reason)| reason.as_str());
        assert_eq!(last, Some("OUTCOME_FORGOTTEN"), "restart: {restart}");
    }
}
