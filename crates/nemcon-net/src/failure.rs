//! What to make of a call that brought no response.

use std::error::Error;

use nemcon_core::message::Failure;
use nemcon_core::reason::{Reason, Refusal};
use tonic::{Code, ConnectError, Status};

use crate::status::Refused;

/// A call that brought no response.
///
/// The difference is what the peer may have done. Whoever refuses has answered,
/// and has done nothing. [`Failure::Unreachable`] has done nothing either. After
/// [`Failure::TimedOut`] anything is possible, so in doubt it is that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The peer refused.
    Refused(Refused),
    /// There is no answer.
    Failed(Failure),
}

impl Unanswered {
    /// Judges a status.
    #[must_use]
    pub fn of(status: &Status) -> Self {
        match Refused::read(status) {
            Some(refused) => Self::of_ours(refused),
            None if never_connected(status) => Self::Failed(Failure::Unreachable),
            None => Self::of_a_stranger(status),
        }
    }

    /// Judges a refusal of one of our nodes.
    fn of_ours(refused: Refused) -> Self {
        // Why a transaction has ended says nothing about this call, which was
        // answered.
        if refused.outcome.is_some() {
            return Self::Refused(refused);
        }
        let reason = &refused.refusal.reason;
        // Said only to what has not been taken in; the last by a participant that
        // is not the one we meant.
        if [
            Reason::NOT_SERVING,
            Reason::TOO_MANY_REQUESTS,
            Reason::WRONG_PARTICIPANT,
        ]
        .contains(reason)
        {
            return Self::Failed(Failure::Unreachable);
        }
        // Said by a node that does not know what came of it.
        if [
            Reason::OUTCOME_UNKNOWN,
            Reason::UNREACHABLE,
            Reason::INTERNAL,
        ]
        .contains(reason)
        {
            return Self::Failed(Failure::TimedOut);
        }
        Self::Refused(refused)
    }

    /// Judges what the transport says, or a node that is none of ours and says
    /// nothing but a code.
    fn of_a_stranger(status: &Status) -> Self {
        match status.code() {
            // Codes that only an application gives, and only instead of doing
            // what it was asked.
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Unimplemented
            | Code::Unauthenticated => Self::Refused(stranger(status, Refusal::new)),
            Code::Aborted => Self::Refused(stranger(status, Refusal::retryable)),
            // OUT_OF_RANGE and RESOURCE_EXHAUSTED also stand for an answer that
            // was too long to be read: then it was done. UNAVAILABLE also stands
            // for a connection that broke while the call was under way.
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::OutOfRange
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Self::Failed(Failure::TimedOut),
        }
    }
}

fn stranger(status: &Status, new: fn(Reason, String) -> Refusal) -> Refused {
    let message = format!("{:?}: {}", status.code(), status.message());
    new(Reason::PEER_REFUSED, message).into()
}

/// Whether the call never left, because there was no connection to leave by.
fn never_connected(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use nemcon_core::message::Outcome;

    use super::*;
    use crate::status::to_status;

    fn of_reason(reason: &Reason) -> Unanswered {
        Unanswered::of(&to_status(&Refusal::new(reason.clone(), "no").into()))
    }

    #[test]
    fn our_own_reasons_are_judged_one_by_one() {
        for reason in Reason::ALL {
            let judged = of_reason(reason);
            match reason.as_str() {
                "NOT_SERVING" | "TOO_MANY_REQUESTS" | "WRONG_PARTICIPANT" => {
                    assert_eq!(judged, Unanswered::Failed(Failure::Unreachable));
                }
                "OUTCOME_UNKNOWN" | "UNREACHABLE" | "INTERNAL" => {
                    assert_eq!(judged, Unanswered::Failed(Failure::TimedOut));
                }
                _ => assert!(matches!(judged, Unanswered::Refused(_)), "{reason}"),
            }
        }
    }

    #[test]
    fn a_transaction_that_has_ended_is_an_answer_whatever_ended_it() {
        for reason in Reason::ALL {
            let refused = Refused {
                outcome: Some(Outcome::Aborted),
                ..Refusal::retryable(reason.clone(), "no").into()
            };
            let judged = Unanswered::of(&to_status(&refused));
            assert_eq!(judged, Unanswered::Refused(refused), "{reason}");
        }
    }

    #[test]
    fn a_broken_connection_proves_nothing() {
        for status in [
            Status::unavailable("connection closed"),
            Status::cancelled("operation was canceled"),
            Status::unknown("transport error"),
            Status::deadline_exceeded("no answer"),
            Status::internal("h2 protocol error"),
            Status::out_of_range("message too long"),
            Status::resource_exhausted("message too long"),
        ] {
            assert_eq!(
                Unanswered::of(&status),
                Unanswered::Failed(Failure::TimedOut)
            );
        }
    }

    #[test]
    fn a_connection_that_never_stood_proves_that_nothing_was_done() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let status = Status::from_error(Box::new(ConnectError(Box::new(refused))));
        assert_eq!(
            Unanswered::of(&status),
            Unanswered::Failed(Failure::Unreachable)
        );
    }

    #[test]
    fn a_strangers_no_is_a_no() {
        let judged = Unanswered::of(&Status::unimplemented("what?"));
        let refusal = Refusal::new(Reason::PEER_REFUSED, "Unimplemented: what?");
        assert_eq!(judged, Unanswered::Refused(refusal.into()));
        let judged = Unanswered::of(&Status::aborted("again"));
        assert!(matches!(judged, Unanswered::Refused(no) if no.refusal.retryable));
    }
}
