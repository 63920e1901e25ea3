//! Definitions of sagas: steps, compensations, retries, inputs.

use nemcon_core::limits;
use nemcon_core::saga::{Compensation, Definition, Operation, Reference, Retry, Step, StepName};
use nemcon_core::time::Span;

use super::step_name;
use crate::convert::error::{WireError, Within, list};
use crate::convert::id::participant_name;
use crate::convert::value::{any, payload, sentence, span_ms};
use crate::v1;

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
pub(super) fn retry(said: Option<v1::SagaRetry>, usual: Retry) -> Retry {
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

pub(super) fn names(names: Vec<String>) -> Result<Vec<StepName>, WireError> {
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
