//! Sagas: what clients ask for, and what they are told.

use nemcon_core::coordinator::record::Cause;
use nemcon_core::id::{CoordinatorId, SagaId};
use nemcon_core::limits;
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::saga::{
    Compensation, Definition, Hand, Operation, Reference, Resolution, Retry, State, Step, StepName,
    StepState, StepView, View,
};
use nemcon_core::time::Span;

use super::error::{WireError, Within, choice, list, required};
use super::id::{coordinator_id, optional, participant_name, shown, transaction_id};
use super::transaction::{LIST_DEFAULT, LIST_MAX};
use super::value::{any, payload, required_sentence, sentence, span_ms, time, timestamp};
use crate::v1;

/// Reads a saga's id; `field` is where it stands.
///
/// # Errors
/// [`WireError`] with [`Reason::TRANSACTION_ID_INVALID`] if it is no UUID of
/// version 7.
pub fn saga_id(text: &str, field: &str) -> Result<SagaId, WireError> {
    let example = "a UUID of version 7, for example 01890a5d-ac96-774b-bcce-b302099a8057";
    text.parse()
        .map_err(|_| WireError::text(field, text, example).because(Reason::TRANSACTION_ID_INVALID))
}

/// Reads the name of a step; `field` is where it stands.
///
/// # Errors
/// [`WireError`] if it breaks the rule of [`StepName`].
pub fn step_name(text: String, field: &str) -> Result<StepName, WireError> {
    StepName::new(text).map_err(|error| {
        let allowed = format!(
            "1 to {} characters of A-Z a-z 0-9 . _ -, the first a letter or a digit",
            limits::NAME_BYTES_MAX
        );
        WireError::text(field, &error.name, allowed)
    })
}

/// A saga as a client asks for it.
///
/// Here each field is looked at by itself; whether they make a saga together says
/// [`Graph::new`](nemcon_core::saga::Graph::new).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaStart {
    /// The client's id; `None`: the coordinator chooses one.
    pub saga: Option<SagaId>,
    /// What is to be done.
    pub definition: Definition,
    /// The coordinator an earlier try of the same request went to.
    pub first_sent_to: Option<CoordinatorId>,
}

impl From<SagaStart> for v1::StartSagaRequest {
    fn from(start: SagaStart) -> Self {
        Self {
            saga_id: shown(start.saga),
            definition: Some(start.definition.into()),
            coordinator_id: shown(start.first_sent_to),
        }
    }
}

impl TryFrom<v1::StartSagaRequest> for SagaStart {
    type Error = WireError;

    fn try_from(request: v1::StartSagaRequest) -> Result<Self, WireError> {
        Ok(Self {
            saga: optional(&request.saga_id, |text| saga_id(text, "saga_id"))?,
            definition: required(request.definition, "definition")?,
            first_sent_to: optional(&request.coordinator_id, |text| {
                coordinator_id(text, "coordinator_id")
            })?,
        })
    }
}

impl From<Definition> for v1::SagaDefinition {
    fn from(definition: Definition) -> Self {
        Self {
            steps: definition.steps.into_iter().map(Into::into).collect(),
            time_limit_ms: definition.time_limit.map_or(0, |limit| limit.0),
            label: definition.label,
        }
    }
}

impl TryFrom<v1::SagaDefinition> for Definition {
    type Error = WireError;

    fn try_from(definition: v1::SagaDefinition) -> Result<Self, WireError> {
        let max = limits::SAGA_STEPS_MAX;
        Ok(Self {
            steps: list(definition.steps, "steps", max, Step::try_from)?,
            time_limit: limit(definition.time_limit_ms),
            label: sentence(definition.label, "label")?,
        })
    }
}

impl From<Step> for v1::SagaStepDefinition {
    fn from(step: Step) -> Self {
        Self {
            name: step.name.to_string(),
            depends_on: step.depends_on.iter().map(ToString::to_string).collect(),
            operations: step.operations.into_iter().map(Into::into).collect(),
            compensation: step.compensation.map(Into::into),
            retry: Some(step.retry.into()),
            time_limit_ms: step.time_limit.map_or(0, |limit| limit.0),
            pivot: step.pivot,
        }
    }
}

impl TryFrom<v1::SagaStepDefinition> for Step {
    type Error = WireError;

    fn try_from(step: v1::SagaStepDefinition) -> Result<Self, WireError> {
        let compensation = step.compensation.map(Compensation::try_from);
        Ok(Self {
            name: step_name(step.name, "name")?,
            depends_on: names(step.depends_on)?,
            operations: operations(step.operations)?,
            compensation: compensation.transpose().within("compensation")?,
            retry: retry(step.retry, Retry::STEP),
            time_limit: limit(step.time_limit_ms),
            pivot: step.pivot,
        })
    }
}

impl From<Compensation> for v1::SagaCompensation {
    fn from(compensation: Compensation) -> Self {
        let operations = compensation.operations;
        Self {
            operations: operations.into_iter().map(Into::into).collect(),
            retry: Some(compensation.retry.into()),
        }
    }
}

impl TryFrom<v1::SagaCompensation> for Compensation {
    type Error = WireError;

    fn try_from(compensation: v1::SagaCompensation) -> Result<Self, WireError> {
        Ok(Self {
            operations: operations(compensation.operations)?,
            retry: retry(compensation.retry, Retry::COMPENSATION),
        })
    }
}

impl From<Retry> for v1::SagaRetry {
    fn from(retry: Retry) -> Self {
        Self {
            attempts: retry.attempts,
            pause_first_ms: span_ms(retry.pause_first),
            pause_max_ms: span_ms(retry.pause_max),
            try_timeout_ms: retry.try_timeout.map_or(0, span_ms),
        }
    }
}

/// Reads how often something is tried. What is 0 is as in `usual`; the longest pause
/// is never shorter than the first one, unless somebody says so.
fn retry(said: Option<v1::SagaRetry>, usual: Retry) -> Retry {
    let said = said.unwrap_or_default();
    let span = |millis: u32| Some(Span(u64::from(millis))).filter(|span| span.0 != 0);
    let pause_first = span(said.pause_first_ms).unwrap_or(usual.pause_first);
    Retry {
        attempts: Some(said.attempts)
            .filter(|attempts| *attempts != 0)
            .unwrap_or(usual.attempts),
        pause_first,
        pause_max: span(said.pause_max_ms).unwrap_or(usual.pause_max.max(pause_first)),
        try_timeout: span(said.try_timeout_ms).or(usual.try_timeout),
    }
}

/// Reads a time limit; 0 is none.
fn limit(millis: u64) -> Option<Span> {
    (millis != 0).then_some(Span(millis))
}

fn names(names: Vec<String>) -> Result<Vec<StepName>, WireError> {
    let named = |(at, name)| step_name(name, &format!("depends_on[{at}]"));
    names.into_iter().enumerate().map(named).collect()
}

fn operations(operations: Vec<v1::Operation>) -> Result<Vec<Operation>, WireError> {
    let max = limits::OPERATIONS_MAX;
    list(operations, "operations", max, Operation::try_from)
}

impl From<Operation> for v1::Operation {
    fn from(operation: Operation) -> Self {
        let named = |reference: Reference| v1::Input {
            step: reference.step.to_string(),
            operation: reference.operation,
            value: None,
        };
        Self {
            participant: operation.participant.to_string(),
            action: Some(any(operation.action)),
            read_only: operation.read_only,
            inputs: operation.inputs.into_iter().map(named).collect(),
        }
    }
}

impl TryFrom<v1::Operation> for Operation {
    type Error = WireError;

    fn try_from(operation: v1::Operation) -> Result<Self, WireError> {
        let action = operation.action.map(payload).unwrap_or_default();
        if action.type_url.is_empty() {
            let allowed = "what to do, for example {\"@type\": \
                           \"type.googleapis.com/nemcon.bank.v1.Read\", \"account\": \"alice\"}";
            return Err(WireError::missing("action", allowed));
        }
        Ok(Self {
            participant: participant_name(operation.participant, "participant")?,
            action,
            read_only: operation.read_only,
            inputs: list(operation.inputs, "inputs", limits::INPUTS_MAX, reference)?,
        })
    }
}

/// Reads an input that names a step. Its value is not known before that is done.
fn reference(input: v1::Input) -> Result<Reference, WireError> {
    if input.value.is_some() {
        let allowed = "none: in the definition of a saga an input names a step";
        return Err(WireError::new("value", "is there", allowed));
    }
    Ok(Reference {
        step: step_name(input.step, "step")?,
        operation: input.operation,
    })
}

/// The saga as it is, and which coordinator says so.
impl From<(CoordinatorId, View)> for v1::StartSagaResponse {
    fn from((coordinator, view): (CoordinatorId, View)) -> Self {
        Self {
            saga: Some(view.into()),
            coordinator_id: coordinator.to_string(),
        }
    }
}

impl TryFrom<v1::StartSagaResponse> for (CoordinatorId, View) {
    type Error = WireError;

    fn try_from(response: v1::StartSagaResponse) -> Result<Self, WireError> {
        let coordinator = coordinator_id(&response.coordinator_id, "coordinator_id")?;
        Ok((coordinator, required(response.saga, "saga")?))
    }
}

macro_rules! answered_with_the_saga {
    ($($response:ty),*) => {$(
        impl From<View> for $response {
            fn from(view: View) -> Self {
                Self { saga: Some(view.into()) }
            }
        }

        impl TryFrom<$response> for View {
            type Error = WireError;

            fn try_from(response: $response) -> Result<Self, WireError> {
                required(response.saga, "saga")
            }
        }
    )*};
}

answered_with_the_saga!(
    v1::GetSagaResponse,
    v1::WatchSagaResponse,
    v1::CancelSagaResponse,
    v1::ResumeSagaResponse,
    v1::ResolveSagaStepResponse
);

/// Which saga to look at.
impl TryFrom<v1::GetSagaRequest> for SagaId {
    type Error = WireError;

    fn try_from(request: v1::GetSagaRequest) -> Result<Self, WireError> {
        saga_id(&request.saga_id, "saga_id")
    }
}

/// Which saga to follow.
impl TryFrom<v1::WatchSagaRequest> for SagaId {
    type Error = WireError;

    fn try_from(request: v1::WatchSagaRequest) -> Result<Self, WireError> {
        saga_id(&request.saga_id, "saga_id")
    }
}

/// Which saga to take back, and the reason given.
impl TryFrom<v1::CancelSagaRequest> for (SagaId, String) {
    type Error = WireError;

    fn try_from(request: v1::CancelSagaRequest) -> Result<Self, WireError> {
        let saga = saga_id(&request.saga_id, "saga_id")?;
        Ok((saga, sentence(request.reason, "reason")?))
    }
}

/// What a person does to a saga that is stuck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaDecision {
    /// Which.
    pub saga: SagaId,
    /// Who does it.
    pub who: String,
    /// Why.
    pub why: String,
}

impl From<SagaDecision> for v1::ResumeSagaRequest {
    fn from(decision: SagaDecision) -> Self {
        Self {
            saga_id: decision.saga.to_string(),
            operator: decision.who,
            reason: decision.why,
        }
    }
}

impl TryFrom<v1::ResumeSagaRequest> for SagaDecision {
    type Error = WireError;

    fn try_from(request: v1::ResumeSagaRequest) -> Result<Self, WireError> {
        Ok(Self {
            saga: saga_id(&request.saga_id, "saga_id")?,
            who: required_sentence(request.operator, "operator")?,
            why: required_sentence(request.reason, "reason")?,
        })
    }
}

/// What a person says of a step that is stuck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaStepDecision {
    /// Of which saga, who says so, and why.
    pub decision: SagaDecision,
    /// Which step.
    pub step: StepName,
    /// What it counts as.
    pub resolution: Resolution,
}

impl From<SagaStepDecision> for v1::ResolveSagaStepRequest {
    fn from(it: SagaStepDecision) -> Self {
        let decision = it.decision;
        Self {
            saga_id: decision.saga.to_string(),
            step: it.step.to_string(),
            resolution: v1::SagaResolution::from(it.resolution).into(),
            operator: decision.who,
            reason: decision.why,
        }
    }
}

impl TryFrom<v1::ResolveSagaStepRequest> for SagaStepDecision {
    type Error = WireError;

    fn try_from(request: v1::ResolveSagaStepRequest) -> Result<Self, WireError> {
        let step = step_name(request.step, "step")?;
        let resolution = resolution(request.resolution, "resolution")?;
        let decision = v1::ResumeSagaRequest {
            saga_id: request.saga_id,
            operator: request.operator,
            reason: request.reason,
        };
        Ok(Self {
            decision: decision.try_into()?,
            step,
            resolution,
        })
    }
}

/// Which sagas to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SagaList {
    /// Only these states; empty: all.
    pub states: Vec<State>,
    /// Only ids below this one: the page token.
    pub below: Option<SagaId>,
    /// At most so many, up to [`LIST_MAX`]; `None`: 100.
    pub max: Option<u32>,
}

impl SagaList {
    /// At most so many.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max.unwrap_or(LIST_DEFAULT) as usize
    }
}

impl From<SagaList> for v1::ListSagasRequest {
    fn from(list: SagaList) -> Self {
        let state = |state| v1::SagaState::from(state).into();
        Self {
            states: list.states.into_iter().map(state).collect(),
            page_size: list.max.unwrap_or(0),
            page_token: shown(list.below),
        }
    }
}

impl TryFrom<v1::ListSagasRequest> for SagaList {
    type Error = WireError;

    fn try_from(request: v1::ListSagasRequest) -> Result<Self, WireError> {
        let size = request.page_size;
        if size > LIST_MAX {
            let allowed = format_args!("at most {LIST_MAX}");
            return Err(WireError::new("page_size", size, allowed));
        }
        let below = optional(&request.page_token, |token| {
            let foreign = |_| {
                let allowed = "the next_page_token of the answer before";
                WireError::text("page_token", token, allowed)
            };
            token.parse().map_err(foreign)
        })?;
        let states = request.states.into_iter().enumerate();
        let states = states.map(|(at, number)| state(number, &format!("states[{at}]")));
        Ok(Self {
            states: states.collect::<Result<_, _>>()?,
            below,
            max: (size != 0).then_some(size),
        })
    }
}

/// Some sagas, highest id first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaPage {
    /// The sagas.
    pub views: Vec<View>,
    /// There are more: ask for those [`SagaList::below`] this id.
    pub below: Option<SagaId>,
}

impl SagaPage {
    /// The answer of a coordinator that knows whether there are more.
    #[must_use]
    pub fn new(views: Vec<View>, more: bool) -> Self {
        let below = views.last().filter(|_| more).map(|view| view.saga);
        Self { views, below }
    }
}

impl From<SagaPage> for v1::ListSagasResponse {
    fn from(page: SagaPage) -> Self {
        Self {
            sagas: page.views.into_iter().map(Into::into).collect(),
            next_page_token: shown(page.below),
        }
    }
}

impl TryFrom<v1::ListSagasResponse> for SagaPage {
    type Error = WireError;

    fn try_from(response: v1::ListSagasResponse) -> Result<Self, WireError> {
        let token = |text: &str| saga_id(text, "next_page_token");
        Ok(Self {
            views: list(response.sagas, "sagas", LIST_MAX as usize, View::try_from)?,
            below: optional(&response.next_page_token, token)?,
        })
    }
}

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

fn state(number: i32, field: &str) -> Result<State, WireError> {
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

fn resolution(number: i32, field: &str) -> Result<Resolution, WireError> {
    let allowed = "SAGA_RESOLUTION_DONE, _COMPENSATED or _RETRY";
    choice(number, field, allowed, |resolution| match resolution {
        v1::SagaResolution::Done => Some(Resolution::Done),
        v1::SagaResolution::Compensated => Some(Resolution::Compensated),
        v1::SagaResolution::Retry => Some(Resolution::Retry),
        v1::SagaResolution::Unspecified => None,
    })
}

#[cfg(test)]
mod tests {
    use nemcon_core::message::Payload;
    use nemcon_core::time::Millis;

    use super::super::sample;
    use super::*;

    fn id() -> SagaId {
        SagaId::from_parts(Millis(1_700_000_000_000), 7)
    }

    fn name(name: &str) -> StepName {
        name.parse().unwrap()
    }

    fn operation(at: &str, inputs: &[&str]) -> Operation {
        let named = |(at, step): (usize, &&str)| Reference {
            step: name(step),
            operation: u32::try_from(at).unwrap(),
        };
        Operation {
            participant: sample::name(at),
            action: Payload {
                type_url: "type.googleapis.com/x.Y".into(),
                value: vec![1, 2],
            },
            read_only: at == "bank-a",
            inputs: inputs.iter().enumerate().map(named).collect(),
        }
    }

    fn definition() -> Definition {
        let flight = Step {
            name: name("flight"),
            depends_on: vec![],
            operations: vec![operation("flights", &[])],
            compensation: Some(Compensation {
                operations: vec![operation("flights", &["flight"])],
                retry: Retry::COMPENSATION,
            }),
            retry: Retry::STEP,
            time_limit: Some(Span(5_000)),
            pivot: false,
        };
        let payment = Step {
            name: name("payment"),
            depends_on: vec![name("flight")],
            operations: vec![operation("bank-a", &["flight", "flight"])],
            compensation: None,
            retry: Retry {
                try_timeout: Some(Span(700)),
                ..Retry::STEP
            },
            time_limit: None,
            pivot: true,
        };
        Definition {
            steps: vec![flight, payment],
            time_limit: Some(Span(60_000)),
            label: "a trip".into(),
        }
    }

    fn start() -> SagaStart {
        SagaStart {
            saga: Some(id()),
            definition: definition(),
            first_sent_to: Some(sample::coordinator()),
        }
    }

    const STEP_STATES: [StepState; 10] = [
        StepState::Waiting,
        StepState::Trying,
        StepState::Pausing,
        StepState::Done,
        StepState::Failed,
        StepState::Stuck,
        StepState::Compensating,
        StepState::CompensationPausing,
        StepState::Compensated,
        StepState::CompensationStuck,
    ];

    fn view(state: State) -> View {
        let [cause, _] = sample::causes();
        let step = |(at, state): (usize, &StepState)| StepView {
            name: name(&format!("step-{at}")),
            state: *state,
            tries: 1,
            tries_in_all: 4,
            transaction: (at > 0).then(sample::transaction),
            began_at: (at > 0).then_some(Millis(2_000)),
            changed_at: Millis(3_000),
            cause: (at > 3).then(|| cause.clone()),
            depends_on: (at > 0).then(|| name("step-0")).into_iter().collect(),
            pivot: at == 5,
        };
        let hand = |step, resolution| Hand {
            who: "jana".into(),
            why: "by phone".into(),
            at: Millis(4_000),
            step,
            resolution,
        };
        let ended = matches!(state, State::Completed | State::Compensated);
        View {
            saga: id(),
            label: "a trip".into(),
            state,
            cause: (state != State::Running).then(|| cause.clone()),
            stuck: (state == State::Stuck).then(|| cause.refusal.clone()),
            beyond_pivot: state == State::Running,
            started_at: Millis(1_000),
            turned_at: (state != State::Running).then_some(Millis(2_500)),
            ended_at: ended.then_some(Millis(9_000)),
            steps: STEP_STATES.iter().enumerate().map(step).collect(),
            hands: vec![
                hand(Some(9), Some(Resolution::Compensated)),
                hand(Some(5), Some(Resolution::Done)),
                hand(Some(5), Some(Resolution::Retry)),
                hand(None, None),
            ],
        }
    }

    #[test]
    fn a_start_goes_there_and_back() {
        let there = v1::StartSagaRequest::from(start());
        assert_eq!(SagaStart::try_from(there), Ok(start()));
    }

    #[test]
    fn a_view_goes_there_and_back() {
        for state in [
            State::Running,
            State::Compensating,
            State::Stuck,
            State::Completed,
            State::Compensated,
        ] {
            let there = v1::GetSagaResponse::from(view(state));
            assert_eq!(View::try_from(there), Ok(view(state)));
        }
        let page = SagaPage::new(vec![view(State::Stuck)], true);
        assert_eq!(page.below, Some(id()));
        let there = v1::ListSagasResponse::from(page.clone());
        assert_eq!(SagaPage::try_from(there), Ok(page));
    }

    #[test]
    fn questions_and_decisions_go_there_and_back() {
        let list = SagaList {
            states: vec![State::Stuck, State::Running],
            below: Some(id()),
            max: Some(7),
        };
        let there = v1::ListSagasRequest::from(list.clone());
        assert_eq!(SagaList::try_from(there), Ok(list));
        let decision = SagaStepDecision {
            decision: SagaDecision {
                saga: id(),
                who: "jana".into(),
                why: "by phone".into(),
            },
            step: name("hotel"),
            resolution: Resolution::Compensated,
        };
        let there = v1::ResolveSagaStepRequest::from(decision.clone());
        assert_eq!(SagaStepDecision::try_from(there), Ok(decision));
    }

    #[test]
    fn what_is_left_out_is_as_usual() {
        assert_eq!(retry(None, Retry::STEP), Retry::STEP);
        let said = v1::SagaRetry {
            attempts: 2,
            pause_first_ms: 60_000,
            ..v1::SagaRetry::default()
        };
        let read = retry(Some(said), Retry::COMPENSATION);
        assert_eq!(read.attempts, 2);
        assert_eq!(
            (read.pause_first, read.pause_max),
            (Span(60_000), Span(60_000))
        );
    }

    /// The path of the first field that is wrong, and what is said of it.
    fn wrong(change: impl FnOnce(&mut v1::StartSagaRequest)) -> String {
        let mut request = v1::StartSagaRequest::from(start());
        change(&mut request);
        SagaStart::try_from(request).unwrap_err().to_string()
    }

    fn step(request: &mut v1::StartSagaRequest) -> &mut v1::SagaStepDefinition {
        &mut request.definition.as_mut().unwrap().steps[1]
    }

    #[test]
    fn mistakes_name_the_field_its_value_and_what_is_allowed() {
        let told = wrong(|it| it.definition = None);
        assert_eq!(told, "definition is missing: want a value");
        let told = wrong(|it| it.saga_id = "7".into());
        assert!(told.starts_with("saga_id \"7\": want a UUID"), "{told}");
        let told = wrong(|it| step(it).name = "a b".into());
        assert!(
            told.starts_with("definition.steps[1].name \"a b\": want 1 to 64"),
            "{told}"
        );
        let told = wrong(|it| step(it).depends_on[0].clear());
        assert!(
            told.starts_with("definition.steps[1].depends_on[0] is missing"),
            "{told}"
        );
        let told = wrong(|it| step(it).operations[0].action = None);
        assert!(
            told.starts_with("definition.steps[1].operations[0].action is missing"),
            "{told}"
        );
        let told = wrong(|it| {
            step(it).operations[0].inputs[1].value = Some(any(Payload::default()));
        });
        assert_eq!(
            told,
            "definition.steps[1].operations[0].inputs[1].value is there: want none: in the \
             definition of a saga an input names a step"
        );
        let told = wrong(|it| it.definition.as_mut().unwrap().label = "x".repeat(501));
        assert!(told.starts_with("definition.label"), "{told}");
    }

    #[test]
    fn who_decides_says_who_and_why() {
        let request = v1::ResumeSagaRequest {
            saga_id: id().to_string(),
            operator: " ".into(),
            reason: "by phone".into(),
        };
        let error = SagaDecision::try_from(request).unwrap_err();
        assert_eq!(error.field, "operator");
        let request = v1::ResolveSagaStepRequest {
            saga_id: id().to_string(),
            step: "hotel".into(),
            ..v1::ResolveSagaStepRequest::default()
        };
        let error = SagaStepDecision::try_from(request).unwrap_err();
        assert_eq!(
            error.to_string(),
            "resolution Unspecified: want SAGA_RESOLUTION_DONE, _COMPENSATED or _RETRY"
        );
    }
}
