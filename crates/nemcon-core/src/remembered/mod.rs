//! Remembering transactions that have ended, a million of them if need be.
//!
//! Coordinator and participant both do: it is why a transaction id never runs
//! twice. What each keeps of a transaction is its own; how these lie in memory
//! ([`shelf`]) and in the stored data ([`chunks`]) is the same.

pub(crate) mod chunks;
pub(crate) mod shelf;
