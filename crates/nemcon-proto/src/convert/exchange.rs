//! Calls and answers that travel together on `ParticipantService.Exchange`.
//!
//! They are the messages of the unary calls, each with a number, and are read by
//! the same code.

use nemcon_core::id::ParticipantName;
use nemcon_core::message::{Answer, Call, Frame, Payload};
use tonic::{Code, Status};

use super::answer::{NoResponse, waits};
use super::error::{WireError, kind_of};
use super::frame::Request;
use crate::v1;
use crate::v1::exchange_answer::Response;
use crate::v1::exchange_call::Request as Asked;

/// Which call an answer on a stream belongs to.
///
/// The answer itself does not always tell: commits and aborts are acknowledged
/// alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `Execute`.
    Execute,
    /// `AcquireLocks`.
    AcquireLocks,
    /// `Prepare`.
    Prepare,
    /// `Commit`.
    Commit,
    /// `Abort`.
    Abort,
    /// `Release`.
    Release,
    /// `CommitOnePhase`.
    CommitOnePhase,
    /// `GetStatus`.
    GetStatus,
    /// `GetWaitsForEdges`.
    GetWaitsForEdges,
    /// `FailWait`.
    FailWait,
}

impl Request {
    /// The request as one among many on a stream.
    ///
    /// # Errors
    /// The request itself, if it is of another service and has no place there.
    pub fn for_exchange(self) -> Result<Asked, Box<Self>> {
        Ok(match self {
            Self::Execute(request) => Asked::Execute(request),
            Self::AcquireLocks(request) => Asked::AcquireLocks(request),
            Self::Prepare(request) => Asked::Prepare(request),
            Self::Commit(request) => Asked::Commit(request),
            Self::Abort(request) => Asked::Abort(request),
            Self::Release(request) => Asked::Release(request),
            Self::CommitOnePhase(request) => Asked::CommitOnePhase(request),
            Self::GetStatus(request) => Asked::GetStatus(request),
            Self::GetWaitsForEdges(request) => Asked::GetWaitsForEdges(request),
            Self::FailWait(request) => Asked::FailWait(request),
            elsewhere @ Self::GetOutcome(_) => return Err(Box::new(elsewhere)),
        })
    }
}

/// Takes a request off a stream again, to make the call by itself.
impl From<Asked> for Request {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Execute(request) => Self::Execute(request),
            Asked::AcquireLocks(request) => Self::AcquireLocks(request),
            Asked::Prepare(request) => Self::Prepare(request),
            Asked::Commit(request) => Self::Commit(request),
            Asked::Abort(request) => Self::Abort(request),
            Asked::Release(request) => Self::Release(request),
            Asked::CommitOnePhase(request) => Self::CommitOnePhase(request),
            Asked::GetStatus(request) => Self::GetStatus(request),
            Asked::GetWaitsForEdges(request) => Self::GetWaitsForEdges(request),
            Asked::FailWait(request) => Self::FailWait(request),
        }
    }
}

/// Reads what is asked: which call it is, and its frame.
///
/// # Errors
/// [`WireError`], with the method if there is one, as the call by itself would be
/// refused.
pub fn asked(request: Option<Asked>) -> Result<(Method, Frame<Payload>), WireError> {
    let allowed = "one of the requests that this version knows";
    let request = request.ok_or_else(|| WireError::missing("request", allowed))?;
    Ok(match request {
        Asked::Execute(request) => (Method::Execute, request.try_into()?),
        Asked::AcquireLocks(request) => (Method::AcquireLocks, request.try_into()?),
        Asked::Prepare(request) => (Method::Prepare, request.try_into()?),
        Asked::Commit(request) => (Method::Commit, request.try_into()?),
        Asked::Abort(request) => (Method::Abort, request.try_into()?),
        Asked::Release(request) => (Method::Release, request.try_into()?),
        Asked::CommitOnePhase(request) => (Method::CommitOnePhase, request.try_into()?),
        Asked::GetStatus(request) => (Method::GetStatus, request.try_into()?),
        Asked::GetWaitsForEdges(request) => (Method::GetWaitsForEdges, request.try_into()?),
        Asked::FailWait(request) => (Method::FailWait, request.try_into()?),
    })
}

/// Writes an answer as the response of the call it belongs to; `name` is that of
/// the participant who answers.
///
/// # Errors
/// [`NoResponse`] if it is a refusal, which travels as a status, or no answer to
/// that call.
pub fn responded(
    method: Method,
    name: &ParticipantName,
    answer: Answer<Payload>,
) -> Result<Response, NoResponse> {
    Ok(match method {
        Method::Execute => Response::Execute(answer.try_into()?),
        Method::AcquireLocks => Response::AcquireLocks(answer.try_into()?),
        Method::Prepare => Response::Prepare(answer.try_into()?),
        Method::Commit => Response::Commit(answer.try_into()?),
        Method::Abort => Response::Abort(answer.try_into()?),
        Method::Release => Response::Release(answer.try_into()?),
        Method::CommitOnePhase => Response::CommitOnePhase(answer.try_into()?),
        Method::GetStatus => Response::GetStatus((name, answer).try_into()?),
        Method::GetWaitsForEdges => Response::GetWaitsForEdges(answer.try_into()?),
        Method::FailWait => Response::FailWait(answer.try_into()?),
    })
}

/// Reads the answer to a call: what the call by itself would have returned.
///
/// # Errors
/// [`WireError`] if it is no answer to that call, or makes no sense.
pub fn returned(
    call: Call,
    response: Option<Response>,
) -> Result<Result<Answer<Payload>, Status>, WireError> {
    let answer = match (call, response) {
        (_, Some(Response::Status(told))) => return Ok(Err(status(told))),
        (Call::Execute(..), Some(Response::Execute(it))) => it.try_into()?,
        (Call::AcquireLocks(..), Some(Response::AcquireLocks(it))) => it.try_into()?,
        (Call::Prepare(_), Some(Response::Prepare(it))) => it.try_into()?,
        (Call::Commit(_), Some(Response::Commit(it))) => it.try_into()?,
        (Call::Abort(_), Some(Response::Abort(it))) => it.try_into()?,
        (Call::Release(_), Some(Response::Release(it))) => it.try_into()?,
        (Call::CommitOnePhase(_), Some(Response::CommitOnePhase(it))) => it.try_into()?,
        (Call::Hello, Some(Response::GetStatus(it))) => it.try_into()?,
        (Call::ReportWaits(look), Some(Response::GetWaitsForEdges(it))) => waits(look, it)?,
        (Call::FailWait(_), Some(Response::FailWait(it))) => it.try_into()?,
        (call, Some(other)) => {
            let allowed = format_args!("a response to {call:?}");
            return Err(WireError::new("response", kind_of(&other), allowed));
        }
        (call, None) => {
            let allowed = format!("a response to {call:?}");
            return Err(WireError::missing("response", &allowed));
        }
    };
    Ok(Ok(answer))
}

/// A status among answers.
impl From<&Status> for v1::CallStatus {
    fn from(status: &Status) -> Self {
        Self {
            code: status.code().into(),
            message: status.message().to_owned(),
            details: status.details().to_vec(),
        }
    }
}

/// Reads a status that travelled among answers. What is no code of gRPC, or OK,
/// says nothing about what was done.
#[must_use]
pub fn status(told: v1::CallStatus) -> Status {
    let code = match Code::from_i32(told.code) {
        Code::Ok => Code::Unknown,
        code => code,
    };
    Status::with_details(code, told.message, told.details.into())
}

#[cfg(test)]
mod tests {
    use nemcon_core::id::{Boot, Lsn};
    use nemcon_core::message::{Alone, Outcome, Vote};
    use nemcon_core::reason::{Reason, Refusal};

    use super::super::sample;
    use super::*;

    /// A call of each kind, and an answer to it.
    fn conversations() -> Vec<(Call, Method, Answer<Payload>)> {
        let (attempt, boot) = (sample::attempt(), Boot(4));
        let results = vec![sample::payload(1)];
        let acknowledged = |damage| Answer::Acknowledged { attempt, damage };
        vec![
            (Call::Hello, Method::GetStatus, Answer::Welcome { boot }),
            (
                Call::Execute(attempt, 3),
                Method::Execute,
                Answer::Executed {
                    attempt,
                    number: 3,
                    boot,
                    results: Ok(results.clone()),
                },
            ),
            (
                Call::AcquireLocks(attempt, 4),
                Method::AcquireLocks,
                Answer::LocksAcquired {
                    attempt,
                    number: 4,
                    boot,
                    tokens: Ok(vec![sample::token()]),
                },
            ),
            (
                Call::Prepare(attempt),
                Method::Prepare,
                Answer::Voted {
                    attempt,
                    boot,
                    log_end: Lsn(9),
                    life: 7,
                    vote: Vote::Yes(Some(results.clone())),
                },
            ),
            (Call::Commit(attempt), Method::Commit, acknowledged(None)),
            (
                Call::Abort(attempt),
                Method::Abort,
                acknowledged(Some(Outcome::Committed)),
            ),
            (
                Call::Release(attempt),
                Method::Release,
                Answer::Released {
                    attempt,
                    boot: Some(boot),
                },
            ),
            (
                Call::CommitOnePhase(attempt),
                Method::CommitOnePhase,
                Answer::DecidedAlone {
                    attempt,
                    alone: Alone::Committed(results),
                },
            ),
            (
                Call::FailWait(attempt),
                Method::FailWait,
                Answer::WaitFailed {
                    victim: attempt,
                    failed: true,
                },
            ),
        ]
    }

    #[test]
    fn every_answer_goes_there_and_back_to_its_own_call_only() {
        let bank = sample::name("bank-a");
        let others = || conversations().into_iter().map(|(call, ..)| call);
        for (call, method, answer) in conversations() {
            let response = responded(method, &bank, answer.clone()).unwrap();
            let returned_to = |call| returned(call, Some(response.clone()));
            assert_eq!(returned_to(call).unwrap().unwrap(), answer);
            for other in others().filter(|other| *other != call) {
                assert!(returned_to(other).is_err(), "{other:?}: {response:?}");
            }
            let wrong = match method {
                Method::GetStatus => Method::Commit,
                _ => Method::GetStatus,
            };
            assert!(matches!(
                responded(wrong, &bank, answer),
                Err(NoResponse::Mismatched { .. })
            ));
        }
    }

    #[test]
    fn a_refusal_travels_as_a_status_with_all_its_details() {
        let refusal = Refusal::new(Reason::STALE_EPOCH, "no");
        let call = Call::Commit(sample::attempt());
        let refused = Answer::Refused {
            call,
            refusal: refusal.clone(),
        };
        let no_response = responded(Method::Commit, &sample::name("bank-a"), refused);
        assert_eq!(no_response, Err(NoResponse::Refused(refusal)));

        let details = b"details".to_vec();
        let before = Status::with_details(Code::Aborted, "again", details.clone().into());
        let told = Response::Status(v1::CallStatus::from(&before));
        let after = returned(call, Some(told)).unwrap().unwrap_err();
        assert_eq!((after.code(), after.message()), (Code::Aborted, "again"));
        assert_eq!(after.details(), details);
    }

    #[test]
    fn what_says_nothing_is_not_taken_for_an_answer() {
        let call = Call::Commit(sample::attempt());
        assert!(returned(call, None).is_err());
        assert!(asked(None).is_err());
        let ok = Response::Status(v1::CallStatus::default());
        let status = returned(call, Some(ok)).unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unknown, "OK without a response");
    }
}
