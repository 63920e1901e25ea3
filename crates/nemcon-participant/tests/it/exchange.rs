//! Many calls in one message.

use nemcon_core::message::{Operation, Payload};
use nemcon_core::reason::Reason;
use nemcon_net::Refused;
use nemcon_proto::convert;
use nemcon_proto::v1;
use nemcon_proto::v1::exchange_answer::Response;
use nemcon_proto::v1::participant_service_client::ParticipantServiceClient;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::node::{Node, start};
use crate::store::add;

fn call(number: u64, request: convert::Request) -> v1::ExchangeCall {
    let request = request.for_exchange().unwrap();
    v1::ExchangeCall {
        number,
        request: Some(request),
        trace: None,
    }
}

fn operation(amount: i64) -> Operation<nemcon_core::message::Payload> {
    Operation {
        action: Ok(add("alice", amount)),
        read_only: false,
        inputs: Vec::new(),
    }
}

/// Sends frames and nothing after them, and gives all answers by their number.
async fn exchange(
    node: &Node,
    frames: Vec<v1::ExchangeRequest>,
) -> std::collections::BTreeMap<u64, Response> {
    let mut client = ParticipantServiceClient::new(node.channel());
    let stream = client.exchange(tokio_stream::iter(frames)).await.unwrap();
    let mut stream = stream.into_inner();
    let mut answers = std::collections::BTreeMap::new();
    while let Some(frame) = stream.message().await.unwrap() {
        for answer in frame.answers {
            let twice = answers.insert(answer.number, answer.response.unwrap());
            assert_eq!(twice, None, "call {} has two answers", answer.number);
        }
    }
    answers
}

#[tokio::test(flavor = "current_thread")]
async fn each_call_of_a_frame_has_its_own_answer_and_a_bad_one_harms_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), vec![]).unwrap();
    let nobody = v1::CommitRequest {
        header: None,
        attempt: None,
    };
    let frame = v1::ExchangeRequest {
        calls: vec![
            call(7, node.prepare_request(vec![operation(5)])),
            call(8, convert::Request::Commit(nobody)),
            v1::ExchangeCall {
                number: 9,
                request: None,
                trace: None,
            },
            call(10, node.commit_request()),
        ],
    };
    let answers = exchange(&node, vec![frame]).await;
    assert_eq!(answers.keys().collect::<Vec<_>>(), [&7, &8, &9, &10]);
    match &answers[&7] {
        Response::Prepare(vote) => assert_eq!(vote.vote(), v1::Vote::Yes, "{vote:?}"),
        other => panic!("{other:?}"),
    }
    match &answers[&8] {
        Response::Status(told) => {
            let refused = Refused::read(&convert::status(told.clone())).unwrap();
            assert_eq!(refused.refusal.reason, Reason::INVALID_REQUEST);
            assert!(told.message.starts_with("attempt is missing"), "{told:?}");
        }
        other => panic!("{other:?}"),
    }
    match &answers[&9] {
        Response::Status(told) => assert_eq!(told.code, i32::from(Code::Unimplemented)),
        other => panic!("{other:?}"),
    }
    // The commit came behind the prepare in the same frame, and met its promise.
    assert!(matches!(&answers[&10], Response::Commit(_)), "{answers:?}");
    let alice = crate::store::Add::nothing_to("alice");
    let peeked = node.inside.peek(alice).await.unwrap();
    assert_eq!(peeked.committed.unwrap(), 5);
    node.stop();
}

#[tokio::test(flavor = "current_thread")]
async fn a_node_that_stops_ends_its_streams() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), vec![]).unwrap();
    let mut client = ParticipantServiceClient::new(node.channel());
    let open = tokio_stream::pending::<v1::ExchangeRequest>();
    let mut answers = client.exchange(open).await.unwrap().into_inner();
    node.stop();
    assert!(matches!(answers.message().await, Ok(None)));
}

#[tokio::test(flavor = "current_thread")]
async fn a_repeat_on_another_stream_is_the_same_promise() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), vec![]).unwrap();
    let frame = |number| v1::ExchangeRequest {
        calls: vec![call(number, node.prepare_request(vec![operation(5)]))],
    };
    let first = exchange(&node, vec![frame(1)]).await;
    let again = exchange(&node, vec![frame(2), frame(3)]).await;
    let vote = |response: &Response| match response {
        Response::Prepare(vote) => vote.vote(),
        other => panic!("{other:?}"),
    };
    assert_eq!(vote(&first[&1]), v1::Vote::Yes);
    assert_eq!(vote(&again[&2]), v1::Vote::Yes);
    assert_eq!(vote(&again[&3]), v1::Vote::Yes);
    node.stop();
}

/// Sends frames of any kind, and gives the status with which the stream ends.
async fn ends_with<T: prost::Message + Default + 'static>(node: &Node, frames: Vec<T>) -> Status {
    let mut grpc = tonic::client::Grpc::new(node.channel());
    grpc.ready().await.unwrap();
    let path = "/nemcon.v1.ParticipantService/Exchange".parse().unwrap();
    let frames = Request::new(tokio_stream::iter(frames));
    let codec = ProstCodec::<T, v1::ExchangeResponse>::default();
    let answers = grpc.streaming(frames, path, codec).await.unwrap();
    let mut answers = answers.into_inner();
    loop {
        match answers.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ends as if all were well"),
            Err(status) => return status,
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_frame_that_cannot_be_read_ends_the_stream_and_is_told_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), vec![]).unwrap();
    // A number where the calls should be.
    let garbled = v1::ExchangeCall {
        number: 7,
        request: None,
        trace: None,
    };
    let status = ends_with(&node, vec![garbled]).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let refused = Refused::read(&status).unwrap();
    assert_eq!(refused.refusal.reason, Reason::INVALID_REQUEST);
    let message = status.message();
    assert!(message.contains("ExchangeRequest.calls"), "{message}");
    assert!(message.contains("want an ExchangeRequest"), "{message}");

    let max = nemcon_net::NODE_MESSAGE_BYTES_MAX;
    let long = Payload {
        type_url: String::new(),
        value: vec![0; max],
    };
    let operation = Operation {
        action: Ok(long),
        read_only: false,
        inputs: Vec::new(),
    };
    let frame = v1::ExchangeRequest {
        calls: vec![call(1, node.prepare_request(vec![operation]))],
    };
    let status = ends_with(&node, vec![frame]).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let message = status.message();
    let allowed = format!("at most {max} bytes");
    assert!(message.contains(&allowed), "{message}");
    node.stop();
}
