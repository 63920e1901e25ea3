//! Bytes of a stopped node's files are flipped, zeroed or cut off, at places all
//! over its data directory. Each time the node has everything that was
//! acknowledged, or refuses to start and says what to do. It never panics, and
//! never starts with less.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nemcon_client::{BankClient, Client, List};
use nemcon_e2e::{Node, until};
use tempfile::TempDir;

use super::copy;
use crate::cluster::{Cluster, SOON};
use crate::orders::Chance;
use crate::payers::Payers;

/// Places of the short form, which every run of the tests has.
const PLACES: u64 = 60;

/// Customers whose accounts show whether everything is there.
const PAYERS: u64 = 4;

/// `NEMCON_E2E_PLACES` in the environment makes it longer: scripts/damage.sh.
fn places() -> u64 {
    let text = std::env::var("NEMCON_E2E_PLACES");
    text.map_or(PLACES, |text| {
        text.parse().expect("NEMCON_E2E_PLACES is a number")
    })
}

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// Bits are flipped in so many bytes.
    Flip(usize),
    /// So many bytes become zero.
    Zero(usize),
    /// Everything from there on is cut off.
    Cut,
}

/// A place, and what is done there.
struct Hit {
    file: PathBuf,
    at: u64,
    harm: Harm,
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} at {} of {}",
            self.harm,
            self.at,
            self.file.display()
        )
    }
}

impl Hit {
    /// Any file, the large ones more often: half the time by its size, else each
    /// as often as any other.
    fn choose(dir: &Path, chance: &mut Chance) -> Self {
        let mut files = Vec::new();
        list(dir, &mut files);
        let bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        let (file, len) = if chance.below(2) == 0 {
            files[chance.below(files.len() as u64) as usize].clone()
        } else {
            let mut at = chance.below(bytes);
            let found = files.iter().find(|(_, len)| {
                let here = at < *len;
                at = at.saturating_sub(*len);
                here
            });
            found.unwrap().clone()
        };
        let harm = match chance.below(5) {
            0 => Harm::Cut,
            1 => Harm::Zero(1 << chance.below(13)),
            2 => Harm::Flip(1),
            _ => Harm::Flip(1 << chance.below(13)),
        };
        let at = chance.below(len);
        Self { file, at, harm }
    }

    /// Does it. False if nothing has changed by that: it was all zero before.
    fn strike(&self) -> bool {
        let file = OpenOptions::new().read(true).write(true).open(&self.file);
        let file = file.unwrap();
        let left = file.metadata().unwrap().len() - self.at;
        let count = match self.harm {
            Harm::Cut => {
                file.set_len(self.at).unwrap();
                return true;
            }
            Harm::Flip(count) | Harm::Zero(count) => (count as u64).min(left) as usize,
        };
        let mut bytes = vec![0; count];
        file.read_exact_at(&mut bytes, self.at).unwrap();
        let before = bytes.clone();
        match self.harm {
            Harm::Flip(_) => bytes.iter_mut().for_each(|byte| *byte ^= 0x55),
            Harm::Zero(_) | Harm::Cut => bytes.fill(0),
        }
        file.write_all_at(&bytes, self.at).unwrap();
        bytes != before
    }
}

/// The files of a directory that hold something which matters.
fn list(dir: &Path, files: &mut Vec<(PathBuf, u64)>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, metadata) = (entry.path(), entry.metadata().unwrap());
        if metadata.is_dir() {
            list(&path, files);
        } else if metadata.len() > 0 && entry.file_name() != "ballast" {
            files.push((path, metadata.len()));
        }
    }
}

/// What a node says when it is asked for all it has.
type Everything = BTreeMap<String, String>;

async fn everything_at_bank(node: &Node) -> Result<Everything, String> {
    let client = BankClient::connect(&node.url()).unwrap();
    let mut all = Everything::new();
    for number in 0..PAYERS {
        let name = format!("payer-{number}");
        // Without a lock, since there is no coordinator.
        let peeked = client.peek(&name).await;
        let peeked = peeked.map_err(|error| error.to_string())?;
        all.insert(name, format!("{peeked:?}"));
    }
    Ok(all)
}

async fn everything_at_coordinator(node: &Node) -> Result<Everything, String> {
    let client = Client::connect(&node.url()).unwrap();
    let mut all = Everything::new();
    let mut list = List::default();
    loop {
        let page = client.transactions(list.clone()).await;
        let page = page.map_err(|error| error.to_string())?;
        for view in page.views {
            let shown = format!("{:?} {}", view.outcome, view.attempt);
            all.insert(view.transaction.to_string(), shown);
        }
        list.below = page.below;
        if list.below.is_none() {
            return Ok(all);
        }
    }
}

async fn everything(node: &Node, name: &str) -> Everything {
    until("it says what it has", SOON, async || match name {
        "coordinator" => everything_at_coordinator(node).await,
        _ => everything_at_bank(node).await,
    })
    .await
}

/// A node that was stopped in some way, and what it had.
struct Patient {
    name: &'static str,
    program: &'static str,
    dir: PathBuf,
    had: Everything,
}

/// Nodes with checkpoints behind them: one stopped cleanly, one killed, and a
/// coordinator.
async fn patients(cluster: &mut Cluster) -> Vec<Patient> {
    for node in cluster.nodes() {
        node.add_arguments(&["--checkpoint-records=150"]);
    }
    cluster.start_all().await;
    let mut payers = Payers::start(cluster, "bank-a", "bank-b", PAYERS).await;
    payers.commit(150).await;
    payers.stop().await.adds_up(cluster).await;
    cluster.bank_mut("bank-b").kill();
    cluster.coordinator.stop(SOON).await;
    cluster.bank_mut("bank-a").stop(SOON).await;
    let mut patients = Vec::new();
    for (name, program) in [
        ("bank-a", "nemcon-bank"),
        ("bank-b", "nemcon-bank"),
        ("coordinator", "nemcon-coordinator"),
    ] {
        let dir = cluster.node_mut(name).data_dir();
        let mut patient = Patient {
            name,
            program,
            dir,
            had: Everything::new(),
        };
        let temp = tempfile::tempdir().unwrap();
        let mut healthy = patient.copied_to(temp.path());
        healthy.start().await;
        patient.had = everything(&healthy, name).await;
        assert!(!patient.had.is_empty(), "{name}");
        patients.push(patient);
    }
    patients
}

impl Patient {
    /// A node that has a copy of what this one had, and nobody to talk to: what it
    /// says it has, it has by itself.
    fn copied_to(&self, dir: &Path) -> Node {
        let arguments: &[String] = match self.name {
            "coordinator" => &[],
            name => &[
                format!("--name={name}"),
                "--coordinator=http://127.0.0.1:1".to_owned(),
            ],
        };
        let node = Node::new(self.name, self.program, arguments, dir);
        copy(&self.dir, &node.data_dir());
        node
    }

    /// Damages a copy, and starts a node on it. True if the node refused.
    async fn suffers(&self, chance: &mut Chance, temp: &TempDir) -> Option<bool> {
        let dir = tempfile::tempdir_in(temp.path()).unwrap();
        let mut node = self.copied_to(dir.path());
        let hit = Hit::choose(&node.data_dir(), chance);
        if !hit.strike() {
            return None;
        }
        node.spawn();
        let refused = match node.serving_or_ended().await {
            Some(status) => {
                let said = node.process().stderr();
                assert_eq!(status.code(), Some(1), "{hit}: {said}");
                assert!(!said.contains("panicked at"), "{hit}: {said}");
                let shown = node.data_dir().display().to_string();
                assert!(said.contains(&shown), "{hit}: {said}");
                assert!(said.contains("nemcon wal verify"), "{hit}: {said}");
                true
            }
            None => {
                let has = everything(&node, self.name).await;
                assert_eq!(has, self.had, "{hit}");
                false
            }
        };
        Some(refused)
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_damaged_node_has_everything_or_refuses_to_start() {
    let mut cluster = Cluster::new(&["bank-a", "bank-b"]).await;
    let patients = patients(&mut cluster).await;
    let mut chance = Chance::from_environment();
    let temp = tempfile::tempdir().unwrap();
    let (mut hits, mut refused) = (0, 0);
    while hits < places() {
        let patient = &patients[hits as usize % patients.len()];
        if let Some(was_refused) = patient.suffers(&mut chance, &temp).await {
            hits += 1;
            refused += u64::from(was_refused);
        }
    }
    println!(
        "{hits} places: refused {refused} times, whole {} times",
        hits - refused
    );
    assert!(refused > hits / 4, "too little was hit that matters");
}
