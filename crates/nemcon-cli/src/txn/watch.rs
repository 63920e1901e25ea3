//! Following transactions as they change.

use nemcon_client::{Change, View};
use nemcon_core::coordinator::event::{BranchView, State};
use nemcon_core::id::TransactionId;
use nemcon_core::message::Outcome;
use nemcon_core::reason::Reason;
use nemcon_proto::convert::timestamp;
use nemcon_proto::v1;

use super::look::vote;
use super::shown;
use crate::failure::{Exit, Failure};
use crate::json::Types;
use crate::out::is_read;
use crate::session::Session;

/// `nemcon txn watch`. One transaction is followed to its end, and the exit code
/// is that of its outcome.
pub(super) async fn run(
    session: &Session,
    only: Option<TransactionId>,
    as_json: bool,
) -> Result<Exit, Failure> {
    let types = Types::new()?;
    // Watch first, look then: what changes in between is seen twice, not never.
    let mut watch = session.client().watch(only).await?;
    if let Some(id) = only
        && let Some(view) = known(session, id).await?
        && let Some(exit) = tell(&types, view, true, as_json)?
    {
        return Ok(exit);
    }
    loop {
        match watch.next().await? {
            Some(Change::Transaction(view)) => {
                if let Some(exit) = tell(&types, view, only.is_some(), as_json)? {
                    return Ok(exit);
                }
            }
            Some(Change::Missed(missed)) => eprintln!("nemcon: {missed} changes were missed"),
            None => {
                let url = session.client().address();
                let why = format!("the coordinator at {url} has stopped: watch again");
                return Err(Failure::Refused(why));
            }
        }
    }
}

/// What is known of it now; one that is not known may still begin.
async fn known(session: &Session, id: TransactionId) -> Result<Option<View>, Failure> {
    match session.client().transaction(id).await {
        Ok(view) => Ok(Some(view)),
        Err(nemcon_client::ClientError::Refused(refused))
            if refused.refusal.reason == Reason::UNKNOWN_TRANSACTION =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Prints a state. Gives the exit code if it is the one transaction's last, or nobody reads
/// any more.
fn tell(types: &Types, view: View, only: bool, as_json: bool) -> Result<Option<Exit>, Failure> {
    let exit = match (view.state, view.outcome) {
        (State::Committed | State::Aborted, Some(Outcome::Committed)) => Some(Exit::Done),
        (State::Committed | State::Aborted, Some(Outcome::Aborted)) => Some(Exit::Refused),
        _ => None,
    };
    let heard = if as_json {
        is_read(format_args!(
            "{}\n",
            types.write(&v1::Transaction::from(view))?
        ))
    } else {
        is_read(format_args!("{}\n", line(&view)))
    };
    if heard {
        Ok(exit.filter(|_| only))
    } else {
        Ok(Some(Exit::Done))
    }
}

/// A participant with its vote, or what it waits for.
fn branch(branch: &BranchView) -> String {
    match (&branch.waiting, branch.vote) {
        (Some(waiting), None) => format!("{}:waits({})", branch.participant, waiting.key),
        (_, voted) => format!("{}:{}", branch.participant, voted.map_or("-", vote)),
    }
}

/// A change on one line: when, which, where it is now, and who has voted how.
fn line(view: &View) -> String {
    let entered = view
        .history
        .iter()
        .last()
        .map_or(view.transaction.minted_at(), |(_, at)| at);
    let branches: Vec<String> = view.branches.iter().map(branch).collect();
    let why = view
        .cause
        .as_ref()
        .map(|cause| format!("  {}", cause.refusal.reason));
    format!(
        "{}  {}  {:<10}  {}{}",
        timestamp(entered),
        view.transaction,
        shown(view.state),
        branches.join(" "),
        why.unwrap_or_default()
    )
}
