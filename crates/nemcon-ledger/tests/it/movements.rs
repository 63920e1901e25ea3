//! What moves, and what a transaction sees of itself.

use nemcon_ledger::account::{Contra, Statement};
use nemcon_ledger::limits::ENTRIES_KEPT;
use nemcon_ledger::money::Currency;
use nemcon_ledger::name::AccountName;
use nemcon_ledger::{Action, ActionResult};

use crate::bank::{account, bank, deposit, withdraw};

fn statement(result: &ActionResult) -> &Statement {
    match result {
        ActionResult::Statement(statement) => statement,
        other => panic!("want a statement, got {other:?}"),
    }
}

#[test]
fn every_movement_is_booked_twice() {
    let mut bank = bank();
    let czk = Currency::new("CZK").unwrap();
    let contras = |bank: &crate::bank::Bank| {
        [Contra::Cash, Contra::Clearing].map(|contra| bank.ledger.contra_minor(czk, contra))
    };
    assert_eq!(
        contras(&bank),
        [-1_000, 0],
        "opening balances come from cash"
    );
    bank.run([withdraw("alice", 300, "r")]).unwrap();
    assert_eq!(contras(&bank), [-1_000, 300]);
    bank.run([Action::withdraw("alice", 50, "CZK", "", Contra::Cash)])
        .unwrap();
    assert_eq!(contras(&bank), [-950, 300]);
    bank.run([deposit("bob", 120, "")]).unwrap();
    assert_eq!(contras(&bank), [-950, 180]);
}

#[test]
fn an_entry_says_when_how_much_for_whom_and_where_to() {
    let mut bank = bank();
    bank.run([withdraw("alice", 300, "r")]).unwrap();
    let (at, transaction) = (bank.now(), bank.transaction());
    let name = AccountName::new("alice").unwrap();
    let account = bank.ledger.account(&name).unwrap();
    let entry = account.statement.entries.last().unwrap();
    assert_eq!((entry.amount_minor, entry.balance_minor), (-300, 700));
    assert_eq!((entry.booked_at, entry.transaction), (at, transaction));
    assert_eq!(entry.contra, Contra::Clearing);
    assert_eq!(entry.reference.as_ref().map(|r| r.as_str()), Some("r"));
    let used = bank
        .ledger
        .user_of(&name, entry.reference.as_ref().unwrap());
    assert_eq!(used, Some(transaction));
}

#[test]
fn a_transaction_sees_its_own_writes_and_nobody_else_does() {
    let mut bank = bank();
    let steps = || {
        [
            Action::open("carol", "Carol", "CZK", 0, -50),
            deposit("carol", 70, "in"),
            withdraw("carol", 100, "out"),
            Action::read("carol"),
            Action::read_entries("carol"),
            Action::read_accounts(0, ""),
            Ok(Action::Audit),
        ]
    };
    let (results, redo) = bank.prepare(steps()).unwrap();
    let balances: Vec<i64> = results[..4]
        .iter()
        .map(|result| account(result).header.balance_minor)
        .collect();
    assert_eq!(balances, [0, 70, -30, -30]);
    let amounts: Vec<i64> = statement(&results[4])
        .entries
        .iter()
        .map(|e| e.amount_minor)
        .collect();
    assert_eq!(amounts, [70, -100]);
    let ActionResult::Page(page) = &results[5] else {
        panic!("{:?}", results[5])
    };
    let names: Vec<&str> = page
        .accounts
        .iter()
        .map(|account| account.name.as_str())
        .collect();
    assert_eq!(names, ["alice", "bob", "carol"]);
    let ActionResult::Totals(totals) = &results[6] else {
        panic!("{:?}", results[6])
    };
    let line = totals.currencies[0];
    assert_eq!(
        (totals.accounts, line.customers_minor, line.clearing_minor),
        (3, 970, 30)
    );

    assert!(
        bank.run([Action::read("carol")]).is_err(),
        "not committed yet"
    );
    bank.commit(&redo);
    assert_eq!(bank.balance("carol"), -30);
}

#[test]
fn two_withdrawals_of_one_transaction_share_the_balance() {
    let mut bank = bank();
    bank.refused([withdraw("alice", 600, ""), withdraw("alice", 600, "")]);
    bank.run([withdraw("alice", 600, ""), withdraw("alice", 400, "")])
        .unwrap();
    assert_eq!(bank.balance("alice"), 0);
}

#[test]
fn opened_used_emptied_and_closed_in_one_transaction() {
    let mut bank = bank();
    let steps = [
        Action::open("brief", "", "EUR", 5, 0),
        Action::withdraw("brief", 5, "EUR", "", Contra::Cash),
        Action::close("brief"),
    ];
    let results = bank.run(steps).unwrap();
    assert!(account(&results[2]).header.closed);
    assert_eq!(bank.totals().accounts, 3);
}

#[test]
fn an_overdrawn_account_can_be_taken_over() {
    let mut bank = bank();
    bank.run([Action::open("debtor", "", "CZK", -80, -100)])
        .unwrap();
    let results = bank.run([Action::read_entries("debtor")]).unwrap();
    let entry = statement(&results[0]).entries.first().unwrap();
    assert_eq!((entry.amount_minor, entry.contra), (-80, Contra::Cash));
}

#[test]
fn older_entries_are_brought_forward_also_for_the_transaction_itself() {
    let mut bank = bank();
    // alice's opening is her first entry, so 104 more make five too many.
    bank.run((0..102).map(|n| deposit("alice", 1, &format!("r{n}"))))
        .unwrap();
    let steps = [
        deposit("alice", 10, ""),
        withdraw("alice", 20, ""),
        Action::read_entries("alice"),
    ];
    let results = bank.run(steps).unwrap();
    let within = statement(&results[2]).clone();
    let results = bank.run([Action::read_entries("alice")]).unwrap();
    assert_eq!(statement(&results[0]), &within);
    assert_eq!(within.entries.len(), ENTRIES_KEPT);
    assert_eq!(
        (
            within.brought_forward.count,
            within.brought_forward.sum_minor
        ),
        (5, 1_004)
    );
    assert_eq!(
        within.entries.last().map(|entry| entry.amount_minor),
        Some(-20)
    );
    assert_eq!(within.sum_minor(), 1_092);
}
