//! A disk that fills up under a node at work.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use nemcon_e2e::{Mounted, until};
use tonic::Code;
use tonic_types::StatusExt;

use super::skipped;
use crate::cluster::{Cluster, DOUBT_MAX, SOON, nemcon};
use crate::money::{payment, request};
use crate::payers::Payers;

/// The disk, what has to be free of it, and what is left when it is filled to
/// below that.
const DISK_BYTES: u64 = 64 << 20;
const FREE_MIB_MIN: u64 = 16;
const LEFT_BYTES: u64 = (11 << 20) + (512 << 10);

/// Something else that takes the room on a disk.
struct Filler {
    path: PathBuf,
    file: File,
}

impl Filler {
    fn new(dir: &Path) -> Self {
        let path = dir.join("filler");
        let file = File::create(&path).unwrap();
        Self { path, file }
    }

    /// Takes all room but so much.
    fn leave(&mut self, bytes: u64) {
        let chunk = [0xa5; 64 << 10];
        loop {
            let free = free_bytes(&self.path);
            let more = free.saturating_sub(bytes).min(chunk.len() as u64);
            if more == 0 {
                return;
            }
            match self.file.write_all(&chunk[..more as usize]) {
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                written => written.unwrap(),
            }
        }
    }

    /// Gives it back.
    fn remove(self) {
        fs::remove_file(self.path).unwrap();
    }
}

fn free_bytes(path: &Path) -> u64 {
    let system = rustix::fs::statvfs(path).unwrap();
    system.f_bavail * system.f_frsize
}

/// A cluster in which one node has a small disk of its own.
async fn cluster_with_small_disk(victim: &str) -> Option<Cluster> {
    let mut cluster = Cluster::new(&["bank-a", "bank-b"]).await;
    let node = cluster.node_mut(victim);
    node.add_arguments(&[&format!("--free-mib-min={FREE_MIB_MIN}")]);
    match Mounted::in_memory(DISK_BYTES, &node.data_dir()) {
        Ok(disk) => node.set_disk(Some(disk)),
        Err(why) => {
            skipped("a full disk", &why);
            return None;
        }
    }
    cluster.start_all().await;
    Some(cluster)
}

#[tokio::test(flavor = "current_thread")]
async fn a_bank_short_of_room_begins_nothing_new_and_ends_what_is_running() {
    let Some(cluster) = cluster_with_small_disk("bank-a").await else {
        return;
    };
    let mut payers = Payers::start(&cluster, "bank-a", "bank-b", 4).await;
    payers.commit(50).await;
    let mut filler = Filler::new(&cluster.bank("bank-a").data_dir());
    filler.leave(LEFT_BYTES);
    until("payments are refused", SOON, async || {
        match payers.refused_for_room() {
            0 => Err("none is"),
            _ => Ok(()),
        }
    })
    .await;
    // What only reads goes on, also in one transaction of several banks.
    assert!(cluster.balance("bank-a/payer-0").await > 0);
    let told = cluster.nemcon(&["bank", "audit"]).await;
    assert_eq!(told.exit, 0, "{told:?}");
    let told = cluster
        .nemcon(&[
            "bank",
            "transfer",
            "bank-a/payer-0",
            "bank-b/payer-0",
            "1.00",
        ])
        .await;
    assert_eq!(told.exit, 1, "{told:?}");
    for word in ["bank-a", "DISK_FULL", "11 MiB left", "18 MiB"] {
        assert!(told.stderr.contains(word), "{word}: {told:?}");
    }
    filler.remove();
    payers.commit(50).await;
    let paid = payers.stop().await;
    cluster.nothing_in_doubt(DOUBT_MAX).await;
    paid.adds_up(&cluster).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_coordinator_short_of_room_refuses_with_resource_exhausted() {
    let Some(cluster) = cluster_with_small_disk("coordinator").await else {
        return;
    };
    let mut payers = Payers::start(&cluster, "bank-a", "bank-b", 2).await;
    payers.commit(20).await;
    let mut filler = Filler::new(&cluster.coordinator.data_dir());
    filler.leave(LEFT_BYTES);
    let status = until("payments are refused", SOON, async || {
        let transaction = payment("bank-a/payer-0", "bank-b/payer-0", 0);
        let status = cluster.raw().run_transaction(request(&transaction)).await;
        status
            .err()
            .filter(|it| it.code() == Code::ResourceExhausted)
            .ok_or("it is not")
    })
    .await;
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone());
    assert_eq!(reason.as_deref(), Some("DISK_FULL"), "{status:?}");
    assert!(status.message().contains("make some room"), "{status:?}");
    filler.remove();
    payers.commit(20).await;
    payers.stop().await.adds_up(&cluster).await;
}

/// It fills up all the same, since somebody else takes the room: the node stops,
/// cannot start, is helped by its ballast, and has everything.
#[tokio::test(flavor = "current_thread")]
async fn a_full_disk_stops_the_node_and_its_ballast_brings_it_back() {
    for victim in ["bank-a", "coordinator"] {
        let Some(mut cluster) = cluster_with_small_disk(victim).await else {
            return;
        };
        let node = cluster.node_mut(victim);
        // Or it would notice in time.
        node.remove_argument(&format!("--free-mib-min={FREE_MIB_MIN}"));
        node.add_arguments(&["--free-mib-min=0"]);
        node.restart().await;
        let mut payers = Payers::start(&cluster, "bank-a", "bank-b", 8).await;
        payers.commit(50).await;
        let dir = cluster.node_mut(victim).data_dir();
        let mut filler = Filler::new(&dir);
        filler.leave(0);
        let node = cluster.node_mut(victim);
        let status = node.stopped(SOON).await;
        assert_eq!(status.code(), Some(1), "{victim}");
        // What it freed by dying does not count.
        filler.leave(0);
        node.spawn();
        let ended = node.serving_or_ended().await;
        assert!(ended.is_some(), "{victim} starts without any room");
        let shown = dir.display().to_string();
        let said = node.process().stderr();
        let last = said.lines().last().unwrap_or_default();
        for word in [
            "cannot be opened",
            "full",
            &format!("nemcon wal repair {shown}"),
        ] {
            assert!(last.contains(word), "{word}: {last}");
        }
        node.stopped(SOON).await;
        let told = nemcon(cluster.dir(), &["wal", "repair", &shown]).await;
        assert_eq!(told.exit, 0, "{told:?}");
        assert!(told.stdout.contains("freed 8 MiB"), "{told:?}");
        let node = cluster.node_mut(victim);
        node.start().await;
        // Everything that was promised ends, with what the ballast has left.
        let paid = payers.stop().await;
        cluster.nothing_in_doubt(DOUBT_MAX).await;
        paid.adds_up(&cluster).await;
        filler.remove();
        cluster.open("bank-a/late", 1).await;
    }
}
