//! What must always hold, as functions.
//!
//! Numbered as in the design, so that a property test, the model checker, the
//! simulator and a person speak of the same thing. Each takes plain facts, so
//! that whoever watches a cluster can call it: a test that owns the machines, or
//! a checker that only has their answers.
//!
//! Outcomes that an operator set by hand are outside I1 and I2: they are allowed
//! to differ, and are recorded as damage instead.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;

use crate::id::{AttemptId, ParticipantName, SagaId, TransactionId};
use crate::lock::{LockKey, Mode};
use crate::message::Outcome;
use crate::participant::Participant;
use crate::participant::view::Standing;
use crate::resource::Resource;
use crate::saga::{Ended, State, StepName, View};

/// An invariant that does not hold, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant} does not hold: {story}")]
pub struct Violation {
    /// Its number and name.
    pub invariant: &'static str,
    /// What was seen.
    pub story: String,
}

fn violated(invariant: &'static str, story: String) -> Result<(), Violation> {
    Err(Violation { invariant, story })
}

/// What a node holds to be the outcome of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The node.
    pub node: String,
    /// The attempt.
    pub attempt: AttemptId,
    /// What the node holds.
    pub outcome: Outcome,
}

/// I1 (agreement): no two nodes hold different outcomes for one attempt.
///
/// # Errors
/// The two nodes that differ.
pub fn agreement(claims: impl IntoIterator<Item = Claim>) -> Result<(), Violation> {
    let mut first: BTreeMap<AttemptId, Claim> = BTreeMap::new();
    for claim in claims {
        let known = first.entry(claim.attempt).or_insert_with(|| claim.clone());
        if known.outcome != claim.outcome {
            let story = format!(
                "attempt {} is {:?} at {} and {:?} at {}",
                claim.attempt, known.outcome, known.node, claim.outcome, claim.node
            );
            return violated("I1 (agreement)", story);
        }
    }
    Ok(())
}

/// A decision to commit, and what each participant asked had said before it.
#[derive(Clone, Debug)]
pub struct Unanimity<'a> {
    /// The attempt that was decided.
    pub attempt: AttemptId,
    /// Everyone who was asked to vote.
    pub asked: &'a BTreeSet<ParticipantName>,
    /// Those whose vote was yes or read-only.
    pub in_favour: &'a BTreeSet<ParticipantName>,
}

/// I2 (unanimity): commit only if every participant voted yes or read-only.
///
/// # Errors
/// A participant that was asked and did not.
pub fn unanimity(decision: &Unanimity<'_>) -> Result<(), Violation> {
    match decision.asked.difference(decision.in_favour).next() {
        None => Ok(()),
        Some(silent) => {
            let story = format!(
                "attempt {} commits without a yes of {silent}",
                decision.attempt
            );
            violated("I2 (unanimity)", story)
        }
    }
}

/// I3 (constancy): what was answered to a client stays so.
///
/// # Errors
/// The transaction that was answered in two ways.
pub fn constancy(
    answers: impl IntoIterator<Item = (TransactionId, Outcome)>,
) -> Result<(), Violation> {
    let mut first = BTreeMap::new();
    for (transaction, outcome) in answers {
        let known = *first.entry(transaction).or_insert(outcome);
        if known != outcome {
            let story = format!("{transaction} was {known:?} first and {outcome:?} later");
            return violated("I3 (constancy)", story);
        }
    }
    Ok(())
}

/// I4 (promises): a yes vote survives any crash. `promised` are the attempts this
/// participant said yes to.
///
/// # Errors
/// A promise of which nothing is left.
pub fn promises_kept<R: Resource>(
    participant: &Participant<R>,
    promised: impl IntoIterator<Item = AttemptId>,
) -> Result<(), Violation> {
    let standings: BTreeMap<AttemptId, Standing> = participant
        .attempts()
        .map(|view| (view.attempt, view.standing))
        .collect();
    for attempt in promised {
        let kept = match standings.get(&attempt) {
            Some(Standing::Prepared | Standing::Ended(_) | Standing::ByHand(_)) => true,
            Some(Standing::Active | Standing::Holding | Standing::Declined | Standing::Read) => {
                false
            }
            // Forgotten, as it may be once its coordinator is past it.
            None => participant.is_past(attempt),
        };
        if !kept {
            let story = format!(
                "participant {} voted yes on attempt {attempt} and now holds it as {:?}",
                participant.settings().name,
                standings.get(&attempt)
            );
            return violated("I4 (promises)", story);
        }
    }
    Ok(())
}

/// I5 (prepared locks): prepared attempts keep their locks. `promised` are the
/// locks that the records of prepared attempts name.
///
/// # Errors
/// A lock that is not held.
pub fn prepared_locks<'a, R: Resource>(
    participant: &Participant<R>,
    promised: impl IntoIterator<Item = (AttemptId, &'a [(LockKey, Mode)])>,
) -> Result<(), Violation> {
    let prepared: BTreeSet<AttemptId> = participant
        .attempts()
        .filter(|view| view.standing == Standing::Prepared)
        .map(|view| view.attempt)
        .collect();
    for (attempt, locks) in promised {
        let mut locks = locks.iter().filter(|_| prepared.contains(&attempt));
        if let Some((key, mode)) =
            locks.find(|(key, mode)| !participant.locks().holds(attempt, key, *mode))
        {
            let story = format!("attempt {attempt} is prepared without its {mode:?} lock on {key}");
            return violated("I5 (prepared locks)", story);
        }
    }
    Ok(())
}

/// I6 (no leaked lock): no lock without a live attempt.
///
/// # Errors
/// The attempt that is over and still holds something.
pub fn no_leaked_lock<R: Resource>(participant: &Participant<R>) -> Result<(), Violation> {
    match participant
        .locks()
        .holders()
        .find(|holder| !participant.keeps_locks(*holder))
    {
        None => Ok(()),
        Some(holder) => {
            let story = format!(
                "attempt {holder} is over at {}",
                participant.settings().name
            );
            violated("I6 (no leaked lock)", story)
        }
    }
}

/// I9 (once): a transaction id is applied at most once, that is by at most one
/// attempt. `applied` is every commit of every participant.
///
/// # Errors
/// The transaction that two attempts have applied.
pub fn once(
    applied: impl IntoIterator<Item = (TransactionId, AttemptId)>,
) -> Result<(), Violation> {
    let mut first = BTreeMap::new();
    for (transaction, attempt) in applied {
        let known = *first.entry(transaction).or_insert(attempt);
        if known != attempt {
            let story = format!("{transaction} was applied by attempts {known} and {attempt}");
            return violated("I9 (once)", story);
        }
    }
    Ok(())
}

/// I10 (liveness), of a participant: when all faults are healed nothing stays in doubt,
/// and no lock stays held.
///
/// # Errors
/// An attempt that is not over, or one that holds a lock.
pub fn all_is_over<R: Resource>(participant: &Participant<R>) -> Result<(), Violation> {
    let name = &participant.settings().name;
    let live = participant.attempts().find(|view| match view.standing {
        Standing::Active | Standing::Holding | Standing::Prepared | Standing::ByHand(_) => true,
        Standing::Ended(_) | Standing::Declined | Standing::Read => false,
    });
    if let Some(view) = live {
        let story = format!("{} is {:?} at {name}", view.attempt, view.standing);
        return violated("I10 (liveness)", story);
    }
    match participant.locks().holders().next() {
        None => Ok(()),
        Some(holder) => violated("I10 (liveness)", format!("{holder} holds a lock at {name}")),
    }
}

/// I10 (liveness), of a saga: when all faults are healed it ends, or is stuck with an
/// alarm. `alarmed`: people were told that it waits for them.
///
/// # Errors
/// The saga that does neither.
pub fn saga_rests(saga: &View, alarmed: bool) -> Result<(), Violation> {
    let id = saga.saga;
    match saga.state {
        State::Completed | State::Compensated => Ok(()),
        State::Stuck if alarmed => Ok(()),
        State::Stuck => {
            let story = format!("saga {id} is stuck, and nobody was alarmed");
            violated("I10 (liveness)", story)
        }
        State::Running | State::Compensating => {
            let story = format!("saga {id} is still {}", saga.state);
            violated("I10 (liveness)", story)
        }
    }
}

/// What there is of a step of a saga that has ended, by one account of it: that of the
/// coordinator's log, or that of a participant's data.
#[derive(Clone, Copy, Debug)]
pub struct StepSum<'a> {
    /// The step.
    pub step: &'a StepName,
    /// How often it took effect, less how often that was taken back.
    pub effects: i64,
    /// It has a compensation.
    pub has_compensation: bool,
}

/// I12 (sagas): a saga that was compensated leaves the sum of its effects zero, and one
/// that completed has each of them once. Steps that people have settled by their word
/// are outside of it.
///
/// # Errors
/// The step of which something is left, is missing, or is there more than once.
pub fn saga_sums<'a>(
    saga: SagaId,
    ended: Ended,
    sums: impl IntoIterator<Item = StepSum<'a>>,
) -> Result<(), Violation> {
    let wrong = |it: &StepSum<'_>| match ended {
        Ended::Completed => it.effects != 1,
        Ended::Compensated if it.has_compensation => it.effects != 0,
        // It only reads, or comes after a pivot: nothing of it is to be taken back.
        Ended::Compensated => !(0..=1).contains(&it.effects),
    };
    match sums.into_iter().find(wrong) {
        None => Ok(()),
        Some(StepSum { step, effects, .. }) => {
            let how = match ended {
                Ended::Completed => "completed",
                Ended::Compensated => "compensated",
            };
            let story = format!("saga {saga} is {how}, and step {step} is there {effects} times");
            violated("I12 (sagas)", story)
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::id::{CoordinatorId, Epoch, Position, Sequence};
    use crate::time::Millis;

    fn attempt(sequence: u64) -> AttemptId {
        let coordinator = CoordinatorId::new(uuid::Uuid::from_u128(1));
        let position = Position {
            epoch: Epoch(1),
            sequence: Sequence(sequence),
        };
        AttemptId {
            coordinator,
            position,
        }
    }

    fn claim(node: &str, sequence: u64, outcome: Outcome) -> Claim {
        Claim {
            node: node.into(),
            attempt: attempt(sequence),
            outcome,
        }
    }

    #[test]
    fn two_nodes_that_differ_break_agreement() {
        let same = [
            claim("a", 1, Outcome::Committed),
            claim("b", 1, Outcome::Committed),
        ];
        assert_eq!(agreement(same), Ok(()));
        let others = [
            claim("a", 1, Outcome::Committed),
            claim("b", 2, Outcome::Aborted),
        ];
        assert_eq!(agreement(others), Ok(()));
        let split = [
            claim("a", 1, Outcome::Committed),
            claim("b", 1, Outcome::Aborted),
        ];
        assert!(agreement(split).is_err());
    }

    #[test]
    fn a_silent_participant_breaks_unanimity() {
        let name = |name: &str| ParticipantName::new(name).expect("a name");
        let asked = BTreeSet::from([name("a"), name("b")]);
        let some = BTreeSet::from([name("a")]);
        let all = Unanimity {
            attempt: attempt(1),
            asked: &asked,
            in_favour: &asked,
        };
        assert_eq!(unanimity(&all), Ok(()));
        assert!(
            unanimity(&Unanimity {
                in_favour: &some,
                ..all
            })
            .is_err()
        );
    }

    #[test]
    fn a_changed_answer_breaks_constancy_and_a_second_attempt_breaks_once() {
        let id = TransactionId::from_parts(Millis(1), 1);
        assert_eq!(
            constancy([(id, Outcome::Aborted), (id, Outcome::Aborted)]),
            Ok(())
        );
        assert!(constancy([(id, Outcome::Aborted), (id, Outcome::Committed)]).is_err());
        assert_eq!(once([(id, attempt(1)), (id, attempt(1))]), Ok(()));
        assert!(once([(id, attempt(1)), (id, attempt(2))]).is_err());
    }

    fn saga(state: State) -> View {
        View {
            saga: SagaId::from_parts(Millis(1), 1),
            label: String::new(),
            state,
            cause: None,
            stuck: None,
            beyond_pivot: false,
            started_at: Millis(1),
            turned_at: None,
            ended_at: None,
            steps: Vec::new(),
            hands: Vec::new(),
        }
    }

    #[test]
    fn a_saga_that_neither_ends_nor_calls_for_people_breaks_liveness() {
        for state in [State::Completed, State::Compensated] {
            assert_eq!(saga_rests(&saga(state), false), Ok(()));
        }
        for state in [State::Running, State::Compensating] {
            assert!(saga_rests(&saga(state), true).is_err());
        }
        assert_eq!(saga_rests(&saga(State::Stuck), true), Ok(()));
        assert!(saga_rests(&saga(State::Stuck), false).is_err());
    }

    #[test]
    fn a_sum_that_is_not_that_of_its_end_breaks_sagas() {
        let id = SagaId::from_parts(Millis(1), 1);
        let step = StepName::new("pay").expect("a name");
        let holds = |ended, effects, has_compensation| {
            let sum = StepSum {
                step: &step,
                effects,
                has_compensation,
            };
            saga_sums(id, ended, [sum]).is_ok()
        };
        let times = |ended, back| [-1, 0, 1, 2].map(|effects| holds(ended, effects, back));
        let once_only = [false, false, true, false];
        assert_eq!(times(Ended::Completed, true), once_only);
        assert_eq!(times(Ended::Completed, false), once_only);
        assert_eq!(times(Ended::Compensated, true), [false, true, false, false]);
        assert_eq!(times(Ended::Compensated, false), [false, true, true, false]);
    }
}
