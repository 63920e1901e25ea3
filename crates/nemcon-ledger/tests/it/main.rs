//! The ledger from outside: what it answers, locks, keeps and gives back.
#![expect(
    clippy::unwrap_used,
    reason = "the lint spares test functions, but not what they call"
)]

mod audit;
mod bank;
mod locks;
mod model;
mod movements;
mod refusals;
mod storage;
mod transfers;
