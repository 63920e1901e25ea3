//! A participant that is away for long: what it costs the coordinator, and how it
//! is caught up.

use nemcon_core::coordinator::Held;
use nemcon_core::message::Outcome;
use nemcon_core::time::Span;

use crate::registers::Action;
use crate::world::{Order, Place, World, name};

const HERE: usize = 0;
const AWAY: usize = 1;
const THIRD: usize = 2;

/// Transfers that are decided when it goes away.
const DECIDED: usize = 20;

/// Outcomes that are remembered.
const REMEMBERED: usize = 500;

fn transfer(world: &mut World, from: usize, to: usize, number: usize) -> Order {
    // None is wanted again before who had it has given up.
    let register = (number % 200) as u8;
    world.run(
        0,
        vec![
            (from, Action::Add(register, -1), false),
            (to, Action::Add(register, 1), false),
        ],
    )
}

fn deliver_all(world: &mut World) {
    while world.in_flight() > 0 {
        world.deliver(0);
    }
}

fn held(world: &World) -> Held {
    let machine = world.coordinators[0].machine.as_ref();
    machine.expect("the coordinator is up").held()
}

fn unfinished(world: &World) -> usize {
    let machine = world.coordinators[0].machine.as_ref();
    let machine = machine.expect("the coordinator is up");
    machine.unfinished(&name(AWAY))
}

/// Decides some transfers and lets the participant die before it hears of it.
fn decide_and_lose(world: &mut World) -> Vec<Order> {
    let decided = (0..DECIDED)
        .map(|number| transfer(world, HERE, AWAY, number))
        .collect();
    deliver_all(world);
    world.flush(Place::Participant(HERE));
    world.flush(Place::Participant(AWAY));
    deliver_all(world);
    world.crash(Place::Participant(AWAY), 0);
    world.run_quietly(Span(500));
    assert_eq!(unfinished(world), DECIDED);
    decided
}

#[test]
fn an_hour_away_under_load_costs_no_more_than_a_moment_and_is_caught_up() {
    let mut world = World::remembering(1, 3, REMEMBERED);
    let decided = decide_and_lose(&mut world);
    let gone_at = world.now;

    // Two in a second want it, and abort when their 10 s are over; now and then
    // one does not.
    let mut most = Held::default();
    let mut number = DECIDED;
    while world.now.since(gone_at) < Span::from_secs(3_600) {
        transfer(&mut world, HERE, AWAY, number);
        transfer(&mut world, AWAY, THIRD, number + 1);
        if number.is_multiple_of(20) {
            transfer(&mut world, HERE, THIRD, number);
        }
        number += 2;
        world.run_quietly(Span(1_000));
        most = most.most(held(&world));
    }
    assert!(world.orders.len() > 7_000, "{}", world.orders.len());

    // In flight are those of the last 10 s, and what is decided.
    let in_flight = 2 * 11 + 2;
    assert!(most.running <= DECIDED + in_flight, "{most:?}");
    assert!(most.attempts <= DECIDED + in_flight, "{most:?}");
    assert!(most.unfinished <= DECIDED + 2 * in_flight, "{most:?}");
    // A deadline or two calls to be repeated each, and one probe.
    assert!(most.timers <= DECIDED + 3 * in_flight + 1, "{most:?}");
    assert_eq!(most.open, 0, "{most:?}");
    assert_eq!(most.remembered, REMEMBERED, "{most:?}");

    // Nobody wants it any more but what was decided; and it comes back.
    world.run_quietly(Span::from_secs(11));
    assert_eq!(unfinished(&world), DECIDED);
    world.start(Place::Participant(AWAY));
    world.run_quietly(Span::from_secs(10));
    let after = held(&world);
    assert_eq!(unfinished(&world), 0, "everything is acknowledged");
    assert_eq!(
        (
            after.running,
            after.attempts,
            after.unfinished,
            after.timers
        ),
        (0, 0, 0, 0),
        "{after:?}"
    );
    for order in &decided {
        assert_eq!(world.outcome(order.transaction), Some(Outcome::Committed));
    }
    world.check().expect("all invariants hold");

    // And goes on as if it had never been away.
    let next = transfer(&mut world, HERE, AWAY, 0);
    world.run_quietly(Span(500));
    assert_eq!(world.outcome(next.transaction), Some(Outcome::Committed));
    world.check().expect("all invariants hold");
}
