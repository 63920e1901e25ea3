//! Transactions that travel many in one message, on `RunTransactions`.
//!
//! A stream saves CPU and promises nothing: what is sent on one that ends has
//! brought no answer, and is sent again like any request that has brought none, on
//! the next stream or by itself. So is all that comes before the stream stands, and
//! everything if the coordinator has no such call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nemcon_net::trace::{to_wire, traced};
use nemcon_net::{FRAME_BYTES_MAX, Outbox};
use nemcon_proto::convert;
use nemcon_proto::v1;
use nemcon_proto::v1::run_answer::Answer;
use nemcon_proto::v1::transaction_service_client::TransactionServiceClient;
use nemcon_trace::Context;
use prost::Message;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Response, Status, Streaming};

/// Pause before a stream is opened anew, after one that has ended or could not be
/// opened.
const REOPEN_AFTER: Duration = Duration::from_millis(100);

/// Longest wait for the headers of a stream.
const OPEN_TIME: Duration = Duration::from_secs(1);

/// A coordinator's stream, if it has one. Dropping it closes the stream.
#[derive(Debug)]
pub(crate) struct Runs {
    service: TransactionServiceClient<Channel>,
    window: Semaphore,
    window_max: usize,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    phase: Phase,
    /// Who waits for which answer on the stream that is open.
    pending: BTreeMap<u64, oneshot::Sender<Told>>,
    last: u64,
}

type Told = Result<v1::RunTransactionResponse, Status>;

#[derive(Debug)]
enum Phase {
    /// There is no stream, and none is opened before then.
    Closed { until: Instant },
    /// It is being opened.
    Opening,
    /// It stands.
    Open(Outbox<v1::NumberedRun>),
    /// The coordinator has none.
    Absent,
}

/// What became of a transaction that was to be sent.
enum Sent {
    /// It is on its way.
    OnStream(Waiting),
    /// It has to be sent by itself.
    Alone(Box<v1::RunTransactionRequest>),
}

/// Who waits for an answer. Dropping it gives up waiting, and nothing else.
struct Waiting {
    number: u64,
    answer: oneshot::Receiver<Told>,
    shared: Arc<Mutex<Shared>>,
}

impl Runs {
    pub(crate) fn new(service: TransactionServiceClient<Channel>, window: usize) -> Self {
        let shared = Shared {
            phase: Phase::Closed {
                until: Instant::now(),
            },
            pending: BTreeMap::new(),
            last: 0,
        };
        let window_max = window.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            service,
            window: Semaphore::new(window_max),
            window_max,
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    /// Waits for a place in the window. It is held until it is dropped.
    pub(crate) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed, so there is always a place in the end.
        self.window.acquire().await.ok()
    }

    /// Runs a transaction, among others if the stream stands and by itself if not.
    /// `trace`: what it is sent on behalf of, if that is traced.
    pub(crate) async fn run(
        &self,
        request: v1::RunTransactionRequest,
        trace: Option<&Context>,
    ) -> Result<Response<v1::RunTransactionResponse>, Status> {
        match self.send(request, trace) {
            Sent::OnStream(waiting) => waiting.answer().await.map(Response::new),
            Sent::Alone(request) => {
                let request = traced(*request, trace);
                self.service.clone().run_transaction(request).await
            }
        }
    }

    fn send(&self, request: v1::RunTransactionRequest, trace: Option<&Context>) -> Sent {
        let mut shared = lock(&self.shared);
        let outbox = match &shared.phase {
            Phase::Open(outbox) => outbox.clone(),
            Phase::Closed { until } if *until <= Instant::now() => {
                shared.phase = Phase::Opening;
                tokio::spawn(carry(self.service.clone(), Arc::clone(&self.shared)));
                return Sent::Alone(Box::new(request));
            }
            Phase::Closed { .. } | Phase::Opening | Phase::Absent => {
                return Sent::Alone(Box::new(request));
            }
        };
        // A long one would only hold up the others. Those that are no more waited for
        // may still wait to leave, so a window's worth of them is enough.
        let is_full = outbox.waiting() >= self.window_max;
        if is_full || request.encoded_len() > FRAME_BYTES_MAX {
            return Sent::Alone(Box::new(request));
        }
        shared.last += 1;
        let (number, (give, answer)) = (shared.last, oneshot::channel());
        shared.pending.insert(number, give);
        outbox.push(v1::NumberedRun {
            number,
            request: Some(request),
            trace: trace.map(to_wire),
        });
        Sent::OnStream(Waiting {
            number,
            answer,
            shared: Arc::clone(&self.shared),
        })
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        let mut shared = lock(&self.shared);
        match &shared.phase {
            Phase::Open(outbox) => outbox.finish(),
            // One that comes to stand finds this, and closes again.
            Phase::Closed { .. } | Phase::Opening | Phase::Absent => shared.phase = Phase::Absent,
        }
    }
}

impl Waiting {
    async fn answer(mut self) -> Told {
        let broken = || Status::unavailable("the stream ended before the answer came");
        (&mut self.answer).await.unwrap_or_else(|_| Err(broken()))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.shared).pending.remove(&self.number);
    }
}

/// A panic elsewhere cannot leave it half changed, so poison is ignored.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The task of one stream, from its opening to its end.
async fn carry(mut service: TransactionServiceClient<Channel>, shared: Arc<Mutex<Shared>>) {
    let (outbox, frames) = Outbox::new(|run: v1::NumberedRun| {
        let bytes = run.encoded_len();
        (run, bytes)
    });
    let frames = frames.map(|runs| v1::RunTransactionsRequest { runs });
    let opened = tokio::time::timeout(OPEN_TIME, service.run_transactions(frames)).await;
    let answers = {
        let mut shared = lock(&shared);
        if !matches!(shared.phase, Phase::Opening) {
            return;
        }
        match opened {
            Ok(Ok(response)) => {
                shared.phase = Phase::Open(outbox);
                response.into_inner()
            }
            Ok(Err(status)) if status.code() == Code::Unimplemented => {
                shared.phase = Phase::Absent;
                return;
            }
            Ok(Err(_)) | Err(_) => {
                let until = Instant::now() + REOPEN_AFTER;
                shared.phase = Phase::Closed { until };
                return;
            }
        }
    };
    read(answers, &shared).await;
    let mut shared = lock(&shared);
    let until = Instant::now() + REOPEN_AFTER;
    let phase = std::mem::replace(&mut shared.phase, Phase::Closed { until });
    // Whatever ended it, the coordinator is not left with half a stream.
    if let Phase::Open(outbox) = phase {
        outbox.close();
    }
    // Whoever waits is told by this that no answer comes.
    shared.pending.clear();
}

/// Hands out answers until the stream ends, for whatever reason.
async fn read(mut answers: Streaming<v1::RunTransactionsResponse>, shared: &Mutex<Shared>) {
    while let Ok(Some(frame)) = answers.message().await {
        for answer in frame.answers {
            // Nobody waits for an answer that comes too late.
            let Some(waiting) = lock(shared).pending.remove(&answer.number) else {
                continue;
            };
            let _ = waiting.send(match answer.answer {
                Some(Answer::Response(response)) => Ok(response),
                Some(Answer::Status(told)) => Err(convert::status(told)),
                None => Err(Status::unknown("an answer that says nothing")),
            });
        }
    }
}
