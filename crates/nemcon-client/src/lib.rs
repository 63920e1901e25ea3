//! The Rust client: typed calls, and retries that are safe.
//!
//! ```text
//!   Transaction{id, operations} ── run ──▶ send ──▶ committed, with results
//!                                   ▲       │  └──▶ aborted, and why
//!                                   └───────┘
//!                            no answer: again, same id
//! ```
//!
//! A transaction has three outcomes: committed, aborted, unknown. The third is
//! what makes a client hard to write, and what this one takes off its caller:
//!
//! - What brought no answer is sent again under the *same* id. The coordinator
//!   runs an id once, however often it comes.
//! - A time-out is never taken for an abort. When [`Settings::give_up_after`] is
//!   over and the request may have been done, the answer is
//!   [`ClientError::Unknown`], with the id to ask by.
//! - After an answer that left it open, a request sent again names the
//!   coordinator that it went to first: another one cannot know.
//! - Only what certainly did not happen is run again under a *new* id, and only
//!   by [`Client::run_until_decided`]. The rerun names the first try, so that it
//!   keeps its age in the queue for locks.
//!
//! An interactive transaction ([`Client::begin`], [`Client::interact`]) keeps these
//! promises piece by piece. Only its commit can end in doubt.
//!
//! [`Client::streaming`] sends transactions many in one message, which costs a
//! fraction of the CPU and changes nothing of the above.
//!
//! A saga ([`Client::start_saga`]) is started under an id of its own, and joined by
//! whoever starts it again. It then goes on by itself; [`Client::watch_saga`] follows.
//!
//! The price: a call can take as long as the settings allow. What it buys: an
//! answer means what it says.

mod bank;
mod coordinator;
mod delivery;
mod error;
mod interactive;
mod saga;
mod settings;
mod stream;
mod transaction;

pub use bank::{
    Account, AccountPage, BankClient, Contra, Entry, NewAccount, Peeked, Statement, Transfer,
};
pub use coordinator::{Client, WINDOW_MAX, Watch};
pub use error::ClientError;
pub use interactive::{InteractError, Interactive, Lent, Terms, lock};
pub use saga::{NewSaga, SagaWatch, new_saga_id};
pub use settings::Settings;
pub use transaction::{ResultError, Transaction, new_transaction_id, operation, result};

/// What clients and coordinators share, so that a caller needs no other crate.
pub use nemcon_core::coordinator::event::{
    AddressedLock, AddressedOperation, Ending, Report, View, WaitsView,
};
pub use nemcon_core::coordinator::statistics::Statistics;
pub use nemcon_core::lock::{Mode, Token};
pub use nemcon_net::{Address, AddressError, Refused};
pub use nemcon_proto::convert::{
    Change, Damage, List, Page, SagaDecision, SagaList, SagaPage, SagaStepDecision,
};
pub use nemcon_trace::{Context as TraceContext, Tracer};
