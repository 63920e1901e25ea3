//! The `nemcon` command: starts a cluster, moves money, looks at transactions,
//! and is the operator's way out.
//!
//! ```text
//!             ┌ up ────────────── coordinator and banks, in this process
//!   nemcon ───┼ bank, txn, saga ─ nemcon-client ──▶ coordinator ──▶ banks
//!             ├ participants ──── nemcon-client ──▶ coordinator
//!             │   └ check ──────────────────────▶ one participant, as its coordinator
//!             ├ waits, plot ───── nemcon-client ──▶ coordinator
//!             ├ locks, in-doubt, damage ──────────▶ each participant itself
//!             ├ backup, restore, wal ───────────── a node's data directory
//!             └ bench ─────────── nemcon-bench ──▶ a cluster, there or started for it
//! ```
//!
//! What it promises:
//! - the exit code says what is certain: see [`failure`];
//! - an error is one line, `nemcon: …`, that says what to do next;
//! - results go to standard output, everything else to standard error;
//! - whatever moves money is safe to interrupt, and says how to find out what
//!   became of it.

mod backup;
mod bank;
mod bench;
mod check;
mod cli;
mod damage;
mod failure;
mod in_doubt;
mod json;
mod listing;
mod locks;
mod money;
mod operator;
mod out;
mod participants;
mod path;
mod patience;
mod plot;
mod replay;
mod restore;
mod saga;
mod session;
mod signal;
mod stats;
mod table;
mod txn;
mod up;
mod waits;
mod wal;
mod whom;

use std::process::ExitCode;

/// See `docs/decisions/0013-allocator.md`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::main()
}
