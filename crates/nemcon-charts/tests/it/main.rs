//! What is in the pictures: texts, places, colours. Not their pixels, which another
//! version of what draws may set otherwise.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod drawing;
mod latency;
mod throughput;
mod waits;
