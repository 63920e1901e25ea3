//! Banks with more than one coordinator, and with none.

use nemcon_client::{BankClient, new_transaction_id};
use nemcon_core::message::Failure;
use nemcon_core::reason::Reason;
use nemcon_net::{Refused, Unanswered};
use nemcon_proto::bank::v1;
use tonic::{Code, Status};

use super::cluster::{
    Cluster, assert_committed, name, new_account, order, raw, start_bank, start_coordinator, stop,
};

/// The status of a call that surely has done nothing.
fn assert_nothing_done(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(
        Refused::read(status).unwrap().refusal.reason,
        Reason::NOT_SERVING
    );
    assert_eq!(
        Unanswered::of(status),
        Unanswered::Failed(Failure::Unreachable)
    );
}

fn open(account: &str) -> v1::OpenAccountRequest {
    v1::OpenAccountRequest {
        account: account.into(),
        currency: "CZK".into(),
        ..v1::OpenAccountRequest::default()
    }
}

fn get(account: &str, without_waiting: bool) -> v1::GetAccountRequest {
    v1::GetAccountRequest {
        account: account.into(),
        without_waiting,
    }
}

#[tokio::test]
async fn reads_move_on_to_the_next_coordinator_and_writes_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let first = start_coordinator(&dir.path().join("first"));
    let second = start_coordinator(&dir.path().join("second"));
    let urls = vec![first.url().to_owned(), second.url().to_owned()];
    let bank = start_bank(&dir.path().join("bank"), "bank-a", urls);
    let client = BankClient::connect(bank.url()).unwrap();
    for name in ["alice", "bob"] {
        client
            .open_account(new_transaction_id(), &new_account(name, 300))
            .await
            .unwrap();
    }
    let paid = client
        .transfer(new_transaction_id(), &order("alice", "bob", 1))
        .await
        .unwrap();
    assert_committed(&paid);

    let down = first.url().to_owned();
    stop(first).await;
    // The client comes again until the second one knows the bank.
    assert_eq!(client.account("alice").await.unwrap().balance_minor, 299);
    let status = raw(&bank).open_account(open("carol")).await.unwrap_err();
    assert_nothing_done(&status);
    let start = format!("the bank's coordinator at {down} cannot be reached");
    assert!(status.message().starts_with(&start), "{}", status.message());
    for node in [bank, second] {
        stop(node).await;
    }
}

#[tokio::test]
async fn a_bank_without_a_coordinator_says_so_and_can_still_be_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = start_coordinator(&dir.path().join("coordinator"));
    let bank = start_bank(
        &dir.path().join("bank"),
        "bank-a",
        vec![coordinator.url().into()],
    );
    let client = BankClient::connect(bank.url()).unwrap();
    client
        .open_account(new_transaction_id(), &new_account("alice", 300))
        .await
        .unwrap();
    for node in [bank, coordinator] {
        stop(node).await;
    }

    let bank = start_bank(&dir.path().join("bank"), "bank-a", vec![]);
    let mut client = raw(&bank);
    for status in [
        client.open_account(open("bob")).await.unwrap_err(),
        client.get_account(get("alice", false)).await.unwrap_err(),
    ] {
        assert_nothing_done(&status);
        assert!(
            status.message().contains("start it with --coordinator URL"),
            "{status:?}"
        );
    }
    let peeked = client
        .get_account(get("alice", true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(peeked.account.unwrap().balance_minor, 300);
    stop(bank).await;
}

#[tokio::test]
async fn a_bank_that_is_not_registered_asks_to_be_asked_again() {
    let cluster = Cluster::start(&["bank-a"]).await;
    cluster
        .client()
        .remove_participant(&name("bank-a"), None)
        .await
        .unwrap();
    let status = cluster
        .raw("bank-a")
        .open_account(open("bob"))
        .await
        .unwrap_err();
    assert_nothing_done(&status);
    let start = "bank bank-a is not registered at its coordinator yet (no participant bank-a";
    assert!(status.message().starts_with(start), "{}", status.message());
    cluster.stop().await;
}

#[test]
fn a_url_that_is_none_is_refused_before_anything_is_started() {
    let dir = tempfile::tempdir().unwrap();
    let node = nemcon_node::settings::Settings::new("127.0.0.1:0".parse().unwrap(), dir.path());
    let urls = vec!["localhost".to_owned()];
    let settings = nemcon_bank::Settings::new(node, "bank-a".parse().unwrap(), urls);
    let error = nemcon_bank::start(settings).unwrap_err().to_string();
    assert!(
        error.contains("address \"localhost\": http:// in front is missing"),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
