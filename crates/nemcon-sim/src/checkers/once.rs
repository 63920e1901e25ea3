//! I9 (once): a transaction id is applied at most once.

use nemcon_core::invariants::{self, Violation};

use crate::world::Facts;

/// Looks at every durable commit of every participant.
pub(crate) fn check(facts: &Facts) -> Result<(), Violation> {
    let applied = facts.applied();
    invariants::once(applied.map(|(transaction, attempt, _)| (transaction, attempt)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::border::identity;
    use nemcon_core::id::{AttemptId, Epoch, Position, Sequence, TransactionId};
    use nemcon_core::time::Millis;

    #[test]
    fn a_transaction_that_two_attempts_apply_is_found() {
        let attempt = |sequence| AttemptId {
            coordinator: identity(0),
            position: Position {
                epoch: Epoch(1),
                sequence: Sequence(sequence),
            },
        };
        let transaction = TransactionId::from_parts(Millis(1), 1);
        let mut facts = Facts::new(2);
        facts.transactions.insert(attempt(1), transaction);
        facts.commits.insert((attempt(1), 0));
        assert_eq!(check(&facts), Ok(()));
        facts.transactions.insert(attempt(2), transaction);
        facts.commits.insert((attempt(2), 1));
        assert!(check(&facts).is_err());
    }
}
