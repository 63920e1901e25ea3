//! Which locks each action names.

use nemcon_core::lock::Mode::{Exclusive, Shared};
use nemcon_core::resource::Resource;
use nemcon_ledger::Action;

use crate::bank::{bank, deposit, locks, withdraw};

#[test]
fn actions_on_one_account_lock_it_known_or_not() {
    let bank = bank();
    for (asked, mode) in [
        (withdraw("alice", 1, ""), Exclusive),
        (deposit("nobody", 1, ""), Exclusive),
        (Action::close("alice"), Exclusive),
        (Action::read("nobody"), Shared),
        (Action::read_entries("alice"), Shared),
    ] {
        let action = asked.unwrap();
        let locks = locks(&bank.ledger, &action);
        assert!(
            matches!(&locks[..], [(key, m)] if key.starts_with("a/") && *m == mode),
            "{locks:?}"
        );
        assert_eq!(bank.ledger.writes(&action), mode == Exclusive);
    }
}

#[test]
fn opening_locks_the_set_of_accounts_and_the_name() {
    let bank = bank();
    let action = Action::open("carol", "", "CZK", 0, 0).unwrap();
    let want = [
        ("0accounts".to_owned(), Exclusive),
        ("a/carol".to_owned(), Exclusive),
    ];
    assert_eq!(locks(&bank.ledger, &action), want);
    assert!(bank.ledger.writes(&action));
}

#[test]
fn an_audit_locks_what_is_there_and_asked_again_what_came_meanwhile() {
    let mut bank = bank();
    let shared =
        |keys: &[&str]| -> Vec<_> { keys.iter().map(|key| ((*key).to_owned(), Shared)).collect() };
    assert_eq!(
        locks(&bank.ledger, &Action::Audit),
        shared(&["0accounts", "a/alice", "a/bob"])
    );
    bank.run([Action::open("ada", "", "CZK", 0, 0)]).unwrap();
    let want = shared(&["0accounts", "a/ada", "a/alice", "a/bob"]);
    assert_eq!(locks(&bank.ledger, &Action::Audit), want);
    assert!(!bank.ledger.writes(&Action::Audit));
}

#[test]
fn a_page_locks_its_own_accounts_only() {
    let mut bank = bank();
    bank.run([Action::open("carol", "", "CZK", 0, 0)]).unwrap();
    let action = Action::read_accounts(1, "alice").unwrap();
    let want = [
        ("0accounts".to_owned(), Shared),
        ("a/bob".to_owned(), Shared),
    ];
    assert_eq!(locks(&bank.ledger, &action), want);
}
