//! I7: money is conserved and no balance goes under its limit.
//!
//! Called by the property tests, the simulator and the audits of real clusters'
//! tests. [`books_balance`] must hold at every bank at every moment;
//! [`clearing_is_settled`] over all banks when nothing is in flight, since a
//! transfer's two halves are applied when each bank hears of the commit.

use alloc::collections::BTreeMap;

use nemcon_core::id::TransactionId;

use crate::account::{Account, Contra};
use crate::ledger::{Ledger, Sums};
use crate::money::Currency;
use crate::name::{AccountName, Reference};

/// Books that cannot be right. Amounts are in minor units.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Imbalance {
    /// Customers, cash and clearing of a bank do not add up to zero.
    #[error(
        "I7: {currency}: customers {} + cash {} + clearing {} = {}, want 0",
        sums.customers_minor, sums.cash_minor, sums.clearing_minor, sums.difference_minor()
    )]
    Books {
        /// In which currency.
        currency: Currency,
        /// What they are.
        sums: Sums,
    },
    /// An account is under its minimum.
    #[error("I7: account {name} has {balance_minor}, under its minimum of {minimum_minor}")]
    UnderMinimum {
        /// Which.
        name: AccountName,
        /// What it has.
        balance_minor: i64,
        /// What it must have.
        minimum_minor: i64,
    },
    /// An account's balance is not what its entries say.
    #[error("I7: account {name} has {balance_minor}, but its entries add up to {entries_minor}")]
    Entries {
        /// Which.
        name: AccountName,
        /// What it has.
        balance_minor: i64,
        /// Brought forward and entries together.
        entries_minor: i128,
    },
    /// A closed account has money.
    #[error("I7: account {name} is closed and has {balance_minor}, want 0")]
    ClosedWithMoney {
        /// Which.
        name: AccountName,
        /// What it has.
        balance_minor: i64,
    },
    /// An entry's reference is not remembered as used by its transaction, so the
    /// payment could be made again.
    #[error(
        "I7: account {name}: reference {reference:?} of transaction {transaction} is not remembered"
    )]
    ReferenceForgotten {
        /// On which account.
        name: AccountName,
        /// Which.
        reference: Reference,
        /// Who used it.
        transaction: TransactionId,
    },
    /// Money went to other banks that did not arrive, or arrived from nowhere.
    #[error("I7: {currency}: clearing over all banks is {clearing_minor}, want 0")]
    Clearing {
        /// In which currency.
        currency: Currency,
        /// The sum.
        clearing_minor: i128,
    },
}

/// I7 for one bank: the double entries add up in every currency, and every
/// account's balance is what its entries say and not under its minimum.
///
/// # Errors
/// The first [`Imbalance`] found, accounts first.
pub fn books_balance(ledger: &Ledger) -> Result<(), Imbalance> {
    for (name, account) in ledger.accounts() {
        account_balances(name, account)?;
        references_are_remembered(ledger, name, account)?;
    }
    match ledger
        .totals()
        .into_iter()
        .find(|(_, sums)| sums.difference_minor() != 0)
    {
        Some((currency, sums)) => Err(Imbalance::Books { currency, sums }),
        None => Ok(()),
    }
}

/// I7 over all banks, to be asked when no transaction is in flight anywhere: no
/// money is on its way.
///
/// # Errors
/// [`Imbalance::Clearing`].
pub fn clearing_is_settled<'a>(
    ledgers: impl IntoIterator<Item = &'a Ledger>,
) -> Result<(), Imbalance> {
    let mut clearing: BTreeMap<Currency, i128> = BTreeMap::new();
    for ledger in ledgers {
        for ((currency, contra), total_minor) in &ledger.contras {
            if *contra == Contra::Clearing {
                let sum = clearing.entry(*currency).or_default();
                *sum = sum.wrapping_add(*total_minor);
            }
        }
    }
    match clearing.into_iter().find(|(_, sum)| *sum != 0) {
        Some((currency, clearing_minor)) => Err(Imbalance::Clearing {
            currency,
            clearing_minor,
        }),
        None => Ok(()),
    }
}

/// What one account's value must satisfy by itself; a stored value that does not
/// is refused.
pub(crate) fn account_balances(name: &AccountName, account: &Account) -> Result<(), Imbalance> {
    let (header, name) = (&account.header, || name.clone());
    let balance_minor = header.balance_minor;
    let entries_minor = account.statement.sum_minor();
    if entries_minor != i128::from(balance_minor) {
        Err(Imbalance::Entries {
            name: name(),
            balance_minor,
            entries_minor,
        })
    } else if balance_minor < header.minimum_minor {
        let minimum_minor = header.minimum_minor;
        Err(Imbalance::UnderMinimum {
            name: name(),
            balance_minor,
            minimum_minor,
        })
    } else if header.closed && balance_minor != 0 {
        Err(Imbalance::ClosedWithMoney {
            name: name(),
            balance_minor,
        })
    } else {
        Ok(())
    }
}

fn references_are_remembered(
    ledger: &Ledger,
    name: &AccountName,
    account: &Account,
) -> Result<(), Imbalance> {
    for entry in account.statement.entries.iter() {
        if let Some(reference) = &entry.reference
            && ledger.user_of(name, reference) != Some(entry.transaction)
        {
            return Err(Imbalance::ReferenceForgotten {
                name: name.clone(),
                reference: reference.clone(),
                transaction: entry.transaction,
            });
        }
    }
    Ok(())
}

/// The checker is checked: each test breaks sound books in one place.
#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use nemcon_core::resource::Resource;
    use nemcon_core::time::Millis;

    use super::*;
    use crate::action::Action;
    use crate::redo::Redo;

    fn transaction() -> TransactionId {
        TransactionId::from_parts(Millis(1), 1)
    }

    fn name() -> AccountName {
        AccountName::new("alice").unwrap()
    }

    /// One account with 60 CZK, 40 having gone to another bank as "r1".
    fn sound() -> Ledger {
        let mut ledger = Ledger::new();
        let mut redo = Redo::default();
        for action in [
            Action::open("alice", "Alice", "CZK", 100, 0),
            Action::withdraw("alice", 40, "CZK", "r1", Contra::Clearing),
        ] {
            ledger
                .execute(Millis(0), transaction(), &action.unwrap(), &mut redo)
                .unwrap();
        }
        ledger.apply(&redo, &mut |_| true);
        assert_eq!(books_balance(&ledger), Ok(()));
        ledger
    }

    fn broken(how: impl FnOnce(&mut Ledger)) -> Imbalance {
        let mut ledger = sound();
        how(&mut ledger);
        books_balance(&ledger).unwrap_err()
    }

    fn alice(ledger: &mut Ledger) -> &mut Account {
        ledger.accounts.get_mut(&name()).unwrap()
    }

    #[test]
    fn a_lost_contra_entry_is_found() {
        let czk = Currency::new("CZK").unwrap();
        let found = broken(|ledger| {
            ledger.contras.remove(&(czk, Contra::Clearing));
        });
        assert_eq!(
            found.to_string(),
            "I7: CZK: customers 60 + cash -100 + clearing 0 = -40, want 0"
        );
    }

    #[test]
    fn a_wrong_balance_is_found() {
        let found = broken(|ledger| alice(ledger).header.balance_minor = 61);
        assert!(
            matches!(
                found,
                Imbalance::Entries {
                    entries_minor: 60,
                    ..
                }
            ),
            "{found}"
        );
        let found = broken(|ledger| alice(ledger).header.minimum_minor = 61);
        assert!(
            matches!(
                found,
                Imbalance::UnderMinimum {
                    balance_minor: 60,
                    ..
                }
            ),
            "{found}"
        );
        let found = broken(|ledger| alice(ledger).header.closed = true);
        assert!(
            matches!(
                found,
                Imbalance::ClosedWithMoney {
                    balance_minor: 60,
                    ..
                }
            ),
            "{found}"
        );
    }

    #[test]
    fn a_forgotten_reference_is_found() {
        let found = broken(|ledger| ledger.references.clear());
        assert!(
            matches!(found, Imbalance::ReferenceForgotten { .. }),
            "{found}"
        );
    }

    #[test]
    fn money_that_never_arrived_is_found() {
        let (paying, mut receiving) = (sound(), Ledger::new());
        assert!(clearing_is_settled([&paying, &receiving]).is_err());
        let mut redo = Redo::default();
        for action in [
            Action::open("bob", "", "CZK", 0, 0),
            Action::deposit("bob", 40, "CZK", "r1", Contra::Clearing),
        ] {
            receiving
                .execute(Millis(0), transaction(), &action.unwrap(), &mut redo)
                .unwrap();
        }
        receiving.apply(&redo, &mut |_| true);
        assert_eq!(clearing_is_settled([&paying, &receiving]), Ok(()));
    }
}
