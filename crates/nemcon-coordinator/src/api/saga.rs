//! `SagaService`: what clients ask of sagas.

use nemcon_core::coordinator::event::{Event, Reply, StartSaga};
use nemcon_core::id::{RequestId, SagaId};
use nemcon_core::reason::Refusal;
use nemcon_core::saga::{Graph, State, View};
use nemcon_net::{to_status, wire_status};
use nemcon_node::chance;
use nemcon_node::front::NoAnswer;
use nemcon_proto::convert::{SagaDecision, SagaList, SagaPage, SagaStart, SagaStepDecision};
use nemcon_proto::v1;
use nemcon_proto::v1::saga_service_server::SagaService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Api;
use crate::hash;
use crate::watch::SagaWatch;

/// Views on their way to one watcher. Who is slow gets fewer and newer ones, not a
/// longer queue.
const VIEWS_MAX: usize = 1;

/// What a watcher is told.
type Told = Result<v1::WatchSagaResponse, Status>;

impl Api {
    /// Hands in what is answered with a saga as it is now.
    async fn ask_saga(&self, event: impl FnOnce(RequestId) -> Event) -> Result<View, Status> {
        match self.ask_plainly(event).await? {
            Reply::Saga(view) => Ok(view),
            other => Err(self.misfit(&other)),
        }
    }

    async fn look_at_saga(&self, saga: SagaId) -> Result<View, Status> {
        self.ask_saga(|request| Event::SagaAsked { request, saga })
            .await
    }

    /// Tells a watcher of a saga: first `view`, then one whenever there is something
    /// new. Ends with the saga, the watcher, or the node.
    async fn follow(
        self,
        saga: SagaId,
        view: View,
        mut changes: SagaWatch,
        watcher: mpsc::Sender<Told>,
    ) {
        let mut last = view;
        if watcher.send(Ok(last.clone().into())).await.is_err() {
            return;
        }
        while !has_ended(&last) {
            tokio::select! {
                () = watcher.closed() => return,
                rang = changes.rang() => if !rang { return },
            }
            match self.look_at_saga(saga).await {
                Ok(view) if view == last => {}
                Ok(view) => {
                    last = view;
                    if watcher.send(Ok(last.clone().into())).await.is_err() {
                        return;
                    }
                }
                Err(status) => {
                    // A watcher that has gone does not want to hear it.
                    let _ = watcher.send(Err(status)).await;
                    return;
                }
            }
        }
    }
}

fn has_ended(view: &View) -> bool {
    matches!(view.state, State::Completed | State::Compensated)
}

#[tonic::async_trait]
impl SagaService for Api {
    /// Answers when the start is durable.
    async fn start_saga(
        &self,
        request: Request<v1::StartSagaRequest>,
    ) -> Result<Response<v1::StartSagaResponse>, Status> {
        let start: SagaStart = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        let hash = hash::saga(&start.definition);
        let graph = Graph::new(start.definition)
            .map_err(|invalid| to_status(&self.refused(invalid.into())))?;
        let start = Box::new(StartSaga {
            saga: start.saga.unwrap_or_else(chance::fresh_saga),
            graph,
            hash,
            first_sent_to: start.first_sent_to,
        });
        let event = |request| Event::SagaStartRequested { request, start };
        let view = self.ask_saga(event).await?;
        Ok(Response::new((self.identity()?, view).into()))
    }

    /// What is known now. NOT_FOUND proves nothing: it may have been forgotten.
    async fn get_saga(
        &self,
        request: Request<v1::GetSagaRequest>,
    ) -> Result<Response<v1::GetSagaResponse>, Status> {
        let saga: SagaId = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        Ok(Response::new(self.look_at_saga(saga).await?.into()))
    }

    /// A page, newest ids first. The page token is the last id of the page before.
    async fn list_sagas(
        &self,
        request: Request<v1::ListSagasRequest>,
    ) -> Result<Response<v1::ListSagasResponse>, Status> {
        let list: SagaList = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        let max = list.max();
        let SagaList { states, below, .. } = list;
        let event = |request| Event::SagasAsked {
            request,
            states,
            below,
            max,
        };
        match self.ask_plainly(event).await? {
            Reply::Sagas { views, more } => Ok(Response::new(SagaPage::new(views, more).into())),
            other => Err(self.misfit(&other)),
        }
    }

    type WatchSagaStream = ReceiverStream<Told>;

    /// The saga now, and whenever it has changed. A saga that is not known is an
    /// error at once.
    async fn watch_saga(
        &self,
        request: Request<v1::WatchSagaRequest>,
    ) -> Result<Response<ReceiverStream<Told>>, Status> {
        let saga: SagaId = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        let ended = || to_status(&self.refused(Refusal::from(NoAnswer::NotServing)));
        // First listen, then look: what changes in between is seen twice, not never.
        let changes = self.watches.of_saga(saga).ok_or_else(ended)?;
        let view = self.look_at_saga(saga).await?;
        let (watcher, told) = mpsc::channel(VIEWS_MAX);
        tokio::spawn(self.clone().follow(saga, view, changes, watcher));
        Ok(Response::new(ReceiverStream::new(told)))
    }

    /// Answers when it is durable that the saga goes back.
    async fn cancel_saga(
        &self,
        request: Request<v1::CancelSagaRequest>,
    ) -> Result<Response<v1::CancelSagaResponse>, Status> {
        let (saga, why): (SagaId, String) = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        let event = |request| Event::SagaCancelRequested { request, saga, why };
        Ok(Response::new(self.ask_saga(event).await?.into()))
    }

    /// Answers when the decision of the operator is durable.
    async fn resume_saga(
        &self,
        request: Request<v1::ResumeSagaRequest>,
    ) -> Result<Response<v1::ResumeSagaResponse>, Status> {
        let decision: SagaDecision = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        let SagaDecision { saga, who, why } = decision;
        let event = |request| Event::SagaResumeRequested {
            request,
            saga,
            who,
            why,
        };
        Ok(Response::new(self.ask_saga(event).await?.into()))
    }

    /// Answers when the decision of the operator is durable.
    async fn resolve_saga_step(
        &self,
        request: Request<v1::ResolveSagaStepRequest>,
    ) -> Result<Response<v1::ResolveSagaStepResponse>, Status> {
        let decision: SagaStepDecision = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        let SagaStepDecision {
            decision: SagaDecision { saga, who, why },
            step,
            resolution,
        } = decision;
        let event = |request| Event::SagaStepResolved {
            request,
            saga,
            step,
            resolution,
            who,
            why,
        };
        Ok(Response::new(self.ask_saga(event).await?.into()))
    }
}
