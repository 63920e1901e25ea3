//! Money from one account to another, at the same bank or at two.

use crate::account::Contra;
use crate::action::{Action, Movement};
use crate::money::Amount;
use crate::name::{AccountName, Reference};

/// The two halves of a transfer. Both go through clearing, so that the books of
/// each bank balance by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// For the paying account's bank.
    pub withdraw: Action,
    /// For the receiving account's bank.
    pub deposit: Action,
}

/// Makes the two actions of a transfer. The reference, if any, is used on both
/// accounts; so with one, they must not be the same account of the same bank.
#[must_use]
pub fn transfer(
    from: &AccountName,
    to: &AccountName,
    amount: Amount,
    reference: Option<&Reference>,
) -> Transfer {
    let half = |account: &AccountName| Movement {
        account: account.clone(),
        amount,
        contra: Contra::Clearing,
        reference: reference.cloned(),
    };
    Transfer {
        withdraw: Action::Withdraw(half(from)),
        deposit: Action::Deposit(half(to)),
    }
}
