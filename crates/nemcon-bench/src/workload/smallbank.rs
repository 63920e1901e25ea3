//! `SmallBank`: six transactions on customers who have a savings and a checking
//! account each (Alomari, Cahill, Fekete, Röhm: "The Cost of Serializability on
//! Platforms That Use Snapshot Isolation", 2008).
//!
//! | transaction | of 100 | how | what |
//! |---|---:|---|---|
//! | balance | 15 | one-shot | reads both accounts |
//! | deposit checking | 15 | one-shot | checking + 1.30 |
//! | transact savings | 15 | one-shot | savings − 20.20; the bank refuses to go below 0 |
//! | amalgamate | 15 | interactive | all that one customer has goes to another's checking |
//! | write check | 15 | interactive | checking − 5.00, and − 1.00 more if both accounts together did not cover it |
//! | send payment | 25 | interactive | 5.00 from checking to checking; given up if it was not there |
//!
//! The three last ones are interactive because what is read decides what is
//! written. The bank gets no actions for them: its customers' rule is the minimum
//! of an account, and a fine that hangs on two accounts, or the wish to move
//! whatever is there, is the caller's business. That is what interactive
//! transactions are for, and so they are measured too.
//!
//! They take what they will write with an exclusive lock at first sight. To read
//! first and write later would take a shared lock and then want more, and two who
//! do that at the same account are a deadlock.

use nemcon_client::{ClientError, Interactive, Mode, ResultError, Terms, lock, result};
use nemcon_core::message::Payload;
use nemcon_proto::bank::v1::{self, Contra};

use super::Ground;
use crate::accounts::{CHECKING, SAVINGS};
use crate::chance::Chance;
use crate::fate::{Effect, Fate, Try};
use crate::population::Customer;

/// What an account starts with, in cents: at least, and at most.
pub(super) const OPENING_MINOR: (i64, i64) = (1_000_000, 5_000_000);

/// How far a checking account can be overdrawn, in cents: as far as anybody gets.
pub(super) const OVERDRAFT_MINOR: i64 = -1_000_000_000_000;

const DEPOSIT_MINOR: i64 = 130;
const SAVINGS_MINOR: i64 = 2_020;
const CHECK_MINOR: i64 = 500;
const PENALTY_MINOR: i64 = 100;
const PAYMENT_MINOR: i64 = 500;

/// What a payment that is not covered is given up with.
const NOT_COVERED: &str = "INSUFFICIENT_FUNDS";

/// The six.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Amalgamate,
    Balance,
    DepositChecking,
    SendPayment,
    TransactSavings,
    WriteCheck,
}

impl Kind {
    /// The mix: of a hundred.
    fn draw(chance: &mut Chance) -> Self {
        match chance.below(100) {
            0..15 => Self::Amalgamate,
            15..30 => Self::Balance,
            30..45 => Self::DepositChecking,
            45..70 => Self::SendPayment,
            70..85 => Self::TransactSavings,
            _ => Self::WriteCheck,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Amalgamate => "amalgamate",
            Self::Balance => "balance",
            Self::DepositChecking => "deposit_checking",
            Self::SendPayment => "send_payment",
            Self::TransactSavings => "transact_savings",
            Self::WriteCheck => "write_check",
        }
    }

    /// By how much it changes the sum of all accounts if nothing that it reads
    /// changes that.
    const fn effect(self) -> Effect {
        match self {
            Self::Amalgamate | Self::Balance | Self::SendPayment => Effect::of(0),
            Self::DepositChecking => Effect::of(DEPOSIT_MINOR),
            Self::TransactSavings => Effect::of(-SAVINGS_MINOR),
            Self::WriteCheck => check_effect(None),
        }
    }
}

/// A check with or without the penalty, or where it is not known with which.
const fn check_effect(penalty: Option<bool>) -> Effect {
    let covered = Effect::of(-CHECK_MINOR);
    let fined = Effect::of(-CHECK_MINOR - PENALTY_MINOR);
    match penalty {
        Some(false) => covered,
        Some(true) => fined,
        None => covered.either(fined),
    }
}

/// How work inside of an interactive transaction went: the effect it will have, or
/// that it is to be given up.
enum Work {
    Done(Effect),
    GivenUp,
}

pub(super) async fn attempt(ground: &Ground, chance: &mut Chance) -> Result<Try, ClientError> {
    let kind = Kind::draw(chance);
    let one_shot = |fate| Try {
        kind: kind.as_str(),
        fate,
        effect: kind.effect(),
    };
    match kind {
        Kind::Balance => {
            let whose = ground.population.one(chance);
            let reads = [SAVINGS, CHECKING].map(|stock| ground.read(whose, stock, true));
            Ok(one_shot(ground.one_shot(reads).await?))
        }
        Kind::DepositChecking => {
            let whose = ground.population.one(chance);
            let deposit = ground.deposit(whose, CHECKING, DEPOSIT_MINOR, Contra::Cash);
            Ok(one_shot(ground.one_shot([deposit]).await?))
        }
        Kind::TransactSavings => {
            let whose = ground.population.one(chance);
            let withdrawal = ground.withdraw(whose, SAVINGS, SAVINGS_MINOR, Contra::Cash);
            Ok(one_shot(ground.one_shot([withdrawal]).await?))
        }
        Kind::WriteCheck => {
            let whose = ground.population.one(chance);
            interact(ground, kind, async |t| write_check(ground, t, whose).await).await
        }
        Kind::SendPayment => {
            let (from, to) = ground.population.two(chance);
            interact(ground, kind, async |t| {
                send_payment(ground, t, from, to).await
            })
            .await
        }
        Kind::Amalgamate => {
            let (from, to) = ground.population.two(chance);
            interact(ground, kind, async |t| {
                amalgamate(ground, t, from, to).await
            })
            .await
        }
    }
}

/// Does work in an interactive transaction, once, and ends it.
async fn interact(
    ground: &Ground,
    kind: Kind,
    work: impl AsyncFnOnce(&mut Interactive) -> Result<Work, ClientError>,
) -> Result<Try, ClientError> {
    let mut effect = kind.effect();
    let worked = async {
        let mut transaction = ground.submitter.client().begin(Terms::default()).await?;
        match work(&mut transaction).await? {
            Work::Done(known) => {
                effect = known;
                Fate::of(transaction.commit().await)
            }
            Work::GivenUp => {
                transaction.abort(NOT_COVERED).await?;
                Ok(Fate::Refused(NOT_COVERED.into()))
            }
        }
    };
    let worked = worked.await;
    let fate = worked.or_else(Fate::of_error)?;
    Ok(Try {
        kind: kind.as_str(),
        fate,
        effect,
    })
}

/// The withdrawal tells what was there before, so one piece is enough where the
/// check is covered.
async fn write_check(
    ground: &Ground,
    transaction: &mut Interactive,
    whose: Customer,
) -> Result<Work, ClientError> {
    let take = |minor| ground.withdraw(whose, CHECKING, minor, Contra::Cash);
    let piece = [ground.read(whose, SAVINGS, true), take(CHECK_MINOR)];
    let [savings, checking] = balances(ground, transaction.execute(piece).await?)?;
    let fined = is_fined(savings, checking + CHECK_MINOR);
    if fined {
        transaction.execute([take(PENALTY_MINOR)]).await?;
    }
    Ok(Work::Done(check_effect(Some(fined))))
}

/// Whether a check is fined, by what was on the accounts before.
const fn is_fined(savings_minor: i64, checking_minor: i64) -> bool {
    savings_minor + checking_minor < CHECK_MINOR
}

/// Both movements are one piece, at both banks at the same time; what is left of
/// the first account tells whether it was covered.
async fn send_payment(
    ground: &Ground,
    transaction: &mut Interactive,
    from: Customer,
    to: Customer,
) -> Result<Work, ClientError> {
    let piece = [
        ground.withdraw(from, CHECKING, PAYMENT_MINOR, Contra::Clearing),
        ground.deposit(to, CHECKING, PAYMENT_MINOR, Contra::Clearing),
    ];
    let [left, _] = balances(ground, transaction.execute(piece).await?)?;
    // It had less than the payment if less than nothing is left.
    Ok(if left < 0 {
        Work::GivenUp
    } else {
        Work::Done(Effect::of(0))
    })
}

/// How much there is to move is known only when it is locked.
async fn amalgamate(
    ground: &Ground,
    transaction: &mut Interactive,
    from: Customer,
    to: Customer,
) -> Result<Work, ClientError> {
    let locked = |whose: Customer, stock: crate::accounts::Stock| {
        lock(
            ground.bank(whose),
            &stock.name(whose.number),
            Mode::Exclusive,
        )
    };
    let locks = [
        locked(from, SAVINGS),
        locked(from, CHECKING),
        locked(to, CHECKING),
    ];
    transaction.acquire_locks(locks).await?;
    let reads = [SAVINGS, CHECKING].map(|stock| ground.read(from, stock, true));
    let [savings, checking] = balances(ground, transaction.execute(reads).await?)?;
    let add = |whose: Customer, stock, minor: i64| match minor {
        0 => None,
        1.. => Some(ground.deposit(whose, stock, minor, Contra::Clearing)),
        _ => Some(ground.withdraw(whose, stock, -minor, Contra::Clearing)),
    };
    // A checking account that is overdrawn is evened out, and the other customer
    // gets so much less.
    let moves = [
        add(from, SAVINGS, -savings),
        add(from, CHECKING, -checking),
        add(to, CHECKING, savings + checking),
    ];
    let moves: Vec<_> = moves.into_iter().flatten().collect();
    if !moves.is_empty() {
        transaction.execute(moves).await?;
    }
    Ok(Work::Done(Effect::of(0)))
}

/// The balances of the accounts that came as results.
fn balances<const N: usize>(
    ground: &Ground,
    results: Vec<Payload>,
) -> Result<[i64; N], ClientError> {
    let nonsense = |what: String| ClientError::Protocol {
        address: ground.submitter.client().address().clone(),
        what,
    };
    let read = |payload: &Payload| -> Result<i64, ResultError> {
        Ok(result::<v1::Account>(payload)?.balance_minor)
    };
    let balances: Result<Vec<i64>, ResultError> = results.iter().map(read).collect();
    let balances = balances.map_err(|error| nonsense(error.to_string()))?;
    let found = balances.len();
    balances
        .try_into()
        .map_err(|_| nonsense(format!("{found} results for {N} operations")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_mix_is_that_of_the_definition() {
        let mut chance = Chance::new(3);
        let mut counts: BTreeMap<Kind, u32> = BTreeMap::new();
        const DRAWS: u32 = 100_000;
        for _ in 0..DRAWS {
            *counts.entry(Kind::draw(&mut chance)).or_default() += 1;
        }
        for (kind, percent) in [
            (Kind::Amalgamate, 15.0),
            (Kind::Balance, 15.0),
            (Kind::DepositChecking, 15.0),
            (Kind::SendPayment, 25.0),
            (Kind::TransactSavings, 15.0),
            (Kind::WriteCheck, 15.0),
        ] {
            let found = f64::from(counts[&kind]) * 100.0 / f64::from(DRAWS);
            assert!((found - percent).abs() < 0.5, "{kind:?}: {found} %");
        }
    }

    #[test]
    fn the_sum_changes_by_what_the_definition_says() {
        // 130·DepositChecking − 2020·TransactSavings − 500·WriteCheck − 100·penalties
        assert_eq!(Kind::DepositChecking.effect(), Effect::of(130));
        assert_eq!(Kind::TransactSavings.effect(), Effect::of(-2_020));
        assert_eq!(check_effect(Some(false)), Effect::of(-500));
        assert_eq!(check_effect(Some(true)), Effect::of(-600));
        let open = Kind::WriteCheck.effect();
        assert_eq!((open.low_minor, open.high_minor), (-600, -500));
        for kind in [Kind::Amalgamate, Kind::Balance, Kind::SendPayment] {
            assert_eq!(kind.effect(), Effect::of(0));
        }
    }

    #[test]
    fn a_check_is_fined_when_both_accounts_together_do_not_cover_it() {
        for (savings, checking, fined) in [
            (0, 500, false),
            (500, 0, false),
            (0, 499, true),
            // Overdrawn, and covered by the savings.
            (1_000, -500, false),
            (1_000, -501, true),
        ] {
            assert_eq!(is_fined(savings, checking), fined, "{savings} {checking}");
        }
    }
}
