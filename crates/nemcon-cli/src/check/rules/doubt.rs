//! In doubt: who has voted yes asks, and nothing but an outcome ends it.

use std::time::Duration;

use nemcon_core::message::{Answer, Verdict, Vote};
use nemcon_core::time::Span;

use crate::check::oracle::{Role, Word};
use crate::check::rule::{Told, broken, rules};
use crate::check::stage::{SOON, Stage, Try, not_yes};

rules! {
    "asks-coordinator" "Who hears nothing asks the coordinator, again and again, and does what it says" asks,
    "asks-peers" "If the coordinator cannot be asked, its peers are" asks_peers,
    "only-an-outcome" "Pending, unknown, another coordinator, silence: none of them ends it" only_an_outcome,
    "no-timer" "No deadline ends what is prepared" no_timer,
    "tells-what-it-heard" "A peer is told the outcome that was heard" tells,
    "tells-no-guess" "A peer is told unknown by who is in doubt, or has no trace" no_guess,
    "refuses-for-good" "Who tells a peer aborted, unvoted, never votes yes after" refuses,
}

/// From the second failure of the coordinator on, peers are asked.
const PEERS_SOON: Duration = Duration::from_secs(15);

async fn asks(stage: &mut Stage) -> Told {
    let before = stage.state().await?;
    let work = stage.write();
    stage.promised(&work).await?;
    for times in 0..2 {
        asked(stage, Role::Coordinator, &work, times, SOON).await?;
    }
    let committed = Word::everywhere(Verdict::Committed);
    stage.oracle.say(work.attempt, committed);
    stage
        .changed_from(&before, "after the coordinator, asked, said committed")
        .await
}

async fn asks_peers(stage: &mut Stage) -> Told {
    let before = stage.state().await?;
    let work = stage.write();
    let word = Word {
        coordinator: None,
        peer: Verdict::Unknown,
    };
    stage.oracle.say(work.attempt, word);
    stage.promised(&work).await?;
    asked(stage, Role::Peer, &work, 0, PEERS_SOON).await?;
    stage
        .locks_are_held("after the coordinator was silent and a peer said unknown")
        .await?;
    let peer = Verdict::Committed;
    let word = Word {
        coordinator: None,
        peer,
    };
    stage.oracle.say(work.attempt, word);
    stage
        .changed_from(&before, "after a peer, asked, said committed")
        .await
}

async fn only_an_outcome(stage: &mut Stage) -> Told {
    let before = stage.state().await?;
    let work = stage.write();
    stage.promised(&work).await?;
    let words = [
        ("pending", Some(Verdict::Pending)),
        ("unknown", Some(Verdict::Unknown)),
        (
            "that it is another coordinator",
            Some(Verdict::WrongCoordinator),
        ),
        ("that it does not serve", None),
    ];
    for (what, coordinator) in words {
        let peer = Verdict::Unknown;
        stage.oracle.say(work.attempt, Word { coordinator, peer });
        let so_far = stage.oracle.questions(Role::Coordinator, work.attempt);
        asked(stage, Role::Coordinator, &work, so_far, SOON).await?;
        stage
            .locks_are_held(&format!("after the coordinator said {what}"))
            .await?;
    }
    stage.commit(work.attempt).await?;
    stage
        .changed_from(&before, "after the Commit that came at last")
        .await
}

async fn no_timer(stage: &mut Stage) -> Told {
    let before = stage.state().await?;
    let mut work = stage.write();
    work.remaining = Span(400);
    work.lock_wait = Span(200);
    stage.promised(&work).await?;
    // Time is what is tested here.
    tokio::time::sleep(Duration::from_millis(2 * work.remaining.0)).await;
    stage
        .locks_are_held("after the deadline of what is prepared")
        .await?;
    stage.commit(work.attempt).await?;
    stage
        .changed_from(&before, "after a Commit that came after the deadline")
        .await
}

async fn tells(stage: &mut Stage) -> Told {
    for outcome in [Verdict::Committed, Verdict::Aborted] {
        let work = stage.write();
        stage.promised(&work).await?;
        if outcome == Verdict::Committed {
            stage.commit(work.attempt).await?;
        } else {
            stage.abort(work.attempt).await?;
        }
        let said = verdict(stage, &work).await?;
        if said != outcome {
            return Err(broken!(
                "a peer asked about what was heard as {outcome:?} and was told {said:?}"
            ));
        }
    }
    Ok(())
}

async fn no_guess(stage: &mut Stage) -> Told {
    let (prepared, never_seen) = (stage.write(), stage.write());
    stage.promised(&prepared).await?;
    for (work, what) in [(&prepared, "is prepared"), (&never_seen, "was never seen")] {
        let said = verdict(stage, work).await?;
        if said != Verdict::Unknown {
            return Err(broken!(
                "a peer asked about what {what} and was told {said:?}; want VERDICT_UNKNOWN"
            ));
        }
    }
    Ok(())
}

async fn refuses(stage: &mut Stage) -> Told {
    let first = stage.write();
    stage.promised(&first).await?;
    let second = stage.write().waiting(Span(4_000));
    let waiting = stage.start(stage.asks_to_prepare(&second));
    let said = verdict(stage, &second).await?;
    stage.abort(first.attempt).await?;
    let answer = waiting.answer().await?;
    let voted_yes = matches!(
        answer,
        Answer::Voted {
            vote: Vote::Yes(_),
            ..
        }
    );
    match said {
        Verdict::Unknown => Ok(()),
        Verdict::Aborted if voted_yes => Err(broken!(
            "a peer was told aborted, and then the vote was yes"
        )),
        Verdict::Aborted => {
            not_yes(&answer, "after a peer was told aborted")?;
            stage
                .not_promised(&second, "asked again after a peer was told aborted")
                .await
        }
        Verdict::Committed | Verdict::Pending | Verdict::WrongCoordinator => Err(broken!(
            "a peer asked about what waits for its locks and was told {said:?}"
        )),
    }
}

/// Demands a question about an attempt.
async fn asked(stage: &Stage, role: Role, work: &Try, before: u32, within: Duration) -> Told {
    let seconds = within.as_secs();
    if stage.oracle.asked(role, work.attempt, before, within).await {
        return Ok(());
    }
    let whom = match role {
        Role::Coordinator => "the coordinator at coordinator_address",
        Role::Peer => "the other participant that Prepare named",
    };
    Err(broken!(
        "in doubt, it has asked {whom} {before} times, and not once more within {seconds} s"
    ))
}

/// Asks as the peer that Prepare named.
async fn verdict(stage: &Stage, work: &Try) -> Told<Verdict> {
    let asker = stage.oracle.peer.name.clone();
    stage.line.verdict(work.attempt, asker).await
}
