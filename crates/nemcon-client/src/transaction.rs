//! Transactions as a client puts them together.

use std::time::Duration;

use nemcon_core::coordinator::event::AddressedOperation;
use nemcon_core::id::{CoordinatorId, ParticipantName, TransactionId};
use nemcon_core::message::{Operation, Payload};
use nemcon_core::time::{Millis, Span};
use nemcon_proto::convert::{Opening, Run};
use nemcon_trace::Context;
use prost::{Message, Name};
use uuid::Uuid;

/// A new transaction id, of this moment.
#[must_use]
pub fn new_transaction_id() -> TransactionId {
    let uuid = Uuid::now_v7();
    // Not `TransactionId::new`: that would have an error which cannot happen. The
    // 74 bits of chance of a version 7 UUID are put back where they were.
    let bits = uuid.as_u128();
    let chance = ((bits >> 64) & 0xfff) << 62 | (bits & 0x3fff_ffff_ffff_ffff);
    TransactionId::from_parts(Millis((bits >> 80) as u64), chance)
}

/// An operation: `action` at `participant`. `read_only` is a promise that it
/// writes nothing; if all operations of a transaction carry it, nothing is
/// forced to disk anywhere.
#[must_use]
pub fn operation<A: Message + Name>(
    participant: &ParticipantName,
    action: &A,
    read_only: bool,
) -> AddressedOperation {
    let payload = Payload {
        type_url: A::type_url(),
        value: action.encode_to_vec(),
    };
    (
        participant.clone(),
        Operation {
            action: Ok(payload),
            read_only,
            inputs: Vec::new(),
        },
    )
}

/// A result that is not what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a result of type {found:?} cannot be read: want {want}")]
pub struct ResultError {
    /// What came.
    pub found: String,
    /// What was expected.
    pub want: String,
}

/// Reads the result of an operation.
///
/// # Errors
/// [`ResultError`] if it is of another type, or damaged.
pub fn result<R: Message + Name + Default>(payload: &Payload) -> Result<R, ResultError> {
    let unreadable = || ResultError {
        found: payload.type_url.clone(),
        want: R::full_name(),
    };
    if payload.type_url.rsplit('/').next() != Some(R::full_name().as_str()) {
        return Err(unreadable());
    }
    R::decode(payload.value.as_slice()).map_err(|_| unreadable())
}

/// A one-shot transaction: all of it happens, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The client's promise of "this, once": never to be used for other
    /// operations.
    pub id: TransactionId,
    /// The id of the first try, if this is a rerun.
    pub first: Option<TransactionId>,
    /// What to do, and where.
    pub operations: Vec<AddressedOperation>,
    /// How long it may take, up to 5 minutes; `None` for the coordinator's
    /// default.
    pub timeout: Option<Duration>,
    /// It has been sent before, say by a process that died, and may have run.
    pub may_have_run: bool,
    /// The coordinator it was sent to then, if that is known.
    pub first_sent_to: Option<CoordinatorId>,
    /// The trace it belongs to, if it is traced.
    pub trace: Option<Context>,
}

impl Transaction {
    /// These operations, under a new id.
    #[must_use]
    pub fn new(operations: impl IntoIterator<Item = AddressedOperation>) -> Self {
        Self {
            id: new_transaction_id(),
            first: None,
            operations: operations.into_iter().collect(),
            timeout: None,
            may_have_run: false,
            first_sent_to: None,
            trace: None,
        }
    }

    /// As a part of what has this place in a trace.
    #[must_use]
    pub fn under(self, trace: Option<Context>) -> Self {
        Self { trace, ..self }
    }

    /// Under this id instead.
    #[must_use]
    pub fn with_id(self, id: TransactionId) -> Self {
        Self { id, ..self }
    }

    /// With a deadline of its own.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self {
            timeout: Some(timeout),
            ..self
        }
    }

    /// It has been sent before, to this coordinator if that is known.
    #[must_use]
    pub fn sent_before(self, first_sent_to: Option<CoordinatorId>) -> Self {
        Self {
            may_have_run: true,
            first_sent_to,
            ..self
        }
    }

    /// The same work under a new id. Only for what certainly aborted.
    #[must_use]
    pub fn rerun(self) -> Self {
        Self {
            first: Some(self.first.unwrap_or(self.id)),
            id: new_transaction_id(),
            may_have_run: false,
            first_sent_to: None,
            ..self
        }
    }

    /// As it is sent, naming the coordinator it went to first.
    pub(crate) fn request(&self, first_sent_to: Option<CoordinatorId>) -> Run {
        Run {
            opening: opening(self.id, self.first, self.timeout, first_sent_to),
            operations: self.operations.clone(),
        }
    }
}

/// The circumstances of a transaction as they are sent.
pub(crate) fn opening(
    id: TransactionId,
    first: Option<TransactionId>,
    timeout: Option<Duration>,
    first_sent_to: Option<CoordinatorId>,
) -> Opening {
    Opening {
        transaction: Some(id),
        age: first,
        // Zero would mean "the default", so the shortest is one.
        timeout: timeout.map(|timeout| Span(millis(timeout).max(1))),
        first_sent_to,
    }
}

/// A time as it is sent.
pub(crate) fn millis(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use nemcon_proto::bank::v1::{Account, Read};

    use super::*;

    #[test]
    fn new_ids_are_of_now_and_differ() {
        let (one, other) = (new_transaction_id(), new_transaction_id());
        assert_ne!(one, other);
        assert_eq!(one.uuid().get_version_num(), 7);
        assert!(other.minted_at() >= one.minted_at());
    }

    #[test]
    fn an_operation_names_its_type() {
        let bank = ParticipantName::new("bank-a").unwrap();
        let (to, operation) = operation(
            &bank,
            &Read {
                account: "alice".into(),
            },
            true,
        );
        let action = operation.action.unwrap();
        assert_eq!(to, bank);
        assert_eq!(action.type_url, "type.googleapis.com/nemcon.bank.v1.Read");
        assert_eq!(result::<Read>(&action).unwrap().account, "alice");
        let error = result::<Account>(&action).unwrap_err();
        assert_eq!(error.want, "nemcon.bank.v1.Account");
        let damaged = Payload {
            value: vec![0xff],
            ..action
        };
        assert!(result::<Read>(&damaged).is_err());
    }

    #[test]
    fn a_rerun_keeps_its_first_id_and_nothing_else() {
        let transaction = Transaction::new([]).sent_before(None);
        let first = transaction.id;
        let second = transaction.rerun();
        let third = second.clone().rerun();
        assert_eq!((second.first, third.first), (Some(first), Some(first)));
        assert!(second.id != first && third.id != second.id && !third.may_have_run);
    }
}
