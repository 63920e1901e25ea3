//! `nemcon txn`: transactions of any kind.

mod look;
mod run;
mod watch;

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use nemcon_client::{Address, Ending};
use nemcon_core::coordinator::event::State;
use nemcon_core::id::TransactionId;

use crate::failure::{Exit, Failure, no};
use crate::listing::Listing;
use crate::out::say;
use crate::session::Session;

pub(crate) use run::text;

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a transaction that is written down as JSON
    #[command(after_help = "\
The JSON is that of nemcon.v1.RunTransactionRequest, as grpcurl takes it. Without a transactionId \
one is chosen. The outcome is printed as JSON, results included.

Example:
  nemcon txn run - <<'END'
  {\"operations\": [
    {\"participant\": \"bank-a\", \"action\": {
      \"@type\": \"type.googleapis.com/nemcon.bank.v1.Withdraw\",
      \"account\": \"alice\", \"amountMinor\": 2500, \"currency\": \"CZK\"}},
    {\"participant\": \"bank-b\", \"action\": {
      \"@type\": \"type.googleapis.com/nemcon.bank.v1.Deposit\",
      \"account\": \"bob\", \"amountMinor\": 2500, \"currency\": \"CZK\"}}]}
  END")]
    Run {
        /// File with the JSON; - for standard input
        #[arg(value_name = "FILE|-")]
        file: PathBuf,
    },
    /// List transactions that run or are remembered, newest first
    #[command(after_help = "\
Examples:
  nemcon txn list --limit 20
  nemcon txn list --state committing --state preparing")]
    List(Listing<StateName>),
    /// Show one transaction: its states with their times, its participants
    #[command(after_help = "\
Exits with 0 whatever its outcome is; see `outcome` in the JSON.

Example:
  nemcon txn show 01890a5d-ac96-774b-bcce-b302099a8057")]
    Show {
        /// Its id
        #[arg(value_name = "TRANSACTION")]
        id: TransactionId,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Follow transactions, or one until it ends
    #[command(after_help = "\
Examples:
  nemcon txn watch            all, until ctrl-c
  nemcon txn watch 01890a5d-ac96-774b-bcce-b302099a8057")]
    Watch {
        /// Only this one
        #[arg(value_name = "TRANSACTION")]
        id: Option<TransactionId>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Ask a transaction to abort
    #[command(after_help = "\
Exits with 0 if it aborted, and with 1 if it was too late and it has committed.

Example:
  nemcon txn abort 01890a5d-ac96-774b-bcce-b302099a8057 --reason 'wrong account'")]
    Abort {
        /// Its id
        #[arg(value_name = "TRANSACTION")]
        id: TransactionId,
        /// Why; kept with the outcome
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        reason: String,
    },
}

/// A state, as the command line knows it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum StateName {
    Init,
    Preparing,
    Prepared,
    Committing,
    Committed,
    Aborting,
    Aborted,
}

impl From<StateName> for State {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Init => Self::Init,
            StateName::Preparing => Self::Preparing,
            StateName::Prepared => Self::Prepared,
            StateName::Committing => Self::Committing,
            StateName::Committed => Self::Committed,
            StateName::Aborting => Self::Aborting,
            StateName::Aborted => Self::Aborted,
        }
    }
}

/// Runs a command about transactions.
pub(crate) async fn run(command: Command, coordinator: &Address) -> Result<Exit, Failure> {
    let session = Session::open(coordinator);
    match command {
        Command::Run { file } => {
            // A file that makes no sense is found out before anybody is asked.
            let transaction = run::read(&file)?;
            run::run(&session.await?, transaction).await
        }
        Command::List(arguments) => look::list(&session.await?, arguments).await,
        Command::Show { id, json } => look::show(&session.await?, id, json).await,
        Command::Watch { id, json } => watch::run(&session.await?, id, json).await,
        Command::Abort { id, reason } => abort(&session.await?, id, &reason).await,
    }
}

/// Asks for an abort. It may come too late, which is a no.
async fn abort(session: &Session, id: TransactionId, reason: &str) -> Result<Exit, Failure> {
    match session.client().abort(id, reason).await? {
        Ending::Aborted(cause) => {
            say!("{id} aborted: {}", no(&cause));
            Ok(Exit::Done)
        }
        Ending::Committed(_) => {
            let why = format!("too late: transaction {id} has committed");
            Err(Failure::Refused(why))
        }
    }
}

/// A state as it is shown, as everywhere else.
const fn shown(state: State) -> &'static str {
    match state {
        State::Init => "INIT",
        State::Preparing => "PREPARING",
        State::Prepared => "PREPARED",
        State::Committing => "COMMITTING",
        State::Committed => "COMMITTED",
        State::Aborting => "ABORTING",
        State::Aborted => "ABORTED",
    }
}
