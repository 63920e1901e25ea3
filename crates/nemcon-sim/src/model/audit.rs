//! Whether a key stands for one state.
//!
//! Nodes with one key are taken for the same, so what a fingerprint leaves out
//! must make no difference. Here two of them go every step that there is, side by
//! side, and must say the same and come to the same key.

use std::collections::BTreeSet;

use nemcon_core::id::Epoch;

use super::cluster::{Cluster, Happening, Kind};
use super::table::hash_of;

/// Compares two nodes that have one key.
///
/// # Panics
/// If they differ in anything they can do next.
pub(super) fn alike(cluster: &Cluster, one: &Kind, other: &Kind) {
    let counts = |kind: &Kind| (kind.place(), kind.tail(), kind.timers());
    assert_eq!(counts(one), counts(other), "of one key");
    for what in steps(cluster, one) {
        let (left, right) = (outcome(cluster, one, what), outcome(cluster, other, what));
        assert_eq!(left, right, "of one key: {what:?} at {}", one.place());
    }
}

/// All that can happen to a node.
fn steps(cluster: &Cluster, kind: &Kind) -> Vec<Happening> {
    let mut steps = Vec::new();
    for key in cluster.all_keys() {
        if key.to() == kind.place() {
            steps.push(Happening::Deliver(key));
        }
        if key.from() == kind.place() {
            steps.push(Happening::Fail(key));
        }
    }
    steps.extend((1..=kind.tail()).map(Happening::Flush));
    steps.extend((0..=kind.tail()).map(Happening::Crash));
    steps.extend((0..kind.timers()).map(Happening::Fire));
    if let Kind::Coordinator(_) = kind {
        for order in 0..cluster.scenario.orders.len() {
            let pieces = cluster.scenario.orders[order].operations.len() as u8;
            steps.extend([Happening::Send(order), Happening::Abort(order)]);
            let epochs = [Epoch(1), Epoch(2)].into_iter();
            steps.extend(epochs.flat_map(|epoch| {
                (0..=pieces + 1).map(move |stage| Happening::Ask(order, stage, epoch))
            }));
        }
    }
    steps
}

/// Where a step leads, and what is said on the way.
fn outcome(cluster: &Cluster, kind: &Kind, what: Happening) -> (u64, BTreeSet<u64>) {
    let mut kind = kind.clone();
    let (said, _) = cluster.step(&mut kind, what);
    let key = kind.key(cluster.scenario.looks_max > 0);
    (key, said.iter().map(hash_of).collect())
}

#[cfg(test)]
mod tests {
    use super::super::{Scenario, explore};
    use super::*;
    use nemcon_core::planted::Planted;

    #[test]
    fn a_key_stands_for_one_state() {
        for name in [
            "peers",
            "refusing-peers",
            "forgotten",
            "reused-id",
            "interactive",
        ] {
            let scenario = Scenario::named(name).expect("a scenario of that name");
            let cluster = Cluster::new(scenario, Planted::none()).audited();
            let report = explore(cluster, 1);
            assert_eq!(report.failures().count(), 0, "{name}");
        }
    }
}
