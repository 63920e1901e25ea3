//! Backups of nodes at work, and what a restored node may and may not do.

use std::fs;
use std::path::{Path, PathBuf};

use nemcon_client::{Transaction, operation};
use nemcon_e2e::{Node, until};
use nemcon_net::Refused;
use nemcon_proto::bank::v1::Read;
use nemcon_proto::v1::Outcome;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, DOUBT_MAX, SOON, Told, name, nemcon};
use crate::money::{payment, request, withdraw};
use crate::outcome::{self, outcome};
use crate::payers::Payers;

const DONE: i32 = 0;
const REFUSED: i32 = 1;

const ALICE: &str = "bank-a/alice";
const BOB: &str = "bank-b/bob";

#[track_caller]
fn done(told: &Told) {
    assert_eq!(told.exit, DONE, "{told:?}");
}

/// A backup of the node at this address, in a new directory.
async fn back_up(cluster: &Cluster, url: &str) -> PathBuf {
    let dir = cluster.dir().join("backup");
    let arguments = ["backup", "backup", "--node", url, "--json"];
    let told = cluster.nemcon(&arguments).await;
    done(&told);
    assert!(told.json()["lastRecord"].as_u64().unwrap() > 0, "{told:?}");
    dir
}

/// The node is lost, with its data directory, and comes back from the backup.
async fn lose_and_restore(dir: &Path, node: &mut Node) -> Value {
    node.kill();
    let data = node.data_dir();
    fs::remove_dir_all(&data).unwrap();
    let to = data.to_str().unwrap();
    let told = nemcon(dir, &["restore", "backup", "--to", to, "--json"]).await;
    done(&told);
    told.json()
}

/// The books of all banks together: nothing was made and nothing is missing.
async fn books_balance(cluster: &Cluster) {
    done(&cluster.nemcon(&["bank", "audit"]).await);
}

#[tokio::test(flavor = "current_thread")]
async fn a_bank_comes_back_from_a_backup_that_was_taken_while_customers_paid() {
    let mut cluster = Cluster::start(&["bank-a", "bank-b"]).await;
    cluster.open(ALICE, 1_000).await;
    cluster.open(BOB, 0).await;
    let mut payers = Payers::start(&cluster, "bank-a", "bank-b", 4).await;
    payers.commit(50).await;
    let before = payment(ALICE, BOB, 100);
    let told = outcome(&cluster.client(), &before).await.0;
    assert_eq!(told, outcome::Told::Committed);
    back_up(&cluster, &cluster.bank("bank-a").url()).await;
    payers.commit(50).await;
    let paid = payers.stop().await;

    let dir = cluster.dir().to_owned();
    let restored = lose_and_restore(&dir, cluster.bank_mut("bank-a")).await;
    assert_eq!(restored["kind"], "participant");
    assert_eq!(restored["identity"], cluster.id("bank-a").to_string());

    // It is not taken as if nothing had happened, and stops.
    let bank = cluster.bank_mut("bank-a");
    bank.spawn();
    let status = bank.stopped(SOON).await;
    assert_eq!(status.code(), Some(REFUSED));
    let log = fs::read_to_string(dir.join("bank-a.err")).unwrap();
    assert!(log.contains("was restored from a backup"), "{log}");
    assert!(log.contains("--give-up"), "{log}");

    // Somebody allows it.
    let arguments = ["participants", "remove", "bank-a", "--give-up", "a fire"];
    done(&cluster.nemcon(&arguments).await);
    cluster.bank_mut("bank-a").start().await;
    cluster.complete().await;
    cluster.nothing_in_doubt(SOON).await;
    assert_eq!(cluster.balance(ALICE).await, 900, "acknowledged before");

    // What it has lost shows at the other bank, and is set right by hand. In one
    // transaction with another bank, since what it may have decided alone it does
    // not decide for some minutes.
    let lost = paid.lost(&cluster).await;
    assert!(lost.iter().any(|(_, amount)| *amount > 0), "{lost:?}");
    let unbalanced = cluster.nemcon(&["bank", "audit"]).await;
    assert_eq!(unbalanced.exit, REFUSED, "{unbalanced:?}");
    for (account, amount) in lost.iter().filter(|(_, amount)| *amount > 0) {
        let read = Read {
            account: "bob".into(),
        };
        let correction = Transaction::new([
            operation(&name("bank-a"), &withdraw(account, *amount), false),
            operation(&name("bank-b"), &read, false),
        ]);
        let told = outcome(&cluster.client(), &correction).await.0;
        assert_eq!(told, outcome::Told::Committed);
    }
    paid.adds_up(&cluster).await;
    books_balance(&cluster).await;

    // From here on it is a bank like any other.
    cluster.bank_mut("bank-a").restart().await;
    cluster.complete().await;
    let after = payment(ALICE, BOB, 100);
    let told = outcome(&cluster.client(), &after).await.0;
    assert_eq!(told, outcome::Told::Committed);
    books_balance(&cluster).await;
}

#[tokio::test(flavor = "current_thread")]
async fn no_node_starts_on_a_backup_whole_or_not() {
    let mut cluster = Cluster::start(&["bank-a"]).await;
    cluster.open(ALICE, 1_000).await;
    let backup = back_up(&cluster, &cluster.bank("bank-a").url()).await;
    let again = cluster.nemcon(&["backup", "backup"]).await;
    assert_eq!(again.exit, REFUSED, "{again:?}");
    assert!(again.stderr.contains("not empty"), "{again:?}");
    let to = cluster.bank("bank-a").data_dir();
    let spared = ["restore", "backup", "--to", to.to_str().unwrap()];
    let spared = cluster.nemcon(&spared).await;
    assert_eq!(spared.exit, REFUSED, "{spared:?}");

    cluster.bank_mut("bank-a").kill();
    fs::rename(&to, cluster.dir().join("kept")).unwrap();
    fs::rename(&backup, &to).unwrap();
    let half = "nemcon-backup 1 unfinished\n";
    for (format, words) in [
        ("nemcon-backup 1\n", "nemcon restore"),
        (half, "never finished"),
        ("nemcon-restore unfinished\n", "cut short"),
    ] {
        fs::write(to.join("format"), format).unwrap();
        let bank = cluster.bank_mut("bank-a");
        bank.spawn();
        assert_eq!(bank.stopped(SOON).await.code(), Some(REFUSED));
        let log = fs::read_to_string(cluster.dir().join("bank-a.err")).unwrap();
        assert!(log.lines().last().unwrap().contains(words), "{log}");
    }
    fs::write(to.join("format"), half).unwrap();
    let restored = ["restore", to.to_str().unwrap(), "--to", "elsewhere"];
    let restored = cluster.nemcon(&restored).await;
    assert_eq!(restored.exit, REFUSED, "{restored:?}");
    assert!(restored.stderr.contains("never finished"), "{restored:?}");
}

/// A payment between two accounts of one name.
struct Sent {
    account: String,
    payment: Transaction,
    acknowledged: bool,
}

/// Sends a payment for each of so many customers, all at once, and kills the
/// coordinator as soon as the first is acknowledged.
async fn die_in_the_middle(cluster: &mut Cluster, count: u64) -> Vec<Sent> {
    let mut under_way = JoinSet::new();
    for number in 0..count {
        let account = format!("payer-{number}");
        let (from, to) = (format!("bank-a/{account}"), format!("bank-b/{account}"));
        let payment = payment(&from, &to, 7);
        let mut raw = cluster.raw();
        under_way.spawn(async move {
            let answer = raw.run_transaction(request(&payment)).await;
            let acknowledged =
                answer.is_ok_and(|it| it.into_inner().outcome() == Outcome::Committed);
            Sent {
                account,
                payment,
                acknowledged,
            }
        });
    }
    let mut sent = vec![under_way.join_next().await.unwrap().unwrap()];
    cluster.coordinator.kill();
    while let Some(one) = under_way.join_next().await {
        sent.push(one.unwrap());
    }
    assert!(sent[0].acknowledged);
    sent
}

#[tokio::test(flavor = "current_thread")]
async fn a_coordinator_comes_back_from_a_backup_and_calls_nothing_aborted_that_was_not() {
    let mut cluster = Cluster::start(&["bank-a", "bank-b"]).await;
    let mut payers = Payers::start(&cluster, "bank-a", "bank-b", 32).await;
    cluster.open(ALICE, 1_000).await;
    cluster.open(BOB, 0).await;
    let before = payment(ALICE, BOB, 100);
    let told = outcome(&cluster.client(), &before).await.0;
    assert_eq!(told, outcome::Told::Committed);
    payers.commit(50).await;
    back_up(&cluster, &cluster.coordinator.url()).await;
    payers.commit(50).await;
    let _ = payers.stop().await;

    let payments = die_in_the_middle(&mut cluster, 32).await;
    let dir = cluster.dir().to_owned();
    // It has been killed already, and is lost now.
    cluster.coordinator.spawn();
    let restored = lose_and_restore(&dir, &mut cluster.coordinator).await;
    assert_eq!(restored["kind"], "coordinator");
    cluster.coordinator.start().await;
    cluster.complete().await;

    resolve_what_stays_in_doubt(&cluster, &payments).await;

    // What was acknowledged is there, at both banks; nothing is at one only.
    for sent in &payments {
        let left = has_moved(&cluster, "bank-a", sent).await;
        let arrived = has_moved(&cluster, "bank-b", sent).await;
        assert_eq!(left, arrived, "{} is at one bank only", sent.account);
        assert!(left || !sent.acknowledged, "{} is lost", sent.account);
    }
    books_balance(&cluster).await;

    // Ids that the lost life can have seen do not run, known ones are answered.
    let client = cluster.client();
    let told = outcome(&client, &before).await.0;
    assert_eq!(told, outcome::Told::Committed, "the backup knows it");
    for sent in &payments {
        assert_eq!(refusal(&cluster, &sent.payment).await, "OUTCOME_FORGOTTEN");
    }
    let early = payment(ALICE, BOB, 100);
    assert_eq!(refusal(&cluster, &early).await, "OUTCOME_FORGOTTEN");
    assert_eq!(cluster.balance(ALICE).await, 900);
}

/// Why a transaction is not carried out, and has no outcome either.
async fn refusal(cluster: &Cluster, transaction: &Transaction) -> String {
    let answer = cluster.raw().run_transaction(request(transaction)).await;
    let refused = Refused::read(&answer.unwrap_err()).unwrap();
    refused.refusal.reason.to_string()
}

/// What an operator does about attempts of the lost life: waits until those that a
/// peer knows have ended, and resolves the others alike at both banks, as the
/// clients were told.
async fn resolve_what_stays_in_doubt(cluster: &Cluster, payments: &[Sent]) {
    let in_doubt = async |bank: &str| -> Result<Vec<String>, String> {
        let attempts = cluster.in_doubt_at(bank).await?;
        let ids = attempts.into_iter().map(|attempt| attempt.transaction_id);
        Ok(ids.collect())
    };
    // Where one bank has heard the outcome, the other learns it.
    for (bank, other) in [("bank-a", "bank-b"), ("bank-b", "bank-a")] {
        until("peers tell each other", DOUBT_MAX * 2, async || {
            let here = in_doubt(bank).await?;
            let there = in_doubt(other).await?;
            for id in here.iter().filter(|id| !there.contains(id)) {
                let sent = payments.iter().find(|it| it.payment.id.to_string() == *id);
                if has_moved(cluster, other, sent.unwrap()).await {
                    return Err(format!("{bank}: {id}"));
                }
            }
            Ok(())
        })
        .await;
    }
    for bank in ["bank-a", "bank-b"] {
        for id in in_doubt(bank).await.unwrap() {
            let sent = payments.iter().find(|it| it.payment.id.to_string() == id);
            let outcome = if sent.unwrap().acknowledged {
                "--commit"
            } else {
                "--abort"
            };
            let arguments = [
                "in-doubt",
                "resolve",
                &id,
                "--participant",
                bank,
                outcome,
                "--reason",
                "the coordinator is gone",
            ];
            done(&cluster.nemcon(&arguments).await);
        }
    }
    for bank in ["bank-a", "bank-b"] {
        assert_eq!(in_doubt(bank).await, Ok(Vec::new()));
    }
}

/// Whether a payment has moved money at a bank. Waits while it is in doubt there.
async fn has_moved(cluster: &Cluster, bank: &str, sent: &Sent) -> bool {
    let client = cluster.bank_client(bank);
    let statement = client.statement(&sent.account).await.unwrap();
    let mut entries = statement.entries.iter();
    entries.any(|entry| entry.transaction == sent.payment.id)
}
