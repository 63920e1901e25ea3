//! Sagas beyond what the stories tell: time limits, bounds, turns, forgetting, a stop.

use nemcon_core::codec::Codec;
use nemcon_core::coordinator::Settings;
use nemcon_core::coordinator::event::{Effect, Event, Reply};
use nemcon_core::coordinator::record::Record;
use nemcon_core::id::{RequestId, SagaId, TransactionId};
use nemcon_core::limits;
use nemcon_core::machine::Machine;
use nemcon_core::message::OperationsHash;
use nemcon_core::reason::Reason;
use nemcon_core::saga::{
    Compensation, Definition, Fact, Graph, Reference, Resolution, Retry, Saga, State, Step,
    StepName, StepState, View,
};
use nemcon_core::time::{Millis, Span};

use crate::registers::Action;
use crate::world::{Overheard, Place, SagaOrder, World, saga_operation};

const COORDINATOR: Place = Place::Coordinator(0);

fn name(name: &str) -> StepName {
    StepName::new(name).expect("a name")
}

/// Adds to the first account of a participant, and takes that back.
fn step(called: &str, at: usize, amount: i64, after: &[&str]) -> Step {
    let operation = |amount| saga_operation((at, Action::Add(1, amount), false));
    Step {
        name: name(called),
        depends_on: after.iter().map(|it| name(it)).collect(),
        operations: vec![operation(amount)],
        compensation: Some(Compensation {
            operations: vec![operation(-amount)],
            retry: Retry::COMPENSATION,
        }),
        retry: Retry::STEP,
        time_limit: None,
        pivot: false,
    }
}

fn saga(steps: Vec<Step>) -> Definition {
    Definition {
        steps,
        ..Definition::default()
    }
}

/// A step at a participant that is away: each try of it takes half a second.
fn in_vain(called: &str, after: &[&str], pause: Span) -> Step {
    Step {
        retry: Retry {
            attempts: 1_000,
            pause_first: pause,
            pause_max: pause,
            try_timeout: Some(Span(500)),
        },
        ..step(called, 1, 5, after)
    }
}

/// A world whose second participant is away.
fn world() -> World {
    let mut world = World::new(1, 2);
    world.crash(Place::Participant(1), 0);
    world
}

fn facts(world: &World, saga: SagaId) -> Vec<Fact> {
    let records = world.coordinators[0].appended.iter();
    let facts = records.filter_map(|(_, record)| match record {
        Record::Saga { saga: of, fact } if *of == saga => Some((**fact).clone()),
        _ => None,
    });
    facts.collect()
}

/// When tries of a step began.
fn tries(world: &World, saga: SagaId, of: u32) -> Vec<Millis> {
    let facts = facts(world, saga).into_iter();
    let tried = facts.filter_map(|fact| match fact {
        Fact::Tried { step, at, .. } if step == of => Some(at),
        _ => None,
    });
    tried.collect()
}

fn view(world: &World, saga: SagaId) -> View {
    world.saga(saga).expect("it is known")
}

fn why(view: &View) -> Reason {
    let cause = view.cause.as_ref().expect("it went back");
    cause.refusal.reason.clone()
}

/// Asks a coordinator whose disk has all for something that it answers at once.
fn ask(world: &mut World, event: impl FnOnce(RequestId) -> Event) -> Reply {
    let request = RequestId(1 << 40);
    let effects = world.coordinators[0].step(world.now, event(request));
    let mut replies = effects.into_iter().filter_map(|effect| match effect {
        Effect::Reply { request: to, reply } if to == request => Some(reply),
        _ => None,
    });
    replies.next().expect("an answer at once")
}

#[test]
fn no_try_begins_when_the_time_of_its_step_is_up() {
    let mut world = world();
    let limit = Span::from_secs(3);
    // A pause is longer than what is left of the time after the first try.
    let late = Step {
        time_limit: Some(limit),
        ..in_vain("late", &[], Span::from_secs(10))
    };
    let began = world.now;
    let saga = world.run_saga(0, saga(vec![late]));
    world.run_quietly(Span::from_secs(60));
    let view = view(&world, saga);
    assert_eq!(view.state, State::Compensated);
    assert_eq!(why(&view), Reason::DEADLINE_EXCEEDED);
    let why = &view.steps[0].cause.as_ref().expect("why").refusal.message;
    assert!(
        why.starts_with("step late was not done within its time limit; tries: 1,"),
        "{why}"
    );
    assert_eq!(tries(&world, saga, 0), [began]);
    assert_eq!(
        view.ended_at,
        Some(began + limit),
        "nobody waits for longer than the limit"
    );
}

#[test]
fn tries_within_the_time_of_a_step_end_with_it() {
    let mut world = world();
    let limit = Span::from_secs(3);
    let late = Step {
        time_limit: Some(limit),
        ..in_vain("late", &[], Span(100))
    };
    let began = world.now;
    let saga = world.run_saga(0, saga(vec![late]));
    world.run_quietly(Span::from_secs(60));
    let tries = tries(&world, saga, 0);
    assert!(tries.len() > 2, "{tries:?}");
    assert!(tries.iter().all(|at| *at < began + limit), "{tries:?}");
    assert_eq!(view(&world, saga).state, State::Compensated);
}

#[test]
fn beyond_a_pivot_the_time_of_a_step_does_not_count() {
    let mut world = world();
    let pay = Step {
        pivot: true,
        ..step("pay", 0, 5, &[])
    };
    let ticket = Step {
        time_limit: Some(Span::from_secs(3)),
        ..in_vain("ticket", &["pay"], Span::from_secs(2))
    };
    let mut definition = saga(vec![pay, ticket]);
    definition.time_limit = Some(Span::from_secs(5));
    let saga = world.run_saga(0, definition);
    world.run_quietly(Span::from_secs(30));
    assert_eq!(view(&world, saga).state, State::Running);
    world.start(Place::Participant(1));
    world.run_quietly(Span::from_secs(30));
    assert_eq!(view(&world, saga).state, State::Completed);
}

#[test]
fn a_saga_whose_time_is_up_goes_back() {
    let mut world = world();
    let mut definition = saga(vec![
        step("flight", 0, 5, &[]),
        in_vain("hotel", &["flight"], Span(100)),
    ]);
    let limit = Span::from_secs(5);
    definition.time_limit = Some(limit);
    let began = world.now;
    let saga = world.run_saga(0, definition);
    world.run_quietly(Span::from_secs(60));
    let view = view(&world, saga);
    assert_eq!(view.state, State::Compensated);
    assert_eq!(view.turned_at, Some(began + limit));
    assert_eq!(why(&view), Reason::DEADLINE_EXCEEDED);
    assert_eq!(world.value(0, 1), 0, "the flight is taken back");
}

#[test]
fn nothing_begins_after_a_restart_if_the_time_is_up_by_then() {
    let mut world = World::new(1, 2);
    let mut definition = saga(vec![
        step("flight", 0, 5, &[]),
        step("hotel", 1, 5, &["flight"]),
    ]);
    definition.time_limit = Some(Span::from_secs(5));
    let saga = world.run_saga(0, definition);
    let decided = |world: &World| {
        let last = world.coordinators[0].appended.iter().rev();
        let mut last = last.take_while(|(lsn, _)| *lsn > world.coordinators[0].durable());
        last.any(|(_, record)| matches!(record, Record::Decided(_)))
    };
    while !decided(&world) {
        assert!(world.step_quietly(), "the flight is decided at some time");
    }
    // The decision is on the disk, and not that the hotel's try begins.
    world.crash(COORDINATOR, 1);
    world.now = world.now + Span::from_secs(60);
    let restarted = world.now;
    world.start(COORDINATOR);
    world.run_quietly(Span::from_secs(60));
    let view = view(&world, saga);
    assert_eq!(view.state, State::Compensated);
    assert_eq!(why(&view), Reason::DEADLINE_EXCEEDED);
    assert_eq!(view.steps[0].state, StepState::Compensated);
    assert_eq!(view.steps[1].state, StepState::Waiting);
    assert_eq!(view.turned_at, Some(restarted));
    assert_eq!(tries(&world, saga, 1), [], "nothing is begun in vain");
}

#[test]
fn a_stop_begins_no_try_and_the_next_start_goes_on() {
    let mut world = World::new(1, 2);
    let saga_id = world.run_saga(
        0,
        saga(vec![
            step("flight", 0, 5, &[]),
            step("hotel", 1, 5, &["flight"]),
        ]),
    );
    world.flush(COORDINATOR);
    world.drain(COORDINATOR);
    let other = world.run_saga(0, saga(vec![step("flight", 0, 1, &[])]));
    assert_eq!(world.saga_answer(other), Some(Err("NOT_SERVING")));
    world.run_quietly(Span::from_secs(20));
    let drained = |it: &Overheard| matches!(it, Overheard::Drained(COORDINATOR));
    assert!(world.overheard.iter().any(drained), "it may stop");
    let halfway = view(&world, saga_id);
    assert_eq!(halfway.state, State::Running);
    assert_eq!(halfway.steps[0].state, StepState::Done);
    assert_eq!(halfway.steps[1].state, StepState::Waiting);
    world.crash(COORDINATOR, 0);
    world.start(COORDINATOR);
    world.run_quietly(Span::from_secs(20));
    assert_eq!(view(&world, saga_id).state, State::Completed);
    assert_eq!(tries(&world, saga_id, 0).len(), 1, "it was done already");
}

#[test]
fn as_many_sagas_run_as_may() {
    let mut world = World::tuned(1, 2, 50, |settings| settings.sagas_max = 1);
    let first = world.run_saga(0, saga(vec![step("flight", 0, 5, &[])]));
    let second = world.run_saga(0, saga(vec![step("flight", 0, 5, &[])]));
    assert_eq!(world.saga_answer(second), Some(Err("TOO_MANY_REQUESTS")));
    world.run_quietly(Span::from_secs(5));
    assert_eq!(view(&world, first).state, State::Completed);
    let order = world.sagas[1].clone();
    world.start_saga(&order);
    world.run_quietly(Span::from_secs(5));
    assert_eq!(view(&world, second).state, State::Completed);
}

/// The second step uses the result of the first.
fn with_results() -> Definition {
    let mut hotel = step("hotel", 1, 5, &["flight"]);
    hotel.operations[0].inputs = vec![Reference {
        step: name("flight"),
        operation: 0,
    }];
    let mut flight = step("flight", 0, 5, &[]);
    flight.retry.attempts = 2;
    saga(vec![flight, hotel])
}

/// What a saga with results takes when it begins, and one byte: less than a result.
fn room_without_results(settings: &mut Settings) {
    let graph = Graph::new(with_results()).expect("a legal saga");
    let saga = Saga::new(graph, OperationsHash([0; 32]), Millis(0));
    settings.saga_bytes_max = saga.bytes() + 1;
}

#[test]
fn results_that_would_take_too_much_room_are_not_kept() {
    let mut world = World::tuned(1, 2, 50, room_without_results);
    let saga = world.run_saga(0, with_results());
    let second = world.run_saga(0, with_results());
    assert_eq!(world.saga_answer(second), Some(Err("TOO_MANY_REQUESTS")));
    world.run_quietly(Span::from_secs(30));
    let view = view(&world, saga);
    assert_eq!(view.state, State::Compensated);
    assert_eq!(why(&view), Reason::TOO_MANY_REQUESTS);
    assert_eq!(view.steps[0].tries, 2, "others may have ended meanwhile");
    assert_eq!(world.value(0, 1), 0, "without its result it is not done");
    // With room for them it goes through.
    let mut world = World::new(1, 2);
    let saga = world.run_saga(0, with_results());
    world.run_quietly(Span::from_secs(5));
    assert_eq!(world.saga_state(saga), Some(State::Completed));
}

/// Whether a saga that is started again is still known.
fn start_again(world: &mut World, saga: SagaId) -> Result<State, String> {
    let order = world.sagas.iter().find(|it| it.saga == saga);
    let order = order.expect("it was started").clone();
    world.start_saga(&order);
    world.run_quietly(Span(100));
    let answer = world.saga_answer(saga).expect("an answer");
    answer.map_err(str::to_owned)
}

#[test]
fn sagas_that_ended_are_remembered_for_a_time() {
    let mut world = World::tuned(1, 2, 50, |settings| {
        settings.remember_sagas_for = Span::from_secs(3_600);
    });
    let first = world.run_saga(0, saga(vec![step("flight", 0, 5, &[])]));
    world.run_quietly(Span::from_secs(3_500));
    let second = world.run_saga(0, saga(vec![step("flight", 0, 5, &[])]));
    world.run_quietly(Span::from_secs(50));
    assert_eq!(start_again(&mut world, first), Ok(State::Completed));
    world.run_quietly(Span::from_secs(100));
    assert_eq!(world.saga(first), None, "also where nobody begins another");
    let third = world.run_saga(0, saga(vec![step("flight", 0, 5, &[])]));
    world.run_quietly(Span::from_secs(5));
    let forgotten = Err("OUTCOME_FORGOTTEN".to_owned());
    assert_eq!(start_again(&mut world, first), forgotten);
    assert_eq!(start_again(&mut world, second), Ok(State::Completed));
    assert_eq!(start_again(&mut world, third), Ok(State::Completed));
    // A restart remembers, and has forgotten, the same.
    world.crash(COORDINATOR, 0);
    world.start(COORDINATOR);
    assert_eq!(start_again(&mut world, first), forgotten);
    assert_eq!(start_again(&mut world, second), Ok(State::Completed));
    assert_eq!(world.value(0, 1), 15, "each was done once");
}

/// Ends one saga after the other, two minutes apart; says which are still known.
fn known_after(world: &mut World, sagas: usize, definition: &Definition) -> Vec<bool> {
    let mut all = Vec::new();
    for _ in 0..sagas {
        all.push(world.run_saga(0, definition.clone()));
        world.run_quietly(Span::from_secs(120));
    }
    all.iter().map(|id| world.saga(*id).is_some()).collect()
}

#[test]
fn of_too_many_sagas_that_ended_the_oldest_are_forgotten() {
    let mut world = World::tuned(1, 2, 50, |settings| settings.remember_sagas_max = 2);
    let definition = saga(vec![step("flight", 0, 5, &[])]);
    let known = known_after(&mut world, 5, &definition);
    // The last one is spared for a minute, so that its client learns how it ended.
    assert_eq!(known, [false, false, false, true, true]);
}

#[test]
fn of_sagas_that_ended_and_take_too_much_room_the_oldest_are_forgotten() {
    let mut world = World::tuned(1, 2, 50, |settings| {
        settings.remember_saga_bytes_max = 250_000;
    });
    let mut definition = saga(vec![step("flight", 0, 5, &[])]);
    definition.label = "x".repeat(100_000);
    let known = known_after(&mut world, 5, &definition);
    assert_eq!(known, [false, false, false, true, true]);
}

#[test]
fn tries_have_their_turn_in_the_order_in_which_they_came() {
    let mut world = World::tuned(1, 2, 50, |settings| settings.saga_tries_max = 1);
    let both = || {
        saga(vec![
            step("flight", 0, 1, &[]),
            step("hotel", 1, 1, &["flight"]),
        ])
    };
    let ids: Vec<SagaId> = (0..3).map(|_| world.run_saga(0, both())).collect();
    world.run_quietly(Span::from_secs(30));
    let began = world.coordinators[0].appended.iter();
    let began = began.filter_map(|(_, record)| match record {
        Record::Saga { saga, fact } => match **fact {
            Fact::Tried { step, .. } => Some((ids.iter().position(|id| id == saga)?, step)),
            _ => None,
        },
        _ => None,
    });
    // Whoever has done a step stands behind those who have waited meanwhile.
    let turns: Vec<_> = began.collect();
    assert_eq!(turns, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]);
    for id in ids {
        assert_eq!(world.saga_state(id), Some(State::Completed));
    }
}

#[test]
fn whoever_has_not_begun_all_its_steps_keeps_its_turn() {
    let mut world = World::tuned(1, 2, 50, |settings| settings.saga_tries_max = 1);
    let two = || saga(vec![step("flight", 0, 1, &[]), step("hotel", 1, 1, &[])]);
    let ids: Vec<SagaId> = (0..3).map(|_| world.run_saga(0, two())).collect();
    world.run_quietly(Span::from_secs(30));
    let mut ends: Vec<(Option<Millis>, SagaId)> = Vec::new();
    for id in &ids {
        ends.push((view(&world, *id).ended_at, *id));
        assert_eq!(world.saga_state(*id), Some(State::Completed));
    }
    let began: Vec<usize> = world.coordinators[0]
        .appended
        .iter()
        .filter_map(|(_, record)| match record {
            Record::Saga { saga, fact } if matches!(**fact, Fact::Tried { .. }) => {
                ids.iter().position(|id| id == saga)
            }
            _ => None,
        })
        .collect();
    assert_eq!(began, [0, 0, 1, 1, 2, 2]);
}

#[test]
fn no_two_tries_are_one_transaction() {
    // What has become of a try is forgotten before the next saga begins, and no time
    // passes; and sagas have ids in a row, as a client that counts gives them.
    let mut world = World::remembering(1, 2, 1);
    let all_at_once = || {
        let step = |at: usize| step(&format!("step-{at}"), at % 2, 1, &[]);
        let mut steps: Vec<Step> = (0..4).map(step).collect();
        for step in &mut steps[2..] {
            step.operations = vec![saga_operation((0, Action::Add(2, 1), false))];
        }
        saga(steps)
    };
    for _ in 0..8 {
        world.run_saga(0, all_at_once());
        while world.step_quietly() {}
    }
    let records = world.coordinators[0].appended.iter();
    let mut tries: Vec<TransactionId> = records
        .filter_map(|(_, record)| match record {
            Record::Saga { fact, .. } => match **fact {
                Fact::Tried { transaction, .. } => Some(transaction),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(tries.len(), 32);
    tries.sort();
    tries.dedup();
    assert_eq!(tries.len(), 32, "some are the same");
}

#[test]
fn a_step_that_only_reads_fails_like_any_other() {
    let mut world = World::new(1, 2);
    // Somebody has the account, and keeps it.
    let holder = world.begin(0);
    world.execute(0, holder, 1, &[(0, Action::Add(1, 1), false)]);
    world.run_quietly(Span(50));
    let operation = |at| saga_operation((at, Action::Read(1), true));
    let look = Step {
        operations: vec![operation(0), operation(1)],
        compensation: None,
        retry: Retry {
            attempts: 2,
            try_timeout: Some(Span(500)),
            ..Retry::STEP
        },
        ..step("look", 0, 0, &[])
    };
    let saga = world.run_saga(0, saga(vec![look]));
    world.run_quietly(Span::from_secs(5));
    let view = view(&world, saga);
    assert_eq!(view.state, State::Compensated);
    assert_eq!(view.steps[0].tries, 2);
}

#[test]
fn who_settles_a_step_of_a_saga_that_is_not_stuck_is_told_its_state() {
    let mut world = World::new(1, 2);
    let both = saga(vec![
        step("flight", 0, 5, &[]),
        step("hotel", 1, -500, &["flight"]),
    ]);
    let refused = |world: &mut World, saga, called: &str, resolution| {
        world.resolve_saga_step(0, saga, name(called), resolution);
        world.run_quietly(Span(50));
        let (_, answer) = world.saga_answers.last().expect("an answer").clone();
        answer.map_err(|refusal| (refusal.reason, refusal.message))
    };
    let saga = world.run_saga(0, both);
    world.run_quietly(Span::from_secs(5));
    assert_eq!(world.saga_state(saga), Some(State::Compensated));
    for (called, resolution) in [
        ("flight", Resolution::Compensated),
        ("hotel", Resolution::Compensated),
        ("flight", Resolution::Done),
        ("flight", Resolution::Retry),
    ] {
        let why = format!(
            "saga {saga} is COMPENSATED, and does not wait for a decision by hand: want one that \
             is STUCK"
        );
        let told = refused(&mut world, saga, called, resolution);
        assert_eq!(told, Err((Reason::SAGA_NOT_RESOLVABLE, why)));
    }
}

#[test]
fn a_decision_by_hand_whose_answer_was_lost_can_be_sent_again() {
    let mut world = World::new(1, 2);
    // Its compensation takes more than there is.
    let mut flight = step("flight", 0, 5, &[]);
    flight.compensation = Some(Compensation {
        operations: vec![saga_operation((0, Action::Add(1, -500), false))],
        retry: Retry {
            attempts: 1,
            ..Retry::COMPENSATION
        },
    });
    let saga = world.run_saga(0, saga(vec![flight, step("hotel", 1, -500, &["flight"])]));
    world.run_quietly(Span::from_secs(5));
    assert_eq!(world.saga_state(saga), Some(State::Stuck));
    for _ in 0..2 {
        world.resolve_saga_step(0, saga, name("flight"), Resolution::Compensated);
        world.run_quietly(Span(50));
        assert_eq!(world.saga_answer(saga), Some(Ok(State::Compensated)));
    }
    let hands = view(&world, saga).hands;
    assert_eq!(hands.len(), 1, "it is on record once");
}

/// Sagas under way whose labels alone take the most of a megabyte.
fn large_ones(count: usize) -> World {
    let mut world = World::new(1, 2);
    for _ in 0..count {
        let mut definition = saga(vec![step("flight", 0, 1, &[])]);
        definition.label = "x".repeat(900_000);
        let order = SagaOrder {
            saga: world.mint_saga(),
            coordinator: 0,
            definition,
        };
        world.start_saga(&order);
    }
    world.flush(COORDINATOR);
    world
}

#[test]
fn a_page_of_sagas_fits_into_an_answer() {
    let mut world = large_ones(5);
    let mut below = None;
    let mut pages = Vec::new();
    loop {
        let reply = ask(&mut world, |request| Event::SagasAsked {
            request,
            states: Vec::new(),
            below,
            max: 100,
        });
        let Reply::Sagas { views, more } = reply else {
            panic!("{reply:?}");
        };
        let bytes: usize = views.iter().map(View::bytes).sum();
        assert!(bytes <= limits::SAGA_PAGE_BYTES_MAX, "{bytes}");
        below = views.last().map(|view| view.saga);
        pages.push(views.len());
        if !more {
            break;
        }
    }
    assert_eq!(pages, [3, 2]);
}

#[test]
fn a_piece_of_a_checkpoint_has_some_sagas_and_not_all() {
    let world = large_ones(5);
    let machine = world.coordinators[0].machine.as_ref().expect("it is up");
    let mut cursor = Default::default();
    let mut kept = 0;
    loop {
        let piece = machine.live_records(&mut cursor, 256);
        if piece.is_empty() {
            break;
        }
        let kept_here = piece.iter().filter(|record| match record {
            Record::Saga { fact, .. } => matches!(**fact, Fact::Kept(_)),
            _ => false,
        });
        kept += kept_here.count();
        let bytes: usize = piece.iter().map(|record| record.to_bytes().len()).sum();
        let last_one = limits::SAGA_BYTES_MAX;
        assert!(
            bytes <= limits::SAGA_PIECE_BYTES_MAX + last_one,
            "a piece of {bytes} bytes"
        );
    }
    assert_eq!(kept, 5, "none is left out");
}
