//! What a coordinator tells of a saga: its state, its steps, what people did to it.

use nemcon_core::coordinator::record::Cause;
use nemcon_core::limits;
use nemcon_core::reason::Refusal;
use nemcon_core::saga::{Hand, Resolution, State, StepState, StepView, View};

use super::definition::names;
use super::{saga_id, step_name};
use crate::convert::error::{WireError, Within, choice, list};
use crate::convert::id::{optional, shown, transaction_id};
use crate::convert::value::{time, timestamp};
use crate::v1;

impl From<View> for v1::Saga {
    fn from(view: View) -> Self {
        let name = |hand: &Hand| {
            let step = view.steps.get(hand.step? as usize)?;
            Some(step.name.to_string())
        };
        let hand = |hand: &Hand| v1::SagaHand {
            step: name(hand).unwrap_or_default(),
            operator: hand.who.clone(),
            reason: hand.why.clone(),
            at: Some(timestamp(hand.at)),
            resolution: hand
                .resolution
                .map_or(v1::SagaResolution::Unspecified, Into::into)
                .into(),
        };
        Self {
            saga_id: view.saga.to_string(),
            state: v1::SagaState::from(view.state).into(),
            cause: view.cause.map(Into::into),
            stuck: view.stuck.map(Into::into),
            beyond_pivot: view.beyond_pivot,
            started_at: Some(timestamp(view.started_at)),
            turned_at: view.turned_at.map(timestamp),
            ended_at: view.ended_at.map(timestamp),
            hands: view.hands.iter().map(hand).collect(),
            label: view.label,
            steps: view.steps.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Saga> for View {
    type Error = WireError;

    fn try_from(saga: v1::Saga) -> Result<Self, WireError> {
        let max = limits::SAGA_STEPS_MAX;
        let steps = list(saga.steps, "steps", max, StepView::try_from)?;
        let hands = list(saga.hands, "hands", limits::HANDS_MAX, |it| {
            hand(it, &steps)
        })?;
        let optional_time = |at: Option<_>, field| at.map(|at| time(Some(at), field)).transpose();
        Ok(Self {
            saga: saga_id(&saga.saga_id, "saga_id")?,
            label: saga.label,
            state: state(saga.state, "state")?,
            cause: cause(saga.cause)?,
            stuck: saga.stuck.map(Refusal::from),
            beyond_pivot: saga.beyond_pivot,
            started_at: time(saga.started_at, "started_at")?,
            turned_at: optional_time(saga.turned_at, "turned_at")?,
            ended_at: optional_time(saga.ended_at, "ended_at")?,
            steps,
            hands,
        })
    }
}

fn hand(hand: v1::SagaHand, steps: &[StepView]) -> Result<Hand, WireError> {
    let step = optional(&hand.step, |name| {
        let at = steps.iter().position(|step| step.name.as_str() == name);
        let unknown = || WireError::text("step", name, "the name of a step of this saga");
        at.and_then(|at| u32::try_from(at).ok()).ok_or_else(unknown)
    })?;
    let resumed = i32::from(v1::SagaResolution::Unspecified);
    let resolution = (hand.resolution != resumed)
        .then(|| resolution(hand.resolution, "resolution"))
        .transpose()?;
    Ok(Hand {
        who: hand.operator,
        why: hand.reason,
        at: time(hand.at, "at")?,
        step,
        resolution,
    })
}

impl From<StepView> for v1::SagaStep {
    fn from(step: StepView) -> Self {
        Self {
            name: step.name.to_string(),
            state: v1::SagaStepState::from(step.state).into(),
            tries: step.tries,
            tries_in_all: step.tries_in_all,
            transaction_id: shown(step.transaction),
            began_at: step.began_at.map(timestamp),
            changed_at: Some(timestamp(step.changed_at)),
            cause: step.cause.map(Into::into),
            depends_on: step.depends_on.iter().map(ToString::to_string).collect(),
            pivot: step.pivot,
        }
    }
}

impl TryFrom<v1::SagaStep> for StepView {
    type Error = WireError;

    fn try_from(step: v1::SagaStep) -> Result<Self, WireError> {
        Ok(Self {
            name: step_name(step.name, "name")?,
            state: step_state(step.state, "state")?,
            tries: step.tries,
            tries_in_all: step.tries_in_all,
            transaction: optional(&step.transaction_id, |text| {
                transaction_id(text, "transaction_id")
            })?,
            began_at: step
                .began_at
                .map(|at| time(Some(at), "began_at"))
                .transpose()?,
            changed_at: time(step.changed_at, "changed_at")?,
            cause: cause(step.cause)?,
            depends_on: names(step.depends_on)?,
            pivot: step.pivot,
        })
    }
}

fn cause(refusal: Option<v1::Refusal>) -> Result<Option<Cause>, WireError> {
    refusal.map(Cause::try_from).transpose().within("cause")
}

impl From<State> for v1::SagaState {
    fn from(state: State) -> Self {
        match state {
            State::Running => Self::Running,
            State::Compensating => Self::Compensating,
            State::Stuck => Self::Stuck,
            State::Completed => Self::Completed,
            State::Compensated => Self::Compensated,
        }
    }
}

pub(super) fn state(number: i32, field: &str) -> Result<State, WireError> {
    let allowed = "SAGA_STATE_RUNNING, _COMPENSATING, _STUCK, _COMPLETED or _COMPENSATED";
    choice(number, field, allowed, |state| match state {
        v1::SagaState::Running => Some(State::Running),
        v1::SagaState::Compensating => Some(State::Compensating),
        v1::SagaState::Stuck => Some(State::Stuck),
        v1::SagaState::Completed => Some(State::Completed),
        v1::SagaState::Compensated => Some(State::Compensated),
        v1::SagaState::Unspecified => None,
    })
}

impl From<StepState> for v1::SagaStepState {
    fn from(state: StepState) -> Self {
        match state {
            StepState::Waiting => Self::Waiting,
            StepState::Trying => Self::Trying,
            StepState::Pausing => Self::Pausing,
            StepState::Done => Self::Done,
            StepState::Failed => Self::Failed,
            StepState::Stuck => Self::Stuck,
            StepState::Compensating => Self::Compensating,
            StepState::CompensationPausing => Self::CompensationPausing,
            StepState::Compensated => Self::Compensated,
            StepState::CompensationStuck => Self::CompensationStuck,
        }
    }
}

fn step_state(number: i32, field: &str) -> Result<StepState, WireError> {
    let allowed = "SAGA_STEP_STATE_WAITING, _TRYING, _PAUSING, _DONE, _FAILED, _STUCK, \
                   _COMPENSATING, _COMPENSATION_PAUSING, _COMPENSATED or _COMPENSATION_STUCK";
    choice(number, field, allowed, |state| match state {
        v1::SagaStepState::Waiting => Some(StepState::Waiting),
        v1::SagaStepState::Trying => Some(StepState::Trying),
        v1::SagaStepState::Pausing => Some(StepState::Pausing),
        v1::SagaStepState::Done => Some(StepState::Done),
        v1::SagaStepState::Failed => Some(StepState::Failed),
        v1::SagaStepState::Stuck => Some(StepState::Stuck),
        v1::SagaStepState::Compensating => Some(StepState::Compensating),
        v1::SagaStepState::CompensationPausing => Some(StepState::CompensationPausing),
        v1::SagaStepState::Compensated => Some(StepState::Compensated),
        v1::SagaStepState::CompensationStuck => Some(StepState::CompensationStuck),
        v1::SagaStepState::Unspecified => None,
    })
}

impl From<Resolution> for v1::SagaResolution {
    fn from(resolution: Resolution) -> Self {
        match resolution {
            Resolution::Done => Self::Done,
            Resolution::Compensated => Self::Compensated,
            Resolution::Retry => Self::Retry,
        }
    }
}

pub(super) fn resolution(number: i32, field: &str) -> Result<Resolution, WireError> {
    let allowed = "SAGA_RESOLUTION_DONE, _COMPENSATED or _RETRY";
    choice(number, field, allowed, |resolution| match resolution {
        v1::SagaResolution::Done => Some(Resolution::Done),
        v1::SagaResolution::Compensated => Some(Resolution::Compensated),
        v1::SagaResolution::Retry => Some(Resolution::Retry),
        v1::SagaResolution::Unspecified => None,
    })
}
