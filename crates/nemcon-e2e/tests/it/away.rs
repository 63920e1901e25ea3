//! A participant that is away while the others work: its absence costs bounded memory
//! and disk, and it is caught up when it is back.

use std::path::Path;
use std::time::Duration;

use nemcon_client::Client;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, DOUBT_MAX, SOON};

/// What a node may take of memory and of the disk, in bytes.
const NODE_BYTES_MAX: u64 = 150_000_000;

/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// So many accounts at each bank, all with as many entries as are kept before long.
const ACCOUNTS: &str = "--accounts=1000";

/// For how long it is away. `scripts/away.sh` says how long the long form is.
fn away_for() -> Duration {
    let seconds = std::env::var("NEMCON_AWAY_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("NEMCON_AWAY_SECONDS is a number"));
    Duration::from_secs(seconds.unwrap_or(5))
}

#[tokio::test(flavor = "current_thread")]
async fn who_is_away_costs_bounded_room_and_is_caught_up() {
    let mut cluster = Cluster::new(&["bank-a", "bank-b", "bank-c"]).await;
    // So that there always is something that it has not acknowledged.
    let slow = "--flush-delay-ms=100";
    cluster.bank_mut("bank-c").add_arguments(&[slow]);
    cluster.start_all().await;
    let load = ["bench", "transfer", ACCOUNTS, "--warm-up=0", "--rounds=1"];
    let for_all = [&load[..], &["--in-flight=64", "--seconds=60"]].concat();
    let mut bench = cluster.spawn_nemcon("bench-all", &for_all);
    let client = cluster.client();
    nemcon_e2e::until("bank-c has promised something", SOON, async || {
        match unfinished(&client, "bank-c").await {
            // More than the opening of accounts.
            Ok(0..=8) => Err("it has hardly begun".to_owned()),
            other => other,
        }
    })
    .await;
    cluster.bank_mut("bank-c").kill();
    bench.kill();
    let open = unfinished(&client, "bank-c").await.unwrap();
    assert!(open > 0, "nothing was unfinished at bank-c");

    let span = away_for();
    let seconds = format!("--seconds={}", span.as_secs());
    let rest = [
        "--banks=bank-a,bank-b",
        "--in-flight=16",
        "--json",
        &seconds,
    ];
    let mut bench = cluster.spawn_nemcon("bench-rest", &[&load[..], &rest].concat());
    let until = Instant::now() + span + SOON;
    let mut most = Room::default();
    let status = loop {
        most = most.max(Room::of(&cluster));
        if let Some(status) = bench.status() {
            break status;
        }
        assert!(
            Instant::now() < until,
            "the bench does not end: {}",
            bench.tail()
        );
        sleep(LOOK_EVERY).await;
    };
    assert!(status.success(), "{}", bench.tail());
    let report: serde_json::Value = serde_json::from_str(&bench.stdout()).unwrap();
    let committed = report["rows"][0]["fates"]["committed"].as_u64().unwrap();
    assert!(committed > 0, "{report}");

    let before = Instant::now();
    cluster.bank_mut("bank-c").remove_argument(slow);
    cluster.bank_mut("bank-c").start().await;
    cluster.complete().await;
    cluster.nothing_in_doubt(DOUBT_MAX).await;
    nemcon_e2e::until(
        "bank-c is caught up",
        DOUBT_MAX,
        async || match unfinished(&client, "bank-c").await {
            Ok(0) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    let took = before.elapsed();
    let books = cluster.nemcon(&["bank", "audit", "--json"]).await;
    assert_eq!(books.json()["balanced"], true, "{books:?}");
    println!(
        "away for {} s and {committed} transfers with {open} unfinished: a node took at most {} MB \
         of memory and {} MB of the disk; caught up {} ms after it was started",
        span.as_secs(),
        most.memory_bytes / 1_000_000,
        most.disk_bytes / 1_000_000,
        took.as_millis()
    );
    assert!(most.memory_bytes <= NODE_BYTES_MAX, "{most:?}");
    assert!(most.disk_bytes <= NODE_BYTES_MAX, "{most:?}");
}

/// How much business a participant has not acknowledged.
async fn unfinished(client: &Client, name: &str) -> Result<u64, String> {
    let views = client.participants().await;
    let views = views.map_err(|error| error.to_string())?;
    let view = views.into_iter().find(|view| view.name.as_str() == name);
    let view = view.ok_or_else(|| format!("{name} is not there"))?;
    Ok(view.unfinished)
}

/// What the node takes that takes most.
#[derive(Clone, Copy, Debug, Default)]
struct Room {
    memory_bytes: u64,
    disk_bytes: u64,
}

impl Room {
    /// Of the coordinator and of the banks that work.
    fn of(cluster: &Cluster) -> Self {
        let working = [
            &cluster.coordinator,
            cluster.bank("bank-a"),
            cluster.bank("bank-b"),
        ];
        let rooms = working.into_iter().map(|node| Self {
            memory_bytes: node.process().memory_bytes(),
            disk_bytes: bytes_in(&node.data_dir()),
        });
        rooms.fold(Self::default(), Self::max)
    }

    fn max(self, other: Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            disk_bytes: self.disk_bytes.max(other.disk_bytes),
        }
    }
}

/// The bytes of all files in a directory; a file may go while they are counted.
fn bytes_in(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    let bytes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => bytes_in(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0,
    });
    bytes.sum()
}
