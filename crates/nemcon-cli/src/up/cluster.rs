//! The nodes of a cluster, running.

use nemcon_core::id::ParticipantName;
use nemcon_node::node::{NodeError, NodeHandle};
use nemcon_node::server::ListenError;
use nemcon_node::settings::Settings;
use tokio::task::JoinSet;

use super::plan::{Place, Plan};
use crate::failure::Failure;

/// A coordinator and its banks.
pub(super) struct Cluster {
    coordinator: NodeHandle,
    banks: Vec<(ParticipantName, NodeHandle)>,
}

impl Cluster {
    /// Starts all nodes, the coordinator first so that the banks find it. If one
    /// does not come up, those that have are stopped again.
    pub(super) fn start(plan: &Plan, traces: &nemcon_trace::Settings) -> Result<Self, Failure> {
        let place = plan.coordinator();
        let settings = nemcon_coordinator::Settings::new(node_settings(&place, traces));
        let coordinator = nemcon_coordinator::start(settings);
        let coordinator = coordinator.map_err(|error| failed(plan, &place, error))?;
        let mut cluster = Self {
            coordinator,
            banks: Vec::new(),
        };
        for (name, place) in plan.banks() {
            let url = cluster.coordinator.url().to_owned();
            let settings =
                nemcon_bank::Settings::new(node_settings(&place, traces), name.clone(), vec![url]);
            match nemcon_bank::start(settings) {
                Ok(bank) => cluster.banks.push((name.clone(), bank)),
                Err(error) => {
                    let failure = failed(plan, &place, error);
                    cluster.give_up();
                    return Err(failure);
                }
            }
        }
        Ok(cluster)
    }

    /// The coordinator.
    pub(super) fn coordinator(&self) -> &NodeHandle {
        &self.coordinator
    }

    /// The banks and their URLs.
    pub(super) fn banks(&self) -> impl Iterator<Item = (&ParticipantName, &str)> {
        self.banks.iter().map(|(name, node)| (name, node.url()))
    }

    /// Waits for a signal, or for a node that ends by itself: without it the
    /// cluster is no longer what was asked for.
    pub(super) async fn until_told_to_stop(&self) -> Result<(), Failure> {
        let nodes = self.banks.iter().map(|(_, node)| node);
        let mut ends = JoinSet::new();
        for node in nodes.chain([&self.coordinator]) {
            ends.spawn(node.ended());
        }
        tokio::select! {
            told = crate::signal::told_to_stop() => told.map_err(|source| Failure::System {
                doing: "listen for signals",
                source,
            }),
            _ = ends.join_next() => Ok(()),
        }
    }

    /// Stops the coordinator, then the banks: what is in flight is brought to its
    /// end while they are there to hear it.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        self.coordinator.stop();
        self.coordinator.ended().await;
        for (_, bank) in &self.banks {
            bank.stop();
        }
        for (_, bank) in &self.banks {
            bank.ended().await;
        }
        self.join()
    }

    /// Stops all nodes of a start that failed.
    fn give_up(self) {
        self.coordinator.stop();
        for (_, bank) in &self.banks {
            bank.stop();
        }
        // Why the start failed is what is worth saying.
        let _ = self.join();
    }

    /// The first error of a node that did not end cleanly.
    fn join(self) -> Result<(), Failure> {
        let banks = self
            .banks
            .into_iter()
            .map(|(name, node)| (name.to_string(), node));
        let mut result = Ok(());
        for (node, handle) in banks.chain([("coordinator".to_owned(), self.coordinator)]) {
            let ended = handle.join();
            result = result.and(ended.map_err(|source| Failure::Node {
                node,
                source: Box::new(source),
            }));
        }
        result
    }
}

/// A node on loopback, at its place.
fn node_settings(place: &Place, traces: &nemcon_trace::Settings) -> Settings {
    Settings {
        traces: traces.clone(),
        ..Settings::new(place.listen, &place.dir)
    }
}

/// A port that was taken between the check and the start gets the words of the check.
fn failed(plan: &Plan, place: &Place, source: NodeError) -> Failure {
    match source {
        NodeError::Listen(
            ListenError::PortTaken { address } | ListenError::HttpPortTaken { address },
        ) => plan.port_taken(place, address.port()),
        source => Failure::Node {
            node: place.name.clone(),
            source: Box::new(source),
        },
    }
}
