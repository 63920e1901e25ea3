//! Restart: what was promised before it is kept after it.
//!
//! One restart serves all rules: everything is set up, the operator kills the
//! participant and starts it again, and then one thing after another is looked at.

use nemcon_core::id::Boot;
use nemcon_core::message::{Header, Payload, ToParticipant};
use nemcon_core::reason::Reason;

use super::alone::{HASH, known};
use crate::check::oracle::Role;
use crate::check::rule::{Ended, Told, broken, rules};
use crate::check::stage::{SOON, Stage, Try, committed, refused};

rules! {
    "restart-boot" "A restart counts the boot number up" boot,
    "restart-asks" "What was in doubt before a restart is asked about after it" asks,
    "restart-locks" "What was prepared before a restart keeps its locks" locks,
    "restart-promise" "What was prepared before a restart commits after it" promise,
    "restart-commit" "What was acknowledged before a restart is done, and only once" commit,
    "restart-one-phase" "What was decided alone before a restart is remembered" one_phase,
    "restart-epoch" "The newest epoch is remembered through a restart" epoch,
}

/// What has been done before the restart.
#[derive(Clone)]
pub(in crate::check) struct Scene {
    boot: Boot,
    /// An attempt of an epoch that had ended, and a header of that time.
    late: Try,
    stale: Header,
    committed: Try,
    alone: Try,
    prepared: Try,
    /// How often that had been asked about when the participant was back.
    questions: u32,
    /// As --read gave it.
    state: Payload,
}

/// Sets the scene. The participant is to be killed when this returns.
pub(in crate::check) async fn set(stage: &mut Stage) -> Told {
    let acknowledged = stage.write();
    stage.promised(&acknowledged).await?;
    stage.commit(acknowledged.attempt).await?;
    let alone = stage.write();
    committed(&stage.decide(&alone, HASH).await?, "CommitOnePhase")?;
    let state = stage.state().await?;
    let late = stage.write();
    let stale = stage.header();
    stage.enter_epoch();
    stage.hello().await?;
    let prepared = stage.write();
    stage.promised(&prepared).await?;
    stage.scene = Some(Scene {
        boot: stage.boot,
        late,
        stale,
        committed: acknowledged,
        alone,
        prepared,
        questions: 0,
        state,
    });
    Ok(())
}

/// The participant is back, in its next life. What it asked in the one before does
/// not count.
pub(in crate::check) fn is_back(stage: &mut Stage, boot: Boot) {
    stage.boot = boot;
    if let Some(scene) = &mut stage.scene {
        let prepared = scene.prepared.attempt;
        scene.questions = stage.oracle.questions(Role::Coordinator, prepared);
    }
}

fn scene(stage: &Stage) -> Told<Scene> {
    let none = Ended::Skipped("what comes before the restart did not go well");
    stage.scene.clone().ok_or(none)
}

async fn boot(stage: &mut Stage) -> Told {
    let before = scene(stage)?.boot;
    let after = stage.hello().await?;
    if after > before {
        return Ok(());
    }
    Err(broken!(
        "the boot number was {before}, and after a restart {after}"
    ))
}

async fn asks(stage: &mut Stage) -> Told {
    let Scene {
        prepared,
        questions,
        ..
    } = scene(stage)?;
    let (oracle, attempt) = (&stage.oracle, prepared.attempt);
    if oracle
        .asked(Role::Coordinator, attempt, questions, SOON)
        .await
    {
        return Ok(());
    }
    let soon = SOON.as_secs();
    Err(broken!(
        "the coordinator was not asked about what was prepared, within {soon} s"
    ))
}

async fn locks(stage: &mut Stage) -> Told {
    scene(stage)?;
    stage
        .locks_are_held("after a restart, with one prepared before it")
        .await
}

async fn promise(stage: &mut Stage) -> Told {
    let Scene {
        prepared, state, ..
    } = scene(stage)?;
    // Not asked for its vote again: who has forgotten would vote anew.
    stage.commit(prepared.attempt).await?;
    stage
        .changed_from(
            &state,
            "after the Commit of what was prepared before a restart",
        )
        .await
}

async fn commit(stage: &mut Stage) -> Told {
    let Scene { committed, .. } = scene(stage)?;
    let now = stage.state().await?;
    stage.commit(committed.attempt).await?;
    stage
        .not_promised(&committed, "after its Commit and a restart")
        .await?;
    stage
        .unchanged_from(
            &now,
            "after a Commit that had been acknowledged before a restart",
        )
        .await
}

async fn one_phase(stage: &mut Stage) -> Told {
    let Scene { alone, .. } = scene(stage)?;
    let now = stage.state().await?;
    let mut again = stage.write();
    again.transaction = alone.transaction;
    let answer = stage.decide(&again, HASH).await?;
    committed(&answer, "what had committed before a restart, sent again,")?;
    stage
        .unchanged_from(&now, "after it was sent again")
        .await?;
    let inquiry = ToParticipant::Inquire(alone.transaction);
    known(&stage.send(inquiry).await?)
}

async fn epoch(stage: &mut Stage) -> Told {
    let Scene { late, stale, .. } = scene(stage)?;
    let prepare = stage.asks_to_prepare(&late);
    let answer = stage.send_as(stale, prepare).await?;
    let what = "a Prepare of an epoch that had ended before the restart";
    refused(&answer, &Reason::STALE_EPOCH, what)
}
