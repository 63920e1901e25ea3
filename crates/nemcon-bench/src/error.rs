//! Why a bench cannot be run.

use std::io;
use std::path::PathBuf;

use nemcon_client::{ClientError, ResultError};
use nemcon_core::coordinator::record::Cause;
use nemcon_core::id::{ParticipantName, TransactionId};

/// Why a bench cannot be run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The plan asks for what cannot be.
    #[error("{0}")]
    Plan(String),
    /// A program is not where it is looked for.
    #[error(
        "there is no program {}: build it with `cargo build --release`, or say where it is with \
         NEMCON_BIN_DIR", .0.display()
    )]
    NoProgram(PathBuf),
    /// The operating system refused.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was being done.
        doing: String,
        /// Why not.
        source: io::Error,
    },
    /// A node that was started ended, or did not say in time that it serves.
    #[error("{node} does not serve ({what}); it said: {said}")]
    NotServing {
        /// Which.
        node: String,
        /// How it ended, or how long it was waited for.
        what: String,
        /// The end of what it wrote.
        said: String,
    },
    /// Banks are not there.
    #[error(
        "banks not registered at {url}, or not answering, after {seconds} s: {}",
        names.iter().map(ParticipantName::as_str).collect::<Vec<_>>().join(", ")
    )]
    BanksMissing {
        /// Which.
        names: Vec<ParticipantName>,
        /// The coordinator.
        url: String,
        /// How long they were waited for.
        seconds: u64,
    },
    /// Preparing or reading the accounts was refused.
    #[error("{doing}: {} ({}); transaction {transaction} aborted",
        cause.refusal.message, cause.refusal.reason)]
    Aborted {
        /// What was being done.
        doing: &'static str,
        /// In which transaction.
        transaction: TransactionId,
        /// Why not.
        cause: Box<Cause>,
    },
    /// The client got no answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// An answer is not what was asked for.
    #[error(transparent)]
    Result(#[from] ResultError),
}

impl BenchError {
    pub(crate) fn system(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::System { doing, source }
    }
}
