//! I2 (unanimity): commit only if every participant voted yes or read-only.

use std::collections::BTreeSet;

use nemcon_core::id::{AttemptId, Position};
use nemcon_core::invariants::{self, Unanimity, Violation};

use crate::world::Facts;
use crate::world::border::identity;

/// Looks at one decision of a coordinator.
pub(crate) fn check(facts: &Facts, coordinator: usize, decided: Position) -> Result<(), Violation> {
    let attempt = AttemptId {
        coordinator: identity(coordinator),
        position: decided,
    };
    // A checkpoint repeats decisions without their voters; so do we, and they
    // pass again.
    let Some(asked) = facts.asked.get(&attempt) else {
        return Ok(());
    };
    let nobody = BTreeSet::new();
    invariants::unanimity(&Unanimity {
        attempt,
        asked,
        in_favour: facts.in_favour.get(&attempt).unwrap_or(&nobody),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::border::name;
    use nemcon_core::id::{Epoch, Sequence};

    #[test]
    fn a_decision_without_a_vote_is_found() {
        let position = Position {
            epoch: Epoch(1),
            sequence: Sequence(1),
        };
        let attempt = AttemptId {
            coordinator: identity(0),
            position,
        };
        let mut facts = Facts::new(2);
        facts.asked.insert(attempt, [name(0), name(1)].into());
        facts.in_favour.insert(attempt, [name(0)].into());
        assert!(check(&facts, 0, position).is_err());
        facts.in_favour.insert(attempt, [name(0), name(1)].into());
        assert_eq!(check(&facts, 0, position), Ok(()));
    }
}
