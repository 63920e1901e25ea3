//! The nodes, what is on its way between them, and what goes wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use nemcon_core::codec::Codec;
use nemcon_core::coordinator::event::{
    Alarm, Effect as CoordinatorEffect, Event as CoordinatorEvent, Reply, StartSaga,
};
use nemcon_core::coordinator::record::Record;
use nemcon_core::coordinator::{self, Coordinator};
use nemcon_core::id::{AttemptId, CoordinatorId, ParticipantId, RequestId, SagaId, TransactionId};
use nemcon_core::invariants::{self, StepSum};
use nemcon_core::machine::Wake;
use nemcon_core::message::{
    Answer, Call, Failure, Frame, OperationsHash, Payload, ToParticipant, Verdict,
};
use nemcon_core::participant::event::{
    Effect as ParticipantEffect, Event as ParticipantEvent, Reply as ParticipantReply, Source,
};
use nemcon_core::participant::{self, Participant};
use nemcon_core::planted::Planted;
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::saga::{Ended, Fact, Graph, State, Way};
use nemcon_core::time::Millis;
use uuid::Uuid;

use super::checker::Account;
use super::graph::{PARTICIPANTS, definition, participant, step_name};
use super::node::Node;
use super::tally::{Action, Tally};
use super::{Ending, Injection, Plan};
use crate::chance::{Chance, Stream};

/// Steps of the world in which things go wrong.
const TROUBLE: u32 = 600;

/// Steps after which the saga must have come to rest, and once more when people have
/// seen to it.
const PATIENCE: u32 = 20_000;

#[derive(Clone)]
enum Packet {
    /// To whom, and of which life of the coordinator.
    Frame(usize, u32, Frame<Payload>),
    Answer(usize, Answer<Payload>),
    Lost(usize, Call),
    Ask(usize, Place, Source, AttemptId),
    Verdict(usize, Source, AttemptId, Result<Verdict, Failure>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Coordinator,
    Participant(usize),
}

pub(super) struct World<'a> {
    plan: &'a Plan,
    planted: Planted,
    chance: Chance,
    now: Millis,
    graph: Graph,
    saga: SagaId,
    coordinator: Node<Coordinator>,
    participants: Vec<Node<Participant<Tally>>>,
    network: VecDeque<Packet>,
    waiting: BTreeMap<RequestId, (usize, Source, AttemptId)>,
    requests: u64,
    /// Things go wrong.
    troubled: bool,
    /// How often a step was refused so far, by step and way.
    refused: BTreeMap<(usize, Way), u32>,
    crashed: u32,
    /// Which life of the coordinator this is.
    life: u32,
    /// Calls of earlier lives: nobody waits for their answers.
    orphaned: BTreeSet<RequestId>,
    /// How much of the log the checker has seen.
    checked: usize,
    alarmed: bool,
    by_hand: bool,
    /// What clients were told of its end.
    told: BTreeSet<Ended>,
    broken: Option<String>,
}

impl<'a> World<'a> {
    pub(super) fn new(plan: &'a Plan, planted: Planted) -> Self {
        let definition = definition(plan.seed);
        let at = Millis(1_000_000);
        let mut world = Self {
            plan,
            planted,
            chance: Chance::new(plan.seed, Stream::Network),
            now: at,
            graph: Graph::new(definition).expect("a legal graph"),
            saga: SagaId::from_parts(at, u128::from(plan.seed)),
            coordinator: Node::new(new_coordinator(0, planted)),
            participants: (0..PARTICIPANTS)
                .map(|place| Node::new(new_participant(place)))
                .collect(),
            network: VecDeque::new(),
            waiting: BTreeMap::new(),
            requests: 0,
            troubled: true,
            refused: BTreeMap::new(),
            crashed: 0,
            life: 0,
            orphaned: BTreeSet::new(),
            checked: 0,
            alarmed: false,
            by_hand: false,
            told: BTreeSet::new(),
            broken: None,
        };
        for place in 0..PARTICIPANTS {
            world.restart_participant(place);
        }
        world.restart_coordinator();
        world
    }

    pub(super) fn run(mut self) -> Result<Ending, String> {
        self.start_saga();
        let mut steps = 0;
        let rest = |world: &Self| world.state().is_none_or(is_over);
        while steps < TROUBLE + PATIENCE {
            steps += 1;
            if steps == TROUBLE {
                self.heal();
            }
            self.go_wrong();
            let moved = self.step();
            if let Some(broken) = self.broken.take() {
                return Err(broken);
            }
            let state = self.state();
            // People come when they are called, and that it is stuck has to be durable
            // before they are; at the latest they come when nothing goes on any more.
            let called = self.alarmed && !self.troubled;
            if state == Some(State::Stuck) && (called || !moved) {
                self.see_to_it()?;
            } else if rest(&self) && !self.troubled && !moved {
                break;
            } else if rest(&self) && steps < TROUBLE && self.plan.injection.is_none() {
                self.heal();
            }
        }
        self.judge()
    }

    fn state(&self) -> Option<State> {
        self.coordinator.machine.saga(self.saga).map(|it| it.state)
    }

    fn heal(&mut self) {
        self.troubled = false;
        // A start that was lost is sent again, as clients do.
        self.start_saga();
    }

    /// People have looked at a saga that is stuck: what was wrong is mended.
    fn see_to_it(&mut self) -> Result<(), String> {
        if let Some(view) = self.coordinator.machine.saga(self.saga) {
            invariants::saga_rests(&view, self.alarmed).map_err(|it| it.to_string())?;
        }
        self.by_hand = true;
        self.alarmed = false;
        self.troubled = false;
        let request = self.request();
        let saga = self.saga;
        let (who, why) = ("ann".to_owned(), "mended".to_owned());
        self.tell_coordinator(CoordinatorEvent::SagaResumeRequested {
            request,
            saga,
            who,
            why,
        });
        Ok(())
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn start_saga(&mut self) {
        let start = Box::new(StartSaga {
            saga: self.saga,
            graph: self.graph.clone(),
            hash: OperationsHash([1; 32]),
            first_sent_to: None,
        });
        let request = self.request();
        self.tell_coordinator(CoordinatorEvent::SagaStartRequested { request, start });
    }

    /// What the plan wants to happen by itself.
    fn go_wrong(&mut self) {
        if !self.troubled {
            return;
        }
        if matches!(self.plan.injection, Some((_, Injection::Repetition))) && self.chance.one_in(20)
        {
            self.start_saga();
        }
        if !self.plan.noisy {
            return;
        }
        if self.chance.one_in(150) {
            self.crash_coordinator();
        }
        if self.chance.one_in(200) {
            let place = self.chance.place(PARTICIPANTS);
            self.crash_participant(place);
        }
        if self.chance.one_in(60) {
            let effects = self.coordinator.checkpoint(self.now);
            self.coordinator_effects(effects);
        }
        if self.plan.injection.is_none() && self.chance.one_in(200) {
            let request = self.request();
            let saga = self.saga;
            let why = String::new();
            self.tell_coordinator(CoordinatorEvent::SagaCancelRequested { request, saga, why });
        }
    }

    /// Delivers a message, flushes a disk, or lets time pass. False: nothing is left.
    fn step(&mut self) -> bool {
        if !self.network.is_empty() {
            let at = self.chance.place(self.network.len().min(4));
            if let Some(packet) = self.network.remove(at) {
                self.deliver(packet);
            }
            return true;
        }
        if self.coordinator.wants_flush() {
            let effects = self.coordinator.flush(self.now);
            self.coordinator_effects(effects);
            return true;
        }
        for place in 0..PARTICIPANTS {
            if self.participants[place].wants_flush() {
                let effects = self.participants[place].flush(self.now);
                self.participant_effects(place, effects);
                return true;
            }
        }
        let coordinator = self.coordinator.next_deadline();
        let others = self.participants.iter().filter_map(Node::next_deadline);
        let Some(at) = coordinator.into_iter().chain(others).min() else {
            return false;
        };
        // What is due in an hour is nobody's business here.
        if at.since(self.now).0 > 600_000 {
            return false;
        }
        self.now = self.now.max(at);
        self.tell_coordinator(Wake::DeadlinePassed.into());
        for place in 0..PARTICIPANTS {
            self.tell_participant(place, Wake::DeadlinePassed.into());
        }
        true
    }

    fn deliver(&mut self, packet: Packet) {
        if self.troubled && self.plan.noisy {
            if self.chance.permille(30) {
                return;
            }
            if self.chance.permille(50) {
                self.network.push_back(packet.clone());
            }
        }
        match packet {
            Packet::Frame(to, life, frame) => self.deliver_frame(to, life, frame),
            Packet::Answer(from, answer) => {
                let from = participant(from);
                self.tell_coordinator(CoordinatorEvent::Answered { from, answer });
            }
            Packet::Lost(to, call) => self.tell_coordinator(CoordinatorEvent::CallFailed {
                to: participant(to),
                call,
                failure: Failure::Unreachable,
            }),
            Packet::Ask(from, whom, source, attempt) => {
                let request = self.request();
                self.waiting.insert(request, (from, source, attempt));
                match whom {
                    Place::Coordinator => {
                        self.tell_coordinator(CoordinatorEvent::VerdictAsked { request, attempt });
                    }
                    Place::Participant(at) => {
                        self.tell_participant(at, ParticipantEvent::PeerAsked { request, attempt });
                    }
                }
            }
            Packet::Verdict(to, from, attempt, verdict) => {
                self.tell_participant(
                    to,
                    ParticipantEvent::VerdictHeard {
                        attempt,
                        from,
                        verdict,
                    },
                );
            }
        }
    }

    fn deliver_frame(&mut self, to: usize, life: u32, frame: Frame<Payload>) {
        let call = frame.message.call();
        if let Call::Prepare(_) = call
            && self.dies_when_asked(&frame)
        {
            self.crash_participant(to);
            if life == self.life {
                self.network.push_back(Packet::Lost(to, call));
            }
            return;
        }
        let no = frame
            .message
            .task()
            .and_then(|task| self.no_to(task.transaction));
        let mut short = false;
        let read = |payload: Payload, inputs: Vec<Payload>| {
            let action = Action::from_bytes(&payload.value).expect("an action");
            let wanted = action.inputs as usize;
            short |= inputs.len() != wanted || inputs.iter().any(|it| it.type_url != "result");
            no.clone().map_or(Ok(action), Err)
        };
        let frame = frame.map_actions(read);
        if short {
            self.broken = Some("an operation came without its inputs".to_owned());
        }
        let request = self.request();
        if life != self.life {
            self.orphaned.insert(request);
        }
        self.tell_participant(to, ParticipantEvent::FrameReceived { request, frame });
    }

    /// Of which step a transaction is a try.
    fn step_of(&self, transaction: TransactionId) -> Option<(usize, Way)> {
        let mut log = self.coordinator.history.iter().rev();
        log.find_map(|(_, record)| match record {
            Record::Saga { fact, .. } => match &**fact {
                Fact::Tried {
                    step,
                    way,
                    transaction: tried,
                    ..
                } if *tried == transaction => Some((*step as usize, *way)),
                _ => None,
            },
            _ => None,
        })
    }

    /// Whether a participant refuses this try, and how.
    fn no_to(&mut self, transaction: TransactionId) -> Option<Refusal> {
        let (step, way) = self.step_of(transaction)?;
        let refused = self.refused.entry((step, way)).or_default();
        let (at, injection) = self.plan.injection.filter(|_| self.troubled)?;
        let last = self.graph.order().last().copied();
        let business = Refusal::new(Reason::business("SOLD_OUT"), "there is none left");
        let no = match (injection, way) {
            (Injection::Refusal, Way::Forward) if step == at => Some(business),
            (Injection::Repetition, _) if step == at && *refused < 4 => {
                Some(Refusal::retryable(Reason::LOCK_TIMEOUT, "somebody has it"))
            }
            // Something that comes last fails, so that this step is to be taken back.
            (Injection::CompensationFails, Way::Forward) if Some(step) == last => Some(business),
            (Injection::CompensationFails, Way::Back) if step == at => Some(business),
            _ => None,
        };
        *refused += u32::from(no.is_some());
        no
    }

    fn dies_when_asked(&mut self, frame: &Frame<Payload>) -> bool {
        let Some((at, Injection::Crash)) = self.plan.injection.filter(|_| self.troubled) else {
            return false;
        };
        let step = frame
            .message
            .task()
            .and_then(|it| self.step_of(it.transaction));
        let dies = step.is_some_and(|(step, _)| step == at) && self.crashed < 4;
        self.crashed += u32::from(dies);
        dies && self.chance.one_in(2)
    }

    fn tell_coordinator(&mut self, event: CoordinatorEvent) {
        let before = self.coordinator.history.len();
        let effects = self.coordinator.step(self.now, event);
        if self.dies_after(before) {
            // Some of what it wrote down is lost, and none of what it said has left.
            return self.crash_coordinator();
        }
        self.coordinator_effects(effects);
    }

    /// Whether the coordinator dies of what it has just written down.
    fn dies_after(&mut self, before: usize) -> bool {
        let Some((at, Injection::Crash)) = self.plan.injection.filter(|_| self.troubled) else {
            return false;
        };
        let about = |record: &Record| match record {
            Record::Saga { fact, .. } => match &**fact {
                Fact::Tried { step, .. } | Fact::Failed { step, .. } => *step as usize == at,
                Fact::Turned { .. } | Fact::Ended { .. } => true,
                _ => false,
            },
            Record::Decided(decided) => self
                .step_of(decided.transaction)
                .is_some_and(|(step, _)| step == at),
            _ => false,
        };
        let new = self.coordinator.history.get(before..).unwrap_or_default();
        let dies = new.iter().any(|(_, record)| about(record)) && self.crashed < 8;
        self.crashed += u32::from(dies);
        dies
    }

    fn tell_participant(&mut self, at: usize, event: ParticipantEvent<Action>) {
        let effects = self.participants[at].step(self.now, event);
        self.participant_effects(at, effects);
    }

    fn crash_coordinator(&mut self) {
        let kept = self.chance.place(4);
        self.coordinator.crash(kept);
        // Whoever called is gone, and so is what came back. What waits at a
        // participant will be answered to nobody.
        self.network
            .retain(|it| !matches!(it, Packet::Answer(..) | Packet::Lost(..)));
        self.orphaned.extend((1..=self.requests).map(RequestId));
        self.life += 1;
        self.checked = 0;
        // The log of the checker is the one on the disk: what is in a machine counts
        // only when that has it.
        self.restart_coordinator();
        self.check();
    }

    fn restart_coordinator(&mut self) {
        let machine = new_coordinator(self.requests, self.planted);
        let effects = self.coordinator.start(self.now, machine);
        self.coordinator_effects(effects);
        for place in 0..PARTICIPANTS {
            self.register(place);
        }
    }

    fn register(&mut self, place: usize) {
        let machine = &self.participants[place].machine;
        let event = CoordinatorEvent::RegisterRequested {
            request: RequestId(0),
            name: participant(place),
            id: ParticipantId::new(Uuid::from_u128(place as u128)),
            address: format!("p{place}"),
            began: Some(machine.began()),
            restored: None,
        };
        let effects = self.coordinator.step(self.now, event);
        self.coordinator_effects(effects);
    }

    fn crash_participant(&mut self, place: usize) {
        let kept = self.chance.place(3);
        self.participants[place].crash(kept);
        self.restart_participant(place);
        self.register(place);
    }

    fn restart_participant(&mut self, place: usize) {
        let effects = self.participants[place].start(self.now, new_participant(place));
        self.participant_effects(place, effects);
    }

    fn coordinator_effects(&mut self, effects: Vec<CoordinatorEffect>) {
        for effect in effects {
            match effect {
                CoordinatorEffect::Send { to, frame } => {
                    self.check_frame(&frame);
                    let to = to.as_str()[1..].parse().expect("a number");
                    let twice = matches!(self.plan.injection, Some((_, Injection::Repetition)));
                    if twice && self.troubled {
                        let again = Packet::Frame(to, self.life, frame.clone());
                        self.network.push_back(again);
                    }
                    self.network.push_back(Packet::Frame(to, self.life, frame));
                }
                CoordinatorEffect::Reply { request, reply } => self.replied(request, reply),
                CoordinatorEffect::Alarm(Alarm::SagaStuck { .. }) => self.alarmed = true,
                CoordinatorEffect::Alarm(alarm) => {
                    self.broken = Some(format!("I11: an alarm that has no cause: {alarm:?}"));
                }
                CoordinatorEffect::SagaChanged { state, .. } => self.note_end(state),
                CoordinatorEffect::Link { .. }
                | CoordinatorEffect::Unlink { .. }
                | CoordinatorEffect::Changed(_)
                | CoordinatorEffect::Drained => {}
            }
        }
        self.check();
    }

    /// Messages of a try leave when it is on the disk that it begins, and none asks a
    /// participant to decide.
    fn check_frame(&mut self, frame: &Frame<Payload>) {
        if matches!(frame.message, ToParticipant::CommitOnePhase(_)) {
            self.broken = Some("a step was to be decided by its participant".to_owned());
        }
        let Some(task) = frame.message.task() else {
            return;
        };
        let durable = self.coordinator.durable();
        let begun = self.coordinator.history.iter().any(|(lsn, record)| {
            let tried = match record {
                Record::Saga { fact, .. } => matches!(
                    &**fact,
                    Fact::Tried { transaction, .. } if *transaction == task.transaction
                ),
                _ => false,
            };
            tried && *lsn <= durable
        });
        if !begun {
            self.broken = Some("work left before it was durable that the try begins".to_owned());
        }
    }

    fn replied(&mut self, request: RequestId, reply: Reply) {
        match reply {
            Reply::Verdict(verdict) => {
                if let Some((to, source, attempt)) = self.waiting.remove(&request) {
                    let packet = Packet::Verdict(to, source, attempt, Ok(verdict));
                    self.network.push_back(packet);
                }
            }
            Reply::Saga(view) => self.note_end(view.state),
            _ => {}
        }
    }

    /// I3: what was said of its end stays so.
    fn note_end(&mut self, state: State) {
        match state {
            State::Completed => _ = self.told.insert(Ended::Completed),
            State::Compensated => _ = self.told.insert(Ended::Compensated),
            State::Running | State::Compensating | State::Stuck => {}
        }
        if self.told.len() > 1 {
            self.broken = Some("I3: it was said to be completed and compensated".to_owned());
        }
    }

    fn participant_effects(&mut self, at: usize, effects: Vec<ParticipantEffect<i64>>) {
        for effect in effects {
            match effect {
                ParticipantEffect::Answer { request, .. } if self.orphaned.contains(&request) => {}
                ParticipantEffect::Answer { answer, .. } => {
                    let answer = answer.map_results(|result| Payload {
                        type_url: "result".into(),
                        value: result.to_bytes(),
                    });
                    self.network.push_back(Packet::Answer(at, answer));
                }
                ParticipantEffect::Reply {
                    request,
                    reply: ParticipantReply::Verdict(verdict),
                } => {
                    if let Some((to, source, attempt)) = self.waiting.remove(&request) {
                        let packet = Packet::Verdict(to, source, attempt, Ok(verdict));
                        self.network.push_back(packet);
                    }
                }
                ParticipantEffect::Ask {
                    attempt,
                    whom,
                    address,
                } => {
                    let place = match address.strip_prefix('p') {
                        Some(number) => Place::Participant(number.parse().expect("a number")),
                        None => Place::Coordinator,
                    };
                    self.network
                        .push_back(Packet::Ask(at, place, whom, attempt));
                }
                ParticipantEffect::ReportDamage { .. } | ParticipantEffect::Alarm(_) => {
                    self.broken = Some("I11: damage that nobody has done".to_owned());
                }
                ParticipantEffect::Reply { .. } | ParticipantEffect::Drained => {}
            }
        }
    }

    fn check(&mut self) {
        let known = self.coordinator.history.len();
        if known == self.checked {
            return;
        }
        self.checked = known;
        if let Err(broken) = Account::read(&self.graph, &self.coordinator.history) {
            self.broken.get_or_insert(broken);
        }
    }

    /// All is healed: the saga has ended, and the data say so.
    fn judge(self) -> Result<Ending, String> {
        for node in &self.participants {
            invariants::all_is_over(&node.machine).map_err(|it| it.to_string())?;
        }
        if let Some(view) = self.coordinator.machine.saga(self.saga) {
            invariants::saga_rests(&view, self.alarmed).map_err(|it| it.to_string())?;
        }
        let account = Account::read(&self.graph, &self.coordinator.history)?;
        let Some(ended) = account.ended else {
            let state = self.state();
            return Err(format!("I10: it has not ended: {state:?}"));
        };
        let remembered = match self.state() {
            Some(State::Completed) => Some(Ended::Completed),
            Some(State::Compensated) => Some(Ended::Compensated),
            Some(State::Running | State::Compensating | State::Stuck) | None => None,
        };
        if remembered != Some(ended) || self.told.iter().any(|told| *told != ended) {
            return Err(format!("I3: it is {ended:?}, and known as {remembered:?}"));
        }
        let mut sums = Vec::new();
        for (step, effect) in account.effects() {
            let plan = &self.graph.steps()[step];
            let number = (0..12).find(|at| step_name(*at) == plan.name);
            let number = u32::try_from(number.unwrap_or(0)).unwrap_or(0);
            for operation in &plan.operations {
                let place: usize = operation.participant.as_str()[1..]
                    .parse()
                    .expect("a number");
                let data = self.participants[place].machine.resource();
                let there = data.0.get(&number).copied().unwrap_or(0);
                if there != effect {
                    return Err(format!(
                        "I12: {ended:?}, and step {} has taken effect {there} times at p{place}",
                        plan.name
                    ));
                }
                sums.push(StepSum {
                    step: &plan.name,
                    effects: there,
                    has_compensation: plan.compensation.is_some(),
                });
            }
        }
        invariants::saga_sums(self.saga, ended, sums).map_err(|it| it.to_string())?;
        Ok(match (ended, self.by_hand) {
            (Ended::Completed, false) => Ending::Completed,
            (Ended::Completed, true) => Ending::CompletedByHand,
            (Ended::Compensated, false) => Ending::Compensated,
            (Ended::Compensated, true) => Ending::CompensatedByHand,
        })
    }
}

const fn is_over(state: State) -> bool {
    matches!(state, State::Completed | State::Compensated)
}

fn new_coordinator(seed: u64, planted: Planted) -> Coordinator {
    let identity = CoordinatorId::new(Uuid::from_u128(0xc0));
    let mut settings = coordinator::Settings::new("c".to_owned(), identity, seed);
    settings.planted = planted;
    // So few that steps have to wait for their turn.
    settings.saga_tries_max = 3;
    Coordinator::new(settings)
}

fn new_participant(place: usize) -> Participant<Tally> {
    let id = ParticipantId::new(Uuid::from_u128(place as u128));
    let settings = participant::Settings::new(participant_name(place), id, 7);
    Participant::new(settings, Tally::default())
}

fn participant_name(place: usize) -> nemcon_core::id::ParticipantName {
    participant(place)
}
