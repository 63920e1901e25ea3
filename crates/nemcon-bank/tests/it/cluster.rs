//! A coordinator and some banks, with clients for them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use nemcon_client::{
    Account, BankClient, Client, ClientError, Ending, NewAccount, Report, Transaction, Transfer,
    new_transaction_id, operation, result,
};
use nemcon_core::id::{ParticipantId, ParticipantName};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::time::Span;
use nemcon_node::node::NodeHandle;
use nemcon_node::settings;
use nemcon_proto::bank::v1;
use nemcon_proto::bank::v1::bank_service_client::BankServiceClient;
use tempfile::TempDir;
use tonic::transport::Channel;

pub(crate) struct Cluster {
    dir: TempDir,
    coordinator: NodeHandle,
    banks: BTreeMap<String, NodeHandle>,
}

pub(crate) fn name(name: &str) -> ParticipantName {
    name.parse().unwrap()
}

fn node(dir: &Path) -> settings::Settings {
    settings::Settings::new("127.0.0.1:0".parse().unwrap(), dir)
}

pub(crate) fn start_coordinator(dir: &Path) -> NodeHandle {
    let mut node = node(dir);
    // Short, since a client that is gone would be waited for.
    node.limits.drain_max = Duration::from_millis(200);
    let settings = nemcon_coordinator::Settings {
        // Short, so that nobody who waits makes the test wait.
        lock_wait: Span::from_secs(1),
        ..nemcon_coordinator::Settings::new(node)
    };
    nemcon_coordinator::start(settings).unwrap()
}

pub(crate) fn start_bank(dir: &Path, bank: &str, coordinators: Vec<String>) -> NodeHandle {
    let settings = nemcon_bank::Settings::new(node(dir), name(bank), coordinators);
    nemcon_bank::start(settings).unwrap()
}

/// Stops a node and waits for its end, while the connections of this test can
/// hear that the node says goodbye.
pub(crate) async fn stop(node: NodeHandle) {
    node.stop();
    tokio::task::spawn_blocking(|| node.join())
        .await
        .unwrap()
        .unwrap();
}

/// A client that is given the statuses as they are, and sends nothing again.
pub(crate) fn raw(bank: &NodeHandle) -> BankServiceClient<Channel> {
    BankServiceClient::new(nemcon_net::channel(&bank.url().parse().unwrap()))
}

impl Cluster {
    /// Starts all, and waits until every bank is registered.
    pub(crate) async fn start(banks: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let coordinator = start_coordinator(&dir.path().join("coordinator"));
        let mut cluster = Self {
            dir,
            coordinator,
            banks: BTreeMap::new(),
        };
        for bank in banks {
            cluster.start_bank(bank).await;
        }
        cluster
    }

    pub(crate) async fn start_bank(&mut self, bank: &str) {
        let urls = vec![self.coordinator.url().to_owned()];
        let node = start_bank(&self.dir.path().join(bank), bank, urls);
        self.banks.insert(bank.to_owned(), node);
        // The client comes again until the bank serves, and the bank does not
        // before it is registered.
        self.bank(bank).accounts(None, None).await.unwrap();
    }

    pub(crate) async fn stop_bank(&mut self, bank: &str) {
        stop(self.banks.remove(bank).unwrap()).await;
    }

    /// Stops the coordinator and starts it again, at another address, which the
    /// banks do not learn. Says which.
    pub(crate) async fn restart_coordinator(self) -> (Self, String) {
        stop(self.coordinator).await;
        let coordinator = start_coordinator(&self.dir.path().join("coordinator"));
        let url = coordinator.url().to_owned();
        (
            Self {
                coordinator,
                ..self
            },
            url,
        )
    }

    pub(crate) async fn stop(self) {
        for (_, node) in self.banks {
            stop(node).await;
        }
        stop(self.coordinator).await;
    }

    pub(crate) fn node(&self, bank: &str) -> &NodeHandle {
        &self.banks[bank]
    }

    /// The identity of a bank's data directory.
    pub(crate) async fn id(&self, bank: &str) -> ParticipantId {
        let known = self.client().participants().await.unwrap();
        let view = known.iter().find(|view| view.name.as_str() == bank);
        view.unwrap().id
    }

    pub(crate) fn bank(&self, bank: &str) -> BankClient {
        BankClient::connect(self.node(bank).url()).unwrap()
    }

    pub(crate) fn raw(&self, bank: &str) -> BankServiceClient<Channel> {
        raw(self.node(bank))
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.coordinator.url()).unwrap()
    }

    pub(crate) async fn open(&self, bank: &str, account: &str, balance_minor: i64) -> Account {
        let account = new_account(account, balance_minor);
        self.bank(bank)
            .open_account(new_transaction_id(), &account)
            .await
            .unwrap()
    }

    pub(crate) async fn balance(&self, bank: &str, account: &str) -> i64 {
        self.bank(bank)
            .account(account)
            .await
            .unwrap()
            .balance_minor
    }

    /// Pays, under a new id.
    pub(crate) async fn pay(&self, bank: &str, transfer: &Transfer) -> Report {
        self.bank(bank)
            .transfer(new_transaction_id(), transfer)
            .await
            .unwrap()
    }

    /// Adds up the books of all banks in one transaction, and checks that the
    /// double entries do. Returns what customers have, by bank.
    pub(crate) async fn customers(&self) -> BTreeMap<String, i64> {
        let audit = |bank: &String| operation(&name(bank), &v1::Audit {}, true);
        let transaction = Transaction::new(self.banks.keys().map(audit));
        let report = self.client().run_until_decided(transaction).await.unwrap();
        let results = match report.ending {
            Ending::Committed(Some(results)) => results,
            other => panic!("{other:?}"),
        };
        let mut clearing_of_all = 0;
        let mut customers = BTreeMap::new();
        for (bank, payload) in self.banks.keys().zip(&results) {
            let totals: v1::Totals = result(payload).unwrap();
            let lines = totals.currencies;
            for line in &lines {
                let sum = line.customers_minor + line.cash_minor + line.clearing_minor;
                assert_eq!(sum, 0, "{bank}: {line:?}");
            }
            clearing_of_all += lines.iter().map(|line| line.clearing_minor).sum::<i64>();
            let total = lines.iter().map(|line| line.customers_minor).sum();
            customers.insert(bank.clone(), total);
        }
        assert_eq!(clearing_of_all, 0);
        customers
    }
}

pub(crate) fn new_account(name: &str, opening_balance_minor: i64) -> NewAccount {
    NewAccount {
        name: name.into(),
        owner: format!("Owner of {name}"),
        currency: "CZK".into(),
        opening_balance_minor,
        minimum_balance_minor: 0,
    }
}

/// An order to pay, written as `("alice", "bank-b/bob", 100)`.
pub(crate) fn order(from: &str, to: &str, amount_minor: i64) -> Transfer {
    let (to_bank, to_account) = match to.split_once('/') {
        Some((bank, account)) => (Some(name(bank)), account),
        None => (None, to),
    };
    Transfer {
        from_account: from.into(),
        to_bank,
        to_account: to_account.into(),
        amount_minor,
        currency: "CZK".into(),
        reference: None,
    }
}

#[track_caller]
pub(crate) fn assert_committed(report: &Report) {
    assert!(matches!(report.ending, Ending::Committed(_)), "{report:?}");
}

/// Why a transfer aborted.
#[track_caller]
pub(crate) fn no(report: Report) -> Refusal {
    match report.ending {
        Ending::Aborted(cause) => cause.refusal,
        Ending::Committed(_) => panic!("{report:?}"),
    }
}

/// Why a call was refused.
#[track_caller]
pub(crate) fn reason<T: std::fmt::Debug>(told: Result<T, ClientError>) -> Reason {
    match told {
        Err(ClientError::Refused(refused)) => refused.refusal.reason,
        other => panic!("{other:?}"),
    }
}
