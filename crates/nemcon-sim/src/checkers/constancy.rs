//! I3 (constancy): what was answered to a client stays so.

use nemcon_core::invariants;

use super::Failure;
use crate::plan::What;
use crate::subject::Subject;
use crate::world::World;

/// Looks at all answers so far. Transactions that only read are exempt: after a
/// restart a repeat reads again.
pub(crate) fn check<S: Subject>(world: &World<'_, S>) -> Result<(), Failure> {
    let reads = |transaction| {
        let of = world.sessions.iter();
        let mut of = of.filter(|session| session.transaction == transaction);
        of.any(|session| {
            let steps = &world.orders[session.order].steps;
            !steps.iter().any(|step| What::writes(step.what))
        })
    };
    let answers = world.facts.answers.iter().copied();
    let told = invariants::constancy(answers.clone());
    if told.is_err() {
        // Looked up only where something is wrong: it costs more.
        invariants::constancy(answers.filter(|(transaction, _)| !reads(*transaction)))?;
    }
    Ok(())
}
