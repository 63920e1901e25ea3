//! The `nemcon` binary, run as people and scripts run it, against clusters of
//! its own on free ports and in directories that are thrown away.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cluster;
mod errors;
mod locks;
mod money;
mod plot;
mod replay;
mod txn;
mod up;
