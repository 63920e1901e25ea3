//! A tracer and a collector.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod collector;
mod export;
