//! A saga as it can be looked at.

use alloc::string::String;
use alloc::vec::Vec;

use super::definition::StepName;
use super::fact::{Ended, Hand, StepState};
use super::state::Saga;
use crate::coordinator::record::Cause;
use crate::id::{SagaId, TransactionId};
use crate::reason::Refusal;
use crate::time::Millis;

/// States of a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It goes forward.
    Running,
    /// It takes back what it did.
    Compensating,
    /// It waits for people; what is under way comes to an outcome.
    Stuck,
    /// All steps are done.
    Completed,
    /// Nothing of it is left.
    Compensated,
}

/// A saga as it can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its id.
    pub saga: SagaId,
    /// What people call it.
    pub label: String,
    /// Where it is.
    pub state: State,
    /// Why it compensates, or did.
    pub cause: Option<Cause>,
    /// Why it waits for people.
    pub stuck: Option<Refusal>,
    /// A pivot is done: it only goes forward. Not said any more of one that ended.
    pub beyond_pivot: bool,
    /// When it started.
    pub started_at: Millis,
    /// Since when it compensates.
    pub turned_at: Option<Millis>,
    /// When it ended.
    pub ended_at: Option<Millis>,
    /// Its steps, in the order of the definition.
    pub steps: Vec<StepView>,
    /// What people did to it, oldest first.
    pub hands: Vec<Hand>,
}

/// A step as it can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepView {
    /// Its name.
    pub name: StepName,
    /// Where it is.
    pub state: StepState,
    /// Tries the present way, since people last gave it new ones.
    pub tries: u32,
    /// All tries, both ways.
    pub tries_in_all: u32,
    /// The transaction of its last try.
    pub transaction: Option<TransactionId>,
    /// When its first try the present way began.
    pub began_at: Option<Millis>,
    /// When it entered its state.
    pub changed_at: Millis,
    /// Why its last try failed.
    pub cause: Option<Cause>,
    /// The steps that it waits for. Not said any more of a saga that ended.
    pub depends_on: Vec<StepName>,
    /// When it is done the saga only goes forward. Not said any more of a saga that
    /// ended.
    pub pivot: bool,
}

impl Saga {
    /// Where it is.
    #[must_use]
    pub fn state(&self) -> State {
        match self.body().end.map(|end| end.ended) {
            Some(Ended::Completed) => State::Completed,
            Some(Ended::Compensated) => State::Compensated,
            None if self.is_stuck() => State::Stuck,
            None if self.is_turned() => State::Compensating,
            None => State::Running,
        }
    }

    /// Why it waits for people, if it does.
    #[must_use]
    pub fn why_stuck(&self) -> Option<Refusal> {
        if self.body().end.is_some() {
            return None;
        }
        self.body().held.clone().or_else(|| {
            let step = self.steps().get(self.stuck_step()?)?;
            step.cause.as_ref().map(|cause| cause.refusal.clone())
        })
    }

    /// As it can be looked at, under its id.
    #[must_use]
    pub fn view(&self, saga: SagaId) -> View {
        let body = self.body();
        let step = |(at, step): (usize, &super::state::Progress)| {
            let plan = self.graph().and_then(|graph| graph.steps().get(at));
            Some(StepView {
                depends_on: plan.map_or_else(Vec::new, |plan| plan.depends_on.clone()),
                pivot: plan.is_some_and(|plan| plan.pivot),
                name: self.name(at)?.clone(),
                state: step.state,
                tries: step.tries,
                tries_in_all: step.tries_in_all,
                transaction: step.transaction,
                began_at: step.began_at,
                changed_at: step.changed_at,
                cause: step.cause.clone(),
            })
        };
        View {
            saga,
            label: body.label.clone(),
            state: self.state(),
            cause: body.turn.as_ref().map(|turn| turn.cause.clone()),
            stuck: self.why_stuck(),
            beyond_pivot: self.is_beyond_pivot(),
            started_at: body.started_at,
            turned_at: body.turn.as_ref().map(|turn| turn.at),
            ended_at: body.end.map(|end| end.at),
            steps: self.steps().iter().enumerate().filter_map(step).collect(),
            hands: body.hands.clone(),
        }
    }
}
