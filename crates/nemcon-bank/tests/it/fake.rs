//! A coordinator that does not do what it should.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex};

use nemcon_net::server;
use nemcon_proto::v1;
use nemcon_proto::v1::transaction_service_server::{TransactionService, TransactionServiceServer};
use tonic::codegen::BoxStream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming, async_trait};

/// What happens to the next `RunTransaction`.
pub(crate) enum Step {
    /// It is taken in, and the connection breaks.
    Lose,
    /// It is taken in, and never answered.
    Silence,
    /// It is answered: committed, and the results are lost.
    Commit,
}

/// A scripted coordinator. When the script is over, it is silent.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) url: String,
    script: Arc<Mutex<VecDeque<Step>>>,
    seen: Arc<Mutex<Vec<v1::RunTransactionRequest>>>,
}

impl Fake {
    pub(crate) fn start(script: impl IntoIterator<Item = Step>) -> Self {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let fake = Self {
            url: format!("http://{}", incoming.local_addr().unwrap()),
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            seen: Arc::default(),
        };
        let service = TransactionServiceServer::new(fake.clone());
        tokio::spawn(server().add_service(service).serve_with_incoming(incoming));
        fake
    }

    /// The requests that were taken in so far.
    pub(crate) fn seen(&self) -> Vec<v1::RunTransactionRequest> {
        self.seen.lock().unwrap().clone()
    }
}

fn unscripted<T>() -> Result<T, Status> {
    Err(Status::unimplemented("not in the script"))
}

#[async_trait]
impl TransactionService for Fake {
    async fn run_transaction(
        &self,
        request: Request<v1::RunTransactionRequest>,
    ) -> Result<Response<v1::RunTransactionResponse>, Status> {
        let transaction_id = request.get_ref().transaction_id.clone();
        self.seen.lock().unwrap().push(request.into_inner());
        let step = self.script.lock().unwrap().pop_front();
        match step {
            // As a client sees a broken connection: a status without details.
            Some(Step::Lose) => Err(Status::unavailable("connection reset")),
            Some(Step::Commit) => Ok(Response::new(v1::RunTransactionResponse {
                transaction_id,
                outcome: v1::Outcome::Committed.into(),
                results_lost: true,
                coordinator_id: "c0".repeat(16),
                ..v1::RunTransactionResponse::default()
            })),
            Some(Step::Silence) | None => pending().await,
        }
    }

    type RunTransactionsStream = BoxStream<v1::RunTransactionsResponse>;

    /// Not in this version: clients send them one by one.
    async fn run_transactions(
        &self,
        _: Request<Streaming<v1::RunTransactionsRequest>>,
    ) -> Result<Response<Self::RunTransactionsStream>, Status> {
        Err(Status::unimplemented("one by one, please"))
    }

    async fn begin_transaction(
        &self,
        _: Request<v1::BeginTransactionRequest>,
    ) -> Result<Response<v1::BeginTransactionResponse>, Status> {
        unscripted()
    }

    async fn execute_operations(
        &self,
        _: Request<v1::ExecuteOperationsRequest>,
    ) -> Result<Response<v1::ExecuteOperationsResponse>, Status> {
        unscripted()
    }

    async fn acquire_locks(
        &self,
        _: Request<v1::AcquireLocksRequest>,
    ) -> Result<Response<v1::AcquireLocksResponse>, Status> {
        unscripted()
    }

    async fn commit_transaction(
        &self,
        _: Request<v1::CommitTransactionRequest>,
    ) -> Result<Response<v1::CommitTransactionResponse>, Status> {
        unscripted()
    }

    async fn abort_transaction(
        &self,
        _: Request<v1::AbortTransactionRequest>,
    ) -> Result<Response<v1::AbortTransactionResponse>, Status> {
        unscripted()
    }

    async fn get_transaction(
        &self,
        _: Request<v1::GetTransactionRequest>,
    ) -> Result<Response<v1::GetTransactionResponse>, Status> {
        unscripted()
    }

    async fn list_transactions(
        &self,
        _: Request<v1::ListTransactionsRequest>,
    ) -> Result<Response<v1::ListTransactionsResponse>, Status> {
        unscripted()
    }

    type WatchTransactionsStream = BoxStream<v1::WatchTransactionsResponse>;

    async fn watch_transactions(
        &self,
        _: Request<v1::WatchTransactionsRequest>,
    ) -> Result<Response<Self::WatchTransactionsStream>, Status> {
        unscripted()
    }
}
