//! One participant: it decides alone, and remembers for the coordinator.

use nemcon_core::message::{Alone, Answer, OperationsHash, Payload, ToParticipant, Trace};
use nemcon_core::reason::Reason;

use crate::check::rule::{Told, broken, rules};
use crate::check::stage::{Stage, committed, refused, shown};

rules! {
    "one-phase" "CommitOnePhase is decided and done at once, and a repeat is answered alike" one_phase,
    "one-phase-new-attempt" "A new attempt of a decided transaction is answered from memory" new_attempt,
    "one-phase-other" "Other operations under a decided id are refused: TRANSACTION_ID_REUSED" other,
    "one-phase-no" "A no of the business is an outcome, and is remembered" no,
    "inquiry" "An inquiry is answered from memory, and truly" inquiry,
}

/// Fingerprints of two sets of operations.
pub(super) const HASH: u8 = 1;
const OTHER_HASH: u8 = 2;

async fn one_phase(stage: &mut Stage) -> Told {
    let before = stage.state().await?;
    let work = stage.write();
    let first = stage.decide(&work, HASH).await?;
    committed(&first, "CommitOnePhase")?;
    let Answer::DecidedAlone {
        alone: Alone::Committed(results),
        ..
    } = &first
    else {
        return Ok(());
    };
    if results.len() != 1 {
        let results = results.len();
        return Err(broken!("one operation, but {results} results"));
    }
    let once = stage.state().await?;
    if once == before {
        return Err(broken!(
            "after CommitOnePhase, --read gave the same as before"
        ));
    }
    let again = stage.decide(&work, HASH).await?;
    if again != first {
        let (first, again) = (shown(&first), shown(&again));
        return Err(broken!(
            "CommitOnePhase was answered with {first}, its repeat with {again} or other results"
        ));
    }
    stage
        .unchanged_from(&once, "after a second CommitOnePhase")
        .await
}

async fn new_attempt(stage: &mut Stage) -> Told {
    let work = stage.write();
    committed(&stage.decide(&work, HASH).await?, "CommitOnePhase")?;
    stage.close(work.attempt);
    let once = stage.state().await?;
    let mut again = stage.write();
    again.transaction = work.transaction;
    let answer = stage.decide(&again, HASH).await?;
    committed(&answer, "a new attempt of a transaction that had committed")?;
    stage
        .unchanged_from(&once, "after a new attempt of the same transaction")
        .await
}

async fn other(stage: &mut Stage) -> Told {
    let work = stage.write();
    committed(&stage.decide(&work, HASH).await?, "CommitOnePhase")?;
    let mut again = stage.write();
    again.transaction = work.transaction;
    let answer = stage.decide(&again, OTHER_HASH).await?;
    let what = "CommitOnePhase under a used id with another operations_hash";
    refused(&answer, &Reason::TRANSACTION_ID_REUSED, what)
}

async fn no(stage: &mut Stage) -> Told {
    let work = stage.refused()?;
    for _ in 0..2 {
        let answer = stage.decide(&work, HASH).await?;
        let Answer::DecidedAlone {
            alone: Alone::Aborted(_),
            ..
        } = &answer
        else {
            let said = shown(&answer);
            return Err(broken!(
                "--refused was answered with {said}; want OUTCOME_ABORTED with a refusal"
            ));
        };
    }
    stage.locks_are_free("after a no to CommitOnePhase").await
}

async fn inquiry(stage: &mut Stage) -> Told {
    let (done, never_seen) = (stage.write(), stage.write());
    committed(&stage.decide(&done, HASH).await?, "CommitOnePhase")?;
    let answer = stage.send(ToParticipant::Inquire(done.transaction)).await?;
    known(&answer)?;
    let answer = stage
        .send(ToParticipant::Inquire(never_seen.transaction))
        .await?;
    match answer {
        Answer::Traced {
            trace: Trace::None, ..
        } => Ok(()),
        other => {
            let said = shown(&other);
            Err(broken!(
                "an inquiry about a transaction that was never seen was answered with {said}; \
                 want VERDICT_UNKNOWN"
            ))
        }
    }
}

/// Demands that a decision under [`HASH`] is remembered.
pub(super) fn known(answer: &Answer<Payload>) -> Told {
    match answer {
        Answer::Traced {
            trace:
                Trace::Decided {
                    hash: OperationsHash(hash),
                    alone: Alone::Committed(_),
                },
            ..
        } if *hash == [HASH; 32] => Ok(()),
        other => {
            let said = shown(other);
            Err(broken!(
                "an inquiry about a transaction that had committed was answered with {said}; want \
                 VERDICT_COMMITTED with the operations_hash it ran under"
            ))
        }
    }
}
