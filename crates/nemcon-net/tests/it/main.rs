//! Real connections on loopback: what a broken one looks like from outside.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use nemcon_core::message::Failure;
use nemcon_net::{
    Address, CALL_TIMEOUT, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, MESSAGE_BYTES_MAX, Unanswered,
    call, channel,
};
use nemcon_proto::v1;
use nemcon_proto::v1::admin_service_client::AdminServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

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

/// What a client says before its first frame, and the head of a frame: three bytes of
/// length, one of kind, one of flags, four of stream (RFC 9113, sections 3.4 and 4.1).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES: usize = 9;
const SETTINGS: u8 = 4;
const HEADERS: u8 = 1;
const PING: u8 = 6;

/// Reads the kinds of the frames that come, for as long as the caller waits.
async fn frames(mut socket: TcpStream, kinds: &mut Vec<u8>) {
    let mut preface = [0; PREFACE.len()];
    socket.read_exact(&mut preface).await.unwrap();
    assert_eq!(preface, *PREFACE);
    let nothing_special = [0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];
    socket.write_all(&nothing_special).await.unwrap();
    loop {
        let mut head = [0; FRAME_HEAD_BYTES];
        socket.read_exact(&mut head).await.unwrap();
        let length = usize::from_be_bytes([0, 0, 0, 0, 0, head[0], head[1], head[2]]);
        kinds.push(head[3]);
        socket.read_exact(&mut vec![0; length]).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_with_a_call_under_way_is_not_pinged() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: Address = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let waiting = tokio::spawn(async move {
        let mut client = AdminServiceClient::new(channel(&address));
        client
            .get_statistics(v1::GetStatisticsRequest::default())
            .await
    });
    let (socket, _) = listener.accept().await.unwrap();
    let mut kinds = Vec::new();
    // Long enough for whoever pings at intervals to have pinged.
    let watched = 2 * KEEP_ALIVE_INTERVAL + KEEP_ALIVE_TIMEOUT;
    timeout(watched, frames(socket, &mut kinds))
        .await
        .unwrap_err();
    assert!(kinds.contains(&HEADERS), "no call came: {kinds:?}");
    assert!(!kinds.contains(&PING), "{kinds:?}");
    waiting.abort();
}
