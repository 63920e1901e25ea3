//! I3 (constancy), in the end: what clients were told is what the logs say. What
//! committed was done at every participant that was to write, what aborted at none.

use std::collections::BTreeSet;

use nemcon_core::id::TransactionId;
use nemcon_core::message::Outcome;

use super::Failure;
use crate::subject::Subject;
use crate::world::World;

const NAME: &str = "I3 (constancy)";

/// Compares every answer with every log.
pub(crate) fn check<S: Subject>(world: &World<'_, S>) -> Result<(), Failure> {
    let applied = world.facts.applied();
    let applied: BTreeSet<(TransactionId, usize)> = applied
        .map(|(transaction, _, at)| (transaction, at))
        .collect();
    for session in &world.sessions {
        let transaction = session.transaction;
        let steps = world.orders[session.order].steps.iter();
        let writers = steps.filter(|step| step.what.writes()).map(|step| step.at);
        let answers = world.facts.answers.iter();
        let mut answers = answers.filter(|(id, _)| *id == transaction);
        if let Some((_, outcome)) = answers.next() {
            told_is_done(transaction, *outcome, writers.collect(), &applied)?;
        }
    }
    Ok(())
}

fn told_is_done(
    transaction: TransactionId,
    outcome: Outcome,
    writers: BTreeSet<usize>,
    applied: &BTreeSet<(TransactionId, usize)>,
) -> Result<(), Failure> {
    let done = |at: &usize| applied.contains(&(transaction, *at));
    let wrong = match outcome {
        Outcome::Committed => writers.into_iter().find(|at| !done(at)),
        Outcome::Aborted => writers.into_iter().find(done),
    };
    let Some(at) = wrong else {
        return Ok(());
    };
    let story = match outcome {
        Outcome::Committed => format!("{transaction} was told committed, and p{at} never did it"),
        Outcome::Aborted => format!("{transaction} was told aborted, and p{at} did it"),
    };
    Err(Failure::new(NAME, story))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nemcon_core::time::Millis;

    #[test]
    fn what_was_told_and_not_done_is_found() {
        let transaction = TransactionId::from_parts(Millis(1), 1);
        let check = |outcome, applied: &[usize]| {
            let applied = applied.iter().map(|at| (transaction, *at)).collect();
            told_is_done(transaction, outcome, [0, 1].into(), &applied)
        };
        assert_eq!(check(Outcome::Committed, &[0, 1]), Ok(()));
        assert!(check(Outcome::Committed, &[0]).is_err());
        assert_eq!(check(Outcome::Aborted, &[]), Ok(()));
        assert!(check(Outcome::Aborted, &[1]).is_err());
    }
}
