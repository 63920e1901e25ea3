//! A coordinator and its participants, all in this process, over real ports and
//! real logs.
#![allow(clippy::unwrap_used)] // in the helpers of tests, as in tests

mod cluster;
mod register;
#[path = "../../../nemcon-participant/tests/it/store.rs"]
mod store;
mod transactions;
