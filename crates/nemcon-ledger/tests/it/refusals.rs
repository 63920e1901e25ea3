//! Every no a bank can say, with its word and its sentence.

use nemcon_ledger::account::Contra;
use nemcon_ledger::{Action, reason};

use crate::bank::{bank, deposit, withdraw};

#[test]
fn a_withdrawal_under_the_minimum_names_the_figures() {
    let mut bank = bank();
    let message = bank.refuses(withdraw("alice", 1_001, ""), &reason::INSUFFICIENT_FUNDS);
    assert_eq!(
        message,
        "account alice has 1000 CZK and must keep 0; cannot take 1001 (minor units)"
    );
    let message = bank.refuses(withdraw("bob", 201, ""), &reason::INSUFFICIENT_FUNDS);
    assert_eq!(
        message,
        "account bob has 0 CZK and must keep -200; cannot take 201 (minor units)"
    );
    bank.run([withdraw("alice", 1_000, ""), withdraw("bob", 200, "")])
        .unwrap();
}

#[test]
fn a_withdrawal_past_64_bits_is_insufficient_funds_too() {
    let mut bank = bank();
    bank.run([Action::open("deep", "", "CZK", i64::MIN, i64::MIN)])
        .unwrap();
    bank.refuses(withdraw("deep", i64::MAX, ""), &reason::INSUFFICIENT_FUNDS);
}

#[test]
fn a_deposit_past_64_bits_is_refused() {
    let mut bank = bank();
    let message = bank.refuses(deposit("alice", i64::MAX, ""), &reason::BALANCE_OVERFLOW);
    assert_eq!(
        message,
        "account alice has 1000 CZK; with 9223372036854775807 more it would pass \
         9223372036854775807 (minor units)"
    );
    bank.run([deposit("bob", i64::MAX, "")]).unwrap();
}

#[test]
fn another_currency_is_refused_both_ways() {
    let mut bank = bank();
    let euro = Action::withdraw("alice", 1, "EUR", "", Contra::Clearing);
    let message = bank.refuses(euro, &reason::CURRENCY_MISMATCH);
    assert_eq!(message, "account alice is kept in CZK, not in EUR");
    let euro = Action::deposit("alice", 1, "EUR", "", Contra::Clearing);
    bank.refuses(euro, &reason::CURRENCY_MISMATCH);
}

#[test]
fn an_unknown_account_is_refused_by_every_action_on_it() {
    let mut bank = bank();
    for asked in [
        withdraw("carol", 1, ""),
        deposit("carol", 1, ""),
        Action::read("carol"),
        Action::read_entries("carol"),
        Action::close("carol"),
    ] {
        let message = bank.refuses(asked, &reason::UNKNOWN_ACCOUNT);
        assert_eq!(message, "there is no account carol at this bank");
    }
}

#[test]
fn a_name_is_given_out_once() {
    let mut bank = bank();
    let again = || Action::open("alice", "Another", "EUR", 0, 0);
    bank.refuses(again(), &reason::ACCOUNT_EXISTS);
    bank.run([withdraw("alice", 1_000, ""), Action::close("alice")])
        .unwrap();
    let message = bank.refuses(again(), &reason::ACCOUNT_EXISTS);
    assert_eq!(
        message,
        "account alice existed and is closed; its name is not given out again"
    );
    let carol = || Action::open("carol", "", "CZK", 0, 0);
    assert_eq!(
        bank.refused([carol(), carol()]).reason,
        reason::ACCOUNT_EXISTS
    );
}

#[test]
fn a_closed_account_can_only_be_read() {
    let mut bank = bank();
    let message = bank.refuses(Action::close("alice"), &reason::BALANCE_NOT_ZERO);
    assert_eq!(
        message,
        "account alice has 1000 CZK (minor units); only an account with 0 can be closed"
    );
    bank.run([Action::close("bob")]).unwrap();
    for asked in [
        withdraw("bob", 1, ""),
        deposit("bob", 1, ""),
        Action::close("bob"),
    ] {
        bank.refuses(asked, &reason::ACCOUNT_CLOSED);
    }
    bank.run([Action::read("bob"), Action::read_entries("bob")])
        .unwrap();
}

#[test]
fn a_reference_is_refused_for_the_life_of_the_account_and_beyond() {
    let mut bank = bank();
    bank.run([withdraw("alice", 10, "order 1")]).unwrap();
    let first = bank.transaction();
    let expected =
        format!("reference \"order 1\" was used on account alice by transaction {first}");
    assert_eq!(
        bank.refuses(
            withdraw("alice", 10, "order 1"),
            &reason::DUPLICATE_REFERENCE
        ),
        expected
    );
    bank.run([deposit("bob", 10, "order 1")]).unwrap();

    // Long after its entry has gone into the brought-forward line, on the other
    // side of the account, with nothing left, and after closing.
    bank.run((0..300).map(|_| deposit("alice", 1, ""))).unwrap();
    assert_eq!(
        bank.refuses(deposit("alice", 7, "order 1"), &reason::DUPLICATE_REFERENCE),
        expected
    );
    bank.run([withdraw("alice", 1_290, "")]).unwrap();
    assert_eq!(
        bank.refuses(
            withdraw("alice", 10, "order 1"),
            &reason::DUPLICATE_REFERENCE
        ),
        expected
    );
    bank.run([Action::close("alice")]).unwrap();
    assert_eq!(
        bank.refuses(
            withdraw("alice", 10, "order 1"),
            &reason::DUPLICATE_REFERENCE
        ),
        expected
    );
}

#[test]
fn a_reference_used_twice_in_one_transaction_is_refused() {
    let mut bank = bank();
    let refusal = bank.refused([withdraw("alice", 1, "r"), withdraw("alice", 2, "r")]);
    assert_eq!(refusal.reason, reason::DUPLICATE_REFERENCE);
    let naming = refusal.message.ends_with(&bank.transaction().to_string());
    assert!(naming, "{refusal}");
    bank.run([withdraw("alice", 1, "r")])
        .expect("an aborted transaction uses up no reference");
}

#[test]
fn amounts_of_zero_or_less_are_refused() {
    let mut bank = bank();
    for bad in [0, -1, i64::MIN] {
        let message = bank.refuses(withdraw("alice", bad, ""), &reason::AMOUNT_NOT_POSITIVE);
        assert_eq!(
            message,
            format!("amount {bad} CZK (minor units): want at least 1")
        );
        bank.refuses(deposit("alice", bad, ""), &reason::AMOUNT_NOT_POSITIVE);
    }
}

#[test]
fn malformed_fields_are_refused_by_name() {
    let mut bank = bank();
    bank.refuses(withdraw("al ice", 1, ""), &reason::INVALID_ACCOUNT);
    bank.refuses(Action::read_accounts(10, "/"), &reason::INVALID_ACCOUNT);
    bank.refuses(withdraw("alice", 1, "a\nb"), &reason::INVALID_REFERENCE);
    bank.refuses(
        Action::open("x", &"y".repeat(201), "CZK", 0, 0),
        &reason::INVALID_OWNER,
    );
    bank.refuses(Action::open("x", "", "Kč", 0, 0), &reason::INVALID_CURRENCY);
    bank.refuses(
        Action::open("x", "", "CZK", 0, 1),
        &reason::INVALID_MINIMUM_BALANCE,
    );
    let message = bank.refuses(
        Action::open("x", "", "CZK", -11, -10),
        &reason::INVALID_OPENING_BALANCE,
    );
    assert_eq!(
        message,
        "opening balance -11 (minor units): want at least the minimum balance, -10"
    );
}
