//! The power of a whole cluster is cut while customers pay.
//!
//! Each node's data directory is an ext4 file system in an image file. All nodes
//! are frozen, the images copied, the nodes killed: what they have only handed to
//! the operating system lies in the page cache of the mounted file systems and is
//! not in the images. The copies are the disks of machines that lost power at that
//! moment. They are mounted in place of the others, and the nodes started on them.
//!
//! That this would notice a loss is shown by the test `os_crash` of `nemcon-wal`,
//! which leaves out the sync and then has to find one.

use std::path::{Path, PathBuf};

use nemcon_e2e::{Mounted, copy_at_once, make_image};

use super::skipped;
use crate::cluster::{Cluster, DOUBT_MAX};
use crate::orders::Chance;
use crate::payers::Payers;

const NODES: [&str; 3] = ["coordinator", "bank-a", "bank-b"];

/// Bytes of each disk.
const DISK_BYTES: u64 = 48 << 20;

/// Cuts of the short form, which every run of the tests has.
const CUTS: u64 = 3;

/// Payments between two cuts: at least one, so that each cut catches the log at
/// another place.
const PAYMENTS_MAX: u64 = 60;

/// `NEMCON_E2E_CUTS` in the environment makes it longer: scripts/power-cut.sh.
fn cuts() -> u64 {
    let text = std::env::var("NEMCON_E2E_CUTS");
    text.map_or(CUTS, |text| {
        text.parse().expect("NEMCON_E2E_CUTS is a number")
    })
}

struct Disks {
    dir: PathBuf,
    lives: u64,
}

impl Disks {
    fn image(&self, node: &str) -> PathBuf {
        self.dir.join(format!("{node}-{}.image", self.lives))
    }

    /// Makes an empty one for each node, and mounts it where its data will be.
    fn new(dir: &Path, cluster: &mut Cluster) -> Result<Self, String> {
        let disks = Self {
            dir: dir.to_owned(),
            lives: 0,
        };
        for node in NODES {
            make_image(&disks.image(node), DISK_BYTES)?;
        }
        disks.mount(cluster)?;
        Ok(disks)
    }

    fn mount(&self, cluster: &mut Cluster) -> Result<(), String> {
        for node in NODES {
            let image = self.image(node);
            let node = cluster.node_mut(node);
            let disk = Mounted::image(&image, &node.data_dir())?;
            node.set_disk(Some(disk));
        }
        Ok(())
    }

    /// Cuts the power. What is left is mounted; nothing runs.
    async fn cut_power(&mut self, cluster: &mut Cluster) {
        for node in NODES {
            cluster.node_mut(node).process().pause().await;
        }
        let before = NODES.map(|node| self.image(node));
        self.lives += 1;
        for (node, image) in NODES.iter().zip(&before) {
            copy_at_once(image, &self.image(node)).unwrap();
        }
        for node in NODES {
            let node = cluster.node_mut(node);
            node.kill();
            node.set_disk(None);
        }
        for image in before {
            std::fs::remove_file(image).unwrap();
        }
        self.mount(cluster).unwrap();
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_cluster_that_loses_power_has_all_that_customers_were_told() {
    let mut cluster = Cluster::new(&["bank-a", "bank-b"]).await;
    let images = tempfile::tempdir().unwrap();
    let mut disks = match Disks::new(images.path(), &mut cluster) {
        Ok(disks) => disks,
        Err(why) => return skipped("no power was cut", &why),
    };
    for node in cluster.nodes() {
        node.add_arguments(&["--free-mib-min=4"]);
    }
    cluster.start_all().await;
    let mut chance = Chance::from_environment();
    let mut payers = Payers::start(&cluster, "bank-a", "bank-b", 6).await;
    for cut in 1..=cuts() {
        payers.commit(1 + chance.below(PAYMENTS_MAX)).await;
        let before = payers.committed();
        disks.cut_power(&mut cluster).await;
        for node in cluster.nodes() {
            node.spawn();
        }
        for node in cluster.nodes() {
            // A log that has lost something is refused.
            node.serving().await;
        }
        println!("cut {cut}: {before} payments committed before it; every node serves again");
    }
    payers.commit(10).await;
    let paid = payers.stop().await;
    cluster.nothing_in_doubt(DOUBT_MAX).await;
    paid.adds_up(&cluster).await;
    println!("{} of {} cuts kept all", cuts(), cuts());
}
