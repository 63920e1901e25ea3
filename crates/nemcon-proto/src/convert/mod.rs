//! Wire to core and back.
//!
//! Core to wire is `From` and cannot fail; wire to core is `TryFrom` and names
//! the field that is wrong. Where neither side is a type of this crate
//! (`Any`, `Timestamp`, enums, which travel as `i32`) there are functions.
//!
//! Requests of clients and messages between nodes are read with different
//! patience. A client is told at once that an action is missing. A coordinator
//! that sends a participant such an action gets a vote, and the vote is no:
//! whatever carries an attempt must reach the machine that knows it.

mod admin;
mod answer;
mod error;
mod exchange;
mod frame;
mod id;
mod interactive;
mod lock;
mod outcome;
mod page;
mod saga;
mod statistics;
mod transaction;
mod value;

pub use admin::{Damage, HeuristicReport, Registration, Removal, Resolution};
pub use answer::{NoResponse, traced, waits};
pub use error::{WireError, kind_of};
pub use exchange::{Method, asked, responded, returned, status};
pub use frame::Request;
pub use id::{address, coordinator_id, participant_id, participant_name, transaction_id};
pub use interactive::{Begun, Opening, Piece};
pub use lock::{LOCK_NAME_BYTES_MAX, LOCKS_LIST_MAX, LocksList, LocksPage};
pub use outcome::Question;
pub use page::{LIST_MAX, Paged, Wanted};
pub use saga::{SagaDecision, SagaList, SagaPage, SagaStart, SagaStepDecision, saga_id, step_name};
pub use transaction::{Change, List, Page, Run};
pub use value::{any, millis, payload, timestamp};

#[cfg(test)]
mod sample;
