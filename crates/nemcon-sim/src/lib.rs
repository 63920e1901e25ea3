//! Proof by simulation: the machines of `nemcon-core` in a world where everything
//! goes wrong, and checkers that know what must hold all the same.
//!
//! ```text
//!   seed ──▶ plan ──▶ world ──▶ run: a failure, or none; what was reached
//!              ▲        │ real machines, parking, codec, log, ledger
//!   minimize ──┘        │ faulty network, disks, clocks; clients; an operator
//!                       ▼
//!                   checkers: one invariant to a file
//! ```
//!
//! - A seed gives the whole run bit for bit: time, order and chance are the
//!   world's own, and nothing runs beside it.
//! - A run has a safety phase, in which everything may go wrong and invariants are
//!   looked at all the time; then all is healed, and everything must finish within
//!   a bound; then every client must be able to learn its outcome.
//! - [`model`] drives the same machines through *every* schedule within a small
//!   bound, where the world takes some of a large one.
//! - With the feature `planted-bugs` the machines can be told to make one of the
//!   mistakes of [`nemcon_core::planted`], each of which must be caught.
//!
//! What is simulated is everything from the machines down to the order of writes.
//! What is not: gRPC, threads, sled, the operating system. These are under test
//! with real processes, in `nemcon-e2e`.

pub mod campaign;
pub mod chance;
pub mod checkers;
pub mod coverage;
pub mod history;
pub mod minimize;
pub mod model;
pub mod plan;
pub mod rows;
pub mod sagas;
pub mod subject;
mod world;

use nemcon_core::planted::Planted;
use nemcon_ledger::Ledger;

use plan::{Data, Plan};
use subject::Lists;
use world::World;
pub use world::{Row, Run};

/// Runs a plan, with machines that make the planted mistake, if there is one.
/// `story_until`: tells its story up to so many events.
#[must_use]
pub fn run(plan: &Plan, planted: Planted, story_until: u64) -> Run {
    match plan.shape.data {
        Data::Bank => World::<Ledger>::new(plan, planted, story_until).run(),
        Data::Lists => World::<Lists>::new(plan, planted, story_until).run(),
    }
}
