//! Takes a coordinator's message to a participant, and brings its answer back.

use nemcon_core::message::{Answer, Call, Payload};
use nemcon_proto::convert::{self, Request, WireError};
use nemcon_proto::v1;
use nemcon_proto::v1::outcome_service_client::OutcomeServiceClient;
use nemcon_proto::v1::participant_service_client::ParticipantServiceClient;
use nemcon_trace::Context;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::endpoint::NODE_MESSAGE_BYTES_MAX;
use crate::trace::traced;

/// What a participant answered; a [`WireError`] if it makes no sense, after which
/// anything may have been done.
pub type Answered = Result<Answer<Payload>, WireError>;

/// Makes the call that a message travels by: `call` says which it is, `request` is
/// what [`Request::from`] made of it, `trace` where it belongs, if it is traced.
///
/// # Errors
/// The status of the call; [`crate::Unanswered`] judges it.
pub async fn deliver(
    channel: Channel,
    call: Call,
    request: Request,
    trace: Option<&Context>,
) -> Result<Response<Answered>, Status> {
    let mut participant = ParticipantServiceClient::new(channel.clone())
        .max_decoding_message_size(NODE_MESSAGE_BYTES_MAX);
    Ok(match request {
        Request::GetStatus(request) => participant
            .get_status(traced(request, trace))
            .await?
            .map(TryInto::try_into),
        Request::Execute(request) => participant
            .execute(traced(request, trace))
            .await?
            .map(TryInto::try_into),
        Request::AcquireLocks(request) => {
            let response = participant.acquire_locks(traced(request, trace)).await?;
            response.map(TryInto::try_into)
        }
        Request::GetWaitsForEdges(request) => {
            let response = participant
                .get_waits_for_edges(traced(request, trace))
                .await?;
            response.map(|response| waits(call, response))
        }
        Request::FailWait(request) => participant
            .fail_wait(traced(request, trace))
            .await?
            .map(TryInto::try_into),
        Request::Prepare(request) => participant
            .prepare(traced(request, trace))
            .await?
            .map(TryInto::try_into),
        Request::Commit(request) => participant
            .commit(traced(request, trace))
            .await?
            .map(TryInto::try_into),
        Request::Abort(request) => participant
            .abort(traced(request, trace))
            .await?
            .map(TryInto::try_into),
        Request::Release(request) => participant
            .release(traced(request, trace))
            .await?
            .map(TryInto::try_into),
        Request::CommitOnePhase(request) => {
            let response = participant.commit_one_phase(traced(request, trace)).await?;
            response.map(TryInto::try_into)
        }
        Request::GetOutcome(request) => {
            let mut peer = OutcomeServiceClient::new(channel)
                .max_decoding_message_size(NODE_MESSAGE_BYTES_MAX);
            peer.get_outcome(traced(request, trace))
                .await?
                .map(|response| trace_of(call, response))
        }
    })
}

/// Reads the answer to an inquiry, which does not repeat what was asked.
fn trace_of(call: Call, response: v1::GetOutcomeResponse) -> Answered {
    match call {
        Call::Inquire(transaction) => convert::traced(transaction, response),
        other => Err(WireError::new(
            "call",
            format_args!("{other:?}"),
            "an inquiry",
        )),
    }
}

/// Reads who waits for whom; the answer does not repeat which question it was.
fn waits(call: Call, response: v1::GetWaitsForEdgesResponse) -> Answered {
    match call {
        Call::ReportWaits(look) => convert::waits(look, response),
        other => Err(WireError::new(
            "call",
            format_args!("{other:?}"),
            "a question who waits for whom",
        )),
    }
}
