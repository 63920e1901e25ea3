//! Interactive transactions: what clients ask of a coordinator piece by piece.

use std::collections::BTreeSet;

use nemcon_core::coordinator::event::{AddressedLock, AddressedOperation, Begin, Ending, Report};
use nemcon_core::id::{CoordinatorId, Epoch, ParticipantName, TransactionId};
use nemcon_core::limits;
use nemcon_core::time::Span;

use super::error::{WireError, list};
use super::frame::{number, within_deadline};
use super::id::{coordinator_id, optional, shown, transaction_id};
use super::transaction::ending;
use super::value::span_ms;
use crate::v1;

/// A transaction as a client begins it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// The client's id; `None` asks the coordinator to choose one.
    pub transaction: Option<TransactionId>,
    /// The id of its first try; `None`: this is the first.
    pub age: Option<TransactionId>,
    /// How long it may take; `None` for the coordinator's default.
    pub timeout: Option<Span>,
    /// The coordinator that an earlier try of the same request went to.
    pub first_sent_to: Option<CoordinatorId>,
}

impl Opening {
    /// The circumstances, once it is settled that the transaction is called `id`.
    #[must_use]
    pub fn begin(&self, id: TransactionId) -> Begin {
        Begin {
            transaction: id,
            age: self.age.unwrap_or(id),
            timeout: self.timeout,
            first_sent_to: self.first_sent_to,
        }
    }
}

impl From<Opening> for v1::BeginTransactionRequest {
    fn from(opening: Opening) -> Self {
        Self {
            transaction_id: shown(opening.transaction),
            timeout_ms: opening.timeout.map_or(0, span_ms),
            coordinator_id: shown(opening.first_sent_to),
            first_transaction_id: shown(opening.age),
        }
    }
}

impl TryFrom<v1::BeginTransactionRequest> for Opening {
    type Error = WireError;

    fn try_from(request: v1::BeginTransactionRequest) -> Result<Self, WireError> {
        let transaction = |text: &str, field| optional(text, |text| transaction_id(text, field));
        let timeout = within_deadline(request.timeout_ms, "timeout_ms")?;
        Ok(Self {
            transaction: transaction(&request.transaction_id, "transaction_id")?,
            age: transaction(&request.first_transaction_id, "first_transaction_id")?,
            timeout: (timeout != Span(0)).then_some(timeout),
            first_sent_to: optional(&request.coordinator_id, |text| {
                coordinator_id(text, "coordinator_id")
            })?,
        })
    }
}

/// That an interactive transaction has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// At which coordinator.
    pub coordinator: CoordinatorId,
    /// Under which id.
    pub transaction: TransactionId,
    /// In which epoch: all that follows names it.
    pub epoch: Epoch,
}

impl From<Begun> for v1::BeginTransactionResponse {
    fn from(begun: Begun) -> Self {
        Self {
            transaction_id: begun.transaction.to_string(),
            coordinator_id: begun.coordinator.to_string(),
            epoch: begun.epoch.0,
        }
    }
}

impl TryFrom<v1::BeginTransactionResponse> for Begun {
    type Error = WireError;

    fn try_from(response: v1::BeginTransactionResponse) -> Result<Self, WireError> {
        Ok(Self {
            coordinator: coordinator_id(&response.coordinator_id, "coordinator_id")?,
            transaction: transaction_id(&response.transaction_id, "transaction_id")?,
            epoch: epoch(response.epoch)?,
        })
    }
}

/// Epochs count from 1.
fn epoch(number: u64) -> Result<Epoch, WireError> {
    match number {
        0 => Err(WireError::missing(
            "epoch",
            "that of the answer to BeginTransaction",
        )),
        number => Ok(Epoch(number)),
    }
}

/// A numbered piece of an interactive transaction: operations or locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<T> {
    /// Of which transaction.
    pub transaction: TransactionId,
    /// The epoch in which it began.
    pub epoch: Epoch,
    /// Counts the pieces of the transaction from 1.
    pub number: u32,
    /// What is asked for.
    pub asked: Vec<T>,
}

impl From<Piece<AddressedOperation>> for v1::ExecuteOperationsRequest {
    fn from(piece: Piece<AddressedOperation>) -> Self {
        Self {
            transaction_id: piece.transaction.to_string(),
            number: piece.number,
            operations: piece.asked.into_iter().map(Into::into).collect(),
            epoch: piece.epoch.0,
        }
    }
}

impl TryFrom<v1::ExecuteOperationsRequest> for Piece<AddressedOperation> {
    type Error = WireError;

    fn try_from(request: v1::ExecuteOperationsRequest) -> Result<Self, WireError> {
        Ok(Self {
            transaction: transaction_id(&request.transaction_id, "transaction_id")?,
            epoch: epoch(request.epoch)?,
            number: number(request.number)?,
            asked: addressed(request.operations, "operations")?,
        })
    }
}

impl From<Piece<AddressedLock>> for v1::AcquireLocksRequest {
    fn from(piece: Piece<AddressedLock>) -> Self {
        Self {
            transaction_id: piece.transaction.to_string(),
            number: piece.number,
            locks: piece.asked.into_iter().map(Into::into).collect(),
            epoch: piece.epoch.0,
        }
    }
}

impl TryFrom<v1::AcquireLocksRequest> for Piece<AddressedLock> {
    type Error = WireError;

    fn try_from(request: v1::AcquireLocksRequest) -> Result<Self, WireError> {
        Ok(Self {
            transaction: transaction_id(&request.transaction_id, "transaction_id")?,
            epoch: epoch(request.epoch)?,
            number: number(request.number)?,
            asked: addressed(request.locks, "locks")?,
        })
    }
}

/// Reads the operations or locks of a request, within the limits of one.
pub(super) fn addressed<W, T>(
    items: Vec<W>,
    field: &str,
) -> Result<Vec<(ParticipantName, T)>, WireError>
where
    (ParticipantName, T): TryFrom<W, Error = WireError>,
{
    if items.is_empty() {
        let allowed = format_args!("1 to {} {field}", limits::OPERATIONS_MAX);
        return Err(WireError::missing(field, allowed));
    }
    let items: Vec<(ParticipantName, T)> =
        list(items, field, limits::OPERATIONS_MAX, TryInto::try_into)?;
    let participants: BTreeSet<_> = items.iter().map(|(name, _)| name).collect();
    if participants.len() > limits::PARTICIPANTS_MAX {
        let found = format_args!("at {} participants", participants.len());
        let allowed = format_args!("at most {}", limits::PARTICIPANTS_MAX);
        return Err(WireError::new(field, found, allowed));
    }
    Ok(items)
}

impl TryFrom<v1::CommitTransactionRequest> for (TransactionId, Epoch) {
    type Error = WireError;

    fn try_from(request: v1::CommitTransactionRequest) -> Result<Self, WireError> {
        let transaction = transaction_id(&request.transaction_id, "transaction_id")?;
        Ok((transaction, epoch(request.epoch)?))
    }
}

/// The outcome, and which coordinator says so. Results have come with the pieces.
impl From<(CoordinatorId, Report)> for v1::CommitTransactionResponse {
    fn from((coordinator, report): (CoordinatorId, Report)) -> Self {
        let outcome = v1::Outcome::from(report.ending.outcome()).into();
        let refusal = match report.ending {
            Ending::Committed(_) => None,
            Ending::Aborted(cause) => Some(cause.into()),
        };
        Self {
            transaction_id: report.transaction.to_string(),
            outcome,
            refusal,
            coordinator_id: coordinator.to_string(),
        }
    }
}

impl TryFrom<v1::CommitTransactionResponse> for (CoordinatorId, Report) {
    type Error = WireError;

    fn try_from(response: v1::CommitTransactionResponse) -> Result<Self, WireError> {
        let report = Report {
            transaction: transaction_id(&response.transaction_id, "transaction_id")?,
            ending: ending(response.outcome, response.refusal, None)?,
        };
        let coordinator = coordinator_id(&response.coordinator_id, "coordinator_id")?;
        Ok((coordinator, report))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn an_opening_goes_there_and_back() {
        let opening = Opening {
            transaction: Some(sample::transaction()),
            age: Some(sample::first_transaction()),
            timeout: Some(Span(1_234)),
            first_sent_to: Some(sample::coordinator()),
        };
        for opening in [opening, Opening::default()] {
            let there = v1::BeginTransactionRequest::from(opening.clone());
            assert_eq!(Opening::try_from(there), Ok(opening));
        }
        let begun = Begun {
            coordinator: sample::coordinator(),
            transaction: sample::transaction(),
            epoch: Epoch(7),
        };
        let there = v1::BeginTransactionResponse::from(begun);
        assert_eq!(there.try_into(), Ok(begun));
    }

    #[test]
    fn pieces_go_there_and_back() {
        let (transaction, number) = (sample::transaction(), 3);
        let piece = Piece {
            transaction,
            epoch: Epoch(7),
            number,
            asked: vec![sample::operation("bank-a"), sample::operation("bank-b")],
        };
        let there = v1::ExecuteOperationsRequest::from(piece.clone());
        assert_eq!(Piece::try_from(there), Ok(piece));
        let piece = Piece {
            transaction,
            epoch: Epoch(7),
            number,
            asked: vec![(sample::name("bank-a"), sample::lock())],
        };
        let there = v1::AcquireLocksRequest::from(piece.clone());
        assert_eq!(Piece::try_from(there), Ok(piece));
    }

    #[test]
    fn a_piece_beyond_the_limits_is_refused() {
        let piece = || v1::AcquireLocksRequest {
            transaction_id: sample::transaction().to_string(),
            number: 1,
            epoch: 7,
            locks: vec![(sample::name("bank-a"), sample::lock()).into()],
        };
        let field = |change: fn(&mut v1::AcquireLocksRequest)| {
            let mut request = piece();
            change(&mut request);
            Piece::<AddressedLock>::try_from(request).unwrap_err().field
        };
        assert_eq!(field(|r| r.number = 0), "number");
        assert_eq!(field(|r| r.epoch = 0), "epoch");
        assert_eq!(field(|r| r.transaction_id.clear()), "transaction_id");
        assert_eq!(field(|r| r.locks.clear()), "locks");
        assert_eq!(
            field(|r| r.locks = vec![r.locks[0].clone(); 1_001]),
            "locks"
        );
        assert_eq!(field(|r| r.locks[0].key.clear()), "locks[0].key");
    }

    #[test]
    fn what_a_commit_led_to_goes_there_and_back() {
        let [cause, _] = sample::causes();
        for ending in [Ending::Committed(None), Ending::Aborted(cause)] {
            let transaction = sample::transaction();
            let report = Report {
                transaction,
                ending,
            };
            let told = (sample::coordinator(), report);
            let there = v1::CommitTransactionResponse::from(told.clone());
            assert_eq!(there.try_into(), Ok(told));
        }
    }
}
