//! What must hold in the end: the banks have exactly what the clients were told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nemcon_client::{BankClient, Ending, Statement, Transaction, operation, result};
use nemcon_core::id::TransactionId;
use nemcon_ledger::limits::ENTRIES_KEPT;
use nemcon_proto::bank::v1;
use nemcon_proto::v1::ListDamageRequest;
use nemcon_proto::v1::participant_admin_service_client::ParticipantAdminServiceClient;

use super::book::{Account, Book, Transfer};
use super::compose::{BANKS, Containers, NODES};
use super::load::{OPENING, accounts, assert_balanced, client};
use crate::cluster::{channel, name};
use crate::outcome::Told;

/// How long a question may be put again. Nothing disturbs any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an account must have, by what the clients were told.
#[derive(Debug, Default)]
struct Expected {
    movements: BTreeMap<TransactionId, (i64, String)>,
}

impl Expected {
    fn sum(&self) -> i64 {
        self.movements.values().map(|(amount, _)| amount).sum()
    }
}

/// Compares everything.
pub(super) async fn everything_adds_up(containers: &Containers, book: &Book) {
    let transfers = book.transfers();
    for (id, transfer) in &transfers {
        assert!(transfer.told.is_some(), "{id} has no outcome: {transfer:?}");
    }
    nothing_was_paid_twice(&transfers);
    books_balance(containers).await;
    accounts_are_right(containers, &transfers).await;
    nothing_is_damaged(containers).await;
    nobody_panicked(containers).await;
}

/// Of a transfer that was run again, one try committed at most.
fn nothing_was_paid_twice(transfers: &BTreeMap<TransactionId, Transfer>) {
    let mut paid = BTreeSet::new();
    for (id, transfer) in transfers {
        if transfer.told == Some(Told::Committed) {
            let reference = (&transfer.from, &transfer.reference);
            assert!(paid.insert(reference), "{id} is paid twice: {transfer:?}");
        }
    }
}

/// An audit of all banks in one transaction.
async fn books_balance(containers: &Containers) {
    let operations = BANKS.map(|bank| operation(&name(bank), &v1::Audit {}, true));
    let audit = Transaction::new(operations);
    let report = client(containers, PATIENCE).run_until_decided(audit).await;
    let Ok(Ending::Committed(Some(results))) = report.map(|report| report.ending) else {
        panic!("nothing is left that could keep an audit from its locks");
    };
    let totals = results.iter().map(|found| result(found).unwrap());
    assert_balanced(&totals.collect::<Vec<v1::Totals>>());
}

/// Every account has what the committed transfers say, and nothing else.
async fn accounts_are_right(
    containers: &Containers,
    transfers: &BTreeMap<TransactionId, Transfer>,
) {
    let mut expected: BTreeMap<Account, Expected> = BTreeMap::new();
    for (id, transfer) in transfers {
        if transfer.told == Some(Told::Committed) {
            let Transfer {
                from,
                to,
                amount,
                reference,
                ..
            } = transfer;
            for (account, change) in [(from, -amount), (to, *amount)] {
                let movements = &mut expected.entry(account.clone()).or_default().movements;
                movements.insert(*id, (change, reference.clone()));
            }
        }
    }
    for bank in BANKS {
        let client = BankClient::connect(&containers.url(bank)).unwrap();
        for account in accounts(bank) {
            let expected = expected.remove(&account).unwrap_or_default();
            let balance = client.account(&account.name).await.unwrap().balance_minor;
            assert_eq!(balance, OPENING + expected.sum(), "{account:?}");
            let statement = client.statement(&account.name).await.unwrap();
            statement_is_right(&account, &statement, expected);
        }
    }
    assert!(expected.is_empty(), "no such account: {expected:?}");
}

/// Each entry that is kept belongs to a committed transfer, and no two to the same
/// one; what is no longer kept are the others.
fn statement_is_right(account: &Account, statement: &Statement, mut expected: Expected) {
    let opening = 1;
    let all = expected.movements.len() + opening;
    assert_eq!(
        statement.entries.len(),
        all.min(ENTRIES_KEPT),
        "{account:?}"
    );
    let mut opened = false;
    for entry in &statement.entries {
        let found = (
            entry.amount_minor,
            entry.reference.clone().unwrap_or_default(),
        );
        match expected.movements.remove(&entry.transaction) {
            Some(movement) => assert_eq!(found, movement, "{account:?}: {entry:?}"),
            None => {
                assert!(!opened, "{account:?}: nobody was told of {entry:?}");
                assert_eq!(found, (OPENING, String::new()), "{account:?}: {entry:?}");
                opened = true;
            }
        }
    }
    let rest = expected.sum() + if opened { 0 } else { OPENING };
    assert_eq!(statement.brought_forward_minor, rest, "{account:?}");
}

/// Nobody did anything else than what was decided.
async fn nothing_is_damaged(containers: &Containers) {
    let damage = client(containers, PATIENCE).damage().await.unwrap();
    assert!(damage.is_empty(), "coordinator: {damage:?}");
    for bank in BANKS {
        let mut service = ParticipantAdminServiceClient::new(channel(&containers.url(bank)));
        let told = service.list_damage(ListDamageRequest {}).await.unwrap();
        let damage = told.into_inner().damage;
        assert!(damage.is_empty(), "{bank}: {damage:?}");
    }
}

/// No log has a panic in it, nor what a node calls a bug of its own.
async fn nobody_panicked(containers: &Containers) {
    for name in NODES {
        let log = containers.log(name).await;
        let wrong: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("panicked") || line.contains(" a bug"))
            .collect();
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");
    }
}
