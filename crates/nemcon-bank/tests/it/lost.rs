//! Answers that never come.

use std::path::Path;
use std::time::Duration;

use nemcon_client::new_transaction_id;
use nemcon_core::message::Failure;
use nemcon_core::reason::Reason;
use nemcon_net::{Refused, Unanswered};
use nemcon_node::node::NodeHandle;
use nemcon_proto::bank::v1;
use tonic::{Code, Request};

use super::cluster::{raw, start_bank, stop};
use super::fake::{Fake, Step};

fn bank(dir: &Path, coordinators: &[&Fake]) -> NodeHandle {
    let urls = coordinators.iter().map(|fake| fake.url.clone()).collect();
    start_bank(dir, "bank-a", urls)
}

fn transfer() -> v1::TransferRequest {
    v1::TransferRequest {
        from_account: "alice".into(),
        to_bank: "bank-b".into(),
        to_account: "bob".into(),
        amount_minor: 1,
        currency: "CZK".into(),
        ..v1::TransferRequest::default()
    }
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_under_the_same_id_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let first = Fake::start([Step::Lose, Step::Lose, Step::Commit]);
    let second = Fake::start([Step::Commit]);
    let bank = bank(dir.path(), &[&first, &second]);
    let response = raw(&bank).transfer(transfer()).await.unwrap().into_inner();
    assert!(response.committed);
    let seen = first.seen();
    assert_eq!(seen.len(), 3);
    for request in &seen {
        assert_eq!(request.transaction_id, response.transaction_id);
        assert_eq!(request.operations, seen[0].operations);
    }
    assert!(second.seen().is_empty(), "it would have run twice");
    stop(bank).await;
}

#[tokio::test]
async fn a_deadline_that_passes_leaves_the_outcome_open_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start([Step::Silence]);
    let bank = bank(dir.path(), &[&fake]);
    let id = new_transaction_id();
    let mut request = Request::new(v1::TransferRequest {
        transaction_id: id.to_string(),
        ..transfer()
    });
    request.set_timeout(Duration::from_secs(2));
    let status = raw(&bank).transfer(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let told = Refused::read(&status).unwrap();
    assert_eq!(told.refusal.reason, Reason::OUTCOME_UNKNOWN);
    assert_eq!(told.transaction, Some(id));
    assert_eq!(
        Unanswered::of(&status),
        Unanswered::Failed(Failure::TimedOut)
    );
    let start = format!("no answer within 1800 ms; transaction {id} may have committed, and may");
    assert!(status.message().starts_with(&start), "{}", status.message());
    assert_eq!(fake.seen()[0].timeout_ms, 1_600);
    stop(bank).await;
}

#[tokio::test]
async fn an_account_whose_opening_is_remembered_without_results_is_as_it_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let bank = bank(dir.path(), &[&Fake::start([Step::Commit])]);
    let open = v1::OpenAccountRequest {
        account: "alice".into(),
        owner: "Alice".into(),
        currency: "CZK".into(),
        opening_balance_minor: 300,
        minimum_balance_minor: -50,
        transaction_id: new_transaction_id().to_string(),
    };
    let response = raw(&bank)
        .open_account(open.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(response.transaction_id, open.transaction_id);
    let account = v1::Account {
        account: open.account,
        owner: open.owner,
        currency: open.currency,
        balance_minor: 300,
        minimum_balance_minor: -50,
        closed: false,
    };
    assert_eq!(response.account, Some(account));
    stop(bank).await;
}
