//! Channels, addresses, and the one mapping between our errors and gRPC status.
//!
//! ```text
//!     node                         wire                        node
//!   Refused ── to_status ──▶ code, ErrorInfo, ──▶ Unanswered::of ─▶ Refused
//!   WireError ─┘              RetryInfo            │
//!                             broken connection ───┴──────────────▶ Failure
//! ```
//!
//! What a caller may conclude from a call that brought no response is decided
//! here and nowhere else, since money hangs on it: a connection that broke says
//! nothing about what the other side did.
//!
//! | code | what a client does |
//! |---|---|
//! | `UNAVAILABLE` | sends the same request again |
//! | `RESOURCE_EXHAUSTED` | the same, more slowly |
//! | `DEADLINE_EXCEEDED` | the outcome is unknown: asks by id, or sends again |
//! | `ABORTED` | runs the transaction again, under a new id |
//! | any other | gives up: the same request will be refused again |
//!
//! Transport security and the roles of peers come with a later version. Their
//! places are [`Address`], which alone knows schemes, and [`channel`] and
//! [`server`], which alone build endpoints.

mod address;
mod dialogue;
mod endpoint;
mod failure;
mod frame;
mod outbox;
mod status;
pub mod trace;

pub use address::{Address, AddressError};
pub use dialogue::{Asked, Dialogue, NotOpened, Opening, Standing, Talk, Way};
pub use endpoint::{
    CALL_TIMEOUT, CONNECT_TIMEOUT, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, MESSAGE_BYTES_MAX,
    NODE_MESSAGE_BYTES_MAX, ORDER_TIMEOUT, STREAMS_MAX, call, channel, server,
};
pub use failure::Unanswered;
pub use frame::{Answered, deliver};
pub use outbox::{FRAME_BYTES_MAX, Frames, Outbox};
pub use status::{
    DOMAIN, Refused, Shown, frame_status, response_status, retry_after, to_status, to_status_as,
    wire_status,
};
