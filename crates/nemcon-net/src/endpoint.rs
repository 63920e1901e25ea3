//! How nodes and clients connect, and with which limits.

use std::time::Duration;

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
/// The price is a frame of 17 bytes each way every 2 s on an idle connection. A
/// server that is not ours may think that too much and end the connection (gRPC has
/// a word for it, "too many pings"); then it is made again when it is needed.
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
/// A call that is abandoned resets its stream, and what the peer had under way for it
/// counts as an error of the peer. The usual limit of 1,024 of these would end the
/// connection, with all other calls on it, after so many time-outs in its life. It is
/// there against hostile peers; ours are those that we chose to call.
///
/// # Panics
/// Outside a tokio runtime.
#[must_use]
pub fn channel(address: &Address) -> Channel {
    Endpoint::from(address.uri().clone())
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .http2_max_local_error_reset_streams(None)
        .connect_lazy()
}

/// A server to add services to.
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
