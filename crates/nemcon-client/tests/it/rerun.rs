//! Running again, under a new id, what certainly did not happen.

use std::collections::BTreeSet;
use std::time::Duration;

use nemcon_client::{Client, ClientError, Ending, Settings, Transaction, operation};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_proto::bank::v1::Read;

use crate::fake::{Fake, Step, hurried, name};

fn transaction() -> Transaction {
    let read = Read {
        account: "alice".into(),
    };
    Transaction::new([operation(&name("bank-a"), &read, false)])
        .with_timeout(Duration::from_millis(100))
}

fn lock_timeout() -> Step {
    Step::Abort(Refusal::retryable(
        Reason::LOCK_TIMEOUT,
        "alice: waited 5000 ms",
    ))
}

fn client(fake: &Fake, give_up_after: Duration) -> Client {
    Client::new(
        fake.url.parse().unwrap(),
        Settings {
            give_up_after,
            ..hurried()
        },
    )
}

const PATIENT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_rerun_has_a_new_id_and_the_age_of_the_first() {
    let fake = Fake::start([lock_timeout(), Step::Cut, lock_timeout(), Step::Commit]).await;
    let first = transaction();
    let report = client(&fake, PATIENT)
        .run_until_decided(first.clone())
        .await
        .unwrap();
    assert!(matches!(report.ending, Ending::Committed(Some(_))));

    let ids = fake.ids();
    assert_eq!(ids[0], first.id);
    assert_eq!(
        ids[1], ids[2],
        "an answer that was lost is no reason for a new id"
    );
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(report.transaction, ids[3]);
    let ages: Vec<_> = fake
        .seen()
        .into_iter()
        .map(|seen| seen.first_transaction_id)
        .collect();
    let age = first.id.to_string();
    assert_eq!(ages, [String::new(), age.clone(), age.clone(), age]);
}

#[tokio::test]
async fn a_business_no_is_not_run_again() {
    let no = Refusal::new(Reason::business("INSUFFICIENT_FUNDS"), "alice has 1.00");
    let fake = Fake::start([lock_timeout(), Step::Abort(no.clone())]).await;
    let report = client(&fake, PATIENT)
        .run_until_decided(transaction())
        .await
        .unwrap();
    let Ending::Aborted(cause) = report.ending else {
        panic!("{report:?}")
    };
    assert_eq!(cause.refusal, no);
}

#[tokio::test]
async fn an_unknown_outcome_is_not_run_again() {
    let fake = Fake::start([Step::Cut, Step::Refuse(Reason::OUTCOME_FORGOTTEN)]).await;
    let first = transaction();
    let told = client(&fake, PATIENT)
        .run_until_decided(first.clone())
        .await;
    assert!(matches!(told, Err(ClientError::Unknown { .. })), "{told:?}");
    assert!(fake.ids().iter().all(|id| *id == first.id));
}

#[tokio::test]
async fn when_the_time_is_over_the_last_no_is_told() {
    let fake = Fake::start(vec![lock_timeout(); 10_000]).await;
    let soon = Duration::from_millis(100);
    let report = client(&fake, soon)
        .run_until_decided(transaction())
        .await
        .unwrap();
    assert_eq!(Some(&report.transaction), fake.ids().last());
    assert!(matches!(report.ending, Ending::Aborted(cause) if cause.refusal.retryable));
}
