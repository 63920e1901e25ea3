//! Transactions as a client sees them.

use std::task::Poll;

use nemcon_core::reason::Reason;
use nemcon_net::Refused;
use nemcon_proto::v1;
use nemcon_proto::v1::TransactionState as State;
use nemcon_proto::v1::admin_service_client::AdminServiceClient;
use nemcon_proto::v1::watch_transactions_response::Event;
use tokio_stream::StreamExt;
use tonic::Code;

use crate::cluster::{Cluster, operation, request, stop, transfer};
use crate::store::{BELOW_ZERO, number};

/// Gives `alice` in store `a` a hundred.
async fn endowed() -> Cluster {
    let cluster = Cluster::start().await;
    let gift = request(vec![operation("a", "alice", 100)]);
    let response = cluster.run(gift).await.unwrap();
    assert_eq!(response.outcome(), v1::Outcome::Committed, "{response:?}");
    cluster
}

#[tokio::test(flavor = "current_thread")]
async fn a_transfer_happens_at_both_or_at_neither() {
    let cluster = endowed().await;
    let response = cluster.run(transfer("alice", "bob", 30)).await.unwrap();
    assert_eq!(response.outcome(), v1::Outcome::Committed, "{response:?}");
    let results: Vec<_> = response
        .results
        .iter()
        .map(|any| number(&any.value))
        .collect();
    assert_eq!(results, [70, 30], "in the order of the operations");

    let response = cluster.run(transfer("alice", "bob", 71)).await.unwrap();
    assert_eq!(response.outcome(), v1::Outcome::Aborted);
    let refusal = response.refusal.unwrap();
    assert_eq!(refusal.reason, BELOW_ZERO.as_str());
    assert_eq!(refusal.participant, "a");
    assert_eq!(cluster.read("a", "alice").await, 70);
    assert_eq!(cluster.read("b", "bob").await, 30);
    cluster.stop();
}

#[tokio::test(flavor = "current_thread")]
async fn a_transaction_id_runs_once_whatever_happens_in_between() {
    let cluster = endowed().await;
    let (move_10, alone) = (
        transfer("alice", "bob", 10),
        request(vec![operation("a", "x", 5)]),
    );
    let (first, again) = tokio::join!(cluster.run(move_10.clone()), cluster.run(move_10.clone()));
    assert_eq!(first.unwrap().outcome(), v1::Outcome::Committed);
    assert_eq!(again.unwrap().outcome(), v1::Outcome::Committed);
    cluster.run(alone.clone()).await.unwrap();

    let cluster = cluster.restart().await;
    for request in [&move_10, &alone] {
        let response = cluster.run(request.clone()).await.unwrap();
        assert_eq!(response.outcome(), v1::Outcome::Committed, "{response:?}");
    }
    assert_eq!(cluster.read("a", "alice").await, 90);
    assert_eq!(cluster.read("a", "x").await, 5);

    let other = v1::RunTransactionRequest {
        operations: alone.operations,
        ..move_10
    };
    let status = cluster.run(other).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    let refused = Refused::read(&status).unwrap();
    assert_eq!(refused.refusal.reason, Reason::TRANSACTION_ID_REUSED);
    assert!(
        refused.coordinator.is_some(),
        "a client learns whom it has asked"
    );
    cluster.stop();
}

#[tokio::test(flavor = "current_thread")]
async fn who_gives_no_id_is_given_one_and_can_ask_by_it() {
    let cluster = endowed().await;
    let anonymous = v1::RunTransactionRequest {
        transaction_id: String::new(),
        ..transfer("alice", "bob", 1)
    };
    let response = cluster.run(anonymous).await.unwrap();
    let transaction_id = response.transaction_id;
    let ask = v1::GetTransactionRequest {
        transaction_id: transaction_id.clone(),
    };
    let known = cluster
        .transactions()
        .get_transaction(ask)
        .await
        .unwrap()
        .into_inner();
    let known = known.transaction.unwrap();
    assert_eq!(known.transaction_id, transaction_id);
    assert_eq!(known.outcome(), v1::Outcome::Committed);

    let list = v1::ListTransactionsRequest {
        page_size: 1,
        ..Default::default()
    };
    let mut client = cluster.transactions();
    let first = client
        .list_transactions(list.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        first.transactions[0].transaction_id, transaction_id,
        "newest first"
    );
    let list = v1::ListTransactionsRequest {
        page_token: first.next_page_token,
        ..list
    };
    let second = client.list_transactions(list).await.unwrap().into_inner();
    assert_eq!(second.transactions.len(), 1);
    assert_ne!(second.transactions[0].transaction_id, transaction_id);
    cluster.stop();
}

#[tokio::test(flavor = "current_thread")]
async fn a_watcher_sees_every_state() {
    let cluster = endowed().await;
    let request = transfer("alice", "bob", 1);
    let transaction_id = request.transaction_id.clone();
    let watch = v1::WatchTransactionsRequest { transaction_id };
    let mut changes = cluster
        .transactions()
        .watch_transactions(watch)
        .await
        .unwrap()
        .into_inner();
    cluster.run(request).await.unwrap();
    let mut states = Vec::new();
    while states.last() != Some(&State::Committed) {
        let change = changes.next().await.unwrap().unwrap();
        match change.event {
            Some(Event::Transaction(transaction)) => states.push(transaction.state()),
            other => panic!("{other:?}"),
        }
    }
    states.dedup();
    let all = [
        State::Preparing,
        State::Prepared,
        State::Committing,
        State::Committed,
    ];
    assert!(all.iter().all(|state| states.contains(state)), "{states:?}");
    assert!(states.is_sorted(), "{states:?}");
    cluster.stop();
}

#[tokio::test(flavor = "current_thread")]
async fn a_participant_that_is_down_aborts_in_time_and_comes_back() {
    let mut cluster = endowed().await;
    stop(cluster.stores.pop().unwrap());
    let mut hopeless = transfer("alice", "bob", 1);
    hopeless.timeout_ms = 300;
    let response = cluster.run(hopeless).await.unwrap();
    assert_eq!(response.outcome(), v1::Outcome::Aborted, "{response:?}");
    assert!(response.refusal.unwrap().retryable);

    let dir = cluster.dir.path().join("b");
    let b = crate::cluster::start_store("b", &dir, &cluster.coordinator).unwrap();
    cluster
        .until(async |cluster| cluster.reaches(&b).await)
        .await;
    cluster.stores.push(b);
    let response = cluster.run(transfer("alice", "bob", 1)).await.unwrap();
    assert_eq!(response.outcome(), v1::Outcome::Committed, "{response:?}");
    assert_eq!(cluster.read("a", "alice").await, 99);
    cluster.stop();
}

#[tokio::test(flavor = "current_thread")]
async fn bad_requests_are_told_what_is_wrong() {
    let cluster = Cluster::start().await;
    let status = cluster.run(request(vec![])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("operations"), "{status}");
    let status = cluster
        .run(request(vec![operation("nobody", "x", 1)]))
        .await
        .unwrap_err();
    let refused = Refused::read(&status).unwrap();
    assert_eq!(refused.refusal.reason, Reason::UNKNOWN_PARTICIPANT);
    assert!(status.message().contains("nobody"), "{status}");

    let mut nonsense = operation("a", "x", 1);
    nonsense.action.as_mut().unwrap().type_url = "test/Nonsense".into();
    let response = cluster.run(request(vec![nonsense])).await.unwrap();
    assert_eq!(response.outcome(), v1::Outcome::Aborted);
    assert_eq!(
        response.refusal.unwrap().reason,
        Reason::INVALID_ACTION.as_str()
    );
    cluster.stop();
}

#[tokio::test(flavor = "current_thread")]
async fn many_at_once_neither_make_nor_lose_anything() {
    let cluster = endowed().await;
    // One payer, so that they queue; a payee each, for two queues in different
    // orders would be a deadlock.
    let run = |payee| {
        let request = transfer("alice", &format!("payee-{payee}"), 2);
        Box::pin(cluster.run(request))
    };
    let mut runs: Vec<_> = (0..100).map(run).collect();
    let (mut committed, mut aborted) = (0, 0);
    std::future::poll_fn(|context| {
        runs.retain_mut(|run| match run.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(response) => {
                match response.unwrap().outcome() {
                    v1::Outcome::Committed => committed += 1,
                    _ => aborted += 1,
                }
                false
            }
        });
        if runs.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    drop(runs);
    assert_eq!((committed, aborted), (50, 50), "a hundred pays for fifty");
    assert_eq!(cluster.read("a", "alice").await, 0);
    let mut sum = 0;
    for payee in 0..100 {
        sum += cluster.read("b", &format!("payee-{payee}")).await;
    }
    assert_eq!(sum, 100);
    let mut admin = AdminServiceClient::new(cluster.channel());
    let figures = admin
        .get_statistics(v1::GetStatisticsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (figures.committed, figures.aborted, figures.running),
        (152, 50, 0)
    );
    cluster
        .until(async |cluster| {
            let mut admin = AdminServiceClient::new(cluster.channel());
            let doubt = admin
                .list_in_doubt(v1::ListInDoubtRequest {})
                .await
                .unwrap();
            doubt.into_inner().transactions.is_empty()
        })
        .await;
    cluster.stop();
}
