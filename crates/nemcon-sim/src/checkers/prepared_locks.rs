//! I5 (prepared locks): prepared attempts keep the locks that their records name.

use std::collections::BTreeMap;

use nemcon_core::id::AttemptId;
use nemcon_core::invariants::{self, Violation};
use nemcon_core::participant::Participant;
use nemcon_core::resource::Resource;

use crate::world::Locks;

/// Looks at all that is prepared at one participant.
pub(crate) fn check<R: Resource>(
    machine: &Participant<R>,
    promised: &BTreeMap<AttemptId, Locks>,
) -> Result<(), Violation> {
    let promised = promised.iter().map(|(id, locks)| (*id, locks.as_slice()));
    invariants::prepared_locks(machine, promised)
}

#[cfg(test)]
mod tests {
    use nemcon_core::lock::Mode;

    use super::super::stand_in::{attempt, key, promised};
    use super::*;

    #[test]
    fn a_prepared_attempt_without_its_lock_is_found() {
        let machine = promised(attempt(1));
        let lock = |number| vec![(key(number), Mode::Exclusive)];
        let held = [(attempt(1), lock(1))].into();
        assert_eq!(check(&machine, &held), Ok(()));
        let missing = [(attempt(1), lock(2))].into();
        assert!(check(&machine, &missing).is_err());
    }
}
