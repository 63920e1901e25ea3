//! An inventory as its customers meet it: a coordinator and two inventories in this
//! process, each with its log in a temporary directory and on a port of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod size;
mod trips;
