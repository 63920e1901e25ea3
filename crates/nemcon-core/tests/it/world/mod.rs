//! A whole cluster in one place: coordinators, participants, clients, and a
//! network that the test schedules message by message.

mod border;
mod check;
mod clients;
mod network;
mod sagas;

use std::collections::{BTreeMap, BTreeSet};

use nemcon_core::codec::Codec;
use nemcon_core::coordinator::event::{
    AddressedOperation, Alarm as CoordinatorAlarm, Begin, Effect as CoordinatorEffect, Ending,
    Event as CoordinatorEvent, Reply as CoordinatorReply,
};
use nemcon_core::coordinator::record::Record as CoordinatorRecord;
use nemcon_core::coordinator::{self, Coordinator};
use nemcon_core::id::{
    AttemptId, CoordinatorId, Epoch, ParticipantId, ParticipantName, RequestId, SagaId,
    TransactionId,
};
use nemcon_core::invariants::{self, Claim, Unanimity, Violation};
use nemcon_core::lock::{LockKey, Mode};
use nemcon_core::machine::{Room, Wake};
use nemcon_core::message::{
    Answer, Call, Failure, Frame, Operation, OperationsHash, Outcome, Payload, ToParticipant,
    Verdict, Vote,
};
use nemcon_core::participant::event::{
    Alarm as ParticipantAlarm, Effect as ParticipantEffect, Event as ParticipantEvent,
    Reply as ParticipantReply, Source,
};
use nemcon_core::participant::record::Record as ParticipantRecord;
use nemcon_core::participant::view::{AttemptView, Standing};
use nemcon_core::participant::{self, Participant};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::saga::State as SagaState;
use nemcon_core::time::{Millis, Span};
use uuid::Uuid;

use crate::node::Node;
use crate::registers::{Action, Registers};

use border::{action, address_of, encode};
pub(crate) use border::{coordinator_of, decode, identity, name, place_of};
pub(crate) use network::{Overheard, Packet, Waiting};
pub(crate) use sagas::{Asker, SagaOrder, saga_operation};

/// A node by place: coordinators first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Coordinator(usize),
    Participant(usize),
}

/// A one-shot transaction as a client keeps it, to send it again.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) transaction: TransactionId,
    /// The first try of the same, which gives it its age.
    pub(crate) first: TransactionId,
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
    /// What the network keeps back.
    late: Vec<Packet>,
    /// What nodes have said to others than each other, in order.
    pub(crate) overheard: Vec<Overheard>,
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
    /// The epoch in which interactive transactions began, as clients were told.
    begun: BTreeMap<TransactionId, Epoch>,
    pub(crate) pieces: BTreeMap<TransactionId, Vec<i64>>,
    pub(crate) sagas: Vec<SagaOrder>,
    /// What clients and operators were told of sagas, in order.
    pub(crate) saga_answers: Vec<(SagaId, Result<SagaState, Refusal>)>,
    /// Sagas that people were told wait for them.
    pub(crate) stuck: BTreeSet<SagaId>,
    messages: usize,
    remember_max: usize,
    /// What is otherwise about the coordinators of this world.
    tune: fn(&mut coordinator::Settings),
    /// Frames for a participant that reach another one, at its old address.
    redirected: BTreeMap<usize, usize>,
    pub(crate) alarms: Vec<String>,
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
        Self::tuned(coordinators, participants, remember_max, |_| ())
    }

    /// The same, with other settings of coordinators.
    pub(crate) fn tuned(
        coordinators: usize,
        participants: usize,
        remember_max: usize,
        tune: fn(&mut coordinator::Settings),
    ) -> Self {
        let mut world = Self {
            now: Millis(1_000_000),
            coordinators: (0..coordinators).map(|_| Node::new()).collect(),
            participants: (0..participants).map(|_| Node::new()).collect(),
            network: Vec::new(),
            late: Vec::new(),
            overheard: Vec::new(),
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
            begun: BTreeMap::new(),
            pieces: BTreeMap::new(),
            sagas: Vec::new(),
            saga_answers: Vec::new(),
            stuck: BTreeSet::new(),
            messages: 0,
            remember_max,
            tune,
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

    /// A participant makes itself known, as it does at each start.
    pub(crate) fn register(&mut self, coordinator: usize, participant: usize) {
        let machine = self.participants[participant].machine.as_ref();
        let began = machine.map(Participant::began);
        let restored = machine.and_then(Participant::restored);
        let waiting = Waiting::Registration { participant };
        let request = self.request(Place::Coordinator(coordinator), waiting);
        let event = CoordinatorEvent::RegisterRequested {
            request,
            name: name(participant),
            id: ParticipantId::new(Uuid::from_u128(participant as u128)),
            address: format!("p{participant}"),
            began,
            restored,
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
                (self.tune)(&mut settings);
                let machine = Coordinator::new(settings);
                let effects = self.coordinators[at].start(self.now, machine);
                self.coordinator_effects(at, effects);
            }
            Place::Participant(at) => {
                let id = ParticipantId::new(Uuid::from_u128(at as u128));
                let mut settings = participant::Settings::new(name(at), id, self.requests);
                // So that the floor in the log lags behind the one that was seen.
                settings.forget_batch = self.remember_max.min(3);
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
                Some(
                    Waiting::Frame { .. }
                    | Waiting::Client { .. }
                    | Waiting::Saga { .. }
                    | Waiting::Registration { .. }
                    | Waiting::Nobody,
                )
                | None => {}
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

    /// Delivers and flushes in order until nothing is left to do, firing timers
    /// that come due within `span`.
    pub(crate) fn run_quietly(&mut self, span: Span) {
        let end = self.now + span;
        loop {
            if self.step_quietly() {
                continue;
            }
            match self.next_due() {
                Some((deadline, place)) if deadline <= end => self.fire(place),
                _ => break,
            }
        }
        self.now = self.now.max(end);
    }

    /// The node whose timers are due next, and when.
    pub(crate) fn next_due(&self) -> Option<(Millis, Place)> {
        let due = |place: &Place| match place {
            Place::Coordinator(at) => self.coordinators[*at].next_deadline(),
            Place::Participant(at) => self.participants[*at].next_deadline(),
        };
        let places = self.places();
        let due = places
            .iter()
            .filter_map(|place| Some((due(place)?, *place)));
        due.min()
    }

    /// Delivers the next message, or flushes. False if nothing is left to do.
    pub(crate) fn step_quietly(&mut self) -> bool {
        if !self.network.is_empty() {
            self.deliver(0);
            return true;
        }
        let mut places = self.places().into_iter();
        let next = places.find(|place| self.wants_flush(*place));
        if let Some(place) = next {
            self.flush(place);
        }
        next.is_some()
    }

    /// What has been spent since the start.
    pub(crate) fn cost(&self) -> Cost {
        Cost {
            coordinator_forced: self.coordinators.iter().map(|node| node.forced).sum(),
            participants_forced: self.participants.iter().map(|node| node.forced).sum(),
            messages: self.messages,
        }
    }
}
