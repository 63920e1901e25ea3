//! Starts and stops the nodes of a test.

use std::path::Path;
use std::time::Duration;

use nemcon_coordinator::Settings;
use nemcon_node::node::{NodeError, NodeHandle};
use nemcon_node::settings;
use nemcon_participant::serve;
use nemcon_proto::convert;
use nemcon_proto::v1;
use nemcon_proto::v1::admin_service_client::AdminServiceClient;
use nemcon_proto::v1::transaction_service_client::TransactionServiceClient;
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::store::{Border, Store, add};

/// Longest wait for anything in these tests.
const PATIENCE: Duration = Duration::from_secs(30);

fn node(dir: &Path) -> settings::Settings {
    settings::Settings::new("127.0.0.1:0".parse().unwrap(), dir)
}

pub(crate) fn start_coordinator(dir: &Path) -> NodeHandle {
    nemcon_coordinator::start(Settings::new(node(dir))).unwrap()
}

pub(crate) fn start_store(
    name: &str,
    dir: &Path,
    coordinator: &NodeHandle,
) -> Result<NodeHandle, NodeError> {
    let coordinators = vec![coordinator.url().to_owned()];
    let settings =
        nemcon_participant::Settings::new(node(dir), name.parse().unwrap(), coordinators);
    serve(settings, Store::default(), Border, |_, _| {})
}

/// A coordinator and the stores `a` and `b`.
pub(crate) struct Cluster {
    pub(crate) dir: TempDir,
    pub(crate) coordinator: NodeHandle,
    pub(crate) stores: Vec<NodeHandle>,
}

impl Cluster {
    /// Started and acquainted.
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    async fn start_in(dir: TempDir) -> Self {
        let coordinator = start_coordinator(&dir.path().join("coordinator"));
        let store = |name| start_store(name, &dir.path().join(name), &coordinator).unwrap();
        let stores = vec![store("a"), store("b")];
        let cluster = Self {
            dir,
            coordinator,
            stores,
        };
        for store in &cluster.stores {
            cluster
                .until(async |cluster| cluster.reaches(store).await)
                .await;
        }
        cluster
    }

    /// Stops every node cleanly and starts it again, on other ports.
    pub(crate) async fn restart(self) -> Self {
        let Self {
            dir,
            coordinator,
            stores,
        } = self;
        for node in stores.into_iter().chain([coordinator]) {
            stop(node);
        }
        Self::start_in(dir).await
    }

    pub(crate) fn channel(&self) -> Channel {
        nemcon_net::channel(&self.coordinator.url().parse().unwrap())
    }

    pub(crate) fn transactions(&self) -> TransactionServiceClient<Channel> {
        TransactionServiceClient::new(self.channel())
    }

    pub(crate) async fn participants(&self) -> Vec<v1::Participant> {
        let mut admin = AdminServiceClient::new(self.channel());
        let list = admin
            .list_participants(v1::ListParticipantsRequest {})
            .await
            .unwrap();
        list.into_inner().participants
    }

    /// How many transactions are decided and not acknowledged by everyone.
    pub(crate) async fn in_doubt(&self) -> usize {
        let mut admin = AdminServiceClient::new(self.channel());
        let list = admin.list_in_doubt(v1::ListInDoubtRequest {}).await;
        list.unwrap().into_inner().transactions.len()
    }

    /// Whether a store is registered where it is now, and has answered there.
    pub(crate) async fn reaches(&self, store: &NodeHandle) -> bool {
        let known = self.participants().await;
        known
            .iter()
            .any(|known| known.reachable && known.address == store.url())
    }

    pub(crate) async fn run(
        &self,
        request: v1::RunTransactionRequest,
    ) -> Result<v1::RunTransactionResponse, Status> {
        let mut request = Request::new(request);
        request.set_timeout(PATIENCE);
        Ok(self
            .transactions()
            .run_transaction(request)
            .await?
            .into_inner())
    }

    /// What is under a name in a store, read in a transaction.
    pub(crate) async fn read(&self, store: &str, name: &str) -> i64 {
        let mut read = operation(store, name, 0);
        read.read_only = true;
        let response = self.run(request(vec![read])).await.unwrap();
        assert_eq!(response.outcome(), v1::Outcome::Committed, "{response:?}");
        crate::store::number(&response.results[0].value)
    }

    /// Waits until something holds.
    pub(crate) async fn until(&self, holds: impl AsyncFn(&Self) -> bool) {
        let wait = async {
            while !holds(self).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("it should have come to hold");
    }

    pub(crate) fn stop(self) {
        for node in self.stores.into_iter().chain([self.coordinator]) {
            stop(node);
        }
    }
}

pub(crate) fn stop(node: NodeHandle) {
    node.stop();
    node.join().unwrap();
}

pub(crate) fn operation(store: &str, name: &str, amount: i64) -> v1::Operation {
    v1::Operation {
        participant: store.into(),
        action: Some(convert::any(add(name, amount))),
        read_only: false,
        inputs: Vec::new(),
    }
}

/// A transaction under a new id.
pub(crate) fn request(operations: Vec<v1::Operation>) -> v1::RunTransactionRequest {
    v1::RunTransactionRequest {
        transaction_id: nemcon_node::chance::fresh_transaction().to_string(),
        operations,
        ..Default::default()
    }
}

/// Moves an amount from `from` in store `a` to `to` in store `b`.
pub(crate) fn transfer(from: &str, to: &str, amount: i64) -> v1::RunTransactionRequest {
    request(vec![
        operation("a", from, -amount),
        operation("b", to, amount),
    ])
}
