//! The accounts of a bench: opened where they are missing, and added up.
//!
//! They have names of their own and a currency for tests, so a bench can run on a
//! cluster that has others. Nobody else may move money on them meanwhile, nor may
//! two benches run at a time: the books would not add up.

use std::collections::BTreeSet;

use nemcon_client::{AddressedOperation, Client, Ending, Transaction, operation, result};
use nemcon_core::id::ParticipantName;
use nemcon_core::message::Payload;
use nemcon_core::reason::Reason;
use nemcon_proto::bank::v1;
use tokio::task::JoinSet;

use crate::chance::Chance;
use crate::error::BenchError;
use crate::workload::CURRENCY;

/// Accounts opened in one transaction: enough that its cost no longer matters, few
/// enough that its record stays small.
const BATCH_ACCOUNTS_MAX: usize = 500;

/// Accounts read at once: as many as a bank gives.
const PAGE_ACCOUNTS: u32 = 1_000;

/// A kind of accounts: those whose names begin like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stock(&'static str);

/// One account to a customer.
pub(crate) const PLAIN: Stock = Stock("bench-plain:");
/// Of `SmallBank`.
pub(crate) const SAVINGS: Stock = Stock("bench-savings:");
/// Of `SmallBank`.
pub(crate) const CHECKING: Stock = Stock("bench-checking:");

impl Stock {
    /// The account of a customer.
    pub(crate) fn name(self, number: u32) -> String {
        format!("{}{number:07}", self.0)
    }
}

/// How accounts of a kind are opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewAccounts {
    pub(crate) stock: Stock,
    /// What each starts with: chosen uniformly, from least to most.
    pub(crate) opening_minor: (i64, i64),
    /// What must stay on it; at most 0.
    pub(crate) minimum_minor: i64,
}

/// Accounts of one kind at one bank.
#[derive(Clone)]
struct Shelf {
    client: Client,
    bank: ParticipantName,
    stock: Stock,
}

/// What there is.
#[derive(Default)]
struct Found {
    names: BTreeSet<String>,
    sum_minor: i128,
}

/// Opens what is missing of so many accounts of each kind at each bank. Gives how
/// many that were.
pub(crate) async fn open_missing(
    client: &Client,
    banks: &[ParticipantName],
    kinds: &[NewAccounts],
    each: u32,
    chance: &mut Chance,
) -> Result<u64, BenchError> {
    let mut tasks = JoinSet::new();
    for bank in banks {
        let (client, bank, kinds) = (client.clone(), bank.clone(), kinds.to_vec());
        let mut chance = chance.fork();
        // One kind after the other: opening is exclusive at a bank.
        tasks.spawn(async move {
            let mut opened = 0;
            for new in kinds {
                let (client, bank) = (client.clone(), bank.clone());
                let shelf = Shelf {
                    client,
                    bank,
                    stock: new.stock,
                };
                opened += shelf.open_missing(new, each, &mut chance).await?;
            }
            Ok(opened)
        });
    }
    let mut opened = 0;
    while let Some(done) = tasks.join_next().await {
        opened += joined(done)?;
    }
    Ok(opened)
}

/// Those of the participants that are banks: the others know no such action as reading
/// accounts.
pub(crate) async fn banks(
    client: &Client,
    participants: Vec<ParticipantName>,
) -> Result<Vec<ParticipantName>, BenchError> {
    let mut banks = Vec::new();
    for bank in participants {
        let read = v1::ReadAccounts {
            page_size: 1,
            after_account: String::new(),
        };
        let read = Transaction::new([operation(&bank, &read, true)]);
        let report = client.run_until_decided(read).await?;
        match report.ending {
            Ending::Aborted(cause) if cause.refusal.reason == Reason::INVALID_ACTION => {}
            // Whatever else is wrong is told by who needs it.
            Ending::Committed(_) | Ending::Aborted(_) => banks.push(bank),
        }
    }
    Ok(banks)
}

/// The sum of all accounts of these kinds at these banks, in cents.
///
/// Page by page, each in a transaction of its own. That is exact as long as nobody
/// begins anything: what is decided and not yet carried out holds its locks, and the
/// reader waits for them.
pub(crate) async fn sum_minor(
    client: &Client,
    banks: &[ParticipantName],
    kinds: &[NewAccounts],
) -> Result<i128, BenchError> {
    let mut tasks = JoinSet::new();
    for bank in banks {
        for new in kinds {
            let shelf = Shelf {
                client: client.clone(),
                bank: bank.clone(),
                stock: new.stock,
            };
            tasks.spawn(async move { Ok(shelf.read().await?.sum_minor) });
        }
    }
    let mut sum = 0;
    while let Some(done) = tasks.join_next().await {
        sum += joined(done)?;
    }
    Ok(sum)
}

/// A task that panicked has a bug, and the panic goes on.
fn joined<T>(done: Result<Result<T, BenchError>, tokio::task::JoinError>) -> Result<T, BenchError> {
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

impl Shelf {
    async fn open_missing(
        &self,
        new: NewAccounts,
        each: u32,
        chance: &mut Chance,
    ) -> Result<u64, BenchError> {
        let there = self.read().await?.names;
        let names = (0..each).map(|number| self.stock.name(number));
        let missing: Vec<String> = names.filter(|name| !there.contains(name)).collect();
        for batch in missing.chunks(BATCH_ACCOUNTS_MAX) {
            let (least, most) = new.opening_minor;
            let opens = batch.iter().map(|name| v1::Open {
                account: name.clone(),
                owner: "nemcon bench".into(),
                currency: CURRENCY.into(),
                opening_balance_minor: chance.between(least, most),
                minimum_balance_minor: new.minimum_minor,
            });
            let opens: Vec<_> = opens
                .map(|open| operation(&self.bank, &open, false))
                .collect();
            self.run("opening accounts", opens).await?;
        }
        Ok(missing.len() as u64)
    }

    /// Reads all accounts of the kind.
    async fn read(&self) -> Result<Found, BenchError> {
        let mut found = Found::default();
        let mut after_account = self.stock.0.to_owned();
        loop {
            let read = v1::ReadAccounts {
                page_size: PAGE_ACCOUNTS,
                after_account,
            };
            let read = operation(&self.bank, &read, true);
            let results = self.run("reading accounts", vec![read]).await?;
            let page: v1::AccountPage = match results.first() {
                Some(page) => result(page)?,
                None => v1::AccountPage::default(),
            };
            let accounts = page.accounts.len();
            after_account = match page.accounts.last() {
                Some(last) => last.account.clone(),
                None => return Ok(found),
            };
            let ours = page.accounts.into_iter();
            let ours = ours.take_while(|account| account.account.starts_with(self.stock.0));
            let before = found.names.len();
            for account in ours {
                found.sum_minor += i128::from(account.balance_minor);
                found.names.insert(account.account);
            }
            // Others have come, or nothing.
            if !page.more || found.names.len() - before < accounts {
                return Ok(found);
            }
        }
    }

    /// Runs operations, again as long as that can help.
    async fn run(
        &self,
        doing: &'static str,
        operations: Vec<AddressedOperation>,
    ) -> Result<Vec<Payload>, BenchError> {
        let transaction = Transaction::new(operations);
        let report = self.client.run_until_decided(transaction).await?;
        match report.ending {
            // Results are lost only if the coordinator restarts in between.
            Ending::Committed(results) => Ok(results.unwrap_or_default()),
            Ending::Aborted(cause) => Err(BenchError::Aborted {
                doing,
                transaction: report.transaction,
                cause: Box::new(cause),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_their_numbers_do() {
        let names: Vec<String> = [0, 9, 10, 999_999].map(|number| PLAIN.name(number)).into();
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(names[1], "bench-plain:0000009");
    }

    #[test]
    fn no_kind_is_the_beginning_of_another() {
        for one in [PLAIN, SAVINGS, CHECKING] {
            for other in [PLAIN, SAVINGS, CHECKING] {
                assert!(one == other || !one.0.starts_with(other.0));
            }
        }
    }
}
