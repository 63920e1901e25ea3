//! Real processes for tests: built, started, killed, paused, and looked into.
//!
//! ```text
//!   a test ──▶ Node ──▶ Process ──▶ nemcon-bank --listen 127.0.0.1:PORT …
//!              │ │        │ kill -9, SIGSTOP, SIGCONT, SIGTERM
//!              │ │        └ output in files; their ends are shown if the test fails
//!              │ └ data directory, port: the same for all its lives
//!              └ ready file: says when it serves
//! ```
//!
//! This crate knows processes and nothing of transactions; what a cluster is, and
//! what must hold of one, is said by the tests (`tests/it`). Its rules:
//!
//! - The programs are those of this workspace, in the profile of the test:
//!   [`binary`] has cargo build them, once per run.
//! - Nothing is waited for by sleeping and hoping: [`until`] looks again and
//!   again, and gives up loudly.
//! - Nothing outlives its test: a [`Process`] is killed when it is dropped.
//!
//! A harness has no caller to hand an error to, so what goes wrong here panics,
//! and says what was being done.

mod binaries;
mod mount;
mod node;
mod patience;
mod port;
mod process;

pub use binaries::binary;
pub use mount::{Mounted, copy_at_once, make_image};
pub use node::Node;
pub use patience::until;
pub use port::Port;
pub use process::{Process, Signal};
