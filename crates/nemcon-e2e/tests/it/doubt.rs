//! Nodes that die at the worst moments, and what they do when they are back.

use std::fs;
use std::time::Duration;

use nemcon_client::Transaction;
use nemcon_core::id::TransactionId;
use nemcon_core::message::Failure;
use nemcon_e2e::{Node, Signal, until};
use nemcon_net::Unanswered;
use nemcon_proto::bank::v1::GetAccountRequest;
use nemcon_proto::bank::v1::bank_service_client::BankServiceClient;
use nemcon_proto::v1::{Branch, Outcome, RunTransactionResponse, Vote};
use nemcon_wal::mark::Mark;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::cluster::{Cluster, DOUBT_MAX, SOON, channel};
use crate::hold::Hold;
use crate::ids::{aborted, ask, committed, refused};
use crate::money::{deposit, payment, request, withdraw};

/// A stop may take no longer, whatever is in flight.
const STOP_MAX: Duration = Duration::from_secs(10);

/// How often a participant asks before a test takes it that nobody will tell: the
/// peers are among those asked by then.
const QUESTIONS: u32 = 4;

/// A payment from bank `a` to bank `b` that cannot be decided: `b` has voted, and
/// `a` waits for a lock that the test holds.
struct Undecided {
    transaction: Transaction,
    hold: Hold,
    answer: JoinHandle<Result<RunTransactionResponse, Status>>,
}

impl Undecided {
    async fn begin(cluster: &Cluster) -> Self {
        cluster.open("a/alice", 1_000).await;
        cluster.open("b/bob", 0).await;
        let hold = Hold::on(cluster, "a", &withdraw("alice", 1)).await;
        let transaction = payment("a/alice", "b/bob", 100);
        let (mut service, request) = (cluster.raw(), request(&transaction));
        let answer = tokio::spawn(async move {
            let answer = service.run_transaction(request).await;
            answer.map(tonic::Response::into_inner)
        });
        voted(cluster, transaction.id, "b").await;
        Self {
            transaction,
            hold,
            answer,
        }
    }
}

/// Waits until the coordinator has a bank's yes.
async fn voted(cluster: &Cluster, id: TransactionId, bank: &str) {
    until("the bank has voted", SOON, async || {
        let view = cluster
            .view(id)
            .await
            .map_err(|status| status.to_string())?;
        let mut branches = view.participants.iter();
        let yes = |branch: &Branch| branch.participant == bank && branch.vote() == Vote::Yes;
        if branches.any(yes) {
            Ok(())
        } else {
            Err(format!("{view:?}"))
        }
    })
    .await;
}

/// Waits until a bank is in doubt about one transaction, has asked so often, and
/// would be after a crash too: what is listed may just have been appended.
async fn in_doubt(cluster: &Cluster, bank: &str, id: TransactionId, questions: u32) {
    until("the bank is in doubt and asks", SOON, async || {
        let attempts = cluster.in_doubt_at(bank).await?;
        let mut asked = attempts.iter().filter(|attempt| {
            attempt.transaction_id == id.to_string() && !attempt.locks.is_empty()
        });
        match asked.next() {
            Some(attempt) if attempt.questions >= questions => Ok(()),
            _ => Err(format!("{attempts:?}")),
        }
    })
    .await;
    cluster.durable_at(bank).await;
}

async fn balances(cluster: &Cluster) -> (i64, i64) {
    (
        cluster.balance("a/alice").await,
        cluster.balance("b/bob").await,
    )
}

fn is_marked_clean(node: &Node) -> bool {
    let bytes = fs::read(node.data_dir().join("mark")).unwrap();
    Mark::read(&bytes).unwrap().clean
}

/// Its vote stands though it is dead: the others commit, and it follows.
#[tokio::test(flavor = "current_thread")]
async fn a_bank_killed_after_its_vote_learns_of_the_commit() {
    let mut cluster = Cluster::start_patient(&["a", "b"]).await;
    let undecided = Undecided::begin(&cluster).await;
    cluster.bank_mut("b").kill();
    undecided.hold.abort().await;
    committed(undecided.answer.await.unwrap());
    let waiting = cluster.client().in_doubt().await.unwrap();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(waiting[0].transaction, undecided.transaction.id);

    cluster.bank_mut("b").start().await;
    cluster.nothing_in_doubt(DOUBT_MAX).await;
    assert_eq!(balances(&cluster).await, (900, 100));
}

/// A yes vote binds who gave it, and nobody else: the client may still abort.
#[tokio::test(flavor = "current_thread")]
async fn a_bank_killed_after_its_vote_learns_of_the_abort() {
    let mut cluster = Cluster::start_patient(&["a", "b"]).await;
    let undecided = Undecided::begin(&cluster).await;
    cluster.bank_mut("b").kill();
    let id = undecided.transaction.id;
    cluster.client().abort(id, "changed my mind").await.unwrap();
    assert_eq!(aborted(undecided.answer.await.unwrap()), "ABORT_REQUESTED");
    undecided.hold.abort().await;

    cluster.bank_mut("b").start().await;
    cluster.nothing_in_doubt(DOUBT_MAX).await;
    assert_eq!(balances(&cluster).await, (1_000, 0));
    let again = ask(&cluster, &request(&undecided.transaction)).await;
    assert_eq!(aborted(again), "ABORT_REQUESTED");
}

/// All have voted, and the one who has to decide is frozen. The banks may be
/// killed as often as one likes: they keep their word and their locks, and they
/// do not guess.
#[tokio::test(flavor = "current_thread")]
async fn banks_in_doubt_keep_their_locks_until_the_coordinator_wakes() {
    let mut cluster = Cluster::start_patient(&["a", "b"]).await;
    let undecided = Undecided::begin(&cluster).await;
    let id = undecided.transaction.id;
    cluster.coordinator.process().pause().await;
    undecided.hold.abort().await;
    for _ in 0..2 {
        for bank in ["a", "b"] {
            in_doubt(&cluster, bank, id, 0).await;
            cluster.bank_mut(bank).restart().await;
        }
    }
    for (bank, other) in [("a", deposit("alice", 1)), ("b", deposit("bob", 1))] {
        in_doubt(&cluster, bank, id, QUESTIONS).await;
        let refused = Hold::refused(&cluster, bank, &other).await;
        assert_eq!(refused.as_deref(), Some("LOCK_TIMEOUT"));
    }
    assert_eq!(cluster.peek("a/alice").await, (1_000, -100));
    assert_eq!(cluster.peek("b/bob").await, (0, 100));

    cluster.coordinator.process().resume();
    committed(undecided.answer.await.unwrap());
    cluster.nothing_in_doubt(DOUBT_MAX).await;
    assert_eq!(balances(&cluster).await, (900, 100));
}

/// The coordinator is gone, and a peer that has not voted can settle it: it
/// refuses for good, so the transaction can never commit.
#[tokio::test(flavor = "current_thread")]
async fn a_bank_in_doubt_is_told_by_a_peer_while_the_coordinator_is_dead() {
    let mut cluster = Cluster::start_patient(&["a", "b"]).await;
    let undecided = Undecided::begin(&cluster).await;
    cluster.coordinator.kill();
    until("bank b has been told", SOON, async || {
        let attempts = cluster.in_doubt_at("b").await?;
        if attempts.is_empty() {
            Ok(())
        } else {
            Err(format!("{attempts:?}"))
        }
    })
    .await;
    assert_eq!(cluster.peek("b/bob").await, (0, 0));
    undecided.hold.abort().await;

    // The client only knows that its connection broke. It asks again under the
    // same id, and that is a new attempt.
    undecided
        .answer
        .await
        .unwrap()
        .expect_err("the coordinator was killed");
    cluster.coordinator.start().await;
    committed(ask(&cluster, &request(&undecided.transaction)).await);
    assert_eq!(balances(&cluster).await, (900, 100));
    cluster.nothing_in_doubt(SOON).await;
}

/// What was answered stays so, also when whoever answered dies in that moment.
#[tokio::test(flavor = "current_thread")]
async fn an_answer_outlives_whoever_gave_it() {
    let mut cluster = Cluster::start(&["a", "b"]).await;
    for (account, balance) in [("a/alice", 1_000), ("a/carol", 0), ("b/bob", 0)] {
        cluster.open(account, balance).await;
    }
    let mut alice = 1_000;
    for (payee, amount) in [("b/bob", 1), ("a/carol", 2), ("b/bob", 1_000)] {
        for victims in [
            &["coordinator"][..],
            &["a"],
            &["b", "coordinator"],
            &["a", "coordinator"],
        ] {
            let pay = request(&payment("a/alice", payee, amount));
            let answer = ask(&cluster, &pay).await;
            for victim in victims {
                cluster.node_mut(victim).kill();
            }
            for victim in victims {
                cluster.node_mut(victim).start().await;
            }
            let again = ask(&cluster, &pay).await;
            if amount < alice {
                committed(answer);
                committed(again);
                alice -= amount;
            } else {
                assert_eq!(aborted(answer), "INSUFFICIENT_FUNDS");
                assert_eq!(aborted(again), "INSUFFICIENT_FUNDS");
            }
            assert_eq!(
                cluster.balance("a/alice").await,
                alice,
                "{payee} {amount} {victims:?}"
            );
        }
    }
    cluster.nothing_in_doubt(DOUBT_MAX).await;
    assert_eq!(cluster.balance("a/carol").await, 4 * 2);
    assert_eq!(balances(&cluster).await, (1_000 - 4 * 3, 4));
}

/// SIGTERM is a promise kept on both sides: who is in is served, who comes is told.
#[tokio::test(flavor = "current_thread")]
async fn a_coordinator_told_to_stop_finishes_what_is_in_flight_and_takes_nothing_new() {
    let mut cluster = Cluster::start_patient(&["a", "b"]).await;
    let undecided = Undecided::begin(&cluster).await;
    // Its connection is there before the stop, as that of a load balancer is.
    let mut health = HealthClient::new(channel(&cluster.coordinator.url()));
    let mut state = async || {
        let response = health.check(HealthCheckRequest::default()).await;
        response.map(|response| response.into_inner().status())
    };
    assert_eq!(state().await.unwrap(), ServingStatus::Serving);
    cluster.coordinator.process().signal(Signal::Terminate);
    until("it says that it stops", SOON, async || {
        match state().await {
            Ok(ServingStatus::NotServing) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let new = request(&payment("a/alice", "b/bob", 1));
    let turned_away = cluster
        .raw()
        .run_transaction(new)
        .await
        .map(tonic::Response::into_inner);
    assert_eq!(refused(turned_away).1, "NOT_SERVING");

    undecided.hold.abort().await;
    committed(undecided.answer.await.unwrap());
    let status = cluster.coordinator.stopped(STOP_MAX).await;
    assert_eq!(status.code(), Some(0));
    assert!(is_marked_clean(&cluster.coordinator));
    cluster.coordinator.start().await;
    assert!(!is_marked_clean(&cluster.coordinator), "it runs");
    cluster.nothing_in_doubt(DOUBT_MAX).await;
    assert_eq!(balances(&cluster).await, (900, 100));
}

/// What cannot be finished in time is handed over to the next life.
#[tokio::test(flavor = "current_thread")]
async fn nodes_told_to_stop_hand_over_what_they_cannot_finish() {
    let mut cluster = Cluster::new(&["a", "b"]).await;
    // Less than usual: the test takes as long as this.
    for node in cluster.nodes() {
        node.add_arguments(&["--drain-seconds=3"]);
    }
    cluster.coordinator.add_arguments(&["--lock-wait-ms=60000"]);
    cluster.start_all().await;
    let undecided = Undecided::begin(&cluster).await;
    for node in ["coordinator", "b", "a"] {
        let node = cluster.node_mut(node);
        let status = node.stop(STOP_MAX).await;
        assert_eq!(status.code(), Some(0), "{}", node.name());
        assert!(is_marked_clean(node), "{}", node.name());
    }
    undecided
        .answer
        .await
        .unwrap()
        .expect_err("nothing was decided");
    cluster.start_all().await;
    undecided.hold.abort().await;
    committed(ask(&cluster, &request(&undecided.transaction)).await);
    cluster.nothing_in_doubt(DOUBT_MAX).await;
    assert_eq!(balances(&cluster).await, (900, 100));
}

/// An idle cluster stops at once, and a killed one is not marked clean.
#[tokio::test(flavor = "current_thread")]
async fn a_stop_marks_the_log_clean_and_a_kill_does_not() {
    let mut cluster = Cluster::start(&["a", "b"]).await;
    for node in cluster.nodes() {
        node.kill();
        assert!(!is_marked_clean(node), "{}", node.name());
    }
    cluster.start_all().await;
    for node in cluster.nodes() {
        assert_eq!(node.stop(STOP_MAX).await.code(), Some(0), "{}", node.name());
        assert!(is_marked_clean(node), "{}", node.name());
    }
    cluster.start_all().await;
}

/// Either side may be the first that is back.
#[tokio::test(flavor = "current_thread")]
async fn nodes_start_in_the_absence_of_each_other() {
    let mut cluster = Cluster::start(&["a", "b"]).await;
    cluster.open("a/alice", 1_000).await;
    cluster.open("b/bob", 0).await;
    cluster.nodes().for_each(Node::kill);

    // Banks without a coordinator serve, and say what is missing.
    for bank in ["a", "b"] {
        cluster.bank_mut(bank).start().await;
    }
    assert_eq!(cluster.peek("a/alice").await, (1_000, 0));
    let mut customer = BankServiceClient::new(channel(&cluster.bank("a").url()));
    let account = "alice".to_owned();
    let question = GetAccountRequest {
        account,
        without_waiting: false,
    };
    let status = customer.get_account(question).await.unwrap_err();
    let missing = cluster.coordinator.url();
    assert!(status.message().contains(&missing), "{status:?}");
    assert_eq!(
        Unanswered::of(&status),
        Unanswered::Failed(Failure::Unreachable),
        "{status:?}"
    );
    cluster.coordinator.start().await;
    cluster.complete().await;
    committed(ask(&cluster, &request(&payment("a/alice", "b/bob", 100))).await);

    // A coordinator without banks remembers them, and says who is missing.
    cluster.nodes().for_each(Node::kill);
    cluster.coordinator.start().await;
    let refusal = until("it says that a bank is missing", SOON, async || {
        // Under a new id each time: ids of about the restart may have been decided
        // by a bank alone, and until the banks are back nobody knows.
        let mut impatient = request(&payment("a/alice", "b/bob", 10));
        impatient.timeout_ms = 500;
        match cluster.raw().run_transaction(impatient).await {
            Ok(response) => Ok(response.into_inner().refusal.unwrap()),
            Err(status) => Err(status.to_string()),
        }
    })
    .await;
    assert_eq!(refusal.reason, "DEADLINE_EXCEEDED", "{refusal:?}");
    assert!(
        refusal.retryable && refusal.message.contains("cannot be reached"),
        "{refusal:?}"
    );
    for bank in ["b", "a"] {
        cluster.bank_mut(bank).start().await;
    }
    cluster.complete().await;
    committed(ask(&cluster, &request(&payment("a/alice", "b/bob", 1))).await);
    assert_eq!(balances(&cluster).await, (899, 101));
}

/// As above, with a decision that one bank has not heard: whoever knows it and
/// whoever needs it are each alone for a while.
#[tokio::test(flavor = "current_thread")]
async fn a_decision_reaches_a_bank_though_each_side_restarts_alone() {
    let mut cluster = Cluster::start_patient(&["a", "b"]).await;
    let undecided = Undecided::begin(&cluster).await;
    let id = undecided.transaction.id;
    cluster.bank_mut("b").kill();
    undecided.hold.abort().await;
    committed(undecided.answer.await.unwrap());
    // Bank a has heard it, and would tell.
    cluster.bank_mut("a").kill();
    cluster.coordinator.kill();

    cluster.bank_mut("b").start().await;
    in_doubt(&cluster, "b", id, QUESTIONS).await;
    cluster.bank_mut("b").kill();

    cluster.coordinator.start().await;
    let waiting = cluster.client().in_doubt().await.unwrap();
    assert!(
        waiting.iter().any(|view| view.transaction == id),
        "{waiting:?}"
    );
    cluster.coordinator.kill();

    cluster.start_all().await;
    let view = cluster.view(id).await.unwrap();
    assert_eq!(view.outcome(), Outcome::Committed, "{view:?}");
    cluster.nothing_in_doubt(DOUBT_MAX).await;
    assert_eq!(balances(&cluster).await, (900, 100));
}
