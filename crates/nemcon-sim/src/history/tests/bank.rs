//! The bank: what must fail, what must pass, and where the search gives up.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::notation::{history, text};
use crate::history::bank::{Account, Bank, BankAnomaly, Explanation, Operation};
use crate::history::{ClientId, History, Moment, Outcome, Transaction};

fn check(text: &str) -> Result<Explanation, BankAnomaly> {
    let initial = [("a", 10), ("b", 10), ("c", 0)];
    let bank = Bank {
        initial_minor: initial.map(|(name, amount)| (name.into(), amount)).into(),
        minimum_minor: 0,
    };
    bank.check(&history(text))
}

fn anomaly(text: &str) -> BankAnomaly {
    check(text).expect_err("no order explains this")
}

fn unexplained(text: &str) -> String {
    match anomaly(text) {
        BankAnomaly::Unexplained { reader, .. } => reader.to_string(),
        other => panic!("want a read that no order explains, got {other}"),
    }
}

#[test]
fn total_is_constant() {
    let found = anomaly(
        "T1 [0..5] transfer a b 3 : ok
         T2 [1..4] read a=7 b=10 c=0 : ok",
    );
    assert_eq!(
        found.to_string(),
        "I7 (conservation): T2 read balances that add up to 17, want 20"
    );
}

#[test]
fn no_balance_is_under_the_minimum() {
    let found = anomaly(
        "T1 [0..5] transfer c b 3 : ok
         T2 [6..9] read a=10 b=13 c=-3 : ok",
    );
    assert_eq!(
        found.to_string(),
        "I7 (conservation): T2 read -3 in account c, under the minimum of 0"
    );
}

#[test]
fn a_read_names_all_accounts_and_no_other() {
    let fewer = anomaly("T1 [0..5] read a=10 b=10 : ok");
    let more = anomaly("T1 [0..5] read a=10 b=10 c=0 d=0 : ok");
    for (found, name) in [(fewer, "c"), (more, "d")] {
        let BankAnomaly::Accounts { account, .. } = found else {
            panic!("want an account too many or too few, got {found}");
        };
        assert_eq!(account, Account::from(name));
    }
}

#[test]
fn what_cannot_be_judged() {
    let found = anomaly("T1 [0..5] transfer a z 1 : ok");
    assert!(matches!(found, BankAnomaly::NoSuchAccount { .. }));
    let found = anomaly("T1 [5..0] transfer a b 1 : ok");
    assert!(matches!(found, BankAnomaly::AnsweredBeforeAsked { .. }));
}

#[test]
fn stale_read() {
    let reader = unexplained(
        "T1 [0..5] transfer a b 3 : ok
         T2 [6..9] read a=10 b=10 c=0 : ok",
    );
    assert_eq!(reader, "T2");
}

#[test]
fn read_from_the_future() {
    let reader = unexplained(
        "T1 [0..5] read a=7 b=13 c=0 : ok
         T2 [6..9] transfer a b 3 : ok",
    );
    assert_eq!(reader, "T1");
}

#[test]
fn transfer_that_aborted_was_done() {
    let reader = unexplained(
        "T1 [0..5] transfer a b 3 : aborted
         T2 [6..9] read a=7 b=13 c=0 : ok",
    );
    assert_eq!(reader, "T2");
}

#[test]
fn transfer_done_twice() {
    let reader = unexplained(
        "T1 [0..5] transfer a b 3 : ok
         T2 [6..9] read a=4 b=16 c=0 : ok",
    );
    assert_eq!(reader, "T2");
}

#[test]
fn transfer_that_was_seen_is_gone() {
    let reader = unexplained(
        "T1 [0..] transfer a b 3 : unknown
         T2 [1..4] read a=7 b=13 c=0 : ok
         T3 [5..9] read a=10 b=10 c=0 : ok",
    );
    assert_eq!(reader, "T3");
}

#[test]
fn two_readers_see_two_transfers_in_opposite_orders() {
    unexplained(
        "T1 [0..9] transfer a c 1 : ok
         T2 [0..9] transfer b c 2 : ok
         T3 [0..9] read a=9 b=10 c=1 : ok
         T4 [0..9] read a=10 b=8 c=2 : ok",
    );
}

#[test]
fn two_balances_in_one_transaction_that_differ() {
    let reader = unexplained(
        "T1 [0..9] transfer a b 1 : ok
         T2 [0..9] read a=10 b=10 c=0 ; read a=9 b=11 c=0 : ok",
    );
    assert_eq!(reader, "T2");
}

#[test]
fn own_transfer_is_read() {
    let right = "T1 [0..9] read a=10 b=10 c=0 ; transfer a b 1 ; read a=9 b=11 c=0 : ok";
    assert_eq!(check(right), Ok(Explanation::Complete));
    unexplained("T1 [0..9] transfer a b 1 ; read a=10 b=10 c=0 : ok");
}

#[test]
fn unknown_transfer_takes_effect_late() {
    let verdict = check(
        "T1 [0..] transfer a b 3 : unknown
         T2 [1..4] read a=10 b=10 c=0 : ok
         T3 [5..9] read a=7 b=13 c=0 : ok",
    );
    assert_eq!(verdict, Ok(Explanation::Complete));
}

#[test]
fn of_two_alike_the_one_that_was_lost_has_happened() {
    // T1 is answered later than the read, so it may be what was read; but T4
    // shows that both happened, and only an order with T2 first is left.
    let verdict = check(
        "T1 [0..9] transfer a b 3 : ok
         T2 [0..] transfer a b 3 : unknown
         T3 [1..4] read a=7 b=13 c=0 : ok
         T4 [10..12] read a=4 b=16 c=0 : ok",
    );
    assert_eq!(verdict, Ok(Explanation::Complete));
}

#[test]
fn transfers_that_undo_each_other() {
    let verdict = check(
        "T1 [0..9] transfer a b 3 : ok
         T2 [0..9] transfer b a 3 : ok
         T3 [1..4] read a=10 b=10 c=0 : ok
         T4 [5..8] read a=13 b=7 c=0 : ok
         T5 [10..12] read a=10 b=10 c=0 : ok",
    );
    assert_eq!(verdict, Ok(Explanation::Complete));
}

/// One of `n` accounts.
fn account(n: usize) -> Account {
    Account(format!("a{n}"))
}

/// A bank of `accounts` with 100 in each, and its history: transfers and reads,
/// one after another, each asked for before it took effect and answered after
/// it, a tenth of the transfers never.
fn serial(chance: &mut Pcg64Mcg, accounts: usize, transactions: u64) -> (Bank, History<Operation>) {
    let initial_minor: BTreeMap<_, _> = (0..accounts).map(|n| (account(n), 100)).collect();
    let mut balances = initial_minor.clone();
    let mut history = History::new();
    let moment = |at_ms| Moment { at_ms, number: 0 };
    for n in 0..transactions {
        let effect_ms = 100 + n * 10;
        let read = chance.random_ratio(1, 3);
        let (from, to) = (
            chance.random_range(0..accounts),
            chance.random_range(0..accounts),
        );
        let amount_minor = chance.random_range(1..=5);
        let fate = chance.random_range(0..20);
        let enough = balances[&account(from)] >= amount_minor;
        let happens = read || (enough && fate != 0);
        if !read && happens {
            *balances.entry(account(from)).or_default() -= amount_minor;
            *balances.entry(account(to)).or_default() += amount_minor;
        }
        let completed = moment(effect_ms + chance.random_range(0..40));
        history.push(Transaction {
            id: None,
            client: ClientId(0),
            invoked: moment(effect_ms - chance.random_range(0..40)),
            operations: vec![if read {
                Operation::ReadAll {
                    balances: Some(balances.clone()),
                }
            } else {
                Operation::Transfer {
                    from: account(from),
                    to: account(to),
                    amount_minor,
                }
            }],
            outcome: match fate {
                0 | 1 if !read => Outcome::Unknown,
                _ if happens => Outcome::Committed { completed },
                _ => Outcome::Aborted { completed },
            },
        });
    }
    let bank = Bank {
        initial_minor,
        minimum_minor: 0,
    };
    (bank, history)
}

#[test]
fn serial_executions_are_explained() {
    for seed in 0..200 {
        let mut chance = Pcg64Mcg::seed_from_u64(seed);
        let (bank, history) = serial(&mut chance, 8, 200);
        let verdict = bank.check(&history);
        let history = text(&history);
        assert_eq!(verdict, Ok(Explanation::Complete), "seed {seed}\n{history}");
    }
}

/// Whether some order explains the reads: all orders, one by one.
fn some_order(history: &History<Operation>, placed: &[bool], now: &BTreeMap<Account, i64>) -> bool {
    let all = || history.transactions.iter().enumerate();
    let waits = |(index, t): (usize, &Transaction<_>)| {
        matches!(t.outcome, Outcome::Committed { .. }) && !placed[index]
    };
    if !all().any(waits) {
        return true;
    }
    all().any(|(index, transaction)| {
        let too_early = all().any(|(other, t)| {
            let completed = t.outcome.completed();
            waits((other, t)) && completed.is_some_and(|c| c < transaction.invoked)
        });
        let aborted = matches!(transaction.outcome, Outcome::Aborted { .. });
        if placed[index] || aborted || too_early {
            return false;
        }
        let mut now = now.clone();
        let possible = transaction
            .operations
            .iter()
            .all(|operation| match operation {
                Operation::Transfer {
                    from,
                    to,
                    amount_minor,
                } => {
                    *now.entry(from.clone()).or_default() -= amount_minor;
                    *now.entry(to.clone()).or_default() += amount_minor;
                    true
                }
                Operation::ReadAll { balances } => {
                    balances.as_ref().is_none_or(|read| *read == now)
                }
            });
        let mut placed = placed.to_vec();
        placed[index] = true;
        possible && some_order(history, &placed, &now)
    })
}

#[test]
fn agrees_with_trying_all_orders() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..5_000 {
        let mut chance = Pcg64Mcg::seed_from_u64(seed);
        let transactions = chance.random_range(1..=6);
        let (bank, mut history) = serial(&mut chance, 3, transactions);
        let which = chance.random_range(0..history.transactions.len());
        // Without a limit: the search does not know of it.
        let bank = Bank {
            minimum_minor: i64::MIN,
            ..bank
        };
        let changed = &mut history.transactions[which];
        let shift_ms = chance.random_range(0..60);
        match (chance.random_range(0..4), &mut changed.outcome) {
            (0, _) => changed.outcome = Outcome::Unknown,
            (1, Outcome::Committed { completed }) => {
                completed.at_ms += shift_ms;
                changed.invoked.at_ms += shift_ms;
            }
            (2, Outcome::Committed { completed }) => *completed = changed.invoked,
            _ => {
                if let Operation::ReadAll {
                    balances: Some(balances),
                } = &mut changed.operations[0]
                {
                    let amount = chance.random_range(1..=2);
                    *balances.entry(account(0)).or_default() -= amount;
                    *balances.entry(account(1)).or_default() += amount;
                }
            }
        }
        // What an unanswered transaction read is not looked at.
        for transaction in &mut history.transactions {
            if transaction.outcome == Outcome::Unknown {
                transaction
                    .operations
                    .retain(|operation| matches!(operation, Operation::Transfer { .. }));
            }
        }
        let placed = vec![false; history.transactions.len()];
        let want = some_order(&history, &placed, &bank.initial_minor);
        let found = bank.check(&history);
        assert!(found != Ok(Explanation::GaveUp), "seed {seed}");
        assert_eq!(
            found.is_ok(),
            want,
            "seed {seed}: {found:?}\n{}",
            text(&history)
        );
        *if want { &mut right } else { &mut wrong } += 1;
    }
    println!("right {right}, wrong {wrong}");
    assert!(right > 500 && wrong > 500);
}

#[test]
fn gives_up_instead_of_guessing() {
    // Forty lost transfers of different amounts, and a read that none of the
    // 2^40 sets of them explains: all amounts are even.
    let mut lines = String::new();
    for n in 1..=40 {
        lines += &format!("T{n} [0..] transfer a b {} : unknown\n", n * 2);
    }
    lines += "T41 [1..2] read a=901 b=1099 : ok\n";
    let bank = Bank {
        initial_minor: [(Account::from("a"), 1_000), (Account::from("b"), 1_000)].into(),
        minimum_minor: 0,
    };
    assert_eq!(bank.check(&history(&lines)), Ok(Explanation::GaveUp));
}
