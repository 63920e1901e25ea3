//! Two-phase commit and nothing else: each participant takes one shared lock,
//! promises, and is told; no data change. To be compared with what others publish
//! of transactions with empty branches.
//!
//! The operation is a read *without* the mark that says so. A participant that is
//! not told that a transaction only reads makes the same promise as if it wrote,
//! and forces the same record. It is one-shot.

use nemcon_client::ClientError;

use super::Ground;
use crate::accounts::PLAIN;
use crate::chance::Chance;
use crate::fate::{Effect, Try};

pub(super) async fn attempt(
    ground: &Ground,
    participants: usize,
    chance: &mut Chance,
) -> Result<Try, ClientError> {
    let at = ground.population.at_different_banks(participants, chance);
    let operations = at.into_iter().map(|whose| ground.read(whose, PLAIN, false));
    Ok(Try {
        kind: "empty",
        fate: ground.one_shot(operations).await?,
        effect: Effect::of(0),
    })
}
