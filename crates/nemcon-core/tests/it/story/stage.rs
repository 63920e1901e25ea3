//! Performs a script on the world, and keeps the account of what happened.

use std::collections::BTreeMap;

use nemcon_core::id::{AttemptId, SagaId, TransactionId};
use nemcon_core::machine::Room;
use nemcon_core::saga::{Definition, State};

use super::account::{Seen, merge_repeats};
use super::script::{Cluster, Command, Operation, Selector};
use super::words::{self, Names};
use crate::node::Disk;
use crate::world::{Order, Place, Waiting, World};

/// Of one `settle`: far more than any story needs, and the end of one in which nodes
/// talk for ever.
const STEPS_MAX: usize = 10_000;

/// A transaction of the story.
#[derive(Clone, Debug)]
pub(super) enum Told {
    OneShot(Order),
    Interactive(usize, TransactionId),
}

impl Told {
    pub(super) fn id(&self) -> TransactionId {
        match self {
            Self::OneShot(order) => order.transaction,
            Self::Interactive(_, transaction) => *transaction,
        }
    }
}

/// The world, and how far its account has come.
pub(crate) struct Stage {
    pub(super) world: World,
    pub(super) names: Names,
    pub(super) told: BTreeMap<String, Told>,
    /// Sagas, as far as their steps have been told.
    pub(super) sagas: BTreeMap<String, Definition>,
    /// What whoever watches sagas has heard last.
    pub(super) watched: BTreeMap<SagaId, State>,
    copies: BTreeMap<usize, Disk>,
    /// How many records of each node, forced writes and messages on their way are in
    /// the account.
    pub(super) seen: BTreeMap<Place, Seen>,
    pub(super) messages: usize,
    /// Of the command under way.
    pub(super) lines: Vec<String>,
}

impl Stage {
    pub(crate) fn new(cluster: Cluster) -> Self {
        let world = World::remembering(cluster.coordinators, cluster.banks, cluster.remember);
        let mut stage = Self {
            world,
            names: Names::new(cluster),
            told: BTreeMap::new(),
            sagas: BTreeMap::new(),
            watched: BTreeMap::new(),
            copies: BTreeMap::new(),
            seen: BTreeMap::new(),
            messages: 0,
            lines: Vec::new(),
        };
        stage.world.overheard.clear();
        for place in stage.world.places() {
            stage.catch_up(place);
        }
        stage
    }

    /// Performs one command; returns what came of it.
    pub(crate) fn perform(&mut self, command: Command) -> Result<Vec<String>, String> {
        match command {
            Command::Run { .. }
            | Command::Again { .. }
            | Command::Begin { .. }
            | Command::Execute { .. }
            | Command::Lock { .. }
            | Command::Commit { .. }
            | Command::Abort { .. } => self.client(command)?,
            Command::Deliver(_)
            | Command::DeliverLate
            | Command::Lose(_)
            | Command::Double(_)
            | Command::Delay(_)
            | Command::Settle
            | Command::Tick(_)
            | Command::Wait(_) => self.network(command)?,
            Command::Resolve { .. } | Command::Acknowledge { .. } | Command::Remove { .. } => {
                self.operator(command)?;
            }
            Command::Flush(_)
            | Command::Crash { .. }
            | Command::Restart(_)
            | Command::Checkpoint(_)
            | Command::Fill(_)
            | Command::Clear(_)
            | Command::Drain(_)
            | Command::Copy(_)
            | Command::SetBack(_)
            | Command::Look(_) => self.node(command)?,
            Command::Saga(command) => self.saga(command)?,
        }
        Ok(merge_repeats(std::mem::take(&mut self.lines)))
    }

    fn client(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::Run {
                transaction,
                first,
                operations,
                at,
            } => self.run(transaction, first.as_deref(), operations, at),
            Command::Again {
                transaction,
                operations,
                at,
            } => self.again(&transaction, operations, at),
            Command::Begin {
                transaction,
                first,
                at,
            } => {
                self.is_new(&transaction)?;
                self.must_be_up(Place::Coordinator(at))?;
                let first = match first {
                    None => None,
                    Some(first) => Some(self.known(&first)?.id()),
                };
                // Named first, so that the account can name it.
                let id = self.world.mint();
                self.names.give_name(id, &transaction);
                self.told.insert(transaction, Told::Interactive(at, id));
                self.act(|world| world.begin_as(at, id, first.unwrap_or(id)))
            }
            Command::Execute {
                transaction,
                operations,
            } => {
                let (at, id) = self.interactive(&transaction)?;
                let number = self.world.next_piece(id);
                self.act(|world| world.execute(at, id, number, &operations))
            }
            Command::Lock {
                transaction,
                accounts,
            } => {
                let (at, id) = self.interactive(&transaction)?;
                let number = self.world.next_piece(id);
                self.act(|world| world.lock(at, id, number, &accounts))
            }
            Command::Commit { transaction } => {
                let (at, id) = self.interactive(&transaction)?;
                self.act(|world| world.commit(at, id))
            }
            Command::Abort { transaction } => {
                let (at, id) = match self.known(&transaction)? {
                    Told::OneShot(order) => (order.coordinator, order.transaction),
                    Told::Interactive(at, id) => (*at, *id),
                };
                self.must_be_up(Place::Coordinator(at))?;
                self.act(|world| world.abort(at, id))
            }
            other => unreachable!("{other:?} is not a client's"),
        }
    }

    fn run(
        &mut self,
        transaction: String,
        first: Option<&str>,
        operations: Vec<Operation>,
        coordinator: usize,
    ) -> Result<(), String> {
        self.is_new(&transaction)?;
        self.must_be_up(Place::Coordinator(coordinator))?;
        let first = match first {
            None => None,
            Some(first) => Some(self.known(first)?.id()),
        };
        // Named first, so that the account can name it.
        let id = self.world.mint();
        let order = Order {
            transaction: id,
            first: first.unwrap_or(id),
            coordinator,
            operations,
        };
        self.names.give_name(order.transaction, &transaction);
        self.world.orders.push(order.clone());
        self.told.insert(transaction, Told::OneShot(order.clone()));
        self.act(|world| world.send(&order))
    }

    fn again(
        &mut self,
        transaction: &str,
        operations: Option<Vec<Operation>>,
        at: Option<usize>,
    ) -> Result<(), String> {
        let Told::OneShot(order) = self.known(transaction)? else {
            return Err(format!(
                "{transaction} is interactive: want commit or abort"
            ));
        };
        let mut order = order.clone();
        if let Some(operations) = operations {
            order.operations = operations;
        }
        self.must_be_up(Place::Coordinator(at.unwrap_or(order.coordinator)))?;
        match at {
            Some(at) => self.act(|world| world.send_elsewhere(&order, at)),
            None => self.act(|world| world.send(&order)),
        }
    }

    fn network(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::Deliver(selector) => {
                let mut among = self.world.in_flight();
                let mut meant = self.meant(&selector)?.len();
                while meant > 0 {
                    let now = self.find(&selector)?;
                    let Some(at) = now.into_iter().find(|at| *at < among) else {
                        break;
                    };
                    self.deliver(at)?;
                    (among, meant) = (among - 1, meant - 1);
                }
                Ok(())
            }
            Command::DeliverLate => {
                let before = self.world.in_flight();
                self.world.arrive_late();
                let late = self.world.in_flight() - before;
                if late == 0 {
                    return Err("nothing is late".to_owned());
                }
                self.messages += late;
                (0..late).try_for_each(|_| self.deliver(before))
            }
            Command::Lose(selector) => {
                for at in self.meant(&selector)?.into_iter().rev() {
                    self.messages -= 1;
                    self.world.lose(at);
                }
                Ok(())
            }
            Command::Delay(selector) => {
                for at in self.meant(&selector)?.into_iter().rev() {
                    self.messages -= 1;
                    self.world.delay(at);
                }
                Ok(())
            }
            Command::Double(selector) => {
                for at in self.meant(&selector)? {
                    self.world.double_late(at);
                }
                Ok(())
            }
            Command::Settle => self.settle(),
            Command::Tick(span) => {
                let end = self.world.now + span;
                while let Some((_, place)) = self.world.next_due().filter(|(due, _)| *due <= end) {
                    self.act(|world| world.fire(place))?;
                }
                self.world.now = self.world.now.max(end);
                Ok(())
            }
            Command::Wait(span) => {
                let end = self.world.now + span;
                self.settle()?;
                while let Some((_, place)) = self.world.next_due().filter(|(due, _)| *due <= end) {
                    self.act(|world| world.fire(place))?;
                    self.settle()?;
                }
                self.world.now = self.world.now.max(end);
                Ok(())
            }
            other => unreachable!("{other:?} is not the network's"),
        }
    }

    /// Delivers and flushes until no message is on its way and nobody waits for a
    /// disk. No time passes.
    fn settle(&mut self) -> Result<(), String> {
        for _ in 0..STEPS_MAX {
            if self.world.in_flight() > 0 {
                self.deliver(0)?;
                continue;
            }
            let mut places = self.world.places().into_iter();
            match places.find(|place| self.world.wants_flush(*place)) {
                Some(place) => self.act(|world| world.flush(place))?,
                None => return Ok(()),
            }
        }
        Err(format!(
            "not settled after {STEPS_MAX} messages and flushes"
        ))
    }

    fn operator(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::Resolve {
                bank,
                transaction,
                outcome,
            } => {
                let attempt = self.attempt_at(bank, &transaction)?;
                self.act(|world| world.resolve(bank, attempt, outcome))
            }
            Command::Acknowledge { bank, transaction } => {
                let attempt = self.attempt_at(bank, &transaction)?;
                self.act(|world| world.acknowledge_damage(bank, attempt))
            }
            Command::Remove {
                bank,
                coordinator,
                give_up,
            } => {
                self.must_be_up(Place::Coordinator(coordinator))?;
                self.act(|world| match give_up {
                    false => world.remove(coordinator, bank),
                    true => world.give_up(coordinator, bank, "its disk is gone"),
                })
            }
            other => unreachable!("{other:?} is not an operator's"),
        }
    }

    fn node(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::Flush(places) => self.each(&places, Self::flush),
            Command::Crash { node, keeping } => self.crash(node, keeping),
            Command::Restart(places) => self.each(&places, Self::restart),
            Command::Checkpoint(places) => self.each(&places, Self::checkpoint),
            Command::Drain(places) => self.each(&places, |stage, place| {
                stage.act(|world| world.drain(place))
            }),
            Command::Fill(places) => {
                let short = Room::Short {
                    free: 10 << 20,
                    wanted: 72 << 20,
                };
                self.each(&places, |stage, place| {
                    stage.act(|world| world.set_room(place, short))
                })
            }
            Command::Clear(places) => self.each(&places, |stage, place| {
                stage.act(|world| world.set_room(place, Room::Enough))
            }),
            Command::Copy(bank) => {
                let disk = self.world.participants[bank].copy_of_disk();
                self.copies.insert(bank, disk);
                Ok(())
            }
            Command::SetBack(bank) => {
                let no_copy = || {
                    format!(
                        "no copy was made of {}",
                        self.names.node(Place::Participant(bank))
                    )
                };
                let disk = self.copies.get(&bank).cloned().ok_or_else(no_copy)?;
                self.world.set_back(bank, disk);
                self.catch_up(Place::Participant(bank));
                Ok(())
            }
            Command::Look(places) => {
                for place in places {
                    let line = self.look(place);
                    self.lines.push(line);
                }
                Ok(())
            }
            other => unreachable!("{other:?} is not about nodes"),
        }
    }

    fn each(
        &mut self,
        places: &[Place],
        mut act: impl FnMut(&mut Self, Place) -> Result<(), String>,
    ) -> Result<(), String> {
        for place in places {
            act(self, *place)?;
        }
        Ok(())
    }

    fn flush(&mut self, place: Place) -> Result<(), String> {
        self.must_be_up(place)?;
        self.act(|world| world.flush(place))
    }

    fn crash(&mut self, place: Place, keeping: usize) -> Result<(), String> {
        self.must_be_up(place)?;
        let before = self.records(place);
        let waiting = self.world.waiting_at(place);
        self.world.crash(place, keeping);
        let lost = before[self.records(place).len()..].join(", ");
        self.catch_up(place);
        if !lost.is_empty() {
            let line = format!("{} loses {lost}", self.names.node(place));
            self.lines.push(line);
        }
        for waiting in waiting {
            match waiting {
                Waiting::Client { transaction } => {
                    let name = self.names.transaction(transaction);
                    self.lines.push(format!("client: no answer for {name}"));
                }
                Waiting::Saga { saga, asker } => {
                    let line = self.names.no_saga_answer(saga, asker);
                    self.lines.push(line);
                }
                Waiting::Frame { .. }
                | Waiting::Asker { .. }
                | Waiting::Damage { .. }
                | Waiting::Registration { .. }
                | Waiting::Nobody => {}
            }
        }
        self.act(|_| ())
    }

    fn restart(&mut self, place: Place) -> Result<(), String> {
        if self.world.is_up(place) {
            return Err(format!("{} is up", self.names.node(place)));
        }
        self.act(|world| world.start(place))?;
        let line = self.look(place);
        self.lines.push(line);
        if let Place::Participant(bank) = place {
            for at in 0..self.names.cluster.coordinators {
                if self.world.is_up(Place::Coordinator(at)) {
                    self.act(|world| world.register(at, bank))?;
                }
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self, place: Place) -> Result<(), String> {
        self.must_be_up(place)?;
        loop {
            self.act(|world| world.checkpoint(place, 1_000))?;
            let under_way = match place {
                Place::Coordinator(at) => self.world.coordinators[at].is_in_checkpoint(),
                Place::Participant(at) => self.world.participants[at].is_in_checkpoint(),
            };
            if !under_way {
                let line = format!("{} drops all older records", self.names.node(place));
                self.lines.push(line);
                return Ok(());
            }
        }
    }

    fn deliver(&mut self, at: usize) -> Result<(), String> {
        let packet = &self.world.network()[at];
        let receiver = packet.receiver();
        if !self.world.is_up(receiver) {
            let line = format!("{} is down", self.names.node(receiver));
            if !self.lines.contains(&line) {
                self.lines.push(line);
            }
        }
        self.messages -= 1;
        self.act(|world| world.deliver(at))
    }

    /// One step of the world, and what is to be said of it. That a call has failed
    /// is known to its caller at once.
    pub(super) fn act(&mut self, act: impl FnOnce(&mut World)) -> Result<(), String> {
        act(&mut self.world);
        self.report();
        self.check()?;
        while let Some(at) = self.world.network().iter().position(words::is_failure) {
            self.messages -= 1;
            self.world.deliver(at);
            self.report();
            self.check()?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        self.world
            .check()
            .map_err(|violation| violation.to_string())?;
        for (at, node) in self.world.participants.iter().enumerate() {
            if let Some(machine) = &node.machine {
                let registers = machine.resource();
                let sum: i64 = registers.values.values().sum();
                if sum != registers.tally {
                    let node = self.names.node(Place::Participant(at));
                    return Err(format!("not every change was applied once at {node}"));
                }
            }
        }
        Ok(())
    }

    fn is_new(&self, transaction: &str) -> Result<(), String> {
        match self.told.contains_key(transaction) {
            true => Err(format!("{transaction} has been told; `again` repeats it")),
            false => Ok(()),
        }
    }

    fn known(&self, transaction: &str) -> Result<&Told, String> {
        let told = self.told.get(transaction);
        told.ok_or_else(|| format!("nothing was told of {transaction} so far"))
    }

    fn interactive(&self, transaction: &str) -> Result<(usize, TransactionId), String> {
        match *self.known(transaction)? {
            Told::Interactive(at, id) => {
                self.must_be_up(Place::Coordinator(at))?;
                Ok((at, id))
            }
            Told::OneShot(_) => Err(format!("{transaction} is one-shot: it was all in `run`")),
        }
    }

    pub(super) fn must_be_up(&self, place: Place) -> Result<(), String> {
        match self.world.is_up(place) {
            true => Ok(()),
            false => Err(format!("{} is down", self.names.node(place))),
        }
    }

    /// The newest attempt of a transaction that a bank knows of.
    fn attempt_at(&self, bank: usize, transaction: &str) -> Result<AttemptId, String> {
        let id = self.known(transaction)?.id();
        let attempts = self.names.attempts_of(id);
        let last = attempts.into_iter().next_back();
        let node = Place::Participant(bank);
        self.must_be_up(node)?;
        last.ok_or_else(|| format!("{} has not heard of {transaction}", self.names.node(node)))
    }

    fn find(&self, selector: &Selector) -> Result<Vec<usize>, String> {
        let transaction = match &selector.transaction {
            Some(name) => {
                let called = self.names.transaction_called(name);
                Some(called.ok_or_else(|| format!("nothing was told of {name} so far"))?)
            }
            None => None,
        };
        let network = self.world.network().iter().enumerate();
        let meant =
            network.filter(|(_, packet)| self.names.is_meant(packet, selector, transaction));
        Ok(meant.map(|(at, _)| at).collect())
    }

    /// Where the messages that a command means are; an error if there are none, since
    /// then the author of the story is mistaken about it.
    fn meant(&self, selector: &Selector) -> Result<Vec<usize>, String> {
        let meant = self.find(selector)?;
        if !meant.is_empty() {
            return Ok(meant);
        }
        let network = self.world.network().iter();
        let on_its_way: Vec<String> = network
            .map(|packet| {
                let (from, to, what) = self.names.packet(packet);
                format!(
                    "{} → {}: {what}",
                    self.names.node(from),
                    self.names.node(to)
                )
            })
            .collect();
        Err(match on_its_way.as_slice() {
            [] => "no message is on its way".to_owned(),
            there => format!(
                "no such message is on its way; there are [{}]",
                there.join("], [")
            ),
        })
    }
}
