//! Where a saga is: changed by facts, live and on replay in the same way.
//!
//! What a failed try leads to follows from the fact itself (its cause, its time) and
//! from what was before, so it needs no record of its own, and a restart comes to
//! the same conclusion.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use super::definition::{Definition, Retry, StepName};
use super::fact::{Ended, Fact, Hand, Kept, Resolution, StepState, Way};
use super::graph::{Graph, Invalid};
use crate::coordinator::record::Cause;
use crate::id::TransactionId;
use crate::limits;
use crate::message::OperationsHash;
use crate::reason::{Reason, Refusal};
use crate::time::{Millis, Span};

/// Where a step is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Progress {
    /// Its state.
    #[n(0)]
    pub state: StepState,
    /// Tries the present way, since people last gave it new ones.
    #[n(1)]
    pub tries: u32,
    /// All tries, both ways.
    #[n(2)]
    pub tries_in_all: u32,
    /// The transaction of the last try.
    #[n(3)]
    pub transaction: Option<TransactionId>,
    /// The transaction of the first try the present way: the age of all of them.
    #[n(4)]
    pub first: Option<TransactionId>,
    /// When the first try the present way began.
    #[n(5)]
    pub began_at: Option<Millis>,
    /// When it entered its present state.
    #[n(6)]
    pub changed_at: Millis,
    /// Why its last try failed.
    #[n(7)]
    pub cause: Option<Cause>,
    /// Its results that others use.
    #[n(8)]
    pub results: Vec<Kept>,
}

/// Why a saga went back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Turn {
    /// Why.
    #[n(0)]
    pub cause: Cause,
    /// When.
    #[n(1)]
    pub at: Millis,
}

/// An end and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct End {
    /// How.
    #[n(0)]
    pub ended: Ended,
    /// When.
    #[n(1)]
    pub at: Millis,
}

/// All that is known of a saga.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Snapshot {
    /// Fingerprint of its definition.
    #[n(0)]
    pub hash: OperationsHash,
    /// What people call it.
    #[n(1)]
    pub label: String,
    /// What was asked for; `None` once it has ended.
    #[n(2)]
    pub definition: Option<Definition>,
    /// The names of its steps; empty while there is a definition.
    #[n(3)]
    pub names: Vec<StepName>,
    /// When it started.
    #[n(4)]
    pub started_at: Millis,
    /// Since when and why it compensates.
    #[n(5)]
    pub turn: Option<Turn>,
    /// Why it waits for people, if not for a step.
    #[n(6)]
    pub held: Option<Refusal>,
    /// How it ended.
    #[n(7)]
    pub end: Option<End>,
    /// Its steps.
    #[n(8)]
    pub steps: Vec<Progress>,
    /// What people did to it, oldest first.
    #[n(9)]
    pub hands: Vec<Hand>,
}

/// A saga.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Saga {
    /// All but the definition.
    body: Snapshot,
    /// The definition; `None` once it has ended.
    graph: Option<Graph>,
}

impl Saga {
    /// One that begins.
    #[must_use]
    pub fn new(graph: Graph, hash: OperationsHash, at: Millis) -> Self {
        let fresh = || Progress {
            state: StepState::Waiting,
            tries: 0,
            tries_in_all: 0,
            transaction: None,
            first: None,
            began_at: None,
            changed_at: at,
            cause: None,
            results: Vec::new(),
        };
        let body = Snapshot {
            hash,
            label: graph.definition().label.clone(),
            definition: None,
            names: Vec::new(),
            started_at: at,
            turn: None,
            held: None,
            end: None,
            steps: graph.steps().iter().map(|_| fresh()).collect(),
            hands: Vec::new(),
        };
        Self {
            body,
            graph: Some(graph),
        }
    }

    /// One that a checkpoint has kept.
    ///
    /// # Errors
    /// [`Invalid`] if its definition would not be taken: another program wrote it.
    pub fn from_snapshot(mut body: Snapshot) -> Result<Self, Invalid> {
        let graph = body.definition.take().map(Graph::new).transpose()?;
        let steps = graph
            .as_ref()
            .map_or(body.names.len(), |it| it.steps().len());
        if steps != body.steps.len() {
            return Err(Invalid::StepCount {
                count: body.steps.len(),
            });
        }
        Ok(Self { body, graph })
    }

    /// What a checkpoint keeps.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            definition: self.graph.as_ref().map(|graph| graph.definition().clone()),
            ..self.body.clone()
        }
    }

    /// All that is known of it but its definition.
    #[must_use]
    pub const fn body(&self) -> &Snapshot {
        &self.body
    }

    /// Its definition, until it has ended.
    #[must_use]
    pub const fn graph(&self) -> Option<&Graph> {
        self.graph.as_ref()
    }

    /// Its steps.
    #[must_use]
    pub fn steps(&self) -> &[Progress] {
        &self.body.steps
    }

    /// The name of a step.
    #[must_use]
    pub fn name(&self, step: usize) -> Option<&StepName> {
        match &self.graph {
            Some(graph) => graph.steps().get(step).map(|step| &step.name),
            None => self.body.names.get(step),
        }
    }

    /// The number of a step.
    #[must_use]
    pub fn number(&self, name: &StepName) -> Option<usize> {
        (0..self.body.steps.len()).find(|step| self.name(*step) == Some(name))
    }

    /// Whether it takes back what it did.
    #[must_use]
    pub const fn is_turned(&self) -> bool {
        self.body.turn.is_some()
    }

    /// Whether all its steps are done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let mut steps = self.body.steps.iter();
        steps.all(|step| step.state == StepState::Done)
    }

    /// Whether a pivot is done: there is no way back.
    #[must_use]
    pub fn is_beyond_pivot(&self) -> bool {
        let pivot = self.graph.as_ref().and_then(Graph::pivot);
        let state = pivot.and_then(|pivot| self.body.steps.get(pivot));
        state.is_some_and(|step| step.state == StepState::Done)
    }

    /// Whether this step is the pivot.
    #[must_use]
    pub fn is_pivot(&self, step: usize) -> bool {
        self.graph.as_ref().and_then(Graph::pivot) == Some(step)
    }

    /// The pivot, if nobody here knows whether it is done: after a restoration.
    #[must_use]
    pub fn unknown_pivot(&self) -> Option<&StepName> {
        let pivot = self.graph.as_ref().and_then(Graph::pivot)?;
        let step = self.body.steps.get(pivot)?;
        let cause = step.cause.as_ref().map(|cause| &cause.refusal.reason);
        let unknown = step.state == StepState::Stuck && cause == Some(&Reason::OUTCOME_UNKNOWN);
        self.name(pivot).filter(|_| unknown)
    }

    /// Whether it waits for people.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.body.held.is_some() || self.stuck_step().is_some()
    }

    /// The first step that waits for people.
    #[must_use]
    pub fn stuck_step(&self) -> Option<usize> {
        let stuck =
            |step: &Progress| matches!(step.state, StepState::Stuck | StepState::CompensationStuck);
        self.body.steps.iter().position(stuck)
    }

    /// Bytes that it holds, about: in memory, and in the record of a checkpoint.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let Snapshot {
            label,
            names,
            steps,
            hands,
            ..
        } = &self.body;
        let hand = |it: &Hand| size_of_val(it) + it.who.len() + it.why.len();
        self.graph.as_ref().map_or(0, Graph::bytes)
            + label.len()
            + names.iter().map(|it| it.as_str().len()).sum::<usize>()
            + steps.iter().map(step_bytes).sum::<usize>()
            + hands.iter().map(hand).sum::<usize>()
    }

    /// Bytes of the results that its steps have left for others.
    #[must_use]
    pub fn result_bytes(&self) -> usize {
        self.body.steps.iter().map(result_bytes).sum()
    }

    /// Takes in a fact. One that does not fit says nothing new: a checkpoint repeats
    /// what is known.
    pub fn apply(&mut self, fact: &Fact) {
        match fact {
            Fact::Started { .. } | Fact::Forgotten | Fact::Kept(_) => {}
            Fact::Tried {
                step,
                way,
                transaction,
                at,
            } => self.tried(*step as usize, *way, *transaction, *at),
            Fact::Failed {
                step, cause, at, ..
            } => self.failed(*step as usize, cause, *at),
            Fact::Turned { cause, at } => self.turned(cause, *at),
            Fact::ByHand(hand) => self.by_hand(hand),
            Fact::Ended { ended, at } => self.ended(*ended, *at),
        }
    }

    fn enter(&mut self, step: usize, state: StepState, at: Millis) {
        if let Some(progress) = self.body.steps.get_mut(step) {
            progress.state = state;
            progress.changed_at = at;
        }
    }

    fn tried(&mut self, step: usize, way: Way, transaction: TransactionId, at: Millis) {
        let Some(progress) = self.body.steps.get_mut(step) else {
            return;
        };
        let state = match way {
            Way::Forward => StepState::Trying,
            Way::Back => StepState::Compensating,
        };
        if matches!(progress.state, StepState::Waiting | StepState::Done) {
            progress.tries = 0;
            progress.first = None;
            progress.began_at = Some(at);
        }
        progress.first.get_or_insert(transaction);
        progress.transaction = Some(transaction);
        progress.tries = progress.tries.saturating_add(1);
        progress.tries_in_all = progress.tries_in_all.saturating_add(1);
        self.enter(step, state, at);
    }

    /// The present try of a step has committed, with these results.
    pub fn committed(&mut self, step: usize, results: Vec<Kept>, at: Millis) {
        let Some(progress) = self.body.steps.get_mut(step) else {
            return;
        };
        progress.cause = None;
        match progress.state {
            StepState::Trying => {
                progress.results = results;
                self.enter(step, StepState::Done, at);
            }
            StepState::Compensating => self.enter(step, StepState::Compensated, at),
            StepState::Waiting
            | StepState::Pausing
            | StepState::Done
            | StepState::Failed
            | StepState::Stuck
            | StepState::CompensationPausing
            | StepState::Compensated
            | StepState::CompensationStuck => {}
        }
    }

    /// The present try of a step has failed, or could not begin.
    pub fn failed(&mut self, step: usize, cause: &Cause, at: Millis) {
        let beyond = self.is_beyond_pivot();
        let turned = self.is_turned();
        let Some(graph) = &self.graph else {
            return;
        };
        let (Some(progress), Some(plan)) = (self.body.steps.get_mut(step), graph.steps().get(step))
        else {
            return;
        };
        let back = match progress.state {
            // The first try could not begin; it counts as one.
            StepState::Waiting => {
                progress.began_at = Some(at);
                progress.tries = 1;
                false
            }
            StepState::Done => {
                progress.began_at = Some(at);
                progress.tries = 1;
                progress.first = None;
                true
            }
            StepState::Pausing => {
                progress.tries = progress.tries.saturating_add(1);
                false
            }
            StepState::CompensationPausing => {
                progress.tries = progress.tries.saturating_add(1);
                true
            }
            StepState::Trying => false,
            StepState::Compensating => true,
            StepState::Failed
            | StepState::Stuck
            | StepState::Compensated
            | StepState::CompensationStuck => return,
        };
        progress.cause = Some(cause.clone());
        let retry = match &plan.compensation {
            Some(compensation) if back => compensation.retry,
            Some(_) | None => plan.retry,
        };
        let left = progress.tries < retry.attempts;
        let began = progress.began_at.unwrap_or(at);
        let in_time = plan.time_limit.is_none_or(|limit| at.since(began) < limit);
        let state = if back {
            if left {
                StepState::CompensationPausing
            } else {
                StepState::CompensationStuck
            }
        } else if turned {
            StepState::Failed
        } else if beyond {
            if left {
                StepState::Pausing
            } else {
                StepState::Stuck
            }
        } else if left && in_time && cause.refusal.retryable {
            StepState::Pausing
        } else {
            StepState::Failed
        };
        self.enter(step, state, at);
    }

    fn turned(&mut self, cause: &Cause, at: Millis) {
        if self.is_turned() {
            return;
        }
        self.body.turn = Some(Turn {
            cause: cause.clone(),
            at,
        });
        for step in 0..self.body.steps.len() {
            if self.body.steps[step].state == StepState::Pausing {
                self.enter(step, StepState::Failed, at);
            }
        }
    }

    fn by_hand(&mut self, hand: &Hand) {
        if self.body.hands.len() >= limits::HANDS_MAX {
            self.body.hands.remove(0);
        }
        self.body.hands.push(hand.clone());
        let (at, step) = (hand.at, hand.step.map(|step| step as usize));
        match (step, hand.resolution) {
            (Some(step), Some(Resolution::Retry)) => self.again(step, at),
            (Some(step), Some(Resolution::Done)) => self.enter(step, StepState::Done, at),
            (Some(step), Some(Resolution::Compensated)) => {
                let state = if self.is_turned() {
                    StepState::Compensated
                } else {
                    StepState::Failed
                };
                self.enter(step, state, at);
            }
            (None, _) | (_, None) => {
                self.body.held = None;
                for step in 0..self.body.steps.len() {
                    self.again(step, at);
                }
            }
        }
    }

    /// Gives a step that is stuck all its tries anew.
    fn again(&mut self, step: usize, at: Millis) {
        let Some(progress) = self.body.steps.get_mut(step) else {
            return;
        };
        let state = match progress.state {
            // The saga may have turned since.
            StepState::Stuck if self.body.turn.is_some() => StepState::Failed,
            StepState::Stuck => StepState::Pausing,
            StepState::CompensationStuck => StepState::CompensationPausing,
            StepState::Waiting
            | StepState::Trying
            | StepState::Pausing
            | StepState::Done
            | StepState::Failed
            | StepState::Compensating
            | StepState::CompensationPausing
            | StepState::Compensated => return,
        };
        progress.tries = 0;
        progress.began_at = Some(at);
        self.enter(step, state, at);
    }

    fn ended(&mut self, ended: Ended, at: Millis) {
        self.body.end = Some(End { ended, at });
        // What is kept to be looked at needs no payloads.
        if let Some(graph) = self.graph.take() {
            self.body.names = graph.steps().iter().map(|it| it.name.clone()).collect();
        }
        for step in &mut self.body.steps {
            step.results = Vec::new();
        }
    }

    /// The coordinator was restored from a backup that is older than this saga's last
    /// steps may be: it waits for people, and a try of which the backup knows no
    /// outcome may have had one.
    pub fn restored(&mut self, at: Millis) {
        if self.body.end.is_some() {
            return;
        }
        let why = "the coordinator was restored from a backup, and may have gone on with this \
                   saga after that: look at the participants what was done, resolve the steps \
                   that differ, and resume it";
        self.body.held = Some(Refusal::new(Reason::SAGA_RESTORED, why));
        for step in 0..self.body.steps.len() {
            let progress = &mut self.body.steps[step];
            let state = match progress.state {
                StepState::Trying => StepState::Stuck,
                StepState::Compensating => StepState::CompensationStuck,
                StepState::Waiting
                | StepState::Pausing
                | StepState::Done
                | StepState::Failed
                | StepState::Stuck
                | StepState::CompensationPausing
                | StepState::Compensated
                | StepState::CompensationStuck => continue,
            };
            let why = "the try that was under way when the backup was taken may have committed";
            progress.cause = Some(Cause {
                refusal: Refusal::new(Reason::OUTCOME_UNKNOWN, why.to_string()),
                participant: None,
            });
            self.enter(step, state, at);
        }
    }

    /// The steps with a try under way.
    pub fn under_way(&self) -> impl Iterator<Item = (usize, TransactionId)> + '_ {
        let under_way =
            |step: &&Progress| matches!(step.state, StepState::Trying | StepState::Compensating);
        let all = self.body.steps.iter().enumerate();
        all.filter(move |(_, step)| under_way(step))
            .filter_map(|(at, step)| Some((at, step.transaction?)))
    }

    /// Whether anything of a step may be left that its compensation has to take back.
    #[must_use]
    pub fn has_effect(&self, step: usize) -> bool {
        let Some(graph) = &self.graph else {
            return false;
        };
        let plan = graph.steps().get(step);
        let compensated = plan.is_some_and(|plan| plan.compensation.is_some());
        let state = self.body.steps.get(step).map(|step| step.state);
        match state {
            Some(StepState::Done) => compensated,
            Some(
                StepState::Trying
                | StepState::Stuck
                | StepState::Compensating
                | StepState::CompensationPausing
                | StepState::CompensationStuck,
            ) => true,
            Some(
                StepState::Waiting
                | StepState::Pausing
                | StepState::Failed
                | StepState::Compensated,
            )
            | None => false,
        }
    }

    /// The steps that may be taken back now: done, and nothing is left of those that
    /// came after them.
    #[must_use]
    pub fn to_compensate(&self) -> Vec<usize> {
        let Some(graph) = &self.graph else {
            return Vec::new();
        };
        let mut clear = alloc::vec![true; self.body.steps.len()];
        let mut ready = Vec::new();
        for step in graph.order().iter().rev().copied() {
            let free = graph.needed_by(step).iter().all(|later| clear[*later]);
            let effect = self.has_effect(step);
            clear[step] = free && !effect;
            if free && effect && self.body.steps[step].state == StepState::Done {
                ready.push(step);
            }
        }
        ready
    }

    /// The steps that may begin now.
    #[must_use]
    pub fn to_begin(&self) -> Vec<usize> {
        let Some(graph) = &self.graph else {
            return Vec::new();
        };
        let done = |step: &usize| self.body.steps[*step].state == StepState::Done;
        let ready = |step: &usize| {
            self.body.steps[*step].state == StepState::Waiting
                && graph.needs(*step).iter().all(done)
        };
        (0..self.body.steps.len()).filter(ready).collect()
    }

    /// How often the present way of a step is tried, and when the time for that is
    /// up, if it is limited.
    #[must_use]
    pub fn patience(&self, step: usize, way: Way) -> Option<(Retry, Option<Millis>)> {
        let plan = self.graph.as_ref()?.steps().get(step)?;
        match way {
            Way::Back => Some((plan.compensation.as_ref()?.retry, None)),
            Way::Forward => {
                let limit = plan.time_limit.filter(|_| !self.is_beyond_pivot());
                let began = self.body.steps.get(step)?.began_at;
                let until = limit.and_then(|limit| Some(began? + limit));
                Some((plan.retry, until))
            }
        }
    }

    /// When its time is up, if it is limited.
    #[must_use]
    pub fn time_is_up_at(&self) -> Option<Millis> {
        let limit: Option<Span> = self.graph.as_ref()?.definition().time_limit;
        limit.map(|limit| self.body.started_at + limit)
    }
}

fn step_bytes(step: &Progress) -> usize {
    let why = step.cause.as_ref().map_or(0, |it| it.refusal.message.len());
    size_of_val(step) + why + result_bytes(step)
}

fn result_bytes(step: &Progress) -> usize {
    let size = |it: &Kept| it.value.value.len() + it.value.type_url.len() + 8;
    step.results.iter().map(size).sum()
}
