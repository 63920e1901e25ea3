//! `TransactionService.RunTransactions`: many transactions in one message, and
//! their outcomes as they are known.
//!
//! Each is read, run and answered as by `RunTransaction`; what would be its status
//! is an answer here, so that one that is refused harms no other.

use std::pin::Pin;

use nemcon_core::coordinator::event::{Event, Reply};
use nemcon_core::id::{RequestId, TransactionId};
use nemcon_net::trace::beside;
use nemcon_net::{MESSAGE_BYTES_MAX, Shown, frame_status, to_status, wire_status};
use nemcon_node::chance;
use nemcon_node::front::NoAnswer;
use nemcon_node::replies::Told;
use nemcon_node::stream::Requests;
use nemcon_proto::convert::Run;
use nemcon_proto::v1;
use nemcon_proto::v1::run_answer::Answer;
use prost::Message;
use tokio_stream::{Stream, StreamExt};
use tonic::{Status, Streaming};

use super::{Api, Tag};
use crate::hash;

/// Transactions of one stream that have no answer yet, or one that the client has
/// not read. While there are as many, nothing more is taken from it. More than one
/// client can gain anything from, and a tenth of what a coordinator runs at a time.
const OPEN_MAX: usize = 1_024;

/// The name of the span of a transaction that is run as a whole, whichever way it came.
pub(super) const RUN_TRANSACTION: &str = "RunTransaction";

/// Room in a message for what is around an answer.
const AROUND_BYTES: usize = 64;

pub(super) type Runs =
    Pin<Box<dyn Stream<Item = Result<v1::RunTransactionsResponse, Status>> + Send>>;

/// A transaction that is to be run: its id, and the event that asks for it.
pub(super) fn run_requested(run: Run) -> (TransactionId, impl FnOnce(RequestId) -> Event) {
    let transaction = run
        .opening
        .transaction
        .unwrap_or_else(chance::fresh_transaction);
    let begin = run.opening.begin(transaction);
    let hash = hash::operations(&run.operations);
    let operations = run.operations;
    let event = move |request| Event::RunRequested {
        request,
        begin,
        hash,
        operations,
    };
    (transaction, event)
}

impl Api {
    /// Takes transactions from a stream until it ends.
    pub(super) fn run_all(
        &self,
        frames: Streaming<v1::RunTransactionsRequest>,
    ) -> Result<Runs, Status> {
        let (packer, reader) = (self.clone(), self.clone());
        let pack = move |told| packer.pack(told);
        let read = |requests| async move { reader.read(frames, requests).await };
        let answers = Requests::begin(&self.front, pack, read)
            .map_err(|no_answer| to_status(&self.refused(no_answer.into())))?;
        let response = |answers| v1::RunTransactionsResponse { answers };
        Ok(Box::pin(answers.map(move |frame| frame.map(response))))
    }

    async fn read(
        self,
        mut frames: Streaming<v1::RunTransactionsRequest>,
        requests: Requests<Event, Reply, Tag>,
    ) -> Result<(), Status> {
        loop {
            let frame = match frames.message().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(()),
                // If it is the connection that broke, nobody hears the status.
                Err(status) => {
                    let error = Shown(&status);
                    tracing::debug!(%error, "a client's stream has ended");
                    let max = MESSAGE_BYTES_MAX;
                    let want = format_args!("a RunTransactionsRequest of at most {max} bytes");
                    return Err(frame_status(&status, want));
                }
            };
            for run in frame.runs {
                if !requests.room(usize::MAX, OPEN_MAX).await {
                    return Ok(());
                }
                self.take(run, &requests).await;
            }
        }
    }

    /// Hands one transaction to the machine, or says why not.
    async fn take(&self, run: v1::NumberedRun, requests: &Requests<Event, Reply, Tag>) {
        let number = run.number;
        let asked: Run = match run.request.unwrap_or_default().try_into() {
            Ok(asked) => asked,
            Err(error) => return requests.refuse((number, None), wire_status(&error)),
        };
        let (transaction, event) = run_requested(asked);
        let tag = (number, Some(transaction));
        if !requests.is_open() {
            let refused = self.refused(NoAnswer::NotServing.into());
            return requests.refuse(tag, to_status(&refused.about(transaction)));
        }
        let parent = || beside(run.trace.as_ref());
        let span = self.traces.opened(RUN_TRANSACTION, transaction, parent);
        requests.ask(tag, span, event).await;
    }

    /// Writes an answer, and says how long it is.
    fn pack(&self, told: Told<Reply, Tag>) -> (v1::RunAnswer, usize) {
        let (number, transaction) = told.tag;
        if let Some(transaction) = transaction {
            self.traces.answered(transaction);
        }
        let answer = match told.answer {
            Ok(reply) => self.finished(reply, transaction),
            Err(status) => Err(*status),
        };
        let answer = answer.unwrap_or_else(|status| Answer::Status((&status).into()));
        let answer = Some(answer);
        let answer = v1::RunAnswer { number, answer };
        let bytes = answer.encoded_len();
        let max = MESSAGE_BYTES_MAX - AROUND_BYTES;
        if bytes <= max {
            return (answer, bytes);
        }
        // What the client's end would say of such an answer to a call by itself.
        // Here it would end the stream, with all that is on it.
        let status = Status::out_of_range(format!("the answer has {bytes} bytes; at most {max}"));
        let answer = Some(Answer::Status((&status).into()));
        let answer = v1::RunAnswer { number, answer };
        let bytes = answer.encoded_len();
        (answer, bytes)
    }

    fn finished(&self, reply: Reply, transaction: Option<TransactionId>) -> Result<Answer, Status> {
        match reply {
            Reply::Finished(report) => {
                let response = (self.identity()?, report).into();
                Ok(Answer::Response(response))
            }
            Reply::Refused(refusal) => {
                let refused = self.refused(refusal);
                Err(to_status(&match transaction {
                    Some(transaction) => refused.about(transaction),
                    None => refused,
                }))
            }
            other => Err(self.misfit(&other)),
        }
    }
}
