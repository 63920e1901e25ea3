//! Transfers between two banks: money on its way is in clearing.

use nemcon_ledger::money::{Amount, Currency};
use nemcon_ledger::name::{AccountName, Reference};
use nemcon_ledger::workload::transfer::{Transfer, transfer};
use nemcon_ledger::{Action, clearing_is_settled};
use proptest::prelude::*;

use crate::bank::Bank;

const NAMES: [&str; 3] = ["a", "b", "c"];

fn bank() -> Bank {
    let mut bank = Bank::default();
    bank.run(NAMES.map(|name| Action::open(name, "", "CZK", 500, -100)))
        .unwrap();
    bank
}

fn order(from: usize, to: usize, amount_minor: i64, order: Option<u8>) -> Transfer {
    let czk = Currency::new("CZK").unwrap();
    let name = |n: usize| AccountName::new(NAMES[n]).unwrap();
    let reference = order.map(|order| Reference::new(&order.to_string()).unwrap());
    let amount = Amount::new(amount_minor, czk).unwrap();
    transfer(&name(from), &name(to), amount, reference.as_ref())
}

proptest! {
    /// Whatever commits at both or at none leaves nothing in clearing; what has
    /// been applied at one bank only is in clearing, and each bank balances by
    /// itself at every moment (`Bank::commit` checks that).
    #[test]
    fn transfers_keep_the_books_of_both_banks(
        orders in prop::collection::vec(
            (0..3_usize, 0..3_usize, 1..400_i64, prop::option::of(0..20_u8), any::<bool>()),
            0..60,
        )
    ) {
        let (mut east, mut west) = (bank(), bank());
        for (from, to, amount_minor, number, eastward) in orders {
            let (payer, payee) =
                if eastward { (&mut west, &mut east) } else { (&mut east, &mut west) };
            let Transfer { withdraw, deposit } = order(from, to, amount_minor, number);
            let votes = (payer.prepare([Ok(withdraw)]), payee.prepare([Ok(deposit)]));
            if let (Ok((_, paid)), Ok((_, received))) = votes {
                payer.commit(&paid);
                prop_assert!(clearing_is_settled([&payer.ledger, &payee.ledger]).is_err());
                payee.commit(&received);
            }
            prop_assert_eq!(clearing_is_settled([&east.ledger, &west.ledger]), Ok(()));
        }
        let czk = Currency::new("CZK").unwrap();
        let customers = |bank: &Bank| bank.ledger.totals()[&czk].customers_minor;
        prop_assert_eq!(customers(&east) + customers(&west), 3_000);
    }
}

#[test]
fn a_transfer_within_a_bank_leaves_its_contra_totals_alone() {
    let mut bank = bank();
    let Transfer { withdraw, deposit } = order(0, 1, 200, Some(7));
    bank.run([Ok(withdraw), Ok(deposit)]).unwrap();
    assert_eq!((bank.balance("a"), bank.balance("b")), (300, 700));
    assert!(!bank.versions.contains_key(&b"c/CZK/clearing"[..]));
}
