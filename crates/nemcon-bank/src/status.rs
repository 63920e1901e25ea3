//! A bank's noes as gRPC statuses.
//!
//! Inside, a business no is an outcome with a reason. `Transfer` passes it on as
//! one; the other calls have no room for it in their answers, so there it is a
//! status. The reason travels in `google.rpc.ErrorInfo`, and `nemcon-net` makes
//! it; here the code is chosen that a customer who knows only codes expects.

use nemcon_client::ClientError;
use nemcon_core::id::TransactionId;
use nemcon_core::reason::{Reason, Refusal};
use nemcon_ledger::reason;
use nemcon_net::{Refused, to_status, to_status_as};
use tonic::{Code, Status};

/// The status of a refusal.
pub(crate) fn refused(refused: &Refused) -> Status {
    match code(&refused.refusal.reason) {
        Some(code) => to_status_as(refused, code),
        None => to_status(refused),
    }
}

/// The code for a reason of the bank's own; `None` for the protocol's, and where
/// the general "not as things are" fits.
fn code(reason: &Reason) -> Option<Code> {
    let is = |known: &[Reason]| known.contains(reason);
    if is(&[reason::UNKNOWN_ACCOUNT]) {
        Some(Code::NotFound)
    } else if is(&[reason::ACCOUNT_EXISTS]) {
        Some(Code::AlreadyExists)
    } else if is(&[
        reason::AMOUNT_NOT_POSITIVE,
        reason::INVALID_ACCOUNT,
        reason::INVALID_OWNER,
        reason::INVALID_CURRENCY,
        reason::INVALID_REFERENCE,
        reason::INVALID_MINIMUM_BALANCE,
        reason::INVALID_OPENING_BALANCE,
    ]) {
        Some(Code::InvalidArgument)
    } else {
        None
    }
}

/// The status of a call for which no outcome is to be had. It says whether
/// anything may have been done, and under which id to ask.
pub(crate) fn no_outcome(transaction: TransactionId, error: ClientError) -> Status {
    let told = match error {
        ClientError::Refused(told) => *told,
        // Nobody took the request in. To say UNREACHABLE would leave that open.
        ClientError::Unreachable { address, why } => {
            let message = format!(
                "the bank's coordinator at {address} cannot be reached ({why}); nothing has been \
                 done, send again when it runs"
            );
            Refusal::retryable(Reason::NOT_SERVING, message).into()
        }
        // Not the error's own words: our Rust client says the same of us.
        ClientError::Unknown {
            transaction,
            coordinator,
            why,
        } => {
            let message = format!(
                "{why}; transaction {transaction} may have committed, and may not: send it again \
                 under that id"
            );
            let told = Refusal::retryable(Reason::OUTCOME_UNKNOWN, message).into();
            Refused {
                coordinator,
                ..Refused::about(told, transaction)
            }
        }
        // A bank runs no sagas.
        ClientError::Address(_)
        | ClientError::SagaUnknown { .. }
        | ClientError::Protocol { .. } => {
            tracing::error!(%transaction, %error, "the coordinator's answer is of no use");
            let message = format!("the bank's coordinator: {error}");
            Refusal::new(Reason::INTERNAL, message).into()
        }
    };
    refused(&told)
}

#[cfg(test)]
mod tests {
    use nemcon_core::message::Failure;
    use nemcon_net::Unanswered;

    use super::*;

    fn status_of(reason: &Reason) -> Status {
        refused(&Refusal::new(reason.clone(), "account alice: no").into())
    }

    #[test]
    fn every_reason_of_the_ledger_has_a_code_and_keeps_its_word() {
        for reason in reason::ALL {
            let status = status_of(reason);
            let expected = match reason.as_str() {
                "UNKNOWN_ACCOUNT" => Code::NotFound,
                "ACCOUNT_EXISTS" => Code::AlreadyExists,
                "AMOUNT_NOT_POSITIVE" => Code::InvalidArgument,
                word if word.starts_with("INVALID_") => Code::InvalidArgument,
                _ => Code::FailedPrecondition,
            };
            assert_eq!(status.code(), expected, "{reason}");
            assert_eq!(status.message(), "account alice: no");
            let read = Refused::read(&status).unwrap();
            assert_eq!(&read.refusal.reason, reason);
        }
    }

    #[test]
    fn a_reason_of_the_protocol_stays_as_it_is() {
        for reason in Reason::ALL {
            let usual = to_status(&Refusal::new(reason.clone(), "").into());
            assert_eq!(status_of(reason).code(), usual.code(), "{reason}");
        }
    }

    #[test]
    fn a_coordinator_that_is_down_has_done_nothing() {
        let address = "http://127.0.0.1:7100".parse().unwrap();
        let error = ClientError::Unreachable {
            address,
            why: "connection refused".into(),
        };
        let status = no_outcome(nemcon_client::new_transaction_id(), error);
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(
            Unanswered::of(&status),
            Unanswered::Failed(Failure::Unreachable)
        );
        assert!(
            status.message().contains("http://127.0.0.1:7100"),
            "{}",
            status.message()
        );
    }

    #[test]
    fn an_unknown_outcome_names_the_transaction() {
        let transaction = nemcon_client::new_transaction_id();
        let error = ClientError::Unknown {
            transaction,
            coordinator: None,
            why: "lost".into(),
        };
        let status = no_outcome(transaction, error);
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(
            Refused::read(&status).unwrap().transaction,
            Some(transaction)
        );
        assert_eq!(
            Unanswered::of(&status),
            Unanswered::Failed(Failure::TimedOut)
        );
    }
}
