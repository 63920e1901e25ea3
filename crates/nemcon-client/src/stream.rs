//! Transactions that travel many in one message, on `RunTransactions`.
//!
//! A stream saves CPU and promises nothing: what is sent on one that ends has
//! brought no answer, and is sent again like any request that has brought none, on
//! the next stream or by itself. So is all that comes before the stream stands, and
//! everything if the coordinator has no such call.

use std::time::Duration;

use nemcon_net::trace::{to_wire, traced};
use nemcon_net::{Asked, Dialogue, FRAME_BYTES_MAX, Opening, Outbox, Talk, Way};
use nemcon_proto::convert;
use nemcon_proto::v1;
use nemcon_proto::v1::run_answer::Answer;
use nemcon_proto::v1::transaction_service_client::TransactionServiceClient;
use nemcon_trace::Context;
use prost::Message;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

/// Longest wait for the headers of a stream.
const OPEN_TIME: Duration = Duration::from_secs(1);

/// A coordinator's stream, if it has one. Dropping it closes the stream.
#[derive(Debug)]
pub(crate) struct Runs {
    service: TransactionServiceClient<Channel>,
    window: Semaphore,
    window_max: usize,
    dialogue: Dialogue<v1::NumberedRun, Who>,
}

/// Whoever waits for an answer. Dropping it says that none comes.
type Who = oneshot::Sender<Told>;

type Told = Result<v1::RunTransactionResponse, Status>;

/// What became of a transaction that was to be sent.
enum Sent {
    /// It is on its way.
    OnStream(Waiting),
    /// It has to be sent by itself.
    Alone(Box<v1::RunTransactionRequest>),
}

/// Who waits for an answer. Dropping it gives up waiting, and nothing else.
struct Waiting {
    asked: Asked<v1::NumberedRun, Who>,
    answer: oneshot::Receiver<Told>,
}

impl Runs {
    pub(crate) fn new(service: TransactionServiceClient<Channel>, window: usize) -> Self {
        let window_max = window.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            service,
            window: Semaphore::new(window_max),
            window_max,
            dialogue: Dialogue::new(),
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
        let stream = match self.dialogue.way() {
            Way::Stands(stream) => stream,
            Way::Opens(opening) => {
                tokio::spawn(carry(self.service.clone(), opening));
                return Sent::Alone(Box::new(request));
            }
            Way::Alone => return Sent::Alone(Box::new(request)),
        };
        // A long one would only hold up the others.
        if stream.is_full(self.window_max) || request.encoded_len() > FRAME_BYTES_MAX {
            return Sent::Alone(Box::new(request));
        }
        let (who, answer) = oneshot::channel();
        let run = v1::NumberedRun {
            number: stream.number(),
            request: Some(request),
            trace: trace.map(to_wire),
        };
        let asked = stream.ask(run, who);
        Sent::OnStream(Waiting { asked, answer })
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
        self.asked.give_up();
    }
}

/// The task of one stream, from its opening to its end. Whoever waits when it ends is
/// told that no answer comes.
async fn carry(
    mut service: TransactionServiceClient<Channel>,
    opening: Opening<v1::NumberedRun, Who>,
) {
    let (outbox, frames) = Outbox::new(|run: v1::NumberedRun| {
        let bytes = run.encoded_len();
        (run, bytes)
    });
    let frames = frames.map(|runs| v1::RunTransactionsRequest { runs });
    let headers = service.run_transactions(frames);
    // Why there is none matters to nobody: transactions go one by one.
    if let Ok((talk, answers)) = opening.opened(outbox, headers, OPEN_TIME).await {
        read(answers, &talk).await;
    }
}

/// Hands out answers until the stream ends, for whatever reason.
async fn read(
    mut answers: Streaming<v1::RunTransactionsResponse>,
    talk: &Talk<v1::NumberedRun, Who>,
) {
    while let Ok(Some(frame)) = answers.message().await {
        for answer in frame.answers {
            // Nobody waits for an answer that comes too late.
            let Some(who) = talk.take(answer.number) else {
                continue;
            };
            let _ = who.send(match answer.answer {
                Some(Answer::Response(response)) => Ok(response),
                Some(Answer::Status(told)) => Err(convert::status(told)),
                None => Err(Status::unknown("an answer that says nothing")),
            });
        }
    }
}
