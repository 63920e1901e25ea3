//! The promise of a transaction id: "this, once". A client that is not sure sends
//! its request again, and gets the outcome of the first, whoever has died
//! meanwhile.

use std::fs;

use nemcon_client::Transaction;
use nemcon_core::id::TransactionId;
use nemcon_e2e::until;
use nemcon_net::{Refused, Unanswered};
use nemcon_proto::v1::{Outcome, RunTransactionRequest, RunTransactionResponse, TransactionState};
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::cluster::{Cluster, SOON};
use crate::hold::Hold;
use crate::money::{payment, request, withdraw};

type Answer = Result<RunTransactionResponse, Status>;

/// Sends a request once, on a connection of its own, and does not wait.
fn send(cluster: &Cluster, request: &RunTransactionRequest) -> JoinHandle<Answer> {
    let (mut service, request) = (cluster.raw(), request.clone());
    tokio::spawn(async move {
        let answer = service.run_transaction(request).await;
        answer.map(tonic::Response::into_inner)
    })
}

/// Sends a request until there is an answer: a node that is just starting has
/// none.
pub(crate) async fn ask(cluster: &Cluster, request: &RunTransactionRequest) -> Answer {
    until("there is an answer", SOON, async || {
        let answer = send(cluster, request).await.unwrap();
        match &answer {
            Err(status) if matches!(Unanswered::of(status), Unanswered::Failed(_)) => {
                Err(status.to_string())
            }
            _ => Ok(answer),
        }
    })
    .await
}

/// Waits until the votes are awaited.
pub(crate) async fn under_way(cluster: &Cluster, id: TransactionId) {
    until(
        "the transaction is under way",
        SOON,
        async || match cluster.view(id).await {
            Ok(view) if view.state() == TransactionState::Preparing => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
}

#[track_caller]
pub(crate) fn committed(answer: Answer) -> RunTransactionResponse {
    match answer {
        Ok(response) if response.outcome() == Outcome::Committed => response,
        other => panic!("want committed: {other:?}"),
    }
}

/// Why it aborted.
#[track_caller]
pub(crate) fn aborted(answer: Answer) -> String {
    match answer {
        Ok(response) if response.outcome() == Outcome::Aborted => response.refusal.unwrap().reason,
        other => panic!("want aborted: {other:?}"),
    }
}

/// The code and the reason of a request that was refused.
#[track_caller]
pub(crate) fn refused(answer: Answer) -> (Code, String) {
    match answer {
        Err(status) => {
            let told = Refused::read(&status).unwrap_or_else(|| panic!("{status:?}"));
            (status.code(), told.refusal.reason.to_string())
        }
        Ok(response) => panic!("want a refusal: {response:?}"),
    }
}

fn reused() -> (Code, String) {
    (Code::AlreadyExists, "TRANSACTION_ID_REUSED".to_owned())
}

/// The same id for other operations.
fn other_under(transaction: &Transaction) -> RunTransactionRequest {
    request(&payment("a/alice", "b/bob", 1).with_id(transaction.id))
}

/// Sends one payment again and again, from its beginning to long after its end.
async fn paid_once_however_often_it_is_sent(payee: &str) {
    let mut cluster = Cluster::start_patient(&["a", "b"]).await;
    for (account, balance) in [("a/alice", 1_000), ("a/carol", 0), ("b/bob", 0)] {
        cluster.open(account, balance).await;
    }
    let transaction = payment("a/alice", payee, 100);
    let (same, other) = (request(&transaction), other_under(&transaction));

    // In flight. One of those who ask hangs up, which must change nothing.
    let hold = Hold::on(&cluster, "a", &withdraw("alice", 1)).await;
    let first = send(&cluster, &same);
    under_way(&cluster, transaction.id).await;
    let (second, third) = (send(&cluster, &same), send(&cluster, &same));
    assert_eq!(refused(ask(&cluster, &other).await), reused());
    third.abort();
    hold.abort().await;
    let first = committed(first.await.unwrap());
    assert_eq!(committed(second.await.unwrap()), first);

    // After the end.
    assert_eq!(committed(ask(&cluster, &same).await), first);
    assert_eq!(refused(ask(&cluster, &other).await), reused());

    // After the coordinator's restart, and after everyone's. Results may be lost
    // by then; whether they are is said.
    for everyone in [false, true] {
        let nodes = cluster.nodes().take(if everyone { usize::MAX } else { 1 });
        for node in nodes {
            node.restart().await;
        }
        let naming_it = RunTransactionRequest {
            coordinator_id: first.coordinator_id.clone(),
            ..same.clone()
        };
        for repeat in [&same, &naming_it] {
            let again = committed(ask(&cluster, repeat).await);
            assert!(
                again.results_lost || again.results == first.results,
                "{again:?}"
            );
            assert_eq!(again.coordinator_id, first.coordinator_id);
        }
        assert_eq!(refused(ask(&cluster, &other).await), reused());
    }
    assert_eq!(cluster.balance("a/alice").await, 900);
    assert_eq!(cluster.balance(payee).await, 100);
    cluster.nothing_in_doubt(SOON).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_payment_between_banks_is_made_once_however_often_it_is_sent() {
    paid_once_however_often_it_is_sent("b/bob").await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_payment_within_a_bank_is_made_once_however_often_it_is_sent() {
    paid_once_however_often_it_is_sent("a/carol").await;
}

/// What was refused stays refused, though by then there would be money enough.
#[tokio::test(flavor = "current_thread")]
async fn a_no_is_remembered_like_a_yes() {
    let mut cluster = Cluster::start(&["a", "b"]).await;
    for (account, balance) in [("a/alice", 10), ("a/carol", 0), ("b/bob", 1_000)] {
        cluster.open(account, balance).await;
    }
    let between = request(&payment("a/alice", "b/bob", 100));
    let within = request(&payment("a/alice", "a/carol", 100));
    for refused in [&between, &within] {
        assert_eq!(aborted(ask(&cluster, refused).await), "INSUFFICIENT_FUNDS");
    }
    committed(ask(&cluster, &request(&payment("b/bob", "a/alice", 500))).await);
    for victim in ["", "coordinator", "a"] {
        if !victim.is_empty() {
            cluster.node_mut(victim).restart().await;
        }
        for refused in [&between, &within] {
            let why = aborted(ask(&cluster, refused).await);
            assert_eq!(why, "INSUFFICIENT_FUNDS", "after a restart of {victim:?}");
        }
    }
    assert_eq!(cluster.balance("a/alice").await, 510);
}

/// The coordinator dies before it decides. The transaction may be run again then,
/// for the first attempt is sure never to commit.
async fn run_anew_after_a_crash_in_flight(payee: &str) {
    let mut cluster = Cluster::start_patient(&["a", "b"]).await;
    for (account, balance) in [("a/alice", 1_000), ("a/carol", 0), ("b/bob", 0)] {
        cluster.open(account, balance).await;
    }
    let transaction = payment("a/alice", payee, 100);
    let hold = Hold::on(&cluster, "a", &withdraw("alice", 1)).await;
    let lost = send(&cluster, &request(&transaction));
    under_way(&cluster, transaction.id).await;
    cluster.coordinator.restart().await;
    let status = lost.await.unwrap().expect_err("the connection broke");
    assert!(
        matches!(Unanswered::of(&status), Unanswered::Failed(_)),
        "{status:?}"
    );

    let repeats = [0; 2].map(|_| {
        let (client, again) = (cluster.client(), transaction.clone().sent_before(None));
        tokio::spawn(async move { client.run(&again).await })
    });
    under_way(&cluster, transaction.id).await;
    hold.abort().await;
    for repeat in repeats {
        let report = repeat.await.unwrap().unwrap();
        assert!(
            matches!(report.ending, nemcon_client::Ending::Committed(_)),
            "{report:?}"
        );
    }
    assert_eq!(cluster.balance("a/alice").await, 900);
    assert_eq!(cluster.balance(payee).await, 100);
    cluster.nothing_in_doubt(SOON).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_payment_between_banks_in_flight_at_a_crash_is_made_once() {
    run_anew_after_a_crash_in_flight("b/bob").await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_payment_within_a_bank_in_flight_at_a_crash_is_made_once() {
    run_anew_after_a_crash_in_flight("a/carol").await;
}

/// An emptied data directory is another coordinator, and must not answer for the
/// one that it replaced.
#[tokio::test(flavor = "current_thread")]
async fn a_coordinator_that_lost_its_data_answers_for_nothing() {
    let mut cluster = Cluster::start(&["a", "b"]).await;
    for (account, balance) in [("a/alice", 1_000), ("b/bob", 0)] {
        cluster.open(account, balance).await;
    }
    let paid = request(&payment("a/alice", "b/bob", 100));
    let first = committed(ask(&cluster, &paid).await);
    // Whoever has not heard the decision by then will be in doubt for ever.
    cluster.nothing_in_doubt(SOON).await;
    cluster.coordinator.kill();
    fs::remove_dir_all(cluster.coordinator.data_dir()).unwrap();
    cluster.coordinator.start().await;
    let again = RunTransactionRequest {
        coordinator_id: first.coordinator_id,
        ..paid
    };
    let wrong = (Code::FailedPrecondition, "WRONG_COORDINATOR".to_owned());
    assert_eq!(refused(ask(&cluster, &again).await), wrong);
    cluster.complete().await;
    assert_eq!(refused(ask(&cluster, &again).await), wrong);
    assert_eq!(cluster.balance("a/alice").await, 900);
}

/// What is no longer remembered is not run again either.
#[tokio::test(flavor = "current_thread")]
async fn an_id_whose_outcome_was_forgotten_never_runs() {
    let mut cluster = Cluster::new(&["a", "b"]).await;
    cluster.coordinator.add_arguments(&["--remember-max=1"]);
    cluster.start_all().await;
    for (account, balance) in [("a/alice", 1_000), ("b/bob", 0)] {
        cluster.open(account, balance).await;
    }
    let old = request(&payment("a/alice", "b/bob", 100));
    committed(ask(&cluster, &old).await);
    let new = request(&payment("a/alice", "b/bob", 20));
    committed(ask(&cluster, &new).await);
    // Only what has ended everywhere is forgotten.
    cluster.nothing_in_doubt(SOON).await;
    let forgotten = (Code::FailedPrecondition, "OUTCOME_FORGOTTEN".to_owned());
    assert_eq!(refused(ask(&cluster, &old).await), forgotten);
    cluster.coordinator.restart().await;
    assert_eq!(refused(ask(&cluster, &old).await), forgotten);
    committed(ask(&cluster, &new).await);
    assert_eq!(cluster.balance("a/alice").await, 880);
}

/// An id that could not be remembered in its place in time is refused.
#[tokio::test(flavor = "current_thread")]
async fn ids_without_a_place_in_time_are_refused() {
    let cluster = Cluster::start(&["a"]).await;
    for (account, balance) in [("a/alice", 1_000), ("a/carol", 0)] {
        cluster.open(account, balance).await;
    }
    let pay = payment("a/alice", "a/carol", 100);
    let under = |id: String| RunTransactionRequest {
        transaction_id: id,
        ..request(&pay)
    };
    // Six minutes, in the milliseconds of the first 48 bits.
    let ahead = Uuid::from_u128(pay.id.uuid().as_u128() + (360_000 << 80));
    let v4 = "936da01f-9abd-4d9d-80c7-02af85c822a8";
    for (id, reason) in [
        (v4.to_owned(), "TRANSACTION_ID_INVALID"),
        ("pay-1".to_owned(), "TRANSACTION_ID_INVALID"),
        (ahead.to_string(), "TRANSACTION_ID_AHEAD"),
    ] {
        let (code, why) = refused(ask(&cluster, &under(id)).await);
        assert_eq!((code, why.as_str()), (Code::InvalidArgument, reason));
    }
    assert_eq!(cluster.balance("a/alice").await, 1_000);
    // Without an id one is given, and its answer can be asked for under it.
    let given = committed(ask(&cluster, &under(String::new())).await);
    let again = under(given.transaction_id.clone());
    assert_eq!(committed(ask(&cluster, &again).await), given);
    assert_eq!(cluster.balance("a/alice").await, 900);
}
