//! Deadlocks: who waits for whom is told, and a wait that is part of a circle gives
//! way. Who has no such calls is right as well: there a circle lasts until a lock
//! wait runs out.

use nemcon_core::message::{Answer, Payload, Vote};
use nemcon_core::reason::Reason;
use nemcon_core::time::Span;

use super::interactive::then;
use crate::check::rule::{Ended, Told, broken, rules};
use crate::check::stage::{Pending, Stage, Try, shown, yes};

rules! {
    "waits-told" "Who waits for whom is told while it waits, and not after" told,
    "wait-fails" "FailWait ends the very wait: DEADLOCK, which can be tried again" fails,
    "wait-is-over" "FailWait of another wait, or of another boot, ends nothing" over,
    "circle" "A circle within the participant is broken at once; the youngest gives way" circle,
}

/// A wait that is longer than a story.
const LONG: Span = Span(6_000);

/// One that is prepared, and one that waits for it.
async fn queue(stage: &mut Stage) -> Told<(Try, Try, Pending)> {
    // Before anybody waits: whoever has no such call is not asked for more.
    stage.waits().await?;
    let first = stage.write();
    stage.promised(&first).await?;
    let second = stage.write().waiting(LONG);
    let pending = stage.start(stage.asks_to_prepare(&second));
    Ok((first, second, pending))
}

async fn told(stage: &mut Stage) -> Told {
    let (first, second, pending) = queue(stage).await?;
    let wait = stage.wait_of(second.attempt, first.attempt).await?;
    let (party, transaction) = (wait.party, second.transaction);
    if (party.transaction, party.age) != (transaction, transaction) {
        return Err(broken!(
            "GetWaitsForEdges says that {} waits, first tried as {}; it is {transaction}",
            party.transaction,
            party.age
        ));
    }
    stage.abort(first.attempt).await?;
    yes(&pending.answer().await?)?;
    let report = stage.waits().await?;
    let still = |attempt| {
        let mut waiters = report.queues.iter().flat_map(|queue| &queue.waiters);
        waiters.any(|it| it.owner.attempt == attempt)
    };
    if still(second.attempt) {
        return Err(broken!(
            "GetWaitsForEdges still tells of a wait after it ended with a vote"
        ));
    }
    Ok(())
}

/// Demands that an attempt gave way.
fn gave_way(answer: &Answer<Payload>, when: &str) -> Told {
    let refusal = match answer {
        Answer::Voted {
            vote: Vote::No(refusal),
            ..
        }
        | Answer::Executed {
            results: Err(refusal),
            ..
        } => Some(refusal),
        _ => None,
    };
    match refusal {
        Some(refusal) if refusal.reason == Reason::DEADLOCK && refusal.retryable => Ok(()),
        _ => {
            let said = shown(answer);
            Err(broken!(
                "{when}, it was answered with {said}; want DEADLOCK, which can be tried again"
            ))
        }
    }
}

async fn fails(stage: &mut Stage) -> Told {
    let (first, second, pending) = queue(stage).await?;
    let wait = stage.wait_of(second.attempt, first.attempt).await?;
    if !stage.fail_wait(&wait, stage.boot, wait.number).await? {
        return Err(broken!(
            "FailWait of a wait that had just been told was answered with false"
        ));
    }
    gave_way(&pending.answer().await?, "after FailWait")?;
    if stage.fail_wait(&wait, stage.boot, wait.number).await? {
        return Err(broken!(
            "FailWait of a wait that had ended was answered with true"
        ));
    }
    stage.locks_are_held("while the first is prepared").await?;
    stage.abort(first.attempt).await?;
    stage.locks_are_free("after both had ended").await
}

async fn over(stage: &mut Stage) -> Told {
    let (first, second, pending) = queue(stage).await?;
    let wait = stage.wait_of(second.attempt, first.attempt).await?;
    let others = [
        (stage.boot, wait.number.wrapping_add(1)),
        (stage.boot.next(), wait.number),
    ];
    for (boot, number) in others {
        if stage.fail_wait(&wait, boot, number).await? {
            return Err(broken!(
                "FailWait of wait {number} of boot {boot} was answered with true; there was none"
            ));
        }
    }
    stage.abort(first.attempt).await?;
    yes(&pending.answer().await?)
}

async fn circle(stage: &mut Stage) -> Told {
    let readers = [
        stage.read_beside_writers().waiting(LONG),
        stage.read_beside_writers(),
    ];
    stage.done(&readers[0], 1).await?;
    if stage.piece(&readers[1], 1).await?.is_err() {
        return Err(Ended::Skipped("readers keep readers out"));
    }
    // Both want to write what both have read.
    let mut pending = Vec::new();
    for reader in &readers {
        let next = stage.write().waiting(LONG);
        stage.close(next.attempt);
        let next = then(reader, next);
        pending.push(stage.start(stage.asks_to_execute(&next, 2)));
    }
    let [one, other] = readers;
    let mut pending = pending.into_iter();
    let (Some(of_one), Some(of_other)) = (pending.next(), pending.next()) else {
        return Ok(());
    };
    let older_is_one = one.transaction < other.transaction;
    let (of_older, of_younger, younger) = if older_is_one {
        (of_one, of_other, other)
    } else {
        (of_other, of_one, one)
    };
    let begun = tokio::time::Instant::now();
    gave_way(&of_younger.answer().await?, "as the youngest in a circle")?;
    let waited = begun.elapsed().as_millis();
    if waited > 1_000 {
        return Err(broken!(
            "a circle within the participant lasted {waited} ms"
        ));
    }
    stage.abort(younger.attempt).await?;
    match stage.brought(of_older.answer().await?, 2)? {
        Ok(_) => Ok(()),
        Err(refusal) => Err(broken!(
            "the older in a circle was refused as well ({refusal})"
        )),
    }
}
