//! `nemcon participants check`: the bank keeps every rule that is written down, and
//! what cannot be checked is said. Participants that break rules are among the
//! tests of `examples/python`.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use nemcon_client::{Ending, Transaction, operation};
use nemcon_core::id::ParticipantId;
use nemcon_e2e::until;
use nemcon_proto::inventory::v1::AddStock;
use serde_json::Value;

use crate::architecture::root;
use crate::cluster::{Cluster, SOON, name, nemcon};

/// How long all stories take together, at most. Most of it is waiting for locks
/// that are held on purpose.
const STORIES_MAX: Duration = Duration::from_secs(120);

const WRITE: &str = r#"{"@type": "type.googleapis.com/nemcon.bank.v1.Deposit",
    "account": "alice", "amountMinor": 1, "currency": "CZK", "contra": "CONTRA_CASH"}"#;
const READ: &str = r#"{"@type": "type.googleapis.com/nemcon.bank.v1.Read", "account": "alice"}"#;
const REFUSED: &str = r#"{"@type": "type.googleapis.com/nemcon.bank.v1.Deposit",
    "account": "nobody", "amountMinor": 1, "currency": "CZK"}"#;

/// The words of the rules in docs/write-a-participant.md: rows "| `word` | … |"
/// of the part that has them.
fn written_down() -> BTreeSet<String> {
    let page = fs::read_to_string(root().join("docs/write-a-participant.md")).unwrap();
    let (_, rules) = page
        .split_once("\n## The rules\n")
        .expect("a part \"The rules\"");
    let (rules, _) = rules.split_once("\n## ").unwrap_or((rules, ""));
    let word = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    rules.lines().filter_map(word).collect()
}

fn words(report: &Value) -> BTreeSet<String> {
    let rules = report["rules"].as_array().unwrap().iter();
    rules
        .map(|rule| rule["rule"].as_str().unwrap().to_owned())
        .collect()
}

/// What a participant is checked with.
struct Actions {
    write: &'static str,
    read: &'static str,
    refused: &'static str,
    lock: &'static str,
}

/// Runs all stories against a participant, killing it when that is asked for.
async fn every_rule_is_kept(cluster: &mut Cluster, name: &str, actions: &Actions) {
    let url = cluster.bank(name).url();
    let mut check = cluster.spawn_nemcon(
        "check",
        &[
            "participants",
            "check",
            &url,
            "--write",
            actions.write,
            "--read",
            actions.read,
            "--refused",
            actions.refused,
            "--lock",
            actions.lock,
            "--json",
        ],
    );
    // The operator, who is told when to kill it.
    until("a restart is asked for", STORIES_MAX, async || {
        if check.stderr().contains("Now kill the participant") {
            Ok(())
        } else if let Some(status) = check.status() {
            panic!("it ended instead, {status}");
        } else {
            Err("it is at other rules")
        }
    })
    .await;
    cluster.bank_mut(name).restart().await;
    let status = check.ended(STORIES_MAX).await;
    let report: Value = serde_json::from_str(&check.stdout()).unwrap();
    assert_eq!(status.code(), Some(0), "{report:#}");
    assert_eq!(
        (&report["broken"], &report["not_tried"]),
        (&0.into(), &0.into()),
        "{report:#}"
    );
    assert_eq!(words(&report), written_down());
    // A check leaves nothing behind but what it wrote.
    cluster.nothing_in_doubt(SOON).await;
    let damage = cluster.nemcon(&["damage", "list", "--json"]).await;
    assert_eq!(damage.json()["damage"].as_array().map(Vec::len), Some(0));
}

#[tokio::test(flavor = "current_thread")]
async fn the_bank_keeps_every_rule_that_is_written_down() {
    let mut cluster = Cluster::start(&["bank-a"]).await;
    let opened = cluster
        .nemcon(&["bank", "open", "bank-a/alice", "--currency", "CZK"])
        .await;
    assert_eq!(opened.exit, 0, "{opened:?}");
    let actions = Actions {
        write: WRITE,
        read: READ,
        refused: REFUSED,
        lock: "alice",
    };
    every_rule_is_kept(&mut cluster, "bank-a", &actions).await;
}

#[tokio::test(flavor = "current_thread")]
async fn the_inventory_keeps_every_rule_that_is_written_down() {
    let mut cluster = Cluster::new(&[]).await;
    cluster.add("flights", "nemcon-inventory");
    cluster.start_all().await;
    // There has to be something that can be read before the first write.
    let seat = AddStock {
        item: "OK-101".into(),
        count: 1,
    };
    let seat = operation(&name("flights"), &seat, false);
    let added = cluster
        .client()
        .run(&Transaction::new([seat]))
        .await
        .unwrap();
    assert!(matches!(added.ending, Ending::Committed(_)), "{added:?}");
    let actions = Actions {
        write: r#"{"@type": "type.googleapis.com/nemcon.inventory.v1.AddStock",
            "item": "OK-101", "count": 1}"#,
        read: r#"{"@type": "type.googleapis.com/nemcon.inventory.v1.GetStock", "item": "OK-101"}"#,
        refused: r#"{"@type": "type.googleapis.com/nemcon.inventory.v1.Reserve",
            "item": "OK-999", "count": 1}"#,
        lock: "OK-101",
    };
    every_rule_is_kept(&mut cluster, "flights", &actions).await;
}

#[tokio::test(flavor = "current_thread")]
async fn who_cannot_be_checked_is_told_apart() {
    let cluster = Cluster::start(&["bank-a"]).await;
    let url = cluster.bank("bank-a").url();
    let check = async |url: &str, more: &[&str]| {
        let mut arguments = vec![
            "participants",
            "check",
            url,
            "--read",
            READ,
            "--without-restart",
        ];
        arguments.extend(more);
        cluster.nemcon(&arguments).await
    };
    let told = check(&url, &["--write", "{}"]).await;
    assert_eq!(told.exit, 2, "{told:?}");
    assert!(told.stderr.contains("--write"), "{told:?}");

    let stranger = ParticipantId::new(uuid::Uuid::now_v7()).to_string();
    let told = check(&url, &["--write", WRITE, "--participant-id", &stranger]).await;
    assert_eq!(told.exit, 1, "{told:?}");
    assert!(told.stderr.contains(&stranger), "{told:?}");

    // No participant has the coordinator's port.
    let own = cluster.id("bank-a").to_string();
    let coordinator = cluster.coordinator.url();
    let told = check(&coordinator, &["--write", WRITE, "--participant-id", &own]).await;
    assert_eq!(told.exit, 4, "{told:?}");

    let told = nemcon(
        cluster.dir(),
        &[
            "participants",
            "check",
            "http://127.0.0.1:9",
            "--write",
            WRITE,
            "--read",
            READ,
            "--participant-id",
            &own,
        ],
    )
    .await;
    assert_eq!(told.exit, 4, "{told:?}");
    assert!(told.stderr.contains("http://127.0.0.1:9"), "{told:?}");
}
