//! Interactive transactions: work in numbered pieces, which promises nothing until
//! the vote. Who has no `Execute` takes part in one-shot transactions only, and is
//! not asked for any of this.

use nemcon_core::id::Boot;
use nemcon_core::message::{Answer, Vote};
use nemcon_core::reason::Reason;
use nemcon_core::time::Span;

use super::alone::HASH;
use crate::check::rule::{Ended, Told, broken, rules};
use crate::check::stage::{Stage, Try, committed, not_yes, yes};

rules! {
    "piece" "A piece keeps what it locked, and the next sees what it changed" piece,
    "pieces-commit" "Prepare of all pieces is a vote, and its Commit applies them" commit,
    "pieces-one-phase" "CommitOnePhase of all pieces is decided and done at once" one_phase,
    "pieces-abort" "An Abort undoes all pieces" abort,
    "piece-again" "A piece that is sent again is answered from memory" again,
    "piece-joins" "A piece sent again joins the one that waits" joins,
    "piece-gap" "A piece that does not follow is refused: WORK_LOST" gap,
    "piece-count" "Prepare with another number of pieces is a vote no" count,
    "piece-boot" "Prepare with pieces of another boot is a vote no" boot,
    "piece-refused" "A piece that is refused ends its attempt" refused,
    "piece-after-abort" "An Abort that overtakes the first piece wins" after_abort,
    "piece-epoch" "A newer epoch ends pieces that are not prepared" epoch,
    "pieces-reader" "Pieces that only read need no second phase" reader,
    "lock-by-name" "A lock that is taken by its name keeps others out, and tokens rise" by_name,
}

/// A wait that is long enough for the other messages of a story.
const LONG: Span = Span(4_000);

/// The next piece of an attempt: the same one, doing something else.
pub(super) fn then(work: &Try, next: Try) -> Try {
    Try {
        attempt: work.attempt,
        transaction: work.transaction,
        ..next
    }
}

/// The next piece reads. The attempt that was opened for it goes at once.
fn then_reads(stage: &mut Stage, work: &Try) -> Try {
    let next = stage.read_beside_writers();
    stage.close(next.attempt);
    then(work, next)
}

async fn piece(stage: &mut Stage) -> Told {
    let before = stage.state().await?;
    let work = stage.write();
    stage.done(&work, 1).await?;
    stage.locks_are_held("after a piece that writes").await?;
    let look = then_reads(stage, &work);
    let seen = stage.done(&look, 2).await?;
    if seen == [before] {
        return Err(broken!(
            "a piece that writes was done, and --read in the next gave the same as before"
        ));
    }
    Ok(())
}

async fn commit(stage: &mut Stage) -> Told {
    let before = stage.state().await?;
    let work = stage.write();
    stage.done(&work, 1).await?;
    let look = then_reads(stage, &work);
    stage.done(&look, 2).await?;
    yes(&stage
        .send(stage.asks_about_pieces(&work, stage.boot, 2))
        .await?)?;
    stage.locks_are_held("while pieces are prepared").await?;
    stage.commit(work.attempt).await?;
    let once = stage.state().await?;
    if once == before {
        return Err(broken!(
            "after the Commit of a piece that writes, --read gave the same as before"
        ));
    }
    stage.commit(work.attempt).await?;
    stage.unchanged_from(&once, "after a second Commit").await
}

async fn one_phase(stage: &mut Stage) -> Told {
    let before = stage.state().await?;
    let work = stage.write();
    stage.done(&work, 1).await?;
    for _ in 0..2 {
        let answer = stage.decide_pieces(&work, 1, HASH).await?;
        committed(&answer, "CommitOnePhase of one piece")?;
    }
    if stage.state().await? == before {
        return Err(broken!(
            "after CommitOnePhase of a piece that writes, --read gave the same as before"
        ));
    }
    Ok(())
}

async fn abort(stage: &mut Stage) -> Told {
    let before = stage.state().await?;
    let work = stage.write();
    stage.done(&work, 1).await?;
    stage.done(&work, 2).await?;
    stage.abort(work.attempt).await?;
    stage
        .unchanged_from(&before, "after the Abort of two pieces")
        .await?;
    stage.locks_are_free("after the Abort of two pieces").await
}

async fn again(stage: &mut Stage) -> Told {
    let work = stage.write();
    let first = stage.done(&work, 1).await?;
    let same = |what: &str, first: &_, again: &_| {
        if first == again {
            return Ok(());
        }
        Err(broken!("{what} sent again brought other results"))
    };
    same("a piece that writes", &first, &stage.done(&work, 1).await?)?;
    let look = then_reads(stage, &work);
    let seen = stage.done(&look, 2).await?;
    same("a piece that reads", &seen, &stage.done(&look, 2).await?)?;
    // A late repeat changes nothing, whatever it is answered.
    let _ = stage.piece(&work, 1).await?;
    let after = stage.done(&look, 3).await?;
    if after == seen {
        return Ok(());
    }
    Err(broken!(
        "after a late repeat of a piece that writes, --read gave something else than before"
    ))
}

async fn joins(stage: &mut Stage) -> Told {
    let first = stage.write();
    stage.promised(&first).await?;
    let second = stage.write().waiting(LONG);
    let both = [
        stage.start(stage.asks_to_execute(&second, 1)),
        stage.start(stage.asks_to_execute(&second, 1)),
    ];
    stage.abort(first.attempt).await?;
    let mut brought = Vec::new();
    for pending in both {
        brought.push(stage.brought(pending.answer().await?, 1)?);
    }
    match brought.as_slice() {
        [Ok(one), Ok(other)] if one == other => Ok(()),
        // Nobody has to wait: to say at once that it is locked is right as well.
        [Err(one), Err(other)] if one.retryable && other.retryable => Ok(()),
        _ => Err(broken!(
            "a piece that waited and its repeat were answered differently"
        )),
    }
}

async fn gap(stage: &mut Stage) -> Told {
    let unknown = stage.write();
    let lost = stage
        .not_done(&unknown, 2, "of an attempt that is not known")
        .await?;
    let known = stage.write();
    stage.done(&known, 1).await?;
    let skipped = stage.not_done(&known, 3, "after the first").await?;
    for refusal in [lost, skipped] {
        if refusal.reason != Reason::WORK_LOST {
            return Err(broken!(
                "a piece that does not follow was refused ({refusal}); want WORK_LOST"
            ));
        }
    }
    stage.abort(known.attempt).await?;
    stage
        .locks_are_free("after pieces that did not follow")
        .await
}

/// Demands a vote no on pieces, and that nothing stays of them.
async fn not_prepared(stage: &mut Stage, work: &Try, boot: Boot, count: u32, when: &str) -> Told {
    let question = stage.asks_about_pieces(work, boot, count);
    not_yes(&stage.send(question).await?, when)?;
    stage.abort(work.attempt).await?;
    stage
        .locks_are_free("after a vote no on pieces, and its Abort")
        .await
}

async fn count(stage: &mut Stage) -> Told {
    let work = stage.write();
    stage.done(&work, 1).await?;
    not_prepared(stage, &work, stage.boot, 2, "about two pieces, one done,").await?;
    let work = stage.write();
    stage.done(&work, 1).await?;
    stage.done(&work, 2).await?;
    not_prepared(stage, &work, stage.boot, 1, "about one piece, two done,").await
}

async fn boot(stage: &mut Stage) -> Told {
    let work = stage.write();
    stage.done(&work, 1).await?;
    let other = stage.boot.next();
    not_prepared(stage, &work, other, 1, "about a piece of another boot,").await
}

async fn refused(stage: &mut Stage) -> Told {
    let before = stage.state().await?;
    let work = stage.write();
    stage.done(&work, 1).await?;
    let no = stage.refused()?;
    stage.close(no.attempt);
    let no = then(&work, no);
    stage.not_done(&no, 2, "--refused was asked for:").await?;
    let question = stage.asks_about_pieces(&work, stage.boot, 2);
    not_yes(&stage.send(question).await?, "after a piece was refused,")?;
    stage.abort(work.attempt).await?;
    stage
        .unchanged_from(&before, "after a piece that was refused")
        .await?;
    stage.locks_are_free("after a piece that was refused").await
}

async fn after_abort(stage: &mut Stage) -> Told {
    let work = stage.write();
    stage.abort(work.attempt).await?;
    stage.not_done(&work, 1, "after an Abort").await?;
    stage
        .locks_are_free("after an Abort that overtook the first piece")
        .await
}

async fn epoch(stage: &mut Stage) -> Told {
    let work = stage.write();
    stage.done(&work, 1).await?;
    stage.enter_epoch();
    stage.hello().await?;
    stage
        .locks_are_free("after a newer epoch of a coordinator whose pieces were not prepared")
        .await
}

async fn reader(stage: &mut Stage) -> Told {
    let reader = stage.read();
    let seen = stage.done(&reader, 1).await?;
    let question = stage.asks_about_pieces(&reader, stage.boot, 1);
    let answer = stage.send(question).await?;
    let Answer::Voted { vote, .. } = &answer else {
        return yes(&answer);
    };
    match vote {
        // To promise is right as well.
        Vote::ReadOnly(_) | Vote::Yes(_) => {}
        Vote::No(refusal) => {
            return Err(broken!("a piece that only reads got a vote no ({refusal})"));
        }
    }
    if matches!(vote, Vote::Yes(_)) {
        stage.commit(reader.attempt).await?;
    }
    stage
        .locks_are_free("after the vote on pieces that only read")
        .await?;
    stage
        .unchanged_from(
            seen.first()
                .ok_or_else(|| broken!("a piece that reads brought nothing"))?,
            "in a transaction of its own, right after a piece that reads",
        )
        .await
}

async fn by_name(stage: &mut Stage) -> Told {
    let name = stage.actions.lock.clone();
    let name = name.ok_or(Ended::Skipped("--lock was not given"))?;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let work = stage.write();
        let (first, again) = (
            stage.lock(&work, 1, &name).await?,
            stage.lock(&work, 1, &name).await?,
        );
        let (Ok(first), Ok(again)) = (&first, &again) else {
            return Err(broken!(
                "a lock on {name:?} that nobody holds was not granted"
            ));
        };
        let [token] = first.as_slice() else {
            let count = first.len();
            return Err(broken!("one lock was asked for, and {count} tokens came"));
        };
        if first != again {
            return Err(broken!("AcquireLocks sent again brought other tokens"));
        }
        tokens.push(*token);
        stage
            .locks_are_held("while what --write locks is locked by its name")
            .await?;
        stage.abort(work.attempt).await?;
        stage
            .locks_are_free("after a lock by name was let go")
            .await?;
    }
    if tokens.is_sorted_by(|before, after| before < after) {
        return Ok(());
    }
    Err(broken!(
        "a later holder of {name:?} got a token that is not greater: {tokens:?}"
    ))
}
