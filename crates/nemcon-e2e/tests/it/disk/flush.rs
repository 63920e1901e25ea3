//! Slow and failing flushes under real nodes.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, DOUBT_MAX, SOON};
use crate::money::payment;
use crate::payers::Payers;

/// A commit waits for two flushes, one after the other: a bank's promise and the
/// coordinator's decision. Everything else happens meanwhile.
#[tokio::test(flavor = "current_thread")]
async fn a_commit_takes_two_flushes_however_slow_they_are() {
    for delay_ms in [1, 5, 50] {
        let mut cluster = Cluster::new(&["bank-a", "bank-b"]).await;
        let delay = format!("--flush-delay-ms={delay_ms}");
        for node in cluster.nodes() {
            node.add_arguments(&[&delay]);
        }
        cluster.start_all().await;
        cluster.open("bank-a/alice", 1_000).await;
        cluster.open("bank-b/bob", 0).await;
        let client = cluster.client();
        let mut fastest = Duration::MAX;
        for _ in 0..5 {
            let transaction = payment("bank-a/alice", "bank-b/bob", 1);
            let began = Instant::now();
            client.run_until_decided(transaction).await.unwrap();
            fastest = fastest.min(began.elapsed());
        }
        let delay = Duration::from_millis(delay_ms);
        assert!(fastest >= delay * 2, "{fastest:?} with {delay:?}");
        // A third flush would show, but for the time that everything else takes.
        if delay_ms == 50 {
            assert!(fastest < delay * 3, "{fastest:?} with {delay:?}");
        }
        assert_eq!(cluster.balance("bank-b/bob").await, 5);
    }
}

/// A failed flush stops the node at once, and nothing that was not durable has
/// been said: whatever the customers were told is there after the restart.
#[tokio::test(flavor = "current_thread")]
async fn a_failed_flush_stops_the_node_and_nothing_was_said_too_soon() {
    for (victim, flushes) in [("bank-a", 40), ("bank-b", 75), ("coordinator", 60)] {
        let mut cluster = Cluster::new(&["bank-a", "bank-b"]).await;
        let flag = format!("--fail-flush-after={flushes}");
        cluster.node_mut(victim).add_arguments(&[&flag]);
        cluster.start_all().await;
        let mut payers = Payers::start(&cluster, "bank-a", "bank-b", 4).await;
        let node = cluster.node_mut(victim);
        let status = node.stopped(SOON).await;
        assert_eq!(status.code(), Some(1), "{victim}");
        node.remove_argument(&flag);
        node.start().await;
        payers.commit(20).await;
        let paid = payers.stop().await;
        cluster.nothing_in_doubt(DOUBT_MAX).await;
        paid.adds_up(&cluster).await;
    }
}
