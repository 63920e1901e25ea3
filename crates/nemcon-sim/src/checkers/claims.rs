//! I15 (named locks): what a client was told that it holds nobody else holds, in a
//! way that excludes it, until the client asks for the commit; and of two grants
//! that exclude each other the later one has the higher token.
//!
//! Known from what clients were told alone. The first half holds for what has
//! committed: work or locks that a restart has lost are no secret, but the client
//! hears of that no sooner than with its commit. The second holds whatever became of
//! the transactions: a store that compares tokens need not know.

use nemcon_core::id::TransactionId;
use nemcon_core::lock::Token;

use super::Failure;
use crate::subject::Subject;
use crate::world::{Told, World};

const NAME: &str = "I15 (named locks)";

/// A lock that a client has, as far as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    /// At which participant.
    pub(crate) at: usize,
    /// On which key.
    pub(crate) key: u8,
    /// Nobody else may have it.
    pub(crate) exclusive: bool,
    /// Its token, if it was asked for by name; work brings none.
    pub(crate) token: Option<Token>,
    /// When the client asked for it first. Moments of clients are counted, so no two
    /// are the same.
    pub(crate) asked: u64,
    /// When it was told.
    pub(crate) told: u64,
}

impl Hold {
    const fn excludes(&self, other: &Self) -> bool {
        self.at == other.at && self.key == other.key && (self.exclusive || other.exclusive)
    }
}

/// What one client was told of its locks.
struct Holder<'a> {
    transaction: TransactionId,
    holds: &'a [Hold],
    /// When it asked for the commit that it got.
    until: Option<u64>,
}

/// Compares what all clients were told. Says nothing of keys that nobody has named:
/// the order of transactions (I8) is about those.
pub(crate) fn check<S: Subject>(world: &World<'_, S>) -> Result<(), Failure> {
    let holders = world.sessions.iter().map(|session| Holder {
        transaction: session.transaction,
        holds: &session.holds,
        until: match session.told {
            Told::Committed(_) => session.commit_asked,
            Told::Nothing | Told::Aborted | Told::Unknown => None,
        },
    });
    let holders: Vec<Holder<'_>> = holders.filter(|holder| !holder.holds.is_empty()).collect();
    for (at, one) in holders.iter().enumerate() {
        for other in holders.iter().skip(at + 1) {
            apart(one, other)?;
        }
    }
    Ok(())
}

/// Whether two clients were told nothing that contradicts itself.
fn apart(one: &Holder<'_>, other: &Holder<'_>) -> Result<(), Failure> {
    for hold in one.holds {
        let excluded = other.holds.iter().filter(|it| hold.excludes(it));
        for against in excluded {
            let both_committed = one.until.zip(other.until);
            let named = hold.token.is_some() || against.token.is_some();
            if let Some((until, against_until)) = both_committed
                && named
                && hold.told < against_until
                && against.told < until
            {
                let story = format!(
                    "{} and {} were told at the same time that they hold key {} of p{}",
                    one.transaction, other.transaction, hold.key, hold.at
                );
                return Err(Failure::new(NAME, story));
            }
            tokens_grow(hold, against)?;
        }
    }
    Ok(())
}

fn tokens_grow(one: &Hold, other: &Hold) -> Result<(), Failure> {
    let (earlier, later) = if one.told < other.asked {
        (one, other)
    } else if other.told < one.asked {
        (other, one)
    } else {
        return Ok(());
    };
    match earlier.token.zip(later.token) {
        Some((before, after)) if after <= before => {
            let story = format!(
                "key {} of p{} was granted with token {before:?}, and later with {after:?}",
                one.key, one.at
            );
            Err(Failure::new(NAME, story))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use nemcon_core::id::Boot;
    use nemcon_core::time::Millis;

    use super::*;

    fn hold(exclusive: bool, counter: u64, asked: u64, told: u64) -> Hold {
        Hold {
            at: 0,
            key: 1,
            exclusive,
            token: Some(Token {
                boot: Boot(1),
                counter,
            }),
            asked,
            told,
        }
    }

    fn compared(one: (Hold, Option<u64>), other: (Hold, Option<u64>)) -> Result<(), Failure> {
        let holder = |number, until, holds| Holder {
            transaction: TransactionId::from_parts(Millis(1), number),
            holds,
            until,
        };
        apart(&holder(1, one.1, &[one.0]), &holder(2, other.1, &[other.0]))
    }

    #[test]
    fn two_who_hold_one_key_at_a_time_are_found() {
        let (mine, theirs) = (hold(true, 1, 1, 3), hold(false, 2, 2, 5));
        let failure = compared((mine, Some(6)), (theirs, Some(7))).unwrap_err();
        assert_eq!(failure.invariant, NAME);
        assert_eq!(compared((mine, Some(4)), (theirs, Some(7))), Ok(()));
        assert_eq!(compared((mine, None), (theirs, Some(7))), Ok(()));
        let both_read = (hold(false, 1, 1, 3), hold(false, 2, 2, 5));
        assert_eq!(
            compared((both_read.0, Some(6)), (both_read.1, Some(7))),
            Ok(())
        );
        let work = |hold| Hold {
            token: None,
            ..hold
        };
        assert!(compared((work(mine), Some(6)), (theirs, Some(7))).is_err());
        assert_eq!(
            compared((work(mine), Some(6)), (work(theirs), Some(7))),
            Ok(()),
            "nobody named it"
        );
        let elsewhere = Hold { key: 2, ..theirs };
        assert_eq!(compared((mine, Some(6)), (elsewhere, Some(7))), Ok(()));
    }

    #[test]
    fn a_token_that_does_not_grow_is_found_whatever_became_of_the_transactions() {
        let earlier = (hold(true, 4, 1, 3), None);
        for (counter, grows) in [(3, false), (4, false), (5, true)] {
            let later = (hold(false, counter, 4, 6), None);
            assert_eq!(compared(earlier, later).is_ok(), grows, "{counter}");
            assert_eq!(compared(later, earlier).is_ok(), grows, "{counter}");
        }
        let before_it_was_told = (hold(false, 3, 2, 6), None);
        assert_eq!(compared(earlier, before_it_was_told), Ok(()));
    }
}
