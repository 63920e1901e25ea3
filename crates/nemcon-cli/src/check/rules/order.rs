//! Order: whom a message means, which epoch it is of, what lies below the floor.

use nemcon_core::id::ParticipantId;
use nemcon_core::message::{Answer, Header, Hello, ToParticipant};
use nemcon_core::reason::Reason;

use crate::check::rule::{Told, broken, rules};
use crate::check::stage::{Stage, acknowledged, not_yes, refused, shown};

rules! {
    "boot" "The boot number is above 0, and stays the same for a life" boot,
    "meant-for-another" "What is meant for another participant is refused: WRONG_PARTICIPANT" another,
    "old-epoch" "What comes from an epoch that has ended is refused: STALE_EPOCH" old_epoch,
    "new-epoch" "A newer epoch ends that coordinator's unprepared work at once" new_epoch,
    "promise-outlives-epoch" "A newer epoch ends nothing that is prepared" outlives,
    "below-floor" "Unknown work below the floor is not begun" below_floor,
    "highest-floor" "The floor is the highest seen, not that of the message" highest_floor,
    "old-commit" "A Commit below the floor is an old duplicate, and is acknowledged" old_commit,
    "lost-prepare" "A Commit for what is unknown is never acknowledged: LOST_PREPARE" lost_prepare,
}

async fn boot(stage: &mut Stage) -> Told {
    let (first, second) = (stage.hello().await?, stage.hello().await?);
    if first.0 == 0 || first != second || first != stage.boot {
        let own = stage.boot;
        return Err(broken!(
            "GetStatus said boot {own}, then {first}, then {second}, without a restart in between"
        ));
    }
    Ok(())
}

async fn another(stage: &mut Stage) -> Told {
    // A Commit of long ago: the one that is meant has to acknowledge it.
    let past = stage.write();
    stage.close(past.attempt);
    let work = stage.write();
    let header = Header {
        participant: ParticipantId::new(nemcon_node::chance::fresh_uuid()),
        ..stage.header()
    };
    let address = stage.oracle.coordinator.clone();
    for (what, message) in [
        ("GetStatus", ToParticipant::Hello(Hello { address })),
        ("Prepare", stage.asks_to_prepare(&work)),
        ("Commit", ToParticipant::Commit(past.attempt)),
    ] {
        let what = format!("{what} for another participant_id");
        let answer = stage.send_as(header, message).await?;
        refused(&answer, &Reason::WRONG_PARTICIPANT, &what)?;
    }
    stage
        .locks_are_free("after a Prepare that was meant for another")
        .await
}

async fn old_epoch(stage: &mut Stage) -> Told {
    let late = stage.write();
    let before = stage.header();
    let prepare = stage.asks_to_prepare(&late);
    stage.enter_epoch();
    stage.hello().await?;
    for (what, message) in [
        ("Prepare", prepare),
        ("Commit", ToParticipant::Commit(late.attempt)),
    ] {
        let what = format!("{what} of an epoch that has ended");
        let answer = stage.send_as(before, message).await?;
        refused(&answer, &Reason::STALE_EPOCH, &what)?;
    }
    stage
        .locks_are_free("after a Prepare of an epoch that has ended")
        .await
}

async fn new_epoch(stage: &mut Stage) -> Told {
    let reader = stage.read();
    stage.prepare(&reader).await?;
    stage.enter_epoch();
    stage.hello().await?;
    stage
        .locks_are_free("after a newer epoch ended a reader that was waiting for Release")
        .await?;
    match stage.release(reader.attempt).await? {
        None => Ok(()),
        Some(boot) => Err(broken!(
            "Release was answered with boot {boot}, though a newer epoch had ended the attempt"
        )),
    }
}

async fn outlives(stage: &mut Stage) -> Told {
    let before = stage.state().await?;
    let work = stage.write();
    stage.promised(&work).await?;
    stage.enter_epoch();
    stage.hello().await?;
    stage
        .locks_are_held("after a newer epoch, with one of the older prepared")
        .await?;
    stage.commit(work.attempt).await?;
    stage
        .changed_from(
            &before,
            "after the Commit of what was prepared an epoch ago",
        )
        .await
}

async fn below_floor(stage: &mut Stage) -> Told {
    let work = stage.write();
    stage.close(work.attempt);
    let answer = stage.prepare(&work).await?;
    not_yes(&answer, "below the floor")?;
    stage
        .locks_are_free("after a Prepare from below the floor")
        .await
}

async fn highest_floor(stage: &mut Stage) -> Told {
    let work = stage.write();
    let delayed = stage.header();
    let prepare = stage.asks_to_prepare(&work);
    stage.close(work.attempt);
    stage.hello().await?;
    // It left when the floor was lower, and has the header of that time.
    let answer = stage.send_as(delayed, prepare).await?;
    not_yes(
        &answer,
        "sent before, and come after, the floor had passed it",
    )?;
    stage
        .locks_are_free("after a Prepare that was delayed")
        .await
}

async fn old_commit(stage: &mut Stage) -> Told {
    let before = stage.state().await?;
    let work = stage.write();
    stage.close(work.attempt);
    stage.hello().await?;
    let answer = stage.send(ToParticipant::Commit(work.attempt)).await?;
    acknowledged(&answer, "a Commit below the floor")?;
    stage
        .unchanged_from(&before, "after a Commit below the floor")
        .await
}

async fn lost_prepare(stage: &mut Stage) -> Told {
    let work = stage.write();
    let answer = stage.send(ToParticipant::Commit(work.attempt)).await?;
    stage.line.acknowledge_damage(work.attempt).await;
    let what = "a Commit at the floor, of an attempt that was never prepared,";
    if let Answer::Acknowledged { .. } = answer {
        let said = shown(&answer);
        return Err(broken!(
            "{what} was answered with {said}, as if it had been done"
        ));
    }
    refused(&answer, &Reason::LOST_PREPARE, what)
}
