//! How nodes and clients connect, and with which limits.

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Response, Status};

use crate::address::Address;

/// Longest time to connect.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest time for a call that waits for no lock.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest time for an order of an operator. It is answered when it is durable, and
/// a disk that is busy may take seconds for that; whoever ordered would rather wait
/// than wonder.
pub const ORDER_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection on which nothing was heard for so long is tried.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// How long the answer to such a trial may take, before the connection is given up.
/// Also for a peer that is alive and has not answered anything for so long, that
/// does no harm: its calls are made again on another connection.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of one message, in either direction: what gRPC implementations take
/// unless told otherwise, so that no client needs a setting.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of a message between nodes. What a client may send, or be sent, must be
/// able to travel on with what nodes add to it.
pub const NODE_MESSAGE_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// Calls in flight on one connection. The usual limit of 200 would make a
/// coordinator with a thousand transactions in flight wait for itself.
pub const STREAMS_MAX: u32 = 10_000;

/// A channel to a node. It connects when it is first used and again whenever it
/// has to, so a node that is down now is no error now.
///
/// Set [`MESSAGE_BYTES_MAX`] on the generated client as well: it is a limit of
/// the codec, not of the channel.
///
/// A network that is cut, and a peer whose machine or address has gone, send no
/// farewell. Until such a connection is given up, every call on it times out, also
/// when the network has long been whole again: TCP repeats what was lost after
/// 0.2, 0.4, 0.8 … seconds, so after a cut of 7 s it is silent for 6 s more, and if
/// the peer has another address by then, for ever. Nothing may be in doubt 5 s after
/// a network is whole again; so a connection is given up 4 s after the last that was
/// heard on it. A shorter cut than that is bridged by TCP, which is then silent for
/// no longer than the cut itself.
///
/// It is TCP that tries the connection (its own keep-alive, and `TCP_USER_TIMEOUT` for
/// what is under way), and not gRPC. Servers in other languages take a ping more often
/// than every five minutes for an attack, whatever is under way, and end the connection
/// with all its calls: "too many pings". Of TCP's trials they see nothing.
///
/// A call that is abandoned resets its stream, and what the peer had under way for it
/// counts as an error of the peer. The usual limit of 1,024 of these would end the
/// connection, with all other calls on it, after so many time-outs in its life. It is
/// there against hostile peers; ours are those that we chose to call.
///
/// # Panics
/// Outside a tokio runtime.
#[must_use]
pub fn channel(address: &Address) -> Channel {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_keepalive(Some(KEEP_ALIVE_INTERVAL));
    connector.set_keepalive_interval(Some(KEEP_ALIVE_TIMEOUT));
    // Elsewhere TCP gives up by its keep-alive alone, which tries only what is idle.
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(KEEP_ALIVE_INTERVAL + KEEP_ALIVE_TIMEOUT));
    Endpoint::from(address.uri().clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_max_local_error_reset_streams(None)
        .connect_with_connector_lazy(connector)
}

/// A server to add services to.
///
/// Its clients are tried with pings, which no client forbids: one that has gone holds
/// nothing for longer than [`KEEP_ALIVE_INTERVAL`] and [`KEEP_ALIVE_TIMEOUT`].
///
/// Whoever brings the listening socket sets TCP_NODELAY on what it accepts: this
/// setting reaches only sockets that the server binds itself. Without it a
/// connection was measured at 22 calls per second.
#[must_use]
pub fn server() -> Server {
    Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_MAX)
}

/// Waits for a call no longer than `limit`. What comes too late is abandoned,
/// and may have been done all the same.
///
/// # Errors
/// The status of the call; `DEADLINE_EXCEEDED` after `limit`.
pub async fn call<T>(
    limit: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => {
            let message = format!("no answer within {} ms", limit.as_millis());
            Err(Status::deadline_exceeded(message))
        }
    }
}
