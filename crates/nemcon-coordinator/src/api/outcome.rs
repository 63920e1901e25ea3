//! `OutcomeService`: participants in doubt ask, and tell what was done by hand.

use nemcon_core::coordinator::event::{Event, Reply};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_net::{to_status, wire_status};
use nemcon_proto::convert::{HeuristicReport, Question};
use nemcon_proto::v1;
use nemcon_proto::v1::outcome_service_server::OutcomeService;
use tonic::{Request, Response, Status};

use super::Api;

#[tonic::async_trait]
impl OutcomeService for Api {
    /// The question of a participant in doubt. Answered in any epoch of ours, but
    /// only for attempts of our own: the machine sees to that.
    async fn get_outcome(
        &self,
        request: Request<v1::GetOutcomeRequest>,
    ) -> Result<Response<v1::GetOutcomeResponse>, Status> {
        let question: Question = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        let Question::Attempt { attempt, asker: _ } = question else {
            let message = "inquiry is for participants; ask a coordinator about an attempt, or \
                           with GetTransaction about a transaction";
            return Err(to_status(
                &self.refused(Refusal::new(Reason::INVALID_REQUEST, message)),
            ));
        };
        match self
            .ask_plainly(|request| Event::VerdictAsked { request, attempt })
            .await?
        {
            Reply::Verdict(verdict) => Ok(Response::new(verdict.into())),
            other => Err(self.misfit(&other)),
        }
    }

    /// Answered when the damage is recorded durably: the participant repeats its
    /// report until then.
    async fn report_heuristic(
        &self,
        request: Request<v1::ReportHeuristicRequest>,
    ) -> Result<Response<v1::ReportHeuristicResponse>, Status> {
        let HeuristicReport {
            participant,
            attempt,
            by_hand,
            reason,
        } = request
            .into_inner()
            .try_into()
            .map_err(|error| wire_status(&error))?;
        let event = |request| Event::DamageReported {
            request,
            participant,
            attempt,
            by_hand,
            reason,
        };
        match self.ask_plainly(event).await? {
            Reply::Done => Ok(Response::new(v1::ReportHeuristicResponse {})),
            other => Err(self.misfit(&other)),
        }
    }
}
