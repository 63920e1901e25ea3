//! `OutcomeService`: peers in doubt ask about an attempt, coordinators about a
//! transaction that we may have decided alone.

use nemcon_core::message::{Frame, ToParticipant};
use nemcon_core::participant::event::{Event, Reply};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_net::{response_status, wire_status};
use nemcon_proto::convert::Question;
use nemcon_proto::v1;
use nemcon_proto::v1::outcome_service_server::OutcomeService;
use tonic::{Request, Response, Status};

use super::{Api, refused};
use crate::decode::Decode;
use crate::handle::misfit;
use crate::serve::ServeResource;

#[tonic::async_trait]
impl<R: ServeResource, D: Decode<R>> OutcomeService for Api<R, D> {
    /// Two questions share this call, since both ask "what became of it?". The
    /// answer to either waits for whatever has to be durable before it is given.
    async fn get_outcome(
        &self,
        request: Request<v1::GetOutcomeRequest>,
    ) -> Result<Response<v1::GetOutcomeResponse>, Status> {
        match Question::try_from(request.into_inner()).map_err(|error| wire_status(&error))? {
            Question::Attempt { attempt, asker: _ } => {
                match self
                    .reply(|request| Event::PeerAsked { request, attempt })
                    .await?
                {
                    Reply::Verdict(verdict) => Ok(Response::new(verdict.into())),
                    other => Err(refused(misfit(&other))),
                }
            }
            Question::Inquiry {
                header,
                transaction,
            } => {
                let message = ToParticipant::Inquire(transaction);
                let answer = self.answer(Ok(Frame { header, message }), || None).await?;
                answer
                    .try_into()
                    .map(Response::new)
                    .map_err(response_status)
            }
        }
    }

    /// For coordinators only.
    async fn report_heuristic(
        &self,
        _: Request<v1::ReportHeuristicRequest>,
    ) -> Result<Response<v1::ReportHeuristicResponse>, Status> {
        Err(refused(Refusal::new(
            Reason::WRONG_COORDINATOR,
            "this is a participant; damage is reported to the coordinator of the attempt",
        )))
    }
}
