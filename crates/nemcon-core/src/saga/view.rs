//! A saga as it can be looked at.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::definition::StepName;
use super::fact::{Ended, Hand, StepState};
use super::state::Saga;
use crate::coordinator::record::Cause;
use crate::id::{SagaId, TransactionId};
use crate::limits;
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

impl State {
    /// Its name, as it is shown everywhere: `RUNNING`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Compensating => "COMPENSATING",
            Self::Stuck => "STUCK",
            Self::Completed => "COMPLETED",
            Self::Compensated => "COMPENSATED",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
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

impl View {
    /// Bytes that it takes as it travels, at most.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let steps = self.steps.iter().map(StepView::bytes).sum::<usize>();
        let hand = |it: &Hand| AROUND_BYTES + limits::NAME_BYTES_MAX + it.who.len() + it.why.len();
        AROUND_BYTES
            + self.label.len()
            + self.cause.as_ref().map_or(0, cause_bytes)
            + self.stuck.as_ref().map_or(0, refusal_bytes)
            + steps
            + self.hands.iter().map(hand).sum::<usize>()
    }
}

impl StepView {
    fn bytes(&self) -> usize {
        let name = |it: &StepName| it.as_str().len() + 3;
        AROUND_BYTES
            + name(&self.name)
            + self.cause.as_ref().map_or(0, cause_bytes)
            + self.depends_on.iter().map(name).sum::<usize>()
    }
}

/// Ids, times, numbers, and what stands around texts: of a saga, of a step, and of a
/// decision by hand at most so many bytes, and more than that.
const AROUND_BYTES: usize = 200;

fn refusal_bytes(refusal: &Refusal) -> usize {
    AROUND_BYTES + refusal.reason.as_str().len() + refusal.message.len()
}

fn cause_bytes(cause: &Cause) -> usize {
    let place = cause.participant.as_ref();
    refusal_bytes(&cause.refusal) + place.map_or(0, |name| name.as_str().len())
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
