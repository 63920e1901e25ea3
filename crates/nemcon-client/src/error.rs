//! What a client cannot give: an answer.

use nemcon_core::id::{CoordinatorId, SagaId, TransactionId};
use nemcon_net::{Address, AddressError, Refused};
use nemcon_proto::convert::WireError;

/// Why a call brought no answer. That a transaction aborted is an answer, and
/// not among these.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The text given is not an address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Nobody took the request in: nothing of it has been done.
    #[error("{address} cannot be reached: {why}; is the node running, and is this its address?")]
    Unreachable {
        /// Where the node was looked for.
        address: Address,
        /// What was found there.
        why: String,
    },
    /// The node refused. Nothing has been done, and the same request will be
    /// refused again, unless [`retryable`](nemcon_core::reason::Refusal) says
    /// otherwise.
    #[error(transparent)]
    Refused(Box<Refused>),
    /// The transaction may have committed, and may not. Neither is to be assumed.
    #[error(
        "the outcome of transaction {transaction} is not known: {why}; \
         ask again under the same id"
    )]
    Unknown {
        /// Which transaction: ask for it, or send it again, by this id.
        transaction: TransactionId,
        /// The coordinator it went to, as far as that is known: name it when
        /// the transaction is sent again.
        coordinator: Option<CoordinatorId>,
        /// The last that was heard.
        why: String,
    },
    /// What was asked of the saga may have been done, and may not: it may have started,
    /// or a decision about it been taken.
    #[error("what became of saga {saga} is not known: {why}; ask again under the same id")]
    SagaUnknown {
        /// Which saga: ask for it, or start it again, by this id.
        saga: SagaId,
        /// The coordinator it went to, as far as that is known.
        coordinator: Option<CoordinatorId>,
        /// The last that was heard.
        why: String,
    },
    /// What came back makes no sense: another version, or no node of ours.
    #[error("{address} does not answer as a nemcon node of this version does: {what}")]
    Protocol {
        /// Where.
        address: Address,
        /// What came back.
        what: String,
    },
}

impl ClientError {
    /// For a response that cannot be read.
    pub(crate) fn unreadable(address: &Address, error: &WireError) -> Self {
        Self::Protocol {
            address: address.clone(),
            what: error.to_string(),
        }
    }
}
