//! Tests of the whole house: its documents, and its programs as processes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::print_stdout,
    reason = "what a test has seen is shown if it fails"
)]

mod architecture;
mod away;
mod backup;
mod bench;
mod check;
mod cluster;
mod containers;
mod contention;
mod disk;
mod doubt;
mod errors;
mod hold;
mod ids;
mod logs;
mod money;
mod newcomer;
mod orders;
mod outcome;
mod payers;
mod reflection;
mod replay;
mod sagas;
mod streams;
mod traces;
