//! The client against a coordinator and a bank that fail as the script says.
#![allow(clippy::unwrap_used)] // a test that cannot set up is to fail

mod bank;
mod fake;
mod interactive;
mod questions;
mod rerun;
mod run;
