//! The shell around a machine: what waits, so that the core need not.
//!
//! `nemcon-core` decides, and knows no clock, no disk and no network. This crate
//! gives a machine all three and makes a node of it:
//!
//! ```text
//!            ┌────────────────────────── a node: one thread ──────────────────────────┐
//!   gRPC ───▶│ services ──▶ front ──▶ inbox ──▶ driver ──▶ machine (nemcon-core)      │
//!            │     ▲                              │  ▲                                │
//!            │     └───────── replies ◀── perform ┘  └── news ── log (nemcon-wal) ────┼─ its own
//!   peers ◀──┼───────────────── links ◀─────┘                                         │  thread
//!            └────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The parts, in the order in which one meets them:
//! - [`settings`]: defaults, file, environment, flags;
//! - [`node`]: the life of a node; [`node::start`] puts one on a thread;
//! - [`front`]: where services hand in requests, and wait;
//! - [`stream`]: many requests in one message, and their answers in one queue;
//! - [`driver`]: the loop that owns machine and log, and its [`driver::Perform`];
//! - [`peers`]: calls to other nodes;
//! - [`maintenance`]: the one service that all nodes have;
//! - [`metrics`]: what is measured, and the HTTP port that shows it;
//! - [`health`]: asks another process's node whether it serves;
//! - [`process`], [`telemetry`], [`stop`]: for `main` only.
//!
//! Contract:
//! - nothing is said before what it rests on is durable, and nothing at all
//!   after the log has failed;
//! - nothing is global, so many nodes can live in one process;
//! - every queue is bounded; where one is full, who can come again is turned
//!   away, and who cannot waits.
//!
//! The price: one core for each node. A machine is stepped by one thread, and
//! the node's network runs on the same one, since a hand-over between threads
//! costs more than the step it would free.

pub mod chance;
pub mod clock;
pub mod driver;
pub mod front;
pub mod health;
pub mod inbox;
pub mod log_news;
pub mod maintenance;
pub mod metrics;
pub mod node;
pub mod peers;
pub mod process;
pub mod replies;
pub mod server;
pub mod settings;
pub mod stop;
pub mod stream;
pub mod telemetry;
