//! The coordinator node: the coordinator machine of `nemcon-core`, on the
//! network and on disk.
//!
//! ```text
//!   clients       ── TransactionService ──┐                      ┌── Prepare, Commit, … ──▶
//!   participants  ── OutcomeService ──────┼─▶ Coordinator ─▶ Hands                participants
//!   operators     ── AdminService ────────┘   (nemcon-core)      └── watchers
//! ```
//!
//! Nothing here decides. A service parses a request, hands it to the machine and
//! waits; [`start`] puts all of it on a thread of its own. So a process can hold
//! several coordinators, each with its identity and its log.
//!
//! What a caller does never undoes what it asked for: one that hangs up, or
//! whose deadline passes, only stops waiting. The transaction has a deadline of
//! its own, and its outcome can be asked for by id.

mod api;
mod exchange;
mod hash;
mod perform;
mod settings;
mod start;
mod traces;
mod watch;

pub use settings::Settings;
pub use start::start;
