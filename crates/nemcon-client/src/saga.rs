//! Sagas: starting, following, and deciding about those that are stuck.

use nemcon_core::id::{CoordinatorId, SagaId, TransactionId};
use nemcon_core::saga::{Definition, State, View};
use nemcon_core::time::Millis;
use nemcon_net::{Address, Refused};
use nemcon_proto::convert::{SagaDecision, SagaList, SagaPage, SagaStart, SagaStepDecision};
use nemcon_proto::v1;
use tonic::Streaming;

use crate::coordinator::Client;
use crate::delivery::root_cause;
use crate::error::ClientError;
use crate::transaction::new_transaction_id;

/// A saga to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSaga {
    /// Its id: whoever starts it again under this one joins it.
    pub id: SagaId,
    /// What is to be done.
    pub definition: Definition,
    /// A try before this one, of this process or another, may have started it.
    pub may_have_started: bool,
    /// The coordinator that try went to, if it is known.
    pub first_sent_to: Option<CoordinatorId>,
}

impl NewSaga {
    /// A saga under a new id.
    #[must_use]
    pub fn new(definition: Definition) -> Self {
        Self {
            id: new_saga_id(),
            definition,
            may_have_started: false,
            first_sent_to: None,
        }
    }
}

/// A new saga id, of this moment.
#[must_use]
pub fn new_saga_id() -> SagaId {
    // What a transaction's id is made of is what a saga's is made of.
    let bits = new_transaction_id().uuid().as_u128();
    let chance = ((bits >> 64) & 0xfff) << 62 | (bits & 0x3fff_ffff_ffff_ffff);
    SagaId::from_parts(Millis((bits >> 80) as u64), chance)
}

/// For deliveries, which know transactions: the ids are of one kind.
fn as_transaction(saga: SagaId) -> TransactionId {
    let bits = saga.uuid().as_u128();
    let chance = ((bits >> 64) & 0xfff) << 62 | (bits & 0x3fff_ffff_ffff_ffff);
    TransactionId::from_parts(saga.minted_at(), chance)
}

/// That nothing is known of a delivery means here that nothing is known of the saga.
fn about(saga: SagaId) -> impl FnOnce(ClientError) -> ClientError {
    move |error| match error {
        ClientError::Unknown {
            coordinator, why, ..
        } => ClientError::SagaUnknown {
            saga,
            coordinator,
            why,
        },
        other => other,
    }
}

impl Client {
    /// Starts a saga, and tells where it is then: it goes on by itself. Sends again
    /// under the same id until there is an answer; a saga that has started is joined.
    ///
    /// # Errors
    /// [`ClientError::SagaUnknown`] if it may have started and no answer is to be
    /// had; the others only if it has not.
    pub async fn start_saga(&self, saga: &NewSaga) -> Result<View, ClientError> {
        let mut delivery = self.delivery_of(as_transaction(saga.id));
        delivery.may_have_run = saga.may_have_started;
        delivery.coordinator = saga.first_sent_to;
        let send = |first_sent_to| {
            let mut service = self.sagas_service();
            let request = v1::StartSagaRequest::from(SagaStart {
                saga: Some(saga.id),
                definition: saga.definition.clone(),
                first_sent_to,
            });
            async move { service.start_saga(request).await }
        };
        let delivered = delivery.deliver(self.settings().call_timeout, send).await;
        let response = delivered.map_err(about(saga.id))?;
        let (coordinator, view): (CoordinatorId, View) = self.read(response)?;
        self.saw(coordinator);
        Ok(view)
    }

    /// What the coordinator knows of a saga.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with
    /// [`UNKNOWN_SAGA`](nemcon_core::reason::Reason::UNKNOWN_SAGA) if it knows
    /// nothing, which does not mean that it has not run.
    pub async fn saga(&self, saga: SagaId) -> Result<View, ClientError> {
        let send = |_| {
            let mut service = self.sagas_service();
            let saga_id = saga.to_string();
            async move { service.get_saga(v1::GetSagaRequest { saga_id }).await }
        };
        self.ask(send).await
    }

    /// Running and remembered sagas, highest id first.
    ///
    /// # Errors
    /// As any question: unreachable, refused or nonsense.
    pub async fn sagas(&self, list: SagaList) -> Result<SagaPage, ClientError> {
        let request = v1::ListSagasRequest::from(list);
        let send = |_| {
            let (mut service, request) = (self.sagas_service(), request.clone());
            async move { service.list_sagas(request).await }
        };
        self.ask(send).await
    }

    /// Follows a saga from where it is now to its end.
    ///
    /// # Errors
    /// As [`Client::saga`].
    pub async fn watch_saga(&self, saga: SagaId) -> Result<SagaWatch, ClientError> {
        let send = |_| {
            let mut service = self.sagas_service();
            let saga_id = saga.to_string();
            async move { service.watch_saga(v1::WatchSagaRequest { saga_id }).await }
        };
        let limit = self.settings().call_timeout;
        let views = self.delivery().deliver(limit, send).await?;
        Ok(SagaWatch {
            address: self.address().clone(),
            views,
            over: false,
        })
    }

    /// Takes a saga back, and tells where it is then.
    ///
    /// # Errors
    /// [`ClientError::SagaUnknown`] if it may have been done.
    pub async fn cancel_saga(&self, saga: SagaId, reason: &str) -> Result<View, ClientError> {
        let request = v1::CancelSagaRequest {
            saga_id: saga.to_string(),
            reason: reason.to_owned(),
        };
        let send = |_| {
            let (mut service, request) = (self.sagas_service(), request.clone());
            async move { service.cancel_saga(request).await }
        };
        let delivery = self.delivery_of(as_transaction(saga));
        let delivered = delivery.deliver(self.settings().call_timeout, send).await;
        self.read(delivered.map_err(about(saga))?)
    }

    /// Lets a saga that is stuck go on. One that is not stuck, any more or at all, is
    /// left as it is, and told.
    ///
    /// # Errors
    /// [`ClientError::SagaUnknown`] if it may have been done.
    pub async fn resume_saga(&self, decision: &SagaDecision) -> Result<View, ClientError> {
        let send = |_| {
            let mut service = self.sagas_service();
            let request = v1::ResumeSagaRequest::from(decision.clone());
            async move { service.resume_saga(request).await }
        };
        let delivery = self.delivery_of(as_transaction(decision.saga));
        let delivered = delivery.deliver(self.settings().call_timeout, send).await;
        self.read(delivered.map_err(about(decision.saga))?)
    }

    /// Settles a step that is stuck. If the answer to a first try was lost, the same
    /// decision sent again, by the same person for the same reason, is answered with the
    /// saga as it is.
    ///
    /// # Errors
    /// [`ClientError::SagaUnknown`] if it may have been done.
    pub async fn resolve_saga_step(
        &self,
        decision: &SagaStepDecision,
    ) -> Result<View, ClientError> {
        let send = |_| {
            let mut service = self.sagas_service();
            let request = v1::ResolveSagaStepRequest::from(decision.clone());
            async move { service.resolve_saga_step(request).await }
        };
        let saga = decision.decision.saga;
        let delivery = self.delivery_of(as_transaction(saga));
        let delivered = delivery.deliver(self.settings().call_timeout, send).await;
        self.read(delivered.map_err(about(saga))?)
    }
}

/// A saga, as it changes.
#[derive(Debug)]
pub struct SagaWatch {
    address: Address,
    views: Streaming<v1::WatchSagaResponse>,
    over: bool,
}

impl SagaWatch {
    /// Waits for the next change; `None` after the end of the saga. The first is the
    /// saga as it was when watching began.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when the connection breaks, or the coordinator
    /// stops: watch again.
    pub async fn next(&mut self) -> Result<Option<View>, ClientError> {
        if self.over {
            return Ok(None);
        }
        let unreachable = |why| ClientError::Unreachable {
            address: self.address.clone(),
            why,
        };
        match self.views.message().await {
            Ok(None) => Err(unreachable("the coordinator has stopped".into())),
            Ok(Some(response)) => {
                let view = View::try_from(response)
                    .map_err(|error| ClientError::unreadable(&self.address, &error))?;
                self.over = matches!(view.state, State::Completed | State::Compensated);
                if self.over {
                    // The coordinator has nothing more to say and closes the stream. A
                    // stream that is dropped before that is reset, and a connection on
                    // which that happens a thousand times is given up, with all calls
                    // that are in flight on it.
                    let _ = self.views.message().await;
                }
                Ok(Some(view))
            }
            Err(status) => Err(match Refused::read(&status) {
                Some(refused) => ClientError::Refused(Box::new(refused)),
                None => unreachable(root_cause(&status)),
            }),
        }
    }
}
