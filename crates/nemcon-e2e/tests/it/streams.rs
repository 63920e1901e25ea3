//! Streams between nodes and to clients, whose ends are killed.

use crate::cluster::{Cluster, DOUBT_MAX, SOON};
use crate::payers::Payers;

#[tokio::test]
async fn whoever_is_killed_at_the_other_end_of_a_stream_no_payment_is_lost_or_doubled() {
    let mut cluster = Cluster::start(&["bank-a", "bank-b"]).await;
    let client = cluster.client().streaming(64);
    let mut payers = Payers::start_with(&client, &cluster, "bank-a", "bank-b", 16).await;
    payers.commit(200).await;
    for name in ["bank-b", "coordinator", "bank-a", "coordinator"] {
        let node = cluster.node_mut(name);
        node.kill();
        node.spawn();
        node.serving().await;
        cluster.complete().await;
        payers.commit(200).await;
    }
    let paid = payers.stop().await;
    cluster.nothing_in_doubt(DOUBT_MAX.max(SOON)).await;
    paid.adds_up(&cluster).await;
}
