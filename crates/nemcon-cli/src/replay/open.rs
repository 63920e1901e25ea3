//! Opening the accounts that are missing.
//!
//! Which there are is read first, so that a second replay opens none. Opening is
//! exclusive at a bank until it has committed, so many accounts go into one
//! transaction, and banks are served side by side. An account that somebody else
//! opens meanwhile is no accident: what is missing is read once more.

use std::collections::{BTreeMap, BTreeSet};

use nemcon_client::{Client, Ending, Transaction, operation, result};
use nemcon_core::id::ParticipantName;
use nemcon_core::message::Payload;
use nemcon_ledger::limits::PAGE_ACCOUNTS_MAX;
use nemcon_ledger::name::AccountName;
use nemcon_ledger::reason::ACCOUNT_EXISTS;
use nemcon_proto::bank::v1;
use tokio::task::JoinSet;

use super::{CURRENCY, Needs};
use crate::failure::Failure;
use crate::money::Minor;

/// Accounts opened in one transaction: enough that its cost no longer matters,
/// few enough that it does not hold the bank up.
const BATCH_ACCOUNTS_MAX: usize = 200;

/// Opens what is missing, at most `in_flight` banks at a time. Says how many
/// accounts that were.
pub(super) async fn missing(
    client: &Client,
    needs: Needs,
    in_flight: usize,
) -> Result<usize, Failure> {
    let mut opened = 0;
    let mut banks = JoinSet::new();
    for (bank, wanted) in needs {
        while banks.len() >= in_flight {
            opened += joined(banks.join_next().await)?;
        }
        let bank = Bank {
            client: client.clone(),
            name: bank,
        };
        banks.spawn(bank.open(wanted));
    }
    while !banks.is_empty() {
        opened += joined(banks.join_next().await)?;
    }
    Ok(opened)
}

/// How the task of a bank ended.
type Joined = Option<Result<Result<usize, Failure>, tokio::task::JoinError>>;

/// A task that panicked has a bug, and its accounts are not open.
fn joined(ended: Joined) -> Result<usize, Failure> {
    match ended {
        Some(Ok(opened)) => opened,
        Some(Err(error)) => Err(Failure::Nonsense(format!("a bug: {error}"))),
        None => Ok(0),
    }
}

/// One bank on which accounts are opened.
struct Bank {
    client: Client,
    name: ParticipantName,
}

impl Bank {
    /// Opens what is missing of these accounts, until nothing is.
    async fn open(self, mut wanted: BTreeMap<AccountName, Minor>) -> Result<usize, Failure> {
        let mut opened = 0;
        loop {
            let there = self.accounts().await?;
            wanted.retain(|name, _| !there.contains(name));
            let before = opened;
            let mut lost_a_race = false;
            let missing: Vec<(&AccountName, &Minor)> = wanted.iter().collect();
            for batch in missing.chunks(BATCH_ACCOUNTS_MAX) {
                if self.open_batch(batch).await? {
                    opened += batch.len();
                } else {
                    lost_a_race = true;
                }
            }
            if !lost_a_race {
                return Ok(opened);
            }
            tracing::debug!(bank = %self.name, now = opened - before, "accounts appeared meanwhile");
        }
    }

    /// Opens all of a batch, or nothing: `false` if one of them was there.
    async fn open_batch(&self, batch: &[(&AccountName, &Minor)]) -> Result<bool, Failure> {
        let open = |(name, opening): &(&AccountName, &Minor)| v1::Open {
            account: name.to_string(),
            owner: String::new(),
            currency: CURRENCY.into(),
            opening_balance_minor: opening.0,
            minimum_balance_minor: 0,
        };
        let operations = batch
            .iter()
            .map(|account| operation(&self.name, &open(account), false));
        let transaction = Transaction::new(operations);
        let report = self.client.run_until_decided(transaction).await?;
        match report.ending {
            Ending::Committed(_) => Ok(true),
            Ending::Aborted(cause) if cause.refusal.reason == ACCOUNT_EXISTS => Ok(false),
            Ending::Aborted(cause) => Err(Failure::Aborted {
                transaction: report.transaction,
                cause,
            }),
        }
    }

    /// The names of all accounts there are.
    async fn accounts(&self) -> Result<BTreeSet<AccountName>, Failure> {
        let mut names = BTreeSet::new();
        let mut after_account = String::new();
        loop {
            let page = self.page(after_account).await?;
            for account in &page.accounts {
                let name = account.account.parse();
                names.insert(name.map_err(|error| Failure::Nonsense(format!("{error}")))?);
            }
            after_account = match page.accounts.last() {
                Some(last) if page.more => last.account.clone(),
                _ => return Ok(names),
            };
        }
    }

    /// One page of accounts.
    async fn page(&self, after_account: String) -> Result<v1::AccountPage, Failure> {
        let action = v1::ReadAccounts {
            page_size: PAGE_ACCOUNTS_MAX,
            after_account,
        };
        loop {
            let transaction = Transaction::new([operation(&self.name, &action, true)]);
            let report = self.client.run_until_decided(transaction).await?;
            match report.ending {
                Ending::Committed(Some(results)) => return first(&results),
                // A restart has lost the page: reading it again is harmless.
                Ending::Committed(None) => {}
                Ending::Aborted(cause) => {
                    let transaction = report.transaction;
                    return Err(Failure::Aborted { transaction, cause });
                }
            }
        }
    }
}

/// The result of the only operation.
fn first(results: &[Payload]) -> Result<v1::AccountPage, Failure> {
    let payload = results.first();
    let payload = payload.ok_or_else(|| Failure::Nonsense("there is no result".into()))?;
    result(payload).map_err(|error| Failure::Nonsense(error.to_string()))
}
