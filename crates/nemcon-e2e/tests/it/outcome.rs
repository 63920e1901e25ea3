//! What a client is told in the end, whatever happens in between.

use nemcon_client::{Client, ClientError, Ending, Report, Transaction};
use nemcon_core::id::CoordinatorId;
use nemcon_ledger::reason::DUPLICATE_REFERENCE;

/// The outcome of a transfer, as the client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Committed,
    /// And the reason.
    Aborted(String),
}

/// The outcome of a transaction, however long that takes, and whether running it
/// again can help.
pub(crate) async fn outcome(client: &Client, transaction: &Transaction) -> (Told, bool) {
    let mut sending = transaction.clone();
    loop {
        let refusal = match client.run(&sending).await {
            Ok(Report {
                ending: Ending::Committed(_),
                ..
            }) => return (Told::Committed, false),
            Ok(Report {
                ending: Ending::Aborted(cause),
                ..
            }) => cause.refusal,
            // Nothing has been done, by the word of the client.
            Err(ClientError::Refused(refused)) => refused.refusal,
            Err(ClientError::Unreachable { .. }) => continue,
            Err(ClientError::Unknown { coordinator, .. }) => {
                sending = sent_before(sending, coordinator);
                continue;
            }
            Err(
                error @ (ClientError::Address(_)
                | ClientError::SagaUnknown { .. }
                | ClientError::Protocol { .. }),
            ) => {
                panic!("{}: {error}", transaction.id)
            }
        };
        // Its reference is known only if it was paid already: under an earlier id,
        // which aborted, or under this one.
        assert_ne!(
            refusal.reason, DUPLICATE_REFERENCE,
            "{}: an abort was a lie: {refusal:?}",
            transaction.id
        );
        return (Told::Aborted(refusal.reason.to_string()), refusal.retryable);
    }
}

fn sent_before(transaction: Transaction, coordinator: Option<CoordinatorId>) -> Transaction {
    let coordinator = coordinator.or(transaction.first_sent_to);
    transaction.sent_before(coordinator)
}
