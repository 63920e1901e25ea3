//! The bank's noes as sentences: each names the account, its figures and what is
//! allowed. Amounts are in minor units and say so.

use alloc::format;

use nemcon_core::id::TransactionId;
use nemcon_core::reason::Refusal;

use crate::account::Header;
use crate::money::{Amount, Currency};
use crate::name::{AccountName, Reference};
use crate::reason;

pub(crate) fn insufficient_funds(name: &AccountName, header: &Header, amount: Amount) -> Refusal {
    let Header {
        balance_minor,
        minimum_minor,
        currency,
        ..
    } = header;
    Refusal::new(
        reason::INSUFFICIENT_FUNDS,
        format!(
            "account {name} has {balance_minor} {currency} and must keep {minimum_minor}; \
             cannot take {} (minor units)",
            amount.minor()
        ),
    )
}

pub(crate) fn balance_overflow(name: &AccountName, header: &Header, amount: Amount) -> Refusal {
    let Header {
        balance_minor,
        currency,
        ..
    } = header;
    Refusal::new(
        reason::BALANCE_OVERFLOW,
        format!(
            "account {name} has {balance_minor} {currency}; with {} more it would pass {} \
             (minor units)",
            amount.minor(),
            i64::MAX
        ),
    )
}

pub(crate) fn total_overflow(what: &str, currency: Currency, total_minor: i128) -> Refusal {
    Refusal::new(
        reason::BALANCE_OVERFLOW,
        format!(
            "the total of {what} is {total_minor} {currency}; an audit can report {} to {} \
             (minor units)",
            i64::MIN,
            i64::MAX
        ),
    )
}

pub(crate) fn currency_mismatch(name: &AccountName, kept: Currency, asked: Currency) -> Refusal {
    Refusal::new(
        reason::CURRENCY_MISMATCH,
        format!("account {name} is kept in {kept}, not in {asked}"),
    )
}

pub(crate) fn unknown_account(name: &AccountName) -> Refusal {
    Refusal::new(
        reason::UNKNOWN_ACCOUNT,
        format!("there is no account {name} at this bank"),
    )
}

pub(crate) fn account_closed(name: &AccountName) -> Refusal {
    Refusal::new(
        reason::ACCOUNT_CLOSED,
        format!("account {name} is closed: it can be read, nothing else"),
    )
}

pub(crate) fn account_exists(name: &AccountName, closed: bool) -> Refusal {
    let message = if closed {
        format!("account {name} existed and is closed; its name is not given out again")
    } else {
        format!("account {name} exists already; choose another name")
    };
    Refusal::new(reason::ACCOUNT_EXISTS, message)
}

pub(crate) fn duplicate_reference(
    name: &AccountName,
    reference: &Reference,
    first: TransactionId,
) -> Refusal {
    Refusal::new(
        reason::DUPLICATE_REFERENCE,
        format!("reference {reference:?} was used on account {name} by transaction {first}"),
    )
}

pub(crate) fn balance_not_zero(name: &AccountName, header: &Header) -> Refusal {
    let Header {
        balance_minor,
        currency,
        ..
    } = header;
    Refusal::new(
        reason::BALANCE_NOT_ZERO,
        format!(
            "account {name} has {balance_minor} {currency} (minor units); only an account with \
             0 can be closed"
        ),
    )
}
