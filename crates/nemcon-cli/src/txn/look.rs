//! Listing and showing transactions.

use nemcon_client::View;
use nemcon_core::coordinator::event::{BranchView, VoteKind, WaitingView};
use nemcon_core::id::TransactionId;
use nemcon_core::message::Outcome;
use nemcon_core::time::Millis;
use nemcon_proto::convert::timestamp;
use nemcon_proto::v1;

use super::{StateName, shown};
use crate::failure::{Exit, Failure, no};
use crate::json::{self, Types};
use crate::listing::Listing;
use crate::locks::seconds;
use crate::out::say;
use crate::session::Session;
use crate::table::Table;

/// `nemcon txn list`.
pub(super) async fn list(session: &Session, listing: Listing<StateName>) -> Result<Exit, Failure> {
    let page = session.client().transactions(listing.wanted()).await?;
    listing.print::<_, _, v1::Transaction>(page, "transactions", |views| {
        let mut table = Table::new(["TRANSACTION", "STATE", "BEGAN", "PARTICIPANTS", "REASON"]);
        for view in views {
            let names = view.branches.iter().map(|it| it.participant.as_str());
            let began = view.history.iter().next();
            let began = began.map_or(view.transaction.minted_at(), |(_, at)| at);
            let reason = view.cause.as_ref().map(|it| it.refusal.reason.to_string());
            table.row([
                view.transaction.to_string(),
                shown(view.state).into(),
                timestamp(began).to_string(),
                names.collect::<Vec<_>>().join(","),
                reason.unwrap_or_default(),
            ]);
        }
        table
    })
}

/// `nemcon txn show`.
pub(super) async fn show(
    session: &Session,
    id: TransactionId,
    as_json: bool,
) -> Result<Exit, Failure> {
    let view = session.client().transaction(id).await?;
    if as_json {
        json::print(&Types::new()?.write(&v1::Transaction::from(view))?);
    } else {
        print_view(&view);
    }
    Ok(Exit::Done)
}

/// For people: what it is, then its states with their times, then its participants.
fn print_view(view: &View) {
    say!("transaction  {}", view.transaction);
    say!("attempt      {}", view.attempt);
    say!("state        {}", shown(view.state));
    say!("outcome      {}", outcome(view));
    if let Some(cause) = &view.cause {
        say!("reason       {}", no(cause));
    }
    if let Some(deadline) = view.deadline {
        say!("deadline     {}", timestamp(deadline));
    }
    say!();
    say!("{}", history(view));
    if !view.branches.is_empty() {
        say!();
        say!("{}", branches(&view.branches));
        for branch in &view.branches {
            if let Some(waiting) = &branch.waiting {
                say!("{}", wait(branch, waiting));
            }
        }
    }
}

/// The outcome in words. That it is not known yet is an answer too.
fn outcome(view: &View) -> &'static str {
    match view.outcome {
        Some(Outcome::Committed) => "committed",
        Some(Outcome::Aborted) => "aborted",
        None if view.decided_by_participant => "not known yet: its one participant decides",
        None => "not decided yet",
    }
}

/// Its states. What the coordinator has not kept over a restart is missing.
fn history(view: &View) -> Table {
    let mut table = Table::new(["STATE", "ENTERED", ">AFTER"]);
    let mut before: Option<Millis> = None;
    for (state, at) in view.history.iter() {
        let after = before
            .map(|before| at.since(before).to_string())
            .unwrap_or_default();
        table.row([shown(state).into(), timestamp(at).to_string(), after]);
        before = Some(at);
    }
    table
}

/// Its participants, as far as they are remembered.
fn branches(branches: &[BranchView]) -> Table {
    let mut table = Table::new(["PARTICIPANT", "VOTE", "ACKNOWLEDGED"]);
    for branch in branches {
        let acknowledged = if branch.acknowledged { "yes" } else { "no" };
        let vote = branch.vote.map_or("-", vote);
        table.row([
            branch.participant.to_string(),
            vote.into(),
            acknowledged.into(),
        ]);
    }
    table
}

/// What a participant was last seen to wait for.
fn wait(branch: &BranchView, waiting: &WaitingView) -> String {
    let blockers: Vec<String> = waiting.blockers.iter().map(ToString::to_string).collect();
    format!(
        "waits at {} for {}, {} when it was seen, for {}",
        branch.participant,
        waiting.key,
        seconds(waiting.waited),
        blockers.join(", ")
    )
}

/// A vote as it is shown.
pub(super) const fn vote(vote: VoteKind) -> &'static str {
    match vote {
        VoteKind::Yes => "yes",
        VoteKind::No => "no",
        VoteKind::ReadOnly => "read-only",
    }
}
