//! `nemcon in-doubt`: what participants have promised and not heard the end of,
//! and the operator's way out.

use clap::{ArgGroup, Args, Subcommand};
use nemcon_client::Address;
use nemcon_core::id::{AttemptId, TransactionId};
use nemcon_core::message::Outcome;
use nemcon_proto::convert::Resolution;
use nemcon_proto::v1;
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::json::{self, Types};
use crate::out::say;
use crate::table::Table;
use crate::whom::Whom;

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what is prepared at participants and has no known outcome
    #[command(after_help = "\
A participant in doubt asks its coordinator and its peers by itself, and goes on asking. Attempts \
that stay on this list have lost their coordinator.

Examples:
  nemcon in-doubt list
  nemcon in-doubt list --at http://127.0.0.1:7110    without a coordinator")]
    List {
        #[command(flatten)]
        whom: Whom,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End an attempt by hand at one participant: dangerous
    #[command(after_help = "\
Only when its coordinator will not come back. If the real decision turns out to be the other one, \
both sides record heuristic damage: see `nemcon damage list`.

Example:
  nemcon in-doubt resolve 01890a5d-ac96-774b-bcce-b302099a8057 --participant bank-a \\
      --abort --reason 'coordinator lost, bank-b has aborted'")]
    Resolve(Resolve),
}

/// What to end, where and how.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("outcome").required(true).args(["commit", "abort"]))]
#[command(group = ArgGroup::new("where").required(true).args(["participant", "at"]))]
pub(crate) struct Resolve {
    /// The transaction in doubt
    #[arg(value_name = "TRANSACTION")]
    transaction: TransactionId,
    #[command(flatten)]
    whom: Whom,
    /// Commit there
    #[arg(long)]
    commit: bool,
    /// Abort there
    #[arg(long)]
    abort: bool,
    /// Why; kept in the participant's log
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Runs a command about what is in doubt.
pub(crate) async fn run(command: Command, coordinator: &Address) -> Result<Exit, Failure> {
    match command {
        Command::List { whom, json } => list(whom, json, coordinator).await,
        Command::Resolve(arguments) => resolve(arguments, coordinator).await,
    }
}

/// Prints what is in doubt. Where somebody does not answer the list is not whole,
/// and the exit code says so.
async fn list(whom: Whom, as_json: bool, coordinator: &Address) -> Result<Exit, Failure> {
    let types = Types::new()?;
    let mut table = Table::new([
        "PARTICIPANT",
        "TRANSACTION",
        "PREPARED",
        ">ASKED",
        "COORDINATOR",
        "LOCKS",
    ]);
    let mut found: Vec<Value> = Vec::new();
    let mut silent = None;
    for operator in whom.operators(coordinator).await? {
        // One that is down must not hide what the others have.
        let attempts = match operator.in_doubt().await {
            Ok(attempts) => attempts.unwrap_or_default(),
            Err(failure) => {
                crate::failure::complain(&failure);
                silent = Some(failure.exit());
                continue;
            }
        };
        for attempt in attempts {
            if as_json {
                let mut written = types.write(&attempt)?;
                written["participant"] = operator.name().into();
                found.push(written);
            } else {
                table.row(row(operator.name(), &attempt));
            }
        }
    }
    if as_json {
        json::print(&json!({ "attempts": found }));
    } else {
        say!("{table}");
    }
    Ok(silent.unwrap_or(Exit::Done))
}

/// A line of the list.
fn row(name: &str, attempt: &v1::AttemptInDoubt) -> [String; 6] {
    [
        name.into(),
        attempt.transaction_id.clone(),
        attempt
            .prepared_at
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        attempt.questions.to_string(),
        attempt.coordinator_address.clone(),
        attempt.locks.join(", "),
    ]
}

/// Ends an attempt by hand. It is looked up first: the operator knows the
/// transaction, the participant goes by the attempt.
async fn resolve(arguments: Resolve, coordinator: &Address) -> Result<Exit, Failure> {
    let Resolve {
        transaction,
        whom,
        commit,
        reason,
        ..
    } = arguments;
    let outcome = if commit {
        Outcome::Committed
    } else {
        Outcome::Aborted
    };
    for operator in whom.operators(coordinator).await? {
        let attempts = operator.in_doubt().await?.unwrap_or_default();
        let id = transaction.to_string();
        let attempt = attempts
            .into_iter()
            .find(|attempt| attempt.transaction_id == id);
        let attempt: AttemptId = attempt
            .and_then(|attempt| attempt.attempt)
            .ok_or_else(|| not_in_doubt(operator.name(), transaction))?
            .try_into()
            .map_err(|error| Failure::Nonsense(format!("{error}")))?;
        let reason = reason.clone();
        operator
            .resolve(Resolution {
                attempt,
                outcome,
                reason,
            })
            .await?;
        let done = if commit { "committed" } else { "aborted" };
        say!("{done} {transaction} at {} by hand", operator.name());
    }
    Ok(Exit::Done)
}

/// The transaction may have ended meanwhile, which is the better outcome.
fn not_in_doubt(name: &str, transaction: TransactionId) -> Failure {
    Failure::Refused(format!(
        "transaction {transaction} is not in doubt at {name}; `nemcon in-doubt list` shows what is"
    ))
}
