//! The protocol of nemcon, and nothing else.
//!
//! This crate decides; it never waits. It holds the coordinator and the
//! participant as plain state machines, the records they log, the locks they
//! take and the invariants they keep. What is *absent* is its contract:
//!
//! - no clock: every call is told the time;
//! - no chance: jitter comes from a seed given at construction;
//! - no hash map: everything is ordered, so that runs repeat;
//! - no async, no thread, no file, no socket.
//!
//! ```text
//!             events                      effects
//!   gRPC ───────────────▶ ┌─────────┐ ───────────────▶ gRPC
//!   timers ─────────────▶ │ machine │    `now`   at once
//!   the log ── Durable ─▶ └────┬────┘    `after` once durable, asks for a flush
//!                              │         `later` once durable, asks for nothing
//!                           `persist`
//!                              ▼
//!                             log
//! ```
//!
//! Every machine has the shape of [`machine::Machine`]. What must be durable
//! before it may be said is chosen by the lane of an [`output::Output`] and
//! nowhere else; [`parking::Parking`] keeps the promises back until the log has
//! caught up. The same code runs in the nodes, in the property tests, in the
//! model checker and in the simulator.
//!
//! The price of this shape: state lives in memory, and one thread steps a node's
//! machine. What it buys: a schedule that breaks an invariant is a list of
//! events that anyone can replay.
#![no_std]
#![warn(clippy::wildcard_enum_match_arm)]

extern crate alloc;

pub mod codec;
pub mod coordinator;
pub mod deadlock;
pub mod fingerprint;
pub mod history;
pub mod id;
pub mod invariants;
pub mod limits;
pub mod lock;
pub mod machine;
pub mod message;
pub mod observation;
pub mod output;
pub mod parking;
pub mod participant;
pub mod planted;
pub mod reason;
mod remembered;
pub mod resource;
pub mod saga;
pub mod time;
pub mod timers;
