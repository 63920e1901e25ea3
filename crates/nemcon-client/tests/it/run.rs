//! One transaction, one id, however often it is sent.

use std::time::Duration;

use nemcon_client::operation;
use nemcon_client::{Client, ClientError, Ending, Settings, Transaction, new_transaction_id};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_proto::bank::v1::Read;

use crate::fake::{Fake, Step, hurried, name, results};

fn transaction() -> Transaction {
    let read = Read {
        account: "alice".into(),
    };
    Transaction::new([operation(&name("bank-a"), &read, false)])
        .with_timeout(Duration::from_millis(100))
}

fn client(fake: &Fake) -> Client {
    Client::new(fake.url.parse().unwrap(), hurried())
}

/// A client that gives up soon.
fn impatient(fake: &Fake) -> Client {
    let give_up_after = Duration::from_millis(400);
    Client::new(
        fake.url.parse().unwrap(),
        Settings {
            give_up_after,
            ..hurried()
        },
    )
}

/// Runs a transaction against a script that ends in a commit, and checks that it
/// was sent under one id all the way.
async fn commits_after(steps: impl IntoIterator<Item = Step>) -> Fake {
    let fake = Fake::start(steps.into_iter().chain([Step::Commit])).await;
    let transaction = transaction();
    let report = client(&fake).run(&transaction).await.unwrap();
    assert_eq!(report.transaction, transaction.id);
    assert_eq!(report.ending, Ending::Committed(Some(results())));
    assert_eq!(fake.steps_left(), 0);
    assert!(
        fake.ids().iter().all(|id| *id == transaction.id),
        "{:?}",
        fake.ids()
    );
    assert!(
        fake.seen()
            .iter()
            .all(|request| request.first_transaction_id.is_empty())
    );
    fake
}

#[tokio::test]
async fn a_node_that_is_not_serving_is_asked_again() {
    let fake = commits_after([
        Step::Refuse(Reason::NOT_SERVING),
        Step::Refuse(Reason::TOO_MANY_REQUESTS),
        Step::Refuse(Reason::NOT_SERVING),
    ])
    .await;
    // It took nothing in, so any coordinator may run it.
    assert!(
        fake.named().iter().all(String::is_empty),
        "{:?}",
        fake.named()
    );
}

#[tokio::test]
async fn a_line_that_dies_after_the_work_is_done_leads_to_the_same_id_again() {
    let fake = commits_after([Step::Cut, Step::Cut]).await;
    assert_eq!(fake.ids().len(), 3);
}

#[tokio::test]
async fn silence_leads_to_the_same_id_again() {
    commits_after([Step::Silence]).await;
}

#[tokio::test]
async fn an_unknown_outcome_is_asked_for_again_at_the_same_coordinator() {
    let unknown = Step::Refuse(Reason::OUTCOME_UNKNOWN);
    let fake = commits_after([unknown, Step::Refuse(Reason::NOT_SERVING)]).await;
    let identity = fake.identity().to_string();
    assert_eq!(fake.named(), [String::new(), identity.clone(), identity]);
    let fake = commits_after([Step::AnswerUnknown]).await;
    assert_eq!(fake.named(), [String::new(), fake.identity().to_string()]);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_at_the_coordinator_that_answered_last() {
    let fake = Fake::start([Step::Commit, Step::Cut, Step::Commit]).await;
    let client = client(&fake);
    client.run(&transaction()).await.unwrap();
    client.run(&transaction()).await.unwrap();
    let nobody = String::new();
    assert_eq!(
        fake.named(),
        [nobody.clone(), nobody, fake.identity().to_string()]
    );
}

#[tokio::test]
async fn only_the_coordinator_says_that_it_aborted() {
    let no = Refusal::new(Reason::business("INSUFFICIENT_FUNDS"), "alice has 1.00");
    let fake = Fake::start([Step::Silence, Step::Cut, Step::Abort(no.clone())]).await;
    let report = client(&fake).run(&transaction()).await.unwrap();
    let Ending::Aborted(cause) = report.ending else {
        panic!("{report:?}")
    };
    assert_eq!(
        (cause.refusal, cause.participant),
        (no, Some(name("bank-a")))
    );
    assert_eq!(fake.ids().len(), 3);
}

#[tokio::test]
async fn what_may_have_run_is_unknown_and_never_aborted() {
    for last in [
        // Time runs out.
        vec![Step::Silence; 100],
        vec![Step::Refuse(Reason::OUTCOME_UNKNOWN); 1_000],
        vec![Step::Refuse(Reason::INTERNAL); 1_000],
        // A node that cannot know, after one that may have run it.
        vec![Step::Cut, Step::Refuse(Reason::WRONG_COORDINATOR)],
        vec![Step::Cut, Step::Refuse(Reason::UNKNOWN_PARTICIPANT)],
        vec![Step::Cut, Step::Refuse(Reason::OUTCOME_FORGOTTEN)],
        // It may have been run long ago.
        vec![Step::Refuse(Reason::OUTCOME_FORGOTTEN)],
    ] {
        let fake = Fake::start(last.clone()).await;
        let sent = transaction();
        match impatient(&fake).run(&sent).await {
            Err(ClientError::Unknown { transaction, .. }) => assert_eq!(transaction, sent.id),
            other => panic!("{:?}: {other:?}", last[0]),
        }
        assert!(fake.ids().iter().all(|id| *id == sent.id));
    }
}

#[tokio::test]
async fn an_unknown_outcome_tells_whom_to_ask() {
    let fake = Fake::start(vec![Step::Refuse(Reason::OUTCOME_UNKNOWN); 1_000]).await;
    let sent = transaction();
    let error = impatient(&fake).run(&sent).await.unwrap_err();
    let shown = error.to_string();
    assert!(
        shown.contains(&sent.id.to_string()) && shown.contains("same id"),
        "{shown}"
    );
    let ClientError::Unknown { coordinator, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(coordinator, Some(fake.identity()));
}

#[tokio::test]
async fn a_transaction_of_a_process_that_died_is_unknown_until_it_is_known() {
    let fake = Fake::start([Step::Refuse(Reason::WRONG_COORDINATOR), Step::Commit]).await;
    let client = client(&fake);
    let resumed = transaction().sent_before(Some(fake.identity()));
    let error = client.run(&resumed).await.unwrap_err();
    assert!(matches!(error, ClientError::Unknown { .. }), "{error:?}");
    client.run(&resumed).await.unwrap();
    assert_eq!(
        fake.named(),
        [fake.identity().to_string(), fake.identity().to_string()]
    );
}

#[tokio::test]
async fn what_nobody_took_in_has_not_run() {
    let fake = Fake::start(vec![Step::Refuse(Reason::NOT_SERVING); 1_000]).await;
    let error = impatient(&fake).run(&transaction()).await.unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { .. }),
        "{error:?}"
    );

    let fake = Fake::start(vec![Step::Refuse(Reason::TOO_MANY_REQUESTS); 1_000]).await;
    let error = impatient(&fake).run(&transaction()).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_named() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let give_up_after = Duration::from_millis(100);
    let settings = Settings {
        give_up_after,
        ..hurried()
    };
    let client = Client::new(url.parse().unwrap(), settings);
    let shown = client.run(&transaction()).await.unwrap_err().to_string();
    assert!(
        shown.starts_with(&format!("{url} cannot be reached: ")),
        "{shown}"
    );
    assert!(shown.contains("onnection refused"), "{shown}");
}

#[tokio::test]
async fn a_first_refusal_is_final() {
    for reason in [
        Reason::INVALID_REQUEST,
        Reason::TRANSACTION_ID_REUSED,
        Reason::UNKNOWN_PARTICIPANT,
        Reason::WRONG_COORDINATOR,
    ] {
        let fake = Fake::start([Step::Refuse(reason.clone())]).await;
        let error = client(&fake).run(&transaction()).await.unwrap_err();
        let ClientError::Refused(refused) = error else {
            panic!("{error:?}")
        };
        assert_eq!(refused.refusal.reason, reason);
    }
}

#[tokio::test]
async fn an_id_of_other_operations_proves_that_these_have_not_run() {
    let fake = Fake::start([Step::Cut, Step::Refuse(Reason::TRANSACTION_ID_REUSED)]).await;
    let error = client(&fake).run(&transaction()).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn an_answer_about_another_transaction_is_nonsense() {
    let fake = Fake::start([Step::AnswerOther]).await;
    let error = client(&fake).run(&transaction()).await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn the_callers_id_and_deadline_are_sent() {
    let fake = Fake::start([Step::Commit]).await;
    let id = new_transaction_id();
    client(&fake).run(&transaction().with_id(id)).await.unwrap();
    assert_eq!(fake.ids(), [id]);
    assert_eq!(fake.seen()[0].timeout_ms, 100);
}
