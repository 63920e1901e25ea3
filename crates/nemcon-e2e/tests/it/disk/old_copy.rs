//! A bank's data directory is exchanged for an older copy of itself: by a snapshot
//! of a volume, say, that somebody has restored.

use std::fs;
use std::time::Duration;

use super::copy;
use crate::cluster::{Cluster, SOON};
use crate::payers::Payers;

#[tokio::test(flavor = "current_thread")]
async fn a_bank_that_has_forgotten_its_promises_is_refused_until_they_are_given_up() {
    let mut cluster = Cluster::start(&["bank-a", "bank-b"]).await;
    let mut payers = Payers::start(&cluster, "bank-a", "bank-b", 2).await;
    payers.commit(10).await;
    let dir = cluster.bank("bank-a").data_dir();
    let old = cluster.dir().join("old");
    cluster.bank_mut("bank-a").stop(SOON).await;
    copy(&dir, &old);
    cluster.bank_mut("bank-a").start().await;
    payers.commit(10).await;
    payers.stop().await.adds_up(&cluster).await;

    cluster.bank_mut("bank-a").kill();
    fs::remove_dir_all(&dir).unwrap();
    copy(&old, &dir);
    // The coordinator remembers it through its own restart.
    cluster.coordinator.restart().await;
    let bank = cluster.bank_mut("bank-a");
    bank.spawn();
    // It may serve before it is refused.
    let said = bank.process().stderr().len();
    assert_eq!(bank.stopped(SOON).await.code(), Some(1));
    let log = fs::read_to_string(cluster.dir().join("bank-a.err")).unwrap();
    let last = log[said..].lines().last().unwrap_or_default();
    for word in ["old copy", "nemcon participants remove bank-a --give-up"] {
        assert!(last.contains(word), "{word}: {last}");
    }

    let told = cluster
        .nemcon(&[
            "participants",
            "remove",
            "bank-a",
            "--give-up",
            "no newer one",
        ])
        .await;
    assert_eq!(told.exit, 0, "{told:?}");
    cluster.bank_mut("bank-a").start().await;
    cluster.complete().await;
    // The bank that is given up may have decided ids alone of which nobody knows
    // now. Those from before the coordinator's start and up to ten seconds after it
    // are never run; newer ones are.
    tokio::time::sleep(Duration::from_secs(10)).await;
    cluster.open("bank-a/late", 100).await;
}
