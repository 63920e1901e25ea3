//! Accounts that a transaction holds.

use std::time::Duration;

use nemcon_core::reason::Reason;
use nemcon_ledger::reason;
use nemcon_proto::bank::v1;
use tonic::Request;

use super::cluster::{Cluster, reason as reason_of};
use super::hold::hold;

fn withdraw(amount_minor: i64) -> v1::Withdraw {
    let (account, currency) = ("alice".into(), "CZK".into());
    v1::Withdraw {
        account,
        amount_minor,
        currency,
        ..v1::Withdraw::default()
    }
}

#[tokio::test]
async fn who_does_not_want_to_wait_sees_what_is_pending() {
    let cluster = Cluster::start(&["bank-a"]).await;
    cluster.open("bank-a", "alice", 300).await;
    let bank = cluster.bank("bank-a");
    let peek = async || {
        let peeked = bank.peek("alice").await.unwrap();
        (peeked.account.balance_minor, peeked.pending_minor)
    };
    assert_eq!(peek().await, (300, 0));
    let held = hold(&cluster, "bank-a", &withdraw(120)).await;
    assert_eq!(peek().await, (300, -120));
    held.commit().await;
    assert_eq!(peek().await, (180, 0));
    let held = hold(&cluster, "bank-a", &withdraw(180)).await;
    assert_eq!(peek().await, (180, -180));
    held.abort().await;
    assert_eq!(peek().await, (180, 0));
    assert_eq!(reason_of(bank.peek("bob").await), reason::UNKNOWN_ACCOUNT);
    assert_eq!(reason_of(bank.peek("b b").await), reason::INVALID_ACCOUNT);
    cluster.stop().await;
}

#[tokio::test]
async fn a_reader_waits_for_the_outcome() {
    let cluster = Cluster::start(&["bank-a"]).await;
    cluster.open("bank-a", "alice", 300).await;
    let held = hold(&cluster, "bank-a", &withdraw(120)).await;
    let bank = cluster.bank("bank-a");
    let reader = tokio::spawn(async move { bank.account("alice").await.unwrap() });
    // Whenever the reader comes, before or after: it never sees what was.
    held.commit().await;
    assert_eq!(reader.await.unwrap().balance_minor, 180);
    cluster.stop().await;
}

#[tokio::test]
async fn a_call_is_answered_before_its_deadline_though_the_account_is_held() {
    let cluster = Cluster::start(&["bank-a"]).await;
    cluster.open("bank-a", "alice", 300).await;
    cluster.open("bank-a", "bob", 0).await;
    let held = hold(&cluster, "bank-a", &withdraw(120)).await;
    let mut request = Request::new(v1::TransferRequest {
        from_account: "alice".into(),
        to_account: "bob".into(),
        amount_minor: 1,
        currency: "CZK".into(),
        ..v1::TransferRequest::default()
    });
    request.set_timeout(Duration::from_secs(1));
    let response = cluster
        .raw("bank-a")
        .transfer(request)
        .await
        .unwrap()
        .into_inner();
    assert!(!response.committed && response.retryable, "{response:?}");
    assert_eq!(response.reason, Reason::LOCK_TIMEOUT.as_str());
    held.abort().await;
    assert_eq!(cluster.balance("bank-a", "alice").await, 300);
    cluster.stop().await;
}
