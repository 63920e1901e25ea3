//! A payment from an account at one bank to an account at another: one-shot, two
//! participants, both write.

use nemcon_client::ClientError;
use nemcon_proto::bank::v1::Contra;

use super::Ground;
use crate::accounts::PLAIN;
use crate::chance::Chance;
use crate::fate::{Effect, Try};

/// Most that is moved at once, in cents.
const AMOUNT_MINOR_MAX: i64 = 100;

pub(super) async fn attempt(ground: &Ground, chance: &mut Chance) -> Result<Try, ClientError> {
    let ends = ground.population.at_different_banks(2, chance);
    let amount = chance.between(1, AMOUNT_MINOR_MAX);
    // A plan without two banks is refused before.
    let fate = match ends.as_slice() {
        [from, to] => {
            let withdrawal = ground.withdraw(*from, PLAIN, amount, Contra::Clearing);
            let deposit = ground.deposit(*to, PLAIN, amount, Contra::Clearing);
            ground.one_shot([withdrawal, deposit]).await?
        }
        _ => ground.one_shot([]).await?,
    };
    Ok(Try {
        kind: "transfer",
        fate,
        // What one loses the other gains.
        effect: Effect::of(0),
    })
}
