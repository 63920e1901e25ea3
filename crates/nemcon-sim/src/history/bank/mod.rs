//! The bank test as Jepsen runs it: transfers between a few accounts, and reads
//! of all balances in one transaction.
//!
//! # What is checked
//!
//! 1. Every committed read names every account, its balances add up to the total,
//!    and none is under the minimum. This is where torn transfers show (I7).
//! 2. There is one order of all transactions that respects real time and in which
//!    each read found the initial balances and the transfers before it, all of
//!    them and no other (I8). This is where stale reads, lost transfers and those
//!    of aborted transactions show, which leave the total alone.
//!
//! # What is not
//!
//! Balances do not tell who made them, so (2) is a search, over sets of transfers
//! that may explain what a read found. It is exact as long as it ends; after
//! [`STEPS_MAX`] steps it gives up, which is an [`Explanation`] of its own and
//! neither a pass nor a failure. Lists ([`super::list`]) are the test of I8 that
//! never gives up.
//!
//! (2) does not use that a committed transfer needs enough money when its turn
//! comes, nor that a refused one had too little; nor what a transaction read that
//! was never answered.

mod search;

use std::collections::BTreeMap;
use std::fmt;

use super::{History, Number, Outcome};

pub use self::search::STEPS_MAX;

/// The name of an account, unique over all banks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account(pub String);

impl From<&str> for Account {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a customer asks of the bank. Amounts are in minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Moves money.
    Transfer {
        /// Who pays.
        from: Account,
        /// Who gets it.
        to: Account,
        /// How much.
        amount_minor: i64,
    },
    /// Reads the balances of all accounts.
    ReadAll {
        /// What they were; `None` if the client has not heard.
        balances: Option<BTreeMap<Account, i64>>,
    },
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transfer {
                from,
                to,
                amount_minor,
            } => write!(f, "transfer {from} {to} {amount_minor}"),
            Self::ReadAll { balances: None } => f.write_str("read ?"),
            Self::ReadAll {
                balances: Some(balances),
            } => {
                f.write_str("read")?;
                balances
                    .iter()
                    .try_for_each(|(account, balance)| write!(f, " {account}={balance}"))
            }
        }
    }
}

/// What the bank was before the first transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bank {
    /// The balance of each account, in minor units.
    pub initial_minor: BTreeMap<Account, i64>,
    /// No balance may go under it.
    pub minimum_minor: i64,
}

/// What is known of a history in which nothing wrong was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// One order of all transactions explains every read.
    Complete,
    /// Totals and minimums hold; the search for an order gave up.
    GaveUp,
}

/// What is wrong with a history of the bank. Amounts are in minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BankAnomaly {
    /// Not a history that can be judged: a mistake of whoever recorded it.
    AnsweredBeforeAsked {
        /// Which transaction.
        transaction: Number,
    },
    /// Not a history that can be judged: a transfer names an account that the
    /// bank does not have.
    NoSuchAccount {
        /// Which transaction.
        transaction: Number,
        /// Which account.
        account: Account,
    },
    /// A read has an account too many, or one too few.
    Accounts {
        /// Who read.
        reader: Number,
        /// The first account that is in the bank or in the read but not in both.
        account: Account,
    },
    /// Money came from nowhere or went there.
    Total {
        /// Who read.
        reader: Number,
        /// What the balances add up to.
        total_minor: i128,
        /// What they must.
        want_minor: i128,
    },
    /// An account was overdrawn.
    UnderMinimum {
        /// Who read.
        reader: Number,
        /// Which account.
        account: Account,
        /// What it had.
        balance_minor: i64,
        /// What it must have.
        minimum_minor: i64,
    },
    /// No order of the transactions explains all reads; those that ended earlier
    /// than this one can be explained.
    Unexplained {
        /// Who read.
        reader: Number,
        /// The transaction, as it was.
        transaction: super::Transaction<Operation>,
    },
}

impl fmt::Display for BankAnomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnsweredBeforeAsked { transaction } => write!(
                f,
                "a history that cannot be judged: {transaction} was answered before it was asked for"
            ),
            Self::NoSuchAccount {
                transaction,
                account,
            } => write!(
                f,
                "a history that cannot be judged: {transaction} names account {account}, which the bank does not have"
            ),
            Self::Accounts { reader, account } => write!(
                f,
                "I7 (conservation): account {account} is in the bank or in what {reader} read, but not in both"
            ),
            Self::Total {
                reader,
                total_minor,
                want_minor,
            } => write!(
                f,
                "I7 (conservation): {reader} read balances that add up to {total_minor}, want {want_minor}"
            ),
            Self::UnderMinimum {
                reader,
                account,
                balance_minor,
                minimum_minor,
            } => write!(
                f,
                "I7 (conservation): {reader} read {balance_minor} in account {account}, under the minimum of {minimum_minor}"
            ),
            Self::Unexplained {
                reader,
                transaction,
            } => write!(
                f,
                "I8 (strict serializability): no order of the transfers explains all reads up to {reader} {transaction}"
            ),
        }
    }
}

impl std::error::Error for BankAnomaly {}

impl Bank {
    /// Checks what clients saw, as the docs of this module say.
    ///
    /// # Errors
    /// The first read that is wrong by itself, or else one that no order explains.
    pub fn check(&self, history: &History<Operation>) -> Result<Explanation, BankAnomaly> {
        if let Some(transaction) = history.answered_too_early() {
            return Err(BankAnomaly::AnsweredBeforeAsked { transaction });
        }
        for (number, transaction) in history.transactions() {
            for operation in &transaction.operations {
                match operation {
                    Operation::Transfer { from, to, .. } => self.has(number, [from, to])?,
                    Operation::ReadAll { balances } => {
                        if let Some(balances) = balances
                            && matches!(transaction.outcome, Outcome::Committed { .. })
                        {
                            self.read_is_possible(number, balances)?;
                        }
                    }
                }
            }
        }
        search::explain(self, history, STEPS_MAX)
    }

    fn has(&self, transaction: Number, accounts: [&Account; 2]) -> Result<(), BankAnomaly> {
        let missing = accounts
            .into_iter()
            .find(|account| !self.initial_minor.contains_key(account));
        missing.map_or(Ok(()), |account| {
            Err(BankAnomaly::NoSuchAccount {
                transaction,
                account: account.clone(),
            })
        })
    }

    /// All accounts, the right total, no balance under the minimum.
    fn read_is_possible(
        &self,
        reader: Number,
        balances: &BTreeMap<Account, i64>,
    ) -> Result<(), BankAnomaly> {
        let missing = |a: &BTreeMap<Account, i64>, b: &BTreeMap<Account, i64>| {
            a.keys().find(|account| !b.contains_key(account)).cloned()
        };
        let differs = missing(&self.initial_minor, balances)
            .or_else(|| missing(balances, &self.initial_minor));
        if let Some(account) = differs {
            return Err(BankAnomaly::Accounts { reader, account });
        }
        let total = |of: &BTreeMap<Account, i64>| of.values().copied().map(i128::from).sum();
        let (total_minor, want_minor) = (total(balances), total(&self.initial_minor));
        if total_minor != want_minor {
            return Err(BankAnomaly::Total {
                reader,
                total_minor,
                want_minor,
            });
        }
        let under = balances
            .iter()
            .find(|(_, balance)| **balance < self.minimum_minor);
        under.map_or(Ok(()), |(account, balance)| {
            Err(BankAnomaly::UnderMinimum {
                reader,
                account: account.clone(),
                balance_minor: *balance,
                minimum_minor: self.minimum_minor,
            })
        })
    }
}
