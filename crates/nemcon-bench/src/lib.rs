//! Workloads that are put on a cluster, and what is measured of it.
//!
//! ```text
//!   Plan ─▶ Cluster ─▶ accounts ─▶ ┌ warm-up, measured ┐ ─▶ books ─▶ Report
//!           there, or  opened      │  load ─▶ Subject  │    add up
//!           spawned    and counted └ for each row, each round ┘
//! ```
//!
//! What it promises:
//! - **No omission.** With a rate, each transaction has a time at which it was to
//!   begin, and its latency counts from there, however late the load generator or
//!   the cluster was. Those that never began are counted.
//! - **No try is dropped.** Each ends as committed, refused by the business, in a
//!   conflict, as a deadlock's victim, failed or unknown, and none is tried again
//!   behind the figures.
//! - **The books are read at the end.** What all transactions have moved, those of
//!   the warm-up included, must be what the accounts have changed by.
//! - **Rounds go around all rows**, so that a machine that grows slower does not
//!   make the last row look slow. Figures are medians of rounds.
//! - Everything is bounded: rows, rounds, time, transactions in flight.
//!
//! What it does not do: the client runs on the same machine and takes its share of
//! the cores. A cluster on several machines is measured from one of its own.

mod accounts;
mod books;
mod chance;
mod cluster;
mod cpu;
mod error;
mod fate;
mod load;
mod plan;
mod population;
mod report;
mod run;
mod setting;
mod submit;
mod tally;
mod workload;

pub use books::Books;
pub use chance::Chance;
pub use cluster::{Cluster, Spawn};
pub use cpu::{Cpu, Meter};
pub use error::BenchError;
pub use fate::{Effect, Fate, Try};
pub use load::{IN_FLIGHT_MAX, Load, Measured, RATE_MAX, Spans, Subject, measure};
pub use plan::{
    ACCOUNTS_MAX, ACCOUNTS_MIN, Manner, PARTICIPANTS_MAX, PARTICIPANTS_MIN, Plan, ROUNDS_MAX,
    ROWS_MAX, SECONDS_MAX, WorkloadKind,
};
pub use population::Skew;
pub use report::{FORMAT, Fates, Figures, Report, Row};
pub use run::run;
pub use setting::Setting;
pub use submit::Transport;
