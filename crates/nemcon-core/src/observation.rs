//! What a machine has seen that is worth counting.
//!
//! Observations are facts for whoever measures, neither records nor effects: they
//! are not logged, promise nothing, ask for nothing, and a machine steps the same
//! whether they are kept or not ([`crate::output::Output::keep_observations`]).
//! Durations in them are differences of [`crate::time::Tick`]s, which the shell
//! reads once for each batch. Each begins and ends in the machine's own state, so
//! what never ends leaves nothing behind but that state itself.

use crate::coordinator::statistics::Sample;
use crate::time::Elapsed;

/// A fact. How many there can be is bounded by the events that bring them: a step
/// makes at most one for each transaction, wait or deadlock that it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// At a coordinator: a transaction has ended.
    TransactionEnded(Sample),
    /// At a participant: a wait for a lock has ended, with the lock or without.
    WaitEnded {
        /// How long it was.
        waited: Elapsed,
    },
    /// A deadlock was broken: one among those who wait here, at a participant; one
    /// across participants, at the coordinator that found it.
    DeadlockBroken,
}
