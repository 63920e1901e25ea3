//! I11 (damage): where a decision by hand differs from the real one, both sides
//! have recorded it; and nobody has lost what it had promised.

use super::Failure;
use crate::world::Facts;
use nemcon_core::message::Outcome;

const NAME: &str = "I11 (damage)";

/// Looks at all decisions by hand, when everything else is finished.
pub(crate) fn check(facts: &Facts) -> Result<(), Failure> {
    if let Some((at, attempt)) = facts.lost.first() {
        let story = format!("p{at} had lost attempt {attempt} when its commit came");
        return Err(Failure::new(NAME, story));
    }
    for ((at, attempt), by_hand) in &facts.by_hand {
        let decided = if facts.decided.contains_key(attempt) {
            Outcome::Committed
        } else {
            Outcome::Aborted
        };
        if decided == *by_hand {
            continue;
        }
        let key = (*at, *attempt);
        for (recorded, whose) in [
            (facts.damage_here.contains(&key), "the participant"),
            (facts.damage_there.contains(&key), "the coordinator"),
        ] {
            if !recorded {
                let story = format!(
                    "attempt {attempt} was {by_hand:?} by hand at p{at} and {decided:?} in truth, \
                     and {whose} has not recorded it"
                );
                return Err(Failure::new(NAME, story));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::border::identity;
    use nemcon_core::id::{AttemptId, Epoch, Position, Sequence};

    #[test]
    fn damage_that_one_side_does_not_know_is_found() {
        let attempt = AttemptId {
            coordinator: identity(0),
            position: Position {
                epoch: Epoch(1),
                sequence: Sequence(1),
            },
        };
        let mut facts = Facts::new(1);
        facts.by_hand.insert((0, attempt), Outcome::Aborted);
        assert_eq!(check(&facts), Ok(()), "it aborted in truth as well");
        facts.by_hand.insert((0, attempt), Outcome::Committed);
        facts.damage_here.insert((0, attempt));
        assert!(check(&facts).is_err(), "the coordinator does not know");
        facts.damage_there.insert((0, attempt));
        assert_eq!(check(&facts), Ok(()));
        facts.lost.insert((0, attempt));
        assert!(check(&facts).is_err(), "a promise was lost");
    }
}
