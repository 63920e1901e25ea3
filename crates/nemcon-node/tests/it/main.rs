//! The shell around toy machines.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod driver;
mod life;
mod toy;
