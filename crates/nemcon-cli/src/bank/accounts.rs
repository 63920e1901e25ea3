//! Opening, closing, listing and showing accounts.

use nemcon_client::operation;
use nemcon_core::id::ParticipantName;
use nemcon_core::reason::Reason;
use nemcon_ledger::limits::PAGE_ACCOUNTS_MAX;
use nemcon_proto::bank::v1;
use serde_json::{Value, json};

use super::{Accounts, Close, Open, Show};
use crate::failure::{Exit, Failure};
use crate::money::Minor;
use crate::out::say;
use crate::path::AccountPath;
use crate::session::Session;
use crate::table::Table;

/// `nemcon bank open`.
pub(super) async fn open(session: &Session, arguments: Open) -> Result<Exit, Failure> {
    let Open {
        path,
        currency,
        opening_balance,
        minimum_balance,
        owner,
        json,
    } = arguments;
    let action = v1::Open {
        account: path.account.to_string(),
        owner: owner.to_string(),
        currency: currency.to_string(),
        opening_balance_minor: opening_balance.0,
        minimum_balance_minor: minimum_balance.0,
    };
    let done = session
        .run(vec![operation(&path.bank, &action, false)])
        .await?;
    if json {
        let transaction = done.transaction.to_string();
        crate::json::print(&json!({ "account": path.to_string(), "transaction_id": transaction }));
    } else {
        say!("opened {path} with {opening_balance} {currency}");
    }
    Ok(Exit::Done)
}

/// `nemcon bank close`.
pub(super) async fn close(session: &Session, arguments: Close) -> Result<Exit, Failure> {
    let Close { path } = arguments;
    let action = v1::Close {
        account: path.account.to_string(),
    };
    session
        .run(vec![operation(&path.bank, &action, false)])
        .await?;
    say!("closed {path}");
    Ok(Exit::Done)
}

/// `nemcon bank accounts`.
pub(super) async fn list(session: &Session, arguments: Accounts) -> Result<Exit, Failure> {
    let Accounts { bank: named, json } = arguments;
    let registered = session.participants().iter();
    let banks: Vec<ParticipantName> = match &named {
        Some(bank) => vec![bank.clone()],
        None => registered.map(|view| view.name.clone()).collect(),
    };
    let mut table = Table::new([
        "ACCOUNT", "OWNER", ">BALANCE", ">MINIMUM", "CURRENCY", "STATE",
    ]);
    let mut listed = Vec::new();
    for bank in &banks {
        let mut after = String::new();
        loop {
            let page = match page(session, bank, after).await {
                // Somebody asked for all banks, and this is none.
                Err(failure) if named.is_none() && no_bank(&failure).is_some() => break,
                page => page?,
            };
            for account in &page.accounts {
                table.row(row(bank, account));
            }
            if json {
                listed.extend(page.accounts.iter().map(|account| as_json(bank, account)));
            }
            after = match page.accounts.last() {
                Some(last) if page.more => last.account.clone(),
                _ => break,
            };
        }
    }
    if json {
        crate::json::print(&json!({ "accounts": listed }));
    } else {
        say!("{table}");
    }
    Ok(Exit::Done)
}

/// The participant that has just said that it knows none of a bank's actions, if it has:
/// it keeps something else, and is left out, which is said.
pub(super) fn no_bank(failure: &Failure) -> Option<ParticipantName> {
    let Failure::Aborted { cause, .. } = failure else {
        return None;
    };
    let name = cause.participant.clone()?;
    if cause.refusal.reason != Reason::INVALID_ACTION {
        return None;
    }
    eprintln!("nemcon: {name} is no bank, and is left out");
    Some(name)
}

/// A page of accounts, in a transaction of its own: between two pages accounts may
/// be opened, which a list for people can bear. What must not move is the audit's
/// business.
async fn page(
    session: &Session,
    bank: &ParticipantName,
    after_account: String,
) -> Result<v1::AccountPage, Failure> {
    let action = v1::ReadAccounts {
        page_size: PAGE_ACCOUNTS_MAX,
        after_account,
    };
    session.read(bank, &action).await
}

/// A line of the list, with the account named as commands take it.
fn row(bank: &ParticipantName, account: &v1::Account) -> [String; 6] {
    [
        format!("{bank}/{}", account.account),
        account.owner.clone(),
        Minor(account.balance_minor).to_string(),
        Minor(account.minimum_balance_minor).to_string(),
        account.currency.clone(),
        state(account).into(),
    ]
}

/// A closed account is never open again, but keeps its name and its entries.
fn state(account: &v1::Account) -> &'static str {
    if account.closed { "closed" } else { "open" }
}

/// For programs: money in minor units, as it is stored.
fn as_json(bank: &ParticipantName, account: &v1::Account) -> Value {
    json!({
        "bank": bank.as_str(),
        "account": account.account,
        "owner": account.owner,
        "currency": account.currency,
        "balance_minor": account.balance_minor,
        "minimum_balance_minor": account.minimum_balance_minor,
        "closed": account.closed,
    })
}

/// `nemcon bank show`.
pub(super) async fn show(session: &Session, arguments: Show) -> Result<Exit, Failure> {
    let Show {
        path,
        entries,
        json,
    } = arguments;
    let AccountPath { bank, account } = &path;
    let (read, read_entries) = (
        v1::Read {
            account: account.to_string(),
        },
        v1::ReadEntries {
            account: account.to_string(),
        },
    );
    // In one transaction, so that the entries are those of that balance.
    let operations = vec![
        operation(bank, &read, true),
        operation(bank, &read_entries, true),
    ];
    let done = session.run(operations).await?;
    let lost = || Failure::Nonsense("there is no result".into());
    let account: v1::Account = done.result(0)?.ok_or_else(lost)?;
    let mut statement: v1::Statement = done.result(1)?.ok_or_else(lost)?;
    fold(&mut statement, entries);
    if json {
        let mut shown = as_json(bank, &account);
        shown["brought_forward_minor"] = statement.brought_forward_minor.into();
        shown["entries"] = statement.entries.iter().map(entry_as_json).collect();
        crate::json::print(&shown);
    } else {
        print_account(&path, &account, &statement);
    }
    Ok(Exit::Done)
}

/// Keeps the last entries, and sums the others up in what was brought forward.
fn fold(statement: &mut v1::Statement, keep: usize) {
    let older = statement.entries.len().saturating_sub(keep);
    let folded: i64 = statement
        .entries
        .drain(..older)
        .map(|entry| entry.amount_minor)
        .sum();
    statement.brought_forward_minor += folded;
}

/// For people. What is empty or zero by default is left out.
fn print_account(path: &AccountPath, account: &v1::Account, statement: &v1::Statement) {
    let currency = &account.currency;
    let balance = Minor(account.balance_minor);
    say!("{path}  {balance} {currency}  ({})", state(account));
    if !account.owner.is_empty() {
        say!("owner    {}", account.owner);
    }
    if account.minimum_balance_minor != 0 {
        say!(
            "minimum  {} {currency}",
            Minor(account.minimum_balance_minor)
        );
    }
    say!();
    let mut table = Table::new([
        "BOOKED",
        ">AMOUNT",
        ">BALANCE",
        "AGAINST",
        "REFERENCE",
        "TRANSACTION",
    ]);
    let brought_forward = Minor(statement.brought_forward_minor);
    if brought_forward != Minor(0) {
        let brought_forward = brought_forward.to_string();
        let before = "brought forward".to_owned();
        let none = String::new;
        table.row([
            before,
            brought_forward.clone(),
            brought_forward,
            none(),
            none(),
            none(),
        ]);
    }
    for entry in &statement.entries {
        table.row([
            booked_at(entry),
            Minor(entry.amount_minor).to_string(),
            Minor(entry.balance_minor).to_string(),
            against(entry).into(),
            entry.reference.clone(),
            entry.transaction_id.clone(),
        ]);
    }
    say!("{table}");
}

/// RFC 3339, in UTC.
fn booked_at(entry: &v1::Entry) -> String {
    entry
        .booked_at
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// The other side of the double entry.
fn against(entry: &v1::Entry) -> &'static str {
    match entry.contra() {
        v1::Contra::Cash => "cash",
        v1::Contra::Clearing => "clearing",
        v1::Contra::Unspecified => "?",
    }
}

/// An entry for programs.
fn entry_as_json(entry: &v1::Entry) -> Value {
    json!({
        "booked_at": booked_at(entry),
        "amount_minor": entry.amount_minor,
        "balance_minor": entry.balance_minor,
        "contra": against(entry),
        "reference": entry.reference,
        "transaction_id": entry.transaction_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(amounts: &[i64]) -> v1::Statement {
        let entry = |amount_minor: &i64| v1::Entry {
            amount_minor: *amount_minor,
            ..v1::Entry::default()
        };
        v1::Statement {
            brought_forward_minor: 5,
            entries: amounts.iter().map(entry).collect(),
        }
    }

    #[test]
    fn entries_that_are_not_shown_are_brought_forward() {
        let mut shown = statement(&[1, -2, 4]);
        fold(&mut shown, 1);
        assert_eq!(shown.brought_forward_minor, 4);
        assert_eq!(shown.entries, statement(&[4]).entries);
        let mut all = statement(&[1, -2, 4]);
        fold(&mut all, 10);
        assert_eq!(all, statement(&[1, -2, 4]));
    }
}
