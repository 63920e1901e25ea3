//! Histories that must fail, by name; histories that must pass; and a checker
//! that tries all orders to hold the real one against.

mod accepted;
mod anomalies;
mod bank;
mod brute_force;
mod notation;
mod plan;
mod properties;
mod speed;
mod words;
