//! The network: it delays, reorders, loses and doubles, and can be cut.

use nemcon_core::coordinator::event::Event as CoordinatorEvent;
use nemcon_core::message::{Answer, Frame, Payload, Vote};
use nemcon_core::message::{Failure, Outcome};
use nemcon_core::participant::event::Event as ParticipantEvent;
use nemcon_core::reason::{Reason, Refusal};

use super::border::{action_place, address, name, participant_id};
use super::node::Micros;
use super::packet::{End, Packet, Waiting};
use super::streams::Ticket;
use super::{Happening, World};
use crate::chance::{Chance, Stream};
use crate::plan::{Place, Plan};
use crate::subject::Subject;

/// How long a caller waits before it takes silence for an answer.
const CALL_TIMEOUT: Micros = 1_000_000;

/// Delay of a message in a network without faults, at most.
const QUIET_DELAY: Micros = 500;

/// A link, or all links of a node, that is cut. `None` is everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) from: Option<End>,
    pub(super) to: Option<End>,
    /// Tells it from others.
    pub(super) number: usize,
}

impl Cut {
    fn covers(&self, from: End, to: End) -> bool {
        self.from.is_none_or(|it| it == from) && self.to.is_none_or(|it| it == to)
    }
}

/// How the network is at the moment.
#[derive(Clone, Debug)]
pub(super) struct Network {
    chance: Chance,
    pub(super) loss: u64,
    pub(super) double: u64,
    pub(super) delay: Micros,
    pub(super) cuts: Vec<Cut>,
}

impl Network {
    /// A network without faults, to begin with.
    pub(super) fn new(plan: &Plan) -> Self {
        let mut network = Self {
            chance: Chance::new(plan.seed, Stream::Network),
            loss: 0,
            double: 0,
            delay: 0,
            cuts: Vec::new(),
        };
        network.calm();
        network
    }

    /// Without any fault.
    pub(super) fn calm(&mut self) {
        (self.loss, self.double) = (0, 0);
        self.delay = QUIET_DELAY;
        self.cuts.clear();
    }

    /// As the plan has it, between its storms.
    pub(super) fn usual(&mut self, plan: &Plan) {
        let shape = &plan.shape;
        (self.loss, self.double) = (shape.loss, shape.double);
        self.delay = shape.delay_ms * 1_000;
    }

    pub(super) fn is_cut(&self, (from, to): (End, End)) -> bool {
        self.cuts.iter().any(|cut| cut.covers(from, to))
    }

    fn takes(&mut self) -> Micros {
        // Most are quick, some are very late.
        1 + self.chance.skewed(self.delay)
    }
}

impl<S: Subject> World<'_, S> {
    /// Sends a message, on a stream if there is one for it; else it may be lost,
    /// doubled, and overtaken.
    pub(super) fn send(&mut self, packet: Packet) {
        let Some(packet) = self.send_on_stream(packet) else {
            return;
        };
        let Some(way) = packet.way() else {
            // It is the sender's own conclusion.
            let at = self.now + 1;
            return self.schedule(at, Happening::Arrival(Box::new(packet)));
        };
        let lost = self.network.is_cut(way) || {
            let loss = self.network.loss;
            self.network.chance.permille(loss)
        };
        if lost {
            self.coverage.fault("message lost");
            return self.lost(&packet);
        }
        let double = self.network.double;
        if self.network.chance.permille(double) {
            self.coverage.fault("message doubled");
            let at = self.now + self.network.takes();
            self.schedule(at, Happening::Arrival(Box::new(packet.clone())));
        }
        let at = self.now + self.network.takes();
        self.schedule(at, Happening::Arrival(Box::new(packet)));
    }

    /// The caller of what is lost may conclude so after a while; or its own timers
    /// have to do.
    fn lost(&mut self, packet: &Packet) {
        if self.network.chance.one_in(2)
            && let Some(failed) = packet.failed(Failure::TimedOut)
        {
            let at = self.now + CALL_TIMEOUT;
            self.schedule(at, Happening::Arrival(Box::new(failed)));
        }
    }

    /// A message arrives, if its receiver is there.
    pub(super) fn arrive(&mut self, packet: Packet) {
        if let Some(way) = packet.way()
            && self.network.is_cut(way)
        {
            return self.lost(&packet);
        }
        let Some(place) = packet.receiver() else {
            return self.take_in(packet, None);
        };
        if packet
            .asked_in()
            .is_some_and(|life| life != self.life(place))
        {
            return;
        }
        if self.is_serving(place) {
            self.take_in(packet, None);
            return self.wake(place);
        }
        self.coverage.fault("nobody there");
        if let Some(line) = packet.line() {
            self.streams.look_again(line);
        }
        // A connection that is refused is noticed at once, and never made.
        if let Some(failed) = packet.failed(Failure::Unreachable) {
            self.send(failed);
        }
    }

    /// A message has come to who is there. `ticket`: by which stream, if by one.
    pub(super) fn take_in(&mut self, packet: Packet, ticket: Option<Ticket>) {
        self.trace.event(self.now, 2, packet_code(&packet));
        let sessions = &self.sessions;
        self.trace.say(self.now, || {
            packet.tell(|session| sessions[session].transaction)
        });
        match packet {
            Packet::Frame {
                from,
                life,
                to,
                frame,
            } => self.take_frame((from, life, ticket), to, frame),
            Packet::Answer {
                from, to, answer, ..
            } => {
                self.note_favour(from, &answer);
                let from = name(from);
                self.tell_coordinator(to, CoordinatorEvent::Answered { from, answer });
            }
            Packet::CallFailed {
                by,
                to,
                call,
                failure,
                ..
            } => {
                let to = name(to);
                self.tell_coordinator(by, CoordinatorEvent::CallFailed { to, call, failure });
            }
            Packet::Ask {
                from,
                life,
                whom,
                source,
                attempt,
            } => {
                let participant = from;
                let waiting = Waiting::Asker {
                    participant,
                    life,
                    source,
                    attempt,
                };
                let request = self.request(whom, waiting);
                match whom {
                    Place::Coordinator(at) => {
                        self.tell_coordinator(
                            at,
                            CoordinatorEvent::VerdictAsked { request, attempt },
                        );
                    }
                    Place::Participant(at) => {
                        self.tell_participant(at, ParticipantEvent::PeerAsked { request, attempt });
                    }
                }
            }
            Packet::Verdict {
                to,
                source,
                attempt,
                verdict,
                ..
            } => self.tell_participant(
                to,
                ParticipantEvent::VerdictHeard {
                    attempt,
                    from: source,
                    verdict,
                },
            ),
            Packet::Damage {
                from,
                life,
                to,
                attempt,
                by_hand,
                reason,
            } => self.take_damage((from, life), to, (attempt, by_hand, reason)),
            Packet::DamageAnswered {
                to,
                attempt,
                result,
                ..
            } => self.tell_participant(
                to,
                ParticipantEvent::DamageReportAnswered { attempt, result },
            ),
            Packet::Register { from, life, to } => self.take_registration(from, life, to),
            Packet::Registered { from, to, life } => {
                self.registered(to, life, from);
            }
            Packet::Request {
                to,
                session,
                serial,
                ask,
            } => {
                let waiting = Waiting::Client {
                    session,
                    serial,
                    ticket,
                };
                let request = self.request(Place::Coordinator(to), waiting);
                let event = self.request_event(session, request, ask);
                self.tell_coordinator(to, event);
            }
            Packet::Reply {
                session,
                serial,
                reply,
                ..
            } => self.answered(session, serial, reply),
        }
    }

    fn take_frame(
        &mut self,
        (coordinator, life, ticket): (usize, u32, Option<Ticket>),
        to: usize,
        frame: Frame<Payload>,
    ) {
        let place = Place::Participant(to);
        let request = self.request(
            place,
            Waiting::Frame {
                coordinator,
                life,
                call: frame.message.call(),
                ticket,
            },
        );
        let actions = &self.actions;
        let frame = frame.map_actions(|payload, _| {
            let action = actions.get(action_place(&payload)).cloned();
            action.ok_or_else(|| Refusal::new(Reason::INVALID_ACTION, "no such action"))
        });
        self.tell_participant(to, ParticipantEvent::FrameReceived { request, frame });
    }

    fn take_damage(
        &mut self,
        (from, life): (usize, u32),
        to: usize,
        (attempt, by_hand, reason): (nemcon_core::id::AttemptId, Outcome, String),
    ) {
        let waiting = Waiting::Damage {
            participant: from,
            life,
            attempt,
        };
        let request = self.request(Place::Coordinator(to), waiting);
        let event = CoordinatorEvent::DamageReported {
            request,
            participant: name(from),
            attempt,
            by_hand,
            reason,
        };
        self.tell_coordinator(to, event);
    }

    fn take_registration(&mut self, from: usize, life: u32, to: usize) {
        let Some(machine) = self.participants[from].machine() else {
            return;
        };
        let (began, restored) = (Some(machine.began()), machine.restored());
        let waiting = Waiting::Registration {
            participant: from,
            life,
        };
        let request = self.request(Place::Coordinator(to), waiting);
        let event = CoordinatorEvent::RegisterRequested {
            request,
            name: name(from),
            id: participant_id(from),
            address: address(Place::Participant(from)),
            began,
            restored,
        };
        self.tell_coordinator(to, event);
    }

    /// A vote counts for the coordinator when it arrives there.
    fn note_favour(&mut self, from: usize, answer: &Answer<Payload>) {
        if let Answer::Voted {
            attempt,
            vote: Vote::Yes(_) | Vote::ReadOnly(_),
            ..
        } = answer
        {
            let favour = self.facts.in_favour.entry(*attempt).or_default();
            favour.insert(name(from));
        }
    }

    pub(super) fn tell_coordinator(&mut self, at: usize, event: CoordinatorEvent) {
        self.coordinators[at].tell(event);
    }

    pub(super) fn tell_participant(&mut self, at: usize, event: ParticipantEvent<S::Action>) {
        self.participants[at].tell(event);
    }
}

/// Tells messages apart in the hash of the event log.
fn packet_code(packet: &Packet) -> u64 {
    let kind = match packet {
        Packet::Frame { frame, .. } => 1 + frame.header.floor.sequence.0,
        Packet::Answer { .. } => 2,
        Packet::CallFailed { .. } => 3,
        Packet::Ask { .. } => 4,
        Packet::Verdict { .. } => 5,
        Packet::Damage { .. } => 6,
        Packet::DamageAnswered { .. } => 7,
        Packet::Register { .. } => 8,
        Packet::Registered { .. } => 9,
        Packet::Request { serial, .. } => 10 + (serial << 8),
        Packet::Reply { serial, .. } => 11 + (serial << 8),
    };
    let receiver = packet.receiver().map_or(0xfff, super::place_code);
    kind << 16 | receiver
}
