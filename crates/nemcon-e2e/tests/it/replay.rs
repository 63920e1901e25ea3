//! The main job: thousands of payments between banks while every node is killed
//! again and again. In the end all is paid, once, to the cent.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nemcon_e2e::{Process, until};
use serde_json::Value;
use tokio::time::sleep;

use crate::cluster::{Cluster, DOUBT_MAX};
use crate::orders::{self, Balances, Chance, HOME, Order};

/// Decides who is killed when. A failure shows it; another can be tried with
/// `NEMCON_E2E_SEED`.
const SEED: u64 = 20_260_728;

/// How long a whole replay may take, unoptimised.
const REPLAY_MAX: Duration = Duration::from_secs(300);

/// How long a killed node stays dead: not at all, up to a fifth of a second.
const DEAD_MS_MAX: u64 = 200;

/// A replay, and how it is disturbed.
struct Job {
    file: PathBuf,
    orders: Vec<Order>,
    opening_minor: i64,
    /// Orders in a second.
    rate: u32,
    /// How often each node is killed.
    rounds: usize,
    /// Between two kills, in milliseconds: at least, and at most.
    pause_ms: (u64, u64),
}

/// The banks of the orders, the paying one included.
fn banks_of(orders: &[Order]) -> Vec<&str> {
    let mut banks: Vec<&str> = orders.iter().map(|order| order.bank_to.as_str()).collect();
    banks.push(HOME);
    banks.sort_unstable();
    banks.dedup();
    banks
}

fn seed() -> u64 {
    let seed = std::env::var("NEMCON_E2E_SEED").ok();
    let seed = seed.map_or(SEED, |seed| seed.parse().unwrap());
    println!("chance: NEMCON_E2E_SEED={seed}");
    seed
}

impl Job {
    /// `label` tells this replay from others of the same test.
    fn start(&self, cluster: &Cluster, label: &str, more: &[&str]) -> Process {
        let (file, rate) = (self.file.display().to_string(), self.rate.to_string());
        let opening = format!(
            "{}.{:02}",
            self.opening_minor / 100,
            self.opening_minor % 100
        );
        let mut arguments = vec!["bank", "replay", &file, "--home", HOME, "--json"];
        arguments.extend(["--opening-balance", &opening, "--rate", &rate]);
        arguments.extend(more);
        cluster.spawn_nemcon(label, &arguments)
    }

    /// Replays while every node is killed so many times, one after the other, in
    /// an order that changes from round to round.
    async fn run_disturbed(&self, cluster: &mut Cluster, chance: &mut Chance) -> Value {
        let mut names: Vec<String> = cluster.nodes().map(|node| node.name().to_owned()).collect();
        let mut replay = self.start(cluster, "replay", &[]);
        let mut kills = 0;
        for _ in 0..self.rounds {
            chance.shuffle(&mut names);
            for name in &names {
                let (least, most) = self.pause_ms;
                sleep(Duration::from_millis(least + chance.below(most - least))).await;
                // It may not have come back from its last death yet.
                cluster.node_mut(name).serving().await;
                let status = replay.status();
                assert!(
                    status.is_none(),
                    "over after {kills} kills: {}",
                    replay.tail()
                );
                cluster.node_mut(name).kill();
                kills += 1;
                sleep(Duration::from_millis(chance.below(DEAD_MS_MAX))).await;
                cluster.node_mut(name).spawn();
            }
        }
        println!("{kills} kills during the replay");
        for node in cluster.nodes() {
            node.serving().await;
        }
        finished(replay).await
    }
}

/// Waits for the end of a replay, which must know every outcome.
async fn finished(mut replay: Process) -> Value {
    let status = replay.ended(REPLAY_MAX).await;
    assert_eq!(status.code(), Some(0), "{}", replay.tail());
    let summary: Value = serde_json::from_str(&replay.stdout()).unwrap();
    println!("{summary}");
    drop(replay);
    summary
}

fn count(summary: &Value, key: &str) -> u64 {
    summary[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key}: {summary}"))
}

/// Kills everyone at once and starts them again: the last restart, after which
/// doubt must not last.
async fn kill_all_and_restart(cluster: &mut Cluster) {
    for node in cluster.nodes() {
        node.kill();
    }
    for node in cluster.nodes() {
        node.spawn();
    }
    for node in cluster.nodes() {
        node.serving().await;
    }
}

/// Every account of every bank, as the banks have them.
async fn books(cluster: &Cluster) -> Balances {
    let mut balances = Balances::new();
    for bank in cluster.banks() {
        let (client, mut accounts, mut from) =
            (cluster.bank_client(bank.name()), BTreeMap::new(), None);
        loop {
            let page = client.accounts(Some(1_000), from.as_deref()).await.unwrap();
            accounts.extend(page.accounts.into_iter().map(|a| (a.name, a.balance_minor)));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        balances.insert(bank.name().to_owned(), accounts);
    }
    balances
}

/// Compares every account, then every bank's total as an audit tells it.
async fn assert_books(cluster: &Cluster, expected: &Balances) {
    let found = books(cluster).await;
    for (bank, accounts) in expected {
        let wrong: Vec<_> = accounts
            .iter()
            .filter(|(account, balance)| found[bank].get(*account) != Some(balance))
            .map(|(account, want)| (account, want, found[bank].get(account)))
            .collect();
        assert!(
            wrong.is_empty(),
            "bank {bank}: (account, want, found): {wrong:?}"
        );
        assert_eq!(found[bank].len(), accounts.len(), "bank {bank}");
    }
    let told = cluster.nemcon(&["bank", "audit", "--json"]).await;
    assert_eq!(told.exit, 0, "{told:?}");
    let audit = told.json();
    let mut total = 0;
    for (bank, accounts) in expected {
        let sum: i64 = accounts.values().sum();
        total += sum;
        let lines = audit["banks"].as_array().unwrap();
        let line = lines
            .iter()
            .find(|line| line["bank"] == bank.as_str())
            .unwrap();
        assert_eq!(line["total_minor"], sum, "{bank}: {audit}");
        assert_eq!(line["accounts"], accounts.len(), "{bank}: {audit}");
        assert_eq!(line["in_doubt"], 0, "{bank}: {audit}");
    }
    assert_eq!(audit["total_minor"], total, "{audit}");
}

/// The whole of it: replay under kills, doubt, books, and a second replay that
/// pays nothing.
async fn all_is_paid_once(job: &Job, cluster: &mut Cluster) {
    let mut chance = Chance(seed());
    let total = job.orders.len() as u64;
    let moved: i64 = job.orders.iter().map(|order| order.minor).sum();
    let (expected, refused) = orders::reckon(&job.orders, job.opening_minor);
    assert!(refused.is_empty(), "there is money enough: {refused:?}");

    let summary = job.run_disturbed(cluster, &mut chance).await;
    assert_eq!(count(&summary, "orders"), total);
    assert_eq!(count(&summary, "unknown"), 0, "{summary}");
    assert_eq!(count(&summary, "refused"), 0, "{summary}");
    // Each order was run again only after an abort that was certain; had one been
    // found to be paid, that abort would have been a lie.
    assert_eq!(count(&summary, "already_paid"), 0, "{summary}");
    assert_eq!(count(&summary, "committed"), total, "{summary}");
    assert_eq!(summary["moved_minor"], moved, "{summary}");

    kill_all_and_restart(cluster).await;
    cluster.nothing_in_doubt(DOUBT_MAX).await;
    assert_books(cluster, &expected).await;
}

#[tokio::test(flavor = "current_thread")]
async fn made_up_orders_are_paid_once_while_each_node_is_killed() {
    let mut cluster = Cluster::start(&[HOME, "AB", "CD"]).await;
    let orders = orders::made_up(300, &["AB", "CD"], &mut Chance(1));
    let file = cluster.dir().join("orders.tsv");
    fs::write(&file, orders::write(&orders)).unwrap();
    let job = Job {
        file,
        orders,
        opening_minor: 3_000_000,
        rate: 50,
        rounds: 1,
        pause_ms: (500, 1_200),
    };
    all_is_paid_once(&job, &mut cluster).await;

    // Who has lost the summary can run it again.
    let job = Job { rate: 1_000, ..job };
    let summary = finished(job.start(&cluster, "again", &["--in-flight", "64"])).await;
    assert_eq!(count(&summary, "already_paid"), 300, "{summary}");
    assert_eq!(count(&summary, "committed"), 0, "{summary}");
    assert_eq!(summary["moved_minor"], 0, "{summary}");
}

/// With money for some of the orders only, those are paid that a reckoning on
/// paper would pay, in the order of the file.
#[tokio::test(flavor = "current_thread")]
async fn orders_are_refused_exactly_where_a_reckoning_on_paper_refuses_them() {
    let cluster = Cluster::start(&[HOME, "AB", "CD"]).await;
    let orders = orders::made_up(300, &["AB", "CD"], &mut Chance(2));
    let file = cluster.dir().join("orders.tsv");
    fs::write(&file, orders::write(&orders)).unwrap();
    let job = Job {
        file,
        orders,
        opening_minor: 50_000,
        rate: 1_000_000,
        rounds: 0,
        pause_ms: (0, 1),
    };
    let (expected, mut refused) = orders::reckon(&job.orders, job.opening_minor);
    assert!(!refused.is_empty());
    let summary = finished(job.start(&cluster, "replay", &["--in-flight", "1"])).await;
    let told = summary["refused_orders"].as_array().unwrap();
    let mut told: Vec<&str> = told.iter().map(|id| id.as_str().unwrap()).collect();
    told.sort_unstable();
    refused.sort_unstable();
    assert_eq!(told, refused);
    assert_books(&cluster, &expected).await;
}

/// A replay that is killed itself is simply run again.
#[tokio::test(flavor = "current_thread")]
async fn a_killed_replay_is_run_again_and_pays_nothing_twice() {
    let cluster = Cluster::start(&[HOME, "AB", "CD"]).await;
    let orders = orders::made_up(300, &["AB", "CD"], &mut Chance(3));
    let file = cluster.dir().join("orders.tsv");
    fs::write(&file, orders::write(&orders)).unwrap();
    let job = Job {
        file,
        orders,
        opening_minor: 3_000_000,
        rate: 200,
        rounds: 0,
        pause_ms: (0, 1),
    };
    let mut replay = job.start(&cluster, "killed", &[]);
    let client = cluster.client();
    until("some orders are paid", REPLAY_MAX, async || {
        let figures = client
            .statistics(0)
            .await
            .map_err(|error| error.to_string())?;
        let committed = figures.committed;
        if committed >= 100 {
            Ok(())
        } else {
            Err(format!("{committed} committed"))
        }
    })
    .await;
    assert_eq!(
        replay.status(),
        None,
        "it is in the middle: {}",
        replay.tail()
    );
    replay.kill();
    drop(replay);
    // What it had in flight ends without it.
    cluster.nothing_in_doubt(REPLAY_MAX).await;
    let summary = finished(job.start(&cluster, "again", &[])).await;
    let (expected, _) = orders::reckon(&job.orders, job.opening_minor);
    let (paid, before) = (
        count(&summary, "committed"),
        count(&summary, "already_paid"),
    );
    assert_eq!(
        (paid + before, count(&summary, "unknown")),
        (300, 0),
        "{summary}"
    );
    assert!(paid > 0 && before > 0, "{summary}");
    assert_books(&cluster, &expected).await;
}

/// The real orders, if they are beside the project.
fn shared_orders() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = root.join("../shared/data/berka/orders.tsv");
    if file.exists() {
        return Some(file.canonicalize().unwrap());
    }
    eprintln!(
        "SKIPPED: there is no {}: the main job was not tested",
        file.display()
    );
    None
}

#[tokio::test(flavor = "current_thread")]
async fn all_orders_are_paid_once_while_each_node_is_killed_three_times() {
    let Some(file) = shared_orders() else { return };
    let orders = orders::read(&fs::read_to_string(&file).unwrap());
    assert_eq!(orders.len(), 6_471);
    let banks = banks_of(&orders)
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    assert_eq!(banks.len(), 14);
    let job = Job {
        file,
        orders,
        opening_minor: 300_000,
        rate: 200,
        rounds: 3,
        pause_ms: (200, 900),
    };
    let banks: Vec<&str> = banks.iter().map(String::as_str).collect();
    let mut cluster = Cluster::start_alone(&banks).await;
    all_is_paid_once(&job, &mut cluster).await;
}
