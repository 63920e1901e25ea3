//! Nothing goes wrong any more: whatever was begun must end, and whoever was
//! left without an answer gets one.

use std::collections::VecDeque;

use nemcon_core::invariants::{self, Violation};

use super::cluster::{Happening, Kind, NodeKey};
use super::node::{Said, TimerKind};
use super::packet::{Key, Place};
use super::state::{Client, Explorer, State, bit, told};
use super::{CONSERVATION, DAMAGE, FINISHED, TRUTH};

/// How often all timers fire before what has not ended counts as stuck. Each
/// participant of a chain of waits may need its own round.
const ROUNDS_MAX: usize = 12;

/// In so many rounds only those timers fire that say again what was said.
const PATIENT_ROUNDS: usize = 3;

/// How many steps a healed cluster takes at most.
const STEPS_MAX: usize = 20_000;

/// A cluster in which every message arrives once, in order, and disks keep up.
pub(super) struct Quiet<'a> {
    explorer: &'a Explorer,
    pub(super) nodes: Vec<NodeKey>,
    pub(super) told: Vec<u8>,
    clients: Vec<Client>,
    pub(super) queue: VecDeque<Key>,
    steps: usize,
}

impl<'a> Quiet<'a> {
    pub(super) fn new(
        explorer: &'a Explorer,
        nodes: Vec<NodeKey>,
        told: Vec<u8>,
        clients: Vec<Client>,
    ) -> Self {
        Self {
            explorer,
            nodes,
            told,
            clients,
            queue: VecDeque::new(),
            steps: 0,
        }
    }

    fn step(&mut self, at: Place, what: Happening) {
        self.steps += 1;
        let at = self.explorer.index(at);
        let step = self.explorer.cluster.transition(self.nodes[at], what);
        self.nodes[at] = step.node;
        self.queue.extend(&step.packets);
        for (order, told) in &step.told {
            self.told[*order] |= bit(*told);
        }
    }

    /// Delivers and flushes until nothing is left to do.
    pub(super) fn settle(&mut self) {
        while self.steps < STEPS_MAX {
            while let Some(key) = self.queue.pop_front() {
                self.step(key.to(), Happening::Deliver(key));
            }
            for place in self.explorer.places() {
                let node = self.nodes[self.explorer.index(place)];
                let tail = self.explorer.cluster.node(node).tail;
                if tail > 0 {
                    self.step(place, Happening::Flush(tail));
                }
            }
            if self.queue.is_empty() {
                return;
            }
        }
    }

    fn fire(&mut self, only_repeats: bool) {
        for place in self.explorer.places() {
            let node = self.nodes[self.explorer.index(place)];
            let timers = self.explorer.cluster.node(node).timers.clone();
            // From the last, so that what is disarmed leaves the others' places.
            for (timer, kind) in timers.into_iter().enumerate().rev() {
                let node = self.nodes[self.explorer.index(place)];
                let armed = self.explorer.cluster.node(node).timers.len();
                if timer < armed && (kind == TimerKind::Repeat || !only_repeats) {
                    self.step(place, Happening::Fire(timer));
                }
            }
        }
    }

    /// Every participant makes itself known, as it does when it has started.
    fn register(&mut self) {
        let (coordinators, participants) = self
            .nodes
            .split_at_mut(self.explorer.cluster.scenario.coordinators);
        for coordinator in coordinators {
            for participant in &*participants {
                let step = self.explorer.cluster.registered(*coordinator, *participant);
                *coordinator = step.0;
                let packets = step.1.into_iter().filter_map(|it| match it {
                    Said::Packet(packet) => Some(self.explorer.cluster.post(*packet)),
                    Said::Told(..) => None,
                });
                self.queue.extend(packets);
            }
        }
    }

    fn busy(&self) -> Option<Place> {
        let mut places = self.explorer.places();
        places.find(|place| {
            let node = self.nodes[self.explorer.index(*place)];
            self.explorer.cluster.node(node).busy
        })
    }

    /// Lets everything end.
    fn finish(&mut self) -> Result<(), Violation> {
        for round in 0..ROUNDS_MAX {
            self.settle();
            if self.busy().is_none() {
                return Ok(());
            }
            if round + 1 == PATIENT_ROUNDS {
                self.register();
            }
            self.fire(round < PATIENT_ROUNDS);
        }
        self.settle();
        match self.busy() {
            None => Ok(()),
            Some(place) => {
                let story = format!("{place} has something unfinished, though all is healed");
                Err(violation(FINISHED, story))
            }
        }
    }

    /// Clients send everything again, until they are told. Of an interactive
    /// transaction only the commit: whoever has not asked for it is gone.
    fn ask_again(&mut self) -> Result<(), Violation> {
        let orders = &self.explorer.cluster.scenario.orders;
        for (at, order) in orders.iter().enumerate() {
            let client = self.clients[at];
            let what = match order.piecewise {
                false => Happening::Send(at),
                true if client.commits(order.operations.len()) => {
                    Happening::Ask(at, client.stage, client.epoch)
                }
                true => continue,
            };
            let before = core::mem::take(&mut self.told[at]);
            let mut tries = 0;
            while self.told[at] & !(told::UNKNOWN | told::REFUSED) == 0 {
                tries += 1;
                if tries > ROUNDS_MAX {
                    let story = format!("nobody tells what became of {}", order.transaction);
                    return Err(violation(FINISHED, story));
                }
                self.step(Place::Coordinator(order.coordinator), what);
                self.finish()?;
                // So that who could not be reached is found to be back.
                self.fire(true);
                self.settle();
            }
            self.told[at] |= before;
        }
        Ok(())
    }

    fn participants(&self) -> &[NodeKey] {
        &self.nodes[self.explorer.cluster.scenario.coordinators..]
    }

    /// What must hold in the end.
    fn check(&self) -> Result<(), Violation> {
        let cluster = &self.explorer.cluster;
        invariants::constancy(self.explorer.answers(&self.told))?;
        let (mut applied, mut sum) = (Vec::new(), 0);
        for key in self.participants() {
            let node = cluster.node(*key);
            if let Some(violation) = &node.broken {
                return Err(violation.clone());
            }
            applied.extend(node.applied.iter().copied());
            if let Kind::Participant(node) = &node.kind {
                sum += node.machine.resource().sum();
            }
        }
        self.explorer.check_truth(&self.told, &applied)?;
        self.check_applied()?;
        invariants::once(applied)?;
        if sum != 0 && cluster.scenario.by_hand == 0 {
            let story = format!("all registers together have {sum}, and transfers keep 0");
            return Err(violation(CONSERVATION, story));
        }
        self.check_damage()
    }

    /// What a client is told has committed is applied by everyone that it
    /// concerns, once all has ended.
    fn check_applied(&self) -> Result<(), Violation> {
        let cluster = &self.explorer.cluster;
        for (order, told) in cluster.scenario.orders.iter().zip(&self.told) {
            if told & told::COMMITTED == 0 || order.only_reads() || cluster.scenario.by_hand > 0 {
                continue;
            }
            let mut concerned = order.operations.iter().map(|(at, ..)| *at);
            let lacks = |at: &usize| {
                let node = cluster.node(self.participants()[*at]);
                let mut applied = node.applied.iter();
                !applied.any(|(transaction, _)| *transaction == order.transaction)
            };
            if let Some(at) = concerned.find(lacks) {
                let id = order.transaction;
                let story = format!("{id} was told to have committed, and p{at} has not");
                return Err(violation(TRUTH, story));
            }
        }
        Ok(())
    }

    /// I11: what an operator decided otherwise is on record on both sides.
    fn check_damage(&self) -> Result<(), Violation> {
        let cluster = &self.explorer.cluster;
        let facts = |key: &NodeKey| match &cluster.node(*key).kind {
            Kind::Coordinator(node) => node.facts.damaged_on_disk.clone(),
            Kind::Participant(node) => node.facts.damaged_on_disk.clone(),
        };
        let coordinators = &self.nodes[..cluster.scenario.coordinators];
        let theirs: Vec<_> = coordinators.iter().flat_map(facts).collect();
        let mut ours = self.participants().iter().flat_map(facts);
        match ours.find(|damage| !theirs.contains(damage)) {
            None => Ok(()),
            Some((attempt, at)) => {
                let story = format!("damage of {attempt} is on record at {at} only");
                Err(violation(DAMAGE, story))
            }
        }
    }
}

impl Explorer {
    /// I10, from here: all messages on their way are lost, and then nothing goes
    /// wrong any more.
    pub(super) fn heals(&self, state: &State) -> bool {
        let key = super::table::hash_of(&(&state.nodes, &state.told, &state.clients));
        if let Some(known) = self.healed.get(key) {
            return known;
        }
        let (nodes, told) = (state.nodes.clone(), state.told.clone());
        let mut quiet = Quiet::new(self, nodes, told, state.clients.clone());
        let healed = quiet
            .finish()
            .and_then(|()| quiet.ask_again())
            .and_then(|()| quiet.check());
        let healed = healed.map_err(|why| self.tell(FINISHED, why));
        self.healed.insert(key, healed.is_ok());
        healed.is_ok()
    }
}

const fn violation(invariant: &'static str, story: String) -> Violation {
    Violation { invariant, story }
}
