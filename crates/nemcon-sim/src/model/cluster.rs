//! Nodes, and what becomes of each when something happens to it.
//!
//! A state of the whole is made of few states of its parts, which come again and
//! again. So nodes and packets are kept once, states name them, and what a step
//! of a node leads to is worked out once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock};

use nemcon_core::coordinator::event::{
    AddressedOperation, Begin, Event as CoordinatorEvent, VoteKind,
};
use nemcon_core::coordinator::record::Record as CoordinatorRecord;
use nemcon_core::coordinator::{self, Coordinator};
use nemcon_core::id::{AttemptId, Epoch, Position, Sequence, TransactionId};
use nemcon_core::invariants::{self, Claim, Violation};
use nemcon_core::message::{Operation, OperationsHash, Outcome, Verdict};
use nemcon_core::participant::event::Event as ParticipantEvent;
use nemcon_core::participant::record::Record as ParticipantRecord;
use nemcon_core::participant::view::{AttemptView, Standing};
use nemcon_core::participant::{self, Participant};
use nemcon_core::planted::Planted;
use nemcon_core::time::Span;

use super::audit;
use super::network::Network;
use super::node::{Facts, Node, Said, Subject, TimerKind, Told, applied};
use super::packet::{FAILURE, Key, Packet, Place, Waiting, identity, name, participant_id};
use super::refinement::Part;
use super::registers::{self, Registers, payload};
use super::scenario::{Order, Scenario};
use super::table::{Table, hash_of};
use crate::checkers::deadlocks;

/// What can happen to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Happening {
    /// A message arrives.
    Deliver(Key),
    /// What it has sent cannot arrive, and it is told so.
    Fail(Key),
    /// So many more records are on disk.
    Flush(usize),
    /// It crashes with so many more records on disk, and starts again.
    Crash(usize),
    /// One of its timers fires.
    Fire(usize),
    /// A client sends an order.
    Send(usize),
    /// The client of an interactive order asks for what comes next, in a transaction
    /// that has begun in this epoch: 0 to begin, then the pieces, then the commit.
    Ask(usize, u8, Epoch),
    /// A client asks for the abort of an order.
    Abort(usize),
    /// An operator decides.
    Resolve(AttemptId, Outcome),
}

/// Names a node in the state it is in.
pub(super) type NodeKey = u64;

/// A machine of either kind with its disk.
#[derive(Clone)]
pub(super) enum Kind {
    Coordinator(Box<Node<Coordinator>>),
    Participant(Box<Node<Participant<Registers>>>),
}

impl Kind {
    /// A hash of all that the next steps depend on: also of the numbers of looks and
    /// waits, if they are `numbered`.
    pub(super) fn key(&self, numbered: bool) -> NodeKey {
        let mut hasher = DefaultHasher::new();
        match self {
            Self::Coordinator(node) => {
                node.hash_into(&mut hasher);
                numbered.then(|| node.machine.looks()).hash(&mut hasher);
            }
            Self::Participant(node) => {
                node.hash_into(&mut hasher);
                let numbers = || node.machine.locks().numbers().collect::<Vec<_>>();
                numbered.then(numbers).hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    pub(super) fn place(&self) -> Place {
        match self {
            Self::Coordinator(node) => node.place,
            Self::Participant(node) => node.place,
        }
    }

    /// How many records are appended and not on disk.
    pub(super) fn tail(&self) -> usize {
        match self {
            Self::Coordinator(node) => node.tail.len(),
            Self::Participant(node) => node.tail.len(),
        }
    }

    pub(super) fn timers(&self) -> usize {
        match self {
            Self::Coordinator(node) => node.machine.timers(),
            Self::Participant(node) => node.machine.timers(),
        }
    }

    /// Decisions in the tail, from there on.
    fn decided(&self, from: usize) -> Vec<AttemptId> {
        let Self::Coordinator(node) = self else {
            return Vec::new();
        };
        let fresh = node.tail.iter().skip(from);
        let decided = fresh.filter_map(|(_, record)| decision(node.place, record));
        decided.collect()
    }
}

/// A node in one state, and what is to be known of it.
pub(super) struct Held {
    pub(super) kind: Kind,
    /// Its armed timers.
    pub(super) timers: Vec<TimerKind>,
    pub(super) tail: usize,
    /// The outcomes it holds of attempts that were voted on, and of which
    /// transactions they are.
    pub(super) claims: Vec<(Claim, TransactionId)>,
    /// What it has applied.
    pub(super) applied: Vec<(TransactionId, AttemptId)>,
    /// Attempts it is in doubt about.
    pub(super) prepared: Vec<AttemptId>,
    /// Who waits for whom, where that is looked at.
    pub(super) waits: Option<deadlocks::Table>,
    /// Something is unfinished here.
    pub(super) busy: bool,
    /// Its part in the transaction that is compared with the textbook.
    pub(super) part: Part,
    /// It has begun more attempts than are looked at.
    pub(super) beyond: bool,
    /// What does not hold here, whatever the others are doing.
    pub(super) broken: Option<Violation>,
}

/// What comes of something happening to a node.
pub(super) struct Transition {
    /// The node after that.
    pub(super) node: NodeKey,
    pub(super) packets: Vec<Key>,
    pub(super) told: Vec<(usize, Told)>,
    /// Decisions that were appended.
    pub(super) decided: Vec<AttemptId>,
    /// Its part after each record that went to disk, and in the end.
    pub(super) parts: Vec<Part>,
}

/// All nodes in all their states, all packets, and all steps of a node.
pub(super) struct Cluster {
    pub(super) scenario: Scenario,
    /// The mistake that machines make, if any.
    planted: Planted,
    /// Whether nodes with one key are compared, in what they do next.
    audited: bool,
    nodes: Table<Arc<Held>>,
    /// Packets by number, and the numbers by the packets' hashes.
    packets: RwLock<Vec<(Key, Arc<Packet>)>>,
    numbers: Table<Key>,
    transitions: Table<Arc<Transition>>,
}

impl Cluster {
    pub(super) fn new(scenario: Scenario, planted: Planted) -> Self {
        Self {
            scenario,
            planted,
            audited: false,
            nodes: Table::default(),
            packets: RwLock::default(),
            numbers: Table::default(),
            transitions: Table::default(),
        }
    }

    /// Compares nodes that have one key.
    #[cfg(test)]
    pub(super) const fn audited(mut self) -> Self {
        self.audited = true;
        self
    }

    pub(super) fn node(&self, key: NodeKey) -> Arc<Held> {
        self.nodes
            .get(key)
            .expect("keys are given for what is kept")
    }

    pub(super) fn packet(&self, key: Key) -> Arc<Packet> {
        let packets = self.packets.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&packets[key.number()].1)
    }

    /// The keys of the packets in a network.
    pub(super) fn keys(&self, network: &Network) -> Vec<Key> {
        let packets = self.packets.read().unwrap_or_else(PoisonError::into_inner);
        network.numbers().map(|number| packets[number].0).collect()
    }

    /// The keys of all packets there are.
    pub(super) fn all_keys(&self) -> Vec<Key> {
        let packets = self.packets.read().unwrap_or_else(PoisonError::into_inner);
        packets.iter().map(|(key, _)| *key).collect()
    }

    /// How many states of single nodes there are, and how many packets.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.nodes.len(), self.numbers.len())
    }

    /// A node that starts for the first time.
    pub(super) fn started(&self, place: Place) -> (NodeKey, Vec<Said>) {
        let scenario = &self.scenario;
        let (kind, said) = match place {
            Place::Coordinator(at) => {
                let mut settings =
                    coordinator::Settings::new(place.to_string(), identity(at), at as u64);
                settings.remember_max = scenario.remember_max;
                settings.look_after = (scenario.looks_max > 0).then_some(Span(0));
                settings.planted = self.planted;
                let (node, said) = Node::start(place, Coordinator::new(settings));
                (Kind::Coordinator(Box::new(node)), said)
            }
            Place::Participant(at) => {
                let mut settings =
                    participant::Settings::new(name(at), participant_id(at), at as u64);
                settings.suspect_after = None;
                settings.remember_max = scenario.remember_max;
                settings.planted = self.planted;
                settings.forget_batch = scenario.forget_batch;
                let machine = Participant::new(settings, Registers::default());
                let (node, said) = Node::start(place, machine);
                (Kind::Participant(Box::new(node)), said)
            }
        };
        (self.keep(kind), said)
    }

    /// A participant makes itself known to a coordinator.
    pub(super) fn registered(
        &self,
        coordinator: NodeKey,
        participant: NodeKey,
    ) -> (NodeKey, Vec<Said>) {
        let participant = self.node(participant);
        let (Kind::Coordinator(node), Kind::Participant(other)) =
            (&self.node(coordinator).kind, &participant.kind)
        else {
            unreachable!("participants register with coordinators");
        };
        let mut node = node.clone();
        let said = node.step(CoordinatorEvent::RegisterRequested {
            request: Waiting::Nobody.request(),
            name: other.machine.settings().name.clone(),
            id: other.machine.id(),
            address: other.place.to_string(),
            began: Some(other.machine.began()),
            restored: None,
        });
        (self.keep(Kind::Coordinator(node)), said)
    }

    /// What comes of something happening to a node.
    pub(super) fn transition(&self, node: NodeKey, what: Happening) -> Arc<Transition> {
        let key = hash_of(&(node, what));
        if let Some(known) = self.transitions.get(key) {
            return known;
        }
        let mut kind = self.node(node).kind.clone();
        let tail = kind.tail();
        let (said, mut parts) = self.step(&mut kind, what);
        let (mut packets, mut told) = (Vec::new(), Vec::new());
        for said in said {
            match said {
                Said::Packet(packet) => packets.push(self.post(*packet)),
                Said::Told(order, what) => told.push((order, what)),
            }
        }
        let decided = kind.decided(tail);
        let node = self.keep(kind);
        parts.push(self.node(node).part.clone());
        let transition = Arc::new(Transition {
            node,
            packets,
            told,
            decided,
            parts,
        });
        self.transitions.insert(key, Arc::clone(&transition));
        transition
    }

    /// Lets something happen. Gives what the node says, and its part after each
    /// record that went to disk.
    pub(super) fn step(&self, kind: &mut Kind, what: Happening) -> (Vec<Said>, Vec<Part>) {
        let mut parts = Vec::new();
        let said = match kind {
            Kind::Coordinator(node) => self.coordinator_step(node, what, &mut parts),
            Kind::Participant(node) => self.participant_step(node, what, &mut parts),
        };
        (said, parts)
    }

    /// Keeps a packet, and gives its key.
    pub(super) fn post(&self, packet: Packet) -> Key {
        let hash = hash_of(&packet);
        if let Some(known) = self.numbers.get(hash) {
            return known;
        }
        let mut packets = self.packets.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been faster.
        if let Some(known) = self.numbers.get(hash) {
            return known;
        }
        let key = packet.key(packets.len());
        packets.push((key, Arc::new(packet)));
        self.numbers.insert(hash, key);
        key
    }

    fn coordinator_step(
        &self,
        node: &mut Node<Coordinator>,
        what: Happening,
        parts: &mut Vec<Part>,
    ) -> Vec<Said> {
        let mut each = |node: &Node<Coordinator>| parts.push(self.coordinator_part(node));
        let event = match what {
            Happening::Flush(count) => return node.flush(count, &mut each),
            Happening::Crash(kept) => return node.crash(kept, &mut each),
            Happening::Fire(timer) => return node.fire(timer),
            Happening::Deliver(key) => match self.packet(key).as_ref() {
                Packet::Answer { from, answer, .. } => CoordinatorEvent::Answered {
                    from: name(*from),
                    answer: answer.clone(),
                },
                Packet::Ask { from, attempt, .. } => CoordinatorEvent::VerdictAsked {
                    request: Waiting::Asker(*from, *attempt).request(),
                    attempt: *attempt,
                },
                Packet::Damage {
                    from,
                    attempt,
                    by_hand,
                    ..
                } => CoordinatorEvent::DamageReported {
                    request: Waiting::Damaged(*from, *attempt).request(),
                    participant: name(*from),
                    attempt: *attempt,
                    by_hand: *by_hand,
                    reason: String::from("by hand"),
                },
                Packet::Frame { .. } | Packet::Verdict { .. } | Packet::DamageNoted { .. } => {
                    return Vec::new();
                }
            },
            Happening::Fail(key) => match self.packet(key).as_ref() {
                Packet::Frame { to, frame, .. } => CoordinatorEvent::CallFailed {
                    to: name(*to),
                    call: frame.message.call(),
                    failure: FAILURE,
                },
                _ => return Vec::new(),
            },
            Happening::Send(order) => self.request(order),
            Happening::Ask(order, stage, epoch) => self.ask(order, stage, epoch),
            Happening::Abort(order) => CoordinatorEvent::AbortRequested {
                request: Waiting::Client(order, 0).request(),
                transaction: self.scenario.orders[order].transaction,
                why: String::new(),
            },
            Happening::Resolve(..) => return Vec::new(),
        };
        node.step(event)
    }

    /// What the client of an interactive order asks for.
    fn ask(&self, at: usize, stage: u8, epoch: Epoch) -> CoordinatorEvent {
        let order = &self.scenario.orders[at];
        let (request, transaction) = (Waiting::Client(at, stage).request(), order.transaction);
        if stage == 0 {
            let begin = begin(order);
            return CoordinatorEvent::BeginRequested { request, begin };
        }
        match order.operations.get(usize::from(stage) - 1) {
            Some(piece) => CoordinatorEvent::ExecuteRequested {
                request,
                transaction,
                epoch,
                number: u32::from(stage),
                operations: vec![addressed(piece)],
            },
            None => CoordinatorEvent::CommitRequested {
                request,
                transaction,
                epoch,
            },
        }
    }

    /// A client's order as the coordinator gets it.
    fn request(&self, at: usize) -> CoordinatorEvent {
        let order = &self.scenario.orders[at];
        let operations: Vec<AddressedOperation> = order.operations.iter().map(addressed).collect();
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&hash_of(&operations).to_be_bytes());
        CoordinatorEvent::RunRequested {
            request: Waiting::Client(at, 0).request(),
            begin: begin(order),
            hash: OperationsHash(hash),
            operations,
        }
    }

    fn participant_step(
        &self,
        node: &mut Node<Participant<Registers>>,
        what: Happening,
        parts: &mut Vec<Part>,
    ) -> Vec<Said> {
        let mut each = |node: &Node<_>| parts.push(self.participant_part(node));
        let event = match what {
            Happening::Flush(count) => return node.flush(count, &mut each),
            Happening::Crash(kept) => return node.crash(kept, &mut each),
            Happening::Fire(timer) => return node.fire(timer),
            Happening::Deliver(key) => match self.packet(key).as_ref() {
                Packet::Frame { from, frame, .. } => ParticipantEvent::FrameReceived {
                    request: Waiting::Coordinator(*from).request(),
                    frame: frame.clone().map_actions(|it, _| registers::action(&it)),
                },
                Packet::Ask { from, attempt, .. } => ParticipantEvent::PeerAsked {
                    request: Waiting::Asker(*from, *attempt).request(),
                    attempt: *attempt,
                },
                Packet::Verdict {
                    source,
                    attempt,
                    verdict,
                    ..
                } => ParticipantEvent::VerdictHeard {
                    attempt: *attempt,
                    from: source.clone(),
                    verdict: Ok(*verdict),
                },
                Packet::DamageNoted { attempt, .. } => ParticipantEvent::DamageReportAnswered {
                    attempt: *attempt,
                    result: Ok(()),
                },
                Packet::Answer { .. } | Packet::Damage { .. } => return Vec::new(),
            },
            Happening::Fail(key) => match self.packet(key).as_ref() {
                // A question and its repeat: one failure alone changes nothing.
                Packet::Ask {
                    source, attempt, ..
                } => {
                    let failed = || ParticipantEvent::VerdictHeard {
                        attempt: *attempt,
                        from: source.clone(),
                        verdict: Err(FAILURE),
                    };
                    let mut said = node.step(failed());
                    said.extend(node.step(failed()));
                    return said;
                }
                _ => return Vec::new(),
            },
            Happening::Resolve(attempt, outcome) => ParticipantEvent::ResolveRequested {
                request: Waiting::Nobody.request(),
                attempt,
                outcome,
                reason: String::from("by hand"),
            },
            Happening::Send(_) | Happening::Ask(..) | Happening::Abort(_) => return Vec::new(),
        };
        node.step(event)
    }

    /// Keeps a node as it is, and gives its key.
    fn keep(&self, kind: Kind) -> NodeKey {
        let key = kind.key(self.scenario.looks_max > 0);
        match self.nodes.get(key) {
            Some(known) => {
                if self.audited {
                    audit::alike(self, &known.kind, &kind);
                }
            }
            None => {
                let held = match kind {
                    Kind::Coordinator(node) => self.hold_coordinator(*node),
                    Kind::Participant(node) => self.hold_participant(*node),
                };
                self.nodes.insert(key, Arc::new(held));
            }
        }
        key
    }

    fn hold_coordinator(&self, node: Node<Coordinator>) -> Held {
        let machine = &node.machine;
        let last = Position {
            epoch: machine.epoch(),
            sequence: Sequence(self.scenario.attempts_max + 1),
        };
        let busy = machine.states().next().is_some();
        Held {
            timers: (0..machine.timers())
                .map(|at| machine.timer_kind(at))
                .collect(),
            tail: node.tail.len(),
            claims: Vec::new(),
            applied: Vec::new(),
            prepared: Vec::new(),
            waits: None,
            busy,
            part: self.coordinator_part(&node),
            beyond: machine.verdict(last) != Verdict::Unknown
                || machine.looks() > self.scenario.looks_max,
            broken: node.facts.readable(node.place).err(),
            kind: Kind::Coordinator(Box::new(node)),
        }
    }

    fn hold_participant(&self, node: Node<Participant<Registers>>) -> Held {
        let machine = &node.machine;
        let standing = |wanted: &[Standing]| {
            let views = machine.attempts();
            let views = views.filter(|view| wanted.contains(&view.standing));
            views.map(|view| view.attempt).collect::<Vec<_>>()
        };
        let claim = |view: AttemptView| match view.standing {
            Standing::Ended(outcome) if !self.was_alone(&node.facts, &view) => {
                let (node, attempt) = (node.place.to_string(), view.attempt);
                let claim = Claim {
                    node,
                    attempt,
                    outcome,
                };
                Some((claim, view.transaction))
            }
            _ => None,
        };
        let appended = node.tail.iter();
        let appended = appended.filter_map(|(_, record)| applied(record, &node.facts));
        let on_disk = node.facts.applied_on_disk.iter().copied();
        let unfinished = [Standing::Active, Standing::Holding, Standing::Prepared];
        Held {
            timers: (0..machine.timers())
                .map(|at| machine.timer_kind(at))
                .collect(),
            tail: node.tail.len(),
            claims: machine.attempts().filter_map(claim).collect(),
            applied: on_disk.chain(appended).collect(),
            prepared: standing(&[Standing::Prepared]),
            waits: (self.scenario.looks_max > 0).then(|| deadlocks::Table {
                at: match node.place {
                    Place::Coordinator(at) | Place::Participant(at) => at,
                },
                boot: machine.boot(),
                queues: machine.locks().contended().collect(),
            }),
            // An open question or report is its timer's.
            busy: !standing(&unfinished).is_empty()
                || machine.locks().holders().next().is_some()
                || (0..machine.timers()).any(|at| machine.timer_kind(at) == TimerKind::Repeat),
            part: self.participant_part(&node),
            beyond: false,
            broken: broken(&node).err(),
            kind: Kind::Participant(Box::new(node)),
        }
    }

    /// Whether a participant decided the attempt alone: then its outcome is
    /// nobody else's to know.
    fn was_alone(&self, facts: &Facts, view: &AttemptView) -> bool {
        let alone = |order: &Order| {
            let mut places = order.operations.iter().map(|(at, ..)| *at);
            let first = places.next();
            order.transaction == view.transaction && places.all(|at| Some(at) == first)
        };
        facts.alone.contains(&view.attempt) || self.scenario.orders.iter().any(alone)
    }

    /// The attempt that is compared with the textbook: the first there is.
    fn compared() -> AttemptId {
        let position = Position {
            epoch: Epoch(1),
            sequence: Sequence(1),
        };
        AttemptId {
            coordinator: identity(0),
            position,
        }
    }

    fn coordinator_part(&self, node: &Node<Coordinator>) -> Part {
        let mut heard = 0;
        if let Some(order) = self.scenario.orders.first()
            && let Some(view) = node.machine.look_up(order.transaction)
        {
            for branch in view.branches {
                if branch.vote == Some(VoteKind::Yes) {
                    heard |= 1 << super::packet::place_of(&branch.participant);
                }
            }
        }
        let verdict = node.machine.verdict(Self::compared().position);
        Part::Coordinator { verdict, heard }
    }

    fn participant_part(&self, node: &Node<Participant<Registers>>) -> Part {
        let mut on_disk = node.disk.attempts();
        let on_disk = on_disk.find(|view| view.attempt == Self::compared());
        Part::Participant {
            standing: on_disk.map(|view| view.standing),
            promised: node.facts.prepared_on_disk.contains(&Self::compared()),
        }
    }
}

fn begin(order: &Order) -> Begin {
    Begin {
        transaction: order.transaction,
        age: order.transaction,
        timeout: None,
        first_sent_to: None,
    }
}

/// An operation as the coordinator gets it.
fn addressed((to, action, read_only): &(usize, registers::Action, bool)) -> AddressedOperation {
    let operation = Operation {
        action: Ok(payload(*action)),
        read_only: *read_only,
        inputs: Vec::new(),
    };
    (name(*to), operation)
}

/// The attempt that a record decides to commit.
pub(super) fn decision(place: Place, record: &CoordinatorRecord) -> Option<AttemptId> {
    let (Place::Coordinator(at), CoordinatorRecord::Decided(decided)) = (place, record) else {
        return None;
    };
    let (coordinator, position) = (identity(at), decided.attempt);
    Some(AttemptId {
        coordinator,
        position,
    })
}

/// What must hold at one participant, whatever the others are doing.
fn broken(node: &Node<Participant<Registers>>) -> Result<(), Violation> {
    let (machine, facts) = (&node.machine, &node.facts);
    facts.readable(node.place)?;
    invariants::promises_kept(machine, facts.voted.iter().copied())?;
    let prepared = facts.prepared.iter();
    let prepared = prepared.map(|(attempt, (_, locks))| (*attempt, locks.as_slice()));
    invariants::prepared_locks(machine, prepared)?;
    invariants::no_leaked_lock(machine)?;
    let (sum, tally) = (machine.resource().sum(), machine.resource().tally());
    if sum != tally {
        let story = format!("{}: {tally} was added, and the sum is {sum}", node.place);
        return Err(Violation {
            invariant: super::CONSERVATION,
            story,
        });
    }
    let lost = node.tail.iter().find_map(|(_, record)| match record {
        ParticipantRecord::Damaged(damaged) if damaged.by_hand.is_none() => Some(damaged.attempt),
        _ => None,
    });
    if let Some(attempt) = lost {
        let story = format!(
            "{} hears the commit of {attempt} and has no promise",
            node.place
        );
        return Err(Violation {
            invariant: super::PROMISES,
            story,
        });
    }
    Ok(())
}
