//! Reads one account at each of some banks, in one transaction: one-shot, marked as
//! read-only, nothing is forced anywhere.

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
    let operations = at.into_iter().map(|whose| ground.read(whose, PLAIN, true));
    Ok(Try {
        kind: "read",
        fate: ground.one_shot(operations).await?,
        effect: Effect::of(0),
    })
}
