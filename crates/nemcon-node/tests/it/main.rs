//! The shell around toy machines.
#![allow(clippy::unwrap_used)] // in the helpers of tests, as in tests

mod driver;
mod life;
mod toy;
