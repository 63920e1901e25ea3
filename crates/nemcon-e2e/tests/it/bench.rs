//! `nemcon bench`: every workload runs, the report has what it promises, and the
//! books add up. How fast it was is not judged: these programs are not optimised.

use std::path::Path;
use std::time::Duration;

use nemcon_e2e::{Process, binary, until};
use serde_json::Value;

use crate::cluster::{Cluster, Told, nemcon};

const DONE: i32 = 0;
const REFUSED: i32 = 1;
const USAGE: i32 = 2;

/// How long a bench of a few seconds may take, on a machine that is busy.
const BENCH_MAX: Duration = Duration::from_secs(120);

/// Runs a bench of one round of a second, on a cluster that it starts itself.
async fn spawned(dir: &Path, arguments: &[&str]) -> Told {
    let short = [
        "--spawn",
        "--accounts=50",
        "--seconds=1",
        "--warm-up=0",
        "--rounds=1",
        "--json",
    ];
    let mut all = vec!["bench"];
    all.extend(arguments);
    all.extend(short);
    nemcon(dir, &all).await
}

fn count(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no count"))
}

/// What holds of every report.
fn is_sound(report: &Value, rows: usize) {
    assert_eq!(report["format"], "nemcon-bench/2");
    assert_eq!(report["books"]["add_up"], true, "{report}");
    assert!(count(&report["setting"]["cores"]) > 0);
    assert_eq!(report["rows"].as_array().unwrap().len(), rows, "{report}");
    for row in report["rows"].as_array().unwrap() {
        assert!(count(&row["fates"]["committed"]) > 0, "{report}");
        assert!(row["median"]["per_second"].as_f64().unwrap() > 0.0);
        let latency = |figure: &str| row["median"][figure].as_f64().unwrap();
        assert!(latency("p50_ms") > 0.0 && latency("p50_ms") <= latency("p999_ms"));
        let buckets = row["histogram_us"].as_array().unwrap();
        let counted: u64 = buckets.iter().map(|bucket| count(&bucket[1])).sum();
        assert_eq!(counted, count(&row["fates"]["committed"]), "{row}");
        let kinds = row["kinds"].as_object().unwrap().values();
        let by_kind: u64 = kinds.map(|fates| count(&fates["committed"])).sum();
        assert_eq!(by_kind, counted, "{row}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn every_workload_runs_on_a_cluster_of_its_own_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let in_data = format!("--data-dir={}", data.display());
    for (workload, more, rows) in [
        ("transfer", ["--in-flight=1,8", "--flush-delay-ms=1"], 2),
        ("empty", ["--in-flight=4", "--participants=2,3"], 2),
        ("read", ["--rate=50", "--participants=2"], 1),
    ] {
        let told = spawned(
            dir.path(),
            &[&[workload, in_data.as_str()][..], &more].concat(),
        )
        .await;
        assert_eq!(told.exit, DONE, "{workload}: {told:?}");
        let report = told.json();
        is_sound(&report, rows);
        assert_eq!(report["workload"], workload);
        assert_eq!(report["setting"]["spawned"], true);
        let versions = report["setting"]["node_versions"].as_array().unwrap();
        assert_eq!(versions.len(), 2, "{report}");
    }
    let told = spawned(dir.path(), &["trip", &in_data, "--in-flight=4"]).await;
    assert_eq!(told.exit, DONE, "trip: {told:?}");
    let report = told.json();
    is_sound(&report, 2);
    assert_eq!(report["banks"], 3);
    for (at, manner) in ["saga", "transaction"].into_iter().enumerate() {
        let row = &report["rows"][at];
        assert_eq!(row["manner"], manner);
        let kinds: Vec<&String> = row["kinds"].as_object().unwrap().keys().collect();
        assert_eq!(kinds, [manner], "{row}");
    }
    let left = std::fs::read_dir(&data).unwrap().count();
    assert_eq!(left, 0, "the directories of the nodes are gone");
}

#[tokio::test(flavor = "current_thread")]
async fn smallbank_keeps_its_sum_while_a_few_customers_are_wanted_by_all() {
    let dir = tempfile::tempdir().unwrap();
    let told = spawned(dir.path(), &["smallbank", "--in-flight=16", "--skew=hot"]).await;
    assert_eq!(told.exit, DONE, "{told:?}");
    let report = told.json();
    is_sound(&report, 1);
    let books = &report["books"];
    let moved = books["found_minor"].as_i64().unwrap() - books["initial_minor"].as_i64().unwrap();
    assert_ne!(moved, 0, "{report}");
    assert_eq!(books["moved_low_minor"].as_i64(), Some(moved));
    let kinds = report["rows"][0]["kinds"].as_object().unwrap();
    let known = [
        "amalgamate",
        "balance",
        "deposit_checking",
        "send_payment",
        "transact_savings",
        "write_check",
    ];
    assert!(
        kinds.keys().all(|kind| known.contains(&kind.as_str())),
        "{kinds:?}"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn coordinators_share_the_load_and_its_cost_is_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let two = ["transfer", "--in-flight=8", "--coordinators=2"];
    let told = spawned(dir.path(), &two).await;
    assert_eq!(told.exit, DONE, "{told:?}");
    let report = told.json();
    is_sound(&report, 1);
    assert_eq!(report["coordinators"], 2);
    if cfg!(target_os = "linux") {
        let median = &report["rows"][0]["median"];
        assert!(
            median["nodes_memory_mb"].as_f64().unwrap() > 1.0,
            "{report}"
        );
        let file = dir.path().join("two.json");
        std::fs::write(&file, &told.stdout).unwrap();
        let drawn = [
            "plot",
            "cost",
            "--by=coordinators",
            "--out=cost.svg",
            "two.json",
        ];
        let told = nemcon(dir.path(), &drawn).await;
        assert_eq!(told.exit, DONE, "{told:?}");
        let svg = std::fs::read_to_string(dir.path().join("cost.svg")).unwrap();
        assert!(svg.contains("What it takes by coordinators"), "{svg}");
    }
}

/// A bench of transfers on a cluster that is there.
const TRANSFERS: [&str; 6] = [
    "bench",
    "transfer",
    "--accounts=50",
    "--warm-up=0",
    "--rounds=1",
    "--json",
];

#[tokio::test(flavor = "current_thread")]
async fn a_cluster_that_is_there_can_be_measured_again_and_again() {
    let cluster = Cluster::start(&["bank-a", "bank-b"]).await;
    let bench = [&TRANSFERS[..], &["--in-flight=4", "--seconds=1"]].concat();
    for _ in 0..2 {
        let told = cluster.nemcon(&bench).await;
        assert_eq!(told.exit, DONE, "{told:?}");
        is_sound(&told.json(), 1);
        assert_eq!(told.json()["setting"]["spawned"], false);
    }
}

/// Money that a bench does not know of is taken from one of its accounts while it
/// runs: that check can fail.
#[tokio::test(flavor = "current_thread")]
async fn a_cent_that_is_missing_fails_the_bench() {
    let cluster = Cluster::start(&["bank-a", "bank-b"]).await;
    let open = ["bank", "open", "bank-a/thief", "--currency", "XTS"];
    assert_eq!(cluster.nemcon(&open).await.exit, DONE);
    let bench = [&TRANSFERS[..], &["--in-flight=1", "--seconds=8"]].concat();
    let mut running: Process = cluster.spawn_nemcon("bench", &bench);
    // What it does before its first transfer is at one bank at a time.
    until("the bench has begun", BENCH_MAX, async || {
        assert_eq!(running.status(), None, "{}", running.tail());
        let told = cluster.nemcon(&["txn", "list", "--limit", "5"]).await;
        let begun = told
            .stdout
            .lines()
            .any(|line| line.matches("bank-").count() == 2);
        if begun { Ok(()) } else { Err(told.stdout) }
    })
    .await;
    let from = "bank-a/bench-plain:0000007";
    let steal = ["bank", "transfer", from, "bank-a/thief", "0.01"];
    let told = cluster.nemcon(&steal).await;
    assert_eq!(told.exit, DONE, "{told:?}");
    let status = running.ended(BENCH_MAX).await;
    assert_eq!(status.code(), Some(REFUSED), "{}", running.tail());
    let said = running.stderr();
    assert!(said.contains("changed by -1 cents"), "{said}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_table_is_for_people_and_mistakes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let told = spawned(dir.path(), &["transfer", "--participants=3"]).await;
    assert_eq!(told.exit, USAGE, "{told:?}");
    assert!(told.stderr.contains("only empty and read"), "{told:?}");
    let nowhere = dir.path().join("nowhere");
    let bin = format!("--bin-dir={}", nowhere.display());
    let told = spawned(dir.path(), &["transfer", &bin]).await;
    assert_eq!(told.exit, USAGE, "{told:?}");
    assert!(told.stderr.contains("nemcon-coordinator"), "{told:?}");
    let beside = format!(
        "--bin-dir={}",
        binary("nemcon-bank").parent().unwrap().display()
    );
    let arguments = [
        "bench",
        "read",
        "--spawn",
        "--accounts=50",
        "--seconds=1",
        "--rounds=1",
    ];
    let told = nemcon(
        dir.path(),
        &[&arguments[..], &["--in-flight=2", &beside]].concat(),
    )
    .await;
    assert_eq!(told.exit, DONE, "{told:?}");
    for part in [
        "2 participants, 2 in flight",
        "P99.9 MS",
        "cores",
        "fdatasync",
        "they add up",
    ] {
        assert!(told.stdout.contains(part), "{part}: {}", told.stdout);
    }
}
