//! The client against a coordinator and a bank that fail as the script says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bank;
mod fake;
mod interactive;
mod questions;
mod rerun;
mod run;
mod stream;
