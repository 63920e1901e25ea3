//! Sagas: what clients ask for, and what they are told.

mod definition;
#[cfg(test)]
mod tests;
mod view;

use nemcon_core::id::{CoordinatorId, SagaId};
use nemcon_core::limits;
use nemcon_core::reason::Reason;
use nemcon_core::saga::{Definition, Resolution, State, StepName, View};

use self::view::{resolution, state};
use crate::convert::error::{WireError, required};
use crate::convert::id::{coordinator_id, optional, shown};
use crate::convert::page::{Paged, Wanted};
use crate::convert::value::{required_sentence, sentence};
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
pub type SagaList = Wanted<State, SagaId>;

impl From<SagaList> for v1::ListSagasRequest {
    fn from(list: SagaList) -> Self {
        let state = |state| v1::SagaState::from(state).into();
        let (states, page_size, page_token) = list.written(state);
        Self {
            states,
            page_size,
            page_token,
        }
    }
}

impl TryFrom<v1::ListSagasRequest> for SagaList {
    type Error = WireError;

    fn try_from(request: v1::ListSagasRequest) -> Result<Self, WireError> {
        let (size, token) = (request.page_size, &request.page_token);
        Self::read(request.states, state, size, token)
    }
}

/// Some sagas, highest id first.
pub type SagaPage = Paged<View, SagaId>;

impl SagaPage {
    /// The answer of a coordinator that knows whether there are more.
    #[must_use]
    pub fn new(views: Vec<View>, more: bool) -> Self {
        Self::of(views, more, |view| view.saga)
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
        let (views, token) = (response.sagas, &response.next_page_token);
        Self::read(views, "sagas", View::try_from, token, saga_id)
    }
}
