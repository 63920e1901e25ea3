//! A whole cluster in one place: coordinators, participants, clients, and a
//! network that the test schedules message by message.

use std::collections::{BTreeMap, BTreeSet};

use nemcon_core::codec::Codec;
use nemcon_core::coordinator::event::{
    AddressedOperation, Begin, Effect as CoordinatorEffect, Ending, Event as CoordinatorEvent,
    Reply as CoordinatorReply,
};
use nemcon_core::coordinator::record::Record as CoordinatorRecord;
use nemcon_core::coordinator::{self, Coordinator};
use nemcon_core::id::{
    AttemptId, CoordinatorId, ParticipantId, ParticipantName, RequestId, TransactionId,
};
use nemcon_core::invariants::{self, Claim, Unanimity, Violation};
use nemcon_core::lock::{LockKey, Mode};
use nemcon_core::machine::Wake;
use nemcon_core::message::{
    Alone, Answer, Call, Failure, Frame, Operation, OperationsHash, Outcome, Payload,
    ToParticipant, Trace, Verdict, Vote, Work,
};
use nemcon_core::participant::event::{
    Effect as ParticipantEffect, Event as ParticipantEvent, Reply as ParticipantReply, Source,
};
use nemcon_core::participant::record::Record as ParticipantRecord;
use nemcon_core::participant::view::{AttemptView, Standing};
use nemcon_core::participant::{self, Participant};
use nemcon_core::reason::Reason;
use nemcon_core::time::{Millis, Span};
use uuid::Uuid;

use crate::node::Node;
use crate::registers::{Action, Registers};

/// A node by place: coordinators first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Coordinator(usize),
    Participant(usize),
}

/// What is on its way.
#[derive(Clone, Debug)]
enum Packet {
    Frame {
        from: usize,
        /// The participant that is meant.
        meant: usize,
        /// The one that is reached.
        to: usize,
        frame: Frame<Payload>,
    },
    Answer {
        from: usize,
        to: usize,
        answer: Answer<Payload>,
    },
    Lost {
        from: usize,
        to: usize,
        call: Call,
        failure: Failure,
    },
    Ask {
        from: usize,
        whom: Place,
        source: Source,
        attempt: AttemptId,
    },
    Verdict {
        to: usize,
        source: Source,
        attempt: AttemptId,
        verdict: Result<Verdict, Failure>,
    },
    Damage {
        from: usize,
        to: usize,
        attempt: AttemptId,
        by_hand: Outcome,
        reason: String,
    },
    DamageAnswered {
        to: usize,
        attempt: AttemptId,
        result: Result<(), Failure>,
    },
}

impl Packet {
    /// The node that must be up to take it.
    fn receiver(&self) -> Place {
        match self {
            Self::Frame { to, .. } => Place::Participant(*to),
            Self::Answer { to, .. } | Self::Lost { from: to, .. } => Place::Coordinator(*to),
            Self::Ask { whom, .. } => *whom,
            Self::Verdict { to, .. } | Self::DamageAnswered { to, .. } => Place::Participant(*to),
            Self::Damage { to, .. } => Place::Coordinator(*to),
        }
    }
}

/// Who waits behind a request.
#[derive(Clone, Debug)]
enum Waiting {
    Client {
        transaction: TransactionId,
    },
    Frame {
        coordinator: usize,
        participant: usize,
        call: Call,
    },
    Asker {
        participant: usize,
        source: Source,
        attempt: AttemptId,
    },
    Damage {
        participant: usize,
        attempt: AttemptId,
    },
    Nobody,
}

/// A one-shot transaction as a client keeps it, to send it again.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) transaction: TransactionId,
    pub(crate) coordinator: usize,
    pub(crate) operations: Vec<(usize, Action, bool)>,
}

/// How many messages passed between a coordinator and participants, and how often
/// a disk was waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) coordinator_forced: usize,
    pub(crate) participants_forced: usize,
    pub(crate) messages: usize,
}

pub(crate) struct World {
    pub(crate) now: Millis,
    pub(crate) coordinators: Vec<Node<Coordinator>>,
    pub(crate) participants: Vec<Node<Participant<Registers>>>,
    network: Vec<Packet>,
    waiting: BTreeMap<(Place, RequestId), Waiting>,
    requests: u64,
    minted: u64,
    pub(crate) orders: Vec<Order>,
    /// What clients were told, in order.
    pub(crate) answers: Vec<(TransactionId, Outcome)>,
    pub(crate) results: BTreeMap<TransactionId, Vec<i64>>,
    /// Refusals without an outcome.
    pub(crate) refused: Vec<(TransactionId, String)>,
    asked: BTreeMap<AttemptId, BTreeSet<ParticipantName>>,
    in_favour: BTreeMap<AttemptId, BTreeSet<ParticipantName>>,
    promised: Vec<BTreeSet<AttemptId>>,
    /// Interactive transactions and where they run.
    pub(crate) interactive: Vec<(usize, TransactionId)>,
    /// How many pieces of them were answered.
    answered: BTreeMap<TransactionId, u32>,
    pub(crate) pieces: BTreeMap<TransactionId, Vec<i64>>,
    messages: usize,
    remember_max: usize,
    /// Frames for a participant that reach another one, at its old address.
    redirected: BTreeMap<usize, usize>,
    pub(crate) alarms: Vec<String>,
}

pub(crate) fn name(participant: usize) -> ParticipantName {
    ParticipantName::new(format!("p{participant}")).expect("a name")
}

fn place_of(name: &ParticipantName) -> usize {
    name.as_str()[1..].parse().expect("a number")
}

fn identity(coordinator: usize) -> CoordinatorId {
    CoordinatorId::new(Uuid::from_u128(0xc000 + coordinator as u128))
}

fn coordinator_of(id: CoordinatorId) -> usize {
    (id.uuid().as_u128() - 0xc000) as usize
}

fn address_of(address: &str) -> Place {
    let number = address[1..].parse().expect("a number");
    if address.starts_with('c') {
        Place::Coordinator(number)
    } else {
        Place::Participant(number)
    }
}

fn payload(action: Action) -> Payload {
    let (kind, register, amount) = match action {
        Action::Read(register) => (0u8, register, 0),
        Action::Add(register, amount) => (1, register, amount),
    };
    Payload {
        type_url: "action".into(),
        value: (kind, register, amount).to_bytes(),
    }
}

fn action(payload: &Payload) -> Action {
    match <(u8, u8, i64)>::from_bytes(&payload.value).expect("an action") {
        (0, register, _) => Action::Read(register),
        (_, register, amount) => Action::Add(register, amount),
    }
}

fn encode(results: Vec<i64>) -> Vec<Payload> {
    let encode = |value: i64| Payload {
        type_url: "result".into(),
        value: value.to_bytes(),
    };
    results.into_iter().map(encode).collect()
}

fn decode(results: &[Payload]) -> Vec<i64> {
    results
        .iter()
        .map(|payload| i64::from_bytes(&payload.value).expect("a result"))
        .collect()
}

impl World {
    /// A cluster in which everyone knows everyone.
    pub(crate) fn new(coordinators: usize, participants: usize) -> Self {
        Self::remembering(coordinators, participants, 50)
    }

    /// The same, in which nodes remember so many outcomes.
    pub(crate) fn remembering(
        coordinators: usize,
        participants: usize,
        remember_max: usize,
    ) -> Self {
        let mut world = Self {
            now: Millis(1_000_000),
            coordinators: (0..coordinators).map(|_| Node::new()).collect(),
            participants: (0..participants).map(|_| Node::new()).collect(),
            network: Vec::new(),
            waiting: BTreeMap::new(),
            requests: 0,
            minted: 0,
            orders: Vec::new(),
            answers: Vec::new(),
            results: BTreeMap::new(),
            refused: Vec::new(),
            asked: BTreeMap::new(),
            in_favour: BTreeMap::new(),
            promised: vec![BTreeSet::new(); participants],
            interactive: Vec::new(),
            answered: BTreeMap::new(),
            pieces: BTreeMap::new(),
            messages: 0,
            remember_max,
            redirected: BTreeMap::new(),
            alarms: Vec::new(),
        };
        for participant in 0..participants {
            world.start(Place::Participant(participant));
        }
        for coordinator in 0..coordinators {
            world.start(Place::Coordinator(coordinator));
            for participant in 0..participants {
                world.register(coordinator, participant);
            }
        }
        world.run_quietly(Span(100));
        world
    }

    fn register(&mut self, coordinator: usize, participant: usize) {
        let request = self.request(Place::Coordinator(coordinator), Waiting::Nobody);
        let event = CoordinatorEvent::RegisterRequested {
            request,
            name: name(participant),
            id: ParticipantId::new(Uuid::from_u128(participant as u128)),
            address: format!("p{participant}"),
        };
        self.tell_coordinator(coordinator, event);
    }

    fn request(&mut self, at: Place, waiting: Waiting) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.waiting.insert((at, request), waiting);
        request
    }

    pub(crate) fn is_up(&self, place: Place) -> bool {
        match place {
            Place::Coordinator(at) => self.coordinators[at].machine.is_some(),
            Place::Participant(at) => self.participants[at].machine.is_some(),
        }
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        let coordinators = (0..self.coordinators.len()).map(Place::Coordinator);
        coordinators
            .chain((0..self.participants.len()).map(Place::Participant))
            .collect()
    }

    /// Starts a node that is down.
    pub(crate) fn start(&mut self, place: Place) {
        match place {
            Place::Coordinator(at) => {
                let mut settings =
                    coordinator::Settings::new(format!("c{at}"), identity(at), self.requests);
                settings.remember_max = self.remember_max;
                let machine = Coordinator::new(settings);
                let effects = self.coordinators[at].start(self.now, machine);
                self.coordinator_effects(at, effects);
            }
            Place::Participant(at) => {
                let id = ParticipantId::new(Uuid::from_u128(at as u128));
                let mut settings = participant::Settings::new(name(at), id, self.requests);
                settings.forget_batch = 1;
                settings.remember_max = self.remember_max;
                let machine = Participant::new(settings, Registers::default());
                let effects = self.participants[at].start(self.now, machine);
                self.participant_effects(at, effects);
            }
        }
    }

    /// Kills a node: what was not flushed is lost but for its first `kept`
    /// records, and whoever waited for it hears that it is gone.
    pub(crate) fn crash(&mut self, place: Place, kept: usize) {
        match place {
            Place::Coordinator(at) => self.coordinators[at].crash(kept),
            Place::Participant(at) => self.participants[at].crash(kept),
        }
        let gone: Vec<_> = self
            .waiting
            .keys()
            .filter(|(at, _)| *at == place)
            .copied()
            .collect();
        for key in gone {
            match self.waiting.remove(&key) {
                Some(Waiting::Asker {
                    participant,
                    source,
                    attempt,
                }) => {
                    let verdict = Err(Failure::Unreachable);
                    let to = participant;
                    self.network.push(Packet::Verdict {
                        to,
                        source,
                        attempt,
                        verdict,
                    });
                }
                Some(Waiting::Damage {
                    participant,
                    attempt,
                }) => {
                    let result = Err(Failure::Unreachable);
                    self.network.push(Packet::DamageAnswered {
                        to: participant,
                        attempt,
                        result,
                    });
                }
                // A coordinator's own timers repeat calls that are lost.
                Some(Waiting::Frame { .. } | Waiting::Client { .. } | Waiting::Nobody) | None => {}
            }
        }
    }

    pub(crate) fn flush(&mut self, place: Place) {
        match place {
            Place::Coordinator(at) => {
                let effects = self.coordinators[at].flush(self.now);
                self.coordinator_effects(at, effects);
            }
            Place::Participant(at) => {
                let effects = self.participants[at].flush(self.now);
                self.participant_effects(at, effects);
            }
        }
    }

    pub(crate) fn wants_flush(&self, place: Place) -> bool {
        match place {
            Place::Coordinator(at) => self.coordinators[at].wants_flush(),
            Place::Participant(at) => self.participants[at].wants_flush(),
        }
    }

    pub(crate) fn checkpoint(&mut self, place: Place, piece: usize) {
        match place {
            Place::Coordinator(at) => {
                let effects = self.coordinators[at].checkpoint(self.now, piece);
                self.coordinator_effects(at, effects);
            }
            Place::Participant(at) => {
                let effects = self.participants[at].checkpoint(self.now, piece);
                self.participant_effects(at, effects);
            }
        }
    }

    /// Moves the clock to the next deadline of a node and lets its timers fire.
    pub(crate) fn fire(&mut self, place: Place) {
        let deadline = match place {
            Place::Coordinator(at) => self.coordinators[at].next_deadline(),
            Place::Participant(at) => self.participants[at].next_deadline(),
        };
        if let Some(deadline) = deadline {
            self.now = self.now.max(deadline);
            match place {
                Place::Coordinator(at) => self.tell_coordinator(at, Wake::DeadlinePassed.into()),
                Place::Participant(at) => self.tell_participant(at, Wake::DeadlinePassed.into()),
            }
        }
    }

    // ---- clients ----

    pub(crate) fn mint(&mut self) -> TransactionId {
        self.minted += 1;
        TransactionId::from_parts(self.now, u128::from(self.minted))
    }

    /// A client sends a new one-shot transaction.
    pub(crate) fn run(
        &mut self,
        coordinator: usize,
        operations: Vec<(usize, Action, bool)>,
    ) -> Order {
        let order = Order {
            transaction: self.mint(),
            coordinator,
            operations,
        };
        self.orders.push(order.clone());
        self.send(&order);
        order
    }

    /// A client sends a transaction, perhaps again.
    pub(crate) fn send(&mut self, order: &Order) {
        let Order {
            transaction,
            coordinator,
            ..
        } = *order;
        let operations: Vec<AddressedOperation> = order
            .operations
            .iter()
            .map(|operation| addressed(*operation))
            .collect();
        let mut hash = [0_u8; 32];
        for (at, (place, operation)) in operations.iter().enumerate() {
            let text = format!("{at} {place} {operation:?}");
            for (byte, slot) in text.bytes().zip((0..32).cycle()) {
                hash[slot] = hash[slot].wrapping_mul(31).wrapping_add(byte);
            }
        }
        let waiting = Waiting::Client { transaction };
        let request = self.request(Place::Coordinator(coordinator), waiting);
        let begin = Begin {
            transaction,
            age: transaction,
            timeout: None,
            first_sent_to: None,
        };
        let hash = OperationsHash(hash);
        let event = CoordinatorEvent::RunRequested {
            request,
            begin,
            hash,
            operations,
        };
        self.tell_coordinator(coordinator, event);
    }

    pub(crate) fn begin(&mut self, coordinator: usize) -> TransactionId {
        let transaction = self.mint();
        self.interactive.push((coordinator, transaction));
        let request = self.request(
            Place::Coordinator(coordinator),
            Waiting::Client { transaction },
        );
        let begin = Begin {
            transaction,
            age: transaction,
            timeout: None,
            first_sent_to: None,
        };
        self.tell_coordinator(
            coordinator,
            CoordinatorEvent::BeginRequested { request, begin },
        );
        transaction
    }

    /// The number of the piece to send next.
    pub(crate) fn next_piece(&self, transaction: TransactionId) -> u32 {
        self.answered.get(&transaction).copied().unwrap_or(0) + 1
    }

    pub(crate) fn execute(
        &mut self,
        coordinator: usize,
        transaction: TransactionId,
        number: u32,
        operations: &[(usize, Action, bool)],
    ) {
        let request = self.request(
            Place::Coordinator(coordinator),
            Waiting::Client { transaction },
        );
        let operations = operations
            .iter()
            .map(|operation| addressed(*operation))
            .collect();
        let event = CoordinatorEvent::ExecuteRequested {
            request,
            transaction,
            number,
            operations,
        };
        self.tell_coordinator(coordinator, event);
    }

    pub(crate) fn commit(&mut self, coordinator: usize, transaction: TransactionId) {
        let request = self.request(
            Place::Coordinator(coordinator),
            Waiting::Client { transaction },
        );
        self.tell_coordinator(
            coordinator,
            CoordinatorEvent::CommitRequested {
                request,
                transaction,
            },
        );
    }

    pub(crate) fn abort(&mut self, coordinator: usize, transaction: TransactionId) {
        let request = self.request(
            Place::Coordinator(coordinator),
            Waiting::Client { transaction },
        );
        let why = String::new();
        self.tell_coordinator(
            coordinator,
            CoordinatorEvent::AbortRequested {
                request,
                transaction,
                why,
            },
        );
    }

    pub(crate) fn resolve(&mut self, participant: usize, attempt: AttemptId, outcome: Outcome) {
        let request = self.request(Place::Participant(participant), Waiting::Nobody);
        let reason = String::from("by hand");
        self.tell_participant(
            participant,
            ParticipantEvent::ResolveRequested {
                request,
                attempt,
                outcome,
                reason,
            },
        );
    }

    /// Somebody has seen to damage, on both sides.
    pub(crate) fn acknowledge_damage(&mut self, participant: usize, attempt: AttemptId) {
        let request = self.request(Place::Participant(participant), Waiting::Nobody);
        self.tell_participant(
            participant,
            ParticipantEvent::DamageAcknowledged { request, attempt },
        );
        let at = coordinator_of(attempt.coordinator);
        let request = self.request(Place::Coordinator(at), Waiting::Nobody);
        let participant = name(participant);
        self.tell_coordinator(
            at,
            CoordinatorEvent::DamageAcknowledged {
                request,
                attempt,
                participant,
            },
        );
    }

    // ---- the network ----

    /// From now on, whatever is sent to the address of `participant` reaches
    /// `other`.
    pub(crate) fn redirect(&mut self, participant: usize, other: usize) {
        self.redirected.insert(participant, other);
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.network.len()
    }

    /// Delivers one message. A node that is down cannot take it.
    pub(crate) fn deliver(&mut self, at: usize) {
        let packet = self.network.remove(at);
        if self.is_up(packet.receiver()) {
            return self.take(packet);
        }
        match packet {
            Packet::Frame {
                from, meant, frame, ..
            } => {
                let (call, failure) = (frame.message.call(), Failure::Unreachable);
                self.network.push(Packet::Lost {
                    from,
                    to: meant,
                    call,
                    failure,
                });
            }
            Packet::Ask {
                from,
                source,
                attempt,
                ..
            } => {
                let verdict = Err(Failure::Unreachable);
                self.network.push(Packet::Verdict {
                    to: from,
                    source,
                    attempt,
                    verdict,
                });
            }
            Packet::Damage { from, attempt, .. } => {
                let result = Err(Failure::Unreachable);
                self.network.push(Packet::DamageAnswered {
                    to: from,
                    attempt,
                    result,
                });
            }
            Packet::Answer { .. }
            | Packet::Lost { .. }
            | Packet::Verdict { .. }
            | Packet::DamageAnswered { .. } => {}
        }
    }

    /// Loses one message without a word.
    pub(crate) fn lose(&mut self, at: usize) {
        self.network.remove(at);
    }

    /// Doubles one message.
    pub(crate) fn double(&mut self, at: usize) {
        let packet = self.network[at].clone();
        self.network.push(packet);
    }

    fn take(&mut self, packet: Packet) {
        match packet {
            Packet::Frame {
                from,
                meant,
                to,
                frame,
            } => {
                self.messages += 1;
                let waiting = Waiting::Frame {
                    coordinator: from,
                    participant: meant,
                    call: frame.message.call(),
                };
                let request = self.request(Place::Participant(to), waiting);
                let frame = Frame {
                    header: frame.header,
                    message: decoded(frame.message),
                };
                self.tell_participant(to, ParticipantEvent::FrameReceived { request, frame });
            }
            Packet::Answer { from, to, answer } => {
                self.messages += 1;
                self.note_favour(from, &answer);
                let from = name(from);
                self.tell_coordinator(to, CoordinatorEvent::Answered { from, answer });
            }
            Packet::Lost {
                from,
                to,
                call,
                failure,
            } => {
                let to = name(to);
                self.tell_coordinator(from, CoordinatorEvent::CallFailed { to, call, failure });
            }
            Packet::Ask {
                from,
                whom,
                source,
                attempt,
            } => {
                let waiting = Waiting::Asker {
                    participant: from,
                    source,
                    attempt,
                };
                let request = self.request(whom, waiting);
                match whom {
                    Place::Coordinator(at) => self
                        .tell_coordinator(at, CoordinatorEvent::VerdictAsked { request, attempt }),
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
            } => {
                let event = ParticipantEvent::VerdictHeard {
                    attempt,
                    from: source,
                    verdict,
                };
                self.tell_participant(to, event);
            }
            Packet::Damage {
                from,
                to,
                attempt,
                by_hand,
                reason,
            } => {
                let waiting = Waiting::Damage {
                    participant: from,
                    attempt,
                };
                let request = self.request(Place::Coordinator(to), waiting);
                let participant = name(from);
                let event = CoordinatorEvent::DamageReported {
                    request,
                    participant,
                    attempt,
                    by_hand,
                    reason,
                };
                self.tell_coordinator(to, event);
            }
            Packet::DamageAnswered {
                to,
                attempt,
                result,
            } => {
                let event = ParticipantEvent::DamageReportAnswered { attempt, result };
                self.tell_participant(to, event);
            }
        }
    }

    fn note_favour(&mut self, from: usize, answer: &Answer<Payload>) {
        if let Answer::Voted {
            attempt,
            vote: Vote::Yes(_) | Vote::ReadOnly(_),
            ..
        } = answer
        {
            self.in_favour
                .entry(*attempt)
                .or_default()
                .insert(name(from));
        }
    }

    fn tell_coordinator(&mut self, at: usize, event: CoordinatorEvent) {
        let effects = self.coordinators[at].step(self.now, event);
        self.coordinator_effects(at, effects);
    }

    fn tell_participant(&mut self, at: usize, event: ParticipantEvent<Action>) {
        let effects = self.participants[at].step(self.now, event);
        self.participant_effects(at, effects);
    }

    fn coordinator_effects(&mut self, at: usize, effects: Vec<CoordinatorEffect>) {
        for effect in effects {
            match effect {
                CoordinatorEffect::Send { to, frame } => {
                    if let ToParticipant::Prepare(prepare) = &frame.message {
                        let peers = prepare.peers.iter().map(|peer| peer.name.clone());
                        self.asked
                            .entry(prepare.task.attempt)
                            .or_default()
                            .extend(peers);
                    }
                    let to = place_of(&to);
                    let reached = self.redirected.get(&to).copied().unwrap_or(to);
                    self.network.push(Packet::Frame {
                        from: at,
                        meant: to,
                        to: reached,
                        frame,
                    });
                }
                CoordinatorEffect::Reply { request, reply } => {
                    self.coordinator_reply(at, request, reply);
                }
                CoordinatorEffect::Alarm(alarm) => self.alarms.push(format!("{alarm:?}")),
                CoordinatorEffect::Link { .. }
                | CoordinatorEffect::Unlink { .. }
                | CoordinatorEffect::Changed(_)
                | CoordinatorEffect::Drained => {}
            }
        }
    }

    fn coordinator_reply(&mut self, at: usize, request: RequestId, reply: CoordinatorReply) {
        let Some(waiting) = self.waiting.remove(&(Place::Coordinator(at), request)) else {
            panic!("request {request} was answered twice or never asked");
        };
        match (waiting, reply) {
            (Waiting::Client { transaction }, CoordinatorReply::Finished(report)) => {
                assert_eq!(report.transaction, transaction);
                self.answers.push((transaction, report.ending.outcome()));
                if let Ending::Committed(Some(results)) = report.ending {
                    self.results.insert(transaction, decode(&results));
                }
            }
            (Waiting::Client { transaction }, CoordinatorReply::Refused(refusal)) => {
                self.refused
                    .push((transaction, refusal.reason.as_str().to_owned()));
            }
            (Waiting::Client { .. }, CoordinatorReply::Begun) => {}
            (Waiting::Client { transaction }, CoordinatorReply::Executed(results)) => {
                *self.answered.entry(transaction).or_default() += 1;
                self.pieces.insert(transaction, decode(&results));
            }
            (
                Waiting::Asker {
                    participant,
                    source,
                    attempt,
                },
                CoordinatorReply::Verdict(verdict),
            ) => {
                let (to, verdict) = (participant, Ok(verdict));
                self.network.push(Packet::Verdict {
                    to,
                    source,
                    attempt,
                    verdict,
                });
            }
            (
                Waiting::Damage {
                    participant,
                    attempt,
                },
                CoordinatorReply::Done,
            ) => {
                let result = Ok(());
                self.network.push(Packet::DamageAnswered {
                    to: participant,
                    attempt,
                    result,
                });
            }
            (Waiting::Nobody, _) => {}
            (waiting, reply) => panic!("{waiting:?} was answered {reply:?}"),
        }
    }

    fn participant_effects(&mut self, at: usize, effects: Vec<ParticipantEffect<i64>>) {
        for effect in effects {
            match effect {
                ParticipantEffect::Answer { request, answer } => {
                    let key = (Place::Participant(at), request);
                    let waiting = self.waiting.remove(&key);
                    let Some(Waiting::Frame {
                        coordinator,
                        participant,
                        call,
                    }) = waiting
                    else {
                        panic!("request {request} was answered twice or never asked");
                    };
                    if let Answer::Voted {
                        attempt,
                        vote: Vote::Yes(_),
                        ..
                    } = &answer
                    {
                        self.promised[at].insert(*attempt);
                    }
                    let (from, to) = (participant, coordinator);
                    // As the nodes' border has it: whoever is not meant has
                    // not been reached.
                    let packet = match encoded(answer) {
                        Answer::Refused { refusal, .. }
                            if refusal.reason == Reason::WRONG_PARTICIPANT =>
                        {
                            Packet::Lost {
                                from: to,
                                to: from,
                                call,
                                failure: Failure::Unreachable,
                            }
                        }
                        answer => Packet::Answer { from, to, answer },
                    };
                    self.network.push(packet);
                }
                ParticipantEffect::Reply { request, reply } => {
                    let key = (Place::Participant(at), request);
                    match (self.waiting.remove(&key), reply) {
                        (
                            Some(Waiting::Asker {
                                participant,
                                source,
                                attempt,
                            }),
                            ParticipantReply::Verdict(verdict),
                        ) => {
                            let (to, verdict) = (participant, Ok(verdict));
                            self.network.push(Packet::Verdict {
                                to,
                                source,
                                attempt,
                                verdict,
                            });
                        }
                        (Some(Waiting::Nobody), _) => {}
                        (waiting, reply) => panic!("{waiting:?} was answered {reply:?}"),
                    }
                }
                ParticipantEffect::Ask {
                    attempt,
                    whom,
                    address,
                } => {
                    let (from, source, whom) = (at, whom, address_of(&address));
                    self.network.push(Packet::Ask {
                        from,
                        whom,
                        source,
                        attempt,
                    });
                }
                ParticipantEffect::ReportDamage {
                    attempt,
                    by_hand,
                    reason,
                    address,
                } => {
                    let Place::Coordinator(to) = address_of(&address) else {
                        panic!("damage is reported to coordinators")
                    };
                    self.network.push(Packet::Damage {
                        from: at,
                        to,
                        attempt,
                        by_hand,
                        reason,
                    });
                }
                ParticipantEffect::Alarm(alarm) => self.alarms.push(format!("{alarm:?}")),
                ParticipantEffect::Drained => {}
            }
        }
    }

    // ---- running by itself ----

    /// Delivers and flushes in order until nothing is left to do, firing timers
    /// that come due within `span`.
    pub(crate) fn run_quietly(&mut self, span: Span) {
        let end = self.now + span;
        loop {
            if !self.network.is_empty() {
                self.deliver(0);
                continue;
            }
            if let Some(place) = self
                .places()
                .into_iter()
                .find(|place| self.wants_flush(*place))
            {
                self.flush(place);
                continue;
            }
            let due = |place: &Place| match place {
                Place::Coordinator(at) => self.coordinators[*at].next_deadline(),
                Place::Participant(at) => self.participants[*at].next_deadline(),
            };
            let places = self.places();
            let next = places
                .iter()
                .filter_map(|place| Some((due(place)?, *place)))
                .min();
            match next {
                Some((deadline, place)) if deadline <= end => self.fire(place),
                _ => break,
            }
        }
        self.now = self.now.max(end);
    }

    /// What has been spent since the start.
    pub(crate) fn cost(&self) -> Cost {
        Cost {
            coordinator_forced: self.coordinators.iter().map(|node| node.forced).sum(),
            participants_forced: self.participants.iter().map(|node| node.forced).sum(),
            messages: self.messages,
        }
    }

    // ---- invariants ----

    /// Checks everything that must hold at every moment.
    pub(crate) fn check(&self) -> Result<(), Violation> {
        invariants::agreement(self.claims())?;
        for (at, node) in self.coordinators.iter().enumerate() {
            for (_, record) in &node.appended {
                if let CoordinatorRecord::Decided(decided) = record
                    && let attempt = (AttemptId {
                        coordinator: identity(at),
                        position: decided.attempt,
                    })
                    && let Some(asked) = self.asked.get(&attempt)
                {
                    let none = BTreeSet::new();
                    let in_favour = self.in_favour.get(&attempt).unwrap_or(&none);
                    invariants::unanimity(&Unanimity {
                        attempt,
                        asked,
                        in_favour,
                    })?;
                }
            }
        }
        // A transaction that only reads may be read again after a restart.
        let writes = |(id, _): &&(TransactionId, Outcome)| {
            let order = self.orders.iter().find(|order| order.transaction == *id);
            order.is_none_or(|order| order.operations.iter().any(|(_, _, read)| !read))
        };
        invariants::constancy(self.answers.iter().filter(writes).copied())?;
        for (at, node) in self.participants.iter().enumerate() {
            let Some(machine) = &node.machine else {
                continue;
            };
            invariants::promises_kept(machine, self.promised[at].iter().copied())?;
            let promised: BTreeMap<AttemptId, Vec<(LockKey, Mode)>> = node
                .appended
                .iter()
                .filter_map(|(_, record)| match record {
                    ParticipantRecord::Prepared(prepared) => {
                        Some((prepared.attempt, prepared.locks.clone()))
                    }
                    _ => None,
                })
                .collect();
            let promised = promised.iter().map(|(id, locks)| (*id, locks.as_slice()));
            invariants::prepared_locks(machine, promised)?;
            invariants::no_leaked_lock(machine)?;
        }
        invariants::once(self.applied())
    }

    fn claims(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        for (at, node) in self.participants.iter().enumerate() {
            let Some(machine) = &node.machine else {
                continue;
            };
            for view in machine.attempts() {
                if let Standing::Ended(outcome) = view.standing {
                    claims.push(Claim {
                        node: format!("p{at}"),
                        attempt: view.attempt,
                        outcome,
                    });
                    // One-phase outcomes are the participant's alone.
                    if self.asked.contains_key(&view.attempt) {
                        claims.extend(self.claim_of_coordinator(&view));
                    }
                }
            }
        }
        claims
    }

    /// What the attempt's coordinator holds. Once it has forgotten a transaction
    /// that everyone has acknowledged, its "aborted" is no claim: nobody can be
    /// in doubt about it.
    fn claim_of_coordinator(&self, view: &AttemptView) -> Option<Claim> {
        let owner = coordinator_of(view.attempt.coordinator);
        let machine = self.coordinators[owner].machine.as_ref()?;
        let known = machine.look_up(view.transaction).is_some();
        if !known && machine.may_have_forgotten(view.transaction) {
            return None;
        }
        let outcome = machine.verdict(view.attempt.position).outcome()?;
        Some(Claim {
            node: format!("c{owner}"),
            attempt: view.attempt,
            outcome,
        })
    }

    /// Every commit in the participants' logs.
    fn applied(&self) -> Vec<(TransactionId, AttemptId)> {
        let mut applied = Vec::new();
        for node in &self.participants {
            let mut prepared = BTreeMap::new();
            for (_, record) in &node.appended {
                match record {
                    ParticipantRecord::Prepared(p) => {
                        prepared.insert(p.attempt, p.transaction);
                    }
                    ParticipantRecord::Committed { attempt, .. } => {
                        if let Some(transaction) = prepared.get(attempt) {
                            applied.push((*transaction, *attempt));
                        }
                    }
                    ParticipantRecord::DecidedAlone(decided) if !decided.redo.is_empty() => {
                        applied.push((decided.transaction, decided.attempt));
                    }
                    _ => {}
                }
            }
        }
        applied
    }

    /// The sum over all registers of all participants.
    pub(crate) fn total(&self) -> i64 {
        let machines = self
            .participants
            .iter()
            .filter_map(|node| node.machine.as_ref());
        machines
            .map(|machine| machine.resource().0.values().sum::<i64>())
            .sum()
    }

    pub(crate) fn value(&self, participant: usize, register: u8) -> i64 {
        let machine = self.participants[participant]
            .machine
            .as_ref()
            .expect("it is up");
        machine.resource().0.get(&register).copied().unwrap_or(0)
    }

    pub(crate) fn outcome(&self, transaction: TransactionId) -> Option<Outcome> {
        let mut answers = self.answers.iter().rev();
        answers
            .find(|(id, _)| *id == transaction)
            .map(|(_, outcome)| *outcome)
    }
}

fn addressed((participant, act, read_only): (usize, Action, bool)) -> AddressedOperation {
    (
        name(participant),
        Operation {
            action: Ok(payload(act)),
            read_only,
        },
    )
}

fn operations(operations: Vec<Operation<Payload>>) -> Vec<Operation<Action>> {
    let decode = |operation: Operation<Payload>| Operation {
        action: operation.action.map(|payload| action(&payload)),
        read_only: operation.read_only,
    };
    operations.into_iter().map(decode).collect()
}

fn work(work: Work<Payload>) -> Work<Action> {
    match work {
        Work::OneShot(inside) => Work::OneShot(operations(inside)),
        Work::Interactive { boot, count } => Work::Interactive { boot, count },
    }
}

/// What a participant's border does with a message.
fn decoded(message: ToParticipant<Payload>) -> ToParticipant<Action> {
    use nemcon_core::message::{CommitOnePhase, Execute, Prepare};
    match message {
        ToParticipant::Hello(hello) => ToParticipant::Hello(hello),
        ToParticipant::Execute(e) => ToParticipant::Execute(Execute {
            task: e.task,
            number: e.number,
            operations: operations(e.operations),
        }),
        ToParticipant::Prepare(p) => ToParticipant::Prepare(Prepare {
            task: p.task,
            work: work(p.work),
            peers: p.peers,
            read_only: p.read_only,
        }),
        ToParticipant::Commit(attempt) => ToParticipant::Commit(attempt),
        ToParticipant::Abort(attempt) => ToParticipant::Abort(attempt),
        ToParticipant::Release(attempt) => ToParticipant::Release(attempt),
        ToParticipant::CommitOnePhase(c) => ToParticipant::CommitOnePhase(CommitOnePhase {
            task: c.task,
            hash: c.hash,
            work: work(c.work),
        }),
        ToParticipant::Inquire(transaction) => ToParticipant::Inquire(transaction),
    }
}

fn encoded_alone(alone: Alone<i64>) -> Alone<Payload> {
    match alone {
        Alone::Committed(results) => Alone::Committed(encode(results)),
        Alone::Aborted(refusal) => Alone::Aborted(refusal),
    }
}

/// What a participant's border does with an answer.
fn encoded(answer: Answer<i64>) -> Answer<Payload> {
    match answer {
        Answer::Welcome { boot } => Answer::Welcome { boot },
        Answer::Executed {
            attempt,
            number,
            boot,
            results,
        } => Answer::Executed {
            attempt,
            number,
            boot,
            results: results.map(encode),
        },
        Answer::Voted {
            attempt,
            boot,
            vote,
        } => {
            let vote = match vote {
                Vote::Yes(results) => Vote::Yes(results.map(encode)),
                Vote::ReadOnly(results) => Vote::ReadOnly(encode(results)),
                Vote::No(refusal) => Vote::No(refusal),
            };
            Answer::Voted {
                attempt,
                boot,
                vote,
            }
        }
        Answer::Acknowledged { attempt, damage } => Answer::Acknowledged { attempt, damage },
        Answer::Released { attempt, boot } => Answer::Released { attempt, boot },
        Answer::DecidedAlone { attempt, alone } => Answer::DecidedAlone {
            attempt,
            alone: encoded_alone(alone),
        },
        Answer::Traced { transaction, trace } => {
            let trace = match trace {
                Trace::None => Trace::None,
                Trace::Forgotten => Trace::Forgotten,
                Trace::Decided { hash, alone } => Trace::Decided {
                    hash,
                    alone: encoded_alone(alone),
                },
            };
            Answer::Traced { transaction, trace }
        }
        Answer::Refused { attempt, refusal } => Answer::Refused { attempt, refusal },
    }
}
