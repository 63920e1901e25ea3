//! The gRPC services of a coordinator. Each call is parsed, handed to the machine
//! as an event, and answered when the machine says so.

mod admin;
mod outcome;
mod runs;
mod saga;
mod transaction;

use std::sync::{Arc, OnceLock};

use nemcon_core::coordinator::event::{Event, Reply, Report};
use nemcon_core::id::{CoordinatorId, RequestId, TransactionId};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_net::{Refused, to_status};
use nemcon_node::front::{Front, NoAnswer};
use nemcon_proto::convert::kind_of;
use nemcon_trace::Span;
use tonic::Status;

use crate::traces::Traces;
use crate::watch::Watches;

/// What a stream knows a transaction by: its number there, and its id, if it could be
/// read.
pub(crate) type Tag = (u64, Option<TransactionId>);

/// All services of a coordinator over one machine. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) front: Front<Event, Reply, Tag>,
    /// Who we are; known once the log has been read, and before any request is
    /// taken.
    pub(crate) identity: Arc<OnceLock<CoordinatorId>>,
    pub(crate) watches: Watches,
    pub(crate) traces: Traces,
}

impl Api {
    /// Hands in a request and waits. A refusal becomes an error that says who
    /// refuses: a client that sends its request again must name us.
    async fn ask(&self, event: impl FnOnce(RequestId) -> Event) -> Result<Reply, Refused> {
        self.ask_within(None, event).await
    }

    /// The same, within a span, if it is traced.
    async fn ask_within(
        &self,
        span: Option<Span>,
        event: impl FnOnce(RequestId) -> Event,
    ) -> Result<Reply, Refused> {
        match self.front.ask_within(span, event).await {
            Ok(Reply::Refused(refusal)) => Err(self.refused(refusal)),
            Ok(reply) => Ok(reply),
            Err(no_answer) => Err(self.refused(no_answer.into())),
        }
    }

    /// Like [`Api::ask`], for requests that are about no transaction.
    async fn ask_plainly(&self, event: impl FnOnce(RequestId) -> Event) -> Result<Reply, Status> {
        self.ask(event).await.map_err(|refused| to_status(&refused))
    }

    /// Like [`Api::ask_within`], for requests that have no room for an outcome: that the
    /// transaction has ended is an error.
    async fn ask_open(
        &self,
        transaction: TransactionId,
        span: Option<Span>,
        event: impl FnOnce(RequestId) -> Event,
    ) -> Result<Reply, Status> {
        let reply = self.ask_within(span, event).await;
        if !matches!(reply, Ok(Reply::Begun { .. })) {
            self.traces.answered(transaction);
        }
        match reply {
            Ok(Reply::Finished(report)) => Err(self.ended(report)),
            Ok(reply) => Ok(reply),
            Err(refused) => Err(to_status(&refused.about(transaction))),
        }
    }

    fn refused(&self, refusal: Refusal) -> Refused {
        let refused = Refused::from(refusal);
        match self.identity.get() {
            Some(identity) => refused.by(*identity),
            None => refused,
        }
    }

    /// Work came for a transaction that has ended.
    fn ended(&self, report: Report) -> Status {
        let refused = Refused::from(report);
        to_status(&match self.identity.get() {
            Some(identity) => refused.by(*identity),
            None => refused,
        })
    }

    /// Who we are. The machine answers nothing before that is settled.
    fn identity(&self) -> Result<CoordinatorId, Status> {
        let unknown = || to_status(&Refusal::from(NoAnswer::NotServing).into());
        self.identity.get().copied().ok_or_else(unknown)
    }

    /// An answer that does not fit its question: a bug of ours, which must not
    /// take the node down.
    fn misfit(&self, reply: &Reply) -> Status {
        let reply = kind_of(reply);
        tracing::error!(reply, "a bug: this answers another question");
        let message = "the node gave an answer to another question: a bug";
        to_status(&self.refused(Refusal::new(Reason::INTERNAL, message)))
    }
}
