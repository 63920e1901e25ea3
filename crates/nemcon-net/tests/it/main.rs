//! Real connections on loopback: what a broken one looks like from outside.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use nemcon_core::message::Failure;
use nemcon_net::{Address, CALL_TIMEOUT, MESSAGE_BYTES_MAX, Unanswered, call, channel};
use nemcon_proto::v1;
use nemcon_proto::v1::admin_service_client::AdminServiceClient;
use tokio::net::TcpListener;

/// Calls a node and judges the status it gets.
async fn judge(address: &str) -> Unanswered {
    let address: Address = address.parse().unwrap();
    let mut client =
        AdminServiceClient::new(channel(&address)).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let request = v1::GetStatisticsRequest::default();
    let status = call(CALL_TIMEOUT, client.get_statistics(request))
        .await
        .unwrap_err();
    Unanswered::of(&status)
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(
        judge(&address).await,
        Unanswered::Failed(Failure::Unreachable)
    );
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_unreachable() {
    let judged = judge("http://no-such-host.invalid:7100").await;
    // A resolver that takes its time is cut off, and that proves nothing.
    let failed = [Failure::Unreachable, Failure::TimedOut].map(Unanswered::Failed);
    assert!(failed.contains(&judged), "{judged:?}");
}

#[tokio::test]
async fn a_connection_that_closes_under_a_call_may_have_carried_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let rude = tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            // Something of the call has arrived before the line goes dead.
            socket.readable().await.unwrap();
        }
    });
    assert_eq!(judge(&address).await, Unanswered::Failed(Failure::TimedOut));
    rude.abort();
}

#[tokio::test]
async fn a_node_that_says_nothing_may_have_taken_it_in() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    // Connections are accepted by the system and never looked at.
    assert_eq!(judge(&address).await, Unanswered::Failed(Failure::TimedOut));
    drop(listener);
}
