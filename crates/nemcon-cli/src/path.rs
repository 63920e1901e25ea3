//! `BANK/ACCOUNT`: how every command names an account.

use std::fmt;
use std::str::FromStr;

use nemcon_core::id::{NameError, ParticipantName};
use nemcon_ledger::invalid::Invalid;
use nemcon_ledger::name::AccountName;

/// An account and the bank that keeps it. Neither name can hold a slash, so
/// there is one way to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountPath {
    /// The bank, as it is registered at the coordinator.
    pub(crate) bank: ParticipantName,
    /// The account there.
    pub(crate) account: AccountName,
}

/// A text that names no account.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PathError {
    /// There is no slash, so no bank.
    #[error("{0:?} does not say at which bank; want BANK/ACCOUNT, for example bank-a/alice")]
    NoBank(String),
    /// The part before the slash is no name.
    #[error(transparent)]
    Bank(#[from] NameError),
    /// The part after the slash is no name.
    #[error(transparent)]
    Account(#[from] Invalid),
}

impl FromStr for AccountPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let (bank, account) = text
            .split_once('/')
            .ok_or_else(|| PathError::NoBank(text.to_owned()))?;
        Ok(Self {
            bank: bank.parse()?,
            account: account.parse()?,
        })
    }
}

impl fmt::Display for AccountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bank, self.account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_bank_and_an_account() {
        let path: AccountPath = "bank-a/alice".parse().unwrap();
        assert_eq!(path.bank.as_str(), "bank-a");
        assert_eq!(path.account.as_str(), "alice");
        assert_eq!(path.to_string(), "bank-a/alice");
    }

    #[test]
    fn what_is_no_path_is_told_what_one_is() {
        for (text, why) in [
            ("alice", "want BANK/ACCOUNT"),
            ("", "want BANK/ACCOUNT"),
            ("/alice", "participant name \"\""),
            ("bank-a/", "account name \"\""),
            ("bank-a/al ice", "account name \"al ice\""),
            ("bank-a/alice/x", "account name \"alice/x\""),
        ] {
            let error = text.parse::<AccountPath>().unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}
