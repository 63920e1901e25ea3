//! The line to the participant that is checked.

use std::time::Duration;

use nemcon_core::id::{AttemptId, ParticipantName};
use nemcon_core::message::{Answer, Call, Failure, Frame, Payload, Verdict};
use nemcon_core::reason::Reason;
use nemcon_net::{Address, CALL_TIMEOUT, Refused, Unanswered};
use nemcon_proto::convert::{Question, Request};
use nemcon_proto::v1;
use nemcon_proto::v1::outcome_service_client::OutcomeServiceClient;
use nemcon_proto::v1::participant_admin_service_client::ParticipantAdminServiceClient;
use nemcon_proto::v1::participant_service_client::ParticipantServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::rule::{Ended, Told, broken};

/// What an answer gets beyond what a coordinator allows it: the participant may
/// run under a debugger, and is not timed here.
const GRACE: Duration = Duration::from_secs(4);

/// Cheap to clone; all clones speak over one connection.
#[derive(Clone)]
pub(super) struct Line {
    channel: Channel,
}

impl Line {
    /// A line that connects when it is first used, and whenever it has to.
    pub(super) fn to(address: &Address) -> Self {
        Self {
            channel: nemcon_net::channel(address),
        }
    }

    /// Sends a message and waits for its answer. A refusal is an answer.
    pub(super) async fn call(&self, frame: Frame<Payload>) -> Told<Answer<Payload>> {
        let about = frame.message.call();
        let lock_wait = frame.message.task().map_or(0, |task| task.lock_wait.0);
        let limit = CALL_TIMEOUT + GRACE + Duration::from_millis(lock_wait);
        let request = Request::from(frame);
        let delivered = nemcon_net::deliver(self.channel.clone(), about, request, None);
        let answer = match nemcon_net::call(limit, delivered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let call = name(about);
                return Err(broken!("the answer to {call} makes no sense: {error}"));
            }
            Err(status) => return refusal(about, &status),
        };
        check_attempt(about, &answer)?;
        Ok(answer)
    }

    /// Asks what became of an attempt, as a peer in doubt does.
    pub(super) async fn verdict(
        &self,
        attempt: AttemptId,
        asker: ParticipantName,
    ) -> Told<Verdict> {
        let asker = Some(asker);
        let question = v1::GetOutcomeRequest::from(Question::Attempt { attempt, asker });
        let mut client = OutcomeServiceClient::new(self.channel.clone());
        let call = nemcon_net::call(CALL_TIMEOUT + GRACE, client.get_outcome(question));
        match call.await {
            Ok(response) => Verdict::try_from(response)
                .map_err(|error| broken!("the answer to GetOutcome makes no sense: {error}")),
            Err(status) => Err(unanswered("GetOutcome", &status)),
        }
    }

    /// Takes damage that a story has caused off the participant's list, if it has
    /// such a list.
    pub(super) async fn acknowledge_damage(&self, attempt: AttemptId) {
        let request = v1::AcknowledgeDamageRequest {
            attempt: Some(attempt.into()),
            participant: String::new(),
        };
        let mut client = ParticipantAdminServiceClient::new(self.channel.clone());
        let _ = nemcon_net::call(CALL_TIMEOUT, client.acknowledge_damage(request)).await;
    }

    /// The name a participant says it has.
    pub(super) async fn name(&self, hello: v1::GetStatusRequest) -> Result<String, Status> {
        let mut client = ParticipantServiceClient::new(self.channel.clone());
        let call = nemcon_net::call(CALL_TIMEOUT + GRACE, client.get_status(hello));
        call.await.map(|response| response.name)
    }
}

/// What a status means: a refusal, silence, a call that nobody has to serve, or a
/// breach.
fn refusal(call: Call, status: &Status) -> Told<Answer<Payload>> {
    if status.code() == Code::Unimplemented
        && let Some(why) = without(call)
    {
        return Err(Ended::Skipped(why));
    }
    if let Some(Refused { refusal, .. }) = Refused::read(status)
        && refusal.reason != Reason::NOT_SERVING
    {
        return Ok(Answer::Refused { call, refusal });
    }
    match Unanswered::of(status) {
        Unanswered::Refused(Refused { refusal, .. }) => Ok(Answer::Refused { call, refusal }),
        Unanswered::Failed(_) => Err(unanswered(name(call), status)),
    }
}

/// What a participant does without that answers this call with UNIMPLEMENTED, if
/// that is right.
const fn without(call: Call) -> Option<&'static str> {
    match call {
        Call::Execute(..) => Some("Execute is UNIMPLEMENTED"),
        Call::AcquireLocks(..) => Some("AcquireLocks is UNIMPLEMENTED"),
        Call::ReportWaits(_) => Some("GetWaitsForEdges is UNIMPLEMENTED"),
        Call::FailWait(_) => Some("FailWait is UNIMPLEMENTED"),
        Call::Hello
        | Call::Prepare(_)
        | Call::Commit(_)
        | Call::Abort(_)
        | Call::Release(_)
        | Call::CommitOnePhase(_)
        | Call::Inquire(_) => None,
    }
}

/// Tells somebody who is not there from somebody who says the wrong thing.
fn unanswered(call: &str, status: &Status) -> Ended {
    let (code, message) = (status.code(), status.message());
    let gone = Unanswered::of(status) == Unanswered::Failed(Failure::Unreachable)
        || code == Code::Unavailable;
    if gone {
        return Ended::Silent(format!("{call}: {message}"));
    }
    broken!("{call} got no answer, but the status {code:?}: {message}")
}

/// An answer names the attempt that it is about.
fn check_attempt(about: Call, answer: &Answer<Payload>) -> Told {
    let said = match answer {
        Answer::Voted { attempt, .. }
        | Answer::Acknowledged { attempt, .. }
        | Answer::Released { attempt, .. }
        | Answer::DecidedAlone { attempt, .. }
        | Answer::Executed { attempt, .. }
        | Answer::LocksAcquired { attempt, .. } => Some(*attempt),
        Answer::Welcome { .. }
        | Answer::Traced { .. }
        | Answer::Waits { .. }
        | Answer::WaitFailed { .. }
        | Answer::Refused { .. } => return Ok(()),
    };
    if said == about.attempt() {
        return Ok(());
    }
    let call = name(about);
    Err(broken!(
        "{call} was about attempt {:?}, its answer about {said:?}",
        about.attempt()
    ))
}

/// What a call is called in the protos.
const fn name(call: Call) -> &'static str {
    match call {
        Call::Hello => "GetStatus",
        Call::Execute(..) => "Execute",
        Call::AcquireLocks(..) => "AcquireLocks",
        Call::Prepare(_) => "Prepare",
        Call::Commit(_) => "Commit",
        Call::Abort(_) => "Abort",
        Call::Release(_) => "Release",
        Call::CommitOnePhase(_) => "CommitOnePhase",
        Call::ReportWaits(_) => "GetWaitsForEdges",
        Call::FailWait(_) => "FailWait",
        Call::Inquire(_) => "GetOutcome (inquiry)",
    }
}
