//! Transactions that come many in one message.

use std::collections::BTreeMap;

use nemcon_core::reason::Reason;
use nemcon_net::Refused;
use nemcon_proto::convert;
use nemcon_proto::v1;
use nemcon_proto::v1::run_answer::Answer;

use crate::cluster::{Cluster, operation, request, stop, transfer};

/// Sends transactions in frames of three and nothing after them, and gives all
/// answers.
async fn run_all(
    cluster: &Cluster,
    requests: Vec<v1::RunTransactionRequest>,
) -> BTreeMap<u64, Answer> {
    let numbered = (1..)
        .zip(requests)
        .map(|(number, request)| v1::NumberedRun {
            number,
            request: Some(request),
            trace: None,
        });
    let numbered: Vec<_> = numbered.collect();
    let frames: Vec<_> = numbered
        .chunks(3)
        .map(|runs| v1::RunTransactionsRequest {
            runs: runs.to_vec(),
        })
        .collect();
    let mut transactions = cluster.transactions();
    let stream = transactions.run_transactions(tokio_stream::iter(frames));
    let mut stream = stream.await.unwrap().into_inner();
    let mut answers = BTreeMap::new();
    while let Some(frame) = stream.message().await.unwrap() {
        for answer in frame.answers {
            let twice = answers.insert(answer.number, answer.answer.unwrap());
            assert_eq!(twice, None, "{} has two answers", answer.number);
        }
    }
    answers
}

fn outcome(answer: &Answer) -> v1::Outcome {
    match answer {
        Answer::Response(response) => response.outcome(),
        Answer::Status(status) => panic!("{status:?}"),
    }
}

#[tokio::test(flavor = "current_thread")]
async fn each_has_its_outcome_and_what_is_wrong_with_one_harms_no_other() {
    let cluster = Cluster::start().await;
    let gift = request(vec![operation("a", "alice", 100)]);
    cluster.run(gift).await.unwrap();
    let (good, again) = (transfer("alice", "bob", 30), transfer("alice", "bob", 10));
    let reused = v1::RunTransactionRequest {
        operations: vec![operation("a", "x", 1)],
        ..again.clone()
    };
    cluster.run(again.clone()).await.unwrap();
    let nonsense = v1::RunTransactionRequest {
        transaction_id: "x".into(),
        ..good.clone()
    };
    let too_much = transfer("alice", "bob", 1_000);
    let requests = vec![good.clone(), again, reused, nonsense, too_much];
    let answers = run_all(&cluster, requests).await;
    assert_eq!(answers.len(), 5);
    assert_eq!(outcome(&answers[&1]), v1::Outcome::Committed);
    assert_eq!(outcome(&answers[&2]), v1::Outcome::Committed);
    assert_eq!(outcome(&answers[&5]), v1::Outcome::Aborted);
    let refused = |number| match &answers[&number] {
        Answer::Status(told) => Refused::read(&convert::status(told.clone())).unwrap(),
        Answer::Response(response) => panic!("{response:?}"),
    };
    let twice = refused(3);
    assert_eq!(twice.refusal.reason, Reason::TRANSACTION_ID_REUSED);
    assert!(twice.transaction.is_some() && twice.coordinator.is_some());
    let unread = refused(4);
    assert_eq!(unread.refusal.reason, Reason::TRANSACTION_ID_INVALID);
    assert_eq!(cluster.read("a", "alice").await, 60);
    assert_eq!(cluster.read("b", "bob").await, 40);
    cluster.stop();
}

#[tokio::test(flavor = "current_thread")]
async fn more_than_the_window_all_have_their_answer() {
    let cluster = Cluster::start().await;
    let one = |at: u32| request(vec![operation("a", &format!("x{}", at % 50), 1)]);
    let answers = run_all(&cluster, (0..2_000).map(one).collect()).await;
    assert_eq!(answers.len(), 2_000);
    for answer in answers.values() {
        assert_eq!(outcome(answer), v1::Outcome::Committed);
    }
    assert_eq!(cluster.read("a", "x7").await, 40);
    cluster.stop();
}

#[tokio::test(flavor = "current_thread")]
async fn a_coordinator_that_stops_ends_its_streams() {
    let Cluster {
        coordinator,
        stores,
        dir: _dir,
    } = Cluster::start().await;
    let channel = nemcon_net::channel(&coordinator.url().parse().unwrap());
    let mut client = v1::transaction_service_client::TransactionServiceClient::new(channel);
    let open = tokio_stream::pending::<v1::RunTransactionsRequest>();
    let mut answers = client.run_transactions(open).await.unwrap().into_inner();
    stop(coordinator);
    assert!(matches!(answers.message().await, Ok(None)));
    stores.into_iter().for_each(stop);
}

#[tokio::test(flavor = "current_thread")]
async fn a_frame_that_cannot_be_read_ends_the_stream_behind_the_answers_to_others() {
    let cluster = Cluster::start().await;
    let numbered = |number, request| v1::RunTransactionsRequest {
        runs: vec![v1::NumberedRun {
            number,
            request: Some(request),
            trace: None,
        }],
    };
    let good = numbered(1, request(vec![operation("a", "alice", 1)]));
    let long = v1::RunTransactionRequest {
        transaction_id: "x".repeat(nemcon_net::MESSAGE_BYTES_MAX),
        ..request(vec![operation("a", "alice", 1)])
    };
    let frames = tokio_stream::iter([good, numbered(2, long)]);
    let mut transactions = cluster.transactions();
    let stream = transactions.run_transactions(frames).await.unwrap();
    let mut stream = stream.into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(first.answers.len(), 1);
    let answer = first.answers[0].answer.clone().unwrap();
    assert_eq!(outcome(&answer), v1::Outcome::Committed);
    let status = stream.message().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
    let allowed = format!("at most {} bytes", nemcon_net::MESSAGE_BYTES_MAX);
    assert!(status.message().contains(&allowed), "{status:?}");
    cluster.stop();
}
