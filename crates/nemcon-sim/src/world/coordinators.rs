//! What coordinators ask for, carried out.

use nemcon_core::coordinator::Coordinator;
use nemcon_core::coordinator::event::{Alarm, Effect, Reply};
use nemcon_core::id::RequestId;
use nemcon_core::message::ToParticipant;

use super::border::place_of;
use super::node::Turn;
use super::packet::{Packet, Waiting};
use super::streams::Line;
use super::{ANSWERS, World, packet};
use crate::checkers::{Failure, unanimity};
use crate::plan::Place;
use crate::subject::Subject;

impl<S: Subject> World<'_, S> {
    /// A coordinator's driver has taken a turn.
    pub(super) fn coordinator_turned(&mut self, at: usize, turn: Turn<Coordinator>) {
        let place = Place::Coordinator(at);
        for row in turn.rows {
            self.coverage.row(row);
        }
        for (lsn, record) in &turn.records {
            self.trace.event(self.now, 3, lsn.0 << 16 | at as u64);
            self.trace
                .say(self.now, || format!("c{at} logs {record:?}"));
            self.facts.coordinator_logged(at, record);
        }
        for decided in turn.records.iter().filter_map(|(_, record)| match record {
            nemcon_core::coordinator::record::Record::Decided(decided) => Some(decided.attempt),
            _ => None,
        }) {
            if let Err(violation) = unanimity::check(&self.facts, at, decided) {
                self.fail(violation.into());
            }
        }
        let drained = turn
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Drained));
        for effect in turn.effects {
            self.coordinator_effect(at, effect);
        }
        if let Some(death) = turn.dies {
            self.die(place, death);
        } else if drained {
            self.stop_coordinator(at);
        }
    }

    fn coordinator_effect(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Send { to, frame } => {
                if let ToParticipant::Prepare(prepare) = &frame.message {
                    let peers = prepare.peers.iter().map(|peer| peer.name.clone());
                    let asked = self.facts.asked.entry(prepare.task.attempt).or_default();
                    asked.extend(peers);
                }
                let to = place_of(&to);
                let life = self.life(Place::Coordinator(at));
                self.send(Packet::Frame {
                    from: at,
                    life,
                    to,
                    frame,
                });
            }
            Effect::Reply { request, reply } => self.coordinator_reply(at, request, reply),
            Effect::Alarm(alarm) => {
                self.trace
                    .say(self.now, || format!("c{at} alarms: {alarm:?}"));
                match alarm {
                    Alarm::HeuristicDamage(_) | Alarm::SagaStuck { .. } => {}
                    Alarm::ProtocolViolated { participant, what } => {
                        let story =
                            format!("c{at} says that {participant} broke the protocol: {what}");
                        self.facts.alarms.push(story);
                    }
                }
            }
            // Seen to at the end of the turn.
            Effect::Drained => {}
            Effect::Link { name, .. } => self.streams.look_again(Line {
                asker: Some(Place::Coordinator(at)),
                at: Place::Participant(place_of(&name)),
            }),
            Effect::Unlink { .. } | Effect::Changed(_) | Effect::SagaChanged { .. } => {}
        }
    }

    fn coordinator_reply(&mut self, at: usize, request: RequestId, reply: Reply) {
        let place = Place::Coordinator(at);
        let Some(waiting) = self.waiting.remove(&(place, request)) else {
            return self.answered_twice(place, request);
        };
        match (waiting, reply) {
            (
                Waiting::Client {
                    session,
                    serial,
                    ticket,
                },
                reply,
            ) => {
                let reply = Packet::Reply {
                    from: at,
                    session,
                    serial,
                    reply,
                };
                self.send_back(ticket, reply);
            }
            (
                Waiting::Asker {
                    participant,
                    life,
                    source,
                    attempt,
                },
                Reply::Verdict(verdict),
            ) => self.send(Packet::Verdict {
                from: place,
                to: participant,
                life,
                source,
                attempt,
                verdict: Ok(verdict),
            }),
            (
                Waiting::Damage {
                    participant,
                    life,
                    attempt,
                },
                Reply::Done,
            ) => self.send(Packet::DamageAnswered {
                from: at,
                to: participant,
                life,
                attempt,
                result: Ok(()),
            }),
            (Waiting::Registration { participant, life }, Reply::Registered { .. }) => {
                self.send(Packet::Registered {
                    from: at,
                    to: participant,
                    life,
                });
            }
            (Waiting::Registration { participant, .. }, Reply::Refused(refusal)) => {
                // Nobody here has an old copy of anything.
                let story = format!("c{at} refuses to register p{participant}: {refusal}");
                self.fail(Failure::new(
                    "registration (a known participant is known again)",
                    story,
                ));
            }
            (_, Reply::Refused(refusal)) => self.coverage.reason(refusal.reason.as_str()),
            (Waiting::Nobody, _) => {}
            (waiting, reply) => {
                let story = format!("c{at} gives {waiting:?} the answer {reply:?}");
                self.fail(Failure::new(ANSWERS, story));
            }
        }
    }

    pub(super) fn answered_twice(&mut self, place: Place, request: RequestId) {
        let story = format!(
            "{} answers request {request} twice, or was never asked",
            packet::place_words(place)
        );
        self.fail(Failure::new(ANSWERS, story));
    }
}
