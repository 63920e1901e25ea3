//! Sagas: transactions that belong together, and are undone one by one where they
//! cannot all be done.
//!
//! A saga is a graph of *steps*. Each step is a transaction of its own, and has a
//! *compensation*, another transaction that takes its effect back. So a saga holds
//! no lock from one step to the next, and may take days; the price is that others
//! see what it has done so far.
//!
//! ```text
//!   RUNNING ──all steps are done──▶ COMPLETED
//!     │  a step has failed, or the saga was cancelled
//!     ▼
//!   COMPENSATING ──nothing is left──▶ COMPENSATED
//!     │
//!     ▼          ▲
//!   STUCK ───────┘ when people have resolved it
//! ```
//!
//! This module has what a saga is: its [`definition`], checked as a [`graph`], and
//! its [`state`], which only a [`fact`] from the log changes. What to do next, and the
//! transactions that do it, belong to the coordinator.

pub mod definition;
pub mod fact;
pub mod graph;
pub mod state;
pub mod view;

pub use definition::{
    Compensation, Definition, Operation, Reference, Retry, Step, StepName, StepNameError,
};
pub use fact::{Ended, Fact, Hand, Kept, Resolution, StepState, Way};
pub use graph::{Graph, Invalid};
pub use state::{End, Progress, Saga, Snapshot, Turn};
pub use view::{State, StepView, View};
