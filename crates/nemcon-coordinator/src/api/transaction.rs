//! `TransactionService`: what clients ask for.

use nemcon_core::coordinator::event::{AddressedLock, AddressedOperation, Event, Reply};
use nemcon_core::id::{Epoch, TransactionId};
use nemcon_core::reason::Refusal;
use nemcon_net::trace::received;
use nemcon_net::{Refused, to_status, wire_status};
use nemcon_node::chance;
use nemcon_node::front::NoAnswer;
use nemcon_proto::convert::{self, Begun, List, Opening, Page, Piece, Run};
use nemcon_proto::v1;
use nemcon_proto::v1::transaction_service_server::TransactionService;
use tonic::{Request, Response, Status, Streaming};

use super::Api;
use super::runs::{RUN_TRANSACTION, Runs, run_requested};
use crate::watch::Watch;

#[tonic::async_trait]
impl TransactionService for Api {
    /// Answers when the outcome is durable.
    ///
    /// The caller's own deadline (`grpc-timeout`) ends this call and nothing else:
    /// the transaction runs on, and a client that still wants to know asks by id.
    async fn run_transaction(
        &self,
        request: Request<v1::RunTransactionRequest>,
    ) -> Result<Response<v1::RunTransactionResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let run: Run = request.try_into().map_err(|error| wire_status(&error))?;
        let (transaction, event) = run_requested(run);
        let parent = || received(&metadata);
        let span = self.traces.opened(RUN_TRANSACTION, transaction, parent);
        let reply = self.ask_within(span, event).await;
        self.traces.answered(transaction);
        match reply.map_err(about(transaction))? {
            Reply::Finished(report) => Ok(Response::new((self.identity()?, report).into())),
            other => Err(self.misfit(&other)),
        }
    }

    type RunTransactionsStream = Runs;

    /// The same, many in one message.
    async fn run_transactions(
        &self,
        request: Request<Streaming<v1::RunTransactionsRequest>>,
    ) -> Result<Response<Runs>, Status> {
        self.run_all(request.into_inner()).map(Response::new)
    }

    /// Answers when the transaction has its attempt. Its work comes with the calls
    /// that follow.
    async fn begin_transaction(
        &self,
        request: Request<v1::BeginTransactionRequest>,
    ) -> Result<Response<v1::BeginTransactionResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let opening: Opening = request.try_into().map_err(|error| wire_status(&error))?;
        let transaction = opening
            .transaction
            .unwrap_or_else(chance::fresh_transaction);
        let begin = opening.begin(transaction);
        let event = |request| Event::BeginRequested { request, begin };
        let parent = || received(&metadata);
        let span = self.traces.opened("BeginTransaction", transaction, parent);
        match self.ask_open(transaction, span, event).await? {
            Reply::Begun { epoch } => {
                let begun = Begun {
                    coordinator: self.identity()?,
                    transaction,
                    epoch,
                };
                Ok(Response::new(begun.into()))
            }
            other => Err(self.misfit(&other)),
        }
    }

    /// Answers with the results of the piece. That the transaction has ended is an
    /// error here: there is no other room for it.
    async fn execute_operations(
        &self,
        request: Request<v1::ExecuteOperationsRequest>,
    ) -> Result<Response<v1::ExecuteOperationsResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let piece: Piece<AddressedOperation> =
            request.try_into().map_err(|error| wire_status(&error))?;
        let Piece {
            transaction,
            epoch,
            number,
            asked: operations,
        } = piece;
        let event = |request| Event::ExecuteRequested {
            request,
            transaction,
            epoch,
            number,
            operations,
        };
        let parent = || received(&metadata);
        let span = self
            .traces
            .continued("ExecuteOperations", transaction, parent);
        match self.ask_open(transaction, span, event).await? {
            Reply::Executed(results) => {
                let results = results.into_iter().map(convert::any).collect();
                Ok(Response::new(v1::ExecuteOperationsResponse { results }))
            }
            other => Err(self.misfit(&other)),
        }
    }

    /// Answers with a token for each lock.
    async fn acquire_locks(
        &self,
        request: Request<v1::AcquireLocksRequest>,
    ) -> Result<Response<v1::AcquireLocksResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let piece: Piece<AddressedLock> =
            request.try_into().map_err(|error| wire_status(&error))?;
        let Piece {
            transaction,
            epoch,
            number,
            asked: locks,
        } = piece;
        let event = |request| Event::LocksRequested {
            request,
            transaction,
            epoch,
            number,
            locks,
        };
        let parent = || received(&metadata);
        let span = self.traces.continued("AcquireLocks", transaction, parent);
        match self.ask_open(transaction, span, event).await? {
            Reply::LocksAcquired(tokens) => {
                let tokens = tokens.into_iter().map(Into::into).collect();
                Ok(Response::new(v1::AcquireLocksResponse { tokens }))
            }
            other => Err(self.misfit(&other)),
        }
    }

    /// Answers when the outcome is durable, like `RunTransaction`.
    async fn commit_transaction(
        &self,
        request: Request<v1::CommitTransactionRequest>,
    ) -> Result<Response<v1::CommitTransactionResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (transaction, epoch): (TransactionId, Epoch) =
            request.try_into().map_err(|error| wire_status(&error))?;
        let event = |request| Event::CommitRequested {
            request,
            transaction,
            epoch,
        };
        let parent = || received(&metadata);
        let span = self
            .traces
            .continued("CommitTransaction", transaction, parent);
        let reply = self.ask_within(span, event).await;
        self.traces.answered(transaction);
        match reply.map_err(about(transaction))? {
            Reply::Finished(report) => Ok(Response::new((self.identity()?, report).into())),
            other => Err(self.misfit(&other)),
        }
    }

    /// Answers with what became of the transaction, which may be a commit: whoever
    /// asks too late must learn that.
    async fn abort_transaction(
        &self,
        request: Request<v1::AbortTransactionRequest>,
    ) -> Result<Response<v1::AbortTransactionResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (transaction, why): (TransactionId, String) =
            request.try_into().map_err(|error| wire_status(&error))?;
        let event = |request| Event::AbortRequested {
            request,
            transaction,
            why,
        };
        let parent = || received(&metadata);
        let span = self
            .traces
            .continued("AbortTransaction", transaction, parent);
        let reply = self.ask_within(span, event).await;
        self.traces.answered(transaction);
        match reply.map_err(about(transaction))? {
            Reply::Finished(report) => Ok(Response::new(report.ending.into())),
            other => Err(self.misfit(&other)),
        }
    }

    /// What is known now. NOT_FOUND proves nothing: it may have been forgotten.
    async fn get_transaction(
        &self,
        request: Request<v1::GetTransactionRequest>,
    ) -> Result<Response<v1::GetTransactionResponse>, Status> {
        let transaction: TransactionId = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        let event = |request| Event::TransactionAsked {
            request,
            transaction,
        };
        match self.ask(event).await.map_err(about(transaction))? {
            Reply::Transaction(view) => Ok(Response::new(view.into())),
            other => Err(self.misfit(&other)),
        }
    }

    /// A page, newest ids first. The page token is the last id of the page before,
    /// so what begins or ends between two pages shifts nothing.
    async fn list_transactions(
        &self,
        request: Request<v1::ListTransactionsRequest>,
    ) -> Result<Response<v1::ListTransactionsResponse>, Status> {
        let list: List = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        let max = list.max();
        let List { states, below, .. } = list;
        let event = |request| Event::TransactionsAsked {
            request,
            states,
            below,
            max,
        };
        match self.ask_plainly(event).await? {
            Reply::Transactions { views, more } => Ok(Response::new(Page::new(views, more).into())),
            other => Err(self.misfit(&other)),
        }
    }

    type WatchTransactionsStream = Watch;

    /// Changes from now on. It asks the machine nothing, so watching costs it
    /// nothing either.
    async fn watch_transactions(
        &self,
        request: Request<v1::WatchTransactionsRequest>,
    ) -> Result<Response<Watch>, Status> {
        let only: Option<TransactionId> = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        let ended = || to_status(&self.refused(Refusal::from(NoAnswer::NotServing)));
        self.watches
            .begin(only)
            .map(Response::new)
            .ok_or_else(ended)
    }
}

/// The status of a refusal, which says what it is about: so a client that gave
/// no id learns the one it was given.
fn about(transaction: TransactionId) -> impl FnOnce(Refused) -> Status {
    move |refused| to_status(&refused.about(transaction))
}
