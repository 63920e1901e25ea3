//! A participant's node, spoken to as a coordinator would.
#![allow(clippy::unwrap_used)] // in the helpers of tests, as in tests

mod border;
mod node;
mod promises;
mod store;
