//! How a command ends, and what is said when it does not end well.
//!
//! ```text
//!   0 done   1 refused or aborted   2 bad usage   3 outcome unknown   4 unreachable
//! ```
//!
//! A script may rest on the difference between 1 and 3: after 1 nothing has been
//! done, after 3 it may have been. So whatever is not certain is 3.
//!
//! Each message names the thing, its value and what is allowed, and says what to
//! do next, on one line.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use nemcon_bench::BenchError;
use nemcon_client::ClientError;
use nemcon_core::coordinator::record::Cause;
use nemcon_core::id::{NameError, ParticipantName, SagaId, TransactionId};
use nemcon_core::reason::{Reason, Refusal};
use nemcon_ledger::reason as bank;
use nemcon_node::node::NodeError;
use nemcon_wal::OpenError;
use nemcon_wal::backup::RestoreError;
use nemcon_wal::backup::folder::FolderError;

use crate::json::JsonError;

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// Somebody said no, and nothing was done.
    Refused = 1,
    /// The command line or a file makes no sense.
    Usage = 2,
    /// It may have been done.
    Unknown = 3,
    /// Nobody answers, and nothing was done.
    Unreachable = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody listens at the coordinator's address.
    #[error(
        "no coordinator answers at {url} ({why}): is it running? start one with `nemcon up`, \
         or name another with --coordinator"
    )]
    NoCoordinator {
        /// Where one was looked for.
        url: String,
        /// What was found.
        why: String,
    },
    /// Somebody listens there, but no coordinator.
    #[error(
        "what answers at {url} is no coordinator, or none that serves ({what}): another program \
         or a bank may have that port; name the coordinator with --coordinator"
    )]
    NotACoordinator {
        /// Where one was looked for.
        url: String,
        /// What it said instead.
        what: String,
    },
    /// No participant of that name is registered.
    #[error(
        "no bank {name} is registered at {url}; {}; `nemcon participants list` shows them",
        registered(known)
    )]
    NoSuchBank {
        /// The name.
        name: ParticipantName,
        /// The coordinator.
        url: String,
        /// Who is registered.
        known: Vec<ParticipantName>,
    },
    /// A participant is registered, and does not answer its coordinator.
    #[error(
        "bank {name} does not answer at {address}: is it running? Nothing has been done; start \
         it again with its data directory, then repeat this"
    )]
    BankDown {
        /// Which.
        name: ParticipantName,
        /// Where it was.
        address: String,
    },
    /// A participant has gone while it was asked, and it may have decided.
    #[error(
        "bank {name} does not answer at {address}, and may have decided before: the outcome of \
         transaction {transaction} is not known. Start it again with its data directory, then \
         ask: `nemcon txn show {transaction}`"
    )]
    DownInBetween {
        /// The transaction.
        transaction: TransactionId,
        /// The bank.
        name: ParticipantName,
        /// Where it was.
        address: String,
    },
    /// Banks that were waited for did not come.
    #[error(
        "{} not registered at {url}, or not answering, after {seconds} s: {}; start them, for \
         example with `nemcon up --banks NAME,NAME`, or name another coordinator with \
         --coordinator",
        if names.len() == 1 { "a bank is" } else { "banks are" },
        listed(names)
    )]
    BanksMissing {
        /// Which.
        names: Vec<ParticipantName>,
        /// The coordinator.
        url: String,
        /// How long they were waited for.
        seconds: u64,
    },
    /// The transaction aborted: an outcome, and durable.
    #[error("{}; transaction {transaction} aborted, nothing has been done{}", no(cause), advice(&cause.refusal.reason))]
    Aborted {
        /// Which.
        transaction: TransactionId,
        /// Why.
        cause: Cause,
    },
    /// A saga waits for people, and somebody waits for it.
    #[error(
        "saga {saga} is stuck, and waits for people: see why with `nemcon saga show {saga}`, then \
         `nemcon saga resume {saga}` or `nemcon saga resolve {saga} STEP`"
    )]
    SagaStuck {
        /// Which.
        saga: SagaId,
    },
    /// The coordinator gave no outcome.
    #[error("{0}{next}", next = next_step(.0))]
    Client(Box<ClientError>),
    /// A call to a participant failed.
    #[error("{name} at {address} does not answer: {why}; is it running?")]
    ParticipantSilent {
        /// Which.
        name: String,
        /// Where.
        address: String,
        /// What was found.
        why: String,
    },
    /// An operator's order to a participant was not answered in time.
    #[error(
        "{name} at {address} does not answer: {why}. It may have done what it was told: see \
         there, or say it again"
    )]
    OrderUnanswered {
        /// Which.
        name: String,
        /// Where.
        address: String,
        /// What was found.
        why: String,
    },
    /// A call to a node of whatever kind failed.
    #[error("the node at {url} does not answer: {why}; is it running, and the right one?")]
    NodeSilent {
        /// Where.
        url: String,
        /// What was found.
        why: String,
    },
    /// Refused without a transaction.
    #[error("{0}")]
    Refused(String),
    /// The command line makes no sense in a way that its grammar does not catch.
    #[error("{0}")]
    Usage(String),
    /// A name is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file cannot be written. What was there before is as it was.
    #[error("cannot write {}: {source}", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A picture cannot be drawn: a bug.
    #[error("{0}")]
    Undrawable(String),
    /// A file is not what it should be.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A message and its JSON do not fit.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// An answer cannot be read: another version.
    #[error("the answer makes no sense: {0}; are nemcon and the nodes of one version?")]
    Nonsense(String),
    /// A node of `nemcon up` did not start, or ended badly.
    #[error("{node}: {}", nemcon_node::node::Chain(source.as_ref()))]
    Node {
        /// Which.
        node: String,
        /// Why.
        source: Box<NodeError>,
    },
    /// A log cannot be opened, or is not whole.
    #[error("{}", nemcon_node::node::Chain(.0.as_ref()))]
    Log(Box<OpenError>),
    /// A backup cannot be written or read.
    #[error("{}", nemcon_node::node::Chain(.0.as_ref()))]
    Folder(Box<FolderError>),
    /// A backup cannot be restored.
    #[error("{}", nemcon_node::node::Chain(.0.as_ref()))]
    Restore(Box<RestoreError>),
    /// A bench cannot be run.
    #[error("{0}")]
    Bench(Box<BenchError>),
    /// The operating system refused.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(Box::new(error))
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        match error {
            BenchError::Client(error) => error.into(),
            other => Self::Bench(Box::new(other)),
        }
    }
}

impl Failure {
    /// The exit code that goes with it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::NoCoordinator { .. }
            | Self::NotACoordinator { .. }
            | Self::BankDown { .. }
            | Self::BanksMissing { .. }
            | Self::ParticipantSilent { .. }
            | Self::NodeSilent { .. } => Exit::Unreachable,
            Self::NoSuchBank { .. }
            | Self::Aborted { .. }
            | Self::Refused(_)
            | Self::Nonsense(_)
            | Self::Node { .. }
            | Self::Log(_)
            | Self::Folder(_)
            | Self::Restore(_)
            | Self::System { .. }
            | Self::Unwritable { .. }
            | Self::Undrawable(_) => Exit::Refused,
            Self::Usage(_)
            | Self::Name(_)
            | Self::Unreadable { .. }
            | Self::Malformed { .. }
            | Self::Json(_) => Exit::Usage,
            Self::DownInBetween { .. } | Self::OrderUnanswered { .. } | Self::SagaStuck { .. } => {
                Exit::Unknown
            }
            Self::Bench(error) => crate::bench::exit_of(error, exit_of),
            Self::Client(error) => exit_of(error),
        }
    }
}

/// The same for what the client says.
fn exit_of(error: &ClientError) -> Exit {
    match error {
        ClientError::Address(_) => Exit::Usage,
        ClientError::Unreachable { .. } => Exit::Unreachable,
        ClientError::Refused(_) => Exit::Refused,
        // An answer that cannot be read may have been "committed".
        ClientError::Unknown { .. }
        | ClientError::SagaUnknown { .. }
        | ClientError::Protocol { .. } => Exit::Unknown,
    }
}

/// What to do after an error of the client.
fn next_step(error: &ClientError) -> String {
    match error {
        ClientError::Unknown { transaction, .. } => {
            format!(": `nemcon txn show {transaction}`. Until then take it as neither")
        }
        ClientError::SagaUnknown { saga, .. } => {
            format!(": `nemcon saga show {saga}`. Until then take it as neither")
        }
        ClientError::Refused(refused) => advice(&refused.refusal.reason),
        ClientError::Address(_)
        | ClientError::Unreachable { .. }
        | ClientError::Protocol { .. } => String::new(),
    }
}

/// A no, with the word that programs and `docs/errors.md` know it by.
pub(crate) fn no(cause: &Cause) -> String {
    let Cause {
        refusal: Refusal {
            reason, message, ..
        },
        participant,
    } = cause;
    match participant {
        Some(name) => format!("{name}: {message} ({reason})"),
        None => format!("{message} ({reason})"),
    }
}

/// What to do about a no, where that is not plain from the no itself.
fn advice(reason: &Reason) -> String {
    let advice = match reason {
        r if *r == bank::UNKNOWN_ACCOUNT => {
            "open it with `nemcon bank open BANK/ACCOUNT --currency CODE`, or see which there \
             are with `nemcon bank accounts`"
        }
        r if *r == bank::ACCOUNT_EXISTS => {
            "or see what there is with `nemcon bank show BANK/ACCOUNT`"
        }
        r if *r == bank::INSUFFICIENT_FUNDS => {
            "move less, or see the balance with `nemcon bank show BANK/ACCOUNT`"
        }
        r if *r == bank::CURRENCY_MISMATCH => "name the account's own currency with --currency",
        r if *r == bank::BALANCE_NOT_ZERO => {
            "move the money elsewhere first, with `nemcon bank transfer`"
        }
        r if *r == Reason::UNKNOWN_PARTICIPANT => "see `nemcon participants list`",
        r if *r == Reason::UNKNOWN_TRANSACTION => "see `nemcon txn list`",
        r if *r == Reason::UNKNOWN_SAGA => "see `nemcon saga list`",
        r if *r == Reason::PARTICIPANT_BUSY => {
            "start it again so that it can, or see what waits with `nemcon in-doubt list`"
        }
        r if *r == Reason::LOCK_TIMEOUT || *r == Reason::DEADLINE_EXCEEDED => {
            "somebody else held the data, or a node did not answer in time: run it again"
        }
        r if *r == Reason::DEADLOCK => "nobody did anything wrong: run it again",
        r if *r == Reason::TOO_MANY_WAITERS => {
            "see who waits for whom with `nemcon waits`, and run it again later"
        }
        _ => return String::new(),
    };
    format!("; {advice}")
}

/// The end of a sentence about a name that is not among them.
fn registered(names: &[ParticipantName]) -> String {
    match names {
        [] => "none is".to_owned(),
        names => format!("there are {}", listed(names)),
    }
}

/// Names, separated by commas.
fn listed(names: &[ParticipantName]) -> String {
    let names: Vec<&str> = names.iter().map(ParticipantName::as_str).collect();
    names.join(", ")
}

/// Says on standard error why the command failed.
pub(crate) fn complain(error: &dyn Error) {
    // One line, whatever a cause from below may have had in it.
    let line = error.to_string();
    let words: Vec<&str> = line.split_whitespace().collect();
    eprintln!("nemcon: {}", words.join(" "));
}

#[cfg(test)]
mod tests {
    use nemcon_client::{Address, new_transaction_id};

    use super::*;

    fn url() -> Address {
        "http://127.0.0.1:7100".parse().unwrap()
    }

    fn name(text: &str) -> ParticipantName {
        text.parse().unwrap()
    }

    fn refused(reason: Reason) -> Cause {
        Cause {
            refusal: Refusal::new(reason, "account alice is not known"),
            participant: Some(name("bank-a")),
        }
    }

    #[test]
    fn what_may_have_been_done_is_never_called_refused() {
        let unknown = ClientError::Unknown {
            transaction: new_transaction_id(),
            coordinator: None,
            why: "no answer".into(),
        };
        let unreadable = ClientError::Protocol {
            address: url(),
            what: "?".into(),
        };
        for error in [unknown, unreadable] {
            assert_eq!(Failure::from(error).exit(), Exit::Unknown);
        }
    }

    #[test]
    fn every_end_has_its_code() {
        let nobody = |why: &str| ClientError::Unreachable {
            address: url(),
            why: why.into(),
        };
        let no = Refusal::new(Reason::UNKNOWN_TRANSACTION, "not known");
        let aborted = Failure::Aborted {
            transaction: new_transaction_id(),
            cause: refused(bank::UNKNOWN_ACCOUNT),
        };
        let bad = "x".parse::<Address>().unwrap_err();
        for (failure, exit) in [
            (nobody("refused").into(), Exit::Unreachable),
            (
                ClientError::Refused(Box::new(no.into())).into(),
                Exit::Refused,
            ),
            (ClientError::from(bad).into(), Exit::Usage),
            (aborted, Exit::Refused),
            (
                Failure::DownInBetween {
                    transaction: new_transaction_id(),
                    name: name("a"),
                    address: "x".into(),
                },
                Exit::Unknown,
            ),
            (
                Failure::OrderUnanswered {
                    name: "a".into(),
                    address: "x".into(),
                    why: "x".into(),
                },
                Exit::Unknown,
            ),
            (Failure::Usage("x".into()), Exit::Usage),
            (
                Failure::BankDown {
                    name: name("a"),
                    address: "x".into(),
                },
                Exit::Unreachable,
            ),
        ] {
            assert_eq!(failure.exit(), exit, "{failure}");
        }
        assert_eq!(ExitCode::from(Exit::Unreachable), ExitCode::from(4));
    }

    #[test]
    fn a_no_names_who_said_it_and_what_to_do() {
        let failure = Failure::Aborted {
            transaction: new_transaction_id(),
            cause: refused(bank::UNKNOWN_ACCOUNT),
        };
        let message = failure.to_string();
        let start = "bank-a: account alice is not known (UNKNOWN_ACCOUNT); transaction ";
        assert!(message.starts_with(start), "{message}");
        assert!(message.contains("nothing has been done; open it with `nemcon bank open"));
    }

    #[test]
    fn a_missing_bank_is_named_among_those_there_are() {
        let failure = |known: &[&str]| Failure::NoSuchBank {
            name: name("bank-z"),
            url: url().to_string(),
            known: known.iter().map(|text| name(text)).collect(),
        };
        let message = failure(&["bank-a", "bank-b"]).to_string();
        assert!(message.contains("no bank bank-z is registered at http://127.0.0.1:7100"));
        assert!(message.contains("there are bank-a, bank-b"), "{message}");
        assert!(failure(&[]).to_string().contains("none is"));
    }
}
