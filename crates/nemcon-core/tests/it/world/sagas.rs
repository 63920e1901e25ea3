//! Sagas, as clients and operators ask for them.

use nemcon_core::coordinator::event::StartSaga;
use nemcon_core::id::SagaId;
use nemcon_core::saga::{self, Definition, Graph, Resolution, State, StepName, View};

use super::border::payload;
use super::clients::fingerprint;
use super::*;

/// A saga as a client keeps it, to start it again.
#[derive(Clone, Debug)]
pub(crate) struct SagaOrder {
    pub(crate) saga: SagaId,
    pub(crate) coordinator: usize,
    pub(crate) definition: Definition,
}

/// Who asks about a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    Client,
    Operator,
}

/// An operation of a saga's step.
pub(crate) fn saga_operation(
    (participant, action, read_only): (usize, Action, bool),
) -> saga::Operation {
    saga::Operation {
        participant: name(participant),
        action: payload(action),
        read_only,
        inputs: Vec::new(),
    }
}

impl World {
    pub(crate) fn mint_saga(&mut self) -> SagaId {
        self.minted += 1;
        SagaId::from_parts(self.now, u128::from(self.minted))
    }

    /// A client starts a new saga, which it knows to be legal.
    pub(crate) fn run_saga(&mut self, coordinator: usize, definition: Definition) -> SagaId {
        let order = SagaOrder {
            saga: self.mint_saga(),
            coordinator,
            definition,
        };
        self.start_saga(&order);
        order.saga
    }

    /// A client starts a saga, perhaps again.
    pub(crate) fn start_saga(&mut self, order: &SagaOrder) {
        let known = self.sagas.iter().any(|it| it.saga == order.saga);
        if !known {
            self.sagas.push(order.clone());
        }
        let start = Box::new(StartSaga {
            saga: order.saga,
            graph: Graph::new(order.definition.clone()).expect("a legal saga"),
            hash: fingerprint(&order.definition),
            first_sent_to: None,
        });
        let request = self.saga_request(order.coordinator, order.saga, Asker::Client);
        let event = CoordinatorEvent::SagaStartRequested { request, start };
        self.tell_coordinator(order.coordinator, event);
    }

    pub(crate) fn cancel_saga(&mut self, coordinator: usize, saga: SagaId) {
        let request = self.saga_request(coordinator, saga, Asker::Client);
        let why = String::new();
        self.tell_coordinator(
            coordinator,
            CoordinatorEvent::SagaCancelRequested { request, saga, why },
        );
    }

    pub(crate) fn resume_saga(&mut self, coordinator: usize, saga: SagaId) {
        let request = self.saga_request(coordinator, saga, Asker::Operator);
        let (who, why) = ("jana".to_owned(), "mended".to_owned());
        self.tell_coordinator(
            coordinator,
            CoordinatorEvent::SagaResumeRequested {
                request,
                saga,
                who,
                why,
            },
        );
    }

    pub(crate) fn resolve_saga_step(
        &mut self,
        coordinator: usize,
        saga: SagaId,
        step: StepName,
        resolution: Resolution,
    ) {
        let request = self.saga_request(coordinator, saga, Asker::Operator);
        let (who, why) = ("jana".to_owned(), "looked".to_owned());
        self.tell_coordinator(
            coordinator,
            CoordinatorEvent::SagaStepResolved {
                request,
                saga,
                step,
                resolution,
                who,
                why,
            },
        );
    }

    fn saga_request(&mut self, coordinator: usize, saga: SagaId, asker: Asker) -> RequestId {
        let waiting = Waiting::Saga { saga, asker };
        self.request(Place::Coordinator(coordinator), waiting)
    }

    /// A saga as its coordinator has it, if that is up and knows it.
    pub(crate) fn saga(&self, saga: SagaId) -> Option<View> {
        let order = self.sagas.iter().find(|it| it.saga == saga)?;
        let machine = self.coordinators[order.coordinator].machine.as_ref()?;
        machine.saga(saga)
    }

    pub(crate) fn saga_state(&self, saga: SagaId) -> Option<State> {
        self.saga(saga).map(|view| view.state)
    }

    /// The last answer about a saga: where it is, or the word for why not.
    pub(crate) fn saga_answer(&self, saga: SagaId) -> Option<Result<State, &str>> {
        let mut answers = self.saga_answers.iter().rev();
        let (_, answer) = answers.find(|(id, _)| *id == saga)?;
        Some(
            answer
                .as_ref()
                .map(|state| *state)
                .map_err(|refusal| refusal.reason.as_str()),
        )
    }
}
