//! What a caller wrote that means nothing.

use alloc::string::String;

use nemcon_core::reason::{Reason, Refusal};

use crate::limits;
use crate::money::Currency;
use crate::reason;

/// A field that cannot be taken. At the border it becomes a [`Refusal`], and the
/// refusal a no vote: a transaction that asks for nonsense aborts like any other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not an account's name.
    #[error(
        "account name {0:?}: want 1 to {max} characters of A-Z a-z 0-9 . _ : -, the first a letter or a digit",
        max = limits::ACCOUNT_NAME_CHARS_MAX
    )]
    AccountName(String),
    /// Not an owner's name.
    #[error(
        "owner {0:?}: want at most {max} characters, none of them a control character",
        max = limits::OWNER_CHARS_MAX
    )]
    Owner(String),
    /// Not a currency.
    #[error("currency {0:?}: want three letters A-Z (ISO 4217), for example CZK")]
    Currency(String),
    /// Not a reference.
    #[error(
        "reference {0:?}: want 1 to {max} printable ASCII characters",
        max = limits::REFERENCE_CHARS_MAX
    )]
    Reference(String),
    /// An amount of zero or less, in minor units.
    #[error("amount {amount_minor} {currency} (minor units): want at least 1")]
    Amount {
        /// The amount.
        amount_minor: i64,
        /// Of what.
        currency: Currency,
    },
    /// A minimum balance above zero, in minor units.
    #[error("minimum balance {0} (minor units): want at most 0")]
    MinimumBalance(i64),
    /// An opening balance under the minimum, both in minor units.
    #[error(
        "opening balance {balance_minor} (minor units): want at least the minimum balance, {minimum_minor}"
    )]
    OpeningBalance {
        /// What the account was to start with.
        balance_minor: i64,
        /// What it must not go under.
        minimum_minor: i64,
    },
}

impl Invalid {
    /// The word for programs.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::AccountName(_) => reason::INVALID_ACCOUNT,
            Self::Owner(_) => reason::INVALID_OWNER,
            Self::Currency(_) => reason::INVALID_CURRENCY,
            Self::Reference(_) => reason::INVALID_REFERENCE,
            Self::Amount { .. } => reason::AMOUNT_NOT_POSITIVE,
            Self::MinimumBalance(_) => reason::INVALID_MINIMUM_BALANCE,
            Self::OpeningBalance { .. } => reason::INVALID_OPENING_BALANCE,
        }
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::new(invalid.reason(), alloc::format!("{invalid}"))
    }
}

/// As much of a refused text as its error repeats.
pub(crate) fn echo(text: &str) -> String {
    match text.char_indices().nth(limits::ECHO_CHARS_MAX) {
        Some((at, _)) => alloc::format!("{}…", &text[..at]),
        None => String::from(text),
    }
}
