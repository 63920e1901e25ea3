//! A coordinator that follows a script, behind a line that can be cut.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nemcon_client::{Ending, Report, Settings};
use nemcon_core::coordinator::record::Cause;
use nemcon_core::id::{CoordinatorId, Epoch, ParticipantName, TransactionId};
use nemcon_core::message::Payload;
use nemcon_core::reason::{Reason, Refusal};
use nemcon_net::{Refused, server, to_status};
use nemcon_proto::convert::Begun;
use nemcon_proto::v1;
use nemcon_proto::v1::run_answer::Answer;
use nemcon_proto::v1::transaction_service_server::{TransactionService, TransactionServiceServer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming, async_trait};

/// What happens to the next `RunTransaction`.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// It commits.
    Commit,
    /// It aborts.
    Abort(Refusal),
    /// It is refused, and the coordinator says who it is.
    Refuse(Reason),
    /// It is answered with an outcome that says "unknown".
    AnswerUnknown,
    /// It is answered as if another transaction had been asked for.
    AnswerOther,
    /// It is taken in, and then the line goes dead.
    Cut,
    /// It is taken in, and never answered.
    Silence,
}

/// A scripted coordinator.
pub(crate) struct Fake {
    pub(crate) url: String,
    state: Arc<State>,
}

struct State {
    identity: CoordinatorId,
    script: Mutex<VecDeque<Step>>,
    seen: Mutex<Vec<v1::RunTransactionRequest>>,
    /// Interactive transactions as they were begun, and all calls about them.
    begun: Mutex<Vec<v1::BeginTransactionRequest>>,
    calls: Mutex<Vec<String>>,
    cut: broadcast::Sender<()>,
    changes: Mutex<Vec<v1::WatchTransactionsResponse>>,
    /// Whether it takes transactions from streams.
    has_streams: AtomicBool,
    /// Streams that were asked for, and transactions that came on them.
    streams: AtomicUsize,
    streamed: AtomicUsize,
}

impl Fake {
    /// Starts one.
    pub(crate) async fn start(script: impl IntoIterator<Item = Step>) -> Self {
        let state = Arc::new(State {
            identity: "c0".repeat(16).parse().map(CoordinatorId::new).unwrap(),
            script: Mutex::new(script.into_iter().collect()),
            seen: Mutex::default(),
            begun: Mutex::default(),
            calls: Mutex::default(),
            cut: broadcast::channel(1).0,
            changes: Mutex::default(),
            has_streams: AtomicBool::new(false),
            streams: AtomicUsize::new(0),
            streamed: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = listener.local_addr().unwrap();
        let service = TransactionServiceServer::new(Service(state.clone()));
        let serving = server().add_service(service);
        tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));

        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", front.local_addr().unwrap());
        let cut = state.cut.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = front.accept().await {
                let mut far = TcpStream::connect(behind).await.unwrap();
                let mut cut = cut.subscribe();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = cut.recv() => {}
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    }
                });
            }
        });
        Self { url, state }
    }

    /// What a watcher is told.
    pub(crate) fn changes(self, changes: Vec<v1::WatchTransactionsResponse>) -> Self {
        *self.state.changes.lock().unwrap() = changes;
        self
    }

    /// It takes transactions from streams, too.
    pub(crate) fn with_streams(self) -> Self {
        self.state.has_streams.store(true, Ordering::Relaxed);
        self
    }

    /// What happens next.
    pub(crate) fn then(&self, steps: impl IntoIterator<Item = Step>) {
        *self.state.script.lock().unwrap() = steps.into_iter().collect();
    }

    /// How many streams were asked for.
    pub(crate) fn streams(&self) -> usize {
        self.state.streams.load(Ordering::Relaxed)
    }

    /// How many transactions came on a stream.
    pub(crate) fn streamed(&self) -> usize {
        self.state.streamed.load(Ordering::Relaxed)
    }

    pub(crate) fn identity(&self) -> CoordinatorId {
        self.state.identity
    }

    /// The requests that were taken in so far.
    pub(crate) fn seen(&self) -> Vec<v1::RunTransactionRequest> {
        self.state.seen.lock().unwrap().clone()
    }

    /// The interactive transactions that were begun.
    pub(crate) fn begun(&self) -> Vec<v1::BeginTransactionRequest> {
        self.state.begun.lock().unwrap().clone()
    }

    /// Calls about interactive transactions, with the number of the piece.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state.calls.lock().unwrap().clone()
    }

    /// The ids that came, in order.
    pub(crate) fn ids(&self) -> Vec<TransactionId> {
        self.seen()
            .iter()
            .map(|request| request.transaction_id.parse().unwrap())
            .collect()
    }

    /// The coordinators that were named, in order.
    pub(crate) fn named(&self) -> Vec<String> {
        self.seen()
            .into_iter()
            .map(|request| request.coordinator_id)
            .collect()
    }

    /// Steps that have not been taken.
    pub(crate) fn steps_left(&self) -> usize {
        self.state.script.lock().unwrap().len()
    }
}

/// Settings of somebody in a hurry.
pub(crate) fn hurried() -> Settings {
    Settings {
        give_up_after: Duration::from_secs(20),
        call_timeout: Duration::from_secs(5),
        answer_grace: Duration::from_millis(50),
        pause_first: Duration::from_millis(1),
        pause_max: Duration::from_millis(5),
    }
}

pub(crate) fn name(text: &str) -> ParticipantName {
    ParticipantName::new(text).unwrap()
}

/// What a committed transaction answers.
pub(crate) fn results() -> Vec<Payload> {
    vec![Payload {
        type_url: "type.googleapis.com/test.Done".into(),
        value: vec![1, 2],
    }]
}

struct Service(Arc<State>);

impl Service {
    fn report(&self, id: TransactionId, ending: Ending) -> v1::RunTransactionResponse {
        (
            self.0.identity,
            Report {
                transaction: id,
                ending,
            },
        )
            .into()
    }
}

impl Service {
    /// The next step, for a call about an interactive transaction. `None`: it is
    /// done.
    async fn next(&self, call: &str, id: &str) -> Result<Option<Report>, Status> {
        self.0.calls.lock().unwrap().push(call.to_owned());
        let step = self.0.script.lock().unwrap().pop_front();
        let transaction: TransactionId = id.parse().unwrap();
        match step.expect("the script is over") {
            Step::Commit => Ok(None),
            Step::Abort(refusal) => {
                let participant = Some(name("bank-a"));
                let ending = Ending::Aborted(Cause {
                    refusal,
                    participant,
                });
                Ok(Some(Report {
                    transaction,
                    ending,
                }))
            }
            Step::Refuse(reason) => {
                let refused = Refused::from(Refusal::retryable(reason, "as the script says"));
                Err(to_status(&refused.by(self.0.identity).about(transaction)))
            }
            Step::Cut => {
                self.0.cut.send(()).unwrap();
                std::future::pending().await
            }
            Step::Silence => std::future::pending().await,
            Step::AnswerUnknown | Step::AnswerOther => unused(),
        }
    }

    /// The same for a piece, where an end is an error.
    async fn piece(&self, call: &str, id: &str) -> Result<(), Status> {
        match self.next(call, id).await? {
            None => Ok(()),
            Some(report) => Err(to_status(&report.into())),
        }
    }
}

/// Answers each as if it had come by itself.
async fn each(
    service: Service,
    mut frames: Streaming<v1::RunTransactionsRequest>,
    answers: mpsc::Sender<Result<v1::RunTransactionsResponse, Status>>,
) {
    while let Ok(Some(frame)) = frames.message().await {
        for v1::NumberedRun {
            number, request, ..
        } in frame.runs
        {
            service.0.streamed.fetch_add(1, Ordering::Relaxed);
            let (service, answers) = (Service(Arc::clone(&service.0)), answers.clone());
            tokio::spawn(async move {
                let request = Request::new(request.unwrap());
                let answer = match service.run_transaction(request).await {
                    Ok(response) => Answer::Response(response.into_inner()),
                    Err(status) => Answer::Status((&status).into()),
                };
                let answer = Some(answer);
                let answers_now = vec![v1::RunAnswer { number, answer }];
                let frame = v1::RunTransactionsResponse {
                    answers: answers_now,
                };
                let _ = answers.send(Ok(frame)).await;
            });
        }
    }
}

fn unused<T>() -> Result<T, Status> {
    Err(Status::unimplemented("not in this script"))
}

#[async_trait]
impl TransactionService for Service {
    async fn run_transaction(
        &self,
        request: Request<v1::RunTransactionRequest>,
    ) -> Result<Response<v1::RunTransactionResponse>, Status> {
        let request = request.into_inner();
        let id: TransactionId = request.transaction_id.parse().unwrap();
        self.0.seen.lock().unwrap().push(request);
        let step = self.0.script.lock().unwrap().pop_front();
        let response = match step.expect("the script is over") {
            Step::Commit => self.report(id, Ending::Committed(Some(results()))),
            Step::Abort(refusal) => {
                let participant = Some(name("bank-a"));
                self.report(
                    id,
                    Ending::Aborted(Cause {
                        refusal,
                        participant,
                    }),
                )
            }
            Step::Refuse(reason) => {
                let refused = Refused::from(Refusal::new(reason, "as the script says"));
                return Err(to_status(&refused.by(self.0.identity).about(id)));
            }
            Step::AnswerUnknown => v1::RunTransactionResponse {
                outcome: v1::Outcome::Unknown.into(),
                ..self.report(id, Ending::Committed(None))
            },
            Step::AnswerOther => {
                let other = nemcon_client::new_transaction_id();
                self.report(other, Ending::Committed(None))
            }
            Step::Cut => {
                self.0.cut.send(()).unwrap();
                std::future::pending().await
            }
            Step::Silence => std::future::pending().await,
        };
        Ok(Response::new(response))
    }

    type RunTransactionsStream = ReceiverStream<Result<v1::RunTransactionsResponse, Status>>;

    async fn run_transactions(
        &self,
        request: Request<Streaming<v1::RunTransactionsRequest>>,
    ) -> Result<Response<Self::RunTransactionsStream>, Status> {
        self.0.streams.fetch_add(1, Ordering::Relaxed);
        if !self.0.has_streams.load(Ordering::Relaxed) {
            return unused();
        }
        let (answers, stream) = mpsc::channel(16);
        let service = Self(Arc::clone(&self.0));
        tokio::spawn(each(service, request.into_inner(), answers));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn begin_transaction(
        &self,
        request: Request<v1::BeginTransactionRequest>,
    ) -> Result<Response<v1::BeginTransactionResponse>, Status> {
        let request = request.into_inner();
        let id = request.transaction_id.clone();
        self.0.begun.lock().unwrap().push(request);
        self.piece("begin", &id).await?;
        let begun = Begun {
            coordinator: self.0.identity,
            transaction: id.parse().unwrap(),
            epoch: Epoch(7),
        };
        Ok(Response::new(begun.into()))
    }

    async fn execute_operations(
        &self,
        request: Request<v1::ExecuteOperationsRequest>,
    ) -> Result<Response<v1::ExecuteOperationsResponse>, Status> {
        let request = request.into_inner();
        let call = format!("execute {}", request.number);
        self.piece(&call, &request.transaction_id).await?;
        let results = results().into_iter().map(nemcon_proto::convert::any);
        let results = results.collect();
        Ok(Response::new(v1::ExecuteOperationsResponse { results }))
    }

    async fn acquire_locks(
        &self,
        request: Request<v1::AcquireLocksRequest>,
    ) -> Result<Response<v1::AcquireLocksResponse>, Status> {
        let request = request.into_inner();
        let call = format!("locks {}", request.number);
        self.piece(&call, &request.transaction_id).await?;
        let counter = request.number.into();
        let tokens = vec![v1::LockToken { boot: 3, counter }];
        Ok(Response::new(v1::AcquireLocksResponse { tokens }))
    }

    async fn commit_transaction(
        &self,
        request: Request<v1::CommitTransactionRequest>,
    ) -> Result<Response<v1::CommitTransactionResponse>, Status> {
        let id = request.into_inner().transaction_id;
        let report = self.next("commit", &id).await?.unwrap_or_else(|| Report {
            transaction: id.parse().unwrap(),
            ending: Ending::Committed(None),
        });
        Ok(Response::new((self.0.identity, report).into()))
    }

    async fn abort_transaction(
        &self,
        _: Request<v1::AbortTransactionRequest>,
    ) -> Result<Response<v1::AbortTransactionResponse>, Status> {
        self.0.calls.lock().unwrap().push("abort".into());
        Ok(Response::new(Ending::Committed(None).into()))
    }

    async fn get_transaction(
        &self,
        request: Request<v1::GetTransactionRequest>,
    ) -> Result<Response<v1::GetTransactionResponse>, Status> {
        let id = request.into_inner().transaction_id;
        let transaction = v1::Transaction {
            transaction_id: id,
            state: 77,
            ..v1::Transaction::default()
        };
        Ok(Response::new(v1::GetTransactionResponse {
            transaction: Some(transaction),
        }))
    }

    async fn list_transactions(
        &self,
        _: Request<v1::ListTransactionsRequest>,
    ) -> Result<Response<v1::ListTransactionsResponse>, Status> {
        unused()
    }

    type WatchTransactionsStream =
        Pin<Box<dyn Stream<Item = Result<v1::WatchTransactionsResponse, Status>> + Send>>;

    async fn watch_transactions(
        &self,
        _: Request<v1::WatchTransactionsRequest>,
    ) -> Result<Response<Self::WatchTransactionsStream>, Status> {
        let changes = self.0.changes.lock().unwrap().clone();
        Ok(Response::new(Box::pin(tokio_stream::iter(changes).map(Ok))))
    }
}
