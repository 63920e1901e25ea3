//! Votes and outcomes: prepare, commit, abort, each once, twice, late or too early.

use nemcon_core::message::{Answer, Operation, Vote};

use crate::check::rule::{Told, broken, rules};
use crate::check::stage::{Stage, not_yes, shown, yes};

rules! {
    "vote" "A yes vote names its attempt and boot, and has a result for each operation" vote,
    "prepare-again" "A repeated Prepare gets the same vote" prepare_again,
    "commit" "A Commit is applied, and acknowledged" commit,
    "commit-again" "A repeated Commit is acknowledged, and nothing is applied twice" commit_again,
    "prepare-after-commit" "A Prepare that comes after the Commit gets no yes" prepare_after_commit,
    "abort" "An Abort undoes all, and is acknowledged each time" abort,
    "abort-first" "An Abort that overtakes its Prepare wins" abort_first,
    "business-no" "A no of the business is a vote, and leaves nothing behind" business_no,
    "all-or-nothing" "One operation that fails takes the others of its attempt with it" all_or_nothing,
    "invalid-action" "An action that makes no sense is a vote no, not an error" invalid_action,
    "read-only-mark" "A write that is marked read_only is a vote no" read_only_mark,
}

async fn vote(stage: &mut Stage) -> Told {
    let mut work = stage.write();
    work.operations.push(Operation {
        action: Ok(stage.actions.read.clone()),
        read_only: true,
        inputs: Vec::new(),
    });
    match stage.prepare(&work).await? {
        Answer::Voted {
            vote: Vote::Yes(Some(results)),
            ..
        } if results.len() == 2 => Ok(()),
        Answer::Voted {
            vote: Vote::Yes(results),
            ..
        } => {
            let results = results.map_or(0, |results| results.len());
            Err(broken!(
                "two operations, but {results} results with the vote"
            ))
        }
        other => yes(&other),
    }
}

async fn prepare_again(stage: &mut Stage) -> Told {
    let work = stage.write();
    let both = [
        stage.start(stage.asks_to_prepare(&work)),
        stage.start(stage.asks_to_prepare(&work)),
    ];
    for pending in both {
        yes(&pending.answer().await?)?;
    }
    stage.promised(&work).await?;
    let no = stage.nonsense();
    for _ in 0..2 {
        stage
            .not_promised(&no, "asked twice about nonsense")
            .await?;
    }
    Ok(())
}

async fn commit(stage: &mut Stage) -> Told {
    let before = stage.state().await?;
    let work = stage.write();
    stage.promised(&work).await?;
    stage.commit(work.attempt).await?;
    if stage.state().await? != before {
        return Ok(());
    }
    Err(broken!(
        "after a Commit that was acknowledged, --read gave the same as before; it has to read \
         what --write changes, each time that is applied"
    ))
}

async fn commit_again(stage: &mut Stage) -> Told {
    let work = stage.write();
    stage.promised(&work).await?;
    stage.commit(work.attempt).await?;
    let once = stage.state().await?;
    stage.commit(work.attempt).await?;
    stage.unchanged_from(&once, "after a second Commit").await?;
    // Now the floor may pass it, and the participant forget it.
    stage.close(work.attempt);
    stage.hello().await?;
    stage.commit(work.attempt).await?;
    stage
        .unchanged_from(&once, "after a Commit from below the floor")
        .await
}

async fn prepare_after_commit(stage: &mut Stage) -> Told {
    let work = stage.write();
    stage.promised(&work).await?;
    stage.commit(work.attempt).await?;
    let once = stage.state().await?;
    stage.not_promised(&work, "after its Commit").await?;
    stage
        .unchanged_from(&once, "after a Prepare that came too late")
        .await
}

async fn abort(stage: &mut Stage) -> Told {
    let before = stage.state().await?;
    let work = stage.write();
    stage.promised(&work).await?;
    stage.abort(work.attempt).await?;
    stage.unchanged_from(&before, "after an Abort").await?;
    stage.abort(work.attempt).await?;
    stage.not_promised(&work, "after its Abort").await?;
    stage.locks_are_free("after an Abort").await
}

async fn abort_first(stage: &mut Stage) -> Told {
    let work = stage.write();
    stage.abort(work.attempt).await?;
    stage
        .not_promised(&work, "after an Abort that came first")
        .await?;
    stage
        .locks_are_free("after an Abort and its late Prepare")
        .await
}

async fn business_no(stage: &mut Stage) -> Told {
    let work = stage.refused()?;
    let before = stage.state().await?;
    for _ in 0..2 {
        let answer = stage.prepare(&work).await?;
        let Answer::Voted {
            vote: Vote::No(_), ..
        } = &answer
        else {
            let said = shown(&answer);
            return Err(broken!(
                "--refused was answered with {said}; want VOTE_NO with a refusal"
            ));
        };
    }
    stage.locks_are_free("after a vote no").await?;
    stage.abort(work.attempt).await?;
    stage.unchanged_from(&before, "after a vote no").await
}

async fn all_or_nothing(stage: &mut Stage) -> Told {
    let before = stage.state().await?;
    let mut work = stage.write();
    work.operations.extend(stage.nonsense().operations);
    stage
        .not_promised(&work, "with one operation that makes no sense")
        .await?;
    stage.abort(work.attempt).await?;
    stage
        .unchanged_from(&before, "after an attempt that could not be prepared")
        .await
}

async fn invalid_action(stage: &mut Stage) -> Told {
    let work = stage.nonsense();
    let answer = stage.prepare(&work).await?;
    match &answer {
        Answer::Voted {
            vote: Vote::No(_), ..
        } => Ok(()),
        other => {
            let said = shown(other);
            Err(broken!(
                "an action of an unknown type was answered with {said}; want VOTE_NO with the \
                 reason INVALID_ACTION"
            ))
        }
    }
}

async fn read_only_mark(stage: &mut Stage) -> Told {
    let mut work = stage.write();
    work.read_only = true;
    for operation in &mut work.operations {
        operation.read_only = true;
    }
    let answer = stage.prepare(&work).await?;
    not_yes(&answer, "with a write marked read_only")
}
