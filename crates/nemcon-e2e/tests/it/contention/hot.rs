//! Many customers and a few accounts that all of them want: nobody starves, no wait
//! outlasts its limit, and one order of all transactions explains what they saw.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nemcon_client::{
    AddressedOperation, Client, ClientError, Ending, InteractError, Lent, Terms, Transaction,
    operation, result,
};
use nemcon_core::message::Payload;
use nemcon_core::time::Span;
use nemcon_proto::bank::v1::{Account, Read};
use nemcon_sim::history::list::{Key, Operation, Value};
use nemcon_sim::history::{self, ClientId, History, Moment, Outcome};
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{put, sized, take};
use crate::cluster::{Cluster, name};

const CUSTOMERS: usize = 64;

const ACCOUNTS: usize = 10;

const BANKS: [&str; 2] = ["bank-a", "bank-b"];

/// What is on each account at first: more than can be moved.
const OPENING: i64 = 1 << 60;

/// Amounts are drawn below this, so that a balance tells how often it has changed:
/// that two of ten thousand on one account are alike happens once in a hundred
/// thousand runs.
const AMOUNT_BITS: u32 = 44;

/// Whoever wants something has it after so many tries.
const TRIES_MAX: u32 = 20;

/// How long anybody may wait for a lock, by the coordinator's default; and how much
/// later a wait may be seen to end on a busy machine.
const WAIT_MAX: Span = Span::from_secs(5);
const GRACE: Span = Span(500);

/// Versions of an account that one list of the history holds: lists are read whole.
const BLOCK: usize = 100;

/// What a customer has done, as it saw it.
struct Done {
    customer: usize,
    asked: Instant,
    told: Instant,
    tries: u32,
    /// Which accounts it has read, and what was on them.
    seen: Vec<(usize, i64)>,
    /// Which accounts it has changed: what was on them before, and after.
    changed: Vec<(usize, i64, i64)>,
}

#[tokio::test]
async fn many_customers_of_a_few_accounts() {
    let cluster = Cluster::start_alone(&BANKS).await;
    for account in 0..ACCOUNTS {
        let path = format!("{}/{account}", bank(account));
        cluster.open(&path, OPENING).await;
    }
    let seconds = sized(60, 4) as u64;
    let (stop, stopped) = watch::channel(false);
    let began = Instant::now();
    let waits = tokio::spawn(watch_waits(cluster.client(), stopped.clone()));
    let mut customers = JoinSet::new();
    for number in 0..CUSTOMERS {
        customers.spawn(customer(cluster.client(), number, stopped.clone()));
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    stop.send(true).unwrap();
    let done: Vec<Done> = customers.join_all().await.into_iter().flatten().collect();
    let took = began.elapsed();
    let longest = waits.await.unwrap();
    let tries = done.iter().map(|it| it.tries).max().unwrap();
    println!(
        "{CUSTOMERS} customers, {ACCOUNTS} accounts, {took:.1?}: {} transactions, at most {tries} \
         tries for one, at most {} ms in a queue",
        done.len(),
        longest.0
    );
    for number in 0..CUSTOMERS {
        let some = done.iter().any(|it| it.customer == number);
        assert!(some, "customer {number} has done nothing");
    }
    assert!(
        tries <= TRIES_MAX,
        "{tries} tries, want {TRIES_MAX} at most"
    );
    assert!(longest.0 <= WAIT_MAX.0 + GRACE.0, "waited {} ms", longest.0);
    let mut sum = 0;
    for account in 0..ACCOUNTS {
        let path = format!("{}/{account}", bank(account));
        sum += i128::from(cluster.balance(&path).await);
    }
    assert_eq!(sum, ACCOUNTS as i128 * i128::from(OPENING), "money");
    let history = history(&done, began);
    if let Err(anomaly) = history.check_strict_serializability() {
        panic!("{anomaly}");
    }
}

fn bank(account: usize) -> &'static str {
    BANKS[account % BANKS.len()]
}

fn read(account: usize) -> AddressedOperation {
    let action = Read {
        account: account.to_string(),
    };
    operation(&name(bank(account)), &action, true)
}

fn balance(payload: &Payload) -> i64 {
    let account: Account = result(payload).unwrap();
    account.balance_minor
}

fn balances(results: &[Payload]) -> Vec<i64> {
    results.iter().map(balance).collect()
}

/// What a customer wants next.
#[derive(Clone, Copy)]
struct Wish {
    from: usize,
    to: usize,
    amount: i64,
    kind: u64,
}

impl Wish {
    fn draw() -> Self {
        let (one, other) = Uuid::new_v4().as_u64_pair();
        let from = one as usize % ACCOUNTS;
        let to = (from + 1 + other as usize % (ACCOUNTS - 1)) % ACCOUNTS;
        // The bits of a random UUID that say what it is lie in its middle.
        let amount = 1 + (other & ((1 << AMOUNT_BITS) - 1)) as i64;
        let kind = (one >> 32) % 10;
        Self {
            from,
            to,
            amount,
            kind,
        }
    }

    fn moves(self) -> [AddressedOperation; 2] {
        let Self {
            from, to, amount, ..
        } = self;
        [
            take(bank(from), &from.to_string(), amount),
            put(bank(to), &to.to_string(), amount),
        ]
    }

    /// The changes, from what was on the accounts after.
    fn changed(self, after: &[i64]) -> Vec<(usize, i64, i64)> {
        let Self {
            from, to, amount, ..
        } = self;
        vec![
            (from, after[0] + amount, after[0]),
            (to, after[1] - amount, after[1]),
        ]
    }
}

/// Moves money, and reads all accounts now and then, until it is told to stop.
async fn customer(client: Client, number: usize, stop: watch::Receiver<bool>) -> Vec<Done> {
    let mut all = Vec::new();
    while !*stop.borrow() {
        let wish = Wish::draw();
        let asked = Instant::now();
        let (tries, seen, changed) = match wish.kind {
            0 => {
                let (tries, seen) = run(&client, (0..ACCOUNTS).map(read).collect()).await;
                (tries, seen.into_iter().enumerate().collect(), Vec::new())
            }
            1..6 => {
                let (tries, after) = run(&client, wish.moves().to_vec()).await;
                (tries, Vec::new(), wish.changed(&after))
            }
            _ => interact(&client, wish).await,
        };
        all.push(Done {
            customer: number,
            asked,
            told: Instant::now(),
            tries,
            seen,
            changed,
        });
    }
    all
}

/// A one-shot transaction, run until it commits: how many tries it took, and what
/// was on the accounts.
async fn run(client: &Client, operations: Vec<AddressedOperation>) -> (u32, Vec<i64>) {
    let mut transaction = Transaction::new(operations);
    for tries in 1.. {
        let refusal = match client.run(&transaction).await {
            Ok(report) => match report.ending {
                Ending::Committed(results) => return (tries, balances(&results.unwrap())),
                Ending::Aborted(cause) => cause.refusal,
            },
            Err(ClientError::Refused(refused)) => refused.refusal,
            Err(error) => panic!("{error}"),
        };
        assert!(
            refusal.retryable && tries < TRIES_MAX,
            "try {tries}: {refusal}"
        );
        // As the client's own loop pauses.
        tokio::time::sleep(Duration::from_millis(50 << tries.min(5))).await;
        transaction = transaction.rerun();
    }
    unreachable!("numbers do not end")
}

/// The same transfer, interactive: looks first, and moves then.
async fn interact(client: &Client, wish: Wish) -> (u32, Vec<(usize, i64)>, Vec<(usize, i64, i64)>) {
    let mut tries = 0;
    let work = |mut transaction: Lent| {
        tries += 1;
        async move {
            let before = transaction
                .execute([read(wish.from), read(wish.to)])
                .await?;
            let after = transaction.execute(wish.moves()).await?;
            Ok::<_, InteractError<()>>((balances(&before), balances(&after)))
        }
    };
    let (before, after) = client.interact(Terms::default(), work).await.unwrap();
    let seen = vec![(wish.from, before[0]), (wish.to, before[1])];
    (tries, seen, wish.changed(&after))
}

/// Looks at who waits until it is told to stop, and gives the longest wait it saw.
async fn watch_waits(client: Client, stop: watch::Receiver<bool>) -> Span {
    let mut longest = Span(0);
    while !*stop.borrow() {
        let view = client.waits().await.unwrap();
        for (_, report) in &view.reports {
            let waiters = report.queues.iter().flat_map(|queue| &queue.waiters);
            let waits = waiters.map(|waiter| report.at.since(waiter.since));
            longest = waits.max().unwrap_or(longest).max(longest);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    longest
}

/// The versions of one account: what was on it after each change.
struct Versions {
    /// By balance.
    number: HashMap<i64, usize>,
}

impl Versions {
    /// Puts the changes of an account into their order: each begins with the balance
    /// that another has left.
    fn of(account: usize, done: &[Done]) -> Self {
        let changes = done.iter().flat_map(|it| &it.changed);
        let changes = changes.filter(|(at, ..)| *at == account);
        let mut next: HashMap<i64, i64> = HashMap::new();
        for (_, before, after) in changes {
            let twice = next.insert(*before, *after);
            assert_eq!(twice, None, "account {account}: {before} was changed twice");
        }
        let (mut number, mut balance) = (HashMap::from([(OPENING, 0)]), OPENING);
        let count = next.len();
        while let Some(after) = next.remove(&balance) {
            balance = after;
            let alike = number.insert(balance, number.len());
            assert_eq!(alike, None, "account {account}: two balances are alike");
        }
        assert_eq!(
            number.len(),
            count + 1,
            "account {account}: a change was lost"
        );
        Self { number }
    }

    fn version(&self, account: usize, balance: i64) -> usize {
        let version = self.number.get(&balance).copied();
        version.unwrap_or_else(|| panic!("account {account} never had {balance}"))
    }
}

fn key(account: usize, block: usize) -> Key {
    Key(format!("{account}/{block}"))
}

/// The reads of lists that say which version of an account was read.
fn reads(account: usize, version: usize) -> Vec<Operation> {
    let read = |block: usize| {
        let last = version.min((block + 1) * BLOCK);
        let values = (block * BLOCK + 1..=last).map(|it| Value(it as u64));
        Operation::Read {
            key: key(account, block),
            values: Some(values.collect()),
        }
    };
    match version.checked_sub(1) {
        None => vec![read(0)],
        // The next list has nothing yet.
        Some(last) if version.is_multiple_of(BLOCK) => {
            vec![read(last / BLOCK), read(version / BLOCK)]
        }
        Some(last) => vec![read(last / BLOCK)],
    }
}

/// What everybody saw, as appends to lists: whoever changes an account appends the
/// number of its version. Exact, as far as no two balances are alike.
fn history(done: &[Done], began: Instant) -> History {
    let accounts: Vec<Versions> = (0..ACCOUNTS).map(|it| Versions::of(it, done)).collect();
    let moment = |at: Instant| Moment {
        at_ms: at.duration_since(began).as_micros() as u64,
        number: 0,
    };
    let mut history = History::new();
    for it in done {
        let mut operations = Vec::new();
        for (account, balance) in &it.seen {
            let version = accounts[*account].version(*account, *balance);
            operations.extend(reads(*account, version));
        }
        for (account, before, after) in &it.changed {
            let version = accounts[*account].version(*account, *after);
            let read = accounts[*account].version(*account, *before);
            operations.extend(reads(*account, read));
            operations.push(Operation::Append {
                key: key(*account, (version - 1) / BLOCK),
                value: Value(version as u64),
            });
        }
        history.push(history::Transaction {
            id: None,
            client: ClientId(it.customer as u32),
            invoked: moment(it.asked),
            operations,
            outcome: Outcome::Committed {
                completed: moment(it.told),
            },
        });
    }
    history
}
