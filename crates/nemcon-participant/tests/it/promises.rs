//! What a participant has promised, it keeps.

use nemcon_core::message::Operation;
use nemcon_proto::convert::Question;
use nemcon_proto::v1;
use tonic::Code;

use crate::node::{attempt, start, transaction};
use crate::store::{Add, add, number};

#[tokio::test(flavor = "current_thread")]
async fn a_vote_survives_a_restart_and_waits_for_its_coordinator() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), vec![]).unwrap();
    let operation = Operation {
        action: Ok(add("alice", 5)),
        read_only: false,
        inputs: Vec::new(),
    };
    let vote = node.prepare(vec![operation.clone()]).await.unwrap();
    assert_eq!(vote.vote(), v1::Vote::Yes, "{vote:?}");
    assert_eq!(number(&vote.results[0].value), 5);
    let before = node.inside.peek(Add::nothing_to("alice")).await.unwrap();
    assert_eq!(before.committed.unwrap(), 0);
    assert_eq!(before.pending.unwrap().unwrap(), 5);
    node.stop();

    let node = start(dir.path(), vec![]).unwrap();
    let doubt = node
        .admin()
        .list_in_doubt(v1::ListAttemptsInDoubtRequest {})
        .await
        .unwrap();
    let [doubt] = <[_; 1]>::try_from(doubt.into_inner().attempts).unwrap();
    assert_eq!(doubt.attempt, Some(attempt().into()));
    assert_eq!(doubt.transaction_id, transaction().to_string());
    assert_eq!(doubt.locks, ["alice (exclusive)"]);
    let again = node.prepare(vec![operation]).await.unwrap();
    assert_eq!(again.vote(), v1::Vote::Yes);
    assert!(again.results_lost);

    // A peer learns nothing from one that is in doubt itself.
    let question = Question::Attempt {
        attempt: attempt(),
        asker: None,
    };
    let verdict = node
        .outcomes()
        .get_outcome(v1::GetOutcomeRequest::from(question))
        .await
        .unwrap();
    assert_eq!(verdict.into_inner().verdict(), v1::Verdict::Unknown);

    for _ in 0..2 {
        let acknowledged = node.commit().await.unwrap();
        assert_eq!(acknowledged.attempt, Some(attempt().into()));
    }
    let after = node.inside.peek(Add::nothing_to("alice")).await.unwrap();
    assert_eq!(after.committed.unwrap(), 5);
    assert!(after.pending.is_none());
    node.stop();
}

#[tokio::test(flavor = "current_thread")]
async fn an_operator_can_end_what_is_in_doubt() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), vec![]).unwrap();
    let resolve = v1::ResolveAttemptRequest {
        attempt: Some(attempt().into()),
        outcome: v1::Outcome::Committed.into(),
        reason: "the coordinator burnt down".into(),
    };
    let nothing = node
        .admin()
        .resolve_attempt(resolve.clone())
        .await
        .unwrap_err();
    assert!(!nothing.message().is_empty());
    let operation = Operation {
        action: Ok(add("alice", 5)),
        read_only: false,
        inputs: Vec::new(),
    };
    node.prepare(vec![operation]).await.unwrap();
    let silent = v1::ResolveAttemptRequest {
        reason: String::new(),
        ..resolve.clone()
    };
    let status = node.admin().resolve_attempt(silent).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    node.admin().resolve_attempt(resolve).await.unwrap();
    let after = node.inside.peek(Add::nothing_to("alice")).await.unwrap();
    assert_eq!(after.committed.unwrap(), 5);
    node.stop();
}
