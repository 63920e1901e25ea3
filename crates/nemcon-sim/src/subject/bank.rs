//! The bank's real ledger.

use nemcon_ledger::account::Contra;
use nemcon_ledger::action::NamedAccount;
use nemcon_ledger::{Action, ActionResult, Ledger, books_balance, clearing_is_settled};

use super::{Seen, Subject};
use crate::plan::{Data, Shape, Step, What};

/// What each account is opened with, in minor units.
pub(crate) const OPENING_MINOR: i64 = 100;

const CURRENCY: &str = "CZK";

fn account(key: u8) -> String {
    format!("k{key}")
}

fn key(name: &str) -> u8 {
    name.trim_start_matches('k').parse().unwrap_or(u8::MAX)
}

fn balance(account: &NamedAccount) -> (u8, i64) {
    (key(account.name.as_str()), account.header.balance_minor)
}

impl Subject for Ledger {
    const DATA: Data = Data::Bank;

    fn empty() -> Self {
        Self::new()
    }

    fn opening(at: usize, shape: &Shape) -> Vec<Step> {
        let what = What::Open;
        (0..shape.keys).map(|key| Step { at, key, what }).collect()
    }

    fn action(step: Step, _: u64) -> Action {
        let (name, contra) = (account(step.key), Contra::Clearing);
        let made = match step.what {
            What::Read | What::Append => Action::read(&name),
            What::Take(amount) => Action::withdraw(&name, i64::from(amount), CURRENCY, "", contra),
            What::Put(amount) => Action::deposit(&name, i64::from(amount), CURRENCY, "", contra),
            What::Open => Action::open(&name, "somebody", CURRENCY, OPENING_MINOR, 0),
            What::ReadAll => Action::read_accounts(0, ""),
        };
        // Names and amounts of ours are within all limits.
        made.unwrap_or(Action::Audit)
    }

    fn lock_name(key: u8) -> String {
        account(key)
    }

    fn seen(_: Step, result: ActionResult) -> Seen {
        match result {
            ActionResult::Account(account) => Seen::Balance(balance(&account).1),
            ActionResult::Page(page) => Seen::Balances(page.accounts.iter().map(balance).collect()),
            ActionResult::Statement(_) | ActionResult::Totals(_) => Seen::Nothing,
        }
    }

    fn contents(&self) -> Vec<(u8, Seen)> {
        let all = self.accounts();
        all.map(|(name, account)| {
            let balance = account.header.balance_minor;
            (key(name.as_str()), Seen::Balance(balance))
        })
        .collect()
    }

    fn sound(&self) -> Result<(), String> {
        books_balance(self).map_err(|imbalance| imbalance.to_string())
    }

    fn settled(all: &[&Self]) -> Result<(), String> {
        clearing_is_settled(all.iter().copied()).map_err(|imbalance| imbalance.to_string())
    }
}
