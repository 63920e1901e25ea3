//! What is turned away before it reaches the data.

use nemcon_core::message::{Operation, Payload};
use nemcon_core::reason::Reason;
use nemcon_net::Refused;
use nemcon_proto::v1;
use tonic::Code;

use crate::node::{attempt, start};
use crate::store::add;

#[tokio::test(flavor = "current_thread")]
async fn an_action_that_makes_no_sense_becomes_a_no_vote() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), vec![]).unwrap();
    let nonsense = Payload {
        type_url: "test/Nonsense".into(),
        value: vec![],
    };
    let operation = Operation {
        action: Ok(nonsense),
        read_only: false,
        inputs: Vec::new(),
    };
    let vote = node.prepare(vec![operation]).await.unwrap();
    assert_eq!(vote.vote(), v1::Vote::No);
    let refusal = vote.refusal.unwrap();
    assert_eq!(refusal.reason, Reason::INVALID_ACTION.as_str());
    assert!(
        refusal.message.contains("test/Nonsense"),
        "{}",
        refusal.message
    );
    node.stop();
}

#[tokio::test(flavor = "current_thread")]
async fn an_action_is_given_the_inputs_that_came_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), vec![]).unwrap();
    let number = |text: &str| Payload {
        type_url: "test/Number".into(),
        value: text.into(),
    };
    let operation = |inputs| Operation {
        action: Ok(add("alice", 5)),
        read_only: false,
        inputs,
    };
    let vote = node.prepare(vec![operation(vec![number("30")])]).await;
    let vote = vote.unwrap();
    assert_eq!(vote.vote(), v1::Vote::Yes, "{vote:?}");
    assert_eq!(vote.results[0].value, b"35");
    node.stop();

    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), vec![]).unwrap();
    let vote = node.prepare(vec![operation(vec![number("x")])]).await;
    let refusal = vote.unwrap().refusal.unwrap();
    assert_eq!(refusal.message, "input \"x\": want a number");
    node.stop();
}

#[tokio::test(flavor = "current_thread")]
async fn a_malformed_message_is_told_its_field() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), vec![]).unwrap();
    let status = node
        .outcomes()
        .get_outcome(v1::GetOutcomeRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("subject"), "{status}");

    let elsewhere = v1::AcknowledgeDamageRequest {
        attempt: Some(attempt().into()),
        participant: "b".into(),
    };
    let status = node
        .admin()
        .acknowledge_damage(elsewhere)
        .await
        .unwrap_err();
    assert!(status.message().contains("this is a"), "{status}");

    let report = v1::ReportHeuristicRequest::default();
    let status = node.outcomes().report_heuristic(report).await.unwrap_err();
    let refused = Refused::read(&status).unwrap();
    assert_eq!(refused.refusal.reason, Reason::WRONG_COORDINATOR);
    node.stop();
}

#[test]
fn a_coordinator_without_an_address_is_refused_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let error = start(&data, vec!["localhost:7100".into()])
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("localhost:7100") && error.contains("http://"),
        "{error}"
    );
    assert!(!data.exists());
}
