//! Customers who never stop: transfers between all banks, reads and audits, sent
//! again and again until each has an outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nemcon_client::{
    AddressedOperation, BankClient, Client, ClientError, Ending, NewAccount, Report, Settings,
    Transaction, new_transaction_id, operation, result,
};
use nemcon_proto::bank::v1;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::book::{Account, Book, Transfer};
use super::compose::{BANKS, COORDINATOR, Containers, Name};
use crate::cluster::name;
use crate::money::{CURRENCY, deposit, withdraw};
use crate::orders::Chance;
use crate::outcome::outcome;

/// Customers who transfer and read.
const WORKERS: u64 = 16;

/// A worker's pause between two transactions, in milliseconds, at most: together
/// they send about 150 a second, which leaves a small machine room for the nodes.
const PAUSE_MS_MAX: u64 = 80;

/// Accounts of customers at each bank.
const ACCOUNTS: u64 = 60;

/// What is on each account at first: more than any customer loses in an hour.
pub(super) const OPENING: i64 = 1_000_000;

const AMOUNT_MAX: u64 = 500;

/// More than there is on any account: such a transfer is a no of the business.
const TOO_MUCH: i64 = 1_000_000_000;

/// How often what aborted retryably is run again.
const RERUNS_MAX: u32 = 3;

/// How long an audit may take. It locks every account of every bank as it goes,
/// and two transactions that wait for each other at different banks do so until a
/// limit passes: with this one, others wait behind it no longer than that.
const AUDIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The customers, at work until told otherwise.
pub(super) struct Load {
    pub(super) book: Book,
    pub(super) audits: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    workers: JoinSet<()>,
}

/// One customer.
struct Worker {
    client: Client,
    chance: Chance,
    book: Book,
    number: u64,
    transfers: u64,
    stop: Arc<AtomicBool>,
}

/// An account of a customer.
fn customer(bank: Name, number: u64) -> Account {
    let name = format!("customer-{number:02}");
    Account { bank, name }
}

/// The account at `bank` that pays to another bank, or is paid by it, when it is
/// tried whether money moves between the two.
pub(super) fn pulse(bank: Name, other: Name) -> Account {
    let name = format!("pulse-{other}");
    Account { bank, name }
}

/// All accounts of a bank.
pub(super) fn accounts(bank: Name) -> Vec<Account> {
    let others = BANKS.into_iter().filter(|other| *other != bank);
    let pulses = others.map(|other| pulse(bank, other));
    let customers = (0..ACCOUNTS).map(|number| customer(bank, number));
    customers.chain(pulses).collect()
}

/// Opens all accounts of all banks.
pub(super) async fn open_accounts(containers: &Containers) {
    let mut openings = JoinSet::new();
    for bank in BANKS {
        let client = BankClient::connect(&containers.url(bank)).unwrap();
        openings.spawn(async move {
            for account in accounts(bank) {
                let account = NewAccount {
                    name: account.name,
                    owner: String::new(),
                    currency: CURRENCY.into(),
                    opening_balance_minor: OPENING,
                    minimum_balance_minor: 0,
                };
                client
                    .open_account(new_transaction_id(), &account)
                    .await
                    .unwrap();
            }
        });
    }
    openings.join_all().await;
}

/// The two operations of a transfer.
pub(super) fn movements(transfer: &Transfer) -> [AddressedOperation; 2] {
    let Transfer {
        from,
        to,
        amount,
        reference,
        ..
    } = transfer;
    let withdraw = v1::Withdraw {
        reference: reference.clone(),
        ..withdraw(&from.name, *amount)
    };
    let deposit = v1::Deposit {
        reference: reference.clone(),
        ..deposit(&to.name, *amount)
    };
    [
        operation(&name(from.bank), &withdraw, false),
        operation(&name(to.bank), &deposit, false),
    ]
}

/// A client of the coordinator on a connection of its own.
pub(super) fn client(containers: &Containers, give_up_after: Duration) -> Client {
    let settings = Settings {
        give_up_after,
        ..Settings::default()
    };
    Client::new(containers.url(COORDINATOR).parse().unwrap(), settings)
}

impl Load {
    /// Sends the customers to work.
    pub(super) fn start(containers: &Containers, chance: &mut Chance) -> Self {
        let (book, stop) = (Book::default(), Arc::new(AtomicBool::new(false)));
        let audits = Arc::default();
        let mut workers = JoinSet::new();
        let worker = |number, chance: &mut Chance| Worker {
            // Longer than any cut. Who gives up all the same begins again.
            client: client(containers, Duration::from_secs(60)),
            chance: Chance(chance.below(u64::MAX)),
            book: book.clone(),
            number,
            transfers: 0,
            stop: Arc::clone(&stop),
        };
        for number in 0..WORKERS {
            workers.spawn(worker(number, chance).work());
        }
        workers.spawn(worker(WORKERS, chance).audit(Arc::clone(&audits)));
        Self {
            book,
            audits,
            stop,
            workers,
        }
    }

    /// Shows what a customer has found wrong.
    pub(super) fn check(&mut self) {
        if let Some(ended) = self.workers.try_join_next() {
            panic!("a customer has gone: {ended:?}");
        }
    }

    /// Lets every customer finish what is under way.
    pub(super) async fn stop(mut self) -> Book {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.workers.join_next().await {
            ended.unwrap();
        }
        self.book
    }
}

impl Worker {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    async fn work(mut self) {
        while self.goes_on() {
            match self.chance.below(10) {
                0 => self.read().await,
                _ => self.transfer().await,
            }
            sleep(Duration::from_millis(self.chance.below(PAUSE_MS_MAX))).await;
        }
    }

    fn bank(&mut self) -> Name {
        BANKS[self.chance.below(BANKS.len() as u64) as usize]
    }

    fn account(&mut self) -> Account {
        customer(self.bank(), self.chance.below(ACCOUNTS))
    }

    /// A transfer between two accounts, of one bank now and then, and sometimes of
    /// more than there is.
    async fn transfer(&mut self) {
        let from = self.account();
        let to = loop {
            let to = self.account();
            let same_bank_is_fine = self.chance.below(3) == 0;
            if to != from && (to.bank != from.bank || same_bank_is_fine) {
                break to;
            }
        };
        let amount = if self.chance.below(20) == 0 {
            TOO_MUCH
        } else {
            1 + self.chance.below(AMOUNT_MAX) as i64
        };
        self.transfers += 1;
        let transfer = Transfer {
            reference: format!("{}-{}", self.number, self.transfers),
            from,
            to,
            amount,
            sent_at: Instant::now(),
            told: None,
        };
        self.pay(transfer).await;
    }

    /// Pays, and pays again under another id where that can help.
    async fn pay(&mut self, transfer: Transfer) {
        let mut transaction = Transaction::new(movements(&transfer));
        for rerun in 0..=RERUNS_MAX {
            let sent_at = Instant::now();
            self.book.sent(
                transaction.id,
                Transfer {
                    sent_at,
                    ..transfer.clone()
                },
            );
            let (told, retryable) = outcome(&self.client, &transaction).await;
            self.book.told(transaction.id, told);
            if !retryable || rerun == RERUNS_MAX || !self.goes_on() {
                return;
            }
            transaction = transaction.rerun();
        }
    }

    /// Reads one account of each bank, as they were at one moment.
    async fn read(&mut self) {
        let reads = BANKS.map(|bank| {
            let account = customer(bank, self.chance.below(ACCOUNTS)).name;
            operation(&name(bank), &v1::Read { account }, true)
        });
        if let Some(results) = self.answer(Transaction::new(reads)).await {
            for found in &results {
                let account: v1::Account = result(found).unwrap();
                assert!(account.balance_minor >= 0, "{account:?}");
            }
        }
    }

    /// Adds up all books again and again. They balance, whatever is in flight.
    async fn audit(self, audits: Arc<AtomicU64>) {
        while self.goes_on() {
            let audits_of_all = BANKS.map(|bank| operation(&name(bank), &v1::Audit {}, true));
            let audit = Transaction::new(audits_of_all).with_timeout(AUDIT_TIMEOUT);
            if let Some(results) = self.answer(audit).await {
                let totals = results.iter().map(|found| result(found).unwrap());
                assert_balanced(&totals.collect::<Vec<v1::Totals>>());
                audits.fetch_add(1, Ordering::Relaxed);
            }
            sleep(AUDIT_TIMEOUT).await;
        }
    }

    /// The results of what only reads, if it committed.
    async fn answer(&self, transaction: Transaction) -> Option<Vec<nemcon_core::message::Payload>> {
        match self.client.run(&transaction).await {
            Ok(Report {
                ending: Ending::Committed(results),
                ..
            }) => results,
            Ok(Report {
                ending: Ending::Aborted(cause),
                ..
            }) => {
                assert!(cause.refusal.retryable, "a read was refused: {cause:?}");
                None
            }
            Err(ClientError::Unreachable { .. } | ClientError::Unknown { .. }) => None,
            Err(ClientError::Refused(refused)) if refused.refusal.retryable => None,
            Err(error) => panic!("a read: {error}"),
        }
    }
}

/// Every bank's books add up, and no money is on its way between banks: an audit
/// sees a transfer at both of them or at neither.
pub(super) fn assert_balanced(totals: &[v1::Totals]) {
    let mut clearing = 0;
    let mut customers = 0;
    for (bank, totals) in BANKS.iter().zip(totals) {
        assert_eq!(totals.accounts as usize, accounts(bank).len(), "{totals:?}");
        let [total] = totals.currencies.as_slice() else {
            panic!("{bank} has one currency: {totals:?}");
        };
        assert_eq!(
            total.customers_minor + total.cash_minor + total.clearing_minor,
            0,
            "{bank}: {total:?}"
        );
        clearing += total.clearing_minor;
        customers += total.customers_minor;
    }
    assert_eq!(clearing, 0, "between banks: {totals:?}");
    let paid_in = BANKS.map(|bank| accounts(bank).len() as i64 * OPENING);
    assert_eq!(customers, paid_in.iter().sum::<i64>(), "{totals:?}");
}
