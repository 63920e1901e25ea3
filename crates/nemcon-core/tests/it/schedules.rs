//! Random schedules: messages lost, doubled, delayed and reordered, nodes that
//! crash at any record, checkpoints at any time. First everything may go wrong
//! and safety is checked at every step; then all is healed and everything must
//! finish.

use nemcon_core::id::TransactionId;
use nemcon_core::message::Outcome;
use nemcon_core::saga::{Compensation, Definition, Retry, Step, StepName};
use nemcon_core::time::{Millis, Span};
use proptest::prelude::*;

use crate::registers::Action;
use crate::world::{Place, SagaOrder, World, saga_operation};

/// One choice of the schedule; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Move {
    Transfer {
        coordinator: usize,
        from: usize,
        to: usize,
        amount: i64,
    },
    Alone {
        coordinator: usize,
        at: usize,
        amount: i64,
    },
    ReadAll {
        coordinator: usize,
    },
    Mixed {
        coordinator: usize,
        writer: usize,
    },
    Begin {
        coordinator: usize,
    },
    Execute {
        which: usize,
        from: usize,
        to: usize,
        amount: i64,
    },
    Commit(usize),
    SendAgain(usize),
    Abort(usize),
    Saga {
        coordinator: usize,
        at: usize,
        amount: i64,
    },
    StartAgain(usize),
    Cancel(usize),
    Resume(usize),
    Deliver(usize),
    Lose(usize),
    Double(usize),
    Flush(usize),
    Fire(usize),
    Crash {
        node: usize,
        kept: usize,
    },
    Start(usize),
    Checkpoint {
        node: usize,
        piece: usize,
    },
    Wait(u64),
}

fn moves() -> impl Strategy<Value = Move> {
    let any_node = 0..16_usize;
    prop_oneof![
        4 => (0..4_usize, 0..4_usize, 0..4_usize, 1..60_i64).prop_map(
            |(coordinator, from, to, amount)| Move::Transfer { coordinator, from, to, amount }
        ),
        2 => (0..4_usize, 0..4_usize, 1..10_i64).prop_map(
            |(coordinator, at, amount)| Move::Alone { coordinator, at, amount }
        ),
        1 => (0..4_usize).prop_map(|coordinator| Move::ReadAll { coordinator }),
        1 => (0..4_usize, 0..4_usize)
            .prop_map(|(coordinator, writer)| Move::Mixed { coordinator, writer }),
        1 => (0..4_usize).prop_map(|coordinator| Move::Begin { coordinator }),
        2 => (0..8_usize, 0..4_usize, 0..4_usize, 1..60_i64).prop_map(
            |(which, from, to, amount)| Move::Execute { which, from, to, amount }
        ),
        2 => (0..8_usize).prop_map(Move::Commit),
        2 => (0..64_usize).prop_map(Move::SendAgain),
        1 => (0..64_usize).prop_map(Move::Abort),
        2 => (0..4_usize, 0..4_usize, 1..60_i64).prop_map(
            |(coordinator, at, amount)| Move::Saga { coordinator, at, amount }
        ),
        1 => (0..8_usize).prop_map(Move::StartAgain),
        1 => (0..8_usize).prop_map(Move::Cancel),
        1 => (0..8_usize).prop_map(Move::Resume),
        40 => (0..64_usize).prop_map(Move::Deliver),
        2 => (0..64_usize).prop_map(Move::Lose),
        2 => (0..64_usize).prop_map(Move::Double),
        20 => any_node.clone().prop_map(Move::Flush),
        6 => any_node.clone().prop_map(Move::Fire),
        2 => (any_node.clone(), 0..4_usize).prop_map(|(node, kept)| Move::Crash { node, kept }),
        4 => any_node.clone().prop_map(Move::Start),
        2 => (any_node, 1..5_usize).prop_map(|(node, piece)| Move::Checkpoint { node, piece }),
        2 => (1..3_000_u64).prop_map(Move::Wait),
    ]
}

fn perform(world: &mut World, step: &Move) {
    let places = world.places();
    let up = |world: &World, node: usize| {
        let place = places[node % places.len()];
        world.is_up(place).then_some(place)
    };
    let participants = world.participants.len();
    let coordinators = world.coordinators.len();
    let free = |world: &World, coordinator: usize| {
        let at = coordinator % coordinators;
        world.is_up(Place::Coordinator(at)).then_some(at)
    };
    match *step {
        Move::Transfer {
            coordinator,
            from,
            to,
            amount,
        } => {
            let (from, to) = (from % participants, to % participants);
            if let Some(at) = free(world, coordinator)
                && from != to
            {
                let give = Action::Add((amount % 3) as u8, -amount);
                let take = Action::Add((amount % 2) as u8, amount);
                world.run(at, vec![(from, give, false), (to, take, false)]);
            }
        }
        Move::Alone {
            coordinator,
            at,
            amount,
        } => {
            if let Some(coordinator) = free(world, coordinator) {
                let at = at % participants;
                let shift = vec![
                    (at, Action::Add(0, -amount), false),
                    (at, Action::Add(1, amount), false),
                ];
                world.run(coordinator, shift);
            }
        }
        Move::ReadAll { coordinator } => {
            if let Some(coordinator) = free(world, coordinator) {
                let registers = (0..participants)
                    .flat_map(|at| (0..3).map(move |register| (at, Action::Read(register), true)));
                world.run(coordinator, registers.collect());
            }
        }
        Move::Mixed {
            coordinator,
            writer,
        } => {
            if let Some(coordinator) = free(world, coordinator) {
                let (writer, reader) = (writer % participants, (writer + 1) % participants);
                let mixed = vec![
                    (writer, Action::Add(0, -1), false),
                    (writer, Action::Add(1, 1), false),
                    (reader, Action::Read(0), true),
                ];
                world.run(coordinator, mixed);
            }
        }
        Move::Begin { coordinator } => {
            if let Some(at) = free(world, coordinator) {
                world.begin(at);
            }
        }
        Move::Execute {
            which,
            from,
            to,
            amount,
        } => {
            let (from, to) = (from % participants, to % participants);
            if let Some((at, transaction)) = open(world, which) {
                let give = Action::Add(0, -amount);
                let take = Action::Add((amount % 2) as u8, amount);
                let number = world.next_piece(transaction);
                let work = [
                    (from, give, false),
                    (to, take, false),
                    (to, Action::Read(2), true),
                ];
                world.execute(at, transaction, number, &work);
            }
        }
        Move::Commit(which) => {
            if let Some((at, transaction)) = open(world, which) {
                world.commit(at, transaction);
            }
        }
        Move::SendAgain(which) if !world.orders.is_empty() => {
            let order = world.orders[which % world.orders.len()].clone();
            if world.is_up(Place::Coordinator(order.coordinator)) {
                world.send(&order);
            }
        }
        Move::Abort(which) if !world.orders.is_empty() => {
            let order = world.orders[which % world.orders.len()].clone();
            if world.is_up(Place::Coordinator(order.coordinator)) {
                world.abort(order.coordinator, order.transaction);
            }
        }
        Move::SendAgain(_) | Move::Abort(_) => {}
        Move::Saga {
            coordinator,
            at,
            amount,
        } => {
            if let Some(coordinator) = free(world, coordinator) {
                let place = |step: usize| (at + step) % participants;
                world.run_saga(coordinator, saga(place, amount));
            }
        }
        Move::StartAgain(which) => {
            if let Some(order) = started(world, which) {
                world.start_saga(&order);
            }
        }
        Move::Cancel(which) => {
            if let Some(order) = started(world, which) {
                world.cancel_saga(order.coordinator, order.saga);
            }
        }
        Move::Resume(which) => {
            if let Some(order) = started(world, which) {
                world.resume_saga(order.coordinator, order.saga);
            }
        }
        Move::Deliver(at) if world.in_flight() > 0 => world.deliver(at % world.in_flight()),
        Move::Lose(at) if world.in_flight() > 0 => world.lose(at % world.in_flight()),
        Move::Double(at) if world.in_flight() > 0 => world.double(at % world.in_flight()),
        Move::Deliver(_) | Move::Lose(_) | Move::Double(_) => {}
        Move::Flush(node) => {
            if let Some(place) = up(world, node) {
                world.flush(place);
            }
        }
        Move::Fire(node) => {
            if let Some(place) = up(world, node) {
                world.fire(place);
            }
        }
        Move::Crash { node, kept } => {
            if let Some(place) = up(world, node) {
                world.crash(place, kept);
            }
        }
        Move::Start(node) => {
            let place = places[node % places.len()];
            if !world.is_up(place) {
                world.start(place);
            }
        }
        Move::Checkpoint { node, piece } => {
            if let Some(place) = up(world, node) {
                world.checkpoint(place, piece);
            }
        }
        Move::Wait(span) => world.now = Millis(world.now.0 + span),
    }
}

/// Moves money from place to place: two steps at the same time, then one, which may be
/// a pivot, then another. Each keeps the sum.
fn saga(place: impl Fn(usize) -> usize, amount: i64) -> Definition {
    let name = |at: usize| StepName::new(format!("s{at}")).expect("a name");
    let retry = Retry {
        attempts: 3,
        pause_first: Span(50),
        pause_max: Span(500),
        try_timeout: Some(Span::from_secs(3)),
    };
    let step = |at: usize, after: &[usize]| {
        let shift = |amount: i64| {
            let give = (place(at), Action::Add(0, -amount), false);
            let take = (place(at + 1), Action::Add(1, amount), false);
            vec![saga_operation(give), saga_operation(take)]
        };
        Step {
            name: name(at),
            depends_on: after.iter().map(|it| name(*it)).collect(),
            operations: shift(amount),
            compensation: Some(Compensation {
                operations: shift(-amount),
                retry,
            }),
            retry,
            time_limit: None,
            pivot: at == 2 && amount % 3 == 0,
        }
    };
    Definition {
        steps: vec![step(0, &[]), step(1, &[]), step(2, &[0, 1]), step(3, &[2])],
        ..Definition::default()
    }
}

/// One of the sagas whose coordinator is up.
fn started(world: &World, which: usize) -> Option<SagaOrder> {
    let order = world.sagas.get(which % world.sagas.len().max(1))?;
    let is_up = world.is_up(Place::Coordinator(order.coordinator));
    is_up.then(|| order.clone())
}

/// One of the interactive transactions whose coordinator is up.
fn open(world: &World, which: usize) -> Option<(usize, TransactionId)> {
    let (at, transaction) = *world
        .interactive
        .get(which % world.interactive.len().max(1))?;
    world
        .is_up(Place::Coordinator(at))
        .then_some((at, transaction))
}

/// All is healed: whatever was begun must end, within a bound.
fn heal(world: &mut World) {
    for place in world.places() {
        if !world.is_up(place) {
            world.start(place);
        }
    }
    world.run_quietly(Span::from_secs(60));
    world.check_rest().expect("all rests after healing");
    for node in &world.participants {
        let machine = node.machine.as_ref().expect("all are up");
        let registers = machine.resource();
        let sum: i64 = registers.values.values().sum();
        assert_eq!(sum, registers.tally, "every change was applied once");
    }
    assert_eq!(world.total(), 0, "I7: transfers keep the sum");
}

/// Clients that were left without an outcome ask again, and learn it.
fn everyone_learns(world: &mut World) {
    for order in world.orders.clone() {
        world.send(&order);
        world.run_quietly(Span::from_secs(20));
        let known = world.outcome(order.transaction).is_some();
        let forgotten = world
            .refused
            .iter()
            .any(|(id, reason)| *id == order.transaction && reason == "OUTCOME_FORGOTTEN");
        assert!(
            known || forgotten,
            "{order:?} has no outcome: {:?}",
            world.refused
        );
    }
    for order in world.sagas.clone() {
        world.start_saga(&order);
        world.run_quietly(Span::from_secs(20));
        let answer = world.saga_answer(order.saga).expect("an answer");
        assert!(
            matches!(answer, Ok(_) | Err("OUTCOME_FORGOTTEN")),
            "{order:?}: {answer:?}"
        );
    }
    world.check_rest().expect("all rests in the end");
    assert_eq!(world.total(), 0, "I7: transfers keep the sum");
}

fn play(coordinators: usize, participants: usize, remember_max: usize, schedule: &[Move]) {
    let mut world = World::remembering(coordinators, participants, remember_max);
    for (at, step) in schedule.iter().enumerate() {
        perform(&mut world, step);
        if let Err(violation) = world.check() {
            panic!("after move {at} ({step:?}): {violation}");
        }
    }
    heal(&mut world);
    everyone_learns(&mut world);
    world.check().expect("all invariants hold in the end");
    let damaged = world.alarms.iter().find(|alarm| alarm.contains("Damage"));
    assert_eq!(damaged, None, "nobody has lost what it had promised");
    for (transaction, results) in &world.results {
        let order = world
            .orders
            .iter()
            .find(|order| order.transaction == *transaction);
        let reads_all = order.is_some_and(|order| order.operations.iter().all(|(.., r)| *r));
        if reads_all && world.outcome(*transaction) == Some(Outcome::Committed) {
            assert_eq!(
                results.iter().sum::<i64>(),
                0,
                "a cut through {transaction}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn one_coordinator_and_three_participants(
        remember_max in prop_oneof![1..5_usize, Just(50)],
        schedule in prop::collection::vec(moves(), 50..300)
    ) {
        play(1, 3, remember_max, &schedule);
    }

    #[test]
    fn two_coordinators_share_two_participants(
        remember_max in prop_oneof![1..5_usize, Just(50)],
        schedule in prop::collection::vec(moves(), 50..300)
    ) {
        play(2, 2, remember_max, &schedule);
    }
}
