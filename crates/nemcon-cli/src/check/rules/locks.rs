//! Locks: held as long as they are promised, and not longer.

use nemcon_core::message::{Answer, Payload, Vote};
use nemcon_core::time::Span;

use crate::check::rule::{Told, broken, rules};
use crate::check::stage::{HASTY, Stage, not_yes, shown, yes};

rules! {
    "locks-held" "What is prepared keeps its locks; others wait no longer than they may" held,
    "waiting-again" "A Prepare sent again joins the one that waits, and gets its vote" waiting_again,
    "abort-waiting" "An Abort ends work that waits, and its lock goes to nobody" abort_waiting,
    "reader-holds" "A transaction that only reads keeps its locks until Release" reader_holds,
    "release-unknown" "Release of what is not held is answered without a boot" release_unknown,
    "reader-prepares" "Who reads beside writers prepares like a writer" reader_prepares,
}

/// A wait that is long enough for the other messages of a story.
const LONG: Span = Span(4_000);

async fn held(stage: &mut Stage) -> Told {
    let first = stage.write();
    stage.promised(&first).await?;
    let begun = tokio::time::Instant::now();
    stage.locks_are_held("while one is prepared").await?;
    let waited = begun.elapsed().as_millis();
    let (allowed, grace) = (u128::from(HASTY.0), 1_500);
    if waited > allowed + grace {
        return Err(broken!(
            "a Prepare that may wait {allowed} ms for a lock was answered after {waited} ms"
        ));
    }
    stage.abort(first.attempt).await?;
    stage
        .locks_are_free("after the one before was aborted")
        .await
}

async fn waiting_again(stage: &mut Stage) -> Told {
    let first = stage.write();
    stage.promised(&first).await?;
    let second = stage.write().waiting(LONG);
    let both = [
        stage.start(stage.asks_to_prepare(&second)),
        stage.start(stage.asks_to_prepare(&second)),
    ];
    stage.abort(first.attempt).await?;
    let mut answers = Vec::new();
    for pending in both {
        answers.push(pending.answer().await?);
    }
    // Nobody has to wait: to say at once that it is locked is right as well.
    if answers.iter().all(is_no) {
        return Ok(());
    }
    for answer in &answers {
        yes(answer)?;
    }
    stage.commit(second.attempt).await?;
    let once = stage.state().await?;
    stage.commit(second.attempt).await?;
    stage.unchanged_from(&once, "after a second Commit").await
}

fn is_no(answer: &Answer<Payload>) -> bool {
    matches!(
        answer,
        Answer::Voted {
            vote: Vote::No(_),
            ..
        }
    )
}

async fn abort_waiting(stage: &mut Stage) -> Told {
    let first = stage.write();
    stage.promised(&first).await?;
    let second = stage.write().waiting(LONG);
    let waiting = stage.start(stage.asks_to_prepare(&second));
    stage.abort(second.attempt).await?;
    stage.abort(first.attempt).await?;
    // The Abort may have overtaken the Prepare: then this is its answer as well.
    not_yes(&waiting.answer().await?, "aborted while it waited")?;
    stage
        .locks_are_free("after one that waited was aborted")
        .await
}

async fn reader_holds(stage: &mut Stage) -> Told {
    let reader = stage.read();
    let answer = stage.prepare(&reader).await?;
    let Answer::Voted {
        vote: Vote::ReadOnly(_),
        ..
    } = &answer
    else {
        let said = shown(&answer);
        return Err(broken!(
            "a transaction that only reads got {said}; want VOTE_READ_ONLY"
        ));
    };
    stage.locks_are_held("before Release").await?;
    let own = stage.boot;
    match stage.release(reader.attempt).await? {
        Some(boot) if boot == own => {}
        other => {
            let other = other.map_or(0, |boot| boot.0);
            return Err(broken!(
                "Release was answered with boot {other}; the locks were held in boot {own}"
            ));
        }
    }
    stage.locks_are_free("after Release").await
}

async fn release_unknown(stage: &mut Stage) -> Told {
    let reader = stage.read();
    match stage.release(reader.attempt).await? {
        None => Ok(()),
        Some(boot) => Err(broken!(
            "Release of an attempt that was never prepared was answered with boot {boot}"
        )),
    }
}

async fn reader_prepares(stage: &mut Stage) -> Told {
    let reader = stage.read_beside_writers();
    stage.promised(&reader).await?;
    stage
        .locks_are_held("while a reader beside writers is prepared")
        .await?;
    stage.commit(reader.attempt).await?;
    stage.locks_are_free("after its Commit").await
}
