//! Refusals as statuses, and back.
//!
//! A status carries a code for those who know nothing of us, a
//! `google.rpc.ErrorInfo` with the reason for those who do, and a
//! `google.rpc.RetryInfo` where sending again, or running again, helps.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use nemcon_core::coordinator::event::{Ending, Report};
use nemcon_core::id::{CoordinatorId, ParticipantName, TransactionId};
use nemcon_core::message::Outcome;
use nemcon_core::reason::{Reason, Refusal};
use nemcon_proto::convert::{self, NoResponse, WireError};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of our reasons in `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "nemcon";

const PARTICIPANT: &str = "participant";
const COORDINATOR_ID: &str = "coordinator_id";
const TRANSACTION_ID: &str = "transaction_id";
const RETRYABLE: &str = "retryable";
const OUTCOME: &str = "outcome";
const COMMITTED: &str = "committed";
const ABORTED: &str = "aborted";

/// A status for a line of a log: its code, its message and all that caused it. Its
/// details and metadata are left out: they are long, and may be what people send.
#[derive(Debug)]
pub struct Shown<'a>(pub &'a Status);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(status) = self;
        write!(f, "{:?}: {}", status.code(), status.message())?;
        let mut source = status.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// A call was refused: why, and what it was about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}")]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// The participant that refused, if one did.
    pub participant: Option<ParticipantName>,
    /// The coordinator that answers: named by whoever sends the request again.
    pub coordinator: Option<CoordinatorId>,
    /// The transaction it was about: a client that gave no id learns it here.
    pub transaction: Option<TransactionId>,
    /// That transaction has ended so, before the request came: then the refusal
    /// is why it aborted, or that it takes no more work.
    pub outcome: Option<Outcome>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            participant: None,
            coordinator: None,
            transaction: None,
            outcome: None,
        }
    }
}

/// Work came for an interactive transaction that has ended.
impl From<Report> for Refused {
    fn from(report: Report) -> Self {
        let transaction = report.transaction;
        let outcome = Some(report.ending.outcome());
        let refused = match report.ending {
            Ending::Committed(_) => {
                let why = format!("transaction {transaction} has committed; it takes no more work");
                Self::from(Refusal::new(Reason::INVALID_REQUEST, why))
            }
            Ending::Aborted(cause) => Self::from(cause.refusal).at(cause.participant),
        };
        Self {
            outcome,
            ..refused.about(transaction)
        }
    }
}

impl Refused {
    /// Says which coordinator answers.
    #[must_use]
    pub fn by(self, coordinator: CoordinatorId) -> Self {
        Self {
            coordinator: Some(coordinator),
            ..self
        }
    }

    /// Says which participant refused.
    #[must_use]
    pub fn at(self, participant: Option<ParticipantName>) -> Self {
        Self {
            participant,
            ..self
        }
    }

    /// Says which transaction it was about.
    #[must_use]
    pub fn about(self, transaction: TransactionId) -> Self {
        Self {
            transaction: Some(transaction),
            ..self
        }
    }

    /// Reads back what [`to_status`] wrote; `None` for a status of anybody else.
    #[must_use]
    pub fn read(status: &Status) -> Option<Self> {
        let info = status
            .get_details_error_info()
            .filter(|info| info.domain == DOMAIN)?;
        let word = |key| info.metadata.get(key).map(String::as_str);
        let retryable = word(RETRYABLE) == Some("true");
        let new = if retryable {
            Refusal::retryable
        } else {
            Refusal::new
        };
        Some(Self {
            refusal: new(Reason::from_wire(&info.reason), status.message()),
            participant: word(PARTICIPANT).and_then(|name| name.parse().ok()),
            coordinator: word(COORDINATOR_ID)
                .and_then(|id| convert::coordinator_id(id, COORDINATOR_ID).ok()),
            transaction: word(TRANSACTION_ID).and_then(|id| id.parse().ok()),
            outcome: match word(OUTCOME) {
                Some(COMMITTED) => Some(Outcome::Committed),
                Some(ABORTED) => Some(Outcome::Aborted),
                Some(_) | None => None,
            },
        })
    }

    fn metadata(&self) -> HashMap<String, String> {
        let entries = [
            (
                PARTICIPANT,
                self.participant.as_ref().map(ToString::to_string),
            ),
            (COORDINATOR_ID, self.coordinator.map(|id| id.to_string())),
            (TRANSACTION_ID, self.transaction.map(|id| id.to_string())),
            (OUTCOME, self.outcome.map(|it| outcome(it).to_owned())),
            (RETRYABLE, Some(self.refusal.retryable.to_string())),
        ];
        let given = |(key, value): (&str, Option<String>)| Some((key.to_owned(), value?));
        entries.into_iter().filter_map(given).collect()
    }
}

const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Committed => COMMITTED,
        Outcome::Aborted => ABORTED,
    }
}

/// How a reason of the protocol travels.
struct Mapping {
    reason: Reason,
    code: Code,
    /// When sending, or running, again has a chance.
    retry_after: Option<Duration>,
}

const fn never(reason: Reason, code: Code) -> Mapping {
    Mapping {
        reason,
        code,
        retry_after: None,
    }
}

const fn after(millis: u64, reason: Reason, code: Code) -> Mapping {
    Mapping {
        reason,
        code,
        retry_after: Some(Duration::from_millis(millis)),
    }
}

/// Every reason of the protocol, each exactly once. Whoever adds a reason decides
/// here what its receiver should do.
const TABLE: &[Mapping] = &[
    // Run the transaction again, under a new id.
    after(50, Reason::LOCK_TIMEOUT, Code::Aborted),
    after(50, Reason::DEADLOCK, Code::Aborted),
    after(1_000, Reason::TOO_MANY_WAITERS, Code::Aborted),
    after(50, Reason::DEADLINE_EXCEEDED, Code::Aborted),
    after(50, Reason::WORK_LOST, Code::Aborted),
    after(50, Reason::LOCKS_LOST, Code::Aborted),
    after(50, Reason::ATTEMPT_ENDED, Code::Aborted),
    after(50, Reason::COORDINATOR_RESTARTED, Code::Aborted),
    // Send the same request again. A node says NOT_SERVING and TOO_MANY_REQUESTS
    // only to what it has not taken in: nothing of it has been done.
    after(100, Reason::NOT_SERVING, Code::Unavailable),
    after(100, Reason::UNREACHABLE, Code::Unavailable),
    after(500, Reason::TOO_MANY_REQUESTS, Code::ResourceExhausted),
    // The same, once somebody has made room.
    after(10_000, Reason::DISK_FULL, Code::ResourceExhausted),
    // It may have been done: ask by id, or send the same request again.
    after(200, Reason::OUTCOME_UNKNOWN, Code::DeadlineExceeded),
    // The request is wrong, and stays so.
    never(Reason::INVALID_REQUEST, Code::InvalidArgument),
    never(Reason::INVALID_ACTION, Code::InvalidArgument),
    never(Reason::READ_ONLY_VIOLATED, Code::InvalidArgument),
    never(Reason::TRANSACTION_ID_INVALID, Code::InvalidArgument),
    never(Reason::TRANSACTION_ID_AHEAD, Code::InvalidArgument),
    never(Reason::TOO_LARGE, Code::InvalidArgument),
    never(Reason::TRANSACTION_ID_REUSED, Code::AlreadyExists),
    never(Reason::UNKNOWN_TRANSACTION, Code::NotFound),
    // The request is right, and the state of things is against it. An unknown
    // participant belongs here and not under NOT_FOUND: it may register yet.
    never(Reason::UNKNOWN_PARTICIPANT, Code::FailedPrecondition),
    never(Reason::TOO_MANY_LOCKS, Code::FailedPrecondition),
    never(Reason::ABORT_REQUESTED, Code::FailedPrecondition),
    never(Reason::OUTCOME_FORGOTTEN, Code::FailedPrecondition),
    never(Reason::WRONG_COORDINATOR, Code::FailedPrecondition),
    never(Reason::NOT_ABORTABLE, Code::FailedPrecondition),
    never(Reason::SAGA_ID_REUSED, Code::AlreadyExists),
    never(Reason::UNKNOWN_SAGA, Code::NotFound),
    never(Reason::SAGA_CANCELLED, Code::FailedPrecondition),
    never(Reason::SAGA_NOT_CANCELLABLE, Code::FailedPrecondition),
    never(Reason::SAGA_NOT_RESOLVABLE, Code::FailedPrecondition),
    never(Reason::SAGA_RESTORED, Code::FailedPrecondition),
    never(Reason::PARTICIPANT_REPLACED, Code::FailedPrecondition),
    never(Reason::PARTICIPANT_SET_BACK, Code::FailedPrecondition),
    never(Reason::PARTICIPANT_BUSY, Code::FailedPrecondition),
    never(Reason::BACKUP_GIVEN_UP, Code::FailedPrecondition),
    // Between nodes.
    never(Reason::PEER_REFUSED, Code::FailedPrecondition),
    never(Reason::STALE_EPOCH, Code::FailedPrecondition),
    never(Reason::BELOW_FLOOR, Code::FailedPrecondition),
    never(Reason::LOST_PREPARE, Code::FailedPrecondition),
    never(Reason::WRONG_PARTICIPANT, Code::FailedPrecondition),
    // Our own bug: whether anything was done is open.
    never(Reason::INTERNAL, Code::Internal),
];

fn mapping(reason: &Reason) -> Option<&'static Mapping> {
    TABLE.iter().find(|mapping| mapping.reason == *reason)
}

/// A reason of a participant's business has no line in the table: it is a no to
/// what was asked, given the state of things. Where a rerun can help, the
/// refusal says so itself.
///
/// Of a transaction that has ended only one thing matters: whether to run it
/// again. UNAVAILABLE, say, would have the same request sent in vain.
fn code(refused: &Refused) -> Code {
    let refusal = &refused.refusal;
    let business = if refusal.retryable {
        Code::Aborted
    } else {
        Code::FailedPrecondition
    };
    if refused.outcome.is_some() {
        return business;
    }
    mapping(&refusal.reason).map_or(business, |mapping| mapping.code)
}

fn details(refused: &Refused) -> ErrorDetails {
    let reason = refused.refusal.reason.as_str();
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, refused.metadata());
    let mapping = mapping(&refused.refusal.reason);
    if let Some(delay) = mapping.and_then(|mapping| mapping.retry_after) {
        details.set_retry_info(Some(delay));
    }
    details
}

/// The one function that makes a status of a refusal.
#[must_use]
pub fn to_status(refused: &Refused) -> Status {
    to_status_as(refused, code(refused))
}

/// The same with another code, for a participant that knows what its customers
/// expect of its own reasons.
///
/// The code also stands within the details, and clients that find two (Go's,
/// Python's) throw the details away.
#[must_use]
pub fn to_status_as(refused: &Refused, code: Code) -> Status {
    Status::with_error_details(code, refused.refusal.message.clone(), details(refused))
}

/// The status of a message that could not be read: `INVALID_ARGUMENT`, with the
/// field in a `google.rpc.BadRequest`.
#[must_use]
pub fn wire_status(error: &WireError) -> Status {
    let refused = Refused::from(Refusal::new(error.reason.clone(), error.to_string()));
    let mut details = details(&refused);
    let violation = format!("{}: want {}", error.value, error.allowed);
    details.add_bad_request_violation(error.field.clone(), violation);
    Status::with_error_details(code(&refused), refused.refusal.message, details)
}

/// The status with which a stream ends whose next frame could not be read: as that of
/// a message that could not be read by itself. `why`: what the transport says of it;
/// `want`: what is allowed.
#[must_use]
pub fn frame_status(why: &Status, want: impl std::fmt::Display) -> Status {
    let found = format!("cannot be read ({})", why.message());
    wire_status(&WireError::new("frame", found, want))
}

/// The status of an answer that has no response: a refusal, or a bug of ours.
#[must_use]
pub fn response_status(error: NoResponse) -> Status {
    let refusal = match error {
        NoResponse::Refused(refusal) => refusal,
        mismatched @ NoResponse::Mismatched { .. } => {
            Refusal::new(Reason::INTERNAL, mismatched.to_string())
        }
    };
    to_status(&refusal.into())
}

/// How long whoever gave this status asks to wait before the next try. It may be
/// any span: it comes from outside.
#[must_use]
pub fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

#[cfg(test)]
mod tests {
    use nemcon_core::time::Millis;
    use nemcon_proto::v1;
    use prost::Message;

    use super::*;

    #[test]
    fn a_status_is_shown_with_its_causes_and_without_what_came_along() {
        let cause = std::io::Error::other("connection refused");
        let mut status = Status::from_error(Box::new(cause));
        status
            .metadata_mut()
            .insert("authorization", "secret".parse().unwrap());
        let shown = Shown(&status).to_string();
        assert!(shown.starts_with("Unknown: "), "{shown}");
        assert!(shown.ends_with("connection refused"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn the_code_in_the_details_is_that_of_the_status() {
        let refused = Refusal::new(Reason::business("NO_SUCH_THING"), "no").into();
        for code in [Code::NotFound, Code::AlreadyExists, Code::InvalidArgument] {
            let status = to_status_as(&refused, code);
            let inner = tonic_types::pb::Status::decode(status.details()).unwrap();
            assert_eq!((status.code(), inner.code), (code, code as i32));
            assert_eq!(Refused::read(&status), Some(refused.clone()));
        }
    }

    #[test]
    fn every_reason_of_the_protocol_has_one_line() {
        for reason in Reason::ALL {
            let lines = TABLE
                .iter()
                .filter(|mapping| mapping.reason == *reason)
                .count();
            assert_eq!(lines, 1, "{reason}");
        }
        assert_eq!(TABLE.len(), Reason::ALL.len());
    }

    #[test]
    fn whatever_helps_when_repeated_says_when() {
        let repeatable = [
            Code::Aborted,
            Code::Unavailable,
            Code::ResourceExhausted,
            Code::DeadlineExceeded,
        ];
        for Mapping {
            reason,
            code,
            retry_after,
        } in TABLE
        {
            assert_eq!(retry_after.is_some(), repeatable.contains(code), "{reason}");
            let status = to_status(&Refusal::new(reason.clone(), "no").into());
            assert_eq!(status.code(), *code, "{reason}");
            let told = status
                .get_details_retry_info()
                .and_then(|info| info.retry_delay);
            assert_eq!(told, *retry_after, "{reason}");
        }
    }

    #[test]
    fn a_refusal_goes_there_and_back() {
        let coordinator = convert::coordinator_id(&"c".repeat(32), "").unwrap();
        let transaction = TransactionId::from_parts(Millis(5), 7);
        for reason in Reason::ALL {
            let refusal = Refusal::retryable(reason.clone(), "account alice: wait, and more");
            let bare = Refused::from(refusal);
            let full = bare.clone().by(coordinator).about(transaction);
            let full = full.at(Some("bank-a".parse().unwrap()));
            assert_eq!(Refused::read(&to_status(&bare)), Some(bare));
            assert_eq!(Refused::read(&to_status(&full)), Some(full));
        }
    }

    #[test]
    fn a_business_reason_is_a_no_to_the_state_of_things() {
        let reason = Reason::business("INSUFFICIENT_FUNDS");
        let refused = Refused::from(Refusal::new(reason.clone(), "alice has 1.00"));
        let status = to_status(&refused);
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(Refused::read(&status), Some(refused));
        let busy = Refused::from(Refusal::retryable(reason, "ask again"));
        assert_eq!(to_status(&busy).code(), Code::Aborted);
    }

    #[test]
    fn a_message_that_could_not_be_read_names_its_field() {
        let request = v1::RemoveParticipantRequest {
            name: "a b".into(),
            ..Default::default()
        };
        let error = convert::Removal::try_from(request).unwrap_err();
        let status = wire_status(&error);
        assert_eq!(status.code(), Code::InvalidArgument);
        let bad = status.get_details_bad_request().unwrap();
        assert_eq!(bad.field_violations[0].field, "name");
        let refused = Refused::read(&status).unwrap();
        assert_eq!(refused.refusal.reason, Reason::INVALID_REQUEST);
        assert!(
            refused
                .refusal
                .message
                .starts_with("name \"a b\": want 1 to 64")
        );

        let request = v1::GetTransactionRequest {
            transaction_id: "x".into(),
        };
        let error = TransactionId::try_from(request).unwrap_err();
        let refused = Refused::read(&wire_status(&error)).unwrap();
        assert_eq!(refused.refusal.reason, Reason::TRANSACTION_ID_INVALID);
    }

    #[test]
    fn somebody_elses_status_is_not_ours() {
        assert_eq!(Refused::read(&Status::unavailable("down")), None);
        let details = ErrorDetails::with_error_info("LOCK_TIMEOUT", "example.org", []);
        let status = Status::with_error_details(Code::Aborted, "no", details);
        assert_eq!(Refused::read(&status), None);
    }
}
