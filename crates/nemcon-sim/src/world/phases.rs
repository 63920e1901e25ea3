//! The course of a run: everybody gets to know each other, then everything goes
//! wrong, then all is healed and everything must finish.

use nemcon_core::invariants;

use super::node::Micros;
use super::packet::place_words;
use super::{Happening, LOOK_EVERY, Run, World};
use crate::checkers::{self, Failure, liveness};
use crate::plan::{Manner, Order, Place};
use crate::subject::Subject;

/// When everyone knows everyone, and the opening has been made.
const BEGINS: Micros = 2_000_000;

/// After all is healed nothing may be unfinished for longer than this: a retry
/// waits 5 s at most, a lease is the longest deadline and 5 s.
pub(crate) const FINISHES_WITHIN: Micros = 60_000_000;

/// How long clients that did not know their outcome may take to learn it.
const LEARNS_WITHIN: Micros = 30_000_000;

impl<S: Subject> World<'_, S> {
    /// Goes through all phases.
    pub(crate) fn run(mut self) -> Run {
        self.get_to_know();
        self.go_through_faults();
        self.finish();
        self.learn();
        self.settle();
        self.into_run()
    }

    fn get_to_know(&mut self) {
        let late = self.shape.participants - self.shape.late;
        for at in 0..late {
            self.start(Place::Participant(at));
        }
        for at in 0..self.shape.coordinators {
            self.start(Place::Coordinator(at));
        }
        self.run_until(BEGINS / 2);
        for at in 0..late {
            let steps = S::opening(at, self.shape);
            if steps.is_empty() {
                continue;
            }
            self.orders.push(Order {
                at_ms: 0,
                coordinator: 0,
                manner: Manner::OneShot,
                steps,
                claims: Vec::new(),
                marked: false,
                tries: 3,
                patience_ms: 200,
                reruns: true,
                repeats_after_ms: 0,
            });
            let order = self.orders.len() - 1;
            self.open_session(order, None);
        }
        self.run_until(BEGINS);
    }

    fn go_through_faults(&mut self) {
        self.network.usual(self.plan);
        for (order, it) in self.plan.orders.iter().enumerate() {
            if self.plan.left_out.contains(&order) {
                continue;
            }
            let at = BEGINS + it.at_ms * 1_000;
            self.schedule(at, Happening::Order(order));
        }
        for (fault, it) in self.plan.faults.iter().enumerate() {
            let at = BEGINS + it.at_ms * 1_000;
            self.schedule(at, Happening::Fault(fault));
        }
        self.schedule(BEGINS, Happening::Look);
        self.run_until(BEGINS + self.shape.length_ms * 1_000);
    }

    /// All is healed: whatever was begun must end.
    fn finish(&mut self) {
        if self.failure.is_some() {
            return;
        }
        self.trace.say(self.now, || String::from("ALL IS HEALED"));
        self.heal();
        let end = self.now + FINISHES_WITHIN;
        while self.failure.is_none() && self.now < end && self.unfinished().is_some() {
            self.run_until(self.now + LOOK_EVERY);
            self.look();
        }
        if self.failure.is_none()
            && let Some(story) = self.unfinished()
        {
            self.fail(liveness::unfinished(&story));
        }
    }

    /// Something that is not finished, in words.
    fn unfinished(&self) -> Option<String> {
        for (at, node) in self.coordinators.iter().enumerate() {
            let place = place_words(Place::Coordinator(at));
            let Some(machine) = node.machine().filter(|_| node.is_serving()) else {
                return Some(format!("{place} does not serve"));
            };
            if let Some((transaction, state)) = machine.states().next() {
                return Some(format!("{transaction} is {state:?} at {place}"));
            }
        }
        for (at, node) in self.participants.iter().enumerate() {
            let place = place_words(Place::Participant(at));
            let Some(machine) = node.machine().filter(|_| node.is_serving()) else {
                return Some(format!("{place} does not serve"));
            };
            if let Err(violation) = invariants::all_is_over(machine) {
                return Some(violation.story);
            }
        }
        // A report of damage is repeated until it is heard.
        let damage = checkers::damage::check(&self.facts);
        damage.err().map(|failure| failure.story)
    }

    /// Clients that do not know their outcome come back, and learn it.
    fn learn(&mut self) {
        if self.failure.is_some() {
            return;
        }
        self.trace
            .say(self.now, || String::from("CLIENTS COME BACK"));
        let unsure = (0..self.sessions.len()).filter(|it| self.sessions[*it].is_unsure());
        let unsure: Vec<usize> = unsure.collect();
        for session in &unsure {
            self.refusals.remove(session);
            self.orders_tries(*session);
            self.come_back(*session);
        }
        let end = self.now + LEARNS_WITHIN;
        while self.failure.is_none()
            && self.now < end
            && unsure.iter().any(|it| !self.sessions[*it].over)
        {
            self.run_until(self.now + LOOK_EVERY);
        }
        // What they ran is over too.
        let end = self.now + FINISHES_WITHIN;
        while self.failure.is_none() && self.now < end && self.unfinished().is_some() {
            self.run_until(self.now + LOOK_EVERY);
        }
        for session in unsure {
            if self.failure.is_none() {
                let it = &self.sessions[session];
                let one_shot = self.order(session).manner == Manner::OneShot;
                let refused = self.refusals.get(&session).map(String::as_str);
                if let Err(failure) = liveness::client_knows(it, one_shot, refused) {
                    self.fail(failure);
                }
            }
        }
    }

    /// Who comes back has all the patience it takes.
    fn orders_tries(&mut self, session: usize) {
        let order = self.sessions[session].order;
        self.orders[order].tries = 20;
        self.orders[order].patience_ms = 1_000;
    }

    /// Looks at everything that must hold at any time.
    pub(super) fn look(&mut self) {
        if let Err(failure) = checkers::at_any_time(self) {
            self.fail(failure);
        }
    }

    pub(super) fn look_at_participant(&mut self, at: usize) {
        if let Err(failure) = checkers::of_participant(self, at) {
            self.fail(failure);
        }
    }

    /// Looks at everything that must hold in the end.
    fn settle(&mut self) {
        if self.failure.is_none() {
            self.look();
        }
        if self.failure.is_none() {
            match checkers::in_the_end(self) {
                Ok(looked_at) => self.coverage.outcome(looked_at),
                Err(failure) => self.fail(failure),
            }
        }
    }

    fn into_run(mut self) -> Run {
        for it in &self.sessions {
            self.trace.mix(match it.told {
                super::Told::Nothing => 0,
                super::Told::Committed(_) => 1,
                super::Told::Aborted => 2,
                super::Told::Unknown => 3,
            });
        }
        Run {
            failure: self.failure.map(|failure| Failure {
                event: self.trace.events(),
                ..failure
            }),
            hash: self.trace.hash(),
            events: self.trace.events(),
            simulated_ms: self.now / 1_000,
            coverage: self.coverage,
            story: self.trace.into_story(),
        }
    }
}
