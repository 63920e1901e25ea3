//! A participant's node, spoken to as a coordinator would.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod border;
mod exchange;
mod node;
mod promises;
mod store;
