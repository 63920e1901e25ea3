//! Customers who pay from one bank to another until they are told to stop, and
//! what the banks must have in the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nemcon_client::Client;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, SOON};
use crate::money::payment;
use crate::outcome::{Told, outcome};
use nemcon_e2e::until;

/// What is on each account at first: more than any customer pays in a test.
const OPENING: i64 = 1_000_000;

/// Amounts go round from 1 to this, so that a lost or doubled payment shows.
const AMOUNT_MAX: i64 = 97;

/// Pause after a no, lest a node that refuses everything be asked without end.
const PAUSE_AFTER_NO: Duration = Duration::from_millis(20);

/// Customers at work. Each has an account of its own at either bank, so that
/// nobody waits for anybody's locks.
pub(crate) struct Payers {
    from: &'static str,
    to: &'static str,
    tasks: JoinSet<Payer>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    committed: AtomicU64,
    disk_full: AtomicU64,
}

/// One customer, and what it was told to have paid.
struct Payer {
    number: u64,
    paid: i64,
}

/// What was told in the end.
pub(crate) struct Paid {
    from: &'static str,
    to: &'static str,
    payers: Vec<Payer>,
}

impl Payers {
    /// Opens accounts at both banks, and sends so many customers to work.
    pub(crate) async fn start(
        cluster: &Cluster,
        from: &'static str,
        to: &'static str,
        count: u64,
    ) -> Self {
        Self::start_with(&cluster.client(), cluster, from, to, count).await
    }

    /// The same, who all go through this client.
    pub(crate) async fn start_with(
        client: &Client,
        cluster: &Cluster,
        from: &'static str,
        to: &'static str,
        count: u64,
    ) -> Self {
        let shared: Arc<Shared> = Arc::default();
        let mut tasks = JoinSet::new();
        for number in 0..count {
            cluster.open(&payer(from, number), OPENING).await;
            cluster.open(&payer(to, number), OPENING).await;
            let (client, shared) = (client.clone(), Arc::clone(&shared));
            tasks.spawn(pay(client, shared, from, to, number));
        }
        Self {
            from,
            to,
            tasks,
            shared,
        }
    }

    /// How many payments committed so far.
    pub(crate) fn committed(&self) -> u64 {
        self.shared.committed.load(Ordering::Relaxed)
    }

    /// How many were refused so far because a disk was full.
    pub(crate) fn refused_for_room(&self) -> u64 {
        self.shared.disk_full.load(Ordering::Relaxed)
    }

    /// Waits until so many more have committed.
    pub(crate) async fn commit(&mut self, more: u64) {
        let enough = self.committed() + more;
        until("payments commit", SOON, async || {
            if let Some(ended) = self.tasks.try_join_next() {
                panic!("a customer has gone: {}", ended.is_ok());
            }
            match self.committed() {
                committed if committed >= enough => Ok(()),
                committed => Err(format!("{committed} of {enough}")),
            }
        })
        .await;
    }

    /// Waits until every payment under way has its outcome, and makes no more.
    pub(crate) async fn stop(mut self) -> Paid {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut payers = Vec::new();
        while let Some(payer) = self.tasks.join_next().await {
            payers.push(payer.unwrap());
        }
        let (from, to) = (self.from, self.to);
        Paid { from, to, payers }
    }
}

impl Paid {
    /// What of each customer's payments is at the bank they went to and not at the
    /// one they came from, which has lost it: the account there, and how much.
    pub(crate) async fn lost(&self, cluster: &Cluster) -> Vec<(String, i64)> {
        let mut lost = Vec::new();
        for Payer { number, paid } in &self.payers {
            let arrived = cluster.balance(&payer(self.to, *number)).await - OPENING;
            assert_eq!(arrived, *paid, "customer {number}");
            let left = OPENING - cluster.balance(&payer(self.from, *number)).await;
            let account = format!("payer-{number}");
            lost.push((account, arrived - left));
        }
        lost
    }

    /// Every account has, to the cent, what its customer was told.
    pub(crate) async fn adds_up(&self, cluster: &Cluster) {
        for Payer { number, paid } in &self.payers {
            let left = cluster.balance(&payer(self.from, *number)).await;
            let arrived = cluster.balance(&payer(self.to, *number)).await;
            assert_eq!(left, OPENING - paid, "customer {number}");
            assert_eq!(arrived, OPENING + paid, "customer {number}");
        }
    }
}

fn payer(bank: &str, number: u64) -> String {
    format!("{bank}/payer-{number}")
}

/// Pays, each time under a new id, and asks until there is an outcome.
async fn pay(client: Client, shared: Arc<Shared>, from: &str, to: &str, number: u64) -> Payer {
    let mut paid = 0;
    for amount in (1..=AMOUNT_MAX).cycle() {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let transaction = payment(&payer(from, number), &payer(to, number), amount);
        match outcome(&client, &transaction).await.0 {
            Told::Committed => {
                paid += amount;
                shared.committed.fetch_add(1, Ordering::Relaxed);
            }
            Told::Aborted(reason) => {
                let full = u64::from(reason == "DISK_FULL");
                shared.disk_full.fetch_add(full, Ordering::Relaxed);
                tokio::time::sleep(PAUSE_AFTER_NO).await;
            }
        }
    }
    Payer { number, paid }
}
