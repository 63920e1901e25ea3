//! Banks as their customers meet them: a coordinator and banks in this process,
//! each with its log in a temporary directory and on a port of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod accounts;
mod cluster;
mod coordinators;
mod fake;
mod hold;
mod interactive;
mod lost;
mod peek;
mod restart;
mod transfers;
