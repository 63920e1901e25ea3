//! Reading many accounts: pages and audits.

use nemcon_ledger::action::{AccountPage, CurrencyTotal};
use nemcon_ledger::money::Currency;
use nemcon_ledger::{Action, ActionResult, reason};

use crate::bank::{Bank, bank, withdraw};

fn page(bank: &mut Bank, size: u32, after: &str) -> AccountPage {
    match bank.run([Action::read_accounts(size, after)]).as_deref() {
        Ok([ActionResult::Page(page)]) => page.clone(),
        other => panic!("a page answered {other:?}"),
    }
}

#[test]
fn pages_walk_all_accounts_once_and_say_when_they_end() {
    let mut bank = Bank::default();
    let open = |n| Action::open(&format!("n{n:04}"), "", "CZK", 0, 0);
    bank.run((0..1_205).map(open)).unwrap();
    assert_eq!(page(&mut bank, 0, "").accounts.len(), 100, "the default");
    assert_eq!(
        page(&mut bank, u32::MAX, "").accounts.len(),
        1_000,
        "the limit"
    );

    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = page(&mut bank, 241, &after);
        seen.extend(page.accounts.iter().map(|account| account.name.to_string()));
        after = seen.last().cloned().unwrap();
        if !page.more {
            break;
        }
    }
    let all: Vec<String> = (0..1_205).map(|n| format!("n{n:04}")).collect();
    assert_eq!(seen, all);
    assert_eq!(page(&mut bank, 10, "zzz").accounts, []);
}

#[test]
fn an_audit_adds_up_each_currency_and_counts_closed_accounts() {
    let mut bank = bank();
    bank.run([
        Action::open("eva", "", "EUR", 70, 0),
        withdraw("alice", 250, ""),
    ])
    .unwrap();
    bank.run([Action::close("bob")]).unwrap();
    let totals = bank.totals();
    assert_eq!(totals.accounts, 3);
    let line = |code, customers_minor, cash_minor, clearing_minor| CurrencyTotal {
        currency: Currency::new(code).unwrap(),
        customers_minor,
        cash_minor,
        clearing_minor,
    };
    assert_eq!(
        totals.currencies,
        [line("CZK", 750, -1_000, 250), line("EUR", 70, -70, 0)]
    );
}

#[test]
fn an_audit_that_does_not_fit_its_message_says_so() {
    let mut bank = bank();
    let rich = |name| Action::open(name, "", "CZK", i64::MAX, 0);
    bank.run([rich("r1"), rich("r2")]).unwrap();
    let message = bank.refuses(Ok(Action::Audit), &reason::BALANCE_OVERFLOW);
    assert!(
        message.starts_with("the total of customers is 18446744073709552614 CZK"),
        "{message}"
    );
    let sums = bank.ledger.totals()[&Currency::new("CZK").unwrap()];
    assert_eq!(
        sums.customers_minor,
        2 * i128::from(i64::MAX) + 1_000,
        "the books hold it"
    );
}
