//! What participants ask for, carried out.

use nemcon_core::id::RequestId;
use nemcon_core::message::{Answer, Failure as CallFailure, Vote};
use nemcon_core::participant::Participant;
use nemcon_core::participant::event::{Alarm, Effect, Reply};
use nemcon_core::reason::Reason;

use super::border::{reached, result_payload};
use super::node::{Micros, Turn};
use super::packet::{Packet, Waiting};
use super::{ANSWERS, Happening, World};
use crate::checkers::{Failure, deadlocks, leaked_locks, prepared_locks};
use crate::plan::Place;
use crate::subject::Subject;

/// How long a participant waits before it tries again to make itself known.
const REGISTERS_AGAIN: Micros = 700_000;

impl<S: Subject> World<'_, S> {
    /// A participant's driver has taken a turn.
    pub(super) fn participant_turned(&mut self, at: usize, turn: Turn<Participant<S>>) {
        let place = Place::Participant(at);
        for row in turn.rows {
            self.coverage.row(row);
        }
        for (lsn, record) in &turn.records {
            self.trace.event(self.now, 4, lsn.0 << 16 | at as u64);
            self.trace
                .say(self.now, || format!("p{at} logs {record:?}"));
            self.facts.participant_logged(at, record);
        }
        let drained = turn
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Drained));
        for effect in turn.effects {
            self.participant_effect(at, effect);
        }
        if let Some(death) = turn.dies {
            return self.die(place, death);
        }
        if drained {
            return self.stop_participant(at);
        }
        if turn.serves {
            let life = self.life(place);
            for coordinator in 0..self.shape.coordinators {
                self.register(at, life, coordinator);
            }
            self.look_at_participant(at);
        }
        if let Some(machine) = self.participants[at].machine()
            && let Err(violation) = prepared_locks::check(machine, &self.facts.locks[at])
                .and_then(|()| leaked_locks::check(at, machine, &self.facts.epochs))
        {
            self.fail(violation.into());
        }
        self.watch_deadlocks();
    }

    /// Looks at who waits for whom, everywhere at this moment.
    fn watch_deadlocks(&mut self) {
        let mut tables = Vec::new();
        for (at, node) in self.participants.iter().enumerate() {
            let Some(machine) = node.machine() else {
                continue;
            };
            if let Some((waiter, holder)) = machine.locks().overtaken() {
                let story = format!("{holder} has overtaken {waiter} at p{at}");
                return self.fail(Failure::new("I14 (first come, first served)", story));
            }
            if machine.locks().waiters() > 0 {
                tables.push(deadlocks::Table {
                    at,
                    boot: machine.boot(),
                    queues: machine.locks().contended().collect(),
                });
            }
        }
        if let Err(failure) = deadlocks::Watch::check_at_one(&tables) {
            return self.fail(failure);
        }
        self.deadlocks.see(self.now, &tables);
        if let Some(calm_since) = self.calm_since
            && let Err(failure) = self.deadlocks.check(self.now, calm_since)
        {
            self.fail(failure);
        }
    }

    fn participant_effect(&mut self, at: usize, effect: Effect<S::Result>) {
        let place = Place::Participant(at);
        match effect {
            Effect::Answer { request, answer } => self.participant_answers(at, request, answer),
            Effect::Reply { request, reply } => {
                match (self.waiting.remove(&(place, request)), reply) {
                    (
                        Some(Waiting::Asker {
                            participant,
                            life,
                            source,
                            attempt,
                        }),
                        Reply::Verdict(verdict),
                    ) => self.send(Packet::Verdict {
                        from: place,
                        to: participant,
                        life,
                        source,
                        attempt,
                        verdict: Ok(verdict),
                    }),
                    (Some(Waiting::Nobody), _) => {}
                    (None, _) => self.answered_twice(place, request),
                    (Some(waiting), _) => {
                        let story = format!("p{at} gives {waiting:?} an answer of another kind");
                        self.fail(Failure::new(ANSWERS, story));
                    }
                }
            }
            Effect::Ask {
                attempt,
                whom,
                address,
            } => self.send(Packet::Ask {
                from: at,
                life: self.life(place),
                whom: reached(&address),
                source: whom,
                attempt,
            }),
            Effect::ReportDamage {
                attempt,
                by_hand,
                reason,
                address,
            } => {
                if let Place::Coordinator(to) = reached(&address) {
                    self.send(Packet::Damage {
                        from: at,
                        life: self.life(place),
                        to,
                        attempt,
                        by_hand,
                        reason,
                    });
                }
            }
            Effect::Alarm(alarm) => {
                self.trace
                    .say(self.now, || format!("p{at} alarms: {alarm:?}"));
                match alarm {
                    Alarm::HeuristicDamage(_) => {}
                    Alarm::ProtocolViolated { attempt, what } => {
                        let story = format!(
                            "p{at} says that the protocol was broken about {attempt}: {what}"
                        );
                        self.facts.alarms.push(story);
                    }
                }
            }
            // Seen to at the end of the turn.
            Effect::Drained => {}
        }
    }

    fn participant_answers(&mut self, at: usize, request: RequestId, answer: Answer<S::Result>) {
        let place = Place::Participant(at);
        let Some(waiting) = self.waiting.remove(&(place, request)) else {
            return self.answered_twice(place, request);
        };
        let Waiting::Frame {
            coordinator,
            life,
            call,
            ticket,
        } = waiting
        else {
            let story = format!("p{at} gives {waiting:?} an answer to a call");
            return self.fail(Failure::new(ANSWERS, story));
        };
        if let Answer::WaitFailed {
            victim,
            failed: true,
        } = &answer
            && let Err(failure) = self.deadlocks.gave_way(at, *victim)
        {
            return self.fail(failure);
        }
        if let Answer::Voted {
            attempt,
            vote: Vote::Yes(_),
            ..
        } = &answer
        {
            self.facts.promised[at].insert(*attempt);
        }
        let empty = S::empty();
        let answer = answer.map_results(|result| result_payload(empty.encode_result(&result)));
        if let Answer::Refused { refusal, .. } = &answer {
            self.coverage.reason(refusal.reason.as_str());
            if refusal.reason == Reason::WRONG_PARTICIPANT {
                let story = format!("p{at} says that a message for it was not: {refusal}");
                return self.fail(Failure::new(ANSWERS, story));
            }
            if refusal.reason == Reason::NOT_SERVING {
                // As the nodes' border has it: it has not been taken in.
                let failed = Packet::CallFailed {
                    by: coordinator,
                    life,
                    to: at,
                    call,
                    failure: CallFailure::Unreachable,
                };
                return self.send_back(ticket, failed);
            }
        }
        if let Answer::Voted {
            vote: Vote::No(refusal),
            ..
        } = &answer
        {
            self.coverage.reason(refusal.reason.as_str());
        }
        let answer = Packet::Answer {
            from: at,
            to: coordinator,
            life,
            answer,
        };
        self.send_back(ticket, answer);
    }

    /// A participant tries to make itself known, until it hears that it is.
    pub(super) fn register(&mut self, participant: usize, life: u32, coordinator: usize) {
        let node = &self.participants[participant];
        if node.life != life || !node.is_serving() {
            return;
        }
        if self
            .registrations
            .contains(&(participant, life, coordinator))
        {
            return;
        }
        self.send(Packet::Register {
            from: participant,
            life,
            to: coordinator,
        });
        let at = self.now + REGISTERS_AGAIN;
        self.schedule(
            at,
            Happening::Registration {
                participant,
                life,
                coordinator,
            },
        );
    }

    pub(super) fn registered(&mut self, participant: usize, life: u32, coordinator: usize) {
        self.registrations.insert((participant, life, coordinator));
    }
}
