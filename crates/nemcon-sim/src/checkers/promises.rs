//! I4 (promises): a yes vote survives any crash.

use std::collections::BTreeSet;

use nemcon_core::id::AttemptId;
use nemcon_core::invariants;
use nemcon_core::participant::Participant;
use nemcon_core::resource::Resource;

use super::Failure;

/// Looks for every attempt this participant has said yes to.
pub(crate) fn check<R: Resource>(
    machine: &Participant<R>,
    promised: &BTreeSet<AttemptId>,
) -> Result<(), Failure> {
    Ok(invariants::promises_kept(
        machine,
        promised.iter().copied(),
    )?)
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::{attempt, promised};
    use super::*;

    #[test]
    fn a_promise_of_which_nothing_is_left_is_found() {
        let machine = promised(attempt(1));
        assert_eq!(check(&machine, &[attempt(1)].into()), Ok(()));
        assert!(check(&machine, &[attempt(1), attempt(2)].into()).is_err());
    }
}
