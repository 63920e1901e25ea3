//! Names of what is locked and of what is stored.
//!
//! | bytes | lock | stored value |
//! |---|---|---|
//! | `0accounts` | the set of accounts | – |
//! | `a/<account>` | the account, known or not | header and last entries |
//! | `c/<currency>/<contra>` | – | a contra total |
//! | `r/<account>/<reference>` | – | the transaction that used it |
//!
//! An action's locks are taken in the order of their bytes: the set of accounts
//! first, then accounts by name. That is the same way round for everyone, so two
//! actions alone never deadlock; transactions of several actions still can.

use alloc::vec::Vec;

use nemcon_core::codec::CorruptLog;
use nemcon_core::lock::LockKey;

use crate::account::Contra;
use crate::money::Currency;
use crate::name::{AccountName, Reference};

/// The lock on the set of accounts. Sorts before every account's.
#[must_use]
pub fn accounts_lock() -> LockKey {
    LockKey::from(*b"0accounts")
}

/// The lock on one account, whether or not there is such an account.
#[must_use]
pub fn account_lock(name: &AccountName) -> LockKey {
    LockKey::from(account(name))
}

/// The data key of an account.
pub(crate) fn account(name: &AccountName) -> Vec<u8> {
    join(&["a", name.as_str()])
}

/// The data key of a contra total.
pub(crate) fn contra(currency: Currency, contra: Contra) -> Vec<u8> {
    join(&["c", currency.as_str(), contra.as_str()])
}

/// The data key of a reference.
pub(crate) fn reference(name: &AccountName, reference: &Reference) -> Vec<u8> {
    join(&["r", name.as_str(), reference.as_str()])
}

fn join(parts: &[&str]) -> Vec<u8> {
    parts.join("/").into_bytes()
}

/// A data key, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DataKey {
    /// Of an account.
    Account(AccountName),
    /// Of a contra total.
    Contra(Currency, Contra),
    /// Of a reference.
    Reference(AccountName, Reference),
}

impl DataKey {
    /// Reads what the functions above wrote.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, CorruptLog> {
        Self::read(bytes).ok_or_else(|| CorruptLog::value(bytes, "no key of a ledger"))
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = core::str::from_utf8(bytes).ok()?.split_once('/')?;
        // A reference may hold a slash, the part before it cannot.
        match (kind, rest.split_once('/')) {
            ("a", None) => Some(Self::Account(AccountName::new(rest).ok()?)),
            ("c", Some((currency, "cash"))) => {
                Some(Self::Contra(Currency::new(currency).ok()?, Contra::Cash))
            }
            ("c", Some((currency, "clearing"))) => Some(Self::Contra(
                Currency::new(currency).ok()?,
                Contra::Clearing,
            )),
            ("r", Some((name, reference))) => Some(Self::Reference(
                AccountName::new(name).ok()?,
                Reference::new(reference).ok()?,
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written() {
        let name = AccountName::new("a:1").unwrap();
        let slashed = Reference::new("r/x/ y").unwrap();
        let czk = Currency::new("CZK").unwrap();
        for (bytes, key) in [
            (account(&name), DataKey::Account(name.clone())),
            (
                contra(czk, Contra::Cash),
                DataKey::Contra(czk, Contra::Cash),
            ),
            (
                contra(czk, Contra::Clearing),
                DataKey::Contra(czk, Contra::Clearing),
            ),
            (
                reference(&name, &slashed),
                DataKey::Reference(name.clone(), slashed.clone()),
            ),
        ] {
            assert_eq!(DataKey::parse(&bytes), Ok(key));
        }
        for bad in [
            "",
            "a",
            "a/",
            "a/x/y",
            "c/CZK",
            "c/czk/cash",
            "c/CZK/gold",
            "r/a",
            "x/a",
        ] {
            assert!(DataKey::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(DataKey::parse(b"a/\xff").is_err());
    }

    #[test]
    fn the_set_of_accounts_is_locked_before_any_account() {
        assert!(accounts_lock() < account_lock(&AccountName::new("0").unwrap()));
    }
}
