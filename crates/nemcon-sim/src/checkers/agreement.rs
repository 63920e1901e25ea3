//! I1 (agreement): no two nodes hold different outcomes for an attempt.

use nemcon_core::invariants::{self, Claim};
use nemcon_core::participant::view::{AttemptView, Standing};

use super::Failure;
use crate::subject::Subject;
use crate::world::World;
use crate::world::border::coordinator_of;

/// Compares what all nodes hold now, and what was decided.
pub(crate) fn check<S: Subject>(world: &World<'_, S>) -> Result<(), Failure> {
    Ok(invariants::agreement(claims(world))?)
}

fn claims<S: Subject>(world: &World<'_, S>) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (at, node) in world.participants.iter().enumerate() {
        let Some(machine) = node.machine() else {
            continue;
        };
        for view in machine.attempts() {
            if let Standing::Ended(outcome) = view.standing {
                claims.push(Claim {
                    node: format!("p{at}"),
                    attempt: view.attempt,
                    outcome,
                });
                claims.extend(of_coordinator(world, &view));
            }
        }
    }
    claims
}

/// What the attempt's coordinator holds, if it says.
///
/// A one-phase outcome is the participant's alone. And once the coordinator has
/// forgotten a transaction that everyone has acknowledged, its "aborted" is no
/// claim: nobody can be in doubt about it.
fn of_coordinator<S: Subject>(world: &World<'_, S>, view: &AttemptView) -> Option<Claim> {
    if !world.facts.asked.contains_key(&view.attempt) {
        return None;
    }
    let owner = coordinator_of(view.attempt);
    let node = world.coordinators.get(owner)?;
    let machine = node.machine().filter(|_| node.is_serving())?;
    let known = machine.look_up(view.transaction).is_some();
    if !known && machine.may_have_forgotten(view.transaction) {
        return None;
    }
    let outcome = machine.verdict(view.attempt.position).outcome()?;
    Some(Claim {
        node: format!("c{owner}"),
        attempt: view.attempt,
        outcome,
    })
}
