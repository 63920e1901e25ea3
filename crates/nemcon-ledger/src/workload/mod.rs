//! What banks are asked to do in tests and benchmarks. A workload makes actions;
//! who runs them, and in what order, is the caller's business.

pub mod transfer;
