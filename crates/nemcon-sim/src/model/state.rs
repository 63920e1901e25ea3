//! The whole cluster in one state, and the steps that lead on from it.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use nemcon_core::id::{AttemptId, Epoch, TransactionId};
use nemcon_core::invariants::{self, Claim, Unanimity, Violation};
use nemcon_core::message::{Answer, Outcome, ToParticipant, Vote};

use super::cluster::{Cluster, Happening, Kind, NodeKey, Transition};
use super::network::Network;
use super::node::{TimerKind, Told};
use super::packet::{Key, Packet, Place, coordinator_of, name};
use super::scenario::{Failures, Who};
use super::visited::Visited;
use super::{DEADLOCKS, READS, REFINEMENT, TRUTH, refinement, two_phase};
use crate::checkers::deadlocks;

/// Bits of what the client of an order was told.
pub(super) mod told {
    pub(in super::super) const COMMITTED: u8 = 1;
    pub(in super::super) const ABORTED: u8 = 2;
    pub(in super::super) const FORGOTTEN: u8 = 4;
    pub(in super::super) const UNKNOWN: u8 = 8;
    pub(in super::super) const REUSED: u8 = 16;
    pub(in super::super) const REFUSED: u8 = 32;
    pub(in super::super) const NOTHING_DONE: u8 = 64;
}

/// How far the client of an interactive order has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Client {
    /// What it asks for next, or has asked for: 0 to begin, then the pieces, then the
    /// commit.
    pub(super) stage: u8,
    /// It has asked for that.
    pub(super) asked: bool,
    /// It was told how it ended, or that it did not go on.
    pub(super) over: bool,
    /// The epoch in which its transaction has begun.
    pub(super) epoch: Epoch,
    /// The sum of all results.
    pub(super) sum: i64,
}

impl Client {
    fn hear(&mut self, told: Told) {
        let heard = match told {
            Told::Begun(epoch) if self.stage == 0 => {
                self.epoch = epoch;
                true
            }
            Told::Worked(piece, sum) if self.stage == piece => {
                self.sum += sum;
                true
            }
            Told::Begun(_) | Told::Worked(..) => false,
            _ => {
                self.over = true;
                false
            }
        };
        if heard {
            self.stage += 1;
            self.asked = false;
        }
    }

    /// Whether it asks for the commit of so many pieces.
    pub(super) const fn commits(&self, pieces: usize) -> bool {
        self.stage as usize > pieces && self.asked
    }
}

/// Everything, by name.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// Coordinators, then participants.
    pub(super) nodes: Vec<NodeKey>,
    /// All that was ever said.
    pub(super) network: Network,
    /// What clients were told, by order.
    pub(super) told: Vec<u8>,
    /// How far the clients have come, by order.
    pub(super) clients: Vec<Client>,
    /// Waits that were part of a deadlock.
    pub(super) deadlocked: BTreeSet<deadlocks::Wait>,
    pub(super) sends_left: Vec<u8>,
    pub(super) aborts_left: Vec<u8>,
    pub(super) crashes_left: u8,
    pub(super) by_hand_left: u8,
    /// A doubt was ended by what a peer said.
    pub(super) peer_believed: bool,
    /// What the textbook makes of it, where that is compared.
    pub(super) textbook: Option<two_phase::State>,
    /// What the step that led here has broken.
    pub(super) broken: Option<&'static str>,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, into: &mut H) {
        (&self.nodes, &self.network, &self.told).hash(into);
        (&self.clients, &self.deadlocked).hash(into);
        (&self.sends_left, &self.aborts_left).hash(into);
        (self.crashes_left, self.by_hand_left).hash(into);
        (self.peer_believed, &self.textbook, self.broken).hash(into);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        super::table::hash_of(self) == super::table::hash_of(other)
    }
}

/// Something that can happen, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) at: Place,
    pub(super) what: Happening,
}

/// A scenario with all that is known of its states.
pub(super) struct Explorer {
    pub(super) cluster: Cluster,
    /// Properties that do not hold, each with the first violation.
    pub(super) stories: Mutex<Vec<(&'static str, Violation)>>,
    /// The outcome of healing, by the nodes it began with.
    pub(super) healed: super::table::Table<bool>,
    pub(super) seen: Mutex<BTreeSet<super::scenario::Sight>>,
    pub(super) visited: Visited,
}

impl Explorer {
    pub(super) fn index(&self, place: Place) -> usize {
        match place {
            Place::Coordinator(at) => at,
            Place::Participant(at) => self.cluster.scenario.coordinators + at,
        }
    }

    pub(super) fn places(&self) -> impl Iterator<Item = Place> + use<> {
        let scenario = &self.cluster.scenario;
        let participants = (0..scenario.participants).map(Place::Participant);
        let coordinators = (0..scenario.coordinators).map(Place::Coordinator);
        coordinators.chain(participants)
    }

    /// Everyone has started, everyone knows everyone, and nothing has happened.
    pub(super) fn beginning(&self) -> State {
        let scenario = &self.cluster.scenario;
        let mut said = Vec::new();
        let mut nodes: Vec<NodeKey> = Vec::new();
        for place in self.places() {
            let (node, more) = self.cluster.started(place);
            nodes.push(node);
            said.extend(more);
        }
        let (coordinators, participants) = nodes.split_at_mut(scenario.coordinators);
        for coordinator in coordinators {
            for participant in &*participants {
                let (node, more) = self.cluster.registered(*coordinator, *participant);
                *coordinator = node;
                said.extend(more);
            }
        }
        let packets = said.into_iter().filter_map(|it| match it {
            super::node::Said::Packet(packet) => Some(self.cluster.post(*packet)),
            super::node::Said::Told(..) => None,
        });
        let orders = scenario.orders.len();
        let clients = vec![Client::default(); orders];
        let mut quiet = super::healing::Quiet::new(self, nodes, vec![0; orders], clients.clone());
        quiet.queue.extend(packets);
        quiet.settle();
        State {
            nodes: quiet.nodes,
            network: Network::default(),
            told: quiet.told,
            clients,
            deadlocked: BTreeSet::new(),
            sends_left: scenario.orders.iter().map(|it| it.sends).collect(),
            aborts_left: scenario.orders.iter().map(|it| it.aborts).collect(),
            crashes_left: scenario.crashes,
            by_hand_left: scenario.by_hand,
            peer_believed: false,
            textbook: scenario
                .refines
                .then(|| two_phase::State::beginning(scenario.participants)),
            broken: None,
        }
    }

    /// All that can happen now. Much of it changes nothing.
    pub(super) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        let scenario = &self.cluster.scenario;
        let mut add = |at, what| actions.push(Action { at, what });
        for (at, order) in scenario.orders.iter().enumerate() {
            let place = Place::Coordinator(order.coordinator);
            let outcome = told::COMMITTED | told::ABORTED;
            let told = order.after.is_none_or(|it| state.told[it] & outcome != 0);
            let locked = order
                .once_locked
                .is_none_or(|it| state.clients[it].stage > 1);
            let waits = !told || !locked;
            let client = state.clients[at];
            if order.piecewise {
                let repeats = u8::from(client.asked);
                if state.sends_left[at] > repeats && !client.over && !waits {
                    add(place, Happening::Ask(at, client.stage, client.epoch));
                }
            } else if state.sends_left[at] > 0 && !waits {
                add(place, Happening::Send(at));
            }
            if state.aborts_left[at] > 0 {
                add(place, Happening::Abort(at));
            }
        }
        for key in self.cluster.keys(&state.network) {
            add(key.to(), Happening::Deliver(key));
            let asks = matches!(key.from(), Place::Participant(_));
            match scenario.failures {
                Failures::None => {}
                Failures::Questions if !asks => {}
                Failures::Questions | Failures::All => add(key.from(), Happening::Fail(key)),
            }
        }
        for place in self.places() {
            let node = self.cluster.node(state.nodes[self.index(place)]);
            for (timer, kind) in node.timers.iter().enumerate() {
                if scenario.deadlines || *kind != TimerKind::End {
                    add(place, Happening::Fire(timer));
                }
            }
            for count in 1..=node.tail {
                add(place, Happening::Flush(count));
            }
            let crashes = match scenario.who_crashes {
                Who::Everyone => true,
                Who::Coordinators => matches!(place, Place::Coordinator(_)),
                Who::Participants => matches!(place, Place::Participant(_)),
            };
            if crashes && state.crashes_left > 0 {
                for kept in 0..=node.tail {
                    add(place, Happening::Crash(kept));
                }
            }
            if state.by_hand_left > 0 {
                for attempt in &node.prepared {
                    add(place, Happening::Resolve(*attempt, Outcome::Committed));
                    add(place, Happening::Resolve(*attempt, Outcome::Aborted));
                }
            }
        }
    }

    /// The state after something has happened; `None` if that changed nothing.
    pub(super) fn after(&self, state: &State, action: Action) -> Option<State> {
        let at = self.index(action.at);
        let step = self.cluster.transition(state.nodes[at], action.what);
        let mut next = state.clone();
        next.nodes[at] = step.node;
        let mut said = step.told.clone();
        let moved = (step.node != state.nodes[at]).then_some(at);
        self.speak(&mut next, moved, &step.packets, &mut said);
        if let Happening::Ask(order, ..) = action.what {
            next.clients[order].asked = true;
        }
        for (order, told) in &said {
            next.told[*order] |= bit(*told);
            next.clients[*order].hear(*told);
        }
        let silent = next.network == state.network
            && next.told == state.told
            && next.clients == state.clients;
        if moved.is_none() && silent {
            return None;
        }
        match action.what {
            Happening::Send(order) => next.sends_left[order] -= 1,
            Happening::Ask(order, ..) => {
                next.sends_left[order] -= u8::from(state.clients[order].asked);
            }
            Happening::Abort(order) => next.aborts_left[order] -= 1,
            Happening::Crash(_) => next.crashes_left -= 1,
            Happening::Resolve(..) => next.by_hand_left -= 1,
            Happening::Deliver(_)
            | Happening::Fail(_)
            | Happening::Flush(_)
            | Happening::Fire(_) => {}
        }
        next.peer_believed |= self.is_peer_believed(state, &next, action);
        let checked = self.check_step(&mut next, action.at, &step, &said);
        let checked = checked.and_then(|()| self.check_victim(state, action));
        self.note_deadlocks(&mut next);
        if checked.is_ok() && self.visited.dominates(&next) {
            return None;
        }
        if let Err(violation) = checked.and_then(|()| self.check_nodes(&next, step.node)) {
            next.broken = Some(violation.invariant);
            self.tell(violation.invariant, violation);
        }
        Some(next)
    }

    /// Whether a participant that was in doubt has heard from a peer, and is not
    /// any more.
    fn is_peer_believed(&self, before: &State, next: &State, action: Action) -> bool {
        let (Place::Participant(_), Happening::Deliver(key)) = (action.at, action.what) else {
            return false;
        };
        let doubts = |state: &State| {
            let node = self.cluster.node(state.nodes[self.index(action.at)]);
            node.prepared.len()
        };
        let from_peer = matches!(key.from(), Place::Participant(_));
        from_peer && doubts(next) < doubts(before)
    }

    /// Adds packets to the network, and then all that anyone can say without
    /// changing: a message in the network can do no less than one that is not.
    fn speak(
        &self,
        state: &mut State,
        moved: Option<usize>,
        packets: &[Key],
        told: &mut Vec<(usize, Told)>,
    ) {
        let mut todo: Vec<(usize, Happening)> = Vec::new();
        if let Some(at) = moved {
            let here = self.cluster.keys(&state.network).into_iter();
            let here = here.filter(|key| self.index(key.to()) == at);
            todo.extend(here.map(|key| (at, Happening::Deliver(key))));
            let timers = self.cluster.node(state.nodes[at]).timers.len();
            todo.extend((0..timers).map(|timer| (at, Happening::Fire(timer))));
        }
        self.add(state, packets, &mut todo);
        while let Some((at, what)) = todo.pop() {
            let step = self.cluster.transition(state.nodes[at], what);
            if step.node == state.nodes[at] {
                told.extend(&step.told);
                self.add(state, &step.packets, &mut todo);
            }
        }
    }

    /// Adds packets to the network, and the arrival of the new ones to what is to
    /// be tried.
    fn add(&self, state: &mut State, packets: &[Key], todo: &mut Vec<(usize, Happening)>) {
        for key in packets {
            if state.network.insert(key.number()) {
                todo.push((self.index(key.to()), Happening::Deliver(*key)));
            }
        }
    }

    /// Keeps the violation of a property, if it is the first.
    pub(super) fn tell(&self, property: &'static str, violation: Violation) {
        let mut stories = self.stories.lock().unwrap_or_else(PoisonError::into_inner);
        if stories.iter().all(|(known, _)| *known != property) {
            stories.push((property, violation));
        }
    }

    /// What must hold of a step, whatever else leads to the same state.
    fn check_step(
        &self,
        next: &mut State,
        at: Place,
        step: &Transition,
        said: &[(usize, Told)],
    ) -> Result<(), Violation> {
        self.check_told(next, said)?;
        for attempt in &step.decided {
            self.unanimity(next, *attempt)?;
        }
        self.refine(next, at, step)
    }

    /// I13: who gives way was in a deadlock.
    fn check_victim(&self, state: &State, action: Action) -> Result<(), Violation> {
        let (Place::Participant(at), Happening::Deliver(key)) = (action.at, action.what) else {
            return Ok(());
        };
        let packet = self.cluster.packet(key);
        let Packet::Frame { frame, .. } = packet.as_ref() else {
            return Ok(());
        };
        let ToParticipant::FailWait(fail) = &frame.message else {
            return Ok(());
        };
        let node = self.cluster.node(state.nodes[self.index(action.at)]);
        let Some(table) = node.waits.as_ref().filter(|it| it.boot == fail.boot) else {
            return Ok(());
        };
        let mut waiters = table.queues.iter().flat_map(|queue| &queue.waiters);
        let stands = waiters.any(|it| it.owner == fail.victim && it.wait == fail.wait);
        if !stands || state.deadlocked.contains(&(at, fail.boot, fail.wait)) {
            return Ok(());
        }
        let story = format!(
            "{} gives way at p{at}, and its wait was never in a deadlock",
            fail.victim
        );
        Err(Violation {
            invariant: DEADLOCKS,
            story,
        })
    }

    /// Takes note of waits that are part of a deadlock now.
    fn note_deadlocks(&self, next: &mut State) {
        if self.cluster.scenario.looks_max == 0 {
            return;
        }
        let participants = &next.nodes[self.cluster.scenario.coordinators..];
        let held: Vec<_> = participants
            .iter()
            .map(|key| self.cluster.node(*key))
            .collect();
        let tables = held.iter().filter_map(|held| held.waits.as_ref());
        next.deadlocked.extend(deadlocks::waits_in_cycles(tables));
    }

    /// What must hold of the nodes. What can only have been broken by the node
    /// that has stepped is looked at there.
    fn check_nodes(&self, next: &State, stepped: NodeKey) -> Result<(), Violation> {
        if let Some(violation) = &self.cluster.node(stepped).broken {
            return Err(violation.clone());
        }
        invariants::agreement(self.claims(next))?;
        let participants = &next.nodes[self.cluster.scenario.coordinators..];
        let participants = participants.iter().map(|key| self.cluster.node(*key));
        let applied: Vec<_> = participants.flat_map(|node| node.applied.clone()).collect();
        self.check_truth(&next.told, &applied)?;
        invariants::once(applied)
    }

    /// What clients are told: I3, and that what is read together was true
    /// together.
    fn check_told(&self, next: &State, told: &[(usize, Told)]) -> Result<(), Violation> {
        for (order, told) in told {
            let client = next.clients[*order];
            let order = &self.cluster.scenario.orders[*order];
            let sum = match told {
                Told::Outcome(Outcome::Committed, _) if order.piecewise => Some(client.sum),
                Told::Outcome(Outcome::Committed, sum) => *sum,
                _ => None,
            };
            if order.only_reads()
                && let Some(sum) = sum
                && sum != 0
            {
                let story = format!("{} has read values whose sum is {sum}", order.transaction);
                return Err(Violation {
                    invariant: READS,
                    story,
                });
            }
        }
        invariants::constancy(self.answers(&next.told))
    }

    /// What a client is told has aborted is applied nowhere, unless by hand.
    pub(super) fn check_truth(
        &self,
        told: &[u8],
        applied: &[(TransactionId, AttemptId)],
    ) -> Result<(), Violation> {
        let scenario = &self.cluster.scenario;
        let mut aborted = self.answers(told).into_iter();
        let lie = aborted.find(|(transaction, outcome)| {
            let mut applied = applied.iter();
            *outcome == Outcome::Aborted && applied.any(|(it, _)| it == transaction)
        });
        match lie {
            Some((transaction, _)) if scenario.by_hand == 0 => {
                let story = format!("{transaction} was told to have aborted, and is applied");
                let invariant = TRUTH;
                Err(Violation { invariant, story })
            }
            _ => Ok(()),
        }
    }

    /// The outcomes clients were told. What only reads may be read again after a
    /// restart, and end otherwise.
    pub(super) fn answers(&self, told: &[u8]) -> Vec<(TransactionId, Outcome)> {
        let mut answers = Vec::new();
        for (order, told) in self.cluster.scenario.orders.iter().zip(told) {
            if order.only_reads() {
                continue;
            }
            if told & told::COMMITTED != 0 {
                answers.push((order.transaction, Outcome::Committed));
            }
            if told & (told::ABORTED | told::NOTHING_DONE) != 0 {
                answers.push((order.transaction, Outcome::Aborted));
            }
        }
        answers
    }

    /// I2, from what has been said.
    fn unanimity(&self, next: &State, attempt: AttemptId) -> Result<(), Violation> {
        let (mut asked, mut in_favour) = (BTreeSet::new(), BTreeSet::new());
        for key in self.cluster.keys(&next.network) {
            match self.cluster.packet(key).as_ref() {
                Packet::Frame { frame, .. } => {
                    if let ToParticipant::Prepare(prepare) = &frame.message
                        && prepare.task.attempt == attempt
                    {
                        asked.extend(prepare.peers.iter().map(|peer| peer.name.clone()));
                    }
                }
                Packet::Answer { from, answer, .. } => {
                    if let Answer::Voted {
                        attempt: voted,
                        vote: Vote::Yes(_) | Vote::ReadOnly(_),
                        ..
                    } = answer
                        && *voted == attempt
                    {
                        in_favour.insert(name(*from));
                    }
                }
                _ => {}
            }
        }
        invariants::unanimity(&Unanimity {
            attempt,
            asked: &asked,
            in_favour: &in_favour,
        })
    }

    /// Outcomes that participants hold, and what the coordinators of these
    /// attempts hold.
    pub(super) fn claims(&self, state: &State) -> Vec<Claim> {
        let mut claims = Vec::new();
        for key in &state.nodes[self.cluster.scenario.coordinators..] {
            for (claim, transaction) in &self.cluster.node(*key).claims {
                let owner = coordinator_of(claim.attempt.coordinator);
                let coordinator = self.cluster.node(state.nodes[owner]);
                let Kind::Coordinator(node) = &coordinator.kind else {
                    continue;
                };
                // Once it has forgotten what everyone has acknowledged, its
                // "aborted" is no claim: nobody can be in doubt about it.
                let machine = &node.machine;
                let known = machine.look_up(*transaction).is_some();
                let forgotten = !known && machine.may_have_forgotten(*transaction);
                if !forgotten
                    && let Some(outcome) = machine.verdict(claim.attempt.position).outcome()
                {
                    claims.push(Claim {
                        node: node.place.to_string(),
                        attempt: claim.attempt,
                        outcome,
                    });
                }
                claims.push(claim.clone());
            }
        }
        claims
    }

    /// Each step is one of the textbook's, or none.
    fn refine(&self, next: &mut State, at: Place, step: &Transition) -> Result<(), Violation> {
        let Some(mut now) = next.textbook.take() else {
            return Ok(());
        };
        let manager = match at {
            Place::Coordinator(_) => None,
            Place::Participant(at) => Some(at),
        };
        let mut refined = Ok(());
        for then in refinement::states(&now, manager, &step.parts) {
            if !now.can_become(&then) && refined.is_ok() {
                let story = format!("{now:?} does not become {then:?} in one step");
                let invariant = REFINEMENT;
                refined = Err(Violation { invariant, story });
            }
            now = then;
        }
        next.textbook = Some(now);
        refined
    }
}

pub(super) const fn bit(told: Told) -> u8 {
    match told {
        Told::Outcome(Outcome::Committed, _) => told::COMMITTED,
        Told::Outcome(Outcome::Aborted, _) => told::ABORTED,
        Told::Forgotten => told::FORGOTTEN,
        Told::Unknown => told::UNKNOWN,
        Told::Reused => told::REUSED,
        Told::Refused => told::REFUSED,
        Told::NothingDone => told::NOTHING_DONE,
        Told::Begun(_) | Told::Worked(..) => 0,
    }
}
