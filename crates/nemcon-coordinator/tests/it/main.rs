//! A coordinator and its participants, all in this process, over real ports and
//! real logs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cluster;
mod exchange;
mod metrics;
mod register;
mod runs;
#[path = "../../../nemcon-participant/tests/it/store.rs"]
mod store;
mod transactions;
